/* store: what goes in comes out, names, tags, lists, merging, and files that are not what they should be. */
#include "support/files.h"
#include "support/test.h"

#include "base/json.h"
#include "store/made_run.h"
#include "store/same_run.h"
#include "store/store_internal.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static char dir[64], db[128];
static anemo_error err;

static int make_dir(void **state)
{
    (void)state;
    /* In memory where there is such a place: a commit on a disk takes milliseconds. */
    snprintf(dir, sizeof dir, "%s/anemo-store-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(dir)) return -1;
    snprintf(db, sizeof db, "%s/r.db", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    remove_flat_dir(dir);
    return 0;
}

static an_store *open_db(an_store_mode mode)
{
    an_store *s;
    assert_ok(an_store_open(&s, db, mode, &err), &err);
    return s;
}

static void assert_stored(an_store *s, const char *name, const an_run *expected)
{
    an_run run;
    assert_ok(an_store_get(s, name, &run, &err), &err);
    assert_same(&run, expected);
    an_run_free(&run);
}

static void assert_clean(an_store *s)
{
    an_str report = {0};
    size_t n;
    assert_ok(an_store_check(s, &report, &n, &err), &err);
    if (n) fail_msg("%s", an_str_text(&report));
    an_str_free(&report);
}

static size_t count_faults(an_store *s, const char *text)
{
    an_str report = {0};
    size_t n;
    assert_ok(an_store_check(s, &report, &n, &err), &err);
    if (!strstr(an_str_text(&report), text)) fail_msg("'%s' lacks '%s'", an_str_text(&report), text);
    an_str_free(&report);
    return n;
}

/* Change the file as a stranger would. */
static void sql(const char *statements)
{
    sqlite3 *other;
    char *why = NULL;
    assert_int_equal(sqlite3_open(db, &other), SQLITE_OK);
    if (sqlite3_exec(other, statements, NULL, NULL, &why) != SQLITE_OK) fail_msg("%s: %s", statements, why);
    sqlite3_close(other);
}

static void round_trip(void **state)
{
    (void)state;
    an_run run, seen;
    int64_t order = 0;
    bool added;
    an_store *s = open_db(AN_STORE_WRITE), *reader = open_db(AN_STORE_READ);
    made_run(&run, "20261125-174501-00a1", 3, 0, 1);
    run.cells[2].status = AN_CELL_PENDING;
    assert_ok(an_store_begin(s, &run, &err), &err);
    assert_fails(an_store_begin(s, &run, &err), &err, ANEMO_ERR_INVAL, "already");
    for (int i = 0; i < 4; i++)
        for (size_t c = 0; c < 2; c++) {
            made_rep(&run, (int)c, &order, 1);
            assert_ok(an_store_put_cell(s, &run, c, &err), &err);
            assert_ok(an_store_put_cell(s, &run, c, &err), &err); /* what is there is not doubled */
            assert_ok(an_store_get(reader, run.id, &seen, &err), &err);
            assert_int_equal(seen.cells[c].n_rep, i + 1);
            an_run_free(&seen);
        }
    run.cells[2].status = AN_CELL_SKIPPED;
    run.cells[2].reason = an_strdup("does not fit");
    run.interrupted = true;
    assert_ok(an_store_finish(s, &run, &err), &err);
    assert_stored(reader, run.id, &run);
    assert_ok(an_store_get(s, run.id, &seen, &err), &err);
    const an_rep *rep = &seen.cells[1].reps[2];
    assert_memory_equal(rep->text, "a b\xff c", 6); /* JSON could not hold it */
    assert_true(isnan(rep->curve[1].rss_file_bytes) && rep->curve[1].cpu_hz == 2e9);
    an_run_free(&seen);
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    assert_false(added);
    assert_clean(reader);
    assert_ok(an_store_remove(s, "last", &err), &err);
    assert_fails(an_store_put_cell(s, &run, 0, &err), &err, ANEMO_ERR_NOTFOUND, "removed meanwhile");
    assert_fails(an_store_finish(s, &run, &err), &err, ANEMO_ERR_NOTFOUND, "removed meanwhile");
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    assert_true(added);
    assert_stored(s, "2026", &run);
    an_run_free(&run);
    an_store_close(reader);
    an_store_close(s);
}

static void names(void **state)
{
    (void)state;
    static const char *const ids[] = {"20261101-000000-aaaa", "20261101-000000-abbb", "20261102-000000-cccc"};
    an_store *s = open_db(AN_STORE_WRITE);
    char id[32];
    bool added;
    for (int i = 0; i < 3; i++) {
        an_run run;
        made_run(&run, ids[i], 1, 1, 1);
        snprintf(run.environment.date, sizeof run.environment.date, "2026-11-0%dT00:00:00Z", 3 - i);
        assert_ok(an_store_put_run(s, &run, &added, &err), &err);
        an_run_free(&run);
    }
    assert_ok(an_store_find(s, "last", id, &err), &err);
    assert_string_equal(id, ids[0]);
    assert_ok(an_store_find(s, "last~2", id, &err), &err);
    assert_string_equal(id, ids[2]);
    assert_fails(an_store_find(s, "last~3", id, &err), &err, ANEMO_ERR_NOTFOUND, "not that many");
    assert_ok(an_store_find(s, "20261101-000000-ab", id, &err), &err);
    assert_string_equal(id, ids[1]);
    assert_fails(an_store_find(s, "20261101", id, &err), &err, ANEMO_ERR_INVAL, "20261101-000000-abbb, 20261101-000000-aaaa");
    assert_fails(an_store_find(s, "x", id, &err), &err, ANEMO_ERR_NOTFOUND, "'x'");
    assert_fails(an_store_find(s, "", id, &err), &err, ANEMO_ERR_INVAL, "empty");
    assert_fails(an_store_find(s, "last~x", id, &err), &err, ANEMO_ERR_NOTFOUND, "last~x");

    assert_ok(an_store_tag(s, ids[0], "base", false, &err), &err);
    assert_ok(an_store_find(s, "base", id, &err), &err);
    assert_string_equal(id, ids[0]);
    assert_ok(an_store_tag(s, ids[1], "base", false, &err), &err); /* it moves */
    assert_ok(an_store_find(s, "base", id, &err), &err);
    assert_string_equal(id, ids[1]);
    assert_fails(an_store_tag(s, ids[0], "base", true, &err), &err, ANEMO_ERR_NOTFOUND, "has no tag 'base'");
    assert_ok(an_store_tag(s, "base", "base", true, &err), &err);
    assert_fails(an_store_find(s, "base", id, &err), &err, ANEMO_ERR_NOTFOUND, "base");
    static const char *const bad[] = {"", "a b", "a,b", "last", "last~1", "-q", "a\x01"};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        assert_fails(an_store_tag(s, ids[0], bad[i], false, &err), &err, ANEMO_ERR_INVAL, "tag");
    assert_ok(an_store_note(s, ids[0], "noted", &err), &err);
    an_run run;
    assert_ok(an_store_get(s, ids[0], &run, &err), &err);
    assert_string_equal(run.note, "noted");
    /* A run that comes from elsewhere takes no tag away. */
    assert_ok(an_store_tag(s, ids[1], "mine", false, &err), &err);
    json_decref(run.tags);
    run.tags = json_pack("[s,s]", "mine", "yours");
    snprintf(run.id, sizeof run.id, "other");
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    an_run_free(&run);
    assert_ok(an_store_find(s, "mine", id, &err), &err);
    assert_string_equal(id, ids[1]);
    assert_ok(an_store_find(s, "yours", id, &err), &err);
    assert_string_equal(id, "other");
    assert_ok(an_store_note(s, ids[0], "", &err), &err);
    assert_clean(s);
    an_store_close(s);
}

static size_t n_listed(an_store *s, const an_store_filter *f)
{
    an_store_row *rows;
    size_t n;
    assert_ok(an_store_list(s, f, &rows, &n, &err), &err);
    an_store_rows_free(rows, n);
    return n;
}

static void lists(void **state)
{
    (void)state;
    an_store *s = open_db(AN_STORE_WRITE);
    an_store_row *rows;
    size_t n;
    char key[65] = "";
    for (int i = 0; i < 5; i++) {
        an_run run;
        char id[32];
        bool added;
        snprintf(id, sizeof id, "run-%d", i);
        made_run(&run, id, i + 1, 2, 1);
        snprintf(run.environment.date, sizeof run.environment.date, "2026-11-%02dT23:59:59Z", 20 + i);
        if (i == 3) run.cells[0].status = AN_CELL_FAILED;
        if (i == 3) run.cells[1].status = AN_CELL_PENDING;
        if (i == 4) snprintf(run.kind, sizeof run.kind, "bench");
        memcpy(key, run.cells[i].key, sizeof key);
        assert_ok(an_store_put_run(s, &run, &added, &err), &err);
        an_run_free(&run);
    }
    assert_ok(an_store_tag(s, "run-3", "b-tag", false, &err), &err);
    assert_ok(an_store_tag(s, "run-3", "a-tag", false, &err), &err);
    assert_ok(an_store_list(s, NULL, &rows, &n, &err), &err);
    assert_int_equal(n, 5);
    assert_string_equal(rows[0].id, "run-4");
    assert_string_equal(rows[1].engines, "native, llama.cpp");
    assert_string_equal(rows[1].models, "Model-A, Model-B");
    assert_string_equal(rows[1].tags, "a-tag, b-tag");
    assert_int_equal(rows[1].n_cell, 4);
    assert_int_equal(rows[1].n_failed, 1);
    assert_int_equal(rows[1].n_pending, 1);
    assert_int_equal(rows[1].n_rep, 8);
    assert_false(rows[1].finished);
    assert_true(rows[0].finished);
    an_store_rows_free(rows, n);
    assert_int_equal(n_listed(s, &(an_store_filter){.limit = 2}), 2);
    assert_int_equal(n_listed(s, &(an_store_filter){.kind = "bench"}), 1);
    assert_int_equal(n_listed(s, &(an_store_filter){.engine = "llama.cpp"}), 4);
    assert_int_equal(n_listed(s, &(an_store_filter){.model = "model-a"}), 5);
    assert_int_equal(n_listed(s, &(an_store_filter){.model = "%"}), 0);
    assert_int_equal(n_listed(s, &(an_store_filter){.tag = "a-tag"}), 1);
    assert_int_equal(n_listed(s, &(an_store_filter){.key = key}), 1);
    assert_int_equal(n_listed(s, &(an_store_filter){.since = "2026-11-22"}), 3);
    assert_int_equal(n_listed(s, &(an_store_filter){.until = "2026-11-22"}), 3);
    assert_int_equal(n_listed(s, &(an_store_filter){.until = "2026-11-22T23:59:58Z"}), 2);
    assert_fails(an_store_list(s, &(an_store_filter){.since = "yesterday"}, &rows, &n, &err), &err, ANEMO_ERR_INVAL,
                 "since: 'yesterday'");
    an_store_close(s);
}

/* Leave of a run only cells [from, to): what one element of a job array writes. */
static void keep_cells(an_run *run, size_t from, size_t to)
{
    for (size_t c = 0; c < run->n_cell; c++) {
        if (c >= from && c < to) continue;
        for (size_t r = 0; r < run->cells[c].n_rep; r++) an_rep_free(&run->cells[c].reps[r]);
        run->cells[c].n_rep = 0;
        run->cells[c].status = AN_CELL_PENDING;
    }
    if (from > 0 || to < 2) run->n_agreement = 0;
}

static void merging(void **state)
{
    (void)state;
    an_store *s = open_db(AN_STORE_WRITE);
    an_run whole, part;
    bool added;
    made_run(&whole, "sweep", 6, 3, 7);
    /* Elements in some order, each twice, one of them a second time by another job that measured something else. */
    static const size_t order[] = {4, 0, 2};
    for (size_t i = 0; i < 3; i++) {
        made_run(&part, "sweep", 6, 3, 7);
        keep_cells(&part, order[i], order[i] + 2);
        assert_ok(an_store_put_run(s, &part, &added, &err), &err);
        assert_true(added);
        assert_ok(an_store_put_run(s, &part, &added, &err), &err);
        assert_false(added);
        an_run_free(&part);
        made_run(&part, "sweep", 6, 3, 8);
        keep_cells(&part, order[i], order[i] + 2);
        assert_ok(an_store_put_run(s, &part, &added, &err), &err);
        assert_false(added);
        an_run_free(&part);
    }
    assert_stored(s, "sweep", &whole);
    an_store_row *rows;
    size_t n;
    assert_ok(an_store_list(s, NULL, &rows, &n, &err), &err);
    assert_true(rows[0].finished);
    an_store_rows_free(rows, n);

    /* An element that knows its own cell only, with a model the run has under another number and a failure that was repeated. */
    assert_ok(an_store_remove(s, "sweep", &err), &err);
    made_run(&part, "sweep", 6, 3, 7);
    part.cells[5].status = AN_CELL_FAILED;
    keep_cells(&part, 5, 6);
    assert_ok(an_store_put_run(s, &part, &added, &err), &err);
    an_run_free(&part);
    made_run(&part, "sweep", 6, 3, 7);
    snprintf(part.environment.host, sizeof part.environment.host, "node-2");
    keep_cells(&part, 5, 6);
    an_cell last = part.cells[5];
    part.cells[5] = part.cells[0];
    part.cells[0] = last;
    an_run_model m = part.models[0];
    part.models[0] = part.models[1];
    part.models[1] = m;
    assert_int_equal(last.model, 1);
    part.cells[0].model = 0;
    size_t n_cell = part.n_cell;
    part.n_cell = 1;
    assert_ok(an_store_put_run(s, &part, &added, &err), &err);
    assert_true(added);
    part.n_cell = n_cell;
    an_run_free(&part);
    assert_ok(an_store_get(s, "sweep", &part, &err), &err);
    assert_int_equal(part.n_cell, 6);
    assert_int_equal(part.n_model, 2);
    assert_int_equal(part.cells[5].status, AN_CELL_OK);
    assert_int_equal(part.cells[5].model, 1);
    assert_int_equal(part.cells[5].n_rep, 3);
    json_t *cells;
    assert_int_equal(json_unpack(part.extra, "{s:{s:{s:o}}}", "environments", "node-2", "cells", &cells), 0);
    assert_int_equal(json_array_size(cells), 1);
    assert_int_equal(json_integer_value(json_array_get(cells, 0)), 5);
    an_run_free(&part);
    assert_clean(s);
    an_run_free(&whole);
    an_store_close(s);
}

/* Of a run's only cell the repetitions of one block, as a task of a sweep writes them: a load, then three that count. */
static void block_of_cell(an_run *run, int block, uint64_t seed)
{
    made_run(run, "blocks", 1, 0, 7);
    int64_t order = block * 1000000;
    for (int i = 0; i < 4; i++) {
        made_rep(run, 0, &order, seed);
        an_rep *rep = &run->cells[0].reps[i];
        rep->block = i == 0 ? -1 : block;
        rep->kind = i == 0 ? AN_REP_LOAD : AN_REP_TIMED;
    }
}

static void merging_blocks(void **state)
{
    (void)state;
    static const int order[] = {2, 0, 1};
    an_store *s = open_db(AN_STORE_WRITE);
    an_run part, whole, seen;
    bool added;
    /* Block 1 failed after two repetitions, before it was tried again. */
    block_of_cell(&part, 1, 99);
    an_rep_free(&part.cells[0].reps[--part.cells[0].n_rep]);
    part.cells[0].status = AN_CELL_FAILED;
    assert_ok(an_store_put_run(s, &part, &added, &err), &err);
    an_run_free(&part);
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t twin = 0; twin < 2; twin++) {
            block_of_cell(&part, order[i], twin);
            /* Another task measured one repetition more. */
            int64_t next = order[i] * 1000000 + 4;
            if (twin) {
                made_rep(&part, 0, &next, 5);
                part.cells[0].reps[4].block = order[i];
            }
            assert_ok(an_store_put_run(s, &part, &added, &err), &err);
            assert_int_equal(added, !twin);
            an_run_free(&part);
        }
    }
    assert_ok(an_store_get(s, "blocks", &seen, &err), &err);
    assert_int_equal(seen.cells[0].status, AN_CELL_OK);
    assert_int_equal(seen.cells[0].n_rep, 12);
    for (int b = 0; b < 3; b++) {
        block_of_cell(&whole, b, 0);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(seen.cells[0].reps[4 * b + i].order, whole.cells[0].reps[i].order);
            assert_memory_equal(seen.cells[0].reps[4 * b + i].token_ids, whole.cells[0].reps[i].token_ids, 16);
        }
        an_run_free(&whole);
    }
    an_run_free(&seen);
    assert_clean(s);
    an_store_close(s);
}

