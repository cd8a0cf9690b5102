/*
 * JSON through jansson, with our errors and limits. Values are jansson's json_t; only this header includes
 * <jansson.h>, so that including it is the one way to reach the library.
 *
 * Parsing: strict UTF-8, duplicate keys refused, NUL in strings refused, nesting as jansson limits it (2048).
 */
#ifndef AN_BASE_JSON_H
#define AN_BASE_JSON_H

#include "base/error.h"

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

/* A real that becomes JSON null when it is NaN or infinite: JSON has no such numbers. New reference. */
json_t *an_json_real(double value);

/*
 * A string value from bytes that may not be UTF-8: each bad byte becomes U+FFFD. New reference or NULL.
 */
json_t *an_json_text(const char *bytes, size_t n);

#endif
