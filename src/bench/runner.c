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
#include <math.h>
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

const char *an_page_cache_state(const an_model_ref *m)
{
    uint64_t resident = 0, total = 0;
    bool known = true;
    if (m->container == AN_CONTAINER_GGUF)
        known = count_pages(m->path, &resident, &total);
    else {
        char **names;
        size_t n;
        if (an_dir_list(m->path, &names, &n, NULL) != ANEMO_OK) return "unknown";
        for (size_t i = 0; i < n; i++) {
            if (!an_str_ends_with(names[i], ".safetensors")) continue;
            char *file = an_path_join(m->path, names[i]);
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
                           cell->engine->name, n, ours.n, same);
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

/* Start the cell's worker and load the model. Returns the client, or NULL after marking the cell. */
static an_client *start_cell(an_comparison *c, an_cell *cell)
{
    const an_comparison_options *o = c->options;
    anemo_error err = {0};
    char **argv = NULL;
    an_client *client = NULL;
    an_load_result loaded = {0};
    an_settings settings = c->settings;
    const char *path = cell->model < 0 ? "" : c->models[cell->model].path;

    anemo_status status = an_engine_command(cell->engine, o->url, &argv, &err);
    if (status != ANEMO_OK) {
        fail_cell(cell, NULL, &err);
        if (status == ANEMO_ERR_NOTFOUND) cell->status = AN_CELL_MISSING;
        return NULL;
    }
    settings.stock = cell->stock;
    json_decref(cell->settings);
    cell->settings = an_settings_json(&settings);
    an_bench_progress(o, "%s: loading", cell->label);
    const char *cache = cell->model < 0 ? "unknown" : an_page_cache_state(&c->models[cell->model]);
    const an_client_options options = {.timeout_ns = o->timeout_ns};
    status = an_client_open(&client, (const char *const *)argv, &options, &err);
    an_argv_free(argv);
    if (status != ANEMO_OK) {
        fail_cell(cell, NULL, &err);
        return NULL;
    }
    note_hello(cell, an_client_hello(client));
    if (an_client_load(client, path, &settings, &loaded, &err) != ANEMO_OK) {
        fail_cell(cell, client, &err);
        an_client_close(client);
        return NULL;
    }
    if (cell->n_load < (size_t)o->n_rep + 1)
        cell->loads[cell->n_load++] = (an_load){.load_s = loaded.load_s, .page_cache = cache};
    snprintf(cell->format, sizeof cell->format, "%s", loaded.format);
    snprintf(cell->quantization, sizeof cell->quantization, "%s", loaded.quantization);
    json_decref(cell->effective);
    cell->effective = json_incref(loaded.effective);
    copy_text(cell->compute_dtype, sizeof cell->compute_dtype, cell->effective, "compute_dtype");
    copy_text(cell->device, sizeof cell->device, cell->effective, "device");
    an_load_result_free(&loaded);
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
    an_process_stat before = {0}, after = {0};
    int64_t pid = an_client_pid(client);
    /* An http worker is only our client: its memory and CPU time say nothing of the server. */
    bool own = cell->model >= 0 && an_process_stat_read(pid, &before, NULL) == ANEMO_OK;
    bool reset = own && an_process_reset_peak(pid);
    an_rep_init(rep);
    anemo_status status = generate(c, cell, client, c->options->n_predict, &g, err);
    if (status != ANEMO_OK) return status;
    own = own && an_process_stat_read(pid, &after, NULL) == ANEMO_OK;
    rep->values[AN_FIELD_ID_n_prompt] = (double)c->prompt_ids.n;
    if (own) {
        rep->values[AN_FIELD_ID_cpu_s] = (double)(after.cpu_ns - before.cpu_ns) * 1e-9;
        if (reset) rep->values[AN_FIELD_ID_rss_peak_bytes] = (double)after.rss_peak_bytes;
        rep->values[AN_FIELD_ID_rss_anon_bytes] = (double)after.rss_anon_bytes;
        rep->values[AN_FIELD_ID_rss_file_bytes] = (double)after.rss_file_bytes;
    }
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
    an_rep_derive(rep, c->environment.cpus_online);
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
    for (size_t i = 0; i < c->n_cell; i++)
        if (c->cells[i].model >= 0) need += 2 * c->models[c->cells[i].model].bytes + WORKER_OVERHEAD_BYTES;
    uint64_t have = c->environment.mem_available_bytes;
    return have > 0 && need <= have / 10 * 8;
}

/* Load and warm a cell; NULL when it failed (the cell says why). The worker is left running. */
static an_client *ready_cell(an_comparison *c, an_cell *cell)
{
    anemo_error err = {0};
    an_client *client = start_cell(c, cell);
    if (client && warm_up(c, cell, client, &err) != ANEMO_OK) {
        fail_cell(cell, client, &err);
        an_client_close(client);
        client = NULL;
    }
    return client;
}

/* Run block `block` of one cell with a ready worker; false when the worker failed. */
static bool run_rep(an_comparison *c, an_cell *cell, an_client *client, int block)
{
    anemo_error err = {0};
    an_bench_progress(c->options, "%s: repetition %d of %d", cell->label, block + 1, c->options->n_rep);
    if (measure(c, cell, client, &cell->reps[cell->n_rep], &err) != ANEMO_OK) {
        fail_cell(cell, client, &err);
        return false;
    }
    cell->n_rep++;
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
        shuffle(order, c->n_cell, &rng);
        for (size_t i = 0; i < c->n_cell && !stopped(c); i++) {
            an_cell *cell = &c->cells[order[i]];
            an_client **client = &clients[order[i]];
            if (cell->status != AN_CELL_OK) continue;
            if (c->kept_loaded)
                an_client_continue(*client);
            else
                *client = ready_cell(c, cell);
            bool alive = *client && run_rep(c, cell, *client, block);
            if (alive && c->kept_loaded)
                an_client_pause(*client);
            else {
                an_client_close(*client);
                *client = NULL;
            }
        }
    }
}

/* Which cell may read logits for `g`: one of the pair's own model, native first. -1 when none can. */
static int examiner(const an_comparison *c, const an_agreement *g)
{
    int best = -1;
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (cell->status != AN_CELL_OK || !cell->can_logits) continue;
        if (cell->model != c->cells[g->a].model && cell->model != c->cells[g->b].model) continue;
        if (strcmp(cell->engine->name, "native") == 0) return (int)i;
        if (best < 0) best = (int)i;
    }
    return best;
}

