/*
 * Loops that do nothing but keep one part of the processor busy: reading memory, floating-point and int8 multiply-adds. What
 * they reach is the ceiling that engines are measured against. One thread each; the caller shares out the work.
 */
#ifndef AN_KERNELS_PEAK_H
#define AN_KERNELS_PEAK_H

#include "kernels/kernels.h"

enum {
    AN_PEAK_READ_BYTES = 512, /* an_peak_read() takes multiples of this, aligned to 64 bytes */
    AN_PEAK_STEPS_MAX = 1 << 17,
    AN_PEAK_STARTS = 192, /* floats that an_peak_f32() begins with */
    AN_PEAK_CODES = 128, /* int8 codes that an_peak_i8() multiplies with, */
    AN_PEAK_WEIGHTS = 64, /* and by which */
};

/* Exclusive or of the n / 4 words at p: a result that needs every byte. */
uint32_t an_peak_read(const an_kernels *k, const void *p, size_t n);

/*
 * Chains of sixteen lanes of x = x * m + c, as many chains as keep every unit busy, n <= AN_PEAK_STEPS_MAX steps each; lane i of
 * chain j begins with starts[16 * j + i]. *sum: of all lanes. Returns the operations done, a multiply-add counting two.
 */
uint64_t an_peak_f32(const an_kernels *k, int n, const float starts[AN_PEAK_STARTS], float m, float c, float *sum);

/*
 * Chains of sixteen lanes of 32-bit sums of int8 products: in step i, lane l of chain j adds weights[4 * l + b] *
 * codes[4 * (i % 16) + 4 * j + b], b = 0..3. Codes lie within -127..127, weights within 0..1. *sum: of all lanes, modulo 2^32.
 * Returns the operations done.
 */
uint64_t an_peak_i8(const an_kernels *k, int n, const int8_t codes[AN_PEAK_CODES], const uint8_t weights[AN_PEAK_WEIGHTS],
                    uint32_t *sum);

/* n steps of products of matrix tiles in bf16. Returns the operations done, 0 when the level has no tiles; *sum: a part of the result. */
uint64_t an_peak_bf16(const an_kernels *k, int n, float *sum);

#endif
