/*
 * Sixteen lanes as four NEON registers. lanes/scalar.h says what each operation means. With AN_LANES_DOTPROD the
 * integer products use sdot, else widening multiplications; with AN_LANES_PAIRS two tokens at a time use smmla.
 */
#ifndef AN_LANES_NEON_H
#define AN_LANES_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AN_LANES_CODE_XOR 0
#define AN_LANES_TOKENS 2
#define AN_LANES_F32_ROWS 2
#define AN_LANES_F32_TOKENS 2
#define AN_LANES_QUERIES 4
#define AN_LANES_CHAINS 6
#define AN_LANES_BF16_PAIRS 0
#define AN_LANES_EMULATED 0

#define LANE_FN static inline __attribute__((always_inline, unused))

typedef struct vf {
    float32x4_t a, b, c, d;
} vf;
typedef struct vi {
    int32x4_t a, b, c, d;
} vi;

#define MAP1_(type, f, x) ((type){f((x).a), f((x).b), f((x).c), f((x).d)})
#define MAP2_(type, f, x, y) ((type){f((x).a, (y).a), f((x).b, (y).b), f((x).c, (y).c), f((x).d, (y).d)})

LANE_FN vi vi_load(const void *p)
{
    const uint8_t *q = p;
    return (vi){vreinterpretq_s32_u8(vld1q_u8(q)), vreinterpretq_s32_u8(vld1q_u8(q + 16)),
                vreinterpretq_s32_u8(vld1q_u8(q + 32)), vreinterpretq_s32_u8(vld1q_u8(q + 48))};
}
#define vi_load_once vi_load
#define vi_in_order(v) (v)
#define vf_in_order(v) (v)
LANE_FN void vi_store(void *p, vi v)
{
    uint8_t *q = p;
    vst1q_u8(q, vreinterpretq_u8_s32(v.a));
    vst1q_u8(q + 16, vreinterpretq_u8_s32(v.b));
    vst1q_u8(q + 32, vreinterpretq_u8_s32(v.c));
    vst1q_u8(q + 48, vreinterpretq_u8_s32(v.d));
}
LANE_FN vi vi_set1(int32_t x)
{
    int32x4_t v = vdupq_n_s32(x);
    return (vi){v, v, v, v};
}
LANE_FN vi vi_and(vi x, vi y) { return MAP2_(vi, vandq_s32, x, y); }
LANE_FN vi vi_or(vi x, vi y) { return MAP2_(vi, vorrq_s32, x, y); }
LANE_FN vi vi_xor(vi x, vi y) { return MAP2_(vi, veorq_s32, x, y); }
LANE_FN vi vi_add(vi x, vi y) { return MAP2_(vi, vaddq_s32, x, y); }
LANE_FN vi vi_mul(vi x, vi y) { return MAP2_(vi, vmulq_s32, x, y); }
LANE_FN vi vi_max(vi x, vi y) { return MAP2_(vi, vmaxq_s32, x, y); }
LANE_FN vi vi_min(vi x, vi y) { return MAP2_(vi, vminq_s32, x, y); }
/* Shifts by a register (negative: to the right), so that any count from 0 to 31 will do. */
LANE_FN int32x4_t shift_right_(int32x4_t v, int n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(-n)));
}
LANE_FN vi vi_shr(vi v, int n)
{
    return (vi){shift_right_(v.a, n), shift_right_(v.b, n), shift_right_(v.c, n), shift_right_(v.d, n)};
}
LANE_FN vi vi_shl(vi v, int n)
{
    int32x4_t s = vdupq_n_s32(n);
    return (vi){vshlq_s32(v.a, s), vshlq_s32(v.b, s), vshlq_s32(v.c, s), vshlq_s32(v.d, s)};
}
LANE_FN vi vi_sra(vi v, int n) { return vi_shl(v, -n); }

