/*
 * quant: MLX's encoders against checksums of what mx.quantize makes (tests/golden/quant/mlx_encode.txt) and the published
 * vectors of the affine form, with every instruction set of this machine; repacked blocks against their own decoders.
 */
#include "support/fnv.h"
#include "support/test.h"

#include "base/isa.h"
#include "os/cpu.h"
#include "quant/encode.h"
#include "quant/half.h"
#include "quant/mlx_encode.h"
#include "quant/mlx_repack.h"

#include <math.h>
#include <stdlib.h>

enum { N = 4096, N_PUBLISHED = 1024 };

static uint32_t next(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

/* make_mlx_encode.py has the same. */
static void awkward(float *x)
{
    uint32_t s = 1;
    float first = 0;
    for (int i = 0; i < N; i++) {
        float v = (float)((double)((int32_t)next(&s) - (1 << 23)) / (double)(1 << 23));
        if (i % 128 == 0) first = v;
        const float kinds[] = {v, 0, first, -fabsf(v), fabsf(v) + 1, rintf(v * 16) * 0.5f + 0, v * 0x1p-20f, v * v * v * v * v * 3000};
        x[i] = kinds[i / 128 % 8];
    }
}

static an_dtype float_by_name(const char *name)
{
    return !strcmp(name, "F32") ? AN_DTYPE_F32 : !strcmp(name, "F16") ? AN_DTYPE_F16 : AN_DTYPE_BF16;
}

/* The instruction sets that the encoder tells apart, as far as this machine has them. */
static size_t levels(uint32_t out[3])
{
    const uint32_t all[] = {0, AN_ISA_AVX2, AN_ISA_AVX2 | AN_ISA_AVX512};
    size_t n = 0;
    for (size_t i = 0; i < 3; i++)
        if ((all[i] & an_cpu_isa()) == all[i]) out[n++] = all[i];
    return n;
}

static void check(const an_mlx_form *form, an_dtype type, const float *x, int n, uint32_t codes, uint32_t scales, uint32_t biases)
{
    uint32_t isa[3];
    size_t size = type == AN_DTYPE_F32 ? 4 : 2, scale_size = form->mode == AN_MLX_AFFINE ? size : 1;
    size_t n_code = (size_t)(n * form->bits / 8), n_scale = (size_t)(n / form->group) * scale_size;
    /* Everything ends with its heap block, at an odd address, so that ASan sees any step beyond. */
    uint8_t *typed = malloc((size_t)n * size + 1), *out[3] = {malloc(n_code + 1), malloc(n_scale + 1), malloc(n_scale + 1)};
    an_plain_from_f32(type, x, n, typed + 1);
    for (size_t i = 0, n_level = levels(isa); i < n_level; i++) {
        an_mlx_row row = {type, typed + 1, n, out[0] + 1, out[1] + 1, out[2] + 1, 0, 0};
        assert_true(an_mlx_encode(form, isa[i], &row));
        if (fnv(out[0] + 1, n_code) != codes || fnv(out[1] + 1, n_scale) != scales ||
            (form->mode == AN_MLX_AFFINE && fnv(out[2] + 1, n_scale) != biases))
            fail_msg("mode %d, %d bits, group %d, type %d, level %zu: other bytes", form->mode, form->bits, form->group, type, i);
        assert_true(row.sum_sq > 0 && row.sum_sq_error < row.sum_sq);
    }
    free(typed);
    for (int k = 0; k < 3; k++) free(out[k]);
}

static void bytes_are_those_of_mlx(void **state)
{
    (void)state;
    static const char *const modes[] = {"affine", "mxfp4", "mxfp8", "nvfp4"};
    static float x[N];
    char mode[16], type[8], codes[16], scales[16], biases[16];
    an_mlx_form form;
    int n = 0;
    FILE *f = fopen(AN_TEST_DIR "/golden/quant/mlx_encode.txt", "r");
    assert_non_null(f);
    awkward(x);
    while (fscanf(f, "%15s %d %d %7s %15s %15s %15s", mode, &form.bits, &form.group, type, codes, scales, biases) == 7) {
        for (int m = 0; m < 4; m++)
            if (!strcmp(mode, modes[m])) form.mode = (an_mlx_mode)m;
        check(&form, float_by_name(type), x, N, (uint32_t)strtoul(codes, NULL, 16), (uint32_t)strtoul(scales, NULL, 16),
              (uint32_t)strtoul(biases, NULL, 16));
        n++;
    }
    fclose(f);
    assert_int_equal(n, 63);
}

static void published_vectors(void **state)
{
    (void)state;
    static const struct {
        an_dtype type;
        int group, bits;
        uint32_t codes, scales, biases;
    } rows[] = {
        {AN_DTYPE_BF16, 64, 2, 0x9f0d1fd2, 0xe3402fa3, 0xaf33cba0},  {AN_DTYPE_BF16, 64, 3, 0xfbebde9d, 0x1a500ec0, 0xaf33cba0},
        {AN_DTYPE_BF16, 64, 4, 0xf2ddbc73, 0xf9f91195, 0xaf33cba0},  {AN_DTYPE_BF16, 64, 5, 0xbdcf4087, 0x9f0eca54, 0xaf33cba0},
        {AN_DTYPE_BF16, 64, 6, 0x148644dc, 0xbd694b3f, 0xaf33cba0},  {AN_DTYPE_BF16, 64, 8, 0x5d620450, 0xb970037b, 0xaf33cba0},
        {AN_DTYPE_BF16, 32, 4, 0x9dfed42f, 0x4c30443f, 0x0f4e9d2c},  {AN_DTYPE_BF16, 128, 4, 0x6615fd23, 0x70db9294, 0x053c92fa},
        {AN_DTYPE_F32, 64, 4, 0x070c7c12, 0x8fb50190, 0x488af4ec},   {AN_DTYPE_F32, 64, 3, 0x3722cf25, 0x5d7fd9c8, 0x488af4ec},
        {AN_DTYPE_F32, 64, 6, 0xd98546eb, 0x979e93e4, 0x488af4ec},
    };
    static float x[N_PUBLISHED];
    uint32_t s = 1;
    for (int i = 0; i < N_PUBLISHED; i++) x[i] = (float)((double)((int32_t)next(&s) - (1 << 23)) / (double)(1 << 27));
    for (size_t i = 0; i < AN_COUNT_OF(rows); i++) {
        const an_mlx_form form = {AN_MLX_AFFINE, rows[i].bits, rows[i].group};
        check(&form, rows[i].type, x, N_PUBLISHED, rows[i].codes, rows[i].scales, rows[i].biases);
    }
}

/* NaN and infinities of all types and at every place of a group are noticed at every level. */
static void damaged_values_are_noticed(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const an_mlx_form forms[] = {{AN_MLX_AFFINE, 4, 64}, {AN_MLX_AFFINE, 3, 32}, {AN_MLX_MXFP4, 4, 32}, {AN_MLX_NVFP4, 4, 16}};
    uint32_t isa[3];
    for (size_t i = 0, n_level = levels(isa); i < n_level; i++)
        for (size_t k = 0; k < AN_COUNT_OF(forms); k++)
            for (int type = AN_DTYPE_F32; type <= AN_DTYPE_BF16; type++)
                for (int at = 0; at < 128; at += 7) {
                    float x[128] = {0};
                    uint8_t typed[512], out[3][256];
                    x[at] = bad[at % 3];
                    x[(at + 1) % 128] = 60000;
                    an_plain_from_f32((an_dtype)type, x, 128, typed);
                    an_mlx_row row = {(an_dtype)type, typed, 128, out[0], out[1], out[2], 0, 0};
                    assert_false(an_mlx_encode(&forms[k], isa[i], &row));
                    assert_int_equal(an_plain_find_nonfinite((an_dtype)type, typed, 128), at);
                }
}

/* A block and the groups made of it decode to the same bits. */
static void repacked_blocks_keep_their_values(void **state)
{
    (void)state;
    static const an_dtype types[] = {AN_DTYPE_Q4_0, AN_DTYPE_Q4_1, AN_DTYPE_Q5_0, AN_DTYPE_Q5_1,
                                     AN_DTYPE_Q8_0, AN_DTYPE_Q4_K, AN_DTYPE_Q5_K};
    static float x[N], want[N], got[N];
    static uint8_t blocks[4 * N], codes[N], scales[N], biases[N];
    awkward(x);
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        an_mlx_form form;
        an_dtype scale_dtype;
        const an_dtype_info *info = an_dtype_get(types[i]);
        assert_true(an_mlx_repack_form(types[i], &form, &scale_dtype));
        an_encode_rows(types[i], x, 1, N, blocks);
        an_dequant(types[i], blocks, want, N);
        assert_int_equal(an_mlx_repack(types[i], blocks, N, codes, scales, biases), -1);
        an_weight w = {.dtype = AN_DTYPE_AFFINE, .n_row = 1, .n_col = N, .data = codes,
                       .row_bytes = (uint64_t)(N * form.bits / 8), .affine = {form.bits, 32, scale_dtype, scales, biases}};
        an_weight_row_f32(&w, 0, got);
        for (int k = 0; k < N; k++)
            if (got[k] != want[k]) fail_msg("%s: element %d: %g, expected %g", info->name, k, (double)got[k], (double)want[k]);
        blocks[info->block_bytes + 1] = 0x7C; /* the scale of the second block is infinite */
        assert_int_equal(an_mlx_repack(types[i], blocks, N, codes, scales, biases), info->block_elems);
    }
    an_mlx_form form;
    an_dtype scale_dtype;
    assert_false(an_mlx_repack_form(AN_DTYPE_Q6_K, &form, &scale_dtype));
}

