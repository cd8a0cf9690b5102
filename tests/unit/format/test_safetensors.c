/* safetensors: reading, sets of files in a folder, and writing what the reader (and others) accept.
 */
#include "support/fail_alloc.h"
#include "support/test.h"

#include "base/alloc.h"
#include "base/str.h"
#include "format/safetensors.h"
#include "os/file.h"

#include <stdlib.h>

/* A file from a header text and n data bytes with the values 0, 1, 2, … */
static an_str make(const char *header, size_t n)
{
    an_str s = {0};
    uint64_t len = strlen(header);
    an_str_append_bytes(&s, &len, 8);
    an_str_append(&s, header);
    for (size_t i = 0; i < n; i++)
        an_str_append_char(&s, (char)i);
    return s;
}

static anemo_status open_made(an_safetensors **out, const char *header, size_t n, anemo_error *err)
{
    an_str s = make(header, n);
    void *copy = malloc(s.len);
    memcpy(copy, s.data, s.len);
    anemo_status status = an_safetensors_open_bytes(out, copy, s.len, "test", err);
    if (status ==
        ANEMO_OK) { /* the copy must outlive the handle; the tests that succeed use make() */
        an_safetensors_close(*out);
        *out = NULL;
    }
    free(copy);
    an_str_free(&s);
    return status;
}

static void reads_views(void **state)
{
    (void)state;
    anemo_error err;
    an_safetensors *st;
    an_str s = make(
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
        " \"a\\u00e9\\ud83d\\ude00\" : {\"shape\":[3],\"data_offsets\":[8,14],\"dtype\":\"BF16\"},"
        "\"e\":{\"dtype\":\"I8\",\"shape\":[0,7],\"data_offsets\":[14,14]},"
        "\"x\":{\"dtype\":\"NEW9\",\"shape\":[5],\"data_offsets\":[14,16]}}   ",
        16);
    assert_ok(an_safetensors_open_bytes(&st, s.data, s.len, "dir/test", &err), &err);
    assert_int_equal(an_safetensors_n_tensor(st), 4);
    assert_string_equal(an_safetensors_tensor_at(st, 0)->name, "a\xC3\xA9\xF0\x9F\x98\x80");
    const an_st_tensor *t = an_safetensors_find(st, "a\xC3\xA9\xF0\x9F\x98\x80");
    assert_int_equal(t->dtype, AN_DTYPE_BF16);
    assert_int_equal(t->bytes, 6);
    assert_int_equal(*(const char *)t->data, 8);
    t = an_safetensors_find(st, "b");
    assert_int_equal(t->n_dim, 2);
    assert_int_equal(t->shape[1], 2);
    t = an_safetensors_find(st, "x");
    assert_int_equal(t->dtype, AN_DTYPE_OTHER);
    assert_string_equal(t->dtype_name, "NEW9");
    assert_int_equal(an_safetensors_find(st, "e")->bytes, 0);
    assert_null(an_safetensors_find(st, "c"));
    assert_string_equal(an_safetensors_file_name(st, 0), "test");
    an_safetensors_close(st);
    an_str_free(&s);
}

#define T(name, dtype, shape, begin, end)                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"

