/* bench: the signs of trouble in generated ids and texts. */
#include "support/test.h"

#include "bench/comparison.h"

#include <math.h>

static an_text_check check_one(an_rep *rep)
{
    return an_check_text(&(an_cell){.reps = rep, .n_rep = 1});
}

static an_rep make_rep(int32_t *ids, size_t n, char *text)
{
    an_rep rep;
    an_rep_init(&rep);
    rep.token_ids = ids;
    rep.n_token = n;
    rep.text = text;
    rep.text_bytes = text ? strlen(text) : 0;
    return rep;
}

static void loops_are_found(void **state)
{
    (void)state;
    int32_t loop[30], fine[30];
    for (int i = 0; i < 30; i++) {
        loop[i] = i < 10 ? 100 + i : i % 3;
        fine[i] = i * i % 97;
    }
    an_rep rep = make_rep(loop, 30, (char *)"ok");
    an_text_check check = check_one(&rep);
    assert_int_equal(check.loop_period, 3);
    assert_true(check.repeated_4grams > 0.4 && check.repeated_4grams < 0.6); /* 14 of 27 */
    rep = make_rep(fine, 30, (char *)"ok");
    check = check_one(&rep);
    assert_int_equal(check.loop_period, 0);
    assert_true(check.repeated_4grams == 0);
    rep = make_rep(fine, 5, (char *)"ok");
    assert_true(isnan(check_one(&rep).repeated_4grams));
}

static void bad_bytes_are_counted(void **state)
{
    (void)state;
    int32_t ids[3] = {1, 2, 3};
    an_rep rep = make_rep(ids, 3, (char *)"a\xFF\x80z\xE2\x82");
    assert_int_equal(check_one(&rep).invalid_utf8, 2); /* the cut sequence at the end may still grow */
    rep = make_rep(ids, 3, (char *)"\xE2\x82\xAC");
    assert_int_equal(check_one(&rep).invalid_utf8, 0);
}

static void changing_ids_are_seen(void **state)
{
    (void)state;
    int32_t a[3] = {1, 2, 3}, b[3] = {1, 2, 4};
    an_rep reps[2] = {make_rep(a, 3, (char *)"x"), make_rep(b, 3, (char *)"x")};
    assert_false(an_check_text(&(an_cell){.reps = reps, .n_rep = 2}).same_every_rep);
    reps[1] = make_rep(a, 2, (char *)"x");
    assert_false(an_check_text(&(an_cell){.reps = reps, .n_rep = 2}).same_every_rep);
    reps[1] = make_rep(a, 3, (char *)"x");
    assert_true(an_check_text(&(an_cell){.reps = reps, .n_rep = 2}).same_every_rep);
    assert_int_equal(an_common_prefix(a, 3, b, 3), 2);
    assert_int_equal(an_common_prefix(a, 0, b, 3), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loops_are_found),
        cmocka_unit_test(bad_bytes_are_counted),
        cmocka_unit_test(changing_ids_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
