/* What the readers of the import's formats share. */
#ifndef AN_STORE_IMPORT_INTERNAL_H
#define AN_STORE_IMPORT_INTERNAL_H

#include "store/import.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The file that is read, and the runs so far. */
typedef struct an_importing {
    const char *name;
    char digest[65]; /* of the bytes */
    an_run *runs;
    size_t n, cap;
    size_t n_cell, n_rep; /* of rows of other tools, against the limits */
} an_importing;

/* A piece of the text that is read line by line. */
typedef struct an_lines {
    const char *at, *end;
    size_t number; /* of the line that an_import_line() gave last, from 1 */
    const char *line; /* not NUL-terminated; without its end of line */
    size_t n;
} an_lines;

/* The next line into in->line and in->n; *more false at the end. ERR_FORMAT for a line beyond AN_IMPORT_LINE_MAX. */
ANEMO_MUST_CHECK anemo_status an_import_line(an_lines *in, const char *name, bool *more, anemo_error *err);

/* Room for one more run, initialised, of kind "import"; NULL when out of memory. Earlier runs may move. */
an_run *an_importing_add(an_importing *to);

/* A row of llama-bench, its values typed or all strings. `where`: "FILE: line 3". */
ANEMO_MUST_CHECK anemo_status an_import_row(an_importing *to, const json_t *row, const char *where, anemo_error *err);
/* Is this an object with the columns of llama-bench that no row lacks? */
bool an_import_is_row(const json_t *obj);

ANEMO_MUST_CHECK anemo_status an_import_sql(an_importing *to, const char *text, size_t n, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_import_csv(an_importing *to, const char *text, size_t n, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_import_mlx(an_importing *to, const char *text, size_t n, anemo_error *err);

/* Append a timed repetition to a cell; takes its memory. */
ANEMO_MUST_CHECK anemo_status an_import_add_rep(an_importing *to, an_run *run, an_cell *cell, an_rep *rep, anemo_error *err);

#endif
