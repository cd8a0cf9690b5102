/* The parent's client against scripted workers: every way in which a worker can fail, and the odd
 * ways to succeed. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "os/clock.h"

#include <signal.h>
#include <stdlib.h>

#define CAPABILITIES                                                                               \
    "\"capabilities\":{\"ids\":true,\"fixed_length\":true,\"stream\":true,\"cancel\":true,"        \
    "\"tokenize\":true}"
#define HELLO_WITH(clock, capabilities)                                                            \
    "echo "                                                                                        \
    "'{\"type\":\"hello\",\"protocol\":\"anemo.driver/"                                            \
    "1\",\"driver\":\"fake\",\"driver_version\":\"1\","                                            \
    "\"engine\":\"fake\",\"engine_version\":\"2\",\"library\":\"/lib/"                             \
    "x\",\"formats\":[\"gguf\"],\"clock\":{\"kind\":\"" clock                                      \
    "\",\"resolution_ns\":10}," capabilities ",\"new_key\":1}'\n"
#define HELLO        HELLO_WITH("monotonic", CAPABILITIES)
#define HELLO_PARENT HELLO_WITH("parent", CAPABILITIES)
#define LOADED                                                                                     \
    "read line; echo "                                                                             \
    "'{\"type\":\"loaded\",\"id\":1,\"load_s\":0.5,\"effective\":{\"n_ctx\":7},\"model\":{"        \
    "\"format\":\"gguf\",\"quantization\":\"Q4_1\",\"n_vocab\":100,\"n_ctx_train\":64}}'\n"
#define GENERATED(ids, times, reason)                                                              \
    "echo '{\"type\":\"generated\",\"id\":2,\"token_ids\":" ids                                    \
    ",\"t_start_ns\":1000000000,\"t_tokens_ns\":" times ",\"stop_reason\":\"" reason "\"}'\n"
#define END "cat >/dev/null\n"

static const uint64_t SECOND = 1000000000u;

static anemo_status open_fake(an_client **c, const char *script, uint64_t timeout_ns,
                              anemo_error *err)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    const an_client_options o = {.timeout_ns = timeout_ns};
    return an_client_open(c, argv, &o, err);
}

static anemo_status load_fake(an_client *c, anemo_error *err)
{
    an_settings s = an_settings_default();
    an_load_result r = {0};
    anemo_status status = an_client_load(c, "m.gguf", &s, &r, err);
    an_load_result_free(&r);
    return status;
}

static anemo_status generate_fake(an_client *c, an_generation *g, anemo_error *err)
{
    static const int32_t prompt[] = {1, 2, 3};
    const an_generate_request r = {
        .prompt_ids = prompt, .n_prompt = 3, .n_predict = 2, .fixed_length = true};
    return an_client_generate(c, &r, g, err);
}

/* open succeeds, load succeeds, generate fails in the given way. */
static void expect_generate_failure(const char *script, anemo_status status, const char *text)
{
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    assert_ok(open_fake(&c, script, 20 * SECOND, &err), &err);
    assert_ok(load_fake(c, &err), &err);
    assert_fails(generate_fake(c, &g, &err), &err, status, text);
    an_client_close(c);
}

static void test_a_good_worker(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    an_settings s = an_settings_default();
    an_load_result r = {0};
    an_generation g = {0};
    assert_ok(open_fake(&c,
                        HELLO LOADED
                        "read line\n" GENERATED("[4,5]", "[1500000000,1750000000]", "length") END,
                        20 * SECOND, &err),
              &err);
    const an_hello *h = an_client_hello(c);
    assert_string_equal(h->driver, "fake");
    assert_string_equal(h->engine_version, "2");
    assert_string_equal(h->library, "/lib/x");
    assert_true(h->reads_gguf && !h->reads_mlx && h->stream && !h->logits && !h->sampling);
    assert_ok(an_client_load(c, "m.gguf", &s, &r, &err), &err);
    assert_true(r.load_s == 0.5);
    assert_string_equal(r.quantization, "Q4_1");
    assert_int_equal(json_integer_value(json_object_get(r.effective, "n_ctx")), 7);
    an_load_result_free(&r);
    assert_ok(generate_fake(c, &g, &err), &err);
    assert_int_equal(g.n, 2);
    assert_int_equal(g.ids[1], 5);
    assert_true(g.t_s[0] == 0.5 && g.t_s[1] == 0.75);
    assert_string_equal(g.stop_reason, "length");
    an_generation_free(&g);
    an_client_close(c);
}

