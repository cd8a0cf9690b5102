/*
 * Decoders of the blocks of GGUF files, and what else every row of a file that is quantized goes through. Values come out
 * bit for bit as an_dequant makes them. Loops over bytes are plain C: compilers turn them into vectors. Included after a lanes
 * header.
 */
#ifndef AN_BODY_DECODE_H
#define AN_BODY_DECODE_H

#include "quant/dequant.h"

#include <math.h>

/* Sixteen codes: (code - middle) * scale. */
LANE_FN void put_centred(float *dst, const uint8_t *codes, int middle, float scale)
{
    vi code = vi_add(vi_load_bytes(codes), vi_set1(-middle));
    vf_store(dst, vf_mul(vf_from_int(code), vf_set1(scale)));
}

/* Sixteen codes: code * scale + min. */
LANE_FN void put_min(float *dst, const uint8_t *codes, float scale, float min)
{
    vf_store(dst, vf_add(vf_mul(vf_from_int(vi_load_bytes(codes)), vf_set1(scale)), vf_set1(min)));
}

LANE_FN void nibble_codes(const uint8_t *qs, uint8_t codes[32])
{
    for (int j = 0; j < 16; j++) codes[j] = qs[j] & 15;
    for (int j = 0; j < 16; j++) codes[j + 16] = qs[j] >> 4;
}

LANE_FN void five_bit_codes(const uint8_t *qs, uint32_t high, uint8_t codes[32])
{
    static const uint8_t bit[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    nibble_codes(qs, codes);
    for (int b = 0; b < 4; b++)
        for (int j = 0; j < 8; j++) codes[8 * b + j] |= (uint8_t)((high >> (8 * b)) & bit[j] ? 16 : 0);
}

LANE_FN float load_f16_(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

static void decode_q4_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 18) {
        uint8_t codes[32];
        float d = load_f16_(src);
        nibble_codes(src + 2, codes);
        put_centred(dst + i, codes, 8, d);
        put_centred(dst + i + 16, codes + 16, 8, d);
    }
}

static void decode_q4_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 20) {
        uint8_t codes[32];
        float d = load_f16_(src), m = load_f16_(src + 2);
        nibble_codes(src + 4, codes);
        put_min(dst + i, codes, d, m);
        put_min(dst + i + 16, codes + 16, d, m);
    }
}

static void decode_q5_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 22) {
        uint8_t codes[32];
        float d = load_f16_(src);
        five_bit_codes(src + 6, an_load_u32(src + 2), codes);
        put_centred(dst + i, codes, 16, d);
        put_centred(dst + i + 16, codes + 16, 16, d);
    }
}

static void decode_q5_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 24) {
        uint8_t codes[32];
        float d = load_f16_(src), m = load_f16_(src + 2);
        five_bit_codes(src + 8, an_load_u32(src + 4), codes);
        put_min(dst + i, codes, d, m);
        put_min(dst + i + 16, codes + 16, d, m);
    }
}

static void decode_q8_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 34) {
        uint8_t codes[32];
        float d = load_f16_(src);
        for (int j = 0; j < 32; j++) codes[j] = src[2 + j] ^ 0x80;
        put_centred(dst + i, codes, 128, d);
        put_centred(dst + i + 16, codes + 16, 128, d);
    }
}

static void decode_q2_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 84) {
        float d = load_f16_(src + 80), dmin = load_f16_(src + 82);
        for (int g = 0; g < 16; g++) {
            const uint8_t *qs = src + 16 + 32 * (g / 8) + 16 * (g & 1);
            uint8_t codes[16];
            for (int j = 0; j < 16; j++) codes[j] = qs[j] >> (2 * (g % 8 / 2)) & 3;
            put_min(dst + i + 16 * g, codes, d * (float)(src[g] & 15), -(dmin * (float)(src[g] >> 4)));
        }
    }
}

static void decode_q3_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 110) {
        float d = load_f16_(src + 108);
        for (int g = 0; g < 16; g++) {
            const uint8_t *qs = src + 32 + 32 * (g / 8) + 16 * (g & 1), *third = src + 16 * (g & 1);
            uint8_t codes[16];
            for (int j = 0; j < 16; j++)
                codes[j] = (uint8_t)((qs[j] >> (2 * (g % 8 / 2)) & 3) | (third[j] >> (g / 2) & 1) << 2);
            put_centred(dst + i + 16 * g, codes, 4, d * (float)an_q3k_scale(src + 96, g));
        }
    }
}

