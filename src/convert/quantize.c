/* GGUF to GGUF: every tensor in slabs of rows over the threads of a pool. */
#include "convert/quantize.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "convert/rows.h"
#include "format/gguf_write.h"
#include "os/file.h"
#include "os/thread.h"
#include "quant/encode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLAB_VALUES = 1 << 22 };

typedef struct job {
    const an_gguf_tensor *src;
    an_dtype type;
    size_t class_idx;
} job;

typedef struct run {
    const an_quantize_options *o;
    an_gguf *g;
    an_gguf_writer *writer;
    an_pool *pool;
    job *jobs; /* in the order of the file */
    size_t n_job;
    an_weight_classes classes;
    uint64_t done_bytes, total_bytes;
} run;

/* One slab of one tensor, and what the threads found in it. */
typedef struct slab {
    const job *j;
    int64_t row, n_row, n_col;
    uint64_t src_row_bytes, dst_row_bytes;
    unsigned char *out;
    float *values; /* per thread: a row as read, then as it will be decoded */
    struct {
        double sum_sq, sum_sq_error;
        int64_t bad; /* element of the tensor that is not finite; -1 */
    } part[];
} slab;

/* ---- the plan */

static bool is_float(an_dtype type)
{
    return type == AN_DTYPE_F32 || type == AN_DTYPE_F16 || type == AN_DTYPE_BF16;
}

/* "blk.3.ffn_down.weight" is ffn_down. */
static void kind_of(const an_gguf_tensor *t, char kind[AN_CLASS_KIND_MAX])
{
    int layer;
    const char *name = t->name;
    if (t->n_dim < 2) name = "norms and vectors";
    else (void)an_mix_layer_of(t->name, &layer, &name);
    size_t n = strcspn(name, ".");
    snprintf(kind, AN_CLASS_KIND_MAX, "%.*s", (int)n, name);
}

static anemo_status put_in_class(run *r, job *j, anemo_error *err)
{
    char kind[AN_CLASS_KIND_MAX];
    const an_dtype_info *info = an_dtype_get(j->type);
    uint64_t n = 1;
    kind_of(j->src, kind);
    for (int d = 0; d < j->src->n_dim; d++) n *= (uint64_t)j->src->shape[d];
    return an_weight_classes_add(&r->classes, kind, info->name, n,
                                 n / (uint64_t)info->block_elems * (uint64_t)info->block_bytes, &j->class_idx, err);
}

/* llama.cpp's quantizer writes what has no layer first, by name, then layer by layer, each by name. */
static int by_layer(const void *a, const void *b)
{
    const char *x = ((const job *)a)->src->name, *y = ((const job *)b)->src->name;
    int layer_x = -1, layer_y = -1;
    if (sscanf(x, "blk.%d.", &layer_x) != 1) layer_x = -1;
    if (sscanf(y, "blk.%d.", &layer_y) != 1) layer_y = -1;
    if (layer_x != layer_y) return layer_x < layer_y ? -1 : 1;
    return strcmp(x, y);
}

static anemo_status plan(run *r, const an_arch_params *params, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_mix_model m = {params->hp.n_layer, params->hp.n_head, params->hp.n_head_kv,
                            !an_gguf_find_tensor(r->g, "output.weight")};
    r->n_job = an_gguf_n_tensor(r->g);
    r->jobs = an_calloc(r->n_job, sizeof *r->jobs);
    if (!r->jobs) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r->n_job; i++) r->jobs[i].src = an_gguf_tensor_at(r->g, i);
    qsort(r->jobs, r->n_job, sizeof *r->jobs, by_layer);
    for (size_t i = 0; i < r->n_job; i++) {
        job *j = &r->jobs[i];
        const an_gguf_tensor *t = j->src;
        if (!an_dtype_get(t->dtype)->weight && t->n_dim > 1)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s is %s, which is not read here", an_gguf_path(r->g),
                           t->name, an_ggml_type_name(t->ggml_type));
        j->type = an_mix_type(r->o->mix, &m, t->name, t->n_dim, t->shape[t->n_dim - 1], t->dtype, r->o->keep_output);
        if (!is_float(t->dtype) && t->n_dim > 1 && !r->o->allow_requantize)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: tensor %s is %s: quantizing it a second time costs quality that the first one still had; take "
                           "an F16, BF16 or F32 file, or say --allow-requantize",
                           an_gguf_path(r->g), t->name, an_ggml_type_name(t->ggml_type));
        r->total_bytes += t->bytes;
        AN_TRY(put_in_class(r, j, err));
    }
