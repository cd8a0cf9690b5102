/*
 * Chat formats rendered to ids: ChatML and Mistral's v1, v2, v3, v7 (formats.md 7.5). Marks are ids looked up in
 * the vocabulary and message texts are always text, so that nothing a user writes can become a mark.
 */
#include "token/internal.h"

#include "base/alloc.h"

#include <string.h>

static const char *const format_names[] = {"none",       "chatml",     "mistral-v1",        "mistral-v2",
                                           "mistral-v3", "mistral-v7", "mistral-v3-tekken", "mistral-v7-tekken",
                                           "unknown"};

const char *an_chat_format_name(an_chat_format format)
{
    return (size_t)format < AN_COUNT_OF(format_names) ? format_names[format] : "unknown";
}

an_chat_format an_tokenizer_chat_format(const an_tokenizer *t)
{
    return t->chat;
}

const char *an_tokenizer_chat_template(const an_tokenizer *t)
{
    return t->chat_template;
}

/* ------------------------------------------------------------------------------------------------- detection */

static bool has_control(const an_tokenizer *t, const char *piece)
{
    int32_t id = an_tokenizer_find(t, piece);
    return id >= 0 && (t->type[id] == AN_PIECE_CONTROL || t->type[id] == AN_PIECE_USER);
}

/* By the version that a Mistral file states. */
static an_chat_format by_version(const an_tokenizer *t, const char *version)
{
    if (version[0] != 'v') return AN_CHAT_NONE;
    int number = version[1] >= '0' && version[1] <= '9' ? version[1] - '0' : 0;
    if (version[1] && version[2] >= '0' && version[2] <= '9') number = number * 10 + (version[2] - '0');
    if (t->byte_level) return number >= 7 ? AN_CHAT_MISTRAL_V7_TEKKEN : AN_CHAT_MISTRAL_V3_TEKKEN;
    if (number >= 7) return AN_CHAT_MISTRAL_V7;
    if (number == 3) return AN_CHAT_MISTRAL_V3;
    return number == 2 ? AN_CHAT_MISTRAL_V2 : AN_CHAT_MISTRAL_V1;
}

void an_chat_detect(an_tokenizer *t, const char *version)
{
    const char *jinja = t->chat_template;
    t->chat = by_version(t, version);
    if (t->chat != AN_CHAT_NONE || !jinja) return;
    t->chat = AN_CHAT_UNKNOWN;
    if (strstr(jinja, "<|im_start|>")) {
        if (has_control(t, "<|im_start|>") && has_control(t, "<|im_end|>")) t->chat = AN_CHAT_CHATML;
        return;
    }
    if (!strstr(jinja, "[INST]") || strstr(jinja, "<<SYS>>")) return;
    bool v7 = strstr(jinja, "[SYSTEM_PROMPT]") && has_control(t, "[SYSTEM_PROMPT]");
    if (!has_control(t, "[INST]"))
        t->chat = t->byte_level ? AN_CHAT_UNKNOWN : AN_CHAT_MISTRAL_V1;
    else if (t->byte_level)
        t->chat = v7 ? AN_CHAT_MISTRAL_V7_TEKKEN : AN_CHAT_MISTRAL_V3_TEKKEN;
    else if (v7)
        t->chat = AN_CHAT_MISTRAL_V7;
    else
        t->chat = has_control(t, "[PREFIX]") ? AN_CHAT_MISTRAL_V3 : AN_CHAT_MISTRAL_V2;
}

/*
 * The system text that a ChatML template writes when a conversation has none: the first string literal that
 * holds "<|im_start|>system", a line end, some text and "<|im_end|>".
 */
