/* Cells of 'anemo bench' and 'anemo sweep' once more: each by itself, as they were measured. */
#include "cli/arguments.h"
#include "cli/repeat.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench/cell_run.h"
#include "bench/environment.h"
#include "bench/grammar.h"
#include "os/clock.h"
#include "os/process.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What one cell needs besides the job's. */
typedef struct repeated {
    const an_engine_info *engine;
    an_settings settings;
    uint8_t mask[AN_CPU_MASK_BYTES];
    int n_cpu, priority, n_rep, n_warmup;
} repeated;

/* A cell that was skipped or failed has nothing that could come out the same. */
static bool was_measured(const an_cell *c)
{
    return an_cell_n_timed(c) > 0;
}

static anemo_status read_cell(const an_repeat_job *j, const an_cell *c, repeated *r, anemo_error *err)
{
    anemo_status status;
    const char *mask;
    int64_t nice, n_warmup;
    *r = (repeated){.engine = an_engine_find(c->engine)};
    if (!r->engine)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: the engine '%.30s' is not known to this version of anemo", j->name, c->engine);
    AN_TRY(an_repeat_settings(c->settings, &r->settings, j->name, err));
    AN_TRY(an_json_get_str(c->settings, "cpu_mask", "0x0", &mask, j->name, err));
    AN_TRY(an_grammar_cpu_mask("cpu_mask", mask, r->mask, &r->n_cpu, err));
    AN_TRY(an_json_get_i64(c->settings, "nice", 0, -20, 19, &nice, j->name, err));
    r->priority = (int)nice;
    for (size_t i = 0; i < c->n_rep; i++) {
        r->n_rep += c->reps[i].kind == AN_REP_TIMED;
        r->n_warmup += c->reps[i].kind == AN_REP_WARMUP;
    }
    /* Each block of a sweep has warm-ups of its own; here a cell is begun once. */
    AN_TRY(an_json_get_i64(j->before->workload, "n_warmup", r->n_warmup, 0, 1000, &n_warmup, j->name, err));
    r->n_warmup = (int)n_warmup;
    if (j->n_rep > 0) r->n_rep = j->n_rep;
cleanup:
    return status;
}

anemo_status an_repeat_cells_check(const an_repeat_job *j, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    repeated r;
    if (j->before->n_cell == 0) return an_fail(err, ANEMO_ERR_FORMAT, "%s: the run has no cells", j->name);
    bool any = false;
    for (size_t i = 0; i < j->before->n_cell; i++) {
        if (!was_measured(&j->before->cells[i])) continue;
        any = true;
        AN_TRY(read_cell(j, &j->before->cells[i], &r, err));
    }
    if (!any) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: no cell of the run was measured, so nothing can be repeated", j->name);
cleanup:
    return status;
}

/* The models as they were, under the paths that they have here. */
static anemo_status copy_models(const an_repeat_job *j, an_run *now, anemo_error *err)
{
    for (size_t i = 0; i < j->before->n_model; i++) {
        const an_run_model *m = &j->before->models[i];
        an_run_model *to = an_run_add_model(now);
        if (!to) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        *to = *m;
        to->name = an_strdup(m->name);
        to->path = an_strdup(j->paths[i]);
        to->read_by = an_strdup(m->read_by);
        if (!to->name || !to->path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    return ANEMO_OK;
}

static anemo_status copy_cells(const an_repeat_job *j, an_run *now, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < j->before->n_cell; i++) {
        const an_cell *c = &j->before->cells[i];
        an_cell *to = an_run_add_cell(now);
        if (!to) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        memcpy(to->engine, c->engine, sizeof to->engine);
        memcpy(to->label, c->label, sizeof to->label);
        to->model = c->model;
        to->work = c->work;
        to->stock = c->stock;
        to->named = true;
        to->status = was_measured(c) ? AN_CELL_PENDING : AN_CELL_SKIPPED;
        if (!was_measured(c)) to->reason = an_strdup("it was not measured in the run that is repeated");
        to->settings = c->settings ? json_copy(c->settings) : json_object();
        if (!to->settings) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        AN_TRY(an_cell_make_key(now, to, err));
    }
cleanup:
    return status;
}

/* The meter for all cells: with samples of the bandwidth where there were some. */
static anemo_status open_meter(const an_repeat_job *j, an_run *now, an_meter **meter, anemo_error *err)
{
    an_meter_options o = {.n_thread = 1, .n_cpu = now->environment.cpus_online};
    for (size_t i = 0; i < j->before->n_cell; i++) {
        const an_cell *c = &j->before->cells[i];
        json_int_t threads = json_integer_value(json_object_get(c->settings, "threads"));
        if (threads > o.n_thread && threads <= 1024) o.n_thread = (int)threads;
        for (size_t r = 0; r < c->n_rep; r++)
            o.bandwidth = o.bandwidth || isfinite(c->reps[r].values[AN_FIELD_ID_bandwidth_bps]);
    }
    return an_meter_open(meter, &o, err);
}

anemo_status an_repeat_cells(const an_repeat_job *j, an_run *now, anemo_error *err)
{
    anemo_status status;
    an_client *client = NULL;
    an_meter *meter = NULL;
    an_rng rng;
    int64_t seed;
    double delay;
    uint64_t begin_ns = an_clock_ns();
    an_rng_seed(&rng, an_clock_realtime_ns() ^ begin_ns);
    an_run_new_id(an_clock_realtime_ns(), an_rng_u64(&rng), now->id);
    memcpy(now->kind, j->before->kind, sizeof now->kind);
    now->workload = json_incref(j->before->workload);
    AN_TRY(an_json_get_i64(now->workload, "seed", 1, INT64_MIN, INT64_MAX, &seed, j->name, err));
    AN_TRY(an_json_get_f64(now->workload, "delay_s", 0, &delay, j->name, err));
    an_environment_read(&now->environment);
    AN_TRY(copy_models(j, now, err));
    AN_TRY(copy_cells(j, now, err));
    AN_TRY(open_meter(j, now, &meter, err));
    an_keeper_begin(j->keeper, now);
    for (size_t i = 0; i < now->n_cell && !now->interrupted; i++) {
        repeated r;
        if (!was_measured(&j->before->cells[i])) continue;
        AN_TRY(read_cell(j, &j->before->cells[i], &r, err));
        const an_cell_job job = {.engine = r.engine,
                                 .settings = r.settings,
                                 .n_rep = r.n_rep,
                                 .n_warmup = r.n_warmup,
                                 .block = -1,
                                 .delay_s = delay > 0 && delay < 3600 ? delay : 0,
                                 .url = j->url,
                                 .seed = (uint64_t)seed,
                                 .timeout_ns = j->timeout_ns,
                                 .begin_ns = begin_ns,
                                 .priority = r.priority,
                                 .cpu_mask = r.n_cpu ? r.mask : NULL,
                                 .cpu_mask_bytes = r.n_cpu ? sizeof r.mask : 0,
                                 .meter = meter,
                                 .stop = an_interrupts_watch(),
                                 .progress = an_cli_show_progress,
                                 .progress_ctx = j->progress};
        AN_TRY(an_cell_run(&job, now, i, &client, err));
        an_keeper_cell(j->keeper, now, i);
    }
cleanup:
    an_client_close(client);
    an_meter_close(meter);
    return status;
}
