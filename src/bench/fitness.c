/* The look and its findings. */
#include "bench/fitness.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/process.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = {"ok", "warn", "bad"};
enum { OK, WARN, BAD };

/* Thresholds: shares of time, of memory, degrees. */
#define BUSY_WARN 0.10
#define BUSY_BAD 0.50
#define STEAL_WARN 0.01
#define STEAL_BAD 0.05
#define PROCESS_BUSY 0.10
#define HOT_WARN_C 80
#define HOT_BAD_C 92
#define NOISE_WARN 0.05
#define NOISE_BAD 0.20
static const uint64_t GIB = 1u << 30;

anemo_status an_fitness_look(an_fitness *f, const char *root, uint64_t ns, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_sensors *s = NULL;
    *f = (an_fitness){.build_type = "release", .self = an_process_self()};
    const an_sensors_options o = {.root = root};
    AN_TRY(an_sensors_open(&s, &o, err));
    an_machine_read(&f->machine, root);
    /* The list of processes takes CPU time itself: it is read outside of the counted time. */
    if (!an_machine_processes(root, &f->before, &f->n_before)) f->n_before = 0;
    an_sensors_read(s, &f->from);
    an_clock_sleep_ns(ns);
    an_sensors_read(s, &f->to);
    if (!an_machine_processes(root, &f->after, &f->n_after)) f->n_after = 0;
    snprintf(f->clock_reason, sizeof f->clock_reason, "%s", an_sensors_reason(s, AN_SENSOR_CLOCK));
    snprintf(f->temperature_reason, sizeof f->temperature_reason, "%s", an_sensors_reason(s, AN_SENSOR_TEMPERATURE));
    snprintf(f->energy_source, sizeof f->energy_source, "%s", an_sensors_source(s, AN_SENSOR_ENERGY));
    snprintf(f->energy_reason, sizeof f->energy_reason, "%s", an_sensors_reason(s, AN_SENSOR_ENERGY));
cleanup:
    an_sensors_close(s);
    return status;
}

void an_fitness_free(an_fitness *f)
{
    an_free(f->before);
    an_free(f->after);
    f->before = f->after = NULL;
    f->n_before = f->n_after = 0;
}

/* `what` is a format; `todo` a sentence, or NULL where there is nothing to do. */
static void find(json_t *list, const char *id, int level, const char *todo, const char *what, ...)
    __attribute__((format(printf, 5, 6)));
static void find(json_t *list, const char *id, int level, const char *todo, const char *what, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, what);
    vsnprintf(text, sizeof text, what, ap);
    va_end(ap);
    json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s?}", "id", id, "level", level_names[level], "what", text, "do",
                                          level == OK ? NULL : todo));
}

static void find_build(json_t *list, const an_fitness *f)
{
    bool good = !strcmp(f->build_type, "release");
    find(list, "build", good ? OK : BAD, "build with cmake --preset release; other engines are not concerned", "anemo is a %s build%s",
         f->build_type, good ? "" : ": the native engine's speed means nothing");
}

static void find_clock(json_t *list, const an_fitness *f)
{
    const an_machine *m = &f->machine;
    const char *driver = m->driver[0] ? m->driver : "unknown driver";
    if (!m->governor[0])
        find(list, "governor", OK, NULL, "the system shows no frequency governor: clocks are fixed, or set by firmware or host");
    else if (!strcmp(m->governor, "performance")) find(list, "governor", OK, NULL, "frequency governor 'performance' (%s)", driver);
    else
        find(list, "governor", WARN, "sudo cpupower frequency-set -g performance",
             "frequency governor '%s' (%s): the clock follows the load, so the first seconds of work are slower", m->governor, driver);
    if (m->turbo < 0) find(list, "turbo", OK, NULL, "the system does not show whether turbo is on");
    else
        find(list, "turbo", OK, NULL, m->turbo ? "turbo is on: the clock depends on heat and on how many cores work"
                                               : "turbo is off: slower, and steadier");
    if (m->profile[0] && (strstr(m->profile, "low-power") || strstr(m->profile, "quiet") || strstr(m->profile, "cool")))
        find(list, "profile", BAD, "echo performance | sudo tee /sys/firmware/acpi/platform_profile", "platform profile '%s' holds the machine back",
             m->profile);
    const char *c = m->clock_source;
    bool fast = !*c || !strcmp(c, "tsc") || strstr(c, "arch_sys_counter") || !strcmp(c, "kvm-clock") || strstr(c, "hyperv");
    find(list, "clock_source", fast ? OK : WARN, "boot with clocksource=tsc where the processor allows it",
         fast ? "%s is the kernel's clock" : "%s is the kernel's clock: reading the time takes microseconds", *c ? c : "an unknown source");
}

