/* Checks of weights in panels: written and read back without a changed bit, and products equal to those of rows. */
#include "kernels/kcheck.h"

#include "kernels/panels.h"
#include "quant/codes.h"

#include <stdlib.h>
#include <string.h>

/* Widths with odd and even numbers of blocks and groups, ends inside a step of 256 columns, and several of them. */
static int panel_col(const kcheck_op *op, int i)
{
    static const int blocks32[] = {1, 2, 3, 9, 18, 31}, blocks256[] = {1, 2, 3, 4, 5, 6};
    int unit = op->type == AN_DTYPE_AFFINE ? op->affine.group : an_dtype_get(op->type)->block_elems;
    /* Four-bit floats have panels of 64 columns. */
    if (unit < 64 && (op->type == AN_DTYPE_GGML_MXFP4 || an_dtype_is_fp_mode(op->type))) unit = 64;
    return unit == 256 ? 256 * blocks256[i] : blocks32[i] * unit;
}
enum { N_COL = 6 };

/* A weight and its panels, which end at an inaccessible page; written in three parts, the last one first. */
typedef struct panels_pair {
    test_weight rows;
    guarded bytes;
    an_weight view;
} panels_pair;

static panels_pair pair_make(kcheck *c, const kcheck_op *op, int64_t n_row, int n_col, int style)
{
    panels_pair p = {.rows = weight_make(c, op->type, op->affine, n_row, n_col, style, style & 1)};
    const an_weight *w = &p.rows.w;
    p.bytes = guarded_alloc((size_t)an_panels_bytes(w), false);
    memset(p.bytes.p, 0xA5, p.bytes.n);
    int64_t n_panel = (n_row + 15) / 16, a = n_panel / 3 * 16, b = 2 * n_panel / 3 * 16;
    an_panels_write(c->k, w, p.bytes.p, b, n_row);
    an_panels_write(c->k, w, p.bytes.p, 0, a);
    an_panels_write(c->k, w, p.bytes.p, a, b);
    p.view = an_panels_view(w, p.bytes.p);
    return p;
}

static void pair_free(panels_pair *p)
{
    guarded_free(&p->bytes);
    weight_free(&p->rows);
}

/* Codes, scales and values read from panels are those of the rows. */
static void compare_codes(kcheck *c, const panels_pair *p)
{
    const an_weight *w = &p->rows.w;
    int n_col = (int)w->n_col;
    float *want = malloc((size_t)n_col * 4), *got = malloc((size_t)n_col * 4);
    for (int64_t row = 0; row < w->n_row; row++) {
        an_weight_row_f32(w, row, want);
        an_panels_row_f32(&p->view, row, got);
        if (memcmp(want, got, (size_t)n_col * 4)) kcheck_fail(c, "row %d of %d columns differs", (int)row, n_col);
        for (int col = 0; col < n_col; col += AN_CODES_STEP) {
            int n = n_col - col < AN_CODES_STEP ? n_col - col : AN_CODES_STEP;
            uint8_t codes[2][AN_CODES_STEP] = {{0}};
            float scales[2][16] = {{0}}, mins[2][16] = {{0}};
            an_codes_read(w, row, col, n, codes[0], scales[0], mins[0]);
            an_panels_codes_read(&p->view, row, col, n, codes[1], scales[1], mins[1]);
            if (memcmp(codes[0], codes[1], sizeof codes[0]) || memcmp(scales[0], scales[1], sizeof scales[0]) ||
                memcmp(mins[0], mins[1], sizeof mins[0]))
                kcheck_fail(c, "codes of row %d, columns from %d of %d differ", (int)row, col, n_col);
        }
    }
    free(want);
    free(got);
}

/*
 * The plain way of writing, which a panel of fewer than sixteen rows takes, gives the same lines, down to the
 * padding.
 */
