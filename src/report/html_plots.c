/* Drawings of verdicts and samples: paired ratios, every sample in its order, gaps between tokens. */
#include "report/html_internal.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void an_fig_open(an_page *p, const char *title, const char *how)
{
    an_str_append(p->out, "<figure class=\"fig\"><figcaption><h3>");
    an_html_text(p->out, title);
    an_str_append(p->out, "</h3><p>");
    an_html_text(p->out, how);
    an_str_append(p->out, "</p></figcaption>\n");
}

void an_fig_close(an_page *p)
{
    an_str_append(p->out, "</figure>\n");
}

void an_fig_legend_item(an_page *p, size_t series, const char *name)
{
    an_str_appendf(p->out,
                   "<li><svg class=\"swatch\" width=\"34\" height=\"10\" aria-hidden=\"true\"><line x1=\"1\" y1=\"5\" "
                   "x2=\"33\" y2=\"5\" class=\"l s%zu\"/></svg>",
                   series % AN_SERIES_N);
    an_html_text(p->out, name);
    an_str_append(p->out, "</li>");
}

void an_fig_row(an_page *p, const char *label, const char *under, int series)
{
    an_str_append(p->out, "<div class=\"row");
    if (series >= 0) an_str_appendf(p->out, " s%d", series % AN_SERIES_N);
    an_str_append(p->out, "\"><div class=\"lab\"><b>");
    an_html_text(p->out, label);
    an_str_append(p->out, "</b>");
    if (under && under[0]) {
        an_str_append(p->out, "<span>");
        an_html_text(p->out, under);
        an_str_append(p->out, "</span>");
    }
    an_str_append(p->out, "</div>");
}

void an_fig_row_end(an_page *p)
{
    an_str_append(p->out, "</div>\n");
}

void an_fig_axis(an_page *p, const an_scale *x, const char *name)
{
    an_str_append(p->out, "<div class=\"row axis\" aria-hidden=\"true\"><div class=\"lab\"><span>");
    an_html_text(p->out, name);
    an_str_append(p->out, "</span></div><svg class=\"strip\" height=\"20\">");
    an_svg_axis_x(p->out, x, 0, 0, true);
    an_str_append(p->out, "</svg></div>\n");
}

void an_html_region(an_page *p, const char *classes, const char *name)
{
    an_str_appendf(p->out, "<div class=\"%s\" tabindex=\"0\" role=\"region\" aria-label=\"", classes);
    an_html_text(p->out, name);
    /* Regions have names of their own in the whole document. */
    if (p->run_index) an_str_appendf(p->out, ", run %zu", p->run_index + 1);
    an_str_append(p->out, "\">");
}

void an_fig_table(an_page *p, const char *caption, const char *const *heads, size_t n_head)
{
    an_str_append(p->out, "<details><summary>The same as a table</summary>");
    an_html_region(p, "wide", caption);
    an_str_append(p->out, "<table><caption class=\"sr\">");
    an_html_text(p->out, caption);
    an_str_append(p->out, "</caption><thead><tr>");
    for (size_t i = 0; i < n_head; i++) {
        an_str_append(p->out, "<th scope=\"col\">");
        an_html_text(p->out, heads[i]);
        an_str_append(p->out, "</th>");
    }
    an_str_append(p->out, "</tr></thead><tbody>\n");
}

void an_fig_tr(an_page *p, const char *const *texts, size_t n)
{
    an_str_append(p->out, "<tr>");
    for (size_t i = 0; i < n; i++) {
        an_str_append(p->out, i ? "<td>" : "<th scope=\"row\">");
        an_html_text(p->out, texts[i]);
        an_str_append(p->out, i ? "</td>" : "</th>");
    }
    an_str_append(p->out, "</tr>\n");
}

void an_fig_table_end(an_page *p)
{
    an_str_append(p->out, "</tbody></table></div></details>\n");
}

/* ---- paired ratios */

/* ln ratios of two cells block by block, turned so that above 1 is better; returns how many. */
static size_t block_ratios(const an_run *run, const an_pair *pair, double *out, size_t cap)
{
    const an_cell *a = &run->cells[pair->cell], *b = &run->cells[pair->reference];
    bool lower = an_field_get(pair->field)->better == AN_BETTER_LOWER;
    size_t n = 0;
    for (size_t i = 0; i < a->n_rep && n < cap; i++) {
        const an_rep *x = &a->reps[i], *y = NULL;
        for (size_t k = 0; k < b->n_rep && !y && x->kind == AN_REP_TIMED && x->block >= 0; k++)
            if (b->reps[k].kind == AN_REP_TIMED && b->reps[k].block == x->block) y = &b->reps[k];
        double r = y ? x->values[pair->field] / y->values[pair->field] : NAN;
        if (isfinite(r) && r > 0) out[n++] = lower ? 1 / r : r;
    }
    return n;
}

