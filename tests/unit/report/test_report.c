/* report: tables and sentences from hand-made results with known answers. */
#include "support/test.h"

#include "base/alloc.h"
#include "report/report.h"

#include <math.h>

enum { BLOCKS = 12 };

/* A comparison of up to three cells, built by hand; nothing of it is freed by the report. */
typedef struct fixture {
    an_run c;
    an_cell cells[3];
    an_rep reps[3][1 + BLOCKS]; /* a load and the timed ones */
    int32_t ids[3][4];
    double times[3][4];
    an_agreement agreements[3];
    an_run_model model;
} fixture;

static void fill_cell(fixture *f, int i, const char *engine, double total_s)
{
    an_cell *cell = &f->cells[i];
    *cell = (an_cell){.reps = f->reps[i], .n_rep = 1 + BLOCKS, .ids_exact = true, .threads_settable = true,
                      .copy_of = -1};
    snprintf(cell->engine, sizeof cell->engine, "%s", engine);
    an_rep_init(&f->reps[i][0]);
    f->reps[i][0].kind = AN_REP_LOAD;
    f->reps[i][0].values[AN_FIELD_ID_load_warm_s] = 0.5;
    snprintf(f->reps[i][0].page_cache, sizeof f->reps[i][0].page_cache, "warm");
    snprintf(cell->label, sizeof cell->label, "%s", engine);
    snprintf(cell->device, sizeof cell->device, "cpu");
    snprintf(cell->compute_dtype, sizeof cell->compute_dtype, "q8");
    cell->check.same_every_rep = true;
    for (int r = 0; r < BLOCKS; r++) {
        an_rep *rep = &f->reps[i][r + 1];
        an_rep_init(rep);
        rep->block = r;
        rep->order = 3 * r + i;
        rep->n_token = 4;
        rep->token_ids = f->ids[i];
        rep->token_times_s = f->times[i];
        for (int t = 0; t < 4; t++) {
            f->ids[i][t] = 10 + t;
            f->times[i][t] = total_s * (t + 1) / 4;
        }
        rep->text = (char *)"Edison\x1b[31m did";
        rep->text_bytes = rep->text_bytes_before_eos = strlen(rep->text);
        rep->values[AN_FIELD_ID_n_prompt] = 2;
        rep->values[AN_FIELD_ID_cpu_s] = total_s;
        rep->values[AN_FIELD_ID_rss_peak_bytes] = 1e8 * (i + 1);
        rep->values[AN_FIELD_ID_rss_anon_bytes] = 5e7;
        rep->values[AN_FIELD_ID_rss_file_bytes] = 5e7;
        an_rep_derive(rep, 2);
        /* A spread of two percent around the median. */
        rep->values[AN_FIELD_ID_total_s] = total_s * (0.99 + 0.01 * (r % 3));
    }
}

static json_t *workload; /* of the fixture made last */

static void make(fixture *f, int n_cell)
{
    *f = (fixture){0};
    an_run_init(&f->c);
    snprintf(f->c.environment.build_type, sizeof f->c.environment.build_type, "release");
    snprintf(f->c.environment.cpu, sizeof f->c.environment.cpu, "a CPU");
    f->c.environment.load_average = 0;
    f->c.environment.cpus_online = 2;
    json_decref(workload);
    f->c.workload = workload = json_pack("{s:s, s:[i, i], s:i, s:s, s:b, s:i, s:i, s:{s:i}}", "prompt", "Who?", "prompt_ids", 1, 2,
                              "n_predict", 4, "chat_format", "none", "fixed_length", 1, "n_rep", 3, "n_warmup", 1,
                              "settings", "threads", 2);
    f->c.cells = f->cells;
    f->c.n_cell = (size_t)n_cell;
    f->c.kept_loaded = true;
    f->model = (an_run_model){.path = (char *)"/m/x.gguf", .name = (char *)"x.gguf", .container = "gguf",
                              .read_by = (char *)"native, llama.cpp"};
    f->c.models = &f->model;
    f->c.n_model = 1;
    f->c.agreements = f->agreements;
}

/* All sentences of the analysis in one text. Free with an_str_free. */
static an_str sentences(const an_run *c)
{
    an_str text = {0};
    json_t *doc = an_report_analysis(c), *list, *s;
    const char *key;
    size_t i;
    json_object_foreach(doc, key, list) json_array_foreach(list, i, s)
        an_str_appendf(&text, "%s\n", json_string_value(s));
    json_decref(doc);
    return text;
}

