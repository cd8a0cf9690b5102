#include "base/sha256.h"

#include <openssl/evp.h>
#include <stdio.h>

bool an_sha256_hex(const void *data, size_t n, char out[65])
{
    unsigned char value[32];
    unsigned int len = 0;
    if (EVP_Digest(data, n, value, &len, EVP_sha256(), NULL) != 1 || len != sizeof value) return false;
    for (size_t i = 0; i < sizeof value; i++) snprintf(out + 2 * i, 3, "%02x", value[i]);
    return true;
}
