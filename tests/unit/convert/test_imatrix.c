/* Importance matrices: both file forms, what becomes of counts, what is refused, and what a quantized file says about them. */
#include "support/gguf_build.h"
#include "support/test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "convert/imatrix.h"
#include "convert/quantize.h"
#include "os/file.h"

#include <math.h>
#include <stdlib.h>

static void put_entry(test_buf *b, const char *name, int32_t n_call, const float *values, int32_t n)
{
    test_buf_u32(b, (uint32_t)strlen(name));
    test_buf_put(b, name, strlen(name));
    test_buf_u32(b, (uint32_t)n_call);
    test_buf_u32(b, (uint32_t)n);
    test_buf_put(b, values, (size_t)n * sizeof *values);
}

static test_buf old_form(bool tail)
{
    static const float a[] = {2, 4, 6, 0}, c[] = {1, 3};
    test_buf b = {0};
    test_buf_u32(&b, 3);
    put_entry(&b, "b.weight", 2, a, 4);
    put_entry(&b, "a.weight", 0, c, 2);
    put_entry(&b, "b.weight", 4, a, 4);
    if (tail) {
        test_buf_u32(&b, 17);
        test_buf_u32(&b, 4);
        test_buf_put(&b, "text", 4);
    }
    return b;
}

static void old_files(void **state)
{
    (void)state;
    for (int tail = 0; tail < 2; tail++) {
        anemo_error err;
        an_imatrix *m;
        test_buf b = old_form(tail);
        assert_ok(an_imatrix_open_bytes(&m, b.data, b.n, "old", &err), &err);
        assert_int_equal(an_imatrix_n(m), 2);
        assert_string_equal(an_imatrix_at(m, 0)->name, "a.weight");
        assert_true(an_imatrix_at(m, 0)->values[1] == 3); /* never counted: as stored */
        const an_imatrix_entry *e = an_imatrix_find(m, "b.weight");
        assert_int_equal(e->n, 4);
        assert_true(e->values[0] == 0.5f && e->values[2] == 1.5f && e->values[3] == 0); /* the last of two */
        assert_null(an_imatrix_find(m, "c.weight"));
        assert_int_equal(an_imatrix_n_chunk(m), tail ? 17 : 0);
        assert_string_equal(an_imatrix_dataset(m), tail ? "text" : "");
        an_imatrix_close(m);
        free(b.data);
    }
}

static void assert_bad(const test_buf *b, const char *message)
{
    anemo_error err;
    an_imatrix *m;
    assert_fails(an_imatrix_open_bytes(&m, b->data, b->n, "bad", &err), &err, ANEMO_ERR_FORMAT, message);
}

static void bad_old_files(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        const char *message;
    } cases[] = {
        {0, 0, "begins with no number of entries"},
        {0, 0x80000000u, "begins with no number of entries"},
        {4, 0x7FFFFFFF, "offset 4: the name of entry 0 is cut off"},
        {4, 0xFFFFFFFF, "offset 4: the name of entry 0 is cut off"},
        {20, 0, "entry 0 has no number of values"},
        {20, 0xFFFFFFFF, "entry 0 has no number of values"},
        {20, 0x1FFFFFFF, "entry 0 has 536870911 values, but the file ends before them"},
        {24, 0x7F800000, "entry b.weight: value 0 is inf"},
        {28, 0x7FC00000, "entry b.weight: value 1 is nan"},
        {28, 0xBF800000, "entry b.weight: value 1 is -0.5; an importance is finite and not negative"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        test_buf b = old_form(true);
        memcpy(b.data + cases[i].at, &cases[i].value, 4);
        assert_bad(&b, cases[i].message);
        free(b.data);
    }
    /* Cut off anywhere before the tail. */
    test_buf whole = old_form(false);
    for (size_t n = 0; n < whole.n; n++) {
        test_buf b = {0};
        test_buf_put(&b, whole.data, n);
        assert_bad(&b, "");
        free(b.data);
    }
    free(whole.data);
}

typedef struct parts {
    const char *sums, *counts;
    uint32_t sums_type;
    int64_t n_count;
    float count, value;
    bool no_dataset, no_chunk, no_size;
} parts;

