/*
 * An index of names that come from a file: a sorted array, so that no choice of names makes a
 * lookup or the search for duplicates slow. Names are borrowed.
 */
#ifndef AN_FORMAT_NAME_INDEX_H
#define AN_FORMAT_NAME_INDEX_H

#include <stddef.h>
#include <stdint.h>

typedef struct an_name_entry {
    const char *name; /* `len` bytes, need not be NUL-terminated */
    uint64_t len;
    size_t idx; /* what the name stands for */
} an_name_entry;

/* Bytewise order of two names. */
int an_name_cmp(const char *a, uint64_t a_len, const char *b, uint64_t b_len);

/*
 * Sort n entries by name in place. Returns NULL, or an entry whose name occurs twice (the one with
 * the higher idx).
 */
const an_name_entry *an_name_index_sort(an_name_entry *entries, size_t n);

/* The idx of a name in a sorted index, or SIZE_MAX. */
size_t an_name_index_find(const an_name_entry *entries, size_t n, const char *name, uint64_t len);

#endif
