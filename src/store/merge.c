/*
 * A run that is there already comes again: from another element of a job array, or the same file a second time. Cells are the same
 * when they have the same key and are the same one in the order of cells with that key (an A/A run has two). A cell is taken
 * whole, never repetition by repetition, because two jobs may have measured it: the better finished one stays, of equals
 * the first. One exception: a sweep measures its grid in blocks, and each block of a cell may come in a file of its own; a finished
 * cell whose repetitions are all of blocks that the database does not have adds to it.
 */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <string.h>

/* How much a cell's state is worth. */
static int worth(const char *status)
{
    if (strcmp(status, an_cell_status_name(AN_CELL_OK)) == 0) return 2;
    return strcmp(status, an_cell_status_name(AN_CELL_PENDING)) == 0 ? 0 : 1;
}

/* The cell of the database that is run->cells[cell]. */
typedef struct known_cell {
    bool there, better; /* better: the incoming one replaces it */
    int64_t idx;        /* where it stands or will stand */
} known_cell;

static anemo_status find_cell(an_store *s, const an_run *run, size_t cell, known_cell *out, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    int64_t n_before = 0;
    const char *old;
    for (size_t i = 0; i < cell; i++) n_before += strcmp(run->cells[i].key, c->key) == 0;
    AN_TRY(an_query_open(&q, s,
                         "SELECT idx, status, (SELECT count(*) FROM reps WHERE run = cells.run AND cell = cells.idx) FROM cells "
                         "WHERE run = ? AND key = ? ORDER BY idx LIMIT 1 OFFSET ?",
                         err));
    an_query_text(&q, run->id);
    an_query_text(&q, c->key);
    an_query_i64(&q, n_before);
    AN_TRY(an_query_row(&q, &out->there, err));
    if (out->there) {
        int64_t n_rep = sqlite3_column_int64(q.stmt, 2);
        int is = worth(an_cell_status_name(c->status));
        AN_TRY(an_query_get_text(&q, 1, &old, err));
        out->idx = sqlite3_column_int64(q.stmt, 0);
        out->better = is > worth(old) || (is == 0 && worth(old) == 0 && (int64_t)c->n_rep > n_rep);
    } else {
        an_query_close(&q);
        out->better = true;
        AN_TRY(an_sql_number(s, "SELECT max(idx) + 1 FROM cells WHERE run = ?", run->id, 0, &out->idx, err));
    }
cleanup:
    an_query_close(&q);
    return status;
}

/* The number that the database has for a model: the same weights, else the same document; added when it is new. */
static anemo_status find_model(an_store *s, const char *run, const json_t *model, int64_t *idx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    an_str doc = {0};
    bool found;
    const char *sha256 = json_string_value(json_object_get(model, "sha256"));
    AN_TRY(an_json_write(json_incref((json_t *)model), JSON_COMPACT, &doc, err));
    AN_TRY(an_query_open(&q, s,
                         "SELECT idx FROM models WHERE run = ? AND ((sha256 != '' AND sha256 = ?) OR doc = ?) ORDER BY idx", err));
    an_query_text(&q, run);
    an_query_text(&q, sha256 ? sha256 : "");
    an_query_text(&q, an_str_text(&doc));
    AN_TRY(an_query_row(&q, &found, err));
    if (found) {
        *idx = sqlite3_column_int64(q.stmt, 0);
        goto cleanup;
    }
    AN_TRY(an_sql_number(s, "SELECT max(idx) + 1 FROM models WHERE run = ?", run, 0, idx, err));
    AN_TRY(an_model_put(s, run, *idx, model, err));
cleanup:
    an_query_close(&q);
    an_str_free(&doc);
    return status;
}

static anemo_status replace_cell(an_store *s, const an_run *run, size_t cell, int64_t idx, const json_t *models,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    int64_t model = -1;
    if (run->cells[cell].model >= 0)
        AN_TRY(find_model(s, run->id, json_array_get(models, (size_t)run->cells[cell].model), &model, err));
    AN_TRY(an_query_open(&q, s, "DELETE FROM reps WHERE run = ? AND cell = ?", err));
    an_query_text(&q, run->id);
    an_query_i64(&q, idx);
    AN_TRY(an_query_run(&q, err));
    AN_TRY(an_cell_put(s, run, cell, idx, model, err));
    AN_TRY(an_reps_put(s, run, cell, idx, INT64_MIN, err));
cleanup:
    an_query_close(&q);
    return status;
}

/* Agreements between cells that both came now; those of others are known. */
static anemo_status put_agreements(an_store *s, const an_run *run, const known_cell *known, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < run->n_agreement; i++) {
        an_agreement g = run->agreements[i];
        if (!known[g.a].better || !known[g.b].better) continue;
        g.a = (int)known[g.a].idx;
        g.b = (int)known[g.b].idx;
        if (g.examined_by >= 0) g.examined_by = (int)known[g.examined_by].idx;
        AN_TRY(an_agreement_put(s, run->id, &g, err));
    }
