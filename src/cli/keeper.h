/*
 * Keeping a run in the results database while it is measured. A database that cannot be written is a warning, never the end of
 * a run: what was measured is printed all the same.
 */
#ifndef AN_CLI_KEEPER_H
#define AN_CLI_KEEPER_H

#include "cli/options.h"
#include "record/run.h"
#include "store/store.h"

#include <stdbool.h>

typedef struct an_keeper {
    an_store *store;  /* NULL: nothing is kept */
    const char *verb; /* begins warnings */
    bool begun;       /* the run is in the database */
    bool behind;      /* a write failed; an_keeper_finish() tries once more */
} an_keeper;

/* `path` NULL: the usual place. Warns when it cannot be opened; the other calls then do nothing. */
void an_keeper_open(an_keeper *k, const char *verb, const char *path);
void an_keeper_begin(an_keeper *k, const an_run *run);
void an_keeper_cell(an_keeper *k, const an_run *run, size_t cell);
/* The run's last state. True when all of it is on the disk. */
bool an_keeper_finish(an_keeper *k, const an_run *run);
void an_keeper_close(an_keeper *k);

/* an_keeper_begin() and an_keeper_cell() as callbacks of a measurement; ctx: the keeper. */
void an_keeper_on_begun(void *ctx, const an_run *run);
void an_keeper_on_changed(void *ctx, const an_run *run, size_t cell);

/*
 * What the command line says of a run besides its work: copies of `command` and `note` (NULL: none) and the tags. ERR_INVAL for a
 * tag that no run may have.
 */
ANEMO_MUST_CHECK anemo_status an_keeper_describe(an_run *run, const char *command, const char *note, const an_opt_list *tags,
                                                 anemo_error *err);

#endif
