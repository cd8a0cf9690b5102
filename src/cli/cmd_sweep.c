/* anemo sweep: a grid of cells, unattended, on this machine or as tasks of a cluster. */
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/quote.h"

#include "base/alloc.h"
#include "base/str.h"
#include "drivers/driver.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"
#include "store/store.h"
#include "sweep/sweep.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct sweep_args {
    const char *db, *manifest, *out, *partition, *power_cmd;
    an_opt_list slurm_options;
    int64_t n_block, cell, per_task, array_limit;
    bool dry_run, resume, restart, retry_failed, status, json, local, slurm, slurm_dry_run, shared_node, quiet;
} sweep_args;

#define FIELD(name) offsetof(sweep_args, name)

static const an_option options[] = {
    {"dry-run", NULL, AN_OPT_FLAG, FIELD(dry_run), 0, 0, NULL,
     "Say what the sweep is and what it will take; measure nothing"},
    {"status", NULL, AN_OPT_FLAG, FIELD(status), 0, 0, NULL,
     "Say what is done, failed and pending, here or in the folder of --out"},
    {"json", NULL, AN_OPT_FLAG, FIELD(json), 0, 0, NULL, "--dry-run and --status as JSON"},
    {"resume", NULL, AN_OPT_FLAG, FIELD(resume), 0, 0, NULL,
     "Go on with a sweep that was begun (as without; an error when there is none)"},
    {"restart", NULL, AN_OPT_FLAG, FIELD(restart), 0, 0, NULL,
     "Begin anew; what was measured before stays as a run of its own"},
    {"retry-failed", NULL, AN_OPT_FLAG, FIELD(retry_failed), 0, 0, NULL,
     "Try failed, missing and skipped cells once more"},
    {"blocks", NULL, AN_OPT_I64, FIELD(n_block), 1, 10000, "N", "Go through the whole grid N times (over the plan's)"},
    {"db", NULL, AN_OPT_STR, FIELD(db), 0, 0, "FILE",
     "The results database (ANEMO_DB, else results.db in the data folder)"},
    {"power-cmd", NULL, AN_OPT_STR, FIELD(power_cmd), 0, 0, "CMD",
     "A command that prints watts, or 'J <joules>', a line"},
    {"local", NULL, AN_OPT_FLAG, FIELD(local), 0, 0, NULL,
     "Measure into result files below --out; several processes share the work"},
    {"out", "o", AN_OPT_STR, FIELD(out), 0, 0, "DIR", "Folder of the result files (beside the database)"},
    {"manifest", NULL, AN_OPT_STR, FIELD(manifest), 0, 0, "FILE", "A manifest in place of a plan"},
    {"cell", NULL, AN_OPT_I64, FIELD(cell), 0, 1000000, "I", "Measure the I-th task alone, from 0, into a result file"},
    {"per-task", NULL, AN_OPT_I64, FIELD(per_task), 1, 1000000, "K", "Units of one task (1)"},
    {"slurm", NULL, AN_OPT_FLAG, FIELD(slurm), 0, 0, NULL, "Submit the sweep as a job array"},
    {"slurm-dry-run", NULL, AN_OPT_FLAG, FIELD(slurm_dry_run), 0, 0, NULL,
     "Write the manifest, print script and command, submit nothing"},
    {"slurm-options", NULL, AN_OPT_EACH, FIELD(slurm_options), 0, 0, "OPT",
     "One more argument of sbatch, as it is (--account=x); repeatable"},
    {"partition", NULL, AN_OPT_STR, FIELD(partition), 0, 0, "P", "Slurm's partition"},
    {"array-limit", NULL, AN_OPT_I64, FIELD(array_limit), 1, 1000000, "K",
     "Tasks that run at a time (as many as there are nodes)"},
    {"shared-node", NULL, AN_OPT_FLAG, FIELD(shared_node), 0, 0, NULL,
     "Bound cores of a node that others use too, not the whole node"},
    AN_ROW_QUIET(FIELD(quiet)),
    AN_OPTION_END,
};

static int run(int argc, char **argv);

const an_command an_cmd_sweep = {
    .name = "sweep",
    .args = "[PLAN.ini]",
    .summary = "Measure a grid of engines, models and settings unattended; resumes; runs on Slurm",
    .details =
        "Every finished cell is in the database before the next begins. The same command goes on after Ctrl-C, kill -9 "
        "or a\n"
        "full disk, without measuring anything twice: a sweep is known by the content of its plan. Cells that do not "
        "fit in\n"
        "memory are skipped with the reason. Logs lie beside the database, in sweeps/ID. The exit status is 1 when a "
        "cell\n"
        "failed. With --slurm, --local or --cell each task gives a file; 'anemo results merge DIR/*.json' joins them.",
    .options = options,
    .args_bytes = sizeof(sweep_args),
    .run = run,
};

