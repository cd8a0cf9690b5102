/* The directory of an archive alone: entries lie inside the file, apart from each other, and are
 * found by their names. */
#include "fuzz/fuzz.h"

#include "format/torch_internal.h"

static volatile unsigned sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    anemo_error err = {0};
    torch_zip zip;
    uint8_t *copy = fuzz_copy(data, size);
    if (an_torch_zip_open(&zip, copy, size, "fuzz", &err) == ANEMO_OK) {
        uint64_t sum = 0;
        for (size_t i = 0; i < zip.n; i++) {
            const torch_zip_entry *e = &zip.entries[i];
            sink += fuzz_touch(e->data, e->size) + fuzz_touch(e->name, e->name_len);
            sum += e->size;
            if (an_torch_zip_find(&zip, e->name, e->name_len) != e) abort();
        }
        if (sum > size) abort();
        an_torch_zip_close(&zip);
    } else if (!err.message[0]) {
        abort();
    }
    free(copy);
    return 0;
}
