/* The analysis in sentences. Every claim is computed; a difference is claimed only where the paired interval shows it.
 */
#include "report/report_internal.h"
#include "report/why.h"

#include "base/json.h"
#include "record/verdicts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Above these numbers sentences about each cell would be a book; the tables have them. */
enum { CELLS_TOLD = 8, PAIRS_TOLD = 24, GROUPS_TOLD = 6, SENTENCES_MAX = 60 };

/* What all parts of an analysis need. */
typedef struct context {
    const an_run *run;
    const an_groups *groups;
} context;

void an_say_text(json_t *list, const an_str *text)
{
    /* A null among the sentences tells an_report_analysis() that one of them is not whole. */
    json_array_append_new(list, text->failed ? json_null() : an_json_text(an_str_text(text), text->len));
}

void an_say(json_t *list, const char *fmt, ...)
{
    an_str text = {0};
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(&text, fmt, ap);
    va_end(ap);
    an_say_text(list, &text);
    an_str_free(&text);
}

static size_t n_measured(const an_run *run)
{
    size_t n = 0;
    for (size_t i = 0; i < run->n_cell; i++) n += an_cell_measured(&run->cells[i]);
    return n;
}

/* "pp512: " where a run has several kinds of work, else nothing. */
static void group_head(const context *c, int group, an_str *out)
{
    char work[64];
    if (c->groups->n < 2) return;
    for (size_t i = 0; i < c->run->n_cell; i++) {
        if (c->groups->of[i] != group) continue;
        an_work_label(&c->run->cells[i].work, work, sizeof work);
        an_str_appendf(out, "%s: ", work);
        return;
    }
}

/* One pair told of the better cell, which the sentence began with; `of_other` tells it of the others, who need more. */
static void append_pair(const context *c, const an_pair *pair, bool of_other, an_str *out)
{
    const char *other = c->run->cells[pair->cell].label;
    const an_paired *p = &pair->p;
    double ratio = 1 / p->ratio, lo = 1 / p->hi, hi = 1 / p->lo;
    switch (pair->call) {
    case AN_CALL_WORSE:
        if (of_other)
            an_str_appendf(out, "; %s needs %.2f times as much (%.2f to %.2f)", other, ratio, lo, hi);
        else
            an_str_appendf(out, "; it is %.2f times as fast as %s (%.2f to %.2f)", ratio, other, lo, hi);
        break;
    case AN_CALL_EQUIVALENT:
        an_str_appendf(out, "; equivalent to %s within %.3g %%", other, 100 * an_run_margin(c->run));
        break;
    case AN_CALL_BETTER: /* its median is worse and its pairs are better: drift */
    case AN_CALL_UNDECIDED:
        an_str_appendf(out, "; no difference shown against %s (%.2f, %.2f to %.2f)", other, ratio, lo, hi);
        break;
    case AN_CALL_REFUSED: an_str_appendf(out, "; against %s the ratio is %.2f, without a verdict", other, ratio); break;
    case AN_CALL_NONE:
    case AN_CALL_N:
        if (isfinite(ratio))
            an_str_appendf(out, "; against %s the ratio is %.2f, from too few repetitions for a verdict", other, ratio);
        break;
    }
}

/* One sentence a group: the best cell in a field and, where they are few, every other against it. */
static anemo_status tell_best(const context *c, an_field_id field, const char *what, bool of_other, json_t *list,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (int g = 0; g < (int)c->groups->n && g < GROUPS_TOLD; g++) {
        char value[32];
        an_pairs pairs = {0};
        an_str text = {0};
        int best = an_group_best(c->run, c->groups, g, field);
        if (best < 0) continue;
        if (c->groups->size[g] <= CELLS_TOLD)
            AN_TRY(an_pairs_against_best(&pairs, &best, c->run, c->groups, g, field, err));
        an_format_value(field, an_cell_summary(&c->run->cells[best], field).median, value, sizeof value);
        group_head(c, g, &text);
        bool proven = false;
        for (size_t i = 0; i < pairs.n; i++)
            proven |= pairs.items[i].call != AN_CALL_NONE && pairs.items[i].call != AN_CALL_REFUSED;
        an_str_appendf(&text, "%s: %s %s %s", what, c->run->cells[best].label,
                       c->groups->size[g] < 2 ? "has"
                       : proven               ? "is best with"
                                              : "has the best median,",
                       value);
        for (size_t i = 0; i < pairs.n; i++) append_pair(c, &pairs.items[i], of_other, &text);
        an_str_append_char(&text, '.');
        an_say_text(list, &text);
        an_str_free(&text);
        an_pairs_free(&pairs);
    }
cleanup:
    return status;
}

