/* INI text into entries; lists inside values. */
#include "sweep/ini.h"

#include "base/alloc.h"
#include "base/str.h"
#include "base/utf8.h"
#include "os/file.h"

#include <stdint.h>
#include <string.h>

enum { TEXT_MAX = 1 << 20 };

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The bytes of a line without blanks at its ends. */
static void trim(const char **begin, const char **end)
{
    while (*begin < *end && is_blank(**begin))
        ++*begin;
    while (*end > *begin && is_blank((*end)[-1]))
        --*end;
}

/* Where the comment of a line begins, or `end`: a # or ; at the begin or after a blank, outside quotes. */
static const char *find_comment(const char *begin, const char *end)
{
    bool quoted = false;
    for (const char *p = begin; p < end; p++) {
        if (quoted && *p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (!quoted && (*p == '#' || *p == ';') && (p == begin || is_blank(p[-1])))
            return p;
    }
    return end;
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static anemo_status add_entry(an_ini *ini, const char *section, const char *key, size_t key_len, const char *value,
                              size_t value_len, size_t line, anemo_error *err)
{
    if ((ini->n & (ini->n - 1)) == 0) {
        an_ini_entry *bigger = an_realloc(ini->entries, (ini->n ? 2 * ini->n : 1) * sizeof *bigger);
        if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        ini->entries = bigger;
    }
    an_ini_entry *e = &ini->entries[ini->n++];
    *e = (an_ini_entry){.section = an_strdup(section), .value = an_strndup(value, value_len), .line = line};
    if (key) e->key = an_strndup(key, key_len);
    if (!e->section || !e->value || (key && !e->key)) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    return ANEMO_OK;
}

static bool among(const char *word, const char *const *list)
{
    for (size_t i = 0; list && list[i]; i++)
        if (!strcmp(word, list[i])) return true;
    return false;
}

/* State of the reading: the section that we are in, and all that were. */
typedef struct reading {
    an_ini *ini;
    const char *const *rules;
    char section[64];
    an_str seen; /* "\nname\n…": sections may not come twice */
    bool in_rules;
} reading;

static anemo_status read_section(reading *r, const char *begin, const char *end, size_t line, anemo_error *err)
{
    const char *name = r->ini->name, *close = end - 1;
    size_t len = (size_t)(end - begin);
    if (len < 3 || *close != ']' || len - 2 >= sizeof r->section)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: a section is [name] on a line of its own", name, line);
    for (const char *p = begin + 1; p < close; p++)
        if (!is_key_char(*p))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: a section's name has letters, digits, - and _ only", name,
                           line);
    memcpy(r->section, begin + 1, len - 2);
    r->section[len - 2] = '\0';
    an_str mark = {0};
    an_str_appendf(&mark, "\n%s\n", r->section);
    bool twice = !mark.failed && strstr(an_str_text(&r->seen), mark.data) != NULL;
    if (!twice) an_str_append(&r->seen, an_str_text(&mark));
    anemo_status status = an_str_check(&mark, err);
    an_str_free(&mark);
    if (status == ANEMO_OK) status = an_str_check(&r->seen, err);
    if (status == ANEMO_OK && twice)
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: the section [%s] came before; put its lines together", name,
                         line, r->section);
    r->in_rules = among(r->section, r->rules);
    return status;
}

static anemo_status read_line(reading *r, const char *begin, const char *end, size_t line, anemo_error *err)
{
    const char *name = r->ini->name;
    for (const char *p = begin; p < end; p++)
        if ((unsigned char)*p < 0x20 && *p != '\t')
            return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: a control character (byte %u); plans are plain text", name,
                           line, (unsigned)(unsigned char)*p);
    end = find_comment(begin, end);
    trim(&begin, &end);
    if (begin == end) return ANEMO_OK;
    if (*begin == '[') return read_section(r, begin, end, line, err);
    if (!r->section[0])
        return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: this line stands before any section; begin with [sweep]", name,
                       line);
    if (r->in_rules) return add_entry(r->ini, r->section, NULL, 0, begin, (size_t)(end - begin), line, err);
    const char *key_end = begin;
    while (key_end < end && is_key_char(*key_end))
        key_end++;
    const char *p = key_end;
    while (p < end && is_blank(*p))
        p++;
    if (key_end == begin || p == end || *p != '=')
        return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: expected 'key = value'", name, line);
    const char *value = p + 1;
    trim(&value, &end);
    if (value >= end)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: '%.*s' has no value; give one or remove the line", name, line,
                       key_end - begin < 64 ? (int)(key_end - begin) : 64, begin);
    return add_entry(r->ini, r->section, begin, (size_t)(key_end - begin), value, (size_t)(end - value), line, err);
}

