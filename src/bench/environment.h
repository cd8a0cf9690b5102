/* The machine and the build, as every result keeps them. */
#ifndef AN_BENCH_ENVIRONMENT_H
#define AN_BENCH_ENVIRONMENT_H

#include <jansson.h>
#include <stdint.h>

typedef struct an_environment {
    char date[21]; /* RFC 3339 UTC */
    char anemo_version[32], compiler[128], build_type[32];
    char os[128], cpu[128], isa[256];
    int cpus_online, cpus_usable;
    uint64_t mem_total_bytes, mem_available_bytes;
    double load_average;
    char governor[32]; /* frequency governor, "" when unknown */
} an_environment;

void an_environment_read(an_environment *e);
json_t *an_environment_json(const an_environment *e); /* new reference */

/*
 * What makes this machine unfit to measure now, as sentences (load above a tenth of the CPUs, governor not performance,
 * sanitizer or debug build, less memory than `need_bytes`). New array, perhaps empty.
 */
json_t *an_environment_warnings(const an_environment *e, uint64_t need_bytes);

#endif
