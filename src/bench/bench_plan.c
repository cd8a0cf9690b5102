/* The product of a benchmark's lists. */
#include "bench/bench_plan.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* What is varied, outermost first: as llama-bench orders it, which loads each model as seldom as can be. */
typedef enum dimension {
    DIM_MODEL,
    DIM_ENGINE,
    DIM_GPU_LAYERS,
    DIM_DEVICE,
    DIM_BATCH,
    DIM_UBATCH,
    DIM_KV_K,
    DIM_KV_V,
    DIM_FLASH_ATTN,
    DIM_THREADS,
    DIM_MASK,
    DIM_DEPTH,
    DIM_N
} dimension;

typedef struct planner {
    an_run *run;
    const an_bench_grid *grid;
    an_bench_point *points;
    size_t cap, count[DIM_N], at[DIM_N];
    anemo_error *err;
} planner;

/* Title of a cell: engine and test, and whatever else differs between cells. */
static anemo_status label(const planner *p, const an_bench_point *point, an_cell *cell)
{
    an_str text = {0};
    char work[64];
    const an_settings *s = &point->settings;
    static const char *const tristate[] = {"auto", "on", "off"};
    an_work_label(&cell->work, work, sizeof work);
    an_str_appendf(&text, "%s", cell->engine);
    if (p->count[DIM_MODEL] > 1) an_str_appendf(&text, " · %.32s", p->run->models[cell->model].name);
    an_str_appendf(&text, " · %s", work);
    if (p->count[DIM_GPU_LAYERS] > 1) an_str_appendf(&text, " ngl=%d", s->n_gpu_layers);
    if (p->count[DIM_DEVICE] > 1) an_str_appendf(&text, " dev=%s", s->device);
    if (p->count[DIM_BATCH] > 1) an_str_appendf(&text, " b=%d", s->n_batch);
    if (p->count[DIM_UBATCH] > 1) an_str_appendf(&text, " ub=%d", s->n_ubatch);
    if (p->count[DIM_KV_K] > 1) an_str_appendf(&text, " ctk=%s", s->kv_type);
    if (p->count[DIM_KV_V] > 1) an_str_appendf(&text, " ctv=%s", s->kv_type_v);
    if (p->count[DIM_FLASH_ATTN] > 1) an_str_appendf(&text, " fa=%s", tristate[s->flash_attn]);
    if (p->count[DIM_THREADS] > 1) an_str_appendf(&text, " t=%d", s->threads);
    if (p->count[DIM_MASK] > 1) an_str_appendf(&text, " C=%.40s", point->mask);
    anemo_status status = an_str_check(&text, p->err);
    snprintf(cell->label, sizeof cell->label, "%s", an_str_text(&text));
    an_str_free(&text);
    return status;
}

static anemo_status add(planner *p, int n_prompt, int n_gen)
{
    const an_bench_grid *g = p->grid;
    const size_t *at = p->at;
    if (n_prompt == 0 && n_gen == 0) return ANEMO_OK;
    if (p->run->n_cell >= AN_BENCH_CELLS_MAX)
        return an_fail(p->err, ANEMO_ERR_INVAL, "these lists give more than %d tests; anemo sweep runs large grids",
                       (int)AN_BENCH_CELLS_MAX);
    if (p->run->n_cell == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        an_bench_point *points = an_realloc(p->points, cap * sizeof *points);
        if (!points) return an_fail(p->err, ANEMO_ERR_NOMEM, "out of memory");
        p->points = points;
        p->cap = cap;
    }
    an_bench_point *point = &p->points[p->run->n_cell];
    an_cell *cell = an_run_add_cell(p->run);
    if (!cell) return an_fail(p->err, ANEMO_ERR_NOMEM, "out of memory");
    point->engine = g->engines[at[DIM_ENGINE]];
    point->mask = g->masks[at[DIM_MASK]];
    an_settings *s = &point->settings;
    *s = an_settings_default();
    s->n_batch = g->n_batch.v[at[DIM_BATCH]];
    s->n_ubatch = g->n_ubatch.v[at[DIM_UBATCH]];
    s->threads = s->threads_batch = g->threads.v[at[DIM_THREADS]];
    s->kv_type = g->kv_k[at[DIM_KV_K]];
    s->kv_type_v = g->kv_v[at[DIM_KV_V]];
    s->flash_attn = (an_tristate)g->flash_attn.v[at[DIM_FLASH_ATTN]];
    s->device = g->devices[at[DIM_DEVICE]];
    s->n_gpu_layers = g->n_gpu_layers.v[at[DIM_GPU_LAYERS]];
    if (g->layout) s->layout = g->layout;
    s->layout_dir = g->layout_dir;
    s->pin = g->pin;
    snprintf(cell->engine, sizeof cell->engine, "%s", point->engine->name);
    cell->model = (int)at[DIM_MODEL];
    cell->named = g->named;
    cell->status = AN_CELL_PENDING;
    cell->work = (an_work){AN_WORK_STEP, n_prompt, n_gen, g->n_depth.v[at[DIM_DEPTH]]};
    cell->settings = an_settings_json(s);
    if (!cell->settings) return an_fail(p->err, ANEMO_ERR_NOMEM, "out of memory");
    anemo_status status = label(p, point, cell);
    return status == ANEMO_OK ? an_cell_make_key(p->run, cell, p->err) : status;
}

