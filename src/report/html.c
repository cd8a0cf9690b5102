/*
 * One self-contained HTML file of one or several runs: no network, no script that runs; readable with everything but
 * the text switched off. Order: the verdict, then what it rests on, then everything else.
 */
#include "report/html_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* report.css, NUL-terminated; report/CMakeLists.txt makes it. */
static const unsigned char style_sheet[] = {
#include "report/report_css.inc"
};

/* Above this size the embedded data leave out ids, times and texts of the repetitions. */
enum { DATA_MAX_BYTES = 3 << 20 };

static void sentences(an_page *p, const json_t *list, const char *classes)
{
    size_t i;
    const json_t *s;
    if (json_array_size(list) == 0) return;
    an_str_appendf(p->out, "<ul class=\"%s\">\n", classes);
    json_array_foreach (list, i, s) {
        an_str_append(p->out, "<li>");
        an_html_text(p->out, json_string_value(s));
        an_str_append(p->out, "</li>\n");
    }
    an_str_append(p->out, "</ul>\n");
}

/* ---- verdict */

enum { VERDICTS_OPEN = 12, VERDICTS_MAX = 24 };

static void verdict_items(an_page *p, const an_pairs *pairs)
{
    static const char *const classes[AN_CALL_N] = {"c-none", "c-better", "c-worse", "c-same", "c-open", "c-none"};
    static const char *const signs[AN_CALL_N] = {"–", "▲", "▼", "=", "?", "–"};
    an_str_append(p->out, "<ul class=\"verdicts\">\n");
    for (size_t i = 0; i < pairs->n; i++) {
        const an_pair *pair = &pairs->items[i];
        an_str text = {0};
        if (i == VERDICTS_OPEN)
            an_str_appendf(p->out, "</ul>\n<details><summary>%zu more verdicts</summary>\n<ul class=\"verdicts\">\n",
                           pairs->n - i);
        an_pair_sentence(p->run, pair, &text);
        an_str_appendf(p->out, "<li class=\"%s\"><b><span aria-hidden=\"true\">%s</span> %s</b> <span>",
                       classes[pair->call], signs[pair->call], an_call_word(pair->field, pair->call));
        an_html_text(p->out, an_str_text(&text));
        an_str_append(p->out, "</span></li>\n");
        if (text.failed) p->out->failed = true;
        an_str_free(&text);
    }
    an_str_append(p->out, pairs->n > VERDICTS_OPEN ? "</ul></details>\n" : "</ul>\n");
}

static void section_verdict(an_page *p, const json_t *analysis, const an_pairs *primary, const an_pairs *others,
                            size_t n_other)
{
    size_t i;
    const json_t *s, *conclusion = json_object_get(analysis, "conclusion");
    an_str_appendf(p->out, "<h2 id=\"r%zu-verdict\">Verdict</h2>\n", p->run_index);
    json_array_foreach (conclusion, i, s) {
        an_str_append(p->out, i == 0 ? "<p class=\"headline\">" : "<p>");
        an_html_text(p->out, json_string_value(s));
        an_str_append(p->out, "</p>\n");
    }
    if (primary->n > VERDICTS_MAX)
        sentences(p, json_object_get(analysis, "verdict"), "plain");
    else if (primary->n)
        verdict_items(p, primary);
    for (size_t k = 0; k < n_other; k++) {
        if (others[k].n == 0) continue;
        if (primary->n + others[k].n <= 4) {
            verdict_items(p, &others[k]);
            continue;
        }
        an_str_append(p->out, "<details><summary>");
        an_html_text(p->out, an_field_get(others[k].items[0].field)->title);
        an_str_append(p->out, "</summary>\n");
        verdict_items(p, &others[k]);
        an_str_append(p->out, "</details>\n");
    }
    sentences(p, json_object_get(analysis, "evidence"), "plain");
}

/* ---- cells that gave nothing */

