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

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    const an_gguf_tensor *src;
    an_dtype type;
    size_t class_idx;
    const an_imatrix_entry *importance; /* NULL: all columns alike */
} job;

typedef struct run {
    const an_quantize_options *o;
    an_gguf *g;
    an_gguf_writer *writer;
    an_pool *pool;
    job *jobs; /* in the order of the file */
    size_t n_job;
    an_weight_classes classes;
    uint64_t total_bytes, file_bytes;
    size_t n_weighed, n_unweighed;
    const char *unweighed;
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

/* What the rules need to know about the model. The engines' reader refuses experts; here only their number matters. */
static anemo_status read_params(const an_gguf *g, an_mix_plan *m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t n_expert = 0, n_layer, n_head, n_head_kv;
    an_bytes arch = {0};
    an_arch_params *params = NULL;
    AN_TRY(an_gguf_get_str(g, "general.architecture", true, &arch, err));
    if (arch.len == 5 && !memcmp(arch.data, "llama", 5))
        AN_TRY(an_gguf_get_i64(g, "llama.expert_count", false, 0, 1024, &n_expert, err));
    if (n_expert > 0) {
        AN_TRY(an_gguf_get_i64(g, "llama.block_count", true, 1, 10000, &n_layer, err));
        AN_TRY(an_gguf_get_i64(g, "llama.attention.head_count", true, 1, 65536, &n_head, err));
        n_head_kv = n_head;
        AN_TRY(an_gguf_get_i64(g, "llama.attention.head_count_kv", false, 1, 65536, &n_head_kv, err));
        m->n_expert = (int)n_expert;
        m->n_layer = (int)n_layer;
        m->n_head = (int)n_head;
        m->n_head_kv = (int)n_head_kv;
    } else {
        params = an_calloc(1, sizeof *params);
        if (!params) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        AN_TRY(an_hparams_from_gguf(g, params, err));
        m->n_layer = params->hp.n_layer;
        m->n_head = params->hp.n_head;
        m->n_head_kv = params->hp.n_head_kv;
    }
cleanup:
    an_free(params);
    return status;
}

/* Sides of one in front do not count, as in ggml: a matrix of one row is a vector. */
static int n_dim_of(const an_gguf_tensor *t)
{
    int first = 0;
    while (first < t->n_dim - 1 && t->shape[first] == 1) first++;
    return t->n_dim - first;
}

static int64_t n_expert_of(const an_gguf_tensor *t)
{
    return t->n_dim > 2 ? t->shape[t->n_dim - 3] : 1;
}

static anemo_status find_importance(run *r, job *j, anemo_error *err)
{
    const an_gguf_tensor *t = j->src;
    if (!r->o->imatrix || j->type == t->dtype) return ANEMO_OK;
    uint64_t n = (uint64_t)t->shape[t->n_dim - 1] * (uint64_t)n_expert_of(t);
    const an_imatrix_entry *e = an_imatrix_find(r->o->imatrix, t->name);
    if (e && e->n == n) {
        j->importance = e;
        r->n_weighed++;
        return ANEMO_OK;
    }
    if (e && strcmp(t->name, "token_embd.weight") != 0)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: entry %s has %" PRIu64 " values, the tensor has %" PRIu64
                       " columns; this importance matrix belongs to another model",
                       r->o->imatrix_path, t->name, e->n, n);
    if (r->n_unweighed++ == 0) r->unweighed = t->name;
    return ANEMO_OK;
}

static anemo_status plan(run *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_quantize_options *o = r->o;
    an_mix_plan m = {.mix = o->mix,
                     .tied = !an_gguf_find_tensor(r->g, "output.weight"),
                     .has_importance = o->imatrix != NULL,
                     .keep_output = o->keep_output,
                     .pure = o->pure,
                     .output = o->output,
                     .embedding = o->embedding,
                     .overrides = o->overrides};
    AN_TRY(read_params(r->g, &m, err));
    r->n_job = an_gguf_n_tensor(r->g);
    r->jobs = an_calloc(r->n_job, sizeof *r->jobs);
    if (!r->jobs) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < r->n_job; i++) {
        r->jobs[i].src = an_gguf_tensor_at(r->g, i);
        m.n_value += an_mix_is_value(r->jobs[i].src->name);
    }
    qsort(r->jobs, r->n_job, sizeof *r->jobs, by_layer);
    for (size_t i = 0; i < r->n_job; i++) {
        job *j = &r->jobs[i];
        const an_gguf_tensor *t = j->src;
        if (!an_dtype_get(t->dtype)->weight && t->n_dim > 1)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s is %s, which is not read here", an_gguf_path(r->g),
                           t->name, an_ggml_type_name(t->ggml_type));
        AN_TRY(an_mix_type(&m, t->name, n_dim_of(t), t->shape[t->n_dim - 1], t->dtype, &j->type, err));
        if (!is_float(t->dtype) && t->n_dim > 1 && j->type != t->dtype && !o->allow_requantize)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: tensor %s is %s: quantizing it a second time costs quality that the first one still had; take "
                           "an F16, BF16 or F32 file, or say --allow-requantize",
                           an_gguf_path(r->g), t->name, an_ggml_type_name(t->ggml_type));
        r->total_bytes += t->bytes;
        AN_TRY(find_importance(r, j, err));
        AN_TRY(put_in_class(r, j, err));
    }
