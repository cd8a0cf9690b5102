/* Sensors over made-up trees: sums, wraps, missing rights, rubbish; the power command in all its moods. */
#include "unit/os/tree.h"

#include "base/rng.h"
#include "os/clock.h"
#include "os/sensors.h"
#include "os/sysfile.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define RAPL "/sys/class/powercap/intel-rapl:"

static an_sensors *open_tree(const char *root, const char *power_cmd)
{
    anemo_error err;
    an_sensors *s;
    const an_sensors_options o = {.root = root, .power_cmd = power_cmd};
    assert_ok(an_sensors_open(&s, &o, &err), &err);
    return s;
}

static void put_zone(const char *root, const char *zone, const char *name, const char *energy, const char *range)
{
    char path[128];
    snprintf(path, sizeof path, "/sys/class/powercap/%s/name", zone);
    tree_put(root, path, name);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/energy_uj", zone);
    tree_put(root, path, energy);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/max_energy_range_uj", zone);
    tree_put(root, path, range);
    snprintf(path, sizeof path, "/sys/class/powercap/%s/constraint_0_power_limit_uw", zone);
    tree_put(root, path, "50000000\n");
}

/* Two packages, one of which goes round; its cores and the second view of package 0 are not counted twice. */
static void packages_add_up(void **state)
{
    (void)state;
    char *root = tree_make();
    const char *why;
    put_zone(root, "intel-rapl:0", "package-0\n", "1000000\n", "262143328850\n");
    put_zone(root, "intel-rapl:1", "package-1\n", "262143000000\n", "262143328850\n");
    put_zone(root, "intel-rapl:0:0", "core\n", "5\n", "262143328850\n");
    put_zone(root, "intel-rapl-mmio:0", "package-0\n", "7\n", "262143328850\n");
    put_zone(root, "intel-rapl:2", "psys\n", "7\n", "262143328850\n");
    tree_put(root, "/sys/class/powercap/dtpm/name", "none\n");
    an_sensors *s = open_tree(root, NULL);
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "rapl:package-0+package-1");
    assert_string_equal(an_sensors_reason(s, AN_SENSOR_ENERGY), "");
    an_sensor_sample from, to;
    an_sensors_read(s, &from);
    tree_put(root, RAPL "0/energy_uj", "3500000\n");
    tree_put(root, RAPL "1/energy_uj", "671150\n"); /* 0.32885 J up to the range, 0.67115 J behind it */
    tree_put(root, RAPL "0:0/energy_uj", "99000000\n");
    an_sensors_read(s, &to);
    to.t_ns = from.t_ns + 1000000000;
    to.energy_updates = from.energy_updates + 1000;
    assert_float_equal(an_sensors_energy(s, &from, &to, &why), 2.5 + 1.0, 1e-9);
    assert_string_equal(why, "");
    /* Nineteen updates are too few. */
    to.energy_updates = from.energy_updates + 19;
    assert_true(isnan(an_sensors_energy(s, &from, &to, &why)));
    assert_non_null(strstr(why, "20 values"));
    /* At 100 W the counter may go round in 44 minutes; nobody looked for an hour. */
    to.energy_updates = from.energy_updates + 1000000;
    to.t_ns = from.t_ns + UINT64_C(3600) * 1000000000;
    assert_true(isnan(an_sensors_energy(s, &from, &to, &why)));
    assert_non_null(strstr(why, "gone round"));
    to.t_ns = from.t_ns + UINT64_C(600) * 1000000000;
    assert_true(isfinite(an_sensors_energy(s, &from, &to, &why)));
    /* A counter that vanishes is not known, and what comes after it is not added to what was before. */
    tree_put(root, RAPL "0/energy_uj", "rubbish\n");
    an_sensors_read(s, &to);
    assert_true(isnan(to.energy_j));
    assert_true(isnan(an_sensors_energy(s, &from, &to, &why)));
    tree_put(root, RAPL "0/energy_uj", "9000000\n");
    an_sensors_read(s, &from);
    tree_put(root, RAPL "0/energy_uj", "9250000\n");
    an_sensors_read(s, &to);
    assert_float_equal(to.energy_j - from.energy_j, 0.25, 1e-9);
    an_sensors_close(s);
    tree_free(root);
}

