/* report: the HTML page and the drawings in characters, from made-up runs. */
#include "support/test.h"
#include "unit/report/scene.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"
#include "report/report.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>

static an_str page_of(const an_run *run)
{
    anemo_error err;
    an_str out = {0};
    assert_ok(an_report_write(run, AN_REPORT_HTML, (an_report_style){0}, &out, &err), &err);
    return out;
}

static an_str page(scene_kind kind)
{
    an_run run;
    scene_make(&run, kind);
    an_str out = page_of(&run);
    an_run_free(&run);
    return out;
}

static void assert_has(const an_str *text, const char *expected)
{
    if (!strstr(an_str_text(text), expected)) fail_msg("'%s' is not there", expected);
}

static void assert_lacks(const an_str *text, const char *unexpected)
{
    const char *at = strstr(an_str_text(text), unexpected);
    if (at) fail_msg("'%s' is there: %.80s", unexpected, at);
}

static bool is_word(const char *text, size_t n, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        if (strlen(words[i]) == n && strncmp(words[i], text, n) == 0) return true;
    return false;
}

/* Every attribute that the page may have: none that runs or loads anything. */
static const char *const attributes[] = {"lang",        "charset",     "http-equiv",
                                         "content",     "name",        "class",
                                         "href",        "id",          "height",
                                         "width",       "role",        "aria-labelledby",
                                         "aria-label",  "aria-hidden", "cx",
                                         "cy",          "r",           "x",
                                         "y",           "x1",          "x2",
                                         "y1",          "y2",          "dx",
                                         "text-anchor", "viewBox",     "preserveAspectRatio",
                                         "overflow",    "d",           "scope",
                                         "tabindex",    "dir",         "title",
                                         "type",        NULL};

/* The attributes from `at` to the tag's end, which it returns; *closed: the tag closes itself. */
static const char *check_attributes(const char *at, bool *closed)
{
    for (;;) {
        while (*at == ' ' || *at == '\n') at++;
        *closed = at[0] == '/' && at[1] == '>';
        if (*closed) return at + 2;
        if (*at == '>') return at + 1;
        size_t n = strcspn(at, "= />");
        if (!is_word(at, n, attributes)) fail_msg("attribute '%.*s'", (int)n, at);
        bool link = n == 4 && strncmp(at, "href", 4) == 0;
        at += n;
        if (at[0] != '=' || at[1] != '"') fail_msg("no quoted value: %.60s", at);
        if (link && at[2] != '#') fail_msg("a link leaves the page: %.60s", at);
        const char *end = strchr(at + 2, '"');
        assert_non_null(end);
        if (memchr(at + 2, '<', (size_t)(end - at - 2))) fail_msg("'<' in an attribute: %.60s", at);
        at = end + 1;
    }
}

/* The whole page is well-formed: known attributes, tags that close in order, one script type, nothing but text between.
 */
static void check_page(const an_str *out)
{
    static const char *const empty[] = {"meta", NULL};
    char open[32][16];
    size_t depth = 0;
    const char *at = an_str_text(out);
    assert_int_equal(strncmp(at, "<!DOCTYPE html>", 15), 0);
    assert_int_equal(an_utf8_valid_prefix(at, out->len), out->len);
    assert_int_equal(strlen(at), out->len);
    for (at += 15; (at = strchr(at, '<')) != NULL;) {
        bool closing = at[1] == '/', closed;
        const char *name = at + 1 + closing;
        size_t n = strcspn(name, " >/\n");
        if (n == 0 || n > 15 || !isalpha((unsigned char)name[0])) fail_msg("not a tag: %.60s", at);
        at = check_attributes(name + n, &closed);
        if (closing) {
            if (depth == 0 || strlen(open[depth - 1]) != n || strncmp(open[depth - 1], name, n) != 0)
                fail_msg("</%.*s> closes <%s>", (int)n, name, depth ? open[depth - 1] : "");
            depth--;
        } else if (!closed && !is_word(name, n, empty)) {
            if (depth == 32) fail_msg("nested too deeply at %.60s", name);
            snprintf(open[depth++], sizeof open[0], "%.*s", (int)n, name);
        }
        if (!closing && n == 6 && strncmp(name, "script", 6) == 0)
            assert_int_equal(strncmp(name, "script type=\"application/json\"", 30), 0);
    }
    assert_int_equal(depth, 0);
    static const char *const never[] = {"nan", "inf%", "http:", "https:", "javascript:", "\x1b", "\xe2\x80\xae"};
    for (size_t i = 0; i < AN_COUNT_OF(never); i++)
        if (strstr(an_str_text(out), never[i])) fail_msg("'%s' is in the page", never[i]);
}

