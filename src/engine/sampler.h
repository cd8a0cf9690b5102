/* Drawing the next id from logits; used by engine and the mlx driver. Deterministic for a seed, allocates only when opened. */
#ifndef AN_ENGINE_SAMPLER_H
#define AN_ENGINE_SAMPLER_H

#include "base/rng.h"
#include "engine/session.h"

/* Tokens that the repetition penalty can look back on. */
enum { AN_SAMPLER_HISTORY_MAX = 4096 };

typedef struct an_candidate {
    int32_t id;
    float logit;
    double weight; /* not normalized probability */
} an_candidate;

typedef struct an_sampler {
    an_sampling s;
    an_rng rng;
    int n_vocab;
    an_candidate *candidates; /* [n_vocab] */
    int32_t *history;         /* ring of the last ids */
    int n_history;            /* ids drawn so far; the ring holds the last AN_SAMPLER_HISTORY_MAX */
} an_sampler;

ANEMO_MUST_CHECK anemo_status an_sampler_open(an_sampler *sampler, int n_vocab, anemo_error *err);
void an_sampler_close(an_sampler *sampler);
void an_sampler_set(an_sampler *sampler, const an_sampling *sampling);
int32_t an_sampler_draw(an_sampler *sampler, const float *logits);

#endif
