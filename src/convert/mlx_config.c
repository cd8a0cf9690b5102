/* config.json and generation_config.json of a converted model: the source's own, or made from its hyperparameters. */
#include "convert/convert_internal.h"

#include "arch/hparams.h"
#include "base/alloc.h"
#include "os/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest form in which every number keeps its value: 1e-05 and not 1.0000000000000001e-05. */
static anemo_status write_exactly(const json_t *value, size_t flags, const char *name, an_str *text, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t digits = 6; digits <= 17; digits++) {
        json_t *back = NULL;
        an_str_clear(text);
        AN_TRY(an_json_write(json_deep_copy(value), flags | JSON_REAL_PRECISION(digits), text, err));
        AN_TRY(an_json_parse(&back, text->data, text->len, name, err));
        bool same = json_equal(value, back);
        json_decref(back);
        if (same) break;
    }
cleanup:
    return status;
}

anemo_status an_mlx_write_json(const char *dir, const char *name, json_t *value, size_t flags,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    char *path = an_path_join(dir, name);
    if (!value || !path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    /* Large documents have no numbers with a point, so one pass is enough for them. */
    if (json_object_get(value, "model") || json_object_get(value, "weight_map")) AN_TRY(an_json_write(json_incref(value), flags, &text, err));
    else AN_TRY(write_exactly(value, flags, name, &text, err));
    AN_TRY(an_file_write(path, text.data, text.len, err));
cleanup:
    json_decref(value);
    an_str_free(&text);
    an_free(path);
    return status;
}

static void set_int(json_t *obj, const char *key, int64_t v)
{
    json_object_set_new(obj, key, json_integer(v));
}

/* The shortest decimal that is the same f32: 1e-05, not 9.99999975e-06. */
static void set_real(json_t *obj, const char *key, double v)
{
    char text[32];
    double shortest = v;
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        shortest = strtod(text, NULL);
        if ((float)shortest == (float)v) break;
    }
    json_object_set_new(obj, key, json_real(shortest));
}

enum { LLAMA3_LOW = 1, LLAMA3_HIGH = 4 };

/* The divisor that Llama 3's rule gives to pair i. */
static double llama3_divisor(const an_hparams *hp, int i, double factor, double n_ctx_orig)
{
    double wavelength = 2 * acos(-1.0) * pow(hp->rope_theta, 2.0 * i / hp->rope_dim);
    double smooth = (n_ctx_orig / wavelength - LLAMA3_LOW) / (LLAMA3_HIGH - LLAMA3_LOW);
    if (smooth <= 0) return factor;
    if (smooth >= 1) return 1;
    return 1 / ((1 - smooth) / factor + smooth);
}

static bool fits_llama3(const an_hparams *hp, double factor, double n_ctx_orig)
{
    for (int i = 0; i < hp->rope_dim / 2; i++) {
        double expected = llama3_divisor(hp, i, factor, n_ctx_orig);
        if (fabs((double)hp->rope_freq_factors[i] - expected) > 1e-5 * expected) return false;
    }
    return true;
}

/*
 * Llama 3 files carry the result of their scaling as rope_freqs.weight. Its rule is solved for the
 * parameters (with the published low and high factors 1 and 4) and taken when it gives back every
 * number of the file.
 */
static bool find_llama3(const an_hparams *hp, double *factor, int *n_ctx_orig)
{
    int n = hp->rope_dim / 2;
    *factor =
        (double)hp->rope_freq_factors[n - 1]; /* the longest wave is divided by the whole factor */
    if (*factor <= 1) return false;
    for (int i = 0; i < n; i++) {
        double v = (double)hp->rope_freq_factors[i];
        if (v <= 1.0001 || v >= *factor * 0.9999) continue;
        double smooth = (1 / v - 1 / *factor) / (1 - 1 / *factor);
        double wavelength = 2 * acos(-1.0) * pow(hp->rope_theta, 2.0 * i / hp->rope_dim);
        double orig = wavelength * (smooth * (LLAMA3_HIGH - LLAMA3_LOW) + LLAMA3_LOW);
        if (!(orig >= 1 && orig < AN_CTX_MAX)) return false;
        *n_ctx_orig = (int)lround(orig);
        return fits_llama3(hp, *factor, *n_ctx_orig);
    }
    for (*n_ctx_orig = 16; *n_ctx_orig < AN_CTX_MAX; *n_ctx_orig *= 2)
        if (fits_llama3(hp, *factor, *n_ctx_orig)) return true;
    return false;
}

/* rope_parameters of transformers 5; the same without theta is rope_scaling of everything older and
 * of mlx-lm. */
