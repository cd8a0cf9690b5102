/* Distributions and quantiles that the tests and intervals of this module rest on. Not for other modules. */
#ifndef AN_STATS_DISTRIBUTIONS_H
#define AN_STATS_DISTRIBUTIONS_H

#include <stddef.h>

double an_normal_cdf(double x);
double an_normal_quantile(double p); /* -inf at 0, inf at 1 */

double an_binomial_cdf(size_t n, size_t k, double p); /* P(Bin(n, p) <= k), 0 < p < 1 */

/* P(|T| >= |t|) of Student's t with df > 0 degrees of freedom. */
double an_student_two_sided(double t, double df);

/* Up to this many pairs, and values of two samples together, ranks are counted exactly. */
enum { AN_SIGNED_RANK_EXACT = 50, AN_RANK_SUM_EXACT = 40 };

/*
 * Largest w so that 2 P(W <= w) <= alpha for the signed-rank sum W of n values without ties; -1 where there is none
 * (the interval is then everything that n values give). *tail is P(W <= max(w, 0)).
 */
long an_signed_rank_critical(size_t n, double alpha, double *tail);

/*
 * Two-sided p of the signed-rank test of n values with median 0. Zeros are left out (Wilcoxon's way); equal magnitudes
 * share their mean rank, and up to AN_SIGNED_RANK_EXACT values the distribution of exactly these ranks is counted;
 * beyond it is the normal one with the variance of these ranks. d [n] is overwritten. 1 where all are 0 or n is 0.
 */
double an_signed_rank_p(double *d, size_t n);

/* The same two for the rank sum (Mann-Whitney's U) of samples of n_a and n_b > 0 values. NaN when out of memory. */
long an_rank_sum_critical(size_t n_a, size_t n_b, double alpha, double *tail);
double an_rank_sum_p(const double *a, size_t n_a, const double *b, size_t n_b);

#endif
