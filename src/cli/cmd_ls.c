/* anemo ls: the models that are on this machine: the hub's cache and what anemo made. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "hub/hub.h"
#include "os/clock.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct ls_args {
    bool json, quiet;
} ls_args;

static const an_option options[] = {
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(ls_args, json), .help = "Print JSON (anemo.ls/1)"},
    {.name = "quiet",
     .short_name = "q",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(ls_args, quiet),
     .help = "Print the names alone"},
    AN_OPTION_END,
};

/* A model of the folder $XDG_DATA_HOME/anemo/models. */
typedef struct made {
    char *name, *path;
    bool folder;
    uint64_t bytes;
} made;

typedef struct everything {
    an_hub_model *hub;
    size_t n_hub;
    uint64_t incomplete_bytes;
    made *made;
    size_t n_made;
} everything;

static uint64_t folder_bytes(const char *path)
{
    char **names = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    if (an_dir_list(path, &names, &n, NULL) != ANEMO_OK) return 0;
    for (size_t i = 0; i < n; i++) {
        char *file = an_path_join(path, names[i]);
        int64_t size = file ? an_path_size(file) : -1;
        if (size > 0) bytes += (uint64_t)size;
        an_free(file);
    }
    an_names_free(names);
    return bytes;
}

static anemo_status list_made(everything *e, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *data = an_dir_data(), *models = data ? an_path_join(data, "models") : NULL, **names = NULL;
    size_t n = 0;
    /* Without a home there is no such folder. */
    if (!models) status = data || an_env("HOME") ? an_fail(err, ANEMO_ERR_NOMEM, "out of memory") : ANEMO_OK;
    if (!models) goto cleanup;
    status = an_dir_list(models, &names, &n, err);
    if (status != ANEMO_OK && status != ANEMO_ERR_NOMEM) {
        /* Nothing was made yet. */
        status = ANEMO_OK;
        goto cleanup;
    }
    AN_TRY(status);
    e->made = an_calloc(n + 1, sizeof *e->made);
    if (!e->made) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) {
        char *path = an_path_join(models, names[i]);
        if (!path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        bool folder = an_path_probe(path) == AN_PATH_DIR;
        /* Temporaries and other things that are no models. */
        if (names[i][0] == '.' || (!folder && !an_str_ends_with(names[i], ".gguf"))) {
            an_free(path);
            continue;
        }
        made *m = &e->made[e->n_made++];
        m->folder = folder;
        m->path = path;
        m->name = an_strdup(names[i]);
        m->bytes = folder ? folder_bytes(path) : (uint64_t)an_max_i64(an_path_size(path), 0);
        if (!m->name) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
    }
cleanup:
    an_names_free(names);
    an_free(models);
    an_free(data);
    return status;
}

static void free_everything(everything *e)
{
    an_hub_inventory_free(e->hub, e->n_hub);
    for (size_t i = 0; i < e->n_made; i++) {
        an_free(e->made[i].name);
        an_free(e->made[i].path);
    }
    an_free(e->made);
}

static anemo_status print_json(const everything *e, anemo_error *err)
{
    json_t *models = json_array();
    for (size_t i = 0; i < e->n_hub; i++) {
        const an_hub_model *m = &e->hub[i];
        char ref[256], used[21] = "";
        snprintf(ref, sizeof ref, "hf://%s@%s", m->repo, m->commit);
        if (m->used_ns) an_clock_rfc3339(m->used_ns, used);
        json_array_append_new(models,
                              json_pack("{s:s,s:s,s:s,s:s,s:o,s:s,s:o,s:I,s:I,s:s?,s:b,s:o}", "source", "hub", "ref",
                                        ref, "repo", m->repo, "commit", m->commit, "refs",
                                        an_json_text(m->refs, strlen(m->refs)), "format", m->format, "contents",
                                        an_json_text(m->contents, strlen(m->contents)), "bytes", (json_int_t)m->bytes,
                                        "files", (json_int_t)m->n_file, "last_used", m->used_ns ? used : NULL, "ours",
                                        m->ours, "path", an_json_text(m->path, strlen(m->path))));
    }
    for (size_t i = 0; i < e->n_made; i++) {
        const made *m = &e->made[i];
        json_array_append_new(models, json_pack("{s:s,s:o,s:s,s:I,s:b,s:o}", "source", "made", "ref",
                                                an_json_text(m->name, strlen(m->name)), "format",
                                                m->folder ? "directory" : "gguf", "bytes", (json_int_t)m->bytes, "ours",
                                                true, "path", an_json_text(m->path, strlen(m->path))));
    }
    return an_cli_print_json(json_pack("{s:s,s:o,s:I}", "schema", "anemo.ls/1", "models", models, "incomplete_bytes",
                                       (json_int_t)e->incomplete_bytes),
                             JSON_COMPACT, err);
}

