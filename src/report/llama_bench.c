/* llama-bench's forms: which figure stands under which of its names, and how each form writes it. */
#include "report/llama_bench.h"

#include "base/alloc.h"
#include "base/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef enum value_type { STRING, BOOLEAN, INTEGER, REAL } value_type;

/* In llama-bench's order. */
typedef enum key {
    K_BUILD_COMMIT, K_BUILD_NUMBER, K_CPU_INFO, K_GPU_INFO, K_BACKENDS, K_MODEL_FILENAME, K_MODEL_TYPE, K_MODEL_SIZE,
    K_MODEL_N_PARAMS, K_N_BATCH, K_N_UBATCH, K_N_THREADS, K_CPU_MASK, K_CPU_STRICT, K_POLL, K_TYPE_K, K_TYPE_V,
    K_N_GPU_LAYERS, K_N_CPU_MOE, K_SPLIT_MODE, K_MAIN_GPU, K_NO_KV_OFFLOAD, K_FLASH_ATTN, K_DEVICES, K_TENSOR_SPLIT,
    K_TENSOR_BUFT_OVERRIDES, K_LOAD_MODE, K_LAZY_MODE, K_EMBEDDINGS, K_NO_OP_OFFLOAD, K_NO_HOST, K_REPACK, K_FIT_TARGET,
    K_FIT_MIN_CTX, K_N_PROMPT, K_N_GEN, K_N_DEPTH, K_TEST_TIME, K_AVG_NS, K_STDDEV_NS, K_AVG_TS, K_STDDEV_TS,
    K_THEIRS, /* from here on ours */
    K_ENGINE = K_THEIRS, K_ENGINE_VERSION, K_DRIVER, K_TEST, K_STATUS, K_REASON, K_MEDIAN_TS, K_LO_TS, K_HI_TS, K_LEVEL,
    K_PROMPT_TS, K_STEP_P50_S, K_LOAD_S, K_RSS_PEAK_BYTES, K_CPU_PERCENT, K_ENERGY_PER_TOKEN_J, K_MBU, K_COMPUTE_DTYPE,
    K_DEVICE_USED, K_CONTAINER, K_RUN_ID, K_CELL_KEY, K_DEFINITION,
    K_N
} key;

