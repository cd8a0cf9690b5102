/* Encoders: the vectors of formats.md 2.6, and libggml's own encoders on many kinds of rows where the engines are. */
#include "support/fnv.h"
#include "support/test.h"

#include "base/num.h"
#include "base/rng.h"
#include "quant/encode.h"
#include "quant/half.h"

#include <math.h>
#include <stdlib.h>

#ifdef AN_GGML_BASE
#include <dlfcn.h>
#endif

enum { N_COL = 1024, N_ROW = 24 };

static size_t row_bytes(an_dtype type)
{
    const an_dtype_info *info = an_dtype_get(type);
    return (size_t)(N_COL / info->block_elems * info->block_bytes);
}

static void vectors(void **state)
{
    (void)state;
    static const struct {
        an_dtype type;
        uint32_t packed;
        double rmse;
    } cases[] = {
        {AN_DTYPE_Q4_0, 0xd296828b, 2.478239e-3},   {AN_DTYPE_Q4_1, 0xb6e9394f, 2.241558e-3},
        {AN_DTYPE_Q5_0, 0xd4b6fb61, 1.140847e-3},   {AN_DTYPE_Q5_1, 0xbbedd201, 1.079467e-3},
        {AN_DTYPE_Q8_0, 0x6e519f38, 1.408498e-4},   {AN_DTYPE_Q2_K, 0xf58fbde2, 8.386105e-3},
        {AN_DTYPE_Q3_K, 0x95f8d585, 4.639553e-3},   {AN_DTYPE_Q4_K, 0x672674d6, 2.029586e-3},
        {AN_DTYPE_Q5_K, 0x41d016eb, 9.981507e-4},   {AN_DTYPE_Q6_K, 0xa6c82af0, 4.806316e-4},
        {AN_DTYPE_IQ4_NL, 0x5ebbdffa, 2.360795e-3}, {AN_DTYPE_IQ4_XS, 0xfb61a671, 2.382571e-3},
    };
    static float x[N_COL], back[N_COL];
    static uint8_t packed[4 * N_COL];
    uint32_t s = 1;
    for (int i = 0; i < N_COL; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)((int)(s >> 8) - (1 << 23)) / (float)(1 << 27);
    }
    int n_bad = 0;
    for (size_t i = 0; i < AN_COUNT_OF(cases); i++) {
        double sum = 0;
        an_encode_rows(cases[i].type, x, 1, N_COL, packed);
        an_dequant(cases[i].type, packed, back, N_COL);
        for (int k = 0; k < N_COL; k++) sum += ((double)x[k] - (double)back[k]) * ((double)x[k] - (double)back[k]);
        double rmse = sqrt(sum / N_COL);
        if (fnv(packed, row_bytes(cases[i].type)) == cases[i].packed && fabs(rmse / cases[i].rmse - 1) < 1e-5) continue;
        print_error("%s: %08x, expected %08x; rmse %g, expected %g\n", an_dtype_get(cases[i].type)->name,
                    fnv(packed, row_bytes(cases[i].type)), cases[i].packed, rmse, cases[i].rmse);
        n_bad++;
    }
    assert_int_equal(n_bad, 0);
}

static void nonfinite_is_found(void **state)
{
    (void)state;
    float x[40] = {0};
    x[7] = 3e38f;
    assert_int_equal(an_find_nonfinite(x, 40), -1);
    x[39] = -INFINITY;
    assert_int_equal(an_find_nonfinite(x, 40), 39);
    x[3] = NAN;
    assert_int_equal(an_find_nonfinite(x, 40), 3);
    assert_false(an_encode_can(AN_DTYPE_AFFINE));
    assert_false(an_encode_can(AN_DTYPE_U8));
}

static void no_importance_is_plain(void **state)
{
    (void)state;
    static float x[N_COL], even[N_COL];
    static uint8_t plain[4 * N_COL], weighted[4 * N_COL];
    for (int i = 0; i < N_COL; i++) {
        x[i] = (float)sin(i * 0.7) * 0.1f;
        even[i] = 1;
    }
    for (an_dtype type = AN_DTYPE_F32; type <= AN_DTYPE_IQ4_XS; type++) {
        an_encode_rows(type, x, 1, N_COL, plain);
        an_encode_row_weighted(type, x, N_COL, NULL, weighted);
        assert_memory_equal(plain, weighted, row_bytes(type));
        if (type != AN_DTYPE_Q8_0 && type > AN_DTYPE_BF16) continue;
        an_encode_row_weighted(type, x, N_COL, even, weighted);
        assert_memory_equal(plain, weighted, row_bytes(type));
    }
}

#ifdef AN_GGML_BASE

