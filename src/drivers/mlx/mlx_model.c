/*
 * The forward pass on MLX: embedding, blocks of attention and feed-forward, head; the KV cache; one
 * sequence.
 *
 * MLX evaluates lazily and updates a buffer in place only when nothing else holds it. So every
 * handle of a pass is freed before the pass is evaluated, and the cache keeps one handle per layer
 * for keys and one for values.
 */
#include "drivers/mlx/mlx_model.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "drivers/mlx/mlx_graph.h"
#include "drivers/mlx/mlx_load.h"
#include "model/rope.h"

#include <stdio.h>
#include <string.h>

enum { CACHE_STEP = 256 }; /* positions by which the cache grows */

struct an_mlx_model {
    an_mlx_info info;
    an_hparams hp;
    an_mlx_options options;
    an_mlx_net net;
    float *inv_freq;           /* [rope_dim / 2], scratch */
    an_mlx_array rope_periods; /* [rope_dim / 2]: 1 / frequency, as MLX's rope wants it */
    int rope_n_pos;            /* sequence length that they were made for */
    float attn_scale;          /* with YaRN's factor, once for q and once for k */
    int n_past;
};

/* What all layers of one pass share. */
typedef struct pass {
    an_mlx_model *m;
    an_mlx_graph *g;
    int n;                    /* new positions, after n_past */
    an_mlx_array query_scale; /* [n, 1] or empty */
    an_mlx_array mask; /* of the layers with window mask_window; empty when none was needed yet */
    int mask_window;
} pass;

typedef enum wanted { WANT_NOTHING, WANT_LAST, WANT_ALL } wanted;

static const an_mlx_array EMPTY = {NULL};

static an_mlx_array linear(an_mlx_graph *g, const an_mlx_linear *w, an_mlx_array x)
{
    an_mlx_array y =
        w->bits ? an_mlxg_quantized_matmul(g, x, w->weight, w->scales, w->biases, w->group, w->bits)
                : an_mlxg_matmul(g, x, w->weight_t);
    return w->bias.ctx ? an_mlxg_add(g, y, w->bias) : y;
}

static an_mlx_array embed(an_mlx_graph *g, const an_mlx_linear *w, an_mlx_array ids)
{
    an_mlx_array rows = an_mlxg_take(g, w->weight, ids);
    if (!w->bits) return rows;
    an_mlx_array scales = an_mlxg_take(g, w->scales, ids), biases = an_mlxg_take(g, w->biases, ids);
    return an_mlxg_dequantize(g, rows, scales, biases, w->group, w->bits);
}

/* [1, n, n_head * head_dim] -> [1, n_head, n, head_dim], as rope and attention want it. */
static an_mlx_array split_heads(const pass *p, an_mlx_array x, int n_head)
{
    return an_mlxg_swap_middle(p->g, an_mlxg_reshape4(p->g, x, 1, p->n, n_head, p->m->hp.head_dim));
}

static an_mlx_array rotate(const pass *p, an_mlx_array x)
{
    return an_mlxg_rope(p->g, x, p->m->hp.rope_dim, p->m->n_past, p->m->rope_periods);
}

/* Put new positions into a cache, growing it by whole steps, and return all of it that holds data.
 */
static void append(const pass *p, an_mlx_array *cache, an_mlx_array fresh)
{
    an_mlx_graph *g = p->g;
    const an_hparams *hp = &p->m->hp;
    int past = p->m->n_past, capacity = an_mlx_dim(*cache, 2);
    if (past + p->n > capacity) {
        int steps = (past + p->n - capacity + CACHE_STEP - 1) / CACHE_STEP;
        an_mlx_array room = an_mlxg_zeros4(
            g, (int[]){1, hp->n_head_kv, steps * CACHE_STEP, hp->head_dim}, p->m->info.compute);
        an_mlxg_store(g, cache, cache->ctx ? an_mlxg_concatenate(g, *cache, room, 2) : room);
    }
    an_mlxg_store(g, cache, an_mlxg_positions_set(g, *cache, fresh, past));
}

/* The mask of n queries after n_past over the keys from `first` on, where each sees `window`
 * positions. */
