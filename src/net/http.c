/* The HTTP client. */
#include "net/http.h"

#include "base/alloc.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

struct an_http {
    CURL *curl;
    struct curl_slist *headers;
};

typedef struct transfer {
    an_http *h;
    const an_http_request *r;
    an_http_response *out;
    anemo_status status; /* of the callbacks */
    anemo_error err;
} transfer;

anemo_status an_http_open(an_http **out, const char *bearer, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str auth = {0};
    an_http *h = an_calloc(1, sizeof *h);
    if (!h) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    h->curl = curl_easy_init();
    h->headers = curl_slist_append(h->headers, "Content-Type: application/json");
    /* Waiting for "100 Continue" would delay the body, and with it the first token. */
    h->headers = curl_slist_append(h->headers, "Expect:");
    if (bearer) {
        an_str_appendf(&auth, "Authorization: Bearer %s", bearer);
        h->headers = curl_slist_append(h->headers, an_str_text(&auth));
    }
    if (!h->curl || !h->headers || auth.failed) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    *out = h;
    h = NULL;
cleanup:
    an_str_free(&auth);
    an_http_close(h);
    return status;
}

void an_http_close(an_http *h)
{
    if (!h) return;
    curl_easy_cleanup(h->curl);
    curl_slist_free_all(h->headers);
    an_free(h);
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx)
{
    transfer *t = ctx;
    long code = 0;
    size_t total = size * n;
    curl_easy_getinfo(t->h->curl, CURLINFO_RESPONSE_CODE, &code);
    if (t->r->on_bytes && code >= 200 && code < 300) {
        t->status = t->r->on_bytes(t->r->ctx, bytes, total, &t->err);
    } else if (t->out->body.len + total > AN_HTTP_BODY_MAX_BYTES) {
        t->status = an_fail(&t->err, ANEMO_ERR_NET, "%s: the answer is longer than %d bytes", t->r->url,
                            AN_HTTP_BODY_MAX_BYTES);
    } else {
        an_str_append_bytes(&t->out->body, bytes, total);
        t->status = an_str_check(&t->out->body, &t->err);
    }
    return t->status == ANEMO_OK ? total : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    transfer *t = ctx;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    if (!t->r->aborted || !t->r->aborted(t->r->ctx)) return 0;
    t->status = an_fail(&t->err, ANEMO_ERR_INTERRUPTED, "%s: cancelled", t->r->url);
    return 1;
}

static void copy_info(an_http *h, CURLINFO what, char *out, size_t cap)
{
    char *text = NULL;
    if (curl_easy_getinfo(h->curl, what, &text) == CURLE_OK && text) snprintf(out, cap, "%s", text);
}

anemo_status an_http_perform(an_http *h, const an_http_request *r, an_http_response *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *out = (an_http_response){0};
    transfer t = {.h = h, .r = r, .out = out};
    if (!an_str_starts_with(r->url, "http://") && !an_str_starts_with(r->url, "https://"))
        return an_fail(err, ANEMO_ERR_INVAL, "'%s' is not an http:// or https:// URL", r->url);
    curl_easy_reset(h->curl);
    curl_easy_setopt(h->curl, CURLOPT_URL, r->url);
    curl_easy_setopt(h->curl, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(h->curl, CURLOPT_USERAGENT, "anemo/" ANEMO_VERSION);
    curl_easy_setopt(h->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(h->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(h->curl, CURLOPT_CONNECTTIMEOUT, 10L);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(h->curl, CURLOPT_LOW_SPEED_TIME, (long)(r->idle_timeout_s ? r->idle_timeout_s : 600));
    curl_easy_setopt(h->curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(h->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(h->curl, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(h->curl, CURLOPT_XFERINFODATA, &t);
    curl_easy_setopt(h->curl, CURLOPT_NOPROGRESS, 0L);
    if (r->json_body) {
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDS, r->json_body);
        curl_easy_setopt(h->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(r->json_body));
    }
    CURLcode rc = curl_easy_perform(h->curl);
    if (t.status != ANEMO_OK) {
        if (err) *err = t.err;
        status = t.status;
    } else if (rc != CURLE_OK)
        status = an_fail(err, ANEMO_ERR_NET, "%s: %s; is the server running there?", r->url, curl_easy_strerror(rc));
    curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &out->code);
    copy_info(h, CURLINFO_CONTENT_TYPE, out->content_type, sizeof out->content_type);
    copy_info(h, CURLINFO_REDIRECT_URL, out->location, sizeof out->location);
    if (status != ANEMO_OK) an_str_free(&out->body);
    return status;
}
