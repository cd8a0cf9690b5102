/*
 * Decoders of the blocks of GGUF files, and what else every row of a file that is quantized goes through. Values come out
 * bit for bit as an_dequant makes them. Included after a lanes header.
 */
#ifndef AN_BODY_DECODE_H
#define AN_BODY_DECODE_H

#include "quant/dequant.h"

#include <math.h>

/* Sixteen codes: (code - middle) * scale. */
LANE_FN void put_centred(float *dst, vi code, int middle, float scale)
{
    vf_store(dst, vf_mul(vf_from_int(vi_add(code, vi_set1(-middle))), vf_set1(scale)));
}

/* Sixteen codes: code * scale + min. */
LANE_FN void put_min(float *dst, vi code, float scale, float min)
{
    vf_store(dst, vf_add(vf_mul(vf_from_int(code), vf_set1(scale)), vf_set1(min)));
}

/* Two bits of every lane from `bit` on. */
#define TWO_BITS(v, bit) vi_and(vi_shr(v, bit), vi_set1(3))

/* Codes of 16 bytes of nibbles: those of the low ones, then of the high ones. */
LANE_FN void nibble_codes(const uint8_t *qs, vi codes[2])
{
    vi bytes = vi_load_bytes(qs);
    codes[0] = vi_and(bytes, vi_set1(15));
    codes[1] = vi_shr(bytes, 4);
}

/* The same with a fifth bit from bit j of `high` for code j. */
LANE_FN void five_bit_codes(const uint8_t *qs, uint32_t high, vi codes[2])
{
    static const int32_t bit[16] = {1 << 4,  1 << 5,  1 << 6,  1 << 7,  1 << 8,  1 << 9,  1 << 10, 1 << 11,
                                    1 << 12, 1 << 13, 1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 18, 1 << 19};
    vi bits = vi_load(bit), sixteen = vi_set1(16);
    nibble_codes(qs, codes);
    codes[0] = vi_or(codes[0], vi_min(vi_and(vi_set1((int32_t)((high & 0xFFFF) << 4)), bits), sixteen));
    codes[1] = vi_or(codes[1], vi_min(vi_and(vi_set1((int32_t)(high >> 16 << 4)), bits), sixteen));
}

LANE_FN float load_f16_(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

static void decode_q4_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 18) {
        vi codes[2];
        float d = load_f16_(src);
        nibble_codes(src + 2, codes);
        put_centred(dst + i, codes[0], 8, d);
        put_centred(dst + i + 16, codes[1], 8, d);
    }
}

static void decode_q4_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 20) {
        vi codes[2];
        float d = load_f16_(src), m = load_f16_(src + 2);
        nibble_codes(src + 4, codes);
        put_min(dst + i, codes[0], d, m);
        put_min(dst + i + 16, codes[1], d, m);
    }
}

static void decode_q5_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 22) {
        vi codes[2];
        float d = load_f16_(src);
        five_bit_codes(src + 6, an_load_u32(src + 2), codes);
        put_centred(dst + i, codes[0], 16, d);
        put_centred(dst + i + 16, codes[1], 16, d);
    }
}

static void decode_q5_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 24) {
        vi codes[2];
        float d = load_f16_(src), m = load_f16_(src + 2);
        five_bit_codes(src + 8, an_load_u32(src + 4), codes);
        put_min(dst + i, codes[0], d, m);
        put_min(dst + i + 16, codes[1], d, m);
    }
}

static void decode_q8_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 34) {
        float d = load_f16_(src);
        for (int j = 0; j < 32; j += 16) {
            vi code = vi_sra(vi_shl(vi_load_bytes(src + 2 + j), 24), 24);
            put_centred(dst + i + j, code, 0, d);
        }
    }
}

/* Groups g, g + 2, g + 4 and g + 6 of each half of a block share 16 bytes, two bits each. */
static void decode_q2_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 84) {
        float d = load_f16_(src + 80), dmin = load_f16_(src + 82), ds[16], dm[16];
        for (int g = 0; g < 16; g++) {
            ds[g] = d * (float)(src[g] & 15);
            dm[g] = -(dmin * (float)(src[g] >> 4));
        }
        for (int part = 0; part < 4; part++) {
            vi bytes = vi_load_bytes(src + 16 + 16 * part);
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++) {
                int g = part / 2 * 8 + 2 * q + part % 2;
                put_min(dst + i + 16 * g, TWO_BITS(bytes, 2 * q), ds[g], dm[g]);
            }
        }
    }
}

