/* The parts of a conversion to a GGUF file. */
#ifndef AN_CONVERT_TO_GGUF_INTERNAL_H
#define AN_CONVERT_TO_GGUF_INTERNAL_H

#include "convert/convert.h"
#include "convert/mix.h"
#include "convert/source.h"
#include "format/gguf_write.h"
#include "os/thread.h"

/* How a tensor's rows come about. */
typedef enum an_gguf_how {
    AN_GGUF_COPY,   /* the stored bytes, rows in GGUF's order */
    AN_GGUF_REPACK, /* affine groups as blocks of the same values */
    AN_GGUF_ENCODE, /* decoded and encoded, the error measured */
} an_gguf_how;

/* One tensor of the output. */
typedef struct an_gguf_out {
    char name[AN_TENSOR_NAME_MAX];
    const an_source_tensor *t;   /* its source, or… */
    const an_gguf_tensor *extra; /* …a tensor of a GGUF source that we have no name for, copied as it is, or… */
    const float *values;         /* …numbers made here */
    int n_dim;
    int64_t shape[4]; /* outermost first */
    an_dtype type;
    an_gguf_how how;
    bool exact; /* known beforehand to have the source's values */
    size_t class_idx;
} an_gguf_out;

typedef struct an_gguf_plan {
    const an_source *source;
    const an_convert_options *options;
    an_pool *pool;
    const an_mix *mix; /* of `quantize`, or NULL */
    an_tensor_types *types; /* compiled overrides */
    an_gguf_out *tensors; /* in the order of the file */
    size_t n, cap;
    float *rope_freqs; /* [head_dim / 2] made from Llama 3's parameters, or NULL */
    bool unchanged;    /* a GGUF source whose every tensor keeps its bytes */
    bool exact;
    uint64_t bytes;
} an_gguf_plan;

/*
 * Decide every tensor; the scales of affine groups are read for it. Adds classes and notes to *result. Gives *plan:
 * an_gguf_plan_free.
 */
ANEMO_MUST_CHECK anemo_status an_gguf_plan_make(an_gguf_plan *plan, const an_source *s, const an_convert_options *options,
                                                an_pool *pool, an_convert_result *result, anemo_error *err);
void an_gguf_plan_free(an_gguf_plan *plan);

/* general.file_type for the plan. */
uint32_t an_gguf_plan_file_type(const an_gguf_plan *plan);

/* The block type that holds the values of an affine matrix exactly; false, and why as a phrase, when there is none. */
bool an_affine_exact_type(const an_weight *w, an_pool *pool, an_dtype *type, char *why, size_t n_why);

/* Row of affine groups as blocks of the type that an_affine_exact_type gave, or of mxfp4 as MXFP4. */
void an_affine_repack_row(const an_weight *w, int64_t row, an_dtype type, unsigned char *out);

/* The 256 values from group `first` (a multiple of 8) of a row as a Q4_K or Q5_K block; false when they are none. */
bool an_affine_to_k(const an_weight *w, int64_t row, int64_t first, unsigned char *out);

/* Write all tensors in the plan's order, counting errors and n_rounded into *result. */
ANEMO_MUST_CHECK anemo_status an_gguf_stream(const an_gguf_plan *plan, an_gguf_writer *writer, an_convert_result *result,
                                             anemo_error *err);

/* The architecture's keys: those of the source itself, or those that its configuration gives. */
ANEMO_MUST_CHECK anemo_status an_gguf_put_keys(const an_gguf_plan *plan, an_gguf_writer *w, an_convert_result *result,
                                               anemo_error *err);

/* The tokenizer's keys of a source that is no GGUF file, from the files beside the weights. */
ANEMO_MUST_CHECK anemo_status an_gguf_put_vocab(const an_source *s, an_gguf_writer *w, an_convert_result *result,
                                                anemo_error *err);

/* The Jinja text of a Mistral tokenizer's format for models that come without one; NULL for other formats. Static. */
const char *an_chat_template_of(int format);

#endif
