/*
 * Text to token ids and back: SentencePiece BPE, byte-level BPE and Tekken, from GGUF arrays, tokenizer.model,
 * tekken.json or tokenizer.json (which file decides: formats.md 7.1). Linear or n log n in the text; no recursion.
 */
#ifndef AN_TOKEN_TOKENIZER_H
#define AN_TOKEN_TOKENIZER_H

#include "base/error.h"
#include "base/str.h"
#include "format/gguf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_vocab_kind { AN_VOCAB_SPM, AN_VOCAB_BPE, AN_VOCAB_TEKKEN } an_vocab_kind;

typedef struct an_tokenizer an_tokenizer;

/* From the arrays of a GGUF file, of which nothing is kept. Gives *out: an_tokenizer_close. */
ANEMO_MUST_CHECK anemo_status an_tokenizer_open_gguf(an_tokenizer **out, const an_gguf *g,
                                                     anemo_error *err);
/* From a model directory, or one file: tekken.json, tokenizer.model*, tokenizer.json. */
ANEMO_MUST_CHECK anemo_status an_tokenizer_open_path(an_tokenizer **out, const char *path,
                                                     anemo_error *err);
/* Whatever `path` is: a GGUF file (opens and closes it itself), a directory or a tokenizer file. */
ANEMO_MUST_CHECK anemo_status an_tokenizer_open(an_tokenizer **out, const char *path, anemo_error *err);
void an_tokenizer_close(an_tokenizer *t);

an_vocab_kind an_tokenizer_kind(const an_tokenizer *t);
const char *an_tokenizer_pre(const an_tokenizer *t); /* pre-tokenizer: "smollm", "tekken", …; "" for SPM */
/* What the user should know about how it was read (unknown pre-tokenizer, replaced regex); "" = nothing. */
const char *an_tokenizer_note(const an_tokenizer *t);
int32_t an_tokenizer_n_vocab(const an_tokenizer *t);
int32_t an_tokenizer_bos(const an_tokenizer *t); /* -1 when it has none */
int32_t an_tokenizer_eos(const an_tokenizer *t); /* -1 when it has none */
bool an_tokenizer_add_bos(const an_tokenizer *t); /* the model wants BOS in front */
bool an_tokenizer_add_eos(const an_tokenizer *t);
/* End of generation: EOS, EOT, <|im_end|> and what else the vocabulary marks as such. */
bool an_tokenizer_is_eog(const an_tokenizer *t, int32_t id);
bool an_tokenizer_is_control(const an_tokenizer *t, int32_t id);
int32_t an_tokenizer_find(const an_tokenizer *t, const char *piece); /* exact piece as stored; -1 */

typedef struct an_ids {
    int32_t *ids; /* an_ids_free */
    size_t n, cap;
} an_ids;
void an_ids_free(an_ids *ids);
ANEMO_MUST_CHECK anemo_status an_ids_push(an_ids *ids, int32_t id, anemo_error *err);

/*
 * Append the ids of n bytes of text (any bytes; each byte that is not UTF-8 becomes its byte token). `special`: special-token
 * strings in the text become their ids; otherwise they are text. BOS and EOS are never added here.
 */
ANEMO_MUST_CHECK anemo_status an_tokenizer_encode(const an_tokenizer *t, const char *text, size_t n,
                                                  bool special, an_ids *out, anemo_error *err);

/* The piece as bytes that it stands for ("" for control tokens unless `special`). Appends to out. */
void an_tokenizer_piece(const an_tokenizer *t, int32_t id, bool special, an_str *out);

/* The piece as the vocabulary spells it ("Ġthe", "▁the", "<0x0A>"); borrowed, NUL-terminated. "" out of range. */
const char *an_tokenizer_spelling(const an_tokenizer *t, int32_t id);

/*
 * Bytes of a whole sequence. SPM drops the one leading space of the first piece unless `continuation` (text
 * that goes on after a prompt). decode(encode(x)) == x for every byte string x that the vocabulary can express:
 * SentencePiece reads U+2581 as a space, some byte-level vocabularies (SmolLM2's) lack the tokens of some bytes,
 * Phi-3's special pieces swallow white space, and a tokenizer.json may ask for NFC.
 */
void an_tokenizer_decode(const an_tokenizer *t, const int32_t *ids, size_t n, bool special,
                         bool continuation, an_str *out);

/* ------------------------------------------------------------------------------------------- chat templates */

typedef struct an_chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *content;
} an_chat_message;

typedef enum an_chat_format {
    AN_CHAT_NONE,
    AN_CHAT_CHATML,
    AN_CHAT_MISTRAL_V1,
    AN_CHAT_MISTRAL_V2,
    AN_CHAT_MISTRAL_V3,
    AN_CHAT_MISTRAL_V7,
    AN_CHAT_MISTRAL_V3_TEKKEN,
    AN_CHAT_MISTRAL_V7_TEKKEN,
    AN_CHAT_UNKNOWN, /* the model has a template that we do not render */
} an_chat_format;

an_chat_format an_tokenizer_chat_format(const an_tokenizer *t);
const char *an_chat_format_name(an_chat_format format);

/* The model's Jinja source, or NULL. Borrowed. */
const char *an_tokenizer_chat_template(const an_tokenizer *t);

/*
 * Ids of a conversation ready for the assistant's answer, BOS included where the format has it. User text is
 * always encoded as text. ChatML: the template's default system message is added when the model's template has
 * one and messages have none. ERR_UNSUPPORTED for NONE and UNKNOWN.
 */
ANEMO_MUST_CHECK anemo_status an_tokenizer_chat(const an_tokenizer *t, const an_chat_message *messages,
                                                size_t n, an_ids *out, anemo_error *err);

#endif
