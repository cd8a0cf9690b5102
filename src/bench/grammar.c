/* Lists, ranges, pairs and masks of the command line. */
#include "bench/grammar.h"

#include "base/alloc.h"

#include <stdbool.h>
#include <string.h>

static const char GRAMMAR[] = "a number, or first-last, first-last+step, first-last*factor, and lists of these with commas";

void an_ints_free(an_ints *list)
{
    an_free(list->v);
    *list = (an_ints){0};
}

anemo_status an_ints_push(an_ints *list, int value, anemo_error *err)
{
    /* Grown by doubling: capacity is the power of two at or above n. */
    if ((list->n & (list->n - 1)) == 0) {
        int *v = an_realloc(list->v, (list->n ? 2 * list->n : 1) * sizeof *v);
        if (!v) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        list->v = v;
    }
    list->v[list->n++] = value;
    return ANEMO_OK;
}

/* Digits at *p; false when there are none or too many. Moves *p behind them. */
static bool take_number(const char **p, int64_t *out)
{
    int64_t v = 0;
    const char *s = *p;
    while (*s >= '0' && *s <= '9') {
        v = v * 10 + (*s++ - '0');
        if (v > INT32_MAX) return false;
    }
    if (s == *p) return false;
    *p = s;
    *out = v;
    return true;
}

/* What stands between two commas. */
typedef struct range {
    int64_t first, last, step;
    bool factor;
} range;

static bool take_range(const char **p, range *r)
{
    bool negative = **p == '-';
    *p += negative;
    if (!take_number(p, &r->first)) return false;
    if (negative) r->first = -r->first;
    r->last = r->first;
    r->step = 1;
    r->factor = false;
    if (**p != '-') return true;
    if (negative) return false;
    ++*p;
    if (!take_number(p, &r->last)) return false;
    if (**p != '+' && **p != '*') return true;
    r->factor = **p == '*';
    ++*p;
    return take_number(p, &r->step);
}

static anemo_status add_range(const char *option, const char *part, int len, const range *r, int min, int max,
                              an_ints *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (r->first < min || r->last < min || r->first > max || r->last > max)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.*s' goes beyond %d to %d", option, len, part, min, max);
    if (r->last < r->first)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.*s' ends before it begins", option, len, part);
    if (r->last > r->first && (r->step < (r->factor ? 2 : 1) || (r->factor && r->first == 0)))
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.*s' never reaches its end", option, len, part);
    for (int64_t v = r->first; v <= r->last; v = r->factor ? v * r->step : v + r->step) {
        if (list->n >= AN_GRAMMAR_VALUES_MAX) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: more than %d values", option, (int)AN_GRAMMAR_VALUES_MAX);
            goto cleanup;
        }
        AN_TRY(an_ints_push(list, (int)v, err));
        if (r->first == r->last) break;
    }
cleanup:
    return status;
}

anemo_status an_grammar_ints(const char *option, const char *text, int min, int max, an_ints *list, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (const char *p = text;; p++) {
        const char *part = p;
        int len = (int)strcspn(part, ",");
        range r;
        if (!take_range(&p, &r) || (*p != ',' && *p != '\0')) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: '%.*s' is not what it takes: %s", option, len > 40 ? 40 : len,
                             part, GRAMMAR);
            goto cleanup;
        }
        AN_TRY(add_range(option, part, len > 40 ? 40 : len, &r, min, max, list, err));
        if (*p == '\0') break;
    }
cleanup:
    return status;
}

anemo_status an_grammar_pair(const char *option, const char *text, int max, int pair[2], anemo_error *err)
{
    const char *p = text;
    int64_t a, b;
    if (!take_number(&p, &a) || *p++ != ',' || !take_number(&p, &b) || *p != '\0')
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s' is not two whole numbers with a comma between, such as 512,128",
                       option, text);
    if (a > max || b > max || a + b == 0)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s': both lie between 0 and %d, and one is above 0", option, text,
                       max);
    pair[0] = (int)a;
    pair[1] = (int)b;
    return ANEMO_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

anemo_status an_grammar_cpu_mask(const char *option, const char *text, uint8_t mask[AN_CPU_MASK_BYTES], int *n_cpu,
                                 anemo_error *err)
{
    const char *digits = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? text + 2 : text;
    size_t n = strlen(digits);
    memset(mask, 0, AN_CPU_MASK_BYTES);
    *n_cpu = 0;
    if (n == 0 || n > 2 * (size_t)AN_CPU_MASK_BYTES)
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s' is not a hexadecimal mask such as 0x3, of at most %d CPUs",
                       option, text, 8 * (int)AN_CPU_MASK_BYTES);
    for (size_t i = 0; i < n; i++) {
        int d = hex_digit(digits[n - 1 - i]);
        if (d < 0)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s' is not a hexadecimal mask such as 0x3", option, text);
        mask[i / 2] = (uint8_t)(mask[i / 2] | d << 4 * (i % 2));
        for (int bit = 0; bit < 4; bit++) *n_cpu += d >> bit & 1;
    }
    return ANEMO_OK;
}
