/*
 * The worker's loop: reads requests, checks them, calls the engine, writes answers. Within a timed
 * repetition it does nothing but take time stamps, look whether a cancel has come, and at most once
 * a second say that it lives.
 */
#include "drivers/worker.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/str.h"
#include "drivers/lines.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STDIN_FD = 0, PEEK_LINE_MAX = 4096 };

typedef struct worker {
    const an_worker_engine *engine;
    int fd; /* the protocol's stdout */
    an_lines lines;
    bool input_ended;
    size_t peeked; /* bytes of `lines` that were searched for a cancel */
    bool loaded;
    an_worker_loaded model;
    int depth; /* positions that a step measurement left at the sequence's begin for the next one */
    uint64_t last_line_ns;
    bool broken; /* nobody reads our answers */
} worker;

/* Fill the line buffer with what stdin has; waits for the first byte. */
static anemo_status read_input(worker *w, anemo_error *err)
{
    char chunk[65536];
    while (!an_fd_readable(STDIN_FD, 3600000000000u))
        continue;
    long got = an_fd_read(STDIN_FD, chunk, sizeof chunk);
    if (got < 0) w->input_ended = true;
    if (got <= 0) return ANEMO_OK;
    return an_lines_put(&w->lines, chunk, (size_t)got, err);
}

/* Steals `message`. */
static void send(worker *w, json_t *message)
{
    anemo_error err;
    if (!message || an_message_write(w->fd, message, &err) != ANEMO_OK) w->broken = true;
    json_decref(message);
    w->last_line_ns = an_clock_ns();
}

static void send_error(worker *w, json_int_t id, const anemo_error *err)
{
    const char *name = anemo_status_name(err->status);
    if (an_str_starts_with(name, "err_")) name += 4;
    if (err->status == ANEMO_ERR_BUSY || err->status == ANEMO_ERR_INTERRUPTED) name = "internal";
    json_t *message = json_pack("{s:s,s:o,s:s,s:o}", "type", "error", "id",
                                id < 0 ? json_null() : json_integer(id), "status", name, "message",
                                an_json_text(err->message, strlen(err->message)));
    send(w, message);
}

/* A fault of a request is the asker's, whatever the JSON layer calls it. */
static anemo_status as_inval(anemo_status status, anemo_error *err)
{
    if (status == ANEMO_ERR_FORMAT) return err->status = ANEMO_ERR_INVAL;
    return status;
}

static json_t *strings_json(const char *const *list)
{
    json_t *array = json_array();
    for (size_t i = 0; array && list && list[i]; i++)
        if (json_array_append_new(array, json_string(list[i])) != 0) break;
    return array;
}

static void send_hello(worker *w)
{
    const an_worker_engine *e = w->engine;
    json_t *devices = e->devices ? json_incref(e->devices) : NULL;
    if (!devices) {
        char cpu[128];
        an_cpu_model(cpu, sizeof cpu);
        devices = json_pack("[{s:s,s:s,s:o}]", "name", "cpu", "kind", "cpu", "description",
                            an_json_text(cpu, strlen(cpu)));
    }
    json_t *capabilities =
        json_pack("{s:b,s:b,s:b,s:b,s:b,s:b,s:b,s:b,s:b,s:o,s:b,s:b}", "logits", e->logits != NULL,
                  "tokenize", e->tokenize != NULL, "stream", 1, "cancel", 1, "ids", 1,
                  "fixed_length", 1, "step", e->forward && e->rewind, "sampling", e->sampling,
                  "threads", e->threads, "kv_types", strings_json(e->kv_types), "flash_attn",
                  e->flash_attn, "draft", e->drafts != NULL);
    send(w, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s?,s:o,s:{s:s,s:I},s:o,s:o,s:O*}", "type", "hello",
                      "protocol", "anemo.driver/1", "driver", e->driver, "driver_version",
                      e->driver_version, "engine", e->engine, "engine_version", e->engine_version,
                      "library", e->library, "formats", strings_json(e->formats), "clock", "kind",
                      "monotonic", "resolution_ns", (json_int_t)an_clock_resolution_ns(),
                      "capabilities", capabilities, "devices", devices, "build", e->build));
}

static anemo_status one_of(const char *value, const char *const *list, const char *key,
                           anemo_error *err)
{
    an_str s = {0};
    for (size_t i = 0; list[i]; i++)
        if (!strcmp(value, list[i])) return ANEMO_OK;
    for (size_t i = 0; list[i]; i++) an_str_appendf(&s, "%s%s", i ? ", " : "", list[i]);
    an_fail(err, ANEMO_ERR_INVAL, "load: \"%s\" is \"%.40s\", expected one of: %s", key, value,
            an_str_text(&s));
    an_str_free(&s);
    return ANEMO_ERR_INVAL;
}

