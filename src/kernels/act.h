/*
 * Layout of quantized activations. Tokens are cut into tiles of `width` (an_act_width, by the number of tokens); a
 * tile is one record per 32 columns, each of width * 64 bytes:
 *   int8 codes [width][32], then f32 scale[width], f32 sum[width] (scale * sum of codes), int32 init[width]
 *   (-128 * sum of codes), and of the two halves of 16: f32 sum16[2][width], int32 init16[2][width] (-32 * sum).
 * All offsets inside a record are constants for the tile kernels, one cache line a token.
 */
#ifndef AN_KERNELS_ACT_H
#define AN_KERNELS_ACT_H

#include "kernels/table.h"

enum { AN_RECORD_BYTES = 64 }; /* per token and 32 columns */

/* Up to so many tokens a step is bound by reading the weights: tiles of 1, 2, 4 or 8 tokens; above, tiles of 12. */
enum { AN_SMALL_TOKENS = 16 };

static inline int an_act_width(int n_tok)
{
    if (n_tok <= 2) return n_tok;
    if (n_tok <= 4) return 4;
    return n_tok <= AN_SMALL_TOKENS ? 8 : AN_TILE_TOKENS;
}

#define AN_REC_CODES(width, tok) ((tok)*32)
#define AN_REC_SCALE(width, tok) ((width)*32 + (tok)*4)
#define AN_REC_SUM(width, tok) ((width)*36 + (tok)*4)
#define AN_REC_INIT(width, tok) ((width)*40 + (tok)*4)
#define AN_REC_SUM16(width, tok, half) ((width) * (44 + 4 * (half)) + (tok)*4)
#define AN_REC_INIT16(width, tok, half) ((width) * (52 + 4 * (half)) + (tok)*4)

#endif
