/*
 * The parent's end of one worker: start it, keep both its pipes drained, take lines with a limit on
 * silence, and remember what became of it. After a broken protocol the worker is killed and every
 * later call says why.
 */
#include "drivers/client.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"
#include "base/str.h"
#include "base/utf8.h"
#include "drivers/driver.h"
#include "os/clock.h"
#include "os/file.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void stderr_put(an_client *c, const char *bytes, size_t n)
{
    if (n >= AN_STDERR_KEEP) {
        bytes += n - AN_STDERR_KEEP;
        n = AN_STDERR_KEEP;
    }
    if (c->n_stderr + n > AN_STDERR_KEEP) {
        size_t drop = c->n_stderr + n - AN_STDERR_KEEP;
        memmove(c->stderr_text, c->stderr_text + drop, c->n_stderr - drop);
        c->n_stderr -= drop;
    }
    memcpy(c->stderr_text + c->n_stderr, bytes, n);
    c->n_stderr += n;
    c->stderr_text[c->n_stderr] = '\0';
}

static void drain_stderr(an_client *c)
{
    char chunk[4096];
    /* A worker that writes without end must not hold us here: 1 MiB at a time. */
    for (int i = 0; i < 256 && c->process.fd_err >= 0; i++) {
        long got = an_fd_read(c->process.fd_err, chunk, sizeof chunk);
        if (got == 0) return;
        if (got < 0) {
            an_fd_close(&c->process.fd_err);
            return;
        }
        stderr_put(c, chunk, (size_t)got);
    }
}

const char *an_client_stderr_tail(const an_client *c)
{
    return c->stderr_text;
}

/* Its last line with something in it, for a one-line message. */
static void last_stderr_line(const an_client *c, char *out, size_t cap)
{
    size_t end = c->n_stderr;
    while (end > 0 && strchr(" \t\r\n", c->stderr_text[end - 1]))
        end--;
    size_t begin = end;
    while (begin > 0 && c->stderr_text[begin - 1] != '\n')
        begin--;
    if (end - begin >= cap) end = begin + cap - 1;
    size_t n = 0;
    for (size_t i = begin; i < end; i++) {
        unsigned char b = (unsigned char)c->stderr_text[i];
        out[n++] = (char)(b < 0x20 || b == 0x7f ? ' ' : b);
    }
    out[n] = '\0';
}

/* Text of what ended the process: "was killed by SIGSEGV", "exited with status 3". */
static void describe_end(const an_client *c, char *out, size_t cap)
{
    if (c->process.signal) {
        char name[32];
        an_signal_name(c->process.signal, name, sizeof name);
        bool kill = !strcmp(name, "SIGKILL"), segv = !strcmp(name, "SIGSEGV");
        snprintf(out, cap, "was killed by %s%s", name,
                 kill   ? " (the system does that when memory runs out)"
                 : segv ? " (it touched memory that is not its own)"
                        : "");
    } else {
        snprintf(out, cap, "exited with status %d", c->process.exit_code);
    }
}

static anemo_status fail_with_tail(an_client *c, anemo_status status, const char *what,
                                   anemo_error *err)
{
    char last[300];
    last_stderr_line(c, last, sizeof last);
    c->dead = true;
    c->dead_status = status;
    snprintf(c->dead_reason, sizeof c->dead_reason, "%s", what);
    return an_fail(err, status, "%s: the worker %s%s%s", c->name, what,
                   *last ? "; it last said: " : "", last);
}

/* Its stdout has ended: reap it and say how it went. */
static anemo_status fail_ended(an_client *c, anemo_error *err)
{
    char what[160];
    if (!an_process_wait(&c->process, 2000000000u)) {
        an_process_kill(&c->process);
        drain_stderr(c);
        return fail_with_tail(c, ANEMO_ERR_ENGINE, "closed its stdout and did not end", err);
    }
    drain_stderr(c);
    describe_end(c, what, sizeof what);
    return fail_with_tail(c, ANEMO_ERR_ENGINE, what, err);
}

/* The worker broke the protocol or the limit: end it. */
anemo_status an_client_fail_kill(an_client *c, anemo_status status, const char *what, anemo_error *err)
{
    an_process_kill(&c->process);
    drain_stderr(c);
    return fail_with_tail(c, status, what, err);
}

