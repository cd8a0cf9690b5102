/* sweep: plan files, their lists, ranges and rules; and files that are none. */
#include "support/test.h"

#include "base/alloc.h"
#include "os/file.h"
#include "sweep/ini.h"
#include "sweep/plan.h"

#include <stdlib.h>

static an_plan parse(const char *text)
{
    anemo_error err;
    an_plan plan;
    assert_ok(an_plan_parse(&plan, text, strlen(text), "plan.ini", &err), &err);
    return plan;
}

static void refuse(const char *text, const char *message)
{
    anemo_error err = {0};
    an_plan plan;
    anemo_status status = an_plan_parse(&plan, text, strlen(text), "plan.ini", &err);
    if (status != ANEMO_ERR_FORMAT) fail_msg("accepted (%d): %s", status, text);
    if (!strstr(err.message, message)) fail_msg("'%s' lacks '%s'", err.message, message);
    if (strncmp(err.message, "plan.ini", 8) != 0) fail_msg("'%s' does not name the file", err.message);
}

static void whole_plan(void **state)
{
    (void)state;
    an_plan p = parse("\xEF\xBB\xBF# a plan\r\n"
                      "[sweep]\r\n"
                      "name = \"night # 1\" ; quotes keep the sign\n"
                      "  engines=native , llama.cpp\n"
                      "models = a-{quant}.gguf, \"b, c.gguf\", d#e.gguf   # a comment\n"
                      "quantizations = Q4_0, Q8_0,Q4_0\n"
                      "threads = 1-8*2\n"
                      "n_prompt = 128,512-1024+256\n"
                      "work = step\n"
                      "pg = 512+128, 64+16\n"
                      "repetitions = 7\n"
                      "delay = 0.5\n"
                      "seed = 42\n"
                      "tags = a, b\n"
                      "\n"
                      "[machine]\n"
                      "memory = 75%\n"
                      "disk_reserve = 1.5 GB\n"
                      "probes = off\n"
                      "; no rules yet\n");
    assert_string_equal(p.name, "night # 1");
    assert_int_equal(p.axes[AN_AXIS_ENGINE].n, 2);
    assert_string_equal(p.axes[AN_AXIS_ENGINE].texts[1], "llama.cpp");
    assert_int_equal(p.axes[AN_AXIS_MODEL].n, 3);
    assert_string_equal(p.axes[AN_AXIS_MODEL].texts[1], "b, c.gguf");
    assert_string_equal(p.axes[AN_AXIS_MODEL].texts[2], "d#e.gguf");
    assert_int_equal(p.axes[AN_AXIS_QUANT].n, 2);
    const int64_t threads[] = {1, 2, 4, 8}, prompts[] = {128, 512, 768, 1024};
    assert_int_equal(p.axes[AN_AXIS_THREADS].n, 4);
    assert_memory_equal(p.axes[AN_AXIS_THREADS].numbers, threads, sizeof threads);
    assert_int_equal(p.axes[AN_AXIS_N_PROMPT].n, 4);
    assert_memory_equal(p.axes[AN_AXIS_N_PROMPT].numbers, prompts, sizeof prompts);
    assert_int_equal(p.axes[AN_AXIS_N_GEN].numbers[0], 128); /* the default */
    assert_int_equal(p.n_pair, 2);
    assert_int_equal(p.pairs[1].n_gen, 16);
    assert_int_equal(p.n_rep, 7);
    assert_true(p.delay_s == 0.5 && p.has_seed && p.seed == 42 && p.memory_share == 0.75);
    assert_int_equal(p.disk_reserve_bytes, 1500000000);
    assert_false(p.probes);
    assert_string_equal(p.tags[1], "b");
    an_plan_free(&p);
}

/* The example is a plan. */
static void example(void **state)
{
    (void)state;
    anemo_error err;
    char *text;
    size_t n;
    assert_ok(an_file_read(AN_TEST_DIR "/../examples/plan.ini", 1 << 20, &text, &n, &err), &err);
    an_plan p = parse(text);
    assert_int_equal(p.axes[AN_AXIS_QUANT].n, 4);
    assert_int_equal(p.n_rule, 2);
    assert_int_equal(p.n_block, 2);
    an_plan_free(&p);
    an_free(text);
}

