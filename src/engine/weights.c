/* Choosing a layout, taking the memory for it, and the model that has its matrices there. */
#include "engine/weights.h"

#include "base/alloc.h"
#include "engine/layout.h"
#include "engine/layout_cache.h"
#include "kernels/panels.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/memory.h"

#include <stddef.h>
#include <string.h>

/* Laying out more than this takes long enough to say so. */
#define SAY_BYTES ((uint64_t)1 << 30)

struct an_weights {
    const an_model_file *source;
    an_model_file model;      /* the source with its matrices elsewhere */
    an_weights_layout layout;
    void *block;              /* of block_bytes; NULL unless REPACKED */
    uint64_t block_bytes;
    an_file_map map;          /* CACHED */
};

static const char *const names[] = {"auto", "mapped", "repacked", "cached"};

const char *an_weights_layout_name(an_weights_layout layout)
{
    return names[layout];
}

bool an_weights_layout_from_name(const char *name, an_weights_layout *out)
{
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (an_weights_layout)i;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------------ the list */

#define PLACE(field) offsetof(an_layer_weights, field)

/* In the order of the forward pass; stages as it has them. */
static const struct {
    size_t place;
    int stage;
} LAYER[] = {{PLACE(wk), 0},     {PLACE(wv), 0},   {PLACE(wq), 0},    {PLACE(wo), 1},
             {PLACE(w_gate), 2}, {PLACE(w_up), 3}, {PLACE(w_down), 4}};

enum { STAGES = 5 };

static void add(an_layout_list *list, const an_weight *w, size_t place, int layer, int stage)
{
    uint64_t bytes = an_panels_bytes(w);
    if (bytes == 0) return;
    if (list->items)
        list->items[list->n] = (an_laid_matrix){
            .from = w, .place = place, .layer = layer, .stage = stage, .offset = list->bytes, .bytes = bytes};
    list->n++;
    list->bytes += (bytes + AN_LAYOUT_ALIGN - 1) & ~(uint64_t)(AN_LAYOUT_ALIGN - 1);
}

/* Counts when there are no items yet, fills them when there are. Sizes cannot overflow: the file holds about as many bytes. */
static void list_matrices(const an_model_file *m, an_layout_list *list)
{
    list->n = 0;
    list->bytes = 0;
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        for (size_t i = 0; i < AN_COUNT_OF(LAYER); i++) {
            const char *at = (const char *)&m->layers[layer] + LAYER[i].place;
            add(list, (const an_weight *)(const void *)at, LAYER[i].place, layer, layer * STAGES + LAYER[i].stage);
        }
    add(list, &m->output, offsetof(an_model_file, output), -1, m->hp.n_layer * STAGES);
}

static anemo_status open_list(an_layout_list *list, const an_model_file *m, anemo_error *err)
{
    *list = (an_layout_list){0};
    list_matrices(m, list);
    list->items = an_calloc(list->n + 1, sizeof *list->items);
    if (!list->items) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
    list_matrices(m, list);
    return ANEMO_OK;
}

static bool has_panel_products(const an_kernels *k, an_compute compute)
{
    return compute == AN_COMPUTE_Q8 && an_kernels_default_compute(k) == AN_COMPUTE_Q8;
}

uint64_t an_weights_repacked_bytes(const an_model_file *m, const an_kernels *k, an_compute compute)
{
    an_layout_list list = {0};
    if (has_panel_products(k, compute)) list_matrices(m, &list);
    return list.bytes;
}

/* ------------------------------------------------------------------------------------------------------- opening */

/* Each matrix of the list is read from its panels at `panels` from now on. */
static anemo_status show_panels(an_weights *w, const an_layout_list *list, const unsigned char *panels, anemo_error *err)
{
    size_t n_layer = (size_t)w->source->hp.n_layer;
    an_layer_weights *layers = an_calloc(n_layer, sizeof *layers);
    if (!layers) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", w->source->path);
    memcpy(layers, w->source->layers, n_layer * sizeof *layers);
    w->model.layers = layers;
    for (size_t i = 0; i < list->n; i++) {
        const an_laid_matrix *m = &list->items[i];
        an_weight view = an_panels_view(m->from, panels + m->offset);
        memcpy((m->layer < 0 ? (char *)&w->model : (char *)&layers[m->layer]) + m->place, &view, sizeof view);
    }
    return ANEMO_OK;
}

static anemo_status repack(an_weights *w, const an_layout_list *list, const an_weights_options *o, an_pool *pool,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t have = an_mem_available_bytes(), begin = an_clock_ns();
    if (have > 0 && (list->bytes > have || o->other_bytes > have - list->bytes))
        return an_fail(err, ANEMO_ERR_NOMEM,
                       "%s: laid out weights need %.1f MB and the session %.1f MB, %.1f MB of memory are available; use "
                       "--layout mapped",
                       w->source->path, (double)list->bytes / 1e6, (double)o->other_bytes / 1e6, (double)have / 1e6);
    AN_TRY(an_mem_block(&w->block, list->bytes, err));
    w->block_bytes = list->bytes;
    if (list->bytes > SAY_BYTES)
        an_layout_note(o, "laying out %.1f GB of weights", (double)list->bytes / 1e9);
    AN_TRY(an_layout_write(list, o->kernels, pool, w->block, NULL, 0, err));
    if (list->bytes > SAY_BYTES) {
        double s = (double)(an_clock_ns() - begin) / 1e9;
        an_layout_note(o, "laid out in %.1f s (%.1f GB/s)", s, (double)list->bytes / 1e9 / s);
    }
    AN_TRY(show_panels(w, list, w->block, err));
    w->layout = AN_WEIGHTS_REPACKED;
cleanup:
    if (status != ANEMO_OK) {
        an_mem_block_free(w->block, w->block_bytes);
        w->block = NULL;
        w->block_bytes = 0;
    }
    return status;
}

static anemo_status open_cached(an_weights *w, const an_layout_list *list, const an_weights_options *o, an_pool *pool,
                                anemo_error *err)
{
    anemo_status status;
    uint64_t base;
    AN_TRY(an_layout_cache_open(&w->map, &base, w->source, list, o, pool, err));
    AN_TRY(show_panels(w, list, w->map.data + base, err));
    w->layout = AN_WEIGHTS_CACHED;
cleanup:
    if (status != ANEMO_OK) an_file_unmap(&w->map);
    return status;
}

/* The layouts in the order of o's wish; what cannot be had is passed over with a note unless it alone was asked for. */
static anemo_status lay_out(an_weights *w, const an_weights_options *o, anemo_error *err)
{
    anemo_status status;
    anemo_error why = {0};
    an_layout_list list = {0};
    an_pool *pool = NULL;
    AN_TRY(open_list(&list, w->source, err));
    if (list.n == 0) {
        if (o->layout == AN_WEIGHTS_REPACKED)
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: none of its matrices can be repacked (%s); use --layout mapped",
                             w->source->path, w->source->quantization);
        goto cleanup;
    }
    AN_TRY(an_pool_open_idle(&pool, o->n_thread, err));
    if (o->pin) (void)an_pool_pin(pool);
    if (o->layout == AN_WEIGHTS_CACHED) {
        if (open_cached(w, &list, o, pool, &why) == ANEMO_OK) goto cleanup;
        an_layout_note(o, "%s; going on without a layout file", why.message);
    }
    status = repack(w, &list, o, pool, &why);
    if (status == ANEMO_OK) goto cleanup;
    if (o->layout == AN_WEIGHTS_REPACKED) {
        if (err) *err = why;
        goto cleanup;
    }
    an_layout_note(o, "%s; the weights stay mapped, which is slower", why.message);
    status = ANEMO_OK;
cleanup:
    an_pool_close(pool);
    an_free(list.items);
    return status;
}

