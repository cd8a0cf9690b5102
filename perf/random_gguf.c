/*
 * A GGUF model of Mistral 7B's shape with random F16 weights, for measurements: it has no vocabulary and cannot be run.
 *
 *   random_gguf FILE N_LAYER
 *
 * One layer makes 0.96 GB, eight 4 GB, 32 the whole model.
 */
#include "base/error.h"
#include "base/rng.h"
#include "quant/half.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 4096, DIM_KV = 1024, FFN = 14336, VOCAB = 32000, N_RANDOM = 1 << 16, TYPE_F32 = 0, TYPE_F16 = 1 };

static FILE *file;
static uint16_t normals[N_RANDOM];

static void put(const void *p, size_t n)
{
    if (fwrite(p, 1, n, file) == n) return;
    perror("write");
    exit(1);
}
static void put_u32(uint32_t v) { put(&v, 4); }
static void put_u64(uint64_t v) { put(&v, 8); }
static void put_text(const char *s)
{
    put_u64(strlen(s));
    put(s, strlen(s));
}

typedef struct tensor {
    char name[64];
    uint32_t type;
    int64_t n_row, n_col; /* a vector has no rows */
} tensor;

static tensor tensors[1024];
static size_t n_tensor;

static void add(int64_t n_row, int64_t n_col, int layer, const char *name)
{
    tensor *t = &tensors[n_tensor++];
    *t = (tensor){.type = n_row ? TYPE_F16 : TYPE_F32, .n_row = n_row, .n_col = n_col};
    if (layer >= 0) snprintf(t->name, sizeof t->name, "blk.%d.%s.weight", layer, name);
    else snprintf(t->name, sizeof t->name, "%s.weight", name);
}

static void add_all(int n_layer)
{
    add(VOCAB, DIM, -1, "token_embd");
    add(0, DIM, -1, "output_norm");
    add(VOCAB, DIM, -1, "output");
    for (int i = 0; i < n_layer; i++) {
        add(0, DIM, i, "attn_norm");
        add(DIM, DIM, i, "attn_q");
        add(DIM_KV, DIM, i, "attn_k");
        add(DIM_KV, DIM, i, "attn_v");
        add(DIM, DIM, i, "attn_output");
        add(0, DIM, i, "ffn_norm");
        add(FFN, DIM, i, "ffn_gate");
        add(FFN, DIM, i, "ffn_up");
        add(DIM, FFN, i, "ffn_down");
    }
}

static void put_header(uint32_t n_layer)
{
    enum { VERSION = 3, KIND_U32 = 4, KIND_F32 = 6, KIND_TEXT = 8 };
    static const struct {
        const char *key;
        uint32_t value;
    } keys[] = {{"llama.context_length", 32768},      {"llama.embedding_length", DIM},
                {"llama.feed_forward_length", FFN},   {"llama.attention.head_count", 32},
                {"llama.attention.head_count_kv", 8}, {"llama.rope.dimension_count", 128},
                {"llama.vocab_size", VOCAB},          {"general.file_type", 1}};
    const float epsilon = 1e-5f;
    put("GGUF", 4);
    put_u32(VERSION);
    put_u64(n_tensor);
    put_u64(AN_COUNT_OF(keys) + 3);
    put_text("general.architecture");
    put_u32(KIND_TEXT);
    put_text("llama");
    put_text("llama.block_count");
    put_u32(KIND_U32);
    put_u32(n_layer);
    put_text("llama.attention.layer_norm_rms_epsilon");
    put_u32(KIND_F32);
    put(&epsilon, 4);
    for (size_t i = 0; i < AN_COUNT_OF(keys); i++) {
        put_text(keys[i].key);
        put_u32(KIND_U32);
        put_u32(keys[i].value);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < n_tensor; i++) {
        const tensor *t = &tensors[i];
        put_text(t->name);
        put_u32(t->n_row ? 2 : 1);
        put_u64((uint64_t)t->n_col);
        if (t->n_row) put_u64((uint64_t)t->n_row);
        put_u32(t->type);
        put_u64(offset);
        offset += t->n_row ? (uint64_t)(t->n_row * t->n_col) * 2 : (uint64_t)t->n_col * 4;
    }
    while (ftell(file) % 32) put("", 1);
}

static void put_values(const tensor *t, an_rng *rng)
{
    if (!t->n_row) {
        const float one = 1;
        for (int64_t i = 0; i < t->n_col; i++) put(&one, 4);
        return;
    }
    for (int64_t r = 0; r < t->n_row; r++) {
        uint16_t row[FFN];
        for (int64_t i = 0; i < t->n_col; i += 4) {
            uint64_t u = an_rng_u64(rng);
            for (int j = 0; j < 4; j++) row[i + j] = normals[u >> (16 * j) & (N_RANDOM - 1)];
        }
        put(row, (size_t)t->n_col * 2);
    }
}

int main(int argc, char **argv)
{
    int n_layer = argc == 3 ? atoi(argv[2]) : 0;
    if (n_layer < 1 || n_layer > 100) {
        fprintf(stderr, "usage: %s FILE N_LAYER\n", argv[0]);
        return 2;
    }
    file = fopen(argv[1], "wb");
    if (!file) {
        perror(argv[1]);
        return 1;
    }
    an_rng rng;
    an_rng_seed(&rng, 1);
    for (int i = 0; i < N_RANDOM; i++) {
        double u = 1 - an_rng_f64(&rng), v = an_rng_f64(&rng);
        normals[i] = an_f16_from_f32((float)(0.02 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v)));
    }
    add_all(n_layer);
    put_header((uint32_t)n_layer);
    for (size_t i = 0; i < n_tensor; i++) put_values(&tensors[i], &rng);
    if (fclose(file)) {
        perror(argv[1]);
        return 1;
    }
    return 0;
}
