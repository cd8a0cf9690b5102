/*
 * Models with random weights: the same bytes whatever the threads and the number of layers, the bytes that an
 * implementation of the streams apart from ours gives, GGUF and MLX twins with equal weights, logits and ids, a vocabulary
 * that finds words, and nothing under the name of what failed.
 */
#include "support/test.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "base/str.h"
#include "convert/convert.h"
#include "convert/source.h"
#include "convert/synth.h"
#include "format/safetensors.h"
#include "kernels/kernels.h"
#include "model/decoder.h"
#include "os/file.h"
#include "support/fnv.h"
#include "token/tokenizer.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/anemo-test-XXXXXX";

/* Small, with rows of whole K blocks, query heads that differ from the width, and rows of cells that do not divide. */
static const char shape_json[] =
    "{\"model_type\":\"mistral\",\"hidden_size\":256,\"intermediate_size\":768,\"num_hidden_layers\":3,"
    "\"num_attention_heads\":6,\"num_key_value_heads\":2,\"head_dim\":64,\"vocab_size\":1200,"
    "\"max_position_embeddings\":4096,\"rms_norm_eps\":1e-5,\"rope_theta\":1000000.0,\"sliding_window\":null,"
    "\"tie_word_embeddings\":false}";

enum { N_CTX = 24 };