cleanup:
    return status;
}

/* ---- the header */

static bool is_replaced(const an_gguf_kv *kv)
{
    static const char *const keys[] = {"general.file_type", "general.quantization_version", "general.alignment",
                                       "split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < AN_COUNT_OF(keys); i++)
        if (kv->key.len == strlen(keys[i]) && !memcmp(kv->key.data, keys[i], (size_t)kv->key.len)) return true;
    return false;
}

static anemo_status write_header(run *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    enum { QUANTIZATION_VERSION = 2 };
    for (size_t i = 0; i < an_gguf_n_kv(r->g); i++)
        if (!is_replaced(an_gguf_kv_at(r->g, i))) an_gguf_writer_copy(r->writer, an_gguf_kv_at(r->g, i));
    an_gguf_writer_u32(r->writer, "general.quantization_version", QUANTIZATION_VERSION);
    an_gguf_writer_u32(r->writer, "general.file_type", r->o->mix->file_type);
    for (size_t i = 0; i < r->n_job; i++) {
        const an_gguf_tensor *t = r->jobs[i].src;
        AN_TRY(an_gguf_writer_tensor(r->writer, t->name, r->jobs[i].type, t->n_dim, t->shape, err));
    }
    AN_TRY(an_gguf_writer_begin(r->writer, err));
cleanup:
    return status;
}

/* ---- the weights */

static void encode_share(void *arg, int thread, int n_thread)
{
    slab *s = arg;
    long begin, end;
    float *row = s->values + 2 * s->n_col * thread, *back = row + s->n_col;
    an_pool_share((long)s->n_row, 1, thread, n_thread, &begin, &end);
    for (long i = begin; i < end && s->part[thread].bad < 0; i++) {
        unsigned char *out = s->out + (uint64_t)i * s->dst_row_bytes;
        const unsigned char *in = (const unsigned char *)s->j->src->data + (uint64_t)(s->row + i) * s->src_row_bytes;
        an_rows_decode(s->j->src->dtype, in, row, s->n_col);
        int64_t bad = an_rows_find_nonfinite(row, s->n_col);
        if (bad >= 0) {
            s->part[thread].bad = (s->row + i) * s->n_col + bad;
            return;
        }
        an_rows_encode(s->j->type, row, 1, s->n_col, out);
        an_rows_decode(s->j->type, out, back, s->n_col);
        an_rows_square_sums(row, back, s->n_col, &s->part[thread].sum_sq, &s->part[thread].sum_sq_error);
    }
}

/* Add up what the threads found; the sums' order depends on the threads, so they are for reading, not for comparing. */
static anemo_status collect(const run *r, slab *s, int n_thread, double *sum_sq, double *sum_sq_error, anemo_error *err)
{
    for (int t = 0; t < n_thread; t++) {
        if (s->part[t].bad >= 0)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: tensor %s: element %" PRId64 " is infinite or NaN, so the model is damaged; nothing was written",
                           an_gguf_path(r->g), s->j->src->name, s->part[t].bad);
        *sum_sq += s->part[t].sum_sq;
        *sum_sq_error += s->part[t].sum_sq_error;
        s->part[t].sum_sq = s->part[t].sum_sq_error = 0;
    }
    return ANEMO_OK;
}

static anemo_status step_on(run *r, uint64_t bytes, anemo_error *err)
{
    r->done_bytes += bytes;
    if (r->o->progress) r->o->progress(r->o->progress_ctx, r->done_bytes, r->total_bytes);
    if (r->o->stop && *r->o->stop) return an_fail(err, ANEMO_ERR_INTERRUPTED, "interrupted; nothing was written");
    return ANEMO_OK;
}

