/*
 * Checks of products by matrix tiles: against double precision over weights and activations rounded to bf16, against the
 * weights' true values within bf16's own error, and bit for bit over splits of rows and tokens and sizes of blocks.
 */
#include "kernels/kcheck.h"

#include "kernels/panels.h"
#include "kernels/peak.h"
#include "kernels/wide.h"
#include "quant/codes.h"
#include "quant/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Activations as tiles want them, in exact memory. */
typedef struct wide_act {
    an_act a;
    guarded x, q;
} wide_act;

/* In two parts of columns. */
static void wide_act_fill(kcheck *c, wide_act *t, int cols)
{
    for (int tok = 0; tok < t->a.n_tok; tok++) {
        an_wide_token token = {.x = t->a.f32 + (size_t)tok * t->a.f32_stride, .n_col = t->a.n_col, .tok = tok,
                               .n_tok = t->a.n_tok, .cols = cols, .acts = t->q.p};
        token.col_end = t->a.n_col / 3 / 32 * 32;
        c->k->wide->token(&token);
        token.col_begin = token.col_end;
        token.col_end = t->a.n_col;
        c->k->wide->token(&token);
    }
}

static wide_act wide_act_make(kcheck *c, int n_tok, int n_col, int cols, int style, bool at_start)
{
    wide_act t = {.a = {.compute = AN_COMPUTE_BF16, .n_tok = n_tok, .n_col = n_col, .f32_stride = (size_t)n_col}};
    t.x = guarded_alloc((size_t)n_tok * (size_t)n_col * 4, at_start);
    t.q = guarded_alloc(an_wide_act_bytes(n_tok, n_col), at_start);
    /* Tokens that only fill a tile are never looked at: NaN would be seen. */
    memset(t.q.p, 0xFF, t.q.n);
    fill_floats(c, t.x.p, (size_t)n_tok * (size_t)n_col, style);
    t.a.f32 = t.x.p;
    t.a.q = t.q.p;
    wide_act_fill(c, &t, cols);
    return t;
}

static void wide_act_free(wide_act *t)
{
    guarded_free(&t->x);
    guarded_free(&t->q);
}

/* One weight: its true value, what rounding to bf16 makes of it, and by how much that may differ from what the kernel has. */
typedef struct wide_value {
    double exact, rounded, slack;
} wide_value;

static float to_bf16(double x)
{
    return an_f32_from_bf16(an_bf16_from_f32((float)x));
}

/* A row's values; `terms` of code * scale + min that cancel may round to the neighbour. */
static void wide_row(const an_weight *w, int64_t row, wide_value *v)
{
    an_code_kind kind;
    int n_col = (int)w->n_col;
    if (!an_codes_kind(w, &kind)) {
        float *f = malloc((size_t)n_col * 4);
        an_weight_row_f32(w, row, f);
        for (int i = 0; i < n_col; i++) v[i] = (wide_value){(double)f[i], (double)f[i], 0};
        free(f);
        return;
    }
    int group = an_codes_group(kind);
    for (int col = 0; col < n_col; col += AN_CODES_STEP) {
        uint8_t codes[AN_CODES_STEP];
        float scales[16], mins[16];
        int n = n_col - col < AN_CODES_STEP ? n_col - col : AN_CODES_STEP;
        an_codes_read(w, row, col, n, codes, scales, mins);
        for (int i = 0; i < n; i++) {
            double code = an_codes_int8(kind) ? (int8_t)codes[i] : codes[i] - an_codes_offset(kind);
            double s = (double)scales[i / group], m = (double)mins[i / group], x = code * s + m;
            double ulps = (fabs(code * s) + fabs(m) + 128 * fabs(s)) * 0x1p-22;
            double low = (double)to_bf16(x - ulps), high = (double)to_bf16(x + ulps);
            v[col + i] = (wide_value){x, (double)to_bf16(x), high - low};
        }
    }
}

