/* One thread of a forward pass, as its stages see it; private to model. */
#ifndef AN_MODEL_WORKER_H
#define AN_MODEL_WORKER_H

#include "model/forward.h"

typedef struct an_batch {
    an_decoder *d;
    an_pool *pool;
    const int32_t *ids;
    int n_tok;
    int first; /* tokens before this one have left the stream: nobody asks for their logits */
    an_want want;
    float *logits;
} an_batch;

typedef struct an_worker {
    const an_batch *b;
    an_decoder *d;
    an_thread_state *t;
    int thread, n_thread;
    int first, n_tok; /* tokens first..n_tok-1 are still in the stream */
} an_worker;

static inline void an_worker_barrier(const an_worker *w)
{
    an_pool_barrier(w->b->pool);
}

/* This thread's tokens of those still in the stream. */
static inline void an_worker_tokens(const an_worker *w, long *begin, long *end)
{
    an_pool_share(w->n_tok - w->first, 1, w->thread, w->n_thread, begin, end);
    *begin += w->first;
    *end += w->first;
}

#endif
