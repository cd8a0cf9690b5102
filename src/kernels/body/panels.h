/*
 * What every kernel over weights in panels shares (panels.c has the forms): blocks of sixteen rows taken apart in
 * registers, group of 32 columns by group, and given either to a product with the activations of n_tok tokens or,
 * when n_tok is 0, to an unpacked panel. Included after a lanes header.
 */
#ifndef AN_BODY_PANELS_H
#define AN_BODY_PANELS_H

#include "base/bytes.h"
#include "kernels/act.h"
#include "quant/dequant.h"

/* Where the groups go; each moves what it uses to the next group. */
typedef struct panel_out {
    vf *sum;               /* n_tok of them */
    const uint8_t *record; /* of the tile's activations */
    uint8_t *codes;        /* or an unpacked panel */
    float *scales, *mins;
} panel_out;

/*
 * One block: its own lines, and the numbers that it shares lines with a neighbour for. The first block of a pair
 * loads those of both, so that the walk through memory never turns back.
 */
typedef struct panel_block {
    const uint8_t *own;
    const an_weight *w;
    vf shared[2], other[2];
} panel_block;

#define SPREAD(byte) vi_set1((int32_t)((byte)*0x01010101u))

/* Bits `at` and up of every byte moved to bit `to`, those of `mask` kept; all constants. */
#define MOVE_BITS(v, at, to, mask)                                                                                     \
    vi_and((at) == (to)  ? (v)                                                                                         \
           : (at) < (to) ? vi_shl(v, (at) < (to) ? (to) - (at) : 0)                                                    \
                         : vi_shr(v, (at) > (to) ? (at) - (to) : 0),                                                   \
           SPREAD(mask))

/*
 * All loads of weights, in the order of addresses: the hardware's prefetching follows a walk that never turns back
 * much better (Q6_K, one token, one thread of Zen 4: 104 % of the stream, and 84 % as gcc would order the loads).
 */
LANE_FN vi panel_line(const uint8_t *at, int line)
{
    return vi_load_once(at + 64 * line);
}
LANE_FN vf panel_f16(const uint8_t *at)
{
    return vf_in_order(vf_load_f16(at));
}
LANE_FN vf panel_bf16(const uint8_t *at)
{
    return vf_in_order(vf_load_bf16(at));
}
LANE_FN vi panel_int8(const uint8_t *at)
{
    return vi_in_order(vi_load_int8(at));
}
LANE_FN vi panel_bytes16(const uint8_t *at)
{
    return vi_in_order(vi_load_bytes(at));
}

/* Low or high nibbles. */
LANE_FN vi panel_nibbles(vi v, const bool high)
{
    return vi_and(high ? vi_shr(v, 4) : v, SPREAD(0x0F));
}

/*
 * A field of every byte from bit `at` on, moved to bit `to` and or-ed to v; the field's mask is that of its new
 * place.
 */
#define OR_BITS(v, line, at, to, mask) vi_or(v, MOVE_BITS(line, at, to, mask))

/* Codes of columns 4k..4k+3 of a group of 32 from its lines; Q3_K's (`times8`) are worth eight. */
LANE_FN vi panel_codes(const vi l[8], const int bits, const int k, const bool times8)
{
    const int low = k & 3, up = times8 ? 3 : 0;
    switch (bits) {
    case 2: return MOVE_BITS(l[k / 4], 2 * low, 0, 0x03);
    case 3:
        if (k < 6) return MOVE_BITS(l[k % 3], k < 3 ? 0 : 3, up, 0x07 << up);
        return OR_BITS(MOVE_BITS(l[k - 6], 6, up, 0x03 << up), l[2], k, up + 2, 0x04 << up);
    case 4: return MOVE_BITS(l[low], k < 4 ? 0 : 4, 0, 0x0F);
    case 5:
        if (k < 5) return MOVE_BITS(l[k], 0, 0, 0x1F);
        if (k == 5) return OR_BITS(MOVE_BITS(l[0], 5, 0, 0x07), l[1], 6, 3, 0x18);
        if (k == 6) return OR_BITS(MOVE_BITS(l[2], 5, 0, 0x07), l[4], 6, 3, 0x18);
        return OR_BITS(OR_BITS(MOVE_BITS(l[3], 5, 0, 0x07), l[1], 5, 3, 0x08), l[4], 5, 4, 0x10);
    case 6: {
        const vi *h = l + 3 * (k / 4);
        if (low < 3) return MOVE_BITS(h[low], 0, 0, 0x3F);
        return OR_BITS(OR_BITS(MOVE_BITS(h[0], 6, 0, 0x03), h[1], 6, 2, 0x0C), h[2], 6, 4, 0x30);
    }
    default: return l[k];
    }
}

