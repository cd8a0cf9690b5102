/*
 * Encoders to the blocks of GGUF files, sixteen groups at once. A lane is a group, so every sum has the order of the scalar
 * encoders (quant/encode*.c, which say what is computed and why), and every byte is theirs; what a lane would skip there is
 * computed here and not taken. Included after a lanes header.
 */
#ifndef AN_BODY_ENCODE_H
#define AN_BODY_ENCODE_H

#include "quant/encode_pack.h"

enum { ENCODE_BATCH = AN_ENCODE_BATCH, CODES_ZERO = 0x00400000 };

/* n values of each of 16 groups: out[i] = value i of every group. */
LANE_FN void load_groups(const float *x, int n, vf *out)
{
    for (int i = 0; i < n; i += 4) {
        vi t[4];
        vi_rows16((const uint8_t *)(x + i), (size_t)n * 4, t);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) out[i + j] = vf_from_bits(t[j]);
    }
}

/* The low bytes of n codes of each of 16 groups, group after group. */
LANE_FN void store_codes(const vi *codes, int n, uint8_t *out)
{
    for (int i = 0; i < n; i += 16) {
        vi rows[4], byte = vi_set1(0xFF);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const vi *c = codes + i + 4 * j;
            rows[j] = vi_or(vi_or(vi_and(c[0], byte), vi_shl(vi_and(c[1], byte), 8)),
                            vi_or(vi_shl(vi_and(c[2], byte), 16), vi_shl(c[3], 24)));
        }
        vi_put_rows16(out + i, (size_t)n, rows);
    }
}

LANE_FN vi vi_blend(vm m, vi yes, vi no)
{
    return vf_bits(vf_blend(m, vf_from_bits(yes), vf_from_bits(no)));
}

/* an_nearest, clamped; CODES_ZERO is added. */
LANE_FN vi nearest_code(vf v, int lo, int hi)
{
    vi code = vi_and(vf_bits(vf_add(v, vf_set1(12582912.0f))), vi_set1(0x007FFFFF));
    return vi_min(vi_max(code, vi_set1(CODES_ZERO + lo)), vi_set1(CODES_ZERO + hi));
}

LANE_FN vf code_value(vi code)
{
    return vf_sub(vf_from_bits(vi_or(code, vi_set1(0x4B000000))), vf_set1(12582912.0f));
}

LANE_FN vf nearest_value(vf v, int lo, int hi)
{
    return code_value(nearest_code(v, lo, hi));
}

/* an_largest. */
LANE_FN vf largest(const vf *x, int n)
{
    vf amax = vf_zero(), max = vf_zero();
    for (int i = 0; i < n; i++) {
        vf a = vf_abs(x[i]);
        vm more = vf_lt(amax, a);
        amax = vf_blend(more, a, amax);
        max = vf_blend(more, x[i], max);
    }
    return max;
}

/* 1 / d, and 0 for 0. */
LANE_FN vf inverse_of(vf d)
{
    return vf_blend(vf_eq(d, vf_zero()), vf_zero(), vf_div(vf_set1(1), d));
}

/* ---- scale and minimum: Q2_K, Q4_K, Q5_K */

/* The codes that the search found are those of by * (x - from). */
typedef struct min_fit {
    vf scale, minus_min, by, from;
} min_fit;

LANE_FN vf min_error(an_min_search s, const vf *x, const vf *w, const vf *codes, vf scale, vf min)
{
    vf sum = vf_zero();
#pragma GCC unroll 4
    for (int i = 0; i < s.n; i++) {
        vf diff = vf_sub(vf_add(vf_mul(scale, codes[i]), min), x[i]);
        sum = vf_add(sum, vf_mul(w[i], s.absolute ? vf_abs(diff) : vf_mul(diff, diff)));
    }
    return sum;
}

