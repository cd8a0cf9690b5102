/* f16 and bf16 to f32 and back, round to nearest even. Scalar, exact, the same on every machine. */
#ifndef AN_QUANT_HALF_H
#define AN_QUANT_HALF_H

#include <stdint.h>
#include <string.h>

static inline float an_f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

static inline uint32_t an_f32_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

static inline float an_f32_from_bf16(uint16_t h)
{
    return an_f32_from_bits((uint32_t)h << 16);
}

/* NaN stays NaN (made quiet). */
static inline uint16_t an_bf16_from_f32(float f)
{
    uint32_t x = an_f32_bits(f);
    if ((x & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)(x >> 16 | 0x40u);
    return (uint16_t)((x + 0x7FFFu + (x >> 16 & 1)) >> 16);
}

static inline float an_f32_from_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exp = h >> 10 & 0x1Fu, man = h & 0x3FFu;
    if (exp == 0x1F) return an_f32_from_bits(sign | 0x7F800000u | man << 13);
    if (exp != 0) return an_f32_from_bits(sign | (exp + 112) << 23 | man << 13);
    /* Zero and subnormals: man * 2^-24 is exact in f32. */
    float f = (float)man * 0x1p-24f;
    return an_f32_from_bits(sign | an_f32_bits(f));
}

static inline uint16_t an_f16_from_f32(float f)
{
    uint32_t x = an_f32_bits(f), sign = x >> 16 & 0x8000u, abs = x & 0x7FFFFFFFu;
    if (abs > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | (abs >> 13 & 0x3FFu));
    if (abs >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* rounds to 65536 or more */
    if (abs < 0x38800000u) {
        /* Subnormal result: adding 0.5 aligns the value so that the f32 addition rounds at 2^-24, to even. */
        float r = an_f32_from_bits(abs) + 0.5f;
        return (uint16_t)(sign | (an_f32_bits(r) - 0x3F000000u));
    }
    uint32_t odd = abs >> 13 & 1;
    return (uint16_t)(sign | ((abs + 0xFFFu + odd - 0x38000000u) >> 13));
}

#endif
