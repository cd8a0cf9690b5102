/* What becomes of each tensor of a source in a GGUF file. */
#include "convert/to_gguf_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "quant/encode.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_float(an_dtype type)
{
    return type == AN_DTYPE_F32 || type == AN_DTYPE_F16 || type == AN_DTYPE_BF16;
}

/* Does every value of the tensor exist in the float type? */
static bool widens(const an_source_tensor *t, an_dtype to)
{
    if (an_dtype_is_mlx(t->w.dtype) || t->fp8) return to == AN_DTYPE_F32;
    return t->w.dtype == to || (is_float(t->w.dtype) && to == AN_DTYPE_F32);
}

/* Are its rows stored, so that they can be copied? */
static bool has_rows(const an_source_tensor *t)
{
    return t->w.data && !t->fp8;
}

static an_dtype chosen_float(an_float_choice c)
{
    return c == AN_FLOAT_F16 ? AN_DTYPE_F16 : c == AN_FLOAT_BF16 ? AN_DTYPE_BF16 : AN_DTYPE_F32;
}

/* ---- the list */

static anemo_status add_out(an_gguf_plan *p, an_gguf_out **out, anemo_error *err)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 256;
        an_gguf_out *grown = an_realloc(p->tensors, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        p->tensors = grown;
        p->cap = cap;
    }
    *out = &p->tensors[p->n++];
    **out = (an_gguf_out){.exact = true};
    return ANEMO_OK;
}

/* What the rule of Llama 3 makes of each pair's wavelength (formats.md 1.4): the divisors of rope_freqs.weight. */
static anemo_status make_rope_freqs(an_gguf_plan *p, anemo_error *err)
{
    const an_hparams *hp = &p->source->params.hp;
    int n = hp->rope_dim / 2;
    double low = hp->llama3_low_freq_factor, high = hp->llama3_high_freq_factor;
    an_gguf_out *out = NULL;
    p->rope_freqs = an_malloc((size_t)n * sizeof *p->rope_freqs);
    if (!p->rope_freqs) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int i = 0; i < n; i++) {
        double wavelength = 2 * acos(-1.0) * pow(hp->rope_theta, 2.0 * i / hp->rope_dim);
        double smooth = (hp->rope_n_ctx_orig / wavelength - low) / (high - low);
        double divisor = smooth >= 1 ? 1 : smooth <= 0 ? hp->rope_factor : 1 / ((1 - smooth) / hp->rope_factor + smooth);
        p->rope_freqs[i] = (float)divisor;
    }
    anemo_status status = add_out(p, &out, err);
    if (status != ANEMO_OK) return status;
    snprintf(out->name, sizeof out->name, "rope_freqs.weight");
    out->values = p->rope_freqs;
    out->n_dim = 1;
    out->shape[0] = n;
    return ANEMO_OK;
}

/* The type that was asked for; a matrix that holds its values in it already keeps them. */
static anemo_status as_asked(an_gguf_plan *p, an_gguf_out *out, an_dtype type, anemo_error *err)
{
    const an_source_tensor *t = out->t;
    an_dtype exact = t->w.dtype;
    char why[160];
    bool has = t->w.dtype != AN_DTYPE_AFFINE ||
               (!is_float(type) && an_affine_exact_type(&t->w, p->pool, &exact, why, sizeof why));
    out->type = type;
    if (has && exact == type && has_rows(t)) {
        out->how = t->w.dtype == AN_DTYPE_AFFINE ? AN_GGUF_REPACK : AN_GGUF_COPY;
        return ANEMO_OK;
    }
    if (t->n_col % an_dtype_get(type)->block_elems != 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s: rows of %" PRId64 " do not divide into blocks of %s",
                       p->source->path, t->name, t->n_col, an_dtype_get(type)->name);
    if (!an_encode_can(type))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s: %s is not written here", p->source->path, t->name,
                       an_dtype_get(type)->name);
    if (!is_float(t->w.dtype) && !is_float(type) && !p->options->allow_requantize)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: tensor %s is quantized already: quantizing it a second time costs quality that the first one still "
                       "had; take a model in F16, BF16 or F32, or say --allow-requantize",
                       p->source->path, t->name);
    out->how = AN_GGUF_ENCODE;
    out->exact = widens(t, type);
    return ANEMO_OK;
}

/*
 * The form of a matrix when no type is asked for: what is quantized stays so where a GGUF type has its values; `dtype` says
 * what becomes of the rest and of plain floats.
 */