LANE_FN min_fit fit_min(an_min_search s, const vf *x, const vf *w)
{
    vf codes[32], zero = vf_zero();
    vf min = x[0], max = x[0], sum_w = w[0], sum_x = vf_mul(w[0], x[0]);
    for (int i = 1; i < s.n; i++) {
        min = vf_blend(vf_lt(x[i], min), x[i], min);
        max = vf_blend(vf_lt(max, x[i]), x[i], max);
        sum_w = vf_add(sum_w, w[i]);
        sum_x = vf_add(sum_x, vf_mul(w[i], x[i]));
    }
    min = vf_blend(vf_lt(zero, min), zero, min);
    vm flat = vf_eq(max, min);
    vf flat_min = min, inverse = vf_div(vf_set1((float)s.max_code), vf_sub(max, min));
    min_fit fit = {.scale = vf_div(vf_set1(1), inverse), .by = inverse, .from = min};
    for (int i = 0; i < s.n; i++) codes[i] = nearest_value(vf_mul(inverse, vf_sub(x[i], min)), 0, s.max_code);
    vf best = min_error(s, x, w, codes, fit.scale, min);
    for (int t = 0; t <= s.n_step; t++) {
        vf sum_l = zero, sum_l2 = zero, sum_xl = zero;
        inverse = vf_div(vf_set1(s.start + s.step * (float)t + (float)s.max_code), vf_sub(max, min));
#pragma GCC unroll 4
        for (int i = 0; i < s.n; i++) {
            vf l = nearest_value(vf_mul(inverse, vf_sub(x[i], min)), 0, s.max_code), wl = vf_mul(w[i], l);
            codes[i] = l;
            sum_l = vf_add(sum_l, wl);
            sum_l2 = vf_add(sum_l2, vf_mul(wl, l));
            sum_xl = vf_add(sum_xl, vf_mul(wl, x[i]));
        }
        vf det = vf_sub(vf_mul(sum_w, sum_l2), vf_mul(sum_l, sum_l));
        vf this_scale = vf_div(vf_sub(vf_mul(sum_w, sum_xl), vf_mul(sum_x, sum_l)), det);
        vf this_min = vf_div(vf_sub(vf_mul(sum_l2, sum_x), vf_mul(sum_l, sum_xl)), det);
        vm positive = vf_lt(zero, this_min);
        this_min = vf_blend(positive, zero, this_min);
        this_scale = vf_blend(positive, vf_div(sum_xl, sum_l2), this_scale);
        vf error = min_error(s, x, w, codes, this_scale, this_min);
        vm better = vm_and(vf_lt(zero, det), vf_lt(error, best));
        best = vf_blend(better, error, best);
        fit.scale = vf_blend(better, this_scale, fit.scale);
        fit.by = vf_blend(better, inverse, fit.by);
        fit.from = vf_blend(better, min, fit.from);
        min = vf_blend(better, this_min, min);
    }
    min = vf_blend(flat, flat_min, min);
    fit.minus_min = vf_from_bits(vi_xor(vf_bits(min), vi_set1(INT32_MIN)));
    fit.scale = vf_blend(flat, zero, fit.scale);
    fit.by = vf_blend(flat, zero, fit.by);
    fit.from = vf_blend(flat, flat_min, fit.from);
    return fit;
}

/* Codes by the scales and minima as they were stored, or, for a scale of zero, those of the search. */
LANE_FN void recode_min(const vf *x, int n, int max_code, const float *d, const float *m, const min_fit *fit, uint8_t *out)
{
    vi codes[32];
    vf scale = vf_load(d), min = vf_load(m);
    vm kept = vf_eq(scale, vf_zero());
    for (int i = 0; i < n; i++) codes[i] = nearest_code(vf_div(vf_add(x[i], min), scale), 0, max_code);
    if (vm_any(kept))
        for (int i = 0; i < n; i++) {
            vi found = nearest_code(vf_mul(fit->by, vf_sub(x[i], fit->from)), 0, max_code);
            codes[i] = vi_blend(kept, found, codes[i]);
        }
    store_codes(codes, n, out);
}

static void encode_q2_k(const float *x, uint8_t *blocks)
{
    static const an_min_search s = {16, 3, -0.5f, 0.1f, 15, true};
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, blocks += 84) {
        uint8_t codes[AN_SUPER];
        float scale[16], min[16], d[16], m[16];
        vf values[16], weights[16];
        load_groups(x, 16, values);
        for (int i = 0; i < 16; i++) weights[i] = vf_abs(values[i]);
        min_fit fit = fit_min(s, values, weights);
        vf_store(scale, fit.scale);
        vf_store(min, fit.minus_min);
        an_pack_q2_k_scales(scale, min, blocks, d, m);
        recode_min(values, 16, s.max_code, d, m, &fit, codes);
        an_pack_q2_k_codes(codes, blocks);
    }
}

