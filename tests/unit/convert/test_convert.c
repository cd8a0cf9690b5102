/*
 * Conversion to MLX directories: the converted tiny models give the logits that transformers gave
 * (and the very bits of the GGUF file), what cannot be converted leaves nothing behind, and a
 * killed conversion neither.
 */
#include "support/fail_alloc.h"
#include "support/files.h"
#include "support/test.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/str.h"
#include "convert/convert.h"
#include "kernels/kernels.h"
#include "model/decoder.h"
#include "os/file.h"
#include "parity/tiny_cases.h"
#include "support/gguf_build.h"
#include "token/tokenizer.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/anemo-test-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : 1;
}

/* A path in the test's folder; the last sixty-four stay valid. */
static const char *in_dir(const char *name)
{
    static char paths[64][200];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static size_t n_entries(const char *path)
{
    char **names;
    size_t n;
    anemo_error err;
    assert_ok(an_dir_list(path, &names, &n, &err), &err);
    an_names_free(names);
    return n;
}

static anemo_status convert(const char *src, const char *dst, bool force, anemo_error *err)
{
    an_convert_options o = {.force = force};
    an_convert_result r = {0};
    anemo_status status = an_convert_to_mlx(src, dst, &o, &r, err);
    if (status == ANEMO_OK) assert_int_equal(r.n_rounded, 0);
    an_convert_result_free(&r);
    return status;
}

/* Logits of all ids by the scalar kernels with f32 activations. */
static float *logits_of(const char *path, const tiny_case *c)
{
    anemo_error err;
    an_model_file *m;
    an_decoder *d;
    float *out = malloc((size_t)c->n_tok * (size_t)c->n_vocab * sizeof *out);
    assert_non_null(out);
    assert_ok(an_model_file_open(&m, path, &err), &err);
    an_decoder_options o = {.n_ctx = c->n_tok,
                            .n_batch = c->n_tok,
                            .kv = AN_KV_F32,
                            .compute = AN_COMPUTE_F32,
                            .n_thread_prefill = 1,
                            .n_thread_decode = 1,
                            .kernels = an_kernels_for(0)};
    assert_ok(an_decoder_open(&d, m, &o, &err), &err);
    assert_ok(an_decoder_run(d, c->ids, c->n_tok, true, out, NULL, &err), &err);
    an_decoder_close(d);
    an_model_file_close(m);
    return out;
}

/* Every tiny GGUF model whose types map exactly; the expected logits are transformers'. */
static void converted_models_give_the_same_logits(void **state)
{
    (void)state;
    anemo_error err;
    tiny_cases cases;
    size_t n_converted = 0, n_refused = 0;
    assert_ok(tiny_cases_open(&cases, AN_TEST_DIR "/golden/tiny", &err), &err);
    for (size_t i = 0; i < cases.n; i++) {
        const tiny_case *c = &cases.cases[i];
        if (!an_str_ends_with(c->model, ".gguf")) continue;
        const char *dst = in_dir("model");
        anemo_status status = convert(c->model, dst, true, &err);
        if (status != ANEMO_OK) {
            if (status != ANEMO_ERR_UNSUPPORTED || !strstr(err.message, "tensor "))
                fail_msg("%s: %s", c->name, err.message);
            n_refused++;
            continue;
        }
        float *mlx = logits_of(dst, c), *gguf = logits_of(c->model, c);
        size_t n = (size_t)c->n_tok * (size_t)c->n_vocab;
        double error = tiny_error(mlx, c->logits, n);
        if (!(error <= c->tolerance))
            fail_msg("%s: error %g, tolerated %g", c->name, error, c->tolerance);
        if (memcmp(mlx, gguf, n * sizeof *mlx))
            fail_msg("%s: bits differ from the GGUF file's", c->name);
        free(mlx);
        free(gguf);
        n_converted++;
    }
    tiny_cases_close(&cases);
    print_message("%zu converted, %zu refused by type\n", n_converted, n_refused);
    assert_true(n_converted >= 30);
    assert_true(n_refused >= 5);
}

static const char *write_gguf(gguf_build *b, const char *name)
{
    test_buf file = gguf_build_finish(b);
    const char *path = in_dir(name);
    test_buf_write(&file, path);
    test_buf_free(&file);
    return path;
}

static void refusals_leave_nothing(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    const char *src, *dst = in_dir("refused/deep");
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 20);
    src = write_gguf(&b, "bad.gguf");
    assert_fails(convert(src, dst, false, &err), &err, ANEMO_ERR_UNSUPPORTED, "token_embd.weight is IQ4_NL");
    assert_non_null(strstr(err.message, "--dtype"));
    assert_non_null(strstr(err.message, "--allow-requantize"));
    /* A scale of 1024 times -128 is beyond f16: 0x6400. The scale of the embedding's first block.
     */
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 8);
    b.data.data[0] = 0x00;
    b.data.data[1] = 0x64;
    src = write_gguf(&b, "bad.gguf");
    assert_fails(convert(src, dst, false, &err), &err, ANEMO_ERR_UNSUPPORTED,
                 "whose offset is beyond");
    /* A tensor that no MLX model has. */
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 1);
    int64_t one = 1;
    gguf_build_tensor(&b, "blk.0.mystery.weight", 0, 1, &one, NULL, 4);
    src = write_gguf(&b, "bad.gguf");
    assert_fails(convert(src, dst, false, &err), &err, ANEMO_ERR_UNSUPPORTED,
                 "blk.0.mystery.weight");
    assert_int_equal(an_path_probe(in_dir("refused")), AN_PATH_ABSENT);

    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 3);
    src = write_gguf(&b, "good.gguf");
    assert_fails(convert(src, dir, true, &err), &err, ANEMO_ERR_INVAL, "not replaced");
    assert_fails(convert(src, src, true, &err), &err, ANEMO_ERR_INVAL, "not a directory");
    assert_fails(convert(src, "/", true, &err), &err, ANEMO_ERR_INVAL, "does not name");
    assert_ok(convert(src, dst, false, &err), &err);
    assert_int_equal(n_entries(in_dir("refused")), 1);
    assert_fails(convert(src, dst, false, &err), &err, ANEMO_ERR_INVAL, "exists already");
    assert_ok(convert(src, dst, true, &err), &err);
    assert_int_equal(n_entries(in_dir("refused")), 1);
}