static void decode_q3_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 110) {
        float d = load_f16_(src + 108), ds[16];
        for (int g = 0; g < 16; g++) ds[g] = d * (float)an_q3k_scale(src + 96, g);
        for (int part = 0; part < 4; part++) {
            vi bytes = vi_load_bytes(src + 32 + 16 * part), third = vi_load_bytes(src + 16 * (part % 2));
            if (part / 2) third = vi_shr(third, 4);
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++) {
                int g = part / 2 * 8 + 2 * q + part % 2;
                vi high = vi_shl(vi_and(vi_shr(third, q), vi_set1(1)), 2);
                put_centred(dst + i + 16 * g, vi_or(TWO_BITS(bytes, 2 * q), high), 4, ds[g]);
            }
        }
    }
}

static void decode_q4_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 144) {
        float d = load_f16_(src), dmin = load_f16_(src + 2);
        for (int pair = 0; pair < 4; pair++) {
            vi codes[2][2];
            nibble_codes(src + 16 + 32 * pair, codes[0]);
            nibble_codes(src + 32 + 32 * pair, codes[1]);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                int scale, min, g = 2 * pair + h;
                an_k4_scale_min(src + 4, g, &scale, &min);
                float ds = d * (float)scale, dm = dmin * (float)min;
                put_min(dst + i + 32 * g, codes[0][h], ds, -dm);
                put_min(dst + i + 32 * g + 16, codes[1][h], ds, -dm);
            }
        }
    }
}

static void decode_q5_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 176) {
        float d = load_f16_(src), dmin = load_f16_(src + 2);
        vi one = vi_set1(1), high[2] = {vi_load_bytes(src + 16), vi_load_bytes(src + 32)};
        for (int pair = 0; pair < 4; pair++) {
            vi codes[2][2];
            nibble_codes(src + 48 + 32 * pair, codes[0]);
            nibble_codes(src + 64 + 32 * pair, codes[1]);
#pragma GCC unroll 2
            for (int h = 0; h < 2; h++) {
                int scale, min, g = 2 * pair + h;
                an_k4_scale_min(src + 4, g, &scale, &min);
                float ds = d * (float)scale, dm = dmin * (float)min;
                for (int half = 0; half < 2; half++) {
                    vi code = vi_or(codes[half][h], vi_shl(vi_and(high[half], one), 4));
                    high[half] = vi_shr(high[half], 1);
                    put_min(dst + i + 32 * g + 16 * half, code, ds, -dm);
                }
            }
        }
    }
}

static void decode_q6_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 210) {
        float d = load_f16_(src + 208);
        for (int part = 0; part < 4; part++) {
            const uint8_t *low = src + part / 2 * 64 + part % 2 * 16;
            vi high = vi_load_bytes(src + 128 + 16 * part), codes[4], nibbles[2];
            nibble_codes(low, nibbles);
            codes[0] = nibbles[0];
            codes[2] = nibbles[1];
            nibble_codes(low + 32, nibbles);
            codes[1] = nibbles[0];
            codes[3] = nibbles[1];
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++) {
                int g = part / 2 * 8 + 2 * q + part % 2;
                vi code = vi_or(codes[q], vi_shl(TWO_BITS(high, 2 * q), 4));
                put_centred(dst + i + 16 * g, code, 32, d * (float)(int8_t)src[192 + g]);
            }
        }
    }
}

/* 32 nibbles that mean uneven values, times d. */
LANE_FN void put_iq4_values(float *dst, const uint8_t *qs, float d)
{
    static const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    vi codes[2];
    nibble_codes(qs, codes);
    vf_store(dst, vf_mul(vf_pick(values, codes[0]), vf_set1(d)));
    vf_store(dst + 16, vf_mul(vf_pick(values, codes[1]), vf_set1(d)));
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
