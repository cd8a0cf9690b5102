/*
 * Attention of a batch over the cache: which tiles or chunks each thread takes. The arithmetic is in the kernels.
 */
#include "model/attend.h"

#include "model/rope.h"

static char *kv_row(const an_decoder *d, char *base, int layer, int head, int pos)
{
    const an_hparams *hp = &d->m->hp;
    return base + ((size_t)layer * (size_t)hp->n_head_kv + (size_t)head) * d->kv_head_bytes +
           (size_t)pos * (size_t)hp->head_dim * d->kv_elem_bytes;
}

void an_store_kv(const an_worker *w, int layer, int head, int tok)
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
static void rotate_queries(const an_worker *w, int head, int tok, float *out)
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

static float score_scale(const an_worker *w, int pos)
{
    const an_hparams *hp = &w->d->m->hp;
    return (float)hp->attn_scale * an_query_scale(hp, pos);
}

/* Attention of n_tok tokens for one KV head; the result takes the place of their queries. */
static void attend_tile(const an_worker *w, int layer, int head, int tok, int n_tok)
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
static int tile_tokens(const an_worker *w)
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
static void attend_batch(const an_worker *w, int layer)
{
    int n = w->n_tok - w->first, tile = tile_tokens(w), n_tile = (n + tile - 1) / tile;
    for (long i = w->thread; i < (long)n_tile * w->d->m->hp.n_head_kv; i += w->n_thread) {
        int at = (int)(i % n_tile) * tile;
        attend_tile(w, layer, (int)(i / n_tile), w->first + at, n - at < tile ? n - at : tile);
    }
}

/* One chunk of a single token's attention for one KV head. The thread of the last chunk stores the new row. */
static void attend_chunk(const an_worker *w, int layer, int head, int index, int chunk, int n_chunk)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    int hd = hp->head_dim, group = hp->n_head / hp->n_head_kv, pos = d->n_past;
    int first = first_seen(d->m->layers[layer].window, pos) + index * chunk;
    size_t at = ((size_t)head * (size_t)d->n_chunk_max + (size_t)index) * (size_t)group;
    float scale = score_scale(w, pos);
    if (index == n_chunk - 1) an_store_kv(w, layer, head, 0);
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
static void attend_long(const an_worker *w, int layer, int chunk, int n_chunk)
{
    an_decoder *d = w->d;
    const an_hparams *hp = &d->m->hp;
    size_t hd = (size_t)hp->head_dim;
    int group = hp->n_head / hp->n_head_kv;
    for (int i = w->thread; i < hp->n_head_kv * n_chunk; i += w->n_thread)
        attend_chunk(w, layer, i / n_chunk, i % n_chunk, chunk, n_chunk);
    an_worker_barrier(w);
    for (int h = w->thread; h < hp->n_head; h += w->n_thread) {
        size_t at = (size_t)(h / group) * (size_t)d->n_chunk_max * (size_t)group + (size_t)(h % group);
        an_attention_merge(d->o.kernels, d->q + (size_t)h * hd, d->chunks + at * hd, (size_t)group * hd,
                           d->chunk_parts + at * 2, (size_t)group * 2, n_chunk, hp->head_dim);
    }
}

void an_attend(const an_worker *w, int layer)
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
            an_store_kv(w, layer, head, 0);
            attend_tile(w, layer, head, 0, 1);
        }
    }
    an_worker_barrier(w);
}
