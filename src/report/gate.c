/* Limits against a baseline: reading the rules, applying them, saying what came of it. */
#include "report/gate.h"

#include "report/report_internal.h"
#include "report/side_by_side.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------------- rules */

typedef struct unit {
    const char *name, *of; /* the field's unit that it measures */
    double factor;
} unit;

static const unit units[] = {
    {"B", "bytes", 1},      {"kB", "bytes", 1e3},     {"KB", "bytes", 1e3},     {"MB", "bytes", 1e6},   {"GB", "bytes", 1e9},
    {"KiB", "bytes", 1024}, {"MiB", "bytes", 1 << 20}, {"GiB", "bytes", 1 << 30}, {"s", "s", 1},          {"ms", "s", 1e-3},
    {"us", "s", 1e-6},      {"J", "J", 1},            {"mJ", "J", 1e-3},        {"mJ", "J/token", 1e-3}, {"W", "W", 1},
};

/* The factor of a unit's name for this field. A number alone is in the field's own unit. */
static bool unit_factor(const char *name, const an_field *f, double *factor)
{
    *factor = 1;
    if (!name[0] || !strcmp(name, f->unit)) return true;
    for (size_t i = 0; i < AN_COUNT_OF(units); i++) {
        if (strcmp(units[i].name, name) || strcmp(units[i].of, f->unit)) continue;
        *factor = units[i].factor;
        return true;
    }
    return false;
}

static bool skip(const char **at, const char *what)
{
    size_t n = strlen(what);
    if (strncmp(*at, what, n) != 0) return false;
    *at += n;
    return true;
}

/* The directions that the sign limits. False: there is none, and nothing about the field is worse. */
static bool read_sign(const char **at, const an_field *f, bool *down, bool *up)
{
    *down = *up = true;
    if (skip(at, "±") || skip(at, "+-")) return true;
    *up = skip(at, "+");
    *down = !*up && skip(at, "-");
    if (*up || *down) return true;
    *down = f->better == AN_BETTER_HIGHER;
    *up = f->better == AN_BETTER_LOWER;
    return *down || *up;
}

anemo_status an_gate_rule_parse(an_gate_rule *out, const char *text, anemo_error *err)
{
    char name[48], number[40];
    const char *colon = strchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    an_gate_rule r = {.low = -INFINITY, .high = INFINITY};
    double limit, factor;
    bool down, up;
    if (!colon || n == 0 || n >= sizeof name || strlen(text) >= sizeof r.text)
        return an_fail(err, ANEMO_ERR_INVAL, "'%.80s' is no limit; write METRIC:CHANGE, as decode_tps:-3%% or rss_peak_bytes:+50MB", text);
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    if (!an_field_find(name, &r.field))
        return an_fail(err, ANEMO_ERR_INVAL, "'%s' in '%s' is no metric; docs/metrics.md lists them, decode_tps is one", name, text);
    const an_field *f = an_field_get(r.field);
    const char *at = colon + 1;
    if (!read_sign(&at, f, &down, &up))
        return an_fail(err, ANEMO_ERR_INVAL, "'%s': neither more nor less of %s is worse; say which with + or -, or ± for both", text,
                       name);
    n = strspn(at, "0123456789.");
    if (n >= sizeof number) n = 0;
    snprintf(number, sizeof number, "%.*s", (int)n, at);
    if (n == 0 || !an_parse_f64(number, &limit))
        return an_fail(err, ANEMO_ERR_INVAL, "'%s': a number must follow the sign, as in %s:-3%%", text, name);
    at += n;
    while (*at == ' ') at++;
    r.relative = !strcmp(at, "%");
    if (!r.relative && !unit_factor(at, f, &factor))
        return an_fail(err, ANEMO_ERR_INVAL, "'%s': %s is in %s, '%s' is no unit of it", text, name, f->unit, at);
    limit *= r.relative ? 0.01 : factor;
    if (r.relative && down && limit >= 1)
        return an_fail(err, ANEMO_ERR_INVAL, "'%s': nothing falls by 100 %% or more: this limit would never be passed", text);
    if (down) r.low = -limit;
    if (up) r.high = limit;
    snprintf(r.text, sizeof r.text, "%s", text);
    *out = r;
    return ANEMO_OK;
}

