/* Rules of tensor types: compiled once, searched in each name with a limit on the steps. */
#include "convert/tensor_types.h"

#include "base/alloc.h"
#include "base/str.h"
#include "quant/encode.h"

#include <string.h>
#include <strings.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { MATCH_STEPS = 100000 };

typedef struct rule {
    char *text; /* as given */
    pcre2_code *pattern;
    an_dtype type;
} rule;

struct an_tensor_types {
    rule *rules;
    size_t n;
    pcre2_match_context *limits;
    pcre2_match_data *match;
};

anemo_status an_tensor_type_find(const char *name, an_dtype *type, anemo_error *err)
{
    an_str list = {0};
    for (int t = 0; t < AN_DTYPE_N; t++) {
        if (!an_encode_can((an_dtype)t)) continue;
        const char *known = an_dtype_get((an_dtype)t)->name;
        if (!strcasecmp(known, name)) {
            *type = (an_dtype)t;
            an_str_free(&list);
            return ANEMO_OK;
        }
        an_str_appendf(&list, "%s%s", list.len ? " " : "", known);
    }
    anemo_status status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is no type of a tensor; there are %s", name, an_str_text(&list));
    an_str_free(&list);
    return status;
}

static anemo_status compile(rule *r, const char *equals, anemo_error *err)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR reason[120];
    char *pattern = an_strndup(r->text, (size_t)(equals - r->text));
    if (!pattern) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (char *p = pattern; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
    r->pattern = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NO_UTF_CHECK, &code, &at, NULL);
    an_free(pattern);
    if (r->pattern) return ANEMO_OK;
    pcre2_get_error_message(code, reason, sizeof reason);
    return an_fail(err, ANEMO_ERR_INVAL, "'%s': the pattern is no regular expression: %s at character %zu", r->text,
                   (const char *)reason, (size_t)at);
}

anemo_status an_tensor_types_make(an_tensor_types **out, const char *const *rules, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_tensor_types *t = an_calloc(1, sizeof *t);
    if (t) {
        t->rules = an_calloc(n ? n : 1, sizeof *t->rules);
        t->limits = pcre2_match_context_create(NULL);
        t->match = pcre2_match_data_create(1, NULL);
    }
    if (!t || !t->rules || !t->limits || !t->match) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    pcre2_set_match_limit(t->limits, MATCH_STEPS);
    for (size_t i = 0; i < n; i++) {
        rule *r = &t->rules[t->n++];
        r->text = an_strdup(rules[i]);
        if (!r->text) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            goto cleanup;
        }
        const char *equals = strchr(r->text, '=');
        if (!equals || equals == r->text || !equals[1]) {
            status = an_fail(err, ANEMO_ERR_INVAL, "'%s' is not PATTERN=TYPE", r->text);
            goto cleanup;
        }
        AN_TRY(an_tensor_type_find(equals + 1, &r->type, err));
        AN_TRY(compile(r, equals, err));
    }
    *out = t;
cleanup:
    if (status != ANEMO_OK) an_tensor_types_free(t);
    return status;
}

void an_tensor_types_free(an_tensor_types *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->n; i++) {
        an_free(t->rules[i].text);
        pcre2_code_free(t->rules[i].pattern);
    }
    pcre2_match_data_free(t->match);
    pcre2_match_context_free(t->limits);
    an_free(t->rules);
    an_free(t);
}

anemo_status an_tensor_types_find(const an_tensor_types *t, const char *name, bool *found, an_dtype *type, anemo_error *err)
{
    *found = false;
    for (size_t i = 0; i < t->n; i++) {
        int n = pcre2_match(t->rules[i].pattern, (PCRE2_SPTR)name, PCRE2_ZERO_TERMINATED, 0, 0, t->match, t->limits);
        if (n == PCRE2_ERROR_NOMATCH) continue;
        if (n < 0)
            return an_fail(err, ANEMO_ERR_INVAL, "'%s': the search in %s takes too many steps; write a simpler pattern",
                           t->rules[i].text, name);
        *found = true;
        *type = t->rules[i].type;
        return ANEMO_OK;
    }
    return ANEMO_OK;
}
