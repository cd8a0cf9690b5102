/* MLX's affine groups as ggml's blocks: which type has the very same values, and moving the bits (formats.md 3.8). */
#include "convert/to_gguf_internal.h"

#include "base/bytes.h"
#include "quant/dequant.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 32, SUPER = 256 };

/* ---- which type */

/* What the scales of a matrix have in common. Threads only ever add to the faults. */
typedef struct scan {
    const an_weight *w;
    int shift; /* the symmetric type has bias = -2^shift * scale */
    atomic_bool not_symmetric, nonfinite, not_k;
    atomic_llong n_wide; /* scales and biases that are not an f16 */
} scan;

/* -2^shift * d for an f16 d, as an f16. */
static uint16_t f16_offset(uint16_t d, int shift)
{
    unsigned exp = d & 0x7C00u, up = (unsigned)shift << 10;
    if (exp != 0 && exp + up < 0x7C00u) return (uint16_t)((d ^ 0x8000u) + up);
    return an_f16_from_f32(-(float)(1 << shift) * an_f32_from_f16(d));
}

static bool is_f16(float v)
{
    return an_f32_bits(an_f32_from_f16(an_f16_from_f32(v))) == an_f32_bits(v);
}

static void scan_f16(scan *s, int64_t first, int64_t end)
{
    const uint8_t *scales = s->w->affine.scales, *biases = s->w->affine.biases;
    bool symmetric = !atomic_load(&s->not_symmetric), finite = true;
    for (int64_t g = first; g < end; g++) {
        uint16_t d = an_load_u16(scales + 2 * g), m = an_load_u16(biases + 2 * g);
        finite &= (d & 0x7C00u) != 0x7C00u && (m & 0x7C00u) != 0x7C00u;
        if (symmetric) symmetric = m == f16_offset(d, s->shift);
    }
    if (!symmetric) atomic_store(&s->not_symmetric, true);
    if (!finite) atomic_store(&s->nonfinite, true);
}

/* A group whose codes are all 0 has the value of its bias, whatever its scale: what MLX makes of zeros, with a scale of 1e-7. */
static bool no_codes(const an_weight *w, int64_t g)
{
    int64_t n_group = w->n_col / w->affine.group, bytes = (int64_t)w->affine.group * w->affine.bits / 8;
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)(g / n_group) * w->row_bytes + (uint64_t)(g % n_group * bytes);
    for (int64_t i = 0; i < bytes; i++)
        if (codes[i]) return false;
    return true;
}

static void scan_floats(scan *s, int64_t first, int64_t end)
{
    const an_affine *a = &s->w->affine;
    long long n_wide = 0;
    bool symmetric = true, finite = true;
    for (int64_t g = first; g < end; g++) {
        float d = an_float_load(a->scale_dtype, a->scales, g), m = an_float_load(a->scale_dtype, a->biases, g);
        finite &= isfinite(d) && isfinite(m);
        n_wide += (!is_f16(d) && !no_codes(s->w, g)) + !is_f16(m);
        symmetric &= an_f32_bits(m) == an_f32_bits(-(float)(1 << s->shift) * d);
    }
    if (n_wide) atomic_fetch_add(&s->n_wide, n_wide);
    if (!symmetric) atomic_store(&s->not_symmetric, true);
    if (!finite) atomic_store(&s->nonfinite, true);
}

static void scan_share(void *arg, int thread, int n_thread)
{
    scan *s = arg;
    long begin, end;
    int64_t n_group = s->w->n_col / s->w->affine.group;
    an_pool_share((long)s->w->n_row, 1, thread, n_thread, &begin, &end);
    if (s->w->affine.scale_dtype == AN_DTYPE_F16) scan_f16(s, begin * n_group, end * n_group);
    else scan_floats(s, begin * n_group, end * n_group);
}

static void scan_k_share(void *arg, int thread, int n_thread)
{
    scan *s = arg;
    long begin, end;
    unsigned char block[176];
    an_pool_share((long)s->w->n_row, 1, thread, n_thread, &begin, &end);
    for (long row = begin; row < end && !atomic_load(&s->not_k); row++)
        for (int64_t g = 0; g < s->w->n_col / BLOCK; g += SUPER / BLOCK)
            if (!an_affine_to_k(s->w, row, g, block)) atomic_store(&s->not_k, true);
}

