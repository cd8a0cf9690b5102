/*
 * The tokenizer files of a converted model, built from the arrays of a GGUF file or from a SentencePiece or Tekken file.
 */
#include "convert/convert_internal.h"
#include "convert/to_gguf_internal.h"

#include "base/alloc.h"
#include "base/num.h"
#include "base/str.h"
#include "base/utf8.h"
#include "format/name_index.h"
#include "os/file.h"
#include "token/export.h"
#include "token/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_BYTES_MAX = 1024, SPLIT_PASSES_MAX = 4 };
enum {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER = 4,
    TYPE_UNUSED = 5,
    TYPE_BYTE = 6
};

#define R_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define R_LLAMA3                                                                                   \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"                      \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define R_QWEN2                                                                                    \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"                           \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define R_TEKKEN                                                                                   \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|"   \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|"   \
    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define R_PUNCT "[\\p{P}\\$\\+<=>\\^~\\|]+"

/* The split of a named GGUF pre-tokenizer, as steps that each cut the pieces of the one before. */
static const struct {
    const char *name;
    bool ignore_merges, add_bos;
    const char *regex[SPLIT_PASSES_MAX];
} pre_tokenizers[] = {
    {"default", false, false, {R_PUNCT, R_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"smollm", false, false, {"\\p{N}", R_GPT2}},
    {"starcoder", false, false, {"\\p{N}", R_GPT2}},
    {"refact", false, false, {"\\p{N}", R_GPT2}},
    {"command-r", false, false, {"\\p{N}", R_GPT2}},
    {"gpt-2", false, false, {R_GPT2}},
    {"phi-2", false, false, {R_GPT2}},
    {"mpt", false, false, {R_GPT2}},
    {"olmo", false, false, {R_GPT2}},
    {"llama-bpe", true, true, {R_LLAMA3}},
    {"llama3", true, true, {R_LLAMA3}},
    {"llama-v3", true, true, {R_LLAMA3}},
    {"pixtral", true, true, {R_LLAMA3}},
    {"smaug-bpe", false, false, {R_LLAMA3}},
    {"qwen2", false, false, {R_QWEN2}},
    {"deepseek-r1-qwen", false, false, {R_QWEN2}},
    {"tekken", true, true, {R_TEKKEN}},
};

/* The arrays of the file, checked. */
typedef struct vocab {
    const char *path;
    bool spm;
    size_t pre; /* row of pre_tokenizers; byte-level only */
    uint64_t n;
    an_bytes *text;             /* [n] */
    uint8_t *type;              /* [n] */
    float *scores;              /* [n]; SPM */
    const an_gguf_kv *merges;   /* byte-level, of a GGUF file; else in… */
    an_merge_list merge_list;
    an_name_entry *index; /* by text */
    size_t n_index;
    int64_t bos, eos, unk, pad; /* -1 = none */
    bool add_bos, add_eos, space_prefix;
    an_bytes chat_template; /* data NULL = none */
} vocab;

static anemo_status get_array(const an_gguf *g, const char *key, an_gguf_type elem, uint64_t n,
                              bool required, const an_gguf_kv **out, anemo_error *err)
{
    const an_gguf_kv *kv = an_gguf_find(g, key);
    *out = kv;
    if (!kv && !required) return ANEMO_OK;
    if (!kv)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: the key %s is missing, so there is no tokenizer to convert",
                       an_gguf_path(g), key);
    if (kv->type != AN_GGUF_ARRAY || kv->elem_type != elem || (n != UINT64_MAX && kv->n != n))
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: %s must be an array of %s with one entry for each token",
                       an_gguf_path(g), key, an_gguf_type_name(elem));
    return ANEMO_OK;
}

