/*
 * The allocator. All heap memory of the library goes through here, so that a test can count allocations and
 * fail the n-th one. Zero bytes are taken as one. Nothing here aborts: NULL means out of memory.
 */
#ifndef AN_BASE_ALLOC_H
#define AN_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

void *an_malloc(size_t bytes);
void *an_calloc(size_t count, size_t bytes); /* zeroed; checks the product */
void *an_realloc(void *ptr, size_t bytes);   /* on failure the old block stays */
void an_free(void *ptr);
char *an_strdup(const char *text);                /* NULL in, NULL out */
char *an_strndup(const char *text, size_t bytes); /* copies exactly `bytes`, adds NUL */

/* 64-byte aligned block, or NULL. Free with an_free_aligned. */
void *an_malloc_aligned(size_t bytes);
void an_free_aligned(void *ptr);

/*
 * Test hook: called before each allocation with its size and index since the hook was set; a non-zero
 * return makes that allocation fail. NULL removes it. Not for use while other threads allocate.
 */
typedef int (*an_alloc_hook)(void *ctx, size_t bytes, uint64_t idx);
void an_alloc_set_hook(an_alloc_hook hook, void *ctx);

#endif
