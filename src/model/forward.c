/*
 * The forward pass of the Llama family. One function runs on all threads for the whole batch; stages are separated
 * by barriers, and no stage splits a sum between threads, so results do not depend on their number.
 *
 * A single token (decode) takes fewer barriers: norm and quantization of its input are so short that every thread
 * repeats them into a buffer of its own.
 */
#include "model/forward.h"

#include "model/rope.h"

typedef struct batch {
    an_decoder *d;
    an_pool *pool;
    const int32_t *ids;
    int n_tok;
    int first; /* tokens before this one have left the stream: nobody asks for their logits */
    an_want want;
    float *logits;
} batch;

typedef struct worker {
    const batch *b;
    an_decoder *d;
    an_thread_state *t;
    int thread, n_thread;
    int first, n_tok; /* tokens first..n_tok-1 are still in the stream */
} worker;

static void barrier(const worker *w)
{
    an_pool_barrier(w->b->pool);
}

/* This thread's tokens of those still in the stream. */
static void share_tokens(const worker *w, long *begin, long *end)
{
    an_pool_share(w->n_tok - w->first, 1, w->thread, w->n_thread, begin, end);
    *begin += w->first;
    *end += w->first;
}

static bool single(const worker *w)
{
    return w->n_tok - w->first == 1;
}

/*
 * The rows of x [.., n_col] that are in the stream as the input of a matmul, normed by `norm` when that is not
 * NULL. Shared between threads, or private to this one for a single token. Token 0 of the result is token `first`.
 */
static an_act prepare(const worker *w, float *x, int n_col, const float *norm)
{
    an_decoder *d = w->d;
    const an_kernels *kern = d->o.kernels;
    float eps = (float)d->m->hp.norm_eps;
    size_t stride = (size_t)n_col;
    an_act act = {.compute = d->o.compute, .n_tok = w->n_tok - w->first, .n_col = n_col};
    act.f32 = x + (size_t)w->first * stride;
    act.f32_stride = stride;
    if (single(w)) {
        act.q = w->t->act;
        if (norm) {
            an_rms_norm(kern, w->t->h, act.f32, norm, n_col, eps);
            act.f32 = w->t->h;
        }
        if (act.compute == AN_COMPUTE_Q8) an_act_quantize(kern, &act, 0, 1);
        return act;
    }
    long begin, end;
    an_pool_share(act.n_tok, 1, w->thread, w->n_thread, &begin, &end);
    act.q = d->act;
    if (norm) {
        float *h = d->h + (size_t)w->first * stride;
        for (long t = begin; t < end; t++)
            an_rms_norm(kern, h + (size_t)t * stride, act.f32 + (size_t)t * stride, norm, n_col, eps);
        act.f32 = h;
    }
    if (act.compute == AN_COMPUTE_Q8) an_act_quantize(kern, &act, (int)begin, (int)end);
    barrier(w);
    return act;
}

/* out (+)= act · weight^T + bias for one range of rows. out points at the first token of act. */
static void matmul_rows(const worker *w, const an_weight *weight, const float *bias, const an_act *act,
                        float *out, size_t stride, int64_t begin, int64_t end, bool add)
{
    if (begin >= end) return;
    an_matmul_rows(w->d->o.kernels, weight, act, out, stride, begin, end, add, w->t->matmul_scratch);
    for (int t = 0; bias && t < act->n_tok; t++)
        for (int64_t r = begin; r < end; r++) out[(size_t)t * stride + (size_t)r] += bias[r];
}

static void matmul(const worker *w, const an_weight *weight, const float *bias, const an_act *act,
                   float *out, size_t stride, bool add)
{
    long begin, end;
    an_pool_share((long)weight->n_row, AN_ROW_GRAIN, w->thread, w->n_thread, &begin, &end);
    matmul_rows(w, weight, bias, act, out, stride, begin, end, add);
}

/* One of several matrices that share an input. */
typedef struct projection {
    const an_weight *weight;
    const float *bias;
    float *out; /* [n_batch, n_row] */
} projection;

