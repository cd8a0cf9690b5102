/*
 * The native engine against other people's programs on the tiny models of tests/golden/tiny: every property of
 * the architecture, every tensor type, every MLX width, at every CPU level that this machine has.
 */
#include "support/test.h"

#include "base/alloc.h"
#include "kernels/wide.h"
#include "model/decoder.h"
#include "os/cpu.h"
#include "parity/tiny_cases.h"

#include <stdlib.h>

/*
 * With activations in 8 bits, and with weights and activations in bf16, of the largest logit: not a matter of parity, but a
 * wrong kernel is far outside.
 */
static const double Q8_TOLERANCE = 0.08, BF16_TOLERANCE = 0.05;

static const char *const LEVELS[] = {"scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx", "neon", "dotprod", "i8mm"};

static tiny_cases cases;

static int open_cases(void **state)
{
    (void)state;
    anemo_error err;
    if (tiny_cases_open(&cases, AN_TEST_DIR "/golden/tiny", &err) == ANEMO_OK) return 0;
    fprintf(stderr, "%s\n", err.message);
    return 1;
}

static int close_cases(void **state)
{
    (void)state;
    tiny_cases_close(&cases);
    return 0;
}

/* The kernels of a level by its name, or NULL where this CPU lacks it or the build has none of its own. */
static const an_kernels *kernels_of(const char *level)
{
    uint32_t mask;
    if (!an_kernels_isa_mask(level, &mask) || (mask & ~an_cpu_isa())) return NULL;
    const an_kernels *k = an_kernels_for(mask);
    return strcmp(an_kernels_name(k), level) ? NULL : k;
}

/* Thread pools take longer than the models, so a part of the cases shows that threads change no bit. */
static bool is_run_with_threads(const tiny_case *c)
{
    return (c - cases.cases) % 4 == 0;
}

/* One way of running a case. */
typedef struct way {
    const char *what;
    an_compute compute;
    int n_thread;
    int n_batch; /* 0 = all at once */
} way;

/* Logits of all ids: in batches as `w` says, or one id at a time from an empty sequence. */
static void run_case(const tiny_case *c, const an_kernels *k, way w, bool stepwise, float *out)
{
    anemo_error err = {0};
    an_model_file *m;
    an_decoder *d;
    assert_ok(an_model_file_open(&m, c->model, &err), &err);
    an_decoder_options o = {.n_ctx = c->n_tok,
                            .n_batch = w.n_batch ? w.n_batch : c->n_tok,
                            .kv = AN_KV_F32,
                            .compute = w.compute,
                            .n_thread_prefill = w.n_thread,
                            .n_thread_decode = w.n_thread,
                            .kernels = k};
    assert_ok(an_decoder_open(&d, m, &o, &err), &err);
    if (stepwise) {
        for (int i = 0; i < c->n_tok; i++)
            assert_ok(an_decoder_run(d, &c->ids[i], 1, false, out + (size_t)i * (size_t)c->n_vocab, NULL, &err),
                      &err);
    } else {
        assert_ok(an_decoder_run(d, c->ids, c->n_tok, true, out, NULL, &err), &err);
    }
    assert_int_equal(an_decoder_n_past(d), c->n_tok);
    an_decoder_close(d);
    an_model_file_close(m);
}

/* Prints a case that is outside its bound; 1 when it is. */
static int judge(const tiny_case *c, const char *level, const char *what, double error, double bound)
{
    if (error <= bound) return 0;
    fprintf(stderr, "%s, %s, %s: differs by %.3g of the largest logit, at most %.3g allowed\n", c->name, level,
            what, error, bound);
    return 1;
}

/* Prefill, batches of five and single steps in f32, and prefill against steps. */
static int check_exact(const tiny_case *c, const char *level, const an_kernels *k)
{
    size_t n_vocab = (size_t)c->n_vocab, n = (size_t)c->n_tok * n_vocab;
    size_t n_same = (size_t)c->n_prefill_is_decode * n_vocab;
    float *prefill = an_malloc(n * sizeof *prefill), *other = an_malloc(n * sizeof *other);
    assert_non_null(prefill);
    assert_non_null(other);
    int failed = 0;
    way all = {"prefill", AN_COMPUTE_F32, 1, 0}, cut = {"batches of 5", AN_COMPUTE_F32, 1, 5};
    way threads = {"three threads", AN_COMPUTE_F32, 3, 0};
    run_case(c, k, all, false, prefill);
    failed += judge(c, level, "prefill", tiny_error(prefill, c->logits, n), c->tolerance);
    if (is_run_with_threads(c)) {
        run_case(c, k, threads, false, other);
        if (memcmp(prefill, other, n * sizeof *other)) {
            fprintf(stderr, "%s, %s: three threads give other bits than one\n", c->name, level);
            failed++;
        }
    }
    if (c->n_prefill_is_decode == c->n_tok) {
        run_case(c, k, cut, false, other);
        failed += judge(c, level, cut.what, tiny_error(other, c->logits, n), c->tolerance);
    }
    run_case(c, k, all, true, other);
    failed += judge(c, level, "one id at a time", tiny_error(other, c->decode_logits, n), c->tolerance);
    /* Beyond its original length RoPE "dynamic" prefills differently, so the short prefill is run as such. */
    tiny_case head = *c;
    head.n_tok = c->n_prefill_is_decode;
    run_case(&head, k, all, false, prefill);
    failed += judge(c, level, "prefill against decodes", tiny_error(prefill, other, n_same), c->tolerance);
    an_free(prefill);
    an_free(other);
    return failed;
}