static void ratio_row(an_page *p, const an_pair *pair, const an_scale *x, bool with_blocks)
{
    static const char *const classes[AN_CALL_N] = {"c-none", "c-better", "c-worse", "c-same", "c-open", "c-none"};
    const an_run *run = p->run;
    const char *color = classes[pair->call];
    double margin = an_run_margin(run), blocks[64];
    size_t n = with_blocks ? block_ratios(run, pair, blocks, 64) : 0;
    char under[160], title[400];
    an_pair_short(pair, under, sizeof under);
    snprintf(title, sizeof title, "%s against %s: %s", run->cells[pair->cell].label, run->cells[pair->reference].label,
             under);
    an_fig_row(p, run->cells[pair->cell].label, under, -1);
    an_svg_open(p->out, "strip", 34, ++*p->n_id, title, NULL);
    an_svg_rect(p->out, an_scale_at(x, 1 / (1 + margin)), 0,
                an_scale_at(x, 1 + margin) - an_scale_at(x, 1 / (1 + margin)), 34, "band");
    an_svg_axis_x(p->out, x, 0, 34, false);
    an_svg_line(p->out, an_scale_at(x, 1), 0, an_scale_at(x, 1), 34, "one");
    an_str_appendf(p->out, "<g class=\"%s\">", color);
    for (size_t i = 0; i < n; i++) {
        double at = an_scale_at(x, blocks[i]);
        an_svg_dot(p->out, fmin(fmax(at, 0), 1), 26, 2.5, at < 0 || at > 1 ? "out" : "faint");
    }
    if (pair->call != AN_CALL_NONE && isfinite(pair->p.lo) && isfinite(pair->p.hi)) {
        an_svg_line(p->out, an_scale_at(x, pair->p.lo), 12, an_scale_at(x, pair->p.hi), 12, "bar");
        an_svg_line(p->out, an_scale_at(x, pair->p.lo), 6, an_scale_at(x, pair->p.lo), 18, "cap");
        an_svg_line(p->out, an_scale_at(x, pair->p.hi), 6, an_scale_at(x, pair->p.hi), 18, "cap");
    }
    if (isfinite(pair->p.ratio)) an_svg_dot(p->out, an_scale_at(x, pair->p.ratio), 12, 5, NULL);
    an_str_append(p->out, "</g>");
    an_svg_close(p->out);
    an_fig_row_end(p);
}

/* The bootstrap interval of a pair, the same way round as its ratio; not where so many would take seconds. */
static void bootstrap_of(const an_run *run, const an_pairs *pairs, const an_pair *q, double *lo, double *hi)
{
    enum { BOOTSTRAP_MAX = 8 };
    if (pairs->n > BOOTSTRAP_MAX) return;
    an_paired boot = an_cell_paired_bootstrap(run, q->cell, q->reference, q->field, true);
    bool inverse = an_field_get(q->field)->better == AN_BETTER_LOWER;
    *lo = inverse ? 1 / boot.boot_hi : boot.boot_lo;
    *hi = inverse ? 1 / boot.boot_lo : boot.boot_hi;
}

