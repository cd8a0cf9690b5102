/* The JSON document and the CSV form. */
#include "report/report_internal.h"

#include "base/json.h"

#include <math.h>
#include <string.h>

static json_t *summary_json(const an_cell *cell)
{
    json_t *obj = json_object();
    for (int f = 0; f < AN_FIELD_N; f++) {
        an_summary s = an_cell_summary(cell, (an_field_id)f);
        if (s.n == 0) continue;
        json_object_set_new(obj, an_field_get((an_field_id)f)->name,
                            json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)s.n,
                                      "median", an_json_real(s.median), "lo", an_json_real(s.lo), "hi",
                                      an_json_real(s.hi), "level", an_json_real(s.level), "min",
                                      an_json_real(s.min), "max", an_json_real(s.max), "mean",
                                      an_json_real(s.mean), "sd", an_json_real(s.sd), "mad",
                                      an_json_real(s.mad)));
    }
    return obj;
}

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? an_json_text(text, strlen(text)) : json_null();
}

static json_t *cell_json(const an_comparison *c, const an_cell *cell)
{
    json_t *obj = json_object(), *loads = json_array(), *reps = json_array();
    for (size_t i = 0; i < cell->n_load; i++)
        json_array_append_new(loads, json_pack("{s:o, s:s}", "load_s", an_json_real(cell->loads[i].load_s),
                                               "page_cache", cell->loads[i].page_cache));
    for (size_t i = 0; i < cell->n_rep; i++) json_array_append_new(reps, an_rep_json(&cell->reps[i]));
    json_object_set_new(obj, "label", json_string(cell->label));
    json_object_set_new(obj, "engine", json_string(cell->engine->name));
    json_object_set_new(obj, "engine_version", text_or_null(cell->engine_version));
    json_object_set_new(obj, "driver", text_or_null(cell->driver));
    json_object_set_new(obj, "driver_version", text_or_null(cell->driver_version));
    json_object_set_new(obj, "model", text_or_null(cell->model < 0 ? NULL : c->models[cell->model].name));
    json_object_set_new(obj, "model_path", text_or_null(cell->model < 0 ? NULL : c->models[cell->model].path));
    json_object_set_new(obj, "format", text_or_null(cell->format));
    json_object_set_new(obj, "quantization", text_or_null(cell->quantization));
    json_object_set_new(obj, "compute_dtype", text_or_null(cell->compute_dtype));
    json_object_set_new(obj, "device", text_or_null(cell->device));
    json_object_set_new(obj, "stock", json_boolean(cell->stock));
    json_object_set(obj, "settings", cell->settings ? cell->settings : json_null());
    json_object_set(obj, "effective", cell->effective ? cell->effective : json_null());
    json_object_set_new(obj, "status", json_string(an_cell_state_name(cell->status)));
    json_object_set_new(obj, "reason", text_or_null(cell->reason));
    json_object_set_new(obj, "loads", loads);
    json_object_set_new(obj, "reps", reps);
    json_object_set_new(obj, "summary", summary_json(cell));
    json_object_set_new(obj, "text_check",
                        json_pack("{s:o, s:I, s:I, s:b, s:b, s:o}", "repeated_4grams",
                                  an_json_real(cell->check.repeated_4grams), "loop_period",
                                  (json_int_t)cell->check.loop_period, "invalid_utf8",
                                  (json_int_t)cell->check.invalid_utf8, "same_every_rep",
                                  cell->check.same_every_rep, "ids_exact", cell->ids_exact,
                                  "tokenization_note", text_or_null(cell->tokenization_note)));
    return obj;
}

static json_t *agreements_json(const an_comparison *c)
{
    json_t *list = json_array();
    for (size_t i = 0; i < c->n_agreement; i++) {
        const an_agreement *g = &c->agreements[i];
        bool e = g->examined;
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:I, s:I, s:b, s:o, s:o, s:o, s:o}", "a", g->a, "b", g->b, "n_same",
                            (json_int_t)g->n_same, "n", (json_int_t)g->n, "identical", g->identical,
                            "near_tie", e ? json_boolean(g->near_tie) : json_null(), "logit_gap",
                            e ? an_json_real(g->logit_gap) : json_null(), "prob_margin",
                            e ? an_json_real(g->prob_margin) : json_null(), "examined_by",
                            e ? json_integer(g->examined_by) : json_null()));
    }
    return list;
}

json_t *an_report_json(const an_comparison *c)
{
    const an_comparison_options *o = c->options;
    json_t *doc = json_object(), *ids = json_array(), *cells = json_array(), *analysis;
    for (size_t i = 0; i < c->prompt_ids.n; i++) json_array_append_new(ids, json_integer(c->prompt_ids.ids[i]));
    for (size_t i = 0; i < c->n_cell; i++) json_array_append_new(cells, cell_json(c, &c->cells[i]));
    analysis = an_report_analysis(c);
    json_object_set_new(analysis, "agreements", agreements_json(c));
    json_object_set_new(analysis, "reference", json_integer(an_report_reference(c)));
    json_object_set_new(doc, "schema", json_string("anemo.compare/1"));
    json_object_set_new(doc, "environment", an_environment_json(&c->environment));
    json_object_set_new(doc, "workload",
                        json_pack("{s:o, s:o, s:i, s:s, s:o, s:b, s:i, s:i, s:I, s:b, s:b}", "prompt",
                                  text_or_null(o->prompt_ids ? NULL : o->prompt), "prompt_ids", ids, "n_predict",
                                  o->n_predict, "chat_format", c->chat_format, "rendered_prompt",
                                  text_or_null(c->prompt_text), "fixed_length", !o->stop_eos, "n_rep", o->n_rep,
                                  "n_warmup", o->n_warmup, "seed", (json_int_t)o->seed, "kept_loaded",
                                  c->kept_loaded, "interrupted", c->interrupted));
    json_object_set_new(doc, "cells", cells);
    json_object_set_new(doc, "analysis", analysis);
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

void an_report_csv(const an_comparison *c, an_str *out)
{
    an_str_append(out, "cell,engine,engine_version,model,format,quantization,compute_dtype,device,status,reason,rep");
    for (int f = 0; f < AN_FIELD_N; f++) an_str_appendf(out, ",%s", an_field_get((an_field_id)f)->name);
    an_str_append(out, ",stop_reason,text\n");
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        const char *head[] = {cell->label, cell->engine->name, cell->engine_version,
                              cell->model < 0 ? "" : c->models[cell->model].name, cell->format,
                              cell->quantization, cell->compute_dtype, cell->device,
                              an_cell_state_name(cell->status), cell->reason ? cell->reason : ""};
        for (size_t r = 0; r < (cell->n_rep ? cell->n_rep : 1); r++) {
            for (size_t h = 0; h < AN_COUNT_OF(head); h++) {
                csv_text(out, head[h]);
                an_str_append_char(out, ',');
            }
            if (cell->n_rep) an_str_appendf(out, "%zu", r + 1);
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
