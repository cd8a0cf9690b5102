/* Runs for tests of the store: every member filled, from a seed. */
#ifndef AN_TESTS_STORE_MADE_RUN_H
#define AN_TESTS_STORE_MADE_RUN_H

#include "record/run.h"

#include <stdint.h>

/* A run with that id; every n_cell-th cell is pending, when `pending`. Ends the program when memory is out. */
void made_run(an_run *run, const char *id, int n_cell, int n_rep, uint64_t seed);

/* One more timed repetition of a cell: its order is *order, which it raises. */
void made_rep(an_run *run, int cell, int64_t *order, uint64_t seed);

#endif
