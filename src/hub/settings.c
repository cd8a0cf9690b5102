/* Reading the hub's variables. */
#include "hub/settings.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum { TOKEN_MAX_BYTES = 4096 };

static bool is_true(const char *value)
{
    return value && (!strcasecmp(value, "1") || !strcasecmp(value, "on") || !strcasecmp(value, "yes") ||
                     !strcasecmp(value, "true"));
}

/* "~" and "~/x" stand for the home folder, $NAME and ${NAME} for variables, as Python's expanduser and expandvars have
 * it. */
static char *expand(const char *path)
{
    an_str s = {0};
    const char *p = path, *home = an_env("HOME");
    if (p[0] == '~' && (p[1] == '/' || p[1] == '\0') && home) {
        an_str_append(&s, home);
        p++;
    }
    while (*p) {
        char name[128];
        bool braces = p[0] == '$' && p[1] == '{';
        const char *begin = p + 1 + braces;
        size_t n = 0;
        while (p[0] == '$' && n + 1 < sizeof name && (isalnum((unsigned char)begin[n]) || begin[n] == '_'))
            n++;
        memcpy(name, begin, n * (p[0] == '$'));
        name[n] = '\0';
        const char *value = n > 0 && (!braces || begin[n] == '}') ? an_env(name) : NULL;
        if (value) {
            an_str_append(&s, value);
            p = begin + n + braces;
        } else
            an_str_append_char(&s, *p++);
    }
    return an_str_take(&s);
}

/* HF_HOME with its default; NULL when there is no home. */
static char *home_folder(void)
{
    const char *home = an_env("HF_HOME"), *cache = an_env("XDG_CACHE_HOME");
    if (home) return expand(home);
    if (cache) return an_path_join(cache, "huggingface");
    return an_env("HOME") ? expand("~/.cache/huggingface") : NULL;
}

/* What may stand in a header, without spaces around it; NULL for nothing. *bad when there is something else inside. */
static char *clean_token(const char *text, bool *bad)
{
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)*text)) {
        text++;
        n--;
    }
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        n--;
    for (size_t i = 0; i < n; i++)
        *bad |= text[i] <= 0x20 || text[i] == 0x7f;
    return n ? an_strndup(text, n) : NULL;
}

static anemo_status token_from_file(an_hub_settings *s, const char *path, bool *bad, anemo_error *err)
{
    char *text = NULL;
    size_t n;
    anemo_status status = an_file_read(path, TOKEN_MAX_BYTES, &text, &n, err);
    if (status == ANEMO_OK) s->token = clean_token(text, bad);
    an_free(text);
    return status;
}

static anemo_status read_token(an_hub_settings *s, const char *token_file, const char *hf_home, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool bad = false;
    const char *source = "HF_TOKEN", *value = an_env("HF_TOKEN"), *path = an_env("HF_TOKEN_PATH");
    char *file = NULL;
    if (!value) value = an_env("HUGGING_FACE_HUB_TOKEN");
    if (token_file) {
        source = token_file;
        AN_TRY(token_from_file(s, token_file, &bad, err));
        if (!s->token) status = an_fail(err, ANEMO_ERR_INVAL, "%s: holds no token", token_file);
    } else if (is_true(an_env("HF_HUB_DISABLE_IMPLICIT_TOKEN"))) {
        return ANEMO_OK;
    } else if (value) {
        s->token = clean_token(value, &bad);
    } else {
        file = path ? expand(path) : an_path_join(hf_home, "token");
        if (!file) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        source = file;
        /* No such file is no token; one that cannot be read is said. */
        if (an_path_probe(file) == AN_PATH_FILE) status = token_from_file(s, file, &bad, err);
    }
    if (status == ANEMO_OK && bad)
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "%s: the token holds spaces or control characters; it is one word hf_...", source);
cleanup:
    an_free(file);
    return status;
}

static anemo_status read_seconds(const char *name, uint64_t *out, anemo_error *err)
{
    const char *value = an_env(name);
    if (!value) return ANEMO_OK;
    if (!an_parse_u64(value, out) || *out > 86400)
        return an_fail(err, ANEMO_ERR_INVAL, "%s='%.50s' is not a whole number of seconds", name, value);
    if (*out == 0) *out = 10;
    return ANEMO_OK;
}

anemo_status an_hub_settings_read(an_hub_settings *out, const char *token_file, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *endpoint = an_env("HF_ENDPOINT"), *cache = an_env("HF_HUB_CACHE"), *offline = an_env("HF_HUB_OFFLINE");
    const char *retry = an_env("ANEMO_HUB_RETRY_MS");
    char *hf_home = home_folder();
    *out = (an_hub_settings){.etag_timeout_s = 10, .download_timeout_s = 10, .retry_ms = 1000};
    if (!cache) cache = an_env("HUGGINGFACE_HUB_CACHE");
    if (!hf_home) return an_fail(err, ANEMO_ERR_NOTFOUND, "where is the cache? Neither HF_HOME nor HOME is set");
    if (!endpoint) endpoint = "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n > 0 && endpoint[n - 1] == '/')
        n--;
    if (strchr(endpoint, '@')) {
        /* Not shown: what stands before the @ may be a password. */
        status = an_fail(err, ANEMO_ERR_INVAL,
                         "HF_ENDPOINT holds a user name; it is the http:// or https:// URL of a host alone");
        goto cleanup;
    }
    if ((strncasecmp(endpoint, "http://", 7) && strncasecmp(endpoint, "https://", 8)) || strpbrk(endpoint, "?# ")) {
        status =
            an_fail(err, ANEMO_ERR_INVAL, "HF_ENDPOINT='%.200s' is not an http:// or https:// URL of a host", endpoint);
        goto cleanup;
    }
    out->endpoint = an_strndup(endpoint, n);
    out->cache = cache ? expand(cache) : an_path_join(hf_home, "hub");
    if (!out->endpoint || !out->cache) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    AN_TRY(read_token(out, token_file, hf_home, err));
    out->offline = is_true(offline ? offline : an_env("TRANSFORMERS_OFFLINE"));
    out->no_symlinks = is_true(an_env("HF_HUB_DISABLE_SYMLINKS"));
    out->no_progress = is_true(an_env("HF_HUB_DISABLE_PROGRESS_BARS"));
    AN_TRY(read_seconds("HF_HUB_ETAG_TIMEOUT", &out->etag_timeout_s, err));
    AN_TRY(read_seconds("HF_HUB_DOWNLOAD_TIMEOUT", &out->download_timeout_s, err));
    if (retry && (!an_parse_u64(retry, &out->retry_ms) || out->retry_ms > 60000))
        status = an_fail(err, ANEMO_ERR_INVAL, "ANEMO_HUB_RETRY_MS='%.50s' is not a number of milliseconds", retry);
cleanup:
    an_free(hf_home);
    if (status != ANEMO_OK) an_hub_settings_free(out);
    return status;
}

void an_hub_settings_free(an_hub_settings *s)
{
    /* The token does not stay behind in freed memory. */
    if (s->token)
        for (volatile char *p = s->token; *p; p++)
            *p = 0;
    an_free(s->token);
    an_free(s->endpoint);
    an_free(s->cache);
    *s = (an_hub_settings){0};
}
