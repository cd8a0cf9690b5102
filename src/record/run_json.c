/* A run as JSON, schema anemo.run/1 (docs/run-json.md), and back. */
#include "record/run.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? an_json_text(text, strlen(text)) : json_null();
}

static void put(json_t *obj, const char *key, json_t *value)
{
    json_object_set_new(obj, key, value);
}

static void put_text(json_t *obj, const char *key, const char *text)
{
    put(obj, key, text_or_null(text));
}

static json_t *summary_json(const an_cell *cell)
{
    json_t *obj = json_object();
    for (int f = 0; f < AN_FIELD_N; f++) {
        an_summary s = an_cell_summary(cell, (an_field_id)f);
        if (s.n == 0) continue;
        put(obj, an_field_get((an_field_id)f)->name,
            json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "n", (json_int_t)s.n, "median",
                      an_json_real(s.median), "lo", an_json_real(s.lo), "hi", an_json_real(s.hi), "level",
                      an_json_real(s.level), "min", an_json_real(s.min), "max", an_json_real(s.max), "mean",
                      an_json_real(s.mean), "sd", an_json_real(s.sd), "mad", an_json_real(s.mad)));
    }
    return obj;
}

json_t *an_cell_json(const an_run *run, const an_cell *cell, bool with_reps)
{
    json_t *obj = json_object();
    const an_run_model *m = cell->model < 0 ? NULL : &run->models[cell->model];
    char work[64];
    an_work_label(&cell->work, work, sizeof work);
    put_text(obj, "label", cell->label);
    put_text(obj, "key", cell->key);
    put_text(obj, "engine", cell->engine);
    put_text(obj, "engine_version", cell->engine_version);
    put_text(obj, "driver", cell->driver);
    put_text(obj, "driver_version", cell->driver_version);
    put(obj, "model_index", m ? json_integer(cell->model) : json_null());
    put_text(obj, "model", m ? m->name : NULL);
    put_text(obj, "model_path", m ? m->path : NULL);
    put_text(obj, "format", cell->format);
    put_text(obj, "quantization", cell->quantization);
    put_text(obj, "compute_dtype", cell->compute_dtype);
    put_text(obj, "device", cell->device);
    put(obj, "work", json_pack("{s:s, s:s, s:i, s:i, s:i}", "kind",
                               cell->work.kind == AN_WORK_STEP ? "step" : "generate", "label", work, "n_prompt",
                               cell->work.n_prompt, "n_gen", cell->work.n_gen, "n_depth", cell->work.n_depth));
    put(obj, "stock", json_boolean(cell->stock));
    put(obj, "named", json_boolean(cell->named));
    put(obj, "copy_of", cell->copy_of < 0 ? json_null() : json_integer(cell->copy_of));
    json_object_set(obj, "settings", cell->settings ? cell->settings : json_null());
    json_object_set(obj, "effective", cell->effective ? cell->effective : json_null());
    put(obj, "status", json_string(an_cell_status_name(cell->status)));
    put_text(obj, "reason", cell->reason);
    put_text(obj, "stderr_tail", cell->stderr_tail);
    json_object_set(obj, "missing", cell->missing ? cell->missing : json_null());
    put(obj, "ids_exact", json_boolean(cell->ids_exact));
    put(obj, "can_logits", json_boolean(cell->can_logits));
    put(obj, "threads_settable", json_boolean(cell->threads_settable));
    put(obj, "text_check", json_pack("{s:o, s:I, s:I, s:b, s:o}", "repeated_4grams",
                                     an_json_real(cell->check.repeated_4grams), "loop_period",
                                     (json_int_t)cell->check.loop_period, "invalid_utf8",
                                     (json_int_t)cell->check.invalid_utf8, "same_every_rep",
                                     cell->check.same_every_rep, "tokenization_note",
                                     text_or_null(cell->tokenization_note)));
    if (!with_reps) return obj;
    json_t *reps = json_array();
    for (size_t i = 0; i < cell->n_rep; i++) json_array_append_new(reps, an_rep_json(&cell->reps[i]));
    put(obj, "reps", reps);
    put(obj, "summary", summary_json(cell));
    return obj;
}

