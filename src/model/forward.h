/* The state of a decoder and one batch through the layers; private to model. */
#ifndef AN_MODEL_FORWARD_H
#define AN_MODEL_FORWARD_H

#include "base/arena.h"
#include "model/decoder.h"

#include <stdatomic.h>

/* Up to so many tokens, each thread can prepare the input of a product by itself. */
enum { AN_PRIVATE_TOKENS = 16 };

/* Memory for both forms of quantized activations (an_act); NULL where the model has no use for one. */
typedef struct an_act_room {
    void *q, *q_super;
} an_act_room;

/* Buffers of one thread. */
typedef struct an_thread_state {
    float *h;             /* [AN_PRIVATE_TOKENS, n_embd] normed state */
    an_act_room act;      /* quantized form of AN_PRIVATE_TOKENS tokens, as long as n_embd and all heads */
    float *q;             /* [tile_tokens, n_head / n_head_kv, head_dim] rotated queries */
    float *scale;         /* [tile_tokens] of their scores */
    float *head;          /* [head_dim] a rotated key */
    void *matmul_scratch;
    void *attn_scratch;
} an_thread_state;

struct an_decoder {
    const an_model_file *m;
    an_decoder_options o;
    an_decoder_plan plan;
    an_pool *pool_prefill, *pool_decode; /* the same pool when their sizes are equal */
    an_arena arena;
    int n_past;
    int n_rope_seq;       /* longest sequence the rope frequencies were made for (dynamic scaling) */
    size_t key_head_bytes, value_head_bytes; /* one head of one layer */
    char *keys, *values;  /* [n_layer, n_head_kv] heads, each as kernels.h lays out n_ctx positions */
    float *inv_freq;      /* [head_dim / 2] */
    float *cos, *sin;     /* [n_batch, head_dim / 2] */
    float *x;             /* [n_batch, n_embd] the residual stream */
    float *h;             /* [n_batch, n_embd] normed */
    float *q;             /* [n_batch, n_head, head_dim] queries, then the output of attention */
    float *k, *v;         /* [n_batch, n_head_kv, head_dim] */
    float *gate, *up;     /* [n_batch, n_ff] */
    an_act_room act, act_ff; /* quantized input of a matmul, n_batch tokens: of n_embd and all heads; of n_ff */
    int tile_tokens;      /* tokens of a batch that attend together, at most */
    int n_chunk_max;
    float *parts;         /* [n_head_kv, n_chunk_max, n_head / n_head_kv, an_attention_part_floats()] of a single token */
    _Atomic int *chunks_done; /* [n_head_kv] zero between stages */
    an_thread_state *threads;
};

/* What a batch leaves behind. */
typedef enum an_want { AN_WANT_NOTHING, AN_WANT_LAST, AN_WANT_ALL } an_want;

/*
 * Run ids[n_tok] at positions n_past..; 1 <= n_tok <= n_batch and they fit into the context. Keys and values are
 * appended to the cache (n_past is the caller's to move), logits go to `logits` as wanted.
 */
void an_forward(an_decoder *d, const int32_t *ids, int n_tok, an_want want, float *logits);

#endif
