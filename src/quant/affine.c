/* MLX's affine groups: codes out of a bit stream (formats.md 3.4). */
#include "quant/dequant.h"

#include <string.h>

/* Eight codes lie in `bits` whole bytes, whatever the width. */
void an_affine_codes(const uint8_t *row, int bits, int64_t first, int64_t n, uint8_t *codes)
{
    const uint8_t *src = row + first / 8 * bits;
    uint64_t mask = (1u << bits) - 1;
    for (int64_t i = 0; i < n; i += 8, src += bits) {
        uint64_t word = 0;
        memcpy(&word, src, (size_t)bits);
        for (int j = 0; j < 8; j++) codes[i + j] = (uint8_t)(word >> (j * bits) & mask);
    }
}
