/*
 * Sixteen lanes as two AVX2 registers (with FMA and F16C). lanes/scalar.h says what each operation means.
 * AN_LANES_VNNI, the prefix that picks its encoding, stands for the dot product in one instruction.
 */
#ifndef AN_LANES_AVX2_H
#define AN_LANES_AVX2_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define AN_LANES_TOKENS 4 /* their sums in f32 wait in memory while the products have the registers */
#ifdef AN_LANES_VNNI
#define AN_LANES_CODE_XOR 0x80 /* vpdpbusd wants unsigned codes: int8 kinds are stored plus 128 */
#else
#define AN_LANES_CODE_XOR 0
#define AN_LANES_SHORT(bits) ((bits) <= 4 ? 8 : (bits) == 5 ? 4 : 2) /* dwords whose products fit one sum in 16 bits */
#endif
#define AN_LANES_FUSED 4
#define AN_LANES_F32_ROWS 2
#define AN_LANES_F32_TOKENS 2
#define AN_LANES_QUERIES 4
#define AN_LANES_CHAINS 6
#define AN_LANES_BF16_PAIRS 0
#define AN_LANES_EMULATED 0

#define LANE_FN static inline __attribute__((always_inline, unused))

typedef int32_t an_alias_i32 __attribute__((may_alias, aligned(1)));
typedef struct vf {
    __m256 a, b;
} vf;
typedef struct vi {
    __m256i a, b;
} vi;

#define MAP2_(type, f, x, y) ((type){f((x).a, (y).a), f((x).b, (y).b)})

