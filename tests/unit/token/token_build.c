/* See token_build.h. */
#include "token_build.h"

#include <stdio.h>
#include <string.h>

void spm_varint(an_str *out, unsigned long long v)
{
    for (; v >= 128; v >>= 7) an_str_append_char(out, (char)(v | 128));
    an_str_append_char(out, (char)v);
}

void spm_field(an_str *out, unsigned number, const void *data, size_t n)
{
    spm_varint(out, number << 3 | 2);
    spm_varint(out, n);
    an_str_append_bytes(out, data, n);
}

void spm_piece(an_str *out, const char *text, float score, int type)
{
    an_str piece = {0};
    spm_field(&piece, 1, text, strlen(text));
    spm_varint(&piece, 2 << 3 | 5);
    an_str_append_bytes(&piece, &score, sizeof score);
    spm_varint(&piece, 3 << 3 | 0);
    spm_varint(&piece, (unsigned)type);
    spm_field(out, 1, piece.data, piece.len);
    an_str_free(&piece);
}

void spm_specs(an_str *out)
{
    static const unsigned char trainer[] = {3 << 3, 2, 0xC0, 2, 0, 0xC8, 2, 1, 0xD0, 2, 2};
    static const unsigned char normalizer[] = {1 << 3 | 2, 8, 'i', 'd', 'e', 'n', 't', 'i', 't', 'y',
                                               3 << 3, 1, 4 << 3, 0, 5 << 3, 1};
    spm_field(out, 2, trainer, sizeof trainer);
    spm_field(out, 3, normalizer, sizeof normalizer);
}

void spm_small(an_str *out, const char *const *pieces, size_t n)
{
    spm_piece(out, "<unk>", 0, 2);
    spm_piece(out, "<s>", 0, 3);
    spm_piece(out, "</s>", 0, 3);
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)byte);
        spm_piece(out, text, 0, 6);
    }
    for (size_t i = 0; i < n; i++) spm_piece(out, pieces[i], -1.0f - (float)i, 1);
    spm_specs(out);
}

static void base64(an_str *out, const unsigned char *data, size_t n)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        unsigned group = (unsigned)data[i] << 16 | (i + 1 < n ? (unsigned)data[i + 1] << 8 : 0) |
                         (i + 2 < n ? data[i + 2] : 0);
        an_str_append_char(out, letters[group >> 18]);
        an_str_append_char(out, letters[group >> 12 & 63]);
        an_str_append_char(out, i + 1 < n ? letters[group >> 6 & 63] : '=');
        an_str_append_char(out, i + 2 < n ? letters[group & 63] : '=');
    }
}

void tekken_small(an_str *out, const char *const *pieces, size_t n, const char *config)
{
    an_str_appendf(out,
                   "{\"config\": {\"default_vocab_size\": %zu, \"default_num_special_tokens\": 20, \"pattern\": \"", n + 276);
    an_str_append(out, "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*"
                       "[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?"
                       "[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*|"
                       "\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|"
                       "\\\\s+(?!\\\\S)|\\\\s+");
    an_str_appendf(out, "\"%s%s}, \"vocab\": [", *config ? ", " : "", config);
    for (size_t i = 0; i < n + 256; i++) {
        unsigned char byte = (unsigned char)i;
        an_str_appendf(out, "%s{\"rank\": %zu, \"token_bytes\": \"", i ? ", " : "", i);
        if (i < 256)
            base64(out, &byte, 1);
        else
            base64(out, (const unsigned char *)pieces[i - 256], strlen(pieces[i - 256]));
        an_str_append(out, "\", \"token_str\": null}");
    }
    an_str_append(out, "]}");
}
