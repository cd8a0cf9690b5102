/*
 * The conformance test of `anemo worker --check`: asks a driver what the protocol allows and
 * forbids, and looks at the very lines that come back, below the client that would tolerate or
 * reject them.
 */
#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"
#include "drivers/driver.h"
#include "drivers/lines.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT_IDS = 4, LONG_PREDICT = 64 };
static const uint64_t ANSWER_LIMIT_NS = 120000000000u, QUIT_LIMIT_NS = 10000000000u;

typedef struct check {
    an_process process;
    an_lines lines;
    an_str *report;
    int n_failed;
    json_int_t id;
    json_t *hello;
    bool parent_clock, ids, fixed_length, stream, cancel, tokenize, logits, step;
    int n_vocab;
    json_t *events; /* `token` and `start` messages of the last request */
    bool gone;      /* it ended or fell silent */
} check;

static bool note(check *c, bool ok, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static bool note(check *c, bool ok, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    an_str_append(c->report, ok ? "ok      " : "FAILED  ");
    an_str_vappendf(c->report, fmt, ap);
    an_str_append_char(c->report, '\n');
    va_end(ap);
    if (!ok) c->n_failed++;
    return ok;
}

static bool is_type(const json_t *m, const char *type)
{
    const char *given = json_string_value(json_object_get(m, "type"));
    return given && !strcmp(given, type);
}

/* The next message, or NULL when none came in time. New reference. */
static json_t *receive(check *c, uint64_t limit_ns)
{
    char chunk[65536];
    const char *line;
    size_t n;
    uint64_t begin = an_clock_ns();
    while (!c->gone) {
        if (an_lines_next(&c->lines, &line, &n)) {
            json_t *m = NULL;
            anemo_error err;
            if (an_json_parse(&m, line, n, "line", &err) != ANEMO_OK || !is_type(m, "heartbeat")) {
                if (m && json_is_object(m)) return m;
                note(c, false, "stdout carries nothing but JSON objects: got '%.60s'", line);
                c->gone = true;
            }
            json_decref(m);
            continue;
        }
        uint64_t spent = an_clock_ns() - begin;
        if (spent >= limit_ns) {
            note(c, false, "an answer within %.0f s", (double)limit_ns / 1e9);
            c->gone = true;
            break;
        }
        an_process_ready ready = an_process_poll(&c->process, limit_ns - spent);
        if (ready.err && an_fd_read(c->process.fd_err, chunk, sizeof chunk) < 0)
            an_fd_close(&c->process.fd_err);
        if (!ready.out) continue;
        long got = an_fd_read(c->process.fd_out, chunk, sizeof chunk);
        if (got < 0 || (got > 0 && an_lines_put(&c->lines, chunk, (size_t)got, NULL) != ANEMO_OK))
            c->gone = true;
    }
    return NULL;
}

static void send_text(check *c, const char *text)
{
    if (!c->gone && an_process_write(&c->process, text, strlen(text), NULL) != ANEMO_OK)
        c->gone = true;
}

/* Steals `message`; gives it a new id when it has none. */
static void send(check *c, json_t *message)
{
    if (!json_object_get(message, "id")) json_object_set_new(message, "id", json_integer(++c->id));
    an_str text = {0};
    bool written = an_json_write(message, JSON_COMPACT, &text, NULL) == ANEMO_OK;
    send_text(c, written ? an_str_text(&text) : "{}");
    send_text(c, "\n");
    an_str_free(&text);
}

/* The answer to the last request; `token` and `start` are collected in c->events on the way. */
static json_t *answer(check *c)
{
    json_array_clear(c->events);
    for (;;) {
        json_t *m = receive(c, ANSWER_LIMIT_NS);
        if (!m || !(is_type(m, "token") || is_type(m, "start"))) return m;
        json_array_append_new(c->events, m);
    }
}

static bool has_id(const check *c, const json_t *m)
{
    return json_integer_value(json_object_get(m, "id")) == c->id;
}

/* The request is refused, with its id and a status of the list. */
static void expect_error(check *c, json_t *request, const char *rule)
{
    static const char *const statuses[] = {"inval",  "format",   "unsupported", "notfound",
                                           "nomem",  "nospace",  "io",          "net",
                                           "engine", "internal", "timeout",     NULL};
    send(c, request);
    json_t *m = answer(c);
    const char *status = json_string_value(json_object_get(m, "status"));
    bool known = false;
    for (size_t i = 0; status && statuses[i]; i++)
        known = known || !strcmp(status, statuses[i]);
    note(c,
         m && is_type(m, "error") && has_id(c, m) && known &&
             json_is_string(json_object_get(m, "message")),
         "%s is an error with id, status and message", rule);
    json_decref(m);
}

static json_t *generate_request(int n_predict, bool stream)
{
    json_t *ids = json_array();
    for (int i = 0; i < PROMPT_IDS; i++)
        json_array_append_new(ids, json_integer(i + 5));
    return json_pack("{s:s,s:o,s:s,s:i,s:b,s:[],s:b,s:{s:i}}", "type", "generate", "prompt_ids",
                     ids, "prompt_text", "a b c d", "n_predict", n_predict, "fixed_length", 1,
                     "stop_ids", "stream", stream, "sampling", "temperature", 0);
}

static json_t *load_request(const char *model)
{
    return json_pack("{s:s,s:s,s:{s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:s,s:i,s:s,s:b}}", "type", "load",
                     "model", model, "settings", "n_ctx", 512, "n_batch", 512, "n_ubatch", 512,
                     "threads", 1, "threads_batch", 1, "kv_type", "f16", "flash_attn", "auto",
                     "device", "auto", "n_gpu_layers", -1, "compute_dtype", "auto", "stock", 0);
}

static bool capability(const check *c, const char *name)
{
    return json_is_true(json_object_get(json_object_get(c->hello, "capabilities"), name));
}

static bool check_hello(check *c)
{
    static const char *const strings[] = {"driver", "driver_version", "engine", "engine_version"};
    json_t *h = c->hello = receive(c, ANSWER_LIMIT_NS);
    if (!note(c, h && is_type(h, "hello"), "the first line is hello")) return false;
    const char *protocol = json_string_value(json_object_get(h, "protocol"));
    note(c, protocol && !strcmp(protocol, "anemo.driver/1"), "hello.protocol is anemo.driver/1");
    for (size_t i = 0; i < AN_COUNT_OF(strings); i++)
        note(c, json_is_string(json_object_get(h, strings[i])), "hello.%s is a string", strings[i]);
    const char *clock = json_string_value(json_object_get(json_object_get(h, "clock"), "kind"));
    note(c,
         clock && (!strcmp(clock, "monotonic") || !strcmp(clock, "realtime") ||
                   !strcmp(clock, "parent")),
         "hello.clock.kind is monotonic, realtime or parent");
    size_t i;
    json_t *format;
    bool good = json_is_array(json_object_get(h, "formats"));
    json_array_foreach(json_object_get(h, "formats"), i, format)
    {
        const char *name = json_string_value(format);
        good = good && name && (!strcmp(name, "gguf") || !strcmp(name, "mlx"));
    }
    note(c, good, "hello.formats is an array of gguf and mlx");
    c->parent_clock = clock && !strcmp(clock, "parent");
    c->ids = capability(c, "ids");
    c->fixed_length = capability(c, "fixed_length");
    c->stream = capability(c, "stream");
    c->cancel = capability(c, "cancel");
    c->tokenize = capability(c, "tokenize");
    c->logits = capability(c, "logits");
    c->step = capability(c, "step");
    note(c, !c->step || !c->parent_clock, "a driver without a clock has no step measurement");
    return true;
}

static bool check_load(check *c, const char *model)
{
    send(c, load_request(model));
    json_t *m = answer(c);
    const json_t *load_s = json_object_get(m, "load_s"), *info = json_object_get(m, "model");
    bool loaded = m && is_type(m, "loaded") && has_id(c, m);
    if (!loaded) {
        const char *text = json_string_value(json_object_get(m, "message"));
        note(c, false, "load is answered with loaded and its id%s%s", text ? ": " : "",
             text ? text : "");
        json_decref(m);
        return false;
    }
    note(c, true, "load is answered with loaded and its id");
    note(c,
         json_is_number(load_s) ? json_number_value(load_s) >= 0 : !load_s || json_is_null(load_s),
         "loaded.load_s is a number of seconds, or null");
    note(c, json_is_object(json_object_get(m, "effective")), "loaded.effective is an object");
    c->n_vocab = (int)json_integer_value(json_object_get(info, "n_vocab"));
    note(c, !c->ids || c->n_vocab > 0, "loaded.model.n_vocab is positive");
    json_decref(m);
    expect_error(c, load_request(model), "a second load");
    return true;
}

/* Times that belong to `n` tokens, counted from a start, never backwards. */
static bool good_times(const check *c, const json_t *m, size_t n)
{
    const json_t *times = json_object_get(m, "t_tokens_ns");
    json_int_t before = json_integer_value(json_object_get(m, "t_start_ns"));
    size_t i;
    json_t *t;
    if (c->parent_clock)
        return json_array_size(c->events) == n + 1 &&
               is_type(json_array_get(c->events, 0), "start");
    if (json_array_size(times) != n || before <= 0) return false;
    json_array_foreach(times, i, t)
    {
        if (!json_is_integer(t) || json_integer_value(t) < before) return false;
        before = json_integer_value(t);
    }
    return true;
}

/* The streamed `token` messages repeat the ids of the answer. */
static bool events_match(const check *c, const json_t *ids)
{
    size_t i, n = 0;
    json_t *event;
    json_array_foreach(c->events, i, event)
    {
        if (!is_type(event, "token")) continue;
        if (!json_equal(json_object_get(event, "token"), json_array_get(ids, n))) return false;
        n++;
    }
    return n == json_array_size(ids);
}

/* One generate of n ids, checked; gives token_ids (new reference) or NULL. */
static json_t *check_generate(check *c, int n_predict, bool stream, const char *extra_key)
{
    json_t *request = generate_request(n_predict, stream);
    if (extra_key) json_object_set_new(request, extra_key, json_true());
    send(c, request);
    json_t *m = answer(c), *ids = json_incref(json_object_get(m, "token_ids"));
    const char *reason = json_string_value(json_object_get(m, "stop_reason"));
    const char *way = stream ? "streamed" : "quiet";
    if (!note(c, m && is_type(m, "generated") && has_id(c, m),
              "a %s generate is answered with generated%s", way,
              extra_key ? ", unknown keys are ignored" : ""))
        goto cleanup;
    size_t n = json_array_size(ids);
    if (c->ids && c->fixed_length) {
        note(c, n == (size_t)n_predict, "a %s generate gives exactly %d ids", way, n_predict);
        note(c, reason && !strcmp(reason, "length"), "its stop_reason is length");
    }
    if (c->ids || c->parent_clock) {
        note(c, good_times(c, m, n), "it has a start and one time for each id, in order");
        if (stream && c->stream) note(c, events_match(c, ids), "its token lines repeat token_ids");
    }
    if (!stream && !c->parent_clock)
        note(c, json_array_size(c->events) == 0,
             "without stream nothing is written before the answer");
cleanup:
    json_decref(m);
    return ids;
}

static void check_generation(check *c)
{
    json_t *first = check_generate(c, 4, false, NULL),
           *again = check_generate(c, 4, false, "x_unknown");
    if (c->ids) note(c, json_equal(first, again), "the same greedy request gives the same ids");
    json_decref(again);
    if (c->stream) json_decref(check_generate(c, 4, true, NULL));
    if (c->ids && json_array_size(first) > 0) {
        json_t *request = generate_request(4, false);
        json_object_set_new(request, "fixed_length", json_false());
        json_object_set_new(request, "stop_ids", json_pack("[O]", json_array_get(first, 0)));
        send(c, request);
        json_t *m = answer(c);
        const char *reason = json_string_value(json_object_get(m, "stop_reason"));
        note(c,
             json_array_size(json_object_get(m, "token_ids")) == 1 && reason &&
                 !strcmp(reason, "eos"),
             "without fixed_length an id of stop_ids ends it, with stop_reason eos");
        json_decref(m);
        request = generate_request(4, false);
        json_object_set_new(request, "prompt_ids", json_array());
        expect_error(c, request, "a generate with empty prompt_ids");
        request = generate_request(4, false);
        json_object_set_new(request, "prompt_ids", json_pack("[i]", c->n_vocab));
        expect_error(c, request, "a generate with an id outside the vocabulary");
        expect_error(c, generate_request(0, false), "a generate of 0 ids");
    }
    json_decref(first);
}

static void check_cancel(check *c)
{
    if (c->cancel) {
        send(c, generate_request(LONG_PREDICT, true));
        json_t *m = c->stream ? receive(c, ANSWER_LIMIT_NS) : NULL;
        send(c, json_pack("{s:s,s:I}", "type", "cancel", "id", c->id));
        while (!m || is_type(m, "start") || is_type(m, "token")) {
            json_decref(m);
            m = receive(c, ANSWER_LIMIT_NS);
            if (!m) break;
        }
        const char *reason = json_string_value(json_object_get(m, "stop_reason"));
        size_t n = json_array_size(json_object_get(m, "token_ids"));
        /* A fast engine may be done before the cancel arrives. */
        note(c,
             m && is_type(m, "generated") && has_id(c, m) && reason &&
                 (!strcmp(reason, "cancelled") ? n < LONG_PREDICT : n == LONG_PREDICT || !c->ids),
             "a cancelled generate is still answered, with stop_reason cancelled");
        json_decref(m);
    }
    send(c, json_pack("{s:s,s:I}", "type", "cancel", "id", c->id));
    json_decref(check_generate(c, 1, false, NULL));
}

static void check_logits(check *c)
{
    char *path = NULL;
    void *map = NULL;
    uint64_t n_value = 2 * (uint64_t)c->n_vocab;
    json_t *request = json_pack("{s:s,s:[ii],s:s,s:i}", "type", "logits", "ids", 5, 6, "file",
                                "/nonexistent/x", "n_vocab", c->n_vocab);
    expect_error(c, request,
                 c->logits ? "a logits request into a file that is not there"
                           : "logits without the capability");
    if (!c->logits || c->n_vocab <= 0 ||
        an_shm_create(n_value * sizeof(float), &path, NULL) != ANEMO_OK)
        return;
    send(c, json_pack("{s:s,s:[ii],s:s,s:i}", "type", "logits", "ids", 5, 6, "file", path,
                      "n_vocab", c->n_vocab));
    json_t *m = answer(c);
    bool shape = m && is_type(m, "logits") && has_id(c, m) &&
                 json_integer_value(json_object_get(m, "n_tok")) == 2 &&
                 json_integer_value(json_object_get(m, "n_vocab")) == c->n_vocab;
    note(c, shape, "logits is answered with n_tok and n_vocab");
    if (shape && an_shm_map(path, n_value * sizeof(float), &map, NULL) == ANEMO_OK) {
        const float *x = map;
        bool finite = true, varied = false;
        for (uint64_t i = 0; i < n_value; i++) {
            finite = finite && isfinite(x[i]);
            varied = varied || x[i] != x[0];
        }
        note(c, finite && varied, "the file holds finite numbers that differ");
        an_shm_unmap(map, n_value * sizeof(float));
    }
    json_decref(m);
    (void)!an_path_remove(path, NULL);
    an_free(path);
}

static json_t *step_request(int n_prompt, int n_gen, int n_depth)
{
    return json_pack("{s:s,s:i,s:i,s:i,s:i}", "type", "step", "n_prompt", n_prompt, "n_gen", n_gen, "n_depth",
                     n_depth, "seed", 1);
}

/* Start, end of the prompt, steps and end, in that order; time passes. */
static bool good_step_times(const json_t *m, int n_gen)
{
    const json_t *steps = json_object_get(m, "t_steps_ns");
    json_int_t start = json_integer_value(json_object_get(m, "t_start_ns"));
    json_int_t before = json_integer_value(json_object_get(m, "t_prompt_ns"));
    json_int_t end = json_integer_value(json_object_get(m, "t_end_ns"));
    size_t i;
    json_t *t;
    if (start <= 0 || before < start || end <= start) return false;
    if (steps && json_array_size(steps) != (size_t)n_gen) return false;
    json_array_foreach(steps, i, t)
    {
        if (!json_is_integer(t) || json_integer_value(t) < before) return false;
        before = json_integer_value(t);
    }
    return end >= before;
}

static void check_one_step(check *c, int n_prompt, int n_gen, int n_depth, const char *what)
{
    send(c, step_request(n_prompt, n_gen, n_depth));
    json_t *m = answer(c);
    const char *reason = json_string_value(json_object_get(m, "stop_reason"));
    note(c, m && is_type(m, "stepped") && has_id(c, m) && reason && !strcmp(reason, "length"),
         "a step measurement of %s is answered with stepped", what);
    note(c, good_step_times(m, n_gen), "its times are in order");
    note(c, json_array_size(c->events) == 0, "nothing but heartbeats is written before its answer");
    json_decref(m);
}

static void check_step(check *c)
{
    if (!c->step) {
        expect_error(c, step_request(4, 0, 0), "step without the capability");
        return;
    }
    check_one_step(c, 4, 0, 0, "a prompt");
    check_one_step(c, 0, 4, 0, "single steps");
    check_one_step(c, 4, 4, 8, "both at a depth");
    check_one_step(c, 0, 2, 8, "the same depth again");
    expect_error(c, step_request(0, 0, 0), "a step measurement of nothing");
    expect_error(c, step_request(-1, 4, 0), "a step measurement of a negative number");
    /* What is left in the cache must not reach the next generate. */
    json_decref(check_generate(c, 2, false, NULL));
}

static void check_tokenize(check *c)
{
    json_t *request = json_pack("{s:s,s:s,s:b}", "type", "tokenize", "text", "Hello", "special", 0);
    if (!c->tokenize) {
        expect_error(c, request, "tokenize without the capability");
        return;
    }
    send(c, request);
    json_t *m = answer(c);
    /* A model without a vocabulary of its own cannot be asked; the driver must survive the
     * question. */
    note(c,
         m && has_id(c, m) &&
             (is_type(m, "error") ||
              (is_type(m, "tokens") && json_array_size(json_object_get(m, "token_ids")) > 0)),
         "tokenize is answered with %s", is_type(m, "error") ? "an error" : "tokens");
    json_decref(m);
}

static bool ends_well(check *c)
{
    char chunk[4096];
    uint64_t begin = an_clock_ns();
    while (!an_process_ended(&c->process) && an_clock_ns() - begin < QUIT_LIMIT_NS) {
        (void)an_process_poll(&c->process, 20000000u);
        (void)an_fd_read(c->process.fd_out, chunk, sizeof chunk);
        if (c->process.fd_err >= 0 && an_fd_read(c->process.fd_err, chunk, sizeof chunk) < 0)
            an_fd_close(&c->process.fd_err);
    }
    return c->process.reaped && c->process.signal == 0 && c->process.exit_code == 0;
}

static void close_worker(check *c)
{
    an_process_close(&c->process);
    an_lines_free(&c->lines);
    json_decref(c->hello);
    c->hello = NULL;
}

static bool start(check *c, const char *const *argv)
{
    anemo_error err = {0};
    c->process = (an_process){.fd_in = -1, .fd_out = -1, .fd_err = -1};
    c->gone = false;
    if (an_process_start(&c->process, argv, NULL, &err) == ANEMO_OK) return true;
    note(c, false, "the command starts: %s", err.message);
    return false;
}

/* What must hold before a model is there. */
static void check_before_load(check *c)
{
    expect_error(c, generate_request(1, false), "a generate before load");
    expect_error(c, json_pack("{s:s}", "type", "x-unknown"), "an unknown request");
    send_text(c, "this is not JSON\n");
    json_t *m = receive(c, ANSWER_LIMIT_NS);
    note(c, m && is_type(m, "error"), "a line that is no JSON is an error, not the end");
    json_decref(m);
}

int an_protocol_check(const char *const *argv, const char *model, an_str *report)
{
    check c = {.report = report, .events = json_array()};
    if (!start(&c, argv)) {
        json_decref(c.events);
        return -1;
    }
    if (check_hello(&c)) {
        bool needs_model = json_array_size(json_object_get(c.hello, "formats")) > 0;
        check_before_load(&c);
        if (needs_model && !model) {
            an_str_append(report, "skipped what needs a model; name one with --model\n");
        } else if (!c.gone && check_load(&c, model ? model : "none")) {
            check_generation(&c);
            check_tokenize(&c);
            check_logits(&c);
            check_step(&c);
            check_cancel(&c);
            an_process_pause(&c.process);
            an_clock_sleep_ns(50000000u);
            an_process_continue(&c.process);
            an_str_append(report, "after a pause:\n");
            json_decref(check_generate(&c, 2, false, NULL));
        }
        send_text(&c, "{\"type\":\"quit\"}\n");
        note(&c, !c.gone && ends_well(&c), "quit ends it with status 0");
    }
    close_worker(&c);
    if (start(&c, argv)) {
        c.hello = receive(&c, ANSWER_LIMIT_NS);
        an_fd_close(&c.process.fd_in);
        note(&c, ends_well(&c), "the end of stdin ends it with status 0");
        close_worker(&c);
    }
    json_decref(c.events);
    an_str_appendf(report, "%s: %d failed\n", c.n_failed ? "NOT CONFORMING" : "conforming",
                   c.n_failed);
    return c.n_failed;
}
