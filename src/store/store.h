/*
 * The results database: runs as record/run.h has them, in SQLite (WAL, synchronous=FULL). SQL does not leave this folder. A
 * database can be read while a run writes. Runs are named by id, by a unique beginning of it, by "last" (or "last~1"), or by tag.
 */
#ifndef AN_STORE_STORE_H
#define AN_STORE_STORE_H

#include "base/error.h"
#include "base/str.h"
#include "record/run.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_store an_store;

typedef enum an_store_mode { AN_STORE_READ, AN_STORE_WRITE } an_store_mode; /* WRITE makes and migrates it */

/*
 * `path` NULL: ANEMO_DB, else results.db in the user's data folder. ERR_NOTFOUND (READ of one that is not there), ERR_FORMAT (not
 * ours, damaged, or of a newer anemo: says so), ERR_UNSUPPORTED (WRITE on a network file system), ERR_IO, ERR_NOSPACE, ERR_BUSY
 * after 30 s of a lock. A store belongs to one thread at a time.
 */
ANEMO_MUST_CHECK anemo_status an_store_open(an_store **out, const char *path, an_store_mode mode, anemo_error *err);
void an_store_close(an_store *s); /* NULL is fine */
const char *an_store_path(const an_store *s);

/* ---- writing: each call is one transaction that is on the disk when it returns */

/*
 * The head and all cells as they are now, without repetitions. ERR_INVAL: the id is there already. Its tags move here from other runs;
 * later, tags and note are changed by an_store_tag() and an_store_note() alone.
 */
ANEMO_MUST_CHECK anemo_status an_store_begin(an_store *s, const an_run *run, anemo_error *err);
/*
 * Repetitions of this cell that are not in the database yet (their order is above the last one there), and the cell's present state.
 * ERR_NOTFOUND: somebody removed the run meanwhile; so too for finish.
 */
ANEMO_MUST_CHECK anemo_status an_store_put_cell(an_store *s, const an_run *run, size_t cell, anemo_error *err);
/* Head, cells, repetitions that are not there yet, agreements: the run's last state. */
ANEMO_MUST_CHECK anemo_status an_store_finish(an_store *s, const an_run *run, anemo_error *err);
/*
 * A whole run at once, or what the run of that id lacks of it (an import, a merge; the rules: docs/results.md). *added false: nothing
 * changed. ERR_FORMAT: an id or a tag that cannot be one, or repetitions of a cell whose orders do not rise.
 */
ANEMO_MUST_CHECK anemo_status an_store_put_run(an_store *s, const an_run *run, bool *added, anemo_error *err);

/* May this be a tag? ERR_INVAL says what is wrong with it: for an option, before anything is measured. */
ANEMO_MUST_CHECK anemo_status an_store_check_tag(const char *tag, anemo_error *err);
/* `tag` is added, or with `remove` taken away. A tag names one run: it moves from another run that has it. */
ANEMO_MUST_CHECK anemo_status an_store_tag(an_store *s, const char *run, const char *tag, bool remove, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_store_note(an_store *s, const char *run, const char *note, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_store_remove(an_store *s, const char *run, anemo_error *err);

/* ---- reading */

/* The id of a run that a user named. ERR_NOTFOUND, ERR_INVAL (several fit: lists them). */
ANEMO_MUST_CHECK anemo_status an_store_find(an_store *s, const char *name, char id[32], anemo_error *err);
/* Gives *run: an_run_free. */
ANEMO_MUST_CHECK anemo_status an_store_get(an_store *s, const char *name, an_run *run, anemo_error *err);

typedef struct an_store_filter { /* NULL or 0: any */
    const char *kind, *engine, *model, *tag, *since, *until; /* model: part of its name; dates: RFC 3339 or 2026-11-25 */
    const char *key;             /* cells with this key */
    size_t limit;                /* newest first */
} an_store_filter;

typedef struct an_store_row {
    char id[32], kind[16], date[21];
    char *engines, *models, *tags, *note; /* ", " between; owned by the list */
    size_t n_cell, n_failed, n_pending, n_rep;
    bool finished;
} an_store_row;
ANEMO_MUST_CHECK anemo_status an_store_list(an_store *s, const an_store_filter *f, an_store_row **rows, size_t *n,
                                            anemo_error *err);
void an_store_rows_free(an_store_row *rows, size_t n);

/*
 * SQLite's integrity_check, foreign keys, and our own rules (indices, counts, every JSON readable, no doubled repetition). Appends a
 * line for each fault; *n_fault counts them.
 */
ANEMO_MUST_CHECK anemo_status an_store_check(an_store *s, an_str *report, size_t *n_fault, anemo_error *err);

#endif
