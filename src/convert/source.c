/* The weights of an opened model as a list, each in its stored form. */
#include "convert/source_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "convert/rows.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* The model file keeps vectors as f32 copies; here the stored form counts. */
static bool find_vector(const an_source *s, const char *name, int64_t n, an_weight *w)
{
    if (s->model->container == AN_CONTAINER_GGUF) {
        const an_gguf_tensor *t = an_gguf_find_tensor(s->model->gguf, name);
        if (t) *w = (an_weight){.dtype = t->dtype, .n_row = 1, .n_col = n, .data = t->data, .row_bytes = t->bytes};
        return t != NULL;
    }
    const an_st_tensor *t = an_safetensors_find(s->model->st, name);
    if (t) *w = (an_weight){.dtype = t->dtype, .n_row = 1, .n_col = n, .data = t->data, .row_bytes = t->bytes};
    return t != NULL;
}

static void add(an_source *s, const an_tensor_rule *rule, int layer)
{
    const an_model_file *m = s->model;
    an_source_tensor *t = &s->tensors[s->n_tensor];
    const char *place = rule->per_layer ? (const char *)&m->layers[layer] : (const char *)m;
    *t = (an_source_tensor){.field = rule->field, .layer = layer};
    if (rule->field == AN_FIELD_OUTPUT && m->hp.tied) return;
    if (m->container == AN_CONTAINER_MLX && !rule->hf) return;
    an_tensor_name(m, rule, layer, t->name);
    if (rule->rows != AN_DIM_NONE) {
        memcpy(&t->w, place + rule->offset, sizeof t->w);
        t->n_dim = 2;
    } else {
        if (!find_vector(s, t->name, an_dim_of(&m->hp, rule->cols), &t->w)) return;
        t->n_dim = 1;
    }
    t->n_row = t->w.n_row;
    t->n_col = t->w.n_col;
    t->rotated = an_field_is_rotated(rule->field);
    t->rows = m->hp.rope_rows;
    bool plain = an_dtype_get(t->w.dtype)->block_elems == 1;
    t->float_dtype = plain ? t->w.dtype : AN_DTYPE_F32;
    if (an_dtype_is_mlx(t->w.dtype)) s->kind = AN_SOURCE_MLX;
    s->n_tensor++;
}

static anemo_status list_tensors(an_source *s, anemo_error *err)
{
    const an_tensor_rule *rules = an_tensor_rules();
    int n_layer = s->model->hp.n_layer;
    s->tensors = an_calloc((size_t)(n_layer + 1) * AN_FIELD_N, sizeof *s->tensors);
    if (!s->tensors) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    for (int f = 0; f < AN_FIELD_N; f++)
        if (!rules[f].per_layer) add(s, &rules[f], 0);
    for (int layer = 0; layer < n_layer; layer++)
        for (int f = 0; f < AN_FIELD_N; f++)
            if (rules[f].per_layer) add(s, &rules[f], layer);
    return ANEMO_OK;
}

static void take_params(an_source *s)
{
    const an_model_file *m = s->model;
    an_arch_params *p = &s->params;
    memcpy(p->arch, m->arch, sizeof p->arch);
    p->hp = m->hp;
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        p->window[layer] = m->layers[layer].window;
    p->tie_known = true;
    p->tie = m->hp.tied;
    memcpy(p->eos_ids, m->eos_ids, sizeof p->eos_ids);
    p->n_eos = m->n_eos;
}

/* -------------------------------------------------------------------------------------------------------
 * notes, files */

void an_source_note(an_source *s, const char *fmt, ...)
{
    size_t used = strlen(s->notes);
    if (used + 3 >= sizeof s->notes) return;
    va_list ap;
    if (used > 0) used += (size_t)snprintf(s->notes + used, sizeof s->notes - used, "; ");
    va_start(ap, fmt);
    vsnprintf(s->notes + used, sizeof s->notes - used, fmt, ap);
    va_end(ap);
}

/* A JSON file of the directory; *out stays NULL when it is absent and not required. */
static anemo_status read_json(const an_source *s, const char *name, bool required, json_t **out,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *path = an_path_join(s->path, name);
    size_t n;
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    if (required || an_path_probe(path) == AN_PATH_FILE) {
        AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
        AN_TRY(an_json_parse(out, text, n, path, err));
    }
cleanup:
    an_free(text);
    an_free(path);
    return status;
}