static void section_failed(an_page *p)
{
    static const char *const heads[] = {"Cell", "Work", "State", "Reason", "Last lines of the engine"};
    bool any = false;
    for (size_t i = 0; i < p->run->n_cell; i++) {
        const an_cell *cell = &p->run->cells[i];
        char work[64];
        if (cell->status == AN_CELL_OK) continue;
        if (!any) {
            an_str_appendf(p->out, "<h3 id=\"r%zu-failed\">Cells without a result</h3>\n", p->run_index);
            an_html_region(p, "wide tall", "Cells without a result");
            an_str_append(p->out, "<table class=\"reasons\"><thead><tr>");
            for (size_t k = 0; k < AN_COUNT_OF(heads); k++)
                an_str_appendf(p->out, "<th scope=\"col\">%s</th>", heads[k]);
            an_str_append(p->out, "</tr></thead><tbody>\n");
        }
        any = true;
        an_work_label(&cell->work, work, sizeof work);
        const char *const texts[] = {cell->label, work, an_cell_status_name(cell->status),
                                     cell->reason ? cell->reason : "no reason was given",
                                     cell->stderr_tail ? cell->stderr_tail : ""};
        an_fig_tr(p, texts, AN_COUNT_OF(heads));
    }
    if (any) an_str_append(p->out, "</tbody></table></div>\n");
}

/* ---- data */

/* Nulls say nothing that absence does not say, and are half of a large file. */
static void drop_nulls(json_t *obj)
{
    void *next;
    json_t *value;
    const char *key;
    json_object_foreach_safe (obj, next, key, value)
        if (json_is_null(value)) json_object_del(obj, key);
}

/* The longest parts of the repetitions: what a report of a thousand cells has no room for. */
static void drop_series(json_t *rep)
{
    static const char *const keys[] = {"token_times_s", "token_ids", "text", "text_bytes_before_eos", "curve"};
    for (size_t i = 0; i < AN_COUNT_OF(keys); i++) json_object_del(rep, keys[i]);
}

static void thin_out(json_t *doc, bool short_form)
{
    size_t i, k;
    json_t *cell, *rep;
    json_array_foreach (json_object_get(doc, "cells"), i, cell) {
        drop_nulls(cell);
        if (short_form) json_object_del(cell, "summary");
        json_array_foreach (json_object_get(cell, "reps"), k, rep) {
            drop_nulls(rep);
            if (short_form) drop_series(rep);
        }
    }
    if (short_form)
        json_object_set_new(doc, "left_out",
                            json_string("ids, times, texts and curves of the repetitions, and summaries: too large "
                                        "for this file; 'anemo results export' has them"));
}

/* As the content of a <script>: "<" would let a text end it. */
static void append_script(an_str *out, const an_str *json)
{
    const char *from = an_str_text(json), *end = from + json->len;
    while (from < end) {
        const char *less = memchr(from, '<', (size_t)(end - from));
        const char *to = less ? less : end;
        an_str_append_bytes(out, from, (size_t)(to - from));
        if (less) an_str_append(out, "\\u003c");
        from = less ? less + 1 : end;
    }
}

static anemo_status section_data(an_page *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str json = {0};
    size_t n_token = 0, n_rep = 0;
    for (size_t i = 0; i < p->run->n_cell; i++) {
        n_rep += p->run->cells[i].n_rep;
        for (size_t r = 0; r < p->run->cells[i].n_rep; r++)
            n_token += p->run->cells[i].reps[r].n_token + p->run->cells[i].reps[r].text_bytes / 24 +
                       2 * p->run->cells[i].reps[r].n_curve;
    }
    /* About 24 bytes for a time with its id, and 700 for the figures of a repetition. */
    bool short_form = 24 * n_token + 700 * n_rep > DATA_MAX_BYTES;
    json_t *doc = an_run_json(p->run);
    thin_out(doc, short_form);
    AN_TRY(an_json_write(doc, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(short_form ? 6 : 9), &json, err));
    an_str_appendf(
        p->out,
        "<h3>Raw data</h3>\n<p>This file holds the run as JSON (schema anemo.run/1, docs/run-json.md) in the element "
        "<code>#run-data-%zu</code>",
        p->run_index);
    an_str_append(p->out,
                  short_form ? ", without the ids, times and texts of the single repetitions.</p>\n" : ".</p>\n");
    an_str_appendf(p->out, "<script type=\"application/json\" id=\"run-data-%zu\">", p->run_index);
    append_script(p->out, &json);
    an_str_append(p->out, "</script>\n");
    if (json.failed) p->out->failed = true;
cleanup:
    an_str_free(&json);
    return status;
}

