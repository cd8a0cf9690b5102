/* Quantizing GGUF files: types, what is carried over, what is refused and that nothing is left of a refusal. */
#include "support/gguf_build.h"
#include "support/test.h"

#include "base/alloc.h"
#include "base/num.h"
#include "convert/quantize.h"
#include "os/file.h"

#include <math.h>
#include <stdlib.h>

static char dir[] = "/tmp/anemo-quantize-XXXXXX";
static char src[64], dst[64];

static void write_model(uint32_t ggml_type, size_t bad_at, float bad)
{
    anemo_error err;
    gguf_build b;
    gguf_build_init(&b);
    gguf_build_tiny_llama(&b, ggml_type);
    if (bad_at) memcpy(b.data.data + bad_at, &bad, sizeof bad);
    test_buf file = gguf_build_finish(&b);
    assert_ok(an_file_write(src, file.data, file.n, &err), &err);
    free(file.data);
}

static anemo_status quantize(const char *mix, an_quantize_options o, an_quantize_result *r, anemo_error *err)
{
    o.mix = an_mix_find(mix);
    assert_non_null(o.mix);
    if (!o.n_thread) o.n_thread = 2;
    return an_quantize_gguf(src, dst, &o, r, err);
}

static void assert_only_source(void)
{
    anemo_error err;
    char **names;
    size_t n;
    assert_ok(an_dir_list(dir, &names, &n, &err), &err);
    assert_int_equal(n, 1);
    an_names_free(names);
}

static void every_mix(void **state)
{
    (void)state;
    write_model(0, 0, 0);
    for (size_t i = 0; an_mix_at(i); i++) {
        anemo_error err;
        an_quantize_result r;
        an_gguf *g, *old;
        int64_t file_type;
        assert_ok(quantize(an_mix_at(i)->name, (an_quantize_options){.force = true}, &r, &err), &err);
        assert_ok(an_gguf_open(&g, dst, &err), &err);
        assert_ok(an_gguf_open(&old, src, &err), &err);
        assert_int_equal(an_gguf_n_tensor(g), an_gguf_n_tensor(old));
        assert_ok(an_gguf_get_i64(g, "general.file_type", true, 0, 100, &file_type, &err), &err);
        assert_int_equal(file_type, an_mix_at(i)->file_type);
        /* Every key of the source is there with the same value. */
        for (size_t k = 0; k < an_gguf_n_kv(old); k++) {
            const an_gguf_kv *a = an_gguf_kv_at(old, k), *b = an_gguf_kv_at(g, k);
            assert_int_equal(a->key.len, b->key.len);
            assert_memory_equal(a->key.data, b->key.data, (size_t)a->key.len);
            assert_int_equal(a->value_bytes, b->value_bytes);
            assert_memory_equal(a->value, b->value, (size_t)a->value_bytes);
        }
        for (size_t k = 0; k < r.classes.n; k++) assert_true(r.classes.items[k].worst < 0.2);
        an_quantize_result_free(&r);
        an_gguf_close(old);
        an_gguf_close(g);
    }
    anemo_error err;
    assert_ok(an_path_remove(dst, &err), &err);
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    anemo_error err;
    char *a, *b;
    size_t n_a, n_b;
    an_quantize_result r;
    assert_ok(quantize("Q4_1", (an_quantize_options){.n_thread = 1}, &r, &err), &err);
    an_quantize_result_free(&r);
    assert_ok(an_file_read(dst, 1 << 24, &a, &n_a, &err), &err);
    assert_fails(quantize("Q4_1", (an_quantize_options){.n_thread = 1}, &r, &err), &err, ANEMO_ERR_INVAL, "--force");
    assert_ok(quantize("Q4_1", (an_quantize_options){.n_thread = 5, .force = true}, &r, &err), &err);
    an_quantize_result_free(&r);
    assert_ok(an_file_read(dst, 1 << 24, &b, &n_b, &err), &err);
    assert_int_equal(n_a, n_b);
    assert_memory_equal(a, b, n_a);
    an_free(a);
    an_free(b);
    assert_ok(an_path_remove(dst, &err), &err);
}

static void refusals(void **state)
{
    (void)state;
    anemo_error err;
    an_quantize_result r;
    static const volatile int stop = 1;
    write_model(0, 4 * 100, NAN);
    assert_fails(quantize("Q8_0", (an_quantize_options){0}, &r, &err), &err, ANEMO_ERR_FORMAT,
                 "tensor token_embd.weight: element 100 is infinite or NaN");
    assert_only_source();
    write_model(0, 4 * 7, INFINITY);
    assert_fails(quantize("F16", (an_quantize_options){0}, &r, &err), &err, ANEMO_ERR_FORMAT, "element 7");
    assert_only_source();
    write_model(0, 0, 0);
    assert_fails(quantize("Q8_0", (an_quantize_options){.stop = &stop}, &r, &err), &err, ANEMO_ERR_INTERRUPTED, "interrupted");
    assert_only_source();
    assert_ok(quantize("Q8_0", (an_quantize_options){.dry_run = true}, &r, &err), &err);
    assert_true(r.bytes > 0 && r.bytes < r.source_bytes / 3);
    an_quantize_result_free(&r);
    assert_only_source();
    write_model(3, 0, 0);
    assert_fails(quantize("Q8_0", (an_quantize_options){0}, &r, &err), &err, ANEMO_ERR_UNSUPPORTED, "--allow-requantize");
    assert_only_source();
    assert_null(an_mix_find("Q9_Z"));
    assert_ptr_equal(an_mix_find("q4_k"), an_mix_find("Q4_K_M"));
}

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir)) return 1;
    snprintf(src, sizeof src, "%s/src.gguf", dir);
    snprintf(dst, sizeof dst, "%s/dst.gguf", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return an_path_remove(src, NULL) != ANEMO_OK || an_path_remove(dst, NULL) != ANEMO_OK ||
           an_path_remove(dir, NULL) != ANEMO_OK;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mix),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
