/* anemo results pack: a kept run as a capsule. */
#include "cli/arguments.h"
#include "cli/results.h"

#include "base/alloc.h"
#include "bench/model_digest.h"
#include "os/file.h"
#include "report/capsule.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

typedef struct pack_args {
    const char *db, *out;
    bool no_paths, quiet;
} pack_args;

static const an_option pack_options[] = {
    {.name = "output", .short_name = "o", .kind = AN_OPT_STR, .offset = offsetof(pack_args, out), .arg = "FILE",
     .help = "Where to write it (default: RUN.capsule.json); - is stdout"},
    {.name = "no-paths", .kind = AN_OPT_FLAG, .offset = offsetof(pack_args, no_paths), .help = "Leave out folders and the host's name"},
    AN_ROW_QUIET(offsetof(pack_args, quiet)),
    AN_ROW_DB(offsetof(pack_args, db)),
    AN_OPTION_END,
};

/* Why the weights of a model that the run does not identify cannot be identified now; NULL when they can. */
static const char *not_here(const an_run_model *m, char sha256[65])
{
    an_container container;
    int64_t bytes = m->path ? an_path_size(m->path) : -1;
    if (!m->path || an_model_probe(m->path, &container, NULL) != ANEMO_OK) return "it is not here any more";
    if (bytes >= 0 && m->bytes && !strstr(m->path, "-of-") && (uint64_t)bytes != m->bytes) return "it has changed since the run";
    an_model_digest(m->path, container, sha256);
    return sha256[0] ? NULL : "its files cannot be read";
}

/* Which weights the run's models are: as the run says, else read now. */
static void digest_models(const an_run *run, char (*sha256)[65], bool quiet)
{
    for (size_t i = 0; i < run->n_model; i++) {
        const an_run_model *m = &run->models[i];
        memcpy(sha256[i], m->sha256, 65);
        const char *reason = m->sha256[0] ? NULL : not_here(m, sha256[i]);
        if (reason && !quiet) fprintf(stderr, "anemo results pack: no checksum of %s: %s\n", m->name, reason);
    }
}

static anemo_status pack(const void *args, const an_positional *pos, anemo_error *err)
{
    const pack_args *a = args;
    anemo_status status;
    an_store *store = NULL;
    char (*sha256)[65] = NULL;
    char path[64];
    an_str text = {0};
    an_run run;
    an_run_init(&run);
    if (pos->n != 1) return an_fail(err, ANEMO_ERR_INVAL, "needs one run: anemo results pack RUN [-o FILE]");
    AN_TRY(an_store_open(&store, a->db, AN_STORE_READ, err));
    AN_TRY(an_store_get(store, pos->items[0], &run, err));
    sha256 = an_calloc(run.n_model + 1, sizeof *sha256);
    if (!sha256) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    digest_models(&run, sha256, a->quiet);
    AN_TRY(an_capsule_write(&run, sha256, a->no_paths, &text, err));
    if (a->out && !strcmp(a->out, "-")) {
        AN_TRY(an_results_print(&text, err));
        goto cleanup;
    }
    snprintf(path, sizeof path, "%s.capsule.json", run.id);
    if (!a->out && strchr(path, '/')) {
        status = an_fail(err, ANEMO_ERR_INVAL, "the run's id is no file name; -o FILE says where to write it");
        goto cleanup;
    }
    AN_TRY(an_file_write(a->out ? a->out : path, text.data, text.len, err));
    if (!a->quiet) printf("%s\n", a->out ? a->out : path);
cleanup:
    an_store_close(store);
    an_free(sha256);
    an_str_free(&text);
    an_run_free(&run);
    return status;
}

static int run_pack(int argc, char **argv)
{
    pack_args args = {0};
    return an_results_run(&an_cmd_results_pack, argc, argv, &args, pack);
}

const an_command an_cmd_results_pack = {
    .name = "results pack",
    .args = "RUN",
    .summary = "Write a run as one file that 'anemo repeat' repeats",
    .details = "The capsule holds the plan, ids of the prompt, settings, seeds, environment, every repetition and the checksums of the\n"
               "models' weights, which are read for it. Passwords and keys in addresses and commands are left out.",
    .options = pack_options,
    .args_bytes = sizeof(pack_args),
    .run = run_pack,
};
