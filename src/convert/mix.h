/*
 * Which type each tensor gets when a model is quantized to a GGUF mix: llama.cpp's rules for dense models of the Llama family
 * (formats.md 2.8), without an importance matrix.
 */
#ifndef AN_CONVERT_MIX_H
#define AN_CONVERT_MIX_H

#include "arch/hparams.h"
#include "base/error.h"

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

typedef struct an_mix_model {
    int n_layer, n_head, n_head_kv;
    bool tied; /* no output.weight: the embedding gets its type */
} an_mix_model;

/*
 * Does a GGUF tensor's name belong to a layer ("blk.3.ffn_down.weight")? Then its number and what follows the dot, borrowed
 * from the name.
 */
bool an_mix_layer_of(const char *name, int *layer, const char **part);

/*
 * The type of the tensor with this GGUF name and shape. `source` stays for what is never quantized: vectors, norms, anything
 * that is no matrix of weights. `keep_output`: the output matrix stays as well.
 */
an_dtype an_mix_type(const an_mix *mix, const an_mix_model *m, const char *name, int n_dim, int64_t n_col, an_dtype source,
                     bool keep_output);

#endif
