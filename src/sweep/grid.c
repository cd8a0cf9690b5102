/* From a plan to cells: models are looked for and measured by the ruler, combinations are made, rules are asked. */
#include "sweep/sweep_internal.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/num.h"
#include "base/utf8.h"
#include "bench/figures.h"
#include "bench/model_digest.h"
#include "os/file.h"
#include "stats/sequential.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMBINATIONS_MAX 1e7

/* A model of the grid beside its figures in the run. */
typedef struct grid_model {
    an_container container;
    char quant[48]; /* as the plan names it, else as the file does */
} grid_model;

/* What one repetition does, without the other axes. */
typedef struct grid_test {
    an_work_kind kind;
    int n_prompt, n_gen;
} grid_test;

typedef struct grid {
    an_sweep *s;
    const an_plan *plan;
    const char *name;
    grid_model *models; /* [s->run.n_model] */
    grid_test *tests;
    size_t n_test;
} grid;

static anemo_status no_memory(anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/*
 * Content and sizes of a model: they are part of what the sweep is, so one that is not read by accident must not pass for one that
 * arch does not know. Such a model may still run elsewhere; then only its bytes are known.
 */
static anemo_status measure_model(an_run_model *m, grid_model *g, const char *quant, anemo_error *err)
{
    anemo_status status;
    an_model_file *file = NULL;
    AN_TRY(an_model_probe(m->path, &g->container, err));
    snprintf(m->container, sizeof m->container, "%s", g->container == AN_CONTAINER_GGUF ? "gguf" : "mlx");
    snprintf(g->quant, sizeof g->quant, "%s", quant);
    m->read_by = an_container_readers(g->container);
    if (!m->read_by) {
        status = no_memory(err);
        goto cleanup;
    }
    if (g->container == AN_CONTAINER_MLX)
        AN_TRY(an_mlx_weight_bytes(m->path, &m->bytes, err));
    else
        m->bytes = (uint64_t)an_max_i64(an_path_size(m->path), 0);
    status = an_model_file_open(&file, m->path, err);
    if (status == ANEMO_OK) {
        m->n_ctx_train = file->hp.n_ctx_train;
        if (m->bytes < file->weight_bytes) m->bytes = file->weight_bytes; /* the other shards of a split */
        if (!quant[0]) snprintf(g->quant, sizeof g->quant, "%s", file->quantization);
        an_run_model_figures(m);
    }
    bool unread = status == ANEMO_OK && m->weight_bytes == 0;
    if (status == ANEMO_ERR_UNSUPPORTED || status == ANEMO_ERR_FORMAT) status = ANEMO_OK;
    if (status != ANEMO_OK) goto cleanup;
    an_model_digest(m->path, g->container, m->sha256);
    if (unread || !m->sha256[0])
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: cannot be read whole, for want of memory or because of the disk", m->path);
cleanup:
    if (file) an_model_file_close(file);
    return status;
}

static anemo_status add_model(grid *g, const char *name, const char *quant, an_sweep_find find, anemo_error *err)
{
    anemo_status status;
    char *path = NULL, *real = NULL;
    AN_TRY(find(name, &path, err));
    real = an_path_real(path);
    if (!real) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: not there any more", path);
        goto cleanup;
    }
    if (an_utf8_valid_prefix(real, strlen(real)) != strlen(real)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: its folder's name is not UTF-8; rename it", path);
        goto cleanup;
    }
    for (size_t i = 0; i < g->s->run.n_model; i++)
        if (!strcmp(g->s->run.models[i].path, real)) goto cleanup;
    grid_model *models = an_realloc(g->models, (g->s->run.n_model + 1) * sizeof *models);
    if (models) g->models = models;
    an_run_model *m = models ? an_run_add_model(&g->s->run) : NULL;
    if (!m) {
        status = no_memory(err);
        goto cleanup;
    }
    m->path = real;
    real = NULL;
    /* The name that people gave: a file of the hub's cache has a digest for its real one. */
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        path[--len] = '\0';
    m->name = an_strdup(an_path_base(path));
    if (!m->name) {
        status = no_memory(err);
        goto cleanup;
    }
    status = measure_model(m, &g->models[g->s->run.n_model - 1], quant, err);
cleanup:
    an_free(path);
    an_free(real);
    return status;
}

