/* anemo repeat: measure again what a capsule holds, and say whether it came out the same. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/keeper.h"
#include "cli/quote.h"
#include "cli/repeat.h"
#include "cli/results.h"
#include "cli/results_compare.h"

#include "base/alloc.h"
#include "bench/comparison.h"
#include "bench/model_digest.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"
#include "report/capsule.h"
#include "report/reproduced.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CAPSULE_BYTES_MAX = 512 << 20 };

typedef struct repeat_args {
    an_opt_list models, tags;
    const char *db, *url, *out, *command;
    double margin, noise;
    int64_t n_rep, timeout_s;
    bool different, json, dry_run, no_store, quiet;
} repeat_args;

#define FIELD(name) offsetof(repeat_args, name)

static const an_option options[] = {
    {"model", "m", AN_OPT_EACH, FIELD(models), 0, 0, "NAME=PATH", "Where a model of the capsule lies here; may be repeated"},
    {"allow-different-model", NULL, AN_OPT_FLAG, FIELD(different), 0, 0, NULL, "Measure a model whose checksum is another, too"},
    {"reps", "r", AN_OPT_I64, FIELD(n_rep), 1, 1000, "N", "Timed repetitions of each cell (default: as the capsule's plan)"},
    {"margin", NULL, AN_OPT_F64, FIELD(margin), 0.1, 100, "P", "Percent within which a figure counts as the same (5)"},
    {"noise", NULL, AN_OPT_F64, FIELD(noise), 0, 100, "P", "Percent between two runs of the same thing (what an A/A run showed)"},
    {"url", NULL, AN_OPT_STR, FIELD(url), 0, 0, "URL", "The server of the engine 'http', which no capsule names"},
    {"timeout", NULL, AN_OPT_I64, FIELD(timeout_s), 1, 86400, "S", "Seconds without an answer that count as a hang (600)"},
    {"dry-run", "n", AN_OPT_FLAG, FIELD(dry_run), 0, 0, NULL, "Find and check the models, measure nothing"},
    {"json", NULL, AN_OPT_FLAG, FIELD(json), 0, 0, NULL, "Print JSON (anemo.repeat/1)"},
    {"output", "o", AN_OPT_STR, FIELD(out), 0, 0, "FILE", "Write to FILE instead of stdout"},
    {"tag", NULL, AN_OPT_LIST, FIELD(tags), 0, 0, "T,…", "Names to find the new run by"},
    {"db", NULL, AN_OPT_STR, FIELD(db), 0, 0, "FILE", "Database that keeps the new run (ANEMO_DB, or results.db in the data folder)"},
    {"no-store", NULL, AN_OPT_FLAG, FIELD(no_store), 0, 0, NULL, "Do not keep the new run"},
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

/* ---- the models */

/* The path that --model gives for a name; NULL without. */
static const char *given_path(const repeat_args *a, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < a->models.n; i++)
        if (!strncmp(a->models.items[i], name, n) && a->models.items[i][n] == '=') return a->models.items[i] + n + 1;
    return NULL;
}

/* Every --model names a model of the capsule. */
static anemo_status check_given(const repeat_args *a, const an_run *run, anemo_error *err)
{
    for (size_t i = 0; i < a->models.n; i++) {
        const char *item = a->models.items[i], *equals = strchr(item, '=');
        bool known = false;
        for (size_t k = 0; equals && k < run->n_model; k++) {
            size_t n = strlen(run->models[k].name);
            known = known || ((size_t)(equals - item) == n && !strncmp(run->models[k].name, item, n));
        }
        if (!known)
            return an_fail(err, ANEMO_ERR_INVAL, "--model '%.80s' is no NAME=PATH with a model of the capsule; one is %s", item,
                           run->n_model ? run->models[0].name : "none");
    }
    return ANEMO_OK;
}

