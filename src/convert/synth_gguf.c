/* The GGUF form: header and file. */
#include "convert/synth_internal.h"

#include "base/alloc.h"
#include "format/gguf_write.h"
#include "os/file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define DESCRIPTION "Random weights made by anemo synth, to measure speed and memory; they answer nothing"

void an_synth_put_u32(an_str *s, uint32_t v)
{
    an_str_append_bytes(s, &v, 4);
}

void an_synth_put_str(an_str *s, const char *text, size_t n)
{
    uint64_t len = n;
    an_str_append_bytes(s, &len, 8);
    an_str_append_bytes(s, text, n);
}

void an_synth_key_begin(an_str *keys, uint64_t *n_key, const char *key, uint32_t type)
{
    an_synth_put_str(keys, key, strlen(key));
    an_synth_put_u32(keys, type);
    ++*n_key;
}

void an_synth_key_u32(an_str *keys, uint64_t *n_key, const char *key, uint32_t v)
{
    an_synth_key_begin(keys, n_key, key, AN_GGUF_U32);
    an_synth_put_u32(keys, v);
}

void an_synth_key_bool(an_str *keys, uint64_t *n_key, const char *key, bool v)
{
    an_synth_key_begin(keys, n_key, key, AN_GGUF_BOOL);
    an_str_append_char(keys, v ? 1 : 0);
}

void an_synth_key_str(an_str *keys, uint64_t *n_key, const char *key, const char *v)
{
    an_synth_key_begin(keys, n_key, key, AN_GGUF_STRING);
    an_synth_put_str(keys, v, strlen(v));
}

/* ------------------------------------------------------------------------------------------------------- header */

typedef struct header {
    an_str *keys;
    uint64_t n_key;
    const char *arch;
} header;

static void put_int(header *h, const char *tail, int v)
{
    char key[96];
    snprintf(key, sizeof key, "%s.%s", h->arch, tail);
    an_synth_key_u32(h->keys, &h->n_key, key, (uint32_t)v);
}

static void put_real(header *h, const char *tail, double v)
{
    char key[96];
    float f = (float)v;
    snprintf(key, sizeof key, "%s.%s", h->arch, tail);
    an_synth_key_begin(h->keys, &h->n_key, key, AN_GGUF_F32);
    an_str_append_bytes(h->keys, &f, 4);
}

static anemo_status put_rope(header *h, const an_synth_model *m, anemo_error *err)
{
    const an_hparams *hp = &m->params.hp;
    char key[96];
    snprintf(key, sizeof key, "%s.rope.scaling.type", h->arch);
    put_int(h, "rope.dimension_count", hp->rope_dim);
    put_real(h, "rope.freq_base", hp->rope_theta);
    switch (hp->rope_scaling) {
    case AN_ROPE_NONE: break;
    case AN_ROPE_LINEAR:
        an_synth_key_str(h->keys, &h->n_key, key, "linear");
        put_real(h, "rope.scaling.factor", hp->rope_factor);
        break;
    case AN_ROPE_YARN:
        an_synth_key_str(h->keys, &h->n_key, key, "yarn");
        put_real(h, "rope.scaling.factor", hp->rope_factor);
        put_int(h, "rope.scaling.original_context_length", hp->rope_n_ctx_orig);
        put_real(h, "rope.scaling.yarn_beta_fast", hp->yarn_beta_fast);
        put_real(h, "rope.scaling.yarn_beta_slow", hp->yarn_beta_slow);
        /* A multiplier of 1 takes YaRN's factor on cos and sin away; anything between the two is not in these models. */
        if (fabs(hp->rope_attn_factor - 1) < 1e-6) put_real(h, "rope.scaling.yarn_log_multiplier", 1);
        else if (fabs(hp->rope_attn_factor - an_yarn_attn_factor(hp->rope_factor, 0, 0)) > 1e-5)
            put_real(h, "rope.scaling.attn_factor", hp->rope_attn_factor / an_yarn_attn_factor(hp->rope_factor, 0, 0));
        break;
    default:
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: its rope scaling (dynamic or llama3) is not made; --format mlx writes it as it is", m->name);
    }
    if (hp->query_scale_beta > 0) put_real(h, "attention.temperature_scale", hp->query_scale_beta);
    return ANEMO_OK;
}

static void put_windows(header *h, const an_arch_params *p)
{
    char key[96];
    bool same = true;
    for (int i = 1; i < p->hp.n_layer; i++) same = same && p->window[i] == p->window[0];
    if (same && p->window[0]) put_int(h, "attention.sliding_window", p->window[0]);
    if (same) return;
    uint64_t n = (uint64_t)p->hp.n_layer;
    snprintf(key, sizeof key, "%s.attention.sliding_window", h->arch);
    an_synth_key_begin(h->keys, &h->n_key, key, AN_GGUF_ARRAY);
    an_synth_put_u32(h->keys, AN_GGUF_U32);
    an_str_append_bytes(h->keys, &n, 8);
    for (int i = 0; i < p->hp.n_layer; i++) an_synth_put_u32(h->keys, (uint32_t)p->window[i]);
}

