/* Files of the real tools (tests/golden/import) become runs, the same ones whatever the form. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "store/import.h"
#include "store/run_file.h"

#include <math.h>

#define GOLDEN AN_TEST_DIR "/golden/import/"

static an_run *runs;
static size_t n_run;

static void load(const char *path)
{
    anemo_error err;
    assert_ok(an_import(path, &runs, &n_run, &err), &err);
    assert_true(n_run >= 1);
}

static void load_text(const char *text)
{
    anemo_error err;
    assert_ok(an_import_bytes(text, strlen(text), "some/model-4bit.txt", &runs, &n_run, &err), &err);
}

static int drop(void **state)
{
    (void)state;
    an_run_list_free(runs, n_run);
    runs = NULL;
    n_run = 0;
    return 0;
}

static double value(const an_run *run, size_t cell, size_t rep, an_field_id field)
{
    assert_true(cell < run->n_cell && rep < run->cells[cell].n_rep);
    return run->cells[cell].reps[rep].values[field];
}

static const char *setting(const an_run *run, size_t cell, const char *key)
{
    return json_string_value(json_object_get(run->cells[cell].settings, key));
}

/* Every figure of the JSON file, by hand. */
static void test_llama_json(void **state)
{
    (void)state;
    load(GOLDEN "llama-bench.json");
    assert_int_equal(n_run, 1);
    const an_run *run = &runs[0];
    assert_string_equal(run->kind, "import");
    assert_string_equal(run->environment.cpu, "AMD EPYC");
    assert_string_equal(run->environment.date, "2026-11-25T18:01:34Z");
    assert_memory_equal(run->id, "20261125-180134-", 16);
    assert_int_equal(run->n_cell, 4);
    assert_int_equal(run->n_model, 1);
    assert_string_equal(run->models[0].name, "smollm2.gguf");
    assert_string_equal(run->models[0].container, "gguf");
    assert_int_equal(run->models[0].n_param, 134515008);
    const an_cell *pp = &run->cells[0], *tg = &run->cells[1];
    assert_string_equal(pp->engine, "llama.cpp");
    assert_string_equal(pp->engine_version, "b1 0c1e570");
    assert_string_equal(pp->device, "CPU");
    assert_string_equal(pp->quantization, "Q4_1");
    assert_int_equal(pp->status, AN_CELL_OK);
    assert_int_equal(pp->work.kind, AN_WORK_STEP);
    assert_int_equal(pp->work.n_prompt, 16);
    assert_int_equal(pp->work.n_gen, 0);
    assert_int_equal(tg->work.n_gen, 8);
    assert_int_equal(pp->n_rep, 3);
    assert_int_equal(pp->reps[0].kind, AN_REP_TIMED);
    assert_true(fabs(value(run, 0, 0, AN_FIELD_ID_step_tps) - 16 / 0.122749531) < 1e-9);
    assert_true(fabs(value(run, 0, 2, AN_FIELD_ID_prefill_tps) - 16 / 0.149856513) < 1e-9);
    assert_true(fabs(value(run, 1, 1, AN_FIELD_ID_step_tps) - 8 / 0.118924310) < 1e-9);
    assert_true(fabs(value(run, 1, 1, AN_FIELD_ID_total_s) - 0.118924310) < 1e-12);
    assert_true(isnan(value(run, 1, 1, AN_FIELD_ID_decode_tps)));
    assert_true(isnan(value(run, 1, 1, AN_FIELD_ID_prefill_tps)));
    assert_true(isnan(value(run, 1, 1, AN_FIELD_ID_rss_peak_bytes)));
    assert_int_equal(json_integer_value(json_object_get(run->cells[2].settings, "threads")), 2);
    assert_string_equal(setting(run, 0, "kv_type"), "f16");
    assert_string_equal(setting(run, 0, "flash_attn"), "auto");
    assert_string_equal(setting(run, 0, "split_mode"), "layer");
    const json_t *beside = json_array_get(json_object_get(run->extra, "rows"), 1);
    assert_string_equal(json_string_value(json_object_get(beside, "model_type")), "llama 256M Q4_1");
    assert_null(json_object_get(beside, "only_mean"));
    assert_null(run->note);
}

