/* Which tensors a model has, and which type each of them gets. */
#include "convert/synth_internal.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The one form of these weights, made when it is new. */
static anemo_status find_form(an_synth_plan *plan, an_dtype dtype, int bits, int group, int64_t n_col,
                              const an_synth_form **out, anemo_error *err)
{
    for (size_t i = 0; i < plan->n_form; i++) {
        const an_synth_form *f = plan->forms[i];
        if (f->dtype != dtype || f->n_col != n_col || (dtype == AN_DTYPE_AFFINE && f->bits != bits)) continue;
        *out = f;
        return ANEMO_OK;
    }
    an_synth_form **grown = an_realloc(plan->forms, (plan->n_form + 1) * sizeof *grown);
    if (grown) plan->forms = grown;
    an_synth_form *f = grown ? an_malloc(sizeof *f) : NULL;
    if (!f) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_synth_form_init(f, dtype, bits, group, n_col);
    plan->forms[plan->n_form++] = f;
    *out = f;
    return ANEMO_OK;
}

static void kind_of(const an_synth_tensor *t, char kind[AN_CLASS_KIND_MAX])
{
    const char *part = t->name;
    int layer;
    (void)an_mix_layer_of(t->name, &layer, &part);
    if (t->n_dim < 2) part = "norms and vectors";
    snprintf(kind, AN_CLASS_KIND_MAX, "%.*s", (int)strcspn(part, "."), part);
}

static anemo_status count(an_synth_plan *plan, const an_synth_tensor *t, bool mlx, anemo_error *err)
{
    char kind[AN_CLASS_KIND_MAX], type[AN_CLASS_TYPE_MAX];
    const an_synth_form *f = t->form;
    size_t idx;
    uint64_t n = (uint64_t)t->n_row * (uint64_t)t->n_col, bytes;
    if (mlx && f->bits) {
        snprintf(type, sizeof type, "%d-bit g%d", f->bits, f->group);
        bytes = n / 8 * (uint64_t)f->bits + n / (uint64_t)f->group * (f->scale_dtype == AN_DTYPE_F32 ? 8 : 4);
    } else {
        const an_dtype_info *info = an_dtype_get(f->dtype);
        snprintf(type, sizeof type, "%s", info->name);
        bytes = n / (uint64_t)info->block_elems * (uint64_t)info->block_bytes;
    }
    kind_of(t, kind);
    plan->n_weight += n;
    plan->bytes += bytes;
    return an_weight_classes_add(&plan->classes, kind, type, n, bytes, &idx, err);
}

/* shape[0..n_dim-1] is set. */
static anemo_status add(an_synth_plan *plan, an_synth_tensor t, anemo_error *err)
{
    if (plan->n == plan->cap) {
        size_t cap = plan->cap ? plan->cap * 2 : 64;
        an_synth_tensor *grown = an_realloc(plan->tensors, cap * sizeof *grown);
        if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        plan->tensors = grown;
        plan->cap = cap;
    }
    t.n_col = t.shape[t.n_dim - 1];
    t.n_row = t.n_dim == 3 ? t.shape[0] * t.shape[1] : t.n_dim == 2 ? t.shape[0] : 1;
    plan->tensors[plan->n++] = t;
    return ANEMO_OK;
}

/* The form of every tensor. The mixes' rules count as they go, in the order of the file. */
static anemo_status choose_forms(an_synth_plan *plan, const an_synth_model *m, const an_synth_types *types, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_hparams *hp = &m->params.hp;
    an_mix_plan mix = {.mix = types->mix, .n_layer = hp->n_layer, .n_head = hp->n_head, .n_head_kv = hp->n_head_kv,
                       .n_expert = m->n_expert, .tied = hp->tied, .pure = types->pure};
    for (size_t i = 0; i < plan->n; i++) {
        an_synth_tensor *t = &plan->tensors[i];
        an_dtype type = AN_DTYPE_BF16;
        if (types->mix) {
            AN_TRY(an_mix_type(&mix, t->name, t->n_dim, t->n_col, AN_DTYPE_F32, &type, err));
            AN_TRY(find_form(plan, type, 0, 0, t->n_col, &t->form, err));
        } else if (t->n_dim > 1 && t->n_col % types->group == 0) {
            AN_TRY(find_form(plan, AN_DTYPE_AFFINE, types->bits, types->group, t->n_col, &t->form, err));
        } else {
            AN_TRY(find_form(plan, type, 0, 0, t->n_col, &t->form, err));
        }
    }
cleanup:
    return status;
}

