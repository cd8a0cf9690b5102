/* Robust summaries. */
#include "stats/summary.h"

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

double an_median_inplace(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return median_of_sorted(values, n);
}

/* P(Bin(n, 1/2) <= k), summed through logarithms so that large n does not underflow. */
static double binomial_half_cdf(size_t n, size_t k)
{
    double sum = 0;
    for (size_t i = 0; i <= k; i++)
        sum += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                   (double)n * log(2.0));
    return sum;
}

void an_median_interval(const double *sorted, size_t n, double at_least, double *lo, double *hi, double *level)
{
    size_t k = 0;
    while (2 * (k + 1) < n && 1 - 2 * binomial_half_cdf(n, k + 1) >= at_least) k++;
    *lo = sorted[k];
    *hi = sorted[n - 1 - k];
    *level = n == 1 ? 0 : 1 - 2 * binomial_half_cdf(n, k);
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
    an_median_interval(v, s.n, 0.95, &s.lo, &s.hi, &s.level);
    double sum = 0, squares = 0;
    for (size_t i = 0; i < s.n; i++) sum += v[i];
    s.mean = sum / (double)s.n;
    for (size_t i = 0; i < s.n; i++) squares += (v[i] - s.mean) * (v[i] - s.mean);
    if (s.n > 1) s.sd = sqrt(squares / (double)(s.n - 1));
    for (size_t i = 0; i < s.n; i++) v[i] = fabs(v[i] - s.median);
    s.mad = an_median_inplace(v, s.n);
    return s;
}
