/* Is the database what it should be? SQLite's own checks, then ours. */
#include "store/store_internal.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <string.h>

static void say(an_str *report, size_t *n_fault, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void say(an_str *report, size_t *n_fault, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(report, fmt, ap);
    va_end(ap);
    an_str_append_char(report, '\n');
    ++*n_fault;
}

/* Each row of the statement's first column is a fault, unless it says "ok". */
static anemo_status faults_of(an_store *s, const char *sql, const char *what, an_str *report, size_t *n_fault, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    AN_TRY(an_query_open(&q, s, sql, err));
    for (;;) {
        const char *text;
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(an_query_get_text(&q, 0, &text, err));
        if (strcmp(text, "ok") != 0) say(report, n_fault, "%s: %s", what, text);
    }
cleanup:
    an_query_close(&q);
    return status;
}

/* What a table's keys forbid is asked all the same: an index may be gone or lie. */
static const struct {
    const char *what, *sql;
} rules[] = {
    {"SQLite", "PRAGMA integrity_check(100)"},
    {"a row without what it belongs to",
     "SELECT \"table\" || ' row ' || coalesce(rowid, '?') || ' lacks its row of ' || parent FROM pragma_foreign_key_check"},
    {"doubled repetition", "SELECT run || ', cell ' || cell || ', order ' || ord || ': ' || count(*) || ' times' FROM reps "
                           "NOT INDEXED GROUP BY run, cell, ord HAVING count(*) > 1"},
    {"doubled run", "SELECT id || ': ' || count(*) || ' times' FROM runs NOT INDEXED GROUP BY id HAVING count(*) > 1"},
};

/* Every run is read as a user would read it. */
static anemo_status check_runs(an_store *s, an_str *report, size_t *n_fault, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    AN_TRY(an_query_open(&q, s, "SELECT id FROM runs ORDER BY id", err));
    for (;;) {
        const char *id;
        an_run run;
        anemo_error why;
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(an_query_get_text(&q, 0, &id, err));
        anemo_status loaded = an_run_load(s, id, &run, &why);
        if (loaded == ANEMO_OK) an_run_free(&run);
        else if (loaded == ANEMO_ERR_FORMAT) say(report, n_fault, "%s", why.message);
        else AN_TRY(an_fail(err, loaded, "%s", why.message));
    }
cleanup:
    an_query_close(&q);
    return status;
}

/* Inside a transaction, where one can be had. */
static anemo_status check_all(an_store *s, an_str *report, size_t *n_fault, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < AN_COUNT_OF(rules); i++) {
        anemo_error why;
        status = faults_of(s, rules[i].sql, rules[i].what, report, n_fault, &why);
        /* Damage that stops a rule is a fault too, and the others may find more. */
        if (status == ANEMO_ERR_FORMAT) say(report, n_fault, "%s", why.message);
        else if (status != ANEMO_OK) AN_TRY(an_fail(err, status, "%s", why.message));
    }
    status = check_runs(s, report, n_fault, err);
    if (status == ANEMO_ERR_FORMAT) say(report, n_fault, "%s", err->message);
    else AN_TRY(status);
    status = an_str_check(report, err);
cleanup:
    return status;
}

anemo_status an_store_check(an_store *s, an_str *report, size_t *n_fault, anemo_error *err)
{
    anemo_error why = {0};
    *n_fault = 0;
    anemo_status status = an_store_tx_begin(s, false, &why);
    if (status == ANEMO_OK || status == ANEMO_ERR_FORMAT) status = check_all(s, report, n_fault, &why);
    /* Nothing was written, and a commit could fail on what was found. */
    if (!sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return status == ANEMO_OK ? ANEMO_OK : an_fail(err, status, "%s", why.message);
}
