/*
 * Sixteen lanes in portable C: GCC's and clang's generic vectors, which become whatever the baseline has. Every
 * level has the same operations (see body/): vf is 16 floats, vi is 64 bytes or 16 integers, always in the same
 * lane order, so that sums have the same order everywhere. Only vf_fma differs: it rounds twice here.
 */
#ifndef AN_LANES_SCALAR_H
#define AN_LANES_SCALAR_H

#include "base/bytes.h"
#include "quant/half.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AN_LANES_CODE_XOR 0
#define AN_LANES_TOKENS 2 /* tokens of one integer tile */
#define AN_LANES_F32_ROWS 2
#define AN_LANES_F32_TOKENS 2
#define AN_LANES_QUERIES 4
#define AN_LANES_CHAINS 2 /* independent sums that keep the units of multiplication busy and fit the registers */
#define AN_LANES_BF16_PAIRS 0
#define AN_LANES_EMULATED 1 /* made of shorter vectors: encoders of little arithmetic lose by it */

#define LANE_FN static inline __attribute__((always_inline, unused))

typedef float vf __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef uint32_t vu_ __attribute__((vector_size(64)));

LANE_FN vi vi_load(const void *p)
{
    vi v;
    memcpy(&v, p, 64);
    return v;
}
#define vi_load_once vi_load
#define vi_in_order(v) (v)
#define vf_in_order(v) (v)
LANE_FN void vi_store(void *p, vi v) { memcpy(p, &v, 64); }
LANE_FN vi vi_set1(int32_t x)
{
    return (vi){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
LANE_FN vi vi_and(vi a, vi b) { return a & b; }
LANE_FN vi vi_or(vi a, vi b) { return a | b; }
LANE_FN vi vi_xor(vi a, vi b) { return a ^ b; }
LANE_FN vi vi_add(vi a, vi b) { return a + b; }
LANE_FN vi vi_mul(vi a, vi b) { return a * b; }
LANE_FN vi vi_max(vi a, vi b)
{
    vi m = a > b;
    return (m & a) | (~m & b);
}
LANE_FN vi vi_min(vi a, vi b)
{
    vi m = a < b;
    return (m & a) | (~m & b);
}
#define vi_shr(a, n) ((vi)((vu_)(a) >> (n)))
#define vi_shl(a, n) ((vi)((vu_)(a) << (n)))
#define vi_sra(a, n) ((a) >> (n))

/* out[j] = dword j of 16 rows that lie `stride` bytes apart; 16 bytes of each are read. */
LANE_FN void vi_rows16(const uint8_t *p, size_t stride, vi out[4])
{
    for (int r = 0; r < 16; r++)
        for (int j = 0; j < 4; j++) out[j][r] = (int32_t)an_load_u32(p + (size_t)r * stride + 4 * j);
}

/* The other way: 16 bytes of each row are written. */
LANE_FN void vi_put_rows16(uint8_t *p, size_t stride, const vi in[4])
{
    for (int r = 0; r < 16; r++)
        for (int j = 0; j < 4; j++) memcpy(p + (size_t)r * stride + 4 * j, (const int32_t *)&in[j] + r, 4);
}

/* One dword of each of 16 rows. */
LANE_FN vi vi_gather(const uint8_t *p, size_t stride)
{
    vi v = {0};
    for (int r = 0; r < 16; r++) v[r] = (int32_t)an_load_u32(p + (size_t)r * stride);
    return v;
}

/* Byte i of the result is table[byte i of v], v < 16. */
LANE_FN vi vi_lookup(const uint8_t table[16], vi v)
{
    uint8_t b[64];
    memcpy(b, &v, 64);
    for (int i = 0; i < 64; i++) b[i] = table[b[i] & 15];
    memcpy(&v, b, 64);
    return v;
}

/* Bytes 0 0 1 1 and 2 2 3 3 of every dword. */
LANE_FN vi vi_dup_low(vi v)
{
    return (v & 0xFF) | (v & 0xFFFF) << 8 | vi_shl(v & 0xFF00, 16);
}
LANE_FN vi vi_dup_high(vi v)
{
    return vi_dup_low(vi_shr(v, 16));
}

/* acc + the products of four int8 of each lane of w with the four int8 at x. */
LANE_FN vi vi_dot(vi acc, vi w, const int8_t *x)
{
    for (int j = 0; j < 4; j++) acc += vi_sra(vi_shl(w, 24 - 8 * j), 24) * (int32_t)x[j];
    return acc;
}
#define vi_dot_signed vi_dot

LANE_FN vf vf_load(const void *p)
{
    vf v;
    memcpy(&v, p, 64);
    return v;
}
LANE_FN void vf_store(void *p, vf v) { memcpy(p, &v, 64); }
/* The first n < 16 lanes; the others become zero, or stay unwritten. */
LANE_FN vf vf_load_n(const float *p, int n)
{
    vf v = {0};
    memcpy(&v, p, (size_t)n * 4);
    return v;
}
LANE_FN void vf_store_n(float *p, vf v, int n) { memcpy(p, &v, (size_t)n * 4); }
LANE_FN vf vf_set1(float x)
{
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
}
LANE_FN vf vf_zero(void) { return (vf){0}; }
LANE_FN vf vf_add(vf a, vf b) { return a + b; }
LANE_FN vf vf_sub(vf a, vf b) { return a - b; }
LANE_FN vf vf_mul(vf a, vf b) { return a * b; }
LANE_FN vf vf_div(vf a, vf b) { return a / b; }
LANE_FN vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
/* b where either is NaN. */
LANE_FN vf vf_max(vf a, vf b)
{
    vi m = a > b;
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
LANE_FN vf vf_min(vf a, vf b)
{
    vi m = a < b;
    return (vf)((m & (vi)a) | (~m & (vi)b));
}
LANE_FN vf vf_abs(vf a) { return (vf)((vi)a & 0x7FFFFFFF); }
LANE_FN vf vf_sqrt(vf a)
{
    for (int i = 0; i < 16; i++) a[i] = sqrtf(a[i]);
    return a;
}
LANE_FN vi vf_bits(vf a) { return (vi)a; }
LANE_FN vf vf_from_bits(vi a) { return (vf)a; }
LANE_FN vf vf_from_int(vi a) { return __builtin_convertvector(a, vf); }
/* Nearest integer, ties to even; |a| < 2^22. */
LANE_FN vi vf_round(vf a)
{
    return ((vi)(a + 12582912.0f)) - 0x4B400000;
}

/* Towards zero; the smallest number for NaN and for what does not fit. */
LANE_FN vi vf_trunc(vf a)
{
    vi out = {0};
    for (int i = 0; i < 16; i++) out[i] = a[i] >= -2147483648.0f && a[i] < 2147483648.0f ? (int32_t)a[i] : INT32_MIN;
    return out;
}

/* Conditions of lanes. Comparisons with NaN are false; vm_andnot is ~a & b. */
typedef vi vm;
LANE_FN vm vf_lt(vf a, vf b) { return a < b; }
LANE_FN vm vf_eq(vf a, vf b) { return a == b; }
LANE_FN vm vm_and(vm a, vm b) { return a & b; }
LANE_FN vm vm_andnot(vm a, vm b) { return ~a & b; }
LANE_FN bool vm_any(vm a)
{
    uint64_t any = 0, pairs[8];
    memcpy(pairs, &a, sizeof pairs);
    for (int i = 0; i < 8; i++) any |= pairs[i];
    return any != 0;
}
LANE_FN vf vf_blend(vm m, vf yes, vf no) { return (vf)((m & (vi)yes) | (~m & (vi)no)); }

/* table[index] of every lane, index 0..15. */
LANE_FN vf vf_pick(const float table[16], vi index)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = table[index[i] & 15];
    return out;
}

/* Sum of the lanes: 8 + 8, 4 + 4, 2 + 2, 1 + 1 at every level. */
LANE_FN float vf_sum(vf v)
{
    float a[16];
    memcpy(a, &v, 64);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) a[i] += a[i + half];
    return a[0];
}
LANE_FN float vf_max_all(vf v)
{
    float m = v[0];
    for (int i = 1; i < 16; i++) m = v[i] > m ? v[i] : m;
    return m;
}

/* f16 in the low or high half of every dword. */
LANE_FN vf vf_f16_low(vi v)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = an_f32_from_f16((uint16_t)v[i]);
    return out;
}
LANE_FN vf vf_f16_high(vi v) { return vf_f16_low(vi_shr(v, 16)); }

