/*
 * Types that a user gives to tensors by name: "PATTERN=TYPE", a regular expression that is searched in GGUF names, in lower case
 * as llama-quantize takes it. The first that is found counts.
 */
#ifndef AN_CONVERT_TENSOR_TYPES_H
#define AN_CONVERT_TENSOR_TYPES_H

#include "base/error.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct an_tensor_types an_tensor_types;

/* ERR_INVAL names the rule and what is wrong with it. Gives *out: an_tensor_types_free. */
ANEMO_MUST_CHECK anemo_status an_tensor_types_make(an_tensor_types **out, const char *const *rules, size_t n, anemo_error *err);
void an_tensor_types_free(an_tensor_types *t); /* NULL is fine */

/* Is there a rule for this tensor? ERR_INVAL: a pattern needs more steps than a name of a tensor is worth. */
ANEMO_MUST_CHECK anemo_status an_tensor_types_find(const an_tensor_types *t, const char *name, bool *found, an_dtype *type,
                                                   anemo_error *err);

/* A type that matrices can get, by name in any case ("q4_k", "f16"); ERR_INVAL lists them. */
ANEMO_MUST_CHECK anemo_status an_tensor_type_find(const char *name, an_dtype *type, anemo_error *err);

#endif
