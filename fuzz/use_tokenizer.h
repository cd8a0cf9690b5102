/* What the tokenizer targets do with a vocabulary that opened: everything that a user could ask of it. */
#ifndef AN_FUZZ_USE_TOKENIZER_H
#define AN_FUZZ_USE_TOKENIZER_H

#include "base/str.h"
#include "token/tokenizer.h"

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

#endif
