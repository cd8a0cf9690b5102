/*
 * Importance matrices as llama.cpp's tools write them: for each matrix of a model how much every column matters, the mean
 * square of what it was multiplied with. Both file forms (formats.md 1.8): the older plain one and GGUF.
 */
#ifndef AN_CONVERT_IMATRIX_H
#define AN_CONVERT_IMATRIX_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct an_imatrix_entry {
    const char *name; /* of the tensor: "blk.0.ffn_down.weight" */
    float *values;    /* n means, finite and not negative; experts one after another */
    uint64_t n;
} an_imatrix_entry;

typedef struct an_imatrix an_imatrix;

/*
 * Read a file of either form. Sums are divided by their counts as llama-quantize does: a part that was never counted is 1
 * everywhere in the GGUF form, as it is stored in the older one. Of two entries with one name the last counts. ERR_FORMAT
 * names file, entry and offset. Gives *out: an_imatrix_close.
 */
ANEMO_MUST_CHECK anemo_status an_imatrix_open(an_imatrix **out, const char *path, anemo_error *err);
/* The same over bytes in memory, which may go afterwards. `name` is used in messages. */
ANEMO_MUST_CHECK anemo_status an_imatrix_open_bytes(an_imatrix **out, const void *data, uint64_t size, const char *name,
                                                    anemo_error *err);
void an_imatrix_close(an_imatrix *m); /* NULL is fine */

size_t an_imatrix_n(const an_imatrix *m);
const an_imatrix_entry *an_imatrix_at(const an_imatrix *m, size_t i); /* by name */
const an_imatrix_entry *an_imatrix_find(const an_imatrix *m, const char *name); /* NULL when there is none */

const char *an_imatrix_dataset(const an_imatrix *m); /* what it was measured on, "" when it does not say */
int64_t an_imatrix_n_chunk(const an_imatrix *m);     /* pieces of text that were counted; 0 when it does not say */

#endif
