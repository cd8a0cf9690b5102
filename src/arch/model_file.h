/*
 * A model on disk, whatever its container: hyperparameters, the table of weights and where its tokenizer lies.
 * GGUF files and MLX / Hugging Face directories meet here; above this line nobody asks which it was.
 *
 * Architectures (formats.md 1.3, 6.5): GGUF `llama`, `mistral3`; Hugging Face `llama`, `mistral`, `ministral3`,
 * `mistral3` (its text part). Experts, MLA, IQ1/IQ2/IQ3 and unknown architectures are refused by name.
 */
#ifndef AN_ARCH_MODEL_FILE_H
#define AN_ARCH_MODEL_FILE_H

#include "base/error.h"
#include "base/json.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum an_container { AN_CONTAINER_GGUF, AN_CONTAINER_MLX } an_container;

typedef enum an_rope_scaling {
    AN_ROPE_NONE,
    AN_ROPE_LINEAR,
    AN_ROPE_DYNAMIC, /* NTK by length, Hugging Face "dynamic" */
    AN_ROPE_YARN,
    AN_ROPE_LLAMA3,  /* Hugging Face parameters; in GGUF it arrives as rope_freqs.weight */
} an_rope_scaling;

typedef struct an_hparams {
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim, n_vocab;
    int n_ctx_train;
    double norm_eps;
    double attn_scale;      /* 1/sqrt(head_dim) unless the file says otherwise */
    an_rope_rows rope_rows; /* order of the q and k rows in the file */
    int rope_dim;           /* rotated leading dimensions of a head; = head_dim for all we accept */
    double rope_theta;
    an_rope_scaling rope_scaling;
    double rope_factor;       /* linear, dynamic, yarn, llama3 */
    int rope_n_ctx_orig;      /* yarn, dynamic, llama3: original context length */
    double yarn_beta_fast, yarn_beta_slow;
    bool yarn_truncate;
    double rope_attn_factor;  /* A: multiplies cos and sin (YaRN); 1 otherwise */
    double llama3_low_freq_factor, llama3_high_freq_factor;
    const float *rope_freq_factors; /* [rope_dim/2] divisors from rope_freqs.weight, or NULL; owned by the model file */
    double query_scale_beta;  /* llama-4 style; 0 = off; its length is rope_n_ctx_orig */
    int query_scale_n_ctx;
    bool tied;                /* output projection = token embedding */
} an_hparams;

typedef struct an_layer_weights {
    const float *attn_norm; /* [n_embd], f32, owned by the model file */
    const float *ffn_norm;  /* [n_embd] */
    an_weight wq;           /* [n_head * head_dim, n_embd] */
    an_weight wk, wv;       /* [n_head_kv * head_dim, n_embd] */
    an_weight wo;           /* [n_embd, n_head * head_dim] */
    an_weight w_gate, w_up; /* [n_ff, n_embd] */
    an_weight w_down;       /* [n_embd, n_ff] */
    const float *bq, *bk, *bv, *bo; /* biases or NULL; bq and bk in the file's row order */
    int window; /* sliding window in positions: p sees p-window+1..p; 0 = full attention */
} an_layer_weights;

typedef struct an_model_file {
    char *path;
    an_container container;
    char arch[32];          /* "llama", "mistral3", "mistral", "ministral3" as in the file */
    char name[128];         /* general.name or the directory's name */
    char quantization[48];  /* dominant weight type by bytes: "Q4_1", "4-bit affine g32", "BF16", with "+" when mixed */
    an_hparams hp;
    an_weight token_embd;   /* [n_vocab, n_embd] */
    an_weight output;       /* [n_vocab, n_embd]; = token_embd when tied */
    const float *output_norm; /* [n_embd] */
    an_layer_weights *layers; /* [n_layer] */
    uint64_t weight_bytes;  /* all tensors that are used */
    uint64_t n_param;
    an_gguf *gguf;             /* when container is GGUF */
    an_safetensors *st;        /* when it is MLX */
    const struct an_hf_prefix *hf_prefix; /* its tensors' names begin like this (tensor_table.h), when it is MLX */
    json_t *config;            /* config.json, when it is MLX */
    int32_t eos_ids[16];       /* end-of-sequence ids that the model's own configuration names */
    int n_eos;
    void *owned;               /* private */
} an_model_file;

/*
 * Reads every scale and every plain number of the weights: ERR_FORMAT names the first tensor and row that holds a NaN or
 * an infinity. Not part of opening: it is linear in the model (22 ms for SmolLM2 in memory, whose load takes 3).
 */
ANEMO_MUST_CHECK anemo_status an_model_check_values(const an_model_file *m, anemo_error *err);

/*
 * Open `path`: a GGUF file, the first shard of a split, or a directory with config.json.
 * Absent path: ERR_NOTFOUND; a directory without config.json: ERR_FORMAT. All shapes are checked against the
 * hyperparameters. Weights stay views into the maps. Gives *out: an_model_file_close.
 */
ANEMO_MUST_CHECK anemo_status an_model_file_open(an_model_file **out, const char *path,
                                                 anemo_error *err);
void an_model_file_close(an_model_file *m);

/*
 * Only says what kind of thing a path is, without opening it whole: *container is set on success. The same
 * errors as above for absent paths and directories without config.json.
 */
ANEMO_MUST_CHECK anemo_status an_model_probe(const char *path, an_container *container,
                                             anemo_error *err);

/*
 * A name given by the user to a path: an existing path as it is; otherwise a bare name (no slash) is looked up in
 * the models folder ($XDG_DATA_HOME/anemo/models), with and without ".gguf". ERR_NOTFOUND names both places.
 * Gives *path: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_model_resolve(const char *name, char **path, anemo_error *err);

#endif
