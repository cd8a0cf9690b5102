/*
 * The schema and its steps. user_version counts the steps that a database has taken; a step, once released, never changes.
 * Metrics are no step: whatever fields.def has and the table lacks becomes a column when a writer opens the database.
 */
#include "store/store_internal.h"

#include <string.h>

#define COLUMN_COUNT "INTEGER"
#define COLUMN_REAL "REAL"

/* Step 1: an empty file becomes a database. */
static const char step_1[] =
    "CREATE TABLE runs (id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, date TEXT NOT NULL, host TEXT NOT NULL, "
    "command TEXT, note TEXT, finished INTEGER NOT NULL, head TEXT NOT NULL) STRICT;"
    "CREATE INDEX runs_date ON runs (date, id);"

    "CREATE TABLE models (run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, idx INTEGER NOT NULL, "
    "name TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER, doc TEXT NOT NULL, PRIMARY KEY (run, idx)) STRICT;"

    "CREATE TABLE cells (run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE, idx INTEGER NOT NULL, "
    "key TEXT NOT NULL, engine TEXT NOT NULL, model INTEGER, label TEXT NOT NULL, status TEXT NOT NULL, "
    "doc TEXT NOT NULL, PRIMARY KEY (run, idx), FOREIGN KEY (run, model) REFERENCES models (run, idx)) STRICT;"
    "CREATE INDEX cells_key ON cells (key);"

    "CREATE TABLE reps (run TEXT NOT NULL, cell INTEGER NOT NULL, ord INTEGER NOT NULL, kind TEXT NOT NULL, "
    "block INTEGER NOT NULL, start_s REAL, page_cache TEXT NOT NULL, stop_reason TEXT NOT NULL, token_ids BLOB NOT NULL, "
    "token_times_s BLOB NOT NULL, text BLOB, text_bytes_before_eos INTEGER NOT NULL, curve BLOB NOT NULL, "
#define AN_FIELD(name, unit, kind, better, title, definition, source) #name " " COLUMN_##kind ", "
#include "record/fields.def"
#undef AN_FIELD
    "PRIMARY KEY (run, cell, ord), FOREIGN KEY (run, cell) REFERENCES cells (run, idx) ON DELETE CASCADE) STRICT;"
    "CREATE INDEX reps_block ON reps (run, cell, block);"

    "CREATE TABLE agreements (run TEXT NOT NULL, a INTEGER NOT NULL, b INTEGER NOT NULL, n_same INTEGER NOT NULL, "
    "n INTEGER NOT NULL, identical INTEGER NOT NULL, examined INTEGER NOT NULL, near_tie INTEGER NOT NULL, "
    "logit_gap REAL, prob_margin REAL, examined_by INTEGER NOT NULL, text_same INTEGER NOT NULL, "
    "PRIMARY KEY (run, a, b), FOREIGN KEY (run, a) REFERENCES cells (run, idx) ON DELETE CASCADE, "
    "FOREIGN KEY (run, b) REFERENCES cells (run, idx) ON DELETE CASCADE) STRICT;"

    "CREATE TABLE tags (tag TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE) STRICT;"
    "CREATE INDEX tags_run ON tags (run);";

static const char *const steps[AN_STORE_VERSION] = {step_1};

static const char *const field_columns[AN_FIELD_N] = {
#define AN_FIELD(name, unit, kind, better, title, definition, source) #name " " COLUMN_##kind,
#include "record/fields.def"
#undef AN_FIELD
};

anemo_status an_schema_read_fields(an_store *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    for (int i = 0; i < AN_FIELD_N; i++) s->has_field[i] = false;
    AN_TRY(an_query_open(&q, s, "SELECT name FROM pragma_table_info('reps')", err));
    for (;;) {
        const char *name;
        an_field_id id;
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(an_query_get_text(&q, 0, &name, err));
        if (an_field_find(name, &id)) s->has_field[id] = true;
    }
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status add_fields(an_store *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(an_schema_read_fields(s, err));
    for (int i = 0; i < AN_FIELD_N; i++) {
        an_str sql = {0};
        if (s->has_field[i]) continue;
        an_str_appendf(&sql, "ALTER TABLE reps ADD COLUMN %s", field_columns[i]);
        status = an_str_check(&sql, err);
        if (status == ANEMO_OK) status = an_sql_exec(s, an_str_text(&sql), err);
        an_str_free(&sql);
        AN_TRY(status);
        s->has_field[i] = true;
    }
cleanup:
    return status;
}

anemo_status an_schema_migrate(an_store *s, anemo_error *err)
{
    int64_t version;
    anemo_status status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(an_sql_number(s, "PRAGMA user_version", NULL, 0, &version, err));
    for (int64_t step = version; step < AN_STORE_VERSION; step++) {
        an_str sql = {0};
        an_str_appendf(&sql, "PRAGMA user_version = %d; PRAGMA application_id = %d", (int)step + 1,
                       AN_STORE_APPLICATION_ID);
        status = an_str_check(&sql, err);
        if (status == ANEMO_OK) status = an_sql_exec(s, steps[step], err);
        if (status == ANEMO_OK) status = an_sql_exec(s, an_str_text(&sql), err);
        an_str_free(&sql);
        AN_TRY(status);
    }
    AN_TRY(add_fields(s, err));
cleanup:
    return an_store_tx_end(s, status, err);
}
