/* Shared between the files of sweep/. */
#ifndef AN_SWEEP_SWEEP_INTERNAL_H
#define AN_SWEEP_SWEEP_INTERNAL_H

#include "bench/meter.h"
#include "sweep/sweep.h"

/* The values of an axis; `pattern` lets words hold * and ?. Gives *out. */
ANEMO_MUST_CHECK anemo_status an_axis_read(an_axis axis, const char *value, const char *place, bool pattern,
                                           an_axis_values *out, anemo_error *err);
/* The axis of that name, in the plan's or the rules' spelling. */
bool an_axis_find(const char *name, size_t len, an_axis *out);
/* The static text of a word that the axis knows; NULL for others. */
const char *an_axis_word(an_axis axis, const char *text);
an_tristate an_sweep_tristate(const char *word); /* "on", "off", anything else is auto */

/* Add one rule from its text. */
ANEMO_MUST_CHECK anemo_status an_rule_read(an_plan *plan, const char *text, const char *place, bool exclude,
                                           anemo_error *err);

/* 0, 1, … n - 1; an_free. NULL when out of memory. */
size_t *an_sweep_identity(size_t n);

/* Write s->manifest and s->id from everything else; seed 0 becomes one that follows from the cells. */
ANEMO_MUST_CHECK anemo_status an_sweep_write_manifest(an_sweep *s, bool has_seed, anemo_error *err);

/* s->run's head: kind, id, workload, note, tags. */
ANEMO_MUST_CHECK anemo_status an_sweep_describe(an_sweep *s, const char *note, char *const *tags, anemo_error *err);

/*
 * Where the plan's cells lie in a stored run: at[s->run.n_cell]. Those that it lacks (result files were joined one by
 * one) are added to it, pending.
 */
ANEMO_MUST_CHECK anemo_status an_sweep_match(const an_sweep *s, an_run *run, size_t *at, anemo_error *err);

/* ---- measuring, shared by runs into the database and into files: run.c */

ANEMO_MUST_CHECK anemo_status an_sweep_open_meter(const an_sweep *s, const an_sweep_options *o, an_meter **meter,
                                                  anemo_error *err);

/* ERR_NOSPACE when the file system of dir has less free than the plan keeps. */
ANEMO_MUST_CHECK anemo_status an_sweep_check_disk(const an_sweep *s, const char *dir, anemo_error *err);

/*
 * What is missing of a block of the plan's cell `cell`, which is run->cells[at]: its repetitions get their blocks and
 * *next_order on. A cell that does not fit in memory is skipped. After o->stop the cell stays PENDING with what it has.
 */
ANEMO_MUST_CHECK anemo_status an_sweep_measure(const an_sweep *s, an_run *run, size_t at, size_t cell, int block,
                                               an_meter *meter, const an_sweep_options *o, int64_t *next_order,
                                               anemo_error *err);

#endif
