/*
 * The directory of a ZIP archive as torch writes it. Only the central directory counts; local headers tell no more than
 * where the data begin. Entries must be stored, so that no archive unfolds into more than its own bytes.
 */
#include "format/torch_internal.h"

#include "base/alloc.h"
#include "base/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    NAME_SHOWN = 100,
};

typedef struct directory {
    uint64_t offset, bytes, n, end; /* end: where the end records begin */
} directory;

static anemo_status damaged(anemo_error *err, const char *path, const char *what)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: damaged or incomplete archive: %s; fetch it again",
                   path, what);
}

static anemo_status find_directory(const unsigned char *data, uint64_t size, const char *path,
                                   directory *d, anemo_error *err)
{
    if (size < END_BYTES) return damaged(err, path, "shorter than an archive's end record");
    uint64_t at = size - END_BYTES, last = size > 65535 + END_BYTES ? size - 65535 - END_BYTES : 0;
    while (an_load_u32(data + at) != 0x06054B50 || an_load_u16(data + at + 20) != size - at - END_BYTES) {
        if (at == last) return damaged(err, path, "no end record");
        at--;
    }
    *d = (directory){.n = an_load_u16(data + at + 10),
                     .bytes = an_load_u32(data + at + 12),
                     .offset = an_load_u32(data + at + 16),
                     .end = at};
    bool parts = an_load_u16(data + at + 4) != 0 || an_load_u16(data + at + 6) != 0;
    if (at >= LOCATOR_BYTES && an_load_u32(data + at - LOCATOR_BYTES) == 0x07064B50) {
        uint64_t at64 = an_load_u64(data + at - LOCATOR_BYTES + 8);
        if (at - LOCATOR_BYTES < END64_BYTES || at64 > at - LOCATOR_BYTES - END64_BYTES ||
            an_load_u32(data + at64) != 0x06064B50)
            return damaged(err, path, "no ZIP64 end record where its locator points");
        *d = (directory){.n = an_load_u64(data + at64 + 32),
                         .bytes = an_load_u64(data + at64 + 40),
                         .offset = an_load_u64(data + at64 + 48),
                         .end = at64};
        parts = an_load_u32(data + at64 + 16) != 0 || an_load_u32(data + at64 + 20) != 0;
    }
    if (parts)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: an archive in several parts is not read", path);
    if (d->bytes > d->end || d->offset > d->end - d->bytes)
        return damaged(err, path, "the directory lies outside the file");
    if (d->n == 0 || d->n > d->bytes / CENTRAL_BYTES)
        return damaged(err, path, "the number of entries does not fit the directory");
    return ANEMO_OK;
}

/* Sizes and offset that stand in the ZIP64 extra field when the 32-bit ones are full. */
static bool read_extra64(const unsigned char *extra, uint64_t n, uint64_t *stored, uint64_t *packed,
                         uint64_t *offset)
{
    uint64_t *const want[] = {stored, packed, offset};
    bool needed = false;
    for (int i = 0; i < 3; i++) needed = needed || *want[i] == 0xFFFFFFFF;
    an_reader r = {extra, n, 0};
    uint16_t id, len;
    while (needed && an_read_u16(&r, &id) && an_read_u16(&r, &len)) {
        const unsigned char *body = an_read_view(&r, len);
        if (!body) return false;
        if (id != 1) continue;
        an_reader f = {body, len, 0};
        for (int i = 0; i < 3; i++)
            if (*want[i] == 0xFFFFFFFF && !an_read_u64(&f, want[i])) return false;
        return true;
    }
    return !needed;
}

static bool name_is_safe(const char *name, uint64_t n)
{
    if (n == 0 || n > 4096 || name[0] == '/' || memchr(name, '\\', n) || memchr(name, '\0', n) ||
        memchr(name, ':', n))
        return false;
    for (uint64_t begin = 0, i = 0; i <= n; i++) {
        if (i < n && name[i] != '/') continue;
        if (i - begin == 2 && name[begin] == '.' && name[begin + 1] == '.') return false;
        begin = i + 1;
    }
    return true;
}

