/* What the cache holds: finding a model by reference, and the list of all. No request is made here. */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "hub/choose.h"
#include "hub/reference.h"
#include "os/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_MAX_BYTES = 16 << 20 };

/* ------------------------------------------------------------------------------------------------- finding */

typedef struct snapshot {
    char commit[41];
    uint64_t written_ns;
} snapshot;

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const snapshot *)a)->written_ns, y = ((const snapshot *)b)->written_ns;
    return (x < y) - (x > y);
}

/* All snapshots of the repository, the newest first. Gives *out: an_free. */
static anemo_status list_snapshots(const an_hub_cache *c, snapshot **out, size_t *n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[512], **names = NULL;
    size_t count = 0;
    *out = NULL;
    *n = 0;
    snprintf(name, sizeof name, "%s/snapshots", c->folder);
    AN_TRY(an_beneath_list(&c->root, name, &names, &count, err));
    *out = an_calloc(count + 1, sizeof **out);
    if (!*out) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < count; i++) {
        if (!an_commit_valid(names[i])) continue;
        snprintf(name, sizeof name, "%s/snapshots/%s", c->folder, names[i]);
        an_node node = an_beneath_probe(&c->root, name);
        if (node.kind != AN_NODE_DIR) continue;
        memcpy((*out)[*n].commit, names[i], 41);
        (*out)[(*n)++].written_ns = node.written_ns;
    }
    qsort(*out, *n, sizeof **out, newest_first);
cleanup:
    an_names_free(names);
    return status;
}

/* Is the model whole in this snapshot? Gives *path. */
static anemo_status find_in_snapshot(const an_hub_cache *c, const char *commit, const an_wish *wish, char **path,
                                     anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_listing there = {0}, tree = {0};
    an_choice choice = {0};
    an_str s = {0};
    AN_TRY(an_hub_cache_snapshot(c, commit, &there, err));
    /* Where the whole listing is known the choice is made from that, so that a half pulled model is not taken for a
     * whole one. */
    bool known = an_hub_cache_tree(c, commit, &tree, NULL) == ANEMO_OK;
    AN_TRY(an_choose(&choice, known ? &tree : &there, wish, err));
    for (size_t i = 0; known && i < choice.n; i++) {
        const an_hub_file *f = &tree.files[choice.index[i]];
        if (an_listing_find(&there, f->path)) continue;
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "'%s' is missing", f->path);
        goto cleanup;
    }
    size_t n = strlen(choice.main);
    if (n && choice.main[n - 1] == '/') n--;
    an_str_appendf(&s, "snapshots/%s%s%.*s", commit, n ? "/" : "", (int)n, choice.main);
    AN_TRY(an_str_check(&s, err));
    *path = an_hub_cache_path(c, an_str_text(&s));
    if (!*path) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_str_free(&s);
    an_choice_free(&choice);
    an_listing_free(&tree);
    an_listing_free(&there);
    return status;
}

anemo_status an_hub_find_in(const an_hub_cache *c, const char *repo, const char *revision, const char *quant,
                            const char *file, char **path, char commit[41], anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_wish wish = {.repo = repo, .quant = quant, .path = file};
    snapshot *all = NULL;
    size_t n = 0;
    status = an_hub_cache_ref(c, revision[0] ? revision : "main", commit, err);
    if (status == ANEMO_OK) status = find_in_snapshot(c, commit, &wish, path, err);
    if (status == ANEMO_OK || status == ANEMO_ERR_NOMEM || status == ANEMO_ERR_INVAL || revision[0]) return status;
    /* The branch went on since, or was pulled by its commit: the newest snapshot that has the model. */
    anemo_error first = err ? *err : (anemo_error){0};
    if (list_snapshots(c, &all, &n, NULL) != ANEMO_OK) n = 0;
    for (size_t i = 0; i < n && status != ANEMO_OK; i++) {
        memcpy(commit, all[i].commit, 41);
        status = find_in_snapshot(c, commit, &wish, path, NULL);
    }
    if (status != ANEMO_OK && err) *err = first;
    if (status != ANEMO_OK && err) status = first.status;
    an_free(all);
    return status;
}

