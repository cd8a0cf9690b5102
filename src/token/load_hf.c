/*
 * tokenizer.json of Hugging Face's tokenizers (formats.md 7.4), for the families we know: byte-level BPE and
 * SentencePiece BPE with byte fallback. Any other step (normalizer, pre-tokenizer, regex) is refused by name,
 * because a guess would give ids that look plausible and are wrong.
 */
#include "token/internal.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

typedef struct loader {
    an_tokenizer *t;
    const char *name;
    const json_t *root, *model;
    const char **pieces; /* [n] by id, NULL = none */
    size_t *lens;
    const json_t **added; /* [n] the added token of that id */
    size_t n, cap;
    size_t n_pass;
    bool prefix_scheme_seen;
} loader;

static const char *type_of(const json_t *obj)
{
    const char *type = json_string_value(json_object_get(obj, "type"));
    return type ? type : "";
}

static bool flag_of(const json_t *obj, const char *key, bool def)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_boolean(v) ? json_is_true(v) : def;
}

static anemo_status refuse(const loader *l, const char *what, const char *which, anemo_error *err)
{
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: %s '%.300s' is not supported", l->name, what, which);
}

/* -------------------------------------------------------------------------------------------------- pieces */

static anemo_status put_piece(loader *l, int64_t id, const char *text, size_t len, const json_t *added,
                              anemo_error *err)
{
    if (id < 0 || (uint64_t)id >= l->cap)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the piece '%.60s' has the id %lld; expected 0 to %zu", l->name,
                       text, (long long)id, l->cap - 1);
    if (l->pieces[id] && !added)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: the id %lld is given twice ('%.60s' and '%.60s')", l->name,
                       (long long)id, l->pieces[id], text);
    l->pieces[id] = text;
    l->lens[id] = len;
    l->added[id] = added;
    if ((size_t)id >= l->n) l->n = (size_t)id + 1;
    return ANEMO_OK;
}

static anemo_status collect(loader *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *vocab = json_object_get(l->model, "vocab");
    const json_t *added = json_object_get(l->root, "added_tokens");
    if (!json_is_object(vocab))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: 'model.vocab' is not an object", l->name);
    /* Ids may have gaps, but a small file may not ask for a large table. */
    l->cap = 4 * (json_object_size(vocab) + json_array_size(added)) + 65536;
    l->pieces = an_calloc(l->cap, sizeof *l->pieces);
    l->lens = an_calloc(l->cap, sizeof *l->lens);
    l->added = an_calloc(l->cap, sizeof *l->added);
    if (!l->pieces || !l->lens || !l->added) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    const char *text;
    json_t *id;
    json_object_foreach(vocab, text, id)
    {
        if (!json_is_integer(id))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: the id of '%.60s' is not an integer", l->name, text);
        AN_TRY(put_piece(l, json_integer_value(id), text, strlen(text), NULL, err));
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *item = json_array_get(added, i);
        const json_t *content = json_object_get(item, "content");
        id = json_object_get(item, "id");
        if (!json_is_string(content) || !json_is_integer(id))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: added_tokens[%zu] needs an id and a content", l->name, i);
        AN_TRY(put_piece(l, json_integer_value(id), json_string_value(content), json_string_length(content),
                         item, err));
    }
cleanup:
    return status;
}

static bool is_byte_spelling(const char *text, size_t n)
{
    return n == 6 && memcmp(text, "<0x", 3) == 0 && text[5] == '>' && strspn(text + 3, "0123456789ABCDEF") == 2;
}

