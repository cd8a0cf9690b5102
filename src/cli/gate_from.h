/* anemo compare --gate-from: the noise of a kept A/A run as the margin of this one. */
#ifndef AN_CLI_GATE_FROM_H
#define AN_CLI_GATE_FROM_H

#include "base/error.h"
#include "record/run.h"

#include <stdbool.h>

/* Zero-initialise; an_gate_from_free. */
typedef struct an_gate_from {
    an_run run; /* the A/A run */
    bool found;
    int cell;   /* that it measured against itself */
    int here;   /* the cell of the comparison that is the same, or the nearest to it */
} an_gate_from;

/*
 * Before anything is measured: the run `name` of the database `db` (NULL: the usual one), which has to hold what a cell measured
 * against itself showed. NULL does nothing, as then do the calls below. Errors of the database; ERR_INVAL: no A/A run, one whose gate
 * failed, or one of too few blocks.
 */
ANEMO_MUST_CHECK anemo_status an_gate_from_open(an_gate_from *g, const char *name, const char *db, anemo_error *err);

/*
 * Take its figure into a run that is planned. ERR_INVAL: it is of another machine, or has an engine or a model that no cell here has.
 * Warns on stderr when it is older than a day or the cell's settings or work were others.
 */
ANEMO_MUST_CHECK anemo_status an_gate_from_apply(an_gate_from *g, an_run *run, anemo_error *err);

/*
 * When all is measured, and with it versions and checksums are known: other weights take the verdicts back (run->refused), other
 * versions are a warning. ERR_NOMEM.
 */
ANEMO_MUST_CHECK anemo_status an_gate_from_check(const an_gate_from *g, an_run *run, anemo_error *err);
void an_gate_from_free(an_gate_from *g);

#endif