static void find_cpus(json_t *list, const an_fitness *f)
{
    const an_machine *m = &f->machine;
    if (m->smt > 0) find(list, "smt", OK, NULL, "%d CPUs are threads of fewer cores (SMT): more threads than cores seldom help", f->cpus_online);
    if (f->cpus_usable < f->cpus_online)
        find(list, "affinity", OK, NULL, "this process is bound to %d of %d CPUs", f->cpus_usable, f->cpus_online);
    if (m->n_node > 1)
        find(list, "numa", WARN, "bind to one node: numactl --cpunodebind=0 --membind=0 anemo ...",
             "%d NUMA nodes: speed depends on where memory lies", m->n_node);
    if (m->cgroup_cpus < f->cpus_usable)
        find(list, "cgroup_cpu", BAD, "raise or remove the limit, or use fewer threads than it",
             "a control group allows %.2f CPUs' time: more threads are stopped for part of each period", m->cgroup_cpus);
    else find(list, "cgroup_cpu", OK, NULL, "no control group limits CPU time below the usable CPUs");
}

static void find_load(json_t *list, const an_fitness *f)
{
    double all = f->to.cpu_total_s - f->from.cpu_total_s;
    if (!(all > 0)) {
        find(list, "load", OK, NULL, "the system does not tell how busy its CPUs are");
        return;
    }
    double steal = (f->to.cpu_steal_s - f->from.cpu_steal_s) / all;
    double busy = 1 - (f->to.cpu_idle_s - f->from.cpu_idle_s) / all - steal;
    int level = busy > BUSY_BAD ? BAD : busy > BUSY_WARN ? WARN : OK;
    char average[64] = "";
    if (f->machine.load >= 0) snprintf(average, sizeof average, "; load average %.2f on %d CPUs", f->machine.load, f->cpus_online);
    find(list, "load", level, "stop other work, or wait for it", "%.0f %% of the CPUs' time was used by others while nothing was measured%s",
         100 * fmax(busy, 0), average);
    level = steal > STEAL_BAD ? BAD : steal > STEAL_WARN ? WARN : OK;
    find(list, "steal", level, "use another host or another hour; single figures are not to be trusted, paired ones are",
         "the host gave %.1f %% of this machine's CPU time to others", 100 * steal);
}

static void find_memory(json_t *list, const an_fitness *f)
{
    const an_machine *m = &f->machine;
    double in = f->to.swap_in_bytes - f->from.swap_in_bytes, out = f->to.swap_out_bytes - f->from.swap_out_bytes;
    uint64_t used = m->swap_total_bytes > m->swap_free_bytes ? m->swap_total_bytes - m->swap_free_bytes : 0;
    if (in > 0 || out > 0)
        find(list, "swap", BAD, "free memory: stop what uses it, or take a smaller model", "the machine is swapping now (%.0f KiB in, %.0f KiB out)",
             in / 1024, out / 1024);
    else if (m->mem_total_bytes && used > m->mem_total_bytes / 50)
        find(list, "swap", WARN, "sudo swapoff -a && sudo swapon -a, once enough memory is free",
             "%.1f GB lie in swap: what they belong to will be slow at first", (double)used * 1e-9);
    else find(list, "swap", OK, NULL, m->swap_total_bytes ? "nothing is swapped in or out" : "no swap");
    uint64_t total = m->mem_total_bytes, free_bytes = m->mem_available_bytes;
    if (!total) find(list, "memory", OK, NULL, "the system does not tell its memory");
    else
        find(list, "memory", free_bytes < GIB || free_bytes < total / 10 ? WARN : OK, "stop what uses memory, or take small models",
             "%.1f of %.1f GB are available, %.1f GB hold cached files", (double)free_bytes * 1e-9, (double)total * 1e-9,
             (double)m->mem_cached_bytes * 1e-9);
    if (m->cgroup_memory_bytes)
        find(list, "cgroup_memory", WARN, "models beyond it are refused or killed: raise it for them",
             "a control group allows %.1f GB of memory", (double)m->cgroup_memory_bytes * 1e-9);
    const char *huge = m->huge_pages;
    bool never = !strcmp(huge, "never");
    find(list, "huge_pages", never ? WARN : OK, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
         never ? "transparent huge pages are off: engines that ask for them are slower" : "transparent huge pages: %s", *huge ? huge : "not shown");
}

