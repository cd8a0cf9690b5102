/* The terminal table and its Markdown form. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    LABEL_WIDTH = 22,
    LABEL_WIDTH_ALL = 30,
    COLUMN_GAP = 2,
    COLUMNS_MAX = 64,
    COLUMNS_TOLD = 12,
    TEXTS_TOLD = 12,
    TEXT_SHOWN_BYTES = 2000
};

/* A run and what its table is made from. */
typedef struct sheet {
    const an_run *run;
    an_report_style style;
    an_groups groups;
    an_pairs pairs;
    int *pair_of; /* [n_cell] index of the cell's pair, -1 = none; owned */
} sheet;

/* One row: a title, the value of each cell and what stands under it (spread), perhaps "". */
typedef struct row {
    const char *title;
    an_field_id field; /* AN_FIELD_N when `write` makes the text */
    void (*write)(const sheet *t, int cell, char *value, char *under, size_t cap);
} row;

static void range_text(an_field_id field, const an_summary *s, char *out, size_t cap)
{
    char lo[48], hi[48], *unit;
    if (s->n < 2 || !(s->hi > s->lo)) return;
    an_format_value(field, s->lo, lo, sizeof lo);
    an_format_value(field, s->hi, hi, sizeof hi);
    if (strcmp(lo, hi) == 0) return;
    /* "0.310 s–0.330 s" says the unit once too often when both ends have the same one. */
    unit = strchr(lo, ' ');
    if (unit && strchr(hi, ' ') && strcmp(unit, strchr(hi, ' ')) == 0) *unit = '\0';
    snprintf(out, cap, "%s–%s", lo, hi);
}

/* Two medians in one line: "0.51 s / 0.12 s"; nothing when neither is known. */
static void two_medians(const an_cell *x, an_field_id a, an_field_id b, char *out, size_t cap)
{
    double va = an_cell_summary(x, a).median, vb = an_cell_summary(x, b).median;
    char ta[32], tb[32];
    if (!isfinite(va) && !isfinite(vb)) return;
    an_format_value(a, va, ta, sizeof ta);
    an_format_value(b, vb, tb, sizeof tb);
    snprintf(out, cap, "%s / %s", ta, tb);
}

static void write_load(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    (void)under;
    two_medians(&t->run->cells[cell], AN_FIELD_ID_load_cold_s, AN_FIELD_ID_load_warm_s, value, cap);
}

static void write_itl(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    double p99 = an_cell_summary(&t->run->cells[cell], AN_FIELD_ID_itl_p99_s).median;
    char text[32];
    two_medians(&t->run->cells[cell], AN_FIELD_ID_itl_p50_s, AN_FIELD_ID_itl_p90_s, value, cap);
    an_format_value(AN_FIELD_ID_itl_p99_s, p99, text, sizeof text);
    if (isfinite(p99)) snprintf(under, cap, "p99 %s", text);
}

static void write_cpu(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    an_format_value(AN_FIELD_ID_cpu_percent, an_cell_summary(&t->run->cells[cell], AN_FIELD_ID_cpu_percent).median,
                    value, cap);
    two_medians(&t->run->cells[cell], AN_FIELD_ID_cpu_user_s, AN_FIELD_ID_cpu_system_s, under, cap);
}

static void write_memory(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    an_format_value(AN_FIELD_ID_rss_peak_bytes,
                    an_cell_summary(&t->run->cells[cell], AN_FIELD_ID_rss_peak_bytes).median, value, cap);
    two_medians(&t->run->cells[cell], AN_FIELD_ID_rss_anon_bytes, AN_FIELD_ID_rss_file_bytes, under, cap);
}

static void write_share(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    (void)under;
    two_medians(&t->run->cells[cell], AN_FIELD_ID_mbu, AN_FIELD_ID_mfu, value, cap);
}

static void write_verdict(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    const an_pair *pair = t->pair_of[cell] < 0 ? NULL : &t->pairs.items[t->pair_of[cell]];
    if (t->pairs.n == 0) return;
    if (pair) {
        snprintf(value, cap, "%s", an_call_word(pair->field, pair->call));
        an_format_ratio(pair->field, pair->p.ratio, under, cap);
    } else if (t->groups.reference[t->groups.of[cell]] == cell)
        snprintf(value, cap, "reference");
}

