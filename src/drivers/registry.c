/* The engines that anemo knows, where their drivers lie, and what to say when one is missing. */
#include "drivers/driver.h"

#include "base/alloc.h"
#include "base/json.h"
#include "os/cpu.h"
#include "os/file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const an_engine_info engines[] = {
    {"native", true, true, false, true, "it is part of anemo"},
    {"llama.cpp", true, false, true, false,
     "run ./quickstart, or install llama.cpp with its headers (on macOS `brew install llama.cpp`) "
     "and build again"},
    {"llama-cpp-python", true, false, true, false,
     "run ./quickstart, or `pip install llama-cpp-python` into the virtual environment that "
     "ANEMO_ENGINES names"},
    {"mlx", false, true, true, false,
     "run ./quickstart, or `pip install \"mlx[cpu]\"` (on macOS `mlx`) into the virtual "
     "environment that "
     "ANEMO_ENGINES names and build again"},
    {"mlx-lm", false, true, true, false,
     "run ./quickstart, or `pip install mlx-lm \"mlx[cpu]\"` into the virtual environment that "
     "ANEMO_ENGINES names"},
    {"http", false, false, true, false, "give the address of a running server with --url"},
};

size_t an_engine_n(void)
{
    return AN_COUNT_OF(engines);
}

const an_engine_info *an_engine_at(size_t i)
{
    return i < AN_COUNT_OF(engines) ? &engines[i] : NULL;
}

const an_engine_info *an_engine_find(const char *name)
{
    for (size_t i = 0; i < AN_COUNT_OF(engines); i++)
        if (!strcmp(engines[i].name, name)) return &engines[i];
    return NULL;
}

bool an_engine_reads(const an_engine_info *e, an_container container)
{
    return container == AN_CONTAINER_GGUF ? e->reads_gguf : e->reads_mlx;
}

/* dir/relative when it is a file; NULL otherwise. an_free. */
static char *file_below(const char *dir, const char *relative)
{
    char *path = dir ? an_path_join(dir, relative) : NULL;
    if (path && an_path_probe(path) == AN_PATH_FILE) return path;
    an_free(path);
    return NULL;
}

/*
 * A driver's file: in ANEMO_LIBEXEC, beside the running executable, or where an installation and a
 * build tree keep it from there.
 */
static char *find_driver(const char *name, const char *in_source_tree)
{
    char *self = an_path_self(), *dir = self ? an_path_dir(self) : NULL;
    char *installed = NULL, *source = NULL;
    char *found = file_below(an_env("ANEMO_LIBEXEC"), name);
    if (!found) found = file_below(dir, name);
    if (!found)
        found = file_below(installed = dir ? an_path_join(dir, "../libexec/anemo") : NULL, name);
    if (!found && in_source_tree)
        found = file_below(source = dir ? an_path_join(dir, "../..") : NULL, in_source_tree);
    if (!found && in_source_tree) found = file_below(an_env("ANEMO_LIBEXEC"), in_source_tree);
    an_free(source);
    an_free(installed);
    an_free(dir);
    an_free(self);
    return found;
}

/* The engines' virtual environment: ANEMO_ENGINES, the one found at build time, the user's cache.
 * an_free. */
static char *find_python(void)
{
    char *found = file_below(an_env("ANEMO_ENGINES"), "bin/python");
    if (found || an_env("ANEMO_ENGINES")) return found;
    if (*AN_ENGINES_BUILT) found = file_below(AN_ENGINES_BUILT, "bin/python");
    if (found) return found;
    char *cache = an_dir_cache();
    found = file_below(cache, "engines/current/bin/python");
    an_free(cache);
    return found;
}

/* Is the package in the virtual environment of this interpreter? Looked up in the file system:
 * starting Python costs. */
static bool has_package(const char *python, const char *package)
{
    bool found = false;
    char *bin = an_path_dir(python), *venv = bin ? an_path_dir(bin) : NULL;
    char *lib = venv ? an_path_join(venv, "lib") : NULL, **names = NULL;
    size_t n = 0;
    if (lib && an_dir_list(lib, &names, &n, NULL) == ANEMO_OK) {
        for (size_t i = 0; i < n && !found; i++) {
            an_str path = {0};
            an_str_appendf(&path, "%s/%s/site-packages/%s", lib, names[i], package);
            found = !path.failed && an_path_probe(an_str_text(&path)) == AN_PATH_DIR;
            an_str_free(&path);
        }
        an_names_free(names);
    }
    an_free(lib);
    an_free(venv);
    an_free(bin);
    return found;
}

void an_argv_free(char **argv)
{
    for (size_t i = 0; argv && argv[i]; i++)
        an_free(argv[i]);
    an_free(argv);
}

/* A command of up to five words; takes `first` (an_free'd on failure) and copies the others. */
static anemo_status make_argv(char ***argv, char *first, const char *const *rest, anemo_error *err)
{
    char **list = an_calloc(8, sizeof *list);
    if (!list || !first) {
        an_free(first);
        an_free(list);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    list[0] = first;
    for (size_t i = 0; rest[i]; i++) {
        list[i + 1] = an_strdup(rest[i]);
        if (!list[i + 1]) {
            an_argv_free(list);
            return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        }
    }
    *argv = list;
    return ANEMO_OK;
}

static anemo_status missing(const an_engine_info *e, const char *what, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: %s is missing; to get it: %s", e->name, what,
                   e->how_to_get);
}

/* anemo itself, for the drivers inside it: the running program, or the one that ANEMO_LIBEXEC
 * holds. */
