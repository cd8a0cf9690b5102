/* token: files that are wrong, each with the error it must give. */
#include "support/files.h"
#include "support/gguf_build.h"
#include "support/test.h"
#include "token_build.h"

#include "base/alloc.h"
#include "os/file.h"
#include "token/internal.h"
#include "token/tokenizer.h"

#include <stdlib.h>

/* ---------------------------------------------------------------------------------------------- tokenizer.model */

static void assert_spm_fails(const an_str *file, anemo_status status, const char *text)
{
    anemo_error err;
    an_tokenizer *t;
    char *copy = malloc(file->len ? file->len : 1); /* exact size, for AddressSanitizer */
    assert_non_null(copy);
    if (file->len) memcpy(copy, file->data, file->len);
    assert_fails(an_load_spm(&t, copy, file->len, "x.model", &err), &err, status, text);
    assert_non_null(strstr(err.message, "x.model"));
    free(copy);
}

static void put(an_str *s, const char *bytes, size_t n)
{
    an_str_append_bytes(s, bytes, n);
}

static void broken_sentencepiece(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        anemo_status status;
        const char *text;
    } cases[] = {
        {"", 0, ANEMO_ERR_FORMAT, "it has no pieces"},
        {"\x0a", 1, ANEMO_ERR_FORMAT, "broken field at byte 0"},
        {"\x0a\x05" "ab", 4, ANEMO_ERR_FORMAT, "broken field at byte 0"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, ANEMO_ERR_FORMAT, "broken field at byte 0"},
        {"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, ANEMO_ERR_FORMAT, "broken field"},
        {"\x00", 1, ANEMO_ERR_FORMAT, "broken field at byte 0"},
        {"\x0b", 1, ANEMO_ERR_FORMAT, "broken field at byte 0"}, /* a group */
        {"\x0e", 1, ANEMO_ERR_FORMAT, "broken field at byte 0"}, /* wire type 6 */
        {"\x08\x01", 2, ANEMO_ERR_FORMAT, "field 1 at byte 0 has another type"},
        {"\x0a\x02\x08\x01", 4, ANEMO_ERR_FORMAT, "field 1 at byte 2 has another type"},
        {"\x0a\x02\x10\x01", 4, ANEMO_ERR_FORMAT, "field 2 at byte 2 has another type"},
        {"\x0a\x02\x18\x07", 4, ANEMO_ERR_FORMAT, "piece 0 at byte 2 has the unknown type 7"},
        {"\x0a\x02\x18\x00", 4, ANEMO_ERR_FORMAT, "unknown type 0"},
        {"\x0a\x01\x18", 3, ANEMO_ERR_FORMAT, "broken field at byte 2"},
        {"{\"model\": 1}", 12, ANEMO_ERR_FORMAT, "broken field"},
        {"\x12\x02\x1a\x00", 4, ANEMO_ERR_FORMAT, "field 3 at byte 2 has another type"},
        {"\x1a\x02\x12\x09", 4, ANEMO_ERR_FORMAT, "broken field at byte 2"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_str file = {0};
        put(&file, cases[i].bytes, cases[i].n);
        assert_spm_fails(&file, cases[i].status, cases[i].text);
        an_str_free(&file);
    }
}

static void unsupported_sentencepiece(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t n;
        const char *text;
    } specs[] = {
        {"", 0, "not a BPE model"},
        {"\x12\x02\x18\x01", 4, "not a BPE model"},
        {"\x12\x05\x18\x02\xc0\x01\x01\x1a\x02\x20\x00", 11, "white space behind words"},
        {"\x12\x02\x18\x02\x1a\x03\x12\x01x", 9, "rewrites characters"},
        {"\x12\x02\x18\x02\x1a\x02\x20\x01", 8, "removes extra white space"},
        {"\x12\x02\x18\x02\x1a\x04\x20\x00\x28\x00", 10, "does not escape white space"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(specs); i++) {
        an_str file = {0};
        spm_piece(&file, "a", 0, 1);
        put(&file, specs[i].bytes, specs[i].n);
        assert_spm_fails(&file, ANEMO_ERR_UNSUPPORTED, specs[i].text);
        an_str_free(&file);
    }
}

/* Every truncation of a good file, and every byte of its start set to a few values: an error or a tokenizer. */
static void truncated_and_changed_sentencepiece(void **state)
{
    (void)state;
    static const unsigned char values[] = {0, 1, 0x7F, 0x80, 0xFF};
    anemo_error err;
    an_str file = {0};
    an_tokenizer *t;
    int opened = 0, refused = 0;
    spm_small(&file, NULL, 0);
    for (size_t n = 0; n < file.len; n += n < 400 ? 1 : 97) {
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, file.data, n);
        if (an_load_spm(&t, copy, n, "x", &err) == ANEMO_OK) {
            an_tokenizer_close(t);
            opened++;
        } else {
            refused++;
        }
        free(copy);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            char kept = file.data[i];
            file.data[i] = (char)values[k];
            if (an_load_spm(&t, file.data, file.len, "x", &err) == ANEMO_OK) {
                an_tokenizer_close(t);
                opened++;
            } else {
                refused++;
            }
            file.data[i] = kept;
        }
    assert_true(refused > 400);
    assert_true(opened > 0);
    an_str_free(&file);
}

