/* The comparison of two runs and its forms. Text and Markdown are one table per cell; CSV and JSON hold a row per metric. */
#include "report/side_by_side.h"

#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What is compared when nothing is asked for: one of each kind, in the order of a request's life. */
static const an_field_id usual[] = {
    AN_FIELD_ID_load_warm_s, AN_FIELD_ID_ttft_s,      AN_FIELD_ID_prefill_tps,    AN_FIELD_ID_decode_tps,
    AN_FIELD_ID_step_tps,    AN_FIELD_ID_itl_p99_s,   AN_FIELD_ID_cpu_s,          AN_FIELD_ID_rss_peak_bytes,
    AN_FIELD_ID_energy_per_token_j,
};

static anemo_status add_rows(an_side_by_side *s, size_t match, const an_compare_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_cell_match *m = &s->matches[match];
    const an_side_options *opt = &s->options;
    const an_cell *x = &s->a->cells[m->a], *y = &s->b->cells[m->b];
    bool has_step = false;
    for (size_t i = 0; i < opt->n_field; i++) has_step = has_step || opt->fields[i] == AN_FIELD_ID_step_tps;
    for (size_t i = 0; i < opt->n_field; i++) {
        an_side_row *row = &s->rows[s->n_row];
        row->match = match;
        AN_TRY(an_cells_contrast(x, y, opt->fields[i], o, opt->noise, &row->c, err));
        /* In step work on a prompt alone both are the same quotient. */
        bool twice = opt->fields[i] == AN_FIELD_ID_prefill_tps && has_step && x->work.kind == AN_WORK_STEP && x->work.n_gen == 0;
        if ((row->c.n_a || row->c.n_b) && !twice) s->n_row++;
    }
cleanup:
    return status;
}

/* Verdicts of one field are given together. */
static anemo_status correct(an_side_by_side *s, anemo_error *err)
{
    an_paired *p = an_malloc((s->n_row + 1) * sizeof *p);
    size_t *at = an_malloc((s->n_row + 1) * sizeof *at);
    anemo_status status = p && at ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int f = 0; status == ANEMO_OK && f < AN_FIELD_N; f++) {
        size_t n = 0;
        for (size_t i = 0; i < s->n_row; i++) {
            if ((int)s->rows[i].c.field != f || s->rows[i].c.ratio.verdict == AN_VERDICT_UNKNOWN) continue;
            at[n] = i;
            p[n++] = s->rows[i].c.ratio;
        }
        if (n > AN_PAIRS_MAX)
            status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "%zu cells are too many to correct their verdicts; --each gives each by itself", n);
        else if (n > 1)
            an_compare_correct(p, n);
        for (size_t i = 0; i < n; i++) s->rows[at[i]].c.ratio = p[i];
    }
    an_free(p);
    an_free(at);
    return status;
}

anemo_status an_side_by_side_make(an_side_by_side *out, const an_run *a, const an_run *b, const an_side_options *o,
                                  anemo_error *err)
{
    anemo_status status;
    an_side_by_side s = {.a = a, .b = b, .options = *o};
    an_compare_options c = an_compare_defaults();
    c.margin = o->margin;
    c.n_bootstrap = 0;
    if (!o->fields) {
        s.options.fields = usual;
        s.options.n_field = AN_COUNT_OF(usual);
    }
    AN_TRY(an_run_match(a, b, &s.matches, &s.n_match, err));
    s.rows = an_calloc(s.n_match * s.options.n_field + 1, sizeof *s.rows);
    if (!s.rows) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < s.n_match; i++) {
        const an_cell_match *m = &s.matches[i];
        if (m->a < 0 || m->b < 0) continue;
        if (a->cells[m->a].status == AN_CELL_OK && b->cells[m->b].status == AN_CELL_OK) AN_TRY(add_rows(&s, i, &c, err));
    }
    if (!o->each) AN_TRY(correct(&s, err));
    *out = s;
    return ANEMO_OK;
cleanup:
    an_side_by_side_free(&s);
    return status;
}

void an_side_by_side_free(an_side_by_side *s)
{
    an_free(s->matches);
    an_free(s->rows);
    *s = (an_side_by_side){0};
}

