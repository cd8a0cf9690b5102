/* Sixteen lanes as one AVX-512 register (F BW DQ VL VNNI). lanes/scalar.h says what each operation means. */
#ifndef AN_LANES_AVX512_H
#define AN_LANES_AVX512_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AN_LANES_CODE_XOR 0x80 /* vpdpbusd wants unsigned codes: int8 kinds are stored plus 128 */
#define AN_LANES_TOKENS 12
#define AN_LANES_F32_ROWS 4
#define AN_LANES_F32_TOKENS 4
#define AN_LANES_QUERIES 8
#define AN_LANES_CHAINS 12
#define AN_LANES_EMULATED 0

#define LANE_FN static inline __attribute__((always_inline, unused))

typedef __m512 vf;
typedef __m512i vi;
typedef int32_t an_alias_i32 __attribute__((may_alias, aligned(1)));
typedef __m512i an_alias_line __attribute__((may_alias, aligned(1)));

LANE_FN vi vi_load(const void *p) { return _mm512_loadu_si512(p); }
/* For lines that are used more than once: gcc would rather load them again each time, or in another order. */
LANE_FN vi vi_load_once(const void *p)
{
    vi v;
    __asm__ volatile("vmovdqu64 %1, %0" : "=v"(v) : "m"(*(const an_alias_line *)p));
    return v;
}
/* The same for numbers made of what was loaded: whatever loads in order comes behind. */
#define vi_in_order(v) ((vi)vf_in_order((vf)(v)))
LANE_FN vf vf_in_order(vf v)
{
    __asm__ volatile("" : "+v"(v));
    return v;
}
LANE_FN void vi_store(void *p, vi v) { _mm512_storeu_si512(p, v); }
LANE_FN vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
LANE_FN vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
LANE_FN vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
LANE_FN vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
LANE_FN vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
LANE_FN vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
LANE_FN vi vi_max(vi a, vi b) { return _mm512_max_epi32(a, b); }
LANE_FN vi vi_min(vi a, vi b) { return _mm512_min_epi32(a, b); }
#define vi_shr(a, n) _mm512_srli_epi32(a, n)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_sra(a, n) _mm512_srai_epi32(a, n)

/* Rows i, i + 4, i + 8, i + 12: one in each 128-bit lane, so that the transposition stays inside lanes. */
LANE_FN vi rows4_(const uint8_t *p, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)p));
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 4 * stride)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 8 * stride)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const __m128i *)(p + 12 * stride)), 3);
}
LANE_FN void vi_rows16(const uint8_t *p, size_t stride, vi out[4])
{
    vi a = rows4_(p, stride), b = rows4_(p + stride, stride);
    vi c = rows4_(p + 2 * stride, stride), d = rows4_(p + 3 * stride, stride);
    vi ab = _mm512_unpacklo_epi32(a, b), cd = _mm512_unpacklo_epi32(c, d);
    vi ab_high = _mm512_unpackhi_epi32(a, b), cd_high = _mm512_unpackhi_epi32(c, d);
    out[0] = _mm512_unpacklo_epi64(ab, cd);
    out[1] = _mm512_unpackhi_epi64(ab, cd);
    out[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    out[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}
LANE_FN void vi_put_rows16(uint8_t *p, size_t stride, const vi in[4])
{
    vi ab = _mm512_unpacklo_epi32(in[0], in[1]), cd = _mm512_unpacklo_epi32(in[2], in[3]);
    vi ab_high = _mm512_unpackhi_epi32(in[0], in[1]), cd_high = _mm512_unpackhi_epi32(in[2], in[3]);
    vi rows[4] = {_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd),
                  _mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high)};
    for (int i = 0; i < 4; i++, p += stride) {
        _mm_storeu_si128((__m128i *)p, _mm512_castsi512_si128(rows[i]));
        _mm_storeu_si128((__m128i *)(p + 4 * stride), _mm512_extracti32x4_epi32(rows[i], 1));
        _mm_storeu_si128((__m128i *)(p + 8 * stride), _mm512_extracti32x4_epi32(rows[i], 2));
        _mm_storeu_si128((__m128i *)(p + 12 * stride), _mm512_extracti32x4_epi32(rows[i], 3));
    }
}
LANE_FN __m128i dword4_(const uint8_t *p, size_t stride)
{
    int32_t x[4];
    for (int i = 0; i < 4; i++) memcpy(&x[i], p + (size_t)i * stride, 4);
    return _mm_set_epi32(x[3], x[2], x[1], x[0]);
}
LANE_FN vi vi_gather(const uint8_t *p, size_t stride)
{
    __m512i v = _mm512_castsi128_si512(dword4_(p, stride));
    v = _mm512_inserti32x4(v, dword4_(p + 4 * stride, stride), 1);
    v = _mm512_inserti32x4(v, dword4_(p + 8 * stride, stride), 2);
    return _mm512_inserti32x4(v, dword4_(p + 12 * stride, stride), 3);
}
LANE_FN vi vi_lookup(const uint8_t table[16], vi v)
{
    __m128i t = _mm_loadu_si128((const __m128i *)table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), v);
}
LANE_FN vi vi_dup_low(vi v)
{
    __m128i order = _mm_setr_epi8(0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}
LANE_FN vi vi_dup_high(vi v)
{
    __m128i order = _mm_setr_epi8(2, 2, 3, 3, 6, 6, 7, 7, 10, 10, 11, 11, 14, 14, 15, 15);
    return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(order));
}

