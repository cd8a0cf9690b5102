/* stats: comparisons, their correction, looks and warm-up by hand; rates over many data sets are in tests/truth. */
#include "support/test.h"

#include "base/rng.h"
#include "stats/compare.h"
#include "stats/sequential.h"

#include <math.h>
#include <string.h>

static void close_to(double got, double expected, double eps)
{
    if (!(fabs(got - expected) <= eps)) fail_msg("got %.12g, expected %.12g", got, expected);
}

static void six_pairs_can_call(void **state)
{
    (void)state;
    const double slow[] = {10, 11, 10.5, 10.2, 10.8, 10.4}, fast[] = {5, 5.2, 5.1, 5.05, 5.3, 5.15};
    an_paired p = an_compare_paired(fast, slow, NULL, NULL, 6, NULL);
    assert_int_equal(p.verdict, AN_VERDICT_LOWER);
    close_to(p.level, 1 - 2.0 / 64, 1e-12);
    close_to(p.p, 2.0 / 64, 1e-12);
    close_to(p.lo, 5.2 / 11, 1e-12); /* smallest and largest quotient */
    close_to(p.hi, 5 / 10.0, 1e-12);
    assert_true(p.n_needed == 0 && p.mde > 0.01 && isnan(p.boot_lo) && !p.covariate);
    assert_int_equal(an_compare_paired(slow, fast, NULL, NULL, 6, NULL).verdict, AN_VERDICT_HIGHER);
    /* Five cannot, however clear they are: min..max of five holds with 93.75 %. */
    p = an_compare_paired(fast, slow, NULL, NULL, 5, NULL);
    assert_int_equal(p.verdict, AN_VERDICT_UNDECIDED);
    close_to(p.level, 1 - 2.0 / 32, 1e-12);
    assert_int_equal(p.n_needed, 6);
    assert_int_equal(an_compare_paired(fast, slow, NULL, NULL, 1, NULL).verdict, AN_VERDICT_UNKNOWN);
    const double bad[] = {NAN, 0, -1, INFINITY, 3};
    assert_int_equal(an_compare_paired(fast, bad, NULL, NULL, 4, NULL).n, 0);
    assert_int_equal(an_compare_paired(fast, bad, NULL, NULL, 5, NULL).n, 1);
}

static void equal_and_unclear_are_told_apart(void **state)
{
    (void)state;
    const double a[] = {10, 10.01, 10.02, 9.99, 10, 10.01, 9.98, 10}, b[] = {10.01, 10, 10, 10, 10.02, 10, 10, 9.99};
    const double c[] = {10.4, 9.7, 10.6, 9.5, 10.2, 9.9, 10.5, 9.6};
    an_paired p = an_compare_paired(a, b, NULL, NULL, 8, NULL);
    assert_true(p.verdict == AN_VERDICT_EQUIVALENT && p.n_needed == 0);
    p = an_compare_paired(a, c, NULL, NULL, 8, NULL);
    assert_true(p.verdict == AN_VERDICT_UNDECIDED && p.n_needed > 8 && p.mde > 0.03);
    p = an_compare_paired(a, a, NULL, NULL, 8, NULL);
    assert_true(p.verdict == AN_VERDICT_EQUIVALENT && p.p == 1 && p.ratio == 1 && p.lo == 1 && p.hi == 1);
}

static void two_days_are_compared(void **state)
{
    (void)state;
    const double a[] = {10, 10.2, 10.1, 10.3}, b[] = {5, 5.1, 5.2, 5.15};
    an_paired p = an_compare_unpaired(a, 3, b, 3, NULL);
    assert_int_equal(p.verdict, AN_VERDICT_UNDECIDED);
    close_to(p.level, 0.9, 1e-12);
    close_to(p.p, 0.1, 1e-12);
    p = an_compare_unpaired(a, 4, b, 4, NULL);
    assert_int_equal(p.verdict, AN_VERDICT_HIGHER);
    close_to(p.p, 2.0 / 70, 1e-12);
    close_to(p.lo, 10 / 5.2, 1e-12);
    close_to(p.hi, 10.3 / 5, 1e-12);
    assert_int_equal(an_compare_unpaired(a, 4, b, 1, NULL).verdict, AN_VERDICT_UNKNOWN);
    assert_int_equal(an_compare_unpaired(a, 4, b, 0, NULL).n, 0);
}

