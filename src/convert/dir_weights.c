/*
 * The weights of a directory: shards of at most 5 GiB, filled weight by weight. Threads take rows, make the bytes of a slab
 * and write them where they belong, so that no tensor is ever whole in memory.
 */
#include "convert/convert_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "format/safetensors.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/thread.h"
#include "quant/dequant.h"
#include "quant/encode.h"
#include "quant/mlx_repack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHARD_BYTES_MAX (UINT64_C(5) << 30)

enum {
    SLAB_BYTES = 512 << 10, /* what a thread writes at once, or one row */
    STEP_BYTES = 64 << 20,  /* between two looks at progress and interruption */
    N_PART = 3,             /* codes, scales, biases; a plain tensor has one */
};

/* One tensor of the output. */
typedef struct part {
    char name[AN_TENSOR_NAME_MAX + 16];
    an_dtype dtype;
    int64_t n_col;
    uint64_t row_bytes;
    size_t entry; /* its place in the shard's writer */
} part;

/* What one thread has of its own. */
typedef struct worker {
    unsigned char *slab[N_PART];
    unsigned char *typed; /* a row in the type it is quantized from */
    float *row, *back;
    double sum_sq, sum_sq_error;
    bool rounded;
    anemo_status status;
    anemo_error err;
} worker;

typedef struct writing {
    const an_dir_plan *plan;
    const an_convert_options *options;
    an_convert_result *result;
    an_pool *pool;
    worker *workers;
    uint32_t isa;
    size_t *shard; /* [plan->n] */
    size_t n_shard;
    an_st_writer *writer; /* of the present shard */
    uint64_t done_bytes;
    /* the present weight */
    const an_dir_weight *w;
    part parts[N_PART];
    int n_part;
    int64_t row, n_row;     /* what the threads share now */
    int64_t slab_rows;
} writing;

/* ---- the tensors of a weight */

static void part_name(const an_dir_weight *w, int k, char *out, size_t cap)
{
    static const char *const tails[] = {".weight", ".scales", ".biases"};
    snprintf(out, cap, "%s%s", w->path, w->bias ? ".bias" : tails[k]);
}

static int make_parts(const an_dir_weight *w, part parts[N_PART])
{
    int64_t n = w->src->n_col;
    uint64_t size = (uint64_t)an_dtype_get(w->dtype)->block_bytes;
    for (int k = 0; k < N_PART; k++) {
        parts[k] = (part){0};
        part_name(w, k, parts[k].name, sizeof parts[k].name);
    }
    if (!an_dir_is_grouped(w)) {
        parts[0].dtype = w->dtype;
        parts[0].n_col = n;
        parts[0].row_bytes = (uint64_t)n * size;
        return 1;
    }
    const bool affine = w->form.mode == AN_MLX_AFFINE;
    parts[0].dtype = AN_DTYPE_U32;
    parts[0].n_col = n * w->form.bits / 32;
    parts[0].row_bytes = (uint64_t)parts[0].n_col * 4;
    for (int k = 1; k < N_PART; k++) {
        parts[k].dtype = affine ? w->dtype : AN_DTYPE_U8;
        parts[k].n_col = n / w->form.group;
        parts[k].row_bytes = (uint64_t)parts[k].n_col * (affine ? size : 1);
    }
    return affine ? 3 : 2;
}

static uint64_t bytes_of(const an_dir_weight *w)
{
    part parts[N_PART];
    uint64_t sum = 0;
    for (int k = make_parts(w, parts); k-- > 0;) sum += parts[k].row_bytes * (uint64_t)w->src->n_row;
    return sum;
}

/* Greedy: a weight that does not fit any more begins a new shard; a larger one has its own. */
static void share_out(writing *wr)
{
    uint64_t filled = 0;
    for (size_t i = 0; i < wr->plan->n; i++) {
        uint64_t bytes = bytes_of(&wr->plan->weights[i]);
        if (filled > 0 && filled + bytes > SHARD_BYTES_MAX) {
            wr->n_shard++;
            filled = 0;
        }
        filled += bytes;
        wr->shard[i] = wr->n_shard;
    }
    wr->n_shard++;
}

