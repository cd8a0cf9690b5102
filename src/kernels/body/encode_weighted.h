/*
 * Encoders by the importance of columns (quant/encode_weighted.c), sixteen groups at once as in encode.h. `sigma2` is the mean
 * square of the row, which only the blocks of 32 ask for. Included after a lanes header and encode.h.
 */
#ifndef AN_BODY_ENCODE_WEIGHTED_H
#define AN_BODY_ENCODE_WEIGHTED_H

#include "kernels/body/encode.h"

/* Weights of n values of 16 groups from their columns' importance; returns the groups' sums. */
LANE_FN vf weigh(const vf *x, const float *importance, vf sigma2, int n, vf *w)
{
    vf sum = vf_zero();
    load_groups(importance, n, w);
    for (int i = 0; i < n; i++) {
        w[i] = vf_mul(w[i], vf_sqrt(vf_add(sigma2, vf_mul(x[i], x[i]))));
        sum = vf_add(sum, w[i]);
    }
    return sum;
}

/* The sums of squares of two blocks, each for the lanes of its eight groups; two chains at a time hide half of the wait. */
LANE_FN vf squares_of_two(const float *x)
{
    float sum[2] = {0, 0}, lanes[16];
    for (int i = 0; i < AN_SUPER; i++) {
        sum[0] += x[i] * x[i];
        sum[1] += x[AN_SUPER + i] * x[AN_SUPER + i];
    }
    for (int j = 0; j < 16; j++) lanes[j] = sum[j / 8];
    return vf_load(lanes);
}

/* ---- blocks of 256 */

static void weighted_q2_k(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    (void)sigma2;
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, importance += AN_SUPER, blocks += 84) {
        uint8_t codes[AN_SUPER];
        float scale[16], min[16], sum_w[16], d[16], m[16];
        vf values[16], weights[16];
        load_groups(x, 16, values);
        vf_store(sum_w, weigh(values, importance, vf_set1(an_sum_of_squares(x, AN_SUPER) / AN_SUPER), 16, weights));
        min_fit fit = fit_min(an_weighted_q2_k, values, weights);
        vf_store(scale, fit.scale);
        vf_store(min, fit.minus_min);
        an_weighted_q2_k_scales(scale, min, sum_w, blocks, d, m);
        recode_min(values, 16, 3, d, m, &fit, codes);
        an_pack_q2_k_codes(codes, blocks);
    }
}

LANE_FN void weighted_k4(an_min_search s, const float *x, const float *importance, uint8_t *blocks, size_t block_bytes,
                         uint8_t codes[ENCODE_BATCH])
{
    float scale[16], min[16], sum_w[16], d[16], m[16];
    vf values[32], weights[32];
    load_groups(x, 32, values);
    vf sigma2 = vf_div(vf_mul(vf_set1(2), squares_of_two(x)), vf_set1(AN_SUPER));
    vf_store(sum_w, weigh(values, importance, sigma2, 32, weights));
    min_fit fit = fit_min(s, values, weights);
    vf_store(scale, fit.scale);
    vf_store(min, fit.minus_min);
    an_weighted_k4_scales(scale, min, sum_w, s.max_code, blocks, d, m);
    an_weighted_k4_scales(scale + 8, min + 8, sum_w + 8, s.max_code, blocks + block_bytes, d + 8, m + 8);
    recode_min(values, 32, s.max_code, d, m, &fit, codes);
}

static void weighted_q4_k(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    (void)sigma2;
    weighted_k4(an_weighted_q4, x, importance, blocks, 144, codes);
    an_pack_q4_k_codes(codes, blocks);
    an_pack_q4_k_codes(codes + AN_SUPER, blocks + 144);
}

static void weighted_q5_k(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    (void)sigma2;
    weighted_k4(an_weighted_q5, x, importance, blocks, 176, codes);
    an_pack_q5_k_codes(codes, blocks);
    an_pack_q5_k_codes(codes + AN_SUPER, blocks + 176);
}

static void weighted_q3_k(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    (void)sigma2;
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, importance += AN_SUPER, blocks += 110) {
        uint8_t codes[AN_SUPER];
        float scale[16], sum_w[16], d[16];
        vf values[16], weights[16];
        vi found[16];
        load_groups(x, 16, values);
        vf_store(sum_w, weigh(values, importance, vf_set1(2 * an_sum_of_squares(x, AN_SUPER) / AN_SUPER), 16, weights));
        vf_store(scale, fit_symmetric(values, weights, 16, 4, found));
        an_weighted_q3_k_scales(scale, sum_w, blocks, d);
        recode(values, d, 4, found, codes);
        an_pack_q3_k_codes(codes, blocks);
    }
}