static void test_no_such_program(void **state)
{
    (void)state;
    const char *const argv[] = {"/nonexistent/driver", NULL};
    an_client *c;
    anemo_error err = {0};
    assert_fails(an_client_open(&c, argv, NULL, &err), &err, ANEMO_ERR_NOTFOUND,
                 "/nonexistent/driver");
}

static void test_failures_at_hello(void **state)
{
    (void)state;
    static const struct {
        const char *script;
        anemo_status status;
        const char *text;
    } cases[] = {
        {"echo 'no such library' >&2; exit 3", ANEMO_ERR_ENGINE,
         "exited with status 3; it last said: no such library"},
        {"exit 0", ANEMO_ERR_ENGINE, "exited with status 0"},
        {"kill -SEGV $$", ANEMO_ERR_ENGINE, "SIGSEGV"},
        {"kill -KILL $$", ANEMO_ERR_ENGINE, "SIGKILL"},
        {"kill -ABRT $$", ANEMO_ERR_ENGINE, "SIGABRT"},
        {"echo Loading the model; sleep 5", ANEMO_ERR_ENGINE,
         "stdout began with 'Loading the model'"},
        {"printf '{\"type\":\"hello\\377\"}\\n'; sleep 5", ANEMO_ERR_ENGINE, "broke the protocol"},
        {"echo '[1]'; sleep 5", ANEMO_ERR_ENGINE, "not an object"},
        {"echo '{\"type\":5}'; sleep 5", ANEMO_ERR_ENGINE, "not an object with a \"type\""},
        {"echo '{\"type\":\"hello\",\"type\":\"hello\"}'; sleep 5", ANEMO_ERR_ENGINE,
         "broke the protocol"},
        {"echo '{\"type\":\"loaded\",\"id\":1}'; sleep 5", ANEMO_ERR_ENGINE,
         "did not begin with hello"},
        {"echo '{\"type\":\"hello\",\"protocol\":\"anemo.driver/9\"}'; sleep 5", ANEMO_ERR_ENGINE,
         "anemo.driver/9"},
        {"echo '{\"type\":\"hello\",\"protocol\":\"anemo.driver/1\"}'; sleep 5", ANEMO_ERR_ENGINE,
         "clock"},
        {"echo '{\"type\":\"error\",\"id\":null,\"status\":\"unsupported\",\"message\":\"built for "
         "1.0\"}'",
         ANEMO_ERR_UNSUPPORTED, "built for 1.0"},
        {"exec >&-; sleep 30", ANEMO_ERR_ENGINE, "closed its stdout"},
        {"sleep 30", ANEMO_ERR_TIMEOUT, "no answer for 3 s"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_client *c;
        anemo_error err = {0};
        assert_fails(open_fake(&c, cases[i].script, 3 * SECOND, &err), &err, cases[i].status,
                     cases[i].text);
    }
}

static void test_a_line_without_end(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    assert_fails(
        open_fake(&c, "head -c 70000000 /dev/zero | tr '\\0' x; sleep 30", 60 * SECOND, &err), &err,
        ANEMO_ERR_ENGINE, "longer than");
}

static void test_failures_later(void **state)
{
    (void)state;
    expect_generate_failure(HELLO LOADED "read line; kill -SEGV $$", ANEMO_ERR_ENGINE, "SIGSEGV");
    expect_generate_failure(HELLO LOADED "read line; echo gone >&2; exit 9", ANEMO_ERR_ENGINE,
                            "exited with status 9; it last said: gone");
    expect_generate_failure(HELLO LOADED "read line\necho '{\"type\":\"tokens\",\"id\":2}'\n" END,
                            ANEMO_ERR_ENGINE, "answered request 2 with 'tokens'");
    expect_generate_failure(
        HELLO LOADED "read line\necho '{\"type\":\"generated\",\"id\":7,\"token_ids\":[]}'\n" END,
        ANEMO_ERR_ENGINE, "of request 7");
    expect_generate_failure(HELLO LOADED "read line\n" GENERATED("[4]", "[1500000000]", "length")
                                END,
                            ANEMO_ERR_ENGINE, "exactly 2");
    expect_generate_failure(HELLO LOADED "read line\n" GENERATED("[4,5]", "[1500000000]", "length")
                                END,
                            ANEMO_ERR_ENGINE, "different number");
    expect_generate_failure(
        HELLO LOADED "read line\n" GENERATED("[4,5]", "[1500000000,1400000000]", "length") END,
        ANEMO_ERR_ENGINE, "backwards");
    expect_generate_failure(HELLO LOADED
                            "read line\n" GENERATED("[4,5]", "[900000000,950000000]", "length") END,
                            ANEMO_ERR_ENGINE, "backwards");
    expect_generate_failure(
        HELLO LOADED "read line\n" GENERATED("[4,-5]", "[1500000000,1500000001]", "length") END,
        ANEMO_ERR_ENGINE, "token id");
    expect_generate_failure(HELLO LOADED
                            "read line\n" GENERATED("[4,5]", "[1500000000,\"x\"]", "length") END,
                            ANEMO_ERR_ENGINE, "time stamp");
    expect_generate_failure(
        HELLO LOADED "read line\n" GENERATED("[4,5]", "[1500000000,1500000001]", "bored") END,
        ANEMO_ERR_ENGINE, "stop_reason");
}

#define HELLO_STEP HELLO_WITH("monotonic", "\"capabilities\":{\"step\":true,\"cancel\":true}")
#define STEPPED(fields) "read line; echo '{\"type\":\"stepped\",\"id\":2," fields "}'\n"

static anemo_status step_fake(const char *script, an_step_result *r, anemo_error *err)
{
    an_client *c;
    const an_step_request q = {.n_prompt = 4, .n_gen = 2};
    assert_ok(open_fake(&c, script, 20 * SECOND, err), err);
    assert_ok(load_fake(c, err), err);
    anemo_status status = an_client_step(c, &q, r, err);
    an_client_close(c);
    return status;
}

static void test_steps(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_step_result r = {0};
    assert_ok(step_fake(HELLO_STEP LOADED STEPPED("\"t_start_ns\":1000000000,\"t_prompt_ns\":1500000000,\"t_steps_ns\":"
                                                  "[1750000000,2000000000],\"t_end_ns\":2000000000,\"stop_reason\":\"length\"") END,
                        &r, &err),
              &err);
    assert_true(r.prompt_s == 0.5 && r.total_s == 1 && r.n == 2 && r.t_s[0] == 0.75 && r.t_s[1] == 1);
    an_step_result_free(&r);
    /* A driver need not tell its single steps. */
    assert_ok(step_fake(HELLO_STEP LOADED STEPPED("\"t_start_ns\":1000000000,\"t_prompt_ns\":1500000000,\"t_end_ns\":2000000000,"
                                                  "\"stop_reason\":\"length\"") END,
                        &r, &err),
              &err);
    assert_true(r.total_s == 1 && r.n == 0);
    an_step_result_free(&r);
    assert_fails(step_fake(HELLO LOADED END, &r, &err), &err, ANEMO_ERR_UNSUPPORTED, "no step measurement");
    /* A clock that the driver does not have cannot time its passes. */
    assert_fails(step_fake(HELLO_WITH("parent", "\"capabilities\":{\"step\":true}") LOADED END, &r, &err), &err,
                 ANEMO_ERR_UNSUPPORTED, "no step measurement");
}

static void test_steps_that_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *script, *text;
    } cases[] = {
        {STEPPED("\"stop_reason\":\"length\""), "times of a step measurement"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_end_ns\":3000"), "that nobody cancelled"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_end_ns\":3000,\"stop_reason\":\"cancelled\""),
         "that nobody cancelled"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":1000,\"t_end_ns\":1000,\"stop_reason\":\"length\""), "cannot be"},
        {STEPPED("\"t_start_ns\":5000,\"t_prompt_ns\":4000,\"t_end_ns\":6000,\"stop_reason\":\"length\""), "cannot be"},
        {STEPPED("\"t_start_ns\":5000,\"t_prompt_ns\":7000,\"t_end_ns\":6000,\"stop_reason\":\"length\""), "cannot be"},
        {STEPPED("\"t_start_ns\":1.5,\"t_prompt_ns\":7000,\"t_end_ns\":8000,\"stop_reason\":\"length\""), "cannot be"},
        {STEPPED("\"t_start_ns\":\"x\",\"t_prompt_ns\":[],\"t_end_ns\":{},\"stop_reason\":\"length\""), "cannot be"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_steps_ns\":[2500],\"t_end_ns\":3000,\"stop_reason\":\"length\""),
         "another number of steps"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_steps_ns\":[2500,2400],\"t_end_ns\":3000,"
                 "\"stop_reason\":\"length\""),
         "run backwards"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_steps_ns\":[2500,3500],\"t_end_ns\":3000,"
                 "\"stop_reason\":\"length\""),
         "run backwards"},
        {STEPPED("\"t_start_ns\":1000,\"t_prompt_ns\":2000,\"t_steps_ns\":[1500,\"x\"],\"t_end_ns\":3000,"
                 "\"stop_reason\":\"length\""),
         "run backwards"},
        {"read line; echo '{\"type\":\"tokens\",\"id\":2}'\n", "answered request 2 with 'tokens'"},
        {"read line; echo '{\"type\":\"stepped\",\"id\":9}'\n", "answered request 2 with 'stepped' of request 9"},
        {"read line; kill -SEGV $$\n", "SIGSEGV"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        anemo_error err = {0};
        an_step_result r = {0};
        an_str script = {0};
        an_str_appendf(&script, "%s%s%s", HELLO_STEP LOADED, cases[i].script, END);
        assert_fails(step_fake(an_str_text(&script), &r, &err), &err, ANEMO_ERR_ENGINE, cases[i].text);
        an_str_free(&script);
    }
}

