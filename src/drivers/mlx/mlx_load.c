/*
 * Loading: which tensors a model has and how each is packed is known from src/arch; the bytes come
 * through MLX's own reader, so that they lie where its kernels want them.
 */
#include "drivers/mlx/mlx_load.h"

#include "arch/tensor_table.h"
#include "base/alloc.h"
#include "base/str.h"

#include <string.h>

enum { ARRAYS_PER_LINEAR = 5, LINEARS_PER_BLOCK = 7 };

typedef struct loader {
    const an_model_file *file;
    const an_hf_prefix *prefix;
    an_mlx_weights weights;
    an_mlx_dtype compute;
    anemo_error *err;
} loader;

an_mlx_dtype an_mlx_own_dtype(const an_model_file *file)
{
    const an_weight *w = &file->token_embd;
    an_dtype dtype = w->dtype == AN_DTYPE_AFFINE ? w->affine.scale_dtype : w->dtype;
    if (dtype == AN_DTYPE_F16) return AN_MLX_F16;
    if (dtype == AN_DTYPE_BF16) return AN_MLX_BF16;
    return AN_MLX_F32;
}

/* All shards into one table of names; nothing is read before it is evaluated. */
static anemo_status load_files(loader *l)
{
    anemo_status status = ANEMO_OK;
    an_str path = {0};
    size_t n = an_safetensors_n_file(l->file->st);
    for (size_t i = 0; i < n; i++) {
        const char *name = an_safetensors_file_name(l->file->st, i);
        const char *base = strrchr(name, '/');
        an_str_clear(&path);
        an_str_appendf(&path, "%s/%s", l->file->path, base ? base + 1 : name);
        AN_TRY(an_str_check(&path, l->err));
        AN_TRY(an_mlx_weights_load(&l->weights, an_str_text(&path), l->err));
    }
cleanup:
    an_str_free(&path);
    return status;
}

static anemo_status find_prefix(loader *l)
{
    size_t n;
    const an_hf_prefix *all = an_hf_prefixes(&n);
    for (size_t i = 0; i < n; i++) {
        char name[AN_TENSOR_NAME_MAX + 8];
        an_tensor_path_hf(&an_tensor_rules()[AN_FIELD_TOKEN_EMBD], &all[i], 0, name);
        strcat(name, ".weight");
        if (!an_safetensors_find(l->file->st, name)) continue;
        l->prefix = &all[i];
        return ANEMO_OK;
    }
    return an_fail(l->err, ANEMO_ERR_FORMAT, "%s: no token embedding under a known name",
                   l->file->path);
}

/* One tensor; with `cast`, in the compute type. */
static anemo_status get(const loader *l, const char *path, const char *suffix, bool cast,
                        an_mlx_array *out)
{
    char name[AN_TENSOR_NAME_MAX + 8];
    an_mlx_array raw = {NULL};
    snprintf(name, sizeof name, "%s%s", path, suffix);
    anemo_status status = an_mlx_weights_get(&raw, l->weights, name, l->err);
    if (status != ANEMO_OK) return an_fail_prefix(l->err, status, "%s", l->file->path);
    if (!cast || an_mlx_dtype_of(raw) == l->compute) {
        *out = raw;
        return ANEMO_OK;
    }
    status = an_mlx_astype(out, raw, l->compute, l->err);
    an_mlx_array_free(&raw);
    return status;
}

/* `w` says how the tensor is packed. A failure leaves what was read in *out, for an_mlx_net_free.
 */
static anemo_status get_linear(const loader *l, an_field field, int layer, const an_weight *w,
                               bool has_bias, an_mlx_linear *out)
{
    anemo_status status = ANEMO_OK;
    char path[AN_TENSOR_NAME_MAX];
    an_tensor_path_hf(&an_tensor_rules()[field], l->prefix, layer, path);
    if (an_dtype_is_fp_mode(w->dtype)) {
        status = an_fail(l->err, ANEMO_ERR_UNSUPPORTED,
                         "%s: %s is quantized in mode %s, which this engine does not run; use --engine native or mlx-lm, or "
                         "make another form of it: anemo convert SRC DST --to mlx --dtype bf16 --quantize none",
                         l->file->path, path, an_dtype_get(w->dtype)->name);
        goto cleanup;
    }
    if (w->dtype == AN_DTYPE_AFFINE) {
        out->bits = w->affine.bits;
        out->group = w->affine.group;
        AN_TRY(get(l, path, ".weight", false, &out->weight));
        AN_TRY(get(l, path, ".scales", true, &out->scales));
        AN_TRY(get(l, path, ".biases", true, &out->biases));
    } else {
        AN_TRY(get(l, path, ".weight", true, &out->weight));
        AN_TRY(an_mlx_transpose(&out->weight_t, out->weight, (int[]){1, 0}, 2, l->err));
    }
    if (has_bias) AN_TRY(get(l, path, ".bias", true, &out->bias));
cleanup:
    return status;
}

static anemo_status get_vector(const loader *l, an_field field, int layer, an_mlx_array *out)
{
    char path[AN_TENSOR_NAME_MAX];
    an_tensor_path_hf(&an_tensor_rules()[field], l->prefix, layer, path);
    return get(l, path, ".weight", true, out);
}

