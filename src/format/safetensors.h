/*
 * safetensors: read one file or a sharded directory as validated views; write one file.
 *
 * All rules of formats.md 4 are enforced: header length, JSON, duplicate keys, contiguous coverage, sizes, index
 * against content. Tensors may start at any address: never cast, use unaligned loads.
 */
#ifndef AN_FORMAT_SAFETENSORS_H
#define AN_FORMAT_SAFETENSORS_H

#include "base/error.h"
#include "os/file.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AN_ST_DIMS_MAX = 8 };

typedef struct an_st_tensor {
    const char *name; /* owned by the handle */
    an_dtype dtype;   /* AN_DTYPE_OTHER for a dtype of no use to us: an error only when needed */
    const char *dtype_name; /* as in the file: "BF16" */
    int n_dim;
    int64_t shape[AN_ST_DIMS_MAX];
    const void *data;
    uint64_t bytes;
    uint64_t offset;  /* of the data in its file */
    int file;         /* index of its file */
} an_st_tensor;

typedef struct an_safetensors an_safetensors;

/*
 * `path` is a .safetensors file, or a directory with model*.safetensors (an index is honoured and checked; names in it
 * must be plain). ERR_NOTFOUND when the directory has none. Gives *out: an_safetensors_close.
 */
ANEMO_MUST_CHECK anemo_status an_safetensors_open(an_safetensors **out, const char *path,
                                                  anemo_error *err);
/* One file's bytes in memory, borrowed until close. */
ANEMO_MUST_CHECK anemo_status an_safetensors_open_bytes(an_safetensors **out, const void *data,
                                                        uint64_t size, const char *name,
                                                        anemo_error *err);
void an_safetensors_close(an_safetensors *st);

size_t an_safetensors_n_tensor(const an_safetensors *st);
const an_st_tensor *an_safetensors_tensor_at(const an_safetensors *st, size_t i); /* in name order */
const an_st_tensor *an_safetensors_find(const an_safetensors *st, const char *name);
size_t an_safetensors_n_file(const an_safetensors *st);
const char *an_safetensors_file_name(const an_safetensors *st, size_t i);
const an_file_map *an_safetensors_file_map(const an_safetensors *st, size_t i); /* data NULL when the bytes are the caller's */
uint64_t an_safetensors_file_bytes(const an_safetensors *st); /* all files */

/*
 * Writing: declare all tensors, begin (writes the header, 64-byte aligned data), then put each tensor's bytes
 * in the order that an_st_writer_order() tells (descending element size, then name). Atomic: temp file, rename.
 */
typedef struct an_st_writer an_st_writer;

ANEMO_MUST_CHECK anemo_status an_st_writer_open(an_st_writer **out, const char *path, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_st_writer_declare(an_st_writer *w, const char *name, an_dtype dtype,
                                                   int n_dim, const int64_t *shape,
                                                   anemo_error *err);
/* One more string of __metadata__; before begin. Keys are plain text and not "format". */
ANEMO_MUST_CHECK anemo_status an_st_writer_note(an_st_writer *w, const char *key, const char *value, anemo_error *err);
/* `metadata_format` is the "format" entry of __metadata__ ("mlx"). */
ANEMO_MUST_CHECK anemo_status an_st_writer_begin(an_st_writer *w, const char *metadata_format,
                                                 anemo_error *err);
size_t an_st_writer_n(const an_st_writer *w);
const char *an_st_writer_order(const an_st_writer *w, size_t i); /* name of the i-th tensor to put */
uint64_t an_st_writer_data_bytes(const an_st_writer *w);         /* of all tensors */
/* Bytes of the current tensor, in one or several calls; its size is checked before the next begins. */
ANEMO_MUST_CHECK anemo_status an_st_writer_put(an_st_writer *w, const void *data, uint64_t n,
                                               anemo_error *err);
/*
 * Instead of put: n bytes of tensor i (as an_st_writer_order counts) from its byte `at` on, in any order and from any thread.
 * The caller sees to it that every byte is written once; their number is checked at commit.
 */
ANEMO_MUST_CHECK anemo_status an_st_writer_put_at(an_st_writer *w, size_t i, uint64_t at, const void *data, uint64_t n,
                                                  anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_st_writer_commit(an_st_writer *w, anemo_error *err);
void an_st_writer_close(an_st_writer *w);

#endif