/* Our end of a pipe fails although the worker may be well: it would wait for us, so there is no use in waiting for it. */
static anemo_status fail_broken(an_client *c, anemo_error *err)
{
    return an_client_fail_kill(c, ANEMO_ERR_IO, "could not be talked to (the system failed a read or write of its pipe)", err);
}

static anemo_status fail_garbage(an_client *c, const char *line, size_t n, const char *why,
                                 anemo_error *err)
{
    char shown[64], what[400];
    size_t m = 0;
    for (size_t i = 0; i < n && m + 1 < sizeof shown; i++) {
        unsigned char b = (unsigned char)line[i];
        shown[m++] = (char)(b >= 0x20 && b < 0x7f ? b : '?');
    }
    shown[m] = '\0';
    snprintf(what, sizeof what, "broke the protocol (%.200s): its stdout began with '%s'%s", why,
             shown, n >= sizeof shown ? "…" : "");
    return an_client_fail_kill(c, ANEMO_ERR_ENGINE, what, err);
}

anemo_status an_client_fail_dead(const an_client *c, anemo_error *err)
{
    return an_fail(err, c->dead_status == ANEMO_OK ? ANEMO_ERR_ENGINE : c->dead_status,
                   "%s: the worker %s earlier", c->name, c->dead_reason);
}

void an_client_describe_failure(an_client *c, const anemo_error *err, an_str *out)
{
    drain_stderr(c);
    if (err && err->status != ANEMO_OK)
        an_str_append(out, err->message);
    else if (c->dead)
        an_str_appendf(out, "%s: the worker %s", c->name, c->dead_reason);
    size_t begin = c->n_stderr;
    int lines = 0;
    while (begin > 0 && c->stderr_text[begin - 1] == '\n')
        begin--;
    size_t end = begin;
    while (begin > 0 && lines < 12) {
        while (begin > 0 && c->stderr_text[begin - 1] != '\n')
            begin--;
        lines++;
        if (begin > 0 && lines < 12) begin--;
    }
    if (end > begin) {
        an_str_append(out, "\nlast lines of its stderr:\n");
        an_str_append_bytes(out, c->stderr_text + begin, end - begin);
    }
}

/* A message must be an object with a string "type". Gives *out. */
static anemo_status take_message(an_client *c, const char *line, size_t n, json_t **out,
                                 anemo_error *err)
{
    anemo_error why;
    json_t *m;
    if (an_json_parse(&m, line, n, "answer", &why) != ANEMO_OK)
        return fail_garbage(c, line, n, why.message, err);
    if (!json_is_string(json_object_get(m, "type"))) {
        json_decref(m);
        return fail_garbage(c, line, n, "not an object with a \"type\"", err);
    }
    *out = m;
    return ANEMO_OK;
}

/* Read what the worker has written; the clock is looked at first, for drivers without one of their
 * own. */
static anemo_status read_output(an_client *c, anemo_error *err)
{
    char chunk[65536];
    anemo_error why;
    c->arrival_ns = an_clock_ns();
    long got = an_fd_read(c->process.fd_out, chunk, sizeof chunk);
    if (got == AN_FD_END) return fail_ended(c, err);
    if (got < 0) return fail_broken(c, err);
    if (got == 0) return ANEMO_OK;
    if (an_lines_put(&c->lines, chunk, (size_t)got, &why) != ANEMO_OK)
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, why.message, err);
    return ANEMO_OK;
}

static anemo_status fail_silent(an_client *c, uint64_t limit_ns, anemo_error *err)
{
    char what[120];
    snprintf(what, sizeof what, "gave no answer for %g s and was killed", (double)limit_ns / 1e9);
    return an_client_fail_kill(c, ANEMO_ERR_TIMEOUT, what, err);
}

/*
 * The next message, heartbeats and unknown types left out. Any line is a sign of life. `stop` may
 * be NULL; when it becomes non-zero, *stopped is set and no message is given.
 */
