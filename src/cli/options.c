/* Option tables: parsing and help. */
#include "cli/options.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdio.h>
#include <string.h>

/* Find "--name", "--name=value" or "-x"; *value is set when it stands in the same word. */
static const an_option *find_option(const an_command *cmd, const char *word, const char **value)
{
    bool two = an_str_starts_with(word, "--");
    const char *name = word + (two ? 2 : 1);
    size_t len = strcspn(name, "=");
    *value = name[len] == '=' ? name + len + 1 : NULL;
    for (const an_option *o = cmd->options; o && (o->name || o->short_name); o++) {
        /* One dash takes short names first, then long ones: `-threads` is a common habit from other tools. */
        if (!two && o->short_name && strlen(o->short_name) == len && !memcmp(o->short_name, name, len))
            return o;
        if (o->name && strlen(o->name) == len && !memcmp(o->name, name, len)) return o;
    }
    return NULL;
}

static anemo_status each_add(an_opt_list *list, const char *value, size_t len, anemo_error *err)
{
    char **items = an_realloc(list->items, (list->n + 2) * sizeof *items);
    if (!items) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    list->items = items;
    items[list->n] = an_strndup(value, len);
    if (!items[list->n]) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    items[++list->n] = NULL;
    return ANEMO_OK;
}

static anemo_status list_add(an_opt_list *list, const char *value, const char *word, anemo_error *err)
{
    while (*value) {
        size_t len = strcspn(value, ",");
        if (len == 0)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: an empty item in the list", word);
        anemo_status status = each_add(list, value, len, err);
        if (status != ANEMO_OK) return status;
        value += len;
        if (*value == ',' && *++value == '\0')
            return an_fail(err, ANEMO_ERR_INVAL, "%s: an empty item in the list", word);
    }
    return ANEMO_OK;
}

static anemo_status store_value(const an_option *o, const char *word, const char *value, void *out,
                                anemo_error *err)
{
    void *field = (char *)out + o->offset;
    int64_t i;
    double d;
    switch (o->kind) {
    case AN_OPT_FLAG: *(bool *)field = true; return ANEMO_OK;
    case AN_OPT_STR: *(const char **)field = value; return ANEMO_OK;
    case AN_OPT_MAYBE: *(const char **)field = value ? value : ""; return ANEMO_OK;
    case AN_OPT_I64:
        if (!an_parse_i64(value, &i) || (double)i < o->min || (double)i > o->max)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: '%s' is not a whole number from %.0f to %.0f", word,
                           value, o->min, o->max);
        *(int64_t *)field = i;
        return ANEMO_OK;
    case AN_OPT_F64:
        if (!an_parse_f64(value, &d) || d < o->min || d > o->max)
            return an_fail(err, ANEMO_ERR_INVAL, "%s: '%s' is not a number from %g to %g", word, value,
                           o->min, o->max);
        *(double *)field = d;
        return ANEMO_OK;
    case AN_OPT_LIST:
        if (!*value) return an_fail(err, ANEMO_ERR_INVAL, "%s: the list is empty", word);
        return list_add(field, value, word, err);
    case AN_OPT_EACH: return each_add(field, value, strlen(value), err);
    }
    return ANEMO_OK;
}

anemo_status an_options_parse(const an_command *cmd, int argc, char **argv, void *out,
                              an_positional *pos, bool *help, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool options = true;
    *help = false;
    *pos = (an_positional){0};
    pos->items = an_calloc((size_t)argc + 1, sizeof *pos->items);
    if (!pos->items) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!options || word[0] != '-' || word[1] == '\0') {
            pos->items[pos->n++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            options = false;
            continue;
        }
        if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
            *help = true;
            an_options_print_help(cmd);
            break;
        }
        const char *value;
        const an_option *o = find_option(cmd, word, &value);
        if (!o) {
            status = an_fail(err, ANEMO_ERR_INVAL,
                             "unknown option '%s'; 'anemo %s --help' lists them", word, cmd->name);
            goto cleanup;
        }
        if (o->kind == AN_OPT_FLAG && value) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s takes no value", word);
            goto cleanup;
        }
        if (o->kind != AN_OPT_FLAG && o->kind != AN_OPT_MAYBE && !value) {
            if (i + 1 >= argc) {
                status = an_fail(err, ANEMO_ERR_INVAL, "%s needs a value (%s)", word,
                                 o->arg ? o->arg : "…");
                goto cleanup;
            }
            value = argv[++i];
        }
        AN_TRY(store_value(o, word, value, out, err));
    }
cleanup:
    if (status != ANEMO_OK) an_options_free(cmd, out, pos);
    return status;
}

void an_options_free(const an_command *cmd, void *out, an_positional *pos)
{
    for (const an_option *o = cmd->options; o && (o->name || o->short_name); o++) {
        if (o->kind != AN_OPT_LIST && o->kind != AN_OPT_EACH) continue;
        an_opt_list *list = (an_opt_list *)((char *)out + o->offset);
        for (size_t i = 0; i < list->n; i++) an_free(list->items[i]);
        an_free(list->items);
        *list = (an_opt_list){0};
    }
    an_free(pos->items);
    *pos = (an_positional){0};
}

void an_options_print_help(const an_command *cmd)
{
    printf("Usage: anemo %s%s%s [options]\n\n%s\n", cmd->name, cmd->args[0] ? " " : "", cmd->args,
           cmd->summary);
    printf("\nOptions:\n");
    for (const an_option *o = cmd->options; o && (o->name || o->short_name); o++) {
        char left[64];
        int n = snprintf(left, sizeof left, "  %s%s%s%s%s", o->short_name ? "-" : "",
                         o->short_name ? o->short_name : "", o->short_name && o->name ? ", " : "",
                         o->name ? "--" : "", o->name ? o->name : "");
        if (o->arg && n > 0 && (size_t)n < sizeof left)
            snprintf(left + n, sizeof left - (size_t)n, o->kind == AN_OPT_MAYBE ? "[=%s]" : " %s", o->arg);
        /* An ellipsis has three bytes and one column. */
        int wide = 28;
        for (const char *p = left; *p; p++) wide += ((unsigned char)*p & 0xC0) == 0x80;
        printf("%-*s %s\n", wide, left, o->help);
    }
    printf("%-28s %s\n", "  -h, --help", "Print this and stop");
    if (cmd->details) printf("\n%s\n", cmd->details);
}

int an_cli_fail(const char *verb, const anemo_error *err)
{
    fprintf(stderr, "anemo %s: %s\n", verb, err->message);
    return anemo_status_exit_code(err->status);
}