static void twice_the_same_cell(void **state)
{
    (void)state;
    an_store *s = open_db(AN_STORE_WRITE);
    an_run run;
    bool added;
    made_run(&run, "aa", 2, 3, 1);
    snprintf(run.cells[1].engine, sizeof run.cells[1].engine, "native");
    run.cells[1].model = run.cells[0].model;
    run.aa = true;
    assert_ok(an_cell_make_key(&run, &run.cells[1], &err), &err);
    assert_string_equal(run.cells[0].key, run.cells[1].key);
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    assert_false(added);
    assert_stored(s, "aa", &run);
    an_run_free(&run);
    an_store_close(s);
}

static void write_file(const void *data, size_t n)
{
    assert_ok(an_file_write(db, data, n, &err), &err);
}

static void store_one(void)
{
    an_run run;
    bool added;
    an_store *s = open_db(AN_STORE_WRITE);
    made_run(&run, "one", 4, 20, 1);
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    an_run_free(&run);
    an_store_close(s);
}

static void other_files(void **state)
{
    (void)state;
    an_store *s;
    assert_fails(an_store_open(&s, db, AN_STORE_READ, &err), &err, ANEMO_ERR_NOTFOUND, "no results yet");
    assert_fails(an_store_open(&s, dir, AN_STORE_READ, &err), &err, ANEMO_ERR_INVAL, "folder");
    write_file("", 0);
    assert_fails(an_store_open(&s, db, AN_STORE_READ, &err), &err, ANEMO_ERR_NOTFOUND, "no results yet");
    for (int mode = AN_STORE_READ; mode <= AN_STORE_WRITE; mode++) {
        write_file("no database at all, only a text that is long enough to be read as a header of a hundred bytes or so", 100);
        assert_fails(an_store_open(&s, db, (an_store_mode)mode, &err), &err, ANEMO_ERR_FORMAT, "not a SQLite database");
        assert_ok(an_path_remove(db, &err), &err);
        sql("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)");
        assert_fails(an_store_open(&s, db, (an_store_mode)mode, &err), &err, ANEMO_ERR_FORMAT, "another program");
        sql("SELECT x FROM theirs; PRAGMA application_id = 1"); /* untouched */
        assert_fails(an_store_open(&s, db, (an_store_mode)mode, &err), &err, ANEMO_ERR_FORMAT, "another program");
        assert_ok(an_path_remove(db, &err), &err);
        store_one();
        sql("PRAGMA user_version = 2");
        assert_fails(an_store_open(&s, db, (an_store_mode)mode, &err), &err, ANEMO_ERR_FORMAT, "newer anemo");
        sql("PRAGMA user_version = -1");
        assert_fails(an_store_open(&s, db, (an_store_mode)mode, &err), &err, ANEMO_ERR_FORMAT, "schema -1");
        sql("PRAGMA user_version = 1; DROP TABLE reps");
        s = NULL;
        an_run run;
        anemo_status status = an_store_open(&s, db, (an_store_mode)mode, &err);
        if (status == ANEMO_OK) status = an_store_get(s, "one", &run, &err);
        assert_int_equal(status, ANEMO_ERR_FORMAT);
        an_store_close(s);
        assert_ok(an_path_remove(db, &err), &err);
    }
}