static void compare_plain(kcheck *c, const panels_pair *p)
{
    an_kernels plain = *c->k;
    memset(plain.unpack, 0, sizeof plain.unpack);
    memset(plain.unpack_affine, 0, sizeof plain.unpack_affine);
    uint8_t *want = malloc(p->bytes.n);
    memset(want, 0x5A, p->bytes.n);
    an_panels_write(&plain, &p->rows.w, want, 0, p->rows.w.n_row);
    if (memcmp(want, p->bytes.p, p->bytes.n)) kcheck_fail(c, "lines differ from those of the plain way");
    free(want);
}

void check_panels(kcheck *c, const kcheck_op *op)
{
    static const int rows[] = {16, 1, 17, 32, 53, 75};
    for (int i = 0; i < N_COL; i++) {
        panels_pair p = pair_make(c, op, rows[i], panel_col(op, i), i % N_STYLE);
        uint64_t per_panel = an_panels_bytes(&p.rows.w) / (uint64_t)((rows[i] + 15) / 16);
        if (p.bytes.n % 64 || an_panels_offset(&p.view, 16) != per_panel || an_panels_bytes(&p.view) != p.bytes.n)
            kcheck_fail(c, "%zu bytes for %d rows of %d columns", p.bytes.n, rows[i], (int)p.rows.w.n_col);
        uint64_t padded = (uint64_t)((rows[i] + 15) / 16 * 16);
        uint64_t most = an_weight_bytes(&p.rows.w) / (uint64_t)rows[i] * padded + 4 * padded;
        if (p.bytes.n > most) kcheck_fail(c, "%zu bytes, %llu would do", p.bytes.n, (unsigned long long)most);
        compare_codes(c, &p);
        compare_plain(c, &p);
        pair_free(&p);
    }
}

/* Products of panels equal those of rows bit for bit: any number of tokens, any split of rows, added or not. */
void check_fused(kcheck *c, const kcheck_op *op)
{
    enum { N_ROW = 53 };
    for (int n_tok = 1; n_tok <= 29; n_tok += n_tok < 17 ? 1 : 12) {
        int n_col = panel_col(op, n_tok % N_COL);
        panels_pair p = pair_make(c, op, N_ROW, n_col, n_tok % N_STYLE);
        test_act t = act_make(c, AN_COMPUTE_Q8, &p.rows.w, n_tok, n_tok % 4);
        guarded scratch = guarded_alloc(an_matmul_scratch_bytes(c->k, n_col), true);
        size_t bytes = (size_t)n_tok * N_ROW * 4;
        guarded got = guarded_alloc(bytes, n_tok & 1);
        float *want = malloc(bytes);
        for (size_t i = 0; i < bytes / 4; i++) want[i] = ((float *)got.p)[i] = 7;
        bool add = n_tok & 2;
        an_matmul_rows(c->k, &p.rows.w, &t.a, want, N_ROW, 0, N_ROW, add, scratch.p);
        an_matmul_rows(c->k, &p.view, &t.a, got.p, N_ROW, 48, N_ROW, add, scratch.p);
        an_matmul_rows(c->k, &p.view, &t.a, got.p, N_ROW, 0, 16, add, scratch.p);
        an_matmul_rows(c->k, &p.view, &t.a, got.p, N_ROW, 16, 43, add, scratch.p);
        for (int tok = 0; tok < n_tok; tok++)
            for (int r = 43; r < 48; r++)
                if (((float *)got.p)[tok * N_ROW + r] != 7) kcheck_fail(c, "wrote behind row 43 of token %d", tok);
        an_matmul_rows(c->k, &p.view, &t.a, got.p, N_ROW, 32, 48, false, scratch.p);
        for (size_t i = 0; i < bytes / 4; i++)
            if (add && i % N_ROW >= 32 && i % N_ROW < 48) ((float *)got.p)[i] += 7;
        if (memcmp(want, got.p, bytes)) kcheck_fail(c, "%d tokens, %d columns: differs from rows", n_tok, n_col);
        free(want);
        guarded_free(&got);
        guarded_free(&scratch);
        act_free(&t);
        pair_free(&p);
    }
}