/* Put another name behind tokenizer.ggml.pre. */
static void set_pre(gguf_build *b, const char *pre)
{
    static const char key[] = "tokenizer.ggml.pre";
    test_buf out = {0};
    size_t at = 0;
    while (memcmp(b->kv.data + at, key, sizeof key - 1))
        at++;
    at += sizeof key - 1 + 4; /* the type */
    test_buf_put(&out, b->kv.data, at);
    test_buf_u64(&out, strlen(pre));
    test_buf_put(&out, pre, strlen(pre));
    at += 8 + b->kv.data[at]; /* a name shorter than 256 */
    test_buf_put(&out, b->kv.data + at, b->kv.n - at);
    test_buf_free(&b->kv);
    b->kv = out;
}

/* Every pre-tokenizer that is written to a tokenizer.json is read from it again, with the same ids.
 */
static void tokenizers_survive(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const names[] = {"default",   "smollm", "gpt-2",
                                        "llama-bpe", "qwen2",  "tekken"};
    static const char text[] =
        "the thaw the\n the  bath 12345 TheThe's the... (the) <the> a1b22 \xC3\xA9the\n\n";
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        gguf_build b;
        an_tokenizer *a, *c;
        an_ids x = {0}, y = {0};
        gguf_build_init(&b);
        gguf_build_tiny_llama(&b, 0);
        set_pre(&b, names[i]);
        const char *src = write_gguf(&b, "pre.gguf"), *dst = in_dir("pre");
        assert_ok(convert(src, dst, true, &err), &err);
        assert_ok(an_tokenizer_open(&a, src, &err), &err);
        assert_ok(an_tokenizer_open(&c, dst, &err), &err);
        if (an_tokenizer_note(c)[0]) fail_msg("%s: %s", names[i], an_tokenizer_note(c));
        assert_ok(an_tokenizer_encode(a, text, sizeof text - 1, false, &x, &err), &err);
        assert_ok(an_tokenizer_encode(c, text, sizeof text - 1, false, &y, &err), &err);
        if (x.n == 0 || x.n != y.n || memcmp(x.ids, y.ids, x.n * sizeof *x.ids))
            fail_msg("%s: other ids", names[i]);
        assert_int_equal(an_tokenizer_add_bos(a), an_tokenizer_add_bos(c));
        assert_int_equal(an_tokenizer_bos(a), an_tokenizer_bos(c));
        assert_int_equal(an_tokenizer_eos(a), an_tokenizer_eos(c));
        an_ids_free(&x);
        an_ids_free(&y);
        an_tokenizer_close(a);
        an_tokenizer_close(c);
    }
}

