/* The mixes' rules. */
#include "convert/mix.h"

#include "base/num.h"
#include "base/str.h"
#include "quant/dtype.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Rules look at the mix, so each has a number: its place in this table. */
enum {
    F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K_S, Q3_K_M, Q3_K_L, Q4_K_S, Q4_K_M, Q5_K_S, Q5_K_M, Q6_K, IQ4_NL,
    IQ4_XS,
};

static const an_mix mixes[] = {
    [F32] = {"F32", AN_DTYPE_F32, 0},          [F16] = {"F16", AN_DTYPE_F16, 1},
    [BF16] = {"BF16", AN_DTYPE_BF16, 32},      [Q4_0] = {"Q4_0", AN_DTYPE_Q4_0, 2},
    [Q4_1] = {"Q4_1", AN_DTYPE_Q4_1, 3},       [Q5_0] = {"Q5_0", AN_DTYPE_Q5_0, 8},
    [Q5_1] = {"Q5_1", AN_DTYPE_Q5_1, 9},       [Q8_0] = {"Q8_0", AN_DTYPE_Q8_0, 7},
    [Q2_K] = {"Q2_K", AN_DTYPE_Q2_K, 10},      [Q3_K_S] = {"Q3_K_S", AN_DTYPE_Q3_K, 11},
    [Q3_K_M] = {"Q3_K_M", AN_DTYPE_Q3_K, 12},  [Q3_K_L] = {"Q3_K_L", AN_DTYPE_Q3_K, 13},
    [Q4_K_S] = {"Q4_K_S", AN_DTYPE_Q4_K, 14},  [Q4_K_M] = {"Q4_K_M", AN_DTYPE_Q4_K, 15},
    [Q5_K_S] = {"Q5_K_S", AN_DTYPE_Q5_K, 16},  [Q5_K_M] = {"Q5_K_M", AN_DTYPE_Q5_K, 17},
    [Q6_K] = {"Q6_K", AN_DTYPE_Q6_K, 18},      [IQ4_NL] = {"IQ4_NL", AN_DTYPE_IQ4_NL, 25},
    [IQ4_XS] = {"IQ4_XS", AN_DTYPE_IQ4_XS, 30},
};

const an_mix *an_mix_at(size_t i)
{
    return i < AN_COUNT_OF(mixes) ? &mixes[i] : NULL;
}

const an_mix *an_mix_find(const char *name)
{
    char whole[16];
    static const char *const short_names[] = {"Q3_K", "Q4_K", "Q5_K"};
    snprintf(whole, sizeof whole, "%s", name);
    for (size_t i = 0; i < AN_COUNT_OF(short_names); i++)
        if (!strcasecmp(name, short_names[i])) snprintf(whole, sizeof whole, "%s_M", name);
    for (size_t i = 0; i < AN_COUNT_OF(mixes); i++)
        if (!strcasecmp(whole, mixes[i].name)) return &mixes[i];
    return NULL;
}

/* The layers that the medium mixes treat better: the first and last eighth and every third between. */
static bool more_bits(int layer, int n_layer)
{
    return layer < n_layer / 8 || layer >= 7 * n_layer / 8 || (layer - n_layer / 8) % 3 == 2;
}

static an_dtype value_type(int mix, an_dtype base, const an_mix_plan *p)
{
    bool grouped = p->n_head >= 4 * p->n_head_kv;
    int n = p->n_value ? p->n_value : p->n_layer;
    an_dtype type = base;
    if (p->n_expert == 8) return AN_DTYPE_Q8_0; /* next to eight experts they cost nothing */
    if (mix == Q2_K) type = grouped ? AN_DTYPE_Q4_K : AN_DTYPE_Q3_K;
    if (mix == Q3_K_M) type = p->i_value < 2 ? AN_DTYPE_Q5_K : AN_DTYPE_Q4_K;
    if (mix == Q3_K_L || (mix == Q4_K_S && p->i_value < 4)) type = AN_DTYPE_Q5_K;
    if ((mix == IQ4_NL || mix == IQ4_XS) && grouped) type = AN_DTYPE_Q5_K;
    if ((mix == Q4_K_M || mix == Q5_K_M) && more_bits(p->i_value, n)) type = AN_DTYPE_Q6_K;
    /* Llama 2's and 3's 70B: their values are shared by eight heads, so more bits cost next to nothing. */
    if (p->n_layer == 80 && p->n_head != p->n_head_kv && (type == AN_DTYPE_Q3_K || type == AN_DTYPE_Q4_K))
        type = AN_DTYPE_Q5_K;
    return type;
}

static an_dtype down_type(int mix, an_dtype base, const an_mix_plan *p, int layer)
{
    int n = p->n_layer;
    if (mix == Q2_K) return AN_DTYPE_Q3_K;
    if (mix == Q3_K_M) return layer < n / 16 ? AN_DTYPE_Q5_K : AN_DTYPE_Q4_K;
    if (mix == Q3_K_L) return AN_DTYPE_Q5_K;
    if ((mix == Q4_K_M || mix == Q5_K_M) && more_bits(layer, n)) return AN_DTYPE_Q6_K;
    if (layer >= n / 8) return base;
    if (mix == Q4_K_S || ((mix == IQ4_NL || mix == IQ4_XS) && !p->has_importance)) return AN_DTYPE_Q5_K;
    /* The first layers' are wild; without an importance matrix the types with a minimum would be worse still. */
    if (mix == Q4_0 && p->has_importance) return AN_DTYPE_Q4_1;
    if (mix == Q5_0 && p->has_importance) return AN_DTYPE_Q5_1;
    return base;
}

