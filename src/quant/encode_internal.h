/* The encoders of the larger blocks: 256 values to one block, IQ4_NL 32. */
#ifndef AN_QUANT_ENCODE_INTERNAL_H
#define AN_QUANT_ENCODE_INTERNAL_H

#include "quant/encode.h"
#include "quant/half.h"

#include <math.h>
#include <string.h>

enum { AN_SUPER = 256 };

/* Groups whose values are all below it count as zero. */
#define AN_NEXT_TO_NOTHING 1e-15f

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

/* The first value of largest magnitude, with its sign; 0 when there is none but zeros. */
static inline float an_largest(const float *x, int n)
{
    float amax = 0, max = 0;
    for (int i = 0; i < n; i++)
        if (amax < fabsf(x[i])) {
            amax = fabsf(x[i]);
            max = x[i];
        }
    return max;
}

static inline void an_put_f16(uint8_t *p, float v)
{
    uint16_t half = an_f16_from_f32(v);
    memcpy(p, &half, 2);
}

void an_encode_q2_k(const float *x, uint8_t *block);
void an_encode_q3_k(const float *x, uint8_t *block);
void an_encode_q4_k(const float *x, uint8_t *block);
void an_encode_q5_k(const float *x, uint8_t *block);
void an_encode_q6_k(const float *x, uint8_t *block);
void an_encode_iq4_nl(const float *x, uint8_t *block);
void an_encode_iq4_xs(const float *x, uint8_t *block);

#endif
