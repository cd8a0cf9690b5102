/* What leaves a text and what stays; a JSON document stays one. */
#include "support/test.h"

#include "base/json.h"
#include "report/scrub.h"

static void check(const char *text, bool paths, const char *expected)
{
    an_str out = {0}, again = {0};
    an_scrub(text, paths, &out);
    assert_string_equal(an_str_text(&out), expected);
    an_scrub(an_str_text(&out), paths, &again);
    assert_string_equal(an_str_text(&again), expected);
    an_str_free(&out);
    an_str_free(&again);
}

static void test_secrets(void **state)
{
    (void)state;
    check("", false, "");
    check("http://user:pw@host:1/x@y", false, "http://host:1/x@y");
    check("http://us@er:p@w@host/", false, "http://host/");
    check("see 'https://t0ken@host' and https://host/a@b?c@d", false, "see 'https://host' and https://host/a@b?c@d");
    check("http://h/?key=a1&x=2&API_KEY=b#f", false, "http://h/?key=HIDDEN&x=2&API_KEY=HIDDEN#f");
    check("http://h/?monkey=a1&x=2", false, "http://h/?monkey=a1&x=2");
    check("anemo run --api-key abc --token=x'y -t 2", false, "anemo run --api-key HIDDEN --token=HIDDEN'y -t 2");
    check("--api-key 'a b c' -t 2", false, "--api-key 'HIDDEN' -t 2");
    check("--tokens 5 --key-frames 3", false, "--tokens 5 --key-frames 3");
    check("Authorization: Bearer abcdefgh.ijk, more", false, "Authorization: Bearer HIDDEN more");
    check("the bearer of news", false, "the bearer of news");
    check("hf_abcdefgh1 sk-proj-12345678 ghp_0123456789", false, "HIDDEN HIDDEN HIDDEN");
    check("hf_home task-force-of-many disk-12345678901", false, "hf_home task-force-of-many disk-12345678901");
    check("/srv/me/x ~/y", false, "/srv/me/x ~/y");
}

static void test_paths(void **state)
{
    (void)state;
    check("anemo compare /a/b/m.gguf '/c d/e' ~/x/y/ --db=/z/r.db", true, "anemo compare m.gguf 'c d/e' y --db=r.db");
    check("98.5 tokens/s, a/b, 1/2, http://h/x/y, //", true, "98.5 tokens/s, a/b, 1/2, http://h/x/y, //");
    check("(/a/b/c) [/d/e] ./f/g ../h/i /", true, "(c) [e] g i /");
}

static void test_json(void **state)
{
    (void)state;
    anemo_error err;
    json_t *doc;
    static const char text[] = "{\"url\": \"http://u:p\\\"w@h/\", \"a\": [1, \"/a/b\\\\c/d\", \"--token x\\ny\"], \"k\": \"hf_0123456789\"}";
    an_str out = {0};
    an_scrub(text, true, &out);
    assert_ok(an_json_parse(&doc, out.data, out.len, "text", &err), &err);
    assert_string_equal(json_string_value(json_array_get(json_object_get(doc, "a"), 2)), "--token HIDDEN\ny");
    assert_string_equal(json_string_value(json_object_get(doc, "k")), "HIDDEN");
    json_decref(doc);
    an_str_free(&out);
}

/* The time grows as the text does: of a mebibyte of URLs without a host nobody waits for the end. */
static void test_long(void **state)
{
    (void)state;
    static const char *const parts[] = {"://", "://a", "bearer ", "--key ", "?key=", "/a", "hf_", "~/", "://a@"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        an_str text = {0}, out = {0};
        while (text.len < 1 << 20) an_str_append(&text, parts[i]);
        an_scrub(an_str_text(&text), true, &out);
        assert_false(out.failed);
        an_str_free(&text);
        an_str_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_secrets), cmocka_unit_test(test_paths), cmocka_unit_test(test_json),
                                       cmocka_unit_test(test_long)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
