/* Reads the float32 matrices that the golden files and `anemo logits` keep in NumPy's format. */
#ifndef AN_TESTS_SUPPORT_NPY_H
#define AN_TESTS_SUPPORT_NPY_H

#include "base/error.h"

#include <stddef.h>

/*
 * A little-endian float32 array [n_row][n_col] in C order, format version 1.0. ERR_FORMAT when it is anything else.
 * Gives *data: an_free.
 */
ANEMO_MUST_CHECK anemo_status test_npy_read(const char *path, float **data, size_t *n_row,
                                            size_t *n_col, anemo_error *err);

#endif
