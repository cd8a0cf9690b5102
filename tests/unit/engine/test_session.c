/* Sessions: defaults, the choice of the instruction set, what fails and what it says. */
#include "support/test.h"

#include "engine/session.h"
#include "os/cpu.h"
#include "support/gguf_build.h"

#include <stdlib.h>
#include <unistd.h>

static char path[64];
static anemo_error err;

static void test_defaults(void **state)
{
    (void)state;
    an_session *s;
    an_session_options o = {.kv = AN_KV_F16};
    assert_ok(an_session_open(&s, path, &o, &err), &err);
    const an_session_options *took = an_session_effective(s);
    assert_int_equal(took->n_ctx, 128); /* the model's own */
    assert_int_equal(took->n_batch, 128);
    assert_int_equal(took->n_thread, an_cpu_usable());
    assert_int_equal(took->n_thread_prefill, an_cpu_usable());
    assert_string_equal(took->isa, an_kernels_name(an_session_kernels(s)));
    assert_int_equal(took->compute, an_kernels_default_compute(an_session_kernels(s)));
    assert_int_equal(an_session_n_past(s), 0);
    an_session_close(s);
}

static void test_instruction_sets(void **state)
{
    (void)state;
    an_session *s;
    an_session_options o = {.isa = "sse9"};
    assert_fails(an_session_open(&s, path, &o, &err), &err, ANEMO_ERR_INVAL, "avx512vnni");
    setenv("ANEMO_ISA", "nonsense", 1);
    o.isa = NULL;
    assert_fails(an_session_open(&s, path, &o, &err), &err, ANEMO_ERR_INVAL, "nonsense");
    setenv("ANEMO_ISA", "scalar", 1);
    assert_ok(an_session_open(&s, path, &o, &err), &err);
    assert_string_equal(an_session_effective(s)->isa, "scalar");
    assert_int_equal(an_session_effective(s)->compute, AN_COMPUTE_F32);
    an_session_close(s);
    unsetenv("ANEMO_ISA");
    /* One of the two families is foreign to every CPU. */
    o.isa = an_cpu_isa() & AN_ISA_NEON ? "avx2" : "neon";
    assert_fails(an_session_open(&s, path, &o, &err), &err, ANEMO_ERR_INVAL, "lacks");
    o.isa = "scalar";
    o.compute_set = true;
    o.compute = AN_COMPUTE_Q8;
    assert_fails(an_session_open(&s, path, &o, &err), &err, ANEMO_ERR_INVAL, "f32 only");
}

static void test_errors(void **state)
{
    (void)state;
    an_session *s;
    an_session_options o = {.n_thread = -1};
    assert_fails(an_session_open(&s, path, &o, &err), &err, ANEMO_ERR_INVAL, "negative");
    o.n_thread = 1;
    assert_fails(an_session_open(&s, "/nonexistent", &o, &err), &err, ANEMO_ERR_NOTFOUND, "/nonexistent");
    o.n_ctx = 4;
    assert_ok(an_session_open(&s, path, &o, &err), &err);
    const int32_t ids[5] = {1, 2, 3, 4, 5};
    assert_fails(an_session_eval(s, ids, 5, &err), &err, ANEMO_ERR_INVAL, "context");
    assert_ok(an_session_eval(s, ids, 4, &err), &err);
    assert_fails(an_session_eval(s, ids, 1, &err), &err, ANEMO_ERR_INVAL, "full");
    an_session_reset(s);
    volatile int stop = 1;
    an_session_set_stop(s, &stop);
    assert_fails(an_session_eval(s, ids, 1, &err), &err, ANEMO_ERR_INTERRUPTED, "");
    an_session_close(s);
}

/* Sampling is a function of the seed, from prompt to text. */
static void test_repeatable(void **state)
{
    (void)state;
    an_session *s;
    int32_t drawn[2][24];
    const int32_t prompt[3] = {1, 5, 9};
    an_session_options o = {.n_thread = 2};
    an_sampling sampling = an_sampling_greedy();
    sampling.temperature = 1.5;
    sampling.seed = 11;
    assert_ok(an_session_open(&s, path, &o, &err), &err);
    for (int k = 0; k < 2; k++) {
        an_session_reset(s);
        an_session_sampler_set(s, &sampling);
        assert_ok(an_session_eval(s, prompt, 3, &err), &err);
        for (int i = 0; i < 24; i++) {
            drawn[k][i] = an_session_sample(s);
            assert_ok(an_session_eval(s, &drawn[k][i], 1, &err), &err);
        }
    }
    assert_memory_equal(drawn[0], drawn[1], sizeof drawn[0]);
    an_session_close(s);
}

static int make_model(void **state)
{
    (void)state;
    strcpy(path, "/tmp/anemo-session-XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0) return -1;
    close(fd);
    unsetenv("ANEMO_ISA");
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 3); /* Q4_1 */
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_instruction_sets),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_repeatable),
    };
    return cmocka_run_group_tests(tests, make_model, remove_model);
}
