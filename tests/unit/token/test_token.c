/* token: encoding and decoding on small vocabularies whose ids follow from the published rules by hand. */
#include "support/fail_alloc.h"
#include "support/gguf_build.h"
#include "support/test.h"
#include "token_build.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "token/internal.h"
#include "token/tokenizer.h"

#include <stdlib.h>

#define BLOCK "\xe2\x96\x81"

static an_tokenizer *open_spm(const char *const *pieces, size_t n)
{
    anemo_error err;
    an_str file = {0};
    an_tokenizer *t;
    spm_small(&file, pieces, n);
    assert_ok(an_load_spm(&t, file.data, file.len, "small.model", &err), &err);
    an_str_free(&file);
    return t;
}

static an_tokenizer *open_tekken(const char *const *pieces, size_t n, const char *config)
{
    anemo_error err;
    an_str file = {0};
    an_tokenizer *t;
    tekken_small(&file, pieces, n, config);
    assert_ok(an_load_json(&t, file.data, file.len, "tekken.json", &err), &err);
    an_str_free(&file);
    return t;
}

/* Encode and compare with ids written as "1 2 3". */
static void assert_ids(const an_tokenizer *t, const char *text, size_t n, bool special, const char *expected)
{
    anemo_error err;
    an_ids ids = {0};
    an_str got = {0};
    assert_ok(an_tokenizer_encode(t, text, n, special, &ids, &err), &err);
    for (size_t i = 0; i < ids.n; i++) an_str_appendf(&got, "%s%d", i ? " " : "", ids.ids[i]);
    if (strcmp(an_str_text(&got), expected) != 0)
        fail_msg("'%.*s': got %s, expected %s", (int)n, text, an_str_text(&got), expected);
    an_str_free(&got);
    an_ids_free(&ids);
}

#define ASSERT_IDS(t, text, expected) assert_ids(t, text, sizeof(text) - 1, false, expected)
#define ASSERT_SPECIAL(t, text, expected) assert_ids(t, text, sizeof(text) - 1, true, expected)

static void assert_same_bytes(const an_tokenizer *t, const char *text, size_t n)
{
    anemo_error err;
    an_ids ids = {0};
    an_str back = {0};
    assert_ok(an_tokenizer_encode(t, text, n, false, &ids, &err), &err);
    an_tokenizer_decode(t, ids.ids, ids.n, false, false, &back);
    assert_int_equal(back.len, n);
    if (n) assert_memory_equal(back.data, text, n);
    an_str_free(&back);
    an_ids_free(&ids);
}

/* Ids: 259 ▁, 260 a, 261 b, 262 c, 263 ab, 264 bc, 265 abc, 266 ▁a, 267 aa, 268 ▁▁. */
static const char *const letters[] = {BLOCK, "a", "b", "c", "ab", "bc", "abc", BLOCK "a", "aa", BLOCK BLOCK};

