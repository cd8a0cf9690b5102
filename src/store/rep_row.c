/*
 * A repetition as a row: a column for each metric, and what a token or a moment has a value of as little-endian bytes:
 * token_ids int32, token_times_s double, curve 5 doubles a point (t_s, rss_anon_bytes, rss_file_bytes, cpu_percent, cpu_hz).
 */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "base/num.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

static_assert(sizeof(an_curve_point) == 5 * sizeof(double), "a point of the curve is five doubles");

#define FIXED "run, cell, ord, kind, block, start_s, page_cache, stop_reason, token_ids, token_times_s, text, " \
              "text_bytes_before_eos, curve"
enum { N_FIXED = 13 };

anemo_status an_rep_insert_open(an_query *q, const an_store *s, anemo_error *err)
{
    return an_query_open(q, s,
                         "INSERT INTO reps (" FIXED
#define AN_FIELD(name, unit, kind, better, title, definition, source) ", " #name
#include "record/fields.def"
#undef AN_FIELD
                         ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
#define AN_FIELD(name, unit, kind, better, title, definition, source) ", ?"
#include "record/fields.def"
#undef AN_FIELD
                         ")",
                         err);
}

anemo_status an_rep_insert(an_query *q, const char *run, int64_t cell, const an_rep *rep, anemo_error *err)
{
    an_query_text(q, run);
    an_query_i64(q, cell);
    an_query_i64(q, rep->order);
    an_query_text(q, an_rep_kind_name(rep->kind));
    an_query_i64(q, rep->block);
    an_query_f64(q, rep->start_s);
    an_query_text(q, rep->page_cache);
    an_query_text(q, rep->stop_reason);
    an_query_bytes(q, rep->token_ids, rep->n_token * sizeof *rep->token_ids);
    an_query_bytes(q, rep->token_times_s, rep->n_token * sizeof *rep->token_times_s);
    if (rep->text) an_query_bytes(q, rep->text, rep->text_bytes);
    else an_query_null(q);
    an_query_i64(q, (int64_t)rep->text_bytes_before_eos);
    an_query_bytes(q, rep->curve, rep->n_curve * sizeof *rep->curve);
    for (int i = 0; i < AN_FIELD_N; i++) {
        double v = rep->values[i];
        /* 2^53: beyond it a double is no count any more. */
        if (an_field_get(i)->kind == AN_FIELD_COUNT && fabs(v) <= 9007199254740992.0) an_query_i64(q, llround(v));
        else if (an_field_get(i)->kind == AN_FIELD_COUNT) an_query_null(q);
        else an_query_f64(q, v);
    }
    return an_query_run(q, err);
}

anemo_status an_rep_select_open(an_query *q, const an_store *s, const char *run, anemo_error *err)
{
    an_str sql = {0};
    an_str_append(&sql, "SELECT " FIXED);
    for (int i = 0; i < AN_FIELD_N; i++)
        an_str_appendf(&sql, ", %s", s->has_field[i] ? an_field_get(i)->name : "NULL");
    an_str_append(&sql, " FROM reps WHERE run = ? ORDER BY cell, ord");
    anemo_status status = an_str_check(&sql, err);
    if (status == ANEMO_OK) status = an_query_open(q, s, an_str_text(&sql), err);
    if (status == ANEMO_OK) an_query_text(q, run);
    an_str_free(&sql);
    return status;
}

/* Whose repetition it is, for messages. */
typedef struct place {
    const an_query *q;
    const char *run;
    int64_t cell, ord;
} place;

static anemo_status fault(const place *at, anemo_error *err, const char *what)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: run %s, cell %" PRId64 ", repetition %" PRId64 ": %s", at->q->store->path,
                   at->run, at->cell, at->ord, what);
}

