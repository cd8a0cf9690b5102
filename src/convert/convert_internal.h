/* The parts of a conversion to a directory: the plan, the weights, config.json, the tokenizer's files. */
#ifndef AN_CONVERT_INTERNAL_H
#define AN_CONVERT_INTERNAL_H

#include "base/json.h"
#include "convert/convert.h"
#include "convert/mlx_type.h"
#include "convert/source.h"
#include "format/gguf.h"

/* How a weight gets into the target. */
typedef enum an_dir_how {
    AN_DIR_COPY,   /* plain, the stored bytes */
    AN_DIR_FLOAT,  /* decoded and rounded to `dtype` */
    AN_DIR_REPACK, /* ggml's blocks as groups, exactly */
    AN_DIR_GROUPS, /* MLX's groups as they are */
    AN_DIR_ENCODE, /* quantized here */
} an_dir_how;

typedef struct an_dir_weight {
    const an_source_tensor *src;
    char path[AN_TENSOR_NAME_MAX]; /* "model.layers.0.self_attn.q_proj" */
    bool bias;                     /* the name ends in ".bias" instead of ".weight" */
    an_dir_how how;
    an_dtype dtype; /* of a plain tensor, or of scales and of what is quantized */
    an_mlx_form form; /* of REPACK, GROUPS and ENCODE */
    size_t class_idx;
} an_dir_weight;

typedef struct an_dir_plan {
    const an_source *source;
    bool mlx; /* the target; else Hugging Face */
    an_dir_weight *weights;
    size_t n;
    size_t n_quantized;
    an_mlx_form common;      /* what config.json says of most modules, when n_quantized > 0 */
    bool all_exact;          /* by their types: no weight can be rounded */
    const char *type_name;   /* of the recipe or type that was asked for; NULL */
    an_dtype dtype;          /* what config.json calls torch_dtype */
    uint64_t bytes, n_param; /* of all tensors */
} an_dir_plan;

static inline bool an_dir_is_grouped(const an_dir_weight *w)
{
    return w->how >= AN_DIR_REPACK;
}

/* Decide every tensor, and refuse what has no form. Fills result->classes. Gives *plan: an_dir_plan_free. */
ANEMO_MUST_CHECK anemo_status an_dir_plan_make(an_dir_plan *plan, const an_source *s, bool mlx,
                                               const an_convert_options *options, an_convert_result *result,
                                               anemo_error *err);
void an_dir_plan_free(an_dir_plan *plan);

/* model*.safetensors and its index into `dir`. */
ANEMO_MUST_CHECK anemo_status an_dir_write_weights(const an_dir_plan *plan, const char *dir,
                                                   const an_convert_options *options, an_convert_result *result,
                                                   anemo_error *err);

/* config.json and generation_config.json. */
ANEMO_MUST_CHECK anemo_status an_dir_write_config(const an_dir_plan *plan, const char *dir, anemo_error *err);

/* The tokenizer's files: the source's own, or made from what it has. */
ANEMO_MUST_CHECK anemo_status an_dir_write_tokenizer(const an_source *s, const char *dir, an_convert_result *result,
                                                     anemo_error *err);

/* tokenizer.json, tokenizer_config.json, special_tokens_map.json and chat_template.jinja from the arrays of a GGUF file. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_tokenizer(const an_gguf *g, int n_ctx, const char *dir, anemo_error *err);

/* The same files from the tokenizer.model or tekken.json of the directory `src`. */
ANEMO_MUST_CHECK anemo_status an_mlx_make_tokenizer(const char *src, int n_ctx, const char *dir, anemo_error *err);

/* Write a JSON value as dir/name and release it; NULL is out of memory. flags: jansson's. */
ANEMO_MUST_CHECK anemo_status an_mlx_write_json(const char *dir, const char *name, json_t *value, size_t flags,
                                                anemo_error *err);

/* An MLX or Hugging Face directory, which an_convert_to_mlx and an_convert_to_hf make. */
ANEMO_MUST_CHECK anemo_status an_convert_to_dir(const char *src, const char *dst, bool mlx,
                                                const an_convert_options *options, an_convert_result *result,
                                                anemo_error *err);

#endif
