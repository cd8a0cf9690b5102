/* A row of llama-bench, in whichever of its forms it came: which values become what of a run. */
#include "store/import_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/*
 * Columns of llama-bench. Its SQL and CSV hold every value as text, its JSON does not, and one of them (flash_attn) has
 * changed its type: a value is brought to the kind that stands here, so that the same cell has the same key in every form.
 */
typedef enum column_kind { TEXT, WHOLE, REAL, YES_NO, LIST } column_kind;
/* Where it goes: a setting of the cell, or a figure that read_row() takes; the rest is kept beside the run. */
typedef enum column_use { SETTING, FIGURE, BESIDE } column_use;

typedef struct column {
    const char *name;
    column_kind kind;
    column_use use;
} column;

static const column columns[] = {
    {"build_commit", TEXT, FIGURE},
    {"build_number", WHOLE, FIGURE},
    {"cpu_info", TEXT, FIGURE},
    {"gpu_info", TEXT, FIGURE},
    {"backends", TEXT, FIGURE},
    {"model_filename", TEXT, FIGURE},
    {"model_type", TEXT, BESIDE},
    {"model_size", WHOLE, BESIDE},
    {"model_n_params", WHOLE, FIGURE},
    {"n_batch", WHOLE, SETTING},
    {"n_ubatch", WHOLE, SETTING},
    {"n_threads", WHOLE, FIGURE},
    {"type_k", TEXT, FIGURE},
    {"type_v", TEXT, FIGURE},
    {"flash_attn", WHOLE, FIGURE},
    {"n_gpu_layers", WHOLE, SETTING},
    {"cpu_mask", TEXT, SETTING},
    {"cpu_strict", YES_NO, SETTING},
    {"poll", WHOLE, SETTING},
    {"n_cpu_moe", WHOLE, SETTING},
    {"split_mode", TEXT, SETTING},
    {"main_gpu", WHOLE, SETTING},
    {"no_kv_offload", YES_NO, SETTING},
    {"devices", TEXT, SETTING},
    {"tensor_split", TEXT, SETTING},
    {"tensor_buft_overrides", TEXT, SETTING},
    {"load_mode", TEXT, SETTING},
    {"lazy_mode", TEXT, SETTING},
    {"use_mmap", YES_NO, SETTING},
    {"use_direct_io", YES_NO, SETTING},
    {"embeddings", YES_NO, SETTING},
    {"no_op_offload", YES_NO, SETTING},
    {"no_host", YES_NO, SETTING},
    {"repack", YES_NO, SETTING},
    {"fit_target", WHOLE, SETTING},
    {"fit_min_ctx", WHOLE, SETTING},
    {"n_prompt", WHOLE, FIGURE},
    {"n_gen", WHOLE, FIGURE},
    {"n_depth", WHOLE, FIGURE},
    {"test_time", TEXT, BESIDE},
    {"avg_ns", WHOLE, BESIDE},
    {"stddev_ns", WHOLE, BESIDE},
    {"avg_ts", REAL, BESIDE},
    {"stddev_ts", REAL, BESIDE},
    {"samples_ns", LIST, FIGURE},
    {"samples_ts", LIST, FIGURE},
    /* What `anemo bench` adds to each of llama-bench's forms (report/llama_bench.h). */
    {"engine", TEXT, FIGURE},
    {"engine_version", TEXT, FIGURE},
    {"status", TEXT, FIGURE},
    {"reason", TEXT, FIGURE},
    {"compute_dtype", TEXT, FIGURE},
    {"device_used", TEXT, FIGURE},
    {"container", TEXT, FIGURE},
    {"cell_key", TEXT, FIGURE},
};

bool an_import_is_row(const json_t *obj)
{
    return json_is_object(obj) && json_object_get(obj, "model_filename") && json_object_get(obj, "avg_ts");
}

static const column *find_column(const char *name)
{
    for (size_t i = 0; i < AN_COUNT_OF(columns); i++)
        if (!strcmp(columns[i].name, name)) return &columns[i];
    return NULL;
}

static json_t *text_to_number(const column *c, const char *text)
{
    int64_t n;
    double x;
    if (c->kind == WHOLE && an_parse_i64(text, &n)) return json_integer(n);
    if (c->kind == YES_NO && (!strcmp(text, "0") || !strcmp(text, "1"))) return json_boolean(text[0] == '1');
    if (c->kind == REAL && an_parse_f64(text, &x)) return json_real(x);
    return NULL;
}