static void holm_takes_verdicts_back(void **state)
{
    (void)state;
    const double p[] = {0.01, 0.04, NAN, 0.03};
    double adjusted[4];
    an_holm(p, 4, adjusted);
    close_to(adjusted[0], 0.03, 1e-12);
    close_to(adjusted[1], 0.06, 1e-12);
    assert_true(isnan(adjusted[2]));
    close_to(adjusted[3], 0.06, 1e-12);
    /* Six pairs that all agree have p = 1/32: enough alone, too little as one of two. */
    const double slow[] = {10, 11, 10.5, 10.2, 10.8, 10.4}, fast[] = {5, 5.2, 5.1, 5.05, 5.3, 5.15};
    an_paired pairs[2];
    pairs[0] = pairs[1] = an_compare_paired(fast, slow, NULL, NULL, 6, NULL);
    an_compare_correct(pairs, 1);
    assert_int_equal(pairs[0].verdict, AN_VERDICT_LOWER);
    an_compare_correct(pairs, 2);
    assert_int_equal(pairs[0].verdict, AN_VERDICT_UNDECIDED);
    close_to(pairs[0].p_adjusted, 2.0 / 32, 1e-12);
    assert_true(pairs[0].n_needed > 6 && pairs[0].n_needed < 20);
}

/* What the bandwidth explains narrows the interval; what it does not explain leaves it alone. */
static void bandwidth_is_used_where_it_helps(void **state)
{
    (void)state;
    enum { N = 20 };
    double a[N], b[N], cov_a[N], cov_b[N], other[N];
    an_rng rng;
    an_rng_seed(&rng, 5);
    for (int i = 0; i < N; i++) {
        cov_a[i] = 1 + an_rng_f64(&rng);
        cov_b[i] = 1 + an_rng_f64(&rng);
        other[i] = 1 + an_rng_f64(&rng);
        a[i] = 1.05 * cov_a[i] * (1 + 0.01 * an_rng_f64(&rng));
        b[i] = cov_b[i] * (1 + 0.01 * an_rng_f64(&rng));
    }
    an_paired with = an_compare_paired(a, b, cov_a, cov_b, N, NULL),
              without = an_compare_paired(a, b, NULL, NULL, N, NULL);
    assert_true(with.covariate && with.verdict == AN_VERDICT_HIGHER && without.verdict == AN_VERDICT_UNDECIDED);
    close_to(with.slope, 1, 0.02);
    assert_true(with.lo < 1.05 && with.hi > 1.05 && with.hi - with.lo < 0.1 * (without.hi - without.lo));
    an_paired useless = an_compare_paired(a, b, other, cov_b + 0, 0, NULL);
    assert_int_equal(useless.n, 0);
    useless = an_compare_paired(a, cov_a, other, other, N, NULL);
    assert_true(!useless.covariate && isnan(useless.slope));
    cov_a[3] = NAN;
    assert_false(an_compare_paired(a, b, cov_a, cov_b, N, NULL).covariate);
}

