/* Intervals and samples in characters, for a terminal. */
#include "report/report_internal.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CANVAS_MAX = 200, ROWS_TOLD = 24, LABEL_MAX = 36 };

/* The characters of a drawing in UTF-8 and in ASCII. */
typedef enum glyph { G_SPACE, G_ONE, G_BAND, G_LINE, G_LEFT, G_RIGHT, G_DOT, G_MANY, G_N } glyph;
static const char *const glyphs[2][G_N] = {
    {" ", "│", "░", "━", "┣", "┫", "●", "●"},
    {" ", "|", ".", "-", "[", "]", "o", "@"},
};

typedef struct canvas {
    glyph at[CANVAS_MAX];
    int width;
    double lo, hi;
} canvas;

static int column(const canvas *c, double v)
{
    int x = (int)lround((v - c->lo) / (c->hi - c->lo) * (c->width - 1));
    return x < 0 ? 0 : x >= c->width ? c->width - 1 : x;
}

static void append_canvas(const canvas *c, bool ascii, an_str *out)
{
    int last = c->width;
    while (last > 0 && c->at[last - 1] == G_SPACE) last--;
    for (int i = 0; i < last; i++) an_str_append(out, glyphs[ascii][c->at[i]]);
}

/* The column of labels is as wide as the widest, within a third of the terminal. */
static int label_width(const an_run *run, int width)
{
    int w = 4;
    for (size_t i = 0; i < run->n_cell; i++) {
        int l = an_text_width(run->cells[i].label);
        if (l > w) w = l;
    }
    if (w > LABEL_MAX) w = LABEL_MAX;
    return w > width / 3 ? width / 3 : w;
}

static canvas make_canvas(int width, double lo, double hi)
{
    canvas c = {.lo = lo, .hi = hi > lo ? hi : lo + 1};
    c.width = width < 10 ? 10 : width > CANVAS_MAX ? CANVAS_MAX : width;
    return c;
}

static void ratio_line(const an_run *run, const an_pair *pair, canvas c, int label, an_report_style style, an_str *out)
{
    char value[160];
    const an_paired *p = &pair->p;
    double margin = an_run_margin(run);
    for (int i = column(&c, log(1 / (1 + margin))); i <= column(&c, log(1 + margin)); i++) c.at[i] = G_BAND;
    c.at[column(&c, 0)] = G_ONE;
    if (pair->call != AN_CALL_NONE && isfinite(p->lo) && isfinite(p->hi)) {
        int from = column(&c, log(p->lo)), to = column(&c, log(p->hi));
        for (int i = from; i <= to; i++) c.at[i] = G_LINE;
        c.at[from] = G_LEFT;
        c.at[to] = G_RIGHT;
    }
    if (isfinite(p->ratio)) c.at[column(&c, log(p->ratio))] = G_DOT;
    an_text_pad(out, run->cells[pair->cell].label, label);
    an_str_append_char(out, ' ');
    append_canvas(&c, style.ascii, out);
    an_pair_short(pair, value, sizeof value);
    an_str_append_char(out, '\n');
    an_str_append_repeat(out, ' ', (size_t)label + 1);
    an_str_appendf(out, "%s\n", value);
}

static void ratios(const an_run *run, const an_pairs *pairs, an_report_style style, an_str *out)
{
    double least = -2 * log1p(an_run_margin(run)), most = -least;
    int label = label_width(run, style.width);
    char ends[2][24];
    size_t n = pairs->n < ROWS_TOLD ? pairs->n : ROWS_TOLD;
    if (n == 0) return;
    for (size_t i = 0; i < n; i++) {
        const an_paired *p = &pairs->items[i].p;
        const double v[] = {log(p->ratio), log(p->lo), log(p->hi)};
        for (int k = 0; k < 3; k++)
            if (isfinite(v[k])) {
                least = fmin(least, v[k]);
                most = fmax(most, v[k]);
            }
    }
    canvas c = make_canvas(style.width - label - 1, least, most);
    an_str_appendf(out, "\n%s against the reference: ratio, right is better\n",
                   an_field_get(pairs->items[0].field)->title);
    for (size_t i = 0; i < n; i++) ratio_line(run, &pairs->items[i], c, label, style, out);
    snprintf(ends[0], sizeof ends[0], "%.3f", exp(least));
    snprintf(ends[1], sizeof ends[1], "%.3f", exp(most));
    an_str_append_repeat(out, ' ', (size_t)label + 1);
    an_text_pad(out, ends[0], c.width - an_text_width(ends[1]));
    an_str_appendf(out, "%s\n", ends[1]);
    if (n < pairs->n) an_str_appendf(out, "%zu more pairs are not drawn.\n", pairs->n - n);
}