LANE_FN vi vi_load(const void *p)
{
    const __m256i *q = p;
    return (vi){_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
}
#define vi_load_once vi_load
#define vi_in_order(v) (v)
#define vf_in_order(v) (v)
LANE_FN void vi_store(void *p, vi v)
{
    __m256i *q = p;
    _mm256_storeu_si256(q, v.a);
    _mm256_storeu_si256(q + 1, v.b);
}
LANE_FN vi vi_set1(int32_t x)
{
    __m256i v = _mm256_set1_epi32(x);
    return (vi){v, v};
}
LANE_FN vi vi_and(vi x, vi y) { return MAP2_(vi, _mm256_and_si256, x, y); }
LANE_FN vi vi_or(vi x, vi y) { return MAP2_(vi, _mm256_or_si256, x, y); }
LANE_FN vi vi_xor(vi x, vi y) { return MAP2_(vi, _mm256_xor_si256, x, y); }
LANE_FN vi vi_add(vi x, vi y) { return MAP2_(vi, _mm256_add_epi32, x, y); }
LANE_FN vi vi_mul(vi x, vi y) { return MAP2_(vi, _mm256_mullo_epi32, x, y); }
LANE_FN vi vi_max(vi x, vi y) { return MAP2_(vi, _mm256_max_epi32, x, y); }
LANE_FN vi vi_min(vi x, vi y) { return MAP2_(vi, _mm256_min_epi32, x, y); }
#define vi_shr(x, n) ((vi){_mm256_srli_epi32((x).a, n), _mm256_srli_epi32((x).b, n)})
#define vi_shl(x, n) ((vi){_mm256_slli_epi32((x).a, n), _mm256_slli_epi32((x).b, n)})
#define vi_sra(x, n) ((vi){_mm256_srai_epi32((x).a, n), _mm256_srai_epi32((x).b, n)})

LANE_FN __m256i rows2_(const uint8_t *p, size_t stride)
{
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
                                   _mm_loadu_si128((const __m128i *)(p + 4 * stride)), 1);
}
/* Rows 0..7 from p on: out[j] = their dword j. */
LANE_FN void rows8_(const uint8_t *p, size_t stride, __m256i out[4])
{
    __m256i a = rows2_(p, stride), b = rows2_(p + stride, stride);
    __m256i c = rows2_(p + 2 * stride, stride), d = rows2_(p + 3 * stride, stride);
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    __m256i ab_high = _mm256_unpackhi_epi32(a, b), cd_high = _mm256_unpackhi_epi32(c, d);
    out[0] = _mm256_unpacklo_epi64(ab, cd);
    out[1] = _mm256_unpackhi_epi64(ab, cd);
    out[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
    out[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}
LANE_FN void vi_rows16(const uint8_t *p, size_t stride, vi out[4])
{
    __m256i low[4], high[4];
    rows8_(p, stride, low);
    rows8_(p + 8 * stride, stride, high);
    for (int j = 0; j < 4; j++) out[j] = (vi){low[j], high[j]};
}
/* in[j] = dword j of eight rows. */
LANE_FN void put_rows8_(uint8_t *p, size_t stride, __m256i a, __m256i b, __m256i c, __m256i d)
{
    __m256i ab = _mm256_unpacklo_epi32(a, b), cd = _mm256_unpacklo_epi32(c, d);
    __m256i ab_high = _mm256_unpackhi_epi32(a, b), cd_high = _mm256_unpackhi_epi32(c, d);
    __m256i rows[4] = {_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd),
                       _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high)};
    for (int i = 0; i < 4; i++, p += stride) {
        _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(rows[i]));
        _mm_storeu_si128((__m128i *)(p + 4 * stride), _mm256_extracti128_si256(rows[i], 1));
    }
}
LANE_FN void vi_put_rows16(uint8_t *p, size_t stride, const vi in[4])
{
    put_rows8_(p, stride, in[0].a, in[1].a, in[2].a, in[3].a);
    put_rows8_(p + 8 * stride, stride, in[0].b, in[1].b, in[2].b, in[3].b);
}
LANE_FN __m256i dword8_(const uint8_t *p, size_t stride)
{
    int32_t x[8];
    for (int i = 0; i < 8; i++) memcpy(&x[i], p + (size_t)i * stride, 4);
    return _mm256_setr_epi32(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
}
LANE_FN vi vi_gather(const uint8_t *p, size_t stride)
{
    return (vi){dword8_(p, stride), dword8_(p + 8 * stride, stride)};
}
LANE_FN vi shuffle_(__m128i order, vi v)
{
    __m256i o = _mm256_broadcastsi128_si256(order);
    return (vi){_mm256_shuffle_epi8(v.a, o), _mm256_shuffle_epi8(v.b, o)};
}
LANE_FN vi vi_lookup(const uint8_t table[16], vi v)
{
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
    return (vi){_mm256_shuffle_epi8(t, v.a), _mm256_shuffle_epi8(t, v.b)};
}
LANE_FN vi vi_dup_low(vi v)
{
    return shuffle_(_mm_setr_epi8(0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13), v);
}
LANE_FN vi vi_dup_high(vi v)
{
    return shuffle_(_mm_setr_epi8(2, 2, 3, 3, 6, 6, 7, 7, 10, 10, 11, 11, 14, 14, 15, 15), v);
}

LANE_FN __m256i broadcast4_(const int8_t *x)
{
    int32_t dword;
    memcpy(&dword, x, 4);
    return _mm256_set1_epi32(dword);
}
#ifdef AN_LANES_VNNI
/* Inline assembly for the same reason as in lanes/avx512.h. Without EVEX nothing is broadcast by the product itself. */
LANE_FN vi vi_dot(vi acc, vi w, const int8_t *x)
{
    __m256i v;
    __asm__("vpbroadcastd %3, %2\n\t" AN_LANES_VNNI " vpdpbusd %2, %4, %0\n\t" AN_LANES_VNNI " vpdpbusd %2, %5, %1"
            : "+x"(acc.a), "+x"(acc.b), "=&x"(v)
            : "m"(*(const an_alias_i32 *)x), "x"(w.a), "x"(w.b));
    return acc;
}
#define vi_dot_signed vi_dot
/* acc + the products of both signed halves of every dword of a and b, or of a and the dword at x. */
#define AN_LANES_WORDS
LANE_FN vi vi_dot_words(vi acc, vi a, vi b)
{
    __asm__(AN_LANES_VNNI " vpdpwssd %2, %4, %0\n\t" AN_LANES_VNNI " vpdpwssd %3, %5, %1"
            : "+&x"(acc.a), "+x"(acc.b)
            : "x"(a.a), "x"(a.b), "x"(b.a), "x"(b.b));
    return acc;
}
LANE_FN vi vi_dot_words1(vi acc, vi a, const void *x)
{
    __m256i v = broadcast4_(x);
    return vi_dot_words(acc, a, (vi){v, v});
}
#else
/* acc + the products of both signed halves of every dword of a and b, or of a and the dword at x. */
#define AN_LANES_WORDS
LANE_FN vi vi_dot_words(vi acc, vi a, vi b)
{
    return vi_add(acc, (vi){_mm256_madd_epi16(a.a, b.a), _mm256_madd_epi16(a.b, b.b)});
}
/* Inline assembly for the reason of vi_add_short(). */
LANE_FN vi vi_dot_words1(vi acc, vi a, const void *x)
{
    __m256i v, part;
    __asm__("vpbroadcastd %4, %2\n\tvpmaddwd %2, %5, %3\n\tvpmaddwd %2, %6, %2\n\t"
            "vpaddd %3, %0, %0\n\tvpaddd %2, %1, %1"
            : "+x"(acc.a), "+x"(acc.b), "=&x"(v), "=&x"(part)
            : "m"(*(const an_alias_i32 *)x), "x"(a.a), "x"(a.b));
    return acc;
}
/* The upper (0) or lower (1) half of every dword in both of its halves. */
LANE_FN vi vi_twice(vi v, const int lower)
{
    if (lower) return shuffle_(_mm_setr_epi8(0, 1, 0, 1, 4, 5, 4, 5, 8, 9, 8, 9, 12, 13, 12, 13), v);
    return shuffle_(_mm_setr_epi8(2, 3, 2, 3, 6, 7, 6, 7, 10, 11, 10, 11, 14, 15, 14, 15), v);
}
/*
 * Sums of products in 16 bits, two of a dword's four each, and as int32. Unsigned codes up to 127, with at most 1 dword or
 * AN_LANES_SHORT of them in a sum: 8 * 2 * 15 * 127, and the like, fit.
 */
LANE_FN vi vi_short(vi w, const int8_t *x)
{
    __m256i v = broadcast4_(x);
    return (vi){_mm256_maddubs_epi16(w.a, v), _mm256_maddubs_epi16(w.b, v)};
}
/* sum += vi_short(w, x). Inline assembly on purpose: with intrinsics gcc 12 keeps a third of a tile's sums on the stack. */
LANE_FN vi vi_add_short(vi sum, vi w, const int8_t *x)
{
    __m256i v, part;
    __asm__("vpbroadcastd %4, %2\n\tvpmaddubsw %2, %5, %3\n\tvpmaddubsw %2, %6, %2\n\t"
            "vpaddw %3, %0, %0\n\tvpaddw %2, %1, %1"
            : "+x"(sum.a), "+x"(sum.b), "=&x"(v), "=&x"(part)
            : "m"(*(const an_alias_i32 *)x), "x"(w.a), "x"(w.b));
    return sum;
}
LANE_FN vi vi_add_widened(vi acc, vi v) { return vi_dot_words(acc, v, (vi){_mm256_set1_epi16(1), _mm256_set1_epi16(1)}); }
LANE_FN vi vi_dot(vi acc, vi w, const int8_t *x) { return vi_add_widened(acc, vi_short(w, x)); }
/*
 * int8 codes: |w| (up to 128) times x with w's sign; 2 * 128 * 127 still fits, one dword in a sum. |w| serves many tokens; codes
 * and scales may stay in memory. Both words of a dword of `scale` are the same.
 */
LANE_FN vi vi_dot_scaled(vi acc, vi w, const int8_t *x, vi scale)
{
    __m256i v, part, a = _mm256_abs_epi8(w.a), b = _mm256_abs_epi8(w.b);
    __asm__("vpbroadcastd %4, %2\n\t"
            "vpsignb %7, %2, %3\n\tvpmaddubsw %3, %5, %3\n\tvpmaddwd %9, %3, %3\n\tvpaddd %3, %0, %0\n\t"
            "vpsignb %8, %2, %2\n\tvpmaddubsw %2, %6, %2\n\tvpmaddwd %10, %2, %2\n\tvpaddd %2, %1, %1"
            : "+x"(acc.a), "+x"(acc.b), "=&x"(v), "=&x"(part)
            : "m"(*(const an_alias_i32 *)x), "x"(a), "x"(b), "xm"(w.a), "xm"(w.b), "xm"(scale.a), "xm"(scale.b));
    return acc;
}
LANE_FN vi vi_dot_signed(vi acc, vi w, const int8_t *x)
{
    return vi_dot_scaled(acc, w, x, (vi){_mm256_set1_epi16(1), _mm256_set1_epi16(1)});
}
#endif

#ifndef AN_LANES_VNNI
/* Columns 0 and 2, or 1 and 3, of every dword as 16 bits; the same of 32 columns of one token; products of such pairs added. */
#define AN_LANES_WIDENED
LANE_FN __m256i even16_(__m256i v) { return _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8); }
LANE_FN vi vi_even16(vi v) { return (vi){even16_(v.a), even16_(v.b)}; }
LANE_FN vi vi_odd16(vi v) { return (vi){_mm256_srai_epi16(v.a, 8), _mm256_srai_epi16(v.b, 8)}; }
LANE_FN vi vi_mul16(vi x, vi y) { return MAP2_(vi, _mm256_mullo_epi16, x, y); }
LANE_FN void vi_widen32(void *p, const void *x)
{
    __m256i v = _mm256_loadu_si256(x);
    vi_store(p, (vi){even16_(v), _mm256_srai_epi16(v, 8)});
}
#define vi_dot16 vi_dot_words1
#endif

