/* One cell by itself: its worker, its warm-up and its repetitions, one after the other. */
#include "bench/cell_run.h"

#include "bench/bench_internal.h"
#include "bench/model_name.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/schedule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WARM_STEPS = 16, CONTEXT_UNIT = 256 };

/* One call of an_cell_run(). */
typedef struct task {
    const an_cell_job *job;
    an_run *run;
    an_cell *cell;
    an_client *client;
    const char *path; /* of the model; "" for an engine that holds its own */
    int64_t order;
    uint64_t begin_ns;
    int32_t *ids;     /* random prompt of a GENERATE cell */
    char *text;       /* the same for engines that take none */
    size_t n_ids;
} task;

static void say(const task *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(const task *t, const char *fmt, ...)
{
    char line[256];
    int n = snprintf(line, sizeof line, "%s: ", t->cell->label);
    va_list ap;
    if (!t->job->progress || n < 0 || (size_t)n >= sizeof line) return;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
    va_end(ap);
    t->job->progress(t->job->progress_ctx, line);
}

static bool stopped(const task *t)
{
    return t->job->stop && *t->job->stop;
}

/* Positions that the work needs. llama-bench takes exactly these; for a generate we round as `compare` does. */
static int context_for(const an_work *w)
{
    int64_t need = (int64_t)w->n_depth + w->n_prompt + w->n_gen;
    if (w->kind == AN_WORK_GENERATE) need = (need + CONTEXT_UNIT) / CONTEXT_UNIT * CONTEXT_UNIT;
    return need < INT32_MAX ? (int)need : INT32_MAX;
}

/* What a worker serves, for finding out whether the next cell can have it. */
static anemo_status make_tag(const task *t, json_t *settings, an_str *out, anemo_error *err)
{
    an_str_appendf(out, "%s\n%s\n%s\n", t->job->engine->name, t->path, t->job->url ? t->job->url : "");
    return an_json_write(json_incref(settings), JSON_COMPACT | JSON_SORT_KEYS, out, err);
}

/* What the worker says of itself, its engine and the model that it holds. */
static void note_worker(task *t)
{
    an_cell *cell = t->cell;
    const an_hello *h = an_client_hello(t->client);
    const an_load_result *loaded = an_client_loaded(t->client);
    an_cell_note_hello(cell, h);
    an_cell_note_loaded(cell, loaded);
    cell->ids_exact = cell->ids_exact && cell->work.kind == AN_WORK_GENERATE;
    /* How the engine was built and what it calls this model: llama-bench's columns are made of it. */
    json_t *build = json_object_get(h->raw, "build");
    if (json_is_object(build)) json_object_set(cell->effective, "build", build);
    char name[AN_MODEL_NAME_BYTES];
    uint64_t bytes, n_param;
    an_model_llama_name(t->path, name, &bytes, &n_param);
    if (*loaded->description) snprintf(name, sizeof name, "%s", loaded->description);
    if (loaded->bytes) bytes = loaded->bytes;
    if (loaded->n_param) n_param = loaded->n_param;
    if (*name) json_object_set_new(cell->effective, "model_description", json_string(name));
    if (bytes) json_object_set_new(cell->effective, "model_bytes", json_integer((json_int_t)bytes));
    if (n_param) json_object_set_new(cell->effective, "model_n_param", json_integer((json_int_t)n_param));
}

/* Keep a repetition that is not one of the timed, or one that is. */
static anemo_status keep_rep(task *t, an_rep *rep, anemo_error *err)
{
    anemo_status status = an_cell_add_rep(t->cell, rep, err);
    if (status != ANEMO_OK) {
        an_rep_free(rep);
        return status;
    }
    return t->job->rep_done ? t->job->rep_done(t->job->rep_done_ctx, err) : ANEMO_OK;
}

static void begin_rep(task *t, an_rep *rep, an_rep_kind kind)
{
    an_rep_init(rep);
    rep->kind = kind;
    rep->order = t->order++;
    rep->start_s = (double)(an_clock_ns() - t->begin_ns) * 1e-9;
}

/* A type of the KV cache beyond the usual one that this engine does not list would be ignored or misread: refused instead. */
static anemo_status check_kv_type(const an_client *c, const char *type, anemo_error *err)
{
    const an_hello *h = an_client_hello(c);
    const json_t *list = json_object_get(json_object_get(h->raw, "capabilities"), "kv_types");
    an_str known = {0};
    bool found = !strcmp(type, "f16");
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        const char *name = json_string_value(item);
        if (!name) continue;
        found |= !strcmp(name, type);
        an_str_appendf(&known, "%s%s", known.len ? ", " : "", name);
    }
    if (!found)
        an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s holds no keys and values in %s; it has: %s", h->engine, type,
                known.len ? an_str_text(&known) : "one type, which cannot be chosen");
    an_str_free(&known);
    return found ? ANEMO_OK : ANEMO_ERR_UNSUPPORTED;
}

