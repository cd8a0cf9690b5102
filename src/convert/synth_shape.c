/* The shapes that have names, and those of any config.json. */
#include "convert/synth_internal.h"

#include "base/alloc.h"
#include "os/file.h"

#include <stdio.h>
#include <string.h>

enum { CONFIG_BYTES_MAX = 64 << 20 };

typedef struct shape {
    const char *name, *model_type;
    int n_layer, n_embd, n_ff, n_head, n_head_kv, head_dim;
    double theta;
    int n_vocab, n_ctx;
    an_synth_vocab vocab;
    int window;   /* 0 = none */
    int n_expert; /* of which two are used */
    bool tied;
    struct {
        int factor, n_ctx; /* factor 0: no YaRN */
        int beta_fast;
        int mscale_all_dim;
        double query_beta;
    } yarn;
} shape;

#define V1 32000, 32768, .vocab = AN_SYNTH_VOCAB_PLAIN
#define V3 32768, 32768, .vocab = AN_SYNTH_VOCAB_V3
#define TEKKEN(n_ctx) 131072, n_ctx, .vocab = AN_SYNTH_VOCAB_TEKKEN
#define CHATML(n_ctx) 49152, n_ctx, .vocab = AN_SYNTH_VOCAB_CHATML

/* formats.md 6.6; SmolLM2 from its own configuration. */
static const shape shapes[] = {
    {"smollm2-135m", "llama", 30, 576, 1536, 9, 3, 64, 1e5, CHATML(8192), .tied = true},
    {"smollm2-360m", "llama", 32, 960, 2560, 15, 5, 64, 1e5, CHATML(8192), .tied = true},
    {"smollm2-1.7b", "llama", 24, 2048, 8192, 32, 32, 64, 1.3e5, CHATML(8192), .tied = true},
    {"mistral-7b-v0.1", "mistral", 32, 4096, 14336, 32, 8, 128, 1e4, V1, .window = 4096},
    {"mistral-7b-v0.2", "mistral", 32, 4096, 14336, 32, 8, 128, 1e6, V1},
    {"mistral-7b-v0.3", "mistral", 32, 4096, 14336, 32, 8, 128, 1e6, V3},
    {"mistral-nemo", "mistral", 40, 5120, 14336, 32, 8, 128, 1e6, TEKKEN(131072)},
    {"ministral-8b-2410", "mistral", 36, 4096, 12288, 32, 8, 128, 1e8, TEKKEN(32768), .window = 32768},
    {"ministral-3b", "ministral3", 26, 3072, 9216, 32, 8, 128, 1e6, TEKKEN(262144), .tied = true,
     .yarn = {16, 16384, 32, 1, 0.1}},
    {"ministral-8b", "ministral3", 34, 4096, 14336, 32, 8, 128, 1e6, TEKKEN(262144), .yarn = {16, 16384, 32, 1, 0.1}},
    {"ministral-14b", "ministral3", 40, 5120, 16384, 32, 8, 128, 1e9, TEKKEN(262144), .yarn = {16, 16384, 32, 1, 0.1}},
    {"codestral-22b", "mistral", 56, 6144, 16384, 48, 8, 128, 1e6, V3},
    {"mistral-small-22b", "mistral", 56, 6144, 16384, 48, 8, 128, 1e6, V3},
    {"mistral-small-24b", "mistral", 40, 5120, 32768, 32, 8, 128, 1e9, TEKKEN(131072)},
    {"devstral-small", "mistral", 40, 5120, 32768, 32, 8, 128, 1e9, TEKKEN(131072)},
    {"devstral-small-2", "ministral3", 40, 5120, 32768, 32, 8, 128, 1e8, TEKKEN(393216), .yarn = {48, 8192, 32, 1, 0.1}},
    {"devstral-2", "ministral3", 88, 12288, 28672, 96, 8, 128, 1e6, TEKKEN(262144), .yarn = {64, 4096, 4, 0, 0}},
    {"mistral-large", "mistral", 88, 12288, 28672, 96, 8, 128, 1e6, 32768, 131072, .vocab = AN_SYNTH_VOCAB_V7},
    {"mixtral-8x7b", "mixtral", 32, 4096, 14336, 32, 8, 128, 1e6, V1, .n_expert = 8},
    {"mixtral-8x22b", "mixtral", 56, 6144, 16384, 48, 8, 128, 1e6, 32768, 65536, .vocab = AN_SYNTH_VOCAB_V3, .n_expert = 8},
};