LANE_FN vf vf_load(const void *p)
{
    const float *q = p;
    return (vf){_mm256_loadu_ps(q), _mm256_loadu_ps(q + 8)};
}
LANE_FN void vf_store(void *p, vf v)
{
    float *q = p;
    _mm256_storeu_ps(q, v.a);
    _mm256_storeu_ps(q + 8, v.b);
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
    __m256 v = _mm256_set1_ps(x);
    return (vf){v, v};
}
LANE_FN vf vf_zero(void) { return vf_set1(0.0f); }
LANE_FN vf vf_add(vf x, vf y) { return MAP2_(vf, _mm256_add_ps, x, y); }
LANE_FN vf vf_sub(vf x, vf y) { return MAP2_(vf, _mm256_sub_ps, x, y); }
LANE_FN vf vf_mul(vf x, vf y) { return MAP2_(vf, _mm256_mul_ps, x, y); }
LANE_FN vf vf_div(vf x, vf y) { return MAP2_(vf, _mm256_div_ps, x, y); }
LANE_FN vf vf_fma(vf x, vf y, vf z)
{
    return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
LANE_FN vf vf_max(vf x, vf y) { return MAP2_(vf, _mm256_max_ps, x, y); }
LANE_FN vf vf_min(vf x, vf y) { return MAP2_(vf, _mm256_min_ps, x, y); }
LANE_FN vf vf_abs(vf x)
{
    __m256 sign = _mm256_set1_ps(-0.0f);
    return (vf){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
LANE_FN vf vf_sqrt(vf x) { return (vf){_mm256_sqrt_ps(x.a), _mm256_sqrt_ps(x.b)}; }
LANE_FN vi vf_bits(vf x) { return (vi){_mm256_castps_si256(x.a), _mm256_castps_si256(x.b)}; }
LANE_FN vf vf_from_bits(vi x) { return (vf){_mm256_castsi256_ps(x.a), _mm256_castsi256_ps(x.b)}; }
LANE_FN vf vf_from_int(vi x) { return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
LANE_FN vi vf_round(vf x) { return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
LANE_FN vi vf_trunc(vf x) { return (vi){_mm256_cvttps_epi32(x.a), _mm256_cvttps_epi32(x.b)}; }

typedef struct vm {
    __m256 a, b;
} vm;
LANE_FN vm vf_lt(vf x, vf y)
{
    return (vm){_mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ)};
}
LANE_FN vm vf_eq(vf x, vf y)
{
    return (vm){_mm256_cmp_ps(x.a, y.a, _CMP_EQ_OQ), _mm256_cmp_ps(x.b, y.b, _CMP_EQ_OQ)};
}
LANE_FN vm vm_and(vm x, vm y) { return MAP2_(vm, _mm256_and_ps, x, y); }
LANE_FN vm vm_andnot(vm x, vm y) { return MAP2_(vm, _mm256_andnot_ps, x, y); }
LANE_FN bool vm_any(vm x) { return _mm256_movemask_ps(_mm256_or_ps(x.a, x.b)) != 0; }
LANE_FN vf vf_blend(vm m, vf yes, vf no)
{
    return (vf){_mm256_blendv_ps(no.a, yes.a, m.a), _mm256_blendv_ps(no.b, yes.b, m.b)};
}
LANE_FN __m256 pick8_(__m256 low, __m256 high, __m256i index)
{
    __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)); /* bit 3 is the half */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), upper);
}
LANE_FN vf vf_pick(const float table[16], vi index)
{
    __m256 low = _mm256_loadu_ps(table), high = _mm256_loadu_ps(table + 8);
    return (vf){pick8_(low, high, index.a), pick8_(low, high, index.b)};
}

