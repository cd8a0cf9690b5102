/*
 * An HTTP client over libcurl: one connection kept open, limits on everything, no redirects followed (a key must not
 * travel to another host; the answer names the new place instead).
 */
#ifndef AN_NET_HTTP_H
#define AN_NET_HTTP_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_http an_http;

/* Gives *out: an_http_close. `bearer` (or NULL) is sent as Authorization with every request; it is copied. */
ANEMO_MUST_CHECK anemo_status an_http_open(an_http **out, const char *bearer, anemo_error *err);
void an_http_close(an_http *h);

typedef struct an_http_request {
    const char *url;       /* http:// or https:// */
    const char *json_body; /* POST when set, else GET */
    uint64_t idle_timeout_s; /* no byte for this long is a failure; 0 = 600 */
    /*
     * Body bytes of a 2xx answer as they come; a status other than OK aborts with it. NULL: they are collected in
     * `body` of the response. Bodies of other answers are always collected.
     */
    anemo_status (*on_bytes)(void *ctx, const char *bytes, size_t n, anemo_error *err);
    /* Called at least once a second; true aborts with ERR_INTERRUPTED. May be NULL. */
    bool (*aborted)(void *ctx);
    void *ctx;
} an_http_request;

enum { AN_HTTP_BODY_MAX_BYTES = 16 << 20 };

typedef struct an_http_response {
    long code;
    char content_type[128];
    char location[512]; /* of a redirect */
    an_str body;        /* collected; an_str_free */
} an_http_response;

/*
 * Perform it. Any complete HTTP answer is success here, whatever its code. ERR_NET: no connection, cut off, idle too long, a
 * body over the limit; ERR_INVAL: a URL of another scheme.
 */
ANEMO_MUST_CHECK anemo_status an_http_perform(an_http *h, const an_http_request *r, an_http_response *out,
                                              anemo_error *err);

#endif