static anemo_status add_rope(json_t *config, const an_source *src, anemo_error *err)
{
    const an_hparams *hp = &src->params.hp;
    const char *type = "default";
    json_t *rope = json_object();
    double factor = hp->rope_factor;
    int n_ctx_orig;
    if (hp->rope_freq_factors) {
        if (hp->rope_scaling != AN_ROPE_NONE || !find_llama3(hp, &factor, &n_ctx_orig)) {
            json_decref(rope);
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: rope_freqs.weight does not follow the rule of Llama 3, so "
                           "config.json cannot say it",
                           src->path);
        }
        type = "llama3";
        set_real(rope, "factor", factor);
        set_real(rope, "low_freq_factor", LLAMA3_LOW);
        set_real(rope, "high_freq_factor", LLAMA3_HIGH);
        set_int(rope, "original_max_position_embeddings", n_ctx_orig);
    } else if (hp->rope_scaling == AN_ROPE_LINEAR) {
        type = "linear";
        set_real(rope, "factor", factor);
    } else if (hp->rope_scaling == AN_ROPE_YARN) {
        double log_factor = 0.1 * log(factor), plain = an_yarn_attn_factor(factor, 0, 0);
        type = "yarn";
        set_real(rope, "factor", factor);
        set_int(rope, "original_max_position_embeddings", hp->rope_n_ctx_orig);
        set_real(rope, "beta_fast", hp->yarn_beta_fast);
        set_real(rope, "beta_slow", hp->yarn_beta_slow);
        /* transformers takes attention_factor, mlx-lm the ratio of the two scales: both give the
         * same number. */
        bool same = fabs(hp->rope_attn_factor - plain) < 1e-6,
             one = fabs(hp->rope_attn_factor - 1) < 1e-6;
        set_real(rope, "mscale", same || one ? 1 : (hp->rope_attn_factor - 1) / log_factor);
        set_real(rope, "mscale_all_dim", one && !same ? 1 : 0);
        if (!same && !one) set_real(rope, "attention_factor", hp->rope_attn_factor);
    }
    json_object_set_new(rope, "rope_type", json_string(type));
    if (hp->query_scale_beta > 0 || !strcmp(src->params.arch, "mistral3")) {
        set_real(rope, "llama_4_scaling_beta", hp->query_scale_beta);
        set_int(rope, "original_max_position_embeddings", hp->rope_n_ctx_orig);
    }
    if (strcmp(type, "default")) json_object_set_new(config, "rope_scaling", json_copy(rope));
    set_real(rope, "rope_theta", hp->rope_theta);
    json_object_set_new(config, "rope_parameters", rope);
    set_real(config, "rope_theta", hp->rope_theta);
    return ANEMO_OK;
}

/*
 * sliding_window and, when only some layers have it, the kind of each: mlx-lm cannot open a list without a full layer. One
 * window length is all that a configuration can say.
 */
static anemo_status add_windows(json_t *config, const an_source *src, anemo_error *err)
{
    int window = 0;
    for (int i = 0; i < src->params.hp.n_layer; i++) {
        int w = src->params.window[i];
        if (w && window && w != window)
            return an_fail(
                err, ANEMO_ERR_UNSUPPORTED,
                "%s: layers with windows of %d and of %d positions; config.json can name only one",
                src->path, window, w);
        if (w) window = w;
    }
    json_object_set_new(config, "sliding_window", window ? json_integer(window) : json_null());
    bool all = true;
    for (int i = 0; i < src->params.hp.n_layer; i++) all = all && src->params.window[i];
    if (!window || all) return ANEMO_OK;
    json_t *types = json_array();
    for (int i = 0; i < src->params.hp.n_layer; i++)
        json_array_append_new(
            types, json_string(src->params.window[i] ? "sliding_attention" : "full_attention"));
    json_object_set_new(config, "layer_types", types);
    return ANEMO_OK;
}

static json_t *form_object(const an_mlx_form *form, bool mode)
{
    json_t *o = json_pack("{s:i,s:i}", "group_size", form->group, "bits", form->bits);
    if (mode) json_object_set_new(o, "mode", json_string(an_mlx_mode_name(form->mode)));
    return o;
}

static bool same_form(const an_mlx_form *a, const an_mlx_form *b)
{
    return a->mode == b->mode && a->bits == b->bits && a->group == b->group;
}

/* The quantization section: the common form, and each module that differs from it; of a recipe, every module. */
static void add_quantization(json_t *config, const an_dir_plan *plan)
{
    if (plan->n_quantized == 0) return;
    const bool all = plan->type_name && !strncmp(plan->type_name, "mixed", 5);
    json_t *q = form_object(&plan->common, true);
    for (size_t i = 0; i < plan->n; i++) {
        const an_dir_weight *w = &plan->weights[i];
        if (w->bias || w->src->n_dim != 2) continue;
        if (!an_dir_is_grouped(w)) json_object_set_new(q, w->path, json_false());
        else if (all || !same_form(&w->form, &plan->common)) json_object_set_new(q, w->path, form_object(&w->form, true));
    }
    json_object_set(config, "quantization_config", q);
    json_object_set_new(config, "quantization", q);
}