/* A NaN in a plain tensor, and a scale that is none: named by tensor, and nothing is left. */
static void damaged_weights_are_refused(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    static const uint32_t types[] = {0, 1, 3};
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        gguf_build_init(&b);
        gguf_build_tiny_llama(&b, types[i]);
        b.data.data[types[i] == 0 ? 2 : 0] = 0xC0;
        b.data.data[types[i] == 0 ? 3 : 1] = 0x7F;
        const char *src = write_gguf(&b, "nan.gguf"), *dst = in_dir("nan/model");
        anemo_status status = types[i] == 3 ? ANEMO_ERR_UNSUPPORTED : ANEMO_ERR_FORMAT;
        assert_fails(convert(src, dst, false, &err), &err, status, "token_embd.weight: ");
        assert_int_equal(an_path_probe(in_dir("nan")), AN_PATH_ABSENT);
    }
}

static anemo_status convert_with(const char *src, const char *dst, const an_convert_options *o, an_convert_result *r,
                                 anemo_error *err)
{
    *r = (an_convert_result){0};
    return an_convert_to_mlx(src, dst, o, r, err);
}

/* Sizes of a dry run, the choice of types by name, and what is asked for in vain. */
static void options_are_honoured(void **state)
{
    (void)state;
    anemo_error err;
    an_convert_result r;
    const char *hf = AN_TEST_DIR "/golden/convert/models/hf-bf16", *dst = in_dir("options");
    static const char *const overrides[] = {"lm_head=none", "v_proj=8bit-g32"};
    an_convert_options o = {.quantize = "4bit-g32", .overrides = overrides, .n_override = 2, .dry_run = true};
    assert_ok(convert_with(hf, dst, &o, &r, &err), &err);
    assert_int_equal(an_path_probe(dst), AN_PATH_ABSENT);
    uint64_t planned = r.weight_bytes, sum = 0;
    bool eight = false, plain = false;
    for (size_t i = 0; i < r.classes.n; i++) {
        const an_weight_class *c = &r.classes.items[i];
        sum += c->bytes;
        eight = eight || (!strcmp(c->kind, "attn_v") && !strcmp(c->type, "8-bit g32"));
        plain = plain || (!strcmp(c->kind, "output") && !strcmp(c->type, "BF16"));
    }
    assert_int_equal(sum, planned);
    assert_true(eight && plain);
    an_convert_result_free(&r);
    o.dry_run = false;
    o.n_thread = 3;
    assert_ok(convert_with(hf, dst, &o, &r, &err), &err);
    assert_int_equal(r.weight_bytes, planned);
    assert_true(r.n_quantized > 0 && r.n_rounded == r.n_quantized);
    an_convert_result_free(&r);

    /* What is quantized already is quantized again only when that is said. */
    an_convert_options again = {.quantize = "3bit-g32"};
    assert_fails(convert_with(dst, in_dir("again"), &again, &r, &err), &err, ANEMO_ERR_UNSUPPORTED, "--allow-requantize");
    again.allow_requantize = true;
    assert_ok(convert_with(dst, in_dir("again"), &again, &r, &err), &err);
    an_convert_result_free(&r);
    o.n_override = 0;
    o.force = true;
    o.quantize = "7bit";
    assert_fails(convert_with(hf, dst, &o, &r, &err), &err, ANEMO_ERR_INVAL, "'7bit' is no type of MLX");
    o.quantize = "4bit";
    o.n_override = 1;
    const char *bad = "4bit";
    o.overrides = &bad;
    assert_fails(convert_with(hf, dst, &o, &r, &err), &err, ANEMO_ERR_INVAL, "is not PATTERN=TYPE");
    const int stop = 2;
    an_convert_options stopped = {.stop = &stop};
    assert_fails(convert_with(hf, in_dir("stopped"), &stopped, &r, &err), &err, ANEMO_ERR_INTERRUPTED, "interrupted");
    assert_int_equal(an_path_probe(in_dir("stopped")), AN_PATH_ABSENT);
}