/* Is what lies there the capsule's model? Without a checksum in the capsule it is taken by its name. */
static anemo_status check_model(const repeat_args *a, const an_capsule *c, size_t i, const char *path, anemo_error *err)
{
    anemo_status status;
    an_container container;
    char found[65];
    const char *name = c->run.models[i].name;
    if (!c->sha256[i][0]) {
        if (!a->quiet) fprintf(stderr, "anemo repeat: the capsule knows no checksum of %s: taken by its name\n", name);
        return ANEMO_OK;
    }
    AN_TRY(an_model_probe(path, &container, err));
    an_model_digest(path, container, found);
    if (!found[0]) {
        status = an_fail(err, ANEMO_ERR_IO, "%s: its weights cannot be read", path);
        goto cleanup;
    }
    if (strcmp(found, c->sha256[i]) != 0) {
        if (!a->different) {
            status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                             "%s is not the capsule's %s: its weights have sha256 %.16s…, not %.16s…; --model '%s=PATH' names another file, "
                             "--allow-different-model measures this one",
                             path, name, found, c->sha256[i], name);
            goto cleanup;
        }
        fprintf(stderr, "anemo repeat: %s has other weights than the capsule's\n", path);
    }
cleanup:
    return status;
}

/* Where the model may lie: what the user says, where it lay, the models folder and the cache. The first that is the right one. */
static anemo_status find_model(const repeat_args *a, const an_capsule *c, size_t i, char **out, anemo_error *err)
{
    const an_run_model *m = &c->run.models[i];
    const char *given = given_path(a, m->name);
    const char *candidates[] = {m->path, m->name};
    anemo_status status = ANEMO_ERR_NOTFOUND;
    *out = NULL;
    if (given) {
        status = an_cli_model_path(given, out, err);
        return status == ANEMO_OK ? check_model(a, c, i, *out, err) : status;
    }
    for (size_t k = 0; k < AN_COUNT_OF(candidates); k++) {
        anemo_error why = {0};
        if (!candidates[k] || (k == 0 && !strchr(candidates[k], '/'))) continue;
        an_free(*out);
        *out = NULL;
        anemo_status one = an_cli_model_path(candidates[k], out, &why);
        if (one == ANEMO_OK) one = check_model(a, c, i, *out, &why);
        if (one == ANEMO_OK) return ANEMO_OK;
        /* That a file is there and is another one says more than that a name is not known. */
        if (status == ANEMO_ERR_NOTFOUND) status = an_fail(err, one, "%s", why.message);
    }
    if (status == ANEMO_ERR_NOTFOUND)
        an_fail(err, status, "the model %s is not here (neither %s nor by its name); --model '%s=PATH' says where it is", m->name,
                m->path ? m->path : "by a path", m->name);
    return status;
}

/* ---- the plan */

typedef struct plan {
    char **paths; /* NULL-terminated */
    const char **engines;
    size_t n_engine;
    int *threads;
    size_t n_threads;
    int32_t *ids;
    size_t n_ids;
    an_comparison_options o;
} plan;

static void plan_free(plan *p)
{
    an_names_free(p->paths);
    an_free(p->engines);
    an_free(p->threads);
    an_free(p->ids);
}

static anemo_status read_ids(const json_t *list, plan *p, const char *name, anemo_error *err)
{
    size_t n = json_array_size(list);
    if (n == 0) return an_fail(err, ANEMO_ERR_FORMAT, "%s: the workload has no prompt_ids", name);
    p->ids = an_malloc(n * sizeof *p->ids);
    if (!p->ids) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX) return an_fail(err, ANEMO_ERR_FORMAT, "%s: prompt_ids[%zu] is no token id", name, i);
        p->ids[p->n_ids++] = (int32_t)id;
    }
    return ANEMO_OK;
}

/* One of the words; the pointer is static, so that it outlives the capsule's JSON. */
static anemo_status read_word(const json_t *obj, const char *key, const char *const *words, const char **out, const char *name,
                              anemo_error *err)
{
    const char *text;
    anemo_status status;
    AN_TRY(an_json_get_str(obj, key, words[0], &text, name, err));
    for (size_t i = 0; words[i]; i++)
        if (!strcmp(words[i], text)) {
            *out = words[i];
            return ANEMO_OK;
        }
    status = an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" is '%.20s', which this version of anemo does not know", name, key, text);
