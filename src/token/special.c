/*
 * Special pieces in raw text: finding them all with a trie and choosing which of the overlapping ones count.
 */
#include "token/internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

typedef struct match {
    uint32_t start, len;
    int32_t id;
    bool late;    /* of the second round (AN_PIECE_NORMALIZED) */
    bool longest; /* order by length before position */
} match;

typedef struct matches {
    match *items;
    size_t n, cap;
} matches;

void an_segments_free(an_segments *s)
{
    an_free(s->items);
    *s = (an_segments){0};
}

static bool add_segment(an_segments *s, size_t start, size_t len, int32_t id)
{
    if (len == 0 && id < 0) return true;
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        an_segment *items = an_realloc(s->items, cap * sizeof *items);
        if (!items) return false;
        s->items = items;
        s->cap = cap;
    }
    s->items[s->n++] = (an_segment){.start = start, .len = len, .id = id};
    return true;
}

static bool add_match(matches *m, match item)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        match *items = an_realloc(m->items, cap * sizeof *items);
        if (!items) return false;
        m->items = items;
        m->cap = cap;
    }
    m->items[m->n++] = item;
    return true;
}

static int order_choice(const void *pa, const void *pb)
{
    const match *a = pa, *b = pb;
    if (a->late != b->late) return a->late ? 1 : -1;
    if (a->longest && a->len != b->len) return a->len > b->len ? -1 : 1;
    if (a->longest && a->id != b->id) return a->id < b->id ? -1 : 1;
    if (a->start != b->start) return a->start < b->start ? -1 : 1;
    if (a->len != b->len) return a->len > b->len ? -1 : 1;
    return 0;
}

static int order_start(const void *pa, const void *pb)
{
    const match *a = pa, *b = pb;
    return a->start < b->start ? -1 : a->start > b->start;
}

static bool is_word_at(const char *text, size_t n, size_t i)
{
    uint32_t cp;
    return an_utf8_decode(text + i, n - i, &cp) && an_is_word(cp);
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t end)
{
    size_t before = start;
    while (before > 0 && ((unsigned char)text[--before] & 0xC0) == 0x80) continue;
    if (start > 0 && is_word_at(text, n, before)) return false;
    return end == n || !is_word_at(text, n, end);
}

/*
 * Every match, or for the leftmost rule only the longest one at each position and round. Nested pieces of a
 * hostile vocabulary could make very many of them, so their number is bounded by the text's length.
 */
static anemo_status find_all(const an_tokenizer *t, const char *text, size_t n, bool special,
                             matches *found, anemo_error *err)
{
    bool first[256] = {false};
    for (int32_t k = t->trie[0].child; k >= 0; k = t->trie[k].sibling) first[t->trie[k].byte] = true;
    for (size_t i = 0; i < n; i++) {
        if (!first[(unsigned char)text[i]]) continue;
        int32_t at = 0;
        for (size_t k = i; k < n; k++) {
            int32_t next = t->trie[at].child;
            while (next >= 0 && t->trie[next].byte != (unsigned char)text[k]) next = t->trie[next].sibling;
            if (next < 0) break;
            at = next;
            int32_t id = t->trie[at].id;
            if (id < 0 || (!special && t->type[id] != AN_PIECE_USER)) continue;
            if ((t->flags[id] & AN_PIECE_SINGLE_WORD) && !stands_alone(text, n, i, k + 1)) continue;
            match item = {.start = (uint32_t)i,
                          .len = (uint32_t)(k + 1 - i),
                          .id = id,
                          .late = t->flags[id] & AN_PIECE_NORMALIZED,
                          .longest = t->special_rule == AN_SPECIAL_LONGEST};
            match *last = found->n ? &found->items[found->n - 1] : NULL;
            if (last && !item.longest && last->start == item.start && last->late == item.late) {
                *last = item;
                continue;
            }
            if (found->n > 16 * n + 4096)
                return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                               "the vocabulary's special pieces overlap too often in this text");
            if (!add_match(found, item)) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        }
    }
    return ANEMO_OK;
}

/* Bytes of the white space character that starts at i, or 0. llama.cpp knows ASCII's, Hugging Face all. */
static size_t blank_at(const an_tokenizer *t, const char *text, size_t n, size_t i)
{
    uint32_t cp;
    int len = an_utf8_decode(text + i, n - i, &cp);
    if (len > 1 && t->special_rule == AN_SPECIAL_LONGEST) return 0;
    return len && an_is_white_space(cp) ? (size_t)len : 0;
}

/* Where the white space before `end` starts. */
static size_t skip_back(const an_tokenizer *t, const char *text, size_t start, size_t end)
{
    while (end > start) {
        size_t i = end - 1;
        while (i > start && ((unsigned char)text[i] & 0xC0) == 0x80) i--;
        if (blank_at(t, text, end, i) != end - i) break;
        end = i;
    }
    return end;
}

/*
 * Take matches in order of choice while they are free. A byte is marked once taken; since a later match is either
 * shorter or starts later, looking at its two ends finds every overlap.
 */
static void choose(matches *found, unsigned char *taken)
{
    size_t n = 0;
    qsort(found->items, found->n, sizeof *found->items, order_choice);
    for (size_t i = 0; i < found->n; i++) {
        match m = found->items[i];
        bool overlap = taken[m.start] || taken[m.start + m.len - 1];
        if (m.late && !overlap) overlap = memchr(taken + m.start, 1, m.len) != NULL;
        if (overlap) continue;
        memset(taken + m.start, 1, m.len);
        found->items[n++] = m;
    }
    found->n = n;
    qsort(found->items, n, sizeof *found->items, order_start);
}

anemo_status an_special_split(const an_tokenizer *t, const char *text, size_t n, bool special,
                              an_segments *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    matches found = {0};
    unsigned char *taken = NULL;
    bool ok = true;
    if (t->trie) AN_TRY(find_all(t, text, n, special, &found, err));
    if (found.n) {
        taken = an_calloc(n, 1);
        if (!taken) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        choose(&found, taken);
    }
    size_t at = 0;
    for (size_t i = 0; i < found.n && ok; i++) {
        const match *m = &found.items[i];
        size_t end = m->start, next = m->start + m->len;
        size_t limit = i + 1 < found.n ? found.items[i + 1].start : n;
        if (t->flags[m->id] & AN_PIECE_LSTRIP)
            end = skip_back(t, text, at, end);
        if (t->flags[m->id] & AN_PIECE_RSTRIP)
            for (size_t len; next < limit && (len = blank_at(t, text, limit, next)) > 0;) next += len;
        ok = add_segment(out, at, end - at, -1) && add_segment(out, m->start, m->len, m->id);
        at = next;
    }
    if (!ok || !add_segment(out, at, n - at, -1))
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_free(found.items);
    an_free(taken);
    return status;
}