static json_t *models_json(const an_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_model; i++) {
        const an_run_model *m = &run->models[i];
        json_t *obj = json_object();
        put_text(obj, "name", m->name);
        put_text(obj, "path", m->path);
        put_text(obj, "container", m->container);
        put_text(obj, "read_by", m->read_by);
        put_text(obj, "sha256", m->sha256);
        put(obj, "bytes", json_integer((json_int_t)m->bytes));
        put(obj, "n_param", json_integer((json_int_t)m->n_param));
        put(obj, "weight_bytes", json_integer((json_int_t)m->weight_bytes));
        put(obj, "kv_values_per_pos", json_integer((json_int_t)m->kv_values_per_pos));
        put(obj, "flop_per_token", an_json_real(m->flop_per_token));
        put(obj, "head_flop", an_json_real(m->head_flop));
        put(obj, "attention_width", json_integer((json_int_t)m->attention_width));
        put(obj, "n_ctx_train", json_integer(m->n_ctx_train));
        json_array_append_new(list, obj);
    }
    return list;
}

static json_t *agreements_json(const an_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_agreement; i++) {
        const an_agreement *g = &run->agreements[i];
        bool e = g->examined;
        json_array_append_new(
            list, json_pack("{s:i, s:i, s:I, s:I, s:b, s:I, s:o, s:o, s:o, s:o}", "a", g->a, "b", g->b, "n_same",
                            (json_int_t)g->n_same, "n", (json_int_t)g->n, "identical", g->identical, "text_same",
                            (json_int_t)g->text_same, "near_tie", e ? json_boolean(g->near_tie) : json_null(),
                            "logit_gap", e ? an_json_real(g->logit_gap) : json_null(), "prob_margin",
                            e ? an_json_real(g->prob_margin) : json_null(), "examined_by",
                            e ? json_integer(g->examined_by) : json_null()));
    }
    return list;
}

json_t *an_run_head_json(const an_run *run)
{
    json_t *doc = json_object();
    put(doc, "schema", json_string("anemo.run/1"));
    put_text(doc, "id", run->id);
    put_text(doc, "kind", run->kind);
    put_text(doc, "command", run->command);
    put_text(doc, "note", run->note);
    put(doc, "tags", run->tags ? json_incref(run->tags) : json_array());
    put(doc, "environment", an_environment_json(&run->environment));
    put(doc, "workload", run->workload ? json_incref(run->workload) : json_object());
    put(doc, "models", models_json(run));
    put(doc, "agreements", agreements_json(run));
    put(doc, "n_block", json_integer(run->n_block));
    put(doc, "n_look", json_integer(run->n_look));
    put(doc, "precision", an_json_real(run->precision));
    put(doc, "margin", an_json_real(run->margin));
    put(doc, "aa", json_boolean(run->aa));
    put(doc, "aa_noise", an_json_real(run->aa_noise));
    put_text(doc, "aa_from", run->aa_from);
    put_text(doc, "refused", run->refused);
    put_text(doc, "stop_reason", run->stop_reason);
    put(doc, "interrupted", json_boolean(run->interrupted));
    put(doc, "kept_loaded", json_boolean(run->kept_loaded));
    if (run->extra) put(doc, "extra", json_incref(run->extra));
    return doc;
}

json_t *an_run_json(const an_run *run)
{
    json_t *doc = an_run_head_json(run), *cells = json_array();
    for (size_t i = 0; i < run->n_cell; i++) json_array_append_new(cells, an_cell_json(run, &run->cells[i], true));
    put(doc, "cells", cells);
    return doc;
}

/* ---------------------------------------------------------------------------------------------------- reading */

static anemo_status own_text(char **out, const json_t *obj, const char *key, const char *name, anemo_error *err)
{
    const char *text;
    anemo_status status;
    AN_TRY(an_json_get_str(obj, key, NULL, &text, name, err));
    if (text && !(*out = an_strdup(text))) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    return status;
}

static anemo_status fixed_text(char *out, size_t cap, const json_t *obj, const char *key, const char *name,
                               anemo_error *err)
{
    const char *text;
    anemo_status status;
    AN_TRY(an_json_get_str(obj, key, "", &text, name, err));
    an_utf8_copy(out, cap, text);
cleanup:
    return status;
}