static anemo_status make_mask(pass *p, int window, int first)
{
    int n_key = p->m->n_past + p->n - first;
    bool *see = an_calloc((size_t)p->n * (size_t)n_key, sizeof *see);
    if (!see)
        return an_fail(p->g->err, ANEMO_ERR_NOMEM, "mlx: no memory for a %d x %d mask", p->n,
                       n_key);
    for (int q = 0; q < p->n; q++) {
        for (int k = 0; k < n_key; k++) {
            int distance = p->m->n_past + q - (first + k);
            see[(size_t)q * (size_t)n_key + (size_t)k] = distance >= 0 && distance < window;
        }
    }
    an_mlx_array_free(&p->mask);
    p->mask_window = window;
    anemo_status status =
        an_mlx_array_new(&p->mask, see, (int[]){p->n, n_key}, 2, AN_MLX_BOOL, p->g->err);
    an_free(see);
    return status;
}

static an_mlx_array attention(pass *p, an_mlx_block *b, an_mlx_array x)
{
    an_mlx_graph *g = p->g;
    const an_hparams *hp = &p->m->hp;
    /* q [1, n_head, n, head_dim]; k, v [1, n_head_kv, n, head_dim] */
    an_mlx_array q = rotate(p, split_heads(p, linear(g, &b->wq, x), hp->n_head));
    an_mlx_array k = rotate(p, split_heads(p, linear(g, &b->wk, x), hp->n_head_kv));
    an_mlx_array v = split_heads(p, linear(g, &b->wv, x), hp->n_head_kv);
    if (p->query_scale.ctx) q = an_mlxg_multiply(g, q, p->query_scale);
    append(p, &b->keys, k);
    append(p, &b->values, v);

    int end = p->m->n_past + p->n, first = 0;
    an_mlx_mask kind = p->n > 1 ? AN_MLX_MASK_CAUSAL : AN_MLX_MASK_NONE;
    if (b->window > 0 && end > b->window) {
        first = p->m->n_past + 1 > b->window ? p->m->n_past + 1 - b->window : 0;
        if (p->n > 1) kind = AN_MLX_MASK_ARRAY;
    }
    if (kind == AN_MLX_MASK_ARRAY && (!p->mask.ctx || p->mask_window != b->window) &&
        g->status == ANEMO_OK) {
        g->status = make_mask(p, b->window, first);
    }
    k = an_mlxg_positions(g, b->keys, first, end);
    v = an_mlxg_positions(g, b->values, first, end);
    an_mlx_array a = an_mlxg_attention(g, q, k, v, p->m->attn_scale, kind, p->mask);
    a = an_mlxg_reshape3(g, an_mlxg_swap_middle(g, a), 1, p->n, hp->n_head * hp->head_dim);
    return linear(g, &b->wo, a);
}

static an_mlx_array feed_forward(an_mlx_graph *g, const an_mlx_block *b, an_mlx_array x)
{
    an_mlx_array gate = an_mlxg_silu(g, linear(g, &b->w_gate, x));
    return linear(g, &b->w_down, an_mlxg_multiply(g, gate, linear(g, &b->w_up, x)));
}

static an_mlx_array block(pass *p, an_mlx_block *b, an_mlx_array x)
{
    an_mlx_graph *g = p->g;
    float eps = (float)p->m->hp.norm_eps;
    x = an_mlxg_add(g, x, attention(p, b, an_mlxg_rms_norm(g, x, b->attn_norm, eps)));
    return an_mlxg_add(g, x, feed_forward(g, b, an_mlxg_rms_norm(g, x, b->ffn_norm, eps)));
}

/* The llama-4 style scale of each query, where it is not 1 everywhere. */
static anemo_status make_query_scale(pass *p)
{
    const an_hparams *hp = &p->m->hp;
    if (hp->query_scale_beta == 0 || p->m->n_past + p->n <= hp->query_scale_n_ctx) return ANEMO_OK;
    float *scale = an_calloc((size_t)p->n, sizeof *scale);
    if (!scale)
        return an_fail(p->g->err, ANEMO_ERR_NOMEM, "mlx: no memory for %d query scales", p->n);
    for (int i = 0; i < p->n; i++)
        scale[i] = an_query_scale(hp, p->m->n_past + i);
    an_mlx_array made = an_mlxg_data(p->g, scale, (int[]){p->n, 1}, 2, AN_MLX_F32);
    an_free(scale);
    p->query_scale = an_mlxg_keep(p->g, an_mlxg_astype(p->g, made, p->m->info.compute));
    return p->g->status;
}