static void keys_of(const char *path, char keys[4][65], bool means)
{
    load(path);
    assert_int_equal(n_run, 1);
    assert_int_equal(runs[0].n_cell, 4);
    for (size_t i = 0; i < 4; i++) {
        memcpy(keys[i], runs[0].cells[i].key, 65);
        assert_int_equal(runs[0].cells[i].n_rep, means ? 1 : 3);
        const json_t *beside = json_array_get(json_object_get(runs[0].extra, "rows"), i);
        double avg = json_number_value(json_object_get(beside, "avg_ts")), mean = 0;
        for (size_t r = 0; r < runs[0].cells[i].n_rep; r++) mean += value(&runs[0], i, r, AN_FIELD_ID_step_tps);
        assert_true(fabs(mean / (double)runs[0].cells[i].n_rep / avg - 1) < 1e-5);
        assert_int_equal(json_is_true(json_object_get(beside, "only_mean")), means);
    }
    assert_int_equal(runs[0].note != NULL, means);
    drop(NULL);
}

/* The identity of a cell does not depend on the form that it came in. */
static void test_forms_agree(void **state)
{
    (void)state;
    char json[4][65], other[4][65];
    static const char *const means[] = {GOLDEN "llama-bench.sql", GOLDEN "sqlite-dump.sql", GOLDEN "llama-bench.csv"};
    keys_of(GOLDEN "llama-bench.json", json, false);
    keys_of(GOLDEN "llama-bench.jsonl", other, false);
    assert_memory_equal(json, other, sizeof json);
    for (size_t i = 0; i < AN_COUNT_OF(means); i++) {
        keys_of(means[i], other, true);
        assert_memory_equal(json, other, sizeof json);
    }
}

/* mlx_lm's own generation figure counts n ids over n - 1 gaps. */
static void test_mlx(void **state)
{
    (void)state;
    load(GOLDEN "mlx_lm.benchmark.txt");
    assert_int_equal(n_run, 1);
    const an_run *run = &runs[0];
    assert_memory_equal(run->id, "mlx-", 4);
    assert_string_equal(run->models[0].name, "mlx_lm.benchmark");
    assert_int_equal(run->n_cell, 1);
    assert_string_equal(run->cells[0].engine, "mlx-lm");
    assert_int_equal(run->cells[0].work.kind, AN_WORK_GENERATE);
    assert_int_equal(run->cells[0].work.n_prompt, 16);
    assert_int_equal(run->cells[0].work.n_gen, 8);
    assert_int_equal(run->cells[0].n_rep, 3);
    assert_true(fabs(value(run, 0, 0, AN_FIELD_ID_prefill_tps) - 9.686) < 1e-12);
    assert_true(fabs(value(run, 0, 0, AN_FIELD_ID_ttft_s) - 16 / 9.686) < 1e-12);
    assert_true(fabs(value(run, 0, 1, AN_FIELD_ID_decode_n_tps) - 8.135) < 1e-12);
    assert_true(fabs(value(run, 0, 1, AN_FIELD_ID_decode_tps) - 8.135 * 7 / 8) < 1e-12);
    assert_true(fabs(value(run, 0, 2, AN_FIELD_ID_total_s) - 2.756) < 1e-12);
    assert_true(isnan(value(run, 0, 2, AN_FIELD_ID_rss_peak_bytes)));
    assert_false(run->interrupted);
    const json_t *beside = json_array_get(json_object_get(run->extra, "rows"), 0);
    assert_true(fabs(json_number_value(json_array_get(json_object_get(beside, "peak_memory_gb"), 0)) - 0.119) < 1e-12);
}

/* Several outputs in one file, with the shell's lines between them; the second was stopped. */
static void test_mlx_session(void **state)
{
    (void)state;
    load_text("$ mlx_lm.benchmark --model org/mistral-4bit -p 64 -g 2\r\n"
              "Fetching 6 files: 100%|####| 6/6\nRunning warmup..\r\n"
              "Timing with prompt_tokens=64, generation_tokens=2, batch_size=1.\r\n"
              "Trial 1:  prompt_tps=100.000, generation_tps=20.000, peak_memory=1.5, total_time=1.0\r\n"
              "Averages: prompt_tps=100.000, generation_tps=20.000, peak_memory=1.5\r\n"
              "Timing with prompt_tokens=64, generation_tokens=1, batch_size=1.\n"
              "Trial 1:  prompt_tps=90.000, generation_tps=20000.000\n");
    assert_int_equal(n_run, 1);
    assert_string_equal(runs[0].models[0].name, "org/mistral-4bit");
    assert_int_equal(runs[0].n_cell, 2);
    assert_true(fabs(value(&runs[0], 0, 0, AN_FIELD_ID_decode_tps) - 10) < 1e-12);
    /* One id has no gap behind it. */
    assert_true(isnan(value(&runs[0], 1, 0, AN_FIELD_ID_decode_tps)));
    assert_true(isnan(value(&runs[0], 1, 0, AN_FIELD_ID_decode_n_tps)));
    assert_true(runs[0].interrupted);
    assert_string_not_equal(runs[0].cells[0].key, runs[0].cells[1].key);
}

