/*
 * The forward pass of the Llama family. One function runs on all threads for the whole batch; stages are separated
 * by barriers, and no stage splits a sum between threads, so results depend neither on their number nor on who takes which rows.
 *
 * Few tokens take fewer barriers: norm and quantization of their input are so short that every thread repeats them into
 * a buffer of its own. Whoever makes a part of the attention's or the feed-forward layer's output quantizes it as well, so
 * that the product behind needs no stage of preparation.
 */
#include "model/forward.h"

#include "kernels/act.h"
#include "model/attend.h"
#include "model/rope.h"

/* The matrices that an input is multiplied by, up to the first NULL. */
typedef struct users {
    const an_weight *by[3];
} users;

/* The rows of x [.., n_col] that are in the stream as the input of matmuls. Token 0 of it is token `first`. */
static an_act input(const an_worker *w, const float *x, int n_col, const an_act_room *room, users u)
{
    int n_tok = w->n_tok - w->first;
    an_act act = {.compute = an_kernels_compute(w->d->o.compute, n_tok),
                  .n_tok = n_tok,
                  .n_col = n_col,
                  .f32 = x + (size_t)w->first * (size_t)n_col,
                  .f32_stride = (size_t)n_col};
    if (act.compute == AN_COMPUTE_BF16) act.q = room->q;
    for (int i = 0; act.compute == AN_COMPUTE_Q8 && i < (int)AN_COUNT_OF(u.by) && u.by[i]; i++) {
        if (an_act_super(u.by[i])) act.q_super = room->q_super;
        else act.q = room->q;
        act.tight |= an_act_tight(u.by[i]);
    }
    return act;
}

/* Does each thread prepare the stream's tokens by itself? Many threads would all do what few of them could share. */
static bool is_private(const an_worker *w)
{
    enum { ALWAYS = 4, FEW_THREADS = 4 };
    int n_tok = w->n_tok - w->first;
    return n_tok <= ALWAYS || (n_tok <= AN_PRIVATE_TOKENS && w->n_thread <= FEW_THREADS);
}

/*
 * Such an input quantized, and before that normed by `norm` when that is not NULL. Shared between threads, or private to
 * this one for few tokens.
 */
static an_act prepare(const an_worker *w, const float *x, int n_col, const float *norm, users u)
{
    an_decoder *d = w->d;
    const an_kernels *kern = d->o.kernels;
    bool own = x != d->gate && is_private(w);
    an_act act = input(w, x, n_col, own ? &w->t->act : x == d->gate ? &d->act_ff : &d->act, u);
    size_t stride = (size_t)n_col;
    long begin = 0, end = act.n_tok;
    float *h = own ? w->t->h : d->h;
    if (!own) an_pool_share(act.n_tok, 1, w->thread, w->n_thread, &begin, &end);
    for (long t = begin; norm && t < end; t++)
        an_rms_norm(kern, h + (size_t)t * stride, act.f32 + (size_t)t * stride, norm, n_col, (float)d->m->hp.norm_eps);
    if (norm) act.f32 = h;
    an_act_quantize(kern, &act, (int)begin, (int)end);
    if (!own) an_worker_barrier(w);
    return act;
}

/* out (+)= act · weight^T + bias for one range of rows. out points at the first token of act. */
static void matmul_rows(const an_worker *w, const an_weight *weight, const float *bias, const an_act *act,
                        float *out, size_t stride, int64_t begin, int64_t end, bool add)
{
    if (begin >= end) return;
    an_matmul_rows(w->d->o.kernels, weight, act, out, stride, begin, end, add, w->t->matmul_scratch);
    for (int t = 0; bias && t < act->n_tok; t++)
        for (int64_t r = begin; r < end; r++) out[(size_t)t * stride + (size_t)r] += bias[r];
}

/* A stage of products, of n times `grains` AN_ROW_GRAIN rows: as they come for few tokens; many want whole blocks (matmul_q8.c). */
static an_pool_stage begin_products(const an_worker *w, long n, long grains)
{
    enum { PIECE = 4, BLOCK = 16 };
    bool few = w->n_tok - w->first <= AN_SMALL_TOKENS;
    long grain = few || grains >= PIECE ? 1 : PIECE / grains;
    return an_pool_begin(w->b->pool, w->thread, n, grain, few || grains >= BLOCK ? 1 : BLOCK / PIECE);
}

