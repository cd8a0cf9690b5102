/* Removing models from the cache: links first, then the blobs that nothing links to any more. */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "hub/choose.h"
#include "hub/reference.h"
#include "os/file.h"
#include "os/process.h"

#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 2048 };

typedef struct removal {
    an_hub_cache cache;
    an_ref ref;
    char *marks;
    bool all, dry_run;
    an_hub_removal *sum;
    char **commits; /* the names in snapshots/ */
    size_t n_commit;
    an_listing *held; /* [n_commit] what each snapshot holds; an entry that is gone has bytes UINT64_MAX */
    bool found;
} removal;

static bool is_gone(const an_hub_file *f)
{
    return f->bytes == UINT64_MAX;
}

static bool still_used(const removal *r, const char *etag)
{
    for (size_t i = 0; i < r->n_commit; i++)
        for (size_t k = 0; k < r->held[i].n; k++)
            if (!is_gone(&r->held[i].files[k]) && strcmp(r->held[i].files[k].etag, etag) == 0) return true;
    return false;
}

/* A blob without links: under its lock, so that nobody is about to link it. */
static anemo_status remove_blob(removal *r, const char *etag, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_BYTES];
    int lock = -1;
    if (still_used(r, etag)) return ANEMO_OK;
    snprintf(name, sizeof name, "%s/blobs/%s", r->cache.folder, etag);
    an_node node = an_beneath_probe(&r->cache.root, name);
    r->sum->freed_bytes += node.disk_bytes;
    if (r->dry_run || node.kind == AN_NODE_ABSENT) return ANEMO_OK;
    char lock_name[NAME_BYTES];
    snprintf(lock_name, sizeof lock_name, ".locks/%s/%s.lock", r->cache.folder, etag);
    AN_TRY(an_beneath_try_lock(&r->cache.root, lock_name, &lock, err));
    if (lock < 0) {
        status = an_fail(err, ANEMO_ERR_BUSY, "%s/%s: another process is fetching it; try again later",
                         r->cache.root.path, name);
        goto cleanup;
    }
    status = an_beneath_remove(&r->cache.root, name, err);
cleanup:
    an_fd_close(&lock);
    return status;
}

/* One file of a snapshot. */
static anemo_status remove_file(removal *r, size_t snapshot, an_hub_file *f, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_BYTES];
    r->found = true;
    if (!r->all && !(f->etag[0] && an_hub_is_marked(r->marks, f->etag))) {
        r->sum->n_kept++;
        r->sum->kept_bytes += f->bytes;
        return ANEMO_OK;
    }
    snprintf(name, sizeof name, "%s/snapshots/%s/%s", r->cache.folder, r->commits[snapshot], f->path);
    if (!f->etag[0]) r->sum->freed_bytes += an_beneath_probe(&r->cache.root, name).disk_bytes;
    if (!r->dry_run) AN_TRY(an_beneath_remove(&r->cache.root, name, err));
    f->bytes = UINT64_MAX;
    r->sum->n_removed++;
    if (f->etag[0]) AN_TRY(remove_blob(r, f->etag, err));
cleanup:
    return status;
}

static anemo_status remove_from(removal *r, size_t snapshot, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_listing *l = &r->held[snapshot];
    an_choice choice = {0};
    if (r->ref.quant[0] || r->ref.path[0]) {
        const an_wish wish = {.repo = r->ref.repo, .quant = r->ref.quant, .path = r->ref.path};
        status = an_choose(&choice, l, &wish, err);
        if (status == ANEMO_ERR_NOTFOUND) return ANEMO_OK;
        AN_TRY(status);
        for (size_t i = 0; i < choice.n; i++)
            AN_TRY(remove_file(r, snapshot, &l->files[choice.index[i]], err));
    } else {
        r->found = true;
        for (size_t i = 0; i < l->n; i++)
            AN_TRY(remove_file(r, snapshot, &l->files[i], err));
    }
cleanup:
    an_choice_free(&choice);
    return status;
}

/* Is nothing left in the snapshot? */
static bool is_empty(const removal *r, size_t snapshot)
{
    for (size_t k = 0; k < r->held[snapshot].n; k++)
        if (!is_gone(&r->held[snapshot].files[k])) return false;
    return true;
}

/* The folder of a snapshot without files, and what belongs to its commit: a ref to nothing is a broken cache for
 * Python. */
static anemo_status remove_snapshot(removal *r, const char *commit, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_BYTES], folder[NAME_BYTES], **refs = NULL;
    size_t n = 0;
    uint64_t freed = 0;
    snprintf(folder, sizeof folder, "%s/refs", r->cache.folder);
    if (an_beneath_walk(&r->cache.root, folder, 10000, &refs, &n, NULL) != ANEMO_OK) n = 0;
    for (size_t i = 0; i < n; i++) {
        char at[41];
        if (an_hub_cache_ref(&r->cache, refs[i], at, NULL) != ANEMO_OK || strcmp(at, commit) != 0) continue;
        snprintf(name, sizeof name, "%s/refs/%s", r->cache.folder, refs[i]);
        AN_TRY(an_beneath_remove(&r->cache.root, name, err));
    }
    snprintf(name, sizeof name, "%s/trees/%s.json", r->cache.folder, commit);
    AN_TRY(an_beneath_remove(&r->cache.root, name, err));
    static const char *const folders[] = {".no_exist", "snapshots"};
    for (size_t i = 0; i < AN_COUNT_OF(folders); i++) {
        snprintf(name, sizeof name, "%s/%s/%s", r->cache.folder, folders[i], commit);
        if (an_beneath_probe(&r->cache.root, name).kind != AN_NODE_ABSENT)
            AN_TRY(an_beneath_remove_tree(&r->cache.root, name, &freed, err));
    }
