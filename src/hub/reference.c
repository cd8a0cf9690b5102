/* The parser of model references. Nothing here touches files or the network. */
#include "hub/reference.h"

#include "base/alloc.h"
#include "base/str.h"
#include "net/header.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { REPO_MAX = 96, PATH_MAX_BYTES = 1000, COMPONENT_MAX = 255, TEXT_MAX = 4096 };

#define FORMS "org/name, org/name:QUANT, hf://org/name[@revision][/file], a URL of the hub, or a path that exists"

static bool id_part_valid(const char *p, size_t n)
{
    if (n == 0 || p[0] == '-' || p[0] == '.' || p[n - 1] == '-' || p[n - 1] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i])) return false;
        if (i + 1 < n && p[i] == p[i + 1] && (p[i] == '-' || p[i] == '.')) return false;
    }
    return true;
}

bool an_repo_id_valid(const char *repo)
{
    size_t n = strlen(repo);
    const char *slash = strchr(repo, '/');
    if (n == 0 || n > REPO_MAX || an_str_ends_with(repo, ".git")) return false;
    if (!slash) return id_part_valid(repo, n);
    return id_part_valid(repo, (size_t)(slash - repo)) && id_part_valid(slash + 1, strlen(slash + 1));
}

bool an_commit_valid(const char *revision)
{
    return strlen(revision) == 40 && strspn(revision, "0123456789abcdef") == 40;
}

bool an_relpath_safe(const char *path)
{
    size_t total = strlen(path);
    if (total == 0 || total > PATH_MAX_BYTES || (isalpha((unsigned char)path[0]) && path[1] == ':')) return false;
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\') return false;
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || n > COMPONENT_MAX || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (*p == '\0') return true;
    }
}

bool an_revision_valid(const char *revision)
{
    return an_relpath_safe(revision) && strlen(revision) < 250 && revision[0] != '-' &&
           !strpbrk(revision, " ~^:?*[\"<>|");
}

static bool copy_part(char *out, size_t cap, const char *p, size_t n)
{
    if (n >= cap) return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

/* Percent escapes undone, into a field. */
static bool decode_part(char *out, size_t cap, const char *p, size_t n)
{
    an_str s = {0};
    bool good =
        an_url_unescape(&s, p, n) && !s.failed && copy_part(out, cap, an_str_text(&s), s.len) && strlen(out) == s.len;
    an_str_free(&s);
    return good;
}

static anemo_status bad(anemo_error *err, const char *text, const char *why)
{
    return an_fail(err, ANEMO_ERR_INVAL, "'%.200s': %s; a model is named as " FORMS, text, why);
}

static anemo_status take_quant(an_ref *out, const char *text, const char *quant, anemo_error *err)
{
    size_t n = strlen(quant);
    if (n == 0) return bad(err, text, "nothing follows the colon");
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)quant[i]) && !strchr("._-", quant[i]))
            return bad(err, text, "this is no quantization");
    if (!copy_part(out->quant, sizeof out->quant, quant, n)) return bad(err, text, "the quantization is too long");
    if (out->kind == AN_REF_HUB && strcasecmp(out->quant, "latest") == 0) out->quant[0] = '\0';
    return ANEMO_OK;
}

/* "org/name" at the beginning of p; gives how many bytes it took, 0 when there is none. */
static size_t take_repo(an_ref *out, const char *p, const char *stops)
{
    char slash_stops[32];
    snprintf(slash_stops, sizeof slash_stops, "/%s", stops);
    size_t n = strcspn(p, slash_stops);
    if (p[n] == '/') n += 1 + strcspn(p + n + 1, slash_stops);
    if (!copy_part(out->repo, sizeof out->repo, p, n) || !an_repo_id_valid(out->repo)) return 0;
    return n;
}

static anemo_status check(const an_ref *ref, const char *text, anemo_error *err)
{
    if (ref->revision[0] && !an_revision_valid(ref->revision)) return bad(err, text, "this is no revision");
    if (ref->path[0] && !an_relpath_safe(ref->path)) return bad(err, text, "this is no path inside a repository");
    return ANEMO_OK;
}

/* What stands after hf:// */
static anemo_status parse_uri(an_ref *out, const char *text, const char *p, anemo_error *err)
{
    static const char *const other[] = {"datasets/", "spaces/", "buckets/", "kernels/"};
    for (size_t i = 0; i < AN_COUNT_OF(other); i++)
        if (an_str_starts_with(p, other[i]))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "'%.200s': %.*s are not models", text, (int)strlen(other[i]) - 1,
                           other[i]);
    if (an_str_starts_with(p, "models/")) p += strlen("models/");
    size_t n = take_repo(out, p, "@:");
    if (n == 0) return bad(err, text, "no repository is named");
    p += n;
    if (*p == ':') return take_quant(out, text, p + 1, err);
    if (*p == '@') {
        p++;
        /* References of pull requests have slashes that belong to them. */
        size_t take = strcspn(p, "/");
        if (an_str_starts_with(p, "refs/pr/") || an_str_starts_with(p, "refs/convert/")) {
            const char *third = strchr(p + strlen("refs/"), '/') + 1;
            take = (size_t)(third - p) + strcspn(third, "/");
        }
        if (take == 0 || !decode_part(out->revision, sizeof out->revision, p, take))
            return bad(err, text, "this is no revision");
        p += take;
    }
    if (*p == '/' && p[1]) {
        size_t len = strlen(p + 1);
        if (p[len] == '/') len--;
        if (!decode_part(out->path, sizeof out->path, p + 1, len)) return bad(err, text, "this is no path");
    }
    return check(out, text, err);
}

