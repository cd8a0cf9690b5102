/*
 * Weights of a container into the fields of a model: found by the table's names, checked against the shapes that the
 * hyperparameters give. Matrices stay views into the file; norms and biases become f32 once, here.
 */
#include "arch/bind.h"

#include "arch/tensor_table.h"
#include "base/alloc.h"
#include "os/file.h"
#include "quant/half.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The f32 vectors that belong to the model file: one block each, in a list. */
typedef struct owned_vector {
    struct owned_vector *next;
    float values[];
} owned_vector;

typedef struct binder {
    an_model_file *m;
    const char *path;
    bool head_known, head_tied; /* what the configuration says */
    anemo_error *err;
} binder;

/* A tensor of either container. */
typedef struct tensor {
    an_dtype dtype;
    const char *type_name;
    int n_dim;
    const int64_t *shape;
    const void *data;
    uint64_t bytes;
} tensor;

void an_bind_free(an_model_file *m)
{
    for (owned_vector *v = m->owned, *next; v; v = next) {
        next = v->next;
        an_free(v);
    }
    m->owned = NULL;
}

static bool find_st(const binder *b, const char *name, tensor *out)
{
    const an_st_tensor *t = an_safetensors_find(b->m->st, name);
    if (!t) return false;
    *out = (tensor){t->dtype, t->dtype_name, t->n_dim, t->shape, t->data, t->bytes};
    return true;
}

static bool find(const binder *b, const char *name, tensor *out)
{
    if (b->m->container == AN_CONTAINER_MLX) return find_st(b, name, out);
    const an_gguf_tensor *t = an_gguf_find_tensor(b->m->gguf, name);
    if (!t) return false;
    const char *type = an_ggml_type_name(t->ggml_type);
    *out = (tensor){t->dtype, type ? type : "unknown", t->n_dim, t->shape, t->data, t->bytes};
    return true;
}

/* "[576, 192]" into out. */
static void shape_text(const tensor *t, char out[96])
{
    int used = snprintf(out, 96, "[");
    for (int i = 0; i < t->n_dim && used < 90; i++)
        used += snprintf(out + used, 96 - (size_t)used, "%s%" PRId64, i ? ", " : "", t->shape[i]);
    snprintf(out + (used < 95 ? used : 94), 2, "]");
}

static anemo_status wrong_shape(const binder *b, const char *name, const tensor *t, int64_t rows,
                                int64_t cols)
{
    char have[96];
    shape_text(t, have);
    return an_fail(b->err, ANEMO_ERR_FORMAT,
                   "%s: tensor %s has shape %s, the model's parameters ask for [%" PRId64 ", %" PRId64 "]",
                   b->path, name, have, rows, cols);
}

static anemo_status refuse_type(const binder *b, const char *name, const tensor *t)
{
    return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                   "%s: tensor %s has type %s, which the native engine does not read; use another engine "
                   "(--engine llama.cpp) or a file in one of F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K "
                   "Q4_K Q5_K Q6_K IQ4_NL IQ4_XS MXFP4 or one of MLX's modes",
                   b->path, name, t->type_name);
}

/* A vector of n values as f32 that the model owns. */
static anemo_status bind_vector(const binder *b, const char *name, const tensor *t, int64_t n,
                                const float **out)
{
    int64_t count = 1;
    for (int i = 0; i < t->n_dim; i++) count = t->shape[i] <= n ? count * t->shape[i] : -1;
    if (t->n_dim > 2 || count != n) return wrong_shape(b, name, t, 1, n);
    if (t->dtype != AN_DTYPE_F32 && t->dtype != AN_DTYPE_F16 && t->dtype != AN_DTYPE_BF16)
        return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                       "%s: tensor %s has type %s; norms and biases must be F32, F16 or BF16", b->path,
                       name, t->type_name);
    owned_vector *v = an_malloc(sizeof *v + (size_t)n * sizeof(float));
    if (!v) return an_fail(b->err, ANEMO_ERR_NOMEM, "%s: out of memory for %s", b->path, name);
    /* The matrices between the vectors are not to come into the page cache: whether they are in it is a measured setting. */
    an_file_sparse(t->data, t->bytes, true);
    an_dequant(t->dtype, t->data, v->values, n);
    an_file_sparse(t->data, t->bytes, false);
    v->next = b->m->owned;
    b->m->owned = v;
    b->m->n_param += (uint64_t)n;
    b->m->weight_bytes += t->bytes;
    *out = v->values;
    return ANEMO_OK;
}

