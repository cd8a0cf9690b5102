/* Planning a comparison: models, prompt ids and cells. Everything a user can get wrong is found here. */
#include "bench/bench_internal.h"
#include "bench/environment.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/figures.h"
#include "os/clock.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static anemo_status open_model(an_model_ref *ref, an_run_model *m, const char *name, anemo_error *err)
{
    anemo_status status;
    AN_TRY(an_model_resolve(name, &m->path, err));
    AN_TRY(an_run_model_describe(m, &ref->container, err));
    status = an_tokenizer_open(&ref->tokenizer, m->path, err);
cleanup:
    return status;
}

/* The ids of the prompt for one model: chat template unless raw; BOS where the model says so. */
static anemo_status prompt_ids(const an_comparison_options *o, const an_tokenizer *t, an_ids *out,
                               const char **format, anemo_error *err)
{
    an_chat_format chat = an_tokenizer_chat_format(t);
    *format = "none";
    if (!o->raw && chat != AN_CHAT_NONE && chat != AN_CHAT_UNKNOWN) {
        const an_chat_message message = {.role = "user", .content = o->prompt};
        *format = an_chat_format_name(chat);
        return an_tokenizer_chat(t, &message, 1, out, err);
    }
    anemo_status status = ANEMO_OK;
    if (an_tokenizer_add_bos(t) && an_tokenizer_bos(t) >= 0)
        AN_TRY(an_ids_push(out, an_tokenizer_bos(t), err));
    AN_TRY(an_tokenizer_encode(t, o->prompt, strlen(o->prompt), false, out, err));
cleanup:
    return status;
}

static anemo_status plan_prompt(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_comparison_options *o = c->options;
    an_ids other = {0};
    an_str text = {0};
    c->chat_format = "none";
    if (o->prompt_ids) {
        for (size_t i = 0; i < o->n_prompt_ids; i++)
            AN_TRY(an_ids_push(&c->prompt_ids, o->prompt_ids[i], err));
    } else
        AN_TRY(prompt_ids(o, c->models[0].tokenizer, &c->prompt_ids, &c->chat_format, err));
    if (c->prompt_ids.n == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "the prompt has no tokens; give some text with -p");
        goto cleanup;
    }
    for (size_t m = 0; m < c->run.n_model; m++) {
        const an_model_ref *ref = &c->models[m];
        const char *name = c->run.models[m].name;
        for (size_t i = 0; o->prompt_ids && i < c->prompt_ids.n; i++) {
            if (c->prompt_ids.ids[i] >= 0 && c->prompt_ids.ids[i] < an_tokenizer_n_vocab(ref->tokenizer)) continue;
            status = an_fail(err, ANEMO_ERR_INVAL,
                             "--prompt-ids: id %" PRId32 " at position %zu is outside the vocabulary of %s "
                             "(0 to %" PRId32 ")",
                             c->prompt_ids.ids[i], i, name, an_tokenizer_n_vocab(ref->tokenizer) - 1);
            goto cleanup;
        }
        if (m == 0 || o->prompt_ids) continue;
        const char *format;
        other.n = 0;
        AN_TRY(prompt_ids(o, ref->tokenizer, &other, &format, err));
        if (other.n != c->prompt_ids.n ||
            memcmp(other.ids, c->prompt_ids.ids, other.n * sizeof *other.ids) != 0) {
            status = an_fail(err, ANEMO_ERR_INVAL,
                             "%s and %s make different ids of this prompt, so they cannot be given the same "
                             "work; compare them in runs of their own, or use --raw or --prompt-ids",
                             c->run.models[0].name, name);
            goto cleanup;
        }
    }
    if (o->prompt && !o->prompt_ids && strcmp(c->chat_format, "none") == 0)
        an_str_append(&text, o->prompt);
    else
        an_tokenizer_decode(c->models[0].tokenizer, c->prompt_ids.ids, c->prompt_ids.n, true, false, &text);
    AN_TRY(an_str_check(&text, err));
    c->prompt_text = an_str_take(&text);