static void shard_name(const writing *wr, size_t shard, char out[48])
{
    if (wr->n_shard == 1) snprintf(out, 48, "model.safetensors");
    else snprintf(out, 48, "model-%05zu-of-%05zu.safetensors", shard + 1, wr->n_shard);
}

/* ---- rows */

static const unsigned char *stored_row(const an_dir_weight *w, int64_t row)
{
    return (const unsigned char *)w->src->w.data + (uint64_t)row * w->src->w.row_bytes;
}

static anemo_status bad_value(const writing *wr, int64_t row, int64_t col, anemo_error *err)
{
    const an_source_tensor *t = wr->w->src;
    return an_fail(err, ANEMO_ERR_FORMAT,
                   "%s: tensor %s: element %" PRId64 " is infinite or NaN, or its scale is; the model is damaged and nothing was "
                   "written",
                   wr->plan->source->path, t->name, row * t->n_col + col);
}

/* A row decoded, checked and rounded to the type that is written or quantized from. */
static anemo_status round_row(const writing *wr, worker *k, int64_t row, unsigned char *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_dir_weight *w = wr->w;
    int64_t n = w->src->n_col;
    AN_TRY(an_source_rows_in(wr->plan->source, w->src, AN_ROPE_HALF_SPLIT, row, 1, k->row, err));
    int64_t bad = an_find_nonfinite(k->row, n);
    if (bad >= 0) return bad_value(wr, row, bad, err);
    an_plain_from_f32(w->dtype, k->row, n, out);
    if (w->dtype == AN_DTYPE_F32) return ANEMO_OK;
    an_dequant(w->dtype, out, k->back, n);
    bad = an_find_nonfinite(k->back, n);
    if (bad >= 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s: element %" PRId64 " is %g, beyond the range of %s; take --dtype %s",
                       wr->plan->source->path, w->src->name, row * n + bad, (double)k->row[bad], an_dtype_get(w->dtype)->name,
                       w->dtype == AN_DTYPE_F16 ? "bf16" : "f32");
    if (!memcmp(k->row, k->back, (size_t)n * sizeof *k->row)) return ANEMO_OK;
    for (int64_t i = 0; i < n; i++) {
        double x = (double)k->row[i], diff = x - (double)k->back[i];
        k->sum_sq += x * x;
        k->sum_sq_error += diff * diff;
        if (diff != 0) k->rounded = true;
    }
cleanup:
    return status;
}

static anemo_status repack_row(const writing *wr, int64_t row, unsigned char *const out[N_PART], anemo_error *err)
{
    const an_source_tensor *t = wr->w->src;
    int64_t from = an_source_row_in(wr->plan->source, t, AN_ROPE_HALF_SPLIT, row);
    int64_t bad = an_mlx_repack(t->w.dtype, stored_row(wr->w, from), t->n_col, out[0], out[1], out[2]);
    if (bad < 0) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: tensor %s: the block of element %" PRId64 " has a scale that is no number or whose offset is beyond the "
                   "range of f16; it cannot be converted exactly",
                   wr->plan->source->path, t->name, from * t->n_col + bad);
}

static anemo_status copy_groups(const writing *wr, worker *w, int64_t row, unsigned char *const out[N_PART], anemo_error *err)
{
    const an_weight *src = &wr->w->src->w;
    const an_affine *a = &src->affine;
    const void *from[] = {a->scales, a->biases};
    int64_t bad = -1;
    if (an_dtype_is_fp_mode(src->dtype)) {
        an_weight_row_f32(src, row, w->row);
        bad = an_find_nonfinite(w->row, src->n_col);
        if (bad >= 0) return bad_value(wr, row, bad, err);
    }
    memcpy(out[0], stored_row(wr->w, row), (size_t)wr->parts[0].row_bytes);
    for (int k = 1; k < wr->n_part; k++) {
        const unsigned char *p = (const unsigned char *)from[k - 1] + (uint64_t)row * wr->parts[k].row_bytes;
        if (src->dtype == AN_DTYPE_AFFINE) bad = an_plain_find_nonfinite(a->scale_dtype, p, wr->parts[k].n_col);
        if (bad >= 0) return bad_value(wr, row, bad * a->group, err);
        memcpy(out[k], p, (size_t)wr->parts[k].row_bytes);
    }
    return ANEMO_OK;
}