static anemo_status add_pieces(loader *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_tokenizer *t = l->t;
    const char *unk = json_string_value(json_object_get(l->model, "unk_token"));
    for (size_t id = 0; id < l->n; id++) {
        const char *text = l->pieces[id] ? l->pieces[id] : "";
        const json_t *added = l->added[id];
        an_piece_type type = AN_PIECE_NORMAL;
        if (!l->pieces[id])
            type = AN_PIECE_UNUSED;
        else if (unk && strcmp(text, unk) == 0 && (!added || flag_of(added, "special", false)))
            type = AN_PIECE_UNKNOWN;
        else if (added)
            type = flag_of(added, "special", false) ? AN_PIECE_CONTROL : AN_PIECE_USER;
        else if (!t->byte_level && is_byte_spelling(text, l->lens[id]))
            type = AN_PIECE_BYTE;
        AN_TRY(an_vocab_add(t, text, l->lens[id], type, 0, err));
        if (type == AN_PIECE_UNKNOWN) t->unk = (int32_t)id;
        if (!added) continue;
        t->flags[id] = (uint8_t)((flag_of(added, "lstrip", false) ? AN_PIECE_LSTRIP : 0) |
                                 (flag_of(added, "rstrip", false) ? AN_PIECE_RSTRIP : 0) |
                                 (flag_of(added, "single_word", false) ? AN_PIECE_SINGLE_WORD : 0) |
                                 (flag_of(added, "normalized", false) ? AN_PIECE_NORMALIZED : 0));
    }
cleanup:
    return status;
}

static anemo_status add_merges(loader *l, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *merges = json_object_get(l->model, "merges");
    if (!json_is_array(merges))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: 'model.merges' is not a list", l->name);
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const json_t *item = json_array_get(merges, i);
        const json_t *a = json_array_get(item, 0), *b = json_array_get(item, 1);
        const char *left = json_string_value(a), *right = json_string_value(b);
        size_t n_left = json_string_length(a), n_right = json_string_length(b);
        const char *both = json_string_value(item), *space = both ? strchr(both, ' ') : NULL;
        if (space) {
            left = both;
            n_left = (size_t)(space - both);
            right = space + 1;
            n_right = json_string_length(item) - n_left - 1;
        }
        if (!left || !right || (!space && json_array_size(item) != 2))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: merges[%zu] is neither \"a b\" nor [\"a\", \"b\"]", l->name,
                           i);
        AN_TRY(an_vocab_merge(l->t, left, n_left, right, n_right, (uint32_t)i, err));
    }
cleanup:
    return status;
}

/* --------------------------------------------------------------------------------------------------- steps */

static anemo_status one_normalizer(loader *l, const json_t *step, anemo_error *err)
{
    const char *type = type_of(step);
    const char *content = json_string_value(json_object_get(step, "content"));
    if (strcmp(type, "NFC") == 0) {
        l->t->nfc = true;
        return ANEMO_OK;
    }
    if (strcmp(type, "Prepend") == 0) {
        const char *prepend = json_string_value(json_object_get(step, "prepend"));
        if (!prepend || strcmp(prepend, "\xe2\x96\x81") != 0) return refuse(l, "normalizer", type, err);
        l->t->prefix = AN_PREFIX_SEGMENT;
        return ANEMO_OK;
    }
    if (strcmp(type, "Replace") == 0) {
        const char *from = json_string_value(json_object_get(json_object_get(step, "pattern"), "String"));
        if (from && content && strcmp(from, " ") == 0 && strcmp(content, "\xe2\x96\x81") == 0) return ANEMO_OK;
    }
    return refuse(l, "normalizer", type, err);
}

/* A step of its own or a list of steps, one level deep as the library writes them. */
static anemo_status each_step(loader *l, const char *key, const char *list_key,
                              anemo_status (*one)(loader *, const json_t *, anemo_error *),
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    const json_t *step = json_object_get(l->root, key);
    if (!step || json_is_null(step)) return ANEMO_OK;
    if (strcmp(type_of(step), "Sequence") != 0) return one(l, step, err);
    const json_t *list = json_object_get(step, list_key);
    for (size_t i = 0; i < json_array_size(list); i++) AN_TRY(one(l, json_array_get(list, i), err));
cleanup:
    return status;
}