/*
 * The rotation's periods for a sequence of n_pos positions. They depend on it with dynamic scaling
 * only, and there on nothing but the part beyond the original context.
 */
static anemo_status make_periods(an_mlx_model *m, int n_pos, anemo_error *err)
{
    if (m->hp.rope_scaling != AN_ROPE_DYNAMIC || n_pos < m->hp.rope_n_ctx_orig)
        n_pos = m->hp.rope_n_ctx_orig;
    if (m->rope_periods.ctx && n_pos == m->rope_n_pos) return ANEMO_OK;
    int n = m->hp.rope_dim / 2;
    an_rope_freqs(&m->hp, n_pos, m->inv_freq);
    for (int i = 0; i < n; i++)
        m->inv_freq[i] = 1 / m->inv_freq[i];
    an_mlx_array_free(&m->rope_periods);
    m->rope_n_pos = n_pos;
    return an_mlx_array_new(&m->rope_periods, m->inv_freq, &n, 1, AN_MLX_F32, err);
}

static void add_caches(an_mlx_model *m, an_mlx_array *list, size_t *n)
{
    for (int layer = 0; layer < m->net.n_layer; layer++) {
        list[(*n)++] = m->net.blocks[layer].keys;
        list[(*n)++] = m->net.blocks[layer].values;
    }
}

/*
 * Build and run one pass over n ids. n_total: positions that the whole call will have reached, for
 * dynamic rope scaling. *logits (the caller frees it) is [1, n or 1, n_vocab] as wanted.
 */
static anemo_status run_pass(an_mlx_model *m, const int32_t *ids, int n, int n_total, wanted want,
                             an_mlx_array *logits, anemo_error *err)
{
    an_mlx_graph g;
    an_mlx_array x = EMPTY;
    an_mlxg_init(&g, err);
    pass p = {.m = m, .g = &g, .n = n};
    g.status = make_periods(m, n_total, err);
    an_mlxg_store(&g, &x,
                  embed(&g, &m->net.embd, an_mlxg_data(&g, ids, (int[]){1, n}, 2, AN_MLX_I32)));
    if (g.status == ANEMO_OK) g.status = make_query_scale(&p);
    for (int layer = 0; layer < m->net.n_layer && g.status == ANEMO_OK; layer++) {
        an_mlxg_store(&g, &x, block(&p, &m->net.blocks[layer], x));
        an_mlxg_clear(&g);
    }
    if (want != WANT_NOTHING) {
        an_mlx_array last = want == WANT_LAST ? an_mlxg_positions(&g, x, n - 1, n) : x;
        last = an_mlxg_rms_norm(&g, last, m->net.output_norm, (float)m->hp.norm_eps);
        an_mlxg_store(&g, logits, linear(&g, m->hp.tied ? &m->net.embd : &m->net.output, last));
    }
    an_mlxg_clear(&g);
    an_mlx_array_free(&x);
    an_mlx_array_free(&p.query_scale);
    an_mlx_array_free(&p.mask);
    if (g.status == ANEMO_OK) m->n_past += n;
    return g.status;
}

/*
 * Run what a pass has built: the caches, and `result`. Without a result nobody waits for it, so
 * that the next pass is built while this one runs.
 */
static anemo_status finish_pass(an_mlx_model *m, an_mlx_array result, anemo_error *err)
{
    size_t n = 0;
    an_mlx_array *list = an_calloc((size_t)m->net.n_layer * 2 + 1, sizeof *list);
    if (!list) return an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for a list of arrays");
    add_caches(m, list, &n);
    if (result.ctx) list[n++] = result;
    anemo_status status = result.ctx ? an_mlx_eval(list, n, err) : an_mlx_async_eval(list, n, err);
    an_free(list);
    return status;
}

