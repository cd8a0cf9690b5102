/*
 * The weights of a plan into the file: two slabs by turns. While the first thread writes one, the others fill the next, and
 * the first helps when it is done. What is copied as it lies is written from the source's map.
 */
#include "convert/to_gguf_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "convert/rows.h"
#include "os/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { SLAB_BYTES = 8 << 20, CHUNK_BYTES = 128 << 10 };

/* What one thread found in a tensor. */
typedef struct part {
    double sum_sq, sum_sq_error;
    int64_t bad; /* row of the tensor with a value that is not finite, or that the type cannot hold; -1 */
    bool changed, overflow;
    anemo_status status;
    anemo_error err;
    char pad[64];
} part;

typedef struct stream {
    const an_gguf_plan *plan;
    an_gguf_writer *writer;
    an_convert_result *result;
    unsigned char *slab[2];
    int turn;
    size_t slab_bytes;
    float *values; /* two rows a thread */
    int64_t col_max;
    part *parts; /* [n_thread] */
    uint64_t done;
    /* The slab that is being filled: */
    const an_gguf_out *out;
    int64_t row, n_row, chunk_rows;
    uint64_t row_bytes; /* of the output */
    bool in_place;      /* nothing to fill: the rows are looked at where they lie */
    unsigned char *to;
    atomic_llong next;
    /* The slab that is being written: */
    const void *pending;
    uint64_t n_pending;
    const void *release; /* of the source, after writing */
    anemo_status put_status;
    anemo_error put_err;
} stream;

/* ---- filling */

static bool keeps_order(const an_source_tensor *t)
{
    return !t->rotated || t->rows == AN_ROPE_INTERLEAVED;
}

/* The rows in the slab (or in place) as a matrix, to look for values that are not finite. */
static void check_rows(const stream *s, part *p, const void *data, int64_t row, int64_t n)
{
    int64_t n_col = s->out->shape[s->out->n_dim - 1];
    const an_weight w = {.dtype = s->out->type, .n_row = n, .n_col = n_col, .data = data, .row_bytes = s->row_bytes};
    if (!an_dtype_get(w.dtype)->weight) return;
    int64_t bad = an_weight_find_nonfinite(&w);
    if (bad >= 0) p->bad = row + bad;
}

static void copy_rows(const stream *s, int64_t row, int64_t n, unsigned char *to)
{
    const an_source_tensor *t = s->out->t;
    for (int64_t i = 0; i < n; i++) {
        int64_t from = an_source_row_in(s->plan->source, t, AN_ROPE_INTERLEAVED, row + i);
        memcpy(to + (uint64_t)i * s->row_bytes, (const unsigned char *)t->w.data + (uint64_t)from * t->w.row_bytes,
               (size_t)s->row_bytes);
    }
}

static void repack_rows(const stream *s, int64_t row, int64_t n, unsigned char *to)
{
    const an_source_tensor *t = s->out->t;
    for (int64_t i = 0; i < n; i++)
        an_affine_repack_row(&t->w, an_source_row_in(s->plan->source, t, AN_ROPE_INTERLEAVED, row + i), s->out->type,
                             to + (uint64_t)i * s->row_bytes);
}

/* One row through f32, and what that changed. */
static void encode_row(const stream *s, part *p, float *x, int64_t row, unsigned char *to)
{
    const an_source_tensor *t = s->out->t;
    float *back = x + s->col_max;
    p->status = an_source_rows_in(s->plan->source, t, AN_ROPE_INTERLEAVED, row, 1, x, &p->err);
    if (p->status != ANEMO_OK) return;
    if (an_rows_find_nonfinite(x, t->n_col) >= 0) {
        p->bad = row;
        return;
    }
    an_rows_encode(s->out->type, x, 1, t->n_col, to);
    if (s->out->exact) return;
    an_rows_decode(s->out->type, to, back, t->n_col);
    if (an_rows_find_nonfinite(back, t->n_col) >= 0) {
        p->bad = row;
        p->overflow = true;
        return;
    }
    double sum = 0, error = 0;
    an_rows_square_sums(x, back, t->n_col, &sum, &error);
    p->sum_sq += sum;
    p->sum_sq_error += error;
    p->changed = p->changed || error > 0;
}

