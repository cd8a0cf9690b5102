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

typedef struct an_cell_job {
    const an_engine_info *engine;
    an_settings settings;
    int n_rep, n_warmup;
    double delay_s;          /* before each repetition */
    const char *url;
    uint64_t seed;           /* of the random prompt ids */
    uint64_t timeout_ns;
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
 * engine, model and settings is taken over from *client where given and left there for the next (NULL: none is kept). Failing
 * workers are a failed cell with a reason; only faults of our own are errors.
 */
ANEMO_MUST_CHECK anemo_status an_cell_run(const an_cell_job *job, an_run *run, size_t cell, an_client **client,
                                          anemo_error *err);

#endif