static anemo_status receive(an_client *c, uint64_t limit_ns, const volatile int *stop,
                            bool *stopped, json_t **out, anemo_error *err)
{
    static const char *const known[] = {"hello",     "loaded", "start",  "token",
                                        "generated", "tokens", "logits", "stepped", "error"};
    anemo_status status = ANEMO_OK;
    const char *line;
    size_t n;
    uint64_t since = an_clock_ns();
    for (;;) {
        while (an_lines_next(&c->lines, &line, &n)) {
            json_t *m = NULL;
            AN_TRY(take_message(c, line, n, &m, err));
            const char *type = json_string_value(json_object_get(m, "type"));
            for (size_t i = 0; i < AN_COUNT_OF(known); i++) {
                if (strcmp(type, known[i]) != 0) continue;
                *out = m;
                return ANEMO_OK;
            }
            if (strcmp(type, "heartbeat") != 0) {
                char note[120];
                int len = snprintf(note, sizeof note, "[anemo] ignored a message of type '%.40s'\n",
                                   type);
                stderr_put(c, note, (size_t)len);
            }
            json_decref(m);
            since = an_clock_ns();
        }
        if (stop && *stop) {
            *stopped = true;
            return ANEMO_OK;
        }
        uint64_t silent = an_clock_ns() - since;
        if (silent >= limit_ns) return fail_silent(c, limit_ns, err);
        uint64_t wait = limit_ns - silent;
        /* A signal between the look at `stop` and the wait is noticed half a second later at most.
         */
        if (stop && wait > 500000000u) wait = 500000000u;
        if (c->watched && wait > c->watched->wait_ns) wait = c->watched->wait_ns;
        an_process_ready ready = an_process_poll(&c->process, wait);
        if (c->watched) c->watched->on_wait(c->watched->on_wait_ctx);
        if (ready.err) drain_stderr(c);
        if (ready.out) AN_TRY(read_output(c, err));
    }
cleanup:
    return status;
}

/* Send one message while keeping the worker's pipes drained, so that neither side waits for the
 * other. */
anemo_status an_client_send(an_client *c, json_t *message, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    size_t at = 0;
    AN_TRY(an_json_write(message, JSON_COMPACT, &text, err));
    an_str_append_char(&text, '\n');
    AN_TRY(an_str_check(&text, err));
    uint64_t since = an_clock_ns();
    while (at < text.len) {
        long put = an_process_write_some(&c->process, text.data + at, text.len - at);
        if (put < 0) {
            status = put == AN_FD_END ? fail_ended(c, err) : fail_broken(c, err);
            goto cleanup;
        }
        at += (size_t)put;
        if (put > 0) since = an_clock_ns();
        if (at == text.len) break;
        if (an_clock_ns() - since >= c->timeout_ns) {
            status = fail_silent(c, c->timeout_ns, err);
            goto cleanup;
        }
        an_process_ready ready = an_process_poll_io(&c->process, true, 1000000000u);
        if (ready.err) drain_stderr(c);
        if (ready.out) AN_TRY(read_output(c, err));
    }
cleanup:
    an_str_free(&text);
    return status;
}

/* An `error` message as a status; the worker lives on. */
static anemo_status fail_from_message(const an_client *c, const json_t *m, anemo_error *err)
{
    static const anemo_status statuses[] = {
        ANEMO_ERR_INVAL,  ANEMO_ERR_FORMAT,   ANEMO_ERR_UNSUPPORTED, ANEMO_ERR_NOTFOUND,
        ANEMO_ERR_NOMEM,  ANEMO_ERR_NOSPACE,  ANEMO_ERR_IO,          ANEMO_ERR_NET,
        ANEMO_ERR_ENGINE, ANEMO_ERR_INTERNAL, ANEMO_ERR_TIMEOUT,
    };
    const char *name = json_string_value(json_object_get(m, "status"));
    const char *text = json_string_value(json_object_get(m, "message"));
    anemo_status status = ANEMO_ERR_ENGINE;
    for (size_t i = 0; name && i < AN_COUNT_OF(statuses); i++)
        if (!strcmp(anemo_status_name(statuses[i]) + 4, name)) status = statuses[i];
    return an_fail(err, status, "%s: %s", c->name, text ? text : "an error without a message");
}

/* The next message of request `id` with one of `types` (NULL-terminated); an error message becomes
 * a failure. */
