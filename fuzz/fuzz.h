/* What every fuzz target has: the entry point of libFuzzer, which the replay driver calls as well.
 */
#ifndef AN_FUZZ_FUZZ_H
#define AN_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly `size` bytes, so that AddressSanitizer sees the first byte read too far. free()
 * it. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    if (size) memcpy(copy, data, size);
    return copy;
}

/* Read all of a range, so that a wrong one is noticed. */
static inline unsigned fuzz_touch(const void *data, uint64_t n)
{
    unsigned sum = 0;
    for (uint64_t i = 0; i < n; i++)
        sum += ((const unsigned char *)data)[i];
    return sum;
}

#endif
