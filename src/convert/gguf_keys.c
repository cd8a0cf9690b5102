/* The keys of a GGUF file that describe its model: the inverse of how arch reads them (formats.md 1.3). */
#include "convert/to_gguf_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { QUANTIZATION_VERSION = 2 };

static const char *kind_name(an_source_kind kind)
{
    static const char *const names[] = {[AN_SOURCE_GGUF] = "gguf", [AN_SOURCE_MLX] = "mlx", [AN_SOURCE_HF] = "huggingface",
                                        [AN_SOURCE_NATIVE] = "mistral"};
    return names[kind];
}

/* What every conversion says about itself; llama.cpp passes over keys that it does not know. */
static void put_conversion(const an_gguf_plan *p, an_gguf_writer *w)
{
    bool quantized = false;
    for (size_t i = 0; i < p->n; i++) quantized = quantized || an_dtype_get(p->tensors[i].type)->block_elems > 1;
    if (quantized) an_gguf_writer_u32(w, "general.quantization_version", QUANTIZATION_VERSION);
    an_gguf_writer_u32(w, "general.file_type", an_gguf_plan_file_type(p));
    an_gguf_writer_str(w, "anemo.conversion.source", kind_name(p->source->kind));
    an_gguf_writer_bool(w, "anemo.conversion.exact", p->exact);
}

/* ---- a GGUF source */

static bool one_of(const an_gguf_kv *kv, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (kv->key.len == strlen(keys[i]) && !memcmp(kv->key.data, keys[i], (size_t)kv->key.len)) return true;
    return false;
}

/* All keys but those of the old file's making, which are written anew unless nothing changed. */
static void copy_keys(const an_gguf_plan *p, an_gguf_writer *w)
{
    static const char *const layout[] = {"general.alignment", "split.no", "split.count", "split.tensors.count"};
    static const char *const made[] = {"general.file_type", "general.quantization_version", "anemo.conversion.source",
                                       "anemo.conversion.exact"};
    const an_gguf *g = p->source->model->gguf;
    for (size_t i = 0; i < an_gguf_n_kv(g); i++) {
        const an_gguf_kv *kv = an_gguf_kv_at(g, i);
        if (one_of(kv, layout, AN_COUNT_OF(layout))) continue;
        if (!p->unchanged && one_of(kv, made, AN_COUNT_OF(made))) continue;
        an_gguf_writer_copy(w, kv);
    }
    if (!p->unchanged) put_conversion(p, w);
}

/* ---- a configuration */

typedef struct keys {
    an_gguf_writer *w;
    const char *arch;
    char key[96];
} keys;

static const char *key_of(keys *k, const char *tail)
{
    snprintf(k->key, sizeof k->key, "%s.%s", k->arch, tail);
    return k->key;
}

static void put_int(keys *k, const char *tail, int64_t v)
{
    an_gguf_writer_u32(k->w, key_of(k, tail), (uint32_t)v);
}

static void put_real(keys *k, const char *tail, double v)
{
    an_gguf_writer_f32(k->w, key_of(k, tail), (float)v);
}

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-6 * fabs(b);
}

/* libllama reads YaRN's two betas and the query scale in files of the architecture mistral3 only. */
static const char *arch_of(const an_source *s)
{
    const an_hparams *hp = &s->params.hp;
    bool betas = hp->rope_scaling == AN_ROPE_YARN && (!near(hp->yarn_beta_fast, 32) || !near(hp->yarn_beta_slow, 1));
    bool is_new = !strcmp(s->params.arch, "mistral3") || !strcmp(s->params.arch, "ministral3");
    return is_new || betas || hp->query_scale_beta > 0 ? "mistral3" : "llama";
}

/*
 * YaRN's factor on cos and sin: mistral3 files can say the ratio g(1) / g(m) by m (formats.md 6.5), any file a factor on
 * top of g(1).
 */
static void put_yarn_factor(keys *k, const an_hparams *hp)
{
    double log_factor = hp->rope_factor > 1 ? 0.1 * log(hp->rope_factor) : 0;
    double plain = 1 + log_factor, m = log_factor > 0 ? (plain / hp->rope_attn_factor - 1) / log_factor : 0;
    bool by_log = !strcmp(k->arch, "mistral3") && log_factor > 0 && m > -1e-6 && m <= 1 + 1e-6;
    if (by_log) {
        /* The value in the configuration is a short decimal; the one computed back is near it. */
        put_real(k, "rope.scaling.yarn_log_multiplier", round(m * 1e4) / 1e4);
        m = round(m * 1e4) / 1e4;
        plain = m != 0 ? plain / (1 + m * log_factor) : plain;
    }
    if (!near(hp->rope_attn_factor, plain)) put_real(k, "rope.scaling.attn_factor", hp->rope_attn_factor / plain);
}

