/* The affine encoder of each instruction set: the same bytes, another speed. Private to this module. */
#ifndef AN_QUANT_MLX_AFFINE_H
#define AN_QUANT_MLX_AFFINE_H

#include "quant/half.h"
#include "quant/mlx_encode.h"

#include <string.h>

/* The number as it is stored, and what it is read as. */
static inline float an_mlx_put_float(an_dtype type, float f, uint8_t *out)
{
    if (type == AN_DTYPE_F32) {
        memcpy(out, &f, 4);
        return f;
    }
    uint16_t half = type == AN_DTYPE_BF16 ? an_bf16_from_f32(f) : an_f16_from_f32(f);
    memcpy(out, &half, 2);
    return type == AN_DTYPE_BF16 ? an_f32_from_bf16(half) : an_f32_from_f16(half);
}

/* A group's scale and bias in f32, from its smallest and largest value. */
static inline void an_mlx_affine_scale(float min, float max, float largest, float *scale, float *bias)
{
    float abs_min = min < 0 ? -min : min, abs_max = max < 0 ? -max : max;
    float s = (max - min) / largest;
    if (s < 1e-7f) s = 1e-7f;
    float edge = abs_min > abs_max ? min : max;
    if (!(abs_min > abs_max)) s = -s;
    float q = edge / s;
    /* Halves to even; from 2^23 on all are whole already. */
    if (q >= 0 && q < 0x1p23f) q = (q + 0x1p23f) - 0x1p23f;
    else if (q < 0 && q > -0x1p23f) q = (q - 0x1p23f) + 0x1p23f;
    *scale = q != 0 ? edge / q : s;
    *bias = q != 0 ? edge : 0;
}

bool an_mlx_affine_plain(an_mlx_row *row, int bits, int group);
#if defined(__x86_64__)
bool an_mlx_affine_avx2(an_mlx_row *row, int bits, int group);
bool an_mlx_affine_avx512(an_mlx_row *row, int bits, int group);
#endif

#endif