static anemo_status place_worker(const task *t, anemo_error *err)
{
    int64_t pid = an_client_pid(t->client);
    anemo_status status = ANEMO_OK;
    if (t->job->priority) AN_TRY(an_process_set_nice(pid, t->job->priority, err));
    if (t->job->cpu_mask) AN_TRY(an_process_set_cpus(pid, t->job->cpu_mask, t->job->cpu_mask_bytes, err));
cleanup:
    return status;
}

/* The worker's side of starting: whatever fails here fails the cell. */
static anemo_status start_worker(task *t, const an_settings *settings, an_load_result *loaded, anemo_error *failure)
{
    char **argv = NULL;
    const an_client_options options = {.timeout_ns = t->job->timeout_ns};
    anemo_status status = an_engine_command(t->job->engine, t->job->url, &argv, failure);
    if (status != ANEMO_OK) return status;
    status = an_client_open(&t->client, (const char *const *)argv, &options, failure);
    an_argv_free(argv);
    if (status != ANEMO_OK) return status == ANEMO_ERR_NOTFOUND ? ANEMO_ERR_ENGINE : status;
    if (!settings->stock) {
        AN_TRY(check_kv_type(t->client, settings->kv_type, failure));
        if (settings->kv_type_v) AN_TRY(check_kv_type(t->client, settings->kv_type_v, failure));
    }
    if (t->cell->work.kind == AN_WORK_STEP && !an_client_hello(t->client)->step)
        return an_fail(failure, ANEMO_ERR_UNSUPPORTED,
                       "%s has no step measurement (forward passes alone); measure it with anemo compare",
                       t->job->engine->name);
    AN_TRY(place_worker(t, failure));
    AN_TRY(an_client_load(t->client, t->path, settings, loaded, failure));
cleanup:
    return status;
}

/* What the system is told of the worker stands beside the settings. */
static anemo_status note_schedule(task *t, anemo_error *err)
{
    const an_cell_job *job = t->job;
    an_str mask = {0};
    anemo_status status = ANEMO_OK;
    size_t n = job->cpu_mask ? job->cpu_mask_bytes : 0;
    while (n > 0 && job->cpu_mask[n - 1] == 0) n--;
    if (n > 0) {
        an_str_append(&mask, "0x");
        for (size_t i = n; i-- > 0;) an_str_appendf(&mask, i + 1 == n ? "%x" : "%02x", job->cpu_mask[i]);
        AN_TRY(an_str_check(&mask, err));
        json_object_set_new(t->cell->settings, "cpu_mask", json_string(an_str_text(&mask)));
    }
    if (job->priority) json_object_set_new(t->cell->settings, "nice", json_integer(job->priority));
cleanup:
    an_str_free(&mask);
    return status;
}