/* Cut anywhere: an error or what was whole, and no crash. */
static void cut_files(void **state)
{
    (void)state;
    char *data;
    size_t n, n_refused = 0;
    store_one();
    assert_ok(an_file_read(db, 1 << 24, &data, &n, &err), &err);
    for (size_t cut = 0; cut < n - 4096; cut += n / 50) {
        an_store *s = NULL;
        an_run run;
        write_file(data, cut);
        anemo_status status = an_store_open(&s, db, AN_STORE_READ, &err);
        if (status == ANEMO_OK) {
            an_str report = {0};
            size_t n_fault;
            assert_ok(an_store_check(s, &report, &n_fault, &err), &err);
            assert_true(n_fault > 0);
            an_str_free(&report);
            status = an_store_get(s, "one", &run, &err);
        }
        if (status == ANEMO_OK) an_run_free(&run);
        else assert_true(status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_NOTFOUND);
        n_refused += status != ANEMO_OK;
        an_store_close(s);
    }
    assert_true(n_refused > 25);
    an_free(data);
}

/* Bytes changed at random: never a crash, and get either refuses with words or gives a run. */
static void changed_files(void **state)
{
    (void)state;
    char *data;
    size_t n;
    store_one();
    assert_ok(an_file_read(db, 1 << 24, &data, &n, &err), &err);
    srand(1);
    for (int i = 0; i < 60; i++) {
        an_store *s = NULL;
        an_run run;
        char *copy = an_malloc(n);
        assert_non_null(copy);
        memcpy(copy, data, n);
        for (int k = 0; k < 20; k++) copy[100 + (size_t)rand() % (n - 100)] ^= (char)(1 << rand() % 8);
        write_file(copy, n);
        an_free(copy);
        err.message[0] = '\0';
        anemo_status status = an_store_open(&s, db, AN_STORE_READ, &err);
        an_str report = {0};
        size_t n_fault = 0;
        if (status == ANEMO_OK) status = an_store_check(s, &report, &n_fault, &err);
        if (status == ANEMO_OK) status = an_store_get(s, "one", &run, &err);
        if (status == ANEMO_OK) an_run_free(&run);
        else assert_true(err.message[0]);
        an_str_free(&report);
        an_store_close(s);
    }
    an_free(data);
}

