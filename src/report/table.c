/* The terminal table and its Markdown form. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LABEL_WIDTH = 22, COLUMN_GAP = 2, COLUMNS_MAX = 64, TEXT_SHOWN_BYTES = 2000 };

#define DIM "\x1b[2m"
#define BOLD "\x1b[1m"
#define PLAIN "\x1b[0m"

void an_format_value(an_field_id field, double v, char *out, size_t cap)
{
    if (!isfinite(v)) {
        snprintf(out, cap, "–");
        return;
    }
    const char *unit = an_field_get(field)->unit;
    if (!strcmp(unit, "s") && v < 0.1)
        snprintf(out, cap, "%.1f ms", v * 1e3);
    else if (!strcmp(unit, "s"))
        snprintf(out, cap, v < 10 ? "%.3f s" : "%.1f s", v);
    else if (!strcmp(unit, "tokens/s"))
        snprintf(out, cap, v < 10 ? "%.2f t/s" : "%.1f t/s", v);
    else if (unit[0] == '%')
        snprintf(out, cap, "%.0f %%", v);
    else if (!strcmp(unit, "share"))
        snprintf(out, cap, "%.1f %%", 100 * v);
    else if (!strcmp(unit, "bytes") && v < 1e9)
        snprintf(out, cap, "%.0f MB", v / 1e6);
    else if (!strcmp(unit, "bytes"))
        snprintf(out, cap, "%.2f GB", v / 1e9);
    else if (!strcmp(unit, "bytes/s"))
        snprintf(out, cap, "%.1f GB/s", v / 1e9);
    else if (!strcmp(unit, "Hz"))
        snprintf(out, cap, "%.2f GHz", v / 1e9);
    else if (an_field_get(field)->kind == AN_FIELD_COUNT)
        snprintf(out, cap, "%.0f", v);
    else
        snprintf(out, cap, "%.3g %s", v, unit);
}

int an_report_threads(const an_run *c)
{
    const json_t *settings = json_object_get(c->workload, "settings");
    return (int)json_integer_value(json_object_get(settings, "threads"));
}

int an_report_reference(const an_run *c)
{
    for (size_t i = 0; i < c->n_cell; i++)
        if (c->cells[i].status == AN_CELL_OK && an_cell_n_timed(&c->cells[i]) > 0 && c->cells[i].ids_exact) return (int)i;
    return -1;
}

const an_agreement *an_find_agreement(const an_run *c, int a, int b)
{
    for (size_t i = 0; i < c->n_agreement; i++) {
        const an_agreement *g = &c->agreements[i];
        if ((g->a == a && g->b == b) || (g->a == b && g->b == a)) return g;
    }
    return NULL;
}

void an_report_agreement_text(const an_run *c, int cell, char *out, size_t cap)
{
    int ref = an_report_reference(c);
    const an_agreement *g = ref < 0 ? NULL : an_find_agreement(c, ref, cell);
    out[0] = '\0';
    if (cell == ref)
        snprintf(out, cap, "reference");
    else if (g && g->identical)
        snprintf(out, cap, "identical");
    else if (g)
        snprintf(out, cap, "%zu of %zu same%s", g->n_same, g->n,
                 g->n_same == g->n ? "" : g->examined && g->near_tie ? ", near-tie" : g->examined ? ", differs" : "");
    else if (an_cell_n_timed(&c->cells[cell]) > 0)
        snprintf(out, cap, "ids not known");
}

/* One row: a title, the value of each cell and what stands under it (spread), perhaps "". */
typedef struct row {
    const char *title;
    an_field_id field; /* AN_FIELD_N when `write` makes the text */
    void (*write)(const an_run *c, int cell, char *value, char *under, size_t cap);
} row;

static void write_load(const an_run *c, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &c->cells[cell];
    for (size_t i = 0; i < x->n_rep; i++) {
        const an_rep *rep = &x->reps[i];
        if (rep->kind != AN_REP_LOAD) continue;
        double cold = rep->values[AN_FIELD_ID_load_cold_s], warm = rep->values[AN_FIELD_ID_load_warm_s];
        an_format_value(AN_FIELD_ID_total_s, isfinite(cold) ? cold : warm, value, cap);
        snprintf(under, cap, "cache %s", rep->page_cache);
        return;
    }
}

static void write_quality(const an_run *c, int cell, char *value, char *under, size_t cap)
{
    const an_text_check *k = &c->cells[cell].check;
    an_report_agreement_text(c, cell, value, cap);
    if (an_cell_n_timed(&c->cells[cell]) == 0) return;
    if (k->invalid_utf8)
        snprintf(under, cap, "invalid UTF-8");
    else if (k->loop_period)
        snprintf(under, cap, "ends in a loop");
    else if (k->repeated_4grams > 0.3)
        snprintf(under, cap, "%.0f %% repeated", 100 * k->repeated_4grams);
}

