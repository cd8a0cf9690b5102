/* SHA-256 through libcrypto. */
#ifndef AN_BASE_SHA256_H
#define AN_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>

/* The digest of n bytes as 64 lower-case hex digits. False when libcrypto refuses (no memory). */
bool an_sha256_hex(const void *data, size_t n, char out[65]);

/* The same in pieces. NULL when out of memory. */
typedef struct an_sha256 an_sha256;
an_sha256 *an_sha256_open(void);
bool an_sha256_add(an_sha256 *s, const void *data, size_t n);
/* The digits of all that was added, and the end of s. */
bool an_sha256_end(an_sha256 *s, char out[65]);
void an_sha256_close(an_sha256 *s); /* without a result; NULL is fine */

#endif
