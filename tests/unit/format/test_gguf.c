/* The GGUF reader on files built here: what it hands out, getters, split sets, and that nothing
 * leaks on refusal. */
#include "support/fail_alloc.h"
#include "support/test.h"

#include "base/alloc.h"
#include "format/gguf.h"
#include "os/file.h"
#include "support/gguf_build.h"

#include <stdlib.h>

/* Parse from an exact-size heap copy, so that a sanitizer sees the first byte read too far. */
static anemo_status open_copy(an_gguf **out, const test_buf *b, unsigned char **copy,
                              anemo_error *err)
{
    *copy = malloc(b->n ? b->n : 1);
    memcpy(*copy, b->data, b->n);
    return an_gguf_open_bytes(out, *copy, b->n, "test", err);
}

static void hands_out_keys_and_tensors(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    static const char *const words[] = {"one", "", "three"};
    static const int32_t ints[] = {-1, 0, 2147483647};
    static const float floats[] = {0.5f, -2.0f};
    gguf_build_str(&b, "general.architecture", "llama");
    gguf_build_u16(&b, "k.u16", 65535);
    gguf_build_i32(&b, "k.i32", -7);
    gguf_build_u64(&b, "k.u64", UINT64_C(1) << 40);
    gguf_build_f32(&b, "k.f32", 1.5f);
    gguf_build_bool(&b, "k.bool", 2);
    gguf_build_strs(&b, "k.words", words, 3);
    gguf_build_i32s(&b, "k.ints", ints, 3);
    gguf_build_f32s(&b, "k.floats", floats, 2);
    int64_t shape[3] = {2, 3, 32};
    unsigned char data[6 * 18];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)i;
    gguf_build_tensor(&b, "w", 2, 3, shape, data, sizeof data);
    int64_t one = 5;
    gguf_build_tensor(&b, "n", 0, 1, &one, NULL, 20);
    gguf_build_info(&b, "scalar", 0, NULL, 0, 160);
    test_buf_zero(&b.data, 32);
    test_buf file = gguf_build_finish(&b);
    unsigned char *copy;
    an_gguf *g;
    assert_ok(open_copy(&g, &file, &copy, &err), &err);

    assert_int_equal(an_gguf_version(g), 3);
    assert_int_equal(an_gguf_alignment(g), 32);
    assert_int_equal(an_gguf_n_kv(g), 9);
    assert_int_equal(an_gguf_file_bytes(g), file.n);
    int64_t i;
    double d;
    bool t = false;
    an_bytes s;
    assert_ok(an_gguf_get_i64(g, "k.u16", true, 0, 65535, &i, &err), &err);
    assert_int_equal(i, 65535);
    assert_ok(an_gguf_get_i64(g, "k.i32", true, -10, 0, &i, &err), &err);
    assert_int_equal(i, -7);
    assert_ok(an_gguf_get_i64(g, "k.u64", true, 0, INT64_MAX, &i, &err), &err);
    assert_true(i == INT64_C(1) << 40);
    assert_fails(an_gguf_get_i64(g, "k.i32", true, 0, 9, &i, &err), &err, ANEMO_ERR_FORMAT,
                 "k.i32 is -7");
    assert_fails(an_gguf_get_i64(g, "k.f32", true, 0, 9, &i, &err), &err, ANEMO_ERR_FORMAT,
                 "must be an integer");
    assert_fails(an_gguf_get_i64(g, "none", true, 0, 9, &i, &err), &err, ANEMO_ERR_FORMAT,
                 "none is missing");
    i = 42;
    assert_ok(an_gguf_get_i64(g, "none", false, 0, 9, &i, &err), &err);
    assert_int_equal(i, 42);
    assert_ok(an_gguf_get_f64(g, "k.f32", true, &d, &err), &err);
    assert_true(d == 1.5);
    assert_ok(an_gguf_get_bool(g, "k.bool", true, &t, &err), &err);
    assert_true(t);
    assert_ok(an_gguf_get_str(g, "general.architecture", true, &s, &err), &err);
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.data, "llama", 5);
    assert_fails(an_gguf_get_str(g, "k.bool", true, &s, &err), &err, ANEMO_ERR_FORMAT,
                 "it is of type bool");

    const an_gguf_kv *kv = an_gguf_find(g, "k.words");
    uint64_t pos = 0;
    for (size_t w = 0; w < 3; w++) {
        s = an_gguf_array_next_str(kv, &pos);
        assert_int_equal(s.len, strlen(words[w]));
        assert_memory_equal(s.data, words[w], s.len);
    }
    assert_int_equal(pos, kv->value_bytes);
    kv = an_gguf_find(g, "k.ints");
    for (size_t w = 0; w < 3; w++)
        assert_int_equal(an_gguf_array_i64(kv, w), ints[w]);
    kv = an_gguf_find(g, "k.floats");
    for (size_t w = 0; w < 2; w++)
        assert_true(an_gguf_array_f64(kv, w) == (double)floats[w]);

    assert_int_equal(an_gguf_n_tensor(g), 3);
    const an_gguf_tensor *w = an_gguf_find_tensor(g, "w");
    assert_non_null(w);
    assert_int_equal(w->dtype, AN_DTYPE_Q4_0);
    assert_int_equal(w->n_dim, 3);
    for (int k = 0; k < 3; k++)
        assert_int_equal(w->shape[k], shape[k]);
    assert_int_equal(w->bytes, sizeof data);
    assert_memory_equal(w->data, data, sizeof data);
    assert_ptr_equal((const unsigned char *)w->data, copy + w->offset);
    assert_int_equal(an_gguf_find_tensor(g, "scalar")->shape[0], 1);
    assert_null(an_gguf_find_tensor(g, "absent"));
    an_gguf_close(g);
    free(copy);
    test_buf_free(&file);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 3);
    test_buf file = gguf_build_finish(&b);
    an_gguf *g;
    unsigned char *copy;
    assert_ok(open_copy(&g, &file, &copy, &err), &err);
    const an_gguf_tensor *last = an_gguf_find_tensor(g, "blk.1.ffn_norm.weight");
    size_t need = (size_t)(last->offset + last->bytes);
    an_gguf_close(g);
    free(copy);
    /* Every prefix of the metadata and every 97th of the data. */
    for (size_t n = 0; n < need; n += n < 6000 ? 1 : 97) {
        test_buf cut = {.data = file.data, .n = n};
        if (open_copy(&g, &cut, &copy, &err) == ANEMO_OK)
            fail_msg("a cut at %zu of %zu was accepted", n, need);
        free(copy);
    }
    test_buf_free(&file);
}

