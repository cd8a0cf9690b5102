/* The checksum that an ETag of the hub is: sha256 of the content, or sha1 of a git blob of it. */
#ifndef AN_HUB_DIGEST_H
#define AN_HUB_DIGEST_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_digest an_digest;

/* *out is NULL when `etag` is neither 64 nor 40 hex digits: there is nothing to check. an_digest_close. */
ANEMO_MUST_CHECK anemo_status an_digest_open(an_digest **out, const char *etag, uint64_t bytes, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_digest_add(an_digest *d, const void *data, size_t n, anemo_error *err);
/* After all bytes: the digits that they have. */
ANEMO_MUST_CHECK anemo_status an_digest_end(an_digest *d, char hex[65], anemo_error *err);
void an_digest_close(an_digest *d);

#endif