/*
 * What the codes of a kind are made of. `table` translates them (IQ4), or is NULL; `flip` is xored to them (8
 * bits).
 */
typedef struct panel_kind {
    an_code_kind kind;
    int bits;
    const uint8_t *table;
    uint8_t flip;
} panel_kind;

LANE_FN vi panel_code(const vi lines[8], const panel_kind p, const int k)
{
    vi c = panel_codes(lines, p.bits, k, p.kind == AN_CODES_K16_OFF);
    if (p.table) return vi_lookup(p.table, c);
    return p.flip ? vi_xor(c, SPREAD(p.flip)) : c;
}

/*
 * Ask for what comes behind some lines: from far ahead into the second level, and from there into the first (Zen 4, from memory,
 * 8 tokens, against one asking 3 KB ahead: Q6_K 283 to 327 Gop/s on one thread, Q4_0 293 to 314). One or two tokens are left to
 * the hardware's own prefetching, which asking would disturb (Q4_K, one token, one thread: 97 % of the stream without, 60 to
 * 70 % with); more tokens need it (8 tokens: 314 Gop/s, and 212 without).
 */
enum { PANEL_FAR = 12288, PANEL_NEAR = 2048 };
LANE_FN void panel_ask(const uint8_t *at, const int n_line, const int n_tok)
{
    if (n_tok < 4) return;
#pragma GCC unroll 8
    for (int i = 0; i < n_line; i++) {
        __builtin_prefetch(at + PANEL_FAR + 64 * i, 0, 2);
        __builtin_prefetch(at + PANEL_NEAR + 64 * i, 0, 3);
    }
}

/* Tokens whose sums the registers hold; for more of them the codes of a group are taken apart again. */
#ifndef AN_LANES_FUSED
#define AN_LANES_FUSED 8
#endif

LANE_FN float panel_f32(const uint8_t *record, int offset)
{
    return an_load_f32(record + offset);
}

/* Tokens first..first+n_tok-1 of a tile of `width`. */
typedef struct panel_tokens {
    int first, n_tok, width;
} panel_tokens;

/* Product i of a group's n_dword: sum in 16 bits as far as the codes' bits let it, and from there to acc. */
LANE_FN void panel_dot(vi *acc, vi *sum, vi c, const int8_t *x, const panel_kind p, const int i, const int n_dword)
{
    const bool is_int8 = an_codes_int8(p.kind);
#ifdef AN_LANES_SHORT
    const int bits = an_codes_offset(p.kind) ? 6 : p.bits, all = AN_LANES_SHORT(bits), run = all < n_dword ? all : n_dword;
    if (!is_int8) {
        *sum = i % run ? vi_add_short(*sum, c, x) : vi_short(c, x);
        if (i % run == run - 1) *acc = vi_add_widened(*acc, *sum);
        return;
    }
#endif
    (void)sum;
    (void)i;
    (void)n_dword;
    *acc = is_int8 ? vi_dot_signed(*acc, c, x) : vi_dot(*acc, c, x);
}

/* Which code product i of a group is made of: both nibbles of a line one after the other. */
LANE_FN int panel_k(const an_code_kind kind, const int half, const int i)
{
    return an_codes_group(kind) == 16 ? 4 * half + i : (i & 1) * 4 + i / 2;
}

/* Columns of one scale times tokens: half `half` of the group, or all of it (0) where the kind has groups of 32. */
LANE_FN void panel_dots(vi *acc, const uint8_t *record, const vi lines[8], const panel_kind p, const int half,
                        const panel_tokens to)
{
    const int n_dword = an_codes_group(p.kind) / 4;
    vi part[8];
#pragma GCC unroll 8
    for (int i = 0; i < n_dword; i++) {
        const int k = panel_k(p.kind, half, i);
        vi c = panel_code(lines, p, k);
#pragma GCC unroll 8
        for (int t = 0; t < to.n_tok; t++)
            panel_dot(&acc[t], &part[t], c, (const int8_t *)record + 32 * (to.first + t) + 4 * k, p, i, n_dword);
    }
}

