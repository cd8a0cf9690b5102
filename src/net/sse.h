/*
 * Server-sent events, read from a byte stream that may be cut anywhere (WHATWG HTML, 9.2). Only the data of events
 * matters to us: names, ids, retry times and comments are passed over. Lines end with LF, CRLF or CR.
 */
#ifndef AN_NET_SSE_H
#define AN_NET_SSE_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum { AN_SSE_EVENT_MAX_BYTES = 8 << 20 };

typedef struct an_sse {
    an_str line; /* the unfinished line */
    an_str data; /* the unfinished event's data lines, joined by LF */
    bool has_data, after_cr, started;
} an_sse;

/* Called with the data of a finished event (NUL-terminated, n bytes). A status other than OK ends the feed with it. */
typedef anemo_status (*an_sse_event)(void *ctx, const char *data, size_t n, anemo_error *err);

/* Zero-initialise `s`; free with an_sse_free. ERR_FORMAT when a line or event grows past the limit; ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_sse_feed(an_sse *s, const char *bytes, size_t n, an_sse_event event, void *ctx,
                                          anemo_error *err);
void an_sse_free(an_sse *s);

#endif
