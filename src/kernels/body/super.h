/*
 * Integer products of superblocks: scales are whole numbers times one d for 256 columns, and so are the activations', so that
 * scales times sums of products, and minima times sums of activations, are added as integers, exactly. Floats come once for
 * 256 columns: v = d * scaled; then v = fma(dmin, minima, v) where the kind has minima; then sum = fma(v, the activations'
 * scale, sum). This is the same at every level and for every tile width. Included after a lanes header.
 *
 * Why: AVX-512 has two pipes for 512 bits of products, additions and shifts take the two others. A group of 32 columns, a token
 * and sixteen rows are 8 products; with a float scale and minimum of each group they took 11 slots, now 9.4 (Q4_K): two sums
 * that fit 16 bits share a register, and one vpdpwssd scales both.
 */
#ifndef AN_BODY_SUPER_H
#define AN_BODY_SUPER_H

#include "kernels/body/matmul_q8.h"
#include "kernels/body/pairs.h"
#include "kernels/body/super_words.h"

/* Are two groups' sums of these codes short enough to share a register (act.h)? */
LANE_FN bool super_short(const an_code_kind kind)
{
    return PAIR_DOTS && (kind == AN_CODES_K16 || kind == AN_CODES_K16_OFF || kind == AN_CODES_K32);
}

/* What the sum of group `part` of a pair begins with: minus the offset of its codes. */
LANE_FN vi super_begin(const uint8_t *record, const int width, const int slot, const an_code_kind kind, const int part)
{
    if (kind == AN_CODES_K16_OFF) return q8_init(record, AN_REC_INIT16(width, slot, part));
    if (kind == AN_CODES_K32_I8 && AN_LANES_CODE_XOR != 0) return q8_init(record, AN_REC_INIT(width, slot));
    return vi_set1(0);
}

/* A first group's sum goes up, and the second one's begins below, with 2^15 so that it borrows nothing. */
LANE_FN vi super_raise(vi acc, const uint8_t *record, const int width, const int slot, const an_code_kind kind)
{
    acc = vi_shl(acc, 16);
    if (kind == AN_CODES_K16_OFF) return vi_add(acc, q8_init(record, AN_REC_UPPER16(width, slot)));
    return vi_or(acc, vi_set1(32768));
}
LANE_FN vi super_scaled(vi scaled, vi raised, vi pair)
{
    return pair_dot(scaled, vi_xor(raised, vi_set1(32768)), pair);
}

/* The record of a pair's second group. */
LANE_FN const uint8_t *super_second(const uint8_t *record, const int width, const an_code_kind kind)
{
    return an_codes_group(kind) == 16 ? record : record + width * AN_RECORD_BYTES;
}

/* A superblock's sums as f32, added to those before. */
typedef struct super_end {
    const uint8_t *record; /* its first */
    const vi *mins;        /* pairs, or NULL */
    vf d, dmin;
} super_end;

/* Minima times sums of activations. */
LANE_FN void super_minima(vi *minima, const super_end *e, const int first, const int width, const int n_tok,
                          const an_code_kind kind)
{
    const bool by16 = an_codes_group(kind) == 16;
    const int n_pair = AN_SUPER / 2 / an_codes_group(kind);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) minima[t] = vi_set1(0);
#pragma GCC unroll 8
    for (int i = 0; i < n_pair; i++) {
        const uint8_t *record = e->record + (by16 ? i : 2 * i) * width * AN_RECORD_BYTES;
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++)
            minima[t] = pair_dot1(minima[t], e->mins[i],
                                  record + (by16 ? AN_REC_PAIR16(width, first + t) : AN_REC_PAIR(width, first + t)));
    }
}

LANE_FN void super_add(vf *sum, const vi *scaled, const super_end *e, const int first, const int width, const int n_tok,
                       const an_code_kind kind)
{
    vi minima[AN_LANES_TOKENS > 8 ? AN_LANES_TOKENS : 8];
    if (an_codes_min(kind)) super_minima(minima, e, first, width, n_tok, kind);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) {
        vf v = vf_mul(vf_from_int(scaled[t]), e->d);
        if (an_codes_min(kind)) v = vf_fma(vf_from_int(minima[t]), e->dmin, v);
        sum[t] = vf_fma(v, vf_set1(q8_f32(e->record, AN_REC_SCALE(width, first + t))), sum[t]);
    }
}

