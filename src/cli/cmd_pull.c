/* anemo pull: a model of the Hugging Face hub into the cache that all tools share. */
#include "cli/arguments.h"
#include "cli/commands.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "hub/hub.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "os/terminal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct pull_args {
    const char *revision, *file, *token_file;
    an_opt_list include, exclude;
    bool dry_run, json, quiet;
} pull_args;

#define FIELD(name) offsetof(pull_args, name)

static const an_option options[] = {
    {.name = "revision",
     .kind = AN_OPT_STR,
     .offset = FIELD(revision),
     .arg = "REV",
     .help = "Branch, tag or commit (default: main)"},
    {.name = "file",
     .kind = AN_OPT_STR,
     .offset = FIELD(file),
     .arg = "PATH",
     .help = "Take this file of the repository (and its shards)"},
    {.name = "include",
     .kind = AN_OPT_LIST,
     .offset = FIELD(include),
     .arg = "GLOB",
     .help = "Take the files that match, and no others; may be repeated"},
    {.name = "exclude",
     .kind = AN_OPT_LIST,
     .offset = FIELD(exclude),
     .arg = "GLOB",
     .help = "Leave these files away; may be repeated"},
    {.name = "token-file",
     .kind = AN_OPT_STR,
     .offset = FIELD(token_file),
     .arg = "PATH",
     .help = "Read the access token from this file (default: HF_TOKEN, else what 'hf auth login' left)"},
    {.name = "dry-run", .kind = AN_OPT_FLAG, .offset = FIELD(dry_run), .help = "Only say what would be fetched"},
    {.name = "json", .kind = AN_OPT_FLAG, .offset = FIELD(json), .help = "Print JSON (anemo.pull/1)"},
    {.name = "quiet", .short_name = "q", .kind = AN_OPT_FLAG, .offset = FIELD(quiet), .help = "Print only the path"},
    AN_OPTION_END,
};

/* What the callbacks know. */
typedef struct view {
    an_progress *line;
    bool quiet;
    uint64_t begin_ns, shown_ns;
    double rate; /* bytes a second, smoothed */
    uint64_t last_ns, last_bytes;
} view;

static void show_note(void *ctx, const char *text)
{
    view *v = ctx;
    if (v->quiet) return;
    an_progress_end(v->line);
    fprintf(stderr, "anemo pull: %s\n", text);
    v->line = an_progress_begin(2, v->quiet);
}

static void show_progress(void *ctx, const an_hub_progress *p)
{
    view *v = ctx;
    char line[256], eta[32] = "";
    uint64_t now = an_clock_ns();
    if (v->last_ns && now > v->last_ns) {
        double seconds = (double)(now - v->last_ns) / 1e9, weight = seconds > 3 ? 1 : seconds / 3;
        double rate = (double)(p->fetched_bytes - v->last_bytes) / seconds;
        v->rate = v->rate > 0 ? v->rate + weight * (rate - v->rate) : rate;
    }
    v->last_ns = now;
    v->last_bytes = p->fetched_bytes;
    uint64_t left = p->total_bytes > p->done_bytes ? p->total_bytes - p->done_bytes : 0;
    if (v->rate > 1 && left > 0) {
        uint64_t s = (uint64_t)((double)left / v->rate);
        snprintf(eta, sizeof eta, ", %" PRIu64 ":%02" PRIu64 " left", s / 60, s % 60);
    }
    snprintf(line, sizeof line, "file %zu/%zu: %.1f of %.1f MB, %.1f MB/s%s: %.120s", p->file, p->n_file,
             (double)p->done_bytes / 1e6, (double)p->total_bytes / 1e6, v->rate / 1e6, eta, p->name ? p->name : "");
    an_progress_line(v->line, line);
}

static anemo_status print_json(const an_hub_pulled *r, bool dry_run, anemo_error *err)
{
    json_t *files = json_array();
    for (size_t i = 0; i < r->n_file; i++) {
        const an_hub_pulled_file *f = &r->files[i];
        json_array_append_new(files, json_pack("{s:o,s:I,s:s,s:b}", "path", json_string(f->path), "bytes",
                                               (json_int_t)f->bytes, strlen(f->etag) == 64 ? "sha256" : "etag", f->etag,
                                               "cached", f->cached));
    }
    json_t *doc = json_pack("{s:s,s:s,s:b,s:b,s:s?,s:s?,s:s?,s:I,s:I,s:I,s:o}", "schema", "anemo.pull/1", "ref",
                            r->reference, "local", r->local, "dry_run", dry_run, "repo", r->local ? NULL : r->repo,
                            "revision", r->local ? NULL : r->revision, "commit", r->local ? NULL : r->commit, "bytes",
                            (json_int_t)r->bytes, "missing_bytes", (json_int_t)r->missing_bytes, "fetched_bytes",
                            (json_int_t)r->fetched_bytes, "files", files);
    if (doc) json_object_set_new(doc, "path", r->path ? json_string(r->path) : json_null());
    return an_cli_print_json(doc, JSON_COMPACT, err);
}

