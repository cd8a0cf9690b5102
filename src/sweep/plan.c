/* The plan file's keys and what each may hold. */
#include "sweep/plan.h"

#include "sweep/ini.h"
#include "sweep/sweep_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "bench/grammar.h"
#include "drivers/driver.h"
#include "os/file.h"
#include "store/store.h"

#include <inttypes.h>
#include <string.h>

static const char *const works[] = {"generate", "step", NULL};
static const char *const tristates[] = {"auto", "on", "off", NULL};
static const char *const switches[] = {"on", "off", NULL};
static const char *const kv_types[] = {"f16", "f32", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1", NULL};
static const char *const computes[] = {"auto", "f32", "f16", "bf16", "q8", "q8+bf16", NULL};
static const char *const devices[] = {"auto", "cpu", "gpu", NULL};

/* `plan` is the key in [sweep], `rule` the one in rules (where the plan's is understood as well). */
typedef struct axis_def {
    const char *plan, *rule;
    bool number;
    int64_t min, max;
    const char *def;          /* NULL: none */
    const char *const *words; /* NULL: any */
} axis_def;

static const axis_def axes[AN_AXIS_N] = {
    [AN_AXIS_ENGINE] = {"engines", "engine", false, 0, 0, NULL, NULL},
    [AN_AXIS_MODEL] = {"models", "model", false, 0, 0, NULL, NULL},
    [AN_AXIS_QUANT] = {"quantizations", "quant", false, 0, 0, NULL, NULL},
    [AN_AXIS_WORK] = {"work", "work", false, 0, 0, "generate", works},
    [AN_AXIS_N_PROMPT] = {"n_prompt", "n_prompt", true, 0, 1 << 24, "512", NULL},
    [AN_AXIS_N_GEN] = {"n_gen", "n_gen", true, 0, 1 << 24, "128", NULL},
    [AN_AXIS_N_DEPTH] = {"n_depth", "n_depth", true, 0, 1 << 24, "0", NULL},
    [AN_AXIS_THREADS] = {"threads", "threads", true, 1, 1024, NULL, NULL},
    [AN_AXIS_N_BATCH] = {"n_batch", "n_batch", true, 1, 65536, "512", NULL},
    [AN_AXIS_N_UBATCH] = {"n_ubatch", "n_ubatch", true, 1, 65536, "512", NULL},
    [AN_AXIS_KV] = {"kv", "kv", false, 0, 0, "f16", kv_types},
    [AN_AXIS_FLASH_ATTN] = {"flash_attn", "flash_attn", false, 0, 0, "auto", tristates},
    [AN_AXIS_COMPUTE] = {"compute", "compute", false, 0, 0, "auto", computes},
    [AN_AXIS_DEVICE] = {"device", "device", false, 0, 0, "auto", devices},
    [AN_AXIS_GPU_LAYERS] = {"n_gpu_layers", "n_gpu_layers", true, -1, 1 << 20, "-1", NULL},
};

bool an_axis_is_number(an_axis axis)
{
    return axes[axis].number;
}

const char *an_axis_name(an_axis axis)
{
    return axes[axis].rule;
}

const char *an_axis_word(an_axis axis, const char *text)
{
    for (size_t i = 0; text && axes[axis].words && axes[axis].words[i]; i++)
        if (!strcmp(axes[axis].words[i], text)) return axes[axis].words[i];
    return NULL;
}

static anemo_status no_memory(anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
}

static void free_values(an_axis_values *v)
{
    an_names_free(v->texts);
    an_free(v->numbers);
    *v = (an_axis_values){0};
}

static void append_words(an_str *out, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        an_str_appendf(out, "%s%s", i ? ", " : "", words[i]);
}

/* "…: 'value' is none of a, b, c". */
static anemo_status fail_words(const char *place, const char *value, const char *const *words, anemo_error *err)
{
    an_str list = {0};
    append_words(&list, words);
    anemo_status status =
        an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is none of %s", place, value, an_str_text(&list));
    an_str_free(&list);
    return status;
}

static bool is_word(const char *value, const char *const *words)
{
    for (size_t i = 0; words[i]; i++)
        if (!strcmp(value, words[i])) return true;
    return false;
}

static anemo_status check_engine(const char *place, const char *value, anemo_error *err)
{
    const char *names[32] = {0};
    for (size_t i = 0; i < an_engine_n() && i + 1 < AN_COUNT_OF(names); i++)
        names[i] = an_engine_at(i)->name;
    return is_word(value, names) ? ANEMO_OK : fail_words(place, value, names, err);
}

/* Take out what stands twice; the first one stays. */
static void remove_doubles(an_axis_values *v)
{
    size_t kept = 0;
    for (size_t i = 0; i < v->n; i++) {
        bool twice = false;
        for (size_t k = 0; k < kept && !twice; k++)
            twice = v->texts ? !strcmp(v->texts[k], v->texts[i]) : v->numbers[k] == v->numbers[i];
        if (twice) {
            if (v->texts) an_free(v->texts[i]);
        } else if (v->texts)
            v->texts[kept++] = v->texts[i];
        else
            v->numbers[kept++] = v->numbers[i];
    }
    if (v->texts) v->texts[kept] = NULL;
    v->n = kept;
}

/* llama-bench's lists, with blanks around the commas as everywhere in a plan. */
static anemo_status read_numbers(const axis_def *def, const char *value, const char *place, an_axis_values *out,
                                 anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **items = NULL;
    size_t n = 0;
    an_ints list = {0};
    AN_TRY(an_ini_split(value, ',', place, &items, &n, err));
    for (size_t i = 0; i < n; i++) {
        status = an_grammar_ints(place, items[i], (int)def->min, (int)def->max, &list, err);
        if (status == ANEMO_ERR_INVAL && err) err->status = ANEMO_ERR_FORMAT;
        if (status == ANEMO_ERR_INVAL) status = ANEMO_ERR_FORMAT;
        if (status != ANEMO_OK) goto cleanup;
    }
    out->numbers = an_calloc(list.n, sizeof *out->numbers);
    if (!out->numbers) {
        status = no_memory(err);
        goto cleanup;
    }
    for (size_t i = 0; i < list.n; i++)
        out->numbers[i] = list.v[i];
    out->n = list.n;
cleanup:
    an_ints_free(&list);
    an_names_free(items);
    return status;
}

anemo_status an_axis_read(an_axis axis, const char *value, const char *place, bool pattern, an_axis_values *out,
                          anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const axis_def *def = &axes[axis];
    an_axis_values v = {0};
    if (def->number) {
        AN_TRY(read_numbers(def, value, place, &v, err));
    } else
        AN_TRY(an_ini_split(value, ',', place, &v.texts, &v.n, err));
    if (v.n > AN_PLAN_LIST_MAX) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: %zu values; at most %d make a list", place, v.n, AN_PLAN_LIST_MAX);
        goto cleanup;
    }
    for (size_t i = 0; v.texts && i < v.n; i++) {
        if (pattern && strpbrk(v.texts[i], "*?")) continue;
        if (axis == AN_AXIS_ENGINE) AN_TRY(check_engine(place, v.texts[i], err));
        if (def->words && !is_word(v.texts[i], def->words)) {
            status = fail_words(place, v.texts[i], def->words, err);
            goto cleanup;
        }
    }
    remove_doubles(&v);
    *out = v;
    v = (an_axis_values){0};
cleanup:
    free_values(&v);
    return status;
}

