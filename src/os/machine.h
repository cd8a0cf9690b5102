/*
 * What this machine is and how it is set up, as far as its system tells: caches, clocks, memory, power, virtualization,
 * limits. Files that are not there (containers, other systems) leave a member unknown.
 */
#ifndef AN_OS_MACHINE_H
#define AN_OS_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_machine {
    uint64_t l1d_bytes, l2_bytes, l3_bytes; /* of one instance; 0 = unknown */
    uint64_t last_bytes, last_total_bytes;  /* level furthest from the CPU: one instance, and all of them */
    char kernel[128];        /* release and build of the kernel */
    char governor[32], driver[32]; /* of CPU 0's frequency; "" = unknown */
    uint64_t hz_min, hz_max; /* 0 = unknown */
    int turbo, smt;          /* 1 on, 0 off, -1 unknown */
    char profile[32];        /* platform profile: "performance", "balanced", "low-power"; "" = unknown */
    int n_node;              /* NUMA nodes; 0 = unknown */
    char huge_pages[16];     /* transparent ones: "always", "madvise", "never"; "" = unknown */
    char hypervisor[64];     /* "KVM", "VMware", …; "" = none known */
    char container[32];      /* "docker", "podman", "lxc", …; "" = none known */
    char clock_source[32];   /* of the kernel's time; "" = unknown */
    uint64_t mem_total_bytes, mem_available_bytes, mem_cached_bytes; /* of /proc/meminfo; 0 = unknown */
    uint64_t swap_total_bytes, swap_free_bytes;
    double cgroup_cpus;            /* CPUs' worth of time that control groups allow; NaN = no limit */
    uint64_t cgroup_memory_bytes;  /* 0 = no limit */
    int battery;                   /* 1 running on it, 0 on mains with a battery, -1 no battery */
    int battery_percent;           /* -1 = unknown */
    double load;                   /* one-minute load average; negative = unknown */
} an_machine;

/* root: "" in earnest; a folder that holds a made-up /proc and /sys in tests. Never fails. */
void an_machine_read(an_machine *m, const char *root);

/* One process of the machine. */
typedef struct an_machine_process {
    int64_t pid;
    char name[20];     /* as the kernel has it */
    char command[160]; /* its command line, blanks between words; "" for the kernel's own */
    double cpu_s;      /* user and system, since it began */
} an_machine_process;

/*
 * All processes: gives *list (an_free) and *n. False when memory is short or there is no /proc; then nothing is owed. At most
 * 65536.
 */
bool an_machine_processes(const char *root, an_machine_process **list, size_t *n);

#endif