static void every_page_is_well_formed(void **state)
{
    (void)state;
    for (int k = 0; k < SCENE_N; k++) {
        an_str out = page((scene_kind)k);
        check_page(&out);
        an_str_free(&out);
    }
}

static void hostile_names_stay_text(void **state)
{
    (void)state;
    an_str out = page(SCENE_HOSTILE);
    assert_lacks(&out, "<script>alert");
    assert_lacks(&out, "<img");
    assert_lacks(&out, "<svg onload");
    assert_has(&out, "&lt;script&gt;alert(7)&lt;/script&gt;|native\xEF\xBF\xBD");
    assert_has(&out, "default-src 'none'");
    an_str_free(&out);
    an_run run;
    anemo_error err;
    scene_make(&run, SCENE_HOSTILE);
    an_report_style style = {.width = 80, .plots = true};
    assert_ok(an_report_write(&run, AN_REPORT_TEXT, style, &out, &err), &err);
    assert_int_equal(an_utf8_valid_prefix(out.data, out.len), out.len);
    assert_null(strchr(out.data, '\x1b'));
    assert_null(strchr(out.data, '\x07'));
    an_str_clear(&out);
    assert_ok(an_report_write(&run, AN_REPORT_MD, style, &out, &err), &err);
    assert_lacks(&out, "<script>");
    assert_int_equal(an_utf8_valid_prefix(out.data, out.len), out.len);
    an_str_free(&out);
    an_run_free(&run);
}

static void the_verdict_stands_first(void **state)
{
    (void)state;
    an_str out = page(SCENE_COMPARE);
    const char *verdict = strstr(out.data, ">Verdict</h2>"), *table = strstr(out.data, ">Side by side</h2>"),
               *drawings = strstr(out.data, ">Drawings</h2>");
    assert_true(verdict && table && drawings && verdict < table && table < drawings);
    assert_has(&out, "no difference in speed is shown between native and mlx");
    assert_has(&out, "llama.cpp is slower");
    assert_has(&out, "▼</span> slower</b>");
    assert_has(&out, "The machine drifted: speed changed by -");
    assert_has(&out, "Outlier: llama.cpp in block 8");
    assert_has(&out, "involuntary context switches 412 instead of");
    assert_has(&out, "Not available here: Energy, Energy per token (no RAPL counters).");
    assert_has(&out, "the worker was ended by SIGSEGV");
    assert_has(&out, "<mark title=\"first difference\">");
    assert_has(&out, "Memory and CPU over time");
    assert_has(&out, "Gaps between tokens");
    /* Percentiles and their order statistics as exact binomial sums in Python give them for this scene. */
    assert_has(&out, "<td>7.575 [7.556, 7.592]</td>");
    assert_has(&out, "<td>19.074 [18.556, 19.387]</td>");
    assert_has(&out, "anemo compare smollm2-135m-instruct-q4_1 --blocks 20");
    assert_has(&out, "(n - 1) / (t_n - t_1)");
    an_str_free(&out);
}

