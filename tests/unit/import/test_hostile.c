/* Files that are not what they seem are refused with the line and the fault; none is taken, crashes or hangs. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"
#include "store/import.h"
#include "store/run_file.h"

#define GOLDEN AN_TEST_DIR "/golden/import/"

static void refused(const char *data, size_t n, anemo_status expected, const char *text)
{
    anemo_error err = {0};
    an_run *runs = NULL;
    size_t n_run = 0;
    assert_fails(an_import_bytes(data, n, "FILE", &runs, &n_run, &err), &err, expected, text);
    assert_null(runs);
    assert_memory_equal(err.message, "FILE", 4);
}

typedef struct bad {
    const char *data, *text;
    anemo_status status;
} bad;

#define F ANEMO_ERR_FORMAT
#define U ANEMO_ERR_UNSUPPORTED
#define HEAD "{\"model_filename\": \"m.gguf\", \"n_gen\": 8, \"test_time\": \"2026-01-01T00:00:00Z\", \"avg_ts\": 5"
#define SQL "CREATE TABLE t (model_filename TEXT, n_gen INTEGER, avg_ts REAL, test_time TEXT);\n"
#define CSV "model_filename,n_gen,avg_ts,test_time\n"
#define MLX "Running warmup..\nTiming with prompt_tokens=16, generation_tokens=8, batch_size=1.\n"

static const bad list[] = {
    {"", "is empty", F},
    {" \n\t\n", "is empty", F},
    {"\xEF\xBB\xBF", "is empty", F},
    {"hello", "is no file of results", U},
    {"\x7f" "ELF", "is no file of results", U},
    {"| model | size |", "-o json", U},
    {"<html>", "is no file of results", U},
    /* JSON */
    {"{", "not valid JSON at line 1", F},
    {"[", "not valid JSON", F},
    {"[]", "holds no results", F},
    {"{}", "neither a \"schema\"", U},
    {"[1]", "row 1 is no object", U},
    {"[" HEAD "}, null]", "row 2 is no object", U},
    {"[" HEAD "}, [" HEAD "}]]", "row 2 is no object", U},
    {"{\"a\": 1, \"a\": 2}", "duplicate", F},
    {"{\"schema\": \"anemo.run/2\"}", "'anemo.run/2', not anemo.run/1", F},
    {"{\"schema\": \"anemo.plan/1\"}", "'anemo.plan/1' is not known", U},
    {"{\"schema\": \"anemo.capsule/1\"}", "is not known", U},
    {"{\"schema\": \"anemo.run/1\"}", "\"environment\" is not an object", F},
    {"{\"schema\": \"anemo.run/1\", \"environment\": {}, \"cells\": 5}", "\"cells\" is not an array", F},
    {"{\"schema\": \"anemo.capsule/1\", \"run\": {\"schema\": \"anemo.run/1\"}}", "\"environment\" is not", F},
    {HEAD "}\n" HEAD "}\n{\"model_filename\"", "line 3: not valid JSON", F},
    {HEAD "}\n[]\n", "line 2 has neither", U},
    {HEAD ", \"n_gen\": 9}", "duplicate", F},
    {HEAD ", \"n_prompt\": \"x\"}", "n_prompt must be a whole number, it is 'x'", F},
    {HEAD ", \"n_prompt\": 1.5}", "n_prompt must be a whole number", F},
    {HEAD ", \"n_prompt\": -1}", "\"n_prompt\" is -1", F},
    {HEAD ", \"n_prompt\": 99999999999}", "\"n_prompt\" is 99999999999", F},
    {HEAD ", \"n_prompt\": 99999999999999999999999}", "too big integer", F},
    {HEAD ", \"stddev_ts\": 1e999}", "real number overflow", F},
    {HEAD ", \"stddev_ts\": NaN}", "not valid JSON", F},
    {HEAD ", \"stddev_ts\": \"nan\"}", "stddev_ts must be a finite number, it is 'nan'", F},
    {HEAD ", \"cpu_info\": 5}", "cpu_info must be a text", F},
    {HEAD ", \"cpu_strict\": \"maybe\"}", "cpu_strict must be true or false", F},
    {HEAD ", \"flash_attn\": 7}", "\"flash_attn\" is 7", F},
    {HEAD ", \"samples_ns\": {}}", "samples_ns must be a list", F},
    {HEAD ", \"samples_ns\": [0]}", "samples_ns[0] must be a number above 0", F},
    {HEAD ", \"samples_ns\": [1000, null]}", "samples_ns[1] must be", F},
    {HEAD ", \"samples_ns\": [1000, 2000], \"samples_ts\": [1]}", "samples_ns has 2 values, samples_ts has 1", F},
    {HEAD ", \"samples_ns\": [1000000000], \"samples_ts\": [8.1]}", "but 8 tokens in samples_ns[0]", F},
    {"{\"model_filename\": \"\", \"avg_ts\": 5}", "model_filename is missing", F},
    {"{\"model_filename\": \"m\", \"avg_ts\": 5, \"test_time\": \"2026-01-01T00:00:00Z\"}", "nothing was measured", F},
    {"{\"model_filename\": \"m\", \"avg_ts\": 0, \"n_gen\": 1, \"test_time\": \"2026-01-01T00:00:00Z\"}", "avg_ts[0] must be", F},
    {"{\"model_filename\": \"m\", \"avg_ts\": 5, \"n_gen\": 1}", "test_time must be a time", F},
    {"{\"model_filename\": \"m\", \"avg_ts\": 5, \"n_gen\": 1, \"test_time\": \"yesterday\"}", "it is 'yesterday'", F},
    {"{\"model_filename\": \"m\", \"avg_ts\": 5, \"n_gen\": 1, \"test_time\": \"2026-01-01T00:00:00Z+\"}", "test_time must be", F},
    {HEAD ", \"status\": \"pending\"}", "'pending' is no status", F},
    {HEAD ", \"status\": \"great\"}", "'great' is no status", F},
    {HEAD ", \"build_number\": -1}", "\"build_number\" is -1", F},
    {HEAD ", \"n_threads\": -1}", "\"n_threads\" is -1", F},
    {HEAD ", \"model_n_params\": -1}", "\"model_n_params\" is -1", F},
    {HEAD ", \"samples_ts\": [1, \"x\"]}", "samples_ts[1] must be", F},
    {HEAD ", \"samples_ns\": [-5]}", "samples_ns[0] must be", F},
    {HEAD ", \"engine\": 5}", "engine must be a text", F},
    /* SQL */
    {"CREATE TABLE", "name of the table is missing", F},
    {"CREATE TABLE t", "'(' is missing", F},
    {"CREATE TABLE t ();", "name of a column is missing", F},
    {"CREATE TABLE t (a TEXT, a TEXT);", "'a' is there twice", F},
    {"CREATE TABLE t (\"\" TEXT);", "has no name", F},
    {SQL, "holds no results", F},
    {SQL "DROP TABLE t;", "line 2: a statement of another kind", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, (SELECT 1));", "line 2: a value must be", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, x'00');", "line 2: a value must be", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5);", "line 2: 3 values for 4 columns", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, 'a', 'b');", "line 2: more values than the 4 columns", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, '2026-01-01T00:00:00Z')", "no ';'", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, '2026-01-01T00:00:00Z'", "',' or ')' must follow", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, '2026-01", "a text does not end", F},
    {SQL "INSERT INTO t VALUES ('/home of o'brien/m.gguf', 8, 5, '');", "apostrophe", F},
    {SQL "INSERT INTO t VALUES ('m', 8, 5, 'a' || 'b');", "'|' has no place", F},
    {SQL "INSERT INTO t VALUES ('m', 8x, 5, '2026-01-01T00:00:00Z');", "n_gen must be a whole number, it is '8x'", F},
    {SQL "INSERT INTO t VALUES ('m', 8, NULL, '2026-01-01T00:00:00Z');", "avg_ts is missing", F},
    {SQL "INSERT INTO t VALUES ('m', 8, inf, '2026-01-01T00:00:00Z');", "a value must be", F},
    {SQL "INSERT INTO t (model_filename, other) VALUES ('m', 8);", "avg_ts is missing", F},
    {SQL "INSERT t VALUES ('m');", "'INTO' is missing", F},
    {SQL "INSERT INTO t SELECT * FROM t;", "'VALUES' is missing", F},
    {SQL "/* no end", "a comment does not end", F},
    {"INSERT INTO t VALUES ('m');", "more values than the 0 columns", F},
    {"-- only a comment", "holds no results", F},
    /* CSV */
    {CSV, "holds no results", F},
    {CSV "m.gguf,8,5\n", "line 2: 3 values for 4 columns", F},
    {CSV "m.gguf,8,5,2026-01-01T00:00:00Z,more\n", "line 2: more values than the 4 columns", F},
    {CSV "\"m.gguf,8,5,2026-01-01T00:00:00Z\n", "line 2: a quote is not closed", F},
    {CSV "\"m\".gguf,8,5,2026-01-01T00:00:00Z\n", "line 2: text stands behind a closing quote", F},
    {CSV "m.gguf,8,nan,2026-01-01T00:00:00Z\n", "line 2: avg_ts must be a finite number, it is 'nan'", F},
    {CSV "m.gguf,8,-1,2026-01-01T00:00:00Z\n", "line 2: avg_ts[0] must be a number above 0", F},
    {CSV "m.gguf,8e9,1,2026-01-01T00:00:00Z\n", "line 2: n_gen must be a whole number", F},
    {CSV "m.gguf,,1,2026-01-01T00:00:00Z\n", "line 2: n_gen must be a whole number", F},
    {"avg_ts,avg_ts\n1,2\n", "'avg_ts' is there twice", F},
    {"avg_ts,\n1,2\n", "column 2 has no name", F},
    {"avg_ts,\xff\n1,2\n", "column 2 has no name", F},
    {"avg_ts,n\n1,2\n", "model_filename is missing", F},
    /* mlx_lm.benchmark */
    {MLX, "line 2: no 'Trial' line follows", F},
    {MLX MLX, "line 4: no 'Trial' line follows", F},
    {MLX "Trial 1:  prompt_tps=1.0", "line 3: a figure is missing", F},
    {MLX "Trial 1:  prompt_tps=nan, generation_tps=1.0", "line 3: a figure is no number above 0", F},
    {MLX "Trial 1:  prompt_tps=1.0, generation_tps=inf", "line 3: a figure is no number above 0", F},
    {MLX "Trial 1:  prompt_tps=1.0, generation_tps=-2", "line 3: a figure is no number above 0", F},
    {MLX "Trial 1:  prompt_tps=1.0, generation_tps=2, total_time=x", "line 3: a figure is no number", F},
    {MLX "Averages: \nTrial 1:  prompt_tps=1.0, generation_tps=2", "line 4: a 'Trial' line without", F},
    {"Trial 1:  prompt_tps=1.0, generation_tps=2\nTiming with prompt_tokens=1, generation_tokens=1, batch_size=1.", "line 1: a 'Trial' line without", F},
    {"Timing with prompt_tokens=16, generation_tokens=8, batch_size=4.", "batch_size=4", U},
    {"Timing with prompt_tokens=1.5, generation_tokens=8, batch_size=1.", "must be a whole number", F},
    {"Timing with prompt_tokens=1e30, generation_tokens=8, batch_size=1.", "must be a whole number", F},
    {"Timing with prompt_tokens=0, generation_tokens=8, batch_size=1.", "no number above 0", F},
    {"Timing with generation_tokens=8, batch_size=1.", "is missing", F},
    {"Timing with prompt_tokens=", "no number above 0", F},
};

