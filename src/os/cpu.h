/* What machine this is: instruction sets, cores, memory. */
#ifndef AN_OS_CPU_H
#define AN_OS_CPU_H

#include "base/isa.h"

#include <stddef.h>
#include <stdint.h>

/* AN_ISA_* flags of this CPU. Where it has matrix tiles, asks Linux to let this process (and what it forks) use them. */
uint32_t an_cpu_isa(void);

/* Names of the set flags separated by spaces ("avx2 avx512 avx512_vnni"); "none" for 0. */
void an_cpu_isa_names(uint32_t isa, char *out, size_t cap);

int an_cpu_online(void); /* logical CPUs online, >= 1 */
int an_cpu_usable(void); /* those this process may use (affinity), >= 1 */

/*
 * The first `cap` CPUs that the calling thread may use, in the order in which threads are best put on them: one of each core,
 * then the cores' other ones. Returns how many; 0 when the system does not tell.
 */
int an_cpu_order(int *cpus, int cap);

/* "AMD EPYC …", or "unknown". */
void an_cpu_model(char *out, size_t cap);

/* Who runs this virtual machine, as the processor tells ("KVM", "VMware", …); "" when it tells nothing. */
void an_cpu_hypervisor(char *out, size_t cap);

/* Physical memory and what a new process can take without swapping, cgroup limits included; 0 = unknown. */
uint64_t an_mem_total_bytes(void);
uint64_t an_mem_available_bytes(void);

/* "Linux 6.1.0 x86_64". */
void an_os_name(char *out, size_t cap);

/* Name of this machine; "" when unknown. */
void an_host_name(char *out, size_t cap);

/* One-minute load average; negative when unknown. */
double an_load_average(void);

#endif
