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

int an_run_reference(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (measured(&run->cells[i]) && run->cells[i].copy_of < 0) return (int)i;
    return -1;
}

size_t an_run_verdicts(const an_run *run, an_field_id field, an_run_verdict *out, size_t cap)
{
    an_paired pairs[AN_VERDICTS_MAX];
    size_t n = 0;
    int reference = an_run_reference(run);
    if (reference < 0) return 0;
    if (cap > AN_VERDICTS_MAX) cap = AN_VERDICTS_MAX;
    for (size_t i = 0; i < run->n_cell && n < cap; i++) {
        const an_cell *cell = &run->cells[i];
        if ((int)i == reference || !measured(cell) || (cell->copy_of >= 0 && !run->aa)) continue;
        pairs[n] = an_cell_paired(run, (int)i, reference, field, true);
        if (pairs[n].n == 0) continue;
        out[n++] = (an_run_verdict){.field = field, .cell = (int)i, .against = reference};
    }
    an_compare_correct(pairs, n);
    for (size_t i = 0; i < n; i++) {
        if (run->refused && !run->aa && pairs[i].verdict != AN_VERDICT_UNKNOWN) pairs[i].verdict = AN_VERDICT_UNDECIDED;
        out[i].pair = pairs[i];
    }
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
