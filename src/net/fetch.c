/* Concurrent requests over curl's multi interface. */
#include "net/fetch.h"

#include "base/alloc.h"
#include "net/header.h"
#include "os/file.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What a server may say in front of a body. */
enum { HEAD_MAX_BYTES = 256 << 10, BUFFER_BYTES = 256 << 10, SLOW_BYTES_PER_S = 16 };

struct an_net {
    CURLM *multi;
};

struct an_call {
    an_net *net;
    CURL *easy;
    struct curl_slist *headers;
    an_call_request r;
    char *url;
    an_str head; /* header lines of the last answer, "name: value\n" */
    an_str body;
    bool added, done, head_given;
    CURLcode rc;
    anemo_status status; /* of a callback, or of our limits */
    anemo_error err;
};

anemo_status an_net_open(an_net **out, anemo_error *err)
{
    an_net *net = an_calloc(1, sizeof *net);
    if (net) net->multi = curl_multi_init();
    if (!net || !net->multi) {
        an_free(net);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    *out = net;
    return ANEMO_OK;
}

void an_net_close(an_net *net)
{
    if (!net) return;
    curl_multi_cleanup(net->multi);
    an_free(net);
}

static size_t on_header(char *bytes, size_t size, size_t n, void *ctx)
{
    an_call *c = ctx;
    size_t total = size * n, len = total;
    /* A status line begins an answer; those of before (100, a proxy's) are forgotten. */
    if (total >= 5 && memcmp(bytes, "HTTP/", 5) == 0) an_str_clear(&c->head);
    while (len > 0 && (bytes[len - 1] == '\r' || bytes[len - 1] == '\n'))
        len--;
    if (c->head.len + len + 1 > HEAD_MAX_BYTES) {
        c->status = an_fail(&c->err, ANEMO_ERR_NET, "the answer's headers are longer than %d bytes", HEAD_MAX_BYTES);
        return 0;
    }
    if (memchr(bytes, '\0', len)) return total;
    an_str_append_bytes(&c->head, bytes, len);
    an_str_append_char(&c->head, '\n');
    return c->head.failed ? 0 : total;
}

static anemo_status give_head(an_call *c)
{
    if (!c->head_given) {
        c->head_given = true;
        if (c->r.on_head && c->status == ANEMO_OK) c->status = c->r.on_head(c->r.ctx, c, &c->err);
    }
    return c->status;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    an_call *c = ctx;
    size_t total = size * n;
    if (give_head(c) != ANEMO_OK) return total ? 0 : 1;
    if (c->r.on_bytes) {
        c->status = c->r.on_bytes(c->r.ctx, c, bytes, total, &c->err);
    } else if (c->body.len + total > c->r.body_max) {
        c->status =
            an_fail(&c->err, ANEMO_ERR_NET, "the answer is longer than the limit of %" PRIu64 " bytes", c->r.body_max);
    } else {
        an_str_append_bytes(&c->body, bytes, total);
        c->status = an_str_check(&c->body, &c->err);
    }
    return c->status == ANEMO_OK ? total : 0;
}

static void add_header(an_call *c, const char *text)
{
    struct curl_slist *more = curl_slist_append(c->headers, text);
    if (more)
        c->headers = more;
    else
        c->status = an_fail(&c->err, ANEMO_ERR_NOMEM, "out of memory");
}

static void set_options(an_call *c)
{
    const an_call_request *r = &c->r;
    char range[64];
    curl_easy_setopt(c->easy, CURLOPT_URL, c->url);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(c->easy, CURLOPT_USERAGENT, "anemo/" ANEMO_VERSION);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_FOLLOWLOCATION, 0L);
    /* Ranges of one file are asked for on several connections, which HTTP/2 would put onto one. */
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT, (long)(r->connect_timeout_s ? r->connect_timeout_s : 10));
    curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES_PER_S);
    curl_easy_setopt(c->easy, CURLOPT_LOW_SPEED_TIME, (long)(r->idle_timeout_s ? r->idle_timeout_s : 10));
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT, (long)r->total_timeout_s);
    curl_easy_setopt(c->easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
    curl_easy_setopt(c->easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->easy, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    if (r->head) curl_easy_setopt(c->easy, CURLOPT_NOBODY, 1L);
    if (r->ranged) {
        snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, r->first, r->last);
        curl_easy_setopt(c->easy, CURLOPT_RANGE, range);
    }
    /* Where the users of Python's clients keep the certificates of their own authority. */
    const char *ca = an_env("SSL_CERT_FILE");
    if (!ca) ca = an_env("REQUESTS_CA_BUNDLE");
    if (ca) curl_easy_setopt(c->easy, CURLOPT_CAINFO, ca);
}

