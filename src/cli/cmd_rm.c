/* anemo rm: remove models that anemo fetched or made; others only when told. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "base/alloc.h"
#include "base/str.h"
#include "hub/hub.h"
#include "os/beneath.h"
#include "os/file.h"
#include "os/terminal.h"

#include <stdio.h>
#include <string.h>

typedef struct rm_args {
    bool all, yes, dry_run, json, quiet;
} rm_args;

static const an_option options[] = {
    {.name = "all",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(rm_args, all),
     .help = "Also files of the cache that other tools fetched"},
    {.name = "force", .kind = AN_OPT_FLAG, .offset = offsetof(rm_args, all), .help = "The same as --all"},
    {.name = "yes", .short_name = "y", .kind = AN_OPT_FLAG, .offset = offsetof(rm_args, yes), .help = "Do not ask"},
    {.name = "dry-run",
     .kind = AN_OPT_FLAG,
     .offset = offsetof(rm_args, dry_run),
     .help = "Only say what would be removed"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = offsetof(rm_args, json), .help = "Print JSON (anemo.rm/1)"},
    AN_ROW_QUIET(offsetof(rm_args, quiet)),
    AN_OPTION_END,
};

/*
 * The name below $XDG_DATA_HOME/anemo/models that the argument means: a bare name, with or without ".gguf", or a path
 * that leads there. NULL when it means none. an_free. *models: the folder, an_free.
 */
static char *made_name(const char *arg, char **models)
{
    char *data = an_dir_data(), *found = NULL;
    *models = data ? an_path_join(data, "models") : NULL;
    char *folder = *models ? an_path_real(*models) : NULL;
    char *dir = strchr(arg, '/') ? an_path_dir(arg) : NULL, *real = dir ? an_path_real(dir) : NULL;
    const char *base = an_path_base(arg);
    bool there = folder && (dir ? real && strcmp(real, folder) == 0 : an_path_probe(arg) == AN_PATH_ABSENT);
    for (int i = 0; there && base[0] && !found && i < 2; i++) {
        an_str name = {0};
        an_str_appendf(&name, "%s%s", base, i ? ".gguf" : "");
        char *path = an_path_join(folder, an_str_text(&name));
        if (path && an_path_probe(path) != AN_PATH_ABSENT) found = an_str_take(&name);
        an_str_free(&name);
        an_free(path);
    }
    an_free(real);
    an_free(dir);
    an_free(folder);
    an_free(data);
    return found;
}

static anemo_status remove_made(const char *models, const char *name, bool dry_run, an_hub_removal *sum,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_beneath folder = {.fd = -1};
    char **names = NULL;
    size_t n = 0;
    *sum = (an_hub_removal){0};
    AN_TRY(an_beneath_open(&folder, models, false, err));
    an_node node = an_beneath_probe(&folder, name);
    if (!dry_run) {
        AN_TRY(an_beneath_remove_tree(&folder, name, &sum->freed_bytes, err));
        sum->n_removed = 1;
        goto cleanup;
    }
    sum->n_removed = 1;
    sum->freed_bytes = node.kind == AN_NODE_DIR ? 0 : node.disk_bytes;
    if (node.kind == AN_NODE_DIR) AN_TRY(an_beneath_walk(&folder, name, 100000, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = an_path_join(name, names[i]);
        if (path) sum->freed_bytes += an_beneath_probe(&folder, path).disk_bytes;
        an_free(path);
    }
cleanup:
    an_names_free(names);
    an_beneath_close(&folder);
    return status;
}

/* One argument. With dry_run only counted. */
static anemo_status remove_one(const char *arg, bool all, bool dry_run, an_hub_removal *sum, anemo_error *err)
{
    char *models = NULL, *name = made_name(arg, &models);
    anemo_status status;
    if (name)
        status = remove_made(models, name, dry_run, sum, err);
    else if (an_path_probe(arg) != AN_PATH_ABSENT)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: anemo removes models of the hub's cache (by their names) and of %s; this is neither, "
                         "remove it yourself",
                         arg, models ? models : "its models folder");
    else
        status = an_hub_remove(arg, all, dry_run, sum, err);
    an_free(name);
    an_free(models);
    return status;
}