/* Number of {engine} x {threads 1, 2, 4} x {model} x {depth 0, 4096} that the rules let in. */
static int admitted(const char *rules)
{
    static const char *const engines[] = {"native", "llama.cpp", "mlx"}, *const models[] = {"m-Q4_0.gguf",
                                                                                            "m-Q8_0.gguf"};
    char text[600];
    int n = 0;
    snprintf(text, sizeof text, "[sweep]\nmodels = m\n%s", rules);
    an_plan p = parse(text);
    for (int i = 0; i < 36; i++) {
        an_grid_point point = {0};
        for (int a = 0; a < AN_AXIS_N; a++)
            point.texts[a] = "";
        point.texts[AN_AXIS_ENGINE] = engines[i % 3];
        point.texts[AN_AXIS_MODEL] = models[i / 3 % 2];
        point.texts[AN_AXIS_QUANT] = i / 3 % 2 ? "Q8_0" : "Q4_0";
        point.numbers[AN_AXIS_THREADS] = 1 << (i / 6 % 3);
        point.numbers[AN_AXIS_N_DEPTH] = i / 18 * 4096;
        n += an_plan_admits(&p, &point);
    }
    an_plan_free(&p);
    return n;
}

static void rules(void **state)
{
    (void)state;
    assert_int_equal(admitted(""), 36);
    assert_int_equal(admitted("[exclude]\nengine=mlx threads=1\n"), 32);
    assert_int_equal(admitted("[exclude]\nengine=mlx\nengine=native threads>=2\n"), 16);
    assert_int_equal(admitted("[include]\nthreads=1\n"), 12);
    assert_int_equal(admitted("[include]\nthreads=1\nthreads=4 quant=Q8_0\n"), 18);
    assert_int_equal(admitted("[include]\nthreads<4\n[exclude]\nn_depth>0 engine!=llama.cpp\n"), 16);
    assert_int_equal(admitted("[exclude]\nmodel=*Q4*\n"), 18);
    assert_int_equal(admitted("[exclude]\nengine=l*,mlx  threads=1-2 # both\n"), 20);
    assert_int_equal(admitted("[exclude]\nengines=mlx\n"), 24); /* the plan's spelling */
    assert_int_equal(admitted("[include]\nmodel=m-Q?_0.gguf\n"), 36);
    assert_int_equal(admitted("[include]\nmodel=m-Q?_0\n"), 0);
}

static void bad_plans(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "names no models"},
        {"models = a\n", "plan.ini:1: this line stands before any section"},
        {"[sweep]\nmodels\n", "plan.ini:2: expected 'key = value'"},
        {"[sweep]\nmodels =\n", "plan.ini:2: 'models' has no value"},
        {"[sweep]\nmodels = # nothing\n", "'models' has no value"},
        {"[sweep]\nmodels = a,,b\n", "plan.ini:2: models: an empty item"},
        {"[sweep]\nmodels = a,\n", "an empty item"},
        {"[sweep]\nmodels = \"a\n", "a quote \" without its end"},
        {"[sweep]\nmodel = a\n", "there is no such key in [sweep]; there are: engines, models"},
        {"[sweep]\nmodels = a\nmodels = b\n", "plan.ini:3: models: line 2 says it already"},
        {"[sweep]\nmodels = a\n[sweep]\nseed = 1\n", "plan.ini:3: the section [sweep] came before"},
        {"[swep]\nmodels = a\n", "there is no section [swep]"},
        {"[sweep\nmodels = a\n", "a section is [name]"},
        {"[]\n", "a section is [name]"},
        {"[a b]\n", "letters, digits"},
        {"[sweep]\nmodels = a\nengines = llamacpp\n", "'llamacpp' is none of native"},
        {"[sweep]\nmodels = a\nthreads = 0\n", "'0' goes beyond 1 to 1024"},
        {"[sweep]\nmodels = a\nthreads = 8-1\n", "ends before it begins"},
        {"[sweep]\nmodels = a\nthreads = 1-8*1\n", "never reaches its end"},
        {"[sweep]\nmodels = a\nthreads = 1-8+0\n", "never reaches its end"},
        {"[sweep]\nmodels = a\nn_prompt = 0-8*2\n", "never reaches its end"},
        {"[sweep]\nmodels = a\nthreads = 1-\n", "first-last"},
        {"[sweep]\nmodels = a\nthreads = 99999999999999999999\n", "first-last"},
        {"[sweep]\nmodels = a\nthreads = two\n", "first-last"},
        {"[sweep]\nmodels = a\nn_prompt = 1-16777216\n", "more than 10000 values"},
        {"[sweep]\nmodels = a\nn_prompt = 1-1001\n", "1001 values; at most 1000"},
        {"[sweep]\nmodels = a\nwork = chat\n", "'chat' is none of generate, step"},
        {"[sweep]\nmodels = a\nrepetitions = 0\n", "not a whole number from 1"},
        {"[sweep]\nmodels = a\nrepetitions = 5 times\n", "not a whole number"},
        {"[sweep]\nmodels = a\ntimeout = nan\n", "not a number of seconds"},
        {"[sweep]\nmodels = a\nseed = -1\n", "below 2^63"},
        {"[sweep]\nmodels = a\npg = 512\n", "512+128"},
        {"[sweep]\nmodels = a\nquantizations = Q4_0\n", "no model has it"},
        {"[sweep]\nmodels = a-{quant}\n", "there is no 'quantizations"},
        {"[sweep]\nmodels = a\n[machine]\nmemory = 120%\n", "a share such as 80%"},
        {"[sweep]\nmodels = a\n[machine]\nmemory = 1.2.3GB\n", "an amount"},
        {"[sweep]\nmodels = a\n[machine]\ndisk_reserve = 10%\n", "an amount such as"},
        {"[sweep]\nmodels = a\n[machine]\ndisk = 10%\n", "no such key in [machine]"},
        {"[sweep]\nmodels = a\n[machine]\nprobes = yes\n", "'yes' is none of on, off"},
        {"[sweep]\nmodels = a\n[exclude]\nengine\n", "is no condition"},
        {"[sweep]\nmodels = a\n[exclude]\nengine=\n", "is no condition"},
        {"[sweep]\nmodels = a\n[exclude]\nspeed=1\n", "the grid has no key 'speed'"},
        {"[sweep]\nmodels = a\n[exclude]\nengine<mlx\n", "has no order"},
        {"[sweep]\nmodels = a\n[exclude]\nthreads<1,2\n", "several values"},
        {"[sweep]\nmodels = a\n[exclude]\nengine=mlxx\n", "'mlxx' is none of"},
        {"[sweep]\nmodels = a\nname = a\x01z\n", "plan.ini:3: a control character (byte 1)"},
        {"[sweep]\nmodels = \xC3\x28\n", "plan.ini:2: not UTF-8"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        refuse(bad[i].text, bad[i].message);
}

