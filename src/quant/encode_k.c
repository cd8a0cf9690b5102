/* Encoders of the K types (formats.md 2.4). Sums run in the order of the elements: another order is another rounding. */
#include "quant/encode_internal.h"

#include "quant/dequant.h"
#include "quant/half.h"

#include <math.h>
#include <string.h>

enum { GROUP_MAX = 32 };

static float get_f16(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

/* ---- scale and minimum: Q2_K, Q4_K, Q5_K */

typedef struct search {
    int n, max_code;  /* elements, largest code */
    float start, step; /* of the trial inverse scales, added to max_code */
    int n_step;
    bool absolute; /* error by magnitude instead of by square */
} search;

static float error_of(const search *s, const float *x, const float *w, const uint8_t *codes, float scale, float min)
{
    float sum = 0;
    for (int i = 0; i < s->n; i++) {
        float diff = scale * (float)codes[i] + min - x[i];
        sum += w[i] * (s->absolute ? fabsf(diff) : diff * diff);
    }
    return sum;
}

/*
 * Helper A: codes and scale for x, *minus_min >= 0 is what is subtracted. As in the reference, the trials that follow a better
 * one start from its minimum, not from the group's.
 */
static float fit_min(const search *s, const float *x, const float *w, uint8_t *codes, float *minus_min)
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

/* Codes again, by the scale and minimum as they were stored. A scale of zero leaves what the search found. */
static void recode_min(const float *x, int n, float d, float minus_min, int max_code, uint8_t *codes)
{
    if (d == 0) return;
    for (int i = 0; i < n; i++) codes[i] = (uint8_t)an_clamp_int(an_nearest((x[i] + minus_min) / d), 0, max_code);
}

void an_encode_q2_k(const float *x, uint8_t *block)
{
    static const search s = {16, 3, -0.5f, 0.1f, 15, true};
    uint8_t codes[AN_SUPER], *scales = block, *qs = block + 16;
    float weights[16], scale[16], min[16], max_scale = 0, max_min = 0;
    for (int j = 0; j < 16; j++) {
        for (int l = 0; l < 16; l++) weights[l] = fabsf(x[16 * j + l]);
        scale[j] = fit_min(&s, x + 16 * j, weights, codes + 16 * j, &min[j]);
        if (scale[j] > max_scale) max_scale = scale[j];
        if (min[j] > max_min) max_min = min[j];
    }
    float by_scale = max_scale > 0 ? 15.0f / max_scale : 0, by_min = max_min > 0 ? 15.0f / max_min : 0;
    for (int j = 0; j < 16; j++)
        scales[j] = (uint8_t)((unsigned)an_nearest(by_scale * scale[j]) | (unsigned)an_nearest(by_min * min[j]) << 4);
    an_put_f16(block + 80, max_scale > 0 ? max_scale / 15.0f : 0);
    an_put_f16(block + 82, max_min > 0 ? max_min / 15.0f : 0);
    for (int j = 0; j < 16; j++)
        recode_min(x + 16 * j, 16, get_f16(block + 80) * (float)(scales[j] & 15),
                   get_f16(block + 82) * (float)(scales[j] >> 4), 3, codes + 16 * j);
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * h + l;
            qs[32 * h + l] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
}

/* What Q4_K and Q5_K share: codes of eight groups of 32, d, dmin and the packed scales. */
static void encode_45(const search *s, const float *x, uint8_t *block, uint8_t *codes)
{
    float weights[32], scale[8], min[8], max_scale = 0, max_min = 0;
    uint8_t *packed = block + 4;
    for (int j = 0; j < 8; j++) {
        const float *g = x + 32 * j;
        float sum_x2 = 0;
        for (int l = 0; l < 32; l++) sum_x2 += g[l] * g[l];
        float mean = sqrtf(sum_x2 / 32);
        for (int l = 0; l < 32; l++) weights[l] = mean + fabsf(g[l]);
        scale[j] = fit_min(s, g, weights, codes + 32 * j, &min[j]);
        if (scale[j] > max_scale) max_scale = scale[j];
        if (min[j] > max_min) max_min = min[j];
    }
    float by_scale = max_scale > 0 ? 63.0f / max_scale : 0, by_min = max_min > 0 ? 63.0f / max_min : 0;
    memset(packed, 0, 12);
    for (int j = 0; j < 8; j++) {
        int ls = (uint8_t)an_nearest(by_scale * scale[j]), lm = (uint8_t)an_nearest(by_min * min[j]);
        if (ls > 63) ls = 63;
        if (lm > 63) lm = 63;
        if (j < 4) {
            packed[j] = (uint8_t)ls;
            packed[j + 4] = (uint8_t)lm;
        } else {
            packed[j + 4] = (uint8_t)((ls & 15) | (lm & 15) << 4);
            packed[j - 4] |= (uint8_t)(ls >> 4 << 6);
            packed[j] |= (uint8_t)(lm >> 4 << 6);
        }
    }
    an_put_f16(block, max_scale / 63.0f);
    an_put_f16(block + 2, max_min / 63.0f);
    for (int j = 0; j < 8; j++) {
        int sc, m;
        an_k4_scale_min(packed, j, &sc, &m);
        recode_min(x + 32 * j, 32, get_f16(block) * (float)sc, get_f16(block + 2) * (float)m, s->max_code, codes + 32 * j);
    }
}

void an_encode_q4_k(const float *x, uint8_t *block)
{
    static const search s = {32, 15, -1.0f, 0.1f, 20, false};
    uint8_t codes[AN_SUPER];
    encode_45(&s, x, block, codes);
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++)
            block[16 + 32 * g + l] = (uint8_t)(codes[64 * g + l] | codes[64 * g + 32 + l] << 4);
}

