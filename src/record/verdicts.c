/* Verdicts of a run. */
#include "record/verdicts.h"

#include "base/alloc.h"
#include "base/json.h"

#include <math.h>

const an_field_id an_decisive_fields[AN_DECISIVE_N] = {AN_FIELD_ID_decode_tps, AN_FIELD_ID_ttft_s};

static bool measured(const an_cell *cell)
{
    return (cell->status == AN_CELL_OK || cell->status == AN_CELL_PENDING) && an_cell_n_timed(cell) > 0;
}

bool an_cells_same_work(const an_cell *a, const an_cell *b)
{
    return a->work.kind == b->work.kind && a->work.n_prompt == b->work.n_prompt && a->work.n_gen == b->work.n_gen &&
           a->work.n_depth == b->work.n_depth;
}

bool an_cells_alternate(const an_cell *a, const an_cell *b)
{
    int64_t lo[2] = {INT64_MAX, INT64_MAX}, hi[2] = {INT64_MIN, INT64_MIN};
    const an_cell *cells[] = {a, b};
    size_t n[2] = {0, 0};
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < cells[k]->n_rep; i++) {
            const an_rep *rep = &cells[k]->reps[i];
            if (rep->kind != AN_REP_TIMED) continue;
            n[k]++;
            if (rep->order < lo[k]) lo[k] = rep->order;
            if (rep->order > hi[k]) hi[k] = rep->order;
        }
    if (n[0] < 2 || n[1] < 2) return true;
    return !(hi[0] < lo[1] || hi[1] < lo[0]);
}

/* A second copy of a cell is there for the A/A gate and is no rival. */
static bool competes(const an_run *run, const an_cell *cell)
{
    return measured(cell) && (run->aa || cell->copy_of < 0);
}

int an_run_reference(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (measured(&run->cells[i]) && run->cells[i].copy_of < 0) return (int)i;
    return -1;
}

/* Is it the first that competes in its work? */
static bool leads(const an_run *run, size_t cell)
{
    if (!competes(run, &run->cells[cell])) return false;
    for (size_t i = 0; i < cell; i++)
        if (competes(run, &run->cells[i]) && an_cells_same_work(&run->cells[i], &run->cells[cell])) return false;
    return true;
}

/* The other cells of the reference's work against it. */
static size_t verdicts_against(const an_run *run, size_t reference, an_field_id field, an_run_verdict *out, size_t cap)
{
    an_paired pairs[AN_VERDICTS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < run->n_cell && n < cap; i++) {
        const an_cell *cell = &run->cells[i];
        if (i == reference || !competes(run, cell) || !an_cells_same_work(cell, &run->cells[reference])) continue;
        pairs[n] = an_cell_paired(run, (int)i, (int)reference, field, true);
        if (pairs[n].n == 0) continue;
        out[n++] = (an_run_verdict){.field = field, .cell = (int)i, .against = (int)reference};
    }
    an_compare_correct(pairs, n);
    for (size_t i = 0; i < n; i++) {
        bool refused = (run->refused && !run->aa) || !an_cells_alternate(&run->cells[out[i].cell], &run->cells[reference]);
        if (refused && pairs[i].verdict != AN_VERDICT_UNKNOWN) pairs[i].verdict = AN_VERDICT_UNDECIDED;
        out[i].pair = pairs[i];
    }
    return n;
}

size_t an_run_verdicts(const an_run *run, an_field_id field, an_run_verdict *out, size_t cap)
{
    size_t n = 0;
    if (cap > AN_VERDICTS_MAX) cap = AN_VERDICTS_MAX;
    for (size_t i = 0; i < run->n_cell && n < cap; i++)
        if (leads(run, i)) n += verdicts_against(run, i, field, out + n, cap - n);
    return n;
}

const char *an_run_verdict_word(const an_run_verdict *v)
{
    bool higher = v->pair.verdict == AN_VERDICT_HIGHER;
    if (!higher && v->pair.verdict != AN_VERDICT_LOWER) return an_verdict_name(v->pair.verdict);
    return higher == (an_field_get(v->field)->better == AN_BETTER_HIGHER) ? "faster" : "slower";
}

static json_t *verdict_json(const an_run *run, const an_run_verdict *v)
{
    const an_paired *p = &v->pair;
    return json_pack("{s:s, s:i, s:i, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:s, s:s}", "field",
                     an_field_get(v->field)->name, "cell", v->cell, "against", v->against, "label",
                     run->cells[v->cell].label, "against_label", run->cells[v->against].label, "n", (json_int_t)p->n, "ratio",
                     an_json_real(p->ratio), "lo", an_json_real(p->lo), "hi", an_json_real(p->hi), "level",
                     an_json_real(p->level), "boot_lo", an_json_real(p->boot_lo), "boot_hi", an_json_real(p->boot_hi), "p",
                     an_json_real(p->p), "p_adjusted", an_json_real(p->p_adjusted), "mde", an_json_real(p->mde),
                     "n_needed", (json_int_t)p->n_needed, "covariate", p->covariate, "verdict",
                     an_verdict_name(p->verdict), "better", an_run_verdict_word(v));
}

/* Runs of more cells are written without bootstrap intervals: they would take longer than all else. */
enum { BOOTSTRAP_MAX = 8 };

json_t *an_run_verdicts_json(const an_run *run)
{
    json_t *array = json_array();
    an_run_verdict *list = an_calloc(AN_VERDICTS_MAX, sizeof *list);
    for (int f = 0; array && list && f < AN_DECISIVE_N; f++) {
        size_t n = an_run_verdicts(run, an_decisive_fields[f], list, AN_VERDICTS_MAX);
        for (size_t i = 0; i < n; i++) {
            an_paired boot = {.boot_lo = NAN, .boot_hi = NAN};
            if (n <= BOOTSTRAP_MAX)
                boot = an_cell_paired_bootstrap(run, list[i].cell, list[i].against, list[i].field, true);
            list[i].pair.boot_lo = boot.boot_lo;
            list[i].pair.boot_hi = boot.boot_hi;
            json_array_append_new(array, verdict_json(run, &list[i]));
        }
    }
    if (!list) {
        json_decref(array);
        array = NULL;
    }
    an_free(list);
    return array;
}
