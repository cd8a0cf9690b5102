/*
 * Byte-pair merging with a heap: n log n in the length of a word, whatever the word.
 *
 * A heap entry names its left node, its right node and what they merge to; it is stale when either node has been
 * merged since. Priority and position are one integer, so ties go to the leftmost pair. Each node of the heap has
 * four children, which fill one cache line: a word of a megabyte has a heap far larger than the caches.
 */
#include "token/internal.h"

#include "base/alloc.h"

#include <string.h>

void an_merge_work_free(an_merge_work *w)
{
    an_free(w->nodes);
    an_free(w->heap);
    *w = (an_merge_work){0};
}

anemo_status an_merge_add_node(an_merge_work *w, uint32_t start, uint32_t len, int32_t sym,
                               anemo_error *err)
{
    if (w->n_node == w->cap_node) {
        size_t cap = w->cap_node ? w->cap_node * 2 : 256;
        an_merge_node *nodes = an_realloc(w->nodes, cap * sizeof *nodes);
        if (!nodes) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        w->nodes = nodes;
        w->cap_node = cap;
    }
    int32_t i = (int32_t)w->n_node++;
    w->nodes[i] = (an_merge_node){.start = start, .len = len, .prev = i - 1, .next = -1, .sym = sym};
    if (i) w->nodes[i - 1].next = i;
    return ANEMO_OK;
}

/* Scores in descending order as ascending integers: a float's bits order like its value once signs are undone. */
static uint32_t score_priority(float score)
{
    uint32_t bits;
    score += 0.0f; /* minus zero is zero */
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
}

/* What the nodes l and r merge to, and with which priority (least first). */
static bool look_up(const an_tokenizer *t, const an_merge_node *l, const an_merge_node *r,
                    const char *text, int32_t *sym, uint32_t *priority)
{
    if (t->merge_by == AN_MERGE_BY_PAIR) {
        if (l->sym < 0 || r->sym < 0) return false;
        const an_pair *pair = an_pairs_find(&t->pairs, l->sym, r->sym);
        if (!pair) return false;
        *sym = pair->sym;
        *priority = pair->rank;
        return true;
    }
    size_t n = (size_t)l->len + r->len;
    if (n > t->max_piece) return false;
    if (t->merge_by == AN_MERGE_BY_ID) {
        *sym = an_map_find(&t->by_bytes, &t->bytes, text + l->start, n);
        *priority = (uint32_t)*sym;
        return *sym >= 0 && *sym < t->n_vocab;
    }
    *sym = an_map_find(&t->by_spelling, &t->spelling, text + l->start, n);
    if (*sym < 0 || t->type[*sym] != AN_PIECE_NORMAL) return false;
    *priority = score_priority(t->score[*sym]);
    return true;
}

static anemo_status push(const an_tokenizer *t, an_merge_work *w, const char *text, int32_t left,
                         int32_t right, anemo_error *err)
{
    if (left < 0 || right < 0) return ANEMO_OK;
    const an_merge_node *l = &w->nodes[left], *r = &w->nodes[right];
    uint32_t priority;
    int32_t sym;
    if (!look_up(t, l, r, text, &sym, &priority)) return ANEMO_OK;
    if (w->n_heap == w->cap_heap) {
        size_t cap = w->cap_heap ? w->cap_heap * 2 : 256;
        an_merge_pair *heap = an_realloc(w->heap, cap * sizeof *heap);
        if (!heap) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        w->heap = heap;
        w->cap_heap = cap;
    }
    an_merge_pair pair = {.key = (uint64_t)priority << 32 | (uint32_t)left, .right = right, .sym = sym};
    size_t i = w->n_heap++;
    while (i > 0 && w->heap[(i - 1) / 4].key > pair.key) {
        w->heap[i] = w->heap[(i - 1) / 4];
        i = (i - 1) / 4;
    }
    w->heap[i] = pair;
    return ANEMO_OK;
}

static an_merge_pair pop(an_merge_work *w)
{
    an_merge_pair *heap = w->heap, top = heap[0], last = heap[--w->n_heap];
    size_t i = 0, n = w->n_heap;
    for (;;) {
        size_t child = 4 * i + 1;
        if (child >= n) break;
        size_t stop = child + 4 < n ? child + 4 : n;
        size_t least = child;
        for (size_t k = child + 1; k < stop; k++)
            if (heap[k].key < heap[least].key) least = k;
        if (heap[least].key >= last.key) break;
        heap[i] = heap[least];
        i = least;
    }
    heap[i] = last;
    return top;
}

/* A node that grew since the pair was pushed makes the two longer than what the pair merges to. */
static bool is_stale(const an_blob *symbols, const an_merge_node *l, const an_merge_node *r, int32_t sym)
{
    return !l->len || !r->len || l->len + r->len != symbols->off[sym + 1] - symbols->off[sym] - 1;
}

anemo_status an_merge_run(const an_tokenizer *t, an_merge_work *w, const char *text, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_blob *symbols = t->byte_level ? &t->bytes : &t->spelling;
    w->n_heap = 0;
    for (size_t i = 1; i < w->n_node; i++)
        AN_TRY(push(t, w, text, (int32_t)i - 1, (int32_t)i, err));
    while (w->n_heap) {
        an_merge_pair pair = pop(w);
        int32_t left = (int32_t)(uint32_t)pair.key;
        an_merge_node *l = &w->nodes[left], *r = &w->nodes[pair.right];
        if (is_stale(symbols, l, r, pair.sym)) continue;
        l->len += r->len;
        l->sym = pair.sym;
        l->next = r->next;
        r->len = 0;
        if (r->next >= 0) w->nodes[r->next].prev = left;
        AN_TRY(push(t, w, text, l->prev, left, err));
        AN_TRY(push(t, w, text, left, l->next, err));
    }
cleanup:
    return status;
}
