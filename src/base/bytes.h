/*
 * A checked reader over untrusted little-endian bytes. Every read says whether it stayed inside; nothing is
 * advanced on failure. `pos` is the offset to name in an error message.
 */
#ifndef AN_BASE_BYTES_H
#define AN_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct an_reader {
    const unsigned char *data;
    uint64_t size;
    uint64_t pos; /* <= size */
} an_reader;

static inline uint64_t an_reader_left(const an_reader *r)
{
    return r->size - r->pos;
}

/* A view of the next n bytes, borrowed from the buffer; NULL when fewer are left. */
static inline const void *an_read_view(an_reader *r, uint64_t n)
{
    if (n > r->size - r->pos) return NULL;
    const void *p = r->data + r->pos;
    r->pos += n;
    return p;
}

static inline bool an_read_copy(an_reader *r, void *out, size_t n)
{
    const void *p = an_read_view(r, n);
    if (!p) return false;
    memcpy(out, p, n);
    return true;
}

/* The project runs on little-endian machines only (checked at configure time), so a copy is the decoding. */
static inline bool an_read_u8(an_reader *r, uint8_t *out)
{
    return an_read_copy(r, out, 1);
}

static inline bool an_read_u16(an_reader *r, uint16_t *out)
{
    return an_read_copy(r, out, 2);
}

static inline bool an_read_u32(an_reader *r, uint32_t *out)
{
    return an_read_copy(r, out, 4);
}

static inline bool an_read_u64(an_reader *r, uint64_t *out)
{
    return an_read_copy(r, out, 8);
}

/* Unaligned loads. */
static inline uint16_t an_load_u16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

static inline uint32_t an_load_u32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint64_t an_load_u64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline float an_load_f32(const void *p)
{
    float v;
    memcpy(&v, p, 4);
    return v;
}

#endif