static anemo_status get_name(const json_t *o, const char *key, const char *def, char *out,
                             size_t cap, const char *const *list, anemo_error *err)
{
    const char *s;
    anemo_status status = an_json_get_str(o, key, def, &s, "load", err);
    if (status != ANEMO_OK) return status;
    if (list) {
        status = one_of(s, list, key, err);
        if (status != ANEMO_OK) return status;
    }
    if (strlen(s) >= cap)
        return an_fail(err, ANEMO_ERR_INVAL, "load: \"%s\" is longer than %zu bytes", key, cap - 1);
    memcpy(out, s, strlen(s) + 1);
    return ANEMO_OK;
}

static anemo_status get_int(const json_t *o, const char *key, int def, int min, int max, int *out,
                            anemo_error *err)
{
    int64_t v;
    anemo_status status = an_json_get_i64(o, key, def, min, max, &v, "load", err);
    if (status == ANEMO_OK) *out = (int)v;
    return status;
}

static anemo_status parse_settings(const an_worker_engine *e, const json_t *o,
                                   an_worker_settings *s, anemo_error *err)
{
    static const char *const tristate[] = {"auto", "on", "off", NULL};
    static const char *const devices[] = {"auto", "cpu", "gpu", NULL};
    static const char *const types[] = {"auto", "f32", "f16", "bf16", "q8", "q8+bf16", NULL};
    static const char *const layouts[] = {"auto", "mapped", "repacked", "cached", NULL};
    anemo_status status = ANEMO_OK;
    int n_cpu = an_cpu_usable();
    *s = (an_worker_settings){0};
    if (o && !json_is_object(o))
        return an_fail(err, ANEMO_ERR_INVAL, "load: \"settings\" must be an object");
    AN_TRY(get_int(o, "n_ctx", 0, 0, 1 << 28, &s->n_ctx, err));
    AN_TRY(get_int(o, "n_batch", 512, 1, 1 << 20, &s->n_batch, err));
    AN_TRY(get_int(o, "n_ubatch", 512, 1, 1 << 20, &s->n_ubatch, err));
    AN_TRY(get_int(o, "threads", n_cpu, 1, 1024, &s->threads, err));
    AN_TRY(get_int(o, "threads_batch", s->threads, 1, 1024, &s->threads_batch, err));
    AN_TRY(get_int(o, "n_gpu_layers", -1, -1, 1 << 20, &s->n_gpu_layers, err));
    AN_TRY(get_name(o, "kv_type", e->kv_types && e->kv_types[0] ? e->kv_types[0] : "f16",
                    s->kv_type, sizeof s->kv_type, e->kv_types, err));
    AN_TRY(get_name(o, "kv_type_v", s->kv_type, s->kv_type_v, sizeof s->kv_type_v, e->kv_types,
                    err));
    AN_TRY(get_name(o, "flash_attn", "auto", s->flash_attn, sizeof s->flash_attn, tristate, err));
    AN_TRY(get_name(o, "device", "auto", s->device, sizeof s->device, devices, err));
    AN_TRY(get_name(o, "compute_dtype", "auto", s->compute_dtype, sizeof s->compute_dtype, types,
                    err));
    AN_TRY(an_json_get_bool(o, "stock", false, &s->stock, "load", err));
    AN_TRY(get_name(o, "layout", "auto", s->layout, sizeof s->layout, layouts, err));
    AN_TRY(an_json_get_bool(o, "pin", false, &s->pin, "load", err));
    AN_TRY(get_name(o, "draft", "", s->draft, sizeof s->draft, NULL, err));
    AN_TRY(get_int(o, "draft_n", 0, 0, 1 << 20, &s->draft_n, err));
    if (*s->draft && !e->drafts)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "load: %s has no speculative decoding (\"draft\")", e->engine);
cleanup:
    return as_inval(status, err);
}

/* A name that the engine could not tell is null. */
static json_t *name_or_null(const char *name, bool known)
{
    return known && *name ? json_string(name) : json_null();
}

