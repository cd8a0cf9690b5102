/*
 * A growable byte string. Zero-initialise, append, free. After a failed allocation it turns `failed` and every
 * later append does nothing, so that a whole sequence is checked once at its end.
 */
#ifndef AN_BASE_STR_H
#define AN_BASE_STR_H

#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_str {
    char *data; /* NUL-terminated once anything was appended; NULL before */
    size_t len;
    size_t cap;
    bool failed;
} an_str;

void an_str_append(an_str *s, const char *text);
void an_str_append_bytes(an_str *s, const void *bytes, size_t n);
void an_str_append_char(an_str *s, char c);
void an_str_append_repeat(an_str *s, char c, size_t n);
void an_str_appendf(an_str *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void an_str_vappendf(an_str *s, const char *fmt, va_list ap);

/* "" instead of NULL. Borrowed until the next append. */
const char *an_str_text(const an_str *s);

/* Empty it, keeping the block. */
void an_str_clear(an_str *s);

/* Give the block to the caller (free with an_free) and empty s; NULL when failed. Never NULL otherwise. */
char *an_str_take(an_str *s);

void an_str_free(an_str *s);

/* ERR_NOMEM when an append failed. */
ANEMO_MUST_CHECK anemo_status an_str_check(const an_str *s, anemo_error *err);

bool an_str_ends_with(const char *text, const char *tail);
bool an_str_starts_with(const char *text, const char *head);

/*
 * Strict number parsing of a whole NUL-terminated text: no leading or trailing rubbish, no overflow.
 * Return false and leave *out alone otherwise.
 */
bool an_parse_i64(const char *text, int64_t *out);
bool an_parse_u64(const char *text, uint64_t *out);
bool an_parse_f64(const char *text, double *out); /* finite only */

#endif
