/*
 * Models: a GGUF file, the first shard of a split, or an MLX / Hugging Face directory.
 */
#ifndef ANEMO_MODEL_H
#define ANEMO_MODEL_H

#include <anemo/status.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct anemo_model anemo_model;

typedef struct anemo_model_info {
    const char *path;         /* all strings: until the model is closed */
    const char *name;         /* as the file says, or the file's name */
    const char *container;    /* "gguf" or "mlx" */
    const char *arch;         /* "llama", "mistral", … */
    const char *quantization; /* type of most weights: "Q4_1", "4-bit affine g32"; "+" when there are others */
    int n_layer, n_embd, n_head, n_head_kv, n_vocab;
    int n_ctx_train;          /* context length it was trained for */
    uint64_t n_param;
    uint64_t weight_bytes;
} anemo_model_info;

/*
 * Open a model by path, or by its name in the models folder. The weights are mapped, not read.
 * ERR_NOTFOUND, ERR_FORMAT, ERR_UNSUPPORTED. Gives *out: anemo_model_close.
 */
ANEMO_MUST_CHECK anemo_status anemo_model_open(anemo_model **out, const char *path, anemo_error *err);

/* ERR_BUSY while a session uses the model; NULL is fine. */
anemo_status anemo_model_close(anemo_model *model);

void anemo_model_get_info(const anemo_model *model, anemo_model_info *info);

/*
 * Token ids of n bytes of text. With `special`, spellings of special tokens become those tokens; BOS is never added.
 * At most `cap` ids are written to ids (NULL when cap is 0); *n_ids is how many there are. The tokenizer is read at the first
 * call, so the first call must not run beside another one on the same model.
 */
ANEMO_MUST_CHECK anemo_status anemo_tokenize(anemo_model *model, const char *text, size_t n, int special,
                                             int32_t *ids, size_t cap, size_t *n_ids, anemo_error *err);

/*
 * The bytes that ids stand for; ids outside the vocabulary give nothing. At most `cap` bytes are written to out, the
 * last one a NUL; *n_bytes is how many there are without it.
 */
ANEMO_MUST_CHECK anemo_status anemo_detokenize(anemo_model *model, const int32_t *ids, size_t n, char *out,
                                               size_t cap, size_t *n_bytes, anemo_error *err);

/* BOS id when the model wants one in front of a text, else -1. ERR as anemo_tokenize. */
ANEMO_MUST_CHECK anemo_status anemo_bos(anemo_model *model, int32_t *id, anemo_error *err);

/* Non-zero when id ends a generation. */
int anemo_is_end(const anemo_model *model, int32_t id);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
