/*
 * The cells of a benchmark: the product of lists, in the order of llama-bench. Each cell is measured by itself (cell_run.h).
 */
#ifndef AN_BENCH_BENCH_PLAN_H
#define AN_BENCH_BENCH_PLAN_H

#include "base/error.h"
#include "bench/grammar.h"
#include "drivers/driver.h"
#include "record/run.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AN_BENCH_CELLS_MAX = 100000 };

/* What is varied. Every list has at least one value, except n_prompt, n_gen and pg, which may be empty: a 0 in them is no test. */
typedef struct an_bench_grid {
    const an_engine_info **engines;
    size_t n_engine;
    bool named;               /* the user named the engines */
    an_ints n_prompt, n_gen, n_depth, n_batch, n_ubatch, threads, n_gpu_layers;
    an_ints flash_attn;       /* an_tristate */
    int (*pg)[2];             /* [n_pg] prompt and steps of one test */
    size_t n_pg;
    const char *const *kv_k, *const *kv_v, *const *devices; /* [n_…] */
    size_t n_kv_k, n_kv_v, n_device;
    const char *const *masks; /* [n_mask], as written; checked before */
    size_t n_mask;
    const char *layout, *layout_dir; /* of all cells; layout NULL = auto */
    bool pin;
} an_bench_grid;

/* How one cell is to be run. */
typedef struct an_bench_point {
    const an_engine_info *engine;
    an_settings settings; /* n_ctx 0: what the work needs; words borrowed from the grid */
    const char *mask;     /* "0x0" = none */
} an_bench_point;

/*
 * Add a cell to `run`, whose models are there, for every test of every combination whose engine reads the model; points [run->n_cell]
 * tells how to run each. ERR_INVAL: nothing to measure, too many cells, or a named engine that reads none of the models.
 * Gives *points: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_bench_plan(an_run *run, const an_bench_grid *grid, an_bench_point **points,
                                            anemo_error *err);

#endif
