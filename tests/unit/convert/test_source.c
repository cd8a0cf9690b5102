/*
 * Sources of a conversion: the GGUF file and the directory of one tiny model, both written by
 * tests/golden/tiny's generator, hold the same values once q and k are in one row order.
 */
#include "support/test.h"

#include "convert/source.h"

#include <stdlib.h>

static an_source *open_tiny(const char *name)
{
    char path[512];
    anemo_error err;
    an_source *s;
    snprintf(path, sizeof path, "%s/golden/tiny/%s", AN_TEST_DIR, name);
    assert_ok(an_source_open(&s, path, &err), &err);
    return s;
}

/* Where row (or element of a bias) `i` of half-split order lies in interleaved order. */
static int64_t interleaved(int64_t i, int head_dim)
{
    int64_t head = i / head_dim, r = i % head_dim, half = head_dim / 2;
    return head * head_dim + 2 * (r % half) + r / half;
}

/* All values of a tensor as f32; free() them. */
static float *values_of(const an_source *s, const an_source_tensor *t)
{
    anemo_error err;
    float *out = malloc((size_t)(t->n_row * t->n_col) * sizeof *out);
    assert_non_null(out);
    assert_ok(an_source_rows(s, t, 0, t->n_row, out, &err), &err);
    return out;
}

static void assert_same(const an_source *g, const an_source_tensor *a, const an_source *h,
                        const an_source_tensor *b)
{
    int64_t n_col = a->n_dim == 2 ? a->n_col : 1, n = a->n_dim == 2 ? a->n_row : a->n_col;
    assert_int_equal(a->n_dim, b->n_dim);
    assert_int_equal(a->n_row, b->n_row);
    assert_int_equal(a->n_col, b->n_col);
    assert_int_equal(a->rotated, b->rotated);
    float *x = values_of(g, a), *y = values_of(h, b);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = a->rotated ? interleaved(i, g->params.hp.head_dim) : i;
        if (memcmp(x + from * n_col, y + i * n_col, (size_t)n_col * sizeof *x))
            fail_msg("%s: %s differs in row %d", h->path, b->name, (int)i);
    }
    /* Given back and read again, the values are the same. */
    an_source_release(h, b);
    float *again = values_of(h, b);
    assert_memory_equal(y, again, (size_t)(n * n_col) * sizeof *y);
    free(again);
    free(y);
    free(x);
}

static void test_twins(void **state)
{
    (void)state;
    static const char *const names[] = {
        "llama-bias",           "llama-mha-tied", "llama-three-layers", "ministral3-beta",
        "mistral-gqa4-headdim", "rope-llama3",    "mistral3-wrapper"};
    for (size_t k = 0; k < AN_COUNT_OF(names); k++) {
        char gguf[128], dir[128];
        snprintf(gguf, sizeof gguf, "arch/%s/model.gguf", names[k]);
        snprintf(dir, sizeof dir, "arch/%s/hf", names[k]);
        an_source *g = open_tiny(gguf), *h = open_tiny(dir);
        assert_int_equal(g->kind, AN_SOURCE_GGUF);
        assert_int_equal(h->kind, AN_SOURCE_HF);
        assert_null(g->config);
        assert_non_null(h->config);
        size_t same = 0;
        for (size_t i = 0; i < g->n_tensor; i++) {
            const an_source_tensor *t = &g->tensors[i];
            if (t->field == AN_FIELD_ROPE_FREQS) continue; /* parameters on the other side */
            const an_source_tensor *other = an_source_find(h, t->field, t->layer);
            if (!other) fail_msg("%s: nothing for %s", dir, t->name);
            assert_same(g, t, h, other);
            same++;
        }
        assert_int_equal(same, h->n_tensor);
        assert_int_equal(g->params.hp.tied, h->params.hp.tied);
        assert_int_equal(g->params.hp.n_vocab, h->params.hp.n_vocab);
        an_source_close(g);
        an_source_close(h);
    }
}

/* Vectors stay as they are stored, and quantized matrices keep their groups. */
static void test_stored_forms(void **state)
{
    (void)state;
    an_source *s = open_tiny("mlx/w4-g64-f16");
    assert_int_equal(s->kind, AN_SOURCE_MLX);
    const an_source_tensor *q = an_source_find(s, AN_FIELD_ATTN_Q, 0);
    const an_source_tensor *norm = an_source_find(s, AN_FIELD_ATTN_NORM, 0);
    assert_non_null(q);
    assert_non_null(norm);
    assert_string_equal(q->name, "model.layers.0.self_attn.q_proj.weight");
    assert_int_equal(q->w.dtype, AN_DTYPE_AFFINE);
    assert_int_equal(q->w.affine.group, 64);
    assert_int_equal(q->float_dtype, AN_DTYPE_F32);
    assert_true(q->rotated);
    assert_int_equal(q->rows, AN_ROPE_HALF_SPLIT);
    assert_int_equal(norm->n_dim, 1);
    assert_int_equal(norm->w.dtype, AN_DTYPE_F16);
    assert_int_equal(norm->float_dtype, AN_DTYPE_F16);
    an_source_close(s);
}

