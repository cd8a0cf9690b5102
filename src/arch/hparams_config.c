/*
 * Hyperparameters from a Hugging Face config.json: model types llama, mistral, ministral3 and mistral3 (its text
 * part), rope parameters in both the old and the new place (formats.md 3.2, 6.5, 9.1). Where a key is absent
 * the default is that of transformers' configuration class.
 */
#include "arch/hparams.h"

#include "base/json.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* The class defaults that differ between model types. */
typedef struct family {
    const char *model_type;
    double norm_eps;
    int n_ctx_train;
    int window;   /* sliding window when the key is absent */
    bool windows; /* sliding_window counts without layer_types */
    int head_dim; /* 0: n_embd / n_head */
} family;

static const family FAMILIES[] = {
    {"llama", 1e-6, 2048, 0, false, 0},
    {"mistral", 1e-6, 131072, 4096, true, 0},
    {"ministral3", 1e-5, 262144, 0, true, 128},
};

static bool present(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return v && !json_is_null(v);
}

static anemo_status get_int(const json_t *obj, const char *key, int def, bool required, int *out,
                            const char *name, anemo_error *err)
{
    if (required && !present(obj, key))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" is missing", name, key);
    int64_t v;
    anemo_status status = an_json_get_i64(obj, key, def, 0, INT_MAX, &v, name, err);
    if (status == ANEMO_OK) *out = (int)v;
    return status;
}

/* ------------------------------------------------------------------------------------- what is refused by name */

static anemo_status refuse_mode(const char *mode, const char *where, const char *name,
                                anemo_error *err)
{
    static const char *const MODES[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
    for (size_t i = 0; i < AN_COUNT_OF(MODES); i++)
        if (!mode || strcmp(mode, MODES[i]) == 0) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: quantization mode \"%.40s\"%s%.80s is not read here, only affine, mxfp4, mxfp8 and nvfp4",
                   name, mode, where ? " of " : "", where ? where : "");
}

/* MLX's own section. Modes, widths and groups follow from types and shapes; a mode that is none of MLX's would be misread. */
static anemo_status check_mlx_quantization(const json_t *q, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *mode, *key;
    if (!json_is_object(q))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"quantization\" must be an object", name);
    AN_TRY(an_json_get_str(q, "mode", NULL, &mode, name, err));
    AN_TRY(refuse_mode(mode, NULL, name, err));
    json_t *value;
    json_object_foreach((json_t *)q, key, value)
    {
        if (!json_is_object(value)) continue;
        AN_TRY(an_json_get_str(value, "mode", NULL, &mode, name, err));
        AN_TRY(refuse_mode(mode, key, name, err));
    }
cleanup:
    return status;
}

static anemo_status check_quantization(const json_t *config, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *own = json_object_get(config, "quantization");
    if (own && !json_is_null(own)) return check_mlx_quantization(own, name, err);
    const json_t *q = json_object_get(config, "quantization_config");
    if (!json_is_object(q)) return ANEMO_OK;
    const char *method;
    AN_TRY(an_json_get_str(q, "quant_method", NULL, &method, name, err));
    if (method && strstr(method, "fp8"))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: FP8 weights (\"%s\") are not run by the native engine; convert them: anemo convert SRC OUT --to "
                       "gguf (or mlx)",
                       name, method);
    if (method)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: weights quantized by \"%s\" are not read by the native engine; use a "
                       "GGUF file, an MLX conversion or the unquantized model",
                       name, method);
    if (present(q, "bits")) AN_TRY(check_mlx_quantization(q, name, err));
cleanup:
    return status;
}

static anemo_status check_text_part(const json_t *text, const char *name, anemo_error *err)
{
    static const char *const EXPERTS[] = {"num_local_experts", "n_routed_experts", "num_experts",
                                          "moe"};
    static const char *const MLA[] = {"kv_lora_rank", "q_lora_rank", "qk_rope_head_dim"};
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < AN_COUNT_OF(EXPERTS); i++) {
        const json_t *v = json_object_get(text, EXPERTS[i]);
        if (v && !json_is_null(v) && !(json_is_integer(v) && json_integer_value(v) == 0))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: \"%s\" says that this is a mixture of experts, which the native "
                           "engine does not run; " AN_ARCH_ADVICE,
                           name, EXPERTS[i]);
    }
    for (size_t i = 0; i < AN_COUNT_OF(MLA); i++)
        if (present(text, MLA[i]))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: \"%s\" says that this model uses multi-head latent attention (MLA), "
                           "which the native engine does not run; " AN_ARCH_ADVICE,
                           name, MLA[i]);
    const char *act;
    AN_TRY(an_json_get_str(text, "hidden_act", "silu", &act, name, err));
    if (strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: activation \"%s\" is not run by the native engine, only \"silu\"; "
                       AN_ARCH_ADVICE,
                       name, act);
    bool mlp_bias;
    AN_TRY(an_json_get_bool(text, "mlp_bias", false, &mlp_bias, name, err));
    if (mlp_bias)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: biases in the feed-forward layers are not run by the native engine; "
                       AN_ARCH_ADVICE,
                       name);
