/*
 * Hyperparameters from the two places where they are written: GGUF metadata and config.json. Both end in the same
 * an_hparams, checked against limits; every real number is rounded to f32, so that a model gives the same
 * results whichever container it came from.
 */
#ifndef AN_ARCH_HPARAMS_H
#define AN_ARCH_HPARAMS_H

#include "arch/model_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Limits of what is taken from a file, far above every model of the family. */
enum {
    AN_LAYERS_MAX = 512,
    AN_HEADS_MAX = 1024,
    AN_HEAD_DIM_MAX = 1024,
    AN_EMBD_MAX = 1 << 17,
    AN_FF_MAX = 1 << 19,
    AN_VOCAB_MAX = 1 << 22,
    AN_CTX_MAX = 1 << 28,
};

typedef struct an_arch_params {
    char arch[32];
    an_hparams hp; /* tied, rope_freq_factors and (for GGUF) n_vocab are set by who reads the weights */
    int window[AN_LAYERS_MAX]; /* sliding window of each layer, 0 = full attention */
    bool tie_known, tie;       /* what config.json says about tied embeddings */
    int32_t eos_ids[16];
    int n_eos;
} an_arch_params;

/*
 * Read config.json's n bytes, already parsed or not. `name` starts error messages. ERR_FORMAT: a value is missing or
 * out of range; ERR_UNSUPPORTED: an architecture, quantization method or scaling that we do not run, by name.
 */
ANEMO_MUST_CHECK anemo_status an_hparams_from_config(const char *text, size_t n, const char *name,
                                                     an_arch_params *out, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_hparams_from_json(const json_t *config, const char *name,
                                                   an_arch_params *out, anemo_error *err);

/* Add the eos_token_id of a config object (an integer or a list) after clearing those already known; absent: no change. */
ANEMO_MUST_CHECK anemo_status an_hparams_eos_from_json(const json_t *config, const char *name,
                                                       an_arch_params *out, anemo_error *err);

/*
 * The Hugging Face configuration that says what a params.json of Mistral's own layout says (formats.md 6.1), as the official
 * converter maps it: model type mistral, ministral3 with YaRN, mistral3 with a vision encoder, whose text part it describes.
 * `beside` is the config.json of the same folder or NULL: where params.json lacks the base of the rotary embedding or the
 * context length, they come from there, else from the rules of the reference, which `note` (of note_cap bytes, "" when there
 * is nothing to say) tells. Experts, MLA, Mamba, other activations and unknown objects are ERR_UNSUPPORTED by name.
 * Gives *config: json_decref.
 */
ANEMO_MUST_CHECK anemo_status an_hparams_native_config(const json_t *params, const json_t *beside, const char *name,
                                                       json_t **config, char *note, size_t note_cap, anemo_error *err);

/* The same from GGUF metadata. */
ANEMO_MUST_CHECK anemo_status an_hparams_from_gguf(const an_gguf *g, an_arch_params *out,
                                                   anemo_error *err);

/* What both readers end with: relations between the values, limits, rounding. */
ANEMO_MUST_CHECK anemo_status an_hparams_finish(an_arch_params *p, const char *name, anemo_error *err);

/*
 * YaRN's factor on cos and sin when the file gives none (formats.md 6.5): mscale and mscale_all_dim count only
 * when both are non-zero.
 */
double an_yarn_attn_factor(double factor, double mscale, double mscale_all_dim);

/* Why an architecture name is not run, and what to do about it; NULL for those we run and for unknown ones. */
const char *an_arch_refusal(const char *arch);

/* "; …" appended to refusals: what the user can do. */
#define AN_ARCH_ADVICE "another engine may run it (--engine llama.cpp or mlx)"

#endif