static void ratio_table(an_page *p, const an_pairs *pairs)
{
    static const char *const heads[] = {"Cell", "Against", "Verdict", "Ratio", "From", "To", "Level", "Blocks", "p",
                                        "p, Holm", "Smallest difference seen", "Blocks needed", "Bootstrap, from", "to"};
    char caption[96];
    snprintf(caption, sizeof caption, "%s, verdicts", an_field_get(pairs->items[0].field)->title);
    an_fig_table(p, caption, heads, 14);
    for (size_t i = 0; i < pairs->n; i++) {
        const an_pair *q = &pairs->items[i];
        double boot_lo = NAN, boot_hi = NAN;
        bootstrap_of(p->run, pairs, q, &boot_lo, &boot_hi);
        char t[11][32];
        snprintf(t[0], 32, "%.4f", q->p.ratio);
        snprintf(t[1], 32, "%.4f", q->p.lo);
        snprintf(t[2], 32, "%.4f", q->p.hi);
        snprintf(t[3], 32, "%.1f %%", 100 * q->p.level);
        snprintf(t[4], 32, "%zu", q->p.n);
        snprintf(t[5], 32, "%.3g", q->p.p);
        snprintf(t[6], 32, "%.3g", q->p.p_adjusted);
        snprintf(t[7], 32, "%.1f %%", 100 * q->p.mde);
        snprintf(t[8], 32, "%zu", q->p.n_needed);
        snprintf(t[9], 32, "%.4f", boot_lo);
        snprintf(t[10], 32, "%.4f", boot_hi);
        for (int k = 0; k < 11; k++)
            if (strstr(t[k], "nan")) snprintf(t[k], 32, "–");
        const char *texts[] = {p->run->cells[q->cell].label, p->run->cells[q->reference].label,
                               an_call_word(q->field, q->call), t[0], t[1], t[2], t[3], t[4], t[5],
                               t[6], t[7], t[8], t[9], t[10]};
        an_fig_tr(p, texts, 14);
    }
    an_fig_table_end(p);
}

void an_fig_ratios(an_page *p, const an_pairs *pairs)
{
    if (pairs->n == 0) return;
    an_scale x = an_scale_new(true);
    double margin = an_run_margin(p->run);
    size_t drawn = pairs->n < AN_HTML_DRAWN_MAX ? pairs->n : AN_HTML_DRAWN_MAX;
    bool with_blocks = drawn <= 24;
    char title[160], how[400];
    an_scale_add(&x, 1 / (1 + 2 * margin));
    an_scale_add(&x, 1 + 2 * margin);
    for (size_t i = 0; i < drawn; i++) {
        an_scale_add(&x, pairs->items[i].p.ratio);
        an_scale_add(&x, pairs->items[i].p.lo);
        an_scale_add(&x, pairs->items[i].p.hi);
        /* Half as wide again as the interval: blocks far out would press all intervals together. */
        double lo = pairs->items[i].p.lo / pairs->items[i].p.ratio, hi = pairs->items[i].p.hi / pairs->items[i].p.ratio;
        an_scale_add(&x, pairs->items[i].p.lo * sqrt(lo));
        an_scale_add(&x, pairs->items[i].p.hi * sqrt(hi));
    }
    an_scale_finish(&x);
    snprintf(title, sizeof title, "%s against the reference", an_field_get(pairs->items[0].field)->title);
    snprintf(how, sizeof how,
             "Right of the line at 1 is better than %s. The bar is the interval of the ratio, the large dot its "
             "estimate, the small dots are the blocks (hollow: beyond the drawing). A verdict needs the whole bar "
             "outside the band of ±%.3g %%; a bar "
             "inside it is equivalent.",
             p->groups->n == 1 ? p->run->cells[pairs->items[0].reference].label : "the reference of the same work",
             100 * margin);
    an_fig_open(p, title, how);
    for (size_t i = 0; i < drawn; i++) {
        if (i == AN_HTML_OPEN_MAX && drawn > AN_HTML_OPEN_MAX + 2) {
            an_fig_axis(p, &x, "ratio");
            an_str_appendf(p->out, "<details><summary>%zu more</summary>\n", drawn - i);
        }
        ratio_row(p, &pairs->items[i], &x, with_blocks);
    }
    an_fig_axis(p, &x, "ratio");
    if (drawn > AN_HTML_OPEN_MAX + 2) an_str_append(p->out, "</details>\n");
    ratio_table(p, pairs);
    an_fig_close(p);
}

/* ---- samples in their order */

enum { SAMPLE_HEIGHT = 48 };

