/*
 * Products of weights and activations: sizes of the caller's memory, quantized activations, weights unpacked, and f32
 * products of 16 rows. Those of integers are in matmul_q8.c. All arithmetic is in body/, compiled once per level.
 */
#include "base/error.h"
#include "kernels/act.h"
#include "kernels/matmul.h"
#include "kernels/panels.h"
#include "kernels/table.h"
#include "kernels/wide.h"

#include <string.h>

size_t an_act_bytes(an_compute compute, int n_tok, int n_col)
{
    if (compute == AN_COMPUTE_F32) return 0;
    if (compute == AN_COMPUTE_BF16) {
        size_t few = an_act_bytes(AN_COMPUTE_Q8, n_tok < AN_SMALL_TOKENS ? n_tok : AN_SMALL_TOKENS, n_col);
        size_t many = an_wide_act_bytes(n_tok, n_col);
        return few > many ? few : many;
    }
    int width = an_act_width(n_tok), n_tile = (n_tok + width - 1) / width;
    return (size_t)n_tile * (size_t)width * (size_t)(n_col / 32) * AN_RECORD_BYTES;
}

size_t an_act_super_bytes(an_compute compute, int n_tok, int n_col)
{
    if (compute == AN_COMPUTE_BF16 && n_tok > AN_SMALL_TOKENS) n_tok = AN_SMALL_TOKENS;
    return compute == AN_COMPUTE_F32 ? 0 : an_act_bytes(AN_COMPUTE_Q8, n_tok, n_col);
}

bool an_act_super(const an_weight *w)
{
    an_code_kind kind;
    return an_codes_kind(w, &kind) && an_codes_super(kind);
}

/* Sums of 32 codes of 5 bits must fit 16 bits (act.h). */
bool an_act_tight(const an_weight *w)
{
    return w->dtype == AN_DTYPE_Q5_K;
}

void an_act_quantize(const an_kernels *k, const an_act *a, int tok_begin, int tok_end)
{
    an_act_quantize_columns(k, a, tok_begin, tok_end, 0, a->n_col);
}

void an_act_quantize_columns(const an_kernels *k, const an_act *a, int tok_begin, int tok_end, int col_begin, int col_end)
{
    if (a->compute == AN_COMPUTE_F32 || col_begin >= col_end) return;
    AN_ASSERT(a->n_col % 32 == 0 && col_begin % 32 == 0 && col_end % 32 == 0);
    if (a->compute == AN_COMPUTE_BF16) {
        an_wide_token token = {.n_col = a->n_col, .col_begin = col_begin, .col_end = col_end, .n_tok = a->n_tok,
                               .cols = an_wide_default.cols, .acts = a->q};
        for (token.tok = tok_begin; token.tok < tok_end; token.tok++) {
            token.x = a->f32 + (size_t)token.tok * a->f32_stride;
            k->wide->token(&token);
        }
        return;
    }
    AN_ASSERT(!a->q_super || (a->n_col % AN_SUPER == 0 && col_begin % AN_SUPER == 0 && col_end % AN_SUPER == 0));
    int width = an_act_width(a->n_tok);
    size_t group_bytes = (size_t)width * AN_RECORD_BYTES, tile_bytes = (size_t)(a->n_col / 32) * group_bytes;
    for (int t = tok_begin; t < tok_end; t++) {
        const float *x = a->f32 + (size_t)t * a->f32_stride + col_begin;
        size_t at = (size_t)(t / width) * tile_bytes + (size_t)(col_begin / 32) * group_bytes;
        if (a->q) k->quantize(x, col_end - col_begin, width, t % width, (uint8_t *)a->q + at);
        if (a->q_super) k->quantize_super(x, col_end - col_begin, width, t % width, a->tight, (uint8_t *)a->q_super + at);
    }
}

/* Scratch of the two ways: 16 rows as f32, or quantized ones unpacked. */
size_t an_matmul_scratch_bytes(const an_kernels *k, int n_col_max)
{
    size_t n = (size_t)(n_col_max + 15) & ~(size_t)15;
    size_t f32 = AN_PANEL_ROWS * n * sizeof(float) + 64, q8 = an_matmul_q8_scratch_bytes(n_col_max);
    size_t wide = k->wide ? an_wide_scratch_bytes(&an_wide_default) : 0, most = f32 > q8 ? f32 : q8;
    return most > wide ? most : wide;
}

