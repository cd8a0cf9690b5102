/* Reading the machine from /proc and /sys. */
#include "os/machine.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/sysfile.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPU0 "/sys/devices/system/cpu/cpu0/"

static void read_caches(an_machine *m, const char *root, int n_cpu)
{
    int top = 0;
    for (int i = 0; i < 8; i++) {
        char path[96], text[64], kind[32];
        int64_t level;
        snprintf(path, sizeof path, CPU0 "cache/index%d/type", i);
        if (!an_sys_line(root, path, kind, sizeof kind)) continue;
        if (strcmp(kind, "Data") != 0 && strcmp(kind, "Unified") != 0) continue;
        snprintf(path, sizeof path, CPU0 "cache/index%d/level", i);
        if (!an_sys_i64(root, path, &level) || level < 1 || level > 4) continue;
        snprintf(path, sizeof path, CPU0 "cache/index%d/size", i);
        uint64_t bytes = an_sys_line(root, path, text, sizeof text) ? an_sys_size(text) : 0;
        if (bytes == 0 || bytes > UINT64_C(1) << 40) continue;
        if (level == 1) m->l1d_bytes = bytes;
        if (level == 2) m->l2_bytes = bytes;
        if (level == 3) m->l3_bytes = bytes;
        if (level <= top) continue;
        top = (int)level;
        char list[1024];
        snprintf(path, sizeof path, CPU0 "cache/index%d/shared_cpu_list", i);
        int shared = an_sys_line(root, path, list, sizeof list) ? an_sys_list_count(list) : 0;
        if (shared < 1) shared = 1;
        m->last_bytes = bytes;
        m->last_total_bytes = bytes * (uint64_t)((n_cpu + shared - 1) / shared);
    }
}

static uint64_t khz(const char *root, const char *path)
{
    uint64_t v;
    return an_sys_u64(root, path, &v) && v < 100000000 ? v * 1000 : 0;
}

static void read_clock(an_machine *m, const char *root)
{
    uint64_t v;
    an_sys_line(root, CPU0 "cpufreq/scaling_governor", m->governor, sizeof m->governor);
    an_sys_line(root, CPU0 "cpufreq/scaling_driver", m->driver, sizeof m->driver);
    m->hz_min = khz(root, CPU0 "cpufreq/cpuinfo_min_freq");
    m->hz_max = khz(root, CPU0 "cpufreq/cpuinfo_max_freq");
    m->turbo = m->smt = -1;
    if (an_sys_u64(root, "/sys/devices/system/cpu/intel_pstate/no_turbo", &v)) m->turbo = v == 0;
    else if (an_sys_u64(root, "/sys/devices/system/cpu/cpufreq/boost", &v)) m->turbo = v != 0;
    if (an_sys_u64(root, "/sys/devices/system/cpu/smt/active", &v)) m->smt = v != 0;
    an_sys_line(root, "/sys/firmware/acpi/platform_profile", m->profile, sizeof m->profile);
    an_sys_line(root, "/sys/devices/system/clocksource/clocksource0/current_clocksource", m->clock_source,
                sizeof m->clock_source);
}

static uint64_t meminfo(const char *text, const char *key)
{
    const char *value = an_sys_value(text, key);
    uint64_t kib = value ? strtoull(value, NULL, 10) : 0;
    return kib < UINT64_C(1) << 50 ? kib * 1024 : 0;
}

