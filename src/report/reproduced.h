/* Did a run that was repeated come out the same? */
#ifndef AN_REPORT_REPRODUCED_H
#define AN_REPORT_REPRODUCED_H

#include "report/side_by_side.h"

/* The ids of two cells' first timed repetitions. */
typedef enum an_same_ids { AN_IDS_UNKNOWN, AN_IDS_SAME, AN_IDS_DIFFER } an_same_ids;

typedef struct an_reproduced {
    an_side_by_side side;  /* a: the capsule's run, b: its repetition */
    an_same_ids *ids;      /* [side.n_match] */
    size_t *first;         /* [side.n_match]: index of the first id that differs */
    size_t n_off;          /* metrics that the interval shows to be elsewhere */
    size_t n_undecided;
    size_t n_ids_differ, n_missing; /* cells of the capsule that did not come out this time */
} an_reproduced;

/*
 * margin: how far apart two distributions may be and still be the same one; noise as in an_side_options. What decides: the speeds, the
 * time to the first token, peak memory, and the ids. Gives *out: an_reproduced_free.
 */
ANEMO_MUST_CHECK anemo_status an_reproduced_make(an_reproduced *out, const an_run *before, const an_run *now, double margin,
                                                 double noise, anemo_error *err);
void an_reproduced_free(an_reproduced *r);

/* False when a metric is elsewhere or ids differ; what cannot be told is no failure. */
bool an_reproduced_holds(const an_reproduced *r);

ANEMO_MUST_CHECK anemo_status an_reproduced_text(const an_reproduced *r, an_str *out, anemo_error *err);
/* Schema "anemo.repeat/1". New reference; NULL when out of memory. */
json_t *an_reproduced_json(const an_reproduced *r);

#endif
