/* The cache's layout. */
#include "hub/cache.h"

#include "base/alloc.h"
#include "base/json.h"
#include "hub/reference.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_MAX_BYTES = 1600,
    LINK_MAX_BYTES = 2048,
    SNAPSHOT_MAX_FILES = 100000,
    REF_MAX_BYTES = 128,
    MARKS_MAX_BYTES = 8 << 20
};

static const char tag_text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                               "# This file is a cache directory tag created by huggingface_hub.\n"
                               "# For information about cache directory tags, see:\n"
                               "#\thttps://bford.info/cachedir/\n";

anemo_status an_hub_cache_open(an_hub_cache *c, const char *path, const char *repo, bool make, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    size_t n = 0;
    *c = (an_hub_cache){.root = {.fd = -1}};
    n = (size_t)snprintf(c->folder, sizeof c->folder, "models--");
    for (const char *p = repo; *p && n + 3 < sizeof c->folder; p++) {
        if (*p == '/') c->folder[n++] = '-';
        c->folder[n++] = *p == '/' ? '-' : *p;
    }
    c->folder[n] = '\0';
    AN_TRY(an_beneath_open(&c->root, path, make, err));
    /* Without the tag the cache works as well. */
    if (make && an_beneath_probe(&c->root, "CACHEDIR.TAG").kind == AN_NODE_ABSENT)
        (void)!an_beneath_write(&c->root, "CACHEDIR.TAG", tag_text, sizeof tag_text - 1, NULL);
cleanup:
    return status;
}

void an_hub_cache_close(an_hub_cache *c)
{
    an_beneath_close(&c->root);
}

bool an_hub_folder_repo(const char *folder, char repo[128])
{
    if (!an_str_starts_with(folder, "models--") || strlen(folder) > 120) return false;
    size_t n = 0;
    for (const char *p = folder + strlen("models--"); *p; p++) {
        bool slash = p[0] == '-' && p[1] == '-';
        repo[n++] = slash ? '/' : *p;
        p += slash;
    }
    repo[n] = '\0';
    return an_repo_id_valid(repo);
}

/* folder/a/b... ; names are checked to fit by their callers' limits. */
static const char *name_of(const an_hub_cache *c, char out[NAME_MAX_BYTES], const char *a, const char *b,
                           const char *tail)
{
    snprintf(out, NAME_MAX_BYTES, "%s/%s/%s%s", c->folder, a, b, tail);
    return out;
}

static const char *snapshot_name(const an_hub_cache *c, char out[NAME_MAX_BYTES], const char *commit, const char *path)
{
    snprintf(out, NAME_MAX_BYTES, "%s/snapshots/%s/%s", c->folder, commit, path);
    return out;
}

anemo_status an_hub_cache_ref(const an_hub_cache *c, const char *revision, char commit[41], anemo_error *err)
{
    char name[NAME_MAX_BYTES], *text = NULL;
    size_t n;
    if (an_commit_valid(revision)) {
        memcpy(commit, revision, 41);
        return ANEMO_OK;
    }
    anemo_status status = ANEMO_ERR_NOTFOUND;
    if (an_revision_valid(revision))
        status = an_beneath_read(&c->root, name_of(c, name, "refs", revision, ""), REF_MAX_BYTES, &text, &n, err);
    if (status == ANEMO_ERR_NOMEM || status == ANEMO_ERR_IO || status == ANEMO_ERR_NOSPACE) return status;
    if (status != ANEMO_OK) return an_fail(err, ANEMO_ERR_NOTFOUND, "revision '%.100s' is not in the cache", revision);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        text[--n] = '\0';
    bool good = an_commit_valid(text);
    if (good) memcpy(commit, text, 41);
    an_free(text);
    return good ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOTFOUND, "%s/%s: holds no commit", c->root.path, name);
}

anemo_status an_hub_cache_set_ref(const an_hub_cache *c, const char *revision, const char *commit, anemo_error *err)
{
    char name[NAME_MAX_BYTES], fresh[NAME_MAX_BYTES], old[41];
    if (an_commit_valid(revision)) return ANEMO_OK;
    if (an_hub_cache_ref(c, revision, old, NULL) == ANEMO_OK && strcmp(old, commit) == 0) return ANEMO_OK;
    /* Whatever lies in refs counts as a branch, also to Python's client: what a kill leaves must not lie there. */
    snprintf(fresh, sizeof fresh, ".locks/%s/ref-%" PRId64, c->folder, an_process_self());
    anemo_status status = an_beneath_write(&c->root, fresh, commit, strlen(commit), err);
    if (status != ANEMO_OK) return status;
    status = an_beneath_rename(&c->root, fresh, name_of(c, name, "refs", revision, ""), err);
    if (status != ANEMO_OK) (void)!an_beneath_remove(&c->root, fresh, NULL);
    return status;
}

