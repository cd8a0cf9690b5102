/* What several verbs ask of their arguments. */
#ifndef AN_CLI_ARGUMENTS_H
#define AN_CLI_ARGUMENTS_H

#include "base/error.h"
#include "base/json.h"
#include "drivers/driver.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Token ids from "1,2,3" or from a file that holds a JSON array of integers, or an object with "ids". `option` is named in
 * messages. Gives *ids: an_free. ERR_INVAL for an empty list or an item that is no id.
 */
ANEMO_MUST_CHECK anemo_status an_cli_read_ids(const char *option, const char *text, int32_t **ids, size_t *n,
                                              anemo_error *err);

/* ERR_INVAL unless value is one of the NULL-terminated words; the message lists them. */
ANEMO_MUST_CHECK anemo_status an_cli_one_of(const char *option, const char *value, const char *const *allowed,
                                            anemo_error *err);

/*
 * The engine of that name, which must read what `path` is. ERR_INVAL for an unknown name, ERR_UNSUPPORTED when it does not
 * read the container, the errors of an_model_probe().
 */
ANEMO_MUST_CHECK anemo_status an_cli_engine_for(const char *name, const char *path, const an_engine_info **engine,
                                                anemo_error *err);

/* Print a JSON value and a line end to stdout, and release it. ERR_NOMEM (also for NULL), ERR_IO. flags: jansson's. */
ANEMO_MUST_CHECK anemo_status an_cli_print_json(json_t *value, size_t flags, anemo_error *err);

/* The words of --kv, --flash-attn, --compute and --device. */
extern const char *const an_cli_kv_types[];
extern const char *const an_cli_tristates[];
extern const char *const an_cli_compute_types[];
extern const char *const an_cli_devices[];

#endif
