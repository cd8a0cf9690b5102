/* Checks of the cache and of attention over it: what is stored, results in double precision, and what changes no bit. */
#include "kernels/kcheck.h"

#include "quant/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A head's keys or values in guarded memory, and what they must be. */
typedef struct cache {
    an_kv_dtype type;
    bool keys;
    int head_dim, n_pos;
    guarded mem;
} cache;

static uint16_t half_at(const uint8_t *p)
{
    return an_load_u16(p);
}

/* One number of the cache by the description of its layout (kv_layout.h), and the scale of a code, else 0. */
static float cell(const cache *c, int pos, int d, float *scale)
{
    size_t dim = ((size_t)c->head_dim + 15) / 16 * 16, hd = (size_t)c->head_dim, row = (size_t)(pos % 64), col = (size_t)d;
    size_t groups = (hd + 31) / 32, width = c->keys ? hd : dim, elem = c->type == AN_KV_F32 ? 4 : c->type == AN_KV_Q8_0 ? 1 : 2;
    size_t span = col / 64 * 64, n_col = dim - span < 64 ? dim - span : 64; /* of values */
    size_t at = c->keys ? col * 64 + row : span * 64 + row * n_col + col - span;
    size_t block = 64 * width * elem + (c->type == AN_KV_Q8_0 ? 128 * groups : 0);
    const uint8_t *p = (const uint8_t *)c->mem.p + (size_t)(pos / 64) * block;
    *scale = 0;
    if (c->type == AN_KV_F32) return an_load_f32(p + 4 * at);
    if (c->type == AN_KV_F16) return an_f32_from_f16(half_at(p + 2 * at));
    if (c->type == AN_KV_BF16 && c->keys) return an_f32_from_bf16(half_at(p + 256 * (col / 2) + 4 * row + 2 * (col % 2)));
    if (c->type == AN_KV_BF16) {
        size_t pair = span * 64 + row / 2 * 2 * n_col + 2 * (col - span) + row % 2;
        return an_f32_from_bf16(half_at(p + 2 * pair));
    }
    *scale = an_f32_from_f16(half_at(p + 2 * (col / 32 * 64 + row)));
    return (float)(int8_t)p[128 * groups + at] * *scale;
}

/* Memory for n_pos positions that holds NaN, or codes of -1 whose scale is NaN, wherever nothing is stored. */
static cache cache_make(an_kv_dtype type, bool keys, int head_dim, int n_pos)
{
    size_t bytes = keys ? an_kv_key_bytes(type, head_dim, n_pos) : an_kv_value_bytes(type, head_dim, n_pos);
    cache c = {type, keys, head_dim, n_pos, guarded_alloc(bytes, false)};
    memset(c.mem.p, 0xFF, bytes);
    return c;
}

static void cache_store(kcheck *k, cache *c, int pos, const float *row)
{
    if (c->keys) an_kv_store_key(k->k, c->type, c->mem.p, pos, row, c->head_dim);
    else an_kv_store_value(k->k, c->type, c->mem.p, pos, row, c->head_dim);
}

static void check_row(kcheck *k, const cache *c, int pos, const float *row)
{
    float largest = 0, scale;
    for (int d = 0; d < c->head_dim; d++) {
        if (d % 32 == 0) {
            largest = 0;
            for (int j = d; j < d + 32 && j < c->head_dim; j++) largest = fmaxf(largest, fabsf(row[j]));
        }
        float got = cell(c, pos, d, &scale), want = row[d];
        if (c->type == AN_KV_F16) want = an_f32_from_f16(an_f16_from_f32(row[d]));
        if (c->type == AN_KV_BF16) want = an_f32_from_bf16(an_bf16_from_f32(row[d]));
        if (c->type != AN_KV_Q8_0) {
            if (memcmp(&got, &want, 4) != 0)
                kcheck_fail(k, "%s %s, position %d, value %d: %a stored as %a", an_kv_name(c->type),
                            c->keys ? "key" : "value", pos, d, (double)row[d], (double)got);
            continue;
        }
        if (largest > 127 * 65504.0f) continue; /* the scale is infinite, as it is in the GGUF type */
        /* Half a step, and the rounding of the scale: f16 with subnormals of 2^-24. */
        double f16 = (double)largest / 127 * 0x1p-11 + 0x1p-25;
        kcheck_near(k, "scale", d, (double)scale, (double)largest / 127, f16 * 1.01);
        kcheck_near(k, "value", d, (double)got, (double)want, (double)largest / 127 * 0.501 + 127 * 1.01 * f16);
    }
}