static anemo_status speed(const context *c, json_t *list, anemo_error *err)
{
    static const an_field_id fields[] = {AN_FIELD_ID_total_s,    AN_FIELD_ID_step_tps,    AN_FIELD_ID_prefill_tps,
                                         AN_FIELD_ID_decode_tps, AN_FIELD_ID_load_warm_s, AN_FIELD_ID_load_cold_s};
    anemo_status status = ANEMO_OK;
    bool step = an_run_primary_field(c->run) == AN_FIELD_ID_step_tps;
    for (size_t i = 0; i < AN_COUNT_OF(fields); i++) {
        if (step && fields[i] == AN_FIELD_ID_total_s) continue;
        AN_TRY(tell_best(c, fields[i], an_field_get(fields[i])->title, false, list, err));
    }
    for (size_t i = 0; i < c->run->n_cell && c->run->n_cell <= CELLS_TOLD; i++) {
        double share = an_cell_summary(&c->run->cells[i], AN_FIELD_ID_stall_share).median;
        if (share > 0.01)
            an_say(list, "%s stutters: %.1f %% of its gaps between tokens are over three times the usual one.",
                   c->run->cells[i].label, 100 * share);
    }
cleanup:
    return status;
}

static anemo_status cpu(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status;
    AN_TRY(tell_best(c, AN_FIELD_ID_cpu_s, "CPU time", true, list, err));
    AN_TRY(tell_best(c, AN_FIELD_ID_energy_per_token_j, "Energy per token", true, list, err));
    for (size_t i = 0; i < c->run->n_cell && c->run->n_cell <= CELLS_TOLD; i++) {
        const an_cell *cell = &c->run->cells[i];
        double v = an_cell_measured(cell) ? an_cell_summary(cell, AN_FIELD_ID_cpu_percent).median : NAN;
        if (isfinite(v) && c->run->environment.cpus_online > 0)
            an_say(list, "%s used %.2f of %d CPUs on average.", cell->label, v / 100, c->run->environment.cpus_online);
    }
cleanup:
    return status;
}

static anemo_status memory(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status;
    AN_TRY(tell_best(c, AN_FIELD_ID_rss_peak_bytes, "Peak resident memory", true, list, err));
    for (int g = 0; g < (int)c->groups->n && g < 1; g++) {
        int best = an_group_best(c->run, c->groups, g, AN_FIELD_ID_rss_anon_bytes);
        char value[32];
        if (best < 0) continue;
        an_format_value(AN_FIELD_ID_rss_anon_bytes,
                        an_cell_summary(&c->run->cells[best], AN_FIELD_ID_rss_anon_bytes).median, value, sizeof value);
        an_say(list,
               "Anonymous memory, which the system cannot drop and read again, is smallest with %s: %s; file-backed "
               "pages are the model itself and are shared by every process that maps it.",
               c->run->cells[best].label, value);
    }
cleanup:
    return status;
}

