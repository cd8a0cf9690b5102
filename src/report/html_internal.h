/* Shared between the files of the HTML report. */
#ifndef AN_REPORT_HTML_INTERNAL_H
#define AN_REPORT_HTML_INTERNAL_H

#include "report/report_internal.h"
#include "report/svg.h"

enum {
    AN_HTML_OPEN_MAX = 8,   /* cells that are drawn openly, with a colour each */
    AN_HTML_DRAWN_MAX = 60, /* rows of a drawing; what goes beyond is in its table alone */
    AN_HTML_COLUMNS_MAX = 8 /* cells that stand as columns; more stand as rows */
};

/* What every part of one run's report needs. */
typedef struct an_page {
    an_str *out;
    const an_run *run;
    const an_groups *groups;
    unsigned *n_id;   /* last id given to an element of the document */
    size_t run_index; /* 0 for the first run of the document */
} an_page;

/* A drawing with its caption. `how` says how to read it. Nothing is escaped twice: all texts are plain. */
void an_fig_open(an_page *p, const char *title, const char *how);
void an_fig_close(an_page *p);
/* A line of a legend (<ul class="legend">): the stroke of a series and its name. */
void an_fig_legend_item(an_page *p, size_t series, const char *name);
/* A row of a drawing: the label at its left (above it on a narrow page) and a figure under the label; then the svg
 * follows. */
void an_fig_row(an_page *p, const char *label, const char *under, int series);
void an_fig_row_end(an_page *p);
/* The last row: numbers of the x axis and what they are. */
void an_fig_axis(an_page *p, const an_scale *x, const char *name);
/* <div> that scrolls sideways by itself and is named for a screen reader; `classes`: "wide", "wide tall". */
void an_html_region(an_page *p, const char *classes, const char *name);
/* "The same as a table", closed; then rows with an_tr. */
void an_fig_table(an_page *p, const char *caption, const char *const *heads, size_t n_head);
void an_fig_tr(an_page *p, const char *const *texts, size_t n); /* the first is the row's head */
void an_fig_table_end(an_page *p);

/* html_plots.c: each draws nothing at all when the run has no data for it. */
void an_fig_ratios(an_page *p, const an_pairs *pairs);
void an_fig_samples(an_page *p);
void an_fig_latency(an_page *p);
/* html_curves.c */
void an_fig_resources(an_page *p);
void an_fig_tradeoff(an_page *p);
ANEMO_MUST_CHECK anemo_status an_fig_curves(an_page *p, anemo_error *err);

/* html_parts.c */
void an_html_table(an_page *p, const an_pairs *pairs);
void an_html_texts(an_page *p);
void an_html_environment(an_page *p);
void an_html_method(an_page *p);
void an_html_definitions(an_str *out);

#endif
