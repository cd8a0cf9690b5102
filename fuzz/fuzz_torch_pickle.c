/*
 * A pickle alone, beside an archive that has one storage of 64 bytes under each key from 0 to 3:
 * what comes out of it are views into these. The input is also tried as what follows the magic
 * number of the stream form.
 */
#include "fuzz/fuzz.h"

#include "format/torch_internal.h"

#include "base/alloc.h"

static volatile unsigned sink;

static void use(an_torch_tensor *all, size_t n, uint64_t limit)
{
    for (size_t i = 0; i < n; i++) {
        int64_t last = 0;
        uint64_t elem = (uint64_t)an_dtype_get(all[i].dtype)->block_bytes;
        for (int d = 0; d < all[i].n_dim; d++)
            last += (all[i].shape[d] - 1) * all[i].stride[d];
        if (all[i].bytes > limit) abort();
        if (all[i].bytes)
            sink += fuzz_touch(all[i].data, elem) +
                    fuzz_touch((const uint8_t *)all[i].data + (uint64_t)last * elem, elem);
        an_free((char *)all[i].name);
    }
    an_free(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char storage[64];
    static const char *const names[] = {"a/data/0", "a/data/1", "a/data/2", "a/data/3"};
    torch_zip_entry entries[4];
    an_name_entry index[4];
    for (size_t i = 0; i < 4; i++) {
        entries[i] = (torch_zip_entry){names[i], strlen(names[i]), storage, sizeof storage};
        index[i] = (an_name_entry){names[i], strlen(names[i]), i};
    }
    const torch_zip zip = {entries, index, 4};
    anemo_error err = {0};
    an_torch_tensor *all;
    size_t n;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_torch_unpickle(copy, size, &zip, "a/", 2, "fuzz", &all, &n, &err) == ANEMO_OK)
        use(all, n, sizeof storage);
    else if (!err.message[0])
        abort();
    free(copy);

    copy = malloc(AN_TORCH_MAGIC_BYTES + size);
    if (!copy) abort();
    memset(copy, 0, AN_TORCH_MAGIC_BYTES);
    if (size) memcpy(copy + AN_TORCH_MAGIC_BYTES, data, size);
    err.message[0] = '\0';
    if (an_torch_unpickle_stream(copy, AN_TORCH_MAGIC_BYTES + size, UINT64_MAX, "fuzz", &all, &n,
                                 &err) == ANEMO_OK)
        use(all, n, size);
    else if (!err.message[0])
        abort();
    free(copy);
    return 0;
}