/*
 * An MLX affine matrix. Width and group follow from the shapes, because published configurations name wrong
 * ones for single layers (formats.md 3.2, rule 4).
 */
static anemo_status bind_affine(const binder *b, const char *path, const tensor *codes,
                                const tensor *scales, int64_t rows, int64_t cols, an_weight *out)
{
    char name[AN_TENSOR_NAME_MAX + 24];
    tensor biases;
    snprintf(name, sizeof name, "%s.biases", path);
    if (!find(b, name, &biases))
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: %s has %s scales but no biases: affine groups have both, and mxfp4, mxfp8 and nvfp4 have "
                       "scales of type U8; the download may be incomplete",
                       b->path, path, scales->type_name);
    if (codes->dtype != AN_DTYPE_U32 || codes->n_dim != 2 || codes->shape[0] != rows)
        return wrong_shape(b, path, codes, rows, cols);
    if (scales->n_dim != 2 || scales->shape[0] != rows || scales->shape[1] < 1 ||
        biases.n_dim != 2 || biases.shape[0] != rows || biases.shape[1] != scales->shape[1])
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: scales and biases of %s must both be [%" PRId64 ", groups]", b->path, path,
                       rows);
    if (scales->dtype != biases.dtype ||
        (scales->dtype != AN_DTYPE_F16 && scales->dtype != AN_DTYPE_BF16 &&
         scales->dtype != AN_DTYPE_F32))
        return an_fail(b->err, ANEMO_ERR_UNSUPPORTED,
                       "%s: scales and biases of %s must both be F16, BF16 or F32, they are %s and %s",
                       b->path, path, scales->type_name, biases.type_name);
    int64_t words = codes->shape[1], groups = scales->shape[1];
    int64_t bits = words <= cols ? words * 32 / cols : 0, group = cols / groups;
    bool exact = bits * cols == words * 32 && group * groups == cols;
    if (!exact || bits < 2 || bits > 8 || bits == 7 || (group != 32 && group != 64 && group != 128))
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: %s of %" PRId64 " words and %" PRId64 " groups in a row of %" PRId64
                       " values is no affine quantization (2, 3, 4, 5, 6 or 8 bits, groups of 32, 64 or 128)",
                       b->path, path, words, groups, cols);
    *out = (an_weight){.dtype = AN_DTYPE_AFFINE,
                       .n_row = rows,
                       .n_col = cols,
                       .data = codes->data,
                       .row_bytes = (uint64_t)words * 4,
                       .affine = {.bits = (int)bits,
                                  .group = (int)group,
                                  .scale_dtype = scales->dtype,
                                  .scales = scales->data,
                                  .biases = biases.data}};
    return ANEMO_OK;
}

/* A matrix of one of MLX's FP modes, which the shapes tell apart. */
static anemo_status bind_fp(const binder *b, const char *path, const tensor *codes, const tensor *scales,
                            int64_t rows, int64_t cols, an_weight *out)
{
    static const struct {
        an_dtype dtype;
        int bits, group;
    } modes[] = {{AN_DTYPE_MXFP4, 4, 32}, {AN_DTYPE_MXFP8, 8, 32}, {AN_DTYPE_NVFP4, 4, 16}};
    char name[AN_TENSOR_NAME_MAX + 24];
    tensor biases;
    snprintf(name, sizeof name, "%s.biases", path);
    if (find(b, name, &biases))
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: %s has scales of type U8, as mxfp4, mxfp8 and nvfp4 have them, and biases, which those do not "
                       "have",
                       b->path, path);
    if (codes->dtype != AN_DTYPE_U32 || codes->n_dim != 2 || codes->shape[0] != rows)
        return wrong_shape(b, path, codes, rows, cols);
    if (scales->n_dim != 2 || scales->shape[0] != rows)
        return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: scales of %s must be [%" PRId64 ", groups]", b->path, path, rows);
    int64_t words = codes->shape[1], groups = scales->shape[1];
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        int64_t bits = modes[i].bits, group = modes[i].group;
        if (cols % group != 0 || words != cols * bits / 32 || groups != cols / group) continue;
        *out = (an_weight){.dtype = modes[i].dtype,
                           .n_row = rows,
                           .n_col = cols,
                           .data = codes->data,
                           .row_bytes = (uint64_t)words * 4,
                           .affine = {.bits = (int)bits,
                                      .group = (int)group,
                                      .scale_dtype = AN_DTYPE_U8,
                                      .scales = scales->data}};
        return ANEMO_OK;
    }
    return an_fail(b->err, ANEMO_ERR_FORMAT,
                   "%s: %s of %" PRId64 " words and %" PRId64 " groups in a row of %" PRId64
                   " values is neither mxfp4 (4 bits, groups of 32) nor mxfp8 (8, 32) nor nvfp4 (4, 16)",
                   b->path, path, words, groups, cols);
}