/* ---- a run */

static void run_title(an_page *p, bool single)
{
    const an_run *run = p->run;
    size_t n[AN_CELL_STATUS_N] = {0};
    for (size_t i = 0; i < run->n_cell; i++) n[run->cells[i].status]++;
    an_str_appendf(p->out, single ? "<h1>" : "<h1 id=\"r%zu\">", p->run_index);
    an_html_text(p->out, run->kind[0] ? run->kind : "run");
    an_str_append(p->out, " ");
    an_html_text(p->out, run->id);
    an_str_append(p->out, "</h1>\n<p class=\"sub\">");
    an_html_text(p->out, run->environment.date);
    an_str_append(p->out, run->environment.cpu[0] ? " · " : "");
    an_html_text(p->out, run->environment.cpu);
    an_str_appendf(p->out, " · %zu cell%s measured", n[AN_CELL_OK], n[AN_CELL_OK] == 1 ? "" : "s");
    for (int s = AN_CELL_FAILED; s < AN_CELL_STATUS_N; s++)
        if (n[s]) an_str_appendf(p->out, ", %zu %s", n[s], an_cell_status_name((an_cell_status)s));
    an_str_append(p->out, "</p>\n");
    if (run->note) {
        an_str_append(p->out, "<p>");
        an_html_text(p->out, run->note);
        an_str_append(p->out, "</p>\n");
    }
    an_str_appendf(p->out, "<nav aria-label=\"Sections of run %zu\"><ul>", p->run_index + 1);
    static const char *const parts[][2] = {{"verdict", "Verdict"},
                                           {"table", "Side by side"},
                                           {"drawings", "Drawings"},
                                           {"analysis", "Analysis"},
                                           {"method", "Method and machine"}};
    for (size_t i = 0; i < AN_COUNT_OF(parts); i++)
        an_str_appendf(p->out, "<li><a href=\"#r%zu-%s\">%s</a></li>", p->run_index, parts[i][0], parts[i][1]);
    an_str_append(p->out, "</ul></nav>\n");
}

static void section_analysis(an_page *p, const json_t *analysis)
{
    static const char *const parts[][2] = {{"why", "Why"},         {"speed", "Speed"},
                                           {"cpu", "CPU"},         {"memory", "Memory"},
                                           {"quality", "Quality"}, {"portability", "Portability"}};
    an_str_appendf(p->out, "<h2 id=\"r%zu-analysis\">Analysis</h2>\n", p->run_index);
    for (size_t i = 0; i < AN_COUNT_OF(parts); i++) {
        const json_t *list = json_object_get(analysis, parts[i][0]);
        if (json_array_size(list) == 0) continue;
        an_str_appendf(p->out, "<h3>%s</h3>\n", parts[i][1]);
        if (json_array_size(list) > 40)
            an_str_appendf(p->out, "<details><summary>%zu sentences</summary>\n", json_array_size(list));
        sentences(p, list, "plain");
        if (json_array_size(list) > 40) an_str_append(p->out, "</details>\n");
    }
    an_html_texts(p);
}

/* Fields beside the primary one that get verdicts of their own. */
static const an_field_id other_fields[] = {AN_FIELD_ID_decode_tps, AN_FIELD_ID_ttft_s, AN_FIELD_ID_energy_per_token_j};

