/* Opening models: shapes against parameters, refusals by name, names to paths, every allocation failing. */
#include "support/fail_alloc.h"
#include "support/test.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "os/file.h"
#include "support/gguf_build.h"

#include <stdlib.h>
#include <unistd.h>

static char dir[64];
static char path[128];
static anemo_error err;

enum { F32 = 0, Q4_1 = 3, IQ2_XXS = 16 };

static void write_model(gguf_build *b)
{
    test_buf f = gguf_build_finish(b);
    test_buf_write(&f, path);
    test_buf_free(&f);
}

static anemo_status open_close(void)
{
    an_model_file *m;
    anemo_status status = an_model_file_open(&m, path, &err);
    if (status == ANEMO_OK) an_model_file_close(m);
    return status;
}

static void test_open(void **state)
{
    (void)state;
    gguf_build b;
    an_model_file *m;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, Q4_1);
    gguf_build_u32(&b, "llama.attention.sliding_window", 24);
    write_model(&b);
    assert_ok(an_model_file_open(&m, path, &err), &err);
    assert_int_equal(m->container, AN_CONTAINER_GGUF);
    assert_string_equal(m->arch, "llama");
    assert_string_equal(m->name, "tiny");
    assert_string_equal(m->quantization, "Q4_1");
    assert_int_equal(m->hp.n_vocab, 32);
    assert_int_equal(m->hp.head_dim, 16);
    assert_int_equal(m->hp.rope_rows, AN_ROPE_INTERLEAVED);
    assert_true(m->hp.tied);
    assert_ptr_equal(m->output.data, m->token_embd.data);
    assert_int_equal(m->layers[1].wk.n_row, 32);
    assert_int_equal(m->layers[1].w_down.n_col, 96);
    assert_int_equal(m->layers[0].window, 24);
    assert_null(m->layers[0].bq);
    assert_int_equal(m->n_eos, 1);
    assert_int_equal(m->eos_ids[0], 2);
    /* Counted by hand: embedding, 2 x (q o 64x64, k v 32x64, three of 96x64, two norms), last norm. */
    assert_int_equal(m->n_param, 32 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 2 * 64) + 64);
    an_model_file_close(m);
}

static void test_gguf_refusals(void **state)
{
    (void)state;
    static const int64_t SHAPE[] = {32, 64};
    gguf_build b;

    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "deepseek2");
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "MLA");

    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "gemma9");
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "gemma9");

    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "llama");
    gguf_build_str(&b, "general.type", "adapter");
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "adapter");

    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, F32);
    gguf_build_u32(&b, "llama.expert_count", 8);
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "mixture of experts");

    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, F32);
    gguf_build_str(&b, "llama.rope.scaling.type", "longrope");
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "longrope");

    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, F32);
    gguf_build_tensor(&b, "output.weight", F32, 2, (const int64_t[]){31, 64}, NULL, 31 * 64 * 4);
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_FORMAT, "output.weight has shape [31, 64]");

    /* A type that the container knows and we do not: by its name. */
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, F32);
    gguf_build_tensor(&b, "output.weight", IQ2_XXS, 2, (const int64_t[]){32, 256}, NULL, 32 * 66);
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_UNSUPPORTED, "IQ2_XXS");

    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "llama");
    gguf_build_u32(&b, "llama.block_count", 1);
    gguf_build_u32(&b, "llama.context_length", 128);
    gguf_build_u32(&b, "llama.embedding_length", 64);
    gguf_build_u32(&b, "llama.feed_forward_length", 96);
    gguf_build_u32(&b, "llama.attention.head_count", 4);
    gguf_build_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_build_tensor(&b, "token_embd.weight", F32, 2, SHAPE, NULL, 32 * 64 * 4);
    write_model(&b);
    assert_fails(open_close(), &err, ANEMO_ERR_FORMAT, "output_norm.weight is missing");
}

/* A failing allocation at every place in turn: an error, nothing lost (the sanitizer build sees leaks). */
static void test_out_of_memory(void **state)
{
    (void)state;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, F32);
    write_model(&b);
    fail_alloc f = {0};
    do {
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = open_close();
        an_alloc_set_hook(NULL, NULL);
        assert_int_equal(status, f.refused ? ANEMO_ERR_NOMEM : ANEMO_OK);
        f.at++;
    } while (f.refused);
    assert_true(f.at > 5);
}

static void test_probe(void **state)
{
    (void)state;
    an_container container;
    char config[128];
    assert_fails(an_model_probe("/nonexistent/model.gguf", &container, &err), &err, ANEMO_ERR_NOTFOUND,
                 "/nonexistent/model.gguf");
    assert_fails(an_model_probe(dir, &container, &err), &err, ANEMO_ERR_FORMAT, "config.json");
    snprintf(config, sizeof config, "%s/config.json", dir);
    assert_ok(an_file_write(config, "{}", 2, &err), &err);
    assert_ok(an_model_probe(dir, &container, &err), &err);
    assert_int_equal(container, AN_CONTAINER_MLX);
    an_model_file *m;
    assert_fails(an_model_file_open(&m, dir, &err), &err, ANEMO_ERR_FORMAT, "model_type");
    assert_ok(an_path_remove(config, &err), &err);
}

static void test_resolve(void **state)
{
    (void)state;
    char models[128], file[192];
    char *found;
    setenv("XDG_DATA_HOME", dir, 1);
    snprintf(models, sizeof models, "%s/anemo/models", dir);
    snprintf(file, sizeof file, "%s/some.gguf", models);
    assert_ok(an_dir_make(models, &err), &err);
    assert_ok(an_file_write(file, "x", 1, &err), &err);
    assert_ok(an_model_resolve("some", &found, &err), &err);
    assert_string_equal(found, file);
    an_free(found);
    assert_ok(an_model_resolve("some.gguf", &found, &err), &err);
    assert_string_equal(found, file);
    an_free(found);
    assert_ok(an_model_resolve(file, &found, &err), &err);
    assert_string_equal(found, file);
    an_free(found);
    assert_fails(an_model_resolve("other", &found, &err), &err, ANEMO_ERR_NOTFOUND, models);
    assert_fails(an_model_resolve("./other", &found, &err), &err, ANEMO_ERR_NOTFOUND, "./other");
    assert_ok(an_path_remove(file, &err), &err);
    assert_ok(an_path_remove(models, &err), &err);
    snprintf(models, sizeof models, "%s/anemo", dir);
    assert_ok(an_path_remove(models, &err), &err);
}

static int make_dir(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/anemo-arch-XXXXXX");
    if (!mkdtemp(dir)) return -1;
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),  cmocka_unit_test(test_gguf_refusals), cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_probe), cmocka_unit_test(test_resolve),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
