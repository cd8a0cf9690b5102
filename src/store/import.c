/* What a file of results is, and the formats that hold whole runs. The readers of the others are beside this file. */
#include "store/import_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/sha256.h"
#include "base/str.h"
#include "os/file.h"
#include "store/run_file.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define KNOWN                                                                                                                \
    "what can be imported: runs of anemo (JSON or a line each), llama-bench -o json, jsonl, sql or csv, and what mlx_lm.benchmark prints"

enum { PLACE_MAX = 512, SNIFF_BYTES = 1 << 16 };

an_run *an_importing_add(an_importing *to)
{
    if (to->n == to->cap) {
        size_t cap = to->cap ? 2 * to->cap : 4;
        an_run *runs = an_realloc(to->runs, cap * sizeof *runs);
        if (!runs) return NULL;
        to->runs = runs;
        to->cap = cap;
    }
    an_run *run = &to->runs[to->n++];
    an_run_init(run);
    snprintf(run->kind, sizeof run->kind, "import");
    return run;
}

anemo_status an_import_add_rep(an_importing *to, an_run *run, an_cell *cell, an_rep *rep, anemo_error *err)
{
    if (++to->n_rep > AN_IMPORT_REPS_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "more than %d repetitions; split the file", AN_IMPORT_REPS_MAX);
    rep->block = (int)cell->n_rep;
    rep->order = 0;
    for (size_t i = 0; i < run->n_cell; i++) rep->order += (int64_t)run->cells[i].n_rep;
    return an_cell_add_rep(cell, rep, err);
}

anemo_status an_import_line(an_lines *in, const char *name, bool *more, anemo_error *err)
{
    *more = in->at < in->end;
    if (!*more) return ANEMO_OK;
    size_t left = (size_t)(in->end - in->at);
    const char *stop = memchr(in->at, '\n', left);
    in->number++;
    in->line = in->at;
    in->n = stop ? (size_t)(stop - in->at) : left;
    in->at = stop ? stop + 1 : in->end;
    if (in->n > AN_IMPORT_LINE_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu has %zu bytes, at most %d can be read", name, in->number, in->n,
                       AN_IMPORT_LINE_MAX);
    if (in->n && in->line[in->n - 1] == '\r') in->n--;
    return ANEMO_OK;
}

/* Commas and opening brackets bound the memory that a document takes before it is parsed. */
static anemo_status check_values(const char *text, size_t n, const char *where, anemo_error *err)
{
    size_t values = 0;
    for (size_t i = 0; i < n; i++) values += text[i] == ',' || text[i] == '[' || text[i] == '{';
    if (values <= AN_IMPORT_VALUES_MAX) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d values in one JSON document", where, AN_IMPORT_VALUES_MAX);
}

static anemo_status add_run(an_importing *to, const json_t *doc, const char *where, anemo_error *err)
{
    an_run *run = an_importing_add(to);
    if (!run) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    an_run_free(run);
    return an_run_from_json(run, doc, where, err);
}

static anemo_status add_value(an_importing *to, const json_t *value, const char *where, anemo_error *err);

/* The elements of a list of runs or rows, each named by its number. */
static anemo_status add_list(an_importing *to, const json_t *list, const char *where, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        char place[PLACE_MAX + 40];
        snprintf(place, sizeof place, "%.500s: row %zu", where, i + 1);
        if (!json_is_object(v)) return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s is no object; " KNOWN, place);
        AN_TRY(add_value(to, v, place, err));
    }
cleanup:
    return status;
}

/* A capsule, which holds a run, or a row of llama-bench. */
static anemo_status add_value(an_importing *to, const json_t *value, const char *where, anemo_error *err)
{
    const char *schema = json_string_value(json_object_get(value, "schema"));
    const json_t *inner = json_object_get(value, "run");
    if (schema && !strcmp(schema, "anemo.capsule/1") && json_is_object(inner)) return add_run(to, inner, where, err);
    if (schema)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: the schema '%.60s' is not known to this version of anemo; " KNOWN, where,
                       schema);
    if (an_import_is_row(value)) return an_import_row(to, value, where, err);
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s has neither a \"schema\" as runs of anemo do, nor \"model_filename\" and \"avg_ts\" as rows of llama-bench "
                   "do; " KNOWN,
                   where);
}

static bool is_blank(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isspace((unsigned char)text[i])) return false;
    return true;
}

/* The rest of a file of which `first` was the whole first line. */
static anemo_status add_lines(an_importing *to, const json_t *first, an_lines *in, anemo_error *err)
{
    anemo_status status;
    char where[PLACE_MAX];
    json_t *value = NULL;
    bool more;
    snprintf(where, sizeof where, "%.480s: line %zu", to->name, in->number);
    AN_TRY(add_value(to, first, where, err));
    for (;;) {
        AN_TRY(an_import_line(in, to->name, &more, err));
        if (!more) break;
        if (is_blank(in->line, in->n)) continue;
        snprintf(where, sizeof where, "%.480s: line %zu", to->name, in->number);
        AN_TRY(an_json_parse(&value, in->line, in->n, where, err));
        AN_TRY(add_value(to, value, where, err));
        json_decref(value);
        value = NULL;
    }
cleanup:
    json_decref(value);
    return status;
}

