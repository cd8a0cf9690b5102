/* quant: decoders against golden vectors of libggml and mlx (tests/golden/quant), table, halves. */
#include "support/fnv.h"
#include "support/test.h"

#include "quant/dequant.h"
#include "quant/dtype.h"
#include "quant/half.h"

#include <math.h>
#include <stdlib.h>

enum { N_MAX = 1024, BYTES_MAX = 4 * N_MAX };

/* Packed bytes at the very end of an exact heap block and at an odd address, so that ASan sees any over-read. */
static uint8_t *from_hex(const char *hex, size_t *n)
{
    *n = strlen(hex) / 2;
    uint8_t *p = malloc(*n + 1);
    assert_non_null(p);
    for (size_t i = 0; i < *n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        p[i + 1] = (uint8_t)byte;
    }
    return p;
}

static an_dtype by_name(const char *name)
{
    for (int t = 0; t < AN_DTYPE_N; t++)
        if (!strcmp(an_dtype_get((an_dtype)t)->name, name)) return (an_dtype)t;
    fail_msg("no type %s", name);
    return AN_DTYPE_OTHER;
}

static void blocks_decode_as_ggml(void **state)
{
    (void)state;
    FILE *f = fopen(AN_TEST_DIR "/golden/quant/blocks.txt", "r");
    assert_non_null(f);
    static char line[4 * BYTES_MAX], hex[4 * BYTES_MAX];
    int n_line = 0;
    while (fgets(line, sizeof line, f)) {
        char name[16];
        int n;
        uint32_t packed_fnv, decoded_fnv;
        assert_int_equal(sscanf(line, "%15s %d %x %x %s", name, &n, &packed_fnv, &decoded_fnv, hex), 5);
        an_dtype type = by_name(name);
        size_t n_bytes;
        uint8_t *packed = from_hex(hex, &n_bytes);
        assert_int_equal(fnv(packed + 1, n_bytes), packed_fnv);
        float *out = malloc((size_t)n * sizeof *out);
        an_dequant(type, packed + 1, out, n);
        if (fnv(out, (size_t)n * 4) != decoded_fnv) fail_msg("%s decodes differently", name);

        an_weight w = {.dtype = type, .n_row = 1, .n_col = n, .data = packed + 1, .row_bytes = n_bytes};
        memset(out, 0, (size_t)n * 4);
        an_weight_row_f32(&w, 0, out);
        assert_int_equal(fnv(out, (size_t)n * 4), decoded_fnv);
        assert_int_equal(an_weight_find_nonfinite(&w), -1);
        assert_int_equal(an_weight_bytes(&w), n_bytes);
        free(out);
        free(packed);
        n_line++;
    }
    fclose(f);
    assert_int_equal(n_line, 28);
}

static void affine_decodes_as_mlx(void **state)
{
    (void)state;
    FILE *f = fopen(AN_TEST_DIR "/golden/quant/affine.txt", "r");
    assert_non_null(f);
    static char line[8 * BYTES_MAX], hex[3][4 * BYTES_MAX];
    int n_line = 0;
    while (fgets(line, sizeof line, f)) {
        int bits, group, n;
        char name[16];
        uint32_t decoded_fnv;
        assert_int_equal(sscanf(line, "%d %d %15s %d %x %s %s %s", &bits, &group, name, &n, &decoded_fnv,
                                hex[0], hex[1], hex[2]),
                         8);
        size_t n_bytes[3];
        uint8_t *part[3];
        for (int i = 0; i < 3; i++) part[i] = from_hex(hex[i], &n_bytes[i]);
        an_weight w = {.dtype = AN_DTYPE_AFFINE,
                       .n_row = 1,
                       .n_col = n,
                       .data = part[0] + 1,
                       .row_bytes = n_bytes[0],
                       .affine = {bits, group, by_name(name), part[1] + 1, part[2] + 1}};
        assert_int_equal(n_bytes[0], n * bits / 8);
        float *out = malloc((size_t)n * sizeof *out);
        an_weight_row_f32(&w, 0, out);
        if (fnv(out, (size_t)n * 4) != decoded_fnv)
            fail_msg("%d bits, group %d, %s decodes differently", bits, group, name);
        assert_int_equal(an_weight_find_nonfinite(&w), -1);
        assert_int_equal(an_weight_bytes(&w), n_bytes[0] + n_bytes[1] + n_bytes[2]);
        /* The last bias becomes NaN. */
        memset(part[2] + n_bytes[2] - 1, 0xFF, 2);
        assert_int_equal(an_weight_find_nonfinite(&w), 0);
        free(out);
        for (int i = 0; i < 3; i++) free(part[i]);
        n_line++;
    }
    fclose(f);
    assert_int_equal(n_line, 54);
}