static void one_view_is_enough(void **state)
{
    (void)state;
    char *root = tree_make();
    put_zone(root, "intel-rapl-mmio:0", "package-0\n", "7\n", "262143328850\n");
    an_sensors *s = open_tree(root, NULL);
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "rapl:package-0");
    double w = an_sensors_idle_power(s, 50000000);
    assert_float_equal(w, 0, 1e-9); /* a counter that stands still */
    an_sensors_close(s);
    tree_free(root);
}

/* What cannot be read has a reason that says what to do. */
static void rights_are_missing(void **state)
{
    (void)state;
    char *root = tree_make(), path[256];
    put_zone(root, "intel-rapl:0", "package-0\n", "1\n", "262143328850\n");
    snprintf(path, sizeof path, "%s" RAPL "0/energy_uj", root);
    assert_int_equal(chmod(path, 0), 0);
    if (geteuid() == 0) { /* root may read it all the same: a folder in its place cannot be read by anyone */
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    an_sensors *s = open_tree(root, NULL);
    an_sensor_sample from, to;
    const char *why;
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "");
    assert_non_null(strstr(an_sensors_reason(s, AN_SENSOR_ENERGY), "energy_uj cannot be read"));
    if (geteuid() != 0) assert_non_null(strstr(an_sensors_reason(s, AN_SENSOR_ENERGY), "run as root"));
    an_sensors_read(s, &from);
    an_sensors_read(s, &to);
    assert_true(isnan(from.energy_j) && isnan(an_sensors_energy(s, &from, &to, &why)));
    assert_string_equal(why, an_sensors_reason(s, AN_SENSOR_ENERGY));
    assert_true(isnan(an_sensors_idle_power(s, 1000000000)));
    an_sensors_close(s);
    tree_free(root);
}

static void chips_give_energy_or_power(void **state)
{
    (void)state;
    char *root = tree_make();
    an_sensor_sample from, to;
    tree_put(root, "/sys/class/hwmon/hwmon0/name", "amdgpu\n");
    tree_put(root, "/sys/class/hwmon/hwmon0/power1_average", "90000000\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/name", "power_meter\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/power1_average", "40000000\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/power1_average_interval", "junk");
    an_sensors *s = open_tree(root, NULL);
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "hwmon:power_meter");
    an_sensors_read(s, &from);
    assert_float_equal(from.power_w, 40, 1e-9);
    an_clock_sleep_ns(500000000);
    an_sensors_read(s, &to);
    double joules = to.energy_j - from.energy_j, seconds = (double)(to.t_ns - from.t_ns) * 1e-9;
    assert_float_equal(joules, 40 * seconds, 0.1);
    assert_true(isnan(an_sensors_energy(s, &from, &to, NULL))); /* five values */
    an_sensors_close(s);
    /* A counter is better than power; that of the sockets better than those of cores. */
    tree_put(root, "/sys/class/hwmon/hwmon2/name", "amd_energy\n");
    tree_put(root, "/sys/class/hwmon/hwmon2/energy1_input", "5\n");
    tree_put(root, "/sys/class/hwmon/hwmon2/energy1_label", "Ecore000\n");
    tree_put(root, "/sys/class/hwmon/hwmon2/energy2_input", "100\n");
    tree_put(root, "/sys/class/hwmon/hwmon2/energy2_label", "Esocket0\n");
    s = open_tree(root, NULL);
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "hwmon:amd_energy");
    an_sensors_read(s, &from);
    tree_put(root, "/sys/class/hwmon/hwmon2/energy1_input", "7000005\n");
    tree_put(root, "/sys/class/hwmon/hwmon2/energy2_input", "2000100\n");
    an_sensors_read(s, &to);
    assert_float_equal(to.energy_j - from.energy_j, 2, 1e-9);
    /* Set back without a range: nobody knows how much it was. */
    tree_put(root, "/sys/class/hwmon/hwmon2/energy2_input", "3\n");
    an_sensors_read(s, &to);
    assert_true(isnan(to.energy_j));
    an_sensors_close(s);
    tree_free(root);
}

