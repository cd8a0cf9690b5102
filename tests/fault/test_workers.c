/* Real workers that are killed, stopped or starved while they work, beside one that must not
 * notice. */
#include "support/test.h"

#include "base/str.h"
#include "drivers/driver.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define MODEL AN_TEST_DIR "/golden/tiny/arch/llama-three-layers/model.gguf"
#define ANEMO AN_BUILD_DIR "/anemo"
#define LLAMA AN_BUILD_DIR "/anemo-driver-llama"

static const uint64_t SECOND = 1000000000u;

static an_client *open_worker(const char *command, uint64_t timeout_ns)
{
    an_client *c = NULL;
    anemo_error err = {0};
    const char *const argv[] = {"sh", "-c", command, NULL};
    const an_client_options o = {.timeout_ns = timeout_ns};
    assert_ok(an_client_open(&c, argv, &o, &err), &err);
    return c;
}

static anemo_status load(an_client *c, int n_ctx, anemo_error *err)
{
    an_settings s = an_settings_default();
    an_load_result r = {0};
    s.n_ctx = n_ctx;
    s.threads = s.threads_batch = 1;
    anemo_status status = an_client_load(c, MODEL, &s, &r, err);
    an_load_result_free(&r);
    return status;
}

static an_client *open_loaded(const char *command, uint64_t timeout_ns)
{
    anemo_error err = {0};
    an_client *c = open_worker(command, timeout_ns);
    assert_ok(load(c, 8192, &err), &err);
    return c;
}

typedef struct blow {
    an_client *client;
    int signal;
} blow;

static int strike(void *ctx, int32_t id, const char *text)
{
    const blow *b = ctx;
    (void)id;
    (void)text;
    kill((pid_t)an_client_pid(b->client), b->signal);
    return 0;
}

/* Generate more than a pipe holds, so that the worker cannot be done before the blow at its first
 * token. */
static anemo_status generate(an_client *c, int signal_at_first, anemo_error *err)
{
    static const int32_t prompt[] = {5, 6, 7};
    blow b = {c, signal_at_first};
    an_generation g = {0};
    const an_generate_request r = {.prompt_ids = prompt,
                                   .n_prompt = 3,
                                   .n_predict = signal_at_first ? 6000 : 8,
                                   .fixed_length = true,
                                   .on_token = signal_at_first ? strike : NULL,
                                   .on_token_ctx = &b};
    anemo_status status = an_client_generate(c, &r, &g, err);
    an_generation_free(&g);
    return status;
}

static void check_blow(const char *command, int signal, const char *name)
{
    anemo_error err = {0};
    an_str reason = {0};
    an_client *other = open_loaded("exec " ANEMO " worker native", 60 * SECOND);
    an_client *c = open_loaded(command, 60 * SECOND);
    assert_fails(generate(c, signal, &err), &err, ANEMO_ERR_ENGINE, name);
    an_client_describe_failure(c, &err, &reason);
    assert_non_null(strstr(an_str_text(&reason), name));
    assert_int_equal(generate(c, 0, &err), ANEMO_ERR_ENGINE);
    an_client_close(c);
    assert_ok(generate(other, 0, &err), &err);
    an_client_close(other);
    an_str_free(&reason);
}

static void test_native_killed(void **state)
{
    (void)state;
    check_blow("exec " ANEMO " worker native", SIGKILL, "SIGKILL");
    check_blow("exec " ANEMO " worker native", SIGTERM, "SIGTERM");
    /* A sanitizer catches this one and exits with its own status. */
    if (!getenv("ANEMO_SANITIZE") || !*getenv("ANEMO_SANITIZE"))
        check_blow("exec " ANEMO " worker native", SIGSEGV, "SIGSEGV");
}

static void test_llama_killed(void **state)
{
    (void)state;
    if (access(LLAMA, X_OK) != 0) skip();
    check_blow("exec " LLAMA, SIGKILL, "SIGKILL");
    check_blow("exec " LLAMA, SIGABRT, "SIGABRT");
}

static void test_a_stopped_worker_is_a_hang(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_client *c = open_loaded("exec " ANEMO " worker native", 5 * SECOND);
    assert_fails(generate(c, SIGSTOP, &err), &err, ANEMO_ERR_TIMEOUT, "no answer for 5 s");
    an_client_close(c);
}

/* More positions than the address space may hold: a refusal or a crash, in either case with a
 * reason, never a hang. */
static void check_starved(const char *command)
{
    anemo_error err = {0};
    an_client *c = open_worker(command, 60 * SECOND);
    anemo_status status = load(c, 50000000, &err);
    if (status != ANEMO_ERR_NOMEM && status != ANEMO_ERR_ENGINE)
        fail_msg("status %s, message '%s'", anemo_status_name(status), err.message);
    assert_true(strlen(err.message) > 20);
    an_client_close(c);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    if (getenv("ANEMO_SANITIZE") && *getenv("ANEMO_SANITIZE"))
        skip(); /* shadow memory needs the address space */
    check_starved("ulimit -v 400000; exec " ANEMO " worker native");
    if (access(LLAMA, X_OK) == 0) check_starved("ulimit -v 1000000; exec " LLAMA);
}

/* libllama of another version than the driver was built for: a refusal with both versions. */
static void test_another_library(void **state)
{
    (void)state;
    if (access(LLAMA, X_OK) != 0 || access(AN_BUILD_DIR "/libother_llama.so", R_OK) != 0) skip();
    an_client *c;
    anemo_error err = {0};
    const char *const argv[] = {LLAMA, NULL};
    const char *const env[] = {"LD_PRELOAD=" AN_BUILD_DIR "/libother_llama.so", NULL};
    const an_client_options o = {.timeout_ns = 60 * SECOND, .env = env};
    assert_fails(an_client_open(&c, argv, &o, &err), &err, ANEMO_ERR_UNSUPPORTED, "found 9.9.9");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native_killed),
        cmocka_unit_test(test_llama_killed),
        cmocka_unit_test(test_a_stopped_worker_is_a_hang),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_another_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