static void write_eos(const an_run *c, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &c->cells[cell];
    const an_rep *rep = an_cell_timed(x, 0);
    if (!rep) return;
    double eos = rep->values[AN_FIELD_ID_eos_at];
    snprintf(value, cap, "%zu", rep->n_token);
    if (isfinite(eos)) snprintf(under, cap, "end at %.0f", eos);
}

static void write_type(const an_run *c, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &c->cells[cell];
    snprintf(value, cap, "%s%s%s", x->compute_dtype, x->compute_dtype[0] && x->device[0] ? " on " : "", x->device);
    snprintf(under, cap, "%s", x->quantization);
}

static void write_version(const an_run *c, int cell, char *value, char *under, size_t cap)
{
    (void)under;
    snprintf(value, cap, "%s", c->cells[cell].engine_version);
}

static const row rows[] = {
    {"Time taken", AN_FIELD_ID_total_s, NULL},
    {"CPU usage", AN_FIELD_ID_cpu_percent, NULL},
    {"Memory used (peak)", AN_FIELD_ID_rss_peak_bytes, NULL},
    {"Output quality", AN_FIELD_N, write_quality},
    {"Prompt tokens", AN_FIELD_ID_n_prompt, NULL},
    {"Tokens generated", AN_FIELD_N, write_eos},
    {"Load", AN_FIELD_N, write_load},
    {"Time to first token", AN_FIELD_ID_ttft_s, NULL},
    {"Prefill", AN_FIELD_ID_prefill_tps, NULL},
    {"Decode", AN_FIELD_ID_decode_tps, NULL},
    {"Memory, anonymous", AN_FIELD_ID_rss_anon_bytes, NULL},
    {"Memory, file-backed", AN_FIELD_ID_rss_file_bytes, NULL},
    {"Compute, weights", AN_FIELD_N, write_type},
    {"Version", AN_FIELD_N, write_version},
};