static anemo_status as_stored(an_gguf_plan *p, an_gguf_out *out, anemo_error *err)
{
    const an_source_tensor *t = out->t;
    const an_float_choice dtype = p->options->dtype;
    char why[160] = "";
    out->type = is_float(t->w.dtype) ? t->float_dtype : t->w.dtype;
    out->how = AN_GGUF_COPY;
    if (!has_rows(t)) return as_asked(p, out, dtype != AN_FLOAT_AS_STORED ? chosen_float(dtype) : t->float_dtype, err);
    if (t->w.dtype == AN_DTYPE_AFFINE) {
        out->how = AN_GGUF_REPACK;
        if (an_affine_exact_type(&t->w, p->pool, &out->type, why, sizeof why)) return ANEMO_OK;
    } else if (t->w.dtype == AN_DTYPE_MXFP4) {
        out->how = AN_GGUF_REPACK;
        out->type = AN_DTYPE_GGML_MXFP4;
        return ANEMO_OK;
    } else if (an_dtype_is_fp_mode(t->w.dtype)) {
        snprintf(why, sizeof why, "blocks of %s are not written here", an_dtype_get(t->w.dtype)->name);
    } else if (!is_float(t->w.dtype)) {
        return ANEMO_OK;
    }
    if (dtype != AN_FLOAT_AS_STORED) return as_asked(p, out, chosen_float(dtype), err);
    if (!an_dtype_is_mlx(t->w.dtype)) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: tensor %s (%d-bit groups of %d) has no exact form in GGUF: %s; --dtype f16 or bf16 stores the values of "
                   "such tensors as floats, --quantize TYPE with --allow-requantize rounds them again",
                   p->source->path, t->name, t->w.affine.bits, t->w.affine.group, why);
}

static anemo_status decide(an_gguf_plan *p, an_gguf_out *out, an_mix_plan *m, anemo_error *err)
{
    const an_source_tensor *t = out->t;
    bool found;
    an_dtype type;
    if (t->n_dim < 2) {
        out->type = AN_DTYPE_F32;
        out->how = has_rows(t) && t->w.dtype == AN_DTYPE_F32 && (!t->rotated || t->rows == AN_ROPE_INTERLEAVED) ? AN_GGUF_COPY
                                                                                                              : AN_GGUF_ENCODE;
        return ANEMO_OK;
    }
    anemo_status status = an_tensor_types_find(p->types, out->name, &found, &type, err);
    if (status != ANEMO_OK) return status;
    if (p->mix && (!found || m->overrides)) {
        status = an_mix_type(m, out->name, 2, t->n_col, t->w.dtype, &type, err);
        if (status != ANEMO_OK) return status;
        found = true;
    }
    return found ? as_asked(p, out, type, err) : as_stored(p, out, err);
}

static anemo_status add_source_tensor(an_gguf_plan *p, const an_source_tensor *t, an_mix_plan *m, anemo_error *err)
{
    an_gguf_out *out = NULL;
    anemo_status status = add_out(p, &out, err);
    if (status != ANEMO_OK) return status;
    an_tensor_name_gguf(&an_tensor_rules()[t->field], t->layer, out->name);
    out->t = t;
    out->n_dim = t->n_dim;
    out->shape[0] = t->n_dim == 1 ? t->n_col : t->n_row;
    out->shape[1] = t->n_col;
    status = decide(p, out, m, err);
    /* All scales may have been read: those of all tensors together would stay in memory. */
    an_source_release(p->source, t);
    return status;
}

/* Tensors of a GGUF source without a place in the family's table go along untouched. */
static anemo_status add_extras(an_gguf_plan *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf *g = p->source->kind == AN_SOURCE_GGUF ? p->source->model->gguf : NULL;
    size_t n_known = p->n;
    for (size_t i = 0; g && i < an_gguf_n_tensor(g); i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
        size_t k = 0;
        while (k < n_known && strcmp(p->tensors[k].name, t->name) != 0) k++;
        if (k < n_known) continue;
        an_gguf_out *out = NULL;
        if (an_dtype_get(t->dtype)->ggml_id < 0)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s is %s, which is not written here", p->source->path,
                           t->name, an_ggml_type_name(t->ggml_type));
        AN_TRY(add_out(p, &out, err));
        snprintf(out->name, sizeof out->name, "%s", t->name);
        out->extra = t;
        out->type = t->dtype;
        out->n_dim = t->n_dim;
        memcpy(out->shape, t->shape, sizeof out->shape);
    }
cleanup:
    return status;
}