static json_t *effective_json(const an_worker_loaded *m)
{
    const an_worker_settings *s = &m->effective;
    bool t = m->threads_known;
    json_t *effective = json_pack(
        "{s:i,s:i,s:i,s:o,s:o,s:o,s:o,s:o,s:o,s:i,s:o,s:b,s:o*,s:o*}", "n_ctx", s->n_ctx, "n_batch", s->n_batch,
        "n_ubatch", s->n_ubatch, "threads", t ? json_integer(s->threads) : json_null(),
        "threads_batch", t ? json_integer(s->threads_batch) : json_null(), "kv_type",
        name_or_null(s->kv_type, m->kv_type_known), "kv_type_v",
        name_or_null(s->kv_type_v, m->kv_type_known), "flash_attn",
        name_or_null(s->flash_attn, true), "device", name_or_null(s->device, true), "n_gpu_layers",
        s->n_gpu_layers, "compute_dtype", name_or_null(s->compute_dtype, true), "stock", s->stock, "layout",
        *s->layout ? json_string(s->layout) : NULL, "pin", *s->layout ? json_boolean(s->pin) : NULL);
    if (*s->draft) {
        json_object_set_new(effective, "draft", an_json_text(s->draft, strlen(s->draft)));
        json_object_set_new(effective, "draft_n", json_integer(s->draft_n));
    }
    return effective;
}

static anemo_status do_load(worker *w, json_int_t id, const json_t *request, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    an_worker_settings settings;
    an_worker_loaded loaded = {0};
    const char *model;
    anemo_status status = an_json_get_str(request, "model", NULL, &model, "load", err);
    if (status != ANEMO_OK) return as_inval(status, err);
    if (w->loaded)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "load: this worker holds a model already; start another one");
    if (!model || !*model) return an_fail(err, ANEMO_ERR_INVAL, "load: \"model\" is missing");
    status = parse_settings(e, json_object_get(request, "settings"), &settings, err);
    if (status != ANEMO_OK) return status;
    status = an_json_get_str(request, "layout_dir", NULL, &settings.layout_dir, "load", err);
    if (status != ANEMO_OK) return as_inval(status, err);
    uint64_t begin = an_clock_ns();
    status = e->load(e->ctx, model, &settings, &loaded, err);
    loaded.effective.layout_dir = NULL;
    if (status != ANEMO_OK) {
        json_decref(loaded.notes);
        return status;
    }
    double load_s = (double)(an_clock_ns() - begin) / 1e9;
    w->model = loaded;
    w->loaded = true;
    json_t *about =
        json_pack("{s:s,s:s,s:i,s:i}", "format", loaded.format, "quantization", loaded.quantization,
                  "n_vocab", loaded.n_vocab, "n_ctx_train", loaded.n_ctx_train);
    if (*loaded.description)
        json_object_set_new(about, "description", json_string(loaded.description));
    if (loaded.bytes)
        json_object_set_new(about, "bytes", json_integer((json_int_t)loaded.bytes));
    if (loaded.n_param)
        json_object_set_new(about, "n_param", json_integer((json_int_t)loaded.n_param));
    w->model.notes = NULL;
    send(w, json_pack("{s:s,s:I,s:o,s:o,s:o,s:o*}", "type", "loaded", "id", id, "load_s",
                      an_json_real(load_s), "effective", effective_json(&loaded), "model", about, "notes", loaded.notes));
    return ANEMO_OK;
}

/* An array of token ids below n_vocab. Gives *ids (an_free); *n may be 0. */
static anemo_status get_ids(const worker *w, const json_t *request, const char *what,
                            const char *key, int32_t **ids, size_t *n, anemo_error *err)
{
    const json_t *array = json_object_get(request, key);
    if (array && !json_is_array(array) && !json_is_null(array))
        return an_fail(err, ANEMO_ERR_INVAL, "%s: \"%s\" must be an array of token ids", what, key);
    size_t count = json_array_size(array);
    int32_t *list = an_malloc(count * sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory for %zu ids", what, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *v = json_array_get(array, i);
        json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= w->model.n_vocab) {
            an_free(list);
            return an_fail(err, ANEMO_ERR_INVAL, "%s: \"%s\"[%zu] is not a token id from 0 to %d",
                           what, key, i, w->model.n_vocab - 1);
        }
        list[i] = (int32_t)id;
    }
    *ids = list;
    *n = count;
    return ANEMO_OK;
}

typedef struct generation {
    int32_t *prompt, *stop, *ids;
    uint64_t *t_ns;
    uint64_t t_start_ns;
    size_t n_prompt, n_stop, n;
    int64_t n_predict;
    bool fixed_length, stream, cancelled;
    an_worker_sampling sampling;
    const char *stop_reason;
} generation;