static void write_quality(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    const an_text_check *k = &t->run->cells[cell].check;
    an_report_agreement_text(t->run, cell, value, cap);
    if (an_cell_n_timed(&t->run->cells[cell]) == 0) return;
    if (k->invalid_utf8)
        snprintf(under, cap, "invalid UTF-8");
    else if (k->loop_period)
        snprintf(under, cap, "ends in a loop");
    else if (k->repeated_4grams > 0.3)
        snprintf(under, cap, "%.0f %% repeated", 100 * k->repeated_4grams);
}

static void write_eos(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &t->run->cells[cell];
    const an_rep *rep = an_cell_timed(x, 0);
    if (!rep) return;
    double eos = rep->values[AN_FIELD_ID_eos_at];
    snprintf(value, cap, "%zu", rep->n_token);
    if (isfinite(eos)) snprintf(under, cap, "end at %.0f", eos);
}

static void write_type(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &t->run->cells[cell];
    snprintf(value, cap, "%s%s%s", x->compute_dtype, x->compute_dtype[0] && x->device[0] ? " on " : "", x->device);
    snprintf(under, cap, "%s", x->quantization);
}

static void write_version(const sheet *t, int cell, char *value, char *under, size_t cap)
{
    (void)under;
    snprintf(value, cap, "%s", t->run->cells[cell].engine_version);
}

static const row rows[] = {
    {"Time taken", AN_FIELD_ID_total_s, NULL},
    {"Step", AN_FIELD_ID_step_tps, NULL},
    {"Verdict", AN_FIELD_N, write_verdict},
    {"CPU, user / system", AN_FIELD_N, write_cpu},
    {"Memory, anon / file", AN_FIELD_N, write_memory},
    {"Output quality", AN_FIELD_N, write_quality},
    {"Prompt tokens", AN_FIELD_ID_n_prompt, NULL},
    {"Tokens generated", AN_FIELD_N, write_eos},
    {"Load, cold / warm", AN_FIELD_N, write_load},
    {"Time to first token", AN_FIELD_ID_ttft_s, NULL},
    {"Prefill", AN_FIELD_ID_prefill_tps, NULL},
    {"Decode", AN_FIELD_ID_decode_tps, NULL},
    {"Token gap, p50 / p90", AN_FIELD_N, write_itl},
    {"Energy per token", AN_FIELD_ID_energy_per_token_j, NULL},
    {"MBU / MFU", AN_FIELD_N, write_share},
    {"Compute, weights", AN_FIELD_N, write_type},
    {"Version", AN_FIELD_N, write_version},
};

/* The fields that `all` adds under the others; those that a row above has already are not repeated. */
static const row more_rows[] = {
#define AN_FIELD(name, unit, kind, better, title, definition, source) {title, AN_FIELD_ID_##name, NULL},
#include "record/fields.def"
#undef AN_FIELD
};

static const row *row_at(size_t i, bool all)
{
    if (i < AN_COUNT_OF(rows)) return &rows[i];
    i -= AN_COUNT_OF(rows);
    return all && i < AN_COUNT_OF(more_rows) ? &more_rows[i] : NULL;
}

int an_text_width(const char *text)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

void an_text_pad(an_str *out, const char *text, int width)
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

static void cell_text(const sheet *t, const row *r, int cell, char *value, char *under, size_t cap)
{
    const an_cell *x = &t->run->cells[cell];
    value[0] = under[0] = '\0';
    if (!an_cell_measured(x)) {
        if (r == &rows[0]) snprintf(value, cap, "%s", an_cell_status_name(x->status));
        return;
    }
    if (r->write) {
        r->write(t, cell, value, under, cap);
        return;
    }
    an_summary s = an_cell_summary(x, r->field);
    if (s.n == 0) return;
    an_format_value(r->field, s.median, value, cap);
    range_text(r->field, &s, under, cap);
}

static int column_width(const sheet *t, int cell)
{
    char value[64], under[64];
    const row *r;
    int width = an_text_width(t->run->cells[cell].label);
    for (size_t i = 0; (r = row_at(i, t->style.all)); i++) {
        cell_text(t, r, cell, value, under, sizeof value);
        int v = an_text_width(value), u = an_text_width(under);
        if (v > width) width = v;
        if (u > width) width = u;
    }
    return width;
}