/* Number `line` of row r of an unpacked panel's scales or minima. */
static void put_number(float *lines, int line, int r, const void *number)
{
    memcpy(lines + line * AN_PANEL_ROWS + r, number, 4);
}

/* Some columns of one row, up to AN_CODES_STEP, as they go into a panel; of a row that is not there, zeros. */
typedef struct row_piece {
    uint8_t codes[AN_CODES_STEP];
    float scales[AN_CODES_STEP / 16], mins[AN_CODES_STEP / 16];
    an_super numbers;
} row_piece;

static void read_row_piece(const an_weight *w, bool super, int64_t row, int col, int n, row_piece *p)
{
    bool panels = w->layout == AN_LAYOUT_PANELS;
    if (super && panels) an_panels_codes_read_super(w, row, col, p->codes, &p->numbers);
    else if (super) an_codes_read_super(w, row, col, p->codes, &p->numbers);
    else if (panels) an_panels_codes_read(w, row, col, n, p->codes, p->scales, p->mins);
    else an_codes_read(w, row, col, n, p->codes, p->scales, p->mins);
}

/* Any type, any number of rows up to 16: through the scalar codes. Columns as for an_unpack_fn. */
static void unpack_generic(const an_kernels *k, const an_weight *w, an_code_kind kind, int64_t row, int n_row,
                           int col_begin, int col_end, const an_panel *panel)
{
    int group = an_codes_group(kind), n_col = col_end - col_begin;
    bool super = an_codes_super(kind);
    uint8_t flip = an_codes_int8(kind) ? k->code_xor : 0;
    for (int r = 0; r < AN_PANEL_ROWS; r++) {
        for (int col = 0; col < n_col; col += AN_CODES_STEP) {
            int n = n_col - col < AN_CODES_STEP ? n_col - col : AN_CODES_STEP, first = col / group;
            row_piece p = {.codes = {0}};
            if (r < n_row) read_row_piece(w, super, row + r, col_begin + col, n, &p);
            for (int i = 0; i < n; i++) p.codes[i] ^= flip;
            for (int i = 0; i < n; i += 4)
                memcpy(panel->codes + (size_t)(col + i) * AN_PANEL_ROWS + 4 * r, p.codes + i, 4);
            for (int g = 0; g < n / group && !super; g++) {
                put_number(panel->scales, first + g, r, &p.scales[g]);
                put_number(panel->mins, first + g, r, &p.mins[g]);
            }
            for (int g = 0; g < n / group / 2 && super; g++) {
                const int16_t *scales = p.numbers.scales + 2 * g, *mins = p.numbers.mins + 2 * g;
                put_number(panel->scales, first + g, r, &(int32_t){an_int16_pair(scales[0], scales[1])});
                put_number(panel->mins, first + g, r, &(int32_t){an_int16_pair(mins[0], mins[1])});
            }
            if (super) {
                put_number(panel->scales, first + n / group / 2, r, &p.numbers.d);
                put_number(panel->mins, first + n / group / 2, r, &p.numbers.dmin);
            }
        }
    }
}

void an_panel_unpack(const an_kernels *k, const an_weight *w, an_code_kind kind, int64_t row, int n_row, int col_begin,
                     int col_end, const an_panel *panel)
{
    bool affine = w->dtype == AN_DTYPE_AFFINE, panels = w->layout == AN_LAYOUT_PANELS;
    an_unpack_fn *unpack = affine ? k->unpack_affine[w->affine.bits] : k->unpack[w->dtype];
    if (panels) unpack = affine ? k->unpack_panels_affine[w->affine.bits] : k->unpack_panels[w->dtype];
    if (unpack && (n_row >= AN_PANEL_ROWS || panels)) unpack(w, row, col_begin, col_end, panel);
    else unpack_generic(k, w, kind, row, n_row, col_begin, col_end, panel);
}

long an_row_grains(int64_t n_row)
{
    return (long)((n_row + AN_ROW_GRAIN - 1) / AN_ROW_GRAIN);
}

void an_row_share_next(an_row_share *share, int64_t n_row, int64_t *from, int64_t *to)
{
    long own = an_row_grains(n_row), base = share->base;
    *from = (share->begin > base ? share->begin - base : 0) * AN_ROW_GRAIN;
    *to = (share->end - base < own ? share->end - base : own) * AN_ROW_GRAIN;
    if (*to > n_row) *to = n_row;
    share->base += own;
}

