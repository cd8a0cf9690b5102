/* Checks of the encoders of a level against those of quant, byte for byte, and of what goes with them. */
#include "kernels/kcheck.h"

#include "kernels/encode.h"
#include "quant/encode.h"
#include "quant/half.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N_KIND = 20, N_MAX = 4096 };

static float random_sign(kcheck *c)
{
    return an_rng_below(&c->rng, 2) ? 1.0f : -1.0f;
}

/* Any finite number, all bit patterns alike. */
static float random_finite(kcheck *c)
{
    float f = INFINITY;
    while (!isfinite(f)) f = an_f32_from_bits((uint32_t)an_rng_u64(&c->rng));
    return f;
}

/* One value of a group of one kind; `base` is the group's own number. */
static float value_of(kcheck *c, int kind, int i, float base)
{
    double u = an_rng_f64(&c->rng) * 2 - 1;
    float n = random_normal(c);
    switch (kind) {
    case 0: return 0.02f * n;
    case 1: return 0.02f * n * n * n * n * n;
    case 2: return 0;
    case 3: return base;
    case 4: return i ? base : -base;
    case 5: return (float)(u * 1e-39);
    case 6: return (float)(u * 1e30);
    case 7: return i == 7 ? 40 * n : 0.01f * n;
    case 8: return fabsf(n) + 0.1f;
    case 9: return -fabsf(n) - 0.1f;
    case 10: return (float)(int)(u * 8) * 0.125f;
    case 11: return an_f32_from_bf16(an_bf16_from_f32(0.05f * n));
    case 12: return (float)(u * 3e-15);
    case 13: return (float)(u * pow(10, -12 + i));
    case 14: return random_sign(c) * (i % 3 ? base : 0.0f);
    case 15: return (float)(u * (double)FLT_MAX);
    case 16: return random_finite(c);
    case 17: return i % 5 ? 0.0f : n;
    case 18: return (float)(u * 6e4);
    default: return an_f32_from_f16(an_f16_from_f32(0.02f * n));
    }
}

/* Every group of 16 or 32 is of a kind of its own, or all are alike. */
static void fill_groups(kcheck *c, float *x, int n, int round)
{
    int size = round & 1 ? 16 : 32;
    for (int g = 0; g < n / size; g++) {
        int kind = round % 3 ? (int)an_rng_below(&c->rng, N_KIND) : round / 3 % N_KIND;
        float base = 0.3f * random_normal(c);
        for (int i = 0; i < size; i++) x[size * g + i] = value_of(c, kind, i, base);
    }
}

static void expect_bytes(kcheck *c, const an_dtype_info *info, int round, int n, const uint8_t *got, const uint8_t *want,
                         size_t bytes)
{
    size_t i = 0;
    while (i < bytes && got[i] == want[i]) i++;
    if (i < bytes)
        kcheck_fail(c, "round %d: byte %zu of block %zu of %d values is %02x, expected %02x", round,
                    i % (size_t)info->block_bytes, i / (size_t)info->block_bytes, n, got[i], want[i]);
}

void check_encode(kcheck *c, const kcheck_op *op)
{
    const an_dtype_info *info = an_dtype_get(op->type);
    int unit = info->block_elems < 32 ? 32 : info->block_elems;
    for (int round = 0; round < c->n_round; round++) {
        int n = unit * (1 + (int)an_rng_below(&c->rng, (uint64_t)(N_MAX / unit)));
        size_t bytes = (size_t)(n / info->block_elems * info->block_bytes);
        guarded x = guarded_alloc((size_t)n * 4, round & 1), got = guarded_alloc(bytes, round & 2);
        static uint8_t want[N_MAX * 4];
        fill_groups(c, x.p, n, round);
        memset(got.p, 0x5A, bytes);
        an_encode_rows(op->type, x.p, 1, n, want);
        an_kernels_encode_rows(c->k, op->type, x.p, 1, n, got.p);
        expect_bytes(c, info, round, n, got.p, want, bytes);
        guarded_free(&x);
        guarded_free(&got);
    }
}

