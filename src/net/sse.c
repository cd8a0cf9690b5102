/* The event stream's line machine. */
#include "net/sse.h"

#include <string.h>

static anemo_status end_line(an_sse *s, an_sse_event event, void *ctx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *line = an_str_text(&s->line);
    size_t n = s->line.len;
    /* A byte order mark may stand before the first line. */
    if (!s->started && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) {
        line += 3;
        n -= 3;
    }
    s->started = true;
    if (n == 0) {
        if (s->has_data) status = event(ctx, an_str_text(&s->data), s->data.len, err);
        an_str_clear(&s->data);
        s->has_data = false;
    } else if (n >= 4 && memcmp(line, "data", 4) == 0 && (n == 4 || line[4] == ':')) {
        size_t skip = n == 4 ? 4 : n > 5 && line[5] == ' ' ? 6 : 5;
        if (s->data.len + n > AN_SSE_EVENT_MAX_BYTES)
            return an_fail(err, ANEMO_ERR_FORMAT, "event stream: an event is longer than %d bytes",
                           AN_SSE_EVENT_MAX_BYTES);
        if (s->has_data) an_str_append_char(&s->data, '\n');
        an_str_append_bytes(&s->data, line + skip, n - skip);
        s->has_data = true;
    }
    an_str_clear(&s->line);
    return status;
}

anemo_status an_sse_feed(an_sse *s, const char *bytes, size_t n, an_sse_event event, void *ctx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < n;) {
        if (s->after_cr && bytes[i] == '\n') {
            s->after_cr = false;
            i++;
            continue;
        }
        s->after_cr = false;
        size_t run = i;
        while (run < n && bytes[run] != '\n' && bytes[run] != '\r') run++;
        if (s->line.len + (run - i) > AN_SSE_EVENT_MAX_BYTES) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "event stream: a line is longer than %d bytes",
                             AN_SSE_EVENT_MAX_BYTES);
            goto cleanup;
        }
        an_str_append_bytes(&s->line, bytes + i, run - i);
        i = run;
        if (i == n) break;
        s->after_cr = bytes[i] == '\r';
        i++;
        AN_TRY(end_line(s, event, ctx, err));
    }
    AN_TRY(an_str_check(&s->line, err));
    AN_TRY(an_str_check(&s->data, err));
cleanup:
    return status;
}

void an_sse_free(an_sse *s)
{
    an_str_free(&s->line);
    an_str_free(&s->data);
    *s = (an_sse){0};
}