static bool is_of_kind(const json_t *value, column_kind kind)
{
    switch (json_typeof(value)) {
    case JSON_STRING: return kind == TEXT;
    case JSON_ARRAY: return kind == LIST;
    case JSON_TRUE:
    case JSON_FALSE: return kind == YES_NO;
    case JSON_INTEGER: return kind == WHOLE || kind == REAL;
    case JSON_REAL: return kind == REAL;
    default: return false;
    }
}

/* The value in the column's kind. Gives *out; NULL for a value that is not there. */
static anemo_status bring_to_kind(const column *c, json_t *value, json_t **out, const char *where, anemo_error *err)
{
    static const char *const kind[] = {"a text", "a whole number", "a finite number", "true or false", "a list"};
    json_type type = json_typeof(value);
    *out = NULL;
    if (type == JSON_NULL) return ANEMO_OK;
    if (is_of_kind(value, c->kind)) {
        *out = json_incref(value);
        return ANEMO_OK;
    }
    if (type == JSON_STRING) {
        *out = text_to_number(c, json_string_value(value));
        if (*out) return ANEMO_OK;
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s must be %s, it is '%.40s'", where, c->name, kind[c->kind],
                       json_string_value(value));
    }
    /* llama-bench wrote flash_attn as true or false once, and yes-or-no columns are 0 or 1 in sqlite3's dump. */
    if (c->kind == WHOLE && (type == JSON_TRUE || type == JSON_FALSE)) *out = json_integer(type == JSON_TRUE);
    if (c->kind == YES_NO && type == JSON_INTEGER) *out = json_boolean(json_integer_value(value) != 0);
    if (*out) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s must be %s", where, c->name, kind[c->kind]);
}

/* The row's three parts; `beside` begins as all that is not known here. */
typedef struct parts {
    json_t *figures, *settings, *beside;
} parts;

static void parts_free(parts *p)
{
    json_decref(p->figures);
    json_decref(p->settings);
    json_decref(p->beside);
}

/* A text among values that were brought to their kind. */
static const char *text_of(const json_t *typed, const char *key, const char *absent)
{
    const char *text = json_string_value(json_object_get(typed, key));
    return text ? text : absent;
}

static anemo_status split_row(const json_t *row, parts *p, const char *where, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *key;
    json_t *value, *typed = NULL;
    *p = (parts){json_object(), json_object(), json_object()};
    if (!p->figures || !p->settings || !p->beside) goto no_memory;
    json_object_foreach((json_t *)(uintptr_t)row, key, value) {
        const column *c = find_column(key);
        if (c) {
            AN_TRY(bring_to_kind(c, value, &typed, where, err));
            if (!typed) continue;
            json_t *to = c->use == SETTING ? p->settings : c->use == FIGURE ? p->figures : p->beside;
            if (json_object_set_new(to, key, typed) != 0) goto no_memory;
        } else if (json_object_set(p->beside, key, value) != 0) {
            goto no_memory;
        }
    }
cleanup:
    return status;
no_memory:
    return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
}

static anemo_status set(json_t *obj, const char *key, json_t *value, const char *where, anemo_error *err)
{
    return json_object_set_new(obj, key, value) == 0 ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
}

/* The settings that every engine of anemo has, under their names there. */
static anemo_status add_common_settings(parts *p, const char *where, anemo_error *err)
{
    anemo_status status;
    const char *k = text_of(p->figures, "type_k", "f16"), *v = text_of(p->figures, "type_v", "f16");
    int64_t threads, flash;
    AN_TRY(an_json_get_i64(p->figures, "n_threads", 0, 0, 65536, &threads, where, err));
    AN_TRY(an_json_get_i64(p->figures, "flash_attn", -1, -1, 1, &flash, where, err));
    AN_TRY(set(p->settings, "flash_attn", json_string(flash < 0 ? "auto" : flash ? "on" : "off"), where, err));
    if (threads > 0) {
        AN_TRY(set(p->settings, "threads", json_integer(threads), where, err));
        AN_TRY(set(p->settings, "threads_batch", json_integer(threads), where, err));
    }
    AN_TRY(set(p->settings, strcmp(k, v) ? "kv_type_k" : "kv_type", json_string(k), where, err));
    if (strcmp(k, v) != 0) AN_TRY(set(p->settings, "kv_type_v", json_string(v), where, err));
cleanup:
    return status;
}