static void spm_merges_by_score_then_leftmost(void **state)
{
    (void)state;
    an_tokenizer *t = open_spm(letters, AN_COUNT_OF(letters));
    ASSERT_IDS(t, "", "");
    ASSERT_IDS(t, "abc", "259 265");      /* ab before bc and ▁a: the score decides, not the length */
    ASSERT_IDS(t, "bca", "259 264 260");
    ASSERT_IDS(t, "ba", "259 261 260");
    ASSERT_IDS(t, "caaa", "259 262 267 260"); /* a tie goes to the leftmost pair */
    ASSERT_IDS(t, " a", "259 266");       /* prefix and space: ▁a scores before ▁▁ */
    ASSERT_IDS(t, "b  b", "259 261 268 261");
    ASSERT_IDS(t, "\xc3\xa9", "259 198 172");
    ASSERT_IDS(t, "a\n", "266 13");
    ASSERT_IDS(t, "<s>", "259 63 118 65"); /* control pieces never come from text: bytes 3c 73 3e */
    ASSERT_IDS(t, "<0x0A>", "259 63 51 123 51 68 65");
    ASSERT_SPECIAL(t, "<s>a</s> a", "1 266 2 259 266"); /* each stretch of text has its own prefix */
    ASSERT_IDS(t, "a\xff\xc3", "266 258 198");
    assert_int_equal(an_tokenizer_bos(t), 1);
    assert_int_equal(an_tokenizer_eos(t), 2);
    assert_true(an_tokenizer_add_bos(t));
    assert_false(an_tokenizer_add_eos(t));
    assert_true(an_tokenizer_is_eog(t, 2));
    assert_false(an_tokenizer_is_eog(t, 1));
    assert_false(an_tokenizer_is_eog(t, -1));
    assert_true(an_tokenizer_is_control(t, 0));
    assert_int_equal(an_tokenizer_find(t, "ab"), 263);
    assert_int_equal(an_tokenizer_find(t, "nothing"), -1);
    assert_string_equal(an_tokenizer_spelling(t, 266), BLOCK "a");
    assert_string_equal(an_tokenizer_spelling(t, 269), "");
    assert_int_equal(an_tokenizer_kind(t), AN_VOCAB_SPM);
    an_tokenizer_close(t);
}

static void spm_cuts_user_pieces_first(void **state)
{
    (void)state;
    anemo_error err;
    an_str file = {0};
    an_tokenizer *t;
    static const char *const pieces[] = {BLOCK, "x", BLOCK "x", "[", "D", "]", "[D"};
    spm_small(&file, pieces, AN_COUNT_OF(pieces)); /* 259 to 265 */
    spm_piece(&file, "[D]", 0, 4);                 /* 266 */
    spm_piece(&file, "[D]]", 0, 4);                /* 267 */
    assert_ok(an_load_spm(&t, file.data, file.len, "small.model", &err), &err);
    ASSERT_IDS(t, "[D] x", "259 266 261"); /* the prefix stands before the piece, and once */
    ASSERT_IDS(t, "x[D]]x", "261 267 260");
    ASSERT_IDS(t, "[D[D]", "259 265 266");
    assert_same_bytes(t, "[D] x", 5);
    assert_same_bytes(t, " [D] x ", 7);
    an_tokenizer_close(t);
    an_str_free(&file);
}

static void decoding_drops_one_space(void **state)
{
    (void)state;
    an_tokenizer *t = open_spm(letters, AN_COUNT_OF(letters));
    static const int32_t ids[] = {1, 266, 265, 2};
    an_str out = {0};
    an_tokenizer_decode(t, ids, 4, false, false, &out);
    assert_string_equal(an_str_text(&out), "aabc");
    an_str_clear(&out);
    an_tokenizer_decode(t, ids + 1, 2, false, true, &out); /* goes on after a prompt */
    assert_string_equal(an_str_text(&out), " aabc");
    an_str_clear(&out);
    an_tokenizer_decode(t, ids, 4, true, false, &out);
    assert_string_equal(an_str_text(&out), "<s>aabc</s>");
    an_str_clear(&out);
    an_tokenizer_piece(t, 13, false, &out);
    assert_string_equal(an_str_text(&out), "\n");
    an_str_clear(&out);
    an_tokenizer_piece(t, 1 << 20, true, &out);
    an_tokenizer_piece(t, -1, true, &out);
    assert_int_equal(out.len, 0);
    an_str_free(&out);
    an_tokenizer_close(t);
}

/* Ids: special 0 to 19, bytes 20 to 275 (byte b is 20 + b), then 276 "ab", 277 "bc", 278 "abc", 279 " a", 280 "bcd". */
static const char *const strings[] = {"ab", "bc", "abc", " a", "bcd"};