static anemo_status get_id(const an_gguf *g, const vocab *v, const char *name, int64_t *out,
                           anemo_error *err)
{
    char key[64];
    int64_t id = -1;
    snprintf(key, sizeof key, "tokenizer.ggml.%s_token_id", name);
    anemo_status status = an_gguf_get_i64(g, key, false, INT64_MIN, INT64_MAX, &id, err);
    if (status != ANEMO_OK) return status;
    if (id >= 0 && (uint64_t)id < v->n) *out = id;
    return ANEMO_OK;
}

static void vocab_free(vocab *v)
{
    an_free(v->text);
    an_free(v->type);
    an_free(v->index);
    an_free(v->scores);
    an_merge_list_free(&v->merge_list);
    *v = (vocab){0};
}

static anemo_status make_room(vocab *v, uint64_t n, anemo_error *err)
{
    v->n = n;
    v->text = an_calloc((size_t)n, sizeof *v->text);
    v->type = an_calloc((size_t)n, sizeof *v->type);
    v->index = an_calloc((size_t)n, sizeof *v->index);
    if (!v->text || !v->type || !v->index) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", v->path);
    return ANEMO_OK;
}

static anemo_status take_token(vocab *v, uint64_t i, an_bytes s, int64_t type, anemo_error *err)
{
    if (s.len > PIECE_BYTES_MAX || memchr(s.data, 0, (size_t)s.len) || an_utf8_valid_prefix(s.data, (size_t)s.len) != s.len)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: token %" PRIu64 " is not text of at most %d bytes, so tokenizer.json cannot hold it", v->path, i,
                       PIECE_BYTES_MAX);
    v->text[i] = s;
    v->type[i] = type >= TYPE_NORMAL && type <= TYPE_BYTE ? (uint8_t)type : TYPE_UNUSED;
    v->index[v->n_index++] = (an_name_entry){s.data, s.len, (size_t)i};
    return ANEMO_OK;
}

/* No two tokens may be spelled alike, because JSON keys name them. */
static anemo_status sort_tokens(vocab *v, anemo_error *err)
{
    const an_name_entry *twice = an_name_index_sort(v->index, v->n_index);
    if (!twice) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: tokens %zu and %zu are spelled alike, so tokenizer.json cannot hold both",
                   v->path, twice[-1].idx, twice->idx);
}

/* Texts and types of all tokens of a GGUF file. */
static anemo_status load_tokens(vocab *v, const an_gguf *g, const an_tokenizer *t, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const an_gguf_kv *tokens, *types;
    uint64_t pos = 0;
    AN_TRY(get_array(g, "tokenizer.ggml.tokens", AN_GGUF_STRING, UINT64_MAX, true, &tokens, err));
    AN_TRY(get_array(g, "tokenizer.ggml.token_type", AN_GGUF_I32, tokens->n, false, &types, err));
    AN_TRY(make_room(v, tokens->n, err));
    for (uint64_t i = 0; i < v->n; i++) {
        an_bytes s = an_gguf_array_next_str(tokens, &pos);
        AN_TRY(take_token(v, i, s, types ? an_gguf_array_i64(types, i) : TYPE_NORMAL, err));
        if (an_tokenizer_is_control(t, (int32_t)i)) v->type[i] = TYPE_CONTROL;
    }
    AN_TRY(sort_tokens(v, err));
cleanup:
    return status;
}

static anemo_status load_scores(vocab *v, const an_gguf *g, anemo_error *err)
{
    const an_gguf_kv *scores;
    anemo_status status = get_array(g, "tokenizer.ggml.scores", AN_GGUF_F32, v->n, true, &scores, err);
    if (status != ANEMO_OK) return status;
    v->scores = an_calloc((size_t)v->n, sizeof *v->scores);
    if (!v->scores) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", v->path);
    for (uint64_t i = 0; i < v->n; i++) v->scores[i] = (float)an_gguf_array_f64(scores, i);
    return ANEMO_OK;
}

