/* GGUF to GGUF: the plan of types, the header, every tensor through the encoding stream. */
#include "convert/quantize.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "convert/encode_stream.h"
#include "convert/rows.h"
#include "format/gguf_write.h"
#include "os/file.h"
#include "os/thread.h"
#include "quant/encode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    uint64_t total_bytes;
} run;

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

/* A tensor's rows as they lie in the file. */
static anemo_status rows_of_file(void *ctx, int64_t row, int64_t n, float *out, anemo_error *err)
{
    const an_gguf_tensor *t = ctx;
    int64_t n_col = t->shape[t->n_dim - 1];
    const an_dtype_info *info = an_dtype_get(t->dtype);
    uint64_t offset = (uint64_t)row * (uint64_t)(n_col / info->block_elems) * (uint64_t)info->block_bytes;
    (void)err;
    an_rows_decode(t->dtype, (const unsigned char *)t->data + offset, out, n * n_col);
    return ANEMO_OK;
}

static anemo_status write_tensor(run *r, an_encode_stream *stream, const job *j, anemo_error *err)
{
    const an_gguf_tensor *t = j->src;
    if (j->type == t->dtype && !is_float(j->type)) return an_encode_stream_copy(stream, t->data, t->bytes, err);
    an_encode_job e = {.path = an_gguf_path(r->g),
                       .name = t->name,
                       .n_row = 1,
                       .n_col = t->shape[t->n_dim - 1],
                       .type = j->type,
                       .rows = rows_of_file,
                       .ctx = (void *)(uintptr_t)t,
                       .class_idx = j->class_idx,
                       .source_bytes = t->bytes};
    for (int d = 0; d < t->n_dim - 1; d++) e.n_row *= t->shape[d];
    return an_encode_stream_matrix(stream, &e, err);
}

static anemo_status write_weights(run *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_encode_stream stream = {.pool = r->pool,
                               .put = an_encode_put_gguf,
                               .put_ctx = r->writer,
                               .classes = &r->classes,
                               .progress = r->o->progress,
                               .progress_ctx = r->o->progress_ctx,
                               .stop = r->o->stop,
                               .total_bytes = r->total_bytes};
    for (size_t i = 0; i < r->n_job; i++) {
        AN_TRY(write_tensor(r, &stream, &r->jobs[i], err));
        an_file_release(r->jobs[i].src->data, r->jobs[i].src->bytes);
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
