/*
 * Attention of some query heads of some tokens over one KV head: scores, softmax with the maximum subtracted, weighted
 * sum of values. Keys and values are taken in blocks of 16 positions and made f32 once for all queries; a score is
 * summed along head_dim in order, a value along the positions in order, so neither depends on how many queries are
 * served together. Included after a lanes header.
 */
#ifndef AN_BODY_ATTENTION_H
#define AN_BODY_ATTENTION_H

#include "kernels/body/elementwise.h"
#include "kernels/table.h"

/* scores -> probabilities, in place; n numbers. parts, if any: largest scaled score, sum of exponentials. */
static void softmax_row(float *p, int n, float scale, float *parts)
{
    int whole = n & ~15, rest = n - whole;
    vf top = vf_set1(p[0]);
    for (int i = 0; i < whole; i += 16) top = vf_max(top, vf_load(p + i));
    float max = vf_max_all(top);
    for (int i = whole; i < n; i++) max = p[i] > max ? p[i] : max;
    vf s = vf_set1(scale), m = vf_set1(max), sum = vf_zero();
    for (int i = 0; i < whole; i += 16) {
        vf e = vf_exp(vf_mul(vf_sub(vf_load(p + i), m), s));
        vf_store(p + i, e);
        sum = vf_add(sum, e);
    }
    if (rest) {
        vf e = vf_exp(vf_mul(vf_sub(vf_load_n(p + whole, rest), m), s));
        vf_store_n(p + whole, e, rest);
        sum = vf_add(sum, vf_load_n(p + whole, rest));
    }
    float total = vf_sum(sum);
    if (parts) {
        parts[0] = max * scale;
        parts[1] = total;
    }
    vf r = vf_set1(1.0f / total);
    for (int i = 0; i < whole; i += 16) vf_store(p + i, vf_mul(vf_load(p + i), r));
    if (rest) vf_store_n(p + whole, vf_mul(vf_load_n(p + whole, rest), r), rest);
}

/*
 * n <= 16 rows of the cache, transposed: kt [dim][16 positions] as f32, dim = head_dim rounded up to 8. `copy` takes
 * the rows, padded with zeros, where 16 whole vectors of each cannot be read in place.
 */
static void load_keys(an_kv_dtype type, float *kt, const uint8_t *src, size_t stride, int head_dim, int n,
                      uint8_t *copy)
{
    int bytes = head_dim * (type == AN_KV_F16 ? 2 : 4), padded = (bytes + 15) & ~15;
    if (n < 16 || padded != bytes) {
        memset(copy, 0, (size_t)(16 * padded));
        for (int i = 0; i < n; i++) memcpy(copy + i * padded, src + (size_t)i * stride, (size_t)bytes);
        src = copy;
        stride = (size_t)padded;
    }
    for (int at = 0; at < padded; at += 16) {
        vi d[4];
        vi_rows16(src + at, stride, d);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            if (type == AN_KV_F16) {
                vf_store(kt, vf_f16_low(d[j]));
                vf_store(kt + 16, vf_f16_high(d[j]));
                kt += 32;
            } else {
                vf_store(kt, vf_from_bits(d[j]));
                kt += 16;
            }
        }
    }
}