static void table_of_types(void **state)
{
    (void)state;
    for (uint32_t id = 0; id < 64; id++) {
        an_dtype type;
        if (!an_dtype_from_ggml(id, &type)) continue;
        assert_string_equal(an_dtype_get(type)->name, an_ggml_type_name(id));
        assert_int_equal(an_dtype_get(type)->ggml_id, id);
    }
    an_dtype type;
    assert_true(an_dtype_from_ggml(12, &type));
    assert_int_equal(type, AN_DTYPE_Q4_K);
    assert_false(an_dtype_from_ggml(16, &type));
    assert_string_equal(an_ggml_type_name(16), "IQ2_XXS");
    static const uint32_t retired[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 1000, 0xFFFFFFFFu};
    for (size_t i = 0; i < sizeof retired / sizeof *retired; i++) {
        assert_null(an_ggml_type_name(retired[i]));
        assert_false(an_dtype_from_ggml(retired[i], &type));
    }
}

/* A NaN or infinity in the last f16 number of the last block of the last row is found, in every type. */
static void nonfinite_is_found(void **state)
{
    (void)state;
    static const struct {
        an_dtype type;
        int field;
        uint16_t inf;
    } cases[] = {
        {AN_DTYPE_F16, 0, 0x7C00},   {AN_DTYPE_BF16, 0, 0xFF80},  {AN_DTYPE_F32, 2, 0x7F80},
        {AN_DTYPE_Q4_0, 0, 0xFC00},  {AN_DTYPE_Q4_1, 2, 0x7E01},  {AN_DTYPE_Q5_0, 0, 0x7C00},
        {AN_DTYPE_Q5_1, 2, 0x7C00},  {AN_DTYPE_Q8_0, 0, 0x7C00},  {AN_DTYPE_Q2_K, 80, 0x7C00},
        {AN_DTYPE_Q2_K, 82, 0x7C00}, {AN_DTYPE_Q3_K, 108, 0x7FFF}, {AN_DTYPE_Q4_K, 2, 0x7C00},
        {AN_DTYPE_Q5_K, 2, 0x7C00},  {AN_DTYPE_Q6_K, 208, 0x7C00}, {AN_DTYPE_IQ4_NL, 0, 0x7C00},
        {AN_DTYPE_IQ4_XS, 0, 0x7C00},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const an_dtype_info *info = an_dtype_get(cases[i].type);
        uint64_t row_bytes = (uint64_t)(512 / info->block_elems) * (uint64_t)info->block_bytes;
        uint8_t *data = calloc(3, row_bytes);
        an_weight w = {.dtype = cases[i].type, .n_row = 3, .n_col = 512, .data = data, .row_bytes = row_bytes};
        assert_int_equal(an_weight_find_nonfinite(&w), -1);
        memcpy(data + 3 * row_bytes - info->block_bytes + cases[i].field, &cases[i].inf, 2);
        assert_int_equal(an_weight_find_nonfinite(&w), 2);
        free(data);
    }
}

/* Every f16 and bf16 value survives the way to f32 and back; halfway cases go to even. */
static void halves(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = an_f32_from_f16((uint16_t)h), b = an_f32_from_bf16((uint16_t)h);
        if (isnan(f)) {
            assert_true((h & 0x7C00) == 0x7C00 && (h & 0x3FF));
            assert_true(isnan(an_f32_from_f16(an_f16_from_f32(f))));
        } else {
            assert_int_equal(an_f16_from_f32(f), h);
        }
        if (isnan(b)) assert_true(isnan(an_f32_from_bf16(an_bf16_from_f32(b))));
        else assert_int_equal(an_bf16_from_f32(b), h);
        if ((h & 0x7FFF) >= 0x7BFF) continue;
        float next = an_f32_from_f16((uint16_t)(h + 1)), middle = f + (next - f) * 0.5f;
        assert_int_equal(an_f16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(an_f16_from_f32(nextafterf(middle, f)), h);
        assert_int_equal(an_f16_from_f32(nextafterf(middle, next)), h + 1);
    }
    assert_int_equal(an_f16_from_f32(65519.9f), 0x7BFF);
    assert_int_equal(an_f16_from_f32(65520.0f), 0x7C00);
    assert_int_equal(an_f16_from_f32(-INFINITY), 0xFC00);
    assert_int_equal(an_f16_from_f32(0x1p-26f), 0);
    assert_int_equal(an_bf16_from_f32(an_f32_from_bits(0x3F808000u)), 0x3F80);
    assert_int_equal(an_bf16_from_f32(an_f32_from_bits(0x3F818000u)), 0x3F82);
    assert_int_equal(an_bf16_from_f32(an_f32_from_bits(0x7F7FFFFFu)), 0x7F80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_as_ggml), cmocka_unit_test(affine_decodes_as_mlx),
        cmocka_unit_test(table_of_types),        cmocka_unit_test(nonfinite_is_found),
        cmocka_unit_test(halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