/* By importances of many kinds: alike, of heavy tails, mostly zero, all zero, tiny. */
void check_encode_weighted(kcheck *c, const kcheck_op *op)
{
    const an_dtype_info *info = an_dtype_get(op->type);
    int unit = info->block_elems < 32 ? 32 : info->block_elems;
    for (int round = 0; round < c->n_round; round++) {
        int n = unit * (1 + (int)an_rng_below(&c->rng, (uint64_t)(N_MAX / unit)));
        size_t bytes = (size_t)(n / info->block_elems * info->block_bytes);
        guarded x = guarded_alloc((size_t)n * 4, round & 1), w = guarded_alloc((size_t)n * 4, round & 2);
        guarded got = guarded_alloc(bytes, round & 1);
        static uint8_t want[N_MAX * 4];
        fill_groups(c, x.p, n, round);
        for (int i = 0; i < n; i++) {
            float v = random_normal(c), tail = v * v * v * v;
            int kind = round / 2 % 6;
            ((float *)w.p)[i] = kind == 0   ? 1
                                : kind == 1 ? fabsf(v)
                                : kind == 2 ? tail
                                : kind == 3 ? i % 7 ? 0 : tail
                                : kind == 4 ? i / 64 % 2 ? 0 : tail
                                            : tail * 1e-30f;
        }
        memset(got.p, 0x5A, bytes);
        an_encode_row_weighted(op->type, x.p, n, w.p, want);
        an_kernels_encode_row_weighted(c->k, op->type, x.p, n, w.p, got.p);
        expect_bytes(c, info, round, n, got.p, want, bytes);
        guarded_free(&x);
        guarded_free(&w);
        guarded_free(&got);
    }
}

/* Random bytes: every value is an_dequant's. */
void check_decode(kcheck *c, const kcheck_op *op)
{
    const an_dtype_info *info = an_dtype_get(op->type);
    int unit = info->block_elems < 32 ? 7 : info->block_elems;
    for (int round = 0; round < c->n_round; round++) {
        int n = unit * (1 + (int)an_rng_below(&c->rng, (uint64_t)(N_MAX / unit)));
        size_t bytes = (size_t)(n / info->block_elems * info->block_bytes);
        guarded blocks = guarded_alloc(bytes, round & 1), got = guarded_alloc((size_t)n * 4, round & 2);
        static float want[N_MAX];
        for (size_t i = 0; i < bytes; i++) ((uint8_t *)blocks.p)[i] = (uint8_t)an_rng_u64(&c->rng);
        an_dequant(op->type, blocks.p, want, n);
        an_kernels_decode(c->k, op->type, blocks.p, got.p, n);
        for (int i = 0; i < n; i++) {
            float v = ((float *)got.p)[i];
            if (v == want[i] || (isnan(v) && isnan(want[i]))) continue;
            kcheck_fail(c, "round %d: value %d of %d is %a, expected %a", round, i, n, (double)v, (double)want[i]);
            break;
        }
        guarded_free(&blocks);
        guarded_free(&got);
    }
}

void check_nonfinite(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    for (int round = 0; round < 500; round++) {
        int n = 1 + (int)an_rng_below(&c->rng, 100), at = (int)an_rng_below(&c->rng, (uint64_t)n);
        guarded x = guarded_alloc((size_t)n * 4, false);
        for (int i = 0; i < n; i++) ((float *)x.p)[i] = round & 1 ? random_finite(c) : random_sign(c) * FLT_MAX;
        if (an_kernels_find_nonfinite(c->k, x.p, n) != -1) kcheck_fail(c, "%d finite values are not", n);
        ((float *)x.p)[at] = bad[round % 3];
        if (at + 1 < n && round % 5 == 0) ((float *)x.p)[n - 1] = NAN;
        if (an_kernels_find_nonfinite(c->k, x.p, n) != at) kcheck_fail(c, "number %d of %d is not found", at, n);
        guarded_free(&x);
    }
}

void check_square_sums(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int round = 0; round < 100; round++) {
        int n = 1 + (int)an_rng_below(&c->rng, 300);
        guarded x = guarded_alloc((size_t)n * 4, false), y = guarded_alloc((size_t)n * 4, false);
        double sq = 0, error = 0, want_sq = 0, want_error = 0;
        for (int i = 0; i < n; i++) {
            float a = random_normal(c) * (round & 1 ? 1e30f : 1), b = a * (1 + 0.01f * random_normal(c));
            ((float *)x.p)[i] = a;
            ((float *)y.p)[i] = b;
            want_sq += (double)a * (double)a;
            want_error += ((double)a - (double)b) * ((double)a - (double)b);
        }
        an_kernels_square_sums(c->k, x.p, y.p, n, &sq, &error);
        kcheck_near(c, "squares", n, sq, want_sq, want_sq * 1e-12);
        kcheck_near(c, "squares of errors", n, error, want_error, want_error * 1e-12);
        guarded_free(&x);
        guarded_free(&y);
    }
}