/* `pattern` with every {quant} replaced. */
static char *put_quant(const char *pattern, const char *quant)
{
    an_str s = {0};
    const char *p = pattern, *at;
    while ((at = strstr(p, "{quant}"))) {
        an_str_append_bytes(&s, p, (size_t)(at - p));
        an_str_append(&s, quant);
        p = at + strlen("{quant}");
    }
    an_str_append(&s, p);
    return an_str_take(&s);
}

/* File names have Q4_K_M as well as q4_k_m; the plan's own spelling first. */
static anemo_status add_quantized(grid *g, const char *pattern, const char *quant, an_sweep_find find, anemo_error *err)
{
    char lower[64];
    size_t n = 0;
    for (; quant[n] && n + 1 < sizeof lower; n++)
        lower[n] = quant[n] >= 'A' && quant[n] <= 'Z' ? (char)(quant[n] + 32) : quant[n];
    lower[n] = '\0';
    char *name = put_quant(pattern, quant), *small = put_quant(pattern, lower);
    anemo_status status = name && small ? add_model(g, name, quant, find, err) : no_memory(err);
    if (status == ANEMO_ERR_NOTFOUND && add_model(g, small, quant, find, NULL) == ANEMO_OK) status = ANEMO_OK;
    an_free(name);
    an_free(small);
    return status;
}

static anemo_status add_models(grid *g, an_sweep_find find, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_axis_values *models = &g->plan->axes[AN_AXIS_MODEL], *quants = &g->plan->axes[AN_AXIS_QUANT];
    for (size_t i = 0; i < models->n; i++) {
        if (!strstr(models->texts[i], "{quant}"))
            AN_TRY(add_model(g, models->texts[i], "", find, err));
        else
            for (size_t q = 0; q < quants->n; q++)
                AN_TRY(add_quantized(g, models->texts[i], quants->texts[q], find, err));
    }
cleanup:
    return status == ANEMO_OK ? status : an_fail_prefix(err, status, "%s: models", g->name);
}

static anemo_status add_test(grid *g, an_work_kind kind, int64_t n_prompt, int64_t n_gen, anemo_error *err)
{
    if (g->n_test == AN_PLAN_CELLS_MAX)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: n_prompt and n_gen make more than %d pairs; shorten them", g->name,
                       AN_PLAN_CELLS_MAX);
    if ((g->n_test & (g->n_test - 1)) == 0) {
        grid_test *bigger = an_realloc(g->tests, (g->n_test ? 2 * g->n_test : 1) * sizeof *bigger);
        if (!bigger) return no_memory(err);
        g->tests = bigger;
    }
    g->tests[g->n_test++] = (grid_test){.kind = kind, .n_prompt = (int)n_prompt, .n_gen = (int)n_gen};
    return ANEMO_OK;
}