/* --------------------------------------------------------------------------------------------------------- JSON */

static void assert_json_fails(const char *text, anemo_status status, const char *message)
{
    anemo_error err;
    an_tokenizer *t;
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    memcpy(copy, text, n);
    assert_fails(an_load_json(&t, copy, n, "x.json", &err), &err, status, message);
    assert_non_null(strstr(err.message, "x.json"));
    free(copy);
}

static void broken_json(void **state)
{
    (void)state;
    assert_json_fails("", ANEMO_ERR_FORMAT, "not valid JSON at line 1");
    assert_json_fails("{", ANEMO_ERR_FORMAT, "not valid JSON");
    assert_json_fails("[1]", ANEMO_ERR_FORMAT, "not an object");
    assert_json_fails("{\"model\": 1, \"model\": 2}", ANEMO_ERR_FORMAT, "not valid JSON");
    assert_json_fails("{\"a\": \"\xff\"}", ANEMO_ERR_FORMAT, "not valid JSON");
    an_str deep = {0};
    an_str_append_repeat(&deep, '[', 100000);
    assert_json_fails(deep.data, ANEMO_ERR_FORMAT, "not valid JSON");
    an_str_free(&deep);
}

/* A good Tekken file with one place of it replaced. */
static void assert_tekken_fails(const char *from, const char *to, anemo_status status, const char *message)
{
    an_str file = {0}, changed = {0};
    static const char *const pieces[] = {"ab"};
    tekken_small(&file, pieces, 1, "");
    const char *at = strstr(file.data, from);
    assert_non_null(at);
    an_str_append_bytes(&changed, file.data, (size_t)(at - file.data));
    an_str_append(&changed, to);
    an_str_append(&changed, at + strlen(from));
    assert_json_fails(changed.data, status, message);
    an_str_free(&file);
    an_str_free(&changed);
}

