/* Paired comparison by the order statistics of the log-ratios. */
#include "stats/compare.h"

#include "stats/summary.h"

#include <math.h>

an_compare_options an_compare_defaults(void)
{
    return (an_compare_options){.level = 0.95, .margin = 0.01, .n_bootstrap = 0, .seed = 1, .n_comparisons = 1};
}

an_paired an_compare_paired(const double *a, const double *b, const double *cov_a, const double *cov_b, size_t n,
                            const an_compare_options *o)
{
    double logs[AN_PAIRS_MAX];
    an_compare_options defaults = an_compare_defaults();
    an_paired p = {.ratio = NAN, .lo = NAN, .hi = NAN, .level = NAN, .boot_lo = NAN, .boot_hi = NAN, .p = NAN,
                   .p_adjusted = NAN, .mde = NAN};
    (void)cov_a;
    (void)cov_b;
    if (!o) o = &defaults;
    for (size_t i = 0; i < n && p.n < AN_PAIRS_MAX; i++)
        if (isfinite(a[i]) && isfinite(b[i]) && a[i] > 0 && b[i] > 0) logs[p.n++] = log(a[i] / b[i]);
    if (p.n == 0) return p;
    p.ratio = exp(an_median_inplace(logs, p.n));
    an_median_interval(logs, p.n, o->level, &p.lo, &p.hi, &p.level);
    p.lo = exp(p.lo);
    p.hi = exp(p.hi);
    if (p.n < 2) return p;
    p.verdict = AN_VERDICT_UNDECIDED;
    if (p.lo > 1 - o->margin && p.hi < 1 + o->margin) p.verdict = AN_VERDICT_EQUIVALENT;
    if (p.hi < 1 - o->margin) p.verdict = AN_VERDICT_LOWER;
    if (p.lo > 1 + o->margin) p.verdict = AN_VERDICT_HIGHER;
    return p;
}

const char *an_verdict_name(an_verdict v)
{
    static const char *const names[] = {"unknown", "lower", "higher", "equivalent", "undecided"};
    return names[v];
}
