/*
 * Writing one GGUF v3 file (formats.md 1.1): keys, then tensors, all declared before the first byte of data, so that the
 * header is final. Tensors lie back to back in the order declared, each padded to 32 bytes, the last one too: what llama.cpp
 * demands. Atomic: a temporary file beside the target, renamed at commit.
 */
#ifndef AN_FORMAT_GGUF_WRITE_H
#define AN_FORMAT_GGUF_WRITE_H

#include "format/gguf.h"

typedef struct an_gguf_writer an_gguf_writer;

/* Gives *out: an_gguf_writer_close, which removes what was not committed. */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_open(an_gguf_writer **out, const char *path, anemo_error *err);
/* One that writes nothing: keys and tensors are given to it to learn the file's size. */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_open_dry(an_gguf_writer **out, const char *path, anemo_error *err);
void an_gguf_writer_close(an_gguf_writer *w);

/* Keys appear in the order of these calls; the caller gives none twice. Out of memory shows at begin. */
void an_gguf_writer_copy(an_gguf_writer *w, const an_gguf_kv *kv);
void an_gguf_writer_u32(an_gguf_writer *w, const char *key, uint32_t v);
void an_gguf_writer_f32(an_gguf_writer *w, const char *key, float v);
void an_gguf_writer_bool(an_gguf_writer *w, const char *key, bool v);
void an_gguf_writer_str(an_gguf_writer *w, const char *key, const char *text);
/* Arrays: of strings, of which the caller then gives n one by one, or of numbers, all at once. */
void an_gguf_writer_strs(an_gguf_writer *w, const char *key, uint64_t n);
void an_gguf_writer_next_str(an_gguf_writer *w, const char *text, uint64_t len);
void an_gguf_writer_u32s(an_gguf_writer *w, const char *key, const uint32_t *v, uint64_t n);
void an_gguf_writer_i32s(an_gguf_writer *w, const char *key, const int32_t *v, uint64_t n);
void an_gguf_writer_f32s(an_gguf_writer *w, const char *key, const float *v, uint64_t n);

/* Declare a tensor of a type that GGUF has; shape is outermost first, its last side a multiple of the type's block. */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_tensor(an_gguf_writer *w, const char *name, an_dtype type, int n_dim,
                                                    const int64_t *shape, anemo_error *err);

/* Bytes of the whole file as declared so far. */
uint64_t an_gguf_writer_bytes(const an_gguf_writer *w);

/* Write the header; the whole file's space is reserved first (ERR_NOSPACE). */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_begin(an_gguf_writer *w, anemo_error *err);
/* Bytes of the current tensor, in one call or several; the next one follows when it is whole. */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_put(an_gguf_writer *w, const void *data, uint64_t n, anemo_error *err);
/* All tensors were put: fsync and rename. */
ANEMO_MUST_CHECK anemo_status an_gguf_writer_commit(an_gguf_writer *w, anemo_error *err);

#endif