/* Columns that a text takes, for our texts: code points. */
static int display_width(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

/* Append text cut to `width` columns (never inside a code point) and filled up with spaces. */
static void pad(an_str *out, const char *text, int width)
{
    int n = 0;
    const char *p = text;
    while (*p && n < width) {
        do p++;
        while (((unsigned char)*p & 0xC0) == 0x80);
        n++;
    }
    an_str_append_bytes(out, text, (size_t)(p - text));
    if (n < width) an_str_append_repeat(out, ' ', (size_t)(width - n));
}

static void cell_text(const an_run *c, const row *r, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &c->cells[cell];
    value[0] = under[0] = '\0';
    if (x->status != AN_CELL_OK && an_cell_n_timed(x) == 0) {
        if (r == &rows[0]) snprintf(value, cap, "%s", an_cell_status_name(x->status));
        return;
    }
    if (r->write) {
        r->write(c, cell, value, under, cap);
        return;
    }
    an_summary s = an_cell_summary(x, r->field);
    an_format_value(r->field, s.median, value, cap);
    if (s.n > 1 && s.hi > s.lo) {
        char lo[48], hi[48], *unit;
        an_format_value(r->field, s.lo, lo, sizeof lo);
        an_format_value(r->field, s.hi, hi, sizeof hi);
        /* "0.310 s–0.330 s" says the unit once too often when both ends have the same one. */
        unit = strchr(lo, ' ');
        if (unit && strchr(hi, ' ') && strcmp(unit, strchr(hi, ' ')) == 0) *unit = '\0';
        snprintf(under, cap, "%s–%s", lo, hi);
    }
}

static int column_width(const an_run *c, int cell)
{
    char value[64], under[64];
    int width = display_width(c->cells[cell].label);
    for (size_t r = 0; r < AN_COUNT_OF(rows); r++) {
        cell_text(c, &rows[r], cell, value, under, sizeof value);
        int v = display_width(value), u = display_width(under);
        if (v > width) width = v;
        if (u > width) width = u;
    }
    return width;
}

static void print_line(an_str *out, const char *title, const int *widths, size_t first, size_t last,
                       const char (*texts)[64], const char *on, const char *off)
{
    pad(out, title, LABEL_WIDTH);
    an_str_append(out, on);
    for (size_t i = first; i < last; i++) {
        pad(out, texts[i - first], widths[i]);
        if (i + 1 < last) an_str_append_repeat(out, ' ', COLUMN_GAP);
    }
    an_str_append(out, off);
    while (off[0] == '\0' && out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
    an_str_append_char(out, '\n');
}

static void print_columns(const an_run *c, const int *widths, size_t first, size_t last, bool color,
                          an_str *out)
{
    char values[COLUMNS_MAX][64], unders[COLUMNS_MAX][64];
    const char *dim = color ? DIM : "", *bold = color ? BOLD : "", *plain = color ? PLAIN : "";
    for (size_t i = first; i < last; i++) snprintf(values[i - first], 64, "%.63s", c->cells[i].label);
    print_line(out, "", widths, first, last, values, bold, plain);
    for (size_t r = 0; r < AN_COUNT_OF(rows); r++) {
        bool any_value = false, any_under = false;
        for (size_t i = first; i < last; i++) {
            cell_text(c, &rows[r], (int)i, values[i - first], unders[i - first], 64);
            any_value |= values[i - first][0] != '\0';
            any_under |= unders[i - first][0] != '\0';
        }
        if (!any_value) continue;
        print_line(out, rows[r].title, widths, first, last, values, "", "");
        if (any_under) print_line(out, "", widths, first, last, unders, dim, plain);
    }
}

static void print_markdown(const an_run *c, an_str *out)
{
    char value[64], under[64];
    an_str_append(out, "| |");
    for (size_t i = 0; i < c->n_cell; i++) an_str_appendf(out, " %s |", c->cells[i].label);
    an_str_append(out, "\n| --- |");
    for (size_t i = 0; i < c->n_cell; i++) an_str_append(out, " --- |");
    an_str_append_char(out, '\n');
    for (size_t r = 0; r < AN_COUNT_OF(rows); r++) {
        an_str_appendf(out, "| %s |", rows[r].title);
        for (size_t i = 0; i < c->n_cell; i++) {
            cell_text(c, &rows[r], (int)i, value, under, sizeof value);
            an_str_appendf(out, " %s%s%s%s |", value, under[0] ? " (" : "", under, under[0] ? ")" : "");
        }
        an_str_append_char(out, '\n');
    }
}

static void print_table(const an_run *c, an_report_style style, an_str *out)
{
    int widths[COLUMNS_MAX];
    size_t n = c->n_cell < COLUMNS_MAX ? c->n_cell : COLUMNS_MAX;
    for (size_t i = 0; i < n; i++) widths[i] = column_width(c, (int)i);
    for (size_t first = 0; first < n;) {
        int width = LABEL_WIDTH + widths[first];
        size_t last = first + 1;
        while (last < n && width + COLUMN_GAP + widths[last] <= style.width) width += COLUMN_GAP + widths[last++];
        if (first) an_str_append_char(out, '\n');
        print_columns(c, widths, first, last, style.color, out);
        first = last;
    }
}

/* Text for a terminal: control characters other than newline and tab become spaces, bad bytes U+FFFD. */
static void append_clean(an_str *out, const char *text, size_t n, const char *indent)
{
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        int len = an_utf8_decode(text + i, n - i, &cp);
        if (len == 0) {
            an_str_append(out, "\xEF\xBF\xBD");
            i++;
            continue;
        }
        if (cp == '\n')
            an_str_appendf(out, "\n%s", indent);
        else if (cp < 0x20 || cp == 0x7F || (cp >= 0x80 && cp < 0xA0))
            an_str_append_char(out, ' ');
        else
            an_str_append_bytes(out, text + i, (size_t)len);
        i += (size_t)len;
    }
}

static bool same_text(const an_rep *a, const an_rep *b)
{
    return a && b && a->text_bytes == b->text_bytes && memcmp(a->text, b->text, a->text_bytes) == 0;
}

/* Each distinct text once, with the cells that wrote it; what follows the end of sequence is dimmed. */
static void print_texts(const an_run *c, bool color, bool markdown, an_str *out)
{
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        bool seen = false;
        const an_rep *rep = an_cell_timed(cell, 0);
        if (!rep || !rep->text) continue;
        for (size_t j = 0; j < i && !seen; j++)
            seen = same_text(an_cell_timed(&c->cells[j], 0), rep);
        if (seen) continue;
        an_str_appendf(out, "\n%s%s", markdown ? "**" : color ? BOLD : "", cell->label);
        for (size_t j = i + 1; j < c->n_cell; j++)
            if (same_text(an_cell_timed(&c->cells[j], 0), rep))
                an_str_appendf(out, ", %s", c->cells[j].label);
        an_str_appendf(out, "%s\n%s", markdown ? "**\n" : color ? PLAIN : "", markdown ? "> " : "    ");
        size_t head = rep->text_bytes_before_eos, total = rep->text_bytes;
        if (total > TEXT_SHOWN_BYTES) total = TEXT_SHOWN_BYTES;
        if (head > total) head = total;
        append_clean(out, rep->text, head, markdown ? "> " : "    ");
        if (head < total) {
            an_str_append(out, color ? DIM : markdown ? " <sub>" : " [after the end:] ");
            append_clean(out, rep->text + head, total - head, markdown ? "> " : "    ");
            an_str_append(out, color ? PLAIN : markdown ? "</sub>" : "");
        }
        if (rep->text_bytes > TEXT_SHOWN_BYTES) an_str_append(out, " …");
        an_str_append_char(out, '\n');
    }
}