static anemo_status encode_row(const writing *wr, worker *k, int64_t row, unsigned char *const out[N_PART], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_source_tensor *t = wr->w->src;
    an_mlx_row r = {wr->w->dtype, k->typed, t->n_col, out[0], out[1], out[2], 0, 0};
    int64_t from = an_source_row_in(wr->plan->source, t, AN_ROPE_HALF_SPLIT, row);
    if (t->w.data && t->w.dtype == wr->w->dtype) r.x = stored_row(wr->w, from);
    else AN_TRY(round_row(wr, k, row, k->typed, err));
    if (!an_mlx_encode(&wr->w->form, wr->isa, &r)) {
        int64_t bad = an_plain_find_nonfinite(r.from, r.x, r.n);
        return bad_value(wr, from, bad < 0 ? 0 : bad, err);
    }
    k->sum_sq += r.sum_sq;
    k->sum_sq_error += r.sum_sq_error;
    k->rounded = true;
cleanup:
    return status;
}

static anemo_status copy_row(const writing *wr, worker *k, int64_t row, unsigned char *out, anemo_error *err)
{
    const an_source_tensor *t = wr->w->src;
    if (t->rotated && t->n_dim == 1) return round_row(wr, k, row, out, err);
    int64_t from = an_source_row_in(wr->plan->source, t, AN_ROPE_HALF_SPLIT, row);
    int64_t bad = an_plain_find_nonfinite(wr->w->dtype, stored_row(wr->w, from), t->n_col);
    if (bad >= 0) return bad_value(wr, from, bad, err);
    memcpy(out, stored_row(wr->w, from), (size_t)wr->parts[0].row_bytes);
    return ANEMO_OK;
}

static anemo_status make_row(const writing *wr, worker *k, int64_t row, unsigned char *const out[N_PART], anemo_error *err)
{
    switch (wr->w->how) {
    case AN_DIR_COPY: return copy_row(wr, k, row, out[0], err);
    case AN_DIR_FLOAT: return round_row(wr, k, row, out[0], err);
    case AN_DIR_REPACK: return repack_row(wr, row, out, err);
    case AN_DIR_GROUPS: return copy_groups(wr, k, row, out, err);
    case AN_DIR_ENCODE: break;
    }
    return encode_row(wr, k, row, out, err);
}

/* A thread's rows of the present step, slab by slab. */
static anemo_status write_rows(const writing *wr, worker *k, int64_t begin, int64_t end, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (int64_t row = begin; row < end; row += wr->slab_rows) {
        int64_t n = an_min_i64(wr->slab_rows, end - row);
        for (int64_t i = 0; i < n; i++) {
            unsigned char *out[N_PART];
            for (int p = 0; p < N_PART; p++) out[p] = k->slab[p] + (uint64_t)i * wr->parts[p].row_bytes;
            AN_TRY(make_row(wr, k, row + i, out, err));
        }
        for (int p = 0; p < wr->n_part; p++) {
            uint64_t bytes = wr->parts[p].row_bytes;
            AN_TRY(an_st_writer_put_at(wr->writer, wr->parts[p].entry, (uint64_t)row * bytes, k->slab[p], (uint64_t)n * bytes, err));
        }
    }
cleanup:
    return status;
}

static void run_share(void *arg, int thread, int n_thread)
{
    writing *wr = arg;
    worker *k = &wr->workers[thread];
    long begin, end;
    an_pool_share((long)wr->n_row, 1, thread, n_thread, &begin, &end);
    k->status = write_rows(wr, k, wr->row + begin, wr->row + end, &k->err);
}