/* All of them as one stage: the threads share the rows of their concatenation. */
static void project(const worker *w, const projection *list, int n, const an_act *act)
{
    long grains = 0, begin, end, base = 0;
    for (int i = 0; i < n; i++) grains += (list[i].weight->n_row + AN_ROW_GRAIN - 1) / AN_ROW_GRAIN;
    an_pool_share(grains, 1, w->thread, w->n_thread, &begin, &end);
    for (int i = 0; i < n; i++) {
        int64_t n_row = list[i].weight->n_row;
        long own = (n_row + AN_ROW_GRAIN - 1) / AN_ROW_GRAIN;
        int64_t b = (begin > base ? begin - base : 0) * AN_ROW_GRAIN;
        int64_t e = (end - base < own ? end - base : own) * AN_ROW_GRAIN;
        size_t stride = (size_t)n_row;
        matmul_rows(w, list[i].weight, list[i].bias, act, list[i].out + (size_t)w->first * stride, stride,
                    b, e < n_row ? e : n_row, false);
        base += own;
    }
}

static char *kv_row(const an_decoder *d, char *base, int layer, int head, int pos)
{
    const an_hparams *hp = &d->m->hp;
    return base + ((size_t)layer * (size_t)hp->n_head_kv + (size_t)head) * d->kv_head_bytes +
           (size_t)pos * (size_t)hp->head_dim * d->kv_elem_bytes;
}

/* Rotate and store the key, and store the value, of one token and one head. */
static void store_kv(const worker *w, int layer, int head, int tok)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim;
    size_t at = ((size_t)tok * (size_t)hp->n_head_kv + (size_t)head) * (size_t)hd;
    size_t angle = (size_t)tok * (size_t)(hd / 2);
    int pos = d->n_past + tok;
    an_rope_head(d->o.kernels, w->t->head, d->k + at, hp->rope_rows, d->cos + angle, d->sin + angle, hd);
    an_kv_store(d->o.kernels, d->o.kv, kv_row(d, d->keys, layer, head, pos), w->t->head, hd);
    an_kv_store(d->o.kernels, d->o.kv, kv_row(d, d->values, layer, head, pos), d->v + at, hd);
}

void an_attend_chunks(int n_pos, int *chunk, int *n_chunk)
{
    int size = AN_CHUNK_ATTEND;
    while (n_pos > (int64_t)size * AN_CHUNKS_MAX) size *= 2;
    *chunk = size;
    *n_chunk = (n_pos + size - 1) / size;
}

/* First position that the token at `pos` sees in a layer. */
static int first_seen(int window, int pos)
{
    return window > 0 && pos >= window ? pos - window + 1 : 0;
}

/* The queries of one token that share a KV head, rotated into out [group, head_dim]. */
static void rotate_queries(const worker *w, int head, int tok, float *out)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, group = hp->n_head / hp->n_head_kv;
    size_t angle = (size_t)tok * (size_t)(hd / 2);
    const float *q = d->q + ((size_t)tok * (size_t)hp->n_head + (size_t)head * (size_t)group) * (size_t)hd;
    for (int i = 0; i < group; i++)
        an_rope_head(d->o.kernels, out + (size_t)i * (size_t)hd, q + (size_t)i * (size_t)hd, hp->rope_rows,
                     d->cos + angle, d->sin + angle, hd);
}

static float score_scale(const worker *w, int pos)
{
    const an_hparams *hp = &w->d->m->hp;
    return (float)hp->attn_scale * an_query_scale(hp, pos);
}

/* Attention of n_tok tokens for one KV head; the result takes the place of their queries. */
static void attend_tile(const worker *w, int layer, int head, int tok, int n_tok)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, group = hp->n_head / hp->n_head_kv, window = d->m->layers[layer].window;
    int pos = d->n_past + tok, begin = first_seen(window, pos);
    float scale[AN_ATTENTION_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        rotate_queries(w, head, tok + t, w->t->q + (size_t)(t * group) * (size_t)hd);
        scale[t] = score_scale(w, pos + t);
    }
    an_attention_job job = {
        .type = d->o.kv,
        .keys = kv_row(d, d->keys, layer, head, begin),
        .values = kv_row(d, d->values, layer, head, begin),
        .kv_stride_bytes = (size_t)hd * d->kv_elem_bytes,
        .n_q = group,
        .head_dim = hd,
        .n_tok = n_tok,
        .n_pos = pos - begin + 1,
        .window = window,
        .q = w->t->q,
        .scale = scale,
        .out = d->q + ((size_t)tok * (size_t)hp->n_head + (size_t)head * (size_t)group) * (size_t)hd,
        .out_stride = (size_t)hp->n_head * (size_t)hd,
        .scratch = w->t->attn_scratch,
    };
    an_attention(d->o.kernels, &job);
}

