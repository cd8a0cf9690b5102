/* CPU and memory detection on Linux (and what POSIX gives elsewhere). Built with baseline flags only. */
#include "os/cpu.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "os/file.h"
#include "os/sysfile.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>

static uint64_t xgetbv0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* Tiles must be asked for once in a process; asking again changes nothing. The kernel's numbers are not in old headers. */
static bool tiles_granted(void)
{
#if defined(__linux__)
    enum { REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, REQ_XCOMP_PERM, XTILEDATA) == 0;
#else
    return false;
#endif
}

uint32_t an_cpu_isa(void)
{
    uint32_t a, b, c, d, isa = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    if (c & bit_SSE4_2) isa |= AN_ISA_SSE42;
    bool osxsave = c & bit_OSXSAVE, fma = c & bit_FMA, f16c = c & bit_F16C;
    if (!osxsave) return isa;
    uint64_t xcr0 = xgetbv0();
    bool ymm = (xcr0 & 0x6) == 0x6, zmm = (xcr0 & 0xE6) == 0xE6, tile = (xcr0 & 0x60000) == 0x60000;
    uint32_t a7, b7, c7, d7, a71 = 0, b71, c71, d71;
    if (!__get_cpuid_count(7, 0, &a7, &b7, &c7, &d7)) return isa;
    if (a7 >= 1) __get_cpuid_count(7, 1, &a71, &b71, &c71, &d71);
    if (ymm && (b7 & bit_AVX2) && fma && f16c) isa |= AN_ISA_AVX2;
    if (!(isa & AN_ISA_AVX2)) return isa;
    if (a71 & (1u << 4)) isa |= AN_ISA_AVX_VNNI;
    uint32_t f512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if (zmm && (b7 & f512) == f512) {
        isa |= AN_ISA_AVX512;
        if (c7 & (1u << 11)) isa |= AN_ISA_AVX512_VNNI;
        if (a71 & (1u << 5)) isa |= AN_ISA_AVX512_BF16;
        if (c7 & (1u << 1)) isa |= AN_ISA_AVX512_VBMI;
        if (tile && (d7 & (1u << 24)) && tiles_granted()) {
            if (d7 & (1u << 25)) isa |= AN_ISA_AMX_INT8;
            if (d7 & (1u << 22)) isa |= AN_ISA_AMX_BF16;
        }
    }
    return isa;
}

void an_cpu_hypervisor(char *out, size_t cap)
{
    static const char *const names[][2] = {{"KVMKVMKVM", "KVM"},      {"Microsoft Hv", "Hyper-V"}, {"VMwareVMware", "VMware"},
                                           {"XenVMMXenVMM", "Xen"},   {"VBoxVBoxVBox", "VirtualBox"},
                                           {"TCGTCGTCGTCG", "QEMU"},  {"bhyve bhyve ", "bhyve"}};
    uint32_t a, b, c, d;
    char id[13] = {0};
    out[0] = '\0';
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 31))) return;
    __cpuid(0x40000000, a, b, c, d);
    memcpy(id, &b, 4);
    memcpy(id + 4, &c, 4);
    memcpy(id + 8, &d, 4);
    snprintf(out, cap, "unknown");
    for (size_t i = 0; i < AN_COUNT_OF(names); i++)
        if (!strcmp(id, names[i][0])) snprintf(out, cap, "%s", names[i][1]);
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

void an_cpu_hypervisor(char *out, size_t cap)
{
    (void)cap;
    out[0] = '\0';
}

uint32_t an_cpu_isa(void)
{
    unsigned long cap = getauxval(AT_HWCAP), cap2 = getauxval(AT_HWCAP2);
    uint32_t isa = AN_ISA_NEON;
    if (cap & (1ul << 20)) isa |= AN_ISA_DOTPROD; /* HWCAP_ASIMDDP */
    if (cap2 & (1ul << 13)) isa |= AN_ISA_I8MM;   /* HWCAP2_I8MM */
    return isa;
}
#else
uint32_t an_cpu_isa(void)
{
    return 0;
}

void an_cpu_hypervisor(char *out, size_t cap)
{
    (void)cap;
    out[0] = '\0';
}
#endif