static void describe_agreement(const an_run *c, const an_agreement *g, json_t *list)
{
    const char *a = c->cells[g->a].label, *b = c->cells[g->b].label;
    if (g->identical)
        an_say(list, "%s and %s generated the same %zu ids.", a, b, g->n);
    else if (g->n_same == g->n)
        an_say(list, "%s and %s agree on all %zu ids of the shorter text.", a, b, g->n);
    else if (!g->examined)
        an_say(list, "%s and %s agree on the first %zu of %zu ids; no engine here could tell how close the choice was.",
               a, b, g->n_same, g->n);
    else
        an_say(list,
               "%s and %s agree on the first %zu of %zu ids; there, by %s, the two candidates are %.3f apart in "
               "logits and %.1f points in probability: %s.",
               a, b, g->n_same, g->n, c->cells[g->examined_by].label, g->logit_gap, 100 * g->prob_margin,
               g->near_tie ? "a near-tie, which rounding may decide either way"
                           : "not a near-tie, so the engines compute differently");
}

static anemo_status quality(const context *x, json_t *list, anemo_error *err)
{
    (void)err;
    const an_run *c = x->run;
    int ref = an_report_reference(c);
    for (size_t i = 0; i < c->n_agreement; i++)
        if (c->agreements[i].a == ref || c->agreements[i].b == ref) describe_agreement(c, &c->agreements[i], list);
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (!an_cell_measured(cell)) continue;
        if (!cell->ids_exact)
            an_say(list, "%s does not take ids or a fixed length, so it is left out of the token agreement.",
                   cell->label);
        if (!cell->check.same_every_rep)
            an_say(list, "%s did not generate the same ids in every repetition.", cell->label);
        if (cell->check.loop_period)
            an_say(list, "%s ends in a loop of %zu ids.", cell->label, cell->check.loop_period);
        else if (cell->check.repeated_4grams > 0.3)
            an_say(list, "%s repeats itself: %.0f %% of its 4-grams occurred before.", cell->label,
                   100 * cell->check.repeated_4grams);
        if (cell->check.invalid_utf8)
            an_say(list, "%s generated %zu bytes that are not UTF-8.", cell->label, cell->check.invalid_utf8);
        if (cell->tokenization_note) an_say(list, "WARNING: %s.", cell->tokenization_note);
    }
    if (json_array_size(list) == 0) an_say(list, "No two cells could be compared by their ids.");
    return ANEMO_OK;
}

static anemo_status portability(const context *x, json_t *list, anemo_error *err)
{
    (void)err;
    const an_run *c = x->run;
    for (size_t m = 0; m < c->n_model; m++) {
        const an_run_model *model = &c->models[m];
        bool gguf = strcmp(model->container, "gguf") == 0;
        if (!model->name || (!gguf && strcmp(model->container, "mlx") != 0)) continue;
        an_say(list, "%s is %s: read by %s.", model->name, gguf ? "a GGUF file" : "an MLX directory",
               model->read_by ? model->read_by : "engines that this record does not name");
    }
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (!an_cell_measured(cell) || !json_object_get(cell->settings, "draft")) continue;
        an_say(list,
               "%s decodes speculatively: its text is that of plain decoding, its speed is that of this text, and several ids "
               "arrive at one time.",
               cell->label);
    }
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        const char *reason = cell->reason ? cell->reason : "no reason was given";
        if (cell->status == AN_CELL_MISSING) an_say(list, "%s is missing: %s", cell->label, reason);
        if (cell->status == AN_CELL_FAILED) an_say(list, "%s failed: %s", cell->label, reason);
        if (cell->status == AN_CELL_SKIPPED) an_say(list, "%s was skipped: %s", cell->label, reason);
    }
    return ANEMO_OK;
}

/* Do the measured cells differ in a text property? Writes "a: x, b: y" when they do. */
static bool differing(const an_run *c, const char *(*get)(const an_cell *), an_str *out)
{
    const char *first = NULL;
    bool differ = false;
    size_t n = 0;
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        const char *v = an_cell_measured(cell) ? get(cell) : "";
        if (!v[0]) continue;
        if (!first) first = v;
        differ |= strcmp(first, v) != 0;
        if (++n <= CELLS_TOLD) an_str_appendf(out, "%s%s: %s", out->len ? ", " : "", cell->label, v);
    }
    if (n > CELLS_TOLD) an_str_appendf(out, " and %zu more cells", n - CELLS_TOLD);
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

