/*
 * Averages of all pairs of one sample (Walsh averages) or differences of all pairs of two, selected by rank without
 * listing them. Not for other modules.
 */
#ifndef AN_STATS_PAIRS_H
#define AN_STATS_PAIRS_H

#include <stddef.h>
#include <stdint.h>

/*
 * b NULL: (a_i + a_j) / 2 for i <= j, or with weights v > 0 (a_i + a_j) / (v_i + v_j); else a_i - b_j.
 *
 * Without weights a and b are sorted. With weights order [n_a] and work [n_a] are the caller's; order holds 0 … n_a - 1
 * at first.
 */
typedef struct an_pairs {
    const double *a, *b, *v;
    size_t n_a, n_b;
    size_t *order;
    double *work;
} an_pairs;

size_t an_pairs_total(const an_pairs *s);
/* The k-th smallest, k from 1, to within eps (absolute; 0 = as exact as it goes). */
double an_pairs_kth(const an_pairs *s, size_t k, double eps);
/* The median of all: Hodges and Lehmann's estimate. */
double an_pairs_centre(const an_pairs *s, double eps);

/*
 * BCa bootstrap interval of the centre (no weights; n_b 0 without b; at most AN_PAIRS_MAX values each): n_bootstrap
 * resamples by `seed`. NaN where it cannot be had (memory, fewer than 2 values, n_bootstrap 0).
 */
void an_pairs_bootstrap(const an_pairs *s, int n_bootstrap, uint64_t seed, double level, double *lo, double *hi);

#endif
