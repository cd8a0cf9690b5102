/*
 * The tokenizer.ggml.* keys of a GGUF file (formats.md 1.6). Where llama.cpp decides something by the
 * vocabulary's or the model's name, so do we: its ids are the reference for these files.
 */
#include "token/internal.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

static anemo_status get_array(const an_gguf *g, const char *key, bool required, an_gguf_type type,
                              const an_gguf_kv **out, anemo_error *err)
{
    const an_gguf_kv *kv = an_gguf_find(g, key);
    *out = NULL;
    if (!kv && !required) return ANEMO_OK;
    if (!kv)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the key %s is missing, so there is no tokenizer",
                       an_gguf_path(g), key);
    if (kv->type != AN_GGUF_ARRAY || kv->elem_type != type)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s has the wrong type", an_gguf_path(g), key);
    *out = kv;
    return ANEMO_OK;
}

static anemo_status add_pieces(an_tokenizer *t, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *tokens, *scores, *types;
    AN_TRY(get_array(g, "tokenizer.ggml.tokens", true, AN_GGUF_STRING, &tokens, err));
    AN_TRY(get_array(g, "tokenizer.ggml.scores", false, AN_GGUF_F32, &scores, err));
    AN_TRY(get_array(g, "tokenizer.ggml.token_type", false, AN_GGUF_I32, &types, err));
    if ((scores && scores->n < tokens->n) || (types && types->n < tokens->n))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: %llu tokens, but fewer tokenizer.ggml.scores or token_type", an_gguf_path(g),
                       (unsigned long long)tokens->n);
    uint64_t pos = 0;
    for (uint64_t i = 0; i < tokens->n; i++) {
        an_bytes text = an_gguf_array_next_str(tokens, &pos);
        int64_t type = types ? an_gguf_array_i64(types, i) : AN_PIECE_NORMAL;
        if (type < AN_PIECE_NORMAL || type > AN_PIECE_BYTE) type = AN_PIECE_UNUSED;
        if ((type == AN_PIECE_NORMAL || type == AN_PIECE_USER) && an_is_eog_name(text.data, (size_t)text.len)) type = AN_PIECE_CONTROL;
        float score = scores ? (float)an_gguf_array_f64(scores, i) : 0.0f;
        AN_TRY(an_vocab_add(t, text.data, (size_t)text.len, (an_piece_type)type, score, err));
    }
cleanup:
    return status;
}

/* "left right": a space inside a half is spelled U+0120, so the first space after the first byte divides. */
static anemo_status add_merges(an_tokenizer *t, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *merges;
    AN_TRY(get_array(g, "tokenizer.ggml.merges", true, AN_GGUF_STRING, &merges, err));
    if (merges->n > UINT32_MAX)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: too many merges", an_gguf_path(g));
    uint64_t pos = 0;
    for (uint64_t i = 0; i < merges->n; i++) {
        an_bytes text = an_gguf_array_next_str(merges, &pos);
        const char *space = text.len > 1 ? memchr(text.data + 1, ' ', (size_t)text.len - 1) : NULL;
        if (!space) continue; /* llama.cpp gives such a line no meaning either */
        size_t left = (size_t)(space - text.data);
        AN_TRY(an_vocab_merge(t, text.data, left, space + 1, (size_t)text.len - left - 1, (uint32_t)i, err));
    }
cleanup:
    return status;
}

static anemo_status get_id(const an_tokenizer *t, const an_gguf *g, const char *key, int32_t *id,
                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int64_t value = *id;
    AN_TRY(an_gguf_get_i64(g, key, false, INT64_MIN, INT64_MAX, &value, err));
    if (value >= 0 && value < t->n_vocab) *id = (int32_t)value;
    if (*id >= t->n_vocab) *id = -1;
cleanup:
    return status;
}

