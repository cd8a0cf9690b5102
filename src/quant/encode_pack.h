/*
 * What follows the search for scales in every encoder: scales and codes to the bytes of a block (formats.md 2.2). The encoders
 * here and those of the kernels share it; a codes array has one code a byte, in the order of the elements.
 */
#ifndef AN_QUANT_ENCODE_PACK_H
#define AN_QUANT_ENCODE_PACK_H

#include "quant/dequant.h"
#include "quant/encode_internal.h"

static inline float an_get_f16(const uint8_t *p)
{
    return an_f32_from_f16(an_load_u16(p));
}

/* Sixteen bytes of nibbles: elements j and j + 16 share one. */
static inline void an_pack_nibbles(const uint8_t *codes, uint8_t *out)
{
    for (int j = 0; j < 16; j++) out[j] = (uint8_t)(codes[j] | codes[j + 16] << 4);
}

/* Nibbles as above, and the fifth bits of all 32 codes in a word. */
static inline void an_pack_five_bits(const uint8_t *codes, uint8_t *high, uint8_t *nibbles)
{
    uint32_t fifth = 0;
    for (int j = 0; j < 32; j++) fifth |= (uint32_t)(codes[j] >> 4 & 1) << j;
    for (int j = 0; j < 16; j++) nibbles[j] = (uint8_t)((codes[j] & 15) | codes[j + 16] << 4);
    memcpy(high, &fifth, 4);
}

/* The scale and minimum of each group as the block will mean them are returned in d and m. */
static inline void an_pack_q2_k_scales(const float scale[16], const float min[16], uint8_t *block, float d[16], float m[16])
{
    float max_scale = 0, max_min = 0;
    for (int j = 0; j < 16; j++) {
        if (scale[j] > max_scale) max_scale = scale[j];
        if (min[j] > max_min) max_min = min[j];
    }
    float by_scale = max_scale > 0 ? 15.0f / max_scale : 0, by_min = max_min > 0 ? 15.0f / max_min : 0;
    an_put_f16(block + 80, max_scale > 0 ? max_scale / 15.0f : 0);
    an_put_f16(block + 82, max_min > 0 ? max_min / 15.0f : 0);
    float unit = an_get_f16(block + 80), min_unit = an_get_f16(block + 82);
    for (int j = 0; j < 16; j++) {
        block[j] = (uint8_t)((unsigned)an_nearest(by_scale * scale[j]) | (unsigned)an_nearest(by_min * min[j]) << 4);
        d[j] = unit * (float)(block[j] & 15);
        m[j] = min_unit * (float)(block[j] >> 4);
    }
}

static inline void an_pack_q2_k_codes(const uint8_t codes[AN_SUPER], uint8_t *block)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * h + l;
            block[16 + 32 * h + l] = (uint8_t)(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
        }
}

/* Scales and minima of eight groups, six bits each, in twelve bytes; what a larger code has too much falls on its neighbours. */
static inline void an_pack_k4_scale_codes(const uint8_t scale[8], const uint8_t min[8], uint8_t *packed)
{
    for (int j = 0; j < 4; j++) {
        packed[j] = scale[j];
        packed[j + 4] = min[j];
    }
    for (int j = 4; j < 8; j++) {
        packed[j + 4] = (uint8_t)((scale[j] & 15) | (min[j] & 15) << 4);
        packed[j - 4] |= (uint8_t)(scale[j] >> 4 << 6);
        packed[j] |= (uint8_t)(min[j] >> 4 << 6);
    }
}

/* What Q4_K and Q5_K share: d, dmin and the packed scales and minima of eight groups. */
static inline void an_pack_k4_scales(const float scale[8], const float min[8], uint8_t *block, float d[8], float m[8])
{
    float max_scale = 0, max_min = 0;
    uint8_t *packed = block + 4, scale_codes[8], min_codes[8];
    for (int j = 0; j < 8; j++) {
        if (scale[j] > max_scale) max_scale = scale[j];
        if (min[j] > max_min) max_min = min[j];
    }
    float by_scale = max_scale > 0 ? 63.0f / max_scale : 0, by_min = max_min > 0 ? 63.0f / max_min : 0;
    for (int j = 0; j < 8; j++) {
        int ls = (uint8_t)an_nearest(by_scale * scale[j]), lm = (uint8_t)an_nearest(by_min * min[j]);
        scale_codes[j] = (uint8_t)(ls > 63 ? 63 : ls);
        min_codes[j] = (uint8_t)(lm > 63 ? 63 : lm);
    }
    an_pack_k4_scale_codes(scale_codes, min_codes, packed);
    an_put_f16(block, max_scale / 63.0f);
    an_put_f16(block + 2, max_min / 63.0f);
    float unit = an_get_f16(block), min_unit = an_get_f16(block + 2);
    for (int j = 0; j < 8; j++) {
        int ls, lm;
        an_k4_scale_min(packed, j, &ls, &lm);
        d[j] = unit * (float)ls;
        m[j] = min_unit * (float)lm;
    }
}

