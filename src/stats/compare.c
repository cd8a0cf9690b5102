/* Paired and unpaired comparison of two arms by the ratio of their values. */
#include "stats/compare.h"

#include "stats/distributions.h"
#include "stats/pairs.h"
#include "stats/summary.h"

#include <math.h>
#include <stdlib.h>

an_compare_options an_compare_defaults(void)
{
    return (an_compare_options){.level = 0.95, .margin = 0.01, .seed = 1};
}

const char *an_verdict_name(an_verdict v)
{
    static const char *const names[] = {"unknown", "lower", "higher", "equivalent", "undecided"};
    return names[v];
}

static bool positive(double x)
{
    return isfinite(x) && x > 0;
}

static an_paired nothing_known(void)
{
    an_paired p = {.verdict = AN_VERDICT_UNKNOWN};
    p.ratio = p.lo = p.hi = p.level = p.boot_lo = p.boot_hi = p.p = p.p_adjusted = p.mde = p.slope = NAN;
    return p;
}

/* An estimate on the logarithmic scale with its interval. */
typedef struct estimate {
    double centre, lo, hi, level;
} estimate;

/* rank: how many pairs lie outside the interval on either side; -1 where even none gives the level (all of them). */
static estimate estimate_from(const an_pairs *s, long rank, double tail)
{
    size_t below = rank > 0 ? (size_t)rank : 0, total = an_pairs_total(s);
    return (estimate){an_pairs_centre(s, 0), an_pairs_kth(s, below + 1, 0), an_pairs_kth(s, total - below, 0),
                      1 - 2 * tail};
}

/*
 * The covariate's slope is fitted through the origin under each hypothesis "the difference is t" anew: swapping the
 * order of a block's two measurements would change the sign of d - t and of c together and so leave that slope alone,
 * and the residuals (d - t) - slope(t) c just change their signs. The signed-rank test of the residuals is therefore as
 * exact as without a covariate, whatever the drift does. With S_dc = sum d c and so on, the residuals are linear in t:
 *     u - t v,   u = d - c S_dc / S_cc,   v = 1 - c S_c / S_cc,
 * and as long as every v is positive the interval is made of the pairs (u_i + u_j) / (v_i + v_j).
 *
 * All that holds if samples do not depend on which arm they belong to, and they might: an engine may leave the machine
 * hot, or its threads spinning. Samples that differ between the arms (signed-rank test) are not used. Of a difference
 * too small to be seen *shift is what it would do to the ratio; the caller's interval takes it in.
 */
static bool fit_covariate(const double *d, const double *c, size_t n, double *u, double *v, double *slope,
                          double *shift)
{
    enum { LEAST_PAIRS = 14 };
    static const double arms_differ = 0.05;
    double sd = 0, sc = 0, dd = 0, cc = 0, dc = 0, m = (double)n;
    if (n < LEAST_PAIRS) return false;
    for (size_t i = 0; i < n; i++) {
        sd += d[i];
        sc += c[i];
        dd += d[i] * d[i];
        cc += c[i] * c[i];
        dc += d[i] * c[i];
    }
    double var_d = dd - sd * sd / m, var_c = cc - sc * sc / m, cov = dc - sd * sc / m;
    if (!(var_d > 0) || !(var_c > 0)) return false;
    /* Less than a quarter of the variance narrows the interval by less than a seventh: not worth a choice. */
    if (cov * cov < 0.25 * var_d * var_c) return false;
    for (size_t i = 0; i < n; i++) u[i] = c[i];
    if (an_signed_rank_p(u, n) <= arms_differ) return false;
    for (size_t i = 0; i < n; i++) {
        u[i] = d[i] - c[i] * dc / cc;
        v[i] = 1 - c[i] * sc / cc;
        if (v[i] < 0.2) return false;
    }
    *slope = cov / var_c;
    *shift = *slope * sc / m;
    return true;
}

static void set_verdict(an_paired *p, const an_compare_options *o)
{
    double lower = 1 - o->margin, upper = 1 + o->margin;
    p->verdict = AN_VERDICT_UNDECIDED;
    if (p->level < o->level - 1e-9) return;
    if (p->lo > lower && p->hi < upper) p->verdict = AN_VERDICT_EQUIVALENT;
    if (p->hi < lower) p->verdict = AN_VERDICT_LOWER;
    if (p->lo > upper) p->verdict = AN_VERDICT_HIGHER;
}

