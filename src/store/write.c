/* Runs on their way in. */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

/* ---- names */

/* "2026-baseline", "main@a1b2"; nothing that a user could mean as another way to name a run. */
anemo_status an_store_check_tag(const char *tag, anemo_error *err)
{
    size_t n = strlen(tag);
    if (n == 0 || n > 100) return an_fail(err, ANEMO_ERR_INVAL, "a tag has 1 to 100 bytes, not %zu", n);
    for (const unsigned char *c = (const unsigned char *)tag; *c; c++)
        if (*c <= ' ' || *c == 0x7f || *c == ',')
            return an_fail(err, ANEMO_ERR_INVAL, "tag '%s': no blanks, commas or control characters", tag);
    if (tag[0] == '-') return an_fail(err, ANEMO_ERR_INVAL, "tag '%s': would look like an option", tag);
    if (strcmp(tag, "last") == 0 || strncmp(tag, "last~", 5) == 0)
        return an_fail(err, ANEMO_ERR_INVAL, "tag '%s': this word means the newest run", tag);
    return ANEMO_OK;
}

anemo_status an_run_check(const an_run *run, anemo_error *err)
{
    /* Ids become file names and arguments. */
    size_t n = strspn(run->id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    if (n == 0 || run->id[n] != '\0' || run->id[0] == '-' || run->id[0] == '.')
        return an_fail(err, ANEMO_ERR_FORMAT, "'%s' is not the id of a run: letters, digits, '-', '_' and '.'", run->id);
    for (size_t i = 0; i < json_array_size(run->tags); i++) {
        const char *tag = json_string_value(json_array_get(run->tags, i));
        if (!tag || an_store_check_tag(tag, err) != ANEMO_OK) return an_fail_prefix(err, ANEMO_ERR_FORMAT, "run %s", run->id);
    }
    for (size_t c = 0; c < run->n_cell; c++)
        for (size_t r = 1; r < run->cells[c].n_rep; r++)
            if (run->cells[c].reps[r].order <= run->cells[c].reps[r - 1].order)
                return an_fail(err, ANEMO_ERR_FORMAT, "run %s: cell %zu has the order %" PRId64 " behind %" PRId64, run->id, c,
                               run->cells[c].reps[r].order, run->cells[c].reps[r - 1].order);
    return ANEMO_OK;
}

static anemo_status no_such_run(const an_store *s, const char *run, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: run %s is no longer there; it was removed meanwhile", s->path, run);
}

bool an_run_has_pending(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (run->cells[i].status == AN_CELL_PENDING) return true;
    return false;
}

/* ---- rows */

/* The head without what stands in tables of its own. New reference. */
static json_t *bare_head(const json_t *head)
{
    static const char *const elsewhere[] = {"models", "cells", "agreements", "tags", "note"};
    json_t *bare = json_copy((json_t *)head);
    for (size_t i = 0; bare && i < AN_COUNT_OF(elsewhere); i++) json_object_del(bare, elsewhere[i]);
    return bare;
}

static anemo_status put_head(const an_store *s, const an_run *run, const json_t *head, bool finished, bool is_new,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_str doc = {0};
    AN_TRY(an_json_write(bare_head(head), JSON_COMPACT, &doc, err));
    AN_TRY(an_query_open(&q, s,
                         is_new ? "INSERT INTO runs (kind, date, host, command, finished, head, id, note) "
                                  "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                                : "UPDATE runs SET kind = ?, date = ?, host = ?, command = ?, finished = ?, head = ? "
                                  "WHERE id = ?",
                         err));
    an_query_text(&q, run->kind);
    an_query_text(&q, run->environment.date);
    an_query_text(&q, run->environment.host);
    an_query_text(&q, run->command);
    an_query_i64(&q, finished);
    an_query_text(&q, an_str_text(&doc));
    an_query_text(&q, run->id);
    if (is_new) an_query_text(&q, run->note);
    AN_TRY(an_query_run(&q, err));
    if (sqlite3_changes(s->db) == 0) status = no_such_run(s, run->id, err);
cleanup:
    an_query_close(&q);
    an_str_free(&doc);
    return status;
}

anemo_status an_model_put(const an_store *s, const char *run, int64_t idx, const json_t *model, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_str doc = {0};
    const char *name = json_string_value(json_object_get(model, "name"));
    const char *sha256 = json_string_value(json_object_get(model, "sha256"));
    json_t *bytes = json_object_get(model, "bytes");
    AN_TRY(an_json_write(json_incref((json_t *)model), JSON_COMPACT, &doc, err));
    AN_TRY(an_query_open(&q, s,
                         "INSERT INTO models (run, idx, name, sha256, bytes, doc) VALUES (?, ?, ?, ?, ?, ?) "
                         "ON CONFLICT (run, idx) DO UPDATE SET name = excluded.name, sha256 = excluded.sha256, "
                         "bytes = excluded.bytes, doc = excluded.doc",
                         err));
    an_query_text(&q, run);
    an_query_i64(&q, idx);
    an_query_text(&q, name ? name : "");
    an_query_text(&q, sha256 ? sha256 : "");
    if (json_is_integer(bytes)) an_query_i64(&q, json_integer_value(bytes));
    else an_query_null(&q);
    an_query_text(&q, an_str_text(&doc));
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    an_str_free(&doc);
    return status;
}

anemo_status an_models_put(const an_store *s, const char *run, const json_t *head, anemo_error *err)
{
    json_t *models = json_object_get(head, "models");
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < json_array_size(models) && status == ANEMO_OK; i++)
        status = an_model_put(s, run, (int64_t)i, json_array_get(models, i), err);
    return status;
}

