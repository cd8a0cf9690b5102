/* Statements, their errors as ours, transactions. */
#include "store/store_internal.h"

#include "base/alloc.h"

#include <errno.h>
#include <math.h>
#include <string.h>

static bool disk_is_full(int err_no)
{
    return err_no == ENOSPC || err_no == EDQUOT || err_no == EFBIG;
}

/* A commit that fails leaves errno with the file that could not be written, which may be the log. */
static int errno_of(sqlite3 *db)
{
    sqlite3_file *files[2] = {NULL, NULL};
    int err_no = sqlite3_system_errno(db);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &files[0]);
    sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &files[1]);
    for (size_t i = 0; i < AN_COUNT_OF(files) && !disk_is_full(err_no); i++) {
        int last = 0;
        if (files[i] && files[i]->pMethods) files[i]->pMethods->xFileControl(files[i], SQLITE_FCNTL_LAST_ERRNO, &last);
        if (last) err_no = last;
    }
    return err_no;
}

anemo_status an_sql_fail(const an_store *s, int rc, anemo_error *err)
{
    const char *path = s->path, *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    int err_no = s->db && (rc & 0xff) == SQLITE_IOERR ? errno_of(s->db) : s->db ? sqlite3_system_errno(s->db) : 0;
    switch (rc & 0xff) {
    case SQLITE_NOMEM: return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    case SQLITE_FULL:
        return an_fail(err, ANEMO_ERR_NOSPACE, "%s: no space left on the disk: make room; what was stored before is intact", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return an_fail(err, ANEMO_ERR_BUSY, "%s: another process holds it for more than %d s; try again when it is done",
                       path, AN_STORE_BUSY_MS / 1000);
    case SQLITE_CORRUPT:
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the database is damaged (%s); 'anemo results check' says where", path,
                       why);
    case SQLITE_NOTADB: return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a SQLite database", path);
    case SQLITE_READONLY:
    case SQLITE_PERM: return an_fail(err, ANEMO_ERR_IO, "%s: cannot be written (%s)", path, why);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (disk_is_full(err_no))
            return an_fail(err, ANEMO_ERR_NOSPACE, "%s: %s: make room; what was stored before is intact", path, strerror(err_no));
        return an_fail(err, ANEMO_ERR_IO, "%s: %s%s%s", path, why, err_no ? ": " : "", err_no ? strerror(err_no) : "");
    case SQLITE_ERROR:
        /* Our statements are right for our schema, so the file has another one. */
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: not as anemo makes it (%s)", path, why);
    default: return an_fail(err, ANEMO_ERR_IO, "%s: %s", path, why);
    }
}

anemo_status an_sql_exec(const an_store *s, const char *sql, anemo_error *err)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ANEMO_OK : an_sql_fail(s, rc, err);
}

anemo_status an_query_open(an_query *q, const an_store *s, const char *sql, anemo_error *err)
{
    *q = (an_query){.store = s};
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &q->stmt, NULL);
    return rc == SQLITE_OK ? ANEMO_OK : an_sql_fail(s, rc, err);
}

void an_query_close(an_query *q)
{
    sqlite3_finalize(q->stmt);
    *q = (an_query){0};
}

/* The first refusal counts. */
static void bound(an_query *q, int rc)
{
    if (q->rc == SQLITE_OK) q->rc = rc;
}

void an_query_text(an_query *q, const char *text)
{
    bound(q, sqlite3_bind_text(q->stmt, ++q->n_bound, text, -1, SQLITE_STATIC));
}

void an_query_i64(an_query *q, int64_t value)
{
    bound(q, sqlite3_bind_int64(q->stmt, ++q->n_bound, value));
}

void an_query_f64(an_query *q, double value)
{
    if (isfinite(value)) bound(q, sqlite3_bind_double(q->stmt, ++q->n_bound, value));
    else an_query_null(q);
}

void an_query_bytes(an_query *q, const void *data, size_t n)
{
    bound(q, sqlite3_bind_blob64(q->stmt, ++q->n_bound, data ? data : "", n, SQLITE_STATIC));
}

void an_query_null(an_query *q)
{
    bound(q, sqlite3_bind_null(q->stmt, ++q->n_bound));
}

anemo_status an_query_row(an_query *q, bool *row, anemo_error *err)
{
    int rc = q->rc == SQLITE_OK ? sqlite3_step(q->stmt) : q->rc;
    *row = rc == SQLITE_ROW;
    if (*row) return ANEMO_OK;
    anemo_status status = rc == SQLITE_DONE ? ANEMO_OK : an_sql_fail(q->store, rc, err);
    sqlite3_reset(q->stmt);
    q->n_bound = 0;
    q->rc = SQLITE_OK;
    return status;
}

anemo_status an_query_run(an_query *q, anemo_error *err)
{
    bool row = true;
    anemo_status status = ANEMO_OK;
    while (row && status == ANEMO_OK) status = an_query_row(q, &row, err);
    return status;
}

anemo_status an_query_get_text(const an_query *q, int column, const char **out, anemo_error *err)
{
    *out = "";
    if (sqlite3_column_type(q->stmt, column) == SQLITE_NULL) return ANEMO_OK;
    const unsigned char *text = sqlite3_column_text(q->stmt, column);
    if (!text) return an_sql_fail(q->store, SQLITE_NOMEM, err);
    *out = (const char *)text;
    return ANEMO_OK;
}

anemo_status an_query_copy_text(const an_query *q, int column, char **out, anemo_error *err)
{
    const char *text;
    *out = NULL;
    anemo_status status = an_query_get_text(q, column, &text, err);
    if (status != ANEMO_OK || sqlite3_column_type(q->stmt, column) == SQLITE_NULL) return status;
    *out = an_strdup(text);
    return *out ? ANEMO_OK : an_sql_fail(q->store, SQLITE_NOMEM, err);
}

anemo_status an_sql_number(const an_store *s, const char *sql, const char *text, int64_t none, int64_t *out,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    *out = none;
    AN_TRY(an_query_open(&q, s, sql, err));
    if (text) an_query_text(&q, text);
    AN_TRY(an_query_row(&q, &row, err));
    if (row && sqlite3_column_type(q.stmt, 0) != SQLITE_NULL) *out = sqlite3_column_int64(q.stmt, 0);
cleanup:
    an_query_close(&q);
    return status;
}

anemo_status an_store_tx_begin(const an_store *s, bool write, anemo_error *err)
{
    return an_sql_exec(s, write ? "BEGIN IMMEDIATE" : "BEGIN", err);
}

anemo_status an_store_tx_end(const an_store *s, anemo_status status, anemo_error *err)
{
    if (status == ANEMO_OK) status = an_sql_exec(s, "COMMIT", err);
    /* Some errors have rolled back already. */
    if (status != ANEMO_OK && !sqlite3_get_autocommit(s->db)) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}