static anemo_status find_pre(vocab *v, an_bytes pre, anemo_error *err)
{
    for (v->pre = 0; v->pre < AN_COUNT_OF(pre_tokenizers); v->pre++) {
        const char *name = pre_tokenizers[v->pre].name;
        if (!an_name_cmp(name, strlen(name), pre.data, pre.len)) return ANEMO_OK;
    }
    return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                   "%s: the pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not known, so tokenizer.json cannot be made", v->path,
                   (int)an_min_i64((int64_t)pre.len, 60), pre.data);
}

static anemo_status vocab_load(vocab *out, const an_gguf *g, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    vocab v = {
        .path = an_gguf_path(g), .bos = -1, .eos = -1, .unk = -1, .pad = -1, .space_prefix = true};
    an_bytes model;
    an_tokenizer *t = NULL;
    AN_TRY(an_gguf_get_str(g, "tokenizer.ggml.model", true, &model, err));
    v.spm = !an_name_cmp(model.data, model.len, "llama", 5);
    if (!v.spm && an_name_cmp(model.data, model.len, "gpt2", 4)) {
        status = an_fail(err, ANEMO_ERR_UNSUPPORTED,
                         "%s: the tokenizer '%.*s' is not converted; llama and gpt2 are", v.path,
                         (int)an_min_i64((int64_t)model.len, 60), model.data);
        goto cleanup;
    }
    AN_TRY(an_tokenizer_open_gguf(&t, g, err));
    AN_TRY(load_tokens(&v, g, t, err));
    if (v.spm) {
        AN_TRY(load_scores(&v, g, err));
        v.bos = v.n > 1 ? 1 : -1;
        v.eos = v.n > 2 ? 2 : -1;
        v.unk = v.n > 0 ? 0 : -1;
        v.add_bos = true;
    } else {
        an_bytes pre = {"default", 7};
        AN_TRY(an_gguf_get_str(g, "tokenizer.ggml.pre", false, &pre, err));
        AN_TRY(find_pre(&v, pre, err));
        AN_TRY(get_array(g, "tokenizer.ggml.merges", AN_GGUF_STRING, UINT64_MAX, true, &v.merges,
                         err));
        v.add_bos = pre_tokenizers[v.pre].add_bos;
    }
    AN_TRY(get_id(g, &v, "bos", &v.bos, err));
    AN_TRY(get_id(g, &v, "eos", &v.eos, err));
    AN_TRY(get_id(g, &v, "unknown", &v.unk, err));
    AN_TRY(get_id(g, &v, "padding", &v.pad, err));
    AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &v.add_bos, err));
    AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &v.add_eos, err));
    AN_TRY(an_gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", false, &v.space_prefix, err));
    AN_TRY(an_gguf_get_str(g, "tokenizer.chat_template", false, &v.chat_template, err));
    if (v.chat_template.data &&
        (an_utf8_valid_prefix(v.chat_template.data, (size_t)v.chat_template.len) !=
             v.chat_template.len ||
         memchr(v.chat_template.data, 0, (size_t)v.chat_template.len))) {
        status = an_fail(err, ANEMO_ERR_FORMAT, "%s: tokenizer.chat_template is not text", v.path);
        goto cleanup;
    }
    *out = v;
cleanup:
    an_tokenizer_close(t);
    if (status != ANEMO_OK) vocab_free(&v);
    return status;
}