anemo_status an_cell_put(const an_store *s, const an_run *run, size_t cell, int64_t idx, int64_t model, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_str doc = {0};
    AN_TRY(an_json_write(an_cell_json(run, c, false), JSON_COMPACT, &doc, err));
    AN_TRY(an_query_open(&q, s,
                         "INSERT INTO cells (run, idx, key, engine, model, label, status, doc) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
                         "ON CONFLICT (run, idx) DO UPDATE SET key = excluded.key, engine = excluded.engine, "
                         "model = excluded.model, label = excluded.label, status = excluded.status, doc = excluded.doc",
                         err));
    an_query_text(&q, run->id);
    an_query_i64(&q, idx);
    an_query_text(&q, c->key);
    an_query_text(&q, c->engine);
    if (model < 0) an_query_null(&q);
    else an_query_i64(&q, model);
    an_query_text(&q, c->label);
    an_query_text(&q, an_cell_status_name(c->status));
    an_query_text(&q, an_str_text(&doc));
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    an_str_free(&doc);
    return status;
}

anemo_status an_reps_put(const an_store *s, const an_run *run, size_t cell, int64_t idx, int64_t after, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_rep_insert_open(&q, s, err));
    for (size_t i = 0; i < c->n_rep; i++)
        if (c->reps[i].order > after) AN_TRY(an_rep_insert(&q, run->id, idx, &c->reps[i], err));
cleanup:
    an_query_close(&q);
    return status;
}

