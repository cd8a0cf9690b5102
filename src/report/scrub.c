/* Passes over the text; whatever is hidden becomes one word, and what follows it is copied as it was. */
#include "report/scrub.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

static const char hidden[] = "HIDDEN";

/* What no word of a command line or a URL goes beyond, be it plain or within a JSON string. */
static bool ends_word(char c)
{
    return c == '\0' || isspace((unsigned char)c) || strchr("\"'\\<>`", c) != NULL;
}

static size_t word_length(const char *text)
{
    size_t n = 0;
    while (!ends_word(text[n])) n++;
    return n;
}

static bool begins(const char *text, const char *head)
{
    return *text == *head && strncmp(text, head, strlen(head)) == 0;
}

/* Behind "://": how long "user:password@" is; 0 without. */
static size_t user_length(const char *text)
{
    /* Not a step beyond the host, or a text of nothing but "://" would be read once for each. */
    size_t last = 0;
    for (size_t i = 0; !ends_word(text[i]) && !strchr("/?#", text[i]); i++)
        if (text[i] == '@') last = i + 1;
    return last;
}

/* Behind '?' or '&', or "--": the length of a name whose value is a secret, '=' or the blank behind it included; 0 for another. */
static size_t secret_name(const char *text, bool option)
{
    static const char *const names[] = {"api-key", "api_key",  "apikey",     "key",    "access_token", "access-token",
                                        "token",   "password", "passwd",     "secret", "signature",    "sig",
                                        "auth",    "client_secret", "hf-token", "hf_token"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(text, names[i], n) != 0) continue;
        if (text[n] == '=' || (option && text[n] == ' ')) return n + 1;
    }
    return 0;
}

/* A word that is a key by its looks: its length; 0 for another. */
static size_t key_length(const char *text)
{
    static const char *const heads[] = {"hf_", "sk-", "ghp_", "github_pat_", "xoxb-"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        size_t n = strlen(heads[i]), from = n;
        if (!begins(text, heads[i])) continue;
        while (isalnum((unsigned char)text[n]) || text[n] == '-' || text[n] == '_') n++;
        if (n >= from + 8) return n;
    }
    return 0;
}

static size_t path_length(const char *text)
{
    size_t n = 0;
    while (!ends_word(text[n]) && !strchr(",;)]}", text[n])) n++;
    return n;
}

/* Does a path begin here, `before` being the character in front of it? */
static bool begins_path(char before, const char *text)
{
    if (before && !isspace((unsigned char)before) && !strchr("\"'=:(,[", before)) return false;
    bool root = text[0] == '/' && text[1] != '/', home = begins(text, "~/") || begins(text, "./") || begins(text, "../");
    return (root || home) && path_length(text) > 1;
}

/* The last part of a path, which may end with '/'. */
static void append_base(const char *path, size_t n, an_str *out)
{
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    an_str_append_bytes(out, path + from, n - from);
}

static void scrub_once(const char *text, bool paths, an_str *out)
{
    char before = '\0';
    for (const char *at = text; *at;) {
        /* What can begin none of the following is copied at once. */
        size_t plain = strcspn(at, ":?&-bBhsgx/~.");
        if (plain > 0) {
            an_str_append_bytes(out, at, plain);
            at += plain;
            before = at[-1];
            continue;
        }
        bool fresh = !isalnum((unsigned char)before) && before != '_' && before != '-';
        size_t n;
        if (begins(at, "://") && (n = user_length(at + 3)) > 0) {
            an_str_append(out, "://");
            at += 3 + n;
            before = '/';
            continue;
        }
        bool parameter = *at == '?' || *at == '&', option = begins(at, "--");
        size_t lead = option ? 2 : 1;
        if ((parameter || option) && (n = secret_name(at + lead, option)) > 0) {
            an_str_append_bytes(out, at, lead + n);
            at += lead + n;
            bool quoted = option && *at == '\'';
            size_t value = quoted ? 1 + strcspn(at + 1, "'\"") : parameter ? strcspn(at, "&# \t\n\"'\\<>`") : word_length(at);
            an_str_append(out, value > quoted ? (quoted ? "'HIDDEN" : hidden) : "");
            at += value;
            before = 'N';
            continue;
        }
        if (fresh && strncasecmp(at, "bearer ", 7) == 0 && (n = word_length(at + 7)) >= 8) {
            an_str_append_bytes(out, at, 7);
            an_str_append(out, hidden);
            at += 7 + n;
            before = 'N';
            continue;
        }
        if (fresh && (n = key_length(at)) > 0) {
            an_str_append(out, hidden);
            at += n;
            before = 'N';
            continue;
        }
        if (paths && begins_path(before, at)) {
            n = path_length(at);
            append_base(at, n, out);
            at += n;
            before = 'x';
            continue;
        }
        before = *at;
        an_str_append_char(out, *at++);
    }
}

/* What one pass leaves may be a secret by now: the last part of a path, what stood behind another. So until nothing changes. */
void an_scrub(const char *text, bool paths, an_str *out)
{
    enum { PASSES_MAX = 16 };
    an_str now = {0}, next = {0};
    an_str_append(&now, text);
    for (int pass = 0; pass < PASSES_MAX && !now.failed; pass++) {
        an_str_clear(&next);
        scrub_once(an_str_text(&now), paths, &next);
        bool same = next.failed || (now.len == next.len && !strcmp(an_str_text(&now), an_str_text(&next)));
        an_str swap = now;
        now = next;
        next = swap;
        if (same) break;
    }
    if (now.failed || next.failed) out->failed = true;
    else an_str_append_bytes(out, an_str_text(&now), now.len);
    an_str_free(&now);
    an_str_free(&next);
}
