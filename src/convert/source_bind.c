/*
 * The tensors of a source without an_model_file: found by name in its files, checked against the
 * hyperparameters, each a plain view or a form that is put together row by row.
 */
#include "convert/source_internal.h"

#include "base/alloc.h"
#include "base/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct binder {
    an_source *s;
    const an_hf_prefix *prefix; /* NULL: Mistral's own names */
    const int64_t *block;
    anemo_error *err;
} binder;

/* The tensor's name in the files; false when the layout has none for it. */
static bool name_of(const binder *b, const an_tensor_rule *rule, int layer,
                    char out[AN_TENSOR_NAME_MAX])
{
    if (!b->prefix) return an_tensor_name_native(rule->field, layer, out);
    if (!rule->hf) return false;
    an_tensor_path_hf(rule, b->prefix, layer, out);
    strncat(out, rule->bias ? ".bias" : ".weight", AN_TENSOR_NAME_MAX - 1 - strlen(out));
    return true;
}

/* "[576, 192]" */
static void shape_text(const source_view *v, char out[120])
{
    size_t used = (size_t)snprintf(out, 120, "[");
    for (int i = 0; i < v->n_dim && used < 90; i++)
        used += (size_t)snprintf(out + used, 120 - used, "%s%" PRId64, i ? ", " : "", v->shape[i]);
    snprintf(out + used, 120 - used, "]");
}

static anemo_status wrong_shape(const binder *b, const source_view *v, int64_t rows, int64_t cols)
{
    char have[120];
    shape_text(v, have);
    return an_fail(b->err, ANEMO_ERR_FORMAT,
                   "%s: tensor %s has shape %s, the model's parameters ask for [%" PRId64
                   ", %" PRId64 "]",
                   an_source_files_path(b->s->files, v->file), v->name, have, rows, cols);
}

static bool is_plain(an_dtype dtype)
{
    return dtype == AN_DTYPE_F32 || dtype == AN_DTYPE_F16 || dtype == AN_DTYPE_BF16;
}

/* -------------------------------------------------------------------------------------------------------
 * FP8 scales */

static int64_t ceil_div(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Which values share a scale, from the shape of the scales: all, a row, or blocks of the configured
 * or usual size. */
static bool scale_blocks(const binder *b, const source_view *v, int64_t rows, int64_t cols,
                         source_scale *out)
{
    int64_t a = v->n_dim > 0 ? v->shape[0] : 1, c = v->n_dim > 1 ? v->shape[1] : 1;
    if (v->n_dim > 2) return false;
    out->n_col = c;
    if (a == 1 && c == 1) {
        out->block_rows = rows;
        out->block_cols = cols;
        return true;
    }
    if (a == rows && c == 1) {
        out->block_rows = 1;
        out->block_cols = cols;
        return true;
    }
    out->block_rows = b->block[0] > 0 ? b->block[0] : 128;
    out->block_cols = b->block[1] > 0 ? b->block[1] : 128;
    return v->n_dim == 2 && a == ceil_div(rows, out->block_rows) &&
           c == ceil_div(cols, out->block_cols);
}

static anemo_status bind_scale(const binder *b, const source_view *w, int64_t rows, int64_t cols,
                               source_scale *out)
{
    static const char *const TAILS[] = {"weight_scale_inv", "weight_scale", "qscale_weight"};
    const char *path = an_source_files_path(b->s->files, w->file);
    char name[AN_TENSOR_NAME_MAX + 24], have[120];
    source_view v;
    for (size_t i = 0; i < AN_COUNT_OF(TAILS); i++) {
        snprintf(name, sizeof name, "%.*s%s", (int)(strlen(w->name) - strlen("weight")), w->name,
                 TAILS[i]);
        if (!an_source_files_find(b->s->files, name, 0, &v)) continue;
        if (!is_plain(v.dtype) || v.stride)
            return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                           "%s: tensor %s has type %s; scales of FP8 must be F32, BF16 or F16",
                           an_source_files_path(b->s->files, v.file), name, v.type_name);
        *out = (source_scale){.dtype = v.dtype, .data = v.data};
        if (scale_blocks(b, &v, rows, cols, out)) return ANEMO_OK;
        shape_text(&v, have);
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: tensor %s has shape %s, which is neither one scale nor one for each "
                       "block of %" PRId64 " x %" PRId64 " of %s",
                       an_source_files_path(b->s->files, v.file), name, have, out->block_rows,
                       out->block_cols, w->name);
    }
    return an_fail(
        b->err, ANEMO_ERR_FORMAT,
        "%s: tensor %s is FP8 and has no scale (weight_scale_inv, weight_scale or qscale_weight)",
        path, w->name);
}

/* -----------------------------------------------------------------------------------------------------------
 * pieces */

