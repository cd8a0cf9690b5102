/* What the files of the GGUF reader share. */
#ifndef AN_FORMAT_GGUF_INTERNAL_H
#define AN_FORMAT_GGUF_INTERNAL_H

#include "format/gguf.h"
#include "format/name_index.h"
#include "os/file.h"

/* One file of the set. Later shards keep their keys only while they are checked. */
typedef struct gguf_shard {
    char *path;
    an_file_map map; /* map.reserved is NULL when the bytes are the caller's */
    const unsigned char *data;
    uint64_t size;
    uint32_t version;
    uint64_t n_tensor, n_kv; /* as the header says */
    uint64_t alignment;
    an_gguf_kv *kv;
    an_name_entry *kv_index;
    char (*names)[64]; /* [n_tensor], NUL-terminated */
} gguf_shard;

struct an_gguf {
    gguf_shard *shards;
    int n_shard;
    an_gguf_tensor *tensors;
    an_name_entry *tensor_index;
    size_t n_tensor;
};

const an_gguf_kv *an_gguf_shard_find(const gguf_shard *s, const char *key);

/* Bytes of one value of a fixed-size type; 0 for strings and arrays. */
uint64_t an_gguf_type_bytes(uint32_t type);

/* An integer of any width; false when the value is none or does not fit an int64. */
bool an_gguf_kv_i64(const an_gguf_kv *kv, int64_t *out);

/* The text of a key or name for a message: unprintable bytes escaped, cut when long. */
typedef struct gguf_text {
    char text[100];
} gguf_text;
gguf_text an_gguf_quote(const char *data, uint64_t len);

#endif
