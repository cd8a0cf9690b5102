/* The allocator and its test hook. */
#include "base/alloc.h"

#include "base/num.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The one mutable global of the library; NULL outside tests. */
static an_alloc_hook g_hook;
static void *g_hook_ctx;
static _Atomic uint64_t g_hook_idx;

void an_alloc_set_hook(an_alloc_hook hook, void *ctx)
{
    g_hook = hook;
    g_hook_ctx = ctx;
    atomic_store(&g_hook_idx, 0);
}

static int refused(size_t bytes)
{
    return g_hook && g_hook(g_hook_ctx, bytes, atomic_fetch_add(&g_hook_idx, 1));
}

void *an_malloc(size_t bytes)
{
    if (refused(bytes)) return NULL;
    return malloc(bytes ? bytes : 1);
}

void *an_calloc(size_t count, size_t bytes)
{
    size_t total;
    if (!an_mul_size(count, bytes, &total) || refused(total)) return NULL;
    return calloc(1, total ? total : 1);
}

void *an_realloc(void *ptr, size_t bytes)
{
    if (refused(bytes)) return NULL;
    return realloc(ptr, bytes ? bytes : 1);
}

void an_free(void *ptr)
{
    free(ptr);
}

char *an_strdup(const char *text)
{
    return text ? an_strndup(text, strlen(text)) : NULL;
}

char *an_strndup(const char *text, size_t bytes)
{
    size_t total;
    if (!an_add_size(bytes, 1, &total)) return NULL;
    char *copy = an_malloc(total);
    if (!copy) return NULL;
    if (bytes) memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}

void *an_malloc_aligned(size_t bytes)
{
    size_t total;
    if (refused(bytes) || !an_add_size(bytes ? bytes : 1, 63, &total)) return NULL;
    return aligned_alloc(64, total & ~(size_t)63);
}

void an_free_aligned(void *ptr)
{
    free(ptr);
}