static void test_exact_at_every_level(void **state)
{
    (void)state;
    int failed = 0, run = 0;
    for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
        const an_kernels *k = kernels_of(LEVELS[l]);
        if (!k) continue;
        for (size_t i = 0; i < cases.n; i++, run++)
            failed += check_exact(&cases.cases[i], LEVELS[l], k);
    }
    if (failed) fail_msg("%d comparisons failed", failed);
    assert_true(run >= (int)cases.n);
}

/* Prefill with activations in 8 bits, or in bf16; batches that are all of many tokens change no bit. */
static int check_reduced(const tiny_case *c, const char *level, const an_kernels *k, an_compute compute, double tolerance)
{
    size_t n = (size_t)c->n_tok * (size_t)c->n_vocab;
    const char *name = an_compute_name(compute);
    float *one = an_malloc(n * sizeof *one), *other = an_malloc(n * sizeof *other);
    assert_non_null(one);
    assert_non_null(other);
    run_case(c, k, (way){name, compute, 1, 0}, false, one);
    int failed = judge(c, level, name, tiny_error(one, c->logits, n), tolerance);
    if (is_run_with_threads(c)) {
        run_case(c, k, (way){name, compute, 3, 0}, false, other);
        if (memcmp(one, other, n * sizeof *one)) {
            fprintf(stderr, "%s, %s, %s: three threads give other bits than one\n", c->name, level, name);
            failed++;
        }
    }
    if (c->n_prefill_is_decode == c->n_tok) {
        run_case(c, k, (way){name, compute, 1, c->n_tok / 2}, false, other);
        if (an_kernels_compute(compute, c->n_tok / 2) == compute && memcmp(one, other, n * sizeof *one)) {
            fprintf(stderr, "%s, %s, %s: two batches give other bits than one\n", c->name, level, name);
            failed++;
        }
        run_case(c, k, (way){name, compute, 1, c->n_tok / 2 + c->n_tok / 3}, false, other);
        failed += judge(c, level, "unequal batches", tiny_error(other, c->logits, n), tolerance);
    }
    an_free(one);
    an_free(other);
    return failed;
}

/* Every fast kernel on every weight type, with a bound that only a wrong one misses; threads change no bit. */
static void test_q8_kernels_are_near(void **state)
{
    (void)state;
    int failed = 0;
    for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
        const an_kernels *k = kernels_of(LEVELS[l]);
        if (!k || !an_kernels_can(k, AN_COMPUTE_Q8)) continue;
        for (size_t i = 0; i < cases.n; i++)
            failed += check_reduced(&cases.cases[i], LEVELS[l], k, AN_COMPUTE_Q8, Q8_TOLERANCE);
    }
    if (failed) fail_msg("%d comparisons failed", failed);
}

extern const an_wide kcheck_wide_plain;

/* The forward pass over matrix tiles, the machine's own where it has them and emulated ones. */
static void test_tiles_are_near(void **state)
{
    (void)state;
    const an_kernels *own = kernels_of("amx");
    an_kernels emulated = *kernels_of("scalar");
    emulated.wide = &kcheck_wide_plain;
    int failed = 0;
    for (size_t i = 0; i < cases.n; i++) {
        failed += check_reduced(&cases.cases[i], "tiles", &emulated, AN_COMPUTE_BF16, BF16_TOLERANCE);
        if (own) failed += check_reduced(&cases.cases[i], "amx", own, AN_COMPUTE_BF16, BF16_TOLERANCE);
    }
    if (failed) fail_msg("%d comparisons failed", failed);
}

/* Rewinding forgets: the second half run again gives the same bits. */
static void test_rewind_repeats(void **state)
{
    (void)state;
    const tiny_case *c = &cases.cases[0];
    anemo_error err = {0};
    an_model_file *m;
    an_decoder *d;
    int half = c->n_tok / 2;
    size_t n = (size_t)(c->n_tok - half) * (size_t)c->n_vocab;
    float *first = an_malloc(n * sizeof *first), *again = an_malloc(n * sizeof *again);
    assert_non_null(first);
    assert_non_null(again);
    assert_ok(an_model_file_open(&m, c->model, &err), &err);
    an_decoder_options o = {.n_ctx = c->n_tok,
                            .n_batch = c->n_tok,
                            .kv = AN_KV_F32,
                            .compute = AN_COMPUTE_F32,
                            .n_thread_prefill = 2,
                            .n_thread_decode = 1,
                            .kernels = kernels_of("scalar")};
    assert_ok(an_decoder_open(&d, m, &o, &err), &err);
    assert_ok(an_decoder_run(d, c->ids, half, false, NULL, NULL, &err), &err);
    assert_ok(an_decoder_run(d, c->ids + half, c->n_tok - half, true, first, NULL, &err), &err);
    an_decoder_rewind(d, half);
    assert_ok(an_decoder_run(d, c->ids + half, c->n_tok - half, true, again, NULL, &err), &err);
    assert_memory_equal(first, again, n * sizeof *first);
    assert_fails(an_decoder_run(d, c->ids, 1, false, NULL, NULL, &err), &err, ANEMO_ERR_INVAL, "context");
    an_decoder_close(d);
    an_model_file_close(m);
    an_free(first);
    an_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_at_every_level),
        cmocka_unit_test(test_q8_kernels_are_near),
        cmocka_unit_test(test_tiles_are_near),
        cmocka_unit_test(test_rewind_repeats),
    };
    return cmocka_run_group_tests_name("tiny models", tests, open_cases, close_cases);
}