LANE_FN float vf_sum(vf v)
{
    __m256 a = _mm256_add_ps(v.a, v.b);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
LANE_FN float vf_max_all(vf v)
{
    __m256 a = _mm256_max_ps(v.a, v.b);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}

LANE_FN __m128i pack16_(__m256i v)
{
    __m256i p = _mm256_packus_epi32(v, v);
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(p, 0x08));
}
LANE_FN vf vf_f16_high(vi v)
{
    v = vi_shr(v, 16);
    return (vf){_mm256_cvtph_ps(pack16_(v.a)), _mm256_cvtph_ps(pack16_(v.b))};
}
LANE_FN vf vf_f16_low(vi v) { return vf_f16_high(vi_shl(v, 16)); }
LANE_FN vf vf_load_f16(const void *p)
{
    const __m128i *q = p;
    return (vf){_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
}
LANE_FN void vf_store_f16(void *p, vf v)
{
    __m128i *q = p;
    _mm_storeu_si128(q, _mm256_cvtps_ph(v.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(q + 1, _mm256_cvtps_ph(v.b, _MM_FROUND_TO_NEAREST_INT));
}
LANE_FN vf vf_load_bf16(const void *p)
{
    const __m128i *q = p;
    __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(q));
    __m256i b = _mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1));
    return vf_from_bits((vi){_mm256_slli_epi32(a, 16), _mm256_slli_epi32(b, 16)});
}
LANE_FN void vi_store_bytes(void *p, vi v)
{
    __m256i w = _mm256_permute4x64_epi64(_mm256_packs_epi32(v.a, v.b), 0xD8);
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)p, b);
}
LANE_FN vi vi_load_bytes(const void *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (vi){_mm256_cvtepu8_epi32(v), _mm256_cvtepu8_epi32(_mm_srli_si128(v, 8))};
}
LANE_FN vi vi_load_int8(const void *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return (vi){_mm256_cvtepi8_epi32(v), _mm256_cvtepi8_epi32(_mm_srli_si128(v, 8))};
}
LANE_FN int32_t vi_sum(vi v)
{
    __m256i a = _mm256_add_epi32(v.a, v.b);
    __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_add_epi32(b, _mm_shuffle_epi32(b, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 0xB1)));
}

#endif
