/* Shared between the files of report/. */
#ifndef AN_REPORT_REPORT_INTERNAL_H
#define AN_REPORT_REPORT_INTERNAL_H

#include "report/report.h"

/* A value of a field with its unit for people: "0.312 s", "183.4 t/s", "263 MB", "196 %"; "–" for NaN. */
void an_format_value(an_field_id field, double value, char *out, size_t cap);

/* The agreement record of two cells in either order, NULL when there is none. */
const an_agreement *an_find_agreement(const an_run *c, int a, int b);

/* A number of the run's settings; 0 when unknown. */
int an_report_threads(const an_run *c);

void an_report_table(const an_run *c, an_report_style style, bool markdown, an_str *out);
void an_report_csv(const an_run *c, an_str *out);

#endif
