/* Figures, units and names as people read them. */
#include "report/report_internal.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A unit as fields.def has it, and the one that a value of some size is shown in. */
typedef struct unit {
    const char *of;
    double from; /* smallest value that is shown so */
    double factor;
    const char *name;
} unit;

/* For each unit the largest first. */
static const unit units[] = {
    {"s", 0.1, 1, "s"},
    {"s", 0, 1e3, "ms"},
    {"tokens/s", 0, 1, "t/s"},
    {"bytes", 1e9, 1e-9, "GB"},
    {"bytes", 1e6, 1e-6, "MB"},
    {"bytes", 0, 1e-3, "kB"},
    {"bytes/s", 0, 1e-9, "GB/s"},
    {"share", 0, 100, "%"},
    {"% of one core", 0, 1, "%"},
    {"% of the machine", 0, 1, "%"},
    {"Hz", 0, 1e-9, "GHz"},
    {"J/token", 0.1, 1, "J/token"},
    {"J/token", 0, 1e3, "mJ/token"},
};

double an_format_unit(an_field_id field, double typical, const char **name)
{
    const char *of = an_field_get(field)->unit;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i].of, of) != 0 || fabs(typical) < units[i].from) continue;
        *name = units[i].name;
        return units[i].factor;
    }
    *name = of;
    return 1;
}

void an_format_value(an_field_id field, double v, char *out, size_t cap)
{
    if (!isfinite(v)) {
        snprintf(out, cap, "–");
        return;
    }
    const an_field *f = an_field_get(field);
    const char *name;
    double shown = v * an_format_unit(field, v, &name);
    if (f->kind == AN_FIELD_COUNT && (v == 0 || strcmp(f->unit, "bytes") != 0))
        snprintf(out, cap, "%.0f", v);
    else if (!strcmp(name, "s"))
        snprintf(out, cap, v < 10 ? "%.3f s" : "%.1f s", v);
    else if (!strcmp(name, "ms"))
        snprintf(out, cap, v < 0.001 ? "%.3f ms" : v < 0.01 ? "%.2f ms" : "%.1f ms", shown);
    else if (!strcmp(name, "t/s") || !strcmp(name, "GB/s"))
        snprintf(out, cap, shown < 10 ? "%.2f %s" : shown < 1000 ? "%.1f %s" : "%.0f %s", shown, name);
    else if (!strcmp(name, "GB") || !strcmp(name, "GHz"))
        snprintf(out, cap, "%.2f %s", shown, name);
    else if (!strcmp(name, "MB") || !strcmp(name, "kB"))
        snprintf(out, cap, "%.0f %s", shown, name);
    else if (!strcmp(name, "%"))
        snprintf(out, cap, strcmp(f->unit, "share") == 0 && shown < 10 ? "%.1f %%" : "%.0f %%", shown);
    else
        snprintf(out, cap, fabs(shown) < 10 ? "%.2f %s" : "%.1f %s", shown, name);
}

bool an_cell_measured(const an_cell *cell)
{
    return cell->status == AN_CELL_OK && an_cell_timed(cell, 0) != NULL;
}

const char *an_cell_model_name(const an_run *run, const an_cell *cell)
{
    const char *name = cell->model < 0 || (size_t)cell->model >= run->n_model ? NULL : run->models[cell->model].name;
    return name ? name : "";
}

int64_t an_cell_setting(const an_cell *cell, const char *key, int64_t none)
{
    const json_t *v = json_object_get(cell->effective, key);
    if (!json_is_integer(v)) v = json_object_get(cell->settings, key);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : none;
}

const an_rep *an_cell_text_rep(const an_cell *cell)
{
    for (size_t i = 0; i < cell->n_rep; i++)
        if (cell->reps[i].kind == AN_REP_TIMED && cell->reps[i].text && cell->reps[i].text_bytes) return &cell->reps[i];
    return NULL;
}

int an_report_threads(const an_run *run)
{
    const json_t *settings = json_object_get(run->workload, "settings");
    return (int)json_integer_value(json_object_get(settings, "threads"));
}

int an_report_reference(const an_run *run)
{
    for (size_t i = 0; i < run->n_cell; i++)
        if (an_cell_measured(&run->cells[i]) && run->cells[i].ids_exact) return (int)i;
    return -1;
}

const an_agreement *an_find_agreement(const an_run *run, int a, int b)
{
    for (size_t i = 0; i < run->n_agreement; i++) {
        const an_agreement *g = &run->agreements[i];
        if ((g->a == a && g->b == b) || (g->a == b && g->b == a)) return g;
    }
    return NULL;
}

void an_report_agreement_text(const an_run *run, int cell, char *out, size_t cap)
{
    int ref = an_report_reference(run);
    const an_cell *x = &run->cells[cell];
    const an_agreement *g = ref < 0 || !an_cell_measured(x) ? NULL : an_find_agreement(run, ref, cell);
    out[0] = '\0';
    if (x->work.kind == AN_WORK_STEP || !an_cell_measured(x)) return;
    if (cell == ref)
        snprintf(out, cap, "reference");
    else if (g && g->identical)
        snprintf(out, cap, "identical");
    else if (g)
        snprintf(out, cap, "%zu of %zu same%s", g->n_same, g->n,
                 g->n_same == g->n            ? ""
                 : g->examined && g->near_tie ? ", near-tie"
                 : g->examined                ? ", differs"
                                              : "");
    else
        snprintf(out, cap, "ids not known");
}

bool an_turns_direction(uint32_t cp)
{
    return (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069);
}

static void append_mark(char mark, bool color, bool markdown, an_str *out)
{
    static const char *const codes[] = {"\x1b[1m", "\x1b[2m", "\x1b[0m"}, *const tags[] = {"<sub>", "</sub>"};
    if (mark < AN_MARK_SUB[0])
        an_str_append(out, color ? codes[mark - 1] : "");
    else
        an_str_append(out, markdown ? tags[mark - AN_MARK_SUB[0]] : "");
}

void an_report_clean(const an_str *raw, bool color, bool markdown, an_str *out)
{
    const char *text = an_str_text(raw);
    if (raw->failed) out->failed = true;
    for (size_t i = 0; i < raw->len;) {
        uint32_t cp;
        int len = an_utf8_decode(text + i, raw->len - i, &cp);
        if (len == 0 || an_turns_direction(cp))
            an_str_append(out, "\xEF\xBF\xBD");
        else if (cp >= 1 && cp <= 5)
            append_mark((char)cp, color, markdown, out);
        else if (cp == '<' && markdown)
            an_str_append(out, "&lt;");
        else if ((cp < 0x20 && cp != '\n') || (cp >= 0x7F && cp < 0xA0))
            an_str_append_char(out, ' ');
        else
            an_str_append_bytes(out, text + i, (size_t)len);
        i += len ? (size_t)len : 1;
    }
}

void an_csv_text(an_str *out, const char *text)
{
    an_str_append_char(out, '"');
    for (; *text; text++) {
        if (*text == '"') an_str_append_char(out, '"');
        an_str_append_char(out, *text);
    }
    an_str_append_char(out, '"');
}
