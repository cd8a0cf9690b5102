/* The cache of keys and values, and attention over it, as stages of a forward pass; private to model. */
#ifndef AN_MODEL_ATTEND_H
#define AN_MODEL_ATTEND_H

#include "model/worker.h"

/* Rotate and store the key, and store the value, of one token and one head. */
void an_store_kv(const an_worker *w, int layer, int head, int tok);

/*
 * q = attention(q, cache) for all tokens in the stream, with a barrier behind. Of a batch, keys and values are in the cache
 * already; of a single token not. `act` describes the result as an input: it is quantized too, unless that
 * cannot be done head by head; then false is returned.
 */
bool an_attend(const an_worker *w, int layer, const an_act *act);

#endif