#define FIXED(member, key) AN_TRY(fixed_text(member, sizeof(member), obj, key, name, err))

static anemo_status get_count(const json_t *obj, const char *key, uint64_t *out, const char *name, anemo_error *err)
{
    int64_t n;
    anemo_status status;
    AN_TRY(an_json_get_i64(obj, key, 0, 0, INT64_MAX, &n, name, err));
    *out = (uint64_t)n;
cleanup:
    return status;
}

static anemo_status get_int(const json_t *obj, const char *key, int def, int min, int *out, const char *name,
                            anemo_error *err)
{
    int64_t n;
    anemo_status status;
    AN_TRY(an_json_get_i64(obj, key, def, min, INT32_MAX, &n, name, err));
    *out = (int)n;
cleanup:
    return status;
}

static anemo_status model_from_json(an_run_model *m, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a model is not an object", name);
    AN_TRY(own_text(&m->name, obj, "name", name, err));
    AN_TRY(own_text(&m->path, obj, "path", name, err));
    AN_TRY(own_text(&m->read_by, obj, "read_by", name, err));
    FIXED(m->container, "container");
    FIXED(m->sha256, "sha256");
    AN_TRY(get_count(obj, "bytes", &m->bytes, name, err));
    AN_TRY(get_count(obj, "n_param", &m->n_param, name, err));
    AN_TRY(get_count(obj, "weight_bytes", &m->weight_bytes, name, err));
    AN_TRY(get_count(obj, "kv_values_per_pos", &m->kv_values_per_pos, name, err));
    AN_TRY(an_json_get_f64(obj, "flop_per_token", 0, &m->flop_per_token, name, err));
    AN_TRY(an_json_get_f64(obj, "head_flop", 0, &m->head_flop, name, err));
    AN_TRY(get_count(obj, "attention_width", &m->attention_width, name, err));
    AN_TRY(get_int(obj, "n_ctx_train", 0, 0, &m->n_ctx_train, name, err));
cleanup:
    return status;
}

static anemo_status work_from_json(an_work *w, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *kind;
    if (!obj || json_is_null(obj)) return ANEMO_OK;
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"work\" of a cell is not an object", name);
    AN_TRY(an_json_get_str(obj, "kind", "generate", &kind, name, err));
    if (strcmp(kind, "generate") != 0 && strcmp(kind, "step") != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a cell has the unknown work '%.20s'", name, kind);
        goto cleanup;
    }
    w->kind = kind[0] == 's' ? AN_WORK_STEP : AN_WORK_GENERATE;
    AN_TRY(get_int(obj, "n_prompt", 0, 0, &w->n_prompt, name, err));
    AN_TRY(get_int(obj, "n_gen", 0, 0, &w->n_gen, name, err));
    AN_TRY(get_int(obj, "n_depth", 0, 0, &w->n_depth, name, err));
cleanup:
    return status;
}

/* An object that is kept as it is; null and absent are NULL. */
static anemo_status keep(json_t **out, const json_t *obj, const char *key, const char *name, anemo_error *err)
{
    json_t *v = json_object_get(obj, key);
    if (!v || json_is_null(v)) return ANEMO_OK;
    if (!json_is_object(v)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" is not an object", name, key);
    *out = json_incref(v);
    return ANEMO_OK;
}

static anemo_status check_from_json(an_cell *cell, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t n;
    if (!json_is_object(obj)) return ANEMO_OK;
    AN_TRY(an_json_get_f64(obj, "repeated_4grams", NAN, &cell->check.repeated_4grams, name, err));
    AN_TRY(get_count(obj, "loop_period", &n, name, err));
    cell->check.loop_period = (size_t)n;
    AN_TRY(get_count(obj, "invalid_utf8", &n, name, err));
    cell->check.invalid_utf8 = (size_t)n;
    AN_TRY(an_json_get_bool(obj, "same_every_rep", true, &cell->check.same_every_rep, name, err));
    AN_TRY(own_text(&cell->tokenization_note, obj, "tokenization_note", name, err));
cleanup:
    return status;
}

