/* Pulling a model: what is asked for, what the hub has, what is missing, one file after the other. */
#include "hub/hub_internal.h"

#include "base/alloc.h"
#include "hub/choose.h"
#include "hub/reference.h"
#include "net/header.h"
#include "os/file.h"
#include "os/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The hub puts 1000 files on a page. */
enum { PAGES_MAX = 200, CHANGES_MAX = 4 };

typedef struct pull {
    an_hub h;
    an_hub_cache cache;
    an_ref ref;
    char commit[41];
    an_listing listing;
    bool from_tree; /* the listing is trees/COMMIT.json's */
    an_choice choice;
    bool *present; /* [choice.n] */
} pull;

/* ------------------------------------------------------------------------------------------------- the listing */

static char *api_url(const pull *p, const char *view, const char *revision, const char *tail)
{
    an_str s = {0};
    an_str_appendf(&s, "%s/api/models/%s/%s/", p->h.settings.endpoint, p->h.repo, view);
    an_url_escape(&s, revision, false);
    an_str_append(&s, tail);
    return an_str_take(&s);
}

/* The commit of the revision. */
static anemo_status fetch_info(pull *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_call *call = NULL;
    an_repo_info info;
    char *url = api_url(p, "revision", p->h.revision, ""), name[200];
    if (!url) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_hub_get_json(&p->h, url, &call, err));
    snprintf(name, sizeof name, "the hub's answer on %s", p->h.repo);
    AN_TRY(an_repo_info_parse(&info, an_str_text(an_call_body(call)), an_call_body(call)->len, name, err));
    memcpy(p->commit, info.commit, sizeof p->commit);
cleanup:
    an_call_end(call);
    an_free(url);
    return status;
}

/* Every page of the tree. */
static anemo_status fetch_tree(pull *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_call *call = NULL;
    char name[200], *url = api_url(p, "tree", p->commit, "?recursive=true"), *link = an_malloc(16384);
    snprintf(name, sizeof name, "listing of %s", p->h.repo);
    for (int page = 0; url && link; page++) {
        if (page == PAGES_MAX) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d pages", name, PAGES_MAX);
            goto cleanup;
        }
        AN_TRY(an_hub_get_json(&p->h, url, &call, err));
        size_t before = p->listing.n;
        AN_TRY(an_listing_add_page(&p->listing, an_str_text(an_call_body(call)), an_call_body(call)->len, name, err));
        /* Without this a server could go on for ever, or for as long as the limits allow. */
        if (page > 0 && p->listing.n > before) AN_TRY(an_listing_check(&p->listing, name, err));
        char *next = an_call_header(call, "Link", link, 16384) ? an_link_next_parse(link) : NULL;
        an_call_end(call);
        call = NULL;
        if (!next) break;
        char *to = an_url_join(url, next);
        an_free(next);
        bool good = to && an_url_same_origin(to, url) && strcmp(to, url) != 0;
        an_free(url);
        url = to;
        if (!good) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: its next page is on another host, or itself", name);
            goto cleanup;
        }
    }
    if (!url || !link)
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    else
        status = an_listing_check(&p->listing, name, err);
cleanup:
    an_call_end(call);
    an_free(link);
    an_free(url);
    return status;
}

/* Commit and listing without network; ERR_NOTFOUND. */
static anemo_status list_cached(pull *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_listing_free(&p->listing);
    if (p->cache.root.fd < 0) return an_fail(err, ANEMO_ERR_NOTFOUND, "%s: there is no cache", p->h.settings.cache);
    AN_TRY(an_hub_cache_ref(&p->cache, p->h.revision, p->commit, err));
    p->from_tree = an_hub_cache_tree(&p->cache, p->commit, &p->listing, NULL) == ANEMO_OK;
    if (!p->from_tree) AN_TRY(an_hub_cache_snapshot(&p->cache, p->commit, &p->listing, err));
cleanup:
    return status;
}