/* Four rows: out[j] = their dword j. */
LANE_FN void rows4_(const uint8_t *p, size_t stride, int32x4_t out[4])
{
    int32x4_t r0 = vreinterpretq_s32_u8(vld1q_u8(p)), r1 = vreinterpretq_s32_u8(vld1q_u8(p + stride));
    int32x4_t r2 = vreinterpretq_s32_u8(vld1q_u8(p + 2 * stride));
    int32x4_t r3 = vreinterpretq_s32_u8(vld1q_u8(p + 3 * stride));
    int64x2_t even01 = vreinterpretq_s64_s32(vtrn1q_s32(r0, r1)), odd01 = vreinterpretq_s64_s32(vtrn2q_s32(r0, r1));
    int64x2_t even23 = vreinterpretq_s64_s32(vtrn1q_s32(r2, r3)), odd23 = vreinterpretq_s64_s32(vtrn2q_s32(r2, r3));
    out[0] = vreinterpretq_s32_s64(vtrn1q_s64(even01, even23));
    out[1] = vreinterpretq_s32_s64(vtrn1q_s64(odd01, odd23));
    out[2] = vreinterpretq_s32_s64(vtrn2q_s64(even01, even23));
    out[3] = vreinterpretq_s32_s64(vtrn2q_s64(odd01, odd23));
}
LANE_FN void vi_rows16(const uint8_t *p, size_t stride, vi out[4])
{
    int32x4_t a[4], b[4], c[4], d[4];
    rows4_(p, stride, a);
    rows4_(p + 4 * stride, stride, b);
    rows4_(p + 8 * stride, stride, c);
    rows4_(p + 12 * stride, stride, d);
    for (int j = 0; j < 4; j++) out[j] = (vi){a[j], b[j], c[j], d[j]};
}
/* in[j] = dword j of four rows. */
LANE_FN void put_rows4_(uint8_t *p, size_t stride, int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d)
{
    int64x2_t ab = vreinterpretq_s64_s32(vzip1q_s32(a, b)), cd = vreinterpretq_s64_s32(vzip1q_s32(c, d));
    int64x2_t ab_high = vreinterpretq_s64_s32(vzip2q_s32(a, b)), cd_high = vreinterpretq_s64_s32(vzip2q_s32(c, d));
    vst1q_u8(p, vreinterpretq_u8_s64(vzip1q_s64(ab, cd)));
    vst1q_u8(p + stride, vreinterpretq_u8_s64(vzip2q_s64(ab, cd)));
    vst1q_u8(p + 2 * stride, vreinterpretq_u8_s64(vzip1q_s64(ab_high, cd_high)));
    vst1q_u8(p + 3 * stride, vreinterpretq_u8_s64(vzip2q_s64(ab_high, cd_high)));
}
LANE_FN void vi_put_rows16(uint8_t *p, size_t stride, const vi in[4])
{
    put_rows4_(p, stride, in[0].a, in[1].a, in[2].a, in[3].a);
    put_rows4_(p + 4 * stride, stride, in[0].b, in[1].b, in[2].b, in[3].b);
    put_rows4_(p + 8 * stride, stride, in[0].c, in[1].c, in[2].c, in[3].c);
    put_rows4_(p + 12 * stride, stride, in[0].d, in[1].d, in[2].d, in[3].d);
}
LANE_FN int32x4_t dword4_(const uint8_t *p, size_t stride)
{
    int32_t x[4];
    for (int i = 0; i < 4; i++) memcpy(&x[i], p + (size_t)i * stride, 4);
    return vld1q_s32(x);
}
LANE_FN vi vi_gather(const uint8_t *p, size_t stride)
{
    return (vi){dword4_(p, stride), dword4_(p + 4 * stride, stride), dword4_(p + 8 * stride, stride),
                dword4_(p + 12 * stride, stride)};
}
LANE_FN int32x4_t table_(uint8x16_t table, int32x4_t v)
{
    return vreinterpretq_s32_u8(vqtbl1q_u8(table, vreinterpretq_u8_s32(v)));
}
LANE_FN vi vi_lookup(const uint8_t table[16], vi v)
{
    uint8x16_t t = vld1q_u8(table);
    return (vi){table_(t, v.a), table_(t, v.b), table_(t, v.c), table_(t, v.d)};
}
LANE_FN int32x4_t shuffle_(int32x4_t v, const uint8_t order[16])
{
    return vreinterpretq_s32_u8(vqtbl1q_u8(vreinterpretq_u8_s32(v), vld1q_u8(order)));
}
LANE_FN vi vi_dup_low(vi v)
{
    static const uint8_t order[16] = {0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13};
    return (vi){shuffle_(v.a, order), shuffle_(v.b, order), shuffle_(v.c, order), shuffle_(v.d, order)};
}
LANE_FN vi vi_dup_high(vi v)
{
    static const uint8_t order[16] = {2, 2, 3, 3, 6, 6, 7, 7, 10, 10, 11, 11, 14, 14, 15, 15};
    return (vi){shuffle_(v.a, order), shuffle_(v.b, order), shuffle_(v.c, order), shuffle_(v.d, order)};
}

