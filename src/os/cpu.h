/* What machine this is: instruction sets, cores, memory. */
#ifndef AN_OS_CPU_H
#define AN_OS_CPU_H

#include <stddef.h>
#include <stdint.h>

/*
 * CPU flags, as far as the operating system lets a program use them. AN_ISA_AMX_* say that the processor and
 * the kernel have it; the permission (arch_prctl) is asked for by the code that uses it.
 */
enum {
    AN_ISA_SSE42 = 1 << 0,
    AN_ISA_AVX2 = 1 << 1, /* AVX2 + FMA + F16C */
    AN_ISA_AVX_VNNI = 1 << 2,
    AN_ISA_AVX512 = 1 << 3, /* F + BW + DQ + VL */
    AN_ISA_AVX512_VNNI = 1 << 4,
    AN_ISA_AVX512_BF16 = 1 << 5,
    AN_ISA_AMX_INT8 = 1 << 6,
    AN_ISA_AMX_BF16 = 1 << 7,
    AN_ISA_NEON = 1 << 16,
    AN_ISA_DOTPROD = 1 << 17,
    AN_ISA_I8MM = 1 << 18,
};

uint32_t an_cpu_isa(void);

/* Names of the set flags separated by spaces ("avx2 avx512 avx512_vnni"); "none" for 0. */
void an_cpu_isa_names(uint32_t isa, char *out, size_t cap);

int an_cpu_online(void); /* logical CPUs online, >= 1 */
int an_cpu_usable(void); /* those this process may use (affinity), >= 1 */

/* "AMD EPYC …", or "unknown". */
void an_cpu_model(char *out, size_t cap);

/* Physical memory and what a new process can take without swapping, cgroup limits included; 0 = unknown. */
uint64_t an_mem_total_bytes(void);
uint64_t an_mem_available_bytes(void);

/* "Linux 6.1.0 x86_64". */
void an_os_name(char *out, size_t cap);

/* One-minute load average; negative when unknown. */
double an_load_average(void);

#endif
