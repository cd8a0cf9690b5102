/*
 * Files that hold results, ours and of other tools, as runs: anemo.run/1 (JSON, one or many, or a line each: store/run_file.h), a capsule,
 * llama-bench's JSON, JSONL, SQL and CSV, and what mlx_lm.benchmark prints. What a file is says its content, never its
 * name. SQL is read, never executed. Formats and what becomes of each value: docs/import.md.
 */
#ifndef AN_STORE_IMPORT_H
#define AN_STORE_IMPORT_H

#include "base/error.h"
#include "record/run.h"

#include <stddef.h>

enum {
    AN_IMPORT_BYTES_MAX = 512 << 20, /* of a file */
    AN_IMPORT_LINE_MAX = 64 << 20,   /* of a line where lines count: JSONL, CSV, SQL, text */
    AN_IMPORT_VALUES_MAX = 16 << 20, /* of one JSON document */
    AN_IMPORT_CELLS_MAX = 10000,     /* of a file of another tool */
    AN_IMPORT_REPS_MAX = 200000,
};

/*
 * Read `path`. Gives *runs [*n], n >= 1: an_run_list_free (store/run_file.h). The same bytes give the same runs with the same ids, so that a second
 * import of a file adds nothing. ERR_NOTFOUND, ERR_IO, ERR_NOMEM; ERR_FORMAT naming the line or row and what is wrong
 * there; ERR_UNSUPPORTED for what is no result file, naming those that are.
 */
ANEMO_MUST_CHECK anemo_status an_import(const char *path, an_run **runs, size_t *n, anemo_error *err);

/* The same of bytes in memory; `name` begins the messages, and names a model that the bytes do not name. */
ANEMO_MUST_CHECK anemo_status an_import_bytes(const char *data, size_t size, const char *name, an_run **runs, size_t *n,
                                              anemo_error *err);

#endif
