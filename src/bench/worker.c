/* A cell's worker: starting, loading cold and warm, warming up, one repetition. */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/clock.h"
#include "stats/sequential.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WARM_STEPS = 16,    /* decode steps of a warm-up */
    WARM_STEADY_N = 4,  /* warm-ups before they are judged */
    WARM_NOISY_N = 8,   /* from here on their spread no longer counts */
    WARM_MAX = 10,
    OBSERVE_MS = 50,
};

/* No further warm-up of its own accord begins once one cell has spent this on them. */
static const uint64_t WARM_NS = 10000000000u;

/* Times that differ by no more than this are steady. */
static const double WARM_SPREAD = 0.1;

void an_bench_progress(const an_comparison_options *o, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    if (!o->progress) return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    o->progress(o->progress_ctx, line);
}

bool an_bench_stopped(const an_comparison *c)
{
    return c->options->stop && *c->options->stop;
}

static double since_begin(const an_comparison *c)
{
    return (double)(an_clock_ns() - c->begin_ns) * 1e-9;
}

void an_cell_fail(an_cell *cell, an_client *client, const anemo_error *failure, an_cell_status status)
{
    an_str reason = {0};
    if (client) {
        an_client_describe_failure(client, failure, &reason);
        const char *tail = an_client_stderr_tail(client);
        an_free(cell->stderr_tail);
        cell->stderr_tail = tail[0] ? an_strdup(tail) : NULL;
    } else
        an_str_append(&reason, failure->message);
    an_free(cell->reason);
    cell->reason = an_str_take(&reason);
    cell->status = status;
}

static void copy_text(char *out, size_t cap, const json_t *obj, const char *key)
{
    const char *text = json_string_value(json_object_get(obj, key));
    snprintf(out, cap, "%s", text ? text : "");
}

/* Does the engine's own tokenizer make the same ids of the plain prompt as ours? Notes a difference. */
static void compare_tokenization(an_comparison *c, an_cell *cell, an_client *client)
{
    const an_comparison_options *o = c->options;
    an_ids ours = {0};
    int32_t *theirs = NULL;
    size_t n = 0;
    if (!o->prompt || o->prompt_ids || !an_client_hello(client)->tokenize || cell->model < 0) return;
    const an_tokenizer *t = c->models[cell->model].tokenizer;
    if (an_tokenizer_encode(t, o->prompt, strlen(o->prompt), false, &ours, NULL) == ANEMO_OK &&
        an_client_tokenize(client, o->prompt, false, &theirs, &n, NULL) == ANEMO_OK) {
        size_t same = an_common_prefix(ours.ids, ours.n, theirs, n);
        if (same < ours.n || same < n) {
            an_str note = {0};
            an_str_appendf(&note,
                           "%s tokenizes the prompt differently from anemo: %zu ids against %zu, first "
                           "difference at position %zu; all engines were given anemo's ids",
                           cell->engine, n, ours.n, same);
            an_free(cell->tokenization_note);
            cell->tokenization_note = an_str_take(&note);
        }
    }
    an_ids_free(&ours);
    an_free(theirs);
}

void an_cell_note_hello(an_cell *cell, const an_hello *h)
{
    snprintf(cell->engine_version, sizeof cell->engine_version, "%s", h->engine_version);
    snprintf(cell->driver, sizeof cell->driver, "%s", h->driver);
    snprintf(cell->driver_version, sizeof cell->driver_version, "%s", h->driver_version);
    cell->ids_exact = h->ids && h->fixed_length;
    cell->can_logits = h->logits;
    cell->threads_settable = h->threads;
}

/* Tell the caller that a cell has changed: a repetition more, or another status. */
static void changed(const an_comparison *c, size_t cell)
{
    if (c->options->changed) c->options->changed(c->options->changed_ctx, &c->run, cell);
}

void an_cell_note_loaded(an_cell *cell, const an_load_result *loaded)
{
    snprintf(cell->format, sizeof cell->format, "%s", loaded->format);
    snprintf(cell->quantization, sizeof cell->quantization, "%s", loaded->quantization);
    json_decref(cell->effective);
    cell->effective = json_deep_copy(loaded->effective);
    copy_text(cell->compute_dtype, sizeof cell->compute_dtype, cell->effective, "compute_dtype");
    copy_text(cell->device, sizeof cell->device, cell->effective, "device");
}

/* A load is a repetition of its own. One that found some pages only is neither cold nor warm: its record says so, without a time. */
static anemo_status record_load(an_comparison *c, an_cell *cell, double load_s, const char *cache, double start_s,
                                anemo_error *err)
{
    an_rep rep;
    an_rep_init(&rep);
    rep.kind = AN_REP_LOAD;
    rep.order = c->n_order++;
    rep.start_s = start_s;
    snprintf(rep.page_cache, sizeof rep.page_cache, "%s", cache);
    if (!strcmp(cache, "cold")) rep.values[AN_FIELD_ID_load_cold_s] = load_s;
    if (!strcmp(cache, "warm")) rep.values[AN_FIELD_ID_load_warm_s] = load_s;
    return an_cell_add_rep(cell, &rep, err);
}

