/* Runs by their names, and lists of them. */
#include "store/store_internal.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

enum { SHOWN = 8 };

static anemo_status copy_id(const an_query *q, char id[32], anemo_error *err)
{
    const char *text;
    anemo_status status = an_query_get_text(q, 0, &text, err);
    if (status != ANEMO_OK) return status;
    if (strlen(text) >= 32)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.40s…' is too long for a run's id", q->store->path, text);
    memcpy(id, text, strlen(text) + 1);
    return ANEMO_OK;
}

/* The id that a statement with one parameter gives. */
static anemo_status find_one(an_store *s, const char *sql, const char *text, int64_t number, char id[32], bool *found,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_query_open(&q, s, sql, err));
    if (text) an_query_text(&q, text);
    else an_query_i64(&q, number);
    AN_TRY(an_query_row(&q, found, err));
    if (*found) AN_TRY(copy_id(&q, id, err));
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status find_by_beginning(an_store *s, const char *name, char id[32], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_str several = {0};
    size_t n = 0;
    bool row;
    AN_TRY(an_query_open(&q, s, "SELECT id FROM runs WHERE substr(id, 1, length(?)) = ? ORDER BY id DESC", err));
    an_query_text(&q, name);
    an_query_text(&q, name);
    for (;;) {
        char other[32];
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(copy_id(&q, other, err));
        if (n < SHOWN) an_str_appendf(&several, "%s%s", n ? ", " : "", other);
        if (n++ == 0) memcpy(id, other, sizeof other);
    }
    AN_TRY(an_str_check(&several, err));
    if (n == 0)
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no run has the id, the beginning of an id or the tag '%s'; 'anemo results "
                         "list' shows them", s->path, name);
    else if (n > 1)
        status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is the beginning of %zu runs: %s%s", name, n, an_str_text(&several),
                         n > SHOWN ? ", …" : "");
cleanup:
    an_str_free(&several);
    an_query_close(&q);
    return status;
}

anemo_status an_store_find(an_store *s, const char *name, char id[32], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool found;
    int64_t back = 0;
    if (strcmp(name, "last") == 0 || (strncmp(name, "last~", 5) == 0 && an_parse_i64(name + 5, &back) && back >= 0)) {
        AN_TRY(find_one(s, "SELECT id FROM runs ORDER BY date DESC, id DESC LIMIT 1 OFFSET ?", NULL, back, id, &found, err));
        if (!found)
            status = an_fail(err, ANEMO_ERR_NOTFOUND, back ? "%s: there are not that many runs" : "%s: there are no runs yet",
                             s->path);
        goto cleanup;
    }
    AN_TRY(find_one(s, "SELECT id FROM runs WHERE id = ?", name, 0, id, &found, err));
    if (!found) AN_TRY(find_one(s, "SELECT run FROM tags WHERE tag = ?", name, 0, id, &found, err));
    if (!found && name[0] == '\0')
        status = an_fail(err, ANEMO_ERR_INVAL, "the name of a run is empty");
    else if (!found)
        status = find_by_beginning(s, name, id, err);
cleanup:
    return status;
}

/* ---- lists */

static bool digits_at(const char *text, const char *shape)
{
    for (; *shape; shape++, text++)
        if (*shape == '0' ? *text < '0' || *text > '9' : *text != *shape) return false;
    return true;
}

/* A day or a second; the end of the day with `end`. NULL: none. */
static anemo_status date_bound(const char *option, const char *text, bool end, char out[21], anemo_error *err)
{
    out[0] = '\0';
    if (!text) return ANEMO_OK;
    size_t n = strlen(text);
    bool day = n == 10 && digits_at(text, "0000-00-00");
    if (!day && !(n == 20 && digits_at(text, "0000-00-00T00:00:00Z")))
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%s' is neither a day (2026-11-25) nor a time (2026-11-25T17:45:00Z)",
                       option, text);
    memcpy(out, text, n + 1);
    if (day) memcpy(out + n, end ? "T23:59:60Z" : "T00:00:00Z", 11);
    return ANEMO_OK;
}

