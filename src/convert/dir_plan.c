/* What becomes of each weight of a source in an MLX or Hugging Face directory. */
#include "convert/convert_internal.h"

#include "base/alloc.h"
#include "quant/mlx_repack.h"

#include <stdio.h>
#include <string.h>

static const char *plain_name(an_dtype type)
{
    return an_dtype_get(type)->name;
}

static bool is_plain(an_dtype type)
{
    return type == AN_DTYPE_F32 || type == AN_DTYPE_F16 || type == AN_DTYPE_BF16;
}

static bool is_quantized(const an_source_tensor *t)
{
    return an_dtype_get(t->w.dtype)->block_elems > 1;
}

static an_mlx_form stored_groups(const an_weight *w)
{
    an_mlx_mode mode = w->dtype == AN_DTYPE_MXFP4   ? AN_MLX_MXFP4
                       : w->dtype == AN_DTYPE_MXFP8 ? AN_MLX_MXFP8
                       : w->dtype == AN_DTYPE_NVFP4 ? AN_MLX_NVFP4
                                                    : AN_MLX_AFFINE;
    return (an_mlx_form){mode, w->affine.bits, w->affine.group};
}

/* "Q6_K", "4-bit g64": the stored form, for messages. */
static void source_form(const an_source_tensor *t, char out[AN_MLX_TYPE_NAME_MAX])
{
    an_mlx_form form = stored_groups(&t->w);
    if (an_dtype_is_mlx(t->w.dtype)) an_mlx_form_name(&form, out);
    else snprintf(out, AN_MLX_TYPE_NAME_MAX, "%s", an_dtype_get(t->w.dtype)->name);
}

static an_dtype chosen(const an_convert_options *o, an_dtype otherwise)
{
    switch (o->dtype) {
    case AN_FLOAT_F32: return AN_DTYPE_F32;
    case AN_FLOAT_F16: return AN_DTYPE_F16;
    case AN_FLOAT_BF16: return AN_DTYPE_BF16;
    default: return otherwise;
    }
}

typedef struct asked {
    bool any;         /* --quantize was given */
    an_mlx_type type; /* when any */
    an_mlx_type *overrides; /* [n_override] */
} asked;

static anemo_status parse_type(const char *name, an_mlx_type *type, anemo_error *err)
{
    if (an_mlx_type_find(name, type)) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL, "'%s' is no type of MLX; there are %s", name, an_mlx_type_list());
}

static anemo_status parse_asked(asked *a, const an_convert_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    a->any = o->quantize != NULL;
    if (a->any) AN_TRY(parse_type(o->quantize, &a->type, err));
    a->overrides = an_calloc(o->n_override, sizeof *a->overrides);
    if (!a->overrides) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < o->n_override; i++) {
        const char *eq = strrchr(o->overrides[i], '=');
        if (!eq || eq == o->overrides[i])
            return an_fail(err, ANEMO_ERR_INVAL, "'%s' is not PATTERN=TYPE", o->overrides[i]);
        AN_TRY(parse_type(eq + 1, &a->overrides[i], err));
        if (a->overrides[i].high_bits)
            return an_fail(err, ANEMO_ERR_INVAL, "'%s': a recipe is for the whole model", o->overrides[i]);
    }
cleanup:
    return status;
}

/* The type asked for a weight, or NULL: none was, so it keeps what it has. */
static const an_mlx_type *type_for(const asked *a, const an_convert_options *o, const an_dir_weight *w)
{
    char name[AN_TENSOR_NAME_MAX + 8];
    snprintf(name, sizeof name, "%s.weight", w->path);
    for (size_t i = 0; i < o->n_override; i++) {
        char pattern[AN_TENSOR_NAME_MAX];
        size_t n = (size_t)(strrchr(o->overrides[i], '=') - o->overrides[i]);
        if (n >= sizeof pattern) continue;
        memcpy(pattern, o->overrides[i], n);
        pattern[n] = '\0';
        if (strstr(name, pattern) || strstr(w->src->name, pattern)) return &a->overrides[i];
    }
    return a->any ? &a->type : NULL;
}

/* A plain tensor in the type that was chosen, or as it is stored. */
static void decide_plain(an_dir_weight *w, an_dtype dtype)
{
    w->dtype = dtype;
    w->how = w->src->w.data && w->src->w.dtype == dtype ? AN_DIR_COPY : AN_DIR_FLOAT;
}