/* What more pairs would tell: the half-width falls with the root of their number. */
static void set_outlook(an_paired *p, const estimate *e, size_t least, const an_compare_options *o)
{
    double half = 0.5 * (e->hi - e->lo), n = (double)p->n;
    if (p->n >= 6) {
        /* The standard error that such an interval stands for. */
        double error = half / an_normal_quantile(0.5 + p->level / 2);
        p->mde = expm1(log1p(o->margin) + half + error * an_normal_quantile(0.8));
    }
    if (p->verdict != AN_VERDICT_UNDECIDED) return;
    double room = fmin(fabs(e->centre - log1p(o->margin)), fabs(e->centre - log1p(-o->margin)));
    double needed = room > 0 ? ceil(n * (half / room) * (half / room)) : INFINITY;
    if (needed < (double)least) needed = (double)least;
    p->n_needed = needed < AN_PAIRS_NEEDED_MAX ? (size_t)needed : AN_PAIRS_NEEDED_MAX;
}

/* The smallest n whose widest interval has the level that was asked for. */
static size_t least_pairs(double level)
{
    size_t n = 2;
    while (n < 60 && 1 - pow(2, 1 - (double)n) < level - 1e-9) n++;
    return n;
}

static void finish(an_paired *p, const estimate *e, size_t least, const an_compare_options *o)
{
    p->ratio = exp(e->centre);
    p->lo = exp(e->lo);
    p->hi = exp(e->hi);
    p->level = e->level;
    p->p_adjusted = p->p;
    set_verdict(p, o);
    set_outlook(p, e, least, o);
}

an_paired an_compare_paired(const double *a, const double *b, const double *cov_a, const double *cov_b, size_t n,
                            const an_compare_options *o)
{
    double d[AN_PAIRS_MAX], c[AN_PAIRS_MAX], u[AN_PAIRS_MAX], v[AN_PAIRS_MAX], sorted[AN_PAIRS_MAX];
    an_compare_options defaults = an_compare_defaults();
    an_paired p = nothing_known();
    bool covariate = cov_a && cov_b;
    if (!o) o = &defaults;
    for (size_t i = 0; i < n && p.n < AN_PAIRS_MAX; i++) {
        if (!positive(a[i]) || !positive(b[i]) || !positive(a[i] / b[i])) continue;
        if (covariate && (!positive(cov_a[i]) || !positive(cov_b[i]) || !positive(cov_a[i] / cov_b[i])))
            covariate = false;
        if (covariate) c[p.n] = log(cov_a[i] / cov_b[i]);
        d[p.n++] = log(a[i] / b[i]);
    }
    if (p.n == 0) return p;
    for (size_t i = 0; i < p.n; i++) sorted[i] = d[i];
    an_median_inplace(sorted, p.n);
    double tail;
    long rank = an_signed_rank_critical(p.n, 1 - o->level, &tail);
    an_pairs s = {.a = sorted, .n_a = p.n};
    estimate e = estimate_from(&s, rank, tail);
    double shift;
    if (covariate && fit_covariate(d, c, p.n, u, v, &p.slope, &shift)) {
        double work[AN_PAIRS_MAX];
        size_t order[AN_PAIRS_MAX];
        for (size_t i = 0; i < p.n; i++) order[i] = i;
        an_pairs fitted = {.a = u, .v = v, .n_a = p.n, .order = order, .work = work};
        estimate with = estimate_from(&fitted, rank, tail);
        with.lo += fmin(0, shift);
        with.hi += fmax(0, shift);
        p.covariate = with.hi - with.lo < e.hi - e.lo;
        if (p.covariate) {
            e = with;
            for (size_t i = 0; i < p.n; i++) sorted[i] = d[i] - p.slope * c[i];
            an_median_inplace(sorted, p.n);
        }
    }
    if (!p.covariate) p.slope = NAN;
    if (o->n_bootstrap > 0) {
        an_pairs_bootstrap(&s, o->n_bootstrap, o->seed, o->level, &p.boot_lo, &p.boot_hi);
        p.boot_lo = exp(p.boot_lo);
        p.boot_hi = exp(p.boot_hi);
    }
    p.p = an_signed_rank_p(p.covariate ? u : d, p.n);
    if (p.n < 2) {
        p.ratio = p.lo = p.hi = exp(e.centre);
        p.level = 0;
        p.p_adjusted = p.p;
        return p;
    }
    finish(&p, &e, least_pairs(o->level), o);
    return p;
}

