/*
 * The verdicts of a run: every measured cell against the reference in a metric that decides, corrected together. What the
 * stop rule works for, what reports print first, and what gates act on: one place, so that they never differ.
 */
#ifndef AN_RECORD_VERDICTS_H
#define AN_RECORD_VERDICTS_H

#include "record/run.h"

/* Decode speed and time to first token. */
enum { AN_DECISIVE_N = 2, AN_VERDICTS_MAX = 1000 };
extern const an_field_id an_decisive_fields[AN_DECISIVE_N];

typedef struct an_run_verdict {
    an_field_id field;
    int cell, against; /* indices of cells; pair.ratio is cell's value over against's */
    an_paired pair;
} an_run_verdict;

/* The cell that verdicts compare with: the first that was measured and repeats no other; -1 when there is none. */
int an_run_reference(const an_run *run);

/* Only cells of the same work can be compared. */
bool an_cells_same_work(const an_cell *a, const an_cell *b);

/*
 * Do the timed repetitions of two cells alternate? Else drift is in their difference. One repetition each says nothing against
 * it.
 */
bool an_cells_alternate(const an_cell *a, const an_cell *b);

/*
 * The verdicts in one field, at most cap of them: every other cell that has it against the first of the same work, those of one work
 * corrected together by Holm. Where run->refused is set, and the run is no A/A, or where two cells did not alternate, whatever would be
 * claimed is UNDECIDED. Second copies of a cell (copy_of) get
 * verdicts in A/A runs alone. Works on a run that still goes on: pending cells count with what they have.
 */
size_t an_run_verdicts(const an_run *run, an_field_id field, an_run_verdict *out, size_t cap);

/* Those of all decisive fields: [{"field", "cell", "against", "label", "against_label", "n", "ratio", "lo", "hi", "level", "boot_lo", "boot_hi", "p",
 * "p_adjusted", "mde", "n_needed", "covariate", "verdict", "better"}]; "better" says which way round in words: "faster", "slower". New reference, NULL when out of memory. */
json_t *an_run_verdicts_json(const an_run *run);

/* "faster", "slower", "equivalent", "undecided", "unknown": LOWER and HIGHER by which of the field's values are better. */
const char *an_run_verdict_word(const an_run_verdict *v);

#endif
