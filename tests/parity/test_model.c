/*
 * The real model (SmolLM2-135M-Instruct, from quickstart's folder or ANEMO_TEST_MODEL; without it the test is
 * skipped): its greedy continuation, and the converted directory and every layout of the weights giving the same bits on every
 * instruction set.
 */
#include "support/files.h"
#include "support/test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "convert/convert.h"
#include "engine/session.h"
#include "os/file.h"

#include <stdlib.h>
#include <unistd.h>

enum { N_TOK = 256 };

static const char *const LEVELS[] = {"scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "neon", "dotprod", "i8mm"};

static char *gguf;
static char dir[] = "/tmp/anemo-model-XXXXXX";
static char *mlx, *cache;
static anemo_error err;

static bool have_level(const char *level)
{
    const an_kernels *kernels;
    return an_session_choose_kernels(level, &kernels, NULL) == ANEMO_OK &&
           strcmp(an_kernels_name(kernels), level) == 0;
}

/* "Who invented the light bulb?" and what llama.cpp answers greedily. */
static void test_greedy(void **state)
{
    (void)state;
    static const int32_t PROMPT[] = {10576, 11396, 260, 1420, 16587, 47};
    static const int32_t ANSWER[] = {198, 198, 504, 2988, 314, 42, 216, 33, 30, 198,
                                     198, 504, 2988, 314, 42, 216, 34, 30, 2, 198};
    an_session *s;
    an_session_options o = {.n_ctx = 64, .kv = AN_KV_F16};
    an_sampling greedy = an_sampling_greedy();
    assert_ok(an_session_open(&s, gguf, &o, &err), &err);
    an_session_sampler_set(s, &greedy);
    assert_ok(an_session_eval(s, PROMPT, (int)AN_COUNT_OF(PROMPT), &err), &err);
    for (size_t i = 0; i < AN_COUNT_OF(ANSWER); i++) {
        int32_t id = an_session_sample(s);
        assert_int_equal(id, ANSWER[i]);
        assert_ok(an_session_eval(s, &id, 1, &err), &err);
    }
    an_session_close(s);
}

/* FNV-1a of the bytes: equal logits, equal number. */
static uint64_t hash(uint64_t h, const float *v, size_t n)
{
    const unsigned char *p = (const unsigned char *)v;
    for (size_t i = 0; i < n * sizeof *v; i++) h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

static uint64_t logits_hash(const char *model, const char *level, an_weights_layout layout)
{
    an_session *s;
    int32_t ids[N_TOK];
    an_rng rng;
    an_session_options o = {.n_ctx = N_TOK, .kv = AN_KV_F32, .isa = level, .layout = layout, .cache_dir = cache};
    assert_ok(an_session_open(&s, model, &o, &err), &err);
    size_t n_vocab = (size_t)an_session_model(s)->hp.n_vocab;
    float *logits = an_calloc(N_TOK * n_vocab, sizeof *logits);
    assert_non_null(logits);
    an_rng_seed(&rng, 7);
    for (int i = 0; i < N_TOK; i++) ids[i] = (int32_t)an_rng_below(&rng, n_vocab);
    /* Most as a prefill, the rest one by one. The scalar level is slow: fewer of both. */
    int n_prefill = strcmp(level, "scalar") == 0 ? 24 : N_TOK - 8, n_step = 4;
    assert_ok(an_session_logits_all(s, ids, n_prefill, logits, &err), &err);
    uint64_t h = hash(0xCBF29CE484222325u, logits, (size_t)n_prefill * n_vocab);
    for (int i = 0; i < n_step; i++) {
        assert_ok(an_session_eval(s, &ids[n_prefill + i], 1, &err), &err);
        h = hash(h, an_session_logits(s), n_vocab);
    }
    an_free(logits);
    an_session_close(s);
    return h;
}

static void test_converted_bits(void **state)
{
    (void)state;
    int n = 0;
    an_convert_options options = {0};
    an_convert_result result;
    assert_ok(an_convert_to_mlx(gguf, mlx, &options, &result, &err), &err);
    for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
        if (!have_level(LEVELS[l])) continue;
        n++;
        if (logits_hash(gguf, LEVELS[l], AN_WEIGHTS_AUTO) != logits_hash(mlx, LEVELS[l], AN_WEIGHTS_AUTO))
            fail_msg("%s: GGUF and converted directory give different bits", LEVELS[l]);
    }
    assert_true(n >= 1);
}

/* Mapped, repacked, a layout file as it is made and one that was there: where an instruction set has panels at all. */
static void test_layout_bits(void **state)
{
    (void)state;
    static const an_weights_layout OTHERS[] = {AN_WEIGHTS_REPACKED, AN_WEIGHTS_CACHED, AN_WEIGHTS_CACHED};
    const char *const models[] = {gguf, mlx};
    for (size_t m = 0; m < AN_COUNT_OF(models); m++)
        for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
            const an_kernels *k;
            if (!have_level(LEVELS[l])) continue;
            assert_ok(an_session_choose_kernels(LEVELS[l], &k, &err), &err);
            if (an_kernels_default_compute(k) != AN_COMPUTE_Q8) continue;
            uint64_t mapped = logits_hash(models[m], LEVELS[l], AN_WEIGHTS_MAPPED);
            for (size_t i = 0; i < AN_COUNT_OF(OTHERS); i++)
                if (logits_hash(models[m], LEVELS[l], OTHERS[i]) != mapped)
                    fail_msg("%s, %s: %s gives other bits than mapped", models[m], LEVELS[l], an_weights_layout_name(OTHERS[i]));
            if (an_path_probe(cache) == AN_PATH_DIR) remove_flat_dir(cache);
        }
}

static int find_model(void **state)
{
    (void)state;
    gguf = mkdtemp(dir) ? an_strdup(an_env("ANEMO_TEST_MODEL")) : NULL;
    if (!gguf && an_model_resolve("smollm2-135m-instruct-q4_1.gguf", &gguf, &err) != ANEMO_OK) gguf = NULL;
    mlx = an_path_join(dir, "mlx");
    cache = an_path_join(dir, "layout");
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    char **names;
    size_t n;
    if (an_dir_list(mlx, &names, &n, NULL) == ANEMO_OK) {
        for (size_t i = 0; i < n; i++) {
            char *path = an_path_join(mlx, names[i]);
            (void)!unlink(path);
            an_free(path);
        }
        an_names_free(names);
        rmdir(mlx);
    }
    rmdir(dir);
    an_free(cache);
    an_free(mlx);
    an_free(gguf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_greedy), cmocka_unit_test(test_converted_bits),
                                       cmocka_unit_test(test_layout_bits)};
    find_model(NULL);
    if (!gguf) {
        puts("skipped: no model; run ./quickstart or set ANEMO_TEST_MODEL");
        remove_files(NULL);
        return 77;
    }
    return cmocka_run_group_tests_name("model", tests, NULL, remove_files);
}