/* All codes fit int8: those without a sign are at most 63. */
LANE_FN int32x4_t dot4_(int32x4_t acc, int32x4_t w, int8x16_t x)
{
    int8x16_t v = vreinterpretq_s8_s32(w);
#ifdef AN_LANES_DOTPROD
    return vdotq_s32(acc, v, x);
#else
    int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(v), vget_low_s8(x)));
    int32x4_t high = vpaddlq_s16(vmull_high_s8(v, x));
    return vaddq_s32(acc, vpaddq_s32(low, high));
#endif
}
LANE_FN vi vi_dot(vi acc, vi w, const int8_t *x)
{
    int32_t dword;
    memcpy(&dword, x, 4);
    int8x16_t v = vreinterpretq_s8_s32(vdupq_n_s32(dword));
    return (vi){dot4_(acc.a, w.a, v), dot4_(acc.b, w.b, v), dot4_(acc.c, w.c, v), dot4_(acc.d, w.d, v)};
}
#define vi_dot_signed vi_dot

#ifdef AN_LANES_PAIRS
/*
 * smmla multiplies two rows by two columns of eight codes each. Sixteen rows of eight columns lie in a panel as two
 * vectors of four columns; in pairs they lie as eight registers of two rows: rows 0 and 1, rows 2 and 3, and so on.
 */
LANE_FN void pair4_(uint8_t *p, int32x4_t left, int32x4_t right)
{
    vst1q_u8(p, vreinterpretq_u8_s32(vzip1q_s32(left, right)));
    vst1q_u8(p + 16, vreinterpretq_u8_s32(vzip2q_s32(left, right)));
}
/* 128 bytes of a panel to pairs, in place. */
LANE_FN void vi_pair_codes(uint8_t *codes)
{
    vi left = vi_load(codes), right = vi_load(codes + 64);
    pair4_(codes, left.a, right.a);
    pair4_(codes + 32, left.b, right.b);
    pair4_(codes + 64, left.c, right.c);
    pair4_(codes + 96, left.d, right.d);
}
LANE_FN int32x4_t mmla_(int32x4_t acc, int8x16_t x, const uint8_t *w)
{
    return vmmlaq_s32(acc, x, vld1q_s8((const int8_t *)w));
}
/* Rows 0 to 3 of both tokens from {row 0, row 1 of the first, of the second} and the same of rows 2 and 3. */
LANE_FN void add_pair_(int32x4_t *first, int32x4_t *second, int32x4_t rows01, int32x4_t rows23)
{
    int64x2_t low = vreinterpretq_s64_s32(rows01), high = vreinterpretq_s64_s32(rows23);
    *first = vaddq_s32(*first, vreinterpretq_s32_s64(vzip1q_s64(low, high)));
    *second = vaddq_s32(*second, vreinterpretq_s32_s64(vzip2q_s64(low, high)));
}
/* Two tokens whose codes lie 32 bytes apart, n_dword * 4 columns (16 or 32) of codes in pairs. */
LANE_FN void vi_dot_pair(vi acc[2], const uint8_t *codes, const uint8_t *x, const int n_dword)
{
    int32x4_t sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sum[i] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (int j = 0; j < n_dword; j += 4, codes += 256, x += 16) {
        int64x2_t first = vreinterpretq_s64_u8(vld1q_u8(x)), second = vreinterpretq_s64_u8(vld1q_u8(x + 32));
        int8x16_t left = vreinterpretq_s8_s64(vzip1q_s64(first, second));
        int8x16_t right = vreinterpretq_s8_s64(vzip2q_s64(first, second));
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) sum[i] = mmla_(sum[i], left, codes + 16 * i);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) sum[i] = mmla_(sum[i], right, codes + 128 + 16 * i);
    }
    add_pair_(&acc[0].a, &acc[1].a, sum[0], sum[1]);
    add_pair_(&acc[0].b, &acc[1].b, sum[2], sum[3]);
    add_pair_(&acc[0].c, &acc[1].c, sum[4], sum[5]);
    add_pair_(&acc[0].d, &acc[1].d, sum[6], sum[7]);
}
/* Both dwords at x times the codes of w, as many products as two vi_dot; which lane gets which is not said. */
LANE_FN vi vi_dot_both(vi acc, vi w, const int8_t *x)
{
    int32x2_t two = vreinterpret_s32_s8(vld1_s8(x));
    int8x16_t v = vreinterpretq_s8_s32(vcombine_s32(vdup_lane_s32(two, 0), vdup_lane_s32(two, 1)));
    return (vi){vmmlaq_s32(acc.a, v, vreinterpretq_s8_s32(w.a)), vmmlaq_s32(acc.b, v, vreinterpretq_s8_s32(w.b)),
                vmmlaq_s32(acc.c, v, vreinterpretq_s8_s32(w.c)), vmmlaq_s32(acc.d, v, vreinterpretq_s8_s32(w.d))};
}
#endif