/* MXFP4 blocks with every scale byte, and the mxfp4 groups made of them. */
static void mxfp4_blocks_keep_their_values(void **state)
{
    (void)state;
    enum { N_BLOCK = 256 };
    static uint8_t blocks[17 * N_BLOCK], codes[16], scale;
    an_mlx_form form;
    an_dtype decoded;
    uint32_t s = 1;
    int n_finite = 0;
    assert_true(an_mlx_repack_form(AN_DTYPE_GGML_MXFP4, &form, &decoded));
    assert_int_equal(form.mode, AN_MLX_MXFP4);
    for (int i = 0; i < 17 * N_BLOCK; i++) blocks[i] = i % 17 ? (uint8_t)next(&s) : (uint8_t)(i / 17);
    for (int b = 0; b < N_BLOCK; b++) {
        float want[32], got[32];
        bool finite = true;
        an_dequant(AN_DTYPE_GGML_MXFP4, blocks + 17 * b, want, 32);
        for (int j = 0; j < 32; j++) finite = finite && isfinite(want[j]);
        assert_int_equal(an_mlx_repack(AN_DTYPE_GGML_MXFP4, blocks + 17 * b, 32, codes, &scale, NULL), finite ? -1 : 0);
        n_finite += finite;
        if (!finite) continue;
        an_weight w = {.dtype = AN_DTYPE_MXFP4, .n_row = 1, .n_col = 32, .data = codes, .row_bytes = 16, .affine = {4, 32, AN_DTYPE_U8, &scale, NULL}};
        an_weight_row_f32(&w, 0, got);
        for (int j = 0; j < 32; j++)
            if (got[j] != want[j]) fail_msg("scale %d, element %d: %g, expected %g", b, j, (double)got[j], (double)want[j]);
    }
    assert_true(n_finite >= 253);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_mlx),
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(damaged_values_are_noticed),
        cmocka_unit_test(repacked_blocks_keep_their_values),
        cmocka_unit_test(mxfp4_blocks_keep_their_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