static const struct {
    const char *name;
    value_type type;
    const char *fixed; /* the only value we have: what llama-bench has by default */
    const char *title; /* in the table; NULL = name */
    int width;         /* in the table, negative = to the left; 0 = never a column */
} keys[K_N] = {
    [K_BUILD_COMMIT] = {"build_commit", STRING, NULL, NULL, 0},
    [K_BUILD_NUMBER] = {"build_number", INTEGER, NULL, NULL, 0},
    [K_CPU_INFO] = {"cpu_info", STRING, NULL, NULL, 0},
    [K_GPU_INFO] = {"gpu_info", STRING, NULL, NULL, 0},
    [K_BACKENDS] = {"backends", STRING, NULL, "backend", -10},
    [K_MODEL_FILENAME] = {"model_filename", STRING, NULL, NULL, 0},
    [K_MODEL_TYPE] = {"model_type", STRING, NULL, "model", -30},
    [K_MODEL_SIZE] = {"model_size", INTEGER, NULL, "size", 10},
    [K_MODEL_N_PARAMS] = {"model_n_params", INTEGER, NULL, "params", 10},
    [K_N_BATCH] = {"n_batch", INTEGER, NULL, NULL, 7},
    [K_N_UBATCH] = {"n_ubatch", INTEGER, NULL, NULL, 8},
    [K_N_THREADS] = {"n_threads", INTEGER, NULL, "threads", 7},
    [K_CPU_MASK] = {"cpu_mask", STRING, NULL, NULL, -10},
    [K_CPU_STRICT] = {"cpu_strict", BOOLEAN, "0", NULL, 0},
    [K_POLL] = {"poll", INTEGER, "50", NULL, 0},
    [K_TYPE_K] = {"type_k", STRING, NULL, NULL, 6},
    [K_TYPE_V] = {"type_v", STRING, NULL, NULL, 6},
    [K_N_GPU_LAYERS] = {"n_gpu_layers", INTEGER, NULL, "ngl", 3},
    [K_N_CPU_MOE] = {"n_cpu_moe", INTEGER, "0", NULL, 0},
    [K_SPLIT_MODE] = {"split_mode", STRING, "layer", NULL, 0},
    [K_MAIN_GPU] = {"main_gpu", INTEGER, "0", NULL, 0},
    [K_NO_KV_OFFLOAD] = {"no_kv_offload", BOOLEAN, "0", NULL, 0},
    [K_FLASH_ATTN] = {"flash_attn", INTEGER, NULL, "fa", 3},
    [K_DEVICES] = {"devices", STRING, NULL, "dev", -12},
    [K_TENSOR_SPLIT] = {"tensor_split", STRING, "0.00", NULL, 0},
    [K_TENSOR_BUFT_OVERRIDES] = {"tensor_buft_overrides", STRING, "none", NULL, 0},
    [K_LOAD_MODE] = {"load_mode", STRING, "auto", NULL, 0},
    [K_LAZY_MODE] = {"lazy_mode", STRING, "auto", NULL, 0},
    [K_EMBEDDINGS] = {"embeddings", BOOLEAN, "0", NULL, 0},
    [K_NO_OP_OFFLOAD] = {"no_op_offload", INTEGER, "0", NULL, 0},
    [K_NO_HOST] = {"no_host", BOOLEAN, "0", NULL, 0},
    [K_REPACK] = {"repack", BOOLEAN, "1", NULL, 0},
    [K_FIT_TARGET] = {"fit_target", INTEGER, "0", NULL, 0},
    [K_FIT_MIN_CTX] = {"fit_min_ctx", INTEGER, "0", NULL, 0},
    [K_N_PROMPT] = {"n_prompt", INTEGER, NULL, NULL, 0},
    [K_N_GEN] = {"n_gen", INTEGER, NULL, NULL, 0},
    [K_N_DEPTH] = {"n_depth", INTEGER, NULL, NULL, 0},
    [K_TEST_TIME] = {"test_time", STRING, NULL, NULL, 0},
    [K_AVG_NS] = {"avg_ns", INTEGER, NULL, NULL, 0},
    [K_STDDEV_NS] = {"stddev_ns", INTEGER, NULL, NULL, 0},
    [K_AVG_TS] = {"avg_ts", REAL, NULL, "t/s", 20},
    [K_STDDEV_TS] = {"stddev_ts", REAL, NULL, NULL, 0},
    [K_ENGINE] = {"engine", STRING, NULL, NULL, -16},
    [K_ENGINE_VERSION] = {"engine_version", STRING, NULL, NULL, 0},
    [K_DRIVER] = {"driver", STRING, NULL, NULL, 0},
    [K_TEST] = {"test", STRING, NULL, NULL, 15},
    [K_STATUS] = {"status", STRING, NULL, NULL, 0},
    [K_REASON] = {"reason", STRING, NULL, NULL, 0},
    [K_MEDIAN_TS] = {"median_ts", REAL, NULL, NULL, 0},
    [K_LO_TS] = {"lo_ts", REAL, NULL, NULL, 0},
    [K_HI_TS] = {"hi_ts", REAL, NULL, NULL, 0},
    [K_LEVEL] = {"level", REAL, NULL, NULL, 0},
    [K_PROMPT_TS] = {"prompt_ts", REAL, NULL, NULL, 0},
    [K_STEP_P50_S] = {"step_p50_s", REAL, NULL, NULL, 0},
    [K_LOAD_S] = {"load_s", REAL, NULL, NULL, 0},
    [K_RSS_PEAK_BYTES] = {"rss_peak_bytes", INTEGER, NULL, NULL, 0},
    [K_CPU_PERCENT] = {"cpu_percent", REAL, NULL, NULL, 0},
    [K_ENERGY_PER_TOKEN_J] = {"energy_per_token_j", REAL, NULL, NULL, 0},
    [K_MBU] = {"mbu", REAL, NULL, NULL, 0},
    [K_COMPUTE_DTYPE] = {"compute_dtype", STRING, NULL, NULL, 0},
    [K_DEVICE_USED] = {"device_used", STRING, NULL, NULL, 0},
    [K_CONTAINER] = {"container", STRING, NULL, NULL, 0},
    [K_RUN_ID] = {"run_id", STRING, NULL, NULL, 0},
    [K_CELL_KEY] = {"cell_key", STRING, NULL, NULL, 0},
    [K_DEFINITION] = {"definition", STRING, "(n_prompt + n_gen) / time of their forward passes over random ids: no tokenizer, "
                                            "no sampler, the depth filled before", NULL, 0},
};