static void broken_tekken(void **state)
{
    (void)state;
    assert_json_fails("{}", ANEMO_ERR_FORMAT, "'config' is missing");
    assert_json_fails("{\"config\": {}}", ANEMO_ERR_FORMAT, "'vocab' has 0 entries");
    assert_json_fails("{\"config\": {\"default_vocab_size\": 1e3}}", ANEMO_ERR_FORMAT, "default_vocab_size");
    assert_json_fails("{\"config\": {\"default_vocab_size\": 99999999999}}", ANEMO_ERR_FORMAT, "default_vocab_size");
    assert_json_fails("{\"config\": {\"default_vocab_size\": 300, \"default_num_special_tokens\": 100}}",
                      ANEMO_ERR_FORMAT, "default_num_special_tokens");
    assert_tekken_fails("\"default_vocab_size\": 277", "\"default_vocab_size\": 278", ANEMO_ERR_FORMAT,
                        "'vocab' has 257 entries; the config needs at least 258");
    assert_tekken_fails("\"default_num_special_tokens\": 20", "\"default_num_special_tokens\": 19",
                        ANEMO_ERR_FORMAT, "20 special tokens; the config declares 19");
    assert_tekken_fails("\\\\r", "\\\\d", ANEMO_ERR_UNSUPPORTED, "config.pattern is none we know");
    assert_tekken_fails("\"rank\": 3,", "\"rank\": 4,", ANEMO_ERR_FORMAT, "vocab[3]");
    assert_tekken_fails("\"AQ==\"", "\"Ag==\"", ANEMO_ERR_FORMAT, "vocab[1]");
    assert_tekken_fails("\"AQ==\"", "\"A===\"", ANEMO_ERR_FORMAT, "vocab[1]");
    assert_tekken_fails("\"YWI=\"", "\"YW\"", ANEMO_ERR_FORMAT, "vocab[256]");
    assert_tekken_fails("\"YWI=\"", "\"\"", ANEMO_ERR_FORMAT, "vocab[256]");
    assert_tekken_fails("\"YWI=\"", "\"Y-I=\"", ANEMO_ERR_FORMAT, "vocab[256]");
    assert_tekken_fails("\"YWI=\"", "7", ANEMO_ERR_FORMAT, "vocab[256]");
    assert_tekken_fails("\"vocab\":", "\"special_tokens\": 1, \"vocab\":", ANEMO_ERR_FORMAT, "is not a list");
    assert_tekken_fails("\"vocab\":", "\"special_tokens\": [{\"rank\": 1, \"token_str\": \"a\"}], \"vocab\":",
                        ANEMO_ERR_FORMAT, "special_tokens[0]");
    assert_tekken_fails("\"vocab\":", "\"special_tokens\": [{\"rank\": 0, \"token_str\": 5}], \"vocab\":",
                        ANEMO_ERR_FORMAT, "token_str");
}

#define HF_STEPS "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false}"
#define HF_MODEL "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}"

