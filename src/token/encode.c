/*
 * Text to ids. Special pieces are cut out first; what is left goes word by word (byte-level) or whole
 * (SentencePiece) to the merger; what merging leaves over becomes byte tokens.
 */
#include "token/internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define BLOCK "\xe2\x96\x81" /* U+2581, SentencePiece's space */

typedef struct encoder {
    const an_tokenizer *t;
    an_ids *out;
    an_merge_work merge;
    an_pretok_work pretok;
    an_str text; /* SentencePiece: with U+2581 for spaces */
} encoder;

void an_ids_free(an_ids *ids)
{
    an_free(ids->ids);
    *ids = (an_ids){0};
}

anemo_status an_ids_push(an_ids *ids, int32_t id, anemo_error *err)
{
    if (ids->n == ids->cap) {
        size_t cap = ids->cap ? ids->cap * 2 : 64;
        int32_t *grown = an_realloc(ids->ids, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        ids->ids = grown;
        ids->cap = cap;
    }
    ids->ids[ids->n++] = id;
    return ANEMO_OK;
}

/*
 * Byte tokens. A byte that the vocabulary does not spell is SentencePiece's unknown token; byte-level libraries
 * drop it.
 */
static anemo_status push_bytes(encoder *e, const char *bytes, size_t n)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < n; i++) {
        int32_t id = e->t->byte_sym[(unsigned char)bytes[i]];
        if (id < 0 || id >= e->t->n_vocab) id = e->t->byte_level ? -1 : e->t->unk;
        if (id >= 0) AN_TRY(an_ids_push(e->out, id, NULL));
    }
cleanup:
    return status;
}

