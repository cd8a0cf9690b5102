/* Verdicts: each cell against the reference of those that did the same work, and the words for them. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "record/verdicts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A second copy of a cell is there for the A/A gate and is no rival. */
static bool competes(const an_run *run, const an_cell *cell)
{
    return an_cell_measured(cell) && (run->aa || cell->copy_of < 0);
}

anemo_status an_groups_make(an_groups *g, const an_run *run, anemo_error *err)
{
    size_t n = run->n_cell ? run->n_cell : 1;
    int *first = an_calloc(n, sizeof *first); /* a cell of each group */
    *g = (an_groups){
        .of = an_calloc(n, sizeof(int)), .reference = an_calloc(n, sizeof(int)), .size = an_calloc(n, sizeof(int))};
    if (!first || !g->of || !g->reference || !g->size) {
        an_free(first);
        an_groups_free(g);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        size_t k = 0;
        while (k < g->n && !an_cells_same_work(cell, &run->cells[first[k]])) k++;
        if (k == g->n) {
            first[g->n] = (int)i;
            g->reference[g->n++] = -1;
        }
        g->of[i] = (int)k;
        if (!competes(run, cell)) continue;
        g->size[k]++;
        int *ref = &g->reference[k];
        /* The first, as an_run_reference() has it for a run of one kind of work. */
        if (*ref < 0) *ref = (int)i;
    }
    an_free(first);
    return ANEMO_OK;
}

void an_groups_free(an_groups *g)
{
    an_free(g->of);
    an_free(g->reference);
    an_free(g->size);
    *g = (an_groups){0};
}

/* The same comparison told of the other direction: b/a instead of a/b. */
static an_paired inverse(an_paired p)
{
    double lo = p.lo, boot_lo = p.boot_lo;
    p.ratio = 1 / p.ratio;
    p.lo = 1 / p.hi;
    p.hi = 1 / lo;
    p.boot_lo = 1 / p.boot_hi;
    p.boot_hi = 1 / boot_lo;
    if (p.verdict == AN_VERDICT_LOWER)
        p.verdict = AN_VERDICT_HIGHER;
    else if (p.verdict == AN_VERDICT_HIGHER)
        p.verdict = AN_VERDICT_LOWER;
    return p;
}

static an_call call_of(const an_run *run, const an_pair *pair)
{
    if (run->refused && pair->p.verdict != AN_VERDICT_UNKNOWN) return AN_CALL_REFUSED;
    switch (pair->p.verdict) {
    case AN_VERDICT_LOWER: return run->aa || !pair->blocked ? AN_CALL_REFUSED : AN_CALL_WORSE;
    case AN_VERDICT_HIGHER: return run->aa || !pair->blocked ? AN_CALL_REFUSED : AN_CALL_BETTER;
    case AN_VERDICT_EQUIVALENT: return pair->blocked ? AN_CALL_EQUIVALENT : AN_CALL_REFUSED;
    case AN_VERDICT_UNDECIDED: return pair->blocked ? AN_CALL_UNDECIDED : AN_CALL_REFUSED;
    case AN_VERDICT_UNKNOWN: break;
    }
    return pair->blocked ? AN_CALL_NONE : AN_CALL_REFUSED;
}

/*
 * The verdicts about one kind of work are given together: Holm's rule. Above what it takes, Bonferroni's, which is
 * never less strict.
 */
static void correct(an_paired *p, size_t n)
{
    if (n <= AN_PAIRS_MAX) {
        an_compare_correct(p, n);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        p[i].p_adjusted = fmin(1, p[i].p * (double)n);
        bool differs = p[i].verdict == AN_VERDICT_LOWER || p[i].verdict == AN_VERDICT_HIGHER;
        if (differs && p[i].p_adjusted > 1 - p[i].level) p[i].verdict = AN_VERDICT_UNDECIDED;
    }
}

