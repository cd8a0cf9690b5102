/* The one entry to all forms of a report. */
#include "report/report_internal.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

bool an_report_format_from_name(const char *name, an_report_format *out)
{
    static const char *const names[] = {"text", "md", "json", "csv"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (an_report_format)i;
        return true;
    }
    return false;
}

static anemo_status write_json(const an_run *c, an_str *out, anemo_error *err)
{
    anemo_status status = an_json_write(an_report_json(c), JSON_INDENT(1) | JSON_REAL_PRECISION(12), out, err);
    an_str_append_char(out, '\n');
    return status;
}

anemo_status an_report_write(const an_run *c, an_report_format format, an_report_style style, an_str *out,
                             anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    switch (format) {
    case AN_REPORT_TEXT: an_report_table(c, style, false, out); break;
    case AN_REPORT_MD: an_report_table(c, style, true, out); break;
    case AN_REPORT_CSV: an_report_csv(c, out); break;
    case AN_REPORT_JSON: AN_TRY(write_json(c, out, err)); break;
    case AN_REPORT_HTML:
    case AN_REPORT_FORMAT_N: return an_fail(err, ANEMO_ERR_UNSUPPORTED, "no such report format");
    }
    status = an_str_check(out, err);
cleanup:
    return status;
}