/* What a directory holds. */
typedef struct folder {
    char **names;
    size_t n;
    bool config, params;                   /* config.json, params.json */
    bool safetensors, torch;               /* of the Hugging Face layout */
    bool native_safetensors, native_torch; /* consolidated* */
} folder;

/* "consolidated.00.pth": its number, or -1. */
static int part_number(const char *name)
{
    if (strlen(name) != strlen("consolidated.00.pth") ||
        !an_str_starts_with(name, "consolidated.") || !an_str_ends_with(name, ".pth") ||
        !strchr("0123456789", name[13]) || !strchr("0123456789", name[14]))
        return -1;
    return (name[13] - '0') * 10 + (name[14] - '0');
}

static anemo_status list_folder(an_source *s, folder *f, anemo_error *err)
{
    static const char *const SIDES[AN_SIDE_N] = {
        [AN_SIDE_TEKKEN] = "tekken.json",
        [AN_SIDE_TOKENIZER_JSON] = "tokenizer.json",
        [AN_SIDE_TOKENIZER_CONFIG] = "tokenizer_config.json",
        [AN_SIDE_SPECIAL_TOKENS_MAP] = "special_tokens_map.json",
        [AN_SIDE_ADDED_TOKENS] = "added_tokens.json",
        [AN_SIDE_CHAT_TEMPLATE] = "chat_template.jinja",
        [AN_SIDE_GENERATION_CONFIG] = "generation_config.json",
    };
    anemo_status status = ANEMO_OK;
    AN_TRY(an_dir_list(s->path, &f->names, &f->n, err));
    for (size_t i = 0; i < f->n; i++) {
        const char *name = f->names[i];
        f->config = f->config || strcmp(name, "config.json") == 0;
        f->params = f->params || strcmp(name, "params.json") == 0;
        f->native_torch = f->native_torch || part_number(name) >= 0;
        for (int k = 0; k < AN_SIDE_N; k++) {
            bool spm = k == AN_SIDE_SPM && an_str_starts_with(name, "tokenizer.model");
            if (!spm && (!SIDES[k] || strcmp(name, SIDES[k]) != 0)) continue;
            an_free(s->side[k]); /* names are sorted: the highest version comes last */
            s->side[k] = an_strdup(name);
            if (!s->side[k]) {
                status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
                goto cleanup;
            }
        }
    }
    f->safetensors = an_weight_set_present(&an_weight_set_safetensors, f->names, f->n);
    f->torch = an_weight_set_present(&an_weight_set_torch, f->names, f->n);
    f->native_safetensors =
        an_weight_set_present(&an_weight_set_native_safetensors, f->names, f->n);
cleanup:
    return status;
}

/* The parts consolidated.00.pth, 01, …: complete from 0 on. */
static anemo_status list_parts(const an_source *s, const folder *f, an_weight_list *list,
                               anemo_error *err)
{
    *list = (an_weight_list){.items = an_calloc(f->n, sizeof *list->items)};
    if (!list->items) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    for (size_t i = 0; i < f->n; i++) {
        int no = part_number(f->names[i]);
        if (no < 0) continue;
        if (no != (int)list->n)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: consolidated.%02d.pth is missing", s->path,
                           (int)list->n);
        list->items[list->n] = an_strdup(f->names[i]);
        if (!list->items[list->n])
            return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
        list->n++;
    }
    return ANEMO_OK;
}

/* The list of a set's files (NULL: the parallel parts), none of them a link out of the folder. */
static anemo_status list_weights(const an_source *s, const folder *f, const an_weight_set *set,
                                 an_weight_list *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (set)
        AN_TRY(an_weight_list_open(list, s->path, set, err));
    else
        AN_TRY(list_parts(s, f, list, err));
    for (size_t i = 0; i < list->n; i++)
        AN_TRY(an_weight_file_check_link(s->path, list->items[i], err));
cleanup:
    return status;
}

/* Weight files that look as if they belonged to the set, and that its index does not name. */
static void note_strangers(an_source *s, const folder *f, const an_weight_set *set,
                           const an_weight_list *list)
{
    if (!set || !list->index_text) return;
    for (size_t i = 0; i < f->n; i++) {
        bool named = false;
        for (size_t k = 0; k < list->n; k++)
            named = named || strcmp(list->items[k], f->names[i]) == 0;
        if (named || strcmp(f->names[i], set->index) == 0 ||
            !an_weight_set_present(set, &f->names[i], 1))
            continue;
        an_source_note(s, "%s is left out: %s does not name it, so it is of another set",
                       f->names[i], set->index);
        return;
    }
}

