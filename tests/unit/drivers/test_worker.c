/* The worker's loop around a toy engine: this program re-executes itself as the worker. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "drivers/worker.h"
#include "os/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_VOCAB = 50 };

/* The toy engine: the next id is the last one plus one. Model "bad" does not load; it prints to
 * stdout on purpose. */
static anemo_status toy_load(void *ctx, const char *model, const an_worker_settings *s,
                             an_worker_loaded *out, anemo_error *err)
{
    (void)ctx;
    printf("a library that talks to stdout\n");
    fflush(stdout);
    if (!strcmp(model, "bad")) return an_fail(err, ANEMO_ERR_NOMEM, "%s: too large", model);
    out->n_vocab = N_VOCAB;
    out->effective = *s;
    out->effective.n_ctx = 128;
    out->effective.n_batch = 16;
    out->bos_known = true;
    out->bos = 7;
    snprintf(out->description, sizeof out->description, "toy 1B");
    out->n_param = 5;
    snprintf(out->format, sizeof out->format, "gguf");
    return ANEMO_OK;
}

static anemo_status toy_step(void *ctx, int32_t id, int32_t *next, anemo_error *err)
{
    (void)ctx;
    (void)err;
    if (id >= 20 && id < 40) usleep(50000); /* slow enough for a cancel */
    *next = (id + 1) % N_VOCAB;
    return ANEMO_OK;
}

static anemo_status toy_prefill(void *ctx, const int32_t *ids, size_t n,
                                const an_worker_sampling *s, int32_t *next, anemo_error *err)
{
    (void)s;
    if (ids[n - 1] == 45) return an_fail(err, ANEMO_ERR_ENGINE, "the toy broke at 45");
    return toy_step(ctx, ids[n - 1], next, err);
}

static anemo_status toy_logits(void *ctx, const int32_t *ids, size_t n, float *out, int n_vocab,
                               anemo_error *err)
{
    (void)ctx;
    (void)err;
    for (size_t t = 0; t < n; t++)
        for (int i = 0; i < n_vocab; i++)
            out[t * (size_t)n_vocab + (size_t)i] = (float)(ids[t] * 100 + i);
    return ANEMO_OK;
}

/* The toy's sequence has a length; passes note what they were given on stderr. */
static int toy_past;

static anemo_status toy_forward(void *ctx, const int32_t *ids, size_t n, bool more, anemo_error *err)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= N_VOCAB) return an_fail(err, ANEMO_ERR_INTERNAL, "id %d", (int)ids[i]);
    if (toy_past == 100) return an_fail(err, ANEMO_ERR_ENGINE, "the toy broke at position 100");
    if (n == 1 && toy_past >= 60 && toy_past < 90) usleep(50000);
    fprintf(stderr, "pass %zu at %d%s%s\n", n, toy_past, more ? " more" : "", ids[0] == 7 && toy_past == 0 ? " bos" : "");
    toy_past += (int)n;
    return ANEMO_OK;
}

static anemo_status toy_rewind(void *ctx, int n, anemo_error *err)
{
    (void)ctx;
    if (n == 33) return an_fail(err, ANEMO_ERR_UNSUPPORTED, "the toy does not stop at 33");
    if (n > toy_past) return an_fail(err, ANEMO_ERR_INTERNAL, "rewind to %d of %d", n, toy_past);
    fprintf(stderr, "rewind %d\n", n);
    toy_past = n;
    return ANEMO_OK;
}

static void toy_drafts(void *ctx, an_worker_drafts *out)
{
    (void)ctx;
    *out = (an_worker_drafts){.n_pass = 2, .n_drafted = 6, .n_accepted = 3};
}

static int serve(bool drafts)
{
    static const char *const formats[] = {"gguf", NULL};
    static const char *const kv_types[] = {"f16", NULL};
    const an_worker_engine e = {.driver = "toy",
                                .driver_version = "1",
                                .engine = "toy",
                                .engine_version = "1",
                                .formats = formats,
                                .kv_types = kv_types,
                                .load = toy_load,
                                .prefill = toy_prefill,
                                .step = toy_step,
                                .drafts = drafts ? toy_drafts : NULL,
                                .forward = toy_forward,
                                .rewind = toy_rewind,
                                .logits = toy_logits};
    return an_worker_main(&e);
}

