/* anemo results tag, note, rm and check. */
#include "cli/arguments.h"
#include "cli/results.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/terminal.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- tag */

typedef struct tag_args {
    const char *db;
    bool remove;
} tag_args;

static const an_option tag_options[] = {
    {.name = "remove", .kind = AN_OPT_FLAG, .offset = offsetof(tag_args, remove), .help = "Take the tag away"},
    AN_ROW_DB(offsetof(tag_args, db)),
    AN_OPTION_END,
};

static anemo_status tag(const void *args, const an_positional *pos, anemo_error *err)
{
    const tag_args *a = args;
    an_store *s = NULL;
    if (pos->n != 2) return an_fail(err, ANEMO_ERR_INVAL, "needs a run and a tag: anemo results tag RUN TAG");
    anemo_status status = an_store_open(&s, a->db, AN_STORE_WRITE, err);
    if (status == ANEMO_OK) status = an_store_tag(s, pos->items[0], pos->items[1], a->remove, err);
    an_store_close(s);
    return status;
}

static int run_tag(int argc, char **argv)
{
    tag_args args = {0};
    return an_results_run(&an_cmd_results_tag, argc, argv, &args, tag);
}

const an_command an_cmd_results_tag = {
    .name = "results tag",
    .args = "RUN TAG",
    .summary = "Give a run a name",
    .details = "A tag names one run: given to another, it moves. Every verb that takes a run takes its tags.",
    .options = tag_options,
    .args_bytes = sizeof(tag_args),
    .run = run_tag,
};

/* ---- note */

typedef struct note_args {
    const char *db;
} note_args;

static const an_option note_options[] = {
    AN_ROW_DB(offsetof(note_args, db)),
    AN_OPTION_END,
};

static anemo_status note(const void *args, const an_positional *pos, anemo_error *err)
{
    const note_args *a = args;
    an_store *s = NULL;
    if (pos->n != 2) return an_fail(err, ANEMO_ERR_INVAL, "needs a run and one text: anemo results note RUN 'TEXT'");
    anemo_status status = an_store_open(&s, a->db, AN_STORE_WRITE, err);
    if (status == ANEMO_OK) status = an_store_note(s, pos->items[0], pos->items[1], err);
    an_store_close(s);
    return status;
}

static int run_note(int argc, char **argv)
{
    note_args args = {0};
    return an_results_run(&an_cmd_results_note, argc, argv, &args, note);
}

const an_command an_cmd_results_note = {
    .name = "results note",
    .args = "RUN TEXT",
    .summary = "Write a note to a run; an empty text removes it",
    .options = note_options,
    .args_bytes = sizeof(note_args),
    .run = run_note,
};

/* ---- rm */

typedef struct rm_args {
    const char *db;
    bool yes, quiet;
} rm_args;

static const an_option rm_options[] = {
    {.name = "yes", .short_name = "y", .kind = AN_OPT_FLAG, .offset = offsetof(rm_args, yes), .help = "Do not ask"},
    AN_ROW_QUIET(offsetof(rm_args, quiet)),
    AN_ROW_DB(offsetof(rm_args, db)),
    AN_OPTION_END,
};

static anemo_status confirm(const rm_args *a, const an_positional *pos, anemo_error *err)
{
    char answer[16] = "";
    if (a->yes) return ANEMO_OK;
    if (!an_terminal_is(0) || !an_terminal_is(2))
        return an_fail(err, ANEMO_ERR_INVAL, "would remove %zu run%s for good; nobody can be asked here, so say --yes", pos->n,
                       pos->n == 1 ? "" : "s");
    fprintf(stderr, "Remove %zu run%s for good? [y/N] ", pos->n, pos->n == 1 ? "" : "s");
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return an_fail(err, ANEMO_ERR_INVAL, "nothing was removed");
    return ANEMO_OK;
}