/* The path part of a page's URL, without query: org/name[/(blob|resolve|raw|tree)/rev[/path]] */
static anemo_status parse_page(an_ref *out, const char *text, const char *p, anemo_error *err)
{
    static const char *const views[] = {"blob/", "resolve/", "raw/", "tree/"};
    static const char *const other[] = {"datasets/", "spaces/", "docs/", "papers/", "collections/", "api/"};
    for (size_t i = 0; i < AN_COUNT_OF(other); i++)
        if (an_str_starts_with(p, other[i]))
            return an_fail(err, ANEMO_ERR_UNSUPPORTED, "'%.200s': not the page of a model", text);
    if (an_str_starts_with(p, "models/")) p += strlen("models/");
    size_t n = take_repo(out, p, ":@");
    if (n == 0) return bad(err, text, "no repository is named");
    p += n;
    if (*p == ':') return take_quant(out, text, p + 1, err);
    if (*p == '@') return bad(err, text, "a revision with @ goes with hf://");
    while (*p == '/')
        p++;
    if (*p == '\0') return ANEMO_OK;
    for (size_t i = 0; i < AN_COUNT_OF(views); i++) {
        if (!an_str_starts_with(p, views[i])) continue;
        p += strlen(views[i]);
        size_t take = strcspn(p, "/");
        if (an_str_starts_with(p, "refs/pr/")) take = strlen("refs/pr/") + strcspn(p + strlen("refs/pr/"), "/");
        size_t rest = p[take] == '/' ? strlen(p + take + 1) : 0;
        while (rest > 0 && p[take + rest] == '/')
            rest--;
        if (take == 0 || !decode_part(out->revision, sizeof out->revision, p, take) ||
            !decode_part(out->path, sizeof out->path, p + take + (rest > 0), rest))
            return bad(err, text, "no file or revision can be read from it");
        return check(out, text, err);
    }
    /* The repository's other pages: discussions, settings. */
    return bad(err, text, "this page of the repository names no file");
}

/* Where the path of a URL on one of the hub's hosts begins; NULL when the host is another. */
static const char *own_host(const char *url, const char *endpoint)
{
    static const char *const hosts[] = {"huggingface.co/", "www.huggingface.co/", "hf.co/"};
    const char *rest = strstr(url, "://");
    size_t n = strlen(endpoint);
    if (n > 0 && strncasecmp(url, endpoint, n) == 0 && url[n] == '/') return url + n + 1;
    if (!rest) return NULL;
    rest += 3;
    for (size_t i = 0; i < AN_COUNT_OF(hosts); i++)
        if (strncasecmp(rest, hosts[i], strlen(hosts[i])) == 0) return rest + strlen(hosts[i]);
    return NULL;
}

/* Without query and fragment. Gives in `out` of TEXT_MAX + 1 bytes. */
static void cut_query(char *out, const char *url)
{
    size_t n = strcspn(url, "?#");
    memcpy(out, url, n);
    out[n] = '\0';
}

anemo_status an_ref_parse(an_ref *out, const char *text, const char *endpoint, anemo_error *err)
{
    char plain[TEXT_MAX + 1];
    memset(out, 0, sizeof *out);
    if (text[0] == '\0') return an_fail(err, ANEMO_ERR_INVAL, "an empty model name; a model is named as " FORMS);
    if (strlen(text) > TEXT_MAX) return bad(err, text, "too long");
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) return bad(err, "the model's name", "it holds a control character");
    if (an_str_starts_with(text, "hf://")) return parse_uri(out, text, text + 5, err);
    if (strncasecmp(text, "http://", 7) == 0 || strncasecmp(text, "https://", 8) == 0) {
        cut_query(plain, text);
        const char *page = own_host(plain, endpoint);
        if (!page) return bad(err, text, "this URL is not the hub's");
        return parse_page(out, text, page, err);
    }
    if (strstr(text, "://")) return bad(err, text, "nothing is known of this scheme");
    if (strncasecmp(text, "hf.co/", 6) == 0 || strncasecmp(text, "huggingface.co/", 15) == 0) {
        cut_query(plain, strchr(text, '/') + 1);
        return parse_page(out, text, plain, err);
    }
    if (text[0] == '/' || text[0] == '~' || an_str_starts_with(text, "./") || an_str_starts_with(text, "../"))
        return an_fail(err, ANEMO_ERR_NOTFOUND, "%.300s: no such file or directory", text);

    const char *colon = strchr(text, ':');
    if (!strchr(text, '/') && colon) {
        out->kind = AN_REF_OLLAMA;
        if (!copy_part(out->repo, sizeof out->repo, text, (size_t)(colon - text)) || !an_repo_id_valid(out->repo))
            return bad(err, text, "this is no name");
        return take_quant(out, text, colon + 1, err);
    }
    size_t n = take_repo(out, text, ":@");
    if (n == 0) return bad(err, text, "this is no name of a repository");
    if (text[n] == '/')
        return bad(err, text,
                   "no such path here, and a file of a repository is named hf://org/name/file or with --file");
    if (text[n] == '@') {
        if (!decode_part(out->revision, sizeof out->revision, text + n + 1, strlen(text + n + 1)) || !out->revision[0])
            return bad(err, text, "this is no revision");
        return check(out, text, err);
    }
    return text[n] == ':' ? take_quant(out, text, text + n + 1, err) : ANEMO_OK;
}