static void sample_row(an_page *p, size_t cell, an_field_id field, const an_scale *x, const an_scale *y)
{
    const an_cell *c = &p->run->cells[cell];
    an_summary s = an_cell_summary(c, field);
    char value[32], under[96], title[256];
    an_format_value(field, s.median, value, sizeof value);
    snprintf(under, sizeof under, "median %s", value);
    snprintf(title, sizeof title, "%s of %s, %zu repetitions in their order, %s", an_field_get(field)->title, c->label,
             s.n, under);
    an_fig_row(p, c->label, under, (int)cell);
    an_svg_open(p->out, "strip", SAMPLE_HEIGHT, ++*p->n_id, title, NULL);
    an_svg_line(p->out, 0, SAMPLE_HEIGHT * (1 - an_scale_at(y, 0)), 1, SAMPLE_HEIGHT * (1 - an_scale_at(y, 0)), "g");
    for (size_t i = 0; i < c->n_rep; i++) {
        const an_rep *rep = &c->reps[i];
        double at = an_scale_at(y, 100 * (rep->values[field] / s.median - 1));
        if (rep->kind != AN_REP_TIMED || !isfinite(at)) continue;
        const char *far = at < -0.001 || at > 1.001 ? "out" : NULL;
        at = fmin(fmax(at, 0), 1);
        an_svg_dot(p->out, an_scale_at(x, (double)rep->order), 4 + (SAMPLE_HEIGHT - 8) * (1 - at), 3, far);
    }
    an_svg_close(p->out);
    an_fig_row_end(p);
}

static void bandwidth_row(an_page *p, const an_scale *x)
{
    static const an_field_id field = AN_FIELD_ID_bandwidth_bps;
    an_scale y = an_scale_new(false);
    size_t n = 0;
    char under[96], lo[32], hi[32];
    for (int draw = 0; draw < 2; draw++) {
        for (size_t i = 0; i < p->run->n_cell; i++)
            for (size_t r = 0; r < p->run->cells[i].n_rep; r++) {
                const an_rep *rep = &p->run->cells[i].reps[r];
                double v = rep->values[field];
                if (rep->kind != AN_REP_TIMED || !isfinite(v)) continue;
                if (!draw) {
                    an_scale_add(&y, v);
                    n++;
                } else
                    an_svg_dot(p->out, an_scale_at(x, (double)rep->order),
                               4 + (SAMPLE_HEIGHT - 8) * (1 - an_scale_at(&y, v)), 2.5, NULL);
            }
        if (n == 0) return;
        if (draw) break;
        an_format_value(field, y.lo, lo, sizeof lo);
        an_format_value(field, y.hi, hi, sizeof hi);
        snprintf(under, sizeof under, "%s to %s", lo, hi);
        if (!(y.hi > y.lo)) an_scale_finish(&y);
        an_fig_row(p, "Memory bandwidth", under, AN_SERIES_N - 1);
        an_svg_open(p->out, "strip", SAMPLE_HEIGHT, ++*p->n_id, "Memory bandwidth around each repetition", under);
    }
    an_svg_close(p->out);
    an_fig_row_end(p);
}

static void sample_table(an_page *p, an_field_id field, const size_t *cells, size_t n)
{
    static const char *const heads[] = {"Cell",  "Repetitions", "Median",  "From", "To",
                                        "Level", "Smallest",    "Largest", "MAD"};
    char caption[96];
    snprintf(caption, sizeof caption, "%s, repetitions", an_field_get(field)->title);
    an_fig_table(p, caption, heads, 9);
    for (size_t i = 0; i < n; i++) {
        const an_cell *c = &p->run->cells[cells[i]];
        an_summary s = an_cell_summary(c, field);
        char t[8][32];
        snprintf(t[0], 32, "%zu", s.n);
        an_format_value(field, s.median, t[1], 32);
        an_format_value(field, s.lo, t[2], 32);
        an_format_value(field, s.hi, t[3], 32);
        snprintf(t[4], 32, "%.1f %%", 100 * s.level);
        an_format_value(field, s.min, t[5], 32);
        an_format_value(field, s.max, t[6], 32);
        an_format_value(field, s.mad, t[7], 32);
        const char *texts[] = {c->label, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]};
        an_fig_tr(p, texts, 9);
    }
    an_fig_table_end(p);
}

static void sample_axis(an_page *p)
{
    an_str_append(
        p->out,
        "<div class=\"row axis\" aria-hidden=\"true\"><div class=\"lab\"></div><div class=\"ends\"><span>first</span>"
        "<span>order of the run</span><span>last</span></div></div>\n");
}

