/*
 * Attention's speed: decoding over a cache that lies in memory, beside reading the same bytes, on one thread and on
 * two; and tiles of many queries over one in the second-level cache, beside the level's multiply-adds.
 */
#include "kernels/kcheck.h"

#include "base/alloc.h"
#include "kernels/peak.h"
#include "os/clock.h"
#include "os/memory.h"
#include "os/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS = 2,
    DEPTH = 4096,        /* positions of a head in memory */
    HEADS = 8,           /* of a layer; one thread after the other has some of them */
    MEMORY = 320 << 20,  /* bytes of layers */
    ROUNDS = 7,
    N_Q_MAX = 8,
    DIM_MAX = 128,
};

typedef struct shape {
    const an_kernels *k;
    an_kv_dtype type;
    int n_tok, n_q, dim, n_pos;
} shape;

/* One head's cache, made of few different rows. */
typedef struct head {
    uint8_t *keys, *values;
    size_t key_bytes, value_bytes;
} head;

static void fill_head(const shape *s, head *h)
{
    kcheck c = {.k = s->k, .op = "bench"};
    float row[DIM_MAX];
    an_rng_seed(&c.rng, 1);
    for (int i = 0; i < s->n_pos; i++) {
        if (i < 16) fill_floats(&c, row, (size_t)s->dim, 0);
        an_kv_store_key(s->k, s->type, h->keys, i, row, s->dim);
        an_kv_store_value(s->k, s->type, h->values, i, row, s->dim);
    }
}

static double seconds_of(an_pool *pool, an_pool_fn fn, void *arg)
{
    uint64_t begin = an_clock_ns();
    an_pool_run(pool, fn, arg);
    return (double)(an_clock_ns() - begin) * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[n / 2];
}

/* Layers of heads in one block of memory. */
typedef struct memory {
    shape s;
    uint8_t *block;
    head seed;
    int n_layer;
    float *q, *out;
    float *parts[THREADS];
    void *scratch[THREADS];
    uint32_t sink[THREADS];
} memory;

static size_t head_bytes(const memory *m)
{
    return m->seed.key_bytes + m->seed.value_bytes;
}

static void read_layers(void *arg, int thread, int n_thread)
{
    memory *m = arg;
    for (int l = 0; l < m->n_layer; l++) {
        long begin, end;
        an_pool_share(HEADS, 1, thread, n_thread, &begin, &end);
        size_t n = (size_t)(end - begin) * head_bytes(m);
        const uint8_t *at = m->block + ((size_t)l * HEADS + (size_t)begin) * head_bytes(m);
        m->sink[thread] ^= an_peak_read(m->s.k, at, n - n % AN_PEAK_READ_BYTES);
    }
}

/* As the engine does for one token: chunks of a head, then these merged. */
static void attend_layers(void *arg, int thread, int n_thread)
{
    static const float scale = 0.1f;
    memory *m = arg;
    const shape *s = &m->s;
    int n_chunk = (s->n_pos + AN_ATTENTION_CHUNK - 1) / AN_ATTENTION_CHUNK;
    size_t part = an_attention_part_floats(s->dim);
    for (int l = 0; l < m->n_layer; l++) {
        long begin, end;
        an_pool_share(HEADS, 1, thread, n_thread, &begin, &end);
        for (long h = begin; h < end; h++) {
            const uint8_t *at = m->block + ((size_t)l * HEADS + (size_t)h) * head_bytes(m);
            an_attention_job job = {.key_type = s->type, .value_type = s->type, .n_tok = 1, .n_q = s->n_q,
                                    .head_dim = s->dim, .pos = s->n_pos - 1, .q = m->q, .scale = &scale, .keys = at,
                                    .values = at + m->seed.key_bytes, .scratch = m->scratch[thread]};
            an_attention_chunks(s->k, &job, 0, n_chunk, m->parts[thread]);
            for (int i = 0; i < s->n_q; i++)
                an_attention_merge(s->k, m->out + ((size_t)h * N_Q_MAX + (size_t)i) * DIM_MAX,
                                   m->parts[thread] + (size_t)i * part, (size_t)s->n_q * part, n_chunk, s->dim);
        }
    }
}

