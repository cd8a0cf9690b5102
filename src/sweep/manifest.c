/*
 * The manifest: what a sweep is, as JSON lines, for tasks on other machines and for the sweep's identity. The first
 * line is the head, each further one a cell. Written by hand and not from a run's JSON, so that a newer anemo finds its
 * older sweeps again.
 */
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/sha256.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SCHEMA "anemo.sweep/1"
enum { MANIFEST_MAX = 1 << 28 };

static const char *const tristates[] = {"auto", "on", "off"};

an_tristate an_sweep_tristate(const char *word)
{
    return !strcmp(word, "on") ? AN_ON : !strcmp(word, "off") ? AN_OFF : AN_AUTO;
}

static json_t *models_json(const an_run *run)
{
    json_t *list = json_array();
    for (size_t i = 0; i < run->n_model; i++) {
        const an_run_model *m = &run->models[i];
        json_t *obj = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:i}", "name", m->name, "path", m->path,
                                "container", m->container, "sha256", m->sha256, "bytes", (json_int_t)m->bytes,
                                "n_param", (json_int_t)m->n_param, "weight_bytes", (json_int_t)m->weight_bytes,
                                "kv_values_per_pos", (json_int_t)m->kv_values_per_pos, "flop_per_token",
                                m->flop_per_token, "head_flop", m->head_flop, "attention_width",
                                (json_int_t)m->attention_width, "n_ctx_train", m->n_ctx_train);
        if (json_array_append_new(list, obj) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *head_json(const an_sweep *s)
{
    return json_pack("{s:s, s:s, s:s?, s:s?, s:O?, s:I, s:i, s:i, s:i, s:f, s:f, s:I, s:f, s:I, s:I, s:b, s:o}",
                     "schema", SCHEMA, "name", s->name, "note", s->run.note, "url", s->url, "tags", s->run.tags,
                     "n_cell", (json_int_t)s->run.n_cell, "n_block", s->n_block, "n_rep", s->n_rep, "n_warmup",
                     s->n_warmup, "delay_s", s->delay_s, "timeout_s", s->timeout_s, "seed", (json_int_t)s->seed,
                     "memory_share", s->memory_share, "memory_bytes", (json_int_t)s->memory_bytes, "disk_reserve_bytes",
                     (json_int_t)s->disk_reserve_bytes, "probes", s->probes, "models", models_json(&s->run));
}

static json_t *cell_json(const an_sweep *s, size_t i)
{
    const an_cell *c = &s->run.cells[i];
    const an_settings *o = &s->settings[i];
    return json_pack("{s:I, s:s, s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:s, s:s, s:i}",
                     "cell", (json_int_t)i, "engine", c->engine, "model", c->model, "label", c->label, "key", c->key,
                     "work", c->work.kind == AN_WORK_STEP ? "step" : "generate", "n_prompt", c->work.n_prompt, "n_gen",
                     c->work.n_gen, "n_depth", c->work.n_depth, "threads", o->threads, "n_ctx", o->n_ctx, "n_batch",
                     o->n_batch, "n_ubatch", o->n_ubatch, "kv", o->kv_type, "flash_attn", tristates[o->flash_attn],
                     "compute", o->compute_dtype, "device", o->device, "n_gpu_layers", o->n_gpu_layers);
}

static anemo_status write_cells(const an_sweep *s, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < s->run.n_cell; i++) {
        AN_TRY(an_json_write(cell_json(s, i), JSON_COMPACT, out, err));
        an_str_append_char(out, '\n');
    }
    status = an_str_check(out, err);
cleanup:
    return status;
}

static anemo_status set_id(an_sweep *s, anemo_error *err)
{
    char digest[65];
    if (!an_sha256_hex(s->manifest.data, s->manifest.len, digest))
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    snprintf(s->id, sizeof s->id, "sweep-%.16s", digest);
    snprintf(s->run.id, sizeof s->run.id, "%s", s->id);
    return ANEMO_OK;
}

anemo_status an_sweep_write_manifest(an_sweep *s, bool has_seed, anemo_error *err)
{
    anemo_status status;
    an_str cells = {0};
    char digest[65];
    AN_TRY(write_cells(s, &cells, err));
    if (!has_seed) {
        /* The order has to be random and yet the same when the plan is taken up again. */
        if (!an_sha256_hex(cells.data, cells.len, digest)) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        unsigned long long seed = 0;
        sscanf(digest, "%12llx", &seed);
        s->seed = seed;
        json_object_set_new(s->run.workload, "seed", json_integer((json_int_t)seed));
    }
    an_str_clear(&s->manifest);
    AN_TRY(an_json_write(head_json(s), JSON_COMPACT, &s->manifest, err));
    an_str_append_char(&s->manifest, '\n');
    an_str_append_bytes(&s->manifest, an_str_text(&cells), cells.len);
    AN_TRY(an_str_check(&s->manifest, err));
    AN_TRY(set_id(s, err));
cleanup:
    an_str_free(&cells);
    return status;
}

