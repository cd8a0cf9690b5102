/* JUnit XML. Everything that comes from outside goes through escape(). */
#include "report/junit.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What XML writes for this byte in text and attributes; NULL for the byte itself. */
static const char *entity(unsigned char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\n': return "&#10;";
    case '\t': return "&#9;";
    case '\r': return "&#13;";
    default: return c < 32 || c == 127 ? "\xEF\xBF\xBD" : NULL;
    }
}

/* XML knows neither most control characters nor bytes that are not UTF-8 nor U+FFFE and U+FFFF: each becomes U+FFFD. */
static void escape(an_str *out, const char *text)
{
    size_t n = strlen(text), i = 0;
    while (i < n) {
        size_t end = i + an_utf8_valid_prefix(text + i, n - i);
        bool odd = end == i;
        for (; i < end; i++) {
            const char *e = entity((unsigned char)text[i]);
            odd = end - i >= 3 && (!memcmp(text + i, "\xEF\xBF\xBE", 3) || !memcmp(text + i, "\xEF\xBF\xBF", 3));
            if (odd) break;
            if (e) an_str_append(out, e);
            else an_str_append_char(out, text[i]);
        }
        if (odd) {
            an_str_append(out, "\xEF\xBF\xBD");
            i += i < end ? 3 : 1;
        }
    }
}

static void attribute(an_str *out, const char *name, const char *value)
{
    an_str_appendf(out, " %s=\"", name);
    escape(out, value);
    an_str_append_char(out, '"');
}

static void property(an_str *out, const char *name, const char *value)
{
    if (!value[0]) return;
    an_str_append(out, "      <property");
    attribute(out, "name", name);
    attribute(out, "value", value);
    an_str_append(out, "/>\n");
}

static double seconds(const an_cell *cell)
{
    double sum = 0;
    for (size_t i = 0; i < cell->n_rep; i++)
        if (isfinite(cell->reps[i].values[AN_FIELD_ID_total_s])) sum += cell->reps[i].values[AN_FIELD_ID_total_s];
    return sum;
}

static void begin_suite(an_str *out, const char *name, const an_run *run, size_t n, size_t failures, size_t errors, size_t skipped,
                        double time)
{
    const an_environment *e = &run->environment;
    char stamp[20];
    snprintf(stamp, sizeof stamp, "%.19s", e->date); /* the schema knows no time zone; it is UTC */
    an_str_append(out, "  <testsuite");
    attribute(out, "name", name);
    an_str_appendf(out, " tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\" time=\"%.3f\"", n, failures, errors, skipped, time);
    if (stamp[0]) attribute(out, "timestamp", stamp);
    if (e->host[0]) attribute(out, "hostname", e->host);
    an_str_append(out, ">\n    <properties>\n");
    property(out, "run", run->id);
    property(out, "kind", run->kind);
    property(out, "cpu", e->cpu);
    property(out, "os", e->os);
    property(out, "anemo", e->anemo_version);
    property(out, "anemo_commit", e->anemo_commit);
    an_str_append(out, "    </properties>\n");
}

static void begin_case(an_str *out, const char *class, const char *name, double time)
{
    an_str_append(out, "    <testcase");
    attribute(out, "classname", class);
    attribute(out, "name", name);
    an_str_appendf(out, " time=\"%.3f\">\n", time);
}

/* A child of a test case: its kind, what it says in one line, and the rest. */
static void child(an_str *out, const char *kind, const char *message, const char *type, const char *body)
{
    an_str_appendf(out, "      <%s", kind);
    attribute(out, "message", message);
    if (type) attribute(out, "type", type);
    an_str_append_char(out, '>');
    escape(out, body);
    an_str_appendf(out, "</%s>\n", kind);
}

/* The medians, one a line. */
static void put_figures(an_str *out, const an_cell *cell)
{
    an_str_append(out, "      <system-out>");
    for (int f = 0; f < AN_FIELD_N; f++) {
        an_summary s = an_cell_summary(cell, (an_field_id)f);
        if (s.n == 0) continue;
        an_str_appendf(out, "%s %.9g ", an_field_get((an_field_id)f)->name, s.median);
        escape(out, an_field_get((an_field_id)f)->unit);
        an_str_appendf(out, " (median of %zu)\n", s.n);
    }
    an_str_append(out, "</system-out>\n");
}

static void put_cells(an_str *out, const an_run *run)
{
    size_t errors = 0, skipped = 0;
    double time = 0;
    for (size_t i = 0; i < run->n_cell; i++) {
        errors += run->cells[i].status == AN_CELL_FAILED;
        skipped += run->cells[i].status != AN_CELL_FAILED && run->cells[i].status != AN_CELL_OK;
        time += seconds(&run->cells[i]);
    }
    begin_suite(out, "anemo cells", run, run->n_cell, 0, errors, skipped, time);
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        char title[256];
        an_cell_title(run, (int)i, title, sizeof title);
        begin_case(out, cell->engine, title, seconds(cell));
        const char *reason = cell->reason ? cell->reason : an_cell_status_name(cell->status);
        if (cell->status == AN_CELL_FAILED)
            child(out, "error", reason, "failed", cell->stderr_tail ? cell->stderr_tail : "");
        else if (cell->status != AN_CELL_OK)
            child(out, "skipped", reason, NULL, "");
        if (cell->n_rep) put_figures(out, cell);
        an_str_append(out, "    </testcase>\n");
    }
    an_str_append(out, "  </testsuite>\n");
}

static void put_checks(an_str *out, const an_gate *g)
{
    bool fails = g->options.undecided_fails;
    size_t undecided = g->count[AN_GATE_UNDECIDED];
    an_str text = {0};
    begin_suite(out, "anemo gate", g->run, g->n_check, g->count[AN_GATE_FAIL] + (fails ? undecided : 0), 0, fails ? 0 : undecided, 0);
    for (size_t i = 0; i < g->n_check; i++) {
        const an_gate_check *c = &g->checks[i];
        char title[256], name[340];
        an_cell_title(g->run, g->matches[c->match].b, title, sizeof title);
        snprintf(name, sizeof name, "%s · %s", title, g->rules[c->rule].text);
        begin_case(out, "gate", name, 0);
        an_str_clear(&text);
        an_gate_check_text(g, c, &text);
        if (c->outcome == AN_GATE_FAIL || (c->outcome == AN_GATE_UNDECIDED && fails))
            child(out, "failure", an_str_text(&text), an_gate_outcome_name(c->outcome), an_str_text(&text));
        else if (c->outcome == AN_GATE_UNDECIDED)
            child(out, "skipped", an_str_text(&text), NULL, "");
        else {
            an_str_append(out, "      <system-out>");
            escape(out, an_str_text(&text));
            an_str_append(out, "</system-out>\n");
        }
        an_str_append(out, "    </testcase>\n");
    }
    out->failed = out->failed || text.failed;
    an_str_free(&text);
    an_str_append(out, "  </testsuite>\n");
}

anemo_status an_junit_write(const an_run *run, const an_gate *gate, an_str *out, anemo_error *err)
{
    an_str_append(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"anemo\">\n");
    put_cells(out, run);
    if (gate) put_checks(out, gate);
    an_str_append(out, "</testsuites>\n");
    return an_str_check(out, err);
}
