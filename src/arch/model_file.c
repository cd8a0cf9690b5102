/* Opening a model of either container, and finding it by name. */
#include "arch/model_file.h"

#include "arch/bind.h"
#include "arch/hparams.h"
#include "base/alloc.h"
#include "base/str.h"
#include "format/weight_list.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* -------------------------------------------------------------------------------------- what and where it is */

/* Does the directory hold a file of this name? */
static bool holds(const char *dir, const char *name)
{
    char *path = an_path_join(dir, name);
    bool found = path && an_path_probe(path) == AN_PATH_FILE;
    an_free(path);
    return found;
}

/* What to do with a model that is read by the converter alone. */
static anemo_status refuse_unconverted(const char *dir, const char *what, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: holds %s, which no engine runs as it is; convert it: anemo convert %s OUT --to gguf (or mlx)", dir,
                   what, dir);
}

anemo_status an_model_probe(const char *path, an_container *container, anemo_error *err)
{
    switch (an_path_probe(path)) {
    case AN_PATH_ABSENT: return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no such file or directory", path);
    case AN_PATH_DIR: {
        bool found = holds(path, "config.json");
        if (!found && holds(path, "params.json"))
            return refuse_unconverted(path, "a model in Mistral's own layout (params.json)", err);
        if (!found)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: a directory without config.json is not a model; name a GGUF file or an "
                           "MLX / Hugging Face model directory",
                           path);
        *container = AN_CONTAINER_MLX;
        return ANEMO_OK;
    }
    case AN_PATH_FILE:
        if (an_str_ends_with(path, ".safetensors") || an_str_ends_with(path, ".pth") || an_str_ends_with(path, ".pt") ||
            an_str_ends_with(path, ".bin"))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: weights alone are not a model; name the directory that holds them", path);
        *container = AN_CONTAINER_GGUF;
        return ANEMO_OK;
    case AN_PATH_OTHER: break;
    }
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: neither a file nor a directory", path);
}

anemo_status an_model_resolve(const char *name, char **path, anemo_error *err)
{
    static const char *const ends[] = {"", ".gguf"};
    anemo_status status = ANEMO_OK;
    char *data = NULL;
    an_str text = {0};
    if (an_path_probe(name) != AN_PATH_ABSENT || strchr(name, '/') || name[0] == '\0') {
        if (an_path_probe(name) == AN_PATH_ABSENT)
            return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no such file or directory", name);
        char *found = an_strdup(name);
        if (!found) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        *path = found;
        return ANEMO_OK;
    }
    data = an_dir_data();
    for (size_t i = 0; data && i < AN_COUNT_OF(ends); i++) {
        an_str_clear(&text);
        an_str_appendf(&text, "%s/models/%s%s", data, name, ends[i]);
        AN_TRY(an_str_check(&text, err));
        if (an_path_probe(text.data) == AN_PATH_ABSENT) continue;
        *path = an_str_take(&text);
        goto cleanup;
    }
    an_str_clear(&text);
    an_str_appendf(&text, "%s: no such file or directory here, and no model of that name in ", name);
    if (data) an_str_appendf(&text, "%s/models", data);
    else an_str_append(&text, "the models folder (HOME is not set)");
    AN_TRY(an_str_check(&text, err));
    status = data ? an_fail(err, ANEMO_ERR_NOTFOUND, "%s", text.data) : an_fail_no_dir(err, ANEMO_ERR_NOTFOUND, text.data);
cleanup:
    an_str_free(&text);
    an_free(data);
    return status;
}

/* ----------------------------------------------------------------------------------------------- description */

typedef struct label {
    char text[40];
    uint64_t bytes;
} label;

enum { LABELS_MAX = 64 };

static void weight_label(const an_weight *w, char out[40])
{
    if (w->dtype == AN_DTYPE_AFFINE)
        snprintf(out, 40, "%d-bit affine g%d", w->affine.bits, w->affine.group);
    else
        snprintf(out, 40, "%s", an_dtype_get(w->dtype)->name);
}

static int count_label(label labels[LABELS_MAX], int n, const an_weight *w)
{
    char text[40];
    weight_label(w, text);
    for (int i = 0; i < n; i++)
        if (strcmp(labels[i].text, text) == 0) {
            labels[i].bytes += an_weight_bytes(w);
            return n;
        }
    if (n == LABELS_MAX) return n;
    strcpy(labels[n].text, text);
    labels[n].bytes = an_weight_bytes(w);
    return n + 1;
}