/* One of several matrices that share an input. */
typedef struct projection {
    const an_weight *weight;
    const float *bias;
    float *out; /* [tokens of the input, n_row] */
} projection;

/* One whose result is `batch` [n_batch, n_row], of the tokens still in the stream. */
static projection in_stream(const an_worker *w, const an_weight *weight, const float *bias, float *batch)
{
    return (projection){weight, bias, batch + (size_t)w->first * (size_t)weight->n_row};
}

/* out (+)= act · weight^T + bias for all of them as one stage: the threads share the rows of their concatenation. */
static void project(const an_worker *w, const projection *list, int n, const an_act *act, bool add)
{
    long grains = 0, begin, end;
    for (int i = 0; i < n; i++) grains += an_row_grains(list[i].weight->n_row);
    an_pool_stage stage = begin_products(w, grains, 1);
    while (an_pool_take(&stage, &begin, &end)) {
        an_row_share share = {begin, end, 0};
        for (int i = 0; i < n; i++) {
            int64_t n_row = list[i].weight->n_row, from, to;
            an_row_share_next(&share, n_row, &from, &to);
            matmul_rows(w, list[i].weight, list[i].bias, act, list[i].out, (size_t)n_row, from, to, add);
        }
    }
}

static void matmul(const an_worker *w, projection one, const an_act *act, bool add)
{
    project(w, &one, 1, act, add);
}

/* Rows of the feed-forward layer whose values for all tokens stay in the caches: whole blocks of a product. */
static long gate_rows(int n_tok)
{
    enum { BLOCK = 256, VALUES = 1 << 17 };
    long n = VALUES / n_tok / BLOCK * BLOCK;
    return n > BLOCK ? n : BLOCK;
}

/* gate = silu(gate) * up for rows begin..end-1 of the feed-forward layer, quantized to `result` while it is still in the caches. */
static void gate_up_rows(const an_worker *w, const an_layer_weights *lw, const an_act *act, long begin, long end,
                         const an_act *result)
{
    const an_decoder *d = w->d;
    size_t n_ff = (size_t)d->m->hp.n_ff;
    float *gate = d->gate + (size_t)w->first * n_ff, *up = d->up + (size_t)w->first * n_ff;
    long most = gate_rows(act->n_tok);
    for (long from = begin, to; from < end; from = to) {
        to = from + most < end ? from + most : end;
        matmul_rows(w, &lw->w_gate, NULL, act, gate, n_ff, from, to, false);
        matmul_rows(w, &lw->w_up, NULL, act, up, n_ff, from, to, false);
        for (int t = 0; t < act->n_tok; t++) {
            size_t at = (size_t)t * n_ff + (size_t)from;
            an_silu_mul(d->o.kernels, gate + at, gate + at, up + at, (int)(to - from));
        }
        if (result) an_act_quantize_columns(d->o.kernels, result, 0, result->n_tok, (int)from, (int)to);
    }
}

/*
 * gate_up_rows() of all rows, as one stage. Returns the input of the product behind, after a barrier. Where whole superblocks
 * would be shared out unevenly, the stage shares rows and prepares its result as a stage of its own.
 */
static an_act gate_up(const an_worker *w, const an_layer_weights *lw, const an_act *act)
{
    enum { EVEN = 8 }; /* parts of a thread */
    an_decoder *d = w->d;
    size_t n_ff = (size_t)d->m->hp.n_ff;
    users u = {{&lw->w_down}};
    an_act result = input(w, d->gate, (int)n_ff, &d->act_ff, u);
    long begin, end, part = 2 * AN_ROW_GRAIN; /* whole groups of 32 */
    bool late = result.q_super && (long)n_ff / AN_SUPER < EVEN * w->n_thread;
    if (result.q_super && !late) part = AN_SUPER;
    an_pool_stage stage = begin_products(w, ((long)n_ff + part - 1) / part, part / AN_ROW_GRAIN);
    while (an_pool_take(&stage, &begin, &end)) {
        if ((end *= part) > (long)n_ff) end = (long)n_ff;
        gate_up_rows(w, lw, act, begin * part, end, late ? NULL : &result);
    }
    an_worker_barrier(w);
    return late ? prepare(w, d->gate, (int)n_ff, NULL, u) : result;
}

