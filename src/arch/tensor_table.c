/* The table of tensor names and shapes (formats.md 1.4 and 6.3). */
#include "arch/tensor_table.h"

#include <stdio.h>
#include <string.h>

#define IN_MODEL(member) offsetof(an_model_file, member)
#define IN_LAYER(member) offsetof(an_layer_weights, member)

/* clang-format off */
static const an_tensor_rule RULES[AN_FIELD_N] = {
    /*                       field                   GGUF                  Hugging Face                rows          cols           required layer  bias   place */
    [AN_FIELD_TOKEN_EMBD]    = {AN_FIELD_TOKEN_EMBD,    "token_embd.weight",  "embed_tokens",             AN_DIM_VOCAB, AN_DIM_EMBD,  true,  false, false, IN_MODEL(token_embd)},
    [AN_FIELD_OUTPUT_NORM]   = {AN_FIELD_OUTPUT_NORM,   "output_norm.weight", "norm",                     AN_DIM_NONE,  AN_DIM_EMBD,  true,  false, false, IN_MODEL(output_norm)},
    [AN_FIELD_OUTPUT]        = {AN_FIELD_OUTPUT,        "output.weight",      "lm_head",                  AN_DIM_VOCAB, AN_DIM_EMBD,  false, false, false, IN_MODEL(output)},
    [AN_FIELD_ROPE_FREQS]    = {AN_FIELD_ROPE_FREQS,    "rope_freqs.weight",  NULL,                       AN_DIM_NONE,  AN_DIM_PAIRS, false, false, false, IN_MODEL(hp.rope_freq_factors)},
    [AN_FIELD_ATTN_NORM]     = {AN_FIELD_ATTN_NORM,     "attn_norm.weight",   "input_layernorm",          AN_DIM_NONE,  AN_DIM_EMBD,  true,  true,  false, IN_LAYER(attn_norm)},
    [AN_FIELD_ATTN_Q]        = {AN_FIELD_ATTN_Q,        "attn_q.weight",      "self_attn.q_proj",         AN_DIM_Q,     AN_DIM_EMBD,  true,  true,  false, IN_LAYER(wq)},
    [AN_FIELD_ATTN_K]        = {AN_FIELD_ATTN_K,        "attn_k.weight",      "self_attn.k_proj",         AN_DIM_KV,    AN_DIM_EMBD,  true,  true,  false, IN_LAYER(wk)},
    [AN_FIELD_ATTN_V]        = {AN_FIELD_ATTN_V,        "attn_v.weight",      "self_attn.v_proj",         AN_DIM_KV,    AN_DIM_EMBD,  true,  true,  false, IN_LAYER(wv)},
    [AN_FIELD_ATTN_OUT]      = {AN_FIELD_ATTN_OUT,      "attn_output.weight", "self_attn.o_proj",         AN_DIM_EMBD,  AN_DIM_Q,     true,  true,  false, IN_LAYER(wo)},
    [AN_FIELD_FFN_NORM]      = {AN_FIELD_FFN_NORM,      "ffn_norm.weight",    "post_attention_layernorm", AN_DIM_NONE,  AN_DIM_EMBD,  true,  true,  false, IN_LAYER(ffn_norm)},
    [AN_FIELD_FFN_GATE]      = {AN_FIELD_FFN_GATE,      "ffn_gate.weight",    "mlp.gate_proj",            AN_DIM_FF,    AN_DIM_EMBD,  true,  true,  false, IN_LAYER(w_gate)},
    [AN_FIELD_FFN_UP]        = {AN_FIELD_FFN_UP,        "ffn_up.weight",      "mlp.up_proj",              AN_DIM_FF,    AN_DIM_EMBD,  true,  true,  false, IN_LAYER(w_up)},
    [AN_FIELD_FFN_DOWN]      = {AN_FIELD_FFN_DOWN,      "ffn_down.weight",    "mlp.down_proj",            AN_DIM_EMBD,  AN_DIM_FF,    true,  true,  false, IN_LAYER(w_down)},
    [AN_FIELD_ATTN_Q_BIAS]   = {AN_FIELD_ATTN_Q_BIAS,   "attn_q.bias",        "self_attn.q_proj",         AN_DIM_NONE,  AN_DIM_Q,     false, true,  true,  IN_LAYER(bq)},
    [AN_FIELD_ATTN_K_BIAS]   = {AN_FIELD_ATTN_K_BIAS,   "attn_k.bias",        "self_attn.k_proj",         AN_DIM_NONE,  AN_DIM_KV,    false, true,  true,  IN_LAYER(bk)},
    [AN_FIELD_ATTN_V_BIAS]   = {AN_FIELD_ATTN_V_BIAS,   "attn_v.bias",        "self_attn.v_proj",         AN_DIM_NONE,  AN_DIM_KV,    false, true,  true,  IN_LAYER(bv)},
    [AN_FIELD_ATTN_OUT_BIAS] = {AN_FIELD_ATTN_OUT_BIAS, "attn_output.bias",   "self_attn.o_proj",         AN_DIM_NONE,  AN_DIM_EMBD,  false, true,  true,  IN_LAYER(bo)},
};
/* clang-format on */