/* Such a product, and what act.h and the order of sums (matmul_q8.h) make of it. */
LANE_FN void panel_product(panel_out *o, const vi lines[8], const panel_kind p, const int half, vf scale, vf min,
                           const panel_tokens to)
{
    const int n_tok = to.n_tok;
    vi acc[8];
#pragma GCC unroll 8
    for (int t = 0; t < n_tok; t++) {
        const int slot = to.first + t;
        int offset = p.kind == AN_CODES_OFF16 ? AN_REC_INIT16(to.width, slot, half) : AN_REC_INIT(to.width, slot);
        bool begins = p.kind == AN_CODES_OFF16 || (an_codes_int8(p.kind) && AN_LANES_CODE_XOR);
        acc[t] = vi_set1(begins ? (int32_t)an_load_u32(o->record + offset) : 0);
    }
    panel_dots(acc, o->record, lines, p, half, to);
    vf *sum = o->sum + to.first;
#pragma GCC unroll 8
    for (int t = 0; t < n_tok; t++) {
        vf both = vf_mul(scale, vf_set1(panel_f32(o->record, AN_REC_SCALE(to.width, to.first + t))));
        sum[t] = vf_fma(vf_from_int(acc[t]), both, sum[t]);
    }
    if (!an_codes_min(p.kind)) return;
#pragma GCC unroll 8
    for (int t = 0; t < n_tok; t++)
        sum[t] = vf_fma(min, vf_set1(panel_f32(o->record, AN_REC_SUM(to.width, to.first + t))), sum[t]);
}

/* 32 columns: scales and minima of both halves, the same unless the kind has groups of 16. */
LANE_FN void panel_group(panel_out *o, const uint8_t *at, const panel_kind p, const vf scale[2], const vf min[2],
                         const int n_tok)
{
    const int n_half = p.kind == AN_CODES_OFF16 ? 2 : 1;
    vi lines[8];
#pragma GCC unroll 8
    for (int i = 0; i < p.bits; i++) lines[i] = panel_line(at, i);
    if (n_tok) {
        const int step = n_tok < AN_LANES_FUSED ? n_tok : AN_LANES_FUSED;
        panel_ask(at, p.bits, n_tok);
#pragma GCC unroll 2
        for (int half = 0; half < n_half; half++)
#pragma GCC unroll 4
            for (int first = 0; first < n_tok; first += step)
                panel_product(o, lines, p, half, scale[half], min[half], (panel_tokens){first, step, n_tok});
        o->record += n_tok * AN_RECORD_BYTES;
        return;
    }
#pragma GCC unroll 8
    for (int k = 0; k < 8; k++) vi_store(o->codes + 64 * k, panel_code(lines, p, k));
#pragma GCC unroll 2
    for (int half = 0; half < n_half; half++, o->scales += 16, o->mins += 16) {
        vf_store(o->scales, scale[half]);
        vf_store(o->mins, min[half]);
    }
    o->codes += 512;
}

LANE_FN void panel_group1(panel_out *o, const uint8_t *at, const panel_kind p, vf scale, vf min, const int n_tok)
{
    const vf scales[2] = {scale, scale}, mins[2] = {min, min};
    panel_group(o, at, p, scales, mins, n_tok);
}

#define MIN32(n) ((panel_kind){AN_CODES_MIN32, n, NULL, 0})

LANE_FN void block_q4_0(panel_out *o, const panel_block *b, const int n_tok)
{
    vf d = b->shared[0];
    panel_group1(o, b->own, MIN32(4), d, vf_mul(d, vf_set1(-8)), n_tok);
}
LANE_FN void block_q5_0(panel_out *o, const panel_block *b, const int n_tok)
{
    vf d = b->shared[0];
    panel_group1(o, b->own, MIN32(5), d, vf_mul(d, vf_set1(-16)), n_tok);
}
LANE_FN void block_q4_1(panel_out *o, const panel_block *b, const int n_tok)
{
    panel_group1(o, b->own + 64, MIN32(4), panel_f16(b->own), panel_f16(b->own + 32), n_tok);
}
LANE_FN void block_q5_1(panel_out *o, const panel_block *b, const int n_tok)
{
    panel_group1(o, b->own + 64, MIN32(5), panel_f16(b->own), panel_f16(b->own + 32), n_tok);
}
LANE_FN void block_q8_0(panel_out *o, const panel_block *b, const int n_tok)
{
    const panel_kind p = {AN_CODES_I8, 8, NULL, AN_LANES_CODE_XOR};
    panel_group1(o, b->own, p, b->shared[0], vf_zero(), n_tok);
}