/* Asks on a terminal. */
static anemo_status confirm(const rm_args *args, const an_hub_removal *sum, anemo_error *err)
{
    char answer[16] = "";
    if (args->yes || args->dry_run) return ANEMO_OK;
    if (!an_terminal_is(0) || !an_terminal_is(2))
        return an_fail(err, ANEMO_ERR_INVAL, "would free %.1f MB; nobody can be asked here, so say --yes",
                       (double)sum->freed_bytes / 1e6);
    fprintf(stderr, "Remove %zu files, freeing %.1f MB? [y/N] ", sum->n_removed, (double)sum->freed_bytes / 1e6);
    if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
        return an_fail(err, ANEMO_ERR_INVAL, "nothing was removed");
    return ANEMO_OK;
}

static void add(an_hub_removal *sum, const an_hub_removal *one)
{
    sum->freed_bytes += one->freed_bytes;
    sum->kept_bytes += one->kept_bytes;
    sum->n_removed += one->n_removed;
    sum->n_kept += one->n_kept;
}

static anemo_status remove_models(const rm_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_removal sum = {0}, one;
    if (pos->n == 0) return an_fail(err, ANEMO_ERR_INVAL, "needs a model: anemo rm org/name[:QUANT]");
    for (size_t i = 0; i < pos->n; i++) {
        AN_TRY(remove_one(pos->items[i], args->all, true, &one, err));
        add(&sum, &one);
    }
    if (sum.n_removed == 0 && sum.n_kept > 0) {
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "other tools fetched this (%zu files, %.1f MB); --all removes it all the same", sum.n_kept,
                         (double)sum.kept_bytes / 1e6);
        goto cleanup;
    }
    AN_TRY(confirm(args, &sum, err));
    if (!args->dry_run) sum = (an_hub_removal){0};
    for (size_t i = 0; i < pos->n && !args->dry_run; i++) {
        AN_TRY(remove_one(pos->items[i], args->all, false, &one, err));
        add(&sum, &one);
    }
    if (args->json) {
        AN_TRY(an_cli_print_json(json_pack("{s:s,s:b,s:I,s:I,s:I,s:I}", "schema", "anemo.rm/1", "dry_run",
                                           args->dry_run, "freed_bytes", (json_int_t)sum.freed_bytes, "removed",
                                           (json_int_t)sum.n_removed, "kept", (json_int_t)sum.n_kept, "kept_bytes",
                                           (json_int_t)sum.kept_bytes),
                                 JSON_COMPACT, err));
    } else if (!args->quiet) {
        printf("%zu file%s %s, %.1f MB\n", sum.n_removed, sum.n_removed == 1 ? "" : "s",
               args->dry_run ? "would be removed" : "removed, freed", (double)sum.freed_bytes / 1e6);
        if (sum.n_kept)
            printf("%zu files (%.1f MB) stay: other tools fetched them; --all removes them too\n", sum.n_kept,
                   (double)sum.kept_bytes / 1e6);
    }
cleanup:
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    rm_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_rm, argc, argv, &args, &pos, &help, &err) != ANEMO_OK) return an_cli_fail("rm", &err);
    anemo_status status = help ? ANEMO_OK : remove_models(&args, &pos, &err);
    an_options_free(&an_cmd_rm, &args, &pos);
    return status == ANEMO_OK ? 0 : an_cli_fail("rm", &err);
}

const an_command an_cmd_rm = {
    .name = "rm",
    .args = "MODEL…",
    .summary = "Remove models that anemo fetched or made",
    .details = "MODEL is a name of the hub (org/name for all of it, org/name:QUANT, hf://org/name@revision, "
               "hf://org/name/file) or of\n"
               "the models folder. Files that another model in the cache shares stay. What other tools fetched stays "
               "without --all.",
    .options = options,
    .args_bytes = sizeof(rm_args),
    .run = run,
};