static anemo_status check_ids(const an_mlx_model *m, const int32_t *ids, size_t n, anemo_error *err)
{
    if (n == 0) return an_fail(err, ANEMO_ERR_INVAL, "mlx: no ids");
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= m->hp.n_vocab) {
            return an_fail(err, ANEMO_ERR_INVAL,
                           "mlx: id %d at %zu is outside the vocabulary of %d", (int)ids[i], i,
                           m->hp.n_vocab);
        }
    }
    if (n > (size_t)(m->options.n_ctx - m->n_past)) {
        return an_fail(err, ANEMO_ERR_INVAL,
                       "mlx: the context of %d positions is too small for %zu ids after %d; ask "
                       "for a larger n_ctx",
                       m->options.n_ctx, n, m->n_past);
    }
    return ANEMO_OK;
}

anemo_status an_mlx_model_next(an_mlx_model *m, const int32_t *ids, size_t n, int32_t *next,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_mlx_array logits = EMPTY, best = EMPTY;
    AN_TRY(check_ids(m, ids, n, err));
    int n_total = m->n_past + (int)n;
    while (n > 0) {
        int part = n > (size_t)m->options.n_batch ? m->options.n_batch : (int)n;
        bool last = (size_t)part == n;
        AN_TRY(run_pass(m, ids, part, n_total, last ? WANT_LAST : WANT_NOTHING, &logits, err));
        if (last) AN_TRY(an_mlx_argmax(&best, logits, err));
        an_mlx_array_free(&logits);
        AN_TRY(finish_pass(m, best, err));
        ids += part;
        n -= (size_t)part;
    }
    AN_TRY(an_mlx_item_i32(next, best, err));
cleanup:
    an_mlx_array_free(&logits);
    an_mlx_array_free(&best);
    if (status != ANEMO_OK) an_mlx_model_reset(m);
    return status;
}

anemo_status an_mlx_model_logits(an_mlx_model *m, const int32_t *ids, size_t n, bool all,
                                 float *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_mlx_array logits = EMPTY;
    size_t n_vocab = (size_t)m->hp.n_vocab;
    AN_TRY(check_ids(m, ids, n, err));
    int n_total = m->n_past + (int)n;
    while (n > 0) {
        int part = n > (size_t)m->options.n_batch ? m->options.n_batch : (int)n;
        wanted want = all ? WANT_ALL : (size_t)part == n ? WANT_LAST : WANT_NOTHING;
        AN_TRY(run_pass(m, ids, part, n_total, want, &logits, err));
        AN_TRY(finish_pass(m, logits, err));
        if (want != WANT_NOTHING) {
            size_t rows = all ? (size_t)part : 1;
            AN_TRY(an_mlx_copy_f32(out, rows * n_vocab, logits, err));
            out += rows * n_vocab;
        }
        an_mlx_array_free(&logits);
        ids += part;
        n -= (size_t)part;
    }
cleanup:
    an_mlx_array_free(&logits);
    if (status != ANEMO_OK) an_mlx_model_reset(m);
    return status;
}

anemo_status an_mlx_model_forward(an_mlx_model *m, const int32_t *ids, size_t n, bool more,
                                  anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_mlx_array logits = EMPTY;
    AN_TRY(check_ids(m, ids, n, err));
    AN_TRY(run_pass(m, ids, (int)n, m->n_past + (int)n, more ? WANT_NOTHING : WANT_LAST, &logits,
                    err));
    AN_TRY(finish_pass(m, logits, err));
cleanup:
    an_mlx_array_free(&logits);
    if (status != ANEMO_OK) an_mlx_model_reset(m);
    return status;
}

void an_mlx_model_rewind(an_mlx_model *m, int n)
{
    if (n == 0)
        an_mlx_model_reset(m);
    else
        m->n_past = n; /* what lies behind is overwritten */
}

void an_mlx_model_reset(an_mlx_model *m)
{
    for (int layer = 0; layer < m->net.n_layer; layer++) {
        an_mlx_array_free(&m->net.blocks[layer].keys);
        an_mlx_array_free(&m->net.blocks[layer].values);
    }
    m->n_past = 0;
    (void)an_mlx_clear_cache(
        NULL); /* buffers of another length are of no use to the next sequence */
}