static void wide_compare(kcheck *c, const an_weight *w, const an_act *a, const float *out, size_t stride, bool add)
{
    int n_col = a->n_col;
    wide_value *v = malloc((size_t)n_col * sizeof *v);
    for (int64_t r = 0; r < w->n_row; r++) {
        wide_row(w, r, v);
        for (int tok = 0; tok < a->n_tok; tok++) {
            double sum = 0, exact = 0, slack = 0, terms = 0, base = add ? 7 : 0;
            for (int i = 0; i < n_col; i++) {
                double x = (double)a->f32[(size_t)tok * a->f32_stride + (size_t)i], b = (double)to_bf16(x);
                sum += v[i].rounded * b;
                exact += v[i].exact * x;
                slack += v[i].slack * fabs(b);
                terms += fabs(v[i].rounded * b);
            }
            double got = (double)out[(size_t)tok * stride + (size_t)r];
            /* Sixteen multiply-adds and two additions for each 32 columns, one addition for every step before. */
            double bound = (n_col / 32 + 20) * 0x1p-24 * (terms + base) + slack + 1e-33;
            long at = (long)((size_t)tok * stride) + r;
            if (!kcheck_near(c, "sum", at, got, sum + base, bound)) break;
            /* Each factor is off by at most 2^-8 of itself. */
            kcheck_near(c, "sum by true values", at, got, exact + base, bound + 0x1.03p-7 * terms);
        }
    }
    free(v);
}

static void matmul_wide_once(kcheck *c, const test_weight *w, const an_wide_blocks *blocks, int n_tok, int style, bool add)
{
    int n_row = (int)w->w.n_row, n_col = (int)w->w.n_col;
    wide_act t = wide_act_make(c, n_tok, n_col, blocks->cols, style, add);
    guarded scratch = guarded_alloc(an_wide_scratch_bytes(blocks), add);
    memset(scratch.p, 0xFF, scratch.n);
    size_t stride = (size_t)n_row + 3;
    guarded out = guarded_alloc(((size_t)(n_tok - 1) * stride + (size_t)n_row) * 4, !add);
    float *o = out.p;
    for (size_t i = 0; i < out.n / 4; i++) o[i] = 7;
    an_matmul_wide(c->k, blocks, &w->w, &t.a, o, stride, 0, n_row, add, scratch.p);
    wide_compare(c, &w->w, &t.a, o, stride, add);
    for (int tok = 0; tok + 1 < n_tok; tok++)
        for (int i = 0; i < 3; i++)
            if (o[(size_t)tok * stride + (size_t)n_row + (size_t)i] != 7)
                kcheck_fail(c, "wrote behind row %d of token %d", n_row, tok);
    guarded_free(&out);
    guarded_free(&scratch);
    wide_act_free(&t);
}

static const an_wide_blocks small_blocks = {.cols = 256, .rows = 32, .tokens = 32, .prefetch = true};

void check_matmul_wide(kcheck *c, const kcheck_op *op)
{
    static const an_wide_blocks tall = {.cols = 512, .rows = 64, .tokens = 64, .prefetch = false};
    static const struct {
        int n_tok, n_row, col, style;
        const an_wide_blocks *blocks;
    } cases[] = {
        {1, 16, 0, 0, &an_wide_default}, {17, 21, 3, 1, &an_wide_default}, {32, 33, 2, 2, &small_blocks},
        {40, 48, 1, 3, &small_blocks},   {33, 75, 4, 0, &small_blocks},    {70, 70, 1, 4, &tall},
        {16, 32, 4, 0, &tall},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        int n_col = kcheck_columns(op, cases[i].col);
        test_weight w = weight_make(c, op->type, op->affine, cases[i].n_row, n_col, (int)i % N_STYLE, i & 1);
        matmul_wide_once(c, &w, cases[i].blocks, cases[i].n_tok, cases[i].style, i & 1);
        weight_free(&w);
    }
}

/* A table whose products stop one step early, for the self-test. */
static const an_wide *whole;
static void short_product(const an_wide_product *job)
{
    an_wide_product less = *job;
    less.n_step--;
    whole->product(&less);
}

void check_wide_broken(kcheck *c, bool broken)
{
    an_wide wide = *c->k->wide;
    an_kernels table = *c->k;
    const an_kernels *kept = c->k;
    whole = c->k->wide;
    if (broken) wide.product = short_product;
    table.wide = &wide;
    c->k = &table;
    test_weight w = weight_make(c, AN_DTYPE_Q4_0, (an_affine){0}, 48, 576, 0, false);
    matmul_wide_once(c, &w, &small_blocks, 17, 0, false);
    weight_free(&w);
    c->k = kept;
}

