/*
 * Two runs of different days side by side: which cells of theirs are the same, how a metric compares between them, and what
 * their machines, engines and settings do not share. Repetitions of different runs are not paired.
 */
#ifndef AN_REPORT_MATCH_H
#define AN_REPORT_MATCH_H

#include "base/error.h"
#include "record/run.h"
#include "stats/compare.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Cells of two runs; -1: the other run has no counterpart. */
typedef struct an_cell_match {
    int a, b;
    bool same; /* the same key. False: only engine, model's name and work agree, an_cell_differences() says what does not */
} an_cell_match;

/*
 * Every cell of a in its order, then those that only b has. Cells with one key go together; of the rest those whose engine, name
 * of model and work are found once in each run. Gives *matches: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_run_match(const an_run *a, const an_run *b, an_cell_match **matches, size_t *n,
                                           anemo_error *err);

/* "llama.cpp · model.gguf · tg128", for people. */
void an_cell_title(const an_run *run, int cell, char *out, size_t cap);

/* What two cells do not share, as sentences: settings, versions, the model's checksum. New array; NULL when out of memory. */
json_t *an_cell_differences(const an_run *a, int cell_a, const an_run *b, int cell_b);

/* The same of two machines and builds. */
json_t *an_environment_differences(const an_environment *a, const an_environment *b);

/*
 * How far two runs of the same thing lie apart on these machines: the larger of their A/A figures, as |ln ratio|. NaN when neither
 * run knows one.
 */
double an_runs_noise(const an_run *a, const an_run *b);

/* One metric of two cells: b in relation to a. */
typedef struct an_contrast {
    an_field_id field;
    size_t n_a, n_b;           /* repetitions with a value */
    double median_a, median_b; /* NaN without */
    an_paired ratio;           /* b / a; its interval is widened by the noise */
} an_contrast;

/*
 * o: level, margin, bootstrap. noise (>= 0, NaN counts as 0) widens the interval on both sides before the verdict is given,
 * because repetitions of one run say nothing of what changes between two. Where all values of both cells are one and the same
 * number, the ratio is 1 and exact. ERR_NOMEM.
 */
ANEMO_MUST_CHECK anemo_status an_cells_contrast(const an_cell *a, const an_cell *b, an_field_id field,
                                                const an_compare_options *o, double noise, an_contrast *out,
                                                anemo_error *err);

/* The verdict in the field's own terms: "better", "worse", "higher", "lower", "equivalent", "undecided", "unknown". */
const char *an_contrast_word(const an_contrast *c);

#endif
