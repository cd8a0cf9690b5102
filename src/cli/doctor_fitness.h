/* The part of anemo doctor that looks at the machine and measures it. */
#ifndef AN_CLI_DOCTOR_FITNESS_H
#define AN_CLI_DOCTOR_FITNESS_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>

typedef struct an_fitness_request {
    bool quick;      /* look only */
    bool quiet;      /* no progress on stderr */
    int n_thread;    /* the most that are measured */
    int cpus_online, cpus_usable;
    const char *build_type; /* borrowed */
} an_fitness_request;

/* Adds "findings", "fit", "probes" and "noise" to report (docs/doctor.md). *worst: 0 ok, 1 warn, 2 bad. ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_cli_measure_fitness(const an_fitness_request *r, json_t *report, int *worst, anemo_error *err);

/* Print them, what is bad first. */
void an_cli_print_fitness(const json_t *report);

#endif