static void bench_memory(shape s, an_pool **pools)
{
    memory m = {.s = s};
    kcheck c = {.k = s.k, .op = "bench"};
    anemo_error err;
    void *block = NULL;
    int n_chunk = (s.n_pos + AN_ATTENTION_CHUNK - 1) / AN_ATTENTION_CHUNK;
    m.seed.key_bytes = an_kv_key_bytes(s.type, s.dim, s.n_pos);
    m.seed.value_bytes = an_kv_value_bytes(s.type, s.dim, s.n_pos);
    m.n_layer = (int)((size_t)MEMORY / (HEADS * head_bytes(&m)));
    size_t n_head = (size_t)m.n_layer * HEADS;
    if (an_mem_block(&block, n_head * head_bytes(&m), &err) != ANEMO_OK) {
        printf("%s\n", err.message);
        exit(1);
    }
    m.block = block;
    m.seed.keys = m.block;
    m.seed.values = m.block + m.seed.key_bytes;
    fill_head(&s, &m.seed);
    for (size_t i = 1; i < n_head; i++) memcpy(m.block + i * head_bytes(&m), m.block, head_bytes(&m));
    m.q = an_malloc_aligned((size_t)(s.n_q * s.dim) * sizeof *m.q);
    m.out = an_malloc_aligned((size_t)HEADS * N_Q_MAX * DIM_MAX * sizeof *m.out);
    fill_floats(&c, m.q, (size_t)(s.n_q * s.dim), 0);
    for (int i = 0; i < THREADS; i++) {
        m.scratch[i] = an_malloc_aligned(an_attention_scratch_bytes(s.n_q, s.dim));
        m.parts[i] = an_malloc_aligned((size_t)(n_chunk * s.n_q) * an_attention_part_floats(s.dim) * sizeof(float));
    }
    for (int t = 0; t < THREADS; t++) {
        double attend[ROUNDS], stream[ROUNDS], ratio[ROUNDS], bytes = (double)(n_head * head_bytes(&m));
        for (int i = -1; i < ROUNDS; i++) {
            int at = i < 0 ? 0 : i;
            stream[at] = seconds_of(pools[t], read_layers, &m);
            attend[at] = seconds_of(pools[t], attend_layers, &m);
            ratio[at] = stream[at] / attend[at];
        }
        double mid = median(ratio, ROUNDS);
        printf("%-10s decode %-4s %d heads of %3d, %d positions, %d threads: %5.1f GB/s, %3.0f %% (%.0f-%.0f) of "
               "%5.1f stream\n",
               s.k->name, an_kv_name(s.type), s.n_q, s.dim, s.n_pos, t + 1, bytes / median(attend, ROUNDS) * 1e-9,
               100 * mid, 100 * ratio[0], 100 * ratio[ROUNDS - 1], bytes / median(stream, ROUNDS) * 1e-9);
    }
    for (int i = 0; i < THREADS; i++) {
        an_free_aligned(m.scratch[i]);
        an_free_aligned(m.parts[i]);
    }
    an_free_aligned(m.q);
    an_free_aligned(m.out);
    an_mem_block_free(block, n_head * head_bytes(&m));
}

/* One head, again and again, on one thread. */
static void bench_cached(shape s, double peak)
{
    kcheck c = {.k = s.k, .op = "bench"};
    size_t n_query = (size_t)(s.n_tok * s.n_q), bytes = n_query * (size_t)s.dim * sizeof(float);
    head h = {.key_bytes = an_kv_key_bytes(s.type, s.dim, s.n_pos),
              .value_bytes = an_kv_value_bytes(s.type, s.dim, s.n_pos)};
    float scale[AN_ATTENTION_TOKENS], *q = an_malloc_aligned(bytes), *out = an_malloc_aligned(bytes);
    void *scratch = an_malloc_aligned(an_attention_scratch_bytes((int)n_query, s.dim));
    h.keys = an_malloc_aligned(h.key_bytes);
    h.values = an_malloc_aligned(h.value_bytes);
    fill_head(&s, &h);
    fill_floats(&c, q, n_query * (size_t)s.dim, 0);
    for (int t = 0; t < s.n_tok; t++) scale[t] = 0.1f;
    an_attention_job job = {.key_type = s.type, .value_type = s.type, .n_tok = s.n_tok, .n_q = s.n_q, .head_dim = s.dim,
                            .pos = s.n_pos - s.n_tok, .q = q, .scale = scale, .keys = h.keys, .values = h.values,
                            .out = out, .out_stride = (size_t)(s.n_q * s.dim), .scratch = scratch};
    double times[300];
    int n = 0;
    for (uint64_t begin = an_clock_ns(); n < 300 && (n < 5 || an_clock_ns() - begin < 200000000);) {
        uint64_t from = an_clock_ns();
        an_attention(s.k, &job);
        times[n++] = (double)(an_clock_ns() - from) * 1e-9;
    }
    double t = median(times, n), ops = 4.0 * (double)n_query * s.dim * s.n_pos / t;
    printf("%-10s cached %-4s %2d tokens, %d heads of %3d, %d positions: %5.1f GB/s, %6.1f Gflop/s, %3.0f %% of %.1f f32\n",
           s.k->name, an_kv_name(s.type), s.n_tok, s.n_q, s.dim, s.n_pos,
           (double)(h.key_bytes + h.value_bytes) / t * 1e-9, ops * 1e-9, 100 * ops / peak, peak * 1e-9);
    an_free_aligned(h.keys);
    an_free_aligned(h.values);
    an_free_aligned(scratch);
    an_free_aligned(q);
    an_free_aligned(out);
}

static double peak_f32(const an_kernels *k)
{
    static const float starts[AN_PEAK_STARTS];
    double best = 0;
    for (int i = 0; i < 20; i++) {
        float sum;
        uint64_t begin = an_clock_ns(), done = an_peak_f32(k, 1 << 16, starts, 0.5f, 1.0f, &sum);
        double ops = (double)done / ((double)(an_clock_ns() - begin) * 1e-9);
        if (ops > best) best = ops;
    }
    return best;
}

void bench_attention(const an_kernels *k, const char *type)
{
    an_pool *pools[THREADS];
    anemo_error err;
    double peak = peak_f32(k);
    for (int i = 0; i < THREADS; i++)
        if (an_pool_open(&pools[i], i + 1, &err) != ANEMO_OK) {
            printf("%s\n", err.message);
            exit(1);
        }
    for (int i = 0; i < AN_KV_N; i++) {
        an_kv_dtype kv = (an_kv_dtype)i;
        if (*type && strcmp(type, an_kv_name(kv)) != 0) continue;
        bench_memory((shape){k, kv, 1, 4, 128, DEPTH}, pools);
        bench_cached((shape){k, kv, 1, 4, 128, 1024}, peak);
        bench_cached((shape){k, kv, 1, 3, 64, 1024}, peak);
        bench_cached((shape){k, kv, AN_ATTENTION_TOKENS, 4, 128, 1024}, peak);
        bench_cached((shape){k, kv, AN_ATTENTION_TOKENS, 3, 64, 1024}, peak);
    }
    for (int i = 0; i < THREADS; i++) an_pool_close(pools[i]);
}