static anemo_status parse_sampling(const an_worker_engine *e, const json_t *request,
                                   an_worker_sampling *s, anemo_error *err)
{
    const char *at = "generate: sampling";
    const json_t *o = json_object_get(request, "sampling");
    anemo_status status = ANEMO_OK;
    int64_t top_k, seed;
    if (o && !json_is_object(o) && !json_is_null(o))
        return an_fail(err, ANEMO_ERR_INVAL, "generate: \"sampling\" must be an object");
    AN_TRY(an_json_get_f64(o, "temperature", 0, &s->temperature, at, err));
    AN_TRY(an_json_get_i64(o, "top_k", 0, 0, INT32_MAX, &top_k, at, err));
    AN_TRY(an_json_get_f64(o, "top_p", 1, &s->top_p, at, err));
    AN_TRY(an_json_get_f64(o, "min_p", 0, &s->min_p, at, err));
    AN_TRY(an_json_get_f64(o, "repeat_penalty", 1, &s->repeat_penalty, at, err));
    AN_TRY(an_json_get_i64(o, "seed", 0, 0, INT64_MAX, &seed, at, err));
    s->top_k = (int)top_k;
    s->seed = (uint64_t)seed;
    if (!(s->temperature >= 0 && s->temperature <= 1e6) || !(s->top_p > 0 && s->top_p <= 1) ||
        !(s->min_p >= 0 && s->min_p <= 1) || !(s->repeat_penalty > 0 && s->repeat_penalty <= 1e6))
        return an_fail(err, ANEMO_ERR_INVAL,
                       "%s: out of range; temperature >= 0, 0 < top_p <= 1, 0 <= min_p <= 1, "
                       "repeat_penalty > 0",
                       at);
    if (!e->sampling && (s->temperature > 0 || s->repeat_penalty != 1))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s samples greedily only", e->engine);
cleanup:
    return as_inval(status, err);
}

static anemo_status parse_generate(worker *w, const json_t *request, generation *g,
                                   anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_ctx = w->model.effective.n_ctx;
    AN_TRY(an_json_get_i64(request, "n_predict", 0, 1, 1 << 28, &g->n_predict, "generate", err));
    AN_TRY(an_json_get_bool(request, "fixed_length", true, &g->fixed_length, "generate", err));
    AN_TRY(an_json_get_bool(request, "stream", false, &g->stream, "generate", err));
    AN_TRY(parse_sampling(w->engine, request, &g->sampling, err));
    AN_TRY(get_ids(w, request, "generate", "prompt_ids", &g->prompt, &g->n_prompt, err));
    AN_TRY(get_ids(w, request, "generate", "stop_ids", &g->stop, &g->n_stop, err));
    if (g->n_predict < 1)
        return an_fail(err, ANEMO_ERR_INVAL, "generate: \"n_predict\" is missing; at least 1");
    if (g->n_prompt == 0) return an_fail(err, ANEMO_ERR_INVAL, "generate: \"prompt_ids\" is empty");
    if (n_ctx > 0 && g->n_prompt + (uint64_t)g->n_predict > (uint64_t)n_ctx)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "generate: %zu prompt ids and %" PRId64 " more need %" PRIu64
                       " positions, the context has %d: load with a larger \"n_ctx\"",
                       g->n_prompt, g->n_predict, g->n_prompt + (uint64_t)g->n_predict, n_ctx);
    g->ids = an_malloc((size_t)g->n_predict * sizeof *g->ids);
    g->t_ns = an_malloc((size_t)g->n_predict * sizeof *g->t_ns);
    if (!g->ids || !g->t_ns) return an_fail(err, ANEMO_ERR_NOMEM, "generate: out of memory");
    /* Touched now, so that no page fault falls into the repetition. */
    memset(g->ids, 0, (size_t)g->n_predict * sizeof *g->ids);
    memset(g->t_ns, 0, (size_t)g->n_predict * sizeof *g->t_ns);
cleanup:
    return as_inval(status, err);
}

/*
 * Has a cancel for `id`, a quit, or the end of the input come? Lines stay where they are: a cancel
 * that is read later names a finished request and is ignored.
 */