anemo_status an_hub_find_cached(const char *reference, char **path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_settings settings = {0};
    an_hub_cache cache = {.root = {.fd = -1}};
    an_ref ref;
    anemo_error why = {0};
    char commit[41];
    AN_TRY(an_hub_settings_read(&settings, NULL, err));
    AN_TRY(an_ref_parse(&ref, reference, settings.endpoint, err));
    if (ref.kind == AN_REF_OLLAMA) {
        status = an_ollama_find(ref.repo, ref.quant, path, err);
        goto cleanup;
    }
    status = an_hub_cache_open(&cache, settings.cache, ref.repo, false, &why);
    if (status == ANEMO_OK)
        status = an_hub_find_in(&cache, ref.repo, ref.revision, ref.quant, ref.path, path, commit, &why);
    if (status == ANEMO_ERR_INVAL || status == ANEMO_ERR_NOMEM) {
        if (err) *err = why;
    } else if (status != ANEMO_OK) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND,
                         "%s: no such file or directory, and not in the cache %s; 'anemo pull %s' fetches it",
                         reference, settings.cache, reference);
    }
cleanup:
    an_hub_cache_close(&cache);
    an_hub_settings_free(&settings);
    return status;
}

/* ------------------------------------------------------------------------------------------------- the list */

/* Keep the first error of reading; refused memory is an error of its own, and what is absent or of another form is
 * none. */
static void keep_unread(anemo_error *unread, const anemo_error *why)
{
    if (unread->status == ANEMO_OK && (why->status == ANEMO_ERR_IO || why->status == ANEMO_ERR_NOSPACE)) *unread = *why;
}

/* "main, v1": the refs that name the commit. */
static void add_refs(const an_hub_cache *c, const char *commit, an_str *out, anemo_error *unread)
{
    anemo_error why = {0};
    char folder[512], **names = NULL;
    size_t n = 0;
    snprintf(folder, sizeof folder, "%s/refs", c->folder);
    anemo_status status = an_beneath_walk(&c->root, folder, 10000, &names, &n, &why);
    out->failed |= status == ANEMO_ERR_NOMEM;
    if (status != ANEMO_OK) {
        keep_unread(unread, &why);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char at[41];
        status = an_hub_cache_ref(c, names[i], at, &why);
        out->failed |= status == ANEMO_ERR_NOMEM;
        if (status != ANEMO_OK) keep_unread(unread, &why);
        if (status == ANEMO_OK && strcmp(at, commit) == 0) an_str_appendf(out, "%s%s", out->len ? ", " : "", names[i]);
    }
    an_names_free(names);
}

/* Read a file of the snapshot through its link, which was checked by the listing. NULL when it cannot be, or without
 * memory. */
static json_t *read_json(const an_hub_cache *c, const char *commit, const an_hub_file *f, const char *etag,
                         bool *no_memory, anemo_error *unread)
{
    anemo_error why = {0};
    char name[2048], *text = NULL;
    size_t n;
    json_t *doc = NULL;
    if (etag[0])
        snprintf(name, sizeof name, "%s/blobs/%s", c->folder, etag);
    else
        snprintf(name, sizeof name, "%s/snapshots/%s/%s", c->folder, commit, f->path);
    anemo_status status = an_beneath_read(&c->root, name, CONFIG_MAX_BYTES, &text, &n, &why);
    if (status == ANEMO_OK) status = an_json_parse(&doc, text, n, name, &why);
    if (status != ANEMO_OK) {
        doc = NULL;
        keep_unread(unread, &why);
    }
    *no_memory |= status == ANEMO_ERR_NOMEM;
    an_free(text);
    return doc;
}

