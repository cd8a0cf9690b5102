/* What speaks against the figures: drift over the run, outliers and what may have caused them, figures that are not
 * there. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

an_field_id an_primary_field(const an_cell *cell)
{
    return cell->work.kind == AN_WORK_STEP ? AN_FIELD_ID_step_tps : AN_FIELD_ID_total_s;
}

/*
 * The trend of ln(value / the cell's median) over the order of all repetitions. A change over the whole run of over one
 * per cent that chance gives less often than once in a hundred runs is worth a sentence.
 */
void an_evidence_drift(const an_run *run, json_t *list)
{
    size_t n = 0, cap = 0;
    double first = INFINITY, last = -INFINITY;
    for (size_t i = 0; i < run->n_cell; i++) cap += run->cells[i].n_rep;
    double *x = an_malloc((cap + 1) * sizeof *x), *y = an_malloc((cap + 1) * sizeof *y);
    for (size_t i = 0; i < run->n_cell && x && y; i++) {
        const an_cell *cell = &run->cells[i];
        an_field_id field = an_primary_field(cell);
        double median = an_cell_measured(cell) ? an_cell_summary(cell, field).median : NAN;
        double sign = an_field_get(field)->better == AN_BETTER_LOWER ? -1 : 1;
        for (size_t r = 0; r < cell->n_rep; r++) {
            double v = sign * log(cell->reps[r].values[field] / median);
            if (cell->reps[r].kind != AN_REP_TIMED || !isfinite(v)) continue;
            x[n] = (double)cell->reps[r].order;
            y[n] = v;
            first = fmin(first, x[n]);
            last = fmax(last, x[n++]);
        }
    }
    if (!x || !y) an_say_text(list, &(an_str){.failed = true});
    an_trend t = n >= 8 ? an_trend_of(x, y, n) : (an_trend){NAN, NAN};
    double change = expm1(t.slope * (last - first));
    if (t.p < 0.01 && fabs(change) > 0.01)
        an_say(list,
               "The machine drifted: speed changed by %+.1f %% from the first to the last repetition (p %.1g). Cells "
               "that were "
               "measured in alternation share this, so that it cancels in their ratios; it does not cancel in their "
               "medians.",
               100 * change, t.p);
    an_free(x);
    an_free(y);
}

void an_evidence_gate(const an_run *run, json_t *list)
{
    if (run->aa_from[0])
        an_say(list,
               "The gate is that of run %s, in which a cell measured against itself left differences of up to %.2f %% possible: the "
               "margin of the verdicts is %.3g %%.",
               run->aa_from, 100 * expm1(run->aa_noise), 100 * an_run_margin(run));
}

/* One sign that a repetition was disturbed, judged against the cell's other repetitions. */
typedef struct cause {
    an_field_id field;
    bool above;    /* suspicious when larger than usual; false: when smaller */
    double factor; /* of the median */
    double least;  /* and at least so much away from it, in the field's unit */
    const char *name;
} cause;

static const cause causes[] = {
    {AN_FIELD_ID_faults_major, true, 2, 4, "page faults that waited for the disk"},
    {AN_FIELD_ID_swap_in_bytes, true, 2, 4096, "swapped in"},
    {AN_FIELD_ID_ctx_involuntary, true, 3, 20, "involuntary context switches"},
    {AN_FIELD_ID_cpu_hz, false, 0.95, 0, "clock"},
    {AN_FIELD_ID_steal_share, true, 2, 0.02, "stolen CPU time"},
    {AN_FIELD_ID_bandwidth_bps, false, 0.9, 0, "memory bandwidth around it"},
};

static void append_causes(const an_cell *cell, const an_rep *rep, an_str *out)
{
    size_t n = 0;
    for (size_t k = 0; k < AN_COUNT_OF(causes); k++) {
        const cause *c = &causes[k];
        double v = rep->values[c->field], usual = an_cell_summary(cell, c->field).median;
        if (!isfinite(v) || !isfinite(usual)) continue;
        if (c->above ? !(v > c->factor * usual && v - usual >= c->least) : !(v < c->factor * usual)) continue;
        char is[32], was[32];
        an_format_value(c->field, v, is, sizeof is);
        an_format_value(c->field, usual, was, sizeof was);
        an_str_appendf(out, "%s%s %s instead of %s", n++ ? ", " : "; seen with it: ", c->name, is, was);
    }
    if (n == 0) an_str_append(out, "; nothing that was recorded explains it");
}

