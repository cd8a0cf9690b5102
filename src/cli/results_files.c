/* anemo results export, import and merge: runs as files. */
#include "cli/arguments.h"
#include "cli/results.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/file.h"
#include "report/report.h"
#include "store/import.h"
#include "store/import.h"
#include "store/run_file.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- export */

typedef struct export_args {
    const char *db, *out;
    bool json, jsonl, csv, all;
} export_args;

static const an_option export_options[] = {
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(export_args, json),
     .help = "anemo.run/1; several runs are an array (default)"},
    {.name = "jsonl", .kind = AN_OPT_FLAG, .offset = offsetof(export_args, jsonl), .help = "anemo.run/1, a run a line"},
    {.name = "csv", .kind = AN_OPT_FLAG, .offset = offsetof(export_args, csv), .help = "CSV, a repetition a line"},
    {.name = "all", .kind = AN_OPT_FLAG, .offset = offsetof(export_args, all), .help = "Every run, newest first"},
    {.name = "output", .short_name = "o", .kind = AN_OPT_STR, .offset = offsetof(export_args, out), .arg = "FILE",
     .help = "Write to FILE instead of stdout"},
    AN_ROW_DB(offsetof(export_args, db)),
    AN_OPTION_END,
};

static anemo_status append_json(const export_args *a, const an_run *run, size_t idx, size_t n, an_str *out, anemo_error *err)
{
    /* 17 digits: what is imported again is the same to the last bit. */
    if (!a->jsonl && n > 1) an_str_append(out, idx == 0 ? "[\n" : ",\n");
    anemo_status status = an_json_write(an_run_json(run), JSON_COMPACT | JSON_REAL_PRECISION(17), out, err);
    if (a->jsonl || n == 1) an_str_append_char(out, '\n');
    else if (idx + 1 == n) an_str_append(out, "\n]\n");
    return status;
}

static anemo_status export(const void *args, const an_positional *pos, anemo_error *err)
{
    const export_args *a = args;
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    an_store_row *rows = NULL;
    an_run *runs = NULL;
    const an_run **borrowed = NULL;
    size_t n_row = 0, n = 0, n_read = 0;
    an_str text = {0};
    if (a->json + a->jsonl + a->csv > 1) return an_fail(err, ANEMO_ERR_INVAL, "--json, --jsonl and --csv exclude each other");
    if (a->all ? pos->n != 0 : pos->n == 0)
        return an_fail(err, ANEMO_ERR_INVAL, "needs runs, or --all: anemo results export RUN…");
    AN_TRY(an_store_open(&s, a->db, AN_STORE_READ, err));
    if (a->all) AN_TRY(an_store_list(s, NULL, &rows, &n_row, err));
    n = a->all ? n_row : pos->n;
    runs = an_calloc(n + 1, sizeof *runs);
    borrowed = an_calloc(n + 1, sizeof *borrowed);
    if (!runs || !borrowed) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    while (n_read < n) {
        an_run *run = &runs[n_read];
        AN_TRY(an_store_get(s, a->all ? rows[n_read].id : pos->items[n_read], run, err));
        borrowed[n_read++] = run;
        if (a->csv) continue;
        AN_TRY(append_json(a, run, n_read - 1, n, &text, err));
        an_run_free(run);
    }
    if (a->csv) AN_TRY(an_report_write_all(borrowed, n, AN_REPORT_CSV, (an_report_style){0}, &text, err));
    if (n == 0 && !a->jsonl && !a->csv) an_str_append(&text, "[]\n");
    AN_TRY(an_str_check(&text, err));
    if (a->out) AN_TRY(an_file_write(a->out, an_str_text(&text), text.len, err));
    else AN_TRY(an_results_print(&text, err));
cleanup:
    an_str_free(&text);
    an_run_list_free(runs, n_read);
    an_free(borrowed);
    an_store_rows_free(rows, n_row);
    an_store_close(s);
    return status;
}

static int run_export(int argc, char **argv)
{
    export_args args = {0};
    return an_results_run(&an_cmd_results_export, argc, argv, &args, export);
}

const an_command an_cmd_results_export = {
    .name = "results export",
    .args = "RUN…",
    .summary = "Runs as files, whole or as a table of repetitions",
    .options = export_options,
    .args_bytes = sizeof(export_args),
    .run = run_export,
};

/* ---- import and merge */

typedef struct import_args {
    const char *db;
    bool json, quiet;
} import_args;

static const an_option import_options[] = {
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(import_args, json), .help = "Print JSON (anemo.import/1)"},
    {.name = "quiet", .short_name = "q", .kind = AN_OPT_FLAG, .offset = offsetof(import_args, quiet),
     .help = "Print the ids alone"},
    AN_ROW_DB(offsetof(import_args, db)),
    AN_OPTION_END,
};

/* What came of all files. */
typedef struct tally {
    const import_args *args;
    an_store *store;
    bool foreign; /* other tools' formats too */
    an_str text;
    json_t *files;
    size_t n_file, n_changed, n_known, n_refused;
    anemo_error first; /* the first refusal, for the exit code */
} tally;

static anemo_status read_runs(const tally *t, const char *path, an_run **runs, size_t *n_run, anemo_error *err)
{
    char *data = NULL;
    size_t n;
    anemo_status status;
    if (t->foreign) return an_import(path, runs, n_run, err);
    AN_TRY(an_file_read(path, AN_RUN_FILE_BYTES_MAX, &data, &n, err));
    status = an_run_file_parse(data, n, path, runs, n_run, err);
cleanup:
    an_free(data);
    return status;
}

