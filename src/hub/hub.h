/*
 * Models of the Hugging Face hub: fetching them into the cache that all tools share, finding them there, listing and
 * removing them. docs/hub.md tells the whole behaviour.
 */
#ifndef AN_HUB_HUB_H
#define AN_HUB_HUB_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_hub_progress {
    uint64_t done_bytes, total_bytes; /* of the files that were not there; done includes what an earlier pull left */
    uint64_t fetched_bytes;           /* over the network, by this call */
    size_t file, n_file;              /* 1..n_file */
    const char *name;
} an_hub_progress;

typedef struct an_hub_pull_options {
    const char *revision;                        /* branch, tag or commit; NULL for the reference's own or "main" */
    const char *file;                            /* a path in the repository, or NULL */
    const char *const *include, *const *exclude; /* patterns, NULL-terminated, or NULL */
    const char *token_file;                      /* or NULL: the environment's */
    bool dry_run;                                /* only find out what would be fetched */
    const volatile int *stop; /* turns non-zero: end with ERR_INTERRUPTED, keeping what is there; may be NULL */
    void (*progress)(void *ctx, const an_hub_progress *p); /* several times a second; may be NULL */
    void (*note)(void *ctx, const char *text);             /* a line for the user; may be NULL */
    void *ctx;
} an_hub_pull_options;

typedef struct an_hub_pulled_file {
    char *path;
    uint64_t bytes;
    char etag[72]; /* sha256 or git's sha1; "" when the hub gave neither */
    bool cached;   /* it was there before */
} an_hub_pulled_file;

typedef struct an_hub_pulled {
    char *reference; /* hf://org/name@commit[/file]; for a local model its path */
    char *path;      /* of the snapshot's folder or the GGUF file; NULL after a dry run of something absent */
    char repo[128], revision[256], commit[41];
    bool local; /* no model of the hub: a path, or Ollama's */
    an_hub_pulled_file *files;
    size_t n_file;
    uint64_t bytes, missing_bytes, fetched_bytes;
} an_hub_pulled;

/*
 * Fetch what `reference` names. Without network when everything is in the cache and the revision is a commit, or when
 * offline. ERR_NOTFOUND (no such repository, revision, file; absent while offline), ERR_NET (network, hub, access,
 * checksum), ERR_NOSPACE, ERR_FORMAT (a listing that is not to be trusted), ERR_INVAL (reference), ERR_INTERRUPTED.
 * Gives *out: an_hub_pulled_free.
 */
ANEMO_MUST_CHECK anemo_status an_hub_pull(const char *reference, const an_hub_pull_options *o, an_hub_pulled *out,
                                          anemo_error *err);
void an_hub_pulled_free(an_hub_pulled *p);

/*
 * The path of a model that is in the cache (or Ollama's store) already; never a request. ERR_NOTFOUND names the command
 * that fetches it; ERR_INVAL when `reference` has no form of a reference. Gives *path: an_free.
 */
ANEMO_MUST_CHECK anemo_status an_hub_find_cached(const char *reference, char **path, anemo_error *err);

/* One snapshot of one repository in the cache. */
typedef struct an_hub_model {
    char repo[128], commit[41];
    char *refs;              /* "main, v1" */
    char *contents;          /* "Q4_K_M, Q8_0", "4-bit g64", "bfloat16"; "" when unknown */
    char format[16];         /* "gguf", "mlx", "hf", "native", "other" */
    char *path;              /* of the snapshot */
    uint64_t bytes, used_ns; /* size of its files; last access since the Unix epoch */
    size_t n_file;
    bool ours; /* all of it was fetched by anemo */
} an_hub_model;

/*
 * What the cache holds, by repository; incomplete_bytes (or NULL) of unfinished downloads. An absent cache is empty.
 * What cannot be read does not keep the others from being listed: *unread (or NULL) tells of the first such thing, its
 * status is OK without one.
 */
ANEMO_MUST_CHECK anemo_status an_hub_inventory(an_hub_model **out, size_t *n, uint64_t *incomplete_bytes,
                                               anemo_error *unread, anemo_error *err);
void an_hub_inventory_free(an_hub_model *models, size_t n);

typedef struct an_hub_removal {
    uint64_t freed_bytes, kept_bytes; /* kept: fetched by other tools */
    size_t n_removed, n_kept;         /* files of snapshots */
} an_hub_removal;

/*
 * Remove from the cache what `reference` names: a repository, one revision, quantization or file of it. Blobs that
 * other snapshots use stay, and without `all` those that anemo did not fetch. With dry_run only count. ERR_NOTFOUND,
 * ERR_BUSY (being fetched).
 */
ANEMO_MUST_CHECK anemo_status an_hub_remove(const char *reference, bool all, bool dry_run, an_hub_removal *out,
                                            anemo_error *err);

#endif