/* Tokens of a tile: as many as the scratch holds, but enough tiles for all threads. */
static int tile_tokens(const worker *w)
{
    const an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int group = hp->n_head / hp->n_head_kv, n_pos = d->n_past + w->n_tok, n = w->n_tok - w->first;
    int tile = AN_ATTENTION_TOKENS;
    while (tile > 1 && (an_attention_scratch_bytes(tile * group, hp->head_dim, n_pos) > d->attn_scratch_bytes ||
                        (n + tile - 1) / tile * hp->n_head_kv < 4 * w->n_thread))
        tile /= 2;
    return tile;
}

/*
 * Tiles of (head, tokens) go round the threads, so that the longer contexts of later tokens are shared evenly and
 * one head's keys stay in the cache.
 */
static void attend_batch(const worker *w, int layer)
{
    int n = w->n_tok - w->first, tile = tile_tokens(w), n_tile = (n + tile - 1) / tile;
    for (long i = w->thread; i < (long)n_tile * w->d->m->hp.n_head_kv; i += w->n_thread) {
        int at = (int)(i % n_tile) * tile;
        attend_tile(w, layer, (int)(i / n_tile), w->first + at, n - at < tile ? n - at : tile);
    }
}

/* One chunk of a single token's attention for one KV head. The thread of the last chunk stores the new row. */
static void attend_chunk(const worker *w, int layer, int head, int index, int chunk, int n_chunk)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, group = hp->n_head / hp->n_head_kv, pos = d->n_past;
    int first = first_seen(d->m->layers[layer].window, pos) + index * chunk;
    size_t at = ((size_t)head * (size_t)d->n_chunk_max + (size_t)index) * (size_t)group;
    float scale = score_scale(w, pos);
    if (index == n_chunk - 1) store_kv(w, layer, head, 0);
    rotate_queries(w, head, 0, w->t->q);
    an_attention_job job = {
        .type = d->o.kv,
        .keys = kv_row(d, d->keys, layer, head, first),
        .values = kv_row(d, d->values, layer, head, first),
        .kv_stride_bytes = (size_t)hd * d->kv_elem_bytes,
        .n_q = group,
        .head_dim = hd,
        .n_tok = 1,
        .n_pos = pos - first + 1 < chunk ? pos - first + 1 : chunk,
        .q = w->t->q,
        .scale = &scale,
        .out = d->chunks + at * (size_t)hd,
        .parts = d->chunk_parts + at * 2,
        .scratch = w->t->attn_scratch,
    };
    an_attention(d->o.kernels, &job);
}

/* A single token over a long context: chunks first, then their sum, head by head. */
static void attend_long(const worker *w, int layer, int chunk, int n_chunk)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    size_t hd = (size_t)hp->head_dim;
    int group = hp->n_head / hp->n_head_kv;
    for (int i = w->thread; i < hp->n_head_kv * n_chunk; i += w->n_thread)
        attend_chunk(w, layer, i / n_chunk, i % n_chunk, chunk, n_chunk);
    barrier(w);
    for (int h = w->thread; h < hp->n_head; h += w->n_thread) {
        size_t at = (size_t)(h / group) * (size_t)d->n_chunk_max * (size_t)group + (size_t)(h % group);
        an_attention_merge(d->o.kernels, d->q + (size_t)h * hd, d->chunks + at * hd, (size_t)group * hd,
                           d->chunk_parts + at * 2, (size_t)group * 2, n_chunk, hp->head_dim);
    }
}

/* q = attention(q, cache). Of a batch, keys and values are in the cache already; of a single token not. */
static void attention(const worker *w, int layer)
{
    const an_decoder *d = w->d;
    int n_pos = d->n_past + 1 - first_seen(d->m->layers[layer].window, d->n_past), chunk, n_chunk;
    an_attend_chunks(n_pos, &chunk, &n_chunk);
    if (w->n_tok > 1) {
        attend_batch(w, layer);
    } else if (n_chunk > 1) {
        attend_long(w, layer, chunk, n_chunk);
    } else {
        /* A thread stores the one row that only it will read. */
        for (int head = w->thread; head < d->m->hp.n_head_kv; head += w->n_thread) {
            store_kv(w, layer, head, 0);
            attend_tile(w, layer, head, 0, 1);
        }
    }
    barrier(w);
}