static bool default_system(const char *jinja, an_str *out)
{
    static const char mark[] = "<|im_start|>system", end[] = "<|im_end|>";
    for (const char *at = strstr(jinja, mark); at; at = strstr(at + 1, mark)) {
        const char *p = at + sizeof mark - 1;
        if (p[0] == '\n')
            p++;
        else if (p[0] == '\\' && p[1] == 'n')
            p += 2;
        else
            continue;
        an_str_clear(out);
        while (*p && *p != '\'' && *p != '"' && *p != '{' && strncmp(p, end, sizeof end - 1) != 0) {
            if (*p == '\\' && p[1]) {
                an_str_append_char(out, p[1] == 'n' ? '\n' : p[1] == 't' ? '\t' : p[1]);
                p += 2;
            } else {
                an_str_append_char(out, *p++);
            }
        }
        if (out->len && strncmp(p, end, sizeof end - 1) == 0) return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------------------- rendering */

typedef struct chat {
    const an_tokenizer *t;
    an_ids *out;
    an_str text;
} chat;

static anemo_status put_mark(chat *c, const char *piece, anemo_error *err)
{
    int32_t id = an_tokenizer_find(c->t, piece);
    if (id < 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "the chat format %s needs the piece %s, which is missing",
                       an_chat_format_name(c->t->chat), piece);
    return an_ids_push(c->out, id, err);
}

static anemo_status put_text(chat *c, anemo_error *err)
{
    anemo_status status = an_str_check(&c->text, err);
    if (status == ANEMO_OK)
        status = an_tokenizer_encode(c->t, an_str_text(&c->text), c->text.len, false, c->out, err);
    an_str_clear(&c->text);
    return status;
}

static anemo_status put_turn(chat *c, const char *role, const char *content, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(put_mark(c, "<|im_start|>", err));
    an_str_appendf(&c->text, "%s\n%s", role, content);
    AN_TRY(put_text(c, err));
    AN_TRY(put_mark(c, "<|im_end|>", err));
    an_str_append(&c->text, "\n");
    AN_TRY(put_text(c, err));
cleanup:
    return status;
}

static anemo_status render_chatml(chat *c, const an_chat_message *messages, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str system = {0};
    if (an_tokenizer_add_bos(c->t)) AN_TRY(an_ids_push(c->out, c->t->bos, err));
    if (strcmp(messages[0].role, "system") != 0 && c->t->chat_template &&
        default_system(c->t->chat_template, &system))
        AN_TRY(put_turn(c, "system", an_str_text(&system), err));
    for (size_t i = 0; i < n; i++) {
        bool open = i + 1 == n && strcmp(messages[i].role, "assistant") == 0;
        if (!open) {
            AN_TRY(put_turn(c, messages[i].role, messages[i].content, err));
            continue;
        }
        AN_TRY(put_mark(c, "<|im_start|>", err));
        an_str_appendf(&c->text, "assistant\n%s", messages[i].content);
        AN_TRY(put_text(c, err));
        goto cleanup;
    }
    AN_TRY(put_mark(c, "<|im_start|>", err));
    an_str_append(&c->text, "assistant\n");
    AN_TRY(put_text(c, err));
cleanup:
    an_str_free(&system);
    return status;
}

static bool is_role(const an_chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* Append the contents of a run of messages of one role, joined by blank lines; returns the run's end. */
static size_t append_run(an_str *text, const an_chat_message *messages, size_t i, size_t n)
{
    const char *role = messages[i].role;
    an_str_append(text, messages[i].content);
    for (i++; i < n && is_role(&messages[i], role); i++) {
        an_str_append(text, "\n\n");
        an_str_append(text, messages[i].content);
    }
    return i;
}

/* All system texts, joined, with a blank line behind them. */
static void append_system(an_str *text, const an_chat_message *messages, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!is_role(&messages[i], "system") || !*messages[i].content) continue;
        an_str_append(text, messages[i].content);
        an_str_append(text, "\n\n");
    }
}

static anemo_status put_user(chat *c, const an_chat_message *messages, size_t n, size_t at, bool system,
                             size_t *next, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool v1 = c->t->chat == AN_CHAT_MISTRAL_V1;
    if (v1)
        an_str_append(&c->text, "[INST] ");
    else
        AN_TRY(put_mark(c, "[INST]", err));
    if (system) append_system(&c->text, messages, n);
    if (at < n)
        *next = append_run(&c->text, messages, at, n);
    if (v1) an_str_append(&c->text, " [/INST]");
    AN_TRY(put_text(c, err));
    if (!v1) AN_TRY(put_mark(c, "[/INST]", err));
cleanup:
    return status;
}

static anemo_status put_assistant(chat *c, const an_chat_message *messages, size_t n, size_t at,
                                  size_t *next, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    *next = append_run(&c->text, messages, at, n);
    if (c->t->chat != AN_CHAT_MISTRAL_V1)
        while (c->text.len && c->text.data[c->text.len - 1] == ' ') c->text.data[--c->text.len] = '\0';
    AN_TRY(put_text(c, err));
    /* A last answer is one to go on with. */
    if (*next < n) AN_TRY(an_ids_push(c->out, c->t->eos, err));
cleanup:
    return status;
}

static anemo_status render_mistral(chat *c, const an_chat_message *messages, size_t n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_chat_format format = c->t->chat;
    bool v7 = format == AN_CHAT_MISTRAL_V7 || format == AN_CHAT_MISTRAL_V7_TEKKEN;
    size_t first = n, last = n, i = 0;
    if (c->t->bos < 0 || c->t->eos < 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "the chat format %s needs <s> and </s>",
                       an_chat_format_name(format));
    AN_TRY(an_ids_push(c->out, c->t->bos, err));
    /* A run's first message stands for it: the last user message is the first of the last run of them. */
    for (size_t k = 0; k < n; k++) {
        if (!is_role(&messages[k], "user")) continue;
        if (first == n) first = k;
        if (k == 0 || !is_role(&messages[k - 1], "user")) last = k;
    }
    size_t opening = 0;
    while (opening < n && is_role(&messages[opening], "system")) opening++;
    if (!v7 && (opening == n || !is_role(&messages[opening], "user"))) {
        /* Before v7 a conversation starts with a user's turn, so an empty one is put in front. */
        bool system = format == AN_CHAT_MISTRAL_V1 || last == n;
        AN_TRY(put_user(c, messages, n, n, system, NULL, err));
        if (format == AN_CHAT_MISTRAL_V1) first = n;
    }
    while (i < n) {
        if (is_role(&messages[i], "user")) {
            bool system = !v7 && i == (format == AN_CHAT_MISTRAL_V1 ? first : last);
            AN_TRY(put_user(c, messages, n, i, system, &i, err));
        } else if (is_role(&messages[i], "assistant")) {
            AN_TRY(put_assistant(c, messages, n, i, &i, err));
        } else {
            if (v7) {
                AN_TRY(put_mark(c, "[SYSTEM_PROMPT]", err));
                an_str_append(&c->text, messages[i].content);
                AN_TRY(put_text(c, err));
                AN_TRY(put_mark(c, "[/SYSTEM_PROMPT]", err));
            }
            i++;
        }
    }
cleanup:
    return status;
}

anemo_status an_tokenizer_chat(const an_tokenizer *t, const an_chat_message *messages, size_t n,
                               an_ids *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    chat c = {.t = t, .out = out};
    size_t n_before = out->n;
    if (n == 0) return an_fail(err, ANEMO_ERR_INVAL, "a conversation needs at least one message");
    for (size_t i = 0; i < n; i++)
        if (!is_role(&messages[i], "system") && !is_role(&messages[i], "user") &&
            !is_role(&messages[i], "assistant"))
            return an_fail(err, ANEMO_ERR_INVAL, "unknown role '%s'; roles are system, user and assistant",
                           messages[i].role);
    if (t->chat == AN_CHAT_NONE)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "this model has no chat template");
    if (t->chat == AN_CHAT_UNKNOWN)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "this model's chat template is neither ChatML nor one of Mistral's; use the raw prompt");
    if (t->chat == AN_CHAT_CHATML)
        status = render_chatml(&c, messages, n, err);
    else
        status = render_mistral(&c, messages, n, err);
    if (status != ANEMO_OK) out->n = n_before;
    an_str_free(&c.text);
    return status;
}
