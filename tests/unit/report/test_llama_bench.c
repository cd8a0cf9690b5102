/*
 * llama-bench's forms against llama-bench: tests/golden/llama_bench holds what the tool of llama.cpp 0.5.0-dev (0c1e570) wrote for real
 * runs, each in JSON and in a second form. A run made of the JSON's samples must come out as that second form.
 */
#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/file.h"
#include "report/llama_bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define GOLDEN AN_TEST_DIR "/golden/llama_bench/"

/* Not inlined: gcc 12 would take the text for a pointer to this frame. */
__attribute__((noinline)) static char *read_text(const char *name)
{
    anemo_error err = {0};
    char path[512], *text;
    size_t n;
    snprintf(path, sizeof path, GOLDEN "%s", name);
    assert_ok(an_file_read(path, 1 << 20, &text, &n, &err), &err);
    return text;
}

static json_int_t whole(const json_t *row, const char *key)
{
    return json_integer_value(json_object_get(row, key));
}

static const char *word(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

/* A cell as cell_run.c would have left it. */
static void add_cell(an_run *run, const json_t *row)
{
    static const char *const flash[] = {"auto", "off", "on"};
    anemo_error err = {0};
    an_cell *c = an_run_add_cell(run);
    snprintf(c->engine, sizeof c->engine, "llama.cpp");
    snprintf(c->device, sizeof c->device, "cpu");
    c->model = 0;
    c->work = (an_work){AN_WORK_STEP, (int)whole(row, "n_prompt"), (int)whole(row, "n_gen"), (int)whole(row, "n_depth")};
    c->settings = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:s}", "n_batch", whole(row, "n_batch"), "n_ubatch",
                            whole(row, "n_ubatch"), "threads", whole(row, "n_threads"), "kv_type", word(row, "type_k"),
                            "kv_type_v", word(row, "type_v"), "flash_attn", flash[whole(row, "flash_attn") + 1],
                            "n_gpu_layers", whole(row, "n_gpu_layers"), "device", "auto");
    c->effective = json_pack("{s:{s:s, s:I, s:s, s:s, s:s}, s:s, s:I, s:I}", "build", "commit", word(row, "build_commit"),
                             "number", whole(row, "build_number"), "cpu_info", word(row, "cpu_info"), "gpu_info",
                             word(row, "gpu_info"), "backends", word(row, "backends"), "model_description",
                             word(row, "model_type"), "model_bytes", whole(row, "model_size"), "model_n_param",
                             whole(row, "model_n_params"));
    size_t i;
    json_t *ns;
    json_array_foreach(json_object_get(row, "samples_ns"), i, ns)
    {
        an_rep rep;
        an_rep_init(&rep);
        rep.order = (int64_t)i;
        rep.values[AN_FIELD_ID_total_s] = (double)json_integer_value(ns) * 1e-9;
        assert_ok(an_cell_add_rep(c, &rep, &err), &err);
    }
}

/* The run of a golden JSON file; *rows is the file. */
static void make_run(const char *name, an_run *run, json_t **rows)
{
    anemo_error err = {0};
    char *text = read_text(name);
    assert_ok(an_json_parse(rows, text, strlen(text), name, &err), &err);
    an_free(text);
    an_run_init(run);
    an_run_model *m = an_run_add_model(run);
    m->path = an_strdup("small.gguf");
    m->name = an_strdup("small.gguf");
    size_t i;
    json_t *row;
    json_array_foreach(*rows, i, row) add_cell(run, row);
    snprintf(run->environment.date, sizeof run->environment.date, "%s", word(json_array_get(*rows, 0), "test_time"));
}

static char *write_all(const an_run *run, an_llama_bench_format format)
{
    anemo_error err = {0};
    an_llama_bench w = {.format = format};
    an_str out = {0};
    for (size_t i = 0; i < run->n_cell; i++) assert_ok(an_llama_bench_row(&w, run, i, &out, &err), &err);
    assert_ok(an_llama_bench_end(&w, run, &out, &err), &err);
    return an_str_take(&out);
}

static void test_table(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"md.json", "out.md"}, {"wide.json", "wide.md"}};
    for (size_t i = 0; i < 2; i++) {
        an_run run;
        json_t *rows;
        make_run(names[i][0], &run, &rows);
        char *got = write_all(&run, AN_LLAMA_BENCH_MD), *want = read_text(names[i][1]);
        assert_string_equal(got, want);
        an_free(got);
        an_free(want);
        json_decref(rows);
        an_run_free(&run);
    }
}