cleanup:
    return status;
}

/* ---- the header */

static const char imatrix_file[] = "quantize.imatrix.file", imatrix_dataset[] = "quantize.imatrix.dataset",
                  imatrix_entries[] = "quantize.imatrix.entries_count", imatrix_chunks[] = "quantize.imatrix.chunks_count";

/* The last four only when there is an importance matrix. */
static bool is_replaced(const run *r, const an_gguf_kv *kv)
{
    static const char *const keys[] = {"general.file_type", "general.quantization_version", "general.alignment",
                                       "split.no", "split.count", "split.tensors.count", imatrix_file, imatrix_dataset,
                                       imatrix_entries, imatrix_chunks};
    for (size_t i = 0; i < AN_COUNT_OF(keys) - (r->o->imatrix ? 0 : 4); i++)
        if (kv->key.len == strlen(keys[i]) && !memcmp(kv->key.data, keys[i], (size_t)kv->key.len)) return true;
    return false;
}

/* llama-quantize cuts texts here off after 127 bytes. */
static void put_text(run *r, const char *key, const char *text)
{
    char cut[128];
    snprintf(cut, sizeof cut, "%s", text);
    an_gguf_writer_str(r->writer, key, cut);
}

static void put_imatrix_keys(run *r)
{
    const an_imatrix *m = r->o->imatrix;
    put_text(r, imatrix_file, r->o->imatrix_path);
    if (an_imatrix_dataset(m)[0]) put_text(r, imatrix_dataset, an_imatrix_dataset(m));
    an_gguf_writer_u32(r->writer, imatrix_entries, (uint32_t)an_imatrix_n(m));
    if (an_imatrix_n_chunk(m) > 0) an_gguf_writer_u32(r->writer, imatrix_chunks, (uint32_t)an_imatrix_n_chunk(m));
}

/* Everything in front of the weights is declared to the writer. */
static anemo_status declare(run *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    enum { QUANTIZATION_VERSION = 2 };
    for (size_t i = 0; i < an_gguf_n_kv(r->g); i++)
        if (!is_replaced(r, an_gguf_kv_at(r->g, i))) an_gguf_writer_copy(r->writer, an_gguf_kv_at(r->g, i));
    an_gguf_writer_u32(r->writer, "general.quantization_version", QUANTIZATION_VERSION);
    an_gguf_writer_u32(r->writer, "general.file_type", r->o->mix->file_type);
    if (r->o->imatrix) put_imatrix_keys(r);
    for (size_t i = 0; i < r->n_job; i++) {
        const an_gguf_tensor *t = r->jobs[i].src;
        AN_TRY(an_gguf_writer_tensor(r->writer, t->name, r->jobs[i].type, t->n_dim, t->shape, err));
    }
    r->file_bytes = an_gguf_writer_bytes(r->writer);
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
                       .importance = j->importance ? j->importance->values : NULL,
                       .importance_rows = t->n_dim > 1 ? t->shape[t->n_dim - 2] : 1,
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
    *result = (an_quantize_result){.classes = r->classes,
                                   .source_bytes = r->total_bytes,
                                   .file_bytes = r->file_bytes,
                                   .n_weighed = r->n_weighed,
                                   .n_unweighed = r->n_unweighed};
    if (r->unweighed) snprintf(result->unweighed, sizeof result->unweighed, "%s", r->unweighed);
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
    if (!options->dry_run && !options->force && an_path_probe(dst) != AN_PATH_ABSENT) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
        goto cleanup;
    }
    AN_TRY(an_gguf_open(&r.g, src, err));
    AN_TRY(plan(&r, err));
    if (options->dry_run) {
        AN_TRY(an_gguf_writer_open_dry(&r.writer, src, err));
        AN_TRY(declare(&r, err));
    } else {
        AN_TRY(an_pool_open(&r.pool, options->n_thread, err));
        AN_TRY(an_gguf_writer_open(&r.writer, dst, err));
        AN_TRY(declare(&r, err));
        AN_TRY(an_gguf_writer_begin(r.writer, err));
        AN_TRY(write_weights(&r, err));
    }
    summarize(&r, result);
cleanup:
    an_gguf_writer_close(r.writer);
    an_pool_close(r.pool);
    an_weight_classes_free(&r.classes);
    an_free(r.jobs);
    an_gguf_close(r.g);
    return status;
}

void an_quantize_result_free(an_quantize_result *r)
{
    an_weight_classes_free(&r->classes);
    *r = (an_quantize_result){0};
}