static anemo_status list_online(pull *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (an_commit_valid(p->h.revision))
        memcpy(p->commit, p->h.revision, sizeof p->commit);
    else
        AN_TRY(fetch_info(p, err));
    /* A commit never changes, and neither does its listing. */
    p->from_tree = p->cache.root.fd >= 0 && an_hub_cache_tree(&p->cache, p->commit, &p->listing, NULL) == ANEMO_OK;
    if (!p->from_tree) AN_TRY(fetch_tree(p, err));
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- the choice */

static anemo_status choose(pull *p, anemo_error *err)
{
    const an_wish wish = {.repo = p->h.repo,
                          .quant = p->ref.quant,
                          .path = p->ref.path,
                          .include = p->h.o->include,
                          .exclude = p->h.o->exclude};
    an_choice_free(&p->choice);
    an_free(p->present);
    p->present = NULL;
    anemo_status status = an_choose(&p->choice, &p->listing, &wish, err);
    if (status != ANEMO_OK) return status;
    p->present = an_calloc(p->choice.n + 1, sizeof *p->present);
    if (!p->present) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < p->choice.n && p->cache.root.fd >= 0; i++) {
        const an_hub_file *f = &p->listing.files[p->choice.index[i]];
        p->present[i] = an_hub_cache_has_file(&p->cache, p->commit, f->path, f->etag, f->bytes);
    }
    return ANEMO_OK;
}

static size_t n_missing(const pull *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->choice.n; i++)
        n += !p->present[i];
    return n;
}

/* What can be answered by the cache alone. `why` ends the message when it cannot. */
static anemo_status choose_cached(pull *p, const char *why, anemo_error *err)
{
    anemo_error first = {0};
    anemo_status status = list_cached(p, &first);
    if (status == ANEMO_OK) status = choose(p, &first);
    if (status == ANEMO_OK && n_missing(p) > 0) {
        size_t i = 0;
        while (p->present[i])
            i++;
        status = an_fail(&first, ANEMO_ERR_NOTFOUND, "%zu of %zu files are missing (%.200s, ...)", n_missing(p),
                         p->choice.n, p->listing.files[p->choice.index[i]].path);
    }
    if (status == ANEMO_OK || status == ANEMO_ERR_NOMEM || status == ANEMO_ERR_INVAL) {
        if (status != ANEMO_OK && err) *err = first;
        return status;
    }
    return an_fail(err, ANEMO_ERR_NOTFOUND, "%s at '%s' is not in the cache %s (%.400s); %s", p->h.repo, p->h.revision,
                   p->h.settings.cache, first.message, why);
}

/* Find out what the model is. *offline: nothing more is to be asked of the network. */
static anemo_status look(pull *p, bool *offline, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *offline = p->h.settings.offline;
    if (*offline) return choose_cached(p, "HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids to fetch it", err);
    AN_TRY(an_net_open(&p->h.net, err));
    status = list_online(p, err);
    if (status == ANEMO_OK) return choose(p, err);
    if (status != ANEMO_ERR_NET || !p->h.down) return status;
    /* What is whole in the cache can be used while the hub is away. */
    if (choose_cached(p, "", NULL) != ANEMO_OK) return status;
    status = ANEMO_OK;
    *offline = true;
    an_hub_note(&p->h, "the hub does not answer; the copy in the cache (%.12s) is used", p->commit);
cleanup:
    return status;
}

/* ------------------------------------------------------------------------------------------------- fetching */

static anemo_status check_space(pull *p, anemo_error *err)
{
    uint64_t need = 0, have = an_beneath_free_bytes(&p->cache.root);
    for (size_t i = 0; i < p->choice.n; i++) {
        const an_hub_file *f = &p->listing.files[p->choice.index[i]];
        if (p->present[i] || an_hub_cache_has_blob(&p->cache, f->etag, f->bytes)) continue;
        uint64_t there = f->etag[0] ? an_hub_partial_bytes(&p->cache, f->etag, f->bytes) : 0;
        need += f->bytes > there ? f->bytes - there : 0;
    }
    if (need == 0 || have == UINT64_MAX || need + need / 20 <= have) return ANEMO_OK;
    return an_fail(
        err, ANEMO_ERR_NOSPACE,
        "%s: %.1f MB are needed (and 5 %% to spare) and %.1f MB are free; free some, or set HF_HOME to another disk",
        p->h.settings.cache, (double)need / 1e6, (double)have / 1e6);
}

