/* The header and the tail of a layout cache file: bytes alone, nothing of models. */
#include "engine/layout_file.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/num.h"
#include "base/sha256.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

enum { VERSION = 1, ALIGN = 4096, FIXED_BYTES = 32 + AN_LAYOUT_DIGEST };

static const char MAGIC[8] = {'a', 'n', 'm', 'p', 'a', 'n', 'l', '\n'};
static const char COMPLETE[AN_LAYOUT_TAIL - AN_LAYOUT_DIGEST] = "anemo panels, complete";

static_assert(sizeof(an_layout_entry) == 48, "an entry lies in the file as it lies in memory");

uint64_t an_layout_header_bytes(size_t n)
{
    uint64_t bytes = FIXED_BYTES + (uint64_t)n * sizeof(an_layout_entry) + AN_LAYOUT_DIGEST;
    return (bytes + ALIGN - 1) & ~(uint64_t)(ALIGN - 1);
}

static anemo_status damaged(const char *name, const char *what, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s", name, what);
}

/* The fixed part, from a copy of the header that nobody else can change. */
static anemo_status read_fixed(an_layout_header *h, an_reader *r, uint64_t size, uint32_t *n, const char *name,
                               anemo_error *err)
{
    char magic[sizeof MAGIC];
    uint32_t version;
    if (!an_read_copy(r, magic, sizeof magic) || memcmp(magic, MAGIC, sizeof magic) != 0)
        return damaged(name, "is not a file of the layout cache", err);
    if (!an_read_u32(r, &version) || version != VERSION)
        return damaged(name, "is of another version of the layout cache", err);
    if (!an_read_u32(r, n) || !an_read_u64(r, &h->header_bytes) || !an_read_u64(r, &h->file_bytes) ||
        !an_read_copy(r, h->source, AN_LAYOUT_DIGEST))
        return damaged(name, "its header is cut short", err);
    h->source[AN_LAYOUT_DIGEST] = '\0';
    if (*n < 1 || *n > AN_LAYOUT_MATRICES_MAX || h->header_bytes != an_layout_header_bytes(*n))
        return damaged(name, "its header is damaged", err);
    if (h->file_bytes != size)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: has %" PRIu64 " bytes, its header says %" PRIu64, name, size,
                       h->file_bytes);
    return ANEMO_OK;
}

/* Matrices lie one behind the other between header and tail. */
static anemo_status check_entries(const an_layout_header *h, const char *name, anemo_error *err)
{
    uint64_t at = h->header_bytes, end;
    for (size_t i = 0; i < h->n; i++) {
        const an_layout_entry *e = &h->entries[i];
        if (e->reserved != 0 || e->offset % ALIGN != 0 || e->offset < at || !an_add_u64(e->offset, e->bytes, &end) ||
            end > h->file_bytes - AN_LAYOUT_TAIL || e->bytes == 0)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: matrix %zu does not lie inside the file", name, i);
        at = end;
    }
    return ANEMO_OK;
}

anemo_status an_layout_header_read(an_layout_header *h, const void *data, uint64_t size, const char *name,
                                   anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    unsigned char fixed[FIXED_BYTES], *copy = NULL;
    char digest[AN_LAYOUT_DIGEST + 1];
    uint32_t n = 0;
    *h = (an_layout_header){0};
    if (size < FIXED_BYTES + AN_LAYOUT_DIGEST + AN_LAYOUT_TAIL) return damaged(name, "is cut short", err);
    memcpy(fixed, data, sizeof fixed);
    an_reader r = {.data = fixed, .size = sizeof fixed};
    AN_TRY(read_fixed(h, &r, size, &n, name, err));
    if (h->header_bytes > size - AN_LAYOUT_TAIL) {
        status = damaged(name, "is cut short", err);
        goto cleanup;
    }
    copy = an_malloc((size_t)h->header_bytes);
    h->entries = an_calloc(n, sizeof *h->entries);
    if (!copy || !h->entries) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    memcpy(copy, data, (size_t)h->header_bytes);
    const unsigned char *written = copy + h->header_bytes - AN_LAYOUT_DIGEST;
    const unsigned char *tail = (const unsigned char *)data + size - AN_LAYOUT_TAIL;
    if (!an_sha256_hex(copy, (size_t)h->header_bytes - AN_LAYOUT_DIGEST, digest)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    if (memcmp(copy, fixed, sizeof fixed) != 0 || memcmp(written, digest, AN_LAYOUT_DIGEST) != 0) {
        status = damaged(name, "its header is damaged", err);
        goto cleanup;
    }
    if (memcmp(tail, COMPLETE, sizeof COMPLETE) != 0 || memcmp(tail + sizeof COMPLETE, digest, AN_LAYOUT_DIGEST) != 0) {
        status = damaged(name, "its end is not the one that was written", err);
        goto cleanup;
    }
    h->n = n;
    memcpy(h->entries, copy + FIXED_BYTES, n * sizeof *h->entries);
    AN_TRY(check_entries(h, name, err));
cleanup:
    an_free(copy);
    if (status != ANEMO_OK) an_layout_header_free(h);
    return status;
}

void an_layout_header_free(an_layout_header *h)
{
    an_free(h->entries);
    *h = (an_layout_header){0};
}

anemo_status an_layout_header_build(const an_layout_header *h, unsigned char **header, unsigned char tail[AN_LAYOUT_TAIL],
                                    anemo_error *err)
{
    char digest[AN_LAYOUT_DIGEST + 1];
    unsigned char *out = an_calloc(1, (size_t)h->header_bytes);
    uint32_t version = VERSION, n = (uint32_t)h->n;
    if (!out) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    memcpy(out, MAGIC, 8);
    memcpy(out + 8, &version, 4);
    memcpy(out + 12, &n, 4);
    memcpy(out + 16, &h->header_bytes, 8);
    memcpy(out + 24, &h->file_bytes, 8);
    memcpy(out + 32, h->source, AN_LAYOUT_DIGEST);
    memcpy(out + FIXED_BYTES, h->entries, h->n * sizeof *h->entries);
    size_t signed_bytes = (size_t)h->header_bytes - AN_LAYOUT_DIGEST;
    if (!an_sha256_hex(out, signed_bytes, digest)) {
        an_free(out);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    memcpy(out + signed_bytes, digest, AN_LAYOUT_DIGEST);
    memcpy(tail, COMPLETE, sizeof COMPLETE);
    memcpy(tail + sizeof COMPLETE, digest, AN_LAYOUT_DIGEST);
    *header = out;
    return ANEMO_OK;
}