static void tekken_merges_by_rank(void **state)
{
    (void)state;
    an_tokenizer *t = open_tekken(strings, AN_COUNT_OF(strings), "\"version\": \"v3\"");
    ASSERT_IDS(t, "abc", "278"); /* a whole word */
    ASSERT_IDS(t, "xabc", "140 278");
    ASSERT_IDS(t, "xabcd", "140 278 120"); /* ab first, so bcd never forms */
    ASSERT_IDS(t, "bcd", "280");
    ASSERT_IDS(t, " a", "279");
    ASSERT_IDS(t, "  a", "52 279");
    ASSERT_IDS(t, "[INST]", "111 93 98 103 104 113");
    ASSERT_SPECIAL(t, "[INST]a[/INST]", "3 117 4");
    ASSERT_IDS(t, "\xff" "ab\xc3", "275 276 215");
    ASSERT_IDS(t, "12", "69 70");
    assert_string_equal(an_tokenizer_pre(t), "tekken");
    assert_string_equal(an_tokenizer_spelling(t, 279), "\xc4\xa0" "a");
    assert_int_equal(an_tokenizer_n_vocab(t), 281);
    assert_int_equal(an_tokenizer_find(t, "[SUFFIX]"), 16);
    an_tokenizer_close(t);
}

/* Splits quoted from the format's description; | marks a cut. */
static void tekken_splits(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const cases[] = {
        "Hello|World|XMLParser", "don|'t| stop", "foo|/bar|\n\n| | baz", "1|2|.|5|kg", "日|A|!", "日本語テキスト",
        "a| | b|\t| c|\n", "x| y", "  \n| z", "é́|!", "a|://|b", "ABC", "ABc", "Ab|Cd",
    };
    const an_pretok p = {.pass = {AN_PASS_TEKKEN}, .unicode = AN_UNICODE_16};
    an_pretok_work w = {0};
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_str text = {0}, got = {0};
        const uint32_t *ends;
        size_t n, at = 0;
        for (const char *c = cases[i]; *c; c++)
            if (*c != '|') an_str_append_char(&text, *c);
        assert_ok(an_pretok_split(&p, &w, text.data, text.len, &ends, &n, &err), &err);
        for (size_t k = 0; k < n; k++) {
            if (k) an_str_append_char(&got, '|');
            an_str_append_bytes(&got, text.data + at, ends[k] - at);
            at = ends[k];
        }
        assert_string_equal(an_str_text(&got), cases[i]);
        an_str_free(&text);
        an_str_free(&got);
    }
    an_pretok_work_free(&w);
}

/* A GGUF vocabulary: the 256 bytes in GPT-2's alphabet in byte order, then pieces. */
static an_tokenizer *open_bpe(const char *pre, const char *const *pieces, size_t n, const char *const *merges,
                              size_t n_merge, const char *jinja, const int32_t *types)
{
    anemo_error err;
    gguf_build b;
    an_gguf *g;
    an_tokenizer *t;
    const char *tokens[300];
    int32_t all_types[300];
    char *bytes[256];
    for (int i = 0; i < 256; i++) {
        char byte = (char)i;
        an_str letter = {0};
        an_alphabet_encode(&byte, 1, &letter);
        tokens[i] = bytes[i] = an_str_take(&letter);
        all_types[i] = 1;
    }
    for (size_t i = 0; i < n; i++) {
        tokens[256 + i] = pieces[i];
        all_types[256 + i] = types ? types[i] : 1;
    }
    gguf_build_init(&b);
    gguf_build_str(&b, "general.architecture", "llama");
    gguf_build_str(&b, "tokenizer.ggml.model", "gpt2");
    gguf_build_str(&b, "tokenizer.ggml.pre", pre);
    gguf_build_strs(&b, "tokenizer.ggml.tokens", tokens, 256 + n);
    gguf_build_i32s(&b, "tokenizer.ggml.token_type", all_types, 256 + n);
    gguf_build_strs(&b, "tokenizer.ggml.merges", merges, n_merge);
    if (jinja) gguf_build_str(&b, "tokenizer.chat_template", jinja);
    test_buf file = gguf_build_finish(&b);
    assert_ok(an_gguf_open_bytes(&g, file.data, file.n, "small.gguf", &err), &err);
    assert_ok(an_tokenizer_open_gguf(&t, g, &err), &err);
    an_gguf_close(g);
    test_buf_free(&file);
    for (int i = 0; i < 256; i++) an_free(bytes[i]);
    return t;
}