/* Each cell of a group against one of them, appended to the pairs; `all` gets the comparisons at the same places. */
static void compare_group(an_pairs *out, an_paired *all, const an_run *run, const an_groups *g, int group, int ref,
                          an_field_id field)
{
    bool lower = an_field_get(field)->better == AN_BETTER_LOWER;
    double v;
    size_t first = out->n;
    if (ref < 0 || an_cell_values(&run->cells[ref], field, &v, 1) == 0) return;
    for (size_t i = 0; i < run->n_cell; i++) {
        if (g->of[i] != group || (int)i == ref || !competes(run, &run->cells[i]) ||
            an_cell_values(&run->cells[i], field, &v, 1) == 0)
            continue;
        an_paired p = an_cell_paired(run, (int)i, ref, field, true);
        /* Without common blocks the medians' ratio is all that can be told. */
        if (p.n == 0)
            p.ratio = an_cell_summary(&run->cells[i], field).median / an_cell_summary(&run->cells[ref], field).median;
        all[out->n] = lower ? inverse(p) : p;
        out->items[out->n++] = (an_pair){
            .cell = (int)i, .reference = ref, .field = field, .blocked = an_cells_alternate(&run->cells[i], &run->cells[ref])};
    }
    correct(all + first, out->n - first);
}

static int by_cell(const void *a, const void *b)
{
    return ((const an_pair *)a)->cell - ((const an_pair *)b)->cell;
}

/* group and ref as for compare_group(); group -1: every group against its own reference. */
static anemo_status make_pairs(an_pairs *out, const an_run *run, const an_groups *g, int group, int ref,
                               an_field_id field, anemo_error *err)
{
    an_paired *all = an_calloc(run->n_cell ? run->n_cell : 1, sizeof *all);
    *out = (an_pairs){.items = an_calloc(run->n_cell ? run->n_cell : 1, sizeof *out->items)};
    if (!all || !out->items) {
        an_free(all);
        an_pairs_free(out);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    if (group >= 0) compare_group(out, all, run, g, group, ref, field);
    for (int k = 0; group < 0 && k < (int)g->n; k++) compare_group(out, all, run, g, k, g->reference[k], field);
    for (size_t k = 0; k < out->n; k++) {
        out->items[k].p = all[k];
        out->items[k].call = call_of(run, &out->items[k]);
    }
    qsort(out->items, out->n, sizeof *out->items, by_cell);
    an_free(all);
    return ANEMO_OK;
}

anemo_status an_pairs_make(an_pairs *out, const an_run *run, const an_groups *g, an_field_id field, anemo_error *err)
{
    return make_pairs(out, run, g, -1, -1, field, err);
}

int an_group_best(const an_run *run, const an_groups *g, int group, an_field_id field)
{
    bool higher = an_field_get(field)->better == AN_BETTER_HIGHER;
    int best = -1;
    double best_value = 0;
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        double v = g->of[i] == group && competes(run, cell) ? an_cell_summary(cell, field).median : NAN;
        if (!isfinite(v) || (best >= 0 && (higher ? v <= best_value : v >= best_value))) continue;
        best = (int)i;
        best_value = v;
    }
    return best;
}

anemo_status an_pairs_against_best(an_pairs *out, int *best, const an_run *run, const an_groups *g, int group,
                                   an_field_id field, anemo_error *err)
{
    *best = an_group_best(run, g, group, field);
    return make_pairs(out, run, g, group, *best, field, err);
}

an_field_id an_run_primary_field(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (an_cell_measured(&run->cells[i])) return an_primary_field(&run->cells[i]);
    return AN_FIELD_ID_total_s;
}

void an_pairs_free(an_pairs *p)
{
    an_free(p->items);
    *p = (an_pairs){0};
}

static bool is_speed(an_field_id field)
{
    const char *unit = an_field_get(field)->unit;
    return !strcmp(unit, "s") || !strcmp(unit, "tokens/s");
}

const char *an_call_word(an_field_id field, an_call call)
{
    static const char *const speed[AN_CALL_N] = {"no verdict", "faster",    "slower",
                                                 "equivalent", "undecided", "no verdict"};
    static const char *const amount[AN_CALL_N] = {"no verdict", "less",      "more",
                                                  "equivalent", "undecided", "no verdict"};
    return (is_speed(field) ? speed : amount)[call];
}

/* Told in per cent between one half and two, else as a factor. */
static bool as_factor(double ratio)
{
    return ratio >= 2 || ratio <= 0.5;
}

void an_format_ratio(an_field_id field, double ratio, char *out, size_t cap)
{
    bool speed = is_speed(field);
    if (!speed) ratio = 1 / ratio;
    if (!isfinite(ratio))
        snprintf(out, cap, "–");
    else if (as_factor(ratio))
        snprintf(out, cap, "%.2f times as %s", ratio, speed ? "fast" : "much");
    else
        snprintf(out, cap, "%.1f %% %s", 100 * fabs(ratio - 1),
                 speed ? (ratio < 1 ? "slower" : "faster") : (ratio < 1 ? "less" : "more"));
}