/* The lock of a blob, waiting for whoever has it. */
static anemo_status take_lock(pull *p, const char *etag, const char *file, int *lock, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char name[512];
    bool told = false;
    snprintf(name, sizeof name, ".locks/%s/%s.lock", p->cache.folder, etag);
    *lock = -1;
    for (;;) {
        AN_TRY(an_beneath_try_lock(&p->cache.root, name, lock, err));
        if (*lock >= 0) return ANEMO_OK;
        if (!told) an_hub_note(&p->h, "another process is fetching '%s'; waiting for it", file);
        told = true;
        AN_TRY(an_hub_sleep(&p->h, 100, err));
    }
cleanup:
    return status;
}

/* One file under the lock of its blob. *changed: another blob is to be fetched. */
static anemo_status fetch_locked(pull *p, const an_hub_file *f, const char *url, const an_hub_meta *meta, bool *changed,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int lock = -1;
    bool no_links = p->h.settings.no_symlinks, own = false;
    AN_TRY(take_lock(p, meta->etag, f->path, &lock, err));
    if (an_hub_cache_has_file(&p->cache, p->commit, f->path, meta->etag, meta->bytes)) goto cleanup;
    if (!an_hub_cache_has_blob(&p->cache, meta->etag, meta->bytes)) {
        AN_TRY(an_hub_fetch_blob(&p->h, &p->cache, url, f->path, meta, changed, err));
        if (*changed) goto cleanup;
        an_hub_mark_blob(&p->cache, meta->etag);
        own = true;
    }
    status = an_hub_cache_link(&p->cache, p->commit, f->path, meta->etag, no_links, own, err);
cleanup:
    an_fd_close(&lock);
    return status;
}

static anemo_status fetch_file(pull *p, const an_hub_file *f, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_meta meta = {0};
    char *url = an_hub_resolve_url(&p->h, p->commit, f->path);
    bool changed = true;
    if (!url) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (an_hub_cache_has_blob(&p->cache, f->etag, f->bytes)) {
        status = an_hub_cache_link(&p->cache, p->commit, f->path, f->etag, p->h.settings.no_symlinks, false, err);
        goto cleanup;
    }
    for (int changes = 0; changed; changes++) {
        if (changes == CHANGES_MAX) {
            status = an_fail(err, ANEMO_ERR_NET, "%s: '%s' changes on the server all the time", p->h.repo, f->path);
            goto cleanup;
        }
        if (changes > 0)
            an_hub_note(&p->h, "'%s' changed on the server; it is fetched again from the beginning", f->path);
        an_free(meta.location);
        AN_TRY(an_hub_head(&p->h, url, f->path, &meta, err));
        if (!meta.has_bytes) meta.bytes = f->bytes;
        if (strcmp(meta.etag, f->etag) == 0 && meta.bytes != f->bytes) {
            status = an_fail(err, ANEMO_ERR_NET,
                             "%s: '%s' has %" PRIu64 " bytes by the listing and %" PRIu64 " by the server", p->h.repo,
                             f->path, f->bytes, meta.bytes);
            goto cleanup;
        }
        changed = false;
        AN_TRY(fetch_locked(p, f, url, &meta, &changed, err));
    }
cleanup:
    an_free(meta.location);
    an_free(url);
    return status;
}

static anemo_status fetch_all(pull *p, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_hub_progress *g = &p->h.progress;
    uint64_t done = 0;
    AN_TRY(check_space(p, err));
    for (size_t i = 0; i < p->choice.n; i++)
        if (!p->present[i]) g->total_bytes += p->listing.files[p->choice.index[i]].bytes;
    g->n_file = n_missing(p);
    for (size_t i = 0; i < p->choice.n; i++) {
        const an_hub_file *f = &p->listing.files[p->choice.index[i]];
        if (p->present[i]) continue;
        g->file++;
        g->name = f->path;
        g->done_bytes = done;
        an_hub_show(&p->h, true);
        AN_TRY(fetch_file(p, f, err));
        done += f->bytes;
    }
    g->done_bytes = done;
    an_hub_show(&p->h, true);
cleanup:
    return status;
}