/* 256 "ab", 257 "Ġab"; "bc" is a product of merges that no piece spells. */
static void bpe_merges_by_list(void **state)
{
    (void)state;
    static const char *const pieces[] = {"ab", ("\xc4\xa0" "ab"), "bcd"};
    static const char *const merges[] = {"b c", "a b", "\xc4\xa0 ab", "bc d", "nonsense"};
    an_tokenizer *t = open_bpe("gpt-2", pieces, 3, merges, 5, NULL, NULL);
    ASSERT_IDS(t, "ab", "256");
    ASSERT_IDS(t, "x ab", "120 257");
    ASSERT_IDS(t, "abc", "97 98 99");  /* bc first; it has no id, so it becomes its bytes again */
    ASSERT_IDS(t, "abcd", "97 258");   /* but it merges on */
    ASSERT_IDS(t, "a1b2", "97 49 98 50");
    assert_string_equal(an_tokenizer_note(t), "");
    an_tokenizer_close(t);
    t = open_bpe("a-new-one", pieces, 3, merges, 5, NULL, NULL);
    assert_non_null(strstr(an_tokenizer_note(t), "'a-new-one' is unknown"));
    ASSERT_IDS(t, "ab", "256");
    an_tokenizer_close(t);
}

static void every_byte_string_comes_back(void **state)
{
    (void)state;
    static const char *const merges[] = {"\xc4\xa0 a", "b c"};
    static const char *const pieces[] = {"\xc4\xa0" "a", "bc"};
    an_tokenizer *all[] = {open_spm(letters, AN_COUNT_OF(letters)),
                           open_tekken(strings, AN_COUNT_OF(strings), ""),
                           open_bpe("smollm", pieces, 2, merges, 2, NULL, NULL),
                           open_bpe("llama-bpe", pieces, 2, merges, 2, NULL, NULL),
                           open_bpe("default", pieces, 2, merges, 2, NULL, NULL),
                           open_bpe("tekken", pieces, 2, merges, 2, NULL, NULL)};
    an_rng rng;
    an_rng_seed(&rng, 1);
    for (int i = 0; i < 3000; i++) {
        char text[64];
        size_t n = (size_t)an_rng_below(&rng, sizeof text);
        int kind = (int)an_rng_below(&rng, 3);
        for (size_t k = 0; k < n; k++)
            text[k] = kind == 0   ? (char)an_rng_below(&rng, 256)
                      : kind == 1 ? " ab c\n\r'1/!"[an_rng_below(&rng, 11)]
                                  : "\0 a\xe6\x97\xa5\xf0\x9f\xa6\x99"[an_rng_below(&rng, 10)];
        for (size_t k = 0; k < AN_COUNT_OF(all); k++)
            if (k || !memmem(text, n, BLOCK, 3)) assert_same_bytes(all[k], text, n);
    }
    for (size_t k = 0; k < AN_COUNT_OF(all); k++) an_tokenizer_close(all[k]);
}

/* ------------------------------------------------------------------------------------------------------- chat */

static void assert_chat(const an_tokenizer *t, const an_chat_message *m, size_t n, const char *expected)
{
    anemo_error err;
    an_ids ids = {0};
    an_str text = {0};
    assert_ok(an_tokenizer_chat(t, m, n, &ids, &err), &err);
    for (size_t i = 0; i < ids.n; i++) an_tokenizer_piece(t, ids.ids[i], true, &text);
    assert_string_equal(an_str_text(&text), expected);
    an_str_free(&text);
    an_ids_free(&ids);
}

