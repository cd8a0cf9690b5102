/* One allocation after the other is refused: an_alloc_set_hook(fail_alloc_at, &f) with f.at = 0, 1, ... until none was. */
#ifndef AN_TESTS_SUPPORT_FAIL_ALLOC_H
#define AN_TESTS_SUPPORT_FAIL_ALLOC_H

#include "base/alloc.h"

#include <stdbool.h>

typedef struct fail_alloc {
    uint64_t at;
    bool refused;
} fail_alloc;

static inline int fail_alloc_at(void *ctx, size_t bytes, uint64_t idx)
{
    fail_alloc *f = ctx;
    (void)bytes;
    if (idx != f->at) return 0;
    f->refused = true;
    return 1;
}

#endif