static anemo_status put_rope(keys *k, const an_source *s, anemo_error *err)
{
    const an_hparams *hp = &s->params.hp;
    put_int(k, "rope.dimension_count", hp->rope_dim);
    put_real(k, "rope.freq_base", hp->rope_theta);
    if (hp->rope_scaling == AN_ROPE_DYNAMIC)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: RoPE scaling \"dynamic\" cannot be said in a GGUF file; run the model as it is", s->path);
    if (hp->rope_scaling == AN_ROPE_LINEAR) {
        an_gguf_writer_str(k->w, key_of(k, "rope.scaling.type"), "linear");
        put_real(k, "rope.scaling.factor", hp->rope_factor);
    } else if (hp->rope_scaling == AN_ROPE_YARN) {
        if (!hp->yarn_truncate)
            return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                           "%s: YaRN with \"truncate\": false cannot be said in a GGUF file; run the model as it is", s->path);
        an_gguf_writer_str(k->w, key_of(k, "rope.scaling.type"), "yarn");
        put_real(k, "rope.scaling.factor", hp->rope_factor);
        put_real(k, "rope.scaling.yarn_beta_fast", hp->yarn_beta_fast);
        put_real(k, "rope.scaling.yarn_beta_slow", hp->yarn_beta_slow);
        put_yarn_factor(k, hp);
    }
    if (hp->rope_scaling == AN_ROPE_YARN || hp->query_scale_beta > 0)
        put_int(k, "rope.scaling.original_context_length", hp->rope_n_ctx_orig);
    if (hp->query_scale_beta > 0) {
        put_real(k, "attention.temperature_scale", hp->query_scale_beta);
        if (hp->query_scale_n_ctx != hp->rope_n_ctx_orig) put_int(k, "attention.temperature_length", hp->query_scale_n_ctx);
    }
    return ANEMO_OK;
}

static anemo_status put_windows(keys *k, const an_source *s, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n = s->params.hp.n_layer, first = s->params.window[0];
    bool same = true, any = false;
    uint32_t *list = NULL;
    for (int i = 0; i < n; i++) {
        same = same && s->params.window[i] == first;
        any = any || s->params.window[i] > 0;
    }
    if (!any) return ANEMO_OK;
    if (same) {
        put_int(k, "attention.sliding_window", first);
    } else {
        list = an_malloc((size_t)n * sizeof *list);
        if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        for (int i = 0; i < n; i++) list[i] = (uint32_t)s->params.window[i];
        an_gguf_writer_u32s(k->w, key_of(k, "attention.sliding_window"), list, (uint64_t)n);
    }
    if (first < s->params.hp.n_ctx_train || !same)
        AN_TRY(an_convert_note(result, err,
                               "the sliding window%s written as %s.attention.sliding_window, which anemo honours; llama.cpp runs "
                               "full attention",
                               same ? " is" : "s of the layers are", k->arch));
cleanup:
    an_free(list);
    return status;
}

/* "135M", as gguf-py rounds it. */
static void put_size_label(an_gguf_writer *w, uint64_t n_param)
{
    static const struct {
        double unit;
        char suffix;
    } units[] = {{1e12, 'T'}, {1e9, 'B'}, {1e6, 'M'}, {1e3, 'K'}};
    char text[32];
    size_t i = 0;
    while (i + 1 < AN_COUNT_OF(units) && (double)n_param <= units[i].unit) i++;
    double scaled = (double)n_param / units[i].unit;
    snprintf(text, sizeof text, "%.*f%c", scaled < 9.5 ? scaled < 0.5 ? 2 : 1 : 0, scaled, units[i].suffix);
    an_gguf_writer_str(w, "general.size_label", text);
}

/* The directory's name. */
static anemo_status put_name(const an_source *s, an_gguf_writer *w, anemo_error *err)
{
    char *real = an_path_real(s->path);
    if (!real) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_gguf_writer_str(w, "general.name", an_path_base(real));
    an_free(real);
    return ANEMO_OK;
}

