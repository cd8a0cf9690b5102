/*
 * Superblocks in panels taken apart in registers, for super.h's arithmetic; or to an unpacked panel, when n_tok is 0. Included after
 * a lanes header.
 */
#ifndef AN_BODY_SUPER_PANELS_H
#define AN_BODY_SUPER_PANELS_H

#include "kernels/body/panels.h"
#include "kernels/body/super.h"

/* Lines and codes of one group of 32 columns to an unpacked panel. */
LANE_FN void super_unpack(panel_out *o, const vi lines[8], const panel_kind p)
{
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) vi_store(o->codes + 64 * k, panel_code(lines, p, k));
    o->codes += 512;
}

#ifdef AN_LANES_SHORT
/* panel_dots() with the group's scale. */
LANE_FN void super_line_words(vi *scaled, const uint8_t *record, const vi lines[8], const panel_kind p, const int half, vi twice,
                              const panel_tokens to)
{
    const int n_dword = an_codes_group(p.kind) / 4;
    vi sum[8];
#pragma GCC unroll 8
    for (int i = 0; i < n_dword; i++) {
        const int k = panel_k(p.kind, half, i);
        vi c = panel_code(lines, p, k);
#pragma GCC unroll 8
        for (int t = 0; t < to.n_tok; t++)
            super_word(&scaled[t], &sum[t], c, (const int8_t *)record + 32 * (to.first + t) + 4 * k,
                       record + AN_REC_INIT16(to.width, to.first + t, half), twice, i, p.kind, p.bits);
    }
}
#endif

/*
 * A pair of groups from `at` on: one group of 32 columns where scales are of 16, else two. `scaled` has n_tok sums, of as many
 * tokens as o->record's tile.
 */
LANE_FN void super_lines(panel_out *o, vi *scaled, const uint8_t *at, const panel_kind p, vi pair, const int n_tok)
{
    const bool by16 = an_codes_group(p.kind) == 16;
    const int step = n_tok < AN_LANES_FUSED ? n_tok : AN_LANES_FUSED;
    vi lines[8];
#ifndef AN_LANES_SHORT
    const bool is_short = super_short(p.kind);
    vi acc[8];
#endif
#pragma GCC unroll 2
    for (int part = 0; part < 2; part++) {
        if (part == 0 || !by16) {
#pragma GCC unroll 8
            for (int i = 0; i < p.bits; i++) lines[i] = panel_line(at + 64 * part * p.bits, i);
            panel_ask(at + 64 * part * p.bits, p.bits, n_tok);
            if (n_tok == 0) super_unpack(o, lines, p);
        }
#pragma GCC unroll 4
        for (int first = 0; first < n_tok; first += step) {
            const panel_tokens to = {first, step, n_tok};
#ifdef AN_LANES_SHORT
            super_line_words(scaled + first, o->record, lines, p, by16 ? part : 0, vi_twice(pair, part), to);
#else
#pragma GCC unroll 8
            for (int t = 0; t < step; t++)
                acc[first + t] = part && is_short ? super_raise(acc[first + t], o->record, n_tok, first + t, p.kind)
                                                  : super_begin(o->record, n_tok, first + t, p.kind, part);
            /* Raised before the dots, not among them. */
            if (n_tok == 8 && part && is_short && !by16)
#pragma GCC unroll 8
                for (int t = 0; t < step; t++) acc[first + t] = vi_in_order(acc[first + t]);
            panel_dots(acc + first, o->record, lines, p, by16 ? part : 0, to);
#pragma GCC unroll 8
            for (int t = 0; t < step; t++) {
                vi *to_add = &scaled[first + t], a = acc[first + t];
                if (is_short) {
                    if (part) *to_add = super_scaled(*to_add, a, pair);
                    continue;
                }
                /* Added at once: gcc would keep the products of both groups, and the sums in memory. */
                *to_add = vi_add(*to_add, vi_mul(a, part ? pair_second(pair) : pair_first(pair)));
                if (n_tok == 8) *to_add = vi_in_order(*to_add);
            }
#endif
        }
        if (part || !by16) o->record += n_tok * AN_RECORD_BYTES;
    }
    if (n_tok) return;
    vi_store(o->scales, pair);
    o->scales += AN_PANEL_ROWS;
}

