/* Runs on their way out. Whatever a column holds is checked: a database is a file that anything may have written to. */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The JSON object in a column. `where` is named in messages. Gives *out. */
static anemo_status get_object(const an_query *q, int column, const char *where, json_t **out, anemo_error *err)
{
    const char *text;
    anemo_status status = an_query_get_text(q, column, &text, err);
    if (status == ANEMO_OK) status = an_json_parse(out, text, strlen(text), where, err);
    if (status != ANEMO_OK || json_is_object(*out)) return status;
    json_decref(*out);
    *out = NULL;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a JSON object", where);
}

/* Each row's index is its number, without a gap. */
static anemo_status check_index(const an_query *q, int column, size_t expected, const char *where, anemo_error *err)
{
    int64_t idx = sqlite3_column_int64(q->stmt, column);
    if (idx >= 0 && (uint64_t)idx == expected && expected < INT32_MAX) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: number %" PRId64 " stands where %zu is due", where, idx, expected);
}

static anemo_status load_head(an_store *s, const char *id, const char *name, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0}, models = {0};
    json_t *head = NULL, *list = NULL, *model;
    bool row;
    char where[512];
    AN_TRY(an_query_open(&q, s, "SELECT head, note FROM runs WHERE id = ?", err));
    an_query_text(&q, id);
    AN_TRY(an_query_row(&q, &row, err));
    if (!row) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no run %s", s->path, id);
        goto cleanup;
    }
    AN_TRY(get_object(&q, 0, name, &head, err));
    list = json_array();
    AN_TRY(an_query_open(&models, s, "SELECT idx, doc FROM models WHERE run = ? ORDER BY idx", err));
    an_query_text(&models, id);
    for (;;) {
        AN_TRY(an_query_row(&models, &row, err));
        if (!row) break;
        snprintf(where, sizeof where, "%s, a model", name);
        AN_TRY(check_index(&models, 0, json_array_size(list), where, err));
        AN_TRY(get_object(&models, 1, where, &model, err));
        if (json_array_append_new(list, model) != 0) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
    }
    if (json_object_set(head, "models", list) != 0) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_run_from_json(run, head, name, err));
    if (strcmp(run->id, id) != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: its head has the id '%s'", name, run->id);
        goto cleanup;
    }
    an_free(run->note);
    run->note = NULL;
    AN_TRY(an_query_copy_text(&q, 1, &run->note, err));
cleanup:
    json_decref(head);
    json_decref(list);
    an_query_close(&q);
    an_query_close(&models);
    return status;
}

static anemo_status load_tags(an_store *s, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    json_decref(run->tags);
    run->tags = NULL;
    AN_TRY(an_query_open(&q, s, "SELECT tag FROM tags WHERE run = ? ORDER BY tag", err));
    an_query_text(&q, run->id);
    for (;;) {
        const char *tag;
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(an_query_get_text(&q, 0, &tag, err));
        if (!run->tags) run->tags = json_array();
        if (!run->tags || json_array_append_new(run->tags, an_json_text(tag, strlen(tag))) != 0) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
    }
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status load_cells(an_store *s, const char *name, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    json_t *doc = NULL;
    bool row;
    char where[512];
    AN_TRY(an_query_open(&q, s, "SELECT idx, model, doc FROM cells WHERE run = ? ORDER BY idx", err));
    an_query_text(&q, run->id);
    for (;;) {
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        snprintf(where, sizeof where, "%s, cell %zu", name, run->n_cell);
        AN_TRY(check_index(&q, 0, run->n_cell, where, err));
        AN_TRY(get_object(&q, 2, where, &doc, err));
        /* A merge may have given the model another number than the cell's document has. */
        bool none = sqlite3_column_type(q.stmt, 1) == SQLITE_NULL;
        json_t *model = none ? json_null() : json_integer(sqlite3_column_int64(q.stmt, 1));
        an_cell *cell = json_object_set_new(doc, "model_index", model) == 0 ? an_run_add_cell(run) : NULL;
        if (!cell) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        AN_TRY(an_cell_from_json(cell, doc, (int)run->n_model, where, err));
        json_decref(doc);
        doc = NULL;
    }
cleanup:
    json_decref(doc);
    an_query_close(&q);
    return status;
}

static anemo_status load_reps(an_store *s, const char *name, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_rep rep;
    bool row;
    int64_t cell;
    an_rep_init(&rep);
    AN_TRY(an_rep_select_open(&q, s, run->id, err));
    for (;;) {
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        AN_TRY(an_rep_select(&q, run->id, &rep, &cell, err));
        if (cell < 0 || (uint64_t)cell >= run->n_cell) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a repetition of cell %" PRId64 ", which is not there", name, cell);
            goto cleanup;
        }
        AN_TRY(an_cell_add_rep(&run->cells[cell], &rep, err));
    }
cleanup:
    an_rep_free(&rep);
    an_query_close(&q);
    return status;
}

