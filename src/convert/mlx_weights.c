/* Weights of a GGUF model as an MLX directory holds them: the plan, and the repacking of blocks
 * into groups. */
#include "convert/convert_internal.h"

#include "arch/tensor_table.h"
#include "base/alloc.h"
#include "base/bytes.h"
#include "format/name_index.h"
#include "os/file.h"
#include "quant/half.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP = 32, CHUNK_BYTES = 1 << 20 };

/* Width of the affine groups that hold a block type exactly; 0 for types that are copied, -1 for
 * all others. */
static int affine_bits(an_dtype dtype)
{
    switch (dtype) {
    case AN_DTYPE_Q4_0:
    case AN_DTYPE_Q4_1:
        return 4;
    case AN_DTYPE_Q8_0:
        return 8;
    case AN_DTYPE_F32:
    case AN_DTYPE_F16:
    case AN_DTYPE_BF16:
        return 0;
    default:
        return -1;
    }
}

static anemo_status add_weight(an_mlx_plan *plan, const an_tensor_rule *rule, int layer,
                               const an_gguf_tensor *t, const an_hparams *hp, anemo_error *err)
{
    char path[AN_TENSOR_NAME_MAX];
    size_t n_prefix;
    if (plan->n == plan->cap) {
        size_t cap = plan->cap ? plan->cap * 2 : 64;
        an_mlx_weight *grown = an_realloc(plan->weights, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        plan->weights = grown;
        plan->cap = cap;
    }
    an_tensor_path_hf(rule, &an_hf_prefixes(&n_prefix)[0], layer, path);
    an_mlx_weight *w = &plan->weights[plan->n];
    *w = (an_mlx_weight){.src = t, .bias = rule->bias, .bits = affine_bits(t->dtype)};
    if (an_field_is_rotated(rule->field) && hp->rope_rows == AN_ROPE_INTERLEAVED) w->head_dim = hp->head_dim;
    /* A bias is a column: its elements are the rows that move. */
    w->n_row = t->n_dim == 2 || rule->bias ? t->shape[0] : 1;
    w->n_col = t->n_dim == 2 ? t->shape[1] : rule->bias ? 1 : t->shape[0];
    w->path = an_strdup(path);
    if (!w->path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    plan->n++;
    return ANEMO_OK;
}

/* The scale of a Q8_0 or Q4_0 block times its offset must still be an f16, and scales must be
 * numbers. */
static anemo_status check_scales(const an_gguf_tensor *t, anemo_error *err)
{
    const an_dtype_info *info = an_dtype_get(t->dtype);
    const unsigned char *block = t->data;
    uint64_t n_block = t->bytes / (uint64_t)info->block_bytes;
    float factor = t->dtype == AN_DTYPE_Q8_0 ? -128.0f : t->dtype == AN_DTYPE_Q4_0 ? -8.0f : 1.0f;
    for (uint64_t i = 0; i < n_block; i++, block += info->block_bytes) {
        float d = an_f32_from_f16(an_load_u16(block));
        float m = t->dtype == AN_DTYPE_Q4_1 ? an_f32_from_f16(an_load_u16(block + 2)) : factor * d;
        uint16_t half = an_f16_from_f32(m);
        if ((an_load_u16(block) & 0x7C00) == 0x7C00 || (half & 0x7C00) == 0x7C00)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "tensor %s: block %" PRIu64
                           " has a scale of %g, whose offset is beyond the range of "
                           "f16; it cannot be converted exactly",
                           t->name, i, (double)d);
    }
    return ANEMO_OK;
}

/* Every tensor of the file has a place, and a type that maps exactly. The first that has none is
 * named. */
static anemo_status check_all_placed(const an_mlx_plan *plan, const an_model_file *m,
                                     anemo_error *err)
{
    size_t n = an_gguf_n_tensor(m->gguf), n_bad = 0;
    const an_gguf_tensor *bad = NULL;
    for (size_t i = 0; i < plan->n; i++) {
        const an_mlx_weight *w = &plan->weights[i];
        if (w->bits >= 0 && !(w->bits > 0 && w->src->n_dim != 2)) continue;
        if (!bad) bad = w->src;
        n_bad++;
    }
    if (bad) {
        char more[64] = "";
        if (n_bad > 1) snprintf(more, sizeof more, " (and %zu more)", n_bad - 1);
        return an_fail(
            err, ANEMO_ERR_UNSUPPORTED,
            "%s: tensor %s is %s%s, which MLX cannot hold exactly; only Q4_0, Q4_1, Q8_0, F16, "
            "BF16 and F32 are converted",
            m->path, bad->name, an_ggml_type_name(bad->ggml_type), more);
    }
    if (plan->n == n) return ANEMO_OK;
    for (size_t i = 0; i < n; i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(m->gguf, i);
        size_t k = 0;
        while (k < plan->n && plan->weights[k].src != t)
            k++;
        if (k == plan->n && strcmp(t->name, "rope_freqs.weight"))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s has no place in an MLX model",
                           m->path, t->name);
    }
    return ANEMO_OK;
}

