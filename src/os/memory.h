/* Large blocks of memory, and advice to the system on how memory is used. */
#ifndef AN_OS_MEMORY_H
#define AN_OS_MEMORY_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { AN_HUGE_PAGE = 2 << 20 };

/*
 * Anonymous memory of `bytes` (> 0), zeroed, aligned to AN_HUGE_PAGE, in huge pages where the system gives them. Each page is
 * taken when it is first touched, near the CPU that touches it. ERR_NOMEM. Gives *out: an_mem_block_free with the same bytes.
 */
ANEMO_MUST_CHECK anemo_status an_mem_block(void **out, uint64_t bytes, anemo_error *err);
void an_mem_block_free(void *block, uint64_t bytes); /* NULL is fine */

/* These n bytes will be read from end to end: large pages please, where the system has them. Advice alone. */
void an_mem_huge_pages(void *p, size_t n);

/* These n bytes of a file's map are about to be read: bring them in. Advice alone. */
void an_mem_will_need(const void *p, uint64_t n);

#endif
