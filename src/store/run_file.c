/* Reading files of runs. */
#include "store/run_file.h"

#include "base/alloc.h"
#include "base/json.h"
#include "store/store_internal.h"

#include <ctype.h>
#include <string.h>

void an_run_list_free(an_run *runs, size_t n)
{
    for (size_t i = 0; i < n; i++) an_run_free(&runs[i]);
    an_free(runs);
}

static size_t skip_blanks(const char *text, size_t n, size_t at)
{
    while (at < n && isspace((unsigned char)text[at])) at++;
    return at;
}

bool an_run_file_is(const char *text, size_t n)
{
    static const char mark[] = "\"anemo.run/";
    for (const char *at = text, *end = text + n; (at = memchr(at, '"', (size_t)(end - at))); at++)
        if ((size_t)(end - at) >= sizeof mark - 1 && memcmp(at, mark, sizeof mark - 1) == 0) return true;
    return false;
}

typedef struct run_list {
    an_run *runs;
    size_t n;
} run_list;

static anemo_status add_run(run_list *list, const json_t *doc, const char *name, anemo_error *err)
{
    an_run *grown = an_realloc(list->runs, (list->n + 1) * sizeof *grown);
    if (!grown) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    list->runs = grown;
    anemo_status status = an_run_from_json(&grown[list->n], doc, name, err);
    if (status != ANEMO_OK) return status;
    status = an_run_check(&grown[list->n++], err);
    return status == ANEMO_OK ? status : an_fail_prefix(err, status, "%s", name);
}

static anemo_status add_document(run_list *list, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL, *item;
    size_t i;
    AN_TRY(an_json_parse(&doc, text, n, name, err));
    if (!json_is_array(doc)) {
        status = add_run(list, doc, name, err);
        goto cleanup;
    }
    json_array_foreach(doc, i, item) AN_TRY(add_run(list, item, name, err));
cleanup:
    json_decref(doc);
    return status;
}

/* Does another document follow on a line of its own? A document that was printed over several lines ends the file. */
static bool is_lines(const char *text, size_t n)
{
    const char *end = memchr(text, '\n', n);
    size_t at = end ? skip_blanks(text, n, (size_t)(end - text)) : n;
    return text[0] == '{' && at < n && text[at] == '{' && end > text && end[-1] == '}';
}

anemo_status an_run_file_parse(const char *text, size_t n, const char *name, an_run **runs, size_t *n_run, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    run_list list = {0};
    size_t at = skip_blanks(text, n, 0), number = 0;
    if (at == n) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: empty", name);
        goto cleanup;
    }
    if (!is_lines(text + at, n - at)) {
        AN_TRY(add_document(&list, text + at, n - at, name, err));
    } else {
        for (; at < n; at = skip_blanks(text, n, at)) {
            const char *end = memchr(text + at, '\n', n - at);
            size_t bytes = end ? (size_t)(end - text) - at : n - at;
            number++;
            status = add_document(&list, text + at, bytes, name, err);
            if (status != ANEMO_OK) {
                status = an_fail_prefix(err, status, "document %zu", number);
                goto cleanup;
            }
            at += bytes;
        }
    }
    if (list.n == 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: holds no run", name);
        goto cleanup;
    }
    *runs = list.runs;
    *n_run = list.n;
cleanup:
    if (status != ANEMO_OK) an_run_list_free(list.runs, list.n);
    return status;
}
