/* The arrays of a vocabulary for a GGUF file. */
#include "token/export.h"

#include "base/alloc.h"
#include "token/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void an_merge_list_free(an_merge_list *l)
{
    an_str_free(&l->text);
    an_free(l->start);
    *l = (an_merge_list){0};
}

int an_tokenizer_piece_type(const an_tokenizer *t, int32_t id)
{
    AN_ASSERT(id >= 0 && id < t->n_vocab);
    return t->type[id];
}

an_bytes an_tokenizer_piece_text(const an_tokenizer *t, int32_t id)
{
    AN_ASSERT(id >= 0 && id < t->n_vocab);
    size_t n;
    const char *text = an_blob_at(&t->spelling, (size_t)id, &n);
    return (an_bytes){text, n};
}

const char *an_tokenizer_gguf_pre(const an_tokenizer *t)
{
    return t->pre[0] ? t->pre : an_pretok_name_of(&t->pretok, t->ignore_merges);
}

bool an_tokenizer_space_prefix(const an_tokenizer *t)
{
    return t->prefix != AN_PREFIX_NONE;
}

int32_t an_tokenizer_unk(const an_tokenizer *t)
{
    return t->unk;
}

void an_tokenizer_losses(const an_tokenizer *t, an_str *out)
{
    size_t n_strip = 0, n_word = 0, n_user = 0;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        n_strip += (t->flags[id] & (AN_PIECE_LSTRIP | AN_PIECE_RSTRIP)) != 0;
        n_word += (t->flags[id] & AN_PIECE_SINGLE_WORD) != 0;
        n_user += t->type[id] == AN_PIECE_USER;
    }
    bool once = t->prefix == AN_PREFIX_TEXT || t->prefix == AN_PREFIX_FIRST;
    if (t->nfc) an_str_append(out, "normalizes text to NFC");
    if (once && n_user)
        an_str_appendf(out, "%sputs its space in front of a text, not also behind each of %zu user-defined tokens as llama.cpp does",
                       out->len ? ", " : "", n_user);
    if (n_strip) an_str_appendf(out, "%shas %zu tokens that swallow the white space beside them", out->len ? ", " : "", n_strip);
    if (n_word) an_str_appendf(out, "%shas %zu tokens that match whole words only", out->len ? ", " : "", n_word);
}

/* ---------------------------------------------------------------------------------------------------- merges */

typedef struct ranked {
    uint64_t order; /* rank; of a Tekken cut: left << 32 | right */
    int32_t left, right, whole;
} ranked;

static int by_order(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    return a->order < b->order ? -1 : a->order > b->order;
}

static anemo_status add_merge(const an_tokenizer *t, an_merge_list *l, int32_t left, int32_t right, anemo_error *err)
{
    const int32_t halves[2] = {left, right};
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4096;
        size_t *grown = an_realloc(l->start, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        l->start = grown;
        l->cap = cap;
    }
    l->start[l->n++] = l->text.len;
    for (int i = 0; i < 2; i++) {
        size_t n;
        const char *bytes = an_blob_at(&t->bytes, (size_t)halves[i], &n);
        if (i) an_str_append_char(&l->text, ' ');
        an_alphabet_encode(bytes, n, &l->text);
    }
    an_str_append_bytes(&l->text, "", 1);
    return an_str_check(&l->text, err);
}

/* The merges that were read, in their order. */
static anemo_status merges_of_pairs(const an_tokenizer *t, an_merge_list *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = 0;
    ranked *list = an_calloc(t->pairs.n ? t->pairs.n : 1, sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < t->pairs.n_slot; i++) {
        const an_pair *p = &t->pairs.slots[i];
        if (p->key == UINT64_MAX) continue;
        list[n++] = (ranked){p->rank, (int32_t)(p->key >> 32), (int32_t)(p->key & UINT32_MAX), p->sym};
    }
    qsort(list, n, sizeof *list, by_order);
    for (size_t i = 0; i < n; i++) AN_TRY(add_merge(t, l, list[i].left, list[i].right, err));
cleanup:
    an_free(list);
    return status;
}

static bool can_merge(const an_tokenizer *t, int32_t sym)
{
    return sym >= 0 && sym < t->n_vocab && t->type[sym] == AN_PIECE_NORMAL;
}

