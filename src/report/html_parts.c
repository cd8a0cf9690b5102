/* Tables and texts of the HTML report. */
#include "report/html_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "stats/sequential.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rows of the side-by-side table, in this order; those that no cell has are left out. */
static const an_field_id shown[] = {
    AN_FIELD_ID_total_s,
    AN_FIELD_ID_step_tps,
    AN_FIELD_ID_ttft_s,
    AN_FIELD_ID_prefill_tps,
    AN_FIELD_ID_decode_tps,
    AN_FIELD_ID_decode_n_tps,
    AN_FIELD_ID_itl_p50_s,
    AN_FIELD_ID_itl_p90_s,
    AN_FIELD_ID_itl_p99_s,
    AN_FIELD_ID_stall_share,
    AN_FIELD_ID_load_cold_s,
    AN_FIELD_ID_load_warm_s,
    AN_FIELD_ID_rss_peak_bytes,
    AN_FIELD_ID_rss_anon_bytes,
    AN_FIELD_ID_rss_file_bytes,
    AN_FIELD_ID_cpu_percent,
    AN_FIELD_ID_cpu_s,
    AN_FIELD_ID_cpu_user_s,
    AN_FIELD_ID_cpu_system_s,
    AN_FIELD_ID_ctx_voluntary,
    AN_FIELD_ID_ctx_involuntary,
    AN_FIELD_ID_faults_minor,
    AN_FIELD_ID_faults_major,
    AN_FIELD_ID_swap_in_bytes,
    AN_FIELD_ID_energy_j,
    AN_FIELD_ID_energy_per_token_j,
    AN_FIELD_ID_power_w,
    AN_FIELD_ID_bytes_per_token,
    AN_FIELD_ID_bandwidth_bps,
    AN_FIELD_ID_mbu,
    AN_FIELD_ID_mfu,
    AN_FIELD_ID_cpu_hz,
    AN_FIELD_ID_steal_share,
    AN_FIELD_ID_temperature_c,
    AN_FIELD_ID_n_prompt,
    AN_FIELD_ID_n_generated,
    AN_FIELD_ID_n_depth,
};

/* Of many cells only these; the raw data have all. */
static const an_field_id shown_of_many[] = {
    AN_FIELD_ID_total_s,     AN_FIELD_ID_step_tps,           AN_FIELD_ID_prefill_tps, AN_FIELD_ID_decode_tps,
    AN_FIELD_ID_ttft_s,      AN_FIELD_ID_itl_p99_s,          AN_FIELD_ID_load_warm_s, AN_FIELD_ID_rss_peak_bytes,
    AN_FIELD_ID_cpu_percent, AN_FIELD_ID_energy_per_token_j, AN_FIELD_ID_mbu,         AN_FIELD_ID_mfu,
};

static bool any_has(const an_run *run, an_field_id field)
{
    double v;
    for (size_t i = 0; i < run->n_cell; i++)
        if (an_cell_values(&run->cells[i], field, &v, 1) > 0) return true;
    return false;
}

static void value_td(an_page *p, const an_cell *cell, an_field_id field)
{
    an_summary s = an_cell_summary(cell, field);
    char value[32], lo[32], hi[32];
    an_format_value(field, s.median, value, sizeof value);
    an_str_append(p->out, "<td>");
    an_html_text(p->out, value);
    if (s.n > 1 && s.hi > s.lo) {
        an_format_value(field, s.lo, lo, sizeof lo);
        an_format_value(field, s.hi, hi, sizeof hi);
        /* Figures that look alike say nothing twice. */
        if (strcmp(lo, hi) != 0) {
            char *unit = strchr(lo, ' ');
            if (unit && strchr(hi, ' ') && strcmp(unit, strchr(hi, ' ')) == 0) *unit = '\0';
            an_str_append(p->out, "<small>");
            an_html_text(p->out, lo);
            an_str_append(p->out, "–");
            an_html_text(p->out, hi);
            an_str_append(p->out, "</small>");
        }
    }
    an_str_append(p->out, "</td>");
}

static const char *const call_classes[AN_CALL_N] = {"c-none", "c-better", "c-worse", "c-same", "c-open", "c-none"};

static const an_pair *pair_of(const an_pairs *pairs, int cell, size_t *from)
{
    while (*from < pairs->n && pairs->items[*from].cell < cell) ++*from;
    return *from < pairs->n && pairs->items[*from].cell == cell ? &pairs->items[*from] : NULL;
}