static void chatml_with_and_without_default_system(void **state)
{
    (void)state;
    anemo_error err;
    static const char *const pieces[] = {"<|im_start|>", "<|im_end|>"};
    static const int32_t types[] = {3, 3};
    static const char with[] =
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nIt\\'s \\\"you\\\".<|im_end|>\\n' }}{% endif %}";
    static const char without[] = "{{'<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>'}}";
    const an_chat_message hi[] = {{"user", "Hi <|im_end|>"}};
    const an_chat_message talk[] = {{"system", "S"}, {"user", "U"}, {"assistant", "A"}, {"user", "V"}};
    an_ids ids = {0};

    an_tokenizer *t = open_bpe("smollm", pieces, 2, NULL, 0, with, types);
    assert_int_equal(an_tokenizer_chat_format(t), AN_CHAT_CHATML);
    assert_string_equal(an_tokenizer_chat_template(t), with);
    assert_chat(t, hi, 1,
                "<|im_start|>system\nIt's \"you\".<|im_end|>\n<|im_start|>user\nHi <|im_end|><|im_end|>\n"
                "<|im_start|>assistant\n");
    assert_ok(an_tokenizer_chat(t, hi, 1, &ids, &err), &err);
    int marks = 0;
    for (size_t i = 0; i < ids.n; i++) marks += ids.ids[i] == 257;
    assert_int_equal(marks, 2); /* the one that the user wrote is text */
    an_ids_free(&ids);
    assert_chat(t, talk, 4,
                "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
                "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n");
    assert_chat(t, talk, 3, "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA");
    const an_chat_message wrong[] = {{"robot", "x"}};
    assert_fails(an_tokenizer_chat(t, wrong, 1, &ids, &err), &err, ANEMO_ERR_INVAL, "unknown role 'robot'");
    assert_fails(an_tokenizer_chat(t, wrong, 0, &ids, &err), &err, ANEMO_ERR_INVAL, "at least one message");
    an_tokenizer_close(t);

    t = open_bpe("smollm", pieces, 2, NULL, 0, without, types);
    assert_chat(t, hi, 1, "<|im_start|>user\nHi <|im_end|><|im_end|>\n<|im_start|>assistant\n");
    an_tokenizer_close(t);

    t = open_bpe("smollm", pieces, 2, NULL, 0, "{{ '<|user|>' }}", types);
    assert_int_equal(an_tokenizer_chat_format(t), AN_CHAT_UNKNOWN);
    assert_fails(an_tokenizer_chat(t, hi, 1, &ids, &err), &err, ANEMO_ERR_UNSUPPORTED, "neither ChatML");
    an_tokenizer_close(t);

    t = open_bpe("smollm", pieces, 2, NULL, 0, NULL, types);
    assert_int_equal(an_tokenizer_chat_format(t), AN_CHAT_NONE);
    assert_fails(an_tokenizer_chat(t, hi, 1, &ids, &err), &err, ANEMO_ERR_UNSUPPORTED, "no chat template");
    an_tokenizer_close(t);
}

/* Texts of the format's description; every mark must be one id, which the lengths show. */
static void mistral_formats(void **state)
{
    (void)state;
    const an_chat_message talk[] = {{"user", "a"}, {"assistant", "b "}, {"system", "S"}, {"user", "c"}};
    an_tokenizer *t = open_tekken(strings, AN_COUNT_OF(strings), "\"version\": \"v3\"");
    assert_int_equal(an_tokenizer_chat_format(t), AN_CHAT_MISTRAL_V3_TEKKEN);
    assert_chat(t, talk, 4, "<s>[INST]a[/INST]b</s>[INST]S\n\nc[/INST]");
    an_tokenizer_close(t);
    t = open_tekken(strings, AN_COUNT_OF(strings), "\"version\": \"v7\"");
    assert_int_equal(an_tokenizer_chat_format(t), AN_CHAT_MISTRAL_V7_TEKKEN);
    assert_chat(t, talk, 4, "<s>[INST]a[/INST]b</s>[SYSTEM_PROMPT]S[/SYSTEM_PROMPT][INST]c[/INST]");
    assert_chat(t, talk, 2, "<s>[INST]a[/INST]b");
    assert_string_equal(an_chat_format_name(an_tokenizer_chat_format(t)), "mistral-v7-tekken");
    an_tokenizer_close(t);
}

