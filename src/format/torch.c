/* A PyTorch checkpoint: what kind of file it is, its pickle, its tensors by name. */
#include "format/torch.h"

#include "base/alloc.h"
#include "format/torch_internal.h"
#include "os/file.h"

#include <stdlib.h>
#include <string.h>

enum { PICKLE_BYTES_MAX = 64 << 20 };

struct an_torch {
    an_file_map map;
    torch_zip zip;
    an_torch_tensor *tensors;
    an_name_entry *index;
    size_t n_tensor;
};

/* The entry that ends in /data.pkl: its folder stands before all other names. */
static const torch_zip_entry *find_pickle(const torch_zip *zip, uint64_t *prefix_len)
{
    static const char tail[] = "/data.pkl";
    for (size_t i = 0; i < zip->n; i++) {
        const torch_zip_entry *e = &zip->entries[i];
        if (e->name_len < sizeof tail - 1) continue;
        uint64_t head = e->name_len - (sizeof tail - 1);
        if (memcmp(e->name + head, tail, sizeof tail - 1) != 0 || memchr(e->name, '/', head))
            continue;
        *prefix_len = head + 1;
        return e;
    }
    return NULL;
}

/* TorchScript and big-endian archives, by the entries that give them away. */
static anemo_status refuse_kinds(const torch_zip *zip, const char *prefix, uint64_t prefix_len,
                                 const char *path, anemo_error *err)
{
    for (size_t i = 0; i < zip->n; i++) {
        const torch_zip_entry *e = &zip->entries[i];
        if (e->name_len <= prefix_len || memcmp(e->name, prefix, prefix_len) != 0) continue;
        const char *name = e->name + prefix_len;
        uint64_t n = e->name_len - prefix_len;
        if ((n == 13 && memcmp(name, "constants.pkl", 13) == 0) ||
            (n > 5 && memcmp(name, "code/", 5) == 0))
            return an_fail(
                err, ANEMO_ERR_UNSUPPORTED,
                "%s: is a TorchScript program, not a checkpoint; save its state_dict with "
                "torch.save",
                path);
        if (n == 9 && memcmp(name, "byteorder", 9) == 0 &&
            !(e->size == 6 && memcmp(e->data, "little", 6) == 0))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: was written on a big-endian machine, which is not read", path);
    }
    return ANEMO_OK;
}

static int cmp_name(const void *pa, const void *pb)
{
    return strcmp(((const an_torch_tensor *)pa)->name, ((const an_torch_tensor *)pb)->name);
}

static anemo_status build_index(an_torch *t, const char *path, anemo_error *err)
{
    if (t->n_tensor > 1) qsort(t->tensors, t->n_tensor, sizeof *t->tensors, cmp_name);
    t->index = an_calloc(t->n_tensor, sizeof *t->index);
    if (!t->index) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < t->n_tensor; i++)
        t->index[i] = (an_name_entry){t->tensors[i].name, strlen(t->tensors[i].name), i};
    const an_name_entry *twice = an_name_index_sort(t->index, t->n_tensor);
    if (twice)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: tensor %.100s occurs twice", path, twice->name);
    return ANEMO_OK;
}

/* The pickle in an archive. */
static anemo_status parse_archive(an_torch *t, const unsigned char *data, uint64_t size,
                                  const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t prefix_len = 0;
    AN_TRY(an_torch_zip_open(&t->zip, data, size, path, err));
    const torch_zip_entry *pickle = find_pickle(&t->zip, &prefix_len);
    if (!pickle)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: the archive holds no data.pkl, so it is not a PyTorch checkpoint",
                       path);
    AN_TRY(refuse_kinds(&t->zip, pickle->name, prefix_len, path, err));
    if (pickle->size > PICKLE_BYTES_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: data.pkl is longer than %d MiB", path,
                       PICKLE_BYTES_MAX >> 20);
    AN_TRY(an_torch_unpickle(pickle->data, pickle->size, &t->zip, pickle->name, prefix_len, path,
                             &t->tensors, &t->n_tensor, err));
cleanup:
    return status;
}

static anemo_status parse(an_torch *t, const unsigned char *data, uint64_t size, const char *path,
                          anemo_error *err)
{
    /* The pickle of the number 0x1950a86a20f9469cfc6c. */
    static const unsigned char stream[AN_TORCH_MAGIC_BYTES] = {
        0x80, 0x02, 0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E};
    anemo_status status = ANEMO_OK;
    if (size >= sizeof stream && memcmp(data, stream, sizeof stream) == 0)
        AN_TRY(an_torch_unpickle_stream(data, size, PICKLE_BYTES_MAX, path, &t->tensors,
                                        &t->n_tensor, err));
    else if (size >= 4 && memcmp(data, "PK\3\4", 4) == 0)
        AN_TRY(parse_archive(t, data, size, path, err));
    else if (size >= 512 && memcmp(data + 257, "ustar", 5) == 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: is a checkpoint in the tar form of the first torch versions, which is "
                       "not read; load and save it "
                       "once with a newer torch",
                       path);
    else
        return an_fail(
            err, ANEMO_ERR_FORMAT,
            "%s: is not a PyTorch checkpoint (neither an archive nor a stream of pickles)", path);
    AN_TRY(build_index(t, path, err));
cleanup:
    return status;
}

anemo_status an_torch_open_bytes(an_torch **out, const void *data, uint64_t size, const char *name,
                                 anemo_error *err)
{
    an_torch *t = an_calloc(1, sizeof *t);
    if (!t) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
    anemo_status status = parse(t, data, size, name, err);
    if (status != ANEMO_OK)
        an_torch_close(t);
    else
        *out = t;
    return status;
}

anemo_status an_torch_open(an_torch **out, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_torch *t = an_calloc(1, sizeof *t);
    if (!t) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
    AN_TRY(an_file_map_open(&t->map, path, err));
    AN_TRY(parse(t, t->map.data, t->map.size, path, err));
    *out = t;
cleanup:
    if (status != ANEMO_OK) an_torch_close(t);
    return status;
}

void an_torch_close(an_torch *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n_tensor; i++)
        an_free((char *)t->tensors[i].name);
    an_free(t->tensors);
    an_free(t->index);
    an_torch_zip_close(&t->zip);
    an_file_unmap(&t->map);
    an_free(t);
}

size_t an_torch_n_tensor(const an_torch *t)
{
    return t->n_tensor;
}

const an_torch_tensor *an_torch_tensor_at(const an_torch *t, size_t i)
{
    return &t->tensors[i];
}

const an_torch_tensor *an_torch_find(const an_torch *t, const char *name)
{
    size_t i = an_name_index_find(t->index, t->n_tensor, name, strlen(name));
    return i == SIZE_MAX ? NULL : &t->tensors[i];
}