/* A worker that has the model loaded: the one that is there, or a new one. A failure of it is told by the cell's status. */
static anemo_status ready_worker(task *t, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error failure = {0};
    an_load_result loaded = {0};
    an_settings settings = t->job->settings;
    an_str tag = {0};
    settings.stock = t->cell->stock;
    if (settings.n_ctx == 0) settings.n_ctx = context_for(&t->cell->work);
    json_decref(t->cell->settings);
    t->cell->settings = an_settings_json(&settings);
    AN_TRY(note_schedule(t, err));
    AN_TRY(make_tag(t, t->cell->settings, &tag, err));
    AN_TRY(an_cell_make_key(t->run, t->cell, err));
    if (t->client && !strcmp(an_client_tag(t->client), an_str_text(&tag))) {
        note_worker(t);
        goto cleanup;
    }
    an_client_close(t->client);
    t->client = NULL;
    say(t, "loading");
    an_rep rep;
    begin_rep(t, &rep, AN_REP_LOAD);
    bool gguf = t->cell->model >= 0 && !strcmp(t->run->models[t->cell->model].container, "gguf");
    const char *cache = t->cell->model < 0
                            ? "unknown"
                            : an_page_cache_state(t->path, gguf ? AN_CONTAINER_GGUF : AN_CONTAINER_MLX);
    snprintf(rep.page_cache, sizeof rep.page_cache, "%s", cache);
    anemo_status started = start_worker(t, &settings, &loaded, &failure);
    if (started != ANEMO_OK) {
        /* An engine that nobody named and that cannot do this is not a failure. */
        bool skip = started == ANEMO_ERR_UNSUPPORTED && !t->cell->named;
        an_cell_fail(t->cell, t->client, &failure,
                  started == ANEMO_ERR_NOTFOUND && !t->client ? AN_CELL_MISSING
                  : skip                                      ? AN_CELL_SKIPPED
                                                              : AN_CELL_FAILED);
        goto cleanup;
    }
    if (!strcmp(cache, "cold")) rep.values[AN_FIELD_ID_load_cold_s] = loaded.load_s;
    if (!strcmp(cache, "warm")) rep.values[AN_FIELD_ID_load_warm_s] = loaded.load_s;
    note_worker(t);
    AN_TRY(an_client_set_tag(t->client, an_str_text(&tag), err));
    AN_TRY(keep_rep(t, &rep, err));
cleanup:
    an_load_result_free(&loaded);
    an_str_free(&tag);
    return status;
}

/* Random ids of a GENERATE cell; engines that take text get as many short words. */
static anemo_status make_prompt(task *t, anemo_error *err)
{
    static const char *const words[] = {"time", "light", "water", "house", "never", "under", "small", "green"};
    const an_work *w = &t->cell->work;
    int n_vocab = an_client_loaded(t->client)->n_vocab;
    an_rng rng;
    an_str text = {0};
    if (w->kind != AN_WORK_GENERATE) return ANEMO_OK;
    an_rng_seed(&rng, t->job->seed);
    t->n_ids = (size_t)w->n_depth + (size_t)w->n_prompt;
    if (t->n_ids == 0) t->n_ids = 1;
    t->ids = an_calloc(t->n_ids, sizeof *t->ids);
    if (!t->ids) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for %zu prompt ids", t->n_ids);
    for (size_t i = 0; i < t->n_ids; i++) {
        uint64_t draw = an_rng_u64(&rng);
        if (n_vocab > 0) t->ids[i] = (int32_t)(draw % (uint64_t)n_vocab);
        if (!an_client_hello(t->client)->ids)
            an_str_appendf(&text, "%s%s", i ? " " : "", words[draw % AN_COUNT_OF(words)]);
    }
    anemo_status status = an_str_check(&text, err);
    t->text = text.len ? an_str_take(&text) : NULL;
    an_str_free(&text);
    return status;
}

static anemo_status generate(task *t, int n_gen, an_rep *rep, anemo_error *failure)
{
    an_generation g = {0};
    const an_generate_request r = {.prompt_ids = t->ids,
                                   .n_prompt = t->n_ids,
                                   .prompt_text = t->text,
                                   .n_predict = n_gen,
                                   .fixed_length = true,
                                   .top_p = 1,
                                   .repeat_penalty = 1,
                                   .stop = t->job->stop};
    anemo_status status = an_client_generate(t->client, &r, &g, failure);
    if (status != ANEMO_OK) return status;
    if (g.n == 0 || !strcmp(g.stop_reason, "cancelled")) {
        bool none = strcmp(g.stop_reason, "cancelled") != 0;
        an_generation_free(&g);
        return none ? an_fail(failure, ANEMO_ERR_ENGINE, "the engine generated no token")
                    : an_fail(failure, ANEMO_ERR_INTERRUPTED, "interrupted");
    }
    rep->values[AN_FIELD_ID_n_prompt] = t->text ? NAN : (double)t->n_ids;
    rep->values[AN_FIELD_ID_n_depth] = 0;
    rep->token_ids = g.ids;
    rep->token_times_s = g.t_s;
    rep->n_token = g.n;
    rep->text = g.text;
    rep->text_bytes = rep->text_bytes_before_eos = g.text ? strlen(g.text) : 0;
    snprintf(rep->stop_reason, sizeof rep->stop_reason, "%s", g.stop_reason);
    g.ids = NULL;
    g.t_s = NULL;
    g.text = NULL;
    an_generation_free(&g);
    return ANEMO_OK;
}