/* The size of a blob; false when it is absent, or a link that does not lead to a file inside the cache. */
static bool blob_size(const an_hub_cache *c, const char *etag, uint64_t *bytes)
{
    char name[NAME_MAX_BYTES];
    an_node node = an_beneath_probe(&c->root, name_of(c, name, "blobs", etag, ""));
    *bytes = node.bytes;
    if (node.kind != AN_NODE_LINK) return node.kind == AN_NODE_FILE;
    /* Python's client keeps blobs that several repositories have in a store of the same cache. */
    char *link = an_path_join(c->root.path, name), *root = an_path_real(c->root.path);
    char *real = link ? an_path_real(link) : NULL;
    int64_t size = real ? an_path_size(real) : -1;
    bool inside = root && real && size >= 0 && an_str_starts_with(real, root) && real[strlen(root)] == '/';
    an_free(link);
    an_free(root);
    an_free(real);
    *bytes = inside ? (uint64_t)size : 0;
    return inside;
}

bool an_hub_cache_has_blob(const an_hub_cache *c, const char *etag, uint64_t bytes)
{
    uint64_t there;
    return etag[0] && blob_size(c, etag, &there) && there == bytes;
}

/* The text of a snapshot's link to a blob: one ../ for each folder above the file, and two more. */
static void link_text(const char *path, const char *etag, char out[LINK_MAX_BYTES])
{
    size_t n = 0;
    memcpy(out, "../../", 7);
    n = 6;
    for (const char *p = path; *p && n + 16 < LINK_MAX_BYTES; p++)
        if (*p == '/') {
            memcpy(out + n, "../", 4);
            n += 3;
        }
    snprintf(out + n, LINK_MAX_BYTES - n, "blobs/%s", etag);
}

/* The etag that the snapshot's link at `path` names; "" when it is no link of the layout. */
static void linked_etag(const an_hub_cache *c, const char *commit, const char *path, char out[256])
{
    char name[NAME_MAX_BYTES], text[LINK_MAX_BYTES], prefix[LINK_MAX_BYTES];
    out[0] = '\0';
    if (!an_beneath_link_text(&c->root, snapshot_name(c, name, commit, path), text, sizeof text)) return;
    link_text(path, "", prefix);
    if (!an_str_starts_with(text, prefix)) return;
    const char *etag = text + strlen(prefix);
    if (*etag && strlen(etag) < 256 && !strchr(etag, '/') && strcmp(etag, "..") != 0) strcpy(out, etag);
}

bool an_hub_cache_has_file(const an_hub_cache *c, const char *commit, const char *path, const char *etag,
                           uint64_t bytes)
{
    char name[NAME_MAX_BYTES], linked[256];
    an_node node = an_beneath_probe(&c->root, snapshot_name(c, name, commit, path));
    if (node.kind == AN_NODE_FILE) return node.bytes == bytes;
    if (node.kind != AN_NODE_LINK) return false;
    linked_etag(c, commit, path, linked);
    return linked[0] && (!etag[0] || strcmp(linked, etag) == 0) && an_hub_cache_has_blob(c, linked, bytes);
}

anemo_status an_hub_cache_link(const an_hub_cache *c, const char *commit, const char *path, const char *etag,
                               bool no_symlinks, bool own, anemo_error *err)
{
    anemo_status status = ANEMO_ERR_UNSUPPORTED;
    char name[NAME_MAX_BYTES], blob[NAME_MAX_BYTES], text[LINK_MAX_BYTES], linked[256];
    snapshot_name(c, name, commit, path);
    linked_etag(c, commit, path, linked);
    if (strcmp(linked, etag) == 0) return ANEMO_OK;
    link_text(path, etag, text);
    if (!no_symlinks) status = an_beneath_symlink(&c->root, text, name, err);
    if (status != ANEMO_ERR_UNSUPPORTED) return status;
    name_of(c, blob, "blobs", etag, "");
    return own ? an_beneath_rename(&c->root, blob, name, err) : an_beneath_duplicate(&c->root, blob, name, err);
}

anemo_status an_hub_cache_snapshot(const an_hub_cache *c, const char *commit, an_listing *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char folder[NAME_MAX_BYTES], name[NAME_MAX_BYTES], **names = NULL;
    size_t n = 0;
    snprintf(folder, sizeof folder, "%s/snapshots/%s", c->folder, commit);
    if (an_beneath_probe(&c->root, folder).kind != AN_NODE_DIR)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s/%s: no such snapshot", c->root.path, folder);
    AN_TRY(an_beneath_walk(&c->root, folder, SNAPSHOT_MAX_FILES, &names, &n, err));
    for (size_t i = 0; i < n; i++) {
        char etag[256] = "";
        if (!an_relpath_safe(names[i])) continue;
        an_node node = an_beneath_probe(&c->root, snapshot_name(c, name, commit, names[i]));
        uint64_t bytes = node.bytes;
        if (node.kind == AN_NODE_LINK) {
            linked_etag(c, commit, names[i], etag);
            if (!etag[0] || !blob_size(c, etag, &bytes)) continue;
        } else if (node.kind != AN_NODE_FILE)
            continue;
        AN_TRY(an_listing_add(out, names[i], bytes, etag, folder, err));
    }
cleanup:
    an_names_free(names);
    return status;
}