/* MLX bits or a Hugging Face dtype, from config.json. */
static void describe_config(const json_t *config, an_hub_model *m, an_str *out)
{
    const json_t *q = json_object_get(config, "quantization");
    int64_t bits = 0, group = 0;
    const char *dtype = NULL, *mode = NULL;
    if (json_is_object(q) && an_json_get_i64(q, "bits", 0, 0, 64, &bits, "", NULL) == ANEMO_OK && bits > 0) {
        snprintf(m->format, sizeof m->format, "mlx");
        an_str_appendf(out, "%" PRId64 "-bit", bits);
        if (an_json_get_str(q, "mode", NULL, &mode, "", NULL) == ANEMO_OK && mode && strcmp(mode, "affine") != 0)
            an_str_appendf(out, " %.16s", mode);
        if (an_json_get_i64(q, "group_size", 0, 0, 65536, &group, "", NULL) == ANEMO_OK && group > 0)
            an_str_appendf(out, " g%" PRId64, group);
        return;
    }
    snprintf(m->format, sizeof m->format, "hf");
    if (an_json_get_str(config, "dtype", NULL, &dtype, "", NULL) != ANEMO_OK || !dtype)
        if (an_json_get_str(config, "torch_dtype", NULL, &dtype, "", NULL) != ANEMO_OK) dtype = NULL;
    char shown[40];
    if (dtype) an_str_append(out, an_name_for_message(dtype, shown, sizeof shown));
}

static void describe(const an_hub_cache *c, const an_listing *l, an_hub_model *m, an_str *out, anemo_error *unread)
{
    const an_hub_file *config = an_listing_find(l, "config.json");
    bool weights = false, native = false;
    for (size_t i = 0; i < l->n; i++) {
        char quant[32];
        size_t n_stem;
        int k, n;
        const char *path = l->files[i].path;
        weights |= an_str_ends_with(path, ".safetensors") || an_str_ends_with(path, ".bin");
        native |= strcmp(path, "params.json") == 0;
        if (!an_str_ends_with(path, ".gguf") || (an_shard_parse(path, &n_stem, &k, &n) && k != 1)) continue;
        snprintf(m->format, sizeof m->format, "gguf");
        an_str_appendf(out, "%s%s", out->len ? ", " : "", an_quant_of_path(path, quant)[0] ? quant : "GGUF");
    }
    if (m->format[0]) return;
    json_t *doc = config && weights ? read_json(c, m->commit, config, config->etag, &out->failed, unread) : NULL;
    if (doc)
        describe_config(doc, m, out);
    else
        snprintf(m->format, sizeof m->format, "%s", native && weights ? "native" : "other");
    json_decref(doc);
}

/* One snapshot into m. */
static anemo_status fill_model(const an_hub_cache *c, const char *repo, const char *commit, const char *marks,
                               an_hub_model *m, anemo_error *unread, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_listing l = {0};
    an_str refs = {0}, contents = {0};
    char name[512];
    memset(m, 0, sizeof *m);
    snprintf(m->repo, sizeof m->repo, "%s", repo);
    memcpy(m->commit, commit, sizeof m->commit);
    AN_TRY(an_hub_cache_snapshot(c, commit, &l, err));
    m->n_file = l.n;
    m->ours = l.n > 0;
    for (size_t i = 0; i < l.n; i++) {
        const an_hub_file *f = &l.files[i];
        bool twice = false;
        for (size_t k = 0; k < i && f->etag[0] && l.n < 1000; k++)
            twice |= strcmp(l.files[k].etag, f->etag) == 0;
        if (!twice) m->bytes += f->bytes;
        m->ours &= an_hub_is_marked(marks, f->etag);
        snprintf(name, sizeof name, "%s/blobs/%s", c->folder, f->etag);
        an_node node = an_beneath_probe(&c->root, name);
        /* Looking at config.json, as this function does, is no use of the model. */
        if (f->etag[0] && !an_str_ends_with(f->path, ".json") && node.read_ns > m->used_ns) m->used_ns = node.read_ns;
    }
    add_refs(c, commit, &refs, unread);
    describe(c, &l, m, &contents, unread);
    snprintf(name, sizeof name, "snapshots/%s", commit);
    m->path = an_hub_cache_path(c, name);
    m->refs = an_str_take(&refs);
    m->contents = an_str_take(&contents);
    if (!m->path || !m->refs || !m->contents) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    an_str_free(&refs);
    an_str_free(&contents);
    an_listing_free(&l);
    return status;
}

