/* The machine and the build, as every result keeps them. bench/ reads them. */
#ifndef AN_RECORD_ENVIRONMENT_H
#define AN_RECORD_ENVIRONMENT_H

#include "base/error.h"

#include <jansson.h>
#include <stdint.h>

typedef struct an_environment {
    char date[21]; /* RFC 3339 UTC */
    char anemo_version[32], anemo_commit[48], compiler[128], build_type[32];
    char host[64], os[128], cpu[128], isa[256];
    int cpus_online, cpus_usable;
    uint64_t mem_total_bytes, mem_available_bytes;
    double load_average; /* negative when unknown */
    char governor[32];   /* frequency governor, "" when unknown */
    /* Peaks that our probes measured with the run's threads; NaN when they were not run. */
    double peak_bandwidth_bps, peak_flops;
    json_t *more; /* what else is known (caches, THP, turbo, steal, swap, NUMA, virtualization, …): an object or NULL; owned */
} an_environment;

/*
 * The peaks with so many threads where they were measured by themselves (`more`'s "peaks_by_threads"), else the run's; NaN when
 * not known.
 */
typedef struct an_peaks {
    double bandwidth_bps, flops;
} an_peaks;
an_peaks an_environment_peaks(const an_environment *e, int threads);

json_t *an_environment_json(const an_environment *e); /* new reference; `more`'s members stand beside the others */
ANEMO_MUST_CHECK anemo_status an_environment_from_json(an_environment *e, const json_t *obj, const char *name,
                                                       anemo_error *err);
void an_environment_free(an_environment *e);

/*
 * What makes this machine unfit to measure, as sentences (load above a tenth of the CPUs, governor not performance,
 * sanitizer or debug build, battery, low-power profile, a control group's limit, memory in swap, less memory than `need_bytes`). New array, perhaps empty.
 */
json_t *an_environment_warnings(const an_environment *e, uint64_t need_bytes);

#endif
