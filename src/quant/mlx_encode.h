/*
 * Floats to MLX's quantized groups, byte for byte as mx.quantize makes them on the CPU (mlx 0.32; formats.md 3.4 to 3.7).
 * T is the type of the weights: F32, F16 or BF16.
 *
 * Affine. All arithmetic is f32 whatever T is; only the stored scale and bias are rounded to T. Per group, with L the largest
 * code: s = max((hi - lo) / L, 1e-7f), negative unless |lo| > |hi|; the edge is lo or hi, whichever is larger (hi when equal);
 * q = edge / s, halves to even; q = 0: bias 0; else s = edge / q and bias = edge. A code is (w - bias) / s with the unrounded
 * two, halves to even, then clamped to 0..L; 0/0 (a constant group beyond 1e31) gives 0.
 *
 * FP modes. amax / 6 (mxfp8: / 448) is rounded to T. mx*: the exponent is its log2 in f32, rounded up (not to the nearest,
 * as releases before 0.32 did), 0 for a group of zeros; elements are w / 2^e, rounded to T. nvfp4: the scale is its E4M3,
 * elements are w / scale, rounded to T. A four-bit code is the nearest of 0 0.5 1 1.5 2 3 4 6, the smaller one at a tie, and
 * what becomes 0 has no sign. Where the scale is 0 in E4M3 the reference divides by zero: its codes, kept here, are all 0.
 * An exponent below -127 wraps around in the reference and is -127 here.
 */
#ifndef AN_QUANT_MLX_ENCODE_H
#define AN_QUANT_MLX_ENCODE_H

#include "base/error.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum an_mlx_mode { AN_MLX_AFFINE, AN_MLX_MXFP4, AN_MLX_MXFP8, AN_MLX_NVFP4 } an_mlx_mode;

typedef struct an_mlx_form {
    an_mlx_mode mode;
    int bits, group; /* affine: 2 3 4 5 6 8 and 32 64 128; mxfp4 4/32, mxfp8 8/32, nvfp4 4/16 */
} an_mlx_form;

/* One row of n values of type `from` (any alignment; n is a multiple of the group) and where its parts go. */
typedef struct an_mlx_row {
    an_dtype from;
    const void *x;
    int64_t n;
    uint8_t *codes;  /* n * bits / 8 bytes */
    uint8_t *scales; /* n / group of `from`, or bytes for the FP modes */
    uint8_t *biases; /* n / group of `from`; affine only */
    double sum_sq, sum_sq_error; /* added to: the squares of the values and of what decodes differently */
} an_mlx_row;

/* `isa`: the CPU's AN_ISA_* flags (base/isa.h); they change the speed only. False: a value is infinite or NaN. Thread-safe. */
ANEMO_MUST_CHECK bool an_mlx_encode(const an_mlx_form *form, uint32_t isa, an_mlx_row *row);

/* Is one of n values of a plain float type, at any alignment, infinite or NaN? The index of the first, or -1. */
int64_t an_plain_find_nonfinite(an_dtype type, const void *x, int64_t n);

/* n values of `from` rounded to the plain float type `to` (halves to even); values beyond its range become infinite. */
void an_plain_from_f32(an_dtype to, const float *x, int64_t n, void *out);

#endif