static void note_run(tally *t, const char *path, const char *id, bool changed)
{
    t->n_changed += changed;
    t->n_known += !changed;
    if (t->args->quiet) an_str_appendf(&t->text, "%s\n", id);
    else if (!t->args->json) an_str_appendf(&t->text, "%s  %s\n", id, changed ? "added" : "nothing new");
    json_array_append_new(t->files, json_pack("{s:o, s:s, s:b}", "file", an_json_text(path, strlen(path)), "run", id, "added",
                                              changed));
}

/* A file that is refused is named and the others go on; only a failure of the database ends all. */
static anemo_status take_file(tally *t, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_run *runs = NULL;
    size_t n_run = 0;
    anemo_error why = {0};
    t->n_file++;
    if (read_runs(t, path, &runs, &n_run, &why) != ANEMO_OK) goto refused;
    for (size_t i = 0; i < n_run; i++) {
        bool changed;
        AN_TRY(an_store_put_run(t->store, &runs[i], &changed, err));
        note_run(t, path, runs[i].id, changed);
    }
    goto cleanup;
refused:
    status = ANEMO_OK;
    if (t->n_refused++ == 0) t->first = why;
    fprintf(stderr, "anemo results: %s\n", why.message);
    json_array_append_new(t->files, json_pack("{s:o, s:o}", "file", an_json_text(path, strlen(path)), "error",
                                              an_json_text(why.message, strlen(why.message))));
cleanup:
    an_run_list_free(runs, n_run);
    return status;
}

/* The result files in a folder; its other files, logs perhaps, are none of ours. */
static anemo_status take_folder(tally *t, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n = 0;
    AN_TRY(an_dir_list(path, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        if (names[i][0] == '.' || (!an_str_ends_with(names[i], ".json") && !an_str_ends_with(names[i], ".jsonl"))) continue;
        char *file = an_path_join(path, names[i]);
        status = file ? take_file(t, file, err) : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        an_free(file);
        AN_TRY(status);
    }
cleanup:
    an_names_free(names);
    return status;
}

static anemo_status print_tally(tally *t, anemo_error *err)
{
    if (t->args->json)
        return an_cli_print_json(json_pack("{s:s, s:O, s:I, s:I, s:I}", "schema", "anemo.import/1", "files", t->files, "added",
                                           (json_int_t)t->n_changed, "known", (json_int_t)t->n_known, "refused",
                                           (json_int_t)t->n_refused),
                                 JSON_COMPACT, err);
    anemo_status status = an_results_print(&t->text, err);
    if (status == ANEMO_OK && !t->args->quiet && t->n_file > 1)
        fprintf(stderr, "%zu files: %zu added something, %zu had nothing new, %zu refused\n", t->n_file, t->n_changed, t->n_known,
                t->n_refused);
    return status;
}

static anemo_status take(const import_args *a, const an_positional *pos, bool foreign, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    tally t = {.args = a, .foreign = foreign, .files = json_array()};
    if (pos->n == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "needs a file: anemo results %s FILE…", foreign ? "import" : "merge");
        goto cleanup;
    }
    AN_TRY(an_store_open(&t.store, a->db, AN_STORE_WRITE, err));
    for (size_t i = 0; i < pos->n; i++) {
        bool folder = an_path_probe(pos->items[i]) == AN_PATH_DIR;
        AN_TRY(folder ? take_folder(&t, pos->items[i], err) : take_file(&t, pos->items[i], err));
    }
    AN_TRY(print_tally(&t, err));
    if (t.n_refused) {
        const char *message = t.first.message;
        status = t.n_refused == 1 ? an_fail(err, t.first.status, "one file was refused: %s", message)
                                  : an_fail(err, t.first.status, "%zu files were refused, the first: %s", t.n_refused, message);
    }
cleanup:
    an_store_close(t.store);
    an_str_free(&t.text);
    json_decref(t.files);
    return status;
}

static anemo_status import(const void *args, const an_positional *pos, anemo_error *err)
{
    return take(args, pos, true, err);
}

static anemo_status merge(const void *args, const an_positional *pos, anemo_error *err)
{
    return take(args, pos, false, err);
}

static int run_import(int argc, char **argv)
{
    import_args args = {0};
    return an_results_run(&an_cmd_results_import, argc, argv, &args, import);
}

static int run_merge(int argc, char **argv)
{
    import_args args = {0};
    return an_results_run(&an_cmd_results_merge, argc, argv, &args, merge);
}

const an_command an_cmd_results_import = {
    .name = "results import",
    .args = "FILE…",
    .summary = "Take runs from files, of other tools too",
    .details = "FILE: of 'anemo results export' (JSON or JSONL), a capsule, llama-bench's JSON, JSONL, SQL or CSV, or what "
               "mlx_lm.benchmark\nprints; a folder: its *.json and *.jsonl. What a file is says its content. A run that is there already "
               "is not doubled.",
    .options = import_options,
    .args_bytes = sizeof(import_args),
    .run = run_import,
};

const an_command an_cmd_results_merge = {
    .name = "results merge",
    .args = "FILE…",
    .summary = "Join the result files of a job array",
    .details = "Cells go to the run whose id the file has; the same cell of the same run is taken once, the better finished one of two. "
               "Merging\nagain changes nothing. A file that was cut is refused and named, the others are taken; the exit code is then 3.",
    .options = import_options,
    .args_bytes = sizeof(import_args),
    .run = run_merge,
};
