/* The JSON scanner of the safetensors reader. */
#include "format/json_scan.h"

#include "base/num.h"
#include "base/utf8.h"

#include <string.h>

enum { DEPTH_MAX = 32 };

bool an_json_scan_fail(an_json_scan *s, uint64_t at, const char *error)
{
    if (!s->error) {
        s->error = error;
        s->at = at;
    }
    return false;
}

bool an_json_scan_init(an_json_scan *s, const char *text, uint64_t size)
{
    *s = (an_json_scan){.text = text, .size = size};
    size_t valid = an_utf8_valid_prefix(text, (size_t)size);
    if (valid != size) return an_json_scan_fail(s, valid, "the text is not UTF-8");
    return true;
}

static void skip_space(an_json_scan *s)
{
    while (s->pos < s->size && s->text[s->pos] && strchr(" \t\r\n", s->text[s->pos]))
        s->pos++;
}

bool an_json_scan_peek(an_json_scan *s, char c)
{
    skip_space(s);
    return s->pos < s->size && s->text[s->pos] == c;
}

bool an_json_scan_char(an_json_scan *s, char c)
{
    if (!an_json_scan_peek(s, c)) {
        switch (c) {
        case '{':
            return an_json_scan_fail(s, s->pos, "expected '{'");
        case '[':
            return an_json_scan_fail(s, s->pos, "expected '['");
        case ':':
            return an_json_scan_fail(s, s->pos, "expected ':'");
        default:
            return an_json_scan_fail(s, s->pos, "unexpected text");
        }
    }
    s->pos++;
    return true;
}

bool an_json_scan_next(an_json_scan *s, char close, bool *more)
{
    *more = an_json_scan_peek(s, ',');
    if (!*more && !an_json_scan_peek(s, close))
        return an_json_scan_fail(s, s->pos,
                                 s->pos == s->size ? "the text ends too early"
                                                   : "expected ',' or the end of the list");
    s->pos++;
    return true;
}

static bool hex4(an_json_scan *s, uint32_t *out)
{
    uint32_t v = 0;
    if (s->size - s->pos < 4) return false;
    for (int i = 0; i < 4; i++) {
        char c = s->text[s->pos + (uint64_t)i];
        uint32_t d;
        if (c >= '0' && c <= '9')
            d = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            d = (uint32_t)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            d = (uint32_t)(c - 'A' + 10);
        else
            return false;
        v = v << 4 | d;
    }
    s->pos += 4;
    *out = v;
    return true;
}

/* The part of an escape behind the backslash; writes 1..4 bytes. Returns their number, 0 for a bad
 * escape. */
static int escape(an_json_scan *s, char out[4])
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->pos >= s->size) return 0;
    char c = s->text[s->pos++];
    const char *at = c ? strchr(from, c) : NULL;
    if (at) {
        out[0] = to[at - from];
        return 1;
    }
    uint32_t cp, low;
    if (c != 'u' || !hex4(s, &cp) || cp == 0 || (cp >= 0xDC00 && cp <= 0xDFFF)) return 0;
    if (cp >= 0xD800 && cp <= 0xDBFF) {
        if (s->size - s->pos < 2 || memcmp(s->text + s->pos, "\\u", 2)) return 0;
        s->pos += 2;
        if (!hex4(s, &low) || low < 0xDC00 || low > 0xDFFF) return 0;
        cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
    }
    return an_utf8_encode(cp, out);
}

bool an_json_scan_string(an_json_scan *s, char *out, uint64_t *len)
{
    uint64_t n = 0;
    skip_space(s);
    uint64_t start = s->pos;
    if (s->pos >= s->size || s->text[s->pos] != '"')
        return an_json_scan_fail(s, s->pos, "expected a string");
    s->pos++;
    for (;;) {
        char bytes[4];
        int count = 1;
        uint64_t at = s->pos;
        if (s->pos >= s->size) return an_json_scan_fail(s, start, "a string without an end");
        bytes[0] = s->text[s->pos++];
        if (bytes[0] == '"') break;
        if ((unsigned char)bytes[0] < 0x20)
            return an_json_scan_fail(s, at, "a control character inside a string");
        if (bytes[0] == '\\' && (count = escape(s, bytes)) == 0)
            return an_json_scan_fail(s, at, "a bad escape sequence");
        if (out) memcpy(out + n, bytes, (size_t)count);
        n += (uint64_t)count;
    }
    if (out) out[n] = '\0';
    *len = n;
    return true;
}

bool an_json_scan_u64(an_json_scan *s, uint64_t *out)
{
    uint64_t v = 0;
    skip_space(s);
    uint64_t start = s->pos;
    while (s->pos < s->size && s->text[s->pos] >= '0' && s->text[s->pos] <= '9') {
        if (!an_mul_u64(v, 10, &v) || !an_add_u64(v, (uint64_t)(s->text[s->pos] - '0'), &v))
            return an_json_scan_fail(s, start, "a number above 2^64 - 1");
        s->pos++;
    }
    if (s->pos == start)
        return an_json_scan_fail(s, start, "expected a whole number of at least 0");
    if (s->text[start] == '0' && s->pos - start > 1)
        return an_json_scan_fail(s, start, "a number with a leading zero");
    if (s->pos < s->size && s->text[s->pos] && strchr(".eE", s->text[s->pos]))
        return an_json_scan_fail(s, start, "expected a whole number");
    *out = v;
    return true;
}

/* true, false, null or a number, without judging the number's form in detail. */
static bool skip_scalar(an_json_scan *s)
{
    static const char *const words[] = {"true", "false", "null"};
    uint64_t start = s->pos, left = s->size - s->pos;
    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i]);
        if (left >= n && !memcmp(s->text + s->pos, words[i], n)) {
            s->pos += n;
            return true;
        }
    }
    while (s->pos < s->size && s->text[s->pos] && strchr("+-.0123456789eE", s->text[s->pos]))
        s->pos++;
    return s->pos > start || an_json_scan_fail(s, start, "expected a value");
}

bool an_json_scan_skip(an_json_scan *s)
{
    char close[DEPTH_MAX];
    int depth = 0;
    uint64_t len;
    for (;;) {
        skip_space(s);
        char c = s->pos < s->size ? s->text[s->pos] : '\0';
        bool opened = false;
        if (c == '{' || c == '[') {
            if (depth == DEPTH_MAX) return an_json_scan_fail(s, s->pos, "nested too deeply");
            close[depth++] = c == '{' ? '}' : ']';
            s->pos++;
            opened = !an_json_scan_peek(s, close[depth - 1]);
        } else if (c == '"') {
            if (!an_json_scan_string(s, NULL, &len)) return false;
        } else if (!skip_scalar(s)) {
            return false;
        }
        /* Close what ends here; stop before the next value. */
        while (depth > 0 && !opened) {
            bool more;
            if (!an_json_scan_next(s, close[depth - 1], &more)) return false;
            if (more) break;
            depth--;
        }
        if (depth == 0) return true;
        if (close[depth - 1] == '}' &&
            (!an_json_scan_string(s, NULL, &len) || !an_json_scan_char(s, ':')))
            return false;
    }
}

bool an_json_scan_end(an_json_scan *s)
{
    skip_space(s);
    return s->pos == s->size || an_json_scan_fail(s, s->pos, "text behind the end of the object");
}