static void verdicts_are_refused(void **state)
{
    (void)state;
    an_str out = page(SCENE_AA);
    assert_has(&out, "The A/A gate held");
    assert_lacks(&out, "</span> faster</b>");
    assert_lacks(&out, "</span> slower</b>");
    an_str_free(&out);
    out = page(SCENE_ORDERED);
    assert_has(&out, "they were measured one after the other");
    assert_has(&out, "not measured in alternation: no verdict");
    assert_lacks(&out, "</span> slower</b>");
    an_str_free(&out);
    /* Without common blocks the medians' ratio is told, as an estimate. */
    an_run apart;
    scene_make(&apart, SCENE_ORDERED);
    for (size_t c = 0; c < 2; c++)
        for (size_t r = 0; r < apart.cells[c].n_rep; r++) apart.cells[c].reps[r].block = -1;
    out = page_of(&apart);
    assert_has(&out, "no verdict: 16.");
    assert_has(&out, "The estimate is 16.");
    assert_lacks(&out, "</span> slower</b>");
    an_str_free(&out);
    an_run_free(&apart);
    /* A gate that failed speaks for all pairs. */
    scene_make(&apart, SCENE_COMPARE);
    apart.refused = an_strdup("native differs from itself");
    out = page_of(&apart);
    assert_has(&out, "No verdicts: the A/A gate failed: native differs from itself.");
    assert_lacks(&out, "</span> slower</b>");
    an_str_free(&out);
    an_run_free(&apart);
    /* An A/A run whose arms differ: the machine is unfit, and neither arm is faster. */
    an_run run;
    scene_make(&run, SCENE_ORDERED);
    run.aa = true;
    for (size_t c = 0; c < 2; c++)
        for (size_t r = 0; r < run.cells[c].n_rep; r++) run.cells[c].reps[r].order = (int64_t)(2 * r + c);
    out = page_of(&run);
    assert_has(&out, "The A/A gate failed");
    assert_lacks(&out, "</span> slower</b>");
    an_str_free(&out);
    an_run_free(&run);
    out = page(SCENE_EMPTY);
    assert_has(&out, "Nothing could be measured.");
    an_str_free(&out);
}

static void curves_come_from_cells_that_differ(void **state)
{
    (void)state;
    an_str out = page(SCENE_BENCH);
    assert_has(&out, "Speed over depth");
    assert_has(&out, "Speed over prompt length");
    assert_has(&out, "Speed over batch size");
    assert_has(&out, "Speed over threads");
    assert_lacks(&out, "Speed over physical batch size<"); /* never differs alone */
    an_str_free(&out);
    out = page(SCENE_COMPARE);
    assert_lacks(&out, "Speed over");
    an_str_free(&out);
}

/* The data of the page, read back as a run. */
static void data_of(const an_str *out, an_run *run)
{
    anemo_error err;
    json_t *doc;
    const char *from = strstr(out->data, "id=\"run-data-0\">");
    assert_non_null(from);
    from += strlen("id=\"run-data-0\">");
    const char *end = strstr(from, "</script>");
    assert_non_null(end);
    assert_ok(an_json_parse(&doc, from, (size_t)(end - from), "the page's data", &err), &err);
    assert_ok(an_run_from_json(run, doc, "the page's data", &err), &err);
    json_decref(doc);
}

static void the_data_are_in_the_page(void **state)
{
    (void)state;
    static const scene_kind kinds[] = {SCENE_COMPARE, SCENE_HOSTILE, SCENE_SWEEP};
    for (size_t k = 0; k < AN_COUNT_OF(kinds); k++) {
        an_run was, is;
        scene_make(&was, kinds[k]);
        an_str out = page_of(&was);
        data_of(&out, &is);
        assert_int_equal(is.n_cell, was.n_cell);
        for (size_t i = 0; i < is.n_cell; i++) {
            assert_int_equal(is.cells[i].n_rep, was.cells[i].n_rep);
            double a = an_cell_summary(&is.cells[i], AN_FIELD_ID_total_s).median;
            double b = an_cell_summary(&was.cells[i], AN_FIELD_ID_total_s).median;
            assert_true((isnan(a) && isnan(b)) || fabs(a - b) < 1e-5 * b);
        }
        an_str_free(&out);
        an_run_free(&is);
        an_run_free(&was);
    }
}

static size_t count(const an_str *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text->data; (at = strstr(at, what)) != NULL; at += strlen(what)) n++;
    return n;
}

static void a_thousand_cells_are_quick_and_small(void **state)
{
    (void)state;
    an_run run;
    scene_make(&run, SCENE_SWEEP);
    clock_t begin = clock();
    an_str out = page_of(&run);
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    const char *sanitizers = getenv("ANEMO_SANITIZE");
    if (seconds > 2 && !(sanitizers && sanitizers[0])) fail_msg("1,000 cells took %.2f s", seconds);
    assert_true(out.len < 10000000);
    assert_true(count(&out, "<svg") < 400);
    assert_has(&out, "does not fit in memory");
    an_str_free(&out);
    an_run_free(&run);
}

