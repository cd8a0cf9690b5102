/* Findings from made-up looks; the look itself over a made-up tree; the figures of noise. */
#include "unit/os/tree.h"

#include "base/rng.h"
#include "bench/environment.h"
#include "bench/fitness.h"

#include <math.h>
#include <unistd.h>

/* A machine that has nothing against measuring. */
static an_fitness quiet_machine(void)
{
    an_fitness f = {.cpus_online = 8, .cpus_usable = 8, .build_type = "release", .self = 1};
    f.machine = (an_machine){.governor = "performance", .driver = "acpi", .turbo = 0, .smt = 0, .n_node = 1, .huge_pages = "madvise",
                             .clock_source = "tsc", .mem_total_bytes = UINT64_C(32) << 30, .mem_available_bytes = UINT64_C(20) << 30,
                             .cgroup_cpus = NAN, .battery = -1, .battery_percent = -1, .load = 0.1};
    f.from = (an_sensor_sample){.t_ns = 0, .cpu_total_s = 1000, .cpu_idle_s = 900, .temperature_c = 40};
    f.to = (an_sensor_sample){.t_ns = 1000000000, .cpu_total_s = 1008, .cpu_idle_s = 907.9, .temperature_c = 40};
    return f;
}

static const char *level_of(const json_t *findings, const char *id, const char **what)
{
    size_t i;
    json_t *item;
    json_array_foreach(findings, i, item)
    {
        if (strcmp(json_string_value(json_object_get(item, "id")), id) != 0) continue;
        *what = json_string_value(json_object_get(item, "what"));
        return json_string_value(json_object_get(item, "level"));
    }
    *what = "";
    return "absent";
}

/* This finding has this level and says `text`; those that are not ok also say what to do. */
static void expect(const an_fitness *f, const char *id, const char *level, const char *text)
{
    const char *what;
    size_t i;
    json_t *item, *list = an_fitness_findings(f);
    const char *got = level_of(list, id, &what);
    if (strcmp(got, level) || !strstr(what, text)) fail_msg("%s is %s: '%s'; expected %s with '%s'", id, got, what, level, text);
    json_array_foreach(list, i, item)
    {
        bool ok = !strcmp(json_string_value(json_object_get(item, "level")), "ok");
        assert_true(ok == json_is_null(json_object_get(item, "do")));
        assert_true(strlen(json_string_value(json_object_get(item, "what"))) > 3);
    }
    assert_int_equal(an_fitness_worst(list) >= (!strcmp(level, "bad") ? 2 : !strcmp(level, "warn") ? 1 : 0), 1);
    json_decref(list);
}

static void a_quiet_machine_is_fit(void **state)
{
    (void)state;
    an_fitness f = quiet_machine();
    json_t *list = an_fitness_findings(&f);
    assert_int_equal(an_fitness_worst(list), 0);
    json_decref(list);
    assert_int_equal(an_fitness_worst(NULL), 0);
}

static void each_fault_is_found(void **state)
{
    (void)state;
    an_fitness f = quiet_machine();
#define EXPECT(change, id, level, text)                                                                                \
    do {                                                                                                               \
        f = quiet_machine();                                                                                           \
        change;                                                                                                        \
        expect(&f, id, level, text);                                                                                   \
    } while (0)
    EXPECT(f.build_type = "debug", "build", "bad", "debug build");
    EXPECT(strcpy(f.machine.governor, "powersave"), "governor", "warn", "'powersave' (acpi)");
    EXPECT(f.machine.governor[0] = '\0', "governor", "ok", "shows no");
    EXPECT(f.machine.turbo = 1, "turbo", "ok", "on");
    EXPECT(strcpy(f.machine.profile, "low-power"), "profile", "bad", "low-power");
    EXPECT(strcpy(f.machine.profile, "performance"), "profile", "absent", "");
    EXPECT(strcpy(f.machine.clock_source, "hpet"), "clock_source", "warn", "hpet");
    EXPECT(f.machine.n_node = 2, "numa", "warn", "2 NUMA nodes");
    EXPECT(f.machine.cgroup_cpus = 2.5, "cgroup_cpu", "bad", "2.50 CPUs");
    EXPECT(f.machine.cgroup_cpus = 8, "cgroup_cpu", "ok", "");
    EXPECT(f.machine.cgroup_memory_bytes = 2000000000, "cgroup_memory", "warn", "2.0 GB");
    EXPECT(f.to.cpu_idle_s = 906, "load", "warn", "25 %");
    EXPECT(f.to.cpu_idle_s = 901, "load", "bad", "88 %");
    EXPECT(f.to.cpu_total_s = NAN, "load", "ok", "does not tell");
    EXPECT(f.to.cpu_steal_s = 0.2, "steal", "warn", "2.5 %");
    EXPECT(f.to.cpu_steal_s = 4, "steal", "bad", "50.0 %");
    EXPECT(f.to.swap_in_bytes = 40960, "swap", "bad", "40 KiB in");
    EXPECT(f.machine.swap_total_bytes = UINT64_C(4) << 30, "swap", "warn", "4.3 GB lie in swap");
    EXPECT(f.machine.mem_available_bytes = 500 << 20, "memory", "warn", "0.5 of 34.4 GB");
    EXPECT(strcpy(f.machine.huge_pages, "never"), "huge_pages", "warn", "off");
    EXPECT(f.to.temperature_c = 85, "temperature", "warn", "85");
    EXPECT(f.to.temperature_c = 99, "temperature", "bad", "99");
    EXPECT(f.to.throttle_count = 3; f.from.throttle_count = 3, "throttling", "warn", "3 times");
    EXPECT(f.to.throttle_count = 5; f.from.throttle_count = 3, "throttling", "bad", "right now");
    EXPECT(f.machine.battery = 1; f.machine.battery_percent = 40, "battery", "bad", "40 % left");
    EXPECT(f.machine.battery = 0, "battery", "ok", "mains");
    EXPECT(strcpy(f.machine.hypervisor, "KVM"), "virtual", "warn", "KVM");
    EXPECT(strcpy(f.machine.container, "podman"), "container", "ok", "podman");
    EXPECT(f.has_noise = true; f.noise = ((an_noise){30, 0.02, 0.01, 0.02}), "noise", "ok", "2.0 %");
    EXPECT(f.has_noise = true; f.noise = ((an_noise){30, 0.02, 0.1, 0.1}), "noise", "warn", "10.5 %");
    EXPECT(f.has_noise = true; f.noise = ((an_noise){30, 0.02, 0.5, 0.5}), "noise", "bad", "64.9 %");
#undef EXPECT
}