anemo_status an_client_expect(an_client *c, json_int_t id, const char *const *types,
                           const volatile int *stop, bool *stopped, uint64_t limit_ns, json_t **out,
                           anemo_error *err)
{
    json_t *m = NULL;
    anemo_status status = receive(c, limit_ns, stop, stopped, &m, err);
    if (status != ANEMO_OK || !m) return status;
    const char *type = json_string_value(json_object_get(m, "type"));
    const json_t *given = json_object_get(m, "id");
    if (!strcmp(type, "error") &&
        (!given || json_is_null(given) || json_integer_value(given) == id)) {
        status = fail_from_message(c, m, err);
        json_decref(m);
        return status;
    }
    for (size_t i = 0; types[i]; i++) {
        if (strcmp(type, types[i]) != 0 || !json_is_integer(given) ||
            json_integer_value(given) != id)
            continue;
        *out = m;
        return ANEMO_OK;
    }
    char what[160];
    snprintf(what, sizeof what, "answered request %lld with '%.40s' of request %lld", (long long)id,
             type, (long long)json_integer_value(given));
    json_decref(m);
    return an_client_fail_kill(c, ANEMO_ERR_ENGINE, what, err);
}

static bool capability(const json_t *hello, const char *name)
{
    return json_is_true(json_object_get(json_object_get(hello, "capabilities"), name));
}

static void copy_name(char *out, size_t cap, const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    snprintf(out, cap, "%s", s ? s : "");
}

static anemo_status parse_hello(an_client *c, json_t *m, anemo_error *err)
{
    an_hello *h = &c->hello;
    const char *protocol = json_string_value(json_object_get(m, "protocol"));
    const json_t *clock = json_object_get(m, "clock");
    const char *kind = json_string_value(json_object_get(clock, "kind"));
    const char *library = json_string_value(json_object_get(m, "library"));
    size_t i;
    json_t *format;
    h->raw = m;
    if (strcmp(json_string_value(json_object_get(m, "type")), "hello") != 0)
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "did not begin with hello", err);
    if (!protocol || strcmp(protocol, "anemo.driver/1") != 0) {
        char what[120];
        snprintf(what, sizeof what, "speaks protocol '%.40s', this is anemo.driver/1",
                 protocol ? protocol : "");
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, what, err);
    }
    if (!kind || (strcmp(kind, "monotonic") && strcmp(kind, "realtime") && strcmp(kind, "parent")))
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "named no clock that we know in its hello", err);
    h->clock = !strcmp(kind, "parent")     ? AN_CLOCK_PARENT
               : !strcmp(kind, "realtime") ? AN_CLOCK_REALTIME
                                           : AN_CLOCK_MONOTONIC;
    h->clock_resolution_ns = h->clock == AN_CLOCK_PARENT
                                 ? (double)an_clock_resolution_ns()
                                 : json_number_value(json_object_get(clock, "resolution_ns"));
    copy_name(h->driver, sizeof h->driver, m, "driver");
    copy_name(h->driver_version, sizeof h->driver_version, m, "driver_version");
    copy_name(h->engine, sizeof h->engine, m, "engine");
    copy_name(h->engine_version, sizeof h->engine_version, m, "engine_version");
    if (library && !(h->library = an_strdup(library)))
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    json_array_foreach(json_object_get(m, "formats"), i, format)
    {
        const char *name = json_string_value(format);
        if (name && !strcmp(name, "gguf")) h->reads_gguf = true;
        if (name && !strcmp(name, "mlx")) h->reads_mlx = true;
    }
    h->logits = capability(m, "logits");
    h->tokenize = capability(m, "tokenize");
    h->stream = capability(m, "stream");
    h->cancel = capability(m, "cancel");
    h->ids = capability(m, "ids");
    h->fixed_length = capability(m, "fixed_length");
    h->sampling = capability(m, "sampling");
    h->threads = capability(m, "threads");
    h->flash_attn = capability(m, "flash_attn");
    h->draft = capability(m, "draft");
    /* The passes are timed by the driver itself, or not at all. */
    h->step = capability(m, "step") && h->clock != AN_CLOCK_PARENT;
    if (*h->driver) snprintf(c->name, sizeof c->name, "%s", h->driver);
    return ANEMO_OK;
}

anemo_status an_client_open(an_client **out, const char *const *argv, const an_client_options *o,
                            anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *m = NULL;
    bool stopped = false;
    an_client *c = an_calloc(1, sizeof *c);
    if (!c) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    c->process.fd_in = c->process.fd_out = c->process.fd_err = -1;
    c->timeout_ns = o && o->timeout_ns ? o->timeout_ns : 600000000000u;
    snprintf(c->name, sizeof c->name, "%s", an_path_base(argv[0]));
    AN_TRY(an_process_start(&c->process, argv, o ? o->env : NULL, err));
    AN_TRY(receive(c, c->timeout_ns, NULL, &stopped, &m, err));
    if (!strcmp(json_string_value(json_object_get(m, "type")), "error")) {
        /* A driver that cannot start, such as one with the wrong library, says why instead of
         * hello. */
        status = fail_from_message(c, m, err);
        json_decref(m);
        goto cleanup;
    }
    AN_TRY(parse_hello(c, m, err));
    *out = c;
    return ANEMO_OK;
cleanup:
    an_client_close(c);
    return status;
}