static anemo_status comparability(const context *x, json_t *list, anemo_error *err)
{
    (void)err;
    const an_run *c = x->run;
    an_str text = {0};
    if (differing(c, get_device, &text))
        an_say(list, "Devices are mixed (%s): their times say which device is faster, not which engine.",
               an_str_text(&text));
    an_str_clear(&text);
    if (differing(c, get_compute, &text))
        an_say(list,
               "Compute types differ (%s): engines that quantize activations to 8 bits do less work and lose a little "
               "precision.",
               an_str_text(&text));
    if (text.failed) an_say_text(list, &text);
    an_str_free(&text);
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (an_cell_measured(cell) && !cell->threads_settable)
            an_say(list, "%s does not let the number of threads be set; the others were given %d.", cell->label,
                   an_report_threads(c));
        if (an_cell_measured(cell) && cell->stock) an_say(list, "%s ran with its package's own defaults.", cell->label);
    }
    if (!c->kept_loaded && n_measured(c) > 1 && strcmp(c->kind, "compare") == 0)
        an_say(list, "The models did not fit in memory together, so each was loaded anew for every repetition.");
    json_t *warnings = an_environment_warnings(&c->environment, 0);
    size_t i;
    json_t *w;
    json_array_foreach (warnings, i, w) an_say(list, "%s.", json_string_value(w));
    json_decref(warnings);
    if (c->interrupted) an_say(list, "The run was interrupted: some repetitions are missing.");
    return ANEMO_OK;
}

/* What the ranges beside the figures are. */
static anemo_status ranges(const context *x, json_t *list, anemo_error *err)
{
    (void)err;
    const an_run *c = x->run;
    for (size_t k = 0; k < c->n_cell; k++) {
        if (!an_cell_measured(&c->cells[k])) continue;
        an_summary s = an_cell_summary(&c->cells[k], an_primary_field(&c->cells[k]));
        if (s.n == 1)
            an_say(list, "One repetition has no range: no difference is claimed.");
        else if (s.n >= 6)
            an_say(list, "Ranges are %.0f %% intervals of the median.", 100 * s.level);
        else
            an_say(list,
                   "Ranges are the smallest and largest of %zu repetitions, which hold the true median with %.0f %% "
                   "confidence; -r 6 gives 97 %%.",
                   s.n, 100 * s.level);
        break;
    }
    return ANEMO_OK;
}

/* ---- verdicts and the conclusion */

/* The number of pairs of each call, for runs with too many to tell. */
static void count_calls(const an_pairs *pairs, json_t *list)
{
    size_t n[AN_CALL_N] = {0};
    for (size_t i = 0; i < pairs->n; i++) n[pairs->items[i].call]++;
    an_say(list,
           "Against the reference of the same work: %zu faster, %zu slower, %zu equivalent, %zu undecided, %zu without "
           "a verdict.",
           n[AN_CALL_BETTER], n[AN_CALL_WORSE], n[AN_CALL_EQUIVALENT], n[AN_CALL_UNDECIDED],
           n[AN_CALL_NONE] + n[AN_CALL_REFUSED]);
}

static anemo_status tell_pairs(const context *c, an_field_id field, size_t at_most, size_t *n_family, json_t *list,
                               anemo_error *err)
{
    anemo_status status;
    an_pairs pairs = {0};
    AN_TRY(an_pairs_make(&pairs, c->run, c->groups, field, err));
    size_t n_none = 0;
    for (size_t i = 0; i < pairs.n; i++) n_none += pairs.items[i].call == AN_CALL_NONE;
    if (pairs.n && n_none == pairs.n)
        an_say(list, "%s: too few blocks for verdicts; the ratios are estimates.", an_field_get(field)->title);
    else if (pairs.n > at_most)
        count_calls(&pairs, list);
    else
        for (size_t i = 0; i < pairs.n; i++) {
            an_str text = {0};
            an_pair_sentence(c->run, &pairs.items[i], &text);
            an_say_text(list, &text);
            an_str_free(&text);
        }
    if (pairs.n > *n_family && n_none < pairs.n) *n_family = pairs.n;
cleanup:
    an_pairs_free(&pairs);
    return status;
}