/* ---- where things lie */

/* The database's path, and the folder of this sweep beside it: an_free both. */
static anemo_status find_places(const sweep_args *a, const an_sweep *s, char **db, char **dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *data = NULL, *beside = NULL;
    const char *named = a->db ? a->db : an_env("ANEMO_DB");
    an_str path = {0};
    if (!named && !(data = an_dir_data()))
        return an_fail_no_dir(err, ANEMO_ERR_INVAL, "HOME is not set; name the database with --db");
    *db = named ? an_strdup(named) : an_path_join(data, "results.db");
    beside = *db ? an_path_dir(*db) : NULL;
    an_str_appendf(&path, "%s/sweeps/%s", beside ? beside : "", s->id);
    *dir = an_str_take(&path);
    if (!*db || !beside || !*dir) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_free(data);
    an_free(beside);
    return status;
}

/* The absolute form of a folder that is made for it; an_free. */
static anemo_status absolute_dir(const char *path, char **out, anemo_error *err)
{
    anemo_status status = an_dir_make(path, err);
    if (status != ANEMO_OK) return status;
    *out = an_path_real(path);
    return *out ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOTFOUND, "%s: not there any more", path);
}

/* The first folder on the way up that is there: whose file system a file below will be on. an_free; NULL when out of
 * memory. */
static char *existing_parent(const char *path)
{
    char *at = an_strdup(path);
    while (at && an_path_probe(at) == AN_PATH_ABSENT) {
        char *up = an_path_dir(at);
        an_free(at);
        at = up;
    }
    return at;
}

/* ---- the plan in words */

static void append_seconds(an_str *out, double s)
{
    if (s < 90)
        an_str_appendf(out, "%.0f s", s);
    else if (s < 90 * 60.0)
        an_str_appendf(out, "%.0f min", s / 60);
    else if (s < 48 * 3600.0)
        an_str_appendf(out, "%.1f h", s / 3600);
    else
        an_str_appendf(out, "%.1f days", s / 86400);
}

static void append_bytes(an_str *out, uint64_t bytes)
{
    double b = (double)bytes;
    if (b < 1e6)
        an_str_appendf(out, "%.0f kB", b / 1e3);
    else if (b < 1e9)
        an_str_appendf(out, "%.1f MB", b / 1e6);
    else
        an_str_appendf(out, "%.2f GB", b / 1e9);
}

static void append_basis(an_str *out, const an_sweep_estimate *e)
{
    static const char *const names[AN_BASIS_N] = {"not known and left out", "from earlier results of the same cell",
                                                  "from other work of the same engine and model",
                                                  "from the model's size and this machine's peaks"};
    const char *comma = "";
    for (int b = AN_BASIS_N; b-- > 0;) {
        if (e->n_by_basis[b] == 0) continue;
        an_str_appendf(out, "%s%zu %s", comma, e->n_by_basis[b], names[b]);
        comma = ", ";
    }
}

static void describe_text(const an_sweep *s, const an_sweep_estimate *e, const an_sweep_tally *t, an_str *out)
{
    an_str_appendf(out, "Sweep    %s (%s)\n", s->name, s->id);
    an_str_appendf(out, "Cells    %zu", s->run.n_cell);
    if (s->n_block > 1) an_str_appendf(out, " in %d blocks", s->n_block);
    an_str_appendf(out, ", %d repetition%s each; seed %" PRIu64, s->n_rep, s->n_rep == 1 ? "" : "s", s->seed);
    if (s->n_ruled_out) an_str_appendf(out, "; %zu combinations are ruled out", s->n_ruled_out);
    if (s->n_unread) an_str_appendf(out, "; %zu pairs of engine and model do not go together", s->n_unread);
    an_str_append_char(out, '\n');
    if (t->n_unit_done) an_str_appendf(out, "Done     %zu of %zu units\n", t->n_unit_done, t->n_unit);
    an_str_append(out, "Time     ");
    if (t->n_unit_done == t->n_unit) {
        an_str_append(out, "nothing is left to do\n");
    } else {
        append_seconds(out, e->seconds);
        an_str_append(out, " for what is left; cells: ");
        append_basis(out, e);
        an_str_append_char(out, '\n');
    }
    an_str_append(out, "Memory   ");
    append_bytes(out, e->largest_bytes);
    an_str_append(out, " for the largest cell");
    if (e->largest_bytes) an_str_appendf(out, " (%s)", s->run.cells[e->largest_cell].label);
    an_str_append(out, ", ");
    append_bytes(out, e->memory_limit_bytes);
    an_str_append(out, " may be used of ");
    append_bytes(out, e->memory_available_bytes);
    an_str_append(out, " available");
    if (e->n_too_large) an_str_appendf(out, "; %zu cells do not fit and will be skipped", e->n_too_large);
    an_str_append(out, "\nDisk     ");
    append_bytes(out, e->disk_bytes);
    an_str_append(out, " for results, ");
    append_bytes(out, e->disk_free_bytes);
    an_str_append(out, " free, ");
    append_bytes(out, s->disk_reserve_bytes);
    an_str_append(out, " of them kept free\n");
}

