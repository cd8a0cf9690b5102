/* base: arena, strings, UTF-8, numbers, random numbers, JSON. */
#include "support/test.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/str.h"
#include "base/utf8.h"

static void status_map(void **state)
{
    (void)state;
    assert_int_equal(anemo_status_exit_code(ANEMO_ERR_NOTFOUND), 4);
    assert_int_equal(anemo_status_exit_code(ANEMO_ERR_FORMAT), 3);
    assert_int_equal(anemo_status_exit_code(ANEMO_ERR_NOSPACE), 6);
    assert_string_equal(anemo_status_name(ANEMO_ERR_IO), "err_io");
    anemo_error err;
    assert_int_equal(an_fail(&err, ANEMO_ERR_IO, "x %d", 3), ANEMO_ERR_IO);
    assert_string_equal(err.message, "x 3");
    an_fail_prefix(&err, ANEMO_ERR_FORMAT, "file");
    assert_string_equal(err.message, "file: x 3");
    assert_int_equal(an_fail(NULL, ANEMO_ERR_IO, "no record"), ANEMO_ERR_IO);
}

static void arena_takes_what_was_planned(void **state)
{
    (void)state;
    anemo_error err;
    an_arena a;
    assert_ok(an_arena_open(&a, an_arena_bytes(100) + an_arena_bytes(1), &err), &err);
    char *p = an_arena_take(&a, 100);
    size_t mark = an_arena_mark(&a);
    char *q = an_arena_take(&a, 1);
    assert_non_null(p);
    assert_non_null(q);
    assert_int_equal((uintptr_t)p % 64, 0);
    assert_int_equal((uintptr_t)q % 64, 0);
    assert_null(an_arena_take(&a, 1));
    an_arena_reset(&a, mark);
    assert_ptr_equal(an_arena_take(&a, 1), q);
    assert_int_equal(an_arena_bytes(SIZE_MAX - 10), SIZE_MAX);
    an_arena_close(&a);
}

static int fail_third(void *ctx, size_t bytes, uint64_t idx)
{
    (void)ctx;
    (void)bytes;
    return idx == 2;
}

static void failed_allocation_is_sticky(void **state)
{
    (void)state;
    anemo_error err;
    an_str s = {0};
    an_alloc_set_hook(fail_third, NULL);
    for (int i = 0; i < 1000; i++) an_str_append(&s, "0123456789");
    an_alloc_set_hook(NULL, NULL);
    assert_true(s.failed);
    assert_fails(an_str_check(&s, &err), &err, ANEMO_ERR_NOMEM, "out of memory");
    assert_null(an_str_take(&s));
}

static void utf8_accepts_and_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                      "\x80",     "\xF8\x88",     "\xE2\x82",     "\xFF"};
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++)
        assert_int_equal(an_utf8_valid_prefix(bad[i], strlen(bad[i])), 0);
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char b[4];
        uint32_t back;
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        int n = an_utf8_encode(cp, b);
        assert_int_equal(an_utf8_decode(b, (size_t)n, &back), n);
        assert_int_equal(back, cp);
        for (int cut = 1; cut < n; cut++) assert_int_equal(an_utf8_incomplete_tail(b, (size_t)cut), cut);
        assert_int_equal(an_utf8_incomplete_tail(b, (size_t)n), 0);
    }
    assert_int_equal(an_utf8_incomplete_tail("a\xE0\x80", 3), 0);
}

static void numbers_are_strict(void **state)
{
    (void)state;
    int64_t i;
    uint64_t u;
    double d;
    assert_true(an_parse_i64("-12", &i) && i == -12);
    assert_false(an_parse_i64("12x", &i) || an_parse_i64("", &i) || an_parse_i64(" 1", &i) ||
                 an_parse_i64("9223372036854775808", &i));
    assert_true(an_parse_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_false(an_parse_u64("-1", &u) || an_parse_u64("+1", &u));
    assert_true(an_parse_f64("1e3", &d) && d == 1000.0);
    assert_false(an_parse_f64("nan", &d) || an_parse_f64("1e999", &d) || an_parse_f64("1 ", &d));
    assert_false(an_align_up_u64(UINT64_MAX - 3, 32, &u));
}

static void reader_stays_inside(void **state)
{
    (void)state;
    an_reader r = {.data = (const unsigned char *)"\x01\x02\x03", .size = 3};
    uint16_t h;
    uint32_t w;
    assert_true(an_read_u16(&r, &h) && h == 0x0201);
    assert_false(an_read_u32(&r, &w));
    assert_int_equal(r.pos, 2);
    assert_null(an_read_view(&r, UINT64_MAX));
    assert_non_null(an_read_view(&r, 1));
}

static void rng_repeats(void **state)
{
    (void)state;
    an_rng a, b;
    an_rng_seed(&a, 7);
    an_rng_seed(&b, 7);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(an_rng_u64(&a), an_rng_u64(&b));
        double d = an_rng_f64(&a);
        assert_true(d >= 0 && d < 1);
        an_rng_f64(&b);
        assert_true(an_rng_below(&a, 10) < 10);
        an_rng_below(&b, 10);
    }
}