static json_t *eos_value(const an_source *src)
{
    const an_arch_params *m = &src->params;
    if (m->n_eos == 0) return json_null();
    if (m->n_eos == 1) return json_integer(m->eos_ids[0]);
    json_t *list = json_array();
    for (int i = 0; i < m->n_eos; i++)
        json_array_append_new(list, json_integer(m->eos_ids[i]));
    return list;
}

static void set_token_id(json_t *obj, const an_source *src, const char *name, const char *key)
{
    int64_t id = -1;
    char gguf_key[64];
    snprintf(gguf_key, sizeof gguf_key, "tokenizer.ggml.%s_token_id", name);
    if (an_gguf_get_i64(src->model->gguf, gguf_key, false, 0, INT32_MAX, &id, NULL) == ANEMO_OK && id >= 0)
        set_int(obj, key, id);
}

static bool has_bias(const an_source *src, an_field field, int layer)
{
    return an_source_find(src, field, layer) != NULL;
}

/* What a configuration has no words for must have its usual value. */
static anemo_status check_expressible(const an_source *src, anemo_error *err)
{
    const an_hparams *hp = &src->params.hp;
    if (fabs(hp->attn_scale * sqrt((double)hp->head_dim) - 1) > 1e-6)
        return an_fail(
            err, ANEMO_ERR_UNSUPPORTED,
            "%s: an attention scale of %g is not 1/sqrt(%d), so config.json cannot say it", src->path,
            hp->attn_scale, hp->head_dim);
    if (hp->query_scale_beta > 0 && hp->query_scale_n_ctx != hp->rope_n_ctx_orig)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: attention.temperature_length differs from the original context length, "
                       "so config.json "
                       "cannot say it",
                       src->path);
    for (int i = 0; i < hp->n_layer; i++) {
        int n = has_bias(src, AN_FIELD_ATTN_Q_BIAS, i) + has_bias(src, AN_FIELD_ATTN_K_BIAS, i) +
                has_bias(src, AN_FIELD_ATTN_V_BIAS, i) + has_bias(src, AN_FIELD_ATTN_OUT_BIAS, i);
        if (n != 0 && (n != 4 || !has_bias(src, AN_FIELD_ATTN_Q_BIAS, 0)))
            return an_fail(
                err, ANEMO_ERR_UNSUPPORTED,
                "%s: layer %d has biases on some projections only, so config.json cannot say it",
                src->path, i);
    }
    return ANEMO_OK;
}

static const char *dtype_name(an_dtype type)
{
    return type == AN_DTYPE_BF16 ? "bfloat16" : type == AN_DTYPE_F32 ? "float32" : "float16";
}

/* config.json of a GGUF file. */
static anemo_status make_config(json_t *config, const an_source *src, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_hparams *hp = &src->params.hp;
    AN_TRY(check_expressible(src, err));
    AN_TRY(add_windows(config, src, err));
    AN_TRY(add_rope(config, src, err));
    bool windows = json_is_integer(json_object_get(config, "sliding_window"));
    const char *type = "llama", *class = "LlamaForCausalLM";
    if (windows) {
        type = "mistral";
        class = "MistralForCausalLM";
    }
    if (hp->query_scale_beta > 0 || !strcmp(src->params.arch, "mistral3") || !strcmp(src->params.arch, "ministral3")) {
        type = "ministral3";
        class = "Ministral3ForCausalLM";
    }
    json_object_set_new(config, "model_type", json_string(type));
    json_object_set_new(config, "architectures", json_pack("[s]", class));
    json_object_set_new(config, "hidden_act", json_string("silu"));
    set_int(config, "hidden_size", hp->n_embd);
    set_int(config, "intermediate_size", hp->n_ff);
    set_int(config, "num_hidden_layers", hp->n_layer);
    set_int(config, "num_attention_heads", hp->n_head);
    set_int(config, "num_key_value_heads", hp->n_head_kv);
    set_int(config, "head_dim", hp->head_dim);
    set_int(config, "vocab_size", hp->n_vocab);
    set_int(config, "max_position_embeddings", hp->n_ctx_train);
    set_real(config, "rms_norm_eps", hp->norm_eps);
    json_object_set_new(config, "attention_bias", json_boolean(has_bias(src, AN_FIELD_ATTN_Q_BIAS, 0)));
    json_object_set_new(config, "mlp_bias", json_false());
    json_object_set_new(config, "eos_token_id", eos_value(src));
    set_token_id(config, src, "bos", "bos_token_id");
    set_token_id(config, src, "padding", "pad_token_id");
cleanup:
    return status;
}

