/* The tokenizer keys of a GGUF file from the files of a model directory (formats.md 1.6, 7.1). */
#include "convert/to_gguf_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "os/file.h"
#include "token/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5 };
enum { CONFIG_BYTES_MAX = 16 << 20, TEMPLATES_MAX = 64 };

typedef struct vocab {
    const an_source *s;
    an_gguf_writer *w;
    an_convert_result *result;
    an_tokenizer *t;
    json_t *config; /* tokenizer_config.json, or NULL */
    bool spm;
    int32_t n;    /* of the tokenizer that have a row in the embedding */
    int32_t rows; /* of the embedding */
} vocab;

/* ---- the files */

static bool has_tokenizer(const an_source *s)
{
    return s->side[AN_SIDE_TEKKEN] || s->side[AN_SIDE_SPM] || s->side[AN_SIDE_TOKENIZER_JSON];
}

static anemo_status read_config(vocab *v, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *text = NULL, *path = an_path_join(v->s->path, "tokenizer_config.json");
    size_t n;
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    if (an_path_probe(path) == AN_PATH_FILE) {
        AN_TRY(an_file_read(path, CONFIG_BYTES_MAX, &text, &n, err));
        AN_TRY(an_json_parse_flags(&v->config, text, n, JSON_ALLOW_NUL, path, err));
    }
cleanup:
    an_free(text);
    an_free(path);
    return status;
}

/* A fine-tune may name tokens that its embedding never got rows for; a piece of the vocabulary itself may not. */
static anemo_status fit(vocab *v, anemo_error *err)
{
    int32_t all = an_tokenizer_n_vocab(v->t);
    v->rows = v->s->params.hp.n_vocab;
    v->n = all < v->rows ? all : v->rows;
    for (int32_t id = v->n; id < all; id++) {
        int type = an_tokenizer_piece_type(v->t, id);
        if (type != CONTROL && type != USER && type != UNUSED)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: the tokenizer has %d tokens, the embedding %d rows", v->s->path, all,
                           v->rows);
    }
    if (all > v->rows)
        return an_convert_note(v->result, err, "%d tokens have no row in the embedding and were left out", all - v->rows);
    if (all < v->rows)
        return an_convert_note(v->result, err, "the embedding has %d rows more than the tokenizer has tokens: they are called [PADn]",
                               v->rows - all);
    return ANEMO_OK;
}

/* ---- arrays */

static int type_of(const vocab *v, int32_t id)
{
    if (id >= v->n) return UNUSED;
    int type = an_tokenizer_piece_type(v->t, id);
    an_bytes text = an_tokenizer_piece_text(v->t, id);
    char pad[32];
    snprintf(pad, sizeof pad, "[PAD%d]", id);
    if (type == NORMAL && text.len == strlen(pad) && !memcmp(text.data, pad, text.len)) return UNUSED;
    /* Byte-level vocabularies have no unknown text; llama.cpp's converter makes such a token a control token. */
    return type == UNKNOWN && !v->spm ? CONTROL : type;
}

static anemo_status put_pieces(vocab *v, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int32_t *types = an_calloc((size_t)v->rows, sizeof *types);
    if (!types) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    an_gguf_writer_strs(v->w, "tokenizer.ggml.tokens", (uint64_t)v->rows);
    for (int32_t id = 0; id < v->rows; id++) {
        char pad[32];
        snprintf(pad, sizeof pad, "[PAD%d]", id);
        an_bytes text = {pad, strlen(pad)};
        types[id] = type_of(v, id);
        if (id < v->n && (types[id] != UNUSED || an_tokenizer_piece_text(v->t, id).len > 0))
            text = an_tokenizer_piece_text(v->t, id);
        an_gguf_writer_next_str(v->w, text.data, text.len);
    }
    an_gguf_writer_i32s(v->w, "tokenizer.ggml.token_type", types, (uint64_t)v->rows);
    an_free(types);
    return status;
}

static anemo_status put_scores(vocab *v, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int32_t all = an_tokenizer_n_vocab(v->t);
    size_t n = (size_t)(all > v->rows ? all : v->rows);
    bool made;
    float *scores = an_calloc(n, sizeof *scores);
    if (!scores) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(an_tokenizer_scores(v->t, scores, &made, err));
    for (int32_t id = v->n; id < v->rows; id++) scores[id] = -10000;
    an_gguf_writer_f32s(v->w, "tokenizer.ggml.scores", scores, (uint64_t)v->rows);
    if (made)
        AN_TRY(an_convert_note(v->result, err,
                               "the scores of the vocabulary's pieces were made from the order of tokenizer.json's merges"));
cleanup:
    an_free(scores);
    return status;
}