/* Rows of every kind that a real or hostile model could hold; kinds repeat with other numbers. */
static void make_row(float *x, int kind, an_rng *rng)
{
    for (int i = 0; i < N_COL; i++) {
        double u = an_rng_f64(rng) * 2 - 1, n = u + an_rng_f64(rng) + an_rng_f64(rng) - 1;
        switch (kind % 12) {
        case 0: x[i] = (float)(0.02 * n); break;
        case 1: x[i] = (float)(0.02 * n * n * n * n * n); break; /* heavy tails */
        case 2: x[i] = 0; break;
        case 3: x[i] = 0.37f; break;
        case 4: x[i] = -1.5e-3f; break;
        case 5: x[i] = (float)(u * 1e-39); break; /* denormals */
        case 6: x[i] = (float)(u * 3e4); break;
        case 7: x[i] = i % 37 ? 0 : (float)u; break;
        case 8: x[i] = (float)fabs(n); break;
        case 9: x[i] = an_f32_from_bf16(an_bf16_from_f32((float)(0.05 * n))); break;
        case 10: x[i] = (float)((int)(u * 8)) * 0.125f; break; /* ties everywhere */
        default: x[i] = (float)(u * pow(10, -12 + i / 64)); break;
        }
    }
}

typedef size_t quantize_fn(int type, const float *src, void *dst, int64_t start, int64_t n_row, int64_t n_col,
                           const float *importance);

/* How much columns matter: as measured, the same everywhere, a few large ones, zeros between, single groups of zeros. */
static void make_importance(float *w, int kind, an_rng *rng)
{
    for (int i = 0; i < N_COL; i++) {
        double u = an_rng_f64(rng);
        switch (kind) {
        case 0: w[i] = (float)(u * u * 3); break;
        case 1: w[i] = 1; break;
        case 2: w[i] = (float)(an_rng_below(rng, 50) ? u * 1e-3 : u * 1e4); break;
        case 3: w[i] = (float)(an_rng_below(rng, 3) ? 0 : u); break;
        case 4: w[i] = i / 32 % 3 ? (float)u : 0; break;
        default: w[i] = 0; break;
        }
    }
}

/* All types on all rows; importance NULL: without. Returns the number of rows that differ. */
static int compare_rows(quantize_fn *quantize, const float *x, const float *importance, const char *what)
{
    static uint8_t ours[4 * N_ROW * N_COL], theirs[4 * N_ROW * N_COL];
    int n_bad = 0;
    for (an_dtype type = AN_DTYPE_F32; type <= AN_DTYPE_IQ4_XS; type++) {
        const an_dtype_info *info = an_dtype_get(type);
        size_t bytes = row_bytes(type);
        memset(theirs, 0, sizeof theirs);
        if (quantize(info->ggml_id, x, theirs, 0, N_ROW, N_COL, importance) != N_ROW * bytes)
            fail_msg("%s: ggml wrote another number of bytes", info->name);
        if (!importance) an_encode_rows(type, x, N_ROW, N_COL, ours);
        else
            for (size_t r = 0; r < N_ROW; r++)
                an_encode_row_weighted(type, x + r * N_COL, N_COL, importance, ours + r * bytes);
        for (int r = 0; r < N_ROW; r++) {
            /* The inverse of a denormal scale is infinite, and what becomes of it is its compiler's choice: such a block may
             * have other codes beside its scale of zero, if it means the same. */
            static float a[N_COL], b[N_COL];
            an_dequant(type, ours + (size_t)r * bytes, a, N_COL);
            an_dequant(type, theirs + (size_t)r * bytes, b, N_COL);
            if (r % 12 == 5 && !memcmp(a, b, sizeof a)) continue;
            for (size_t k = 0; k < bytes; k++)
                if (ours[(size_t)r * bytes + k] != theirs[(size_t)r * bytes + k]) {
                    print_error("%s, row of kind %d, %s: byte %zu of block %zu\n", info->name, r % 12, what,
                                k % (size_t)info->block_bytes, k / (size_t)info->block_bytes);
                    n_bad++;
                    break;
                }
        }
    }
    return n_bad;
}

static void same_as_ggml(void **state)
{
    (void)state;
    enum { N_ROUND = 3, N_IMPORTANCE = 6 };
    void *lib = dlopen(AN_GGML_BASE, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(lib);
    quantize_fn *quantize;
    *(void **)&quantize = dlsym(lib, "ggml_quantize_chunk");
    assert_non_null(quantize);
    static float x[N_ROW * N_COL], importance[N_COL];
    an_rng rng;
    an_rng_seed(&rng, 11);
    int n_bad = 0;
    for (int round = 0; round < N_ROUND; round++) {
        for (int r = 0; r < N_ROW; r++) make_row(x + r * N_COL, r, &rng);
        n_bad += compare_rows(quantize, x, NULL, "no importance");
        for (int kind = 0; kind < N_IMPORTANCE; kind++) {
            char what[32];
            snprintf(what, sizeof what, "importance of kind %d", kind);
            make_importance(importance, kind, &rng);
            n_bad += compare_rows(quantize, x, importance, what);
        }
    }
    assert_int_equal(n_bad, 0);
    dlclose(lib);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(nonfinite_is_found),
        cmocka_unit_test(no_importance_is_plain),
#ifdef AN_GGML_BASE
        cmocka_unit_test(same_as_ggml),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