/* unit: what a repetition is measured in, the cell's median or 1. */
static void sample_line(const an_cell *cell, an_field_id field, double unit, canvas c, int label, an_report_style style,
                        an_str *out)
{
    for (size_t i = 0; i < cell->n_rep; i++) {
        double v = cell->reps[i].values[field] / unit;
        if (cell->reps[i].kind != AN_REP_TIMED || !isfinite(v)) continue;
        glyph *g = &c.at[column(&c, v)];
        *g = *g == G_SPACE ? G_DOT : G_MANY;
    }
    an_text_pad(out, cell->label, label);
    an_str_append_char(out, ' ');
    append_canvas(&c, style.ascii, out);
    an_str_append_char(out, '\n');
}

/* In the field's own unit; `relative`: to each cell's median, where cells did different work. */
static void samples(const an_run *run, an_field_id field, bool relative, an_report_style style, an_str *out)
{
    int label = label_width(run, style.width);
    double lo = INFINITY, hi = -INFINITY;
    size_t n = 0, told = 0;
    bool repeated = false;
    char ends[2][32];
    for (size_t i = 0; i < run->n_cell; i++) {
        an_summary s = an_cell_summary(&run->cells[i], field);
        if (!an_cell_measured(&run->cells[i]) || s.n == 0) continue;
        lo = fmin(lo, relative ? s.min / s.median : s.min);
        hi = fmax(hi, relative ? s.max / s.median : s.max);
        repeated |= s.n > 1;
        n++;
    }
    if (n == 0 || !repeated) return;
    canvas c = make_canvas(style.width - label - 1, lo, hi);
    an_str_appendf(out, "\n%s, every repetition%s\n", an_field_get(field)->title,
                   relative ? ", in parts of its cell's median" : "");
    for (size_t i = 0; i < run->n_cell && told < ROWS_TOLD; i++) {
        an_summary s = an_cell_summary(&run->cells[i], field);
        if (!an_cell_measured(&run->cells[i]) || s.n == 0) continue;
        told++;
        sample_line(&run->cells[i], field, relative ? s.median : 1, c, label, style, out);
    }
    for (int k = 0; k < 2; k++)
        if (relative)
            snprintf(ends[k], sizeof ends[k], "%.3f", k ? hi : lo);
        else
            an_format_value(field, k ? hi : lo, ends[k], sizeof ends[k]);
    an_str_append_repeat(out, ' ', (size_t)label + 1);
    an_text_pad(out, ends[0], c.width - an_text_width(ends[1]));
    an_str_appendf(out, "%s\n", ends[1]);
    if (told < n) an_str_appendf(out, "%zu more cells are not drawn.\n", n - told);
}

anemo_status an_report_plots(const an_run *run, const an_groups *groups, const an_pairs *pairs, an_report_style style,
                             an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_pairs decode = {0};
    bool mixed = groups->n > 1;
    ratios(run, pairs, style, out);
    if (an_run_primary_field(run) == AN_FIELD_ID_total_s) {
        AN_TRY(an_pairs_make(&decode, run, groups, AN_FIELD_ID_decode_tps, err));
        ratios(run, &decode, style, out);
        samples(run, AN_FIELD_ID_total_s, mixed, style, out);
        samples(run, AN_FIELD_ID_decode_tps, mixed, style, out);
    } else
        samples(run, AN_FIELD_ID_step_tps, mixed, style, out);
cleanup:
    an_pairs_free(&decode);
    return status;
}
