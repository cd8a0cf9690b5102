/*
 * Attention of a batch over the cache: which tiles or chunks each thread takes. The arithmetic is in the kernels, and
 * it is the same for a token by itself, in a batch, and cut into chunks.
 */
#include "model/attend.h"

#include "model/rope.h"

static char *keys_of(const an_decoder *d, int layer, int head)
{
    return d->keys + ((size_t)layer * (size_t)d->m->hp.n_head_kv + (size_t)head) * d->key_head_bytes;
}

static char *values_of(const an_decoder *d, int layer, int head)
{
    return d->values + ((size_t)layer * (size_t)d->m->hp.n_head_kv + (size_t)head) * d->value_head_bytes;
}

void an_store_kv(const an_worker *w, int layer, int head, int tok)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, pos = d->n_past + tok;
    size_t at = ((size_t)tok * (size_t)hp->n_head_kv + (size_t)head) * (size_t)hd;
    size_t angle = (size_t)tok * (size_t)(hd / 2);
    an_rope_head(d->o.kernels, w->t->head, d->k + at, hp->rope_rows, d->cos + angle, d->sin + angle, hd);
    an_kv_store_key(d->o.kernels, d->o.kv, keys_of(d, layer, head), pos, w->t->head, hd);
    an_kv_store_value(d->o.kernels, an_decoder_kv_v(&d->o), values_of(d, layer, head), pos, d->v + at, hd);
}

static int group_of(const an_decoder *d)
{
    return d->m->hp.n_head / d->m->hp.n_head_kv;
}

/* Queries of a token and KV head in d->q, [group, head_dim]; where their attention goes too. */
static float *queries_of(const an_decoder *d, int head, int tok)
{
    const an_hparams *hp = &d->m->hp;
    return d->q + ((size_t)tok * (size_t)hp->n_head + (size_t)head * (size_t)group_of(d)) * (size_t)hp->head_dim;
}

/* Attention of tokens tok..tok+n_tok-1 for one KV head, its queries rotated into this thread's buffers. */
static an_attention_job attention_job(const an_worker *w, int layer, int head, int tok, int n_tok)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, group = group_of(d);
    for (int t = 0; t < n_tok; t++) {
        size_t angle = (size_t)(tok + t) * (size_t)(hd / 2);
        const float *q = queries_of(d, head, tok + t);
        for (int i = 0; i < group; i++)
            an_rope_head(d->o.kernels, w->t->q + (size_t)(t * group + i) * (size_t)hd, q + (size_t)i * (size_t)hd,
                         hp->rope_rows, d->cos + angle, d->sin + angle, hd);
        w->t->scale[t] = (float)hp->attn_scale * an_query_scale(hp, d->n_past + tok + t);
    }
    return (an_attention_job){
        .key_type = d->o.kv,
        .value_type = an_decoder_kv_v(&d->o),
        .n_tok = n_tok,
        .n_q = group,
        .head_dim = hd,
        .pos = d->n_past + tok,
        .window = d->m->layers[layer].window,
        .q = w->t->q,
        .scale = w->t->scale,
        .keys = keys_of(d, layer, head),
        .values = values_of(d, layer, head),
        .out = queries_of(d, head, tok),
        .out_stride = (size_t)hp->n_head * (size_t)hd,
        .scratch = w->t->attn_scratch,
    };
}

/* Can the result be quantized head by head? */
static bool by_heads(const an_worker *w, const an_act *act)
{
    return group_of(w->d) * w->d->m->hp.head_dim % (act->q_super ? AN_SUPER : 32) == 0;
}

/* Quantize one KV head's part of the result, of tokens tok..tok+n_tok-1. */
static void quantize_head(const an_worker *w, const an_act *act, int head, int tok, int n_tok)
{
    int width = group_of(w->d) * w->d->m->hp.head_dim;
    if (!by_heads(w, act)) return;
    an_act_quantize_columns(w->d->o.kernels, act, tok - w->first, tok - w->first + n_tok, head * width,
                            (head + 1) * width);
}

