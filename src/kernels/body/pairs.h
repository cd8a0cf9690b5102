/* Pairs of int16 in dwords: the scales and minima of superblocks (table.h). Included after a lanes header. */
#ifndef AN_BODY_PAIRS_H
#define AN_BODY_PAIRS_H

#include "base/bytes.h"

/* Two numbers of 16 bits, with signs, in a dword of each row; the same of bytes 0 and 1, or 2 and 3, of a dword, without. */
LANE_FN vi pair_of(vi first, vi second)
{
    return vi_or(vi_shl(first, 16), vi_and(second, vi_set1(0xFFFF)));
}
LANE_FN vi pair_of_bytes(vi v, const bool upper)
{
    if (upper) return vi_or(vi_and(v, vi_set1(0xFF0000)), vi_shr(v, 24));
    return vi_or(vi_shl(vi_and(v, vi_set1(0xFF)), 16), vi_and(vi_shr(v, 8), vi_set1(0xFF)));
}
LANE_FN vi pair_first(vi pair)
{
    return vi_sra(pair, 16);
}
LANE_FN vi pair_second(vi pair)
{
    return vi_sra(vi_shl(pair, 16), 16);
}

/* acc + both products of two pairs; one of them may be the same for all rows. */
#ifdef AN_LANES_WORDS
enum { PAIR_DOTS = 1 };
LANE_FN vi pair_dot(vi acc, vi a, vi b) { return vi_dot_words(acc, a, b); }
LANE_FN vi pair_dot1(vi acc, vi a, const uint8_t *pair) { return vi_dot_words1(acc, a, pair); }
#else
enum { PAIR_DOTS = 0 }; /* of no use for speed */
LANE_FN vi pair_dot(vi acc, vi a, vi b)
{
    acc = vi_add(acc, vi_mul(pair_first(a), pair_first(b)));
    return vi_add(acc, vi_mul(pair_second(a), pair_second(b)));
}
LANE_FN vi pair_dot1(vi acc, vi a, const uint8_t *pair) { return pair_dot(acc, a, vi_set1((int32_t)an_load_u32(pair))); }
#endif

#endif
