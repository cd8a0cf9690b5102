/* Which types a model gets, and the whole. */
#include "convert/synth.h"

#include "base/str.h"
#include "convert/synth_internal.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Types whose every matrix MLX holds exactly, by the names that they have there. */
static const struct {
    const char *name, *mix;
} exact[] = {
    {"Q4_0", "Q4_0"}, {"Q4_1", "Q4_1"}, {"Q5_0", "Q5_0"}, {"Q5_1", "Q5_1"}, {"Q8_0", "Q8_0"}, {"Q4_K", "Q4_K_S"},
    {"Q5_K", "Q5_K_S"}, {"F16", "F16"}, {"BF16", "BF16"}, {"F32", "F32"},
};

static anemo_status unknown_type(const char *name, anemo_error *err)
{
    an_str list = {0};
    for (size_t i = 0; an_mix_at(i); i++) an_str_appendf(&list, " %s", an_mix_at(i)->name);
    anemo_status status =
        an_fail(err, ANEMO_ERR_INVAL, "'%s' is no type that can be made; GGUF has%s, MLX 2bit to 8bit and the twins", name,
                an_str_text(&list));
    an_str_free(&list);
    return status;
}

/* "4bit", "6bit-g32". */
static bool parse_width(const char *text, int *bits, int *group)
{
    static const char *const groups[] = {"", "-g64", "-g32", "-g128"};
    static const int sizes[] = {64, 64, 32, 128};
    if (text[0] < '2' || text[0] > '8' || text[0] == '7' || strncmp(text + 1, "bit", 3) != 0) return false;
    *bits = text[0] - '0';
    for (size_t i = 0; i < AN_COUNT_OF(groups); i++) {
        *group = sizes[i];
        if (!strcmp(text + 4, groups[i])) return true;
    }
    return false;
}

static anemo_status mlx_types(const an_synth_options *o, an_synth_types *types, anemo_error *err)
{
    *types = (an_synth_types){.pure = true, .mlx = true};
    if (parse_width(o->quant, &types->bits, &types->group)) return ANEMO_OK;
    for (size_t i = 0; i < AN_COUNT_OF(exact); i++)
        if (!strcasecmp(o->quant, exact[i].name)) types->mix = an_mix_find(exact[i].mix);
    if (types->mix) return ANEMO_OK;
    if (!an_mix_find(o->quant)) return unknown_type(o->quant, err);
    an_str list = {0};
    for (size_t i = 0; i < AN_COUNT_OF(exact); i++) an_str_appendf(&list, "%s%s", i ? " " : "", exact[i].name);
    anemo_status status = an_fail(err, ANEMO_ERR_INVAL,
                                  "%s has no exact MLX form; %s have one, and MLX has types of its own: 2bit 3bit 4bit 5bit "
                                  "6bit 8bit, with -g32, -g64 or -g128",
                                  an_mix_find(o->quant)->name, an_str_text(&list));
    an_str_free(&list);
    return status;
}

static anemo_status gguf_types(const an_synth_options *o, an_synth_types *types, anemo_error *err)
{
    int bits, group;
    *types = (an_synth_types){.mix = an_mix_find(o->quant), .pure = o->pure};
    if (types->mix) return ANEMO_OK;
    if (parse_width(o->quant, &bits, &group))
        return an_fail(err, ANEMO_ERR_INVAL, "%s is MLX's alone and has no exact GGUF form; --format mlx makes it", o->quant);
    return unknown_type(o->quant, err);
}

/* Can the other format hold these weights exactly, under the options that the two commands share? */
static anemo_status find_twin(const an_synth_plan *plan, const an_synth_model *m, const an_synth_types *types, bool *twin,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_synth_plan other = {0};
    *twin = m->n_expert == 0 && types->mix;
    for (size_t i = 0; i < plan->n_form; i++)
        if (plan->forms[i]->dtype > AN_DTYPE_BF16 && plan->forms[i]->bits == 0) *twin = false;
    if (!*twin || types->pure) return ANEMO_OK;
    an_synth_types pure = {.mix = types->mix, .pure = true};
    AN_TRY(an_synth_plan_make(&other, m, &pure, err));
    for (size_t i = 0; i < plan->n; i++)
        if (plan->tensors[i].form->dtype != other.tensors[i].form->dtype) *twin = false;
cleanup:
    an_synth_plan_free(&other);
    return status;
}

anemo_status an_synth(const char *dst, const an_synth_options *o, an_synth_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_synth_model m = {0};
    an_synth_plan plan = {0};
    an_synth_types types;
    bool mlx = o->format == AN_SYNTH_MLX, twin;
    AN_TRY(mlx ? mlx_types(o, &types, err) : gguf_types(o, &types, err));
    AN_TRY(an_synth_model_open(&m, o, err));
    if (mlx && m.n_expert) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: a mixture of experts is made as GGUF only, for the llama.cpp engine",
                         m.name);
        goto cleanup;
    }
    AN_TRY(an_synth_plan_make(&plan, &m, &types, err));
    AN_TRY(find_twin(&plan, &m, &types, &twin, err));
    for (size_t i = 0; i < plan.n; i++) plan.tensors[i].key = an_synth_key(plan.tensors[i].name, o->seed);
    if (!o->dry_run) AN_TRY(mlx ? an_synth_mlx(dst, &m, &plan, o, err) : an_synth_gguf(dst, &m, &plan, &types, o, err));
    const an_hparams *hp = &m.params.hp;
    *result = (an_synth_result){.classes = plan.classes,
                                .n_tensor = plan.n,
                                .n_weight = plan.n_weight,
                                .weight_bytes = plan.bytes,
                                .kv_token_bytes = 4 * (uint64_t)hp->n_layer * (uint64_t)hp->n_head_kv * (uint64_t)hp->head_dim,
                                .n_ctx = hp->n_ctx_train,
                                .n_expert = m.n_expert,
                                .has_twin = twin};
    plan.classes = (an_weight_classes){0};
cleanup:
    an_synth_plan_free(&plan);
    an_synth_model_free(&m);
    return status;
}

void an_synth_result_free(an_synth_result *r)
{
    an_weight_classes_free(&r->classes);
    *r = (an_synth_result){0};
}
