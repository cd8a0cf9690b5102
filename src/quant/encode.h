/*
 * f32 to the types of a GGUF file. The blocks come out byte for byte as ggml's reference encoders make them
 * (ggml_quantize_chunk without an importance matrix; formats.md 2.3 to 2.6), so the arithmetic, its order and its roundings
 * are part of the contract. Scalar.
 */
#ifndef AN_QUANT_ENCODE_H
#define AN_QUANT_ENCODE_H

#include "quant/dtype.h"

#include <stdbool.h>
#include <stdint.h>

/* Can rows be encoded to this type: F32 F16 BF16, Q4_0 Q4_1 Q5_0 Q5_1 Q8_0, Q2_K to Q6_K, IQ4_NL IQ4_XS? */
bool an_encode_can(an_dtype type);

/*
 * Encode n_row rows of n_col values, dense, into `out`, rows one after another. n_col is a multiple of the type's block and
 * every value is finite (an_find_nonfinite): the searches compare, and a NaN would win or lose each of them by accident.
 * No allocation; may run on any number of threads.
 */
void an_encode_rows(an_dtype type, const float *x, int64_t n_row, int64_t n_col, void *out);

/*
 * Encode one row by the importance of its columns, importance[n_col], finite and not negative: what the search for scales
 * weighs errors with. Byte for byte ggml_quantize_chunk with an importance matrix. F32, F16, BF16 and Q8_0 know no importance
 * and come out as without; importance NULL is an_encode_rows.
 */
void an_encode_row_weighted(an_dtype type, const float *x, int64_t n_col, const float *importance, void *out);

/* Index of the first value that is infinite or NaN; -1 when all are finite. */
int64_t an_find_nonfinite(const float *x, int64_t n);

#endif