/*
 * Tiles of (head, tokens) are shared head by head, so that one head's keys stay in the cache. They are as large as the scratch
 * allows, but there are enough for all threads.
 */
static void attend_batch(const an_worker *w, int layer, const an_act *act)
{
    const an_decoder *d = w->d;
    int n = w->n_tok - w->first, n_head = d->m->hp.n_head_kv, tile = d->tile_tokens;
    while (tile > 1 && (n + tile - 1) / tile * n_head < 4 * w->n_thread) tile /= 2;
    int n_tile = (n + tile - 1) / tile;
    an_pool_stage stage = an_pool_begin(w->b->pool, w->thread, (long)n_tile * n_head, 1, 1);
    for (long i, end; an_pool_take(&stage, &i, &end);)
        for (; i < end; i++) {
            int head = (int)(i / n_tile), at = (int)(i % n_tile) * tile, n_own = n - at < tile ? n - at : tile;
            an_attention_job job = attention_job(w, layer, head, w->first + at, n_own);
            an_attention(d->o.kernels, &job);
            quantize_head(w, act, head, w->first + at, n_own);
        }
}

/* One KV head's result from the parts of its chunks. */
static void merge_head(const an_worker *w, int head, int n_chunk)
{
    const an_decoder *d = w->d;
    int hd = d->m->hp.head_dim, group = group_of(d);
    size_t part = an_attention_part_floats(hd), at = (size_t)head * (size_t)d->n_chunk_max * (size_t)group * part;
    float *out = queries_of(d, head, w->first);
    for (int i = 0; i < group; i++)
        an_attention_merge(d->o.kernels, out + (size_t)i * (size_t)hd, d->parts + at + (size_t)i * part,
                           (size_t)group * part, n_chunk, hd);
}

/*
 * A single token: (head, chunk) pairs are shared in order, so that a thread reads on where it was. Whoever finishes the
 * last chunk of a head merges it. The thread of the last chunk stores the row that only it reads, unless the token is
 * one of a batch, whose rows are stored.
 */
static void attend_single(const an_worker *w, int layer, const an_act *act)
{
    an_decoder *d = w->d;
    int group = group_of(d), pos = d->n_past + w->first, window = d->m->layers[layer].window, n;
    int first = window > 0 && pos >= window ? (pos - window + 1) / AN_ATTENTION_CHUNK : 0;
    int n_chunk = pos / AN_ATTENTION_CHUNK + 1 - first;
    size_t part = an_attention_part_floats(d->m->hp.head_dim);
    long begin, end;
    an_pool_share((long)n_chunk * d->m->hp.n_head_kv, 1, w->thread, w->n_thread, &begin, &end);
    for (long i = begin; i < end; i += n) {
        int head = (int)(i / n_chunk), chunk = (int)(i % n_chunk);
        n = n_chunk - chunk < end - i ? n_chunk - chunk : (int)(end - i);
        if (chunk + n == n_chunk && w->n_tok == 1) an_store_kv(w, layer, head, 0);
        an_attention_job job = attention_job(w, layer, head, w->first, 1);
        size_t at = ((size_t)head * (size_t)d->n_chunk_max + (size_t)chunk) * (size_t)group * part;
        an_attention_chunks(d->o.kernels, &job, first + chunk, n, d->parts + at);
        if (atomic_fetch_add(&d->chunks_done[head], n) + n < n_chunk) continue;
        atomic_store(&d->chunks_done[head], 0);
        merge_head(w, head, n_chunk);
        quantize_head(w, act, head, w->first, 1);
    }
}

bool an_attend(const an_worker *w, int layer, const an_act *act)
{
    if (w->n_tok - w->first > 1) attend_batch(w, layer, act);
    else attend_single(w, layer, act);
    an_worker_barrier(w);
    return by_heads(w, act);
}
