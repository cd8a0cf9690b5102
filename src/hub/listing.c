/* Listings: JSON of the hub's API into checked entries. */
#include "hub/listing.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/num.h"
#include "hub/reference.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *an_name_for_message(const char *text, char *out, size_t cap)
{
    size_t n = 0;
    for (; text[n] && n + 4 < cap; n++)
        out[n] = (unsigned char)text[n] < 0x20 || (unsigned char)text[n] > 0x7e ? '?' : text[n];
    out[n] = '\0';
    if (text[n]) strcat(out, "...");
    return out;
}

/* 40 or 64 hex digits become the file's etag. */
static void take_digest(char out[65], const char *digest)
{
    size_t n = digest ? strlen(digest) : 0;
    out[0] = '\0';
    if ((n == 40 || n == 64) && strspn(digest, "0123456789abcdef") == n) memcpy(out, digest, n + 1);
}

anemo_status an_listing_add(an_listing *l, const char *path, uint64_t bytes, const char *etag, const char *name,
                            anemo_error *err)
{
    char shown[80];
    if (!an_relpath_safe(path))
        return an_fail(
            err, ANEMO_ERR_FORMAT,
            "%s: entry %zu: '%s' is not a name that may be used below a folder; nothing of this listing is used", name,
            l->n, an_name_for_message(path, shown, sizeof shown));
    if (l->n >= AN_LISTING_MAX_FILES)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d files", name, AN_LISTING_MAX_FILES);
    if (bytes > INT64_MAX / 4)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%s' has an impossible size", name,
                       an_name_for_message(path, shown, sizeof shown));
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        an_hub_file *bigger = an_realloc(l->files, cap * sizeof *bigger);
        if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        l->files = bigger;
        l->cap = cap;
    }
    an_hub_file *f = &l->files[l->n];
    f->path = an_strdup(path);
    f->bytes = bytes;
    take_digest(f->etag, etag);
    if (!f->path) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
    l->n++;
    return ANEMO_OK;
}

static anemo_status too_long(const char *name, size_t n, anemo_error *err)
{
    if (n <= AN_LISTING_MAX_BYTES) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: longer than the limit of %d bytes", name, AN_LISTING_MAX_BYTES);
}

anemo_status an_repo_info_parse(an_repo_info *out, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL;
    const char *sha, *id;
    memset(out, 0, sizeof *out);
    AN_TRY(too_long(name, n, err));
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    if (!json_is_object(doc)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a JSON object", name);
        goto cleanup;
    }
    AN_TRY(an_json_get_str(doc, "sha", "", &sha, name, err));
    AN_TRY(an_json_get_str(doc, "id", "", &id, name, err));
    if (!an_commit_valid(sha)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: sha is not a commit (40 hex digits)", name);
        goto cleanup;
    }
    memcpy(out->commit, sha, 41);
    if (an_repo_id_valid(id)) snprintf(out->id, sizeof out->id, "%s", id);
cleanup:
    json_decref(doc);
    return status;
}

static anemo_status add_entry(an_listing *l, const json_t *entry, size_t index, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char where[256];
    const char *type, *path, *oid;
    int64_t bytes;
    snprintf(where, sizeof where, "%.200s: entry %zu", name, index);
    if (!json_is_object(entry)) return an_fail(err, ANEMO_ERR_FORMAT, "%s is not an object", where);
    AN_TRY(an_json_get_str(entry, "type", "file", &type, where, err));
    AN_TRY(an_json_get_str(entry, "path", NULL, &path, where, err));
    if (!path) return an_fail(err, ANEMO_ERR_FORMAT, "%s has no path", where);
    if (strcmp(type, "directory") == 0) {
        char shown[80];
        if (an_relpath_safe(path)) return ANEMO_OK;
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%s' is not a name that may be used below a folder", where,
                       an_name_for_message(path, shown, sizeof shown));
    }
    if (strcmp(type, "file") != 0) return an_fail(err, ANEMO_ERR_FORMAT, "%s is neither a file nor a directory", where);
    AN_TRY(an_json_get_str(entry, "oid", NULL, &oid, where, err));
    AN_TRY(an_json_get_i64(entry, "size", -1, 0, INT64_MAX / 4, &bytes, where, err));
    const json_t *lfs = json_object_get(entry, "lfs");
    if (lfs && !json_is_null(lfs)) {
        if (!json_is_object(lfs)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: lfs is not an object", where);
        AN_TRY(an_json_get_str(lfs, "oid", NULL, &oid, where, err));
        AN_TRY(an_json_get_i64(lfs, "size", bytes, 0, INT64_MAX / 4, &bytes, where, err));
    }
    if (bytes < 0) return an_fail(err, ANEMO_ERR_FORMAT, "%s has no size", where);
    status = an_listing_add(l, path, (uint64_t)bytes, oid, name, err);
cleanup:
    return status;
}