static void find_heat(json_t *list, const an_fitness *f)
{
    double c = f->to.temperature_c, rise = f->to.throttle_count - f->from.throttle_count;
    if (isnan(c)) find(list, "temperature", OK, NULL, "%s", f->temperature_reason);
    else
        find(list, "temperature", c >= HOT_BAD_C ? BAD : c >= HOT_WARN_C ? WARN : OK, "let it cool down; clean fans and filters",
             "the hottest CPU sensor shows %.0f °C while idle", c);
    if (rise > 0)
        find(list, "throttling", BAD, "let it cool down; clean fans and filters", "the processor is being slowed down because of heat right now");
    else if (f->to.throttle_count > 0)
        find(list, "throttling", WARN, "watch it while it measures: anemo compare reports clocks and throttling",
             "heat has slowed the processor down %.0f times since the system started", f->to.throttle_count);
    else find(list, "throttling", OK, NULL, isnan(f->to.throttle_count) ? "the system counts no thermal throttling" : "heat has never slowed the processor down");
    const an_machine *m = &f->machine;
    char percent[32] = "";
    if (m->battery_percent >= 0) snprintf(percent, sizeof percent, ", %d %% left", m->battery_percent);
    if (m->battery > 0) find(list, "battery", BAD, "plug it in", "runs on battery%s: clocks are held down", percent);
    else find(list, "battery", OK, NULL, m->battery == 0 ? "on mains" : "no battery");
}

static void find_virtual(json_t *list, const an_fitness *f)
{
    const an_machine *m = &f->machine;
    if (m->hypervisor[0])
        find(list, "virtual", WARN, "trust paired comparisons (anemo compare), not single figures",
             "a virtual machine (%s): other guests share its caches and its memory bandwidth", m->hypervisor);
    else find(list, "virtual", OK, NULL, "no virtual machine");
    if (m->container[0]) find(list, "container", OK, NULL, "inside a container (%s)", m->container);
    find(list, "energy", OK, NULL, "%s%s", f->energy_source[0] ? "energy is measured by " : "no energy figures: ",
         f->energy_source[0] ? f->energy_source : f->energy_reason);
}

/* Does this word, without its folder, name an engine's program or module? */
static bool names_engine(const char *word, size_t n)
{
    static const char *const programs[] = {"llama-server", "llama-cli", "llama-bench", "llama-perplexity", "ollama", "vllm", "mlx_lm",
                                           "mlx_lm.server", "mlx_lm.generate", "lms", "lm-studio", "koboldcpp", "koboldcpp.py",
                                           "text-generation-launcher", "text-generation-server", "llamafile", "sglang", "localai",
                                           "local-ai", "jan", "anemo-driver-llama", "anemo-driver-mlx"};
    static const char *const modules[] = {"mlx_lm", "vllm", "llama_cpp.server", "sglang", "aphrodite"};
    const char *end = word + n;
    for (const char *p = word; p < end; p++)
        if (*p == '/') word = p + 1;
    n = (size_t)(end - word);
    for (size_t i = 0; i < AN_COUNT_OF(programs); i++)
        if (strlen(programs[i]) == n && !memcmp(word, programs[i], n)) return true;
    for (size_t i = 0; i < AN_COUNT_OF(modules); i++) {
        size_t len = strlen(modules[i]);
        if (n >= len && !memcmp(word, modules[i], len) && (n == len || (word[len] == '.' && strncmp(word + len, ".log", 4) != 0)))
            return true;
    }
    return false;
}

/* The program itself; of an interpreter also what it runs: "python3 -m vllm…", "python3 /usr/bin/vllm serve". */
static bool is_engine(const an_machine_process *p)
{
    const char *c = p->command;
    size_t n = strcspn(c, " ");
    if (names_engine(c, n)) return true;
    const char *base = c;
    for (size_t i = 0; i < n; i++)
        if (c[i] == '/') base = c + i + 1;
    if (strncmp(base, "python", 6) != 0) return false;
    /* Its options, then the script or module; what follows are the script's own words. */
    while (c[n] == ' ') {
        c += n + 1;
        n = strcspn(c, " ");
        if (*c != '-') return names_engine(c, n);
    }
    return false;
}