static void test_silence_is_a_hang(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    assert_ok(open_fake(&c, HELLO LOADED "read line; sleep 60", 3 * SECOND, &err), &err);
    assert_ok(load_fake(c, &err), &err);
    uint64_t begin = an_clock_ns();
    int64_t pid = an_client_pid(c);
    assert_fails(generate_fake(c, &g, &err), &err, ANEMO_ERR_TIMEOUT, "no answer for 3 s");
    assert_true(an_clock_ns() - begin < 20 * SECOND);
    assert_int_equal(kill((pid_t)pid, 0), -1); /* it was killed and reaped */
    assert_fails(generate_fake(c, &g, &err), &err, ANEMO_ERR_TIMEOUT, "earlier");
    an_client_close(c);
}

static void test_heartbeats_keep_it_alive(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    assert_ok(open_fake(&c,
                        HELLO LOADED "read line; for i in 1 2 3 4 5 6 7 8; do sleep 0.5; echo "
                                     "'{\"type\":\"heartbeat\",\"id\":2}'; done\n"
                                     "echo '{\"type\":\"x-new\",\"id\":2}'\n" GENERATED(
                                         "[4,5]", "[1500000000,1750000000]", "length") END,
                        2 * SECOND + SECOND / 2, &err),
              &err);
    assert_ok(load_fake(c, &err), &err);
    assert_ok(generate_fake(c, &g, &err), &err);
    assert_non_null(strstr(an_client_stderr_tail(c), "x-new"));
    an_generation_free(&g);
    an_client_close(c);
}