void an_client_close(an_client *c)
{
    if (!c) return;
    if (c->process.pid && !c->dead) {
        an_process_continue(&c->process);
        (void)an_process_write_some(&c->process, "{\"type\":\"quit\"}\n", 16);
    }
    an_process_close(&c->process);
    an_lines_free(&c->lines);
    an_free(c->hello.library);
    json_decref(c->hello.raw);
    an_load_result_free(&c->loaded);
    an_free(c->tag);
    an_free(c);
}

const an_hello *an_client_hello(const an_client *c)
{
    return &c->hello;
}

int64_t an_client_pid(const an_client *c)
{
    return c->process.pid;
}

void an_client_pause(an_client *c)
{
    an_process_pause(&c->process);
}

void an_client_continue(an_client *c)
{
    an_process_continue(&c->process);
}

const an_load_result *an_client_loaded(const an_client *c)
{
    return &c->loaded;
}

anemo_status an_client_set_tag(an_client *c, const char *tag, anemo_error *err)
{
    char *copy = an_strdup(tag);
    if (!copy) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_free(c->tag);
    c->tag = copy;
    return ANEMO_OK;
}

const char *an_client_tag(const an_client *c)
{
    return c->tag ? c->tag : "";
}

void an_load_result_free(an_load_result *r)
{
    json_decref(r->effective);
    json_decref(r->notes);
    *r = (an_load_result){0};
}

/* A whole number that a driver may tell; 0 when it does not. */
static uint64_t figure(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));
    return v > 0 ? (uint64_t)v : 0;
}

anemo_status an_client_load(an_client *c, const char *model, const an_settings *s,
                            an_load_result *out, anemo_error *err)
{
    static const char *const types[] = {"loaded", NULL};
    anemo_status status = ANEMO_OK;
    an_load_result r = {0};
    json_t *m = NULL;
    bool stopped;
    if (c->dead) return an_client_fail_dead(c, err);
    if (s->draft && !s->stock && !c->hello.draft)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: this driver has no speculative decoding; the native engine has it",
                       c->name);
    json_int_t id = ++c->last_id;
    uint64_t begin = an_clock_ns();
    json_t *settings = an_settings_json(s);
    AN_TRY(an_client_send(c,
                json_pack("{s:s,s:I,s:s,s:o,s:s*}", "type", "load", "id", id, "model", model, "settings",
                          settings, "layout_dir", s->layout_dir),
                err));
    AN_TRY(an_client_expect(c, id, types, NULL, &stopped, c->timeout_ns, &m, err));
    const json_t *load_s = json_object_get(m, "load_s"), *info = json_object_get(m, "model");
    /* A driver with a clock that says nothing of its load does not know it: the server behind it loaded long ago. */
    r.load_s = NAN;
    if (json_is_number(load_s))
        r.load_s = json_number_value(load_s);
    else if (c->hello.clock == AN_CLOCK_PARENT)
        r.load_s = (double)(c->arrival_ns - begin) / 1e9;
    r.effective = json_incref(json_object_get(m, "effective"));
    if (!json_is_object(r.effective)) {
        json_decref(r.effective);
        r.effective = json_object();
    }
    json_t *notes = json_object_get(m, "notes");
    if (json_is_array(notes)) r.notes = json_incref(notes);
    copy_name(r.format, sizeof r.format, info, "format");
    copy_name(r.quantization, sizeof r.quantization, info, "quantization");
    json_int_t n_vocab = json_integer_value(json_object_get(info, "n_vocab"));
    json_int_t n_ctx = json_integer_value(json_object_get(info, "n_ctx_train"));
    r.n_vocab = n_vocab > 0 && n_vocab <= INT32_MAX ? (int)n_vocab : 0;
    r.n_ctx_train = n_ctx > 0 && n_ctx <= INT32_MAX ? (int)n_ctx : 0;
    copy_name(r.description, sizeof r.description, info, "description");
    r.bytes = figure(info, "bytes");
    r.n_param = figure(info, "n_param");
    c->n_vocab = r.n_vocab;
    an_load_result_free(&c->loaded);
    c->loaded = r;
    json_incref(r.effective);
    json_incref(r.notes);
    *out = r;
    r = (an_load_result){0};