static an_client *start(an_comparison *c, size_t index)
{
    an_cell *cell = &c->run.cells[index];
    const an_comparison_options *o = c->options;
    anemo_error err = {0};
    char **argv = NULL;
    an_client *client = NULL;
    an_load_result loaded = {0};
    an_settings settings = c->cell_settings[index];
    const char *path = cell->model < 0 ? "" : c->run.models[cell->model].path;

    anemo_status status = an_engine_command(c->engines[index], o->url, &argv, &err);
    if (status != ANEMO_OK) {
        an_cell_fail(cell, NULL, &err, status == ANEMO_ERR_NOTFOUND ? AN_CELL_MISSING : AN_CELL_FAILED);
        return NULL;
    }
    an_bench_progress(o, "%s: loading", cell->label);
    const char *cache = cell->model < 0 ? "unknown" : an_page_cache_state(path, c->models[cell->model].container);
    const an_client_options options = {.timeout_ns = o->timeout_ns};
    double start_s = since_begin(c);
    status = an_client_open(&client, (const char *const *)argv, &options, &err);
    an_argv_free(argv);
    if (status != ANEMO_OK) {
        an_cell_fail(cell, NULL, &err, AN_CELL_FAILED);
        return NULL;
    }
    an_cell_note_hello(cell, an_client_hello(client));
    status = an_client_load(client, path, &settings, &loaded, &err);
    if (status == ANEMO_OK) {
        an_cell_note_loaded(cell, &loaded);
        status = record_load(c, cell, loaded.load_s, cache, start_s, &err);
    }
    an_load_result_free(&loaded);
    if (status != ANEMO_OK) {
        an_cell_fail(cell, client, &err, AN_CELL_FAILED);
        an_client_close(client);
        return NULL;
    }
    return client;
}

an_client *an_bench_start(an_comparison *c, size_t cell)
{
    an_client *client = start(c, cell);
    if (client) compare_tokenization(c, &c->run.cells[cell], client);
    changed(c, cell);
    return client;
}

enum { COLD_TRIES = 5, COLD_WAIT_NS = 50000000 };

void an_bench_cold_load(an_comparison *c, size_t cell)
{
    int model = c->run.cells[cell].model;
    if (model < 0) return;
    an_bench_progress(c->options, "%s: dropping the model from the page cache", c->run.cells[cell].label);
    /* Pages that another process maps or that are being written back stay; a worker that has just ended may still hold some. */
    const char *path = c->run.models[model].path;
    for (int i = 0; i < COLD_TRIES; i++) {
        if (!an_page_cache_drop(path, c->models[model].container)) break;
        if (strcmp(an_page_cache_state(path, c->models[model].container), "cold") == 0) break;
        an_clock_sleep_ns(COLD_WAIT_NS);
    }
    an_client_close(start(c, cell));
    changed(c, cell);
}

/* Ids that end a generation, for --stop-eos. Returns how many were written. */
static size_t stop_ids(const an_comparison *c, const an_cell *cell, int32_t *out, size_t cap)
{
    const an_tokenizer *t = c->models[cell->model < 0 ? 0 : cell->model].tokenizer;
    size_t n = 0;
    for (int32_t id = 0; id < an_tokenizer_n_vocab(t) && n < cap; id++)
        if (an_tokenizer_is_eog(t, id)) out[n++] = id;
    return n;
}

/* Ask for the cell's work; `observer` looks at the worker meanwhile. */
static anemo_status generate(const an_comparison *c, const an_cell *cell, an_client *client, int n_predict,
                             an_observer *observer, an_generation *out, anemo_error *err)
{
    int32_t stops[64];
    const an_comparison_options *o = c->options;
    an_generate_request r = {
        .prompt_ids = c->prompt_ids.ids,
        .n_prompt = c->prompt_ids.n,
        .prompt_text = cell->ids_exact ? NULL : c->prompt_text,
        .n_predict = n_predict,
        .fixed_length = !o->stop_eos,
        .stop_ids = stops,
        .n_stop = o->stop_eos ? stop_ids(c, cell, stops, AN_COUNT_OF(stops)) : 0,
        .top_p = 1,
        .repeat_penalty = 1,
        .on_wait = observer ? an_observer_tick : NULL,
        .on_wait_ctx = observer,
        .wait_ns = (uint64_t)OBSERVE_MS * 1000000u,
    };
    return an_client_generate(client, &r, out, err);
}