/* One view as a piece of rows x cols at (0, 0). */
static source_piece piece_of(const binder *b, const source_view *v)
{
    bool vector = v->n_dim < 2;
    source_piece p = {
        .dtype = v->dtype, .data = v->data, .path = an_source_files_path(b->s->files, v->file)};
    p.n_row = vector ? 1 : v->shape[0];
    p.n_col = v->shape[vector ? 0 : 1];
    p.row_stride = vector ? 0 : v->stride ? v->stride[0] : p.n_col;
    p.col_stride = v->stride ? v->stride[vector ? 0 : 1] : 1;
    return p;
}

/*
 * How the parts of parallel files join: below each other, beside each other, or each the whole
 * (then the first counts). Sets the places of the n pieces and returns how many count; 0 when they
 * fit in no way.
 */
static int join(source_piece *p, int n, int64_t rows, int64_t cols)
{
    int64_t sum_rows = 0, sum_cols = 0;
    bool same_rows = true, same_cols = true;
    for (int i = 0; i < n; i++) {
        sum_rows += p[i].n_row;
        sum_cols += p[i].n_col;
        same_rows = same_rows && p[i].n_row == rows;
        same_cols = same_cols && p[i].n_col == cols;
    }
    if (same_rows && same_cols) return 1;
    bool below = same_cols && sum_rows == rows;
    if (!below && !(same_rows && sum_cols == cols)) return 0;
    for (int i = 1; i < n; i++) {
        p[i].row0 = below ? p[i - 1].row0 + p[i - 1].n_row : 0;
        p[i].col0 = below ? 0 : p[i - 1].col0 + p[i - 1].n_col;
    }
    return n;
}

static anemo_status check_type(const binder *b, const source_view *v, bool matrix)
{
    if (is_plain(v->dtype) || (matrix && v->dtype == AN_DTYPE_F8_E4M3)) return ANEMO_OK;
    return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                   "%s: tensor %s has type %s; weights must be F32, F16 or BF16%s",
                   an_source_files_path(b->s->files, v->file), v->name, v->type_name,
                   matrix ? " or FP8 (E4M3)" : "");
}

/* Fill t->form from every file's part. t->name, n_dim, n_row and n_col are set; found: in how many
 * files it is. */
static anemo_status take_pieces(const binder *b, an_source_tensor *t, const source_view *first,
                                bool *found)
{
    size_t n_file = an_source_files_parallel(b->s->files) ? an_source_files_n(b->s->files) : 1;
    an_source_form *form = an_calloc(1, sizeof *form + n_file * sizeof form->pieces[0]);
    if (!form) return an_fail(b->err, ANEMO_ERR_NOMEM, "%s: out of memory", b->s->path);
    t->form = form;
    for (size_t k = 0; k < n_file; k++) {
        source_view v = *first;
        if (n_file > 1 && !an_source_files_find(b->s->files, t->name, k, &v))
            return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: tensor %s is missing",
                           an_source_files_path(b->s->files, (int)k), t->name);
        anemo_status status = check_type(b, &v, t->n_dim == 2);
        if (status != ANEMO_OK) return status;
        if (v.n_dim != t->n_dim) return wrong_shape(b, &v, t->n_row, t->n_col);
        if (v.dtype != first->dtype || (v.dtype == AN_DTYPE_F8_E4M3 && n_file > 1))
            return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                           "%s: tensor %s is FP8 or of another type than in the other parts",
                           an_source_files_path(b->s->files, v.file), t->name);
        form->pieces[form->n_piece++] = piece_of(b, &v);
    }
    form->n_piece = join(form->pieces, form->n_piece, t->n_row, t->n_col);
    if (form->n_piece == 0) return wrong_shape(b, first, t->n_row, t->n_col);
    *found = true;
    return ANEMO_OK;
}

/* The tensor of one rule, if it is there. */
static anemo_status bind_tensor(const binder *b, const an_tensor_rule *rule, int layer)
{
    anemo_status status = ANEMO_OK;
    an_source *s = b->s;
    an_source_tensor *t = &s->tensors[s->n_tensor];
    source_view v;
    bool found = false;
    *t = (an_source_tensor){.field = rule->field, .layer = layer};
    if (!name_of(b, rule, layer, t->name)) return ANEMO_OK;
    size_t n_file = an_source_files_parallel(s->files) ? an_source_files_n(s->files) : 1;
    for (size_t k = 0; k < n_file && !found; k++)
        found = an_source_files_find(s->files, t->name, k, &v);
    if (!found && rule->required)
        return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: tensor %s is missing", s->path, t->name);
    if (!found) return ANEMO_OK;
    t->n_dim = rule->rows == AN_DIM_NONE ? 1 : 2;
    t->n_row = an_dim_of(&s->params.hp, rule->rows);
    t->n_col = an_dim_of(&s->params.hp, rule->cols);
    t->rotated = an_field_is_rotated(rule->field);
    t->rows = s->params.hp.rope_rows;
    AN_TRY(take_pieces(b, t, &v, &found));
    source_piece *p = &t->form->pieces[0];
    t->fp8 = v.dtype == AN_DTYPE_F8_E4M3;
    if (t->fp8) AN_TRY(bind_scale(b, &v, t->n_row, t->n_col, &t->form->scale));
    t->float_dtype = t->fp8 ? AN_DTYPE_BF16 : v.dtype;
    t->w = (an_weight){.dtype = t->float_dtype, .n_row = t->n_row, .n_col = t->n_col};
    t->w.row_bytes = (uint64_t)t->n_col * (uint64_t)an_dtype_get(t->float_dtype)->block_bytes;
    bool dense = p->col_stride == 1 && (t->n_row == 1 || p->row_stride == t->n_col);
    if (!t->fp8 && t->form->n_piece == 1 && dense) {
        t->w.data = p->data;
        an_free(t->form);
        t->form = NULL;
    }
    s->n_tensor++;
cleanup:
    if (status != ANEMO_OK) {
        an_free(t->form);
        t->form = NULL;
    }
    return status;
}