/* The tests of one combination. */
static anemo_status add_tests(planner *p)
{
    anemo_status status = ANEMO_OK;
    const an_bench_grid *g = p->grid;
    for (size_t i = 0; i < g->n_prompt.n; i++) AN_TRY(add(p, g->n_prompt.v[i], 0));
    for (size_t i = 0; i < g->n_gen.n; i++) AN_TRY(add(p, 0, g->n_gen.v[i]));
    for (size_t i = 0; i < g->n_pg; i++) AN_TRY(add(p, g->pg[i][0], g->pg[i][1]));
cleanup:
    return status;
}

static bool reads(const an_engine_info *e, const an_run_model *m)
{
    return !strcmp(m->container, "gguf") ? e->reads_gguf : e->reads_mlx;
}

/* A named engine without a model would be left out without a word. */
static anemo_status check_named(const planner *p)
{
    const an_bench_grid *g = p->grid;
    for (size_t e = 0; g->named && e < g->n_engine; e++) {
        bool found = false;
        for (size_t i = 0; i < p->run->n_model && !found; i++) found = reads(g->engines[e], &p->run->models[i]);
        if (found) continue;
        const char *what = g->engines[e]->reads_gguf  ? "reads GGUF files"
                           : g->engines[e]->reads_mlx ? "reads MLX directories"
                                                      : "holds its own model and has no step measurement";
        return an_fail(p->err, ANEMO_ERR_INVAL, "the engine '%s' %s; none of the given models is for it",
                       g->engines[e]->name, what);
    }
    return ANEMO_OK;
}

anemo_status an_bench_plan(an_run *run, const an_bench_grid *g, an_bench_point **points, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    planner p = {.run = run, .grid = g, .err = err};
    const size_t count[DIM_N] = {run->n_model, g->n_engine,  g->n_gpu_layers.n, g->n_device,  g->n_batch.n, g->n_ubatch.n,
                                 g->n_kv_k,    g->n_kv_v,    g->flash_attn.n,   g->threads.n, g->n_mask,    g->n_depth.n};
    memcpy(p.count, count, sizeof count);
    for (size_t d = 0; d < DIM_N; d++)
        if (count[d] == 0) return an_fail(err, ANEMO_ERR_INVAL, "nothing to measure: no model, or no engine that reads it");
    AN_TRY(check_named(&p));
    for (bool more = true; more;) {
        if (reads(g->engines[p.at[DIM_ENGINE]], &run->models[p.at[DIM_MODEL]])) AN_TRY(add_tests(&p));
        more = false;
        for (size_t d = DIM_N; d-- > 0 && !more;) {
            more = ++p.at[d] < count[d];
            if (!more) p.at[d] = 0;
        }
    }
    if (run->n_cell == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "nothing to measure: every test has 0 tokens, or no engine reads the models");
        goto cleanup;
    }
    *points = p.points;
    p.points = NULL;
cleanup:
    an_free(p.points);
    return status;
}