/* Two blocks of Q4_K or Q5_K but for the codes. */
LANE_FN void encode_k4(an_min_search s, const float *x, uint8_t *blocks, size_t block_bytes, uint8_t codes[ENCODE_BATCH])
{
    float scale[16], min[16], d[16], m[16];
    vf values[32], weights[32], sum_x2 = vf_zero();
    load_groups(x, 32, values);
    for (int i = 0; i < 32; i++) sum_x2 = vf_add(sum_x2, vf_mul(values[i], values[i]));
    vf mean = vf_sqrt(vf_div(sum_x2, vf_set1(32)));
    for (int i = 0; i < 32; i++) weights[i] = vf_add(mean, vf_abs(values[i]));
    min_fit fit = fit_min(s, values, weights);
    vf_store(scale, fit.scale);
    vf_store(min, fit.minus_min);
    an_pack_k4_scales(scale, min, blocks, d, m);
    an_pack_k4_scales(scale + 8, min + 8, blocks + block_bytes, d + 8, m + 8);
    recode_min(values, 32, s.max_code, d, m, &fit, codes);
}

static void encode_q4_k(const float *x, uint8_t *blocks)
{
    static const an_min_search s = {32, 15, -1.0f, 0.1f, 20, false};
    uint8_t codes[ENCODE_BATCH];
    encode_k4(s, x, blocks, 144, codes);
    an_pack_q4_k_codes(codes, blocks);
    an_pack_q4_k_codes(codes + AN_SUPER, blocks + 144);
}

static void encode_q5_k(const float *x, uint8_t *blocks)
{
    static const an_min_search s = {32, 31, -0.5f, 0.1f, 15, false};
    uint8_t codes[ENCODE_BATCH];
    encode_k4(s, x, blocks, 176, codes);
    an_pack_q5_k_codes(codes, blocks);
    an_pack_q5_k_codes(codes + AN_SUPER, blocks + 176);
}

/* ---- symmetric: Q3_K, Q6_K */

/* Codes of 16 groups of 16, plus `middle`, by the scales as they were stored; `found` is for scales of zero. */
LANE_FN void recode(const vf *x, const float *d, int middle, const vi *found, uint8_t *out)
{
    vi codes[16], shift = vi_set1(middle - CODES_ZERO);
    vf scale = vf_load(d);
    vm kept = vf_eq(scale, vf_zero());
    for (int i = 0; i < 16; i++) {
        vi code = nearest_code(vf_div(x[i], scale), -middle, middle - 1);
        codes[i] = vi_add(vi_blend(kept, found[i], code), shift);
    }
    store_codes(codes, 16, out);
}

/* Helper C. */
LANE_FN vf fit_refined(const vf *x, vi *found)
{
    enum { NMAX = 4, PASSES = 5 };
    vf l[16], w[16], wx[16], zero = vf_zero(), max = largest(x, 16), sum_xl = zero, sum_l2 = zero;
    vf inverse = vf_div(vf_set1(-NMAX), max);
    vm nothing = vf_lt(vf_abs(max), vf_set1(AN_NEXT_TO_NOTHING));
    for (int i = 0; i < 16; i++) {
        l[i] = nearest_value(vf_mul(inverse, x[i]), -NMAX, NMAX - 1);
        w[i] = vf_mul(x[i], x[i]);
        wx[i] = vf_mul(w[i], x[i]);
        sum_xl = vf_add(sum_xl, vf_mul(wx[i], l[i]));
        sum_l2 = vf_add(sum_l2, vf_mul(vf_mul(w[i], l[i]), l[i]));
    }
    for (int pass = 0; pass < PASSES; pass++) {
        bool changed = false;
        for (int i = 0; i < 16; i++) {
            vf xl = vf_sub(sum_xl, vf_mul(wx[i], l[i]));
            vf l2 = vf_sub(sum_l2, vf_mul(vf_mul(w[i], l[i]), l[i]));
            vf code = nearest_value(vf_div(vf_mul(x[i], l2), xl), -NMAX, NMAX - 1);
            vm other = vm_andnot(nothing, vm_andnot(vf_eq(code, l[i]), vf_lt(zero, xl)));
            if (!vm_any(other)) continue;
            xl = vf_add(xl, vf_mul(wx[i], code));
            l2 = vf_add(l2, vf_mul(vf_mul(w[i], code), code));
            vf now = vf_mul(vf_mul(xl, xl), sum_l2), before = vf_mul(vf_mul(sum_xl, sum_xl), l2);
            vm better = vm_and(other, vm_and(vf_lt(zero, l2), vf_lt(before, now)));
            if (!vm_any(better)) continue;
            l[i] = vf_blend(better, code, l[i]);
            sum_xl = vf_blend(better, xl, sum_xl);
            sum_l2 = vf_blend(better, l2, sum_l2);
            changed = true;
        }
        if (!changed) break;
    }
    for (int i = 0; i < 16; i++)
        found[i] = vi_blend(nothing, vi_set1(CODES_ZERO - NMAX), nearest_code(l[i], -NMAX, NMAX - 1));
    vf scale = vf_blend(vf_lt(zero, sum_l2), vf_div(sum_xl, sum_l2), zero);
    return vf_blend(nothing, zero, scale);
}

