/*
 * Conversion between containers without changing a weight. GGUF to an MLX directory for the types
 * that map exactly (formats.md 3.8): Q4_0 Q4_1 Q8_0 to affine groups of 32, F16 BF16 F32 as they
 * are. Anything else is refused by tensor name and type before a byte is written.
 */
#ifndef AN_CONVERT_CONVERT_H
#define AN_CONVERT_CONVERT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_convert_options {
    bool force; /* replace an existing model directory */
    /* Called now and then with the bytes of weights written so far and in all; may be NULL. */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    void *progress_ctx;
} an_convert_options;

typedef struct an_convert_result {
    size_t n_tensor;       /* of the source */
    size_t n_quantized;    /* of them as affine groups */
    uint64_t weight_bytes; /* written */
} an_convert_result;

/*
 * Convert the GGUF model `src` (its first shard when split) into the directory `dst`, which must
 * not exist unless `force`: then it must hold a model's files and nothing else. The directory
 * appears whole or not at all: it is written beside the target under a temporary name and renamed.
 * ERR_UNSUPPORTED names what cannot be converted.
 */
ANEMO_MUST_CHECK anemo_status an_convert_to_mlx(const char *src, const char *dst,
                                                const an_convert_options *options,
                                                an_convert_result *result, anemo_error *err);

#endif
