/*
 * Rows of llama-bench out of its SQL and its CSV. The SQL is what it prints and what `sqlite3 FILE .dump` makes of it again:
 * CREATE TABLE, INSERT with literal values, and the words around them that change nothing. It is read as text; whatever
 * else stands there is refused.
 */
#include "store/import_internal.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { COLUMNS_MAX = 256, PLACE_MAX = 512 };

typedef struct names {
    char *at[COLUMNS_MAX];
    size_t n;
} names;

static void names_clear(names *s)
{
    for (size_t i = 0; i < s->n; i++) an_free(s->at[i]);
    s->n = 0;
}

static anemo_status names_add(names *s, const char *text, size_t n, const char *where, anemo_error *err)
{
    if (s->n == COLUMNS_MAX) return an_fail(err, ANEMO_ERR_FORMAT, "%s: more than %d columns", where, COLUMNS_MAX);
    if (n == 0 || memchr(text, 0, n) || an_utf8_valid_prefix(text, n) != n)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: column %zu has no name in UTF-8", where, s->n + 1);
    for (size_t i = 0; i < s->n; i++)
        if (strlen(s->at[i]) == n && !memcmp(s->at[i], text, n))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: the column '%.*s' is there twice", where, (int)(n < 60 ? n : 60), text);
    s->at[s->n] = an_strndup(text, n);
    if (!s->at[s->n]) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    s->n++;
    return ANEMO_OK;
}

/* Give the row a value under the name of its column; NULL text is null. */
static anemo_status set_value(json_t *row, const names *columns, size_t i, const char *text, size_t n, const char *where,
                              anemo_error *err)
{
    if (i >= columns->n) return an_fail(err, ANEMO_ERR_FORMAT, "%s: more values than the %zu columns", where, columns->n);
    if (text && memchr(text, 0, n)) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a byte 0 stands in a value", where);
    if (json_object_set_new(row, columns->at[i], text ? an_json_text(text, n) : json_null()) != 0)
        return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    return ANEMO_OK;
}

static anemo_status check_width(const names *columns, size_t n_value, const char *where, anemo_error *err)
{
    if (n_value == columns->n) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: %zu values for %zu columns; is the file cut off?", where, n_value, columns->n);
}

/* ---------------------------------------------------------------------------------------------------- SQL */

typedef enum token_kind { T_END, T_WORD, T_TEXT, T_NUMBER, T_SIGN } token_kind;

typedef struct sql {
    const char *name, *at, *end, *line_begin;
    size_t line;
    token_kind kind;
    an_str text; /* of a word, a text or a number */
    char sign;
    char where[PLACE_MAX]; /* "FILE: line N" of the token */
    an_importing *to;
    names created, columns; /* of the last CREATE TABLE; of this INSERT */
    bool ours;              /* this INSERT is into anemo_bench: more on the row before it */
    json_t *row;            /* the last row, complete when another follows; NULL */
    char row_where[PLACE_MAX];
} sql;

static anemo_status bad_sql(const sql *s, anemo_error *err, const char *what)
{
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s; only CREATE TABLE and INSERT with literal values are read. llama-bench itself does "
                                          "not double an apostrophe in a path: its -o json has no such fault",
                   s->where, what);
}

/* Go on by one byte, counting lines. */
static anemo_status step(sql *s, anemo_error *err)
{
    if (*s->at++ == '\n') {
        s->line++;
        s->line_begin = s->at;
    } else if (s->at - s->line_begin > AN_IMPORT_LINE_MAX) {
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu has more than %d bytes", s->name, s->line, AN_IMPORT_LINE_MAX);
    }
    return ANEMO_OK;
}

static bool at_pair(const sql *s, const char *pair)
{
    return s->end - s->at >= 2 && s->at[0] == pair[0] && s->at[1] == pair[1];
}

static anemo_status skip_space(sql *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    while (s->at < s->end) {
        if (at_pair(s, "--")) {
            while (s->at < s->end && *s->at != '\n') AN_TRY(step(s, err));
        } else if (at_pair(s, "/*")) {
            do AN_TRY(step(s, err));
            while (s->at < s->end && !at_pair(s, "*/"));
            if (s->at == s->end) return bad_sql(s, err, "a comment does not end");
            AN_TRY(step(s, err));
            AN_TRY(step(s, err));
        } else if (isspace((unsigned char)*s->at)) {
            AN_TRY(step(s, err));
        } else {
            break;
        }
    }
cleanup:
    return status;
}