static const uint8_t *mxfp8_scales(const an_weight *w, int64_t row)
{
    return (const uint8_t *)w->affine.scales + (uint64_t)row * (uint64_t)(w->n_col / w->affine.group);
}

/* One row as f32; float types by the level's own conversion. */
static void row_f32(const an_kernels *k, const an_weight *w, int64_t row, float *dst)
{
    const uint8_t *src = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    if (w->layout == AN_LAYOUT_PANELS) an_panels_row_f32(w, row, dst);
    else if (w->dtype == AN_DTYPE_F16) k->row_f16(dst, src, (int)w->n_col);
    else if (w->dtype == AN_DTYPE_BF16) k->row_bf16(dst, src, (int)w->n_col);
    else if (w->dtype == AN_DTYPE_MXFP8) k->row_mxfp8(dst, src, mxfp8_scales(w, row), (int)w->n_col);
    else an_weight_row_f32(w, row, dst);
}

/* Few tokens are multiplied by weights as they are loaded: is there a way for this type and width? */
static bool taken_as_loaded(const an_weight *w, int n_tok)
{
    enum { FEW = 4 };
    if (w->layout != AN_LAYOUT_ROWS || w->n_col % 32 != 0) return false;
    if (w->dtype == AN_DTYPE_F32) return true;
    return n_tok <= FEW && (w->dtype == AN_DTYPE_F16 || w->dtype == AN_DTYPE_BF16 || w->dtype == AN_DTYPE_MXFP8);
}

static void matmul_f32(const an_kernels *k, const an_weight *w, const an_act *a, float *out, size_t out_stride,
                       int64_t row_begin, int64_t row_end, bool add, float *scratch)
{
    int n_col = (int)w->n_col;
    bool direct = taken_as_loaded(w, a->n_tok);
    an_f32_job job = {.w = scratch, .type = AN_DTYPE_F32, .w_stride = (size_t)n_col * sizeof(float), .x = a->f32,
                      .x_stride = a->f32_stride, .n_col = n_col, .n_tok = a->n_tok, .out_stride = out_stride, .add = add};
    if (direct) {
        job.type = w->dtype;
        job.w_stride = w->row_bytes;
        if (w->dtype == AN_DTYPE_MXFP8) job.scale_stride = (size_t)(n_col / w->affine.group);
    }
    for (int64_t row = row_begin; row < row_end; row += AN_PANEL_ROWS) {
        job.n_row = row_end - row < AN_PANEL_ROWS ? (int)(row_end - row) : AN_PANEL_ROWS;
        job.out = out + row;
        if (direct) {
            job.w = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
            if (w->dtype == AN_DTYPE_MXFP8) job.scales = mxfp8_scales(w, row);
        } else {
            for (int r = 0; r < job.n_row; r++) row_f32(k, w, row + r, scratch + (size_t)r * (size_t)n_col);
        }
        k->f32(&job);
    }
}

void an_matmul_rows(const an_kernels *k, const an_weight *w, const an_act *a, float *out, size_t out_stride,
                    int64_t row_begin, int64_t row_end, bool add, void *scratch)
{
    an_code_kind kind;
    AN_ASSERT(w->n_col == a->n_col && row_begin % AN_ROW_GRAIN == 0);
    if (a->compute == AN_COMPUTE_BF16 && an_wide_takes(w)) {
        an_matmul_wide(k, &an_wide_default, w, a, out, out_stride, row_begin, row_end, add, scratch);
    } else if (a->compute == AN_COMPUTE_Q8 && an_codes_kind(w, &kind)) {
        const void *q = an_codes_super(kind) ? a->q_super : a->q;
        AN_ASSERT(q && (a->tight || !an_act_tight(w)));
        an_fused_fn *fused = w->dtype == AN_DTYPE_AFFINE ? k->fused_affine[w->affine.bits] : k->fused[w->dtype];
        if (w->layout == AN_LAYOUT_PANELS && a->n_tok <= AN_SMALL_TOKENS && fused)
            fused(&(an_fused_job){w, q, a->n_tok, row_begin, row_end, out, out_stride, add});
        else an_matmul_q8(k, &(an_q8_product){w, q, a->n_tok, kind, out, out_stride, row_begin, row_end, add, scratch});
    } else {
        matmul_f32(k, w, a, out, out_stride, row_begin, row_end, add, scratch);
    }
}
