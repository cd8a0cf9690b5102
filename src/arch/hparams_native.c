/*
 * params.json of Mistral's own layout as the config.json that the official converter writes for it
 * (formats.md 6.1). The hyperparameters are then read from that configuration, so that both layouts
 * of a model end in the same values.
 */
#include "arch/hparams.h"

#include "base/json.h"
#include "base/num.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NATIVE_CTX_DEFAULT = 32768 };

typedef struct reader {
    const json_t *params, *beside;
    const char *name;
    json_t *text;   /* the text part of the configuration */
    bool no_memory; /* jansson dropped a member */
    char *note;
    size_t note_cap;
    anemo_error *err;
} reader;

static bool present(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return v && !json_is_null(v);
}

static void put(reader *r, json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new(object, key, value) != 0) r->no_memory = true;
}

static void add_note(reader *r, const char *text)
{
    size_t used = strlen(r->note);
    if (used < r->note_cap)
        snprintf(r->note + used, r->note_cap - used, "%s%s", used ? "; " : "", text);
}

/* ----------------------------------------------------------------------------------------------
 * what is refused */

static anemo_status refuse(const reader *r, const char *key, const char *why)
{
    return an_fail(r->err, ANEMO_ERR_UNSUPPORTED,
                   "%s: \"%s\" says that this model %s, which is not read", r->name, key, why);
}

/* Objects and keys that mean another architecture. Any object that is not known may be one. */
static anemo_status check_architecture(const reader *r)
{
    static const char *const MLA[] = {"q_lora_rank", "kv_lora_rank", "qk_rope_head_dim",
                                      "qk_nope_head_dim", "v_head_dim"};
    static const char *const KNOWN[] = {
        "yarn",           "llama_4_scaling", "quantization", "quantization_config",
        "vision_encoder", "multimodal",      "lora"};
    anemo_status status = ANEMO_OK;
    const char *text, *key;
    json_t *value;
    for (size_t i = 0; i < AN_COUNT_OF(MLA); i++)
        if (present(r->params, MLA[i]))
            return refuse(r, MLA[i], "uses multi-head latent attention (MLA)");
    if (present(r->params, "moe")) return refuse(r, "moe", "is a mixture of experts");
    AN_TRY(an_json_get_str(r->params, "model_type", "transformer", &text, r->name, r->err));
    if (strcmp(text, "transformer") != 0)
        return an_fail(r->err, ANEMO_ERR_UNSUPPORTED,
                       "%s: model type \"%.40s\" is not read, only \"transformer\"", r->name, text);
    AN_TRY(an_json_get_str(r->params, "activation", "silu", &text, r->name, r->err));
    if (strcmp(text, "silu") != 0)
        return an_fail(r->err, ANEMO_ERR_UNSUPPORTED,
                       "%s: activation \"%.40s\" is not read, only \"silu\"", r->name, text);
    json_object_foreach((json_t *)r->params, key, value)
    {
        bool known = !json_is_object(value);
        for (size_t i = 0; i < AN_COUNT_OF(KNOWN); i++)
            known = known || strcmp(key, KNOWN[i]) == 0;
        if (!known)
            return an_fail(
                r->err, ANEMO_ERR_UNSUPPORTED,
                "%s: \"%.60s\" is a part of a model that is not known here, so it is not read",
                r->name, key);
    }
    const json_t *multimodal = json_object_get(r->params, "multimodal");
    json_object_foreach((json_t *)multimodal, key, value)
    {
        if (strcmp(key, "vision_encoder") != 0 && json_is_object(value))
            return an_fail(
                r->err, ANEMO_ERR_UNSUPPORTED,
                "%s: \"multimodal\" holds \"%.60s\"; only models of text and images are read",
                r->name, key);
    }
cleanup:
    return status;
}

/* ----------------------------------------------------------------------------------------------------
 * plain values */