static int title_width(const sheet *t)
{
    return t->style.all ? LABEL_WIDTH_ALL : LABEL_WIDTH;
}

static void print_line(const sheet *t, an_str *out, const char *title, const int *widths, size_t first, size_t last,
                       const char (*texts)[64], const char *on, const char *off)
{
    an_text_pad(out, title, title_width(t));
    an_str_append(out, on);
    for (size_t i = first; i < last; i++) {
        an_text_pad(out, texts[i - first], widths[i]);
        if (i + 1 < last) an_str_append_repeat(out, ' ', COLUMN_GAP);
    }
    an_str_append(out, off);
    while (off[0] == '\0' && out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
    an_str_append_char(out, '\n');
}

static void print_columns(const sheet *t, const int *widths, size_t first, size_t last, an_str *out)
{
    char values[COLUMNS_MAX][64], unders[COLUMNS_MAX][64];
    bool color = t->style.color;
    const char *dim = color ? AN_MARK_DIM : "", *bold = color ? AN_MARK_BOLD : "", *plain = color ? AN_MARK_PLAIN : "";
    const row *r;
    for (size_t i = first; i < last; i++) snprintf(values[i - first], 64, "%.63s", t->run->cells[i].label);
    print_line(t, out, "", widths, first, last, values, bold, plain);
    for (size_t k = 0; (r = row_at(k, t->style.all)); k++) {
        bool any_value = false, any_under = false;
        for (size_t i = first; i < last; i++) {
            cell_text(t, r, (int)i, values[i - first], unders[i - first], 64);
            any_value |= values[i - first][0] != '\0';
            any_under |= unders[i - first][0] != '\0';
        }
        if (!any_value) continue;
        print_line(t, out, r->title, widths, first, last, values, "", "");
        if (any_under) print_line(t, out, "", widths, first, last, unders, dim, plain);
    }
}

static void markdown_text(an_str *out, const char *text)
{
    /* A bar would end the column and a newline the row. */
    for (; *text; text++) {
        if (*text == '|') an_str_append_char(out, '\\');
        an_str_append_char(out, *text == '\n' ? ' ' : *text);
    }
}

static void print_markdown(const sheet *t, an_str *out)
{
    char value[64], under[64];
    const row *r;
    an_str_append(out, "| |");
    for (size_t i = 0; i < t->run->n_cell; i++) {
        an_str_append_char(out, ' ');
        markdown_text(out, t->run->cells[i].label);
        an_str_append(out, " |");
    }
    an_str_append(out, "\n| --- |");
    for (size_t i = 0; i < t->run->n_cell; i++) an_str_append(out, " --- |");
    an_str_append_char(out, '\n');
    for (size_t k = 0; (r = row_at(k, t->style.all)); k++) {
        size_t begin = out->len;
        bool any = false;
        an_str_appendf(out, "| %s |", r->title);
        for (size_t i = 0; i < t->run->n_cell; i++) {
            cell_text(t, r, (int)i, value, under, sizeof value);
            any |= value[0] != '\0';
            an_str_append_char(out, ' ');
            markdown_text(out, value);
            if (under[0]) {
                an_str_append(out, " (");
                markdown_text(out, under);
                an_str_append_char(out, ')');
            }
            an_str_append(out, " |");
        }
        an_str_append_char(out, '\n');
        if (any || out->failed) continue;
        out->len = begin;
        out->data[begin] = '\0';
    }
}

/* Many cells: one a line, with the figure that they are judged by. */
static void print_list(const sheet *t, bool markdown, an_str *out)
{
    char value[64], under[64], verdict[64], ratio[64], work[64];
    int width = 4;
    for (size_t i = 0; i < t->run->n_cell; i++) {
        int w = an_text_width(t->run->cells[i].label);
        if (w > width) width = w;
    }
    if (markdown)
        an_str_append(out, "| cell | work | median | interval | verdict |\n| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < t->run->n_cell; i++) {
        const an_cell *cell = &t->run->cells[i];
        an_summary s = an_cell_summary(cell, an_primary_field(cell));
        an_work_label(&cell->work, work, sizeof work);
        value[0] = under[0] = verdict[0] = ratio[0] = '\0';
        if (an_cell_measured(cell)) {
            an_format_value(an_primary_field(cell), s.median, value, sizeof value);
            range_text(an_primary_field(cell), &s, under, sizeof under);
            write_verdict(t, (int)i, verdict, ratio, sizeof verdict);
        } else
            snprintf(value, sizeof value, "%s", an_cell_status_name(cell->status));
        if (markdown) {
            an_str_append(out, "| ");
            markdown_text(out, cell->label);
            an_str_appendf(out, " | %s | %s | %s | %s%s%s |\n", work, value, under, verdict, ratio[0] ? ", " : "",
                           ratio);
            continue;
        }
        const char *texts[] = {cell->label, work, value, under, verdict};
        const int widths[] = {width, 18, 12, 24, 11};
        for (int k = 0; k < 5; k++) {
            an_text_pad(out, texts[k], widths[k]);
            an_str_append_repeat(out, ' ', COLUMN_GAP);
        }
        an_str_append(out, ratio);
        while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
        an_str_append_char(out, '\n');
    }
}

static void print_table(const sheet *t, an_str *out)
{
    int widths[COLUMNS_MAX];
    size_t n = t->run->n_cell;
    for (size_t i = 0; i < n; i++) widths[i] = column_width(t, (int)i);
    for (size_t first = 0; first < n;) {
        int width = title_width(t) + widths[first];
        size_t last = first + 1;
        while (last < n && width + COLUMN_GAP + widths[last] <= t->style.width) width += COLUMN_GAP + widths[last++];
        if (first) an_str_append_char(out, '\n');
        print_columns(t, widths, first, last, out);
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
    size_t n_told = 0;
    for (size_t i = 0; i < c->n_cell; i++) {
        const an_cell *cell = &c->cells[i];
        bool seen = false;
        const an_rep *rep = an_cell_timed(cell, 0);
        if (!rep || !rep->text) continue;
        for (size_t j = 0; j < i && !seen; j++) seen = same_text(an_cell_timed(&c->cells[j], 0), rep);
        if (seen) continue;
        if (++n_told > TEXTS_TOLD) continue;
        an_str_appendf(out, "\n%s%s", markdown ? "**" : color ? AN_MARK_BOLD : "", cell->label);
        for (size_t j = i + 1; j < c->n_cell; j++)
            if (same_text(an_cell_timed(&c->cells[j], 0), rep)) an_str_appendf(out, ", %s", c->cells[j].label);
        an_str_appendf(out, "%s\n%s", markdown ? "**\n" : color ? AN_MARK_PLAIN : "", markdown ? "> " : "    ");
        size_t head = rep->text_bytes_before_eos, total = rep->text_bytes;
        if (total > TEXT_SHOWN_BYTES) total = TEXT_SHOWN_BYTES;
        if (head > total) head = total;
        append_clean(out, rep->text, head, markdown ? "> " : "    ");
        if (head < total) {
            an_str_append(out, color ? AN_MARK_DIM : markdown ? " " AN_MARK_SUB : " [after the end:] ");
            append_clean(out, rep->text + head, total - head, markdown ? "> " : "    ");
            an_str_append(out, color ? AN_MARK_PLAIN : markdown ? AN_MARK_SUB_END : "");
        }
        if (rep->text_bytes > TEXT_SHOWN_BYTES) an_str_append(out, " …");
        an_str_append_char(out, '\n');
    }
    if (n_told > TEXTS_TOLD) an_str_appendf(out, "\n%zu more texts are in the raw data.\n", n_told - TEXTS_TOLD);
}

static void print_wrapped(an_str *out, const char *text, int width, const char *first, const char *rest)
{
    int column = an_text_width(first);
    an_str_append(out, first);
    while (*text) {
        size_t len = strcspn(text, " \n");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), text);
        int w = an_text_width(word);
        if (column + w > width && column > an_text_width(rest)) {
            while (out->len && out->data[out->len - 1] == ' ') out->data[--out->len] = '\0';
            an_str_appendf(out, "\n%s", rest);
            column = an_text_width(rest);
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

static anemo_status print_analysis(const an_run *c, an_report_style style, bool markdown, an_str *out, anemo_error *err)
{
    json_t *doc = an_report_analysis(c), *list, *sentence;
    const char *key;
    size_t i;
    an_str check = {0};
    if (!doc) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    /* jansson drops what it has no memory for without a word; writing notices (base/json.h). */
    anemo_status status = an_json_write(json_incref(doc), JSON_COMPACT, &check, err);
    json_object_foreach (doc, key, list) {
        if (json_array_size(list) == 0) continue;
        const char *rest = strcmp(key, "cpu") == 0 ? "PU" : key + 1;
        an_str_appendf(out, "%s%c%s%s\n",
                       markdown      ? "- **"
                       : style.color ? AN_MARK_BOLD
                                     : "",
                       toupper((unsigned char)key[0]), rest,
                       markdown      ? "**"
                       : style.color ? AN_MARK_PLAIN
                                     : "");
        json_array_foreach (list, i, sentence) {
            if (markdown)
                an_str_appendf(out, "  - %s\n", json_string_value(sentence));
            else
                print_wrapped(out, json_string_value(sentence), style.width, "  ", "    ");
        }
    }
    json_decref(doc);
    an_str_free(&check);
    return status;
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
    const char *end = markdown ? "  \n" : "\n";
    int threads = an_report_threads(c), n_predict = workload_int(c, "n_predict");
    an_str_append(out, e->cpu[0] ? e->cpu : "a machine that the run does not name");
    if (threads > 0) an_str_appendf(out, " · %d thread%s", threads, threads == 1 ? "" : "s");
    an_str_appendf(out, " · %s%s", e->date, end);
    if (c->n_model) an_str_append(out, "Models: ");
    for (size_t i = 0; i < c->n_model; i++)
        an_str_appendf(out, "%s%s", i ? ", " : "", c->models[i].name ? c->models[i].name : "without a name");
    if (c->n_model) an_str_append(out, end);
    if (prompt) {
        an_str_append(out, "Prompt: \"");
        append_clean(out, prompt, strlen(prompt) < 200 ? strlen(prompt) : 200, "");
        an_str_appendf(out, "\" (template: %s, %zu tokens) · ", format ? format : "none", n_ids);
    } else if (n_ids)
        an_str_appendf(out, "Prompt: %zu given ids · ", n_ids);
    if (n_predict > 0)
        an_str_appendf(out, "%d tokens%s · ", n_predict,
                       json_is_false(json_object_get(c->workload, "fixed_length")) ? " at most" : "");
    if (c->n_block > 0)
        an_str_appendf(out, "%d block%s", c->n_block, c->n_block == 1 ? "" : "s");
    else
        an_str_appendf(out, "%zu cell%s", c->n_cell, c->n_cell == 1 ? "" : "s");
    an_str_append(out, "\n\n");
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

static anemo_status sheet_make(sheet *t, const an_run *run, an_report_style style, anemo_error *err)
{
    anemo_status status;
    *t = (sheet){.run = run, .style = style};
    AN_TRY(an_groups_make(&t->groups, run, err));
    AN_TRY(an_pairs_make(&t->pairs, run, &t->groups, an_run_primary_field(run), err));
    t->pair_of = an_calloc(run->n_cell + 1, sizeof *t->pair_of);
    if (!t->pair_of) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    for (size_t i = 0; i < run->n_cell; i++) t->pair_of[i] = -1;
    for (size_t i = 0; i < t->pairs.n; i++) t->pair_of[t->pairs.items[i].cell] = (int)i;
cleanup:
    return status;
}

anemo_status an_report_table(const an_run *run, an_report_style style, bool markdown, an_str *out, anemo_error *err)
{
    anemo_status status;
    sheet t;
    an_str raw = {0}, *final = out;
    AN_TRY(sheet_make(&t, run, style, err));
    out = &raw;
    print_head(run, markdown, out);
    if (run->n_cell > COLUMNS_TOLD)
        print_list(&t, markdown, out);
    else if (markdown)
        print_markdown(&t, out);
    else
        print_table(&t, out);
    print_reasons(run, out);
    if (style.plots && !markdown) AN_TRY(an_report_plots(run, &t.groups, &t.pairs, style, out, err));
    print_texts(run, style.color, markdown, out);
    an_str_append(out, markdown ? "\n### Result analysis\n\n" : "\nResult analysis\n");
    AN_TRY(print_analysis(run, style, markdown, out, err));
    an_report_clean(&raw, style.color, markdown, final);
cleanup:
    an_str_free(&raw);
    an_groups_free(&t.groups);
    an_pairs_free(&t.pairs);
    an_free(t.pair_of);
    return status;
}