int an_mlx_model_n_past(const an_mlx_model *m)
{
    return m->n_past;
}

const an_mlx_info *an_mlx_model_info(const an_mlx_model *m)
{
    return &m->info;
}

const char *an_mlx_dtype_name(an_mlx_dtype dtype)
{
    return dtype == AN_MLX_F16 ? "f16" : dtype == AN_MLX_BF16 ? "bf16" : "f32";
}

/* Arithmetic that MLX's CPU kernels do in hardware: half precision on 64-bit ARM, bfloat16 nowhere.
 */
static bool cpu_computes(an_mlx_dtype dtype)
{
#if defined(__aarch64__)
    if (dtype == AN_MLX_F16) return true;
#endif
    return dtype == AN_MLX_F32;
}

static anemo_status choose_compute(const an_mlx_options *o, an_mlx_dtype own, an_mlx_dtype *out,
                                   anemo_error *err)
{
    static const an_mlx_dtype known[] = {AN_MLX_F32, AN_MLX_F16, AN_MLX_BF16};
    if (strcmp(o->compute_dtype, "auto") == 0) {
        *out = o->gpu || cpu_computes(own) ? own : AN_MLX_F32;
        return ANEMO_OK;
    }
    for (size_t i = 0; i < AN_COUNT_OF(known); i++) {
        if (strcmp(o->compute_dtype, an_mlx_dtype_name(known[i])) != 0) continue;
        *out = known[i];
        return ANEMO_OK;
    }
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "mlx: no compute type %s; it has auto, f32, f16 and bf16", o->compute_dtype);
}

anemo_status an_mlx_model_open(an_mlx_model **out, const char *path, const an_mlx_options *o,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_model_file *file = NULL;
    an_mlx_model *m = NULL;
    if (o->n_ctx < 1 || o->n_batch < 1) {
        return an_fail(err, ANEMO_ERR_INVAL, "mlx: n_ctx %d and n_batch %d must be at least 1",
                       o->n_ctx, o->n_batch);
    }
    AN_TRY(an_model_file_open(&file, path, err));
    if (file->container != AN_CONTAINER_MLX) {
        status =
            an_fail(err, ANEMO_ERR_UNSUPPORTED,
                    "%s: mlx reads MLX directories; convert it with anemo convert --to mlx", path);
        goto cleanup;
    }
    m = an_calloc(1, sizeof *m);
    if (!m) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for a model");
        goto cleanup;
    }
    m->hp = file->hp;
    m->hp.rope_freq_factors = NULL; /* GGUF's; it would dangle */
    m->inv_freq = an_calloc((size_t)m->hp.rope_dim / 2, sizeof *m->inv_freq);
    if (!m->inv_freq) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "mlx: no memory for the rotation");
        goto cleanup;
    }
    m->options = *o;
    m->options.compute_dtype = NULL;
    m->info.n_layer = m->hp.n_layer;
    m->info.n_vocab = m->hp.n_vocab;
    m->info.n_ctx_train = m->hp.n_ctx_train;
    m->info.bytes = file->weight_bytes;
    m->info.n_param = file->n_param;
    snprintf(m->info.quantization, sizeof m->info.quantization, "%s", file->quantization);
    m->attn_scale = (float)(m->hp.attn_scale * m->hp.rope_attn_factor * m->hp.rope_attn_factor);
    AN_TRY(choose_compute(o, an_mlx_own_dtype(file), &m->info.compute, err));
    AN_TRY(an_mlx_use_gpu(o->gpu, err));
    AN_TRY(an_mlx_net_load(&m->net, file, m->info.compute, err));
    *out = m;
    m = NULL;
cleanup:
    an_mlx_model_close(m);
    an_model_file_close(file);
    return status;
}

void an_mlx_model_close(an_mlx_model *m)
{
    if (!m) return;
    an_mlx_synchronize(NULL); /* a failed call may have left work running */
    an_mlx_net_free(&m->net);
    an_mlx_array_free(&m->rope_periods);
    an_free(m->inv_freq);
    an_free(m);
}