static anemo_status add_pass(loader *l, an_pretok_pass pass, anemo_error *err)
{
    if (l->n_pass + 1 >= AN_COUNT_OF(l->t->pretok.pass))
        return an_fail(err, ANEMO_ERR_UNSUPPORTED, "%s: too many pre-tokenizers", l->name);
    l->t->pretok.pass[l->n_pass++] = pass;
    return ANEMO_OK;
}

/*
 * Several published copies of Mistral's Tekken vocabulary carry Llama 3's regex (formats.md 9.1, 10): digits in
 * threes, no case splits. Their models were trained with Tekken's.
 */
static bool is_wrong_mistral_regex(const loader *l, const char *regex)
{
    const json_t *vocab = json_object_get(l->model, "vocab");
    if (l->n != 131072 || !strstr(regex, "\\p{N}{1,3}")) return false;
    if (json_object_get(vocab, "[INST]")) return true;
    for (size_t id = 0; id < 64; id++)
        if (l->pieces[id] && strcmp(l->pieces[id], "[INST]") == 0) return true;
    return false;
}

static anemo_status split_step(loader *l, const json_t *step, anemo_error *err)
{
    const json_t *pattern = json_object_get(step, "pattern");
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *behavior = json_string_value(json_object_get(step, "behavior"));
    an_pretok_pass pass;
    if (!regex) return refuse(l, "pre_tokenizer", "Split by a string", err);
    if (!behavior || strcmp(behavior, "Isolated") != 0) {
        /* "Removed" inverted keeps the matches, and our regexes match everything. */
        if (!behavior || strcmp(behavior, "Removed") != 0 || !flag_of(step, "invert", false))
            return refuse(l, "Split behavior", behavior ? behavior : "", err);
    }
    if (is_wrong_mistral_regex(l, regex)) {
        an_vocab_note(l->t, "the file's regex is not the one of Mistral's Tekken models; theirs is used");
        pass = AN_PASS_TEKKEN;
    } else if (!an_pretok_by_regex(regex, &pass)) {
        return refuse(l, "the regex", regex, err);
    }
    return add_pass(l, pass, err);
}

static anemo_status metaspace(loader *l, const json_t *step, anemo_error *err)
{
    const char *scheme = json_string_value(json_object_get(step, "prepend_scheme"));
    const char *block = json_string_value(json_object_get(step, "replacement"));
    if (!block || strcmp(block, "\xe2\x96\x81") != 0) return refuse(l, "pre_tokenizer", "Metaspace", err);
    if (flag_of(step, "split", true)) return refuse(l, "pre_tokenizer", "Metaspace with split", err);
    if (!scheme) scheme = flag_of(step, "add_prefix_space", true) ? "always" : "never";
    l->t->prefix_unless_space = true;
    if (strcmp(scheme, "first") == 0) l->t->prefix = AN_PREFIX_FIRST;
    else if (strcmp(scheme, "always") == 0) l->t->prefix = AN_PREFIX_SEGMENT;
    else if (strcmp(scheme, "never") != 0) return refuse(l, "prepend_scheme", scheme, err);
    return ANEMO_OK;
}

static anemo_status one_pretokenizer(loader *l, const json_t *step, anemo_error *err)
{
    const char *type = type_of(step);
    if (strcmp(type, "Split") == 0) return split_step(l, step, err);
    if (strcmp(type, "Metaspace") == 0) return metaspace(l, step, err);
    if (strcmp(type, "Digits") == 0)
        return add_pass(l, flag_of(step, "individual_digits", false) ? AN_PASS_NUMBER : AN_PASS_NUMBER_RUN, err);
    if (strcmp(type, "ByteLevel") == 0) {
        l->t->byte_level = true;
        if (flag_of(step, "add_prefix_space", true))
            return refuse(l, "pre_tokenizer", "ByteLevel with add_prefix_space", err);
        return flag_of(step, "use_regex", true) ? add_pass(l, AN_PASS_GPT2, err) : ANEMO_OK;
    }
    return refuse(l, "pre_tokenizer", type, err);
}