static an_dtype attn_output_type(int mix, an_dtype base, const an_mix_plan *p)
{
    if (p->n_expert == 8) {
        bool raised = mix == Q2_K || mix == Q3_K_S || mix == Q3_K_M || mix == Q4_K_S || mix == Q4_K_M || mix == IQ4_NL ||
                      mix == IQ4_XS;
        return raised ? AN_DTYPE_Q5_K : base;
    }
    if (mix == Q2_K) return AN_DTYPE_Q3_K;
    if (mix == Q3_K_M) return AN_DTYPE_Q4_K;
    if (mix == Q3_K_L) return AN_DTYPE_Q5_K;
    return base;
}

/* A type with smaller blocks when a row does not hold whole ones. */
static an_dtype fitting(an_dtype type, int64_t n_col)
{
    if (n_col % an_dtype_get(type)->block_elems == 0) return type;
    an_dtype smaller = AN_DTYPE_F16;
    switch (type) {
    case AN_DTYPE_Q2_K:
    case AN_DTYPE_Q3_K: smaller = AN_DTYPE_Q4_0; break;
    case AN_DTYPE_IQ4_XS: smaller = AN_DTYPE_IQ4_NL; break;
    case AN_DTYPE_Q4_K: smaller = AN_DTYPE_Q5_0; break;
    case AN_DTYPE_Q5_K: smaller = AN_DTYPE_Q5_1; break;
    case AN_DTYPE_Q6_K: smaller = AN_DTYPE_Q8_0; break;
    default: break;
    }
    return n_col % an_dtype_get(smaller)->block_elems == 0 ? smaller : AN_DTYPE_F16;
}

static bool is_quantizable(const char *name, int n_dim)
{
    size_t n = strlen(name);
    return n_dim >= 2 && n > 7 && !strcmp(name + n - 7, ".weight") && !strstr(name, "_norm.weight") &&
           !strstr(name, "ffn_gate_inp.weight") && !an_str_starts_with(name, "rope_");
}

bool an_mix_is_value(const char *name)
{
    return strstr(name, "attn_v.weight") || strstr(name, "attn_qkv.weight");
}

bool an_mix_layer_of(const char *name, int *layer, const char **part)
{
    int tail = 0;
    if (sscanf(name, "blk.%d.%n", layer, &tail) != 1 || tail == 0) return false;
    *part = name + tail;
    return true;
}

/* The rules for what was not asked for by name. Counts the tensors that it decides, as the reference does. */
static an_dtype by_rules(an_mix_plan *p, const char *name, int64_t n_col)
{
    int which = (int)(p->mix - mixes), layer;
    an_dtype base = p->mix->base;
    const char *part;
    if (!strcmp(name, p->tied ? "token_embd.weight" : "output.weight")) {
        if (p->output) return *p->output;
        return which == Q8_0 || n_col % an_dtype_get(base)->block_elems != 0 ? AN_DTYPE_Q8_0 : AN_DTYPE_Q6_K;
    }
    if (!strcmp(name, "token_embd.weight") || !an_mix_layer_of(name, &layer, &part)) return base;
    if (an_mix_is_value(name)) {
        an_dtype type = value_type(which, base, p);
        p->i_value++;
        return type;
    }
    if (strstr(part, "attn_k.weight")) return p->n_expert == 8 ? AN_DTYPE_Q8_0 : base;
    if (strstr(part, "attn_output.weight")) return attn_output_type(which, base, p);
    if (strstr(part, "ffn_down")) return down_type(which, base, p, p->n_expert > 1 ? layer : p->i_down++);
    return base;
}

static anemo_status must_fit(an_dtype type, const char *name, int64_t n_col, anemo_error *err)
{
    const an_dtype_info *info = an_dtype_get(type);
    if (n_col % info->block_elems == 0) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL, "tensor %s: its rows of %" PRId64 " weights are no whole blocks of %s (%d)", name, n_col,
                   info->name, info->block_elems);
}

anemo_status an_mix_type(an_mix_plan *p, const char *name, int n_dim, int64_t n_col, an_dtype source, an_dtype *type,
                         anemo_error *err)
{
    bool found = false;
    bool is_output = !strcmp(name, "output.weight");
    if (!is_quantizable(name, n_dim) || (p->keep_output && is_output)) {
        *type = source;
        return ANEMO_OK;
    }
    const an_dtype *named = is_output ? p->output : strcmp(name, "token_embd.weight") ? NULL : p->embedding;
    *type = named ? *named : p->mix->base;
    if (named) return must_fit(*type, name, n_col, err);
    if (an_dtype_get(*type)->block_elems == 1) return ANEMO_OK;
    if (p->overrides) {
        anemo_status status = an_tensor_types_find(p->overrides, name, &found, type, err);
        if (status != ANEMO_OK) return status;
    }
    if (!found && !p->pure) *type = by_rules(p, name, n_col);
    *type = fitting(*type, n_col);
    return ANEMO_OK;
}
