/* The analysis in sentences. Every claim is computed; a difference is claimed only when every block shows it. */
#include "report/report_internal.h"

#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void say(json_t *list, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(json_t *list, const char *fmt, ...)
{
    an_str text = {0};
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(&text, fmt, ap);
    va_end(ap);
    json_array_append_new(list, an_json_text(an_str_text(&text), text.len));
    an_str_free(&text);
}

static bool measured(const an_cell *cell)
{
    return cell->status == AN_CELL_OK && an_cell_n_timed(cell) > 0;
}

/* The measured cell with the best median of a field; -1 when none has it. */
static int best_cell(const an_run *c, an_field_id field)
{
    bool higher = an_field_get(field)->better == AN_BETTER_HIGHER;
    int best = -1;
    double best_value = 0;
    for (size_t i = 0; i < c->n_cell; i++) {
        double v = measured(&c->cells[i]) ? an_cell_summary(&c->cells[i], field).median : NAN;
        if (!isfinite(v) || (best >= 0 && (higher ? v <= best_value : v >= best_value))) continue;
        best = (int)i;
        best_value = v;
    }
    return best;
}

static size_t n_measured(const an_run *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_cell; i++) n += measured(&c->cells[i]);
    return n;
}

/*
 * One sentence for the best cell against every other. `relation` says what the ratio means: "as fast as"; with `of_other`
 * it is told of the others, who need that much more.
 */
static void compare_with_best(const an_run *c, an_field_id field, const char *what, const char *relation,
                              bool of_other, json_t *list)
{
    char value[32];
    int best = best_cell(c, field);
    if (best < 0) return;
    const an_cell *b = &c->cells[best];
    bool higher = an_field_get(field)->better == AN_BETTER_HIGHER;
    an_format_value(field, an_cell_summary(b, field).median, value, sizeof value);
    an_str text = {0};
    an_str_appendf(&text, "%s: %s is best with %s", what, b->label, value);

    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if ((int)i == best || !measured(cell) || !isfinite(an_cell_summary(cell, field).median)) continue;
        an_paired p = higher ? an_cell_paired(c, best, (int)i, field, false) : an_cell_paired(c, (int)i, best, field, false);
        if (p.verdict == AN_VERDICT_HIGHER && of_other)
            an_str_appendf(&text, "; %s %s %.2f times as much (%.2f to %.2f)", cell->label, relation, p.ratio, p.lo,
                           p.hi);
        else if (p.verdict == AN_VERDICT_HIGHER)
            an_str_appendf(&text, "; it is %.2f times %s %s (%.2f to %.2f)", p.ratio, relation, cell->label, p.lo,
                           p.hi);
        else if (p.verdict == AN_VERDICT_UNKNOWN)
            an_str_appendf(&text, "; against %s the ratio is %.2f, from too few repetitions for a verdict",
                           cell->label, p.ratio);
        else
            an_str_appendf(&text, "; no difference shown against %s (%.2f, %.2f to %.2f)", cell->label, p.ratio,
                           p.lo, p.hi);
    }
    say(list, "%s.", an_str_text(&text));
    an_str_free(&text);
}

static void speed(const an_run *c, json_t *list)
{
    compare_with_best(c, AN_FIELD_ID_total_s, "Time taken", "as fast as", false, list);
    compare_with_best(c, AN_FIELD_ID_prefill_tps, "Prefill", "as fast as", false, list);
    compare_with_best(c, AN_FIELD_ID_decode_tps, "Decode", "as fast as", false, list);
}

static void cpu(const an_run *c, json_t *list)
{
    compare_with_best(c, AN_FIELD_ID_cpu_s, "CPU time", "needs", true, list);
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        double v = measured(cell) ? an_cell_summary(cell, AN_FIELD_ID_cpu_percent).median : NAN;
        if (isfinite(v))
            say(list, "%s used %.2f of %d CPUs on average.", cell->label, v / 100, c->environment.cpus_online);
    }
}