const char *an_synth_shape_name(size_t i)
{
    return i < AN_COUNT_OF(shapes) ? shapes[i].name : NULL;
}

static json_t *yarn_of(const shape *s)
{
    return json_pack("{s:s,s:f,s:f,s:i,s:i,s:i,s:i,s:i,s:f}", "rope_type", "yarn", "rope_theta", s->theta, "factor",
                     (double)s->yarn.factor, "original_max_position_embeddings", s->yarn.n_ctx, "beta_fast",
                     s->yarn.beta_fast, "beta_slow", 1, "mscale", 1, "mscale_all_dim", s->yarn.mscale_all_dim,
                     "llama_4_scaling_beta", s->yarn.query_beta);
}

/* The config.json that a shape's model has. */
static json_t *config_of(const shape *s)
{
    const char *class = !strcmp(s->model_type, "llama")        ? "LlamaForCausalLM"
                        : !strcmp(s->model_type, "ministral3") ? "Ministral3ForCausalLM"
                        : !strcmp(s->model_type, "mixtral")    ? "MixtralForCausalLM"
                                                               : "MistralForCausalLM";
    json_t *c = json_pack("{s:s,s:[s],s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:f,s:f,s:b,s:b,s:b}", "model_type",
                          s->model_type, "architectures", class, "hidden_act", "silu", "hidden_size", s->n_embd,
                          "intermediate_size", s->n_ff, "num_hidden_layers", s->n_layer, "num_attention_heads", s->n_head,
                          "num_key_value_heads", s->n_head_kv, "head_dim", s->head_dim, "vocab_size", s->n_vocab,
                          "max_position_embeddings", s->n_ctx, "rms_norm_eps", 1e-5, "rope_theta", s->theta,
                          "attention_bias", 0, "mlp_bias", 0, "tie_word_embeddings", s->tied);
    json_object_set_new(c, "sliding_window", s->window ? json_integer(s->window) : json_null());
    if (s->n_expert)
        json_object_update_new(c, json_pack("{s:i,s:i}", "num_local_experts", s->n_expert, "num_experts_per_tok", 2));
    if (s->yarn.factor) json_object_set_new(c, "rope_scaling", yarn_of(s));
    json_object_set_new(c, "rope_parameters", s->yarn.factor ? yarn_of(s)
                                              : json_pack("{s:s,s:f}", "rope_type", "default", "rope_theta", s->theta));
    return c;
}

static anemo_status unknown_shape(const char *name, anemo_error *err)
{
    an_str list = {0};
    for (size_t i = 0; i < AN_COUNT_OF(shapes); i++) an_str_appendf(&list, " %s", shapes[i].name);
    anemo_status status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is no shape and no config.json; shapes are:%s", name,
                                  an_str_text(&list));
    an_str_free(&list);
    return status;
}

/* The text model of a config.json, or of a directory with one. */
static anemo_status read_config(const char *path, json_t **out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *file = NULL;
    size_t n;
    json_t *config = NULL;
    file = an_path_probe(path) == AN_PATH_DIR ? an_path_join(path, "config.json") : an_strdup(path);
    if (!file) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_file_read(file, CONFIG_BYTES_MAX, &text, &n, err));
    AN_TRY(an_json_parse(&config, text, n, file, err));
    json_t *inner = json_object_get(config, "text_config");
    if (json_is_object(inner)) {
        if (!json_object_get(inner, "model_type")) json_object_set_new(inner, "model_type", json_string("mistral"));
        json_object_update_missing(inner, config);
        json_object_del(inner, "text_config");
        json_incref(inner);
        json_decref(config);
        config = inner;
        json_object_del(config, "architectures");
    }
    /* What belongs to the weights that this configuration came with. */
    static const char *const gone[] = {"quantization", "quantization_config", "_name_or_path", "auto_map", "vision_config",
                                       "pad_token_id"};
    for (size_t i = 0; i < AN_COUNT_OF(gone); i++) json_object_del(config, gone[i]);
    *out = config;
    config = NULL;
