/* Hyperparameters from GGUF metadata: architectures llama and mistral3 (formats.md 1.3). */
#include "arch/hparams.h"

#include "base/num.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct source {
    const an_gguf *g;
    const char *arch;
    const char *name; /* path, for messages */
    anemo_error *err;
} source;

typedef char key_name[96];

static void make_key(const source *s, const char *tail, key_name key)
{
    snprintf(key, sizeof(key_name), "%s.%s", s->arch, tail);
}

/*
 * A whole number. Some writers give one value per layer: an array is taken when all its values are equal,
 * because one forward pass has one shape.
 */
static anemo_status get_int(const source *s, const char *tail, int def, bool required, int *out)
{
    key_name key;
    make_key(s, tail, key);
    int64_t value = def;
    const an_gguf_kv *kv = an_gguf_find(s->g, key);
    if (kv && kv->type == AN_GGUF_ARRAY) {
        bool number = kv->elem_type < AN_GGUF_F32 || kv->elem_type == AN_GGUF_U64 ||
                      kv->elem_type == AN_GGUF_I64;
        if (!number || kv->n == 0)
            return an_fail(s->err, ANEMO_ERR_FORMAT, "%s: key %s must be an integer or an array of them",
                           s->name, key);
        value = an_gguf_array_i64(kv, 0);
        for (uint64_t i = 1; i < kv->n; i++)
            if (an_gguf_array_i64(kv, i) != value)
                return an_fail(s->err, ANEMO_ERR_UNSUPPORTED,
                               "%s: key %s differs between layers, which the native engine does not "
                               "run; " AN_ARCH_ADVICE,
                               s->name, key);
        if (value < 0 || value > INT_MAX)
            return an_fail(s->err, ANEMO_ERR_FORMAT, "%s: key %s holds %" PRId64 ", out of range",
                           s->name, key, value);
    } else {
        anemo_status status = an_gguf_get_i64(s->g, key, required, 0, INT_MAX, &value, s->err);
        if (status != ANEMO_OK) return status;
    }
    *out = (int)value;
    return ANEMO_OK;
}

static anemo_status get_real(const source *s, const char *tail, double def, bool required, double *out)
{
    key_name key;
    make_key(s, tail, key);
    double value = def;
    anemo_status status = an_gguf_get_f64(s->g, key, required, &value, s->err);
    if (status == ANEMO_OK) *out = value;
    return status;
}

static bool equals(an_bytes b, const char *text)
{
    return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static anemo_status read_arch(const an_gguf *g, char arch[32], const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_bytes value = {0}, type = {"model", 5};
    AN_TRY(an_gguf_get_str(g, "general.architecture", true, &value, err));
    AN_TRY(an_gguf_get_str(g, "general.type", false, &type, err));
    if (!equals(type, "model"))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: this file holds a \"%.*s\" (general.type), not a model", name,
                       (int)an_min_i64((int64_t)type.len, 40), type.data);
    char text[32];
    int len = (int)an_min_i64((int64_t)value.len, (int64_t)sizeof text - 1);
    snprintf(text, sizeof text, "%.*s", len, value.data);
    if (!equals(value, "llama") && !equals(value, "mistral3")) {
        const char *why = an_arch_refusal(text);
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: architecture \"%s\" is not run by the native engine (%s); " AN_ARCH_ADVICE,
                       name, text, why ? why : "it runs llama and mistral3");
    }
    strcpy(arch, text);
cleanup:
    return status;
}