static void drawings_in_characters_fit(void **state)
{
    (void)state;
    an_run run;
    anemo_error err;
    scene_make(&run, SCENE_COMPARE);
    for (int ascii = 0; ascii < 2; ascii++)
        for (int width = 40; width <= 200; width += 40) {
            an_str out = {0};
            an_report_style style = {.width = width, .plots = true, .ascii = ascii};
            assert_ok(an_report_write(&run, AN_REPORT_TEXT, style, &out, &err), &err);
            assert_has(&out, "Time taken against the reference");
            const char *from = strstr(out.data, "\nTime taken against"), *to = strstr(out.data, "Result analysis");
            assert_true(from && to && from < to);
            for (const char *line = strstr(from, "every repetition"); line && line < to;) {
                size_t n = strcspn(line, "\n");
                int columns = 0;
                for (size_t i = 0; i < n; i++) {
                    columns += ((unsigned char)line[i] & 0xC0) != 0x80;
                    bool drawn = (unsigned char)line[i] == 0xE2 &&
                                 ((unsigned char)line[i + 1] == 0x94 || (unsigned char)line[i + 1] == 0x97);
                    if (ascii && drawn) fail_msg("not ASCII: %.*s", (int)n, line);
                }
                if (columns > width) fail_msg("%d columns: %.*s", columns, (int)n, line);
                if (strncmp(line + n, "\n\n", 2) == 0) break;
                line += n + 1;
            }
            assert_true((strstr(out.data, "━") != NULL) == !ascii);
            an_str_free(&out);
        }
    an_run_free(&run);
}

static void several_runs_are_one_document(void **state)
{
    (void)state;
    an_run runs[2];
    const an_run *both[] = {&runs[0], &runs[1]};
    anemo_error err;
    an_str out = {0};
    scene_make(&runs[0], SCENE_COMPARE);
    scene_make(&runs[1], SCENE_AA);
    snprintf(runs[1].id, sizeof runs[1].id, "20261125-180000-0000");
    assert_ok(an_report_write_all(both, 2, AN_REPORT_HTML, (an_report_style){0}, &out, &err), &err);
    check_page(&out);
    assert_has(&out, "id=\"run-data-1\"");
    assert_has(&out, "href=\"#r1\">20261125-180000-0000");
    assert_int_equal(count(&out, "<!DOCTYPE"), 1);
    an_str_clear(&out);
    assert_ok(an_report_write_all(both, 2, AN_REPORT_CSV, (an_report_style){0}, &out, &err), &err);
    assert_int_equal(count(&out, "run,cell,engine"), 1);
    size_t n = 1;
    for (int k = 0; k < 2; k++)
        for (size_t c = 0; c < runs[k].n_cell; c++) n += runs[k].cells[c].n_rep ? runs[k].cells[c].n_rep : 1;
    assert_int_equal(count(&out, "\n"), n);
    an_str_clear(&out);
    assert_ok(an_report_write_all(both, 2, AN_REPORT_JSON, (an_report_style){0}, &out, &err), &err);
    json_t *doc;
    assert_ok(an_json_parse(&doc, out.data, out.len, "the report", &err), &err);
    assert_int_equal(json_array_size(doc), 2);
    json_decref(doc);
    an_str_clear(&out);
    assert_ok(an_report_write_all(both, 2, AN_REPORT_MD, (an_report_style){0}, &out, &err), &err);
    assert_has(&out, "## 20261125-180000-0000");
    an_str_free(&out);
    an_run_free(&runs[0]);
    an_run_free(&runs[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_is_well_formed),
        cmocka_unit_test(hostile_names_stay_text),
        cmocka_unit_test(the_verdict_stands_first),
        cmocka_unit_test(verdicts_are_refused),
        cmocka_unit_test(curves_come_from_cells_that_differ),
        cmocka_unit_test(the_data_are_in_the_page),
        cmocka_unit_test(a_thousand_cells_are_quick_and_small),
        cmocka_unit_test(drawings_in_characters_fit),
        cmocka_unit_test(several_runs_are_one_document),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
