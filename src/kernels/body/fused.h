/*
 * Products of a step of few tokens: panels of weights straight from memory, taken apart in registers, times one
 * tile of 1, 2, 4 or 8 tokens, with nothing in between. And panels unpacked for the products of many tokens. One
 * function of each for every type, made of the blocks of body/panels.h. Included after a lanes header.
 */
#ifndef AN_BODY_FUSED_H
#define AN_BODY_FUSED_H

#include "kernels/body/super_panels.h"
#include "kernels/body/store.h"

/* Sums of one panel and tile to where they belong. */
LANE_FN void fused_store(const an_fused_job *job, const vf *sum, int64_t row, int tok, const int n_tok)
{
    int n_row = job->row_end - row < AN_PANEL_ROWS ? (int)(job->row_end - row) : AN_PANEL_ROWS;
#pragma GCC unroll 8
    for (int t = 0; t < n_tok; t++) {
        if (tok + t >= job->n_tok) break;
        float *out = job->out + (size_t)(tok + t) * job->out_stride + row;
        store_rows(out, sum[t], n_row, job->add);
    }
}

#define FUSED_TILE(name, N)                                                                                            \
    static __attribute__((noinline)) void fused_##name##_##N(const an_fused_job *job, const uint8_t *panel,            \
                                                             int64_t row, int tile)                                    \
    {                                                                                                                  \
        const panel_shape s = shape_##name(job->w);                                                                    \
        vf sum[N];                                                                                                     \
        for (int t = 0; t < N; t++) sum[t] = vf_zero();                                                                \
        int n_block = (int)job->w->n_col / s.elems;                                                                    \
        size_t tile_bytes = (size_t)(job->w->n_col / 32 * N * AN_RECORD_BYTES);                                        \
        panel_out o = {.sum = sum, .record = job->records + (size_t)tile * tile_bytes};                                \
        panel_block block = {.w = job->w};                                                                             \
        for (int b = 0; b < n_block; b++) {                                                                            \
            panel_block_next(&block, panel, s, b, false);                                                              \
            block_##name(&o, &block, N);                                                                               \
        }                                                                                                              \
        fused_store(job, sum, row, tile * N, N);                                                                       \
    }

#define FUSED(name, shape_expr)                                                                                        \
    LANE_FN panel_shape shape_##name(const an_weight *w)                                                               \
    {                                                                                                                  \
        (void)w;                                                                                                       \
        return shape_expr;                                                                                             \
    }                                                                                                                  \
    FUSED_TILE(name, 1)                                                                                                \
    FUSED_TILE(name, 2)                                                                                                \
    FUSED_TILE(name, 4)                                                                                                \
    FUSED_TILE(name, 8)                                                                                                \
    static void fused_##name(const an_fused_job *job)                                                                  \
    {                                                                                                                  \
        size_t bytes = panel_bytes(job->w, shape_##name(job->w));                                                      \
        const uint8_t *panel = (const uint8_t *)job->w->data + (size_t)(job->row_begin / AN_PANEL_ROWS) * bytes;       \
        int width = an_act_width(job->n_tok), n_tile = (job->n_tok + width - 1) / width;                               \
        for (int64_t row = job->row_begin; row < job->row_end; row += AN_PANEL_ROWS, panel += bytes)                   \
            for (int tile = 0; tile < n_tile; tile++) {                                                                \
                if (width == 1) fused_##name##_1(job, panel, row, tile);                                               \
                else if (width == 2) fused_##name##_2(job, panel, row, tile);                                          \
                else if (width == 4) fused_##name##_4(job, panel, row, tile);                                          \
                else fused_##name##_8(job, panel, row, tile);                                                          \
            }                                                                                                          \
    }                                                                                                                  \
    static void panels_##name(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *to)         \
    {                                                                                                                  \
        const panel_shape s = shape_##name(w);                                                                         \
        const uint8_t *panel = (const uint8_t *)w->data + (size_t)(row / AN_PANEL_ROWS) * panel_bytes(w, s);           \
        panel_out o = {.codes = to->codes, .scales = to->scales, .mins = to->mins};                                    \
        panel_block block = {.w = w};                                                                                  \
        for (int b = col_begin / s.elems; b < col_end / s.elems; b++) {                                                \
            panel_block_next(&block, panel, s, b, b == col_begin / s.elems);                                           \
            block_##name(&o, &block, 0);                                                                               \
        }                                                                                                              \
    }

FUSED(q4_0, ((panel_shape){32, 1, 4, false}))
FUSED(q4_1, ((panel_shape){32, 0, 5, false}))
FUSED(q5_0, ((panel_shape){32, 1, 5, false}))
FUSED(q5_1, ((panel_shape){32, 0, 6, false}))
FUSED(q8_0, ((panel_shape){32, 1, 8, false}))
FUSED(q2_k, ((panel_shape){256, 0, 21, false}))
FUSED(q3_k, ((panel_shape){256, 1, 27, false}))
FUSED(q4_k, ((panel_shape){256, 0, 36, false}))
FUSED(q5_k, ((panel_shape){256, 0, 44, false}))
FUSED(q6_k, ((panel_shape){256, 1, 52, false}))
FUSED(iq4_nl, ((panel_shape){32, 1, 4, false}))
FUSED(iq4_xs, ((panel_shape){256, 0, 34, false}))
FUSED(affine2, affine_shape(w, 2))
FUSED(affine3, affine_shape(w, 3))
FUSED(affine4, affine_shape(w, 4))
FUSED(affine5, affine_shape(w, 5))
FUSED(affine6, affine_shape(w, 6))
FUSED(affine8, affine_shape(w, 8))

/* For an_panels_write: what unpacking gave, in its place among the lines. */
static void pack_codes(const uint8_t *codes, int bits, int shift, uint8_t *lines)
{
    vi to[8], zero = vi_set1(0);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) to[i] = zero;
    for (const an_pack *p = an_packs[bits]; p < an_packs[bits] + AN_PACKS && p->n; p++) {
        vi code = vi_shr(vi_load(codes + 64 * p->k), shift + p->from);
        to[p->dword] = vi_or(to[p->dword], vi_shl(vi_and(code, SPREAD((1u << p->n) - 1)), p->to));
    }
    for (int i = 0; i < bits; i++) vi_store(lines + 64 * i, to[i]);
}

static void interleave(const uint8_t *p, size_t stride, int n_dword, uint8_t *lines)
{
    int i = 0;
    for (; i + 4 <= n_dword; i += 4) {
        vi v[4];
        vi_rows16(p + 4 * i, stride, v);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) vi_store(lines + 64 * (i + j), v[j]);
    }
    for (; i < n_dword; i++) vi_store(lines + 64 * i, vi_gather(p + 4 * i, stride));
}

#endif