static anemo_status put_merges(vocab *v, anemo_error *err)
{
    an_merge_list l;
    anemo_status status = an_tokenizer_merges(v->t, &l, err);
    if (status != ANEMO_OK) return status;
    an_gguf_writer_strs(v->w, "tokenizer.ggml.merges", l.n);
    for (size_t i = 0; i < l.n; i++) {
        const char *text = l.text.data + l.start[i];
        an_gguf_writer_next_str(v->w, text, strlen(text));
    }
    an_merge_list_free(&l);
    return ANEMO_OK;
}

/* ---- special ids */

static void put_id(const vocab *v, const char *name, int32_t id)
{
    char key[64];
    if (id < 0 || id >= v->rows) return;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    an_gguf_writer_u32(v->w, key, (uint32_t)id);
}

/* The token that tokenizer_config.json names, as "x" or {"content": "x"}; -1 when it names none. */
static int32_t named(const vocab *v, const char *key)
{
    const json_t *value = json_object_get(v->config, key);
    const char *text = json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
    return text ? an_tokenizer_find(v->t, text) : -1;
}

static int32_t id_in_config(const vocab *v, const char *key)
{
    const json_t *value = json_object_get(v->s->config, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) >= v->rows) return -1;
    return (int32_t)json_integer_value(value);
}

static bool ends_turn(const vocab *v, int32_t id)
{
    static const char *const names[] = {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>", "<|eom_id|>"};
    for (size_t i = 0; i < AN_COUNT_OF(names); i++)
        if (!strcmp(an_tokenizer_spelling(v->t, id), names[i])) return true;
    return false;
}

/*
 * GGUF has keys for three ends of generation; llama.cpp knows others by their names. The configuration's list may be
 * longer.
 */
static anemo_status put_ends(const vocab *v, int32_t eos, anemo_error *err)
{
    static const char *const keys[] = {"eot", "eom"};
    const an_arch_params *p = &v->s->params;
    size_t next = 0;
    for (int i = 0; i < p->n_eos; i++) {
        int32_t id = p->eos_ids[i];
        bool known = id == eos || id >= v->n;
        for (int k = 0; k < i; k++) known = known || p->eos_ids[k] == id;
        if (known || (an_tokenizer_is_eog(v->t, id) && !ends_turn(v, id))) continue;
        if (next == AN_COUNT_OF(keys)) {
            if (an_tokenizer_is_eog(v->t, id)) continue;
            return an_convert_note(v->result, err, "the end of generation %d (%s) has no key in GGUF", id,
                                   an_tokenizer_spelling(v->t, id));
        }
        put_id(v, keys[next++], id);
    }
    return ANEMO_OK;
}

static anemo_status put_ids(const vocab *v, anemo_error *err)
{
    int32_t bos = an_tokenizer_bos(v->t), eos = an_tokenizer_eos(v->t), unk = an_tokenizer_unk(v->t);
    int32_t pad = named(v, "pad_token");
    if (bos < 0) bos = id_in_config(v, "bos_token_id");
    if (eos < 0 && v->s->params.n_eos > 0) eos = v->s->params.eos_ids[0];
    if (unk < 0) unk = named(v, "unk_token");
    /* Padding with EOS is what configurations say when a model has no padding. */
    if (pad < 0 || (pad == eos && id_in_config(v, "pad_token_id") < 0)) pad = id_in_config(v, "pad_token_id");
    if (pad < 0 && !v->config) pad = an_tokenizer_find(v->t, "<pad>");
    put_id(v, "bos", bos);
    put_id(v, "eos", eos);
    put_id(v, "unknown", unk);
    put_id(v, "padding", pad);
    put_id(v, "mask", named(v, "mask_token"));
    an_gguf_writer_bool(v->w, "tokenizer.ggml.add_bos_token", an_tokenizer_add_bos(v->t));
    an_gguf_writer_bool(v->w, "tokenizer.ggml.add_eos_token", an_tokenizer_add_eos(v->t));
    return put_ends(v, eos, err);
}

/* ---- chat templates */

/* Further templates of a list in tokenizer_config.json, each under its name. */
static void put_named_templates(const vocab *v)
{
    const json_t *list = json_object_get(v->config, "chat_template");
    const char *names[TEMPLATES_MAX];
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(list) && n < TEMPLATES_MAX; i++) {
        const json_t *item = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *text = json_string_value(json_object_get(item, "template"));
        char key[128];
        bool again = false;
        for (size_t k = 0; name && k < n; k++) again = again || !strcmp(names[k], name);
        if (!name || !text || again || !strcmp(name, "default") || !*name || strlen(name) > 64) continue;
        snprintf(key, sizeof key, "tokenizer.chat_template.%s", name);
        an_gguf_writer_str(v->w, key, text);
        names[n++] = name;
    }
    if (n == 0) return;
    an_gguf_writer_strs(v->w, "tokenizer.chat_templates", n);
    for (size_t i = 0; i < n; i++) an_gguf_writer_next_str(v->w, names[i], strlen(names[i]));
}

