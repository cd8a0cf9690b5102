/*
 * The Mistral model (and with it the whole Llama family that anemo reads) on MLX: one MLX
 * directory, one sequence. Written in C over the bridge; hyperparameters and names of weights come
 * from src/arch.
 */
#ifndef AN_DRIVERS_MLX_MODEL_H
#define AN_DRIVERS_MLX_MODEL_H

#include "base/error.h"
#include "drivers/mlx/mlx_bridge.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct an_mlx_options {
    int n_ctx;   /* positions of a sequence at most, >= 1 */
    int n_batch; /* tokens of one forward pass at most, >= 1 */
    bool gpu;
    /* "f32", "f16", "bf16": type of activations, scales, norms and plain weights. "auto": the
       model's own, but f32 on a CPU that has no arithmetic of that type (measured on x86: f16 is 36
       times slower than f32). */
    const char *compute_dtype;
} an_mlx_options;

typedef struct an_mlx_info {
    int n_layer, n_vocab, n_ctx_train;
    uint64_t bytes, n_param; /* of all its weights */
    char quantization[48];
    an_mlx_dtype compute; /* of activations and of the KV cache */
} an_mlx_info;

typedef struct an_mlx_model an_mlx_model;

/*
 * Load all weights of an MLX directory. ERR_UNSUPPORTED for a GGUF file and for what src/arch
 * refuses; ERR_INVAL for options out of range. Gives *out: an_mlx_model_close.
 */
ANEMO_MUST_CHECK anemo_status an_mlx_model_open(an_mlx_model **out, const char *path,
                                                const an_mlx_options *o, anemo_error *err);
void an_mlx_model_close(an_mlx_model *m); /* NULL is fine */

const an_mlx_info *an_mlx_model_info(const an_mlx_model *m);
/* "f32", "f16", "bf16" */
const char *an_mlx_dtype_name(an_mlx_dtype dtype);

/* Positions in the sequence. */
int an_mlx_model_n_past(const an_mlx_model *m);
/* Back to an empty sequence. */
void an_mlx_model_reset(an_mlx_model *m);
/* Forget positions from n on; 0 <= n <= an_mlx_model_n_past(). */
void an_mlx_model_rewind(an_mlx_model *m, int n);

/*
 * Append n ids, in passes of n_batch. Both: ERR_INVAL for an id outside the vocabulary and when the
 * context is full. A failure empties the sequence.
 */
/* *next: the id with the largest logit after the last one, the smallest such id on a tie. */
ANEMO_MUST_CHECK anemo_status an_mlx_model_next(an_mlx_model *m, const int32_t *ids, size_t n,
                                                int32_t *next, anemo_error *err);
/*
 * One pass over at most n_batch ids. With `more` nobody waits for it, and only the cache is computed; else the last id's logits
 * are computed as well and thrown away.
 */
ANEMO_MUST_CHECK anemo_status an_mlx_model_forward(an_mlx_model *m, const int32_t *ids, size_t n,
                                                   bool more, anemo_error *err);
/* logits of every id [n, n_vocab] when `all`, else of the last one [n_vocab]. */
ANEMO_MUST_CHECK anemo_status an_mlx_model_logits(an_mlx_model *m, const int32_t *ids, size_t n,
                                                  bool all, float *logits, anemo_error *err);

#endif