static void decode_q4_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 144) {
        float d = load_f16_(src), dmin = load_f16_(src + 2);
        for (int g = 0; g < 8; g++) {
            const uint8_t *qs = src + 16 + 32 * (g / 2);
            int scale, min;
            uint8_t codes[32];
            an_k4_scale_min(src + 4, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            for (int j = 0; j < 32; j++) codes[j] = qs[j] >> (4 * (g & 1)) & 15;
            put_min(dst + i + 32 * g, codes, ds, -dm);
            put_min(dst + i + 32 * g + 16, codes + 16, ds, -dm);
        }
    }
}

static void decode_q5_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 176) {
        float d = load_f16_(src), dmin = load_f16_(src + 2);
        for (int g = 0; g < 8; g++) {
            const uint8_t *qs = src + 48 + 32 * (g / 2), *qh = src + 16;
            int scale, min;
            uint8_t codes[32];
            an_k4_scale_min(src + 4, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            for (int j = 0; j < 32; j++)
                codes[j] = (uint8_t)((qs[j] >> (4 * (g & 1)) & 15) | (qh[j] >> g & 1) << 4);
            put_min(dst + i + 32 * g, codes, ds, -dm);
            put_min(dst + i + 32 * g + 16, codes + 16, ds, -dm);
        }
    }
}

static void decode_q6_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 210) {
        float d = load_f16_(src + 208);
        for (int g = 0; g < 16; g++) {
            int quarter = g % 8 / 2, l = 16 * (g & 1);
            const uint8_t *low = src + 64 * (g / 8) + 32 * (quarter & 1) + l, *high = src + 128 + 32 * (g / 8) + l;
            uint8_t codes[16];
            for (int j = 0; j < 16; j++)
                codes[j] = (uint8_t)((low[j] >> (quarter < 2 ? 0 : 4) & 15) | (high[j] >> (2 * quarter) & 3) << 4);
            put_centred(dst + i + 16 * g, codes, 32, d * (float)(int8_t)src[192 + g]);
        }
    }
}

/* 32 nibbles that mean uneven values, times d. */
LANE_FN void put_iq4_values(float *dst, const uint8_t *qs, float d)
{
    static const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    uint8_t codes[32];
    nibble_codes(qs, codes);
    for (int j = 0; j < 32; j += 16)
        vf_store(dst + j, vf_mul(vf_pick(values, vi_load_bytes(codes + j)), vf_set1(d)));
}

static void decode_iq4_nl(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 18) put_iq4_values(dst + i, src + 2, load_f16_(src));
}

static void decode_iq4_xs(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 136)
        for (int g = 0; g < 8; g++)
            put_iq4_values(dst + i + 32 * g, src + 8 + 16 * g, load_f16_(src) * (float)an_iq4xs_scale(src, g));
}

/* Is any of n values infinite or NaN? */
static bool any_nonfinite(const float *x, int64_t n)
{
    vi most = vi_set1(0), magnitude = vi_set1(0x7FFFFFFF);
    int32_t lanes[16], infinity = 0x7F800000;
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) most = vi_max(most, vi_and(vi_load(x + i), magnitude));
    vi_store(lanes, most);
    bool found = false;
    for (int j = 0; j < 16; j++) found |= lanes[j] >= infinity;
    for (; i < n; i++) found |= !isfinite(x[i]);
    return found;
}

typedef float f32x8_ __attribute__((vector_size(32)));
typedef double f64x8_ __attribute__((vector_size(64)));

/* Add the squares of x, and of what x and y differ by, in double precision. */
static void square_sums(const float *x, const float *y, int64_t n, double *sum_sq, double *sum_sq_error)
{
    f64x8_ sq = {0}, sq_error = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        f32x8_ a, b;
        memcpy(&a, x + i, sizeof a);
        memcpy(&b, y + i, sizeof b);
        f64x8_ v = __builtin_convertvector(a, f64x8_), diff = v - __builtin_convertvector(b, f64x8_);
        sq += v * v;
        sq_error += diff * diff;
    }
    for (; i < n; i++) {
        double v = (double)x[i], diff = v - (double)y[i];
        sq[0] += v * v;
        sq_error[0] += diff * diff;
    }
    for (int j = 0; j < 8; j++) {
        *sum_sq += sq[j];
        *sum_sq_error += sq_error[j];
    }
}

#endif
