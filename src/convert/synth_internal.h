/* The parts of a model with random weights. */
#ifndef AN_CONVERT_SYNTH_INTERNAL_H
#define AN_CONVERT_SYNTH_INTERNAL_H

#include "arch/hparams.h"
#include "arch/tensor_table.h"
#include "base/json.h"
#include "convert/mix.h"
#include "convert/synth.h"
#include "convert/synth_random.h"

/* Which special pieces and which chat template a vocabulary has. */
typedef enum an_synth_vocab {
    AN_SYNTH_VOCAB_PLAIN, /* v1: no control pieces beyond <s> and </s> */
    AN_SYNTH_VOCAB_V3,
    AN_SYNTH_VOCAB_V7,
    AN_SYNTH_VOCAB_TEKKEN, /* Tekken's thousand, in its order */
    AN_SYNTH_VOCAB_CHATML,
} an_synth_vocab;

/* A shape: what config.json says, and what it means. */
typedef struct an_synth_model {
    json_t *config; /* of the text model, layers shortened */
    an_arch_params params;
    int n_expert, n_expert_used;
    an_synth_vocab vocab;
    char name[80];
} an_synth_model;

/* Gives *out: an_synth_model_free. */
ANEMO_MUST_CHECK anemo_status an_synth_model_open(an_synth_model *out, const an_synth_options *o, anemo_error *err);
void an_synth_model_free(an_synth_model *m);

/* One tensor. */
typedef struct an_synth_tensor {
    char name[AN_TENSOR_NAME_MAX]; /* GGUF's */
    char path[AN_TENSOR_NAME_MAX]; /* Hugging Face's without ".weight"; "" for experts */
    int n_dim;
    int64_t shape[3];
    int64_t n_row, n_col;
    bool rotated; /* MLX has the rows in another order */
    uint64_t key;
    const an_synth_form *form;
} an_synth_tensor;

typedef struct an_synth_plan {
    an_synth_tensor *tensors; /* without a layer first, by name; then layer by layer, by name: llama-quantize's order */
    size_t n, cap;
    an_synth_form **forms;
    size_t n_form;
    an_weight_classes classes;
    uint64_t n_weight, bytes;
} an_synth_plan;

/* What the types of a plan come from: a mix with its rules, a mix's base type everywhere, or an MLX width. */
typedef struct an_synth_types {
    const an_mix *mix; /* NULL: affine */
    bool pure, mlx; /* mlx: what has an affine form gets it */
    int bits, group;
} an_synth_types;

ANEMO_MUST_CHECK anemo_status an_synth_plan_make(an_synth_plan *plan, const an_synth_model *m, const an_synth_types *types,
                                                 anemo_error *err);
void an_synth_plan_free(an_synth_plan *plan);

/* A part of a tensor, in the order of the file. */
typedef struct an_synth_piece {
    const an_synth_tensor *tensor;
    an_synth_part part;
    int head_dim; /* rows change from interleaved to half-split order within heads of this size; 0 = they stay */
} an_synth_piece;

typedef anemo_status (*an_synth_put)(void *ctx, const void *data, uint64_t n, anemo_error *err);

/* Make all pieces and hand their bytes to `put` in order; it is called on the calling thread only. */
ANEMO_MUST_CHECK anemo_status an_synth_write(const an_synth_piece *pieces, size_t n_piece, const an_synth_options *o,
                                             an_synth_put put, void *put_ctx, anemo_error *err);

/* A GGUF file without tensors: hyperparameters and vocabulary. */
ANEMO_MUST_CHECK anemo_status an_synth_header(const an_synth_model *m, const an_synth_options *o, an_str *out,
                                              anemo_error *err);

/* The tokenizer.ggml.* keys: appended to `keys`, counted in *n_key. */
ANEMO_MUST_CHECK anemo_status an_synth_vocab_keys(const an_synth_model *m, an_str *keys, uint64_t *n_key, anemo_error *err);

/* One key of a GGUF header. */
void an_synth_key_begin(an_str *keys, uint64_t *n_key, const char *key, uint32_t type);
void an_synth_key_u32(an_str *keys, uint64_t *n_key, const char *key, uint32_t v);
void an_synth_key_bool(an_str *keys, uint64_t *n_key, const char *key, bool v);
void an_synth_key_str(an_str *keys, uint64_t *n_key, const char *key, const char *v);
void an_synth_put_u32(an_str *s, uint32_t v);
void an_synth_put_str(an_str *s, const char *text, size_t n); /* with its length */

/* The two containers. `types` is what the plan was made from. */
ANEMO_MUST_CHECK anemo_status an_synth_gguf(const char *dst, const an_synth_model *m, const an_synth_plan *plan,
                                            const an_synth_types *types, const an_synth_options *o, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_synth_mlx(const char *dst, const an_synth_model *m, const an_synth_plan *plan,
                                           const an_synth_options *o, anemo_error *err);

#endif