/* ---------------------------------------------------------------------------------------------------- checks */

const char *an_gate_outcome_name(an_gate_outcome o)
{
    static const char *const names[AN_GATE_OUTCOME_N] = {"pass", "fail", "undecided"};
    return names[o];
}

static void undecided(an_gate_check *k, const char *why)
{
    k->outcome = AN_GATE_UNDECIDED;
    snprintf(k->why, sizeof k->why, "%s", why);
}

/*
 * The change and its interval. A relative one is the ratio's. An absolute one is that ratio at the baseline's median; where this is 0
 * (counts of faults), the values themselves are all there is.
 */
static void find_change(an_gate_check *k, const an_gate_rule *r)
{
    const an_contrast *c = &k->c;
    double scale = r->relative ? 1 : c->median_a;
    k->change = scale * (c->ratio.ratio - 1);
    k->lo = scale * (c->ratio.lo - 1);
    k->hi = scale * (c->ratio.hi - 1);
    if (r->relative || c->median_a > 0 || c->ratio.lo == c->ratio.hi) return;
    k->change = c->median_b - c->median_a;
    k->lo = k->hi = NAN;
}

static void decide(an_gate_check *k, const an_gate_rule *r, double level)
{
    const an_contrast *c = &k->c;
    char why[160];
    find_change(k, r);
    if (c->n_a == 0 || c->n_b == 0) {
        snprintf(why, sizeof why, "not available in %s", c->n_a ? "the run" : c->n_b ? "the baseline" : "either run");
        undecided(k, why);
    } else if (!isfinite(k->lo) || !isfinite(k->hi)) {
        undecided(k, c->n_a < 2 || c->n_b < 2 ? "one repetition shows no spread" : "values of 0 have no ratio");
    } else if (c->ratio.verdict == AN_VERDICT_UNKNOWN || c->ratio.level < level - 1e-9) {
        snprintf(why, sizeof why, "%zu and %zu repetitions give an interval of %.1f %% at most, %.2f %% are needed: measure more", c->n_a,
                 c->n_b, 100 * c->ratio.level, 100 * level);
        undecided(k, why);
    } else if (k->hi < r->low || k->lo > r->high) {
        k->outcome = AN_GATE_FAIL;
    } else if (k->lo >= r->low && k->hi <= r->high) {
        k->outcome = AN_GATE_PASS;
    } else {
        undecided(k, "the limit lies within the interval");
    }
}

static bool is_checked(const an_gate *g, const an_cell_match *m)
{
    return m->a >= 0 && m->b >= 0 && (m->same || g->options.unlike) && g->base->cells[m->a].status == AN_CELL_OK &&
           g->run->cells[m->b].status == AN_CELL_OK;
}

anemo_status an_gate_make(an_gate *out, const an_run *base, const an_run *run, const an_gate_rule *rules, size_t n_rule,
                          const an_gate_options *o, anemo_error *err)
{
    anemo_status status;
    an_gate g = {.base = base, .run = run, .rules = rules, .n_rule = n_rule, .options = *o};
    an_compare_options c = an_compare_defaults();
    size_t n_cell = 0;
    AN_TRY(an_run_match(base, run, &g.matches, &g.n_match, err));
    for (size_t i = 0; i < g.n_match; i++) n_cell += is_checked(&g, &g.matches[i]);
    g.n_left_out = g.n_match - n_cell;
    if (n_cell == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "no cell of the run can be held against run %s: 'anemo results compare %s %s' shows what is "
                                               "in each, and --unlike takes cells whose settings or weights differ",
                         base->id, base->id, run->id);
        goto cleanup;
    }
    g.checks = an_calloc(n_cell * n_rule + 1, sizeof *g.checks);
    if (!g.checks) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    /* However many checks there are, a run that is like its baseline fails one of them in at most 5 of 100 cases (Bonferroni). */
    g.level = 1 - 0.05 / (double)(n_cell * n_rule);
    c.level = g.level;
    c.n_bootstrap = 0;
    for (size_t i = 0; i < g.n_match; i++) {
        if (!is_checked(&g, &g.matches[i])) continue;
        const an_cell *x = &base->cells[g.matches[i].a], *y = &run->cells[g.matches[i].b];
        for (size_t r = 0; r < n_rule; r++) {
            an_gate_check *k = &g.checks[g.n_check++];
            k->rule = r;
            k->match = i;
            AN_TRY(an_cells_contrast(x, y, rules[r].field, &c, o->noise, &k->c, err));
            decide(k, &rules[r], g.level);
            g.count[k->outcome]++;
        }
    }
    *out = g;
    return ANEMO_OK;