bool an_axis_find(const char *name, size_t len, an_axis *out)
{
    for (an_axis a = 0; a < AN_AXIS_N; a++) {
        bool plan = strlen(axes[a].plan) == len && !memcmp(axes[a].plan, name, len);
        bool rule = strlen(axes[a].rule) == len && !memcmp(axes[a].rule, name, len);
        if (!plan && !rule) continue;
        *out = a;
        return true;
    }
    return false;
}

/* One value of a key that holds no list: quotes off. Gives *out. */
static anemo_status take_text(const an_ini_entry *e, const char *place, char **out, anemo_error *err)
{
    char **items;
    size_t n;
    anemo_status status = an_ini_split(e->value, '\0', place, &items, &n, err);
    if (status != ANEMO_OK) return status;
    *out = items[0];
    items[0] = NULL;
    an_names_free(items);
    return ANEMO_OK;
}

static anemo_status take_int(const an_ini_entry *e, const char *place, int min, int max, int *out, anemo_error *err)
{
    int64_t v;
    if (!an_parse_i64(e->value, &v) || v < min || v > max)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is not a whole number from %d to %d", place, e->value, min,
                       max);
    *out = (int)v;
    return ANEMO_OK;
}

static anemo_status take_seconds(const an_ini_entry *e, const char *place, double min, double *out, anemo_error *err)
{
    double v;
    if (!an_parse_f64(e->value, &v) || v < min || v > 1e6)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is not a number of seconds from %g to 1000000", place,
                       e->value, min);
    *out = v;
    return ANEMO_OK;
}