/* The same from a SentencePiece or Tekken file, whose loaded form `t` lives longer. */
static anemo_status vocab_take(vocab *out, const an_tokenizer *t, const char *path, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool made;
    vocab v = {.path = path, .bos = an_tokenizer_bos(t), .eos = an_tokenizer_eos(t), .unk = an_tokenizer_unk(t), .pad = -1};
    v.spm = an_tokenizer_kind(t) == AN_VOCAB_SPM;
    v.add_bos = an_tokenizer_add_bos(t);
    v.add_eos = an_tokenizer_add_eos(t);
    v.space_prefix = v.spm && an_tokenizer_space_prefix(t);
    v.pad = v.spm ? -1 : an_tokenizer_find(t, "<pad>");
    AN_TRY(make_room(&v, (uint64_t)an_tokenizer_n_vocab(t), err));
    for (uint64_t i = 0; i < v.n; i++) {
        an_bytes text = an_tokenizer_piece_text(t, (int32_t)i);
        v.type[i] = TYPE_UNUSED;
        if (text.len > 0) AN_TRY(take_token(&v, i, text, an_tokenizer_piece_type(t, (int32_t)i), err));
    }
    AN_TRY(sort_tokens(&v, err));
    if (v.spm) {
        v.scores = an_calloc((size_t)v.n, sizeof *v.scores);
        if (!v.scores) {
            status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", path);
            goto cleanup;
        }
        AN_TRY(an_tokenizer_scores(t, v.scores, &made, err));
    } else {
        const char *pre = an_tokenizer_gguf_pre(t);
        AN_TRY(find_pre(&v, pre ? (an_bytes){pre, strlen(pre)} : (an_bytes){"of its own", 10}, err));
        AN_TRY(an_tokenizer_merges(t, &v.merge_list, err));
    }
    const char *template = an_tokenizer_chat_template(t);
    if (!template) template = an_chat_template_of((int)an_tokenizer_chat_format(t));
    if (template) v.chat_template = (an_bytes){template, strlen(template)};
    *out = v;
cleanup:
    if (status != ANEMO_OK) vocab_free(&v);
    return status;
}

static json_t *text_of(const vocab *v, int64_t id)
{
    return json_stringn(v->text[id].data, (size_t)v->text[id].len);
}

static size_t find_text(const vocab *v, const char *text, uint64_t len)
{
    return an_name_index_find(v->index, v->n_index, text, len);
}

/* -------------------------------------------------------------------------------------------------------
 * merges */

static an_bytes listed_merge(const an_merge_list *l, uint64_t i)
{
    const char *text = l->text.data + l->start[i];
    return (an_bytes){text, strlen(text)};
}

/* "left right", kept when both halves and the whole are tokens, as tokenizer.json demands. */
static json_t *merges_of_list(const vocab *v)
{
    json_t *out = json_array();
    uint64_t pos = 0;
    uint64_t n = v->merges ? v->merges->n : v->merge_list.n;
    for (uint64_t i = 0; i < n; i++) {
        char whole[2 * PIECE_BYTES_MAX];
        an_bytes m = v->merges ? an_gguf_array_next_str(v->merges, &pos) : listed_merge(&v->merge_list, i);
        const char *space = m.len > 1 ? memchr(m.data + 1, ' ', (size_t)m.len - 1) : NULL;
        if (!space || m.len > sizeof whole) continue;
        size_t left = (size_t)(space - m.data), right = (size_t)m.len - left - 1;
        memcpy(whole, m.data, left);
        memcpy(whole + left, space + 1, right);
        if (find_text(v, whole, left + right) == SIZE_MAX ||
            find_text(v, m.data, left) == SIZE_MAX || find_text(v, space + 1, right) == SIZE_MAX)
            continue;
        json_array_append_new(out, json_pack("[s%s%]", m.data, left, space + 1, right));
    }
    return out;
}

typedef struct spm_merge {
    float score;
    size_t left, right;
    uint64_t left_bytes;
} spm_merge;

/* By score, best first; cuts of one token by the ids of its halves. */
static int cmp_spm(const void *pa, const void *pb)
{
    const spm_merge *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return a->right < b->right ? -1 : a->right > b->right;
}

static bool mergeable(const vocab *v, size_t id)
{
    return v->type[id] == TYPE_NORMAL || v->type[id] == TYPE_USER;
}

/*
 * SentencePiece has scores instead of merges: each way to cut a token into two tokens is a merge,
 * ranked by the score of the whole.
 */