/* Subqueries give their items in the order of the cells. */
static const char list_sql[] =
    "SELECT r.id, r.kind, r.date, r.finished, r.note, "
    "(SELECT group_concat(engine, ', ') FROM (SELECT engine FROM cells WHERE run = r.id GROUP BY engine ORDER BY min(idx))), "
    "(SELECT group_concat(name, ', ') FROM (SELECT name FROM models WHERE run = r.id GROUP BY name ORDER BY min(idx))), "
    "(SELECT group_concat(tag, ', ') FROM (SELECT tag FROM tags WHERE run = r.id ORDER BY tag)), "
    "(SELECT count(*) FROM cells WHERE run = r.id), "
    "(SELECT count(*) FROM cells WHERE run = r.id AND status = 'failed'), "
    "(SELECT count(*) FROM cells WHERE run = r.id AND status = 'pending'), "
    "(SELECT count(*) FROM reps WHERE run = r.id AND kind = 'timed') "
    "FROM runs AS r WHERE (?1 IS NULL OR r.kind = ?1) "
    "AND (?2 IS NULL OR EXISTS (SELECT 1 FROM cells WHERE run = r.id AND engine = ?2)) "
    "AND (?3 IS NULL OR EXISTS (SELECT 1 FROM models WHERE run = r.id AND instr(lower(name), lower(?3)) > 0)) "
    "AND (?4 IS NULL OR EXISTS (SELECT 1 FROM tags WHERE run = r.id AND tag = ?4)) "
    "AND (?5 IS NULL OR EXISTS (SELECT 1 FROM cells WHERE run = r.id AND key = ?5)) "
    "AND (?6 IS NULL OR r.date >= ?6) AND (?7 IS NULL OR r.date <= ?7) "
    "ORDER BY r.date DESC, r.id DESC LIMIT ?8";

static anemo_status read_row(const an_query *q, an_store_row *row, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *text;
    AN_TRY(copy_id(q, row->id, err));
    AN_TRY(an_query_get_text(q, 1, &text, err));
    snprintf(row->kind, sizeof row->kind, "%s", text);
    AN_TRY(an_query_get_text(q, 2, &text, err));
    snprintf(row->date, sizeof row->date, "%s", text);
    row->finished = sqlite3_column_int(q->stmt, 3) != 0;
    AN_TRY(an_query_copy_text(q, 4, &row->note, err));
    AN_TRY(an_query_copy_text(q, 5, &row->engines, err));
    AN_TRY(an_query_copy_text(q, 6, &row->models, err));
    AN_TRY(an_query_copy_text(q, 7, &row->tags, err));
    row->n_cell = (size_t)sqlite3_column_int64(q->stmt, 8);
    row->n_failed = (size_t)sqlite3_column_int64(q->stmt, 9);
    row->n_pending = (size_t)sqlite3_column_int64(q->stmt, 10);
    row->n_rep = (size_t)sqlite3_column_int64(q->stmt, 11);
cleanup:
    return status;
}

anemo_status an_store_list(an_store *s, const an_store_filter *f, an_store_row **rows, size_t *n, anemo_error *err)
{
    static const an_store_filter all;
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_store_row *list = NULL;
    size_t n_row = 0, cap = 0;
    char since[21], until[21];
    bool row;
    if (!f) f = &all;
    AN_TRY(date_bound("since", f->since, false, since, err));
    AN_TRY(date_bound("until", f->until, true, until, err));
    AN_TRY(an_query_open(&q, s, list_sql, err));
    an_query_text(&q, f->kind);
    an_query_text(&q, f->engine);
    an_query_text(&q, f->model);
    an_query_text(&q, f->tag);
    an_query_text(&q, f->key);
    an_query_text(&q, f->since ? since : NULL);
    an_query_text(&q, f->until ? until : NULL);
    an_query_i64(&q, f->limit && f->limit < INT64_MAX ? (int64_t)f->limit : -1);
    for (;;) {
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        if (n_row == cap) {
            size_t more = cap ? 2 * cap : 16;
            an_store_row *grown = an_realloc(list, more * sizeof *list);
            if (!grown) {
                status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
                goto cleanup;
            }
            list = grown;
            cap = more;
        }
        list[n_row] = (an_store_row){0};
        AN_TRY(read_row(&q, &list[n_row++], err));
    }
    *rows = list;
    *n = n_row;
cleanup:
    if (status != ANEMO_OK) an_store_rows_free(list, n_row);
    an_query_close(&q);
    return status;
}

void an_store_rows_free(an_store_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        an_free(rows[i].engines);
        an_free(rows[i].models);
        an_free(rows[i].tags);
        an_free(rows[i].note);
    }
    an_free(rows);
}
