/* Reading the environment. */
#include "bench/environment.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"

#include <inttypes.h>
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
    *e = (an_environment){0};
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

json_t *an_environment_json(const an_environment *e)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:o, s:s?}", "date", e->date,
                     "anemo_version", e->anemo_version, "compiler", e->compiler, "build_type",
                     e->build_type, "os", e->os, "cpu", e->cpu, "isa", e->isa, "cpus_online",
                     e->cpus_online, "cpus_usable", e->cpus_usable, "mem_total_bytes",
                     (json_int_t)e->mem_total_bytes, "mem_available_bytes",
                     (json_int_t)e->mem_available_bytes, "load_average",
                     e->load_average < 0 ? json_null() : an_json_real(e->load_average), "governor",
                     e->governor[0] ? e->governor : NULL);
}

static void warn(json_t *list, const char *text)
{
    json_array_append_new(list, json_string(text));
}

json_t *an_environment_warnings(const an_environment *e, uint64_t need_bytes)
{
    json_t *list = json_array();
    char text[256];
    if (strcmp(e->build_type, "release") != 0) {
        snprintf(text, sizeof text, "anemo is a %s build: native's speed means nothing", e->build_type);
        warn(list, text);
    }
    if (e->load_average > 0.1 * e->cpus_online) {
        snprintf(text, sizeof text, "Other work was running or had just run: load average %.2f on %d CPUs",
                 e->load_average, e->cpus_online);
        warn(list, text);
    }
    if (e->governor[0] && strcmp(e->governor, "performance") != 0) {
        snprintf(text, sizeof text, "The CPU frequency governor is '%s', not 'performance'", e->governor);
        warn(list, text);
    }
    if (e->mem_available_bytes && need_bytes > e->mem_available_bytes) {
        snprintf(text, sizeof text, "The models need about %" PRIu64 " MiB, %" PRIu64 " MiB are available",
                 need_bytes >> 20, e->mem_available_bytes >> 20);
        warn(list, text);
    }
    return list;
}
