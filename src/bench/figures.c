/* The figures behind MBU and MFU: one pass over the tensor table. */
#include "bench/figures.h"

#include "arch/model_file.h"

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
