/*
 * How users name a model (docs/hub.md): org/name[:QUANT], hf.co/org/name[:QUANT], hf://[models/]org/name[@rev][/path],
 * pasted URLs of the hub's pages, name:tag of Ollama's local store. Paths that exist are the caller's to recognise
 * first.
 */
#ifndef AN_HUB_REFERENCE_H
#define AN_HUB_REFERENCE_H

#include "base/error.h"

#include <stdbool.h>

typedef enum an_ref_kind { AN_REF_HUB, AN_REF_OLLAMA } an_ref_kind;

typedef struct an_ref {
    an_ref_kind kind;
    char repo[128];     /* "org/name" or "name"; for Ollama the name, perhaps with its namespace */
    char revision[256]; /* "" when none was given */
    char quant[64]; /* after the colon, as written; "" for none or "latest". For Ollama the tag ("latest" by default) */
    char path[1024]; /* of a file or folder in the repository; "" for none */
} an_ref;

/*
 * `endpoint` is the hub's base URL, whose pages are known as its own. ERR_INVAL says what is wrong and which forms
 * there are; ERR_UNSUPPORTED for data sets and other things that are no models; ERR_NOTFOUND for what can only be a
 * path.
 */
ANEMO_MUST_CHECK anemo_status an_ref_parse(an_ref *out, const char *text, const char *endpoint, anemo_error *err);

/* Is it "name" or "org/name" by the hub's rules? */
bool an_repo_id_valid(const char *repo);

/* A branch, tag or commit that may become a path below refs/. */
bool an_revision_valid(const char *revision);

/* 40 lower-case hex digits. */
bool an_commit_valid(const char *revision);

/*
 * A relative name from a stranger that may be used below a folder: no "..", ".", empty or long component, no backslash,
 * no drive letter, no control character, at most 1000 bytes.
 */
bool an_relpath_safe(const char *path);

#endif
