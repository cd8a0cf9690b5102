/* The sampler against the definitions: probabilities counted over many draws, cuts, penalty, ties, seeds. */
#include "support/test.h"

#include "engine/sampler.h"

#include <math.h>

enum { N = 8, DRAWS = 40000 };

static an_sampler sampler;
static anemo_error err;

/* Logarithms of 0.4 0.3 0.1 0.08 0.05 0.04 0.02 0.01, out of order. */
static const double P[N] = {0.05, 0.4, 0.01, 0.3, 0.1, 0.02, 0.08, 0.04};
static float logits[N];

static void open_sampler(void)
{
    for (int i = 0; i < N; i++) logits[i] = (float)log(P[i]) + 3;
    assert_ok(an_sampler_open(&sampler, N, &err), &err);
}

/* Share of each id over many draws. */
static void count(an_sampling s, double share[N])
{
    int hits[N] = {0};
    an_sampler_set(&sampler, &s);
    for (int i = 0; i < DRAWS; i++) {
        int32_t id = an_sampler_draw(&sampler, logits);
        assert_in_range(id, 0, N - 1);
        hits[id]++;
    }
    for (int i = 0; i < N; i++) share[i] = (double)hits[i] / DRAWS;
}

/* Five standard deviations of a share near 0.5 over 40000 draws are 0.0125. */
static void expect(const double share[N], const double want[N])
{
    double sum = 0;
    for (int i = 0; i < N; i++) sum += want[i];
    for (int i = 0; i < N; i++)
        if (want[i] == 0 ? share[i] != 0 : fabs(share[i] - want[i] / sum) > 0.0125)
            fail_msg("id %d drawn with %.4f, expected %.4f", i, share[i], want[i] / sum);
}

static void test_greedy(void **state)
{
    (void)state;
    open_sampler();
    an_sampling s = an_sampling_greedy();
    an_sampler_set(&sampler, &s);
    assert_int_equal(an_sampler_draw(&sampler, logits), 1);
    logits[6] = logits[1];
    assert_int_equal(an_sampler_draw(&sampler, logits), 1); /* ties: the smallest id */
    logits[0] = logits[1];
    assert_int_equal(an_sampler_draw(&sampler, logits), 0);
    logits[0] = NAN;
    assert_int_equal(an_sampler_draw(&sampler, logits), 1);
    an_sampler_close(&sampler);
}

static void test_temperature(void **state)
{
    (void)state;
    double share[N], want[N];
    open_sampler();
    an_sampling s = an_sampling_greedy();
    s.temperature = 1;
    s.seed = 5;
    count(s, share);
    expect(share, P);
    s.temperature = 2;
    count(s, share);
    for (int i = 0; i < N; i++) want[i] = sqrt(P[i]);
    expect(share, want);
    an_sampler_close(&sampler);
}

static void test_cuts(void **state)
{
    (void)state;
    double share[N];
    open_sampler();
    an_sampling s = an_sampling_greedy();
    s.temperature = 1;
    s.top_k = 3;
    count(s, share);
    expect(share, (double[N]){0, 0.4, 0, 0.3, 0.1, 0, 0, 0});
    s.top_k = 0;
    s.top_p = 0.69; /* 0.4 + 0.3 reach it */
    count(s, share);
    expect(share, (double[N]){0, 0.4, 0, 0.3, 0, 0, 0, 0});
    s.top_p = 0.71; /* 0.1 is needed as well */
    count(s, share);
    expect(share, (double[N]){0, 0.4, 0, 0.3, 0.1, 0, 0, 0});
    s.top_k = 3; /* of the three, 0.4 / 0.8 = 0.5 is not enough, 0.7 / 0.8 is */
    s.top_p = 0.6;
    count(s, share);
    expect(share, (double[N]){0, 0.4, 0, 0.3, 0, 0, 0, 0});
    s.top_k = 0;
    s.top_p = 1;
    s.min_p = 0.19; /* at least 0.076 */
    count(s, share);
    expect(share, (double[N]){0, 0.4, 0, 0.3, 0.1, 0, 0.08, 0});
    s.min_p = 0;
    s.top_p = 0; /* never empty */
    count(s, share);
    expect(share, (double[N]){0, 1, 0, 0, 0, 0, 0, 0});
    s.top_p = 1;
    s.top_k = 1;
    count(s, share);
    expect(share, (double[N]){0, 1, 0, 0, 0, 0, 0, 0});
    an_sampler_close(&sampler);
}

static void test_penalty(void **state)
{
    (void)state;
    open_sampler();
    an_sampling s = an_sampling_greedy();
    s.repeat_penalty = 2;
    s.repeat_last_n = 2;
    an_sampler_set(&sampler, &s);
    const float positive[N] = {0.1f, 4, 0.1f, 3, 2.5f, 0.1f, 0.1f, 0.1f};
    assert_int_equal(an_sampler_draw(&sampler, positive), 1); /* 4 */
    assert_int_equal(an_sampler_draw(&sampler, positive), 3); /* 4 became 2 */
    assert_int_equal(an_sampler_draw(&sampler, positive), 4); /* 3 became 1.5 */
    assert_int_equal(an_sampler_draw(&sampler, positive), 1); /* only the last two count */
    const float negative[N] = {-9, -1, -9, -1.5f, -9, -9, -9, -9};
    an_sampler_set(&sampler, &s);
    assert_int_equal(an_sampler_draw(&sampler, negative), 1);
    assert_int_equal(an_sampler_draw(&sampler, negative), 3); /* -1 became -2 */
    an_sampler_close(&sampler);
}

static void test_seed(void **state)
{
    (void)state;
    int32_t first[64];
    int differ = 0;
    open_sampler();
    an_sampling s = an_sampling_greedy();
    s.temperature = 1;
    s.top_p = 0.95;
    s.seed = 42;
    an_sampler_set(&sampler, &s);
    for (int i = 0; i < 64; i++) first[i] = an_sampler_draw(&sampler, logits);
    an_sampler_set(&sampler, &s);
    for (int i = 0; i < 64; i++) assert_int_equal(an_sampler_draw(&sampler, logits), first[i]);
    s.seed = 43;
    an_sampler_set(&sampler, &s);
    for (int i = 0; i < 64; i++) differ += an_sampler_draw(&sampler, logits) != first[i];
    assert_true(differ > 0);
    an_sampler_close(&sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),  cmocka_unit_test(test_temperature), cmocka_unit_test(test_cuts),
        cmocka_unit_test(test_penalty), cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
