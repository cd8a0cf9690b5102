/* The weights of an opened model as a list, each in its stored form. */
#include "convert/source.h"

#include "base/alloc.h"
#include "convert/rows.h"
#include "os/file.h"

#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* The model file keeps vectors as f32 copies; here the stored form counts. */
static bool find_vector(const an_source *s, const char *name, int64_t n, an_weight *w)
{
    if (s->model->container == AN_CONTAINER_GGUF) {
        const an_gguf_tensor *t = an_gguf_find_tensor(s->model->gguf, name);
        if (t) *w = (an_weight){t->dtype, 1, n, t->data, t->bytes, {0}};
        return t != NULL;
    }
    const an_st_tensor *t = an_safetensors_find(s->model->st, name);
    if (t) *w = (an_weight){t->dtype, 1, n, t->data, t->bytes, {0}};
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
    bool plain = t->w.dtype != AN_DTYPE_AFFINE && an_dtype_get(t->w.dtype)->block_elems == 1;
    t->float_dtype = plain ? t->w.dtype : AN_DTYPE_F32;
    if (t->w.dtype == AN_DTYPE_AFFINE) s->kind = AN_SOURCE_MLX;
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
    for (int layer = 0; layer < m->hp.n_layer; layer++) p->window[layer] = m->layers[layer].window;
    p->tie_known = true;
    p->tie = m->hp.tied;
    memcpy(p->eos_ids, m->eos_ids, sizeof p->eos_ids);
    p->n_eos = m->n_eos;
}

static anemo_status read_generation_config(an_source *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *path = an_path_join(s->path, "generation_config.json");
    size_t n;
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    if (an_path_probe(path) == AN_PATH_FILE) {
        AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
        AN_TRY(an_json_parse(&s->generation_config, text, n, path, err));
    }
cleanup:
    an_free(text);
    an_free(path);
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
    AN_TRY(an_model_file_open(&s->model, path, err));
    s->kind = s->model->container == AN_CONTAINER_GGUF ? AN_SOURCE_GGUF : AN_SOURCE_HF;
    s->config = s->model->config;
    if (s->kind != AN_SOURCE_GGUF) AN_TRY(read_generation_config(s, err));
    take_params(s);
    AN_TRY(list_tensors(s, err));
    *out = s;
cleanup:
    if (status != ANEMO_OK) an_source_close(s);
    return status;
}

void an_source_close(an_source *s)
{
    if (!s) return;
    json_decref(s->generation_config);
    an_free(s->tensors);
    an_model_file_close(s->model);
    an_free(s->path);
    an_free(s);
}

anemo_status an_source_rows(const an_source *s, const an_source_tensor *t, int64_t row, int64_t n,
                            float *out, anemo_error *err)
{
    if (row < 0 || n < 0 || row > t->n_row || n > t->n_row - row)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: tensor %s has no such rows", s->path, t->name);
    for (int64_t i = 0; i < n; i++) an_rows_of_weight(&t->w, row + i, out + i * t->n_col);
    return ANEMO_OK;
}

/* Row `to` of a head in the order `rows` is this row of it in the other order (formats.md 1.5). */
static int64_t other_order(an_rope_rows rows, int64_t head_dim, int64_t to)
{
    int64_t half = head_dim / 2;
    return rows == AN_ROPE_HALF_SPLIT ? 2 * (to % half) + to / half : (to % 2) * half + to / 2;
}

int64_t an_source_row_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows, int64_t row)
{
    int64_t head_dim = s->params.hp.head_dim;
    if (!t->rotated || t->rows == rows) return row;
    return row / head_dim * head_dim + other_order(rows, head_dim, row % head_dim);
}

anemo_status an_source_rows_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows, int64_t row, int64_t n,
                               float *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    float *stored = NULL;
    if (!t->rotated || t->rows == rows) return an_source_rows(s, t, row, n, out, err);
    if (t->n_dim > 1) {
        for (int64_t i = 0; i < n; i++)
            AN_TRY(an_source_rows(s, t, an_source_row_in(s, t, rows, row + i), 1, out + i * t->n_col, err));
        return ANEMO_OK;
    }
    stored = an_malloc((size_t)t->n_col * sizeof *stored);
    if (!stored) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->path);
    AN_TRY(an_source_rows(s, t, row, n, stored, err));
    for (int64_t i = 0; i < t->n_col; i++) out[i] = stored[an_source_row_in(s, t, rows, i)];
cleanup:
    an_free(stored);
    return status;
}

void an_source_release(const an_source *s, const an_source_tensor *t)
{
    (void)s;
    an_file_release(t->w.data, (uint64_t)t->n_row * t->w.row_bytes);
    if (t->w.dtype != AN_DTYPE_AFFINE) return;
    const an_affine *a = &t->w.affine;
    uint64_t bytes = (uint64_t)t->n_row * (uint64_t)(t->n_col / a->group) *
                     (uint64_t)an_dtype_get(a->scale_dtype)->block_bytes;
    an_file_release(a->scales, bytes);
    an_file_release(a->biases, bytes);
}

const an_source_tensor *an_source_find(const an_source *s, an_field field, int layer)
{
    for (size_t i = 0; i < s->n_tensor; i++)
        if (s->tensors[i].field == field && s->tensors[i].layer == layer) return &s->tensors[i];
    return NULL;
}