/* -----------------------------------------------------------------------------------------------
 * Hugging Face layout */

/*
 * Does the configuration say that the weights are FP8, which is read here and nowhere else? Then
 * the section is removed from it, and the size of the blocks taken from it.
 */
static bool take_fp8(json_t *config, int64_t block[2])
{
    static const char *const METHODS[] = {"fp8", "fbgemm_fp8"};
    json_t *inner = json_object_get(config, "text_config");
    json_t *holder =
        json_is_object(json_object_get(config, "quantization_config")) ? config : inner;
    const json_t *q = json_object_get(holder, "quantization_config");
    const char *method = json_string_value(json_object_get(q, "quant_method"));
    const char *format = json_string_value(json_object_get(q, "format"));
    bool fp8 = method && format && strcmp(method, "compressed-tensors") == 0 &&
               strcmp(format, "float-quantized") == 0;
    for (size_t i = 0; method && i < AN_COUNT_OF(METHODS); i++)
        fp8 = fp8 || strcmp(method, METHODS[i]) == 0;
    if (!fp8) return false;
    const json_t *size = json_object_get(q, "weight_block_size");
    for (size_t i = 0; i < 2; i++) {
        json_int_t v = json_integer_value(json_array_get(size, i));
        block[i] = v > 0 && v <= INT32_MAX ? v : 0;
    }
    json_object_del(config, "quantization_config");
    if (inner) json_object_del(inner, "quantization_config");
    return true;
}

/* Where the text model's tensors lie: the layout in which the token embedding is found. */
static const an_hf_prefix *find_prefix(an_source *s)
{
    size_t n;
    const an_hf_prefix *all = an_hf_prefixes(&n);
    for (size_t i = 0; i < n; i++) {
        char name[AN_TENSOR_NAME_MAX];
        source_view v;
        an_tensor_path_hf(&an_tensor_rules()[AN_FIELD_TOKEN_EMBD], &all[i], 0, name);
        strncat(name, ".weight", sizeof name - 1 - strlen(name));
        if (an_source_files_find(s->files, name, 0, &v)) return &all[i];
    }
    return NULL;
}

static anemo_status open_files(an_source *s, const folder *f, const an_weight_set *set,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_weight_list list = {0};
    AN_TRY(list_weights(s, f, set, &list, err));
    note_strangers(s, f, set, &list);
    AN_TRY(an_source_files_open(&s->files, s->path, &list, set, err));
cleanup:
    an_weight_list_free(&list);
    return status;
}

/* Hugging Face files that an_model_file does not read: PyTorch checkpoints and FP8. The
 * configuration was read. */
static anemo_status open_hf_files(an_source *s, const folder *f, const int64_t block[2],
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(
        open_files(s, f, f->safetensors ? &an_weight_set_safetensors : &an_weight_set_torch, err));
    const an_hf_prefix *prefix = find_prefix(s);
    if (!prefix) {
        status =
            an_fail(err, ANEMO_ERR_FORMAT,
                    "%s: no tensor model.embed_tokens.weight (nor with the prefix language_model.)",
                    s->path);
        goto cleanup;
    }
    AN_TRY(an_source_bind(s, prefix, block, err));
cleanup:
    return status;
}

/* Plain or MLX safetensors, through the same reader as the engine's. */
static anemo_status open_model(an_source *s, const folder *f, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_weight_list list = {0};
    AN_TRY(list_weights(s, f, &an_weight_set_safetensors, &list, err));
    note_strangers(s, f, &an_weight_set_safetensors, &list);
    AN_TRY(an_model_file_open(&s->model, s->path, err));
    json_decref(s->config);
    s->config = json_incref(s->model->config);
    take_params(s);
    AN_TRY(list_tensors(s, err));
    for (size_t i = 0; i < an_safetensors_n_tensor(s->model->st); i++)
        AN_TRY(an_source_check_layer(s, s->model->hf_prefix,
                                     an_safetensors_tensor_at(s->model->st, i)->name, err));
cleanup:
    an_weight_list_free(&list);
    return status;
}