anemo_status an_ini_parse(an_ini *out, const char *text, size_t n, const char *name, const char *const *rules,
                          anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_ini ini = {.name = an_strdup(name)};
    reading r = {.ini = &ini, .rules = rules};
    const char *p = text, *end = text + n;
    if (!ini.name) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    if (n > TEXT_MAX) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: longer than 1 MiB, which no plan is", name);
        goto cleanup;
    }
    if (n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) p += 3;
    for (size_t line = 1; p < end; line++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const char *line_end = stop ? stop : end;
        const char *next = stop ? stop + 1 : end;
        if (line_end > p && line_end[-1] == '\r') line_end--;
        if (an_utf8_valid_prefix(p, (size_t)(line_end - p)) != (size_t)(line_end - p)) {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s:%zu: not UTF-8", name, line);
            goto cleanup;
        }
        AN_TRY(read_line(&r, p, line_end, line, err));
        p = next;
    }
cleanup:
    an_str_free(&r.seen);
    if (status == ANEMO_OK)
        *out = ini;
    else
        an_ini_free(&ini);
    return status;
}

void an_ini_free(an_ini *ini)
{
    for (size_t i = 0; i < ini->n; i++) {
        an_free(ini->entries[i].section);
        an_free(ini->entries[i].key);
        an_free(ini->entries[i].value);
    }
    an_free(ini->entries);
    an_free(ini->name);
    *ini = (an_ini){0};
}

static anemo_status add_item(char ***items, size_t *n, an_str *item, anemo_error *err)
{
    /* Room for a power of two, which holds the items and the NULL at their end. */
    if (*n == 0 || ((*n + 1) & *n) == 0) {
        char **bigger = an_realloc(*items, 2 * (*n + 1) * sizeof *bigger);
        if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        *items = bigger;
        bigger[*n] = NULL;
    }
    char *text = an_str_take(item);
    if (!text) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    (*items)[(*n)++] = text;
    (*items)[*n] = NULL;
    return ANEMO_OK;
}

/* Copy one item up to the separator to `item`, without quotes and blanks at its ends. */
static anemo_status take_item(const char **at, char separator, const char *place, an_str *item, bool *any,
                              anemo_error *err)
{
    const char *p = *at;
    size_t keep = 0; /* what blanks at the end may not be cut from: the end of the last quotes or other character */
    bool quoted = false;
    an_str_append(item, "");
    *any = false;
    for (; *p && (quoted || (*p != separator && !(separator == ' ' && *p == '\t'))); p++) {
        if (*p == '"') {
            quoted = !quoted;
            *any = true;
            keep = item->len;
        } else if (quoted && *p == '\\' && (p[1] == '"' || p[1] == '\\')) {
            an_str_append_char(item, *++p);
            keep = item->len;
        } else if (quoted || !is_blank(*p)) {
            an_str_append_char(item, *p);
            *any = true;
            keep = item->len;
        } else if (*any)
            an_str_append_char(item, *p);
    }
    *at = p;
    if (quoted) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a quote \" without its end", place);
    anemo_status status = an_str_check(item, err);
    if (status != ANEMO_OK) return status;
    item->len = keep;
    item->data[keep] = '\0';
    return ANEMO_OK;
}

anemo_status an_ini_split(const char *value, char separator, const char *place, char ***items, size_t *n,
                          anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **list = NULL;
    size_t count = 0;
    an_str item = {0};
    const char *p = value;
    for (bool more = true; more;) {
        bool any;
        AN_TRY(take_item(&p, separator, place, &item, &any, err));
        more = *p != '\0';
        if (more) p++;
        if (!any && separator != ' ') {
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: an empty item in the list", place);
            goto cleanup;
        }
        if (any) AN_TRY(add_item(&list, &count, &item, err));
        an_str_free(&item);
    }
    *items = list;
    *n = count;
    list = NULL;
cleanup:
    an_str_free(&item);
    an_names_free(list);
    return status;
}