static void json_is_typed(void **state)
{
    (void)state;
    anemo_error err;
    json_t *v;
    int64_t i;
    const char *text = "{\"a\": 5, \"b\": \"x\", \"c\": 1.5, \"d\": null}", *s;
    assert_ok(an_json_parse(&v, text, strlen(text), "t", &err), &err);
    assert_ok(an_json_get_i64(v, "a", 0, 0, 10, &i, "t", &err), &err);
    assert_int_equal(i, 5);
    assert_ok(an_json_get_i64(v, "d", 9, 0, 10, &i, "t", &err), &err);
    assert_int_equal(i, 9);
    assert_fails(an_json_get_i64(v, "a", 0, 0, 4, &i, "t", &err), &err, ANEMO_ERR_FORMAT, "expected 0 to 4");
    assert_fails(an_json_get_str(v, "a", NULL, &s, "t", &err), &err, ANEMO_ERR_FORMAT, "must be a string");
    json_decref(v);
    assert_fails(an_json_parse(&v, "{\"a\":1,\"a\":2}", 13, "dup", &err), &err, ANEMO_ERR_FORMAT, "dup");
    v = an_json_text("a\xFF", 2);
    assert_string_equal(json_string_value(v), "a\xEF\xBF\xBD");
    json_decref(v);
}

/* Every type where another is expected: the message names what was found. */
static void json_types(void **state)
{
    (void)state;
    static const struct {
        const char *value, *name;
    } cases[] = {{"{}", "an object"}, {"[]", "an array"},     {"\"x\"", "a string"}, {"1", "an integer"},
                 {"1.5", "a real number"}, {"true", "a boolean"}, {"false", "a boolean"}};
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        anemo_error err;
        json_t *obj;
        int64_t n;
        double d;
        bool b;
        const char *text;
        char json[64];
        snprintf(json, sizeof json, "{\"k\": %s, \"none\": null}", cases[i].value);
        assert_ok(an_json_parse(&obj, json, strlen(json), "x.json", &err), &err);
        bool integer = i == 3, number = integer || i == 4, boolean = i > 4, string = i == 2;
        if (integer) assert_ok(an_json_get_i64(obj, "k", 0, 0, 9, &n, "x.json", &err), &err);
        else assert_fails(an_json_get_i64(obj, "k", 0, 0, 9, &n, "x.json", &err), &err, ANEMO_ERR_FORMAT, cases[i].name);
        if (number) assert_ok(an_json_get_f64(obj, "k", 0, &d, "x.json", &err), &err);
        else assert_fails(an_json_get_f64(obj, "k", 0, &d, "x.json", &err), &err, ANEMO_ERR_FORMAT, cases[i].name);
        if (boolean) assert_ok(an_json_get_bool(obj, "k", false, &b, "x.json", &err), &err);
        else assert_fails(an_json_get_bool(obj, "k", false, &b, "x.json", &err), &err, ANEMO_ERR_FORMAT, cases[i].name);
        if (boolean) assert_int_equal(b, i == 5);
        if (string) assert_ok(an_json_get_str(obj, "k", NULL, &text, "x.json", &err), &err);
        else assert_fails(an_json_get_str(obj, "k", NULL, &text, "x.json", &err), &err, ANEMO_ERR_FORMAT, cases[i].name);
        /* null and absent are the default. */
        assert_ok(an_json_get_i64(obj, "none", 7, 0, 9, &n, "x.json", &err), &err);
        assert_int_equal(n, 7);
        assert_ok(an_json_get_f64(obj, "none", 7, &d, "x.json", &err), &err);
        assert_true(d == 7);
        assert_ok(an_json_get_bool(obj, "absent", true, &b, "x.json", &err), &err);
        assert_true(b);
        assert_ok(an_json_get_str(obj, "none", "def", &text, "x.json", &err), &err);
        assert_string_equal(text, "def");
        json_decref(obj);
    }
}

/* A member that memory refused is not left out without a word. */
static int refuse_third(void *ctx, size_t bytes, uint64_t idx)
{
    (void)ctx;
    (void)bytes;
    return idx == 2;
}

static void json_memory(void **state)
{
    (void)state;
    anemo_error err;
    an_str text = {0};
    an_json_watch_memory();
    json_t *obj = json_object();
    an_alloc_set_hook(refuse_third, NULL);
    for (int i = 0; i < 8; i++) {
        char key[8];
        snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(obj, key, json_integer(i));
    }
    an_alloc_set_hook(NULL, NULL);
    assert_fails(an_json_write(obj, JSON_COMPACT, &text, &err), &err, ANEMO_ERR_NOMEM, "out of memory");
    an_str_clear(&text);
    assert_ok(an_json_write(json_pack("{s:i}", "a", 1), JSON_COMPACT, &text, &err), &err);
    assert_string_equal(text.data, "{\"a\":1}");
    assert_fails(an_json_write(NULL, JSON_COMPACT, &text, &err), &err, ANEMO_ERR_NOMEM, "out of memory");
    an_str_free(&text);
    /* Refused in the middle of a document: not a syntax error. */
    static const char doc[] = "{\"a\": [1, 2, 3, \"some text that is longer than a few bytes\"], \"b\": {}}";
    for (int k = 0; k < 2; k++) {
        json_t *v = NULL;
        an_alloc_set_hook(refuse_third, NULL);
        anemo_status status = an_json_parse(&v, doc, sizeof doc - 1, "x.json", &err);
        an_alloc_set_hook(NULL, NULL);
        if (status == ANEMO_OK) json_decref(v);
        else assert_int_equal(status, ANEMO_ERR_NOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_types),
        cmocka_unit_test(json_memory),
        cmocka_unit_test(status_map),
        cmocka_unit_test(arena_takes_what_was_planned),
        cmocka_unit_test(failed_allocation_is_sticky),
        cmocka_unit_test(utf8_accepts_and_refuses),
        cmocka_unit_test(numbers_are_strict),
        cmocka_unit_test(reader_stays_inside),
        cmocka_unit_test(rng_repeats),
        cmocka_unit_test(json_is_typed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
