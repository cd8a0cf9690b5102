/* Lines of the driver protocol: cutting them out of a stream and writing them. */
#include "drivers/lines.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/process.h"

#include <stdlib.h>
#include <string.h>

anemo_status an_lines_put(an_lines *l, const char *bytes, size_t n, anemo_error *err)
{
    if (l->begin > 0 && l->begin >= l->len / 2) {
        memmove(l->data, l->data + l->begin, l->len - l->begin);
        l->scanned -= l->begin;
        l->len -= l->begin;
        l->begin = 0;
    }
    if (n > l->cap - l->len) {
        size_t cap = l->cap ? l->cap : 4096;
        while (cap - l->len < n)
            cap *= 2;
        char *data = an_realloc(l->data, cap);
        if (!data)
            return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for a line of %zu bytes", cap);
        l->data = data;
        l->cap = cap;
    }
    memcpy(l->data + l->len, bytes, n);
    l->len += n;
    const char *end = memchr(l->data + l->scanned, '\n', l->len - l->scanned);
    l->scanned = end ? (size_t)(end - l->data) : l->len;
    if (l->scanned - l->begin > AN_LINE_MAX_BYTES)
        return an_fail(err, ANEMO_ERR_FORMAT, "a line is longer than %d bytes", AN_LINE_MAX_BYTES);
    return ANEMO_OK;
}

bool an_lines_next(an_lines *l, const char **line, size_t *n)
{
    if (l->scanned >= l->len) return false;
    const char *end = memchr(l->data + l->scanned, '\n', l->len - l->scanned);
    if (!end) {
        l->scanned = l->len;
        return false;
    }
    *line = l->data + l->begin;
    *n = (size_t)(end - *line);
    l->begin = (size_t)(end - l->data) + 1;
    l->scanned = l->begin;
    return true;
}

bool an_lines_peek(const an_lines *l, size_t *at, const char **line, size_t *n)
{
    size_t begin = l->begin + *at;
    if (begin >= l->len) return false;
    const char *end = memchr(l->data + begin, '\n', l->len - begin);
    if (!end) return false;
    *line = l->data + begin;
    *n = (size_t)(end - *line);
    *at = (size_t)(end - l->data) + 1 - l->begin;
    return true;
}

void an_lines_free(an_lines *l)
{
    an_free(l->data);
    *l = (an_lines){0};
}

anemo_status an_message_write(int fd, json_t *message, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    AN_TRY(an_json_write(json_incref(message), JSON_COMPACT, &text, err));
    an_str_append_char(&text, '\n');
    AN_TRY(an_str_check(&text, err));
    AN_TRY(an_fd_write(fd, text.data, text.len, err));
cleanup:
    an_str_free(&text);
    return status;
}
