/* Drawings over time, of speed against memory, and of speed over a setting that the cells differ in. */
#include "report/html_internal.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory and CPU over time */

enum { CURVE_MAX = 400, MEMORY_HEIGHT = 110, CPU_HEIGHT = 60 };

static const an_rep *observed(const an_cell *cell)
{
    for (size_t i = 0; i < cell->n_rep; i++)
        if (cell->reps[i].kind == AN_REP_OBSERVED && cell->reps[i].n_curve >= 2) return &cell->reps[i];
    return NULL;
}

typedef double (*curve_value)(const an_curve_point *);

static double curve_memory(const an_curve_point *c)
{
    return 1e-6 * (c->rss_anon_bytes + c->rss_file_bytes);
}

static double curve_anon(const an_curve_point *c)
{
    return 1e-6 * c->rss_anon_bytes;
}

static double curve_cpu(const an_curve_point *c)
{
    return c->cpu_percent;
}

static void curve(an_page *p, const an_rep *rep, curve_value get, const an_scale *x, const an_scale *y, double top,
                  double height, const char *classes)
{
    double px[CURVE_MAX], py[CURVE_MAX];
    size_t n = 0, step = (rep->n_curve + CURVE_MAX - 1) / CURVE_MAX;
    for (size_t i = 0; i < rep->n_curve && n < CURVE_MAX; i += step) {
        double v = get(&rep->curve[i]);
        if (!isfinite(v) || !isfinite(rep->curve[i].t_s)) continue;
        px[n] = an_scale_at(x, rep->curve[i].t_s);
        py[n++] = an_scale_at(y, v);
    }
    if (n >= 2) an_svg_path(p->out, px, py, n, top, height, classes);
}

static void resource_row(an_page *p, const an_cell *cell, int series, const an_rep *rep, const an_scale *x,
                         const an_scale *memory, const an_scale *cpu)
{
    char title[256], under[128], peak[32];
    double most = NAN, busiest = NAN;
    for (size_t i = 0; i < rep->n_curve; i++) {
        most = fmax(most, 1e6 * curve_memory(&rep->curve[i]));
        busiest = fmax(busiest, rep->curve[i].cpu_percent);
    }
    an_format_value(AN_FIELD_ID_rss_peak_bytes, most, peak, sizeof peak);
    snprintf(under, sizeof under, "at most %s", peak);
    if (isfinite(busiest)) snprintf(under + strlen(under), sizeof under - strlen(under), ", %.0f %% CPU", busiest);
    snprintf(title, sizeof title, "Memory and CPU of %s over time: %s", cell->label, under);
    an_fig_row(p, cell->label, under, series);
    an_svg_open(p->out, "plot", MEMORY_HEIGHT + CPU_HEIGHT + 56, ++*p->n_id, title, NULL);
    an_svg_text(p->out, 0, 0, 10, "start", "k", "memory, MB: line all, dashes anonymous");
    an_svg_axis_y(p->out, memory, 18, 18 + MEMORY_HEIGHT);
    curve(p, rep, curve_memory, x, memory, 18, MEMORY_HEIGHT, "line");
    curve(p, rep, curve_anon, x, memory, 18, MEMORY_HEIGHT, "line dash");
    double top = 18 + MEMORY_HEIGHT + 18;
    if (isfinite(busiest)) {
        an_svg_text(p->out, 0, 0, top - 6, "start", "k", "CPU, % of one core");
        an_svg_axis_y(p->out, cpu, top, top + CPU_HEIGHT);
        curve(p, rep, curve_cpu, x, cpu, top, CPU_HEIGHT, "line");
    }
    an_svg_axis_x(p->out, x, 18, top + CPU_HEIGHT, true);
    an_svg_close(p->out);
    an_fig_row_end(p);
}