anemo_status an_call_begin(an_call **out, an_net *net, const an_call_request *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str auth = {0};
    an_call *c = NULL;
    if (strncasecmp(r->url, "http://", 7) != 0 && strncasecmp(r->url, "https://", 8) != 0)
        return an_fail(err, ANEMO_ERR_INVAL, "'%.200s' is not an http:// or https:// URL", r->url);
    c = an_calloc(1, sizeof *c);
    if (!c) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    c->net = net;
    c->r = *r;
    c->r.url = c->r.bearer = NULL;
    c->url = an_strdup(r->url);
    c->easy = curl_easy_init();
    /* Lengths, ranges and checksums are those of the file and not of a compressed form. */
    add_header(c, "Accept-Encoding: identity");
    if (r->bearer) {
        an_str_appendf(&auth, "Authorization: Bearer %s", r->bearer);
        add_header(c, an_str_text(&auth));
    }
    if (!c->easy || !c->url || auth.failed || c->status != ANEMO_OK) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    set_options(c);
    if (curl_multi_add_handle(net->multi, c->easy) != CURLM_OK) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    c->added = true;
    *out = c;
    c = NULL;
cleanup:
    an_str_free(&auth);
    an_call_end(c);
    return status;
}

void an_call_end(an_call *c)
{
    if (!c) return;
    if (c->added) curl_multi_remove_handle(c->net->multi, c->easy);
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    an_str_free(&c->head);
    an_str_free(&c->body);
    an_free(c->url);
    an_free(c);
}

anemo_status an_net_poll(an_net *net, int timeout_ms, anemo_error *err)
{
    int running = 0, left;
    CURLMcode rc = curl_multi_perform(net->multi, &running);
    CURLMsg *m = curl_multi_info_read(net->multi, &left);
    if (rc == CURLM_OK && !m && running) {
        rc = curl_multi_poll(net->multi, NULL, 0, timeout_ms, NULL);
        /* A signal ends the wait, which is the point of it. */
        if (rc != CURLM_OUT_OF_MEMORY) rc = curl_multi_perform(net->multi, &running);
        m = curl_multi_info_read(net->multi, &left);
    }
    if (rc != CURLM_OK) return an_fail(err, ANEMO_ERR_NOMEM, "network: %s", curl_multi_strerror(rc));
    for (; m; m = curl_multi_info_read(net->multi, &left)) {
        char *private = NULL;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode result = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private);
        an_call *c = (an_call *)(void *)private;
        c->done = true;
        c->rc = result;
        /* An answer without a body, unless no answer came at all. */
        if (an_call_code(c) != 0 && (result == CURLE_OK || result == CURLE_PARTIAL_FILE)) (void)give_head(c);
    }
    return ANEMO_OK;
}

bool an_call_done(const an_call *c)
{
    return c->done;
}

anemo_status an_call_result(const an_call *c, bool *no_connection, anemo_error *err)
{
    if (no_connection)
        *no_connection =
            c->status == ANEMO_OK && (c->rc == CURLE_COULDNT_CONNECT || c->rc == CURLE_COULDNT_RESOLVE_HOST ||
                                      c->rc == CURLE_COULDNT_RESOLVE_PROXY);
    char *shown = an_url_for_message(c->url);
    anemo_status status = c->status;
    if (status != ANEMO_OK) {
        if (err) *err = c->err;
        if (status == ANEMO_ERR_NET) an_fail_prefix(err, status, "%s", shown ? shown : "URL");
    } else if (c->head.failed) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    } else if (c->rc != CURLE_OK) {
        status = an_fail(err, c->rc == CURLE_OUT_OF_MEMORY ? ANEMO_ERR_NOMEM : ANEMO_ERR_NET, "%s: %s",
                         shown ? shown : "URL", curl_easy_strerror(c->rc));
    }
    an_free(shown);
    return status;
}

long an_call_code(const an_call *c)
{
    long code = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &code);
    return code;
}

int64_t an_call_length(const an_call *c)
{
    curl_off_t n = -1;
    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &n);
    return (int64_t)n;
}

const char *an_call_url(const an_call *c)
{
    return c->url;
}

an_str *an_call_body(an_call *c)
{
    return &c->body;
}

const char *an_call_header(const an_call *c, const char *name, char *out, size_t cap)
{
    size_t n_name = strlen(name);
    for (const char *line = an_str_text(&c->head); *line;) {
        size_t n = strcspn(line, "\n");
        if (n > n_name && line[n_name] == ':' && strncasecmp(line, name, n_name) == 0) {
            const char *value = line + n_name + 1, *end = line + n;
            while (value < end && (*value == ' ' || *value == '\t'))
                value++;
            while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
                end--;
            if ((size_t)(end - value) >= cap) return NULL;
            memcpy(out, value, (size_t)(end - value));
            out[end - value] = '\0';
            return out;
        }
        line += n + (line[n] == '\n');
    }
    return NULL;
}

anemo_status an_call_perform(an_call **out, an_net *net, const an_call_request *r, const volatile int *stop,
                             bool *no_connection, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (no_connection) *no_connection = false;
    *out = NULL;
    AN_TRY(an_call_begin(out, net, r, err));
    while (!an_call_done(*out)) {
        if (stop && *stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted");
        AN_TRY(an_net_poll(net, 200, err));
    }
    status = an_call_result(*out, no_connection, err);
cleanup:
    return status;
}