/* IQ4's values as the integer product wants them. */
LANE_FN panel_kind iq4_kind(uint8_t table[16])
{
    for (int i = 0; i < 16; i++) table[i] = (uint8_t)an_iq4_values[i] ^ AN_LANES_CODE_XOR;
    return (panel_kind){AN_CODES_I8, 4, table, 0};
}
LANE_FN void block_iq4_nl(panel_out *o, const panel_block *b, const int n_tok)
{
    uint8_t table[16];
    panel_group1(o, b->own, iq4_kind(table), b->shared[0], vf_zero(), n_tok);
}
/* A group of MLX's: 32, 64 or 128 columns with one scale and bias of any float type. */
LANE_FN void block_affine(panel_out *o, const panel_block *b, const int bits, const int n_tok)
{
    const uint8_t *own = b->own;
    vf scale, min;
    if (b->w->affine.scale_dtype != AN_DTYPE_F32) {
        scale = b->shared[0];
        min = b->shared[1];
    } else {
        scale = vf_in_order(vf_load(own));
        min = vf_in_order(vf_load(own + 64));
        own += 128;
    }
    panel_kind p = MIN32(bits);
    if (bits == 8) {
        p = (panel_kind){AN_CODES_I8_MIN, 8, NULL, 0x80 ^ AN_LANES_CODE_XOR};
        min = vf_add(min, vf_mul(scale, vf_set1(128)));
    }
    int group = b->w->affine.group;
    panel_group1(o, own, p, scale, min, n_tok);
    if (group >= 64) panel_group1(o, own + 64 * bits, p, scale, min, n_tok);
    if (group == 128) {
        panel_group1(o, own + 128 * bits, p, scale, min, n_tok);
        panel_group1(o, own + 192 * bits, p, scale, min, n_tok);
    }
}
LANE_FN void block_affine2(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 2, n_tok);
}
LANE_FN void block_affine3(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 3, n_tok);
}
LANE_FN void block_affine4(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 4, n_tok);
}
LANE_FN void block_affine5(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 5, n_tok);
}
LANE_FN void block_affine6(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 6, n_tok);
}
LANE_FN void block_affine8(panel_out *o, const panel_block *b, const int n_tok)
{
    block_affine(o, b, 8, n_tok);
}

/* Blocks of a type in a panel. */
typedef struct panel_shape {
    int elems, shared, own; /* columns of a block; lines */
    bool bf16;              /* the shared numbers are bf16 and not f16 */
} panel_shape;

LANE_FN panel_shape affine_shape(const an_weight *w, const int bits)
{
    int wide = w->affine.scale_dtype == AN_DTYPE_F32;
    return (panel_shape){w->affine.group, wide ? 0 : 2, w->affine.group / 32 * bits + (wide ? 2 : 0),
                         w->affine.scale_dtype == AN_DTYPE_BF16};
}

LANE_FN vf panel_number(const uint8_t *at, const panel_shape s)
{
    return s.bf16 ? panel_bf16(at) : panel_f16(at);
}

/* Block number `block` of a panel after the one before it, or as the first one. */
LANE_FN void panel_block_next(panel_block *b, const uint8_t *panel, const panel_shape s, int block, bool first)
{
    int pair = block / 2, lines = s.shared ? pair * (s.shared + 2 * s.own) : block * s.own;
    const uint8_t *at = panel + 64 * (size_t)lines;
    b->own = at + (s.shared ? 64 * (s.shared + (block & 1) * s.own) : 0);
    if (first || !(block & 1))
#pragma GCC unroll 2
        for (int i = 0; i < s.shared; i++) {
            b->shared[i] = panel_number(at + 64 * i, s);
            b->other[i] = panel_number(at + 64 * i + 32, s);
        }
    if (block & 1)
#pragma GCC unroll 2
        for (int i = 0; i < s.shared; i++) b->shared[i] = b->other[i];
}

LANE_FN size_t panel_bytes(const an_weight *w, const panel_shape s)
{
    size_t n = (size_t)(w->n_col / s.elems);
    return 64 * (n * (size_t)s.own + (n + 1) / 2 * (size_t)s.shared);
}

#endif