/* A whole number under the other layout's name; required when def is negative. */
static anemo_status copy_int(reader *r, const char *from, const char *to, int64_t def, int64_t *out)
{
    if (def < 0 && !present(r->params, from))
        return an_fail(r->err, ANEMO_ERR_FORMAT, "%s: \"%s\" is missing", r->name, from);
    anemo_status status = an_json_get_i64(r->params, from, def, 1, INT_MAX, out, r->name, r->err);
    if (status == ANEMO_OK) put(r, r->text, to, json_integer(*out));
    return status;
}

/* The context length: max_position_embeddings, max_seq_len, the config.json beside, else the
 * converter's number. */
static anemo_status copy_context(reader *r, int64_t *n_ctx)
{
    anemo_status status = ANEMO_OK;
    const json_t *text = json_object_get(r->beside, "text_config");
    if (!json_is_object(text)) text = r->beside;
    *n_ctx = 0;
    AN_TRY(an_json_get_i64(r->params, "max_seq_len", 0, 0, INT_MAX, n_ctx, r->name, r->err));
    AN_TRY(an_json_get_i64(r->params, "max_position_embeddings", *n_ctx, 0, INT_MAX, n_ctx, r->name,
                           r->err));
    if (*n_ctx == 0 && json_is_integer(json_object_get(text, "max_position_embeddings")))
        *n_ctx = json_integer_value(json_object_get(text, "max_position_embeddings"));
    if (*n_ctx == 0) {
        *n_ctx = NATIVE_CTX_DEFAULT;
        add_note(r, "params.json gives no context length: 32768 is taken");
    }
    put(r, r->text, "max_position_embeddings", json_integer(*n_ctx));
cleanup:
    return status;
}

/*
 * The base of the rotary embedding. Files of the first 7B model have none and mean 10000; they can
 * be told by their window or vocabulary.
 */
static anemo_status find_theta(reader *r, bool window, int64_t n_vocab, double *theta)
{
    if (present(r->params, "rope_theta"))
        return an_json_get_f64(r->params, "rope_theta", 0, theta, r->name, r->err);
    const json_t *text = json_object_get(r->beside, "text_config");
    if (!json_is_object(text)) text = r->beside;
    const json_t *inner = json_object_get(text, "rope_parameters");
    const json_t *v = json_object_get(present(inner, "rope_theta") ? inner : text, "rope_theta");
    if (json_is_number(v)) {
        *theta = json_number_value(v);
        add_note(r, "params.json gives no rope_theta: that of config.json is taken");
    } else if (window || n_vocab == 32000) {
        *theta = 10000;
        add_note(r, "params.json gives no rope_theta: 10000 is taken, as for Mistral 7B v0.1");
    } else {
        *theta = 1e6;
        add_note(
            r,
            "params.json gives no rope_theta: 1000000 is taken, which may be wrong for this model");
    }
    return ANEMO_OK;
}

/* ----------------------------------------------------------------------------------------------------------
 * windows */

/* A window as a number, a string of digits, or null. */
static bool window_of(const json_t *v, int64_t *out)
{
    if (!v || json_is_null(v)) {
        *out = 0;
        return true;
    }
    *out = json_integer_value(v);
    if (json_is_string(v) && !an_parse_i64(json_string_value(v), out)) return false;
    return (json_is_integer(v) || json_is_string(v)) && *out > 0 && *out <= INT_MAX;
}