static void weighted_q6_k(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    (void)sigma2;
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, importance += AN_SUPER, blocks += 210) {
        uint8_t codes[AN_SUPER];
        float scale[16], d[16];
        vf values[16], weights[16];
        vi found[16];
        load_groups(x, 16, values);
        load_groups(importance, 16, weights);
        vf_store(scale, fit_symmetric(values, weights, 16, 32, found));
        if (!an_pack_q6_k_scales(scale, blocks, d)) continue;
        recode(values, d, 32, found, codes);
        an_pack_q6_k_codes(codes, blocks);
    }
}

static void weighted_iq4_xs(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16], d[16];
    vf values[32], weights[32];
    (void)sigma2;
    load_groups(x, 32, values);
    weigh(values, importance, vf_mul(squares_of_two(x), vf_set1(2.0f / AN_SUPER)), 32, weights);
    vf_store(scale, fit_iq4(values, weights));
    an_pack_iq4_xs_scales(scale, blocks, d);
    an_pack_iq4_xs_scales(scale + 8, blocks + 136, d + 8);
    iq4_codes(values, vf_load(d), codes);
    for (int g = 0; g < 16; g++) an_pack_nibbles(codes + 32 * g, blocks + 136 * (g / 8) + 8 + 16 * (g % 8));
}

/* ---- blocks of 32 */

static void weighted_iq4_nl(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16];
    vf values[32], weights[32], sum = vf_zero();
    (void)sigma2;
    load_groups(x, 32, values);
    for (int i = 0; i < 32; i++) sum = vf_add(sum, vf_mul(values[i], values[i]));
    weigh(values, importance, vf_mul(sum, vf_set1(2.0f / 32)), 32, weights);
    vf d = fit_iq4(values, weights);
    vf_store(scale, d);
    iq4_codes(values, d, codes);
    for (int b = 0; b < 16; b++, blocks += 18) {
        an_put_f16(blocks, scale[b]);
        an_pack_nibbles(codes + 32 * b, blocks + 2);
    }
}

LANE_FN void weighted_symmetric(const float *x, const float *importance, float sigma2, int bits, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16];
    vf values[32], weights[32];
    vi found[32], shift = vi_set1((1 << (bits - 1)) - CODES_ZERO);
    load_groups(x, 32, values);
    weigh(values, importance, vf_set1(sigma2), 32, weights);
    vf_store(scale, fit_symmetric(values, weights, 32, 1 << (bits - 1), found));
    for (int i = 0; i < 32; i++) found[i] = vi_add(found[i], shift);
    store_codes(found, 32, codes);
    for (int b = 0; b < 16; b++, blocks += bits == 5 ? 22 : 18) {
        an_put_f16(blocks, scale[b]);
        if (bits == 5) an_pack_five_bits(codes + 32 * b, blocks + 2, blocks + 6);
        else an_pack_nibbles(codes + 32 * b, blocks + 2);
    }
}

static void weighted_q4_0(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    weighted_symmetric(x, importance, sigma2, 4, blocks);
}

static void weighted_q5_0(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    weighted_symmetric(x, importance, sigma2, 5, blocks);
}

LANE_FN void weighted_min(an_min_search s, const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16], min[16];
    vf values[32], weights[32];
    vi found[32];
    load_groups(x, 32, values);
    weigh(values, importance, vf_set1(sigma2), 32, weights);
    min_fit fit = fit_min(s, values, weights);
    vf_store(scale, fit.scale);
    vf_store(min, fit.minus_min);
    for (int i = 0; i < 32; i++) found[i] = nearest_code(vf_mul(fit.by, vf_sub(values[i], fit.from)), 0, s.max_code);
    store_codes(found, 32, codes);
    for (int b = 0; b < 16; b++, blocks += s.max_code == 31 ? 24 : 20) {
        an_put_f16(blocks, scale[b]);
        an_put_f16(blocks + 2, -min[b]);
        if (s.max_code == 31) an_pack_five_bits(codes + 32 * b, blocks + 4, blocks + 8);
        else an_pack_nibbles(codes + 32 * b, blocks + 4);
    }
}

static void weighted_q4_1(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    weighted_min(an_weighted_q4, x, importance, sigma2, blocks);
}

static void weighted_q5_1(const float *x, const float *importance, float sigma2, uint8_t *blocks)
{
    weighted_min(an_weighted_q5, x, importance, sigma2, blocks);
}

#endif
