/*
 * Canonical codes: one description of a quantized row for every container, so that the same weights in GGUF and in
 * MLX go through the same arithmetic. The integer kernels are built on it and tested against it.
 */
#ifndef AN_QUANT_CODES_H
#define AN_QUANT_CODES_H

#include "quant/dtype.h"

typedef enum an_code_kind {
    AN_CODES_MIN32,   /* w = code * scale + min per 32; code 0..63: Q4_0 Q4_1 Q5_0 Q5_1, affine 2-6 bits */
    AN_CODES_I8,      /* w = code * scale per 32; code is int8: Q8_0 IQ4_NL MXFP4 */
    AN_CODES_I8_MIN,  /* w = code * scale + min per 32; code is int8: affine 8 bits */
    AN_CODES_OFF16,   /* w = (code - 32) * scale per 16; code 0..63: NVFP4 */
    AN_CODES_K32,     /* superblocks; w = code * scale + min per 32; code 0..31: Q4_K Q5_K */
    AN_CODES_K32_I8,  /* superblocks; w = code * scale per 32; code is int8: IQ4_XS */
    AN_CODES_K16,     /* superblocks; w = code * scale + min per 16; code 0..3: Q2_K */
    AN_CODES_K16_OFF, /* superblocks; w = (code - 32) * scale per 16; code 0..63: Q3_K (codes times 8) Q6_K */
    AN_CODES_N
} an_code_kind;

enum { AN_CODES_STEP = 256 }; /* elements of one call at most; a multiple of every group */

/* How a weight's codes are to be read; false for plain float types and MXFP8, which have none. */
bool an_codes_kind(const an_weight *w, an_code_kind *kind);

/* Columns of a scale. */
static inline int an_codes_group(an_code_kind kind)
{
    return kind == AN_CODES_OFF16 || kind == AN_CODES_K16 || kind == AN_CODES_K16_OFF ? 16 : 32;
}
static inline bool an_codes_int8(an_code_kind kind)
{
    return kind == AN_CODES_I8 || kind == AN_CODES_I8_MIN || kind == AN_CODES_K32_I8;
}
/* What is taken off an unsigned code. */
static inline int an_codes_offset(an_code_kind kind)
{
    return kind == AN_CODES_OFF16 || kind == AN_CODES_K16_OFF ? 32 : 0;
}
static inline bool an_codes_min(an_code_kind kind)
{
    return kind == AN_CODES_MIN32 || kind == AN_CODES_I8_MIN || kind == AN_CODES_K32 || kind == AN_CODES_K16;
}
/* Are scales and minima whole numbers times one or two numbers of a superblock of AN_SUPER columns? */
enum { AN_SUPER = 256 };
static inline bool an_codes_super(an_code_kind kind)
{
    return kind >= AN_CODES_K32 && kind < AN_CODES_N;
}

/*
 * Codes of elements col..col+n-1 of a row; col is a multiple of AN_CODES_STEP, n is AN_CODES_STEP or what is left
 * of the row. scales and mins (0 for kinds without one) get n / group numbers. For 8-bit affine the minimum is
 * bias + 128 * scale, rounded once per operation in f32.
 */
void an_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                   float *mins);

/* The scales and minima of a superblock: scale = d * scales[g], min = dmin * mins[g], one rounding each. */
typedef struct an_super {
    float d, dmin;
    int16_t scales[16], mins[16]; /* -128..127, 0..63; unused ones are 0 */
} an_super;

/* Codes of elements col..col+AN_SUPER-1 of a row of such a kind. */
void an_codes_read_super(const an_weight *w, int64_t row, int64_t col, uint8_t *codes, an_super *numbers);

#endif
