/*
 * Encodes many texts with one tokenizer, for the comparison with other libraries.
 * Reads records "KIND LENGTH\n" + LENGTH bytes from stdin: T text, whose ids must decode to the same bytes; L text
 * that the vocabulary cannot give back; S text with special tokens parsed; C a conversation (role NUL content NUL …); E nothing: the ids that end a generation.
 * Writes one line of ids for each, or "! message".
 */
#include "base/str.h"
#include "token/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int encode_record(const an_tokenizer *t, char kind, const char *text, size_t n)
{
    anemo_error err;
    an_ids ids = {0};
    int failed = 0;
    anemo_status status;
    if (kind == 'E') {
        status = ANEMO_OK;
        for (int32_t id = 0; id < an_tokenizer_n_vocab(t) && status == ANEMO_OK; id++)
            if (an_tokenizer_is_eog(t, id)) status = an_ids_push(&ids, id, &err);
    } else if (kind == 'C') {
        an_chat_message messages[64];
        size_t n_message = 0;
        for (size_t at = 0; at < n && n_message < 64; n_message++) {
            messages[n_message].role = text + at;
            at += strlen(text + at) + 1;
            messages[n_message].content = text + at;
            at += strlen(text + at) + 1;
        }
        status = an_tokenizer_chat(t, messages, n_message, &ids, &err);
    } else {
        status = an_tokenizer_encode(t, text, n, kind == 'S', &ids, &err);
    }
    if (status != ANEMO_OK) {
        printf("! %s\n", err.message);
        return 0;
    }
    for (size_t i = 0; i < ids.n; i++) printf("%s%d", i ? " " : "", ids.ids[i]);
    putchar('\n');
    if (kind == 'T') {
        an_str back = {0};
        an_tokenizer_decode(t, ids.ids, ids.n, false, false, &back);
        if (back.len != n || (n && memcmp(back.data, text, n) != 0)) {
            fprintf(stderr, "decoding gives other bytes: '%.*s' -> '%s'\n", (int)n, text, an_str_text(&back));
            failed = 1;
        }
        an_str_free(&back);
    }
    an_ids_free(&ids);
    return failed;
}

int main(int argc, char **argv)
{
    anemo_error err;
    an_tokenizer *t;
    char kind;
    size_t n;
    int failed = 0;
    if (argc < 2) return 2;
    if (an_tokenizer_open(&t, argv[1], &err) != ANEMO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    while (scanf(" %c %zu", &kind, &n) == 2 && getchar() == '\n') {
        char *text = malloc(n + 1);
        if (!text || fread(text, 1, n, stdin) != n) return 2;
        text[n] = '\0';
        failed |= encode_record(t, kind, text, n);
        free(text);
    }
    an_tokenizer_close(t);
    return failed;
}