void check_kv_store(kcheck *k, const kcheck_op *op)
{
    (void)op;
    static const int dims[] = {2, 6, 16, 24, 64, 80, 96, 100, 128, 256};
    enum { N_POS = 37 };
    float row[256];
    for (int i = 0; i < (int)AN_COUNT_OF(dims) * AN_KV_N * 2; i++) {
        an_kv_dtype type = (an_kv_dtype)(i / 2 % AN_KV_N);
        cache c = cache_make(type, i % 2, dims[i / 2 / AN_KV_N], N_POS);
        float *all = malloc((size_t)(N_POS * c.head_dim) * sizeof *all);
        for (int p = 0; p < N_POS; p++) {
            int pos = p * 11 % N_POS;
            fill_floats(k, row, (size_t)c.head_dim, pos % N_STYLE);
            memcpy(all + pos * c.head_dim, row, (size_t)c.head_dim * sizeof *row);
            cache_store(k, &c, pos, row);
        }
        for (int p = 0; p < N_POS; p++) check_row(k, &c, p, all + p * c.head_dim);
        free(all);
        guarded_free(&c.mem);
    }
}

/*
 * Exact attention of one query over positions begin..end-1, and the bound of what f32 may differ; of pairs also that of a
 * query (of_keys) or of exponentials (of_values) rounded to bf16, each by 2^-8 at most.
 */
static void check_query(kcheck *c, const float *got, const float *q, const float *k, const float *v, int dim, int begin,
                        int end, float scale, bool of_keys, bool of_values)
{
    double *weight = malloc((size_t)end * sizeof *weight), max = -INFINITY, sum = 0, largest = 0;
    for (int p = begin; p < end; p++) {
        double terms = 0;
        weight[p] = 0;
        for (int j = 0; j < dim; j++) {
            double term = (double)q[j] * (double)k[p * dim + j];
            weight[p] += term;
            terms += fabs(term);
        }
        weight[p] *= (double)scale;
        if (terms * (double)scale > largest) largest = terms * (double)scale;
        if (weight[p] > max) max = weight[p];
    }
    for (int p = begin; p < end; p++) sum += weight[p] = exp(weight[p] - max);
    for (int j = 0; j < dim; j++) {
        double exact = 0, terms = 0;
        for (int p = begin; p < end; p++) {
            exact += weight[p] / sum * (double)v[p * dim + j];
            terms += weight[p] / sum * fabs((double)v[p * dim + j]);
        }
        /* An error of a score is a relative error of its weight; one rounding a position of a chunk, some a chunk. */
        double rounding = (largest + 1) * (dim + 8) + AN_ATTENTION_CHUNK + 8 * (end / AN_ATTENTION_CHUNK + 2);
        double bound = rounding * 0x1p-24 + (of_keys ? expm1(2 * largest * 0x1p-8) : 0) + (of_values ? 2.02 * 0x1p-8 : 0);
        kcheck_near(c, "value", j, (double)got[j], exact, terms * bound + 1e-37);
    }
    free(weight);
}

typedef struct shape {
    an_kv_dtype key_type, value_type;
    int n_tok, n_q, dim, pos, window;
    float sharpness;
} shape;

/* What one call needs, on guarded memory of exactly the promised size. */
typedef struct bench {
    shape s;
    cache kv[2];
    float *plain[2]; /* [n_pos][dim] */
    guarded q, out, scratch;
    float *scale;
    an_attention_job job;
} bench;

static bench bench_make(kcheck *c, shape s)
{
    int n_pos = s.pos + s.n_tok, n_query = s.n_tok * s.n_q;
    bench b = {.s = s, .scale = malloc((size_t)s.n_tok * sizeof(float))};
    float *row = malloc((size_t)s.dim * sizeof *row), unused;
    for (int i = 0; i < 2; i++) {
        b.kv[i] = cache_make(i ? s.value_type : s.key_type, i == 0, s.dim, n_pos);
        b.plain[i] = malloc((size_t)(n_pos * s.dim) * sizeof *row);
        for (int p = 0; p < n_pos; p++) {
            fill_floats(c, row, (size_t)s.dim, p % 17 == 3 ? 3 : 0);
            cache_store(c, &b.kv[i], p, row);
            for (int d = 0; d < s.dim; d++) b.plain[i][p * s.dim + d] = cell(&b.kv[i], p, d, &unused);
        }
    }
    free(row);
    b.q = guarded_alloc((size_t)(n_query * s.dim) * 4, false);
    fill_floats(c, b.q.p, (size_t)(n_query * s.dim), 0);
    for (int t = 0; t < s.n_tok; t++) b.scale[t] = s.sharpness / sqrtf((float)s.dim) * (1 + 0.1f * (float)t);
    size_t stride = (size_t)(s.n_q * s.dim) + 5;
    b.out = guarded_alloc(((size_t)(s.n_tok - 1) * stride + (size_t)(s.n_q * s.dim)) * 4, false);
    b.scratch = guarded_alloc(an_attention_scratch_bytes(n_query, s.dim), false);
    b.job = (an_attention_job){.key_type = s.key_type, .value_type = s.value_type, .n_tok = s.n_tok, .n_q = s.n_q,
                               .head_dim = s.dim, .pos = s.pos, .window = s.window, .q = b.q.p, .scale = b.scale,
                               .keys = b.kv[0].mem.p, .values = b.kv[1].mem.p, .out = b.out.p, .out_stride = stride,
                               .scratch = b.scratch.p};
    return b;
}

