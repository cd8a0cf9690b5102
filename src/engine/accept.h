/*
 * Speculative sampling (Leviathan, Kalman and Matias, 2023; Chen et al., 2023): an id that was drawn from a draft's
 * distribution q becomes one that is distributed as p.
 */
#ifndef AN_ENGINE_ACCEPT_H
#define AN_ENGINE_ACCEPT_H

#include "base/rng.h"

#include <stdbool.h>
#include <stdint.h>

/* Draw from prob [n], values >= 0 whose sum need not be 1 but must be > 0. */
int32_t an_accept_draw(const double *prob, int n, an_rng *rng);

/*
 * p, q [n] are distributions, `drafted` was drawn from q. True with probability min(1, p / q): *id is the draft. Else *id is drawn
 * from the positive part of p - q, which q and p that differ by rounding alone may not have: then from p.
 */
bool an_accept(const double *p, const double *q, int n, int32_t drafted, an_rng *rng, int32_t *id);

#endif