static void broken_tokenizer_json(void **state)
{
    (void)state;
    assert_json_fails("{\"model\": 1}", ANEMO_ERR_FORMAT, "'model' is missing");
    assert_json_fails("{\"model\": {\"type\": \"WordPiece\"}}", ANEMO_ERR_UNSUPPORTED, "'WordPiece' is not supported");
    assert_json_fails("{\"model\": {\"type\": \"BPE\"}}", ANEMO_ERR_FORMAT, "'model.vocab'");
    assert_json_fails("{\"model\": {\"vocab\": {\"a\": \"x\"}}}", ANEMO_ERR_FORMAT, "the id of 'a'");
    assert_json_fails("{\"model\": {\"vocab\": {\"a\": -1}}}", ANEMO_ERR_FORMAT, "has the id -1");
    assert_json_fails("{\"model\": {\"vocab\": {\"a\": 9999999}}}", ANEMO_ERR_FORMAT, "has the id 9999999");
    assert_json_fails("{\"model\": {\"vocab\": {\"a\": 1, \"b\": 1}}}", ANEMO_ERR_FORMAT, "given twice");
    assert_json_fails("{" HF_MODEL "}", ANEMO_ERR_UNSUPPORTED, "neither byte-level nor with byte_fallback");
    assert_json_fails("{" HF_STEPS ", \"model\": {\"vocab\": {}, \"merges\": []}}", ANEMO_ERR_FORMAT, "is empty");
    assert_json_fails("{" HF_STEPS ", \"model\": {\"vocab\": {\"a\": 0}}}", ANEMO_ERR_FORMAT, "'model.merges'");
    assert_json_fails("{" HF_STEPS ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [\"ab\"]}}", ANEMO_ERR_FORMAT,
                      "merges[0]");
    assert_json_fails("{" HF_STEPS ", \"model\": {\"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", ANEMO_ERR_FORMAT,
                      "merges[0]");
    assert_json_fails("{" HF_STEPS ", \"added_tokens\": [{\"id\": 5}], " HF_MODEL "}", ANEMO_ERR_FORMAT,
                      "added_tokens[0]");
    assert_json_fails("{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, " HF_MODEL "}", ANEMO_ERR_UNSUPPORTED,
                      "add_prefix_space");
    assert_json_fails("{\"pre_tokenizer\": {\"type\": \"Whitespace\"}, " HF_MODEL "}", ANEMO_ERR_UNSUPPORTED,
                      "'Whitespace'");
    assert_json_fails("{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": "
                      "\"(x+)+y\"}}, " HF_MODEL "}",
                      ANEMO_ERR_UNSUPPORTED, "the regex '(x+)+y'");
    assert_json_fails("{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Removed\", \"pattern\": {\"Regex\": "
                      "\"\\\\p{N}\"}}, " HF_MODEL "}",
                      ANEMO_ERR_UNSUPPORTED, "Split behavior");
    assert_json_fails("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\"}, " HF_MODEL "}",
                      ANEMO_ERR_UNSUPPORTED, "Metaspace");
    assert_json_fails("{\"normalizer\": {\"type\": \"Lowercase\"}, " HF_MODEL "}", ANEMO_ERR_UNSUPPORTED,
                      "'Lowercase'");
    assert_json_fails("{\"normalizer\": {\"type\": \"Prepend\", \"prepend\": \"_\"}, " HF_MODEL "}",
                      ANEMO_ERR_UNSUPPORTED, "'Prepend'");
}

/* Truncations and single bytes changed of every committed seed: an error that says something, or a tokenizer. */
static void mutated_seeds(void **state)
{
    (void)state;
    static const unsigned char values[] = {0, '"', '9', '}', 0x80, 0xFF};
    static const char *const folders[] = {"sentencepiece", "tokenizer_json"};
    anemo_error err;
    int opened = 0, refused = 0;
    for (size_t f = 0; f < AN_COUNT_OF(folders); f++) {
        char **names, *dir = an_path_join(AN_TEST_DIR "/../fuzz/corpus", folders[f]);
        size_t n_name;
        assert_ok(an_dir_list(dir, &names, &n_name, &err), &err);
        for (size_t i = 0; i < n_name; i++) {
            char *path = an_path_join(dir, names[i]), *data;
            size_t n;
            assert_ok(an_file_read(path, 1 << 20, &data, &n, &err), &err);
            for (size_t k = 0; k < 2 * n; k += n > 600 ? n / 300 : 1) {
                size_t len = k < n ? k : n, at = k % n;
                char *copy = malloc(len ? len : 1);
                an_tokenizer *t;
                assert_non_null(copy);
                memcpy(copy, data, len);
                if (len == n) copy[at] = (char)values[k % sizeof values];
                err.message[0] = '\0';
                anemo_status status = f == 0 ? an_load_spm(&t, copy, len, "x", &err)
                                             : an_load_json(&t, copy, len, "x", &err);
                free(copy);
                if (status == ANEMO_OK) {
                    an_tokenizer_close(t);
                    opened++;
                    continue;
                }
                refused++;
                assert_true(status == ANEMO_ERR_FORMAT || status == ANEMO_ERR_UNSUPPORTED);
                assert_memory_equal(err.message, "x", 1);
            }
            an_free(data);
            an_free(path);
        }
        an_names_free(names);
        an_free(dir);
    }
    assert_true(opened > 50);
    assert_true(refused > 500);
}

/* ------------------------------------------------------------------------------------------------- GGUF and paths */

/* Every other key that is read, with a value of another type. */
static void wrong_gguf_types(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "tokenizer.ggml.pre", "tokenizer.chat_template",
        "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
        "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
        "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id",
    };
    static const char *const tokens[] = {"<unk>", "<s>", "a"};
    static const char *const merges[] = {"a a"};
    static const float scores[] = {0, 0, 0};
    for (size_t i = 0; i < AN_COUNT_OF(keys) * 2; i++) {
        const char *key = keys[i / 2];
        anemo_error err = {0};
        gguf_build b;
        an_gguf *g;
        an_tokenizer *t;
        gguf_build_init(&b);
        gguf_build_str(&b, "general.architecture", "llama");
        gguf_build_str(&b, "tokenizer.ggml.model", i % 2 ? "gpt2" : "llama");
        gguf_build_strs(&b, "tokenizer.ggml.tokens", tokens, 3);
        if (i % 2) gguf_build_strs(&b, "tokenizer.ggml.merges", merges, 1);
        else if (i / 2 > 0) gguf_build_f32s(&b, "tokenizer.ggml.scores", scores, 3);
        gguf_build_f32(&b, key, 0.5f);
        test_buf file = gguf_build_finish(&b);
        assert_ok(an_gguf_open_bytes(&g, file.data, file.n, "x.gguf", &err), &err);
        /* A byte-level vocabulary has no scores and no prefix, SentencePiece no pre-tokenizer: nobody looks. */
        bool unread = i % 2 ? i / 2 == 0 || i / 2 == 4 : i / 2 == 2;
        if (an_tokenizer_open_gguf(&t, g, &err) == ANEMO_OK) {
            if (!unread) fail_msg("%s, case %zu: was accepted", key, i);
            an_tokenizer_close(t);
        } else {
            assert_non_null(strstr(err.message, key));
        }
        an_gguf_close(g);
        free(file.data);
    }
}

