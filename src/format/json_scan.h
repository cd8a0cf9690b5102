/*
 * A strict JSON scanner for headers whose shape is known. It builds nothing, so that memory stays
 * bounded by the text; general JSON goes through base/json.h. Every function returns false after a
 * mistake, with `error` and `at` set.
 */
#ifndef AN_FORMAT_JSON_SCAN_H
#define AN_FORMAT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_json_scan {
    const char *text; /* valid UTF-8, checked by an_json_scan_init */
    uint64_t size;
    uint64_t pos;
    const char *error; /* static sentence; NULL while all is well */
    uint64_t at;       /* where */
} an_json_scan;

/* False when the text is not UTF-8. */
bool an_json_scan_init(an_json_scan *s, const char *text, uint64_t size);

/* Record a mistake at `at`; returns false. */
bool an_json_scan_fail(an_json_scan *s, uint64_t at, const char *error);

/* Skip white space and take the character c. */
bool an_json_scan_char(an_json_scan *s, char c);

/* Skip white space; is c next? Takes nothing else. */
bool an_json_scan_peek(an_json_scan *s, char c);

/* After a member or element: true at ',' (taken) with *more set, true at `close` (taken) with *more
 * clear. */
bool an_json_scan_next(an_json_scan *s, char close, bool *more);

/*
 * A string, decoded to `out` and NUL-terminated there; out must have room for the rest of the text.
 * Refuses U+0000 and lone surrogates. *len excludes the NUL. out may be NULL: then only checked.
 */
bool an_json_scan_string(an_json_scan *s, char *out, uint64_t *len);

/* An integer from 0 to 2^64 - 1, without sign, fraction or exponent. */
bool an_json_scan_u64(an_json_scan *s, uint64_t *out);

/* Any value, nested at most 32 deep. */
bool an_json_scan_skip(an_json_scan *s);

/* Nothing but white space is left. */
bool an_json_scan_end(an_json_scan *s);

#endif