static void writes_what_it_reads(void **state)
{
    (void)state;
    anemo_error err;
    char dir[] = "/tmp/anemo-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    an_st_writer *w;
    int64_t shape[2] = {2, 3}, n = 5;
    unsigned char words[24], halves[10];
    for (int i = 0; i < 24; i++)
        words[i] = (unsigned char)i;
    for (int i = 0; i < 10; i++)
        halves[i] = (unsigned char)(100 + i);
    assert_ok(an_st_writer_open(&w, path, &err), &err);
    assert_ok(an_st_writer_declare(w, "half \"quoted\"", AN_DTYPE_F16, 1, &n, &err), &err);
    assert_ok(an_st_writer_declare(w, "word", AN_DTYPE_U32, 2, shape, &err), &err);
    assert_ok(an_st_writer_begin(w, "mlx", &err), &err);
    assert_int_equal(an_st_writer_n(w), 2);
    assert_string_equal(an_st_writer_order(w, 0), "word");
    assert_int_equal(an_st_writer_data_bytes(w), 34);
    assert_ok(an_st_writer_put(w, words, 10, &err), &err);
    assert_ok(an_st_writer_put(w, words + 10, 14, &err), &err);
    assert_ok(an_st_writer_put(w, halves, 10, &err), &err);
    assert_int_equal(an_path_probe(path),
                     AN_PATH_ABSENT); /* nothing under the final name before commit */
    assert_ok(an_st_writer_commit(w, &err), &err);
    an_st_writer_close(w);

    an_safetensors *st;
    assert_ok(an_safetensors_open(&st, path, &err), &err);
    const an_st_tensor *t = an_safetensors_find(st, "word");
    assert_memory_equal(t->data, words, 24);
    assert_int_equal((uintptr_t)t->data % 64, 0);
    t = an_safetensors_find(st, "half \"quoted\"");
    assert_memory_equal(t->data, halves, 10);
    an_safetensors_close(st);
    /* The folder is read by name, and then by an index. */
    assert_ok(an_safetensors_open(&st, dir, &err), &err);
    assert_int_equal(an_safetensors_n_file(st), 1);
    an_safetensors_close(st);
}

static void put(const char *dir, const char *name, const void *data, size_t n)
{
    char path[200];
    anemo_error err;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_ok(an_file_write(path, data, n, &err), &err);
}

static void drop(const char *dir, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    remove(path);
}