static json_t *tally_json(const an_sweep *s, const char *run, const an_sweep_tally *t)
{
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id", s->id, "run", run, "name",
                     s->name, "cells", (json_int_t)t->n_cell, "ok", (json_int_t)t->n_ok, "failed",
                     (json_int_t)t->n_failed, "missing", (json_int_t)t->n_missing, "skipped", (json_int_t)t->n_skipped,
                     "pending", (json_int_t)t->n_pending, "units", (json_int_t)t->n_unit, "units_done",
                     (json_int_t)t->n_unit_done);
}

static json_t *describe_json(const an_sweep *s, const an_sweep_estimate *e, const an_sweep_tally *t)
{
    json_t *obj = tally_json(s, s->id, t), *cells = json_array();
    char work[64];
    for (size_t i = 0; i < s->run.n_cell; i++) {
        const an_cell *c = &s->run.cells[i];
        uint64_t need = an_sweep_cell_bytes(s, i);
        an_work_label(&c->work, work, sizeof work);
        json_array_append_new(cells, json_pack("{s:s, s:s, s:s, s:s, s:i, s:I, s:b, s:s}", "engine", c->engine, "model",
                                               c->model < 0 ? "" : s->run.models[c->model].name, "work", work, "label",
                                               c->label, "threads", s->settings[i].threads, "memory_bytes",
                                               (json_int_t)need, "fits",
                                               !e->memory_limit_bytes || need <= e->memory_limit_bytes, "key", c->key));
    }
    json_t *estimate = json_pack(
        "{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "seconds", an_json_real(e->seconds),
        "cells_from_same", (json_int_t)e->n_by_basis[AN_BASIS_SAME], "cells_from_like",
        (json_int_t)e->n_by_basis[AN_BASIS_LIKE], "cells_from_model", (json_int_t)e->n_by_basis[AN_BASIS_MODEL],
        "cells_unknown", (json_int_t)e->n_by_basis[AN_BASIS_UNKNOWN], "memory_largest_bytes",
        (json_int_t)e->largest_bytes, "memory_limit_bytes", (json_int_t)e->memory_limit_bytes, "memory_available_bytes",
        (json_int_t)e->memory_available_bytes, "cells_too_large", (json_int_t)e->n_too_large, "disk_bytes",
        (json_int_t)e->disk_bytes, "disk_free_bytes", (json_int_t)e->disk_free_bytes);
    if (!obj || !estimate || json_object_set_new(obj, "estimate", estimate) || json_object_set(obj, "grid", cells)) {
        json_decref(obj);
        obj = NULL;
    }
    json_decref(cells);
    return obj;
}

static anemo_status print_text(const an_str *text, FILE *to, anemo_error *err)
{
    anemo_status status = an_str_check(text, err);
    if (status == ANEMO_OK && (fwrite(text->data, 1, text->len, to) != text->len || fflush(to) != 0))
        status = an_fail(err, ANEMO_ERR_IO, "the output cannot be written");
    return status;
}

/* The store for looking: NULL when there is none yet. */
static anemo_status open_for_reading(const char *db, an_store **store, anemo_error *err)
{
    *store = NULL;
    anemo_status status = an_store_open(store, db, AN_STORE_READ, err);
    return status == ANEMO_ERR_NOTFOUND ? ANEMO_OK : status;
}