/* A directory's tokenizer file: tekken.json before tokenizer.model before tokenizer.json, with the configs beside it. */
static void files_of_a_directory(void **state)
{
    (void)state;
    anemo_error err;
    char dir[] = "/tmp/anemo-token-XXXXXX";
    assert_non_null(mkdtemp(dir));
    static const char *const pieces[] = {"ab"};
    an_str spm = {0}, tekken = {0};
    spm_small(&spm, NULL, 0);
    tekken_small(&tekken, pieces, 1, "");
    const struct {
        const char *name, *text;
        size_t n; /* 0: the text's own length */
        anemo_status status; /* of opening the directory once the file is there */
        int kind;
        const char *message;
    } steps[] = {
        {"tokenizer_config.json", "{\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\"}", 0,
         ANEMO_ERR_FORMAT, 0, "no tokenizer"},
        {"tokenizer.json", "[]", 0, ANEMO_ERR_FORMAT, 0, "not an object"},
        {"tokenizer.model.v3", spm.data, spm.len, ANEMO_OK, AN_VOCAB_SPM, ""},
        {"chat_template.jinja", "{{ messages }}", 0, ANEMO_OK, AN_VOCAB_SPM, ""},
        {"tokenizer_config.json",
         "{\"chat_template\": [{\"name\": \"a\", \"template\": \"x\"}, {\"name\": \"default\", \"template\": \"y\"}]}", 0,
         ANEMO_OK, AN_VOCAB_SPM, ""},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"a\"}}}", 0, ANEMO_ERR_FORMAT, 0,
         "is no id with a content"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"9999999\": {\"content\": \"a\"}}}", 0,
         ANEMO_ERR_FORMAT, 0, "far behind"},
        {"tokenizer_config.json", "{\"added_tokens_decoder\": {\"300\": {\"content\": \"<x>\", \"special\": true}}}", 0,
         ANEMO_OK, AN_VOCAB_SPM, ""},
        {"tekken.json", tekken.data, tekken.len, ANEMO_OK, AN_VOCAB_TEKKEN, ""},
        {"tokenizer_config.json", "[", 0, ANEMO_ERR_FORMAT, 0, "tokenizer_config.json: not valid JSON"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(steps); i++) {
        an_tokenizer *t = NULL;
        char *path = an_path_join(dir, steps[i].name);
        size_t n = steps[i].n ? steps[i].n : strlen(steps[i].text);
        assert_ok(an_file_write(path, steps[i].text, n, &err), &err);
        an_free(path);
        anemo_status status = an_tokenizer_open(&t, dir, &err);
        if (status != steps[i].status) fail_msg("step %zu: %s, %s", i, anemo_status_name(status), err.message);
        if (status == ANEMO_OK) assert_int_equal(an_tokenizer_kind(t), steps[i].kind);
        else assert_non_null(strstr(err.message, steps[i].message));
        an_tokenizer_close(t);
    }
    remove_flat_dir(dir);
    an_str_free(&spm);
    an_str_free(&tekken);
}