static an_client *open_toy_as(const char *kind)
{
    an_client *c = NULL;
    anemo_error err = {0};
    char *self = an_path_self();
    const char *const argv[] = {self, kind, NULL};
    const an_client_options o = {.timeout_ns = 60000000000u};
    assert_ok(an_client_open(&c, argv, &o, &err), &err);
    an_free(self);
    return c;
}

static an_client *open_toy(void)
{
    return open_toy_as("serve");
}

static void load_toy(an_client *c)
{
    anemo_error err = {0};
    an_settings s = an_settings_default();
    an_load_result r = {0};
    assert_ok(an_client_load(c, "m", &s, &r, &err), &err);
    assert_int_equal(r.n_vocab, N_VOCAB);
    assert_true(json_is_null(json_object_get(r.effective, "threads")));
    an_load_result_free(&r);
}

static void test_load(void **state)
{
    (void)state;
    an_client *c = open_toy();
    anemo_error err = {0};
    an_settings s = an_settings_default();
    an_load_result r = {0};
    assert_fails(an_client_load(c, "bad", &s, &r, &err), &err, ANEMO_ERR_NOMEM, "too large");
    s.kv_type = "q3";
    assert_fails(an_client_load(c, "m", &s, &r, &err), &err, ANEMO_ERR_INVAL,
                 "expected one of: f16");
    s = an_settings_default();
    s.threads = 0;
    assert_fails(an_client_load(c, "m", &s, &r, &err), &err, ANEMO_ERR_INVAL, "threads");
    load_toy(c);
    s = an_settings_default();
    assert_fails(an_client_load(c, "m", &s, &r, &err), &err, ANEMO_ERR_INVAL,
                 "holds a model already");
    assert_non_null(strstr(an_client_stderr_tail(c), "talks to stdout"));
    an_client_close(c);
}

static void test_generate(void **state)
{
    (void)state;
    static const int32_t prompt[] = {7, 3}, stops[] = {6}, outside[] = {N_VOCAB};
    an_client *c = open_toy();
    anemo_error err = {0};
    an_generation g = {0};
    an_generate_request r = {
        .prompt_ids = prompt, .n_prompt = 2, .n_predict = 5, .fixed_length = true};
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_INVAL, "no model");
    load_toy(c);
    assert_ok(an_client_generate(c, &r, &g, &err), &err);
    assert_int_equal(g.n, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(g.ids[i], 4 + i);
    an_generation_free(&g);
    r.fixed_length = false;
    r.stop_ids = stops;
    r.n_stop = 1;
    assert_ok(an_client_generate(c, &r, &g, &err), &err);
    assert_int_equal(g.n, 3);
    assert_string_equal(g.stop_reason, "eos");
    an_generation_free(&g);
    r.n_predict = 200;
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_INVAL, "the context has 128");
    r.n_predict = 5;
    r.temperature = 1;
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_UNSUPPORTED, "greedily");
    r.temperature = 0;
    r.prompt_ids = outside;
    r.n_prompt = 1;
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_INVAL, "\"prompt_ids\"[0]");
    r.n_prompt = 0;
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_INVAL, "empty");
    static const int32_t breaks[] = {45};
    r.prompt_ids = breaks;
    r.n_prompt = 1;
    assert_fails(an_client_generate(c, &r, &g, &err), &err, ANEMO_ERR_ENGINE, "broke at 45");
    an_client_close(c);
}