static const char *in_dir(const char *name)
{
    static char paths[64][200];
    static int next;
    char *path = paths[next++ % 64];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    anemo_error err;
    if (!mkdtemp(dir)) return 1;
    return an_file_write(in_dir("config.json"), shape_json, sizeof shape_json - 1, &err) == ANEMO_OK ? 0 : 1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
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

static anemo_status synth(const char *dst, an_synth_options o, anemo_error *err)
{
    an_synth_result r;
    if (!o.shape) o.shape = in_dir("config.json");
    if (!o.n_thread) o.n_thread = 2;
    anemo_status status = an_synth(dst, &o, &r, err);
    if (status == ANEMO_OK) an_synth_result_free(&r);
    return status;
}

static void make(const char *dst, an_synth_options o)
{
    anemo_error err;
    o.force = true;
    assert_ok(synth(dst, o, &err), &err);
}

static void assert_same_file(const char *a, const char *b)
{
    anemo_error err;
    an_file_map x, y;
    assert_ok(an_file_map_open(&x, a, &err), &err);
    assert_ok(an_file_map_open(&y, b, &err), &err);
    if (x.size != y.size || memcmp(x.data, y.data, (size_t)x.size)) fail_msg("%s and %s differ", a, b);
    an_file_unmap(&x);
    an_file_unmap(&y);
}

/* ------------------------------------------------------------------------------------------------------- the same bytes */

static void threads_and_layers_change_nothing(void **state)
{
    (void)state;
    anemo_error err;
    an_gguf *all, *one;
    const char *a = in_dir("a.gguf"), *b = in_dir("b.gguf");
    make(a, (an_synth_options){.quant = "Q4_K_M", .n_thread = 1, .seed = 7});
    for (int n = 2; n <= 5; n++) {
        make(b, (an_synth_options){.quant = "Q4_K_M", .n_thread = n, .seed = 7});
        assert_same_file(a, b);
    }
    make(a, (an_synth_options){.quant = "Q8_0"});
    make(b, (an_synth_options){.quant = "Q8_0", .n_layer = 1});
    assert_ok(an_gguf_open(&all, a, &err), &err);
    assert_ok(an_gguf_open(&one, b, &err), &err);
    assert_int_equal(an_gguf_n_tensor(all), 3 + 3 * 9);
    assert_int_equal(an_gguf_n_tensor(one), 3 + 9);
    for (size_t i = 0; i < an_gguf_n_tensor(one); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(one, i), *same = an_gguf_find_tensor(all, t->name);
        assert_non_null(same);
        assert_int_equal(t->bytes, same->bytes);
        assert_memory_equal(t->data, same->data, t->bytes);
    }
    /* Different tensors and seeds do not share their numbers. */
    const an_gguf_tensor *up = an_gguf_find_tensor(one, "blk.0.ffn_up.weight"),
                         *gate = an_gguf_find_tensor(one, "blk.0.ffn_gate.weight");
    assert_memory_not_equal(up->data, gate->data, 34);
    make(b, (an_synth_options){.quant = "Q8_0", .seed = 1});
    an_gguf *other;
    assert_ok(an_gguf_open(&other, b, &err), &err);
    assert_memory_not_equal(up->data, an_gguf_find_tensor(other, "blk.0.ffn_up.weight")->data, 34);
    an_gguf_close(all);
    an_gguf_close(one);
    an_gguf_close(other);
}

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

/* Word i of a cell's stream by one plain sfc32 generator: eight of them take turns. */
static uint32_t word_of(const char *name, uint64_t seed, uint64_t cell, unsigned which, size_t i)
{
    uint64_t h = 0xCBF29CE484222325u, x = seed;
    for (const char *p = name; *p; p++) h = (h ^ (unsigned char)*p) * 0x100000001B3u;
    uint64_t key = splitmix(&x) ^ splitmix(&h);
    uint64_t at = key ^ (cell * 4 + which) * 0xD1342543DE82EF95u, r[12];
    for (int k = 0; k < 12; k++) r[k] = splitmix(&at);
    size_t lane = i % 8;
    uint32_t s[3];
    for (size_t w = 0; w < 3; w++) s[w] = (uint32_t)(r[4 * w + lane / 2] >> (lane % 2 ? 32 : 0));
    uint32_t out = 0;
    for (uint32_t n = 1; n <= i / 8 + 1; n++) {
        out = s[0] + s[1] + n;
        s[0] = s[1] ^ s[1] >> 9;
        s[1] = s[2] + (s[2] << 3);
        s[2] = (s[2] << 21 | s[2] >> 11) + out;
    }
    return out;
}

/* The codes of a Q4_0 tensor lie where the stream of its cell puts them. */
static void streams_are_sfc32(void **state)
{
    (void)state;
    anemo_error err;
    an_gguf *g;
    const char *name = "blk.1.ffn_down.weight";
    make(in_dir("a.gguf"), (an_synth_options){.quant = "Q4_0", .pure = true, .seed = 3});
    assert_ok(an_gguf_open(&g, in_dir("a.gguf"), &err), &err);
    const unsigned char *data = an_gguf_find_tensor(g, name)->data;
    enum { CELL_BYTES = 16384 / 32 * 18 };
    for (uint64_t cell = 0; cell < 12; cell += 11) {
        for (size_t i = 0; i < CELL_BYTES; i += 37) {
            if (i % 18 < 2) continue; /* a scale */
            uint32_t word = word_of(name, 3, cell, 1, i / 4);
            assert_int_equal(data[cell * CELL_BYTES + i], word >> i % 4 * 8 & 0xFF);
        }
    }
    an_gguf_close(g);
}

/* What this machine makes, every other makes: checksums of all bytes of a tensor. */
static void bytes_are_pinned(void **state)
{
    (void)state;
    anemo_error err;
    static const struct {
        const char *quant;
        uint32_t sum;
    } cases[] = {
        {"Q4_0", 0x77EDB5E1u},
        {"Q4_1", 0x8075FC02u},
        {"Q5_0", 0xDD133EB4u},
        {"Q5_1", 0x1D1E67D4u},
        {"Q8_0", 0x28B1ECF4u},
        {"Q2_K", 0x4A239AD1u},
        {"Q3_K_S", 0xA00BC0D8u},
        {"Q4_K_S", 0xC8F49D3Bu},
        {"Q5_K_S", 0xC591BEFFu},
        {"Q6_K", 0xD0571BFBu},
        {"IQ4_NL", 0x237A1205u},
        {"IQ4_XS", 0x2A68E93Bu},
        {"F16", 0x21C6E41Eu},
        {"BF16", 0xFB646BDFu},
        {"F32", 0x3C0B002Eu},
    };
    size_t n_bad = 0;
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_gguf *g;
        make(in_dir("a.gguf"), (an_synth_options){.quant = cases[i].quant, .pure = true, .n_layer = 1});
        assert_ok(an_gguf_open(&g, in_dir("a.gguf"), &err), &err);
        const an_gguf_tensor *t = an_gguf_find_tensor(g, "blk.0.attn_k.weight");
        uint32_t sum = fnv(t->data, (size_t)t->bytes);
        if (sum != cases[i].sum) {
            print_error("%s: 0x%08X, expected 0x%08X\n", cases[i].quant, sum, cases[i].sum);
            n_bad++;
        }
        an_gguf_close(g);
    }
    assert_int_equal(n_bad, 0);
}