anemo_status an_sweep_describe(an_sweep *s, const char *note, char *const *tags, anemo_error *err)
{
    an_run *run = &s->run;
    snprintf(run->kind, sizeof run->kind, "sweep");
    if (note && !(run->note = an_strdup(note))) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    bool ok = true;
    if (tags) ok = (run->tags = json_array()) != NULL;
    for (size_t i = 0; ok && tags && tags[i]; i++)
        ok = json_array_append_new(run->tags, json_string(tags[i])) == 0;
    run->workload = json_pack("{s:s, s:i, s:i, s:i, s:f, s:f, s:I}", "name", s->name, "n_rep", s->n_rep, "n_warmup", s->n_warmup,
                              "n_block", s->n_block, "delay_s", s->delay_s, "timeout_s", s->timeout_s, "seed",
                              (json_int_t)s->seed);
    return ok && run->workload ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

/* ---- reading */

/* Whole numbers of a JSON object with their ranges, by a table. */
typedef struct int_field {
    const char *key;
    int64_t min, max;
    int64_t *out;
} int_field;

static anemo_status get_ints(const json_t *obj, const int_field *fields, size_t n, const char *place, anemo_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const int_field *f = &fields[i];
        if (!json_is_integer(json_object_get(obj, f->key)))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s is missing or no whole number", place, f->key);
        anemo_status status = an_json_get_i64(obj, f->key, 0, f->min, f->max, f->out, place, err);
        if (status != ANEMO_OK) return status;
    }
    return ANEMO_OK;
}

static anemo_status get_text(const json_t *obj, const char *key, size_t cap, const char **out, const char *place,
                             anemo_error *err)
{
    anemo_status status = an_json_get_str(obj, key, NULL, out, place, err);
    if (status != ANEMO_OK) return status;
    if (!*out || strlen(*out) >= cap)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s is missing or longer than %zu bytes", place, key, cap - 1);
    return ANEMO_OK;
}

static anemo_status get_real(const json_t *obj, const char *key, double min, double max, double *out, const char *place,
                             anemo_error *err)
{
    anemo_status status = an_json_get_f64(obj, key, -1, out, place, err);
    if (status == ANEMO_OK && !(*out >= min && *out <= max))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s is missing or not from %g to %g", place, key, min, max);
    return status;
}

static anemo_status read_model(an_sweep *s, const json_t *obj, const char *place, anemo_error *err)
{
    anemo_status status;
    int64_t bytes, n_param, weights, kv, width, n_ctx;
    const char *name, *path, *container, *sha256;
    const int_field ints[] = {{"bytes", 0, INT64_MAX, &bytes},
                              {"n_param", 0, INT64_MAX, &n_param},
                              {"weight_bytes", 0, INT64_MAX, &weights},
                              {"kv_values_per_pos", 0, UINT32_MAX, &kv},
                              {"attention_width", 0, UINT32_MAX, &width},
                              {"n_ctx_train", 0, INT32_MAX, &n_ctx}};
    an_run_model *m = an_run_add_model(&s->run);
    if (!m) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(get_ints(obj, ints, AN_COUNT_OF(ints), place, err));
    AN_TRY(get_text(obj, "name", 4096, &name, place, err));
    AN_TRY(get_text(obj, "path", 4096, &path, place, err));
    AN_TRY(get_text(obj, "container", sizeof m->container, &container, place, err));
    AN_TRY(get_text(obj, "sha256", sizeof m->sha256, &sha256, place, err));
    AN_TRY(get_real(obj, "flop_per_token", 0, 1e30, &m->flop_per_token, place, err));
    AN_TRY(get_real(obj, "head_flop", 0, 1e30, &m->head_flop, place, err));
    m->name = an_strdup(name);
    m->path = an_strdup(path);
    if (!m->name || !m->path) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    snprintf(m->container, sizeof m->container, "%s", container);
    snprintf(m->sha256, sizeof m->sha256, "%s", sha256);
    m->bytes = (uint64_t)bytes;
    m->n_param = (uint64_t)n_param;
    m->weight_bytes = (uint64_t)weights;
    m->kv_values_per_pos = (uint64_t)kv;
    m->attention_width = (uint64_t)width;
    m->n_ctx_train = (int)n_ctx;
cleanup:
    return status;
}

