/*
 * A loaded vocabulary as the arrays of a GGUF file hold it (formats.md 1.6), whatever file it came from: SentencePiece
 * pieces with scores, or byte-level pieces with a list of merges.
 */
#ifndef AN_TOKEN_EXPORT_H
#define AN_TOKEN_EXPORT_H

#include "token/tokenizer.h"

/* Merges as "left right", best first, one after another, each followed by a NUL. an_merge_list_free. */
typedef struct an_merge_list {
    an_str text;
    size_t *start; /* [n] of each in text */
    size_t n, cap;
} an_merge_list;

void an_merge_list_free(an_merge_list *l);

/*
 * The merges of a byte-level vocabulary. A Tekken file has ranks instead: each way to cut a piece into two pieces is a
 * merge, in the order of the whole's rank, then of the halves'. Gives *out.
 */
ANEMO_MUST_CHECK anemo_status an_tokenizer_merges(const an_tokenizer *t, an_merge_list *out, anemo_error *err);

/* 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; the id is one of the vocabulary's. */
int an_tokenizer_piece_type(const an_tokenizer *t, int32_t id);

/* The piece as spelled, which may hold NUL bytes. Borrowed. */
an_bytes an_tokenizer_piece_text(const an_tokenizer *t, int32_t id);

/*
 * The scores of a SentencePiece vocabulary into out[n_vocab]. A tokenizer.json has merges instead: then they are the scores
 * that give the same order of merging, those that SentencePiece itself would have written when the ids allow it
 * (formats.md 7.2), and *made is set.
 */
ANEMO_MUST_CHECK anemo_status an_tokenizer_scores(const an_tokenizer *t, float *out, bool *made, anemo_error *err);

/* The name that GGUF has for its way of splitting text (tokenizer.ggml.pre), or NULL. Static or borrowed. */
const char *an_tokenizer_gguf_pre(const an_tokenizer *t);

/* Does a space go in front of text (SentencePiece)? */
bool an_tokenizer_space_prefix(const an_tokenizer *t);

int32_t an_tokenizer_unk(const an_tokenizer *t); /* -1 when it has none */

/* What GGUF has no words for, as a sentence that goes on after "the tokenizer"; "" = nothing. Appends to out. */
void an_tokenizer_losses(const an_tokenizer *t, an_str *out);

#endif
