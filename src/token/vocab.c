/*
 * The vocabulary: pieces in id order, the maps that find them, merges, special pieces, ends of generation.
 * Every loader fills one of these and hands it out; nothing changes afterwards, so threads may share it.
 */
#include "token/internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------------- blobs, maps */

void an_blob_free(an_blob *b)
{
    an_str_free(&b->text);
    an_free(b->off);
    *b = (an_blob){0};
}

bool an_blob_add(an_blob *b, const char *text, size_t n)
{
    if (b->n + 2 > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 1024;
        uint32_t *off = an_realloc(b->off, cap * sizeof *off);
        if (!off) return false;
        b->off = off;
        b->cap = cap;
        if (b->n == 0) off[0] = 0;
    }
    an_str_append_bytes(&b->text, text, n);
    an_str_append_char(&b->text, '\0');
    if (b->text.failed || b->text.len > UINT32_MAX) return false;
    b->off[++b->n] = (uint32_t)b->text.len;
    return true;
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 32;
    return h;
}

static uint64_t hash_bytes(const char *text, size_t n)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ n;
    while (n >= 8) {
        uint64_t v;
        memcpy(&v, text, 8);
        h = (h ^ v) * 0xff51afd7ed558ccdu;
        h ^= h >> 29;
        text += 8;
        n -= 8;
    }
    uint64_t v = 0;
    memcpy(&v, text, n);
    return mix(h ^ v);
}

int32_t an_map_find(const an_map *m, const an_blob *b, const char *text, size_t n)
{
    if (!m->n_slot) return -1;
    size_t mask = m->n_slot - 1;
    for (size_t i = hash_bytes(text, n) & mask;; i = (i + 1) & mask) {
        int32_t id = m->slots[i];
        if (id < 0) return -1;
        size_t len;
        const char *at = an_blob_at(b, (size_t)id, &len);
        if (len == n && memcmp(at, text, n) == 0) return id;
    }
}

static void map_put(an_map *m, const an_blob *b, int32_t id)
{
    size_t n, mask = m->n_slot - 1;
    const char *text = an_blob_at(b, (size_t)id, &n);
    size_t i = hash_bytes(text, n) & mask;
    while (m->slots[i] >= 0) i = (i + 1) & mask;
    m->slots[i] = id;
    m->n++;
}

bool an_map_add(an_map *m, const an_blob *b, int32_t id)
{
    if ((m->n + 1) * 2 > m->n_slot) {
        an_map grown = {.n_slot = m->n_slot ? m->n_slot * 2 : 1024};
        grown.slots = an_malloc(grown.n_slot * sizeof *grown.slots);
        if (!grown.slots) return false;
        for (size_t i = 0; i < grown.n_slot; i++) grown.slots[i] = -1;
        for (size_t i = 0; i < m->n_slot; i++)
            if (m->slots[i] >= 0) map_put(&grown, b, m->slots[i]);
        an_free(m->slots);
        *m = grown;
    }
    size_t n;
    const char *text = an_blob_at(b, (size_t)id, &n);
    if (an_map_find(m, b, text, n) < 0) map_put(m, b, id);
    return true;
}

static uint64_t pair_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

const an_pair *an_pairs_find(const an_pairs *p, int32_t left, int32_t right)
{
    if (!p->n_slot) return NULL;
    uint64_t key = pair_key(left, right);
    size_t mask = p->n_slot - 1;
    for (size_t i = mix(key) & mask;; i = (i + 1) & mask) {
        if (p->slots[i].key == key) return &p->slots[i];
        if (p->slots[i].key == UINT64_MAX) return NULL;
    }
}

static void pairs_put(an_pairs *p, an_pair pair)
{
    size_t mask = p->n_slot - 1, i = mix(pair.key) & mask;
    while (p->slots[i].key != UINT64_MAX) i = (i + 1) & mask;
    p->slots[i] = pair;
    p->n++;
}

bool an_pairs_add(an_pairs *p, int32_t left, int32_t right, uint32_t rank, int32_t sym)
{
    if ((p->n + 1) * 2 > p->n_slot) {
        an_pairs grown = {.n_slot = p->n_slot ? p->n_slot * 2 : 1024};
        grown.slots = an_malloc(grown.n_slot * sizeof *grown.slots);
        if (!grown.slots) return false;
        for (size_t i = 0; i < grown.n_slot; i++) grown.slots[i].key = UINT64_MAX;
        for (size_t i = 0; i < p->n_slot; i++)
            if (p->slots[i].key != UINT64_MAX) pairs_put(&grown, p->slots[i]);
        an_free(p->slots);
        *p = grown;
    }
    if (!an_pairs_find(p, left, right))
        pairs_put(p, (an_pair){.key = pair_key(left, right), .rank = rank, .sym = sym});
    return true;
}

