/* Which cells of two runs belong together, and what tells them apart. */
#include "report/match.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *model_name(const an_run *run, const an_cell *cell)
{
    return cell->model >= 0 ? run->models[cell->model].name : "";
}

static void value_text(const json_t *v, char *out, size_t cap);

static bool alike(const an_run *a, const an_cell *x, const an_run *b, const an_cell *y)
{
    return !strcmp(x->engine, y->engine) && x->stock == y->stock && !strcmp(model_name(a, x), model_name(b, y)) &&
           x->work.kind == y->work.kind && x->work.n_prompt == y->work.n_prompt && x->work.n_gen == y->work.n_gen &&
           x->work.n_depth == y->work.n_depth;
}

/* Does another cell of the run, alike by label but for its settings, have another value of this one? */
static bool tells_apart(const an_run *run, const an_cell *c, const char *key, const json_t *value)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (&run->cells[i] != c && alike(run, c, run, &run->cells[i]) && !strcmp(run->cells[i].label, c->label) &&
            !json_equal((json_t *)(uintptr_t)value, json_object_get(run->cells[i].settings, key)))
            return true;
    return false;
}

void an_cell_title(const an_run *run, int cell, char *out, size_t cap)
{
    const an_cell *c = &run->cells[cell];
    const char *label = c->label[0] ? c->label : c->engine, *model = model_name(run, c), *key;
    char work[64], value[40];
    json_t *v;
    an_work_label(&c->work, work, sizeof work);
    if (strstr(label, work)) work[0] = '\0'; /* the label says it already */
    int n = snprintf(out, cap, "%s%s%s%s%s", label, model[0] ? " · " : "", model, work[0] ? " · " : "", work);
    json_object_foreach(c->settings, key, v)
    {
        bool again = !strcmp(key, "threads_batch") && json_equal(v, json_object_get(c->settings, "threads"));
        if (n < 0 || (size_t)n >= cap || again || !tells_apart(run, c, key, v)) continue;
        value_text(v, value, sizeof value);
        n += snprintf(out + n, cap - (size_t)n, " · %s %s", key, value);
    }
}

/*
 * The cell of `in` that is like x and not taken; -1 for none, -2 for several. `run` is x's.
 */
static int only_alike(const an_run *run, const an_cell *x, const an_run *in, const bool *taken)
{
    int found = -1;
    for (size_t i = 0; i < in->n_cell; i++) {
        if (taken[i] || !alike(run, x, in, &in->cells[i])) continue;
        if (found >= 0) return -2;
        found = (int)i;
    }
    return found;
}

anemo_status an_run_match(const an_run *a, const an_run *b, an_cell_match **matches, size_t *n, anemo_error *err)
{
    an_cell_match *m = an_calloc(a->n_cell + b->n_cell + 1, sizeof *m);
    bool *taken_a = an_calloc(a->n_cell + 1, sizeof *taken_a), *taken_b = an_calloc(b->n_cell + 1, sizeof *taken_b);
    if (!m || !taken_a || !taken_b) {
        an_free(m);
        an_free(taken_a);
        an_free(taken_b);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    /* A second copy of a cell shows the noise of its run; it is nothing to compare. */
    for (size_t i = 0; i < a->n_cell; i++) taken_a[i] = a->cells[i].copy_of >= 0;
    for (size_t k = 0; k < b->n_cell; k++) taken_b[k] = b->cells[k].copy_of >= 0;
    *n = 0;
    for (size_t i = 0; i < a->n_cell; i++) {
        if (taken_a[i]) continue;
        an_cell_match *one = &m[(*n)++];
        *one = (an_cell_match){.a = (int)i, .b = -1};
        for (size_t k = 0; k < b->n_cell && !taken_a[i]; k++) {
            if (taken_b[k] || !a->cells[i].key[0] || strcmp(a->cells[i].key, b->cells[k].key)) continue;
            one->b = (int)k;
            one->same = taken_a[i] = taken_b[k] = true;
        }
    }
    for (size_t i = 0; i < *n; i++) {
        if (m[i].b >= 0) continue;
        int k = only_alike(a, &a->cells[m[i].a], b, taken_b);
        if (k < 0 || only_alike(b, &b->cells[k], a, taken_a) != m[i].a) continue;
        m[i].b = k;
        taken_a[m[i].a] = taken_b[k] = true;
    }
    for (size_t k = 0; k < b->n_cell; k++)
        if (!taken_b[k]) m[(*n)++] = (an_cell_match){.a = -1, .b = (int)k};
    an_free(taken_a);
    an_free(taken_b);
    *matches = m;
    return ANEMO_OK;
}

/* ---------------------------------------------------------------------------------------------------- differences */

/* "what: x → y" when they differ. An empty text is not known and differs from nothing. */
static void note_text(json_t *to, const char *what, const char *x, const char *y)
{
    if (!x[0] || !y[0] || !strcmp(x, y)) return;
    json_array_append_new(to, json_sprintf("%s: %s → %s", what, x, y));
}

static void note_number(json_t *to, const char *what, double x, double y, double tolerance, const char *unit)
{
    if (!isfinite(x) || !isfinite(y) || fabs(x - y) <= tolerance * fmax(fabs(x), fabs(y))) return;
    json_array_append_new(to, json_sprintf("%s: %.4g → %.4g%s", what, x, y, unit));
}

/* A JSON value as text without quotes. */
static void value_text(const json_t *v, char *out, size_t cap)
{
    char *dumped = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(6));
    snprintf(out, cap, "%s", json_is_string(v) ? json_string_value(v) : dumped ? dumped : "none");
    if (strlen(out) + 1 == cap) memcpy(out + cap - 4, "...", 4);
    free(dumped);
}