static anemo_status reps_from_json(an_cell *cell, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *list = json_object_get(obj, "reps"), *item;
    size_t i;
    an_rep rep;
    an_rep_init(&rep);
    if (list && !json_is_array(list)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"reps\" is not an array", name);
    json_array_foreach(list, i, item)
    {
        AN_TRY(an_rep_from_json(&rep, item, name, err));
        AN_TRY(an_cell_add_rep(cell, &rep, err));
    }
cleanup:
    an_rep_free(&rep);
    return status;
}

anemo_status an_cell_from_json(an_cell *cell, const json_t *obj, int n_model, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *text;
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a cell is not an object", name);
    FIXED(cell->label, "label");
    FIXED(cell->key, "key");
    FIXED(cell->engine, "engine");
    FIXED(cell->engine_version, "engine_version");
    FIXED(cell->driver, "driver");
    FIXED(cell->driver_version, "driver_version");
    FIXED(cell->format, "format");
    FIXED(cell->quantization, "quantization");
    FIXED(cell->compute_dtype, "compute_dtype");
    FIXED(cell->device, "device");
    AN_TRY(get_int(obj, "model_index", -1, -1, &cell->model, name, err));
    if (cell->model >= n_model) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a cell names model %d of %d", name, cell->model, n_model);
        goto cleanup;
    }
    AN_TRY(work_from_json(&cell->work, json_object_get(obj, "work"), name, err));
    AN_TRY(an_json_get_bool(obj, "stock", false, &cell->stock, name, err));
    AN_TRY(an_json_get_bool(obj, "named", false, &cell->named, name, err));
    AN_TRY(get_int(obj, "copy_of", -1, -1, &cell->copy_of, name, err));
    AN_TRY(keep(&cell->settings, obj, "settings", name, err));
    AN_TRY(keep(&cell->effective, obj, "effective", name, err));
    AN_TRY(keep(&cell->missing, obj, "missing", name, err));
    AN_TRY(an_json_get_str(obj, "status", "ok", &text, name, err));
    int s = 0;
    while (s < AN_CELL_STATUS_N && strcmp(text, an_cell_status_name((an_cell_status)s)) != 0) s++;
    if (s == AN_CELL_STATUS_N) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a cell has the unknown status '%.20s'", name, text);
        goto cleanup;
    }
    cell->status = (an_cell_status)s;
    AN_TRY(own_text(&cell->reason, obj, "reason", name, err));
    AN_TRY(own_text(&cell->stderr_tail, obj, "stderr_tail", name, err));
    AN_TRY(an_json_get_bool(obj, "ids_exact", false, &cell->ids_exact, name, err));
    AN_TRY(an_json_get_bool(obj, "can_logits", false, &cell->can_logits, name, err));
    AN_TRY(an_json_get_bool(obj, "threads_settable", false, &cell->threads_settable, name, err));
    AN_TRY(check_from_json(cell, json_object_get(obj, "text_check"), name, err));
    AN_TRY(reps_from_json(cell, obj, name, err));
cleanup:
    return status;
}

static anemo_status agreement_from_json(const an_run *run, an_agreement *g, const json_t *obj, const char *name,
                                        anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t n;
    if (!json_is_object(obj)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: an agreement is not an object", name);
    AN_TRY(get_int(obj, "a", -1, -1, &g->a, name, err));
    AN_TRY(get_int(obj, "b", -1, -1, &g->b, name, err));
    AN_TRY(get_int(obj, "examined_by", -1, -1, &g->examined_by, name, err));
    int n_cell = (int)run->n_cell;
    if (g->a < 0 || g->b < 0 || g->a >= n_cell || g->b >= n_cell || g->examined_by >= n_cell) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: an agreement names a cell that is not there", name);
        goto cleanup;
    }
    AN_TRY(get_count(obj, "n_same", &n, name, err));
    g->n_same = (size_t)n;
    AN_TRY(get_count(obj, "n", &n, name, err));
    g->n = (size_t)n;
    AN_TRY(get_count(obj, "text_same", &n, name, err));
    g->text_same = (size_t)n;
    AN_TRY(an_json_get_bool(obj, "identical", false, &g->identical, name, err));
    AN_TRY(an_json_get_bool(obj, "near_tie", false, &g->near_tie, name, err));
    AN_TRY(an_json_get_f64(obj, "logit_gap", NAN, &g->logit_gap, name, err));
    AN_TRY(an_json_get_f64(obj, "prob_margin", NAN, &g->prob_margin, name, err));
    g->examined = json_is_boolean(json_object_get(obj, "near_tie"));
cleanup:
    return status;
}