static void looks_are_where_they_are_said_to_be(void **state)
{
    (void)state;
    assert_true(an_look_due(6, 30) && an_look_due(9, 30) && an_look_due(30, 30) && an_look_due(10, 10));
    assert_false(an_look_due(5, 30) || an_look_due(10, 30) || an_look_due(29, 30));
    const int expected[][2] = {{1, 1},  {6, 1},  {8, 1},  {9, 2},  {13, 2}, {14, 3},
                               {20, 4}, {29, 4}, {30, 5}, {31, 6}, {500, 6}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(an_look_count(expected[i][0]), expected[i][1]);
    close_to(an_look_level(0, 0.95), 0.95, 0);
    for (int k = 1; k <= 6; k++) assert_true(an_look_level(k, 0.95) > 0.95 && an_look_level(k, 0.95) < 1);
    close_to(an_look_level(1, 0.95), 1 - 1.0 / 32, 1e-12);
    close_to(an_look_level(9, 0.95), an_look_level(6, 0.95), 0);
}

static void every_order_comes_up(void **state)
{
    (void)state;
    an_rng rng;
    an_rng_seed(&rng, 3);
    int count[6] = {0};
    for (int i = 0; i < 6000; i++) {
        size_t order[3];
        an_block_order(&rng, 3, order);
        assert_int_equal(order[0] + order[1] + order[2], 3);
        assert_true(order[0] != order[1] && order[1] != order[2] && order[0] != order[2]);
        count[2 * order[0] + (order[1] > order[2])]++;
    }
    for (int i = 0; i < 6; i++) assert_true(count[i] > 850 && count[i] < 1150);
}

static void plans_stop_when_they_know_enough(void **state)
{
    (void)state;
    enum { N = 40 };
    double quiet[N], twice[N], noisy[N], failed[N];
    an_rng rng;
    an_rng_seed(&rng, 9);
    for (int i = 0; i < N; i++) {
        quiet[i] = 10 + 0.01 * an_rng_f64(&rng);
        twice[i] = 20 + 0.5 * an_rng_f64(&rng);
        noisy[i] = 10 + 5 * an_rng_f64(&rng);
        failed[i] = i < 4 ? 10 : NAN;
    }
    an_stop_rule rule = {.precision = 0.01, .margin = 0.01, .level = 0.95, .max_blocks = 30};
    const double *alike[] = {quiet, quiet}, *far[] = {quiet, twice}, *unclear[] = {quiet, noisy, twice};
    const double *one_failed[] = {quiet, failed, twice}, *first_failed[] = {failed, quiet, noisy},
                 *alone[] = {failed, noisy};
    assert_int_equal(an_sequential_look(alike, NULL, 2, 5, &rule), AN_STOP_GO_ON); /* no look is due */
    assert_int_equal(an_sequential_look(alike, NULL, 2, 6, &rule), AN_STOP_PRECISE);
    assert_int_equal(an_sequential_look(alike, NULL, 2, 7, &rule), AN_STOP_GO_ON);
    assert_int_equal(an_sequential_look(far, NULL, 2, 6, &rule), AN_STOP_PRECISE); /* 2.5 % of a factor of two */
    assert_int_equal(an_sequential_look(unclear, NULL, 3, 6, &rule), AN_STOP_GO_ON);
    assert_int_equal(an_sequential_look(unclear, NULL, 3, 30, &rule), AN_STOP_BLOCKS);
    assert_int_equal(an_sequential_look(one_failed, NULL, 3, 6, &rule), AN_STOP_PRECISE);
    assert_int_equal(an_sequential_look(first_failed, NULL, 3, 6, &rule), AN_STOP_GO_ON);
    assert_int_equal(an_sequential_look(alone, NULL, 2, 6, &rule), AN_STOP_GO_ON); /* its own median is not known yet */
    assert_int_equal(an_sequential_look(alone + 0, NULL, 1, 6, &rule), AN_STOP_PRECISE); /* nothing is left */
    assert_int_equal(an_sequential_look(alike, NULL, 1, 6, &rule), AN_STOP_PRECISE);
    rule.max_blocks = 10;
    assert_int_equal(an_sequential_look(unclear, NULL, 3, 10, &rule), AN_STOP_BLOCKS);
    rule.precision = 0;
    assert_int_equal(an_sequential_look(unclear, NULL, 2, 9, &rule), AN_STOP_GO_ON);
}

static void warm_up_ends_when_it_is_steady(void **state)
{
    (void)state;
    const double warming[] = {5, 7, 9, 10, 10.1, 9.9, 10, 10.05, 9.95, 10}, flat[] = {3, 3, 3, 3, 3, 3};
    assert_int_equal(an_steady_from(warming, 10), 3);
    assert_int_equal(an_steady_from(flat, 6), 0);
    assert_int_equal(an_steady_from(warming, 3), 0);
    for (size_t n = 4; n <= 10; n++) assert_true(an_steady_from(warming, n) <= n / 2);
}

/* Any bit pattern may come out of a file; the largest and the smallest positive numbers have logarithms too. */
static void odd_numbers_do_no_harm(void **state)
{
    (void)state;
    enum { N = AN_PAIRS_MAX };
    static double a[N], b[N], cov[N];
    an_rng rng;
    an_rng_seed(&rng, 11);
    an_compare_options o = an_compare_defaults();
    for (int round = 0; round < 300; round++) {
        size_t n = round < 290 ? an_rng_below(&rng, 40) : N;
        for (size_t i = 0; i < n; i++) {
            /* Two rounds of three without a sign, one of four with equal values. */
            uint64_t bits[3] = {an_rng_u64(&rng), an_rng_u64(&rng), an_rng_u64(&rng)};
            for (int k = 0; k < 3; k++) bits[k] >>= round % 3 > 0;
            memcpy(&a[i], &bits[0], 8);
            memcpy(&b[i], &bits[1], 8);
            memcpy(&cov[i], &bits[2], 8);
            if (round % 4 == 0) a[i] = b[i] = cov[i] = 1;
        }
        o.n_bootstrap = round < 290 ? 50 : 0;
        an_paired p[2] = {an_compare_paired(a, b, cov, b, n, &o), an_compare_unpaired(a, n, b, n / 2, &o)};
        for (int i = 0; i < 2; i++) {
            if (p[i].n == 0) continue;
            assert_true(p[i].lo <= p[i].ratio && p[i].ratio <= p[i].hi && p[i].p >= 0 && p[i].p <= 1);
            assert_true(p[i].level >= 0 && p[i].level < 1 && p[i].n_needed <= AN_PAIRS_NEEDED_MAX);
        }
        an_compare_correct(p, 2);
        assert_true(an_steady_from(a, n) <= n / 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(six_pairs_can_call),
        cmocka_unit_test(equal_and_unclear_are_told_apart),
        cmocka_unit_test(two_days_are_compared),
        cmocka_unit_test(holm_takes_verdicts_back),
        cmocka_unit_test(bandwidth_is_used_where_it_helps),
        cmocka_unit_test(looks_are_where_they_are_said_to_be),
        cmocka_unit_test(every_order_comes_up),
        cmocka_unit_test(plans_stop_when_they_know_enough),
        cmocka_unit_test(warm_up_ends_when_it_is_steady),
        cmocka_unit_test(odd_numbers_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
