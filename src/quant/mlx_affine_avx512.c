/* MLX's affine encoder for x86 with AVX-512 F, BW, DQ and VL: the operations of mlx_affine_body.h, sixteen values at a time. */
#include "quant/mlx_affine.h"
#include "quant/mlx_pack.h"

#include <immintrin.h>

enum { STEP = 16, STEPS_MAX = 8 };

static inline __m512 load_step(an_dtype from, const uint8_t *x)
{
    if (from == AN_DTYPE_F32) return _mm512_loadu_ps(x);
    __m256i half = _mm256_loadu_si256((const __m256i *)x);
    if (from == AN_DTYPE_F16) return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Sixteen codes to eight bytes. */
static inline void put_nibbles(__m512i codes, uint8_t *out)
{
    __m128i pairs = _mm_maddubs_epi16(_mm512_cvtepi32_epi8(codes), _mm_set1_epi16(0x1001));
    _mm_storel_epi64((__m128i *)out, _mm_cvtepi16_epi8(pairs));
}

static inline bool encode_groups(an_mlx_row *row, const an_dtype from, const int bits, const int n)
{
    const float largest = (float)((1 << bits) - 1);
    const int size = from == AN_DTYPE_F32 ? 4 : 2;
    const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
    const uint8_t *x = row->x;
    uint8_t *codes = row->codes, *scales = row->scales, *biases = row->biases;
    __m512 sq = _mm512_setzero_ps(), sq_error = _mm512_setzero_ps();
    for (int64_t left = row->n; left > 0; left -= n, x += n * size, scales += size, biases += size) {
        __m512 v[STEPS_MAX], min, max;
        __m512i abs_max = _mm512_setzero_si512();
        uint8_t q[STEP * STEPS_MAX];
        float scale, bias;
        for (int i = 0; i < n / STEP; i++) {
            v[i] = load_step(from, x + i * STEP * size);
            min = i ? _mm512_min_ps(min, v[i]) : v[i];
            max = i ? _mm512_max_ps(max, v[i]) : v[i];
            abs_max = _mm512_max_epu32(abs_max, _mm512_and_si512(_mm512_castps_si512(v[i]), magnitude));
        }
        if (_mm512_cmpge_epu32_mask(abs_max, _mm512_set1_epi32(0x7F800000))) return false;
        an_mlx_affine_scale(_mm512_reduce_min_ps(min), _mm512_reduce_max_ps(max), largest, &scale, &bias);
        const __m512 s = _mm512_set1_ps(an_mlx_put_float(from, scale, scales)),
                     b = _mm512_set1_ps(an_mlx_put_float(from, bias, biases));
        for (int i = 0; i < n / STEP; i++) {
            __m512 t = _mm512_div_ps(_mm512_sub_ps(v[i], _mm512_set1_ps(bias)), _mm512_set1_ps(scale));
            t = _mm512_max_ps(t, _mm512_setzero_ps()); /* what is no number becomes the second operand */
            t = _mm512_min_ps(t, _mm512_set1_ps(largest));
            __m512i code = _mm512_cvtps_epi32(t);
            __m512 diff = _mm512_sub_ps(v[i], _mm512_fmadd_ps(_mm512_cvtepi32_ps(code), s, b));
            sq = _mm512_fmadd_ps(v[i], v[i], sq);
            sq_error = _mm512_fmadd_ps(diff, diff, sq_error);
            if (bits == 4) put_nibbles(code, codes + i * STEP / 2);
            else _mm_storeu_si128((__m128i *)(q + i * STEP), _mm512_cvtepi32_epi8(code));
        }
        if (bits != 4) an_mlx_pack(q, n, bits, codes);
        codes += n * bits / 8;
    }
    row->sum_sq += (double)_mm512_reduce_add_ps(sq);
    row->sum_sq_error += (double)_mm512_reduce_add_ps(sq_error);
    return true;
}

/* Constants make loops of fixed length without decisions in them. */
static inline bool with_group(an_mlx_row *row, const an_dtype from, const int bits, int group)
{
    if (group == 32) return encode_groups(row, from, bits, 32);
    if (group == 64) return encode_groups(row, from, bits, 64);
    return encode_groups(row, from, bits, 128);
}

static inline bool with_bits(an_mlx_row *row, const an_dtype from, int bits, int group)
{
    return bits == 4 ? with_group(row, from, 4, group) : with_group(row, from, bits, group);
}

bool an_mlx_affine_avx512(an_mlx_row *row, int bits, int group)
{
    if (row->from == AN_DTYPE_BF16) return with_bits(row, AN_DTYPE_BF16, bits, group);
    if (row->from == AN_DTYPE_F16) return with_bits(row, AN_DTYPE_F16, bits, group);
    return with_bits(row, AN_DTYPE_F32, bits, group);
}
