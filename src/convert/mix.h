/*
 * Which type each tensor gets when a model is quantized to a GGUF mix: llama.cpp's rules for models of the Llama family
 * (formats.md 2.8), dense or with experts.
 */
#ifndef AN_CONVERT_MIX_H
#define AN_CONVERT_MIX_H

#include "arch/hparams.h"
#include "base/error.h"
#include "convert/tensor_types.h"

#include <stdbool.h>

/* A row of the table of mixes. Static. */
typedef struct an_mix {
    const char *name;   /* "Q4_K_M" */
    an_dtype base;      /* what a tensor gets when no rule says otherwise */
    uint32_t file_type; /* general.file_type */
} an_mix;

/* By name, in any case ("q4_k_m"); Q3_K, Q4_K and Q5_K mean their _M. NULL when there is none. */
const an_mix *an_mix_find(const char *name);
/* The i-th; NULL behind the last. */
const an_mix *an_mix_at(size_t i);

/* The choice of types for one model: what it is, what the user asked for, and how far the rules have counted. */
typedef struct an_mix_plan {
    const an_mix *mix;
    int n_layer, n_head, n_head_kv;
    int n_expert;              /* 0: dense */
    int n_value;               /* tensors called attn_v or attn_qkv; 0 stands for n_layer */
    bool tied;                 /* no output.weight: the embedding gets its type */
    bool has_importance;       /* an importance matrix is used */
    bool keep_output;          /* output.weight stays as it is */
    bool pure;                 /* every matrix gets the mix's base type */
    const an_dtype *output;    /* of output.weight, and of an embedding that stands for it; NULL: by the rules */
    const an_dtype *embedding; /* of token_embd.weight; NULL: by the rules */
    const an_tensor_types *overrides; /* before the rules; NULL: none */
    int i_value, i_down;       /* start at 0: the rules of a dense model count layers as the tensors come */
} an_mix_plan;

/*
 * Does a GGUF tensor's name belong to a layer ("blk.3.ffn_down.weight")? Then its number and what follows the dot, borrowed
 * from the name.
 */
bool an_mix_layer_of(const char *name, int *layer, const char **part);

/* Is it a matrix of attention values, alone or together with queries and keys? What n_value counts. */
bool an_mix_is_value(const char *name);

/*
 * The type of the next tensor by its GGUF name and shape, in the order of a file: what has no layer, then layer by layer.
 * *type is `source` for what is never quantized: vectors, norms, anything that is no matrix of weights. ERR_INVAL: a type that
 * was asked for does not fit the rows.
 */
ANEMO_MUST_CHECK anemo_status an_mix_type(an_mix_plan *p, const char *name, int n_dim, int64_t n_col, an_dtype source,
                                          an_dtype *type, anemo_error *err);

#endif