cleanup:
    return status;
}

static anemo_status read_int(const json_t *obj, const char *key, int def, int min, int max, int *out, const char *name, anemo_error *err)
{
    int64_t n;
    anemo_status status;
    AN_TRY(an_json_get_i64(obj, key, def, min, max, &n, name, err));
    *out = (int)n;
cleanup:
    return status;
}

/* A type of the KV cache: which there are knows the engine. */
static anemo_status read_type(const json_t *obj, const char *key, const char **out, const char *name, anemo_error *err)
{
    anemo_status status;
    const char *text;
    AN_TRY(an_json_get_str(obj, key, *out, &text, name, err));
    if (text && (!text[0] || strlen(text) > 15 || text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_")]))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" is '%.20s', which is no type", name, key, text);
    *out = text;
cleanup:
    return status;
}

/* Speculative decoding; borrowed from obj. A draft model is looked for where it was. */
static anemo_status read_draft(const json_t *obj, const char **draft, int *n, const char *name, anemo_error *err)
{
    anemo_status status;
    AN_TRY(an_json_get_str(obj, "draft", NULL, draft, name, err));
    AN_TRY(read_int(obj, "draft_n", 0, 0, 15, n, name, err));
    if (*draft && !**draft) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: \"draft\" is empty", name);
cleanup:
    return status;
}

anemo_status an_repeat_settings(const json_t *obj, an_settings *s, const char *name, anemo_error *err)
{
    anemo_status status;
    const char *flash = "auto";
    *s = an_settings_default();
    AN_TRY(read_int(obj, "n_ctx", 0, 0, 10000000, &s->n_ctx, name, err));
    AN_TRY(read_int(obj, "n_batch", 512, 1, 65536, &s->n_batch, name, err));
    AN_TRY(read_int(obj, "n_ubatch", 512, 1, 65536, &s->n_ubatch, name, err));
    AN_TRY(read_int(obj, "threads", s->threads, 1, 1024, &s->threads, name, err));
    AN_TRY(read_int(obj, "threads_batch", s->threads, 1, 1024, &s->threads_batch, name, err));
    AN_TRY(read_int(obj, "n_gpu_layers", -1, -1, 100000, &s->n_gpu_layers, name, err));
    AN_TRY(read_type(obj, "kv_type", &s->kv_type, name, err));
    AN_TRY(read_type(obj, "kv_type_v", &s->kv_type_v, name, err));
    AN_TRY(read_word(obj, "device", an_cli_devices, &s->device, name, err));
    AN_TRY(read_word(obj, "compute_dtype", an_cli_compute_types, &s->compute_dtype, name, err));
    AN_TRY(read_word(obj, "flash_attn", an_cli_tristates, &flash, name, err));
    AN_TRY(read_word(obj, "layout", an_cli_layouts, &s->layout, name, err));
    AN_TRY(an_json_get_bool(obj, "pin", false, &s->pin, name, err));
    AN_TRY(read_draft(obj, &s->draft, &s->draft_n, name, err));
    s->flash_attn = !strcmp(flash, "on") ? AN_ON : !strcmp(flash, "off") ? AN_OFF : AN_AUTO;
cleanup:
    return status;
}

/* Engines and numbers of threads of the cells, each once, in their order; and whether there were cells with the packages' defaults. */
static anemo_status read_cells(const an_run *run, plan *p, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    p->engines = an_calloc(run->n_cell + 1, sizeof *p->engines);
    p->threads = an_calloc(run->n_cell + 1, sizeof *p->threads);
    if (!p->engines || !p->threads) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *c = &run->cells[i];
        bool engine_known = false, threads_known = false;
        int threads;
        if (c->copy_of >= 0) continue;
        for (size_t k = 0; k < p->n_engine; k++) engine_known = engine_known || !strcmp(p->engines[k], c->engine);
        if (!engine_known) p->engines[p->n_engine++] = c->engine;
        if (c->stock) {
            p->o.stock = true;
            continue;
        }
        AN_TRY(read_int(c->settings, "threads", 0, 0, 1024, &threads, name, err));
        for (size_t k = 0; k < p->n_threads; k++) threads_known = threads_known || p->threads[k] == threads;
        if (threads > 0 && !threads_known) p->threads[p->n_threads++] = threads;
    }
    if (p->n_engine == 0) status = an_fail(err, ANEMO_ERR_FORMAT, "%s: the run has no cells", name);
cleanup:
    return status;
}

