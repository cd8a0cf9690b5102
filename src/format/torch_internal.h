/* The parts of the PyTorch reader: the archive and the pickle in it. */
#ifndef AN_FORMAT_TORCH_INTERNAL_H
#define AN_FORMAT_TORCH_INTERNAL_H

#include "format/name_index.h"
#include "format/torch.h"

typedef struct torch_zip_entry {
    const char *name; /* name_len bytes */
    uint64_t name_len;
    const unsigned char *data;
    uint64_t size;
} torch_zip_entry;

typedef struct torch_zip {
    torch_zip_entry *entries;
    an_name_entry *index;
    size_t n;
} torch_zip;

/* The central directory of an archive with stored entries only; views into `data`. Gives:
 * an_torch_zip_close. */
ANEMO_MUST_CHECK anemo_status an_torch_zip_open(torch_zip *zip, const unsigned char *data,
                                                uint64_t size, const char *path, anemo_error *err);
void an_torch_zip_close(torch_zip *zip);
/* NULL when there is none of that name. */
const torch_zip_entry *an_torch_zip_find(const torch_zip *zip, const char *name, uint64_t len);

/*
 * Run the pickle of n bytes; `prefix` of prefix_len bytes ("archive/") stands before the names of
 * storages. Gives the named tensors of its top value, unsorted: each name and the array are
 * an_free'd by the caller.
 */
ANEMO_MUST_CHECK anemo_status an_torch_unpickle(const unsigned char *data, uint64_t n,
                                                const torch_zip *zip, const char *prefix,
                                                uint64_t prefix_len, const char *path,
                                                an_torch_tensor **out, size_t *n_out,
                                                anemo_error *err);

/*
 * The same of the stream form of torch before 1.6 (formats.md 5.3), which begins with
 * AN_TORCH_MAGIC_BYTES bytes that the caller knows: pickles, none beyond byte pickle_max, then the
 * storages.
 */
enum { AN_TORCH_MAGIC_BYTES = 15 };
ANEMO_MUST_CHECK anemo_status an_torch_unpickle_stream(const unsigned char *data, uint64_t size,
                                                       uint64_t pickle_max, const char *path,
                                                       an_torch_tensor **out, size_t *n_out,
                                                       anemo_error *err);

#endif
