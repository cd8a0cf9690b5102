/*
 * Attention of some query heads of some tokens over one KV head, chunk by chunk: scores, exponentials with the chunk's
 * maximum subtracted, weighted sum of values, then the chunks merged in order. A score is summed along head_dim in
 * order, a value along the positions of its chunk in order, so nothing depends on how many queries are served together.
 *
 * One tile of queries (decode) takes keys and values as they are stored and makes them f32 in registers; more queries
 * share blocks that are made f32 once. Both are the same numbers. A bf16 cache can be multiplied as it is instead, in
 * pairs, queries and exponentials rounded to bf16 as well; so it is then for any number of queries.
 *
 * On Zen 4 broadcasts and conversions share the pipes that multiply-adds leave free: each broadcast of a query has to
 * serve four vectors of keys. All bytes are read in order and nothing is prefetched: prefetches of what comes 4 KiB or
 * a whole chunk later made decoding from memory slower there. Included after a lanes header.
 */
#ifndef AN_BODY_ATTENTION_H
#define AN_BODY_ATTENTION_H

#include "kernels/body/kv.h"
#include "kernels/table.h"

enum {
    CHUNK = AN_ATTENTION_CHUNK,
    KEY_LANES = AN_LANES_QUERIES >= 8 ? 4 : 1,  /* vectors of keys that the registers hold sums for, for four queries */
    VALUE_LANES = AN_LANES_QUERIES >= 8 ? 4 : 1 /* vectors of a row of values, for four queries */
};

/* Queries of the next tile of scores. */
LANE_FN int score_width(int left)
{
    return left >= AN_LANES_QUERIES ? AN_LANES_QUERIES : left >= 4 ? 4 : left;
}

/* q [n_query][head_dim] cut into tiles, each [head_dim][its queries], head_dim floats a query. */
static void tile_queries(float *out, const float *q, int n_query, int head_dim)
{
    for (int i = 0, w; i < n_query; i += w) {
        w = score_width(n_query - i);
        for (int j = 0; j < w; j++)
            for (int d = 0; d < head_dim; d++) out[(i * head_dim) + d * w + j] = q[(i + j) * head_dim + d];
    }
}

#if AN_LANES_BF16_PAIRS
/* The same in pairs of bf16, [head_dim / 2][its queries]; a query takes as much room. */
static void tile_query_pairs(float *out, const float *q, int n_query, int head_dim)
{
    for (int i = 0, w; i < n_query; i += w) {
        w = score_width(n_query - i);
        for (int j = 0; j < w; j++)
            for (int d = 0; d < head_dim; d += 32) {
                int n = head_dim - d < 32 ? head_dim - d : 32;
                float row[32] = {0}, pairs[16];
                memcpy(row, q + (i + j) * head_dim + d, (size_t)n * sizeof *row);
                vi_store(pairs, vi_bf16_pairs(vf_load(row), vf_load(row + 16)));
                for (int k = 0; k < n / 2; k++) out[i * head_dim + (d / 2 + k) * w + j] = pairs[k];
            }
    }
}

/* The first n exponentials of a row as pairs of bf16, in its first half; their sum is that of the rounded ones. */
static void pair_exponentials(float *p, int n, float *part)
{
    vf sum = vf_zero();
    for (int i = 0; i < n; i += 32) {
        vi pairs = vi_bf16_pairs(vf_load(p + i), i + 16 < n ? vf_load(p + i + 16) : vf_zero());
        vi_store(p + i / 2, pairs);
        sum = vf_add(sum, vf_from_bits(vi_shl(pairs, 16)));
        sum = vf_add(sum, vf_from_bits(vi_and(pairs, vi_set1((int32_t)0xFFFF0000))));
    }
    part[1] = vf_sum(sum);
}

/* Scores of dimensions d and d + 1. */
LANE_FN void add_score_pairs(vf acc[][4], const float *q, const uint8_t *block, int d, int lane, const int n_q,
                             const int n_lane)
{
    vi k[4];
#pragma GCC unroll 4
    for (int l = 0; l < n_lane; l++) k[l] = vi_load(block + 2 * (AN_KV_BLOCK * d + 32 * (lane + l)));
#pragma GCC unroll 8
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) acc[i][l] = vf_dot_pairs(acc[i][l], k[l], q + d / 2 * n_q + i);
}

