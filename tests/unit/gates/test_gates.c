/* Rules, matching of cells, outcomes of limits on made-up runs whose figures are known, and what JUnit has to escape. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/json.h"
#include "report/gate.h"
#include "report/junit.h"
#include "report/reproduced.h"

#include <math.h>

static an_gate_rule rule(const char *text)
{
    an_gate_rule r;
    anemo_error err;
    assert_ok(an_gate_rule_parse(&r, text, &err), &err);
    return r;
}

static void test_rules(void **state)
{
    (void)state;
    an_gate_rule r = rule("decode_tps:-3%");
    assert_int_equal(r.field, AN_FIELD_ID_decode_tps);
    assert_true(r.relative && fabs(r.low + 0.03) < 1e-15 && isinf(r.high));
    r = rule("ttft_s:+5%");
    assert_true(r.relative && isinf(r.low) && fabs(r.high - 0.05) < 1e-15);
    r = rule("rss_peak_bytes:+50MB");
    assert_true(!r.relative && isinf(r.low) && r.high == 50e6);
    assert_true(rule("rss_peak_bytes:+2 GiB").high == 2147483648.0);
    assert_true(fabs(rule("ttft_s:20ms").high - 0.02) < 1e-15);
    assert_true(rule("decode_tps:5").low == -5);
    r = rule("n_generated:±0");
    assert_true(r.low == 0 && r.high == 0);
    r = rule("decode_tps:+-1.5%");
    assert_true(fabs(r.low + 0.015) < 1e-15 && fabs(r.high - 0.015) < 1e-15);
    assert_true(fabs(rule("cpu_percent:+10%").high - 0.1) < 1e-15);
    assert_true(rule("energy_per_token_j:+3mJ").high == 0.003);
}

static void test_bad_rules(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ":", "decode_tps", "decode_tps:", "decode_tps:%", "decode_tps:--3%", "decode_tps:-3%x",
                                      "decode_tps:-1e3%", "decode_tps:nan", "decode_tps:-0x10%", "decode_tps:-1.2.3%", "x:-3%",
                                      "decode_tps:-3 %%", "n_prompt:3", "decode_tps:-100%", "decode_tps:-3MB",
                                      "decode_tps:-3333333333333333333333333333333333333333333333333333333333333%",
                                      "decode_tpsdecode_tpsdecode_tpsdecode_tpsdecode_tpsdecode_tps:-3%"};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        an_gate_rule r;
        anemo_error err = {0};
        if (an_gate_rule_parse(&r, bad[i], &err) != ANEMO_ERR_INVAL) fail_msg("'%s' was taken", bad[i]);
        assert_true(err.message[0]);
    }
}

/* A cell with n repetitions whose decode speed is around `tps`, spread by 1 %. */
static an_cell *add_cell(an_run *run, const char *engine, int threads, double tps, int n)
{
    anemo_error err;
    if (run->n_model == 0) an_run_add_model(run)->name = an_strdup("m.gguf");
    an_cell *cell = an_run_add_cell(run);
    snprintf(cell->engine, sizeof cell->engine, "%s", engine);
    cell->model = 0;
    cell->work.n_gen = 10;
    cell->settings = json_pack("{s:i}", "threads", threads);
    for (int i = 0; i < n; i++) {
        an_rep rep;
        an_rep_init(&rep);
        rep.block = i;
        rep.values[AN_FIELD_ID_decode_tps] = tps * (1 + 0.01 * ((i * 7) % n - n / 2) / n);
        rep.values[AN_FIELD_ID_rss_peak_bytes] = 1e9;
        rep.values[AN_FIELD_ID_faults_major] = 0;
        assert_ok(an_cell_add_rep(cell, &rep, &err), &err);
    }
    assert_ok(an_cell_make_key(run, cell, &err), &err);
    return cell;
}

static an_gate_outcome outcome(const an_run *base, const an_run *run, const char *text, double noise)
{
    an_gate g;
    anemo_error err;
    const an_gate_rule r = rule(text);
    const an_gate_options o = {.noise = noise};
    assert_ok(an_gate_make(&g, base, run, &r, 1, &o, &err), &err);
    assert_int_equal(g.n_check, 1);
    an_gate_outcome found = g.checks[0].outcome;
    assert_int_equal(an_gate_failed(&g), found == AN_GATE_FAIL);
    an_gate_free(&g);
    return found;
}

