/* Slabs of rows: read, checked, encoded, decoded again for the error, put out. */
#include "convert/encode_stream.h"

#include "base/alloc.h"
#include "base/num.h"
#include "convert/rows.h"
#include "format/gguf_write.h"
#include "quant/encode.h"

#include <inttypes.h>

enum { SLAB_VALUES = 1 << 22 };

/* What one thread found in its share of a slab. */
typedef struct part {
    double sum_sq, sum_sq_error;
    int64_t bad; /* element of the tensor that is not finite; -1 */
    anemo_status status;
    anemo_error err;
} part;

typedef struct slab {
    const an_encode_job *j;
    int64_t row, n_row;
    uint64_t row_bytes;
    unsigned char *out;
    float *values; /* per thread: a row as read, then as it will be decoded */
    part parts[];
} slab;

/* One row: the only place where values become a type's bytes. */
static void encode_row(const an_encode_job *j, int64_t row, const float *values, float *back, unsigned char *out, part *p)
{
    if (j->importance) {
        const float *importance = j->importance + row / j->importance_rows * j->n_col;
        an_rows_encode_weighted(j->type, values, j->n_col, importance, out);
    } else {
        an_rows_encode(j->type, values, 1, j->n_col, out);
    }
    an_rows_decode(j->type, out, back, j->n_col);
    an_rows_square_sums(values, back, j->n_col, &p->sum_sq, &p->sum_sq_error);
}

static void encode_share(void *arg, int thread, int n_thread)
{
    slab *s = arg;
    const an_encode_job *j = s->j;
    part *p = &s->parts[thread];
    long begin, end;
    float *values = s->values + 2 * j->n_col * thread, *back = values + j->n_col;
    an_pool_share((long)s->n_row, 1, thread, n_thread, &begin, &end);
    for (long i = begin; i < end; i++) {
        p->status = j->rows(j->ctx, s->row + i, 1, values, &p->err);
        if (p->status != ANEMO_OK) return;
        int64_t bad = an_rows_find_nonfinite(values, j->n_col);
        if (bad >= 0) {
            p->bad = (s->row + i) * j->n_col + bad;
            return;
        }
        encode_row(j, s->row + i, values, back, s->out + (uint64_t)i * s->row_bytes, p);
    }
}

/* Add up what the threads found; the sums' order depends on the threads, so they are for reading, not for comparing. */
static anemo_status collect(slab *s, int n_thread, double *sum_sq, double *sum_sq_error, anemo_error *err)
{
    for (int t = 0; t < n_thread; t++) {
        part *p = &s->parts[t];
        if (p->status != ANEMO_OK) {
            if (err) *err = p->err;
            return p->status;
        }
        if (p->bad >= 0)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: tensor %s: element %" PRId64 " is infinite or NaN, so the model is damaged; nothing was written",
                           s->j->path, s->j->name, p->bad);
        *sum_sq += p->sum_sq;
        *sum_sq_error += p->sum_sq_error;
        p->sum_sq = p->sum_sq_error = 0;
    }
    return ANEMO_OK;
}

static anemo_status step_on(an_encode_stream *s, uint64_t bytes, anemo_error *err)
{
    s->done_bytes += bytes;
    if (s->progress) s->progress(s->progress_ctx, s->done_bytes, s->total_bytes);
    if (s->stop && *s->stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; nothing was written");
    return ANEMO_OK;
}

anemo_status an_encode_stream_matrix(an_encode_stream *stream, const an_encode_job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_dtype_info *to = an_dtype_get(j->type);
    int n_thread = an_pool_n_thread(stream->pool);
    int64_t rows_max = an_max_i64(SLAB_VALUES / an_max_i64(j->n_col, 1), n_thread);
    double sum_sq = 0, sum_sq_error = 0;
    slab *s = NULL;
    if (j->n_row == 0 || j->n_col == 0) return ANEMO_OK;
    s = an_calloc(1, sizeof *s + (size_t)n_thread * sizeof s->parts[0]);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", j->path);
    s->j = j;
    s->row_bytes = (uint64_t)(j->n_col / to->block_elems) * (uint64_t)to->block_bytes;
    s->out = an_malloc((size_t)an_min_i64(rows_max, j->n_row) * (size_t)s->row_bytes);
    s->values = an_malloc((size_t)n_thread * 2 * (size_t)j->n_col * sizeof *s->values);
    if (!s->out || !s->values) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory for tensor %s", j->path, j->name);
        goto cleanup;
    }
    for (int t = 0; t < n_thread; t++) s->parts[t].bad = -1;
    for (s->row = 0; s->row < j->n_row; s->row += s->n_row) {
        s->n_row = an_min_i64(rows_max, j->n_row - s->row);
        an_pool_run(stream->pool, encode_share, s);
        AN_TRY(collect(s, n_thread, &sum_sq, &sum_sq_error, err));
        AN_TRY(stream->put(stream->put_ctx, s->out, (uint64_t)s->n_row * s->row_bytes, err));
        AN_TRY(step_on(stream, j->source_bytes / (uint64_t)j->n_row * (uint64_t)s->n_row, err));
    }
    an_weight_classes_error(stream->classes, j->class_idx, j->name, sum_sq, sum_sq_error);
cleanup:
    an_free(s->values);
    an_free(s->out);
    an_free(s);
    return status;
}

anemo_status an_encode_stream_copy(an_encode_stream *s, const void *data, uint64_t n, anemo_error *err)
{
    enum { CHUNK = 1 << 24 };
    anemo_status status = ANEMO_OK;
    for (uint64_t at = 0; at < n; at += CHUNK) {
        uint64_t some = n - at < CHUNK ? n - at : CHUNK;
        AN_TRY(s->put(s->put_ctx, (const unsigned char *)data + at, some, err));
        AN_TRY(step_on(s, some, err));
    }
cleanup:
    return status;
}

anemo_status an_encode_put_gguf(void *ctx, const void *data, uint64_t n, anemo_error *err)
{
    return an_gguf_writer_put(ctx, data, n, err);
}