typedef struct busy_process {
    const an_machine_process *p;
    double share; /* of one CPU, during the look */
    bool engine;
} busy_process;

static int busiest_first(const void *a, const void *b)
{
    double x = ((const busy_process *)a)->share, y = ((const busy_process *)b)->share;
    return (x < y) - (x > y);
}

static void name_some(an_str *text, const busy_process *list, size_t n, bool engines)
{
    int named = 0, n_more = 0;
    for (size_t i = 0; i < n; i++) {
        if (list[i].engine != engines) continue;
        if (named == 3) n_more++;
        else
            an_str_appendf(text, "%s%s (process %" PRId64 ", %.0f %% of a CPU)", named++ ? ", " : "", list[i].p->name, list[i].p->pid,
                           100 * list[i].share);
    }
    if (n_more) an_str_appendf(text, " and %d more", n_more);
}

static void find_processes(json_t *list, const an_fitness *f)
{
    double seconds = (double)(f->to.t_ns - f->from.t_ns) * 1e-9;
    busy_process *busy = an_calloc(f->n_after ? f->n_after : 1, sizeof *busy);
    an_str engines = {0}, others = {0};
    size_t n = 0, n_engine = 0, n_busy_engine = 0;
    for (size_t i = 0, j = 0; busy && i < f->n_after; i++) {
        const an_machine_process *p = &f->after[i];
        /* Both lists have the same order: the search goes on where the last one ended. */
        size_t tries = 0;
        while (tries < f->n_before && f->before[j].pid != p->pid) {
            j = j + 1 < f->n_before ? j + 1 : 0;
            tries++;
        }
        double before = tries < f->n_before ? f->before[j].cpu_s : p->cpu_s;
        double share = seconds > 0 ? (p->cpu_s - before) / seconds : 0;
        bool engine = is_engine(p);
        if (p->pid == f->self || !p->command[0] || !(engine || share > PROCESS_BUSY)) continue;
        n_engine += engine;
        n_busy_engine += engine && share > PROCESS_BUSY;
        busy[n++] = (busy_process){p, share, engine};
    }
    if (n) qsort(busy, n, sizeof *busy, busiest_first);
    name_some(&engines, busy, n, true);
    name_some(&others, busy, n, false);
    if (n_engine)
        find(list, "engines", n_busy_engine ? BAD : WARN, "stop it: its model takes memory, and requests to it take everything else",
             "another engine is running: %s", an_str_text(&engines));
    else find(list, "engines", OK, NULL, "no other engine is running");
    if (others.len) find(list, "processes", WARN, "stop it, or wait for it", "busy: %s", an_str_text(&others));
    an_str_free(&engines);
    an_str_free(&others);
    an_free(busy);
}

static void find_noise(json_t *list, const an_fitness *f)
{
    if (!f->has_noise) return;
    double p = f->noise.p95_ln_ratio;
    find(list, "noise", p > NOISE_BAD ? BAD : p > NOISE_WARN ? WARN : OK,
         "more repetitions, a quieter hour, or an exclusive machine; differences below it need paired comparisons",
         "the same work differs by up to %.1f %% from one time to the next (95th percentile of %d; coefficient of variation %.1f %%)",
         100 * (exp(p) - 1), f->noise.n - 1, 100 * f->noise.cv);
}

json_t *an_fitness_findings(const an_fitness *f)
{
    json_t *list = json_array();
    if (!list) return NULL;
    find_build(list, f);
    find_load(list, f);
    find_processes(list, f);
    find_clock(list, f);
    find_heat(list, f);
    find_cpus(list, f);
    find_memory(list, f);
    find_virtual(list, f);
    find_noise(list, f);
    return list;
}

int an_fitness_worst(const json_t *findings)
{
    int worst = OK;
    size_t i;
    json_t *item;
    json_array_foreach(findings, i, item)
    {
        const char *level = json_string_value(json_object_get(item, "level"));
        for (int l = WARN; level && l <= BAD; l++)
            if (!strcmp(level, level_names[l]) && l > worst) worst = l;
    }
    return worst;
}