static void bench_free(bench *b)
{
    for (int i = 0; i < 2; i++) {
        guarded_free(&b->kv[i].mem);
        free(b->plain[i]);
    }
    guarded_free(&b->q);
    guarded_free(&b->out);
    guarded_free(&b->scratch);
    free(b->scale);
}

static int first_seen(const shape *s, int pos)
{
    return s->window && pos >= s->window ? pos - s->window + 1 : 0;
}

/* Token t by itself: whole, and in chunks merged. */
static void check_alone(kcheck *c, const bench *b, int t, const float *got)
{
    const shape *s = &b->s;
    size_t head = (size_t)(s->n_q * s->dim), part = an_attention_part_floats(s->dim);
    int pos = s->pos + t, first = first_seen(s, pos) / AN_ATTENTION_CHUNK, n = pos / AN_ATTENTION_CHUNK + 1 - first;
    float *alone = malloc(head * 4);
    guarded parts = guarded_alloc((size_t)(n * s->n_q) * part * 4, false);
    an_attention_job one = b->job;
    one.n_tok = 1;
    one.pos = pos;
    one.q = (const float *)b->q.p + (size_t)t * head;
    one.scale = b->scale + t;
    one.out = alone;
    an_attention(c->k, &one);
    if (memcmp(alone, got, head * 4)) kcheck_fail(c, "token %d of %d differs from itself alone", t, s->n_tok);
    int cut = t % n; /* the later chunks first */
    for (int i = 1, from = cut, to = n; i >= 0; i--, to = cut, from = 0)
        an_attention_chunks(c->k, &one, first + from, to - from, (float *)parts.p + (size_t)(from * s->n_q) * part);
    for (int h = 0; h < s->n_q; h++)
        an_attention_merge(c->k, alone + h * s->dim, (float *)parts.p + (size_t)h * part, (size_t)s->n_q * part, n, s->dim);
    if (memcmp(alone, got, head * 4)) kcheck_fail(c, "token %d of %d differs from its chunks", t, s->n_tok);
    guarded_free(&parts);
    free(alone);
}

static void attention_once(kcheck *c, shape s)
{
    bench b = bench_make(c, s);
    an_attention(c->k, &b.job);
    for (int t = 0; t < s.n_tok && c->n_failed < 20; t++) {
        const float *got = (const float *)b.out.p + (size_t)t * b.job.out_stride;
        for (int h = 0; h < s.n_q; h++)
            check_query(c, got + h * s.dim, (const float *)b.q.p + (t * s.n_q + h) * s.dim, b.plain[0], b.plain[1], s.dim,
                        first_seen(&s, s.pos + t), s.pos + t + 1, b.scale[t], c->k->kv_pairs && s.key_type == AN_KV_BF16,
                        c->k->kv_pairs && s.value_type == AN_KV_BF16);
        check_alone(c, &b, t, got);
    }
    bench_free(&b);
}

void check_attention(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const int before[] = {0, 1, 14, 15, 16, 32, 63, 127, 128, 199, 250}, heads[] = {1, 3, 4, 5, 8, 2, 12};
    static const int dims[] = {64, 128, 80, 16, 24, 96, 6, 100}, tokens[] = {1, 2, 8, 5, 16};
    for (int i = 0; i < 120; i++) {
        shape s = {.key_type = (an_kv_dtype)(i % AN_KV_N), .value_type = (an_kv_dtype)((i + i / 8) % AN_KV_N)};
        s.n_tok = tokens[i % 5];
        s.n_q = heads[i % 7];
        s.dim = dims[i / 4 % 8];
        s.pos = before[i % 11];
        s.window = i % 3 == 0 ? 1 + i * 5 % 150 : 0;
        s.sharpness = i % 6 == 0 ? 40 : 1;
        attention_once(c, s);
    }
    attention_once(c, (shape){AN_KV_F16, AN_KV_F16, 3, 4, 128, 3000, 0, 1});
    attention_once(c, (shape){AN_KV_Q8_0, AN_KV_BF16, 16, 3, 64, 1500, 700, 2});
    attention_once(c, (shape){AN_KV_BF16, AN_KV_Q8_0, 2, 1, 256, 1023, 0, 1});
}
