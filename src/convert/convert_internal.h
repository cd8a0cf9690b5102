/* The parts of a conversion to an MLX directory. */
#ifndef AN_CONVERT_INTERNAL_H
#define AN_CONVERT_INTERNAL_H

#include "arch/model_file.h"
#include "convert/convert.h"
#include "token/tokenizer.h"

/* What becomes of one tensor of the source. */
typedef struct an_mlx_weight {
    const an_gguf_tensor *src;
    char *path;   /* "model.layers.0.self_attn.q_proj" */
    bool bias;    /* the name ends in ".bias" instead of ".weight" */
    int bits;     /* of affine groups of 32; 0 = copied */
    int head_dim; /* rows are un-permuted within heads of this size; 0 = rows stay */
    int64_t n_row, n_col;
} an_mlx_weight;

typedef struct an_mlx_plan {
    an_mlx_weight *weights;
    size_t n, cap;
    int bits;       /* the width of most quantized weights; 0 = none is quantized */
    an_dtype dtype; /* of scales, or of most plain matrices: what config.json calls torch_dtype */
} an_mlx_plan;

/* Decide every tensor and check that nothing is lost. Gives *plan: an_mlx_plan_free. */
ANEMO_MUST_CHECK anemo_status an_mlx_plan_make(an_mlx_plan *plan, const an_model_file *m,
                                               anemo_error *err);
void an_mlx_plan_free(an_mlx_plan *plan);

/* model.safetensors and its index into `dir`. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_weights(const an_mlx_plan *plan, const char *dir,
                                                   const an_convert_options *options,
                                                   an_convert_result *result, anemo_error *err);

/* config.json and generation_config.json. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_config(const an_mlx_plan *plan, const an_model_file *m,
                                                  const char *dir, anemo_error *err);

/* tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_tokenizer(const an_model_file *m, const char *dir,
                                                     anemo_error *err);

/* Write a JSON value as dir/name and release it; NULL is out of memory. flags: jansson's. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_json(const char *dir, const char *name, json_t *value,
                                                size_t flags, anemo_error *err);

#endif
