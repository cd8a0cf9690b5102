/* libanemo as a program outside sees it: only the public headers for what is tested. */
#include "support/test.h"

#include "support/gguf_build.h"

#include <anemo/anemo.h>

#include <stdlib.h>
#include <unistd.h>

static char path[64];
static anemo_error err;

static void test_generate(void **state)
{
    (void)state;
    anemo_model *model;
    anemo_session *session;
    anemo_session_plan plan;
    anemo_model_info info;
    int32_t ids[16], bos;
    size_t n, n_bytes;
    char text[32];

    assert_ok(anemo_model_open(&model, path, &err), &err);
    anemo_model_get_info(model, &info);
    assert_string_equal(info.arch, "llama");
    assert_string_equal(info.container, "gguf");
    assert_string_equal(info.quantization, "Q4_1");
    assert_int_equal(info.n_vocab, 32);

    assert_ok(anemo_bos(model, &bos, &err), &err);
    assert_int_equal(bos, 1);
    assert_ok(anemo_tokenize(model, "the cab", 7, 0, ids, 16, &n, &err), &err);
    assert_in_range(n, 2, 7);
    assert_ok(anemo_detokenize(model, ids, n, text, sizeof text, &n_bytes, &err), &err);
    assert_string_equal(text, "the cab");
    assert_int_equal(n_bytes, 7);
    /* A short buffer is filled and the need is told. */
    assert_ok(anemo_detokenize(model, ids, n, text, 4, &n_bytes, &err), &err);
    assert_string_equal(text, "the");
    assert_int_equal(n_bytes, 7);
    assert_ok(anemo_tokenize(model, "the cab", 7, 0, NULL, 0, &n_bytes, &err), &err);
    assert_int_equal(n_bytes, n);

    assert_ok(anemo_session_plan_memory(model, NULL, &plan, &err), &err);
    assert_in_range(plan.kv_bytes, 1, plan.total_bytes);
    assert_ok(anemo_session_open(&session, model, NULL, &err), &err);
    assert_int_equal(anemo_model_close(model), ANEMO_ERR_BUSY);
    assert_ok(anemo_session_eval(session, ids, (int)n, &err), &err);
    assert_int_equal(anemo_session_n_past(session), n);
    const float *logits = anemo_session_logits(session);
    int best = 0;
    for (int i = 1; i < info.n_vocab; i++)
        if (logits[i] > logits[best]) best = i;
    assert_int_equal(anemo_session_sample(session), best);
    anemo_sampling sampling = {.temperature = 1, .top_k = 1, .seed = 3};
    anemo_session_set_sampling(session, &sampling);
    assert_int_equal(anemo_session_sample(session), best);
    anemo_session_reset(session);
    assert_int_equal(anemo_session_n_past(session), 0);
    anemo_session_close(session);
    assert_true(anemo_is_end(model, 2));
    assert_false(anemo_is_end(model, 3));
    assert_int_equal(anemo_model_close(model), ANEMO_OK);
}

/* With drafts the same ids, logits and positions as without, however the calls are mixed. */
static void test_draft(void **state)
{
    (void)state;
    anemo_model *model, *same;
    anemo_session *plain, *drafting;
    const int32_t prompt[] = {4, 9, 4, 9, 4};
    const anemo_sampling sampling = {.temperature = 0.4, .seed = 8};
    assert_ok(anemo_model_open(&model, path, &err), &err);
    assert_ok(anemo_model_open(&same, path, &err), &err);
    assert_ok(anemo_session_open(&plain, model, NULL, &err), &err);
    assert_ok(anemo_session_open(&drafting, model, NULL, &err), &err);
    const anemo_draft_options ways[] = {{.n_draft = 4}, {.model = same}, {.n_draft = 0}};
    for (int w = 0; w < 4; w++) {
        int32_t a, b;
        assert_ok(anemo_session_set_draft(drafting, w < 3 ? &ways[w] : NULL, &err), &err);
        anemo_session_set_sampling(plain, w == 1 ? NULL : &sampling);
        anemo_session_set_sampling(drafting, w == 1 ? NULL : &sampling);
        anemo_session_reset(plain);
        anemo_session_reset(drafting);
        assert_ok(anemo_session_eval(plain, prompt, 5, &err), &err);
        assert_ok(anemo_session_eval(drafting, prompt, 5, &err), &err);
        a = anemo_session_sample(plain);
        b = anemo_session_sample(drafting);
        for (int i = 0; i < 80; i++) {
            assert_int_equal(a, b);
            assert_int_equal(anemo_session_n_past(plain), anemo_session_n_past(drafting));
            if (i % 7 == 6) {
                assert_memory_equal(anemo_session_logits(plain), anemo_session_logits(drafting), 32 * sizeof(float));
                assert_int_equal(anemo_session_sample(plain), anemo_session_sample(drafting));
            }
            if (i % 11 == 10) {
                assert_ok(anemo_session_eval(plain, prompt, 2, &err), &err);
                assert_ok(anemo_session_eval(drafting, prompt, 2, &err), &err);
            }
            assert_ok(anemo_session_next(plain, a, &a, &err), &err);
            assert_ok(anemo_session_next(drafting, b, &b, &err), &err);
        }
        assert_int_equal(anemo_model_close(w == 1 ? same : model), ANEMO_ERR_BUSY);
    }
    const anemo_draft_options wrong = {.n_draft = 16};
    assert_fails(anemo_session_set_draft(drafting, &wrong, &err), &err, ANEMO_ERR_INVAL, "1 to 15");
    anemo_session_close(plain);
    anemo_session_close(drafting);
    assert_int_equal(anemo_model_close(same), ANEMO_OK);
    assert_int_equal(anemo_model_close(model), ANEMO_OK);
}

static void test_errors(void **state)
{
    (void)state;
    anemo_model *model;
    assert_fails(anemo_model_open(&model, "/nonexistent", &err), &err, ANEMO_ERR_NOTFOUND, "/nonexistent");
    assert_int_equal(anemo_model_close(NULL), ANEMO_OK);
    anemo_session_close(NULL);
    assert_true(strlen(anemo_version()) > 0);
}

static int make_model(void **state)
{
    (void)state;
    strcpy(path, "/tmp/anemo-api-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 3);
    test_buf f = gguf_build_finish(&b);
    test_buf_write(&f, path);
    test_buf_free(&f);
    return 0;
}

static int remove_model(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_generate), cmocka_unit_test(test_draft), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