void an_change_text(double ratio, char *out, size_t cap)
{
    if (!isfinite(ratio)) {
        snprintf(out, cap, "?");
    } else if (ratio >= 10) {
        snprintf(out, cap, "x%.3g", ratio);
    } else {
        double percent = 100 * (ratio - 1);
        snprintf(out, cap, "%+.*f %%", fabs(percent) < 1 ? 2 : 1, fabs(percent) < 0.005 ? 0.0 : percent);
    }
}

/* ---------------------------------------------------------------------------------------------------- JSON */

json_t *an_contrast_json(const an_contrast *c)
{
    const an_field *f = an_field_get(c->field);
    const an_paired *p = &c->ratio;
    static const char *const better[] = {"lower", "higher"};
    return json_pack("{s:s, s:s, s:s?, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "metric", f->name, "unit",
                     f->unit, "better", f->better == AN_BETTER_NONE ? NULL : better[f->better], "n_a", (json_int_t)c->n_a,
                     "n_b", (json_int_t)c->n_b, "median_a", an_json_real(c->median_a), "median_b", an_json_real(c->median_b),
                     "ratio", an_json_real(p->ratio), "lo", an_json_real(p->lo), "hi", an_json_real(p->hi), "level",
                     an_json_real(p->level), "p", an_json_real(p->p), "p_adjusted", an_json_real(p->p_adjusted), "verdict",
                     an_verdict_name(p->verdict), "means", an_contrast_word(c));
}

static json_t *run_json(const an_run *run)
{
    return json_pack("{s:s, s:s, s:s, s:o}", "id", run->id, "kind", run->kind, "date", run->environment.date, "tags",
                     run->tags ? json_incref(run->tags) : json_array());
}

/* A cell as one run has it, without figures. */
static json_t *cell_head(const an_run *run, int cell)
{
    const an_cell *c = &run->cells[cell];
    char title[256];
    an_cell_title(run, cell, title, sizeof title);
    return json_pack("{s:o, s:s, s:s, s:s, s:o}", "cell", an_json_text(title, strlen(title)), "key", c->key, "engine", c->engine,
                     "status", an_cell_status_name(c->status), "reason",
                     c->reason ? an_json_text(c->reason, strlen(c->reason)) : json_null());
}

json_t *an_side_by_side_json(const an_side_by_side *s)
{
    json_t *cells = json_array(), *only_a = json_array(), *only_b = json_array();
    size_t row = 0;
    for (size_t i = 0; i < s->n_match; i++) {
        const an_cell_match *m = &s->matches[i];
        if (m->a < 0 || m->b < 0) {
            json_array_append_new(m->a < 0 ? only_b : only_a, m->a < 0 ? cell_head(s->b, m->b) : cell_head(s->a, m->a));
            continue;
        }
        json_t *cell = cell_head(s->b, m->b), *metrics = json_array();
        json_object_set_new(cell, "status_a", json_string(an_cell_status_name(s->a->cells[m->a].status)));
        json_object_set_new(cell, "same", json_boolean(m->same));
        json_object_set_new(cell, "differences", an_cell_differences(s->a, m->a, s->b, m->b));
        for (; row < s->n_row && s->rows[row].match == i; row++) json_array_append_new(metrics, an_contrast_json(&s->rows[row].c));
        json_object_set_new(cell, "metrics", metrics);
        json_array_append_new(cells, cell);
    }
    return json_pack("{s:s, s:o, s:o, s:f, s:o, s:b, s:o, s:o, s:o, s:o}", "schema", "anemo.side-by-side/1", "a", run_json(s->a), "b",
                     run_json(s->b), "margin", s->options.margin, "noise", an_json_real(s->options.noise), "corrected",
                     !s->options.each, "environment", an_environment_differences(&s->a->environment, &s->b->environment), "cells",
                     cells, "only_a", only_a, "only_b", only_b);
}

/* ---------------------------------------------------------------------------------------------------- CSV */

static void csv_number(an_str *out, double v)
{
    if (isfinite(v))
        an_str_appendf(out, ",%.9g", v);
    else
        an_str_append_char(out, ',');
}

