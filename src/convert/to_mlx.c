/* GGUF to an MLX directory: checks first, then everything into a temporary directory that is
 * renamed at the end. */
#include "convert/convert_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define PARTIAL ".partial-"

/* Remove a directory and the files in it; a directory inside it is left, and then so is this one.
 */
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
            memcmp(names[i] + 1, base, len) ||
            memcmp(names[i] + 1 + len, PARTIAL, strlen(PARTIAL)) || !an_parse_i64(tail, &pid))
            continue;
        if (an_process_stat_read(pid, &stat, NULL) != ANEMO_ERR_NOTFOUND) continue;
        char *path = an_path_join(parent, names[i]);
        bool removed = path && remove_flat_dir(path, NULL) == ANEMO_OK;
        an_free(path);
        if (!removed) break;
    }
    an_names_free(names);
}

/* May the target be written? With force an existing one must be a model directory and nothing more.
 */
static anemo_status check_target(const char *dst, bool force, bool *exists, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **names = NULL;
    size_t n;
    bool config = false;
    an_path_kind kind = an_path_probe(dst);
    *exists = kind != AN_PATH_ABSENT;
    if (!*exists) return ANEMO_OK;
    if (!force)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: exists already; --force replaces it", dst);
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
            status =
                an_fail(err, ANEMO_ERR_INVAL,
                        "%s: holds %s, which no model has, so it is not replaced", dst, names[i]);
            goto cleanup;
        }
    }
    if (n > 0 && !config)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: holds no config.json, so it is not a model and not replaced", dst);
cleanup:
    an_names_free(names);
    return status;
}

/* Put the finished directory in the target's place. An old one changes places with it, or steps aside where names cannot
 * be exchanged, and goes last. */
static anemo_status publish(const char *tmp, const char *dst, bool exists, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str old = {0};
    if (exists) {
        status = an_path_exchange(tmp, dst, err);
        if (status == ANEMO_OK) return remove_flat_dir(tmp, err);
        if (status != ANEMO_ERR_UNSUPPORTED) return status;
        an_str_appendf(&old, "%s.old", tmp);
        AN_TRY(an_str_check(&old, err));
        AN_TRY(an_path_rename(dst, old.data, err));
    }
    status = an_path_rename(tmp, dst, err);
    if (status != ANEMO_OK && exists && an_path_rename(old.data, dst, NULL) != ANEMO_OK)
        an_fail_prefix(err, status, "the old directory is now %s", old.data);
    if (status == ANEMO_OK && exists) AN_TRY(remove_flat_dir(old.data, err));
cleanup:
    an_str_free(&old);
    return status;
}

static anemo_status convert_into(const an_model_file *m, const an_mlx_plan *plan, const char *tmp,
                                 const an_convert_options *options, an_convert_result *result,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(an_dir_make(tmp, err));
    /* The small files first: what they refuse is known before the long part. */
    AN_TRY(an_mlx_write_config(plan, m, tmp, err));
    AN_TRY(an_mlx_write_tokenizer(m, tmp, err));
    AN_TRY(an_mlx_write_weights(plan, tmp, options, result, err));
cleanup:
    return status;
}

void an_convert_result_free(an_convert_result *r)
{
    for (size_t i = 0; i < r->n_note; i++)
        an_free(r->notes[i]);
    an_free(r->notes);
    an_weight_classes_free(&r->classes);
    *r = (an_convert_result){0};
}

anemo_status an_convert_note(an_convert_result *r, anemo_error *err, const char *fmt, ...)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    char **grown = NULL, *copy = NULL;
    va_list args;
    va_start(args, fmt);
    an_str_vappendf(&text, fmt, args);
    va_end(args);
    AN_TRY(an_str_check(&text, err));
    copy = an_strdup(text.data);
    grown = copy ? an_realloc(r->notes, (r->n_note + 1) * sizeof *grown) : NULL;
    if (!grown) {
        an_free(copy);
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    r->notes = grown;
    r->notes[r->n_note++] = copy;
cleanup:
    an_str_free(&text);
    return status;
}

anemo_status an_convert_to_mlx(const char *src, const char *dst_name,
                               const an_convert_options *options, an_convert_result *result,
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_model_file *m = NULL;
    an_mlx_plan plan = {0};
    an_convert_result made = {0};
    an_str tmp = {0};
    bool exists, begun = false;
    char *dst = an_strdup(dst_name), *parent = NULL;
    size_t len = strlen(dst_name);
    if (!dst) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    while (len > 1 && dst[len - 1] == '/')
        dst[--len] = '\0';
    const char *base = an_path_base(dst);
    parent = an_path_dir(dst);
    if (!base[0] || !strcmp(base, ".") || !strcmp(base, "..") || !strcmp(dst, "/")) {
        status = an_fail(err, ANEMO_ERR_INVAL, "'%s' does not name a directory that could be made",
                         dst_name);
        goto cleanup;
    }
    AN_TRY(check_target(dst, options->force, &exists, err));
    AN_TRY(an_model_file_open(&m, src, err));
    if (m->container != AN_CONTAINER_GGUF) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                         "%s: is not a GGUF file; only GGUF is converted to MLX", src);
        goto cleanup;
    }
    AN_TRY(an_mlx_plan_make(&plan, m, err));
    an_str_appendf(&tmp, "%s/.%s" PARTIAL "%" PRId64, parent ? parent : ".", base,
                   an_process_self());
    AN_TRY(an_str_check(&tmp, err));
    remove_stale(parent ? parent : ".", base);
    begun = true;
    AN_TRY(convert_into(m, &plan, tmp.data, options, &made, err));
    AN_TRY(publish(tmp.data, dst, exists, err));
    *result = made;
cleanup:
    if (status != ANEMO_OK && begun && an_path_probe(tmp.data) == AN_PATH_DIR &&
        remove_flat_dir(tmp.data, NULL) != ANEMO_OK)
        an_fail_prefix(err, status, "(%s could not be removed)", tmp.data);
    an_mlx_plan_free(&plan);
    an_model_file_close(m);
    an_str_free(&tmp);
    an_free(parent);
    an_free(dst);
    return status;
}