/* "80%" to *share, or "16GB", "512 MiB", "1000000" to *bytes; a NULL share: bytes only. */
static anemo_status take_amount(const an_ini_entry *e, const char *place, double *share, uint64_t *bytes,
                                anemo_error *err)
{
    static const struct {
        const char *unit;
        double factor;
    } units[] = {{"", 1},      {"kb", 1e3},     {"mb", 1e6},     {"gb", 1e9},
                 {"tb", 1e12}, {"kib", 0x1p10}, {"mib", 0x1p20}, {"gib", 0x1p30}};
    char number[40];
    size_t len = strspn(e->value, "0123456789."), i;
    const char *unit = e->value + len + strspn(e->value + len, " \t");
    double v = 0;
    if (len >= sizeof number) len = 0;
    memcpy(number, e->value, len);
    number[len] = '\0';
    bool ok = an_parse_f64(number, &v);
    if (ok && share && !strcmp(unit, "%") && v > 0 && v <= 100) {
        *share = v / 100;
        return ANEMO_OK;
    }
    for (i = 0; ok && i < AN_COUNT_OF(units) && strcasecmp(unit, units[i].unit) != 0; i++) {
    }
    if (!ok || i == AN_COUNT_OF(units) || v * units[i].factor > 1e18)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is not %san amount such as 500MB or 2GiB", place, e->value,
                       share ? "a share such as 80% or " : "");
    *bytes = (uint64_t)(v * units[i].factor);
    return ANEMO_OK;
}

/* "512+128, 64+16": llama-bench's -pg has a comma inside; here a list needs another sign. */
static anemo_status take_pairs(an_plan *plan, const an_ini_entry *e, const char *place, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char **items = NULL;
    size_t n = 0;
    AN_TRY(an_ini_split(e->value, ',', place, &items, &n, err));
    plan->pairs = an_calloc(n, sizeof *plan->pairs);
    if (!plan->pairs) {
        status = no_memory(err);
        goto cleanup;
    }
    for (size_t i = 0; i < n; i++) {
        char *plus = strchr(items[i], '+');
        int64_t p = 0, g = 0;
        if (plus) *plus = '\0';
        if (!plus || !an_parse_i64(items[i], &p) || !an_parse_i64(plus + 1, &g) || p < 1 || g < 1 || p > 1 << 24 ||
            g > 1 << 24) {
            if (plus) *plus = '+';
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is not a prompt and a generation such as 512+128",
                             place, items[i]);
            goto cleanup;
        }
        plan->pairs[plan->n_pair++] = (an_pair){.n_prompt = (int)p, .n_gen = (int)g};
    }
cleanup:
    an_names_free(items);
    return status;
}

