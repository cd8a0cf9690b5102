/* Requests to the hub's API: retries, redirects, and what refusals mean. */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "hub/reference.h"
#include "net/header.h"
#include "os/clock.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void an_hub_note(an_hub *h, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (!h->o->note) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    h->o->note(h->o->ctx, text);
}

bool an_hub_stopped(const an_hub *h)
{
    return h->o->stop && *h->o->stop;
}

void an_hub_show(an_hub *h, bool force)
{
    uint64_t now = an_clock_ns();
    if (!h->o->progress || h->settings.no_progress || (!force && now - h->shown_ns < 100000000u)) return;
    h->shown_ns = now;
    h->o->progress(h->o->ctx, &h->progress);
}

anemo_status an_hub_sleep(an_hub *h, uint64_t ms, anemo_error *err)
{
    uint64_t end = an_clock_ns() + ms * 1000000u;
    for (;;) {
        uint64_t now = an_clock_ns();
        if (an_hub_stopped(h))
            return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; the same command goes on later");
        if (now >= end) return ANEMO_OK;
        uint64_t left = end - now;
        an_clock_sleep_ns(left < 50000000u ? left : 50000000u);
    }
}

bool an_hub_code_is_passing(long code)
{
    return code == 408 || code == 429 || code == 500 || code == 502 || code == 503 || code == 504;
}

/* Seconds that the server asks for; -1 for none. */
static int64_t asked_wait(const an_call *call)
{
    char value[256];
    int64_t s = -1;
    if (!call || an_call_code(call) == 0) return -1;
    if (an_call_header(call, "Retry-After", value, sizeof value))
        s = an_retry_after_parse(value, (int64_t)(an_clock_realtime_ns() / 1000000000u));
    if (s < 0 && an_call_header(call, "RateLimit", value, sizeof value)) s = an_rate_limit_parse(value);
    return s;
}

anemo_status an_hub_delay(an_hub *h, int attempt, const an_call *call, uint64_t *ms, anemo_error *err)
{
    int64_t asked = asked_wait(call);
    int doublings = attempt < 1 ? 0 : attempt > 4 ? 3 : attempt - 1;
    *ms = h->settings.retry_ms << doublings;
    if (asked < 0) return ANEMO_OK;
    *ms = (uint64_t)asked * 1000;
    h->waited_ms += *ms;
    if (h->waited_ms > AN_HUB_WAIT_MAX_S * 1000u)
        return an_fail(err, ANEMO_ERR_NET,
                       "%s answered %ld and asks to wait %" PRId64 " s, which is too long; try again later%s",
                       h->settings.endpoint, an_call_code(call), asked,
                       h->settings.token ? "" : " (with HF_TOKEN the limits are wider)");
    if (asked > 0)
        an_hub_note(h, "the hub answered %ld and asks to wait; going on in %" PRId64 " s", an_call_code(call), asked);
    return ANEMO_OK;
}

const char *an_hub_token_for(const an_hub *h, const char *url)
{
    return h->settings.token && an_url_same_origin(url, h->settings.endpoint) ? h->settings.token : NULL;
}

static bool is_redirect(long code)
{
    return code == 301 || code == 302 || code == 303 || code == 307 || code == 308;
}

char *an_hub_redirect(const an_call *call, const char *from, anemo_error *err)
{
    char *location = an_malloc(16384), *to = NULL, *shown = an_url_for_message(from);
    if (!location || !shown) {
        an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    } else if (!an_call_header(call, "Location", location, 16384)) {
        an_fail(err, ANEMO_ERR_NET, "%s: answered %ld without a usable Location", shown, an_call_code(call));
    } else {
        to = an_url_join(from, location);
        if (!to)
            an_fail(err, ANEMO_ERR_NET, "%s: redirected to '%.80s', which is no http or https URL; not followed", shown,
                    location);
        else if (an_url_is_https(from) && !an_url_is_https(to)) {
            an_fail(err, ANEMO_ERR_NET, "%s: redirected from https to plain http; not followed", shown);
            an_free(to);
            to = NULL;
        }
    }
    an_free(location);
    an_free(shown);
    return to;
}

