/* Checks of products: codes and panels exactly, sums within their rounding bound, splits and twins bit for bit. */
#include "kernels/kcheck.h"

#include "quant/codes.h"
#include "quant/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int token_counts[] = {1, 2, 4, 7, 12, 16, 29};

int kcheck_columns(const kcheck_op *op, int i)
{
    static const int plain[] = {32, 64, 160, 576, 1536}, wide[] = {256, 512, 768, 1536, 2048};
    int unit = op->type == AN_DTYPE_AFFINE ? op->affine.group : an_dtype_get(op->type)->block_elems;
    int n = unit == 256 ? wide[i] : plain[i];
    return (n + unit - 1) / unit * unit;
}

/* code * scale + min is the value that the format means. */
void check_codes(kcheck *c, const kcheck_op *op)
{
    for (int style = 0; style < N_STYLE; style++) {
        int n_col = kcheck_columns(op, style);
        test_weight t = weight_make(c, op->type, op->affine, 3, n_col, style, style & 1);
        float *row = malloc((size_t)n_col * 4);
        an_code_kind kind;
        if (!an_codes_kind(&t.w, &kind)) kcheck_fail(c, "no codes");
        int group = an_codes_group(kind);
        for (int64_t r = 0; r < 3; r++) {
            an_weight_row_f32(&t.w, r, row);
            for (int col = 0; col < n_col; col += AN_CODES_STEP) {
                uint8_t codes[AN_CODES_STEP];
                float scales[16], mins[16];
                int n = n_col - col < AN_CODES_STEP ? n_col - col : AN_CODES_STEP;
                an_codes_read(&t.w, r, col, n, codes, scales, mins);
                for (int i = 0; i < n; i++) {
                    double code = an_codes_int8(kind) ? (int8_t)codes[i] : codes[i] - an_codes_offset(kind);
                    double value = code * (double)scales[i / group] + (double)mins[i / group];
                    double big = fabs(code * (double)scales[i / group]) + fabs((double)mins[i / group]) +
                                 256 * fabs((double)scales[i / group]) * (op->type == AN_DTYPE_AFFINE);
                    kcheck_near(c, "code", col + i, value, (double)row[col + i], big * 0x1p-23);
                }
            }
        }
        free(row);
        weight_free(&t);
    }
}

/* Number g of a panel's scales or minima, of row r. */
static float panel_number(const float *lines, an_code_kind kind, int g, int r)
{
    if (!an_codes_super(kind)) return lines[g * 16 + r];
    int n = AN_SUPER / an_codes_group(kind), at = g % n;
    const float *super = lines + (g - at) * 16 + r;
    uint32_t pair;
    memcpy(&pair, super + at / 2 * 16, 4);
    return super[n / 2 * 16] * (float)(int16_t)(at & 1 ? pair : pair >> 16);
}

/* Columns begin..end-1 of one row of a panel against the scalar codes. */
static void compare_panel_row(kcheck *c, const an_weight *w, an_code_kind kind, int64_t row, int begin, int end,
                              const an_panel *panel)
{
    int group = an_codes_group(kind), r = (int)(row % 16);
    for (int col = begin; col < end; col += AN_CODES_STEP) {
        uint8_t want[AN_CODES_STEP];
        float want_scale[16], want_min[16];
        int n = end - col < AN_CODES_STEP ? end - col : AN_CODES_STEP, at = col - begin;
        an_codes_read(w, row, col, n, want, want_scale, want_min);
        for (int i = 0; i < n; i++) {
            uint8_t got = panel->codes[(at + i) / 4 * 64 + 4 * r + i % 4];
            if (an_codes_int8(kind)) got ^= c->k->code_xor;
            if (got != want[i])
                kcheck_fail(c, "row %d column %d: code %d, expected %d", r, col + i, got, want[i]);
        }
        for (int g = 0; g < n / group; g++) {
            float scale = panel_number(panel->scales, kind, at / group + g, r);
            if (memcmp(&scale, &want_scale[g], 4))
                kcheck_fail(c, "row %d group %d: scale %a, expected %a", r, col / group + g, (double)scale,
                            (double)want_scale[g]);
            if (!an_codes_min(kind)) continue;
            float min = panel_number(panel->mins, kind, at / group + g, r);
            /* Zero minima may have either sign: they are added to sums. */
            if (min != want_min[g])
                kcheck_fail(c, "row %d group %d: minimum %a, expected %a", r, col / group + g, (double)min,
                            (double)want_min[g]);
        }
    }
}

