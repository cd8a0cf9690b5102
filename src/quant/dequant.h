/* Pieces of the block layouts (formats.md 2.2) that the decoders here and the faster kernels share. */
#ifndef AN_QUANT_DEQUANT_H
#define AN_QUANT_DEQUANT_H

#include "base/bytes.h"
#include "quant/dtype.h"
#include "quant/half.h"

#include <stdint.h>

/* The values of the 16 codes of IQ4_NL and IQ4_XS. */
extern const int8_t an_iq4_values[16];

/* Twice the values of the 16 codes of E2M1: integers. */
extern const int8_t an_e2m1_twice[16];

/* Six-bit scale and minimum of group j (0..7) from the 12 packed bytes of Q4_K and Q5_K. */
static inline void an_k4_scale_min(const uint8_t *s, int j, int *scale, int *min)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
        *min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
    }
}

/* Signed scale (-32..31) of group j (0..15) from the 12 packed bytes of Q3_K. */
static inline int an_q3k_scale(const uint8_t *s, int j)
{
    int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
    int high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
    return (low | high << 4) - 32;
}

/* Signed scale (-32..31) of the 32-group b (0..7) of an IQ4_XS block. */
static inline int an_iq4xs_scale(const uint8_t *block, int b)
{
    int low = block[4 + b / 2] >> (4 * (b & 1)) & 15;
    int high = (block[2] | block[3] << 8) >> (2 * b) & 3;
    return (low | high << 4) - 32;
}

/* Number i of an array of F16, BF16 or F32 at any alignment. */
static inline float an_float_load(an_dtype type, const void *p, int64_t i)
{
    if (type == AN_DTYPE_F16) return an_f32_from_f16(an_load_u16((const uint8_t *)p + 2 * i));
    if (type == AN_DTYPE_BF16) return an_f32_from_bf16(an_load_u16((const uint8_t *)p + 2 * i));
    return an_load_f32((const uint8_t *)p + 4 * i);
}

/* E4M3: no infinities, NaN in all bits but the sign; 448 at most. */
static inline float an_f32_from_e4m3(uint8_t b)
{
    uint32_t sign = (uint32_t)(b & 0x80) << 24;
    if ((b & 0x7F) == 0x7F) return an_f32_from_bits(sign | 0x7FC00000u);
    return an_f32_from_bits(sign | an_f32_bits(an_f32_from_f16((uint16_t)((b & 0x7F) << 7)) * 256.0f));
}

/* E2M1, the low four bits. */
static inline float an_f32_from_e2m1(uint8_t code)
{
    static const float values[] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                   -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    return values[code & 15];
}

/* E8M0: a power of two, from 2^-127; 255 is NaN. */
static inline float an_f32_from_e8m0(uint8_t b)
{
    if (b == 0xFF) return an_f32_from_bits(0x7FC00000u);
    return an_f32_from_bits(b ? (uint32_t)b << 23 : 0x00400000u);
}

/*
 * MLX affine codes (formats.md 3.4): n codes of a row's bit stream from element `first` on; first and n are
 * multiples of 8. Reads exactly the bytes that hold them.
 */
void an_affine_codes(const uint8_t *row, int bits, int64_t first, int64_t n, uint8_t *codes);

#endif
