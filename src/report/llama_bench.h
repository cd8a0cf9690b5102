/*
 * Step measurements in the output forms of llama-bench: the same keys in the same order with the same types, so that scripts made
 * for it read ours; what it does not have comes under further names. Written row by row while a run goes on.
 */
#ifndef AN_REPORT_LLAMA_BENCH_H
#define AN_REPORT_LLAMA_BENCH_H

#include "base/error.h"
#include "base/str.h"
#include "record/run.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum an_llama_bench_format {
    AN_LLAMA_BENCH_NONE,
    AN_LLAMA_BENCH_CSV,
    AN_LLAMA_BENCH_JSON,
    AN_LLAMA_BENCH_JSONL,
    AN_LLAMA_BENCH_MD,
    AN_LLAMA_BENCH_SQL,
} an_llama_bench_format;

/* "none", "csv", "json", "jsonl", "md", "sql"; false for another name. */
bool an_llama_bench_format_from_name(const char *name, an_llama_bench_format *out);

enum { AN_LLAMA_BENCH_COLUMNS_MAX = 16 };

/* One output. Zero-initialise but for the format. */
typedef struct an_llama_bench {
    an_llama_bench_format format;
    size_t n_row;                              /* written so far */
    int columns[AN_LLAMA_BENCH_COLUMNS_MAX];   /* of the table; private */
    size_t n_column;
} an_llama_bench;

/*
 * Append what the row of this cell is to out, before the first one what begins the document. All cells of the run must be there with
 * work and settings, because the table shows the columns in which they differ. Cells that are not step measurements give no row.
 */
ANEMO_MUST_CHECK anemo_status an_llama_bench_row(an_llama_bench *w, const an_run *run, size_t cell, an_str *out,
                                                 anemo_error *err);

/* Append what ends the document; a document without a row is still a whole one. */
ANEMO_MUST_CHECK anemo_status an_llama_bench_end(an_llama_bench *w, const an_run *run, an_str *out, anemo_error *err);

#endif
