/*
 * Attention of some query heads of some tokens over one KV head, chunk by chunk: scores, exponentials with the chunk's
 * maximum subtracted, weighted sum of values, then the chunks merged in order. A score is summed along head_dim in
 * order, a value along the positions of its chunk in order, so nothing depends on how many queries are served together.
 *
 * One tile of queries (decode) takes keys and values as they are stored and makes them f32 in registers; more queries
 * share blocks that are made f32 once. Both are the same numbers. Included after a lanes header.
 */
#ifndef AN_BODY_ATTENTION_H
#define AN_BODY_ATTENTION_H

#include "kernels/body/kv.h"
#include "kernels/table.h"

enum {
    CHUNK = AN_ATTENTION_CHUNK,
    VALUE_LANES = AN_LANES_QUERIES >= 8 ? 4 : 1 /* vectors of a row of values that the registers hold for four queries */
};

/* Queries of the next tile of scores. */
LANE_FN int score_width(int left)
{
    return left >= AN_LANES_QUERIES ? AN_LANES_QUERIES : left >= 4 ? 4 : left;
}

/* q [n_query][head_dim] cut into tiles, each [head_dim][its queries]. */
static void tile_queries(float *out, const float *q, int n_query, int head_dim)
{
    for (int i = 0, w; i < n_query; i += w) {
        w = score_width(n_query - i);
        for (int j = 0; j < w; j++)
            for (int d = 0; d < head_dim; d++) out[(i * head_dim) + d * w + j] = q[(i + j) * head_dim + d];
    }
}

/*
 * Scores of n_q queries for n_block blocks of keys. One block after the other: read in pairs, 4 KiB apart, the hardware
 * fetches them half as fast.
 */
LANE_FN void scores_tile(const an_kv_dtype type, float *p, const float *q, const uint8_t *block, int head_dim,
                         const int n_q, int n_block)
{
    for (int b = 0; b < n_block; b++, block += an_kv_key_block(type, head_dim)) {
        vf acc[AN_LANES_QUERIES];
#pragma GCC unroll 8
        for (int i = 0; i < n_q; i++) acc[i] = vf_zero();
        for (int g = 0; g < head_dim; g += AN_KV_GROUP) {
            vf scale = key_scale(type, block, head_dim, g);
            int end = head_dim - g < AN_KV_GROUP ? head_dim : g + AN_KV_GROUP;
            for (int d = g; d < end; d += 2) {
                vf k[2];
                key_pair(type, block, d, scale, k);
#pragma GCC unroll 2
                for (int j = 0; j < 2; j++)
#pragma GCC unroll 8
                    for (int i = 0; i < n_q; i++) acc[i] = vf_fma(vf_set1(q[(d + j) * n_q + i]), k[j], acc[i]);
            }
        }
#pragma GCC unroll 8
        for (int i = 0; i < n_q; i++) vf_store(p + i * CHUNK + 16 * b, acc[i]);
    }
}

/* Scores of all queries for n_block blocks. */
LANE_FN void scores(const an_kv_dtype type, float *p, const float *q, const uint8_t *block, int head_dim, int n_query,
                    int n_block)
{
    for (int i = 0, w; i < n_query; i += w, p += w * CHUNK, q += w * head_dim) {
        w = score_width(n_query - i);
        if (w == AN_LANES_QUERIES) scores_tile(type, p, q, block, head_dim, AN_LANES_QUERIES, n_block);
        else if (w == 4) scores_tile(type, p, q, block, head_dim, 4, n_block);
        else if (w == 3) scores_tile(type, p, q, block, head_dim, 3, n_block);
        else if (w == 2) scores_tile(type, p, q, block, head_dim, 2, n_block);
        else scores_tile(type, p, q, block, head_dim, 1, n_block);
    }
}

/* A block of keys as f32 [head_dim][16]. */
LANE_FN void keys_f32(const an_kv_dtype type, float *out, const uint8_t *block, int head_dim)
{
    for (int g = 0; g < head_dim; g += AN_KV_GROUP) {
        vf scale = key_scale(type, block, head_dim, g);
        int end = head_dim - g < AN_KV_GROUP ? head_dim : g + AN_KV_GROUP;
        for (int d = g; d < end; d += 2) {
            vf k[2];
            key_pair(type, block, d, scale, k);
            vf_store(out + 16 * d, k[0]);
            vf_store(out + 16 * d + 16, k[1]);
        }
    }
}

/*
 * Scores of positions begin..end-1 of a chunk -> exponentials; zero at all other places of the row's first n. part:
 * largest scaled score (minus infinity when there is no position), sum of exponentials.
 */