static anemo_status read_plan(const repeat_args *a, const an_run *run, plan *p, const char *name, anemo_error *err)
{
    anemo_status status;
    const json_t *w = run->workload;
    bool fixed;
    int64_t seed;
    double budget;
    an_comparison_options *o = &p->o;
    AN_TRY(read_ids(json_object_get(w, "prompt_ids"), p, name, err));
    AN_TRY(an_repeat_settings(json_object_get(w, "settings"), &o->settings, name, err));
    AN_TRY(read_draft(w, &o->draft, &o->draft_n, name, err));
    AN_TRY(read_cells(run, p, name, err));
    AN_TRY(read_int(w, "n_predict", 50, 1, 1000000, &o->n_predict, name, err));
    AN_TRY(read_int(w, "n_rep", 0, 0, 1000, &o->n_rep, name, err));
    AN_TRY(read_int(w, "max_reps", 30, 1, 1000, &o->max_reps, name, err));
    AN_TRY(read_int(w, "n_warmup", AN_WARMUP_AUTO, AN_WARMUP_AUTO, 60, &o->n_warmup, name, err));
    AN_TRY(an_json_get_bool(w, "fixed_length", true, &fixed, name, err));
    AN_TRY(an_json_get_bool(w, "cold", false, &o->cold, name, err));
    AN_TRY(an_json_get_bool(w, "gate", false, &o->gate, name, err));
    AN_TRY(an_json_get_bool(w, "bandwidth", true, &o->bandwidth, name, err));
    AN_TRY(an_json_get_i64(w, "seed", 0, INT64_MIN, INT64_MAX, &seed, name, err));
    AN_TRY(an_json_get_f64(w, "budget_s", 0, &budget, name, err));
    if (!(budget >= 0 && budget < 1e7)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: budget_s is out of range", name);
        goto cleanup;
    }
    o->models = (const char *const *)p->paths;
    o->n_model = run->n_model;
    o->engines = p->engines;
    o->n_engine = p->n_engine;
    o->prompt_ids = p->ids;
    o->n_prompt_ids = p->n_ids;
    o->threads = p->n_threads ? p->threads : NULL;
    o->n_threads = p->n_threads;
    o->stop_eos = !fixed;
    o->aa = run->aa;
    o->precision = run->precision;
    o->budget_ns = (uint64_t)(budget * 1e9);
    o->seed = (uint64_t)seed;
    o->url = a->url;
    if (a->n_rep > 0) o->n_rep = (int)a->n_rep;
    o->timeout_ns = (uint64_t)a->timeout_s * 1000000000u;
    o->stop = an_interrupts_watch();
cleanup:
    return status;
}

/* ---- measuring */

typedef struct watcher {
    an_progress *progress;
    an_keeper keeper;
} watcher;

/* The new run says where it comes from. */
static anemo_status describe(an_run *now, const an_run *before, const repeat_args *a, anemo_error *err)
{
    char note[64];
    snprintf(note, sizeof note, "repeats %s", before->id);
    now->extra = json_pack("{s:s}", "parent", before->id);
    if (!now->extra) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    return an_keeper_describe(now, a->command, note, &a->tags, err);
}