/* 16 f16 numbers in memory. */
LANE_FN vf vf_load_f16(const void *p)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = an_f32_from_f16(an_load_u16((const uint8_t *)p + 2 * i));
    return out;
}
LANE_FN void vf_store_f16(void *p, vf v)
{
    uint16_t h[16];
    for (int i = 0; i < 16; i++) h[i] = an_f16_from_f32(v[i]);
    memcpy(p, h, 32);
}
/* 16 bf16 numbers in memory. */
LANE_FN vf vf_load_bf16(const void *p)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = an_f32_from_bf16(an_load_u16((const uint8_t *)p + 2 * i));
    return out;
}
/*
 * What levels with tiles need besides. 32 numbers as bf16, to nearest even, in order. From here on a vector holds two numbers
 * each of rows 8 * half .. 8 * half + 7 of a panel: those of a scale, twice the same; and of bytes 2 * pair and 2 * pair + 1
 * of every dword, as numbers, or as 0.5 + code / 256 when they are below 128.
 */
LANE_FN vi vi_bf16(vf low, vf high)
{
    uint16_t h[32];
    for (int i = 0; i < 32; i++) h[i] = an_bf16_from_f32(i < 16 ? low[i] : high[i - 16]);
    return vi_load(h);
}
LANE_FN vf vf_row_pairs(vf v, const int half)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = v[8 * half + i / 2];
    return out;
}
LANE_FN vf vf_code_pairs(vi v, const int half, const int pair)
{
    vf out = {0};
    for (int i = 0; i < 16; i++) out[i] = (float)(v[8 * half + i / 2] >> (16 * pair + 8 * (i % 2)) & 0xFF);
    return out;
}
LANE_FN vf vf_small_code_pairs(vi v, const int half, const int pair)
{
    return vf_code_pairs(v, half, pair) * vf_set1(0.00390625f) + vf_set1(0.5f);
}
/* The low byte of every lane to 16 bytes in memory. */
LANE_FN void vi_store_bytes(void *p, vi v)
{
    uint8_t b[16];
    for (int i = 0; i < 16; i++) b[i] = (uint8_t)v[i];
    memcpy(p, b, 16);
}
/* 16 bytes without a sign in memory. */
LANE_FN vi vi_load_bytes(const void *p)
{
    const uint8_t *b = p;
    vi v = {0};
    for (int i = 0; i < 16; i++) v[i] = b[i];
    return v;
}
/* 16 signed bytes in memory. */
LANE_FN vi vi_load_int8(const void *p)
{
    const int8_t *b = p;
    vi v = {0};
    for (int i = 0; i < 16; i++) v[i] = b[i];
    return v;
}
LANE_FN int32_t vi_sum(vi v)
{
    int32_t s = 0;
    for (int i = 0; i < 16; i++) s += v[i];
    return s;
}

#endif
