/* The public side of the peak loops. */
#include "kernels/peak.h"

#include "base/error.h"
#include "kernels/table.h"
#include "kernels/wide.h"

uint32_t an_peak_read(const an_kernels *k, const void *p, size_t n)
{
    AN_ASSERT(n % AN_PEAK_READ_BYTES == 0 && (uintptr_t)p % 64 == 0);
    return k->peak_read(p, n);
}

uint64_t an_peak_f32(const an_kernels *k, int n, const float starts[AN_PEAK_STARTS], float m, float c, float *sum)
{
    AN_ASSERT(n >= 0 && n <= AN_PEAK_STEPS_MAX);
    return (uint64_t)k->peak_f32(n, starts, m, c, sum) * (uint64_t)n * 16 * 2;
}

uint64_t an_peak_i8(const an_kernels *k, int n, const int8_t codes[AN_PEAK_CODES], const uint8_t weights[AN_PEAK_WEIGHTS],
                    uint32_t *sum)
{
    AN_ASSERT(n >= 0 && n <= AN_PEAK_STEPS_MAX);
    return (uint64_t)k->peak_i8(n, codes, weights, sum) * (uint64_t)n * 16 * 4 * 2;
}

uint64_t an_peak_bf16(const an_kernels *k, int n, float *sum)
{
    AN_ASSERT(n >= 0 && n <= AN_PEAK_STEPS_MAX);
    *sum = 0;
    return k->wide ? k->wide->peak(n, sum) : 0;
}
