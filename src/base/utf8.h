/* UTF-8 by RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef AN_BASE_UTF8_H
#define AN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decode one code point at text (n > 0 bytes left). Returns its length 1..4, or 0 when the bytes are not UTF-8. */
int an_utf8_decode(const char *text, size_t n, uint32_t *cp);

/* Write cp (a valid scalar value) to out[4]; returns the length. */
int an_utf8_encode(uint32_t cp, char out[4]);

/* Offset of the first byte that is not part of valid UTF-8, or n when all is valid. */
size_t an_utf8_valid_prefix(const char *text, size_t n);

/* Copy a NUL-terminated text into out[cap], cut between two characters where it is too long. */
void an_utf8_copy(char *out, size_t cap, const char *text);

/* Number of trailing bytes (0..3) that begin a sequence which more bytes could still complete. */
size_t an_utf8_incomplete_tail(const char *text, size_t n);

#endif
