/* Runs as a terminal table, Markdown, CSV, JSON, HTML or JUnit, and their analysis in sentences. Never measures. */
#ifndef AN_REPORT_REPORT_H
#define AN_REPORT_REPORT_H

#include "base/error.h"
#include "base/str.h"
#include "record/run.h"

#include <jansson.h>
#include <stdbool.h>

typedef enum an_report_format {
    AN_REPORT_TEXT,
    AN_REPORT_MD,
    AN_REPORT_JSON,
    AN_REPORT_CSV,
    AN_REPORT_HTML,
    AN_REPORT_FORMAT_N
} an_report_format;

/* "text", "md", "json", "csv", "html"; false for another name. */
bool an_report_format_from_name(const char *name, an_report_format *out);

typedef struct an_report_style {
    int width;  /* columns of the terminal; tables that are wider are cut into several */
    bool color; /* escape sequences for dim and bold text */
    bool all;   /* a row for every figure, not only the usual ones */
    bool plots; /* intervals and samples drawn in characters, under the table */
    bool ascii; /* in ASCII: the locale has no UTF-8 */
} an_report_style;

/* Append the whole report of one run to out. */
ANEMO_MUST_CHECK anemo_status an_report_write(const an_run *run, an_report_format format, an_report_style style,
                                              an_str *out, anemo_error *err);

/* The same of several runs, as one document: `anemo report RUN…`. */
ANEMO_MUST_CHECK anemo_status an_report_write_all(const an_run *const *runs, size_t n_run, an_report_format format,
                                                  an_report_style style, an_str *out, anemo_error *err);

/* The document of `--format json`: an_run_json() with "analysis". New reference; NULL when out of memory. */
json_t *an_report_json(const an_run *run);

/*
 * The analysis: {"verdict":[…], "evidence":[…], "why":[…], "speed":[…], "cpu":[…], "memory":[…], "quality":[…],
 * "portability":[…], "missing":[…], "comparability":[…], "ranges":[…], "conclusion":[…]}, each an array of sentences computed from the figures.
 * New reference, NULL when out of memory.
 */
json_t *an_report_analysis(const an_run *run);

/* The cell that others are compared with: the first whose ids count; -1 when there is none. */
int an_report_reference(const an_run *run);

/* "reference", "identical", "41 of 50 same, then a near-tie"; "" when the cell has no ids that count. */
void an_report_agreement_text(const an_run *run, int cell, char *out, size_t cap);

#endif