/* Members that both objects have and that differ; those that one lacks only where `missing_counts`. */
static void note_members(json_t *to, const json_t *x, const json_t *y, bool missing_counts)
{
    const char *key;
    json_t *v;
    char from[80], into[80];
    json_object_foreach((json_t *)(uintptr_t)x, key, v) {
        json_t *w = json_object_get(y, key);
        if (json_equal(v, w) || (!w && !missing_counts) || json_is_null(v) || json_is_null(w)) continue;
        value_text(v, from, sizeof from);
        value_text(w, into, sizeof into);
        json_array_append_new(to, json_sprintf("%s: %s → %s", key, from, into));
    }
    if (!missing_counts) return;
    json_object_foreach((json_t *)(uintptr_t)y, key, v) {
        if (json_object_get(x, key) || json_is_null(v)) continue;
        value_text(v, into, sizeof into);
        json_array_append_new(to, json_sprintf("%s: none → %s", key, into));
    }
}

json_t *an_cell_differences(const an_run *a, int cell_a, const an_run *b, int cell_b)
{
    const an_cell *x = &a->cells[cell_a], *y = &b->cells[cell_b];
    json_t *list = json_array();
    if (!list) return NULL;
    if (x->model >= 0 && y->model >= 0) {
        const an_run_model *m = &a->models[x->model], *w = &b->models[y->model];
        note_text(list, "model's sha256", m->sha256, w->sha256);
        if (m->bytes && w->bytes) note_number(list, "model's bytes", (double)m->bytes, (double)w->bytes, 0, "");
    }
    note_members(list, x->settings, y->settings, true);
    note_text(list, "engine's version", x->engine_version, y->engine_version);
    note_text(list, "driver's version", x->driver_version, y->driver_version);
    note_text(list, "quantization", x->quantization, y->quantization);
    note_text(list, "compute type", x->compute_dtype, y->compute_dtype);
    note_text(list, "device", x->device, y->device);
    return list;
}

json_t *an_environment_differences(const an_environment *a, const an_environment *b)
{
    json_t *list = json_array();
    if (!list) return NULL;
    note_text(list, "host", a->host, b->host);
    note_text(list, "CPU", a->cpu, b->cpu);
    note_text(list, "instruction sets", a->isa, b->isa);
    note_number(list, "CPUs online", a->cpus_online ? a->cpus_online : NAN, b->cpus_online ? b->cpus_online : NAN, 0, "");
    note_number(list, "CPUs usable", a->cpus_usable ? a->cpus_usable : NAN, b->cpus_usable ? b->cpus_usable : NAN, 0, "");
    note_number(list, "memory", a->mem_total_bytes ? (double)a->mem_total_bytes / 1e9 : NAN,
                b->mem_total_bytes ? (double)b->mem_total_bytes / 1e9 : NAN, 0.01, " GB");
    note_text(list, "operating system", a->os, b->os);
    note_text(list, "governor", a->governor, b->governor);
    note_text(list, "anemo's version", a->anemo_version, b->anemo_version);
    note_text(list, "anemo's commit", a->anemo_commit, b->anemo_commit);
    note_text(list, "compiler", a->compiler, b->compiler);
    note_text(list, "kind of build", a->build_type, b->build_type);
    note_number(list, "measured memory bandwidth", a->peak_bandwidth_bps / 1e9, b->peak_bandwidth_bps / 1e9, 0.05, " GB/s");
    note_number(list, "measured arithmetic", a->peak_flops / 1e9, b->peak_flops / 1e9, 0.05, " Gop/s");
    /* A load is what other programs do: a tenth of a CPU is nothing. */
    if (a->load_average >= 0 && b->load_average >= 0 && fabs(a->load_average - b->load_average) > 0.5)
        note_number(list, "load", a->load_average, b->load_average, 0.1, "");
    return list;
}