enum { OUTLIERS_TOLD = 8 };

/* Tukey's outer fences: three interquartile ranges beyond the quartiles, and two per cent of the median at least. */
static bool fences(const an_cell *cell, an_field_id field, double *lo, double *hi)
{
    double values[AN_PAIRS_MAX];
    size_t n = an_cell_values(cell, field, values, AN_PAIRS_MAX);
    if (n < 6) return false;
    an_sort(values, n);
    double q1 = an_quantile_of(values, n, 0.25).value, q3 = an_quantile_of(values, n, 0.75).value;
    double room = fmax(3 * (q3 - q1), 0.02 * values[n / 2]);
    *lo = q1 - room;
    *hi = q3 + room;
    return true;
}

/* What the outliers of a cell do to its spread, where that is more than a little. */
static void tell_share(const an_cell *cell, an_field_id field, json_t *list)
{
    double values[AN_PAIRS_MAX], work[AN_PAIRS_MAX];
    an_outliers o = an_find_outliers(values, an_cell_values(cell, field, values, AN_PAIRS_MAX), work);
    size_t severe = o.low_severe + o.high_severe, mild = o.low_mild + o.high_mild;
    if (severe + mild == 0 || o.share < 0.1) return;
    an_say(list,
           "%s: %zu of %zu repetitions are severe outliers and %zu mild ones (Tukey; largest modified z %.1f), "
           "which make up about %.0f %% of the variance of its %s.",
           cell->label, severe, o.n, mild, o.max_z, 100 * o.share, an_field_get(field)->title);
}

void an_evidence_outliers(const an_run *run, json_t *list)
{
    size_t n_outlier = 0;
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        an_field_id field = an_primary_field(cell);
        double lo, hi, median = an_cell_summary(cell, field).median;
        if (!an_cell_measured(cell) || !fences(cell, field, &lo, &hi)) continue;
        tell_share(cell, field, list);
        for (size_t r = 0; r < cell->n_rep; r++) {
            const an_rep *rep = &cell->reps[r];
            double v = rep->values[field];
            if (rep->kind != AN_REP_TIMED || !(v < lo || v > hi)) continue;
            if (++n_outlier > OUTLIERS_TOLD) continue;
            char value[32];
            an_str text = {0};
            an_format_value(field, v, value, sizeof value);
            an_str_appendf(&text, "Outlier: %s in block %d, %s %s, %.2f times its median", cell->label, rep->block + 1,
                           an_field_get(field)->title, value, v / median);
            append_causes(cell, rep, &text);
            an_str_append(&text, ". It stays in all figures.");
            an_say_text(list, &text);
            an_str_free(&text);
        }
    }
    if (n_outlier > OUTLIERS_TOLD) an_say(list, "%zu more outliers are in the raw data.", n_outlier - OUTLIERS_TOLD);
}

void an_evidence_missing(const an_run *run, json_t *list)
{
    json_t *by_reason = json_object();
    for (size_t i = 0; i < run->n_cell; i++) {
        const char *key;
        json_t *reason;
        json_object_foreach (run->cells[i].missing, key, reason) {
            an_field_id field;
            const char *text = json_string_value(reason);
            json_t *names = text ? json_object_get(by_reason, text) : NULL;
            if (!text) continue;
            if (!names) {
                names = json_object();
                json_object_set_new(by_reason, text, names);
            }
            json_object_set_new(names, an_field_find(key, &field) ? an_field_get(field)->title : key, json_true());
        }
    }
    const char *why, *name;
    json_t *names, *unused;
    json_object_foreach (by_reason, why, names) {
        an_str text = {0};
        an_str_append(&text, "Not available here: ");
        size_t n = 0;
        json_object_foreach (names, name, unused) an_str_appendf(&text, "%s%s", n++ ? ", " : "", name);
        an_str_appendf(&text, " (%s).", why);
        an_say_text(list, &text);
        an_str_free(&text);
    }
    json_decref(by_reason);
}