/* An index of a cell; -1 is allowed with `none`. */
static bool get_cell(const an_query *q, int column, const an_run *run, bool none, int *out)
{
    int64_t cell = sqlite3_column_int64(q->stmt, column);
    *out = (int)cell;
    return (none && cell == -1) || (cell >= 0 && (uint64_t)cell < run->n_cell);
}

static bool get_count(const an_query *q, int column, size_t *out)
{
    int64_t n = sqlite3_column_int64(q->stmt, column);
    *out = (size_t)n;
    return n >= 0;
}

static double get_real(const an_query *q, int column)
{
    return sqlite3_column_type(q->stmt, column) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(q->stmt, column);
}

static anemo_status load_agreements(an_store *s, const char *name, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    int64_t n;
    AN_TRY(an_sql_number(s, "SELECT count(*) FROM agreements WHERE run = ?", run->id, 0, &n, err));
    if (n == 0) goto cleanup;
    run->agreements = an_calloc((size_t)n, sizeof *run->agreements);
    if (!run->agreements) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_query_open(&q, s,
                         "SELECT a, b, n_same, n, text_same, examined_by, identical, examined, near_tie, logit_gap, prob_margin "
                         "FROM agreements WHERE run = ? ORDER BY a, b",
                         err));
    an_query_text(&q, run->id);
    while (run->n_agreement < (size_t)n) {
        an_agreement *g = &run->agreements[run->n_agreement];
        AN_TRY(an_query_row(&q, &row, err));
        if (!row) break;
        if (!get_cell(&q, 0, run, false, &g->a) || !get_cell(&q, 1, run, false, &g->b) || !get_count(&q, 2, &g->n_same) ||
            !get_count(&q, 3, &g->n) || !get_count(&q, 4, &g->text_same) || !get_cell(&q, 5, run, true, &g->examined_by)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: an agreement holds an index or a count that cannot be", name);
            goto cleanup;
        }
        g->identical = sqlite3_column_int(q.stmt, 6) != 0;
        g->examined = sqlite3_column_int(q.stmt, 7) != 0;
        g->near_tie = sqlite3_column_int(q.stmt, 8) != 0;
        g->logit_gap = get_real(&q, 9);
        g->prob_margin = get_real(&q, 10);
        run->n_agreement++;
    }
cleanup:
    an_query_close(&q);
    return status;
}

anemo_status an_run_load(an_store *s, const char *id, an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[512];
    snprintf(name, sizeof name, "%.400s: run %.31s", s->path, id);
    an_run_init(run);
    AN_TRY(load_head(s, id, name, run, err));
    AN_TRY(load_tags(s, run, err));
    AN_TRY(load_cells(s, name, run, err));
    AN_TRY(load_reps(s, name, run, err));
    AN_TRY(load_agreements(s, name, run, err));
cleanup:
    if (status != ANEMO_OK) an_run_free(run);
    return status;
}

anemo_status an_store_get(an_store *s, const char *name, an_run *run, anemo_error *err)
{
    char id[32];
    /* One transaction: a run that goes on is seen as it was at one moment. */
    anemo_status status = an_store_tx_begin(s, false, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(an_store_find(s, name, id, err));
    AN_TRY(an_run_load(s, id, run, err));
cleanup:;
    anemo_status ended = an_store_tx_end(s, status, err);
    if (status == ANEMO_OK && ended != ANEMO_OK) an_run_free(run);
    return ended;
}
