/*
 * Superblocks (super.h) by lanes that multiply bytes into sums of 16 bits, two of every dword: the group's scale, in both halves
 * of a dword, makes one of them in the multiplication that widens them. So scales cost nothing. Included after a lanes header.
 *
 * What fits 16 bits: AN_LANES_SHORT says so for codes up to 5 bits. Codes of 6 bits minus 32 are 32 at most, and 8 of a group's 16
 * columns meet in a sum, 32 * 8 * 127 = 32512; it begins with -32 times the sum of these activations (act.h), and what wraps
 * around on the way there wraps back. Products of one dword do not saturate: 2 * 63 * 127.
 */
#ifndef AN_BODY_SUPER_WORDS_H
#define AN_BODY_SUPER_WORDS_H

#include "kernels/body/matmul_i8.h"

#ifdef AN_LANES_SHORT
enum { SUPER_WORDS = 1 };

/* Dwords of a group whose products share a sum. */
LANE_FN int super_run(const an_code_kind kind, const int bits)
{
    if (an_codes_group(kind) == 16) return 4;
    return AN_LANES_SHORT(bits);
}

/* Product i of a group: codes c times the four columns at x go to `sum`, which begins with `init`, and from there to `scaled`. */
LANE_FN void super_word(vi *scaled, vi *sum, vi c, const int8_t *x, const uint8_t *init, vi twice, const int i,
                        const an_code_kind kind, const int bits)
{
    const int run = super_run(kind, bits);
    if (an_codes_int8(kind)) {
        *scaled = vi_dot_scaled(*scaled, c, x, twice);
        return;
    }
    if (i == 0 && kind == AN_CODES_K16_OFF) *sum = vi_add_short(q8_init(init, 0), c, x);
    else *sum = i % run ? vi_add_short(*sum, c, x) : vi_short(c, x);
    if (i % run == run - 1) *scaled = vi_dot_words(*scaled, *sum, twice);
}

/* A group of an unpacked panel: all of a record's columns, or those of one half. */
LANE_FN void super_words(vi *scaled, const uint8_t *codes, const uint8_t *record, vi twice, const int first, const int width,
                         const int n_tok, const int half, const an_code_kind kind, const int bits)
{
    const int n_dword = an_codes_group(kind) / 4;
    vi sum[AN_LANES_TOKENS];
#pragma GCC unroll 8
    for (int i = 0; i < n_dword; i++) {
        vi w = vi_load(codes + 64 * i);
#pragma GCC unroll 12
        for (int t = 0; t < n_tok; t++)
            super_word(&scaled[t], &sum[t], w, (const int8_t *)record + 32 * (first + t) + 16 * half + 4 * i,
                       record + AN_REC_INIT16(width, first + t, half), twice, i, kind, bits);
    }
}

/*
 * IQ4_XS times many tokens as matmul_i8.h multiplies int8, in 16 bits: a sign for each product would take the product's units. The
 * codes times their scale fit (127 * 32), so that nothing is left to do at the end of a group. Both are widened once for a tile.
 */
typedef struct super_wide {
    uint8_t codes[AN_SUPER * 32], x[AN_TILE_TOKENS * AN_SUPER * 2];
} super_wide;

LANE_FN void super_widen(super_wide *s, const uint8_t *codes, const float *scales, const uint8_t *record, const int width)
{
    uint8_t *to = s->codes;
    for (int i = 0; i < AN_SUPER / 64; i++)
#pragma GCC unroll 2
        for (int part = 0; part < 2; part++, record += width * AN_RECORD_BYTES) {
            vi scale = vi_twice(vi_load(scales + 16 * i), part);
#pragma GCC unroll 8
            for (int j = 0; j < 8; j++, codes += 64, to += 128) {
                vi c = vi_load(codes);
                vi_store(to, vi_mul16(vi_even16(c), scale));
                vi_store(to + 64, vi_mul16(vi_odd16(c), scale));
            }
            for (int t = 0; t < width; t++) vi_widen32(s->x + AN_SUPER * 2 * t + 128 * i + 64 * part, record + 32 * t);
        }
}

LANE_FN void super_wide_tokens(vf *sum, const super_wide *s, vf d, const uint8_t *record, const int first, const int width,
                               const int n_tok)
{
    const uint8_t *codes = s->codes, *x = s->x + AN_SUPER * 2 * first;
    vi acc[AN_LANES_TOKENS];
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) acc[t] = vi_set1(0);
    for (int g = 0; g < AN_SUPER / 32; g++, x += 64)
#pragma GCC unroll 16
        for (int j = 0; j < 16; j++, codes += 64) {
            vi w = vi_load(codes);
#pragma GCC unroll 12
            for (int t = 0; t < n_tok; t++) acc[t] = vi_dot16(acc[t], w, x + AN_SUPER * 2 * t + 32 * (j & 1) + 4 * (j / 2));
        }
#pragma GCC unroll 12
    for (int t = 0; t < n_tok; t++) {
        vf v = vf_mul(vf_from_int(acc[t]), d);
        sum[first + t] = vf_fma(v, vf_set1(q8_f32(record, AN_REC_SCALE(width, first + t))), sum[first + t]);
    }
}

LANE_FN void super_wide_tile(const an_q8_job *job, const int width)
{
    const uint8_t *record = job->records, *codes = job->panel->codes;
    const float *scales = job->panel->scales;
    vf sum[AN_TILE_TOKENS];
    super_wide wide __attribute__((aligned(64)));
    for (int t = 0; t < width; t++) sum[t] = job->resume ? vf_load(job->carry + 16 * t) : vf_zero();
    for (int b = 0; b < job->n_group32 / (AN_SUPER / 32); b++, codes += 16 * AN_SUPER, scales += AN_SUPER / 2) {
        super_widen(&wide, codes, scales, record, width);
        for (int first = 0; first < width && first < job->n_tok; first += AN_LANES_TOKENS)
            super_wide_tokens(sum, &wide, vf_load(scales + AN_SUPER / 4), record, first, width, AN_LANES_TOKENS);
        record += AN_SUPER / 32 * width * AN_RECORD_BYTES;
    }
    q8_finish(job, sum, 0, width);
}
#else
enum { SUPER_WORDS = 0 };
#endif

#endif
