/*
 * What the files of store/ share: the open database, statements with our errors, transactions, and the rows of a run.
 *
 * A run's row keeps its head as JSON without what has tables of its own: models, cells, repetitions, agreements, tags, note.
 * Columns beside a JSON document exist to be searched; the document is what is read back. A repetition has no document:
 * each metric is a column.
 */
#ifndef AN_STORE_STORE_INTERNAL_H
#define AN_STORE_STORE_INTERNAL_H

#include "base/error.h"
#include "base/str.h"
#include "record/run.h"
#include "store/store.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct an_store {
    sqlite3 *db;
    char *path;
    bool has_field[AN_FIELD_N]; /* a database that a READ must not migrate may lack columns of new metrics */
};

/* How long a writer waits for another one. */
enum { AN_STORE_BUSY_MS = 30000 };

/* ---- query.c */

/* SQLite's result code and message as ours, with the path in front. Returns the status. */
anemo_status an_sql_fail(const an_store *s, int rc, anemo_error *err);

/* Run statements that give no rows. */
ANEMO_MUST_CHECK anemo_status an_sql_exec(const an_store *s, const char *sql, anemo_error *err);

/*
 * A prepared statement whose parameters are bound in their order. A refused binding is reported by the next step.
 * Zero-initialise; closing is always fine.
 */
typedef struct an_query {
    const an_store *store;
    sqlite3_stmt *stmt;
    int n_bound, rc;
} an_query;

ANEMO_MUST_CHECK anemo_status an_query_open(an_query *q, const an_store *s, const char *sql, anemo_error *err);
void an_query_close(an_query *q);
void an_query_text(an_query *q, const char *text); /* NULL becomes SQL's NULL. Texts and bytes are borrowed until the next run */
void an_query_i64(an_query *q, int64_t value);
void an_query_f64(an_query *q, double value); /* what is not finite becomes NULL */
void an_query_bytes(an_query *q, const void *data, size_t n);
void an_query_null(an_query *q);
/* The next row: *row false when there is none, and then the query takes new parameters. */
ANEMO_MUST_CHECK anemo_status an_query_row(an_query *q, bool *row, anemo_error *err);
/* Run it to its end and make it ready for new parameters. */
ANEMO_MUST_CHECK anemo_status an_query_run(an_query *q, anemo_error *err);
/* Column of the present row: "" for NULL, borrowed until the next step. ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_query_get_text(const an_query *q, int column, const char **out, anemo_error *err);
/* The same as a copy: NULL for NULL; an_free. */
ANEMO_MUST_CHECK anemo_status an_query_copy_text(const an_query *q, int column, char **out, anemo_error *err);

/* One number from a statement with at most one text parameter (NULL: none); `none` when there is no row or it is NULL. */
ANEMO_MUST_CHECK anemo_status an_sql_number(const an_store *s, const char *sql, const char *text, int64_t none,
                                            int64_t *out, anemo_error *err);

/* BEGIN IMMEDIATE or a read transaction; end commits when `status` is OK, else rolls back and gives `status` back. */
ANEMO_MUST_CHECK anemo_status an_store_tx_begin(const an_store *s, bool write, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_store_tx_end(const an_store *s, anemo_status status, anemo_error *err);

/* ---- schema.c */

enum { AN_STORE_VERSION = 1, AN_STORE_APPLICATION_ID = 0x616e656d /* "anem" */ };

/* Bring the database to AN_STORE_VERSION with a column for each metric. One transaction. */
ANEMO_MUST_CHECK anemo_status an_schema_migrate(an_store *s, anemo_error *err);
/* Which metrics have a column. */
ANEMO_MUST_CHECK anemo_status an_schema_read_fields(an_store *s, anemo_error *err);

/* ---- rep_row.c */

ANEMO_MUST_CHECK anemo_status an_rep_insert_open(an_query *q, const an_store *s, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_rep_insert(an_query *q, const char *run, int64_t cell, const an_rep *rep,
                                            anemo_error *err);
/* Repetitions of one run in the order of cells and of their own order; *cell says whose it is. */
ANEMO_MUST_CHECK anemo_status an_rep_select_open(an_query *q, const an_store *s, const char *run, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_rep_select(an_query *q, const char *run, an_rep *rep, int64_t *cell, anemo_error *err);

/* ---- write.c */

/* Its id and its tags are such as can be, and the orders of a cell's repetitions rise. ERR_FORMAT. */
ANEMO_MUST_CHECK anemo_status an_run_check(const an_run *run, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_run_insert(an_store *s, const an_run *run, bool finished, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_models_put(const an_store *s, const char *run, const json_t *head, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_model_put(const an_store *s, const char *run, int64_t idx, const json_t *model,
                                           anemo_error *err);
/* The row of run->cells[cell] under the index `idx`, with `model` as its model. Repetitions are not touched. */
ANEMO_MUST_CHECK anemo_status an_cell_put(const an_store *s, const an_run *run, size_t cell, int64_t idx, int64_t model,
                                          anemo_error *err);
/* Its repetitions whose order is above `after`. */
ANEMO_MUST_CHECK anemo_status an_reps_put(const an_store *s, const an_run *run, size_t cell, int64_t idx, int64_t after,
                                          anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_agreement_put(const an_store *s, const char *run, const an_agreement *a, anemo_error *err);
bool an_run_has_pending(const an_run *run);

/* ---- merge.c */

/* Cells of `run` that the database's run of that id lacks or has in a lesser state. Inside a transaction. */
ANEMO_MUST_CHECK anemo_status an_run_merge(an_store *s, const an_run *run, bool *changed, anemo_error *err);

/* ---- read.c */

/* The run of exactly this id. Inside a transaction. */
ANEMO_MUST_CHECK anemo_status an_run_load(an_store *s, const char *id, an_run *run, anemo_error *err);

#endif
