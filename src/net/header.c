/* Header values and URLs. URLs are taken apart by libcurl, the one that will use them. */
#include "net/header.h"

#include "base/alloc.h"

#include <ctype.h>
#include <curl/curl.h>
#include <string.h>
#include <strings.h>

/* Digits at *p; false when there is none or too many. */
static bool take_u64(const char **p, uint64_t *out)
{
    char digits[24];
    size_t n = strspn(*p, "0123456789");
    if (n == 0 || n >= sizeof digits) return false;
    memcpy(digits, *p, n);
    digits[n] = '\0';
    *p += n;
    return an_parse_u64(digits, out);
}

bool an_content_range_parse(const char *value, uint64_t *first, uint64_t *last, uint64_t *total)
{
    uint64_t a, b, all = UINT64_MAX;
    const char *p = value;
    if (strncasecmp(p, "bytes", 5) != 0) return false;
    p += 5;
    p += strspn(p, " =");
    if (!take_u64(&p, &a) || *p++ != '-' || !take_u64(&p, &b) || *p++ != '/') return false;
    if (*p == '*')
        p++;
    else if (!take_u64(&p, &all))
        return false;
    if (*p != '\0' || a > b || b >= all) return false;
    *first = a;
    *last = b;
    *total = all;
    return true;
}

int64_t an_retry_after_parse(const char *value, int64_t now_s)
{
    uint64_t seconds;
    const char *p = value + strspn(value, " ");
    const char *digits = p;
    if (take_u64(&p, &seconds)) {
        if (*p == '.') p += 1 + strspn(p + 1, "0123456789");
        return *p == '\0' && seconds <= INT32_MAX ? (int64_t)seconds : -1;
    }
    if (*digits == '\0') return -1;
    int64_t when = (int64_t)curl_getdate(value, NULL);
    if (when < 0) return -1;
    return when > now_s ? when - now_s : 0;
}

int64_t an_rate_limit_parse(const char *value)
{
    int64_t remaining = -1, wait = -1;
    for (const char *p = strchr(value, ';'); p; p = strchr(p, ';')) {
        uint64_t number;
        p++;
        p += strspn(p, " ");
        const char key = *p;
        if ((key != 'r' && key != 't') || p[1] != '=') continue;
        p += 2;
        if (!take_u64(&p, &number) || number > INT32_MAX) continue;
        *(key == 'r' ? &remaining : &wait) = (int64_t)number;
    }
    return remaining == 0 ? wait : -1;
}

/* Is this the parameter rel="next"? The parameters of one link, up to the next comma. */
static bool is_next(const char *p, size_t n)
{
    for (size_t i = 0; i + 3 < n; i++) {
        if (strncasecmp(p + i, "rel=", 4) != 0) continue;
        size_t at = i + 4;
        bool quoted = at < n && p[at] == '"';
        at += quoted;
        return n - at >= 4 && strncasecmp(p + at, "next", 4) == 0 &&
               (n - at == 4 ? !quoted : quoted ? p[at + 4] == '"' : !isalnum((unsigned char)p[at + 4]));
    }
    return false;
}

char *an_link_next_parse(const char *value)
{
    const char *p = value;
    while ((p = strchr(p, '<'))) {
        const char *end = strchr(p, '>');
        if (!end) return NULL;
        const char *next = strchr(end, '<');
        size_t n = next ? (size_t)(next - end) : strlen(end);
        if (is_next(end, n)) return an_strndup(p + 1, (size_t)(end - p - 1));
        p = end;
    }
    return NULL;
}

bool an_etag_parse(const char *value, char *out, size_t cap)
{
    out[0] = '\0';
    const char *p = value + strspn(value, " ");
    if (strncmp(p, "W/", 2) == 0) p += 2;
    bool quoted = *p == '"';
    p += quoted;
    size_t n = quoted ? strcspn(p, "\"") : strcspn(p, " ");
    if (n == 0 || n >= cap || p[0] == '.') return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("._-", p[i])) return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

/* Taken apart; NULL unless it is an http(s) URL with a host and without user and password. */
static CURLU *parse_url(const char *url)
{
    char *scheme = NULL, *user = NULL, *password = NULL;
    CURLU *u = curl_url();
    bool good = u && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
                curl_url_get(u, CURLUPART_USER, &user, 0) != CURLUE_OK &&
                curl_url_get(u, CURLUPART_PASSWORD, &password, 0) != CURLUE_OK;
    curl_free(scheme);
    curl_free(user);
    curl_free(password);
    if (good) return u;
    curl_url_cleanup(u);
    return NULL;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

bool an_url_same_origin(const char *a, const char *b)
{
    CURLU *x = parse_url(a), *y = parse_url(b);
    bool same = x && y && same_part(x, y, CURLUPART_SCHEME) && same_part(x, y, CURLUPART_HOST) &&
                same_part(x, y, CURLUPART_PORT);
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

char *an_url_join(const char *base, const char *reference)
{
    char *text = NULL, *copy = NULL;
    CURLU *u = parse_url(base), *checked = NULL;
    if (u && curl_url_set(u, CURLUPART_URL, reference, CURLU_URLENCODE) == CURLUE_OK &&
        curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        checked = parse_url(text);
        if (checked) copy = an_strdup(text);
    }
    curl_free(text);
    curl_url_cleanup(checked);
    curl_url_cleanup(u);
    return copy;
}

bool an_url_is_https(const char *url)
{
    return strncasecmp(url, "https:", 6) == 0;
}

char *an_url_for_message(const char *url)
{
    size_t n = strcspn(url, "?#");
    /* A name and a password before the host. */
    if (memchr(url, '@', n)) return an_strdup("the URL");
    return an_strndup(url, n < 300 ? n : 300);
}

void an_url_escape(an_str *out, const char *text, bool keep_slash)
{
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (isalnum(c) || strchr("._~-", c) || (keep_slash && c == '/'))
            an_str_append_char(out, *p);
        else
            an_str_appendf(out, "%%%02X", c);
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

bool an_url_unescape(an_str *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] != '%') {
            an_str_append_char(out, text[i]);
            continue;
        }
        int high = n - i > 2 ? hex_digit(text[i + 1]) : -1;
        int low = n - i > 2 ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || high * 16 + low == 0) return false;
        an_str_append_char(out, (char)(high * 16 + low));
        i += 2;
    }
    return true;
}