static void print_wrapped(an_str *out, const char *text, int width, const char *first, const char *rest)
{
    int column = display_width(first);
    an_str_append(out, first);
    while (*text) {
        size_t len = strcspn(text, " \n");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), text);
        int w = display_width(word);
        if (column + w > width && column > display_width(rest)) {
            while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
            an_str_appendf(out, "\n%s", rest);
            column = display_width(rest);
        }
        an_str_append_bytes(out, text, len);
        column += w;
        text += len;
        if (*text) {
            text++;
            an_str_append_char(out, ' ');
            column++;
        }
    }
    an_str_append_char(out, '\n');
}

static void print_analysis(const an_run *c, an_report_style style, bool markdown, an_str *out)
{
    json_t *doc = an_report_analysis(c), *list, *sentence;
    const char *key;
    size_t i;
    json_object_foreach(doc, key, list)
    {
        if (json_array_size(list) == 0) continue;
        const char *rest = strcmp(key, "cpu") == 0 ? "PU" : key + 1;
        an_str_appendf(out, "%s%c%s%s\n", markdown ? "- **" : style.color ? BOLD : "", toupper((unsigned char)key[0]),
                       rest, markdown ? "**" : style.color ? PLAIN : "");
        json_array_foreach(list, i, sentence)
        {
            if (markdown)
                an_str_appendf(out, "  - %s\n", json_string_value(sentence));
            else
                print_wrapped(out, json_string_value(sentence), style.width, "  ", "    ");
        }
    }
    json_decref(doc);
}

static int workload_int(const an_run *c, const char *key)
{
    return (int)json_integer_value(json_object_get(c->workload, key));
}

static void print_head(const an_run *c, bool markdown, an_str *out)
{
    const an_environment *e = &c->environment;
    const char *prompt = json_string_value(json_object_get(c->workload, "prompt"));
    const char *format = json_string_value(json_object_get(c->workload, "chat_format"));
    size_t n_ids = json_array_size(json_object_get(c->workload, "prompt_ids"));
    an_str_appendf(out, "%s · %d threads · %s%s\n", e->cpu, an_report_threads(c), e->date, markdown ? "  " : "");
    an_str_append(out, "Models: ");
    for (size_t i = 0; i < c->n_model; i++) an_str_appendf(out, "%s%s", i ? ", " : "", c->models[i].name);
    an_str_appendf(out, "%s\n", markdown ? "  " : "");
    if (prompt) {
        an_str_append(out, "Prompt: \"");
        append_clean(out, prompt, strlen(prompt) < 200 ? strlen(prompt) : 200, "");
        an_str_appendf(out, "\" (template: %s, %zu tokens)", format ? format : "none", n_ids);
    } else
        an_str_appendf(out, "Prompt: %zu given ids", n_ids);
    an_str_appendf(out, " · %d tokens%s · %d block%s\n\n", workload_int(c, "n_predict"),
                   json_is_false(json_object_get(c->workload, "fixed_length")) ? " at most" : "", c->n_block,
                   c->n_block == 1 ? "" : "s");
}

static void print_reasons(const an_run *c, an_str *out)
{
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        if (cell->status == AN_CELL_OK) continue;
        an_str_appendf(out, "\n%s %s: %s\n", cell->label, an_cell_status_name(cell->status),
                       cell->reason ? cell->reason : "no reason was given");
    }
}

void an_report_table(const an_run *c, an_report_style style, bool markdown, an_str *out)
{
    print_head(c, markdown, out);
    if (markdown)
        print_markdown(c, out);
    else
        print_table(c, style, out);
    print_reasons(c, out);
    print_texts(c, style.color, markdown, out);
    an_str_append(out, markdown ? "\n### Result analysis\n\n" : "\nResult analysis\n");
    print_analysis(c, style, markdown, out);
}
