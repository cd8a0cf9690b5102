/* Arguments that several verbs share. */
#include "cli/arguments.h"

#include "arch/model_file.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "hub/hub.h"
#include "os/file.h"
#include "os/terminal.h"

#include <errno.h>
#include <math.h>
#include <string.h>

const char *const an_cli_kv_types[] = {"f16", "f32", "bf16", "q8_0", NULL};
const char *const an_cli_layouts[] = {"auto", "mapped", "repacked", "cached", NULL};
const char *const an_cli_tristates[] = {"auto", "on", "off", NULL};
const char *const an_cli_compute_types[] = {"auto", "f32", "f16", "bf16", "q8", "q8+bf16", NULL};
const char *const an_cli_devices[] = {"auto", "cpu", "gpu", NULL};

anemo_status an_cli_read_ids(const char *option, const char *text, int32_t **ids, size_t *n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *content = NULL;
    size_t len = 0;
    json_t *doc = NULL;
    an_str list = {0};
    const char *name = option;
    *ids = NULL;
    /* What is neither a file nor a list is taken for the name of a file that is not there. */
    if (an_path_probe(text) == AN_PATH_FILE || text[strspn(text, "0123456789,- ")] != '\0') {
        name = text;
        AN_TRY(an_file_read(text, 64u << 20, &content, &len, err));
    } else {
        an_str_appendf(&list, "[%s]", text);
        AN_TRY(an_str_check(&list, err));
        len = list.len;
        content = an_str_take(&list);
    }
    AN_TRY(an_json_parse(&doc, content, len, name, err));
    const json_t *array = json_is_object(doc) ? json_object_get(doc, "ids") : doc;
    size_t count = json_array_size(array);
    *ids = an_calloc(count + 1, sizeof **ids);
    if (!*ids) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *v = json_array_get(array, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX) {
            status = an_fail(err, ANEMO_ERR_INVAL, "%s: item %zu is not a token id", name, i);
            goto cleanup;
        }
        (*ids)[i] = (int32_t)json_integer_value(v);
    }
    if (count == 0) status = an_fail(err, ANEMO_ERR_INVAL, "%s: no ids", name);
    *n = count;
cleanup:
    json_decref(doc);
    an_str_free(&list);
    an_free(content);
    if (status != ANEMO_OK) {
        an_free(*ids);
        *ids = NULL;
        if (status == ANEMO_ERR_FORMAT && err) err->status = status = ANEMO_ERR_INVAL;
    }
    return status;
}

/* Seconds in a unit's letter; 0 for another letter. */
static double unit_seconds(char unit)
{
    return unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
}

anemo_status an_cli_read_duration(const char *option, const char *text, uint64_t *ns, anemo_error *err)
{
    static const double limit_s = 3600000;
    double total = 0, last_unit = INFINITY;
    const char *p = text;
    bool good = *p != '\0';
    while (good && *p) {
        char digits[24];
        size_t len = strspn(p, "0123456789.");
        double value = 0, unit = p[len] ? unit_seconds(p[len]) : 1;
        good = len > 0 && len < sizeof digits && unit > 0 && unit < last_unit && (p[len] || p == text);
        if (!good) break;
        memcpy(digits, p, len);
        digits[len] = '\0';
        good = an_parse_f64(digits, &value);
        total += value * unit;
        last_unit = unit;
        p += len + (p[len] != '\0');
    }
    if (!good || !(total > 0 && total <= limit_s))
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s' is no length of time; write 90s, 10m, 1h or 1h30m, at most 1000h", option,
                       text);
    *ns = (uint64_t)(total * 1e9);
    return ANEMO_OK;
}

anemo_status an_cli_read_ints(const char *option, const an_opt_list *list, int min, int max, int **out, anemo_error *err)
{
    *out = NULL;
    if (list->n == 0) return ANEMO_OK;
    int *values = an_calloc(list->n, sizeof *values);
    if (!values) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < list->n; i++) {
        int64_t v;
        if (an_parse_i64(list->items[i], &v) && v >= min && v <= max) {
            values[i] = (int)v;
            continue;
        }
        an_free(values);
        return an_fail(err, ANEMO_ERR_INVAL, "%s: '%.40s' is not a whole number from %d to %d", option, list->items[i], min, max);
    }
    *out = values;
    return ANEMO_OK;
}