void an_cpu_isa_names(uint32_t isa, char *out, size_t cap)
{
    static const struct {
        uint32_t flag;
        const char *name;
    } names[] = {
        {AN_ISA_SSE42, "sse4.2"},           {AN_ISA_AVX2, "avx2"},
        {AN_ISA_AVX_VNNI, "avx_vnni"},      {AN_ISA_AVX512, "avx512"},
        {AN_ISA_AVX512_VNNI, "avx512_vnni"}, {AN_ISA_AVX512_BF16, "avx512_bf16"},
        {AN_ISA_AVX512_VBMI, "avx512_vbmi"}, {AN_ISA_AMX_INT8, "amx_int8"},      {AN_ISA_AMX_BF16, "amx_bf16"},
        {AN_ISA_NEON, "neon"},              {AN_ISA_DOTPROD, "dotprod"},
        {AN_ISA_I8MM, "i8mm"},
    };
    size_t len = 0;
    snprintf(out, cap, "none");
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (!(isa & names[i].flag) || len >= cap) continue;
        int n = snprintf(out + len, cap - len, "%s%s", len ? " " : "", names[i].name);
        if (n > 0) len += (size_t)n;
    }
}

int an_cpu_online(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (int)n;
}

int an_cpu_usable(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return an_cpu_online();
    int n = CPU_COUNT(&set);
    return n < 1 ? 1 : n;
}

/* The lowest CPU of the core that a CPU belongs to; itself when the system does not tell. */
static int core_of(int cpu)
{
    char path[96], text[64];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", cpu);
    if (!an_sys_read("", path, text, sizeof text, NULL)) return cpu;
    char *end;
    long first = strtol(text, &end, 10);
    return end > text && first >= 0 && first <= cpu ? (int)first : cpu;
}

int an_cpu_order(int *cpus, int cap)
{
    cpu_set_t set, cores, rest;
    int n = 0;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 0;
    CPU_ZERO(&cores);
    CPU_ZERO(&rest);
    for (int cpu = 0; cpu < CPU_SETSIZE && n < cap; cpu++) {
        if (!CPU_ISSET(cpu, &set)) continue;
        int core = core_of(cpu);
        if (CPU_ISSET(core, &cores)) {
            CPU_SET(cpu, &rest);
            continue;
        }
        CPU_SET(core, &cores);
        cpus[n++] = cpu;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE && n < cap; cpu++)
        if (CPU_ISSET(cpu, &rest)) cpus[n++] = cpu;
    return n;
}

/* Value of a "key : value" or "key: value" line of a /proc file; false when absent. */
static bool proc_value(const char *path, const char *key, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    char line[512];
    bool found = false;
    if (!f) return false;
    while (!found && fgets(line, sizeof line, f)) {
        if (!an_str_starts_with(line, key)) continue;
        char *p = strchr(line, ':');
        if (!p) continue;
        for (p++; *p == ' ' || *p == '\t';) p++;
        p[strcspn(p, "\n")] = '\0';
        snprintf(out, cap, "%s", p);
        found = true;
    }
    fclose(f);
    return found;
}

void an_cpu_model(char *out, size_t cap)
{
    if (!proc_value("/proc/cpuinfo", "model name", out, cap)) snprintf(out, cap, "unknown");
}

static uint64_t meminfo_bytes(const char *key)
{
    char text[64];
    if (!proc_value("/proc/meminfo", key, text, sizeof text)) return 0;
    return strtoull(text, NULL, 10) * 1024;
}

uint64_t an_mem_total_bytes(void)
{
    return meminfo_bytes("MemTotal");
}

/* A cgroup file that holds one number; UINT64_MAX for "max" or absent. */
static uint64_t cgroup_number(const char *path)
{
    char *text;
    size_t n;
    uint64_t v = UINT64_MAX;
    if (an_file_read(path, 4096, &text, &n, NULL) != ANEMO_OK) return UINT64_MAX;
    text[strcspn(text, "\n")] = '\0';
    if (!an_parse_u64(text, &v)) v = UINT64_MAX;
    an_free(text);
    return v;
}

uint64_t an_mem_available_bytes(void)
{
    static const char *const limits[][2] = {
        {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"},
        {"/sys/fs/cgroup/memory/memory.limit_in_bytes",
         "/sys/fs/cgroup/memory/memory.usage_in_bytes"},
    };
    uint64_t available = meminfo_bytes("MemAvailable");
    for (size_t i = 0; i < AN_COUNT_OF(limits); i++) {
        uint64_t max = cgroup_number(limits[i][0]), used = cgroup_number(limits[i][1]);
        if (max == UINT64_MAX || used == UINT64_MAX) continue;
        uint64_t left = max > used ? max - used : 0;
        if (available == 0 || left < available) available = left;
    }
    return available;
}

void an_os_name(char *out, size_t cap)
{
    struct utsname u;
    if (uname(&u) == 0)
        snprintf(out, cap, "%s %s %s", u.sysname, u.release, u.machine);
    else
        snprintf(out, cap, "unknown");
}

void an_host_name(char *out, size_t cap)
{
    struct utsname u;
    snprintf(out, cap, "%s", uname(&u) == 0 ? u.nodename : "");
}

double an_load_average(void)
{
    double load;
    return getloadavg(&load, 1) == 1 ? load : -1.0;
}