static void write_csv(const an_side_by_side *s, an_str *out)
{
    an_str_append(out, "cell,same,metric,unit,n_a,n_b,median_a,median_b,ratio,lo,hi,level,p,p_adjusted,verdict,means\n");
    for (size_t i = 0; i < s->n_row; i++) {
        const an_contrast *c = &s->rows[i].c;
        const an_cell_match *m = &s->matches[s->rows[i].match];
        const double numbers[] = {c->median_a, c->median_b,     c->ratio.ratio, c->ratio.lo,
                                  c->ratio.hi, c->ratio.level, c->ratio.p,     c->ratio.p_adjusted};
        char title[256];
        an_cell_title(s->b, m->b, title, sizeof title);
        an_csv_text(out, title);
        an_str_appendf(out, ",%s,%s,", m->same ? "yes" : "no", an_field_get(c->field)->name);
        an_csv_text(out, an_field_get(c->field)->unit);
        an_str_appendf(out, ",%zu,%zu", c->n_a, c->n_b);
        for (size_t k = 0; k < AN_COUNT_OF(numbers); k++) csv_number(out, numbers[k]);
        an_str_appendf(out, ",%s,%s\n", an_verdict_name(c->ratio.verdict), an_contrast_word(c));
    }
}

/* ---------------------------------------------------------------------------------------------------- for people */

enum { N_COLUMN = 6, COLUMN_BYTES = 96 };

typedef struct line {
    char text[N_COLUMN][COLUMN_BYTES];
} line;

static void fill_line(const an_contrast *c, line *l)
{
    const an_paired *p = &c->ratio;
    char lo[32], hi[32];
    snprintf(l->text[0], COLUMN_BYTES, "%s", an_field_get(c->field)->title);
    an_format_value(c->field, c->median_a, l->text[1], COLUMN_BYTES);
    an_format_value(c->field, c->median_b, l->text[2], COLUMN_BYTES);
    an_change_text(p->verdict == AN_VERDICT_UNKNOWN ? NAN : p->ratio, l->text[3], COLUMN_BYTES);
    an_change_text(p->lo, lo, sizeof lo);
    an_change_text(p->hi, hi, sizeof hi);
    if (p->verdict == AN_VERDICT_UNKNOWN)
        snprintf(l->text[4], COLUMN_BYTES, "%zu and %zu values", c->n_a, c->n_b);
    else
        snprintf(l->text[4], COLUMN_BYTES, "%s … %s", lo, hi);
    snprintf(l->text[5], COLUMN_BYTES, "%s", an_contrast_word(c));
}

/* Columns that a terminal needs for a text: every byte that begins a character. */
static int width_of(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void put_cells(const line *lines, size_t n, bool markdown, an_str *out)
{
    int width[N_COLUMN] = {0};
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < N_COLUMN; k++)
            if (width_of(lines[i].text[k]) > width[k]) width[k] = width_of(lines[i].text[k]);
    for (size_t i = 0; i < n; i++) {
        for (int k = 0; k < N_COLUMN; k++) {
            const char *text = lines[i].text[k];
            size_t gap = (size_t)(width[k] - width_of(text));
            bool left = k == 0 || k == N_COLUMN - 1;
            an_str_append(out, markdown ? "| " : k ? "  " : "  ");
            if (!left) an_str_append_repeat(out, ' ', gap);
            an_str_append(out, text);
            if (left && (markdown || k == 0)) an_str_append_repeat(out, ' ', gap);
            if (markdown) an_str_append_char(out, ' ');
        }
        an_str_append(out, markdown ? "|\n" : "\n");
        if (markdown && i == 0) an_str_append(out, "| --- | ---: | ---: | ---: | ---: | --- |\n");
    }
}

static void put_list(json_t *list, const char *title, an_str *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        an_str_appendf(out, "%s%s", i ? "; " : title, json_string_value(json_array_get(list, i)));
    if (json_array_size(list)) an_str_append(out, "\n");
    json_decref(list);
}

static void put_run(const char *name, const an_run *run, an_str *out)
{
    an_str_appendf(out, "%s: %s", name, run->id);
    for (size_t i = 0; i < json_array_size(run->tags); i++)
        an_str_appendf(out, "%s%s", i ? ", " : " (", json_string_value(json_array_get(run->tags, i)));
    an_str_appendf(out, "%s%s%s\n", json_array_size(run->tags) ? ")" : "", run->environment.date[0] ? ", " : "", run->environment.date);
}