/* What is done already; nothing when the sweep was never begun. *id is the run's, or the sweep's. */
static anemo_status count_done(const an_sweep *s, an_store *store, char id[32], an_sweep_tally *t, anemo_error *err)
{
    an_run stored;
    snprintf(id, 32, "%s", s->id);
    an_sweep_count(s, &s->run, t);
    if (!store) return ANEMO_OK;
    anemo_status status = an_sweep_stored(s, store, &stored, err);
    if (status == ANEMO_ERR_NOTFOUND) return ANEMO_OK;
    if (status != ANEMO_OK) return status;
    an_sweep_count(s, &stored, t);
    snprintf(id, 32, "%s", stored.id);
    an_run_free(&stored);
    return ANEMO_OK;
}

static anemo_status describe(const sweep_args *a, const an_sweep *s, const char *db, FILE *to, anemo_error *err)
{
    anemo_status status;
    an_store *store = NULL;
    an_sweep_estimate e;
    an_sweep_tally t;
    an_str text = {0};
    char id[32], *parent = existing_parent(db);
    if (!parent) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(open_for_reading(db, &store, err));
    AN_TRY(count_done(s, store, id, &t, err));
    AN_TRY(an_sweep_estimate_make(s, store, parent, &e, err));
    if (a->json && a->dry_run) {
        AN_TRY(an_cli_print_json(describe_json(s, &e, &t), JSON_COMPACT, err));
    } else {
        describe_text(s, &e, &t, &text);
        AN_TRY(print_text(&text, to, err));
    }
cleanup:
    an_str_free(&text);
    an_free(parent);
    an_store_close(store);
    return status;
}

static anemo_status show_status(const sweep_args *a, const an_sweep *s, const char *db, anemo_error *err)
{
    anemo_status status;
    an_store *store = NULL;
    an_sweep_tally t;
    char id[32];
    snprintf(id, sizeof id, "%s", s->id);
    if (a->out) {
        AN_TRY(an_sweep_count_folder(s, a->out, &t, err));
    } else {
        AN_TRY(open_for_reading(db, &store, err));
        AN_TRY(count_done(s, store, id, &t, err));
    }
    if (a->json) {
        status = an_cli_print_json(tally_json(s, id, &t), JSON_COMPACT, err);
        goto cleanup;
    }
    printf("%s (%s): %zu of %zu units done; cells: %zu ok, %zu failed, %zu missing, %zu skipped, %zu pending\n",
           s->name, id, t.n_unit_done, t.n_unit, t.n_ok, t.n_failed, t.n_missing, t.n_skipped, t.n_pending);
cleanup:
    an_store_close(store);
    return status;
}

/* ---- measuring */

/* A failed cell is no error of the sweep, but nobody should have to look for it. */
static int exit_of(const an_sweep_tally *t)
{
    if (t->n_failed + t->n_missing == 0) return 0;
    fprintf(stderr,
            "anemo sweep: %zu cells failed and %zu lack their engine; the results say why, --retry-failed tries them "
            "again\n",
            t->n_failed, t->n_missing);
    return 1;
}

static anemo_status run_here(an_sweep *s, const sweep_args *a, const char *db, an_sweep_options *o, int *exit_code,
                             anemo_error *err)
{
    anemo_status status;
    an_store *store = NULL;
    an_sweep_tally t;
    char *parent = an_path_dir(db);
    if (!parent) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_dir_make(parent, err));
    AN_TRY(an_store_open(&store, db, AN_STORE_WRITE, err));
    if (a->resume) {
        an_run stored;
        AN_TRY(an_sweep_stored(s, store, &stored, err));
        an_run_free(&stored);
    }
    AN_TRY(an_sweep_run(s, store, o, err));
    an_sweep_count(s, &s->run, &t);
    *exit_code = exit_of(&t);
    printf("%s: %zu cells: %zu ok, %zu failed, %zu missing, %zu skipped; 'anemo results show %s' lists them\n",
           s->run.id, t.n_cell, t.n_ok, t.n_failed, t.n_missing, t.n_skipped, s->run.id);
cleanup:
    an_store_close(store);
    an_free(parent);
    return status;
}

/* One task of --cell: units K x I and on. */
static anemo_status run_task(an_sweep *s, const sweep_args *a, const char *dir, const an_sweep_options *o,
                             int *exit_code, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n_unit = an_sweep_n_unit(s), k = (size_t)a->per_task, first = (size_t)a->cell * k;
    for (size_t unit = first; unit < first + k && (unit == first || unit < n_unit); unit++) {
        bool done;
        an_cell_status result;
        AN_TRY(an_sweep_run_unit(s, unit, dir, o, &done, &result, err));
        if (!a->quiet)
            printf("unit %zu of %s: %s%s\n", unit, s->id,
                   done && result == AN_CELL_PENDING ? "another process works on it" : an_cell_status_name(result),
                   done && result != AN_CELL_PENDING ? " already" : "");
        if (result != AN_CELL_FAILED && result != AN_CELL_MISSING) continue;
        fprintf(stderr, "anemo sweep: unit %zu is %s; its result says why\n", unit, an_cell_status_name(result));
        *exit_code = 1;
    }
cleanup:
    return status;
}