static void bad_columns(void **state)
{
    (void)state;
    static const struct {
        const char *change, *says;
    } cases[] = {
        {"UPDATE runs SET head = 'x'", "run one"},
        {"UPDATE runs SET head = '[]'", "not a JSON object"},
        {"UPDATE runs SET head = json_set(head, '$.id', 'two')", "its head has the id 'two'"},
        {"UPDATE runs SET head = json_remove(head, '$.environment')", "environment"},
        {"UPDATE models SET doc = '{'", "a model"},
        {"UPDATE models SET doc = json_set(doc, '$.bytes', -1)", "bytes"},
        {"UPDATE models SET idx = 7 WHERE idx = 1", "number 7 stands where 1 is due"},
        {"UPDATE cells SET doc = ''", "cell 0"},
        {"UPDATE cells SET doc = json_set(doc, '$.status', 'fine') WHERE idx = 2", "unknown status 'fine'"},
        {"UPDATE cells SET model = 9 WHERE idx = 1", "names model 9 of 2"},
        {"DELETE FROM cells WHERE idx = 1", "number 2 stands where 1 is due"},
        {"UPDATE reps SET kind = 'x' WHERE ord = 5", "cell 1, repetition 5: its kind"},
        {"UPDATE reps SET block = -2 WHERE ord = 5", "repetition 5: its block"},
        {"UPDATE reps SET token_ids = x'010203' WHERE ord = 5", "repetition 5: token_ids, token_times_s or curve"},
        {"UPDATE reps SET token_ids = x'' WHERE ord = 5", "different numbers of tokens"},
        {"UPDATE reps SET text = x'41' WHERE ord = 5", "text_bytes_before_eos lies outside"},
        {"UPDATE reps SET text_bytes_before_eos = -1 WHERE ord = 5", "text_bytes_before_eos lies outside"},
        {"UPDATE reps SET curve = x'00' WHERE ord = 5", "curve"},
        {"UPDATE reps SET stop_reason = 'much longer than it may be' WHERE ord = 5", "stop_reason is too long"},
        {"UPDATE reps SET cell = 99 WHERE ord = 5", "cell 99"},
        {"UPDATE agreements SET a = 44", "agreement"},
        {"UPDATE agreements SET n = -44", "agreement"},
        {"UPDATE runs SET id = 'an id that is by far too long for one'", "too long for a run's id"},
    };
    char *data;
    size_t n;
    store_one();
    assert_ok(an_file_read(db, 1 << 24, &data, &n, &err), &err);
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_run run;
        write_file(data, n);
        sql(cases[i].change);
        an_store *s = open_db(AN_STORE_READ);
        assert_fails(an_store_get(s, "last", &run, &err), &err, ANEMO_ERR_FORMAT, cases[i].says);
        assert_true(count_faults(s, "") > 0);
        an_store_close(s);
    }
    an_free(data);
}