static void encode_q3_k(const float *x, uint8_t *blocks)
{
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, blocks += 110) {
        uint8_t codes[AN_SUPER];
        float scale[16], d[16];
        vf values[16];
        vi found[16];
        load_groups(x, 16, values);
        vf_store(scale, fit_refined(values, found));
        an_pack_q3_k_scales(scale, blocks, d);
        recode(values, d, 4, found, codes);
        an_pack_q3_k_codes(codes, blocks);
    }
}

/* Helper B. */
LANE_FN vf fit_symmetric(const vf *x, const vf *w, int n, int n_max, vi *found)
{
    enum { TRIALS = 9 };
    vf wx[32], zero = vf_zero(), max = largest(x, n), scale = zero, best = zero, by = zero;
    vm nothing = vf_lt(vf_abs(max), vf_set1(AN_NEXT_TO_NOTHING));
    for (int i = 0; i < n; i++) wx[i] = vf_mul(w[i], x[i]);
    for (int k = 0; k <= 2 * TRIALS; k++) {
        int t = k == 0 ? 0 : k <= TRIALS ? k - TRIALS - 1 : k - TRIALS;
        vf inverse = vf_div(vf_set1(-((float)n_max + 0.1f * (float)t)), max), sum_xl = zero, sum_l2 = zero;
#pragma GCC unroll 4
        for (int i = 0; i < n; i++) {
            vf l = nearest_value(vf_mul(inverse, x[i]), -n_max, n_max - 1);
            sum_xl = vf_add(sum_xl, vf_mul(wx[i], l));
            sum_l2 = vf_add(sum_l2, vf_mul(vf_mul(w[i], l), l));
        }
        vf this_scale = vf_blend(vf_eq(sum_l2, zero), zero, vf_div(sum_xl, sum_l2)), this_best = vf_mul(this_scale, sum_xl);
        vm better = vm_and(vf_lt(zero, sum_l2), vf_lt(vf_mul(best, sum_l2), vf_mul(sum_xl, sum_xl)));
        scale = k == 0 ? this_scale : vf_blend(better, this_scale, scale);
        best = k == 0 ? this_best : vf_blend(better, this_best, best);
        by = k == 0 ? inverse : vf_blend(better, inverse, by);
    }
    for (int i = 0; i < n; i++)
        found[i] = vi_blend(nothing, vi_set1(CODES_ZERO - n_max), nearest_code(vf_mul(by, x[i]), -n_max, n_max - 1));
    return vf_blend(nothing, zero, scale);
}

static void encode_q6_k(const float *x, uint8_t *blocks)
{
    for (int b = 0; b < ENCODE_BATCH / AN_SUPER; b++, x += AN_SUPER, blocks += 210) {
        uint8_t codes[AN_SUPER];
        float scale[16], d[16];
        vf values[16], weights[16];
        vi found[16];
        load_groups(x, 16, values);
        for (int i = 0; i < 16; i++) weights[i] = vf_mul(values[i], values[i]);
        vf_store(scale, fit_symmetric(values, weights, 16, 32, found));
        if (!an_pack_q6_k_scales(scale, blocks, d)) continue;
        recode(values, d, 32, found, codes);
        an_pack_q6_k_codes(codes, blocks);
    }
}

/* ---- sixteen unevenly spaced values: IQ4_NL, IQ4_XS */

/*
 * Code of the nearest value, the larger one in the middle between two: how many of the middles are not above v. Right
 * beside a middle both distances that the scalar search compares are exact, so it decides at the same place.
 */
