/* The work: threads make the next chunks of the file while the first thread writes those that are made. */
#include "convert/synth_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "os/thread.h"

#include <stdatomic.h>
#include <string.h>

enum {
    CHUNK = 16 * AN_SYNTH_CELL, /* weights: small enough to stay in a core's cache until they are written */
    ROUND = 16,                 /* chunks that are made while those before are written */
    ROUND_BYTES = 64 << 20,     /* fewer chunks when they are large */
};

typedef struct chunk {
    const an_synth_piece *piece;
    int64_t begin, end; /* weights */
    uint64_t bytes;
    unsigned char *data;
} chunk;

typedef struct work {
    const an_synth_piece *pieces;
    size_t n_piece, piece; /* where the next chunk begins */
    int64_t at;
    chunk rounds[2][ROUND];
    int n_round[2], made; /* the round that is being made; the other one is being written */
    int n_chunk;          /* of a round */
    _Atomic int next;     /* chunk to be made */
    unsigned char *scratch; /* per thread: a cell, and a chunk whose rows change places */
    size_t scratch_bytes;
    an_synth_put put;
    void *put_ctx;
    anemo_status status; /* of writing */
    anemo_error *err;
    uint64_t done_bytes;
} work;

static int64_t n_weight(const an_synth_piece *p)
{
    return p->tensor->n_row * p->tensor->n_col;
}

static uint64_t bytes_of(const an_synth_piece *p, int64_t weights)
{
    int elems, bytes;
    an_synth_unit(p->tensor->form, p->part, &elems, &bytes);
    return (uint64_t)(weights / elems) * (uint64_t)bytes;
}

/* Weights of one chunk: whole cells, or whole heads where rows change places. */
static int64_t chunk_weights(const an_synth_piece *p)
{
    if (p->head_dim == 0) return CHUNK;
    int64_t head = p->head_dim * p->tensor->n_col;
    return an_max_i64(CHUNK / head, 1) * head;
}

/* Weights begin..end-1 of a piece. A cell that reaches over an end is made aside. */
static void make_range(const chunk *c, unsigned char *out, unsigned char *cell_bytes)
{
    const an_synth_tensor *t = c->piece->tensor;
    int64_t at = c->begin;
    while (at < c->end) {
        int64_t cell = at / AN_SYNTH_CELL, begin = cell * AN_SYNTH_CELL, end = begin + AN_SYNTH_CELL;
        int64_t stop = an_min_i64(end, c->end);
        uint64_t n = bytes_of(c->piece, stop - at);
        if (at == begin && stop == end) {
            an_synth_cell(t->form, c->piece->part, t->key, (uint64_t)cell, out);
        } else {
            an_synth_cell(t->form, c->piece->part, t->key, (uint64_t)cell, cell_bytes);
            memcpy(out, cell_bytes + bytes_of(c->piece, at - begin), (size_t)n);
        }
        out += n;
        at = stop;
    }
}

static void make_chunk(const chunk *c, unsigned char *scratch)
{
    int head_dim = c->piece->head_dim, half = head_dim / 2;
    if (head_dim == 0) {
        make_range(c, c->data, scratch);
        return;
    }
    unsigned char *rows = scratch + AN_SYNTH_CELL_BYTES;
    int64_t n_row = (c->end - c->begin) / c->piece->tensor->n_col;
    size_t row_bytes = (size_t)bytes_of(c->piece, c->piece->tensor->n_col);
    make_range(c, rows, scratch);
    for (int64_t r = 0; r < n_row; r++) {
        int64_t in = r % head_dim, from = r - in + 2 * (in % half) + in / half;
        memcpy(c->data + (size_t)r * row_bytes, rows + (size_t)from * row_bytes, row_bytes);
    }
}

static void share(void *arg, int thread, int n_thread)
{
    work *w = arg;
    int i;
    (void)n_thread;
    if (thread == 0) {
        const chunk *ready = w->rounds[!w->made];
        for (int k = 0; k < w->n_round[!w->made] && w->status == ANEMO_OK; k++) {
            w->status = w->put(w->put_ctx, ready[k].data, ready[k].bytes, w->err);
            w->done_bytes += ready[k].bytes;
        }
    }
    while ((i = atomic_fetch_add(&w->next, 1)) < w->n_round[w->made])
        make_chunk(&w->rounds[w->made][i], w->scratch + (size_t)thread * w->scratch_bytes);
}

/* Set the chunks of the next round; none are left when it is empty. */
static void plan_round(work *w)
{
    int n = 0;
    while (n < w->n_chunk && w->piece < w->n_piece) {
        const an_synth_piece *p = &w->pieces[w->piece];
        chunk *c = &w->rounds[w->made][n++];
        c->piece = p;
        c->begin = w->at;
        c->end = an_min_i64(w->at + chunk_weights(p), n_weight(p));
        c->bytes = bytes_of(p, c->end - c->begin);
        w->at = c->end;
        if (w->at == n_weight(p)) {
            w->piece++;
            w->at = 0;
        }
    }
    w->n_round[w->made] = n;
    atomic_store(&w->next, 0);
}

static anemo_status run(work *w, an_pool *pool, const an_synth_options *o, uint64_t total, anemo_error *err)
{
    do {
        plan_round(w);
        an_pool_run(pool, share, w);
        if (w->status != ANEMO_OK) return w->status;
        if (o->progress) o->progress(o->progress_ctx, w->done_bytes, total);
        if (o->stop && *o->stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; nothing was written");
        w->made = !w->made;
    } while (w->n_round[!w->made] > 0);
    return ANEMO_OK;
}

anemo_status an_synth_write(const an_synth_piece *pieces, size_t n_piece, const an_synth_options *o, an_synth_put put,
                            void *put_ctx, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_pool *pool = NULL;
    uint64_t total = 0, chunk_bytes = 0, rows_bytes = 0;
    work *w = an_calloc(1, sizeof *w);
    unsigned char *data = NULL;
    if (!w) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n_piece; i++) {
        uint64_t bytes = bytes_of(&pieces[i], chunk_weights(&pieces[i]));
        total += bytes_of(&pieces[i], n_weight(&pieces[i]));
        if (bytes > chunk_bytes) chunk_bytes = bytes;
        if (pieces[i].head_dim && bytes > rows_bytes) rows_bytes = bytes;
    }
    w->pieces = pieces;
    w->n_piece = n_piece;
    w->put = put;
    w->put_ctx = put_ctx;
    w->err = err;
    w->n_chunk = (int)an_max_i64(1, an_min_i64(ROUND, ROUND_BYTES / (int64_t)(chunk_bytes + 1)));
    w->scratch_bytes = (size_t)(AN_SYNTH_CELL_BYTES + (rows_bytes + 63) / 64 * 64);
    data = an_malloc_aligned(2 * (size_t)w->n_chunk * (size_t)chunk_bytes);
    w->scratch = an_malloc_aligned((size_t)o->n_thread * w->scratch_bytes);
    if (!data || !w->scratch) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (int i = 0; i < 2 * w->n_chunk; i++)
        w->rounds[i / w->n_chunk][i % w->n_chunk].data = data + (size_t)i * (size_t)chunk_bytes;
    AN_TRY(an_pool_open(&pool, o->n_thread, err));
    AN_TRY(run(w, pool, o, total, err));
cleanup:
    an_pool_close(pool);
    an_free_aligned(w->scratch);
    an_free_aligned(data);
    an_free(w);
    return status;
}
