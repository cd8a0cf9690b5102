/* The hub's environment variables, as Python's client reads them (docs/hub.md lists them). */
#ifndef AN_HUB_SETTINGS_H
#define AN_HUB_SETTINGS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct an_hub_settings {
    char *endpoint; /* without trailing slash */
    char *cache;    /* .../hub */
    char *token;    /* NULL for none; never printed */
    bool offline, no_symlinks, no_progress;
    uint64_t etag_timeout_s, download_timeout_s;
    uint64_t retry_ms; /* the first wait after a failure; doubles to eight times that */
} an_hub_settings;

/*
 * `token_file` (or NULL) names a file that holds the token, before the variables. ERR_INVAL for a variable that cannot
 * be used, ERR_NOTFOUND when neither HF_HOME nor HOME is set. an_hub_settings_free.
 */
ANEMO_MUST_CHECK anemo_status an_hub_settings_read(an_hub_settings *out, const char *token_file, anemo_error *err);
void an_hub_settings_free(an_hub_settings *s);

#endif
