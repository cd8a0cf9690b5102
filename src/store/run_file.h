/* Files of runs: anemo.run/1 as one JSON document, as an array of them, or one a line. */
#ifndef AN_STORE_RUN_FILE_H
#define AN_STORE_RUN_FILE_H

#include "base/error.h"
#include "record/run.h"

#include <stdbool.h>
#include <stddef.h>

enum { AN_RUN_FILE_BYTES_MAX = 1 << 30 };

/* Does a schema of "anemo.run/" stand somewhere in these bytes? Then they are meant to be one. */
bool an_run_file_is(const char *text, size_t n);

/*
 * The runs of a file's bytes; `name` (its path) begins messages. Gives *runs: each an_run_free, then an_free. ERR_FORMAT, also for
 * no run at all, for a file that was cut, and for what the database would not take (an id, a tag, repetitions out of order).
 */
ANEMO_MUST_CHECK anemo_status an_run_file_parse(const char *text, size_t n, const char *name, an_run **runs, size_t *n_run,
                                                anemo_error *err);

void an_run_list_free(an_run *runs, size_t n);

#endif