/* Mistral's own layout; there is none for biases. w1 is the gate, w3 goes up and w2 comes down. */
static const char *const NATIVE[AN_FIELD_N] = {
    [AN_FIELD_TOKEN_EMBD] = "tok_embeddings",
    [AN_FIELD_OUTPUT_NORM] = "norm",
    [AN_FIELD_OUTPUT] = "output",
    [AN_FIELD_ATTN_NORM] = "attention_norm",
    [AN_FIELD_ATTN_Q] = "attention.wq",
    [AN_FIELD_ATTN_K] = "attention.wk",
    [AN_FIELD_ATTN_V] = "attention.wv",
    [AN_FIELD_ATTN_OUT] = "attention.wo",
    [AN_FIELD_FFN_NORM] = "ffn_norm",
    [AN_FIELD_FFN_GATE] = "feed_forward.w1",
    [AN_FIELD_FFN_UP] = "feed_forward.w3",
    [AN_FIELD_FFN_DOWN] = "feed_forward.w2",
};

static const an_hf_prefix PREFIXES[] = {
    {"model.", "lm_head"},
    {"language_model.model.", "language_model.lm_head"}, /* multimodal wrappers */
    {"model.language_model.", "lm_head"},                /* the same, newer transformers */
};

const an_tensor_rule *an_tensor_rules(void)
{
    return RULES;
}

int64_t an_dim_of(const an_hparams *hp, an_dim dim)
{
    switch (dim) {
    case AN_DIM_NONE: return 1;
    case AN_DIM_VOCAB: return hp->n_vocab;
    case AN_DIM_EMBD: return hp->n_embd;
    case AN_DIM_FF: return hp->n_ff;
    case AN_DIM_Q: return (int64_t)hp->n_head * hp->head_dim;
    case AN_DIM_KV: return (int64_t)hp->n_head_kv * hp->head_dim;
    case AN_DIM_PAIRS: return hp->head_dim / 2;
    }
    return 0;
}

void an_tensor_name_gguf(const an_tensor_rule *rule, int layer, char out[AN_TENSOR_NAME_MAX])
{
    if (rule->per_layer)
        snprintf(out, AN_TENSOR_NAME_MAX, "blk.%d.%s", layer, rule->gguf);
    else
        snprintf(out, AN_TENSOR_NAME_MAX, "%s", rule->gguf);
}

const an_hf_prefix *an_hf_prefixes(size_t *n)
{
    *n = AN_COUNT_OF(PREFIXES);
    return PREFIXES;
}

void an_tensor_path_hf(const an_tensor_rule *rule, const an_hf_prefix *prefix, int layer,
                       char out[AN_TENSOR_NAME_MAX])
{
    AN_ASSERT(rule->hf);
    if (rule->field == AN_FIELD_OUTPUT)
        snprintf(out, AN_TENSOR_NAME_MAX, "%s", prefix->head);
    else if (rule->per_layer)
        snprintf(out, AN_TENSOR_NAME_MAX, "%slayers.%d.%s", prefix->body, layer, rule->hf);
    else
        snprintf(out, AN_TENSOR_NAME_MAX, "%s%s", prefix->body, rule->hf);
}

void an_tensor_name(const an_model_file *m, const an_tensor_rule *rule, int layer, char out[AN_TENSOR_NAME_MAX])
{
    if (m->container == AN_CONTAINER_GGUF) {
        an_tensor_name_gguf(rule, layer, out);
        return;
    }
    an_tensor_path_hf(rule, m->hf_prefix, layer, out);
    strncat(out, rule->bias ? ".bias" : ".weight", AN_TENSOR_NAME_MAX - 1 - strlen(out));
}

bool an_tensor_name_native(an_field field, int layer, char out[AN_TENSOR_NAME_MAX])
{
    if (!NATIVE[field]) return false;
    if (RULES[field].per_layer)
        snprintf(out, AN_TENSOR_NAME_MAX, "layers.%d.%s.weight", layer, NATIVE[field]);
    else
        snprintf(out, AN_TENSOR_NAME_MAX, "%s.weight", NATIVE[field]);
    return true;
}

bool an_field_is_rotated(an_field field)
{
    return field == AN_FIELD_ATTN_Q || field == AN_FIELD_ATTN_K || field == AN_FIELD_ATTN_Q_BIAS ||
           field == AN_FIELD_ATTN_K_BIAS;
}
