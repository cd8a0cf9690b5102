/* Reading completion chunks. */
#include "drivers/http/completion.h"

#include "base/alloc.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

void an_completion_init(an_completion *c)
{
    *c = (an_completion){.n_usage = -1, .n_prompt = -1, .n_cached = -1};
}

void an_completion_free(an_completion *c)
{
    an_str_free(&c->text);
    an_free(c->t_ns);
    an_completion_init(c);
}

static anemo_status note_chunk(an_completion *c, uint64_t t_ns, anemo_error *err)
{
    if (c->n_chunk == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        uint64_t *bigger = an_realloc(c->t_ns, cap * sizeof *bigger);
        if (!bigger) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
        c->t_ns = bigger;
        c->cap = cap;
    }
    c->t_ns[c->n_chunk++] = t_ns;
    return ANEMO_OK;
}

/* "text" of a completion, "delta.content" or "delta.reasoning_content" of a chat. NULL when none. */
static const char *choice_text(const json_t *choice)
{
    const json_t *delta = json_object_get(choice, "delta");
    const char *text = json_string_value(json_object_get(choice, "text"));
    if (!text) text = json_string_value(json_object_get(delta, "content"));
    if (!text) text = json_string_value(json_object_get(delta, "reasoning_content"));
    return text;
}

static void read_usage(an_completion *c, const json_t *usage)
{
    const json_t *details = json_object_get(usage, "prompt_tokens_details");
    const json_t *completion = json_object_get(usage, "completion_tokens"), *prompt = json_object_get(usage, "prompt_tokens"),
                 *cached = json_object_get(details, "cached_tokens");
    if (json_is_integer(completion)) c->n_usage = json_integer_value(completion);
    if (json_is_integer(prompt)) c->n_prompt = json_integer_value(prompt);
    if (json_is_integer(cached)) c->n_cached = json_integer_value(cached);
}

anemo_status an_completion_event(an_completion *c, const char *data, size_t n, uint64_t t_ns, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *doc = NULL;
    if (n == 6 && memcmp(data, "[DONE]", 6) == 0) {
        c->done = true;
        return ANEMO_OK;
    }
    AN_TRY(an_json_parse(&doc, data, n, "the server's event", err));
    if (!json_is_object(doc)) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "the server's event is not a JSON object");
        goto cleanup;
    }
    const json_t *error = json_object_get(doc, "error");
    if (error && !json_is_null(error)) {
        const char *message = json_string_value(json_object_get(error, "message"));
        if (!message) message = json_string_value(error);
        status = an_fail(err, ANEMO_ERR_ENGINE, "the server says: %s", message ? message : "error without a message");
        goto cleanup;
    }
    const json_t *choice = json_array_get(json_object_get(doc, "choices"), 0);
    const char *text = choice_text(choice), *finish = json_string_value(json_object_get(choice, "finish_reason"));
    if (text && text[0]) {
        an_str_append(&c->text, text);
        AN_TRY(an_str_check(&c->text, err));
        AN_TRY(note_chunk(c, t_ns, err));
    }
    if (finish) snprintf(c->finish, sizeof c->finish, "%s", finish);
    read_usage(c, json_object_get(doc, "usage"));
cleanup:
    json_decref(doc);
    return status;
}

size_t an_completion_n_token(const an_completion *c)
{
    if (c->n_chunk == 0) return 0;
    return c->n_usage > 0 && c->n_usage < INT32_MAX ? (size_t)c->n_usage : c->n_chunk;
}

uint64_t an_completion_token_ns(const an_completion *c, size_t i, size_t n)
{
    if (n < 2 || i == 0) return c->t_ns[0];
    return c->t_ns[(i * (c->n_chunk - 1) + (n - 1) / 2) / (n - 1)];
}