static char *find_self(void)
{
    char *found = file_below(an_env("ANEMO_LIBEXEC"), "anemo");
    return found ? found : an_path_self();
}

static anemo_status python_command(const an_engine_info *e, const char *script, const char *package,
                                   char ***argv, anemo_error *err)
{
    char in_tree[80];
    snprintf(in_tree, sizeof in_tree, "drivers/python/%s", script);
    char *python = find_python();
    if (!python) return missing(e, "the virtual environment of the engines", err);
    if (!has_package(python, package)) {
        an_free(python);
        return missing(e, "its Python package", err);
    }
    char *path = find_driver(script, in_tree);
    if (!path) {
        an_free(python);
        return an_fail(err, ANEMO_ERR_NOTFOUND,
                       "%s: its driver %s is neither beside anemo nor in libexec/anemo; install "
                       "anemo again or set "
                       "ANEMO_LIBEXEC",
                       e->name, script);
    }
    const char *rest[] = {"-u", path, NULL};
    anemo_status status = make_argv(argv, python, rest, err);
    an_free(path);
    return status;
}

/* ANEMO_DRIVER_LLAMA_CPP for "llama.cpp": a command of the user's own in place of the driver. */
static const char *own_command(const an_engine_info *e)
{
    char name[64];
    int n = snprintf(name, sizeof name, "ANEMO_DRIVER_%s", e->name);
    for (char *p = name; n > 0 && *p; p++)
        *p = isalnum((unsigned char)*p) ? (char)toupper((unsigned char)*p) : '_';
    return an_env(name);
}

/* Cut at spaces: there is no quoting, so a path with a space needs a script around it. */
static anemo_status split_command(const char *text, char ***argv, anemo_error *err)
{
    size_t n = 0, cap = strlen(text) / 2 + 2;
    char **list = an_calloc(cap, sizeof *list);
    bool ok = list != NULL;
    for (const char *p = text; ok && *(p += strspn(p, " "));) {
        size_t len = strcspn(p, " ");
        list[n] = an_strndup(p, len);
        ok = list[n++] != NULL;
        p += len;
    }
    if (!ok) {
        an_argv_free(list);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    if (n == 0) {
        an_argv_free(list);
        return an_fail(err, ANEMO_ERR_INVAL, "the driver's command in the environment is blank");
    }
    *argv = list;
    return ANEMO_OK;
}

anemo_status an_engine_command(const an_engine_info *e, const char *url, char ***argv,
                               anemo_error *err)
{
    const char *own = own_command(e);
    if (own) return split_command(own, argv, err);
    if (!strcmp(e->name, "native")) {
        const char *rest[] = {"worker", "native", NULL};
        return make_argv(argv, find_self(), rest, err);
    }
    if (!strcmp(e->name, "http")) {
        const char *rest[] = {"worker", "http", "--url", url, NULL};
        if (!url || !*url) return an_fail(err, ANEMO_ERR_INVAL, "http: %s", e->how_to_get);
        return make_argv(argv, find_self(), rest, err);
    }
    if (!strcmp(e->name, "llama-cpp-python"))
        return python_command(e, "llama_cpp_python_driver.py", "llama_cpp", argv, err);
    if (!strcmp(e->name, "mlx-lm"))
        return python_command(e, "mlx_lm_driver.py", "mlx_lm", argv, err);
    bool llama = !strcmp(e->name, "llama.cpp");
    char *driver = find_driver(llama ? "anemo-driver-llama" : "anemo-driver-mlx", NULL);
    const char *rest[] = {NULL};
    if (!driver) return missing(e, llama ? "anemo-driver-llama" : "anemo-driver-mlx", err);
    return make_argv(argv, driver, rest, err);
}

an_settings an_settings_default(void)
{
    int n = an_cpu_usable();
    return (an_settings){.n_batch = 512,
                         .n_ubatch = 512,
                         .threads = n,
                         .threads_batch = n,
                         .kv_type = "f16",
                         .flash_attn = AN_AUTO,
                         .device = "auto",
                         .n_gpu_layers = -1,
                         .compute_dtype = "auto",
                         .layout = "auto"};
}

json_t *an_settings_json(const an_settings *s)
{
    static const char *const tristate[] = {"auto", "on", "off"};
    json_t *obj = json_pack("{s:i,s:i,s:i,s:i,s:i,s:s,s:s,s:s,s:s,s:i,s:s,s:b}", "n_ctx", s->n_ctx, "n_batch",
                            s->n_batch, "n_ubatch", s->n_ubatch, "threads", s->threads, "threads_batch",
                            s->threads_batch, "kv_type", s->kv_type, "kv_type_v",
                            s->kv_type_v ? s->kv_type_v : s->kv_type, "flash_attn",
                            tristate[s->flash_attn], "device", s->device, "n_gpu_layers", s->n_gpu_layers, "compute_dtype",
                            s->compute_dtype, "stock", s->stock);
    /* Younger than results that are kept: at their defaults they are left out, so that a cell's identity stays what it was. */
    bool failed = obj && strcmp(s->layout, "auto") != 0 && json_object_set_new(obj, "layout", json_string(s->layout)) != 0;
    failed = failed || (obj && s->pin && json_object_set_new(obj, "pin", json_true()) != 0);
    failed = failed || (obj && s->draft &&
                        (json_object_set_new(obj, "draft", an_json_text(s->draft, strlen(s->draft))) != 0 ||
                         json_object_set_new(obj, "draft_n", json_integer(s->draft_n)) != 0));
    if (!failed) return obj;
    json_decref(obj);
    return NULL;
}
