/* Checksums through libcrypto. */
#include "hub/digest.h"

#include "base/alloc.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

struct an_digest {
    EVP_MD_CTX *ctx;
};

anemo_status an_digest_open(an_digest **out, const char *etag, uint64_t bytes, anemo_error *err)
{
    size_t n = strlen(etag);
    char header[40];
    *out = NULL;
    if ((n != 64 && n != 40) || strspn(etag, "0123456789abcdef") != n) return ANEMO_OK;
    an_digest *d = an_calloc(1, sizeof *d);
    if (d) d->ctx = EVP_MD_CTX_new();
    if (!d || !d->ctx || EVP_DigestInit_ex(d->ctx, n == 64 ? EVP_sha256() : EVP_sha1(), NULL) != 1) {
        an_digest_close(d);
        return an_fail(err, ANEMO_ERR_NOMEM, "libcrypto: no memory for a checksum");
    }
    /* git hashes a header with its NUL before the content. */
    int len = snprintf(header, sizeof header, "blob %" PRIu64, bytes);
    anemo_status status = n == 40 ? an_digest_add(d, header, (size_t)len + 1, err) : ANEMO_OK;
    if (status != ANEMO_OK)
        an_digest_close(d);
    else
        *out = d;
    return status;
}

anemo_status an_digest_add(an_digest *d, const void *data, size_t n, anemo_error *err)
{
    if (EVP_DigestUpdate(d->ctx, data, n) == 1) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INTERNAL, "libcrypto: a checksum failed");
}

anemo_status an_digest_end(an_digest *d, char hex[65], anemo_error *err)
{
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_DigestFinal_ex(d->ctx, value, &n) != 1 || n > 32)
        return an_fail(err, ANEMO_ERR_INTERNAL, "libcrypto: a checksum failed");
    for (unsigned i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", value[i]);
    return ANEMO_OK;
}

void an_digest_close(an_digest *d)
{
    if (!d) return;
    EVP_MD_CTX_free(d->ctx);
    an_free(d);
}