static anemo_status merges_of_scores(const vocab *v, json_t **out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    spm_merge *list = NULL;
    size_t n = 0, cap = 0;
    json_t *merges = json_array();
    for (size_t id = 0; id < v->n; id++) {
        const an_bytes *s = &v->text[id];
        if (!mergeable(v, id)) continue;
        for (uint64_t cut = 1; cut < s->len; cut++) {
            if (((unsigned char)s->data[cut] & 0xC0) == 0x80) continue; /* inside a code point */
            size_t left = find_text(v, s->data, cut),
                   right = find_text(v, s->data + cut, s->len - cut);
            if (left == SIZE_MAX || right == SIZE_MAX || !mergeable(v, left) ||
                !mergeable(v, right))
                continue;
            if (n == cap) {
                cap = cap ? cap * 2 : 4096;
                spm_merge *grown = an_realloc(list, cap * sizeof *grown);
                if (!grown) {
                    status = an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", v->path);
                    goto cleanup;
                }
                list = grown;
            }
            list[n++] = (spm_merge){v->scores[id], left, right, cut};
        }
    }
    if (n > 1) qsort(list, n, sizeof *list, cmp_spm);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(merges, json_pack("[o,o]", text_of(v, (int64_t)list[i].left),
                                                text_of(v, (int64_t)list[i].right)));
    *out = merges;
cleanup:
    if (status != ANEMO_OK) json_decref(merges);
    an_free(list);
    return status;
}

/* ------------------------------------------------------------------------------------------------
 * tokenizer.json */

static json_t *vocab_object(const vocab *v)
{
    json_t *out = json_object();
    for (uint64_t i = 0; i < v->n; i++)
        if (v->text[i].len > 0 || v->merges) json_object_setn_new(out, v->text[i].data, (size_t)v->text[i].len,
                             json_integer((json_int_t)i));
    return out;
}

/* Pieces that are matched in raw text before anything else: control ones when specials are parsed,
 * user ones always. */
static bool is_added(const vocab *v, uint64_t id)
{
    return v->type[id] == TYPE_CONTROL || v->type[id] == TYPE_USER || v->type[id] == TYPE_UNKNOWN;
}

static json_t *added_token(const vocab *v, uint64_t id, bool with_id)
{
    json_t *t = json_object();
    if (with_id) json_object_set_new(t, "id", json_integer((json_int_t)id));
    json_object_set_new(t, "content", text_of(v, (int64_t)id));
    json_object_set_new(t, "single_word", json_false());
    json_object_set_new(t, "lstrip", json_false());
    json_object_set_new(t, "rstrip", json_false());
    json_object_set_new(t, "normalized", json_false());
    json_object_set_new(t, "special", json_boolean(v->type[id] != TYPE_USER));
    return t;
}

static json_t *byte_level(bool trim)
{
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", trim, "use_regex", 0);
}

/* The split of byte-level vocabularies: known forms are written the way their own models write
 * them. */
static json_t *pre_tokenizer(const vocab *v)
{
    json_t *list = json_array();
    const char *const *regex = pre_tokenizers[v->pre].regex;
    for (int i = 0; i < SPLIT_PASSES_MAX && regex[i]; i++) {
        if (!strcmp(regex[i], "\\p{N}"))
            json_array_append_new(list,
                                  json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1));
        else
            json_array_append_new(list, json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split",
                                                  "pattern", "Regex", regex[i], "behavior",
                                                  "Isolated", "invert", 0));
    }
    json_array_append_new(list, byte_level(true));
    return json_pack("{s:s,s:o}", "type", "Sequence", "pretokenizers", list);
}

static json_t *spm_normalizer(const vocab *v)
{
    json_t *list = json_array();
    if (v->space_prefix)
        json_array_append_new(list,
                              json_pack("{s:s,s:s}", "type", "Prepend", "prepend", "\xE2\x96\x81"));
    json_array_append_new(list, json_pack("{s:s,s:{s:s},s:s}", "type", "Replace", "pattern",
                                          "String", " ", "content", "\xE2\x96\x81"));
    return json_pack("{s:s,s:o}", "type", "Sequence", "normalizers", list);
}

