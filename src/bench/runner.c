/* Measuring: workers, warm-up, repetitions in randomised blocks. */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WARM_STEPS = 16 };

/* Room that an engine needs besides twice its weights (a repacked copy): interpreters, libraries, activations. */
static const uint64_t WORKER_OVERHEAD_BYTES = 400u << 20;

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

/* Pages of one file: adds to *resident and *total; false when unknown. */
static bool count_pages(const char *path, uint64_t *resident, uint64_t *total)
{
    an_file_map map;
    if (an_file_map_open(&map, path, NULL) != ANEMO_OK) return false;
    int64_t r = an_file_map_resident(&map);
    *total += map.size;
    if (r > 0) *resident += (uint64_t)r;
    an_file_unmap(&map);
    return r >= 0;
}

const char *an_page_cache_state(const char *path, an_container container)
{
    uint64_t resident = 0, total = 0;
    bool known = true;
    if (container == AN_CONTAINER_GGUF)
        known = count_pages(path, &resident, &total);
    else {
        char **names;
        size_t n;
        if (an_dir_list(path, &names, &n, NULL) != ANEMO_OK) return "unknown";
        for (size_t i = 0; i < n; i++) {
            if (!an_str_ends_with(names[i], ".safetensors")) continue;
            char *file = an_path_join(path, names[i]);
            known = file && count_pages(file, &resident, &total) && known;
            an_free(file);
        }
        an_names_free(names);
    }
    if (!known || total == 0) return "unknown";
    double share = (double)resident / (double)total;
    return share >= 0.99 ? "warm" : share < 0.01 ? "cold" : "mixed";
}

static void fail_cell(an_cell *cell, an_client *client, const anemo_error *err)
{
    an_str reason = {0};
    if (client)
        an_client_describe_failure(client, err, &reason);
    else
        an_str_append(&reason, err->message);
    an_free(cell->reason);
    cell->reason = an_str_take(&reason);
    cell->status = AN_CELL_FAILED;
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

static void note_hello(an_cell *cell, const an_hello *h)
{
    snprintf(cell->engine_version, sizeof cell->engine_version, "%s", h->engine_version);
    snprintf(cell->driver, sizeof cell->driver, "%s", h->driver);
    snprintf(cell->driver_version, sizeof cell->driver_version, "%s", h->driver_version);
    cell->ids_exact = h->ids && h->fixed_length;
    cell->can_logits = h->logits;
    cell->threads_settable = h->threads;
}

/* What was loaded, and how long it took, as a repetition of its own. */
static anemo_status record_load(an_comparison *c, an_cell *cell, const an_load_result *loaded, const char *cache,
                                uint64_t start_ns, anemo_error *err)
{
    an_rep rep;
    an_rep_init(&rep);
    rep.kind = AN_REP_LOAD;
    rep.order = c->n_order++;
    rep.start_s = (double)(start_ns - c->begin_ns) * 1e-9;
    snprintf(rep.page_cache, sizeof rep.page_cache, "%s", cache);
    if (!strcmp(cache, "cold")) rep.values[AN_FIELD_ID_load_cold_s] = loaded->load_s;
    if (!strcmp(cache, "warm")) rep.values[AN_FIELD_ID_load_warm_s] = loaded->load_s;
    snprintf(cell->format, sizeof cell->format, "%s", loaded->format);
    snprintf(cell->quantization, sizeof cell->quantization, "%s", loaded->quantization);
    json_decref(cell->effective);
    cell->effective = json_incref(loaded->effective);
    copy_text(cell->compute_dtype, sizeof cell->compute_dtype, cell->effective, "compute_dtype");
    copy_text(cell->device, sizeof cell->device, cell->effective, "device");
    return an_cell_add_rep(cell, &rep, err);
}

/* Start the cell's worker and load the model. Returns the client, or NULL after marking the cell. */
static an_client *start_cell(an_comparison *c, size_t index)
{
    an_cell *cell = &c->run.cells[index];
    const an_comparison_options *o = c->options;
    anemo_error err = {0};
    char **argv = NULL;
    an_client *client = NULL;
    an_load_result loaded = {0};
    an_settings settings = c->settings;
    const char *path = cell->model < 0 ? "" : c->run.models[cell->model].path;

    anemo_status status = an_engine_command(c->engines[index], o->url, &argv, &err);
    if (status != ANEMO_OK) {
        fail_cell(cell, NULL, &err);
        if (status == ANEMO_ERR_NOTFOUND) cell->status = AN_CELL_MISSING;
        return NULL;
    }
    settings.stock = cell->stock;
    json_decref(cell->settings);
    cell->settings = an_settings_json(&settings);
    an_bench_progress(o, "%s: loading", cell->label);
    const char *cache = cell->model < 0 ? "unknown" : an_page_cache_state(path, c->models[cell->model].container);
    const an_client_options options = {.timeout_ns = o->timeout_ns};
    uint64_t start_ns = an_clock_ns();
    status = an_client_open(&client, (const char *const *)argv, &options, &err);
    an_argv_free(argv);
    if (status != ANEMO_OK) {
        fail_cell(cell, NULL, &err);
        return NULL;
    }
    note_hello(cell, an_client_hello(client));
    status = an_client_load(client, path, &settings, &loaded, &err);
    if (status == ANEMO_OK) status = record_load(c, cell, &loaded, cache, start_ns, &err);
    an_load_result_free(&loaded);
    if (status != ANEMO_OK) {
        fail_cell(cell, client, &err);
        an_client_close(client);
        return NULL;
    }
    compare_tokenization(c, cell, client);
    return client;
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

static anemo_status generate(const an_comparison *c, const an_cell *cell, an_client *client, int n_predict,
                             an_generation *out, anemo_error *err)
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
    };
    return an_client_generate(client, &r, out, err);
}

