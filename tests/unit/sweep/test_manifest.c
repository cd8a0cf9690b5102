/* sweep: a plan's cells, their manifest and back; identity; manifests that are none. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"
#include "sweep/sweep.h"

#include <stdlib.h>

#define MODEL AN_TEST_DIR "/../fuzz/corpus/gguf/tiny_q4_1"

static anemo_status find(const char *name, char **path, anemo_error *err)
{
    (void)err;
    *path = an_strdup(name);
    return ANEMO_OK;
}

static an_sweep build(const char *text)
{
    anemo_error err;
    an_plan plan;
    an_sweep s;
    assert_ok(an_plan_parse(&plan, text, strlen(text), "p", &err), &err);
    assert_ok(an_sweep_build(&s, &plan, "p", find, &err), &err);
    an_plan_free(&plan);
    return s;
}

#define PLAN                                                                                                           \
    "[sweep]\nname = t\nengines = native, llama.cpp\nmodels = " MODEL                                                  \
    "\nthreads = 1,2\nn_prompt = 8,16\nn_gen = 4\nnote = n\ntags = a\n"

static void cells(void **state)
{
    (void)state;
    an_sweep s = build(PLAN "[exclude]\nengine=native threads=2 n_prompt=16\n");
    assert_int_equal(s.run.n_cell, 7);
    assert_int_equal(s.n_ruled_out, 1);
    assert_int_equal(s.run.n_model, 1);
    assert_true(s.run.models[0].weight_bytes > 0 && s.run.models[0].kv_values_per_pos > 0);
    for (size_t i = 0; i < s.run.n_cell; i++) {
        assert_int_equal(s.run.cells[i].status, AN_CELL_PENDING);
        assert_int_equal(strlen(s.run.cells[i].key), 64);
        assert_int_equal(s.settings[i].n_ctx, 256);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(s.run.cells[i].key, s.run.cells[k].key);
    }
    an_sweep_free(&s);
    /* A quantization that the plan does not name is the file's own. */
    s = build(PLAN "[include]\nquant=Q4_1*\n");
    assert_int_equal(s.run.n_cell, 8);
    an_sweep_free(&s);
    /* Steps: each alone, and the pair. */
    s = build("[sweep]\nengines = native\nmodels = " MODEL
              "\nwork = step\nn_prompt = 8,0\nn_gen = 4\nn_depth = 0,64\npg = 8+4\nthreads = 1\n");
    assert_int_equal(s.run.n_cell, 6);
    assert_int_equal(s.run.cells[5].work.n_prompt + s.run.cells[5].work.n_gen + s.run.cells[5].work.n_depth, 76);
    an_sweep_free(&s);
}

static void bad_grids(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"[sweep]\nmodels = " MODEL "\n[include]\nengine=native threads=999\n", "no cell is left"},
        {"[sweep]\nmodels = " MODEL "\nengines = mlx\n", "'mlx' reads MLX directories; none of the models"},
        {"[sweep]\nmodels = " MODEL "\nengines = http\n", "needs 'url"},
        {"[sweep]\nmodels = " MODEL "\nn_gen = 0\n", "leave nothing to measure"},
        {"[sweep]\nmodels = " MODEL "\nn_depth = 8\n", "n_depth is for 'work = step'"},
        {"[sweep]\nmodels = " MODEL "\nn_ctx = 64\n", "n_ctx = 64 is too small"},
        {"[sweep]\nmodels = " MODEL "\nblocks = 10000\nn_prompt = 1-100\n", "units"},
        {"[sweep]\nmodels = " MODEL "\nthreads=1-1000\nn_prompt = 1-1000\nn_batch = 1-10\n", "combinations, more than"},
        {"[sweep]\nmodels = " MODEL "\nn_prompt = 1-1000\nn_gen = 1-1000\n", "more than 100000 pairs"},
        {"[sweep]\nmodels = " MODEL ".absent\n", "not there"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        anemo_error err = {0};
        an_plan plan;
        an_sweep s;
        assert_ok(an_plan_parse(&plan, bad[i].text, strlen(bad[i].text), "p", &err), &err);
        anemo_status status = an_sweep_build(&s, &plan, "p", find, &err);
        if (status == ANEMO_OK) fail_msg("accepted: %s", bad[i].text);
        if (!strstr(err.message, bad[i].message)) fail_msg("'%s' lacks '%s'", err.message, bad[i].message);
        an_plan_free(&plan);
    }
}

static void round_trip(void **state)
{
    (void)state;
    anemo_error err;
    an_sweep a = build(PLAN "blocks = 3\n"), b;
    assert_ok(an_sweep_parse_manifest(&b, a.manifest.data, a.manifest.len, "m", &err), &err);
    assert_string_equal(a.id, b.id);
    assert_string_equal(a.manifest.data, b.manifest.data);
    assert_string_equal(a.name, b.name);
    assert_string_equal(a.run.note, b.run.note);
    assert_int_equal(a.seed, b.seed);
    assert_int_equal(an_sweep_n_unit(&b), 24);
    size_t order_a[8], order_b[8], seen[8] = {0};
    bool same = true;
    for (int block = 0; block < 3; block++) {
        an_sweep_block_order(&a, block, order_a);
        an_sweep_block_order(&b, block, order_b);
        assert_memory_equal(order_a, order_b, sizeof order_a);
        for (size_t i = 0; i < 8; i++)
            seen[order_a[i]]++;
        for (size_t i = 0; i < 8; i++)
            same &= order_a[i] == i;
    }
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(seen[i], 3);
    assert_false(same);
    for (size_t i = 0; i < a.run.n_cell; i++) {
        assert_string_equal(a.run.cells[i].key, b.run.cells[i].key);
        assert_true(json_equal(a.run.cells[i].settings, b.run.cells[i].settings));
        assert_memory_equal(&a.run.cells[i].work, &b.run.cells[i].work, sizeof(an_work));
    }
    an_sweep_free(&a);
    an_sweep_free(&b);
}