static anemo_status put_templates(const vocab *v, anemo_error *err)
{
    const char *text = an_tokenizer_chat_template(v->t);
    an_chat_format format = an_tokenizer_chat_format(v->t);
    put_named_templates(v);
    if (text) {
        an_gguf_writer_str(v->w, "tokenizer.chat_template", text);
        return ANEMO_OK;
    }
    text = an_chat_template_of(format);
    if (!text) return ANEMO_OK;
    an_gguf_writer_str(v->w, "tokenizer.chat_template", text);
    return an_convert_note(v->result, err, "the model comes without a chat template; the one of its tokenizer's version (%s) was written",
                           an_chat_format_name(format));
}

/* ---- the whole */

static anemo_status put_notes(const vocab *v, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_str losses = {0};
    if (*an_tokenizer_note(v->t)) AN_TRY(an_convert_note(v->result, err, "tokenizer: %s", an_tokenizer_note(v->t)));
    an_tokenizer_losses(v->t, &losses);
    AN_TRY(an_str_check(&losses, err));
    if (losses.len)
        AN_TRY(an_convert_note(v->result, err, "GGUF has no words for these traits of the tokenizer: it %s; ids may differ there",
                               losses.data));
cleanup:
    an_str_free(&losses);
    return status;
}

static anemo_status put_all(vocab *v, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const char *pre = "default";
    AN_TRY(an_tokenizer_open_path(&v->t, v->s->path, err));
    AN_TRY(read_config(v, err));
    v->spm = an_tokenizer_kind(v->t) == AN_VOCAB_SPM;
    if (!v->spm) pre = an_tokenizer_gguf_pre(v->t);
    if (!pre) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                         "%s: GGUF has no name for the way that its tokenizer splits text (tokenizer.ggml.pre), so ids would be "
                         "wrong; run the model as it is",
                         v->s->path);
        goto cleanup;
    }
    AN_TRY(fit(v, err));
    an_gguf_writer_str(v->w, "tokenizer.ggml.model", v->spm ? "llama" : "gpt2");
    an_gguf_writer_str(v->w, "tokenizer.ggml.pre", pre);
    AN_TRY(put_pieces(v, err));
    if (v->spm) {
        AN_TRY(put_scores(v, err));
        an_gguf_writer_bool(v->w, "tokenizer.ggml.add_space_prefix", an_tokenizer_space_prefix(v->t));
    } else {
        AN_TRY(put_merges(v, err));
    }
    AN_TRY(put_ids(v, err));
    AN_TRY(put_templates(v, err));
    AN_TRY(put_notes(v, err));
cleanup:
    return status;
}

anemo_status an_gguf_put_vocab(const an_source *s, an_gguf_writer *w, an_convert_result *result, anemo_error *err)
{
    vocab v = {.s = s, .w = w, .result = result};
    if (!has_tokenizer(s)) {
        an_gguf_writer_str(w, "tokenizer.ggml.model", "no_vocab");
        return an_convert_note(result, err, "the source has no tokenizer, so the GGUF file has none: only token ids can be run");
    }
    anemo_status status = put_all(&v, err);
    an_tokenizer_close(v.t);
    json_decref(v.config);
    return status;
}
