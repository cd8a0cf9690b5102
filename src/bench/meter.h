/*
 * What the operating system and the sensors say of a worker over one repetition. One meter serves a whole run; it knows the
 * machine's sensors and the bandwidth probe.
 */
#ifndef AN_BENCH_METER_H
#define AN_BENCH_METER_H

#include "base/error.h"
#include "record/run.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct an_meter an_meter;

typedef struct an_meter_options {
    int n_thread;          /* of the bandwidth samples */
    bool bandwidth;        /* take a sample before and after each repetition */
    const char *power_cmd; /* or NULL */
    int n_cpu;             /* CPUs online */
} an_meter_options;

ANEMO_MUST_CHECK anemo_status an_meter_open(an_meter **out, const an_meter_options *o, anemo_error *err);
void an_meter_close(an_meter *m); /* NULL is fine */

/* Right before the request goes to the worker `pid` (0: not a worker of ours, machine figures only). */
void an_meter_begin(an_meter *m, int64_t pid);
/* Right after its answer: fills CPU, memory, faults, switches, energy, clock, bandwidth of rep->values; then an_rep_derive(). */
void an_meter_end(an_meter *m, an_rep *rep);

/* {field: reason} of what this machine cannot tell. New reference, NULL when out of memory. */
json_t *an_meter_missing(const an_meter *m);

/* mbu, mfu, bytes_per_token of a finished rep from the model's figures and the environment's peaks. */
void an_meter_efficiency(an_rep *rep, const an_run_model *model, const an_cell *cell, const an_environment *e);

#endif
