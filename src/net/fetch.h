/*
 * Several HTTP requests at a time over one set of kept connections. Nothing is decided here: redirects, retries and
 * what a code means are the caller's (src/hub), so that a token never travels by itself.
 */
#ifndef AN_NET_FETCH_H
#define AN_NET_FETCH_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_net an_net;
typedef struct an_call an_call;

typedef struct an_call_request {
    const char *url;    /* http:// or https://; copied */
    bool head;          /* HEAD instead of GET */
    const char *bearer; /* sent as Authorization when set; copied */
    bool ranged;        /* ask for bytes first..last */
    uint64_t first, last;
    uint64_t connect_timeout_s; /* 0 = 10 */
    uint64_t idle_timeout_s;    /* fewer than 16 bytes a second for this long is a failure; 0 = 10 */
    uint64_t total_timeout_s;   /* the whole answer; 0 = none */
    uint64_t body_max;          /* collected bytes at most */
    /*
     * Called once when the headers are complete, before any byte of the body; a status other than OK ends the call with
     * it. May be NULL.
     */
    anemo_status (*on_head)(void *ctx, an_call *call, anemo_error *err);
    /* Body bytes as they come; NULL: they are collected. A status other than OK ends the call with it. */
    anemo_status (*on_bytes)(void *ctx, an_call *call, const char *bytes, size_t n, anemo_error *err);
    void *ctx;
} an_call_request;

/* Gives *out: an_net_close, after every call was ended. */
ANEMO_MUST_CHECK anemo_status an_net_open(an_net **out, anemo_error *err);
void an_net_close(an_net *net);

/* Begin a request; it moves in an_net_poll. Gives *out: an_call_end. ERR_INVAL for a URL of another scheme. */
ANEMO_MUST_CHECK anemo_status an_call_begin(an_call **out, an_net *net, const an_call_request *r, anemo_error *err);
void an_call_end(an_call *call); /* also in the middle; NULL is fine */

/* Move all calls; returns after something happened, a signal or timeout_ms. */
ANEMO_MUST_CHECK anemo_status an_net_poll(an_net *net, int timeout_ms, anemo_error *err);

bool an_call_done(const an_call *call);

/*
 * Of a call that is done: OK for any complete answer, whatever its code. ERR_NET: no connection (*no_connection, which
 * may be NULL), cut off, too slow, a body over body_max; else what a callback returned.
 */
ANEMO_MUST_CHECK anemo_status an_call_result(const an_call *call, bool *no_connection, anemo_error *err);

long an_call_code(const an_call *call);      /* 0 before the headers are complete */
int64_t an_call_length(const an_call *call); /* Content-Length; -1 when there is none */
const char *an_call_url(const an_call *call);
an_str *an_call_body(an_call *call); /* collected */

/* Value of a header of the answer, without spaces around it, or NULL. Copied to out; longer ones are absent. */
const char *an_call_header(const an_call *call, const char *name, char *out, size_t cap);

/* Begin one, poll until it is done. `stop` (or NULL) turning non-zero ends it with ERR_INTERRUPTED; end *out in any
 * case. */
ANEMO_MUST_CHECK anemo_status an_call_perform(an_call **out, an_net *net, const an_call_request *r,
                                              const volatile int *stop, bool *no_connection, anemo_error *err);

#endif