static void samples_of(an_page *p, an_field_id field, bool bandwidth)
{
    size_t cells[AN_HTML_DRAWN_MAX], n = 0, n_all = 0;
    double widest = 1, usual = 0;
    bool repeated = false;
    an_scale x = an_scale_new(false), y = an_scale_new(false);
    char title[96], how[320];
    for (size_t i = 0; i < p->run->n_cell; i++) {
        const an_cell *c = &p->run->cells[i];
        double v;
        if (!an_cell_measured(c) || an_cell_values(c, field, &v, 1) == 0) continue;
        n_all++;
        if (n == AN_HTML_DRAWN_MAX) continue;
        cells[n++] = i;
        an_summary s = an_cell_summary(c, field);
        repeated |= s.n > 1;
        widest = fmax(widest, 100 * fmax(s.max / s.median - 1, 1 - s.min / s.median));
        usual = fmax(usual, 100 * s.mad / s.median);
        for (size_t r = 0; r < c->n_rep; r++)
            if (c->reps[r].kind == AN_REP_TIMED) an_scale_add(&x, (double)c->reps[r].order);
    }
    if (n == 0 || !(x.hi > x.lo) || !repeated) return;
    /* Ends at whole repetitions would cut the outer dots in two. */
    double room = fmax(0.02 * (x.hi - x.lo), 0.5);
    x.lo -= room;
    x.hi += room;
    /* One outlier must not press the others flat: six times the widest cell's median deviation holds what is usual. */
    y.hi = ceil(fmin(widest, fmax(6 * usual, 2)));
    y.lo = -y.hi;
    snprintf(title, sizeof title, "%s, every repetition", an_field_get(field)->title);
    snprintf(
        how, sizeof how,
        "Each dot is one timed repetition, from left to right in the order in which all cells were measured; the "
        "line is the cell's median, the strip reaches from %.3g %% below to %.3g %% above it (hollow: beyond that).",
        y.hi, y.hi);
    an_fig_open(p, title, how);
    for (size_t i = 0; i < n; i++) {
        if (i == AN_HTML_OPEN_MAX && n > AN_HTML_OPEN_MAX + 2) {
            if (bandwidth) bandwidth_row(p, &x);
            sample_axis(p);
            an_str_appendf(p->out, "<details><summary>%zu more</summary>\n", n - i);
        }
        sample_row(p, cells[i], field, &x, &y);
    }
    if (bandwidth && n <= AN_HTML_OPEN_MAX + 2) bandwidth_row(p, &x);
    sample_axis(p);
    if (n > AN_HTML_OPEN_MAX + 2) an_str_append(p->out, "</details>\n");
    if (n_all > n)
        an_str_appendf(p->out, "<p class=\"note\">The first %zu of %zu cells are drawn; the raw data have all.</p>\n",
                       n, n_all);
    sample_table(p, field, cells, n);
    an_fig_close(p);
}

void an_fig_samples(an_page *p)
{
    /* Of a run with hundreds of cells one drawing is enough; a few cells get one for each phase. */
    static const an_field_id fields[] = {AN_FIELD_ID_total_s, AN_FIELD_ID_step_tps, AN_FIELD_ID_decode_tps,
                                         AN_FIELD_ID_prefill_tps};
    bool few = p->run->n_cell <= AN_HTML_OPEN_MAX;
    size_t drawn = 0;
    for (size_t k = 0; k < 4; k++) {
        size_t before = p->out->len;
        /* Time taken of step measurements says nothing that their tokens/s do not say. */
        if (k == 0 && p->run->n_cell && p->run->cells[0].work.kind == AN_WORK_STEP) continue;
        samples_of(p, fields[k], drawn == 0);
        drawn += p->out->len > before;
        if (drawn == (few ? 3 : 1)) return;
    }
}

/* ---- gaps between tokens */

enum { GAPS_MAX = 20000, CURVE_POINTS = 160 };

/* All gaps of the timed repetitions, sorted, in milliseconds; returns how many. */
static size_t gaps(const an_cell *cell, double *out)
{
    size_t n = 0;
    for (size_t i = 0; i < cell->n_rep; i++) {
        const an_rep *rep = &cell->reps[i];
        if (rep->kind != AN_REP_TIMED) continue;
        for (size_t t = 1; t < rep->n_token && n < GAPS_MAX; t++)
            if (rep->token_times_s[t] > rep->token_times_s[t - 1])
                out[n++] = 1e3 * (rep->token_times_s[t] - rep->token_times_s[t - 1]);
    }
    an_sort(out, n);
    return n;
}