static void fill_rows(stream *s, int thread, int64_t row, int64_t n)
{
    part *p = &s->parts[thread];
    unsigned char *to = s->to + (uint64_t)(row - s->row) * s->row_bytes;
    if (s->in_place || s->out->how == AN_GGUF_COPY) {
        if (!s->in_place) copy_rows(s, row, n, to);
        check_rows(s, p, to, row, n);
        return;
    }
    if (s->out->how == AN_GGUF_REPACK) {
        repack_rows(s, row, n, to);
        return;
    }
    for (int64_t i = 0; i < n && p->bad < 0 && p->status == ANEMO_OK; i++)
        encode_row(s, p, s->values + 2 * s->col_max * thread, row + i, to + (uint64_t)i * s->row_bytes);
}

static void put_pending(stream *s)
{
    if (s->n_pending == 0 || s->put_status != ANEMO_OK) return;
    s->put_status = an_gguf_writer_put(s->writer, s->pending, s->n_pending, &s->put_err);
    if (s->release) an_file_release(s->release, s->n_pending);
    s->done += s->n_pending;
    s->n_pending = 0;
}

static void work(void *arg, int thread, int n_thread)
{
    stream *s = arg;
    (void)n_thread;
    if (thread == 0) put_pending(s);
    for (;;) {
        int64_t row = atomic_fetch_add(&s->next, s->chunk_rows);
        if (row >= s->row + s->n_row || s->parts[thread].bad >= 0 || s->parts[thread].status != ANEMO_OK) return;
        fill_rows(s, thread, row, an_min_i64(s->chunk_rows, s->row + s->n_row - row));
    }
}

/* ---- tensor by tensor */

static const char *source_name(const an_gguf_out *out)
{
    return out->t ? out->t->name : out->name;
}

static anemo_status look_at_parts(stream *s, anemo_error *err)
{
    for (int i = 0; i < an_pool_n_thread(s->plan->pool); i++) {
        const part *p = &s->parts[i];
        if (p->status != ANEMO_OK) {
            if (err) *err = p->err;
            return p->status;
        }
        if (p->bad >= 0 && p->overflow)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: tensor %s: row %" PRId64 " has values beyond the range of %s; take another --dtype; nothing was written",
                           s->plan->source->path, source_name(s->out), p->bad, an_dtype_get(s->out->type)->name);
        if (p->bad >= 0)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: tensor %s: row %" PRId64 " has a value that is infinite or NaN, so the model is damaged; nothing "
                           "was written",
                           s->plan->source->path, source_name(s->out), p->bad);
    }
    if (s->put_status != ANEMO_OK) {
        if (err) *err = s->put_err;
        return s->put_status;
    }
    return ANEMO_OK;
}

