/*
 * Attention of some query heads over one KV head: scores, softmax with the maximum subtracted, weighted sum of
 * values. Keys and values are taken in blocks of 16 positions, made f32 once for all heads; sums run over
 * positions in order. Included after a lanes header.
 */
#ifndef AN_BODY_ATTENTION_H
#define AN_BODY_ATTENTION_H

#include "kernels/body/elementwise.h"
#include "kernels/body/matmul_f32.h"

/* scores -> probabilities, in place; n numbers. */
static void softmax_row(float *p, int n, float scale)
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
    vf r = vf_set1(1.0f / vf_sum(sum));
    for (int i = 0; i < whole; i += 16) vf_store(p + i, vf_mul(vf_load(p + i), r));
    if (rest) vf_store_n(p + whole, vf_mul(vf_load_n(p + whole, rest), r), rest);
}

/* acc[h][16 * n_lane] += probabilities of n positions times their values, for n_head heads. */
LANE_FN void values_tile(float *acc, int dim, const float *p, size_t p_stride, const float *v, int n,
                         const int n_head, const int n_lane)
{
    vf a[4][4];
#pragma GCC unroll 4
    for (int h = 0; h < n_head; h++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) a[h][l] = vf_load(acc + h * dim + 16 * l);
    for (int i = 0; i < n; i++) {
        vf row[4];
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) row[l] = vf_load(v + i * dim + 16 * l);
#pragma GCC unroll 4
        for (int h = 0; h < n_head; h++) {
            vf w = vf_set1(p[(size_t)h * p_stride + (size_t)i]);
#pragma GCC unroll 4
            for (int l = 0; l < n_lane; l++) a[h][l] = vf_fma(w, row[l], a[h][l]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_head; h++)
#pragma GCC unroll 4
        for (int l = 0; l < n_lane; l++) vf_store(acc + h * dim + 16 * l, a[h][l]);
}

static void values_block(float *acc, int dim, const float *p, size_t p_stride, const float *v, int n, int n_q)
{
    enum { LANES = AN_LANES_F32_ROWS };
    int h = 0;
    for (; h < n_q; h += h + 4 <= n_q ? 4 : 1) {
        int four = h + 4 <= n_q, l = 0;
        float *a = acc + h * dim;
        const float *ph = p + (size_t)h * p_stride;
        for (; l + 16 * LANES <= dim; l += 16 * LANES) {
            if (four) values_tile(a + l, dim, ph, p_stride, v + l, n, 4, LANES);
            else values_tile(a + l, dim, ph, p_stride, v + l, n, 1, LANES);
        }
        for (; l < dim; l += 16) {
            if (four) values_tile(a + l, dim, ph, p_stride, v + l, n, 4, 1);
            else values_tile(a + l, dim, ph, p_stride, v + l, n, 1, 1);
        }
    }
}

/* n rows of the cache as f32 [n][dim], dim = head_dim rounded up to 16, zero behind. */
static void load_rows(an_kv_dtype type, float *dst, int dim, const uint8_t *src, size_t stride, int head_dim,
                      int n)
{
    for (int i = 0; i < n; i++, src += stride, dst += dim) {
        if (type == AN_KV_F16) row_f16(dst, src, head_dim);
        else memcpy(dst, src, (size_t)head_dim * 4);
        for (int d = head_dim; d < dim; d++) dst[d] = 0;
    }
}

/* scratch: probabilities [n_q][n_pos rounded up to 16], one block of rows [16][dim], sums [n_q][dim]. */
static void attention(an_kv_dtype type, float *out, const float *q, const void *keys, const void *values,
                      size_t kv_stride_bytes, int n_q, int head_dim, int n_pos, float scale, void *scratch)
{
    int dim = (head_dim + 15) & ~15;
    size_t p_stride = (size_t)(n_pos + 15) & ~(size_t)15;
    float *p = scratch, *rows = p + p_stride * (size_t)n_q, *acc = rows + 16 * dim;
    for (int pos = 0; pos < n_pos; pos += 16) {
        int n = n_pos - pos < 16 ? n_pos - pos : 16;
        load_rows(type, rows, dim, (const uint8_t *)keys + (size_t)pos * kv_stride_bytes, kv_stride_bytes,
                  head_dim, n);
        an_f32_job job = {.w = rows, .w_stride = (size_t)dim, .x = q, .x_stride = (size_t)head_dim,
                          .n_col = head_dim, .n_tok = n_q, .n_row = n, .out = p + pos, .out_stride = p_stride};
        f32_rows(&job);
    }
    for (int h = 0; h < n_q; h++) softmax_row(p + (size_t)h * p_stride, n_pos, scale);
    memset(acc, 0, (size_t)n_q * (size_t)dim * 4);
    for (int pos = 0; pos < n_pos; pos += 16) {
        int n = n_pos - pos < 16 ? n_pos - pos : 16;
        load_rows(type, rows, dim, (const uint8_t *)values + (size_t)pos * kv_stride_bytes, kv_stride_bytes,
                  head_dim, n);
        values_block(acc, dim, p + pos, p_stride, rows, n, n_q);
    }
    for (int h = 0; h < n_q; h++)
        memcpy(out + (size_t)h * (size_t)head_dim, acc + (size_t)h * (size_t)dim, (size_t)head_dim * 4);
}

#endif