/* A stranger's database with our name on it: a view or a trigger is not run. */
static void planted_schema(void **state)
{
    (void)state;
    an_run run;
    store_one();
    sql("CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END;");
    an_store *s = open_db(AN_STORE_WRITE);
    assert_ok(an_store_note(s, "one", "kept", &err), &err);
    assert_ok(an_store_get(s, "one", &run, &err), &err);
    an_run_free(&run);
    an_store_close(s);
    sql("DROP TRIGGER t; ALTER TABLE tags RENAME TO t2; CREATE VIEW tags AS SELECT 'x' AS tag, 'one' AS run");
    s = open_db(AN_STORE_READ);
    assert_fails(an_store_get(s, "one", &run, &err), &err, ANEMO_ERR_FORMAT, "view");
    an_store_close(s);
}

static void fewer_metrics(void **state)
{
    (void)state;
    an_run run;
    bool added;
    store_one();
    sql("ALTER TABLE reps DROP COLUMN mfu; ALTER TABLE reps DROP COLUMN ttft_s; ALTER TABLE reps ADD COLUMN of_tomorrow REAL");
    an_store *s = open_db(AN_STORE_READ);
    assert_ok(an_store_get(s, "one", &run, &err), &err);
    assert_true(isnan(run.cells[0].reps[0].values[AN_FIELD_ID_ttft_s]));
    assert_true(isfinite(run.cells[0].reps[0].values[AN_FIELD_ID_n_prompt]));
    an_run_free(&run);
    an_store_close(s);
    s = open_db(AN_STORE_WRITE);
    made_run(&run, "two", 2, 2, 5);
    assert_ok(an_store_put_run(s, &run, &added, &err), &err);
    assert_stored(s, "two", &run);
    an_run_free(&run);
    assert_ok(an_store_get(s, "one", &run, &err), &err);
    an_run_free(&run);
    assert_clean(s);
    an_store_close(s);
}