static void test_an_error_leaves_it_alive(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    assert_ok(open_fake(&c,
                        HELLO
                        "read line; echo "
                        "'{\"type\":\"error\",\"id\":1,\"status\":\"nomem\",\"message\":\"needs 9 "
                        "GB\"}'\nread line; echo '{\"type\":\"error\",\"id\":2,\"status\":\"odd\","
                        "\"message\":\"x\"}'\n" END,
                        20 * SECOND, &err),
              &err);
    assert_fails(load_fake(c, &err), &err, ANEMO_ERR_NOMEM, "needs 9 GB");
    assert_fails(load_fake(c, &err), &err, ANEMO_ERR_ENGINE, "x");
    an_client_close(c);
}

static void test_the_parents_clock(void **state)
{
    (void)state;
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    assert_ok(open_fake(&c,
                        HELLO_PARENT LOADED
                        "read line; sleep 0.3; echo '{\"type\":\"start\",\"id\":2}'; sleep 0.2\n"
                        "echo '{\"type\":\"token\",\"id\":2,\"token\":4}'; sleep 0.2\n"
                        "echo '{\"type\":\"token\",\"id\":2,\"token\":5}'\n"
                        "echo "
                        "'{\"type\":\"generated\",\"id\":2,\"token_ids\":[4,5],\"stop_reason\":"
                        "\"length\"}'\n" END,
                        20 * SECOND, &err),
              &err);
    assert_ok(load_fake(c, &err), &err);
    assert_ok(generate_fake(c, &g, &err), &err);
    assert_int_equal(g.n, 2);
    assert_true(g.t_s[0] > 0.1 && g.t_s[1] - g.t_s[0] > 0.1);
    an_generation_free(&g);
    an_client_close(c);
}

