/*
 * Rows of files that are quantized: quant/encode.h and an_dequant with the vectors of a level. Bytes and values are the
 * same at every level; no function allocates, and each may run on any number of threads.
 */
#ifndef AN_KERNELS_ENCODE_H
#define AN_KERNELS_ENCODE_H

#include "kernels/kernels.h"

/* an_encode_rows: the same bytes. */
void an_kernels_encode_rows(const an_kernels *k, an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out);

/* an_encode_row_weighted: the same bytes. */
void an_kernels_encode_row_weighted(const an_kernels *k, an_dtype type, const float *x, int64_t n_col,
                                    const float *importance, void *out);

/* an_dequant: the same values. */
void an_kernels_decode(const an_kernels *k, an_dtype type, const void *src, float *dst, int64_t n);

/* an_find_nonfinite. */
int64_t an_kernels_find_nonfinite(const an_kernels *k, const float *x, int64_t n);

/*
 * Add the squares of x's n values, and of their differences from y's, in double precision. The order of the additions is the
 * level's own: the sums are for reading, not for comparing.
 */
void an_kernels_square_sums(const an_kernels *k, const float *x, const float *y, int64_t n, double *sum_sq,
                            double *sum_sq_error);

#endif