static anemo_status step(stream *s, anemo_error *err)
{
    const an_convert_options *o = s->plan->options;
    if (o->progress) o->progress(o->progress_ctx, s->done, s->plan->bytes);
    if (o->stop && *o->stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; nothing was written");
    return ANEMO_OK;
}

/* Errors of a tensor into its class. */
static void close_tensor(stream *s)
{
    double sum = 0, error = 0;
    bool changed = false;
    for (int i = 0; i < an_pool_n_thread(s->plan->pool); i++) {
        part *p = &s->parts[i];
        sum += p->sum_sq;
        error += p->sum_sq_error;
        changed = changed || p->changed;
        *p = (part){.bad = -1};
    }
    /* It was counted as rounded when it was planned; values that happened to fit were not. */
    if (!s->out->exact && !changed) s->result->n_rounded--;
    if (!s->out->exact) an_weight_classes_error(&s->result->classes, s->out->class_idx, s->out->name, sum, error);
    if (s->out->t && !s->in_place) an_source_release(s->plan->source, s->out->t);
}

static anemo_status write_tensor(stream *s, const an_gguf_out *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_dtype_info *info = an_dtype_get(out->type);
    int64_t n_col = out->shape[out->n_dim - 1], n_row = 1;
    for (int d = 0; d < out->n_dim - 1; d++) n_row *= out->shape[d];
    s->out = out;
    s->row_bytes = (uint64_t)(n_col / info->block_elems) * (uint64_t)info->block_bytes;
    if (n_row == 0 || s->row_bytes == 0) return ANEMO_OK;
    const unsigned char *there = NULL;
    if (out->extra) there = out->extra->data;
    else if (out->values) there = (const unsigned char *)out->values;
    else if (out->how == AN_GGUF_COPY && keeps_order(out->t)) there = out->t->w.data;
    s->in_place = there != NULL;
    int64_t rows_max = an_max_i64((int64_t)(s->slab_bytes / s->row_bytes), 1);
    s->chunk_rows = an_max_i64((int64_t)(CHUNK_BYTES / s->row_bytes), 1);
    for (s->row = 0; s->row < n_row; s->row += s->n_row) {
        s->n_row = an_min_i64(rows_max, n_row - s->row);
        s->to = s->slab[s->turn];
        if (there) s->to = (unsigned char *)(uintptr_t)(there + (uint64_t)s->row * s->row_bytes);
        atomic_store(&s->next, s->row);
        an_pool_run(s->plan->pool, work, s);
        AN_TRY(look_at_parts(s, err));
        s->pending = s->to;
        s->n_pending = (uint64_t)s->n_row * s->row_bytes;
        s->release = there && !out->values ? s->to : NULL;
        if (!there) s->turn = !s->turn;
        AN_TRY(step(s, err));
    }
    close_tensor(s);
cleanup:
    return status;
}

/* A slab holds at least one row of every tensor. */
static anemo_status make_room(stream *s, anemo_error *err)
{
    const an_gguf_plan *p = s->plan;
    size_t n_thread = (size_t)an_pool_n_thread(p->pool);
    s->slab_bytes = SLAB_BYTES;
    for (size_t i = 0; i < p->n; i++) {
        const an_gguf_out *out = &p->tensors[i];
        const an_dtype_info *info = an_dtype_get(out->type);
        int64_t n_col = out->shape[out->n_dim - 1];
        size_t bytes = (size_t)(n_col / info->block_elems) * (size_t)info->block_bytes;
        if (out->t) s->col_max = an_max_i64(s->col_max, n_col);
        if (bytes > s->slab_bytes) s->slab_bytes = bytes;
    }
    for (int i = 0; i < 2; i++) s->slab[i] = an_malloc(s->slab_bytes);
    s->values = an_malloc(n_thread * 2 * (size_t)s->col_max * sizeof *s->values + 1);
    s->parts = an_calloc(n_thread, sizeof *s->parts);
    if (!s->slab[0] || !s->slab[1] || !s->values || !s->parts) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n_thread; i++) s->parts[i].bad = -1;
    return ANEMO_OK;
}

anemo_status an_gguf_stream(const an_gguf_plan *plan, an_gguf_writer *writer, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    stream s = {.plan = plan, .writer = writer, .result = result};
    AN_TRY(make_room(&s, err));
    for (size_t i = 0; i < plan->n; i++) AN_TRY(write_tensor(&s, &plan->tensors[i], err));
    put_pending(&s);
    AN_TRY(look_at_parts(&s, err));
    AN_TRY(step(&s, err));
cleanup:
    an_free(s.slab[0]);
    an_free(s.slab[1]);
    an_free(s.values);
    an_free(s.parts);
    return status;
}