cleanup:
    an_ids_free(&other);
    an_str_free(&text);
    return status;
}

static anemo_status add_cell(an_comparison *c, const an_engine_info *engine, int model, bool stock, bool named,
                             const an_settings *settings, anemo_error *err)
{
    const an_engine_info **engines = an_realloc(c->engines, (c->run.n_cell + 1) * sizeof *engines);
    if (engines) c->engines = engines;
    an_settings *list = an_realloc(c->cell_settings, (c->run.n_cell + 1) * sizeof *list);
    if (list) c->cell_settings = list;
    an_cell *cell = engines && list ? an_run_add_cell(&c->run) : NULL;
    if (!cell) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    engines[c->run.n_cell - 1] = engine;
    list[c->run.n_cell - 1] = *settings;
    list[c->run.n_cell - 1].stock = stock;
    cell->status = AN_CELL_PENDING;
    snprintf(cell->engine, sizeof cell->engine, "%s", engine->name);
    cell->model = model;
    cell->stock = stock;
    cell->named = named;
    cell->work = (an_work){.kind = AN_WORK_GENERATE, .n_prompt = (int)c->prompt_ids.n, .n_gen = c->options->n_predict};
    return ANEMO_OK;
}

/* A cell for each number of threads; an engine that holds its own model cannot be told any. */
static anemo_status add_settings(an_comparison *c, const an_engine_info *engine, int model, bool named, anemo_error *err)
{
    const an_comparison_options *o = c->options;
    anemo_status status = ANEMO_OK;
    an_settings settings = c->settings;
    size_t n = model < 0 || !o->threads ? 1 : o->n_threads;
    for (size_t i = 0; i < n; i++) {
        if (o->threads) settings.threads = settings.threads_batch = o->threads[i];
        AN_TRY(add_cell(c, engine, model, false, named, &settings, err));
        if (!o->draft || !engine->drafts || model < 0) continue;
        an_settings drafting = settings;
        drafting.draft = o->draft;
        drafting.draft_n = o->draft_n;
        AN_TRY(add_cell(c, engine, model, false, named, &drafting, err));
    }
cleanup:
    return status;
}

/* The cells of one engine: one for each model that it reads, and their stock twins. */
static anemo_status add_engine(an_comparison *c, const an_engine_info *engine, bool named, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t before = c->run.n_cell;
    bool own_model = !engine->reads_gguf && !engine->reads_mlx;
    if (own_model && !c->options->url) {
        status = an_fail(err, ANEMO_ERR_INVAL, "the engine '%s' needs --url", engine->name);
        goto cleanup;
    }
    for (size_t m = 0; m < (own_model ? 1 : c->run.n_model); m++) {
        if (!own_model && !an_engine_reads(engine, c->models[m].container)) continue;
        AN_TRY(add_settings(c, engine, own_model ? -1 : (int)m, named, err));
        if (c->options->stock && engine->third_party && !own_model)
            AN_TRY(add_cell(c, engine, (int)m, true, named, &c->settings, err));
    }
    if (named && c->run.n_cell == before)
        status = an_fail(err, ANEMO_ERR_INVAL, "the engine '%s' reads %s; none of the given models is of that format",
                         engine->name, engine->reads_gguf ? "GGUF files" : "MLX directories");
cleanup:
    return status;
}