static anemo_status put_general(const an_gguf_plan *p, an_gguf_writer *w, const char *arch, anemo_error *err)
{
    uint64_t n_param = 0;
    for (size_t i = 0; i < p->n; i++) {
        uint64_t n = 1;
        for (int d = 0; d < p->tensors[i].n_dim; d++) n *= (uint64_t)p->tensors[i].shape[d];
        if (p->tensors[i].t) n_param += n;
    }
    an_gguf_writer_str(w, "general.architecture", arch);
    an_gguf_writer_str(w, "general.type", "model");
    put_size_label(w, n_param);
    put_conversion(p, w);
    return put_name(p->source, w, err);
}

static anemo_status make_keys(const an_gguf_plan *p, an_gguf_writer *w, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_source *s = p->source;
    const an_hparams *hp = &s->params.hp;
    keys k = {.w = w, .arch = arch_of(s)};
    AN_TRY(put_general(p, w, k.arch, err));
    put_int(&k, "block_count", hp->n_layer);
    put_int(&k, "context_length", hp->n_ctx_train);
    put_int(&k, "embedding_length", hp->n_embd);
    put_int(&k, "feed_forward_length", hp->n_ff);
    put_int(&k, "attention.head_count", hp->n_head);
    put_int(&k, "attention.head_count_kv", hp->n_head_kv);
    put_int(&k, "attention.key_length", hp->head_dim);
    put_int(&k, "attention.value_length", hp->head_dim);
    put_real(&k, "attention.layer_norm_rms_epsilon", hp->norm_eps);
    if (!near(hp->attn_scale * sqrt((double)hp->head_dim), 1)) put_real(&k, "attention.scale", hp->attn_scale);
    put_int(&k, "vocab_size", hp->n_vocab);
    AN_TRY(put_rope(&k, s, err));
    AN_TRY(put_windows(&k, s, result, err));
cleanup:
    return status;
}

/* ---- what stays behind */

/* The keys of config.json that the keys above come from, or that say nothing about the model. */
static bool is_carried(const char *key)
{
    static const char *const known[] = {
        "architectures", "model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps", "hidden_act", "rope_theta",
        "rope_scaling", "rope_parameters", "sliding_window", "use_sliding_window", "layer_types", "tie_word_embeddings",
        "attention_bias", "mlp_bias", "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "torch_dtype", "dtype",
        "quantization", "quantization_config", "transformers_version", "use_cache", "initializer_range", "attention_dropout",
        "pretraining_tp", "_name_or_path", "text_config", "vision_config", "original_max_position_embeddings",
        "partial_rotary_factor", "output_attentions", "output_hidden_states", "return_dict", "is_llama_config",
    };
    for (size_t i = 0; i < AN_COUNT_OF(known); i++)
        if (!strcmp(known[i], key)) return true;
    return false;
}

static anemo_status note_left_keys(const json_t *config, const char *file, bool (*carried)(const char *),
                                   an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str list = {0};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        if (carried(key) || json_is_null(value)) continue;
        an_str_appendf(&list, "%s%.60s", list.len ? ", " : "", key);
    }
    AN_TRY(an_str_check(&list, err));
    if (list.len) AN_TRY(an_convert_note(result, err, "keys of %s that GGUF has no place for: %.900s", file, list.data));
cleanup:
    an_str_free(&list);
    return status;
}

static bool is_carried_generation(const char *key)
{
    return !strcmp(key, "bos_token_id") || !strcmp(key, "eos_token_id") || !strcmp(key, "pad_token_id") ||
           !strcmp(key, "transformers_version") || !strcmp(key, "_from_model_config");
}

anemo_status an_gguf_put_keys(const an_gguf_plan *p, an_gguf_writer *w, an_convert_result *result, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_source *s = p->source;
    if (s->kind == AN_SOURCE_GGUF) {
        copy_keys(p, w);
        return ANEMO_OK;
    }
    AN_TRY(make_keys(p, w, result, err));
    if (s->notes[0]) AN_TRY(an_convert_note(result, err, "%s", s->notes));
    if (json_object_get(s->config, "vision_config"))
        AN_TRY(an_convert_note(result, err, "only the text part of the model was converted"));
    AN_TRY(note_left_keys(s->config, "config.json", is_carried, result, err));
    if (s->generation_config)
        AN_TRY(note_left_keys(s->generation_config, "generation_config.json", is_carried_generation, result, err));
    AN_TRY(an_gguf_put_vocab(s, w, result, err));
cleanup:
    return status;
}
