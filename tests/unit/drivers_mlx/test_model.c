/* The mlx driver's model where things go wrong or are asked for differently; its arithmetic is
 * tests/parity/mlx. */
#include "base/alloc.h"
#include "drivers/mlx/mlx_model.h"
#include "support/test.h"

#include <math.h>

#define TINY  AN_TEST_DIR "/golden/tiny"
#define MODEL TINY "/mlx/w4-g64-f16"

static anemo_error err;

static an_mlx_options options(void)
{
    return (an_mlx_options){.n_ctx = 32, .n_batch = 8, .compute_dtype = "f32"};
}

static void assert_no_handle_left(void)
{
    assert_int_equal(an_mlx_live_handles(), 0);
}

static void test_refused(void **state)
{
    (void)state;
    an_mlx_model *m = NULL;
    an_mlx_options o = options();
    assert_fails(an_mlx_model_open(&m, "/nonexistent", &o, &err), &err, ANEMO_ERR_NOTFOUND,
                 "/nonexistent");
    assert_fails(an_mlx_model_open(&m, TINY "/types/type-q4_0.gguf", &o, &err), &err,
                 ANEMO_ERR_UNSUPPORTED, "anemo convert");
    assert_fails(an_mlx_model_open(&m, TINY, &o, &err), &err, ANEMO_ERR_FORMAT, "config.json");
    o.compute_dtype = "q8";
    assert_fails(an_mlx_model_open(&m, MODEL, &o, &err), &err, ANEMO_ERR_UNSUPPORTED, "q8");
    o = options();
    o.n_ctx = 0;
    assert_fails(an_mlx_model_open(&m, MODEL, &o, &err), &err, ANEMO_ERR_INVAL, "n_ctx");
    assert_null(m);
    an_mlx_model_close(NULL);
    assert_no_handle_left();
}

static void test_bad_ids(void **state)
{
    (void)state;
    an_mlx_model *m = NULL;
    an_mlx_options o = options();
    int32_t next, ids[40] = {0};
    assert_ok(an_mlx_model_open(&m, MODEL, &o, &err), &err);
    int n_vocab = an_mlx_model_info(m)->n_vocab;
    assert_fails(an_mlx_model_next(m, ids, 0, &next, &err), &err, ANEMO_ERR_INVAL, "no ids");
    assert_fails(an_mlx_model_next(m, (int32_t[]){1, n_vocab}, 2, &next, &err), &err,
                 ANEMO_ERR_INVAL, "at 1");
    assert_fails(an_mlx_model_next(m, (int32_t[]){-1}, 1, &next, &err), &err, ANEMO_ERR_INVAL,
                 "-1");
    assert_fails(an_mlx_model_next(m, ids, 33, &next, &err), &err, ANEMO_ERR_INVAL, "n_ctx");
    assert_ok(an_mlx_model_next(m, ids, 32, &next, &err), &err);
    assert_int_equal(an_mlx_model_n_past(m), 32);
    assert_fails(an_mlx_model_next(m, ids, 1, &next, &err), &err, ANEMO_ERR_INVAL, "32 positions");
    /* A refused call leaves an empty sequence, and the model works on. */
    assert_int_equal(an_mlx_model_n_past(m), 0);
    assert_ok(an_mlx_model_next(m, ids, 3, &next, &err), &err);
    an_mlx_model_close(m);
    assert_no_handle_left();
}

/* The half types round; the result stays near and says what it was computed in. */
static void test_compute_types(void **state)
{
    (void)state;
    static const char *const names[] = {"f32", "f16", "bf16"};
    static const double tolerance[] = {0, 0.01, 0.08};
    const int32_t ids[] = {3, 1, 4, 1, 5, 9, 2, 6};
    float *want = NULL;
    size_t n = 0;
    for (size_t t = 0; t < AN_COUNT_OF(names); t++) {
        an_mlx_model *m = NULL;
        an_mlx_options o = options();
        o.compute_dtype = names[t];
        assert_ok(an_mlx_model_open(&m, MODEL, &o, &err), &err);
        assert_string_equal(an_mlx_dtype_name(an_mlx_model_info(m)->compute), names[t]);
        n = (size_t)an_mlx_model_info(m)->n_vocab;
        float *logits = an_calloc(n, sizeof *logits);
        assert_non_null(logits);
        assert_ok(an_mlx_model_logits(m, ids, AN_COUNT_OF(ids), false, logits, &err), &err);
        an_mlx_model_close(m);
        if (t == 0) {
            want = logits;
            continue;
        }
        double difference = 0, largest = 0;
        for (size_t i = 0; i < n; i++) {
            difference = fmax(difference, fabs((double)logits[i] - (double)want[i]));
            largest = fmax(largest, fabs((double)want[i]));
        }
        if (!(difference > 0 && difference <= tolerance[t] * largest))
            fail_msg("%s: difference %g, largest logit %g", names[t], difference, largest);
        an_free(logits);
    }
    an_free(want);
    assert_no_handle_left();
}

/* On an x86 CPU half precision is emulated: auto takes f32 whatever the files hold. */
static void test_auto_type(void **state)
{
    (void)state;
    an_mlx_model *m = NULL;
    an_mlx_options o = options();
    o.compute_dtype = "auto";
    assert_ok(an_mlx_model_open(&m, MODEL, &o, &err), &err);
#if defined(__x86_64__)
    assert_int_equal(an_mlx_model_info(m)->compute, AN_MLX_F32);
#endif
    assert_string_equal(an_mlx_model_info(m)->quantization, "4-bit affine g64");
    an_mlx_model_close(m);
    assert_no_handle_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_ids),
        cmocka_unit_test(test_compute_types),
        cmocka_unit_test(test_auto_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