static anemo_status verdict(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status;
    size_t n_family = 0;
    an_field_id primary = an_run_primary_field(c->run);
    AN_TRY(tell_pairs(c, primary, PAIRS_TOLD, &n_family, list, err));
    if (primary == AN_FIELD_ID_total_s && c->run->n_cell <= CELLS_TOLD) {
        for (int f = 0; f < AN_DECISIVE_N; f++)
            AN_TRY(tell_pairs(c, an_decisive_fields[f], PAIRS_TOLD, &n_family, list, err));
    }
    if (n_family > 1)
        an_say(list, "The comparisons of one figure over the same work were corrected together (Holm), so that a false "
                     "verdict among "
                     "all of them is as rare as in a single one.");
cleanup:
    return status;
}

static anemo_status evidence(const context *c, json_t *list, anemo_error *err)
{
    (void)err;
    an_evidence_gate(c->run, list);
    an_evidence_drift(c->run, list);
    an_evidence_outliers(c->run, list);
    return ANEMO_OK;
}

static anemo_status why(const context *c, json_t *list, anemo_error *err)
{
    (void)err;
    an_report_why(c->run, list);
    return ANEMO_OK;
}

static anemo_status missing(const context *c, json_t *list, anemo_error *err)
{
    (void)err;
    an_evidence_missing(c->run, list);
    return ANEMO_OK;
}

/* An A/A run is a test of the machine: whatever differs from itself is noise. */
static void conclude_aa(const an_pairs *pairs, json_t *list)
{
    double most = 0;
    size_t n_false = 0;
    for (size_t i = 0; i < pairs->n; i++) {
        double away = fmax(pairs->items[i].p.ratio, 1 / pairs->items[i].p.ratio) - 1;
        if (isfinite(away) && away > most) most = away;
        n_false += pairs->items[i].call == AN_CALL_REFUSED;
    }
    if (n_false)
        an_say(list,
               "The A/A gate failed: a cell measured against itself seems to differ by %.1f %%. This machine is too "
               "noisy now for "
               "verdicts; anemo doctor may say why.",
               100 * most);
    else
        an_say(list, "The A/A gate held: a cell measured against itself shows no difference (estimate %.2f %%).",
               100 * most);
}

/* The labels of the pairs' cells with one of two calls, ", " between; returns how many. */
static size_t names_with(const an_run *run, const an_pairs *pairs, an_call a, an_call b, an_str *out)
{
    size_t n = 0;
    for (size_t i = 0; i < pairs->n; i++) {
        if (pairs->items[i].call != a && pairs->items[i].call != b) continue;
        an_str_appendf(out, "%s%s", n++ ? ", " : "", run->cells[pairs->items[i].cell].label);
    }
    return n;
}

/*
 * "native is the fastest." or what stands in the way of saying so, for one kind of work. *winner: the cell that is
 * faster than all others, -1 when none is shown to be.
 */
