/*
 * The weights of the Llama family in one table: what each is called in GGUF and in Hugging Face / MLX directories,
 * its shape in terms of the hyperparameters, and whether a model may lack it.
 */
#ifndef AN_ARCH_TENSOR_TABLE_H
#define AN_ARCH_TENSOR_TABLE_H

#include "arch/model_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_field {
    AN_FIELD_TOKEN_EMBD,
    AN_FIELD_OUTPUT_NORM,
    AN_FIELD_OUTPUT,
    AN_FIELD_ROPE_FREQS,
    AN_FIELD_ATTN_NORM, /* from here on: one per layer */
    AN_FIELD_ATTN_Q,
    AN_FIELD_ATTN_K,
    AN_FIELD_ATTN_V,
    AN_FIELD_ATTN_OUT,
    AN_FIELD_FFN_NORM,
    AN_FIELD_FFN_GATE,
    AN_FIELD_FFN_UP,
    AN_FIELD_FFN_DOWN,
    AN_FIELD_ATTN_Q_BIAS,
    AN_FIELD_ATTN_K_BIAS,
    AN_FIELD_ATTN_V_BIAS,
    AN_FIELD_ATTN_OUT_BIAS,
    AN_FIELD_N
} an_field;

/* One side of a shape. */
typedef enum an_dim {
    AN_DIM_NONE,  /* the tensor is a vector: only its columns count */
    AN_DIM_VOCAB, /* n_vocab */
    AN_DIM_EMBD,  /* n_embd */
    AN_DIM_FF,    /* n_ff */
    AN_DIM_Q,     /* n_head * head_dim */
    AN_DIM_KV,    /* n_head_kv * head_dim */
    AN_DIM_PAIRS, /* head_dim / 2 */
} an_dim;

typedef struct an_tensor_rule {
    an_field field;
    const char *gguf; /* with ".weight" or ".bias"; layers: after "blk.N." */
    const char *hf;   /* module path without ".weight", layers: after "layers.N."; NULL when HF has none */
    an_dim rows, cols;
    bool required;
    bool per_layer;
    bool bias;     /* the HF name ends in ".bias" */
    size_t offset; /* of its place in an_model_file or an_layer_weights: an_weight, or const float * for vectors */
} an_tensor_rule;

/* The AN_FIELD_N rules, indexed by field. Static. */
const an_tensor_rule *an_tensor_rules(void);

int64_t an_dim_of(const an_hparams *hp, an_dim dim); /* AN_DIM_NONE gives 1 */

enum { AN_TENSOR_NAME_MAX = 160 };

/* "blk.3.attn_q.weight"; `layer` is ignored for what exists once. */
void an_tensor_name_gguf(const an_tensor_rule *rule, int layer, char out[AN_TENSOR_NAME_MAX]);

/*
 * Where a Hugging Face directory keeps its text model: names are body + "layers.N.…" and head. Plain models:
 * "model." and "lm_head".
 */
typedef struct an_hf_prefix {
    const char *body;
    const char *head;
} an_hf_prefix;

/* The layouts that exist, plain first. Static, n of them. */
const an_hf_prefix *an_hf_prefixes(size_t *n);

/* Module path without ".weight": "model.layers.3.self_attn.q_proj", "lm_head". The rule must have a HF name. */
void an_tensor_path_hf(const an_tensor_rule *rule, const an_hf_prefix *prefix, int layer,
                       char out[AN_TENSOR_NAME_MAX]);

/*
 * The name in the model's own container, with ".weight" or ".bias". For a directory the rule must have a HF name.
 */
void an_tensor_name(const an_model_file *m, const an_tensor_rule *rule, int layer, char out[AN_TENSOR_NAME_MAX]);

/*
 * "layers.3.attention.wq.weight", "output.weight": the name in Mistral's own layout (formats.md 6.3); false when it has none.
 */
bool an_tensor_name_native(an_field field, int layer, char out[AN_TENSOR_NAME_MAX]);

/* Are the rows (of a bias: the elements) ordered within a head for the rotary embedding? q, k and their biases. */
bool an_field_is_rotated(an_field field);

#endif
