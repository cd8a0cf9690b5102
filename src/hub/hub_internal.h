/* What the files of src/hub share: the client of one pull. */
#ifndef AN_HUB_HUB_INTERNAL_H
#define AN_HUB_HUB_INTERNAL_H

#include "hub/cache.h"
#include "hub/hub.h"
#include "hub/settings.h"
#include "net/fetch.h"

enum { AN_HUB_RETRIES = 5, AN_HUB_REDIRECTS = 8, AN_HUB_WAIT_MAX_S = 300 };

typedef struct an_hub {
    an_hub_settings settings;
    an_net *net;
    const an_hub_pull_options *o;
    char repo[128], revision[256]; /* what is asked for, for messages */
    bool reached;                  /* some answer came */
    bool down;                     /* the last failure was no connection, or the server's own (5xx, 429) */
    uint64_t waited_ms;            /* in answer to 429 and the like, in all */
    an_hub_progress progress;
    uint64_t shown_ns;
} an_hub;

/* What a HEAD of a file tells. */
typedef struct an_hub_meta {
    char etag[160];
    char commit[41];
    bool has_bytes;
    uint64_t bytes;
    char *location; /* where to GET it; an_free */
} an_hub_meta;

void an_hub_note(an_hub *h, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool an_hub_stopped(const an_hub *h);
/* Show progress now and then (always with `force`). */
void an_hub_show(an_hub *h, bool force);

/* Sleep, unless the user stops it: ERR_INTERRUPTED. */
ANEMO_MUST_CHECK anemo_status an_hub_sleep(an_hub *h, uint64_t ms, anemo_error *err);

/*
 * How long to wait before attempt `attempt` (1..): what the answer asks for (`call` may be NULL), else the doubling
 * delay. A wait that the server asked for is noted, and ERR_NET when all waits together would be longer than
 * AN_HUB_WAIT_MAX_S.
 */
ANEMO_MUST_CHECK anemo_status an_hub_delay(an_hub *h, int attempt, const an_call *call, uint64_t *ms, anemo_error *err);

bool an_hub_code_is_passing(long code); /* 408, 429, 500, 502, 503, 504 */

/* The error that an answer of 400 or more means to the user; `file` is the path in the repository, or NULL. */
anemo_status an_hub_refused(an_hub *h, an_call *call, const char *file, anemo_error *err);

/* GET of the API with retries and redirects on the hub's own host. Gives *call: an_call_end. */
ANEMO_MUST_CHECK anemo_status an_hub_get_json(an_hub *h, const char *url, an_call **call, anemo_error *err);

/* HEAD of a file. Gives out->location. */
ANEMO_MUST_CHECK anemo_status an_hub_head(an_hub *h, const char *url, const char *file, an_hub_meta *out,
                                          anemo_error *err);

/* The target of a redirect that may be followed for data: http or https, not from https to http. NULL with err
 * otherwise. */
char *an_hub_redirect(const an_call *call, const char *from, anemo_error *err);

/* The bearer token for this URL: only when it is on the endpoint's own scheme, host and port. */
const char *an_hub_token_for(const an_hub *h, const char *url);

/* Where a file of a commit is: endpoint/repo/resolve/commit/path. an_free. */
char *an_hub_resolve_url(const an_hub *h, const char *commit, const char *path);

/*
 * Bring blob meta->etag (bytes long) of the cache into place, from url by way of meta->location; the caller holds its
 * lock. *changed: the file is another one now on the server; nothing was published, ask again. `file` is its path, for
 * messages.
 */
ANEMO_MUST_CHECK anemo_status an_hub_fetch_blob(an_hub *h, const an_hub_cache *cache, const char *url, const char *file,
                                                const an_hub_meta *meta, bool *changed, anemo_error *err);

/* How much of a blob of that size an earlier pull left, or an older Python client. */
uint64_t an_hub_partial_bytes(const an_hub_cache *cache, const char *etag, uint64_t bytes);

/* A model of Ollama's local store by name and tag. Gives *path: an_free. ERR_NOTFOUND. */
ANEMO_MUST_CHECK anemo_status an_ollama_find(const char *name, const char *tag, char **path, anemo_error *err);

/*
 * The path of a model in the cache by repository, revision ("" for any, "main" first), quantization and path. Without a
 * tree cache a folder is whole when its listing is. Gives *path and *commit.
 */
ANEMO_MUST_CHECK anemo_status an_hub_find_in(const an_hub_cache *c, const char *repo, const char *revision,
                                             const char *quant, const char *file, char **path, char commit[41],
                                             anemo_error *err);

#endif