static anemo_status conclude_group(const context *c, int group, int *winner, json_t *list, anemo_error *err)
{
    anemo_status status;
    an_pairs pairs = {0};
    an_str text = {0}, same = {0}, open = {0}, slower = {0}, none = {0};
    int best;
    AN_TRY(an_pairs_against_best(&pairs, &best, c->run, c->groups, group, an_run_primary_field(c->run), err));
    *winner = -1;
    if (best < 0) goto cleanup;
    const char *name = c->run->cells[best].label;
    group_head(c, group, &text);
    size_t n_none = names_with(c->run, &pairs, AN_CALL_REFUSED, AN_CALL_NONE, &none);
    size_t n_same = names_with(c->run, &pairs, AN_CALL_EQUIVALENT, AN_CALL_EQUIVALENT, &same);
    size_t n_open = names_with(c->run, &pairs, AN_CALL_UNDECIDED, AN_CALL_BETTER, &open);
    size_t n_slower = names_with(c->run, &pairs, AN_CALL_WORSE, AN_CALL_WORSE, &slower);
    if (n_none) {
        bool refused = false;
        for (size_t i = 0; i < pairs.n; i++) refused |= pairs.items[i].call == AN_CALL_REFUSED;
        an_str_appendf(&text, "%s has the best median, but %s: no verdict.", name,
                       refused ? "the cells were not measured in alternation" : "there are too few blocks");
    } else {
        if (n_open)
            an_str_appendf(&text, "For this work on this machine no difference in speed is shown between %s and %s",
                           name, an_str_text(&open));
        else if (n_same)
            an_str_appendf(&text, "For this work on this machine %s and %s are equivalent in speed within %.3g %%",
                           name, an_str_text(&same), 100 * an_run_margin(c->run));
        else
            an_str_appendf(&text, "For this work on this machine %s is the fastest", name);
        if (n_open && n_same)
            an_str_appendf(&text, "; %s %s equivalent to %s", an_str_text(&same), n_same == 1 ? "is" : "are", name);
        if (n_slower && (n_open || n_same))
            an_str_appendf(&text, "; %s %s slower", an_str_text(&slower), n_slower == 1 ? "is" : "are");
        an_str_append_char(&text, '.');
    }
    if (pairs.n && n_slower == pairs.n) *winner = best;
    text.failed |= same.failed || open.failed || slower.failed || none.failed;
    an_say_text(list, &text);
cleanup:
    an_str_free(&text);
    an_str_free(&same);
    an_str_free(&open);
    an_str_free(&slower);
    an_str_free(&none);
    an_pairs_free(&pairs);
    return status;
}

/* Several kinds of work: who wins how many, then each by itself where they are few. */
static anemo_status conclude_groups(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *single = json_array(), *wins = json_object(), *n_win;
    size_t n_group = 0, n_open = 0, i;
    const char *engine;
    json_t *sentence;
    an_str text = {0};
    for (int g = 0; g < (int)c->groups->n; g++) {
        int winner;
        if (c->groups->size[g] < 2) continue;
        n_group++;
        winner = -1;
        if (c->groups->size[g] <= PAIRS_TOLD) AN_TRY(conclude_group(c, g, &winner, single, err));
        if (winner < 0) {
            n_open++;
            continue;
        }
        engine = c->run->cells[winner].engine;
        json_object_set_new(wins, engine, json_integer(json_integer_value(json_object_get(wins, engine)) + 1));
    }
    an_str_appendf(&text, "%zu cells of %zu kinds of work were measured", n_measured(c->run), c->groups->n);
    json_object_foreach (wins, engine, n_win)
        an_str_appendf(&text, "; a cell of %s is the fastest in %d of them", engine, (int)json_integer_value(n_win));
    if (n_open) an_str_appendf(&text, "; in %zu no cell is shown to be the fastest", n_open);
    an_str_append_char(&text, '.');
    an_say_text(list, &text);
    if (n_group <= GROUPS_TOLD)
        json_array_foreach (single, i, sentence) json_array_append(list, sentence);
cleanup:
    an_str_free(&text);
    json_decref(single);
    json_decref(wins);
    return status;
}

/* Least memory is claimed only where every other cell is shown to need more. */
static anemo_status conclude_memory(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_pairs pairs = {0};
    int best;
    if (c->groups->n != 1 || c->groups->size[0] > PAIRS_TOLD) return ANEMO_OK;
    AN_TRY(an_pairs_against_best(&pairs, &best, c->run, c->groups, 0, AN_FIELD_ID_rss_peak_bytes, err));
    size_t n_more = 0;
    for (size_t i = 0; i < pairs.n; i++) n_more += pairs.items[i].call == AN_CALL_WORSE;
    if (best >= 0 && pairs.n && n_more == pairs.n)
        an_say(list, "%s needs the least memory.", c->run->cells[best].label);
cleanup:
    an_pairs_free(&pairs);
    return status;
}

