/*
 * Pure numbers: robust summaries of repetitions. Knows nothing of language models.
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

/*
 * The narrowest symmetric pair of order statistics of n sorted values that holds the median with at least the confidence
 * `at_least`; where there is none, the extremes. *level is the confidence of the pair. n > 0.
 */
void an_median_interval(const double *sorted, size_t n, double at_least, double *lo, double *hi, double *level);

#endif
