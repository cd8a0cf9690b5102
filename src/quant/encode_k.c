/* Encoders of the K types (formats.md 2.4). Sums run in the order of the elements: another order is another rounding. */
#include "quant/encode_pack.h"

#include <math.h>
#include <string.h>

enum { GROUP_MAX = 32 };

/* ---- scale and minimum: Q2_K, Q4_K, Q5_K */

static float error_of(const an_min_search *s, const float *x, const float *w, const uint8_t *codes, float scale, float min)
{
    float sum = 0;
    for (int i = 0; i < s->n; i++) {
        float diff = scale * (float)codes[i] + min - x[i];
        sum += w[i] * (s->absolute ? fabsf(diff) : diff * diff);
    }
    return sum;
}

/* As in the reference, the trials that follow a better one start from its minimum, not from the group's. */
float an_fit_min(const an_min_search *s, const float *x, const float *w, uint8_t *codes, float *minus_min)
{
    uint8_t trial[GROUP_MAX];
    float min = x[0], max = x[0], sum_w = w[0], sum_x = sum_w * x[0];
    for (int i = 1; i < s->n; i++) {
        if (x[i] < min) min = x[i];
        if (x[i] > max) max = x[i];
        sum_w += w[i];
        sum_x += w[i] * x[i];
    }
    if (min > 0) min = 0;
    if (max == min) {
        memset(codes, 0, (size_t)s->n);
        *minus_min = -min;
        return 0;
    }
    float inverse = (float)s->max_code / (max - min), scale = 1 / inverse;
    for (int i = 0; i < s->n; i++)
        codes[i] = (uint8_t)an_clamp_int(an_nearest(inverse * (x[i] - min)), 0, s->max_code);
    float best = error_of(s, x, w, codes, scale, min);
    for (int t = 0; t <= s->n_step; t++) {
        float sum_l = 0, sum_l2 = 0, sum_xl = 0;
        inverse = (s->start + s->step * (float)t + (float)s->max_code) / (max - min);
        for (int i = 0; i < s->n; i++) {
            int l = an_clamp_int(an_nearest(inverse * (x[i] - min)), 0, s->max_code);
            trial[i] = (uint8_t)l;
            sum_l += w[i] * (float)l;
            sum_l2 += w[i] * (float)l * (float)l;
            sum_xl += w[i] * (float)l * x[i];
        }
        float det = sum_w * sum_l2 - sum_l * sum_l;
        if (!(det > 0)) continue;
        float this_scale = (sum_w * sum_xl - sum_x * sum_l) / det, this_min = (sum_l2 * sum_x - sum_l * sum_xl) / det;
        if (this_min > 0) {
            this_min = 0;
            this_scale = sum_xl / sum_l2;
        }
        float error = error_of(s, x, w, trial, this_scale, this_min);
        if (error < best) {
            memcpy(codes, trial, (size_t)s->n);
            best = error;
            scale = this_scale;
            min = this_min;
        }
    }
    *minus_min = -min;
    return scale;
}

void an_recode_min(const float *x, int n, float d, float minus_min, int max_code, uint8_t *codes)
{
    if (d == 0) return;
    for (int i = 0; i < n; i++) codes[i] = (uint8_t)an_clamp_int(an_nearest((x[i] + minus_min) / d), 0, max_code);
}

void an_encode_q2_k(const float *x, uint8_t *block)
{
    static const an_min_search s = {16, 3, -0.5f, 0.1f, 15, true};
    uint8_t codes[AN_SUPER];
    float weights[16], scale[16], min[16], d[16], m[16];
    for (int j = 0; j < 16; j++) {
        for (int l = 0; l < 16; l++) weights[l] = fabsf(x[16 * j + l]);
        scale[j] = an_fit_min(&s, x + 16 * j, weights, codes + 16 * j, &min[j]);
    }
    an_pack_q2_k_scales(scale, min, block, d, m);
    for (int j = 0; j < 16; j++) an_recode_min(x + 16 * j, 16, d[j], m[j], 3, codes + 16 * j);
    an_pack_q2_k_codes(codes, block);
}

/* What Q4_K and Q5_K share: codes of eight groups of 32, d, dmin and the packed scales. */
static void encode_45(const an_min_search *s, const float *x, uint8_t *block, uint8_t *codes)
{
    float weights[32], scale[8], min[8], d[8], m[8];
    for (int j = 0; j < 8; j++) {
        const float *g = x + 32 * j;
        float sum_x2 = 0;
        for (int l = 0; l < 32; l++) sum_x2 += g[l] * g[l];
        float mean = sqrtf(sum_x2 / 32);
        for (int l = 0; l < 32; l++) weights[l] = mean + fabsf(g[l]);
        scale[j] = an_fit_min(s, g, weights, codes + 32 * j, &min[j]);
    }
    an_pack_k4_scales(scale, min, block, d, m);
    for (int j = 0; j < 8; j++) an_recode_min(x + 32 * j, 32, d[j], m[j], s->max_code, codes + 32 * j);
}