/* Copy the bytes of a column: whole items of item_bytes each. */
static anemo_status copy_items(const place *at, int column, size_t item_bytes, void **out, size_t *n, anemo_error *err)
{
    const void *data = sqlite3_column_blob(at->q->stmt, column);
    size_t bytes = (size_t)sqlite3_column_bytes(at->q->stmt, column);
    *out = NULL;
    *n = bytes / item_bytes;
    if (bytes % item_bytes) return fault(at, err, "token_ids, token_times_s or curve holds a part of an item");
    if (bytes == 0) return ANEMO_OK;
    /* One more, as a text's end. */
    unsigned char *copy = data ? an_malloc(bytes + 1) : NULL;
    if (!copy) return an_sql_fail(at->q->store, SQLITE_NOMEM, err);
    memcpy(copy, data, bytes);
    copy[bytes] = '\0';
    *out = copy;
    return ANEMO_OK;
}

static anemo_status copy_short_text(const place *at, int column, char *out, size_t cap, anemo_error *err)
{
    const char *text;
    anemo_status status = an_query_get_text(at->q, column, &text, err);
    if (status != ANEMO_OK) return status;
    if (strlen(text) >= cap) return fault(at, err, "page_cache or stop_reason is too long");
    memcpy(out, text, strlen(text) + 1);
    return ANEMO_OK;
}

static anemo_status read_tokens(const place *at, an_rep *rep, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    sqlite3_stmt *st = at->q->stmt;
    void *data;
    size_t n_time;
    AN_TRY(copy_items(at, 8, sizeof *rep->token_ids, &data, &rep->n_token, err));
    rep->token_ids = data;
    AN_TRY(copy_items(at, 9, sizeof *rep->token_times_s, &data, &n_time, err));
    rep->token_times_s = data;
    if (n_time != rep->n_token) {
        status = fault(at, err, "token_ids and token_times_s are of different numbers of tokens");
        goto cleanup;
    }
    AN_TRY(copy_items(at, 10, 1, &data, &rep->text_bytes, err));
    rep->text = data;
    if (!rep->text && sqlite3_column_type(st, 10) != SQLITE_NULL && !(rep->text = an_strdup(""))) {
        status = an_sql_fail(at->q->store, SQLITE_NOMEM, err);
        goto cleanup;
    }
    int64_t before = sqlite3_column_int64(st, 11);
    if (before < 0 || (uint64_t)before > rep->text_bytes) {
        status = fault(at, err, "text_bytes_before_eos lies outside the text");
        goto cleanup;
    }
    rep->text_bytes_before_eos = (size_t)before;
    AN_TRY(copy_items(at, 12, sizeof *rep->curve, &data, &rep->n_curve, err));
    rep->curve = data;
cleanup:
    return status;
}

anemo_status an_rep_select(an_query *q, const char *run, an_rep *rep, int64_t *cell, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    sqlite3_stmt *st = q->stmt;
    place at = {q, run, sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)};
    const char *kind;
    an_rep_init(rep);
    *cell = at.cell;
    rep->order = at.ord;
    AN_TRY(an_query_get_text(q, 3, &kind, err));
    if (!an_rep_kind_find(kind, &rep->kind)) {
        status = fault(&at, err, "its kind is none of timed, warmup, observed, load");
        goto cleanup;
    }
    int64_t block = sqlite3_column_int64(st, 4);
    if (block < -1 || block > INT32_MAX) {
        status = fault(&at, err, "its block is out of range");
        goto cleanup;
    }
    rep->block = (int)block;
    rep->start_s = sqlite3_column_type(st, 5) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(st, 5);
    AN_TRY(copy_short_text(&at, 6, rep->page_cache, sizeof rep->page_cache, err));
    AN_TRY(copy_short_text(&at, 7, rep->stop_reason, sizeof rep->stop_reason, err));
    AN_TRY(read_tokens(&at, rep, err));
    for (int i = 0; i < AN_FIELD_N; i++)
        if (sqlite3_column_type(st, N_FIXED + i) != SQLITE_NULL) rep->values[i] = sqlite3_column_double(st, N_FIXED + i);
cleanup:
    if (status != ANEMO_OK) an_rep_free(rep);
    return status;
}
