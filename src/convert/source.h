/*
 * A model to be converted, whatever it comes as: its hyperparameters and the weights of the Llama family one by one,
 * under their names in the source. Nothing is copied: weights are views into the maps of the opened files.
 */
#ifndef AN_CONVERT_SOURCE_H
#define AN_CONVERT_SOURCE_H

#include "arch/hparams.h"
#include "arch/tensor_table.h"

typedef enum an_source_kind {
    AN_SOURCE_GGUF, /* a file or the first shard of a split */
    AN_SOURCE_MLX,  /* a directory with affine quantization */
    AN_SOURCE_HF,   /* a directory with plain safetensors */
} an_source_kind;

typedef struct an_source_tensor {
    an_field field;
    int layer;                     /* 0 for what exists once */
    char name[AN_TENSOR_NAME_MAX]; /* as in the source, with ".weight" or ".bias"; for messages */
    int n_dim;                     /* 1 (norms, biases, rope_freqs) or 2 */
    int64_t n_row, n_col;          /* 1-D: n_row = 1 */
    bool rotated;                  /* q, k and their biases: rows (elements of a bias) are ordered within a head… */
    an_rope_rows rows;             /* …like this */
    an_weight w;                   /* the stored form: plain floats, ggml blocks or affine groups */
    an_dtype float_dtype;          /* of a plain copy: the stored F32, F16 or BF16; F32 for what is quantized */
} an_source_tensor;

typedef struct an_source {
    char *path;
    an_source_kind kind;
    an_arch_params params;     /* hp (n_vocab, tied and rope_freq_factors included), windows, eos ids */
    an_source_tensor *tensors; /* token_embd, output_norm, output, rope_freqs as far as they exist; then layer by layer */
    size_t n_tensor;
    an_model_file *model;      /* the opened model; its config is `config` */
    const json_t *config;      /* config.json; NULL for GGUF */
    json_t *generation_config; /* generation_config.json, or NULL */
} an_source;

/*
 * Open a GGUF file or a directory. All shapes were checked against the hyperparameters; the errors are those of
 * an_model_file_open. Values are not checked: a scale may be NaN. Gives *out: an_source_close.
 */
ANEMO_MUST_CHECK anemo_status an_source_open(an_source **out, const char *path, anemo_error *err);
void an_source_close(an_source *s);

/*
 * Rows row..row+n-1 as f32 into out[n * n_col], in the source's own row order. Thread-safe; the caller keeps the range
 * inside the tensor.
 */
ANEMO_MUST_CHECK anemo_status an_source_rows(const an_source *s, const an_source_tensor *t,
                                             int64_t row, int64_t n, float *out, anemo_error *err);

/* The row of the source that is row `row` of the tensor in the order `rows`; `row` itself when the tensor is not rotated. */
int64_t an_source_row_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows, int64_t row);

/*
 * The same as an_source_rows with the rows in another order (and the elements of a bias, whose one row holds them): what a
 * target that rotates in this order stores.
 */
ANEMO_MUST_CHECK anemo_status an_source_rows_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows,
                                                int64_t row, int64_t n, float *out, anemo_error *err);

/* The tensor's pages are no longer needed: the memory is given back, and a later read fetches them again. */
void an_source_release(const an_source *s, const an_source_tensor *t);

/* The source's tensor of a field, or NULL. `layer` is 0 for what exists once. */
const an_source_tensor *an_source_find(const an_source *s, an_field field, int layer);

#endif