LANE_FN vi nearest_iq4(vf v)
{
    static const float middles[16] = {0,      -115.5f, -93.5f, -74, -57, -42, -28.5f, -16,
                                      -4.5f, 7,       19,     31.5f, 45.5f, 61, 79, 101};
    vi code = vi_blend(vf_lt(v, vf_set1(middles[8])), vi_set1(0), vi_set1(8));
#pragma GCC unroll 3
    for (int step = 4; step > 0; step /= 2) {
        vi up = vi_or(code, vi_set1(step));
        code = vi_blend(vf_lt(v, vf_pick(middles, up)), code, up);
    }
    return code;
}

LANE_FN void iq4_sums(const vf *x, const vf *w, vf inverse, vf *qx, vf *q2)
{
    static const float values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
    *qx = *q2 = vf_zero();
#pragma GCC unroll 4
    for (int i = 0; i < 32; i++) {
        vf q = vf_pick(values, nearest_iq4(vf_mul(inverse, x[i]))), wq = vf_mul(w[i], q);
        *qx = vf_add(*qx, vf_mul(wq, x[i]));
        *q2 = vf_add(*q2, vf_mul(wq, q));
    }
}

LANE_FN vf fit_iq4(const vf *x, const vf *w)
{
    enum { TRIALS = 7, FIRST = -127 };
    vf max = largest(x, 32), qx, q2, zero = vf_zero();
    vm nothing = vf_lt(vf_abs(max), vf_set1(AN_NEXT_TO_NOTHING));
    vf d = vf_div(max, vf_set1(-FIRST));
    iq4_sums(x, w, vf_div(vf_set1(1), d), &qx, &q2);
    d = vf_blend(vf_lt(zero, q2), vf_div(qx, q2), zero);
    vf best = vf_mul(d, qx);
    for (int t = -TRIALS; t <= TRIALS; t++) {
        iq4_sums(x, w, vf_div(vf_set1((float)(t + FIRST)), max), &qx, &q2);
        vm better = vm_and(vf_lt(zero, q2), vf_lt(vf_mul(best, q2), vf_mul(qx, qx)));
        vf this_d = vf_div(qx, q2);
        d = vf_blend(better, this_d, d);
        best = vf_blend(better, vf_mul(this_d, qx), best);
    }
    return vf_blend(nothing, zero, d);
}

/* By their own squares. */
LANE_FN vf fit_iq4_plain(const vf *x)
{
    vf w[32];
    for (int i = 0; i < 32; i++) w[i] = vf_mul(x[i], x[i]);
    return fit_iq4(x, w);
}

LANE_FN void iq4_codes(const vf *x, vf d, uint8_t *out)
{
    vi codes[32];
    vf inverse = inverse_of(d);
    for (int i = 0; i < 32; i++) codes[i] = nearest_iq4(vf_mul(inverse, x[i]));
    store_codes(codes, 32, out);
}

static void encode_iq4_nl(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16];
    vf values[32];
    load_groups(x, 32, values);
    vf d = fit_iq4_plain(values);
    vf_store(scale, d);
    iq4_codes(values, d, codes);
    for (int b = 0; b < 16; b++, blocks += 18) {
        an_put_f16(blocks, scale[b]);
        an_pack_nibbles(codes + 32 * b, blocks + 2);
    }
}

static void encode_iq4_xs(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16], d[16];
    vf values[32];
    load_groups(x, 32, values);
    vf_store(scale, fit_iq4_plain(values));
    an_pack_iq4_xs_scales(scale, blocks, d);
    an_pack_iq4_xs_scales(scale + 8, blocks + 136, d + 8);
    iq4_codes(values, vf_load(d), codes);
    for (int g = 0; g < 16; g++) an_pack_nibbles(codes + 32 * g, blocks + 136 * (g / 8) + 8 + 16 * (g % 8));
}

/* ---- blocks of 32 */

/* To 8 bits from a truncated number: with saturation, or by cutting off the others. */
LANE_FN vi saturated8(vi v)
{
    return vi_min(vi_max(v, vi_set1(-128)), vi_set1(127));
}
LANE_FN vi cut8(vi v)
{
    return vi_sra(vi_shl(v, 24), 24);
}

LANE_FN void encode_symmetric(const float *x, int bits, float scale[16], uint8_t bytes[ENCODE_BATCH])
{
    int middle = 1 << (bits - 1), max_code = (1 << bits) - 1;
    vf values[32];
    vi codes[32];
    load_groups(x, 32, values);
    vf d = vf_div(largest(values, 32), vf_set1((float)-middle)), inverse = inverse_of(d);
    for (int i = 0; i < 32; i++) {
        vi v = vf_trunc(vf_add(vf_mul(values[i], inverse), vf_set1((float)middle + 0.5f)));
        codes[i] = vi_min(bits == 4 ? saturated8(v) : cut8(v), vi_set1(max_code));
    }
    vf_store(scale, d);
    store_codes(codes, 32, bytes);
}

