/*
 * A model to be converted, whatever it comes as: its hyperparameters and the weights of the Llama
 * family one by one, under their names in the source. Nothing is copied: weights are views into the
 * maps of the opened files, or are put together row by row when they are read.
 */
#ifndef AN_CONVERT_SOURCE_H
#define AN_CONVERT_SOURCE_H

#include "arch/hparams.h"
#include "arch/tensor_table.h"

typedef enum an_source_kind {
    AN_SOURCE_GGUF,   /* a file or the first shard of a split */
    AN_SOURCE_MLX,    /* a directory with MLX's quantization */
    AN_SOURCE_HF,     /* a directory with config.json and plain weights: safetensors or
                         pytorch_model*.bin, FP8 too */
    AN_SOURCE_NATIVE, /* Mistral's own layout: params.json and consolidated* */
} an_source_kind;

/* Files of a directory that belong to a model beside its weights. */
typedef enum an_source_side {
    AN_SIDE_TEKKEN,             /* tekken.json */
    AN_SIDE_SPM,                /* tokenizer.model, or of several tokenizer.model.vN the highest */
    AN_SIDE_TOKENIZER_JSON,     /* tokenizer.json */
    AN_SIDE_TOKENIZER_CONFIG,   /* tokenizer_config.json */
    AN_SIDE_SPECIAL_TOKENS_MAP, /* special_tokens_map.json */
    AN_SIDE_ADDED_TOKENS,       /* added_tokens.json */
    AN_SIDE_CHAT_TEMPLATE,      /* chat_template.jinja */
    AN_SIDE_GENERATION_CONFIG,  /* generation_config.json */
    AN_SIDE_N
} an_source_side;

/* How a tensor is put together that is no plain view of rows; private to the source. */
typedef struct an_source_form an_source_form;

typedef struct an_source_tensor {
    an_field field;
    int layer;                     /* 0 for what exists once */
    char name[AN_TENSOR_NAME_MAX]; /* as in the source, with ".weight" or ".bias"; for messages */
    int n_dim;                     /* 1 (norms, biases, rope_freqs) or 2 */
    int64_t n_row, n_col;          /* 1-D: n_row = 1 */
    bool rotated; /* q, k and their biases: rows (elements of a bias) are ordered within a head… */
    an_rope_rows rows; /* …like this */
    /*
     * The stored form: plain floats, ggml blocks or MLX's groups. Its data are NULL when the
     * tensor is a strided view, lies in several files or is FP8: then w is what it would be as rows
     * of float_dtype, and rows come through an_source_rows alone.
     */
    an_weight w;
    an_dtype float_dtype; /* of a plain copy: the stored F32, F16 or BF16; BF16 for FP8, F32 for
                             what is quantized */
    an_source_form *form; /* private; NULL for a plain view */
    bool fp8;             /* stored as FP8 with scales: a plain copy in float_dtype rounds */
} an_source_tensor;

typedef struct an_source {
    char *path;
    an_source_kind kind;
    an_arch_params params; /* hp (n_vocab, tied and rope_freq_factors included), windows, eos ids */
    an_source_tensor *tensors; /* token_embd, output_norm, output, rope_freqs as far as they exist;
                                  then layer by layer */
    size_t n_tensor;
    an_model_file *model; /* for GGUF (its metadata), MLX and plain safetensors; else NULL */
    struct an_source_files *files; /* private: the opened files when there is no model */
    /*
     * config.json, without its section on FP8 weights; for Mistral's own layout what the official
     * converter would write. NULL for GGUF.
     */
    json_t *config;
    json_t *generation_config; /* generation_config.json, or NULL */
    char *side[AN_SIDE_N]; /* names in the directory, NULL for what is absent; all NULL for GGUF */
    char notes[800]; /* what was chosen or left out, as sentences joined by "; "; "" when there is
                        nothing to say */
} an_source;

/*
 * Open a GGUF file or a directory: MLX, Hugging Face with safetensors or PyTorch files, Mistral's
 * own layout. Of a directory that holds both of the latter the Hugging Face files count unless
 * their config.json cannot be used; never both. All shapes were checked against the
 * hyperparameters; the errors are those of an_model_file_open. Values are not checked: a scale may
 * be NaN (an_source_check). Gives *out: an_source_close.
 */
ANEMO_MUST_CHECK anemo_status an_source_open(an_source **out, const char *path, anemo_error *err);
void an_source_close(an_source *s);

/*
 * ERR_FORMAT names the first row of the tensor that holds a NaN or an infinity, in its scales or
 * its values. Linear in the tensor: for a writer, before it writes the tensor.
 */
ANEMO_MUST_CHECK anemo_status an_source_check(const an_source *s, const an_source_tensor *t,
                                              anemo_error *err);

/*
 * Rows row..row+n-1 as f32 into out[n * n_col], in the source's own row order. Thread-safe, without
 * allocations; the caller keeps the range inside the tensor. ERR_FORMAT: an
 * FP8 value is not a number.
 */
ANEMO_MUST_CHECK anemo_status an_source_rows(const an_source *s, const an_source_tensor *t,
                                             int64_t row, int64_t n, float *out, anemo_error *err);

/* The row of the source that is row `row` of the tensor in the order `rows`; `row` itself when the
 * tensor is not rotated. */
int64_t an_source_row_in(const an_source *s, const an_source_tensor *t, an_rope_rows rows,
                         int64_t row);

/*
 * The same as an_source_rows with the rows in another order (and the elements of a bias, whose one
 * row holds them): what a target that rotates in this order stores.
 */
ANEMO_MUST_CHECK anemo_status an_source_rows_in(const an_source *s, const an_source_tensor *t,
                                                an_rope_rows rows, int64_t row, int64_t n,
                                                float *out, anemo_error *err);

/* The tensor's pages are no longer needed: the memory is given back, and a later read fetches them
 * again. */
void an_source_release(const an_source *s, const an_source_tensor *t);

/* The source's tensor of a field, or NULL. `layer` is 0 for what exists once. */
const an_source_tensor *an_source_find(const an_source *s, an_field field, int layer);

#endif