/* The commonest width, and the type that config.json names. */
static void summarize(an_mlx_plan *plan)
{
    size_t count[9] = {0}, plain[3] = {0};
    for (size_t i = 0; i < plan->n; i++) {
        const an_mlx_weight *w = &plan->weights[i];
        count[w->bits]++;
        if (w->bits == 0 && w->src->n_dim == 2) plain[w->src->dtype]++;
    }
    plan->bits = count[4] == 0 && count[8] == 0 ? 0 : count[4] >= count[8] ? 4 : 8;
    plan->dtype = AN_DTYPE_F16;
    if (plan->bits) return;
    if (plain[AN_DTYPE_BF16] > plain[AN_DTYPE_F16]) plan->dtype = AN_DTYPE_BF16;
    if (plain[AN_DTYPE_F32] > plain[plan->dtype]) plan->dtype = AN_DTYPE_F32;
}

anemo_status an_mlx_plan_make(an_mlx_plan *out, const an_model_file *m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_mlx_plan plan = {0};
    const an_tensor_rule *rules = an_tensor_rules();
    for (int f = 0; f < AN_FIELD_N; f++) {
        if (!rules[f].hf) continue;
        for (int layer = 0; layer < (rules[f].per_layer ? m->hp.n_layer : 1); layer++) {
            char name[AN_TENSOR_NAME_MAX];
            an_tensor_name_gguf(&rules[f], layer, name);
            const an_gguf_tensor *t = an_gguf_find_tensor(m->gguf, name);
            if (t) AN_TRY(add_weight(&plan, &rules[f], layer, t, &m->hp, err));
        }
    }
    AN_TRY(check_all_placed(&plan, m, err));
    for (size_t i = 0; i < plan.n; i++) {
        if (plan.weights[i].bits == 0) continue;
        status = check_scales(plan.weights[i].src, err);
        if (status != ANEMO_OK) {
            an_fail_prefix(err, status, "%s", m->path);
            goto cleanup;
        }
    }
    summarize(&plan);
    *out = plan;
cleanup:
    if (status != ANEMO_OK) an_mlx_plan_free(&plan);
    return status;
}

void an_mlx_plan_free(an_mlx_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        an_free(plan->weights[i].path);
    an_free(plan->weights);
    *plan = (an_mlx_plan){0};
}

/* ------------------------------------------------------------------------------------------------------
 * writing */

/* One tensor of the output. */
typedef struct job {
    const an_mlx_weight *w;
    enum { JOB_PLAIN, JOB_CODES, JOB_SCALES, JOB_BIASES } kind;
    char name[AN_TENSOR_NAME_MAX + 16];
} job;

typedef struct writing {
    job *jobs;
    an_name_entry *index;
    size_t n;
    an_st_writer *writer;
    unsigned char *chunk; /* CHUNK_BYTES, or one row when that is more */
    uint64_t done_bytes, total_bytes;
    const an_convert_options *options;
} writing;

/* Row of the source for row r of the output: half-split order takes rows 2i+j of a head as
 * j*hd/2+i. */