static void exponentials(float *p, int n, int begin, int end, float scale, float *part)
{
    int low = begin & ~15, high = (end + 15) & ~15;
    if (begin >= end) {
        memset(p, 0, (size_t)n * sizeof *p);
        part[0] = -INFINITY;
        part[1] = 0;
        return;
    }
    memset(p, 0, (size_t)low * sizeof *p);
    memset(p + high, 0, (size_t)(n - high) * sizeof *p);
    for (int i = low; i < begin; i++) p[i] = -INFINITY;
    for (int i = end; i < high; i++) p[i] = -INFINITY;
    vf top = vf_load(p + low);
    for (int i = low + 16; i < high; i += 16) top = vf_max(top, vf_load(p + i));
    float max = vf_max_all(top);
    vf s = vf_set1(scale), m = vf_set1(max), sum = vf_zero();
    for (int i = low; i < high; i += 16) {
        vf e = vf_exp(vf_mul(vf_sub(vf_load(p + i), m), s));
        vf_store(p + i, e);
        sum = vf_add(sum, e);
    }
    part[0] = max * scale;
    part[1] = vf_sum(sum);
}

/* acc[i][16 * n_lane] += weights of n positions times their values, for n_q queries; v is rows without a gap. */
LANE_FN void values_tile(const an_kv_dtype type, float *acc, size_t stride, const float *p, const uint8_t *v,
                         const float *scales, int head_dim, int n, int lane, const int n_q, const int n_lane)
{
    size_t row_bytes = an_kv_elem(type) * (size_t)an_kv_dim(head_dim);
    vf a[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) a[i][l] = vf_load(acc + (size_t)i * stride + 16 * (lane + l));
    for (int pos = 0; pos < n; pos++, v += row_bytes) {
        vf x[4];
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) x[l] = value_lane(type, v, scales, lane + l);
        if (type == AN_KV_Q8_0) scales += an_kv_groups(head_dim);
#pragma GCC unroll 4
        for (int i = 0; i < n_q; i++) {
            vf w = vf_set1(p[i * CHUNK + pos]);
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) a[i][l] = vf_fma(w, x[l], a[i][l]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) vf_store(acc + (size_t)i * stride + 16 * (lane + l), a[i][l]);
}

LANE_FN void values_lanes(const an_kv_dtype type, float *acc, size_t stride, const float *p, const uint8_t *v,
                          const float *scales, int head_dim, int n, const int n_q)
{
    int lane = 0, n_lane = an_kv_dim(head_dim) / 16;
    for (; lane + VALUE_LANES <= n_lane; lane += VALUE_LANES)
        values_tile(type, acc, stride, p, v, scales, head_dim, n, lane, n_q, VALUE_LANES);
    for (; lane < n_lane; lane++) values_tile(type, acc, stride, p, v, scales, head_dim, n, lane, n_q, 1);
}

/* All queries; acc, `stride` apart, and p, rows of a chunk. scales [n][groups], of codes. */
LANE_FN void values(const an_kv_dtype type, float *acc, size_t stride, const float *p, const uint8_t *v,
                    const float *scales, int head_dim, int n, int n_query)
{
    for (int i = 0, w; i < n_query; i += w, acc += (size_t)w * stride, p += w * CHUNK) {
        w = n_query - i >= 4 ? 4 : n_query - i;
        if (w == 4) values_lanes(type, acc, stride, p, v, scales, head_dim, n, 4);
        else if (w == 3) values_lanes(type, acc, stride, p, v, scales, head_dim, n, 3);
        else if (w == 2) values_lanes(type, acc, stride, p, v, scales, head_dim, n, 2);
        else values_lanes(type, acc, stride, p, v, scales, head_dim, n, 1);
    }
}

/* n rows, whole blocks but the last, as f32 [n][dim]. */
LANE_FN void values_f32(const an_kv_dtype type, float *out, const uint8_t *v, float *scales, int head_dim, int n)
{
    int dim = an_kv_dim(head_dim);
    size_t row_bytes = an_kv_elem(type) * (size_t)dim, block_bytes = an_kv_value_block(type, head_dim);
    for (int pos = 0; pos < n; pos++, out += dim) {
        const uint8_t *block = v + (size_t)(pos / AN_KV_BLOCK) * block_bytes;
        if (pos % AN_KV_BLOCK == 0) value_scales(type, scales, block, head_dim);
        const float *own = scales + pos % AN_KV_BLOCK * an_kv_groups(head_dim);
        for (int l = 0; l < dim / 16; l++)
            vf_store(out + 16 * l, value_lane(type, block + (size_t)(pos % AN_KV_BLOCK) * row_bytes, own, l));
    }
}