static void test_outcomes(void **state)
{
    (void)state;
    an_run base, run;
    an_run_init(&base);
    an_run_init(&run);
    add_cell(&base, "e", 1, 100, 9);
    add_cell(&run, "e", 1, 95, 9);
    assert_int_equal(outcome(&base, &run, "decode_tps:-3%", NAN), AN_GATE_FAIL);
    assert_int_equal(outcome(&base, &run, "decode_tps:-5%", NAN), AN_GATE_UNDECIDED);
    assert_int_equal(outcome(&base, &run, "decode_tps:-8%", NAN), AN_GATE_PASS);
    assert_int_equal(outcome(&base, &run, "decode_tps:+1%", NAN), AN_GATE_PASS);
    assert_int_equal(outcome(&base, &run, "decode_tps:±1%", NAN), AN_GATE_FAIL);
    assert_int_equal(outcome(&base, &run, "decode_tps:-3", NAN), AN_GATE_FAIL);
    assert_int_equal(outcome(&base, &run, "decode_tps:-8", NAN), AN_GATE_PASS);
    /* Noise between runs of 3 %: what lay beyond the limit by less is not shown any more. */
    assert_int_equal(outcome(&base, &run, "decode_tps:-3%", log(1.03)), AN_GATE_UNDECIDED);
    assert_int_equal(outcome(&run, &base, "decode_tps:+3%", NAN), AN_GATE_FAIL);
    /* Figures that never vary, also when they are 0; and one that nobody measured. */
    assert_int_equal(outcome(&base, &run, "rss_peak_bytes:+0%", NAN), AN_GATE_PASS);
    assert_int_equal(outcome(&base, &run, "faults_major:+10", NAN), AN_GATE_PASS);
    assert_int_equal(outcome(&base, &run, "energy_j:+10%", NAN), AN_GATE_UNDECIDED);
    an_run_free(&base);
    an_run_free(&run);
}

/* One cell of ten thousand checks is not enough to fail a run that is like its baseline: the level grows with their number. */
static void test_level(void **state)
{
    (void)state;
    an_run base, run;
    an_gate g;
    anemo_error err;
    an_run_init(&base);
    an_run_init(&run);
    for (int t = 1; t <= 5; t++) {
        add_cell(&base, "e", t, 100, 9);
        add_cell(&run, "e", t, 90, 9);
    }
    const an_gate_rule rules[] = {rule("decode_tps:-3%"), rule("rss_peak_bytes:+1%")};
    const an_gate_options o = {.noise = NAN};
    assert_ok(an_gate_make(&g, &base, &run, rules, 2, &o, &err), &err);
    assert_int_equal(g.n_check, 10);
    assert_true(fabs(g.level - 0.995) < 1e-12);
    assert_int_equal(g.count[AN_GATE_FAIL], 5);
    assert_int_equal(g.count[AN_GATE_PASS], 5);
    an_gate_free(&g);
    an_run_free(&base);
    an_run_free(&run);
}

static void test_match(void **state)
{
    (void)state;
    an_run a, b;
    an_cell_match *m;
    size_t n;
    anemo_error err;
    an_run_init(&a);
    an_run_init(&b);
    add_cell(&a, "one", 1, 1, 1);
    add_cell(&a, "one", 2, 1, 1);
    add_cell(&a, "two", 1, 1, 1);
    add_cell(&a, "gone", 1, 1, 1);
    add_cell(&b, "two", 4, 1, 1);  /* other settings, but the only one of its kind in both */
    add_cell(&b, "one", 2, 1, 1);  /* the same as a's second */
    add_cell(&b, "one", 8, 1, 1);  /* then one is left of "one" in each */
    add_cell(&b, "new", 1, 1, 1);
    add_cell(&b, "one", 2, 1, 1)->copy_of = 1;
    assert_ok(an_run_match(&a, &b, &m, &n, &err), &err);
    assert_int_equal(n, 5);
    static const an_cell_match want[] = {{0, 2, false}, {1, 1, true}, {2, 0, false}, {3, -1, false}, {-1, 3, false}};
    for (size_t i = 0; i < n; i++)
        assert_true(m[i].a == want[i].a && m[i].b == want[i].b && m[i].same == want[i].same);
    json_t *d = an_cell_differences(&a, 2, &b, 0);
    assert_int_equal(json_array_size(d), 1);
    assert_string_equal(json_string_value(json_array_get(d, 0)), "threads: 1 → 4");
    json_decref(d);
    an_free(m);
    an_run_free(&a);
    an_run_free(&b);
}