static void conclude_texts(const an_run *run, json_t *list)
{
    size_t real = 0, near = 0;
    for (size_t i = 0; i < run->n_agreement; i++) {
        const an_agreement *g = &run->agreements[i];
        if (g->identical || g->n_same == g->n) continue;
        real += !(g->examined && g->near_tie);
        near += g->examined && g->near_tie;
    }
    if (run->n_agreement && real == 0)
        an_say(list, near ? "The texts differ only where the model itself was undecided."
                          : "All engines gave the same text.");
    else if (real)
        an_say(list, "Some engines gave different text for the same weights and ids: see quality.");
}

static anemo_status conclusion(const context *c, json_t *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_pairs pairs = {0};
    size_t n = n_measured(c->run);
    if (n == 0) {
        an_say(list, "Nothing could be measured.");
        return ANEMO_OK;
    }
    if (n == 1) {
        an_say(list, "Only one cell was measured, so there is nothing to compare.");
        return ANEMO_OK;
    }
    if (c->run->refused) {
        an_say(list, "No verdicts: the A/A gate failed: %s.", c->run->refused);
        return ANEMO_OK;
    }
    if (c->run->aa) {
        AN_TRY(an_pairs_make(&pairs, c->run, c->groups, an_run_primary_field(c->run), err));
        conclude_aa(&pairs, list);
        goto cleanup;
    }
    if (c->groups->n > 1)
        AN_TRY(conclude_groups(c, list, err));
    else if (c->groups->size[0] > PAIRS_TOLD)
        an_say(list, "%zu cells were measured; the table and the drawings compare them.", n);
    else
        AN_TRY(conclude_group(c, 0, &(int){0}, list, err));
    AN_TRY(conclude_memory(c, list, err));
    conclude_texts(c->run, list);
cleanup:
    an_pairs_free(&pairs);
    return status;
}

/* A sentence for each of a thousand cells is not an analysis. */
static void shorten(json_t *list)
{
    size_t n = json_array_size(list);
    if (n <= SENTENCES_MAX) return;
    while (json_array_size(list) > SENTENCES_MAX - 1) json_array_remove(list, json_array_size(list) - 1);
    an_say(list, "%zu more of these are not told here; the raw data have them.", n - SENTENCES_MAX + 1);
}

json_t *an_report_analysis(const an_run *run)
{
    static const struct {
        const char *key;
        anemo_status (*write)(const context *, json_t *, anemo_error *);
    } parts[] = {
        {"verdict", verdict}, {"evidence", evidence},
        {"why", why},         {"speed", speed},
        {"cpu", cpu},         {"memory", memory},
        {"quality", quality}, {"portability", portability},
        {"missing", missing}, {"comparability", comparability},
        {"ranges", ranges},   {"conclusion", conclusion},
    };
    an_groups groups;
    json_t *doc = NULL;
    if (an_groups_make(&groups, run, NULL) != ANEMO_OK) return NULL;
    context c = {.run = run, .groups = &groups};
    doc = json_object();
    for (size_t i = 0; i < AN_COUNT_OF(parts); i++) {
        json_t *list = json_array();
        anemo_status status = parts[i].write(&c, list, NULL);
        size_t k;
        json_t *sentence;
        json_array_foreach (list, k, sentence)
            if (!json_is_string(sentence)) status = ANEMO_ERR_NOMEM;
        shorten(list);
        json_object_set_new(doc, parts[i].key, list);
        if (status == ANEMO_OK) continue;
        json_decref(doc);
        doc = NULL;
        break;
    }
    an_groups_free(&groups);
    return doc;
}