static void print_table(const everything *e)
{
    size_t width = 5;
    for (size_t i = 0; i < e->n_hub; i++)
        if (strlen(e->hub[i].repo) > width) width = strlen(e->hub[i].repo);
    for (size_t i = 0; i < e->n_made; i++)
        if (strlen(e->made[i].name) > width) width = strlen(e->made[i].name);
    if (e->n_hub + e->n_made > 0)
        printf("%-*s  %-12s  %10s  %-10s  %-9s  %s\n", (int)width, "model", "revision", "MB", "last used", "format",
               "contents");
    for (size_t i = 0; i < e->n_hub; i++) {
        const an_hub_model *m = &e->hub[i];
        char used[21] = "-";
        if (m->used_ns) an_clock_rfc3339(m->used_ns, used);
        if (m->used_ns) used[10] = '\0';
        printf("%-*s  %-12.12s  %10.1f  %-10s  %-9s  %s%s%s%s\n", (int)width, m->repo, m->commit,
               (double)m->bytes / 1e6, used, m->format, m->contents, m->refs[0] ? " (" : "", m->refs,
               m->refs[0] ? ")" : "");
    }
    for (size_t i = 0; i < e->n_made; i++) {
        const made *m = &e->made[i];
        printf("%-*s  %-12s  %10.1f  %-10s  %-9s\n", (int)width, m->name, "made here", (double)m->bytes / 1e6, "-",
               m->folder ? "directory" : "gguf");
    }
    if (e->incomplete_bytes)
        fprintf(stderr, "anemo ls: unfinished downloads take %.1f MB; the same 'anemo pull' goes on with them\n",
                (double)e->incomplete_bytes / 1e6);
}

static anemo_status list(const ls_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    everything e = {0};
    anemo_error unread;
    if (pos->n != 0) return an_fail(err, ANEMO_ERR_INVAL, "takes no arguments; 'anemo show MODEL' describes one model");
    AN_TRY(an_hub_inventory(&e.hub, &e.n_hub, &e.incomplete_bytes, &unread, err));
    AN_TRY(list_made(&e, err));
    if (args->json) {
        AN_TRY(print_json(&e, err));
    } else if (args->quiet) {
        for (size_t i = 0; i < e.n_hub; i++)
            printf("hf://%s@%s\n", e.hub[i].repo, e.hub[i].commit);
        for (size_t i = 0; i < e.n_made; i++)
            printf("%s\n", e.made[i].name);
    } else {
        print_table(&e);
    }
    if (fflush(stdout) != 0)
        status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
    else if (unread.status != ANEMO_OK)
        status = an_fail(err, unread.status, "not all could be read: %.900s", unread.message);
cleanup:
    free_everything(&e);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    ls_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_ls, argc, argv, &args, &pos, &help, &err) != ANEMO_OK) return an_cli_fail("ls", &err);
    anemo_status status = help ? ANEMO_OK : list(&args, &pos, &err);
    an_options_free(&an_cmd_ls, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("ls", &err);
}

const an_command an_cmd_ls = {
    .name = "ls",
    .args = "",
    .summary = "List the models on this machine",
    .details = "Those in the Hugging Face cache, whichever tool fetched them, and those that anemo made.",
    .options = options,
    .args_bytes = sizeof(ls_args),
    .run = run,
};