static void verdict_td(an_page *p, const an_pairs *pairs, int cell, size_t *from)
{
    const an_pair *pair = pair_of(pairs, cell, from);
    const an_cell *c = &p->run->cells[cell];
    char ratio[48];
    if (pair) {
        an_format_ratio(pair->field, pair->p.ratio, ratio, sizeof ratio);
        an_str_appendf(p->out, "<td class=\"%s\"><b>%s</b><small>%s</small></td>", call_classes[pair->call],
                       an_call_word(pair->field, pair->call), ratio);
    } else
        an_str_appendf(p->out, "<td>%s</td>",
                       p->groups->reference[p->groups->of[cell]] == cell ? "reference"
                       : an_cell_measured(c)                             ? "–"
                                                                         : an_cell_status_name(c->status));
}

static void text_row(an_page *p, const char *title, const char *(*get)(const an_run *, size_t, char *, size_t))
{
    char text[256];
    bool any = false;
    for (size_t i = 0; i < p->run->n_cell; i++) any |= get(p->run, i, text, sizeof text)[0] != '\0';
    if (!any) return;
    an_str_appendf(p->out, "<tr><th scope=\"row\">%s</th>", title);
    for (size_t i = 0; i < p->run->n_cell; i++) {
        an_str_append(p->out, "<td>");
        an_html_text(p->out, get(p->run, i, text, sizeof text));
        an_str_append(p->out, "</td>");
    }
    an_str_append(p->out, "</tr>\n");
}

static const char *get_model(const an_run *run, size_t i, char *text, size_t cap)
{
    (void)text, (void)cap;
    return an_cell_model_name(run, &run->cells[i]);
}

static const char *get_version(const an_run *run, size_t i, char *text, size_t cap)
{
    snprintf(text, cap, "%s %s", run->cells[i].engine, run->cells[i].engine_version);
    return text;
}

static const char *get_type(const an_run *run, size_t i, char *text, size_t cap)
{
    const an_cell *c = &run->cells[i];
    snprintf(text, cap, "%s%s%s", c->compute_dtype, c->compute_dtype[0] && c->device[0] ? " on " : "", c->device);
    return text;
}

static const char *get_quantization(const an_run *run, size_t i, char *text, size_t cap)
{
    (void)text, (void)cap;
    return run->cells[i].quantization;
}

static const char *get_work(const an_run *run, size_t i, char *text, size_t cap)
{
    an_work_label(&run->cells[i].work, text, cap);
    return text;
}

static const char *get_agreement(const an_run *run, size_t i, char *text, size_t cap)
{
    an_report_agreement_text(run, (int)i, text, cap);
    return text;
}

static void cells_as_columns(an_page *p, const an_pairs *pairs)
{
    size_t from = 0;
    an_str_append(p->out, "<thead><tr><td></td>");
    for (size_t i = 0; i < p->run->n_cell; i++) {
        an_str_appendf(p->out, "<th scope=\"col\" class=\"s%zu\"><span class=\"key\"></span>", i % AN_SERIES_N);
        an_html_text(p->out, p->run->cells[i].label);
        an_str_append(p->out, "</th>");
    }
    an_str_append(p->out, "</tr></thead><tbody>\n<tr><th scope=\"row\">Verdict</th>");
    for (size_t i = 0; i < p->run->n_cell; i++) verdict_td(p, pairs, (int)i, &from);
    an_str_append(p->out, "</tr>\n");
    for (size_t k = 0; k < AN_COUNT_OF(shown); k++) {
        if (!any_has(p->run, shown[k])) continue;
        const an_field *f = an_field_get(shown[k]);
        an_str_append(p->out, "<tr><th scope=\"row\">");
        an_html_text(p->out, f->title);
        if (f->better != AN_BETTER_NONE)
            an_str_appendf(p->out,
                           "<span class=\"dir\" aria-hidden=\"true\">%s</span><span class=\"sr\">, %s is better</span>",
                           f->better == AN_BETTER_LOWER ? "↓" : "↑", f->better == AN_BETTER_LOWER ? "less" : "more");
        an_str_append(p->out, "</th>");
        for (size_t i = 0; i < p->run->n_cell; i++) value_td(p, &p->run->cells[i], shown[k]);
        an_str_append(p->out, "</tr>\n");
    }
    text_row(p, "Tokens against the reference", get_agreement);
    text_row(p, "Work", get_work);
    text_row(p, "Model", get_model);
    text_row(p, "Quantization", get_quantization);
    text_row(p, "Computes in", get_type);
    text_row(p, "Engine", get_version);
    an_str_append(p->out, "</tbody>");
}