static int64_t source_row(const an_mlx_weight *w, int64_t r)
{
    if (w->head_dim == 0) return r;
    int64_t head = r / w->head_dim, in = r % w->head_dim, half = w->head_dim / 2;
    return head * w->head_dim + 2 * (in % half) + in / half;
}

/* One block of 32 elements as codes in natural order. */
static void put_codes(an_dtype dtype, const unsigned char *block, unsigned char *out)
{
    if (dtype == AN_DTYPE_Q8_0) {
        for (int i = 0; i < 32; i++)
            out[i] = block[2 + i] ^ 0x80;
        return;
    }
    const unsigned char *qs = block + (dtype == AN_DTYPE_Q4_0 ? 2 : 4);
    for (int k = 0; k < 8; k++) {
        out[k] = (unsigned char)((qs[2 * k] & 15) | (qs[2 * k + 1] & 15) << 4);
        out[8 + k] = (unsigned char)(qs[2 * k] >> 4 | (qs[2 * k + 1] & 0xF0));
    }
}

static void put_bias(an_dtype dtype, const unsigned char *block, unsigned char *out)
{
    if (dtype == AN_DTYPE_Q4_1) {
        memcpy(out, block + 2, 2);
        return;
    }
    float d = an_f32_from_f16(an_load_u16(block));
    uint16_t bias = an_f16_from_f32(dtype == AN_DTYPE_Q8_0 ? -128.0f * d : -8.0f * d);
    memcpy(out, &bias, 2);
}

/* Bytes of one row of a job's tensor. */
static uint64_t row_bytes(const job *j)
{
    uint64_t n = (uint64_t)j->w->n_col;
    switch (j->kind) {
    case JOB_CODES:
        return n * (uint64_t)j->w->bits / 8;
    case JOB_SCALES:
    case JOB_BIASES:
        return n / GROUP * 2;
    case JOB_PLAIN:
        break;
    }
    return n * (uint64_t)an_dtype_get(j->w->src->dtype)->block_bytes;
}

static void put_row(const job *j, int64_t row, unsigned char *out)
{
    const an_gguf_tensor *t = j->w->src;
    const an_dtype_info *info = an_dtype_get(t->dtype);
    uint64_t n_block = (uint64_t)(j->w->n_col / info->block_elems),
             bytes = (uint64_t)info->block_bytes;
    const unsigned char *src = (const unsigned char *)t->data + (uint64_t)row * n_block * bytes;
    if (j->kind == JOB_PLAIN) {
        memcpy(out, src, (size_t)(n_block * bytes));
        return;
    }
    for (uint64_t b = 0; b < n_block; b++, src += bytes) {
        if (j->kind == JOB_CODES)
            put_codes(t->dtype, src, out + b * (uint64_t)(4 * j->w->bits));
        else if (j->kind == JOB_SCALES)
            memcpy(out + 2 * b, src, 2);
        else
            put_bias(t->dtype, src, out + 2 * b);
    }
}

static anemo_status write_job(writing *wr, const job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t bytes = row_bytes(j), filled = 0;
    for (int64_t r = 0; r < j->w->n_row; r++) {
        put_row(j, source_row(j->w, r), wr->chunk + filled);
        filled += bytes;
        if (filled + bytes > CHUNK_BYTES || r == j->w->n_row - 1) {
            AN_TRY(an_st_writer_put(wr->writer, wr->chunk, filled, err));
            wr->done_bytes += filled;
            filled = 0;
            if (wr->options->progress)
                wr->options->progress(wr->options->progress_ctx, wr->done_bytes, wr->total_bytes);
        }
    }
cleanup:
    return status;
}

