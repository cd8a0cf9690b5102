/* What the files of this module share: the vocabulary as loaded, and the steps of encoding. */
#ifndef AN_TOKEN_INTERNAL_H
#define AN_TOKEN_INTERNAL_H

#include "token/tokenizer.h"

#include "base/json.h"

/* Limits that no real vocabulary comes near; they bound the work a hostile file can ask for. */
#define AN_TOKEN_MAX_VOCAB (1 << 24)
#define AN_TOKEN_MAX_PIECE 65535
#define AN_TOKEN_MAX_SPECIAL 1024
#define AN_TOKEN_MAX_TEXT ((size_t)1 << 28)

/* The numbers are SentencePiece's and GGUF's. */
typedef enum an_piece_type {
    AN_PIECE_NORMAL = 1,
    AN_PIECE_UNKNOWN = 2,
    AN_PIECE_CONTROL = 3,
    AN_PIECE_USER = 4,
    AN_PIECE_UNUSED = 5,
    AN_PIECE_BYTE = 6,
} an_piece_type;

/* How a piece that is matched in raw text treats its surroundings (Hugging Face added_tokens). */
enum {
    AN_PIECE_LSTRIP = 1,
    AN_PIECE_RSTRIP = 2,
    AN_PIECE_SINGLE_WORD = 4,
    AN_PIECE_NORMALIZED = 8, /* matched after all those without it */
};

/* Byte strings one after another, each followed by a NUL. */
typedef struct an_blob {
    an_str text;
    uint32_t *off; /* [n + 1] */
    size_t n, cap;
} an_blob;

/* Hash set of indices into a blob. */
typedef struct an_map {
    int32_t *slots; /* -1 = empty */
    size_t n_slot, n;
} an_map;

/* Hash from a pair of symbols to the merge of the two. */
typedef struct an_pair {
    uint64_t key; /* left << 32 | right; UINT64_MAX = empty */
    uint32_t rank;
    int32_t sym;
} an_pair;

typedef struct an_pairs {
    an_pair *slots;
    size_t n_slot, n;
} an_pairs;

typedef struct an_trie_node {
    int32_t child, sibling; /* -1 = none */
    int32_t id;             /* of the piece that ends here; -1 = none */
    unsigned char byte;
} an_trie_node;

typedef enum an_merge_by {
    AN_MERGE_BY_SCORE, /* SentencePiece: the concatenation's score */
    AN_MERGE_BY_PAIR,  /* a list of merges */
    AN_MERGE_BY_ID,    /* Tekken: the concatenation's id */
} an_merge_by;

/* Where a SentencePiece vocabulary puts U+2581 in front of text. */
typedef enum an_prefix_rule {
    AN_PREFIX_NONE,
    AN_PREFIX_TEXT,    /* once, at the start of the text, even before a user-defined piece (SentencePiece) */
    AN_PREFIX_SEGMENT, /* before every stretch of text between special pieces (llama.cpp, Prepend) */
    AN_PREFIX_FIRST,   /* only where the text itself starts with a stretch of text (Metaspace "first") */
} an_prefix_rule;

/* Which of two overlapping special pieces wins. */
typedef enum an_special_rule {
    AN_SPECIAL_LEFTMOST, /* leftmost, then longest (SentencePiece, Hugging Face) */
    AN_SPECIAL_LONGEST,  /* longest anywhere first (llama.cpp) */
} an_special_rule;

typedef enum an_unicode_level { AN_UNICODE_15_1, AN_UNICODE_16 } an_unicode_level;

/* One step of pre-tokenization: each cuts the pieces of the step before it. */
typedef enum an_pretok_pass {
    AN_PASS_END,
    AN_PASS_NUMBER,     /* every \p{N} alone */
    AN_PASS_NUMBER_RUN, /* \p{N}+ */
    AN_PASS_DIGITS3,    /* [0-9][0-9][0-9] */
    AN_PASS_PUNCT,      /* [\p{P}\$\+<=>\^~\|]+ */
    AN_PASS_PUNCT_TICK, /* the same with the backtick */
    AN_PASS_GPT2,
    AN_PASS_LLAMA3, /* numbers in threes */
    AN_PASS_QWEN2,  /* numbers one by one */
    AN_PASS_TEKKEN,
} an_pretok_pass;

typedef struct an_pretok {
    an_pretok_pass pass[5];
    an_unicode_level unicode;
    bool ascii_case; /* llama.cpp's Tekken: only ASCII letters have a case, marks are no letters */
} an_pretok;