static anemo_status write_findings(const repeat_args *a, const an_reproduced *r, anemo_error *err)
{
    anemo_status status;
    an_str text = {0};
    if (a->json) {
        AN_TRY(an_json_write(an_reproduced_json(r), JSON_INDENT(1) | JSON_REAL_PRECISION(12), &text, err));
        an_str_append_char(&text, '\n');
    } else {
        AN_TRY(an_reproduced_text(r, &text, err));
    }
    if (a->out) AN_TRY(an_file_write(a->out, an_str_text(&text), text.len, err));
    else AN_TRY(an_results_print(&text, err));
cleanup:
    an_str_free(&text);
    return status;
}

/* How the capsule's run is measured again. */
typedef enum way { WAY_COMPARE, WAY_CELLS } way;

static anemo_status find_way(const an_run *run, way *out, const char *name, anemo_error *err)
{
    bool cells = !strcmp(run->kind, "bench") || !strcmp(run->kind, "sweep");
    if (!cells && strcmp(run->kind, "compare") != 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s holds a run of kind '%s', which anemo did not measure; runs of compare, bench and sweep can be repeated", name,
                       run->kind);
    *out = cells ? WAY_CELLS : WAY_COMPARE;
    return ANEMO_OK;
}

/* The findings, and what they mean for the exit status. */
static anemo_status judge(const repeat_args *a, const an_run *before, const an_run *now, int *exit_code, anemo_error *err)
{
    anemo_status status;
    an_reproduced r = {0};
    double noise = a->noise < 0 ? an_runs_noise(before, now) : log1p(a->noise / 100);
    AN_TRY(an_reproduced_make(&r, before, now, a->margin / 100, noise, err));
    AN_TRY(write_findings(a, &r, err));
    *exit_code = an_run_exit_code(now);
    if (*exit_code == 0 && !an_reproduced_holds(&r)) *exit_code = AN_EXIT_GATE;
    if (*exit_code == 0 && r.n_missing) *exit_code = 1;
cleanup:
    an_reproduced_free(&r);
    return status;
}

static anemo_status finish(const repeat_args *a, const an_run *before, const an_run *now, watcher *w, int *exit_code, anemo_error *err)
{
    an_progress_end(w->progress);
    w->progress = NULL;
    bool kept = an_keeper_finish(&w->keeper, now);
    if (kept && !a->quiet) fprintf(stderr, "anemo repeat: kept as run %s\n", now->id);
    return judge(a, before, now, exit_code, err);
}

static anemo_status measure_comparison(const repeat_args *a, const an_run *before, plan *p, int *exit_code, anemo_error *err)
{
    anemo_status status;
    an_comparison c = {0};
    watcher w = {.progress = an_progress_begin(2, a->quiet)};
    p->o.progress = an_cli_show_progress;
    p->o.begun = an_keeper_on_begun;
    p->o.changed = an_keeper_on_changed;
    p->o.progress_ctx = w.progress;
    p->o.changed_ctx = &w.keeper;
    AN_TRY(an_comparison_plan(&c, &p->o, err));
    AN_TRY(describe(&c.run, before, a, err));
    if (!a->no_store) an_keeper_open(&w.keeper, "repeat", a->db);
    AN_TRY(an_comparison_run(&c, err));
    AN_TRY(finish(a, before, &c.run, &w, exit_code, err));
cleanup:
    an_progress_end(w.progress);
    an_keeper_close(&w.keeper);
    an_comparison_free(&c);
    return status;
}

static an_repeat_job job_of(const repeat_args *a, const an_run *before, const char *path, char *const *paths)
{
    return (an_repeat_job){.before = before,
                           .paths = paths,
                           .name = path,
                           .url = a->url,
                           .n_rep = (int)a->n_rep,
                           .timeout_ns = (uint64_t)a->timeout_s * 1000000000u};
}

