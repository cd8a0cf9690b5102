/*
 * What must be the same to the last bit, on every tiny model and every instruction set of this CPU: any number of
 * threads, and the two containers of the same weights. And the cache in f16 within its rounding.
 */
#include "support/files.h"
#include "support/test.h"

#include "base/alloc.h"
#include "convert/convert.h"
#include "engine/session.h"
#include "os/file.h"
#include "parity/tiny_cases.h"

#include <stdlib.h>
#include <unistd.h>

/* Keys and values rounded to 11 bits. */
static const double KV_F16_BOUND = 4e-3;

/* The first tokens are enough where bits are compared: every stage has run. */
enum { N_BITS = 12 };

static const char *const LEVELS[] = {"scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "neon", "dotprod", "i8mm"};

static tiny_cases cases;
static int n_converted;

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

static bool have_level(const char *level)
{
    const an_kernels *kernels;
    return an_session_choose_kernels(level, &kernels, NULL) == ANEMO_OK &&
           strcmp(an_kernels_name(kernels), level) == 0;
}

/* Logits of the first n ids: one prefill, or one decode after the other. Gives [n, n_vocab]. */
static float *run(const tiny_case *c, const char *model, int n, an_session_options o, bool by_one)
{
    anemo_error err;
    an_session *s;
    size_t n_vocab = (size_t)c->n_vocab;
    float *out = an_calloc((size_t)n * n_vocab, sizeof *out);
    assert_non_null(out);
    o.n_ctx = c->n_tok;
    assert_ok(an_session_open(&s, model, &o, &err), &err);
    if (!by_one) assert_ok(an_session_logits_all(s, c->ids, n, out, &err), &err);
    for (int i = 0; by_one && i < n; i++) {
        assert_ok(an_session_eval(s, &c->ids[i], 1, &err), &err);
        memcpy(out + (size_t)i * n_vocab, an_session_logits(s), n_vocab * sizeof *out);
    }
    an_session_close(s);
    return out;
}

static void check_equal_of(const tiny_case *c, const char *level, const char *what, const float *a, const float *b, int n)
{
    for (int i = 0; i < n * c->n_vocab; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, %s, %s: %.9g and %.9g at token %d, id %d", c->name, level, what, (double)a[i],
                     (double)b[i], i / c->n_vocab, i % c->n_vocab);
}

static void check_equal(const tiny_case *c, const char *level, const char *what, const float *a, const float *b)
{
    check_equal_of(c, level, what, a, b, N_BITS);
}

static void threads_case(const tiny_case *c, const char *level)
{
    static const int COUNTS[] = {2, 3, 5};
    for (int by_one = 0; by_one < 2; by_one++) {
        an_session_options o = {.isa = level, .kv = AN_KV_F16, .n_thread = 1};
        float *one = run(c, c->model, N_BITS, o, by_one);
        for (size_t i = 0; i < AN_COUNT_OF(COUNTS); i++) {
            o.n_thread = COUNTS[i];
            o.n_thread_prefill = COUNTS[AN_COUNT_OF(COUNTS) - 1 - i];
            float *other = run(c, c->model, N_BITS, o, by_one);
            check_equal(c, level, by_one ? "threads, decode" : "threads, prefill", other, one);
            an_free(other);
        }
        an_free(one);
    }
}

/* A case whose model is NAME/model.gguf beside NAME/hf. */
static void twins_case(const tiny_case *c, const char *level)
{
    const char *tail = "/model.gguf";
    size_t n = strlen(c->model);
    char twin[sizeof c->model];
    if (n < strlen(tail) || strcmp(c->model + n - strlen(tail), tail) != 0) return;
    snprintf(twin, sizeof twin, "%.*s/hf", (int)(n - strlen(tail)), c->model);
    if (an_path_probe(twin) != AN_PATH_DIR) return;
    an_session_options o = {.isa = level, .kv = AN_KV_F32, .n_thread = 2};
    for (int by_one = 0; by_one < 2; by_one++) {
        float *a = run(c, c->model, N_BITS, o, by_one), *b = run(c, twin, N_BITS, o, by_one);
        check_equal(c, level, by_one ? "containers, decode" : "containers, prefill", a, b);
        an_free(a);
        an_free(b);
    }
}

/* The layouts: mapped, panels in memory, panels in a file that is made and one that was there; with more and fewer threads. */
static void layouts_case(const tiny_case *c, const char *level)
{
    static const struct {
        an_weights_layout layout;
        int n_thread;
        const char *what;
    } WAYS[] = {{AN_WEIGHTS_AUTO, 1, "repacked"}, {AN_WEIGHTS_AUTO, 3, "repacked by three threads"},
                {AN_WEIGHTS_CACHED, 2, "cache made"}, {AN_WEIGHTS_CACHED, 5, "cached"}};
    char dir[] = "/tmp/anemo-layout-XXXXXX";
    assert_non_null(mkdtemp(dir));
    for (int by_one = 0; by_one < 2; by_one++) {
        an_session_options o = {.isa = level, .kv = AN_KV_F32, .n_thread = 1, .layout = AN_WEIGHTS_MAPPED, .cache_dir = dir};
        float *mapped = run(c, c->model, N_BITS, o, by_one);
        for (size_t i = 0; i < AN_COUNT_OF(WAYS); i++) {
            o.layout = WAYS[i].layout;
            o.n_thread = WAYS[i].n_thread;
            float *other = run(c, c->model, N_BITS, o, by_one);
            check_equal(c, level, WAYS[i].what, other, mapped);
            an_free(other);
        }
        an_free(mapped);
    }
    remove_flat_dir(dir);
}

/* AVX-VNNI has the lanes of AVX2, and of both the integer products are exact. */
static void same_lanes_case(const tiny_case *c, const char *level)
{
    static const an_weights_layout LAYOUTS[] = {AN_WEIGHTS_AUTO, AN_WEIGHTS_MAPPED};
    if (strcmp(level, "avxvnni") != 0) return;
    for (size_t i = 0; i < AN_COUNT_OF(LAYOUTS); i++)
        for (int by_one = 0; by_one < 2; by_one++) {
            an_session_options o = {.isa = level, .kv = AN_KV_F16, .n_thread = 1, .layout = LAYOUTS[i]};
            float *vnni = run(c, c->model, c->n_tok, o, by_one);
            o.isa = "avx2";
            float *plain = run(c, c->model, c->n_tok, o, by_one);
            check_equal_of(c, level, "against AVX2", vnni, plain, c->n_tok);
            an_free(vnni);
            an_free(plain);
        }
}

/* Superblocks meet activations with a scale per 256 columns (kernels.h), what MLX makes of them others: the same bits by f32 alone. */
static bool has_superblocks(const tiny_case *c)
{
    return strstr(c->name, "_k") || strstr(c->name, "iq4_xs");
}

/* A file of a type that converts exactly, against what our converter makes of it. */
static void converted_case(const tiny_case *c, const char *level)
{
    anemo_error err;
    char dir[] = "/tmp/anemo-bits-XXXXXX", twin[sizeof dir + 8];
    an_convert_options options = {0};
    an_convert_result result;
    if (!strstr(c->model, ".gguf") || strcmp(c->group, "gguf-type") != 0) return;
    assert_non_null(mkdtemp(dir));
    snprintf(twin, sizeof twin, "%s/mlx", dir);
    anemo_status status = an_convert_to_mlx(c->model, twin, &options, &result, &err);
    if (status == ANEMO_OK) {
        n_converted++;
        an_session_options o = {.isa = level, .kv = AN_KV_F32, .n_thread = 2, .compute_set = has_superblocks(c),
                                .compute = AN_COMPUTE_F32};
        for (int by_one = 0; by_one < 2; by_one++) {
            float *a = run(c, c->model, N_BITS, o, by_one), *b = run(c, twin, N_BITS, o, by_one);
            check_equal(c, level, by_one ? "converted, decode" : "converted, prefill", a, b);
            an_free(a);
            an_free(b);
        }
        remove_flat_dir(twin);
    } else {
        assert_int_equal(status, ANEMO_ERR_UNSUPPORTED);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void kv_f16_case(const tiny_case *c, const char *level)
{
    an_session_options o = {
        .isa = level, .kv = AN_KV_F16, .n_thread = 1, .compute_set = true, .compute = AN_COMPUTE_F32};
    size_t n = (size_t)c->n_tok * (size_t)c->n_vocab;
    for (int by_one = 0; by_one < 2; by_one++) {
        float *got = run(c, c->model, c->n_tok, o, by_one);
        double error = tiny_error(got, by_one ? c->decode_logits : c->logits, n);
        if (error > KV_F16_BOUND)
            fail_msg("%s, %s: the f16 cache moves logits by %g of the largest", c->name, level, error);
        an_free(got);
    }
}

/* Logits of the last token alone, over uneven batches, are near those of a run that asked for all. */
static void last_case(const tiny_case *c, const char *level)
{
    anemo_error err;
    an_session *s;
    an_session_options o = {.isa = level,
                            .kv = AN_KV_F32,
                            .n_thread = 2,
                            .n_ctx = c->n_tok,
                            .n_batch = 13,
                            .compute_set = true,
                            .compute = AN_COMPUTE_F32};
    assert_ok(an_session_open(&s, c->model, &o, &err), &err);
    assert_ok(an_session_eval(s, c->ids, c->n_tok, &err), &err);
    size_t n = (size_t)c->n_vocab;
    double error = tiny_error(an_session_logits(s), c->logits + (size_t)(c->n_tok - 1) * n, n);
    /* The bound is of the largest logit of all tokens; that of one token is smaller. */
    if (error > 4 * c->tolerance) fail_msg("%s, %s: last token off by %g", c->name, level, error);
    an_session_close(s);
}

static void for_all(void (*check)(const tiny_case *c, const char *level))
{
    const char *only = getenv("ANEMO_TINY_CASE"); /* part of a name, to look at one case */
    const char *only_level = getenv("ANEMO_TINY_LEVEL");
    for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
        if ((only_level && strcmp(only_level, LEVELS[l]) != 0) || !have_level(LEVELS[l])) continue;
        for (size_t i = 0; i < cases.n; i++)
            if (!only || strstr(cases.cases[i].name, only)) check(&cases.cases[i], LEVELS[l]);
    }
}

static void test_threads(void **state)
{
    (void)state;
    for_all(threads_case);
}

static void test_layouts(void **state)
{
    (void)state;
    for_all(layouts_case);
}

static void test_twins(void **state)
{
    (void)state;
    for_all(twins_case);
}

static void test_same_lanes(void **state)
{
    (void)state;
    for_all(same_lanes_case);
}

static void test_converted(void **state)
{
    (void)state;
    for_all(converted_case);
    if (!getenv("ANEMO_TINY_CASE")) assert_true(n_converted >= 6); /* Q4_0 Q4_1 Q8_0 F16 BF16 F32 */
}

static void test_kv_f16(void **state)
{
    (void)state;
    for_all(kv_f16_case);
}

static void test_last(void **state)
{
    (void)state;
    for_all(last_case);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_layouts), cmocka_unit_test(test_twins),
        cmocka_unit_test(test_same_lanes),
        cmocka_unit_test(test_converted),
        cmocka_unit_test(test_kv_f16),
        cmocka_unit_test(test_last),
    };
    const char *only_level = getenv("ANEMO_TINY_LEVEL");
    if (only_level && !have_level(only_level)) return 77;
    return cmocka_run_group_tests_name("bits", tests, open_cases, close_cases);
}