cleanup:
    json_decref(m);
    an_load_result_free(&r);
    return status;
}

void an_generation_free(an_generation *g)
{
    an_free(g->ids);
    an_free(g->t_s);
    an_free(g->text);
    json_decref(g->notes);
    *g = (an_generation){0};
}

static json_t *ids_json(const int32_t *ids, size_t n)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++)
        json_array_append_new(array, json_integer(ids[i]));
    return array;
}

static json_t *generate_json(const an_client *c, json_int_t id, const an_generate_request *r)
{
    bool stream = r->on_token && c->hello.stream;
    return json_pack("{s:s,s:I,s:o,s:s?,s:i,s:b,s:o,s:b,s:{s:f,s:i,s:f,s:f,s:f,s:I}}", "type",
                     "generate", "id", id, "prompt_ids", ids_json(r->prompt_ids, r->n_prompt),
                     "prompt_text", c->hello.ids ? NULL : r->prompt_text, "n_predict", r->n_predict,
                     "fixed_length", r->fixed_length, "stop_ids", ids_json(r->stop_ids, r->n_stop),
                     "stream", stream, "sampling", "temperature", r->temperature, "top_k", r->top_k,
                     "top_p", r->top_p > 0 ? r->top_p : 1.0, "min_p", r->min_p, "repeat_penalty",
                     r->repeat_penalty > 0 ? r->repeat_penalty : 1.0, "seed",
                     (json_int_t)(r->seed & INT64_MAX));
}

/* What a running generate has collected: the arrival of each `token` line, for drivers without a
 * clock. */
typedef struct stream {
    uint64_t start_ns;
    uint64_t *arrival_ns;
    size_t n, cap;
} stream;

static anemo_status note_arrival(an_client *c, stream *s, anemo_error *err)
{
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 256;
        uint64_t *list = an_realloc(s->arrival_ns, cap * sizeof *list);
        if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", c->name);
        s->arrival_ns = list;
        s->cap = cap;
    }
    s->arrival_ns[s->n++] = c->arrival_ns;
    return ANEMO_OK;
}

static anemo_status fill_ids(an_client *c, const json_t *m, const an_generate_request *r,
                             an_generation *g, anemo_error *err)
{
    const json_t *ids = json_object_get(m, "token_ids");
    size_t i;
    json_t *v;
    json_array_foreach(ids, i, v)
    {
        json_int_t id = json_integer_value(v);
        /* -1 stands for a token whose id an engine without ids cannot tell. */
        if (!json_is_integer(v) || id < (c->hello.ids ? 0 : -1) || id > INT32_MAX)
            return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave a token id that is none", err);
        g->ids[i] = (int32_t)id;
    }
    if (r->fixed_length && c->hello.fixed_length && strcmp(g->stop_reason, "cancelled") != 0 &&
        g->n != (size_t)r->n_predict) {
        char what[120];
        snprintf(what, sizeof what, "generated %zu ids where exactly %d were asked for", g->n,
                 r->n_predict);
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, what, err);
    }
    return ANEMO_OK;
}

static anemo_status fill_times(an_client *c, const json_t *m, const stream *s, an_generation *g,
                               anemo_error *err)
{
    const json_t *times = json_object_get(m, "t_tokens_ns");
    bool own = c->hello.clock != AN_CLOCK_PARENT;
    json_int_t start = json_integer_value(json_object_get(m, "t_start_ns"));
    double before = 0;
    for (size_t i = 0; i < g->n; i++) {
        const json_t *v = own ? json_array_get(times, i) : NULL;
        if (own && !json_is_integer(v))
            return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave a time stamp that is no integer", err);
        double t = own ? ((double)json_integer_value(v) - (double)start) / 1e9
                       : ((double)s->arrival_ns[i] - (double)s->start_ns) / 1e9;
        if (!(t >= before) || !isfinite(t))
            return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave time stamps that run backwards", err);
        g->t_s[i] = before = t;
    }
    return ANEMO_OK;
}