static anemo_status measure_cells(const repeat_args *a, const an_run *before, const char *path, char *const *paths, int *exit_code,
                                  anemo_error *err)
{
    anemo_status status;
    an_repeat_job j = job_of(a, before, path, paths);
    watcher w = {.progress = an_progress_begin(2, a->quiet)};
    an_run now;
    an_run_init(&now);
    AN_TRY(describe(&now, before, a, err));
    if (!a->no_store) an_keeper_open(&w.keeper, "repeat", a->db);
    j.progress = w.progress;
    j.keeper = &w.keeper;
    AN_TRY(an_repeat_cells(&j, &now, err));
    AN_TRY(finish(a, before, &now, &w, exit_code, err));
cleanup:
    an_progress_end(w.progress);
    an_keeper_close(&w.keeper);
    an_run_free(&now);
    return status;
}

static anemo_status repeat(const repeat_args *a, const an_positional *pos, int *exit_code, anemo_error *err)
{
    anemo_status status;
    char *data = NULL;
    size_t n;
    an_capsule capsule = {0};
    plan p = {0};
    way how = WAY_COMPARE;
    an_run_init(&capsule.run);
    if (pos->n != 1) {
        status = an_fail(err, ANEMO_ERR_INVAL, "needs one capsule: anemo repeat FILE; 'anemo results pack RUN' makes one");
        goto cleanup;
    }
    const char *path = pos->items[0];
    AN_TRY(an_file_read(path, CAPSULE_BYTES_MAX, &data, &n, err));
    AN_TRY(an_capsule_read(&capsule, data, n, path, err));
    AN_TRY(check_given(a, &capsule.run, err));
    p.paths = an_calloc(capsule.run.n_model + 1, sizeof *p.paths);
    if (!p.paths) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(find_way(&capsule.run, &how, path, err));
    if (how == WAY_COMPARE) {
        AN_TRY(read_plan(a, &capsule.run, &p, path, err));
    } else {
        an_repeat_job j = job_of(a, &capsule.run, path, p.paths);
        AN_TRY(an_repeat_cells_check(&j, err));
    }
    for (size_t i = 0; i < capsule.run.n_model; i++) AN_TRY(find_model(a, &capsule, i, &p.paths[i], err));
    for (size_t i = 0; a->dry_run && i < capsule.run.n_model; i++) printf("%s: %s\n", capsule.run.models[i].name, p.paths[i]);
    if (a->dry_run) goto cleanup;
    if (how == WAY_COMPARE) AN_TRY(measure_comparison(a, &capsule.run, &p, exit_code, err));
    else AN_TRY(measure_cells(a, &capsule.run, path, p.paths, exit_code, err));
cleanup:
    plan_free(&p);
    an_capsule_free(&capsule);
    an_free(data);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    int exit_code = 0;
    repeat_args a = {.margin = 5, .noise = -1, .timeout_s = 600};
    if (an_options_parse(&an_cmd_repeat, argc, argv, &a, &pos, &help, &err) != ANEMO_OK) return an_cli_fail("repeat", &err);
    char *command = an_cli_quote_command(argc, argv);
    a.command = command;
    if (!help && repeat(&a, &pos, &exit_code, &err) != ANEMO_OK) exit_code = an_cli_fail("repeat", &err);
    an_free(command);
    an_options_free(&an_cmd_repeat, &a, &pos);
    return exit_code;
}

const an_command an_cmd_repeat = {
    .name = "repeat",
    .args = "CAPSULE",
    .summary = "Measure again what a capsule holds and say whether it came out the same",
    .details = "The models are found by --model, by the capsule's path, in the models folder or the hub's cache, and have to have the weights'\n"
               "checksum. The plan is the capsule's: engines, threads, ids of the prompt, settings, seeds, repetitions. The new run is kept.\n\n"
               "The exit status is 0 when it was reproduced or nothing shows that it was not, 7 when a speed, the time to the first\n"
               "token, peak memory or the ids are others, 1 when a cell did not come out.",
    .options = options,
    .args_bytes = sizeof(repeat_args),
    .run = run,
};