void an_fig_resources(an_page *p)
{
    an_scale x = an_scale_new(false), memory = an_scale_new(false), cpu = an_scale_new(false);
    size_t n = 0;
    an_scale_add(&x, 0);
    an_scale_add(&memory, 0);
    an_scale_add(&cpu, 0);
    for (int draw = 0; draw < 2; draw++) {
        size_t drawn = 0;
        for (size_t i = 0; i < p->run->n_cell && drawn < AN_HTML_OPEN_MAX; i++) {
            const an_rep *rep = observed(&p->run->cells[i]);
            if (!rep) continue;
            drawn++;
            if (draw) {
                resource_row(p, &p->run->cells[i], (int)i, rep, &x, &memory, &cpu);
                continue;
            }
            n++;
            for (size_t k = 0; k < rep->n_curve; k++) {
                an_scale_add(&x, rep->curve[k].t_s);
                an_scale_add(&memory, curve_memory(&rep->curve[k]));
                an_scale_add(&cpu, rep->curve[k].cpu_percent);
            }
        }
        if (n == 0) return;
        if (draw) break;
        an_scale_finish(&x);
        an_scale_finish(&memory);
        an_scale_finish(&cpu);
        an_fig_open(p, "Memory and CPU over time",
                    "One repetition of each cell that was watched and is not among the timed ones: looking costs a "
                    "little time. "
                    "Horizontal: seconds since its begin.");
    }
    an_fig_close(p);
}

/* ---- speed against memory */

typedef struct point {
    size_t cell;
    double x, y;   /* 0..1 */
    double dx, dy; /* of its number from the dot, in pixels */
    bool crowded;  /* there is no room for the number */
} point;

enum { TRADE_HEIGHT = 260, TRADE_NARROW = 290, TRADE_LABELLED = 24 };

/*
 * Put each point's number where it hits no other number and no dot on the narrowest page; on wider ones what stood
 * apart only gets further apart. Where there is no such place it is left out: the table has it.
 */
static void place_numbers(point *points, size_t n)
{
    static const double tries[][2] = {{10, 4},   {-18, 4},  {-4, -9},  {-4, 18}, {10, -8},  {10, 16},
                                      {-18, -8}, {-18, 16}, {-4, -22}, {-4, 31}, {14, -20}, {14, 28}};
    for (size_t i = 0; i < n; i++) {
        for (size_t t = 0; t < AN_COUNT_OF(tries); t++) {
            double ax = points[i].x * TRADE_NARROW + tries[t][0], ay = TRADE_HEIGHT * (1 - points[i].y) + tries[t][1];
            bool hit = ax < 0 || ax + 16 > TRADE_NARROW || ay - 11 < 0 || ay > TRADE_HEIGHT;
            for (size_t k = 0; k < n && !hit; k++) {
                double kx = points[k].x * TRADE_NARROW, ky = TRADE_HEIGHT * (1 - points[k].y);
                hit = ax < kx + 5 && ax + 16 > kx - 5 && ay - 11 < ky + 5 && ay > ky - 5;
                if (k < i && !hit && !points[k].crowded) {
                    double lx = kx + points[k].dx, ly = ky + points[k].dy;
                    hit = ax < lx + 16 && ax + 16 > lx && ay - 11 < ly && ay > ly - 11;
                }
            }
            points[i].dx = tries[t][0];
            points[i].dy = tries[t][1];
            points[i].crowded = hit;
            if (!hit) break;
        }
    }
}

static void trade_table(an_page *p, const point *points, size_t n, an_field_id speed)
{
    const char *heads[] = {"Cell", "No.", an_field_get(speed)->title, "Memory used (peak)", "Size of the weights"};
    an_fig_table(p, "Speed and memory", heads, 5);
    for (size_t i = 0; i < n; i++) {
        const an_cell *cell = &p->run->cells[points[i].cell];
        char t[4][32];
        snprintf(t[0], 32, "%zu", i + 1);
        an_format_value(speed, an_cell_summary(cell, speed).median, t[1], 32);
        an_format_value(AN_FIELD_ID_rss_peak_bytes, an_cell_summary(cell, AN_FIELD_ID_rss_peak_bytes).median, t[2], 32);
        uint64_t bytes =
            cell->model >= 0 && (size_t)cell->model < p->run->n_model ? p->run->models[cell->model].bytes : 0;
        an_format_value(AN_FIELD_ID_rss_peak_bytes, bytes ? (double)bytes : NAN, t[3], 32);
        const char *texts[] = {cell->label, t[0], t[1], t[2], t[3]};
        an_fig_tr(p, texts, 5);
    }
    an_fig_table_end(p);
}