/* gate = silu(gate) * up for this thread's rows of the feed-forward layer. */
static void gate_up(const worker *w, const an_layer_weights *lw, const an_act *act)
{
    an_decoder *d = w->d;
    size_t n_ff = (size_t)d->m->hp.n_ff;
    long begin, end;
    an_pool_share((long)n_ff, AN_ROW_GRAIN, w->thread, w->n_thread, &begin, &end);
    float *gate = d->gate + (size_t)w->first * n_ff, *up = d->up + (size_t)w->first * n_ff;
    matmul_rows(w, &lw->w_gate, NULL, act, gate, n_ff, begin, end, false);
    matmul_rows(w, &lw->w_up, NULL, act, up, n_ff, begin, end, false);
    for (int t = 0; t < act->n_tok && begin < end; t++) {
        size_t at = (size_t)t * n_ff + (size_t)begin;
        an_silu_mul(d->o.kernels, gate + at, gate + at, up + at, (int)(end - begin));
    }
    barrier(w);
}

/* Keys and values of all tokens; queries of those from `first` on. */
static void qkv(worker *w, int layer, int first)
{
    an_decoder *d = w->d;
    const an_layer_weights *lw = &d->m->layers[layer];
    int n_embd = d->m->hp.n_embd;
    an_act act = prepare(w, d->x, n_embd, lw->attn_norm);
    projection all[] = {{&lw->wk, lw->bk, d->k}, {&lw->wv, lw->bv, d->v}, {&lw->wq, lw->bq, d->q}};
    bool late = first > w->first;
    project(w, all, late ? 2 : 3, &act);
    barrier(w);
    if (w->n_tok > 1) {
        long begin, end;
        share_tokens(w, &begin, &end);
        for (long t = begin; t < end; t++)
            for (int head = 0; head < d->m->hp.n_head_kv; head++) store_kv(w, layer, head, (int)t);
        barrier(w);
    }
    w->first = first;
    if (!late || first == w->n_tok) return;
    act = prepare(w, d->x, n_embd, lw->attn_norm);
    project(w, &all[2], 1, &act);
    barrier(w);
}

static void layer_forward(worker *w, int layer, int first)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    const an_layer_weights *lw = &d->m->layers[layer];
    size_t n_embd = (size_t)hp->n_embd;

    qkv(w, layer, first); /* k, v into the cache; q [n_tok, n_head, head_dim] */
    if (w->first == w->n_tok) return;
    float *x = d->x + (size_t)w->first * n_embd;
    attention(w, layer);                                             /* q [n_tok, n_head, head_dim] */
    an_act act = prepare(w, d->q, hp->n_head * hp->head_dim, NULL);
    matmul(w, &lw->wo, lw->bo, &act, x, n_embd, true);               /* x += q · wo^T              */
    barrier(w);
    act = prepare(w, d->x, hp->n_embd, lw->ffn_norm);
    gate_up(w, lw, &act);                                            /* gate [n_tok, n_ff]         */
    act = prepare(w, d->gate, hp->n_ff, NULL);
    matmul(w, &lw->w_down, NULL, &act, x, n_embd, true);             /* x += gate · w_down^T       */
    barrier(w);
}

static void forward_thread(void *arg, int thread, int n_thread)
{
    const batch *b = arg;
    an_decoder *d = b->d;
    const an_model_file *m = d->m;
    worker w = {.b = b,
                .d = d,
                .t = &d->threads[thread],
                .thread = thread,
                .n_thread = n_thread,
                .n_tok = b->n_tok};
    long begin, end;
    share_tokens(&w, &begin, &end);
    for (long t = begin; t < end; t++) {
        size_t angle = (size_t)t * (size_t)(m->hp.head_dim / 2);
        an_weight_row_f32(&m->token_embd, b->ids[t], d->x + (size_t)t * (size_t)m->hp.n_embd);
        an_rope_angles(&m->hp, d->inv_freq, d->n_past + (int)t, d->cos + angle, d->sin + angle);
    }
    barrier(&w);
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        layer_forward(&w, layer, layer + 1 == m->hp.n_layer ? b->first : 0);
    if (b->want == AN_WANT_NOTHING) return;
    an_act act = prepare(&w, d->x, m->hp.n_embd, m->output_norm);
    matmul(&w, &m->output, NULL, &act, b->logits, (size_t)m->hp.n_vocab, false);
}

void an_forward(an_decoder *d, const int32_t *ids, int n_tok, an_want want, float *logits)
{
    batch b = {.d = d,
               .pool = n_tok > 1 ? d->pool_prefill : d->pool_decode,
               .ids = ids,
               .n_tok = n_tok,
               .first = want == AN_WANT_ALL ? 0 : want == AN_WANT_LAST ? n_tok - 1 : n_tok,
               .want = want,
               .logits = logits};
    an_pool_run(b.pool, forward_thread, &b);
}
