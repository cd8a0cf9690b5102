/*
 * The parts of speculative decoding by themselves: the index of runs against a search through the sequence, how many ids are
 * drafted, and acceptance on made-up distributions.
 */
#include "support/test.h"

#include "base/rng.h"
#include "engine/accept.h"
#include "engine/ngram.h"
#include "engine/pace.h"

#include <math.h>

static anemo_error err;

/* What an_ngram_find() promises, by trying every position. */
static int find_slowly(const int32_t *ids, int n, int *end)
{
    for (int len = AN_NGRAM_MAX; len >= AN_NGRAM_MIN; len--)
        for (int at = n - 2; at - len + 1 >= 0; at--) {
            if (memcmp(ids + at - len + 1, ids + n - len, (size_t)len * sizeof *ids) != 0) continue;
            while (len < AN_NGRAM_SEEN && at - len >= 0 && ids[at - len] == ids[n - 1 - len]) len++;
            *end = at;
            return len;
        }
    return 0;
}

static void compare_finds(const an_ngram *g, const int32_t *ids, int n)
{
    int end = -1, expected_end = -1, expected = find_slowly(ids, n, &expected_end);
    assert_int_equal(an_ngram_find(g, &end), expected);
    if (expected > 0) assert_int_equal(end, expected_end);
}

/* Sequences over few and over many words, with passages that come back; ids taken back now and then. */
static void test_index(void **state)
{
    (void)state;
    enum { CAP = 600 };
    an_ngram g;
    an_rng rng;
    int32_t ids[CAP];
    assert_ok(an_ngram_open(&g, CAP, &err), &err);
    an_rng_seed(&rng, 11);
    for (int words = 1; words <= 200000; words = words * 3 + 1) {
        an_ngram_reset(&g);
        for (int n = 0; n < CAP;) {
            int32_t id = (int32_t)an_rng_below(&rng, (uint64_t)words);
            int copy = n > 20 && an_rng_below(&rng, 4) == 0 ? (int)an_rng_below(&rng, 12) : 0;
            int from = copy ? (int)an_rng_below(&rng, (uint64_t)(n - copy)) : 0;
            for (int i = 0; i < (copy ? copy : 1) && n < CAP; i++) {
                ids[n] = copy ? ids[from + i] : id;
                an_ngram_append(&g, &ids[n++], 1);
                compare_finds(&g, ids, n);
            }
            if (n > 0 && n < CAP && an_rng_below(&rng, 8) == 0) {
                an_ngram_drop_last(&g);
                n--;
            }
        }
    }
    an_ngram_close(&g);
}

/* Two words far apart can share a slot's place in the table; a table that is half full must still end every search. */
static void test_index_all_different(void **state)
{
    (void)state;
    enum { N = 4096 };
    an_ngram g;
    int end;
    assert_ok(an_ngram_open(&g, N, &err), &err);
    for (int32_t i = 0; i < N; i++) {
        int32_t id = i * 16;
        an_ngram_append(&g, &id, 1);
        assert_int_equal(an_ngram_find(&g, &end), 0);
    }
    an_ngram_reset(&g);
    assert_int_equal(an_ngram_find(&g, &end), 0);
    an_ngram_close(&g);
}

static void test_follow(void **state)
{
    (void)state;
    an_ngram g;
    int end;
    int32_t out[8];
    const int32_t ids[] = {9, 1, 2, 3, 4, 7, 1, 2, 3};
    assert_ok(an_ngram_open(&g, 9, &err), &err);
    an_ngram_append(&g, ids, 9);
    assert_int_equal(an_ngram_find(&g, &end), 3);
    assert_int_equal(end, 3);
    an_ngram_follow(&g, end, 8, out);
    /* 4 7 1 2 3, then the end of the sequence: what follows 1 2 3 is known. */
    const int32_t expected[] = {4, 7, 1, 2, 3, 4, 7, 1};
    assert_memory_equal(out, expected, sizeof expected);
    an_ngram_close(&g);
}

