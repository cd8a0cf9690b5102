/*
 * Products against what the machine could do: on one thread and on two, as shares of the reading speed and of the
 * arithmetic that the same level reaches in the same run, in rows as in a file and in panels. Reading and multiplying
 * take turns, so that a busy moment meets both.
 */
#include "kernels/kcheck.h"

#include "kernels/panels.h"
#include "kernels/peak.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/thread.h"

#include "base/alloc.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS = 2,
    MEMORY = 160 << 20, /* bytes of weights that are read from memory */
    SEED_ROWS = 256,    /* rows that are made; the others repeat them */
    MANY_ROWS = 2048,   /* of a product of many tokens */
    MANY = 512,
    ROUNDS = 9,
};

typedef struct roof {
    const an_kernels *k;
    an_pool *pool;
    void *scratch[THREADS];
    const uint8_t *data; /* what is read */
    uint64_t bytes;
    const an_weight *w;
    const an_act *a;
    float *out;
    double done[THREADS];
    uint32_t sink[THREADS];
} roof;

static void share_read(void *arg, int thread, int n_thread)
{
    roof *r = arg;
    long begin, end;
    an_pool_share((long)(r->bytes / AN_PEAK_READ_BYTES), 1, thread, n_thread, &begin, &end);
    const uint8_t *from = r->data + begin * AN_PEAK_READ_BYTES;
    r->sink[thread] ^= an_peak_read(r->k, from, (size_t)(end - begin) * AN_PEAK_READ_BYTES);
}

static void share_product(void *arg, int thread, int n_thread)
{
    roof *r = arg;
    long begin, end;
    an_pool_share((long)r->w->n_row, AN_ROW_GRAIN, thread, n_thread, &begin, &end);
    an_matmul_rows(r->k, r->w, r->a, r->out, (size_t)r->w->n_row, begin, end, false, r->scratch[thread]);
}

static void share_i8(void *arg, int thread, int n_thread)
{
    static int8_t codes[AN_PEAK_CODES];
    static uint8_t weights[AN_PEAK_WEIGHTS];
    roof *r = arg;
    (void)n_thread;
    r->done[thread] = (double)an_peak_i8(r->k, 1 << 16, codes, weights, &r->sink[thread]);
}

static void share_f32(void *arg, int thread, int n_thread)
{
    static const float starts[AN_PEAK_STARTS];
    roof *r = arg;
    float sum;
    (void)n_thread;
    r->done[thread] = (double)an_peak_f32(r->k, 1 << 16, starts, 0.5f, 1.0f, &sum);
    r->sink[thread] ^= sum > 0;
}

static double timed(roof *r, an_pool_fn fn)
{
    uint64_t begin = an_clock_ns();
    an_pool_run(r->pool, fn, r);
    return (double)(an_clock_ns() - begin) * 1e-9;
}

