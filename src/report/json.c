/* The JSON document and the CSV form. */
#include "report/report_internal.h"

#include "base/json.h"
#include "record/verdicts.h"

#include <math.h>
#include <string.h>

json_t *an_report_json(const an_run *run)
{
    json_t *doc = an_run_json(run), *analysis = an_report_analysis(run);
    if (!doc || !analysis) {
        json_decref(doc);
        json_decref(analysis);
        return NULL;
    }
    json_object_set_new(analysis, "reference", json_integer(an_report_reference(run)));
    json_object_set_new(doc, "analysis", analysis);
    if (json_object_set_new(doc, "verdicts", an_run_verdicts_json(run)) == 0) return doc;
    json_decref(doc);
    return NULL;
}

static void csv_rep(an_str *out, const an_rep *rep, size_t number)
{
    if (!rep) {
        an_str_append_repeat(out, ',', 5 + AN_FIELD_N + 2);
        return;
    }
    an_str_appendf(out, ",%s,%zu,", an_rep_kind_name(rep->kind), number);
    if (rep->block >= 0) an_str_appendf(out, "%d", rep->block + 1);
    an_str_appendf(out, ",%lld,", (long long)rep->order);
    an_csv_text(out, rep->page_cache);
    for (int f = 0; f < AN_FIELD_N; f++) {
        an_str_append_char(out, ',');
        if (isfinite(rep->values[f])) an_str_appendf(out, "%.9g", rep->values[f]);
    }
    an_str_append_char(out, ',');
    an_csv_text(out, rep->stop_reason);
    an_str_append_char(out, ',');
    an_csv_text(out, rep->text ? rep->text : "");
}

static void csv_cell(an_str *out, const an_run *run, const an_cell *cell)
{
    char work[64];
    an_work_label(&cell->work, work, sizeof work);
    const char *head[] = {run->id,
                          cell->label,
                          cell->engine,
                          cell->engine_version,
                          an_cell_model_name(run, cell),
                          cell->format,
                          cell->quantization,
                          cell->compute_dtype,
                          cell->device,
                          work,
                          an_cell_status_name(cell->status),
                          cell->reason ? cell->reason : ""};
    for (size_t r = 0; r < (cell->n_rep ? cell->n_rep : 1); r++) {
        for (size_t h = 0; h < AN_COUNT_OF(head); h++) {
            if (h) an_str_append_char(out, ',');
            an_csv_text(out, head[h]);
        }
        csv_rep(out, cell->n_rep ? &cell->reps[r] : NULL, r + 1);
        an_str_append_char(out, '\n');
    }
}

void an_report_csv(const an_run *const *runs, size_t n_run, an_str *out)
{
    an_str_append(out, "run,cell,engine,engine_version,model,format,quantization,compute_dtype,device,work,status,"
                       "reason,kind,rep,block,"
                       "order,page_cache");
    for (int f = 0; f < AN_FIELD_N; f++) an_str_appendf(out, ",%s", an_field_get((an_field_id)f)->name);
    an_str_append(out, ",stop_reason,text\n");
    for (size_t i = 0; i < n_run; i++)
        for (size_t c = 0; c < runs[i]->n_cell; c++) csv_cell(out, runs[i], &runs[i]->cells[c]);
}
