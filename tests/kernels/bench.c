/* Speed of kernels on shapes of real models, one thread, weights larger than the caches where decode reads them. */
#include "kernels/kcheck.h"

#include "kernels/encode.h"
#include "os/clock.h"
#include "quant/encode.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double seconds(void)
{
    return (double)an_clock_ns() * 1e-9;
}

/* n_row rows, the first 1024 of `src` again and again: random ones would take longer than measuring. */
static uint8_t *repeat_rows(const void *src, uint64_t row_bytes, int64_t n_row)
{
    uint8_t *p = malloc((size_t)n_row * row_bytes);
    for (int64_t r = 0; r < n_row; r++)
        memcpy(p + (uint64_t)r * row_bytes, (const uint8_t *)src + (uint64_t)(r % 1024) * row_bytes, row_bytes);
    return p;
}

/* Best of several rounds: bytes of weights per second for one token, operations per second for many. */
static void bench_matmul(const an_kernels *k, an_dtype type, an_affine affine, const char *name, int n_col)
{
    kcheck c = {.k = k, .op = "bench"};
    an_rng_seed(&c.rng, 1);
    int64_t n_row = (int64_t)(48 << 20) / n_col;
    n_row -= n_row % 16;
    test_weight w = weight_make(&c, type, affine, 1024, n_col, 0, false);
    uint64_t scale_bytes = (uint64_t)(n_col / 32 * 2);
    uint8_t *data = repeat_rows(w.w.data, w.w.row_bytes, n_row), *scales = NULL, *biases = NULL;
    if (type == AN_DTYPE_AFFINE) {
        scales = repeat_rows(w.w.affine.scales, scale_bytes, n_row);
        biases = repeat_rows(w.w.affine.biases, scale_bytes, n_row);
    }
    void *scratch = aligned_alloc(64, (an_matmul_scratch_bytes(k, n_col) + 63) & ~(size_t)63);
    /* One token over weights in L2 and in memory, four over memory, many over L2. */
    static const struct {
        int n_tok;
        bool cached;
    } cases[] = {{1, true}, {1, false}, {4, false}, {512, true}};
    for (size_t i_case = 0; i_case < AN_COUNT_OF(cases); i_case++) {
        int n_tok = cases[i_case].n_tok;
        an_act a = {.compute = AN_COMPUTE_Q8, .n_tok = n_tok, .n_col = n_col, .f32_stride = (size_t)n_col};
        float *x = malloc((size_t)n_tok * (size_t)n_col * 4);
        fill_floats(&c, x, (size_t)n_tok * (size_t)n_col, 0);
        a.f32 = x;
        void *room = aligned_alloc(64, an_act_bytes(AN_COMPUTE_Q8, n_tok, n_col));
        act_room(&a, &w.w, room);
        double best = 1e9;
        int64_t rows = cases[i_case].cached ? 1024 : n_row;
        float *out = malloc((size_t)n_tok * (size_t)rows * 4);
        double begin = seconds(), quantize = 1e9;
        for (int i = 0; i < 20 && (i < 2 || seconds() - begin < 0.6); i++) {
            double t = seconds();
            an_act_quantize(k, &a, 0, n_tok);
            double q = seconds() - t;
            if (q < quantize) quantize = q;
            an_weight big = w.w;
            if (rows == n_row) {
                big.data = data;
                big.affine.scales = scales;
                big.affine.biases = biases;
                big.n_row = n_row;
            }
            t = seconds();
            an_matmul_rows(k, &big, &a, out, (size_t)rows, 0, rows, false, scratch);
            t = seconds() - t;
            if (t < best) best = t;
        }
        double bytes = (double)an_weight_bytes(&w.w) / 1024 * (double)rows;
        double ops = 2.0 * (double)rows * n_col * n_tok;
        printf("%-10s %-14s n_col %5d tokens %3d %s: %7.1f GB/s %8.1f Gop/s  quantize %6.2f us/token\n", k->name, name,
               n_col, n_tok, cases[i_case].cached ? "L2 " : "RAM", bytes / best * 1e-9, ops / best * 1e-9, quantize * 1e6 / n_tok);
        free(out);
        free(room);
        free(x);
    }
    free(scratch);
    free(data);
    free(scales);
    free(biases);
    weight_free(&w);
}

