/*
 * Encoders that weigh each column by its importance (formats.md 2.7): the searches are those of the plain ones, the weights and
 * what is made of the groups' scales are not.
 */
#include "quant/encode_pack.h"

#include "base/error.h"

/* ---- weights and scales */

float an_sum_of_squares(const float *x, int64_t n)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* What an error at each of n values weighs; returns their sum. */
static float weigh(const float *x, const float *importance, float sigma2, int n, float *w)
{
    float sum = 0;
    for (int i = 0; i < n; i++) w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
    for (int i = 0; i < n; i++) sum += w[i];
    return sum;
}

/* Move single codes as long as that makes the error smaller. Sums are of w * x * code and w * code * code. */
static void refine(const float *x, const float *w, int n, int max_code, uint8_t *codes, float *sum_xl, float *sum_l2)
{
    enum { PASSES = 5 };
    for (int pass = 0; pass < PASSES; pass++) {
        int n_changed = 0;
        for (int i = 0; i < n; i++) {
            float xl = *sum_xl - w[i] * x[i] * (float)codes[i], l2 = *sum_l2 - w[i] * (float)codes[i] * (float)codes[i];
            if (!(xl > 0 && l2 > 0)) continue;
            int code = an_nearest(x[i] * l2 / xl);
            if (code > max_code) code = max_code;
            if (code == codes[i]) continue;
            xl += w[i] * x[i] * (float)code;
            l2 += w[i] * (float)code * (float)code;
            if (xl * xl * *sum_l2 > *sum_xl * *sum_xl * l2) {
                codes[i] = (uint8_t)code;
                *sum_xl = xl;
                *sum_l2 = l2;
                n_changed++;
            }
        }
        if (!n_changed) break;
    }
}

/*
 * Helper D: one scale for values that are not negative, the groups' scales or minima. A negative scale, which the search for
 * groups can leave, gets whatever code its conversion to a byte gives, as in the reference.
 */
static float fit_positive(const float *x, const float *w, int n, int max_code, uint8_t *codes)
{
    float max = 0;
    for (int i = 0; i < n; i++) max = max > x[i] ? max : x[i];
    if (max < AN_NEXT_TO_NOTHING) {
        memset(codes, 0, (size_t)n);
        return 0;
    }
    float inverse = (float)max_code / max, scale = 1 / inverse, best = 0;
    for (int i = 0; i < n; i++) {
        float diff = x[i] - scale * (float)(uint8_t)an_nearest(inverse * x[i]);
        best += w[i] * diff * diff;
    }
    for (int t = -4; t <= 4; t++) {
        if (t == 0) continue;
        float trial = (0.1f * (float)t + (float)max_code) / max, trial_scale = 1 / trial, error = 0;
        for (int i = 0; i < n; i++) {
            int l = an_nearest(trial * x[i]);
            float diff = x[i] - trial_scale * (float)(l < max_code ? l : max_code);
            error += w[i] * diff * diff;
        }
        if (error < best) {
            best = error;
            inverse = trial;
        }
    }
    float sum_xl = 0, sum_l2 = 0;
    for (int i = 0; i < n; i++) {
        int l = an_nearest(inverse * x[i]);
        if (l > max_code) l = max_code;
        codes[i] = (uint8_t)l;
        sum_xl += w[i] * x[i] * (float)l;
        sum_l2 += w[i] * (float)l * (float)l;
    }
    refine(x, w, n, max_code, codes, &sum_xl, &sum_l2);
    return sum_l2 > 0 ? sum_xl / sum_l2 : 0;
}

/* ---- blocks of 32: their weights look at the whole row */

static void encode_symmetric(const float *x, const float *importance, float sigma2, int bits, uint8_t *block)
{
    uint8_t codes[32];
    float w[32];
    weigh(x, importance, sigma2, 32, w);
    an_put_f16(block, an_fit_symmetric(x, w, 32, 1 << (bits - 1), codes));
    if (bits == 5) an_pack_five_bits(codes, block + 2, block + 6);
    else an_pack_nibbles(codes, block + 2);
}

