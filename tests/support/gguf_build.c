/* The GGUF builder of the tests. */
#include "support/gguf_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void test_buf_put(test_buf *b, const void *data, size_t n)
{
    if (n == 0) return;
    if (b->n + n > b->cap) {
        b->cap = (b->n + n) * 2;
        b->data = realloc(b->data, b->cap);
        if (!b->data) abort();
    }
    if (data)
        memcpy(b->data + b->n, data, n);
    else
        memset(b->data + b->n, 0, n);
    b->n += n;
}

void test_buf_u8(test_buf *b, unsigned v)
{
    unsigned char c = (unsigned char)v;
    test_buf_put(b, &c, 1);
}

void test_buf_u16(test_buf *b, unsigned v)
{
    test_buf_u8(b, v & 255);
    test_buf_u8(b, v >> 8 & 255);
}

void test_buf_u32(test_buf *b, uint32_t v)
{
    test_buf_u16(b, v & 0xFFFF);
    test_buf_u16(b, v >> 16);
}

void test_buf_u64(test_buf *b, uint64_t v)
{
    test_buf_u32(b, (uint32_t)v);
    test_buf_u32(b, (uint32_t)(v >> 32));
}

void test_buf_f32(test_buf *b, float v)
{
    test_buf_put(b, &v, 4);
}

void test_buf_zero(test_buf *b, size_t n)
{
    test_buf_put(b, NULL, n);
}

void test_buf_free(test_buf *b)
{
    free(b->data);
    *b = (test_buf){0};
}

void test_buf_write(const test_buf *b, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f || (b->n && fwrite(b->data, b->n, 1, f) != 1) || fclose(f) != 0) abort();
}

void gguf_build_init(gguf_build *b)
{
    *b = (gguf_build){.version = 3, .alignment = 32};
}

static void put_string(test_buf *b, const char *text)
{
    test_buf_u64(b, strlen(text));
    test_buf_put(b, text, strlen(text));
}

void gguf_build_key(gguf_build *b, const char *key, uint32_t type)
{
    put_string(&b->kv, key);
    test_buf_u32(&b->kv, type);
    b->n_kv++;
}

void gguf_build_u16(gguf_build *b, const char *key, unsigned v)
{
    gguf_build_key(b, key, 2);
    test_buf_u16(&b->kv, v);
}

void gguf_build_u32(gguf_build *b, const char *key, uint32_t v)
{
    gguf_build_key(b, key, 4);
    test_buf_u32(&b->kv, v);
}

void gguf_build_i32(gguf_build *b, const char *key, int32_t v)
{
    gguf_build_key(b, key, 5);
    test_buf_u32(&b->kv, (uint32_t)v);
}

void gguf_build_u64(gguf_build *b, const char *key, uint64_t v)
{
    gguf_build_key(b, key, 10);
    test_buf_u64(&b->kv, v);
}

void gguf_build_f32(gguf_build *b, const char *key, float v)
{
    gguf_build_key(b, key, 6);
    test_buf_f32(&b->kv, v);
}

void gguf_build_bool(gguf_build *b, const char *key, int v)
{
    gguf_build_key(b, key, 7);
    test_buf_u8(&b->kv, (unsigned)v);
}

void gguf_build_str(gguf_build *b, const char *key, const char *v)
{
    gguf_build_key(b, key, 8);
    put_string(&b->kv, v);
}

static void put_array(gguf_build *b, const char *key, uint32_t elem, size_t n)
{
    gguf_build_key(b, key, 9);
    test_buf_u32(&b->kv, elem);
    test_buf_u64(&b->kv, n);
}

void gguf_build_strs(gguf_build *b, const char *key, const char *const *v, size_t n)
{
    put_array(b, key, 8, n);
    for (size_t i = 0; i < n; i++)
        put_string(&b->kv, v[i]);
}

void gguf_build_i32s(gguf_build *b, const char *key, const int32_t *v, size_t n)
{
    put_array(b, key, 5, n);
    for (size_t i = 0; i < n; i++)
        test_buf_u32(&b->kv, (uint32_t)v[i]);
}

void gguf_build_f32s(gguf_build *b, const char *key, const float *v, size_t n)
{
    put_array(b, key, 6, n);
    for (size_t i = 0; i < n; i++)
        test_buf_f32(&b->kv, v[i]);
}

void gguf_build_info(gguf_build *b, const char *name, uint32_t n_dim, const uint64_t *dims,
                     uint32_t ggml_type, uint64_t offset)
{
    put_string(&b->infos, name);
    test_buf_u32(&b->infos, n_dim);
    for (uint32_t i = 0; i < n_dim; i++)
        test_buf_u64(&b->infos, dims[i]);
    test_buf_u32(&b->infos, ggml_type);
    test_buf_u64(&b->infos, offset);
    b->n_tensor++;
}

void gguf_build_tensor(gguf_build *b, const char *name, uint32_t ggml_type, int n_dim,
                       const int64_t *shape, const void *data, size_t bytes)
{
    uint64_t dims[4];
    test_buf_zero(&b->data, (size_t)(-b->data.n % b->alignment));
    for (int i = 0; i < n_dim; i++)
        dims[i] = (uint64_t)shape[n_dim - 1 - i];
    gguf_build_info(b, name, (uint32_t)n_dim, dims, ggml_type, b->data.n);
    test_buf_put(&b->data, data, bytes);
}