static void other_engines_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *command;
        bool engine;
    } commands[] = {
        {"/usr/bin/llama-server -m a.gguf", true},
        {"ollama serve", true},
        {"/opt/venv/bin/python3 -m vllm.entrypoints.openai.api_server", true},
        {"python3 /usr/local/bin/vllm serve org/name", true},
        {"/usr/bin/python3.11 /x/bin/mlx_lm.server --model m", true},
        {"python -m mlx_lm server", true},
        {"tail -f ollama.log", false},
        {"vim vllm.py", false},
        {"python3 train.py --log vllm", false},
        {"python3 mlx_lm.log", false},
        {"grep llama-server", false},
        {"", false},
        {"python3", false},
    };
    for (size_t i = 0; i < AN_COUNT_OF(commands); i++) {
        an_fitness f = quiet_machine();
        an_machine_process before = {.pid = 77, .name = "name", .cpu_s = 5}, after = before;
        snprintf(after.command, sizeof after.command, "%s", commands[i].command);
        f.before = &before;
        f.after = &after;
        f.n_before = f.n_after = 1;
        expect(&f, "engines", commands[i].engine ? "warn" : "ok", commands[i].engine ? "process 77" : "no other");
        expect(&f, "processes", "absent", "");
        after.cpu_s = 5.5; /* half a CPU over the second */
        if (commands[i].engine) expect(&f, "engines", "bad", "50 % of a CPU");
        else if (after.command[0]) expect(&f, "processes", "warn", "name (process 77, 50 % of a CPU)");
        f.self = 77;
        expect(&f, "engines", "ok", "no other");
        expect(&f, "processes", "absent", "");
    }
    /* Many: three are named. */
    an_fitness f = quiet_machine();
    static an_machine_process before[6], after[6];
    for (int i = 0; i < 6; i++) {
        before[i] = after[5 - i] = (an_machine_process){.pid = 100 + i, .command = "make", .name = "make"};
        after[5 - i].cpu_s = 0.2 + 0.1 * i;
    }
    f.before = before;
    f.after = after;
    f.n_before = f.n_after = 6;
    expect(&f, "processes", "warn", "make (process 105, 70 % of a CPU)");
    expect(&f, "processes", "warn", "and 3 more");
}

static void the_look_reads_a_tree(void **state)
{
    (void)state;
    char *root = tree_make();
    anemo_error err;
    an_fitness f;
    tree_put(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "schedutil\n");
    tree_put(root, "/proc/stat", "cpu  100 0 50 800 40 0 0 10 0 0\n");
    tree_put(root, "/proc/vmstat", "pswpin 0\npswpout 0\n");
    tree_put(root, "/proc/500/stat", "500 (ollama) S 1 1 1 0 -1 4194304 7 0 9 0 250 50 0 0 20 0 3 0 55 1 1\n");
    tree_put(root, "/proc/500/cmdline", "ollama serve");
    assert_ok(an_fitness_look(&f, root, 1000000, &err), &err);
    f.cpus_online = f.cpus_usable = 2;
    expect(&f, "governor", "warn", "schedutil");
    expect(&f, "engines", "warn", "ollama");
    expect(&f, "energy", "ok", "no energy figures: this machine has no energy sensor");
    expect(&f, "load", "ok", "does not tell"); /* the counters stand still */
    expect(&f, "memory", "ok", "does not tell");
    an_fitness_free(&f);
    tree_free(root);
    /* Nothing at all, as on a system without /proc. */
    root = tree_make();
    assert_ok(an_fitness_look(&f, root, 0, &err), &err);
    json_t *list = an_fitness_findings(&f);
    assert_true(json_array_size(list) > 10);
    json_decref(list);
    an_fitness_free(&f);
    tree_free(root);
}