static anemo_status open_hf(an_source *s, const folder *f, const int64_t block[2], bool fp8,
                            anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    s->kind = AN_SOURCE_HF;
    if (f->native_safetensors || f->native_torch)
        an_source_note(s, "the folder holds consolidated* too: the Hugging Face files are taken");
    else if (f->safetensors && f->torch)
        an_source_note(s, "the folder holds pytorch_model*.bin too: the safetensors are taken");
    if (s->side[AN_SIDE_GENERATION_CONFIG]) {
        AN_TRY(read_json(s, "generation_config.json", true, &s->generation_config, err));
        AN_TRY(an_hparams_eos_from_json(s->generation_config, "generation_config.json", &s->params,
                                        err));
    }
    if (f->safetensors && !fp8)
        AN_TRY(open_model(s, f, err));
    else
        AN_TRY(open_hf_files(s, f, block, err));
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * Mistral's own layout */

static anemo_status open_native(an_source *s, const folder *f, anemo_error *err)
{
    static const int64_t NO_BLOCK[2] = {0, 0};
    anemo_status status = ANEMO_OK;
    json_t *params = NULL, *beside = s->config;
    char note[300], *path = an_path_join(s->path, "params.json");
    s->config = NULL;
    s->kind = AN_SOURCE_NATIVE;
    if (!path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
        goto cleanup;
    }
    AN_TRY(read_json(s, "params.json", true, &params, err));
    AN_TRY(an_hparams_native_config(params, beside, path, &s->config, note, sizeof note, err));
    if (note[0]) an_source_note(s, "%s", note);
    AN_TRY(an_hparams_from_json(s->config, path, &s->params, err));
    s->params.hp.rope_rows = AN_ROPE_INTERLEAVED;
    if (f->native_safetensors && f->native_torch)
        an_source_note(s, "the folder holds consolidated.*.pth too: the safetensors are taken");
    AN_TRY(open_files(s, f, f->native_safetensors ? &an_weight_set_native_safetensors : NULL, err));
    AN_TRY(an_source_bind(s, NULL, NO_BLOCK, err));
cleanup:
    json_decref(params);
    json_decref(beside);
    an_free(path);
    return status;
}

/* -----------------------------------------------------------------------------------------------------------
 * opening */

/* The Hugging Face configuration and its hyperparameters; FP8 is taken out of it. */
static anemo_status read_config(an_source *s, int64_t block[2], bool *fp8, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *path = an_path_join(s->path, "config.json");
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    AN_TRY(read_json(s, "config.json", true, &s->config, err));
    *fp8 = take_fp8(s->config, block);
    AN_TRY(an_hparams_from_json(s->config, path, &s->params, err));
cleanup:
    an_free(path);
    return status;
}

static anemo_status no_weights(const an_source *s, const folder *f, anemo_error *err)
{
    if (f->config)
        return an_fail(err, ANEMO_ERR_NOTFOUND,
                       "%s: holds no weights: neither model*.safetensors nor pytorch_model*.bin; "
                       "the download may be incomplete",
                       s->path);
    if (f->params)
        return an_fail(err, ANEMO_ERR_NOTFOUND,
                       "%s: holds params.json but no consolidated*.safetensors or "
                       "consolidated.00.pth; the download may be "
                       "incomplete",
                       s->path);
    return an_fail(err, ANEMO_ERR_FORMAT,
                   "%s: a directory without config.json or params.json is not a model; name a GGUF "
                   "file, an MLX or Hugging Face "
                   "directory, or one of Mistral's own layout",
                   s->path);
}

static anemo_status open_directory(an_source *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error refusal;
    folder f = {0};
    int64_t block[2] = {0, 0};
    bool fp8 = false;
    AN_TRY(list_folder(s, &f, err));
    bool hf = f.config && (f.safetensors || f.torch),
         native = f.params && (f.native_safetensors || f.native_torch);
    if (hf) {
        status = read_config(s, block, &fp8, &refusal);
        bool unusable = status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_UNSUPPORTED;
        if (status != ANEMO_OK && !(unusable && native)) {
            *err = refusal;
            goto cleanup;
        }
        if (unusable)
            an_source_note(s, "config.json cannot be used (%.200s): Mistral's own files are taken",
                           refusal.message);
        hf = status == ANEMO_OK;
        status = ANEMO_OK;
    } else if (native && f.config) {
        AN_TRY(read_json(s, "config.json", true, &s->config, err));
    }
    if (hf)
        AN_TRY(open_hf(s, &f, block, fp8, err));
    else if (native)
        AN_TRY(open_native(s, &f, err));
    else
        AN_TRY(no_weights(s, &f, err));
cleanup:
    an_names_free(f.names);
    return status;
}

anemo_status an_source_open(an_source **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_source *s = an_calloc(1, sizeof *s);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    s->path = an_strdup(path);
    if (!s->path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    if (an_path_probe(path) == AN_PATH_DIR) {
        AN_TRY(open_directory(s, err));
    } else {
        AN_TRY(an_model_file_open(&s->model, path, err));
        s->kind = AN_SOURCE_GGUF;
        take_params(s);
        AN_TRY(list_tensors(s, err));
    }
    *out = s;
cleanup:
    if (status != ANEMO_OK) an_source_close(s);
    return status;
}

void an_source_close(an_source *s)
{
    if (!s) return;
    json_decref(s->generation_config);
    json_decref(s->config);
    for (size_t i = 0; i < s->n_tensor; i++)
        an_free(s->tensors[i].form);
    for (int k = 0; k < AN_SIDE_N; k++)
        an_free(s->side[k]);
    an_free(s->tensors);
    an_source_files_close(s->files);
    an_model_file_close(s->model);
    an_free(s->path);
    an_free(s);
}

anemo_status an_source_rows(const an_source *s, const an_source_tensor *t, int64_t row, int64_t n,
                            float *out, anemo_error *err)
{
    if (row < 0 || n < 0 || row > t->n_row || n > t->n_row - row)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: tensor %s has no such rows", s->path, t->name);
    if (t->form) return an_source_form_rows(s, t, row, n, out, err);
    for (int64_t i = 0; i < n; i++)
        an_rows_of_weight(&t->w, row + i, out + i * t->n_col);
    return ANEMO_OK;
}

anemo_status an_source_check(const an_source *s, const an_source_tensor *t, anemo_error *err)
{
    int64_t row = t->form ? an_source_form_find_nonfinite(t) : an_weight_find_nonfinite(&t->w);
    if (row < 0) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT,
                   "%s: tensor %s holds a NaN or an infinity in row %" PRId64
                   "; the file is damaged: fetch or convert it again",
                   s->path, t->name, row);
}

/* Row `to` of a head in the order `rows` is this row of it in the other order (formats.md 1.5). */
static int64_t other_order(an_rope_rows rows, int64_t head_dim, int64_t to)
{
    int64_t half = head_dim / 2;
    return rows == AN_ROPE_HALF_SPLIT ? 2 * (to % half) + to / half : (to % 2) * half + to / 2;
}

int64_t an_source_row_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows,
                         int64_t row)
{
    int64_t head_dim = s->params.hp.head_dim;
    if (!t->rotated || t->rows == rows) return row;
    return row / head_dim * head_dim + other_order(rows, head_dim, row % head_dim);
}

