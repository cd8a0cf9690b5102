/*
 * tekken.json (formats.md 7.3): special ids first, then the byte strings in rank order, cut to the size that the
 * file's config declares. Ids are ranks plus the number of special ids.
 */
#include "token/internal.h"

#include "base/json.h"

#include <stdio.h>
#include <string.h>

/* The special tokens of files before v11, which do not list them. */
static const char *const default_special[] = {
    "<unk>",          "<s>",           "</s>",
    "[INST]",         "[/INST]",       "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",   "[IMG]",         "<pad>",
    "[IMG_BREAK]",    "[IMG_END]",     "[PREFIX]",
    "[MIDDLE]",       "[SUFFIX]",      "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
};

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* Standard base64 with padding. */
static bool base64_decode(const char *text, size_t n, an_str *out)
{
    if (n % 4) return false;
    for (size_t i = 0; i < n; i += 4) {
        int pad = i + 4 == n ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
        uint32_t group = 0;
        for (int k = 0; k < 4; k++) {
            int v = k >= 4 - pad ? 0 : base64_value(text[i + (size_t)k]);
            if (v < 0) return false;
            group = group << 6 | (uint32_t)v;
        }
        char bytes[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
        an_str_append_bytes(out, bytes, (size_t)(3 - pad));
    }
    return true;
}

typedef struct config {
    int64_t vocab_size, n_special;
    const char *pattern, *version;
} config;

static anemo_status read_config(config *c, const json_t *root, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *obj = json_object_get(root, "config");
    if (!json_is_object(obj))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a tekken.json: 'config' is missing", name);
    AN_TRY(an_json_get_i64(obj, "default_vocab_size", 131072, 257, AN_TOKEN_MAX_VOCAB, &c->vocab_size, name,
                           err));
    int64_t most = c->vocab_size - 256 < 65536 ? c->vocab_size - 256 : 65536;
    AN_TRY(an_json_get_i64(obj, "default_num_special_tokens", 1000, 1, most, &c->n_special, name, err));
    AN_TRY(an_json_get_str(obj, "pattern", "", &c->pattern, name, err));
    AN_TRY(an_json_get_str(obj, "version", "", &c->version, name, err));
cleanup:
    return status;
}

static anemo_status add_special(an_tokenizer *t, const config *c, const json_t *root, const char *name,
                                anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *list = json_object_get(root, "special_tokens");
    bool listed = list && !json_is_null(list);
    if (listed && !json_is_array(list))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: 'special_tokens' is not a list", name);
    size_t n = listed ? json_array_size(list) : AN_COUNT_OF(default_special);
    if (n > (size_t)c->n_special)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %zu special tokens; the config declares %lld", name, n,
                       (long long)c->n_special);
    for (size_t i = 0; i < (size_t)c->n_special; i++) {
        char filler[32];
        const char *text = filler;
        snprintf(filler, sizeof filler, "<SPECIAL_%zu>", i);
        if (i < n && !listed) text = default_special[i];
        if (i < n && listed) {
            const json_t *item = json_array_get(list, i);
            int64_t rank;
            AN_TRY(an_json_get_i64(item, "rank", -1, INT64_MIN, INT64_MAX, &rank, name, err));
            AN_TRY(an_json_get_str(item, "token_str", "", &text, name, err));
            if (rank != (int64_t)i || !*text)
                return an_fail(err, ANEMO_ERR_FORMAT,
                               "%s: special_tokens[%zu] has rank %lld and the name '%s'; ranks go up by one and "
                               "names are not empty",
                               name, i, (long long)rank, text);
        }
        AN_TRY(an_vocab_add(t, text, strlen(text), AN_PIECE_CONTROL, 0, err));
    }
cleanup:
    return status;
}

static anemo_status add_vocab(an_tokenizer *t, const config *c, const json_t *root, const char *name,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str bytes = {0}, spelling = {0};
    const json_t *list = json_object_get(root, "vocab");
    size_t n = (size_t)(c->vocab_size - c->n_special);
    if (!json_is_array(list) || json_array_size(list) < n)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: 'vocab' has %zu entries; the config needs at least %zu (default_vocab_size less "
                       "default_num_special_tokens)",
                       name, json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(list, i);
        const json_t *base64 = json_object_get(item, "token_bytes");
        const json_t *rank = json_object_get(item, "rank");
        an_str_clear(&bytes);
        an_str_clear(&spelling);
        if (!json_is_string(base64) || !json_is_integer(rank) || json_integer_value(rank) != (json_int_t)i ||
            !base64_decode(json_string_value(base64), json_string_length(base64), &bytes) ||
            (!bytes.failed && bytes.len == 0) ||
            (i < 256 && !bytes.failed && (bytes.len != 1 || (unsigned char)bytes.data[0] != i))) {
            status = an_fail(err, ANEMO_ERR_FORMAT,
                             "%s: vocab[%zu] needs its own index as rank and base64 token_bytes (the first 256: the "
                             "single bytes)",
                             name, i);
            goto cleanup;
        }
        AN_TRY(an_str_check(&bytes, err));
        an_alphabet_encode(bytes.data, bytes.len, &spelling);
        AN_TRY(an_str_check(&spelling, err));
        AN_TRY(an_vocab_add(t, spelling.data, spelling.len, AN_PIECE_NORMAL, 0, err));
    }
cleanup:
    an_str_free(&bytes);
    an_str_free(&spelling);
    return status;
}

anemo_status an_load_tekken(an_tokenizer **out, const json_t *root, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    config c = {0};
    an_tokenizer *t = an_vocab_new(name);
    if (!t) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(read_config(&c, root, name, err));
    AN_TRY(add_special(t, &c, root, name, err));
    AN_TRY(add_vocab(t, &c, root, name, err));
    t->kind = AN_VOCAB_TEKKEN;
    t->byte_level = true;
    t->merge_by = AN_MERGE_BY_ID;
    t->ignore_merges = true;
    t->special_rule = AN_SPECIAL_LEFTMOST;
    t->pretok = (an_pretok){.pass = {AN_PASS_TEKKEN}, .unicode = AN_UNICODE_16};
    if (!an_pretok_by_regex(c.pattern, &t->pretok.pass[0])) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: config.pattern is none we know: %.400s", name,
                         c.pattern);
        goto cleanup;
    }
    snprintf(t->pre, sizeof t->pre, "tekken");
    AN_TRY(an_vocab_index(t, err));
    t->unk = an_tokenizer_find(t, "<unk>");
    t->bos = an_tokenizer_find(t, "<s>");
    t->eos = an_tokenizer_find(t, "</s>");
    t->add_bos = true;
    an_vocab_mark_eog(t);
    an_chat_detect(t, c.version);
cleanup:
    if (status != ANEMO_OK) {
        an_tokenizer_close(t);
        return status;
    }
    t->source = NULL;
    *out = t;
    return ANEMO_OK;
}
