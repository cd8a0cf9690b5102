/*
 * The http driver's loop. One request at a time; while a completion streams, stdin is looked at between pieces so that a
 * cancel is obeyed.
 */
#include "drivers/http/http_driver.h"

#include "base/alloc.h"
#include "base/json.h"
#include "drivers/http/completion.h"
#include "drivers/lines.h"
#include "net/http.h"
#include "net/sse.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STDIN_FD = 0 };

/* How the prompt is given, from the most exact to the most common. A server's refusal moves on to the next. */
typedef enum prompt_form { FORM_IDS, FORM_TEXT, FORM_TEXT_PLAIN, FORM_N } prompt_form;

typedef struct driver {
    char *base; /* URL without trailing slash and without /v1 */
    an_http *http;
    an_lines lines;
    int fd; /* the protocol's stdout */
    bool input_ended, loaded;
    prompt_form form;
    char model[256];
    int n_generate;
} driver;

typedef struct stream {
    driver *d;
    an_sse sse;
    an_completion completion;
    json_int_t id;
    bool tokens; /* send `token` lines */
    bool cancelled;
    uint64_t last_line_ns;
    uint64_t now_ns; /* arrival of the bytes being read */
} stream;

/* Steals `message`. */
static bool send(driver *d, json_t *message)
{
    anemo_status status = message ? an_message_write(d->fd, message, NULL) : ANEMO_ERR_NOMEM;
    json_decref(message);
    return status == ANEMO_OK;
}

static bool send_error(driver *d, json_t *id, const anemo_error *err)
{
    const char *name = anemo_status_name(err->status);
    if (an_str_starts_with(name, "err_")) name += 4;
    return send(d, json_pack("{s:s, s:O, s:s, s:o}", "type", "error", "id", id, "status", name, "message",
                             an_json_text(err->message, strlen(err->message))));
}

static void read_input(driver *d)
{
    char chunk[65536];
    long got = an_fd_read(STDIN_FD, chunk, sizeof chunk);
    if (got < 0 || (got > 0 && an_lines_put(&d->lines, chunk, (size_t)got, NULL) != ANEMO_OK)) d->input_ended = true;
}

/* Between pieces of a stream: has a cancel for this request, a quit, or the end of the input come? */
static bool stream_aborted(void *ctx)
{
    stream *s = ctx;
    const char *line;
    size_t n, at = 0;
    json_t *m;
    if (!s->d->input_ended && an_fd_readable(STDIN_FD, 0)) read_input(s->d);
    while (!s->cancelled && an_lines_peek(&s->d->lines, &at, &line, &n)) {
        if (an_json_parse(&m, line, n, "request", NULL) != ANEMO_OK) continue;
        const char *type = json_string_value(json_object_get(m, "type"));
        const json_t *id = json_object_get(m, "id");
        s->cancelled = type && (!strcmp(type, "quit") || (!strcmp(type, "cancel") && json_integer_value(id) == s->id));
        json_decref(m);
    }
    s->cancelled |= s->d->input_ended;
    uint64_t now = an_clock_ns();
    if (!s->cancelled && now - s->last_line_ns > 5000000000u) {
        s->last_line_ns = now;
        s->cancelled = !send(s->d, json_pack("{s:s, s:I}", "type", "heartbeat", "id", s->id));
    }
    return s->cancelled;
}

static anemo_status on_event(void *ctx, const char *data, size_t n, anemo_error *err)
{
    stream *s = ctx;
    size_t before = s->completion.n_chunk, text_before = s->completion.text.len;
    anemo_status status = an_completion_event(&s->completion, data, n, s->now_ns, err);
    if (status == ANEMO_OK && s->tokens && s->completion.n_chunk > before) {
        const char *text = s->completion.text.data + text_before;
        s->last_line_ns = s->now_ns;
        if (!send(s->d, json_pack("{s:s, s:I, s:i, s:I, s:s}", "type", "token", "id", s->id, "token", -1, "t_ns",
                                  (json_int_t)s->now_ns, "text", text)))
            s->cancelled = true;
    }
    return status;
}

static anemo_status on_bytes(void *ctx, const char *bytes, size_t n, anemo_error *err)
{
    stream *s = ctx;
    s->now_ns = an_clock_ns();
    return an_sse_feed(&s->sse, bytes, n, on_event, s, err);
}

static char *join_url(const driver *d, const char *path)
{
    an_str url = {0};
    an_str_append(&url, d->base);
    an_str_append(&url, path);
    return an_str_take(&url);
}

