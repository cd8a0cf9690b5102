/* Accepting or replacing one drafted id. */
#include "engine/accept.h"

int32_t an_accept_draw(const double *prob, int n, an_rng *rng)
{
    double sum = 0;
    int32_t chosen = 0;
    for (int i = 0; i < n; i++) sum += prob[i];
    double at = an_rng_f64(rng) * sum;
    for (int32_t i = 0; i < n; i++) {
        if (prob[i] <= 0) continue;
        chosen = i; /* the last one of all when rounding leaves `at` above 0 */
        at -= prob[i];
        if (at < 0) break;
    }
    return chosen;
}

/* The same over the positive part of p - q; -1 when that is empty. */
static int32_t draw_rest(const double *p, const double *q, int n, an_rng *rng)
{
    double sum = 0;
    int32_t chosen = -1;
    for (int i = 0; i < n; i++) sum += p[i] > q[i] ? p[i] - q[i] : 0;
    double at = an_rng_f64(rng) * sum;
    for (int32_t i = 0; i < n; i++) {
        if (p[i] <= q[i]) continue;
        chosen = i;
        at -= p[i] - q[i];
        if (at < 0) break;
    }
    return chosen;
}

bool an_accept(const double *p, const double *q, int n, int32_t drafted, an_rng *rng, int32_t *id)
{
    *id = drafted;
    if (an_rng_f64(rng) * q[drafted] < p[drafted]) return true;
    *id = draw_rest(p, q, n, rng);
    if (*id < 0) *id = an_accept_draw(p, n, rng);
    return false;
}