/* The setting reaches an engine that drafts, what came of it comes back; another engine is not even asked. */
static void test_drafts(void **state)
{
    (void)state;
    static const int32_t prompt[] = {7, 3};
    anemo_error err = {0};
    an_generation g = {0};
    an_load_result loaded = {0};
    an_settings s = an_settings_default();
    const an_generate_request r = {.prompt_ids = prompt, .n_prompt = 2, .n_predict = 5, .fixed_length = true};
    for (int drafts = 0; drafts < 2; drafts++) {
        s.draft = drafts ? "ngram" : NULL;
        s.draft_n = drafts ? 4 : 0;
        an_client *c = open_toy_as("serve-drafts");
        assert_true(an_client_hello(c)->draft);
        assert_ok(an_client_load(c, "m", &s, &loaded, &err), &err);
        const char *taken = json_string_value(json_object_get(loaded.effective, "draft"));
        assert_string_equal(taken ? taken : "none", drafts ? "ngram" : "none");
        assert_int_equal(json_integer_value(json_object_get(loaded.effective, "draft_n")), drafts ? 4 : 0);
        an_load_result_free(&loaded);
        assert_ok(an_client_generate(c, &r, &g, &err), &err);
        assert_int_equal(g.n_pass, drafts ? 2 : 0);
        assert_int_equal(g.n_drafted, drafts ? 6 : 0);
        assert_int_equal(g.n_accepted, drafts ? 3 : 0);
        an_generation_free(&g);
        an_client_close(c);
    }
    an_client *c = open_toy();
    assert_false(an_client_hello(c)->draft);
    assert_fails(an_client_load(c, "m", &s, &loaded, &err), &err, ANEMO_ERR_UNSUPPORTED, "no speculative decoding");
    an_client_close(c);
}

/* What a step measurement makes of the engine, pass by pass. */
static void expect_passes(an_client *c, int n_prompt, int n_gen, int n_depth, const char *want)
{
    anemo_error err = {0};
    an_step_result r = {0};
    const an_step_request q = {.n_prompt = n_prompt, .n_gen = n_gen, .n_depth = n_depth, .seed = 3};
    size_t before = strlen(an_client_stderr_tail(c));
    assert_ok(an_client_step(c, &q, &r, &err), &err);
    assert_int_equal(r.n, n_gen);
    assert_true(r.total_s > 0 && (n_prompt ? r.prompt_s > 0 : r.prompt_s == 0) && r.prompt_s <= r.total_s);
    if (n_gen > 0) assert_true(r.t_s[n_gen - 1] <= r.total_s && r.t_s[0] >= r.prompt_s);
    an_step_result_free(&r);
    an_str all = {0};
    an_client_describe_failure(c, NULL, &all); /* reads what stderr has */
    an_str_free(&all);
    assert_string_equal(an_client_stderr_tail(c) + before, want);
}

static void test_step(void **state)
{
    (void)state;
    an_client *c = open_toy();
    anemo_error err = {0};
    an_step_result r = {0};
    an_step_request q = {.n_prompt = 4};
    assert_true(an_client_hello(c)->step);
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_INVAL, "no model");
    load_toy(c);
    assert_string_equal(an_client_loaded(c)->description, "toy 1B");
    assert_int_equal(an_client_loaded(c)->n_param, 5);
    expect_passes(c, 20, 0, 0, "rewind 0\npass 16 at 0 more bos\npass 4 at 16\n");
    expect_passes(c, 0, 2, 0, "rewind 0\npass 1 at 0 bos\npass 1 at 1\n");
    expect_passes(c, 3, 1, 18, "rewind 0\npass 16 at 0 more bos\npass 2 at 16\npass 3 at 18\npass 1 at 21\n");
    expect_passes(c, 0, 1, 18, "rewind 18\npass 1 at 18\n");
    expect_passes(c, 1, 0, 9, "rewind 9\npass 1 at 9\n");
    expect_passes(c, 1, 0, 18, "rewind 0\npass 16 at 0 more bos\npass 2 at 16\npass 1 at 18\n");
    /* What cannot be cut to is filled anew. */
    expect_passes(c, 1, 0, 33, "rewind 0\npass 16 at 0 more bos\npass 16 at 16 more\npass 1 at 32\npass 1 at 33\n");
    expect_passes(c, 1, 0, 33, "rewind 0\npass 16 at 0 more bos\npass 16 at 16 more\npass 1 at 32\npass 1 at 33\n");
    q = (an_step_request){.n_prompt = 100, .n_gen = 20, .n_depth = 9};
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_INVAL, "need 129 positions, the context has 128");
    q = (an_step_request){.n_depth = 9};
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_INVAL, "nothing to time");
    q = (an_step_request){.n_prompt = -1, .n_gen = 4};
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_INVAL, "n_prompt");
    q = (an_step_request){.n_gen = 5, .n_depth = 99};
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_ENGINE, "broke at position 100");
    /* After a failure, and after a generate, no depth is left to be kept. */
    q = (an_step_request){.n_gen = 1, .n_depth = 2};
    assert_ok(an_client_step(c, &q, &r, &err), &err);
    an_step_result_free(&r);
    an_client_close(c);
}