/* ------------------------------------------------------------------------------------------------- refusals */

/* Of a 401, 403 or 404. `code` is the hub's own word for it. */
static anemo_status fail_access(an_hub *h, const an_call *call, const char *code, const char *file, anemo_error *err)
{
    const char *endpoint = h->settings.endpoint,
               *have = h->settings.token ? "the token that was sent has no access to it" : "no token was sent";
    char shown[200], message[300];
    if (strcmp(code, "GatedRepo") == 0)
        return an_fail(err, ANEMO_ERR_NET,
                       "%s is gated: accept its licence at %s/%s, then set HF_TOKEN to a token of that account (%s)",
                       h->repo, endpoint, h->repo, have);
    if (strcmp(code, "RevisionNotFound") == 0)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s has no revision '%s'; %s/%s/tree/main shows what there is", h->repo,
                       h->revision, endpoint, h->repo);
    if (strcmp(code, "EntryNotFound") == 0 || (file && an_call_code(call) == 404))
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s has no file '%s' at revision %s", h->repo,
                       an_name_for_message(file ? file : "?", shown, sizeof shown), h->revision);
    if (an_call_code(call) == 403 && an_call_header(call, "X-Error-Message", message, sizeof message))
        return an_fail(err, ANEMO_ERR_NET, "%s: the hub refuses access (403): %s; check HF_TOKEN (%s)", h->repo,
                       an_name_for_message(message, shown, sizeof shown), have);
    if (an_call_code(call) == 403)
        return an_fail(err, ANEMO_ERR_NET,
                       "%s: the hub refuses access (403); check HF_TOKEN (%s) or accept the licence at %s/%s", h->repo,
                       have, endpoint, h->repo);
    if (an_call_code(call) == 401 && strcmp(code, "RepoNotFound") != 0 && h->settings.token)
        return an_fail(err, ANEMO_ERR_NET, "%s: the hub does not take the token (401); check HF_TOKEN", h->repo);
    return an_fail(
        err, an_call_code(call) == 401 && strcmp(code, "RepoNotFound") != 0 ? ANEMO_ERR_NET : ANEMO_ERR_NOTFOUND,
        "%s: not found, or private and not yours (the hub does not say which); check the name, or set HF_TOKEN (%s)",
        h->repo, have);
}

anemo_status an_hub_refused(an_hub *h, an_call *call, const char *file, anemo_error *err)
{
    char word[64] = "", message[300], shown[300];
    long code = an_call_code(call);
    if (!an_call_header(call, "X-Error-Code", word, sizeof word)) word[0] = '\0';
    if (code == 401 || code == 403 || code == 404) return fail_access(h, call, word, file, err);
    h->down = an_hub_code_is_passing(code);
    char *url = an_url_for_message(an_call_url(call));
    bool said = an_call_header(call, "X-Error-Message", message, sizeof message) != NULL;
    anemo_status status =
        an_fail(err, ANEMO_ERR_NET, "%s: the server answered %ld%s%s%s%s", url ? url : h->settings.endpoint, code,
                said ? ": " : "", said ? an_name_for_message(message, shown, sizeof shown) : "",
                an_hub_code_is_passing(code) ? " again and again; try later" : "",
                code == 429 && !h->settings.token ? " (with HF_TOKEN the limits are wider)" : "");
    an_free(url);
    return status;
}

/* ------------------------------------------------------------------------------------------------- attempts */