LANE_FN vf vf_load(const void *p)
{
    const float *q = p;
    return (vf){vld1q_f32(q), vld1q_f32(q + 4), vld1q_f32(q + 8), vld1q_f32(q + 12)};
}
LANE_FN void vf_store(void *p, vf v)
{
    float *q = p;
    vst1q_f32(q, v.a);
    vst1q_f32(q + 4, v.b);
    vst1q_f32(q + 8, v.c);
    vst1q_f32(q + 12, v.d);
}
LANE_FN vf vf_load_n(const float *p, int n)
{
    float t[16] = {0};
    memcpy(t, p, (size_t)n * 4);
    return vf_load(t);
}
LANE_FN void vf_store_n(float *p, vf v, int n)
{
    float t[16];
    vf_store(t, v);
    memcpy(p, t, (size_t)n * 4);
}
LANE_FN vf vf_set1(float x)
{
    float32x4_t v = vdupq_n_f32(x);
    return (vf){v, v, v, v};
}
LANE_FN vf vf_zero(void) { return vf_set1(0.0f); }
LANE_FN vf vf_add(vf x, vf y) { return MAP2_(vf, vaddq_f32, x, y); }
LANE_FN vf vf_sub(vf x, vf y) { return MAP2_(vf, vsubq_f32, x, y); }
LANE_FN vf vf_mul(vf x, vf y) { return MAP2_(vf, vmulq_f32, x, y); }
LANE_FN vf vf_div(vf x, vf y) { return MAP2_(vf, vdivq_f32, x, y); }
LANE_FN vf vf_fma(vf x, vf y, vf z)
{
    return (vf){vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c),
                vfmaq_f32(z.d, x.d, y.d)};
}
LANE_FN vf vf_max(vf x, vf y) { return MAP2_(vf, vmaxq_f32, x, y); }
LANE_FN vf vf_min(vf x, vf y) { return MAP2_(vf, vminq_f32, x, y); }
LANE_FN vf vf_abs(vf x) { return MAP1_(vf, vabsq_f32, x); }
LANE_FN vf vf_sqrt(vf x) { return MAP1_(vf, vsqrtq_f32, x); }
LANE_FN vi vf_bits(vf x) { return MAP1_(vi, vreinterpretq_s32_f32, x); }
LANE_FN vf vf_from_bits(vi x) { return MAP1_(vf, vreinterpretq_f32_s32, x); }
LANE_FN vf vf_from_int(vi x) { return MAP1_(vf, vcvtq_f32_s32, x); }
LANE_FN vi vf_round(vf x) { return MAP1_(vi, vcvtnq_s32_f32, x); }

/* The conversion itself saturates and makes zero of NaN. */
LANE_FN int32x4_t trunc4_(float32x4_t v)
{
    uint32x4_t fits = vandq_u32(vcgeq_f32(v, vdupq_n_f32(-2147483648.0f)), vcltq_f32(v, vdupq_n_f32(2147483648.0f)));
    return vbslq_s32(fits, vcvtq_s32_f32(v), vdupq_n_s32(INT32_MIN));
}
LANE_FN vi vf_trunc(vf x) { return MAP1_(vi, trunc4_, x); }

typedef struct vm {
    uint32x4_t a, b, c, d;
} vm;
LANE_FN vm vf_lt(vf x, vf y) { return MAP2_(vm, vcltq_f32, x, y); }
LANE_FN vm vf_eq(vf x, vf y) { return MAP2_(vm, vceqq_f32, x, y); }
LANE_FN vm vm_and(vm x, vm y) { return MAP2_(vm, vandq_u32, x, y); }
LANE_FN vm vm_andnot(vm x, vm y) { return MAP2_(vm, vbicq_u32, y, x); }
LANE_FN bool vm_any(vm x)
{
    return vmaxvq_u32(vorrq_u32(vorrq_u32(x.a, x.b), vorrq_u32(x.c, x.d))) != 0;
}
LANE_FN vf vf_blend(vm m, vf yes, vf no)
{
    return (vf){vbslq_f32(m.a, yes.a, no.a), vbslq_f32(m.b, yes.b, no.b), vbslq_f32(m.c, yes.c, no.c),
                vbslq_f32(m.d, yes.d, no.d)};
}
LANE_FN float32x4_t pick4_(uint8x16x4_t table, int32x4_t index)
{
    int32x4_t bytes = vmlaq_n_s32(vdupq_n_s32(0x03020100), index, 0x04040404);
    return vreinterpretq_f32_u8(vqtbl4q_u8(table, vreinterpretq_u8_s32(bytes)));
}
LANE_FN vf vf_pick(const float table[16], vi index)
{
    const uint8_t *p = (const uint8_t *)table;
    uint8x16x4_t t = {{vld1q_u8(p), vld1q_u8(p + 16), vld1q_u8(p + 32), vld1q_u8(p + 48)}};
    return (vf){pick4_(t, index.a), pick4_(t, index.b), pick4_(t, index.c), pick4_(t, index.d)};
}