static anemo_status encode_tensor(run *r, const job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_dtype_info *from = an_dtype_get(j->src->dtype), *to = an_dtype_get(j->type);
    int n_thread = an_pool_n_thread(r->pool);
    int64_t n_col = j->src->shape[j->src->n_dim - 1], n_row = 1;
    for (int d = 0; d < j->src->n_dim - 1; d++) n_row *= j->src->shape[d];
    int64_t rows_max = an_max_i64(SLAB_VALUES / (n_col ? n_col : 1), n_thread);
    double sum_sq = 0, sum_sq_error = 0;
    slab *s = an_calloc(1, sizeof *s + (size_t)n_thread * sizeof s->part[0]);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    s->j = j;
    s->n_col = n_col;
    s->src_row_bytes = (uint64_t)(n_col / from->block_elems) * (uint64_t)from->block_bytes;
    s->dst_row_bytes = (uint64_t)(n_col / to->block_elems) * (uint64_t)to->block_bytes;
    s->out = an_malloc((size_t)an_min_i64(rows_max, n_row) * (size_t)s->dst_row_bytes);
    s->values = an_malloc((size_t)n_thread * 2 * (size_t)n_col * sizeof *s->values);
    if (!s->out || !s->values) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory for tensor %s", an_gguf_path(r->g), j->src->name);
        goto cleanup;
    }
    for (int t = 0; t < n_thread; t++) s->part[t].bad = -1;
    for (s->row = 0; s->row < n_row; s->row += s->n_row) {
        s->n_row = an_min_i64(rows_max, n_row - s->row);
        an_pool_run(r->pool, encode_share, s);
        AN_TRY(collect(r, s, n_thread, &sum_sq, &sum_sq_error, err));
        AN_TRY(an_gguf_writer_put(r->writer, s->out, (uint64_t)s->n_row * s->dst_row_bytes, err));
        AN_TRY(step_on(r, (uint64_t)s->n_row * s->src_row_bytes, err));
    }
    an_weight_classes_error(&r->classes, j->class_idx, j->src->name, sum_sq, sum_sq_error);
cleanup:
    an_free(s->values);
    an_free(s->out);
    an_free(s);
    return status;
}

static anemo_status write_weights(run *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < r->n_job; i++) {
        const job *j = &r->jobs[i];
        if (j->type == j->src->dtype && !is_float(j->type)) {
            AN_TRY(an_gguf_writer_put(r->writer, j->src->data, j->src->bytes, err));
            AN_TRY(step_on(r, j->src->bytes, err));
        } else if (j->src->bytes > 0) {
            AN_TRY(encode_tensor(r, j, err));
        }
        an_file_release(j->src->data, j->src->bytes);
    }
    AN_TRY(an_gguf_writer_commit(r->writer, err));
cleanup:
    return status;
}

static void summarize(run *r, an_quantize_result *result)
{
    *result = (an_quantize_result){.classes = r->classes, .source_bytes = r->total_bytes};
    for (size_t i = 0; i < r->classes.n; i++) {
        result->n_weight += r->classes.items[i].n_weight;
        result->bytes += r->classes.items[i].bytes;
    }
    r->classes = (an_weight_classes){0};
}

anemo_status an_quantize_gguf(const char *src, const char *dst, const an_quantize_options *options,
                              an_quantize_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    run r = {.o = options};
    an_arch_params *params = an_calloc(1, sizeof *params);
    if (!params) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (!options->dry_run && !options->force && an_path_probe(dst) != AN_PATH_ABSENT) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
        goto cleanup;
    }
    AN_TRY(an_gguf_open(&r.g, src, err));
    AN_TRY(an_hparams_from_gguf(r.g, params, err));
    AN_TRY(plan(&r, params, err));
    if (!options->dry_run) {
        AN_TRY(an_pool_open(&r.pool, options->n_thread, err));
        AN_TRY(an_gguf_writer_open(&r.writer, dst, err));
        AN_TRY(write_header(&r, err));
        AN_TRY(write_weights(&r, err));
    }
    summarize(&r, result);
cleanup:
    an_gguf_writer_close(r.writer);
    an_pool_close(r.pool);
    an_weight_classes_free(&r.classes);
    an_free(r.jobs);
    an_gguf_close(r.g);
    an_free(params);
    return status;
}

void an_quantize_result_free(an_quantize_result *r)
{
    an_weight_classes_free(&r->classes);
    *r = (an_quantize_result){0};
}
