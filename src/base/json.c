/* The thin layer over jansson. */
#include "base/json.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

/*
 * jansson 2.14 asserts or frees twice when memory is refused in the middle of a string. So a refusal gives it a piece of
 * this reserve, and the parse stops at the next read. What the reserve gave is never given again.
 */
enum { RESERVE_BYTES = 1 << 16, RESERVE_ALIGNMENT = 16 };
static _Alignas(RESERVE_ALIGNMENT) unsigned char reserve[RESERVE_BYTES];
static atomic_size_t reserve_used;

/* A refusal that nothing has reported yet. */
static atomic_bool refused;

static void *watched_malloc(size_t n)
{
    void *p = an_malloc(n);
    if (p) return p;
    atomic_store(&refused, true);
    if (n > RESERVE_BYTES) return NULL;
    size_t bytes = (n + RESERVE_ALIGNMENT - 1) / RESERVE_ALIGNMENT * RESERVE_ALIGNMENT;
    size_t at = atomic_fetch_add(&reserve_used, bytes);
    if (at + bytes <= RESERVE_BYTES) return reserve + at;
    atomic_fetch_sub(&reserve_used, bytes);
    return NULL;
}

static void watched_free(void *p)
{
    uintptr_t at = (uintptr_t)p, begin = (uintptr_t)reserve;
    if (at < begin || at >= begin + RESERVE_BYTES) an_free(p);
}

void an_json_watch_memory(void)
{
    json_set_alloc_funcs(watched_malloc, watched_free);
}

typedef struct feed_text {
    const char *text;
    size_t left;
} feed_text;

/* jansson's input: at most `cap` bytes of the text, 0 at its end. */
static size_t feed(void *out, size_t cap, void *data)
{
    feed_text *f = data;
    size_t n = f->left < cap ? f->left : cap;
    if (atomic_load(&refused)) return (size_t)-1;
    memcpy(out, f->text, n);
    f->text += n;
    f->left -= n;
    return n;
}

static int append_text(const char *text, size_t n, void *out)
{
    an_str_append_bytes(out, text, n);
    return 0;
}

anemo_status an_json_write(json_t *value, size_t flags, an_str *out, anemo_error *err)
{
    bool failed = !value || json_dump_callback(value, append_text, out, flags) != 0;
    json_decref(value);
    if (atomic_exchange(&refused, false) || failed || out->failed)
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for JSON");
    return ANEMO_OK;
}

anemo_status an_json_parse(json_t **out, const char *text, size_t n, const char *name,
                           anemo_error *err)
{
    return an_json_parse_flags(out, text, n, JSON_DECODE_ANY, name, err);
}

anemo_status an_json_parse_flags(json_t **out, const char *text, size_t n, size_t flags,
                                 const char *name, anemo_error *err)
{
    json_error_t je;
    feed_text f = {text, n};
    bool before = atomic_exchange(&refused, false); /* of a document that is being built */
    json_t *v = json_load_callback(feed, &f, flags | JSON_REJECT_DUPLICATES, &je);
    /* What memory cut short may look like a syntax error, or like a whole value. */
    if (atomic_exchange(&refused, before) || (!v && json_error_code(&je) == json_error_out_of_memory)) {
        json_decref(v);
        return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory while reading JSON", name);
    }
    if (!v)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: not valid JSON at line %d, byte %d: %s", name,
                       je.line, je.position, je.text);
    *out = v;
    return ANEMO_OK;
}

static const char *type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "an array";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a real number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "something else";
}

anemo_status an_json_get_i64(const json_t *obj, const char *key, int64_t def, int64_t min,
                             int64_t max, int64_t *out, const char *name, anemo_error *err)
{
    const json_t *v = json_object_get(obj, key);
    int64_t n = def;
    if (v && !json_is_null(v)) {
        if (!json_is_integer(v))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" must be an integer, it is %s", name,
                           key, type_name(v));
        n = json_integer_value(v);
        if (n < min || n > max)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: \"%s\" is %" PRId64 ", expected %" PRId64 " to %" PRId64, name, key,
                           n, min, max);
    }
    *out = n;
    return ANEMO_OK;
}

anemo_status an_json_get_f64(const json_t *obj, const char *key, double def, double *out,
                             const char *name, anemo_error *err)
{
    const json_t *v = json_object_get(obj, key);
    double n = def;
    if (v && !json_is_null(v)) {
        if (!json_is_number(v))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" must be a number, it is %s", name,
                           key, type_name(v));
        n = json_number_value(v);
    }
    *out = n;
    return ANEMO_OK;
}

anemo_status an_json_get_bool(const json_t *obj, const char *key, bool def, bool *out,
                              const char *name, anemo_error *err)
{
    const json_t *v = json_object_get(obj, key);
    bool b = def;
    if (v && !json_is_null(v)) {
        if (!json_is_boolean(v))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" must be true or false, it is %s",
                           name, key, type_name(v));
        b = json_is_true(v);
    }
    *out = b;
    return ANEMO_OK;
}

anemo_status an_json_get_str(const json_t *obj, const char *key, const char *def, const char **out,
                             const char *name, anemo_error *err)
{
    const json_t *v = json_object_get(obj, key);
    const char *s = def;
    if (v && !json_is_null(v)) {
        if (!json_is_string(v))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: \"%s\" must be a string, it is %s", name,
                           key, type_name(v));
        s = json_string_value(v);
    }
    *out = s;
    return ANEMO_OK;
}

json_t *an_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *an_json_text(const char *bytes, size_t n)
{
    if (an_utf8_valid_prefix(bytes, n) == n) return json_stringn(bytes, n);
    an_str s = {0};
    size_t i = 0;
    while (i < n) {
        size_t ok = an_utf8_valid_prefix(bytes + i, n - i);
        an_str_append_bytes(&s, bytes + i, ok);
        i += ok;
        if (i < n) {
            an_str_append(&s, "\xEF\xBF\xBD");
            i++;
        }
    }
    json_t *v = s.failed ? an_json_str(&s) : json_stringn(s.data, s.len);
    an_str_free(&s);
    return v;
}

json_t *an_json_str(const an_str *s)
{
    if (!s->failed) return an_json_text(an_str_text(s), s->len);
    atomic_store(&refused, true);
    return NULL;
}