/* Rows in parts, tokens alone, weights in panels, and other blocks: the same bits, by the public functions where they take it. */
void check_wide_invariance(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const struct {
        an_dtype type;
        an_affine affine;
    } types[] = {{AN_DTYPE_Q4_0, {0}}, {AN_DTYPE_Q8_0, {0}}, {AN_DTYPE_Q6_K, {0}}, {AN_DTYPE_Q2_K, {0}}, {AN_DTYPE_BF16, {0}},
                 {AN_DTYPE_AFFINE, {.bits = 8, .group = 64, .scale_dtype = AN_DTYPE_BF16}}};
    enum { N_ROW = 75, N_TOK = 37, N_COL = 1280 };
    static float all[N_TOK * N_ROW], parts[N_TOK * N_ROW];
    guarded scratch = guarded_alloc(an_matmul_scratch_bytes(c->k, N_COL), true);
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        test_weight w = weight_make(c, types[i].type, types[i].affine, N_ROW, N_COL, 0, false);
        wide_act t = wide_act_make(c, N_TOK, N_COL, an_wide_default.cols, 0, false);
        const char *name = an_dtype_get(types[i].type)->name;
        an_act_quantize(c->k, &t.a, 0, 20);
        an_act_quantize(c->k, &t.a, 20, N_TOK);
        an_matmul_rows(c->k, &w.w, &t.a, all, N_ROW, 0, N_ROW, false, scratch.p);
        an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 48, N_ROW, false, scratch.p);
        an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 0, 16, false, scratch.p);
        an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 16, 48, false, scratch.p);
        if (memcmp(all, parts, sizeof all)) kcheck_fail(c, "%s: rows in three parts differ", name);
        if (an_panels_bytes(&w.w)) {
            guarded room = guarded_alloc(an_panels_bytes(&w.w), i & 1);
            an_panels_write(c->k, &w.w, room.p, 0, N_ROW);
            an_weight view = an_panels_view(&w.w, room.p);
            an_matmul_rows(c->k, &view, &t.a, parts, N_ROW, 0, 32, false, scratch.p);
            an_matmul_rows(c->k, &view, &t.a, parts, N_ROW, 32, N_ROW, false, scratch.p);
            if (memcmp(all, parts, sizeof all)) kcheck_fail(c, "%s: weights in panels differ", name);
            guarded_free(&room);
        }
        wide_act_fill(c, &t, small_blocks.cols);
        an_matmul_wide(c->k, &small_blocks, &w.w, &t.a, parts, N_ROW, 0, N_ROW, false, scratch.p);
        if (memcmp(all, parts, sizeof all)) kcheck_fail(c, "%s: other blocks differ", name);
        for (int tok = 0; tok < N_TOK; tok += 9) {
            an_act one = t.a;
            one.n_tok = 1;
            one.f32 += (size_t)tok * N_COL;
            an_act_quantize(c->k, &one, 0, 1);
            an_matmul_rows(c->k, &w.w, &one, parts, N_ROW, 0, N_ROW, false, scratch.p);
            if (memcmp(all + (size_t)tok * N_ROW, parts, N_ROW * 4))
                kcheck_fail(c, "%s: token %d differs from itself alone", name, tok);
        }
        wide_act_free(&t);
        weight_free(&w);
    }
    guarded_free(&scratch);
}

/* Memory for a batch is enough for every smaller one, whatever way it is then multiplied by. */
void check_wide_memory(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int n = 1; n <= 80; n++)
        for (int fewer = 1; fewer <= n; fewer++)
            if (an_act_bytes(an_kernels_compute(AN_COMPUTE_BF16, fewer), fewer, 576) > an_act_bytes(AN_COMPUTE_BF16, n, 576))
                kcheck_fail(c, "%d tokens need more memory than %d", fewer, n);
    float sum;
    if (an_peak_bf16(c->k, 3, &sum) != 3ull * 4 * 2 * 16 * 16 * 32 || sum != 3 * 64) kcheck_fail(c, "the peak loop does not add up");
}