/* A sentence for an answer that is not 2xx. */
static anemo_status refused(const an_http_response *r, const char *url, anemo_error *err)
{
    json_t *doc = NULL;
    const char *message = NULL;
    if (r->code >= 300 && r->code < 400)
        return an_fail(err, ANEMO_ERR_NET, "%s answers with a redirect to %s; give that address with --url", url,
                       r->location[0] ? r->location : "nowhere");
    if (r->body.len && an_json_parse(&doc, r->body.data, r->body.len, url, NULL) == ANEMO_OK) {
        const json_t *error = json_object_get(doc, "error");
        message = json_string_value(json_object_get(error, "message"));
        if (!message) message = json_string_value(error);
        if (!message) message = json_string_value(json_object_get(doc, "message"));
    }
    anemo_status status = an_fail(err, r->code == 404 ? ANEMO_ERR_NOTFOUND : ANEMO_ERR_NET, "%s answers %ld%s%.300s%s", url,
                                  r->code, message ? ": " : "", message ? message : "",
                                  r->code == 401 || r->code == 403 ? "; set ANEMO_API_KEY" : "");
    json_decref(doc);
    return status;
}

static anemo_status serve_load(driver *d, json_t *id, const json_t *m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_http_response r = {0};
    json_t *doc = NULL;
    char *url = join_url(d, "/v1/models");
    (void)m;
    if (!url) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    const an_http_request request = {.url = url, .idle_timeout_s = 30};
    AN_TRY(an_http_perform(d->http, &request, &r, err));
    if (r.code == 200) {
        AN_TRY(an_json_parse(&doc, an_str_text(&r.body), r.body.len, url, err));
        const json_t *first = json_array_get(json_object_get(doc, "data"), 0);
        const char *name = json_string_value(json_object_get(first, "id"));
        if (name) snprintf(d->model, sizeof d->model, "%s", name);
    } else if (r.code != 404 && r.code != 501) {
        status = refused(&r, url, err);
        goto cleanup;
    }
    if (!send(d, json_pack("{s:s, s:O, s:n, s:{s:n, s:n, s:n, s:n, s:n, s:n, s:n, s:s, s:n, s:n}, s:{s:s, s:s, s:n, s:n}}",
                           "type", "loaded", "id", id, "load_s", "effective", "n_ctx", "n_batch", "n_ubatch", "threads",
                           "threads_batch", "kv_type", "flash_attn", "device", "the server's", "n_gpu_layers",
                           "compute_dtype", "model", "format", "", "quantization", d->model, "n_vocab", "n_ctx_train")))
        d->input_ended = true;
cleanup:
    json_decref(doc);
    an_str_free(&r.body);
    an_free(url);
    return status;
}

/* Does the request hold a prompt in this form? */
static bool has_form(const json_t *m, prompt_form form)
{
    return form == FORM_IDS ? json_array_size(json_object_get(m, "prompt_ids")) > 0
                            : json_is_string(json_object_get(m, "prompt_text"));
}

/* The body of a completion request in the present form. an_free; NULL when out of memory. */
static char *completion_body(const driver *d, const json_t *m)
{
    const json_t *sampling = json_object_get(m, "sampling"), *temperature = json_object_get(sampling, "temperature");
    json_t *prompt = json_object_get(m, d->form == FORM_IDS ? "prompt_ids" : "prompt_text");
    json_t *body = json_pack("{s:s, s:O, s:I, s:f, s:b}", "model", d->model[0] ? d->model : "default", "prompt", prompt,
                             "max_tokens", json_integer_value(json_object_get(m, "n_predict")), "temperature",
                             json_number_value(temperature), "stream", 1);
    const json_t *seed = json_object_get(sampling, "seed"), *top_p = json_object_get(sampling, "top_p");
    if (json_is_integer(seed)) json_object_set(body, "seed", (json_t *)seed);
    if (json_is_number(top_p)) json_object_set(body, "top_p", (json_t *)top_p);
    if (d->form != FORM_TEXT_PLAIN) {
        json_object_set_new(body, "stream_options", json_pack("{s:b}", "include_usage", 1));
        /* llama-server keeps the last prompt's cache, which would make every repetition's prefill a look-up. */
        json_object_set_new(body, "cache_prompt", json_false());
    }
    an_str text = {0};
    if (an_json_write(body, JSON_COMPACT, &text, NULL) == ANEMO_OK) return an_str_take(&text);
    an_str_free(&text);
    return NULL;
}