static void long_plans(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_plan plan;
    size_t n = (1 << 20) + 1;
    char *text = malloc(n);
    memset(text, ' ', n);
    assert_fails(an_plan_parse(&plan, text, n, "p", &err), &err, ANEMO_ERR_FORMAT, "longer than 1 MiB");
    /* As many keys, quotes and rules as fit are read in linear time. */
    for (size_t i = 0; i + 4 < n; i += 4)
        memcpy(text + i, "a=b\n", 4);
    memcpy(text, "[x]\n", 4);
    assert_fails(an_plan_parse(&plan, text, n - 1, "p", &err), &err, ANEMO_ERR_FORMAT, "p");
    /* Lists and rules have an end, so that nothing below is more than their product. */
    strcpy(text, "[sweep]\nmodels = ");
    size_t at = strlen(text);
    for (int i = 0; i < 1001; i++)
        at += (size_t)sprintf(text + at, "%sm%d", i ? "," : "", i);
    assert_fails(an_plan_parse(&plan, text, at, "p", &err), &err, ANEMO_ERR_FORMAT, "1001 values");
    strcpy(text, "[exclude]\n");
    at = strlen(text);
    for (int i = 0; i < 1001; i++)
        at += (size_t)sprintf(text + at, "threads=%d\n", i % 100 + 1);
    assert_fails(an_plan_parse(&plan, text, at, "p", &err), &err, ANEMO_ERR_FORMAT, "more than 1000 rules");
    free(text);
}

static void items(void **state)
{
    (void)state;
    anemo_error err;
    char **list;
    size_t n;
    assert_ok(an_ini_split(" a b , \" c \" ,\"\\\"\\\\\",\"\"", ',', "p", &list, &n, &err), &err);
    assert_int_equal(n, 4);
    assert_string_equal(list[0], "a b");
    assert_string_equal(list[1], " c ");
    assert_string_equal(list[2], "\"\\");
    assert_string_equal(list[3], "");
    an_names_free(list);
    assert_ok(an_ini_split("a=1\t\t b=\"x y\"  ", ' ', "p", &list, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_string_equal(list[1], "b=x y");
    an_names_free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_plan), cmocka_unit_test(example),    cmocka_unit_test(rules),
        cmocka_unit_test(bad_plans),  cmocka_unit_test(long_plans), cmocka_unit_test(items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
