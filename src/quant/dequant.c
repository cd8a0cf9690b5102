/*
 * Scalar decoders of ggml's blocks, one function a type, layouts from formats.md 2.2. Every product of a code and
 * its scales is exact in f32 (at most 24 bits), so the only rounding is the addition of a minimum.
 */
#include "quant/dequant.h"

#include "base/bytes.h"
#include "base/error.h"
#include "quant/dtype.h"
#include "quant/half.h"

const int8_t an_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                  1,    13,   25,  38,  53,  69,  89,  113};
const int8_t an_e2m1_twice[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float load_f16(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

static void decode_f32(const uint8_t *src, float *dst, int64_t n)
{
    memcpy(dst, src, (size_t)n * 4);
}

static void decode_f16(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dst[i] = load_f16(src + 2 * i);
}

static void decode_bf16(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i++) dst[i] = an_f32_from_bf16(an_load_u16(src + 2 * i));
}

/* Element j of a 32-block with nibbles in the order j, j + 16. */
static int nibble(const uint8_t *qs, int j)
{
    return j < 16 ? qs[j] & 15 : qs[j - 16] >> 4;
}

static void decode_q4_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 18) {
        float d = load_f16(src);
        for (int j = 0; j < 32; j++) dst[i + j] = (float)(nibble(src + 2, j) - 8) * d;
    }
}

static void decode_q4_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 20) {
        float d = load_f16(src), m = load_f16(src + 2);
        for (int j = 0; j < 32; j++) dst[i + j] = (float)nibble(src + 4, j) * d + m;
    }
}

static void decode_q5_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 22) {
        float d = load_f16(src);
        uint32_t high = an_load_u32(src + 2);
        for (int j = 0; j < 32; j++)
            dst[i + j] = (float)((nibble(src + 6, j) | (int)(high >> j & 1) << 4) - 16) * d;
    }
}

static void decode_q5_1(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 24) {
        float d = load_f16(src), m = load_f16(src + 2);
        uint32_t high = an_load_u32(src + 4);
        for (int j = 0; j < 32; j++)
            dst[i + j] = (float)(nibble(src + 8, j) | (int)(high >> j & 1) << 4) * d + m;
    }
}

static void decode_q8_0(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 34) {
        float d = load_f16(src);
        for (int j = 0; j < 32; j++) dst[i + j] = (float)(int8_t)src[2 + j] * d;
    }
}

static void decode_q2_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 84) {
        float d = load_f16(src + 80), dmin = load_f16(src + 82);
        const uint8_t *qs = src + 16;
        for (int e = 0; e < 256; e++) {
            int half = e / 128, r = e % 128, s = src[e / 16];
            int q = qs[32 * half + r % 32] >> (2 * (r / 32)) & 3;
            dst[i + e] = d * (float)(s & 15) * (float)q - dmin * (float)(s >> 4);
        }
    }
}

static void decode_q3_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 110) {
        float d = load_f16(src + 108);
        const uint8_t *qs = src + 32;
        for (int e = 0; e < 256; e++) {
            int half = e / 128, r = e % 128;
            int q = qs[32 * half + r % 32] >> (2 * (r / 32)) & 3;
            if (!(src[e % 32] >> (e / 32) & 1)) q -= 4;
            dst[i + e] = d * (float)an_q3k_scale(src + 96, e / 16) * (float)q;
        }
    }
}

static void decode_q4_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 144) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        for (int g = 0; g < 8; g++) {
            int scale, min;
            an_k4_scale_min(src + 4, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            const uint8_t *qs = src + 16 + 32 * (g / 2);
            for (int j = 0; j < 32; j++)
                dst[i + 32 * g + j] = ds * (float)(qs[j] >> (4 * (g & 1)) & 15) - dm;
        }
    }
}

static void decode_q5_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 176) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        for (int g = 0; g < 8; g++) {
            int scale, min;
            an_k4_scale_min(src + 4, g, &scale, &min);
            float ds = d * (float)scale, dm = dmin * (float)min;
            const uint8_t *qs = src + 48 + 32 * (g / 2), *qh = src + 16;
            for (int j = 0; j < 32; j++) {
                int q = (qs[j] >> (4 * (g & 1)) & 15) | (qh[j] >> g & 1) << 4;
                dst[i + 32 * g + j] = ds * (float)q - dm;
            }
        }
    }
}

static void decode_q6_k(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 210) {
        float d = load_f16(src + 208);
        for (int e = 0; e < 256; e++) {
            int half = e / 128, l = e % 32, g = e % 128 / 32;
            int low = src[64 * half + l + 32 * (g & 1)] >> (g < 2 ? 0 : 4) & 15;
            int high = src[128 + 32 * half + l] >> (2 * g) & 3;
            dst[i + e] = d * (float)(int8_t)src[192 + e / 16] * (float)((low | high << 4) - 32);
        }
    }
}

static void decode_iq4_nl(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 18) {
        float d = load_f16(src);
        for (int j = 0; j < 32; j++) dst[i + j] = d * (float)an_iq4_values[nibble(src + 2, j)];
    }
}

static void decode_iq4_xs(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 256, src += 136) {
        float d = load_f16(src);
        for (int g = 0; g < 8; g++) {
            float dl = d * (float)an_iq4xs_scale(src, g);
            for (int j = 0; j < 32; j++)
                dst[i + 32 * g + j] = dl * (float)an_iq4_values[nibble(src + 8 + 16 * g, j)];
        }
    }
}

/*
 * The values of MLX's form, but that zero has no sign, as in libggml; a scale byte of 255 is NaN as there, where libggml takes it
 * for a number.
 */
static void decode_mxfp4(const uint8_t *src, float *dst, int64_t n)
{
    for (int64_t i = 0; i < n; i += 32, src += 17) {
        float scale = an_f32_from_e8m0(src[0]);
        for (int j = 0; j < 32; j++) dst[i + j] = an_f32_from_e2m1((uint8_t)nibble(src + 1, j)) * scale + 0.0f;
    }
}

void an_dequant(an_dtype type, const void *src, float *dst, int64_t n)
{
    AN_ASSERT(n % an_dtype_get(type)->block_elems == 0);
    switch (type) {
    case AN_DTYPE_F32: decode_f32(src, dst, n); return;
    case AN_DTYPE_F16: decode_f16(src, dst, n); return;
    case AN_DTYPE_BF16: decode_bf16(src, dst, n); return;
    case AN_DTYPE_Q4_0: decode_q4_0(src, dst, n); return;
    case AN_DTYPE_Q4_1: decode_q4_1(src, dst, n); return;
    case AN_DTYPE_Q5_0: decode_q5_0(src, dst, n); return;
    case AN_DTYPE_Q5_1: decode_q5_1(src, dst, n); return;
    case AN_DTYPE_Q8_0: decode_q8_0(src, dst, n); return;
    case AN_DTYPE_Q2_K: decode_q2_k(src, dst, n); return;
    case AN_DTYPE_Q3_K: decode_q3_k(src, dst, n); return;
    case AN_DTYPE_Q4_K: decode_q4_k(src, dst, n); return;
    case AN_DTYPE_Q5_K: decode_q5_k(src, dst, n); return;
    case AN_DTYPE_Q6_K: decode_q6_k(src, dst, n); return;
    case AN_DTYPE_IQ4_NL: decode_iq4_nl(src, dst, n); return;
    case AN_DTYPE_IQ4_XS: decode_iq4_xs(src, dst, n); return;
    case AN_DTYPE_GGML_MXFP4: decode_mxfp4(src, dst, n); return;
    default: AN_ASSERT(!"a type that has a decoder");
    }
}