static void clocks_heat_and_counters(void **state)
{
    (void)state;
    char *root = tree_make();
    anemo_error err;
    an_sensors *s;
    an_sensor_sample x;
    tree_put(root, "/sys/devices/system/cpu/online", "0-2\n");
    tree_put(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
    tree_put(root, "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "800000\n");
    tree_put(root, "/sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq", "2000000\n");
    tree_put(root, "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "4\n");
    tree_put(root, "/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count", "9\n");
    tree_put(root, "/sys/class/hwmon/hwmon0/name", "nvme\n");
    tree_put(root, "/sys/class/hwmon/hwmon0/temp1_input", "99000\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/name", "coretemp\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/temp1_input", "51000\n");
    tree_put(root, "/sys/class/hwmon/hwmon1/temp2_input", "62500\n");
    tree_put(root, "/proc/stat", "cpu  100 0 50 800 40 0 0 10 0 0\ncpu0 1 2 3\n");
    tree_put(root, "/proc/vmstat", "nr_free_pages 5\npswpin 3\npswpout 4\n");
    const an_sensors_options o = {.root = root, .n_busy = 2};
    assert_ok(an_sensors_open(&s, &o, &err), &err);
    an_sensors_read(s, &x);
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    assert_float_equal(x.cpu_hz, 2.5e9, 1); /* of the two that work */
    assert_float_equal(x.temperature_c, 62.5, 1e-9);
    assert_float_equal(x.throttle_count, 13, 0);
    assert_float_equal(x.cpu_total_s, 1000 * tick, 1e-9);
    assert_float_equal(x.cpu_idle_s, 840 * tick, 1e-9);
    assert_float_equal(x.cpu_steal_s, 10 * tick, 1e-9);
    assert_float_equal(x.swap_in_bytes, 3 * page, 0);
    assert_float_equal(x.swap_out_bytes, 4 * page, 0);
    assert_string_equal(an_sensors_source(s, AN_SENSOR_CLOCK), "cpufreq");
    assert_string_equal(an_sensors_source(s, AN_SENSOR_TEMPERATURE), "coretemp");
    an_sensors_close(s);
    tree_free(root);

    /* Thermal zones where there is no chip; /proc/cpuinfo's clock only where it is a real one. */
    root = tree_make();
    tree_put(root, "/sys/class/thermal/thermal_zone0/type", "acpitz\n");
    tree_put(root, "/sys/class/thermal/thermal_zone0/temp", "90000\n");
    tree_put(root, "/sys/class/thermal/thermal_zone1/type", "x86_pkg_temp\n");
    tree_put(root, "/sys/class/thermal/thermal_zone1/temp", "47000\n");
    tree_put(root, "/proc/cpuinfo", "processor : 0\ncpu MHz : 2600.0\nflags : fpu aperfmperf sse\n\nprocessor : 1\ncpu MHz : 1400.5\n");
    s = open_tree(root, NULL);
    an_sensors_read(s, &x);
    assert_float_equal(x.temperature_c, 47, 1e-9);
    assert_float_equal(x.cpu_hz, 2000.25e6, 1);
    an_sensors_close(s);
    tree_put(root, "/proc/cpuinfo", "processor : 0\ncpu MHz : 2600.0\nflags : fpu hypervisor\n");
    s = open_tree(root, NULL);
    an_sensors_read(s, &x);
    assert_true(isnan(x.cpu_hz));
    assert_non_null(strstr(an_sensors_reason(s, AN_SENSOR_CLOCK), "nominal"));
    an_sensors_close(s);
    tree_free(root);
}

/* No tree at all: everything is missing, and each with a reason. */
static void nothing_is_there(void **state)
{
    (void)state;
    char *root = tree_make();
    an_sensor_sample x;
    an_sensors *s = open_tree(root, NULL);
    an_sensors_read(s, &x);
    const double values[] = {x.energy_j, x.power_w, x.cpu_hz, x.temperature_c, x.cpu_total_s, x.cpu_idle_s, x.cpu_steal_s,
                             x.swap_in_bytes, x.swap_out_bytes, x.throttle_count};
    for (size_t i = 0; i < AN_COUNT_OF(values); i++) assert_true(isnan(values[i]));
    for (int i = 0; i < AN_SENSOR_N; i++) {
        assert_string_equal(an_sensors_source(s, (an_sensor_kind)i), "");
        assert_true(strlen(an_sensors_reason(s, (an_sensor_kind)i)) > 10);
    }
    an_sensors_close(s);
    an_sensors_close(NULL);
    tree_free(root);
}

/* Every file holds something that nobody expects. No value may come out that was not there. */
static void rubbish_is_not_believed(void **state)
{
    (void)state;
    static const char *const files[] = {
        RAPL "0/name", RAPL "0/energy_uj", RAPL "0/max_energy_range_uj", RAPL "0/constraint_0_power_limit_uw",
        "/sys/class/hwmon/hwmon0/name", "/sys/class/hwmon/hwmon0/energy1_input", "/sys/class/hwmon/hwmon0/energy1_label",
        "/sys/class/hwmon/hwmon0/temp1_input", "/sys/devices/system/cpu/online",
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count",
        "/sys/class/thermal/thermal_zone0/type", "/sys/class/thermal/thermal_zone0/temp", "/proc/stat", "/proc/vmstat",
        "/proc/cpuinfo"};
    static const char *const texts[] = {"", "\n", "-1", "18446744073709551616", "99999999999999999999999999999999999999", "nan", "inf",
                                        "0x10", "package-0", "coretemp", "cpu ", "cpu  1 2 3", "cpu  -1 -2 -3 -4 -5 -6 -7 -8",
                                        "cpu  18446744073709551615 18446744073709551615 1 1", "pswpin", "pswpin -5\npswpout x",
                                        "cpu MHz : -3\nflags : aperfmperf", "0-", "5-2", "0-99999999999", ",,,"};
    an_rng rng;
    an_rng_seed(&rng, 20261125);
    for (int round = 0; round < 60; round++) {
        char *root = tree_make();
        an_sensor_sample x;
        for (size_t i = 0; i < AN_COUNT_OF(files); i++) {
            char noise[300];
            uint64_t pick = an_rng_below(&rng, AN_COUNT_OF(texts) + 3);
            if (pick < AN_COUNT_OF(texts)) {
                tree_put(root, files[i], texts[pick]);
                continue;
            }
            if (pick == AN_COUNT_OF(texts)) continue;
            for (size_t j = 0; j < sizeof noise; j++) noise[j] = (char)an_rng_below(&rng, pick == AN_COUNT_OF(texts) + 1 ? 256 : 4);
            tree_put_bytes(root, files[i], noise, sizeof noise);
        }
        an_sensors *s = open_tree(root, NULL);
        an_sensors_read(s, &x);
        an_sensors_read(s, &x);
        assert_false(x.cpu_hz < 0 || x.cpu_hz > 1e12);
        assert_false(x.temperature_c < -50 || x.temperature_c > 200);
        assert_false(x.cpu_total_s < 0 || x.cpu_steal_s < 0 || x.swap_in_bytes < 0 || x.throttle_count < 0);
        assert_false(x.energy_j < 0);
        for (int i = 0; i < AN_SENSOR_N; i++)
            assert_true((an_sensors_source(s, (an_sensor_kind)i)[0] == '\0') == (an_sensors_reason(s, (an_sensor_kind)i)[0] != '\0'));
        an_sensors_close(s);
        tree_free(root);
    }
}

static void fails_to_open(const char *command, const char *text)
{
    anemo_error err;
    an_sensors *s;
    const an_sensors_options o = {.root = "/nonexistent", .power_cmd = command};
    uint64_t begin = an_clock_ns();
    assert_fails(an_sensors_open(&s, &o, &err), &err, ANEMO_ERR_INVAL, text);
    assert_true(an_clock_ns() - begin < UINT64_C(5000000000));
}

static void power_command(void **state)
{
    (void)state;
    an_sensor_sample from, to;
    const char *why;
    /* Watts, over and over: 50 a second. */
    an_sensors *s = open_tree("/nonexistent", "while :; do echo 25.5 W; sleep 0.02; done");
    assert_string_equal(an_sensors_source(s, AN_SENSOR_ENERGY), "power-cmd");
    an_sensors_read(s, &from);
    do {
        an_clock_sleep_ns(100000000);
        an_sensors_read(s, &to);
    } while (to.energy_updates - from.energy_updates < 20 && to.t_ns - from.t_ns < UINT64_C(20000000000));
    double seconds = (double)(to.t_ns - from.t_ns) * 1e-9;
    assert_float_equal(an_sensors_energy(s, &from, &to, &why) / seconds, 25.5, 0.3);
    assert_float_equal(to.power_w, 25.5, 1e-9);
    an_sensors_close(s);
    /* A counter that rises by a joule a line, and starts again in between. */
    s = open_tree("/nonexistent", "i=0; while :; do i=$((i+1)); [ $i -gt 12 ] && i=1; echo J $i; sleep 0.02; done");
    an_sensors_read(s, &from);
    an_clock_sleep_ns(700000000);
    an_sensors_read(s, &to);
    double lines = to.energy_updates - from.energy_updates, joules = to.energy_j - from.energy_j;
    assert_true(joules > 0.7 * lines - 2 && joules < 1.1 * lines + 2);
    an_sensors_close(s);
    /* One that is silent after its first value neither blocks nor goes on counting. */
    s = open_tree("/nonexistent", "echo 10; exec sleep 1000");
    an_clock_sleep_ns(3300000000u);
    uint64_t begin = an_clock_ns();
    an_sensors_read(s, &to);
    assert_true(an_clock_ns() - begin < 50000000);
    assert_true(isnan(to.energy_j));
    assert_non_null(strstr(an_sensors_reason(s, AN_SENSOR_ENERGY), "silent"));
    begin = an_clock_ns();
    an_sensors_close(s);
    assert_true(an_clock_ns() - begin < 2000000000u);
    fails_to_open("no-such-command-here", "127");
    fails_to_open("echo warm", "printed 'warm'");
    fails_to_open("exit 3", "exit code 3");
    fails_to_open("echo broken sensor >&2; exit 1", "broken sensor");
    fails_to_open("true", "printed nothing");
    fails_to_open("kill -9 $$", "signal 9");
    fails_to_open("head -c 100000 /dev/zero; echo", "not watts");
    fails_to_open("head -c 100000 /dev/urandom | tr '\\n' x; echo", "not watts");
}

/* A thread that waits for the next value takes no CPU. */
static void waiting_is_free(void **state)
{
    (void)state;
    an_sensors *s = open_tree("/nonexistent", "while :; do echo 1; sleep 1; done");
    an_clock_sleep_ns(50000000);
    uint64_t cpu = an_clock_cpu_ns();
    an_clock_sleep_ns(500000000);
    assert_true(an_clock_cpu_ns() - cpu < 5000000);
    an_sensors_close(s);
}

/* The real machine: whatever it tells is possible, and one reading is short. */
static void this_machine(void **state)
{
    (void)state;
    an_sensors *s = open_tree("", NULL);
    an_sensor_sample x;
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        uint64_t t = an_clock_ns();
        an_sensors_read(s, &x);
        t = an_clock_ns() - t;
        if (t < best) best = t;
    }
    assert_true(best < 1000000);
    assert_false(x.cpu_total_s <= 0 || x.cpu_idle_s < 0 || x.swap_in_bytes < 0);
    an_sensors_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packages_add_up),
        cmocka_unit_test(one_view_is_enough),
        cmocka_unit_test(rights_are_missing),
        cmocka_unit_test(chips_give_energy_or_power),
        cmocka_unit_test(clocks_heat_and_counters),
        cmocka_unit_test(nothing_is_there),
        cmocka_unit_test(rubbish_is_not_believed),
        cmocka_unit_test(power_command),
        cmocka_unit_test(waiting_is_free),
        cmocka_unit_test(this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