/* sliding_window, and layer_types where a list gives a pattern that repeats over the layers. */
static anemo_status copy_windows(reader *r, int64_t n_layer, bool *any)
{
    const json_t *v = json_object_get(r->params, "sliding_window");
    if (!v || json_is_null(v)) v = json_object_get(r->params, "_sliding_window");
    size_t n = json_is_array(v) ? json_array_size(v) : 1;
    int64_t window = 0, one = 0;
    bool same = true, first_full = false;
    for (size_t i = 0; i < n; i++) {
        if (!window_of(json_is_array(v) ? json_array_get(v, i) : v, &one))
            return an_fail(
                r->err, ANEMO_ERR_FORMAT,
                "%s: \"sliding_window\" must be a positive number, null, or a list of these",
                r->name);
        if (i == 0) first_full = one == 0;
        same = same && (one == 0) == first_full;
        if (one != 0 && window != 0 && one != window)
            return an_fail(r->err, ANEMO_ERR_UNSUPPORTED,
                           "%s: \"sliding_window\" has windows of different sizes, which no other "
                           "format can say",
                           r->name);
        if (one != 0) window = one;
    }
    *any = window != 0;
    put(r, r->text, "sliding_window", window ? json_integer(window) : json_null());
    if (same) return ANEMO_OK;
    json_t *types = json_array();
    for (int64_t layer = 0; layer < n_layer; layer++) {
        bool full = json_is_null(json_array_get(v, (size_t)layer % n));
        if (json_array_append_new(types,
                                  json_string(full ? "full_attention" : "sliding_attention")) != 0)
            r->no_memory = true;
    }
    put(r, r->text, "layer_types", types);
    return ANEMO_OK;
}

/* --------------------------------------------------------------------------------------------------------------
 * YaRN */

static anemo_status copy_yarn(reader *r, double theta)
{
    anemo_status status = ANEMO_OK;
    const json_t *yarn = json_object_get(r->params, "yarn"),
                 *q = json_object_get(r->params, "llama_4_scaling");
    double factor = 0, fast = 0, slow = 0, beta = 0;
    int64_t n_orig = 0, q_orig = 0;
    bool scale = true;
    if (!json_is_object(yarn) || (q && !json_is_null(q) && !json_is_object(q)))
        return an_fail(r->err, ANEMO_ERR_FORMAT,
                       "%s: \"yarn\" and \"llama_4_scaling\" must be objects", r->name);
    AN_TRY(an_json_get_f64(yarn, "factor", 0, &factor, r->name, r->err));
    AN_TRY(an_json_get_f64(yarn, "beta", 32, &fast, r->name, r->err));
    AN_TRY(an_json_get_f64(yarn, "alpha", 1, &slow, r->name, r->err));
    AN_TRY(an_json_get_bool(yarn, "apply_scale", true, &scale, r->name, r->err));
    AN_TRY(an_json_get_i64(yarn, "original_max_position_embeddings", 0, 0, INT_MAX, &n_orig,
                           r->name, r->err));
    if (factor <= 0 || n_orig == 0)
        return an_fail(r->err, ANEMO_ERR_FORMAT,
                       "%s: \"yarn\" needs \"factor\" and \"original_max_position_embeddings\"",
                       r->name);
    if (json_is_object(q)) {
        AN_TRY(an_json_get_f64(q, "beta", 0, &beta, r->name, r->err));
        AN_TRY(an_json_get_i64(q, "original_max_position_embeddings", n_orig, 0, INT_MAX, &q_orig,
                               r->name, r->err));
        if (q_orig != n_orig)
            return an_fail(
                r->err, ANEMO_ERR_UNSUPPORTED,
                "%s: \"llama_4_scaling\" and \"yarn\" start from different original lengths",
                r->name);
    }
    json_t *rope = json_object();
    put(r, rope, "rope_type", json_string("yarn"));
    put(r, rope, "type", json_string("yarn"));
    put(r, rope, "rope_theta", an_json_real(theta));
    put(r, rope, "factor", an_json_real(factor));
    put(r, rope, "original_max_position_embeddings", json_integer(n_orig));
    put(r, rope, "beta_fast", an_json_real(fast));
    put(r, rope, "beta_slow", an_json_real(slow));
    put(r, rope, "mscale", json_real(1));
    put(r, rope, "mscale_all_dim", json_real(scale ? 0 : 1));
    put(r, rope, "llama_4_scaling_beta", an_json_real(beta));
    put(r, r->text, "rope_parameters", rope);
cleanup:
    return status;
}

/* -------------------------------------------------------------------------------------------------------
 * whole file */