/* The forward passes of a STEP cell. The ends of its steps are kept as times of ids that nobody sampled. */
static anemo_status step(task *t, int n_gen, int n_depth, an_rep *rep, double *prompt_s, double *total_s,
                         anemo_error *failure)
{
    const an_work *w = &t->cell->work;
    an_step_result s = {0};
    const an_step_request q = {.n_prompt = w->n_prompt,
                               .n_gen = n_gen,
                               .n_depth = n_depth,
                               .seed = t->job->seed + (uint64_t)rep->order,
                               .stop = t->job->stop};
    anemo_status status = an_client_step(t->client, &q, &s, failure);
    if (status != ANEMO_OK) return status;
    rep->values[AN_FIELD_ID_n_prompt] = w->n_prompt;
    rep->values[AN_FIELD_ID_n_depth] = n_depth;
    rep->values[AN_FIELD_ID_n_generated] = n_gen;
    rep->values[AN_FIELD_ID_total_s] = *total_s = s.total_s;
    *prompt_s = s.prompt_s;
    rep->token_ids = an_calloc(s.n, sizeof *rep->token_ids);
    if (rep->token_ids) {
        for (size_t i = 0; i < s.n; i++) rep->token_ids[i] = -1;
        rep->token_times_s = s.t_s;
        rep->n_token = s.n;
        s.t_s = NULL;
    }
    an_step_result_free(&s);
    return ANEMO_OK;
}

/* What a step measurement says, in place of what its times would say of a generate. */
static void derive_step(an_rep *rep, double prompt_s, double total_s)
{
    static const an_field_id not_of_steps[] = {AN_FIELD_ID_ttft_s,      AN_FIELD_ID_decode_tps,
                                               AN_FIELD_ID_decode_n_tps, AN_FIELD_ID_request_tps,
                                               AN_FIELD_ID_ttst_s,       AN_FIELD_ID_prefill_tps};
    double *v = rep->values;
    for (size_t i = 0; i < AN_COUNT_OF(not_of_steps); i++) v[not_of_steps[i]] = NAN;
    v[AN_FIELD_ID_step_tps] = (v[AN_FIELD_ID_n_prompt] + v[AN_FIELD_ID_n_generated]) / total_s;
    if (prompt_s > 0) v[AN_FIELD_ID_prefill_tps] = v[AN_FIELD_ID_n_prompt] / prompt_s;
}

/* One repetition or warm-up, metered. A failure is the worker's. */
static anemo_status measure(task *t, an_rep_kind kind, an_rep *rep, anemo_error *failure)
{
    const an_work *w = &t->cell->work;
    bool warm = kind == AN_REP_WARMUP, steps = w->kind == AN_WORK_STEP;
    int most = steps ? 1 : WARM_STEPS, n_gen = warm && w->n_gen > most ? most : w->n_gen;
    double prompt_s = NAN, total_s = NAN;
    begin_rep(t, rep, kind);
    an_meter_begin(t->job->meter, t->cell->model >= 0 ? an_client_pid(t->client) : 0);
    anemo_status status = steps ? step(t, n_gen, warm ? 0 : w->n_depth, rep, &prompt_s, &total_s, failure)
                                : generate(t, n_gen, rep, failure);
    an_meter_end(t->job->meter, rep);
    if (status != ANEMO_OK) {
        an_rep_free(rep);
        return status;
    }
    if (steps) {
        rep->values[AN_FIELD_ID_n_generated] = n_gen;
        rep->values[AN_FIELD_ID_total_s] = total_s;
        derive_step(rep, prompt_s, total_s);
    }
    an_meter_efficiency(rep, t->cell->model < 0 ? NULL : &t->run->models[t->cell->model], t->cell,
                        &t->run->environment);
    return ANEMO_OK;
}