static void ecdf(an_page *p, const double *sorted, size_t n, int series, const an_scale *x, double height)
{
    double px[CURVE_POINTS + 1], py[CURVE_POINTS + 1];
    for (int i = 0; i <= CURVE_POINTS; i++) {
        py[i] = (double)i / CURVE_POINTS;
        px[i] = an_scale_at(x, an_interpolate(sorted, n, py[i]));
    }
    char classes[16];
    snprintf(classes, sizeof classes, "l s%d", series % AN_SERIES_N);
    an_svg_path(p->out, px, py, CURVE_POINTS + 1, 8, height, classes);
    static const double marks[] = {0.5, 0.9, 0.99};
    for (int i = 0; i < 3; i++) {
        snprintf(classes, sizeof classes, "s%d", series % AN_SERIES_N);
        an_svg_dot(p->out, an_scale_at(x, an_interpolate(sorted, n, marks[i])), 8 + height * (1 - marks[i]), 3.5, classes);
    }
}

/* A percentile with its interval, "1.234 [1.201, 1.266]"; how sure it is where that is less than usual. */
static void percentile_text(const double *sorted, size_t n, double q, char *out, size_t cap)
{
    an_quantile p = an_quantile_of(sorted, n, q);
    if (!isfinite(p.value)) snprintf(out, cap, "under %.0f gaps", 1 / (1 - q));
    else if (p.level < 0.95) snprintf(out, cap, "%.3f [%.3f, %.3f] (%.0f %%)", p.value, p.lo, p.hi, 100 * p.level);
    else snprintf(out, cap, "%.3f [%.3f, %.3f]", p.value, p.lo, p.hi);
}

void an_fig_latency(an_page *p)
{
    static const char *const heads[] = {"Cell", "Gaps", "p50 [95 %], ms", "p90 [95 %], ms", "p99 [95 %], ms", "Largest, ms"};
    double *sorted = an_malloc(GAPS_MAX * sizeof *sorted);
    enum { HEIGHT = 200 };
    size_t cells[AN_HTML_OPEN_MAX], n = 0;
    an_scale x = an_scale_new(true), y = {.lo = 0, .hi = 100};
    if (!sorted) p->out->failed = true;
    for (size_t i = 0; i < p->run->n_cell && n < AN_HTML_OPEN_MAX && sorted; i++) {
        size_t k = an_cell_measured(&p->run->cells[i]) ? gaps(&p->run->cells[i], sorted) : 0;
        if (k < 5) continue;
        cells[n++] = i;
        an_scale_add(&x, sorted[0]);
        an_scale_add(&x, sorted[k - 1]);
    }
    if (n == 0) goto cleanup;
    an_scale_finish(&x);
    an_fig_open(p, "Gaps between tokens",
                "Share of the gaps that are at most so long, over all timed repetitions; the dots are p50, "
                "p90 and p99. A steep line is an even flow; a long tail to the right is stutter. The table gives each "
                "percentile with the gaps between which the true one lies in 95 of 100 cases, were the gaps independent of "
                "each other.");
    an_str_append(p->out, "<ul class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        an_fig_legend_item(p, cells[i], p->run->cells[cells[i]].label);
    }
    an_str_append(p->out, "</ul>");
    an_svg_open(p->out, "plot", HEIGHT + 36, ++*p->n_id, "Distribution of the gaps between tokens",
                "Cumulative share of gaps over their length in milliseconds, one line for each cell; the figures are "
                "in the table.");
    an_svg_axis_y(p->out, &y, 8, HEIGHT + 8);
    an_svg_axis_x(p->out, &x, 8, HEIGHT + 8, true);
    for (size_t i = 0; i < n; i++) {
        size_t k = gaps(&p->run->cells[cells[i]], sorted);
        ecdf(p, sorted, k, (int)cells[i], &x, HEIGHT);
    }
    an_svg_close(p->out);
    an_str_append(p->out, "<p class=\"xname\" aria-hidden=\"true\">gap in ms (vertical: share of the gaps in %)</p>\n");
    an_fig_table(p, "Gaps between tokens", heads, 6);
    for (size_t i = 0; i < n; i++) {
        static const double marks[] = {0.5, 0.9, 0.99};
        char t[5][64];
        size_t k = gaps(&p->run->cells[cells[i]], sorted);
        snprintf(t[0], sizeof t[0], "%zu", k);
        for (int m = 0; m < 3; m++) percentile_text(sorted, k, marks[m], t[1 + m], sizeof t[1 + m]);
        snprintf(t[4], sizeof t[4], "%.3f", sorted[k - 1]);
        const char *texts[] = {p->run->cells[cells[i]].label, t[0], t[1], t[2], t[3], t[4]};
        an_fig_tr(p, texts, 6);
    }
    an_fig_table_end(p);
    an_fig_close(p);
cleanup:
    an_free(sorted);
}