static void label_cells(an_comparison *c)
{
    for (size_t i = 0; i < c->run.n_cell; i++) {
        an_cell *cell = &c->run.cells[i];
        bool same_engine = false, same_format = false;
        for (size_t j = 0; j < c->run.n_cell; j++) {
            const an_cell *other = &c->run.cells[j];
            if (c->engines[j] != c->engines[i] || other->model == cell->model || cell->model < 0) continue;
            same_engine = true;
            same_format |= c->models[other->model].container == c->models[cell->model].container;
        }
        const char *what = "", *dot = "";
        if (same_engine) {
            dot = " · ";
            what = same_format ? c->run.models[cell->model].name : c->run.models[cell->model].container;
        }
        char threads[32] = "";
        if (c->options->n_threads > 1 && cell->model >= 0 && !cell->stock)
            snprintf(threads, sizeof threads, " · %d thread%s", c->cell_settings[i].threads,
                     c->cell_settings[i].threads == 1 ? "" : "s");
        const char *draft = c->cell_settings[i].draft;
        snprintf(cell->label, sizeof cell->label, "%s%s%.24s%s%.32s%s%s", cell->engine, draft ? "+" : "",
                 draft ? an_path_base(draft) : "", dot, what, threads, cell->stock ? " (stock)" : "");
    }
}

/* A second copy of the first cell: of all there is in an A/A run, of the reference for the gate. */
static anemo_status add_copy(an_comparison *c, anemo_error *err)
{
    const an_comparison_options *o = c->options;
    if (o->aa && c->run.n_cell != 1)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "--aa measures one cell against itself, and these are %zu: name one model, one --engine and one number of "
                       "threads",
                       c->run.n_cell);
    const an_settings settings = c->cell_settings[0]; /* the list may move */
    anemo_status status = add_cell(c, c->engines[0], c->run.cells[0].model, c->run.cells[0].stock, c->run.cells[0].named,
                                   &settings, err);
    if (status != ANEMO_OK) return status;
    an_cell *first = &c->run.cells[0], *copy = &c->run.cells[c->run.n_cell - 1];
    char name[80];
    snprintf(name, sizeof name, "%s", first->label);
    copy->copy_of = 0;
    snprintf(copy->label, sizeof copy->label, "%s %s", name, o->aa ? "#2" : "(again)");
    if (o->aa) snprintf(first->label, sizeof first->label, "%s #1", name);
    return ANEMO_OK;
}

/* Who each cell is and what it is asked for. */
static anemo_status identify_cells(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < c->run.n_cell; i++) {
        an_cell *cell = &c->run.cells[i];
        cell->settings = an_settings_json(&c->cell_settings[i]);
        if (!cell->settings) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        AN_TRY(an_cell_make_key(&c->run, cell, err));
    }
cleanup:
    return status;
}

/* The context holds prompt and answer, in a multiple of 256 because llama.cpp rounds up to that. */
static anemo_status plan_context(an_comparison *c, anemo_error *err)
{
    size_t need = c->prompt_ids.n + (size_t)c->options->n_predict;
    c->settings = c->options->settings;
    if (c->settings.n_ctx > 0 && (size_t)c->settings.n_ctx < need)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "--ctx-size %d is too small: prompt and generated tokens need %zu positions",
                       c->settings.n_ctx, need);
    if (need > 16000000)
        return an_fail(err, ANEMO_ERR_INVAL, "prompt and generated tokens need %zu positions", need);
    if (c->settings.n_ctx == 0) c->settings.n_ctx = (int)((need + 255) / 256 * 256);
    return ANEMO_OK;
}