/*
 * config.json of the source, its text part when it wraps one: the other parts' weights do not come along. What the wrapper
 * says of the whole model goes with it.
 */
static anemo_status take_config(json_t *config, const an_source *src, anemo_error *err)
{
    static const char *const outer[] = {"eos_token_id", "bos_token_id", "pad_token_id", "dtype", "torch_dtype", "transformers_version"};
    static const char *const dropped[] = {"_name_or_path", "vision_config", "quantization", "quantization_config"};
    const json_t *text = json_object_get(src->config, "text_config");
    json_t *copy = json_deep_copy(json_is_object(text) ? text : src->config);
    if (!copy || json_object_update(config, copy) != 0) {
        json_decref(copy);
        return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", src->path);
    }
    json_decref(copy);
    for (size_t i = 0; json_is_object(text) && i < AN_COUNT_OF(outer); i++) {
        json_t *value = json_object_get(src->config, outer[i]);
        if (value && !json_object_get(config, outer[i])) json_object_set(config, outer[i], value);
    }
    for (size_t i = 0; i < AN_COUNT_OF(dropped); i++) json_object_del(config, dropped[i]);
    if (json_is_object(text)) {
        const char *type = json_string_value(json_object_get(config, "model_type"));
        const char *class = !type || !strcmp(type, "llama")  ? "LlamaForCausalLM"
                            : !strcmp(type, "ministral3") ? "Ministral3ForCausalLM"
                                                          : "MistralForCausalLM";
        json_object_set_new(config, "architectures", json_pack("[s]", class));
    }
    return ANEMO_OK;
}

/*
 * What mlx-lm looks for in the older places only: rope_theta and rope_scaling at the top, YaRN's factor as a ratio of two
 * scales, windows as kinds of layers. transformers reads the newer ones first.
 */
static anemo_status add_older_words(json_t *config, const an_source *src, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *made = json_object(), *scaling = json_object_get(config, "rope_scaling");
    json_t *parameters = json_object_get(config, "rope_parameters");
    const char *type = json_string_value(json_object_get(parameters, "rope_type"));
    set_real(config, "rope_theta", src->params.hp.rope_theta);
    if (!json_is_object(scaling) && type && strcmp(type, "default")) {
        scaling = json_deep_copy(parameters);
        json_object_del(scaling, "rope_theta");
        json_object_set_new(config, "rope_scaling", scaling);
    }
    if (src->params.hp.rope_scaling == AN_ROPE_YARN && json_is_object(scaling)) {
        AN_TRY(add_rope(made, src, err));
        json_object_update_missing(scaling, json_object_get(made, "rope_scaling"));
        if (json_object_get(scaling, "attention_factor")) {
            const json_t *yarn = json_object_get(made, "rope_scaling");
            json_object_set(scaling, "mscale", json_object_get(yarn, "mscale"));
            json_object_set(scaling, "mscale_all_dim", json_object_get(yarn, "mscale_all_dim"));
        }
    }
    if (!json_object_get(config, "layer_types")) {
        json_t *window = json_incref(json_object_get(config, "sliding_window"));
        status = add_windows(config, src, err);
        if (window) json_object_set(config, "sliding_window", window);
        json_decref(window);
        AN_TRY(status);
    }
cleanup:
    json_decref(made);
    return status;
}

anemo_status an_dir_write_config(const an_dir_plan *plan, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_source *src = plan->source;
    json_t *config = json_object(), *generation = json_object();
    if (src->config) AN_TRY(take_config(config, src, err));
    else AN_TRY(make_config(config, src, err));
    if (src->config && plan->mlx) AN_TRY(add_older_words(config, src, err));
    if (json_object_get(config, "dtype")) json_object_set_new(config, "dtype", json_string(dtype_name(plan->dtype)));
    if (!json_object_get(config, "dtype") || json_object_get(config, "torch_dtype"))
        json_object_set_new(config, "torch_dtype", json_string(dtype_name(plan->dtype)));
    json_object_set_new(config, "tie_word_embeddings", json_boolean(src->params.hp.tied));
    add_quantization(config, plan);
    AN_TRY(an_mlx_write_json(dir, "config.json", json_incref(config), JSON_INDENT(4) | JSON_SORT_KEYS, err));
    if (src->generation_config) {
        json_object_update(generation, src->generation_config);
    } else if (!src->config) {
        json_object_set_new(generation, "eos_token_id", eos_value(src));
        set_token_id(generation, src, "bos", "bos_token_id");
        set_token_id(generation, src, "padding", "pad_token_id");
    } else {
        goto cleanup;
    }
    AN_TRY(an_mlx_write_json(dir, "generation_config.json", json_incref(generation), JSON_INDENT(4) | JSON_SORT_KEYS, err));
cleanup:
    json_decref(config);
    json_decref(generation);
    return status;
}