static anemo_status run_files(an_sweep *s, const sweep_args *a, const char *dir, an_sweep_options *o, int *exit_code,
                              anemo_error *err)
{
    anemo_status status;
    an_sweep_tally t;
    if (a->cell >= 0) return run_task(s, a, dir, o, exit_code, err);
    AN_TRY(an_sweep_run_folder(s, dir, o, err));
    AN_TRY(an_sweep_count_folder(s, dir, &t, err));
    *exit_code = exit_of(&t);
    if (!a->quiet)
        printf("%s: %zu of %zu units are in %s; 'anemo results merge %s/*.json' joins them\n", s->id, t.n_unit_done,
               t.n_unit, dir, dir);
cleanup:
    return status;
}

/* ---- Slurm */

static anemo_status submit(char **argv, anemo_error *err)
{
    an_process p;
    an_str out = {0}, errors = {0};
    char buf[4096];
    long n;
    anemo_status status = an_process_start(&p, (const char *const *)argv, NULL, err);
    if (status == ANEMO_ERR_NOTFOUND)
        return an_fail(err, status,
                       "sbatch was not found: this machine has no Slurm; --local measures here, --slurm-dry-run prints "
                       "the script");
    if (status != ANEMO_OK) return status;
    an_fd_close(&p.fd_in);
    bool out_open = true, err_open = true;
    while (out_open || err_open) {
        an_process_ready ready = an_process_poll(&p, 1000000000u);
        if (ready.out || !err_open)
            while ((n = an_fd_read(p.fd_out, buf, sizeof buf)) > 0)
                an_str_append_bytes(&out, buf, (size_t)n);
        else
            n = 0;
        if (n < 0) out_open = false;
        if (ready.err || !out_open)
            while ((n = an_fd_read(p.fd_err, buf, sizeof buf)) > 0)
                an_str_append_bytes(&errors, buf, (size_t)n);
        else
            n = 0;
        if (n < 0) err_open = false;
    }
    bool ended = an_process_wait(&p, 60000000000u);
    if (!ended || p.signal || p.exit_code) {
        const char *said = an_str_text(&errors);
        status = an_fail(err, ANEMO_ERR_ENGINE, "sbatch refused the job array: %.*s", (int)strcspn(said, "\n"),
                         *said ? said : "without a word");
    } else {
        const char *id = an_str_text(&out);
        printf("submitted as job %.*s\n", (int)strcspn(id, "\n;"), id);
    }
    an_process_close(&p);
    an_str_free(&out);
    an_str_free(&errors);
    return status;
}

static void append_command(an_str *out, char **argv)
{
    for (size_t i = 0; argv[i]; i++) {
        if (i) an_str_append_char(out, ' ');
        an_shell_quote(out, argv[i]);
    }
    an_str_append_char(out, '\n');
}

static anemo_status write_in(const char *dir, const char *name, const an_str *text, char **path, anemo_error *err)
{
    *path = an_path_join(dir, name);
    anemo_status status = *path ? an_str_check(text, err) : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (status == ANEMO_OK) status = an_file_write(*path, text->data, text->len, err);
    return status;
}

static anemo_status slurm(an_sweep *s, const sweep_args *a, const char *dir, anemo_error *err)
{
    anemo_status status;
    char *self = an_path_self(), *manifest = NULL, *script = NULL, **argv = NULL;
    an_str text = {0};
    size_t k = (size_t)a->per_task;
    an_slurm_job job = {.anemo = self,
                        .dir = dir,
                        .partition = a->partition,
                        .extra = a->slurm_options.items,
                        .n_extra = a->slurm_options.n,
                        .n_task = (an_sweep_n_unit(s) + k - 1) / k,
                        .n_parallel = (size_t)a->array_limit,
                        .per_task = k,
                        .shared_node = a->shared_node,
                        .id = s->id};
    for (size_t i = 0; i < s->run.n_cell; i++)
        if (s->settings[i].threads > job.n_thread) job.n_thread = s->settings[i].threads;
    if (!self) {
        status = an_fail(err, ANEMO_ERR_INTERNAL, "the path of this program is not known");
        goto cleanup;
    }
    AN_TRY(write_in(dir, "manifest.jsonl", &s->manifest, &manifest, err));
    job.manifest = manifest;
    an_slurm_script(&job, &text);
    AN_TRY(write_in(dir, "job.sh", &text, &script, err));
    AN_TRY(an_slurm_arguments(&job, script, &argv, err));
    if (!a->slurm_dry_run) {
        status = submit(argv, err);
        goto cleanup;
    }
    an_str_append(&text, "\n");
    append_command(&text, argv);
    status = print_text(&text, stdout, err);
cleanup:
    an_argv_free(argv);
    an_str_free(&text);
    an_free(manifest);
    an_free(script);
    an_free(self);
    return status;
}