/* A matrix, plain or quantized. `name` as in the container. */
static anemo_status bind_matrix(const binder *b, const char *name, const tensor *t, int64_t rows,
                                int64_t cols, an_weight *out)
{
    an_weight w;
    tensor scales;
    char path[AN_TENSOR_NAME_MAX + 8], scales_name[AN_TENSOR_NAME_MAX + 24];
    /* "….weight" has its scales at "….scales". */
    snprintf(path, sizeof path, "%.*s", (int)(strlen(name) - strlen(".weight")), name);
    snprintf(scales_name, sizeof scales_name, "%s.scales", path);
    if (b->m->container == AN_CONTAINER_MLX && find(b, scales_name, &scales)) {
        anemo_status status = scales.dtype == AN_DTYPE_U8 ? bind_fp(b, path, t, &scales, rows, cols, &w)
                                                          : bind_affine(b, path, t, &scales, rows, cols, &w);
        if (status != ANEMO_OK) return status;
    } else {
        const an_dtype_info *info = an_dtype_get(t->dtype);
        if (b->m->container == AN_CONTAINER_MLX && t->dtype == AN_DTYPE_U32)
            return an_fail(b->err, ANEMO_ERR_FORMAT,
                           "%s: tensor %s has type U32, as quantized weights have, but %s is missing; the download may be "
                           "incomplete",
                           b->path, name, scales_name);
        if (!info->weight) return refuse_type(b, name, t);
        if (t->n_dim != 2 || t->shape[0] != rows || t->shape[1] != cols)
            return wrong_shape(b, name, t, rows, cols);
        if (cols % info->block_elems != 0) return wrong_shape(b, name, t, rows, cols);
        w = (an_weight){.dtype = t->dtype,
                        .n_row = rows,
                        .n_col = cols,
                        .data = t->data,
                        .row_bytes = (uint64_t)(cols / info->block_elems) * (uint64_t)info->block_bytes};
    }
    b->m->n_param += (uint64_t)(rows * cols);
    b->m->weight_bytes += an_weight_bytes(&w);
    *out = w;
    return ANEMO_OK;
}

/* The field of one rule at `place` (inside the model or one of its layers). */
static anemo_status bind_field(const binder *b, const an_tensor_rule *rule, int layer, char *place)
{
    char name[AN_TENSOR_NAME_MAX];
    tensor t;
    if (b->m->container == AN_CONTAINER_MLX && !rule->hf) return ANEMO_OK;
    an_tensor_name(b->m, rule, layer, name);
    if (!find(b, name, &t)) {
        if (!rule->required) return ANEMO_OK;
        return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: tensor %s is missing", b->path, name);
    }
    const an_hparams *hp = &b->m->hp;
    int64_t rows = an_dim_of(hp, rule->rows), cols = an_dim_of(hp, rule->cols);
    if (rule->rows != AN_DIM_NONE)
        return bind_matrix(b, name, &t, rows, cols, (an_weight *)(void *)(place + rule->offset));
    return bind_vector(b, name, &t, cols, (const float **)(void *)(place + rule->offset));
}

/* GGUF has no required vocabulary size: the embedding's rows are it. */
static anemo_status find_vocab(const binder *b)
{
    char name[AN_TENSOR_NAME_MAX];
    tensor t;
    an_tensor_name(b->m, &an_tensor_rules()[AN_FIELD_TOKEN_EMBD], 0, name);
    if (!find(b, name, &t))
        return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: tensor %s is missing", b->path, name);
    if (t.n_dim != 2 || t.shape[0] < 1 || t.shape[0] > AN_VOCAB_MAX)
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: tensor %s must have two dimensions and 1 to %d rows", b->path, name,
                       AN_VOCAB_MAX);
    b->m->hp.n_vocab = (int)t.shape[0];
    return ANEMO_OK;
}

