/* Robust summaries, quantiles, outliers and drift of one sample. */
#include "stats/summary.h"

#include "stats/distributions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of_sorted(const double *v, size_t n)
{
    if (n == 0) return NAN;
    return n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

void an_sort(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
}

double an_interpolate(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

double an_median_inplace(double *values, size_t n)
{
    an_sort(values, n);
    return median_of_sorted(values, n);
}

/*
 * The narrowest symmetric pair of order statistics that holds the median with at least 95 % confidence; with fewer than
 * six values there is none, and the extremes are what can be said.
 */
static void median_interval(const double *sorted, size_t n, double *lo, double *hi, double *level)
{
    size_t k = 0;
    while (2 * (k + 1) < n && 1 - 2 * an_binomial_cdf(n, k + 1, 0.5) >= 0.95) k++;
    *lo = sorted[k];
    *hi = sorted[n - 1 - k];
    *level = n == 1 ? 0 : 1 - 2 * an_binomial_cdf(n, k, 0.5);
}

an_summary an_summarize(const double *values, size_t n, double *work)
{
    double local[64];
    an_summary s = {0, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    double *v = work ? work : local;
    if (!work && n > 64) n = 64;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i])) v[s.n++] = values[i];
    if (s.n == 0) return s;
    s.median = an_median_inplace(v, s.n);
    s.min = v[0];
    s.max = v[s.n - 1];
    median_interval(v, s.n, &s.lo, &s.hi, &s.level);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < s.n; i++) sum += v[i];
    s.mean = sum / (double)s.n;
    for (size_t i = 0; i < s.n; i++) squares += (v[i] - s.mean) * (v[i] - s.mean);
    if (s.n > 1) s.sd = sqrt(squares / (double)(s.n - 1));
    for (size_t i = 0; i < s.n; i++) v[i] = fabs(v[i] - s.median);
    s.mad = an_median_inplace(v, s.n);
    return s;
}

an_quantile an_quantile_of(const double *sorted, size_t n, double q)
{
    an_quantile r = {NAN, NAN, NAN, NAN};
    /* The rounding of 1/(1 - 0.95) may not ask for a 21st value. */
    if (n == 0 || !((double)n * q >= 1 - 1e-9) || !((double)n * (1 - q) >= 1 - 1e-9)) return r;
    /* The true quantile is below sorted[l] when at most l values lie below it, above sorted[u] when more than u do. */
    size_t l = 0, u = 0, above;
    /* Both chances rise with the number, so each end is found by halving. */
    for (above = n; above - l > 1;) {
        size_t middle = l + (above - l) / 2;
        if (an_binomial_cdf(n, middle, q) <= 0.025) l = middle;
        else above = middle;
    }
    for (above = n - 1; u < above;) {
        size_t middle = u + (above - u) / 2;
        if (1 - an_binomial_cdf(n, middle, q) > 0.025) u = middle + 1;
        else above = middle;
    }
    r.value = an_interpolate(sorted, n, q);
    r.lo = sorted[l];
    r.hi = sorted[u];
    r.level = an_binomial_cdf(n, u, q) - an_binomial_cdf(n, l, q);
    return r;
}

/*
 * How much of a variance `square` of n values with that mean is not explained by values that each came from a machine
 * at rest: c of the n values are taken to be those that something disturbed (the model of the criterion library).
 */
static double disturbed(double n, double c, double square, double rest)
{
    return (n - c) / n * (square - (n - c) * rest);
}

static double outlier_share(double n, double mean, double sd)
{
    double square = sd * sd, single = mean / n, least = single / 2;
    double s = fmin(least / 4, sd / sqrt(n)), rest = s * s;
    if (!(mean > 0) || !(sd > 0)) return 0;
    double most = INFINITY, at[2] = {0, least};
    for (int i = 0; i < 2; i++) {
        double k = single - at[i], d = n * k * k, k0 = -n * d, k1 = square - n * rest + d;
        most = fmin(most, floor(-2 * k0 / (k1 + sqrt(k1 * k1 - 4 * rest * k0))));
    }
    double share = fmin(disturbed(n, 1, square, rest), disturbed(n, most, square, rest)) / square;
    return fmax(0, fmin(1, share));
}

an_outliers an_find_outliers(const double *values, size_t n, double *work)
{
    double local[64];
    an_outliers r = {0, 0, 0, 0, 0, NAN, 0};
    an_summary s = an_summarize(values, n, work);
    double *v = work ? work : local;
    r.n = s.n;
    if (s.n < 4) return r;
    if (!work && n > 64) n = 64;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(values[i])) v[kept++] = values[i];
    an_median_inplace(v, kept);
    double q1 = an_interpolate(v, kept, 0.25), q3 = an_interpolate(v, kept, 0.75), range = q3 - q1;
    for (size_t i = 0; i < kept; i++) {
        if (v[i] < q1 - 3 * range)
            r.low_severe++;
        else if (v[i] < q1 - 1.5 * range)
            r.low_mild++;
        else if (v[i] > q3 + 3 * range)
            r.high_severe++;
        else if (v[i] > q3 + 1.5 * range)
            r.high_mild++;
    }
    if (s.mad > 0) r.max_z = 0.6745 * fmax(s.max - s.median, s.median - s.min) / s.mad;
    r.share = outlier_share((double)s.n, s.mean, s.sd);
    return r;
}

an_trend an_trend_of(const double *x, const double *values, size_t n)
{
    an_trend r = {NAN, NAN};
    double m = 0, sx = 0, sy = 0, xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(values[i])) continue;
        m++;
        sx += x[i];
        sy += values[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(values[i])) continue;
        double dx = x[i] - sx / m, dy = values[i] - sy / m;
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    if (m < 2 || !(xx > 0)) return r;
    r.slope = xy / xx;
    if (m < 3) return r;
    double correlation = yy > 0 ? xy / sqrt(xx * yy) : 0;
    r.p = an_student_two_sided(correlation * sqrt((m - 2) / (1 - correlation * correlation)), m - 2);
    if (fabs(correlation) >= 1) r.p = 0;
    return r;
}