static void examine_differences(an_comparison *c, an_client **clients)
{
    for (size_t i = 0; i < c->n_agreement && !stopped(c); i++) {
        an_agreement *g = &c->agreements[i];
        int by = g->n_same < g->n ? examiner(c, g) : -1;
        if (by < 0) continue;
        an_bench_progress(c->options, "looking at where %s and %s part", c->cells[g->a].label,
                          c->cells[g->b].label);
        if (!clients[by]) clients[by] = start_cell(c, &c->cells[by]);
        if (!clients[by]) {
            /* Its measurements stand; only the second look failed. */
            c->cells[by].status = AN_CELL_OK;
            c->cells[by].can_logits = false;
            continue;
        }
        an_client_continue(clients[by]);
        an_bench_examine(c, g, clients[by], by);
        if (c->kept_loaded)
            an_client_pause(clients[by]);
        else {
            an_client_close(clients[by]);
            clients[by] = NULL;
        }
    }
}

anemo_status an_comparison_run(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_client **clients = an_calloc(c->n_cell, sizeof *clients);
    size_t *order = an_calloc(c->n_cell, sizeof *order);
    if (!clients || !order) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < c->n_cell; i++) order[i] = i;
    c->kept_loaded = all_fit(c);
    for (size_t i = 0; i < c->n_cell && c->kept_loaded && !stopped(c); i++) {
        clients[i] = ready_cell(c, &c->cells[i]);
        if (clients[i]) an_client_pause(clients[i]);
    }
    run_blocks(c, clients, order);
    c->interrupted = stopped(c);
    AN_TRY(an_bench_check_texts(c, err));
    examine_differences(c, clients);
cleanup:
    for (size_t i = 0; clients && i < c->n_cell; i++) an_client_close(clients[i]);
    an_free(clients);
    an_free(order);
    return status;
}

an_summary an_cell_summary(const an_cell *cell, an_field_id field)
{
    double values[64];
    size_t n = cell->n_rep < 64 ? cell->n_rep : 64;
    for (size_t i = 0; i < n; i++) values[i] = cell->reps[i].values[field];
    return an_summarize(values, n, NULL);
}

an_paired an_cell_paired(const an_cell *a, const an_cell *b, an_field_id field, double noise)
{
    double x[64], y[64];
    size_t n = a->n_rep < b->n_rep ? a->n_rep : b->n_rep;
    if (n > 64) n = 64;
    for (size_t i = 0; i < n; i++) {
        x[i] = a->reps[i].values[field];
        y[i] = b->reps[i].values[field];
    }
    return an_compare_paired(x, y, n, noise);
}