struct an_tokenizer {
    an_vocab_kind kind;
    bool byte_level; /* spellings are in the GPT-2 alphabet, text is split before merging */
    const char *source; /* name for messages while loading; borrowed, NULL afterwards */
    char pre[64];
    char note[256]; /* what a user should know about how it was read; "" = nothing */
    an_pretok pretok;
    bool ignore_merges; /* a whole word that is a piece is that piece */
    bool nfc;
    an_merge_by merge_by;
    an_prefix_rule prefix;
    bool prefix_unless_space; /* no prefix where text starts with a space */
    an_special_rule special_rule;

    int32_t n_vocab;
    an_blob spelling;
    uint8_t *type;  /* [n_vocab] an_piece_type */
    uint8_t *flags; /* [n_vocab] AN_PIECE_LSTRIP … */
    float *score;   /* [n_vocab] */
    size_t cap_vocab;
    an_map by_spelling; /* every piece */

    /*
     * Byte-level kinds: the bytes that each piece stands for, and symbols beyond n_vocab for strings that merges
     * name but no piece spells. `by_bytes` holds what merging can make.
     */
    an_blob bytes;
    an_map by_bytes;
    an_pairs pairs;
    size_t max_piece; /* longest piece that merging can make, in bytes */

    int32_t byte_sym[256]; /* symbol of a single byte; byte-level: always one, SPM: <0xHH> or -1 */

    an_trie_node *trie; /* special pieces; node 0 is the root, NULL when there are none */
    size_t n_trie, cap_trie;

    int32_t bos, eos, unk;
    bool add_bos, add_eos;
    uint8_t *eog; /* [n_vocab] */

    char *chat_template;
    an_chat_format chat;
};

/* ------------------------------------------------------------------------------------------------ vocabulary */

void an_blob_free(an_blob *b);
bool an_blob_add(an_blob *b, const char *text, size_t n); /* false: out of memory or over 4 GiB */
static inline const char *an_blob_at(const an_blob *b, size_t i, size_t *n)
{
    *n = b->off[i + 1] - b->off[i] - 1;
    return b->text.data + b->off[i];
}

int32_t an_map_find(const an_map *m, const an_blob *b, const char *text, size_t n);
bool an_map_add(an_map *m, const an_blob *b, int32_t id); /* keeps the one that is already there */

const an_pair *an_pairs_find(const an_pairs *p, int32_t left, int32_t right);
/* The pair of which `by_spelling`/`by_bytes` symbols merge; false: out of memory. The first rank stays. */
bool an_pairs_add(an_pairs *p, int32_t left, int32_t right, uint32_t rank, int32_t sym);

/* An empty tokenizer whose loading errors start with `source`, or NULL. */
an_tokenizer *an_vocab_new(const char *source);
/* Append the next id. `what` and the index are named when the piece is too long. */
ANEMO_MUST_CHECK anemo_status an_vocab_add(an_tokenizer *t, const char *text, size_t n,
                                           an_piece_type type, float score, anemo_error *err);
/* After all ids, and once: maps, byte symbols, the trie of special pieces. */
ANEMO_MUST_CHECK anemo_status an_vocab_index(an_tokenizer *t, anemo_error *err);
/* After an_vocab_index, SentencePiece only: a special piece behind the others; ids left out become unused ones. */
ANEMO_MUST_CHECK anemo_status an_vocab_extend(an_tokenizer *t, int32_t id, const char *text, size_t n,
                                              an_piece_type type, anemo_error *err);
/* Merge `rank` of a byte-level or Hugging Face vocabulary, spelled as the pieces are. After an_vocab_index. */
ANEMO_MUST_CHECK anemo_status an_vocab_merge(an_tokenizer *t, const char *left, size_t n_left,
                                             const char *right, size_t n_right, uint32_t rank,
                                             anemo_error *err);
