/*
 * JSON through jansson, with our errors and limits. Values are jansson's json_t; only this header includes
 * <jansson.h>, so that including it is the one way to reach the library.
 *
 * Parsing: strict UTF-8, duplicate keys refused, NUL in strings refused, nesting as jansson limits it (2048).
 */
#ifndef AN_BASE_JSON_H
#define AN_BASE_JSON_H

#include "base/error.h"
#include "base/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Parse n bytes. `name` (a path or "request") starts the error message; position is named.
 * Gives *out: json_decref it. ERR_FORMAT or ERR_NOMEM.
 */
ANEMO_MUST_CHECK anemo_status an_json_parse(json_t **out, const char *text, size_t n,
                                            const char *name, anemo_error *err);

/* The same with flags of jansson's: JSON_ALLOW_NUL, JSON_DECODE_ANY (any value, not only objects and arrays). */
ANEMO_MUST_CHECK anemo_status an_json_parse_flags(json_t **out, const char *text, size_t n,
                                                  size_t flags, const char *name,
                                                  anemo_error *err);

/*
 * Typed member access. Absent key or JSON null: the default. Wrong type or out of range: ERR_FORMAT naming
 * `name` and the key. Strings are borrowed from the object.
 */
ANEMO_MUST_CHECK anemo_status an_json_get_i64(const json_t *obj, const char *key, int64_t def,
                                              int64_t min, int64_t max, int64_t *out,
                                              const char *name, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_json_get_f64(const json_t *obj, const char *key, double def,
                                              double *out, const char *name, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_json_get_bool(const json_t *obj, const char *key, bool def,
                                               bool *out, const char *name, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_json_get_str(const json_t *obj, const char *key, const char *def,
                                              const char **out, const char *name, anemo_error *err);

/*
 * Append `value` as text to `out` and release it; NULL is out of memory. flags: jansson's. jansson drops a member whose
 * memory is refused, so a document can come out short without a word: once an_json_watch_memory() was called, a refusal at
 * any time since the last call of this function makes it fail with ERR_NOMEM, whatever `value` looks like.
 */
ANEMO_MUST_CHECK anemo_status an_json_write(json_t *value, size_t flags, an_str *out, anemo_error *err);

/* Let jansson take its memory from base/alloc.h and notice refusals. For a program's main(), before any JSON. */
void an_json_watch_memory(void);

/* A real that becomes JSON null when it is NaN or infinite: JSON has no such numbers. New reference. */
json_t *an_json_real(double value);

/*
 * A string value from bytes that may not be UTF-8: each bad byte becomes U+FFFD. New reference; NULL when out of memory,
 * and then the next an_json_write() fails. So it does for a text that had no memory.
 */
json_t *an_json_text(const char *bytes, size_t n);
json_t *an_json_str(const an_str *s);

#endif