/* ----------------------------------------------------------------------------------------------------- sane weights */

/* Every type: finite, about 0, with a spread near 1 / sqrt(n_col). */
static void weights_have_the_spread_of_a_model(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const types[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1",   "Q8_0",   "Q2_K", "Q3_K_S", "Q4_K_S",
                                        "Q5_K_S", "Q6_K", "IQ4_NL", "IQ4_XS", "F16",  "BF16", "F32"};
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        an_source *s;
        make(in_dir("a.gguf"), (an_synth_options){.quant = types[i], .pure = true, .n_layer = 1});
        assert_ok(an_source_open(&s, in_dir("a.gguf"), &err), &err);
        assert_ok(an_model_check_values(s->model, &err), &err);
        for (size_t k = 0; k < s->n_tensor; k++) {
            const an_source_tensor *t = &s->tensors[k];
            size_t n = (size_t)(t->n_row * t->n_col);
            float *v = malloc(n * sizeof *v);
            double sum = 0, sq = 0;
            assert_ok(an_source_rows(s, t, 0, t->n_row, v, &err), &err);
            for (size_t j = 0; j < n; j++) sum += (double)v[j], sq += (double)v[j] * (double)v[j];
            free(v);
            if (t->n_dim == 1) {
                assert_true(sq == (double)n && sum == (double)n);
                continue;
            }
            double rms = sqrt(sq / (double)n) * sqrt((double)t->n_col), mean = sum / (double)n * sqrt((double)t->n_col);
            if (fabs(rms - 1) > 0.06 || fabs(mean) > 0.03)
                fail_msg("%s %s: spread %g, mean %g of 1/sqrt(n_col)", types[i], t->name, rms, mean);
        }
        an_source_close(s);
    }
}

/* --------------------------------------------------------------------------------------------------------------- twins */

static float *logits_of(const char *path)
{
    static const int32_t ids[N_CTX] = {1, 300, 400, 500, 600, 700, 800, 900, 1000, 1100, 301, 302,
                                       303, 304, 305, 306, 307, 308, 309, 310, 311,  312,  313, 314};
    anemo_error err;
    an_model_file *m;
    an_decoder *d;
    assert_ok(an_model_file_open(&m, path, &err), &err);
    float *out = malloc((size_t)N_CTX * (size_t)m->hp.n_vocab * sizeof *out);
    an_decoder_options o = {.n_ctx = N_CTX,
                            .n_batch = N_CTX,
                            .kv = AN_KV_F32,
                            .compute = AN_COMPUTE_F32,
                            .n_thread_prefill = 1,
                            .n_thread_decode = 1,
                            .kernels = an_kernels_for(0)};
    assert_ok(an_decoder_open(&d, m, &o, &err), &err);
    assert_ok(an_decoder_run(d, ids, N_CTX, true, out, NULL, &err), &err);
    an_decoder_close(d);
    an_model_file_close(m);
    return out;
}