static anemo_status declare(writing *wr, const an_mlx_weight *w, int kind, anemo_error *err)
{
    static const char *const tails[] = {".weight", ".weight", ".scales", ".biases"};
    job *j = &wr->jobs[wr->n];
    an_dtype dtype = AN_DTYPE_F16;
    int64_t shape[2] = {w->n_row, w->n_col};
    int n_dim = w->src->n_dim;
    j->w = w;
    j->kind = kind;
    snprintf(j->name, sizeof j->name, "%s%s", w->path, w->bias ? ".bias" : tails[kind]);
    if (kind == JOB_PLAIN) dtype = w->src->dtype;
    if (kind == JOB_CODES) {
        dtype = AN_DTYPE_U32;
        shape[1] = w->n_col * w->bits / 32;
    }
    if (kind == JOB_SCALES || kind == JOB_BIASES) shape[1] = w->n_col / GROUP;
    if (n_dim == 1) shape[0] = w->src->shape[0];
    wr->index[wr->n] = (an_name_entry){j->name, strlen(j->name), wr->n};
    wr->n++;
    return an_st_writer_declare(wr->writer, j->name, dtype, n_dim, shape, err);
}

/* model.safetensors.index.json: always there, also for one file. */
static anemo_status write_index(const writing *wr, const an_mlx_plan *plan, const char *dir,
                                anemo_error *err)
{
    uint64_t n_param = 0;
    for (size_t i = 0; i < plan->n; i++)
        n_param += (uint64_t)plan->weights[i].n_row * (uint64_t)plan->weights[i].n_col;
    json_t *map = json_object();
    for (size_t i = 0; i < wr->n; i++)
        json_object_set_new(map, wr->index[i].name, json_string("model.safetensors"));
    json_t *root =
        json_pack("{s:{s:I,s:I},s:o}", "metadata", "total_size", (json_int_t)wr->total_bytes,
                  "total_parameters", (json_int_t)n_param, "weight_map", map);
    if (!root) json_decref(map);
    return an_mlx_write_json(dir, "model.safetensors.index.json", root, JSON_INDENT(4), err);
}

anemo_status an_mlx_write_weights(const an_mlx_plan *plan, const char *dir,
                                  const an_convert_options *options, an_convert_result *result,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    writing wr = {.options = options};
    size_t n_job = 0, n_quantized = 0;
    uint64_t chunk = CHUNK_BYTES;
    char *path = an_path_join(dir, "model.safetensors");
    for (size_t i = 0; i < plan->n; i++)
        n_job += plan->weights[i].bits ? 3 : 1;
    wr.jobs = an_calloc(n_job, sizeof *wr.jobs);
    wr.index = an_calloc(n_job, sizeof *wr.index);
    if (!path || !wr.jobs || !wr.index) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(an_st_writer_open(&wr.writer, path, err));
    for (size_t i = 0; i < plan->n; i++) {
        const an_mlx_weight *w = &plan->weights[i];
        n_quantized += w->bits > 0;
        for (int kind = w->bits ? JOB_CODES : JOB_PLAIN; kind <= (w->bits ? JOB_BIASES : JOB_PLAIN);
             kind++) {
            AN_TRY(declare(&wr, w, kind, err));
            uint64_t bytes = row_bytes(&wr.jobs[wr.n - 1]);
            if (bytes > chunk) chunk = bytes;
        }
    }
    wr.chunk = an_malloc((size_t)chunk);
    if (!wr.chunk) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    an_name_index_sort(wr.index, wr.n);
    AN_TRY(an_st_writer_begin(wr.writer, "mlx", err));
    wr.total_bytes = an_st_writer_data_bytes(wr.writer);
    for (size_t i = 0; i < wr.n; i++) {
        const char *name = an_st_writer_order(wr.writer, i);
        AN_TRY(
            write_job(&wr, &wr.jobs[an_name_index_find(wr.index, wr.n, name, strlen(name))], err));
    }
    AN_TRY(an_st_writer_commit(wr.writer, err));
    AN_TRY(write_index(&wr, plan, dir, err));
    *result = (an_convert_result){.n_tensor = plan->n, .n_quantized = n_quantized, .weight_bytes = wr.total_bytes};
cleanup:
    an_st_writer_close(wr.writer);
    an_free(wr.jobs);
    an_free(wr.index);
    an_free(wr.chunk);
    an_free(path);
    return status;
}
