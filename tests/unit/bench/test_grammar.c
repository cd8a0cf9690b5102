/* llama-bench's value grammar. Expected lists are written out; what it refuses is refused by name. */
#include "support/test.h"

#include "bench/grammar.h"

static void expect_list(const char *text, const int *want, size_t n)
{
    anemo_error err = {0};
    an_ints list = {0};
    assert_ok(an_grammar_ints("-x", text, 0, 1000000, &list, &err), &err);
    if (list.n != n) fail_msg("%s: %zu values, expected %zu", text, list.n, n);
    for (size_t i = 0; i < n; i++)
        if (list.v[i] != want[i]) fail_msg("%s: value %zu is %d, expected %d", text, i, list.v[i], want[i]);
    an_ints_free(&list);
}

#define EXPECT(text, ...)                                                                                              \
    do {                                                                                                               \
        static const int want[] = {__VA_ARGS__};                                                                       \
        expect_list(text, want, sizeof want / sizeof *want);                                                           \
    } while (0)

static void test_lists(void **state)
{
    (void)state;
    EXPECT("16", 16);
    EXPECT("0", 0);
    EXPECT("1,2,8", 1, 2, 8);
    EXPECT("8,8", 8, 8);
    EXPECT("1-4", 1, 2, 3, 4);
    EXPECT("4-4", 4);
    EXPECT("128-512+128", 128, 256, 384, 512);
    EXPECT("1-8*2", 1, 2, 4, 8);
    EXPECT("1-9*2", 1, 2, 4, 8);
    EXPECT("1-10+4,100", 1, 5, 9, 100);
    EXPECT("3-5,7,16-64*4", 3, 4, 5, 7, 16, 64);
    EXPECT("0-2", 0, 1, 2);
    EXPECT("5-5*0", 5);
}

static void test_negative(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_ints list = {0};
    assert_ok(an_grammar_ints("-ngl", "-1,0,4", -1, 100, &list, &err), &err);
    assert_int_equal(list.n, 3);
    assert_int_equal(list.v[0], -1);
    an_ints_free(&list);
    assert_fails(an_grammar_ints("-ngl", "-2", -1, 100, &list, &err), &err, ANEMO_ERR_INVAL, "goes beyond -1 to 100");
    assert_fails(an_grammar_ints("-ngl", "-1-4", -1, 100, &list, &err), &err, ANEMO_ERR_INVAL, "'-1-4' is not");
    an_ints_free(&list);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "'' is not what it takes"},
        {",", "'' is not"},
        {"1,", "'' is not"},
        {",1", "'' is not"},
        {"1,,2", "'' is not"},
        {"x", "'x' is not"},
        {"1x", "'1x' is not"},
        {"1 2", "'1 2' is not"},
        {" 1", "' 1' is not"},
        {"+1", "'+1' is not"},
        {"1-", "'1-' is not"},
        {"1-4+", "'1-4+' is not"},
        {"1-4*", "'1-4*' is not"},
        {"1-4/2", "'1-4/2' is not"},
        {"1-4+1+1", "'1-4+1+1' is not"},
        {"1--4", "'1--4' is not"},
        {"99999999999999999999", "'99999999999999999999' is not"},
        {"2147483648", "is not"},
        {"2147483647", "goes beyond 0 to 1000000"},
        {"4-1", "ends before it begins"},
        {"1-4+0", "never reaches its end"},
        {"1-4*1", "never reaches its end"},
        {"1-4*0", "never reaches its end"},
        {"0-4*2", "never reaches its end"},
        {"0-1000000", "more than 10000 values"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        anemo_error err = {0};
        an_ints list = {0};
        assert_fails(an_grammar_ints("-p", cases[i].text, 0, 1000000, &list, &err), &err, ANEMO_ERR_INVAL,
                     cases[i].message);
        assert_non_null(strstr(err.message, "-p"));
        an_ints_free(&list);
    }
}

/* A step beyond the largest int must not wrap around. */
static void test_no_wrap(void **state)
{
    (void)state;
    anemo_error err = {0};
    an_ints list = {0};
    assert_ok(an_grammar_ints("-p", "2147483000-2147483647+600", 0, INT32_MAX, &list, &err), &err);
    assert_int_equal(list.n, 2);
    an_ints_free(&list);
    assert_ok(an_grammar_ints("-p", "65536-2147483647*65536", 0, INT32_MAX, &list, &err), &err);
    assert_int_equal(list.n, 1);
    an_ints_free(&list);
}

static void test_pairs(void **state)
{
    (void)state;
    anemo_error err = {0};
    int pair[2];
    assert_ok(an_grammar_pair("-pg", "512,128", 1000, pair, &err), &err);
    assert_int_equal(pair[0], 512);
    assert_int_equal(pair[1], 128);
    assert_ok(an_grammar_pair("-pg", "0,7", 1000, pair, &err), &err);
    static const char *const bad[] = {"", "5", "5,", ",5", "5,6,7", "5;6", "a,b", "-1,4", "5,6 "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(an_grammar_pair("-pg", bad[i], 1000, pair, &err), &err, ANEMO_ERR_INVAL, "two whole numbers");
    assert_fails(an_grammar_pair("-pg", "0,0", 1000, pair, &err), &err, ANEMO_ERR_INVAL, "one is above 0");
    assert_fails(an_grammar_pair("-pg", "1001,1", 1000, pair, &err), &err, ANEMO_ERR_INVAL, "0 and 1000");
}

static void test_masks(void **state)
{
    (void)state;
    anemo_error err = {0};
    uint8_t mask[AN_CPU_MASK_BYTES];
    int n;
    assert_ok(an_grammar_cpu_mask("-C", "0x0", mask, &n, &err), &err);
    assert_int_equal(n, 0);
    assert_ok(an_grammar_cpu_mask("-C", "1F05", mask, &n, &err), &err);
    assert_int_equal(n, 7);
    assert_int_equal(mask[0], 0x05);
    assert_int_equal(mask[1], 0x1f);
    assert_int_equal(mask[2], 0);
    char digits[300];
    memset(digits, 'f', sizeof digits - 1);
    digits[256] = '\0';
    assert_ok(an_grammar_cpu_mask("-C", digits, mask, &n, &err), &err);
    assert_int_equal(n, 1024);
    memset(digits, 'f', 257);
    digits[257] = '\0';
    assert_fails(an_grammar_cpu_mask("-C", digits, mask, &n, &err), &err, ANEMO_ERR_INVAL, "at most 1024 CPUs");
    static const char *const bad[] = {"", "0x", "0xg", "g", "1 ", "-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_fails(an_grammar_cpu_mask("-C", bad[i], mask, &n, &err), &err, ANEMO_ERR_INVAL, "hexadecimal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),   cmocka_unit_test(test_negative), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_wrap), cmocka_unit_test(test_pairs),    cmocka_unit_test(test_masks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