/* generate: every prompt with every generation. step: each alone, as llama-bench has it, and the pairs. */
static anemo_status add_tests(grid *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_plan *plan = g->plan;
    const an_axis_values *prompts = &plan->axes[AN_AXIS_N_PROMPT], *gens = &plan->axes[AN_AXIS_N_GEN];
    const an_axis_values *works = &plan->axes[AN_AXIS_WORK], *depths = &plan->axes[AN_AXIS_N_DEPTH];
    for (size_t w = 0; w < works->n; w++) {
        if (!strcmp(works->texts[w], "generate")) {
            for (size_t p = 0; p < prompts->n; p++)
                for (size_t k = 0; k < gens->n; k++)
                    if (prompts->numbers[p] > 0 && gens->numbers[k] > 0)
                        AN_TRY(add_test(g, AN_WORK_GENERATE, prompts->numbers[p], gens->numbers[k], err));
            if (depths->n == 1 && depths->numbers[0] > 0 && works->n == 1) {
                status = an_fail(err, ANEMO_ERR_INVAL,
                                 "%s: n_depth is for 'work = step'; a generation begins with its prompt", g->name);
                goto cleanup;
            }
            continue;
        }
        for (size_t p = 0; p < prompts->n; p++)
            if (prompts->numbers[p] > 0) AN_TRY(add_test(g, AN_WORK_STEP, prompts->numbers[p], 0, err));
        for (size_t k = 0; k < gens->n; k++)
            if (gens->numbers[k] > 0) AN_TRY(add_test(g, AN_WORK_STEP, 0, gens->numbers[k], err));
        for (size_t i = 0; i < plan->n_pair; i++)
            AN_TRY(add_test(g, AN_WORK_STEP, plan->pairs[i].n_prompt, plan->pairs[i].n_gen, err));
    }
    if (g->n_test == 0)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: n_prompt and n_gen leave nothing to measure; generate needs both above 0", g->name);
cleanup:
    return status;
}

/* The column title: engine, then what of the model and settings differs within the sweep. */
static void make_label(const grid *g, an_cell *cell, const an_settings *s)
{
    an_str text = {0};
    const an_axis_values *axes = g->plan->axes;
    an_str_append(&text, cell->engine);
    if (cell->model >= 0 && g->s->run.n_model > 1) an_str_appendf(&text, " · %s", g->s->run.models[cell->model].name);
    if (axes[AN_AXIS_THREADS].n > 1) an_str_appendf(&text, " t%d", s->threads);
    if (axes[AN_AXIS_N_BATCH].n > 1) an_str_appendf(&text, " b%d", s->n_batch);
    if (axes[AN_AXIS_N_UBATCH].n > 1) an_str_appendf(&text, " ub%d", s->n_ubatch);
    if (axes[AN_AXIS_KV].n > 1) an_str_appendf(&text, " kv %s", s->kv_type);
    if (axes[AN_AXIS_FLASH_ATTN].n > 1)
        an_str_appendf(&text, " fa %s", s->flash_attn == AN_ON ? "on" : s->flash_attn == AN_OFF ? "off" : "auto");
    if (axes[AN_AXIS_COMPUTE].n > 1) an_str_appendf(&text, " %s", s->compute_dtype);
    if (axes[AN_AXIS_DEVICE].n > 1) an_str_appendf(&text, " %s", s->device);
    if (axes[AN_AXIS_GPU_LAYERS].n > 1) an_str_appendf(&text, " ngl %d", s->n_gpu_layers);
    size_t n = text.len < sizeof cell->label ? text.len : sizeof cell->label - 1;
    n -= an_utf8_incomplete_tail(an_str_text(&text), n);
    memcpy(cell->label, an_str_text(&text), n);
    cell->label[n] = '\0';
    an_str_free(&text);
}

static anemo_status add_cell(grid *g, const an_engine_info *engine, int model, const an_work *work,
                             const an_settings *settings, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_sweep *s = g->s;
    if (s->run.n_cell == AN_PLAN_CELLS_MAX)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "%s: the grid has more than %d cells; shorten its lists or make several plans", g->name,
                       AN_PLAN_CELLS_MAX);
    if ((s->run.n_cell & (s->run.n_cell - 1)) == 0) {
        an_settings *bigger = an_realloc(s->settings, (s->run.n_cell ? 2 * s->run.n_cell : 1) * sizeof *bigger);
        if (!bigger) return no_memory(err);
        s->settings = bigger;
    }
    an_cell *cell = an_run_add_cell(&s->run);
    if (!cell) return no_memory(err);
    s->settings[s->run.n_cell - 1] = *settings;
    snprintf(cell->engine, sizeof cell->engine, "%s", engine->name);
    cell->model = model;
    cell->work = *work;
    cell->named = true;
    cell->status = AN_CELL_PENDING;
    cell->settings = an_settings_json(settings);
    if (!cell->settings) return no_memory(err);
    make_label(g, cell, settings);
    AN_TRY(an_cell_make_key(&s->run, cell, err));