/* Scores of n_q queries for 16 positions. */
LANE_FN void scores_tile(float *p, size_t p_stride, const float *q, const float *kt, int head_dim, const int n_q)
{
    vf acc[AN_LANES_QUERIES];
#pragma GCC unroll 8
    for (int i = 0; i < n_q; i++) acc[i] = vf_zero();
    for (int d = 0; d < head_dim; d++) {
        vf k = vf_load(kt + 16 * d);
#pragma GCC unroll 8
        for (int i = 0; i < n_q; i++) acc[i] = vf_fma(vf_set1(q[i * head_dim + d]), k, acc[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < n_q; i++) vf_store(p + (size_t)i * p_stride, acc[i]);
}

static void scores_block(float *p, size_t p_stride, const float *q, const float *kt, int head_dim, int n_query)
{
    int i = 0;
    for (; i + AN_LANES_QUERIES <= n_query; i += AN_LANES_QUERIES)
        scores_tile(p + (size_t)i * p_stride, p_stride, q + i * head_dim, kt, head_dim, AN_LANES_QUERIES);
    for (; i + 3 <= n_query; i += 3)
        scores_tile(p + (size_t)i * p_stride, p_stride, q + i * head_dim, kt, head_dim, 3);
    for (; i < n_query; i++)
        scores_tile(p + (size_t)i * p_stride, p_stride, q + i * head_dim, kt, head_dim, 1);
}

/* acc[i][16 * n_lane] += probabilities of n positions times their values, for n_q queries. */
LANE_FN void values_tile(float *acc, int dim, const float *p, size_t p_stride, const float *v, int n,
                         const int n_q, const int n_lane)
{
    vf a[4][4];
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) a[i][l] = vf_load(acc + i * dim + 16 * l);
    for (int pos = 0; pos < n; pos++) {
        vf row[4];
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) row[l] = vf_load(v + pos * dim + 16 * l);
#pragma GCC unroll 4
        for (int i = 0; i < n_q; i++) {
            vf w = vf_set1(p[(size_t)i * p_stride + (size_t)pos]);
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) a[i][l] = vf_fma(w, row[l], a[i][l]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) vf_store(acc + i * dim + 16 * l, a[i][l]);
}

static void values_block(float *acc, int dim, const float *p, size_t p_stride, const float *v, int n,
                         int n_query)
{
    enum { LANES = AN_LANES_F32_ROWS };
    for (int i = 0; i < n_query;) {
        int step = n_query - i >= 4 ? 4 : n_query - i == 3 ? 3 : 1, l = 0;
        float *a = acc + i * dim;
        const float *pi = p + (size_t)i * p_stride;
        for (; l + 16 * LANES <= dim; l += 16 * LANES) {
            if (step == 4) values_tile(a + l, dim, pi, p_stride, v + l, n, 4, LANES);
            else if (step == 3) values_tile(a + l, dim, pi, p_stride, v + l, n, 3, LANES);
            else values_tile(a + l, dim, pi, p_stride, v + l, n, 1, LANES);
        }
        for (; l < dim; l += 16) {
            if (step == 4) values_tile(a + l, dim, pi, p_stride, v + l, n, 4, 1);
            else if (step == 3) values_tile(a + l, dim, pi, p_stride, v + l, n, 3, 1);
            else values_tile(a + l, dim, pi, p_stride, v + l, n, 1, 1);
        }
        i += step;
    }
}

/* n rows of the cache as f32 [n][dim], dim = head_dim rounded up to 16, zero behind. */
static void load_values(an_kv_dtype type, float *dst, int dim, const uint8_t *src, size_t stride, int head_dim,
                        int n)
{
    for (int i = 0; i < n; i++, src += stride, dst += dim) {
        if (type == AN_KV_F16) row_f16(dst, src, head_dim);
        else memcpy(dst, src, (size_t)head_dim * 4);
        for (int d = head_dim; d < dim; d++) dst[d] = 0;
    }
}

/* scratch: probabilities [n_query][n_pos rounded up to 16], two blocks [16][dim], sums [n_query][dim]. */
static void attention(const an_attention_job *job)
{
    int dim = (job->head_dim + 15) & ~15, n_query = job->n_tok * job->n_q, n_pos = job->n_pos + job->n_tok - 1;
    size_t p_stride = (size_t)(n_pos + 15) & ~(size_t)15, stride = job->kv_stride_bytes;
    float *p = job->scratch, *rows = p + p_stride * (size_t)n_query, *acc = rows + 32 * dim;
    for (int pos = 0; pos < n_pos; pos += 16) {
        int n = n_pos - pos < 16 ? n_pos - pos : 16;
        load_keys(job->type, rows, (const uint8_t *)job->keys + (size_t)pos * stride, stride, job->head_dim, n,
                  (uint8_t *)(rows + 16 * dim));
        scores_block(p + pos, p_stride, job->q, rows, job->head_dim, n_query);
    }
    for (int i = 0; i < n_query; i++) {
        int tok = i / job->n_q, own = job->n_pos + tok;
        int begin = job->window > 0 && own > job->window ? own - job->window : 0;
        float *row = p + (size_t)i * p_stride;
        softmax_row(row + begin, own - begin, job->scale[tok], job->parts ? job->parts + 2 * i : NULL);
        /* Positions before the window and after the token: weight zero, which changes no bit of a sum. */
        memset(row, 0, (size_t)begin * sizeof *p);
        memset(row + own, 0, (p_stride - (size_t)own) * sizeof *p);
    }
    memset(acc, 0, (size_t)n_query * (size_t)dim * sizeof *acc);
    for (int pos = 0; pos < n_pos; pos += 16) {
        int n = n_pos - pos < 16 ? n_pos - pos : 16;
        load_values(job->type, rows, dim, (const uint8_t *)job->values + (size_t)pos * stride, stride,
                    job->head_dim, n);
        values_block(acc, dim, p + pos, p_stride, rows, n, n_query);
    }
    for (int i = 0; i < n_query; i++)
        memcpy(job->out + (size_t)(i / job->n_q) * job->out_stride + (size_t)(i % job->n_q * job->head_dim),
               acc + (size_t)i * (size_t)dim, (size_t)job->head_dim * sizeof *acc);
}

#endif