/* The order of the table's columns. */
static const key table_order[] = {K_MODEL_TYPE, K_MODEL_SIZE, K_MODEL_N_PARAMS, K_BACKENDS, K_ENGINE, K_N_GPU_LAYERS,
                                  K_N_THREADS, K_CPU_MASK, K_N_BATCH, K_N_UBATCH, K_TYPE_K, K_TYPE_V, K_FLASH_ATTN,
                                  K_DEVICES, K_TEST, K_AVG_TS};

/* The values of one row as text; NULL = not known. Owned. */
typedef struct row {
    char *text[K_N];
    double *ns; /* [n] time of each repetition */
    double *ts;
    size_t n;
    double n_token;
    bool failed; /* memory ran out on the way */
} row;

static void free_row(row *r)
{
    for (int k = 0; k < K_N; k++) an_free(r->text[k]);
    an_free(r->ns);
    an_free(r->ts);
}

bool an_llama_bench_format_from_name(const char *name, an_llama_bench_format *out)
{
    static const char *const names[] = {"none", "csv", "json", "jsonl", "md", "sql"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (an_llama_bench_format)i;
        return true;
    }
    return false;
}

static void put(row *r, key k, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void put(row *r, key k, const char *fmt, ...)
{
    an_str s = {0};
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(&s, fmt, ap);
    va_end(ap);
    an_free(r->text[k]);
    r->failed |= an_str_check(&s, NULL) != ANEMO_OK;
    r->text[k] = an_str_take(&s);
    if (!r->text[k] && !r->failed) r->failed = !(r->text[k] = an_strdup(""));
}

static void put_real(row *r, key k, double v)
{
    if (isfinite(v)) put(r, k, "%.6f", v);
}

static const char *word(const json_t *obj, const char *name, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(obj, name));
    return s ? s : otherwise;
}