static void assert_same_weights(const char *gguf, const char *mlx)
{
    anemo_error err;
    an_source *a, *b;
    assert_ok(an_source_open(&a, gguf, &err), &err);
    assert_ok(an_source_open(&b, mlx, &err), &err);
    assert_int_equal(a->n_tensor, b->n_tensor);
    for (size_t i = 0; i < a->n_tensor; i++) {
        const an_source_tensor *t = &a->tensors[i], *u = an_source_find(b, t->field, t->layer);
        assert_non_null(u);
        size_t n = (size_t)(t->n_row * t->n_col);
        float *x = malloc(2 * n * sizeof *x), *y = x + n;
        assert_ok(an_source_rows_in(a, t, AN_ROPE_HALF_SPLIT, 0, t->n_row, x, &err), &err);
        assert_ok(an_source_rows_in(b, u, AN_ROPE_HALF_SPLIT, 0, u->n_row, y, &err), &err);
        for (size_t k = 0; k < n; k++)
            if (x[k] != y[k]) fail_msg("%s element %zu: %.9g in GGUF, %.9g in MLX", t->name, k, (double)x[k], (double)y[k]);
        free(x);
    }
    an_source_close(a);
    an_source_close(b);
}

/* Names, types, shapes and bytes. */
static void assert_same_tensors(const char *dir_a, const char *dir_b)
{
    anemo_error err;
    an_safetensors *a, *b;
    assert_ok(an_safetensors_open(&a, dir_a, &err), &err);
    assert_ok(an_safetensors_open(&b, dir_b, &err), &err);
    assert_int_equal(an_safetensors_n_tensor(a), an_safetensors_n_tensor(b));
    for (size_t i = 0; i < an_safetensors_n_tensor(a); i++) {
        const an_st_tensor *t = an_safetensors_tensor_at(a, i), *u = an_safetensors_tensor_at(b, i);
        assert_string_equal(t->name, u->name);
        assert_string_equal(t->dtype_name, u->dtype_name);
        assert_int_equal(t->n_dim, u->n_dim);
        assert_memory_equal(t->shape, u->shape, sizeof t->shape);
        assert_int_equal(t->bytes, u->bytes);
        if (memcmp(t->data, u->data, (size_t)t->bytes)) fail_msg("%s differs", t->name);
    }
    an_safetensors_close(a);
    an_safetensors_close(b);
}

static void twins_have_the_same_weights_and_logits(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const types[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "F16", "BF16", "F32"};
    const char *gguf = in_dir("twin.gguf"), *mlx = in_dir("twin"), *converted = in_dir("converted");
    size_t n_converted = 0;
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        make(gguf, (an_synth_options){.quant = types[i], .pure = true});
        make(mlx, (an_synth_options){.quant = types[i], .format = AN_SYNTH_MLX});
        assert_same_weights(gguf, mlx);
        float *a = logits_of(gguf), *b = logits_of(mlx);
        for (size_t k = 0; k < (size_t)N_CTX * 1200; k++) {
            if (!isfinite(a[k]) || fabsf(a[k]) > 20) fail_msg("%s: logit %g", types[i], (double)a[k]);
            if (a[k] != b[k]) fail_msg("%s: logits %.9g and %.9g", types[i], (double)a[k], (double)b[k]);
        }
        free(a);
        free(b);
        an_convert_options o = {.force = true};
        an_convert_result r = {0};
        assert_ok(an_convert_to_mlx(gguf, converted, &o, &r, &err), &err);
        assert_int_equal(r.n_rounded, 0);
        an_convert_result_free(&r);
        n_converted++;
        assert_same_tensors(in_dir("twin"), in_dir("converted"));
        assert_same_file(in_dir("twin/tokenizer.json"), in_dir("converted/tokenizer.json"));
    }
    assert_int_equal(n_converted, AN_COUNT_OF(types));
}

/* ---------------------------------------------------------------------------------------------------------- vocabulary */

/* Our shape with another vocabulary, as a file. */
static const char *shape_with(int n_vocab)
{
    anemo_error err;
    an_str s = {0};
    const char *path = in_dir("other.json"), *at = strstr(shape_json, "1200");
    an_str_append_bytes(&s, shape_json, (size_t)(at - shape_json));
    an_str_appendf(&s, "%d%s", n_vocab, at + 4);
    assert_ok(an_file_write(path, s.data, s.len, &err), &err);
    an_str_free(&s);
    return path;
}