/*
 * Inline assembly on purpose: with the intrinsic, gcc 12 copies every accumulator of a large tile through the
 * stack, which costs more than half of the speed. Unsigned w, signed x.
 */
LANE_FN vi vi_dot(vi acc, vi w, const int8_t *x)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const an_alias_i32 *)x));
    return acc;
}
#define vi_dot_signed vi_dot
/* acc + the products of both signed halves of every dword of a and b, or of a and the dword at x; assembly for the same reason. */
#define AN_LANES_WORDS
LANE_FN vi vi_dot_words(vi acc, vi a, vi b)
{
    __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b));
    return acc;
}
LANE_FN vi vi_dot_words1(vi acc, vi a, const void *x)
{
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(a), "m"(*(const an_alias_i32 *)x));
    return acc;
}

LANE_FN vf vf_load(const void *p) { return _mm512_loadu_ps(p); }
LANE_FN void vf_store(void *p, vf v) { _mm512_storeu_ps(p, v); }
LANE_FN vf vf_load_n(const float *p, int n)
{
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
LANE_FN void vf_store_n(float *p, vf v, int n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), v);
}
LANE_FN vf vf_set1(float x) { return _mm512_set1_ps(x); }
LANE_FN vf vf_zero(void) { return _mm512_setzero_ps(); }
LANE_FN vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
LANE_FN vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
LANE_FN vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
LANE_FN vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
LANE_FN vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
LANE_FN vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
LANE_FN vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
LANE_FN vf vf_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
LANE_FN vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
LANE_FN vi vf_bits(vf a) { return _mm512_castps_si512(a); }
LANE_FN vf vf_from_bits(vi a) { return _mm512_castsi512_ps(a); }
LANE_FN vf vf_from_int(vi a) { return _mm512_cvtepi32_ps(a); }
LANE_FN vi vf_round(vf a) { return _mm512_cvtps_epi32(a); }
#define AN_LANES_SCALE 1 /* to the nearest whole number, ties to even; a * 2^n for whole n, rounded once */
LANE_FN vf vf_rint(vf a) { return _mm512_roundscale_ps(a, 8); }
LANE_FN vf vf_scale(vf a, vf n) { return _mm512_scalef_ps(a, n); }
LANE_FN vi vf_trunc(vf a) { return _mm512_cvttps_epi32(a); }

typedef __mmask16 vm;
LANE_FN vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
LANE_FN vm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
LANE_FN vm vm_and(vm a, vm b) { return (vm)(a & b); }
LANE_FN vm vm_andnot(vm a, vm b) { return (vm)(~a & b); }
LANE_FN bool vm_any(vm a) { return a != 0; }
LANE_FN vf vf_blend(vm m, vf yes, vf no) { return _mm512_mask_blend_ps(m, no, yes); }
LANE_FN vf vf_pick(const float table[16], vi index)
{
    return _mm512_permutexvar_ps(index, _mm512_loadu_ps(table));
}

LANE_FN float vf_sum(vf v)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
LANE_FN float vf_max_all(vf v) { return _mm512_reduce_max_ps(v); }

LANE_FN vf vf_f16_low(vi v) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v)); }
LANE_FN vf vf_f16_high(vi v) { return vf_f16_low(vi_shr(v, 16)); }
LANE_FN vf vf_load_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
LANE_FN void vf_store_f16(void *p, vf v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
LANE_FN vf vf_load_bf16(const void *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
/*
 * Of processors with BF16, which the rest of a level need not have: so assembly, not intrinsics. Numbers low, then high, as
 * bf16; and acc + both products of each pair of w with the pair at x, rounded as the instruction does.
 */
#define AN_LANES_BF16_PAIRS 1
LANE_FN vi vi_bf16_pairs(vf low, vf high)
{
    vi v;
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(v) : "v"(low), "v"(high));
    return v;
}
LANE_FN vf vf_dot_pairs(vf acc, vi w, const void *x)
{
    __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*(const an_alias_i32 *)x));
    return acc;
}
#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)
LANE_FN vi vi_bf16(vf low, vf high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
LANE_FN vf vf_row_pairs(vf v, const int half)
{
    __m512i order = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(_mm512_add_epi32(order, _mm512_set1_epi32(8 * half)), v);
}
/* One shuffle brings the bytes and puts them where a float has them: no masks, no shifts. */
LANE_FN __m512i code_order_(const int half, const int pair)
{
    __m512i order = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
    return _mm512_mullo_epi32(_mm512_add_epi32(order, _mm512_set1_epi32(32 * half + 2 * pair)), _mm512_set1_epi32(0x01010101));
}
LANE_FN vf vf_code_pairs(vi v, const int half, const int pair)
{
    return _mm512_cvtepi32_ps(_mm512_maskz_permutexvar_epi8(0x1111111111111111, code_order_(half, pair), v));
}
/* With 0x3F above it, a byte below 128 is the mantissa of a number from 0.5 to 1. */
LANE_FN vf vf_small_code_pairs(vi v, const int half, const int pair)
{
    vi above = _mm512_set1_epi32(0x3F000000);
    return _mm512_castsi512_ps(_mm512_mask_permutexvar_epi8(above, 0x4444444444444444, code_order_(half, pair), v));
}
#endif
LANE_FN void vi_store_bytes(void *p, vi v)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}
LANE_FN vi vi_load_bytes(const void *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128(p)); }
LANE_FN vi vi_load_int8(const void *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128(p)); }
LANE_FN int32_t vi_sum(vi v) { return _mm512_reduce_add_epi32(v); }

#endif
