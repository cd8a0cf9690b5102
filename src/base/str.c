/* The growable string and strict number parsing. */
#include "base/str.h"

#include "base/alloc.h"
#include "base/num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(an_str *s, size_t extra)
{
    size_t need;
    if (s->failed) return false;
    if (!an_add_size(s->len, extra, &need) || !an_add_size(need, 1, &need)) {
        s->failed = true;
        return false;
    }
    if (need <= s->cap) return true;
    size_t cap = s->cap ? s->cap : 64;
    while (cap < need) {
        if (!an_mul_size(cap, 2, &cap)) {
            cap = need;
            break;
        }
    }
    char *data = an_realloc(s->data, cap);
    if (!data) {
        s->failed = true;
        return false;
    }
    s->data = data;
    s->cap = cap;
    return true;
}

void an_str_append_bytes(an_str *s, const void *bytes, size_t n)
{
    if (!reserve(s, n)) return;
    if (n) memcpy(s->data + s->len, bytes, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void an_str_append(an_str *s, const char *text)
{
    an_str_append_bytes(s, text, strlen(text));
}

void an_str_append_char(an_str *s, char c)
{
    an_str_append_bytes(s, &c, 1);
}

void an_str_append_repeat(an_str *s, char c, size_t n)
{
    if (!reserve(s, n)) return;
    memset(s->data + s->len, c, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void an_str_vappendf(an_str *s, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        s->failed = true;
    else if (reserve(s, (size_t)n)) {
        vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

void an_str_appendf(an_str *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    an_str_vappendf(s, fmt, ap);
    va_end(ap);
}

const char *an_str_text(const an_str *s)
{
    return s->data ? s->data : "";
}

void an_str_clear(an_str *s)
{
    s->len = 0;
    if (s->data) s->data[0] = '\0';
}

char *an_str_take(an_str *s)
{
    char *data;
    if (!s->data && !s->failed) an_str_append_bytes(s, "", 0);
    if (s->failed) {
        an_str_free(s);
        return NULL;
    }
    data = s->data;
    *s = (an_str){0};
    return data;
}

void an_str_free(an_str *s)
{
    an_free(s->data);
    *s = (an_str){0};
}

anemo_status an_str_check(const an_str *s, anemo_error *err)
{
    if (s->failed) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory while building text");
    return ANEMO_OK;
}

bool an_str_ends_with(const char *text, const char *tail)
{
    size_t n = strlen(text), m = strlen(tail);
    return n >= m && memcmp(text + n - m, tail, m) == 0;
}

bool an_str_starts_with(const char *text, const char *head)
{
    return strncmp(text, head, strlen(head)) == 0;
}

bool an_parse_i64(const char *text, int64_t *out)
{
    char *end;
    if (!*text || isspace((unsigned char)*text)) return false;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno || *end || end == text) return false;
    *out = v;
    return true;
}

bool an_parse_u64(const char *text, uint64_t *out)
{
    char *end;
    if (!isdigit((unsigned char)*text)) return false;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *out = v;
    return true;
}

bool an_parse_f64(const char *text, double *out)
{
    char *end;
    if (!*text || isspace((unsigned char)*text)) return false;
    errno = 0;
    double v = strtod(text, &end);
    if (*end || end == text || !isfinite(v)) return false;
    *out = v;
    return true;
}