/* One attempt in the present form. *code is the answer's. */
static anemo_status attempt(driver *d, const json_t *m, stream *s, uint64_t *start_ns, long *code, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_http_response r = {0};
    char *url = join_url(d, "/v1/completions"), *body = completion_body(d, m);
    if (!url || !body) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "generate: out of memory");
        goto cleanup;
    }
    const an_http_request request = {
        .url = url, .json_body = body, .on_bytes = on_bytes, .aborted = stream_aborted, .ctx = s};
    *start_ns = s->last_line_ns = an_clock_ns();
    status = an_http_perform(d->http, &request, &r, err);
    *code = r.code;
    if (status == ANEMO_ERR_INTERRUPTED && s->cancelled) status = ANEMO_OK;
    else if (status == ANEMO_OK && (r.code < 200 || r.code >= 300)) status = refused(&r, url, err);
    else if (status == ANEMO_OK && s->completion.n_chunk == 0 && !s->completion.done)
        status = an_fail(err, ANEMO_ERR_NET, "%s: the answer (%s) holds no event of a completion", url,
                         r.content_type[0] ? r.content_type : "no content type");
    else if (status == ANEMO_OK && !s->cancelled && !s->completion.done && !s->completion.finish[0])
        status = an_fail(err, ANEMO_ERR_NET, "%s: the connection ended after %zu pieces, before the completion did", url,
                         s->completion.n_chunk);
cleanup:
    an_str_free(&r.body);
    an_free(url);
    an_free(body);
    return status;
}

static json_t *make_notes(const driver *d, const json_t *m, const an_completion *c)
{
    json_t *notes = json_array();
    char text[200];
    const json_t *n_predict = json_object_get(m, "n_predict");
    size_t n = an_completion_n_token(c);
    json_array_append_new(notes, json_string(d->form == FORM_IDS ? "the server took token ids"
                                                                 : "the server was given text: its ids are not known"));
    if (c->n_usage >= 0 && (size_t)c->n_usage != c->n_chunk) {
        snprintf(text, sizeof text, "%lld tokens came in %zu pieces: times between tokens are estimates",
                 (long long)c->n_usage, c->n_chunk);
        json_array_append_new(notes, json_string(text));
    }
    if (c->n_usage < 0) json_array_append_new(notes, json_string("the server gave no token count: pieces were counted"));
    if ((json_int_t)n != json_integer_value(n_predict)) {
        snprintf(text, sizeof text, "the server stopped after %zu of %lld tokens", n,
                 (long long)json_integer_value(n_predict));
        json_array_append_new(notes, json_string(text));
    }
    if (c->n_cached > 0) {
        snprintf(text, sizeof text, "%lld prompt tokens came from the server's cache: prefill is not comparable",
                 (long long)c->n_cached);
        json_array_append_new(notes, json_string(text));
    }
    return notes;
}

static anemo_status serve_generate(driver *d, json_t *id, const json_t *m, anemo_error *err)
{
    stream s = {.d = d, .id = json_integer_value(id), .tokens = json_is_true(json_object_get(m, "stream"))};
    anemo_status status = ANEMO_ERR_NET;
    uint64_t start_ns = 0;
    json_t *ids, *times;
    if (!json_is_integer(json_object_get(m, "n_predict")))
        return an_fail(err, ANEMO_ERR_INVAL, "generate: \"n_predict\" is missing or not an integer");
    while (!has_form(m, d->form) && d->form + 1 < FORM_N) d->form++;
    if (!has_form(m, d->form))
        return an_fail(err, ANEMO_ERR_INVAL, "generate: there is no prompt in a form that this server could take");
    an_completion_init(&s.completion);
    for (bool again = true; again;) {
        long code = 0;
        status = attempt(d, m, &s, &start_ns, &code, err);
        /* 4xx and 5xx before any text: the form is not understood, or the server has a fault that another form avoids. */
        again = status != ANEMO_OK && code >= 400 && code != 401 && code != 403 && code != 429 && s.completion.n_chunk == 0 &&
                d->n_generate == 0 && d->form + 1 < FORM_N && has_form(m, d->form + 1);
        if (again) d->form++;
    }
    if (status != ANEMO_OK) goto cleanup;
    d->n_generate++;
    size_t n = an_completion_n_token(&s.completion);
    ids = json_array();
    times = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(ids, json_integer(-1));
        json_array_append_new(times, json_integer((json_int_t)an_completion_token_ns(&s.completion, i, n)));
    }
    const char *stop = s.cancelled ? "cancelled" : !strcmp(s.completion.finish, "stop") ? "eos" : "length";
    if (!send(d, json_pack("{s:s, s:O, s:o, s:I, s:o, s:s, s:o, s:o}", "type", "generated", "id", id, "token_ids", ids,
                           "t_start_ns", (json_int_t)start_ns, "t_tokens_ns", times, "stop_reason", stop, "text",
                           an_json_str(&s.completion.text), "notes",
                           make_notes(d, m, &s.completion))))
        d->input_ended = true;