static void encode_q4_0(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16];
    encode_symmetric(x, 4, scale, codes);
    for (int b = 0; b < 16; b++, blocks += 18) {
        an_put_f16(blocks, scale[b]);
        an_pack_nibbles(codes + 32 * b, blocks + 2);
    }
}

static void encode_q5_0(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16];
    encode_symmetric(x, 5, scale, codes);
    for (int b = 0; b < 16; b++, blocks += 22) {
        an_put_f16(blocks, scale[b]);
        an_pack_five_bits(codes + 32 * b, blocks + 2, blocks + 6);
    }
}

LANE_FN void encode_min(const float *x, int bits, float scale[16], float mins[16], uint8_t bytes[ENCODE_BATCH])
{
    int max_code = (1 << bits) - 1;
    vf values[32];
    vi codes[32];
    load_groups(x, 32, values);
    vf min = values[0], max = values[0];
    for (int i = 1; i < 32; i++) {
        min = vf_blend(vf_lt(values[i], min), values[i], min);
        max = vf_blend(vf_lt(max, values[i]), values[i], max);
    }
    vf d = vf_div(vf_sub(max, min), vf_set1((float)max_code)), inverse = inverse_of(d);
    for (int i = 0; i < 32; i++) {
        vi v = vf_trunc(vf_add(vf_mul(vf_sub(values[i], min), inverse), vf_set1(0.5f)));
        codes[i] = bits == 4 ? vi_min(saturated8(v), vi_set1(max_code)) : v;
    }
    vf_store(scale, d);
    vf_store(mins, min);
    store_codes(codes, 32, bytes);
}

static void encode_q4_1(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16], min[16];
    encode_min(x, 4, scale, min, codes);
    for (int b = 0; b < 16; b++, blocks += 20) {
        an_put_f16(blocks, scale[b]);
        an_put_f16(blocks + 2, min[b]);
        an_pack_nibbles(codes + 32 * b, blocks + 4);
    }
}

static void encode_q5_1(const float *x, uint8_t *blocks)
{
    uint8_t codes[ENCODE_BATCH];
    float scale[16], min[16];
    encode_min(x, 5, scale, min, codes);
    for (int b = 0; b < 16; b++, blocks += 24) {
        an_put_f16(blocks, scale[b]);
        an_put_f16(blocks + 2, min[b]);
        an_pack_five_bits(codes + 32 * b, blocks + 4, blocks + 8);
    }
}

static void encode_q8_0(const float *x, uint8_t *blocks)
{
    uint8_t bytes[ENCODE_BATCH];
    float scale[16];
    vf values[32], sign = vf_set1(-0.0f);
    vi codes[32], below_half = vf_bits(vf_set1(0x1.fffffep-2f));
    load_groups(x, 32, values);
    vf d = vf_div(vf_abs(largest(values, 32)), vf_set1(127)), inverse = inverse_of(d);
    for (int i = 0; i < 32; i++) {
        /* roundf, halves away from zero: the number right below a half carries all that it carries, and nothing else. */
        vf v = vf_mul(values[i], inverse);
        vf half = vf_from_bits(vi_or(below_half, vi_and(vf_bits(v), vf_bits(sign))));
        codes[i] = saturated8(vf_trunc(vf_add(v, half)));
    }
    vf_store(scale, d);
    store_codes(codes, 32, bytes);
    for (int b = 0; b < 16; b++, blocks += 34) {
        an_put_f16(blocks, scale[b]);
        memcpy(blocks + 2, bytes + 32 * b, 32);
    }
}

/* ---- plain numbers */

static void encode_f32(const float *x, uint8_t *out)
{
    memcpy(out, x, ENCODE_BATCH * sizeof *x);
}

static void encode_f16(const float *x, uint8_t *out)
{
    for (int i = 0; i < ENCODE_BATCH; i += 16) vf_store_f16(out + 2 * i, vf_load(x + i));
}

static void encode_bf16(const float *x, uint8_t *out)
{
    uint16_t half[ENCODE_BATCH];
    for (int i = 0; i < ENCODE_BATCH; i++) half[i] = an_bf16_from_f32(x[i]);
    memcpy(out, half, sizeof half);
}

#endif