/* TemplateProcessing says which special pieces stand before and after one text. */
static anemo_status one_processor(loader *l, const json_t *step, anemo_error *err)
{
    (void)err;
    if (strcmp(type_of(step), "TemplateProcessing") != 0) return ANEMO_OK;
    const json_t *single = json_object_get(step, "single");
    bool before = true;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence")) before = false;
        const char *text = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        int32_t id = text ? an_tokenizer_find(l->t, text) : -1;
        if (id < 0) continue;
        *(before ? &l->t->bos : &l->t->eos) = id;
        *(before ? &l->t->add_bos : &l->t->add_eos) = true;
    }
    return ANEMO_OK;
}

static int32_t first_of(const an_tokenizer *t, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id = an_tokenizer_find(t, names[i]);
        if (id >= 0 && (t->type[id] == AN_PIECE_CONTROL || t->type[id] == AN_PIECE_USER)) return id;
    }
    return -1;
}

static anemo_status load(loader *l, anemo_error *err)
{
    static const char *const bos[] = {"<s>", "<|begin_of_text|>"};
    static const char *const eos[] = {"</s>", "<|end_of_text|>", "<|endoftext|>"};
    anemo_status status = ANEMO_OK;
    an_tokenizer *t = l->t;
    l->model = json_object_get(l->root, "model");
    if (!json_is_object(l->model))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a tokenizer.json: 'model' is missing", l->name);
    if (strcmp(type_of(l->model), "BPE") != 0 && *type_of(l->model))
        return refuse(l, "the model type", type_of(l->model), err);
    t->merge_by = AN_MERGE_BY_PAIR;
    t->special_rule = AN_SPECIAL_LEFTMOST;
    t->pretok.unicode = AN_UNICODE_16;
    t->ignore_merges = flag_of(l->model, "ignore_merges", false);
    AN_TRY(collect(l, err));
    AN_TRY(each_step(l, "normalizer", "normalizers", one_normalizer, err));
    AN_TRY(each_step(l, "pre_tokenizer", "pretokenizers", one_pretokenizer, err));
    if (!t->byte_level && !flag_of(l->model, "byte_fallback", false))
        return refuse(l, "a vocabulary", "neither byte-level nor with byte_fallback", err);
    t->kind = t->byte_level ? AN_VOCAB_BPE : AN_VOCAB_SPM;
    if (t->byte_level && l->n_pass && t->pretok.pass[l->n_pass - 1] == AN_PASS_TEKKEN)
        snprintf(t->pre, sizeof t->pre, "tekken");
    AN_TRY(add_pieces(l, err));
    AN_TRY(an_vocab_index(t, err));
    AN_TRY(add_merges(l, err));
    AN_TRY(each_step(l, "post_processor", "processors", one_processor, err));
    if (t->bos < 0) t->bos = first_of(t, bos, AN_COUNT_OF(bos));
    if (t->eos < 0) t->eos = first_of(t, eos, AN_COUNT_OF(eos));
    an_vocab_mark_eog(t);
cleanup:
    return status;
}

anemo_status an_load_hf(an_tokenizer **out, const json_t *root, const char *name, anemo_error *err)
{
    loader l = {.t = an_vocab_new(name), .name = name, .root = root};
    if (!l.t) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    anemo_status status = load(&l, err);
    an_free(l.pieces);
    an_free(l.lens);
    an_free(l.added);
    if (status != ANEMO_OK) {
        an_tokenizer_close(l.t);
        return status;
    }
    l.t->source = NULL;
    *out = l.t;
    return status;
}

/* ------------------------------------------------------------------------------------------------ any JSON file */