static void memory(const an_run *c, json_t *list)
{
    compare_with_best(c, AN_FIELD_ID_rss_peak_bytes, "Peak resident memory", "needs", true, list);
    int best = best_cell(c, AN_FIELD_ID_rss_anon_bytes);
    if (best >= 0) {
        char value[32];
        an_format_value(AN_FIELD_ID_rss_anon_bytes, an_cell_summary(&c->cells[best], AN_FIELD_ID_rss_anon_bytes).median,
                        value, sizeof value);
        say(list,
            "Anonymous memory, which the system cannot drop and read again, is smallest with %s: %s; file-backed "
            "pages are the model itself and are shared by every process that maps it.",
            c->cells[best].label, value);
    }
}

static void describe_agreement(const an_run *c, const an_agreement *g, json_t *list)
{
    const char *a = c->cells[g->a].label, *b = c->cells[g->b].label;
    if (g->identical)
        say(list, "%s and %s generated the same %zu ids.", a, b, g->n);
    else if (g->n_same == g->n)
        say(list, "%s and %s agree on all %zu ids of the shorter text.", a, b, g->n);
    else if (!g->examined)
        say(list, "%s and %s agree on the first %zu of %zu ids; no engine here could tell how close the choice was.", a, b,
            g->n_same, g->n);
    else
        say(list,
            "%s and %s agree on the first %zu of %zu ids; there, by %s, the two candidates are %.3f apart in "
            "logits and %.1f points in probability: %s.",
            a, b, g->n_same, g->n, c->cells[g->examined_by].label, g->logit_gap, 100 * g->prob_margin,
            g->near_tie ? "a near-tie, which rounding may decide either way"
                        : "not a near-tie, so the engines compute differently");
}

static void quality(const an_run *c, json_t *list)
{
    int ref = an_report_reference(c);
    for (size_t i = 0; i < c->n_agreement; i++)
        if (c->agreements[i].a == ref || c->agreements[i].b == ref) describe_agreement(c, &c->agreements[i], list);
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (!measured(cell)) continue;
        if (!cell->ids_exact)
            say(list, "%s does not take ids or a fixed length, so it is left out of the token agreement.",
                cell->label);
        if (!cell->check.same_every_rep)
            say(list, "%s did not generate the same ids in every repetition.", cell->label);
        if (cell->check.loop_period)
            say(list, "%s ends in a loop of %zu ids.", cell->label, cell->check.loop_period);
        else if (cell->check.repeated_4grams > 0.3)
            say(list, "%s repeats itself: %.0f %% of its 4-grams occurred before.", cell->label,
                100 * cell->check.repeated_4grams);
        if (cell->check.invalid_utf8)
            say(list, "%s generated %zu bytes that are not UTF-8.", cell->label, cell->check.invalid_utf8);
        if (cell->tokenization_note) say(list, "WARNING: %s.", cell->tokenization_note);
    }
    if (json_array_size(list) == 0) say(list, "No two cells could be compared by their ids.");
}

static void portability(const an_run *c, json_t *list)
{
    for (size_t m = 0; m < c->n_model; m++) {
        const an_run_model *model = &c->models[m];
        say(list, "%s is %s: read by %s.", model->name,
            strcmp(model->container, "gguf") == 0 ? "a GGUF file" : "an MLX directory",
            model->read_by ? model->read_by : "engines that this record does not name");
    }
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (cell->status == AN_CELL_MISSING) say(list, "%s is missing: %s", cell->label, cell->reason);
        if (cell->status == AN_CELL_FAILED) say(list, "%s failed: %s", cell->label, cell->reason);
    }
}

/* Do the measured cells differ in a text property? Writes "a: x, b: y" when they do. */
static bool differing(const an_run *c, const char *(*get)(const an_cell *), an_str *out)
{
    const char *first = NULL;
    bool differ = false;
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        const char *v = measured(cell) ? get(cell) : "";
        if (!v[0]) continue;
        if (!first) first = v;
        differ |= strcmp(first, v) != 0;
        an_str_appendf(out, "%s%s: %s", out->len ? ", " : "", cell->label, v);
    }
    return differ;
}

static const char *get_compute(const an_cell *cell)
{
    return cell->compute_dtype;
}

static const char *get_device(const an_cell *cell)
{
    return cell->device;
}

