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
    int n_thread;          /* of the bandwidth samples; at least 1 is taken */
    bool bandwidth;        /* take a sample before and after each repetition */
    const char *power_cmd; /* or NULL */
    int n_cpu;             /* CPUs online */
} an_meter_options;

/*
 * Find the sensors, open the probe, and where there is an energy sensor measure idle power (half a second or more). A probe without
 * memory is no failure: its fields are missing then. ERR_NOMEM; ERR_INVAL for a power command that does not work.
 */
ANEMO_MUST_CHECK anemo_status an_meter_open(an_meter **out, const an_meter_options *o, anemo_error *err);
void an_meter_close(an_meter *m); /* NULL is fine */

/*
 * Right before the request goes to the worker `pid` (0: not a worker of ours, machine figures only). Takes 10 ms for the
 * bandwidth sample and below 1 ms for the rest.
 */
void an_meter_begin(an_meter *m, int64_t pid);
/*
 * Right after its answer, with the rep's tokens or total_s already set: fills CPU, memory, faults, switches, energy, clock,
 * bandwidth of rep->values; then an_rep_derive().
 */
void an_meter_end(an_meter *m, an_rep *rep);

/*
 * Measure the machine's peaks with the meter's threads into e->peak_bandwidth_bps and e->peak_flops (the best of f32, int8 and
 * tiles; each by itself in e->more), and the sensors' names. Takes about 0.7 s; opens a probe for it where the meter has none.
 */
void an_meter_peaks(an_meter *m, an_environment *e);
/*
 * The same with `threads` of them, fewer than the meter has, for cells that use so many: into e->more's "peaks_by_threads". Nothing
 * is done when that is known, or where the meter's own peaks are not. Takes about 0.7 s, and as much memory as the meter's probe.
 */
void an_meter_peaks_with(an_meter *m, int threads, an_environment *e);

/*
 * {field: reason} of what this machine could not tell of the last repetition, or will not before the first one. New reference, NULL
 * when out of memory.
 */
json_t *an_meter_missing(const an_meter *m);

/*
 * mbu, mfu, bytes_per_token of a finished rep from the model's figures and the environment's peaks; NULL model: none. Values above 1 are
 * kept: report/why.h tells what they mean.
 */
void an_meter_efficiency(an_rep *rep, const an_run_model *model, const an_cell *cell, const an_environment *e);

#endif