static anemo_status parse(json_t **out, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = an_json_parse_flags(out, text, n, JSON_ALLOW_NUL, name, err);
    if (status != ANEMO_OK || json_is_object(*out)) return status;
    json_decref(*out);
    *out = NULL;
    return an_fail(err, ANEMO_ERR_FORMAT, "%s: not a tokenizer: the JSON is not an object", name);
}

anemo_status an_load_json(an_tokenizer **out, const char *text, size_t n, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *root = NULL;
    AN_TRY(parse(&root, text, n, name, err));
    /* A Tekken file has its vocabulary at the top, as a list. */
    if (json_object_get(root, "vocab") || !json_object_get(root, "model"))
        status = an_load_tekken(out, root, name, err);
    else
        status = an_load_hf(out, root, name, err);
cleanup:
    json_decref(root);
    return status;
}

/* -------------------------------------------------------------------------------------- tokenizer_config.json */

/* A token named as "x" or {"content": "x"}. */
static int32_t named_token(const an_tokenizer *t, const json_t *config, const char *key, int32_t def)
{
    const json_t *v = json_object_get(config, key);
    const char *text = json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
    int32_t id = text ? an_tokenizer_find(t, text) : -1;
    return id >= 0 ? id : def;
}

/* The template itself, or of a list the one named "default", else the first. */
static const char *template_of(const json_t *config)
{
    const json_t *v = json_object_get(config, "chat_template");
    const char *first = NULL;
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char *name = json_string_value(json_object_get(item, "name"));
        const char *text = json_string_value(json_object_get(item, "template"));
        if (!first) first = text;
        if (name && text && strcmp(name, "default") == 0) return text;
    }
    return first ? first : json_string_value(v);
}

/*
 * "added_tokens_decoder": {"32000": {"content": "<|im_end|>", "special": true}, …}. tokenizer.model stays as it was when
 * a fine-tune adds tokens, so this is where they are; for other files they are in the vocabulary already.
 */
static anemo_status add_added(an_tokenizer *t, json_t *config, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *list = json_object_get(config, "added_tokens_decoder"), *item;
    const char *key;
    if (t->kind != AN_VOCAB_SPM || t->merge_by != AN_MERGE_BY_SCORE) return ANEMO_OK;
    json_object_foreach(list, key, item)
    {
        const json_t *content = json_object_get(item, "content");
        int64_t id;
        if (!an_parse_i64(key, &id) || !json_is_string(content))
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: added_tokens_decoder: '%.40s' is no id with a content",
                           t->source, key);
        if (id < t->n_vocab) continue;
        if (id > t->n_vocab + 65536)
            return an_fail(err, ANEMO_ERR_FORMAT, "%s: added_tokens_decoder: the id %lld is far behind the %d pieces",
                           t->source, (long long)id, t->n_vocab);
        an_piece_type type = flag_of(item, "special", false) ? AN_PIECE_CONTROL : AN_PIECE_USER;
        AN_TRY(an_vocab_extend(t, (int32_t)id, json_string_value(content), json_string_length(content), type, err));
    }
cleanup:
    return status;
}

anemo_status an_load_config(an_tokenizer *t, const char *text, size_t n, const char *name,
                            anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    json_t *config = NULL;
    t->source = name;
    AN_TRY(parse(&config, text, n, name, err));
    AN_TRY(add_added(t, config, err));
    an_vocab_mark_eog(t);
    t->bos = named_token(t, config, "bos_token", t->bos);
    t->eos = named_token(t, config, "eos_token", t->eos);
    if (t->eos >= 0) t->eog[t->eos] = 1;
    t->add_bos = flag_of(config, "add_bos_token", t->add_bos);
    t->add_eos = flag_of(config, "add_eos_token", t->add_eos);
    const char *jinja = template_of(config);
    if (jinja && !t->chat_template) {
        t->chat_template = an_strdup(jinja);
        if (!t->chat_template) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    }
cleanup:
    t->source = NULL;
    json_decref(config);
    return status;
}