/* Right drafts become longer, wrong ones stop, and are tried again now and then: never more often than promised. */
static void test_pace(void **state)
{
    (void)state;
    const an_pass_cost look_up = an_pass_cost_begin(0), dear = an_pass_cost_begin(1);
    an_pace p = an_pace_begin(0.5, 0.15);
    int first = an_pace_choose(&p, &look_up, 15, 0);
    assert_in_range(first, 1, 14);
    for (int i = 0; i < 20; i++) an_pace_learn(&p, 15, 15);
    assert_int_equal(an_pace_choose(&p, &look_up, 15, 0), 15);
    assert_int_equal(an_pace_choose(&p, &look_up, 4, 0), 3); /* a fourth would be a pass of 5, as long as one of 8 */
    assert_int_equal(an_pace_choose(&p, &look_up, 0, 0), 0);
    for (int i = 0; i < 60; i++) an_pace_learn(&p, 1, 0);
    int tried = 0;
    for (int i = 0; i < 20 * AN_PACE_PROBE; i++) {
        int n = an_pace_choose(&p, &look_up, 15, 0);
        assert_in_range(n, 0, 1);
        tried += n;
        if (n > 0) an_pace_learn(&p, n, 0);
    }
    assert_in_range(tried, 19, 20);
    /* What costs as much as a step is never drafted, but for that. */
    p = an_pace_begin(0.9, 0.15);
    assert_int_equal(an_pace_choose(&p, &dear, 15, 0), 0);
    /* From hopeless back to long drafts. */
    p = an_pace_begin(0, 0.15);
    for (int i = 0; i < 400; i++) {
        int n = an_pace_choose(&p, &look_up, 15, 0);
        if (n > 0) an_pace_learn(&p, n, n);
    }
    assert_int_equal(an_pace_choose(&p, &look_up, 15, 0), 15);
}

/* A hopeless draft model that has everything to read before it drafts: what trying it costs stays below the promised share. */
static void test_pace_probes(void **state)
{
    (void)state;
    enum { CHANCES = 20000 };
    for (double draft = 0.02; draft < 1; draft *= 1.5) {
        const an_pass_cost cost = an_pass_cost_begin(draft);
        an_pace p = an_pace_begin(0, 0.08);
        double spent = 0;
        int tried = 0;
        for (int i = 0, behind = 0; i < CHANCES; i++, behind++) {
            if (an_pace_choose(&p, &cost, 15, behind) == 0) continue;
            tried++;
            spent += an_pass_cost_of(&cost, 1) + cost.draft * (1 + 0.1 * behind);
            behind = 0;
        }
        if (spent > 0.026 * CHANCES) fail_msg("a draft of %.2f steps is tried %d times for %.0f steps", draft, tried, spent);
        if (draft < 0.2) assert_true(tried >= CHANCES / 150);
    }
}

/* Passes of a made-up machine in steps: tiles of 1, 2, 4, 8 tokens, the whole of which takes `tile` times as long for each doubling. */
static double pass_of(int n_drafted, double tile)
{
    double steps = 1;
    for (int n = 1; n < n_drafted + 1; n *= 2) steps *= tile;
    return steps;
}

/* The clock: passes of known length, some of them held up, and the costs that they stand for. */
static void test_costs(void **state)
{
    (void)state;
    an_rng rng;
    an_rng_seed(&rng, 9);
    for (double tile = 1.02; tile < 1.8; tile *= 1.1) {
        an_pass_cost c = an_pass_cost_begin(0.3), begun = c;
        an_pass_cost_verify(&c, 5, 1e9); /* before any step was timed nothing is learnt */
        an_pass_cost_draft(&c, 5, 1e9);
        assert_true(c.draft == 0.3 && an_pass_cost_of(&c, 5) == an_pass_cost_of(&begun, 5));
        for (int i = 0; i < 400; i++) {
            bool held_up = an_rng_below(&rng, 25) == 0;
            double noise = held_up ? 30 : 1 + 0.05 * (an_rng_f64(&rng) - 0.5);
            int n = 1 + (int)an_rng_below(&rng, 15);
            an_pass_cost_step(&c, 4e6 * noise);
            an_pass_cost_verify(&c, n, 4e6 * pass_of(n, tile) * noise);
            an_pass_cost_draft(&c, 2, 2 * 4e5 * noise);
        }
        if (fabs(c.step_ns / 4e6 - 1) > 0.35) fail_msg("a step of 4 ms became %.2f", c.step_ns * 1e-6);
        for (int n = 1; n <= 15; n++)
            if (fabs(1 + an_pass_cost_of(&c, n) - pass_of(n, tile)) > 0.35 * pass_of(n, tile))
                fail_msg("%d drafted ids, %.2f steps, became %.2f", n, pass_of(n, tile), 1 + an_pass_cost_of(&c, n));
        if (fabs(c.draft / 0.1 - 1) > 0.5) fail_msg("a draft of 0.1 steps became %.3f", c.draft);
    }
}