/* A level's panel equals the scalar codes bit for bit: of all columns, and of every run of them that may be asked for. */
void check_unpack(kcheck *c, const kcheck_op *op)
{
    an_unpack_fn *unpack = op->type == AN_DTYPE_AFFINE ? c->k->unpack_affine[op->affine.bits] : c->k->unpack[op->type];
    if (!unpack) return;
    for (int style = 0; style < N_STYLE; style++) {
        int n_col = kcheck_columns(op, style);
        test_weight t = weight_make(c, op->type, op->affine, 32, n_col, style, style & 1);
        an_code_kind kind;
        an_codes_kind(&t.w, &kind);
        for (int begin = 0; begin < n_col; begin += AN_CODES_STEP)
            for (int end = n_col; end > begin; end = (end - 1) / AN_CODES_STEP * AN_CODES_STEP) {
                size_t n_group = (size_t)((end - begin) / an_codes_group(kind));
                guarded codes = guarded_alloc((size_t)(end - begin) * 16, true);
                guarded scales = guarded_alloc(n_group * 64, true), mins = guarded_alloc(n_group * 64, true);
                an_panel panel = {codes.p, scales.p, mins.p};
                memset(mins.p, 0, mins.n);
                for (int64_t row = 0; row < 32; row += 16) {
                    unpack(&t.w, row, begin, end, &panel);
                    for (int r = 0; r < 16; r++) compare_panel_row(c, &t.w, kind, row + r, begin, end, &panel);
                }
                guarded_free(&codes);
                guarded_free(&scales);
                guarded_free(&mins);
            }
        weight_free(&t);
    }
}

test_act act_make(kcheck *c, an_compute compute, const an_weight *w, int n_tok, int style)
{
    int n_col = (int)w->n_col;
    test_act t = {.a = {.compute = compute, .n_tok = n_tok, .n_col = n_col, .f32_stride = (size_t)n_col, .tight = an_act_tight(w)}};
    t.x = guarded_alloc((size_t)n_tok * (size_t)n_col * 4, false);
    t.q = guarded_alloc(an_act_bytes(compute, n_tok, n_col) + 1, true);
    t.q_super = guarded_alloc(an_act_bytes(compute, n_tok, n_col) + 1, true);
    memset(t.q.p, 0x5A, t.q.n);
    memset(t.q_super.p, 0x5A, t.q_super.n);
    fill_floats(c, t.x.p, (size_t)n_tok * (size_t)n_col, style);
    t.a.f32 = t.x.p;
    t.a.q = t.q.p;
    t.a.q_super = n_col % AN_SUPER == 0 ? t.q_super.p : NULL;
    an_act_quantize(c->k, &t.a, 0, n_tok);
    return t;
}

void act_free(test_act *t)
{
    guarded_free(&t->x);
    guarded_free(&t->q);
    guarded_free(&t->q_super);
}

/* Exact product of one row and token over the quantized activations, and the sum of its absolute terms. */
static double q8_exact(const an_weight *w, const an_act *a, int64_t row, int tok, double *terms)
{
    an_code_kind kind;
    an_codes_kind(w, &kind);
    int width = an_act_width(a->n_tok), group = an_codes_group(kind), n_col = a->n_col;
    const uint8_t *tile = an_codes_super(kind) ? a->q_super : a->q;
    tile += (size_t)(tok / width) * (size_t)(n_col / 32 * width * 64);
    double sum = 0;
    *terms = 0;
    for (int col = 0; col < n_col; col += AN_CODES_STEP) {
        uint8_t codes[AN_CODES_STEP];
        float scales[16], mins[16];
        int n = n_col - col < AN_CODES_STEP ? n_col - col : AN_CODES_STEP;
        an_codes_read(w, row, col, n, codes, scales, mins);
        for (int g = 0; g < n / group; g++) {
            const uint8_t *rec = tile + (size_t)((col + g * group) / 32 * width * 64);
            float scale;
            memcpy(&scale, rec + AN_REC_SCALE(width, tok % width), 4);
            int64_t dot = 0, total = 0;
            for (int i = 0; i < group; i++) {
                int code = codes[g * group + i], at = (col + g * group + i) % 32;
                code = an_codes_int8(kind) ? (int8_t)code : code - an_codes_offset(kind);
                int x = (int8_t)rec[AN_REC_CODES(width, tok % width) + at];
                dot += code * x;
                total += x;
            }
            double part = (double)dot * (double)scales[g] * (double)scale;
            double bias = (double)total * (double)mins[g] * (double)scale;
            sum += part + bias;
            *terms += fabs(part) + fabs(bias);
        }
    }
    return sum;
}