static bool cancel_came(worker *w, json_int_t id)
{
    anemo_error err;
    const char *line;
    size_t n;
    if (w->input_ended || !an_fd_readable(STDIN_FD, 0)) return false;
    if (read_input(w, &err) != ANEMO_OK) return true;
    while (an_lines_peek(&w->lines, &w->peeked, &line, &n)) {
        if (n > PEEK_LINE_MAX) continue;
        json_t *m = json_loadb(line, n, 0, NULL);
        const char *type = json_string_value(json_object_get(m, "type"));
        bool stop =
            type && (!strcmp(type, "quit") || (!strcmp(type, "cancel") &&
                                               json_integer_value(json_object_get(m, "id")) == id));
        json_decref(m);
        if (stop) return true;
    }
    return false;
}

static void send_token(worker *w, json_int_t id, int32_t token, uint64_t t_ns)
{
    char line[128];
    anemo_error err;
    int n = snprintf(line, sizeof line,
                     "{\"type\":\"token\",\"id\":%lld,\"token\":%d,\"t_ns\":%" PRIu64 "}\n",
                     (long long)id, (int)token, t_ns);
    if (an_fd_write(w->fd, line, (size_t)n, &err) != ANEMO_OK) w->broken = true;
    w->last_line_ns = t_ns;
}

static bool is_stop(const generation *g, int32_t token)
{
    for (size_t i = 0; i < g->n_stop; i++)
        if (g->stop[i] == token) return true;
    return false;
}

static anemo_status run_generate(worker *w, json_int_t id, generation *g, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    anemo_status status = ANEMO_OK;
    int32_t token;
    w->peeked = 0;
    w->depth = 0;
    g->stop_reason = "length";
    g->t_start_ns = an_clock_ns();
    AN_TRY(e->prefill(e->ctx, g->prompt, g->n_prompt, &g->sampling, &token, err));
    for (;;) {
        uint64_t now = an_clock_ns();
        g->ids[g->n] = token;
        g->t_ns[g->n++] = now;
        if (g->stream) send_token(w, id, token, now);
        if (!g->fixed_length && is_stop(g, token)) {
            g->stop_reason = "eos";
            break;
        }
        if (g->n == (size_t)g->n_predict) break;
        if (cancel_came(w, id) || w->broken) {
            g->stop_reason = "cancelled";
            break;
        }
        if (now - w->last_line_ns > 1000000000u)
            send(w, json_pack("{s:s,s:I}", "type", "heartbeat", "id", id));
        AN_TRY(e->step(e->ctx, token, &token, err));
    }
cleanup:
    return status;
}

static anemo_status do_generate(worker *w, json_int_t id, const json_t *request, anemo_error *err)
{
    generation g = {0};
    an_str s = {0};
    anemo_status status = ANEMO_OK;
    AN_TRY(parse_generate(w, request, &g, err));
    AN_TRY(run_generate(w, id, &g, err));
    an_str_appendf(&s, "{\"type\":\"generated\",\"id\":%lld,\"token_ids\":[", (long long)id);
    for (size_t i = 0; i < g.n; i++)
        an_str_appendf(&s, "%s%d", i ? "," : "", (int)g.ids[i]);
    an_str_appendf(&s, "],\"t_start_ns\":%" PRIu64 ",\"t_tokens_ns\":[", g.t_start_ns);
    for (size_t i = 0; i < g.n; i++)
        an_str_appendf(&s, "%s%" PRIu64, i ? "," : "", g.t_ns[i]);
    an_str_appendf(&s, "],\"stop_reason\":\"%s\"", g.stop_reason);
    if (*w->model.effective.draft) {
        an_worker_drafts d = {0};
        w->engine->drafts(w->engine->ctx, &d);
        an_str_appendf(&s, ",\"drafts\":{\"n_pass\":%" PRIu64 ",\"n_drafted\":%" PRIu64 ",\"n_accepted\":%" PRIu64 "}",
                       d.n_pass, d.n_drafted, d.n_accepted);
    }
    an_str_append(&s, "}\n");
    AN_TRY(an_str_check(&s, err));
    if (an_fd_write(w->fd, s.data, s.len, err) != ANEMO_OK) w->broken = true;
    w->last_line_ns = an_clock_ns();
cleanup:
    an_str_free(&s);
    an_free(g.prompt);
    an_free(g.stop);
    an_free(g.ids);
    an_free(g.t_ns);
    return status;
}

typedef struct steps {
    int64_t n_prompt, n_gen, n_depth, seed;
    int32_t *ids;   /* [n_prompt + n_gen], or [a batch] of the depth */
    uint64_t *t_ns; /* [n_gen] ends of the single steps */
    uint64_t t_start_ns, t_prompt_ns, t_end_ns;
    size_t n_step;
    bool cancelled;
} steps;