/* What follows the two first words of "llama 7B Q4_K - Medium". */
static const char *quantization_of(const char *model_type)
{
    const char *second = strchr(model_type, ' ');
    const char *third = second ? strchr(second + 1, ' ') : NULL;
    return third ? third + 1 : "";
}

static anemo_status find_model(an_run *run, const char *path, int64_t n_param, const char *container, int *index,
                               const char *where, anemo_error *err)
{
    for (size_t i = 0; i < run->n_model; i++)
        if (!strcmp(run->models[i].path, path)) {
            *index = (int)i;
            return ANEMO_OK;
        }
    an_run_model *m = an_run_add_model(run);
    const char *slash = strrchr(path, '/');
    if (m) {
        m->name = an_strdup(slash && slash[1] ? slash + 1 : path);
        m->path = an_strdup(path);
        m->n_param = (uint64_t)n_param;
        snprintf(m->container, sizeof m->container, "%s", container[0] ? container : an_str_ends_with(path, ".gguf") ? "gguf" : "");
    }
    if (!m || !m->name || !m->path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    *index = (int)run->n_model - 1;
    return ANEMO_OK;
}

/* The machine of a row, into a new run or compared with that of an old one. */
static bool same_machine(const an_run *run, const char *cpu, const char *gpu)
{
    return !strncmp(run->environment.cpu, cpu, sizeof run->environment.cpu - 1) &&
           !strcmp(gpu, text_of(run->environment.more, "gpu", ""));
}

static anemo_status begin_run(an_importing *to, const parts *p, const char *cpu, const char *gpu, an_run **out,
                              const char *where, anemo_error *err)
{
    const char *time = text_of(p->beside, "test_time", "");
    static const char form[] = "0000-00-00T00:00:00Z";
    an_run *run = an_importing_add(to);
    if (!run) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    for (size_t i = 0; i < sizeof form; i++) {
        if (form[i] == '0' ? !isdigit((unsigned char)time[i]) : time[i] != form[i])
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: test_time must be a time as 2026-11-25T17:45:01Z, it is '%.30s'", where, time);
    }
    snprintf(run->environment.date, sizeof run->environment.date, "%s", time);
    snprintf(run->environment.cpu, sizeof run->environment.cpu, "%s", cpu);
    snprintf(run->id, sizeof run->id, "%.4s%.2s%.2s-%.2s%.2s%.2s-%.8s%zu", time, time + 5, time + 8, time + 11, time + 14,
             time + 17, to->digest, to->n);
    run->environment.more = json_pack("{s:s}", "gpu", gpu);
    run->workload = json_pack("{s:s}", "imported_from", "llama-bench");
    run->extra = json_pack("{s:s,s:[]}", "source", "llama-bench", "rows");
    if (!run->environment.more || !run->workload || !run->extra) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    *out = run;
    return ANEMO_OK;
}

static anemo_status read_work(const json_t *figures, an_work *work, const char *where, anemo_error *err)
{
    anemo_status status;
    const char *const key[] = {"n_prompt", "n_gen", "n_depth"};
    int *const to[] = {&work->n_prompt, &work->n_gen, &work->n_depth};
    work->kind = AN_WORK_STEP;
    for (size_t i = 0; i < AN_COUNT_OF(key); i++) {
        int64_t n;
        AN_TRY(an_json_get_i64(figures, key[i], 0, 0, 1000000000, &n, where, err));
        *to[i] = (int)n;
    }
    if (work->n_prompt + work->n_gen == 0)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: n_prompt and n_gen are both 0: nothing was measured", where);
cleanup:
    return status;
}

/* One repetition of ns nanoseconds. tps: what the tool gave for it, NaN for a value that has to be computed. */
static anemo_status add_sample(an_importing *to, an_run *run, an_cell *cell, double ns, double tps, const char *where,
                               anemo_error *err)
{
    const an_work *w = &cell->work;
    double n = (double)w->n_prompt + w->n_gen;
    an_rep rep;
    an_rep_init(&rep);
    rep.values[AN_FIELD_ID_n_prompt] = w->n_prompt;
    rep.values[AN_FIELD_ID_n_generated] = w->n_gen;
    rep.values[AN_FIELD_ID_n_depth] = w->n_depth;
    if (isfinite(ns)) rep.values[AN_FIELD_ID_total_s] = ns / 1e9;
    /* The nanoseconds say it more exactly than the six digits of the tool's own quotient. */
    rep.values[AN_FIELD_ID_step_tps] = isfinite(ns) && !isfinite(tps) ? n * 1e9 / ns : tps;
    if (w->n_gen == 0) rep.values[AN_FIELD_ID_prefill_tps] = rep.values[AN_FIELD_ID_step_tps];
    anemo_status status = an_import_add_rep(to, run, cell, &rep, err);
    if (status != ANEMO_OK) {
        an_rep_free(&rep);
        return an_fail_prefix(err, status, "%s", where);
    }
    return ANEMO_OK;
}

static anemo_status positive(const json_t *v, const char *what, size_t i, double *out, const char *where, anemo_error *err)
{
    *out = json_number_value(v);
    if (*out > 0) return ANEMO_OK; /* it is 0 for what is no number */
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s[%zu] must be a number above 0", where, what, i);
}

/* The repetitions of a row: its samples, or where the form has none (CSV, SQL) their mean as one. */
static anemo_status add_samples(an_importing *to, an_run *run, an_cell *cell, const parts *p, bool *only_mean, const char *where,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *ns = json_object_get(p->figures, "samples_ns"), *ts = json_object_get(p->figures, "samples_ts");
    const json_t *avg = json_object_get(p->beside, "avg_ts"), *avg_ns = json_object_get(p->beside, "avg_ns");
    size_t n = ns ? json_array_size(ns) : json_array_size(ts);
    double n_token = (double)cell->work.n_prompt + cell->work.n_gen;
    *only_mean = n == 0;
    if (*only_mean) {
        double tps = 0, mean_ns = NAN;
        AN_TRY(positive(avg, "avg_ts", 0, &tps, where, err));
        if (json_number_value(avg_ns) > 0) mean_ns = json_number_value(avg_ns);
        return add_sample(to, run, cell, mean_ns, tps, where, err);
    }
    if (ns && ts && json_array_size(ts) != n) {
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: samples_ns has %zu values, samples_ts has %zu", where, n, json_array_size(ts));
    }
    for (size_t i = 0; i < n; i++) {
        double t = NAN, tps = NAN;
        if (ns) AN_TRY(positive(json_array_get(ns, i), "samples_ns", i, &t, where, err));
        if (ts) AN_TRY(positive(json_array_get(ts, i), "samples_ts", i, &tps, where, err));
        if (ns && ts && fabs(tps * t / 1e9 / n_token - 1) > 0.001) {
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: samples_ts[%zu] says %g tokens/s, but %g tokens in samples_ns[%zu] = %.0f ns are %g", where, i, tps,
                           n_token, i, t, n_token * 1e9 / t);
        }
        AN_TRY(add_sample(to, run, cell, t, ns ? NAN : tps, where, err));
    }
cleanup:
    return status;
}

