/* Overflow-checked arithmetic for every number that comes from a file. Each returns false on overflow. */
#ifndef AN_BASE_NUM_H
#define AN_BASE_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool an_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool an_mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool an_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

static inline bool an_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Round up to a multiple of `align`, a power of two. */
static inline bool an_align_up_u64(uint64_t a, uint64_t align, uint64_t *out)
{
    uint64_t sum;
    if (!an_add_u64(a, align - 1, &sum)) return false;
    *out = sum & ~(align - 1);
    return true;
}

static inline int64_t an_min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static inline int64_t an_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

#endif
