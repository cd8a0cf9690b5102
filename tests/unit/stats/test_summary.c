/* stats: summaries, quantiles, outliers and drift against values worked out by hand. */
#include "support/test.h"

#include "stats/summary.h"

#include <math.h>

static void close_to(double got, double expected, double eps)
{
    if (!(fabs(got - expected) <= eps)) fail_msg("got %.12g, expected %.12g", got, expected);
}

static void summary_by_hand(void **state)
{
    (void)state;
    const double v[] = {5, 1, NAN, 4, 2, 3};
    an_summary s = an_summarize(v, 6, NULL);
    assert_int_equal(s.n, 5);
    close_to(s.median, 3, 0);
    close_to(s.min, 1, 0);
    close_to(s.max, 5, 0);
    close_to(s.mean, 3, 1e-12);
    close_to(s.sd, sqrt(2.5), 1e-12);
    close_to(s.mad, 1, 0);
    close_to(s.level, 1 - pow(2, -4), 1e-12); /* min..max of five: 93.75 % */
    s = an_summarize(v, 0, NULL);
    assert_true(s.n == 0 && isnan(s.median) && isnan(s.lo));
    s = an_summarize(v, 1, NULL);
    assert_true(s.n == 1 && s.median == 5 && isnan(s.sd) && s.level == 0);
}

static void interval_widths_are_the_textbook_ones(void **state)
{
    (void)state;
    double v[20];
    for (int i = 0; i < 20; i++) v[i] = i + 1;
    an_summary s = an_summarize(v, 6, NULL);
    assert_true(s.lo == 1 && s.hi == 6);
    close_to(s.level, 0.96875, 1e-9);
    s = an_summarize(v, 10, NULL); /* ranks 2 and 9: 97.85 % */
    assert_true(s.lo == 2 && s.hi == 9);
    close_to(s.level, 0.978515625, 1e-9);
    s = an_summarize(v, 20, NULL); /* ranks 6 and 15: 95.86 % */
    assert_true(s.lo == 6 && s.hi == 15);
    close_to(s.level, 0.958610534, 1e-8);
}

static void quantiles_need_enough_values(void **state)
{
    (void)state;
    double v[200];
    for (int i = 0; i < 200; i++) v[i] = i + 1;
    assert_true(isnan(an_quantile_of(v, 19, 0.95).value));
    an_quantile q = an_quantile_of(v, 20, 0.95);
    close_to(q.value, 19.05, 1e-12);
    /* The largest of 20 lies above their 95th percentile with 1 - 0.95^20 only, so the interval says what it is worth.
     */
    assert_true(q.hi == 20 && q.level < 0.95);
    assert_true(isnan(an_quantile_of(v, 99, 0.99).value));
    close_to(an_quantile_of(v, 100, 0.99).value, 99.01, 1e-12);
    q = an_quantile_of(v, 200, 0.5);
    close_to(q.value, 100.5, 1e-12);
    assert_true(q.lo > 80 && q.lo < 90 && q.hi > 110 && q.hi < 120 && q.level >= 0.95);
    /* Many values, by exact binomial sums: P(Bin(2380, 0.99) <= 2345) = 0.0180, <= 2346 = 0.0278; <= 2364 is below 0.975. */
    static double many[20000];
    for (int i = 0; i < 20000; i++) many[i] = i;
    q = an_quantile_of(many, 2380, 0.99);
    assert_true(q.lo == 2345 && q.hi == 2365);
    close_to(q.level, 0.978758 - 0.0179903, 1e-6);
    q = an_quantile_of(many, 20000, 0.99);
    assert_true(q.lo > 19700 && q.lo < 19800 && q.hi > 19800 && q.hi < 19900 && q.level >= 0.95);
    assert_true(isnan(an_quantile_of(v, 0, 0.5).value) && isnan(an_quantile_of(v, 1, 0.5).value));
}

static void outliers_are_classed_and_kept(void **state)
{
    (void)state;
    /* Quartiles 10.25 and 10.75: mild beyond 9.5 and 11.5, severe beyond 8.75 and 12.25. */
    double v[] = {10, 10.25, 10.25, 10.5, 10.5, 10.75, 10.75, 11, 9.4, 13, NAN};
    an_outliers o = an_find_outliers(v, 11, NULL);
    assert_true(o.n == 10 && o.low_mild == 1 && o.high_severe == 1 && o.low_severe == 0 && o.high_mild == 0);
    close_to(o.max_z, 0.6745 * 2.375 / 0.25, 0.8);
    assert_true(o.share > 0.2 && o.share <= 1);
    double even[] = {10, 10.1, 9.9, 10.05, 9.95, 10.02};
    o = an_find_outliers(even, 6, NULL);
    assert_true(o.low_mild + o.high_mild + o.low_severe + o.high_severe == 0 && o.share < 0.2);
    o = an_find_outliers(even, 3, NULL);
    assert_true(o.low_mild + o.high_mild == 0 && isnan(o.max_z));
    double same[] = {5, 5, 5, 5, 5};
    o = an_find_outliers(same, 5, NULL);
    assert_true(o.share == 0 && isnan(o.max_z));
}

static void drift_has_a_slope(void **state)
{
    (void)state;
    double x[] = {0, 1, 2, 3, 4, 5, 6, 7}, up[] = {10, 12.1, 13.9, 16, 18, 20.2, 21.9, 24},
           flat[] = {3, 3, 3, 3, 3, 3, 3, 3};
    an_trend t = an_trend_of(x, up, 8);
    close_to(t.slope, 2, 0.01);
    assert_true(t.p < 1e-6);
    t = an_trend_of(x, flat, 8);
    assert_true(t.slope == 0 && t.p == 1);
    assert_true(isnan(an_trend_of(x, up, 2).p) && isnan(an_trend_of(flat, up, 8).slope));
    double line[] = {1, 2, 3, 4};
    assert_true(an_trend_of(x, line, 4).p == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summary_by_hand),
        cmocka_unit_test(interval_widths_are_the_textbook_ones),
        cmocka_unit_test(quantiles_need_enough_values),
        cmocka_unit_test(outliers_are_classed_and_kept),
        cmocka_unit_test(drift_has_a_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