void an_pair_short(const an_pair *pair, char *out, size_t cap)
{
    char ratio[48];
    an_format_ratio(pair->field, pair->p.ratio, ratio, sizeof ratio);
    int n = snprintf(out, cap, "%s: %s", an_call_word(pair->field, pair->call), ratio);
    if (pair->call != AN_CALL_NONE && isfinite(pair->p.lo) && n > 0 && (size_t)n < cap)
        snprintf(out + n, cap - (size_t)n, " (%.3f, %.3f to %.3f)", pair->p.ratio, pair->p.lo, pair->p.hi);
}

/* The interval stands beside the estimate, always as ratios: they can be told from the per cents. */
static void append_interval(const an_pair *pair, an_str *out)
{
    const an_paired *p = &pair->p;
    if (!isfinite(p->lo) || !isfinite(p->hi)) return;
    an_str_appendf(out, " (%.*f %% interval of the ratio: %.3f to %.3f)", p->level > 0.99 && p->level < 0.9999 ? 1 : 0,
                   100 * p->level, p->lo, p->hi);
}

/* The interval lies outside the margin, but the rank test cannot be sure yet: too few blocks for so many comparisons.
 */
static void append_unproven(const an_pair *pair, an_str *out)
{
    const an_paired *p = &pair->p;
    const char *word = an_call_word(pair->field, p->lo > 1 ? AN_CALL_BETTER : AN_CALL_WORSE);
    if (p->p_adjusted > p->p)
        an_str_appendf(out,
                       "; alone it would count as %s, but not together with the other comparisons (p %.2g after Holm's "
                       "correction)",
                       word, p->p_adjusted);
    else
        an_str_appendf(out, "; it looks %s, but %zu blocks are too few to prove it (p %.2g)", word, p->n, p->p);
}

void an_pair_sentence(const an_run *run, const an_pair *pair, an_str *out)
{
    const an_paired *p = &pair->p;
    const char *cell = run->cells[pair->cell].label, *ref = run->cells[pair->reference].label;
    const char *title = an_field_get(pair->field)->title;
    char ratio[48];
    an_format_ratio(pair->field, p->ratio, ratio, sizeof ratio);
    switch (pair->call) {
    case AN_CALL_BETTER:
    case AN_CALL_WORSE:
        an_str_appendf(out, "%s: %s %s %s %s %s", title, cell, is_speed(pair->field) ? "is" : "needs", ratio,
                       as_factor(p->ratio) ? "as" : "than", ref);
        append_interval(pair, out);
        break;
    case AN_CALL_EQUIVALENT:
        an_str_appendf(out, "%s: %s and %s are equivalent within %.3g %%", title, cell, ref, 100 * an_run_margin(run));
        append_interval(pair, out);
        break;
    case AN_CALL_UNDECIDED:
        an_str_appendf(out, "%s: undecided between %s and %s; the estimate is %s", title, cell, ref, ratio);
        append_interval(pair, out);
        if (p->lo > 1 + an_run_margin(run) || p->hi < 1 - an_run_margin(run)) append_unproven(pair, out);
        if (p->n_needed > p->n) an_str_appendf(out, ". About %zu more blocks would decide", p->n_needed - p->n);
        if (isfinite(p->mde))
            an_str_appendf(out, "; %zu blocks of this spread show differences of %.1f %% or more", p->n, 100 * p->mde);
        break;
    case AN_CALL_REFUSED:
        an_str_appendf(out, "%s: no verdict on %s and %s", title, cell, ref);
        if (run->refused)
            an_str_append(out, ": the A/A gate failed");
        else if (run->aa)
            an_str_append(out, ", which are the same cell");
        else
            an_str_append(
                out, ": they were measured one after the other, so that drift of the machine is in the difference; "
                     "anemo compare measures in alternation");
        an_str_appendf(out, ". The estimate is %s", ratio);
        append_interval(pair, out);
        break;
    case AN_CALL_NONE:
    case AN_CALL_N:
        an_str_appendf(out, "%s: too few blocks for a verdict on %s and %s", title, cell, ref);
        if (isfinite(p->ratio)) an_str_appendf(out, "; the estimate is %s", ratio);
        break;
    }
    an_str_append_char(out, '.');
}
