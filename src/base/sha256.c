#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

enum { DIGEST_BYTES = 32 };

static void to_hex(const unsigned char value[DIGEST_BYTES], char out[65])
{
    for (size_t i = 0; i < DIGEST_BYTES; i++) snprintf(out + 2 * i, 3, "%02x", value[i]);
}

bool an_sha256_hex(const void *data, size_t n, char out[65])
{
    unsigned char value[DIGEST_BYTES];
    unsigned int len = 0;
    if (EVP_Digest(data, n, value, &len, EVP_sha256(), NULL) != 1 || len != sizeof value) return false;
    to_hex(value, out);
    return true;
}

/* libcrypto's context under our name: it is never looked into. */
static EVP_MD_CTX *context(an_sha256 *s)
{
    return (EVP_MD_CTX *)s;
}

an_sha256 *an_sha256_open(void)
{
    EVP_MD_CTX *c = EVP_MD_CTX_new();
    if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(c);
        c = NULL;
    }
    return (an_sha256 *)c;
}

bool an_sha256_add(an_sha256 *s, const void *data, size_t n)
{
    return EVP_DigestUpdate(context(s), data, n) == 1;
}

bool an_sha256_end(an_sha256 *s, char out[65])
{
    unsigned char value[DIGEST_BYTES];
    unsigned int len = 0;
    bool ok = EVP_DigestFinal_ex(context(s), value, &len) == 1 && len == sizeof value;
    if (ok) to_hex(value, out);
    EVP_MD_CTX_free(context(s));
    return ok;
}

void an_sha256_close(an_sha256 *s)
{
    EVP_MD_CTX_free(context(s));
}
