/*
 * quant: weights in MLX's FP modes against checksums of what mx.dequantize makes (tests/golden/quant/mlx_decode.txt), with
 * every scale byte, and the search for values that are not finite.
 */
#include "support/fnv.h"
#include "support/test.h"

#include "quant/dtype.h"

#include <math.h>
#include <stdlib.h>

enum { N_SCALE = 256 };

static an_dtype by_name(const char *name)
{
    for (int t = AN_DTYPE_MXFP4; t <= AN_DTYPE_NVFP4; t++)
        if (!strcmp(an_dtype_get((an_dtype)t)->name, name)) return (an_dtype)t;
    fail_msg("no mode %s", name);
    return AN_DTYPE_OTHER;
}

/* make_mlx_decode.py has the same. */
static void fill(uint8_t *codes, size_t n, uint8_t *scales)
{
    uint32_t s = 1;
    for (size_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        codes[i] = (uint8_t)(s >> 24);
    }
    for (int i = 0; i < N_SCALE; i++) scales[i] = (uint8_t)i;
}

static void check(an_dtype type, int bits, int group, long n_finite, uint32_t sum)
{
    size_t n = (size_t)N_SCALE * (size_t)group, row_bytes = (size_t)(group * bits / 8), n_code = N_SCALE * row_bytes;
    /* Both end with their heap blocks, at odd addresses, so that ASan sees any step beyond. */
    uint8_t *codes = malloc(n_code + 1), *scales = malloc(N_SCALE + 1);
    float *x = malloc(n * sizeof *x);
    uint32_t *words = malloc(n * sizeof *words);
    fill(codes + 1, n_code, scales + 1);
    const an_affine form = {bits, group, AN_DTYPE_U8, scales + 1, NULL};
    const an_weight one_row = {.dtype = type, .n_row = 1, .n_col = (int64_t)n, .data = codes + 1, .row_bytes = n_code, .affine = form};
    an_weight_row_f32(&one_row, 0, x);
    long finite = 0;
    for (size_t i = 0; i < n; i++) {
        words[i] = 0x7FC00000u;
        if (isfinite(x[i])) memcpy(&words[i], &x[i], 4);
        finite += isfinite(x[i]) != 0;
    }
    assert_int_equal(finite, n_finite);
    assert_int_equal(fnv(words, n * sizeof *words), sum);
    assert_int_equal(an_weight_bytes(&one_row), n_code + N_SCALE);
    assert_int_equal(an_weight_find_nonfinite(&one_row), 0);
    /* A row for each scale: the same values, and the rows that are not finite are found. */
    for (int r = 0; r < N_SCALE; r++) {
        float values[32];
        bool all_finite = true;
        an_weight w = {.dtype = type, .n_row = N_SCALE, .n_col = group, .data = codes + 1, .row_bytes = row_bytes, .affine = form};
        an_weight_row_f32(&w, r, values);
        assert_memory_equal(values, x + r * group, (size_t)group * sizeof *values);
        for (int j = 0; j < group; j++) all_finite = all_finite && isfinite(values[j]);
        w.n_row = 1;
        w.data = codes + 1 + (size_t)r * row_bytes;
        w.affine.scales = scales + 1 + r;
        assert_int_equal(an_weight_find_nonfinite(&w), all_finite ? -1 : 0);
    }
    free(words);
    free(x);
    free(scales);
    free(codes);
}

static void values_are_those_of_mlx(void **state)
{
    (void)state;
    char mode[16];
    int bits, group, n = 0;
    long n_finite;
    unsigned sum;
    FILE *f = fopen(AN_TEST_DIR "/golden/quant/mlx_decode.txt", "r");
    assert_non_null(f);
    while (fscanf(f, "%15s %d %d %ld %x", mode, &bits, &group, &n_finite, &sum) == 5) {
        check(by_name(mode), bits, group, n_finite, sum);
        n++;
    }
    fclose(f);
    assert_int_equal(n, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(values_are_those_of_mlx)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
