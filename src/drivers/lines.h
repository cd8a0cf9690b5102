/* Lines cut out of a byte stream, with a limit on their length: what both sides of the protocol
 * read with. */
#ifndef AN_DRIVERS_LINES_H
#define AN_DRIVERS_LINES_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { AN_LINE_MAX_BYTES = 64 << 20 };

/* Zero-initialise; free with an_lines_free. */
typedef struct an_lines {
    char *data;
    size_t begin, len, cap; /* unread bytes are data[begin..len) */
    size_t scanned;         /* no newline in data[begin..scanned) */
} an_lines;

/* Append what a read gave. ERR_NOMEM; ERR_FORMAT when an unfinished line has grown past the limit.
 */
ANEMO_MUST_CHECK anemo_status an_lines_put(an_lines *l, const char *bytes, size_t n,
                                           anemo_error *err);

/* The next whole line without its newline; borrowed until the next put. False when there is none
 * yet. */
bool an_lines_next(an_lines *l, const char **line, size_t *n);

/*
 * Look at whole lines without taking them: *at counts bytes from the first unread one, 0 to begin
 * with. Valid as long as no line is taken.
 */
bool an_lines_peek(const an_lines *l, size_t *at, const char **line, size_t *n);

void an_lines_free(an_lines *l);

/* Write `message` as one compact line to fd. */
ANEMO_MUST_CHECK anemo_status an_message_write(int fd, json_t *message, anemo_error *err);

#endif