static void broken_gguf(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const tokens[] = {"a", "b"};
    static const int32_t types[] = {1};
    for (int i = 0; i < 6; i++) {
        static const char *const messages[] = {"tokenizer.ggml.model", "'bert'; we read", "tokenizer.ggml.tokens",
                                               "wrong type", "fewer tokenizer.ggml.scores", "tokenizer.ggml.merges"};
        gguf_build b;
        an_gguf *g;
        an_tokenizer *t;
        gguf_build_init(&b);
        gguf_build_str(&b, "general.architecture", "llama");
        if (i > 0) gguf_build_str(&b, "tokenizer.ggml.model", i == 1 ? "bert" : i == 5 ? "gpt2" : "llama");
        if (i == 3) gguf_build_i32s(&b, "tokenizer.ggml.tokens", types, 1);
        if (i > 3) gguf_build_strs(&b, "tokenizer.ggml.tokens", tokens, 2);
        if (i == 4) gguf_build_i32s(&b, "tokenizer.ggml.token_type", types, 1);
        test_buf file = gguf_build_finish(&b);
        assert_ok(an_gguf_open_bytes(&g, file.data, file.n, "x.gguf", &err), &err);
        anemo_status status = an_tokenizer_open_gguf(&t, g, &err);
        assert_int_not_equal(status, ANEMO_OK);
        if (!strstr(err.message, messages[i])) fail_msg("'%s' lacks '%s'", err.message, messages[i]);
        an_gguf_close(g);
        test_buf_free(&file);
    }
}

static void wrong_paths(void **state)
{
    (void)state;
    anemo_error err;
    an_tokenizer *t;
    assert_fails(an_tokenizer_open(&t, "/nowhere/at/all", &err), &err, ANEMO_ERR_NOTFOUND, "/nowhere/at/all");
    assert_fails(an_tokenizer_open(&t, AN_TEST_DIR "/support", &err), &err, ANEMO_ERR_FORMAT, "no tokenizer: none of");
    assert_fails(an_tokenizer_open(&t, AN_TEST_DIR "/support/test.h", &err), &err, ANEMO_ERR_FORMAT,
                 "not a SentencePiece model");
}

/* Llama 3's regex in a copy of Mistral's Tekken vocabulary is replaced, and that is said. */
static void wrong_mistral_regex(void **state)
{
    (void)state;
    anemo_error err;
    an_str file = {0};
    an_tokenizer *t;
    an_ids ids = {0};
    an_str_append(&file, "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"behavior\": "
                         "\"Isolated\", \"pattern\": {\"Regex\": \"x|\\\\p{N}{1,3}\"}}, {\"type\": \"ByteLevel\", "
                         "\"add_prefix_space\": false, \"use_regex\": false}]}, \"model\": {\"type\": \"BPE\", "
                         "\"vocab\": {\"[INST]\": 0");
    for (int i = 1; i < 131072; i++) an_str_appendf(&file, ", \"%d\": %d", i, i);
    an_str_append(&file, "}, \"merges\": [\"1 2\"]}}");
    assert_ok(an_load_json(&t, file.data, file.len, "x.json", &err), &err);
    assert_non_null(strstr(an_tokenizer_note(t), "regex is not the one of Mistral's"));
    assert_string_equal(an_tokenizer_pre(t), "tekken");
    assert_ok(an_tokenizer_encode(t, "12", 2, false, &ids, &err), &err);
    assert_int_equal(ids.n, 2); /* single digits, though the merge and the piece are there */
    an_ids_free(&ids);
    an_tokenizer_close(t);
    an_str_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_sentencepiece),
        cmocka_unit_test(unsupported_sentencepiece),
        cmocka_unit_test(truncated_and_changed_sentencepiece),
        cmocka_unit_test(broken_json),
        cmocka_unit_test(broken_tekken),
        cmocka_unit_test(broken_tokenizer_json),
        cmocka_unit_test(mutated_seeds),
        cmocka_unit_test(broken_gguf),
        cmocka_unit_test(wrong_gguf_types),
        cmocka_unit_test(files_of_a_directory),
        cmocka_unit_test(wrong_paths),
        cmocka_unit_test(wrong_mistral_regex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