static test_buf gguf_form(const parts *p)
{
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_str(&b, "general.type", "imatrix");
    if (!p->no_dataset) gguf_build_strs(&b, "imatrix.datasets", (const char *const[]){"wiki"}, 1);
    if (!p->no_chunk) gguf_build_u32(&b, "imatrix.chunk_count", 9);
    if (!p->no_size) gguf_build_u32(&b, "imatrix.chunk_size", 512);
    float sums[8], counts[4] = {p->count, 0, 2, 2};
    for (int i = 0; i < 8; i++) sums[i] = p->value + (float)i;
    if (p->sums) gguf_build_tensor(&b, p->sums, p->sums_type, 1, (int64_t[]){8}, sums, sizeof sums);
    if (p->counts)
        gguf_build_tensor(&b, p->counts, 0, 1, &p->n_count, counts, (size_t)p->n_count * sizeof *counts);
    return gguf_build_finish(&b);
}

static void gguf_files(void **state)
{
    (void)state;
    anemo_error err;
    an_imatrix *m;
    parts good = {.sums = "x.weight.in_sum2", .counts = "x.weight.counts", .n_count = 2, .count = 3.6f, .value = 4};
    test_buf b = gguf_form(&good);
    assert_ok(an_imatrix_open_bytes(&m, b.data, b.n, "new", &err), &err);
    const an_imatrix_entry *e = an_imatrix_find(m, "x.weight");
    assert_non_null(e);
    assert_int_equal(e->n, 8);
    assert_true(e->values[0] == 1.0f && e->values[2] == 1.5f); /* 3.6 counts as 4 */
    assert_true(e->values[4] == 1.0f && e->values[7] == 1.0f); /* never counted */
    assert_int_equal(an_imatrix_n_chunk(m), 9);
    assert_string_equal(an_imatrix_dataset(m), "wiki");
    an_imatrix_close(m);
    free(b.data);
}

static void bad_gguf_files(void **state)
{
    (void)state;
    static const char sums[] = "x.weight.in_sum2", counts[] = "x.weight.counts";
    static const struct {
        parts p;
        const char *message;
    } cases[] = {
        {{.sums = sums, .counts = counts, .n_count = 2, .no_dataset = true}, "imatrix.datasets"},
        {{.sums = sums, .counts = counts, .n_count = 2, .no_chunk = true}, "imatrix.chunk_count"},
        {{.sums = sums, .counts = counts, .n_count = 2, .no_size = true}, "imatrix.chunk_size"},
        {{.sums = sums}, "tensor x.weight.in_sum2 has no counts beside it"},
        {{.counts = counts, .n_count = 1}, "tensor x.weight.counts has no sums beside it"},
        {{0}, "has no entries"},
        {{.sums = sums, .counts = counts, .n_count = 3, .count = 1}, "has 8 sums for 3 counts"},
        {{.sums = sums, .sums_type = 26, .counts = counts, .n_count = 2}, "must be F32"},
        {{.sums = sums, .counts = counts, .n_count = 2, .count = NAN}, "count 0 is nan"},
        {{.sums = sums, .counts = counts, .n_count = 2, .count = INFINITY}, "count 0 is inf"},
        {{.sums = sums, .counts = counts, .n_count = 2, .count = 1, .value = -1}, "value 0 is -1"},
        {{.sums = sums, .counts = counts, .n_count = 2, .count = 1, .value = NAN}, "value 0 is"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        test_buf b = gguf_form(&cases[i].p);
        assert_bad(&b, cases[i].message);
        free(b.data);
    }
}

/* Any damage to a good file ends in a message or in an importance matrix, never elsewhere. */
static void mutations(void **state)
{
    (void)state;
    an_rng rng;
    an_rng_seed(&rng, 5);
    parts good = {.sums = "x.weight.in_sum2", .counts = "x.weight.counts", .n_count = 2, .count = 3, .value = 4};
    test_buf files[2] = {old_form(true), gguf_form(&good)};
    for (int round = 0; round < 4000; round++) {
        const test_buf *f = &files[round % 2];
        anemo_error err = {0};
        an_imatrix *m = NULL;
        char *copy = malloc(f->n);
        memcpy(copy, f->data, f->n);
        for (uint64_t k = 0; k <= an_rng_below(&rng, 3); k++) copy[an_rng_below(&rng, f->n)] = (char)an_rng_u64(&rng);
        size_t n = an_rng_below(&rng, 4) ? f->n : an_rng_below(&rng, f->n);
        if (an_imatrix_open_bytes(&m, copy, n, "mutated", &err) != ANEMO_OK) assert_true(err.message[0]);
        an_imatrix_close(m);
        free(copy);
    }
    free(files[0].data);
    free(files[1].data);
}

static void keys_of_the_output(void **state)
{
    (void)state;
    anemo_error err;
    char dir[] = "/tmp/anemo-imatrix-XXXXXX", src[64], dst[64];
    an_imatrix *m;
    an_gguf *g;
    an_bytes text;
    int64_t n;
    an_quantize_result r;
    assert_non_null(mkdtemp(dir));
    snprintf(src, sizeof src, "%s/src.gguf", dir);
    snprintf(dst, sizeof dst, "%s/dst.gguf", dir);
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, 0);
    test_buf file = gguf_build_finish(&b), old = old_form(true);
    assert_ok(an_file_write(src, file.data, file.n, &err), &err);
    assert_ok(an_imatrix_open_bytes(&m, old.data, old.n, "old", &err), &err);
    an_quantize_options o = {.mix = an_mix_find("Q4_0"), .n_thread = 1, .imatrix = m, .imatrix_path = "some/where.dat"};
    assert_ok(an_quantize_gguf(src, dst, &o, &r, &err), &err);
    assert_int_equal(r.n_weighed, 0);
    assert_true(r.n_unweighed > 0 && r.unweighed[0]);
    assert_int_equal(r.file_bytes, an_path_size(dst));
    an_quantize_result_free(&r);
    o.dry_run = true;
    assert_ok(an_quantize_gguf(src, dst, &o, &r, &err), &err);
    assert_int_equal(r.file_bytes, an_path_size(dst));
    an_quantize_result_free(&r);
    assert_ok(an_gguf_open(&g, dst, &err), &err);
    assert_ok(an_gguf_get_str(g, "quantize.imatrix.file", true, &text, &err), &err);
    assert_memory_equal(text.data, "some/where.dat", text.len);
    assert_ok(an_gguf_get_str(g, "quantize.imatrix.dataset", true, &text, &err), &err);
    assert_memory_equal(text.data, "text", text.len);
    assert_ok(an_gguf_get_i64(g, "quantize.imatrix.entries_count", true, 2, 2, &n, &err), &err);
    assert_ok(an_gguf_get_i64(g, "quantize.imatrix.chunks_count", true, 17, 17, &n, &err), &err);
    an_gguf_close(g);
    an_imatrix_close(m);
    free(file.data);
    free(old.data);
    assert_ok(an_path_remove(src, &err), &err);
    assert_ok(an_path_remove(dst, &err), &err);
    assert_ok(an_path_remove(dir, &err), &err);
}