static void test_step_cancel(void **state)
{
    (void)state;
    static const int now = 1;
    an_client *c = open_toy();
    anemo_error err = {0};
    an_step_result r = {0};
    an_step_request q = {.n_gen = 20, .n_depth = 60, .stop = &now};
    load_toy(c);
    assert_fails(an_client_step(c, &q, &r, &err), &err, ANEMO_ERR_INTERRUPTED, "interrupted");
    q = (an_step_request){.n_gen = 2};
    assert_ok(an_client_step(c, &q, &r, &err), &err);
    an_step_result_free(&r);
    an_client_close(c);
}

static int stop_third(void *ctx, int32_t id, const char *text)
{
    (void)id;
    (void)text;
    return ++*(int *)ctx == 3;
}

static void test_cancel(void **state)
{
    (void)state;
    static const int32_t prompt[] = {20};
    an_client *c = open_toy();
    anemo_error err = {0};
    an_generation g = {0};
    int seen = 0;
    const an_generate_request r = {.prompt_ids = prompt,
                                   .n_prompt = 1,
                                   .n_predict = 19,
                                   .fixed_length = true,
                                   .on_token = stop_third,
                                   .on_token_ctx = &seen};
    load_toy(c);
    assert_ok(an_client_generate(c, &r, &g, &err), &err);
    assert_string_equal(g.stop_reason, "cancelled");
    assert_true(g.n >= 3 && g.n < 19);
    an_generation_free(&g);
    an_client_close(c);
}

static void test_logits(void **state)
{
    (void)state;
    static const int32_t ids[] = {2, 9};
    an_client *c = open_toy();
    anemo_error err = {0};
    float *x;
    int n_vocab;
    load_toy(c);
    assert_ok(an_client_logits(c, ids, 2, &x, &n_vocab, &err), &err);
    assert_int_equal(n_vocab, N_VOCAB);
    assert_true(x[1] == 201 && x[N_VOCAB + 49] == 949);
    an_free(x);
    an_client_close(c);
}

static void test_conforms(void **state)
{
    (void)state;
    char *self = an_path_self();
    const char *const argv[] = {self, "serve", NULL};
    an_str report = {0};
    int n = an_protocol_check(argv, "m", &report);
    if (n != 0) fputs(an_str_text(&report), stderr);
    assert_int_equal(n, 0);
    an_str_free(&report);
    an_free(self);
}

/* A driver that breaks rules must not pass. */
static void test_check_can_fail(void **state)
{
    (void)state;
    static const char *const scripts[] = {
        "exit 0",
        "echo hello; cat >/dev/null",
        "echo "
        "'{\"type\":\"hello\",\"protocol\":\"anemo.driver/"
        "1\",\"driver\":\"x\",\"driver_version\":\"1\",\"engine\":\"x\","
        "\"engine_version\":\"1\",\"formats\":[],\"clock\":{\"kind\":\"parent\"}}'; exit 0",
    };
    for (size_t i = 0; i < AN_COUNT_OF(scripts); i++) {
        const char *const argv[] = {"sh", "-c", scripts[i], NULL};
        an_str report = {0};
        assert_true(an_protocol_check(argv, NULL, &report) > 0);
        an_str_free(&report);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && an_str_starts_with(argv[1], "serve")) return serve(!strcmp(argv[1], "serve-drafts"));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),     cmocka_unit_test(test_generate),
        cmocka_unit_test(test_step),     cmocka_unit_test(test_drafts),
        cmocka_unit_test(test_step_cancel),
        cmocka_unit_test(test_cancel),   cmocka_unit_test(test_logits),
        cmocka_unit_test(test_conforms), cmocka_unit_test(test_check_can_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