/* The same plan is the same sweep; anything that changes what is measured is another one. */
static void identity(void **state)
{
    (void)state;
    static const char *const other[] = {PLAN "repetitions = 6\n", PLAN "blocks = 2\n", PLAN "seed = 7\n",
                                        PLAN "n_ubatch = 256\n", PLAN "[machine]\nmemory = 50%\n"};
    an_sweep a = build(PLAN), b = build("# other comments\n" PLAN "\n");
    assert_string_equal(a.id, b.id);
    an_sweep_free(&b);
    for (size_t i = 0; i < AN_COUNT_OF(other); i++) {
        b = build(other[i]);
        assert_string_not_equal(a.id, b.id);
        an_sweep_free(&b);
    }
    an_sweep_free(&a);
}

static void refuse(const char *text, const char *message)
{
    anemo_error err = {0};
    an_sweep s;
    assert_fails(an_sweep_parse_manifest(&s, text, strlen(text), "m", &err), &err, ANEMO_ERR_FORMAT, message);
}

/* The text with the first `from` replaced; free() it. */
static char *with(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    size_t n = strlen(text) + strlen(to) + 1;
    char *out = malloc(n);
    snprintf(out, n, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return out;
}

static void bad_manifests(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } bad[] = {
        {"anemo.sweep/1", "anemo.sweep/2", "not a manifest of a sweep"},
        {"\"n_cell\":8", "\"n_cell\":9", "ends after 8 of 9 cells"},
        {"\"n_cell\":8", "\"n_cell\":7", "more lines than its 7 cells"},
        {"\"n_cell\":8", "\"n_cell\":100000", "cannot hold"},
        {"\"n_cell\":8", "\"n_cell\":\"8\"", "n_cell is missing or no whole number"},
        {"\"cell\":3", "\"cell\":4", "cell"},
        {"\"model\":0", "\"model\":1", "model"},
        {"\"engine\":\"native\"", "\"engine\":\"nat\"", "does not know"},
        {"\"kv\":\"f16\"", "\"kv\":\"q4\"", "does not know"},
        {"\"work\":\"generate\"", "\"work\":7", "does not know"},
        {"\"threads\":2", "\"threads\":2000", "threads"},
        {"\"n_rep\":5", "\"n_rep\":0", "n_rep"},
        {"\"timeout_s\":600.0", "\"timeout_s\":null", "timeout_s"},
        {"\"bytes\":", "\"bites\":", "bytes is missing"},
        {"\"label\":\"",
         "\"label\":"
         "\"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789",
         "label"},
    };
    an_sweep a = build(PLAN);
    refuse("", "empty");
    refuse("[]\n", "JSON object");
    refuse("{\"schema\":\n", "m:1");
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        char *text = with(a.manifest.data, bad[i].from, bad[i].to);
        refuse(text, bad[i].message);
        free(text);
    }
    /* Cuts of it are refused. */
    for (size_t n = 0; n + 1 < a.manifest.len; n += 13) {
        anemo_error err = {0};
        an_sweep s;
        if (an_sweep_parse_manifest(&s, a.manifest.data, n, "m", &err) != ANEMO_ERR_FORMAT)
            fail_msg("accepted %zu bytes", n);
    }
    an_sweep_free(&a);
}

/* Each key of the head and of a cell in turn is missing, or holds something of another type. */
static void other_keys(void **state)
{
    (void)state;
    static const char *const optional[] = {"note", "url", "tags", "probes"};
    an_sweep a = build(PLAN);
    const char *end = strchr(strchr(a.manifest.data, '\n') + 1, '\n');
    int n_key = 0;
    for (const char *p = a.manifest.data; (p = strstr(p, "\":")) && p < end; p++) {
        const char *key = p;
        while (key[-1] != '"') key--;
        bool may_miss = false;
        for (size_t i = 0; i < AN_COUNT_OF(optional); i++)
            may_miss |= !strncmp(key, optional[i], strlen(optional[i])) && key + strlen(optional[i]) == p;
        for (int kind = 0; kind < 2; kind++) {
            anemo_error err = {0};
            an_sweep s;
            an_str text = {0};
            an_str_append_bytes(&text, a.manifest.data, (size_t)((kind ? p : key) - a.manifest.data));
            an_str_append(&text, kind ? "\":[],\"z" : "x");
            an_str_append(&text, kind ? p : key);
            anemo_status status = an_sweep_parse_manifest(&s, text.data, text.len, "m", &err);
            bool accepted = status == ANEMO_OK;
            if (accepted) an_sweep_free(&s);
            if (!accepted && (status != ANEMO_ERR_FORMAT || strncmp(err.message, "m", 1) != 0))
                fail_msg("%.20s: %d: %s", key, status, err.message);
            if (accepted != may_miss && !(kind == 1 && may_miss)) fail_msg("%.20s (%d): accepted: %d", key, kind, accepted);
            an_str_free(&text);
        }
        n_key++;
    }
    assert_true(n_key > 40);
    an_sweep_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells),    cmocka_unit_test(bad_grids),     cmocka_unit_test(round_trip),
        cmocka_unit_test(identity), cmocka_unit_test(bad_manifests), cmocka_unit_test(other_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