void an_encode_q5_k(const float *x, uint8_t *block)
{
    static const search s = {32, 31, -0.5f, 0.1f, 15, false};
    uint8_t codes[AN_SUPER], *high = block + 16, *low = block + 48;
    encode_45(&s, x, block, codes);
    memset(high, 0, 32);
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++) {
            int a = codes[64 * g + l], b = codes[64 * g + 32 + l];
            low[32 * g + l] = (uint8_t)((a & 15) | (b & 15) << 4);
            high[l] |= (uint8_t)((a >> 4) << (2 * g) | (b >> 4) << (2 * g + 1));
        }
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

/* Codes of one group by the stored scale, plus `middle`; a scale of zero leaves what the search found. */
static void recode(const float *x, float d, int middle, uint8_t *codes)
{
    if (d == 0) return;
    for (int i = 0; i < 16; i++) codes[i] = (uint8_t)(an_clamp_int(an_nearest(x[i] / d), -middle, middle - 1) + middle);
}

void an_encode_q3_k(const float *x, uint8_t *block)
{
    uint8_t codes[AN_SUPER], *mask = block, *qs = block + 32, *packed = block + 96;
    float scale[16];
    for (int j = 0; j < 16; j++) scale[j] = fit_refined(x + 16 * j, codes + 16 * j);
    float max = an_largest(scale, 16);
    memset(packed, 0, 12);
    float inverse = max != 0 ? -32.0f / max : 0;
    for (int j = 0; max != 0 && j < 16; j++) {
        int l = an_clamp_int(an_nearest(inverse * scale[j]), -32, 31) + 32;
        packed[j % 8] |= (uint8_t)((l & 15) << (j < 8 ? 0 : 4));
        packed[8 + j % 4] |= (uint8_t)((l >> 4) << (2 * (j / 4)));
    }
    an_put_f16(block + 108, max != 0 ? 1 / inverse : 0);
    for (int j = 0; j < 16; j++)
        recode(x + 16 * j, get_f16(block + 108) * (float)an_q3k_scale(packed, j), 4, codes + 16 * j);
    memset(mask, 0, 32);
    memset(qs, 0, 64);
    for (int e = 0; e < AN_SUPER; e++) {
        mask[e % 32] |= (uint8_t)((codes[e] >> 2) << (e / 32));
        qs[32 * (e / 128) + e % 32] |= (uint8_t)((codes[e] & 3) << (2 * (e % 128 / 32)));
    }
}

/* Helper B: codes -32..31, stored plus 32; the best of 19 inverse scales. */
static float fit_symmetric(const float *x, uint8_t *codes)
{
    enum { N = 16, NMAX = 32, TRIALS = 9 };
    float max = an_largest(x, N), scale = 0, best = 0;
    if (fabsf(max) < AN_NEXT_TO_NOTHING) {
        memset(codes, 0, N);
        return 0;
    }
    for (int k = 0; k <= 2 * TRIALS; k++) {
        /* The plain one first, then -9 to 9 without it. */
        int t = k == 0 ? 0 : k <= TRIALS ? k - TRIALS - 1 : k - TRIALS;
        float inverse = -((float)NMAX + 0.1f * (float)t) / max, sum_xl = 0, sum_l2 = 0;
        uint8_t trial[N];
        for (int i = 0; i < N; i++) {
            int l = an_clamp_int(an_nearest(inverse * x[i]), -NMAX, NMAX - 1);
            float w = x[i] * x[i];
            trial[i] = (uint8_t)(l + NMAX);
            sum_xl += w * x[i] * (float)l;
            sum_l2 += w * (float)l * (float)l;
        }
        if (k > 0 && !(sum_l2 > 0 && sum_xl * sum_xl > best * sum_l2)) continue;
        memcpy(codes, trial, N);
        scale = sum_l2 != 0 ? sum_xl / sum_l2 : 0;
        best = scale * sum_xl;
    }
    return scale;
}

void an_encode_q6_k(const float *x, uint8_t *block)
{
    uint8_t codes[AN_SUPER];
    float scale[16];
    for (int j = 0; j < 16; j++) scale[j] = fit_symmetric(x + 16 * j, codes + 16 * j);
    float max = an_largest(scale, 16);
    memset(block, 0, 210);
    if (fabsf(max) < AN_NEXT_TO_NOTHING) return;
    float inverse = -128.0f / max;
    an_put_f16(block + 208, 1 / inverse);
    for (int j = 0; j < 16; j++) {
        int l = an_nearest(inverse * scale[j]);
        int8_t s = (int8_t)(l < 127 ? l : 127);
        block[192 + j] = (uint8_t)s;
        recode(x + 16 * j, get_f16(block + 208) * (float)s, 32, codes + 16 * j);
    }
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * h + l;
            block[64 * h + l] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
            block[64 * h + 32 + l] = (uint8_t)((c[32] & 15) | (c[96] & 15) << 4);
            block[128 + 32 * h + l] = (uint8_t)(c[0] >> 4 | c[32] >> 4 << 2 | c[64] >> 4 << 4 | c[96] >> 4 << 6);
        }
}