static anemo_status warm_up(an_comparison *c, const an_cell *cell, an_client *client, anemo_error *err)
{
    const an_comparison_options *o = c->options;
    int steps = o->n_predict < WARM_STEPS ? o->n_predict : WARM_STEPS;
    for (int i = 0; i < o->n_warmup; i++) {
        an_generation g = {0};
        an_bench_progress(o, "%s: warming up", cell->label);
        anemo_status status = generate(c, cell, client, steps, &g, err);
        an_generation_free(&g);
        if (status != ANEMO_OK) return status;
    }
    return ANEMO_OK;
}

/* One timed repetition; the worker is running. */
static anemo_status measure(an_comparison *c, an_cell *cell, an_client *client, an_rep *rep, anemo_error *err)
{
    an_generation g = {0};
    an_rep_init(rep);
    rep->order = c->n_order++;
    rep->start_s = (double)(an_clock_ns() - c->begin_ns) * 1e-9;
    rep->values[AN_FIELD_ID_n_prompt] = (double)c->prompt_ids.n;
    rep->values[AN_FIELD_ID_n_depth] = 0;
    /* An http worker is only our client: its memory and CPU time say nothing of the server. */
    an_meter_begin(c->meter, cell->model >= 0 ? an_client_pid(client) : 0);
    anemo_status status = generate(c, cell, client, c->options->n_predict, &g, err);
    if (status != ANEMO_OK) return status;
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
    if (rep->n_token == 0) {
        an_rep_free(rep);
        return an_fail(err, ANEMO_ERR_ENGINE, "the engine generated no token");
    }
    an_meter_end(c->meter, rep);
    an_meter_efficiency(rep, cell->model < 0 ? NULL : &c->run.models[cell->model], cell, &c->run.environment);
    return ANEMO_OK;
}

static void shuffle(size_t *order, size_t n, an_rng *rng)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)an_rng_below(rng, i), tmp = order[i - 1];
        order[i - 1] = order[j];
        order[j] = tmp;
    }
}

/* Do the workers of all cells fit in 80 % of what memory is available? */
static bool all_fit(const an_comparison *c)
{
    uint64_t need = 0;
    for (size_t i = 0; i < c->run.n_cell; i++) {
        int model = c->run.cells[i].model;
        if (model >= 0) need += 2 * c->run.models[model].bytes + WORKER_OVERHEAD_BYTES;
    }
    uint64_t have = c->run.environment.mem_available_bytes;
    return have > 0 && need <= have / 10 * 8;
}

/* Load and warm a cell; NULL when it failed (the cell says why). The worker is left running. */
static an_client *ready_cell(an_comparison *c, size_t index)
{
    anemo_error err = {0};
    an_cell *cell = &c->run.cells[index];
    an_client *client = start_cell(c, index);
    if (client && warm_up(c, cell, client, &err) != ANEMO_OK) {
        fail_cell(cell, client, &err);
        an_client_close(client);
        client = NULL;
    }
    return client;
}

/* Run block `block` of one cell with a ready worker; false when the worker failed. */
static bool run_rep(an_comparison *c, size_t index, an_client *client, int block)
{
    anemo_error err = {0};
    an_rep rep;
    an_cell *cell = &c->run.cells[index];
    an_bench_progress(c->options, "%s: repetition %d of %d", cell->label, block + 1, c->options->n_rep);
    if (measure(c, cell, client, &rep, &err) != ANEMO_OK) {
        fail_cell(cell, client, &err);
        return false;
    }
    rep.block = block;
    if (an_cell_add_rep(cell, &rep, &err) != ANEMO_OK) {
        an_rep_free(&rep);
        fail_cell(cell, NULL, &err);
        return false;
    }
    if (c->options->changed) c->options->changed(c->options->changed_ctx, &c->run, index);
    return true;
}

