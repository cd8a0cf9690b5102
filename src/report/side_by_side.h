/* Two runs as one table: `results compare A B`, and what `repeat` found. The second run is seen in relation to the first. */
#ifndef AN_REPORT_SIDE_BY_SIDE_H
#define AN_REPORT_SIDE_BY_SIDE_H

#include "report/match.h"
#include "report/report.h"

typedef struct an_side_options {
    const an_field_id *fields; /* what to compare; NULL: what people ask for first, where there is any of it */
    size_t n_field;
    double margin; /* of "equivalent" */
    double noise;  /* between two runs of the same thing, as |ln ratio|; NaN: not known, the reports say so */
    bool each;     /* every verdict by itself: no correction for their number */
} an_side_options;

typedef struct an_side_row {
    size_t match; /* index into matches */
    an_contrast c;
} an_side_row;

typedef struct an_side_by_side {
    const an_run *a, *b; /* borrowed */
    an_side_options options; /* its fields are not used after an_side_by_side_make() */
    an_cell_match *matches;
    size_t n_match;
    an_side_row *rows; /* of cells that are ok in both, in the order of the matches */
    size_t n_row;
} an_side_by_side;

/* Verdicts of one metric are corrected for the number of cells (Holm). Gives *out: an_side_by_side_free. */
ANEMO_MUST_CHECK anemo_status an_side_by_side_make(an_side_by_side *out, const an_run *a, const an_run *b,
                                                   const an_side_options *o, anemo_error *err);
void an_side_by_side_free(an_side_by_side *s);

/* Append it in one form; HTML is ERR_UNSUPPORTED. JSON has schema "anemo.side-by-side/1" (docs/gates.md). */
ANEMO_MUST_CHECK anemo_status an_side_by_side_write(const an_side_by_side *s, an_report_format format, an_str *out,
                                                    anemo_error *err);
/* The JSON as a value. New reference; NULL when out of memory. */
json_t *an_side_by_side_json(const an_side_by_side *s);

/* One contrast as JSON: medians, ratio, interval, verdict. New reference; NULL when out of memory. */
json_t *an_contrast_json(const an_contrast *c);

/* "+3.1 %": a ratio as a change, for people. "?" when it is not known. */
void an_change_text(double ratio, char *out, size_t cap);

#endif