bool an_affine_exact_type(const an_weight *w, an_pool *pool, an_dtype *type, char *why, size_t n_why)
{
    const an_affine *a = &w->affine;
    scan s = {.w = w, .shift = a->bits == 8 ? 7 : a->bits == 5 ? 4 : 3};
    an_pool_run(pool, scan_share, &s);
    bool symmetric = !atomic_load(&s.not_symmetric);
    long long n_wide = atomic_load(&s.n_wide);
    if (atomic_load(&s.nonfinite)) {
        snprintf(why, n_why, "it has scales that are infinite or NaN");
        return false;
    }
    if (n_wide > 0 && a->scale_dtype == AN_DTYPE_F32 && a->group == BLOCK && w->n_col % SUPER == 0 &&
        (a->bits == 4 || a->bits == 5)) {
        an_pool_run(pool, scan_k_share, &s);
        *type = a->bits == 4 ? AN_DTYPE_Q4_K : AN_DTYPE_Q5_K;
        if (!atomic_load(&s.not_k)) return true;
    }
    if (a->bits == 6 || (a->bits == 8 && !symmetric)) {
        snprintf(why, n_why, "no GGUF type has %d-bit codes with an offset", a->bits);
        return false;
    }
    if (n_wide > 0) {
        snprintf(why, n_why, "%lld of its %" PRId64 " scales and biases are not exactly f16, which GGUF blocks hold", n_wide,
                 2 * w->n_row * (w->n_col / a->group));
        return false;
    }
    if (a->bits == 8) *type = AN_DTYPE_Q8_0;
    else if (a->bits == 5) *type = symmetric ? AN_DTYPE_Q5_0 : AN_DTYPE_Q5_1;
    else *type = symmetric && a->bits == 4 ? AN_DTYPE_Q4_0 : AN_DTYPE_Q4_1;
    return true;
}

/* ---- blocks of 32 */

static uint16_t load_half(an_dtype type, const void *p, int64_t i)
{
    if (type == AN_DTYPE_F16) return an_load_u16((const uint8_t *)p + 2 * i);
    return an_f16_from_f32(an_float_load(type, p, i));
}

/*
 * 16 bytes of neighbouring nibbles to ggml's order: byte j holds elements j and j + 16. Eight bytes at a time in a word, so
 * that any compiler makes a handful of instructions of it.
 */
static void spread_nibbles(const uint8_t *in, uint8_t *out)
{
    const uint64_t low = 0x0F0F0F0F0F0F0F0Fu;
    uint64_t a = an_load_u64(in), b = an_load_u64(in + 8), even = (a & low) | (b & low) << 4, odd = (a >> 4 & low) | (b & ~low);
    uint8_t x[8], y[8];
    memcpy(x, &even, 8);
    memcpy(y, &odd, 8);
    for (int k = 0; k < 8; k++) {
        out[2 * k] = x[k];
        out[2 * k + 1] = y[k];
    }
}

/* 32 codes of up to five bits: low nibbles as above, the fifth bits as a word. */
static uint32_t pack_codes(const uint8_t *code, uint8_t *out)
{
    uint32_t high = 0;
    for (int j = 0; j < 16; j++) out[j] = (uint8_t)((code[j] & 15) | code[j + 16] << 4);
    for (int j = 0; j < BLOCK; j++) high |= (uint32_t)(code[j] >> 4 & 1) << j;
    return high;
}

static void block_of_codes(const an_weight *w, const uint8_t *codes, int64_t b, an_dtype type, uint8_t *out)
{
    uint8_t code[BLOCK];
    an_affine_codes(codes, w->affine.bits, b * BLOCK, BLOCK, code);
    uint8_t *bits = out + (type == AN_DTYPE_Q5_0 ? 2 : 4);
    bool five = type == AN_DTYPE_Q5_0 || type == AN_DTYPE_Q5_1;
    uint32_t high = pack_codes(code, bits + (five ? 4 : 0));
    if (five) memcpy(bits, &high, 4);
}

static void repack_mxfp4_row(const an_weight *w, int64_t row, unsigned char *out)
{
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    const uint8_t *scales = (const uint8_t *)w->affine.scales + row * (w->n_col / BLOCK);
    for (int64_t b = 0; b < w->n_col / BLOCK; b++, out += 17) {
        out[0] = scales[b];
        spread_nibbles(codes + b * 16, out + 1);
    }
}

