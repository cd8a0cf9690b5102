/*
 * Gates: limits on how far a run may be from a baseline. A gate fails only when the interval of the change lies beyond the
 * limit; what the repetitions cannot tell is undecided. Grammar and method: docs/gates.md.
 */
#ifndef AN_REPORT_GATE_H
#define AN_REPORT_GATE_H

#include "report/match.h"

#include "base/str.h"

typedef struct an_gate_rule {
    an_field_id field;
    bool relative;    /* the limits are shares of the baseline: 0.03 = 3 %; false: in the field's unit */
    double low, high; /* the change that is allowed: low <= change <= high; infinite where there is no limit */
    char text[64];    /* as written */
} an_gate_rule;

/*
 * "decode_tps:-3%", "rss_peak_bytes:+50MB", "ttft_s:+20ms", "n_generated:±0"; without a sign the direction that is worse. ERR_INVAL
 * says what is wrong and what would be right.
 */
ANEMO_MUST_CHECK anemo_status an_gate_rule_parse(an_gate_rule *out, const char *text, anemo_error *err);

typedef enum an_gate_outcome { AN_GATE_PASS, AN_GATE_FAIL, AN_GATE_UNDECIDED, AN_GATE_OUTCOME_N } an_gate_outcome;
const char *an_gate_outcome_name(an_gate_outcome o); /* "pass", "fail", "undecided" */

typedef struct an_gate_options {
    double noise;         /* between two runs of the same thing, as |ln ratio|; NaN: not known */
    bool unlike;          /* also cells whose settings or weights are not the same */
    bool undecided_fails;
} an_gate_options;

/* One rule on one cell. */
typedef struct an_gate_check {
    size_t rule, match; /* indices */
    an_gate_outcome outcome;
    an_contrast c;
    double change, lo, hi; /* of the run against the baseline, as the rule counts; NaN when not known */
    char why[160];         /* of UNDECIDED */
} an_gate_check;

typedef struct an_gate {
    const an_run *base, *run; /* borrowed */
    const an_gate_rule *rules; /* borrowed */
    size_t n_rule;
    an_gate_options options;
    double level; /* of each interval: all of them together hold with 95 % */
    an_cell_match *matches; /* a: baseline, b: run */
    size_t n_match, n_left_out; /* cells that have no counterpart, did not come out, or are unlike */
    an_gate_check *checks;
    size_t n_check, count[AN_GATE_OUTCOME_N];
} an_gate;

/*
 * Every rule on every cell that is ok in both runs. ERR_INVAL when there is none: a gate that looked at nothing has not passed.
 * Gives *out: an_gate_free.
 */
ANEMO_MUST_CHECK anemo_status an_gate_make(an_gate *out, const an_run *base, const an_run *run, const an_gate_rule *rules,
                                           size_t n_rule, const an_gate_options *o, anemo_error *err);
void an_gate_free(an_gate *g);

bool an_gate_failed(const an_gate *g);

/* What was found, failures first, with the evidence. */
void an_gate_text(const an_gate *g, an_str *out);
/* One check as a line: "Decode 101 → 95.9 tokens/s, -5.1 % (…), limit decode_tps:-3%". */
void an_gate_check_text(const an_gate *g, const an_gate_check *c, an_str *out);
/* Schema "anemo.gate/1" (docs/gates.md). New reference; NULL when out of memory. */
json_t *an_gate_json(const an_gate *g);

#endif