static void assert_says(const an_run *c, const char *expected)
{
    an_str text = sentences(c);
    if (!strstr(an_str_text(&text), expected)) fail_msg("'%s' is not in:\n%s", expected, an_str_text(&text));
    an_str_free(&text);
}

static void assert_silent(const an_run *c, const char *unexpected)
{
    an_str text = sentences(c);
    if (strstr(an_str_text(&text), unexpected)) fail_msg("'%s' is in:\n%s", unexpected, an_str_text(&text));
    an_str_free(&text);
}

static void a_clear_difference_is_claimed(void **state)
{
    (void)state;
    fixture f;
    make(&f, 2);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 2.0);
    assert_says(&f.c, "Time taken: native is best with 1.000 s; it is 2.00 times as fast as llama.cpp");
    assert_says(&f.c, "llama.cpp needs 2.00 times as much (2.00 to 2.00)");
    assert_says(&f.c, "native is the fastest");
    assert_says(&f.c, "native needs the least memory");
    assert_says(&f.c, "llama.cpp is 0.50 times as fast as native");
    assert_says(&f.c, "intervals of the median");
    assert_silent(&f.c, "Devices are mixed");
    assert_silent(&f.c, "Compute types differ");
}

static void a_covered_difference_is_not(void **state)
{
    (void)state;
    fixture f;
    make(&f, 2);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 1.005);
    assert_says(&f.c, "llama.cpp and native are equivalent within 1 %");
    assert_says(&f.c, "native and llama.cpp are equivalent in speed within 1 %");
    for (int r = 1; r <= BLOCKS; r++) f.reps[1][r].values[AN_FIELD_ID_total_s] *= r % 2 ? 1.04 : 0.97;
    assert_says(&f.c, "no difference shown against llama.cpp");
    assert_says(&f.c, "undecided between llama.cpp and native");
    assert_says(&f.c, "no difference in speed is shown between native and llama.cpp");
}

static void what_cannot_be_compared_is_named(void **state)
{
    (void)state;
    fixture f;
    make(&f, 3);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 2.0);
    fill_cell(&f, 2, "mlx", 3.0);
    snprintf(f.cells[1].device, sizeof f.cells[1].device, "fake-gpu");
    snprintf(f.cells[2].compute_dtype, sizeof f.cells[2].compute_dtype, "f32");
    f.cells[2].threads_settable = false;
    assert_says(&f.c, "Devices are mixed (native: cpu, llama.cpp: fake-gpu, mlx: cpu)");
    assert_says(&f.c, "Compute types differ (native: q8, llama.cpp: q8, mlx: f32)");
    assert_says(&f.c, "mlx does not let the number of threads be set");
    snprintf(f.c.environment.build_type, sizeof f.c.environment.build_type, "sanitizer");
    assert_says(&f.c, "sanitizer build");
}

static void agreement_is_told(void **state)
{
    (void)state;
    fixture f;
    make(&f, 2);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 2.0);
    f.c.n_agreement = 1;
    f.agreements[0] = (an_agreement){.a = 0, .b = 1, .n = 4, .n_same = 3, .examined = true, .near_tie = true,
                                     .logit_gap = 0.125, .prob_margin = 0.02};
    assert_says(&f.c, "agree on the first 3 of 4 ids");
    assert_says(&f.c, "0.125 apart in logits and 2.0 points in probability: a near-tie");
    assert_says(&f.c, "only where the model itself was undecided");
    char text[64];
    an_report_agreement_text(&f.c, 1, text, sizeof text);
    assert_string_equal(text, "3 of 4 same, near-tie");
    f.agreements[0].near_tie = false;
    assert_says(&f.c, "not a near-tie");
    assert_says(&f.c, "Some engines gave different text");
    f.agreements[0] = (an_agreement){.a = 0, .b = 1, .n = 4, .n_same = 4, .identical = true};
    assert_says(&f.c, "generated the same 4 ids");
    assert_says(&f.c, "All engines gave the same text.");
}

static void failures_have_reasons_and_no_figures(void **state)
{
    (void)state;
    fixture f;
    anemo_error err;
    an_str out = {0};
    make(&f, 2);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 2.0);
    f.cells[1].n_rep = 0;
    f.cells[1].status = AN_CELL_FAILED;
    f.cells[1].reason = (char *)"the worker was ended by SIGSEGV";
    assert_int_equal(an_run_exit_code(&f.c), 1);
    an_report_style style = {.width = 80};
    assert_ok(an_report_write(&f.c, AN_REPORT_TEXT, style, &out, &err), &err);
    assert_non_null(strstr(out.data, "llama.cpp failed: the worker was ended by SIGSEGV"));
    assert_null(strchr(out.data, '\x1b')); /* neither colour nor what the model wrote */
    assert_null(strstr(out.data, "nan"));
    an_str_free(&out);
    f.cells[1].status = AN_CELL_MISSING;
    assert_int_equal(an_run_exit_code(&f.c), 0);
    f.cells[1].named = true;
    assert_int_equal(an_run_exit_code(&f.c), 1);
}