/* ---- a weight, a shard, all of them */

static anemo_status open_workers(writing *wr, int n_thread, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t n_col = 1, slab[N_PART] = {1, 1, 1};
    for (size_t i = 0; i < wr->plan->n; i++) {
        part parts[N_PART];
        const an_dir_weight *w = &wr->plan->weights[i];
        make_parts(w, parts);
        n_col = (uint64_t)an_max_i64((int64_t)n_col, w->src->n_col);
        uint64_t rows = parts[0].row_bytes ? SLAB_BYTES / parts[0].row_bytes : 1;
        for (int p = 0; p < N_PART; p++) {
            uint64_t bytes = (rows ? rows : 1) * (an_dir_is_grouped(w) || p == 0 ? parts[p].row_bytes : 0);
            if (bytes > slab[p]) slab[p] = bytes;
        }
    }
    AN_TRY(an_pool_open(&wr->pool, n_thread, err));
    wr->workers = an_calloc((size_t)n_thread, sizeof *wr->workers);
    bool ok = wr->workers != NULL;
    for (int t = 0; ok && t < n_thread; t++) {
        worker *k = &wr->workers[t];
        for (int p = 0; p < N_PART; p++) ok = (k->slab[p] = an_malloc((size_t)slab[p])) && ok;
        k->typed = an_malloc((size_t)n_col * 4);
        k->row = an_malloc((size_t)n_col * sizeof *k->row);
        k->back = an_malloc((size_t)n_col * sizeof *k->back);
        ok = ok && k->typed && k->row && k->back;
    }
    if (!ok) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    return status;
}

static void close_workers(writing *wr)
{
    for (int t = 0; wr->workers && t < an_pool_n_thread(wr->pool); t++) {
        worker *k = &wr->workers[t];
        for (int p = 0; p < N_PART; p++) an_free(k->slab[p]);
        an_free(k->typed);
        an_free(k->row);
        an_free(k->back);
    }
    an_free(wr->workers);
    an_pool_close(wr->pool);
}

static size_t find_entry(const an_st_writer *w, const char *name)
{
    size_t i = 0;
    while (strcmp(an_st_writer_order(w, i), name)) i++;
    return i;
}

static anemo_status write_weight(writing *wr, const an_dir_weight *w, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_source_tensor *t = w->src;
    double sum_sq = 0, sum_sq_error = 0;
    bool rounded = false;
    wr->w = w;
    wr->n_part = make_parts(w, wr->parts);
    for (int p = wr->n_part; p < N_PART; p++) wr->parts[p].row_bytes = 0;
    uint64_t row_bytes = wr->parts[0].row_bytes, all_bytes = row_bytes + wr->parts[1].row_bytes + wr->parts[2].row_bytes;
    if (row_bytes == 0 || t->n_row == 0) return ANEMO_OK;
    for (int p = 0; p < wr->n_part; p++) wr->parts[p].entry = find_entry(wr->writer, wr->parts[p].name);
    wr->slab_rows = an_max_i64(1, (int64_t)(SLAB_BYTES / row_bytes));
    int64_t step = an_max_i64(1, STEP_BYTES / (t->n_col * 2));
    for (wr->row = 0; wr->row < t->n_row; wr->row += wr->n_row) {
        wr->n_row = an_min_i64(step, t->n_row - wr->row);
        an_pool_run(wr->pool, run_share, wr);
        for (int k = 0; k < an_pool_n_thread(wr->pool); k++)
            if (wr->workers[k].status != ANEMO_OK) {
                if (err) *err = wr->workers[k].err;
                return wr->workers[k].status;
            }
        wr->done_bytes += (uint64_t)wr->n_row * all_bytes;
        if (wr->options->progress) wr->options->progress(wr->options->progress_ctx, wr->done_bytes, wr->plan->bytes);
        if (wr->options->stop && *wr->options->stop) {
            status = an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; nothing was written");
            goto cleanup;
        }
    }
    for (int k = 0; k < an_pool_n_thread(wr->pool); k++) {
        worker *one = &wr->workers[k];
        sum_sq += one->sum_sq;
        sum_sq_error += one->sum_sq_error;
        rounded = rounded || one->rounded;
        one->sum_sq = one->sum_sq_error = 0;
        one->rounded = false;
    }
    if (rounded) {
        wr->result->n_rounded++;
        an_weight_classes_error(&wr->result->classes, w->class_idx, t->name, sum_sq, sum_sq_error);
    }
    an_source_release(wr->plan->source, t);
cleanup:
    return status;
}

