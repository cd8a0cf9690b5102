/* The JSON document and the CSV form. */
#include "report/report_internal.h"

#include "base/json.h"
#include "record/verdicts.h"

#include <math.h>
#include <string.h>

json_t *an_report_json(const an_run *run)
{
    json_t *doc = an_run_json(run), *analysis = an_report_analysis(run);
    json_object_set_new(analysis, "reference", json_integer(an_report_reference(run)));
    json_object_set_new(doc, "analysis", analysis);
    json_object_set_new(doc, "verdicts", an_run_verdicts_json(run));
    return doc;
}

static void csv_text(an_str *out, const char *text)
{
    an_str_append_char(out, '"');
    for (; *text; text++) {
        if (*text == '"') an_str_append_char(out, '"');
        an_str_append_char(out, *text);
    }
    an_str_append_char(out, '"');
}

void an_report_csv(const an_run *c, an_str *out)
{
    an_str_append(out, "cell,engine,engine_version,model,format,quantization,compute_dtype,device,status,reason,kind,rep");
    for (int f = 0; f < AN_FIELD_N; f++) an_str_appendf(out, ",%s", an_field_get((an_field_id)f)->name);
    an_str_append(out, ",stop_reason,text\n");
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        const char *head[] = {cell->label, cell->engine, cell->engine_version,
                              cell->model < 0 ? "" : c->models[cell->model].name, cell->format,
                              cell->quantization, cell->compute_dtype, cell->device,
                              an_cell_status_name(cell->status), cell->reason ? cell->reason : ""};
        for (size_t r = 0; r < (cell->n_rep ? cell->n_rep : 1); r++) {
            for (size_t h = 0; h < AN_COUNT_OF(head); h++) {
                csv_text(out, head[h]);
                an_str_append_char(out, ',');
            }
            if (cell->n_rep) an_str_appendf(out, "%s,%zu", an_rep_kind_name(cell->reps[r].kind), r + 1);
            else an_str_append_char(out, ',');
            for (int f = 0; f < AN_FIELD_N; f++) {
                double v = cell->n_rep ? cell->reps[r].values[f] : NAN;
                an_str_append_char(out, ',');
                if (isfinite(v)) an_str_appendf(out, "%.9g", v);
            }
            an_str_append_char(out, ',');
            csv_text(out, cell->n_rep ? cell->reps[r].stop_reason : "");
            an_str_append_char(out, ',');
            csv_text(out, cell->n_rep && cell->reps[r].text ? cell->reps[r].text : "");
            an_str_append_char(out, '\n');
        }
    }
}