/* YaRN as llama.cpp reads it; the attention factor comes from the formula, not from its internal detour. */
static anemo_status read_yarn(const source *s, an_hparams *hp)
{
    anemo_status status = ANEMO_OK;
    double ext, log_mul, attn, yarn_attn;
    AN_TRY(get_real(s, "rope.scaling.yarn_ext_factor", -1, false, &ext));
    AN_TRY(get_real(s, "rope.scaling.yarn_log_multiplier", 0, false, &log_mul));
    AN_TRY(get_real(s, "rope.scaling.attn_factor", 1, false, &attn));
    AN_TRY(get_real(s, "rope.scaling.yarn_attn_factor", 1, false, &yarn_attn));
    AN_TRY(get_real(s, "rope.scaling.yarn_beta_fast", 32, false, &hp->yarn_beta_fast));
    AN_TRY(get_real(s, "rope.scaling.yarn_beta_slow", 1, false, &hp->yarn_beta_slow));
    hp->yarn_truncate = true;
    if (ext == 0) { /* no blending: plain interpolation, no logarithm in the factor */
        hp->rope_scaling = AN_ROPE_LINEAR;
        hp->rope_attn_factor = attn * yarn_attn;
    } else if (ext == 1 || ext < 0) {
        hp->rope_scaling = AN_ROPE_YARN;
        hp->rope_attn_factor =
            attn * yarn_attn * an_yarn_attn_factor(hp->rope_factor, log_mul != 0 ? 1 : 0, log_mul);
    } else {
        status = an_fail(s->err, ANEMO_ERR_UNSUPPORTED,
                         "%s: key %s.rope.scaling.yarn_ext_factor is %g; the native engine runs 0 and 1",
                         s->name, s->arch, ext);
    }
cleanup:
    return status;
}

static anemo_status read_rope(const source *s, an_hparams *hp)
{
    anemo_status status = ANEMO_OK;
    key_name key;
    an_bytes type = {"linear", 6};
    AN_TRY(get_int(s, "rope.dimension_count", hp->head_dim, false, &hp->rope_dim));
    AN_TRY(get_real(s, "rope.freq_base", 10000, false, &hp->rope_theta));
    AN_TRY(get_real(s, "rope.scale_linear", 1, false, &hp->rope_factor));
    AN_TRY(get_real(s, "rope.scaling.factor", hp->rope_factor, false, &hp->rope_factor));
    if (hp->rope_factor == 0) hp->rope_factor = 1; /* written by old converters for "none" */
    AN_TRY(get_int(s, "rope.scaling.original_context_length", hp->n_ctx_train, false,
                   &hp->rope_n_ctx_orig));
    make_key(s, "rope.scaling.type", key);
    AN_TRY(an_gguf_get_str(s->g, key, false, &type, s->err));
    hp->rope_attn_factor = 1;
    if (equals(type, "yarn")) {
        AN_TRY(read_yarn(s, hp));
    } else if (equals(type, "none")) {
        hp->rope_factor = 1;
    } else if (equals(type, "linear")) {
        hp->rope_scaling = hp->rope_factor == 1 ? AN_ROPE_NONE : AN_ROPE_LINEAR;
    } else {
        return an_fail(s->err, ANEMO_ERR_UNSUPPORTED,
                       "%s: rope scaling \"%.*s\" is not run by the native engine (none, linear and yarn "
                       "are); " AN_ARCH_ADVICE,
                       s->name, (int)an_min_i64((int64_t)type.len, 40), type.data);
    }
    AN_TRY(get_real(s, "attention.temperature_scale", 0, false, &hp->query_scale_beta));
    AN_TRY(get_int(s, "attention.temperature_length", hp->rope_n_ctx_orig, false,
                   &hp->query_scale_n_ctx));
cleanup:
    return status;
}

