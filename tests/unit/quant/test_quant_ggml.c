/* quant: every block type against libggml's own decoder, bit for bit, on random bytes and on quantized numbers. */
#include "support/test.h"

#include "base/rng.h"
#include "quant/dtype.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

/* The part of libggml's public interface that we call (ggml.h of llama.cpp 0.5.0). */
struct type_traits {
    const char *type_name;
    int64_t blck_size;
    int64_t blck_size_interleave;
    size_t type_size;
    bool is_quantized;
    void (*to_float)(const void *x, float *y, int64_t k);
    void (*from_float_ref)(const float *x, void *y, int64_t k);
};
typedef const struct type_traits *get_traits_fn(int type);
typedef size_t quantize_chunk_fn(int type, const float *src, void *dst, int64_t start, int64_t n_row,
                                 int64_t n_per_row, const float *imatrix);

enum { N = 16384 };

static get_traits_fn *get_traits;
static quantize_chunk_fn *quantize_chunk;

static void compare(an_dtype type, const uint8_t *packed, const struct type_traits *traits)
{
    static float ours[N], theirs[N];
    memset(ours, 0xEE, sizeof ours);
    an_dequant(type, packed, ours, N);
    traits->to_float(packed, theirs, N);
    for (int i = 0; i < N; i++) {
        if (isnan(ours[i]) && isnan(theirs[i])) continue;
        if (type == AN_DTYPE_GGML_MXFP4 && packed[i / 32 * 17] == 0xFF && isnan(ours[i])) continue; /* a number there */
        if (memcmp(&ours[i], &theirs[i], 4))
            fail_msg("%s element %d: %a, libggml %a", traits->type_name, i, (double)ours[i], (double)theirs[i]);
    }
}

static void decoders_agree(void **state)
{
    (void)state;
    an_rng rng;
    an_rng_seed(&rng, 3);
    static float x[N];
    for (int type = 0; type < AN_DTYPE_N; type++) {
        const an_dtype_info *info = an_dtype_get((an_dtype)type);
        if (!info->weight || info->ggml_id <= 0) continue;
        const struct type_traits *traits = get_traits(info->ggml_id);
        assert_int_equal(traits->blck_size, info->block_elems);
        assert_int_equal(traits->type_size, info->block_bytes);
        size_t n_bytes = (size_t)(N / info->block_elems * info->block_bytes);
        uint8_t *packed = malloc(n_bytes);
        for (int round = 0; round < 4; round++) {
            for (size_t i = 0; i < n_bytes; i++) packed[i] = (uint8_t)an_rng_u64(&rng);
            compare((an_dtype)type, packed, traits);
            for (int i = 0; i < N; i++)
                x[i] = (float)(an_rng_f64(&rng) - 0.5) * (an_rng_below(&rng, 64) ? 1.0f : 100.0f);
            assert_int_equal(quantize_chunk(info->ggml_id, x, packed, 0, 1, N, NULL), n_bytes);
            compare((an_dtype)type, packed, traits);
        }
        free(packed);
    }
}

int main(void)
{
    void *lib = dlopen(AN_GGML_BASE, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        fprintf(stderr, "skipped: %s\n", dlerror());
        return 77;
    }
    *(void **)&get_traits = dlsym(lib, "ggml_get_type_traits");
    *(void **)&quantize_chunk = dlsym(lib, "ggml_quantize_chunk");
    if (!get_traits || !quantize_chunk) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(decoders_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