static json_int_t number(const json_t *obj, const char *name, json_int_t otherwise)
{
    const json_t *v = json_object_get(obj, name);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

/* What an engine that names models itself says of this one: any cell of the same model that has it. */
static const json_t *told(const an_run *run, const an_cell *cell, const char *name)
{
    const json_t *own = json_object_get(cell->effective, name);
    for (size_t i = 0; !own && i < run->n_cell && cell->model >= 0; i++)
        if (run->cells[i].model == cell->model) own = json_object_get(run->cells[i].effective, name);
    return own;
}

static void put_model(row *r, const an_run *run, const an_cell *cell)
{
    const an_run_model *m = cell->model >= 0 && (size_t)cell->model < run->n_model ? &run->models[cell->model] : NULL;
    const json_t *bytes = told(run, cell, "model_bytes"), *params = told(run, cell, "model_n_param"),
                 *type = told(run, cell, "model_description");
    json_int_t n_param = json_is_integer(params) ? json_integer_value(params) : m ? (json_int_t)m->n_param : 0;
    put(r, K_MODEL_FILENAME, "%s", m && m->path ? m->path : m && m->name ? m->name : "");
    if (json_is_string(type))
        put(r, K_MODEL_TYPE, "%s", json_string_value(type));
    else
        put(r, K_MODEL_TYPE, "%s%s%s", m && m->name ? m->name : "?", cell->quantization[0] ? " " : "", cell->quantization);
    put(r, K_MODEL_SIZE, "%" JSON_INTEGER_FORMAT,
        json_is_integer(bytes) ? json_integer_value(bytes) : m ? (json_int_t)m->bytes : 0);
    put(r, K_MODEL_N_PARAMS, "%" JSON_INTEGER_FORMAT, n_param);
    put(r, K_CONTAINER, "%s", m ? m->container : "");
}

/* Who made the engine. One that tells no commit gets its name and version, which tell two builds apart as well. */
static void put_build(row *r, const an_run *run, const an_cell *cell)
{
    const json_t *build = json_object_get(cell->effective, "build");
    const an_environment *e = &run->environment;
    if (json_object_get(build, "commit"))
        put(r, K_BUILD_COMMIT, "%s", word(build, "commit", ""));
    else if (!strcmp(cell->engine, "native") && e->anemo_commit[0])
        put(r, K_BUILD_COMMIT, "%.7s", e->anemo_commit);
    else
        put(r, K_BUILD_COMMIT, "%s%s%.*s", cell->engine, cell->engine_version[0] ? "-" : "", 
            (int)strcspn(cell->engine_version, " "), cell->engine_version);
    put(r, K_BUILD_NUMBER, "%" JSON_INTEGER_FORMAT, number(build, "number", 0));
    put(r, K_CPU_INFO, "%s", word(build, "cpu_info", e->cpu));
    put(r, K_GPU_INFO, "%s", word(build, "gpu_info", ""));
    bool cpu = !cell->device[0] || !strcmp(cell->device, "cpu");
    put(r, K_BACKENDS, "%s", word(build, "backends", cpu ? "CPU" : cell->device));
}

static void put_settings(row *r, const an_cell *cell)
{
    const json_t *s = cell->settings;
    const char *k = word(s, "kv_type", "f16"), *fa = word(s, "flash_attn", "auto"), *dev = word(s, "device", "auto");
    put(r, K_N_BATCH, "%" JSON_INTEGER_FORMAT, number(s, "n_batch", 0));
    put(r, K_N_UBATCH, "%" JSON_INTEGER_FORMAT, number(s, "n_ubatch", 0));
    put(r, K_N_THREADS, "%" JSON_INTEGER_FORMAT, number(s, "threads", 0));
    put(r, K_CPU_MASK, "%s", word(s, "cpu_mask", "0x0"));
    put(r, K_TYPE_K, "%s", k);
    put(r, K_TYPE_V, "%s", word(s, "kv_type_v", k));
    put(r, K_N_GPU_LAYERS, "%" JSON_INTEGER_FORMAT, number(s, "n_gpu_layers", -1));
    put(r, K_FLASH_ATTN, "%d", !strcmp(fa, "on") ? 1 : !strcmp(fa, "off") ? 0 : -1);
    put(r, K_DEVICES, "%s", !strcmp(dev, "cpu") ? "none" : dev);
}

/* The time of day at which the cell's first repetition began. */
static void put_time(row *r, const an_run *run, const an_cell *cell)
{
    struct tm tm = {0};
    char text[32];
    if (sscanf(run->environment.date, "%d-%d-%dT%d:%d:%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec) != 6) {
        put(r, K_TEST_TIME, "%s", run->environment.date);
        return;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    double start = cell->n_rep > 0 ? cell->reps[0].start_s : 0;
    time_t t = timegm(&tm) + (time_t)(start > 0 && start < 1e9 ? start : 0);
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    put(r, K_TEST_TIME, "%s", text);
}

static anemo_status put_samples(row *r, const an_cell *cell, anemo_error *err)
{
    size_t n = an_cell_n_timed(cell);
    r->ns = an_calloc(n + 1, sizeof *r->ns);
    r->ts = an_calloc(n + 1, sizeof *r->ts);
    if (!r->ns || !r->ts) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    r->n_token = (double)cell->work.n_prompt + cell->work.n_gen;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double ns = floor(an_cell_timed(cell, i)->values[AN_FIELD_ID_total_s] * 1e9 + 0.5);
        if (!(ns > 0)) continue;
        r->ns[r->n] = ns;
        r->ts[r->n++] = 1e9 * r->n_token / ns;
        sum += ns;
    }
    if (r->n == 0 || cell->status == AN_CELL_FAILED) return ANEMO_OK;
    an_summary ts = an_summarize(r->ts, r->n, NULL), ns = an_summarize(r->ns, r->n, NULL);
    put(r, K_AVG_NS, "%.0f", floor(sum / (double)r->n));
    put(r, K_STDDEV_NS, "%.0f", isfinite(ns.sd) ? floor(ns.sd) : 0);
    put_real(r, K_AVG_TS, ts.mean);
    put_real(r, K_STDDEV_TS, isfinite(ts.sd) ? ts.sd : 0);
    put_real(r, K_MEDIAN_TS, ts.median);
    put_real(r, K_LO_TS, ts.lo);
    put_real(r, K_HI_TS, ts.hi);
    put_real(r, K_LEVEL, ts.level);
    return ANEMO_OK;
}

static void put_figures(row *r, const an_cell *cell)
{
    static const struct {
        key k;
        an_field_id field;
    } reals[] = {{K_PROMPT_TS, AN_FIELD_ID_prefill_tps}, {K_STEP_P50_S, AN_FIELD_ID_itl_p50_s},
                 {K_CPU_PERCENT, AN_FIELD_ID_cpu_percent}, {K_ENERGY_PER_TOKEN_J, AN_FIELD_ID_energy_per_token_j},
                 {K_MBU, AN_FIELD_ID_mbu}};
    for (size_t i = 0; i < AN_COUNT_OF(reals); i++) put_real(r, reals[i].k, an_cell_summary(cell, reals[i].field).median);
    double load = an_cell_summary(cell, AN_FIELD_ID_load_warm_s).median, peak = NAN;
    if (!isfinite(load)) load = an_cell_summary(cell, AN_FIELD_ID_load_cold_s).median;
    put_real(r, K_LOAD_S, load);
    peak = an_cell_summary(cell, AN_FIELD_ID_rss_peak_bytes).max;
    if (isfinite(peak)) put(r, K_RSS_PEAK_BYTES, "%.0f", peak);
}

static anemo_status make_row(row *r, const an_run *run, const an_cell *cell, anemo_error *err)
{
    char test[64];
    anemo_status status = ANEMO_OK;
    for (int k = 0; k < K_N; k++)
        if (keys[k].fixed) put(r, (key)k, "%s", keys[k].fixed);
    put_build(r, run, cell);
    put_model(r, run, cell);
    put_settings(r, cell);
    put_time(r, run, cell);
    an_work_label(&cell->work, test, sizeof test);
    put(r, K_TEST, "%s", test);
    put(r, K_N_PROMPT, "%d", cell->work.n_prompt);
    put(r, K_N_GEN, "%d", cell->work.n_gen);
    put(r, K_N_DEPTH, "%d", cell->work.n_depth);
    AN_TRY(put_samples(r, cell, err));
    put_figures(r, cell);
    put(r, K_ENGINE, "%s", cell->engine);
    put(r, K_ENGINE_VERSION, "%s", cell->engine_version);
    put(r, K_DRIVER, "%s%s%s", cell->driver, cell->driver_version[0] ? " " : "", cell->driver_version);
    put(r, K_STATUS, "%s", an_cell_status_name(cell->status));
    if (cell->reason) put(r, K_REASON, "%s", cell->reason);
    put(r, K_COMPUTE_DTYPE, "%s", cell->compute_dtype);
    put(r, K_DEVICE_USED, "%s", cell->device);
    put(r, K_RUN_ID, "%s", run->id);
    put(r, K_CELL_KEY, "%s", cell->key);
    if (r->failed) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for a row of the result");
cleanup:
    return status;
}

/* ---- JSON */

static anemo_status json_value(const row *r, key k, an_str *out, anemo_error *err)
{
    const char *text = r->text[k];
    if (!text)
        an_str_append(out, "null");
    else if (keys[k].type == BOOLEAN)
        an_str_append(out, !strcmp(text, "0") ? "false" : "true");
    else if (keys[k].type != STRING)
        an_str_append(out, text);
    else
        return an_json_write(an_json_text(text, strlen(text)), JSON_ENCODE_ANY, out, err);
    return ANEMO_OK;
}

static void json_samples(const double *v, size_t n, const char *fmt_name, bool whole, an_str *out)
{
    an_str_appendf(out, "\"%s\": [ ", fmt_name);
    for (size_t i = 0; i < n; i++) {
        an_str_append(out, i ? ", " : "");
        if (whole)
            an_str_appendf(out, "%.0f", v[i]);
        else
            an_str_appendf(out, "%.6g", v[i]);
    }
    an_str_append(out, " ]");
}

/* The members of one row: theirs, the samples, then ours. `sep` stands between them. */
static anemo_status json_members(const row *r, const char *sep, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (int k = 0; k < K_N; k++) {
        if (k == K_THEIRS) {
            json_samples(r->ns, r->n, "samples_ns", true, out);
            an_str_append(out, sep);
            json_samples(r->ts, r->n, "samples_ts", false, out);
            an_str_append(out, sep);
        }
        an_str_appendf(out, "\"%s\": ", keys[k].name);
        AN_TRY(json_value(r, (key)k, out, err));
        if (k + 1 < K_N) an_str_append(out, sep);
    }
cleanup:
    return status;
}

/* ---- CSV and SQL */

static void csv_row(const row *r, an_str *out)
{
    for (int k = 0; k < K_N; k++) {
        an_str_append(out, k ? ",\"" : "\"");
        for (const char *p = r->text[k] ? r->text[k] : ""; *p; p++) an_str_appendf(out, "%s%c", *p == '"' ? "\"" : "", *p);
        an_str_append_char(out, '"');
    }
    an_str_append_char(out, '\n');
}

static void csv_header(an_str *out)
{
    for (int k = 0; k < K_N; k++) an_str_appendf(out, "%s%s", k ? "," : "", keys[k].name);
    an_str_append_char(out, '\n');
}

static void sql_table(const char *table, int from, int to, an_str *out)
{
    static const char *const types[] = {"TEXT", "INTEGER", "INTEGER", "REAL"};
    an_str_appendf(out, "CREATE TABLE IF NOT EXISTS %s (\n", table);
    for (int k = from; k < to; k++)
        an_str_appendf(out, "  %s %s%s\n", keys[k].name, types[keys[k].type], k + 1 < to ? "," : "");
    an_str_append(out, ");\n\n");
}

static void sql_insert(const row *r, const char *table, int from, int to, an_str *out)
{
    an_str_appendf(out, "INSERT INTO %s (", table);
    for (int k = from; k < to; k++) an_str_appendf(out, "%s%s", k > from ? ", " : "", keys[k].name);
    an_str_append(out, ") VALUES (");
    for (int k = from; k < to; k++) {
        an_str_append(out, k > from ? ", " : "");
        if (!r->text[k]) {
            an_str_append(out, "NULL");
            continue;
        }
        an_str_append_char(out, '\'');
        for (const char *p = r->text[k]; *p; p++) an_str_appendf(out, "%s%c", *p == '\'' ? "'" : "", *p);
        an_str_append_char(out, '\'');
    }
    an_str_append(out, ");\n");
}

/* ---- the table */

static bool same_text(const char *a, const char *b)
{
    return !strcmp(a ? a : "", b ? b : "");
}

/* Do the cells differ in this setting, or has one another value than llama-bench's default? Sets *failed without memory. */
static bool varies(const an_run *run, key k, const char *usual, bool *failed)
{
    bool shown = false;
    char *first = NULL;
    for (size_t i = 0; i < run->n_cell && !shown; i++) {
        row r = {0};
        put(&r, K_ENGINE, "%s", run->cells[i].engine);
        put_settings(&r, &run->cells[i]);
        shown = (usual && !same_text(r.text[k], usual)) || (first && !same_text(r.text[k], first));
        *failed |= r.failed;
        if (!first) {
            first = r.text[k];
            r.text[k] = NULL;
        }
        free_row(&r);
    }
    an_free(first);
    return shown;
}

static anemo_status choose_columns(an_llama_bench *w, const an_run *run, const row *r, anemo_error *err)
{
    bool failed = false;
    const char *backends = r->text[K_BACKENDS] ? r->text[K_BACKENDS] : "";
    bool cpu = strstr(backends, "CPU") || strstr(backends, "BLAS") || strstr(backends, "ZenDNN");
    for (size_t i = 0; i < AN_COUNT_OF(table_order); i++) {
        key k = table_order[i];
        bool shown = true;
        switch (k) {
        case K_ENGINE: shown = varies(run, k, "llama.cpp", &failed); break;
        case K_N_GPU_LAYERS: shown = !cpu; break;
        case K_N_THREADS: shown = cpu || varies(run, k, NULL, &failed); break;
        case K_CPU_MASK: shown = varies(run, k, "0x0", &failed); break;
        case K_N_BATCH: shown = varies(run, k, "2048", &failed); break;
        case K_N_UBATCH: shown = varies(run, k, "512", &failed); break;
        case K_TYPE_K:
        case K_TYPE_V: shown = varies(run, k, "f16", &failed); break;
        case K_FLASH_ATTN: shown = varies(run, k, "-1", &failed); break;
        case K_DEVICES: shown = varies(run, k, "auto", &failed); break;
        default: break;
        }
        if (shown) w->columns[w->n_column++] = (int)k;
    }
    return failed ? an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the table") : ANEMO_OK;
}

static void md_header(const an_llama_bench *w, an_str *out)
{
    an_str_append(out, "|");
    for (size_t i = 0; i < w->n_column; i++) {
        int k = w->columns[i];
        an_str_appendf(out, " %*s |", keys[k].width, keys[k].title ? keys[k].title : keys[k].name);
    }
    an_str_append(out, "\n|");
    for (size_t i = 0; i < w->n_column; i++) {
        int width = keys[w->columns[i]].width;
        an_str_append_char(out, ' ');
        for (int c = 1; c < abs(width); c++) an_str_append_char(out, '-');
        an_str_append(out, width > 0 ? ": |" : "- |");
    }
    an_str_append_char(out, '\n');
}

static void md_cell(const row *r, int k, an_str *out)
{
    char text[160];
    const char *v = r->text[k] ? r->text[k] : "";
    int width = keys[k].width;
    double n = strtod(v, NULL);
    snprintf(text, sizeof text, "%s", v);
    if (k == K_MODEL_SIZE)
        snprintf(text, sizeof text, n < 1073741824.0 ? "%.2f MiB" : "%.2f GiB", n / (n < 1073741824.0 ? 1048576.0 : 1073741824.0));
    else if (k == K_MODEL_N_PARAMS)
        snprintf(text, sizeof text, n < 1e9 ? "%.2f M" : "%.2f B", n / (n < 1e9 ? 1e6 : 1e9));
    else if (k == K_AVG_TS && r->text[k]) {
        snprintf(text, sizeof text, "%.2f ± %.2f", n, strtod(r->text[K_STDDEV_TS], NULL));
        width++; /* the sign has two bytes */
    } else if (k == K_AVG_TS)
        snprintf(text, sizeof text, "%s", r->text[K_STATUS]);
    for (char *p = text; *p; p++)
        if (*p == '|' || *p == '\n') *p = ' ';
    an_str_appendf(out, " %*s |", width, text);
}

static void md_row(const an_llama_bench *w, const row *r, an_str *out)
{
    an_str_append_char(out, '|');
    for (size_t i = 0; i < w->n_column; i++) md_cell(r, w->columns[i], out);
    an_str_append_char(out, '\n');
}

/* What failed and why, then the builds, each once. */
static anemo_status md_footer(const an_run *run, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool first = true;
    row r = {0};
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *c = &run->cells[i];
        if (!c->reason || c->work.kind != AN_WORK_STEP) continue;
        an_str_appendf(out, "%s%s: %s: %.*s\n", first ? "\n" : "", an_cell_status_name(c->status), c->label,
                       (int)strcspn(c->reason, "\n"), c->reason);
        first = false;
    }
    an_str_append(out, "\nbuild: ");
    first = true;
    bool failed = false, alone = !varies(run, K_ENGINE, "llama.cpp", &failed);
    if (failed) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the table's end");
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *c = &run->cells[i];
        bool seen = c->status != AN_CELL_OK;
        for (size_t k = 0; k < i && !seen; k++)
            seen = run->cells[k].status == AN_CELL_OK && !strcmp(run->cells[k].engine, c->engine);
        if (seen) continue;
        AN_TRY(make_row(&r, run, c, err));
        /* A commit that is made of the engine's name says it already. */
        bool name = !alone && !an_str_starts_with(r.text[K_BUILD_COMMIT], c->engine);
        an_str_appendf(out, "%s%s%s%s (%s)", first ? "" : ", ", name ? c->engine : "", name ? " " : "",
                       r.text[K_BUILD_COMMIT], r.text[K_BUILD_NUMBER]);
        free_row(&r);
        r = (row){0};
        first = false;
    }
    an_str_append_char(out, '\n');
cleanup:
    free_row(&r);
    return status;
}