static void test_list(void **state)
{
    (void)state;
    for (size_t i = 0; i < AN_COUNT_OF(list); i++)
        refused(list[i].data, strlen(list[i].data), list[i].status, list[i].text);
}

/* Each golden file cut at each of its bytes: refused, or fewer rows, as a log of a stopped benchmark has. */
static void test_truncated(void **state)
{
    (void)state;
    static const char *const files[] = {"llama-bench.json", "llama-bench.jsonl", "llama-bench.sql", "llama-bench.csv",
                                        "sqlite-dump.sql",  "mlx_lm.benchmark.txt", "anemo-bench.sql"};
    for (size_t f = 0; f < AN_COUNT_OF(files); f++) {
        char path[512], *data;
        size_t n, taken = 0;
        anemo_error err;
        snprintf(path, sizeof path, GOLDEN "%s", files[f]);
        assert_ok(an_file_read(path, 1 << 20, &data, &n, &err), &err);
        for (size_t cut = 0; cut < n; cut++) {
            an_run *runs;
            size_t n_run;
            char *copy = an_malloc(cut);
            memcpy(copy, data, cut);
            if (an_import_bytes(copy, cut, "FILE", &runs, &n_run, &err) == ANEMO_OK) {
                taken++;
                an_run_list_free(runs, n_run);
            } else if (!err.message[0]) {
                fail_msg("%s cut at %zu: no message", files[f], cut);
            }
            an_free(copy);
        }
        /* A JSON document is whole or it is not; of the others the lines before the cut may be. */
        if (f == 0) assert_true(taken <= 1); /* its last byte is an end of line */
        an_free(data);
    }
}