static anemo_status put_keys(header *h, const an_synth_model *m, const an_synth_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_hparams *hp = &m->params.hp;
    char name[160];
    snprintf(name, sizeof name, "%s, random weights, seed %" PRIu64, m->name, o->seed);
    an_synth_key_str(h->keys, &h->n_key, "general.architecture", h->arch);
    an_synth_key_str(h->keys, &h->n_key, "general.type", "model");
    an_synth_key_str(h->keys, &h->n_key, "general.name", name);
    an_synth_key_str(h->keys, &h->n_key, "general.description", DESCRIPTION);
    put_int(h, "block_count", hp->n_layer);
    put_int(h, "context_length", hp->n_ctx_train);
    put_int(h, "embedding_length", hp->n_embd);
    put_int(h, "feed_forward_length", hp->n_ff);
    put_int(h, "attention.head_count", hp->n_head);
    put_int(h, "attention.head_count_kv", hp->n_head_kv);
    put_int(h, "attention.key_length", hp->head_dim);
    put_int(h, "attention.value_length", hp->head_dim);
    put_real(h, "attention.layer_norm_rms_epsilon", hp->norm_eps);
    put_int(h, "vocab_size", hp->n_vocab);
    if (m->n_expert) {
        put_int(h, "expert_count", m->n_expert);
        put_int(h, "expert_used_count", m->n_expert_used);
    }
    AN_TRY(put_rope(h, m, err));
    put_windows(h, &m->params);
    AN_TRY(an_synth_vocab_keys(m, h->keys, &h->n_key, err));
cleanup:
    return status;
}

anemo_status an_synth_header(const an_synth_model *m, const an_synth_options *o, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str keys = {0};
    const an_hparams *hp = &m->params.hp;
    bool mistral3 = hp->query_scale_beta > 0 || hp->rope_scaling == AN_ROPE_YARN;
    header h = {.keys = &keys, .arch = mistral3 ? "mistral3" : "llama"};
    uint64_t n_tensor = 0;
    AN_TRY(put_keys(&h, m, o, err));
    an_str_append(out, "GGUF");
    an_synth_put_u32(out, 3);
    an_str_append_bytes(out, &n_tensor, 8);
    an_str_append_bytes(out, &h.n_key, 8);
    an_str_append_bytes(out, keys.data, keys.len);
    AN_TRY(an_str_check(&keys, err));
    AN_TRY(an_str_check(out, err));
cleanup:
    an_str_free(&keys);
    return status;
}

/* --------------------------------------------------------------------------------------------------------- file */

static anemo_status put_weights(void *writer, const void *data, uint64_t n, anemo_error *err)
{
    return an_gguf_writer_put(writer, data, n, err);
}

anemo_status an_synth_gguf(const char *dst, const an_synth_model *m, const an_synth_plan *plan, const an_synth_types *types,
                           const an_synth_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str head = {0};
    an_gguf *g = NULL;
    an_gguf_writer *w = NULL;
    bool quantized = types->mix->base > AN_DTYPE_BF16;
    an_synth_piece *pieces = an_calloc(plan->n, sizeof *pieces);
    if (!pieces) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (!o->force && an_path_probe(dst) != AN_PATH_ABSENT) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
        goto cleanup;
    }
    AN_TRY(an_synth_header(m, o, &head, err));
    AN_TRY(an_gguf_open_bytes(&g, head.data, head.len, dst, err));
    AN_TRY(an_gguf_writer_open(&w, dst, err));
    for (size_t i = 0; i < an_gguf_n_kv(g); i++) an_gguf_writer_copy(w, an_gguf_kv_at(g, i));
    if (quantized) an_gguf_writer_u32(w, "general.quantization_version", 2);
    an_gguf_writer_u32(w, "general.file_type", types->mix->file_type);
    for (size_t i = 0; i < plan->n; i++) {
        const an_synth_tensor *t = &plan->tensors[i];
        AN_TRY(an_gguf_writer_tensor(w, t->name, t->form->dtype, t->n_dim, t->shape, err));
        pieces[i] = (an_synth_piece){t, t->n_dim == 1 ? AN_SYNTH_ONES : AN_SYNTH_BLOCKS, 0};
    }
    AN_TRY(an_gguf_writer_begin(w, err));
    AN_TRY(an_synth_write(pieces, plan->n, o, put_weights, w, err));
    AN_TRY(an_gguf_writer_commit(w, err));
cleanup:
    an_gguf_writer_close(w);
    an_gguf_close(g);
    an_str_free(&head);
    an_free(pieces);
    return status;
}
