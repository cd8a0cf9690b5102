/* The index of runs of ids. A run enters it when its successor is known, so a look-up never finds the sequence's own end. */
#include "engine/ngram.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <string.h>

enum { N_TABLE = AN_NGRAM_MAX - AN_NGRAM_MIN + 1 };

anemo_status an_ngram_open(an_ngram *g, int cap, anemo_error *err)
{
    uint32_t n_slot = 16;
    AN_ASSERT(cap >= 1 && cap <= 1 << 29);
    while (n_slot < 2 * (uint32_t)cap) n_slot *= 2;
    *g = (an_ngram){.cap = cap, .n_slot = n_slot};
    g->ids = an_calloc((size_t)cap, sizeof *g->ids);
    g->slots = an_calloc((size_t)n_slot * N_TABLE, sizeof *g->slots);
    if (g->ids && g->slots) return ANEMO_OK;
    an_ngram_close(g);
    return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the look-up of drafts in %d positions", cap);
}

void an_ngram_close(an_ngram *g)
{
    an_free(g->ids);
    an_free(g->slots);
    *g = (an_ngram){0};
}

void an_ngram_reset(an_ngram *g)
{
    if (g->n > 0) memset(g->slots, 0, (size_t)g->n_slot * N_TABLE * sizeof *g->slots);
    g->n = 0;
}

/* The slot of the run of `len` ids that ends at position `end`: where it is, or where it belongs. */
static int32_t *slot_of(const an_ngram *g, int len, int end)
{
    const int32_t *run = g->ids + end + 1 - len;
    int32_t *table = g->slots + (size_t)(len - AN_NGRAM_MIN) * g->n_slot;
    uint64_t hash = 0;
    for (int i = 0; i < len; i++) hash = (hash ^ (uint32_t)run[i]) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
    for (uint32_t i = (uint32_t)(hash >> 32);; i++) {
        int32_t *slot = &table[i & (g->n_slot - 1)];
        if (*slot == 0 || memcmp(g->ids + *slot - len, run, (size_t)len * sizeof *run) == 0) return slot;
    }
}

void an_ngram_append(an_ngram *g, const int32_t *ids, int n)
{
    AN_ASSERT(n <= g->cap - g->n);
    for (int i = 0; i < n; i++) {
        for (int len = AN_NGRAM_MIN; len <= AN_NGRAM_MAX && len <= g->n; len++) *slot_of(g, len, g->n - 1) = g->n;
        g->ids[g->n++] = ids[i];
    }
}

void an_ngram_drop_last(an_ngram *g)
{
    g->n--; /* the runs that end before it enter the index once more, at the same place */
}

int an_ngram_find(const an_ngram *g, int *end)
{
    for (int len = AN_NGRAM_MAX; len >= AN_NGRAM_MIN; len--) {
        int32_t at = g->n > len ? *slot_of(g, len, g->n - 1) - 1 : -1;
        if (at < 0) continue;
        while (len < AN_NGRAM_SEEN && at - len >= 0 && g->ids[at - len] == g->ids[g->n - 1 - len]) len++;
        *end = at;
        return len;
    }
    return 0;
}

void an_ngram_follow(const an_ngram *g, int end, int k, int32_t *out)
{
    for (int i = 0; i < k; i++) {
        int at = end + 1 + i;
        out[i] = at < g->n ? g->ids[at] : out[at - g->n];
    }
}
