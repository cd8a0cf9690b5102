/*
 * f32 products: rows of weights times tokens, sixteen lanes along the columns, one accumulator for each (row,
 * token), so that a result never depends on the tile it was computed in. Weights are f32, or become f32 as they are loaded: the
 * same numbers, so the same bits. Included after a lanes header.
 */
#ifndef AN_BODY_MATMUL_F32_H
#define AN_BODY_MATMUL_F32_H

#include "kernels/table.h"
#include "quant/dequant.h"

#include <math.h>

/* E4M3 numbers (bytes as int8) divided by 2^120: a byte's seven bits are those of such a float, its sign is in all bits above. */
LANE_FN vf e4m3_scaled(vi byte)
{
    vf v = vf_from_bits(vi_and(vi_shl(byte, 20), vi_set1((int32_t)0x87F00000)));
    return vf_blend(vf_eq(vf_abs(v), vf_set1(480 * 0x1p-120f)), vf_set1(NAN), v);
}

/* E4M3 numbers times their group's scale, whose E8M0 byte is `scale`. */
LANE_FN vf fp8_value(vi code, uint8_t scale)
{
    vf v = e4m3_scaled(code);
    uint32_t most = scale < 134 ? scale : 134; /* the rest would leave the range of a float's exponent */
    v = vf_mul(v, vf_from_bits(vi_set1((int32_t)((most + 120) << 23))));
    return scale > 134 ? vf_mul(v, vf_set1(scale == 255 ? NAN : an_f32_from_e8m0((uint8_t)(scale - 7)))) : v;
}

/* Sixteen weights of row `row` from column c on; type is a constant. */
LANE_FN vf f32_weights(const an_f32_job *job, int row, int c, const an_dtype type)
{
    const uint8_t *w = (const uint8_t *)job->w + (size_t)row * job->w_stride;
    if (type == AN_DTYPE_F16) return vf_load_f16(w + 2 * c);
    if (type == AN_DTYPE_BF16) return vf_load_bf16(w + 2 * c);
    if (type == AN_DTYPE_F32) return vf_load(w + 4 * c);
    return fp8_value(vi_load_int8(w + c), job->scales[(size_t)row * job->scale_stride + (size_t)(c / 32)]);
}

LANE_FN void f32_tile(const an_f32_job *job, int row, int tok, const int n_row, const int n_tok, const an_dtype type)
{
    vf acc[AN_LANES_F32_ROWS][AN_LANES_F32_TOKENS];
    const float *x = job->x + (size_t)tok * job->x_stride;
    for (int r = 0; r < n_row; r++)
        for (int t = 0; t < n_tok; t++) acc[r][t] = vf_zero();
    int whole = job->n_col & ~15, rest = job->n_col - whole;
    for (int c = 0; c < whole; c += 16) {
        vf wv[AN_LANES_F32_ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < n_row; r++) wv[r] = f32_weights(job, row + r, c, type);
#pragma GCC unroll 8
        for (int t = 0; t < n_tok; t++) {
            vf xv = vf_load(x + (size_t)t * job->x_stride + c);
#pragma GCC unroll 8
            for (int r = 0; r < n_row; r++) acc[r][t] = vf_fma(wv[r], xv, acc[r][t]);
        }
    }
    if (type == AN_DTYPE_F32 && rest) {
        const float *w = (const float *)((const uint8_t *)job->w + (size_t)row * job->w_stride);
        size_t stride = job->w_stride / sizeof *w;
#pragma GCC unroll 8
        for (int t = 0; t < n_tok; t++) {
            vf xv = vf_load_n(x + (size_t)t * job->x_stride + whole, rest);
#pragma GCC unroll 8
            for (int r = 0; r < n_row; r++) {
                vf wv = vf_load_n(w + (size_t)r * stride + whole, rest);
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

LANE_FN void f32_rows_of(const an_f32_job *job, const an_dtype type)
{
    int tok = 0;
    for (; tok + AN_LANES_F32_TOKENS <= job->n_tok; tok += AN_LANES_F32_TOKENS) {
        int row = 0;
        for (; row + AN_LANES_F32_ROWS <= job->n_row; row += AN_LANES_F32_ROWS)
            f32_tile(job, row, tok, AN_LANES_F32_ROWS, AN_LANES_F32_TOKENS, type);
        for (; row < job->n_row; row++) f32_tile(job, row, tok, 1, AN_LANES_F32_TOKENS, type);
    }
    for (; tok < job->n_tok; tok++) {
        int row = 0;
        for (; row + AN_LANES_F32_ROWS <= job->n_row; row += AN_LANES_F32_ROWS)
            f32_tile(job, row, tok, AN_LANES_F32_ROWS, 1, type);
        for (; row < job->n_row; row++) f32_tile(job, row, tok, 1, 1, type);
    }
}

static void f32_rows(const an_f32_job *job)
{
    switch (job->type) {
    case AN_DTYPE_F16: f32_rows_of(job, AN_DTYPE_F16); return;
    case AN_DTYPE_BF16: f32_rows_of(job, AN_DTYPE_BF16); return;
    case AN_DTYPE_MXFP8: f32_rows_of(job, AN_DTYPE_MXFP8); return;
    default: f32_rows_of(job, AN_DTYPE_F32);
    }
}

/* A row of MXFP8, n_col of its codes. */
static void row_mxfp8(float *dst, const uint8_t *codes, const uint8_t *scales, int n_col)
{
    for (int c = 0; c < n_col; c += 16) vf_store(dst + c, fp8_value(vi_load_int8(codes + c), scales[c / 32]));
}

#endif