anemo_status an_listing_add_page(an_listing *l, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL;
    AN_TRY(too_long(name, n, err));
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    if (!json_is_array(doc)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a JSON array of files", name);
        goto cleanup;
    }
    for (size_t i = 0; i < json_array_size(doc); i++)
        AN_TRY(add_entry(l, json_array_get(doc, i), i, name, err));
cleanup:
    json_decref(doc);
    return status;
}

anemo_status an_listing_add_tree_cache(an_listing *l, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL, *entry;
    const char *path;
    int64_t version, bytes;
    AN_TRY(too_long(name, n, err));
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    AN_TRY(an_json_get_i64(doc, "format_version", 0, 0, INT32_MAX, &version, name, err));
    if (version != 1 || !json_is_object(json_object_get(doc, "files"))) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: not a listing of version 1", name);
        goto cleanup;
    }
    json_object_foreach(json_object_get(doc, "files"), path, entry)
    {
        const char *blob;
        AN_TRY(an_json_get_str(entry, "blob_id", NULL, &blob, name, err));
        AN_TRY(an_json_get_str(entry, "lfs_sha256", blob, &blob, name, err));
        AN_TRY(an_json_get_i64(entry, "size", -1, 0, INT64_MAX / 4, &bytes, name, err));
        if (bytes < 0) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: a file without a size", name);
            goto cleanup;
        }
        AN_TRY(an_listing_add(l, path, (uint64_t)bytes, blob, name, err));
    }
cleanup:
    json_decref(doc);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp((*(const an_hub_file *const *)a)->path, (*(const an_hub_file *const *)b)->path);
}

/* Is `a` a folder of `b`? */
static bool is_folder_of(const char *a, const char *b)
{
    size_t n = strlen(a);
    return strncmp(a, b, n) == 0 && b[n] == '/';
}

anemo_status an_listing_check(const an_listing *l, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char shown[80];
    uint64_t total = 0;
    const an_hub_file **sorted = an_calloc(l->n + 1, sizeof *sorted);
    if (!sorted) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
    for (size_t i = 0; i < l->n; i++) {
        sorted[i] = &l->files[i];
        if (!an_add_u64(total, l->files[i].bytes, &total) || total > INT64_MAX / 2) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: the sizes add up to more than there can be", name);
            goto cleanup;
        }
    }
    qsort(sorted, l->n, sizeof *sorted, by_path);
    for (size_t i = 0; i + 1 < l->n; i++) {
        const char *path = sorted[i]->path;
        if (strcmp(path, sorted[i + 1]->path) == 0) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: '%s' is listed twice", name,
                             an_name_for_message(path, shown, sizeof shown));
            goto cleanup;
        }
        /* What begins with "path/" follows "path" closely, but "path-x" and "path.y" come in between. */
        for (size_t k = i + 1; k < l->n && strncmp(path, sorted[k]->path, strlen(path)) == 0; k++) {
            if (sorted[k]->path[strlen(path)] > '/') break;
            if (!is_folder_of(path, sorted[k]->path)) continue;
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: '%s' is a file and a folder", name,
                             an_name_for_message(path, shown, sizeof shown));
            goto cleanup;
        }
    }
cleanup:
    an_free(sorted);
    return status;
}

const an_hub_file *an_listing_find(const an_listing *l, const char *path)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->files[i].path, path) == 0) return &l->files[i];
    return NULL;
}

void an_listing_free(an_listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        an_free(l->files[i].path);
    an_free(l->files);
    *l = (an_listing){0};
}