/* Write a set of three parts into dir; part `skip` is left out, part `wrong` carries another
 * number. */
static void write_split(const char *dir, int skip, int wrong, int total)
{
    for (int i = 0; i < 3; i++) {
        gguf_build b;
        gguf_build_init(&b);
        char name[32], path[200];
        int64_t n = 8;
        if (i == 0) gguf_build_str(&b, "general.architecture", "llama");
        gguf_build_u16(&b, "split.no", (unsigned)(i == wrong ? 7 : i));
        gguf_build_u16(&b, "split.count", 3);
        gguf_build_i32(&b, "split.tensors.count", total);
        snprintf(name, sizeof name, "t%d", i);
        float data[8] = {(float)i};
        gguf_build_tensor(&b, name, 0, 1, &n, data, 32);
        test_buf file = gguf_build_finish(&b);
        snprintf(path, sizeof path, "%s/m-0000%d-of-00003.gguf", dir, i + 1);
        remove(path);
        if (i != skip) test_buf_write(&file, path);
        test_buf_free(&file);
    }
}

static void split_sets(void **state)
{
    (void)state;
    anemo_error err;
    an_gguf *g;
    char dir[] = "/tmp/anemo-test-XXXXXX", first[64], second[64], alone[64];
    assert_non_null(mkdtemp(dir));
    snprintf(first, sizeof first, "%s/m-00001-of-00003.gguf", dir);
    snprintf(second, sizeof second, "%s/m-00002-of-00003.gguf", dir);
    snprintf(alone, sizeof alone, "%s/alone.gguf", dir);
    write_split(dir, -1, -1, 3);
    assert_ok(an_gguf_open(&g, first, &err), &err);
    assert_int_equal(an_gguf_n_shard(g), 3);
    assert_int_equal(an_gguf_n_tensor(g), 3);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        const an_gguf_tensor *t = an_gguf_find_tensor(g, name);
        assert_int_equal(t->shard, i);
        float f;
        memcpy(&f, t->data, 4);
        assert_true(f == (float)i);
    }
    an_gguf_close(g);
    assert_fails(an_gguf_open(&g, second, &err), &err, ANEMO_ERR_INVAL, "00001-of-00003");
    assert_int_equal(rename(first, alone), 0);
    assert_fails(an_gguf_open(&g, alone, &err), &err, ANEMO_ERR_FORMAT, "others cannot be found");
    write_split(dir, 2, -1, 3);
    assert_fails(an_gguf_open(&g, first, &err), &err, ANEMO_ERR_NOTFOUND, "part 3 of 3");
    write_split(dir, -1, 1, 3);
    assert_fails(an_gguf_open(&g, first, &err), &err, ANEMO_ERR_FORMAT, "says it is part 8 of 3");
    write_split(dir, -1, -1, 4);
    assert_fails(an_gguf_open(&g, first, &err), &err, ANEMO_ERR_FORMAT,
                 "split.tensors.count says 4");
}

static void each_failed_allocation_is_reported(void **state)
{
    (void)state;
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 0);
    test_buf file = gguf_build_finish(&b);
    fail_alloc f = {0};
    do {
        an_gguf *g = NULL;
        f.refused = false;
        an_alloc_set_hook(fail_alloc_at, &f);
        anemo_status status = an_gguf_open_bytes(&g, file.data, file.n, "test", &err);
        an_alloc_set_hook(NULL, NULL);
        if (status == ANEMO_OK) an_gguf_close(g);
        assert_int_equal(status, f.refused ? ANEMO_ERR_NOMEM : ANEMO_OK);
        f.at++;
    } while (f.refused);
    assert_true(f.at > 5);
    test_buf_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hands_out_keys_and_tensors),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(split_sets),
        cmocka_unit_test(each_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
