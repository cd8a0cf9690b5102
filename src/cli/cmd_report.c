/* anemo report: runs that were measured before, as a page, a table or data. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "base/alloc.h"
#include "os/file.h"
#include "os/terminal.h"
#include "report/capsule.h"
#include "report/report.h"
#include "store/run_file.h"
#include "store/store.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct report_args {
    const char *db, *format, *out, *color;
    bool html, md, csv, json, all;
} report_args;

static const an_option options[] = {
    {.name = "html",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(report_args, html),
     .help = "One self-contained page with drawings (default for -o FILE.html)"},
    {.name = "md", .kind = AN_OPT_FLAG, .offset = offsetof(report_args, md), .help = "Markdown tables"},
    {.name = "csv", .kind = AN_OPT_FLAG, .offset = offsetof(report_args, csv), .help = "CSV, a repetition a line"},
    {.name = "json",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(report_args, json),
     .help = "anemo.run/1 with the analysis; several runs are an array"},
    {.name = "format",
     .kind = AN_OPT_STR,
     .offset = offsetof(report_args, format),
     .arg = "F",
     .help = "text (default), md, csv, json or html"},
    {.name = "output",
     .short_name = "o",
     .kind = AN_OPT_STR,
     .offset = offsetof(report_args, out),
     .arg = "FILE",
     .help = "Write there instead of to stdout"},
    {.name = "all",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(report_args, all),
     .help = "A row for every figure in tables"},
    {.name = "color",
     .kind = AN_OPT_STR,
     .offset = offsetof(report_args, color),
     .arg = "WHEN",
     .help = "auto (default), always, never"},
    AN_ROW_DB(offsetof(report_args, db)),
    AN_OPTION_END,
};

/* The runs of a report, in the order of the command line. */
typedef struct run_list {
    an_run *runs;            /* owned, as are they */
    const an_run **borrowed; /* the same, for the report; owned */
    size_t n;
} run_list;

/* Room for n more; the new ones are empty runs. */
static anemo_status grow(run_list *list, size_t n, anemo_error *err)
{
    an_run *runs = an_realloc(list->runs, (list->n + n) * sizeof *runs);
    if (!runs) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    list->runs = runs;
    for (size_t i = 0; i < n; i++) an_run_init(&runs[list->n + i]);
    return ANEMO_OK;
}

/* A capsule says so at its beginning; what only looks like one is told by its reader. */
static bool is_capsule(const char *data, size_t n)
{
    static const char mark[] = "\"anemo.capsule/";
    for (size_t i = 0; i + sizeof mark - 1 <= n && i < 200; i++)
        if (memcmp(data + i, mark, sizeof mark - 1) == 0) return true;
    return false;
}

static anemo_status add_capsule(run_list *list, const char *data, size_t n, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_capsule capsule = {0};
    AN_TRY(an_capsule_read(&capsule, data, n, path, err));
    AN_TRY(grow(list, 1, err));
    list->runs[list->n++] = capsule.run;
    an_run_init(&capsule.run);
cleanup:
    an_capsule_free(&capsule);
    return status;
}

static anemo_status add_file(run_list *list, const char *path, anemo_error *err)
{
    char *data = NULL;
    size_t n, n_run = 0;
    an_run *runs = NULL;
    anemo_status status;
    AN_TRY(an_file_read(path, AN_RUN_FILE_BYTES_MAX, &data, &n, err));
    if (is_capsule(data, n)) {
        AN_TRY(add_capsule(list, data, n, path, err));
        goto cleanup;
    }
    AN_TRY(an_run_file_parse(data, n, path, &runs, &n_run, err));
    AN_TRY(grow(list, n_run, err));
    memcpy(list->runs + list->n, runs, n_run * sizeof *runs);
    list->n += n_run;
    an_free(runs);
    runs = NULL;
    n_run = 0;
cleanup:
    an_free(data);
    an_run_list_free(runs, n_run);
    return status;
}

