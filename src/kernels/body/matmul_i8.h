/*
 * Integer products of int8 codes by lanes that only multiply unsigned bytes by signed ones: a sign for each product takes the same
 * units as the product, so that 16 bits are faster. Codes and activations of 32 columns are widened once for all tokens of a
 * tile; products of pairs of columns are 32-bit sums at once. Sums and their order are those of matmul_q8.h. Included after it.
 */
#ifndef AN_BODY_MATMUL_I8_H
#define AN_BODY_MATMUL_I8_H

#include "kernels/body/matmul_q8.h"

#ifdef AN_LANES_WIDENED
/* 32 columns in 16 bits: of every dword the columns 0 and 2, then 1 and 3. */
typedef struct i8_group {
    uint8_t codes[2 * 8 * 64], x[AN_TILE_TOKENS * 64];
} i8_group;

/* Tokens first..first+n_tok-1 of the group; all but g, record, scales and mins (NULL: none) are constants. */
LANE_FN void i8_tokens(vf *sum, const i8_group *g, const uint8_t *record, const float *scales, const float *mins, const int first,
                       const int width, const int n_tok)
{
    vi acc[AN_LANES_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) acc[t] = vi_set1(0);
#pragma GCC unroll 16
    for (int j = 0; j < 16; j++) {
        vi w = vi_load(g->codes + 64 * j);
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++) acc[t] = vi_dot16(acc[t], w, g->x + 64 * (first + t) + 32 * (j & 1) + 4 * (j / 2));
    }
    vf scale = vf_load(scales);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) {
        vf both = vf_mul(scale, vf_set1(q8_f32(record, AN_REC_SCALE(width, first + t))));
        sum[first + t] = vf_fma(vf_from_int(acc[t]), both, sum[first + t]);
    }
    if (!mins) return;
    vf min = vf_load(mins);
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++)
        sum[first + t] = vf_fma(min, vf_set1(q8_f32(record, AN_REC_SUM(width, first + t))), sum[first + t]);
}

LANE_FN void i8_widen(i8_group *g, const uint8_t *codes, const uint8_t *record, const int width)
{
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        vi c = vi_load(codes + 64 * j);
        vi_store(g->codes + 128 * j, vi_even16(c));
        vi_store(g->codes + 128 * j + 64, vi_odd16(c));
    }
    for (int t = 0; t < width; t++) vi_widen32(g->x + 64 * t, record + 32 * t);
}

/* The next group is widened before this one is multiplied: stores that wait to be written are slow to read. */
LANE_FN void i8_tile(const an_q8_job *job, const int width, const bool has_min)
{
    const int n = width < AN_LANES_TOKENS ? width : AN_LANES_TOKENS;
    const uint8_t *record = job->records, *codes = job->panel->codes;
    const float *scales = job->panel->scales, *mins = has_min ? job->panel->mins : NULL;
    vf sum[AN_TILE_TOKENS];
    i8_group groups[2] __attribute__((aligned(64)));
    for (int t = 0; t < width; t++) sum[t] = job->resume ? vf_load(job->carry + 16 * t) : vf_zero();
    i8_widen(&groups[0], codes, record, width);
    for (int g = 0; g < job->n_group32; g++, record += width * AN_RECORD_BYTES, codes += 512, scales += 16) {
        if (g + 1 < job->n_group32) i8_widen(&groups[(g + 1) & 1], codes + 512, record + width * AN_RECORD_BYTES, width);
        for (int first = 0; first < width && first < job->n_tok; first += n)
            i8_tokens(sum, &groups[g & 1], record, scales, mins, first, width, n);
        if (has_min) mins += 16;
    }
    q8_finish(job, sum, 0, width);
}

static void i8_plain(const an_q8_job *job)
{
    if (job->width < 8) q8_i8(job);
    else if (job->width == 8) i8_tile(job, 8, false);
    else i8_tile(job, AN_TILE_TOKENS, false);
}
static void i8_min(const an_q8_job *job)
{
    if (job->width < 8) q8_i8_min(job);
    else if (job->width == 8) i8_tile(job, 8, true);
    else i8_tile(job, AN_TILE_TOKENS, true);
}
#define Q8_I8 i8_plain
#define Q8_I8_MIN i8_min
#else
#define Q8_I8 q8_i8
#define Q8_I8_MIN q8_i8_min
#endif

#endif