static void trade_drawing(an_page *p, point *points, size_t n, an_field_id speed, const an_scale *x, const an_scale *y)
{
    const char *unit_y;
    char name[96];
    an_format_unit(speed, 1, &unit_y);
    an_svg_open(
        p->out, "plot", TRADE_HEIGHT + 36, ++*p->n_id, "Speed against memory",
        "Each cell as a dot: further up is faster, further left needs less memory; the figures are in the table.");
    an_svg_axis_y(p->out, y, 8, TRADE_HEIGHT + 8);
    an_svg_axis_x(p->out, x, 8, TRADE_HEIGHT + 8, true);
    if (n <= TRADE_LABELLED) place_numbers(points, n);
    for (size_t i = 0; i < n; i++) {
        char number[16], classes[16];
        double py = 8 + TRADE_HEIGHT * (1 - points[i].y);
        snprintf(classes, sizeof classes, "s%zu", points[i].cell % AN_SERIES_N);
        an_svg_dot(p->out, points[i].x, py, n <= TRADE_LABELLED ? 5 : 3, n <= TRADE_LABELLED ? classes : "s0");
        snprintf(number, sizeof number, "%zu", i + 1);
        if (n <= TRADE_LABELLED && !points[i].crowded)
            an_svg_text(p->out, points[i].x, points[i].dx, py + points[i].dy, "start", "n", number);
    }
    an_svg_close(p->out);
    snprintf(name, sizeof name, "peak memory in MB (vertical: %s in %s)", an_field_get(speed)->title, unit_y);
    an_str_append(p->out, "<p class=\"xname\" aria-hidden=\"true\">");
    an_html_text(p->out, name);
    an_str_append(p->out, "</p>\n");
    if (n > TRADE_LABELLED) return;
    an_str_append(p->out, "<ol class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        an_str_append(p->out, "<li>");
        an_html_text(p->out, p->run->cells[points[i].cell].label);
        an_str_append(p->out, "</li>");
    }
    an_str_append(p->out, "</ol>\n");
}

/* The kind of work with the most measured cells, one that generates before one that does not: others are not comparable
 * with it. */
static int largest_group(const an_page *p)
{
    int best = -1;
    bool generates = false;
    for (size_t i = 0; i < p->run->n_cell; i++) {
        int g = p->groups->of[i];
        bool now = p->run->cells[i].work.n_gen > 0;
        int more = best < 0 ? 1 : p->groups->size[g] - p->groups->size[best];
        if (more < 0 || (more == 0 && (generates || !now))) continue;
        best = g;
        generates = now;
    }
    return best;
}

