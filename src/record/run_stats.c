/* Figures of a run that its repetitions give. */
#include "record/run.h"

#include <math.h>

static bool counts(const an_rep *rep, an_field_id field)
{
    bool load = field == AN_FIELD_ID_load_cold_s || field == AN_FIELD_ID_load_warm_s;
    return rep->kind == (load ? AN_REP_LOAD : AN_REP_TIMED);
}

size_t an_cell_n_timed(const an_cell *cell)
{
    size_t n = 0;
    for (size_t i = 0; i < cell->n_rep; i++) n += cell->reps[i].kind == AN_REP_TIMED;
    return n;
}

const an_rep *an_cell_timed(const an_cell *cell, size_t i)
{
    for (size_t k = 0; k < cell->n_rep; k++)
        if (cell->reps[k].kind == AN_REP_TIMED && i-- == 0) return &cell->reps[k];
    return NULL;
}

size_t an_cell_values(const an_cell *cell, an_field_id field, double *out, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < cell->n_rep && n < cap; i++)
        if (counts(&cell->reps[i], field) && isfinite(cell->reps[i].values[field]))
            out[n++] = cell->reps[i].values[field];
    return n;
}

an_summary an_cell_summary(const an_cell *cell, an_field_id field)
{
    double values[AN_PAIRS_MAX], work[AN_PAIRS_MAX];
    return an_summarize(values, an_cell_values(cell, field, values, AN_PAIRS_MAX), work);
}

static const an_rep *of_block(const an_cell *cell, int block)
{
    for (size_t i = 0; i < cell->n_rep; i++)
        if (cell->reps[i].kind == AN_REP_TIMED && cell->reps[i].block == block) return &cell->reps[i];
    return NULL;
}

double an_run_margin(const an_run *run)
{
    return !run->aa && isfinite(run->aa_noise) && run->aa_noise > run->margin ? run->aa_noise : run->margin;
}

static an_paired paired(const an_run *run, int a, int b, an_field_id field, bool cov, int n_bootstrap)
{
    static const an_field_id bandwidth = AN_FIELD_ID_bandwidth_bps;
    const an_cell *x = &run->cells[a], *y = &run->cells[b];
    double va[AN_PAIRS_MAX], vb[AN_PAIRS_MAX], ca[AN_PAIRS_MAX], cb[AN_PAIRS_MAX];
    size_t n = 0;
    an_compare_options o = an_compare_defaults();
    o.n_bootstrap = n_bootstrap;
    o.margin = an_run_margin(run);
    if (run->n_look > 0) o.level = an_look_level(run->n_look, o.level);
    for (size_t i = 0; i < x->n_rep && n < AN_PAIRS_MAX; i++) {
        const an_rep *p = &x->reps[i];
        const an_rep *q = p->kind == AN_REP_TIMED && p->block >= 0 ? of_block(y, p->block) : NULL;
        if (!q) continue;
        va[n] = p->values[field];
        vb[n] = q->values[field];
        ca[n] = p->values[bandwidth];
        cb[n] = q->values[bandwidth];
        n++;
    }
    return an_compare_paired(va, vb, cov ? ca : NULL, cov ? cb : NULL, n, &o);
}

an_paired an_cell_paired(const an_run *run, int a, int b, an_field_id field, bool cov)
{
    return paired(run, a, b, field, cov, 0);
}

an_paired an_cell_paired_bootstrap(const an_run *run, int a, int b, an_field_id field, bool cov)
{
    return paired(run, a, b, field, cov, 10000);
}

int an_run_exit_code(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        if (cell->status == AN_CELL_FAILED || (cell->status == AN_CELL_MISSING && cell->named)) return 1;
    }
    return run->interrupted ? anemo_status_exit_code(ANEMO_ERR_INTERRUPTED) : 0;
}