static void noise_by_hand(void **state)
{
    (void)state;
    const double flat[] = {2, 2, 2, 2}, zigzag[] = {1, 2, 1, 2, 1};
    an_noise n = an_noise_of(flat, 4);
    assert_float_equal(n.median_s, 2, 1e-12);
    assert_float_equal(n.cv, 0, 1e-12);
    assert_float_equal(n.p95_ln_ratio, 0, 1e-12);
    n = an_noise_of(zigzag, 5);
    assert_float_equal(n.median_s, 1, 1e-12);
    assert_float_equal(n.cv, sqrt(1.2 / 4) / 1.4, 1e-12);
    assert_float_equal(n.p95_ln_ratio, log(2), 1e-12);
    assert_true(isnan(an_noise_of(flat, 1).cv) && isnan(an_noise_of(flat, 31).cv));
    anemo_error err;
    assert_ok(an_noise_measure(2, &n, &err), &err);
    assert_true(n.n == AN_NOISE_REPS && n.median_s > 0 && n.cv >= 0 && n.p95_ln_ratio >= 0);
    assert_fails(an_noise_measure(0, &n, &err), &err, ANEMO_ERR_INVAL, "threads");
}

/* Every result holds the same keys of the machine, whatever it tells. */
static void the_environment_is_whole(void **state)
{
    (void)state;
    an_environment e;
    an_machine nothing;
    char *root = tree_make();
    an_environment_read(&e);
    an_machine_read(&nothing, root);
    json_t *empty = an_environment_machine_json(&nothing);
    assert_true(json_object_size(e.more) >= 20);
    assert_int_equal(json_object_size(e.more), json_object_size(empty));
    const char *key;
    json_t *value;
    json_object_foreach(empty, key, value)
    {
        if (!json_is_null(value)) fail_msg("%s is known of a machine that tells nothing", key);
        assert_non_null(json_object_get(e.more, key));
    }
    /* 40 hexadecimal digits, perhaps "-dirty"; nothing outside of git. */
    size_t digits = strspn(e.anemo_commit, "0123456789abcdef");
    assert_true(e.anemo_commit[0] == '\0' || (digits == 40 && (!e.anemo_commit[40] || !strcmp(e.anemo_commit + 40, "-dirty"))));
    json_decref(empty);
    an_environment_free(&e);
    tree_free(root);
}

/* What a result says of the machine that it was measured on. */
static void warnings_of_a_result(void **state)
{
    (void)state;
    static const struct {
        const char *more, *text;
    } cases[] = {{"{\"on_battery\": true}", "battery"},
                 {"{\"on_battery\": false, \"platform_profile\": \"balanced\", \"cgroup_cpus\": null}", NULL},
                 {"{\"platform_profile\": \"low-power\"}", "'low-power'"},
                 {"{\"cgroup_cpus\": 1.5}", "1.50 CPUs' time of 4"},
                 {"{\"cgroup_cpus\": 4}", NULL},
                 {"{\"swap_total_bytes\": 900000000, \"swap_free_bytes\": 100000000}", "0.8 GB"},
                 {"{\"swap_total_bytes\": 900000000, \"swap_free_bytes\": 899999999}", NULL},
                 {"{\"swap_total_bytes\": \"x\", \"cgroup_cpus\": [], \"platform_profile\": 7, \"on_battery\": \"yes\"}", NULL}};
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_environment e = {.cpus_online = 4, .cpus_usable = 4, .load_average = 0.1, .build_type = "release", .governor = "performance",
                            .mem_total_bytes = 8000000000u, .more = json_loads(cases[i].more, 0, NULL)};
        assert_non_null(e.more);
        json_t *list = an_environment_warnings(&e, 0);
        assert_int_equal(json_array_size(list), cases[i].text != NULL);
        if (cases[i].text && !strstr(json_string_value(json_array_get(list, 0)), cases[i].text)) fail_msg("%s", cases[i].more);
        json_decref(list);
        an_environment_free(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_quiet_machine_is_fit),
        cmocka_unit_test(each_fault_is_found),
        cmocka_unit_test(other_engines_are_found),
        cmocka_unit_test(the_look_reads_a_tree),
        cmocka_unit_test(noise_by_hand),
        cmocka_unit_test(the_environment_is_whole),
        cmocka_unit_test(warnings_of_a_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
