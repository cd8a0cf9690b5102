/* SHA-256 through libcrypto. */
#ifndef AN_BASE_SHA256_H
#define AN_BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>

/* The digest of n bytes as 64 lower-case hex digits. False when libcrypto refuses (no memory). */
bool an_sha256_hex(const void *data, size_t n, char out[65]);

#endif
