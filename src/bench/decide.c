/* When a comparison knows enough, and whether it may be believed: the stop rule and the A/A gate. */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "record/verdicts.h"
#include "stats/sequential.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Value of a field in each block, NaN where there is none. */
static void by_block(const an_cell *cell, an_field_id field, double *out, int n_block)
{
    for (int b = 0; b < n_block; b++) out[b] = NAN;
    for (size_t i = 0; i < cell->n_rep; i++) {
        const an_rep *rep = &cell->reps[i];
        if (rep->kind == AN_REP_TIMED && rep->block >= 0 && rep->block < n_block) out[rep->block] = rep->values[field];
    }
}

/* A look at one field of the cells that are still measured; PRECISE also where none has it. */
static an_stop look(const an_comparison *c, an_field_id field, const an_stop_rule *rule)
{
    const an_run *run = &c->run;
    size_t n = 0, n_block = (size_t)run->n_block;
    an_stop stop = AN_STOP_GO_ON;
    double *values = an_calloc(2 * run->n_cell * n_block + 1, sizeof *values);
    const double **rows = an_calloc(2 * run->n_cell, sizeof *rows), **cov = rows ? rows + run->n_cell : NULL;
    if (!values || !rows) goto cleanup;
    for (size_t i = 0; i < run->n_cell; i++) {
        if (!an_bench_usable(&run->cells[i])) continue;
        double *v = values + 2 * n * n_block, *bandwidth = v + n_block;
        by_block(&run->cells[i], field, v, run->n_block);
        by_block(&run->cells[i], AN_FIELD_ID_bandwidth_bps, bandwidth, run->n_block);
        rows[n] = v;
        cov[n] = bandwidth;
        n++;
    }
    stop = an_sequential_look(rows, cov, n, run->n_block, rule);
cleanup:
    an_free(values);
    an_free(rows);
    return stop;
}

/*
 * Would a difference that the intervals show be taken back by the correction for several comparisons? Few blocks cannot give the
 * p that it asks for: six give 1/32 at best. Then a later look decides.
 */
static bool correction_undoes(const an_run *run, an_field_id field)
{
    bool undone = false;
    an_run_verdict *list = an_calloc(AN_VERDICTS_MAX, sizeof *list);
    size_t n = list ? an_run_verdicts(run, field, list, AN_VERDICTS_MAX) : 0;
    for (size_t i = 0; i < n; i++) {
        an_verdict alone = an_cell_paired(run, list[i].cell, list[i].against, field, true).verdict;
        undone |= (alone == AN_VERDICT_LOWER || alone == AN_VERDICT_HIGHER) && list[i].pair.verdict == AN_VERDICT_UNDECIDED;
    }
    an_free(list);
    return undone;
}

bool an_bench_enough(an_comparison *c)
{
    const an_comparison_options *o = c->options;
    an_run *run = &c->run;
    bool precise = true;
    int max_blocks = o->n_rep ? o->n_rep : o->max_reps;
    const an_stop_rule rule = {.precision = o->precision, .margin = an_run_margin(run), .level = 0.95, .max_blocks = max_blocks};
    if (run->n_block >= max_blocks) {
        snprintf(run->stop_reason, sizeof run->stop_reason, "blocks");
        return true;
    }
    if (o->n_rep || !an_look_due(run->n_block, max_blocks)) return false;
    run->n_look = an_look_count(run->n_block);
    for (int f = 0; f < AN_DECISIVE_N && precise; f++)
        precise = look(c, an_decisive_fields[f], &rule) == AN_STOP_PRECISE && !correction_undoes(run, an_decisive_fields[f]);
    if (precise) snprintf(run->stop_reason, sizeof run->stop_reason, "precise");
    return precise;
}

void an_bench_count_looks(an_comparison *c)
{
    /* Whoever fixes the number of blocks beforehand looks once, at the plain level. */
    bool looked = !c->options->n_rep && c->run.n_block > 0;
    c->run.n_look = looked ? an_look_count(c->run.n_block) : 0;
}

/* The largest |ln ratio| that the interval of two equal cells still allows. */
static double noise_of(const an_paired *p)
{
    double lo = fabs(log(p->lo)), hi = fabs(log(p->hi));
    return lo > hi ? lo : hi;
}

anemo_status an_bench_gate(an_run *run, anemo_error *err)
{
    an_str why = {0};
    int copy = -1;
    for (size_t i = 0; i < run->n_cell; i++)
        if (run->cells[i].copy_of >= 0 && an_cell_n_timed(&run->cells[i]) > 0) copy = (int)i;
    if (copy < 0 || an_cell_n_timed(&run->cells[run->cells[copy].copy_of]) == 0) return ANEMO_OK;
    int original = run->cells[copy].copy_of;
    double noise = NAN;
    for (int f = 0; f < AN_DECISIVE_N; f++) {
        const an_paired pair = an_cell_paired(run, copy, original, an_decisive_fields[f], true), *p = &pair;
        /* The first decisive field that there is tells the noise: decode speed, else the time to the first token. */
        if (p->n >= 2 && !isfinite(noise)) noise = noise_of(p);
        if (p->verdict != AN_VERDICT_LOWER && p->verdict != AN_VERDICT_HIGHER) continue;
        an_str_appendf(&why, "%s%s of %s is %.3f times (%.3f to %.3f, %zu pairs) that of %s, though both are the same",
                       why.len ? "; " : "", an_field_get(an_decisive_fields[f])->name, run->cells[copy].label, p->ratio, p->lo,
                       p->hi, p->n, run->cells[original].label);
    }
    run->aa_noise = noise;
    if (why.len == 0) return ANEMO_OK;
    an_free(run->refused);
    run->refused = an_str_take(&why);
    return run->refused ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}