/* One request, tried again while failures may pass. Gives *call with an answer that will not change by waiting. */
static anemo_status attempt(an_hub *h, const an_call_request *r, an_call **call, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t ms;
    for (int failures = 0;;) {
        bool no_connection = false;
        status = an_call_perform(call, h->net, r, h->o->stop, &no_connection, err);
        long code = *call ? an_call_code(*call) : 0;
        if (status == ANEMO_OK) h->reached = true;
        if (status != ANEMO_OK && status != ANEMO_ERR_NET) return status;
        if (status == ANEMO_OK && !an_hub_code_is_passing(code)) return ANEMO_OK;
        h->down = true;
        failures++;
        /* Nobody waits half a minute to hear that there is no network. */
        if (no_connection && !h->reached)
            return an_fail_prefix(err, status,
                                  "the hub cannot be reached (is there a network? HF_ENDPOINT names a mirror)");
        /* Nor a minute where packets are lost without a word. */
        int most = h->reached ? AN_HUB_RETRIES : 2;
        if (failures > most)
            return status == ANEMO_OK ? ANEMO_OK : an_fail_prefix(err, status, "gave up after %d attempts", failures);
        AN_TRY(an_hub_delay(h, failures, status == ANEMO_OK ? *call : NULL, &ms, err));
        an_call_end(*call);
        *call = NULL;
        AN_TRY(an_hub_sleep(h, ms, err));
    }
cleanup:
    return status;
}

/* Does the answer look like a page for people? */
static bool is_page(an_call *call)
{
    char type[128];
    const char *body = an_str_text(an_call_body(call));
    body += strspn(body, " \r\n\t");
    return *body == '<' ||
           (an_call_header(call, "Content-Type", type, sizeof type) && an_str_starts_with(type, "text/html"));
}

/* "org/name" that an API path is about, for the note on renamed repositories. */
static void repo_of_url(const char *url, char out[128])
{
    const char *p = strstr(url, "/api/models/");
    out[0] = '\0';
    if (!p) return;
    p += strlen("/api/models/");
    size_t n = strcspn(p, "/?");
    if (p[n] == '/') n += 1 + strcspn(p + n + 1, "/?");
    if (n < 128) {
        memcpy(out, p, n);
        out[n] = '\0';
    }
}

anemo_status an_hub_get_json(an_hub *h, const char *url, an_call **call, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *at = an_strdup(url), encoding[64], after_text[64];
    *call = NULL;
    for (int redirects = 0; at; redirects++) {
        char before[128], after[128];
        const an_call_request r = {.url = at,
                                   .bearer = an_hub_token_for(h, at),
                                   .connect_timeout_s = h->settings.etag_timeout_s,
                                   .idle_timeout_s = h->settings.etag_timeout_s,
                                   .total_timeout_s = h->settings.etag_timeout_s * 6,
                                   .body_max = AN_LISTING_MAX_BYTES};
        AN_TRY(attempt(h, &r, call, err));
        if (!is_redirect(an_call_code(*call))) break;
        char *to = an_hub_redirect(*call, at, err);
        if (!to) {
            status = err ? err->status : ANEMO_ERR_NET;
            goto cleanup;
        }
        repo_of_url(at, before);
        repo_of_url(to, after);
        bool same = an_url_same_origin(at, to);
        an_free(at);
        at = to;
        an_call_end(*call);
        *call = NULL;
        if (!same || redirects >= AN_HUB_REDIRECTS) {
            char *shown = an_url_for_message(url), *target = an_url_for_message(at);
            status =
                an_fail(err, ANEMO_ERR_NET, "%s: %s%s; not followed", shown,
                        same ? "redirected too often" : "redirected to another host, ", same || !target ? "" : target);
            an_free(shown);
            an_free(target);
            goto cleanup;
        }
        if (strcmp(before, after) != 0 && an_repo_id_valid(after))
            an_hub_note(h, "%s was renamed: it is %s now", h->repo, after);
    }
    if (!at) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (an_call_code(*call) >= 300) {
        status = an_hub_refused(h, *call, NULL, err);
    } else if (an_call_header(*call, "Content-Encoding", encoding, sizeof encoding) &&
               strcmp(encoding, "identity") != 0) {
        status = an_fail(err, ANEMO_ERR_NET,
                         "%s: the answer is compressed (%s), which was not asked for; is there a proxy between?", at,
                         an_name_for_message(encoding, after_text, sizeof after_text));
    } else if (is_page(*call)) {
        status = an_fail(
            err, ANEMO_ERR_NET,
            "%s: the answer is a web page and not JSON; does the network ask for a login, or is HF_ENDPOINT wrong?",
            at);
    }
cleanup:
    an_free(at);
    return status;
}

