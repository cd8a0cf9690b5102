/* FNV-1a of 32 bits: the checksum of formats.md's vectors. */
#ifndef AN_TESTS_SUPPORT_FNV_H
#define AN_TESTS_SUPPORT_FNV_H

#include <stddef.h>
#include <stdint.h>

static inline uint32_t fnv(const void *data, size_t n)
{
    const uint8_t *p = data;
    uint32_t h = 0x811C9DC5u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x01000193u;
    return h;
}

#endif