static void print_result(const an_hub_pulled *r, const pull_args *args)
{
    if (args->dry_run && !r->local) {
        for (size_t i = 0; i < r->n_file; i++)
            printf("%-7s %14" PRIu64 "  %s\n", r->files[i].cached ? "cached" : "fetch", r->files[i].bytes,
                   r->files[i].path);
        printf("%zu files, %.1f MB, of which %.1f MB would be fetched\n", r->n_file, (double)r->bytes / 1e6,
               (double)r->missing_bytes / 1e6);
        if (!args->quiet) printf("%s\n", r->reference);
        return;
    }
    if (r->local && !args->quiet) fprintf(stderr, "anemo pull: this is a local model; nothing is fetched\n");
    if (!args->quiet && !r->local) printf("%s\n", r->reference);
    if (r->path) printf("%s\n", r->path);
}

static anemo_status pull(const pull_args *args, const an_positional *pos, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_pulled result = {0};
    char *local = NULL;
    view v = {.quiet = args->quiet || args->json, .begin_ns = an_clock_ns()};
    const an_hub_pull_options o = {.revision = args->revision,
                                   .file = args->file,
                                   .include = (const char *const *)args->include.items,
                                   .exclude = (const char *const *)args->exclude.items,
                                   .token_file = args->token_file,
                                   .dry_run = args->dry_run,
                                   .stop = an_interrupts_watch(),
                                   .progress = show_progress,
                                   .note = show_note,
                                   .ctx = &v};
    if (pos->n != 1) return an_fail(err, ANEMO_ERR_INVAL, "needs one model: anemo pull org/name[:QUANT]");
    /* The name of a model that was made here is no name on the hub. */
    bool here = !strchr(pos->items[0], '/') && an_model_resolve(pos->items[0], &local, NULL) == ANEMO_OK;
    v.line = an_progress_begin(2, v.quiet);
    status = an_hub_pull(here ? local : pos->items[0], &o, &result, err);
    an_progress_end(v.line);
    if (status != ANEMO_OK) goto cleanup;
    if (args->json)
        AN_TRY(print_json(&result, args->dry_run, err));
    else
        print_result(&result, args);
    if (fflush(stdout) != 0) status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written");
cleanup:
    an_free(local);
    an_hub_pulled_free(&result);
    return status;
}

static int run(int argc, char **argv)
{
    anemo_error err = {0};
    pull_args args = {0};
    an_positional pos;
    bool help;
    if (an_options_parse(&an_cmd_pull, argc, argv, &args, &pos, &help, &err) != ANEMO_OK)
        return an_cli_fail("pull", &err);
    anemo_status status = help ? ANEMO_OK : pull(&args, &pos, &err);
    an_options_free(&an_cmd_pull, &args, &pos);
    if (status == ANEMO_OK) return 0;
    int code = an_cli_fail("pull", &err);
    /* 128 + SIGTERM, as docs/exit-codes.md has it. */
    return status == ANEMO_ERR_INTERRUPTED && *an_interrupts_watch() ? 128 + *an_interrupts_watch() : code;
}

const an_command an_cmd_pull = {
    .name = "pull",
    .args = "MODEL",
    .summary = "Fetch a model from the Hugging Face hub",
    .details =
        "MODEL is org/name, org/name:QUANT (GGUF; default Q4_K_M), hf.co/org/name:QUANT,\n"
        "hf://org/name[@revision][/file] or the URL of a page of the hub. Files go to the cache that the Python\n"
        "tools use (HF_HOME, HF_HUB_CACHE) and are checked before they get their names. The last line printed\n"
        "is the path. An interrupted pull goes on where it stopped. docs/hub.md has the variables.",
    .options = options,
    .args_bytes = sizeof(pull_args),
    .run = run,
};