/* Sums of a pair of positions, of which the second may not be there. */
LANE_FN void add_value_pairs(vf a[4][4], const float *p, size_t stride, const uint8_t *v, bool both, const int n_q,
                             const int n_lane)
{
    vi x[4];
#pragma GCC unroll 4
    for (int l = 0; l < n_lane; l++) {
        x[l] = vi_load(v + 64 * l);
        if (!both) x[l] = vi_and(x[l], vi_set1(0xFFFF));
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) a[i][l] = vf_dot_pairs(a[i][l], x[l], p + (size_t)i * stride);
}
#endif

/*
 * Scores of n_q queries for n_lane vectors of positions of a block of keys, from vector `lane` on. The scores of codes
 * come group by group, each group's sum times its scales ([groups][64], f32).
 */
LANE_FN void scores_tile(const an_kv_dtype type, float *p, const float *q, const uint8_t *block, const float *scales,
                         int head_dim, int lane, const int n_q, const int n_lane)
{
    int step = has_codes(type) ? AN_KV_GROUP : head_dim;
    for (int g = 0; g < head_dim; g += step, scales += AN_KV_BLOCK) {
        int end = head_dim - g < step ? head_dim : g + step;
        vf acc[AN_LANES_QUERIES][4];
#pragma GCC unroll 8
        for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) acc[i][l] = vf_zero();
        for (int d = g; d < end; d += 2) {
#if AN_LANES_BF16_PAIRS
            if (type == KV_BF16_PAIRS) {
                add_score_pairs(acc, q, block, d, lane, n_q, n_lane);
                continue;
            }
#endif
            vf k[4][2];
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) key_pair(type, block, d, lane + l, k[l]);
#pragma GCC unroll 2
            for (int j = 0; j < 2; j++)
#pragma GCC unroll 8
                for (int i = 0; i < n_q; i++) {
                    vf x = vf_set1(q[(d + j) * n_q + i]);
#pragma GCC unroll 4
                    for (int l = 0; l < n_lane; l++) acc[i][l] = vf_fma(x, k[l][j], acc[i][l]);
                }
        }
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++)
#pragma GCC unroll 8
            for (int i = 0; i < n_q; i++) {
                float *out = p + i * CHUNK + 16 * (lane + l);
                vf sum = acc[i][l];
                if (has_codes(type)) {
                    sum = vf_mul(sum, vf_load(scales + 16 * (lane + l)));
                    if (g > 0) sum = vf_add(sum, vf_load(out));
                }
                vf_store(out, sum);
            }
    }
}

/* As many vectors of keys at once as the registers hold sums for. */
LANE_FN void scores_lanes(const an_kv_dtype type, float *p, const float *q, const uint8_t *block, const float *scales,
                          int head_dim, const int n_q)
{
    const int n_lane = KEY_LANES > 1 && (n_q > 4 || is_made(type)) ? 2 : KEY_LANES;
    for (int lane = 0; lane < block_rows(type) / 16; lane += n_lane)
        scores_tile(type, p, q, block, scales, head_dim, lane, n_q, n_lane);
}

/* Scores of all queries for a block. scales [groups][64], of codes. */
LANE_FN void scores(const an_kv_dtype type, float *p, const float *q, const uint8_t *block, const float *scales,
                    int head_dim, int n_query)
{
    for (int i = 0, w; i < n_query; i += w, p += w * CHUNK, q += w * head_dim) {
        w = score_width(n_query - i);
        if (w == AN_LANES_QUERIES) scores_lanes(type, p, q, block, scales, head_dim, AN_LANES_QUERIES);
        else if (w == 4) scores_lanes(type, p, q, block, scales, head_dim, 4);
        else if (w == 3) scores_lanes(type, p, q, block, scales, head_dim, 3);
        else if (w == 2) scores_lanes(type, p, q, block, scales, head_dim, 2);
        else scores_lanes(type, p, q, block, scales, head_dim, 1);
    }
}

