/* bench: what a model asks of a machine. The expected figures come from the shapes, by hand. */
#include "support/test.h"

#include "base/alloc.h"
#include "bench/figures.h"
#include "os/file.h"

#define TINY AN_TEST_DIR "/golden/tiny/files/"

static an_run_model figures(const char *path)
{
    an_run_model m = {.path = (char *)path};
    an_run_model_figures(&m);
    return m;
}

/*
 * chatml: 2 layers; q, o, gate, up, down 64 x 64, k and v 32 x 64; head 298 x 64, tied; 5 norms of 64.
 * 2 x (5 x 4096 + 2 x 2048) = 49152 weights, 19072 more in the head; 1 KV head of 32.
 */
static void a_gguf_file(void **state)
{
    (void)state;
    an_run_model m = figures(TINY "chatml.gguf");
    assert_int_equal(m.n_param, 49152 + 19072 + 5 * 64);
    assert_int_equal(m.n_ctx_train, 256);
    assert_int_equal(m.weight_bytes, 49152 / 32 * 20 + 19072 / 32 * 34); /* Q4_1, and Q8_0 in the head */
    assert_int_equal(m.kv_values_per_pos, 2 * 2 * 1 * 32);
    assert_true(m.flop_per_token == 2.0 * (49152 + 19072));
}

static void an_mlx_directory(void **state)
{
    (void)state;
    an_run_model m = figures(TINY "chatml-mlx");
    assert_int_equal(m.weight_bytes, (49152 + 19072) / 32 * (16 + 2 + 2)); /* 4 bits, scale and bias f16 for 32 */
    assert_int_equal(m.kv_values_per_pos, 128);
    assert_true(m.flop_per_token == 2.0 * (49152 + 19072));
}

static void what_cannot_be_read_is_not_known(void **state)
{
    (void)state;
    an_run_model m = figures(TINY "chatml.npy");
    assert_int_equal(m.weight_bytes, 0);
    assert_int_equal(m.n_param, 0);
    assert_true(m.flop_per_token == 0);
}

/* 30 layers of 576: q, o 576 x 576, k, v 192 x 576, gate, up, down 1536 x 576; head 49152 x 576, tied. */
static void smollm2(void **state)
{
    (void)state;
    char *data = an_dir_data(), *path = data ? an_path_join(data, "models/smollm2-135m-instruct-q4_1.gguf") : NULL;
    bool there = path && an_path_probe(path) == AN_PATH_FILE;
    if (there) {
        const uint64_t layers = 30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 1536 * 576), head = 49152 * 576;
        an_run_model m = figures(path);
        assert_int_equal(m.weight_bytes, layers / 32 * 20 + head / 32 * 34);
        assert_int_equal(m.kv_values_per_pos, 2 * 30 * 3 * 64);
        assert_true(m.flop_per_token == 2.0 * (double)(layers + head));
        assert_true(m.head_flop == 2.0 * (double)head);
        assert_int_equal(m.attention_width, 30 * 9 * 64);
    }
    an_free(path);
    an_free(data);
    if (!there) skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_file),
        cmocka_unit_test(an_mlx_directory),
        cmocka_unit_test(what_cannot_be_read_is_not_known),
        cmocka_unit_test(smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