static anemo_status read_head(an_sweep *s, const json_t *head, size_t *n_cell, const char *place, anemo_error *err)
{
    anemo_status status;
    const char *schema, *name, *note, *url;
    char *tags[65] = {0};
    int64_t cells, n_block, n_rep, n_warmup, seed, memory, reserve;
    const int_field ints[] = {{"n_cell", 1, AN_PLAN_CELLS_MAX, &cells},
                              {"n_block", 1, 10000, &n_block},
                              {"n_rep", 1, 10000, &n_rep},
                              {"n_warmup", 0, 1000, &n_warmup},
                              {"seed", 0, INT64_MAX, &seed},
                              {"memory_bytes", 0, INT64_MAX, &memory},
                              {"disk_reserve_bytes", 0, INT64_MAX, &reserve}};
    AN_TRY(an_json_get_str(head, "schema", "", &schema, place, err));
    if (strcmp(schema, SCHEMA) != 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a manifest of a sweep: its schema is '%.40s', expected '%s'",
                         place, schema, SCHEMA);
        goto cleanup;
    }
    AN_TRY(get_ints(head, ints, AN_COUNT_OF(ints), place, err));
    AN_TRY(get_text(head, "name", 4096, &name, place, err));
    AN_TRY(an_json_get_str(head, "note", NULL, &note, place, err));
    AN_TRY(an_json_get_str(head, "url", NULL, &url, place, err));
    AN_TRY(get_real(head, "delay_s", 0, 1e6, &s->delay_s, place, err));
    AN_TRY(get_real(head, "timeout_s", 1, 1e6, &s->timeout_s, place, err));
    AN_TRY(an_json_get_bool(head, "probes", true, &s->probes, place, err));
    AN_TRY(get_real(head, "memory_share", 0, 1, &s->memory_share, place, err));
    const json_t *list = json_object_get(head, "tags"), *models = json_object_get(head, "models");
    for (size_t i = 0; i < json_array_size(list) && i + 1 < AN_COUNT_OF(tags); i++)
        tags[i] = (char *)(uintptr_t)json_string_value(json_array_get(list, i));
    for (size_t i = 0; i < json_array_size(models); i++)
        AN_TRY(read_model(s, json_array_get(models, i), place, err));
    s->name = an_strdup(name);
    s->url = an_strdup(url);
    if (!s->name || (url && !s->url)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    *n_cell = (size_t)cells;
    s->n_block = (int)n_block;
    s->n_rep = (int)n_rep;
    s->n_warmup = (int)n_warmup;
    s->seed = (uint64_t)seed;
    s->memory_bytes = (uint64_t)memory;
    s->disk_reserve_bytes = (uint64_t)reserve;
    status = an_sweep_describe(s, note, json_array_size(list) ? tags : NULL, err);
cleanup:
    return status;
}

/* The static text of a word; *ok false when the axis does not know it. */
static const char *get_word(an_axis axis, const json_t *obj, const char *key, bool *ok)
{
    const char *word = an_axis_word(axis, json_string_value(json_object_get(obj, key)));
    if (!word) *ok = false;
    return word;
}