void an_fig_tradeoff(an_page *p)
{
    int group = largest_group(p);
    char how[200] = "Further up is faster, further left needs less memory.";
    if (p->groups->n > 1)
        for (size_t i = 0; i < p->run->n_cell; i++) {
            char work[64];
            if (p->groups->of[i] != group) continue;
            an_work_label(&p->run->cells[i].work, work, sizeof work);
            snprintf(how, sizeof how, "Cells that did %s. Further up is faster, further left needs less memory.", work);
            break;
        }
    static const an_field_id speeds[] = {AN_FIELD_ID_decode_tps, AN_FIELD_ID_step_tps};
    for (size_t k = 0; k < AN_COUNT_OF(speeds); k++) {
        an_scale x = an_scale_new(false), y = an_scale_new(false);
        size_t n = 0;
        point *points = an_calloc(p->run->n_cell + 1, sizeof *points);
        if (!points) {
            p->out->failed = true;
            return;
        }
        for (size_t i = 0; i < p->run->n_cell; i++) {
            const an_cell *cell = &p->run->cells[i];
            if (p->groups->of[i] != group) continue;
            double memory =
                an_cell_measured(cell) ? 1e-6 * an_cell_summary(cell, AN_FIELD_ID_rss_peak_bytes).median : NAN;
            double speed = an_cell_measured(cell) ? an_cell_summary(cell, speeds[k]).median : NAN;
            if (!isfinite(memory) || !isfinite(speed)) continue;
            an_scale_add(&x, memory);
            an_scale_add(&y, speed);
            points[n++] = (point){.cell = i, .x = memory, .y = speed};
        }
        if (n >= 2) {
            an_scale_add(&x, 0);
            an_scale_add(&y, 0);
            an_scale_finish(&x);
            an_scale_finish(&y);
            for (size_t i = 0; i < n; i++) {
                points[i].x = an_scale_at(&x, points[i].x);
                points[i].y = an_scale_at(&y, points[i].y);
            }
            an_fig_open(p, "Speed against memory", how);
            trade_drawing(p, points, n, speeds[k], &x, &y);
            trade_table(p, points, n, speeds[k]);
            an_fig_close(p);
        }
        an_free(points);
    }
}

/* ---- speed over a setting */

typedef enum dimension { DEPTH, PROMPT, BATCH, UBATCH, THREADS, DIMENSION_N } dimension;

static const struct {
    const char *key, *title, *unit;
} dimensions[DIMENSION_N] = {
    {NULL, "depth", "tokens in the KV cache before"},
    {NULL, "prompt length", "tokens"},
    {"n_batch", "batch size", "tokens"},
    {"n_ubatch", "physical batch size", "tokens"},
    {"threads", "threads", "threads"},
};

static int64_t dimension_of(const an_cell *cell, dimension d)
{
    if (d == DEPTH) return cell->work.n_depth;
    if (d == PROMPT) return cell->work.n_prompt;
    return an_cell_setting(cell, dimensions[d].key, -1);
}

/* The speed that a dimension acts upon. */
static an_field_id speed_over(const an_cell *cell, dimension d)
{
    if (cell->work.kind == AN_WORK_STEP) return AN_FIELD_ID_step_tps;
    return d == DEPTH || d == THREADS ? AN_FIELD_ID_decode_tps : AN_FIELD_ID_prefill_tps;
}

/* A cell as a point of a series: cells that are alike in everything but the dimension have the same key. */
typedef struct sample {
    size_t cell;
    double x;
    an_field_id field;
    char key[256];
} sample;

static bool varies(const an_run *run, dimension d)
{
    bool any = false;
    int64_t first = 0;
    for (size_t i = 0; i < run->n_cell; i++) {
        if (!an_cell_measured(&run->cells[i])) continue;
        int64_t v = dimension_of(&run->cells[i], d);
        if (any && v != first) return true;
        first = v;
        any = true;
    }
    return false;
}

static void fill_sample(const an_run *run, size_t i, dimension d, sample *s)
{
    const an_cell *cell = &run->cells[i];
    *s = (sample){.cell = i, .x = (double)dimension_of(cell, d), .field = speed_over(cell, d)};
    int n = snprintf(s->key, sizeof s->key, "%d %d %d %d %.20s %.60s", (int)s->field, cell->model, cell->work.n_gen,
                     cell->stock, cell->engine, an_cell_model_name(run, cell));
    for (int k = 0; k < DIMENSION_N && n > 0 && n < (int)sizeof s->key; k++)
        if (k != (int)d)
            n += snprintf(s->key + n, sizeof s->key - (size_t)n, " %" PRId64, dimension_of(cell, (dimension)k));
}

/* In what the series of one drawing differ, so that their names need say nothing else. */
typedef struct differences {
    bool model, n_gen, dimension[DIMENSION_N];
} differences;

