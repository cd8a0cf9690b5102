/*
 * Integer products: one unpacked panel of 16 rows times a tile of tokens. Per group of 32 (or 16) columns the int32
 * sum becomes f32 and is added with the exact weight scale, then the minimum times the activations' sum: this order
 * is the same for every tile width, so prefill and decode give the same bits. Included after a lanes header.
 */
#ifndef AN_BODY_MATMUL_Q8_H
#define AN_BODY_MATMUL_Q8_H

#include "base/bytes.h"
#include "kernels/act.h"
#include "kernels/body/store.h"

LANE_FN float q8_f32(const uint8_t *record, int offset)
{
    return an_load_f32(record + offset);
}
LANE_FN vi q8_init(const uint8_t *record, int offset)
{
    return vi_set1((int32_t)an_load_u32(record + offset));
}

/* Four dwords (a group of 16) or eight (32) of n_tok tokens; `bits` of the codes, 8 being signed ones. */
LANE_FN void q8_dots(vi *acc, const uint8_t *codes, const uint8_t *record, const int n_dword, const int n_tok,
                     const int bits)
{
    const bool is_signed = bits == 8;
#ifdef AN_LANES_PAIRS
    if (n_tok > 1) {
#pragma GCC unroll 6
        for (int t = 0; t < n_tok; t += 2) vi_dot_pair(acc + t, codes, record + 32 * t, n_dword);
        return;
    }
#endif
#ifdef AN_LANES_SHORT
    const int all = AN_LANES_SHORT(bits), run = all < n_dword ? all : n_dword;
#pragma GCC unroll 8
    for (int first = 0; first < n_dword && !is_signed; first += run) {
        vi sum[AN_LANES_TOKENS];
#pragma GCC unroll 8
        for (int j = first; j < first + run; j++) {
            vi w = vi_load(codes + 64 * j);
#pragma GCC unroll 12
            for (int t = 0; t < n_tok; t++) {
                const int8_t *x = (const int8_t *)record + 32 * t + 4 * j;
                sum[t] = j > first ? vi_add_short(sum[t], w, x) : vi_short(w, x);
            }
        }
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++) acc[t] = vi_add_widened(acc[t], sum[t]);
    }
    if (!is_signed) return;
#endif
#pragma GCC unroll 8
    for (int j = 0; j < n_dword; j++) {
        vi w = vi_load(codes + 64 * j);
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++) {
            const int8_t *x = (const int8_t *)record + 32 * t + 4 * j;
            acc[t] = is_signed ? vi_dot_signed(acc[t], w, x) : vi_dot(acc[t], w, x);
        }
    }
}

/* A tile's sums to where they wait for more columns, or where they belong. */
LANE_FN void q8_finish(const an_q8_job *job, const vf *sum, const int first, const int n_tok)
{
    if (job->more) {
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++) vf_store(job->carry + 16 * (first + t), sum[t]);
        return;
    }
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) {
        if (first + t >= job->n_tok) break;
        store_rows(job->out + (size_t)(first + t) * job->out_stride, sum[t], job->n_row, job->add);
    }
}

/* Tokens first..first+n_tok-1 of a tile of `width`; all but job and first are constants. */
LANE_FN void q8_tile(const an_q8_job *job, const int first, const int width, const int n_tok,
                     const an_code_kind kind, const int bits)
{
    const bool by16 = kind == AN_CODES_OFF16, int8_codes = an_codes_int8(kind), has_min = an_codes_min(kind);
    const int n_half = by16 ? 2 : 1;
    const uint8_t *record = job->records;
    const float *carry = job->carry + 16 * first;
    const uint8_t *codes = job->panel->codes;
    const float *scales = job->panel->scales, *mins = job->panel->mins;
    vf sum[AN_LANES_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) sum[t] = job->resume ? vf_load(carry + 16 * t) : vf_zero();
    for (int g = 0; g < job->n_group32; g++, record += width * AN_RECORD_BYTES) {
#pragma GCC unroll 2
        for (int half = 0; half < n_half; half++, codes += 512 / n_half, scales += 16, mins += 16) {
            vi acc[AN_LANES_TOKENS];
#pragma GCC unroll 12
            for (int t = 0; t < n_tok; t++) {
                if (kind == AN_CODES_OFF16) acc[t] = q8_init(record, AN_REC_INIT16(width, first + t, half));
                else if (int8_codes && AN_LANES_CODE_XOR)
                    acc[t] = q8_init(record, AN_REC_INIT(width, first + t));
                else acc[t] = vi_set1(0);
            }
            q8_dots(acc, codes, record + 32 * first + 16 * half, 8 / n_half, n_tok, bits);
            vf scale = vf_load(scales);
#pragma GCC unroll 12
            for (int t = 0; t < n_tok; t++) {
                vf both = vf_mul(scale, vf_set1(q8_f32(record, AN_REC_SCALE(width, first + t))));
                sum[t] = vf_fma(vf_from_int(acc[t]), both, sum[t]);
            }
            if (!has_min) continue;
            vf min = vf_load(mins);
#pragma GCC unroll 12
            for (int t = 0; t < n_tok; t++)
                sum[t] = vf_fma(min, vf_set1(q8_f32(record, AN_REC_SUM(width, first + t))), sum[t]);
        }
    }
    q8_finish(job, sum, first, n_tok);
}

