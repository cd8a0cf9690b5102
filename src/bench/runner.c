/* Measuring: loads, warm-up, repetitions in randomised blocks, one observed repetition, a look at what differs. */
#include "bench/bench_internal.h"
#include "bench/cell_run.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "os/clock.h"
#include "stats/sequential.h"

#include <stdio.h>
#include <string.h>

/* The worker of a cell, running: kept from before, or loaded and warmed now. NULL when it cannot be had. */
static an_client *take(an_comparison *c, an_client **clients, size_t cell)
{
    if (c->run.kept_loaded && clients[cell])
        an_client_continue(clients[cell]);
    else
        clients[cell] = an_bench_ready(c, cell);
    return clients[cell];
}

/* Hold it for the next time, or end it: one that failed, and any where they do not all fit. */
static void put_back(const an_comparison *c, an_client **clients, size_t cell)
{
    if (!clients[cell]) return;
    if (c->run.kept_loaded && an_bench_usable(&c->run.cells[cell])) {
        an_client_pause(clients[cell]);
        return;
    }
    an_client_close(clients[cell]);
    clients[cell] = NULL;
}

static void observe(an_comparison *c, an_client **clients, size_t cell)
{
    if (!c->options->observe || an_bench_stopped(c)) return;
    an_bench_progress(c->options, "%s: one repetition that is watched", c->run.cells[cell].label);
    (void)an_bench_repeat(c, cell, clients[cell], AN_REP_OBSERVED, -1, c->options->n_predict);
}

static void run_block(an_comparison *c, an_client **clients, const size_t *order)
{
    const an_comparison_options *o = c->options;
    int block = c->run.n_block;
    for (size_t i = 0; i < c->run.n_cell && !an_bench_stopped(c); i++) {
        size_t k = order[i];
        if (!an_bench_usable(&c->run.cells[k])) continue;
        if (take(c, clients, k) && !an_bench_stopped(c)) {
            an_bench_progress(o, "%s: repetition %d of %s%d", c->run.cells[k].label, block + 1, o->n_rep ? "" : "at most ",
                              o->n_rep ? o->n_rep : o->max_reps);
            /* Where every block loads anew, the watched repetition shares the load of the first. */
            if (an_bench_repeat(c, k, clients[k], AN_REP_TIMED, block, o->n_predict) && block == 0 && !c->run.kept_loaded)
                observe(c, clients, k);
        }
        put_back(c, clients, k);
    }
    if (!an_bench_stopped(c)) c->run.n_block = block + 1;
}

static bool any_usable(const an_comparison *c)
{
    for (size_t i = 0; i < c->run.n_cell; i++)
        if (an_bench_usable(&c->run.cells[i])) return true;
    return false;
}

/* Would another block, as long as those so far, end after the budget? The first one is always made. */
static bool budget_ends(an_comparison *c, uint64_t blocks_begin_ns)
{
    uint64_t now = an_clock_ns(), budget = c->options->budget_ns;
    if (budget == 0 || c->run.n_block == 0) return false;
    uint64_t one = (now - blocks_begin_ns) / (uint64_t)c->run.n_block;
    if (now - c->begin_ns + one <= budget) return false;
    snprintf(c->run.stop_reason, sizeof c->run.stop_reason, "budget");
    return true;
}

static void run_blocks(an_comparison *c, an_client **clients, size_t *order)
{
    an_rng rng;
    uint64_t begin_ns = an_clock_ns();
    an_rng_seed(&rng, c->options->seed);
    while (any_usable(c) && !an_bench_stopped(c)) {
        an_block_order(&rng, c->run.n_cell, order);
        run_block(c, clients, order);
        if (an_bench_stopped(c) || an_bench_enough(c) || budget_ends(c, begin_ns)) break;
    }
}

/* Which cell may read logits for `g`: one of the pair's own model, native first. -1 when none can. */
static int examiner(const an_comparison *c, const an_agreement *g)
{
    int best = -1;
    for (size_t i = 0; i < c->run.n_cell; i++) {
        const an_cell *cell = &c->run.cells[i];
        if (!an_bench_usable(cell) || !cell->can_logits) continue;
        if (cell->model != c->run.cells[g->a].model && cell->model != c->run.cells[g->b].model) continue;
        if (strcmp(cell->engine, "native") == 0) return (int)i;
        if (best < 0) best = (int)i;
    }
    return best;
}

static void examine_differences(an_comparison *c, an_client **clients)
{
    for (size_t i = 0; i < c->run.n_agreement && !an_bench_stopped(c); i++) {
        an_agreement *g = &c->run.agreements[i];
        int by = g->n_same < g->n ? examiner(c, g) : -1;
        if (by < 0) continue;
        an_bench_progress(c->options, "looking at where %s and %s part", c->run.cells[g->a].label,
                          c->run.cells[g->b].label);
        if (!clients[by]) clients[by] = an_bench_start(c, (size_t)by);
        if (!clients[by]) {
            /* Its measurements stand; only the second look failed. */
            c->run.cells[by].status = AN_CELL_OK;
            c->run.cells[by].can_logits = false;
            continue;
        }
        an_client_continue(clients[by]);
        an_bench_examine(c, g, clients[by], by);
        if (c->run.kept_loaded)
            an_client_pause(clients[by]);
        else {
            an_client_close(clients[by]);
            clients[by] = NULL;
        }
    }
}