static anemo_status declare(writing *wr, const an_dir_weight *w, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    part parts[N_PART];
    int n = make_parts(w, parts);
    for (int p = 0; p < n; p++) {
        const int64_t matrix[] = {w->src->n_row, parts[p].n_col};
        AN_TRY(an_st_writer_declare(wr->writer, parts[p].name, parts[p].dtype, w->src->n_dim,
                                    w->src->n_dim == 1 ? matrix + 1 : matrix, err));
    }
cleanup:
    return status;
}

static anemo_status write_shard(writing *wr, size_t shard, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    static const char *const kinds[] = {"GGUF", "MLX", "Hugging Face", "Mistral"};
    const an_dir_plan *plan = wr->plan;
    char name[48];
    shard_name(wr, shard, name);
    char *path = an_path_join(dir, name);
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_st_writer_open(&wr->writer, path, err));
    for (size_t i = 0; i < plan->n; i++)
        if (wr->shard[i] == shard) AN_TRY(declare(wr, &plan->weights[i], err));
    AN_TRY(an_st_writer_note(wr->writer, "anemo.source", kinds[plan->source->kind], err));
    AN_TRY(an_st_writer_note(wr->writer, "anemo.weights", plan->all_exact ? "exactly the source's" : "rounded", err));
    AN_TRY(an_st_writer_begin(wr->writer, plan->mlx ? "mlx" : "pt", err));
    for (size_t i = 0; i < plan->n; i++)
        if (wr->shard[i] == shard) AN_TRY(write_weight(wr, &plan->weights[i], err));
    AN_TRY(an_st_writer_commit(wr->writer, err));
cleanup:
    an_st_writer_close(wr->writer);
    wr->writer = NULL;
    an_free(path);
    return status;
}

/* model.safetensors.index.json: always there, also for one file. */
static anemo_status write_index(const writing *wr, const char *dir, anemo_error *err)
{
    json_t *map = json_object();
    for (size_t i = 0; i < wr->plan->n; i++) {
        part parts[N_PART];
        char file[48];
        shard_name(wr, wr->shard[i], file);
        for (int p = make_parts(&wr->plan->weights[i], parts); p-- > 0;)
            json_object_set_new(map, parts[p].name, json_string(file));
    }
    json_t *root = json_pack("{s:{s:I,s:I},s:o}", "metadata", "total_size", (json_int_t)wr->plan->bytes, "total_parameters",
                             (json_int_t)wr->plan->n_param, "weight_map", map);
    if (!root) json_decref(map);
    return an_mlx_write_json(dir, "model.safetensors.index.json", root, JSON_INDENT(4) | JSON_SORT_KEYS, err);
}

anemo_status an_dir_write_weights(const an_dir_plan *plan, const char *dir, const an_convert_options *options,
                                  an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    writing wr = {.plan = plan, .options = options, .result = result, .isa = an_cpu_isa()};
    wr.shard = an_calloc(plan->n, sizeof *wr.shard);
    if (!wr.shard) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    share_out(&wr);
    AN_TRY(open_workers(&wr, options->n_thread > 0 ? options->n_thread : 1, err));
    for (size_t i = 0; i < wr.n_shard; i++) AN_TRY(write_shard(&wr, i, dir, err));
    AN_TRY(write_index(&wr, dir, err));
cleanup:
    close_workers(&wr);
    an_free(wr.shard);
    return status;
}
