/*
 * The mlx driver's model against the reference logits of the tiny models: mlx-lm's for every width
 * and group of MLX's quantization, transformers' for every property of the architecture. All in
 * float32 on the CPU.
 */
#include "arch/model_file.h"
#include "base/alloc.h"
#include "drivers/mlx/mlx_model.h"
#include "parity/tiny_cases.h"
#include "support/test.h"

#include <stdio.h>

static tiny_cases cases;

static bool is_directory(const tiny_case *c)
{
    an_container container;
    anemo_error err;
    assert_ok(an_model_probe(c->model, &container, &err), &err);
    return container == AN_CONTAINER_MLX;
}

static an_mlx_model *open_case(const tiny_case *c, int n_batch)
{
    an_mlx_model *m = NULL;
    anemo_error err;
    an_mlx_options o = {.n_ctx = c->n_tok, .n_batch = n_batch, .compute_dtype = "f32"};
    assert_ok(an_mlx_model_open(&m, c->model, &o, &err), &err);
    assert_int_equal(an_mlx_model_info(m)->n_vocab, c->n_vocab);
    return m;
}

static float *new_logits(const tiny_case *c)
{
    float *logits = an_calloc((size_t)c->n_tok * (size_t)c->n_vocab, sizeof *logits);
    assert_non_null(logits);
    return logits;
}

/* Compare n_row rows and count the case as wrong when they are too far apart. */
static int compare(const tiny_case *c, const char *how, const float *got, const float *want,
                   int n_row)
{
    double error = tiny_error(got, want, (size_t)n_row * (size_t)c->n_vocab);
    if (error <= c->tolerance) return 0;
    fprintf(stderr, "%s, %s: error %g of the largest logit, at most %g\n", c->name, how, error,
            c->tolerance);
    return 1;
}

static int check_prefill(const tiny_case *c, int n_batch, const char *how)
{
    anemo_error err;
    float *logits = new_logits(c);
    an_mlx_model *m = open_case(c, n_batch);
    assert_ok(an_mlx_model_logits(m, c->ids, (size_t)c->n_tok, true, logits, &err), &err);
    assert_int_equal(an_mlx_model_n_past(m), c->n_tok);
    int wrong = compare(c, how, logits, c->logits, c->n_tok);
    an_mlx_model_close(m);
    an_free(logits);
    return wrong;
}

/* One id at a time, twice: the second time after a reset. */
static int check_decode(const tiny_case *c)
{
    anemo_error err;
    float *logits = new_logits(c);
    an_mlx_model *m = open_case(c, 1);
    int wrong = 0;
    for (int round = 0; round < 2; round++) {
        an_mlx_model_reset(m);
        memset(logits, 0, (size_t)c->n_tok * (size_t)c->n_vocab * sizeof *logits);
        for (int i = 0; i < c->n_tok; i++) {
            float *row = logits + (size_t)i * (size_t)c->n_vocab;
            assert_ok(an_mlx_model_logits(m, &c->ids[i], 1, false, row, &err), &err);
        }
        wrong += compare(c, round ? "one by one after a reset" : "one by one", logits,
                         c->decode_logits, c->n_tok);
    }
    an_mlx_model_close(m);
    an_free(logits);
    return wrong;
}

static void test_every_directory(void **state)
{
    (void)state;
    int n_case = 0, wrong = 0;
    for (size_t i = 0; i < cases.n; i++) {
        const tiny_case *c = &cases.cases[i];
        if (!is_directory(c)) continue;
        n_case++;
        wrong += check_prefill(c, 512, "one pass");
        /* 7 divides neither the prompt nor a window, so that passes begin inside both. */
        wrong += check_prefill(c, 7, "passes of 7");
        wrong += check_decode(c);
    }
    printf("%d directories\n", n_case);
    assert_true(n_case > 20);
    assert_int_equal(wrong, 0);
    assert_int_equal(an_mlx_live_handles(), 0);
}

/* Greedy ids are the first largest entries of the logits. */
static void test_greedy(void **state)
{
    (void)state;
    const tiny_case *c = NULL;
    for (size_t i = 0; i < cases.n && !c; i++)
        if (is_directory(&cases.cases[i])) c = &cases.cases[i];
    assert_non_null(c);
    anemo_error err;
    an_mlx_model *m = open_case(c, 512);
    for (int n = 1; n <= c->n_tok; n += 5) {
        const float *row = c->logits + (size_t)(n - 1) * (size_t)c->n_vocab;
        int32_t best = 0, next = -1;
        for (int32_t id = 1; id < c->n_vocab; id++)
            if (row[id] > row[best]) best = id;
        an_mlx_model_reset(m);
        assert_ok(an_mlx_model_next(m, c->ids, (size_t)n, &next, &err), &err);
        assert_int_equal(next, best);
    }
    an_mlx_model_close(m);
    assert_int_equal(an_mlx_live_handles(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_directory),
        cmocka_unit_test(test_greedy),
    };
    anemo_error err;
    if (tiny_cases_open(&cases, AN_TEST_DIR "/golden/tiny", &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tiny_cases_close(&cases);
    return failed;
}
