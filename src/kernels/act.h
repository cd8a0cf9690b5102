/*
 * Layout of quantized activations. Tokens are cut into tiles of `width` (an_act_width, by the number of tokens); a
 * tile is one record per 32 columns, each of width * 64 bytes. All offsets inside a record are constants for the tile
 * kernels, one cache line a token. There are two kinds:
 *
 *  - a scale per 32 columns: int8 codes [width][32], then f32 scale[width], f32 sum[width] (scale * sum of codes), int32
 *    init[width] (-128 * sum of codes), and of the two halves of 16, behind 8 bytes a token: int32 init16[2][width] (-32 * sum).
 *  - a scale per AN_SUPER columns, for weights whose scales are whole numbers there (an_codes_super): codes, the scale of the
 *    superblock in every record, and sums of codes as pairs of int16, the first one in the high half, that meet pairs of
 *    minima: pair[width] of a record with an even number and the next one's, in the place of sum; init; pair16[width] of the
 *    two halves; upper16[width], which is init16 of the second half plus 2^15; init16. Levels that add products in 16 bits
 *    (super_words) have pairs in init16, of columns 2 and 3 of every four in the high half, and of 0 and 1.
 *    No 16 codes add up to more than AN_SUPER_SUM16 without their signs: so 6-bit codes without their offset give sums of 16
 *    that fit 16 bits, and 4-bit codes sums of 32. For 5-bit codes (`tight`) no 32 add up to more than AN_SUPER_SUM32 either.
 *    Activations that are all of about one size get a larger scale for it: on real text that is one superblock in 10,000 for
 *    the first bound; for the second one in 12 at the inputs of attention and feed-forward layer, in 120 before w_down.
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
#define AN_REC_INIT16(width, tok, half) ((width) * (52 + 4 * (half)) + (tok)*4)
#define AN_REC_PAIR(width, tok) AN_REC_SUM(width, tok)
#define AN_REC_PAIR16(width, tok) ((width)*44 + (tok)*4)
#define AN_REC_UPPER16(width, tok) ((width)*48 + (tok)*4)

enum { AN_SUPER_SUM16 = 1023, AN_SUPER_SUM32 = 1057 };

#endif