void an_affine_repack_row(const an_weight *w, int64_t row, an_dtype type, unsigned char *out)
{
    const an_affine *a = &w->affine;
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    const int size = an_dtype_get(type)->block_bytes, halvings = a->group == BLOCK ? 0 : a->group == 2 * BLOCK ? 1 : 2;
    const bool offset = type == AN_DTYPE_Q4_1 || type == AN_DTYPE_Q5_1;
    const int64_t n_group = w->n_col / a->group, n_block = w->n_col / BLOCK;
    if (type == AN_DTYPE_GGML_MXFP4) {
        repack_mxfp4_row(w, row, out);
        return;
    }
    if (type == AN_DTYPE_Q4_K || type == AN_DTYPE_Q5_K) {
        for (int64_t b = 0; b < n_block; b += SUPER / BLOCK, out += size) (void)an_affine_to_k(w, row, b, out);
        return;
    }
    for (int64_t b = 0; b < n_block; b++, out += size) {
        int64_t g = row * n_group + (b >> halvings);
        uint16_t d = load_half(a->scale_dtype, a->scales, g);
        memcpy(out, &d, 2);
        if (offset) {
            uint16_t m = load_half(a->scale_dtype, a->biases, g);
            memcpy(out + 2, &m, 2);
        }
        if (type == AN_DTYPE_Q8_0) {
            for (int i = 0; i < BLOCK; i++) out[2 + i] = codes[b * BLOCK + i] ^ 0x80;
        } else if (a->bits == 4) {
            spread_nibbles(codes + b * 16, out + (offset ? 4 : 2));
        } else {
            block_of_codes(w, codes, b, type, out);
        }
    }
}

/* ---- Q4_K and Q5_K */

/*
 * Eight numbers as d times 0..63 with an f16 d, or false. The encoders give the largest number the largest multiple, so
 * that is tried first: then d is the one of the block that the groups were made from.
 */
static bool common_factor(const float v[8], uint16_t *d, uint8_t code[8])
{
    float top = 0;
    for (int j = 0; j < 8; j++)
        if (fabsf(v[j]) > fabsf(top)) top = v[j];
    *d = 0;
    memset(code, 0, 8);
    if (top == 0) return true;
    for (int most = 63; most > 0; most--) {
        bool fits = true;
        uint16_t half = an_f16_from_f32(top / (float)most);
        float unit = an_f32_from_f16(half);
        if (unit == 0 || !isfinite(unit) || unit * (float)most != top) continue;
        for (int j = 0; j < 8 && fits; j++) {
            float k = rintf(v[j] / unit);
            fits = k >= 0 && k <= 63 && unit * k == v[j];
            if (fits) code[j] = (uint8_t)k;
        }
        *d = half;
        if (fits) return true;
    }
    return false;
}

/* Eight six-bit scales and minima as the twelve bytes that Q4_K and Q5_K have (formats.md 2.2). */
static void pack_scales(const uint8_t scale[8], const uint8_t min[8], uint8_t out[12])
{
    memset(out, 0, 12);
    for (int j = 0; j < 4; j++) {
        out[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
        out[j + 4] = (uint8_t)(min[j] | (min[j + 4] >> 4) << 6);
        out[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

bool an_affine_to_k(const an_weight *w, int64_t row, int64_t first, unsigned char *out)
{
    const an_affine *a = &w->affine;
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    float scale[8], min[8];
    uint8_t scale_code[8], min_code[8], code[SUPER];
    uint16_t d, dmin;
    int64_t g = row * (w->n_col / BLOCK) + first;
    for (int j = 0; j < 8; j++) {
        scale[j] = an_float_load(a->scale_dtype, a->scales, g + j);
        min[j] = -an_float_load(a->scale_dtype, a->biases, g + j);
    }
    if (!common_factor(scale, &d, scale_code) || !common_factor(min, &dmin, min_code)) return false;
    memcpy(out, &d, 2);
    memcpy(out + 2, &dmin, 2);
    pack_scales(scale_code, min_code, out + 4);
    an_affine_codes(codes, a->bits, first * BLOCK, SUPER, code);
    uint8_t *high = out + 16, *low = out + (a->bits == 5 ? 48 : 16);
    if (a->bits == 5) memset(high, 0, BLOCK);
    for (int e = 0; e < SUPER; e += 2 * BLOCK) {
        for (int r = 0; r < BLOCK; r++) {
            uint8_t x = code[e + r], y = code[e + BLOCK + r];
            low[e / 2 + r] = (uint8_t)((x & 15) | y << 4);
            if (a->bits == 5) high[r] = (uint8_t)(high[r] | (x >> 4) << (e / BLOCK) | (y >> 4) << (e / BLOCK + 1));
        }
    }
    return true;
}
