/* Names of keys and tensors: sorting, duplicates, binary search. */
#include "format/name_index.h"

#include <stdlib.h>
#include <string.h>

int an_name_cmp(const char *a, uint64_t a_len, const char *b, uint64_t b_len)
{
    uint64_t n = a_len < b_len ? a_len : b_len;
    int c = n ? memcmp(a, b, (size_t)n) : 0;
    if (c) return c;
    return a_len < b_len ? -1 : a_len > b_len;
}

static int cmp_entry(const void *pa, const void *pb)
{
    const an_name_entry *a = pa, *b = pb;
    int c = an_name_cmp(a->name, a->len, b->name, b->len);
    if (c) return c;
    return a->idx < b->idx ? -1 : a->idx > b->idx;
}

const an_name_entry *an_name_index_sort(an_name_entry *entries, size_t n)
{
    if (n > 1) qsort(entries, n, sizeof *entries, cmp_entry);
    for (size_t i = 1; i < n; i++)
        if (!an_name_cmp(entries[i - 1].name, entries[i - 1].len, entries[i].name, entries[i].len))
            return &entries[i];
    return NULL;
}

size_t an_name_index_find(const an_name_entry *entries, size_t n, const char *name, uint64_t len)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = an_name_cmp(entries[mid].name, entries[mid].len, name, len);
        if (c == 0) return entries[mid].idx;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return SIZE_MAX;
}
