/* The two ways of measuring again: cmd_repeat.c repeats comparisons, repeat_cells.c cells that were measured by themselves. */
#ifndef AN_CLI_REPEAT_H
#define AN_CLI_REPEAT_H

#include "cli/keeper.h"
#include "drivers/driver.h"
#include "os/terminal.h"
#include "record/run.h"

/* Settings of a capsule. Words are checked; those of the KV cache are borrowed from obj. */
ANEMO_MUST_CHECK anemo_status an_repeat_settings(const json_t *obj, an_settings *s, const char *name, anemo_error *err);

typedef struct an_repeat_job {
    const an_run *before;
    char *const *paths;  /* of its models here */
    const char *name;    /* of the capsule, for messages */
    const char *url;     /* of the http engine, or NULL */
    int n_rep;           /* 0: as many as each cell had */
    uint64_t timeout_ns;
    an_progress *progress;
    an_keeper *keeper;
} an_repeat_job;

/* Check that every cell can be measured here, before anything is. */
ANEMO_MUST_CHECK anemo_status an_repeat_cells_check(const an_repeat_job *j, anemo_error *err);

/* Fill `now` (initialised, described) with the cells of `before`, each measured by itself, in their order. */
ANEMO_MUST_CHECK anemo_status an_repeat_cells(const an_repeat_job *j, an_run *now, anemo_error *err);

#endif