#define ROW(time, cpu, more)                                                                                               \
    "{\"model_filename\": \"/m/o'brien.gguf\", \"model_type\": \"llama 7B Q4_K - Medium\", \"cpu_info\": \"" cpu              \
    "\", \"n_prompt\": 4, \"n_gen\": 4, \"n_depth\": 9, \"avg_ts\": 8.0, \"test_time\": \"" time "\"" more "}\n"

/* A file that was appended to: the same cell again, or another machine, is another run. */
static void test_appended(void **state)
{
    (void)state;
    load_text(ROW("2026-01-01T00:00:00Z", "A", "") ROW("2026-01-02T00:00:00Z", "A", "") "\n" ROW("2026-01-03T00:00:00Z", "B", "")
              ROW("2026-01-04T00:00:00Z", "B", ", \"flash_attn\": true, \"no_host\": 1, \"avg_ns\": 5, \"poll\": null, \"type_v\": \"q8_0\", \"novel\": [1, null]"));
    assert_int_equal(n_run, 3);
    assert_string_equal(runs[1].environment.date, "2026-01-02T00:00:00Z");
    assert_string_equal(runs[0].cells[0].key, runs[1].cells[0].key);
    assert_string_not_equal(runs[0].id, runs[1].id);
    assert_string_equal(runs[0].models[0].name, "o'brien.gguf");
    assert_string_equal(runs[0].cells[0].quantization, "Q4_K - Medium");
    assert_int_equal(runs[0].cells[0].work.n_depth, 9);
    assert_int_equal(runs[2].n_cell, 2);
    assert_string_equal(setting(&runs[2], 1, "flash_attn"), "on");
    assert_string_equal(setting(&runs[2], 1, "kv_type_v"), "q8_0");
    /* What is not known is kept. */
    const json_t *beside = json_array_get(json_object_get(runs[2].extra, "rows"), 1);
    assert_int_equal(json_array_size(json_object_get(beside, "novel")), 2);
}

/* The same bytes are the same run. */
static void test_ids_are_stable(void **state)
{
    (void)state;
    char id[32];
    load(GOLDEN "llama-bench.csv");
    memcpy(id, runs[0].id, sizeof id);
    drop(NULL);
    load(GOLDEN "llama-bench.csv");
    assert_string_equal(id, runs[0].id);
    drop(NULL);
    load(GOLDEN "llama-bench.sql");
    assert_string_not_equal(id, runs[0].id);
}

/* Our own runs, one document, many in a list, a line each: what went in comes out. */
static void test_own_runs(void **state)
{
    (void)state;
    anemo_error err;
    an_str one = {0}, text = {0};
    load(GOLDEN "llama-bench.json");
    assert_ok(an_json_write(an_run_json(&runs[0]), JSON_COMPACT, &one, &err), &err);
    drop(NULL);
    for (int form = 0; form < 4; form++) {
        static const char *const head[] = {"", "[", "", "{\"schema\": \"anemo.capsule/1\", \"run\": "};
        static const char *const between[] = {"", ",", "\n\n", ""}, *const tail[] = {"", "]", "\n", "}"};
        size_t n = form == 0 || form == 3 ? 1 : 2;
        an_str_clear(&text);
        an_str_append(&text, head[form]);
        for (size_t i = 0; i < n; i++) an_str_appendf(&text, "%s%s", i ? between[form] : "", one.data);
        an_str_append(&text, tail[form]);
        load_text(text.data);
        assert_int_equal(n_run, n);
        for (size_t i = 0; i < n; i++) {
            an_str again = {0};
            assert_ok(an_json_write(an_run_json(&runs[i]), JSON_COMPACT, &again, &err), &err);
            assert_string_equal(again.data, one.data);
            an_str_free(&again);
        }
        drop(NULL);
    }
    an_str_free(&one);
    an_str_free(&text);
}