/* Wait in small pieces, so that an interrupt is not waited for. */
static void wait_before(const task *t)
{
    uint64_t left = t->job->delay_s > 0 ? (uint64_t)(t->job->delay_s * 1e9) : 0;
    while (left > 0 && !stopped(t)) {
        uint64_t part = left < 100000000u ? left : 100000000u;
        an_clock_sleep_ns(part);
        left -= part;
    }
}

static anemo_status repeat(task *t, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error failure = {0};
    int n = t->job->n_warmup + t->job->n_rep;
    for (int i = 0; i < n && !stopped(t); i++) {
        bool warm = i < t->job->n_warmup;
        an_rep rep;
        if (!warm) wait_before(t);
        if (stopped(t)) break;
        if (warm)
            say(t, "warming up");
        else
            say(t, "repetition %d of %d", i - t->job->n_warmup + 1, t->job->n_rep);
        anemo_status done = measure(t, warm ? AN_REP_WARMUP : AN_REP_TIMED, &rep, &failure);
        if (done == ANEMO_ERR_INTERRUPTED) break;
        if (done != ANEMO_OK) {
            an_cell_fail(t->cell, t->client, &failure, AN_CELL_FAILED);
            return ANEMO_OK;
        }
        if (!warm && t->job->block >= 0) rep.block = t->job->block + i - t->job->n_warmup;
        AN_TRY(keep_rep(t, &rep, err));
    }
    t->cell->status = stopped(t) && an_cell_n_timed(t->cell) < (size_t)t->job->n_rep ? AN_CELL_PENDING : AN_CELL_OK;
cleanup:
    return status;
}

/* Room that an engine needs besides twice its weights (a repacked copy): interpreters, libraries, activations. */
static const uint64_t WORKER_OVERHEAD_BYTES = 400u << 20;

/* In 80 % of what memory is available. */
bool an_cells_fit(const an_run *run)
{
    uint64_t need = 0, have = run->environment.mem_available_bytes;
    for (size_t i = 0; i < run->n_cell; i++)
        if (run->cells[i].model >= 0) need += 2 * run->models[run->cells[i].model].bytes + WORKER_OVERHEAD_BYTES;
    return have > 0 && need <= have / 10 * 8;
}

/* The place after the last repetition of the run. */
static int64_t next_order(const an_run *run)
{
    int64_t next = 0;
    for (size_t i = 0; i < run->n_cell; i++)
        for (size_t k = 0; k < run->cells[i].n_rep; k++)
            if (run->cells[i].reps[k].order >= next) next = run->cells[i].reps[k].order + 1;
    return next;
}

anemo_status an_cell_run(const an_cell_job *job, an_run *run, size_t cell, an_client **client, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    task t = {.job = job,
              .run = run,
              .cell = &run->cells[cell],
              .client = client ? *client : NULL,
              .path = "",
              .order = next_order(run),
              .begin_ns = job->begin_ns ? job->begin_ns : an_clock_ns()};
    if (t.cell->model >= 0) t.path = run->models[t.cell->model].path;
    t.cell->status = AN_CELL_PENDING;
    if (client) *client = NULL;
    AN_TRY(ready_worker(&t, err));
    if (t.cell->status != AN_CELL_PENDING) goto cleanup;
    AN_TRY(make_prompt(&t, err));
    AN_TRY(repeat(&t, err));
    json_decref(t.cell->missing);
    t.cell->missing = an_meter_missing(job->meter);
cleanup:
    if (stopped(&t) && t.cell->status == AN_CELL_PENDING) run->interrupted = true;
    if (client && status == ANEMO_OK && t.cell->status == AN_CELL_OK)
        *client = t.client;
    else
        an_client_close(t.client);
    an_free(t.ids);
    an_free(t.text);
    return status;
}