/* What a Hugging Face directory, or an MLX one without quantization, holds. */
static void decide_dequantized(an_dir_weight *w, const an_convert_options *o)
{
    decide_plain(w, chosen(o, is_quantized(w->src) ? AN_DTYPE_BF16 : w->src->float_dtype));
}

static bool same_groups(const an_source_tensor *t, const an_mlx_form *form)
{
    an_mlx_form stored = stored_groups(&t->w);
    return an_dtype_is_mlx(t->w.dtype) && form->mode == stored.mode && form->bits == stored.bits && form->group == stored.group;
}

/* Keep a quantized weight exactly, when MLX can. FP modes have no type of their own to compute in: that of the norms. */
static bool decide_kept(const an_source *s, an_dir_weight *w)
{
    const an_source_tensor *t = w->src;
    if (an_dtype_is_mlx(t->w.dtype)) {
        const an_source_tensor *norm = an_source_find(s, AN_FIELD_OUTPUT_NORM, 0);
        w->form = stored_groups(&t->w);
        w->dtype = w->form.mode == AN_MLX_AFFINE ? t->w.affine.scale_dtype : norm ? norm->float_dtype : AN_DTYPE_BF16;
        w->how = AN_DIR_GROUPS;
        return true;
    }
    w->how = AN_DIR_REPACK;
    return an_mlx_repack_form(t->w.dtype, &w->form, &w->dtype);
}

static anemo_status decide_mlx(const an_source *s, an_dir_weight *w, const asked *a, const an_convert_options *o,
                               anemo_error *err)
{
    const an_source_tensor *t = w->src;
    char form[AN_MLX_TYPE_NAME_MAX];
    const an_mlx_type *type = t->n_dim == 2 ? type_for(a, o, w) : NULL;
    source_form(t, form);
    if (!type && is_quantized(t)) {
        if (t->n_dim == 2 && decide_kept(s, w)) return ANEMO_OK;
        if (o->dtype != AN_FLOAT_AS_STORED) {
            decide_dequantized(w, o);
            return ANEMO_OK;
        }
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: tensor %s is %s, which MLX cannot hold exactly; --dtype bf16 (f16, f32) writes such tensors "
                       "without quantization, --quantize TYPE with --allow-requantize rounds all weights anew",
                       s->path, t->name, form);
    }
    if (!type || type->none) {
        decide_dequantized(w, o);
        return ANEMO_OK;
    }
    w->form = an_mlx_type_form(type, t->field, t->layer, s->params.hp.n_layer);
    if (t->n_col % w->form.group != 0) { /* as in mlx-lm such a layer stays as it is */
        decide_dequantized(w, o);
        return ANEMO_OK;
    }
    if (is_quantized(t) && same_groups(t, &w->form)) {
        (void)decide_kept(s, w);
        return ANEMO_OK;
    }
    if (is_quantized(t) && !o->allow_requantize)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: tensor %s is %s: quantizing it a second time costs quality that the first one still had; take an "
                       "F16, BF16 or F32 model, or say --allow-requantize",
                       s->path, t->name, form);
    w->how = AN_DIR_ENCODE;
    w->dtype = chosen(o, is_quantized(t) ? AN_DTYPE_BF16 : t->float_dtype);
    return ANEMO_OK;
}

static uint64_t weight_bytes(const an_dir_weight *w)
{
    uint64_t n = (uint64_t)w->src->n_row * (uint64_t)w->src->n_col, size = (uint64_t)an_dtype_get(w->dtype)->block_bytes;
    if (!an_dir_is_grouped(w)) return n * size;
    uint64_t n_group = n / (uint64_t)w->form.group;
    return n * (uint64_t)w->form.bits / 8 + (w->form.mode == AN_MLX_AFFINE ? 2 * n_group * size : n_group);
}

static anemo_status count(an_dir_plan *plan, an_dir_weight *w, an_convert_result *result, anemo_error *err)
{
    char kind[AN_CLASS_KIND_MAX], type[AN_MLX_TYPE_NAME_MAX];
    uint64_t n = (uint64_t)w->src->n_row * (uint64_t)w->src->n_col, bytes = weight_bytes(w);
    if (an_dir_is_grouped(w)) an_mlx_form_name(&w->form, type);
    else snprintf(type, sizeof type, "%s", plain_name(w->dtype));
    an_weight_kind(w->src->field, w->src->n_dim, kind);
    plan->bytes += bytes;
    plan->n_param += n;
    plan->n_quantized += an_dir_is_grouped(w);
    bool same = w->how == AN_DIR_FLOAT && is_plain(w->src->w.dtype) && !w->src->fp8 &&
                (w->dtype == AN_DTYPE_F32 || w->dtype == w->src->w.dtype);
    if (w->how == AN_DIR_ENCODE || (w->how == AN_DIR_FLOAT && !same)) plan->all_exact = false;
    return an_weight_classes_add(&result->classes, kind, type, n, bytes, &w->class_idx, err);
}

