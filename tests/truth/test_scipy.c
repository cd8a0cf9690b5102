/*
 * stats against SciPy: the 1,000 data sets of scipy_cases.txt, which scipy_cases.py writes. Numbers are compared to
 * 1e-9 of their size, bootstrap intervals to what chance may make of them.
 */
#include "support/test.h"

#include "stats/compare.h"
#include "stats/distributions.h"
#include "stats/summary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DATA_MAX = 400, LINE_MAX_BYTES = 1 << 14 };

/* One line that is being read; line number for messages. */
typedef struct data_set {
    char *at;
    int line;
} data_set;

static double next(data_set *d)
{
    char *end;
    double x = strtod(d->at, &end);
    if (end == d->at) fail_msg("line %d: a number is missing", d->line);
    d->at = end;
    return x;
}

static size_t next_values(data_set *d, size_t n, double scale, double *out)
{
    if (n > DATA_MAX) fail_msg("line %d: %zu values", d->line, n);
    for (size_t i = 0; i < n; i++) out[i] = next(d) * scale;
    return n;
}

static void expect(data_set *d, const char *what, double got)
{
    double expected = next(d);
    if (isnan(got) && isnan(expected)) return;
    if (!(fabs(got - expected) <= 1e-9 * fmax(1e-3, fabs(expected))))
        fail_msg("line %d: %s is %.12g, SciPy has %.12g", d->line, what, got, expected);
}

static void exponentials(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = exp(x[i]);
}

static void expect_interval(data_set *d, const an_paired *p)
{
    expect(d, "the estimate", log(p->ratio));
    expect(d, "the lower end", log(p->lo));
    expect(d, "the upper end", log(p->hi));
    expect(d, "the level", p->level);
}

static void paired(data_set *d)
{
    double x[DATA_MAX], ones[DATA_MAX];
    size_t n = (size_t)next(d);
    next_values(d, n, 1e-3, x);
    for (size_t i = 0; i < n; i++) ones[i] = 1;
    an_compare_options o = an_compare_defaults();
    o.level = next(d);
    double signs[DATA_MAX];
    /* Ranks need exact ties, which logarithms of quotients would blur. */
    for (size_t i = 0; i < n; i++) signs[i] = round(1e3 * x[i]);
    exponentials(x, n);
    an_paired p = an_compare_paired(x, ones, NULL, NULL, n, &o);
    expect_interval(d, &p);
    expect(d, "p", an_signed_rank_p(signs, n));
}

static void unpaired(data_set *d)
{
    double x[DATA_MAX], y[DATA_MAX], whole_x[DATA_MAX], whole_y[DATA_MAX];
    size_t n_x = (size_t)next(d), n_y = (size_t)next(d);
    next_values(d, n_x, 1e-3, x);
    next_values(d, n_y, 1e-3, y);
    an_compare_options o = an_compare_defaults();
    o.level = next(d);
    for (size_t i = 0; i < n_x; i++) whole_x[i] = round(1e3 * x[i]);
    for (size_t i = 0; i < n_y; i++) whole_y[i] = round(1e3 * y[i]);
    exponentials(x, n_x);
    exponentials(y, n_y);
    an_paired p = an_compare_unpaired(x, n_x, y, n_y, &o);
    expect_interval(d, &p);
    expect(d, "p", an_rank_sum_p(whole_x, n_x, whole_y, n_y));
}

