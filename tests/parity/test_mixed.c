/*
 * Models whose matrices want both forms of quantized activations (a scale per 32 columns, a scale per superblock), or one of
 * them alone: products that share an input, heads that no superblock begins with, feed-forward layers that threads share by
 * superblocks and by rows. On every instruction set that quantizes activations, the same bits for any number of threads, any
 * batch and any layout of the weights; and near what f32 gives. Matrix tiles, emulated, with the batches that they take.
 */
#include "support/files.h"
#include "support/gguf_build.h"
#include "support/test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "convert/quantize.h"
#include "engine/session.h"
#include "kernels/table.h"
#include "kernels/wide.h"
#include "model/decoder.h"
#include "os/file.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { N_TOK = 40, N_EMBD = 256, N_VOCAB = 75, N_RULE = 8 };

static const char *const LEVELS[] = {"avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16",
                                     "neon", "dotprod", "i8mm"};

/*
 * Sizes, and the types of attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down output. The output projection has
 * n_head * head_dim columns. Threads share a feed-forward layer by superblocks where each gets eight: 16 are enough for two.
 */
static const struct mixed_case {
    const char *name;
    int n_head, n_head_kv, head_dim, n_ff;
    const char *types[N_RULE];
    double bound; /* root mean square of the difference to f32, as a share of that of the logits */
} CASES[] = {
    {"both in every stage", 4, 1, 64, 4096,
     {"q4_k", "q8_0", "q6_k", "q5_k", "q4_k", "q8_0", "q6_k", "q4_k"}, 0.05},
    {"heads of half a superblock", 4, 2, 64, 2560,
     {"q8_0", "q3_k", "q4_0", "q4_k", "q5_1", "iq4_xs", "q8_0", "q2_k"}, 0.05},
    {"heads across superblocks", 8, 2, 96, 768,
     {"q2_k", "iq4_xs", "f16", "iq4_xs", "f16", "q3_k", "q5_k", "q8_0"}, 0.05},
    {"heads of no whole group", 16, 16, 48, 512,
     {"q6_k", "q5_k", "q4_k", "q3_k", "q2_k", "q6_k", "q4_k", "q6_k"}, 0.05},
    {"superblocks in one matrix", 3, 1, 32, 512,
     {"q8_0", "f16", "q4_1", "q5_0", "iq4_nl", "q8_0", "q5_k", "q8_0"}, 0.05},
    {"superblocks beside floats", 8, 4, 32, 2304,
     {"f32", "q4_k", "bf16", "q6_k", "q4_k", "f32", "f16", "f16"}, 0.05},
};

static char dir[] = "/tmp/anemo-mixed-XXXXXX";
static char *models[AN_COUNT_OF(CASES)];
static int32_t ids[N_TOK];
static anemo_error err;

/* Numbers of unit variance, or so, over the root of the columns. */
static void add_matrix(gguf_build *b, an_rng *rng, const char *name, int64_t n_row, int64_t n_col)
{
    size_t n = (size_t)(n_row * n_col);
    float *data = malloc(n * sizeof *data), scale = 2.0f / sqrtf((float)n_col);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++) {
        double sum = -2;
        for (int k = 0; k < 4; k++) sum += an_rng_f64(rng);
        data[i] = (float)sum * scale;
    }
    gguf_build_tensor(b, name, 0, 2, (int64_t[]){n_row, n_col}, data, n * sizeof *data);
    free(data);
}

static void add_norm(gguf_build *b, an_rng *rng, const char *name)
{
    float data[N_EMBD];
    int64_t n = N_EMBD;
    for (int i = 0; i < N_EMBD; i++) data[i] = 0.5f + (float)an_rng_f64(rng);
    gguf_build_tensor(b, name, 0, 1, &n, data, sizeof data);
}