cleanup:
    an_names_free(refs);
    return status;
}

/* After the last snapshot the whole folder goes, unless there are blobs that anemo did not fetch. */
static anemo_status remove_repo(removal *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_BYTES], **blobs = NULL;
    size_t n = 0;
    bool foreign = false;
    snprintf(name, sizeof name, "%s/blobs", r->cache.folder);
    if (an_beneath_list(&r->cache.root, name, &blobs, &n, NULL) != ANEMO_OK) n = 0;
    for (size_t i = 0; i < n && !r->all; i++)
        foreign |= !an_hub_is_marked(r->marks, blobs[i]) && !strstr(blobs[i], ".anemo.incomplete");
    an_names_free(blobs);
    if (foreign) return ANEMO_OK;
    AN_TRY(an_beneath_remove_tree(&r->cache.root, r->cache.folder, &r->sum->freed_bytes, err));
    uint64_t ignored = 0;
    snprintf(name, sizeof name, ".locks/%s", r->cache.folder);
    AN_TRY(an_beneath_remove_tree(&r->cache.root, name, &ignored, err));
    an_hub_forget_marks(&r->cache);
cleanup:
    return status;
}

/* What the snapshots hold. */
static anemo_status look(removal *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s/snapshots", r->cache.folder);
    status = an_beneath_list(&r->cache.root, name, &r->commits, &r->n_commit, err);
    if (status == ANEMO_ERR_NOTFOUND)
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%s is not in the cache %s", r->ref.repo, r->cache.root.path);
    AN_TRY(status);
    r->held = an_calloc(r->n_commit + 1, sizeof *r->held);
    if (!r->held) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_hub_marks(&r->cache, &r->marks, err));
    for (size_t i = 0; i < r->n_commit; i++)
        if (an_commit_valid(r->commits[i])) AN_TRY(an_hub_cache_snapshot(&r->cache, r->commits[i], &r->held[i], err));
cleanup:
    return status;
}

static anemo_status remove_all(removal *r, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char commit[41] = "";
    bool empty = true;
    AN_TRY(look(r, err));
    if (r->ref.revision[0]) AN_TRY(an_hub_cache_ref(&r->cache, r->ref.revision, commit, err));
    for (size_t i = 0; i < r->n_commit; i++) {
        if (!an_commit_valid(r->commits[i]) || (commit[0] && strcmp(commit, r->commits[i]) != 0)) continue;
        AN_TRY(remove_from(r, i, err));
    }
    if (!r->found) {
        status = an_fail(err, ANEMO_ERR_NOTFOUND, "%s%s%s%s%s: nothing like that is in the cache %s", r->ref.repo,
                         r->ref.quant[0] ? ":" : "", r->ref.quant, r->ref.path[0] ? "/" : "", r->ref.path,
                         r->cache.root.path);
        goto cleanup;
    }
    for (size_t i = 0; i < r->n_commit; i++) {
        bool chosen = !commit[0] || strcmp(commit, r->commits[i]) == 0;
        if (an_commit_valid(r->commits[i]) && is_empty(r, i) && chosen) {
            if (!r->dry_run) AN_TRY(remove_snapshot(r, r->commits[i], err));
        } else
            empty = false;
    }
    if (empty && !r->dry_run) AN_TRY(remove_repo(r, err));
cleanup:
    return status;
}

anemo_status an_hub_remove(const char *reference, bool all, bool dry_run, an_hub_removal *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_settings settings = {0};
    removal r = {.cache = {.root = {.fd = -1}}, .all = all, .dry_run = dry_run, .sum = out};
    *out = (an_hub_removal){0};
    AN_TRY(an_hub_settings_read(&settings, NULL, err));
    AN_TRY(an_ref_parse(&r.ref, reference, settings.endpoint, err));
    if (r.ref.kind == AN_REF_OLLAMA) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s is a model of Ollama's; 'ollama rm %s' removes it", reference,
                         reference);
        goto cleanup;
    }
    status = an_hub_cache_open(&r.cache, settings.cache, r.ref.repo, false, err);
    if (status == ANEMO_ERR_NOTFOUND)
        status =
            an_fail(err, ANEMO_ERR_NOTFOUND, "%s is not in the cache: there is none at %s", r.ref.repo, settings.cache);
    AN_TRY(status);
    status = remove_all(&r, err);
cleanup:
    for (size_t i = 0; r.held && i < r.n_commit; i++)
        an_listing_free(&r.held[i]);
    an_free(r.held);
    an_names_free(r.commits);
    an_free(r.marks);
    an_hub_cache_close(&r.cache);
    an_hub_settings_free(&settings);
    return status;
}