/* Every cut of every piece of two or more bytes. */
static anemo_status merges_of_ids(const an_tokenizer *t, an_merge_list *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    ranked *cuts = an_calloc(t->max_piece + 1, sizeof *cuts);
    if (!cuts) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t len, n = 0;
        if (!can_merge(t, id)) continue;
        const char *bytes = an_blob_at(&t->bytes, (size_t)id, &len);
        for (size_t cut = 1; cut < len && n <= t->max_piece; cut++) {
            int32_t left = an_map_find(&t->by_bytes, &t->bytes, bytes, cut);
            int32_t right = an_map_find(&t->by_bytes, &t->bytes, bytes + cut, len - cut);
            if (!can_merge(t, left) || !can_merge(t, right)) continue;
            cuts[n++] = (ranked){(uint64_t)left << 32 | (uint32_t)right, left, right, id};
        }
        qsort(cuts, n, sizeof *cuts, by_order);
        for (size_t i = 0; i < n; i++) AN_TRY(add_merge(t, l, cuts[i].left, cuts[i].right, err));
    }
cleanup:
    an_free(cuts);
    return status;
}

anemo_status an_tokenizer_merges(const an_tokenizer *t, an_merge_list *out, anemo_error *err)
{
    an_merge_list l = {0};
    anemo_status status = ANEMO_OK;
    if (!t->byte_level) goto done;
    status = t->merge_by == AN_MERGE_BY_ID ? merges_of_ids(t, &l, err) : merges_of_pairs(t, &l, err);
    if (status != ANEMO_OK) {
        an_merge_list_free(&l);
        return status;
    }
done:
    *out = l;
    return status;
}

/* ---------------------------------------------------------------------------------------------------- scores */

static const float LAST = -1e9f; /* what Mistral gives to pieces that merge only when nothing else can */

/* The best rank of a merge that makes each piece; UINT32_MAX where none does. */
static anemo_status rank_pieces(const an_tokenizer *t, ranked **out, size_t *n_out, anemo_error *err)
{
    size_t n = 0;
    ranked *made = an_calloc((size_t)t->n_vocab, sizeof *made);
    if (!made) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int32_t id = 0; id < t->n_vocab; id++) made[id] = (ranked){UINT64_MAX, -1, -1, id};
    for (size_t i = 0; i < t->pairs.n_slot; i++) {
        const an_pair *p = &t->pairs.slots[i];
        if (p->key == UINT64_MAX || p->sym < 0 || p->sym >= t->n_vocab) continue;
        if (p->rank < made[p->sym].order) made[p->sym].order = p->rank;
    }
    qsort(made, (size_t)t->n_vocab, sizeof *made, by_order);
    while (n < (size_t)t->n_vocab && made[n].order != UINT64_MAX) n++;
    *out = made;
    *n_out = n;
    return ANEMO_OK;
}

/*
 * SentencePiece trains pieces best first and numbers them so, with the score minus the number of normal pieces before; the
 * pieces it finds at the end of the merges although their ids are low are Mistral's stretched spaces.
 */
static bool follow_ids(const ranked *made, size_t n, int32_t first, float *out)
{
    size_t i = 0;
    for (; i < n && (i == 0 || made[i].whole > made[i - 1].whole); i++)
        out[made[i].whole] = -(float)(made[i].whole - first);
    for (size_t k = i; k < n; k++) {
        if (i > 0 && made[k].whole >= made[0].whole) return false;
        out[made[k].whole] = LAST;
    }
    return true;
}

anemo_status an_tokenizer_scores(const an_tokenizer *t, float *out, bool *made_up, anemo_error *err)
{
    ranked *made = NULL;
    size_t n = 0;
    int32_t first = 0;
    *made_up = t->merge_by != AN_MERGE_BY_SCORE;
    if (!*made_up) {
        memcpy(out, t->score, (size_t)t->n_vocab * sizeof *out);
        return ANEMO_OK;
    }
    anemo_status status = rank_pieces(t, &made, &n, err);
    if (status != ANEMO_OK) return status;
    while (first < t->n_vocab && t->type[first] != AN_PIECE_NORMAL) first++;
    for (int32_t id = 0; id < t->n_vocab; id++) out[id] = t->type[id] == AN_PIECE_NORMAL ? -(float)(id - first) : 0;
    if (!follow_ids(made, n, first, out)) {
        /* Pieces that no merge makes are single characters, whose scores nobody reads. */
        for (size_t i = 0; i < n; i++) out[made[i].whole] = -(float)i;
    }
    an_free(made);
    return ANEMO_OK;
}