static void bad_ids(void **state)
{
    (void)state;
    static const char *const ids[] = {"", "../x", "a b", "-x", ".x", "a/b"};
    an_store *s = open_db(AN_STORE_WRITE);
    for (size_t i = 0; i < AN_COUNT_OF(ids); i++) {
        an_run run;
        bool added;
        made_run(&run, ids[i], 1, 1, 1);
        assert_fails(an_store_put_run(s, &run, &added, &err), &err, ANEMO_ERR_FORMAT, "not the id of a run");
        assert_fails(an_store_begin(s, &run, &err), &err, ANEMO_ERR_FORMAT, "not the id of a run");
        an_run_free(&run);
    }
    an_store_close(s);
}

/* A reader neither waits for a writer in the middle of its work nor sees half of it. */
static void read_while_writing(void **state)
{
    (void)state;
    store_one();
    an_store *s = open_db(AN_STORE_WRITE), *reader = open_db(AN_STORE_READ);
    an_run run;
    assert_ok(an_store_tx_begin(s, true, &err), &err);
    made_run(&run, "half", 2, 2, 5);
    assert_ok(an_run_insert(s, &run, true, &err), &err);
    assert_int_equal(n_listed(reader, NULL), 1);
    an_store *late = open_db(AN_STORE_READ);
    assert_int_equal(n_listed(late, NULL), 1);
    assert_fails(an_store_note(reader, "one", "x", &err), &err, ANEMO_ERR_IO, "cannot be written");
    assert_ok(an_store_tx_end(s, ANEMO_OK, &err), &err);
    assert_int_equal(n_listed(reader, NULL), 2);
    an_run_free(&run);
    an_store_close(late);
    an_store_close(reader);
    an_store_close(s);
    /* The last one to close leaves one file. */
    char **files;
    size_t n;
    assert_ok(an_dir_list(dir, &files, &n, &err), &err);
    assert_int_equal(n, 1);
    an_names_free(files);
}