cleanup:
    return status;
}

/* The position of each axis that is not engine, model or test. */
static const an_axis inner[] = {AN_AXIS_N_DEPTH,    AN_AXIS_THREADS, AN_AXIS_N_BATCH, AN_AXIS_N_UBATCH,  AN_AXIS_KV,
                                AN_AXIS_FLASH_ATTN, AN_AXIS_COMPUTE, AN_AXIS_DEVICE,  AN_AXIS_GPU_LAYERS};
enum { N_INNER = sizeof inner / sizeof inner[0] };

static an_settings make_settings(const an_plan *plan, const an_grid_point *p, const an_work *work)
{
    an_settings s = an_settings_default();
    int64_t need = (int64_t)work->n_prompt + work->n_gen + work->n_depth;
    s.threads = s.threads_batch = (int)p->numbers[AN_AXIS_THREADS];
    s.n_batch = (int)p->numbers[AN_AXIS_N_BATCH];
    s.n_ubatch = (int)p->numbers[AN_AXIS_N_UBATCH];
    s.kv_type = an_axis_word(AN_AXIS_KV, p->texts[AN_AXIS_KV]);
    s.compute_dtype = an_axis_word(AN_AXIS_COMPUTE, p->texts[AN_AXIS_COMPUTE]);
    s.device = an_axis_word(AN_AXIS_DEVICE, p->texts[AN_AXIS_DEVICE]);
    s.n_gpu_layers = (int)p->numbers[AN_AXIS_GPU_LAYERS];
    s.flash_attn = an_sweep_tristate(p->texts[AN_AXIS_FLASH_ATTN]);
    /* As bench/cell_run.c does by itself: llama-bench's for steps; for generations a multiple of 256, because llama.cpp
     * rounds up. */
    s.n_ctx = plan->n_ctx ? plan->n_ctx : work->kind == AN_WORK_STEP ? (int)need : (int)((need + 256) / 256 * 256);
    return s;
}

/* All combinations of the inner axes for one engine, model and test. */
static anemo_status add_inner(grid *g, const an_engine_info *engine, int model, const grid_test *test, an_grid_point *p,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_plan *plan = g->plan;
    size_t at[N_INNER] = {0};
    for (size_t wheel = 0; wheel < N_INNER;) {
        for (size_t i = 0; i < N_INNER; i++) {
            const an_axis_values *v = &plan->axes[inner[i]];
            if (an_axis_is_number(inner[i]))
                p->numbers[inner[i]] = v->n ? v->numbers[at[i]] : an_settings_default().threads;
            else
                p->texts[inner[i]] = v->texts[at[i]];
        }
        an_work work = {.kind = test->kind,
                        .n_prompt = test->n_prompt,
                        .n_gen = test->n_gen,
                        .n_depth = (int)p->numbers[AN_AXIS_N_DEPTH]};
        an_settings settings = make_settings(plan, p, &work);
        bool deep_generation = work.kind == AN_WORK_GENERATE && work.n_depth > 0;
        if (!deep_generation && an_plan_admits(plan, p)) {
            if (plan->n_ctx && (int64_t)work.n_prompt + work.n_gen + work.n_depth > plan->n_ctx) {
                status = an_fail(err, ANEMO_ERR_INVAL, "%s: n_ctx = %d is too small: %d + %d + %d positions are needed",
                                 g->name, plan->n_ctx, work.n_depth, work.n_prompt, work.n_gen);
                goto cleanup;
            }
            AN_TRY(add_cell(g, engine, model, &work, &settings, err));
        } else
            g->s->n_ruled_out++;
        /* The next combination, the last axis turning fastest. */
        for (wheel = 0; wheel < N_INNER; wheel++) {
            size_t k = N_INNER - 1 - wheel, n = plan->axes[inner[k]].n;
            if (++at[k] < (n ? n : 1)) break;
            at[k] = 0;
        }
    }
cleanup:
    return status;
}