static void note_differences(const an_run *run, const sample *a, const sample *b, dimension d, differences *out)
{
    const an_cell *x = &run->cells[a->cell], *y = &run->cells[b->cell];
    out->model |= x->model != y->model;
    out->n_gen |= x->work.n_gen != y->work.n_gen;
    for (int k = 0; k < DIMENSION_N; k++)
        out->dimension[k] |= k != (int)d && dimension_of(x, (dimension)k) != dimension_of(y, (dimension)k);
}

static void series_name(const an_run *run, const sample *s, const differences *differ, char *out, size_t cap)
{
    const an_cell *cell = &run->cells[s->cell];
    int n = snprintf(out, cap, "%.31s", cell->engine);
    if (differ->model) n += snprintf(out + n, cap - (size_t)n, " · %.60s", an_cell_model_name(run, cell));
    for (int k = 0; k < DIMENSION_N && n > 0 && (size_t)n + 48 < cap; k++)
        if (differ->dimension[k])
            n += snprintf(out + n, cap - (size_t)n, " · %s %" PRId64, dimensions[k].title,
                          dimension_of(cell, (dimension)k));
    if (differ->n_gen && (size_t)n + 24 < cap) snprintf(out + n, cap - (size_t)n, " · %d generated", cell->work.n_gen);
}

static int by_series(const void *a, const void *b)
{
    const sample *x = a, *y = b;
    int k = strcmp(x->key, y->key);
    return k ? k : (x->x > y->x) - (x->x < y->x);
}

/* Length of the series that begins at samples[i]. */
static size_t series_length(const sample *samples, size_t n, size_t i)
{
    size_t k = i + 1;
    while (k < n && strcmp(samples[k].key, samples[i].key) == 0) k++;
    return k - i;
}

/* Does a series have at least two different x? */
static bool is_curve(const sample *s, size_t n)
{
    return n >= 2 && s[n - 1].x > s[0].x;
}

static void curve_series(an_page *p, const sample *s, size_t n, int series, const an_scale *x, const an_scale *y,
                         double height)
{
    double px[CURVE_MAX], py[CURVE_MAX];
    char classes[24];
    size_t k = 0;
    for (size_t i = 0; i < n && k < CURVE_MAX; i++) {
        an_summary v = an_cell_summary(&p->run->cells[s[i].cell], s[i].field);
        double at = an_scale_at(x, s[i].x);
        if (v.n == 0) continue;
        px[k] = at;
        py[k++] = an_scale_at(y, v.median);
        snprintf(classes, sizeof classes, "s%d", series % AN_SERIES_N);
        an_svg_dot(p->out, at, 8 + height * (1 - an_scale_at(y, v.median)), 3.5, classes);
        snprintf(classes, sizeof classes, "cap s%d", series % AN_SERIES_N);
        if (isfinite(v.lo) && isfinite(v.hi))
            an_svg_line(p->out, at, 8 + height * (1 - an_scale_at(y, v.lo)), at,
                        8 + height * (1 - an_scale_at(y, v.hi)), classes);
    }
    snprintf(classes, sizeof classes, "l s%d", series % AN_SERIES_N);
    if (k >= 2) an_svg_path(p->out, px, py, k, 8, height, classes);
}

static void curves_table(an_page *p, const sample *samples, size_t n, dimension d, const differences *differ)
{
    char name[256];
    const char *heads[] = {"Series", dimensions[d].title, "Figure", "Median", "From", "To"};
    an_fig_table(p, dimensions[d].title, heads, 6);
    for (size_t i = 0; i < n;) {
        size_t len = series_length(samples, n, i);
        for (size_t k = i; k < i + len && is_curve(samples + i, len); k++) {
            char t[4][32];
            an_summary v = an_cell_summary(&p->run->cells[samples[k].cell], samples[k].field);
            snprintf(t[0], 32, "%.0f", samples[k].x);
            an_format_value(samples[k].field, v.median, t[1], 32);
            an_format_value(samples[k].field, v.lo, t[2], 32);
            an_format_value(samples[k].field, v.hi, t[3], 32);
            series_name(p->run, &samples[k], differ, name, sizeof name);
            const char *texts[] = {name, t[0], an_field_get(samples[k].field)->title, t[1], t[2], t[3]};
            an_fig_tr(p, texts, 6);
        }
        i += len;
    }
    an_fig_table_end(p);
}