/* The SQL that `anemo bench` and careful tools write: apostrophes doubled, several rows in one INSERT, comments. */
static void test_sql_forms(void **state)
{
    (void)state;
    load_text("-- made by hand; 'quoted' words\n/* and ; more\n */ BEGIN;\n"
              "insert into \"llama_bench\" (model_filename, n_gen, avg_ts, test_time, `novel`)\n"
              " values ('it''s; a (file).gguf', '7', 1e2, '2026-01-01T00:00:00Z', NULL),\n"
              "('b.gguf', 7, +2.5E-1, '2026-01-01T00:00:01Z', 'x--y');;COMMIT;");
    assert_int_equal(n_run, 1);
    assert_int_equal(runs[0].n_cell, 2);
    assert_string_equal(runs[0].models[0].name, "it's; a (file).gguf");
    assert_true(fabs(value(&runs[0], 0, 0, AN_FIELD_ID_step_tps) - 100) < 1e-12);
    assert_true(fabs(value(&runs[0], 1, 0, AN_FIELD_ID_step_tps) - 0.25) < 1e-12);
}

static void test_csv_forms(void **state)
{
    (void)state;
    load_text("model_filename,n_prompt,avg_ts,test_time,novel\r\n"
              "\"a \"\"b\"\",\nc.gguf\",5,10,2026-01-01T00:00:00Z,\r\n"
              "\r\n"
              "d.gguf,\"5\",10.5,2026-01-01T00:00:00Z,\"\"");
    assert_int_equal(runs[0].n_cell, 2);
    assert_string_equal(runs[0].models[0].name, "a \"b\",\nc.gguf");
    assert_true(fabs(value(&runs[0], 1, 0, AN_FIELD_ID_step_tps) - 10.5) < 1e-12);
}

/* Our own benchmark in llama-bench's forms: its engine, its key, and what failed. */
static void test_anemo_bench(void **state)
{
    (void)state;
    static const char *const files[] = {GOLDEN "anemo-bench.json", GOLDEN "anemo-bench.csv", GOLDEN "anemo-bench.sql"};
    for (size_t i = 0; i < AN_COUNT_OF(files); i++) {
        load(files[i]);
        assert_int_equal(n_run, 1);
        assert_int_equal(runs[0].n_cell, 2);
        for (size_t k = 0; k < 2; k++) {
            const an_cell *cell = &runs[0].cells[k];
            assert_string_equal(cell->engine, "native");
            assert_string_equal(cell->engine_version, "0.1.0");
            assert_string_equal(cell->compute_dtype, "q8");
            assert_string_equal(cell->device, "cpu");
            assert_int_equal(cell->status, AN_CELL_OK);
            assert_int_equal(cell->n_rep, i == 0 ? 2 : 1);
        }
        assert_string_equal(runs[0].cells[0].key, "dc34e1e0737e9f33c8916ec1886fc784b5451706cb936ce0a8cf85db199f110a");
        assert_string_equal(runs[0].models[0].container, "gguf");
        drop(NULL);
    }
    load_text(ROW("2026-01-01T00:00:00Z", "A", ", \"engine\": \"mlx\", \"status\": \"ok\"")
              "{\"model_filename\": \"m\", \"n_gen\": 3, \"avg_ts\": null, \"test_time\": \"2026-01-01T00:00:00Z\", \"cpu_info\": \"A\", "
              "\"status\": \"failed\", \"reason\": \"it died\", \"samples_ns\": []}\n");
    assert_int_equal(runs[0].n_cell, 2);
    assert_string_equal(runs[0].cells[0].engine, "mlx");
    assert_int_equal(runs[0].cells[1].status, AN_CELL_FAILED);
    assert_string_equal(runs[0].cells[1].reason, "it died");
    assert_int_equal(runs[0].cells[1].n_rep, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_llama_json, drop),   cmocka_unit_test_teardown(test_forms_agree, drop),
        cmocka_unit_test_teardown(test_mlx, drop),          cmocka_unit_test_teardown(test_mlx_session, drop),
        cmocka_unit_test_teardown(test_appended, drop),     cmocka_unit_test_teardown(test_ids_are_stable, drop),
        cmocka_unit_test_teardown(test_own_runs, drop),     cmocka_unit_test_teardown(test_sql_forms, drop),
        cmocka_unit_test_teardown(test_csv_forms, drop),    cmocka_unit_test_teardown(test_anemo_bench, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