/* What only `anemo bench` tells of a cell; llama-bench is its own engine. */
static anemo_status fill_ours(an_cell *cell, const json_t *figures, const char *where, anemo_error *err)
{
    const char *version = text_of(figures, "engine_version", ""), *device = text_of(figures, "device_used", "");
    const char *state = text_of(figures, "status", "ok"), *key = text_of(figures, "cell_key", "");
    snprintf(cell->engine, sizeof cell->engine, "%s", text_of(figures, "engine", "llama.cpp"));
    snprintf(cell->label, sizeof cell->label, "%s", cell->engine);
    snprintf(cell->compute_dtype, sizeof cell->compute_dtype, "%s", text_of(figures, "compute_dtype", ""));
    if (version[0]) snprintf(cell->engine_version, sizeof cell->engine_version, "%s", version);
    if (device[0]) snprintf(cell->device, sizeof cell->device, "%s", device);
    if (strlen(key) == sizeof cell->key - 1 && !key[strspn(key, "0123456789abcdef")]) memcpy(cell->key, key, sizeof cell->key);
    for (int i = 0; i < AN_CELL_PENDING; i++) {
        if (strcmp(state, an_cell_status_name((an_cell_status)i)) != 0) continue;
        cell->status = (an_cell_status)i;
        return ANEMO_OK;
    }
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.20s' is no status of a finished measurement", where, state);
}