static double peak(roof *r, an_pool_fn fn)
{
    double best = 0;
    for (int i = 0; i < 20; i++) {
        double t = timed(r, fn), done = 0;
        for (int j = 0; j < an_pool_n_thread(r->pool); j++) done += r->done[j];
        if (done / t > best) best = done / t;
    }
    return best;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One case: medians of both, and of their ratio in pairs. */
static void bench_case(roof *r, const char *name, const char *form, int n_tok, double i8)
{
    kcheck c = {.k = r->k, .op = "bench"};
    double product[ROUNDS], stream[ROUNDS], ratio[ROUNDS];
    int n_round = n_tok == MANY ? 3 : ROUNDS, mid = n_round / 2, n_col = (int)r->w->n_col;
    an_rng_seed(&c.rng, 2);
    test_act t = act_make(&c, AN_COMPUTE_Q8, r->w, n_tok, 0);
    r->a = &t.a;
    r->out = malloc((size_t)r->w->n_row * (size_t)n_tok * sizeof *r->out);
    timed(r, share_product);
    for (int i = 0; i < n_round; i++) {
        stream[i] = timed(r, share_read);
        product[i] = timed(r, share_product);
        ratio[i] = stream[i] / product[i];
    }
    qsort(product, (size_t)n_round, sizeof *product, by_value);
    qsort(stream, (size_t)n_round, sizeof *stream, by_value);
    qsort(ratio, (size_t)n_round, sizeof *ratio, by_value);
    double ops = 2.0 * (double)r->w->n_row * n_col * n_tok / product[mid];
    printf("%-10s roof_%-8s %-6s K %5d %d threads tokens %3d: %6.1f GB/s %3.0f %% of %5.1f stream, "
           "%7.1f Gop/s %3.0f %% of %6.1f int8\n",
           r->k->name, name, form, n_col, an_pool_n_thread(r->pool), n_tok, (double)r->bytes / product[mid] * 1e-9,
           100 * ratio[mid], (double)r->bytes / stream[mid] * 1e-9, ops * 1e-9, 100 * ops / i8, i8 * 1e-9);
    free(r->out);
    act_free(&t);
}

/* `view` over n_row rows whose bytes, in either form, stand in `block`. */
static void bench_form(roof *r, an_weight view, const char *name, const char *form, uint64_t bytes, int64_t n_row,
                       const double *i8)
{
    static const int tokens[] = {1, 8, MANY};
    for (size_t i = 0; i < AN_COUNT_OF(tokens); i++) {
        an_weight w = view;
        w.n_row = tokens[i] == MANY && n_row > MANY_ROWS ? MANY_ROWS : n_row;
        r->w = &w;
        r->bytes = bytes / (uint64_t)n_row * (uint64_t)w.n_row;
        bench_case(r, name, form, tokens[i], i8[an_pool_n_thread(r->pool) - 1]);
    }
}

static void bench_type(roof *r, an_pool **pools, const double *i8, an_dtype type, const char *name, int n_col)
{
    kcheck c = {.k = r->k, .op = "bench"};
    an_rng_seed(&c.rng, 1);
    test_weight t = weight_make(&c, type, (an_affine){0}, SEED_ROWS, n_col, 0, false);
    uint64_t rows = t.w.row_bytes * SEED_ROWS, panels = an_panels_bytes(&t.w);
    for (int form = 0; form < 2; form++) {
        uint64_t piece = form ? panels : rows, n = piece ? MEMORY / piece : 0;
        uint8_t *block = n ? an_malloc_aligned(n * piece) : NULL;
        if (!block) continue;
        an_mem_huge_pages(block, n * piece);
        if (form) an_panels_write(r->k, &t.w, block, 0, SEED_ROWS);
        else memcpy(block, t.w.data, piece);
        for (uint64_t i = 1; i < n; i++) memcpy(block + i * piece, block, piece);
        an_weight view = t.w;
        if (form) view = an_panels_view(&t.w, block);
        else view.data = block;
        r->data = block;
        for (int threads = 0; threads < THREADS; threads++) {
            r->pool = pools[threads];
            bench_form(r, view, name, form ? "panels" : "rows", n * piece, (int64_t)n * SEED_ROWS, i8);
        }
        an_free_aligned(block);
    }
    weight_free(&t);
}

void bench_roof(const an_kernels *k, const char *pattern)
{
    static const int cols[] = {4096, 14336};
    roof r = {.k = k};
    an_pool *pools[THREADS] = {NULL, NULL};
    double i8[THREADS] = {0};
    anemo_error err;
    for (int i = 0; i < THREADS; i++) {
        if (an_pool_open(&pools[i], i + 1, &err) != ANEMO_OK) {
            printf("%s\n", err.message);
            exit(1);
        }
        r.scratch[i] = aligned_alloc(64, (an_matmul_scratch_bytes(k, cols[1]) + 63) & ~(size_t)63);
        r.pool = pools[i];
        i8[i] = peak(&r, share_i8);
        printf("%-10s peaks %d threads: %.1f Gop/s int8, %.1f Gflop/s f32\n", k->name, i + 1, i8[i] * 1e-9,
               peak(&r, share_f32) * 1e-9);
    }
    for (int type = AN_DTYPE_Q4_0; type < AN_DTYPE_AFFINE; type++) {
        const char *name = an_dtype_get((an_dtype)type)->name;
        test_weight probe = {.w = {.dtype = (an_dtype)type}};
        an_code_kind kind;
        if (fnmatch(pattern, name, 0) || !an_codes_kind(&probe.w, &kind)) continue;
        for (size_t c = 0; c < AN_COUNT_OF(cols); c++) bench_type(&r, pools, i8, (an_dtype)type, name, cols[c]);
    }
    for (int i = 0; i < THREADS; i++) {
        an_pool_close(pools[i]);
        free(r.scratch[i]);
    }
}
