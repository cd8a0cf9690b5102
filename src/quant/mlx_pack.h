/* Codes to MLX's bit stream (formats.md 3.4), shared by the encoder and the repacking. Private to this module. */
#ifndef AN_QUANT_MLX_PACK_H
#define AN_QUANT_MLX_PACK_H

#include <stdint.h>
#include <string.h>

/* Eight codes, a byte each, side by side in `bits` bits each. */
static inline uint64_t an_mlx_squeeze(uint64_t x, int bits)
{
    x = (x & 0x00FF00FF00FF00FF) | (x & 0xFF00FF00FF00FF00) >> (8 - bits);
    x = (x & 0x0000FFFF0000FFFF) | (x & 0xFFFF0000FFFF0000) >> (16 - 2 * bits);
    return (x & 0x00000000FFFFFFFF) | (x & 0xFFFFFFFF00000000) >> (32 - 4 * bits);
}

/* n codes, a multiple of 32 and at most 128, to n * bits / 8 bytes. */
static inline void an_mlx_pack(const uint8_t *codes, int n, int bits, uint8_t *out)
{
    uint64_t words[16];
    uint32_t narrow[16];
    if (bits == 8) {
        memcpy(out, codes, (size_t)n);
        return;
    }
    memcpy(words, codes, (size_t)n);
    for (int i = 0; i < n / 8; i++) words[i] = an_mlx_squeeze(words[i], bits);
    if (bits == 4) {
        for (int i = 0; i < n / 8; i++) narrow[i] = (uint32_t)words[i];
        memcpy(out, narrow, (size_t)n / 2);
        return;
    }
    for (int i = 0; i < n / 8; i++, out += bits) switch (bits) {
        case 2: memcpy(out, &words[i], 2); break;
        case 3: memcpy(out, &words[i], 3); break;
        case 5: memcpy(out, &words[i], 5); break;
        default: memcpy(out, &words[i], 6); break;
        }
}

#endif
