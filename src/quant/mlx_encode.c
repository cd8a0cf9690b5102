/* MLX's quantized groups: choice of the affine encoder, and the FP modes, scalar. */
#include "quant/mlx_encode.h"

#include "base/bytes.h"
#include "base/isa.h"
#include "quant/dequant.h"
#include "quant/half.h"
#include "quant/mlx_affine.h"

#include <math.h>
#include <string.h>

static float rounded(an_dtype type, float f)
{
    if (type == AN_DTYPE_BF16) return an_f32_from_bf16(an_bf16_from_f32(f));
    if (type == AN_DTYPE_F16) return an_f32_from_f16(an_f16_from_f32(f));
    return f;
}

/* E4M3, halves to even, 448 at most. */
static uint8_t to_e4m3(float f)
{
    uint32_t bits = an_f32_bits(f), abs = bits & 0x7FFFFFFFu;
    uint8_t sign = (uint8_t)(bits >> 24 & 0x80);
    if (abs >= 0x43E80000u) return sign | 0x7E; /* 464, where the rounding would leave the range */
    if (abs < 0x3C800000u) {
        /* Below 2^-6: steps of 2^-9, by an addition that rounds there. */
        float shifted = an_f32_from_bits(abs) + 0x1p14f;
        return (uint8_t)(sign | (an_f32_bits(shifted) - 0x46800000u));
    }
    return (uint8_t)(sign | ((abs + 0x7FFFFu + (abs >> 20 & 1) - 0x3C000000u) >> 20));
}

static uint8_t far_e2m1(float f)
{
    uint8_t best = 0;
    for (uint8_t code = 1; code < 16; code++)
        if (fabsf(f - an_f32_from_e2m1(code)) < fabsf(f - an_f32_from_e2m1(best))) best = code;
    return best;
}

static uint8_t to_e2m1(float f)
{
    static const float borders[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f};
    float abs = fabsf(f);
    uint8_t code = 0;
    /* The reference takes the first of the smallest distances, and far away they round to the same number. */
    if (abs > 0x1p20f) return far_e2m1(f);
    for (int i = 0; i < 7; i++) code = (uint8_t)(code + (abs > borders[i]));
    return code && f < 0 ? code | 8 : code;
}

/* The scale byte, and its two forms: what elements are divided by, and what it decodes to. */
static uint8_t fp_scale(an_mlx_mode mode, an_dtype type, float amax, float *divisor, float *decoded)
{
    float s = rounded(type, amax / (mode == AN_MLX_MXFP8 ? 448.0f : 6.0f));
    if (mode == AN_MLX_NVFP4) {
        uint8_t byte = to_e4m3(s);
        *decoded = an_f32_from_e4m3(byte);
        *divisor = rounded(type, *decoded);
        return byte;
    }
    int e = s > 0 ? (int)ceilf(log2f(s)) : 0;
    if (e < -127) e = -127;
    *decoded = ldexpf(1.0f, e);
    *divisor = *decoded;
    return (uint8_t)(e + 127);
}

static bool encode_fp(const an_mlx_form *form, an_mlx_row *row)
{
    const bool nv = form->mode == AN_MLX_NVFP4;
    for (int64_t g = 0; g < row->n / form->group; g++) {
        float v[32], amax = 0, divisor, decoded;
        for (int i = 0; i < form->group; i++) {
            v[i] = an_float_load(row->from, row->x, g * form->group + i);
            if (!isfinite(v[i])) return false;
            amax = fmaxf(amax, fabsf(v[i]));
        }
        row->scales[g] = fp_scale(form->mode, row->from, amax, &divisor, &decoded);
        uint8_t *out = row->codes + g * form->group * form->bits / 8;
        for (int i = 0; i < form->group; i++) {
            float w = divisor > 0 || !nv ? rounded(row->from, v[i] / divisor) : 0, back;
            if (form->bits == 8) {
                out[i] = to_e4m3(w);
                back = an_f32_from_e4m3(out[i]);
            } else {
                uint8_t code = to_e2m1(w);
                out[i / 2] = i & 1 ? (uint8_t)(out[i / 2] | code << 4) : code;
                back = an_f32_from_e2m1(code);
            }
            double diff = (double)v[i] - (double)decoded * (double)back;
            row->sum_sq += (double)v[i] * (double)v[i];
            row->sum_sq_error += diff * diff;
        }
    }
    return true;
}

bool an_mlx_encode(const an_mlx_form *form, uint32_t isa, an_mlx_row *row)
{
    if (form->mode != AN_MLX_AFFINE) return encode_fp(form, row);
#if defined(__x86_64__)
    if (isa & AN_ISA_AVX512) return an_mlx_affine_avx512(row, form->bits, form->group);
    if (isa & AN_ISA_AVX2) return an_mlx_affine_avx2(row, form->bits, form->group);
#endif
    (void)isa;
    return an_mlx_affine_plain(row, form->bits, form->group);
}

int64_t an_plain_find_nonfinite(an_dtype type, const void *x, int64_t n)
{
    enum { STEP = 1024 };
    const uint8_t *p = x;
    const int size = type == AN_DTYPE_F32 ? 4 : 2;
    const uint16_t mask = type == AN_DTYPE_F16 ? 0x7C00 : 0x7F80;
    for (int64_t at = 0; at < n; at += STEP) {
        uint32_t bad = 0;
        uint16_t half[STEP];
        uint32_t full[STEP];
        int len = n - at < STEP ? (int)(n - at) : STEP;
        if (size == 2) {
            memcpy(half, p + at * 2, (size_t)len * 2);
            for (int i = 0; i < len; i++) bad |= (half[i] & mask) == mask;
        } else {
            memcpy(full, p + at * 4, (size_t)len * 4);
            for (int i = 0; i < len; i++) bad |= (full[i] & 0x7F800000u) == 0x7F800000u;
        }
        for (int i = 0; bad && i < len; i++)
            if (!isfinite(an_float_load(type, p, at + i))) return at + i;
    }
    return -1;
}

void an_plain_from_f32(an_dtype to, const float *x, int64_t n, void *out)
{
    uint8_t *p = out;
    if (to == AN_DTYPE_F32) {
        memcpy(out, x, (size_t)n * 4);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        uint16_t half = to == AN_DTYPE_F16 ? an_f16_from_f32(x[i]) : an_bf16_from_f32(x[i]);
        memcpy(p + 2 * i, &half, 2);
    }
}