cleanup:
    return status;
}

/* -------------------------------------------------------------------------------------------------------- rope */

static anemo_status read_yarn(const json_t *rope, an_hparams *hp, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    double mscale, mscale_all_dim, attn_factor;
    hp->rope_scaling = AN_ROPE_YARN;
    AN_TRY(an_json_get_f64(rope, "beta_fast", 32, &hp->yarn_beta_fast, name, err));
    AN_TRY(an_json_get_f64(rope, "beta_slow", 1, &hp->yarn_beta_slow, name, err));
    /* transformers takes 0 as absent. */
    if (hp->yarn_beta_fast == 0) hp->yarn_beta_fast = 32;
    if (hp->yarn_beta_slow == 0) hp->yarn_beta_slow = 1;
    AN_TRY(an_json_get_bool(rope, "truncate", true, &hp->yarn_truncate, name, err));
    AN_TRY(an_json_get_f64(rope, "mscale", 0, &mscale, name, err));
    AN_TRY(an_json_get_f64(rope, "mscale_all_dim", 0, &mscale_all_dim, name, err));
    AN_TRY(an_json_get_f64(rope, "attention_factor", 0, &attn_factor, name, err));
    if (!present(rope, "factor"))
        hp->rope_factor = (double)hp->n_ctx_train / hp->rope_n_ctx_orig;
    hp->rope_attn_factor = attn_factor != 0
                               ? attn_factor
                               : an_yarn_attn_factor(hp->rope_factor, mscale, mscale_all_dim);
cleanup:
    return status;
}

static anemo_status read_rope(const json_t *text, an_hparams *hp, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *rope = json_object_get(text, "rope_parameters");
    if (!json_is_object(rope)) rope = json_object_get(text, "rope_scaling");
    if (!json_is_object(rope)) rope = NULL;
    if (present(rope, "full_attention") || present(rope, "sliding_attention"))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: rope parameters that differ by layer type are not run by the native engine; "
                       AN_ARCH_ADVICE,
                       name);
    const char *type;
    double theta, partial;
    int n_ctx_orig = hp->n_ctx_train;

    hp->rope_attn_factor = 1;
    hp->rope_factor = 1;
    hp->yarn_truncate = true;
    AN_TRY(an_json_get_f64(text, "rope_theta", 10000, &theta, name, err));
    AN_TRY(an_json_get_f64(rope, "rope_theta", theta, &hp->rope_theta, name, err));
    AN_TRY(an_json_get_f64(text, "partial_rotary_factor", 1, &partial, name, err));
    AN_TRY(an_json_get_f64(rope, "partial_rotary_factor", partial, &partial, name, err));
    if (!(partial > 0 && partial <= 1))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: partial_rotary_factor is %g, expected above 0 to 1",
                       name, partial);
    hp->rope_dim = (int)(hp->head_dim * partial);
    AN_TRY(an_json_get_str(rope, "type", "default", &type, name, err));
    AN_TRY(an_json_get_str(rope, "rope_type", type, &type, name, err));
    AN_TRY(an_json_get_f64(rope, "factor", 1, &hp->rope_factor, name, err));
    AN_TRY(get_int(rope, "original_max_position_embeddings", n_ctx_orig, false, &n_ctx_orig, name,
                   err));
    AN_TRY(get_int(text, "original_max_position_embeddings", n_ctx_orig, false, &n_ctx_orig, name,
                   err));
    hp->rope_n_ctx_orig = n_ctx_orig;
    if (n_ctx_orig < 1)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: original_max_position_embeddings must be positive",
                       name);

    if (strcmp(type, "default") == 0) {
        hp->rope_factor = 1;
    } else if (strcmp(type, "linear") == 0) {
        hp->rope_scaling = AN_ROPE_LINEAR;
    } else if (strcmp(type, "dynamic") == 0) {
        hp->rope_scaling = AN_ROPE_DYNAMIC;
        hp->rope_n_ctx_orig = hp->n_ctx_train;
    } else if (strcmp(type, "yarn") == 0) {
        AN_TRY(read_yarn(rope, hp, name, err));
    } else if (strcmp(type, "llama3") == 0) {
        hp->rope_scaling = AN_ROPE_LLAMA3;
        AN_TRY(an_json_get_f64(rope, "low_freq_factor", 1, &hp->llama3_low_freq_factor, name, err));
        AN_TRY(an_json_get_f64(rope, "high_freq_factor", 4, &hp->llama3_high_freq_factor, name, err));
    } else {
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: rope scaling \"%s\" is not run by the native engine (default, linear, "
                       "dynamic, yarn and llama3 are); " AN_ARCH_ADVICE,
                       name, type);
    }
    AN_TRY(an_json_get_f64(rope, "llama_4_scaling_beta", 0, &hp->query_scale_beta, name, err));
    hp->query_scale_n_ctx = hp->rope_n_ctx_orig;