static anemo_status read_windows(const source *s, an_arch_params *p)
{
    key_name key;
    make_key(s, "attention.sliding_window", key);
    const an_gguf_kv *kv = an_gguf_find(s->g, key);
    bool per_layer = kv && kv->type == AN_GGUF_ARRAY;
    if (per_layer && (kv->n != (uint64_t)p->hp.n_layer ||
                      (kv->elem_type != AN_GGUF_U32 && kv->elem_type != AN_GGUF_I32)))
        return an_fail(s->err, ANEMO_ERR_FORMAT, "%s: key %s must be one integer or one per layer",
                       s->name, key);
    int window = 0;
    if (!per_layer) {
        anemo_status status = get_int(s, "attention.sliding_window", 0, false, &window);
        if (status != ANEMO_OK) return status;
    }
    for (int layer = 0; layer < p->hp.n_layer; layer++) {
        int64_t w = per_layer ? an_gguf_array_i64(kv, (uint64_t)layer) : window;
        if (w < 0 || w > INT_MAX)
            return an_fail(s->err, ANEMO_ERR_FORMAT, "%s: key %s holds %" PRId64 ", out of range",
                           s->name, key, w);
        p->window[layer] = (int)w;
    }
    return ANEMO_OK;
}

static anemo_status read_eos(const an_gguf *g, an_arch_params *p, anemo_error *err)
{
    static const char *const KEYS[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < AN_COUNT_OF(KEYS); i++) {
        int64_t id = -1;
        anemo_status status = an_gguf_get_i64(g, KEYS[i], false, -1, UINT32_MAX, &id, err);
        if (status != ANEMO_OK) return status;
        if (id < 0 || id > INT32_MAX) continue;
        bool known = false;
        for (int k = 0; k < p->n_eos; k++) known |= p->eos_ids[k] == (int32_t)id;
        if (!known) p->eos_ids[p->n_eos++] = (int32_t)id;
    }
    return ANEMO_OK;
}

anemo_status an_hparams_from_gguf(const an_gguf *g, an_arch_params *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_arch_params p = {0};
    an_hparams *hp = &p.hp;
    source s = {.g = g, .arch = p.arch, .name = an_gguf_path(g), .err = err};
    int n_expert, value_dim;

    AN_TRY(read_arch(g, p.arch, s.name, err));
    AN_TRY(get_int(&s, "expert_count", 0, false, &n_expert));
    if (n_expert > 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: key %s.expert_count is %d: a mixture of experts, which the native engine "
                       "does not run; " AN_ARCH_ADVICE,
                       s.name, p.arch, n_expert);
    AN_TRY(get_int(&s, "block_count", 0, true, &hp->n_layer));
    AN_TRY(get_int(&s, "context_length", 0, true, &hp->n_ctx_train));
    AN_TRY(get_int(&s, "embedding_length", 0, true, &hp->n_embd));
    AN_TRY(get_int(&s, "feed_forward_length", 0, true, &hp->n_ff));
    AN_TRY(get_int(&s, "attention.head_count", 0, true, &hp->n_head));
    AN_TRY(get_int(&s, "attention.head_count_kv", hp->n_head, false, &hp->n_head_kv));
    if (hp->n_layer > AN_LAYERS_MAX || hp->n_head < 1)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: %d layers and %d heads; expected 1 to %d layers and at least one head",
                       s.name, hp->n_layer, hp->n_head, AN_LAYERS_MAX);
    AN_TRY(get_int(&s, "attention.key_length", hp->n_embd / hp->n_head, false, &hp->head_dim));
    AN_TRY(get_int(&s, "attention.value_length", hp->head_dim, false, &value_dim));
    if (value_dim != hp->head_dim)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: keys of %d and values of %d dimensions; the native engine runs equal ones",
                       s.name, hp->head_dim, value_dim);
    AN_TRY(get_real(&s, "attention.layer_norm_rms_epsilon", 0, true, &hp->norm_eps));
    AN_TRY(get_real(&s, "attention.scale", 0, false, &hp->attn_scale));
    hp->rope_rows = AN_ROPE_INTERLEAVED;
    AN_TRY(read_rope(&s, hp));
    AN_TRY(read_windows(&s, &p));
    AN_TRY(read_eos(g, &p, err));
    AN_TRY(an_hparams_finish(&p, s.name, err));
    *out = p;
cleanup:
    return status;
}