static anemo_status parse_step(worker *w, const json_t *request, steps *t, anemo_error *err)
{
    const int64_t most = 1 << 28;
    anemo_status status = ANEMO_OK;
    int n_ctx = w->model.effective.n_ctx;
    AN_TRY(an_json_get_i64(request, "n_prompt", 0, 0, most, &t->n_prompt, "step", err));
    AN_TRY(an_json_get_i64(request, "n_gen", 0, 0, most, &t->n_gen, "step", err));
    AN_TRY(an_json_get_i64(request, "n_depth", 0, 0, most, &t->n_depth, "step", err));
    AN_TRY(an_json_get_i64(request, "seed", 0, 0, INT64_MAX, &t->seed, "step", err));
    if (t->n_prompt + t->n_gen < 1)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "step: \"n_prompt\" and \"n_gen\" are both 0; there is nothing to time");
    if (n_ctx > 0 && t->n_depth + t->n_prompt + t->n_gen > n_ctx)
        return an_fail(err, ANEMO_ERR_INVAL,
                       "step: depth, prompt and steps need %" PRId64
                       " positions, the context has %d: load with a larger \"n_ctx\"",
                       t->n_depth + t->n_prompt + t->n_gen, n_ctx);
    if (w->model.n_vocab < 1)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "step: the model has no vocabulary");
cleanup:
    return as_inval(status, err);
}

/* A beat when the last line is a second old; true when the request shall end. */
static bool between_passes(worker *w, json_int_t id)
{
    if (an_clock_ns() - w->last_line_ns > 1000000000u)
        send(w, json_pack("{s:s,s:I}", "type", "heartbeat", "id", id));
    return cancel_came(w, id) || w->broken;
}

/* Random ids, the model's BOS first where a sequence begins with one. */
static void random_ids(const worker *w, an_rng *rng, int32_t *ids, size_t n, bool begin)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)an_rng_below(rng, (uint64_t)w->model.n_vocab);
    if (begin && n > 0 && w->model.bos_known) ids[0] = w->model.bos;
}

/* n ids in passes of the batch size. */
static anemo_status run_passes(worker *w, json_int_t id, const int32_t *ids, size_t n,
                               bool *cancelled, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    size_t batch = w->model.effective.n_batch > 0 ? (size_t)w->model.effective.n_batch : n;
    for (size_t at = 0; at < n;) {
        size_t m = n - at < batch ? n - at : batch;
        anemo_status status = e->forward(e->ctx, ids + at, m, at + m < n, err);
        if (status != ANEMO_OK) return status;
        at += m;
        if (at < n && between_passes(w, id)) {
            *cancelled = true;
            return ANEMO_OK;
        }
    }
    return ANEMO_OK;
}

/* Bring the sequence to n_depth positions: what an earlier request left is kept. */
static anemo_status fill_depth(worker *w, json_int_t id, const steps *t, an_rng *rng,
                               bool *cancelled, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    anemo_status status = ANEMO_OK;
    int have = w->depth, want = (int)t->n_depth;
    w->depth = 0;
    if (want > 0 && have >= want) {
        status = e->rewind(e->ctx, want, err);
        if (status == ANEMO_OK) w->depth = want;
        if (status != ANEMO_ERR_UNSUPPORTED) return status;
    }
    status = e->rewind(e->ctx, 0, err);
    if (status != ANEMO_OK || want == 0) return status;
    int32_t *ids = an_malloc((size_t)want * sizeof *ids);
    if (!ids) return an_fail(err, ANEMO_ERR_NOMEM, "step: out of memory for %d ids", want);
    random_ids(w, rng, ids, (size_t)want, true);
    status = run_passes(w, id, ids, (size_t)want, cancelled, err);
    an_free(ids);
    if (status == ANEMO_OK && !*cancelled) w->depth = want;
    return status;
}

static anemo_status run_step(worker *w, json_int_t id, steps *t, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    anemo_status status = ANEMO_OK;
    an_rng rng;
    size_t n = (size_t)(t->n_prompt + t->n_gen);
    w->peeked = 0;
    an_rng_seed(&rng, (uint64_t)t->seed);
    AN_TRY(fill_depth(w, id, t, &rng, &t->cancelled, err));
    random_ids(w, &rng, t->ids, n, t->n_depth == 0);
    t->t_start_ns = an_clock_ns();
    if (t->n_prompt > 0 && !t->cancelled)
        AN_TRY(run_passes(w, id, t->ids, (size_t)t->n_prompt, &t->cancelled, err));
    t->t_prompt_ns = t->t_end_ns = an_clock_ns();
    while (t->n_step < (size_t)t->n_gen && !t->cancelled) {
        AN_TRY(e->forward(e->ctx, t->ids + (size_t)t->n_prompt + t->n_step, 1, false, err));
        t->t_ns[t->n_step++] = t->t_end_ns = an_clock_ns();
        if (t->n_step < (size_t)t->n_gen) t->cancelled = between_passes(w, id);
    }
cleanup:
    if (status != ANEMO_OK) w->depth = 0;
    return status;
}