static anemo_status get_block(const loader *l, int layer, an_mlx_block *b)
{
    anemo_status status = ANEMO_OK;
    const an_layer_weights *w = &l->file->layers[layer];
    b->window = w->window;
    AN_TRY(get_vector(l, AN_FIELD_ATTN_NORM, layer, &b->attn_norm));
    AN_TRY(get_linear(l, AN_FIELD_ATTN_Q, layer, &w->wq, w->bq != NULL, &b->wq));
    AN_TRY(get_linear(l, AN_FIELD_ATTN_K, layer, &w->wk, w->bk != NULL, &b->wk));
    AN_TRY(get_linear(l, AN_FIELD_ATTN_V, layer, &w->wv, w->bv != NULL, &b->wv));
    AN_TRY(get_linear(l, AN_FIELD_ATTN_OUT, layer, &w->wo, w->bo != NULL, &b->wo));
    AN_TRY(get_vector(l, AN_FIELD_FFN_NORM, layer, &b->ffn_norm));
    AN_TRY(get_linear(l, AN_FIELD_FFN_GATE, layer, &w->w_gate, false, &b->w_gate));
    AN_TRY(get_linear(l, AN_FIELD_FFN_UP, layer, &w->w_up, false, &b->w_up));
    AN_TRY(get_linear(l, AN_FIELD_FFN_DOWN, layer, &w->w_down, false, &b->w_down));
cleanup:
    return status;
}

static size_t list_linear(const an_mlx_linear *w, an_mlx_array *list)
{
    const an_mlx_array all[ARRAYS_PER_LINEAR] = {w->weight, w->weight_t, w->scales, w->biases,
                                                 w->bias};
    size_t n = 0;
    for (size_t i = 0; i < ARRAYS_PER_LINEAR; i++)
        if (all[i].ctx) list[n++] = all[i];
    return n;
}

/* Evaluate everything in one go: this is where files are read and casts happen. */
static anemo_status read_all(const an_mlx_net *net, anemo_error *err)
{
    size_t per_block = LINEARS_PER_BLOCK * ARRAYS_PER_LINEAR + 2;
    size_t cap = (size_t)net->n_layer * per_block + 2 * ARRAYS_PER_LINEAR + 1, n = 0;
    an_mlx_array *list = an_calloc(cap, sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for a list of %zu arrays", cap);
    n += list_linear(&net->embd, list + n);
    n += list_linear(&net->output, list + n);
    list[n++] = net->output_norm;
    for (int layer = 0; layer < net->n_layer; layer++) {
        const an_mlx_block *b = &net->blocks[layer];
        const an_mlx_linear *all[LINEARS_PER_BLOCK] = {&b->wq,     &b->wk,   &b->wv,    &b->wo,
                                                       &b->w_gate, &b->w_up, &b->w_down};
        for (size_t i = 0; i < LINEARS_PER_BLOCK; i++)
            n += list_linear(all[i], list + n);
        list[n++] = b->attn_norm;
        list[n++] = b->ffn_norm;
    }
    anemo_status status = an_mlx_eval(list, n, err);
    an_free(list);
    return status;
}

anemo_status an_mlx_net_load(an_mlx_net *net, const an_model_file *file, an_mlx_dtype compute,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    loader l = {.file = file, .compute = compute, .err = err};
    an_mlx_net made = {.n_layer = file->hp.n_layer};
    made.blocks = an_calloc((size_t)made.n_layer, sizeof *made.blocks);
    if (!made.blocks) {
        return an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for %d layers", made.n_layer);
    }
    AN_TRY(find_prefix(&l));
    AN_TRY(load_files(&l));
    AN_TRY(get_linear(&l, AN_FIELD_TOKEN_EMBD, 0, &file->token_embd, false, &made.embd));
    if (!file->hp.tied)
        AN_TRY(get_linear(&l, AN_FIELD_OUTPUT, 0, &file->output, false, &made.output));
    AN_TRY(get_vector(&l, AN_FIELD_OUTPUT_NORM, 0, &made.output_norm));
    for (int layer = 0; layer < made.n_layer; layer++)
        AN_TRY(get_block(&l, layer, &made.blocks[layer]));
    /* The table of names must go first: it would hold every tensor a second time, uncast. */
    an_mlx_weights_free(&l.weights);
    AN_TRY(read_all(&made, err));
    *net = made;
    made = (an_mlx_net){0};
cleanup:
    an_mlx_weights_free(&l.weights);
    an_mlx_net_free(&made);
    return status;
}

static void free_linear(an_mlx_linear *w)
{
    an_mlx_array_free(&w->weight);
    an_mlx_array_free(&w->weight_t);
    an_mlx_array_free(&w->scales);
    an_mlx_array_free(&w->biases);
    an_mlx_array_free(&w->bias);
}

void an_mlx_net_free(an_mlx_net *net)
{
    for (int layer = 0; layer < net->n_layer && net->blocks; layer++) {
        an_mlx_block *b = &net->blocks[layer];
        an_mlx_linear *all[LINEARS_PER_BLOCK] = {&b->wq,     &b->wk,   &b->wv,    &b->wo,
                                                 &b->w_gate, &b->w_up, &b->w_down};
        for (size_t i = 0; i < LINEARS_PER_BLOCK; i++)
            free_linear(all[i]);
        an_mlx_array_free(&b->attn_norm);
        an_mlx_array_free(&b->ffn_norm);
        an_mlx_array_free(&b->keys);
        an_mlx_array_free(&b->values);
    }
    free_linear(&net->embd);
    free_linear(&net->output);
    an_mlx_array_free(&net->output_norm);
    an_free(net->blocks);
    *net = (an_mlx_net){0};
}