static void free_model(an_hub_model *m)
{
    an_free(m->path);
    an_free(m->refs);
    an_free(m->contents);
}

static anemo_status add_repo(an_hub_cache *c, const char *folder, const char *repo, an_hub_model **list, size_t *n,
                             anemo_error *unread, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error why = {0};
    snapshot *all = NULL;
    size_t n_all = 0;
    snprintf(c->folder, sizeof c->folder, "%s", folder);
    char *marks = NULL;
    AN_TRY(an_hub_marks(c, &marks, err));
    /* A repository without snapshots, or one that cannot be read, is left out. */
    status = list_snapshots(c, &all, &n_all, &why);
    if (status == ANEMO_ERR_NOMEM) {
        if (err) *err = why;
        goto cleanup;
    }
    if (status != ANEMO_OK) {
        keep_unread(unread, &why);
        n_all = 0;
    }
    status = ANEMO_OK;
    for (size_t i = 0; i < n_all; i++) {
        an_hub_model *bigger = an_realloc(*list, (*n + 1) * sizeof *bigger);
        if (!bigger) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        *list = bigger;
        status = fill_model(c, repo, all[i].commit, marks, &bigger[*n], unread, &why);
        if (status == ANEMO_OK) {
            (*n)++;
            continue;
        }
        free_model(&bigger[*n]);
        keep_unread(unread, &why);
        if (status == ANEMO_ERR_NOMEM) {
            if (err) *err = why;
            goto cleanup;
        }
        status = ANEMO_OK;
    }
cleanup:
    an_free(all);
    an_free(marks);
    return status;
}

static uint64_t incomplete_in(const an_hub_cache *c, const char *folder)
{
    char name[512], **names = NULL;
    size_t n = 0;
    uint64_t bytes = 0;
    snprintf(name, sizeof name, "%s/blobs", folder);
    if (an_beneath_list(&c->root, name, &names, &n, NULL) != ANEMO_OK) return 0;
    for (size_t i = 0; i < n; i++) {
        if (!strstr(names[i], ".incomplete")) continue;
        snprintf(name, sizeof name, "%s/blobs/%s", folder, names[i]);
        bytes += an_beneath_probe(&c->root, name).disk_bytes;
    }
    an_names_free(names);
    return bytes;
}

anemo_status an_hub_inventory(an_hub_model **out, size_t *n, uint64_t *incomplete_bytes, anemo_error *unread,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    anemo_error first_unread = {0};
    an_hub_settings settings = {0};
    an_hub_cache cache = {.root = {.fd = -1}};
    char **folders = NULL, repo[128];
    size_t n_folder = 0;
    *out = NULL;
    *n = 0;
    if (incomplete_bytes) *incomplete_bytes = 0;
    AN_TRY(an_hub_settings_read(&settings, NULL, err));
    status = an_hub_cache_open(&cache, settings.cache, "none", false, err);
    if (status == ANEMO_ERR_NOTFOUND) {
        status = ANEMO_OK;
        goto cleanup;
    }
    AN_TRY(status);
    AN_TRY(an_beneath_list(&cache.root, "", &folders, &n_folder, err));
    for (size_t i = 0; i < n_folder; i++) {
        if (!an_hub_folder_repo(folders[i], repo)) continue;
        AN_TRY(add_repo(&cache, folders[i], repo, out, n, &first_unread, err));
        if (incomplete_bytes) *incomplete_bytes += incomplete_in(&cache, folders[i]);
    }
cleanup:
    if (unread) *unread = first_unread;
    an_names_free(folders);
    an_hub_cache_close(&cache);
    an_hub_settings_free(&settings);
    if (status != ANEMO_OK) {
        an_hub_inventory_free(*out, *n);
        *out = NULL;
        *n = 0;
    }
    return status;
}

void an_hub_inventory_free(an_hub_model *models, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free_model(&models[i]);
    an_free(models);
}
