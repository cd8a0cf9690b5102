/*
 * Reading every matrix once and writing its panels: rows are shared between threads as the forward pass shares them, so that
 * memory lies near the CPU that will read it, and what was read goes back at once, so that never two copies are resident.
 */
#include "engine/layout.h"

#include "base/alloc.h"
#include "kernels/panels.h"
#include "os/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/*
 * Read at a time: enough for the calls to cost nothing, little enough to stay in a second-level cache while it is turned around.
 * Asked for ahead of that: so many chunks of all threads that the disk has work while memory for the panels is being cleared.
 */
enum { CHUNK_BYTES = 1 << 21, CHUNKS_AHEAD = 32, CHUNKS_AHEAD_MIN = 2 };

void an_layout_note(const an_weights_options *o, const char *fmt, ...)
{
    char text[1400];
    va_list ap;
    if (!o->note) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    o->note(o->note_ctx, text);
}

static uint64_t scale_row_bytes(const an_weight *w)
{
    if (!an_dtype_is_mlx(w->dtype)) return 0;
    return (uint64_t)(w->n_col / w->affine.group) * (uint64_t)an_dtype_get(w->affine.scale_dtype)->block_bytes;
}

an_weight an_layout_rows(const an_weight *w, int64_t row_begin, int64_t row_end)
{
    an_weight part = *w;
    uint64_t scales = (uint64_t)row_begin * scale_row_bytes(w);
    part.n_row = row_end - row_begin;
    part.data = (const char *)w->data + (uint64_t)row_begin * w->row_bytes;
    if (w->affine.scales) part.affine.scales = (const char *)w->affine.scales + scales;
    if (w->affine.biases) part.affine.biases = (const char *)w->affine.biases + scales;
    return part;
}

static void for_each_range(const an_weight *w, void (*fn)(const void *p, uint64_t n))
{
    uint64_t rows = (uint64_t)w->n_row, scales = rows * scale_row_bytes(w);
    fn(w->data, rows * w->row_bytes);
    if (w->affine.scales) fn(w->affine.scales, scales);
    if (w->affine.biases) fn(w->affine.biases, scales);
}

typedef struct lay_job {
    const an_layout_list *list;
    const an_kernels *k;
    char *block;                /* NULL: to the file */
    const an_file_writer *file;
    uint64_t file_offset;
    unsigned char **scratch;    /* [n_thread], for the file */
    atomic_int failed;          /* 1 once a thread has failed: its error is in `error` */
    anemo_error error;
} lay_job;

static int64_t chunk_rows(const an_weight *w)
{
    int64_t rows = (int64_t)(CHUNK_BYTES / (w->row_bytes + 2 * scale_row_bytes(w))) / AN_ROW_GRAIN * AN_ROW_GRAIN;
    return rows < AN_ROW_GRAIN ? AN_ROW_GRAIN : rows;
}

/* Rows begin..end-1 of one matrix into the file, through this thread's scratch. */
static void put_rows(lay_job *job, const an_laid_matrix *m, const an_weight *part, int64_t begin, unsigned char *scratch)
{
    anemo_error err;
    uint64_t at = job->file_offset + m->offset + an_panels_offset(m->from, begin);
    an_panels_write(job->k, part, scratch, 0, part->n_row);
    if (an_file_writer_put_at(job->file, at, scratch, (size_t)an_panels_bytes(part), &err) == ANEMO_OK) return;
    if (atomic_exchange(&job->failed, 1) == 0) job->error = err;
}

/* A thread's way through the list, a chunk of rows at a time: of every stage, its part of the rows of all matrices. */
typedef struct lay_way {
    const an_layout_list *list;
    int thread, n_thread;
    size_t next, stage_end; /* the matrix that comes next; behind the last of its stage */
    an_row_share share;     /* what of the stage is still to come */
    const an_laid_matrix *matrix;
    int64_t row, end;       /* what of `matrix` is still to come */
} lay_way;