cleanup:
    an_sse_free(&s.sse);
    an_completion_free(&s.completion);
    return status;
}

/* False when the worker shall end. */
static bool serve_line(driver *d, const char *line, size_t n)
{
    anemo_error err = {0};
    json_t *m = NULL;
    bool more = true;
    anemo_status status = an_json_parse(&m, line, n, "request", &err);
    const char *type = json_string_value(json_object_get(m, "type"));
    json_t *id = json_object_get(m, "id");
    if (!json_is_integer(id)) id = json_null();
    if (status == ANEMO_OK && !type)
        status = an_fail(&err, ANEMO_ERR_INVAL, "request: \"type\" is missing or not a string");
    else if (status == ANEMO_OK && !strcmp(type, "quit"))
        more = false;
    else if (status == ANEMO_OK && !strcmp(type, "cancel"))
        status = ANEMO_OK;
    else if (status == ANEMO_OK && json_is_null(id))
        status = an_fail(&err, ANEMO_ERR_INVAL, "%.40s: \"id\" is missing or not an integer", type);
    else if (status == ANEMO_OK && !strcmp(type, "load") && d->loaded)
        status = an_fail(&err, ANEMO_ERR_INVAL, "load: this worker has its model already; start another one");
    else if (status == ANEMO_OK && !strcmp(type, "load")) {
        status = serve_load(d, id, m, &err);
        d->loaded = status == ANEMO_OK;
    } else if (status == ANEMO_OK && !strcmp(type, "generate") && !d->loaded)
        status = an_fail(&err, ANEMO_ERR_INVAL, "generate: no model is loaded");
    else if (status == ANEMO_OK && !strcmp(type, "generate"))
        status = serve_generate(d, id, m, &err);
    else if (status == ANEMO_OK)
        status = an_fail(&err, ANEMO_ERR_UNSUPPORTED, "%.40s: a server behind a URL cannot do this", type);
    if (status != ANEMO_OK) more = send_error(d, id, &err);
    json_decref(m);
    return more;
}

static bool send_hello(driver *d)
{
    return send(d, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:n, s:[], s:{s:s, s:i}, s:{s:b, s:b, s:b, s:b, s:b, s:b}}", "type",
                             "hello", "protocol", "anemo.driver/1", "driver", "http", "driver_version", ANEMO_VERSION,
                             "engine", "http", "engine_version", "", "library", "formats", "clock", "kind", "monotonic",
                             "resolution_ns", 1, "capabilities", "logits", 0, "tokenize", 0, "stream", 1, "cancel", 1, "ids", 0,
                             "fixed_length", 0));
}

static anemo_status open_driver(driver *d, const char *url, anemo_error *err)
{
    const char *key = an_env("ANEMO_API_KEY");
    if (!an_str_starts_with(url, "http://") && !an_str_starts_with(url, "https://"))
        return an_fail(err, ANEMO_ERR_INVAL, "--url: '%s' is not an http:// or https:// address", url);
    d->base = an_strdup(url);
    if (!d->base) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    size_t n = strlen(d->base);
    while (n && d->base[n - 1] == '/') d->base[--n] = '\0';
    if (an_str_ends_with(d->base, "/v1")) d->base[n - 3] = '\0';
    return an_http_open(&d->http, key ? key : an_env("OPENAI_API_KEY"), err);
}

int an_http_driver_main(const char *url)
{
    anemo_error err = {0};
    const char *line;
    size_t n;
    driver d = {.fd = an_stdout_claim()};
    bool ok = d.fd >= 0 && open_driver(&d, url, &err) == ANEMO_OK;
    if (!ok)
        fprintf(stderr, "worker: %s\n", err.message[0] ? err.message : "stdout is closed");
    bool more = ok && send_hello(&d);
    while (more) {
        if (an_lines_next(&d.lines, &line, &n)) {
            more = serve_line(&d, line, n);
            continue;
        }
        if (d.input_ended) break;
        if (an_fd_readable(STDIN_FD, 3600000000000u)) read_input(&d);
    }
    an_http_close(d.http);
    an_lines_free(&d.lines);
    an_free(d.base);
    return ok ? 0 : anemo_status_exit_code(err.status ? err.status : ANEMO_ERR_IO);
}