cleanup:
    return status;
}

/*
 * Cells that were measured on another machine than the run's: that machine's environment goes to extra.environments by its name,
 * with the numbers of those cells.
 */
static anemo_status note_machine(an_store *s, const an_run *run, const known_cell *known, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    json_t *head = NULL, *cells;
    an_str doc = {0};
    const char *text;
    bool row;
    AN_TRY(an_query_open(&q, s, "SELECT head FROM runs WHERE id = ? AND host != ?", err));
    an_query_text(&q, run->id);
    an_query_text(&q, run->environment.host);
    AN_TRY(an_query_row(&q, &row, err));
    if (!row || !run->environment.host[0]) goto cleanup;
    AN_TRY(an_query_get_text(&q, 0, &text, err));
    AN_TRY(an_json_parse(&head, text, strlen(text), s->path, err));
    an_query_close(&q);
    json_t *extra = json_object_get(head, "extra");
    if (!json_is_object(extra)) json_object_set_new(head, "extra", extra = json_object());
    json_t *machines = json_object_get(extra, "environments");
    if (!json_is_object(machines)) json_object_set_new(extra, "environments", machines = json_object());
    json_t *machine = json_object_get(machines, run->environment.host);
    if (!json_is_object(machine))
        json_object_set_new(machines, run->environment.host, machine = an_environment_json(&run->environment));
    cells = json_object_get(machine, "cells");
    if (!json_is_array(cells)) json_object_set_new(machine, "cells", cells = json_array());
    for (size_t i = 0; i < run->n_cell; i++)
        if (known[i].better) json_array_append_new(cells, json_integer(known[i].idx));
    AN_TRY(an_json_write(json_incref(head), JSON_COMPACT, &doc, err));
    AN_TRY(an_query_open(&q, s, "UPDATE runs SET head = ? WHERE id = ?", err));
    an_query_text(&q, an_str_text(&doc));
    an_query_text(&q, run->id);
    AN_TRY(an_query_run(&q, err));
cleanup:
    json_decref(head);
    an_str_free(&doc);
    an_query_close(&q);
    return status;
}

/* A run is finished when none of its cells is pending. */
static anemo_status finish(an_store *s, const char *run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_query_open(&q, s,
                         "UPDATE runs SET finished = 1 WHERE id = ? AND NOT EXISTS "
                         "(SELECT 1 FROM cells WHERE run = runs.id AND status = 'pending')",
                         err));
    an_query_text(&q, run);
    AN_TRY(an_query_run(&q, err));
cleanup:
    an_query_close(&q);
    return status;
}

/* Are the incoming cell's repetitions of blocks, and in places, that the database's cell has none in? */
static anemo_status has_other_blocks(an_store *s, const an_run *run, size_t cell, int64_t idx, bool *other, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    size_t n_timed = 0;
    *other = c->status == AN_CELL_OK;
    AN_TRY(an_query_open(&q, s,
                         "SELECT 1 FROM reps WHERE run = ? AND cell = ? AND (ord = ? OR (kind = 'timed' AND block = ?)) "
                         "UNION ALL SELECT 1 FROM cells WHERE run = ? AND idx = ? AND status != 'ok' LIMIT 1",
                         err));
    for (size_t i = 0; *other && i < c->n_rep; i++) {
        bool row, timed = c->reps[i].kind == AN_REP_TIMED;
        n_timed += timed;
        an_query_text(&q, run->id);
        an_query_i64(&q, idx);
        an_query_i64(&q, c->reps[i].order);
        an_query_i64(&q, timed ? c->reps[i].block : INT64_MIN);
        an_query_text(&q, run->id);
        an_query_i64(&q, idx);
        AN_TRY(an_query_row(&q, &row, err));
        if (row) {
            *other = false;
            AN_TRY(an_query_row(&q, &row, err));
        }
    }
    *other = *other && n_timed > 0;
cleanup:
    an_query_close(&q);
    return status;
}

anemo_status an_run_merge(an_store *s, const an_run *run, bool *changed, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *head = an_run_head_json(run), *models = json_object_get(head, "models");
    known_cell *known = an_calloc(run->n_cell + 1, sizeof *known);
    *changed = false;
    if (!head || !known) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < run->n_cell; i++) {
        AN_TRY(find_cell(s, run, i, &known[i], err));
        bool other = false;
        if (known[i].better)
            AN_TRY(replace_cell(s, run, i, known[i].idx, models, err));
        else
            AN_TRY(has_other_blocks(s, run, i, known[i].idx, &other, err));
        if (other) AN_TRY(an_reps_put(s, run, i, known[i].idx, INT64_MIN, err));
        *changed |= known[i].better || other;
    }
    if (!*changed) goto cleanup;
    AN_TRY(put_agreements(s, run, known, err));
    AN_TRY(note_machine(s, run, known, err));
    AN_TRY(finish(s, run->id, err));
cleanup:
    json_decref(head);
    an_free(known);
    return status;
}