/* A whole tile in pieces of as many tokens as the registers hold. */
#define Q8_PIECE(width) ((width) <= AN_LANES_TOKENS ? (width) : (width) % AN_LANES_TOKENS ? 2 : AN_LANES_TOKENS)
#define Q8_WHOLE_TILE(job, width, tile)                                                                                \
    for (int first_ = 0; first_ < (width) && first_ < (job)->n_tok; first_ += Q8_PIECE(width))                         \
    tile(job, first_, width, Q8_PIECE(width))

/* tile(job, first, width, n_tok) over the job; where registers hold more than 8 tokens, a last tile of no more is computed as 8. */
#define Q8_TILES(job, tile)                                                                                            \
    do {                                                                                                               \
        if ((job)->width == 1) Q8_WHOLE_TILE(job, 1, tile);                                                            \
        else if ((job)->width == 2) Q8_WHOLE_TILE(job, 2, tile);                                                       \
        else if ((job)->width == 4) Q8_WHOLE_TILE(job, 4, tile);                                                       \
        else if ((job)->width == 8) Q8_WHOLE_TILE(job, 8, tile);                                                       \
        else if (AN_LANES_TOKENS > 8 && (job)->n_tok <= 8) tile(job, 0, AN_TILE_TOKENS, 8);                            \
        else Q8_WHOLE_TILE(job, AN_TILE_TOKENS, tile);                                                                 \
    } while (0)

/* Such a function of one kind, from `tile`, which takes kind and bits as well. */
#define Q8_KERNEL(name, tile, kind, bits)                                                                              \
    LANE_FN void name##_tile(const an_q8_job *job, const int first, const int width, const int n_tok)                  \
    {                                                                                                                  \
        tile(job, first, width, n_tok, kind, bits);                                                                    \
    }                                                                                                                  \
    static void name(const an_q8_job *job)                                                                             \
    {                                                                                                                  \
        Q8_TILES(job, name##_tile);                                                                                    \
    }

#ifdef AN_LANES_PAIRS
/* Tiles of one token take codes as they are unpacked; all wider ones are of whole pairs. */
static void pair_codes(uint8_t *codes, int n)
{
    for (int i = 0; i < n; i += 8) vi_pair_codes(codes + AN_PANEL_ROWS * i);
}
#define PAIR_CODES pair_codes
#else
#define PAIR_CODES NULL
#endif

#ifdef AN_LANES_SHORT
Q8_KERNEL(q8_min32_4, q8_tile, AN_CODES_MIN32, 4)
Q8_KERNEL(q8_min32_5, q8_tile, AN_CODES_MIN32, 5)
#endif
Q8_KERNEL(q8_min32_6, q8_tile, AN_CODES_MIN32, 6)
Q8_KERNEL(q8_i8, q8_tile, AN_CODES_I8, 8)
Q8_KERNEL(q8_i8_min, q8_tile, AN_CODES_I8_MIN, 8)
Q8_KERNEL(q8_off16, q8_tile, AN_CODES_OFF16, 6)

static void q8_min32(const an_q8_job *job)
{
#ifdef AN_LANES_SHORT
    if (job->bits <= 4) {
        q8_min32_4(job);
        return;
    }
    if (job->bits == 5) {
        q8_min32_5(job);
        return;
    }
#endif
    q8_min32_6(job);
}

#endif