/* ---- all of it */

static anemo_status check_arguments(const sweep_args *a, const an_positional *pos, anemo_error *err)
{
    if (pos->n + (a->manifest ? 1 : 0) != 1)
        return an_fail(err, ANEMO_ERR_INVAL, "give one plan file, or --manifest FILE%s",
                       pos->n > 1 ? "; there are several" : "");
    if (a->cell >= 0 && !a->manifest)
        return an_fail(err, ANEMO_ERR_INVAL, "--cell needs --manifest FILE, which --slurm-dry-run writes");
    if (a->manifest && a->n_block)
        return an_fail(err, ANEMO_ERR_INVAL, "--blocks belongs to a plan; a manifest has its own");
    if ((a->slurm || a->slurm_dry_run) && (a->local || a->cell >= 0))
        return an_fail(err, ANEMO_ERR_INVAL, "--slurm goes with neither --local nor --cell");
    if (a->restart && a->resume) return an_fail(err, ANEMO_ERR_INVAL, "--restart and --resume exclude each other");
    return ANEMO_OK;
}

static anemo_status open_sweep(an_sweep *s, const sweep_args *a, const an_positional *pos, anemo_error *err)
{
    if (a->manifest) return an_sweep_open_manifest(s, a->manifest, err);
    return an_sweep_open_plan(s, pos->items[0], (int)a->n_block, an_cli_model_path, err);
}

static anemo_status sweep(const sweep_args *a, const an_positional *pos, const char *command, int *exit_code,
                          anemo_error *err)
{
    anemo_status status;
    an_sweep s = {0};
    char *db = NULL, *dir = NULL, *out = NULL;
    bool files = a->local || a->cell >= 0 || a->slurm || a->slurm_dry_run;
    an_progress *progress = NULL;
    AN_TRY(check_arguments(a, pos, err));
    AN_TRY(open_sweep(&s, a, pos, err));
    AN_TRY(find_places(a, &s, &db, &dir, err));
    if (a->status) {
        status = show_status(a, &s, db, err);
        goto cleanup;
    }
    if (a->dry_run) {
        status = describe(a, &s, db, stdout, err);
        goto cleanup;
    }
    if (files) AN_TRY(absolute_dir(a->out ? a->out : dir, &out, err));
    if (a->slurm || a->slurm_dry_run) {
        status = slurm(&s, a, out, err);
        goto cleanup;
    }
    if (!a->quiet && a->cell < 0) AN_TRY(describe(a, &s, db, stderr, err));
    progress = an_progress_begin(2, a->quiet || a->cell >= 0);
    an_sweep_options o = {.dir = dir,
                          .restart = a->restart,
                          .retry_failed = a->retry_failed,
                          .command = command,
                          .power_cmd = a->power_cmd,
                          .stop = an_interrupts_watch(),
                          .progress = an_cli_show_progress,
                          .progress_ctx = progress};
    status = files ? run_files(&s, a, out, &o, exit_code, err) : run_here(&s, a, db, &o, exit_code, err);
cleanup:
    an_progress_end(progress);
    an_sweep_free(&s);
    an_free(out);
    an_free(dir);
    an_free(db);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    int exit_code = 0;
    sweep_args a = {.cell = -1, .per_task = 1};
    if (an_options_parse(&an_cmd_sweep, argc, argv, &a, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("sweep", &err);
    char *command = an_cli_quote_command(argc, argv);
    if (!help && sweep(&a, &pos, command, &exit_code, &err) != ANEMO_OK) exit_code = an_cli_fail("sweep", &err);
    an_free(command);
    an_options_free(&an_cmd_sweep, &a, &pos);
    return exit_code;
}