/* What an earlier pull left of blobs that another program brought since. */
static void drop_leftovers(const pull *p)
{
    static const char *const tails[] = {".anemo.incomplete", ".anemo.incomplete.parts"};
    for (size_t i = 0; i < p->choice.n; i++) {
        const an_hub_file *f = &p->listing.files[p->choice.index[i]];
        for (size_t k = 0; k < AN_COUNT_OF(tails) && f->etag[0]; k++) {
            char name[512], lock_name[512];
            int lock = -1;
            snprintf(name, sizeof name, "%s/blobs/%s%s", p->cache.folder, f->etag, tails[k]);
            if (an_beneath_probe(&p->cache.root, name).kind != AN_NODE_FILE) continue;
            snprintf(lock_name, sizeof lock_name, ".locks/%s/%s.lock", p->cache.folder, f->etag);
            if (an_beneath_try_lock(&p->cache.root, lock_name, &lock, NULL) != ANEMO_OK || lock < 0) continue;
            if (an_hub_cache_has_blob(&p->cache, f->etag, f->bytes))
                (void)!an_beneath_remove(&p->cache.root, name, NULL);
            an_fd_close(&lock);
        }
    }
}

/* After all files are there: the name of the revision, and the listing when the snapshot is the whole repository. */
static anemo_status finish(pull *p, bool wrote, anemo_error *err)
{
    anemo_status status = an_hub_cache_set_ref(&p->cache, p->h.revision, p->commit, err);
    /* A cache that cannot be written serves what it has. */
    if (!wrote && status == ANEMO_ERR_IO) status = ANEMO_OK;
    /* Python's client takes a listing for the promise that every file of it is there. */
    if (status == ANEMO_OK && wrote && !p->from_tree && p->choice.n == p->listing.n)
        (void)!an_hub_cache_set_tree(&p->cache, p->commit, &p->listing, NULL);
    return status;
}

/* ------------------------------------------------------------------------------------------------- results */

static anemo_status fill_result(const pull *p, an_hub_pulled *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str s = {0};
    const char *main = p->choice.main;
    size_t n_main = strlen(main);
    if (n_main && main[n_main - 1] == '/') n_main--;
    snprintf(out->repo, sizeof out->repo, "%s", p->h.repo);
    snprintf(out->revision, sizeof out->revision, "%s", p->h.revision);
    memcpy(out->commit, p->commit, sizeof out->commit);
    an_str_appendf(&s, "hf://%s@%s%s%.*s", p->h.repo, p->commit, n_main ? "/" : "", (int)n_main, main);
    out->reference = an_str_take(&s);
    if (p->cache.root.fd >= 0) {
        an_str_appendf(&s, "snapshots/%s%s%.*s", p->commit, n_main ? "/" : "", (int)n_main, main);
        AN_TRY(an_str_check(&s, err));
        out->path = an_hub_cache_path(&p->cache, an_str_text(&s));
        an_str_free(&s);
    }
    out->files = an_calloc(p->choice.n + 1, sizeof *out->files);
    if (!out->reference || !out->files || (p->cache.root.fd >= 0 && !out->path)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < p->choice.n; i++) {
        const an_hub_file *f = &p->listing.files[p->choice.index[i]];
        an_hub_pulled_file *to = &out->files[out->n_file];
        to->path = an_strdup(f->path);
        if (!to->path) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        out->n_file++;
        to->bytes = f->bytes;
        to->cached = p->present[i];
        strcpy(to->etag, f->etag);
        out->bytes += f->bytes;
        if (!p->present[i]) out->missing_bytes += f->bytes;
    }
    out->fetched_bytes = p->h.progress.fetched_bytes;
cleanup:
    an_str_free(&s);
    return status;
}

