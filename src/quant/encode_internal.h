/* The encoders of the larger blocks: 256 values to one block, IQ4_NL 32. */
#ifndef AN_QUANT_ENCODE_INTERNAL_H
#define AN_QUANT_ENCODE_INTERNAL_H

#include "quant/codes.h"
#include "quant/encode.h"
#include "quant/half.h"

#include <math.h>
#include <string.h>

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

/* What the search for a scale and a minimum tries. */
typedef struct an_min_search {
    int n, max_code;   /* elements (at most 32), largest code */
    float start, step; /* of the trial inverse scales, added to max_code */
    int n_step;
    bool absolute; /* error by magnitude instead of by square */
} an_min_search;

/* Helper A of formats.md 2.4: codes and scale for x by the weights w; *minus_min >= 0 is what is subtracted. */
float an_fit_min(const an_min_search *s, const float *x, const float *w, uint8_t *codes, float *minus_min);
/* Codes again, by the scale and minimum as they were stored. A scale of zero leaves what the search found. */
void an_recode_min(const float *x, int n, float d, float minus_min, int max_code, uint8_t *codes);
/* Helper B: codes -n_max..n_max - 1, stored plus n_max, of n <= 32 values by the weights w; the best of 19 inverse scales. */
float an_fit_symmetric(const float *x, const float *w, int n, int n_max, uint8_t *codes);
/* Codes of 16 values by the stored scale, plus `middle`; a scale of zero leaves what the search found. */
void an_recode_symmetric(const float *x, float d, int middle, uint8_t *codes);
/* The scale of 32 values by the weights w, and their sixteen bytes by a scale. */
float an_fit_iq4(const float *x, const float *w);
void an_put_iq4_codes(const float *x, float d, uint8_t *out);

/* ---- by the importance of columns (encode_weighted.c) */

static const an_min_search an_weighted_q2_k = {16, 3, -0.9f, 0.05f, 36, false};
static const an_min_search an_weighted_q4 = {32, 15, -0.9f, 0.05f, 36, false};
static const an_min_search an_weighted_q5 = {32, 31, -0.9f, 0.05f, 36, false};

/* One after another, in f32. */
float an_sum_of_squares(const float *x, int64_t n);
/*
 * The scales of a block from those of its groups and the sums of the groups' weights; d and m become what the groups' codes
 * are made by.
 */
void an_weighted_q2_k_scales(const float scale[16], const float min[16], const float sum_w[16], uint8_t *block, float d[16],
                             float m[16]);
void an_weighted_k4_scales(const float scale[8], const float min[8], const float sum_w[8], int max_code, uint8_t *block,
                           float d[8], float m[8]);
void an_weighted_q3_k_scales(const float scale[16], const float sum_w[16], uint8_t *block, float d[16]);

void an_encode_q2_k(const float *x, uint8_t *block);
void an_encode_q3_k(const float *x, uint8_t *block);
void an_encode_q4_k(const float *x, uint8_t *block);
void an_encode_q5_k(const float *x, uint8_t *block);
void an_encode_q6_k(const float *x, uint8_t *block);
void an_encode_iq4_nl(const float *x, uint8_t *block);
void an_encode_iq4_xs(const float *x, uint8_t *block);

#endif