cleanup:
    json_decref(config);
    an_free(text);
    an_free(file);
    return status;
}

/* Keep the first n of what the configuration lists for each layer. */
static anemo_status shorten(json_t *config, int n_layer, anemo_error *err)
{
    static const char *const lists[] = {"layer_types", "sliding_window"};
    int64_t all;
    anemo_status status = an_json_get_i64(config, "num_hidden_layers", 0, 0, INT32_MAX, &all, "config.json", err);
    if (status != ANEMO_OK || n_layer == 0) return status;
    if (n_layer > all)
        return an_fail(err, ANEMO_ERR_INVAL, "--layers %d: the shape has %lld", n_layer, (long long)all);
    json_object_set_new(config, "num_hidden_layers", json_integer(n_layer));
    for (size_t i = 0; i < AN_COUNT_OF(lists); i++) {
        json_t *list = json_object_get(config, lists[i]);
        while (json_array_size(list) > (size_t)n_layer) json_array_remove(list, json_array_size(list) - 1);
    }
    return ANEMO_OK;
}

/* Experts are beyond an_hparams: they are read here, and the rest as if the model were dense. */
static anemo_status read_params(an_synth_model *m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t n_expert, n_used;
    const char *type;
    json_t *dense = json_copy(m->config);
    if (!dense) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_json_get_i64(dense, "num_local_experts", 0, 0, 1024, &n_expert, m->name, err));
    AN_TRY(an_json_get_i64(dense, "num_experts_per_tok", n_expert ? 2 : 0, 0, 1024, &n_used, m->name, err));
    AN_TRY(an_json_get_str(dense, "model_type", "", &type, m->name, err));
    if (!strcmp(type, "mixtral")) {
        if (n_expert == 0) n_expert = 8;
        json_object_del(dense, "num_local_experts");
        json_object_set_new(dense, "model_type", json_string("mistral"));
        m->n_expert = (int)n_expert;
        m->n_expert_used = n_used ? (int)n_used : 2;
    }
    AN_TRY(an_hparams_from_json(dense, m->name, &m->params, err));
    m->params.hp.tied = m->params.tie_known && m->params.tie;
    if (m->n_expert_used > m->n_expert)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %d of %d experts are used", m->name, m->n_expert_used, m->n_expert);
cleanup:
    json_decref(dense);
    return status;
}

static an_synth_vocab guess_vocab(int n_vocab)
{
    if (n_vocab >= 131072) return AN_SYNTH_VOCAB_TEKKEN;
    return n_vocab == 32768 ? AN_SYNTH_VOCAB_V3 : AN_SYNTH_VOCAB_PLAIN;
}

anemo_status an_synth_model_open(an_synth_model *out, const an_synth_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_synth_model m = {0};
    const shape *s = NULL;
    snprintf(m.name, sizeof m.name, "%s", o->shape);
    for (size_t i = 0; i < AN_COUNT_OF(shapes); i++)
        if (!strcmp(o->shape, shapes[i].name)) s = &shapes[i];
    if (s) {
        m.config = config_of(s);
        if (!m.config) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        m.vocab = s->vocab;
    } else {
        if (an_path_probe(o->shape) == AN_PATH_ABSENT) return unknown_shape(o->shape, err);
        AN_TRY(read_config(o->shape, &m.config, err));
    }
    AN_TRY(shorten(m.config, o->n_layer, err));
    AN_TRY(read_params(&m, err));
    if (!s) m.vocab = guess_vocab(m.params.hp.n_vocab);
    *out = m;
cleanup:
    if (status != ANEMO_OK) an_synth_model_free(&m);
    return status;
}

void an_synth_model_free(an_synth_model *m)
{
    json_decref(m->config);
    *m = (an_synth_model){0};
}
