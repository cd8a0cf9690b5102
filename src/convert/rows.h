/*
 * Rows between a file's bytes and f32, by the fastest kernels that this CPU has, or by those of the level that ANEMO_ISA
 * names when it has them. The bytes and values are those of quant's scalar functions at every level.
 */
#ifndef AN_CONVERT_ROWS_H
#define AN_CONVERT_ROWS_H

#include "quant/dtype.h"

/* an_encode_rows, an_encode_row_weighted (one row), an_dequant, an_weight_row_f32 and an_find_nonfinite. */
void an_rows_encode(an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out);
void an_rows_encode_weighted(an_dtype type, const float *x, int64_t n_col, const float *importance, void *out);
void an_rows_decode(an_dtype type, const void *src, float *dst, int64_t n);
void an_rows_of_weight(const an_weight *w, int64_t row, float *out);
int64_t an_rows_find_nonfinite(const float *x, int64_t n);

/* Add the squares of n values, and of their differences from y, to the sums. For reading: the order is the level's own. */
void an_rows_square_sums(const float *x, const float *y, int64_t n, double *sum_sq, double *sum_sq_error);

#endif