static anemo_status find_prefix(const binder *b)
{
    size_t n;
    const an_hf_prefix *all = an_hf_prefixes(&n);
    for (size_t i = 0; i < n; i++) {
        char name[AN_TENSOR_NAME_MAX];
        tensor t;
        b->m->hf_prefix = &all[i];
        an_tensor_name(b->m, &an_tensor_rules()[AN_FIELD_TOKEN_EMBD], 0, name);
        if (find(b, name, &t)) return ANEMO_OK;
    }
    return an_fail(b->err, ANEMO_ERR_FORMAT,
                   "%s: no tensor model.embed_tokens.weight (nor with the prefix language_model.)",
                   b->path);
}

/* Presence of the output projection decides; the configuration only contradicts a model that lacks it. */
static anemo_status bind_output(const binder *b)
{
    an_model_file *m = b->m;
    m->hp.tied = m->output.data == NULL;
    if (!m->hp.tied) return ANEMO_OK;
    if (b->head_known && !b->head_tied)
        return an_fail(b->err, ANEMO_ERR_FORMAT,
                       "%s: tensor %s.weight is missing and config.json says that it is not tied to the "
                       "token embedding",
                       b->path, m->hf_prefix ? m->hf_prefix->head : "output");
    m->output = m->token_embd;
    return ANEMO_OK;
}

/* Divisors of the rope frequencies must not be zero or worse. */
static anemo_status check_rope_freqs(const binder *b)
{
    const float *f = b->m->hp.rope_freq_factors;
    for (int i = 0; f && i < b->m->hp.head_dim / 2; i++)
        if (!(f[i] > 1e-6f && f[i] < 1e6f))
            return an_fail(b->err, ANEMO_ERR_FORMAT, "%s: rope_freqs.weight[%d] is %g", b->path, i,
                           (double)f[i]);
    return ANEMO_OK;
}

anemo_status an_bind_weights(an_model_file *m, const an_arch_params *params, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    binder b = {.m = m,
                .path = m->path,
                .head_known = params->tie_known,
                .head_tied = params->tie,
                .err = err};
    if (m->container == AN_CONTAINER_MLX)
        AN_TRY(find_prefix(&b));
    else
        AN_TRY(find_vocab(&b));
    const an_tensor_rule *rules = an_tensor_rules();
    for (int f = 0; f < AN_FIELD_N; f++) {
        if (!rules[f].per_layer) {
            AN_TRY(bind_field(&b, &rules[f], 0, (char *)m));
            continue;
        }
        for (int layer = 0; layer < m->hp.n_layer; layer++)
            AN_TRY(bind_field(&b, &rules[f], layer, (char *)&m->layers[layer]));
    }
    AN_TRY(bind_output(&b));
    AN_TRY(check_rope_freqs(&b));
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        m->layers[layer].window = params->window[layer];
cleanup:
    if (status != ANEMO_OK) an_bind_free(m);
    return status;
}

/* One weight of the model, or a vector as a weight of one row; false when the model lacks it. */
static bool bound_weight(const an_model_file *m, const an_tensor_rule *rule, int layer, an_weight *out)
{
    const char *at = (rule->per_layer ? (const char *)&m->layers[layer] : (const char *)m) + rule->offset;
    if (rule->rows != AN_DIM_NONE) {
        memcpy(out, at, sizeof *out);
    } else {
        int64_t n = an_dim_of(&m->hp, rule->cols);
        *out = (an_weight){.dtype = AN_DTYPE_F32, .n_row = 1, .n_col = n, .row_bytes = (uint64_t)n * sizeof(float)};
        memcpy(&out->data, at, sizeof out->data);
    }
    return out->data != NULL;
}

anemo_status an_model_check_values(const an_model_file *m, anemo_error *err)
{
    const an_tensor_rule *rules = an_tensor_rules();
    for (int f = 0; f < AN_FIELD_N; f++) {
        int n = rules[f].per_layer ? m->hp.n_layer : 1;
        if (f == AN_FIELD_OUTPUT && m->hp.tied) continue;
        for (int layer = 0; layer < n; layer++) {
            char name[AN_TENSOR_NAME_MAX];
            an_weight w;
            if (!bound_weight(m, &rules[f], layer, &w)) continue;
            int64_t row = an_weight_find_nonfinite(&w);
            if (row < 0) continue;
            an_tensor_name(m, &rules[f], layer, name);
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: tensor %s holds a NaN or an infinity in row %" PRId64
                           "; the file is damaged: fetch or convert it again",
                           m->path, name, row);
        }
    }
    return ANEMO_OK;
}