static void put_matched(const an_side_by_side *s, size_t match, size_t *row, line *lines, bool markdown, an_str *out)
{
    const an_cell_match *m = &s->matches[match];
    char title[256];
    size_t n = 1;
    an_cell_title(s->b, m->b, title, sizeof title);
    an_str_appendf(out, "\n%s%s\n", markdown ? "### " : "", title);
    if (markdown) an_str_append_char(out, '\n');
    put_list(an_cell_differences(s->a, m->a, s->b, m->b), m->same ? "  unlike: " : "  NOT THE SAME CELL: ", out);
    for (int k = 0; k < 2; k++) {
        const an_cell *c = k ? &s->b->cells[m->b] : &s->a->cells[m->a];
        if (c->status != AN_CELL_OK)
            an_str_appendf(out, "  %s: %s%s%s\n", k ? "B" : "A", an_cell_status_name(c->status), c->reason ? ": " : "",
                           c->reason ? c->reason : "");
    }
    for (; *row < s->n_row && s->rows[*row].match == match; ++*row) fill_line(&s->rows[*row].c, &lines[n++]);
    if (markdown && n > 1) an_str_append_char(out, '\n');
    if (n > 1) put_cells(lines, n, markdown, out);
}

static void put_only(const an_side_by_side *s, bool in_b, an_str *out)
{
    bool any = false;
    for (size_t i = 0; i < s->n_match; i++) {
        const an_cell_match *m = &s->matches[i];
        char title[256];
        if (in_b ? m->a >= 0 : m->b >= 0) continue;
        an_cell_title(in_b ? s->b : s->a, in_b ? m->b : m->a, title, sizeof title);
        an_str_appendf(out, "%s%s", any ? "; " : in_b ? "\nOnly in B: " : "\nOnly in A: ", title);
        any = true;
    }
    if (any) an_str_append_char(out, '\n');
}

static void put_method(const an_side_by_side *s, an_str *out)
{
    an_str_appendf(out, "\nB in relation to A: the ratio of all pairs of repetitions (Hodges-Lehmann) with its interval, Mann-Whitney test%s. Equivalent: "
                        "the whole interval within %.3g %%.\n",
                   s->options.each ? ", each verdict by itself" : " with Holm's correction over the cells of a metric",
                   100 * s->options.margin);
    if (isfinite(s->options.noise))
        an_str_appendf(out, "Every interval was widened by %.2g %% on both sides: so far apart were two runs of the same thing on this "
                            "machine.\n",
                       100 * (exp(s->options.noise) - 1));
    else
        an_str_append(out, "Repetitions of one run do not show what changes between two runs, and no A/A run of these machines is "
                           "known: small differences may be the day's. `anemo compare --aa` measures it; --noise sets it.\n");
}

static anemo_status write_text(const an_side_by_side *s, bool markdown, an_str *out, anemo_error *err)
{
    size_t row = 0;
    line *lines = an_calloc(s->options.n_field + 1, sizeof *lines);
    static const char *const head[N_COLUMN] = {"", "A", "B", "B to A", "interval", "B is"};
    if (!lines) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int k = 0; k < N_COLUMN; k++) snprintf(lines[0].text[k], COLUMN_BYTES, "%s", head[k]);
    put_run("A", s->a, out);
    if (markdown) an_str_append_char(out, '\n');
    put_run("B", s->b, out);
    if (markdown) an_str_append_char(out, '\n');
    put_list(an_environment_differences(&s->a->environment, &s->b->environment), "UNLIKE: ", out);
    for (size_t i = 0; i < s->n_match; i++)
        if (s->matches[i].a >= 0 && s->matches[i].b >= 0) put_matched(s, i, &row, lines, markdown, out);
    put_only(s, false, out);
    put_only(s, true, out);
    put_method(s, out);
    an_free(lines);
    return an_str_check(out, err);
}

anemo_status an_side_by_side_write(const an_side_by_side *s, an_report_format format, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    switch (format) {
    case AN_REPORT_TEXT:
    case AN_REPORT_MD: return write_text(s, format == AN_REPORT_MD, out, err);
    case AN_REPORT_CSV: write_csv(s, out); return an_str_check(out, err);
    case AN_REPORT_JSON:
        AN_TRY(an_json_write(an_side_by_side_json(s), JSON_INDENT(1) | JSON_REAL_PRECISION(12), out, err));
        an_str_append_char(out, '\n');
        return an_str_check(out, err);
    default: break;
    }
    status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "no such form of a comparison of runs");
cleanup:
    return status;
}
