/*
 * Canonical codes of every quantized type (codes.h), scalar. Q4_0 and Q5_0 are read as scale and minimum (-8d,
 * -16d: exact in f32), because that is what they are in an MLX file that was converted from them. Twice a four-bit float is an
 * integer: MXFP4 and NVFP4 have codes of twice the value and half the scale, both exact. dmin of superblocks is minus the file's.
 */
#include "quant/codes.h"

#include "base/bytes.h"
#include "base/error.h"
#include "quant/dequant.h"
#include "quant/half.h"

static float load_f16(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

bool an_codes_kind(const an_weight *w, an_code_kind *kind)
{
    switch (w->dtype) {
    case AN_DTYPE_Q4_0:
    case AN_DTYPE_Q4_1:
    case AN_DTYPE_Q5_0:
    case AN_DTYPE_Q5_1: *kind = AN_CODES_MIN32; return true;
    case AN_DTYPE_Q4_K:
    case AN_DTYPE_Q5_K: *kind = AN_CODES_K32; return true;
    case AN_DTYPE_IQ4_XS: *kind = AN_CODES_K32_I8; return true;
    case AN_DTYPE_Q8_0:
    case AN_DTYPE_IQ4_NL:
    case AN_DTYPE_GGML_MXFP4:
    case AN_DTYPE_MXFP4: *kind = AN_CODES_I8; return true;
    case AN_DTYPE_NVFP4: *kind = AN_CODES_OFF16; return w->n_col % 32 == 0;
    case AN_DTYPE_Q2_K: *kind = AN_CODES_K16; return true;
    case AN_DTYPE_Q3_K:
    case AN_DTYPE_Q6_K: *kind = AN_CODES_K16_OFF; return true;
    case AN_DTYPE_AFFINE:
        *kind = w->affine.bits == 8 ? AN_CODES_I8_MIN : AN_CODES_MIN32;
        return true;
    default: return false;
    }
}

/* 16 bytes of nibbles in the order j, j + 16. */
static void nibbles(const uint8_t *qs, uint8_t *codes)
{
    for (int j = 0; j < 16; j++) {
        codes[j] = qs[j] & 15;
        codes[j + 16] = qs[j] >> 4;
    }
}

static void read_mxfp4_block(const uint8_t *p, uint8_t *codes, float *scale)
{
    *scale = 0.5f * an_f32_from_e8m0(p[0]);
    nibbles(p + 1, codes);
    for (int j = 0; j < 32; j++) codes[j] = (uint8_t)an_e2m1_twice[codes[j]];
}

/* One block of a type of 32 elements. */
static void read_block32(an_dtype type, const uint8_t *p, uint8_t *codes, float *scale, float *min)
{
    if (type == AN_DTYPE_GGML_MXFP4) {
        *min = 0;
        read_mxfp4_block(p, codes, scale);
        return;
    }
    *scale = load_f16(p);
    *min = 0;
    uint32_t high = 0;
    switch (type) {
    case AN_DTYPE_Q4_0:
        nibbles(p + 2, codes);
        *min = -8 * *scale;
        return;
    case AN_DTYPE_Q4_1:
        nibbles(p + 4, codes);
        *min = load_f16(p + 2);
        return;
    case AN_DTYPE_Q5_0:
        nibbles(p + 6, codes);
        high = an_load_u32(p + 2);
        *min = -16 * *scale;
        break;
    case AN_DTYPE_Q5_1:
        nibbles(p + 8, codes);
        high = an_load_u32(p + 4);
        *min = load_f16(p + 2);
        break;
    case AN_DTYPE_Q8_0: memcpy(codes, p + 2, 32); return;
    default:
        AN_ASSERT(type == AN_DTYPE_IQ4_NL);
        nibbles(p + 2, codes);
        for (int j = 0; j < 32; j++) codes[j] = (uint8_t)an_iq4_values[codes[j]];
        return;
    }
    for (int j = 0; j < 32; j++) codes[j] |= (uint8_t)((high >> j & 1) << 4);
}

/* Q4_K and Q5_K. */
static void read_k45(const uint8_t *p, bool five, uint8_t *codes, an_super *n)
{
    n->d = load_f16(p);
    n->dmin = -load_f16(p + 2);
    const uint8_t *qh = p + 16, *qs = five ? p + 48 : p + 16;
    for (int g = 0; g < 8; g++) {
        int scale, min;
        an_k4_scale_min(p + 4, g, &scale, &min);
        n->scales[g] = (int16_t)scale;
        n->mins[g] = (int16_t)min;
        for (int j = 0; j < 32; j++) {
            int code = qs[32 * (g / 2) + j] >> (4 * (g & 1)) & 15;
            if (five) code |= (qh[j] >> g & 1) << 4;
            codes[32 * g + j] = (uint8_t)code;
        }
    }
}

static void read_q2_k(const uint8_t *p, uint8_t *codes, an_super *n)
{
    n->d = load_f16(p + 80);
    n->dmin = -load_f16(p + 82);
    for (int g = 0; g < 16; g++) {
        n->scales[g] = p[g] & 15;
        n->mins[g] = p[g] >> 4;
    }
    for (int e = 0; e < 256; e++)
        codes[e] = p[16 + 32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32)) & 3;
}

