/*
 * Speculative decoding with the real model (SmolLM2-135M-Instruct, as test_model.c finds it; without it the test is skipped): greedy
 * ids and sampled ones are plain decoding's, for look-up, for the model as its own draft and for its first layers as a draft that
 * is mostly wrong. With the argument "long" over more and longer texts.
 */
#include "support/test.h"

#include "base/alloc.h"
#include "engine/spec.h"
#include "token/tokenizer.h"

#include <stdlib.h>

enum { N_OUT_MAX = 400 };

static an_model_file *model, *draft;
static an_tokenizer *tokenizer;
static anemo_error err;
static int n_prompt = 6, n_out = 40;

static const char *const PROMPTS[] = {
    "int main(void)\n{\n    for (int i = 0; i < 10; i++) printf(\"%d\\n\", i);\n",
    "Repeat this list: apple, banana, cherry, date, fig. Apple, banana, cherry, date, fig. Apple, banana,",
    "The capital of France is",
    "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,",
    "Write a story about a dog.",
    "Alice: Hello, Bob.\nBob: Hello, Alice.\nAlice: How are you, Bob?\nBob:",
    "a a a a a a a a a a a a a a a a",
    "Who invented the light bulb?",
    "<html><body><ul><li>one</li><li>two</li><li>three</li>",
    "In a hole in the ground there lived a",
    "SELECT name, age FROM people WHERE age > 30; SELECT name, age FROM people WHERE age > 40; SELECT",
    "E = mc^2 means that",
};

static void plain(const an_session_options *o, const an_ids *prompt, const an_sampling *sampling, int32_t *out)
{
    an_session *s;
    assert_ok(an_session_open_model(&s, model, NULL, o, &err), &err);
    an_session_sampler_set(s, sampling);
    assert_ok(an_session_eval(s, prompt->ids, (int)prompt->n, &err), &err);
    out[0] = an_session_sample(s);
    for (int i = 1; i < n_out; i++) {
        assert_ok(an_session_eval(s, &out[i - 1], 1, &err), &err);
        out[i] = an_session_sample(s);
    }
    an_session_close(s);
}

static an_spec_stats speculative(const an_session_options *o, const an_spec_options *so, const an_ids *prompt,
                                 const an_sampling *sampling, int32_t *out)
{
    an_session *s;
    an_spec *sp;
    assert_ok(an_session_open_model(&s, model, NULL, o, &err), &err);
    assert_ok(an_spec_open(&sp, s, so, &err), &err);
    an_spec_sampler_set(sp, sampling);
    assert_ok(an_spec_eval(sp, prompt->ids, (int)prompt->n, &err), &err);
    out[0] = an_session_sample(s);
    for (int i = 1; i < n_out; i++) assert_ok(an_spec_next(sp, out[i - 1], &out[i], &err), &err);
    an_spec_stats stats = an_spec_stats_get(sp);
    an_spec_close(sp);
    an_session_close(s);
    return stats;
}

static void compare(const an_sampling *sampling, bool with_models)
{
    uint64_t accepted[3] = {0}, drafted[3] = {0};
    for (int i = 0; i < n_prompt; i++) {
        static int32_t expected[N_OUT_MAX], got[N_OUT_MAX];
        an_ids prompt = {0};
        assert_ok(an_tokenizer_encode(tokenizer, PROMPTS[i], strlen(PROMPTS[i]), false, &prompt, &err), &err);
        an_session_options o = {.n_ctx = 64 + n_out, .n_thread = 2, .kv = i % 3 == 2 ? AN_KV_F32 : AN_KV_F16};
        plain(&o, &prompt, sampling, expected);
        for (int d = 0; d < (with_models ? 3 : 1); d++) {
            const an_spec_options so = {.draft = d == 0 ? NULL : d == 1 ? model : draft, .n_draft = d ? 5 : 0, .always = d != 0};
            o.n_thread = 1 + (i + d) % 2;
            an_spec_stats stats = speculative(&o, &so, &prompt, sampling, got);
            for (int k = 0; k < n_out; k++)
                if (got[k] != expected[k]) fail_msg("prompt %d, draft %d: id %d is %d, expected %d", i, d, k, got[k], expected[k]);
            accepted[d] += stats.n_accepted;
            drafted[d] += stats.n_drafted;
        }
        an_ids_free(&prompt);
    }
    for (int d = 0; d < (with_models ? 3 : 1); d++)
        printf("draft %d: %llu of %llu drafted ids kept\n", d, (unsigned long long)accepted[d], (unsigned long long)drafted[d]);
    assert_true(accepted[0] > 0 && accepted[0] < drafted[0]);
    if (!with_models) return;
    assert_int_equal(accepted[1], drafted[1]);
    assert_true(accepted[2] < drafted[2] / 2);
}

static void test_greedy(void **state)
{
    (void)state;
    const an_sampling greedy = an_sampling_greedy();
    compare(&greedy, true);
}

/* With look-up the same seed gives the same ids, all cuts and the penalty in force. */
static void test_sampled(void **state)
{
    (void)state;
    const an_sampling s = {.temperature = 0.6, .top_k = 40, .top_p = 0.95, .min_p = 0.02, .repeat_penalty = 1.05, .repeat_last_n = 32, .seed = 5};
    compare(&s, false);
}

int main(int argc, char **argv)
{
    const char *path = getenv("ANEMO_TEST_MODEL");
    char *found = NULL;
    if (!path && an_model_resolve("smollm2-135m-instruct-q4_1.gguf", &found, &err) == ANEMO_OK) path = found;
    if (!path) {
        printf("skipped: no SmolLM2 in the models folder and ANEMO_TEST_MODEL is not set\n");
        return 77;
    }
    if (argc > 1 && strcmp(argv[1], "long") == 0) {
        n_prompt = (int)AN_COUNT_OF(PROMPTS);
        n_out = N_OUT_MAX;
    }
    if (an_model_file_open(&model, path, &err) != ANEMO_OK || an_model_file_open(&draft, path, &err) != ANEMO_OK ||
        an_tokenizer_open(&tokenizer, path, &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    /* A model of the same vocabulary that knows little: the first layers of this one under its head. */
    int n_layer = draft->hp.n_layer;
    draft->hp.n_layer = 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy), cmocka_unit_test(test_sampled)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    draft->hp.n_layer = n_layer;
    an_tokenizer_close(tokenizer);
    an_model_file_close(draft);
    an_model_file_close(model);
    an_free(found);
    return failed;
}