static anemo_status copy_text(reader *r, bool yarn)
{
    anemo_status status = ANEMO_OK;
    int64_t dim = 0, n_layer = 0, n_head = 0, n_vocab = 0, unused = 0;
    double eps = 0, theta = 0;
    bool window = false;
    put(r, r->text, "model_type", json_string(yarn ? "ministral3" : "mistral"));
    put(r, r->text, "hidden_act", json_string("silu"));
    AN_TRY(copy_int(r, "dim", "hidden_size", -1, &dim));
    AN_TRY(copy_int(r, "n_layers", "num_hidden_layers", -1, &n_layer));
    AN_TRY(copy_int(r, "n_heads", "num_attention_heads", -1, &n_head));
    AN_TRY(copy_int(r, "n_kv_heads", "num_key_value_heads", n_head, &unused));
    AN_TRY(copy_int(r, "head_dim", "head_dim", dim / n_head, &unused));
    AN_TRY(copy_int(r, "hidden_dim", "intermediate_size", -1, &unused));
    AN_TRY(copy_int(r, "vocab_size", "vocab_size", -1, &n_vocab));
    if (n_layer > AN_LAYERS_MAX)
        return an_fail(r->err, ANEMO_ERR_FORMAT, "%s: number of layers is %d, expected 1 to %d",
                       r->name, (int)n_layer, AN_LAYERS_MAX);
    if (!present(r->params, "norm_eps"))
        return an_fail(r->err, ANEMO_ERR_FORMAT, "%s: \"norm_eps\" is missing", r->name);
    AN_TRY(an_json_get_f64(r->params, "norm_eps", 0, &eps, r->name, r->err));
    put(r, r->text, "rms_norm_eps", an_json_real(eps));
    AN_TRY(copy_context(r, &unused));
    AN_TRY(copy_windows(r, n_layer, &window));
    AN_TRY(find_theta(r, window, n_vocab, &theta));
    if (yarn)
        AN_TRY(copy_yarn(r, theta));
    else
        put(r, r->text, "rope_theta", an_json_real(theta));
cleanup:
    return status;
}

anemo_status an_hparams_native_config(const json_t *params, const json_t *beside, const char *name,
                                      json_t **config, char *note, size_t note_cap,
                                      anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    reader r = {.params = params,
                .beside = beside,
                .name = name,
                .note = note,
                .note_cap = note_cap,
                .err = err};
    json_t *top = NULL;
    bool tied = false;
    note[0] = '\0';
    if (!json_is_object(params))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the parameters must be a JSON object", name);
    AN_TRY(check_architecture(&r));
    AN_TRY(an_json_get_bool(params, "tied_embeddings", false, &tied, name, err));
    bool yarn = present(params, "yarn"), q_scale = present(params, "llama_4_scaling");
    bool vision = present(params, "vision_encoder") ||
                  present(json_object_get(params, "multimodal"), "vision_encoder");
    if (q_scale && !yarn)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: \"llama_4_scaling\" without \"yarn\" is not read", name);
    top = json_object();
    r.text = vision ? json_object() : json_incref(top);
    if (!top || !r.text) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    json_t *architectures = json_array();
    const char *architecture = vision ? "Mistral3ForConditionalGeneration"
                               : yarn ? "Ministral3ForCausalLM"
                                      : "MistralForCausalLM";
    if (json_array_append_new(architectures, json_string(architecture)) != 0) r.no_memory = true;
    put(&r, top, "architectures", architectures);
    AN_TRY(copy_text(&r, yarn));
    put(&r, top, "bos_token_id", json_integer(1));
    put(&r, top, "eos_token_id", json_integer(2));
    put(&r, top, "tie_word_embeddings", json_boolean(tied));
    if (vision) {
        put(&r, r.text, "tie_word_embeddings", json_boolean(tied));
        put(&r, top, "model_type", json_string("mistral3"));
        put(&r, top, "text_config", json_incref(r.text));
    }
    if (r.no_memory) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    *config = json_incref(top);
cleanup:
    json_decref(r.text);
    json_decref(top);
    return status;
}
