/*
 * The header of a layout cache file. The first byte chooses: the bytes as they are, or with their digests made right, so that
 * what lies behind them is reached.
 */
#include "fuzz/fuzz.h"

#include "base/sha256.h"
#include "engine/layout_file.h"

static volatile unsigned sink;

static void use(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    an_layout_header h;
    if (an_layout_header_read(&h, data, size, "fuzz", &err) != ANEMO_OK) {
        if (!err.message[0]) abort(); /* a refusal without a reason */
        return;
    }
    if (h.file_bytes != size || h.n < 1) abort();
    for (size_t i = 0; i < h.n; i++) sink += fuzz_touch(data + h.entries[i].offset, h.entries[i].bytes);
    an_layout_header_free(&h);
}

/* Header bytes as the file says them, and both digests over them. */
static void sign(uint8_t *file, size_t size)
{
    uint64_t header_bytes;
    char digest[65];
    if (size < 4096 + AN_LAYOUT_TAIL) return;
    memcpy(&header_bytes, file + 16, 8);
    if (header_bytes < AN_LAYOUT_DIGEST || header_bytes > size - AN_LAYOUT_TAIL) return;
    if (!an_sha256_hex(file, (size_t)header_bytes - AN_LAYOUT_DIGEST, digest)) return;
    memcpy(file + header_bytes - AN_LAYOUT_DIGEST, digest, AN_LAYOUT_DIGEST);
    memcpy(file + size - AN_LAYOUT_DIGEST, digest, AN_LAYOUT_DIGEST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    uint8_t *copy = fuzz_copy(data + 1, size - 1);
    if (data[0] % 2) sign(copy, size - 1);
    use(copy, size - 1);
    free(copy);
    return 0;
}
