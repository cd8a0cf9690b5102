/* The meter on a worker whose work is known; its own cost; efficiency against arithmetic by hand. */
#include "support/test.h"

#include "bench/meter.h"
#include "os/clock.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGES = 5000, NAPS = 60 };

typedef struct worker {
    pid_t pid;
    int to, from;
} worker;

/* On each byte: burns CPU for 60 ms, takes 5,000 fresh pages, naps 60 times; then says when it began and ended. */
static worker start_worker(void)
{
    worker w;
    int in[2], out[2];
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    w.pid = fork();
    if (w.pid == 0) {
        char c;
        close(in[1]);
        close(out[0]);
        while (read(in[0], &c, 1) == 1) {
            uint64_t times[2] = {an_clock_ns()};
            uint64_t cpu = an_clock_cpu_ns();
            while (an_clock_cpu_ns() - cpu < 60000000) {
            }
            size_t page = (size_t)sysconf(_SC_PAGESIZE);
            char *p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (p == MAP_FAILED) _exit(1);
            madvise(p, PAGES * page, MADV_NOHUGEPAGE);
            for (size_t i = 0; i < PAGES; i++) p[i * page] = 1;
            for (int i = 0; i < NAPS; i++) an_clock_sleep_ns(10000);
            times[1] = an_clock_ns();
            munmap(p, PAGES / 2 * page);
            if (write(out[1], times, sizeof times) != (ssize_t)sizeof times) _exit(1);
        }
        _exit(0);
    }
    close(in[0]);
    close(out[1]);
    w.to = in[1];
    w.from = out[0];
    return w;
}

static void ask(const worker *w, uint64_t times[2])
{
    assert_int_equal(write(w->to, "x", 1), 1);
    assert_int_equal(read(w->from, times, 2 * sizeof *times), 2 * (ssize_t)sizeof *times);
}

static void stop_worker(worker *w)
{
    close(w->to);
    close(w->from);
    waitpid(w->pid, NULL, 0);
}

/* Every field that the kernel, the machine or the probe gives is there or says why it is not. */
static void check_reasons(const an_meter *m, const an_rep *rep)
{
    json_t *missing = an_meter_missing(m);
    assert_non_null(missing);
    for (int i = 0; i < AN_FIELD_N; i++) {
        const an_field *f = an_field_get((an_field_id)i);
        if (strcmp(f->source, "kernel") && strcmp(f->source, "machine") && strcmp(f->source, "probe")) continue;
        const char *why = json_string_value(json_object_get(missing, f->name));
        if (isfinite(rep->values[i]) == (why != NULL))
            fail_msg("%s is %f, reason: %s", f->name, rep->values[i], why ? why : "none");
    }
    json_decref(missing);
}

