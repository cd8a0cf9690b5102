/*
 * GGUF v2 and v3, read: one file or a split set, as validated views into read-only maps.
 *
 * Opening checks everything a later reader relies on (formats.md 1.1, 1.7 and 2.7's structure rules): magic, version,
 * endianness, lengths against the bytes left, key and tensor names, types, dimensions, alignment, ranges,
 * overlaps, split completeness. Nothing is allocated that the bytes left could not back.
 * GGUF's reversed dimension order is turned around here and never seen again: shape[0] is the outermost.
 */
#ifndef AN_FORMAT_GGUF_H
#define AN_FORMAT_GGUF_H

#include "base/error.h"
#include "os/file.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_gguf_type {
    AN_GGUF_U8 = 0,
    AN_GGUF_I8,
    AN_GGUF_U16,
    AN_GGUF_I16,
    AN_GGUF_U32,
    AN_GGUF_I32,
    AN_GGUF_F32,
    AN_GGUF_BOOL,
    AN_GGUF_STRING,
    AN_GGUF_ARRAY,
    AN_GGUF_U64,
    AN_GGUF_I64,
    AN_GGUF_F64,
    AN_GGUF_TYPE_N
} an_gguf_type;

/* "u32", "array". Static string. */
const char *an_gguf_type_name(an_gguf_type type);

/* Bytes, not NUL-terminated, borrowed from the file. */
typedef struct an_bytes {
    const char *data;
    uint64_t len;
} an_bytes;

typedef struct an_gguf an_gguf;

typedef struct an_gguf_kv {
    an_bytes key;
    an_gguf_type type;
    an_gguf_type elem_type; /* of an array */
    uint64_t n;             /* elements of an array; 1 otherwise */
    const void *value;      /* raw little-endian value; a string's bytes start after its length */
    uint64_t value_bytes;
    uint64_t offset;        /* of the key in its file, for messages */
} an_gguf_kv;

typedef struct an_gguf_tensor {
    const char *name;    /* NUL-terminated, owned by the handle */
    uint32_t ggml_type;
    an_dtype dtype;      /* AN_DTYPE_OTHER when not one of ours: refuse by an_ggml_type_name() */
    int n_dim;           /* 1..4 */
    int64_t shape[4];    /* outermost first */
    const void *data;
    uint64_t bytes;
    uint64_t offset;     /* of the data in its file */
    int shard;           /* index of its file */
} an_gguf_tensor;

/*
 * Open `path`: a single file, or the first shard of a split set (the others are found beside it).
 * ERR_FORMAT and ERR_UNSUPPORTED messages hold the path and a byte offset, key or tensor name.
 * Gives *out: an_gguf_close.
 */
ANEMO_MUST_CHECK anemo_status an_gguf_open(an_gguf **out, const char *path, anemo_error *err);

/* The same over bytes in memory (a single file); borrows data until close. `name` is used in messages. */
ANEMO_MUST_CHECK anemo_status an_gguf_open_bytes(an_gguf **out, const void *data, uint64_t size,
                                                 const char *name, anemo_error *err);
void an_gguf_close(an_gguf *g);

const char *an_gguf_path(const an_gguf *g);
uint32_t an_gguf_version(const an_gguf *g);
uint64_t an_gguf_alignment(const an_gguf *g);
int an_gguf_n_shard(const an_gguf *g);
const an_file_map *an_gguf_shard_map(const an_gguf *g, int i); /* data NULL when the bytes are the caller's */
uint64_t an_gguf_file_bytes(const an_gguf *g); /* all shards */

size_t an_gguf_n_kv(const an_gguf *g); /* of the first shard, split.* keys included */
const an_gguf_kv *an_gguf_kv_at(const an_gguf *g, size_t i);
const an_gguf_kv *an_gguf_find(const an_gguf *g, const char *key); /* NULL when absent */

/*
 * Typed getters. `required` false: an absent key leaves *out alone and succeeds. A value of another type or
 * out of range is ERR_FORMAT naming the key. Integers of any width convert when they fit.
 */
ANEMO_MUST_CHECK anemo_status an_gguf_get_i64(const an_gguf *g, const char *key, bool required,
                                              int64_t min, int64_t max, int64_t *out,
                                              anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_gguf_get_f64(const an_gguf *g, const char *key, bool required,
                                              double *out, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_gguf_get_bool(const an_gguf *g, const char *key, bool required,
                                               bool *out, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_gguf_get_str(const an_gguf *g, const char *key, bool required,
                                              an_bytes *out, anemo_error *err);

/* Element i of an array of integers (any width), or of floats. The caller checked type and n. */
int64_t an_gguf_array_i64(const an_gguf_kv *kv, uint64_t i);
double an_gguf_array_f64(const an_gguf_kv *kv, uint64_t i);

/* Walk an array of strings: start with *pos = 0; each call gives the next one. n calls are valid. */
an_bytes an_gguf_array_next_str(const an_gguf_kv *kv, uint64_t *pos);

size_t an_gguf_n_tensor(const an_gguf *g); /* all shards */
const an_gguf_tensor *an_gguf_tensor_at(const an_gguf *g, size_t i);
const an_gguf_tensor *an_gguf_find_tensor(const an_gguf *g, const char *name); /* NULL when absent */

#endif