/* Keys and values of all tokens; queries of those from `first` on. */
static void qkv(an_worker *w, int layer, int first)
{
    an_decoder *d = w->d;
    const an_layer_weights *lw = &d->m->layers[layer];
    int n_embd = d->m->hp.n_embd;
    const users u = {{&lw->wk, &lw->wv, &lw->wq}};
    an_act act = prepare(w, d->x, n_embd, lw->attn_norm, u);
    projection all[] = {in_stream(w, &lw->wk, lw->bk, d->k), in_stream(w, &lw->wv, lw->bv, d->v),
                        in_stream(w, &lw->wq, lw->bq, d->q)};
    bool late = first > w->first;
    project(w, all, late ? 2 : 3, &act, false);
    an_worker_barrier(w);
    /* A single token's row is stored where it attends, unless it leaves the stream here. */
    if (w->n_tok > 1 || first == w->n_tok) {
        long begin, end;
        an_worker_tokens(w, &begin, &end);
        for (long t = begin; t < end; t++)
            for (int head = 0; head < d->m->hp.n_head_kv; head++) an_store_kv(w, layer, head, (int)t);
        an_worker_barrier(w);
    }
    w->first = first;
    if (!late || first == w->n_tok) return;
    /* The same users as above: a tight one among them has its say in the scale, and bits must not depend on what is wanted. */
    act = prepare(w, d->x, n_embd, lw->attn_norm, u);
    matmul(w, in_stream(w, &lw->wq, lw->bq, d->q), &act, false);
    an_worker_barrier(w);
}

static void layer_forward(an_worker *w, int layer, int first)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    const an_layer_weights *lw = &d->m->layers[layer];

    qkv(w, layer, first); /* k, v into the cache; q [n_tok, n_head, head_dim] */
    if (w->first == w->n_tok) return;
    users wo = {{&lw->wo}};
    an_act act = input(w, d->q, hp->n_head * hp->head_dim, &d->act, wo);
    if (!an_attend(w, layer, &act)) act = prepare(w, d->q, act.n_col, NULL, wo); /* q [n_tok, n_head, head_dim] */
    matmul(w, in_stream(w, &lw->wo, lw->bo, d->x), &act, true);      /* x += q · wo^T              */
    an_worker_barrier(w);
    act = prepare(w, d->x, hp->n_embd, lw->ffn_norm, (users){{&lw->w_gate, &lw->w_up}});
    act = gate_up(w, lw, &act);                                      /* gate [n_tok, n_ff]         */
    matmul(w, in_stream(w, &lw->w_down, NULL, d->x), &act, true);    /* x += gate · w_down^T       */
    an_worker_barrier(w);
}

static void forward_thread(void *arg, int thread, int n_thread)
{
    const an_batch *b = arg;
    an_decoder *d = b->d;
    const an_model_file *m = d->m;
    an_worker w = {.b = b,
                .d = d,
                .t = &d->threads[thread],
                .thread = thread,
                .n_thread = n_thread,
                .n_tok = b->n_tok};
    long begin, end;
    an_worker_tokens(&w, &begin, &end);
    for (long t = begin; t < end; t++) {
        size_t angle = (size_t)t * (size_t)(m->hp.head_dim / 2);
        an_weight_row_f32(&m->token_embd, b->ids[t], d->x + (size_t)t * (size_t)m->hp.n_embd);
        an_rope_angles(&m->hp, d->inv_freq, d->n_past + (int)t, d->cos + angle, d->sin + angle);
    }
    an_worker_barrier(&w);
    for (int layer = 0; layer < m->hp.n_layer; layer++)
        layer_forward(&w, layer, layer + 1 == m->hp.n_layer ? b->first : 0);
    if (b->want == AN_WANT_NOTHING) return;
    an_act act = prepare(&w, d->x, m->hp.n_embd, m->output_norm, (users){{&m->output}});
    matmul(&w, (projection){&m->output, NULL, b->logits}, &act, false);
}

void an_forward(an_decoder *d, const int32_t *ids, int n_tok, an_want want, float *logits)
{
    an_batch b = {.d = d,
               .pool = n_tok > 1 ? d->pool_prefill : d->pool_decode,
               .ids = ids,
               .n_tok = n_tok,
               .first = want == AN_WANT_ALL ? 0 : want == AN_WANT_LAST ? n_tok - 1 : n_tok,
               .want = want,
               .logits = logits};
    an_pool_run(b.pool, forward_thread, &b);
}