static void cells_as_rows(an_page *p, const an_pairs *pairs)
{
    bool has[AN_COUNT_OF(shown_of_many)];
    size_t from = 0;
    char work[64];
    an_str_append(p->out,
                  "<thead><tr><th scope=\"col\">Cell</th><th scope=\"col\">Work</th><th scope=\"col\">Verdict</th>");
    for (size_t k = 0; k < AN_COUNT_OF(shown_of_many); k++) {
        has[k] = any_has(p->run, shown_of_many[k]);
        if (!has[k]) continue;
        an_str_append(p->out, "<th scope=\"col\">");
        an_html_text(p->out, an_field_get(shown_of_many[k])->title);
        an_str_append(p->out, "</th>");
    }
    an_str_append(p->out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < p->run->n_cell; i++) {
        const an_cell *cell = &p->run->cells[i];
        an_str_append(p->out, "<tr><th scope=\"row\">");
        an_html_text(p->out, cell->label);
        an_work_label(&cell->work, work, sizeof work);
        an_str_appendf(p->out, "</th><td>%s</td>", work);
        verdict_td(p, pairs, (int)i, &from);
        for (size_t k = 0; k < AN_COUNT_OF(shown_of_many); k++)
            if (has[k]) value_td(p, cell, shown_of_many[k]);
        an_str_append(p->out, "</tr>\n");
    }
    an_str_append(p->out, "</tbody>");
}

void an_html_table(an_page *p, const an_pairs *pairs)
{
    an_str_append(
        p->out,
        "<p class=\"note\">Medians of the timed repetitions, under them the interval of the median. ↑ more is better, "
        "↓ less is better.</p>\n");
    an_html_region(p, "wide tall", "Side by side");
    an_str_append(p->out, "<table class=\"side\"><caption class=\"sr\">Side by side</caption>\n");
    if (p->run->n_cell <= AN_HTML_COLUMNS_MAX)
        cells_as_columns(p, pairs);
    else
        cells_as_rows(p, pairs);
    an_str_append(p->out, "</table></div>\n");
}

/* ---- texts */

enum { TEXT_SHOWN_BYTES = 4000, TEXTS_SHOWN = 12 };

/* Bytes that two texts have in common at their beginning, never ending inside a character. */
static size_t common_bytes(const an_rep *a, const an_rep *b)
{
    size_t n = 0;
    while (n < a->text_bytes && n < b->text_bytes && a->text[n] == b->text[n]) n++;
    while (n > 0 && n < b->text_bytes && ((unsigned char)b->text[n] & 0xC0) == 0x80) n--;
    return n;
}

static bool same_text(const an_rep *a, const an_rep *b)
{
    return a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
}

/* Where the mark ends that begins at `from`: at the next space, after at most 60 bytes. */
static size_t mark_end(const char *text, size_t from, size_t n)
{
    size_t end = from + 1;
    while (end < n && end - from < 60 && (text[end] != ' ' || end == from)) end++;
    while (end < n && ((unsigned char)text[end] & 0xC0) == 0x80) end++;
    return end;
}

static void one_text(an_page *p, const an_rep *rep, const an_rep *ref)
{
    size_t n = rep->text_bytes, eos = rep->text_bytes_before_eos;
    size_t differs = ref && ref != rep ? common_bytes(ref, rep) : n;
    if (n > TEXT_SHOWN_BYTES) n = TEXT_SHOWN_BYTES;
    if (eos > n) eos = n;
    an_str_append(p->out, "<pre class=\"text\" dir=\"auto\">");
    if (differs < n) {
        size_t end = mark_end(rep->text, differs, n);
        an_html_bytes(p->out, rep->text, differs);
        an_str_append(p->out, "<mark title=\"first difference\"><span class=\"sr\">[first difference] </span>");
        an_html_bytes(p->out, rep->text + differs, end - differs);
        an_str_append(p->out, "</mark>");
        an_html_bytes(p->out, rep->text + end, n - end);
    } else {
        an_html_bytes(p->out, rep->text, eos);
        if (eos < n) {
            an_str_append(p->out, "<span class=\"after\"><span class=\"sr\">[after the end of sequence] </span>");
            an_html_bytes(p->out, rep->text + eos, n - eos);
            an_str_append(p->out, "</span>");
        }
    }
    if (rep->text_bytes > n) an_str_append(p->out, " …");
    an_str_append(p->out, "</pre>\n");
}