/* What was asked, for people and for repeating it. */
static anemo_status record_workload(an_comparison *c, anemo_error *err)
{
    const an_comparison_options *o = c->options;
    json_t *ids = json_array();
    for (size_t i = 0; i < c->prompt_ids.n; i++) json_array_append_new(ids, json_integer(c->prompt_ids.ids[i]));
    c->run.workload = json_pack(
        "{s:o, s:o, s:i, s:s, s:o, s:b, s:i, s:i, s:o, s:o, s:b, s:b, s:b, s:I, s:o}", "prompt",
        o->prompt_ids || !o->prompt ? json_null() : an_json_text(o->prompt, strlen(o->prompt)), "prompt_ids", ids,
        "n_predict", o->n_predict, "chat_format", c->chat_format, "rendered_prompt",
        c->prompt_text ? an_json_text(c->prompt_text, strlen(c->prompt_text)) : json_null(), "fixed_length",
        !o->stop_eos, "n_rep", o->n_rep, "max_reps", o->max_reps, "n_warmup",
        o->n_warmup == AN_WARMUP_AUTO ? json_null() : json_integer(o->n_warmup), "budget_s",
        o->budget_ns ? json_real((double)o->budget_ns * 1e-9) : json_null(), "cold", o->cold, "gate", o->gate, "bandwidth",
        o->bandwidth, "seed", (json_int_t)o->seed, "settings", an_settings_json(&c->settings));
    if (c->run.workload && o->draft) {
        json_object_set_new(c->run.workload, "draft", an_json_text(o->draft, strlen(o->draft)));
        json_object_set_new(c->run.workload, "draft_n", json_integer(o->draft_n));
    }
    return c->run.workload ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

anemo_status an_comparison_plan(an_comparison *c, const an_comparison_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *c = (an_comparison){.options = o};
    an_run_init(&c->run);
    an_rng rng;
    an_rng_seed(&rng, o->seed ^ an_clock_realtime_ns());
    an_run_new_id(an_clock_realtime_ns(), an_rng_u64(&rng), c->run.id);
    snprintf(c->run.kind, sizeof c->run.kind, "compare");
    c->run.aa = o->aa;
    c->run.precision = o->precision;
    /* Names first: a misspelt engine should not wait for models to be read. */
    for (size_t i = 0; i < o->n_engine; i++) {
        if (an_engine_find(o->engines[i])) continue;
        an_str known = {0};
        for (size_t e = 0; e < an_engine_n(); e++)
            an_str_appendf(&known, "%s%s", e ? ", " : "", an_engine_at(e)->name);
        status = an_fail(err, ANEMO_ERR_INVAL, "unknown engine '%s'; there are: %s", o->engines[i],
                         an_str_text(&known));
        an_str_free(&known);
        goto cleanup;
    }
    c->models = an_calloc(o->n_model, sizeof *c->models);
    if (!c->models) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < o->n_model; i++) {
        an_run_model *m = an_run_add_model(&c->run);
        if (!m) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        AN_TRY(open_model(&c->models[i], m, o->models[i], err));
    }
    AN_TRY(plan_prompt(c, err));
    AN_TRY(plan_context(c, err));
    for (size_t i = 0; i < o->n_engine; i++) AN_TRY(add_engine(c, an_engine_find(o->engines[i]), true, err));
    for (size_t e = 0; o->n_engine == 0 && e < an_engine_n(); e++) {
        const an_engine_info *engine = an_engine_at(e);
        bool own_model = !engine->reads_gguf && !engine->reads_mlx;
        if (!own_model || o->url) AN_TRY(add_engine(c, engine, false, err));
    }
    bool drafts = false;
    for (size_t i = 0; i < c->run.n_cell; i++) drafts |= c->cell_settings[i].draft != NULL;
    if (o->draft && !drafts) {
        status = an_fail(err, ANEMO_ERR_INVAL, "--draft: none of the engines has speculative decoding; the native engine has it");
        goto cleanup;
    }
    label_cells(c);
    if (o->aa || (o->gate && c->run.n_cell > 0)) AN_TRY(add_copy(c, err));
    AN_TRY(identify_cells(c, err));
    AN_TRY(record_workload(c, err));
    an_environment_read(&c->run.environment);
cleanup:
    if (status != ANEMO_OK) an_comparison_free(c);
    return status;
}

void an_comparison_free(an_comparison *c)
{
    for (size_t i = 0; i < c->run.n_model; i++) an_tokenizer_close(c->models[i].tokenizer);
    an_free(c->models);
    an_free(c->engines);
    an_free(c->cell_settings);
    an_free(c->prompt_text);
    an_ids_free(&c->prompt_ids);
    an_meter_close(c->meter);
    an_run_free(&c->run);
    *c = (an_comparison){0};
}