/* Times of day differ by how the test makes its run; the square root of whole numbers that llama-bench takes is rounded otherwise. */
static bool same_value(const char *key, const json_t *a, const json_t *b)
{
    if (!strcmp(key, "test_time")) return json_is_string(b) && json_string_length(b) == 20;
    if (!strcmp(key, "stddev_ns"))
        return json_is_integer(b) && llabs(json_integer_value(a) - json_integer_value(b)) <= 1 + json_integer_value(a) / 100000;
    return json_equal(a, b) || (json_is_real(a) && json_is_real(b) && fabs(json_real_value(a) - json_real_value(b)) < 2e-6);
}

/* Every key of llama-bench's row, in its order, with its value and type. */
static void compare_rows(const json_t *want, const json_t *got)
{
    const char *key;
    json_t *value;
    void *at = json_object_iter((json_t *)got);
    json_object_foreach((json_t *)want, key, value)
    {
        if (!at || strcmp(json_object_iter_key(at), key) != 0) fail_msg("%s is not in its place", key);
        if (json_typeof(value) != json_typeof(json_object_iter_value(at))) fail_msg("%s has another type", key);
        if (!same_value(key, value, json_object_iter_value(at))) fail_msg("%s has another value", key);
        at = json_object_iter_next((json_t *)got, at);
    }
    assert_string_equal(word(got, "engine"), "llama.cpp");
    assert_true(json_is_real(json_object_get(got, "median_ts")));
}

static void test_json(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_run run;
    json_t *rows, *ours;
    make_run("jsonl.json", &run, &rows);
    char *got = write_all(&run, AN_LLAMA_BENCH_JSON);
    assert_ok(an_json_parse(&ours, got, strlen(got), "ours", &err), &err);
    assert_int_equal(json_array_size(ours), json_array_size(rows));
    for (size_t i = 0; i < json_array_size(rows); i++) compare_rows(json_array_get(rows, i), json_array_get(ours, i));
    json_decref(ours);
    an_free(got);
    got = write_all(&run, AN_LLAMA_BENCH_JSONL);
    char *line = got, *want = read_text("out.jsonl"), *theirs = want;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *a, *b;
        size_t n = strcspn(theirs, "\n"), m = strcspn(line, "\n");
        assert_ok(an_json_parse(&a, theirs, n, "theirs", &err), &err);
        assert_ok(an_json_parse(&b, line, m, "ours", &err), &err);
        compare_rows(a, b);
        json_decref(a);
        json_decref(b);
        theirs += n + 1;
        line += m + 1;
    }
    assert_string_equal(line, "");
    an_free(want);
    an_free(got);
    json_decref(rows);
    an_run_free(&run);
}

/* Without what cannot be equal: the times of day and llama-bench's rounding of stddev_ns, which is field 39 of 42. */
static void blank_fields(char *line, const char *quote_end)
{
    int field = 0;
    for (char *p = line; *p && *p != '\n'; p++) {
        if (!strncmp(p, quote_end, strlen(quote_end))) field++;
        if ((field == 37 || field == 39) && ((*p >= '0' && *p <= '9') || *p == '-' || *p == ':' || *p == 'T' || *p == 'Z')) *p = 'x';
    }
}

static void test_csv(void **state)
{
    (void)state;
    an_run run;
    json_t *rows;
    make_run("csv.json", &run, &rows);
    char *got = write_all(&run, AN_LLAMA_BENCH_CSV), *want = read_text("out.csv"), *a = want, *b = got;
    for (int line = 0; *a; line++) {
        size_t n = strcspn(a, "\n"), m = strcspn(b, "\n");
        if (line > 0) {
            blank_fields(a, "\",\"");
            blank_fields(b, "\",\"");
        }
        if (m <= n || memcmp(a, b, n - 12) != 0 || b[n] != ',') fail_msg("line %d:\n%.*s\n%.*s", line, (int)n, a, (int)n, b);
        a += n + 1;
        b += m + 1;
    }
    assert_string_equal(b, "");
    an_free(want);
    an_free(got);
    json_decref(rows);
    an_run_free(&run);
}