/* ------------------------------------------------------------------------------------------ GPT-2's alphabet */

/* Bytes that stand for themselves; the other 68, in order, are U+0100 and on. */
static bool is_own_letter(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static uint32_t alphabet_letter(int byte)
{
    if (is_own_letter(byte)) return (uint32_t)byte;
    if (byte < 33) return 256 + (uint32_t)byte;
    if (byte < 161) return 256 + 33 + (uint32_t)(byte - 127);
    return 256 + 67;
}

int an_alphabet_byte(uint32_t cp)
{
    if (cp < 256) return is_own_letter((int)cp) ? (int)cp : -1;
    uint32_t i = cp - 256;
    if (i < 33) return (int)i;
    if (i < 67) return (int)(i - 33) + 127;
    return i == 67 ? 173 : -1;
}

void an_alphabet_decode(const char *text, size_t n, an_str *out)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = an_utf8_decode(text + i, n - i, &cp);
        int byte = len ? an_alphabet_byte(cp) : -1;
        if (len == 0) len = 1;
        if (byte >= 0)
            an_str_append_char(out, (char)byte);
        else
            an_str_append_bytes(out, text + i, (size_t)len);
        i += (size_t)len;
    }
}

void an_alphabet_encode(const char *bytes, size_t n, an_str *out)
{
    for (size_t i = 0; i < n; i++) {
        char letter[4];
        int len = an_utf8_encode(alphabet_letter((unsigned char)bytes[i]), letter);
        an_str_append_bytes(out, letter, (size_t)len);
    }
}

/* -------------------------------------------------------------------------------------------------- building */

an_tokenizer *an_vocab_new(const char *source)
{
    an_tokenizer *t = an_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->source = source;
    t->bos = t->eos = t->unk = -1;
    for (int i = 0; i < 256; i++) t->byte_sym[i] = -1;
    return t;
}

void an_tokenizer_close(an_tokenizer *t)
{
    if (!t) return;
    an_blob_free(&t->spelling);
    an_blob_free(&t->bytes);
    an_free(t->type);
    an_free(t->flags);
    an_free(t->score);
    an_free(t->by_spelling.slots);
    an_free(t->by_bytes.slots);
    an_free(t->pairs.slots);
    an_free(t->trie);
    an_free(t->eog);
    an_free(t->chat_template);
    an_free(t);
}

void an_vocab_note(an_tokenizer *t, const char *fmt, ...)
{
    size_t used = strlen(t->note);
    if (used && used + 2 < sizeof t->note) {
        memcpy(t->note + used, "; ", 3);
        used += 2;
    }
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->note + used, sizeof t->note - used, fmt, ap);
    va_end(ap);
}

anemo_status an_vocab_add(an_tokenizer *t, const char *text, size_t n, an_piece_type type, float score,
                          anemo_error *err)
{
    size_t id = (size_t)t->n_vocab;
    if (id >= AN_TOKEN_MAX_VOCAB)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d pieces", t->source, AN_TOKEN_MAX_VOCAB);
    if (n > AN_TOKEN_MAX_PIECE)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: piece %zu has %zu bytes; the limit is %d", t->source, id, n,
                       AN_TOKEN_MAX_PIECE);
    if (id == t->cap_vocab) {
        size_t cap = t->cap_vocab ? t->cap_vocab * 2 : 1024;
        uint8_t *types = an_realloc(t->type, cap);
        if (types) t->type = types;
        uint8_t *flags = an_realloc(t->flags, cap);
        if (flags) t->flags = flags;
        float *scores = an_realloc(t->score, cap * sizeof *scores);
        if (scores) t->score = scores;
        if (!types || !flags || !scores) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        t->cap_vocab = cap;
    }
    if (!an_blob_add(&t->spelling, text, n)) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    t->type[id] = (uint8_t)type;
    t->flags[id] = 0;
    t->score[id] = score == score ? score : 0.0f;
    t->n_vocab++;
    return ANEMO_OK;
}

static int32_t trie_new_node(an_tokenizer *t, unsigned char byte)
{
    if (t->n_trie == t->cap_trie) {
        size_t cap = t->cap_trie ? t->cap_trie * 2 : 256;
        if (cap > INT32_MAX) return -1;
        an_trie_node *trie = an_realloc(t->trie, cap * sizeof *trie);
        if (!trie) return -1;
        t->trie = trie;
        t->cap_trie = cap;
    }
    t->trie[t->n_trie] = (an_trie_node){.child = -1, .sibling = -1, .id = -1, .byte = byte};
    return (int32_t)t->n_trie++;
}

