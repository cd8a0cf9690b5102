/* The encoders of the larger blocks: 256 values to one block, IQ4_NL 32. */
#ifndef AN_QUANT_ENCODE_INTERNAL_H
#define AN_QUANT_ENCODE_INTERNAL_H

#include "quant/encode.h"

#include <string.h>

enum { AN_SUPER = 256 };

/* Nearest whole number, halves to even, for |v| < 2^22; beyond it what the reference's addition gives. */
static inline int an_nearest(float v)
{
    float shifted = v + 12582912.0f;
    int32_t bits;
    memcpy(&bits, &shifted, 4);
    return (bits & 0x007FFFFF) - 0x00400000;
}

static inline int an_clamp_int(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

void an_encode_q2_k(const float *x, uint8_t *block);
void an_encode_q3_k(const float *x, uint8_t *block);
void an_encode_q4_k(const float *x, uint8_t *block);
void an_encode_q5_k(const float *x, uint8_t *block);
void an_encode_q6_k(const float *x, uint8_t *block);
void an_encode_iq4_nl(const float *x, uint8_t *block);
void an_encode_iq4_xs(const float *x, uint8_t *block);

#endif