static inline void an_pack_q4_k_codes(const uint8_t codes[AN_SUPER], uint8_t *block)
{
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++)
            block[16 + 32 * g + l] = (uint8_t)(codes[64 * g + l] | codes[64 * g + 32 + l] << 4);
}

static inline void an_pack_q5_k_codes(const uint8_t codes[AN_SUPER], uint8_t *block)
{
    for (int g = 0; g < 4; g++)
        for (int l = 0; l < 32; l++)
            block[48 + 32 * g + l] = (uint8_t)((codes[64 * g + l] & 15) | (codes[64 * g + 32 + l] & 15) << 4);
    for (int l = 0; l < 32; l++) {
        unsigned high = 0;
        for (int g = 0; g < 8; g++) high |= (unsigned)(codes[32 * g + l] >> 4) << g;
        block[16 + l] = (uint8_t)high;
    }
}

/* Scales of sixteen groups, six bits each, in twelve bytes. */
static inline void an_pack_q3_k_scale_codes(const uint8_t codes[16], uint8_t *packed)
{
    memset(packed, 0, 12);
    for (int j = 0; j < 16; j++) {
        packed[j % 8] |= (uint8_t)((codes[j] & 15) << (j < 8 ? 0 : 4));
        packed[8 + j % 4] |= (uint8_t)((codes[j] >> 4) << (2 * (j / 4)));
    }
}

static inline void an_pack_q3_k_scales(const float scale[16], uint8_t *block, float d[16])
{
    uint8_t *packed = block + 96, codes[16] = {0};
    float max = an_largest(scale, 16), inverse = max != 0 ? -32.0f / max : 0;
    for (int j = 0; max != 0 && j < 16; j++)
        codes[j] = (uint8_t)(an_clamp_int(an_nearest(inverse * scale[j]), -32, 31) + 32);
    an_pack_q3_k_scale_codes(codes, packed);
    an_put_f16(block + 108, max != 0 ? 1 / inverse : 0);
    float unit = an_get_f16(block + 108);
    for (int j = 0; j < 16; j++) d[j] = unit * (float)an_q3k_scale(packed, j);
}

/* Codes are 0..7: the third bits in front, the others behind. */
static inline void an_pack_q3_k_codes(const uint8_t codes[AN_SUPER], uint8_t *block)
{
    for (int l = 0; l < 32; l++) {
        unsigned third = 0;
        for (int g = 0; g < 8; g++) third |= (unsigned)(codes[32 * g + l] >> 2) << g;
        block[l] = (uint8_t)third;
    }
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * h + l;
            block[32 + 32 * h + l] =
                (uint8_t)((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
        }
}

/* False when all scales are next to nothing: then the block is all zero bytes, and there are no codes to pack. */
static inline bool an_pack_q6_k_scales(const float scale[16], uint8_t *block, float d[16])
{
    float max = an_largest(scale, 16);
    memset(block, 0, 210);
    if (fabsf(max) < AN_NEXT_TO_NOTHING) return false;
    float inverse = -128.0f / max;
    an_put_f16(block + 208, 1 / inverse);
    float unit = an_get_f16(block + 208);
    for (int j = 0; j < 16; j++) {
        int l = an_nearest(inverse * scale[j]);
        int8_t s = (int8_t)(l < 127 ? l : 127);
        block[192 + j] = (uint8_t)s;
        d[j] = unit * (float)s;
    }
    return true;
}

static inline void an_pack_q6_k_codes(const uint8_t codes[AN_SUPER], uint8_t *block)
{
    for (int h = 0; h < 2; h++)
        for (int l = 0; l < 32; l++) {
            const uint8_t *c = codes + 128 * h + l;
            block[64 * h + l] = (uint8_t)((c[0] & 15) | (c[64] & 15) << 4);
            block[64 * h + 32 + l] = (uint8_t)((c[32] & 15) | (c[96] & 15) << 4);
            block[128 + 32 * h + l] = (uint8_t)(c[0] >> 4 | c[32] >> 4 << 2 | c[64] >> 4 << 4 | c[96] >> 4 << 6);
        }
}

static inline void an_pack_iq4_xs_scales(const float scale[8], uint8_t *block, float d[8])
{
    float unit = -an_largest(scale, 8) / 32, inverse = unit != 0 ? 1 / unit : 0;
    uint16_t high = 0;
    memset(block + 4, 0, 4);
    for (int b = 0; b < 8; b++) {
        int l = an_clamp_int(an_nearest(inverse * scale[b]), -32, 31);
        d[b] = unit * (float)l;
        l += 32;
        block[4 + b / 2] |= (uint8_t)((l & 15) << (4 * (b % 2)));
        high |= (uint16_t)((l >> 4) << (2 * b));
    }
    an_put_f16(block, unit);
    memcpy(block + 2, &high, 2);
}

#endif