static anemo_status trie_add(an_tokenizer *t, int32_t id, anemo_error *err)
{
    size_t n;
    const char *text = an_blob_at(&t->spelling, (size_t)id, &n);
    if (n == 0) return ANEMO_OK;
    if (n > AN_TOKEN_MAX_SPECIAL)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: special piece %d has %zu bytes; the limit is %d",
                       t->source, id, n, AN_TOKEN_MAX_SPECIAL);
    if (!t->n_trie && trie_new_node(t, 0) < 0) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    int32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char byte = (unsigned char)text[i];
        int32_t next = t->trie[at].child;
        while (next >= 0 && t->trie[next].byte != byte) next = t->trie[next].sibling;
        if (next < 0) {
            next = trie_new_node(t, byte);
            if (next < 0) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            t->trie[next].sibling = t->trie[at].child;
            t->trie[at].child = next;
        }
        at = next;
    }
    if (t->trie[at].id < 0) t->trie[at].id = id;
    return ANEMO_OK;
}

/* The symbol of a byte string, made when no piece spells it. -1: out of memory. */
static int32_t intern_bytes(an_tokenizer *t, const char *bytes, size_t n)
{
    int32_t sym = an_map_find(&t->by_bytes, &t->bytes, bytes, n);
    if (sym >= 0) return sym;
    if (t->bytes.n >= INT32_MAX || !an_blob_add(&t->bytes, bytes, n)) return -1;
    sym = (int32_t)t->bytes.n - 1;
    return an_map_add(&t->by_bytes, &t->bytes, sym) ? sym : -1;
}

/* Byte-level: the bytes of each piece, and a symbol for every single byte. */
static anemo_status index_bytes(an_tokenizer *t, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str raw = {0};
    for (int32_t id = 0; id < t->n_vocab; id++) {
        size_t n;
        const char *text = an_blob_at(&t->spelling, (size_t)id, &n);
        bool plain = t->type[id] == AN_PIECE_NORMAL || t->type[id] == AN_PIECE_UNUSED;
        bool merged = plain || t->type[id] == AN_PIECE_USER; /* which may be an ordinary piece as well */
        an_str_clear(&raw);
        if (plain)
            an_alphabet_decode(text, n, &raw);
        else
            an_str_append_bytes(&raw, text, n);
        if (raw.failed || !an_blob_add(&t->bytes, an_str_text(&raw), raw.len) ||
            (merged && raw.len && !an_map_add(&t->by_bytes, &t->bytes, id))) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        if (merged && raw.len > t->max_piece) t->max_piece = raw.len;
    }
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        t->byte_sym[i] = intern_bytes(t, &byte, 1);
        if (t->byte_sym[i] < 0) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
    }
cleanup:
    an_str_free(&raw);
    return status;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* "<0x0A>" as a byte, or -1. */
