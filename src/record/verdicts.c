/* Verdicts of a run. */
#include "record/verdicts.h"

#include "base/json.h"

#include <math.h>

const an_field_id an_decisive_fields[AN_DECISIVE_N] = {AN_FIELD_ID_decode_tps, AN_FIELD_ID_ttft_s};

static bool measured(const an_cell *cell)
{
    return cell->status == AN_CELL_OK && an_cell_n_timed(cell) > 0;
}

int an_run_reference(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (measured(&run->cells[i]) && run->cells[i].copy_of < 0) return (int)i;
    return -1;
}

size_t an_run_verdicts(const an_run *run, an_run_verdict *out, size_t cap)
{
    an_paired pairs[AN_VERDICTS_MAX];
    size_t n = 0;
    int reference = an_run_reference(run);
    if (cap > AN_VERDICTS_MAX) cap = AN_VERDICTS_MAX;
    for (int f = 0; reference >= 0 && f < AN_DECISIVE_N; f++)
        for (size_t i = 0; i < run->n_cell && n < cap; i++) {
            const an_cell *cell = &run->cells[i];
            if ((int)i == reference || !measured(cell) || (cell->copy_of >= 0 && !run->aa)) continue;
            pairs[n] = an_cell_paired(run, (int)i, reference, an_decisive_fields[f], true);
            if (pairs[n].n == 0) continue;
            out[n] = (an_run_verdict){.field = an_decisive_fields[f], .cell = (int)i, .against = reference};
            n++;
        }
    an_compare_correct(pairs, n);
    for (size_t i = 0; i < n; i++) {
        out[i].pair = pairs[i];
        if (run->refused && pairs[i].verdict != AN_VERDICT_UNKNOWN) out[i].pair.verdict = AN_VERDICT_UNDECIDED;
    }
    return n;
}

const char *an_run_verdict_word(const an_run_verdict *v)
{
    bool higher = v->pair.verdict == AN_VERDICT_HIGHER;
    if (!higher && v->pair.verdict != AN_VERDICT_LOWER) return an_verdict_name(v->pair.verdict);
    return higher == (an_field_get(v->field)->better == AN_BETTER_HIGHER) ? "faster" : "slower";
}

json_t *an_run_verdicts_json(const an_run *run)
{
    an_run_verdict list[AN_VERDICTS_MAX];
    size_t n = an_run_verdicts(run, list, AN_VERDICTS_MAX);
    json_t *array = json_array();
    for (size_t i = 0; array && i < n; i++) {
        const an_paired *p = &list[i].pair;
        json_array_append_new(
            array,
            json_pack("{s:s, s:i, s:i, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:b, s:s, s:s}", "field",
                      an_field_get(list[i].field)->name, "cell", list[i].cell, "against", list[i].against, "label",
                      run->cells[list[i].cell].label, "against_label", run->cells[list[i].against].label, "n",
                      (json_int_t)p->n, "ratio", an_json_real(p->ratio), "lo", an_json_real(p->lo), "hi",
                      an_json_real(p->hi), "level", an_json_real(p->level), "p", an_json_real(p->p), "p_adjusted",
                      an_json_real(p->p_adjusted), "mde", an_json_real(p->mde), "n_needed", (json_int_t)p->n_needed,
                      "covariate", p->covariate, "verdict", an_verdict_name(p->verdict), "better",
                      an_run_verdict_word(&list[i])));
    }
    return array;
}