/* Keys of AN_KV_MADE positions, from vector `lane` of a block on, as f32 [head_dim][32]. */
LANE_FN void make_keys(const an_kv_dtype type, float *out, const uint8_t *block, int lane, int head_dim)
{
    for (int d = 0; d < head_dim; d += 2, out += 2 * AN_KV_MADE)
        for (int l = 0; l < AN_KV_MADE / 16; l++) {
            vf k[2];
            key_pair(type, block, d, lane + l, k);
            vf_store(out + 16 * l, k[0]);
            vf_store(out + AN_KV_MADE + 16 * l, k[1]);
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

/* The sums of n_q queries for two positions, or for the first one of them. */
LANE_FN void add_values(vf a[4][4], const vf x[4][2], const float *p, size_t stride, size_t group_stride,
                        const int n_pos, const int n_q, const int n_lane, const bool codes)
{
#pragma GCC unroll 2
    for (int j = 0; j < n_pos; j++)
#pragma GCC unroll 4
        for (int i = 0; i < n_q; i++) {
            vf w = vf_set1(p[(size_t)i * stride + (size_t)j]);
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) {
                if (codes && l == 2) w = vf_set1(p[group_stride + (size_t)i * stride + (size_t)j]);
                a[i][l] = vf_fma(w, x[l][j], a[i][l]);
            }
        }
}

/*
 * acc[i][16 * n_lane] += weights of n positions times their values, for n_q queries; v is what the first of them has in
 * a span, in rows of row_bytes. p: `stride` between queries; of codes another group_stride behind 32 columns.
 */
LANE_FN void values_tile(const an_kv_dtype type, float *acc, size_t acc_stride, const float *p, size_t stride,
                         size_t group_stride, const uint8_t *v, size_t row_bytes, int n, const int n_q,
                         const int n_lane)
{
    vf a[4][4], x[4][2];
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) a[i][l] = vf_load(acc + (size_t)i * acc_stride + 16 * l);
    for (int pos = 0; pos < n; pos += 2, v += 2 * row_bytes) {
#if AN_LANES_BF16_PAIRS
        if (type == KV_BF16_PAIRS) {
            add_value_pairs(a, p + pos / 2, stride, v, pos + 1 < n, n_q, n_lane);
            continue;
        }
#endif
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) value_pair(type, v, row_bytes, l, x[l]);
        if (pos + 1 < n) add_values(a, x, p + pos, stride, group_stride, 2, n_q, n_lane, has_codes(type));
        else add_values(a, x, p + pos, stride, group_stride, 1, n_q, n_lane, has_codes(type));
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) vf_store(acc + (size_t)i * acc_stride + 16 * l, a[i][l]);
}

/* n_q queries for n_lane vectors from column `col` on, in one span. */
LANE_FN void values_columns(const an_kv_dtype type, float *acc, size_t acc_stride, const float *p, const uint8_t *block,
                            const float *scales, int dim, int col, int n, const int n_q, const int n_lane)
{
    int span = col & ~(AN_KV_SPAN - 1);
    size_t elem = an_kv_elem(stored_as(type)), row_bytes = elem * (size_t)an_kv_span(dim, span);
    /* Of positions in pairs, a lane is twice as wide. */
    size_t lane_bytes = (stored_as(type) == AN_KV_BF16 ? 2 : 1) * elem * (size_t)(col - span);
    const uint8_t *v = block + elem * (size_t)(block_rows(type) * span) + lane_bytes;
    if (!has_codes(type)) {
        values_tile(type, acc + col, acc_stride, p, CHUNK, 0, v, row_bytes, n, n_q, n_lane);
        return;
    }
    float weights[2][4][AN_KV_BLOCK];
    for (int g = 0; g < (n_lane + 1) / 2; g++)
        for (int at = 0; at < block_rows(type); at += 16) {
            vf scale = vf_load(scales + AN_KV_BLOCK * (col / AN_KV_GROUP + g) + at);
            for (int i = 0; i < n_q; i++) vf_store(&weights[g][i][at], vf_mul(scale, vf_load(p + i * CHUNK + at)));
        }
    values_tile(type, acc + col, acc_stride, weights[0][0], AN_KV_BLOCK, 4 * AN_KV_BLOCK, v, row_bytes, n, n_q, n_lane);
}

