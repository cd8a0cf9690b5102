/* Drawing the next id from logits; used by engine and the mlx driver. Deterministic for a seed, allocates only when opened. */
#ifndef AN_ENGINE_SAMPLER_H
#define AN_ENGINE_SAMPLER_H

#include "base/rng.h"
#include "engine/session.h"

/* Tokens that the repetition penalty can look back on; draws that can be taken back. */
enum { AN_SAMPLER_HISTORY_MAX = 4096, AN_SAMPLER_BACK_MAX = 32 };

typedef struct an_candidate {
    int32_t id;
    float logit;
    double weight; /* not normalized probability */
} an_candidate;

struct an_sampler {
    an_sampling s;
    an_rng rng;
    int n_vocab;
    an_candidate *candidates; /* [n_vocab] */
    int32_t *history;         /* ring of the last ids */
    int n_history;            /* ids drawn so far; the ring holds those that can be looked back on and taken back */
};

/* A moment of a sampler to return to, at most AN_SAMPLER_BACK_MAX ids later. */
typedef struct an_sampler_mark {
    an_rng rng;
    int n_history;
} an_sampler_mark;

ANEMO_MUST_CHECK anemo_status an_sampler_open(an_sampler *sampler, int n_vocab, anemo_error *err);
void an_sampler_close(an_sampler *sampler);
void an_sampler_set(an_sampler *sampler, const an_sampling *sampling);
/* Draw the next id from logits [n_vocab] and remember it. */
int32_t an_sampler_draw(an_sampler *sampler, const float *logits);

/* The two halves of a draw: with which probability each id would be drawn, into prob [n_vocab]; an id that was chosen otherwise. */
void an_sampler_distribution(an_sampler *sampler, const float *logits, double *prob);
void an_sampler_remember(an_sampler *sampler, int32_t id);

an_sampler_mark an_sampler_mark_take(const an_sampler *sampler);
void an_sampler_return(an_sampler *sampler, const an_sampler_mark *mark);

/* Take over the settings and the remembered ids of another sampler of the same vocabulary; the random numbers stay apart. */
void an_sampler_follow(an_sampler *sampler, const an_sampler *other);

#endif