static void folders(void **state)
{
    (void)state;
    anemo_error err;
    an_safetensors *st;
    char dir[] = "/tmp/anemo-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_fails(an_safetensors_open(&st, dir, &err), &err, ANEMO_ERR_NOTFOUND,
                 "holds no model*.safetensors");
    put(dir, "weights.npz", "PK", 2);
    assert_fails(an_safetensors_open(&st, dir, &err), &err, ANEMO_ERR_UNSUPPORTED, "weights.npz");
    an_str a = make("{" T("a", "U8", "[2]", "0", "2") "}", 2),
           b = make("{" T("b", "U8", "[3]", "0", "3") "}", 3);
    put(dir, "model-00001-of-00002.safetensors", a.data, a.len);
    put(dir, "tokenizer.safetensors", b.data, b.len); /* not part of the model */
    assert_fails(an_safetensors_open(&st, dir, &err), &err, ANEMO_ERR_FORMAT, "parts 2 to 2");
    put(dir, "model-00002-of-00002.safetensors", b.data, b.len);
    assert_ok(an_safetensors_open(&st, dir, &err), &err);
    assert_int_equal(an_safetensors_n_file(st), 2);
    assert_string_equal(an_safetensors_tensor_at(st, 1)->name, "b");
    assert_int_equal(an_safetensors_tensor_at(st, 1)->file, 1);
    an_safetensors_close(st);
    put(dir, "model-00003-of-00009.safetensors", a.data, a.len);
    assert_fails(an_safetensors_open(&st, dir, &err), &err, ANEMO_ERR_FORMAT, "is expected");
    drop(dir, "model-00003-of-00009.safetensors");
    put(dir, "model-00002-of-00002.safetensors", a.data, a.len);
    assert_fails(an_safetensors_open(&st, dir, &err), &err, ANEMO_ERR_FORMAT,
                 "tensor a occurs twice");

    static const struct {
        const char *index, *text;
    } bad[] = {
        {"{\"metadata\":{\"x\":[1,{}]},\"weight_map\":{\"a\":\"../m.safetensors\"}}", "plain name"},
        {"{\"weight_map\":{\"a\":\"/m.safetensors\"}}", "plain name"},
        {"{\"weight_map\":{\"a\":\"m.bin\"}}", "plain name"},
        {"{\"weight_map\":{\"a\":\"absent.safetensors\"}}", "absent.safetensors"},
        {"{\"weight_map\":{\"z\":\"model-00001-of-00002.safetensors\"}}", "tensor z is not in"},
        {"{\"weight_map\":{}}", "names no files"},
        {"[]", "expected '{'"},
        {"{\"metadata\" 7}", "expected ':'"},
        {"{\"metadata\":x}", "expected a value"},
        {"{\"metadata\":[[1,2],{\"a\" 1}]}", "expected ':'"},
        {"{\"metadata\":[1 2]}", "at byte"},
        {"{\"metadata\":\"a}", "at byte"},
        {"{\"metadata\":[\"\\u00\"]}", "bad escape"},
        {"{\"weight_map\":7}", "expected '{'"},
        {"{\"weight_map\":{\"a\" \"b\"}}", "expected ':'"},
        {"{\"weight_map\":{},\"weight_map\":{}}", "occurs twice"},
        {"{\"weight_map\":{\"a\":\".hidden.safetensors\"}}", "plain name"},
        {"{\"weight_map\":{\"a\":\"\"}}", "plain name"},
        {"{\"weight_map\":{}} x", "behind the end"},
        {"{\"weight_map\":{} \"b\":1}", "at byte"},
        {"{\"metadata\":{}}", "weight_map is missing"},
        {"{\"weight_map\":{\"a\":7}}", "expected a string"},
        {"{\"weight_map\":{\"a\":\"b.safetensors\"", "at byte"},
        {"[]", "expected '{'"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(bad); i++) {
        put(dir, "model.safetensors.index.json", bad[i].index, strlen(bad[i].index));
        anemo_status status = an_safetensors_open(&st, dir, &err);
        if (status == ANEMO_OK || !strstr(err.message, bad[i].text))
            fail_msg("index %zu: %s, '%s'", i, anemo_status_name(status), err.message);
    }
    /* With a good index the stale second part is not looked at. */
    static const char good[] = "{\"metadata\":{\"total_size\":2,\"x\":[true,false,null,-1.5e3,\"\\u00C4\",{}]},\"weight_map\":{\"a\":"
                               "\"model-00001-of-00002.safetensors\"}}\n";
    put(dir, "model.safetensors.index.json", good, sizeof good - 1);
    assert_ok(an_safetensors_open(&st, dir, &err), &err);
    assert_int_equal(an_safetensors_n_tensor(st), 1);
    an_safetensors_close(st);
    an_str_free(&a);
    an_str_free(&b);
}

static void refuses_a_few(void **state)
{
    (void)state;
    anemo_error err;
    an_safetensors *st;
    assert_fails(open_made(&st, "{" T("a", "U8", "[2]", "0", "2") "}", 3, &err), &err,
                 ANEMO_ERR_FORMAT, "behind the last tensor");
    assert_fails(open_made(&st,
                           "{" T("a", "U8", "[2]", "0", "2") "," T("a", "U8", "[1]", "2", "3") "}",
                           3, &err),
                 &err, ANEMO_ERR_FORMAT, "occurs twice");
    assert_ok(open_made(&st, "{" T("a", "U8", "[2]", "0", "2") "}", 2, &err), &err);
    assert_ok(open_made(&st, "{}", 0, &err), &err);
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    anemo_error err;
    an_str s = make("{\"__metadata__\":{\"format\":\"pt\"}," T("a", "U8", "[2]", "0", "2") "}", 2);
    fail_alloc f = {0};
    do {
        an_safetensors *st;
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = an_safetensors_open_bytes(&st, s.data, s.len, "test", &err);
        an_alloc_set_hook(NULL, NULL);
        if (status == ANEMO_OK) an_safetensors_close(st);
        assert_int_equal(status, f.refused ? ANEMO_ERR_NOMEM : ANEMO_OK);
        f.at++;
    } while (f.refused);
    assert_true(f.at > 5);
    an_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_views),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(folders),
        cmocka_unit_test(refuses_a_few),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