/* One drawing for one dimension: at most eight series, the table has all. */
static void draw_dimension(an_page *p, const sample *samples, size_t n, dimension d)
{
    enum { HEIGHT = 220 };
    size_t begin[AN_SERIES_N], n_series = 0, n_all = 0, first = 0;
    char title[96], how[200], name[256];
    differences differ = {0};
    an_scale x = an_scale_new(d != DEPTH), y = an_scale_new(false);
    an_scale_add(&y, 0);
    for (size_t i = 0; i < n; i += series_length(samples, n, i)) {
        size_t len = series_length(samples, n, i);
        if (!is_curve(samples + i, len)) continue;
        if (n_all++ == 0) first = i;
        note_differences(p->run, &samples[first], &samples[i], d, &differ);
        if (n_series == AN_SERIES_N) continue;
        begin[n_series++] = i;
        for (size_t k = i; k < i + len; k++) {
            an_summary v = an_cell_summary(&p->run->cells[samples[k].cell], samples[k].field);
            an_scale_add(&x, samples[k].x);
            an_scale_add(&y, v.hi);
            an_scale_add(&y, v.median);
        }
    }
    if (n_series == 0) return;
    an_scale_finish(&x);
    an_scale_finish(&y);
    snprintf(title, sizeof title, "Speed over %s", dimensions[d].title);
    snprintf(how, sizeof how, "Medians in tokens/s with their intervals; cells of one line differ in %s alone.",
             dimensions[d].title);
    an_fig_open(p, title, how);
    an_str_append(p->out, "<ul class=\"legend\">");
    for (size_t i = 0; i < n_series; i++) {
        series_name(p->run, &samples[begin[i]], &differ, name, sizeof name);
        an_fig_legend_item(p, i, name);
    }
    an_str_append(p->out, "</ul>");
    an_svg_open(p->out, "plot", HEIGHT + 36, ++*p->n_id, title,
                "One line for each series; the figures are in the table.");
    an_svg_axis_y(p->out, &y, 8, HEIGHT + 8);
    an_svg_axis_x(p->out, &x, 8, HEIGHT + 8, true);
    for (size_t i = 0; i < n_series; i++)
        curve_series(p, samples + begin[i], series_length(samples, n, begin[i]), (int)i, &x, &y, HEIGHT);
    an_svg_close(p->out);
    an_str_appendf(p->out, "<p class=\"xname\" aria-hidden=\"true\">%s (vertical: t/s)</p>\n", dimensions[d].unit);
    if (n_all > n_series)
        an_str_appendf(p->out, "<p class=\"note\">The first %zu of %zu series are drawn; the table has all.</p>\n",
                       n_series, n_all);
    curves_table(p, samples, n, d, &differ);
    an_fig_close(p);
}

anemo_status an_fig_curves(an_page *p, anemo_error *err)
{
    const an_run *run = p->run;
    sample *samples = an_calloc(run->n_cell + 1, sizeof *samples);
    if (!samples) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int d = 0; d < DIMENSION_N; d++) {
        size_t n = 0;
        if (!varies(run, (dimension)d)) continue;
        for (size_t i = 0; i < run->n_cell; i++) {
            if (!an_cell_measured(&run->cells[i]) || dimension_of(&run->cells[i], (dimension)d) < 0) continue;
            fill_sample(run, i, (dimension)d, &samples[n++]);
        }
        qsort(samples, n, sizeof *samples, by_series);
        draw_dimension(p, samples, n, (dimension)d);
    }
    an_free(samples);
    return ANEMO_OK;
}