/* The commonest form by modules, and the type that config.json names. */
static void summarize(an_dir_plan *plan, const asked *a)
{
    size_t best = 0, plain[3] = {0}, scales[3] = {0};
    for (size_t i = 0; i < plan->n; i++) {
        const an_dir_weight *w = &plan->weights[i];
        size_t same = 0;
        if (w->src->n_dim == 2) (an_dir_is_grouped(w) ? scales : plain)[w->dtype]++;
        if (!an_dir_is_grouped(w)) continue;
        for (size_t k = 0; k < plan->n; k++) {
            const an_dir_weight *v = &plan->weights[k];
            same += an_dir_is_grouped(v) && v->form.mode == w->form.mode && v->form.bits == w->form.bits &&
                    v->form.group == w->form.group;
        }
        if (same > best) {
            best = same;
            plan->common = w->form;
        }
    }
    if (plan->n_quantized > 0 && a->any && !a->type.none) plan->common = a->type.form;
    if (plan->n_quantized > 0 && a->any && a->type.high_bits) plan->common.bits = 4; /* as mlx-lm does; all are listed anyway */
    const size_t *of = plan->n_quantized > 0 ? scales : plain;
    plan->dtype = AN_DTYPE_F16;
    if (of[AN_DTYPE_BF16] > of[AN_DTYPE_F16]) plan->dtype = AN_DTYPE_BF16;
    if (of[AN_DTYPE_F32] > of[plan->dtype]) plan->dtype = AN_DTYPE_F32;
}

/* Every tensor of a GGUF file has a place; in a directory there are other parts of a model, which are not ours. */
static anemo_status check_all_placed(const an_source *s, anemo_error *err)
{
    if (s->kind != AN_SOURCE_GGUF) return ANEMO_OK;
    const an_gguf *g = s->model->gguf;
    size_t n = an_gguf_n_tensor(g);
    if (n == s->n_tensor) return ANEMO_OK;
    for (size_t i = 0; i < n; i++) {
        const an_gguf_tensor *t = an_gguf_tensor_at(g, i);
        size_t k = 0;
        while (k < s->n_tensor && strcmp(s->tensors[k].name, t->name)) k++;
        if (k == s->n_tensor && strcmp(t->name, "rope_freqs.weight"))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tensor %s has no place in a directory", s->path, t->name);
    }
    return ANEMO_OK;
}

anemo_status an_dir_plan_make(an_dir_plan *out, const an_source *s, bool mlx, const an_convert_options *options,
                              an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_dir_plan plan = {.source = s, .mlx = mlx, .all_exact = true, .type_name = options->quantize};
    asked a = {0};
    size_t n_prefix;
    const an_hf_prefix *prefix = &an_hf_prefixes(&n_prefix)[0];
    plan.weights = an_calloc(s->n_tensor, sizeof *plan.weights);
    if (!plan.weights) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(parse_asked(&a, options, err));
    if (!mlx && (options->quantize || options->n_override)) {
        status = an_fail(err, ANEMO_ERR_INVAL, "a Hugging Face directory is written without quantization; --to mlx and --to gguf have it");
        goto cleanup;
    }
    AN_TRY(check_all_placed(s, err));
    for (size_t i = 0; i < s->n_tensor; i++) {
        const an_tensor_rule *rule = &an_tensor_rules()[s->tensors[i].field];
        if (!rule->hf) continue;
        an_dir_weight *w = &plan.weights[plan.n++];
        *w = (an_dir_weight){.src = &s->tensors[i], .bias = rule->bias};
        an_tensor_path_hf(rule, prefix, w->src->layer, w->path);
        if (mlx) AN_TRY(decide_mlx(s, w, &a, options, err));
        else decide_dequantized(w, options);
        AN_TRY(count(&plan, w, result, err));
    }
    summarize(&plan, &a);
    result->n_tensor = plan.n;
    result->n_quantized = plan.n_quantized;
    result->weight_bytes = plan.bytes;
    *out = plan;
cleanup:
    if (status != ANEMO_OK) an_dir_plan_free(&plan);
    an_free(a.overrides);
    return status;
}

void an_dir_plan_free(an_dir_plan *plan)
{
    an_free(plan->weights);
    *plan = (an_dir_plan){0};
}