static void test_deep(void **state)
{
    (void)state;
    an_str s = {0};
    an_str_append(&s, HEAD ", \"deep\": ");
    an_str_append_repeat(&s, '[', 100000);
    refused(s.data, s.len, F, "maximum parsing depth");
    an_str_clear(&s);
    an_str_append_repeat(&s, '[', 1000000);
    refused(s.data, s.len, F, "maximum parsing depth");
    an_str_free(&s);
}

/* Lines of 100 MB and documents with more values than memory is meant for. */
static void test_large(void **state)
{
    (void)state;
    static const struct {
        const char *head, *text;
        char fill;
        size_t n;
    } cases[] = {
        {HEAD "}\n{\"a\": \"", "line 2 has", 'x', 100000000},
        {SQL "INSERT INTO t VALUES ('", "line 2 has more than", 'x', AN_IMPORT_LINE_MAX + 8},
        {CSV "\"", "line 2 has more than", 'x', AN_IMPORT_LINE_MAX + 8},
        {MLX "Trial 1: ", "line 3 has", 'x', AN_IMPORT_LINE_MAX + 8},
        {"[", "values in one JSON document", ',', 20 << 20},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_str s = {0};
        an_str_append(&s, cases[i].head);
        an_str_append_repeat(&s, cases[i].fill, cases[i].n);
        assert_false(s.failed);
        refused(s.data, s.len, F, cases[i].text);
        an_str_free(&s);
    }
}