static anemo_status rm(const void *args, const an_positional *pos, anemo_error *err)
{
    const rm_args *a = args;
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    char(*ids)[32] = NULL;
    an_str text = {0};
    if (pos->n == 0) return an_fail(err, ANEMO_ERR_INVAL, "needs a run: anemo results rm RUN…");
    AN_TRY(an_store_open(&s, a->db, AN_STORE_WRITE, err));
    /* All names first: 'last' means another run once the last one is gone. */
    ids = an_calloc(pos->n, sizeof *ids);
    if (!ids) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < pos->n; i++) AN_TRY(an_store_find(s, pos->items[i], ids[i], err));
    AN_TRY(confirm(a, pos, err));
    for (size_t i = 0; i < pos->n; i++) {
        bool again = false;
        for (size_t k = 0; k < i; k++) again = again || strcmp(ids[k], ids[i]) == 0;
        if (again) continue;
        AN_TRY(an_store_remove(s, ids[i], err));
        if (!a->quiet) an_str_appendf(&text, "removed %s\n", ids[i]);
    }
    AN_TRY(an_results_print(&text, err));
cleanup:
    an_str_free(&text);
    an_free(ids);
    an_store_close(s);
    return status;
}

static int run_rm(int argc, char **argv)
{
    rm_args args = {0};
    return an_results_run(&an_cmd_results_rm, argc, argv, &args, rm);
}

const an_command an_cmd_results_rm = {
    .name = "results rm",
    .args = "RUN…",
    .summary = "Remove runs for good",
    .options = rm_options,
    .args_bytes = sizeof(rm_args),
    .run = run_rm,
};

/* ---- check */

typedef struct check_args {
    const char *db;
    bool json, quiet;
} check_args;

static const an_option check_options[] = {
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(check_args, json), .help = "Print JSON (anemo.check/1)"},
    AN_ROW_QUIET(offsetof(check_args, quiet)),
    AN_ROW_DB(offsetof(check_args, db)),
    AN_OPTION_END,
};

/* The lines of a report as an array. */
static json_t *lines_json(const an_str *report)
{
    json_t *list = json_array();
    const char *at = an_str_text(report);
    for (const char *end; (end = strchr(at, '\n')); at = end + 1)
        json_array_append_new(list, an_json_text(at, (size_t)(end - at)));
    return list;
}

static anemo_status check(const void *args, const an_positional *pos, anemo_error *err)
{
    const check_args *a = args;
    anemo_status status = ANEMO_OK;
    an_store *s = NULL;
    an_store_row *rows = NULL;
    an_str report = {0};
    size_t n_fault = 0, n_run = 0;
    if (pos->n) return an_fail(err, ANEMO_ERR_INVAL, "takes no arguments; --db FILE names another database");
    AN_TRY(an_store_open(&s, a->db, AN_STORE_READ, err));
    AN_TRY(an_store_check(s, &report, &n_fault, err));
    if (n_fault == 0) AN_TRY(an_store_list(s, NULL, &rows, &n_run, err));
    if (a->json) {
        AN_TRY(an_cli_print_json(json_pack("{s:s, s:s, s:b, s:I, s:o}", "schema", "anemo.check/1", "path", an_store_path(s), "clean",
                                           n_fault == 0, "runs", (json_int_t)n_run, "faults", lines_json(&report)),
                                 JSON_COMPACT, err));
    } else if (n_fault || !a->quiet) {
        if (n_fault == 0) an_str_appendf(&report, "%s: clean, %zu run%s\n", an_store_path(s), n_run, n_run == 1 ? "" : "s");
        AN_TRY(an_results_print(&report, err));
    }
    if (n_fault)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %zu fault%s; 'anemo results export' still gives the runs that can be read",
                         an_store_path(s), n_fault, n_fault == 1 ? "" : "s");
cleanup:
    an_store_rows_free(rows, n_run);
    an_str_free(&report);
    an_store_close(s);
    return status;
}

static int run_check(int argc, char **argv)
{
    check_args args = {0};
    return an_results_run(&an_cmd_results_check, argc, argv, &args, check);
}

const an_command an_cmd_results_check = {
    .name = "results check",
    .args = "",
    .summary = "Is the database whole? Exit code 3 when not",
    .details = "SQLite's own integrity check, then every run as 'show' would read it: indices, counts, documents, no repetition twice.",
    .options = check_options,
    .args_bytes = sizeof(check_args),
    .run = run_check,
};
