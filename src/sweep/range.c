/* Numbers in llama-bench's grammar. */
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "os/file.h"
#include "sweep/ini.h"

#include <inttypes.h>
#include <string.h>

/* "first", "first-last", "first-last+step", "first-last*factor" from text, which may begin with a sign. */
typedef struct range {
    int64_t first, last, by;
    bool times;
} range;

/* Cut a number off text: *end behind it. */
static bool take_number(const char *text, const char **end, int64_t *out)
{
    char digits[24];
    size_t n = text[0] == '-' ? 1 : 0;
    while (text[n] >= '0' && text[n] <= '9') n++;
    if (n == 0 || n >= sizeof digits) return false;
    memcpy(digits, text, n);
    digits[n] = '\0';
    *end = text + n;
    return an_parse_i64(digits, out);
}

static bool read_range(const char *text, range *r)
{
    const char *p;
    *r = (range){.by = 1};
    if (!take_number(text, &p, &r->first)) return false;
    r->last = r->first;
    if (*p == '\0') return true;
    if (*p != '-' || !take_number(p + 1, &p, &r->last)) return false;
    if (*p == '\0') return true;
    r->times = *p == '*';
    return (*p == '+' || *p == '*') && take_number(p + 1, &p, &r->by) && *p == '\0';
}

static anemo_status add_range(const range *r, int64_t **list, size_t *n, const char *place, anemo_error *err)
{
    for (int64_t v = r->first; v <= r->last;) {
        if (*n == AN_PLAN_LIST_MAX) return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d values", place, AN_PLAN_LIST_MAX);
        if ((*n & (*n - 1)) == 0) {
            int64_t *bigger = an_realloc(*list, (*n ? 2 * *n : 1) * sizeof *bigger);
            if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
            *list = bigger;
        }
        (*list)[(*n)++] = v;
        bool over = r->times ? __builtin_mul_overflow(v, r->by, &v) : __builtin_add_overflow(v, r->by, &v);
        if (over) break;
    }
    return ANEMO_OK;
}

anemo_status an_range_expand(const char *text, const char *place, int64_t min, int64_t max, int64_t **numbers, size_t *n,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **items = NULL;
    size_t n_item = 0, count = 0;
    int64_t *list = NULL;
    AN_TRY(an_ini_split(text, ',', place, &items, &n_item, err));
    for (size_t i = 0; i < n_item; i++) {
        range r;
        if (!read_range(items[i], &r)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is neither a number nor a range such as 1-8, 128-512+128 or 1-16*2",
                             place, items[i]);
            goto cleanup;
        }
        if (r.first < min || r.last > max || r.last < r.first || r.by < 1 || (r.times && (r.by < 2 || r.first < 1))) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is outside %" PRId64 " to %" PRId64 ", goes down or stands still", place,
                             items[i], min, max);
            goto cleanup;
        }
        AN_TRY(add_range(&r, &list, &count, place, err));
    }
    *numbers = list;
    *n = count;
    list = NULL;
cleanup:
    an_free(list);
    an_names_free(items);
    return status;
}