anemo_status an_weights_open(an_weights **out, const an_model_file *m, const an_weights_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool panels = has_panel_products(o->kernels, o->compute);
    if (o->layout == AN_WEIGHTS_REPACKED && !panels)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "--layout repacked needs products with 8-bit activations (compute type q8 and an instruction set that "
                       "has them, which is %s here); use --layout mapped",
                       an_kernels_name(o->kernels));
    an_weights *w = an_calloc(1, sizeof *w);
    if (!w) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", m->path);
    w->source = m;
    w->model = *m;
    w->layout = AN_WEIGHTS_MAPPED;
    if (o->layout != AN_WEIGHTS_MAPPED && panels) AN_TRY(lay_out(w, o, err));
    *out = w;
    w = NULL;
cleanup:
    an_weights_close(w);
    return status;
}

void an_weights_close(an_weights *w)
{
    if (!w) return;
    if (w->model.layers != w->source->layers) an_free(w->model.layers);
    an_mem_block_free(w->block, w->block_bytes);
    an_file_unmap(&w->map);
    an_free(w);
}

const an_model_file *an_weights_model(const an_weights *w)
{
    return &w->model;
}

an_weights_layout an_weights_effective(const an_weights *w)
{
    return w->layout;
}

uint64_t an_weights_memory_bytes(const an_weights *w)
{
    return w->block_bytes;
}

/* ----------------------------------------------------------------------------------------------------- the shelf */

/* Panels serve whoever may have them; only who insists on the map, or cannot use panels, gets it. */
anemo_status an_weights_take(an_weights **out, an_weights_shelf *shelf, const an_model_file *m, const an_weights_options *o,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_weights *w = NULL;
    bool panels = o->layout != AN_WEIGHTS_MAPPED && has_panel_products(o->kernels, o->compute);
    an_mutex_lock(shelf->lock);
    an_weights *kept = panels ? shelf->panels : shelf->mapped;
    if (!kept) {
        AN_TRY(an_weights_open(&w, m, o, err));
        an_weights **place = w->layout == AN_WEIGHTS_MAPPED ? &shelf->mapped : &shelf->panels;
        if (*place) an_weights_close(w);
        else *place = w;
        kept = *place;
    }
    *out = kept;
cleanup:
    an_mutex_unlock(shelf->lock);
    return status;
}

void an_weights_shelf_close(an_weights_shelf *shelf)
{
    an_weights_close(shelf->mapped);
    an_weights_close(shelf->panels);
    an_mutex_close(shelf->lock);
    *shelf = (an_weights_shelf){0};
}
