/* bench: the A/A gate on made-up runs. */
#include "support/test.h"

#include "bench/bench_internal.h"

#include <math.h>

static an_cell *add(an_run *run, const char *label, double tps, double spread)
{
    anemo_error err;
    an_cell *cell = an_run_add_cell(run);
    assert_non_null(cell);
    snprintf(cell->label, sizeof cell->label, "%s", label);
    for (int b = 0; b < 9; b++) {
        an_rep rep;
        an_rep_init(&rep);
        rep.block = b;
        rep.values[AN_FIELD_ID_decode_tps] = tps * (1 + spread * ((b * 5) % 9 - 4) / 4);
        assert_ok(an_cell_add_rep(cell, &rep, &err), &err);
    }
    return &run->cells[run->n_cell - 1];
}

static void without_a_copy_nothing_is_said(void **state)
{
    (void)state;
    anemo_error err;
    an_run run;
    an_run_init(&run);
    assert_ok(an_bench_gate(&run, &err), &err);
    add(&run, "a", 100, 0);
    add(&run, "b", 150, 0);
    assert_ok(an_bench_gate(&run, &err), &err);
    assert_null(run.refused);
    assert_true(isnan(run.aa_noise));
    an_run_free(&run);
}

static void equal_copies_pass(void **state)
{
    (void)state;
    anemo_error err;
    an_run run;
    an_run_init(&run);
    add(&run, "a #1", 100, 0.02);
    add(&run, "a #2", 100.2, -0.02)->copy_of = 0;
    assert_ok(an_bench_gate(&run, &err), &err);
    assert_null(run.refused);
    assert_true(run.aa_noise > 0.002 && run.aa_noise < 0.05); /* at least the ratio itself, at most the extremes */
    an_run_free(&run);
}

static void different_copies_refuse(void **state)
{
    (void)state;
    anemo_error err;
    an_run run;
    an_run_init(&run);
    add(&run, "a", 100, 0.002);
    add(&run, "b", 150, 0.002);
    add(&run, "a (again)", 108, 0.002)->copy_of = 0;
    assert_ok(an_bench_gate(&run, &err), &err);
    assert_non_null(run.refused);
    assert_non_null(strstr(run.refused, "decode_tps of a (again) is 1.080 times"));
    assert_non_null(strstr(run.refused, "9 pairs"));
    assert_true(run.aa_noise >= log(1.08) - 1e-6);
    an_run_free(&run);
}

static void a_copy_that_failed_says_nothing(void **state)
{
    (void)state;
    anemo_error err;
    an_run run;
    an_run_init(&run);
    add(&run, "a", 100, 0);
    an_run_add_cell(&run)->copy_of = 0;
    assert_ok(an_bench_gate(&run, &err), &err);
    assert_null(run.refused);
    an_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_copy_nothing_is_said),
        cmocka_unit_test(equal_copies_pass),
        cmocka_unit_test(different_copies_refuse),
        cmocka_unit_test(a_copy_that_failed_says_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