static json_t *spm_decoder(const vocab *v)
{
    json_t *list =
        json_pack("[{s:s,s:{s:s},s:s},{s:s},{s:s}]", "type", "Replace", "pattern", "String",
                  "\xE2\x96\x81", "content", " ", "type", "ByteFallback", "type", "Fuse");
    if (v->space_prefix)
        json_array_append_new(list, json_pack("{s:s,s:s,s:i,s:i}", "type", "Strip", "content", " ",
                                              "start", 1, "stop", 0));
    return json_pack("{s:s,s:o}", "type", "Sequence", "decoders", list);
}

static void template_special(const vocab *v, int64_t id, int type_id, json_t *list,
                             json_t *specials)
{
    json_t *name = text_of(v, id);
    json_array_append_new(
        list, json_pack("{s:{s:O,s:i}}", "SpecialToken", "id", name, "type_id", type_id));
    json_object_set_new(
        specials, json_string_value(name),
        json_pack("{s:O,s:[I],s:[O]}", "id", name, "ids", (json_int_t)id, "tokens", name));
    json_decref(name);
}

/* BOS and EOS around a text, when the model wants them. */
static json_t *post_processor(const vocab *v)
{
    bool bos = v->add_bos && v->bos >= 0, eos = v->add_eos && v->eos >= 0;
    if (!bos && !eos) return v->spm ? json_null() : byte_level(false);
    json_t *specials = json_object(), *forms[2];
    for (int form = 0; form < 2; form++) {
        forms[form] = json_array();
        for (int part = 0; part <= form; part++) {
            if (bos) template_special(v, v->bos, part, forms[form], specials);
            json_array_append_new(forms[form], json_pack("{s:{s:s,s:i}}", "Sequence", "id",
                                                         part ? "B" : "A", "type_id", part));
            if (eos) template_special(v, v->eos, part, forms[form], specials);
        }
    }
    return json_pack("{s:s,s:o,s:o,s:o}", "type", "TemplateProcessing", "single", forms[0], "pair",
                     forms[1], "special_tokens", specials);
}

static anemo_status write_tokenizer_json(const vocab *v, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *merges = NULL, *added = json_array(), *model = json_object(), *root = json_object();
    if (v->spm)
        AN_TRY(merges_of_scores(v, &merges, err));
    else
        merges = merges_of_list(v);
    for (uint64_t i = 0; i < v->n; i++)
        if (is_added(v, i)) json_array_append_new(added, added_token(v, i, true));
    json_object_set_new(model, "type", json_string("BPE"));
    json_object_set_new(model, "dropout", json_null());
    json_object_set_new(model, "unk_token",
                        v->spm && v->unk >= 0 ? text_of(v, v->unk) : json_null());
    json_object_set_new(model, "continuing_subword_prefix", json_null());
    json_object_set_new(model, "end_of_word_suffix", json_null());
    json_object_set_new(model, "fuse_unk", json_boolean(v->spm));
    json_object_set_new(model, "byte_fallback", json_boolean(v->spm));
    json_object_set_new(model, "ignore_merges",
                        json_boolean(!v->spm && pre_tokenizers[v->pre].ignore_merges));
    json_object_set_new(model, "vocab", vocab_object(v));
    json_object_set_new(model, "merges", merges);
    merges = NULL;
    json_object_set_new(root, "version", json_string("1.0"));
    json_object_set_new(root, "truncation", json_null());
    json_object_set_new(root, "padding", json_null());
    json_object_set(root, "added_tokens", added);
    json_object_set_new(root, "normalizer", v->spm ? spm_normalizer(v) : json_null());
    json_object_set_new(root, "pre_tokenizer", v->spm ? json_null() : pre_tokenizer(v));
    json_object_set_new(root, "post_processor", post_processor(v));
    json_object_set_new(root, "decoder", v->spm ? spm_decoder(v) : byte_level(true));
    json_object_set(root, "model", model);
    AN_TRY(an_mlx_write_json(dir, "tokenizer.json", json_incref(root), JSON_INDENT(1), err));
cleanup:
    json_decref(added);
    json_decref(model);
    json_decref(root);
    json_decref(merges);
    return status;
}

