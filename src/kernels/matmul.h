/* What the ways to multiply share. Private to this module. */
#ifndef AN_KERNELS_MATMUL_H
#define AN_KERNELS_MATMUL_H

#include "kernels/table.h"

/*
 * Columns col_begin..col_end-1, as of an an_unpack_fn, of rows row..row+n_row-1, at most 16, to a panel; missing rows are zero.
 * By the level's own kernel where it has one and all rows exist.
 */
void an_panel_unpack(const an_kernels *k, const an_weight *w, an_code_kind kind, int64_t row, int n_row, int col_begin,
                     int col_end, const an_panel *panel);

/* an_matmul_rows for quantized weights and activations: matmul_q8.c. */
typedef struct an_q8_product {
    const an_weight *w;
    const uint8_t *q; /* the records of n_tok tokens that the kind wants */
    int n_tok;
    an_code_kind kind;
    float *out;
    size_t out_stride;
    int64_t row_begin, row_end;
    bool add;
    void *scratch; /* an_matmul_q8_scratch_bytes() */
} an_q8_product;

size_t an_matmul_q8_scratch_bytes(int n_col_max);
void an_matmul_q8(const an_kernels *k, const an_q8_product *p);

#endif