/* One chunk as all its parts see it. */
typedef struct attention_chunk_job {
    const an_attention_job *job;
    const uint8_t *keys, *values; /* of its first block that somebody sees */
    int base;                     /* position of that block */
    int n;                        /* positions from there on */
    int n_query;
    const float *q;
    float *p, *rows, *parts;
    size_t stride;
} attention_chunk_job;

LANE_FN void chunk_scores(const an_kv_dtype type, const attention_chunk_job *c)
{
    int head_dim = c->job->head_dim, n_block = (c->n + AN_KV_BLOCK - 1) / AN_KV_BLOCK;
    if (type == AN_KV_F32 || c->n_query <= AN_LANES_QUERIES) {
        scores(type, c->p, c->q, c->keys, head_dim, c->n_query, n_block);
        return;
    }
    for (int b = 0; b < n_block; b++) {
        keys_f32(type, c->rows, c->keys + (size_t)b * an_kv_key_block(type, head_dim), head_dim);
        scores(AN_KV_F32, c->p + 16 * b, c->q, (const uint8_t *)c->rows, head_dim, c->n_query, 1);
    }
}

LANE_FN void chunk_values(const an_kv_dtype type, const attention_chunk_job *c)
{
    int head_dim = c->job->head_dim;
    float *acc = c->parts + AN_PART_HEAD;
    if (type == AN_KV_F32 || c->n_query <= AN_LANES_QUERIES) {
        /* Block by block, though the sums go through memory: so a row's lines are read together, in order. */
        const uint8_t *block = c->values;
        for (int at = 0; at < c->n; at += AN_KV_BLOCK, block += an_kv_value_block(type, head_dim)) {
            int n = c->n - at < AN_KV_BLOCK ? c->n - at : AN_KV_BLOCK;
            value_scales(type, c->rows, block, head_dim);
            values(type, acc, c->stride, c->p + at, block, c->rows, head_dim, n, c->n_query);
        }
        return;
    }
    for (int at = 0; at < c->n; at += AN_VALUES_ROWS) {
        int n = c->n - at < AN_VALUES_ROWS ? c->n - at : AN_VALUES_ROWS;
        values_f32(type, c->rows, c->values + (size_t)(at / AN_KV_BLOCK) * an_kv_value_block(type, head_dim),
                   c->rows + AN_VALUES_ROWS * an_kv_dim(head_dim), head_dim, n);
        values(AN_KV_F32, acc, c->stride, c->p + at, (const uint8_t *)c->rows, NULL, head_dim, n, c->n_query);
    }
}

static void chunk_scores_f32(const attention_chunk_job *c) { chunk_scores(AN_KV_F32, c); }
static void chunk_scores_f16(const attention_chunk_job *c) { chunk_scores(AN_KV_F16, c); }
static void chunk_scores_bf16(const attention_chunk_job *c) { chunk_scores(AN_KV_BF16, c); }
static void chunk_scores_q8_0(const attention_chunk_job *c) { chunk_scores(AN_KV_Q8_0, c); }
static void chunk_values_f32(const attention_chunk_job *c) { chunk_values(AN_KV_F32, c); }
static void chunk_values_f16(const attention_chunk_job *c) { chunk_values(AN_KV_F16, c); }
static void chunk_values_bf16(const attention_chunk_job *c) { chunk_values(AN_KV_BF16, c); }
static void chunk_values_q8_0(const attention_chunk_job *c) { chunk_values(AN_KV_Q8_0, c); }

/* First position that the token at `pos` sees. */
LANE_FN int seen_from(const an_attention_job *job, int pos)
{
    return job->window > 0 && pos >= job->window ? pos - job->window + 1 : 0;
}