LANE_FN void values_lanes(const an_kv_dtype type, float *acc, size_t stride, const float *p, const uint8_t *block,
                          const float *scales, int dim, int n, const int n_q)
{
    for (int span = 0; span < dim; span += AN_KV_SPAN) {
        int end = span + an_kv_span(dim, span), col = span;
        for (; col + 16 * VALUE_LANES <= end; col += 16 * VALUE_LANES)
            values_columns(type, acc, stride, p, block, scales, dim, col, n, n_q, VALUE_LANES);
        for (; col < end; col += 16)
            values_columns(type, acc, stride, p, block, scales, dim, col, n, n_q, 1);
    }
}

/* All queries, n positions of a block; acc, `stride` apart, and p, rows of a chunk. scales [groups][64], of codes. */
LANE_FN void values(const an_kv_dtype type, float *acc, size_t stride, const float *p, const uint8_t *block,
                    const float *scales, int dim, int n, int n_query)
{
    for (int i = 0, w; i < n_query; i += w, acc += (size_t)w * stride, p += w * CHUNK) {
        w = n_query - i >= 4 ? 4 : n_query - i;
        if (w == 4) values_lanes(type, acc, stride, p, block, scales, dim, n, 4);
        else if (w == 3) values_lanes(type, acc, stride, p, block, scales, dim, n, 3);
        else if (w == 2) values_lanes(type, acc, stride, p, block, scales, dim, n, 2);
        else values_lanes(type, acc, stride, p, block, scales, dim, n, 1);
    }
}

