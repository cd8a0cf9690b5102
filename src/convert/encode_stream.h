/*
 * Matrices on their way into a file: rows as f32 from anywhere, encoded in slabs on the threads of a pool, checked, their error
 * measured, and put out in order. The bytes do not depend on the number of threads.
 */
#ifndef AN_CONVERT_ENCODE_STREAM_H
#define AN_CONVERT_ENCODE_STREAM_H

#include "convert/weight_class.h"
#include "os/thread.h"

/* One matrix (a vector is one row; experts lie one after another). */
typedef struct an_encode_job {
    const char *path, *name; /* of the source file and the tensor, for messages */
    int64_t n_row, n_col;
    an_dtype type; /* an_encode_can; n_col is a multiple of its block */
    /*
     * Rows row..row+n-1 as f32 into out[n * n_col], in the order in which they are stored. Called by several threads at a
     * time, each with its own rows.
     */
    anemo_status (*rows)(void *ctx, int64_t row, int64_t n, float *out, anemo_error *err);
    void *ctx;
    /*
     * How much each column matters (encode.h), one list of n_col for each `importance_rows` rows (those of one expert); NULL:
     * all alike.
     */
    const float *importance;
    int64_t importance_rows;
    size_t class_idx;      /* where the errors are added up */
    uint64_t source_bytes; /* what the matrix counts for in the progress */
} an_encode_job;

/* Where matrices go, and what is known so far. The caller fills it in once for all matrices of an output. */
typedef struct an_encode_stream {
    an_pool *pool;
    anemo_status (*put)(void *ctx, const void *data, uint64_t n, anemo_error *err); /* bytes of the matrix, in order */
    void *put_ctx;
    an_weight_classes *classes;
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *progress_ctx;
    const volatile int *stop; /* not 0: end with ERR_INTERRUPTED; may be NULL */
    uint64_t done_bytes, total_bytes;
} an_encode_stream;

/*
 * Encode one matrix. Memory: a slab of at most 16 MiB of encoded rows (a row a thread when rows are longer) and two rows a
 * thread. ERR_FORMAT names the first element of a slab that is infinite or NaN; ERR_INTERRUPTED; ERR_NOMEM; whatever `rows`
 * and `put` return.
 */
ANEMO_MUST_CHECK anemo_status an_encode_stream_matrix(an_encode_stream *s, const an_encode_job *j, anemo_error *err);

/* Bytes that are put as they are: progress and stop alone. */
ANEMO_MUST_CHECK anemo_status an_encode_stream_copy(an_encode_stream *s, const void *data, uint64_t n, anemo_error *err);

/* Sink of a GGUF file: put_ctx is the an_gguf_writer. */
anemo_status an_encode_put_gguf(void *ctx, const void *data, uint64_t n, anemo_error *err);

#endif
