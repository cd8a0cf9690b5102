/*
 * Builds GGUF bytes in memory for tests and fuzz seeds. It writes what it is told, right or wrong;
 * it shares no code with the reader. Running out of memory aborts.
 */
#ifndef AN_TESTS_SUPPORT_GGUF_BUILD_H
#define AN_TESTS_SUPPORT_GGUF_BUILD_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_buf {
    unsigned char *data; /* free() */
    size_t n, cap;
} test_buf;

void test_buf_put(test_buf *b, const void *data, size_t n);
void test_buf_u8(test_buf *b, unsigned v);
void test_buf_u16(test_buf *b, unsigned v);
void test_buf_u32(test_buf *b, uint32_t v);
void test_buf_u64(test_buf *b, uint64_t v);
void test_buf_f32(test_buf *b, float v);
void test_buf_zero(test_buf *b, size_t n);
void test_buf_free(test_buf *b);
void test_buf_write(const test_buf *b, const char *path); /* aborts when it cannot */

typedef struct gguf_build {
    uint32_t version;        /* 3 */
    uint64_t alignment;      /* 32; set the key yourself when you change it */
    uint64_t n_kv, n_tensor; /* counted; change them to lie */
    test_buf kv, infos, data;
} gguf_build;

void gguf_build_init(gguf_build *b);

void gguf_build_key(gguf_build *b, const char *key,
                    uint32_t type); /* key and type; put the value into b->kv */
void gguf_build_u16(gguf_build *b, const char *key, unsigned v);
void gguf_build_u32(gguf_build *b, const char *key, uint32_t v);
void gguf_build_i32(gguf_build *b, const char *key, int32_t v);
void gguf_build_u64(gguf_build *b, const char *key, uint64_t v);
void gguf_build_f32(gguf_build *b, const char *key, float v);
void gguf_build_bool(gguf_build *b, const char *key, int v);
void gguf_build_str(gguf_build *b, const char *key, const char *v);
void gguf_build_strs(gguf_build *b, const char *key, const char *const *v, size_t n);
void gguf_build_i32s(gguf_build *b, const char *key, const int32_t *v, size_t n);
void gguf_build_f32s(gguf_build *b, const char *key, const float *v, size_t n);

/*
 * A tensor whose data are `bytes` bytes (NULL: zeros), placed at the next multiple of the
 * alignment. shape: outermost first, as everywhere in anemo; it is written reversed.
 */
void gguf_build_tensor(gguf_build *b, const char *name, uint32_t ggml_type, int n_dim,
                       const int64_t *shape, const void *data, size_t bytes);

/* The same with everything said by hand: dims in file order and the offset as it stands in the
 * file. */
void gguf_build_info(gguf_build *b, const char *name, uint32_t n_dim, const uint64_t *dims,
                     uint32_t ggml_type, uint64_t offset);

/* The whole file; frees the builder. */
test_buf gguf_build_finish(gguf_build *b);

/*
 * A complete small `llama` model that a reader of architectures accepts: 2 layers, width 64, 4
 * heads with 2 key/value heads of 16, feed-forward 96, 32 words, tied; matrices of `ggml_type` (one
 * with blocks of 32 or plain F32/F16), values from a fixed seed; a byte-level BPE vocabulary. Add
 * keys before you finish it.
 */
void gguf_build_tiny_llama(gguf_build *b, uint32_t ggml_type);

#endif