static anemo_status head_from_json(an_run *run, const json_t *obj, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *tags = json_object_get(obj, "tags"), *tag;
    size_t i;
    FIXED(run->id, "id");
    FIXED(run->kind, "kind");
    FIXED(run->stop_reason, "stop_reason");
    FIXED(run->aa_from, "aa_from");
    AN_TRY(own_text(&run->command, obj, "command", name, err));
    AN_TRY(own_text(&run->note, obj, "note", name, err));
    AN_TRY(own_text(&run->refused, obj, "refused", name, err));
    json_array_foreach(tags, i, tag)
    {
        if (json_is_string(tag)) continue;
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: \"tags\" holds something that is not a string", name);
        goto cleanup;
    }
    if (json_is_array(tags)) run->tags = json_incref((json_t *)tags);
    AN_TRY(keep(&run->workload, obj, "workload", name, err));
    AN_TRY(keep(&run->extra, obj, "extra", name, err));
    AN_TRY(an_environment_from_json(&run->environment, json_object_get(obj, "environment"), name, err));
    AN_TRY(get_int(obj, "n_block", 0, 0, &run->n_block, name, err));
    AN_TRY(get_int(obj, "n_look", 0, 0, &run->n_look, name, err));
    AN_TRY(an_json_get_f64(obj, "precision", 0.01, &run->precision, name, err));
    AN_TRY(an_json_get_f64(obj, "margin", 0.01, &run->margin, name, err));
    AN_TRY(an_json_get_f64(obj, "aa_noise", NAN, &run->aa_noise, name, err));
    AN_TRY(an_json_get_bool(obj, "aa", false, &run->aa, name, err));
    AN_TRY(an_json_get_bool(obj, "interrupted", false, &run->interrupted, name, err));
    AN_TRY(an_json_get_bool(obj, "kept_loaded", false, &run->kept_loaded, name, err));
cleanup:
    return status;
}

/* An array member; absent is empty. */
static anemo_status get_list(const json_t *doc, const char *key, const json_t **out, const char *name, anemo_error *err)
{
    *out = json_object_get(doc, key);
    if (*out && !json_is_array(*out)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" is not an array", name, key);
    return ANEMO_OK;
}

anemo_status an_run_from_json(an_run *run, const json_t *doc, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *list, *item;
    size_t i;
    const char *schema;
    an_run_init(run);
    if (!json_is_object(doc)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a run is not an object", name);
    AN_TRY(an_json_get_str(doc, "schema", "", &schema, name, err));
    if (strcmp(schema, "anemo.run/1") != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: its schema is '%.40s', not anemo.run/1", name, schema);
        goto cleanup;
    }
    AN_TRY(head_from_json(run, doc, name, err));
    AN_TRY(get_list(doc, "models", &list, name, err));
    json_array_foreach(list, i, item)
    {
        an_run_model *m = an_run_add_model(run);
        if (!m) goto no_memory;
        AN_TRY(model_from_json(m, item, name, err));
    }
    AN_TRY(get_list(doc, "cells", &list, name, err));
    json_array_foreach(list, i, item)
    {
        an_cell *cell = an_run_add_cell(run);
        if (!cell) goto no_memory;
        AN_TRY(an_cell_from_json(cell, item, (int)run->n_model, name, err));
    }
    for (size_t k = 0; k < run->n_cell; k++) {
        int copy_of = run->cells[k].copy_of;
        if (copy_of < 0 || (size_t)copy_of < k) continue;
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: cell %zu says that it repeats cell %d, which is not before it", name, k,
                         copy_of);
        goto cleanup;
    }
    AN_TRY(get_list(doc, "agreements", &list, name, err));
    if (json_array_size(list) && !(run->agreements = an_calloc(json_array_size(list), sizeof *run->agreements)))
        goto no_memory;
    json_array_foreach(list, i, item) AN_TRY(agreement_from_json(run, &run->agreements[run->n_agreement++], item, name, err));
    goto cleanup;
no_memory:
    status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    if (status != ANEMO_OK) an_run_free(run);
    return status;
}