/* ------------------------------------------------------------------------------------- every
 * layout of one model */

static an_source *open_model(const char *name)
{
    char path[512];
    anemo_error err;
    an_source *s;
    snprintf(path, sizeof path, "%s/golden/convert/models/%s", AN_TEST_DIR, name);
    assert_ok(an_source_open(&s, path, &err), &err);
    return s;
}

/* Rows of the twin in half-split order, a few at a time, against the same values of plain
 * safetensors. */
static void assert_same_model(const char *name, const char *twin, an_source_kind kind)
{
    an_source *a = open_model(twin), *b = open_model(name);
    anemo_error err;
    assert_int_equal(b->kind, kind);
    assert_int_equal(a->n_tensor, b->n_tensor);
    for (size_t i = 0; i < a->n_tensor; i++) {
        const an_source_tensor *x = &a->tensors[i], *y = an_source_find(b, x->field, x->layer);
        if (!y) fail_msg("%s: nothing for %s", name, x->name);
        assert_int_equal(x->n_dim, y->n_dim);
        assert_int_equal(x->n_row, y->n_row);
        assert_int_equal(x->n_col, y->n_col);
        assert_int_equal(x->float_dtype, y->float_dtype);
        assert_int_equal(x->rotated, y->rotated);
        assert_int_equal(y->rows,
                         kind == AN_SOURCE_NATIVE ? AN_ROPE_INTERLEAVED : AN_ROPE_HALF_SPLIT);
        assert_int_equal(y->w.row_bytes, y->n_col * an_dtype_get(y->float_dtype)->block_bytes);
        assert_ok(an_source_check(b, y, &err), &err);
        float *want = values_of(a, x), *got = malloc((size_t)(7 * x->n_col) * sizeof *got);
        assert_non_null(got);
        for (int64_t row = 0, n; row < x->n_row; row += n) {
            n = x->n_row - row < 7 ? x->n_row - row : 7;
            assert_ok(an_source_rows_in(b, y, AN_ROPE_HALF_SPLIT, row, n, got, &err), &err);
            if (memcmp(got, want + row * x->n_col, (size_t)(n * x->n_col) * sizeof *got))
                fail_msg("%s: %s differs from %s near row %d", name, y->name, twin, (int)row);
            an_source_release(b, y);
        }
        free(got);
        free(want);
    }
    an_source_close(a);
    an_source_close(b);
}

static void test_layouts(void **state)
{
    (void)state;
    assert_same_model("hf-sharded", "hf-bf16", AN_SOURCE_HF);
    assert_same_model("bin", "hf-bf16", AN_SOURCE_HF);
    assert_same_model("bin-sharded", "hf-bf16", AN_SOURCE_HF);
    assert_same_model("bin-legacy", "hf-bf16", AN_SOURCE_HF);
    assert_same_model("native", "hf-bf16", AN_SOURCE_NATIVE);
    assert_same_model("native-pth", "hf-bf16", AN_SOURCE_NATIVE);
    assert_same_model("native-sharded", "hf-bf16", AN_SOURCE_NATIVE);
    assert_same_model("native-parallel", "hf-bf16", AN_SOURCE_NATIVE);
    assert_same_model("native-fp8", "fp8-tensor", AN_SOURCE_NATIVE);
}

static void test_refusals(void **state)
{
    (void)state;
    anemo_error err;
    an_source *s;
    float out[1];
    assert_fails(an_source_open(&s, AN_TEST_DIR "/absent", &err), &err, ANEMO_ERR_NOTFOUND,
                 "absent");
    assert_fails(an_source_open(&s, AN_TEST_DIR, &err), &err, ANEMO_ERR_FORMAT, "config.json");
    s = open_tiny("mlx/w4-g64-f16");
    assert_fails(an_source_rows(s, &s->tensors[0], s->tensors[0].n_row, 1, out, &err), &err,
                 ANEMO_ERR_INVAL, "embed_tokens");
    an_source_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_stored_forms),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
