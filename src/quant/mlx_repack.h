/*
 * ggml's blocks as MLX's affine groups of 32 with the very same weights (formats.md 3.8): Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 with
 * F16 scales and biases, Q4_K and Q5_K with F32 ones, in which the products of their two-level scales are exact; MXFP4 in the
 * mode mxfp4, with the same scale bytes.
 */
#ifndef AN_QUANT_MLX_REPACK_H
#define AN_QUANT_MLX_REPACK_H

#include "quant/mlx_encode.h"

/* Is there an exact form? Gives its groups and the type of scales and biases; of mxfp4, the type that it decodes to. */
bool an_mlx_repack_form(an_dtype type, an_mlx_form *form, an_dtype *scale_dtype);

/*
 * One row of n elements. The index of the first element whose block has a scale that is infinite or NaN, or whose offset (-8,
 * -16 or -128 times the scale) is beyond F16, or MXFP4 values are beyond F32; -1: all is well. Scalar, thread-safe.
 */
ANEMO_MUST_CHECK int64_t an_mlx_repack(an_dtype type, const void *blocks, int64_t n, uint8_t *codes, uint8_t *scales,
                                       uint8_t *biases);

#endif