cleanup:
    an_gate_free(&g);
    return status;
}

void an_gate_free(an_gate *g)
{
    an_free(g->matches);
    an_free(g->checks);
    *g = (an_gate){0};
}

bool an_gate_failed(const an_gate *g)
{
    return g->count[AN_GATE_FAIL] > 0 || (g->options.undecided_fails && g->count[AN_GATE_UNDECIDED] > 0);
}

/* ---------------------------------------------------------------------------------------------------- words */

/* A change as the rule counts it: "-5.1 %" or "+52 MB". */
static void change_text(const an_gate_rule *r, double change, char *out, size_t cap)
{
    char value[64];
    if (r->relative) {
        an_change_text(1 + change, out, cap);
    } else if (!isfinite(change)) {
        snprintf(out, cap, "?");
    } else {
        an_format_value(r->field, fabs(change), value, sizeof value);
        snprintf(out, cap, "%s%s", change < 0 ? "-" : "+", value);
    }
}

void an_gate_check_text(const an_gate *g, const an_gate_check *c, an_str *out)
{
    const an_gate_rule *r = &g->rules[c->rule];
    char from[64], to[64], change[64], lo[64], hi[64];
    an_format_value(r->field, c->c.median_a, from, sizeof from);
    an_format_value(r->field, c->c.median_b, to, sizeof to);
    change_text(r, c->change, change, sizeof change);
    change_text(r, c->lo, lo, sizeof lo);
    change_text(r, c->hi, hi, sizeof hi);
    an_str_appendf(out, "%s %s → %s, %s", an_field_get(r->field)->title, from, to, change);
    if (isfinite(c->lo)) an_str_appendf(out, " (%s … %s with %.2f %%)", lo, hi, 100 * c->c.ratio.level);
    an_str_appendf(out, ", n %zu and %zu, limit %s", c->c.n_a, c->c.n_b, r->text);
    if (c->outcome == AN_GATE_UNDECIDED) an_str_appendf(out, ": %s", c->why);
}

static void put_left_out(const an_gate *g, an_str *out)
{
    for (size_t i = 0; i < g->n_match; i++) {
        const an_cell_match *m = &g->matches[i];
        char title[256];
        if (is_checked(g, m)) continue;
        an_cell_title(m->b >= 0 ? g->run : g->base, m->b >= 0 ? m->b : m->a, title, sizeof title);
        const an_cell *x = m->a >= 0 ? &g->base->cells[m->a] : NULL, *y = m->b >= 0 ? &g->run->cells[m->b] : NULL;
        if (!y)
            an_str_appendf(out, "left out   %s: only in the baseline\n", title);
        else if (!x)
            an_str_appendf(out, "left out   %s: not in the baseline\n", title);
        else if (x->status != AN_CELL_OK || y->status != AN_CELL_OK)
            an_str_appendf(out, "left out   %s: %s in the %s\n", title,
                           an_cell_status_name(y->status != AN_CELL_OK ? y->status : x->status),
                           y->status != AN_CELL_OK ? "run" : "baseline");
        else
            an_str_appendf(out, "left out   %s: settings or weights differ (--unlike takes it)\n", title);
    }
}