static void test_nothing_in_common(void **state)
{
    (void)state;
    an_run a, b;
    an_gate g;
    anemo_error err;
    an_run_init(&a);
    an_run_init(&b);
    add_cell(&a, "one", 1, 100, 9);
    add_cell(&b, "two", 1, 100, 9);
    const an_gate_rule r = rule("decode_tps:-3%");
    const an_gate_options o = {.noise = NAN};
    assert_fails(an_gate_make(&g, &a, &b, &r, 1, &o, &err), &err, ANEMO_ERR_INVAL, "no cell of the run");
    b.cells[0].engine[0] = 'o';
    memcpy(b.cells[0].engine, "one", 4);
    assert_ok(an_cell_make_key(&b, &b.cells[0], &err), &err);
    b.cells[0].status = AN_CELL_FAILED;
    assert_fails(an_gate_make(&g, &a, &b, &r, 1, &o, &err), &err, ANEMO_ERR_INVAL, "no cell of the run");
    an_run_free(&a);
    an_run_free(&b);
}

static void test_junit(void **state)
{
    (void)state;
    an_run run;
    an_str out = {0};
    anemo_error err;
    an_run_init(&run);
    an_cell *cell = add_cell(&run, "a<b>&\"c\"", 1, 100, 2);
    cell->status = AN_CELL_FAILED;
    cell->reason = an_strdup("line one\nthe \x1b[31m \xff end \xEF\xBF\xBF.");
    cell->stderr_tail = an_strdup("]]> & <");
    add_cell(&run, "skipped", 1, 1, 0)->status = AN_CELL_SKIPPED;
    assert_ok(an_junit_write(&run, NULL, &out, &err), &err);
    assert_non_null(strstr(out.data, "classname=\"a&lt;b&gt;&amp;&quot;c&quot;\""));
    assert_non_null(strstr(out.data, "message=\"line one&#10;the \xEF\xBF\xBD[31m \xEF\xBF\xBD end \xEF\xBF\xBD.\""));
    assert_non_null(strstr(out.data, "]]&gt; &amp; &lt;</error>"));
    assert_non_null(strstr(out.data, "tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"1\""));
    assert_non_null(strstr(out.data, "<skipped message=\"skipped\"></skipped>"));
    an_str_free(&out);
    an_run_free(&run);
}

/* Failed cells, missing ids, ids that differ. */
static void test_reproduced(void **state)
{
    (void)state;
    an_run a, b;
    an_reproduced r;
    anemo_error err;
    an_run_init(&a);
    an_run_init(&b);
    for (int k = 0; k < 2; k++) {
        an_cell *cell = add_cell(k ? &b : &a, "e", 1, 100, 9);
        cell->ids_exact = true;
        cell->reps[0].token_ids = an_malloc(3 * sizeof(int32_t));
        cell->reps[0].n_token = 3;
        for (int i = 0; i < 3; i++) cell->reps[0].token_ids[i] = i;
    }
    assert_ok(an_reproduced_make(&r, &a, &b, 0.05, NAN, &err), &err);
    assert_true(an_reproduced_holds(&r));
    assert_int_equal(r.ids[0], AN_IDS_SAME);
    an_reproduced_free(&r);
    b.cells[0].reps[0].token_ids[2] = 9;
    assert_ok(an_reproduced_make(&r, &a, &b, 0.05, NAN, &err), &err);
    assert_false(an_reproduced_holds(&r));
    assert_int_equal(r.first[0], 2);
    an_reproduced_free(&r);
    b.cells[0].ids_exact = false;
    b.cells[0].status = AN_CELL_FAILED;
    assert_ok(an_reproduced_make(&r, &a, &b, 0.05, NAN, &err), &err);
    assert_true(an_reproduced_holds(&r));
    assert_int_equal(r.n_missing, 1);
    an_reproduced_free(&r);
    an_run_free(&a);
    an_run_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),      cmocka_unit_test(test_bad_rules),         cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_level),      cmocka_unit_test(test_match),             cmocka_unit_test(test_nothing_in_common),
        cmocka_unit_test(test_junit),      cmocka_unit_test(test_reproduced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