static void sample(data_set *d)
{
    double x[DATA_MAX], order[DATA_MAX], work[DATA_MAX];
    static const double quantiles[] = {0.5, 0.9, 0.95, 0.99};
    size_t n = (size_t)next(d);
    next_values(d, n, 1e-3, x);
    an_summary s = an_summarize(x, n, work);
    expect(d, "the median", s.median);
    expect(d, "the mean", s.mean);
    expect(d, "the standard deviation", s.sd);
    expect(d, "the median deviation", s.mad);
    expect(d, "the median's lower end", s.lo);
    expect(d, "the median's upper end", s.hi);
    expect(d, "the median's level", s.level);
    for (size_t i = 0; i < n; i++) {
        work[i] = x[i];
        order[i] = (double)i;
    }
    an_median_inplace(work, n); /* sorts */
    for (int i = 0; i < 4; i++) {
        an_quantile q = an_quantile_of(work, n, quantiles[i]);
        expect(d, "a quantile", q.value);
        expect(d, "a quantile's lower end", q.lo);
        expect(d, "a quantile's upper end", q.hi);
        expect(d, "a quantile's level", q.level);
    }
    double whole[DATA_MAX]; /* a value on a fence stays on it */
    for (size_t i = 0; i < n; i++) whole[i] = round(1e3 * x[i]);
    an_outliers o = an_find_outliers(whole, n, work);
    expect(d, "severe low outliers", (double)o.low_severe);
    expect(d, "mild low outliers", (double)o.low_mild);
    expect(d, "mild high outliers", (double)o.high_mild);
    expect(d, "severe high outliers", (double)o.high_severe);
    expect(d, "the largest modified z", o.max_z);
    an_trend t = an_trend_of(order, x, n);
    expect(d, "the slope", t.slope);
    expect(d, "the slope's p", t.p);
}

static void holm(data_set *d)
{
    double p[DATA_MAX], adjusted[DATA_MAX];
    size_t n = (size_t)next(d);
    next_values(d, n, 1e-3, p);
    an_holm(p, n, adjusted);
    for (size_t i = 0; i < n; i++) expect(d, "an adjusted p", adjusted[i]);
}

static void bootstrap(data_set *d, bool two)
{
    double x[DATA_MAX], y[DATA_MAX];
    size_t n_x = (size_t)next(d), n_y = two ? (size_t)next(d) : n_x;
    next_values(d, n_x, 1e-3, x);
    if (two) next_values(d, n_y, 1e-3, y);
    for (size_t i = 0; i < n_y && !two; i++) y[i] = 0;
    exponentials(x, n_x);
    exponentials(y, n_y);
    an_compare_options o = an_compare_defaults();
    o.n_bootstrap = 5000;
    an_paired p = two ? an_compare_unpaired(x, n_x, y, n_y, &o) : an_compare_paired(x, y, NULL, NULL, n_x, &o);
    double expected[4];
    next_values(d, 4, 1, expected);
    double got[2] = {log(p.boot_lo), log(p.boot_hi)};
    for (int i = 0; i < 2; i++)
        if (!(fabs(got[i] - expected[2 * i]) <= expected[2 * i + 1] + 1e-9))
            fail_msg("line %d: bootstrap end %d is %.6f, SciPy has %.6f ± %.6f", d->line, i, got[i], expected[2 * i],
                     expected[2 * i + 1]);
}

static void scipy_agrees(void **state)
{
    (void)state;
    char *text = malloc(LINE_MAX_BYTES), kind[32];
    FILE *f = fopen(AN_TEST_DIR "/truth/scipy_cases.txt", "r");
    int n = 0, skip;
    assert_non_null(text);
    assert_non_null(f);
    for (data_set d = {NULL, 1}; fgets(text, LINE_MAX_BYTES, f); d.line++) {
        if (text[0] == '#') continue;
        assert_int_equal(sscanf(text, "%31s%n", kind, &skip), 1);
        d.at = text + skip;
        if (strcmp(kind, "paired") == 0)
            paired(&d);
        else if (strcmp(kind, "unpaired") == 0)
            unpaired(&d);
        else if (strcmp(kind, "sample") == 0)
            sample(&d);
        else if (strcmp(kind, "holm") == 0)
            holm(&d);
        else if (strncmp(kind, "bootstrap", 9) == 0)
            bootstrap(&d, kind[9] == '2');
        else
            fail_msg("line %d: '%s'", d.line, kind);
        assert_int_equal(strspn(d.at, " \n"), strlen(d.at)); /* every figure was compared */
        n++;
    }
    fclose(f);
    free(text);
    assert_int_equal(n, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(scipy_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