/* A text or a quoted name up to its closing quote, which is itself when doubled. */
static anemo_status read_quoted(sql *s, char quote, anemo_error *err)
{
    anemo_status status;
    AN_TRY(step(s, err));
    while (s->at < s->end) {
        if (*s->at == quote) {
            AN_TRY(step(s, err));
            if (s->at == s->end || *s->at != quote) return an_str_check(&s->text, err);
        }
        an_str_append_char(&s->text, *s->at);
        AN_TRY(step(s, err));
    }
    status = bad_sql(s, err, "a text does not end");
cleanup:
    return status;
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static bool in_number(const sql *s)
{
    char c = *s->at;
    return isalnum((unsigned char)c) || c == '.' || (strchr("+-", c) && s->text.len && strchr("eE", s->text.data[s->text.len - 1]));
}

static anemo_status next(sql *s, anemo_error *err)
{
    anemo_status status;
    AN_TRY(skip_space(s, err));
    snprintf(s->where, sizeof s->where, "%.480s: line %zu", s->name, s->line);
    an_str_clear(&s->text);
    if (s->at == s->end) {
        s->kind = T_END;
        return ANEMO_OK;
    }
    char c = *s->at;
    if (c == '\'' || c == '"' || c == '`') {
        s->kind = c == '\'' ? T_TEXT : T_WORD;
        return read_quoted(s, c, err);
    }
    if (isdigit((unsigned char)c) || ((c == '-' || c == '+') && s->end - s->at > 1 && isdigit((unsigned char)s->at[1]))) {
        s->kind = T_NUMBER;
        do {
            an_str_append_char(&s->text, *s->at);
            AN_TRY(step(s, err));
        } while (s->at < s->end && in_number(s));
        return an_str_check(&s->text, err);
    }
    if (in_word(c)) {
        s->kind = T_WORD;
        while (s->at < s->end && in_word(*s->at)) {
            an_str_append_char(&s->text, *s->at);
            AN_TRY(step(s, err));
        }
        return an_str_check(&s->text, err);
    }
    if (!strchr("(),;=", c) || !c) {
        char what[60];
        snprintf(what, sizeof what, c > 32 && c < 127 ? "'%c' has no place here" : "the byte %d has no place here", c);
        return bad_sql(s, err, what);
    }
    s->kind = T_SIGN;
    s->sign = c;
    AN_TRY(step(s, err));
cleanup:
    return status;
}

static bool is_word(const sql *s, const char *word)
{
    return s->kind == T_WORD && !strcasecmp(an_str_text(&s->text), word);
}

static bool is_sign(const sql *s, char sign)
{
    return s->kind == T_SIGN && s->sign == sign;
}

static anemo_status need_word(sql *s, const char *word, anemo_error *err)
{
    char what[60];
    snprintf(what, sizeof what, "'%.20s' is missing", word);
    return is_word(s, word) ? next(s, err) : bad_sql(s, err, what);
}

static anemo_status need_sign(sql *s, char sign, anemo_error *err)
{
    char what[40];
    snprintf(what, sizeof what, "'%c' is missing", sign);
    return is_sign(s, sign) ? next(s, err) : bad_sql(s, err, what);
}

/* Up to the semicolon of a statement that says nothing of rows. */
static anemo_status skip_statement(sql *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    while (s->kind != T_END && !is_sign(s, ';')) AN_TRY(next(s, err));
cleanup:
    return status;
}

/* ( name … , name … ): the first word of each item. With `bare` nothing may follow it. */
static anemo_status read_names(sql *s, names *into, bool bare, anemo_error *err)
{
    anemo_status status;
    names_clear(into);
    AN_TRY(need_sign(s, '(', err));
    for (;;) {
        if (s->kind != T_WORD) return bad_sql(s, err, "the name of a column is missing");
        AN_TRY(names_add(into, an_str_text(&s->text), s->text.len, s->where, err));
        AN_TRY(next(s, err));
        while (!bare && (s->kind == T_WORD || s->kind == T_NUMBER)) AN_TRY(next(s, err));
        if (is_sign(s, ')')) return next(s, err);
        AN_TRY(need_sign(s, ',', err));
    }
cleanup:
    return status;
}

static anemo_status read_create(sql *s, anemo_error *err)
{
    anemo_status status;
    AN_TRY(next(s, err));
    if (!is_word(s, "TABLE")) return skip_statement(s, err); /* an index */
    AN_TRY(next(s, err));
    if (is_word(s, "IF")) {
        AN_TRY(next(s, err));
        AN_TRY(need_word(s, "NOT", err));
        AN_TRY(need_word(s, "EXISTS", err));
    }
    if (s->kind != T_WORD) return bad_sql(s, err, "the name of the table is missing");
    AN_TRY(next(s, err));
    AN_TRY(read_names(s, &s->created, false, err));
cleanup:
    return status;
}

/* The row that waited is complete. */
static anemo_status flush_row(sql *s, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (s->row) status = an_import_row(s->to, s->row, s->row_where, err);
    json_decref(s->row);
    s->row = NULL;
    return status;
}

/*
 * A row was read. `anemo bench` writes two for each measurement: llama-bench's, and what it has beyond that into a table of its own; where
 * the first is missing nothing was measured.
 */
static anemo_status take_row(sql *s, json_t *row, const char *where, anemo_error *err)
{
    anemo_status status;
    if (s->ours) {
        if (s->row && json_object_update(s->row, row) != 0) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
        return flush_row(s, err);
    }
    AN_TRY(flush_row(s, err));
    s->row = json_incref(row);
    memcpy(s->row_where, where, sizeof s->row_where);
cleanup:
    return status;
}

static anemo_status read_values(sql *s, const names *columns, anemo_error *err)
{
    anemo_status status;
    char where[PLACE_MAX];
    size_t n = 0;
    json_t *row = json_object();
    memcpy(where, s->where, sizeof where);
    if (!row) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", where);
    AN_TRY(need_sign(s, '(', err));
    for (;;) {
        bool null = is_word(s, "NULL");
        if (s->kind != T_TEXT && s->kind != T_NUMBER && !null) {
            status = bad_sql(s, err, "a value must be a text, a number or NULL");
            goto cleanup;
        }
        AN_TRY(set_value(row, columns, n++, null ? NULL : an_str_text(&s->text), s->text.len, s->where, err));
        AN_TRY(next(s, err));
        if (is_sign(s, ')')) break;
        if (!is_sign(s, ',')) {
            status = bad_sql(s, err, "',' or ')' must follow a value");
            goto cleanup;
        }
        AN_TRY(next(s, err));
    }
    AN_TRY(check_width(columns, n, where, err));
    AN_TRY(take_row(s, row, where, err));
    AN_TRY(next(s, err));
cleanup:
    json_decref(row);
    return status;
}

static anemo_status read_insert(sql *s, anemo_error *err)
{
    anemo_status status;
    const names *columns = &s->created;
    AN_TRY(next(s, err));
    AN_TRY(need_word(s, "INTO", err));
    if (s->kind != T_WORD) return bad_sql(s, err, "the name of the table is missing");
    s->ours = is_word(s, "anemo_bench");
    AN_TRY(next(s, err));
    if (is_sign(s, '(')) {
        AN_TRY(read_names(s, &s->columns, true, err));
        columns = &s->columns;
    }
    AN_TRY(need_word(s, "VALUES", err));
    for (;;) {
        AN_TRY(read_values(s, columns, err));
        if (!is_sign(s, ',')) break;
        AN_TRY(next(s, err));
    }
cleanup:
    return status;
}

anemo_status an_import_sql(an_importing *to, const char *text, size_t n, anemo_error *err)
{
    static const char *const idle[] = {"PRAGMA", "BEGIN", "COMMIT", "END"};
    anemo_status status;
    sql *s = an_calloc(1, sizeof *s);
    if (!s) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    *s = (sql){.name = to->name, .at = text, .end = text + n, .line_begin = text, .line = 1, .to = to};
    AN_TRY(next(s, err));
    while (s->kind != T_END) {
        bool is_idle = false;
        for (size_t i = 0; i < AN_COUNT_OF(idle); i++) is_idle = is_idle || is_word(s, idle[i]);
        if (is_word(s, "CREATE"))
            AN_TRY(read_create(s, err));
        else if (is_word(s, "INSERT"))
            AN_TRY(read_insert(s, err));
        else if (is_idle)
            AN_TRY(skip_statement(s, err));
        else if (!is_sign(s, ';'))
            AN_TRY(bad_sql(s, err, "a statement of another kind"));
        if (s->kind == T_END) {
            status = bad_sql(s, err, "the last statement has no ';': is the file cut off?");
            goto cleanup;
        }
        AN_TRY(need_sign(s, ';', err));
    }
    AN_TRY(flush_row(s, err));
cleanup:
    json_decref(s->row);
    names_clear(&s->created);
    names_clear(&s->columns);
    an_str_free(&s->text);
    an_free(s);
    return status;
}

/* ---------------------------------------------------------------------------------------------------- CSV */

typedef struct csv {
    const char *name, *at, *end, *line_begin;
    size_t line;
    an_str field;
    char where[PLACE_MAX]; /* of the record's begin */
    bool last; /* the field was the record's last */
} csv;

/* One field into s->field. Quotes are doubled inside quotes; a record ends at an end of line outside of them. */
static anemo_status next_field(csv *s, anemo_error *err)
{
    bool quoted = s->at < s->end && *s->at == '"', open = quoted;
    an_str_clear(&s->field);
    if (quoted) s->at++;
    while (s->at < s->end) {
        char c = *s->at;
        if (s->at - s->line_begin > AN_IMPORT_LINE_MAX)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: line %zu has more than %d bytes", s->name, s->line, AN_IMPORT_LINE_MAX);
        if (open && c == '"') {
            if (s->end - s->at > 1 && s->at[1] == '"')
                s->at++;
            else {
                open = false;
                s->at++;
                continue;
            }
        } else if (!open && (c == ',' || c == '\n' || c == '\r')) {
            break;
        } else if (quoted && !open) {
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: text stands behind a closing quote", s->where);
        }
        if (c == '\n') {
            s->line++;
            s->line_begin = s->at + 1;
        }
        an_str_append_char(&s->field, c);
        s->at++;
    }
    if (open) return an_fail(err, ANEMO_ERR_FORMAT, "%s: a quote is not closed; is the file cut off?", s->where);
    s->last = s->at == s->end || *s->at != ',';
    if (s->at < s->end && *s->at == '\r') s->at++;
    if (s->at < s->end && (!s->last || *s->at == '\n')) {
        if (s->last) {
            s->line++;
            s->line_begin = s->at + 1;
        }
        s->at++;
    }
    return an_str_check(&s->field, err);
}

static void begin_record(csv *s)
{
    snprintf(s->where, sizeof s->where, "%.480s: line %zu", s->name, s->line);
}

static anemo_status read_record(csv *s, an_importing *to, const names *columns, anemo_error *err)
{
    anemo_status status;
    size_t n = 0;
    json_t *row = json_object();
    begin_record(s);
    if (!row) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", s->where);
    do {
        AN_TRY(next_field(s, err));
        AN_TRY(set_value(row, columns, n++, an_str_text(&s->field), s->field.len, s->where, err));
    } while (!s->last);
    if (n > 1 || s->field.len) { /* not an empty line */
        AN_TRY(check_width(columns, n, s->where, err));
        AN_TRY(an_import_row(to, row, s->where, err));
    }
cleanup:
    json_decref(row);
    return status;
}

anemo_status an_import_csv(an_importing *to, const char *text, size_t n, anemo_error *err)
{
    anemo_status status;
    csv s = {.name = to->name, .at = text, .end = text + n, .line_begin = text, .line = 1};
    names *columns = an_calloc(1, sizeof *columns);
    if (!columns) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", to->name);
    begin_record(&s);
    do {
        AN_TRY(next_field(&s, err));
        AN_TRY(names_add(columns, an_str_text(&s.field), s.field.len, s.where, err));
    } while (!s.last);
    while (s.at < s.end) AN_TRY(read_record(&s, to, columns, err));
cleanup:
    an_str_free(&s.field);
    names_clear(columns);
    an_free(columns);
    return status;
}