/* ------------------------------------------------------------------------------------------------- files */

char *an_hub_resolve_url(const an_hub *h, const char *commit, const char *path)
{
    an_str s = {0};
    an_str_appendf(&s, "%s/%s/resolve/", h->settings.endpoint, h->repo);
    an_url_escape(&s, commit, false);
    an_str_append_char(&s, '/');
    an_url_escape(&s, path, true);
    return an_str_take(&s);
}

static void read_meta(const an_call *call, an_hub_meta *m)
{
    char value[256];
    uint64_t n;
    if (an_call_header(call, "X-Repo-Commit", value, sizeof value) && an_commit_valid(value))
        memcpy(m->commit, value, 41);
    if (an_call_header(call, "X-Linked-Etag", value, sizeof value) ||
        (!m->etag[0] && an_call_header(call, "ETag", value, sizeof value)))
        an_etag_parse(value, m->etag, sizeof m->etag);
    if (an_call_header(call, "X-Linked-Size", value, sizeof value) && an_parse_u64(value, &n)) {
        m->bytes = n;
        m->has_bytes = true;
    } else if (!is_redirect(an_call_code(call)) && an_call_length(call) >= 0) {
        m->bytes = (uint64_t)an_call_length(call);
        m->has_bytes = true;
    }
}

anemo_status an_hub_head(an_hub *h, const char *url, const char *file, an_hub_meta *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_call *call = NULL;
    char *at = an_strdup(url), value[256];
    *out = (an_hub_meta){0};
    for (int redirects = 0; at; redirects++) {
        const an_call_request r = {.url = at,
                                   .head = true,
                                   .bearer = an_hub_token_for(h, at),
                                   .connect_timeout_s = h->settings.etag_timeout_s,
                                   .idle_timeout_s = h->settings.etag_timeout_s,
                                   .total_timeout_s = h->settings.etag_timeout_s};
        AN_TRY(attempt(h, &r, &call, err));
        if (an_call_code(call) >= 400) {
            status = an_hub_refused(h, call, file, err);
            goto cleanup;
        }
        bool redirected = is_redirect(an_call_code(call));
        bool linked = an_call_header(call, "X-Linked-Etag", value, sizeof value) != NULL;
        char *to = redirected ? an_hub_redirect(call, at, err) : NULL;
        if (redirected && !to) {
            status = err ? err->status : ANEMO_ERR_NET;
            goto cleanup;
        }
        /* On the hub itself only the last answer tells of the file, unless it says that the file is linked. */
        bool same = to && an_url_same_origin(at, to);
        if (!redirected || linked || !same) read_meta(call, out);
        if (redirected) {
            an_free(at);
            at = to;
        }
        if (!redirected || (out->etag[0] && (linked || !same))) break;
        if (redirects >= AN_HUB_REDIRECTS) {
            status = an_fail(err, ANEMO_ERR_NET, "%s: '%s': redirected too often", h->repo, file);
            goto cleanup;
        }
        an_call_end(call);
        call = NULL;
    }
    if (!at) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (!out->etag[0]) {
        status =
            an_fail(err, ANEMO_ERR_NET, "%s: '%s': the server gives no ETag to name the file by; is HF_ENDPOINT a hub?",
                    h->repo, file);
        goto cleanup;
    }
    out->location = at;
    at = NULL;
cleanup:
    an_call_end(call);
    an_free(at);
    return status;
}