static void write_floats(const struct mixed_case *c, const char *path)
{
    gguf_build b;
    an_rng rng;
    int64_t n_q = (int64_t)c->n_head * c->head_dim, n_kv = (int64_t)c->n_head_kv * c->head_dim;
    gguf_build_init(&b);
    an_rng_seed(&rng, 11);
    gguf_build_str(&b, "general.architecture", "llama");
    gguf_build_str(&b, "general.name", c->name);
    gguf_build_u32(&b, "llama.block_count", 1);
    gguf_build_u32(&b, "llama.context_length", 64);
    gguf_build_u32(&b, "llama.embedding_length", N_EMBD);
    gguf_build_u32(&b, "llama.feed_forward_length", (uint32_t)c->n_ff);
    gguf_build_u32(&b, "llama.attention.head_count", (uint32_t)c->n_head);
    gguf_build_u32(&b, "llama.attention.head_count_kv", (uint32_t)c->n_head_kv);
    gguf_build_u32(&b, "llama.attention.key_length", (uint32_t)c->head_dim);
    gguf_build_u32(&b, "llama.attention.value_length", (uint32_t)c->head_dim);
    gguf_build_u32(&b, "llama.rope.dimension_count", (uint32_t)c->head_dim);
    gguf_build_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_build_f32(&b, "llama.rope.freq_base", 10000.0f);
    gguf_build_u32(&b, "llama.vocab_size", N_VOCAB);
    gguf_build_str(&b, "tokenizer.ggml.model", "no_vocab");
    add_matrix(&b, &rng, "token_embd.weight", N_VOCAB, N_EMBD);
    add_matrix(&b, &rng, "output.weight", N_VOCAB, N_EMBD);
    add_norm(&b, &rng, "output_norm.weight");
    add_norm(&b, &rng, "blk.0.attn_norm.weight");
    add_norm(&b, &rng, "blk.0.ffn_norm.weight");
    add_matrix(&b, &rng, "blk.0.attn_q.weight", n_q, N_EMBD);
    add_matrix(&b, &rng, "blk.0.attn_k.weight", n_kv, N_EMBD);
    add_matrix(&b, &rng, "blk.0.attn_v.weight", n_kv, N_EMBD);
    add_matrix(&b, &rng, "blk.0.attn_output.weight", N_EMBD, n_q);
    add_matrix(&b, &rng, "blk.0.ffn_gate.weight", c->n_ff, N_EMBD);
    add_matrix(&b, &rng, "blk.0.ffn_up.weight", c->n_ff, N_EMBD);
    add_matrix(&b, &rng, "blk.0.ffn_down.weight", N_EMBD, c->n_ff);
    test_buf file = gguf_build_finish(&b);
    test_buf_write(&file, path);
    test_buf_free(&file);
}

static char *make_model(const struct mixed_case *c, int number)
{
    static const char *const TENSORS[N_RULE] = {"attn_q",   "attn_k", "attn_v",   "attn_output",
                                                "ffn_gate", "ffn_up", "ffn_down", "^output.weight"};
    char rules[N_RULE][40], name[40];
    const char *list[N_RULE];
    an_tensor_types *types;
    an_quantize_result result;
    for (int i = 0; i < N_RULE; i++) {
        snprintf(rules[i], sizeof rules[i], "%s=%s", TENSORS[i], c->types[i]);
        list[i] = rules[i];
    }
    assert_ok(an_tensor_types_make(&types, list, N_RULE, &err), &err);
    snprintf(name, sizeof name, "%d-f32.gguf", number);
    char *floats = an_path_join(dir, name);
    write_floats(c, floats);
    snprintf(name, sizeof name, "%d.gguf", number);
    char *path = an_path_join(dir, name);
    an_quantize_options o = {.mix = an_mix_find("Q8_0"), .n_thread = 1, .overrides = types};
    assert_ok(an_quantize_gguf(floats, path, &o, &result, &err), &err);
    an_quantize_result_free(&result);
    an_tensor_types_free(types);
    an_free(floats);
    return path;
}

static int make_models(void **state)
{
    (void)state;
    an_rng rng;
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) models[i] = make_model(&CASES[i], (int)i);
    an_rng_seed(&rng, 3);
    for (int i = 0; i < N_TOK; i++) ids[i] = (int32_t)an_rng_below(&rng, N_VOCAB);
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) an_free(models[i]);
    remove_flat_dir(dir);
    return 0;
}

/* Logits of all tokens, and behind them those of the last one when nothing else is asked for: [N_TOK + 1, N_VOCAB]. */
static float *run(const char *model, an_session_options o)
{
    an_session *s;
    float *out = an_calloc((N_TOK + 1) * N_VOCAB, sizeof *out);
    assert_non_null(out);
    o.n_ctx = N_TOK;
    o.kv = AN_KV_F32;
    o.compute_set = true;
    assert_ok(an_session_open(&s, model, &o, &err), &err);
    assert_ok(an_session_logits_all(s, ids, N_TOK, out, &err), &err);
    an_session_reset(s);
    assert_ok(an_session_eval(s, ids, N_TOK, &err), &err);
    memcpy(out + N_TOK * N_VOCAB, an_session_logits(s), N_VOCAB * sizeof *out);
    an_session_close(s);
    return out;
}

static void check_bits(const struct mixed_case *c, const an_session_options *o, const float *got, const float *want)
{
    for (int i = 0; i < (N_TOK + 1) * N_VOCAB; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s, %s, %d threads, batches of %d, %s: %.9g instead of %.9g at token %d, id %d", c->name,
                     o->isa, o->n_thread, o->n_batch, an_weights_layout_name(o->layout), (double)got[i],
                     (double)want[i], i / N_VOCAB, i % N_VOCAB);
}

