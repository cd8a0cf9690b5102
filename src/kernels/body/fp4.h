/*
 * Weights of four-bit floats (E2M1), from rows and from panels: MXFP4, a power of two for 32 columns, in GGUF's
 * blocks or MLX's tensors, and MLX's NVFP4, an E4M3 number for 16. Codes are twice the values, scales half of them
 * (quant/codes.h).
 * Included after a lanes header.
 */
#ifndef AN_BODY_FP4_H
#define AN_BODY_FP4_H

#include "kernels/body/fused.h"
#include "kernels/body/unpack.h"

#include <math.h>

/*
 * Half of an E4M3 number; bytes as int8. By f16, of which its bits are a number 256 times smaller: small scales are
 * common here, and as f32 that are not normal they would cost more than the conversion.
 */
LANE_FN vf e4m3_half(vi byte)
{
    vf v = vf_mul(vf_f16_low(vi_and(vi_shl(byte, 7), vi_set1(0xBF80))), vf_set1(128));
    return vf_blend(vf_eq(vf_abs(v), vf_set1(240)), vf_set1(NAN), v);
}

/* Codes as the integer product wants them. */
LANE_FN void mxfp4_table(uint8_t table[16])
{
    for (int i = 0; i < 16; i++) table[i] = (uint8_t)an_e2m1_twice[i] ^ AN_LANES_CODE_XOR;
}
LANE_FN void nvfp4_table(uint8_t table[16])
{
    for (int i = 0; i < 16; i++) table[i] = (uint8_t)(an_e2m1_twice[i] + 32);
}

static void unpack_ggml_mxfp4(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    uint8_t table[16];
    mxfp4_table(table);
    unpack_looked_up(w, row, col_begin, col_end, panel, table, 17, true);
}

/* Scales in byte number `at` of every dword. */
LANE_FN void put_fp4_scale(const an_panel *panel, int group, int n_group, vi bytes, const int at, const bool nv)
{
    if (group < 0 || group >= n_group) return;
    vi high = vi_shl(bytes, 24 - 8 * at);
    vi exponent = vi_shr(vi_and(high, vi_set1((int32_t)0xFF000000)), 1);
    vf_store(panel->scales + 16 * group, nv ? e4m3_half(vi_sra(high, 24)) : e8m0_half(exponent));
}

/* Four groups at a time; the last step goes back so far that it ends with the row. */
LANE_FN void put_fp4_scales(const an_weight *w, int64_t row, int col_begin, int n_group, const an_panel *panel,
                            const bool nv)
{
    int first = col_begin / w->affine.group, all = (int)(w->n_col / w->affine.group);
    size_t stride = (size_t)all;
    const uint8_t *scales = (const uint8_t *)w->affine.scales + (size_t)row * stride;
    if (all < 4) {
        for (int g = 0; g < n_group; g++) {
            uint8_t bytes[16];
            for (int r = 0; r < 16; r++) bytes[r] = scales[(size_t)r * stride + (size_t)(first + g)];
            put_fp4_scale(panel, g, n_group, vi_load_bytes(bytes), 0, nv);
        }
        return;
    }
    ahead next = ahead_of(scales + first, stride, (size_t)n_group);
    for (int g = 0; g < n_group; g += 4) {
        unpack_prefetch(&next, 4);
        int from = first + g + 4 <= all ? g : all - 4 - first;
        vi four = vi_gather(scales + first + from, stride);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) put_fp4_scale(panel, from + i, n_group, four, i, nv);
    }
}

/* Of MLX's matrices, where neighbours share a byte. */
LANE_FN void unpack_fp4(const an_weight *w, int64_t row, int col_begin, int col_end, uint8_t *codes,
                        const uint8_t table[16])
{
    const uint8_t *base = unpack_at(w, row, col_begin, 32, 16);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(base, stride, (size_t)n_block * 16);
    for (int b = 0; b < n_block; b++) {
        unpack_prefetch(&next, 16);
        vi q[4];
        vi_rows16(base + 16 * b, stride, q);
        for (int j = 0; j < 4; j++) {
            uint8_t *to = codes + 512 * b + 128 * j;
            vi_store(to, vi_lookup(table, alternate_nibbles(vi_dup_low(q[j]))));
            vi_store(to + 64, vi_lookup(table, alternate_nibbles(vi_dup_high(q[j]))));
        }
    }
}
static void unpack_mxfp4(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    uint8_t table[16];
    mxfp4_table(table);
    unpack_fp4(w, row, col_begin, col_end, panel->codes, table);
    put_fp4_scales(w, row, col_begin, (col_end - col_begin) / 32, panel, false);
}
static void unpack_nvfp4(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    uint8_t table[16];
    nvfp4_table(table);
    unpack_fp4(w, row, col_begin, col_end, panel->codes, table);
    put_fp4_scales(w, row, col_begin, (col_end - col_begin) / 16, panel, true);
}

/* For an_panels_write. */
static void fp4_codes(const an_weight *w, int64_t row, int col_begin, int col_end, uint8_t *codes)
{
    static const uint8_t same[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    if (w->dtype != AN_DTYPE_GGML_MXFP4) {
        unpack_fp4(w, row, col_begin, col_end, codes, same);
        return;
    }
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 17);
    for (int b = 0; b < (col_end - col_begin) / 32; b++, p += 17) put_iq4(codes + 512 * b, same, p + 1, w->row_bytes);
}

/* Two groups of 32, whose scales are the bytes of a 16-bit number. */
LANE_FN void block_mxfp4(panel_out *o, const panel_block *b, const int n_tok)
{
    uint8_t table[16];
    mxfp4_table(table);
    const panel_kind p = {AN_CODES_I8, 4, table, 0};
    vi both = vf_bits(b->shared[0]), mask = vi_set1(0x7F800000);
    panel_group1(o, b->own, p, e8m0_half(vi_and(vi_shl(both, 7), mask)), vf_zero(), n_tok);
    panel_group1(o, b->own + 256, p, e8m0_half(vi_and(vi_shr(both, 1), mask)), vf_zero(), n_tok);
}

/* Four groups of 16 behind their scales. */
LANE_FN void block_nvfp4(panel_out *o, const panel_block *b, const int n_tok)
{
    uint8_t table[16];
    nvfp4_table(table);
    const panel_kind p = {AN_CODES_OFF16, 4, table, 0};
    const vf none[2] = {vf_zero(), vf_zero()};
    panel_ask(b->own, 1, n_tok);
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
        const vf scale[2] = {e4m3_half(panel_int8(b->own + 32 * g)), e4m3_half(panel_int8(b->own + 32 * g + 16))};
        panel_group(o, b->own + 64 + 256 * g, p, scale, none, n_tok);
    }
}

FUSED(mxfp4, ((panel_shape){64, 1, 8, true}))
FUSED(nvfp4, ((panel_shape){64, 0, 9, false}))

#endif