/* One entry of the directory; *c is advanced past it. */
static anemo_status read_entry(const unsigned char *data, const directory *d, an_reader *c,
                               const char *path, torch_zip_entry *e, anemo_error *err)
{
    const unsigned char *h = an_read_view(c, CENTRAL_BYTES);
    if (!h || an_load_u32(h) != 0x02014B50) return damaged(err, path, "a directory entry is cut off");
    uint16_t flags = an_load_u16(h + 8), method = an_load_u16(h + 10);
    uint64_t packed = an_load_u32(h + 20), stored = an_load_u32(h + 24), offset = an_load_u32(h + 42);
    uint16_t name_len = an_load_u16(h + 28), extra_len = an_load_u16(h + 30);
    const char *name = an_read_view(c, name_len);
    const unsigned char *extra = name ? an_read_view(c, extra_len) : NULL;
    if (!extra || !an_read_view(c, an_load_u16(h + 32)))
        return damaged(err, path, "a directory entry is cut off");
    int shown = name_len < NAME_SHOWN ? name_len : NAME_SHOWN;
    if (!name_is_safe(name, name_len))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: the name of an archive entry, '%.*s', leads out of the archive or is no "
                       "plain name",
                       path, shown, name);
    if (flags & 1)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: entry %.*s is encrypted", path, shown, name);
    if (method != 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: entry %.*s is compressed (method %d); torch stores entries as they are, so "
                       "save the checkpoint again with torch.save",
                       path, shown, name, method);
    if (!read_extra64(extra, extra_len, &stored, &packed, &offset))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s lacks its 64-bit sizes", path, shown, name);
    if (stored != packed)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s has two sizes, %" PRIu64 " and %" PRIu64,
                       path, shown, name, packed, stored);
    if (d->offset < LOCAL_BYTES || offset > d->offset - LOCAL_BYTES ||
        an_load_u32(data + offset) != 0x04034B50)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s points to no entry, at byte %" PRIu64,
                       path, shown, name, offset);
    uint64_t local_name = an_load_u16(data + offset + 26);
    uint64_t begin = offset + LOCAL_BYTES + local_name + an_load_u16(data + offset + 28);
    if (begin > d->offset || stored > d->offset - begin)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: entry %.*s: its %" PRIu64 " bytes do not lie in the file; the download may "
                       "be incomplete",
                       path, shown, name, stored);
    if (local_name != name_len || memcmp(data + offset + LOCAL_BYTES, name, name_len) != 0)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s has another name before its data", path,
                       shown, name);
    *e = (torch_zip_entry){name, name_len, data + begin, stored};
    return ANEMO_OK;
}

static int cmp_data(const void *pa, const void *pb)
{
    const torch_zip_entry *a = pa, *b = pb;
    if (a->data != b->data) return a->data < b->data ? -1 : 1;
    return (a->size > b->size) - (a->size < b->size);
}

static anemo_status check_entries(torch_zip *zip, const char *path, anemo_error *err)
{
    qsort(zip->entries, zip->n, sizeof *zip->entries, cmp_data);
    for (size_t i = 0; i < zip->n; i++) {
        const torch_zip_entry *e = &zip->entries[i];
        zip->index[i] = (an_name_entry){e->name, e->name_len, i};
        if (i > 0 && e[-1].data + e[-1].size > e->data)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s overlaps another", path,
                           e->name_len < NAME_SHOWN ? (int)e->name_len : NAME_SHOWN, e->name);
    }
    const an_name_entry *twice = an_name_index_sort(zip->index, zip->n);
    if (twice)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: entry %.*s occurs twice", path,
                       twice->len < NAME_SHOWN ? (int)twice->len : NAME_SHOWN, twice->name);
    return ANEMO_OK;
}

anemo_status an_torch_zip_open(torch_zip *zip, const unsigned char *data, uint64_t size,
                               const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    directory d = {0};
    *zip = (torch_zip){0};
    AN_TRY(find_directory(data, size, path, &d, err));
    zip->entries = an_calloc((size_t)d.n, sizeof *zip->entries);
    zip->index = an_calloc((size_t)d.n, sizeof *zip->index);
    if (!zip->entries || !zip->index) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
        goto cleanup;
    }
    an_reader c = {data + d.offset, d.bytes, 0};
    for (; zip->n < d.n; zip->n++)
        AN_TRY(read_entry(data, &d, &c, path, &zip->entries[zip->n], err));
    AN_TRY(check_entries(zip, path, err));
cleanup:
    if (status != ANEMO_OK) an_torch_zip_close(zip);
    return status;
}

void an_torch_zip_close(torch_zip *zip)
{
    an_free(zip->entries);
    an_free(zip->index);
    *zip = (torch_zip){0};
}

const torch_zip_entry *an_torch_zip_find(const torch_zip *zip, const char *name, uint64_t len)
{
    size_t i = an_name_index_find(zip->index, zip->n, name, len);
    return i == SIZE_MAX ? NULL : &zip->entries[i];
}
