/* Directories that appear whole or not at all. */
#include "convert/outdir.h"

#include "base/alloc.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <string.h>

#define PARTIAL ".partial-"

/* Remove a directory and the files in it; a directory inside it is left, and then so is this one. */
static anemo_status remove_flat_dir(const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    AN_TRY(an_dir_list(dir, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = an_path_join(dir, names[i]);
        if (!path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        status = an_path_remove(path, err);
        an_free(path);
        if (status != ANEMO_OK) goto cleanup;
    }
    AN_TRY(an_path_remove(dir, err));
cleanup:
    an_names_free(names);
    return status;
}

/* What killed conversions of the same target left behind. Best effort: it only frees space. */
static void remove_stale(const char *parent, const char *base)
{
    char **names;
    size_t n, len = strlen(base);
    if (an_dir_list(parent, &names, &n, NULL) != ANEMO_OK) return;
    for (size_t i = 0; i < n; i++) {
        int64_t pid;
        an_process_stat stat;
        const char *tail = names[i] + len + 1 + strlen(PARTIAL);
        if (strlen(names[i]) <= len + 1 + strlen(PARTIAL) || names[i][0] != '.' ||
            memcmp(names[i] + 1, base, len) || memcmp(names[i] + 1 + len, PARTIAL, strlen(PARTIAL)) ||
            !an_parse_i64(tail, &pid))
            continue;
        if (an_process_stat_read(pid, &stat, NULL) != ANEMO_ERR_NOTFOUND) continue;
        char *path = an_path_join(parent, names[i]);
        bool removed = path && remove_flat_dir(path, NULL) == ANEMO_OK;
        an_free(path);
        if (!removed) break;
    }
    an_names_free(names);
}

/* With force an existing target must be a model directory and nothing more. */
static anemo_status check_target(const char *dst, bool force, bool *exists, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    bool config = false;
    an_path_kind kind = an_path_probe(dst);
    *exists = kind != AN_PATH_ABSENT;
    if (!*exists) return ANEMO_OK;
    if (!force) return an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
    if (kind != AN_PATH_DIR)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: is not a directory, so it is not replaced", dst);
    AN_TRY(an_dir_list(dst, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char *path = an_path_join(dst, names[i]);
        if (!path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        bool file = an_path_probe(path) == AN_PATH_FILE;
        an_free(path);
        config = config || !strcmp(names[i], "config.json");
        if (!file) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: holds %s, which no model has, so it is not replaced", dst, names[i]);
            goto cleanup;
        }
    }
    if (n > 0 && !config)
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: holds no config.json, so it is not a model and not replaced", dst);
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_outdir_open(an_outdir *out, const char *dst_name, bool force, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_outdir o = {.dst = an_strdup(dst_name)};
    size_t len = strlen(dst_name);
    if (!o.dst) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    while (len > 1 && o.dst[len - 1] == '/') o.dst[--len] = '\0';
    const char *base = an_path_base(o.dst);
    o.parent = an_path_dir(o.dst);
    if (!base[0] || !strcmp(base, ".") || !strcmp(base, "..") || !strcmp(o.dst, "/")) {
        status = an_fail(err, ANEMO_ERR_INVAL, "'%s' does not name a directory that could be made", dst_name);
        goto cleanup;
    }
    if (!o.parent) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(check_target(o.dst, force, &o.exists, err));
    an_str_appendf(&o.tmp, "%s/.%s" PARTIAL "%" PRId64, o.parent, base, an_process_self());
    AN_TRY(an_str_check(&o.tmp, err));
    *out = o;
cleanup:
    if (status != ANEMO_OK) an_outdir_close(&o, ANEMO_OK, NULL);
    return status;
}

/* The directories above that do not exist yet, so that a failure can take them away again. */
static anemo_status note_missing(an_outdir *o, anemo_error *err)
{
    for (const char *p = o->parent;; p++) {
        if ((*p != '/' && *p != '\0') || p == o->parent) {
            if (*p == '\0') return ANEMO_OK;
            continue;
        }
        char *prefix = an_strndup(o->parent, (size_t)(p - o->parent));
        bool missing = prefix && an_path_probe(prefix) == AN_PATH_ABSENT;
        char **grown = missing ? an_realloc(o->made_parents, (o->n_made_parent + 1) * sizeof *grown) : NULL;
        if (grown) {
            o->made_parents = grown;
            grown[o->n_made_parent++] = prefix;
        } else {
            an_free(prefix);
            if (!prefix || missing) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        }
        if (*p == '\0') return ANEMO_OK;
    }
}

anemo_status an_outdir_make(an_outdir *o, uint64_t bytes, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(note_missing(o, err));
    o->made = true;
    AN_TRY(an_dir_make(o->parent, err));
    remove_stale(o->parent, an_path_base(o->dst));
    AN_TRY(an_dir_make(o->tmp.data, err));
    uint64_t there = an_path_free_bytes(o->parent);
    if (there < bytes) {
        status = an_fail(err, ANEMO_ERR_NOSPACE,
                         "%s: %.1f MB are needed and %.1f MB are free on this file system; free some or write elsewhere",
                         o->dst, (double)bytes / 1e6, (double)there / 1e6);
    }
cleanup:
    return status;
}

anemo_status an_outdir_publish(an_outdir *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str old = {0};
    if (o->exists) {
        status = an_path_exchange(o->tmp.data, o->dst, err);
        if (status == ANEMO_OK) AN_TRY(remove_flat_dir(o->tmp.data, err));
        if (status == ANEMO_OK) o->made = false;
        if (status != ANEMO_ERR_UNSUPPORTED) goto cleanup;
        /* Names cannot be exchanged here: the old one steps aside. */
        an_str_appendf(&old, "%s.old", o->tmp.data);
        AN_TRY(an_str_check(&old, err));
        AN_TRY(an_path_rename(o->dst, old.data, err));
    }
    status = an_path_rename(o->tmp.data, o->dst, err);
    if (status != ANEMO_OK && o->exists && an_path_rename(old.data, o->dst, NULL) != ANEMO_OK)
        an_fail_prefix(err, status, "the old directory is now %s", old.data);
    if (status != ANEMO_OK) goto cleanup;
    o->made = false;
    if (o->exists) AN_TRY(remove_flat_dir(old.data, err));
cleanup:
    an_str_free(&old);
    return status;
}

void an_outdir_close(an_outdir *o, anemo_status status, anemo_error *err)
{
    if (o->made) {
        if (an_path_probe(o->tmp.data) == AN_PATH_DIR && remove_flat_dir(o->tmp.data, NULL) != ANEMO_OK && status != ANEMO_OK)
            an_fail_prefix(err, status, "(%s could not be removed)", o->tmp.data);
        /* Only empty ones go. */
        for (size_t i = o->n_made_parent; i-- > 0;)
            if (an_path_remove(o->made_parents[i], NULL) != ANEMO_OK) break;
    }
    for (size_t i = 0; i < o->n_made_parent; i++) an_free(o->made_parents[i]);
    an_free(o->made_parents);
    an_str_free(&o->tmp);
    an_free(o->parent);
    an_free(o->dst);
    *o = (an_outdir){0};
}
