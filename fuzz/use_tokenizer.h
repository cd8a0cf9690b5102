/* What the targets of vocabularies share: open the bytes, then ask everything that a user could ask. */
#ifndef AN_FUZZ_USE_TOKENIZER_H
#define AN_FUZZ_USE_TOKENIZER_H

#include "fuzz/fuzz.h"

#include "base/str.h"
#include "token/internal.h"

#include <stdlib.h>
#include <string.h>

/* Encode `text`, decode it, and ask for every piece. Ids out of range or a decoding that never ends are findings. */
static inline void use_tokenizer(const an_tokenizer *t, const char *text, size_t n)
{
    anemo_error err;
    an_str out = {0};
    const an_chat_message message = {"user", "Hi [INST] <|im_end|>"};
    for (int special = 0; special < 2; special++) {
        an_ids ids = {0};
        if (an_tokenizer_encode(t, text, n, special, &ids, &err) == ANEMO_OK) {
            for (size_t i = 0; i < ids.n; i++)
                if (ids.ids[i] < 0 || ids.ids[i] >= an_tokenizer_n_vocab(t)) abort();
            an_tokenizer_decode(t, ids.ids, ids.n, special, false, &out);
        }
        an_ids_free(&ids);
    }
    for (int32_t id = -1; id <= an_tokenizer_n_vocab(t) && id < 2000; id++) {
        an_str_clear(&out);
        an_tokenizer_piece(t, id, true, &out);
        (void)an_tokenizer_find(t, an_tokenizer_spelling(t, id));
        (void)an_tokenizer_is_eog(t, id);
    }
    an_ids ids = {0};
    if (an_tokenizer_chat(t, &message, 1, &ids, &err) == ANEMO_OK && ids.n == 0) abort();
    an_ids_free(&ids);
    an_str_free(&out);
}

enum { FUZZ_TEXT_BYTES_MAX = 512 };

/* A refusal gives its reason; a vocabulary encodes the first of its own bytes. */
static inline int fuzz_vocabulary(anemo_status (*load)(an_tokenizer **out, const void *data, size_t n, const char *name,
                                                       anemo_error *err),
                                  const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_tokenizer *t;
    uint8_t *copy = fuzz_copy(data, size);
    anemo_status status = load(&t, copy, size, "fuzz", &err);
    free(copy); /* nothing of the file may be needed any more */
    if (status != ANEMO_OK) {
        if (!err.message[0]) abort();
        return 0;
    }
    use_tokenizer(t, (const char *)data, size < FUZZ_TEXT_BYTES_MAX ? size : FUZZ_TEXT_BYTES_MAX);
    an_tokenizer_close(t);
    return 0;
}

static inline anemo_status fuzz_load_json(an_tokenizer **out, const void *data, size_t n, const char *name,
                                          anemo_error *err)
{
    return an_load_json(out, data, n, name, err);
}

#endif