/* Whatever the number of threads, and by way of a Hugging Face directory in F32: the same values. */
static void threads_and_detours_change_nothing(void **state)
{
    (void)state;
    anemo_error err;
    an_convert_result r = {0};
    const char *src = AN_TEST_DIR "/golden/tiny/types/type-q4_k.gguf";
    const char *one = in_dir("one"), *four = in_dir("four"), *hf = in_dir("f32");
    an_convert_options o = {.n_thread = 1, .dtype = AN_FLOAT_F32};
    assert_ok(an_convert_to_mlx(src, one, &o, &r, &err), &err);
    assert_int_equal(r.n_rounded, 0);
    an_convert_result_free(&r);
    assert_ok(an_convert_to_hf(src, hf, &o, &r, &err), &err);
    assert_int_equal(r.n_rounded, 0);
    assert_int_equal(r.n_quantized, 0);
    an_convert_result_free(&r);
    o.n_thread = 4;
    assert_ok(an_convert_to_mlx(src, four, &o, &r, &err), &err);
    an_convert_result_free(&r);
    char *a, *b;
    size_t n_a, n_b;
    char path[200];
    snprintf(path, sizeof path, "%s/model.safetensors", one);
    assert_ok(an_file_read(path, 1 << 26, &a, &n_a, &err), &err);
    snprintf(path, sizeof path, "%s/model.safetensors", four);
    assert_ok(an_file_read(path, 1 << 26, &b, &n_b, &err), &err);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    an_free(a);
    an_free(b);
    an_model_file *plain, *file;
    assert_ok(an_model_file_open(&plain, hf, &err), &err);
    assert_ok(an_model_file_open(&file, src, &err), &err);
    static float x[4096], y[4096];
    assert_true(file->token_embd.n_col <= 4096);
    for (int64_t row = 0; row < file->token_embd.n_row; row++) {
        an_weight_row_f32(&plain->token_embd, row, x);
        an_weight_row_f32(&file->token_embd, row, y);
        assert_memory_equal(x, y, (size_t)file->token_embd.n_col * sizeof *x);
    }
    an_model_file_close(plain);
    an_model_file_close(file);
}

static void die(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    if (done > total / 2) kill(getpid(), SIGKILL);
}

static void killed_conversions_leave_nothing_under_the_name(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 0);
    const char *src = write_gguf(&b, "kill.gguf"), *dst = in_dir("killed/model");
    pid_t pid = fork();
    if (pid == 0) {
        an_convert_options o = {.progress = die};
        an_convert_result r;
        anemo_status status = an_convert_to_mlx(src, dst, &o, &r, &err);
        _exit(status == ANEMO_OK ? 0 : 1);
    }
    int ws;
    assert_int_equal(waitpid(pid, &ws, 0), pid);
    assert_true(WIFSIGNALED(ws) && WTERMSIG(ws) == SIGKILL);
    assert_int_equal(an_path_probe(dst), AN_PATH_ABSENT);
    assert_int_equal(n_entries(in_dir("killed")), 1); /* what it left, under another name */
    assert_ok(convert(src, dst, false, &err), &err);
    assert_int_equal(n_entries(in_dir("killed")), 1); /* removed by the next one */
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 2);
    const char *src = write_gguf(&b, "oom.gguf"), *dst = in_dir("oom/model");
    fail_alloc f = {0};
    do {
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = convert(src, dst, false, &err);
        an_alloc_set_hook(NULL, NULL);
        assert_true(status == ANEMO_OK || f.refused);
        if (status == ANEMO_OK) {
            assert_int_equal(an_path_probe(in_dir("oom/model/model.safetensors")), AN_PATH_FILE);
            remove_flat_dir(dst);
        }
        assert_int_equal(an_path_probe(dst), AN_PATH_ABSENT);
        f.at += 7;
    } while (f.refused);
    assert_true(f.at > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(converted_models_give_the_same_logits),
        cmocka_unit_test(refusals_leave_nothing),
        cmocka_unit_test(tokenizers_survive),
        cmocka_unit_test(damaged_weights_are_refused),
        cmocka_unit_test(options_are_honoured),
        cmocka_unit_test(threads_and_detours_change_nothing),
        cmocka_unit_test(killed_conversions_leave_nothing_under_the_name),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, NULL);
}
