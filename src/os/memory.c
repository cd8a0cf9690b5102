/* Large blocks of memory on mmap. */
#include "os/memory.h"

#include "base/num.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The whole pages that a range touches. */
static void pages_around(const void *p, uint64_t n, uintptr_t *begin, uintptr_t *end)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    *begin = (uintptr_t)p & ~(page - 1);
    *end = ((uintptr_t)p + (uintptr_t)n + page - 1) & ~(page - 1);
}

anemo_status an_mem_block(void **out, uint64_t bytes, anemo_error *err)
{
    uint64_t body, total;
    AN_ASSERT(bytes > 0);
    if (!an_align_up_u64(bytes, (uint64_t)sysconf(_SC_PAGESIZE), &body) || !an_add_u64(body, AN_HUGE_PAGE, &total) ||
        total > SIZE_MAX / 2)
        return an_fail(err, ANEMO_ERR_NOMEM, "a block of %.1f GB is more than can be addressed", (double)bytes / 1e9);
    void *base = mmap(NULL, (size_t)total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return an_fail(err, ANEMO_ERR_NOMEM, "cannot take a block of %.1f MB: %s", (double)bytes / 1e6, strerror(errno));
    /* What lies before and behind the aligned part goes back. */
    uintptr_t at = (uintptr_t)base, begin = (at + AN_HUGE_PAGE - 1) & ~(uintptr_t)(AN_HUGE_PAGE - 1);
    if (begin > at) munmap(base, begin - at);
    uintptr_t end = begin + (uintptr_t)body;
    if (at + total > end) munmap((char *)base + (end - at), at + total - end);
    *out = (char *)base + (begin - at);
    an_mem_huge_pages(*out, (size_t)body);
    return ANEMO_OK;
}

void an_mem_block_free(void *block, uint64_t bytes)
{
    uintptr_t begin, end;
    if (!block) return;
    pages_around(block, bytes, &begin, &end);
    munmap(block, end - begin);
}

void an_mem_huge_pages(void *p, size_t n)
{
#if defined(MADV_HUGEPAGE)
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)p + page - 1) & ~(page - 1), end = ((uintptr_t)p + n) & ~(page - 1);
    if (end > begin) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)p;
    (void)n;
#endif
}

void an_mem_will_need(const void *p, uint64_t n)
{
    uintptr_t begin, end;
    if (!p || n == 0) return;
    pages_around(p, n, &begin, &end);
    madvise((void *)begin, end - begin, MADV_WILLNEED);
}