static anemo_status do_step(worker *w, json_int_t id, const json_t *request, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    steps t = {0};
    an_str s = {0};
    anemo_status status = ANEMO_OK;
    if (!e->forward || !e->rewind)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s has no step measurement", e->engine);
    AN_TRY(parse_step(w, request, &t, err));
    t.ids = an_malloc((size_t)(t.n_prompt + t.n_gen) * sizeof *t.ids);
    t.t_ns = an_malloc((size_t)t.n_gen * sizeof *t.t_ns);
    if (!t.ids || !t.t_ns) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "step: out of memory");
        goto cleanup;
    }
    /* Touched now, as in a generate. */
    memset(t.t_ns, 0, (size_t)t.n_gen * sizeof *t.t_ns);
    AN_TRY(run_step(w, id, &t, err));
    an_str_appendf(&s,
                   "{\"type\":\"stepped\",\"id\":%lld,\"t_start_ns\":%" PRIu64
                   ",\"t_prompt_ns\":%" PRIu64 ",\"t_steps_ns\":[",
                   (long long)id, t.t_start_ns, t.t_prompt_ns);
    for (size_t i = 0; i < t.n_step; i++)
        an_str_appendf(&s, "%s%" PRIu64, i ? "," : "", t.t_ns[i]);
    an_str_appendf(&s, "],\"t_end_ns\":%" PRIu64 ",\"stop_reason\":\"%s\"}\n", t.t_end_ns,
                   t.cancelled ? "cancelled" : "length");
    AN_TRY(an_str_check(&s, err));
    if (an_fd_write(w->fd, s.data, s.len, err) != ANEMO_OK) w->broken = true;
    w->last_line_ns = an_clock_ns();
cleanup:
    an_str_free(&s);
    an_free(t.ids);
    an_free(t.t_ns);
    return status;
}

static anemo_status do_tokenize(worker *w, json_int_t id, const json_t *request, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    const char *text;
    bool special;
    int32_t *ids = NULL;
    size_t n = 0;
    anemo_status status = ANEMO_OK;
    if (!e->tokenize)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s gives no tokenizer", e->engine);
    AN_TRY(an_json_get_str(request, "text", NULL, &text, "tokenize", err));
    AN_TRY(an_json_get_bool(request, "special", false, &special, "tokenize", err));
    if (!text) return an_fail(err, ANEMO_ERR_INVAL, "tokenize: \"text\" is missing");
    AN_TRY(e->tokenize(e->ctx, text, special, &ids, &n, err));
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        json_array_append_new(array, json_integer(ids[i]));
    send(w, json_pack("{s:s,s:I,s:o}", "type", "tokens", "id", id, "token_ids", array));
cleanup:
    an_free(ids);
    return as_inval(status, err);
}

static anemo_status do_logits(worker *w, json_int_t id, const json_t *request, anemo_error *err)
{
    const an_worker_engine *e = w->engine;
    const char *file;
    int64_t n_vocab;
    int32_t *ids = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    void *map = NULL;
    anemo_status status = ANEMO_OK;
    if (!e->logits) return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s gives no logits", e->engine);
    AN_TRY(get_ids(w, request, "logits", "ids", &ids, &n, err));
    AN_TRY(an_json_get_str(request, "file", NULL, &file, "logits", err));
    AN_TRY(an_json_get_i64(request, "n_vocab", w->model.n_vocab, 1, INT32_MAX, &n_vocab, "logits",
                           err));
    if (n == 0 || !file || n_vocab != w->model.n_vocab) {
        status = n == 0  ? an_fail(err, ANEMO_ERR_INVAL, "logits: \"ids\" is empty")
                 : !file ? an_fail(err, ANEMO_ERR_INVAL, "logits: \"file\" is missing")
                         : an_fail(err, ANEMO_ERR_INVAL,
                                   "logits: \"n_vocab\" is %" PRId64 ", the model has %d", n_vocab,
                                   w->model.n_vocab);
        goto cleanup;
    }
    int n_ctx = w->model.effective.n_ctx;
    if (n_ctx > 0 && n > (size_t)n_ctx) {
        status =
            an_fail(err, ANEMO_ERR_INVAL,
                    "logits: %zu ids, the context has %d positions: load with a larger \"n_ctx\"",
                    n, n_ctx);
        goto cleanup;
    }
    if (!an_mul_u64(n, (uint64_t)n_vocab * sizeof(float), &bytes)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "logits: too many ids");
        goto cleanup;
    }
    AN_TRY(an_shm_map(file, bytes, &map, err));
    w->depth = 0;
    AN_TRY(e->logits(e->ctx, ids, n, map, (int)n_vocab, err));
    send(w, json_pack("{s:s,s:I,s:I,s:I}", "type", "logits", "id", id, "n_tok", (json_int_t)n,
                      "n_vocab", (json_int_t)n_vocab));