static anemo_status add_rule(an_synth_plan *plan, const an_synth_model *m, const an_tensor_rule *rule, int layer,
                             anemo_error *err)
{
    const an_hparams *hp = &m->params.hp;
    size_t n_prefix;
    an_synth_tensor t = {.n_dim = rule->rows == AN_DIM_NONE ? 1 : 2, .rotated = an_field_is_rotated(rule->field)};
    an_tensor_name_gguf(rule, layer, t.name);
    an_tensor_path_hf(rule, &an_hf_prefixes(&n_prefix)[0], layer, t.path);
    if (t.n_dim == 2) t.shape[0] = an_dim_of(hp, rule->rows);
    t.shape[t.n_dim - 1] = an_dim_of(hp, rule->cols);
    return add(plan, t, err);
}

/* The router and the experts of a layer, which stand for its three feed-forward matrices. */
static anemo_status add_experts(an_synth_plan *plan, const an_synth_model *m, int layer, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t n = m->n_expert, embd = m->params.hp.n_embd, ff = m->params.hp.n_ff;
    an_synth_tensor router = {.n_dim = 2, .shape = {n, embd}}, gate = {.n_dim = 3, .shape = {n, ff, embd}}, up = gate,
                    down = {.n_dim = 3, .shape = {n, embd, ff}};
    snprintf(router.name, sizeof router.name, "blk.%d.ffn_gate_inp.weight", layer);
    snprintf(gate.name, sizeof gate.name, "blk.%d.ffn_gate_exps.weight", layer);
    snprintf(up.name, sizeof up.name, "blk.%d.ffn_up_exps.weight", layer);
    snprintf(down.name, sizeof down.name, "blk.%d.ffn_down_exps.weight", layer);
    AN_TRY(add(plan, router, err));
    AN_TRY(add(plan, gate, err));
    AN_TRY(add(plan, up, err));
    AN_TRY(add(plan, down, err));
cleanup:
    return status;
}

static bool is_feed_forward(an_field f)
{
    return f == AN_FIELD_FFN_GATE || f == AN_FIELD_FFN_UP || f == AN_FIELD_FFN_DOWN;
}

static int by_layer(const void *a, const void *b)
{
    const an_synth_tensor *x = a, *y = b;
    int layer_x = -1, layer_y = -1;
    const char *part;
    if (!an_mix_layer_of(x->name, &layer_x, &part)) layer_x = -1;
    if (!an_mix_layer_of(y->name, &layer_y, &part)) layer_y = -1;
    if (layer_x != layer_y) return layer_x < layer_y ? -1 : 1;
    return strcmp(x->name, y->name);
}

anemo_status an_synth_plan_make(an_synth_plan *out, const an_synth_model *m, const an_synth_types *types, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_synth_plan plan = {0};
    const an_tensor_rule *rules = an_tensor_rules();
    for (int f = 0; f < AN_FIELD_N; f++) {
        bool wanted = rules[f].required || (f == AN_FIELD_OUTPUT && !m->params.hp.tied);
        if (!wanted || (m->n_expert && is_feed_forward(rules[f].field))) continue;
        for (int layer = 0; layer < (rules[f].per_layer ? m->params.hp.n_layer : 1); layer++)
            AN_TRY(add_rule(&plan, m, &rules[f], layer, err));
    }
    for (int layer = 0; m->n_expert && layer < m->params.hp.n_layer; layer++)
        AN_TRY(add_experts(&plan, m, layer, err));
    qsort(plan.tensors, plan.n, sizeof *plan.tensors, by_layer);
    AN_TRY(choose_forms(&plan, m, types, err));
    for (size_t i = 0; i < plan.n; i++) AN_TRY(count(&plan, &plan.tensors[i], types->mlx, err));
    *out = plan;
cleanup:
    if (status != ANEMO_OK) an_synth_plan_free(&plan);
    return status;
}

void an_synth_plan_free(an_synth_plan *plan)
{
    for (size_t i = 0; i < plan->n_form; i++) an_free(plan->forms[i]);
    an_free(plan->forms);
    an_free(plan->tensors);
    an_weight_classes_free(&plan->classes);
    *plan = (an_synth_plan){0};
}
