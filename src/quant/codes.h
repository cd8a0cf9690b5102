/*
 * Canonical codes: one description of a quantized row for every container, so that the same weights in GGUF and in
 * MLX go through the same arithmetic. The integer kernels are built on it and tested against it.
 */
#ifndef AN_QUANT_CODES_H
#define AN_QUANT_CODES_H

#include "quant/dtype.h"

typedef enum an_code_kind {
    AN_CODES_MIN32,  /* w = code * scale + min per 32; code 0..63: Q4_0 Q4_1 Q5_0 Q5_1 Q4_K Q5_K, affine 2-6 bits */
    AN_CODES_I8,     /* w = code * scale per 32; code is int8: Q8_0 IQ4_NL IQ4_XS MXFP4 */
    AN_CODES_I8_MIN, /* w = code * scale + min per 32; code is int8: affine 8 bits */
    AN_CODES_MIN16,  /* w = code * scale + min per 16; code 0..3: Q2_K */
    AN_CODES_OFF16,  /* w = (code - 32) * scale per 16; code 0..63: Q3_K (codes times 8) Q6_K NVFP4 */
    AN_CODES_N
} an_code_kind;

enum { AN_CODES_STEP = 256 }; /* elements of one call at most; a multiple of every group */

/* How a weight's codes are to be read; false for plain float types and MXFP8, which have none. */
bool an_codes_kind(const an_weight *w, an_code_kind *kind);

static inline int an_codes_group(an_code_kind kind)
{
    return kind == AN_CODES_MIN16 || kind == AN_CODES_OFF16 ? 16 : 32;
}

/*
 * Codes of elements col..col+n-1 of a row; col is a multiple of AN_CODES_STEP, n is AN_CODES_STEP or what is left
 * of the row. scales and mins (0 for kinds without one) get n / group numbers. For 8-bit affine the minimum is
 * bias + 128 * scale, rounded once per operation in f32.
 */
void an_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                   float *mins);

#endif