/* All levels that multiply and add in one rounding do so in one order: the same bits as the plainest of them. */
static void check_same_as_plainest(kcheck *c, const an_weight *w, const test_act *t, bool add, const float *got,
                                   size_t stride)
{
    int n_level, n_tok = t->a.n_tok;
    const an_kernels *const *levels = an_kernels_levels(&n_level);
    if (n_level < 2 || c->k == levels[0] || c->k == levels[1]) return;
    guarded scratch = guarded_alloc(an_matmul_scratch_bytes(levels[1], t->a.n_col), true);
    guarded q = guarded_alloc(an_act_bytes(AN_COMPUTE_Q8, n_tok, t->a.n_col), true);
    guarded q_super = guarded_alloc(an_act_bytes(AN_COMPUTE_Q8, n_tok, t->a.n_col), true);
    float *out = malloc((size_t)n_tok * stride * 4);
    for (size_t i = 0; i < (size_t)n_tok * stride; i++) out[i] = 7;
    an_act plain = t->a;
    plain.q = q.p;
    if (plain.q_super) plain.q_super = q_super.p;
    an_act_quantize(levels[1], &plain, 0, n_tok);
    an_matmul_rows(levels[1], w, &plain, out, stride, 0, w->n_row, add, scratch.p);
    for (int tok = 0; tok < n_tok; tok++)
        if (memcmp(out + (size_t)tok * stride, got + (size_t)tok * stride, (size_t)w->n_row * 4))
            kcheck_fail(c, "token %d of %d differs from level %s", tok, n_tok, an_kernels_name(levels[1]));
    free(out);
    guarded_free(&q);
    guarded_free(&q_super);
    guarded_free(&scratch);
}

void check_matmul_q8_once(kcheck *c, const test_weight *w, int n_tok, int64_t n_row, int style, bool add)
{
    int n_col = (int)w->w.n_col;
    test_act t = act_make(c, AN_COMPUTE_Q8, &w->w, n_tok, style);
    guarded scratch = guarded_alloc(an_matmul_scratch_bytes(c->k, n_col), true);
    size_t stride = (size_t)n_row + 3;
    guarded out = guarded_alloc(((size_t)(n_tok - 1) * stride + (size_t)n_row) * 4, false);
    float *o = out.p;
    for (size_t i = 0; i < out.n / 4; i++) o[i] = 7;
    an_matmul_rows(c->k, &w->w, &t.a, o, stride, 0, n_row, add, scratch.p);
    for (int tok = 0; tok < n_tok; tok++) {
        for (int64_t r = 0; r < n_row; r++) {
            double terms, exact = q8_exact(&w->w, &t.a, r, tok, &terms);
            /* Each group adds at most two terms, each with three roundings; the last addition is of 7. */
            double bound = (3.0 * n_col / 16 + 8) * 0x1p-24 * (terms + (add ? 7 : 0)) + 1e-37;
            double base = add ? 7 : 0;
            if (!kcheck_near(c, "sum", (long)((size_t)tok * stride) + r, (double)o[(size_t)tok * stride + (size_t)r],
                             exact + base, bound))
                break;
        }
        for (int i = 0; i < 3 && tok + 1 < n_tok; i++)
            if (o[(size_t)tok * stride + (size_t)n_row + (size_t)i] != 7)
                kcheck_fail(c, "wrote behind row %ld of token %d", (long)n_row, tok);
    }
    check_same_as_plainest(c, &w->w, &t, add, o, stride);
    guarded_free(&out);
    guarded_free(&scratch);
    act_free(&t);
}

void check_matmul_q8(kcheck *c, const kcheck_op *op)
{
    for (int i = 0; i < (int)AN_COUNT_OF(token_counts); i++) {
        int64_t n_row = i % 3 == 0 ? 16 : i % 3 == 1 ? 21 : 33;
        test_weight w = weight_make(c, op->type, op->affine, n_row, kcheck_columns(op, i % 5), i % N_STYLE, i & 1);
        check_matmul_q8_once(c, &w, token_counts[i], n_row, (i + 1) % N_STYLE, i & 1);
        check_matmul_q8_once(c, &w, token_counts[i], n_row, i % 4, !(i & 1));
        weight_free(&w);
    }
}

