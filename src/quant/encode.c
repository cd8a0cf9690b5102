/* The plain types and the blocks of 32 (formats.md 2.3), and the way to the others. */
#include "quant/encode_pack.h"

#include "base/error.h"

#include <math.h>
#include <string.h>

enum { GROUP = 32 };

/*
 * Towards zero, to 32 bits; infinity and NaN become the smallest number. Scales so small that their inverse is infinite get
 * there. C leaves such conversions open: the two below are what the reference's usual builds on x86 do.
 */
static int32_t trunc32(float v)
{
    return v > -2147483904.0f && v < 2147483648.0f ? (int32_t)v : INT32_MIN;
}

/* To 8 bits by cutting off the others: blocks of five bits. */
static int trunc8(float v)
{
    return (int8_t)(uint8_t)((uint32_t)trunc32(v) & 0xFF);
}

/* To 8 bits with saturation: blocks of four and eight bits. */
static int trunc8_saturated(float v)
{
    int32_t i = trunc32(v);
    return i < -128 ? -128 : i > 127 ? 127 : i;
}

static int at_most(int v, int max)
{
    return v < max ? v : max;
}

static void range(const float *x, int n, float *min, float *max)
{
    *min = *max = x[0];
    for (int i = 1; i < n; i++) {
        if (x[i] < *min) *min = x[i];
        if (x[i] > *max) *max = x[i];
    }
}

/* Q4_0 and Q5_0: the code in the middle is zero. */
static void encode_symmetric(const float *x, int bits, uint8_t *block)
{
    uint8_t codes[GROUP];
    int middle = 1 << (bits - 1), max = (1 << bits) - 1;
    float d = an_largest(x, GROUP) / (float)-middle, id = d != 0 ? 1.0f / d : 0.0f;
    for (int j = 0; j < GROUP; j++) {
        float v = x[j] * id + ((float)middle + 0.5f);
        codes[j] = (uint8_t)at_most(bits == 4 ? trunc8_saturated(v) : trunc8(v), max);
    }
    an_put_f16(block, d);
    if (bits == 4) an_pack_nibbles(codes, block + 2);
    else an_pack_five_bits(codes, block + 2, block + 6);
}

/* Q4_1 and Q5_1: scale and minimum. */
static void encode_min(const float *x, int bits, uint8_t *block)
{
    uint8_t codes[GROUP];
    int max_code = (1 << bits) - 1;
    float min, max;
    range(x, GROUP, &min, &max);
    float d = (max - min) / (float)max_code, id = d != 0 ? 1.0f / d : 0.0f;
    for (int j = 0; j < GROUP; j++) {
        float v = (x[j] - min) * id + 0.5f;
        codes[j] = (uint8_t)(bits == 4 ? at_most(trunc8_saturated(v), max_code) : trunc8(v));
    }
    an_put_f16(block, d);
    an_put_f16(block + 2, min);
    if (bits == 4) an_pack_nibbles(codes, block + 4);
    else an_pack_five_bits(codes, block + 4, block + 8);
}

static void encode_q8_0(const float *x, uint8_t *block)
{
    float d = fabsf(an_largest(x, GROUP)) / 127.0f, id = d != 0 ? 1.0f / d : 0.0f;
    an_put_f16(block, d);
    for (int j = 0; j < GROUP; j++) block[2 + j] = (uint8_t)trunc8_saturated(roundf(x[j] * id));
}

static void put_bf16(uint8_t *p, float v)
{
    uint16_t half = an_bf16_from_f32(v);
    memcpy(p, &half, 2);
}

static void encode_block(an_dtype type, const float *x, uint8_t *out)
{
    switch (type) {
    case AN_DTYPE_F32: memcpy(out, x, 4); break;
    case AN_DTYPE_F16: an_put_f16(out, *x); break;
    case AN_DTYPE_BF16: put_bf16(out, *x); break;
    case AN_DTYPE_Q4_0: encode_symmetric(x, 4, out); break;
    case AN_DTYPE_Q4_1: encode_min(x, 4, out); break;
    case AN_DTYPE_Q5_0: encode_symmetric(x, 5, out); break;
    case AN_DTYPE_Q5_1: encode_min(x, 5, out); break;
    case AN_DTYPE_Q8_0: encode_q8_0(x, out); break;
    case AN_DTYPE_Q2_K: an_encode_q2_k(x, out); break;
    case AN_DTYPE_Q3_K: an_encode_q3_k(x, out); break;
    case AN_DTYPE_Q4_K: an_encode_q4_k(x, out); break;
    case AN_DTYPE_Q5_K: an_encode_q5_k(x, out); break;
    case AN_DTYPE_Q6_K: an_encode_q6_k(x, out); break;
    case AN_DTYPE_IQ4_NL: an_encode_iq4_nl(x, out); break;
    case AN_DTYPE_IQ4_XS: an_encode_iq4_xs(x, out); break;
    default: break;
    }
}

bool an_encode_can(an_dtype type)
{
    return type <= AN_DTYPE_IQ4_XS;
}

void an_encode_rows(an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out)
{
    const an_dtype_info *info = an_dtype_get(type);
    int64_t n_block = n_row * n_col / info->block_elems;
    AN_ASSERT(an_encode_can(type) && n_col % info->block_elems == 0);
    for (int64_t i = 0; i < n_block; i++)
        encode_block(type, x + i * info->block_elems, (uint8_t *)out + i * info->block_bytes);
}

int64_t an_find_nonfinite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if ((an_f32_bits(x[i]) & 0x7F800000u) == 0x7F800000u) return i;
    return -1;
}