static void begin_stage(lay_way *way)
{
    const an_laid_matrix *items = way->list->items;
    long grains = 0;
    for (; way->stage_end < way->list->n && items[way->stage_end].stage == items[way->next].stage; way->stage_end++)
        grains += an_row_grains(items[way->stage_end].from->n_row);
    way->share = (an_row_share){0};
    an_pool_share(grains, 1, way->thread, way->n_thread, &way->share.begin, &way->share.end);
}

/* The next chunk, rows begin..end-1 of way->matrix; false at the end. */
static bool next_chunk(lay_way *way, int64_t *begin, int64_t *end)
{
    while (way->row >= way->end) {
        if (way->next == way->list->n) return false;
        if (way->next == way->stage_end) begin_stage(way);
        way->matrix = &way->list->items[way->next++];
        an_row_share_next(&way->share, way->matrix->from->n_row, &way->row, &way->end);
    }
    int64_t step = chunk_rows(way->matrix->from);
    *begin = way->row;
    way->row = step < way->end - way->row ? way->row + step : way->end;
    *end = way->row;
    return true;
}

static void lay_thread(void *arg, int thread, int n_thread)
{
    lay_job *job = arg;
    lay_way way = {.list = job->list, .thread = thread, .n_thread = n_thread}, ahead = way;
    int most = CHUNKS_AHEAD / n_thread < CHUNKS_AHEAD_MIN ? CHUNKS_AHEAD_MIN : CHUNKS_AHEAD / n_thread;
    int64_t row, end;
    for (int n_ahead = 0; next_chunk(&way, &row, &end) && !atomic_load(&job->failed); n_ahead--) {
        int64_t from, to;
        for (; n_ahead <= most && next_chunk(&ahead, &from, &to); n_ahead++) {
            an_weight coming = an_layout_rows(ahead.matrix->from, from, to);
            for_each_range(&coming, an_mem_will_need);
        }
        an_weight part = an_layout_rows(way.matrix->from, row, end);
        if (job->block) an_panels_write(job->k, way.matrix->from, job->block + way.matrix->offset, row, end);
        else put_rows(job, way.matrix, &part, row, job->scratch[thread]);
        for_each_range(&part, an_file_release);
    }
}

/* One buffer a thread, as large as the panels of any chunk. */
static anemo_status open_scratch(lay_job *job, int n_thread, anemo_error *err)
{
    uint64_t most = 0;
    for (size_t i = 0; i < job->list->n; i++) {
        const an_weight *w = job->list->items[i].from;
        int64_t rows = chunk_rows(w);
        an_weight part = an_layout_rows(w, 0, rows < w->n_row ? rows : w->n_row);
        uint64_t bytes = an_panels_bytes(&part);
        if (bytes > most) most = bytes;
    }
    job->scratch = an_calloc((size_t)n_thread, sizeof *job->scratch);
    bool all = job->scratch != NULL;
    for (int i = 0; all && i < n_thread; i++) all = (job->scratch[i] = an_malloc_aligned((size_t)most)) != NULL;
    return all ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory for laying out weights");
}

anemo_status an_layout_write(const an_layout_list *list, const an_kernels *k, an_pool *pool, void *block,
                             const an_file_writer *file, uint64_t file_offset, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_thread = an_pool_n_thread(pool);
    lay_job job = {.list = list, .k = k, .block = block, .file = file, .file_offset = file_offset};
    if (!block) AN_TRY(open_scratch(&job, n_thread, err));
    an_pool_run(pool, lay_thread, &job);
    /* Pages that two chunks share stayed. */
    for (size_t i = 0; i < list->n; i++) for_each_range(list->items[i].from, an_file_release);
    if (atomic_load(&job.failed)) {
        status = job.error.status;
        if (err) *err = job.error;
    }
cleanup:
    for (int i = 0; job.scratch && i < n_thread; i++) an_free_aligned(job.scratch[i]);
    an_free(job.scratch);
    return status;
}