/* Files first: an id has no slash and no dot. The database is opened only when a run is named. */
static anemo_status read_runs(run_list *list, const report_args *a, const char *const *names, size_t n,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    for (size_t i = 0; i < n; i++) {
        if (an_path_probe(names[i]) == AN_PATH_FILE) {
            AN_TRY(add_file(list, names[i], err));
            continue;
        }
        if (strchr(names[i], '/') || an_str_ends_with(names[i], ".json") || an_str_ends_with(names[i], ".jsonl")) {
            status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no such file", names[i]);
            goto cleanup;
        }
        if (!s) AN_TRY(an_store_open(&s, a->db, AN_STORE_READ, err));
        AN_TRY(grow(list, 1, err));
        AN_TRY(an_store_get(s, names[i], &list->runs[list->n], err));
        list->n++;
    }
    list->borrowed = an_calloc(list->n + 1, sizeof *list->borrowed);
    if (!list->borrowed) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < list->n; i++) list->borrowed[i] = &list->runs[i];
cleanup:
    an_store_close(s);
    return status;
}

/* The form that was asked for: a flag, --format, or what the file's name ends in. */
static anemo_status choose_format(const report_args *a, an_report_format *format, anemo_error *err)
{
    static const char *const words[] = {"text", "md", "csv", "json", "html", NULL};
    anemo_status status = ANEMO_OK;
    int n = a->html + a->md + a->csv + a->json + (a->format != NULL);
    if (n > 1) return an_fail(err, ANEMO_ERR_INVAL, "--html, --md, --csv, --json and --format exclude each other");
    *format = a->html   ? AN_REPORT_HTML
              : a->md   ? AN_REPORT_MD
              : a->csv  ? AN_REPORT_CSV
              : a->json ? AN_REPORT_JSON
                        : AN_REPORT_TEXT;
    if (a->format) {
        AN_TRY(an_cli_one_of("--format", a->format, words, err));
        AN_ASSERT(an_report_format_from_name(a->format, format));
    } else if (n == 0 && a->out) {
        for (size_t i = 0; words[i]; i++)
            if (an_str_ends_with(a->out, words[i]) && a->out[strlen(a->out) - strlen(words[i]) - (i < 5)] == '.')
                AN_ASSERT(an_report_format_from_name(words[i], format));
    }
cleanup:
    return status;
}

static anemo_status report(const report_args *a, const an_positional *pos, anemo_error *err)
{
    static const char *const last[] = {"last"}, *const colors[] = {"auto", "always", "never", NULL};
    anemo_status status;
    run_list list = {0};
    an_report_format format;
    an_str text = {0};
    an_file_writer out = {.fd = -1};
    AN_TRY(choose_format(a, &format, err));
    AN_TRY(an_cli_one_of("--color", a->color, colors, err));
    AN_TRY(read_runs(&list, a, pos->n ? (const char *const *)pos->items : last, pos->n ? pos->n : 1, err));
    if (a->out) AN_TRY(an_file_writer_open(&out, a->out, err));
    an_report_style style = {.width = an_terminal_width(1, 120),
                             .color = !a->out && an_terminal_color(1, a->color),
                             .all = a->all,
                             .plots = true,
                             .ascii = !a->out && !an_terminal_utf8()};
    AN_TRY(an_report_write_all(list.borrowed, list.n, format, style, &text, err));
    if (a->out) {
        AN_TRY(an_file_writer_put(&out, an_str_text(&text), text.len, err));
        AN_TRY(an_file_writer_commit(&out, err));
    } else if (fwrite(an_str_text(&text), 1, text.len, stdout) != text.len || fflush(stdout) != 0)
        status = an_fail(err, ANEMO_ERR_IO, "cannot write the report to stdout");
cleanup:
    an_file_writer_close(&out);
    an_str_free(&text);
    an_free(list.borrowed);
    an_run_list_free(list.runs, list.n);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    an_positional pos;
    bool help;
    report_args a = {.color = "auto"};
    if (an_options_parse(&an_cmd_report, argc, argv, &a, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("report", &err);
    anemo_status status = help ? ANEMO_OK : report(&a, &pos, &err);
    an_options_free(&an_cmd_report, &a, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("report", &err);
}

const an_command an_cmd_report = {
    .name = "report",
    .args = "[RUN…]",
    .summary = "Draw stored runs: a page with its verdict, table and drawings, or Markdown, CSV, JSON",
    .details =
        "RUN is a run's id, the beginning of one, a tag, 'last' (default), 'last~1', or a file: of runs\n"
        "(anemo.run/1) or a capsule.\n"
        "Without a format the end of FILE's name decides: .html, .md, .csv, .json; otherwise text for a terminal.",
    .options = options,
    .args_bytes = sizeof(report_args),
    .run = run,
};
