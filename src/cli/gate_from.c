/* The gate from a kept A/A run: whether it may serve, and what it gives. */
#include "cli/gate_from.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "record/verdicts.h"
#include "report/match.h"
#include "store/store.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Noise is of the hour as much as of the machine: neighbours come and go. */
static const uint64_t FRESH_NS = 24u * 3600u * UINT64_C(1000000000);

/* The second copy in a run, which tells its noise; -1 for none. */
static int find_copy(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (run->cells[i].copy_of >= 0 && run->cells[i].copy_of < (int)i) return (int)i;
    return -1;
}

/* Fewer pairs have no interval of 95 % (docs/statistics.md). */
enum { PAIRS_MIN = 6 };

/* Was the pair measured often enough, in the field that told the noise? */
static bool has_interval(const an_run *run, int copy)
{
    for (int f = 0; f < AN_DECISIVE_N; f++) {
        const an_paired p = an_cell_paired(run, copy, run->cells[copy].copy_of, an_decisive_fields[f], true);
        if (p.n >= 2) return p.n >= PAIRS_MIN;
    }
    return false;
}

static anemo_status check_run(an_gate_from *g, anemo_error *err)
{
    const an_run *run = &g->run;
    int copy = find_copy(run);
    if (run->aa_from[0])
        return an_fail(err, ANEMO_ERR_INVAL, "--gate-from: run %s took its gate from run %s; name that one", run->id, run->aa_from);
    if (copy < 0 || !isfinite(run->aa_noise))
        return an_fail(err, ANEMO_ERR_INVAL,
                       "--gate-from: run %s measured no cell against itself; anemo compare MODEL --engine E --aa --tag NAME makes "
                       "a run that did",
                       run->id);
    if (run->refused)
        return an_fail(err, ANEMO_ERR_INVAL, "--gate-from: the gate of run %s failed: %.300s; measure another with --aa", run->id,
                       run->refused);
    if (!has_interval(run, copy))
        return an_fail(err, ANEMO_ERR_INVAL,
                       "--gate-from: run %s has %d block%s, too few to know its noise; measure another with --aa and at least %d",
                       run->id, run->n_block, run->n_block == 1 ? "" : "s", PAIRS_MIN);
    g->cell = run->cells[copy].copy_of;
    return ANEMO_OK;
}

anemo_status an_gate_from_open(an_gate_from *g, const char *name, const char *db, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_store *store = NULL;
    if (!name) return ANEMO_OK;
    an_run_init(&g->run);
    g->found = true;
    AN_TRY(an_store_open(&store, db, AN_STORE_READ, err));
    AN_TRY(an_store_get(store, name, &g->run, err));
    AN_TRY(check_run(g, err));
cleanup:
    an_store_close(store);
    return status;
}

void an_gate_from_free(an_gate_from *g)
{
    if (g->found) an_run_free(&g->run);
    *g = (an_gate_from){0};
}

/* ---- may it serve this run? */

/* The first thing in which the machines differ, as "what: then → now"; false when they are one. */
static bool other_machine(const an_environment *then, const an_environment *now, char *out, size_t cap)
{
    const struct {
        const char *what, *then, *now;
    } texts[] = {{"host", then->host, now->host}, {"CPU", then->cpu, now->cpu}};
    const struct {
        const char *what;
        int then, now;
    } counts[] = {{"CPUs online", then->cpus_online, now->cpus_online}, {"usable CPUs", then->cpus_usable, now->cpus_usable}};
    for (size_t i = 0; i < AN_COUNT_OF(texts); i++)
        if (strcmp(texts[i].then, texts[i].now) != 0) {
            snprintf(out, cap, "%s: %s → %s", texts[i].what, texts[i].then[0] ? texts[i].then : "not known",
                     texts[i].now[0] ? texts[i].now : "not known");
            return true;
        }
    for (size_t i = 0; i < AN_COUNT_OF(counts); i++)
        if (counts[i].then != counts[i].now) {
            snprintf(out, cap, "%s: %d → %d", counts[i].what, counts[i].then, counts[i].now);
            return true;
        }
    double a = (double)then->mem_total_bytes, b = (double)now->mem_total_bytes;
    if (fabs(a - b) <= 0.01 * fmax(a, b)) return false;
    snprintf(out, cap, "memory: %.1f → %.1f GB", a * 1e-9, b * 1e-9);
    return true;
}

static bool same_model(const an_run *a, const an_cell *x, const an_run *b, const an_cell *y)
{
    if (x->model < 0 || y->model < 0) return x->model < 0 && y->model < 0;
    const an_run_model *m = &a->models[x->model], *w = &b->models[y->model];
    return !strcmp(m->name, w->name) && !strcmp(m->container, w->container) && m->bytes == w->bytes;
}