static void json_has_the_fixed_names(void **state)
{
    (void)state;
    static const char *const top[] = {"schema", "environment", "workload", "cells", "analysis"},
                            *const cell_keys[] = {"engine", "engine_version", "driver", "driver_version", "model",
                                                  "format", "quantization", "compute_dtype", "device", "settings",
                                                  "effective", "status", "reason", "reps", "summary"},
                            *const rep_keys[] = {"n_prompt", "n_generated", "eos_at", "stop_reason", "ttft_s",
                                                 "prefill_tps", "decode_tps", "total_s", "token_times_s", "cpu_s",
                                                 "cpu_percent", "cpu_percent_machine", "rss_peak_bytes",
                                                 "rss_anon_bytes", "rss_file_bytes", "token_ids", "text"};
    fixture f;
    make(&f, 1);
    fill_cell(&f, 0, "native", 1.0);
    json_t *doc = an_report_json(&f.c);
    assert_string_equal(json_string_value(json_object_get(doc, "schema")), "anemo.run/1");
    for (size_t i = 0; i < AN_COUNT_OF(top); i++) assert_non_null(json_object_get(doc, top[i]));
    json_t *w = json_object_get(doc, "workload");
    assert_int_equal(json_array_size(json_object_get(w, "prompt_ids")), 2);
    assert_string_equal(json_string_value(json_object_get(w, "prompt")), "Who?");
    assert_int_equal(json_integer_value(json_object_get(w, "n_predict")), 4);
    json_t *cell = json_array_get(json_object_get(doc, "cells"), 0);
    for (size_t i = 0; i < AN_COUNT_OF(cell_keys); i++) assert_non_null(json_object_get(cell, cell_keys[i]));
    json_t *rep = json_array_get(json_object_get(cell, "reps"), 0);
    for (size_t i = 0; i < AN_COUNT_OF(rep_keys); i++) assert_non_null(json_object_get(rep, rep_keys[i]));
    json_t *median = json_object_get(json_object_get(json_object_get(cell, "summary"), "total_s"), "median");
    assert_true(fabs(json_real_value(median) - 1.0) < 1e-9);
    json_decref(doc);
}

static void wide_tables_are_cut(void **state)
{
    (void)state;
    fixture f;
    anemo_error err;
    an_str out = {0};
    make(&f, 3);
    fill_cell(&f, 0, "native", 1.0);
    fill_cell(&f, 1, "llama.cpp", 2.0);
    fill_cell(&f, 2, "mlx", 3.0);
    an_report_style style = {.width = 60};
    assert_ok(an_report_write(&f.c, AN_REPORT_TEXT, style, &out, &err), &err);
    for (char *line = strtok(out.data, "\n"); line; line = strtok(NULL, "\n")) {
        int columns = 0;
        for (char *p = line; *p; p++) columns += ((unsigned char)*p & 0xC0) != 0x80;
        if (columns > 60 && !strstr(line, "threads") && !strstr(line, "Prompt:")) fail_msg("too wide: %s", line);
    }
    an_str_free(&out);
    assert_ok(an_report_write(&f.c, AN_REPORT_CSV, style, &out, &err), &err);
    size_t lines = 0;
    for (char *p = out.data; *p; p++) lines += *p == '\n';
    assert_int_equal(lines, 1 + 3 * (1 + BLOCKS));
    an_str_free(&out);
    assert_ok(an_report_write(&f.c, AN_REPORT_MD, style, &out, &err), &err);
    assert_non_null(strstr(out.data, "| Time taken | 1.000 s"));
    an_str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clear_difference_is_claimed),
        cmocka_unit_test(a_covered_difference_is_not),
        cmocka_unit_test(what_cannot_be_compared_is_named),
        cmocka_unit_test(agreement_is_told),
        cmocka_unit_test(failures_have_reasons_and_no_figures),
        cmocka_unit_test(json_has_the_fixed_names),
        cmocka_unit_test(wide_tables_are_cut),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(workload);
    return failed;
}