/* Phi-3's special pieces swallow the white space behind them; the file does not say so, only its name does. */
static void apply_phi3(an_tokenizer *t, const an_gguf *g)
{
    an_bytes name = {0};
    char lower[256];
    if (an_gguf_get_str(g, "general.name", false, &name, NULL) != ANEMO_OK || !name.data) return;
    size_t n = name.len < sizeof lower - 1 ? (size_t)name.len : sizeof lower - 1;
    for (size_t i = 0; i < n; i++)
        lower[i] = (char)(name.data[i] >= 'A' && name.data[i] <= 'Z' ? name.data[i] + 32 : name.data[i]);
    lower[n] = '\0';
    if (!strstr(lower, "phi-3") && !strstr(lower, "phi3")) return;
    for (int32_t id = 0; id < t->n_vocab; id++) {
        const char *text = an_tokenizer_spelling(t, id);
        bool special = an_tokenizer_is_control(t, id) || t->type[id] == AN_PIECE_USER;
        bool plain = !strcmp(text, "<unk>") || !strcmp(text, "<s>") || !strcmp(text, "<|endoftext|>");
        if (special && !plain) t->flags[id] |= AN_PIECE_RSTRIP;
    }
}

static anemo_status set_pre(an_tokenizer *t, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_bytes pre = {.data = "", .len = 0};
    AN_TRY(an_gguf_get_str(g, "tokenizer.ggml.pre", false, &pre, err));
    snprintf(t->pre, sizeof t->pre, "%.*s", (int)(pre.len < 63 ? pre.len : 63), pre.data);
    if (an_pretok_by_name(t->pre, &t->pretok, &t->ignore_merges, &t->add_bos)) goto cleanup;
    an_vocab_note(t, "the pre-tokenizer '%s' is unknown: 'default' is used, so some ids may differ from the model's",
                  t->pre);
    an_pretok_by_name("default", &t->pretok, &t->ignore_merges, &t->add_bos);
cleanup:
    return status;
}

static anemo_status set_template(an_tokenizer *t, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_bytes text = {0};
    AN_TRY(an_gguf_get_str(g, "tokenizer.chat_template", false, &text, err));
    if (!text.data) goto cleanup;
    t->chat_template = an_strndup(text.data, (size_t)text.len);
    if (!t->chat_template) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
cleanup:
    return status;
}

static anemo_status load(an_tokenizer *t, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_bytes model;
    AN_TRY(an_gguf_get_str(g, "tokenizer.ggml.model", true, &model, err));
    bool spm = model.len == 5 && memcmp(model.data, "llama", 5) == 0;
    if (!spm && !(model.len == 4 && memcmp(model.data, "gpt2", 4) == 0))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: tokenizer.ggml.model is '%.*s'; we read 'llama' and 'gpt2'", an_gguf_path(g),
                       (int)(model.len < 64 ? model.len : 64), model.data);
    t->kind = spm ? AN_VOCAB_SPM : AN_VOCAB_BPE;
    t->byte_level = !spm;
    t->merge_by = spm ? AN_MERGE_BY_SCORE : AN_MERGE_BY_PAIR;
    t->special_rule = AN_SPECIAL_LONGEST;
    if (spm) {
        bool prefix = true;
        AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &prefix, err));
        t->prefix = prefix ? AN_PREFIX_SEGMENT : AN_PREFIX_NONE;
        t->bos = 1;
        t->eos = 2;
        t->unk = 0;
        t->add_bos = true;
    } else {
        AN_TRY(set_pre(t, g, err));
    }
    AN_TRY(add_pieces(t, g, err));
    AN_TRY(an_vocab_index(t, err));
    if (!spm) AN_TRY(add_merges(t, g, err));
    AN_TRY(get_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err));
    AN_TRY(get_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err));
    AN_TRY(get_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unk, err));
    AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &t->add_bos, err));
    AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &t->add_eos, err));
    an_vocab_mark_eog(t);
    static const char *const ends[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
    for (size_t i = 0; i < AN_COUNT_OF(ends); i++) {
        int32_t id = -1;
        AN_TRY(get_id(t, g, ends[i], &id, err));
        if (id >= 0) t->eog[id] = 1;
    }
    apply_phi3(t, g);
    AN_TRY(set_template(t, g, err));
    an_chat_detect(t, "");
cleanup:
    return status;
}

anemo_status an_tokenizer_open_gguf(an_tokenizer **out, const an_gguf *g, anemo_error *err)
{
    an_tokenizer *t = an_vocab_new(an_gguf_path(g));
    if (!t) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    anemo_status status = load(t, g, err);
    if (status != ANEMO_OK) {
        an_tokenizer_close(t);
        return status;
    }
    t->source = NULL;
    *out = t;
    return ANEMO_OK;
}