static anemo_status add_engine(grid *g, const an_engine_info *engine, bool named, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool own_model = !engine->reads_gguf && !engine->reads_mlx, any = false;
    if (own_model && !g->plan->url) {
        if (!named) return ANEMO_OK;
        return an_fail(err, ANEMO_ERR_INVAL, "%s: the engine '%s' needs 'url = http://…' in [sweep]", g->name,
                       engine->name);
    }
    for (size_t m = 0; m < (own_model ? 1 : g->s->run.n_model); m++) {
        if (!own_model && !an_engine_reads(engine, g->models[m].container)) {
            g->s->n_unread++;
            continue;
        }
        any = true;
        an_grid_point p = {0};
        p.texts[AN_AXIS_ENGINE] = engine->name;
        p.texts[AN_AXIS_MODEL] = own_model ? "" : g->s->run.models[m].name;
        p.texts[AN_AXIS_QUANT] = own_model ? "" : g->models[m].quant;
        for (size_t t = 0; t < g->n_test; t++) {
            p.texts[AN_AXIS_WORK] = g->tests[t].kind == AN_WORK_STEP ? "step" : "generate";
            p.numbers[AN_AXIS_N_PROMPT] = g->tests[t].n_prompt;
            p.numbers[AN_AXIS_N_GEN] = g->tests[t].n_gen;
            AN_TRY(add_inner(g, engine, own_model ? -1 : (int)m, &g->tests[t], &p, err));
        }
    }
    if (named && !any)
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: the engine '%s' reads %s; none of the models is of that kind",
                         g->name, engine->name, engine->reads_gguf ? "GGUF files" : "MLX directories");
cleanup:
    return status;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys tell cells of several files apart when they are joined, so they have to differ. */
static anemo_status check_keys(const grid *g, anemo_error *err)
{
    const an_run *run = &g->s->run;
    anemo_status status = ANEMO_OK;
    const char **keys = an_calloc(run->n_cell, sizeof *keys);
    if (!keys) return no_memory(err);
    for (size_t i = 0; i < run->n_cell; i++)
        keys[i] = run->cells[i].key;
    qsort(keys, run->n_cell, sizeof *keys, compare_keys);
    for (size_t i = 1; i < run->n_cell && status == ANEMO_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) != 0) continue;
        size_t at = 0;
        while (strcmp(run->cells[at].key, keys[i]) != 0)
            at++;
        status = an_fail(
            err, ANEMO_ERR_INVAL,
            "%s: two models have the content of '%.200s', so their results could not be told apart; leave one out",
            g->name, run->cells[at].model < 0 ? "" : run->models[run->cells[at].model].name);
    }
    an_free(keys);
    return status;
}

/* Rules may leave out most of a grid, but somebody has to ask them about each combination. */
static anemo_status check_size(const grid *g, anemo_error *err)
{
    const an_axis_values *axes = g->plan->axes;
    size_t n_engine = axes[AN_AXIS_ENGINE].n ? axes[AN_AXIS_ENGINE].n : an_engine_n();
    double n = (double)n_engine * (double)(g->s->run.n_model + 1) * (double)g->n_test;
    for (size_t i = 0; i < N_INNER; i++)
        n *= axes[inner[i]].n ? (double)axes[inner[i]].n : 1;
    if (n <= COMBINATIONS_MAX) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL,
                   "%s: its lists make %.3g combinations, more than %.0e; shorten them or make several plans", g->name,
                   n, COMBINATIONS_MAX);
}