/* The end of a superblock, its record being that after the last one. */
LANE_FN void super_close(panel_out *o, const vi *scaled, vf d, vf dmin, const vi *mins, const panel_kind p, const int n_tok)
{
    const int n_pair = AN_SUPER / 2 / an_codes_group(p.kind);
    if (n_tok) {
        const super_end end = {o->record - AN_SUPER / 32 * n_tok * AN_RECORD_BYTES, mins, d, dmin};
        super_add(o->sum, scaled, &end, 0, n_tok, n_tok, p.kind);
        return;
    }
    vf_store(o->scales, d);
    o->scales += n_pair * AN_PANEL_ROWS;
#pragma GCC unroll 8
    for (int i = 0; i < n_pair && mins; i++) vi_store(o->mins + i * AN_PANEL_ROWS, mins[i]);
    if (mins) vf_store(o->mins + n_pair * AN_PANEL_ROWS, dmin);
    o->mins += 2 * n_pair * AN_PANEL_ROWS;
}

/*
 * Times that the loop over a superblock's quarters is written out: where that makes a long piece, gcc 12 asks for all of
 * its lines at once, at the beginning (Q4_K, 4 tokens, AVX2: 181 Gop/s from memory, and 258 in a loop).
 */
enum { SUPER_UNROLL = AN_LANES_TOKENS > 4 ? 4 : 1 };

/*
 * Pairs one behind the other. From `many` tokens on as a loop, which is faster than four times as much code (Zen 4, 8 tokens from
 * L2: Q4_K 73 to 80 % of the int8 peak, IQ4_XS 72 to 80 %); fewer tokens want it unrolled where lanes are many.
 */
LANE_FN void super_pairs(panel_out *o, vi *scaled, const uint8_t *at, const panel_kind p, const vi *pairs, const int many,
                         const int n_tok)
{
    const int n_pair = AN_SUPER / 2 / an_codes_group(p.kind), step = AN_SUPER / 32 * 64 * p.bits / n_pair;
    if (n_tok < many && SUPER_UNROLL > 1) {
#pragma GCC unroll 8
        for (int i = 0; i < n_pair; i++) super_lines(o, scaled, at + step * i, p, pairs[i], n_tok);
        return;
    }
#pragma GCC unroll 1
    for (int i = 0; i < n_pair; i++) super_lines(o, scaled, at + step * i, p, pairs[i], n_tok);
}

/* What every superblock begins with. */
#define SUPER_SUMS(scaled, n_tok)                                                                                      \
    vi scaled[8];                                                                                                      \
    for (int t_ = 0; t_ < (n_tok); t_++) scaled[t_] = vi_set1(0)

/* Four bits of a scale in `low` and two in `high`, used up from below. */
LANE_FN vi iq4_xs_scale(vi *low, vi *high)
{
    vi scale = vi_or(vi_and(*low, vi_set1(15)), vi_and(*high, vi_set1(0x30)));
    *low = vi_shr(*low, 4);
    *high = vi_shr(*high, 2);
    return vi_add(scale, vi_set1(-32));
}
LANE_FN void block_iq4_xs(panel_out *o, const panel_block *b, const int n_tok)
{
    uint8_t table[16];
    panel_kind p = iq4_kind(table);
    p.kind = AN_CODES_K32_I8;
    vi head = panel_line(b->own, 0), low = panel_line(b->own, 1), high = vi_shr(head, 12);
    panel_ask(b->own, 2, n_tok);
    SUPER_SUMS(scaled, n_tok);
    vi pairs[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vi first = iq4_xs_scale(&low, &high), second = iq4_xs_scale(&low, &high);
        pairs[i] = pair_of(first, second);
    }
    super_pairs(o, scaled, b->own + 128, p, pairs, 4, n_tok);
    super_close(o, scaled, vf_f16_low(head), vf_zero(), NULL, p, n_tok);
}

/* Eight scales and minima of 6 bits in three dwords behind d and dmin (formats.md 2.2). */
LANE_FN void block_k45(panel_out *o, const panel_block *b, const int bits, const int n_tok)
{
    const panel_kind p = {AN_CODES_K32, bits, NULL, 0};
    panel_ask(b->own, 4, n_tok);
    vf d = panel_f16(b->own), dmin = vf_sub(vf_zero(), panel_f16(b->own + 32));
    vi s0 = panel_line(b->own, 1), s1 = panel_line(b->own, 2), s2 = panel_line(b->own, 3);
    vi scale[2] = {vi_and(s0, SPREAD(0x3F)), vi_or(panel_nibbles(s2, false), MOVE_BITS(s0, 6, 4, 0x30))};
    const vi pairs[4] = {pair_of_bytes(scale[0], false), pair_of_bytes(scale[0], true), pair_of_bytes(scale[1], false),
                         pair_of_bytes(scale[1], true)};
    SUPER_SUMS(scaled, n_tok);
    super_pairs(o, scaled, b->own + 256, p, pairs, 8, n_tok);
    vi min[2] = {vi_and(s1, SPREAD(0x3F)), vi_or(panel_nibbles(s2, true), MOVE_BITS(s1, 6, 4, 0x30))};
    const vi mins[4] = {pair_of_bytes(min[0], false), pair_of_bytes(min[0], true), pair_of_bytes(min[1], false),
                        pair_of_bytes(min[1], true)};
    super_close(o, scaled, d, dmin, mins, p, n_tok);
}
LANE_FN void block_q4_k(panel_out *o, const panel_block *b, const int n_tok)
{
    block_k45(o, b, 4, n_tok);
}
LANE_FN void block_q5_k(panel_out *o, const panel_block *b, const int n_tok)
{
    block_k45(o, b, 5, n_tok);
}