cleanup:
    return status;
}

/* ----------------------------------------------------------------------------------------------------- windows */

/* sliding_window as a number, or as a list with nulls that repeats over the layers. */
static anemo_status window_of_layer(const json_t *v, int layer, int def, int *window,
                                    const char *name, anemo_error *err)
{
    if (json_is_array(v)) {
        if (json_array_size(v) == 0) {
            *window = 0;
            return ANEMO_OK;
        }
        v = json_array_get(v, (size_t)layer % json_array_size(v));
    } else if (!v) {
        *window = def;
        return ANEMO_OK;
    }
    if (json_is_null(v)) {
        *window = 0;
        return ANEMO_OK;
    }
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: \"sliding_window\" must be a positive integer, null, or a list of these",
                       name);
    *window = (int)json_integer_value(v);
    return ANEMO_OK;
}

static anemo_status read_windows(const json_t *text, const family *fam, an_arch_params *p,
                                 const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *v = json_object_get(text, "sliding_window");
    const json_t *types = json_object_get(text, "layer_types");
    bool use;
    AN_TRY(an_json_get_bool(text, "use_sliding_window", true, &use, name, err));
    if (!json_is_array(types)) types = NULL;
    if (types && json_array_size(types) != (size_t)p->hp.n_layer)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"layer_types\" has %zu entries for %d layers", name,
                       json_array_size(types), p->hp.n_layer);
    for (int layer = 0; layer < p->hp.n_layer; layer++) {
        bool sliding = fam->windows;
        if (types) {
            const char *type = json_string_value(json_array_get(types, (size_t)layer));
            if (!type || (strcmp(type, "sliding_attention") != 0 && strcmp(type, "full_attention") != 0))
                return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                               "%s: layer_types[%d] is \"%s\"; the native engine runs "
                               "\"full_attention\" and \"sliding_attention\"",
                               name, layer, type ? type : "(not a string)");
            sliding = type[0] == 's';
        }
        int window = 0;
        AN_TRY(window_of_layer(v, layer, fam->window, &window, name, err));
        p->window[layer] = sliding && use ? window : 0;
    }
cleanup:
    return status;
}

/* ---------------------------------------------------------------------------------------------------- whole file */

anemo_status an_hparams_eos_from_json(const json_t *config, const char *name, an_arch_params *out,
                                      anemo_error *err)
{
    const json_t *v = json_object_get(config, "eos_token_id");
    if (!v || json_is_null(v)) return ANEMO_OK;
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    out->n_eos = 0;
    for (size_t i = 0; i < n && i < AN_COUNT_OF(out->eos_ids); i++) {
        const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: \"eos_token_id\" must be a token id or a list of them", name);
        out->eos_ids[out->n_eos++] = (int32_t)json_integer_value(id);
    }
    return ANEMO_OK;
}