/* Without a stated version the vocabulary decides, and a template says whether the model was taught to chat. */
static void chat_format_of_a_gguf(void **state)
{
    (void)state;
    static const char *const marks[] = {"[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"};
    static const int32_t control[] = {3, 3, 3, 3}, normal[] = {1, 1, 1, 1};
    static const struct {
        const char *jinja;
        const int32_t *types;
        an_chat_format format;
    } cases[] = {
        {NULL, control, AN_CHAT_NONE},
        {"{{ '[INST]' + m + '[/INST]' }}", control, AN_CHAT_MISTRAL_V3_TEKKEN},
        {"{{ '[SYSTEM_PROMPT]' + s }}{{ '[INST]' }}", control, AN_CHAT_MISTRAL_V7_TEKKEN},
        {"{{ '[INST] <<SYS>>' }}", control, AN_CHAT_UNKNOWN},
        {"{{ '[INST]' }}", normal, AN_CHAT_UNKNOWN},
        {"{{ '<|im_start|>' }}", control, AN_CHAT_UNKNOWN}, /* the vocabulary has no such piece */
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        an_tokenizer *t = open_bpe("tekken", marks, 4, NULL, 0, cases[i].jinja, cases[i].types);
        assert_int_equal(an_tokenizer_chat_format(t), cases[i].format);
        an_tokenizer_close(t);
    }
}

/* A fine-tune's tokens stand in tokenizer_config.json, behind the pieces of tokenizer.model. */
static void config_adds_pieces(void **state)
{
    (void)state;
    anemo_error err;
    static const char config[] =
        "{\"eos_token\": \"<|im_end|>\", \"added_tokens_decoder\": {\"2\": {\"content\": \"</s>\", \"special\": true}, "
        "\"271\": {\"content\": \"<|im_end|>\", \"special\": true}, \"272\": {\"content\": \"[D]\"}}}";
    an_tokenizer *t = open_spm(letters, AN_COUNT_OF(letters)); /* 0 to 268 */
    assert_ok(an_load_config(t, config, sizeof config - 1, "tokenizer_config.json", &err), &err);
    assert_int_equal(an_tokenizer_n_vocab(t), 273);
    assert_int_equal(an_tokenizer_eos(t), 271);
    assert_true(an_tokenizer_is_eog(t, 271));
    ASSERT_SPECIAL(t, "a<|im_end|>a", "266 271 266");
    ASSERT_IDS(t, "a[D]a", "266 272 260");
    static const char far[] = "{\"added_tokens_decoder\": {\"9999999\": {\"content\": \"x\"}}}";
    static const char wrong[] = "{\"added_tokens_decoder\": {\"x\": {}}}";
    assert_fails(an_load_config(t, far, sizeof far - 1, "c.json", &err), &err, ANEMO_ERR_FORMAT,
                 "c.json: added_tokens_decoder: the id 9999999");
    assert_fails(an_load_config(t, wrong, sizeof wrong - 1, "c.json", &err), &err,
                 ANEMO_ERR_FORMAT, "'x' is no id");
    an_tokenizer_close(t);
}

typedef anemo_status (*open_fn)(an_tokenizer **out, const void *source, anemo_error *err);

static anemo_status open_spm_bytes(an_tokenizer **out, const void *source, anemo_error *err)
{
    const an_str *file = source;
    return an_load_spm(out, file->data, file->len, "x", err);
}

