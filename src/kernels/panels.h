/*
 * Weights laid out for the kernels: sixteen rows interleaved, dword by dword, so that one vector load brings the
 * same part of all sixteen and a matrix is one stream of 64-byte lines. No bit of a weight changes, only where it
 * lies: codes are put in one order for all containers. panels.c describes the form of each type. Products are bit-
 * equal to those of the same weight in rows.
 */
#ifndef AN_KERNELS_PANELS_H
#define AN_KERNELS_PANELS_H

#include "kernels/kernels.h"
#include "quant/codes.h"

#include <stdint.h>

/*
 * Bytes of a weight in panels, a multiple of 64; 0 when the type has no such form (plain floats, FP modes). Rows are
 * padded to sixteen, and a row's odd last block to a pair where two blocks share a dword.
 */
uint64_t an_panels_bytes(const an_weight *w);

/* Where row `row`, a multiple of AN_ROW_GRAIN, begins. */
uint64_t an_panels_offset(const an_weight *w, int64_t row);

/*
 * Write the panels of rows row_begin..row_end-1 of w (AN_LAYOUT_ROWS) to where they belong in `panels`, which has
 * an_panels_bytes() and is aligned to 64. row_begin is a multiple of AN_ROW_GRAIN, row_end too unless it is n_row.
 * Threads may share out the rows.
 */
void an_panels_write(const an_kernels *k, const an_weight *w, void *panels, int64_t row_begin, int64_t row_end);

/* The same weight over panels written from it. `panels` stays the caller's. */
an_weight an_panels_view(const an_weight *w, const void *panels);

/* an_weight_row_f32(), an_codes_read() and an_codes_read_super() of a weight in panels: plain code, the same numbers. */
void an_panels_row_f32(const an_weight *w, int64_t row, float *out);
void an_panels_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                          float *mins);
void an_panels_codes_read_super(const an_weight *w, int64_t row, int64_t col, uint8_t *codes, an_super *numbers);

#endif