/* A path, or a name of Ollama's: nothing is to be fetched. */
static anemo_status local_result(an_hub_pulled *out, char *path, anemo_error *err)
{
    out->local = true;
    out->path = path;
    out->reference = an_strdup(path);
    if (!path || !out->reference) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    return ANEMO_OK;
}

static anemo_status take_reference(pull *p, const char *reference, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_hub_pull_options *o = p->h.o;
    AN_TRY(an_ref_parse(&p->ref, reference, p->h.settings.endpoint, err));
    if (o->revision && p->ref.revision[0] && strcmp(o->revision, p->ref.revision) != 0)
        return an_fail(err, ANEMO_ERR_INVAL, "'%.200s' names revision '%s' and --revision '%.200s'", reference,
                       p->ref.revision, o->revision);
    if (o->revision && !an_revision_valid(o->revision))
        return an_fail(err, ANEMO_ERR_INVAL, "--revision '%.200s' is no branch, tag or commit", o->revision);
    if (o->file && p->ref.path[0])
        return an_fail(err, ANEMO_ERR_INVAL, "'%.200s' names a file and --file another", reference);
    if (o->file && !an_relpath_safe(o->file))
        return an_fail(err, ANEMO_ERR_INVAL, "--file '%.200s' is no path inside a repository", o->file);
    if (o->file) snprintf(p->ref.path, sizeof p->ref.path, "%s", o->file);
    snprintf(p->h.repo, sizeof p->h.repo, "%s", p->ref.repo);
    snprintf(p->h.revision, sizeof p->h.revision, "%.255s",
             o->revision          ? o->revision
             : p->ref.revision[0] ? p->ref.revision
                                  : "main");
cleanup:
    return status;
}

static void pull_close(pull *p)
{
    an_choice_free(&p->choice);
    an_listing_free(&p->listing);
    an_free(p->present);
    an_hub_cache_close(&p->cache);
    an_net_close(p->h.net);
    an_hub_settings_free(&p->h.settings);
}

anemo_status an_hub_pull(const char *reference, const an_hub_pull_options *o, an_hub_pulled *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool offline = false;
    pull p = {.h = {.o = o}, .cache = {.root = {.fd = -1}}};
    *out = (an_hub_pulled){0};
    if (an_path_probe(reference) != AN_PATH_ABSENT) {
        AN_TRY(local_result(out, an_path_real(reference), err));
        goto cleanup;
    }
    AN_TRY(an_hub_settings_read(&p.h.settings, o->token_file, err));
    AN_TRY(take_reference(&p, reference, err));
    if (p.ref.kind == AN_REF_OLLAMA) {
        char *path = NULL;
        AN_TRY(an_ollama_find(p.ref.repo, p.ref.quant, &path, err));
        AN_TRY(local_result(out, path, err));
        goto cleanup;
    }
    status = an_hub_cache_open(&p.cache, p.h.settings.cache, p.h.repo, !o->dry_run && !p.h.settings.offline, err);
    if (status == ANEMO_ERR_NOTFOUND && (o->dry_run || p.h.settings.offline)) status = ANEMO_OK;
    AN_TRY(status);
    AN_TRY(look(&p, &offline, err));
    if (p.choice.note[0]) an_hub_note(&p.h, "%s", p.choice.note);
    if (!o->dry_run && !offline) {
        bool wrote = n_missing(&p) > 0;
        if (wrote) AN_TRY(fetch_all(&p, err));
        AN_TRY(finish(&p, wrote, err));
        drop_leftovers(&p);
    }
    status = fill_result(&p, out, err);
cleanup:
    pull_close(&p);
    if (status != ANEMO_OK) an_hub_pulled_free(out);
    return status;
}

void an_hub_pulled_free(an_hub_pulled *p)
{
    for (size_t i = 0; i < p->n_file; i++)
        an_free(p->files[i].path);
    an_free(p->files);
    an_free(p->reference);
    an_free(p->path);
    *p = (an_hub_pulled){0};
}
