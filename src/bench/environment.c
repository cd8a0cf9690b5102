/* Reading the environment. */
#include "bench/environment.h"

#include "base/json.h"
#include "os/clock.h"
#include "os/cpu.h"

#include <anemo_commit.h>
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

static json_t *text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

static json_t *count_or_null(uint64_t n)
{
    return n > 0 && n <= INT64_MAX ? json_integer((json_int_t)n) : json_null();
}

static json_t *switch_or_null(int state)
{
    return state < 0 ? json_null() : json_boolean(state);
}

json_t *an_environment_machine_json(const an_machine *m)
{
    json_t *obj = json_object();
    json_object_set_new(obj, "kernel", text_or_null(m->kernel));
    json_object_set_new(obj, "cache_l1d_bytes", count_or_null(m->l1d_bytes));
    json_object_set_new(obj, "cache_l2_bytes", count_or_null(m->l2_bytes));
    json_object_set_new(obj, "cache_l3_bytes", count_or_null(m->l3_bytes));
    json_object_set_new(obj, "cache_last_total_bytes", count_or_null(m->last_total_bytes));
    json_object_set_new(obj, "frequency_driver", text_or_null(m->driver));
    json_object_set_new(obj, "frequency_min_hz", count_or_null(m->hz_min));
    json_object_set_new(obj, "frequency_max_hz", count_or_null(m->hz_max));
    json_object_set_new(obj, "turbo", switch_or_null(m->turbo));
    json_object_set_new(obj, "smt", switch_or_null(m->smt));
    json_object_set_new(obj, "platform_profile", text_or_null(m->profile));
    json_object_set_new(obj, "numa_nodes", m->n_node ? json_integer(m->n_node) : json_null());
    json_object_set_new(obj, "transparent_huge_pages", text_or_null(m->huge_pages));
    json_object_set_new(obj, "hypervisor", text_or_null(m->hypervisor));
    json_object_set_new(obj, "container", text_or_null(m->container));
    json_object_set_new(obj, "clock_source", text_or_null(m->clock_source));
    json_object_set_new(obj, "mem_cached_bytes", count_or_null(m->mem_cached_bytes));
    json_object_set_new(obj, "swap_total_bytes", m->mem_total_bytes ? json_integer((json_int_t)m->swap_total_bytes) : json_null());
    json_object_set_new(obj, "swap_free_bytes", m->mem_total_bytes ? json_integer((json_int_t)m->swap_free_bytes) : json_null());
    json_object_set_new(obj, "cgroup_cpus", an_json_real(m->cgroup_cpus));
    json_object_set_new(obj, "cgroup_memory_bytes", count_or_null(m->cgroup_memory_bytes));
    json_object_set_new(obj, "on_battery", switch_or_null(m->battery));
    json_object_set_new(obj, "battery_percent", m->battery_percent < 0 ? json_null() : json_integer(m->battery_percent));
    return obj;
}

void an_environment_read(an_environment *e)
{
    an_machine m;
    an_machine_read(&m, "");
    *e = (an_environment){.peak_bandwidth_bps = NAN, .peak_flops = NAN};
    an_clock_rfc3339(an_clock_realtime_ns(), e->date);
    snprintf(e->anemo_version, sizeof e->anemo_version, "%s", ANEMO_VERSION);
    snprintf(e->anemo_commit, sizeof e->anemo_commit, "%s", ANEMO_COMMIT);
    snprintf(e->compiler, sizeof e->compiler, "%s", COMPILER);
    snprintf(e->build_type, sizeof e->build_type, "%s", BUILD_TYPE);
    an_host_name(e->host, sizeof e->host);
    an_os_name(e->os, sizeof e->os);
    an_cpu_model(e->cpu, sizeof e->cpu);
    an_cpu_isa_names(an_cpu_isa(), e->isa, sizeof e->isa);
    e->cpus_online = an_cpu_online();
    e->cpus_usable = an_cpu_usable();
    e->mem_total_bytes = an_mem_total_bytes();
    e->mem_available_bytes = an_mem_available_bytes();
    e->load_average = an_load_average();
    snprintf(e->governor, sizeof e->governor, "%s", m.governor);
    e->more = an_environment_machine_json(&m);
}