cleanup:
    an_shm_unmap(map, bytes);
    an_free(ids);
    return as_inval(status, err);
}

typedef anemo_status (*request_fn)(worker *w, json_int_t id, const json_t *request,
                                   anemo_error *err);

static const struct {
    const char *type;
    request_fn run;
    bool needs_model;
} requests[] = {
    {"load", do_load, false},
    {"generate", do_generate, true},
    {"step", do_step, true},
    {"tokenize", do_tokenize, true},
    {"logits", do_logits, true},
};

/* False when the worker shall end. */
static bool serve_line(worker *w, const char *line, size_t n)
{
    anemo_error err = {0};
    json_t *m = NULL;
    json_int_t id = -1;
    if (an_json_parse(&m, line, n, "request", &err) != ANEMO_OK) goto fail;
    if (!json_is_object(m)) {
        an_fail(&err, ANEMO_ERR_INVAL, "request: not a JSON object");
        goto fail;
    }
    const json_t *given_id = json_object_get(m, "id");
    if (json_is_integer(given_id)) id = json_integer_value(given_id);
    const char *type = json_string_value(json_object_get(m, "type"));
    if (!type) {
        an_fail(&err, ANEMO_ERR_INVAL, "request: \"type\" is missing or not a string");
        goto fail;
    }
    if (!strcmp(type, "quit")) {
        json_decref(m);
        return false;
    }
    if (!strcmp(type, "cancel")) {
        json_decref(m);
        return true;
    }
    for (size_t i = 0; i < AN_COUNT_OF(requests); i++) {
        if (strcmp(type, requests[i].type) != 0) continue;
        if (id < 0)
            an_fail(&err, ANEMO_ERR_INVAL, "%s: \"id\" is missing or not a positive integer", type);
        else if (requests[i].needs_model && !w->loaded)
            an_fail(&err, ANEMO_ERR_INVAL, "%s: no model is loaded", type);
        else if (requests[i].run(w, id, m, &err) == ANEMO_OK) {
            json_decref(m);
            return !w->broken;
        }
        goto fail;
    }
    an_fail(&err, ANEMO_ERR_INVAL, "request: unknown type \"%.60s\"", type);
fail:
    send_error(w, id, &err);
    json_decref(m);
    return !w->broken;
}

int an_worker_refuse(anemo_status status, const char *fmt, ...)
{
    anemo_error err;
    va_list ap;
    va_start(ap, fmt);
    err.status = status;
    vsnprintf(err.message, sizeof err.message, fmt, ap);
    va_end(ap);
    worker w = {.fd = an_stdout_claim()};
    if (w.fd >= 0) send_error(&w, -1, &err);
    return 1;
}

int an_worker_main(const an_worker_engine *engine)
{
    anemo_error err;
    const char *line;
    size_t n;
    worker w = {.engine = engine, .fd = an_stdout_claim()};
    if (w.fd < 0) {
        fprintf(stderr, "worker: stdout is closed\n");
        return 1;
    }
    send_hello(&w);
    bool more = !w.broken;
    while (more) {
        if (an_lines_next(&w.lines, &line, &n)) {
            more = serve_line(&w, line, n);
            continue;
        }
        if (w.input_ended) break;
        if (read_input(&w, &err) != ANEMO_OK) {
            send_error(&w, -1, &err);
            w.broken = true;
            break;
        }
    }
    if (engine->close) engine->close(engine->ctx);
    an_lines_free(&w.lines);
    return w.broken ? 1 : 0;
}