/* Codes times 8 and scale / 8, so that the offset is the same 32 as Q6_K's. */
static void read_q3_k(const uint8_t *p, uint8_t *codes, an_super *n)
{
    n->d = load_f16(p + 108) * 0.125f;
    for (int g = 0; g < 16; g++) n->scales[g] = (int16_t)an_q3k_scale(p + 96, g);
    for (int e = 0; e < 256; e++) {
        int low = p[32 + 32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32)) & 3;
        codes[e] = (uint8_t)((low | (p[e % 32] >> (e / 32) & 1) << 2) * 8);
    }
}

static void read_q6_k(const uint8_t *p, uint8_t *codes, an_super *n)
{
    n->d = load_f16(p + 208);
    for (int g = 0; g < 16; g++) n->scales[g] = (int8_t)p[192 + g];
    for (int e = 0; e < 256; e++) {
        int half = e / 128, l = e % 32, g = e % 128 / 32;
        int low = p[64 * half + l + 32 * (g & 1)] >> (g < 2 ? 0 : 4) & 15;
        codes[e] = (uint8_t)(low | (p[128 + 32 * half + l] >> (2 * g) & 3) << 4);
    }
}

static void read_iq4_xs(const uint8_t *p, uint8_t *codes, an_super *n)
{
    n->d = load_f16(p);
    for (int g = 0; g < 8; g++) {
        n->scales[g] = (int16_t)an_iq4xs_scale(p, g);
        nibbles(p + 8 + 16 * g, codes + 32 * g);
    }
    for (int e = 0; e < 256; e++) codes[e] = (uint8_t)an_iq4_values[codes[e]];
}

void an_codes_read_super(const an_weight *w, int64_t row, int64_t col, uint8_t *codes, an_super *numbers)
{
    const uint8_t *p = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes +
                       (uint64_t)(col / AN_SUPER) * (uint64_t)an_dtype_get(w->dtype)->block_bytes;
    *numbers = (an_super){0};
    switch (w->dtype) {
    case AN_DTYPE_Q4_K: read_k45(p, false, codes, numbers); return;
    case AN_DTYPE_Q5_K: read_k45(p, true, codes, numbers); return;
    case AN_DTYPE_Q2_K: read_q2_k(p, codes, numbers); return;
    case AN_DTYPE_Q3_K: read_q3_k(p, codes, numbers); return;
    case AN_DTYPE_Q6_K: read_q6_k(p, codes, numbers); return;
    default:
        AN_ASSERT(w->dtype == AN_DTYPE_IQ4_XS);
        read_iq4_xs(p, codes, numbers);
    }
}

/* Groups of 64 and 128 become groups of 32 with the same scale. */
static void read_affine(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                        float *mins)
{
    const an_affine *a = &w->affine;
    an_affine_codes((const uint8_t *)w->data + (uint64_t)row * w->row_bytes, a->bits, col, n, codes);
    int64_t first = row * (w->n_col / a->group);
    for (int g = 0; g < n / 32; g++) {
        int64_t i = first + (col + 32 * g) / a->group;
        scales[g] = an_float_load(a->scale_dtype, a->scales, i);
        mins[g] = an_float_load(a->scale_dtype, a->biases, i);
        if (a->bits == 8) mins[g] += 128 * scales[g];
    }
    if (a->bits == 8)
        for (int i = 0; i < n; i++) codes[i] ^= 0x80;
}

/* MLX's MXFP4, and NVFP4 with the offset of its kind. */
static void read_fp4(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales, float *mins)
{
    const an_affine *a = &w->affine;
    bool nv = w->dtype == AN_DTYPE_NVFP4;
    const uint8_t *bytes = (const uint8_t *)a->scales + row * (w->n_col / a->group) + col / a->group;
    an_affine_codes((const uint8_t *)w->data + (uint64_t)row * w->row_bytes, 4, col, n, codes);
    for (int i = 0; i < n; i++) codes[i] = (uint8_t)(an_e2m1_twice[codes[i]] + (nv ? 32 : 0));
    for (int g = 0; g < n / a->group; g++) {
        scales[g] = 0.5f * (nv ? an_f32_from_e4m3(bytes[g]) : an_f32_from_e8m0(bytes[g]));
        mins[g] = 0;
    }
}

void an_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                   float *mins)
{
    if (w->dtype == AN_DTYPE_AFFINE) {
        read_affine(w, row, col, n, codes, scales, mins);
        return;
    }
    if (an_dtype_is_fp_mode(w->dtype)) {
        read_fp4(w, row, col, n, codes, scales, mins);
        return;
    }
    const an_dtype_info *info = an_dtype_get(w->dtype);
    const uint8_t *p = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes +
                       (uint64_t)(col / info->block_elems) * (uint64_t)info->block_bytes;
    if (info->block_elems == 32) {
        for (int b = 0; b < n / 32; b++, p += info->block_bytes)
            read_block32(w->dtype, p, codes + 32 * b, scales + b, mins + b);
        return;
    }
    AN_ASSERT(n == AN_SUPER);
    an_super numbers;
    an_code_kind kind = AN_CODES_N;
    an_codes_kind(w, &kind);
    an_codes_read_super(w, row, col, codes, &numbers);
    for (int g = 0; g < n / an_codes_group(kind); g++) {
        scales[g] = numbers.d * (float)numbers.scales[g];
        mins[g] = numbers.dmin * (float)numbers.mins[g];
    }
}
