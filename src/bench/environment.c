/* Reading the environment. */
#include "bench/environment.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BUILD_TYPE "sanitizer"
#elif !defined(__OPTIMIZE__)
#define BUILD_TYPE "debug"
#else
#define BUILD_TYPE "release"
#endif

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

void an_environment_read(an_environment *e)
{
    *e = (an_environment){.peak_bandwidth_bps = NAN, .peak_flops = NAN};
    an_clock_rfc3339(an_clock_realtime_ns(), e->date);
    snprintf(e->anemo_version, sizeof e->anemo_version, "%s", ANEMO_VERSION);
    snprintf(e->compiler, sizeof e->compiler, "%s", COMPILER);
    snprintf(e->build_type, sizeof e->build_type, "%s", BUILD_TYPE);
    an_os_name(e->os, sizeof e->os);
    an_cpu_model(e->cpu, sizeof e->cpu);
    an_cpu_isa_names(an_cpu_isa(), e->isa, sizeof e->isa);
    e->cpus_online = an_cpu_online();
    e->cpus_usable = an_cpu_usable();
    e->mem_total_bytes = an_mem_total_bytes();
    e->mem_available_bytes = an_mem_available_bytes();
    e->load_average = an_load_average();
    char *text;
    size_t n;
    if (an_file_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", 64, &text, &n, NULL) == ANEMO_OK) {
        text[strcspn(text, "\n")] = '\0';
        snprintf(e->governor, sizeof e->governor, "%s", text);
        an_free(text);
    }
}
