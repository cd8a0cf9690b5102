/* anemo results list and show. */
#include "cli/arguments.h"
#include "cli/results.h"

#include "base/json.h"
#include "os/terminal.h"
#include "report/report.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- list */

typedef struct list_args {
    const char *db, *engine, *model, *kind, *tag, *since, *until;
    int64_t limit;
    bool json, csv, quiet;
} list_args;

static const an_option list_options[] = {
    {.name = "engine", .short_name = "e", .kind = AN_OPT_STR, .offset = offsetof(list_args, engine), .arg = "NAME",
     .help = "Runs with a cell of this engine"},
    {.name = "model", .short_name = "m", .kind = AN_OPT_STR, .offset = offsetof(list_args, model), .arg = "TEXT",
     .help = "Runs with a model whose name holds this, in any case"},
    {.name = "kind", .kind = AN_OPT_STR, .offset = offsetof(list_args, kind), .arg = "KIND",
     .help = "compare, bench, sweep or import"},
    {.name = "tag", .kind = AN_OPT_STR, .offset = offsetof(list_args, tag), .arg = "TAG", .help = "The run with this tag"},
    {.name = "since", .kind = AN_OPT_STR, .offset = offsetof(list_args, since), .arg = "DATE",
     .help = "Not older: 2026-11-25 or 2026-11-25T17:45:00Z (UTC)"},
    {.name = "until", .kind = AN_OPT_STR, .offset = offsetof(list_args, until), .arg = "DATE",
     .help = "Not newer; a day counts whole"},
    {.name = "limit", .short_name = "n", .kind = AN_OPT_I64, .offset = offsetof(list_args, limit), .min = 1, .max = 1e9,
     .arg = "N", .help = "At most N, the newest ones"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(list_args, json), .help = "Print JSON (anemo.results/1)"},
    {.name = "csv", .kind = AN_OPT_FLAG, .offset = offsetof(list_args, csv), .help = "Print CSV with a header"},
    {.name = "quiet", .short_name = "q", .kind = AN_OPT_FLAG, .offset = offsetof(list_args, quiet),
     .help = "Print the ids alone"},
    AN_ROW_DB(offsetof(list_args, db)),
    AN_OPTION_END,
};

static const char *text_or(const char *text, const char *none)
{
    return text && text[0] ? text : none;
}

/* "ok", "3 failed", "unfinished": what a row's state comes down to. */
static void state_of(const an_store_row *r, char out[48])
{
    if (r->n_failed) snprintf(out, 48, "%zu failed%s", r->n_failed, r->finished ? "" : ", unfinished");
    else snprintf(out, 48, "%s", r->finished && r->n_pending == 0 ? "ok" : "unfinished");
}

/* "a, b" as an array. */
static json_t *words_json(const char *words)
{
    json_t *list = json_array();
    while (words && *words) {
        const char *end = strstr(words, ", ");
        size_t n = end ? (size_t)(end - words) : strlen(words);
        json_array_append_new(list, an_json_text(words, n));
        words = end ? end + 2 : NULL;
    }
    return list;
}

static json_t *row_json(const an_store_row *r)
{
    json_t *obj = json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "id", r->id, "kind", r->kind, "date", r->date,
                            "finished", r->finished, "cells", (json_int_t)r->n_cell, "failed", (json_int_t)r->n_failed,
                            "pending", (json_int_t)r->n_pending, "reps", (json_int_t)r->n_rep);
    const struct {
        const char *key, *text;
    } texts[] = {{"models", r->models}, {"note", r->note}};
    json_object_set_new(obj, "engines", words_json(r->engines));
    json_object_set_new(obj, "tags", words_json(r->tags));
    for (size_t i = 0; i < AN_COUNT_OF(texts); i++)
        json_object_set_new(obj, texts[i].key, texts[i].text ? an_json_text(texts[i].text, strlen(texts[i].text)) : json_null());
    return obj;
}

static void csv_text(an_str *out, const char *text)
{
    an_str_append_char(out, '"');
    for (; text && *text; text++) {
        if (*text == '"') an_str_append_char(out, '"');
        an_str_append_char(out, *text);
    }
    an_str_append_char(out, '"');
}

static void append_csv(const an_store_row *rows, size_t n, an_str *out)
{
    an_str_append(out, "id,kind,date,finished,cells,failed,pending,reps,engines,models,tags,note\n");
    for (size_t i = 0; i < n; i++) {
        const an_store_row *r = &rows[i];
        const char *const texts[] = {r->engines, r->models, r->tags, r->note};
        an_str_appendf(out, "%s,%s,%s,%d,%zu,%zu,%zu,%zu", r->id, r->kind, r->date, r->finished, r->n_cell, r->n_failed,
                       r->n_pending, r->n_rep);
        for (size_t k = 0; k < AN_COUNT_OF(texts); k++) {
            an_str_append_char(out, ',');
            csv_text(out, texts[k]);
        }
        an_str_append_char(out, '\n');
    }
}

