/* Normal, binomial, Student's t, and the exact distributions of ranks. */
#include "stats/distributions.h"

#include "base/alloc.h"
#include "stats/compare.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

double an_normal_cdf(double x)
{
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

/* Bisection to where it is safe, then Newton: the tails are steep enough for it. */
double an_normal_quantile(double p)
{
    if (!(p > 0)) return p == 0 ? -INFINITY : NAN;
    if (!(p < 1)) return p == 1 ? INFINITY : NAN;
    double lo = -39, hi = 39;
    for (int i = 0; i < 24; i++) {
        double mid = 0.5 * (lo + hi);
        if (an_normal_cdf(mid) < p)
            lo = mid;
        else
            hi = mid;
    }
    double x = 0.5 * (lo + hi);
    for (int i = 0; i < 3; i++) {
        double density = exp(-0.5 * x * x) * 0.39894228040143267794;
        if (!(density > 1e-300)) break;
        x -= (an_normal_cdf(x) - p) / density;
    }
    return x;
}

/* Continued fraction of the regularised incomplete beta function (modified Lentz), for x below (a + 1)/(a + b + 2). */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), h;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    h = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        for (int k = 0; k < 2; k++) {
            double term = k ? odd : even;
            d = 1 + term * d;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = 1 + term / c;
            if (fabs(c) < tiny) c = tiny;
            h *= c * d;
        }
        if (fabs(c * d - 1) < 1e-15) break;
    }
    return h;
}

static double incomplete_beta(double a, double b, double x)
{
    if (x <= 0) return 0;
    if (x >= 1) return 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

/* Summed through logarithms so that no term underflows; many terms as the integral that equals their sum. */
double an_binomial_cdf(size_t n, size_t k, double p)
{
    enum { SUMMED_MAX = 200 };
    double sum = 0, m = (double)n;
    if (k >= n) return 1;
    if (k >= SUMMED_MAX) return incomplete_beta((double)(n - k), (double)k + 1, 1 - p);
    for (size_t i = 0; i <= k; i++) {
        double j = (double)i;
        sum += exp(lgamma(m + 1) - lgamma(j + 1) - lgamma(m - j + 1) + j * log(p) + (m - j) * log1p(-p));
    }
    return sum < 1 ? sum : 1;
}

double an_student_two_sided(double t, double df)
{
    return isnan(t) ? NAN : isinf(t) ? 0 : incomplete_beta(0.5 * df, 0.5, df / (df + t * t));
}

/* ---- signed ranks */

enum { SIGNED_STATES = AN_SIGNED_RANK_EXACT * (AN_SIGNED_RANK_EXACT + 1) + 1 };

/* Probability of every sum of ranks of which each counts or does not, 50:50: p [their sum + 1]; returns their sum. */
static size_t subset_sums(const unsigned *ranks, size_t n, double *p)
{
    size_t top = 0;
    p[0] = 1;
    for (size_t i = 0; i < n; i++) {
        size_t r = ranks[i];
        memset(p + top + 1, 0, r * sizeof *p);
        for (size_t s = top + 1; s-- > 0;) {
            p[s] *= 0.5;
            p[s + r] += p[s];
        }
        top += r;
    }
    return top;
}

long an_signed_rank_critical(size_t n, double alpha, double *tail)
{
    double m = (double)n;
    if (n > AN_SIGNED_RANK_EXACT) {
        double mean = m * (m + 1) / 4, sd = sqrt(m * (m + 1) * (2 * m + 1) / 24);
        double w = floor(mean - 0.5 + sd * an_normal_quantile(alpha / 2));
        if (w < 0) w = -1;
        *tail = an_normal_cdf(((w < 0 ? 0 : w) + 0.5 - mean) / sd);
        return (long)w;
    }
    double p[SIGNED_STATES];
    unsigned ranks[AN_SIGNED_RANK_EXACT];
    for (size_t i = 0; i < n; i++) ranks[i] = (unsigned)i + 1;
    size_t top = subset_sums(ranks, n, p);
    double sum = 0;
    long w = -1;
    /* Sums of powers of two are exact, so that a level such as 1 - 2/64 is met and not missed by rounding. */
    for (size_t s = 0; s <= top && 2 * (sum + p[s]) <= alpha * (1 + 1e-12); s++) {
        sum += p[s];
        w = (long)s;
    }
    *tail = w < 0 ? p[0] : sum;
    return w;
}

static int compare_magnitudes(const void *a, const void *b)
{
    double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* Twice the mean rank of every value of an order, so that ranks stay whole; equal(i) says that i and i - 1 are tied. */
static void double_ranks(const double *sorted, size_t n, bool magnitudes, unsigned *ranks)
{
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n; j++)
            if (magnitudes ? fabs(sorted[j]) > fabs(sorted[i]) : sorted[j] > sorted[i]) break;
        for (size_t k = i; k < j; k++) ranks[k] = (unsigned)(i + j + 1);
    }
}

