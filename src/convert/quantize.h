/*
 * Quantizing a GGUF model to a mix. All metadata, the tokenizer included, is carried over as it is; weights that already have
 * the type that the mix gives them keep their bytes. The output appears whole or not at all.
 */
#ifndef AN_CONVERT_QUANTIZE_H
#define AN_CONVERT_QUANTIZE_H

#include "convert/imatrix.h"
#include "convert/mix.h"
#include "convert/weight_class.h"

#include <stddef.h>
#include <stdint.h>

typedef struct an_quantize_options {
    const an_mix *mix;
    int n_thread;          /* at least 1 */
    bool keep_output;      /* output.weight keeps its type */
    bool pure;             /* every matrix gets the mix's base type */
    bool allow_requantize; /* a source that is quantized already is taken */
    bool force;            /* an existing file is replaced */
    bool dry_run;          /* only the classes' sizes: nothing is read but the header, nothing is written */
    const an_dtype *output;           /* of the output matrix; NULL: by the mix */
    const an_dtype *embedding;        /* of the token embedding; NULL: by the mix */
    const an_tensor_types *overrides; /* of tensors by name; NULL: none */
    const an_imatrix *imatrix;        /* weighs the columns of each matrix; NULL: all alike */
    const char *imatrix_path;         /* as the user gave it: goes into the file's metadata */
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* of the source; may be NULL */
    void *progress_ctx;
    const volatile int *stop; /* not 0: end with ERR_INTERRUPTED (os/process.h); may be NULL */
} an_quantize_options;

typedef struct an_quantize_result {
    an_weight_classes classes; /* an_quantize_result_free */
    uint64_t n_weight, bytes, source_bytes; /* bytes: of the weights */
    uint64_t file_bytes;                    /* of the file, header and padding included */
    size_t n_weighed, n_unweighed; /* matrices that get another type, with and without an entry of the importance matrix */
    char unweighed[AN_TENSOR_NAME_MAX]; /* the first without one */
} an_quantize_result;

/*
 * Quantize `src` (its first shard when split) to the file `dst`. Memory: the mapped pages of one tensor, a slab of encoded
 * rows of at most 16 MiB (a row a thread when rows are longer) and two rows a thread. Models with experts are taken too. ERR_FORMAT: a weight that is infinite
 * or NaN, by tensor and element; ERR_UNSUPPORTED: an architecture that is not ours, a source that is quantized already;
 * ERR_INVAL: `dst` exists; a type that was asked for does not fit; ERR_FORMAT: an entry of the importance matrix has another
 * number of columns than its tensor (but for the embedding's, which llama.cpp's files have in another form).
 */
ANEMO_MUST_CHECK anemo_status an_quantize_gguf(const char *src, const char *dst, const an_quantize_options *options,
                                               an_quantize_result *result, anemo_error *err);
void an_quantize_result_free(an_quantize_result *r);

#endif