static int byte_of_spelling(const char *text, size_t n)
{
    if (n != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int high = hex_digit(text[3]), low = hex_digit(text[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

anemo_status an_vocab_index(an_tokenizer *t, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (t->n_vocab == 0) return an_fail(err, ANEMO_ERR_FORMAT, "%s: the vocabulary is empty", t->source);
    t->eog = an_calloc((size_t)t->n_vocab, 1);
    if (!t->eog) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int32_t id = 0; id < t->n_vocab; id++) {
        if (!an_map_add(&t->by_spelling, &t->spelling, id))
            return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        an_piece_type type = an_vocab_type(t, id);
        if (type == AN_PIECE_CONTROL || type == AN_PIECE_UNKNOWN || type == AN_PIECE_USER)
            AN_TRY(trie_add(t, id, err));
        if (t->byte_level) continue;
        size_t n;
        const char *text = an_blob_at(&t->spelling, (size_t)id, &n);
        if (type == AN_PIECE_BYTE) {
            int byte = byte_of_spelling(text, n);
            if (byte < 0)
                return an_fail(err, ANEMO_ERR_FORMAT,
                               "%s: piece %d has the type of a byte but is not spelled like <0x0A>", t->source, id);
            if (t->byte_sym[byte] < 0) t->byte_sym[byte] = id;
        } else if (type == AN_PIECE_NORMAL && n > t->max_piece) {
            t->max_piece = n;
        }
    }
    if (t->byte_level) AN_TRY(index_bytes(t, err));
cleanup:
    return status;
}

anemo_status an_vocab_extend(an_tokenizer *t, int32_t id, const char *text, size_t n, an_piece_type type,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint8_t *eog = an_realloc(t->eog, (size_t)id + 1);
    if (!eog) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    t->eog = eog;
    while (t->n_vocab <= id) {
        bool last = t->n_vocab == id;
        eog[t->n_vocab] = 0;
        AN_TRY(an_vocab_add(t, last ? text : "", last ? n : 0, last ? type : AN_PIECE_UNUSED, 0, err));
    }
    if (!an_map_add(&t->by_spelling, &t->spelling, id))
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(trie_add(t, id, err));
cleanup:
    return status;
}

anemo_status an_vocab_merge(an_tokenizer *t, const char *left, size_t n_left, const char *right,
                            size_t n_right, uint32_t rank, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    int32_t a, b, both;
    if (n_left + n_right > AN_TOKEN_MAX_PIECE)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: merge %u makes %zu bytes; the limit is %d", t->source,
                       rank, n_left + n_right, AN_TOKEN_MAX_PIECE);
    if (!t->byte_level) {
        /* Merges of code points: those that name no piece can never apply. */
        a = an_map_find(&t->by_spelling, &t->spelling, left, n_left);
        b = an_map_find(&t->by_spelling, &t->spelling, right, n_right);
        an_str_append_bytes(&text, left, n_left);
        an_str_append_bytes(&text, right, n_right);
        both = text.failed ? -1 : an_map_find(&t->by_spelling, &t->spelling, text.data, text.len);
        if (text.failed || (a >= 0 && b >= 0 && both >= 0 && !an_pairs_add(&t->pairs, a, b, rank, both)))
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    an_alphabet_decode(left, n_left, &text);
    size_t cut = text.len;
    an_alphabet_decode(right, n_right, &text);
    AN_TRY(an_str_check(&text, err)); /* first: a refusal leaves a text that looks like an empty half */
    if (cut == 0 || cut == text.len) goto cleanup; /* an empty half merges with nothing */
    a = intern_bytes(t, text.data, cut);
    b = intern_bytes(t, text.data + cut, text.len - cut);
    both = intern_bytes(t, text.data, text.len);
    if (a < 0 || b < 0 || both < 0 || !an_pairs_add(&t->pairs, a, b, rank, both))
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_str_free(&text);
    return status;
}

/* --------------------------------------------------------------------------------------- ends of generation */

/* Names that models give to the token that ends a turn or a text; llama.cpp keeps the same kind of list. */
static const char *const eog_names[] = {
    "<|eot_id|>",      "<|im_end|>", "<|end|>",  "<|return|>", "<|call|>", "<end_of_turn>",
    "<|endoftext|>",   "</s>",       "<|eom_id|>", "<EOT>",    "_<EOT>",   "[EOT]",
    "[EOS]",           "<eos>",      "<|end_of_text|>", "<end_of_utterance>", "<|fim_pad|>",
    "<|fim_repo|>",    "<|repo_name|>", "<|file_sep|>", "<reponame>",
    ("<\xef\xbd\x9c" "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
};

bool an_is_eog_name(const char *text, size_t n)
{
    for (size_t i = 0; i < AN_COUNT_OF(eog_names); i++)
        if (strlen(eog_names[i]) == n && memcmp(eog_names[i], text, n) == 0) return true;
    return false;
}

void an_vocab_mark_eog(an_tokenizer *t)
{
    for (size_t i = 0; i < AN_COUNT_OF(eog_names); i++) {
        int32_t id = an_tokenizer_find(t, eog_names[i]);
        if (id >= 0 && (t->type[id] == AN_PIECE_CONTROL || t->type[id] == AN_PIECE_USER)) t->eog[id] = 1;
    }
    if (t->eos >= 0) t->eog[t->eos] = 1;
}

/* ------------------------------------------------------------------------------------------------- questions */

an_vocab_kind an_tokenizer_kind(const an_tokenizer *t)
{
    return t->kind;
}

const char *an_tokenizer_pre(const an_tokenizer *t)
{
    return t->pre;
}

const char *an_tokenizer_note(const an_tokenizer *t)
{
    return t->note;
}

int32_t an_tokenizer_n_vocab(const an_tokenizer *t)
{
    return t->n_vocab;
}

int32_t an_tokenizer_bos(const an_tokenizer *t)
{
    return t->bos;
}

int32_t an_tokenizer_eos(const an_tokenizer *t)
{
    return t->eos;
}

bool an_tokenizer_add_bos(const an_tokenizer *t)
{
    return t->add_bos && t->bos >= 0;
}

bool an_tokenizer_add_eos(const an_tokenizer *t)
{
    return t->add_eos && t->eos >= 0;
}

bool an_tokenizer_is_eog(const an_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab && t->eog[id];
}

bool an_tokenizer_is_control(const an_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_vocab &&
           (t->type[id] == AN_PIECE_CONTROL || t->type[id] == AN_PIECE_UNKNOWN);
}

int32_t an_tokenizer_find(const an_tokenizer *t, const char *piece)
{
    return an_map_find(&t->by_spelling, &t->spelling, piece, strlen(piece));
}

const char *an_tokenizer_spelling(const an_tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->n_vocab) return "";
    size_t n;
    return an_blob_at(&t->spelling, (size_t)id, &n);
}
