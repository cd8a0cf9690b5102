/*
 * A file of the layout cache: a model's panels, to be mapped by a later start (docs/native.md#the-layout-cache). Numbers are
 * little-endian:
 *   magic [8] "anmpanl\n", u32 version, u32 n_matrix, u64 header_bytes, u64 file_bytes,
 *   source [64] (hex digest of what it was made from), n_matrix entries of an_layout_entry, zeros,
 *   digest [64] (hex SHA-256 of all header bytes before it)
 * header_bytes is a multiple of 4096 and where the first panels begin; behind the last ones stand 128 bytes: the text
 * "anemo panels, complete" padded with zeros, and the digest again.
 */
#ifndef AN_ENGINE_LAYOUT_FILE_H
#define AN_ENGINE_LAYOUT_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum { AN_LAYOUT_MATRICES_MAX = 8192, AN_LAYOUT_DIGEST = 64, AN_LAYOUT_TAIL = 128 };

/* One matrix: 48 bytes. */
typedef struct an_layout_entry {
    uint16_t dtype, bits, group, scale_dtype; /* all but dtype 0 where the weight has none */
    uint64_t n_row, n_col;
    uint64_t offset, bytes; /* of the panels from the file's begin, a multiple of 4096 */
    uint64_t reserved;      /* 0 */
} an_layout_entry;

typedef struct an_layout_header {
    char source[AN_LAYOUT_DIGEST + 1];
    uint64_t header_bytes, file_bytes;
    an_layout_entry *entries; /* [n]; an_layout_header_free */
    size_t n;
} an_layout_header;

/*
 * Read the header of a file's bytes and check all that it says: lengths, digests, that each matrix lies inside the file behind
 * the one before it. ERR_FORMAT with what is wrong, ERR_NOMEM. `name` begins messages.
 */
ANEMO_MUST_CHECK anemo_status an_layout_header_read(an_layout_header *h, const void *data, uint64_t size, const char *name,
                                                    anemo_error *err);
void an_layout_header_free(an_layout_header *h);

/* Bytes of the header of n matrices. */
uint64_t an_layout_header_bytes(size_t n);

/*
 * The header's bytes, h->header_bytes of them, and the file's tail, AN_LAYOUT_TAIL of them. The caller has filled h. Gives
 * *header: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_layout_header_build(const an_layout_header *h, unsigned char **header,
                                                     unsigned char tail[AN_LAYOUT_TAIL], anemo_error *err);

#endif