static anemo_status fill(grid *g, an_sweep_find find, anemo_error *err)
{
    anemo_status status;
    const an_plan *plan = g->plan;
    const an_axis_values *engines = &plan->axes[AN_AXIS_ENGINE];
    an_sweep *s = g->s;
    AN_TRY(add_models(g, find, err));
    AN_TRY(add_tests(g, err));
    AN_TRY(check_size(g, err));
    for (size_t i = 0; i < engines->n; i++)
        AN_TRY(add_engine(g, an_engine_find(engines->texts[i]), true, err));
    for (size_t i = 0; engines->n == 0 && i < an_engine_n(); i++)
        AN_TRY(add_engine(g, an_engine_at(i), false, err));
    if (s->run.n_cell == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: no cell is left: %zu combinations are ruled out by [include] and [exclude]", g->name,
                         s->n_ruled_out);
        goto cleanup;
    }
    if (s->run.n_cell * (size_t)plan->n_block > AN_PLAN_UNITS_MAX) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: %zu cells in %d blocks are more than %d units", g->name,
                         s->run.n_cell, plan->n_block, AN_PLAN_UNITS_MAX);
        goto cleanup;
    }
    AN_TRY(check_keys(g, err));
    s->at = an_sweep_identity(s->run.n_cell);
    s->name = an_strdup(plan->name);
    s->url = an_strdup(plan->url);
    if (!s->at || !s->name || (plan->url && !s->url)) {
        status = no_memory(err);
        goto cleanup;
    }
    s->n_rep = plan->n_rep;
    s->n_warmup = plan->n_warmup;
    s->n_block = plan->n_block;
    s->delay_s = plan->delay_s;
    s->timeout_s = plan->timeout_s;
    s->seed = plan->seed;
    s->memory_share = plan->memory_share;
    s->memory_bytes = plan->memory_bytes;
    s->probes = plan->probes;
    s->disk_reserve_bytes = plan->disk_reserve_bytes;
    AN_TRY(an_sweep_describe(s, plan->note, plan->tags, err));
    AN_TRY(an_sweep_write_manifest(s, plan->has_seed, err));
cleanup:
    return status;
}

anemo_status an_sweep_build(an_sweep *out, const an_plan *plan, const char *name, an_sweep_find find, anemo_error *err)
{
    an_sweep s = {0};
    grid g = {.s = &s, .plan = plan, .name = name};
    an_run_init(&s.run);
    anemo_status status = fill(&g, find, err);
    an_free(g.models);
    an_free(g.tests);
    if (status == ANEMO_OK)
        *out = s;
    else
        an_sweep_free(&s);
    return status;
}

anemo_status an_sweep_open_plan(an_sweep *out, const char *path, int n_block, an_sweep_find find, anemo_error *err)
{
    anemo_status status;
    char *text = NULL;
    size_t n = 0;
    an_plan plan = {0};
    AN_TRY(an_file_read(path, 2u << 20, &text, &n, err));
    AN_TRY(an_plan_parse(&plan, text, n, path, err));
    if (n_block > 0) plan.n_block = n_block;
    AN_TRY(an_sweep_build(out, &plan, path, find, err));
cleanup:
    an_plan_free(&plan);
    an_free(text);
    return status;
}

void an_sweep_free(an_sweep *s)
{
    an_str_free(&s->manifest);
    an_run_free(&s->run);
    an_free(s->settings);
    an_free(s->at);
    an_free(s->name);
    an_free(s->url);
    *s = (an_sweep){0};
    an_run_init(&s->run);
}

size_t *an_sweep_identity(size_t n)
{
    size_t *at = an_calloc(n, sizeof *at);
    for (size_t i = 0; at && i < n; i++)
        at[i] = i;
    return at;
}

size_t an_sweep_n_unit(const an_sweep *s)
{
    return s->run.n_cell * (size_t)s->n_block;
}

void an_sweep_block_order(const an_sweep *s, int block, size_t *order)
{
    an_rng rng;
    an_rng_seed(&rng, s->seed + (uint64_t)block);
    an_block_order(&rng, s->run.n_cell, order);
}