/* Columns as wide as their longest text; the last one is open. */
static void append_table(const an_store_row *rows, size_t n, an_str *out)
{
    int id = 2, tags = 4, engines = 7, state = 5;
    char text[48];
    for (size_t i = 0; i < n; i++) {
        const struct {
            int *width;
            const char *text;
        } columns[] = {{&id, rows[i].id}, {&tags, rows[i].tags}, {&engines, rows[i].engines}, {&state, text}};
        state_of(&rows[i], text);
        for (size_t k = 0; k < AN_COUNT_OF(columns); k++) {
            int len = columns[k].text ? (int)strlen(columns[k].text) : 0;
            if (len > *columns[k].width) *columns[k].width = len;
        }
    }
    if (n) an_str_appendf(out, "%-*s  %-16s  %-7s  %5s  %5s  %-*s  %-*s  %-*s  %s\n", id, "id", "date (UTC)", "kind", "cells",
                          "reps", state, "state", tags, "tags", engines, "engines", "models");
    for (size_t i = 0; i < n; i++) {
        const an_store_row *r = &rows[i];
        char date[21];
        snprintf(date, sizeof date, "%s", r->date);
        if (date[10] == 'T') date[10] = ' ';
        state_of(r, text);
        an_str_appendf(out, "%-*s  %-16.16s  %-7s  %5zu  %5zu  %-*s  %-*s  %-*s  %s\n", id, r->id, date, r->kind, r->n_cell,
                       r->n_rep, state, text, tags, text_or(r->tags, "-"), engines, text_or(r->engines, "-"),
                       text_or(r->models, "-"));
    }
}

static anemo_status print_rows(const list_args *a, const an_store_row *rows, size_t n, anemo_error *err)
{
    an_str text = {0};
    anemo_status status;
    if (a->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++) json_array_append_new(list, row_json(&rows[i]));
        return an_cli_print_json(json_pack("{s:s, s:o}", "schema", "anemo.results/1", "runs", list), JSON_COMPACT, err);
    }
    if (a->quiet)
        for (size_t i = 0; i < n; i++) an_str_appendf(&text, "%s\n", rows[i].id);
    else if (a->csv)
        append_csv(rows, n, &text);
    else
        append_table(rows, n, &text);
    status = an_results_print(&text, err);
    an_str_free(&text);
    return status;
}

static anemo_status list(const void *args, const an_positional *pos, anemo_error *err)
{
    const list_args *a = args;
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    an_store_row *rows = NULL;
    size_t n = 0;
    if (pos->n) return an_fail(err, ANEMO_ERR_INVAL, "takes no arguments; 'anemo results show RUN' shows one run");
    an_store_filter f = {a->kind, a->engine, a->model, a->tag, a->since, a->until, NULL, (size_t)a->limit};
    AN_TRY(an_store_open(&s, a->db, AN_STORE_READ, err));
    AN_TRY(an_store_list(s, &f, &rows, &n, err));
    AN_TRY(print_rows(a, rows, n, err));
cleanup:
    an_store_rows_free(rows, n);
    an_store_close(s);
    return status;
}

static int run_list(int argc, char **argv)
{
    list_args args = {0};
    return an_results_run(&an_cmd_results_list, argc, argv, &args, list);
}

const an_command an_cmd_results_list = {
    .name = "results list",
    .args = "",
    .summary = "The runs, newest first",
    .options = list_options,
    .args_bytes = sizeof(list_args),
    .run = run_list,
};

/* ---- show */

typedef struct show_args {
    const char *db, *color;
    bool json;
} show_args;

static const an_option show_options[] = {
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(show_args, json), .help = "Print JSON (anemo.run/1, with its analysis)"},
    {.name = "color", .kind = AN_OPT_STR, .offset = offsetof(show_args, color), .arg = "WHEN", .help = "auto (default), always or never"},
    AN_ROW_DB(offsetof(show_args, db)),
    AN_OPTION_END,
};

/* What the report does not say: how the database knows the run. */
static void append_heading(const an_run *run, an_str *out)
{
    an_str_appendf(out, "%s  %s  %s", run->id, run->environment.date, run->kind);
    for (size_t i = 0; i < json_array_size(run->tags); i++)
        an_str_appendf(out, "%s%s", i ? ", " : "  tags: ", json_string_value(json_array_get(run->tags, i)));
    an_str_append_char(out, '\n');
    if (run->note) an_str_appendf(out, "%s\n", run->note);
    if (run->command) an_str_appendf(out, "$ %s\n", run->command);
    an_str_append_char(out, '\n');
}

static anemo_status show(const void *args, const an_positional *pos, anemo_error *err)
{
    static const char *const colors[] = {"auto", "always", "never", NULL};
    const show_args *a = args;
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    an_run run;
    an_str text = {0};
    an_run_init(&run);
    if (pos->n != 1) return an_fail(err, ANEMO_ERR_INVAL, "needs one run: anemo results show RUN; 'last' is the newest");
    AN_TRY(an_cli_one_of("--color", a->color, colors, err));
    AN_TRY(an_store_open(&s, a->db, AN_STORE_READ, err));
    AN_TRY(an_store_get(s, pos->items[0], &run, err));
    an_report_style style = {.width = an_terminal_width(1, 120), .color = an_terminal_color(1, a->color)};
    if (!a->json) append_heading(&run, &text);
    AN_TRY(an_report_write(&run, a->json ? AN_REPORT_JSON : AN_REPORT_TEXT, style, &text, err));
    AN_TRY(an_results_print(&text, err));
cleanup:
    an_str_free(&text);
    an_run_free(&run);
    an_store_close(s);
    return status;
}

static int run_show(int argc, char **argv)
{
    show_args args = {.color = "auto"};
    return an_results_run(&an_cmd_results_show, argc, argv, &args, show);
}

const an_command an_cmd_results_show = {
    .name = "results show",
    .args = "RUN",
    .summary = "One run as the table and sentences that it ended with",
    .options = show_options,
    .args_bytes = sizeof(show_args),
    .run = run_show,
};