/* A worker that fills stderr before it reads, and a request larger than a pipe: neither side may
 * wait for the other. */
static void test_full_pipes(void **state)
{
    (void)state;
    enum { N = 200000 };
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    int32_t *prompt = calloc(N, sizeof *prompt);
    const an_generate_request r = {
        .prompt_ids = prompt, .n_prompt = N, .n_predict = 2, .fixed_length = true};
    assert_ok(
        open_fake(&c,
                  HELLO LOADED
                  "head -c 3000000 /dev/zero | tr '\\0' e >&2; echo last words >&2; read -r line\n"
                  "[ ${#line} -gt 400000 ] || exit 5\n" GENERATED(
                      "[4,5]", "[1500000000,1750000000]", "length") END,
                  60 * SECOND, &err),
        &err);
    assert_ok(load_fake(c, &err), &err);
    assert_ok(an_client_generate(c, &r, &g, &err), &err);
    const char *tail = an_client_stderr_tail(c);
    assert_true(strlen(tail) <= 4096 && an_str_ends_with(tail, "last words\n"));
    an_generation_free(&g);
    free(prompt);
    an_client_close(c);
}

static int stop_at_once(void *ctx, int32_t id, const char *text)
{
    (void)text;
    *(int32_t *)ctx = id;
    return 1;
}

static void test_cancel(void **state)
{
    (void)state;
    static const int32_t prompt[] = {1};
    an_client *c;
    anemo_error err = {0};
    an_generation g = {0};
    int32_t seen = -1;
    const an_generate_request r = {.prompt_ids = prompt,
                                   .n_prompt = 1,
                                   .n_predict = 9,
                                   .fixed_length = true,
                                   .on_token = stop_at_once,
                                   .on_token_ctx = &seen};
    assert_ok(
        open_fake(
            &c,
            HELLO LOADED
            "read line; echo '{\"type\":\"token\",\"id\":2,\"token\":4,\"t_ns\":1500000000}'\n"
            "read line; case $line in *cancel*2*) ;; *) exit 4 ;; esac\n" GENERATED(
                "[4]", "[1500000000]", "cancelled") END,
            20 * SECOND, &err),
        &err);
    assert_ok(load_fake(c, &err), &err);
    assert_ok(an_client_generate(c, &r, &g, &err), &err);
    assert_int_equal(seen, 4);
    assert_string_equal(g.stop_reason, "cancelled");
    an_generation_free(&g);
    an_client_close(c);
    /* A driver that cannot be asked is ended. */
    assert_ok(
        open_fake(
            &c,
            HELLO_WITH("monotonic", "\"capabilities\":{\"stream\":true}") LOADED
            "read line; echo '{\"type\":\"token\",\"id\":2,\"token\":4,\"t_ns\":1}'; sleep 30\n",
            20 * SECOND, &err),
        &err);
    assert_ok(load_fake(c, &err), &err);
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_INTERRUPTED,
                 "cannot be asked");
    an_client_close(c);
}