static anemo_status open_meter(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int n_thread = 1;
    for (size_t i = 0; i < c->run.n_cell; i++)
        if (c->cell_settings[i].threads > n_thread) n_thread = c->cell_settings[i].threads;
    if (n_thread > c->run.environment.cpus_usable) n_thread = c->run.environment.cpus_usable;
    const an_meter_options meter = {.n_thread = n_thread,
                                    .bandwidth = c->options->bandwidth,
                                    .power_cmd = c->options->power_cmd,
                                    .n_cpu = c->run.environment.cpus_online};
    AN_TRY(an_meter_open(&c->meter, &meter, err));
    if (c->options->bandwidth) {
        an_bench_progress(c->options, "measuring what memory and arithmetic of this machine give");
        an_meter_peaks(c->meter, &c->run.environment);
        for (size_t i = 0; i < c->run.n_cell; i++)
            an_meter_peaks_with(c->meter, c->cell_settings[i].threads, &c->run.environment);
    }
cleanup:
    return status;
}

/* Which weights they were. After all measuring, because it reads every file into the page cache. */
static void identify_models(an_comparison *c)
{
    for (size_t i = 0; i < c->run.n_model && !an_bench_stopped(c); i++) {
        an_run_model *m = &c->run.models[i];
        an_bench_progress(c->options, "%s: checksum", m->name);
        an_model_digest(m->path, c->models[i].container, m->sha256);
    }
}

/* Why a cell whose cold load was asked for has no time of one; NULL when it has, or was not asked. */
static const char *no_cold_load(const an_comparison *c, const an_cell *cell)
{
    if (!c->options->cold || an_cell_summary(cell, AN_FIELD_ID_load_cold_s).n > 0) return NULL;
    if (cell->model < 0) return "the server has loaded its model already";
    for (size_t i = 0; i < cell->n_rep; i++)
        if (cell->reps[i].kind == AN_REP_LOAD)
            return !strcmp(cell->reps[i].page_cache, "unknown")
                       ? "the system does not tell what its page cache holds"
                       : "the system kept pages of the model in its cache: another process maps them, or they lie in memory";
    return "the cell was not loaded";
}

/* The last word on every cell: what it lacks on this machine, and how it ended. */
static void finish_cells(an_comparison *c)
{
    for (size_t i = 0; i < c->run.n_cell; i++) {
        an_cell *cell = &c->run.cells[i];
        if (!cell->missing) cell->missing = an_meter_missing(c->meter);
        const char *warm = no_cold_load(c, cell);
        if (warm && cell->missing) json_object_set_new(cell->missing, "load_cold_s", json_string(warm));
        if (cell->status != AN_CELL_PENDING) continue;
        if (an_cell_n_timed(cell) > 0)
            cell->status = AN_CELL_OK;
        else
            cell->reason = an_strdup("the run was ended before its first repetition");
    }
}

anemo_status an_comparison_run(an_comparison *c, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_comparison_options *o = c->options;
    size_t n = c->run.n_cell;
    an_client **clients = an_calloc(n, sizeof *clients);
    size_t *order = an_calloc(n, sizeof *order);
    if (!clients || !order) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    c->begin_ns = an_clock_ns();
    AN_TRY(open_meter(c, err));
    if (o->begun) o->begun(o->changed_ctx, &c->run);
    c->run.kept_loaded = an_cells_fit(&c->run);
    for (size_t i = 0; i < n && o->cold && !an_bench_stopped(c); i++) an_bench_cold_load(c, i);
    for (size_t i = 0; i < n && c->run.kept_loaded && !an_bench_stopped(c); i++) {
        if (an_bench_usable(&c->run.cells[i])) clients[i] = an_bench_ready(c, i);
        put_back(c, clients, i);
    }
    run_blocks(c, clients, order);
    for (size_t i = 0; i < n && c->run.kept_loaded && !an_bench_stopped(c); i++) {
        if (!an_bench_usable(&c->run.cells[i]) || !take(c, clients, i)) continue;
        observe(c, clients, i);
        put_back(c, clients, i);
    }
    c->run.interrupted = an_bench_stopped(c);
    if (c->run.interrupted) snprintf(c->run.stop_reason, sizeof c->run.stop_reason, "interrupted");
    an_bench_count_looks(c);
    AN_TRY(an_bench_gate(&c->run, err));
    AN_TRY(an_bench_check_texts(c, err));
    examine_differences(c, clients);
    finish_cells(c);
    identify_models(c);
cleanup:
    for (size_t i = 0; clients && i < n; i++) an_client_close(clients[i]);
    an_free(clients);
    an_free(order);
    return status;
}
