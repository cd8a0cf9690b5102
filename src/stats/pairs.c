/* Walsh averages and differences by rank, and the bootstrap of their median. */
#include "stats/pairs.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "stats/compare.h"
#include "stats/distributions.h"
#include "stats/summary.h"

#include <math.h>
#include <stdlib.h>

size_t an_pairs_total(const an_pairs *s)
{
    return s->b ? s->n_a * s->n_b : s->n_a * (s->n_a + 1) / 2;
}

/* Averages of a sorted sample whose double is at most `twice`. */
static size_t count_averages(const double *r, size_t n, double twice)
{
    size_t count = 0, j = n;
    for (size_t i = 0; i < j; i++) {
        while (j > i && r[i] + r[j - 1] > twice) j--;
        count += j - i;
    }
    return count;
}

/*
 * How many pairs are at most t. With weights a pair is at most t when (a_i - t v_i) + (a_j - t v_j) <= 0. The order of
 * those terms changes little from one t to the next, so insertion into the last order sorts them in about n steps.
 */
static size_t count_at_most(const an_pairs *s, double t)
{
    size_t count = 0;
    if (s->b) {
        for (size_t i = 0, j = s->n_b; i < s->n_a; i++) { /* the larger a_i, the fewer of the last b_j */
            while (j > 0 && s->a[i] - s->b[s->n_b - j] > t) j--;
            count += j;
        }
        return count;
    }
    if (!s->v) return count_averages(s->a, s->n_a, 2 * t);
    for (size_t i = 0; i < s->n_a; i++) {
        size_t which = s->order[i], k = i;
        double r = s->a[which] - t * s->v[which];
        for (; k > 0 && s->work[k - 1] > r; k--) {
            s->work[k] = s->work[k - 1];
            s->order[k] = s->order[k - 1];
        }
        s->work[k] = r;
        s->order[k] = which;
    }
    return count_averages(s->work, s->n_a, 0);
}

/* The smallest and the largest of all pairs. */
static void range_of(const an_pairs *s, double *lo, double *hi)
{
    if (!s->v) {
        *lo = s->a[0] - (s->b ? s->b[s->n_b - 1] : 0);
        *hi = s->a[s->n_a - 1] - (s->b ? s->b[0] : 0);
        return;
    }
    *lo = INFINITY;
    *hi = -INFINITY;
    for (size_t i = 0; i < s->n_a; i++) {
        *lo = fmin(*lo, s->a[i] / s->v[i]);
        *hi = fmax(*hi, s->a[i] / s->v[i]);
    }
}

double an_pairs_kth(const an_pairs *s, size_t k, double eps)
{
    double lo, hi;
    range_of(s, &lo, &hi);
    if (eps <= 0) eps = 1e-15 * fmax(fabs(lo), fabs(hi));
    if (k <= 1 || count_at_most(s, lo) >= k) return lo;
    while (hi - lo > eps) {
        double mid = lo + 0.5 * (hi - lo);
        if (mid <= lo || mid >= hi) break;
        if (count_at_most(s, mid) >= k)
            hi = mid;
        else
            lo = mid;
    }
    return hi;
}

double an_pairs_centre(const an_pairs *s, double eps)
{
    size_t total = an_pairs_total(s);
    double upper = an_pairs_kth(s, total / 2 + 1, eps);
    return total % 2 ? upper : 0.5 * (an_pairs_kth(s, total / 2, eps) + upper);
}

/* A resample of a sorted sample, sorted: how often each value was drawn says where it stands. */
static void resample(an_rng *rng, const double *from, size_t n, unsigned short *drawn, double *to)
{
    for (size_t i = 0; i < n; i++) drawn[i] = 0;
    for (size_t i = 0; i < n; i++) drawn[an_rng_below(rng, n)]++;
    for (size_t i = 0, k = 0; i < n; i++)
        for (unsigned c = drawn[i]; c > 0; c--) to[k++] = from[i];
}

/* Sums of squares and cubes of a jackknife over one sample: the centre without each of its values. */
static void jackknife(const an_pairs *s, bool second, double eps, double *work, double *squares, double *cubes)
{
    const double *from = second ? s->b : s->a;
    size_t n = second ? s->n_b : s->n_a;
    double centres[AN_PAIRS_MAX], mean = 0, m = (double)n;
    an_pairs less = *s;
    *(second ? &less.b : &less.a) = work;
    *(second ? &less.n_b : &less.n_a) = n - 1;
    for (size_t i = 1; i < n; i++) work[i - 1] = from[i];
    for (size_t i = 0; i < n; i++) {
        if (i > 0) work[i - 1] = from[i - 1];
        centres[i] = an_pairs_centre(&less, eps);
        mean += centres[i] / m;
    }
    for (size_t i = 0; i < n; i++) {
        double u = (m - 1) * (mean - centres[i]);
        *squares += u * u / (m * m);
        *cubes += u * u * u / (m * m * m);
    }
}

void an_pairs_bootstrap(const an_pairs *s, int n_bootstrap, uint64_t seed, double level, double *lo, double *hi)
{
    double a[AN_PAIRS_MAX], b[AN_PAIRS_MAX], from, to;
    unsigned short drawn[AN_PAIRS_MAX];
    *lo = *hi = NAN;
    if (n_bootstrap < 1 || s->n_a < 2 || (s->b && s->n_b < 2)) return;
    size_t n = (size_t)n_bootstrap;
    double *centres = an_malloc(n * sizeof *centres);
    if (!centres) return;
    range_of(s, &from, &to);
    double eps = 1e-9 * (to - from), centre = an_pairs_centre(s, eps), below = 0;
    an_pairs draw = *s;
    draw.a = a;
    if (s->b) draw.b = b;
    an_rng rng;
    an_rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++) {
        resample(&rng, s->a, s->n_a, drawn, a);
        if (s->b) resample(&rng, s->b, s->n_b, drawn, b);
        centres[i] = an_pairs_centre(&draw, eps);
        /* Resamples that give the estimate itself, to within what the selection leaves open, count half. */
        if (fabs(centres[i] - centre) <= 4 * eps)
            below += 0.5;
        else if (centres[i] < centre)
            below += 1;
    }
    double squares = 0, cubes = 0;
    jackknife(s, false, eps, a, &squares, &cubes);
    if (s->b) jackknife(s, true, eps, b, &squares, &cubes);
    double bias = an_normal_quantile(below / (double)n);
    double bend = squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0;
    an_median_inplace(centres, n); /* sorts them */
    for (int side = 0; side < 2; side++) {
        double z = bias + an_normal_quantile(side ? 0.5 + level / 2 : 0.5 - level / 2);
        double q = isfinite(z) && bend * z < 1 ? an_normal_cdf(bias + z / (1 - bend * z)) : side;
        *(side ? hi : lo) = an_interpolate(centres, n, q);
    }
    an_free(centres);
}