static void vocabularies_find_words(void **state)
{
    (void)state;
    anemo_error err;
    static const struct {
        const char *shape; /* NULL: ours with that many entries */
        int n;
        int32_t first_byte;
        an_chat_format chat;
    } cases[] = {{NULL, 32000, 3, AN_CHAT_MISTRAL_V1},
                 {NULL, 32768, 771, AN_CHAT_MISTRAL_V3},
                 {"smollm2-135m", 49152, 17, AN_CHAT_CHATML},
                 {NULL, 131072, 1000, AN_CHAT_MISTRAL_V7}};
    static const char text[] = "The lighthouse keeper of the northern station had been there for years, and nothing else "
                               "was known\n of Zo\xC3\xAB\xE2\x80\x99s 1234 nights (\xE6\x97\xA5\xE6\x9C\xAC).";
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_tokenizer *a, *b;
        an_ids x = {0}, y = {0};
        an_str back = {0};
        const char *shape = cases[i].shape ? cases[i].shape : shape_with(cases[i].n);
        make(in_dir("v.gguf"), (an_synth_options){.shape = shape, .quant = "Q2_K", .n_layer = 1});
        make(in_dir("v"), (an_synth_options){.shape = shape, .quant = "2bit", .n_layer = 1, .format = AN_SYNTH_MLX});
        assert_ok(an_tokenizer_open(&a, in_dir("v.gguf"), &err), &err);
        assert_ok(an_tokenizer_open(&b, in_dir("v"), &err), &err);
        assert_int_equal(an_tokenizer_n_vocab(a), cases[i].n);
        assert_int_equal(an_tokenizer_n_vocab(b), cases[i].n);
        assert_int_equal(an_tokenizer_find(a, "<0x00>"), cases[i].first_byte);
        assert_int_equal(an_tokenizer_chat_format(a), cases[i].chat);
        assert_ok(an_tokenizer_encode(a, text, sizeof text - 1, false, &x, &err), &err);
        assert_ok(an_tokenizer_encode(b, text, sizeof text - 1, false, &y, &err), &err);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        assert_true(x.n < (sizeof text - 1) / 2);
        an_tokenizer_decode(a, x.ids, x.n, false, false, &back);
        assert_string_equal(an_str_text(&back), text);
        an_str_free(&back);
        an_ids_free(&x);
        an_ids_free(&y);
        an_tokenizer_close(a);
        an_tokenizer_close(b);
    }
}

/* Every shape is a model that our own readers accept, experts aside. */
static void all_shapes_are_models(void **state)
{
    (void)state;
    anemo_error err;
    for (size_t i = 0; an_synth_shape_name(i); i++) {
        an_synth_result r;
        an_synth_options o = {.shape = an_synth_shape_name(i), .quant = "Q4_K_M", .dry_run = true, .n_thread = 1};
        assert_ok(an_synth("", &o, &r, &err), &err);
        assert_true(r.n_tensor > 200 && r.weight_bytes > 50000000);
        an_synth_result_free(&r);
    }
    /* 7B's published sizes: 7 248 023 552 parameters; llama.cpp's Q4_K_M file has 4372 MB of tensors. */
    an_synth_result r;
    an_synth_options o = {.shape = "mistral-7b-v0.3", .quant = "Q4_K_M", .dry_run = true, .n_thread = 1};
    assert_ok(an_synth("", &o, &r, &err), &err);
    assert_int_equal(r.n_weight, 7248023552);
    assert_int_equal(r.kv_token_bytes, 131072);
    an_synth_result_free(&r);
}

/* ------------------------------------------------------------------------------------------------------------ failures */