anemo_status an_agreement_put(const an_store *s, const char *run, const an_agreement *a, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_query_open(&q, s,
                         "INSERT OR REPLACE INTO agreements (run, a, b, n_same, n, identical, examined, near_tie, logit_gap, prob_margin, "
                         "examined_by, text_same) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                         err));
    an_query_text(&q, run);
    an_query_i64(&q, a->a);
    an_query_i64(&q, a->b);
    an_query_i64(&q, (int64_t)a->n_same);
    an_query_i64(&q, (int64_t)a->n);
    an_query_i64(&q, a->identical);
    an_query_i64(&q, a->examined);
    an_query_i64(&q, a->near_tie);
    an_query_f64(&q, a->logit_gap);
    an_query_f64(&q, a->prob_margin);
    an_query_i64(&q, a->examined_by);
    an_query_i64(&q, (int64_t)a->text_same);
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    return status;
}

/* ---- tags */

/* take: also from another run that has it. */
static anemo_status put_tag(const an_store *s, const char *run, const char *tag, bool take, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_query_open(&q, s,
                         take ? "INSERT INTO tags (tag, run) VALUES (?, ?) ON CONFLICT (tag) DO UPDATE SET run = excluded.run"
                              : "INSERT INTO tags (tag, run) VALUES (?, ?) ON CONFLICT (tag) DO NOTHING",
                         err));
    an_query_text(&q, tag);
    an_query_text(&q, run);
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status put_tags(const an_store *s, const an_run *run, bool take, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < json_array_size(run->tags); i++) {
        AN_TRY(put_tag(s, run->id, json_string_value(json_array_get(run->tags, i)), take, err));
    }
cleanup:
    return status;
}

/* ---- whole runs */

static anemo_status put_rest(an_store *s, const an_run *run, const json_t *head, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(an_models_put(s, run->id, head, err));
    for (size_t i = 0; i < run->n_cell; i++) AN_TRY(an_cell_put(s, run, i, (int64_t)i, run->cells[i].model, err));
cleanup:
    return status;
}

static anemo_status put_agreements(an_store *s, const an_run *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < run->n_agreement; i++) AN_TRY(an_agreement_put(s, run->id, &run->agreements[i], err));
cleanup:
    return status;
}

static anemo_status run_is_new(an_store *s, const char *id, bool *is_new, anemo_error *err)
{
    int64_t n;
    anemo_status status = an_sql_number(s, "SELECT count(*) FROM runs WHERE id = ?", id, 0, &n, err);
    *is_new = n == 0;
    return status;
}

static anemo_status get_head(const an_run *run, json_t **out, anemo_error *err)
{
    *out = an_run_head_json(run);
    return *out ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

anemo_status an_store_begin(an_store *s, const an_run *run, anemo_error *err)
{
    json_t *head = NULL;
    bool is_new;
    anemo_status status = an_run_check(run, err);
    if (status == ANEMO_OK) status = get_head(run, &head, err);
    if (status == ANEMO_OK) status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) goto no_transaction;
    AN_TRY(run_is_new(s, run->id, &is_new, err));
    if (!is_new) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: there is a run %s already", s->path, run->id);
        goto cleanup;
    }
    AN_TRY(put_head(s, run, head, false, true, err));
    AN_TRY(put_rest(s, run, head, err));
    AN_TRY(put_tags(s, run, true, err));
cleanup:
    status = an_store_tx_end(s, status, err);
no_transaction:
    json_decref(head);
    return status;
}

/* Repetitions of run->cells[cell] that follow the last one in the database. */
static anemo_status put_new_reps(an_store *s, const an_run *run, size_t cell, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    int64_t last = -1;
    AN_TRY(an_query_open(&q, s, "SELECT max(ord) FROM reps WHERE run = ? AND cell = ?", err));
    an_query_text(&q, run->id);
    an_query_i64(&q, (int64_t)cell);
    AN_TRY(an_query_row(&q, &row, err));
    if (row && sqlite3_column_type(q.stmt, 0) != SQLITE_NULL) last = sqlite3_column_int64(q.stmt, 0);
    an_query_close(&q);
    AN_TRY(an_reps_put(s, run, cell, (int64_t)cell, last, err));
cleanup:
    an_query_close(&q);
    return status;
}

anemo_status an_store_put_cell(an_store *s, const an_run *run, size_t cell, anemo_error *err)
{
    bool is_new;
    anemo_status status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(run_is_new(s, run->id, &is_new, err));
    if (is_new) {
        status = no_such_run(s, run->id, err);
        goto cleanup;
    }
    AN_TRY(an_cell_put(s, run, cell, (int64_t)cell, run->cells[cell].model, err));
    AN_TRY(put_new_reps(s, run, cell, err));
cleanup:
    return an_store_tx_end(s, status, err);
}