static void known_work_is_seen(void **state)
{
    (void)state;
    anemo_error err;
    an_meter *m;
    const an_meter_options o = {.n_thread = 1, .bandwidth = true, .n_cpu = 2};
    worker w = start_worker();
    assert_ok(an_meter_open(&m, &o, &err), &err);
    for (int round = 0; round < 2; round++) {
        an_rep rep;
        uint64_t times[2], before, after;
        double page = (double)sysconf(_SC_PAGESIZE), *v = rep.values;
        an_rep_init(&rep);
        an_meter_begin(m, w.pid);
        before = an_clock_ns();
        ask(&w, times);
        after = an_clock_ns();
        /* Nothing of the meter's lies within the worker's own time. */
        assert_true(before <= times[0] && times[1] <= after);
        v[AN_FIELD_ID_total_s] = (double)(times[1] - times[0]) * 1e-9;
        an_meter_end(m, &rep);
        assert_true(v[AN_FIELD_ID_cpu_s] >= 0.06 && v[AN_FIELD_ID_cpu_s] < 0.4);
        assert_true(v[AN_FIELD_ID_cpu_user_s] + v[AN_FIELD_ID_cpu_system_s] >= 0.03);
        /* ThreadSanitizer takes pages of its own for each. */
        assert_true(v[AN_FIELD_ID_faults_minor] >= PAGES && v[AN_FIELD_ID_faults_minor] < 20 * PAGES);
        assert_true(v[AN_FIELD_ID_ctx_voluntary] >= NAPS);
        assert_true(v[AN_FIELD_ID_ctx_involuntary] >= 0);
        assert_true(v[AN_FIELD_ID_rss_anon_bytes] >= PAGES / 2 * page);
        assert_true(v[AN_FIELD_ID_rss_peak_bytes] >= v[AN_FIELD_ID_rss_anon_bytes] + (PAGES / 2 - 500) * page);
        assert_true(v[AN_FIELD_ID_bandwidth_bps] > 1e7);
        assert_float_equal(v[AN_FIELD_ID_cpu_percent], 100 * v[AN_FIELD_ID_cpu_s] / v[AN_FIELD_ID_total_s], 1e-6);
        check_reasons(m, &rep);
        an_rep_free(&rep);
    }
    /* A server has no process that we could read; a worker that is gone neither. */
    pid_t gone = w.pid;
    stop_worker(&w);
    for (int i = 0; i < 2; i++) {
        an_rep rep;
        an_rep_init(&rep);
        an_meter_begin(m, i ? gone : 0);
        an_meter_end(m, &rep);
        assert_true(isnan(rep.values[AN_FIELD_ID_cpu_s]) && isnan(rep.values[AN_FIELD_ID_rss_peak_bytes]));
        check_reasons(m, &rep);
    }
    an_meter_close(m);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Without bandwidth samples a pair of reads is over in less than two milliseconds. */
static void reads_are_short(void **state)
{
    (void)state;
    enum { N = 31 };
    anemo_error err;
    an_meter *m;
    uint64_t begin[N], end[N];
    const an_meter_options o = {.n_thread = 2, .n_cpu = 2};
    assert_ok(an_meter_open(&m, &o, &err), &err);
    for (int i = 0; i < N; i++) {
        an_rep rep;
        an_rep_init(&rep);
        uint64_t t = an_clock_ns();
        an_meter_begin(m, getpid());
        begin[i] = an_clock_ns() - t;
        t = an_clock_ns();
        an_meter_end(m, &rep);
        end[i] = an_clock_ns() - t;
        assert_true(isnan(rep.values[AN_FIELD_ID_bandwidth_bps]));
        check_reasons(m, &rep);
    }
    qsort(begin, N, sizeof *begin, by_value);
    qsort(end, N, sizeof *end, by_value);
    printf("median %.0f us before, %.0f us after\n", (double)begin[N / 2] * 1e-3, (double)end[N / 2] * 1e-3);
    assert_true(begin[N / 2] < 1000000 && end[N / 2] < 1000000);
    an_meter_close(m);
}

static void efficiency_by_hand(void **state)
{
    (void)state;
    an_rep rep;
    an_rep_init(&rep);
    double *v = rep.values;
    an_run_model model = {.weight_bytes = 1000000, .kv_values_per_pos = 320, .flop_per_token = 2e6};
    an_environment e = {.peak_bandwidth_bps = 1e9, .peak_flops = 1e10};
    an_cell cell = {.settings = json_pack("{s:s}", "kv_type", "f16")};
    v[AN_FIELD_ID_n_prompt] = 100;
    v[AN_FIELD_ID_n_generated] = 50;
    v[AN_FIELD_ID_prefill_tps] = 2500;
    v[AN_FIELD_ID_decode_tps] = 500;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_bytes_per_token], 1000000 + 320 * 2 * 125.0, 0);
    assert_float_equal(v[AN_FIELD_ID_mbu], 1.08e6 * 500 / 1e9, 1e-12);
    assert_float_equal(v[AN_FIELD_ID_mfu], 0.5, 1e-12);
    /* The head for the last token only; 100 tokens attend to 5,000 pairs, each 4 operations a value of the width. */
    model.head_flop = 1e6;
    model.attention_width = 50;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_mfu], (1e6 * 100 + 1e6 + 2 * 50 * 1e4) / 100 * 2500 / 1e10, 1e-12);
    /* What the engine took counts, not what it was asked for; blocks of 32 int8 with a scale of two bytes. */
    cell.effective = json_pack("{s:s}", "kv_type", "q8_0");
    v[AN_FIELD_ID_n_depth] = 1000;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_bytes_per_token], 1000000 + 320 * 34.0 / 32 * 1125.0, 0.5);
    /* Impossible values are kept. */
    e.peak_bandwidth_bps = 1e8;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_true(v[AN_FIELD_ID_mbu] > 1);
    /* A step measurement of decode alone; peaks that are not known; a model that is not. */
    an_rep_init(&rep);
    v[AN_FIELD_ID_n_generated] = 128;
    v[AN_FIELD_ID_step_tps] = 10;
    e.peak_bandwidth_bps = NAN;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_true(isnan(v[AN_FIELD_ID_mbu]) && isnan(v[AN_FIELD_ID_mfu]));
    assert_true(isfinite(v[AN_FIELD_ID_bytes_per_token]));
    e.peak_bandwidth_bps = 1e9;
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_mbu], v[AN_FIELD_ID_bytes_per_token] * 10 / 1e9, 1e-12);
    /* One thread is measured by what one thread reaches; three, of which nothing is known, by the run's peaks. */
    e.more = json_pack("{s:[{s:i, s:f, s:f}]}", "peaks_by_threads", "threads", 1, "bandwidth_bps", 5e8, "flops", 2e9);
    json_object_set_new(cell.effective, "threads", json_integer(1));
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_mbu], v[AN_FIELD_ID_bytes_per_token] * 10 / 5e8, 1e-12);
    json_object_set_new(cell.effective, "threads", json_integer(3));
    an_meter_efficiency(&rep, &model, &cell, &e);
    assert_float_equal(v[AN_FIELD_ID_mbu], v[AN_FIELD_ID_bytes_per_token] * 10 / 1e9, 1e-12);
    json_decref(e.more);
    an_rep_init(&rep);
    an_meter_efficiency(&rep, NULL, &cell, &e);
    assert_true(isnan(v[AN_FIELD_ID_bytes_per_token]));
    json_decref(cell.settings);
    json_decref(cell.effective);
}