/* parts of one chunk for all queries; job->scratch holds the tiled queries already. */
static void one_chunk(const an_attention_job *job, int chunk, float *parts)
{
    static void (*const score[AN_KV_N])(const attention_chunk_job *) = {
        [AN_KV_F32] = chunk_scores_f32,
        [AN_KV_F16] = chunk_scores_f16,
        [AN_KV_BF16] = chunk_scores_bf16,
        [AN_KV_Q8_0] = chunk_scores_q8_0};
    static void (*const weigh[AN_KV_N])(const attention_chunk_job *) = {
        [AN_KV_F32] = chunk_values_f32,
        [AN_KV_F16] = chunk_values_f16,
        [AN_KV_BF16] = chunk_values_bf16,
        [AN_KV_Q8_0] = chunk_values_q8_0};
    int n_query = job->n_tok * job->n_q, begin = seen_from(job, job->pos), end = job->pos + job->n_tok;
    int base = chunk * CHUNK > begin ? chunk * CHUNK : begin & ~(AN_KV_BLOCK - 1);
    if (end > (chunk + 1) * CHUNK) end = (chunk + 1) * CHUNK;
    an_attention_plan plan = an_attention_plan_for(n_query, job->head_dim);
    float *scratch = job->scratch;
    size_t block = (size_t)(base / AN_KV_BLOCK);
    attention_chunk_job c = {
        .job = job,
        .keys = (const uint8_t *)job->keys + block * an_kv_key_block(job->key_type, job->head_dim),
        .values = (const uint8_t *)job->values + block * an_kv_value_block(job->value_type, job->head_dim),
        .base = base,
        .n = end - base,
        .n_query = n_query,
        .q = scratch,
        .p = scratch + plan.scores,
        .rows = scratch + plan.rows,
        .parts = parts,
        .stride = AN_PART_HEAD + (size_t)an_kv_dim(job->head_dim),
    };
    score[job->key_type](&c);
    int n_whole = (c.n + 15) & ~15;
    for (int i = 0; i < n_query; i++) {
        int pos = job->pos + i / job->n_q, from = seen_from(job, pos) - base, to = pos + 1 - base;
        float *part = parts + (size_t)i * c.stride;
        exponentials(c.p + i * CHUNK, n_whole, from > 0 ? from : 0, to < c.n ? to : c.n, job->scale[i / job->n_q], part);
        memset(part + AN_PART_HEAD, 0, (c.stride - AN_PART_HEAD) * sizeof *part);
    }
    weigh[job->value_type](&c);
}

/* state = state and, behind it, part. */
static void merge_part(float *state, const float *part, int dim)
{
    if (part[0] == -INFINITY) return;
    if (state[0] == -INFINITY) {
        memcpy(state, part, (size_t)(AN_PART_HEAD + dim) * sizeof *state);
        return;
    }
    float max = part[0] > state[0] ? part[0] : state[0], e[16] = {state[0] - max, part[0] - max};
    vf_store(e, vf_exp(vf_load(e)));
    state[0] = max;
    state[1] = state[1] * e[0] + part[1] * e[1];
    vf keep = vf_set1(e[0]), add = vf_set1(e[1]);
    for (int d = AN_PART_HEAD; d < AN_PART_HEAD + dim; d += 16)
        vf_store(state + d, vf_fma(add, vf_load(part + d), vf_mul(keep, vf_load(state + d))));
}

static void finish(float *out, const float *state, int head_dim)
{
    vf r = vf_set1(1.0f / state[1]);
    int whole = head_dim & ~15;
    for (int d = 0; d < whole; d += 16) vf_store(out + d, vf_mul(vf_load(state + AN_PART_HEAD + d), r));
    if (head_dim > whole)
        vf_store_n(out + whole, vf_mul(vf_load(state + AN_PART_HEAD + whole), r), head_dim - whole);
}

static void attention_chunk(const an_attention_job *job, int chunk, float *parts)
{
    tile_queries(job->scratch, job->q, job->n_tok * job->n_q, job->head_dim);
    one_chunk(job, chunk, parts);
}

static void attention_merge(float *out, float *parts, size_t stride, int n_chunk, int head_dim)
{
    for (int c = 1; c < n_chunk; c++) merge_part(parts, parts + (size_t)c * stride, an_kv_dim(head_dim));
    finish(out, parts, head_dim);
}

static void attention(const an_attention_job *job)
{
    int n_query = job->n_tok * job->n_q, dim = an_kv_dim(job->head_dim);
    an_attention_plan plan = an_attention_plan_for(n_query, job->head_dim);
    float *state = (float *)job->scratch + plan.state, *part = (float *)job->scratch + plan.part;
    size_t stride = AN_PART_HEAD + (size_t)dim;
    int first = seen_from(job, job->pos) / CHUNK, last = (job->pos + job->n_tok - 1) / CHUNK;
    tile_queries(job->scratch, job->q, n_query, job->head_dim);
    one_chunk(job, first, state);
    for (int c = first + 1; c <= last; c++) {
        one_chunk(job, c, part);
        for (int i = 0; i < n_query; i++) merge_part(state + (size_t)i * stride, part + (size_t)i * stride, dim);
    }
    for (int i = 0; i < n_query; i++)
        finish(job->out + (size_t)(i / job->n_q) * job->out_stride + (size_t)(i % job->n_q * job->head_dim),
               state + (size_t)i * stride, job->head_dim);
}

#endif