/* All that a cell is, but not yet its repetitions; belongs to no run. */
static anemo_status fill_cell(an_cell *cell, parts *p, const char *where, anemo_error *err)
{
    anemo_status status;
    int64_t number;
    AN_TRY(an_json_get_i64(p->figures, "build_number", 0, 0, INT32_MAX, &number, where, err));
    AN_TRY(read_work(p->figures, &cell->work, where, err));
    AN_TRY(add_common_settings(p, where, err));
    snprintf(cell->engine_version, sizeof cell->engine_version, "b%" PRId64 " %.40s", number, text_of(p->figures, "build_commit", ""));
    snprintf(cell->device, sizeof cell->device, "%s", text_of(p->figures, "backends", ""));
    snprintf(cell->quantization, sizeof cell->quantization, "%s", quantization_of(text_of(p->beside, "model_type", "")));
    AN_TRY(fill_ours(cell, p->figures, where, err));
    cell->settings = json_incref(p->settings);
cleanup:
    return status;
}

static bool has_key(const an_run *run, const char *key)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (!strcmp(run->cells[i].key, key)) return true;
    return false;
}

/*
 * Add the row to this run. *again: its cell is there already (a file that was appended to on another day); nothing was added.
 */
static anemo_status add_to_run(an_importing *to, an_run *run, parts *p, const char *path, bool *again, const char *where,
                               anemo_error *err)
{
    anemo_status status;
    int64_t n_param;
    const char *container = text_of(p->figures, "container", ""), *reason = text_of(p->figures, "reason", "");
    bool only_mean = false;
    an_cell made = {0};
    AN_TRY(an_json_get_i64(p->figures, "model_n_params", 0, 0, INT64_MAX, &n_param, where, err));
    AN_TRY(fill_cell(&made, p, where, err));
    AN_TRY(find_model(run, path, n_param, container, &made.model, where, err));
    if (!made.key[0]) AN_TRY(an_cell_make_key(run, &made, err));
    *again = has_key(run, made.key);
    if (*again) goto cleanup;
    an_cell *cell = an_run_add_cell(run);
    if (!cell) goto no_memory;
    made.check = cell->check;
    made.copy_of = cell->copy_of;
    *cell = made;
    made.settings = NULL;
    if (reason[0] && !(cell->reason = an_strdup(reason))) goto no_memory;
    if (cell->status == AN_CELL_OK) AN_TRY(add_samples(to, run, cell, p, &only_mean, where, err));
    if (only_mean) {
        if (json_object_set_new(p->beside, "only_mean", json_true()) != 0) goto no_memory;
        if (!run->note) run->note = an_strdup("means only: the file holds no single repetitions, so no interval can be told");
        if (!run->note) goto no_memory;
    }
    if (json_array_append(json_object_get(run->extra, "rows"), p->beside) != 0) goto no_memory;
cleanup:
    json_decref(made.settings);
    return status;
no_memory:
    json_decref(made.settings);
    return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
}

anemo_status an_import_row(an_importing *to, const json_t *row, const char *where, anemo_error *err)
{
    anemo_status status;
    parts p = {0};
    bool again = true;
    AN_TRY(split_row(row, &p, where, err));
    const char *path = text_of(p.figures, "model_filename", ""), *cpu = text_of(p.figures, "cpu_info", ""),
               *gpu = text_of(p.figures, "gpu_info", "");
    if (!path[0] || (!json_object_get(p.beside, "avg_ts") && !strcmp(text_of(p.figures, "status", "ok"), "ok"))) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %s is missing: this is no row of llama-bench", where,
                         path[0] ? "avg_ts" : "model_filename");
        goto cleanup;
    }
    if (++to->n_cell > AN_IMPORT_CELLS_MAX) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d rows; split the file", where, AN_IMPORT_CELLS_MAX);
        goto cleanup;
    }
    an_run *run = to->n ? &to->runs[to->n - 1] : NULL;
    if (run && same_machine(run, cpu, gpu)) AN_TRY(add_to_run(to, run, &p, path, &again, where, err));
    if (again) {
        AN_TRY(begin_run(to, &p, cpu, gpu, &run, where, err));
        AN_TRY(add_to_run(to, run, &p, path, &again, where, err));
    }
cleanup:
    parts_free(&p);
    return status;
}