static void test_sql(void **state)
{
    (void)state;
    an_run run;
    json_t *rows;
    make_run("sql.json", &run, &rows);
    char *got = write_all(&run, AN_LLAMA_BENCH_SQL), *want = read_text("out.sql");
    size_t table = (size_t)(strstr(want, ");\n") - want) + 3;
    assert_memory_equal(got, want, table);
    char *a = strstr(want, "INSERT INTO llama_bench"), *b = strstr(got, "INSERT INTO llama_bench");
    for (size_t i = 0; i < json_array_size(rows); i++) {
        char *va = strstr(a, "VALUES"), *vb = strstr(b, "VALUES");
        assert_memory_equal(a, b, (size_t)(va - a));
        blank_fields(va, "', '");
        blank_fields(vb, "', '");
        size_t n = strcspn(va, "\n");
        if (strncmp(va, vb, n - 14) != 0) fail_msg("row %zu:\n%.*s\n%.*s", i, (int)n, va, (int)n, vb);
        a = strstr(va, "INSERT INTO llama_bench");
        b = strstr(vb, "INSERT INTO llama_bench");
        if (!a || !b) break;
    }
    assert_null(a);
    assert_null(b);
    assert_non_null(strstr(got, "CREATE TABLE IF NOT EXISTS anemo_bench"));
    an_free(want);
    an_free(got);
    json_decref(rows);
    an_run_free(&run);
}

/* A failed cell is a row with its reason and no figure, and quotes in a path break nothing. */
static void test_failed(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_run run;
    json_t *rows, *ours;
    make_run("wide.json", &run, &rows);
    an_free(run.models[0].path);
    run.models[0].path = an_strdup("it's \"mine\"\\x.gguf");
    run.cells[1].status = AN_CELL_FAILED;
    run.cells[1].reason = an_strdup("the worker was killed by SIGSEGV\nlast lines");
    char *got = write_all(&run, AN_LLAMA_BENCH_JSON);
    assert_ok(an_json_parse(&ours, got, strlen(got), "ours", &err), &err);
    const json_t *row = json_array_get(ours, 1);
    assert_true(json_is_null(json_object_get(row, "avg_ts")));
    assert_string_equal(word(row, "status"), "failed");
    assert_string_equal(word(row, "model_filename"), "it's \"mine\"\\x.gguf");
    json_decref(ours);
    an_free(got);
    got = write_all(&run, AN_LLAMA_BENCH_SQL);
    assert_non_null(strstr(got, "'it''s \"mine\"\\x.gguf'"));
    const char *first = strstr(got, "INSERT INTO llama_bench");
    assert_null(strstr(first + 1, "INSERT INTO llama_bench"));
    assert_non_null(strstr(got, "'the worker was killed by SIGSEGV"));
    an_free(got);
    got = write_all(&run, AN_LLAMA_BENCH_CSV);
    assert_non_null(strstr(got, "\"it's \"\"mine\"\"\\x.gguf\""));
    an_free(got);
    got = write_all(&run, AN_LLAMA_BENCH_MD);
    assert_non_null(strstr(got, "failed |\n"));
    assert_non_null(strstr(got, "SIGSEGV\n"));
    an_free(got);
    json_decref(rows);
    an_run_free(&run);
}

/* Another engine gets a column of its own; a document without rows is still one. */
static void test_other(void **state)
{
    (void)state;
    an_run run;
    json_t *rows;
    make_run("wide.json", &run, &rows);
    snprintf(run.cells[0].engine, sizeof run.cells[0].engine, "native");
    char *got = write_all(&run, AN_LLAMA_BENCH_MD);
    assert_non_null(strstr(got, "| engine "));
    assert_non_null(strstr(got, "build: native 0c1e570 (1), llama.cpp 0c1e570 (1)"));
    an_free(got);
    run.cells[0].work.kind = run.cells[1].work.kind = AN_WORK_GENERATE;
    got = write_all(&run, AN_LLAMA_BENCH_JSON);
    assert_string_equal(got, "[\n]\n");
    an_free(got);
    got = write_all(&run, AN_LLAMA_BENCH_NONE);
    assert_true(!got || !*got);
    an_free(got);
    json_decref(rows);
    an_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_json),   cmocka_unit_test(test_csv),
        cmocka_unit_test(test_sql),   cmocka_unit_test(test_failed), cmocka_unit_test(test_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
