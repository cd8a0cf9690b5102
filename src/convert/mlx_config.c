/* config.json and generation_config.json of a converted model. */
#include "convert/convert_internal.h"

#include "arch/hparams.h"
#include "base/alloc.h"
#include "os/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

anemo_status an_mlx_write_json(const char *dir, const char *name, json_t *value, size_t flags,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    char *path = an_path_join(dir, name);
    /* Nine digits name every f32 exactly. */
    status = an_json_write(value, flags | JSON_REAL_PRECISION(9), &text, err);
    if (status != ANEMO_OK || !path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    AN_TRY(an_file_write(path, text.data, text.len, err));
cleanup:
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
static anemo_status add_rope(json_t *config, const an_model_file *m, anemo_error *err)
{
    const an_hparams *hp = &m->hp;
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
                           m->path);
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
    if (hp->query_scale_beta > 0 || !strcmp(m->arch, "mistral3")) {
        set_real(rope, "llama_4_scaling_beta", hp->query_scale_beta);
        set_int(rope, "original_max_position_embeddings", hp->rope_n_ctx_orig);
    }
    if (strcmp(type, "default")) json_object_set_new(config, "rope_scaling", json_copy(rope));
    set_real(rope, "rope_theta", hp->rope_theta);
    json_object_set_new(config, "rope_parameters", rope);
    set_real(config, "rope_theta", hp->rope_theta);
    return ANEMO_OK;
}

/* sliding_window and the kind of each layer. One window length is all that a configuration can say.
 */
static anemo_status add_windows(json_t *config, const an_model_file *m, anemo_error *err)
{
    int window = 0;
    for (int i = 0; i < m->hp.n_layer; i++) {
        int w = m->layers[i].window;
        if (w && window && w != window)
            return an_fail(
                err, ANEMO_ERR_UNSUPPORTED,
                "%s: layers with windows of %d and of %d positions; config.json can name only one",
                m->path, window, w);
        if (w) window = w;
    }
    json_object_set_new(config, "sliding_window", window ? json_integer(window) : json_null());
    if (!window) return ANEMO_OK;
    json_t *types = json_array();
    for (int i = 0; i < m->hp.n_layer; i++)
        json_array_append_new(
            types, json_string(m->layers[i].window ? "sliding_attention" : "full_attention"));
    json_object_set_new(config, "layer_types", types);
    return ANEMO_OK;
}

/* The quantization section: the common width, and each module that differs from it. */
static void add_quantization(json_t *config, const an_mlx_plan *plan)
{
    if (!plan->bits) return;
    json_t *q = json_pack("{s:i,s:i,s:s}", "group_size", 32, "bits", plan->bits, "mode", "affine");
    for (size_t i = 0; i < plan->n; i++) {
        const an_mlx_weight *w = &plan->weights[i];
        if (w->bits == plan->bits || w->bias || w->src->n_dim != 2) continue;
        json_object_set_new(q, w->path,
                            w->bits ? json_pack("{s:i,s:i}", "group_size", 32, "bits", w->bits)
                                    : json_false());
    }
    json_object_set(config, "quantization_config", q);
    json_object_set_new(config, "quantization", q);
}

static json_t *eos_value(const an_model_file *m)
{
    if (m->n_eos == 0) return json_null();
    if (m->n_eos == 1) return json_integer(m->eos_ids[0]);
    json_t *list = json_array();
    for (int i = 0; i < m->n_eos; i++)
        json_array_append_new(list, json_integer(m->eos_ids[i]));
    return list;
}

static void set_token_id(json_t *obj, const an_gguf *g, const char *name, const char *key)
{
    int64_t id = -1;
    char gguf_key[64];
    snprintf(gguf_key, sizeof gguf_key, "tokenizer.ggml.%s_token_id", name);
    if (an_gguf_get_i64(g, gguf_key, false, 0, INT32_MAX, &id, NULL) == ANEMO_OK && id >= 0)
        set_int(obj, key, id);
}

/* What a configuration has no words for must have its usual value. */
static anemo_status check_expressible(const an_model_file *m, anemo_error *err)
{
    const an_hparams *hp = &m->hp;
    if (fabs(hp->attn_scale * sqrt((double)hp->head_dim) - 1) > 1e-6)
        return an_fail(
            err, ANEMO_ERR_UNSUPPORTED,
            "%s: an attention scale of %g is not 1/sqrt(%d), so config.json cannot say it", m->path,
            hp->attn_scale, hp->head_dim);
    if (hp->query_scale_beta > 0 && hp->query_scale_n_ctx != hp->rope_n_ctx_orig)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: attention.temperature_length differs from the original context length, "
                       "so config.json "
                       "cannot say it",
                       m->path);
    for (int i = 0; i < hp->n_layer; i++) {
        const an_layer_weights *l = &m->layers[i], *first = &m->layers[0];
        int n = (l->bq != NULL) + (l->bk != NULL) + (l->bv != NULL) + (l->bo != NULL);
        if (n != 0 && (n != 4 || !first->bq))
            return an_fail(
                err, ANEMO_ERR_UNSUPPORTED,
                "%s: layer %d has biases on some projections only, so config.json cannot say it",
                m->path, i);
    }
    return ANEMO_OK;
}

anemo_status an_mlx_write_config(const an_mlx_plan *plan, const an_model_file *m, const char *dir,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_hparams *hp = &m->hp;
    json_t *config = json_object(), *generation = json_object();
    AN_TRY(check_expressible(m, err));
    AN_TRY(add_windows(config, m, err));
    AN_TRY(add_rope(config, m, err));
    bool windows = json_is_array(json_object_get(config, "layer_types"));
    const char *type = "llama", *class = "LlamaForCausalLM", *dtype = "float16";
    if (windows) {
        type = "mistral";
        class = "MistralForCausalLM";
    }
    if (hp->query_scale_beta > 0 || !strcmp(m->arch, "mistral3")) {
        type = "ministral3";
        class = "Ministral3ForCausalLM";
    }
    if (plan->dtype == AN_DTYPE_BF16) dtype = "bfloat16";
    if (plan->dtype == AN_DTYPE_F32) dtype = "float32";
    json_object_set_new(config, "model_type", json_string(type));
    json_object_set_new(config, "architectures", json_pack("[s]", class));
    json_object_set_new(config, "torch_dtype", json_string(dtype));
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
    json_object_set_new(config, "attention_bias", json_boolean(m->layers[0].bq != NULL));
    json_object_set_new(config, "mlp_bias", json_false());
    json_object_set_new(config, "tie_word_embeddings", json_boolean(hp->tied));
    json_object_set_new(config, "eos_token_id", eos_value(m));
    set_token_id(config, m->gguf, "bos", "bos_token_id");
    set_token_id(config, m->gguf, "padding", "pad_token_id");
    add_quantization(config, plan);

    json_object_set_new(generation, "eos_token_id", eos_value(m));
    set_token_id(generation, m->gguf, "bos", "bos_token_id");
    set_token_id(generation, m->gguf, "padding", "pad_token_id");
    AN_TRY(an_mlx_write_json(dir, "config.json", json_incref(config),
                             JSON_INDENT(4) | JSON_SORT_KEYS, err));
    AN_TRY(an_mlx_write_json(dir, "generation_config.json", json_incref(generation),
                             JSON_INDENT(4) | JSON_SORT_KEYS, err));
cleanup:
    json_decref(config);
    json_decref(generation);
    return status;
}