static void comparability(const an_run *c, json_t *list)
{
    an_str text = {0};
    if (differing(c, get_device, &text))
        say(list, "Devices are mixed (%s): their times say which device is faster, not which engine.",
            an_str_text(&text));
    an_str_clear(&text);
    if (differing(c, get_compute, &text))
        say(list,
            "Compute types differ (%s): engines that quantize activations to 8 bits do less work and lose a little "
            "precision.",
            an_str_text(&text));
    an_str_free(&text);
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (measured(cell) && !cell->threads_settable)
            say(list, "%s does not let the number of threads be set; the others were given %d.", cell->label,
                an_report_threads(c));
        if (measured(cell) && cell->stock)
            say(list, "%s ran with its package's own defaults.", cell->label);
    }
    if (!c->kept_loaded && n_measured(c) > 1)
        say(list, "The models did not fit in memory together, so each was loaded anew for every repetition.");
    json_t *warnings = an_environment_warnings(&c->environment, 0);
    size_t i;
    json_t *w;
    json_array_foreach(warnings, i, w) say(list, "%s.", json_string_value(w));
    json_decref(warnings);
    for (size_t k = 0; k < c->n_cell; k++) {
        if (!measured(&c->cells[k])) continue;
        an_summary s = an_cell_summary(&c->cells[k], AN_FIELD_ID_total_s);
        if (s.n == 1)
            say(list, "One repetition has no range: no difference is claimed.");
        else if (s.n >= 6)
            say(list, "Ranges are %.0f %% intervals of the median.", 100 * s.level);
        else
            say(list,
                "Ranges are the smallest and largest of %zu repetitions, which hold the true median with %.0f %% "
                "confidence; -r 6 gives 97 %%.",
                s.n, 100 * s.level);
        break;
    }
    if (c->interrupted) say(list, "The run was interrupted: some repetitions are missing.");
}

static void conclusion(const an_run *c, json_t *list)
{
    int fast = best_cell(c, AN_FIELD_ID_total_s), small = best_cell(c, AN_FIELD_ID_rss_peak_bytes);
    if (n_measured(c) == 0) {
        say(list, "Nothing could be measured.");
        return;
    }
    if (n_measured(c) == 1) {
        say(list, "Only one engine was measured, so there is nothing to compare.");
        return;
    }
    an_str ties = {0};
    for (size_t i = 0; i < c->n_cell; i++) {
        if ((int)i == fast || !measured(&c->cells[i])) continue;
        an_paired p = an_cell_paired(c, (int)i, fast, AN_FIELD_ID_total_s, false);
        if (p.verdict != AN_VERDICT_HIGHER) an_str_appendf(&ties, "%s%s", ties.len ? ", " : "", c->cells[i].label);
    }
    if (ties.len)
        say(list, "For this work on this machine no difference in speed is shown between %s and %s.",
            c->cells[fast].label, an_str_text(&ties));
    else
        say(list, "For this work on this machine %s is the fastest.", c->cells[fast].label);
    an_str_free(&ties);
    if (small >= 0) say(list, "%s needs the least memory.", c->cells[small].label);
    size_t real = 0, near = 0;
    for (size_t i = 0; i < c->n_agreement; i++) {
        const an_agreement *g = &c->agreements[i];
        if (g->identical || g->n_same == g->n) continue;
        real += !(g->examined && g->near_tie);
        near += g->examined && g->near_tie;
    }
    if (c->n_agreement && real == 0)
        say(list, near ? "The texts differ only where the model itself was undecided."
                       : "All engines gave the same text.");
    else if (real)
        say(list, "Some engines gave different text for the same weights and ids: see quality.");
}

json_t *an_report_analysis(const an_run *c)
{
    static const struct {
        const char *key;
        void (*write)(const an_run *, json_t *);
    } parts[] = {
        {"speed", speed},
        {"cpu", cpu},
        {"memory", memory},
        {"quality", quality},
        {"portability", portability},
        {"comparability", comparability},
        {"conclusion", conclusion},
    };
    json_t *doc = json_object();
    for (size_t i = 0; i < AN_COUNT_OF(parts); i++) {
        json_t *list = json_array();
        parts[i].write(c, list);
        json_object_set_new(doc, parts[i].key, list);
    }
    return doc;
}
