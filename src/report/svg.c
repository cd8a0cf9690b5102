/* Scales and SVG elements. */
#include "report/svg.h"

#include "base/utf8.h"
#include "report/report_internal.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

an_scale an_scale_new(bool log)
{
    return (an_scale){.lo = 1, .hi = 0, .log = log};
}

void an_scale_add(an_scale *s, double v)
{
    if (!isfinite(v) || (s->log && v <= 0)) return;
    if (s->lo > s->hi) s->lo = s->hi = v;
    if (v < s->lo) s->lo = v;
    if (v > s->hi) s->hi = v;
}

/* The smallest of 1, 2, 5 times a power of ten that cuts `range` into at most n pieces. */
static double nice_step(double range, int n)
{
    double raw = range / n, power = pow(10, floor(log10(raw)));
    double f = raw / power;
    return power * (f <= 1.0001 ? 1 : f <= 2.0001 ? 2 : f <= 5.0001 ? 5 : 10);
}

void an_scale_finish(an_scale *s)
{
    if (s->lo > s->hi) {
        s->log = false;
        s->lo = 0;
        s->hi = 1;
        return;
    }
    /* Under a factor of two a logarithmic axis looks linear and has no round numbers. */
    if (s->log && s->hi < 2 * s->lo) s->log = false;
    if (s->log) {
        s->lo /= 1.05;
        s->hi *= 1.05;
        return;
    }
    double size = fmax(fabs(s->lo), fabs(s->hi));
    if (s->hi - s->lo <= 1e-9 * size) {
        double room = size > 0 ? 0.05 * size : 1;
        s->lo -= room;
        s->hi += room;
    }
    double step = nice_step(s->hi - s->lo, 4);
    s->lo = floor(s->lo / step + 1e-6) * step;
    s->hi = ceil(s->hi / step - 1e-6) * step;
}

double an_scale_at(const an_scale *s, double v)
{
    if (s->log) return (log(v) - log(s->lo)) / (log(s->hi) - log(s->lo));
    return (v - s->lo) / (s->hi - s->lo);
}

static size_t log_ticks(const an_scale *s, const double *digits, size_t n_digit, double *ticks)
{
    size_t n = 0;
    for (int e = (int)floor(log10(s->lo)); e <= (int)ceil(log10(s->hi)); e++)
        for (size_t d = 0; d < n_digit; d++) {
            double v = digits[d] * pow(10, e);
            if (v < s->lo * 0.9999 || v > s->hi * 1.0001) continue;
            if (n == AN_TICKS_MAX) return n + 1;
            ticks[n++] = v;
        }
    return n;
}

size_t an_scale_ticks(const an_scale *s, double *ticks, double *step)
{
    static const double all[] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, most[] = {1, 1.5, 2, 3, 5, 7}, some[] = {1, 2, 5};
    if (s->log) {
        *step = 0;
        size_t n = log_ticks(s, all, 9, ticks);
        if (n > 6) n = log_ticks(s, most, 6, ticks);
        if (n > 6) n = log_ticks(s, some, 3, ticks);
        if (n > 6) n = log_ticks(s, some, 1, ticks);
        if (n <= AN_TICKS_MAX && n >= 2) return n;
        ticks[0] = s->lo;
        ticks[1] = s->hi;
        return 2;
    }
    *step = nice_step(s->hi - s->lo, 4);
    size_t n = 0;
    for (double v = ceil(s->lo / *step - 1e-6) * *step; v <= s->hi + 1e-6 * *step && n < AN_TICKS_MAX; v += *step)
        ticks[n++] = fabs(v) < 1e-9 * *step ? 0 : v;
    return n;
}

void an_tick_text(double v, double step, char *out, size_t cap)
{
    int decimals = step > 0 && step < 1 ? (int)ceil(-log10(step) - 1e-6) : 0;
    if (step > 0)
        snprintf(out, cap, "%.*f", decimals < 9 ? decimals : 9, v);
    else
        snprintf(out, cap, v >= 1000 ? "%.0f" : "%.3g", v);
}

void an_html_bytes(an_str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = an_utf8_decode(text + i, n - i, &cp);
        bool control = len && ((cp < 0x20 && cp != '\n' && cp != '\t') || (cp >= 0x7F && cp < 0xA0));
        if (len == 0 || control || an_turns_direction(cp))
            an_str_append(out, "\xEF\xBF\xBD");
        else if (cp == '&')
            an_str_append(out, "&amp;");
        else if (cp == '<')
            an_str_append(out, "&lt;");
        else if (cp == '>')
            an_str_append(out, "&gt;");
        else if (cp == '"')
            an_str_append(out, "&quot;");
        else if (cp == '\'')
            an_str_append(out, "&#39;");
        else
            an_str_append_bytes(out, text + i, (size_t)len);
        i += len ? (size_t)len : 1;
    }
}