static void read_memory(an_machine *m, const char *root)
{
    char text[8192], list[1024];
    if (an_sys_read(root, "/proc/meminfo", text, sizeof text, NULL)) {
        m->mem_total_bytes = meminfo(text, "MemTotal:");
        m->mem_available_bytes = meminfo(text, "MemAvailable:");
        m->mem_cached_bytes = meminfo(text, "Cached:");
        m->swap_total_bytes = meminfo(text, "SwapTotal:");
        m->swap_free_bytes = meminfo(text, "SwapFree:");
    }
    if (an_sys_line(root, "/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text))
        an_sys_choice(text, m->huge_pages, sizeof m->huge_pages);
    if (an_sys_line(root, "/sys/devices/system/node/online", list, sizeof list)) m->n_node = an_sys_list_count(list);
}

/* A hypervisor shows itself by a CPU flag; the firmware's tables often say whose it is. */
static void read_virtualization(an_machine *m, const char *root)
{
    static const struct {
        const char *text, *name;
    } makers[] = {{"QEMU", "KVM"},   {"KVM", "KVM"},         {"Amazon EC2", "KVM (Amazon EC2)"}, {"Google", "KVM (Google)"},
                  {"VMware", "VMware"}, {"VirtualBox", "VirtualBox"}, {"Microsoft", "Hyper-V"},   {"Xen", "Xen"},
                  {"Parallels", "Parallels"}, {"Apple Virtualization", "Apple"}};
    static const char *const tables[] = {"/sys/class/dmi/id/sys_vendor", "/sys/class/dmi/id/product_name",
                                         "/sys/hypervisor/type"};
    char text[16384];
    bool guest = false;
    if (an_sys_read(root, "/proc/cpuinfo", text, sizeof text, NULL)) {
        const char *flags = an_sys_value(text, "flags");
        size_t n = flags ? strcspn(flags, "\n") : 0;
        const char *at = flags ? strstr(flags, " hypervisor") : NULL;
        guest = at && at < flags + n;
    }
    for (size_t i = 0; i < AN_COUNT_OF(tables) && !m->hypervisor[0]; i++) {
        char name[128];
        if (!an_sys_line(root, tables[i], name, sizeof name)) continue;
        for (size_t j = 0; j < AN_COUNT_OF(makers) && !m->hypervisor[0]; j++)
            if (strstr(name, makers[j].text) && (guest || i == 2 || strcmp(makers[j].text, "Microsoft") != 0))
                snprintf(m->hypervisor, sizeof m->hypervisor, "%s", makers[j].name);
    }
    if (guest && !m->hypervisor[0] && !*root) an_cpu_hypervisor(m->hypervisor, sizeof m->hypervisor);
    if (guest && !m->hypervisor[0]) snprintf(m->hypervisor, sizeof m->hypervisor, "unknown");
}

static void read_container(an_machine *m, const char *root)
{
    char text[4096];
    static const char *const words[] = {"docker", "podman", "libpod", "kubepods", "containerd", "lxc"};
    if (an_sys_read(root, "/run/systemd/container", text, sizeof text, NULL) && strlen(text) < sizeof m->container) {
        an_sys_line(root, "/run/systemd/container", m->container, sizeof m->container);
        return;
    }
    if (an_sys_read(root, "/proc/1/cgroup", text, sizeof text, NULL))
        for (size_t i = 0; i < AN_COUNT_OF(words) && !m->container[0]; i++)
            if (strstr(text, words[i])) snprintf(m->container, sizeof m->container, "%s", words[i]);
    char path[1024];
    snprintf(path, sizeof path, "%s/.dockerenv", root);
    if (!m->container[0] && an_path_probe(path) == AN_PATH_FILE) snprintf(m->container, sizeof m->container, "docker");
    snprintf(path, sizeof path, "%s/run/.containerenv", root);
    if (!m->container[0] && an_path_probe(path) == AN_PATH_FILE) snprintf(m->container, sizeof m->container, "podman");
}

/* Limits of one group of version 2 ("max" is none), or of version 1 (-1, or a number beyond all memory). */
static void read_group(an_machine *m, const char *root, const char *dir)
{
    char path[800], text[64];
    snprintf(path, sizeof path, "%s/cpu.max", dir);
    double quota = NAN, period = NAN;
    if (an_sys_line(root, path, text, sizeof text)) {
        char *end;
        quota = strtod(text, &end);
        if (end == text) quota = NAN;
        else period = strtod(end, NULL);
    } else {
        int64_t q, p;
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", dir);
        bool known = an_sys_i64(root, path, &q);
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", dir);
        if (known && an_sys_i64(root, path, &p)) quota = (double)q, period = (double)p;
    }
    if (quota > 0 && period > 0 && !(quota / period >= m->cgroup_cpus)) m->cgroup_cpus = quota / period;
    static const char *const files[] = {"memory.max", "memory.limit_in_bytes"};
    for (size_t i = 0; i < AN_COUNT_OF(files); i++) {
        uint64_t bytes;
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        if (!an_sys_u64(root, path, &bytes) || bytes == 0 || bytes > INT64_MAX / 2) continue;
        if (m->mem_total_bytes && bytes >= m->mem_total_bytes) continue;
        if (!m->cgroup_memory_bytes || bytes < m->cgroup_memory_bytes) m->cgroup_memory_bytes = bytes;
    }
}

/* A group and all above it: each limits what lies below. */
static void read_group_chain(an_machine *m, const char *root, const char *base, const char *group)
{
    char dir[700];
    snprintf(dir, sizeof dir, "%s%s", base, group);
    size_t n = strlen(dir), least = strlen(base);
    while (n > least && dir[n - 1] == '/') dir[--n] = '\0';
    for (int depth = 0; depth < 64; depth++) {
        read_group(m, root, dir);
        if (n <= least) break;
        while (n > least && dir[n - 1] != '/') n--;
        while (n > least && dir[n - 1] == '/') n--;
        dir[n] = '\0';
    }
}

static void read_groups(an_machine *m, const char *root)
{
    char text[4096];
    m->cgroup_cpus = NAN;
    if (!an_sys_read(root, "/proc/self/cgroup", text, sizeof text, NULL)) snprintf(text, sizeof text, "0::/");
    /* Lines are "number:controllers:path"; version 2 has no controllers. */
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group || strlen(group) > 512 || strstr(group, "..")) continue;
        *controllers++ = *group++ = '\0';
        char base[160];
        if (!*controllers) {
            read_group_chain(m, root, "/sys/fs/cgroup", group);
            read_group_chain(m, root, "/sys/fs/cgroup/unified", group);
            continue;
        }
        if (strlen(controllers) > 100 || (!strstr(controllers, "cpu") && !strstr(controllers, "memory"))) continue;
        snprintf(base, sizeof base, "/sys/fs/cgroup/%s", controllers);
        read_group_chain(m, root, base, group);
        if (!strcmp(controllers, "cpu,cpuacct")) read_group_chain(m, root, "/sys/fs/cgroup/cpu", group);
    }
}

