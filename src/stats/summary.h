/*
 * Pure numbers: robust summaries of repetitions and paired comparison of two arms. Knows nothing of language models.
 * Method: ../docs/statistics.md.
 */
#ifndef AN_STATS_SUMMARY_H
#define AN_STATS_SUMMARY_H

#include <stddef.h>

typedef struct an_summary {
    size_t n; /* finite values; all below are NaN when 0 */
    double median, min, max, mean;
    double sd;       /* sample standard deviation, NaN for n < 2 */
    double mad;      /* median absolute deviation from the median, unscaled */
    double lo, hi;   /* distribution-free interval of the median from order statistics */
    double level;    /* its confidence, 1 - 2 P(Bin(n, 1/2) < k); for n < 6 it is min..max and below 0.95 */
} an_summary;

/* NaN and infinite values are left out. Sorts a copy in `work` [n]; work may be NULL for n <= 64. */
an_summary an_summarize(const double *values, size_t n, double *work);

/* Median by linear interpolation between the two middle values. NaN for n = 0. `values` [n] gets sorted. */
double an_median_inplace(double *values, size_t n);

typedef enum an_verdict {
    AN_VERDICT_UNKNOWN,       /* fewer than two pairs */
    AN_VERDICT_NO_DIFFERENCE, /* the spread covers equality */
    AN_VERDICT_LOWER,         /* a is lower than b */
    AN_VERDICT_HIGHER,
} an_verdict;

typedef struct an_paired {
    size_t n;             /* pairs with two positive finite values */
    double ratio;         /* exp of the median of ln(a/b) */
    double lo, hi, level; /* order-statistics interval of the ratio */
    an_verdict verdict;   /* LOWER or HIGHER only when the interval lies outside 1 -+ noise */
} an_paired;

enum { AN_PAIRS_MAX = 1000 };

/* a[i] and b[i] were measured in the same block, i < n <= AN_PAIRS_MAX. noise: 0.01 = one percent. */
an_paired an_compare_paired(const double *a, const double *b, size_t n, double noise);

#endif