void an_html_text(an_str *out, const char *text)
{
    if (text) an_html_bytes(out, text, strlen(text));
}

void an_svg_open(an_str *out, const char *classes, int height, unsigned id, const char *title, const char *desc)
{
    an_str_appendf(out, "<svg class=\"%s\" height=\"%d\" role=\"img\" aria-labelledby=\"t%u%s", classes, height, id,
                   desc ? " d" : "");
    if (desc) an_str_appendf(out, "%u", id);
    an_str_appendf(out, "\"><title id=\"t%u\">", id);
    an_html_text(out, title);
    an_str_append(out, "</title>");
    if (desc) {
        an_str_appendf(out, "<desc id=\"d%u\">", id);
        an_html_text(out, desc);
        an_str_append(out, "</desc>");
    }
}

void an_svg_close(an_str *out)
{
    an_str_append(out, "</svg>\n");
}

void an_svg_dot(an_str *out, double x, double y, double r, const char *classes)
{
    an_str_appendf(out, "<circle cx=\"%.4g%%\" cy=\"%.4g\" r=\"%.3g\"", 100 * x, y, r);
    if (classes) an_str_appendf(out, " class=\"%s\"", classes);
    an_str_append(out, "/>");
}

void an_svg_line(an_str *out, double x1, double y1, double x2, double y2, const char *classes)
{
    an_str_appendf(out, "<line x1=\"%.4g%%\" y1=\"%.4g\" x2=\"%.4g%%\" y2=\"%.4g\" class=\"%s\"/>", 100 * x1, y1,
                   100 * x2, y2, classes);
}

void an_svg_rect(an_str *out, double x, double y, double w, double h, const char *classes)
{
    an_str_appendf(out, "<rect x=\"%.4g%%\" y=\"%.4g\" width=\"%.4g%%\" height=\"%.4g\" class=\"%s\"/>", 100 * x, y,
                   100 * (w > 0 ? w : 0), h > 0 ? h : 0, classes);
}

void an_svg_text(an_str *out, double x, double dx, double y, const char *anchor, const char *classes, const char *text)
{
    an_str_appendf(out, "<text x=\"%.4g%%\" y=\"%.4g\" dx=\"%.4g\" text-anchor=\"%s\" class=\"%s\">", 100 * x, y, dx,
                   anchor, classes);
    an_html_text(out, text);
    an_str_append(out, "</text>");
}

void an_svg_axis_x(an_str *out, const an_scale *s, double y_top, double y, bool numbers)
{
    double ticks[AN_TICKS_MAX], step;
    size_t n = an_scale_ticks(s, ticks, &step);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double x = an_scale_at(s, ticks[i]);
        an_svg_line(out, x, y_top, x, numbers ? y + 4 : y, "g");
        an_tick_text(ticks[i], step, text, sizeof text);
        if (numbers) an_svg_text(out, x, 0, y + 16, x < 0.04 ? "start" : x > 0.96 ? "end" : "middle", "k", text);
    }
}

void an_svg_axis_y(an_str *out, const an_scale *s, double y_top, double y)
{
    double ticks[AN_TICKS_MAX], step;
    size_t n = an_scale_ticks(s, ticks, &step);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        double at = y - (y - y_top) * an_scale_at(s, ticks[i]);
        an_svg_line(out, 0, at, 1, at, "g");
        an_tick_text(ticks[i], step, text, sizeof text);
        an_svg_text(out, 0, -6, at + 4, "end", "k", text);
    }
}

void an_svg_path(an_str *out, const double *x, const double *y, size_t n, double y_top, double height,
                 const char *classes)
{
    /* A box of its own that may be stretched: paths have no percentages. The pen is not stretched (vector-effect). */
    an_str_appendf(out,
                   "<svg y=\"%.4g\" width=\"100%%\" height=\"%.4g\" viewBox=\"0 0 1000 1000\" "
                   "preserveAspectRatio=\"none\" overflow=\"visible\"><path class=\"%s\" d=\"",
                   y_top, height, classes);
    for (size_t i = 0; i < n; i++) an_str_appendf(out, "%c%.4g %.4g", i ? 'L' : 'M', 1000 * x[i], 1000 * (1 - y[i]));
    an_str_append(out, "\"/></svg>");
}
