/* stats: summaries and paired verdicts against values worked out by hand and by simulation. */
#include "support/test.h"

#include "base/rng.h"
#include "stats/compare.h"
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

static an_paired paired(const double *a, const double *b, size_t n, double margin)
{
    an_compare_options o = an_compare_defaults();
    o.margin = margin;
    return an_compare_paired(a, b, NULL, NULL, n, &o);
}

static void verdicts(void **state)
{
    (void)state;
    const double slow[] = {10, 11, 10.5}, fast[] = {5, 5.2, 5.1}, noisy[] = {9, 12, 10.4};
    an_paired p = paired(fast, slow, 3, 0.01);
    assert_int_equal(p.verdict, AN_VERDICT_LOWER);
    close_to(p.ratio, 5.1 / 10.5, 1e-12);
    assert_int_equal(paired(slow, fast, 3, 0.01).verdict, AN_VERDICT_HIGHER);
    assert_int_equal(paired(slow, noisy, 3, 0.01).verdict, AN_VERDICT_UNDECIDED);
    assert_int_equal(paired(slow, fast, 1, 0.01).verdict, AN_VERDICT_UNKNOWN);
    const double bad[] = {NAN, 0, -1};
    assert_int_equal(paired(slow, bad, 3, 0.01).n, 0);
}

/* A/A: with ten pairs of the same distribution a difference may be claimed in about 2 % of the cases. */
static void equal_arms_rarely_differ(void **state)
{
    (void)state;
    an_rng rng;
    an_rng_seed(&rng, 1);
    int claims = 0, rounds = 2000;
    for (int r = 0; r < rounds; r++) {
        double a[10], b[10];
        for (int i = 0; i < 10; i++) {
            a[i] = 1 + 0.1 * an_rng_f64(&rng);
            b[i] = 1 + 0.1 * an_rng_f64(&rng);
        }
        an_verdict v = paired(a, b, 10, 0).verdict;
        claims += v == AN_VERDICT_LOWER || v == AN_VERDICT_HIGHER;
    }
    assert_true(claims > 0 && claims < rounds * 5 / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(summary_by_hand),
        cmocka_unit_test(interval_widths_are_the_textbook_ones),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(equal_arms_rarely_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