test_buf gguf_build_finish(gguf_build *b)
{
    test_buf out = {0};
    test_buf_put(&out, "GGUF", 4);
    test_buf_u32(&out, b->version);
    test_buf_u64(&out, b->n_tensor);
    test_buf_u64(&out, b->n_kv);
    test_buf_put(&out, b->kv.data, b->kv.n);
    test_buf_put(&out, b->infos.data, b->infos.n);
    if (b->n_tensor) {
        test_buf_zero(&out, (size_t)(-out.n % b->alignment));
        test_buf_put(&out, b->data.data, b->data.n);
        test_buf_zero(&out, (size_t)(-b->data.n % b->alignment));
    }
    test_buf_free(&b->kv);
    test_buf_free(&b->infos);
    test_buf_free(&b->data);
    return out;
}

/* A fixed sequence; small values, so that scales stay harmless. */
static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/* Any bytes are codes, but the scales at the head of a block must be finite: 0x2xxx is about 0.01.
 */
static void add_matrix(gguf_build *b, const char *name, uint32_t type, int64_t rows, int64_t cols,
                       uint32_t *seed)
{
    static const struct {
        uint32_t type;
        size_t elems, bytes, halves;
    } kinds[] = {{0, 1, 4, 0},   {1, 1, 2, 1},   {2, 32, 18, 1}, {3, 32, 20, 2},
                 {6, 32, 22, 1}, {7, 32, 24, 2}, {8, 32, 34, 1}, {20, 32, 18, 1}};
    size_t k = 0;
    while (kinds[k].type != type)
        k++;
    size_t blocks = (size_t)(rows * cols) / kinds[k].elems, bytes = blocks * kinds[k].bytes;
    unsigned char *data = malloc(bytes);
    if (!data) abort();
    for (size_t i = 0; i < bytes; i++)
        data[i] = (unsigned char)next(seed);
    for (size_t i = 0; i < blocks; i++) {
        unsigned char *block = data + i * kinds[k].bytes;
        for (size_t h = 0; h < kinds[k].halves; h++)
            block[2 * h + 1] = (unsigned char)(0x20 | (block[2 * h + 1] & 0x83));
        if (type == 0) {
            float f = (float)(next(seed) % 2001) / 10000.0f - 0.1f;
            memcpy(block, &f, 4);
        }
    }
    int64_t shape[2] = {rows, cols};
    gguf_build_tensor(b, name, type, 2, shape, data, bytes);
    free(data);
}

static void add_norm(gguf_build *b, const char *name, int64_t n)
{
    float data[64];
    for (int64_t i = 0; i < n; i++)
        data[i] = 1.0f + (float)(i % 7) / 16.0f;
    gguf_build_tensor(b, name, 0, 1, &n, data, (size_t)n * 4);
}

void gguf_build_tiny_llama(gguf_build *b, uint32_t ggml_type)
{
    static const char *const tokens[32] = {
        "<unk>", "<s>", "</s>", "a", "b", "c", "d", "e",        "f",  "g",  "h",
        "i",     "j",   "k",    "l", "m", "n", "o", "p",        "q",  "r",  "s",
        "t",     "u",   "v",    "w", "x", "y", "z", "\xC4\xA0", "th", "the"};
    static const char *const merges[2] = {"t h", "th e"};
    int32_t types[32] = {3, 3, 3};
    for (int i = 3; i < 32; i++)
        types[i] = 1;
    gguf_build_str(b, "general.architecture", "llama");
    gguf_build_str(b, "general.name", "tiny");
    gguf_build_u32(b, "llama.block_count", 2);
    gguf_build_u32(b, "llama.context_length", 128);
    gguf_build_u32(b, "llama.embedding_length", 64);
    gguf_build_u32(b, "llama.feed_forward_length", 96);
    gguf_build_u32(b, "llama.attention.head_count", 4);
    gguf_build_u32(b, "llama.attention.head_count_kv", 2);
    gguf_build_u32(b, "llama.rope.dimension_count", 16);
    gguf_build_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_build_f32(b, "llama.rope.freq_base", 10000.0f);
    gguf_build_u32(b, "llama.vocab_size", 32);
    gguf_build_str(b, "tokenizer.ggml.model", "gpt2");
    gguf_build_str(b, "tokenizer.ggml.pre", "gpt-2");
    gguf_build_strs(b, "tokenizer.ggml.tokens", tokens, 32);
    gguf_build_i32s(b, "tokenizer.ggml.token_type", types, 32);
    gguf_build_strs(b, "tokenizer.ggml.merges", merges, 2);
    gguf_build_u32(b, "tokenizer.ggml.bos_token_id", 1);
    gguf_build_u32(b, "tokenizer.ggml.eos_token_id", 2);
    gguf_build_u32(b, "tokenizer.ggml.unknown_token_id", 0);
    gguf_build_bool(b, "tokenizer.ggml.add_bos_token", 1);

    uint32_t seed = 7;
    add_matrix(b, "token_embd.weight", ggml_type, 32, 64, &seed);
    add_norm(b, "output_norm.weight", 64);
    for (int l = 0; l < 2; l++) {
        static const struct {
            const char *name;
            int64_t rows, cols;
        } mats[] = {{"attn_q", 64, 64},      {"attn_k", 32, 64},   {"attn_v", 32, 64},
                    {"attn_output", 64, 64}, {"ffn_gate", 96, 64}, {"ffn_up", 96, 64},
                    {"ffn_down", 64, 96}};
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_norm.weight", l);
        add_norm(b, name, 64);
        for (size_t i = 0; i < sizeof mats / sizeof mats[0]; i++) {
            snprintf(name, sizeof name, "blk.%d.%s.weight", l, mats[i].name);
            add_matrix(b, name, ggml_type, mats[i].rows, mats[i].cols, &seed);
        }
        snprintf(name, sizeof name, "blk.%d.ffn_norm.weight", l);
        add_norm(b, name, 64);
    }
}
