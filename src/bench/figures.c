/* The figures behind MBU and MFU: one pass over the tensor table. */
#include "bench/figures.h"

#include "base/alloc.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "format/gguf.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

static void add(const an_weight *w, an_run_model *m)
{
    m->weight_bytes += an_weight_bytes(w);
    m->flop_per_token += 2 * (double)w->n_row * (double)w->n_col;
}

void an_run_model_figures(an_run_model *m)
{
    an_model_file *f;
    if (an_model_file_open(&f, m->path, NULL) != ANEMO_OK) return;
    m->n_param = f->n_param;
    m->n_ctx_train = f->hp.n_ctx_train;
    m->kv_values_per_pos = 2 * (uint64_t)f->hp.n_layer * (uint64_t)f->hp.n_head_kv * (uint64_t)f->hp.head_dim;
    m->weight_bytes = 0;
    m->flop_per_token = 0;
    for (int i = 0; i < f->hp.n_layer; i++) {
        const an_layer_weights *l = &f->layers[i];
        const an_weight *const matrices[] = {&l->wq, &l->wk, &l->wv, &l->wo, &l->w_gate, &l->w_up, &l->w_down};
        for (size_t k = 0; k < sizeof matrices / sizeof *matrices; k++) add(matrices[k], m);
    }
    m->attention_width = (uint64_t)f->hp.n_layer * (uint64_t)f->hp.n_head * (uint64_t)f->hp.head_dim;
    m->head_flop = 2 * (double)f->output.n_row * (double)f->output.n_col;
    /* The head is read whole for each token; of an embedding of its own one row, which is nothing. */
    add(&f->output, m);
    an_model_file_close(f);
}

char *an_container_readers(an_container container)
{
    an_str names = {0};
    for (size_t e = 0; e < an_engine_n(); e++)
        if (an_engine_reads(an_engine_at(e), container))
            an_str_appendf(&names, "%s%s", names.len ? ", " : "", an_engine_at(e)->name);
    return an_str_take(&names);
}

anemo_status an_mlx_weight_bytes(const char *dir, uint64_t *bytes, anemo_error *err)
{
    char **names;
    size_t n;
    anemo_status status = an_dir_list(dir, &names, &n, err);
    if (status != ANEMO_OK) return status;
    for (size_t i = 0; i < n && status == ANEMO_OK; i++) {
        if (!an_str_ends_with(names[i], ".safetensors")) continue;
        char *file = an_path_join(dir, names[i]);
        int64_t size = file ? an_path_size(file) : -1;
        if (!file) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        if (size > 0) *bytes += (uint64_t)size;
        an_free(file);
    }
    an_names_free(names);
    return status;
}

static anemo_status gguf_bytes(const char *path, uint64_t *bytes, anemo_error *err)
{
    an_gguf *g;
    anemo_status status = an_gguf_open(&g, path, err);
    if (status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_UNSUPPORTED) return ANEMO_OK;
    if (status != ANEMO_OK) return status;
    *bytes = an_gguf_file_bytes(g);
    an_gguf_close(g);
    return ANEMO_OK;
}

anemo_status an_run_model_describe(an_run_model *m, an_container *container, anemo_error *err)
{
    anemo_status status;
    size_t len = strlen(m->path);
    AN_TRY(an_model_probe(m->path, container, err));
    bool gguf = *container == AN_CONTAINER_GGUF;
    snprintf(m->container, sizeof m->container, "%s", gguf ? "gguf" : "mlx");
    while (len > 1 && m->path[len - 1] == '/') m->path[--len] = '\0';
    m->name = an_strdup(an_path_base(m->path));
    m->read_by = an_container_readers(*container);
    if (!m->name || !m->read_by) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(gguf ? gguf_bytes(m->path, &m->bytes, err) : an_mlx_weight_bytes(m->path, &m->bytes, err));
    an_run_model_figures(m);
cleanup:
    return status;
}
