/*
 * An arena: one block planned before it is taken, given out front to back, freed whole.
 *
 * Every take is 64-byte aligned. Under AddressSanitizer takes are separated by poisoned red zones, because an
 * overrun inside one block would be invisible otherwise; an_arena_bytes() accounts for them.
 */
#ifndef AN_BASE_ARENA_H
#define AN_BASE_ARENA_H

#include "base/error.h"

#include <stddef.h>

typedef struct an_arena {
    unsigned char *base;
    size_t bytes;
    size_t used;
} an_arena;

/* Bytes that one take of `bytes` uses up; SIZE_MAX when that overflows. Sum these to plan an arena. */
size_t an_arena_bytes(size_t bytes);

/* Take the block. On failure nothing is owed. */
ANEMO_MUST_CHECK anemo_status an_arena_open(an_arena *arena, size_t bytes, anemo_error *err);

/* `bytes` zeroed, 64-byte aligned; NULL when the plan was too small. */
void *an_arena_take(an_arena *arena, size_t bytes);
/* The same without the zeros: large blocks then take physical memory only as they are written. */
void *an_arena_take_raw(an_arena *arena, size_t bytes);

/* Scratch: remember a mark, take, and return to it. */
size_t an_arena_mark(const an_arena *arena);
void an_arena_reset(an_arena *arena, size_t mark);

void an_arena_close(an_arena *arena);

#endif
