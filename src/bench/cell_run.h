/*
 * One cell measured by itself: load, warm up, repeat. What `bench` and `sweep` do with each of their cells; `compare` has
 * its own blocks.
 */
#ifndef AN_BENCH_CELL_RUN_H
#define AN_BENCH_CELL_RUN_H

#include "base/error.h"
#include "bench/meter.h"
#include "drivers/driver.h"
#include "record/run.h"

#include <stdbool.h>

typedef struct an_cell_job {
    const an_engine_info *engine;
    an_settings settings;    /* n_ctx 0: the positions that the work needs */
    int n_rep, n_warmup;
    int block;               /* of the first timed repetition, those behind it have the next ones; -1 = none has any */
    double delay_s;          /* before each repetition */
    const char *url;
    uint64_t seed;           /* of the random prompt ids */
    uint64_t timeout_ns;
    uint64_t begin_ns;       /* an_clock_ns() of the run's begin: what start_s counts from; 0 = of this call */
    int priority;            /* niceness of the worker: 0 = as ours; below 0 needs the right to it */
    const uint8_t *cpu_mask; /* [cpu_mask_bytes] CPUs of the worker, bit 0 of byte 0 is CPU 0; NULL = as ours */
    size_t cpu_mask_bytes;
    an_meter *meter;
    const volatile int *stop;
    void (*progress)(void *ctx, const char *what);
    void *progress_ctx;
    /* After each repetition, so that it can be stored; NULL. An error ends the cell. */
    anemo_status (*rep_done)(void *ctx, anemo_error *err);
    void *rep_done_ctx;
} an_cell_job;

/*
 * Measure run->cells[cell] (engine, model, work, label are set; work.kind STEP or GENERATE). A worker of an earlier cell of the same
 * engine, model and settings is taken over from *client where given and left there for the next (client NULL: none is kept; the
 * caller closes the last one). Failing workers are a failed cell with a reason, a missing engine a missing one; a run that is stopped
 * leaves the cell pending and sets run->interrupted. Only faults of our own are errors.
 *
 * Warm-up of a STEP cell is llama-bench's: its whole prompt and one step, at depth 0. Of a GENERATE cell: prompt and 16 steps. A
 * GENERATE cell's depth is a longer prompt, because every generate starts from nothing.
 */
ANEMO_MUST_CHECK anemo_status an_cell_run(const an_cell_job *job, an_run *run, size_t cell, an_client **client,
                                          anemo_error *err);

/* Do workers for all cells of the run fit in memory at once? By the models' sizes and what the environment says is available. */
bool an_cells_fit(const an_run *run);

#endif