/* The number that is drafted is the best one for the machine, whatever the guesses said: expectation, costs, what is chosen. */
static void test_pace_fits_the_machine(void **state)
{
    (void)state;
    static const struct {
        double tile, rate;
        int expected;
    } machines[] = {{1.05, 0.95, 15}, {1.35, 0.7, 3}, {1.35, 0.45, 1}, {1.6, 0.5, 0}, {1.9, 0.8, 0}};
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        an_pass_cost c = an_pass_cost_begin(0);
        an_pace p = an_pace_begin(machines[i].rate, 0);
        int hits = 0;
        for (int k = 0; k < 400; k++) {
            int n = an_pace_choose(&p, &c, 15, 0);
            if (k >= 100) hits += n == machines[i].expected;
            if (n == 0) an_pass_cost_step(&c, 3e6);
            else an_pass_cost_verify(&c, n, 3e6 * pass_of(n, machines[i].tile));
            if (k % 4 == 0) an_pass_cost_step(&c, 3e6);
        }
        if (hits < 270) fail_msg("machine %zu: %d ids are drafted in %d of 300 chances", i, machines[i].expected, hits);
    }
}

enum { N = 6, DRAWS = 200000 };

/* Share of each id when drafts are drawn from q and become p; *accepted is the share of drafts that were kept. */
static void become(const double *p, const double *q, uint64_t seed, double share[N], double *accepted)
{
    int hits[N] = {0}, kept = 0;
    an_rng rng;
    an_rng_seed(&rng, seed);
    for (int i = 0; i < DRAWS; i++) {
        int32_t drafted = an_accept_draw(q, N, &rng), id = -1;
        bool same = an_accept(p, q, N, drafted, &rng, &id);
        assert_in_range(id, 0, N - 1);
        if (same) assert_int_equal(id, drafted);
        kept += same;
        hits[id]++;
    }
    for (int i = 0; i < N; i++) share[i] = (double)hits[i] / DRAWS;
    *accepted = (double)kept / DRAWS;
}

/* Shares are those of p, the accepted share is the sum of min(p, q); five standard deviations of 200000 draws are 0.0056. */
static void test_accept(void **state)
{
    (void)state;
    static const double pairs[][2][N] = {
        {{0.4, 0.3, 0.1, 0.1, 0.05, 0.05}, {0.05, 0.1, 0.4, 0.3, 0.1, 0.05}},
        {{0.5, 0, 0.5, 0, 0, 0}, {0, 0.5, 0.5, 0, 0, 0}},
        {{1, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 1}},                /* nothing in common */
        {{0.25, 0.25, 0.25, 0.25, 0, 0}, {0, 0, 1, 0, 0, 0}},    /* a draft without doubt: kept with its p */
        {{0, 0, 1, 0, 0, 0}, {0.2, 0.2, 0.2, 0.2, 0.1, 0.1}},    /* an answer without doubt */
        {{0.1, 0.2, 0.3, 0.2, 0.1, 0.1}, {0.1, 0.2, 0.3, 0.2, 0.1, 0.1}}, /* the same: everything is kept */
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        const double *p = pairs[i][0], *q = pairs[i][1];
        double share[N], accepted, common = 0;
        become(p, q, 5 + i, share, &accepted);
        for (int k = 0; k < N; k++) {
            common += fmin(p[k], q[k]);
            if (p[k] == 0 ? share[k] != 0 : fabs(share[k] - p[k]) > 0.0056)
                fail_msg("pair %zu: id %d comes with %.4f, expected %.4f", i, k, share[k], p[k]);
        }
        assert_true(fabs(accepted - common) <= 0.0056);
    }
}

/* p and q that differ by rounding: a refused draft finds no positive part, or a tiny one, and still becomes an id of p. */
static void test_accept_rounding(void **state)
{
    (void)state;
    an_rng rng;
    int32_t id;
    const double p[N] = {0.5, 0, 0.5 - 1e-16, 0, 0, 0}, q[N] = {0.5, 0, 0.5, 0, 0, 0}, never[N] = {0, 0.5, 0.5, 0, 0, 0};
    an_rng_seed(&rng, 3);
    for (int i = 0; i < 1000; i++) {
        an_accept(p, q, N, 2, &rng, &id);
        assert_true(p[id] > 0);
        assert_false(an_accept(q, never, N, 1, &rng, &id)); /* p is 0 there */
        assert_int_equal(id, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),  cmocka_unit_test(test_index_all_different), cmocka_unit_test(test_follow),
        cmocka_unit_test(test_pace),   cmocka_unit_test(test_pace_probes),         cmocka_unit_test(test_costs),
        cmocka_unit_test(test_pace_fits_the_machine),
        cmocka_unit_test(test_accept), cmocka_unit_test(test_accept_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