/*
 * Sums that reach as far as they may: all codes and scales the smallest, the largest or a mixture, all activations of one size, of
 * one sign or as the codes have it.
 */
void check_super_extremes(kcheck *c, const kcheck_op *op)
{
    enum { N_ROW = 16, N_TOK = 12, N_COL = 512 };
    static const struct {
        an_dtype type;
        int d[2]; /* bytes where f16 numbers lie; twice the same: one number */
    } numbers[] = {{AN_DTYPE_Q4_K, {0, 2}}, {AN_DTYPE_Q5_K, {0, 2}}, {AN_DTYPE_Q2_K, {80, 82}}, {AN_DTYPE_Q3_K, {108, 108}},
                   {AN_DTYPE_Q6_K, {208, 208}}, {AN_DTYPE_IQ4_XS, {0, 0}}};
    (void)op;
    for (size_t i = 0; i < AN_COUNT_OF(numbers); i++) {
        test_weight w = weight_make(c, numbers[i].type, (an_affine){0}, N_ROW, N_COL, 0, false);
        int size = an_dtype_get(numbers[i].type)->block_bytes, n_block = N_ROW * N_COL / AN_SUPER;
        for (int pattern = 0; pattern < 4; pattern++) {
            uint8_t *p = w.data.p;
            for (int j = 0; j < n_block * size; j++)
                p[j] = pattern == 0 ? 0xFF : pattern == 1 ? 0 : pattern == 2 ? 0x7F : (uint8_t)an_rng_below(&c->rng, 2) * 0xFF;
            for (int b = 0; b < n_block; b++)
                for (int k = 0; k < 2; k++) memcpy(p + b * size + numbers[i].d[k], &(uint16_t){an_f16_from_f32(1)}, 2);
            for (int sign = 0; sign < 3; sign++) {
                test_act t = act_make(c, AN_COMPUTE_Q8, &w.w, N_TOK, 0);
                float *x = t.x.p, out[N_TOK * N_ROW];
                for (int j = 0; j < N_TOK * N_COL; j++)
                    x[j] = sign == 0 ? 1.0f : sign == 1 ? -1.0f : an_rng_below(&c->rng, 2) ? 1.0f : -0.99f;
                an_act_quantize(c->k, &t.a, 0, N_TOK);
                guarded scratch = guarded_alloc(an_matmul_scratch_bytes(c->k, N_COL), true);
                an_matmul_rows(c->k, &w.w, &t.a, out, N_ROW, 0, N_ROW, false, scratch.p);
                for (int j = 0; j < N_TOK * N_ROW; j++) {
                    double terms, exact = q8_exact(&w.w, &t.a, j % N_ROW, j / N_ROW, &terms);
                    kcheck_near(c, an_dtype_get(numbers[i].type)->name, j, (double)out[j], exact, 64 * 0x1p-24 * terms);
                }
                guarded_free(&scratch);
                act_free(&t);
            }
        }
        weight_free(&w);
    }
}

void check_matmul_f32(kcheck *c, const kcheck_op *op)
{
    for (int i = 0; i < 5; i++) {
        int n_col = kcheck_columns(op, i) + (an_dtype_get(op->type)->block_elems == 1 ? i * 5 : 0);
        int n_tok = token_counts[i], n_row = 16 + 7 * i;
        test_weight w = weight_make(c, op->type, op->affine, n_row, n_col, i, i & 1);
        test_act t = act_make(c, AN_COMPUTE_F32, &w.w, n_tok, i % 4);
        guarded scratch = guarded_alloc(an_matmul_scratch_bytes(c->k, n_col), true);
        guarded out = guarded_alloc((size_t)n_tok * (size_t)n_row * 4, false);
        an_matmul_rows(c->k, &w.w, &t.a, out.p, (size_t)n_row, 0, n_row, false, scratch.p);
        float *row = malloc((size_t)n_col * 4);
        for (int r = 0; r < n_row; r++) {
            an_weight_row_f32(&w.w, r, row);
            for (int tok = 0; tok < n_tok; tok++) {
                double exact = 0, terms = 0;
                for (int j = 0; j < n_col; j++) {
                    double p = (double)row[j] * (double)t.a.f32[(size_t)tok * (size_t)n_col + (size_t)j];
                    exact += p;
                    terms += fabs(p);
                }
                double bound = (n_col / 16 + 8) * 0x1p-24 * terms + 1e-37;
                kcheck_near(c, "sum", r, (double)((float *)out.p)[tok * n_row + r], exact, bound);
            }
        }
        free(row);
        guarded_free(&out);
        guarded_free(&scratch);
        act_free(&t);
        weight_free(&w);
    }
}