static void test_one_falls_the_other_stands(void **state)
{
    (void)state;
    an_client *bad, *good;
    anemo_error err = {0};
    an_generation g = {0};
    an_str reason = {0};
    assert_ok(open_fake(&good,
                        HELLO LOADED
                        "read line\n" GENERATED("[4,5]", "[1500000000,1750000000]", "length") END,
                        20 * SECOND, &err),
              &err);
    assert_ok(open_fake(&bad, HELLO LOADED "read line; echo one >&2; echo two >&2; kill -KILL $$",
                        20 * SECOND, &err),
              &err);
    assert_ok(load_fake(good, &err), &err);
    assert_ok(load_fake(bad, &err), &err);
    assert_int_equal(generate_fake(bad, &g, &err), ANEMO_ERR_ENGINE);
    an_client_describe_failure(bad, &err, &reason);
    assert_non_null(strstr(reason.data, "SIGKILL"));
    assert_non_null(strstr(reason.data, "one\ntwo"));
    an_str_free(&reason);
    an_client_close(bad);
    an_client_pause(good);
    an_client_continue(good);
    assert_ok(generate_fake(good, &g, &err), &err);
    an_generation_free(&g);
    an_client_close(good);
}

static void test_what_a_driver_lacks(void **state)
{
    (void)state;
    static const int32_t ids[] = {1};
    an_client *c;
    anemo_error err = {0};
    int32_t *list;
    float *logits;
    size_t n;
    int n_vocab;
    assert_ok(open_fake(&c, HELLO_WITH("realtime", "\"capabilities\":{}") END, 20 * SECOND, &err),
              &err);
    assert_fails(an_client_tokenize(c, "x", false, &list, &n, &err), &err, ANEMO_ERR_UNSUPPORTED,
                 "tokenizer");
    assert_fails(an_client_logits(c, ids, 1, &logits, &n_vocab, &err), &err, ANEMO_ERR_UNSUPPORTED,
                 "logits");
    an_client_close(c);
}

static void test_registry(void **state)
{
    (void)state;
    anemo_error err = {0};
    char **argv;
    assert_null(an_engine_find("foo"));
    assert_int_equal(an_engine_n(), 6);
    assert_true(an_engine_reads(an_engine_find("native"), AN_CONTAINER_MLX));
    assert_false(an_engine_reads(an_engine_find("llama.cpp"), AN_CONTAINER_MLX));
    assert_fails(an_engine_command(an_engine_find("http"), NULL, &argv, &err), &err,
                 ANEMO_ERR_INVAL, "--url");
    assert_ok(an_engine_command(an_engine_find("http"), "http://h", &argv, &err), &err);
    assert_string_equal(argv[4], "http://h");
    an_argv_free(argv);
    setenv("ANEMO_ENGINES", "/nonexistent", 1);
    assert_fails(an_engine_command(an_engine_find("mlx-lm"), NULL, &argv, &err), &err,
                 ANEMO_ERR_NOTFOUND, "quickstart");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_good_worker),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test(test_failures_at_hello),
        cmocka_unit_test(test_a_line_without_end),
        cmocka_unit_test(test_failures_later),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_steps_that_cannot_be),
        cmocka_unit_test(test_silence_is_a_hang),
        cmocka_unit_test(test_heartbeats_keep_it_alive),
        cmocka_unit_test(test_an_error_leaves_it_alive),
        cmocka_unit_test(test_the_parents_clock),
        cmocka_unit_test(test_full_pipes),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_one_falls_the_other_stands),
        cmocka_unit_test(test_what_a_driver_lacks),
        cmocka_unit_test(test_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