static anemo_status take_tags(an_plan *plan, const an_ini_entry *e, const char *place, anemo_error *err)
{
    size_t n;
    anemo_status status = an_ini_split(e->value, ',', place, &plan->tags, &n, err);
    for (size_t i = 0; status == ANEMO_OK && i < n; i++)
        if (an_store_check_tag(plan->tags[i], err) != ANEMO_OK) status = an_fail_prefix(err, ANEMO_ERR_INVAL, "%s", place);
    return status;
}

/* Keys of [sweep] that are no axes. *known false: it is none of them. */
static anemo_status take_sweep_key(an_plan *plan, const an_ini_entry *e, const char *place, bool *known,
                                   anemo_error *err)
{
    const char *key = e->key;
    *known = true;
    if (!strcmp(key, "name")) return take_text(e, place, &plan->name, err);
    if (!strcmp(key, "note")) return take_text(e, place, &plan->note, err);
    if (!strcmp(key, "url")) return take_text(e, place, &plan->url, err);
    if (!strcmp(key, "tags")) return take_tags(plan, e, place, err);
    if (!strcmp(key, "pg")) return take_pairs(plan, e, place, err);
    if (!strcmp(key, "repetitions")) return take_int(e, place, 1, 10000, &plan->n_rep, err);
    if (!strcmp(key, "warmup")) return take_int(e, place, 0, 1000, &plan->n_warmup, err);
    if (!strcmp(key, "blocks")) return take_int(e, place, 1, 10000, &plan->n_block, err);
    if (!strcmp(key, "n_ctx")) return take_int(e, place, 1, 1 << 24, &plan->n_ctx, err);
    if (!strcmp(key, "delay")) return take_seconds(e, place, 0, &plan->delay_s, err);
    if (!strcmp(key, "timeout")) return take_seconds(e, place, 1, &plan->timeout_s, err);
    if (!strcmp(key, "seed")) {
        plan->has_seed = an_parse_u64(e->value, &plan->seed) && plan->seed <= INT64_MAX;
        if (plan->has_seed) return ANEMO_OK;
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: '%.100s' is not a whole number below 2^63", place, e->value);
    }
    *known = false;
    return ANEMO_OK;
}

static anemo_status fail_key(const char *place, anemo_error *err)
{
    an_str list = {0};
    for (an_axis a = 0; a < AN_AXIS_N; a++)
        an_str_appendf(&list, "%s, ", axes[a].plan);
    anemo_status status =
        an_fail(err, ANEMO_ERR_FORMAT,
                "%s: there is no such key in [sweep]; there are: %spg, n_ctx, name, note, tags, url, repetitions, "
                "warmup, blocks, delay, timeout, seed",
                place, an_str_text(&list));
    an_str_free(&list);
    return status;
}

static anemo_status take_entry(an_plan *plan, const an_ini_entry *e, const char *place, anemo_error *err)
{
    an_axis axis;
    bool known;
    if (!e->key) return an_rule_read(plan, e->value, place, !strcmp(e->section, "exclude"), err);
    if (!strcmp(e->section, "machine")) {
        if (!strcmp(e->key, "memory")) return take_amount(e, place, &plan->memory_share, &plan->memory_bytes, err);
        if (!strcmp(e->key, "disk_reserve")) return take_amount(e, place, NULL, &plan->disk_reserve_bytes, err);
        if (!strcmp(e->key, "probes")) {
            plan->probes = !strcmp(e->value, "on");
            return plan->probes || !strcmp(e->value, "off") ? ANEMO_OK : fail_words(place, e->value, switches, err);
        }
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: there is no such key in [machine]; there are: memory, disk_reserve, probes", place);
    }
    anemo_status status = take_sweep_key(plan, e, place, &known, err);
    if (known || status != ANEMO_OK) return status;
    if (!an_axis_find(e->key, strlen(e->key), &axis) || strcmp(axes[axis].plan, e->key) != 0)
        return fail_key(place, err);
    return an_axis_read(axis, e->value, place, false, &plan->axes[axis], err);
}

