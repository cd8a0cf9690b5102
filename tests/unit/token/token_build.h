/* Small vocabularies made in memory, in the file formats that we read. They share no code with the readers. */
#ifndef AN_TESTS_TOKEN_BUILD_H
#define AN_TESTS_TOKEN_BUILD_H

#include "base/str.h"

#include <stddef.h>

/* SentencePiece's protobuf. */
void spm_varint(an_str *out, unsigned long long v);
void spm_field(an_str *out, unsigned number, const void *data, size_t n); /* length-delimited */
void spm_piece(an_str *out, const char *text, float score, int type);
/* Trainer (BPE, ids 0 1 2) and normalizer (prefix, nothing trimmed) as Mistral's files have them. */
void spm_specs(an_str *out);
/* <unk> <s> </s>, the 256 bytes (ids 3 to 258) and then `n` normal pieces with scores -1, -2, … */
void spm_small(an_str *out, const char *const *pieces, size_t n);

/*
 * tekken.json with 20 special ids, the 256 bytes and then `n` byte strings; `config` is put into "config" behind
 * the sizes, e.g. "\"version\": \"v3\"".
 */
void tekken_small(an_str *out, const char *const *pieces, size_t n, const char *config);

#endif
