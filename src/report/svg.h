/*
 * Scales, ticks and the SVG elements of the HTML report. A drawing is as wide as its place on the page: positions along
 * x are shares of the width, so that nothing is scaled and text keeps its size at 400 px; heights are pixels.
 */
#ifndef AN_REPORT_SVG_H
#define AN_REPORT_SVG_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum { AN_TICKS_MAX = 8, AN_SERIES_N = 8 };

typedef struct an_scale {
    double lo, hi; /* lo > hi: nothing was added yet */
    bool log;
} an_scale;

an_scale an_scale_new(bool log);
void an_scale_add(an_scale *s, double v); /* NaN, and for a logarithmic scale values <= 0, are left out */
/* Round the ends outwards to ticks; an empty scale becomes 0..1, a single value gets room around it. */
void an_scale_finish(an_scale *s);
double an_scale_at(const an_scale *s, double v); /* 0 at lo, 1 at hi; not clamped */
/* At most AN_TICKS_MAX values; *step is their distance, for an_tick_text(). */
size_t an_scale_ticks(const an_scale *s, double *ticks, double *step);
void an_tick_text(double v, double step, char *out, size_t cap);

/*
 * Text as HTML and as an attribute's value: & < > " ' escaped, bytes that are not UTF-8, control characters and those
 * that turn the direction of what follows become U+FFFD; newline and tab stay.
 */
void an_html_bytes(an_str *out, const char *text, size_t n);
void an_html_text(an_str *out, const char *text); /* NULL is nothing */

/* <svg role="img"> with its title and, unless NULL, its description; `id` is unique in the document. */
void an_svg_open(an_str *out, const char *classes, int height, unsigned id, const char *title, const char *desc);
void an_svg_close(an_str *out);
/* x: 0..1 of the width, y: pixels from the top. */
void an_svg_dot(an_str *out, double x, double y, double r, const char *classes);
void an_svg_line(an_str *out, double x1, double y1, double x2, double y2, const char *classes);
void an_svg_rect(an_str *out, double x, double y, double w, double h, const char *classes);
/* anchor: "start", "middle", "end". */
void an_svg_text(an_str *out, double x, double dx, double y, const char *anchor, const char *classes, const char *text);
/* Ticks and their numbers of a horizontal axis whose line is at y; grid lines upwards to y_top. */
void an_svg_axis_x(an_str *out, const an_scale *s, double y_top, double y, bool numbers);
/* The same of a vertical axis between y_top (hi) and y (lo). */
void an_svg_axis_y(an_str *out, const an_scale *s, double y_top, double y);
/* A line through points (both 0..1, y upwards), n of them, in a box of this height whose top is y_top. */
void an_svg_path(an_str *out, const double *x, const double *y, size_t n, double y_top, double height,
                 const char *classes);

#endif