LANE_FN float vf_sum(vf v)
{
    float32x4_t s = vaddq_f32(vaddq_f32(v.a, v.c), vaddq_f32(v.b, v.d));
    float32x2_t t = vadd_f32(vget_low_f32(s), vget_high_f32(s));
    return vget_lane_f32(t, 0) + vget_lane_f32(t, 1);
}
LANE_FN float vf_max_all(vf v)
{
    return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.a, v.b), vmaxq_f32(v.c, v.d)));
}

LANE_FN float32x4_t half4_(int32x4_t v)
{
    return vcvt_f32_f16(vreinterpret_f16_s16(vmovn_s32(v)));
}
LANE_FN vf vf_f16_low(vi v) { return MAP1_(vf, half4_, v); }
LANE_FN vf vf_f16_high(vi v) { return vf_f16_low(vi_shr(v, 16)); }
LANE_FN uint16x4_t load_u16x4_(const void *p, int i)
{
    return vreinterpret_u16_u8(vld1_u8((const uint8_t *)p + 8 * i));
}
LANE_FN vf vf_load_f16(const void *p)
{
    return (vf){vcvt_f32_f16(vreinterpret_f16_u16(load_u16x4_(p, 0))),
                vcvt_f32_f16(vreinterpret_f16_u16(load_u16x4_(p, 1))),
                vcvt_f32_f16(vreinterpret_f16_u16(load_u16x4_(p, 2))),
                vcvt_f32_f16(vreinterpret_f16_u16(load_u16x4_(p, 3)))};
}
LANE_FN void vf_store_f16(void *p, vf v)
{
    uint8_t *q = p;
    vst1_u8(q, vreinterpret_u8_f16(vcvt_f16_f32(v.a)));
    vst1_u8(q + 8, vreinterpret_u8_f16(vcvt_f16_f32(v.b)));
    vst1_u8(q + 16, vreinterpret_u8_f16(vcvt_f16_f32(v.c)));
    vst1_u8(q + 24, vreinterpret_u8_f16(vcvt_f16_f32(v.d)));
}
LANE_FN float32x4_t bf16x4_(uint16x4_t v) { return vreinterpretq_f32_u32(vshll_n_u16(v, 16)); }
LANE_FN vf vf_load_bf16(const void *p)
{
    return (vf){bf16x4_(load_u16x4_(p, 0)), bf16x4_(load_u16x4_(p, 1)), bf16x4_(load_u16x4_(p, 2)),
                bf16x4_(load_u16x4_(p, 3))};
}
LANE_FN void vi_store_bytes(void *p, vi v)
{
    int16x8_t low = vcombine_s16(vmovn_s32(v.a), vmovn_s32(v.b));
    int16x8_t high = vcombine_s16(vmovn_s32(v.c), vmovn_s32(v.d));
    vst1q_s8(p, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
LANE_FN vi vi_load_bytes(const void *p)
{
    uint8x16_t v = vld1q_u8(p);
    uint16x8_t low = vmovl_u8(vget_low_u8(v)), high = vmovl_high_u8(v);
    return (vi){vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))), vreinterpretq_s32_u32(vmovl_high_u16(low)),
                vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))), vreinterpretq_s32_u32(vmovl_high_u16(high))};
}
LANE_FN vi vi_load_int8(const void *p)
{
    int8x16_t v = vld1q_s8(p);
    int16x8_t low = vmovl_s8(vget_low_s8(v)), high = vmovl_high_s8(v);
    return (vi){vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
}
LANE_FN int32_t vi_sum(vi v)
{
    return vaddvq_s32(vaddq_s32(vaddq_s32(v.a, v.b), vaddq_s32(v.c, v.d)));
}

#endif
