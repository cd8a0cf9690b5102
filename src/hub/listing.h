/*
 * What a repository holds, read from the hub's answers, which are not trusted: every name is checked for use below a
 * folder, sizes and counts have limits, and a listing with one bad entry is refused whole.
 */
#ifndef AN_HUB_LISTING_H
#define AN_HUB_LISTING_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AN_LISTING_MAX_FILES = 100000, AN_LISTING_MAX_BYTES = 16 << 20 };

typedef struct an_hub_file {
    char *path;
    uint64_t bytes;
    char etag[65]; /* expected name of its blob: 64 hex digits (sha256) or 40 (git's sha1); "" when the listing has none
                    */
} an_hub_file;

typedef struct an_listing {
    an_hub_file *files; /* in the hub's order */
    size_t n, cap;
} an_listing;

/* The answer of /api/models/REPO/revision/REV. */
typedef struct an_repo_info {
    char commit[41];
    char id[128]; /* as the hub calls it now; "" when it does not say */
} an_repo_info;

/* `name` starts messages. ERR_FORMAT. */
ANEMO_MUST_CHECK anemo_status an_repo_info_parse(an_repo_info *out, const char *text, size_t n, const char *name,
                                                 anemo_error *err);

/* Add the entries of one page of /api/models/REPO/tree/COMMIT. ERR_FORMAT names the entry. */
ANEMO_MUST_CHECK anemo_status an_listing_add_page(an_listing *l, const char *text, size_t n, const char *name,
                                                  anemo_error *err);

/* A listing as Python's client keeps it in trees/COMMIT.json. */
ANEMO_MUST_CHECK anemo_status an_listing_add_tree_cache(an_listing *l, const char *text, size_t n, const char *name,
                                                        anemo_error *err);

/* Append one file. ERR_FORMAT for a bad name or size. */
ANEMO_MUST_CHECK anemo_status an_listing_add(an_listing *l, const char *path, uint64_t bytes, const char *etag,
                                             const char *name, anemo_error *err);

/* After the last page: no name twice, and none that is also a folder of another. */
ANEMO_MUST_CHECK anemo_status an_listing_check(const an_listing *l, const char *name, anemo_error *err);

const an_hub_file *an_listing_find(const an_listing *l, const char *path);
void an_listing_free(an_listing *l);

/* A name from outside for a message: control characters and bytes beyond ASCII as "?", cut to `cap`. */
const char *an_name_for_message(const char *text, char *out, size_t cap);

#endif