static void read_power(an_machine *m, const char *root)
{
    char dir[1024], **names = NULL;
    size_t n = 0;
    bool mains = false, mains_on = false, discharging = false;
    m->battery = m->battery_percent = -1;
    snprintf(dir, sizeof dir, "%s/sys/class/power_supply", root);
    if (an_dir_list(dir, &names, &n, NULL) != ANEMO_OK) return;
    for (size_t i = 0; i < n && i < 64; i++) {
        char path[512], text[64];
        uint64_t v;
        if (strlen(names[i]) > 200) continue;
        snprintf(path, sizeof path, "/sys/class/power_supply/%s/type", names[i]);
        if (!an_sys_line(root, path, text, sizeof text)) continue;
        if (!strcmp(text, "Mains") || !strcmp(text, "USB")) {
            snprintf(path, sizeof path, "/sys/class/power_supply/%s/online", names[i]);
            if (an_sys_u64(root, path, &v)) mains = true, mains_on = mains_on || v != 0;
        } else if (!strcmp(text, "Battery")) {
            /* Mice and headsets have batteries as well: "scope" says so. */
            snprintf(path, sizeof path, "/sys/class/power_supply/%s/scope", names[i]);
            if (an_sys_line(root, path, text, sizeof text) && !strcmp(text, "Device")) continue;
            m->battery = 0;
            snprintf(path, sizeof path, "/sys/class/power_supply/%s/status", names[i]);
            if (an_sys_line(root, path, text, sizeof text) && !strcmp(text, "Discharging")) discharging = true;
            snprintf(path, sizeof path, "/sys/class/power_supply/%s/capacity", names[i]);
            if (an_sys_u64(root, path, &v) && v <= 100) m->battery_percent = (int)v;
        }
    }
    an_names_free(names);
    if (m->battery == 0 && (discharging || (mains && !mains_on))) m->battery = 1;
}