/* Two groups that lie one behind the other in an unpacked panel. */
LANE_FN void super_pair(vi *scaled, const uint8_t *codes, const uint8_t *record, vi pair, const int first, const int width,
                        const int n_tok, const an_code_kind kind, const int bits)
{
    const bool by16 = an_codes_group(kind) == 16;
    const int n_dword = an_codes_group(kind) / 4;
    const uint8_t *second = super_second(record, width, kind);
#ifdef AN_LANES_SHORT
    super_words(scaled, codes, record, vi_twice(pair, 0), first, width, n_tok, 0, kind, bits);
    super_words(scaled, codes + 64 * n_dword, second, vi_twice(pair, 1), first, width, n_tok, by16, kind, bits);
#else
    const bool is_short = super_short(kind);
    vi acc[AN_LANES_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) acc[t] = super_begin(record, width, first + t, kind, 0);
    q8_dots(acc, codes, record + 32 * first, n_dword, n_tok, bits);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) {
        if (!is_short) scaled[t] = vi_add(scaled[t], vi_mul(acc[t], pair_first(pair)));
        acc[t] = is_short ? super_raise(acc[t], record, width, first + t, kind)
                          : super_begin(second, width, first + t, kind, 1);
    }
    q8_dots(acc, codes + 64 * n_dword, second + 32 * first + (by16 ? 16 : 0), n_dword, n_tok, bits);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++)
        scaled[t] = is_short ? super_scaled(scaled[t], acc[t], pair)
                             : vi_add(scaled[t], vi_mul(acc[t], pair_second(pair)));
#endif
}

/* Tokens first..first+n_tok-1 of a tile of `width`, as q8_tile(). */
LANE_FN void super_tile(const an_q8_job *job, const int first, const int width, const int n_tok, const an_code_kind kind,
                        const int bits)
{
    const int n_group = AN_SUPER / an_codes_group(kind), n_pair = n_group / 2;
    const int step = AN_SUPER / 32 * width * AN_RECORD_BYTES;
    const uint8_t *record = job->records, *codes = job->panel->codes;
    const float *scales = job->panel->scales, *mins = job->panel->mins;
    vf sum[AN_LANES_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) sum[t] = job->resume ? vf_load(job->carry + 16 * (first + t)) : vf_zero();
    for (int b = 0; b < job->n_group32 / (AN_SUPER / 32); b++, scales += 16 * n_group, mins += 16 * n_group) {
        super_end end = {.record = record, .d = vf_load(scales + 16 * n_pair)};
        vi scaled[AN_LANES_TOKENS], min_pairs[8];
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++) scaled[t] = vi_set1(0);
        for (int i = 0; i < n_pair; i++, codes += 128 * an_codes_group(kind) / 4) {
            super_pair(scaled, codes, record, vi_load(scales + 16 * i), first, width, n_tok, kind, bits);
            record += step / n_pair;
        }
        if (an_codes_min(kind)) {
#pragma GCC unroll 8
            for (int i = 0; i < n_pair; i++) min_pairs[i] = vi_load(mins + 16 * i);
            end.mins = min_pairs;
            end.dmin = vf_load(mins + 16 * n_pair);
        }
        super_add(sum, scaled, &end, first, width, n_tok, kind);
    }
    q8_finish(job, sum, first, n_tok);
}

Q8_KERNEL(super_k32_5, super_tile, AN_CODES_K32, 5)
Q8_KERNEL(super_k32_i8, super_tile, AN_CODES_K32_I8, 8)
Q8_KERNEL(super_k16, super_tile, AN_CODES_K16, 2)
Q8_KERNEL(super_k16_off, super_tile, AN_CODES_K16_OFF, 6)

/* How many bits a code has matters only to lanes that add products in 16 bits. */
#ifdef AN_LANES_SHORT
Q8_KERNEL(super_k32_4, super_tile, AN_CODES_K32, 4)
static void super_k32(const an_q8_job *job)
{
    if (job->bits <= 4) super_k32_4(job);
    else super_k32_5(job);
}
#else
#define super_k32 super_k32_5
#endif

#ifdef AN_LANES_SHORT
static void super_wide_i8(const an_q8_job *job)
{
    if (job->width < 8) super_k32_i8(job);
    else if (job->width == 8) super_wide_tile(job, 8);
    else super_wide_tile(job, AN_TILE_TOKENS);
}
#define SUPER_I8 super_wide_i8
#else
#define SUPER_I8 super_k32_i8
#endif

#endif
