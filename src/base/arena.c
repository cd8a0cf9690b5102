/* The arena. */
#include "base/arena.h"

#include "base/alloc.h"
#include "base/num.h"

#include <stdint.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define AN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define AN_ASAN 1
#endif
#endif
#ifndef AN_ASAN
#define AN_ASAN 0
#endif

#if AN_ASAN
#include <sanitizer/asan_interface.h>
#define RED_ZONE 64
#define POISON(ptr, bytes) ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define UNPOISON(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#else
#define RED_ZONE 0
#define POISON(ptr, bytes) ((void)0)
#define UNPOISON(ptr, bytes) ((void)0)
#endif

size_t an_arena_bytes(size_t bytes)
{
    size_t total;
    if (!an_add_size(bytes, 63 + RED_ZONE, &total)) return SIZE_MAX;
    return total & ~(size_t)63;
}

anemo_status an_arena_open(an_arena *arena, size_t bytes, anemo_error *err)
{
    arena->base = an_malloc_aligned(bytes);
    if (!arena->base)
        return an_fail(err, ANEMO_ERR_NOMEM, "cannot take %zu bytes of working memory", bytes);
    arena->bytes = bytes;
    arena->used = 0;
    POISON(arena->base, bytes);
    return ANEMO_OK;
}

void *an_arena_take_raw(an_arena *arena, size_t bytes)
{
    size_t need = an_arena_bytes(bytes);
    if (need > arena->bytes - arena->used) return NULL;
    void *ptr = arena->base + arena->used;
    arena->used += need;
    UNPOISON(ptr, bytes);
    return ptr;
}

void *an_arena_take(an_arena *arena, size_t bytes)
{
    void *ptr = an_arena_take_raw(arena, bytes);
    if (ptr) memset(ptr, 0, bytes);
    return ptr;
}

size_t an_arena_mark(const an_arena *arena)
{
    return arena->used;
}

void an_arena_reset(an_arena *arena, size_t mark)
{
    AN_ASSERT(mark <= arena->used);
    POISON(arena->base + mark, arena->used - mark);
    arena->used = mark;
}

void an_arena_close(an_arena *arena)
{
    if (arena->base) UNPOISON(arena->base, arena->bytes);
    an_free_aligned(arena->base);
    arena->base = NULL;
    arena->bytes = arena->used = 0;
}