static anemo_status check_whole(an_plan *plan, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_axis_values *models = &plan->axes[AN_AXIS_MODEL], *quants = &plan->axes[AN_AXIS_QUANT];
    bool placeholder = false;
    for (size_t i = 0; i < models->n; i++)
        placeholder |= strstr(models->texts[i], "{quant}") != NULL;
    if (models->n == 0 && !plan->url)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: [sweep] names no models; add a line such as 'models = model-q4_0.gguf'", name);
    if (quants->n > 0 && !placeholder)
        return an_fail(
            err, ANEMO_ERR_FORMAT,
            "%s: quantizations are put in the place of {quant} in models, and no model has it; write for example "
            "'models = mistral-7b-{quant}.gguf'",
            name);
    if (quants->n == 0 && placeholder)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: a model has {quant} in its name, and there is no 'quantizations = …'", name);
    for (an_axis a = 0; a < AN_AXIS_N; a++) {
        if (plan->axes[a].n > 0 || !axes[a].def) continue;
        AN_TRY(an_axis_read(a, axes[a].def, name, false, &plan->axes[a], err));
    }
    if (!plan->name && !(plan->name = an_strdup("sweep"))) status = no_memory(err);
cleanup:
    return status;
}

anemo_status an_plan_parse(an_plan *out, const char *text, size_t n, const char *name, anemo_error *err)
{
    static const char *const rule_sections[] = {"include", "exclude", NULL};
    static const char *const sections[] = {"sweep", "include", "exclude", "machine", NULL};
    anemo_status status = ANEMO_OK;
    an_plan plan = {.n_rep = 5,
                    .n_warmup = 1,
                    .n_block = 1,
                    .timeout_s = 600,
                    .memory_share = 0.9,
                    .probes = true,
                    .disk_reserve_bytes = 256u << 20};
    an_ini ini = {0};
    an_str place = {0};
    AN_TRY(an_ini_parse(&ini, text, n, name, rule_sections, err));
    for (size_t i = 0; i < ini.n; i++) {
        const an_ini_entry *e = &ini.entries[i];
        an_str_clear(&place);
        an_str_appendf(&place, "%s:%zu", name, e->line);
        if (e->key) an_str_appendf(&place, ": %.64s", e->key);
        AN_TRY(an_str_check(&place, err));
        if (!is_word(e->section, sections)) {
            status = an_fail(err, ANEMO_ERR_FORMAT,
                             "%s:%zu: there is no section [%s]; there are: sweep, include, exclude, machine", name,
                             e->line, e->section);
            goto cleanup;
        }
        for (size_t k = 0; e->key && k < i; k++) {
            if (!ini.entries[k].key || strcmp(ini.entries[k].key, e->key) || strcmp(ini.entries[k].section, e->section))
                continue;
            status = an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu says it already; write all values in one line",
                             place.data, ini.entries[k].line);
            goto cleanup;
        }
        AN_TRY(take_entry(&plan, e, place.data, err));
    }
    AN_TRY(check_whole(&plan, name, err));
cleanup:
    an_str_free(&place);
    an_ini_free(&ini);
    if (status == ANEMO_OK)
        *out = plan;
    else
        an_plan_free(&plan);
    return status;
}

void an_plan_free(an_plan *plan)
{
    for (size_t i = 0; i < plan->n_rule; i++) {
        for (size_t k = 0; k < plan->rules[i].n; k++)
            free_values(&plan->rules[i].conditions[k].values);
        an_free(plan->rules[i].conditions);
    }
    for (an_axis a = 0; a < AN_AXIS_N; a++)
        free_values(&plan->axes[a]);
    an_names_free(plan->tags);
    an_free(plan->name);
    an_free(plan->note);
    an_free(plan->url);
    an_free(plan->pairs);
    an_free(plan->rules);
    *plan = (an_plan){0};
}
