/* record: who is compared with whom, what is corrected, and when nothing may be claimed. */
#include "support/test.h"

#include "base/json.h"
#include "record/verdicts.h"

#include <math.h>

/* A cell whose decode speed is `tps` in n blocks, with a spread of some per mille, and whose time to first token is 1 / tps. */
static an_cell *add(an_run *run, const char *label, double tps, int n)
{
    anemo_error err;
    an_cell *cell = an_run_add_cell(run);
    assert_non_null(cell);
    snprintf(cell->label, sizeof cell->label, "%s", label);
    for (int b = 0; b < n; b++) {
        an_rep rep;
        an_rep_init(&rep);
        double wobble = 1 + 0.001 * ((b * 7 + (int)run->n_cell * 3) % 5);
        rep.block = b;
        rep.values[AN_FIELD_ID_decode_tps] = tps * wobble;
        rep.values[AN_FIELD_ID_ttft_s] = 1 / (tps * wobble);
        assert_ok(an_cell_add_rep(cell, &rep, &err), &err);
    }
    return &run->cells[run->n_cell - 1];
}

static void faster_means_better(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    add(&run, "slow", 100, 8);
    add(&run, "fast", 110, 8);
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 1);
    assert_int_equal(v[0].cell, 1);
    assert_int_equal(v[0].against, 0);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_HIGHER);
    assert_true(fabs(v[0].pair.ratio - 1.1) < 0.005);
    assert_string_equal(an_run_verdict_word(&v[0]), "faster");
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_ttft_s, v, 4), 1);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_LOWER);
    assert_string_equal(an_run_verdict_word(&v[0]), "faster");
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_energy_j, v, 4), 0);
    an_run_free(&run);
}

static void the_reference_was_measured(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    assert_int_equal(an_run_reference(&run), -1);
    add(&run, "failed", 100, 8)->status = AN_CELL_FAILED;
    add(&run, "empty", 100, 0);
    add(&run, "first", 100, 8)->status = AN_CELL_PENDING;
    add(&run, "second", 100, 8);
    add(&run, "first (again)", 120, 8)->copy_of = 2;
    assert_int_equal(an_run_reference(&run), 2);
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 1); /* the copy is no rival */
    assert_int_equal(v[0].cell, 3);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_EQUIVALENT);
    run.aa = true;
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 2);
    assert_int_equal(v[1].pair.verdict, AN_VERDICT_HIGHER);
    an_run_free(&run);
}

/* Six blocks give p = 1/32: enough for one comparison, not for two. */
static void several_are_corrected(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    add(&run, "a", 100, 6);
    add(&run, "b", 130, 6);
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 1);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_HIGHER);
    add(&run, "c", 160, 6);
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 2);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_UNDECIDED);
    assert_int_equal(v[1].pair.verdict, AN_VERDICT_UNDECIDED);
    assert_true(fabs(v[0].pair.p_adjusted - 2.0 / 32) < 1e-9);
    an_run_free(&run);
}

static void works_are_not_mixed(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    add(&run, "short", 100, 8);
    add(&run, "long", 50, 8)->work.n_prompt = 512;
    add(&run, "short too", 110, 8);
    add(&run, "long too", 60, 8)->work.n_prompt = 512;
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 2);
    assert_true(v[0].cell == 2 && v[0].against == 0 && v[1].cell == 3 && v[1].against == 1);
    assert_int_equal(v[1].pair.verdict, AN_VERDICT_HIGHER);
    assert_true(v[1].pair.p_adjusted == v[1].pair.p); /* one verdict in each work */
    an_run_free(&run);
}

static void one_after_the_other_proves_nothing(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    add(&run, "a", 100, 8);
    an_cell *b = add(&run, "b", 130, 8);
    for (size_t i = 0; i < b->n_rep; i++) b->reps[i].order = 8 + (int64_t)i;
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 1);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_UNDECIDED);
    an_run_free(&run);
}

static void a_failed_gate_refuses(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    char why[] = "the copies differ";
    an_run_init(&run);
    add(&run, "a", 100, 8);
    add(&run, "b", 130, 8);
    run.refused = why;
    assert_int_equal(an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4), 1);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_UNDECIDED);
    run.aa = true; /* there the false claim is the evidence */
    an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_HIGHER);
    json_t *list = an_run_verdicts_json(&run);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "better")), "faster");
    json_decref(list);
    run.refused = NULL;
    an_run_free(&run);
}

static void noise_raises_the_margin(void **state)
{
    (void)state;
    an_run run;
    an_run_verdict v[4];
    an_run_init(&run);
    add(&run, "a", 100, 8);
    add(&run, "b", 103, 8);
    an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_HIGHER);
    run.aa_noise = 0.05;
    an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_EQUIVALENT);
    run.aa = true; /* its own noise excuses nothing */
    an_run_verdicts(&run, AN_FIELD_ID_decode_tps, v, 4);
    assert_int_equal(v[0].pair.verdict, AN_VERDICT_HIGHER);
    an_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faster_means_better),  cmocka_unit_test(the_reference_was_measured),
        cmocka_unit_test(several_are_corrected), cmocka_unit_test(works_are_not_mixed),
        cmocka_unit_test(one_after_the_other_proves_nothing), cmocka_unit_test(a_failed_gate_refuses),
        cmocka_unit_test(noise_raises_the_margin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