static void test_many(void **state)
{
    (void)state;
    an_str s = {0};
    for (int i = 0; i < 300; i++) an_str_appendf(&s, "avg_ts%d,", i);
    refused(s.data, s.len, F, "more than 256 columns");
    an_str_clear(&s);
    an_str_append(&s, CSV);
    for (int i = 0; i <= AN_IMPORT_CELLS_MAX; i++) an_str_appendf(&s, "m.gguf,%d,5,2026-01-01T00:00:00Z\n", i % 100 + 1);
    refused(s.data, s.len, F, "more than 10000 rows");
    an_str_clear(&s);
    an_str_append(&s, HEAD ", \"samples_ts\": [5");
    for (int i = 0; i < AN_IMPORT_REPS_MAX; i++) an_str_append(&s, ",5");
    an_str_append(&s, "]}");
    refused(s.data, s.len, F, "more than 200000 repetitions");
    an_str_free(&s);
}

static void test_paths(void **state)
{
    (void)state;
    anemo_error err;
    an_run *runs;
    size_t n;
    assert_fails(an_import("/nonexistent/file", &runs, &n, &err), &err, ANEMO_ERR_NOTFOUND, "/nonexistent/file");
    assert_fails(an_import("/", &runs, &n, &err), &err, ANEMO_ERR_INVAL, "not a regular file");
    assert_fails(an_import(GOLDEN "llama-bench-table.txt", &runs, &n, &err), &err, ANEMO_ERR_UNSUPPORTED, "-o json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list), cmocka_unit_test(test_truncated), cmocka_unit_test(test_deep),
        cmocka_unit_test(test_large), cmocka_unit_test(test_many), cmocka_unit_test(test_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