/* ---------------------------------------------------------------------------------------------------- contrast */

double an_runs_noise(const an_run *a, const an_run *b)
{
    return isfinite(a->aa_noise) && isfinite(b->aa_noise) ? fmax(a->aa_noise, b->aa_noise)
           : isfinite(a->aa_noise)                        ? a->aa_noise
                                                          : b->aa_noise;
}

static bool all_equal(const double *a, size_t n_a, const double *b, size_t n_b)
{
    for (size_t i = 0; i < n_a; i++)
        if (a[i] != a[0]) return false;
    for (size_t i = 0; i < n_b; i++)
        if (b[i] != a[0]) return false;
    return n_a > 0 && n_b > 0;
}

static void widen(an_paired *p, double margin, double noise)
{
    if (p->verdict == AN_VERDICT_UNKNOWN || !(noise > 0)) return;
    p->lo *= exp(-noise);
    p->hi *= exp(noise);
    bool still = p->verdict == AN_VERDICT_LOWER    ? p->hi < 1 - margin
                 : p->verdict == AN_VERDICT_HIGHER ? p->lo > 1 + margin
                                                   : p->lo >= 1 - margin && p->hi <= 1 + margin;
    if (!still) p->verdict = AN_VERDICT_UNDECIDED;
}

anemo_status an_cells_contrast(const an_cell *a, const an_cell *b, an_field_id field, const an_compare_options *o, double noise,
                               an_contrast *out, anemo_error *err)
{
    double *x = an_malloc((a->n_rep + 1) * sizeof *x), *y = an_malloc((b->n_rep + 1) * sizeof *y);
    if (!x || !y) {
        an_free(x);
        an_free(y);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    *out = (an_contrast){.field = field, .median_a = NAN, .median_b = NAN};
    out->n_a = an_cell_values(a, field, x, a->n_rep < AN_PAIRS_MAX ? a->n_rep : AN_PAIRS_MAX);
    out->n_b = an_cell_values(b, field, y, b->n_rep < AN_PAIRS_MAX ? b->n_rep : AN_PAIRS_MAX);
    out->ratio = an_compare_unpaired(y, out->n_b, x, out->n_a, o);
    /* Values on both sides always have a p and a level, but for want of memory: that is no result. */
    if (out->ratio.n > 0 && (isnan(out->ratio.p) || isnan(out->ratio.level))) {
        an_free(x);
        an_free(y);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the comparison");
    }
    if (all_equal(x, out->n_a, y, out->n_b)) {
        an_paired *p = &out->ratio;
        p->n = out->n_a < out->n_b ? out->n_a : out->n_b;
        p->ratio = p->lo = p->hi = p->p = p->p_adjusted = 1;
        p->level = o->level;
        p->verdict = out->n_a > 1 && out->n_b > 1 ? AN_VERDICT_EQUIVALENT : AN_VERDICT_UNKNOWN;
    }
    widen(&out->ratio, o->margin, noise);
    if (out->n_a) out->median_a = an_median_inplace(x, out->n_a);
    if (out->n_b) out->median_b = an_median_inplace(y, out->n_b);
    an_free(x);
    an_free(y);
    return ANEMO_OK;
}

const char *an_contrast_word(const an_contrast *c)
{
    an_field_better better = an_field_get(c->field)->better;
    bool higher = c->ratio.verdict == AN_VERDICT_HIGHER;
    if (!higher && c->ratio.verdict != AN_VERDICT_LOWER) return an_verdict_name(c->ratio.verdict);
    if (better == AN_BETTER_NONE) return higher ? "higher" : "lower";
    return higher == (better == AN_BETTER_HIGHER) ? "better" : "worse";
}