void an_html_texts(an_page *p)
{
    const an_run *run = p->run;
    int ref_cell = an_report_reference(run);
    const an_rep *ref = ref_cell >= 0 ? an_cell_text_rep(&run->cells[ref_cell]) : NULL;
    const an_rep *told[TEXTS_SHOWN];
    size_t n_told = 0, n_more = 0;
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_rep *rep = an_cell_text_rep(&run->cells[i]);
        bool seen = false;
        for (size_t k = 0; rep && k < n_told && !seen; k++) seen = same_text(told[k], rep);
        if (!rep || seen) continue;
        if (n_told == TEXTS_SHOWN) {
            n_more++;
            continue;
        }
        if (n_told == 0)
            an_str_append(p->out,
                          "<h3>Texts</h3>\n<p>Cells that wrote the same stand together. The first difference from the "
                          "reference is marked.</p>\n");
        told[n_told++] = rep;
        an_str_append(p->out, "<h4>");
        an_html_text(p->out, run->cells[i].label);
        size_t same = 0;
        for (size_t k = i + 1; k < run->n_cell; k++) {
            const an_rep *other = an_cell_text_rep(&run->cells[k]);
            if (!other || !same_text(rep, other) || ++same > 8) continue;
            an_str_append(p->out, ", ");
            an_html_text(p->out, run->cells[k].label);
        }
        if (same > 8) an_str_appendf(p->out, " and %zu more", same - 8);
        an_str_append(p->out, "</h4>\n");
        one_text(p, rep, ref);
    }
    if (n_more)
        an_str_appendf(p->out, "<p class=\"note\">%zu more cells wrote yet other texts; the raw data have them.</p>\n",
                       n_more);
}

/* ---- environment, method, definitions */

static void dl(an_page *p, const char *name, const char *value)
{
    an_str_append(p->out, "<dt>");
    an_html_text(p->out, name);
    an_str_append(p->out, "</dt><dd>");
    an_html_text(p->out, value);
    an_str_append(p->out, "</dd>\n");
}

/* "mem_total_bytes" with its value as people read it: bytes in GB, lists and objects as JSON. */
static void dl_json(an_page *p, const char *key, const json_t *value)
{
    char text[64];
    if (json_is_null(value)) return;
    if (json_is_string(value)) {
        if (json_string_length(value)) dl(p, key, json_string_value(value));
        return;
    }
    bool bytes = strlen(key) > 6 && strcmp(key + strlen(key) - 6, "_bytes") == 0 && json_is_number(value);
    bool per_s = strlen(key) > 4 && strcmp(key + strlen(key) - 4, "_bps") == 0 && json_is_number(value);
    if (bytes || per_s) {
        an_format_value(bytes ? AN_FIELD_ID_rss_peak_bytes : AN_FIELD_ID_bandwidth_bps, json_number_value(value), text,
                        sizeof text);
        dl(p, key, text);
        return;
    }
    char *json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
    if (json) dl(p, key, json);
    an_free(json);
}

void an_html_environment(an_page *p)
{
    json_t *doc = an_environment_json(&p->run->environment), *value;
    const char *key;
    an_str_append(p->out, "<h3>Machine and build</h3>\n<dl class=\"env\">\n");
    json_object_foreach (doc, key, value) dl_json(p, key, value);
    json_decref(doc);
    an_str_append(p->out, "</dl>\n");
    if (p->run->n_model == 0) return;
    static const char *const heads[] = {"Model",   "Container", "Size", "Parameters", "Bytes a decode step reads",
                                        "Read by", "SHA-256"};
    an_str_append(p->out, "<h3>Models</h3>\n");
    an_html_region(p, "wide", "Models");
    an_str_append(p->out, "<table><thead><tr>");
    for (size_t i = 0; i < AN_COUNT_OF(heads); i++) an_str_appendf(p->out, "<th scope=\"col\">%s</th>", heads[i]);
    an_str_append(p->out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < p->run->n_model; i++) {
        const an_run_model *m = &p->run->models[i];
        char size[32], n_param[32] = "–", weights[32];
        an_format_value(AN_FIELD_ID_rss_peak_bytes, m->bytes ? (double)m->bytes : NAN, size, sizeof size);
        an_format_value(AN_FIELD_ID_rss_peak_bytes, m->weight_bytes ? (double)m->weight_bytes : NAN, weights,
                        sizeof weights);
        if (m->n_param) snprintf(n_param, sizeof n_param, "%.1f M", 1e-6 * (double)m->n_param);
        const char *texts[] = {m->name ? m->name : "",
                               m->container,
                               size,
                               n_param,
                               weights,
                               m->read_by ? m->read_by : "",
                               m->sha256[0] ? m->sha256 : "not computed"};
        an_fig_tr(p, texts, AN_COUNT_OF(heads));
    }
    an_str_append(p->out, "</tbody></table></div>\n");
}