void an_gate_text(const an_gate *g, an_str *out)
{
    static const an_gate_outcome order[] = {AN_GATE_FAIL, AN_GATE_UNDECIDED, AN_GATE_PASS};
    static const char *const head[AN_GATE_OUTCOME_N] = {"pass      ", "FAIL      ", "undecided "};
    an_str_appendf(out, "Gate: run %s against %s (%s): %s\n", g->run->id, g->base->id,
                   g->base->environment.date[0] ? g->base->environment.date : "no date",
                   an_gate_failed(g) ? "FAILED" : g->count[AN_GATE_UNDECIDED] ? "passed, but not all could be decided" : "passed");
    for (size_t o = 0; o < AN_COUNT_OF(order); o++) {
        for (size_t i = 0; i < g->n_check; i++) {
            const an_gate_check *c = &g->checks[i];
            char title[256];
            if (c->outcome != order[o]) continue;
            an_cell_title(g->run, g->matches[c->match].b, title, sizeof title);
            an_str_appendf(out, "%s %s: ", head[order[o]], title);
            an_gate_check_text(g, c, out);
            an_str_append_char(out, '\n');
        }
    }
    put_left_out(g, out);
    json_t *unlike = an_environment_differences(&g->base->environment, &g->run->environment);
    for (size_t i = 0; i < json_array_size(unlike); i++)
        an_str_appendf(out, "%s%s", i ? "; " : "unlike     ", json_string_value(json_array_get(unlike, i)));
    if (json_array_size(unlike)) an_str_append_char(out, '\n');
    json_decref(unlike);
    if (!isfinite(g->options.noise))
        an_str_append(out, "note       no A/A run of this machine is known: the intervals do not hold what changes between two runs "
                           "(--noise)\n");
    else if (g->options.noise > 0)
        an_str_appendf(out, "note       intervals widened by %.2g %%: so far apart are two runs of the same thing here\n",
                       100 * (exp(g->options.noise) - 1));
}

json_t *an_gate_json(const an_gate *g)
{
    json_t *checks = json_array(), *left_out = json_array();
    for (size_t i = 0; i < g->n_check; i++) {
        const an_gate_check *k = &g->checks[i];
        const an_gate_rule *r = &g->rules[k->rule];
        const an_cell_match *m = &g->matches[k->match];
        char title[256];
        an_cell_title(g->run, m->b, title, sizeof title);
        json_t *one = json_pack("{s:o, s:s, s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "cell", an_json_text(title, strlen(title)),
                                "key", g->run->cells[m->b].key, "rule", r->text, "outcome", an_gate_outcome_name(k->outcome),
                                "relative", r->relative, "change", an_json_real(k->change), "lo", an_json_real(k->lo), "hi",
                                an_json_real(k->hi), "why", k->why[0] ? json_string(k->why) : json_null(), "evidence",
                                an_contrast_json(&k->c), "differences", an_cell_differences(g->base, m->a, g->run, m->b));
        json_array_append_new(checks, one);
    }
    for (size_t i = 0; i < g->n_match; i++) {
        const an_cell_match *m = &g->matches[i];
        char title[256];
        if (is_checked(g, m)) continue;
        an_cell_title(m->b >= 0 ? g->run : g->base, m->b >= 0 ? m->b : m->a, title, sizeof title);
        json_array_append_new(left_out, an_json_text(title, strlen(title)));
    }
    return json_pack("{s:s, s:b, s:s, s:s, s:f, s:o, s:b, s:{s:I, s:I, s:I}, s:o, s:o, s:o}", "schema", "anemo.gate/1", "failed",
                     an_gate_failed(g), "baseline", g->base->id, "run", g->run->id, "level", g->level, "noise",
                     an_json_real(g->options.noise), "undecided_fails", g->options.undecided_fails, "count", "pass",
                     (json_int_t)g->count[AN_GATE_PASS], "fail", (json_int_t)g->count[AN_GATE_FAIL], "undecided",
                     (json_int_t)g->count[AN_GATE_UNDECIDED], "checks", checks, "left_out", left_out, "environment",
                     an_environment_differences(&g->base->environment, &g->run->environment));
}