anemo_status an_cli_one_of(const char *option, const char *value, const char *const *allowed, anemo_error *err)
{
    an_str list = {0};
    for (size_t i = 0; allowed[i]; i++) {
        if (strcmp(value, allowed[i]) == 0) {
            an_str_free(&list);
            return ANEMO_OK;
        }
        an_str_appendf(&list, "%s%s", i ? ", " : "", allowed[i]);
    }
    anemo_status status = an_fail(err, ANEMO_ERR_INVAL, "%s: '%s' is none of %s", option, value, an_str_text(&list));
    an_str_free(&list);
    return status;
}

anemo_status an_cli_engine_for(const char *name, const char *path, const an_engine_info **engine, anemo_error *err)
{
    an_container container;
    const an_engine_info *e = an_engine_find(name);
    if (!e) return an_fail(err, ANEMO_ERR_INVAL, "unknown engine '%s'; 'anemo doctor' lists them", name);
    anemo_status status = an_model_probe(path, &container, err);
    if (status != ANEMO_OK) return status;
    if (!an_engine_reads(e, container))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: %s does not read %s", path, name,
                       container == AN_CONTAINER_GGUF ? "GGUF files" : "MLX directories");
    *engine = e;
    return ANEMO_OK;
}

anemo_status an_cli_model_path(const char *name, char **path, anemo_error *err)
{
    anemo_error hub = {0};
    anemo_status status = an_model_resolve(name, path, err);
    if (status != ANEMO_ERR_NOTFOUND || name[0] == '\0') return status;
    anemo_status found = an_hub_find_cached(name, path, &hub);
    if (found == ANEMO_OK) return ANEMO_OK;
    /* What looks like a file, or like a model's plain name, was not meant for the hub. */
    bool plain = !strpbrk(name, "/:") || (an_str_ends_with(name, ".gguf") && !an_str_starts_with(name, "hf"));
    if (plain || (found == ANEMO_ERR_INVAL && strchr(hub.message, '\'') == hub.message)) return status;
    if (err) *err = hub;
    return found;
}

anemo_status an_cli_draft(const char *value, char **draft, anemo_error *err)
{
    *draft = NULL;
    if (!value) return ANEMO_OK;
    if (strcmp(value, "ngram") != 0) return an_cli_model_path(value, draft, err);
    *draft = an_strdup(value);
    return *draft ? ANEMO_OK : an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

anemo_status an_cli_print_json(json_t *value, size_t flags, anemo_error *err)
{
    an_str text = {0};
    anemo_status status = an_json_write(value, flags, &text, err);
    an_str_append_char(&text, '\n');
    if (status == ANEMO_OK) status = an_str_check(&text, err);
    if (status == ANEMO_OK && (fwrite(text.data, 1, text.len, stdout) != text.len || fflush(stdout) != 0))
        status = an_fail(err, ANEMO_ERR_IO, "stdout cannot be written: %s", strerror(errno));
    an_str_free(&text);
    return status;
}

void an_cli_show_progress(void *ctx, const char *what)
{
    an_progress_line(ctx, what);
}

void an_cli_show_weights(void *ctx, uint64_t done, uint64_t total)
{
    char line[80];
    snprintf(line, sizeof line, "weights: %3.0f %% of %.1f MB", 100.0 * (double)done / (double)(total ? total : 1),
             (double)total / 1e6);
    an_progress_line(ctx, line);
}

anemo_status an_cli_use_layout(const an_cli_layout *l, an_settings *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (l->layout) AN_TRY(an_cli_one_of("--layout", l->layout, an_cli_layouts, err));
    if (l->cache_dir && l->layout && strcmp(l->layout, "cached") != 0)
        return an_fail(err, ANEMO_ERR_INVAL, "--cache-layout and --layout %s exclude each other", l->layout);
    s->layout = l->cache_dir ? "cached" : l->layout ? l->layout : "auto";
    s->layout_dir = l->cache_dir && *l->cache_dir ? l->cache_dir : NULL;
    s->pin = l->pin;
cleanup:
    return status;
}