static void workload(an_page *p)
{
    json_t *value;
    const char *key;
    if (json_object_size(p->run->workload) == 0) return;
    an_str_append(p->out, "<h3>What was asked</h3>\n<dl class=\"env\">\n");
    json_object_foreach (p->run->workload, key, value) {
        /* A thousand ids would hide the rest; they are in the raw data. */
        if (json_is_array(value) && json_array_size(value) > 64) {
            char text[64];
            snprintf(text, sizeof text, "%zu values, in the raw data", json_array_size(value));
            dl(p, key, text);
        } else
            dl_json(p, key, value);
    }
    an_str_append(p->out, "</dl>\n");
}

void an_html_method(an_page *p)
{
    const an_run *run = p->run;
    double level = run->n_look > 0 ? an_look_level(run->n_look, 0.95) : 0.95;
    an_str_append(p->out, "<h3>Method</h3>\n<p>");
    if (run->n_block > 0)
        an_str_appendf(
            p->out,
            "Every block runs each cell once, in an order drawn anew, so that what drifts hits all cells alike: "
            "%d complete blocks. ",
            run->n_block);
    if (run->n_look > 0)
        an_str_appendf(
            p->out,
            "The data were looked at %d %s, so each interval is widened to %.2f %% for all looks together to hold "
            "with 95 %%. ",
            run->n_look, run->n_look == 1 ? "time" : "times", 100 * level);
    if (run->stop_reason[0]) {
        an_str_append(p->out, "The plan ended by: ");
        an_html_text(p->out, run->stop_reason);
        an_str_append(p->out, ". ");
    }
    an_str_appendf(
        p->out,
        "A ratio is exp of the Hodges-Lehmann median of ln(a/b) of the blocks, tested with Wilcoxon's signed "
        "ranks; several pairs are corrected together after Holm. A verdict needs the whole interval outside 1 ± "
        "%.3g %%, equivalence needs it inside. No repetition is ever left out.</p>\n",
        100 * an_run_margin(run));
    if (isfinite(run->aa_noise)) {
        an_str_appendf(p->out, "<p>A cell against itself left differences of up to %.2f %% possible on this machine%s",
                       100 * expm1(run->aa_noise), run->aa_from[0] ? ", in run " : "");
        an_html_text(p->out, run->aa_from);
        an_str_append(p->out, " (the far end of its interval).</p>\n");
    }
    if (run->command) {
        an_str_append(p->out, "<h3>Command</h3>\n<pre class=\"cmd\"><code>");
        an_html_text(p->out, run->command);
        an_str_append(p->out, "</code></pre>\n");
    }
    workload(p);
}

void an_html_definitions(an_str *out)
{
    an_str_append(
        out,
        "<details><summary>Definitions of all figures</summary>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" "
        "aria-label=\"Definitions\"><table><thead><tr><th scope=\"col\">Figure</th><th scope=\"col\">Name in the "
        "data</th><th scope=\"col\">Unit</th><th scope=\"col\">Better</th><th scope=\"col\">Definition</th><th "
        "scope=\"col\">From</th></tr></thead><tbody>\n");
    for (int f = 0; f < AN_FIELD_N; f++) {
        const an_field *x = an_field_get((an_field_id)f);
        const char *better = x->better == AN_BETTER_LOWER ? "less" : x->better == AN_BETTER_HIGHER ? "more" : "–";
        const char *const texts[] = {x->title, x->name, x->unit, better, x->definition, x->source};
        an_str_append(out, "<tr>");
        for (size_t k = 0; k < AN_COUNT_OF(texts); k++) {
            an_str_append(out, k == 0   ? "<th scope=\"row\">"
                               : k == 1 ? "<td><code>"
                               : k == 4 ? "<td class=\"prose\">"
                                        : "<td>");
            an_html_text(out, texts[k]);
            an_str_append(out, k == 0 ? "</th>" : k == 1 ? "</code></td>" : "</td>");
        }
        an_str_append(out, "</tr>\n");
    }
    an_str_append(out, "</tbody></table></div></details>\n");
}
