/* What several verbs ask of their arguments. */
#ifndef AN_CLI_ARGUMENTS_H
#define AN_CLI_ARGUMENTS_H

#include "base/error.h"
#include "base/json.h"
#include "cli/options.h"
#include "drivers/driver.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Token ids from "1,2,3" or from a file that holds a JSON array of integers, or an object with "ids". `option` is named in
 * messages. Gives *ids: an_free. ERR_INVAL for an empty list or an item that is no id.
 */
ANEMO_MUST_CHECK anemo_status an_cli_read_ids(const char *option, const char *text, int32_t **ids, size_t *n,
                                              anemo_error *err);

/* ERR_INVAL unless value is one of the NULL-terminated words; the message lists them. */
ANEMO_MUST_CHECK anemo_status an_cli_one_of(const char *option, const char *value, const char *const *allowed,
                                            anemo_error *err);

/* "90s", "10m", "1h", "1h30m"; a number alone is seconds. In nanoseconds. ERR_INVAL naming `option`: not above 0, over 1000 h. */
ANEMO_MUST_CHECK anemo_status an_cli_read_duration(const char *option, const char *text, uint64_t *ns, anemo_error *err);

/* Whole numbers of min..max from an option's list. Gives *out [list->n]: an_free; NULL for an empty list. ERR_INVAL names it. */
ANEMO_MUST_CHECK anemo_status an_cli_read_ints(const char *option, const an_opt_list *list, int min, int max, int **out,
                                               anemo_error *err);

/*
 * The engine of that name, which must read what `path` is. ERR_INVAL for an unknown name, ERR_UNSUPPORTED when it does not
 * read the container, the errors of an_model_probe().
 */
ANEMO_MUST_CHECK anemo_status an_cli_engine_for(const char *name, const char *path, const an_engine_info **engine,
                                                anemo_error *err);

/*
 * The path of a model argument: a path or name as an_model_resolve() takes it, else a reference to a model that is in the hub's
 * cache or Ollama's store already (hub/hub.h). Never a request. ERR_NOTFOUND. Gives *path: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_cli_model_path(const char *name, char **path, anemo_error *err);

/* What AN_ROWS_LAYOUT fills. */
typedef struct an_cli_layout {
    const char *layout, *cache_dir;
    bool pin;
} an_cli_layout;

/* Into settings, which borrow. ERR_INVAL for an unknown layout, or --cache-layout beside another one. */
ANEMO_MUST_CHECK anemo_status an_cli_use_layout(const an_cli_layout *l, an_settings *s, anemo_error *err);

/* --draft: "ngram", or a model argument as above. Gives *draft, NULL for NULL: an_free. */
ANEMO_MUST_CHECK anemo_status an_cli_draft(const char *value, char **draft, anemo_error *err);

/* Print a JSON value and a line end to stdout, and release it. ERR_NOMEM (also for NULL), ERR_IO. flags: jansson's. */
ANEMO_MUST_CHECK anemo_status an_cli_print_json(json_t *value, size_t flags, anemo_error *err);

/* Rows that several verbs' tables share; `at` is the field's offset (an int64_t, for QUIET a bool, for DEVICE a string). */
#define AN_ROW_THREADS(at)                                                                                             \
    {.name = "threads", .short_name = "t", .kind = AN_OPT_I64, .offset = (at), .min = 1, .max = 1024, .arg = "N",      \
     .help = "Threads (default: the usable CPUs)"}
#define AN_ROW_DEVICE(at)                                                                                              \
    {.name = "device", .kind = AN_OPT_STR, .offset = (at), .arg = "D", .help = "auto (default), cpu or gpu"}
#define AN_ROW_GPU_LAYERS(at)                                                                                          \
    {.name = "n-gpu-layers", .short_name = "ngl", .kind = AN_OPT_I64, .offset = (at), .min = -1, .max = 1 << 20,       \
     .arg = "N", .help = "Layers on the GPU, -1 = all (default)"}
#define AN_ROW_TIMEOUT(at)                                                                                             \
    {.name = "timeout", .kind = AN_OPT_I64, .offset = (at), .min = 1, .max = 1000000, .arg = "S",                      \
     .help = "Seconds without a sign of life after which the engine counts as hung (default: 600)"}
/* How the native engine holds weights and where its threads run: fields of an an_cli_layout at `at`. */
#define AN_ROWS_LAYOUT(at)                                                                                             \
    {.name = "layout", .kind = AN_OPT_STR, .offset = (at) + offsetof(an_cli_layout, layout), .arg = "L",               \
     .help = "native's weights: auto (default), mapped, repacked, cached"},                                            \
    {.name = "cache-layout", .kind = AN_OPT_MAYBE, .offset = (at) + offsetof(an_cli_layout, cache_dir), .arg = "DIR",  \
     .help = "--layout cached, with its files in DIR (anemo/layout in the cache folder)"},                             \
    {.name = "pin", .kind = AN_OPT_FLAG, .offset = (at) + offsetof(an_cli_layout, pin),                                \
     .help = "native: keep each thread on a CPU of its own"}
#define AN_ROW_QUIET(at)                                                                                               \
    {.name = "quiet", .short_name = "q", .kind = AN_OPT_FLAG, .offset = (at), .help = "Print nothing but errors"}
/* Where a verb that measures keeps its run, and under what names. */
#define AN_ROWS_KEEP(db_at, no_store_at, tags_at, note_at)                                                             \
    {.name = "db", .kind = AN_OPT_STR, .offset = (db_at), .arg = "FILE",                                               \
     .help = "Database that keeps the result (ANEMO_DB, or results.db in the data folder)"},                           \
    {.name = "no-store", .kind = AN_OPT_FLAG, .offset = (no_store_at), .help = "Do not keep the result"},              \
    {.name = "tag", .kind = AN_OPT_LIST, .offset = (tags_at), .arg = "T,…", .help = "Names to find the result by"},    \
    {.name = "note", .kind = AN_OPT_STR, .offset = (note_at), .arg = "TEXT", .help = "Kept with the result"}
#define AN_ROW_DB(at)                                                                                                  \
    {.name = "db", .kind = AN_OPT_STR, .offset = (at), .arg = "FILE",                                                  \
     .help = "The results database (default: ANEMO_DB, else results.db in the data folder)"}

/* A line on the progress line `ctx` (os/terminal.h). */
void an_cli_show_progress(void *ctx, const char *what);

/* Bytes of weights done and to do, on the progress line `ctx` (os/terminal.h). */
void an_cli_show_weights(void *ctx, uint64_t done, uint64_t total);

/* The words of --kv, --flash-attn, --compute and --device. */
extern const char *const an_cli_kv_types[];
extern const char *const an_cli_tristates[];
extern const char *const an_cli_compute_types[];
extern const char *const an_cli_devices[];
extern const char *const an_cli_layouts[];

#endif