/* The object with the text model's values and its family. */
static anemo_status find_text_part(const json_t *config, const json_t **text, const family **fam,
                                   char arch[32], const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *type, *inner;
    if (!json_is_object(config))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the configuration must be a JSON object", name);
    AN_TRY(an_json_get_str(config, "model_type", NULL, &type, name, err));
    if (!type) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"model_type\" is missing", name);
    *text = config;
    inner = type;
    if (strcmp(type, "mistral3") == 0) {
        const json_t *nested = json_object_get(config, "text_config");
        if (!json_is_object(nested))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"text_config\" of a mistral3 model is missing",
                           name);
        *text = nested;
        AN_TRY(an_json_get_str(nested, "model_type", "mistral", &inner, name, err));
    }
    *fam = NULL;
    for (size_t i = 0; i < AN_COUNT_OF(FAMILIES); i++)
        if (strcmp(inner, FAMILIES[i].model_type) == 0) *fam = &FAMILIES[i];
    if (!*fam) {
        const char *why = an_arch_refusal(inner);
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: model type \"%.40s\" is not run by the native engine (%s); " AN_ARCH_ADVICE,
                       name, inner, why ? why : "it runs llama, mistral, ministral3 and mistral3");
    }
    strcpy(arch, strcmp(type, "mistral3") == 0 ? "mistral3" : (*fam)->model_type);
cleanup:
    return status;
}

anemo_status an_hparams_from_json(const json_t *config, const char *name, an_arch_params *out,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *text = NULL;
    const family *fam = NULL;
    an_arch_params p = {0};
    an_hparams *hp = &p.hp;

    AN_TRY(find_text_part(config, &text, &fam, p.arch, name, err));
    AN_TRY(check_text_part(text, name, err));
    AN_TRY(check_quantization(config, name, err));
    if (text != config) AN_TRY(check_quantization(text, name, err));

    AN_TRY(get_int(text, "num_hidden_layers", 0, true, &hp->n_layer, name, err));
    AN_TRY(get_int(text, "hidden_size", 0, true, &hp->n_embd, name, err));
    AN_TRY(get_int(text, "intermediate_size", 0, true, &hp->n_ff, name, err));
    AN_TRY(get_int(text, "num_attention_heads", 0, true, &hp->n_head, name, err));
    AN_TRY(get_int(text, "num_key_value_heads", hp->n_head, false, &hp->n_head_kv, name, err));
    AN_TRY(get_int(text, "vocab_size", 0, true, &hp->n_vocab, name, err));
    AN_TRY(get_int(text, "max_position_embeddings", fam->n_ctx_train, false, &hp->n_ctx_train, name,
                   err));
    if (hp->n_layer > AN_LAYERS_MAX || hp->n_head < 1)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: %d layers and %d heads; expected 1 to %d layers and at least one head", name,
                       hp->n_layer, hp->n_head, AN_LAYERS_MAX);
    int head_dim = fam->head_dim ? fam->head_dim : hp->n_embd / hp->n_head;
    AN_TRY(get_int(text, "head_dim", head_dim, false, &hp->head_dim, name, err));
    if (hp->n_vocab < 1 || hp->n_vocab > AN_VOCAB_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: vocabulary of %d entries, expected 1 to %d", name,
                       hp->n_vocab, AN_VOCAB_MAX);
    AN_TRY(an_json_get_f64(text, "rms_norm_eps", fam->norm_eps, &hp->norm_eps, name, err));
    hp->rope_rows = AN_ROPE_HALF_SPLIT;
    AN_TRY(read_rope(text, hp, name, err));
    AN_TRY(read_windows(text, fam, &p, name, err));

    /* The inner object first: wrappers inherit a default of their own that says nothing about the text part. */
    const json_t *tie = present(text, "tie_word_embeddings") ? text : config;
    p.tie_known = present(tie, "tie_word_embeddings");
    AN_TRY(an_json_get_bool(tie, "tie_word_embeddings", false, &p.tie, name, err));
    AN_TRY(an_hparams_eos_from_json(text, name, &p, err));
    if (text != config) AN_TRY(an_hparams_eos_from_json(config, name, &p, err));
    AN_TRY(an_hparams_finish(&p, name, err));
    *out = p;
cleanup:
    return status;
}

anemo_status an_hparams_from_config(const char *text, size_t n, const char *name,
                                    an_arch_params *out, anemo_error *err)
{
    json_t *config;
    anemo_status status = an_json_parse(&config, text, n, name, err);
    if (status != ANEMO_OK) return status;
    status = an_hparams_from_json(config, name, out, err);
    json_decref(config);
    return status;
}