/* -----------------------------------------------------------------------------------------------
 * what else is there */

/* The number after "layers." in the text model's part of a name; -1 when there is none. */
static int64_t layer_of(const binder *b, const char *name)
{
    const char *body = b->prefix ? b->prefix->body : "";
    size_t n = strlen(body);
    if (strncmp(name, body, n) != 0 || strncmp(name + n, "layers.", 7) != 0) return -1;
    char digits[10];
    size_t k = strspn(name + n + 7, "0123456789");
    int64_t layer;
    if (k >= sizeof digits) return INT64_MAX;
    memcpy(digits, name + n + 7, k);
    digits[k] = '\0';
    return an_parse_i64(digits, &layer) ? layer : -1;
}

/* More layers than the configuration says are a mistake; other tensors that nothing used are told.
 */
static anemo_status check_rest(const binder *b)
{
    static const char *const SILENT[] = {".activation_scale", ".input_scale", ".qscale_act",
                                         ".rotary_emb.inv_freq"};
    const char *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < an_source_files_n_name(b->s->files); i++) {
        const char *name = an_source_files_name(b->s->files, i);
        bool silent = false;
        if (layer_of(b, name) >= b->s->params.hp.n_layer)
            return an_fail(b->err, ANEMO_ERR_FORMAT,
                           "%s: tensor %.100s belongs to a layer beyond the %d that the model's "
                           "parameters give",
                           b->s->path, name, b->s->params.hp.n_layer);
        for (size_t k = 0; k < AN_COUNT_OF(SILENT); k++)
            silent = silent || an_str_ends_with(name, SILENT[k]);
        if (silent || an_source_files_used(b->s->files, i)) continue;
        if (!first) first = name;
        n++;
    }
    if (n > 0)
        an_source_note(b->s, "%zu tensor%s that the text model does not use %s left out (%.80s%s)",
                       n, n == 1 ? "" : "s", n == 1 ? "is" : "are", first, n == 1 ? "" : ", …");
    return ANEMO_OK;
}

/*
 * The output projection: its presence decides, as everywhere. PyTorch files of tied models hold it
 * a second time, as a view of the same storage.
 */
static anemo_status settle_output(const binder *b)
{
    an_source *s = b->s;
    const an_source_tensor *embd = an_source_find(s, AN_FIELD_TOKEN_EMBD, 0),
                           *out = an_source_find(s, AN_FIELD_OUTPUT, 0);
    char name[AN_TENSOR_NAME_MAX];
    name_of(b, &an_tensor_rules()[AN_FIELD_OUTPUT], 0, name);
    if (!out && s->params.tie_known && !s->params.tie)
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: tensor %s is missing and the model's parameters say that it is not "
                       "tied to the token embedding",
                       s->path, name);
    bool same = out && s->params.tie_known && s->params.tie && out->w.data &&
                out->w.data == embd->w.data && out->w.dtype == embd->w.dtype;
    if (same) {
        size_t i = (size_t)(out - s->tensors);
        memmove(&s->tensors[i], &s->tensors[i + 1], (s->n_tensor - i - 1) * sizeof *s->tensors);
        s->n_tensor--;
    }
    s->params.hp.tied = !out || same;
    return ANEMO_OK;
}

anemo_status an_source_bind(an_source *s, const an_hf_prefix *prefix, const int64_t block[2],
                            anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    binder b = {s, prefix, block, err};
    const an_tensor_rule *rules = an_tensor_rules();
    int n_layer = s->params.hp.n_layer;
    s->tensors = an_calloc((size_t)(n_layer + 1) * AN_FIELD_N, sizeof *s->tensors);
    if (!s->tensors) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    for (int f = 0; f < AN_FIELD_N; f++)
        if (!rules[f].per_layer) AN_TRY(bind_tensor(&b, &rules[f], 0));
    for (int layer = 0; layer < n_layer; layer++)
        for (int f = 0; f < AN_FIELD_N; f++)
            if (rules[f].per_layer) AN_TRY(bind_tensor(&b, &rules[f], layer));
    AN_TRY(settle_output(&b));
    AN_TRY(check_rest(&b));
cleanup:
    return status;
}
