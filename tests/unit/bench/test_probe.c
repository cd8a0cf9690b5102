/* The probes: their figures are possible ones, their threads sleep, and little memory is enough. */
#include "support/test.h"

#include "base/alloc.h"
#include "bench/probe.h"
#include "os/clock.h"

#include <math.h>

static void figures_are_possible(void **state)
{
    (void)state;
    for (int n = 1; n <= 2; n++) {
        anemo_error err;
        an_probe *p;
        assert_ok(an_probe_open(&p, n, &err), &err);
        uint64_t begin = an_clock_ns();
        double sample = an_probe_bandwidth(p, 0);
        assert_true(an_clock_ns() - begin >= 10000000);
        double peak = an_probe_peak_bandwidth(p);
        /* Between a slow emulator and twice the fastest memory of a server. */
        assert_true(sample > 1e7 && sample < 2e12);
        assert_true(peak > 1e7 && peak < 2e12);
        double f32 = an_probe_peak_ops(p, AN_PROBE_F32), i8 = an_probe_peak_ops(p, AN_PROBE_I8);
        assert_true(f32 > 1e7 && f32 < 1e15);
        assert_true(i8 > 1e7 && i8 < 1e15);
        an_probe_close(p);
    }
}

static void sleeping_threads_use_no_cpu(void **state)
{
    (void)state;
    anemo_error err;
    an_probe *p;
    assert_ok(an_probe_open(&p, 4, &err), &err);
    an_probe_bandwidth(p, 1000000);
    an_clock_sleep_ns(20000000);
    uint64_t cpu = an_clock_cpu_ns();
    an_clock_sleep_ns(300000000);
    cpu = an_clock_cpu_ns() - cpu;
    /* One spinning thread alone would take 300 ms, or its share of a busy machine. */
    assert_true(cpu < 3000000);
    an_probe_close(p);
}

static int refuse_large(void *ctx, size_t bytes, uint64_t idx)
{
    (void)idx;
    return bytes > *(size_t *)ctx;
}

static void little_memory_is_enough(void **state)
{
    (void)state;
    anemo_error err;
    an_probe *p;
    size_t most = 3 << 20;
    an_alloc_set_hook(refuse_large, &most);
    assert_ok(an_probe_open(&p, 2, &err), &err);
    assert_true(an_probe_bandwidth(p, 1000000) > 0);
    an_probe_close(p);
    most = 1 << 17;
    anemo_status status = an_probe_open(&p, 2, &err);
    an_alloc_set_hook(NULL, NULL);
    assert_int_equal(status, ANEMO_ERR_NOMEM);
    assert_fails(an_probe_open(&p, 0, &err), &err, ANEMO_ERR_INVAL, "threads");
    an_probe_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_possible),
        cmocka_unit_test(sleeping_threads_use_no_cpu),
        cmocka_unit_test(little_memory_is_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