static void encode_min(const float *x, const float *importance, float sigma2, int bits, uint8_t *block)
{
    uint8_t codes[32];
    float w[32], minus_min;
    weigh(x, importance, sigma2, 32, w);
    an_put_f16(block, an_fit_min(bits == 4 ? &an_weighted_q4 : &an_weighted_q5, x, w, codes, &minus_min));
    an_put_f16(block + 2, -minus_min);
    if (bits == 5) an_pack_five_bits(codes, block + 4, block + 8);
    else an_pack_nibbles(codes, block + 4);
}

static void encode_iq4_nl(const float *x, const float *importance, uint8_t *block)
{
    float w[32];
    weigh(x, importance, an_sum_of_squares(x, 32) * (2.0f / 32), 32, w);
    float d = an_fit_iq4(x, w);
    an_put_f16(block, d);
    an_put_iq4_codes(x, d, block + 2);
}

/* ---- blocks of 256 */

void an_weighted_q2_k_scales(const float scale[16], const float min[16], const float sum_w[16], uint8_t *block, float d[16],
                             float m[16])
{
    uint8_t scale_codes[16], min_codes[16];
    an_put_f16(block + 80, fit_positive(scale, sum_w, 16, 15, scale_codes));
    an_put_f16(block + 82, fit_positive(min, sum_w, 16, 15, min_codes));
    float unit = an_get_f16(block + 80), min_unit = an_get_f16(block + 82);
    for (int j = 0; j < 16; j++) {
        block[j] = (uint8_t)(scale_codes[j] | min_codes[j] << 4);
        d[j] = unit * (float)(block[j] & 15);
        m[j] = min_unit * (float)(block[j] >> 4);
    }
}

static void encode_q2_k(const float *x, const float *importance, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float w[16], sum_w[16], scale[16], min[16], d[16], m[16], sigma2 = an_sum_of_squares(x, AN_SUPER) / AN_SUPER;
    for (int j = 0; j < 16; j++) {
        sum_w[j] = weigh(x + 16 * j, importance + 16 * j, sigma2, 16, w);
        scale[j] = an_fit_min(&an_weighted_q2_k, x + 16 * j, w, codes + 16 * j, &min[j]);
    }
    an_weighted_q2_k_scales(scale, min, sum_w, block, d, m);
    for (int j = 0; j < 16; j++) an_recode_min(x + 16 * j, 16, d[j], m[j], 3, codes + 16 * j);
    an_pack_q2_k_codes(codes, block);
}

void an_weighted_k4_scales(const float scale[8], const float min[8], const float sum_w[8], int max_code, uint8_t *block,
                           float d[8], float m[8])
{
    uint8_t scale_codes[8], min_codes[8];
    an_put_f16(block, fit_positive(scale, sum_w, 8, 63, scale_codes));
    an_put_f16(block + 2, fit_positive(min, sum_w, 8, 63, min_codes));
    for (int j = 0; j < 8 && max_code == 31; j++) {
        if (scale_codes[j] > 63) scale_codes[j] = 63;
        if (min_codes[j] > 63) min_codes[j] = 63;
    }
    an_pack_k4_scale_codes(scale_codes, min_codes, block + 4);
    float unit = an_get_f16(block), min_unit = an_get_f16(block + 2);
    for (int j = 0; j < 8; j++) {
        int ls, lm;
        an_k4_scale_min(block + 4, j, &ls, &lm);
        d[j] = unit * (float)ls;
        m[j] = min_unit * (float)lm;
    }
}

static void encode_k4(const an_min_search *s, const float *x, const float *importance, uint8_t *block, uint8_t *codes)
{
    float w[32], sum_w[8], scale[8], min[8], d[8], m[8], sigma2 = 2 * an_sum_of_squares(x, AN_SUPER) / AN_SUPER;
    for (int j = 0; j < 8; j++) {
        sum_w[j] = weigh(x + 32 * j, importance + 32 * j, sigma2, 32, w);
        scale[j] = an_fit_min(s, x + 32 * j, w, codes + 32 * j, &min[j]);
    }
    an_weighted_k4_scales(scale, min, sum_w, s->max_code, block, d, m);
    for (int j = 0; j < 8; j++) an_recode_min(x + 32 * j, 32, d[j], m[j], s->max_code, codes + 32 * j);
}

static void encode_q4_k(const float *x, const float *importance, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    encode_k4(&an_weighted_q4, x, importance, block, codes);
    an_pack_q4_k_codes(codes, block);
}

static void encode_q5_k(const float *x, const float *importance, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    encode_k4(&an_weighted_q5, x, importance, block, codes);
    an_pack_q5_k_codes(codes, block);
}

