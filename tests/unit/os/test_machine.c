/* What a machine is, over made-up trees; processes; the page cache; parsers of the kernel's small files. */
#include "unit/os/tree.h"

#include "base/rng.h"
#include "os/clock.h"
#include "os/machine.h"
#include "os/process.h"
#include "os/sysfile.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define CPU "/sys/devices/system/cpu/"

static void laptop(void **state)
{
    (void)state;
    char *root = tree_make();
    an_machine m;
    tree_put(root, CPU "online", "0-7\n");
    tree_put(root, CPU "cpu0/cache/index0/type", "Data\n");
    tree_put(root, CPU "cpu0/cache/index0/level", "1\n");
    tree_put(root, CPU "cpu0/cache/index0/size", "48K\n");
    tree_put(root, CPU "cpu0/cache/index0/shared_cpu_list", "0,4\n");
    tree_put(root, CPU "cpu0/cache/index1/type", "Instruction\n");
    tree_put(root, CPU "cpu0/cache/index1/level", "1\n");
    tree_put(root, CPU "cpu0/cache/index1/size", "32K\n");
    tree_put(root, CPU "cpu0/cache/index3/type", "Unified\n");
    tree_put(root, CPU "cpu0/cache/index3/level", "3\n");
    tree_put(root, CPU "cpu0/cache/index3/size", "16M\n");
    tree_put(root, CPU "cpu0/cache/index3/shared_cpu_list", "0-1,4-5\n");
    tree_put(root, CPU "cpu0/cpufreq/scaling_governor", "powersave\n");
    tree_put(root, CPU "cpu0/cpufreq/scaling_driver", "intel_pstate\n");
    tree_put(root, CPU "cpu0/cpufreq/cpuinfo_max_freq", "4200000\n");
    tree_put(root, CPU "intel_pstate/no_turbo", "0\n");
    tree_put(root, CPU "smt/active", "1\n");
    tree_put(root, "/sys/firmware/acpi/platform_profile", "low-power\n");
    tree_put(root, "/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    tree_put(root, "/sys/devices/system/node/online", "0-1\n");
    tree_put(root, "/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n");
    tree_put(root, "/sys/class/power_supply/AC/type", "Mains\n");
    tree_put(root, "/sys/class/power_supply/AC/online", "0\n");
    tree_put(root, "/sys/class/power_supply/BAT0/type", "Battery\n");
    tree_put(root, "/sys/class/power_supply/BAT0/status", "Discharging\n");
    tree_put(root, "/sys/class/power_supply/BAT0/capacity", "63\n");
    tree_put(root, "/sys/class/power_supply/mouse/type", "Battery\n");
    tree_put(root, "/sys/class/power_supply/mouse/scope", "Device\n");
    tree_put(root, "/proc/meminfo", "MemTotal:       16000000 kB\nMemFree: 5 kB\nMemAvailable:    8000000 kB\nSwapCached: 7 kB\n"
                                    "Cached: 3000000 kB\nSwapTotal: 2000 kB\nSwapFree: 500 kB\n");
    tree_put(root, "/proc/loadavg", "1.25 0.5 0.1 2/300 4242\n");
    tree_put(root, "/proc/sys/kernel/osrelease", "6.1.0\n");
    tree_put(root, "/proc/sys/kernel/version", "#1 SMP\n");
    an_machine_read(&m, root);
    assert_int_equal(m.l1d_bytes, 48 << 10);
    assert_int_equal(m.l2_bytes, 0);
    assert_int_equal(m.l3_bytes, 16 << 20);
    assert_int_equal(m.last_bytes, 16 << 20);
    assert_int_equal(m.last_total_bytes, 32 << 20); /* four of eight CPUs share one */
    assert_string_equal(m.governor, "powersave");
    assert_string_equal(m.driver, "intel_pstate");
    assert_int_equal(m.hz_max, UINT64_C(4200000000));
    assert_int_equal(m.turbo, 1);
    assert_int_equal(m.smt, 1);
    assert_string_equal(m.profile, "low-power");
    assert_string_equal(m.huge_pages, "madvise");
    assert_int_equal(m.n_node, 2);
    assert_string_equal(m.clock_source, "hpet");
    assert_int_equal(m.battery, 1);
    assert_int_equal(m.battery_percent, 63);
    assert_int_equal(m.mem_cached_bytes, UINT64_C(3000000) * 1024);
    assert_int_equal(m.swap_total_bytes - m.swap_free_bytes, 1500 * 1024);
    assert_float_equal(m.load, 1.25, 1e-12);
    assert_string_equal(m.kernel, "6.1.0 #1 SMP");
    assert_string_equal(m.hypervisor, "");
    assert_string_equal(m.container, "");
    assert_true(isnan(m.cgroup_cpus));
    tree_free(root);
}

static void guests_and_limits(void **state)
{
    (void)state;
    an_machine m;
    char *root = tree_make();
    tree_put(root, "/proc/meminfo", "MemTotal: 8000000 kB\n");
    tree_put(root, "/proc/cpuinfo", "processor : 0\nflags : fpu hypervisor sse\n");
    tree_put(root, "/sys/class/dmi/id/sys_vendor", "QEMU\n");
    tree_put(root, "/.dockerenv", "");
    tree_put(root, "/proc/self/cgroup", "0::/a/b\n");
    tree_put(root, "/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    tree_put(root, "/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    tree_put(root, "/sys/fs/cgroup/cpu.max", "800000 100000\n");
    tree_put(root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
    tree_put(root, "/sys/fs/cgroup/a/memory.max", "1073741824\n");
    an_machine_read(&m, root);
    assert_string_equal(m.hypervisor, "KVM");
    assert_string_equal(m.container, "docker");
    assert_float_equal(m.cgroup_cpus, 1.5, 1e-12); /* the tightest of the chain */
    assert_int_equal(m.cgroup_memory_bytes, 1 << 30);
    assert_int_equal(m.battery, -1);
    tree_free(root);

    root = tree_make();
    tree_put(root, "/proc/meminfo", "MemTotal: 8000000 kB\n");
    tree_put(root, "/proc/self/cgroup", "4:memory:/job\n3:cpu,cpuacct:/job\n1:name=systemd:/x\n0::/../../../../etc\n");
    tree_put(root, "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
    tree_put(root, "/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    tree_put(root, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    tree_put(root, "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    tree_put(root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    tree_put(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
    tree_put(root, "/run/systemd/container", "lxc\n");
    an_machine_read(&m, root);
    assert_float_equal(m.cgroup_cpus, 0.5, 1e-12);
    assert_int_equal(m.cgroup_memory_bytes, UINT64_C(2147483648));
    assert_string_equal(m.container, "lxc");
    tree_free(root);

    root = tree_make();
    an_machine_read(&m, root);
    assert_int_equal(m.turbo, -1);
    assert_int_equal(m.smt, -1);
    assert_int_equal(m.n_node, 0);
    assert_true(m.load < 0 && isnan(m.cgroup_cpus) && m.mem_total_bytes == 0);
    tree_free(root);
}

static void processes(void **state)
{
    (void)state;
    char *root = tree_make();
    an_machine_process *list;
    size_t n;
    tree_put(root, "/proc/12/stat", "12 (llama ) (x) server) S 1 12 12 0 -1 4194304 700 0 9 0 250 50 0 0 20 0 3 0 55 1 1\n");
    tree_put_bytes(root, "/proc/12/cmdline", "llama-server\0-m\0a\n.gguf\0", 24);
    tree_put(root, "/proc/13/stat", "13 (broken\n");
    tree_put(root, "/proc/14/status", "no stat\n");
    tree_put(root, "/proc/self/stat", "1 (x) S\n");
    tree_put(root, "/proc/99999999999999999999999/stat", "1 (x) S 1 1 1 1 1 1 1 1 1 1 1 1\n");
    assert_true(an_machine_processes(root, &list, &n));
    assert_int_equal(n, 1);
    assert_int_equal(list[0].pid, 12);
    assert_string_equal(list[0].name, "llama ) (x) server");
    assert_string_equal(list[0].command, "llama-server -m a?.gguf");
    assert_float_equal(list[0].cpu_s, 300.0 / (double)sysconf(_SC_CLK_TCK), 1e-9);
    an_free(list);
    tree_free(root);
    assert_false(an_machine_processes("/nonexistent", &list, &n));
    /* The real one knows us. */
    bool found = false;
    assert_true(an_machine_processes("", &list, &n));
    for (size_t i = 0; i < n; i++) found = found || list[i].pid == getpid();
    assert_true(found);
    an_free(list);
}

static atomic_bool woken;

static void *nap(void *arg)
{
    (void)arg;
    while (!atomic_load(&woken)) an_clock_sleep_ns(1000000);
    return NULL;
}

static void counters_of_a_process(void **state)
{
    (void)state;
    anemo_error err;
    an_process_stat before, after;
    static an_process_switches from, to;
    uint64_t voluntary, involuntary;
    pthread_t t;
    enum { PAGES = 1000 };
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_ok(an_process_stat_read(getpid(), &before, &err), &err);
    assert_true(before.ticks_known);
    assert_true(an_process_switches_read(getpid(), &from));
    assert_int_equal(pthread_create(&t, NULL, nap, NULL), 0);
    char *p = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    madvise(p, PAGES * page, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < PAGES; i++) p[i * page] = 1;
    for (int i = 0; i < 5; i++) an_clock_sleep_ns(1000000);
    uint64_t cpu = an_clock_cpu_ns();
    while (an_clock_cpu_ns() - cpu < 50000000) {
    }
    assert_true(an_process_switches_read(getpid(), &to));
    assert_ok(an_process_stat_read(getpid(), &after, &err), &err);
    assert_true(after.faults_minor - before.faults_minor >= PAGES);
    assert_true(after.user_ns + after.system_ns - before.user_ns - before.system_ns >= 20000000);
    int ended = an_process_switches_between(&from, &to, &voluntary, &involuntary);
    assert_int_equal(ended, 0);
    assert_true(voluntary >= 5);
    atomic_store(&woken, true);
    pthread_join(t, NULL);
    /* The thread that ended is told, and the sums stay sums of what is left. */
    uint64_t v2, i2;
    static an_process_switches last;
    for (int tries = 0; tries < 100; tries++) { /* the kernel takes a moment to forget it */
        assert_true(an_process_switches_read(getpid(), &last));
        if (last.n_thread < to.n_thread) break;
        an_clock_sleep_ns(1000000);
    }
    assert_int_equal(an_process_switches_between(&to, &last, &v2, &i2), 1);
    assert_true(v2 < 1000000 && i2 < 1000000);
    munmap(p, PAGES * page);
    assert_false(an_process_switches_read(4194305, &to));
}

static void page_cache_is_dropped(void **state)
{
    (void)state;
    char *root = tree_make(), path[256];
    anemo_error err;
    an_file_map map;
    int64_t left = 99;
    size_t n = 8 << 20;
    char *data = an_malloc(n);
    memset(data, 7, n);
    tree_put_bytes(root, "/file", data, n);
    an_free(data);
    snprintf(path, sizeof path, "%s/file", root);
    assert_ok(an_file_map_open(&map, path, &err), &err);
    int64_t before = an_file_map_resident(&map);
    an_file_unmap(&map);
    assert_ok(an_file_drop_cache(path, &left, &err), &err);
    /* A file system in memory keeps its pages and says so. */
    assert_true(left >= 0 && left <= before);
    assert_ok(an_file_map_open(&map, path, &err), &err);
    assert_int_equal(an_file_map_resident(&map), left);
    /* One byte that lies alone brings no more than its page; where the system reads in larger units, one of those. */
    const uint8_t *alone = map.data + n / 2 + 100;
    an_file_sparse(alone, 1, true);
    assert_int_equal(*(const volatile uint8_t *)alone, 7);
    an_file_sparse(alone, 1, false);
    int64_t with = an_file_map_resident(&map);
    assert_in_range(with - left, 0, 64 << 10);
    unsigned sum = 0;
    for (uint64_t i = 0; i < map.size; i += 4096) sum += map.data[i];
    assert_int_equal(sum, 7 * (n / 4096)); /* the content is still there */
    an_file_unmap(&map);
    printf("%lld bytes were in the page cache, %lld are left, %lld with a byte read\n", (long long)before, (long long)left,
           (long long)with);
    assert_fails(an_file_drop_cache("/nonexistent", &left, &err), &err, ANEMO_ERR_NOTFOUND, "/nonexistent");
    assert_fails(an_file_drop_cache(root, &left, &err), &err, ANEMO_ERR_INVAL, "directory");
    tree_free(root);
}

static void parsers(void **state)
{
    (void)state;
    char out[16];
    bool counter;
    double v;
    an_sys_cpu_ticks cpu;
    assert_int_equal(an_sys_size("32768K"), 32 << 20);
    assert_int_equal(an_sys_size("1G"), 1 << 30);
    assert_int_equal(an_sys_size("512"), 512);
    const char *const no_sizes[] = {"", "K", "1T", "1KB", "-1K", "99999999999999999999", "18446744073709551615K"};
    for (size_t i = 0; i < AN_COUNT_OF(no_sizes); i++) assert_int_equal(an_sys_size(no_sizes[i]), 0);
    assert_int_equal(an_sys_list_count("0-3,8,10-11"), 7);
    assert_int_equal(an_sys_list_count("5"), 1);
    const char *const no_lists[] = {"", "a", "3-", "3-1", "-1", "1,,2", "1;2", "0-99999999999999999999", "0-65536"};
    for (size_t i = 0; i < AN_COUNT_OF(no_lists); i++) assert_int_equal(an_sys_list_count(no_lists[i]), 0);
    an_sys_choice("always [madvise] never", out, sizeof out);
    assert_string_equal(out, "madvise");
    an_sys_choice("always madvise]", out, sizeof out);
    assert_string_equal(out, "");
    an_sys_choice("[a-word-that-is-too-long-for-it]", out, sizeof out);
    assert_string_equal(out, "a-word-that-is-");
    assert_true(an_sys_cpu_stat("cpu  1 2 3 4\n", &cpu));
    assert_int_equal(cpu.total, 10);
    assert_int_equal(cpu.steal, 0);
    assert_false(an_sys_cpu_stat("cpu0 1 2 3 4\n", &cpu));
    assert_false(an_sys_cpu_stat("cpu  1 2 3 x\n", &cpu));
    assert_false(an_sys_cpu_stat("cpu  18446744073709551615 1 1 1", &cpu));
    const struct {
        const char *line;
        bool good, counter;
        double value;
    } lines[] = {{"25.5", true, false, 25.5}, {" 7 W\r", true, false, 7},  {"J 1.5e3", true, true, 1500}, {"J\t2", true, true, 2},
                 {"0", true, false, 0},       {"", false, false, 0},       {"J", false, false, 0},        {"W", false, false, 0},
                 {"-1", false, false, 0},     {"nan", false, false, 0},    {"inf", false, false, 0},      {"1e7", false, false, 0},
                 {"J -2", false, false, 0},   {"12 watts", false, false, 0}, {"1 2", false, false, 0},    {"J 1e16", false, false, 0}};
    for (size_t i = 0; i < AN_COUNT_OF(lines); i++) {
        bool good = an_sys_power_line(lines[i].line, strlen(lines[i].line), &counter, &v);
        if (good != lines[i].good) fail_msg("'%s'", lines[i].line);
        if (!good) continue;
        assert_int_equal(counter, lines[i].counter);
        assert_float_equal(v, lines[i].value, 1e-12);
    }
    assert_false(an_sys_power_line("1\0002", 3, &counter, &v));
    assert_string_equal(an_sys_value("a: 1\nab:  2\n", "ab"), "2\n");
    assert_null(an_sys_value("xab: 1", "ab"));
    assert_null(an_sys_value("", "a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(laptop),
        cmocka_unit_test(guests_and_limits),
        cmocka_unit_test(processes),
        cmocka_unit_test(counters_of_a_process),
        cmocka_unit_test(page_cache_is_dropped),
        cmocka_unit_test(parsers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
