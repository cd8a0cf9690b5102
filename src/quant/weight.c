/* One weight matrix, whatever its container: size, rows as f32, search for values that are not finite. */
#include "base/bytes.h"
#include "base/error.h"
#include "quant/dequant.h"
#include "quant/dtype.h"

uint64_t an_weight_bytes(const an_weight *w)
{
    uint64_t bytes = (uint64_t)w->n_row * w->row_bytes;
    if (an_dtype_is_mlx(w->dtype)) {
        uint64_t n_group = (uint64_t)(w->n_col / w->affine.group) * (uint64_t)w->n_row;
        uint64_t scales = n_group * (uint64_t)an_dtype_get(w->affine.scale_dtype)->block_bytes;
        bytes += w->dtype == AN_DTYPE_AFFINE ? 2 * scales : scales;
    }
    return bytes;
}

static void affine_row(const an_weight *w, int64_t row, float *out)
{
    const an_affine *a = &w->affine;
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    int64_t n_group = w->n_col / a->group;
    for (int64_t g = 0; g < n_group; g++) {
        float scale = an_float_load(a->scale_dtype, a->scales, row * n_group + g);
        float bias = an_float_load(a->scale_dtype, a->biases, row * n_group + g);
        uint8_t code[128];
        an_affine_codes(codes, a->bits, g * a->group, a->group, code);
        for (int j = 0; j < a->group; j++) out[g * a->group + j] = (float)code[j] * scale + bias;
    }
}

/* Group g of a row of an FP mode. A product is exact, or beyond the range of f32. */
static void fp_group(const an_weight *w, int64_t row, int64_t g, float *out)
{
    const an_affine *a = &w->affine;
    const uint8_t *codes = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes + g * a->group * a->bits / 8;
    uint8_t byte = ((const uint8_t *)a->scales)[row * (w->n_col / a->group) + g];
    float scale = w->dtype == AN_DTYPE_NVFP4 ? an_f32_from_e4m3(byte) : an_f32_from_e8m0(byte);
    if (a->bits == 8) {
        for (int j = 0; j < a->group; j++) out[j] = an_f32_from_e4m3(codes[j]) * scale;
        return;
    }
    for (int j = 0; j < a->group; j += 2) {
        out[j] = an_f32_from_e2m1(codes[j / 2]) * scale;
        out[j + 1] = an_f32_from_e2m1(codes[j / 2] >> 4) * scale;
    }
}

void an_weight_row_f32(const an_weight *w, int64_t row, float *out)
{
    if (w->dtype == AN_DTYPE_AFFINE) {
        affine_row(w, row, out);
        return;
    }
    if (an_dtype_is_fp_mode(w->dtype)) {
        for (int64_t g = 0; g < w->n_col / w->affine.group; g++) fp_group(w, row, g, out + g * w->affine.group);
        return;
    }
    an_dequant(w->dtype, (const uint8_t *)w->data + (uint64_t)row * w->row_bytes, out, w->n_col);
}

static bool f16_finite(const uint8_t *p)
{
    return (an_load_u16(p) & 0x7C00u) != 0x7C00u;
}

/* n numbers of a plain float type, all finite. */
static bool floats_finite(an_dtype type, const uint8_t *p, int64_t n)
{
    uint32_t bad = 0;
    switch (type) {
    case AN_DTYPE_F16:
        for (int64_t i = 0; i < n; i++) bad |= (an_load_u16(p + 2 * i) & 0x7C00u) == 0x7C00u;
        break;
    case AN_DTYPE_BF16:
        for (int64_t i = 0; i < n; i++) bad |= (an_load_u16(p + 2 * i) & 0x7F80u) == 0x7F80u;
        break;
    default:
        AN_ASSERT(type == AN_DTYPE_F32);
        for (int64_t i = 0; i < n; i++)
            bad |= (an_load_u32(p + 4 * i) & 0x7F800000u) == 0x7F800000u;
    }
    return !bad;
}

/* Offsets of a block's f16 numbers; -1 where there is no second one. */
static void f16_fields(an_dtype type, int *first, int *second)
{
    *first = 0;
    *second = -1;
    switch (type) {
    case AN_DTYPE_Q4_1:
    case AN_DTYPE_Q5_1:
    case AN_DTYPE_Q4_K:
    case AN_DTYPE_Q5_K: *second = 2; break;
    case AN_DTYPE_Q2_K:
        *first = 80;
        *second = 82;
        break;
    case AN_DTYPE_Q3_K: *first = 108; break;
    case AN_DTYPE_Q6_K: *first = 208; break;
    default: break;
    }
}

/* Values, because a scale that is finite can still lead out of the range. */
static bool fp_row_finite(const an_weight *w, int64_t row)
{
    int64_t n_group = w->n_col / w->affine.group;
    const uint8_t *scales = (const uint8_t *)w->affine.scales + row * n_group;
    for (int64_t g = 0; g < n_group; g++) {
        float values[32], sum = 0; /* 0 * x is NaN for what is not finite */
        if (w->dtype == AN_DTYPE_MXFP4 && scales[g] < 253) continue; /* 6 * 2^125 is in the range */
        fp_group(w, row, g, values);
        for (int j = 0; j < w->affine.group; j++) sum += 0 * values[j];
        if (!(sum == 0)) return false;
    }
    return true;
}

/* Of n values in blocks; see fp_row_finite. */
static bool mxfp4_blocks_finite(const uint8_t *p, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, p += 17) {
        float values[32], sum = 0;
        if (p[0] < 253) continue;
        an_dequant(AN_DTYPE_GGML_MXFP4, p, values, 32);
        for (int j = 0; j < 32; j++) sum += 0 * values[j];
        if (!(sum == 0)) return false;
    }
    return true;
}

static bool row_finite(const an_weight *w, int64_t row)
{
    const uint8_t *p = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    const an_dtype_info *info = an_dtype_get(w->dtype);
    if (w->dtype == AN_DTYPE_AFFINE) {
        int64_t n_group = w->n_col / w->affine.group;
        int size = an_dtype_get(w->affine.scale_dtype)->block_bytes;
        const uint8_t *scales = w->affine.scales, *biases = w->affine.biases;
        return floats_finite(w->affine.scale_dtype, scales + row * n_group * size, n_group) &&
               floats_finite(w->affine.scale_dtype, biases + row * n_group * size, n_group);
    }
    if (an_dtype_is_fp_mode(w->dtype)) return fp_row_finite(w, row);
    if (w->dtype == AN_DTYPE_GGML_MXFP4) return mxfp4_blocks_finite(p, w->n_col);
    if (info->block_elems == 1) return floats_finite(w->dtype, p, w->n_col);
    int first, second;
    f16_fields(w->dtype, &first, &second);
    for (int64_t b = 0; b < w->n_col / info->block_elems; b++, p += info->block_bytes)
        if (!f16_finite(p + first) || (second >= 0 && !f16_finite(p + second))) return false;
    return true;
}

int64_t an_weight_find_nonfinite(const an_weight *w)
{
    for (int64_t row = 0; row < w->n_row; row++)
        if (!row_finite(w, row)) return row;
    return -1;
}