static int refuse_from(void *ctx, size_t bytes, uint64_t idx)
{
    (void)bytes;
    return idx >= *(const uint64_t *)ctx;
}

static int refuse_once(void *ctx, size_t bytes, uint64_t idx)
{
    (void)bytes;
    return idx == *(const uint64_t *)ctx;
}

/* All that a user can do, once. */
static anemo_status use_all(const an_run *run)
{
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    an_run back;
    an_str report = {0};
    an_store_row *rows = NULL;
    size_t n = 0;
    bool added;
    an_run_init(&back);
    AN_TRY(an_store_open(&s, db, AN_STORE_WRITE, &err));
    AN_TRY(an_store_begin(s, run, &err));
    AN_TRY(an_store_put_cell(s, run, 0, &err));
    AN_TRY(an_store_finish(s, run, &err));
    AN_TRY(an_store_put_run(s, run, &added, &err));
    AN_TRY(an_store_tag(s, run->id, "t", false, &err));
    AN_TRY(an_store_get(s, "t", &back, &err));
    AN_TRY(an_store_list(s, NULL, &rows, &n, &err));
    AN_TRY(an_store_check(s, &report, &n, &err));
    assert_int_equal(n, 0);
    n = 1;
    AN_TRY(an_store_remove(s, run->id, &err));
cleanup:
    an_store_rows_free(rows, rows ? 1 : 0);
    an_str_free(&report);
    an_run_free(&back);
    an_store_close(s);
    return status;
}

