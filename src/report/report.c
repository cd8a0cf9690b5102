/* The one entry to all forms of a report. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

bool an_report_format_from_name(const char *name, an_report_format *out)
{
    static const char *const names[AN_REPORT_FORMAT_N] = {"text", "md", "json", "csv", "html"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (an_report_format)i;
        return true;
    }
    return false;
}

/* One run is an object as it always was, several are an array of such. */
static anemo_status write_json(const an_run *const *runs, size_t n_run, an_str *out, anemo_error *err)
{
    json_t *doc = n_run == 1 ? an_report_json(runs[0]) : json_array();
    for (size_t i = 0; i < n_run && n_run != 1 && doc; i++) {
        json_t *one = an_report_json(runs[i]);
        if (one && json_array_append_new(doc, one) == 0) continue;
        json_decref(doc);
        doc = NULL;
    }
    anemo_status status = an_json_write(doc, JSON_INDENT(1) | JSON_REAL_PRECISION(12), out, err);
    an_str_append_char(out, '\n');
    return status;
}

/* Tables of several runs follow each other under their ids. */
static anemo_status write_tables(const an_run *const *runs, size_t n_run, an_report_style style, bool markdown,
                                 an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < n_run; i++) {
        if (n_run > 1)
            an_str_appendf(out, "%s%s %s%s\n\n", i ? "\n" : "", markdown ? "##" : "==", runs[i]->id,
                           markdown ? "" : " ==");
        AN_TRY(an_report_table(runs[i], style, markdown, out, err));
    }
cleanup:
    return status;
}

anemo_status an_report_write_all(const an_run *const *runs, size_t n_run, an_report_format format,
                                 an_report_style style, an_str *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    switch (format) {
    case AN_REPORT_TEXT:
    case AN_REPORT_MD: AN_TRY(write_tables(runs, n_run, style, format == AN_REPORT_MD, out, err)); break;
    case AN_REPORT_CSV: an_report_csv(runs, n_run, out); break;
    case AN_REPORT_JSON: AN_TRY(write_json(runs, n_run, out, err)); break;
    case AN_REPORT_HTML: AN_TRY(an_report_html(runs, n_run, out, err)); break;
    case AN_REPORT_FORMAT_N: return an_fail(err, ANEMO_ERR_UNSUPPORTED, "no such report format");
    }
    status = an_str_check(out, err);
cleanup:
    return status;
}

anemo_status an_report_write(const an_run *run, an_report_format format, an_report_style style, an_str *out,
                             anemo_error *err)
{
    return an_report_write_all(&run, 1, format, style, out, err);
}
