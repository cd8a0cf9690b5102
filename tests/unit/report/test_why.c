/* report: what bounds an engine, on made-up runs. */
#include "support/test.h"

#include "base/alloc.h"
#include "report/why.h"

#include <math.h>

enum { N_REP = 6 };

typedef struct made_up {
    double tps, bytes, mbu, mfu, cpu_percent, faults_major, swap, steal, hz_first, hz_last, step_tps;
} made_up;

static const made_up plain = {.tps = 100,
                              .bytes = 100e6,
                              .mbu = NAN,
                              .mfu = NAN,
                              .cpu_percent = 198,
                              .faults_major = 0,
                              .swap = 0,
                              .steal = 0,
                              .hz_first = 3e9,
                              .hz_last = 3e9,
                              .step_tps = NAN};

static an_cell *add_cell(an_run *run, const char *label, const made_up *f)
{
    anemo_error err;
    an_cell *cell = an_run_add_cell(run);
    assert_non_null(cell);
    snprintf(cell->label, sizeof cell->label, "%s", label);
    snprintf(cell->device, sizeof cell->device, "cpu");
    cell->model = -1;
    cell->status = AN_CELL_OK;
    cell->settings = json_pack("{s:i}", "threads", 2);
    for (int i = 0; i < N_REP; i++) {
        an_rep rep;
        an_rep_init(&rep);
        double *v = rep.values, wobble = 1 + 0.0001 * (i % 3);
        rep.block = rep.order = i;
        v[AN_FIELD_ID_decode_tps] = f->tps * wobble;
        v[AN_FIELD_ID_bytes_per_token] = f->bytes;
        v[AN_FIELD_ID_mbu] = f->mbu;
        v[AN_FIELD_ID_mfu] = f->mfu;
        v[AN_FIELD_ID_n_prompt] = 31;
        v[AN_FIELD_ID_ttft_s] = 0.1;
        v[AN_FIELD_ID_cpu_percent] = f->cpu_percent;
        v[AN_FIELD_ID_faults_major] = f->faults_major;
        v[AN_FIELD_ID_swap_in_bytes] = f->swap;
        v[AN_FIELD_ID_steal_share] = f->steal;
        v[AN_FIELD_ID_step_tps] = f->step_tps;
        v[AN_FIELD_ID_cpu_hz] = f->hz_first + (f->hz_last - f->hz_first) * i / (N_REP - 1);
        assert_ok(an_cell_add_rep(cell, &rep, &err), &err);
    }
    return cell;
}

static void begin(an_run *run)
{
    an_run_init(run);
    run->margin = run->precision = 0.01;
    run->n_look = 1;
    run->n_block = N_REP;
    run->aa_noise = NAN;
    run->environment.peak_bandwidth_bps = 12e9;
    run->environment.peak_flops = 100e9;
}

static an_bound bound_of(const made_up *f)
{
    an_run run;
    begin(&run);
    an_bound bound = an_report_bound(add_cell(&run, "x", f));
    an_run_free(&run);
    return bound;
}