void an_encode_q4_k(const float *x, uint8_t *block)
{
    static const an_min_search s = {32, 15, -1.0f, 0.1f, 20, false};
    uint8_t codes[AN_SUPER];
    encode_45(&s, x, block, codes);
    an_pack_q4_k_codes(codes, block);
}

void an_encode_q5_k(const float *x, uint8_t *block)
{
    static const an_min_search s = {32, 31, -0.5f, 0.1f, 15, false};
    uint8_t codes[AN_SUPER];
    encode_45(&s, x, block, codes);
    an_pack_q5_k_codes(codes, block);
}

/* ---- symmetric: Q3_K, Q6_K */

/* Helper C: codes -4..3, stored plus 4, refined element by element. */
static float fit_refined(const float *x, uint8_t *codes)
{
    enum { N = 16, NMAX = 4, PASSES = 5 };
    int l[N];
    float max = an_largest(x, N), sum_xl = 0, sum_l2 = 0;
    if (fabsf(max) < AN_NEXT_TO_NOTHING) {
        memset(codes, 0, N);
        return 0;
    }
    float inverse = -NMAX / max;
    for (int i = 0; i < N; i++) {
        l[i] = an_clamp_int(an_nearest(inverse * x[i]), -NMAX, NMAX - 1);
        float w = x[i] * x[i];
        sum_xl += w * x[i] * (float)l[i];
        sum_l2 += w * (float)l[i] * (float)l[i];
    }
    for (int pass = 0; pass < PASSES; pass++) {
        int n_changed = 0;
        for (int i = 0; i < N; i++) {
            float w = x[i] * x[i], xl = sum_xl - w * x[i] * (float)l[i];
            if (!(xl > 0)) continue;
            float l2 = sum_l2 - w * (float)l[i] * (float)l[i];
            int code = an_clamp_int(an_nearest(x[i] * l2 / xl), -NMAX, NMAX - 1);
            if (code == l[i]) continue;
            xl += w * x[i] * (float)code;
            l2 += w * (float)code * (float)code;
            if (l2 > 0 && xl * xl * sum_l2 > sum_xl * sum_xl * l2) {
                l[i] = code;
                sum_xl = xl;
                sum_l2 = l2;
                n_changed++;
            }
        }
        if (!n_changed) break;
    }
    for (int i = 0; i < N; i++) codes[i] = (uint8_t)(l[i] + NMAX);
    return sum_l2 > 0 ? sum_xl / sum_l2 : 0;
}

void an_recode_symmetric(const float *x, float d, int middle, uint8_t *codes)
{
    if (d == 0) return;
    for (int i = 0; i < 16; i++) codes[i] = (uint8_t)(an_clamp_int(an_nearest(x[i] / d), -middle, middle - 1) + middle);
}

void an_encode_q3_k(const float *x, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float scale[16], d[16];
    for (int j = 0; j < 16; j++) scale[j] = fit_refined(x + 16 * j, codes + 16 * j);
    an_pack_q3_k_scales(scale, block, d);
    for (int j = 0; j < 16; j++) an_recode_symmetric(x + 16 * j, d[j], 4, codes + 16 * j);
    an_pack_q3_k_codes(codes, block);
}

float an_fit_symmetric(const float *x, const float *w, int n, int n_max, uint8_t *codes)
{
    enum { TRIALS = 9 };
    float max = an_largest(x, n), scale = 0, best = 0;
    if (fabsf(max) < AN_NEXT_TO_NOTHING) {
        memset(codes, 0, (size_t)n);
        return 0;
    }
    for (int k = 0; k <= 2 * TRIALS; k++) {
        /* The plain one first, then -9 to 9 without it. */
        int t = k == 0 ? 0 : k <= TRIALS ? k - TRIALS - 1 : k - TRIALS;
        float inverse = -((float)n_max + 0.1f * (float)t) / max, sum_xl = 0, sum_l2 = 0;
        uint8_t trial[GROUP_MAX];
        for (int i = 0; i < n; i++) {
            int l = an_clamp_int(an_nearest(inverse * x[i]), -n_max, n_max - 1);
            trial[i] = (uint8_t)(l + n_max);
            sum_xl += w[i] * x[i] * (float)l;
            sum_l2 += w[i] * (float)l * (float)l;
        }
        if (k > 0 && !(sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2)) continue;
        memcpy(codes, trial, (size_t)n);
        scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
        best = scale * sum_xl;
    }
    return scale;
}

void an_encode_q6_k(const float *x, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float weights[16], scale[16], d[16];
    for (int j = 0; j < 16; j++) {
        for (int l = 0; l < 16; l++) weights[l] = x[16 * j + l] * x[16 * j + l];
        scale[j] = an_fit_symmetric(x + 16 * j, weights, 16, 32, codes + 16 * j);
    }
    if (!an_pack_q6_k_scales(scale, block, d)) return;
    for (int j = 0; j < 16; j++) an_recode_symmetric(x + 16 * j, d[j], 32, codes + 16 * j);
    an_pack_q6_k_codes(codes, block);
}