LANE_FN void block_q6_k(panel_out *o, const panel_block *b, const int n_tok)
{
    const panel_kind p = {AN_CODES_K16_OFF, 6, NULL, 0};
    const uint8_t *at = b->own;
    SUPER_SUMS(scaled, n_tok);
    for (int i = 0; i < 4; i++, at += 64 * 13) {
        panel_ask(at, 1, n_tok);
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) {
            vi first = panel_int8(at + 32 * g), second = panel_int8(at + 32 * g + 16);
            super_lines(o, scaled, at + 64 + 384 * g, p, pair_of(first, second), n_tok);
        }
    }
    super_close(o, scaled, b->shared[0], vf_zero(), NULL, p, n_tok);
}

LANE_FN void block_q2_k(panel_out *o, const panel_block *b, const int n_tok)
{
    const panel_kind p = {AN_CODES_K16, 2, NULL, 0};
    vf d = panel_f16(b->own), dmin = vf_sub(vf_zero(), panel_f16(b->own + 32));
    const uint8_t *at = b->own + 64;
    vi mins[8];
    panel_ask(b->own, 1, n_tok);
    SUPER_SUMS(scaled, n_tok);
#pragma GCC unroll SUPER_UNROLL
    for (int i = 0; i < 4; i++, at += 64 * 5) {
        panel_ask(at, 1, n_tok);
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) {
            vi first = panel_bytes16(at + 32 * g), second = panel_bytes16(at + 32 * g + 16);
            mins[2 * i + g] = pair_of(vi_shr(first, 4), vi_shr(second, 4));
            vi pair = pair_of(vi_and(first, vi_set1(15)), vi_and(second, vi_set1(15)));
            super_lines(o, scaled, at + 64 + 128 * g, p, pair, n_tok);
        }
    }
    super_close(o, scaled, d, dmin, mins, p, n_tok);
}

/* Sixteen scales of 6 bits: low nibbles in two dwords, two bits each in the third; codes times 8, d / 8. */
LANE_FN void block_q3_k(panel_out *o, const panel_block *b, const int n_tok)
{
    const panel_kind p = {AN_CODES_K16_OFF, 3, NULL, 0};
    panel_ask(b->own, 3, n_tok);
    vi s0 = panel_line(b->own, 0), s1 = panel_line(b->own, 1), s2 = panel_line(b->own, 2), minus32 = vi_set1(-32);
    const vi scales[4] = {vi_or(panel_nibbles(s0, false), MOVE_BITS(s2, 0, 4, 0x30)),
                          vi_or(panel_nibbles(s1, false), MOVE_BITS(s2, 2, 4, 0x30)),
                          vi_or(panel_nibbles(s0, true), MOVE_BITS(s2, 4, 4, 0x30)),
                          vi_or(panel_nibbles(s1, true), MOVE_BITS(s2, 6, 4, 0x30))};
    SUPER_SUMS(scaled, n_tok);
#pragma GCC unroll SUPER_UNROLL
    for (int i = 0; i < 4; i++) {
        vi s = scales[i];
        for (int g = 0; g < 2; g++, s = vi_shr(s, 16)) {
            vi first = vi_add(vi_and(s, vi_set1(0xFF)), minus32), second = vi_add(vi_and(vi_shr(s, 8), vi_set1(0xFF)), minus32);
            super_lines(o, scaled, b->own + 192 + 192 * (2 * i + g), p, pair_of(first, second), n_tok);
        }
    }
    super_close(o, scaled, vf_mul(b->shared[0], vf_set1(0.125f)), vf_zero(), NULL, p, n_tok);
}

#endif
