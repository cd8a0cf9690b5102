/*
 * Is this machine fit to measure? A look at it while it should be idle, then one finding for each question, with what to do.
 * Findings come from what was seen alone, so that tests can make it up.
 */
#ifndef AN_BENCH_FITNESS_H
#define AN_BENCH_FITNESS_H

#include "base/error.h"
#include "bench/noise.h"
#include "os/machine.h"
#include "os/sensors.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_fitness {
    an_machine machine;
    int cpus_online, cpus_usable;
    const char *build_type;            /* "release", "debug", "sanitizer"; borrowed */
    an_sensor_sample from, to;         /* at the look's begin and end */
    char clock_reason[288], temperature_reason[288], energy_source[64], energy_reason[288];
    an_machine_process *before, *after; /* all processes then; owned */
    size_t n_before, n_after;
    int64_t self;                      /* our own process, which does not count */
    bool has_noise;
    an_noise noise;
} an_fitness;

/* Look for `ns` nanoseconds. root: "" in earnest. ERR_NOMEM. an_fitness_free() it. */
ANEMO_MUST_CHECK anemo_status an_fitness_look(an_fitness *f, const char *root, uint64_t ns, anemo_error *err);
void an_fitness_free(an_fitness *f);

/*
 * The findings, in an order of their own: [{"id", "level": "ok" | "warn" | "bad", "what", "do": text or null}]. New reference; NULL
 * when out of memory.
 */
json_t *an_fitness_findings(const an_fitness *f);

/* The worst level among findings: 0 ok, 1 warn, 2 bad. */
int an_fitness_worst(const json_t *findings);

#endif