an_paired an_compare_unpaired(const double *a, size_t n_a, const double *b, size_t n_b, const an_compare_options *o)
{
    double x[AN_PAIRS_MAX], y[AN_PAIRS_MAX];
    an_compare_options defaults = an_compare_defaults();
    an_paired p = nothing_known();
    size_t n_x = 0, n_y = 0;
    if (!o) o = &defaults;
    for (size_t i = 0; i < n_a && n_x < AN_PAIRS_MAX; i++)
        if (positive(a[i])) x[n_x++] = log(a[i]);
    for (size_t i = 0; i < n_b && n_y < AN_PAIRS_MAX; i++)
        if (positive(b[i])) y[n_y++] = log(b[i]);
    p.n = n_x < n_y ? n_x : n_y;
    if (p.n == 0) return p;
    an_median_inplace(x, n_x);
    an_median_inplace(y, n_y);
    an_pairs s = {.a = x, .b = y, .n_a = n_x, .n_b = n_y};
    double tail;
    long rank = an_rank_sum_critical(n_x, n_y, 1 - o->level, &tail);
    estimate e = estimate_from(&s, rank, tail);
    p.p = an_rank_sum_p(x, n_x, y, n_y);
    if (o->n_bootstrap > 0) {
        an_pairs_bootstrap(&s, o->n_bootstrap, o->seed, o->level, &p.boot_lo, &p.boot_hi);
        p.boot_lo = exp(p.boot_lo);
        p.boot_hi = exp(p.boot_hi);
    }
    finish(&p, &e, 4, o);
    if (p.n < 2) p.verdict = AN_VERDICT_UNKNOWN;
    return p;
}

typedef struct ranked {
    double p;
    size_t at;
} ranked;

static int compare_ranked(const void *a, const void *b)
{
    double x = ((const ranked *)a)->p, y = ((const ranked *)b)->p;
    return (x > y) - (x < y);
}

void an_holm(const double *p, size_t n, double *adjusted)
{
    ranked order[AN_PAIRS_MAX];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        adjusted[i] = p[i];
        if (!isnan(p[i]) && m < AN_PAIRS_MAX) order[m++] = (ranked){p[i], i};
    }
    qsort(order, m, sizeof *order, compare_ranked);
    double so_far = 0;
    for (size_t k = 0; k < m; k++) {
        so_far = fmax(so_far, fmin(1, (double)(m - k) * order[k].p));
        adjusted[order[k].at] = so_far;
    }
}

void an_compare_correct(an_paired *pairs, size_t n)
{
    double p[AN_PAIRS_MAX], adjusted[AN_PAIRS_MAX];
    if (n > AN_PAIRS_MAX) n = AN_PAIRS_MAX;
    if (n == 0) return;
    for (size_t i = 0; i < n; i++) p[i] = pairs[i].p;
    an_holm(p, n, adjusted);
    for (size_t i = 0; i < n; i++) {
        an_paired *q = &pairs[i];
        q->p_adjusted = adjusted[i];
        if ((q->verdict != AN_VERDICT_LOWER && q->verdict != AN_VERDICT_HIGHER) || q->p_adjusted <= 1 - q->level + 1e-9)
            continue;
        q->verdict = AN_VERDICT_UNDECIDED;
        /* The test's normal deviate grows with the root of the pairs. */
        double wanted = an_normal_quantile((1 - q->level) * q->p / q->p_adjusted / 2);
        double now = an_normal_quantile(q->p / 2);
        double needed = ceil((double)q->n * (wanted / now) * (wanted / now));
        q->n_needed = (size_t)fmin(AN_PAIRS_NEEDED_MAX, fmax((double)q->n + 1, needed));
    }
}