/* The `generated` message, checked, as a generation. */
static anemo_status fill_generation(an_client *c, const json_t *m, const an_generate_request *r,
                                    const stream *s, an_generation *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_generation g = {0};
    const json_t *ids = json_object_get(m, "token_ids"), *times = json_object_get(m, "t_tokens_ns");
    const char *text = json_string_value(json_object_get(m, "text"));
    const char *reason = json_string_value(json_object_get(m, "stop_reason"));
    bool own = c->hello.clock != AN_CLOCK_PARENT;
    g.n = json_is_array(ids) ? json_array_size(ids) : own ? json_array_size(times) : s->n;
    if (!reason ||
        (strcmp(reason, "length") && strcmp(reason, "eos") && strcmp(reason, "cancelled")))
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave no known \"stop_reason\"", err);
    if ((own ? json_array_size(times) : s->n) != g.n)
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave ids and time stamps of different number", err);
    if (own && !json_is_integer(json_object_get(m, "t_start_ns")))
        return an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave no \"t_start_ns\"", err);
    snprintf(g.stop_reason, sizeof g.stop_reason, "%s", reason);
    g.ids = an_malloc(g.n * sizeof *g.ids);
    g.t_s = an_malloc(g.n * sizeof *g.t_s);
    g.text = an_strdup(text);
    if (!g.ids || !g.t_s || (text && !g.text)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", c->name);
        goto cleanup;
    }
    for (size_t i = 0; i < g.n; i++)
        g.ids[i] = -1;
    AN_TRY(fill_ids(c, m, r, &g, err));
    AN_TRY(fill_times(c, m, s, &g, err));
    json_t *notes = json_object_get(m, "notes");
    if (json_is_array(notes)) g.notes = json_incref(notes);
    const json_t *drafts = json_object_get(m, "drafts");
    g.n_pass = figure(drafts, "n_pass");
    g.n_drafted = figure(drafts, "n_drafted");
    g.n_accepted = figure(drafts, "n_accepted");
    if (g.n_accepted > g.n_drafted || (g.n_pass == 0 && g.n_drafted > 0)) {
        status = an_client_fail_kill(c, ANEMO_ERR_ENGINE, "kept more drafts than it made", err);
        goto cleanup;
    }
    *out = g;
    g = (an_generation){0};
cleanup:
    an_generation_free(&g);
    return status;
}

/* Ask the running request to end; a driver that cannot be asked is ended. */
anemo_status an_client_cancel(an_client *c, json_int_t id, anemo_error *err)
{
    if (!c->hello.cancel) {
        (void)an_client_fail_kill(c, ANEMO_ERR_INTERRUPTED, "was ended: it cannot be asked to stop", err);
        return ANEMO_ERR_INTERRUPTED;
    }
    return an_client_send(c, json_pack("{s:s,s:I}", "type", "cancel", "id", id), err);
}

/* One `token` line to the caller; non-zero when it wants no more. */
static int hand_over(const an_generate_request *r, const json_t *m)
{
    const json_t *token = json_object_get(m, "token");
    json_int_t id = json_is_integer(token) ? json_integer_value(token) : -1;
    if (!r->on_token) return 0;
    return r->on_token(r->on_token_ctx, id >= 0 && id <= INT32_MAX ? (int32_t)id : -1,
                       json_string_value(json_object_get(m, "text")));
}

anemo_status an_client_generate(an_client *c, const an_generate_request *r, an_generation *out,
                                anemo_error *err)
{
    static const char *const types[] = {"start", "token", "generated", NULL};
    anemo_status status = ANEMO_OK;
    stream s = {0};
    json_t *m = NULL;
    bool asked_to_stop = false;
    if (c->dead) return an_client_fail_dead(c, err);
    json_int_t id = ++c->last_id;
    AN_TRY(an_client_send(c, generate_json(c, id, r), err));
    s.start_ns = an_clock_ns();
    c->watched = r->on_wait ? r : NULL;
    for (;;) {
        bool stopped = false;
        json_decref(m);
        m = NULL;
        uint64_t limit =
            asked_to_stop && c->timeout_ns > 10000000000u ? 10000000000u : c->timeout_ns;
        status = an_client_expect(c, id, types, asked_to_stop ? NULL : r->stop, &stopped, limit, &m, err);
        if (status == ANEMO_ERR_TIMEOUT && asked_to_stop) status = ANEMO_ERR_INTERRUPTED;
        if (status != ANEMO_OK) goto cleanup;
        const char *type = m ? json_string_value(json_object_get(m, "type")) : "";
        if (!strcmp(type, "generated")) break;
        if (!strcmp(type, "start")) s.start_ns = c->arrival_ns;
        if (!strcmp(type, "token")) {
            AN_TRY(note_arrival(c, &s, err));
            if (!asked_to_stop && hand_over(r, m)) stopped = true;
        }
        if (stopped && !asked_to_stop) {
            asked_to_stop = true;
            AN_TRY(an_client_cancel(c, id, err));
        }
    }
    AN_TRY(fill_generation(c, m, r, &s, out, err));
cleanup:
    c->watched = NULL;
    json_decref(m);
    an_free(s.arrival_ns);
    return status;
}