void an_weighted_q3_k_scales(const float scale[16], const float sum_w[16], uint8_t *block, float d[16])
{
    uint8_t scale_codes[16];
    an_put_f16(block + 108, an_fit_symmetric(scale, sum_w, 16, 32, scale_codes));
    an_pack_q3_k_scale_codes(scale_codes, block + 96);
    float unit = an_get_f16(block + 108);
    for (int j = 0; j < 16; j++) d[j] = unit * (float)an_q3k_scale(block + 96, j);
}

static void encode_q3_k(const float *x, const float *importance, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float w[16], sum_w[16], scale[16], d[16], sigma2 = 2 * an_sum_of_squares(x, AN_SUPER) / AN_SUPER;
    for (int j = 0; j < 16; j++) {
        sum_w[j] = weigh(x + 16 * j, importance + 16 * j, sigma2, 16, w);
        scale[j] = an_fit_symmetric(x + 16 * j, w, 16, 4, codes + 16 * j);
    }
    an_weighted_q3_k_scales(scale, sum_w, block, d);
    for (int j = 0; j < 16; j++) an_recode_symmetric(x + 16 * j, d[j], 4, codes + 16 * j);
    an_pack_q3_k_codes(codes, block);
}

/* The one K type whose weights are the importance itself. */
static void encode_q6_k(const float *x, const float *importance, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float scale[16], d[16];
    for (int j = 0; j < 16; j++)
        scale[j] = an_fit_symmetric(x + 16 * j, importance + 16 * j, 16, 32, codes + 16 * j);
    if (!an_pack_q6_k_scales(scale, block, d)) return;
    for (int j = 0; j < 16; j++) an_recode_symmetric(x + 16 * j, d[j], 32, codes + 16 * j);
    an_pack_q6_k_codes(codes, block);
}

static void encode_iq4_xs(const float *x, const float *importance, uint8_t *block)
{
    float w[32], scale[8], d[8], sigma2 = an_sum_of_squares(x, AN_SUPER) * (2.0f / AN_SUPER);
    for (int b = 0; b < 8; b++) {
        weigh(x + 32 * b, importance + 32 * b, sigma2, 32, w);
        scale[b] = an_fit_iq4(x + 32 * b, w);
    }
    an_pack_iq4_xs_scales(scale, block, d);
    for (int b = 0; b < 8; b++) an_put_iq4_codes(x + 32 * b, d[b], block + 8 + 16 * b);
}

void an_encode_row_weighted(an_dtype type, const float *x, int64_t n_col, const float *importance, void *out)
{
    const an_dtype_info *info = an_dtype_get(type);
    if (!importance || info->block_elems == 1 || type == AN_DTYPE_Q8_0) {
        an_encode_rows(type, x, 1, n_col, out);
        return;
    }
    AN_ASSERT(an_encode_can(type) && n_col % info->block_elems == 0);
    float sigma2 = info->block_elems == 32 ? an_sum_of_squares(x, n_col) / (float)n_col : 0;
    uint8_t *block = out;
    for (int64_t i = 0; i < n_col; i += info->block_elems, block += info->block_bytes) {
        const float *v = x + i, *w = importance + i;
        switch (type) {
        case AN_DTYPE_Q4_0: encode_symmetric(v, w, sigma2, 4, block); break;
        case AN_DTYPE_Q5_0: encode_symmetric(v, w, sigma2, 5, block); break;
        case AN_DTYPE_Q4_1: encode_min(v, w, sigma2, 4, block); break;
        case AN_DTYPE_Q5_1: encode_min(v, w, sigma2, 5, block); break;
        case AN_DTYPE_IQ4_NL: encode_iq4_nl(v, w, block); break;
        case AN_DTYPE_Q2_K: encode_q2_k(v, w, block); break;
        case AN_DTYPE_Q3_K: encode_q3_k(v, w, block); break;
        case AN_DTYPE_Q4_K: encode_q4_k(v, w, block); break;
        case AN_DTYPE_Q5_K: encode_q5_k(v, w, block); break;
        case AN_DTYPE_Q6_K: encode_q6_k(v, w, block); break;
        case AN_DTYPE_IQ4_XS: encode_iq4_xs(v, w, block); break;
        default: break;
        }
    }
}