static void peaks_go_into_the_environment(void **state)
{
    (void)state;
    anemo_error err;
    an_meter *m;
    an_environment e = {0};
    const an_meter_options o = {.n_thread = 2, .n_cpu = 2};
    assert_ok(an_meter_open(&m, &o, &err), &err);
    an_meter_peaks_with(m, 1, &e);
    assert_null(e.more);
    an_meter_peaks(m, &e);
    an_meter_peaks_with(m, 1, &e);
    an_meter_peaks_with(m, 1, &e);
    an_meter_peaks_with(m, 2, &e);
    assert_int_equal(json_array_size(json_object_get(e.more, "peaks_by_threads")), 1);
    assert_true(an_environment_peaks(&e, 1).bandwidth_bps > 1e7);
    assert_true(an_environment_peaks(&e, 2).flops == e.peak_flops);
    assert_true(e.peak_bandwidth_bps > 1e7 && e.peak_flops > 1e7);
    assert_true(json_number_value(json_object_get(e.more, "peak_f32_ops")) <= e.peak_flops);
    json_t *missing = an_meter_missing(m);
    assert_null(json_object_get(missing, "mbu"));
    json_decref(missing);
    an_environment_free(&e);
    an_meter_close(m);
    const an_meter_options broken = {.n_thread = 1, .n_cpu = 1, .power_cmd = "echo warm"};
    assert_fails(an_meter_open(&m, &broken, &err), &err, ANEMO_ERR_INVAL, "printed 'warm'");
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_work_is_seen),
        cmocka_unit_test(reads_are_short),
        cmocka_unit_test(efficiency_by_hand),
        cmocka_unit_test(peaks_go_into_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
