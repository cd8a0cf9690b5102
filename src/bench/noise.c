/* A fixed work, again and again. */
#include "bench/noise.h"

#include "base/alloc.h"
#include "kernels/kernels.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "stats/summary.h"

#include <math.h>
#include <string.h>

enum { N_COL = 8192, N_ROW_MAX = 4096, N_ROW_MIN = 64, N_TOK = 12, N_PASS = 8, BLOCK_VALUES = 32, BLOCK_BYTES = 34, N_WARM = 2 };

typedef struct noise_work {
    const an_kernels *kernels;
    an_pool *pool;
    an_weight weight;
    an_act act;
    float *x, *out;
    uint8_t *scratch;
    size_t scratch_each;
} noise_work;

an_noise an_noise_of(const double *seconds, int n)
{
    an_noise o = {.n = n, .median_s = NAN, .cv = NAN, .p95_ln_ratio = NAN};
    double sorted[AN_NOISE_REPS], ratios[AN_NOISE_REPS], mean = 0, square = 0;
    if (n < 2 || n > AN_NOISE_REPS) return o;
    for (int i = 0; i < n; i++) mean += seconds[i] / n;
    for (int i = 0; i < n; i++) square += (seconds[i] - mean) * (seconds[i] - mean);
    o.cv = sqrt(square / (n - 1)) / mean;
    memcpy(sorted, seconds, (size_t)n * sizeof *sorted);
    o.median_s = an_median_inplace(sorted, (size_t)n);
    for (int i = 0; i + 1 < n; i++) ratios[i] = fabs(log(seconds[i] / seconds[i + 1]));
    an_sort(ratios, (size_t)(n - 1));
    o.p95_ln_ratio = an_interpolate(ratios, (size_t)(n - 1), 0.95);
    return o;
}

static void multiply(void *arg, int thread, int n_thread)
{
    noise_work *w = arg;
    long begin, end;
    an_pool_share((long)w->weight.n_row, AN_ROW_GRAIN, thread, n_thread, &begin, &end);
    if (begin < end)
        an_matmul_rows(w->kernels, &w->weight, &w->act, w->out, (size_t)w->weight.n_row, begin, end, false,
                       w->scratch + (size_t)thread * w->scratch_each);
}

/* A block of Q8_0: a half-precision scale (here 2^-7) and 32 int8 codes. */
static void fill_weight(uint8_t *data, size_t n_block)
{
    for (size_t b = 0; b < n_block; b++) {
        uint8_t *block = data + b * BLOCK_BYTES;
        block[0] = 0x00;
        block[1] = 0x20;
        for (size_t i = 0; i < BLOCK_VALUES; i++) block[2 + i] = (uint8_t)((b * 31 + i * 7) % 200);
    }
}

static anemo_status make_work(noise_work *w, int n_thread, anemo_error *err)
{
    uint64_t free_bytes = an_mem_available_bytes();
    size_t row_bytes = N_COL / BLOCK_VALUES * BLOCK_BYTES, n_row = N_ROW_MAX;
    while (free_bytes && n_row > N_ROW_MIN && n_row * row_bytes > free_bytes / 16) n_row /= 2;
    w->kernels = an_kernels_for(an_cpu_isa());
    an_compute compute = an_kernels_compute(an_kernels_default_compute(w->kernels), N_TOK);
    w->scratch_each = (an_matmul_scratch_bytes(w->kernels, N_COL) + 63) & ~(size_t)63;
    size_t act_bytes = an_act_bytes(compute, N_TOK, N_COL);
    uint8_t *weight = an_malloc_aligned(n_row * row_bytes);
    w->weight = (an_weight){.dtype = AN_DTYPE_Q8_0, .n_row = (int64_t)n_row, .n_col = N_COL, .row_bytes = row_bytes, .data = weight};
    w->x = an_calloc((size_t)N_TOK * N_COL, sizeof *w->x);
    w->out = an_calloc(n_row * N_TOK, sizeof *w->out);
    w->scratch = an_malloc_aligned(w->scratch_each * (size_t)n_thread);
    w->act = (an_act){.compute = compute, .n_tok = N_TOK, .n_col = N_COL, .f32 = w->x, .f32_stride = N_COL};
    w->act.q = an_malloc_aligned(act_bytes ? act_bytes : 64);
    if (!weight || !w->x || !w->out || !w->scratch || !w->act.q)
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the measurement of noise");
    fill_weight(weight, n_row * (N_COL / BLOCK_VALUES));
    for (int i = 0; i < N_TOK * N_COL; i++) w->x[i] = (float)(i % 17) - 8;
    return ANEMO_OK;
}

static double work_once(noise_work *w)
{
    uint64_t begin = an_clock_ns();
    for (int pass = 0; pass <= N_PASS; pass++) {
        w->act.n_tok = pass < N_PASS ? 1 : N_TOK;
        an_act_quantize(w->kernels, &w->act, 0, w->act.n_tok);
        an_pool_run(w->pool, multiply, w);
    }
    return (double)(an_clock_ns() - begin) * 1e-9;
}

anemo_status an_noise_measure(int n_thread, an_noise *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    noise_work w = {0};
    double seconds[AN_NOISE_REPS];
    AN_TRY(an_pool_open(&w.pool, n_thread, err));
    AN_TRY(make_work(&w, n_thread, err));
    for (int i = 0; i < N_WARM; i++) work_once(&w);
    for (int i = 0; i < AN_NOISE_REPS; i++) seconds[i] = work_once(&w);
    *out = an_noise_of(seconds, AN_NOISE_REPS);
cleanup:
    an_pool_close(w.pool);
    an_free_aligned((void *)w.weight.data);
    an_free(w.x);
    an_free(w.out);
    an_free_aligned(w.scratch);
    an_free_aligned(w.act.q);
    return status;
}