/* Mark the ends of generation by eos and by the names that models use. After ids are known. */
void an_vocab_mark_eog(an_tokenizer *t);
/* A name that llama.cpp takes for a control token whatever type the file gives it. */
bool an_is_eog_name(const char *text, size_t n);
void an_vocab_note(an_tokenizer *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline an_piece_type an_vocab_type(const an_tokenizer *t, int32_t id)
{
    return (an_piece_type)t->type[id];
}

/* Write the bytes that a spelling in the GPT-2 alphabet stands for. */
void an_alphabet_decode(const char *text, size_t n, an_str *out);
/* Spell bytes in the GPT-2 alphabet. */
void an_alphabet_encode(const char *bytes, size_t n, an_str *out);
/* The byte that a code point of the alphabet stands for; -1 when it is not one. */
int an_alphabet_byte(uint32_t cp);

/* ---------------------------------------------------------------------------------------------- pre-tokenizer */

/* Look a GGUF name up; false leaves *out alone. Sets what the name implies besides the split. */
bool an_pretok_by_name(const char *name, an_pretok *out, bool *ignore_merges, bool *add_bos);
/* The first GGUF name that splits like this and treats whole words like this; NULL when none does. Static. */
const char *an_pretok_name_of(const an_pretok *p, bool ignore_merges);
/* A regex of a tokenizer.json; false when it is not one we know. */
bool an_pretok_by_regex(const char *regex, an_pretok_pass *out);

/* Unicode's White_Space. */
bool an_is_white_space(uint32_t cp);
/* \w of a regex: letters, marks, digits, connecting punctuation. */
bool an_is_word(uint32_t cp);

/* Scratch of the pre-tokenizer, kept over segments. Zero-initialise. */
typedef struct an_pretok_work {
    uint8_t *cls;
    uint32_t *off; /* [n + 1] byte offset of each code point */
    uint32_t *end[2];
    size_t cap;
} an_pretok_work;

/* Cut n bytes of valid UTF-8. *ends (borrowed from w) are byte offsets, the last one n. */
ANEMO_MUST_CHECK anemo_status an_pretok_split(const an_pretok *p, an_pretok_work *w, const char *text,
                                              size_t n, const uint32_t **ends, size_t *n_end,
                                              anemo_error *err);
void an_pretok_work_free(an_pretok_work *w);

/* ---------------------------------------------------------------------------------------------------- merging */

typedef struct an_merge_node {
    uint32_t start, len; /* bytes of the text; len 0 = merged away */
    int32_t prev, next;  /* -1 = none */
    int32_t sym;         /* -1 = not looked up */
} an_merge_node;

typedef struct an_merge_pair {
    uint64_t key; /* priority << 32 | left: the smallest is merged first */
    int32_t right, sym;
} an_merge_pair;

/* Scratch of the merger. Zero-initialise; free nodes and heap by an_merge_work_free. */
typedef struct an_merge_work {
    an_merge_node *nodes;
    size_t n_node, cap_node;
    an_merge_pair *heap;
    size_t n_heap, cap_heap;
} an_merge_work;

ANEMO_MUST_CHECK anemo_status an_merge_add_node(an_merge_work *w, uint32_t start, uint32_t len,
                                                int32_t sym, anemo_error *err);
/* Merge nodes 0..n_node-1 over `text` until nothing merges. Node 0 stays the first. */
ANEMO_MUST_CHECK anemo_status an_merge_run(const an_tokenizer *t, an_merge_work *w, const char *text,
                                           anemo_error *err);
void an_merge_work_free(an_merge_work *w);

/* ----------------------------------------------------------------------------------------------- special text */

typedef struct an_segment {
    size_t start, len;
    int32_t id; /* the special piece; -1 = plain text */
} an_segment;

typedef struct an_segments {
    an_segment *items;
    size_t n, cap;
} an_segments;

/* Cut text at special pieces: user-defined ones always, control and unknown ones when `special`. */
ANEMO_MUST_CHECK anemo_status an_special_split(const an_tokenizer *t, const char *text, size_t n,
                                               bool special, an_segments *out, anemo_error *err);
void an_segments_free(an_segments *s);

/* ---------------------------------------------------------------------------------------------------- loaders */

ANEMO_MUST_CHECK anemo_status an_load_spm(an_tokenizer **out, const void *data, size_t n, const char *name,
                                          anemo_error *err);
/* tekken.json or tokenizer.json, by content. */
ANEMO_MUST_CHECK anemo_status an_load_json(an_tokenizer **out, const char *text, size_t n, const char *name,
                                           anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_load_tekken(an_tokenizer **out, const json_t *root, const char *name,
                                             anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_load_hf(an_tokenizer **out, const json_t *root, const char *name,
                                         anemo_error *err);
/*
 * tokenizer_config.json beside any of the three: BOS and EOS, what to add, the chat template, and the pieces that a
 * fine-tune put behind a SentencePiece vocabulary.
 */
ANEMO_MUST_CHECK anemo_status an_load_config(an_tokenizer *t, const char *text, size_t n, const char *name,
                                             anemo_error *err);

/* Settle t->chat from the vocabulary and the template; `version` as the file names it ("v3") or "". */
void an_chat_detect(an_tokenizer *t, const char *version);

#endif