void an_machine_read(an_machine *m, const char *root)
{
    char text[1024], build[96];
    *m = (an_machine){.load = -1};
    int n_cpu = an_sys_line(root, "/sys/devices/system/cpu/online", text, sizeof text) ? an_sys_list_count(text) : 0;
    read_caches(m, root, n_cpu > 0 ? n_cpu : 1);
    if (an_sys_line(root, "/proc/sys/kernel/osrelease", text, 64)) {
        bool known = an_sys_line(root, "/proc/sys/kernel/version", build, sizeof build);
        snprintf(m->kernel, sizeof m->kernel, "%s%s%s", text, known ? " " : "", known ? build : "");
    }
    read_clock(m, root);
    read_memory(m, root);
    read_virtualization(m, root);
    read_container(m, root);
    read_groups(m, root);
    read_power(m, root);
    if (an_sys_line(root, "/proc/loadavg", text, sizeof text)) {
        text[strcspn(text, " ")] = '\0';
        double load;
        if (an_parse_f64(text, &load) && load >= 0) m->load = load;
    }
}

/* Words of a command line are NUL-terminated in the file. */
static void read_command(const char *root, const char *name, char *out, size_t cap)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/proc/%s/cmdline", root, name);
    char *text;
    size_t n;
    out[0] = '\0';
    if (an_file_read(path, 1 << 20, &text, &n, NULL) != ANEMO_OK) return;
    if (n >= cap) n = cap - 1;
    for (size_t i = 0; i < n; i++) out[i] = text[i] == '\0' ? ' ' : text[i] < 32 || text[i] > 126 ? '?' : text[i];
    while (n > 0 && out[n - 1] == ' ') n--;
    out[n] = '\0';
    an_free(text);
}

bool an_machine_processes(const char *root, an_machine_process **list, size_t *n)
{
    enum { MAX = 65536 };
    char dir[1024], path[128], text[1024], **names = NULL;
    size_t n_name = 0;
    double tick_s = 1.0 / (double)sysconf(_SC_CLK_TCK);
    snprintf(dir, sizeof dir, "%s/proc", root);
    if (an_dir_list(dir, &names, &n_name, NULL) != ANEMO_OK) return false;
    an_machine_process *found = an_calloc(n_name ? n_name : 1, sizeof *found);
    *n = 0;
    for (size_t i = 0; found && i < n_name && *n < MAX; i++) {
        int64_t pid;
        an_sys_pid_ticks ticks;
        if (!isdigit((unsigned char)names[i][0]) || strlen(names[i]) > 20 || !an_parse_i64(names[i], &pid)) continue;
        snprintf(path, sizeof path, "/proc/%s/stat", names[i]);
        if (!an_sys_read(root, path, text, sizeof text, NULL) || !an_sys_pid_stat(text, &ticks)) continue;
        an_machine_process *p = &found[(*n)++];
        p->pid = pid;
        snprintf(p->name, sizeof p->name, "%s", ticks.name);
        read_command(root, names[i], p->command, sizeof p->command);
        p->cpu_s = ((double)ticks.user_ticks + (double)ticks.system_ticks) * tick_s;
    }
    an_names_free(names);
    *list = found;
    return found != NULL;
}