double an_signed_rank_p(double *d, size_t n)
{
    unsigned ranks[AN_PAIRS_MAX];
    size_t kept = 0, below = 0, above = 0;
    for (size_t i = 0; i < n && kept < AN_PAIRS_MAX; i++)
        if (d[i] != 0) d[kept++] = d[i];
    if (kept == 0) return 1;
    qsort(d, kept, sizeof *d, compare_magnitudes);
    double_ranks(d, kept, true, ranks);
    for (size_t i = 0; i < kept; i++) *(d[i] < 0 ? &below : &above) += ranks[i];
    size_t w = below < above ? below : above;
    if (kept > AN_SIGNED_RANK_EXACT) {
        double variance = 0;
        for (size_t i = 0; i < kept; i++) variance += 0.25 * ranks[i] * (double)ranks[i];
        double z = ((double)w - 0.5 * (double)(below + above)) / sqrt(variance);
        return 2 * an_normal_cdf(z);
    }
    double p[SIGNED_STATES], sum = 0;
    subset_sums(ranks, kept, p);
    for (size_t s = 0; s <= w; s++) sum += p[s];
    return 2 * sum < 1 ? 2 * sum : 1;
}

/* ---- rank sums */

/*
 * Share of the ways to choose n_a of the n ranks that give each sum: *top + 1 values from an_malloc; NULL when out of
 * memory. ways[k][s] after rank i: choices of k among the first i with sum s.
 */
static double *chosen_sums(const unsigned *ranks, size_t n, size_t n_a, size_t *top)
{
    size_t width = 1;
    for (size_t i = 0; i < n; i++) width += ranks[i];
    double *ways = an_calloc((n_a + 1) * width, sizeof *ways);
    if (!ways) return NULL;
    ways[0] = 1;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1 < n_a ? i + 1 : n_a; k > 0; k--) {
            const double *from = ways + (k - 1) * width;
            double *to = ways + k * width + ranks[i];
            for (size_t s = 0; s + ranks[i] < width; s++) to[s] += from[s];
        }
    double all = 0;
    memmove(ways, ways + n_a * width, width * sizeof *ways);
    for (size_t s = 0; s < width; s++) all += ways[s];
    for (size_t s = 0; s < width; s++) ways[s] /= all;
    *top = width - 1;
    return ways;
}

long an_rank_sum_critical(size_t n_a, size_t n_b, double alpha, double *tail)
{
    size_t n = n_a + n_b, least = n_a * (n_a + 1) / 2;
    double m = (double)n_a * (double)n_b;
    if (n > AN_RANK_SUM_EXACT) {
        double sd = sqrt(m * (double)(n + 1) / 12);
        double u = floor(m / 2 - 0.5 + sd * an_normal_quantile(alpha / 2));
        if (u < 0) u = -1;
        *tail = an_normal_cdf(((u < 0 ? 0 : u) + 0.5 - m / 2) / sd);
        return (long)u;
    }
    unsigned ranks[AN_RANK_SUM_EXACT];
    for (size_t i = 0; i < n; i++) ranks[i] = (unsigned)i + 1;
    size_t top;
    double *p = chosen_sums(ranks, n, n_a, &top), sum = 0;
    long u = -1;
    *tail = NAN;
    if (!p) return -1;
    for (size_t s = least; s <= top && 2 * (sum + p[s]) <= alpha * (1 + 1e-12); s++) {
        sum += p[s];
        u = (long)(s - least);
    }
    *tail = u < 0 ? p[least] : sum;
    an_free(p);
    return u;
}

typedef struct tagged {
    double value;
    bool first;
} tagged;

static int compare_tagged(const void *a, const void *b)
{
    double x = ((const tagged *)a)->value, y = ((const tagged *)b)->value;
    return (x > y) - (x < y);
}

double an_rank_sum_p(const double *a, size_t n_a, const double *b, size_t n_b)
{
    size_t n = n_a + n_b, sum_a = 0;
    tagged *all = an_malloc(n * sizeof *all);
    double *sorted = an_malloc(n * sizeof *sorted), result = NAN;
    unsigned *ranks = an_malloc(n * sizeof *ranks);
    if (!all || !sorted || !ranks) goto cleanup;
    for (size_t i = 0; i < n; i++) all[i] = i < n_a ? (tagged){a[i], true} : (tagged){b[i - n_a], false};
    qsort(all, n, sizeof *all, compare_tagged);
    for (size_t i = 0; i < n; i++) sorted[i] = all[i].value;
    double_ranks(sorted, n, false, ranks);
    for (size_t i = 0; i < n; i++) sum_a += all[i].first ? ranks[i] : 0;
    double mean = (double)n_a * (double)(n + 1), m = (double)n_a * (double)n_b; /* of the doubled ranks */
    if (n <= AN_RANK_SUM_EXACT) {
        size_t top;
        double *p = chosen_sums(ranks, n, n_a, &top), low = 0, high = 0;
        if (!p) goto cleanup;
        for (size_t s = 0; s <= top; s++) {
            if (s <= sum_a) low += p[s];
            if (s >= sum_a) high += p[s];
        }
        an_free(p);
        result = fmin(1, 2 * fmin(low, high));
    } else {
        double ties = 0, big = (double)n;
        for (size_t i = 0, j; i < n; i = j) {
            for (j = i + 1; j < n && sorted[j] == sorted[i];) j++;
            double t = (double)(j - i);
            ties += t * t * t - t;
        }
        double sd = sqrt(m / 12 * (big + 1 - ties / (big * (big - 1))));
        double z = (fabs((double)sum_a - mean) / 2 - 0.5) / sd;
        result = sd > 0 ? fmin(1, 2 * an_normal_cdf(-z)) : 1;
    }
cleanup:
    an_free(all);
    an_free(sorted);
    an_free(ranks);
    return result;
}