/* Values of n <= AN_KV_MADE positions of a block, from `row` (even) on, as f32, in spans, [32][columns] each. */
LANE_FN void make_values(const an_kv_dtype type, float *out, const uint8_t *block, int row, int dim, int n)
{
    for (int span = 0; span < dim; span += AN_KV_SPAN) {
        int n_col = an_kv_span(dim, span);
        size_t row_bytes = an_kv_elem(type) * (size_t)n_col;
        const uint8_t *v = block + an_kv_elem(type) * (size_t)(AN_KV_BLOCK * span) + (size_t)row * row_bytes;
        for (int pos = 0; pos < n; pos += 2, v += 2 * row_bytes)
            for (int l = 0; l < n_col / 16; l++) {
                vf x[2];
                float *at = out + AN_KV_MADE * span + pos * n_col + 16 * l;
                value_pair(type, v, row_bytes, l, x);
                vf_store(at, x[0]);
                vf_store(at + n_col, x[1]);
            }
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

/* Few queries take keys and values as they are stored; for many they are made f32 once. Pairs stay pairs. */
LANE_FN bool at_once(const an_kv_dtype type, const attention_chunk_job *c)
{
    return type == AN_KV_F32 || type == KV_BF16_PAIRS || c->n_query <= AN_LANES_QUERIES;
}

LANE_FN void chunk_scores(const an_kv_dtype type, const attention_chunk_job *c)
{
    int head_dim = c->job->head_dim, dim = an_kv_dim(head_dim);
    float *scales = c->rows + AN_KV_MADE * dim, *p = c->p;
    const uint8_t *block = c->keys;
    size_t block_bytes = an_kv_key_block(stored_as(type), head_dim);
    for (int at = 0; at < c->n; at += AN_KV_BLOCK, block += block_bytes, p += AN_KV_BLOCK) {
        const uint8_t *keys = block + an_kv_scales(type, head_dim);
        if (type == AN_KV_Q8_0) block_scales(scales, block, head_dim);
        if (at_once(type, c)) {
            scores(type, p, c->q, keys, scales, head_dim, c->n_query);
            continue;
        }
        const an_kv_dtype made = has_codes(type) ? KV_MADE_CODES : KV_MADE_F32;
        for (int row = 0; row < AN_KV_BLOCK && at + row < c->n; row += AN_KV_MADE) {
            make_keys(type, c->rows, keys, row / 16, head_dim);
            scores(made, p + row, c->q, (const uint8_t *)c->rows, scales + row, head_dim, c->n_query);
        }
    }
}

LANE_FN void chunk_values(const an_kv_dtype type, const attention_chunk_job *c)
{
    int head_dim = c->job->head_dim, dim = an_kv_dim(head_dim);
    float *acc = c->parts + AN_PART_HEAD, *scales = c->rows + AN_KV_MADE * dim;
    const float *p = c->p;
    const uint8_t *block = c->values;
    size_t block_bytes = an_kv_value_block(stored_as(type), head_dim);
    int p_block = type == KV_BF16_PAIRS ? AN_KV_BLOCK / 2 : AN_KV_BLOCK;
    /* Block by block, though the sums go through memory: so all bytes are read in order. */
    for (int at = 0; at < c->n; at += AN_KV_BLOCK, block += block_bytes, p += p_block) {
        int n = c->n - at < AN_KV_BLOCK ? c->n - at : AN_KV_BLOCK;
        const uint8_t *rows = block + an_kv_scales(type, head_dim);
        if (type == AN_KV_Q8_0) block_scales(scales, block, head_dim);
        if (at_once(type, c)) {
            values(type, acc, c->stride, p, rows, scales, dim, n, c->n_query);
            continue;
        }
        const an_kv_dtype made = has_codes(type) ? KV_MADE_CODES : KV_MADE_F32;
        for (int row = 0; row < n; row += AN_KV_MADE) {
            int n_row = n - row < AN_KV_MADE ? n - row : AN_KV_MADE;
            make_values(type, c->rows, rows, row, dim, n_row);
            values(made, acc, c->stride, p + row, (const uint8_t *)c->rows, scales + row, dim, n_row, c->n_query);
        }
    }
}

typedef void chunk_fn(const attention_chunk_job *c);

static void chunk_scores_f32(const attention_chunk_job *c) { chunk_scores(AN_KV_F32, c); }
static void chunk_scores_f16(const attention_chunk_job *c) { chunk_scores(AN_KV_F16, c); }
static void chunk_scores_bf16(const attention_chunk_job *c) { chunk_scores(AN_KV_BF16, c); }
static void chunk_scores_q8_0(const attention_chunk_job *c) { chunk_scores(AN_KV_Q8_0, c); }
static void chunk_values_f32(const attention_chunk_job *c) { chunk_values(AN_KV_F32, c); }
static void chunk_values_f16(const attention_chunk_job *c) { chunk_values(AN_KV_F16, c); }
static void chunk_values_bf16(const attention_chunk_job *c) { chunk_values(AN_KV_BF16, c); }
static void chunk_values_q8_0(const attention_chunk_job *c) { chunk_values(AN_KV_Q8_0, c); }

static chunk_fn *const score_fns[AN_KV_N] = {[AN_KV_F32] = chunk_scores_f32, [AN_KV_F16] = chunk_scores_f16,
                                             [AN_KV_BF16] = chunk_scores_bf16, [AN_KV_Q8_0] = chunk_scores_q8_0};
static chunk_fn *const value_fns[AN_KV_N] = {[AN_KV_F32] = chunk_values_f32, [AN_KV_F16] = chunk_values_f16,
                                             [AN_KV_BF16] = chunk_values_bf16, [AN_KV_Q8_0] = chunk_values_q8_0};
#if AN_LANES_BF16_PAIRS
static void chunk_score_pairs(const attention_chunk_job *c) { chunk_scores(KV_BF16_PAIRS, c); }
static void chunk_value_pairs(const attention_chunk_job *c) { chunk_values(KV_BF16_PAIRS, c); }
#endif

/* First position that the token at `pos` sees. */
LANE_FN int seen_from(const an_attention_job *job, int pos)
{
    return job->window > 0 && pos >= job->window ? pos - job->window + 1 : 0;
}

/* parts of one chunk for all queries; job->scratch holds the tiled queries already. */
LANE_FN void one_chunk(const an_attention_job *job, int chunk, float *parts, const bool pairs)
{
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
#if AN_LANES_BF16_PAIRS
    bool value_pairs = pairs && job->value_type == AN_KV_BF16;
    if (pairs && job->key_type == AN_KV_BF16) chunk_score_pairs(&c);
    else
#endif
        score_fns[job->key_type](&c);
    (void)pairs;
    int n_whole = (c.n + 15) & ~15;
    for (int i = 0; i < n_query; i++) {
        int pos = job->pos + i / job->n_q, from = seen_from(job, pos) - base, to = pos + 1 - base;
        float *part = parts + (size_t)i * c.stride;
        exponentials(c.p + i * CHUNK, n_whole, from > 0 ? from : 0, to < c.n ? to : c.n, job->scale[i / job->n_q],
                     part);
#if AN_LANES_BF16_PAIRS
        if (value_pairs) pair_exponentials(c.p + i * CHUNK, n_whole, part);
#endif
        memset(part + AN_PART_HEAD, 0, (c.stride - AN_PART_HEAD) * sizeof *part);
    }
#if AN_LANES_BF16_PAIRS
    if (value_pairs) chunk_value_pairs(&c);
    else
#endif
        value_fns[job->value_type](&c);
}

/* state = state and, behind it, part. */
static void merge_part(float *state, const float *part, int dim)
{
    if (part[0] == -INFINITY) return;
    if (state[0] == -INFINITY) {
        memcpy(state, part, (size_t)(AN_PART_HEAD + dim) * sizeof *state);
        return;
    }
    float max = part[0] > state[0] ? part[0] : state[0], e[2][16];
    vf keep = vf_exp(vf_set1(state[0] - max)), add = vf_exp(vf_set1(part[0] - max));
    vf_store(e[0], keep);
    vf_store(e[1], add);
    state[0] = max;
    state[1] = state[1] * e[0][0] + part[1] * e[1][0];
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

/* Queries into the scratch, as keys of the job's type want them. */
LANE_FN void place_queries(const an_attention_job *job, const bool pairs)
{
#if AN_LANES_BF16_PAIRS
    if (pairs && job->key_type == AN_KV_BF16) {
        tile_query_pairs(job->scratch, job->q, job->n_tok * job->n_q, job->head_dim);
        return;
    }
#endif
    (void)pairs;
    tile_queries(job->scratch, job->q, job->n_tok * job->n_q, job->head_dim);
}

LANE_FN void run_chunks(const an_attention_job *job, int first, int n_chunk, float *parts, const bool pairs)
{
    size_t stride = (size_t)(job->n_tok * job->n_q) * (AN_PART_HEAD + (size_t)an_kv_dim(job->head_dim));
    place_queries(job, pairs);
    for (int i = 0; i < n_chunk; i++) one_chunk(job, first + i, parts + (size_t)i * stride, pairs);
}

LANE_FN void run_all(const an_attention_job *job, const bool pairs)
{
    int n_query = job->n_tok * job->n_q, dim = an_kv_dim(job->head_dim);
    an_attention_plan plan = an_attention_plan_for(n_query, job->head_dim);
    float *state = (float *)job->scratch + plan.state, *part = (float *)job->scratch + plan.part;
    size_t stride = AN_PART_HEAD + (size_t)dim;
    int first = seen_from(job, job->pos) / CHUNK, last = (job->pos + job->n_tok - 1) / CHUNK;
    place_queries(job, pairs);
    for (int c = first; c <= last; c++) {
        one_chunk(job, c, c == first ? state : part, pairs);
        for (int i = 0; c > first && i < n_query; i++)
            merge_part(state + (size_t)i * stride, part + (size_t)i * stride, dim);
    }
    for (int i = 0; i < n_query; i++)
        finish(job->out + (size_t)(i / job->n_q) * job->out_stride + (size_t)(i % job->n_q * job->head_dim),
               state + (size_t)i * stride, job->head_dim);
}

static void attention(const an_attention_job *job)
{
    run_all(job, false);
}

static void attention_chunks(const an_attention_job *job, int first, int n_chunk, float *parts)
{
    run_chunks(job, first, n_chunk, parts, false);
}

#if AN_LANES_BF16_PAIRS
static void attention_pairs(const an_attention_job *job)
{
    run_all(job, true);
}

static void attention_chunks_pairs(const an_attention_job *job, int first, int n_chunk, float *parts)
{
    run_chunks(job, first, n_chunk, parts, true);
}
#endif

static void attention_merge(float *out, float *parts, size_t stride, int n_chunk, int head_dim)
{
    for (int c = 1; c < n_chunk; c++) merge_part(parts, parts + (size_t)c * stride, an_kv_dim(head_dim));
    finish(out, parts, head_dim);
}

#endif
