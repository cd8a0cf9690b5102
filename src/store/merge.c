/*
 * A run that is there already comes again: from another task of a job array, or the same file a second time. Cells are the same
 * when they have the same key and are the same one in the order of cells with that key (an A/A run has two). Of a cell, the
 * repetitions of one block belong together and are taken together or not at all, because two tasks may have measured the same
 * block: the one of a better finished cell stays, of equals the first.
 */
#include "store/store_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <string.h>

/* What a cell's state is worth; FAILED: ended without success, for whatever reason. */
enum { PENDING, FAILED, OK };

static int worth(const char *status)
{
    if (strcmp(status, an_cell_status_name(AN_CELL_OK)) == 0) return OK;
    return strcmp(status, an_cell_status_name(AN_CELL_PENDING)) == 0 ? PENDING : FAILED;
}

/* The cell of the database that is run->cells[cell]. */
typedef struct known_cell {
    bool there, changed; /* changed: something of the incoming one was taken */
    int64_t idx;         /* where it stands or will stand */
    int worth;           /* of its state in the database */
} known_cell;

static anemo_status find_cell(an_store *s, const an_run *run, size_t cell, known_cell *out, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    int64_t n_before = 0;
    const char *old;
    for (size_t i = 0; i < cell; i++) n_before += strcmp(run->cells[i].key, c->key) == 0;
    AN_TRY(an_query_open(&q, s, "SELECT idx, status FROM cells WHERE run = ? AND key = ? ORDER BY idx LIMIT 1 OFFSET ?", err));
    an_query_text(&q, run->id);
    an_query_text(&q, c->key);
    an_query_i64(&q, n_before);
    AN_TRY(an_query_row(&q, &out->there, err));
    if (out->there) {
        AN_TRY(an_query_get_text(&q, 1, &old, err));
        out->worth = worth(old);
        out->idx = sqlite3_column_int64(q.stmt, 0);
    } else {
        an_query_close(&q);
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

static anemo_status put_cell(an_store *s, const an_run *run, size_t cell, int64_t idx, const json_t *models, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t model = -1;
    if (run->cells[cell].model >= 0)
        AN_TRY(find_model(s, run->id, json_array_get(models, (size_t)run->cells[cell].model), &model, err));
    AN_TRY(an_cell_put(s, run, cell, idx, model, err));
cleanup:
    return status;
}

/* Repetitions [begin, end) of a cell that were measured together. */
typedef struct group {
    size_t begin, end;
    int block; /* -1: none of them is of a block */
} group;

/*
 * The block that each repetition goes with: a load or a warm-up goes with the next one that has a block, else with the last. an_free;
 * NULL when out of memory.
 */
static int *blocks_of(const an_cell *c)
{
    int *blocks = an_calloc(c->n_rep + 1, sizeof *blocks), next = -1;
    if (!blocks) return NULL;
    for (size_t i = c->n_rep; i-- > 0;) {
        if (c->reps[i].block >= 0) next = c->reps[i].block;
        blocks[i] = next;
    }
    for (size_t i = 1; i < c->n_rep; i++)
        if (blocks[i] < 0) blocks[i] = blocks[i - 1];
    return blocks;
}

/* What the database has in the place of a group: repetitions of its block, or with orders from its first to its last. */
static void bind_place(an_query *q, const char *run, int64_t idx, const an_cell *c, const group *g)
{
    an_query_text(q, run);
    an_query_i64(q, idx);
    if (g->block < 0) an_query_null(q); /* which nothing equals */
    else an_query_i64(q, g->block);
    an_query_i64(q, c->reps[g->begin].order);
    an_query_i64(q, c->reps[g->end - 1].order);
}

static anemo_status count_in_place(an_store *s, const char *run, int64_t idx, const an_cell *c, const group *g, size_t *n,
                                   anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    bool row;
    AN_TRY(an_query_open(&q, s,
                         "SELECT max((SELECT count(*) FROM reps WHERE run = ?1 AND cell = ?2 AND block = ?3), "
                         "(SELECT count(*) FROM reps WHERE run = ?1 AND cell = ?2 AND ord BETWEEN ?4 AND ?5))",
                         err));
    bind_place(&q, run, idx, c, g);
    AN_TRY(an_query_row(&q, &row, err));
    *n = row ? (size_t)sqlite3_column_int64(q.stmt, 0) : 0;
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status clear_place(an_store *s, const char *run, int64_t idx, const an_cell *c, const group *g, anemo_error *err)
{
    /* One statement for each index: together they would look at every repetition of the cell. Both take all parameters. */
    static const char *const deletes[] = {
        "DELETE FROM reps WHERE run = ?1 AND cell = ?2 AND block = ?3 AND ?4 <= ?5",
        "DELETE FROM reps WHERE run = ?1 AND cell = ?2 AND ord BETWEEN ?4 AND ?5",
    };
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    for (size_t i = 0; i < AN_COUNT_OF(deletes); i++) {
        AN_TRY(an_query_open(&q, s, deletes[i], err));
        bind_place(&q, run, idx, c, g);
        AN_TRY(an_query_run(&q, err));
        an_query_close(&q);
    }
cleanup:
    an_query_close(&q);
    return status;
}

static anemo_status put_group(an_store *s, const an_run *run, size_t cell, int64_t idx, const group *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0};
    AN_TRY(an_rep_insert_open(&q, s, err));
    for (size_t i = g->begin; i < g->end; i++) AN_TRY(an_rep_insert(&q, run->id, idx, &run->cells[cell].reps[i], err));
cleanup:
    an_query_close(&q);
    return status;
}

/* A cell that failed did so in the block that it measured last: what there is of that one is no measurement. */
static anemo_status drop_failed_block(an_store *s, const char *run, int64_t idx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_query q = {0}, drop = {0};
    bool row;
    AN_TRY(an_query_open(&q, s, "SELECT block FROM reps WHERE run = ? AND cell = ? ORDER BY ord DESC LIMIT 1", err));
    an_query_text(&q, run);
    an_query_i64(&q, idx);
    AN_TRY(an_query_row(&q, &row, err));
    if (!row) goto cleanup;
    AN_TRY(an_query_open(&drop, s,
                         "DELETE FROM reps WHERE run = ?1 AND cell = ?2 AND ord > coalesce("
                         "(SELECT max(ord) FROM reps WHERE run = ?1 AND cell = ?2 AND block >= 0 AND block != ?3), -1)",
                         err));
    an_query_text(&drop, run);
    an_query_i64(&drop, idx);
    an_query_i64(&drop, sqlite3_column_int64(q.stmt, 0));
    AN_TRY(an_query_run(&drop, err));
cleanup:
    an_query_close(&q);
    an_query_close(&drop);
    return status;
}

static anemo_status merge_cell(an_store *s, const an_run *run, size_t cell, known_cell *known, const json_t *models, anemo_error *err)
{
    const an_cell *c = &run->cells[cell];
    anemo_status status = ANEMO_OK;
    int is = worth(an_cell_status_name(c->status)), *blocks = NULL;
    bool better = !known->there || is > known->worth;
    if (!better && (is < known->worth || is == FAILED)) return ANEMO_OK;
    blocks = blocks_of(c);
    if (!blocks) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    if (better && known->there && known->worth == FAILED) AN_TRY(drop_failed_block(s, run->id, known->idx, err));
    if (better) AN_TRY(put_cell(s, run, cell, known->idx, models, err));
    known->changed = better;
    for (group g = {0}; g.begin < c->n_rep; g.begin = g.end) {
        size_t n_there;
        g.block = blocks[g.begin];
        for (g.end = g.begin + 1; g.end < c->n_rep && blocks[g.end] == g.block; g.end++) {}
        AN_TRY(count_in_place(s, run->id, known->idx, c, &g, &n_there, err));
        /* Of two that were interrupted, the longer one. */
        bool longer = is == PENDING && n_there < g.end - g.begin;
        if (n_there > 0 && !better && !longer) continue;
        if (n_there > 0) AN_TRY(clear_place(s, run->id, known->idx, c, &g, err));
        AN_TRY(put_group(s, run, cell, known->idx, &g, err));
        known->changed = true;
    }
cleanup:
    an_free(blocks);
    return status;
}

/* Agreements between cells that both came now; those of others are known. */
static anemo_status put_agreements(an_store *s, const an_run *run, const known_cell *known, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < run->n_agreement; i++) {
        an_agreement g = run->agreements[i];
        if (!known[g.a].changed || !known[g.b].changed) continue;
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
        if (known[i].changed) json_array_append_new(cells, json_integer(known[i].idx));
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
        AN_TRY(merge_cell(s, run, i, &known[i], models, err));
        *changed = *changed || known[i].changed;
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