static void what_bounds_is_found(void **state)
{
    (void)state;
    made_up f = plain;
    assert_int_equal(bound_of(&f), AN_BOUND_UNKNOWN); /* busy threads alone may wait for memory */
    f.mbu = 0.83;
    assert_int_equal(bound_of(&f), AN_BOUND_BANDWIDTH);
    f.mbu = 0.2;
    assert_int_equal(bound_of(&f), AN_BOUND_COMPUTE);
    f.mbu = 1.4; /* caches */
    assert_int_equal(bound_of(&f), AN_BOUND_COMPUTE);
    f.cpu_percent = 100; /* one of two threads */
    assert_int_equal(bound_of(&f), AN_BOUND_LATENCY);
    f.steal = 0.1;
    assert_int_equal(bound_of(&f), AN_BOUND_HOST);
    f.faults_major = 500;
    assert_int_equal(bound_of(&f), AN_BOUND_DISK);
    f.swap = 1e6;
    assert_int_equal(bound_of(&f), AN_BOUND_SWAP);
    f = plain;
    f.hz_last = 2e9;
    assert_int_equal(bound_of(&f), AN_BOUND_CLOCK);
    f = (made_up){NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    assert_int_equal(bound_of(&f), AN_BOUND_UNKNOWN);
}

/* All sentences in one text; checks that none shows a figure that is none. */
static void sentences(const an_run *run, char *out, size_t cap)
{
    json_t *list = json_array(), *s;
    size_t i, n = 0;
    an_report_why(run, list);
    out[0] = '\0';
    json_array_foreach(list, i, s)
    {
        assert_true(json_is_string(s));
        n += (size_t)snprintf(out + n, cap - n, "%s\n", json_string_value(s));
        assert_true(n < cap);
    }
    json_decref(list);
    if (strstr(out, "nan") || strstr(out, "inf")) fail_msg("a figure is missing in: %s", out);
}

static void expect(const char *text, const char *part)
{
    if (!strstr(text, part)) fail_msg("'%s' lacks '%s'", text, part);
}

static void sentences_hold_the_figures(void **state)
{
    (void)state;
    char text[8192];
    an_run run;
    made_up f = plain;
    begin(&run);
    f.mbu = 0.83;
    f.mfu = 0.6;
    add_cell(&run, "fast", &f);
    f.tps = 50;
    f.bytes = 150e6;
    f.mbu = 0.3;
    f.mfu = 0.1;
    f.cpu_percent = 100;
    f.step_tps = 75;
    add_cell(&run, "slow", &f);
    sentences(&run, text, sizeof text);
    expect(text, "fast: memory bandwidth bounds decoding: it streams 100.0 MB a token at 100.0 tokens/s, 10.0 GB/s, 83 %");
    expect(text, "(measured: 12.0 GB/s)");
    expect(text, "its 2 threads were busy 99 % of the time");
    expect(text, "fast: arithmetic bounds prefill: 60 %");
    expect(text, "slow: waiting bounds decoding");
    expect(text, "busy 50 % of the time");
    expect(text, "slow: 33 % of a token's time is outside the forward pass");
    expect(text, "slow: prefill reaches 10 %");
    /* 2 = 1.33 of speed / 0.67 of bytes. */
    expect(text, "fast decodes 2.00 times as fast as slow: it reads 0.67 times the bytes a token (100.00 against 150.00 MB) and "
                 "moves them 1.33 times as fast (10.0 against 7.5 GB/s); 1.98 CPUs are busy against 1.00.");
    run.aa = true; /* no differences are explained where there can be none */
    sentences(&run, text, sizeof text);
    assert_null(strstr(text, "as fast as slow"));
    run.aa = false;
    run.cells[1].copy_of = 0; /* nor is a copy a rival */
    sentences(&run, text, sizeof text);
    assert_null(strstr(text, "slow"));
    run.cells[1].copy_of = -1;
    char why[] = "the gate failed";
    run.refused = why;
    sentences(&run, text, sizeof text);
    assert_null(strstr(text, "as fast as slow"));
    run.refused = NULL;
    an_run_free(&run);
}

static void disturbances_are_named(void **state)
{
    (void)state;
    char text[8192];
    an_run run;
    made_up f = plain;
    begin(&run);
    f.swap = 5e6;
    add_cell(&run, "swapped", &f);
    f = plain;
    f.faults_major = 70;
    add_cell(&run, "faulted", &f);
    f = plain;
    f.steal = 0.125;
    add_cell(&run, "robbed", &f);
    f = plain;
    f.hz_first = 3.5e9;
    f.hz_last = 2e9;
    add_cell(&run, "hot", &f);
    sentences(&run, text, sizeof text);
    expect(text, "swapped was slowed by swapping: 5.0 MB");
    expect(text, "faulted waited for the disk: 70 page faults");
    expect(text, "robbed was held up by the host of this virtual machine, which gave 12.5 %");
    expect(text, "hot was throttled: the clock fell from 3.35 to 2.15 GHz");
    an_run_free(&run);
}

static void nothing_known_is_no_sentence(void **state)
{
    (void)state;
    char text[8192];
    an_run run;
    made_up f = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
    begin(&run);
    run.environment.peak_bandwidth_bps = NAN;
    add_cell(&run, "blank", &f);
    f = plain;
    f.bytes = NAN;
    f.cpu_percent = NAN;
    add_cell(&run, "dark", &f);
    an_cell *cell = an_run_add_cell(&run); /* one that failed */
    cell->status = AN_CELL_FAILED;
    sentences(&run, text, sizeof text);
    assert_null(strstr(text, "blank"));
    expect(text, "dark: what bounds decoding cannot be said: what a token costs it in memory is not known.");
    an_run_free(&run);
    an_run_init(&run);
    sentences(&run, text, sizeof text);
    assert_string_equal(text, "");
    an_run_free(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_bounds_is_found),
        cmocka_unit_test(sentences_hold_the_figures),
        cmocka_unit_test(disturbances_are_named),
        cmocka_unit_test(nothing_known_is_no_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
