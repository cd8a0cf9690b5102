/* Ids to text: the bytes of each piece, and SentencePiece's spaces undone. */
#include "token/internal.h"

#include <string.h>

#define BLOCK "\xe2\x96\x81"

/* A SentencePiece spelling with its U+2581 as spaces. */
static void append_spaces(an_str *out, const char *text, size_t n)
{
    size_t at = 0;
    while (at < n) {
        const char *block = memmem(text + at, n - at, BLOCK, 3);
        size_t stop = block ? (size_t)(block - text) : n;
        an_str_append_bytes(out, text + at, stop - at);
        if (block) an_str_append_char(out, ' ');
        at = block ? stop + 3 : n;
    }
}

void an_tokenizer_piece(const an_tokenizer *t, int32_t id, bool special, an_str *out)
{
    if (id < 0 || id >= t->n_vocab) return;
    if (!special && an_tokenizer_is_control(t, id)) return;
    size_t n;
    const char *text = an_blob_at(t->byte_level ? &t->bytes : &t->spelling, (size_t)id, &n);
    if (t->byte_level || an_tokenizer_is_control(t, id)) {
        an_str_append_bytes(out, text, n);
    } else if (t->type[id] == AN_PIECE_BYTE) {
        static const char digits[] = "0123456789abcdef";
        int high = (int)(strchr(digits, text[3] | 0x20) - digits);
        int low = (int)(strchr(digits, text[4] | 0x20) - digits);
        an_str_append_char(out, (char)(high * 16 + low));
    } else {
        append_spaces(out, text, n);
    }
}

void an_tokenizer_decode(const an_tokenizer *t, const int32_t *ids, size_t n, bool special,
                         bool continuation, an_str *out)
{
    /* The one space that encoding put in front is due at the start, and after each piece that restarts text. */
    bool due = !t->byte_level && t->prefix != AN_PREFIX_NONE && !continuation;
    for (size_t i = 0; i < n; i++) {
        int32_t id = ids[i];
        size_t at = out->len;
        an_tokenizer_piece(t, id, special, out);
        if (t->byte_level || id < 0 || id >= t->n_vocab) continue;
        bool control = an_tokenizer_is_control(t, id), user = t->type[id] == AN_PIECE_USER;
        if (control || (user && t->prefix == AN_PREFIX_SEGMENT)) {
            if (t->prefix == AN_PREFIX_SEGMENT || (control && t->prefix == AN_PREFIX_TEXT)) due = true;
            continue;
        }
        if (due && out->len > at) {
            if (out->data[at] == ' ' && t->type[id] != AN_PIECE_BYTE) {
                memmove(out->data + at, out->data + at + 1, out->len - at - 1);
                out->data[--out->len] = '\0';
            }
            due = false;
        }
    }
}