anemo_status an_hub_cache_tree(const an_hub_cache *c, const char *commit, an_listing *out, anemo_error *err)
{
    char name[NAME_MAX_BYTES], *text = NULL;
    size_t n;
    anemo_status status =
        an_beneath_read(&c->root, name_of(c, name, "trees", commit, ".json"), AN_LISTING_MAX_BYTES, &text, &n, err);
    if (status == ANEMO_OK) status = an_listing_add_tree_cache(out, text, n, name, err);
    if (status == ANEMO_OK) status = an_listing_check(out, name, err);
    an_free(text);
    if (status != ANEMO_OK) {
        an_listing_free(out);
        if (status != ANEMO_ERR_NOMEM)
            status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s: no listing that can be used", name);
    }
    return status;
}

anemo_status an_hub_cache_set_tree(const an_hub_cache *c, const char *commit, const an_listing *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_MAX_BYTES];
    an_str text = {0};
    json_t *files = json_object();
    for (size_t i = 0; i < l->n; i++) {
        const an_hub_file *f = &l->files[i];
        bool lfs = strlen(f->etag) == 64;
        json_object_set_new(files, f->path,
                            lfs ? json_pack("{s:I,s:s,s:s,s:I}", "size", (json_int_t)f->bytes, "blob_id", f->etag,
                                            "lfs_sha256", f->etag, "lfs_size", (json_int_t)f->bytes)
                                : json_pack("{s:I,s:s}", "size", (json_int_t)f->bytes, "blob_id", f->etag));
    }
    AN_TRY(an_json_write(json_pack("{s:i,s:o}", "format_version", 1, "files", files), JSON_INDENT(1), &text, err));
    status = an_beneath_write(&c->root, name_of(c, name, "trees", commit, ".json"), text.data, text.len, err);
cleanup:
    an_str_free(&text);
    return status;
}

char *an_hub_cache_path(const an_hub_cache *c, const char *name)
{
    char *folder = an_path_join(c->root.path, c->folder), *path = folder ? an_path_join(folder, name) : NULL;
    an_free(folder);
    if (path && path[0] != '/') {
        char *real = an_path_real(c->root.path), *absolute = NULL;
        an_str s = {0};
        if (real) {
            an_str_appendf(&s, "%s/%s/%s", real, c->folder, name);
            absolute = an_str_take(&s);
        }
        an_free(real);
        if (absolute) {
            an_free(path);
            path = absolute;
        }
    }
    return path;
}

/* ------------------------------------------------------------------------------------------------- marks */

/* $XDG_DATA_HOME/anemo opened, and the name of the marks below it. Several caches are told apart by their path. */
static anemo_status open_marks(const an_hub_cache *c, bool make, an_beneath *b, char name[NAME_MAX_BYTES],
                               anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    uint64_t hash = 14695981039346656037u;
    char *data = an_dir_data(), *real = an_path_real(c->root.path);
    if (data && real) {
        for (const char *p = real; *p; p++)
            hash = (hash ^ (unsigned char)*p) * 1099511628211u;
        snprintf(name, NAME_MAX_BYTES, "pulled/%016" PRIx64 "/%s", hash, c->folder);
        status = an_beneath_open(b, data, make, err);
    } else if (!data && !an_env("XDG_DATA_HOME") && !an_env("HOME")) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "neither XDG_DATA_HOME nor HOME is set");
    } else {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    an_free(data);
    an_free(real);
    return status;
}

void an_hub_mark_blob(const an_hub_cache *c, const char *etag)
{
    char name[NAME_MAX_BYTES], line[300];
    an_beneath data;
    if (open_marks(c, true, &data, name, NULL) != ANEMO_OK) return;
    int n = snprintf(line, sizeof line, "%s\n", etag);
    /* Without the mark `anemo rm` asks for --all; the download is whole all the same. */
    (void)!an_beneath_append(&data, name, line, (size_t)n, NULL);
    an_beneath_close(&data);
}

anemo_status an_hub_marks(const an_hub_cache *c, char **out, anemo_error *err)
{
    char name[NAME_MAX_BYTES], *text = NULL;
    size_t n;
    an_beneath data;
    anemo_status status = open_marks(c, false, &data, name, err);
    if (status == ANEMO_OK) {
        status = an_beneath_read(&data, name, MARKS_MAX_BYTES, &text, &n, err);
        an_beneath_close(&data);
    }
    if (status == ANEMO_ERR_NOTFOUND) {
        text = an_strdup("");
        status = text ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
    if (status == ANEMO_OK) *out = text;
    return status;
}

bool an_hub_is_marked(const char *marks, const char *etag)
{
    size_t n = strlen(etag);
    for (const char *p = marks; n > 0 && (p = strstr(p, etag)); p += n)
        if ((p == marks || p[-1] == '\n') && (p[n] == '\n' || p[n] == '\0')) return true;
    return false;
}

void an_hub_forget_marks(const an_hub_cache *c)
{
    char name[NAME_MAX_BYTES];
    an_beneath data;
    if (open_marks(c, false, &data, name, NULL) != ANEMO_OK) return;
    (void)!an_beneath_remove(&data, name, NULL);
    an_beneath_close(&data);
}