/* Fills *rep, begun by the caller. */
static anemo_status measure(an_comparison *c, const an_cell *cell, an_client *client, int n_predict, an_rep *rep,
                            anemo_error *err)
{
    an_generation g = {0};
    /* An http worker is only our client: its memory and CPU time say nothing of the server. */
    int64_t pid = cell->model >= 0 ? an_client_pid(client) : 0;
    an_observer *observer = rep->kind == AN_REP_OBSERVED && pid ? an_observer_begin(pid) : NULL;
    an_meter_begin(c->meter, pid);
    anemo_status status = generate(c, cell, client, n_predict, observer, &g, err);
    an_observer_end(observer, rep);
    if (status != ANEMO_OK) return status;
    an_rep_set_drafts(rep, g.n, g.n_pass, g.n_drafted, g.n_accepted);
    rep->token_ids = g.ids;
    rep->token_times_s = g.t_s;
    rep->n_token = g.n;
    rep->text = g.text;
    rep->text_bytes = g.text ? strlen(g.text) : 0;
    snprintf(rep->stop_reason, sizeof rep->stop_reason, "%s", g.stop_reason);
    g.ids = NULL;
    g.t_s = NULL;
    g.text = NULL;
    an_generation_free(&g);
    if (rep->n_token == 0) return an_fail(err, ANEMO_ERR_ENGINE, "the engine generated no token");
    an_meter_end(c->meter, rep);
    an_meter_efficiency(rep, cell->model < 0 ? NULL : &c->run.models[cell->model], cell, &c->run.environment);
    return an_bench_finish_text(c->models[cell->model < 0 ? 0 : cell->model].tokenizer, rep, err);
}

bool an_bench_repeat(an_comparison *c, size_t index, an_client *client, an_rep_kind kind, int block, int n_predict)
{
    anemo_error err = {0};
    an_rep rep;
    an_cell *cell = &c->run.cells[index];
    an_rep_init(&rep);
    rep.kind = kind;
    rep.block = block;
    rep.order = c->n_order++;
    rep.start_s = since_begin(c);
    rep.values[AN_FIELD_ID_n_prompt] = (double)c->prompt_ids.n;
    rep.values[AN_FIELD_ID_n_depth] = 0;
    anemo_status status = measure(c, cell, client, n_predict, &rep, &err);
    if (status == ANEMO_OK) status = an_cell_add_rep(cell, &rep, &err);
    if (status == ANEMO_OK) {
        /* Now, and not at the run's end: a server among the cells lacks what workers of ours have. */
        json_decref(cell->missing);
        cell->missing = an_meter_missing(c->meter);
    }
    if (status != ANEMO_OK) {
        an_rep_free(&rep);
        an_cell_fail(cell, client, &err, AN_CELL_FAILED);
    }
    changed(c, index);
    return status == ANEMO_OK;
}

/* (largest - smallest) / smallest of n > 0 times. */
static double spread(const double *times, size_t n)
{
    double lo = times[0], hi = times[0];
    for (size_t i = 1; i < n; i++) {
        lo = times[i] < lo ? times[i] : lo;
        hi = times[i] > hi ? times[i] : hi;
    }
    return (hi - lo) / lo;
}

/*
 * Until the time of a warm-up no longer changes: the transient that MSER finds has to lie within the first half, else there may be
 * more of it to come, and so it may where the few that follow still differ. An engine that takes seconds for one is not
 * asked for many.
 */
static bool warm_enough(const an_comparison *c, const double *times, int n, uint64_t begin_ns)
{
    const an_comparison_options *o = c->options;
    if (o->n_warmup != AN_WARMUP_AUTO) return n >= o->n_warmup;
    if (n == 0) return false;
    if (n >= WARM_MAX || an_clock_ns() - begin_ns > WARM_NS) return true;
    if (n < WARM_STEADY_N) return false;
    size_t cut = an_steady_from(times, (size_t)n);
    return cut < (size_t)n / 2 && (n >= WARM_NOISY_N || spread(times + cut, (size_t)n - cut) <= WARM_SPREAD);
}

static bool warm_up(an_comparison *c, size_t index, an_client *client)
{
    double times[WARM_MAX];
    const an_cell *cell = &c->run.cells[index];
    int n_predict = c->options->n_predict, steps = n_predict < WARM_STEPS ? n_predict : WARM_STEPS;
    uint64_t begin_ns = an_clock_ns();
    for (int n = 0; !an_bench_stopped(c) && !warm_enough(c, times, n, begin_ns); n++) {
        an_bench_progress(c->options, "%s: warming up", cell->label);
        if (!an_bench_repeat(c, index, client, AN_REP_WARMUP, -1, steps)) return false;
        if (n < WARM_MAX) times[n] = cell->reps[cell->n_rep - 1].values[AN_FIELD_ID_total_s];
    }
    return true;
}

an_client *an_bench_ready(an_comparison *c, size_t cell)
{
    an_client *client = an_bench_start(c, cell);
    if (client && !warm_up(c, cell, client)) {
        an_client_close(client);
        client = NULL;
    }
    return client;
}