/* ---- documents */

static anemo_status begin(an_llama_bench *w, const an_run *run, const row *r, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    switch (w->format) {
    case AN_LLAMA_BENCH_CSV: csv_header(out); break;
    case AN_LLAMA_BENCH_JSON: an_str_append(out, "[\n"); break;
    case AN_LLAMA_BENCH_MD:
        AN_TRY(choose_columns(w, run, r, err));
        md_header(w, out);
        break;
    case AN_LLAMA_BENCH_SQL:
        sql_table("llama_bench", 0, K_THEIRS, out);
        sql_table("anemo_bench", K_N_PROMPT, K_N, out);
        break;
    default: break;
    }
cleanup:
    return status;
}

anemo_status an_llama_bench_row(an_llama_bench *w, const an_run *run, size_t index, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_cell *cell = &run->cells[index];
    row r = {0};
    if (w->format == AN_LLAMA_BENCH_NONE || cell->work.kind != AN_WORK_STEP) return ANEMO_OK;
    AN_TRY(make_row(&r, run, cell, err));
    if (w->n_row == 0) AN_TRY(begin(w, run, &r, out, err));
    switch (w->format) {
    case AN_LLAMA_BENCH_CSV: csv_row(&r, out); break;
    case AN_LLAMA_BENCH_JSON:
        an_str_append(out, w->n_row ? ",\n  {\n    " : "  {\n    ");
        AN_TRY(json_members(&r, ",\n    ", out, err));
        an_str_append(out, "\n  }");
        break;
    case AN_LLAMA_BENCH_JSONL:
        an_str_append_char(out, '{');
        AN_TRY(json_members(&r, ", ", out, err));
        an_str_append(out, "}\n");
        break;
    case AN_LLAMA_BENCH_MD: md_row(w, &r, out); break;
    case AN_LLAMA_BENCH_SQL:
        /* llama-bench's own table holds measurements alone and no column more, so that both can fill one database. */
        if (r.text[K_AVG_TS]) sql_insert(&r, "llama_bench", 0, K_THEIRS, out);
        sql_insert(&r, "anemo_bench", K_N_PROMPT, K_N, out);
        break;
    default: break;
    }
    w->n_row++;
    status = an_str_check(out, err);
cleanup:
    free_row(&r);
    return status;
}

anemo_status an_llama_bench_end(an_llama_bench *w, const an_run *run, an_str *out, anemo_error *err)
{
    row none = {0};
    anemo_status status = ANEMO_OK;
    if (w->n_row == 0) AN_TRY(begin(w, run, &none, out, err));
    if (w->format == AN_LLAMA_BENCH_JSON) an_str_append(out, w->n_row ? "\n]\n" : "]\n");
    if (w->format == AN_LLAMA_BENCH_MD) AN_TRY(md_footer(run, out, err));
    status = an_str_check(out, err);
cleanup:
    return status;
}