/* The weight type that holds most bytes, with "+" when there are others. */
static void describe_quantization(an_model_file *m)
{
    label labels[LABELS_MAX];
    int n = count_label(labels, 0, &m->token_embd);
    if (!m->hp.tied) n = count_label(labels, n, &m->output);
    for (int i = 0; i < m->hp.n_layer; i++) {
        const an_layer_weights *w = &m->layers[i];
        const an_weight *all[] = {&w->wq, &w->wk, &w->wv, &w->wo, &w->w_gate, &w->w_up, &w->w_down};
        for (size_t k = 0; k < AN_COUNT_OF(all); k++) n = count_label(labels, n, all[k]);
    }
    int best = 0;
    for (int i = 1; i < n; i++)
        if (labels[i].bytes > labels[best].bytes) best = i;
    snprintf(m->quantization, sizeof m->quantization, "%.39s%s", labels[best].text, n > 1 ? "+" : "");
}

/* The last component of a path without trailing slashes. */
static void name_from_path(an_model_file *m)
{
    const char *end = m->path + strlen(m->path);
    while (end > m->path + 1 && end[-1] == '/') end--;
    const char *begin = end;
    while (begin > m->path && begin[-1] != '/') begin--;
    snprintf(m->name, sizeof m->name, "%.*s", (int)(end - begin), begin);
}

/* ---------------------------------------------------------------------------------------------------- opening */

/* The safetensors of a directory. Where there are none, other weights may be: the message says what to do with them. */
static anemo_status open_safetensors(an_model_file *m, anemo_error *err)
{
    anemo_status status = an_safetensors_open(&m->st, m->path, err);
    if (status != ANEMO_ERR_NOTFOUND) return status;
    char **names = NULL;
    size_t n = 0;
    anemo_error unread;
    bool torch = false;
    if (an_dir_list(m->path, &names, &n, &unread) == ANEMO_OK) torch = an_weight_set_present(&an_weight_set_torch, names, n);
    an_names_free(names);
    if (torch) return refuse_unconverted(m->path, "PyTorch files (pytorch_model*.bin)", err);
    if (holds(m->path, "params.json")) return refuse_unconverted(m->path, "a model in Mistral's own layout (params.json)", err);
    return status;
}

/* config.json, and the end-of-sequence ids that generation_config.json puts in place of its own. */
static anemo_status read_configs(an_model_file *m, an_arch_params *params, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *path = NULL, *text = NULL;
    json_t *generation = NULL;
    size_t n;

    path = an_path_join(m->path, "config.json");
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
    AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
    AN_TRY(an_json_parse(&m->config, text, n, path, err));
    AN_TRY(an_hparams_from_json(m->config, path, params, err));

    an_free(path);
    an_free(text);
    text = NULL;
    path = an_path_join(m->path, "generation_config.json");
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
    if (an_path_probe(path) == AN_PATH_FILE) {
        AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
        AN_TRY(an_json_parse(&generation, text, n, path, err));
        AN_TRY(an_hparams_eos_from_json(generation, path, params, err));
    }
cleanup:
    json_decref(generation);
    an_free(text);
    an_free(path);
    return status;
}

static anemo_status open_gguf(an_model_file *m, an_arch_params *params, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_bytes name = {0};
    AN_TRY(an_gguf_open(&m->gguf, m->path, err));
    AN_TRY(an_hparams_from_gguf(m->gguf, params, err));
    AN_TRY(an_gguf_get_str(m->gguf, "general.name", false, &name, err));
    name_from_path(m);
    if (name.len > 0) {
        size_t n = name.len < sizeof m->name - 1 ? (size_t)name.len : sizeof m->name - 1;
        memcpy(m->name, name.data, n);
        m->name[n] = '\0';
    }
cleanup:
    return status;
}

anemo_status an_model_file_open(an_model_file **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_arch_params *params = NULL;
    an_model_file *m = an_calloc(1, sizeof *m);
    if (!m) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    params = an_calloc(1, sizeof *params);
    m->path = an_strdup(path);
    if (!params || !m->path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    AN_TRY(an_model_probe(path, &m->container, err));
    if (m->container == AN_CONTAINER_GGUF) {
        AN_TRY(open_gguf(m, params, err));
    } else {
        AN_TRY(read_configs(m, params, err));
        AN_TRY(open_safetensors(m, err));
        name_from_path(m);
    }
    m->hp = params->hp;
    strcpy(m->arch, params->arch);
    memcpy(m->eos_ids, params->eos_ids, sizeof m->eos_ids);
    m->n_eos = params->n_eos;
    m->layers = an_calloc((size_t)m->hp.n_layer, sizeof *m->layers);
    if (!m->layers) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    AN_TRY(an_bind_weights(m, params, err));
    describe_quantization(m);
cleanup:
    an_free(params);
    if (status != ANEMO_OK)
        an_model_file_close(m);
    else
        *out = m;
    return status;
}

void an_model_file_close(an_model_file *m)
{
    if (!m) return;
    an_bind_free(m);
    an_free(m->layers);
    an_gguf_close(m->gguf);
    an_safetensors_close(m->st);
    json_decref(m->config);
    an_free(m->path);
    an_free(m);
}