/* Any split of rows, and each token by itself, gives the same bits as all at once. */
void check_invariance(kcheck *c, const kcheck_op *op)
{
    enum { N_ROW = 75 };
    int n_col = kcheck_columns(op, 3);
    test_weight w = weight_make(c, op->type, op->affine, N_ROW, n_col, 0, false);
    void *scratch = aligned_alloc(64, (an_matmul_scratch_bytes(c->k, n_col) + 63) / 64 * 64);
    for (int compute = 0; compute < 2; compute++) {
        for (int i = 0; i < (int)AN_COUNT_OF(token_counts); i++) {
            int n_tok = token_counts[i];
            test_act t = act_make(c, (an_compute)compute, &w.w, n_tok, i % 3);
            float *whole = malloc((size_t)n_tok * N_ROW * 4), *parts = malloc((size_t)n_tok * N_ROW * 4);
            an_matmul_rows(c->k, &w.w, &t.a, whole, N_ROW, 0, N_ROW, false, scratch);
            an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 48, N_ROW, false, scratch);
            an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 0, 16, false, scratch);
            an_matmul_rows(c->k, &w.w, &t.a, parts, N_ROW, 16, 48, false, scratch);
            if (memcmp(whole, parts, (size_t)n_tok * N_ROW * 4))
                kcheck_fail(c, "rows in three parts differ (%d tokens, compute %d)", n_tok, compute);
            for (int tok = 0; tok < n_tok; tok++) {
                size_t n_q = an_act_bytes((an_compute)compute, 1, n_col) + 1;
                uint8_t *q = malloc(n_q), *q_super = malloc(n_q);
                an_act one = t.a;
                one.n_tok = 1;
                one.f32 += (size_t)tok * one.f32_stride;
                one.q = q;
                if (one.q_super) one.q_super = q_super;
                an_act_quantize(c->k, &one, 0, 1);
                an_matmul_rows(c->k, &w.w, &one, parts, N_ROW, 0, N_ROW, false, scratch);
                if (memcmp(whole + (size_t)tok * N_ROW, parts, N_ROW * 4))
                    kcheck_fail(c, "token %d of %d differs from itself alone (compute %d)", tok, n_tok, compute);
                free(q);
                free(q_super);
            }
            free(whole);
            free(parts);
            act_free(&t);
        }
    }
    free(scratch);
    weight_free(&w);
}

/*
 * Many rows, columns and tokens, so that a product goes in several blocks of each: the same bits as each token alone,
 * and as added to what is there.
 */
void check_blocks(kcheck *c, const kcheck_op *op)
{
    enum { N_ROW = 16 * 17 + 5 };
    int unit = op->type == AN_DTYPE_AFFINE ? op->affine.group : an_dtype_get(op->type)->block_elems;
    int n_col = (1120 + unit - 1) / unit * unit, n_tok = op->type == AN_DTYPE_Q4_K ? 541 : 29;
    size_t n_out = (size_t)n_tok * N_ROW, n_scratch = (an_matmul_scratch_bytes(c->k, n_col) + 63) / 64 * 64;
    test_weight w = weight_make(c, op->type, op->affine, N_ROW, n_col, 0, false);
    test_act t = act_make(c, AN_COMPUTE_Q8, &w.w, n_tok, 0);
    guarded scratch = guarded_alloc(n_scratch, true);
    float *whole = malloc(n_out * 4), *sum = malloc(n_out * 4), alone[N_ROW];
    fill_floats(c, sum, n_out, 0);
    for (size_t i = 0; i < n_out; i++) whole[i] = sum[i];
    an_matmul_rows(c->k, &w.w, &t.a, sum, N_ROW, 0, N_ROW, true, scratch.p);
    an_act one = t.a;
    one.n_tok = 1;
    uint8_t *q = malloc(an_act_bytes(AN_COMPUTE_Q8, 1, n_col)), *q_super = malloc(an_act_bytes(AN_COMPUTE_Q8, 1, n_col));
    one.q = q;
    if (one.q_super) one.q_super = q_super;
    for (int tok = 0; tok < n_tok; tok += n_tok > 60 ? 59 : 7, one.f32 = t.a.f32 + (size_t)tok * t.a.f32_stride) {
        an_act_quantize(c->k, &one, 0, 1);
        an_matmul_rows(c->k, &w.w, &one, alone, N_ROW, 0, N_ROW, false, scratch.p);
        for (int r = 0; r < N_ROW; r++) {
            size_t at = (size_t)tok * N_ROW + (size_t)r;
            float want = whole[at] + alone[r];
            if (memcmp(&want, &sum[at], 4))
                kcheck_fail(c, "row %d of token %d: %a added, expected %a", r, tok, (double)sum[at], (double)want);
        }
    }
    an_matmul_rows(c->k, &w.w, &t.a, whole, N_ROW, 0, 256, false, scratch.p);
    an_matmul_rows(c->k, &w.w, &t.a, whole, N_ROW, 256, N_ROW, false, scratch.p);
    an_matmul_rows(c->k, &w.w, &t.a, sum, N_ROW, 0, N_ROW, false, scratch.p);
    if (memcmp(whole, sum, n_out * 4)) kcheck_fail(c, "rows in two parts differ");
    free(q);
    free(q_super);
    free(whole);
    free(sum);
    guarded_free(&scratch);
    act_free(&t);
    weight_free(&w);
}

