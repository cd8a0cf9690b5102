/*
 * Models of a named shape with random weights and a working vocabulary, to measure the speed and memory of a model before
 * it is downloaded. The same shape, type and seed give the same bytes on every machine, whatever the number of threads, and
 * with fewer layers the same first layers. A GGUF file and an MLX directory of one shape, type and seed hold the very same
 * weights where the type maps exactly (formats.md 3.8).
 */
#ifndef AN_CONVERT_SYNTH_H
#define AN_CONVERT_SYNTH_H

#include "base/error.h"
#include "convert/weight_class.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_synth_format { AN_SYNTH_GGUF, AN_SYNTH_MLX } an_synth_format;

typedef struct an_synth_options {
    const char *shape; /* a name of an_synth_shape_name, or the path of a config.json or of its directory */
    /*
     * GGUF: a mix ("Q4_K_M"). MLX: a type that maps exactly (Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q4_K Q5_K F16 BF16 F32), which every
     * matrix gets, or one of MLX's own ("4bit", "8bit-g32").
     */
    const char *quant;
    an_synth_format format;
    bool pure;     /* GGUF: every matrix gets the mix's base type, as the MLX twin has it */
    int n_layer;   /* 0: all of the shape's */
    uint64_t seed;
    bool force;    /* an existing model is replaced */
    bool dry_run;  /* only sizes: nothing is written */
    int n_thread;  /* at least 1 */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *progress_ctx;
    const volatile int *stop; /* not 0: end with ERR_INTERRUPTED (os/process.h); may be NULL */
} an_synth_options;

typedef struct an_synth_result {
    an_weight_classes classes; /* an_synth_result_free */
    size_t n_tensor;
    uint64_t n_weight, weight_bytes;
    uint64_t kv_token_bytes; /* of one position in a key and value cache of f16 */
    int n_ctx;               /* that the shape was trained for */
    int n_expert;            /* more than 0: the native engine does not run it */
    bool has_twin;           /* the other format can hold these weights exactly */
} an_synth_result;

/* The i-th shape that has a name; NULL behind the last. */
const char *an_synth_shape_name(size_t i);

/*
 * Write the model `dst`: a GGUF file or an MLX directory, which appears whole or not at all. Memory: at most 256 MiB.
 * ERR_INVAL: an unknown shape or type, a type without an exact MLX form, `dst` exists. Gives *result:
 * an_synth_result_free.
 */
ANEMO_MUST_CHECK anemo_status an_synth(const char *dst, const an_synth_options *options, an_synth_result *result,
                                       anemo_error *err);
void an_synth_result_free(an_synth_result *r);

#endif
