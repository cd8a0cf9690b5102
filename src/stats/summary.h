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
    double sd;     /* sample standard deviation, NaN for n < 2 */
    double mad;    /* median absolute deviation from the median, unscaled */
    double lo, hi; /* distribution-free interval of the median from order statistics */
    double level;  /* its confidence, 1 - 2 P(Bin(n, 1/2) < k); for n < 6 it is min..max and below 0.95 */
} an_summary;

/* NaN and infinite values are left out. Sorts a copy in `work` [n]; work may be NULL for n <= 64. */
an_summary an_summarize(const double *values, size_t n, double *work);

/* In rising order. No value may be NaN. */
void an_sort(double *values, size_t n);

/* The quantile q of n > 0 sorted values, interpolated between order statistics as NumPy and R (type 7) do. */
double an_interpolate(const double *sorted, size_t n, double q);

/* Median by linear interpolation between the two middle values. NaN for n = 0. `values` [n] gets sorted. */
double an_median_inplace(double *values, size_t n);

/*
 * The quantile q of n sorted values by linear interpolation, and the pair of order statistics that holds the true one:
 * each side misses it with at most 2.5 %. Where the extremes are not far enough out they are given with the lower
 * `level` that they have. All NaN where n is too small to speak of it: below 1/(1 - q) or 1/q values (20 for p95, 100
 * for p99).
 */
typedef struct an_quantile {
    double value, lo, hi, level;
} an_quantile;
an_quantile an_quantile_of(const double *sorted, size_t n, double q);

/* Values that stand apart. Never a reason to drop them. */
typedef struct an_outliers {
    size_t n;
    size_t low_severe, low_mild, high_mild, high_severe; /* beyond 3 and 1.5 interquartile ranges (Tukey) */
    double max_z; /* largest |modified z| = 0.6745 |x - median| / MAD; above 3.5 is unusual. NaN for MAD 0 */
    double share; /* of the variance that comes from outliers, not from the spread of all values (criterion's), 0..1 */
} an_outliers;
/* Values that are not finite are left out; work [n] as in an_summarize(). Counts are 0 for fewer than 4 values. */
an_outliers an_find_outliers(const double *values, size_t n, double *work);

/* Least squares of values over x (order index): does a cell drift? */
typedef struct an_trend {
    double slope; /* per unit of x */
    double p;     /* two-sided, of slope 0 (Student's t with n - 2); NaN for n < 3 */
} an_trend;
/* Pairs in which one is not finite are left out. */
an_trend an_trend_of(const double *x, const double *values, size_t n);

#endif