static anemo_status read_cell(an_sweep *s, const json_t *obj, size_t index, const char *place, anemo_error *err)
{
    anemo_status status;
    int64_t cell, model, n_prompt, n_gen, n_depth, threads, n_ctx, n_batch, n_ubatch, ngl;
    const char *engine, *label, *key;
    const int_field ints[] = {{"cell", (int64_t)index, (int64_t)index, &cell},
                              {"model", -1, (int64_t)s->run.n_model - 1, &model},
                              {"n_prompt", 0, 1 << 24, &n_prompt},
                              {"n_gen", 0, 1 << 24, &n_gen},
                              {"n_depth", 0, 1 << 24, &n_depth},
                              {"threads", 1, 1024, &threads},
                              {"n_ctx", 0, 1 << 26, &n_ctx},
                              {"n_batch", 1, 65536, &n_batch},
                              {"n_ubatch", 1, 65536, &n_ubatch},
                              {"n_gpu_layers", -1, 1 << 20, &ngl}};
    bool ok = true;
    an_settings o = an_settings_default();
    an_cell *c = an_run_add_cell(&s->run);
    if (!c) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(get_ints(obj, ints, AN_COUNT_OF(ints), place, err));
    AN_TRY(get_text(obj, "engine", sizeof c->engine, &engine, place, err));
    AN_TRY(get_text(obj, "label", sizeof c->label, &label, place, err));
    AN_TRY(get_text(obj, "key", sizeof c->key, &key, place, err));
    const char *work = get_word(AN_AXIS_WORK, obj, "work", &ok),
               *flash = get_word(AN_AXIS_FLASH_ATTN, obj, "flash_attn", &ok);
    o.kv_type = get_word(AN_AXIS_KV, obj, "kv", &ok);
    o.compute_dtype = get_word(AN_AXIS_COMPUTE, obj, "compute", &ok);
    o.device = get_word(AN_AXIS_DEVICE, obj, "device", &ok);
    if (!ok || !an_engine_find(engine) || n_prompt + n_gen == 0) {
        status =
            an_fail(err, ANEMO_ERR_FORMAT, "%s: an engine, a word or a length that this anemo does not know", place);
        goto cleanup;
    }
    o.threads = o.threads_batch = (int)threads;
    o.n_ctx = (int)n_ctx;
    o.n_batch = (int)n_batch;
    o.n_ubatch = (int)n_ubatch;
    o.n_gpu_layers = (int)ngl;
    o.flash_attn = an_sweep_tristate(flash);
    snprintf(c->engine, sizeof c->engine, "%s", engine);
    snprintf(c->label, sizeof c->label, "%s", label);
    snprintf(c->key, sizeof c->key, "%s", key);
    c->model = (int)model;
    c->named = true;
    c->status = AN_CELL_PENDING;
    c->work = (an_work){.kind = strcmp(work, "step") ? AN_WORK_GENERATE : AN_WORK_STEP,
                        .n_prompt = (int)n_prompt,
                        .n_gen = (int)n_gen,
                        .n_depth = (int)n_depth};
    c->settings = an_settings_json(&o);
    s->settings[index] = o;
    if (!c->settings) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    return status;
}

/* The next line of the text as an object. *obj NULL at the end. */
static anemo_status next_line(const char **at, const char *end, size_t line, const char *name, char place[300],
                              json_t **obj, anemo_error *err)
{
    *obj = NULL;
    if (*at == end) return ANEMO_OK;
    const char *stop = memchr(*at, '\n', (size_t)(end - *at));
    size_t n = (size_t)((stop ? stop : end) - *at);
    snprintf(place, 300, "%.250s:%zu", name, line);
    anemo_status status = an_json_parse(obj, *at, n, place, err);
    *at = stop ? stop + 1 : end;
    if (status == ANEMO_OK && !json_is_object(*obj)) {
        json_decref(*obj);
        *obj = NULL;
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: expected a JSON object", place);
    }
    return status;
}

anemo_status an_sweep_parse_manifest(an_sweep *out, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status;
    an_sweep s = {0};
    json_t *obj = NULL;
    const char *at = text, *end = text + n;
    char place[300];
    size_t n_cell = 0, line = 1;
    an_run_init(&s.run);
    AN_TRY(next_line(&at, end, line, name, place, &obj, err));
    if (!obj) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: empty; a manifest is written by 'anemo sweep PLAN --slurm'", name);
        goto cleanup;
    }
    AN_TRY(read_head(&s, obj, &n_cell, place, err));
    /* Each cell has a line of its own, so a file can be asked for no more than its size allows. */
    if (n_cell > n / 2 || (size_t)s.n_block * n_cell > AN_PLAN_UNITS_MAX) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: n_cell is %zu, which this file cannot hold", name, n_cell);
        goto cleanup;
    }
    s.settings = an_calloc(n_cell, sizeof *s.settings);
    s.at = an_sweep_identity(n_cell);
    if (!s.settings || !s.at) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < n_cell; i++) {
        json_decref(obj);
        AN_TRY(next_line(&at, end, ++line, name, place, &obj, err));
        if (!obj) {
            status =
                an_fail(err, ANEMO_ERR_FORMAT, "%s: ends after %zu of %zu cells; it was cut short", name, i, n_cell);
            goto cleanup;
        }
        AN_TRY(read_cell(&s, obj, i, place, err));
    }
    if (at != end) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: more lines than its %zu cells", name, n_cell);
        goto cleanup;
    }
    an_str_append_bytes(&s.manifest, text, n);
    AN_TRY(an_str_check(&s.manifest, err));
    AN_TRY(set_id(&s, err));
cleanup:
    json_decref(obj);
    if (status == ANEMO_OK)
        *out = s;
    else
        an_sweep_free(&s);
    return status;
}

anemo_status an_sweep_open_manifest(an_sweep *out, const char *path, anemo_error *err)
{
    char *text = NULL;
    size_t n = 0;
    anemo_status status = an_file_read(path, MANIFEST_MAX, &text, &n, err);
    if (status == ANEMO_OK) status = an_sweep_parse_manifest(out, text, n, path, err);
    an_free(text);
    return status;
}