static anemo_status write_run(an_page *p, bool single, anemo_error *err)
{
    anemo_status status;
    an_groups groups = {0};
    an_pairs primary = {0}, others[AN_COUNT_OF(other_fields)] = {{0}};
    json_t *analysis = an_report_analysis(p->run), *comparability;
    bool few = p->run->n_cell <= AN_HTML_COLUMNS_MAX;
    if (!analysis) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_groups_make(&groups, p->run, err));
    p->groups = &groups;
    AN_TRY(an_pairs_make(&primary, p->run, &groups, an_run_primary_field(p->run), err));
    for (size_t k = 0; k < AN_COUNT_OF(other_fields) && few; k++)
        AN_TRY(an_pairs_make(&others[k], p->run, &groups, other_fields[k], err));
    run_title(p, single);
    section_verdict(p, analysis, &primary, others, AN_COUNT_OF(other_fields));
    comparability = json_object_get(analysis, "comparability");
    sentences(p, comparability, "warn");
    section_failed(p);
    an_str_appendf(p->out, "<h2 id=\"r%zu-table\">Side by side</h2>\n", p->run_index);
    an_html_table(p, &primary);
    sentences(p, json_object_get(analysis, "ranges"), "plain");
    sentences(p, json_object_get(analysis, "missing"), "plain");
    an_str_appendf(p->out, "<h2 id=\"r%zu-drawings\">Drawings</h2>\n", p->run_index);
    an_fig_ratios(p, &primary);
    for (size_t k = 0; k < AN_COUNT_OF(other_fields); k++) an_fig_ratios(p, &others[k]);
    an_fig_samples(p);
    an_fig_latency(p);
    an_fig_resources(p);
    an_fig_tradeoff(p);
    AN_TRY(an_fig_curves(p, err));
    section_analysis(p, analysis);
    an_str_appendf(p->out, "<h2 id=\"r%zu-method\">Method and machine</h2>\n", p->run_index);
    an_html_method(p);
    an_html_environment(p);
    AN_TRY(section_data(p, err));
cleanup:
    json_decref(analysis);
    an_groups_free(&groups);
    an_pairs_free(&primary);
    for (size_t k = 0; k < AN_COUNT_OF(other_fields); k++) an_pairs_free(&others[k]);
    return status;
}

static void contents(const an_run *const *runs, size_t n_run, an_str *out)
{
    an_str_append(
        out,
        "<h1>Runs</h1>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table><thead><tr>"
        "<th scope=\"col\">Run</th><th scope=\"col\">Date</th><th scope=\"col\">Kind</th><th scope=\"col\">Machine</th>"
        "<th scope=\"col\">Cells</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < n_run; i++) {
        an_str_appendf(out, "<tr><th scope=\"row\"><a href=\"#r%zu\">", i);
        an_html_text(out, runs[i]->id);
        an_str_append(out, "</a></th><td>");
        an_html_text(out, runs[i]->environment.date);
        an_str_append(out, "</td><td>");
        an_html_text(out, runs[i]->kind);
        an_str_append(out, "</td><td>");
        an_html_text(out, runs[i]->environment.cpu);
        an_str_appendf(out, "</td><td>%zu</td></tr>\n", runs[i]->n_cell);
    }
    an_str_append(out, "</tbody></table></div>\n");
}

anemo_status an_report_html(const an_run *const *runs, size_t n_run, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    unsigned n_id = 0;
    /* Nothing may be loaded and no script may run, even if something escaped the escaping. */
    an_str_append(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta "
                       "http-equiv=\"Content-Security-Policy\" "
                       "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"viewport\" "
                       "content=\"width=device-width, initial-scale=1\">\n<title>anemo: ");
    an_html_text(out, n_run == 1 ? runs[0]->id : "several runs");
    an_str_append(out, "</title>\n<style>\n");
    an_str_append(out, (const char *)style_sheet);
    an_str_append(
        out,
        "</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the verdict</a>\n<main id=\"main\">\n");
    if (n_run > 1) contents(runs, n_run, out);
    for (size_t i = 0; i < n_run; i++) {
        an_page page = {.out = out, .run = runs[i], .n_id = &n_id, .run_index = i};
        AN_TRY(write_run(&page, n_run == 1, err));
    }
    an_html_definitions(out);
    an_str_append(out, "</main>\n<footer>Made by anemo " ANEMO_VERSION ".</footer>\n</body>\n</html>\n");
cleanup:
    return status;
}