/* A Q4_0, Q4_1 or Q8_0 weight rewritten as the MLX affine weight of the same numbers. */
static test_weight make_twin(kcheck *c, const test_weight *w, int bits)
{
    an_affine affine = {.bits = bits, .group = 32, .scale_dtype = AN_DTYPE_F16};
    test_weight t = weight_make(c, AN_DTYPE_AFFINE, affine, w->w.n_row, w->w.n_col, 0, false);
    int n_block = (int)(w->w.n_row * w->w.n_col / 32), size = an_dtype_get(w->w.dtype)->block_bytes;
    for (int b = 0; b < n_block; b++) {
        const uint8_t *p = (const uint8_t *)w->w.data + (size_t)b * (size_t)size;
        uint8_t *codes = (uint8_t *)t.data.p + (size_t)b * (size_t)(4 * bits), code[32];
        float d = an_f32_from_f16(an_load_u16(p)), bias = -8 * d;
        if (w->w.dtype == AN_DTYPE_Q4_1) bias = an_f32_from_f16(an_load_u16(p + 2));
        if (w->w.dtype == AN_DTYPE_Q8_0) bias = -128 * d;
        uint16_t half = an_f16_from_f32(bias);
        memcpy((uint8_t *)t.scales.p + 2 * b, p, 2);
        memcpy((uint8_t *)t.biases.p + 2 * b, &half, 2);
        const uint8_t *qs = p + (w->w.dtype == AN_DTYPE_Q4_1 ? 4 : 2);
        for (int j = 0; j < 32; j++)
            code[j] = bits == 8 ? qs[j] ^ 0x80 : j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
        for (int j = 0; j < 32; j += 8 / bits)
            codes[j * bits / 8] = bits == 8 ? code[j] : (uint8_t)(code[j] | code[j + 1] << 4);
    }
    return t;
}

void check_twins(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const an_dtype types[] = {AN_DTYPE_Q4_0, AN_DTYPE_Q4_1, AN_DTYPE_Q8_0};
    enum { N_ROW = 53, N_COL = 576 };
    void *scratch = aligned_alloc(64, (an_matmul_scratch_bytes(c->k, N_COL) + 63) / 64 * 64);
    for (int i = 0; i < 3; i++) {
        test_weight w = weight_make(c, types[i], (an_affine){0}, N_ROW, N_COL, 0, false);
        test_weight twin = make_twin(c, &w, types[i] == AN_DTYPE_Q8_0 ? 8 : 4);
        for (int compute = 0; compute < 2; compute++) {
            for (int n_tok = 1; n_tok <= 13; n_tok += 12) {
                test_act t = act_make(c, (an_compute)compute, &w.w, n_tok, 0);
                static float a[13 * N_ROW], b[13 * N_ROW];
                an_matmul_rows(c->k, &w.w, &t.a, a, N_ROW, 0, N_ROW, false, scratch);
                an_matmul_rows(c->k, &twin.w, &t.a, b, N_ROW, 0, N_ROW, false, scratch);
                if (memcmp(a, b, (size_t)n_tok * N_ROW * 4))
                    kcheck_fail(c, "%s and its MLX twin differ (%d tokens, compute %d)",
                                an_dtype_get(types[i])->name, n_tok, compute);
                act_free(&t);
            }
        }
        weight_free(&w);
        weight_free(&twin);
    }
    free(scratch);
}
