/* ggml's blocks as MLX's groups: codes in natural order, two-level scales multiplied out. MXFP4 keeps its scale bytes. */
#include "quant/mlx_repack.h"

#include "base/bytes.h"
#include "quant/dequant.h"
#include "quant/half.h"
#include "quant/mlx_pack.h"

#include <string.h>

bool an_mlx_repack_form(an_dtype type, an_mlx_form *form, an_dtype *scale_dtype)
{
    *form = (an_mlx_form){AN_MLX_AFFINE, 4, 32};
    *scale_dtype = type == AN_DTYPE_Q4_K || type == AN_DTYPE_Q5_K ? AN_DTYPE_F32 : AN_DTYPE_F16;
    switch (type) {
    case AN_DTYPE_Q4_0:
    case AN_DTYPE_Q4_1:
    case AN_DTYPE_Q4_K: return true;
    case AN_DTYPE_Q5_0:
    case AN_DTYPE_Q5_1:
    case AN_DTYPE_Q5_K: form->bits = 5; return true;
    case AN_DTYPE_Q8_0: form->bits = 8; return true;
    case AN_DTYPE_GGML_MXFP4:
        form->mode = AN_MLX_MXFP4;
        *scale_dtype = AN_DTYPE_BF16;
        return true;
    default: return false;
    }
}

static bool is_finite16(uint16_t h)
{
    return (h & 0x7C00) != 0x7C00;
}

/* 16 bytes of nibbles, whose elements are j and j + 16, as 32 codes. */
static void spread(const uint8_t *qs, uint8_t *codes)
{
    uint8_t in[16];
    memcpy(in, qs, 16);
    for (int j = 0; j < 16; j++) codes[j] = in[j] & 15;
    for (int j = 0; j < 16; j++) codes[j + 16] = in[j] >> 4;
}

/* A block of 32; false when its numbers cannot be stored. */
static bool repack32(an_dtype type, const uint8_t *p, uint8_t *codes, uint8_t *scale, uint8_t *bias)
{
    const bool min = type == AN_DTYPE_Q4_1 || type == AN_DTYPE_Q5_1, five = type == AN_DTYPE_Q5_0 || type == AN_DTYPE_Q5_1;
    const uint8_t *rest = p + (min ? 4 : 2);
    uint16_t d = an_load_u16(p), b;
    uint8_t c[32];
    if (min) {
        b = an_load_u16(p + 2);
    } else {
        float offset = type == AN_DTYPE_Q8_0 ? -128.0f : five ? -16.0f : -8.0f;
        b = an_f16_from_f32(offset * an_f32_from_f16(d));
    }
    memcpy(scale, &d, 2);
    memcpy(bias, &b, 2);
    if (type == AN_DTYPE_Q8_0) {
        memcpy(c, rest, 32);
        for (int i = 0; i < 32; i++) codes[i] = c[i] ^ 0x80;
    } else if (five) {
        uint32_t high = an_load_u32(rest);
        spread(rest + 4, c);
        for (int j = 0; j < 32; j++) c[j] |= (uint8_t)((high >> j & 1) << 4);
        an_mlx_pack(c, 32, 5, codes);
    } else {
        spread(rest, c);
        an_mlx_pack(c, 32, 4, codes);
    }
    return is_finite16(d) && is_finite16(b);
}

/* A block of Q4_K or Q5_K: eight groups. */
static bool repack_k(bool five, const uint8_t *p, uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    uint16_t half_d = an_load_u16(p), half_min = an_load_u16(p + 2);
    float d = an_f32_from_f16(half_d), dmin = an_f32_from_f16(half_min);
    const uint8_t *high = p + 16, *qs = five ? p + 48 : p + 16;
    for (int g = 0; g < 8; g++, codes += five ? 20 : 16, scales += 4, biases += 4) {
        int scale, min;
        uint8_t c[32], in[32];
        an_k4_scale_min(p + 4, g, &scale, &min);
        float s = d * (float)scale, b = -(dmin * (float)min);
        memcpy(scales, &s, 4);
        memcpy(biases, &b, 4);
        memcpy(in, qs + 32 * (g / 2), 32);
        for (int j = 0; j < 32; j++) c[j] = g & 1 ? in[j] >> 4 : in[j] & 15;
        if (five)
            for (int j = 0; j < 32; j++) c[j] |= (uint8_t)((high[j] >> g & 1) << 4);
        an_mlx_pack(c, 32, five ? 5 : 4, codes);
    }
    return is_finite16(half_d) && is_finite16(half_min);
}

static int64_t repack_mxfp4(const uint8_t *p, int64_t n, uint8_t *codes, uint8_t *scales)
{
    for (int64_t at = 0; at < n; at += 32, p += 17, codes += 16) {
        const an_weight block = {.dtype = AN_DTYPE_GGML_MXFP4, .n_row = 1, .n_col = 32, .data = p, .row_bytes = 17};
        uint8_t c[32];
        if (an_weight_find_nonfinite(&block) >= 0) return at;
        *scales++ = p[0];
        spread(p + 1, c);
        an_mlx_pack(c, 32, 4, codes);
    }
    return -1;
}

int64_t an_mlx_repack(an_dtype type, const void *blocks, int64_t n, uint8_t *codes, uint8_t *scales, uint8_t *biases)
{
    const an_dtype_info *info = an_dtype_get(type);
    const bool k = info->block_elems == 256;
    const int bits = type == AN_DTYPE_Q8_0 ? 8 : type == AN_DTYPE_Q5_0 || type == AN_DTYPE_Q5_1 || type == AN_DTYPE_Q5_K ? 5 : 4;
    const int size = k ? 32 : 2; /* bytes of a block's scales */
    const uint8_t *p = blocks;
    if (type == AN_DTYPE_GGML_MXFP4) return repack_mxfp4(p, n, codes, scales);
    for (int64_t at = 0; at < n; at += info->block_elems, p += info->block_bytes) {
        bool ok = k ? repack_k(type == AN_DTYPE_Q5_K, p, codes, scales, biases) : repack32(type, p, codes, scales, biases);
        if (!ok) return at;
        codes += info->block_elems * bits / 8;
        scales += size;
        biases += size;
    }
    return -1;
}