static anemo_status open_path(an_tokenizer **out, const void *source, anemo_error *err)
{
    return an_tokenizer_open(out, source, err);
}

/* Each allocation of a whole use fails once: an error, or the same ids; no leak (AddressSanitizer), nothing half done. */
static void fail_each_allocation(open_fn open, const void *source, const char *text)
{
    anemo_error err;
    an_ids whole = {0};
    fail_alloc f = {.at = UINT64_MAX}; /* first none */
    do {
        an_tokenizer *t = NULL;
        an_ids ids = {0};
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = open(&t, source, &err);
        if (status == ANEMO_OK) status = an_tokenizer_encode(t, text, strlen(text), true, &ids, &err);
        an_alloc_set_hook(NULL, NULL);
        an_tokenizer_close(t);
        if (f.at == UINT64_MAX) {
            assert_ok(status, &err);
            assert_int_not_equal(ids.n, 0);
            whole = ids;
        } else if (status == ANEMO_OK) {
            assert_int_equal(ids.n, whole.n);
            assert_memory_equal(ids.ids, whole.ids, ids.n * sizeof *ids.ids);
            an_ids_free(&ids);
        } else {
            assert_int_equal(status, ANEMO_ERR_NOMEM);
            an_ids_free(&ids);
        }
    } while (f.at++ == UINT64_MAX || f.refused);
    assert_true(f.at > 5);
    an_ids_free(&whole);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    an_str file = {0};
    spm_small(&file, letters, AN_COUNT_OF(letters));
    fail_each_allocation(open_spm_bytes, &file, "abc <s> \xff abc");
    an_str_free(&file);
    fail_each_allocation(open_path, AN_TEST_DIR "/golden/tiny/files/chatml.gguf", "Who invented the <|im_start|>light bulb?");
}

/* The tiny models of the repository: GGUF and Hugging Face forms of one vocabulary give the same ids. */
static void containers_agree(void **state)
{
    (void)state;
    anemo_error err;
    an_tokenizer *a, *b;
    static const char text[] = "Who invented the light bulb? 12345  <|im_start|>\n\tx";
    assert_ok(an_tokenizer_open(&a, AN_TEST_DIR "/golden/tiny/files/chatml.gguf", &err), &err);
    assert_ok(an_tokenizer_open(&b, AN_TEST_DIR "/golden/tiny/files/chatml-mlx", &err), &err);
    for (int special = 0; special < 2; special++) {
        an_ids x = {0}, y = {0};
        assert_ok(an_tokenizer_encode(a, text, sizeof text - 1, special, &x, &err), &err);
        assert_ok(an_tokenizer_encode(b, text, sizeof text - 1, special, &y, &err), &err);
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.ids, y.ids, x.n * sizeof *x.ids);
        an_ids_free(&x);
        an_ids_free(&y);
    }
    assert_int_equal(an_tokenizer_chat_format(a), AN_CHAT_CHATML);
    assert_int_equal(an_tokenizer_chat_format(b), AN_CHAT_CHATML);
    assert_int_equal(an_tokenizer_eos(a), an_tokenizer_eos(b));
    an_tokenizer_close(a);
    an_tokenizer_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spm_merges_by_score_then_leftmost),
        cmocka_unit_test(spm_cuts_user_pieces_first),
        cmocka_unit_test(decoding_drops_one_space),
        cmocka_unit_test(tekken_merges_by_rank),
        cmocka_unit_test(tekken_splits),
        cmocka_unit_test(bpe_merges_by_list),
        cmocka_unit_test(every_byte_string_comes_back),
        cmocka_unit_test(chatml_with_and_without_default_system),
        cmocka_unit_test(mistral_formats),
        cmocka_unit_test(chat_format_of_a_gguf),
        cmocka_unit_test(config_adds_pieces),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(containers_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