static void types_by_name(void **state)
{
    (void)state;
    anemo_error err;
    an_tensor_types *t;
    bool found;
    an_dtype type;
    assert_ok(an_tensor_types_make(&t, (const char *const[]){"FFN_(up|down)=q8_0", "^blk\\.1\\.=Q4_K"}, 2, &err), &err);
    assert_ok(an_tensor_types_find(t, "blk.1.ffn_down.weight", &found, &type, &err), &err);
    assert_true(found && type == AN_DTYPE_Q8_0);
    assert_ok(an_tensor_types_find(t, "blk.1.attn_q.weight", &found, &type, &err), &err);
    assert_true(found && type == AN_DTYPE_Q4_K);
    assert_ok(an_tensor_types_find(t, "blk.11.attn_q.weight", &found, &type, &err), &err);
    assert_false(found);
    an_tensor_types_free(t);
    assert_fails(an_tensor_types_make(&t, (const char *const[]){"a(=q8_0"}, 1, &err), &err, ANEMO_ERR_INVAL,
                 "'a(=q8_0': the pattern is no regular expression");
    assert_fails(an_tensor_types_make(&t, (const char *const[]){"a=q9"}, 1, &err), &err, ANEMO_ERR_INVAL,
                 "'q9' is no type of a tensor; there are F32 F16");
    static const char *const shapeless[] = {"=q8_0", "a", "a="};
    for (size_t i = 0; i < AN_COUNT_OF(shapeless); i++)
        assert_fails(an_tensor_types_make(&t, &shapeless[i], 1, &err), &err, ANEMO_ERR_INVAL, "is not PATTERN=TYPE");
    assert_ok(an_tensor_types_make(&t, (const char *const[]){"(a|aa)+[.]=q8_0"}, 1, &err), &err);
    assert_fails(an_tensor_types_find(t, "blk.0.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax.weight", &found, &type, &err), &err,
                 ANEMO_ERR_INVAL, "takes too many steps");
    an_tensor_types_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_files),      cmocka_unit_test(bad_old_files), cmocka_unit_test(gguf_files),
        cmocka_unit_test(bad_gguf_files), cmocka_unit_test(mutations),     cmocka_unit_test(keys_of_the_output),
        cmocka_unit_test(types_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
