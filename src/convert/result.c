/* What a conversion gives back. */
#include "convert/convert.h"

#include "base/alloc.h"
#include "base/str.h"

#include <stdarg.h>

void an_convert_result_free(an_convert_result *r)
{
    for (size_t i = 0; i < r->n_note; i++)
        an_free(r->notes[i]);
    an_free(r->notes);
    an_weight_classes_free(&r->classes);
    *r = (an_convert_result){0};
}

anemo_status an_convert_note(an_convert_result *r, anemo_error *err, const char *fmt, ...)
{
    anemo_status status = ANEMO_OK;
    an_str text = {0};
    char **grown = NULL, *copy = NULL;
    va_list args;
    va_start(args, fmt);
    an_str_vappendf(&text, fmt, args);
    va_end(args);
    AN_TRY(an_str_check(&text, err));
    copy = an_strdup(text.data);
    grown = copy ? an_realloc(r->notes, (r->n_note + 1) * sizeof *grown) : NULL;
    if (!grown) {
        an_free(copy);
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        goto cleanup;
    }
    r->notes = grown;
    r->notes[r->n_note++] = copy;
cleanup:
    an_str_free(&text);
    return status;
}