/* llama.cpp's quantizer writes what has no layer first, by name, then layer by layer, each by name. */
static int by_layer(const void *a, const void *b)
{
    const char *x = ((const an_gguf_out *)a)->name, *y = ((const an_gguf_out *)b)->name, *part;
    int layer_x, layer_y;
    if (!an_mix_layer_of(x, &layer_x, &part)) layer_x = -1;
    if (!an_mix_layer_of(y, &layer_y, &part)) layer_y = -1;
    if (layer_x != layer_y) return layer_x < layer_y ? -1 : 1;
    return strcmp(x, y);
}

static anemo_status count(an_gguf_plan *p, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    p->exact = p->unchanged = true;
    for (size_t i = 0; i < p->n; i++) {
        an_gguf_out *out = &p->tensors[i];
        const an_dtype_info *info = an_dtype_get(out->type);
        char kind[AN_CLASS_KIND_MAX] = "norms and vectors";
        uint64_t n = 1;
        for (int d = 0; d < out->n_dim; d++) n *= (uint64_t)out->shape[d];
        uint64_t bytes = n / (uint64_t)info->block_elems * (uint64_t)info->block_bytes;
        if (out->t) an_weight_kind(out->t->field, out->n_dim, kind);
        else if (out->n_dim > 1) snprintf(kind, sizeof kind, "other");
        AN_TRY(an_weight_classes_add(&result->classes, kind, info->name, n, bytes, &out->class_idx, err));
        result->n_tensor++;
        result->n_quantized += !is_float(out->type);
        result->n_rounded += !out->exact;
        p->bytes += bytes;
        p->exact &= out->exact;
        p->unchanged &= out->how == AN_GGUF_COPY && p->source->kind == AN_SOURCE_GGUF;
    }
    result->weight_bytes = p->bytes;
cleanup:
    return status;
}

anemo_status an_gguf_plan_make(an_gguf_plan *out, const an_source *s, const an_convert_options *options, an_pool *pool,
                               an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_gguf_plan p = {.source = s, .options = options, .pool = pool};
    const an_hparams *hp = &s->params.hp;
    an_mix_plan m = {.n_layer = hp->n_layer, .n_head = hp->n_head, .n_head_kv = hp->n_head_kv, .tied = hp->tied};
    if (options->quantize) {
        p.mix = an_mix_find(options->quantize);
        if (!p.mix) {
            status = an_fail(err, ANEMO_ERR_INVAL, "'%.40s' is no type of GGUF files; anemo quantize --help lists them",
                             options->quantize);
            goto cleanup;
        }
    }
    AN_TRY(an_tensor_types_make(&p.types, options->overrides, options->n_override, err));
    m.mix = p.mix;
    /* In a mix of blocks they are a part of its rules; among floats the mix has no rules. */
    m.overrides = p.mix && an_dtype_get(p.mix->base)->block_elems > 1 ? p.types : NULL;
    for (size_t i = 0; i < s->n_tensor; i++) AN_TRY(add_source_tensor(&p, &s->tensors[i], &m, err));
    if (hp->rope_scaling == AN_ROPE_LLAMA3) AN_TRY(make_rope_freqs(&p, err));
    AN_TRY(add_extras(&p, err));
    qsort(p.tensors, p.n, sizeof *p.tensors, by_layer);
    AN_TRY(count(&p, result, err));
    *out = p;
cleanup:
    if (status != ANEMO_OK) an_gguf_plan_free(&p);
    return status;
}

void an_gguf_plan_free(an_gguf_plan *plan)
{
    an_free(plan->tensors);
    an_free(plan->rope_freqs);
    an_tensor_types_free(plan->types);
    *plan = (an_gguf_plan){0};
}

uint32_t an_gguf_plan_file_type(const an_gguf_plan *plan)
{
    uint64_t bytes[AN_DTYPE_N] = {0};
    int most = AN_DTYPE_F32;
    if (plan->mix) return plan->mix->file_type;
    for (size_t i = 0; i < plan->n; i++) {
        const an_gguf_out *out = &plan->tensors[i];
        if (out->n_dim < 2) continue;
        bytes[out->type] += (uint64_t)out->shape[0] * (uint64_t)out->shape[1];
        if (bytes[out->type] > bytes[most]) most = out->type;
    }
    if (most == AN_DTYPE_GGML_MXFP4) return 38; /* the only number that names it, LLAMA_FTYPE_MOSTLY_MXFP4_MOE */
    for (size_t i = 0; an_mix_at(i); i++)
        if (an_mix_at(i)->base == (an_dtype)most) return an_mix_at(i)->file_type;
    return 0;
}
