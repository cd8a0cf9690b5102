/*
 * What became of a model's weights: the tensors of one kind that got one type, with their size and with the error that
 * re-rounding made.
 */
#ifndef AN_CONVERT_WEIGHT_CLASS_H
#define AN_CONVERT_WEIGHT_CLASS_H

#include "arch/tensor_table.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { AN_CLASS_KIND_MAX = 32, AN_CLASS_TYPE_MAX = 24 };

typedef struct an_weight_class {
    char kind[AN_CLASS_KIND_MAX]; /* "ffn_down", "token_embd", "norms and vectors" */
    char type[AN_CLASS_TYPE_MAX]; /* "Q4_K", "4-bit g64", "BF16" */
    size_t n_tensor;
    uint64_t n_weight, bytes;    /* bytes: as written, scales and biases included */
    double sum_sq, sum_sq_error; /* of the weights, and of what re-rounding changed; 0 when all are exact */
    double worst;                /* largest relative RMSE of a tensor */
    char worst_name[AN_TENSOR_NAME_MAX];
} an_weight_class;

typedef struct an_weight_classes {
    an_weight_class *items; /* in the order in which they were added; an_weight_classes_free */
    size_t n;
} an_weight_classes;

/* Count a tensor in its class, which is made when it is new: *idx is its place. ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_weight_classes_add(an_weight_classes *c, const char *kind, const char *type,
                                                    uint64_t n_weight, uint64_t bytes, size_t *idx, anemo_error *err);

/* The squares of a tensor's weights and of what re-rounding changed, both summed. */
void an_weight_classes_error(an_weight_classes *c, size_t idx, const char *tensor, double sum_sq, double sum_sq_error);

void an_weight_classes_free(an_weight_classes *c);

/* "blk.3.ffn_down.weight" and "model.layers.3.mlp.down_proj" are "ffn_down"; what is no matrix, "norms and vectors". */
void an_weight_kind(an_field field, int n_dim, char kind[AN_CLASS_KIND_MAX]);

#endif