/* The cell of this run that is the A/A run's: by its key, else the first of its engine and model. */
static anemo_status find_cell(an_gate_from *g, const an_run *run, anemo_error *err)
{
    const an_cell *cell = &g->run.cells[g->cell];
    bool engine = false;
    g->here = -1;
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *c = &run->cells[i];
        if (strcmp(c->engine, cell->engine) != 0) continue;
        engine = true;
        if (!same_model(&g->run, cell, run, c)) continue;
        bool same = cell->key[0] && !strcmp(cell->key, c->key);
        if (g->here < 0 || same) g->here = (int)i;
        if (same) break;
    }
    if (g->here >= 0) return ANEMO_OK;
    if (!engine)
        return an_fail(err, ANEMO_ERR_INVAL, "--gate-from: run %s measured the engine %s, which no cell of this comparison has",
                       g->run.id, cell->engine);
    return an_fail(err, ANEMO_ERR_INVAL,
                   "--gate-from: run %s measured %s with %s (%" PRIu64 " bytes), which is no model of this comparison", g->run.id,
                   cell->engine, cell->model >= 0 ? g->run.models[cell->model].name : "a model of its own",
                   cell->model >= 0 ? g->run.models[cell->model].bytes : 0);
}

/* The sentences of a list, "; " between. */
static void warn_of(const an_gate_from *g, const char *what, const json_t *list)
{
    an_str text = {0};
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item) an_str_appendf(&text, "%s%s", i ? "; " : "", json_string_value(item));
    if (text.len) fprintf(stderr, "anemo compare: run %s of --gate-from has %s: %s\n", g->run.id, what, an_str_text(&text));
    an_str_free(&text);
}

static void warn_of_age(const an_gate_from *g)
{
    char limit[21];
    const char *date = g->run.environment.date;
    an_clock_rfc3339(an_clock_realtime_ns() - FRESH_NS, limit);
    if (strcmp(date, limit) >= 0) return; /* dates of this form are in order as texts */
    fprintf(stderr, "anemo compare: run %s of --gate-from is older than 24 hours (%s): the machine may be noisier now\n", g->run.id,
            date[0] ? date : "no date");
}

anemo_status an_gate_from_apply(an_gate_from *g, an_run *run, anemo_error *err)
{
    anemo_status status;
    char what[320];
    json_t *list = NULL;
    if (!g->found) return ANEMO_OK;
    if (other_machine(&g->run.environment, &run->environment, what, sizeof what)) {
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "--gate-from: run %s was measured on another machine (%s), whose noise says nothing of this one; measure an "
                         "A/A run here: anemo compare MODEL --engine E --aa --tag NAME",
                         g->run.id, what);
        goto cleanup;
    }
    AN_TRY(find_cell(g, run, err));
    const an_cell *then = &g->run.cells[g->cell], *now = &run->cells[g->here];
    list = an_cell_differences(&g->run, g->cell, run, g->here);
    if (!an_cells_same_work(then, now)) {
        char before[64], here[64];
        an_work_label(&then->work, before, sizeof before);
        an_work_label(&now->work, here, sizeof here);
        json_array_append_new(list, json_sprintf("work: %s → %s", before, here));
    }
    warn_of(g, "other settings", list);
    warn_of_age(g);
    run->aa_noise = g->run.aa_noise;
    snprintf(run->aa_from, sizeof run->aa_from, "%s", g->run.id);
cleanup:
    json_decref(list);
    return status;
}

static anemo_status refuse(const an_gate_from *g, an_run *run, const an_run_model *then, const an_run_model *now, anemo_error *err)
{
    an_str why = {0};
    an_str_appendf(&why, "run %s, from which the gate was taken, measured other weights of %s (sha256 %.12s…, here %.12s…)", g->run.id,
                   now->name, then->sha256, now->sha256);
    an_free(run->refused);
    run->refused = an_str_take(&why);
    return run->refused ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

anemo_status an_gate_from_check(const an_gate_from *g, an_run *run, anemo_error *err)
{
    if (!g->found) return ANEMO_OK;
    const an_cell *then = &g->run.cells[g->cell], *now = &run->cells[g->here];
    if (then->model >= 0) {
        const an_run_model *m = &g->run.models[then->model], *w = &run->models[now->model];
        if (m->sha256[0] && w->sha256[0] && strcmp(m->sha256, w->sha256) != 0) return refuse(g, run, m, w, err);
    }
    json_t *list = json_array();
    if (strcmp(then->engine_version, now->engine_version) != 0)
        json_array_append_new(list, json_sprintf("%s %s → %s", now->engine, then->engine_version, now->engine_version));
    if (strcmp(g->run.environment.anemo_commit, run->environment.anemo_commit) != 0)
        json_array_append_new(list, json_sprintf("anemo %s → %s", g->run.environment.anemo_commit, run->environment.anemo_commit));
    warn_of(g, "other versions", list);
    json_decref(list);
    return ANEMO_OK;
}