static anemo_status push_nodes(encoder *e, const char *text)
{
    anemo_status status = ANEMO_OK;
    const an_tokenizer *t = e->t;
    for (int32_t i = e->merge.n_node ? 0 : -1; i >= 0; i = e->merge.nodes[i].next) {
        const an_merge_node *node = &e->merge.nodes[i];
        int32_t id = node->sym;
        if (id < 0 && !t->byte_level) {
            id = an_map_find(&t->by_spelling, &t->spelling, text + node->start, node->len);
            if (id >= 0 && t->type[id] != AN_PIECE_NORMAL) id = -1;
        }
        if (id >= 0 && id < t->n_vocab)
            AN_TRY(an_ids_push(e->out, id, NULL));
        else
            AN_TRY(push_bytes(e, text + node->start, node->len));
    }
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------ byte level */

static anemo_status encode_word(encoder *e, const char *word, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_tokenizer *t = e->t;
    if (n == 1 || t->ignore_merges) {
        int32_t id = n <= t->max_piece ? an_map_find(&t->by_bytes, &t->bytes, word, n) : -1;
        if (id >= 0 && id < t->n_vocab) return an_ids_push(e->out, id, err);
    }
    e->merge.n_node = 0;
    for (size_t i = 0; i < n; i++)
        AN_TRY(an_merge_add_node(&e->merge, (uint32_t)i, 1, t->byte_sym[(unsigned char)word[i]], err));
    AN_TRY(an_merge_run(t, &e->merge, word, err));
    AN_TRY(push_nodes(e, word));
cleanup:
    return status;
}

static anemo_status encode_valid(encoder *e, const char *text, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const uint32_t *ends;
    size_t n_end, at = 0;
    utf8proc_uint8_t *composed = NULL;
    if (e->t->nfc) {
        utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &composed,
                                            UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (len < 0) return an_fail(err, ANEMO_ERR_NOMEM, "%s", utf8proc_errmsg(len));
        text = (const char *)composed;
        n = (size_t)len;
    }
    AN_TRY(an_pretok_split(&e->t->pretok, &e->pretok, text, n, &ends, &n_end, err));
    for (size_t i = 0; i < n_end; i++) {
        AN_TRY(encode_word(e, text + at, ends[i] - at, err));
        at = ends[i];
    }
cleanup:
    free(composed); /* libutf8proc allocates with malloc */
    return status;
}

/* A byte that is not UTF-8 is its own byte token; the text around it is cut there. */
static anemo_status encode_bytes(encoder *e, const char *text, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    while (n) {
        size_t valid = an_utf8_valid_prefix(text, n);
        if (valid) AN_TRY(encode_valid(e, text, valid, err));
        text += valid;
        n -= valid;
        if (!n) break;
        AN_TRY(push_bytes(e, text, 1));
        text++;
        n--;
    }
cleanup:
    return status;
}

/* --------------------------------------------------------------------------------------------- SentencePiece */

static anemo_status encode_spm(encoder *e, const char *text, size_t n, bool prefix, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str *s = &e->text;
    an_str_clear(s);
    if (prefix && !(e->t->prefix_unless_space && n && text[0] == ' ')) an_str_append(s, BLOCK);
    for (size_t at = 0; at < n;) {
        const char *space = memchr(text + at, ' ', n - at);
        size_t stop = space ? (size_t)(space - text) : n;
        an_str_append_bytes(s, text + at, stop - at);
        if (space) an_str_append(s, BLOCK);
        at = stop + 1;
    }
    AN_TRY(an_str_check(s, err));
    if (s->len > UINT32_MAX)
        return an_fail(err, ANEMO_ERR_INVAL, "the text is too long to tokenize in one piece");
    e->merge.n_node = 0;
    for (size_t i = 0; i < s->len;) {
        uint32_t cp;
        int len = an_utf8_decode(s->data + i, s->len - i, &cp);
        if (len == 0) len = 1;
        int32_t sym = -1;
        if (e->t->merge_by == AN_MERGE_BY_PAIR) {
            sym = an_map_find(&e->t->by_spelling, &e->t->spelling, s->data + i, (size_t)len);
            if (sym >= 0 && e->t->type[sym] != AN_PIECE_NORMAL) sym = -1;
        }
        AN_TRY(an_merge_add_node(&e->merge, (uint32_t)i, (uint32_t)len, sym, err));
        i += (size_t)len;
    }
    AN_TRY(an_merge_run(e->t, &e->merge, an_str_text(s), err));
    AN_TRY(push_nodes(e, an_str_text(s)));
cleanup:
    return status;
}

/* ----------------------------------------------------------------------------------------------------- whole */

static anemo_status encode_segments(encoder *e, const char *text, const an_segments *segs,
                                    anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_tokenizer *t = e->t;
    bool prefix = t->prefix != AN_PREFIX_NONE;
    for (size_t i = 0; i < segs->n; i++) {
        const an_segment *seg = &segs->items[i];
        if (seg->id < 0) {
            if (t->byte_level)
                AN_TRY(encode_bytes(e, text + seg->start, seg->len, err));
            else
                AN_TRY(encode_spm(e, text + seg->start, seg->len, prefix, err));
            prefix = false;
            continue;
        }
        bool user = t->type[seg->id] == AN_PIECE_USER;
        if (prefix && user && t->prefix == AN_PREFIX_TEXT) {
            AN_TRY(encode_spm(e, text, 0, true, err));
            prefix = false;
        }
        AN_TRY(an_ids_push(e->out, seg->id, err));
        if (t->prefix == AN_PREFIX_SEGMENT || (t->prefix == AN_PREFIX_TEXT && !user)) prefix = true;
        if (t->prefix == AN_PREFIX_FIRST) prefix = false;
    }
cleanup:
    return status;
}

anemo_status an_tokenizer_encode(const an_tokenizer *t, const char *text, size_t n, bool special,
                                 an_ids *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    encoder e = {.t = t, .out = out};
    an_segments segs = {0};
    size_t n_before = out->n;
    if (n > AN_TOKEN_MAX_TEXT)
        return an_fail(err, ANEMO_ERR_INVAL, "%zu bytes of text at once; the limit is %zu", n,
                       AN_TOKEN_MAX_TEXT);
    if (n == 0) return ANEMO_OK;
    AN_TRY(an_special_split(t, text, n, special, &segs, err));
    status = encode_segments(&e, text, &segs, err);
    if (status == ANEMO_ERR_NOMEM) status = an_fail(err, status, "out of memory");
cleanup:
    if (status != ANEMO_OK) out->n = n_before;
    an_segments_free(&segs);
    an_merge_work_free(&e.merge);
    an_pretok_work_free(&e.pretok);
    an_str_free(&e.text);
    return status;
}