anemo_status an_source_rows_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows,
                               int64_t row, int64_t n, float *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    float *stored = NULL;
    if (!t->rotated || t->rows == rows) return an_source_rows(s, t, row, n, out, err);
    if (t->n_dim > 1) {
        for (int64_t i = 0; i < n; i++)
            AN_TRY(an_source_rows(s, t, an_source_row_in(s, t, rows, row + i), 1,
                                  out + i * t->n_col, err));
        return ANEMO_OK;
    }
    stored = an_malloc((size_t)t->n_col * sizeof *stored);
    if (!stored) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    AN_TRY(an_source_rows(s, t, row, n, stored, err));
    for (int64_t i = 0; i < t->n_col; i++)
        out[i] = stored[an_source_row_in(s, t, rows, i)];
cleanup:
    an_free(stored);
    return status;
}

void an_source_release(const an_source *s, const an_source_tensor *t)
{
    (void)s;
    if (t->form) {
        an_source_form_release(t);
        return;
    }
    an_file_release(t->w.data, (uint64_t)t->n_row * t->w.row_bytes);
    if (!an_dtype_is_mlx(t->w.dtype)) return;
    const an_affine *a = &t->w.affine;
    uint64_t bytes = (uint64_t)t->n_row * (uint64_t)(t->n_col / a->group) *
                     (uint64_t)an_dtype_get(a->scale_dtype)->block_bytes;
    an_file_release(a->scales, bytes);
    if (a->biases) an_file_release(a->biases, bytes);
}

const an_source_tensor *an_source_find(const an_source *s, an_field field, int layer)
{
    for (size_t i = 0; i < s->n_tensor; i++)
        if (s->tensors[i].field == field && s->tensors[i].layer == layer) return &s->tensors[i];
    return NULL;
}