static bool stopped(const an_comparison *c)
{
    return c->options->stop && *c->options->stop;
}

static void run_blocks(an_comparison *c, an_client **clients, size_t *order)
{
    an_rng rng;
    an_rng_seed(&rng, c->options->seed);
    for (int block = 0; block < c->options->n_rep; block++) {
        shuffle(order, c->run.n_cell, &rng);
        for (size_t i = 0; i < c->run.n_cell && !stopped(c); i++) {
            const an_cell *cell = &c->run.cells[order[i]];
            an_client **client = &clients[order[i]];
            if (cell->status != AN_CELL_OK) continue;
            if (c->run.kept_loaded)
                an_client_continue(*client);
            else
                *client = ready_cell(c, order[i]);
            bool alive = *client && run_rep(c, order[i], *client, block);
            if (alive && c->run.kept_loaded)
                an_client_pause(*client);
            else {
                an_client_close(*client);
                *client = NULL;
            }
        }
        if (!stopped(c)) c->run.n_block = block + 1;
    }
}

/* Which cell may read logits for `g`: one of the pair's own model, native first. -1 when none can. */
static int examiner(const an_comparison *c, const an_agreement *g)
{
    int best = -1;
    for (size_t i = 0; i < c->run.n_cell; i++) {
        const an_cell *cell = &c->run.cells[i];
        if (cell->status != AN_CELL_OK || !cell->can_logits) continue;
        if (cell->model != c->run.cells[g->a].model && cell->model != c->run.cells[g->b].model) continue;
        if (strcmp(cell->engine, "native") == 0) return (int)i;
        if (best < 0) best = (int)i;
    }
    return best;
}

static void examine_differences(an_comparison *c, an_client **clients)
{
    for (size_t i = 0; i < c->run.n_agreement && !stopped(c); i++) {
        an_agreement *g = &c->run.agreements[i];
        int by = g->n_same < g->n ? examiner(c, g) : -1;
        if (by < 0) continue;
        an_bench_progress(c->options, "looking at where %s and %s part", c->run.cells[g->a].label,
                          c->run.cells[g->b].label);
        if (!clients[by]) clients[by] = start_cell(c, (size_t)by);
        if (!clients[by]) {
            /* Its measurements stand; only the second look failed. */
            c->run.cells[by].status = AN_CELL_OK;
            c->run.cells[by].can_logits = false;
            continue;
        }
        an_client_continue(clients[by]);
        an_bench_examine(c, g, clients[by], by);
        if (c->run.kept_loaded)
            an_client_pause(clients[by]);
        else {
            an_client_close(clients[by]);
            clients[by] = NULL;
        }
    }
}

/* What every cell lacks on this machine, and who it is. */
static anemo_status finish_cells(an_comparison *c, anemo_error *err)
{
    for (size_t i = 0; i < c->run.n_cell; i++) {
        an_cell *cell = &c->run.cells[i];
        json_decref(cell->missing);
        cell->missing = an_meter_missing(c->meter);
        anemo_status status = an_cell_make_key(&c->run, cell, err);
        if (status != ANEMO_OK) return status;
    }
    return ANEMO_OK;
}

anemo_status an_comparison_run(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = c->run.n_cell;
    an_client **clients = an_calloc(n, sizeof *clients);
    size_t *order = an_calloc(n, sizeof *order);
    if (!clients || !order) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    const an_meter_options meter = {.n_thread = c->settings.threads, .n_cpu = c->run.environment.cpus_online};
    AN_TRY(an_meter_open(&c->meter, &meter, err));
    c->begin_ns = an_clock_ns();
    for (size_t i = 0; i < n; i++) order[i] = i;
    c->run.kept_loaded = all_fit(c);
    for (size_t i = 0; i < n && c->run.kept_loaded && !stopped(c); i++) {
        clients[i] = ready_cell(c, i);
        if (clients[i]) an_client_pause(clients[i]);
    }
    run_blocks(c, clients, order);
    c->run.interrupted = stopped(c);
    AN_TRY(an_bench_check_texts(c, err));
    examine_differences(c, clients);
    AN_TRY(finish_cells(c, err));
cleanup:
    for (size_t i = 0; clients && i < n; i++) an_client_close(clients[i]);
    an_free(clients);
    an_free(order);
    return status;
}
