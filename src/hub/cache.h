/*
 * The hub's cache on disk, in the layout that Python's huggingface_hub reads and writes:
 *   models--ORG--NAME/blobs/ETAG, refs/REV, snapshots/COMMIT/PATH -> ../../blobs/ETAG, trees/COMMIT.json
 *   .locks/models--ORG--NAME/ETAG.lock
 * Everything in it may have been put there by somebody else: links are not followed but for their text, which must be
 * exactly the one that the layout has (or lead to the cache's own store of shared blobs).
 */
#ifndef AN_HUB_CACHE_H
#define AN_HUB_CACHE_H

#include "hub/listing.h"
#include "os/beneath.h"

typedef struct an_hub_cache {
    an_beneath root;
    char folder[160]; /* "models--org--name" */
} an_hub_cache;

/* ERR_NOTFOUND when it is absent and not to be made. an_hub_cache_close. */
ANEMO_MUST_CHECK anemo_status an_hub_cache_open(an_hub_cache *c, const char *path, const char *repo, bool make,
                                                anemo_error *err);
void an_hub_cache_close(an_hub_cache *c);

/* "models--org--name" to "org/name"; false when it is the folder of no model. */
bool an_hub_folder_repo(const char *folder, char repo[128]);

/* The commit of a branch or tag, from refs/; a commit stands for itself. ERR_NOTFOUND; ERR_IO when it cannot be read.
 */
ANEMO_MUST_CHECK anemo_status an_hub_cache_ref(const an_hub_cache *c, const char *revision, char commit[41],
                                               anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_hub_cache_set_ref(const an_hub_cache *c, const char *revision, const char *commit,
                                                   anemo_error *err);

/* Is blob `etag` there with that size? (A link into the shared store counts.) */
bool an_hub_cache_has_blob(const an_hub_cache *c, const char *etag, uint64_t bytes);

/* Is snapshots/COMMIT/PATH there: the right link to a whole blob, or a file of that size? etag "" means any blob. */
bool an_hub_cache_has_file(const an_hub_cache *c, const char *commit, const char *path, const char *etag,
                           uint64_t bytes);

/*
 * Put snapshots/COMMIT/PATH in place: a relative link, or without links the file itself (`own` blobs, just downloaded,
 * are moved; others get a second name).
 */
ANEMO_MUST_CHECK anemo_status an_hub_cache_link(const an_hub_cache *c, const char *commit, const char *path,
                                                const char *etag, bool no_symlinks, bool own, anemo_error *err);

/* What is in a snapshot, as a listing (etag where the name of the blob is one). ERR_NOTFOUND when there is no such
 * snapshot. */
ANEMO_MUST_CHECK anemo_status an_hub_cache_snapshot(const an_hub_cache *c, const char *commit, an_listing *out,
                                                    anemo_error *err);

/* trees/COMMIT.json when it is there and good; ERR_NOTFOUND otherwise. */
ANEMO_MUST_CHECK anemo_status an_hub_cache_tree(const an_hub_cache *c, const char *commit, an_listing *out,
                                                anemo_error *err);

/* The same file written, for a snapshot that holds all of the listing. */
ANEMO_MUST_CHECK anemo_status an_hub_cache_set_tree(const an_hub_cache *c, const char *commit, const an_listing *l,
                                                    anemo_error *err);

/* Absolute path of a name below the repository's folder. an_free. */
char *an_hub_cache_path(const an_hub_cache *c, const char *name);

/*
 * Marks of what anemo downloaded, so that `anemo rm` removes nothing else: one file per repository of a cache below
 * $XDG_DATA_HOME/anemo/pulled, with a line for each blob.
 */
void an_hub_mark_blob(const an_hub_cache *c, const char *etag);
/* Gives *out, the lines: etags separated by line ends, "" for none. an_free. ERR_NOMEM, ERR_IO. */
ANEMO_MUST_CHECK anemo_status an_hub_marks(const an_hub_cache *c, char **out, anemo_error *err);
bool an_hub_is_marked(const char *marks, const char *etag);
void an_hub_forget_marks(const an_hub_cache *c);

#endif