anemo_status an_store_finish(an_store *s, const an_run *run, anemo_error *err)
{
    json_t *head = NULL;
    anemo_status status = get_head(run, &head, err);
    if (status == ANEMO_OK) status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) goto no_transaction;
    AN_TRY(put_head(s, run, head, true, false, err));
    AN_TRY(put_rest(s, run, head, err));
    for (size_t i = 0; i < run->n_cell; i++) AN_TRY(put_new_reps(s, run, i, err));
    AN_TRY(put_agreements(s, run, err));
cleanup:
    status = an_store_tx_end(s, status, err);
no_transaction:
    json_decref(head);
    return status;
}

anemo_status an_run_insert(an_store *s, const an_run *run, bool finished, anemo_error *err)
{
    json_t *head = NULL;
    anemo_status status = ANEMO_OK;
    AN_TRY(get_head(run, &head, err));
    AN_TRY(put_head(s, run, head, finished, true, err));
    AN_TRY(put_rest(s, run, head, err));
    for (size_t i = 0; i < run->n_cell; i++) AN_TRY(an_reps_put(s, run, i, (int64_t)i, INT64_MIN, err));
    AN_TRY(put_agreements(s, run, err));
    AN_TRY(put_tags(s, run, false, err));
cleanup:
    json_decref(head);
    return status;
}

anemo_status an_store_put_run(an_store *s, const an_run *run, bool *added, anemo_error *err)
{
    bool is_new;
    anemo_status status = an_run_check(run, err);
    *added = false;
    if (status == ANEMO_OK) status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(run_is_new(s, run->id, &is_new, err));
    if (is_new) {
        *added = true;
        AN_TRY(an_run_insert(s, run, !an_run_has_pending(run) || run->interrupted, err));
    } else {
        AN_TRY(an_run_merge(s, run, added, err));
    }
cleanup:
    status = an_store_tx_end(s, status, err);
    if (status != ANEMO_OK) *added = false;
    return status;
}

/* ---- changes by name: find and change in one transaction */

anemo_status an_store_tag(an_store *s, const char *run, const char *tag, bool remove, anemo_error *err)
{
    char id[32];
    an_query q = {0};
    anemo_status status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(an_store_find(s, run, id, err));
    if (!remove) {
        AN_TRY(an_store_check_tag(tag, err));
        AN_TRY(put_tag(s, id, tag, true, err));
        goto cleanup;
    }
    AN_TRY(an_query_open(&q, s, "DELETE FROM tags WHERE tag = ? AND run = ?", err));
    an_query_text(&q, tag);
    an_query_text(&q, id);
    AN_TRY(an_query_run(&q, err));
    if (sqlite3_changes(s->db) == 0) status = an_fail(err, ANEMO_ERR_NOTFOUND, "run %s has no tag '%s'", id, tag);
cleanup:
    an_query_close(&q);
    return an_store_tx_end(s, status, err);
}

/* One statement with a text (NULL: none) and the id as its parameters. */
static anemo_status change_run(an_store *s, const char *run, const char *sql, bool has_text, const char *text, anemo_error *err)
{
    char id[32];
    an_query q = {0};
    anemo_status status = an_store_tx_begin(s, true, err);
    if (status != ANEMO_OK) return status;
    AN_TRY(an_store_find(s, run, id, err));
    AN_TRY(an_query_open(&q, s, sql, err));
    if (has_text) an_query_text(&q, text);
    an_query_text(&q, id);
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    return an_store_tx_end(s, status, err);
}

anemo_status an_store_note(an_store *s, const char *run, const char *note, anemo_error *err)
{
    return change_run(s, run, "UPDATE runs SET note = ? WHERE id = ?", true, note && note[0] ? note : NULL, err);
}

anemo_status an_store_remove(an_store *s, const char *run, anemo_error *err)
{
    return change_run(s, run, "DELETE FROM runs WHERE id = ?", false, NULL, err);
}