static void bench_rows(const an_kernels *k)
{
    enum { N = 1536 };
    static float a[N], b[N], out[N];
    kcheck c = {.k = k, .op = "bench"};
    an_rng_seed(&c.rng, 1);
    fill_floats(&c, a, N, 0);
    fill_floats(&c, b, N, 0);
    double best[2] = {1e9, 1e9};
    for (int i = 0; i < 1000; i++) {
        double t = seconds();
        an_rms_norm(k, out, a, b, 576, 1e-5f);
        t = seconds() - t;
        if (t < best[0]) best[0] = t;
        t = seconds();
        an_silu_mul(k, out, a, b, N);
        t = seconds() - t;
        if (t < best[1]) best[1] = t;
    }
    printf("%-10s rms_norm 576: %.2f us, silu_mul 1536: %.2f us\n", k->name, best[0] * 1e6, best[1] * 1e6);
}

/* Rows as in a model, plain and weighted, beside the scalar encoders, and decoding; millions of values a second. */
static void bench_encode(const an_kernels *k, an_dtype type)
{
    enum { N = 4096, N_WHAT = 5 };
    static float x[N], back[N], importance[N];
    static uint8_t blocks[4 * N];
    double best[N_WHAT] = {1e9, 1e9, 1e9, 1e9, 1e9};
    kcheck c = {.k = k, .op = "bench"};
    an_rng_seed(&c.rng, 1);
    for (int i = 0; i < N; i++) {
        x[i] = 0.02f * random_normal(&c);
        importance[i] = (float)an_rng_f64(&c.rng);
    }
    for (int what = 0; what < N_WHAT; what++) {
        double begin = seconds();
        for (int i = 0; i < 200 && (i < 3 || seconds() - begin < 0.3); i++) {
            double t = seconds();
            if (what == 0) an_kernels_encode_rows(k, type, x, 1, N, blocks);
            else if (what == 1) an_encode_rows(type, x, 1, N, blocks);
            else if (what == 2) an_kernels_decode(k, type, blocks, back, N);
            else if (what == 3) an_kernels_encode_row_weighted(k, type, x, N, importance, blocks);
            else an_encode_row_weighted(type, x, N, importance, blocks);
            t = seconds() - t;
            if (t < best[what]) best[what] = t;
        }
    }
    printf("%-10s encode %-8s %8.1f M/s, scalar %6.1f M/s, weighted %7.1f M/s, scalar %6.1f M/s, decode %8.1f M/s\n", k->name, an_dtype_get(type)->name,
           N / best[0] * 1e-6, N / best[1] * 1e-6, N / best[3] * 1e-6, N / best[4] * 1e-6, N / best[2] * 1e-6);
}

void bench_run(const an_kernels *k, const char *pattern)
{
    an_affine none = {0};
    if (!strncmp(pattern, "roof_", 5)) {
        bench_roof(k, pattern + 5);
        return;
    }
    if (!strncmp(pattern, "fused_", 6)) {
        bench_fused_run(k, pattern + 6);
        return;
    }
    if (!strncmp(pattern, "attention_", 10)) {
        bench_attention(k, pattern + 10);
        return;
    }
    for (int type = AN_DTYPE_Q4_0; type < AN_DTYPE_AFFINE; type++) {
        const an_dtype_info *info = an_dtype_get((an_dtype)type);
        if (fnmatch(pattern, info->name, 0)) continue;
        bench_matmul(k, (an_dtype)type, none, info->name, info->block_elems == 256 ? 1536 : 576);
    }
    for (int bits = 2; bits <= 8; bits++) {
        char name[32];
        snprintf(name, sizeof name, "affine%d", bits);
        if (bits == 7 || fnmatch(pattern, name, 0)) continue;
        bench_matmul(k, AN_DTYPE_AFFINE, (an_affine){.bits = bits, .group = 32, .scale_dtype = AN_DTYPE_F16}, name,
                     576);
    }
    for (int type = 0; type < AN_DTYPE_AFFINE; type++)
        if (!fnmatch(pattern, "encode", 0) && an_encode_can((an_dtype)type)) bench_encode(k, (an_dtype)type);
    if (!fnmatch(pattern, "attention", 0)) bench_attention(k, "");
    if (!fnmatch(pattern, "rows", 0)) bench_rows(k);
    if (k->wide) bench_wide(k, pattern);
}