/* ---------------------------------------------------------------------------------------------------
 * beside it */

static void set_named(json_t *obj, const vocab *v, const char *key, int64_t id)
{
    if (id >= 0) json_object_set_new(obj, key, text_of(v, id));
}

static void set_all_named(json_t *obj, const vocab *v)
{
    set_named(obj, v, "bos_token", v->bos);
    set_named(obj, v, "eos_token", v->eos);
    set_named(obj, v, "unk_token", v->unk);
    set_named(obj, v, "pad_token", v->pad >= 0 ? v->pad : v->eos);
}

static anemo_status write_tokenizer_config(const vocab *v, int n_ctx, const char *dir,
                                           anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *config = json_object(), *decoder = json_object(), *map = json_object();
    for (uint64_t i = 0; i < v->n; i++) {
        char id[24];
        if (!is_added(v, i)) continue;
        snprintf(id, sizeof id, "%" PRIu64, i);
        json_object_set_new(decoder, id, added_token(v, i, false));
    }
    set_all_named(map, v);
    set_all_named(config, v);
    json_object_set(config, "added_tokens_decoder", decoder);
    json_object_set_new(config, "add_bos_token", json_boolean(v->add_bos));
    json_object_set_new(config, "add_eos_token", json_boolean(v->add_eos));
    json_object_set_new(config, "clean_up_tokenization_spaces", json_false());
    json_object_set_new(config, "model_max_length", json_integer(n_ctx));
    json_object_set_new(config, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    if (v->chat_template.data)
        json_object_set_new(config, "chat_template",
                            json_stringn(v->chat_template.data, (size_t)v->chat_template.len));
    AN_TRY(
        an_mlx_write_json(dir, "tokenizer_config.json", json_incref(config), JSON_INDENT(2), err));
    AN_TRY(
        an_mlx_write_json(dir, "special_tokens_map.json", json_incref(map), JSON_INDENT(2), err));
cleanup:
    json_decref(config);
    json_decref(decoder);
    json_decref(map);
    return status;
}

static anemo_status write_files(const vocab *v, int n_ctx, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    char *path = an_path_join(dir, "chat_template.jinja");
    if (!path) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    AN_TRY(write_tokenizer_json(v, dir, err));
    AN_TRY(write_tokenizer_config(v, n_ctx, dir, err));
    if (v->chat_template.data) AN_TRY(an_file_write(path, v->chat_template.data, (size_t)v->chat_template.len, err));
cleanup:
    an_free(path);
    return status;
}

anemo_status an_mlx_write_tokenizer(const an_gguf *g, int n_ctx, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    vocab v = {0};
    an_bytes model = {0};
    AN_TRY(an_gguf_get_str(g, "tokenizer.ggml.model", false, &model, err));
    /* A file may say that it brings no tokenizer: then neither does the directory. */
    if (!model.data || !an_name_cmp(model.data, model.len, "no_vocab", 8) || !an_name_cmp(model.data, model.len, "none", 4))
        goto cleanup;
    AN_TRY(vocab_load(&v, g, err));
    AN_TRY(write_files(&v, n_ctx, dir, err));
cleanup:
    vocab_free(&v);
    return status;
}

anemo_status an_mlx_make_tokenizer(const char *src, int n_ctx, const char *dir, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_tokenizer *t = NULL;
    vocab v = {0};
    AN_TRY(an_tokenizer_open_path(&t, src, err));
    AN_TRY(vocab_take(&v, t, src, err));
    AN_TRY(write_files(&v, n_ctx, dir, err));
cleanup:
    vocab_free(&v);
    an_tokenizer_close(t);
    return status;
}