/* The same of a decoder with any kernels, in bf16 where there are more than a few tokens. */
static float *run_wide(const an_kernels *k, const char *model, int n_thread, int n_batch)
{
    an_model_file *m;
    an_decoder *d;
    an_decoder_options o = {.n_ctx = N_TOK, .n_batch = n_batch, .kv = AN_KV_F32, .compute = AN_COMPUTE_BF16,
                            .kernels = k, .n_thread_prefill = n_thread, .n_thread_decode = n_thread};
    float *out = an_calloc((N_TOK + 1) * N_VOCAB, sizeof *out);
    assert_non_null(out);
    assert_ok(an_model_file_open(&m, model, &err), &err);
    assert_ok(an_decoder_open(&d, m, &o, &err), &err);
    assert_ok(an_decoder_run(d, ids, N_TOK, true, out, NULL, &err), &err);
    an_decoder_rewind(d, 0);
    assert_ok(an_decoder_run(d, ids, N_TOK, false, out + N_TOK * N_VOCAB, NULL, &err), &err);
    an_decoder_close(d);
    an_model_file_close(m);
    return out;
}

static void check_near_f32(const struct mixed_case *c, const char *model, const char *level, const float *got)
{
    double square = 0, difference = 0;
    float *exact = run(model, (an_session_options){.isa = level, .n_thread = 2, .compute = AN_COMPUTE_F32});
    for (int i = 0; i < N_TOK * N_VOCAB; i++) {
        double d = (double)got[i] - (double)exact[i];
        difference += d * d;
        square += (double)exact[i] * (double)exact[i];
    }
    an_free(exact);
    double share = sqrt(difference / square);
    print_message("%s, %s: %.4f of f32's logits\n", c->name, level, share);
    /* Not the same as f32 either: the levels do quantize here. */
    if (!(share <= c->bound && share > 1e-5)) fail_msg("%s, %s: %g off f32, bound %g", c->name, level, share, c->bound);
}

static void one_level(const char *level)
{
    static const int BATCHES[] = {1, 3, 4, 5, 8, 12, 16, 17, 40}, THREADS[] = {2, 1, 3, 9, 5};
    static const an_weights_layout LAYOUTS[] = {AN_WEIGHTS_MAPPED, AN_WEIGHTS_REPACKED};
    int turn = 0;
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) {
        an_session_options o = {.isa = level, .compute = AN_COMPUTE_Q8, .n_thread = 1, .n_batch = 1,
                                .layout = AN_WEIGHTS_MAPPED};
        float *want = run(models[i], o);
        check_near_f32(&CASES[i], models[i], level, want);
        for (size_t b = 0; b < AN_COUNT_OF(BATCHES); b++)
            for (int k = 0; k < 2; k++, turn++) {
                o.n_batch = BATCHES[b];
                o.n_thread = THREADS[turn % (int)AN_COUNT_OF(THREADS)];
                if (o.n_batch < 5 && o.n_thread > 5) o.n_thread = 4; /* many barriers, each a wait for the processor */
                o.layout = LAYOUTS[k];
                float *got = run(models[i], o);
                check_bits(&CASES[i], &o, got, want);
                an_free(got);
            }
        an_free(want);
    }
}

static void test_levels(void **state)
{
    (void)state;
    const char *only_level = getenv("ANEMO_TINY_LEVEL");
    int n = 0;
    for (size_t l = 0; l < AN_COUNT_OF(LEVELS); l++) {
        const an_kernels *k;
        if (only_level && strcmp(only_level, LEVELS[l]) != 0) continue;
        if (an_session_choose_kernels(LEVELS[l], &k, NULL) != ANEMO_OK) continue;
        if (strcmp(an_kernels_name(k), LEVELS[l]) || !an_kernels_can(k, AN_COMPUTE_Q8)) continue;
        one_level(LEVELS[l]);
        n++;
    }
    if (!n) skip();
}

extern const an_wide kcheck_wide_plain;

/* Matrix tiles, emulated: batches of 40 and 20 are bf16 alone; of 24, the second one has 16 tokens, 8-bit activations. */
static void test_tiles(void **state)
{
    (void)state;
    static const struct {
        int n_batch, n_thread, as; /* `as`: batches that give the same bits */
    } WAYS[] = {{40, 5, 40}, {20, 2, 40}, {24, 3, 24}};
    if (getenv("ANEMO_TINY_LEVEL")) skip();
    an_kernels k = *an_kernels_for(0);
    k.wide = &kcheck_wide_plain;
    for (size_t i = 0; i < AN_COUNT_OF(CASES); i++) {
        float *whole = run_wide(&k, models[i], 1, 40), *cut = run_wide(&k, models[i], 1, 24);
        check_near_f32(&CASES[i], models[i], "scalar", whole);
        for (size_t j = 0; j < AN_COUNT_OF(WAYS); j++) {
            an_session_options o = {.isa = "tiles", .n_batch = WAYS[j].n_batch, .n_thread = WAYS[j].n_thread,
                                    .layout = AN_WEIGHTS_MAPPED};
            float *got = run_wide(&k, models[i], o.n_thread, o.n_batch);
            check_bits(&CASES[i], &o, got, WAYS[j].as == 40 ? whole : cut);
            an_free(got);
        }
        an_free(cut);
        an_free(whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels), cmocka_unit_test(test_tiles)};
    return cmocka_run_group_tests_name("mixed", tests, make_models, remove_models);
}