anemo_status an_client_tokenize(an_client *c, const char *text, bool special, int32_t **ids,
                                size_t *n, anemo_error *err)
{
    static const char *const types[] = {"tokens", NULL};
    anemo_status status = ANEMO_OK;
    json_t *m = NULL;
    int32_t *list = NULL;
    bool stopped;
    if (c->dead) return an_client_fail_dead(c, err);
    if (!c->hello.tokenize)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: this driver gives no tokenizer", c->name);
    json_int_t id = ++c->last_id;
    AN_TRY(an_client_send(c,
                json_pack("{s:s,s:I,s:o,s:b}", "type", "tokenize", "id", id, "text",
                          an_json_text(text, strlen(text)), "special", special),
                err));
    AN_TRY(an_client_expect(c, id, types, NULL, &stopped, c->timeout_ns, &m, err));
    const json_t *array = json_object_get(m, "token_ids");
    size_t count = json_array_size(array);
    list = an_malloc(count * sizeof *list);
    if (!list) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", c->name);
        goto cleanup;
    }
    for (size_t i = 0; i < count; i++) {
        json_int_t v = json_integer_value(json_array_get(array, i));
        if (!json_is_integer(json_array_get(array, i)) || v < 0 || v > INT32_MAX) {
            status = an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave a token id that is none", err);
            goto cleanup;
        }
        list[i] = (int32_t)v;
    }
    *ids = list;
    *n = count;
    list = NULL;
cleanup:
    an_free(list);
    json_decref(m);
    return status;
}

anemo_status an_client_logits(an_client *c, const int32_t *ids, size_t n_ids, float **out,
                              int *n_vocab, anemo_error *err)
{
    static const char *const types[] = {"logits", NULL};
    anemo_status status = ANEMO_OK;
    char *path = NULL;
    void *map = NULL;
    float *copy = NULL;
    uint64_t bytes = 0;
    json_t *m = NULL;
    bool stopped;
    if (c->dead) return an_client_fail_dead(c, err);
    if (!c->hello.logits)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: this driver gives no logits", c->name);
    if (c->n_vocab <= 0 || n_ids == 0 ||
        !an_mul_u64((uint64_t)c->n_vocab * sizeof(float), n_ids, &bytes) || bytes > SIZE_MAX)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: no ids, or no model is loaded", c->name);
    json_int_t id = ++c->last_id;
    AN_TRY(an_shm_create(bytes, &path, err));
    AN_TRY(an_client_send(c,
                json_pack("{s:s,s:I,s:o,s:s,s:i}", "type", "logits", "id", id, "ids",
                          ids_json(ids, n_ids), "file", path, "n_vocab", c->n_vocab),
                err));
    AN_TRY(an_client_expect(c, id, types, NULL, &stopped, c->timeout_ns, &m, err));
    if (json_integer_value(json_object_get(m, "n_tok")) != (json_int_t)n_ids ||
        json_integer_value(json_object_get(m, "n_vocab")) != c->n_vocab) {
        status = an_client_fail_kill(c, ANEMO_ERR_ENGINE, "gave logits of another shape than asked for", err);
        goto cleanup;
    }
    AN_TRY(an_shm_map(path, bytes, &map, err));
    copy = an_malloc((size_t)bytes);
    if (!copy) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for %llu bytes of logits",
                         (unsigned long long)bytes);
        goto cleanup;
    }
    memcpy(copy, map, (size_t)bytes);
    *out = copy;
    *n_vocab = c->n_vocab;
cleanup:
    an_shm_unmap(map, bytes);
    if (path) (void)!an_path_remove(path, NULL);
    an_free(path);
    json_decref(m);
    return status;
}
