/* Norm, SiLU, rotation, cache stores and conversions of one row. Included after a lanes header. */
#ifndef AN_BODY_ELEMENTWISE_H
#define AN_BODY_ELEMENTWISE_H

#include "base/bytes.h"
#include "kernels/body/math.h"
#include "kernels/kernels.h"
#include "quant/half.h"

#include <math.h>

static void rms_norm(float *out, const float *x, const float *weight, int n, float eps)
{
    int whole = n & ~15, rest = n - whole;
    vf acc[2] = {vf_zero(), vf_zero()};
    for (int i = 0; i < whole; i += 16) {
        vf v = vf_load(x + i);
        acc[i >> 4 & 1] = vf_fma(v, v, acc[i >> 4 & 1]);
    }
    if (rest) {
        vf v = vf_load_n(x + whole, rest);
        acc[0] = vf_fma(v, v, acc[0]);
    }
    float mean = vf_sum(vf_add(acc[0], acc[1])) / (float)n;
    vf r = vf_set1(1.0f / sqrtf(mean + eps));
    for (int i = 0; i < whole; i += 16)
        vf_store(out + i, vf_mul(vf_mul(vf_load(x + i), r), vf_load(weight + i)));
    if (rest) {
        vf v = vf_mul(vf_mul(vf_load_n(x + whole, rest), r), vf_load_n(weight + whole, rest));
        vf_store_n(out + whole, v, rest);
    }
}

/* silu(g) * u = g * u / (1 + e^-g). */
LANE_FN vf silu_times(vf g, vf u)
{
    vf e = vf_exp(vf_sub(vf_zero(), g));
    return vf_mul(vf_div(g, vf_add(vf_set1(1.0f), e)), u);
}

static void silu_mul(float *out, const float *gate, const float *up, int n)
{
    int whole = n & ~15, rest = n - whole;
    for (int i = 0; i < whole; i += 16)
        vf_store(out + i, silu_times(vf_load(gate + i), vf_load(up + i)));
    if (rest)
        vf_store_n(out + whole, silu_times(vf_load_n(gate + whole, rest), vf_load_n(up + whole, rest)), rest);
}

static void exp_row(float *out, const float *x, int n)
{
    int whole = n & ~15, rest = n - whole;
    for (int i = 0; i < whole; i += 16) vf_store(out + i, vf_exp(vf_load(x + i)));
    if (rest) vf_store_n(out + whole, vf_exp(vf_load_n(x + whole, rest)), rest);
}

static void rope_head(float *out, const float *x, an_rope_rows rows, const float *cos, const float *sin,
                      int head_dim)
{
    int half = head_dim / 2;
    for (int i = 0; i < half; i += 16) {
        int n = half - i < 16 ? half - i : 16;
        float first[16] = {0}, second[16] = {0};
        if (rows == AN_ROPE_HALF_SPLIT) {
            memcpy(first, x + i, (size_t)n * 4);
            memcpy(second, x + half + i, (size_t)n * 4);
        } else {
            for (int j = 0; j < n; j++) {
                first[j] = x[2 * (i + j)];
                second[j] = x[2 * (i + j) + 1];
            }
        }
        vf a = vf_load(first), b = vf_load(second);
        vf c = n == 16 ? vf_load(cos + i) : vf_load_n(cos + i, n);
        vf s = n == 16 ? vf_load(sin + i) : vf_load_n(sin + i, n);
        vf rotated_a = vf_sub(vf_mul(a, c), vf_mul(b, s));
        vf rotated_b = vf_add(vf_mul(a, s), vf_mul(b, c));
        if (n == 16) {
            vf_store(out + i, rotated_a);
            vf_store(out + half + i, rotated_b);
        } else {
            vf_store_n(out + i, rotated_a, n);
            vf_store_n(out + half + i, rotated_b, n);
        }
    }
}

static void row_f16(float *dst, const void *src, int n)
{
    const uint8_t *p = src;
    int whole = n & ~15;
    for (int i = 0; i < whole; i += 16) vf_store(dst + i, vf_load_f16(p + 2 * i));
    for (int i = whole; i < n; i++) dst[i] = an_f32_from_f16(an_load_u16(p + 2 * i));
}

static void row_bf16(float *dst, const void *src, int n)
{
    const uint8_t *p = src;
    int whole = n & ~15;
    for (int i = 0; i < whole; i += 16) vf_store(dst + i, vf_load_bf16(p + 2 * i));
    for (int i = whole; i < n; i++) dst[i] = an_f32_from_bf16(an_load_u16(p + 2 * i));
}

#endif