static void refusals_name_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        an_synth_options o;
        anemo_status status;
        const char *says;
    } cases[] = {
        {{.shape = "mistral-9b", .quant = "Q4_0"}, ANEMO_ERR_INVAL, "shapes are: smollm2-135m"},
        {{.quant = "Q9"}, ANEMO_ERR_INVAL, "'Q9' is no type"},
        {{.quant = "Q4_K_M", .format = AN_SYNTH_MLX}, ANEMO_ERR_INVAL, "Q4_K_M has no exact MLX form; Q4_0 Q4_1 Q5_0"},
        {{.quant = "Q6_K", .format = AN_SYNTH_MLX}, ANEMO_ERR_INVAL, "Q6_K has no exact MLX form"},
        {{.quant = "IQ4_NL", .format = AN_SYNTH_MLX}, ANEMO_ERR_INVAL, "IQ4_NL has no exact MLX form"},
        {{.quant = "4bit"}, ANEMO_ERR_INVAL, "4bit is MLX's alone"},
        {{.quant = "7bit", .format = AN_SYNTH_MLX}, ANEMO_ERR_INVAL, "'7bit' is no type"},
        {{.quant = "4bit-g16", .format = AN_SYNTH_MLX}, ANEMO_ERR_INVAL, "'4bit-g16' is no type"},
        {{.quant = "Q4_0", .n_layer = 4}, ANEMO_ERR_INVAL, "--layers 4: the shape has 3"},
        {{.shape = "mixtral-8x7b", .quant = "Q4_0", .format = AN_SYNTH_MLX}, ANEMO_ERR_UNSUPPORTED, "GGUF only"},
    };
    const char *folder = in_dir("refused"), *dst = in_dir("refused/out");
    anemo_error err;
    assert_ok(an_dir_make(folder, &err), &err);
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        assert_int_equal(synth(dst, cases[i].o, &err), cases[i].status);
        if (!strstr(err.message, cases[i].says)) fail_msg("'%s' does not say '%s'", err.message, cases[i].says);
        assert_int_equal(n_entries(folder), 0);
    }
    for (int format = AN_SYNTH_GGUF; format <= AN_SYNTH_MLX; format++) {
        an_synth_options o = {.quant = "Q4_0", .format = (an_synth_format)format};
        assert_ok(an_file_write(dst, "x", 1, &err), &err);
        assert_int_equal(synth(dst, o, &err), ANEMO_ERR_INVAL);
        assert_non_null(strstr(err.message, "exists already"));
        assert_int_equal(an_path_size(dst), 1);
        assert_ok(an_path_remove(dst, &err), &err);
    }
}

static void small_vocabularies_are_refused(void **state)
{
    (void)state;
    anemo_error err;
    assert_int_equal(synth(in_dir("small.gguf"), (an_synth_options){.shape = shape_with(320), .quant = "F16"}, &err),
                     ANEMO_ERR_INVAL);
    assert_non_null(strstr(err.message, "320 entries is too small"));
    assert_int_equal(an_path_probe(in_dir("small.gguf")), AN_PATH_ABSENT);
}

static void die(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    if (done > total / 2) kill(getpid(), SIGKILL);
}

static void killed_runs_leave_nothing_under_the_name(void **state)
{
    (void)state;
    anemo_error err;
    for (int format = AN_SYNTH_GGUF; format <= AN_SYNTH_MLX; format++) {
        const char *dst = in_dir(format ? "killed/mlx" : "killed/gguf");
        an_synth_options o = {.quant = "F32", .format = (an_synth_format)format, .progress = die, .n_thread = 1};
        assert_ok(an_dir_make(in_dir("killed"), &err), &err);
        pid_t pid = fork();
        if (pid == 0) _exit(synth(dst, o, &err) == ANEMO_OK ? 0 : 1);
        int ws;
        assert_int_equal(waitpid(pid, &ws, 0), pid);
        assert_true(WIFSIGNALED(ws) && WTERMSIG(ws) == SIGKILL);
        assert_int_equal(an_path_probe(dst), AN_PATH_ABSENT);
        o.progress = NULL;
        assert_ok(synth(dst, o, &err), &err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_and_layers_change_nothing),
        cmocka_unit_test(streams_are_sfc32),
        cmocka_unit_test(bytes_are_pinned),
        cmocka_unit_test(weights_have_the_spread_of_a_model),
        cmocka_unit_test(twins_have_the_same_weights_and_logits),
        cmocka_unit_test(vocabularies_find_words),
        cmocka_unit_test(all_shapes_are_models),
        cmocka_unit_test(refusals_name_what_is_wrong),
        cmocka_unit_test(small_vocabularies_are_refused),
        cmocka_unit_test(killed_runs_leave_nothing_under_the_name),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