static void refused_memory(void **state)
{
    (void)state;
    an_run run;
    size_t n_refused = 0;
    made_run(&run, "memory", 2, 1, 1);
    assert_int_equal(use_all(&run), ANEMO_OK);
    for (int mode = 0; mode < 2; mode++) {
        /* Each early one, later every so many: the first calls are the opening, over and over. */
        for (uint64_t k = 0;; k += k < 40 ? 1 : 1 + k / 37) {
            an_alloc_set_hook(mode ? refuse_once : refuse_from, &k);
            anemo_status status = use_all(&run);
            an_alloc_set_hook(NULL, NULL);
            if (status == ANEMO_OK && mode == 0) break;
            if (k > 40000) break;
            if (status != ANEMO_OK && status != ANEMO_ERR_NOMEM) fail_msg("%d, %d: %s", mode, (int)k, err.message);
            n_refused += status != ANEMO_OK;
            an_store *s = open_db(AN_STORE_WRITE);
            assert_clean(s);
            if (an_store_remove(s, run.id, &err) != ANEMO_OK) assert_int_equal(err.status, ANEMO_ERR_NOTFOUND);
            an_store_close(s);
        }
    }
    assert_true(n_refused > 100);
    an_run_free(&run);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        CASE(round_trip),     CASE(names),        CASE(lists),         CASE(merging),          CASE(merging_blocks), CASE(twice_the_same_cell),
        CASE(other_files),    CASE(cut_files),    CASE(changed_files), CASE(bad_columns),      CASE(planted_schema),
        CASE(fewer_metrics),  CASE(bad_ids),      CASE(read_while_writing), CASE(refused_memory),
    };
    an_json_watch_memory();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