/* Does its schema stand somewhere in these bytes? */
static bool is_capsule(const char *text, size_t n)
{
    static const char mark[] = "\"anemo.capsule/";
    for (const char *at = text, *end = text + n; (at = memchr(at, '"', (size_t)(end - at))); at++)
        if ((size_t)(end - at) >= sizeof mark - 1 && memcmp(at, mark, sizeof mark - 1) == 0) return true;
    return false;
}

/*
 * One document, or one in each line. It is the second when the first line that is not blank is a whole document and more
 * follows behind it.
 */
static anemo_status add_json(an_importing *to, const char *text, size_t n, anemo_error *err)
{
    anemo_status status;
    an_lines in = {.at = text, .end = text + n};
    json_t *doc = NULL;
    bool more;
    AN_TRY(check_values(text, n, to->name, err));
    if (an_run_file_is(text, n) && !is_capsule(text, n)) return an_run_file_parse(text, n, to->name, &to->runs, &to->n, err);
    do {
        const char *stop = memchr(in.at, '\n', (size_t)(in.end - in.at));
        if (!stop) break; /* a document in one line may be longer than a line of many */
        AN_TRY(an_import_line(&in, to->name, &more, err));
    } while (is_blank(in.line, in.n));
    bool lines = in.line && in.at < in.end && !is_blank(in.at, (size_t)(in.end - in.at)) && in.n && in.line[0] == '{';
    if (lines && an_json_parse(&doc, in.line, in.n, to->name, NULL) == ANEMO_OK) {
        status = add_lines(to, doc, &in, err);
        goto cleanup;
    }
    AN_TRY(an_json_parse(&doc, text, n, to->name, err));
    if (json_is_array(doc))
        AN_TRY(add_list(to, doc, to->name, err));
    else
        AN_TRY(add_value(to, doc, to->name, err));
cleanup:
    json_decref(doc);
    return status;
}

/* Does the text, of which the case does not count, begin with this word? */
static bool begins_with(const char *text, size_t n, const char *word)
{
    size_t n_word = strlen(word);
    return n >= n_word && !strncasecmp(text, word, n_word);
}

static bool looks_like_sql(const char *text, size_t n)
{
    static const char *const words[] = {"CREATE TABLE", "INSERT INTO", "PRAGMA ", "BEGIN", "--", "/*"};
    for (size_t i = 0; i < AN_COUNT_OF(words); i++)
        if (begins_with(text, n, words[i])) return true;
    return false;
}

/* Is `what` within the first line? */
static bool first_line_has(const char *text, size_t n, const char *what)
{
    const char *stop = memchr(text, '\n', n);
    size_t n_line = stop ? (size_t)(stop - text) : n, n_what = strlen(what);
    for (size_t i = 0; i + n_what <= n_line && i < SNIFF_BYTES; i++)
        if (!memcmp(text + i, what, n_what)) return true;
    return false;
}

/* Does a line begin with `head`? */
static bool has_line(const char *text, size_t n, const char *head)
{
    size_t n_head = strlen(head);
    const char *at = text, *end = text + n;
    while (at && (size_t)(end - at) >= n_head) {
        if (!memcmp(at, head, n_head)) return true;
        at = memchr(at, '\n', (size_t)(end - at));
        if (at) at++;
    }
    return false;
}

static anemo_status read_format(an_importing *to, const char *text, size_t n, anemo_error *err)
{
    static const char byte_order_mark[] = "\xEF\xBB\xBF";
    if (n >= 3 && !memcmp(text, byte_order_mark, 3)) {
        text += 3;
        n -= 3;
    }
    size_t space = 0;
    while (space < n && isspace((unsigned char)text[space])) space++;
    if (space == n) return an_fail(err, ANEMO_ERR_FORMAT, "%s: the file is empty; " KNOWN, to->name);
    const char *first = text + space;
    size_t left = n - space;
    if (*first == '{' || *first == '[') return add_json(to, text, n, err);
    if (looks_like_sql(first, left)) return an_import_sql(to, text, n, err);
    if (first_line_has(first, left, "avg_ts") && first_line_has(first, left, ",")) return an_import_csv(to, text, n, err);
    if (has_line(text, n, "Timing with ")) return an_import_mlx(to, text, n, err);
    if (*first == '|')
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: a Markdown table has rounded figures only; write it again with -o json",
                       to->name);
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s is no file of results that is known; " KNOWN, to->name);
}

anemo_status an_import_bytes(const char *data, size_t size, const char *name, an_run **runs, size_t *n, anemo_error *err)
{
    anemo_status status;
    an_importing to = {.name = name};
    if (size > AN_IMPORT_BYTES_MAX) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s has %zu bytes, at most %d can be read; split it", name, size, AN_IMPORT_BYTES_MAX);
        goto cleanup;
    }
    if (!an_sha256_hex(data, size, to.digest)) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", name);
        goto cleanup;
    }
    AN_TRY(read_format(&to, data, size, err));
    if (to.n == 0) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s holds no results: no row or run is in it", name);
        goto cleanup;
    }
    *runs = to.runs;
    *n = to.n;
    return ANEMO_OK;
cleanup:
    an_run_list_free(to.runs, to.n);
    return status;
}

anemo_status an_import(const char *path, an_run **runs, size_t *n, anemo_error *err)
{
    an_file_map map = {0};
    anemo_status status;
    AN_TRY(an_file_map_open(&map, path, err));
    status = an_import_bytes((const char *)map.data, (size_t)map.size, path, runs, n, err);
    an_file_unmap(&map);
cleanup:
    return status;
}
