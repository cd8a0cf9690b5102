/*
 * Conversion between containers: any source of an_source_open into an MLX directory, a GGUF file or a Hugging Face directory.
 * Weights that the target can hold exactly as they are stay exact (formats.md 3.8); what is re-rounded is counted and its
 * error measured. A target appears whole or not at all.
 */
#ifndef AN_CONVERT_CONVERT_H
#define AN_CONVERT_CONVERT_H

#include "base/error.h"
#include "convert/weight_class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_float_choice { AN_FLOAT_AS_STORED, AN_FLOAT_F32, AN_FLOAT_F16, AN_FLOAT_BF16 } an_float_choice;

typedef struct an_convert_options {
    bool force;            /* replace an existing model */
    bool dry_run;          /* only the plan: sizes, what is exact; nothing is written */
    bool allow_requantize; /* quantize a source that is quantized already */
    an_float_choice dtype; /* of weights that are not quantized in the target */
    /*
     * The type that weights get: for GGUF a mix ("Q4_K_M"), for MLX a width or recipe ("4bit", "4bit-g32", "mxfp4",
     * "mixed_4_6"). NULL: quantized weights keep their form where the target has it exactly; else they are refused unless
     * `dtype` says what they become.
     */
    const char *quantize;
    const char *const *overrides; /* n_override of "PATTERN=TYPE"; the first found in a name counts (GGUF: tensor_types.h) */
    size_t n_override;
    int n_thread; /* 0 = 1 */
    /* Called now and then with the bytes of weights written so far and in all; may be NULL. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
    const volatile int *stop; /* not 0: end with ERR_INTERRUPTED (os/process.h); may be NULL */
} an_convert_options;

typedef struct an_convert_result {
    size_t n_tensor;       /* written */
    size_t n_quantized;    /* of them in a quantized form */
    size_t n_rounded;      /* of them whose values are not exactly the source's; 0: the conversion is exact */
    uint64_t weight_bytes; /* written */
    an_weight_classes classes;
    char **notes; /* n_note sentences: metadata that did not travel, what was re-rounded and why */
    size_t n_note;
} an_convert_result;

void an_convert_result_free(an_convert_result *r);

/* Add a sentence to the result's notes. ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_convert_note(an_convert_result *r, anemo_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Convert the model `src` into `dst`: an MLX or Hugging Face directory, which must not exist unless `force` (then it must
 * hold a model's files and nothing else), or a GGUF file. It is written beside the target under a temporary name and renamed.
 * ERR_UNSUPPORTED names what cannot be converted, before a byte is written. Gives *result: an_convert_result_free.
 */
ANEMO_MUST_CHECK anemo_status an_convert_to_mlx(const char *src, const char *dst,
                                                const an_convert_options *options,
                                                an_convert_result *result, anemo_error *err);
/* A Hugging Face directory holds no quantization: such weights become BF16 unless `dtype` says otherwise. */
ANEMO_MUST_CHECK anemo_status an_convert_to_hf(const char *src, const char *dst,
                                               const an_convert_options *options,
                                               an_convert_result *result, anemo_error *err);

#endif
