/* Shared between the files of report/. */
#ifndef AN_REPORT_REPORT_INTERNAL_H
#define AN_REPORT_REPORT_INTERNAL_H

#include "report/report.h"

#include <stdint.h>

/* ---- format.c: figures and names as people read them */

/* A value of a field with its unit for people: "0.312 s", "183.4 t/s", "263 MB", "196 %"; "–" for NaN. */
void an_format_value(an_field_id field, double value, char *out, size_t cap);

/* The unit in which an axis shows a field whose values are about this large: value x factor is in *unit (static). */
double an_format_unit(an_field_id field, double typical, const char **unit);

/* "23.4 % faster" or "2.31 times as fast" for a ratio whose values above 1 are better; words from the field. */
void an_format_ratio(an_field_id field, double ratio, char *out, size_t cap);

/* Does the cell have a timed repetition? */
bool an_cell_measured(const an_cell *cell);
/* Name of the model a cell ran; "" for an engine that holds its own. */
const char *an_cell_model_name(const an_run *run, const an_cell *cell);
/* An integer among the cell's effective or asked settings; `none` when there is none. */
int64_t an_cell_setting(const an_cell *cell, const char *key, int64_t none);
/* The first timed repetition with a text, NULL when there is none. */
const an_rep *an_cell_text_rep(const an_cell *cell);

/* The agreement record of two cells in either order, NULL when there is none. */
const an_agreement *an_find_agreement(const an_run *run, int a, int b);

/* The field that a cell's speed is judged by: time taken, or for step measurements their tokens/s. */
an_field_id an_primary_field(const an_cell *cell);
an_field_id an_run_primary_field(const an_run *run); /* of its first measured cell */

/* The number of threads that the run asked for; 0 when unknown. */
int an_report_threads(const an_run *run);

/* ---- verdict.c: who is faster, and may it be said? */

/* Cells that did the same work: only these can be compared. */
typedef struct an_groups {
    size_t n;
    int *of;        /* [n_cell] group of each cell; owned */
    int *reference; /* [n] the cell that others are compared with, -1 when none was measured; owned */
    int *size;      /* [n] measured cells; owned */
} an_groups;
ANEMO_MUST_CHECK anemo_status an_groups_make(an_groups *g, const an_run *run, anemo_error *err);
void an_groups_free(an_groups *g);

typedef enum an_call {
    AN_CALL_NONE,   /* fewer than two pairs */
    AN_CALL_BETTER, /* faster, or less of what should be little */
    AN_CALL_WORSE,
    AN_CALL_EQUIVALENT,
    AN_CALL_UNDECIDED,
    AN_CALL_REFUSED, /* an A/A run, a gate that failed, or cells measured one after the other */
    AN_CALL_N
} an_call;

typedef struct an_pair {
    int cell, reference;
    an_field_id field;
    an_paired p; /* its ratio, lo, hi turned so that above 1 the cell is the better one */
    an_call call;
    bool blocked; /* their repetitions alternate; false: one after the other, so that drift is in the difference */
} an_pair;

typedef struct an_pairs {
    an_pair *items; /* owned */
    size_t n;
} an_pairs;

/* Each measured cell against its group's reference in one field, corrected within its group (Holm). Cells without the
 * field are left out; in the order of the cells. */
ANEMO_MUST_CHECK anemo_status an_pairs_make(an_pairs *out, const an_run *run, const an_groups *g, an_field_id field,
                                            anemo_error *err);
/* Each cell of one group against the cell with the group's best median, -1 when none has the field. */
ANEMO_MUST_CHECK anemo_status an_pairs_against_best(an_pairs *out, int *best, const an_run *run, const an_groups *g,
                                                    int group, an_field_id field, anemo_error *err);
int an_group_best(const an_run *run, const an_groups *g, int group, an_field_id field);
void an_pairs_free(an_pairs *p);

/* "faster", "slower", "equivalent", "undecided", "no verdict"; for fields that are not speeds "less", "more". */
const char *an_call_word(an_field_id field, an_call call);
/* "slower: 9.6 % slower (0.904, 0.885 to 0.920)"; without an interval where there is none. */
void an_pair_short(const an_pair *pair, char *out, size_t cap);
/* One sentence for a pair. */
void an_pair_sentence(const an_run *run, const an_pair *pair, an_str *out);

/* ---- analysis.c */

/* Append a sentence to a JSON list. One that had no memory makes an_report_analysis() fail. */
void an_say_text(json_t *list, const an_str *text);
void an_say(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- evidence.c: what speaks against the figures */
void an_evidence_gate(const an_run *run, json_t *list); /* one that was taken from another run */
void an_evidence_drift(const an_run *run, json_t *list);
void an_evidence_outliers(const an_run *run, json_t *list);
/* "Not available here: energy, power (no RAPL counters)." for all cells together. */
void an_evidence_missing(const an_run *run, json_t *list);

/* ---- forms */
ANEMO_MUST_CHECK anemo_status an_report_table(const an_run *run, an_report_style style, bool markdown, an_str *out,
                                              anemo_error *err);
void an_report_csv(const an_run *const *runs, size_t n_run, an_str *out);
/* Interval bars and dots in characters, as wide as the terminal. */
ANEMO_MUST_CHECK anemo_status an_report_plots(const an_run *run, const an_groups *groups, const an_pairs *pairs,
                                              an_report_style style, an_str *out, anemo_error *err);
/*
 * A table is written with these marks, and an_report_clean() makes of the whole what a terminal or Markdown may see:
 * marks become colours or <sub>, control characters spaces, bytes that are not UTF-8 and what turns directions U+FFFD;
 * Markdown's "<" is escaped.
 */
#define AN_MARK_BOLD    "\x01"
#define AN_MARK_DIM     "\x02"
#define AN_MARK_PLAIN   "\x03"
#define AN_MARK_SUB     "\x04"
#define AN_MARK_SUB_END "\x05"
void an_report_clean(const an_str *raw, bool color, bool markdown, an_str *out);
/* U+202A to U+202E and U+2066 to U+2069: what turns the direction of the text after it. */
bool an_turns_direction(uint32_t cp);

/* Columns that a text takes, and a text cut to `width` columns (never inside a code point) and filled up with spaces.
 */
int an_text_width(const char *text);
void an_text_pad(an_str *out, const char *text, int width);
ANEMO_MUST_CHECK anemo_status an_report_html(const an_run *const *runs, size_t n_run, an_str *out, anemo_error *err);

/* A text as a quoted field of CSV. */
void an_csv_text(an_str *out, const char *text);

#endif
