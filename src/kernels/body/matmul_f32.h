/*
 * f32 products: rows of weights times tokens, sixteen lanes along the columns, one accumulator for each (row,
 * token), so that a result never depends on the tile it was computed in. Included after a lanes header.
 */
#ifndef AN_BODY_MATMUL_F32_H
#define AN_BODY_MATMUL_F32_H

#include "kernels/table.h"

LANE_FN void f32_tile(const an_f32_job *job, int row, int tok, const int n_row, const int n_tok)
{
    vf acc[AN_LANES_F32_ROWS][AN_LANES_F32_TOKENS];
    const float *w = job->w + (size_t)row * job->w_stride, *x = job->x + (size_t)tok * job->x_stride;
    for (int r = 0; r < n_row; r++)
        for (int t = 0; t < n_tok; t++) acc[r][t] = vf_zero();
    int whole = job->n_col & ~15, rest = job->n_col - whole;
    for (int c = 0; c < whole; c += 16) {
        vf wv[AN_LANES_F32_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < n_row; r++) wv[r] = vf_load(w + (size_t)r * job->w_stride + c);
#pragma GCC unroll 8
        for (int t = 0; t < n_tok; t++) {
            vf xv = vf_load(x + (size_t)t * job->x_stride + c);
#pragma GCC unroll 8
            for (int r = 0; r < n_row; r++) acc[r][t] = vf_fma(wv[r], xv, acc[r][t]);
        }
    }
    if (rest) {
#pragma GCC unroll 8
        for (int t = 0; t < n_tok; t++) {
            vf xv = vf_load_n(x + (size_t)t * job->x_stride + whole, rest);
#pragma GCC unroll 8
            for (int r = 0; r < n_row; r++) {
                vf wv = vf_load_n(w + (size_t)r * job->w_stride + whole, rest);
                acc[r][t] = vf_fma(wv, xv, acc[r][t]);
            }
        }
    }
#pragma GCC unroll 8
    for (int t = 0; t < n_tok; t++) {
        float *out = job->out + (size_t)(tok + t) * job->out_stride + row;
#pragma GCC unroll 8
        for (int r = 0; r < n_row; r++) {
            float sum = vf_sum(acc[r][t]);
            out[r] = job->add ? out[r] + sum : sum;
        }
    }
}

static void f32_rows(const an_f32_job *job)
{
    int tok = 0;
    for (; tok + AN_LANES_F32_TOKENS <= job->n_tok; tok += AN_LANES_F32_TOKENS) {
        int row = 0;
        for (; row + AN_LANES_F32_ROWS <= job->n_row; row += AN_LANES_F32_ROWS)
            f32_tile(job, row, tok, AN_LANES_F32_ROWS, AN_LANES_F32_TOKENS);
        for (; row < job->n_row; row++) f32_tile(job, row, tok, 1, AN_LANES_F32_TOKENS);
    }
    for (; tok < job->n_tok; tok++) {
        int row = 0;
        for (; row + AN_LANES_F32_ROWS <= job->n_row; row += AN_LANES_F32_ROWS)
            f32_tile(job, row, tok, AN_LANES_F32_ROWS, 1);
        for (; row < job->n_row; row++) f32_tile(job, row, tok, 1, 1);
    }
}

#endif
