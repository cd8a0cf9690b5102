/*
 * Sixteen whole rows of a quantized weight into a panel, straight from the file's bytes: the same codes, scales and
 * minima as quant/codes.h, one vector holding the same four codes of all rows. Columns col_begin..col_end-1, as table.h says. Included after a lanes header.
 */
#ifndef AN_BODY_UNPACK_H
#define AN_BODY_UNPACK_H

#include "kernels/body/pairs.h"
#include "kernels/table.h"
#include "quant/dequant.h"

#define NIBBLE_LOW(v) vi_and(v, vi_set1(0x0F0F0F0F))
#define NIBBLE_HIGH(v) vi_and(vi_shr(v, 4), vi_set1(0x0F0F0F0F))

/* Where `bytes` per `elems` columns put column `col` of a row. */
LANE_FN const uint8_t *unpack_at(const an_weight *w, int64_t row, int col, int elems, int bytes)
{
    return (const uint8_t *)w->data + (uint64_t)row * w->row_bytes + (size_t)(col / elems) * (size_t)bytes;
}

/* What to ask for ahead: the same columns of the next 16 rows, `run` bytes each; whole rows lie in one piece. */
typedef struct ahead {
    const char *at, *end; /* of this run */
    size_t run, stride;
} ahead;

LANE_FN ahead ahead_of(const uint8_t *first, size_t stride, size_t run)
{
    if (run == stride) run = stride = 16 * stride;
    const char *at = (const char *)first + (stride == run ? stride : 16 * stride);
    return (ahead){at, at + run, run, stride};
}

/* The lines of 16 times `bytes` more: asked for bit by bit, as the unpacking goes on. */
LANE_FN void unpack_prefetch(ahead *a, const int bytes)
{
    for (int i = 0; i < 16 * bytes; i += 64, a->at += 64) {
        if (a->at >= a->end) {
            a->end += a->stride;
            a->at = a->end - a->run;
        }
        __builtin_prefetch(a->at, 0, 2);
    }
}

/* Nibbles of 16 bytes in the order j, j + 16: eight vectors of codes. */
LANE_FN void put_nibbles(uint8_t *codes, const vi q[4])
{
    for (int j = 0; j < 4; j++) {
        vi_store(codes + 64 * j, NIBBLE_LOW(q[j]));
        vi_store(codes + 64 * (j + 4), NIBBLE_HIGH(q[j]));
    }
}

static void unpack_q4_0(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 18);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)n_block * 18);
    for (int b = 0; b < n_block; b++, p += 18) {
        unpack_prefetch(&next, 18);
        vi q[4];
        vi_rows16(p + 2, stride, q);
        put_nibbles(panel->codes + 512 * b, q);
        vf d = vf_f16_low(vi_gather(p, stride));
        vf_store(panel->scales + 16 * b, d);
        vf_store(panel->mins + 16 * b, vf_mul(d, vf_set1(-8)));
    }
}

/* Blocks are five dwords, so four of them are five loads of 16 bytes and need no extra ones for their scales. */
static void unpack_q4_1(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 20);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)n_block * 20);
    int b = 0;
    for (; b + 4 <= n_block; b += 4, p += 80) {
        unpack_prefetch(&next, 80);
        vi d[20];
#pragma GCC unroll 5
        for (int i = 0; i < 5; i++) vi_rows16(p + 16 * i, stride, d + 4 * i);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
            put_nibbles(panel->codes + 512 * (b + i), d + 5 * i + 1);
            vf_store(panel->scales + 16 * (b + i), vf_f16_low(d[5 * i]));
            vf_store(panel->mins + 16 * (b + i), vf_f16_high(d[5 * i]));
        }
    }
    for (; b < n_block; b++, p += 20) {
        vi q[4], dm = vi_gather(p, stride);
        vi_rows16(p + 4, stride, q);
        put_nibbles(panel->codes + 512 * b, q);
        vf_store(panel->scales + 16 * b, vf_f16_low(dm));
        vf_store(panel->mins + 16 * b, vf_f16_high(dm));
    }
}

/* Four bits from `high` >> 4j on become bit 4 of the four bytes: the product lays copies 7 bits apart. */
#define FIFTH_BITS(high, j)                                                                        \
    vi_shl(vi_and(vi_mul(vi_and(vi_shr(high, 4 * (j)), vi_set1(15)), vi_set1(0x00204081)),         \
                  vi_set1(0x01010101)),                                                            \
           4)

LANE_FN void put_five_bits(uint8_t *codes, const vi q[4], vi high)
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        vi_store(codes + 64 * j, vi_or(NIBBLE_LOW(q[j]), FIFTH_BITS(high, j)));
        vi_store(codes + 64 * (j + 4), vi_or(NIBBLE_HIGH(q[j]), FIFTH_BITS(high, j + 4)));
    }
}

static void unpack_q5_0(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 22);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)n_block * 22);
    for (int b = 0; b < n_block; b++, p += 22) {
        unpack_prefetch(&next, 22);
        vi q[4];
        vi_rows16(p + 6, stride, q);
        put_five_bits(panel->codes + 512 * b, q, vi_gather(p + 2, stride));
        vf d = vf_f16_low(vi_gather(p, stride));
        vf_store(panel->scales + 16 * b, d);
        vf_store(panel->mins + 16 * b, vf_mul(d, vf_set1(-16)));
    }
}

static void unpack_q5_1(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 24);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)n_block * 24);
    for (int b = 0; b < n_block; b++, p += 24) {
        unpack_prefetch(&next, 24);
        vi q[4], dm = vi_gather(p, stride);
        vi_rows16(p + 8, stride, q);
        put_five_bits(panel->codes + 512 * b, q, vi_gather(p + 4, stride));
        vf_store(panel->scales + 16 * b, vf_f16_low(dm));
        vf_store(panel->mins + 16 * b, vf_f16_high(dm));
    }
}

static void unpack_q8_0(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 34);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)n_block * 34);
    vi flip = vi_set1((int32_t)(AN_LANES_CODE_XOR * 0x01010101u));
    for (int b = 0; b < n_block; b++, p += 34) {
        unpack_prefetch(&next, 34);
        for (int i = 0; i < 2; i++) {
            vi q[4];
            vi_rows16(p + 2 + 16 * i, stride, q);
            for (int j = 0; j < 4; j++) vi_store(panel->codes + 512 * b + 256 * i + 64 * j, vi_xor(q[j], flip));
        }
        vf_store(panel->scales + 16 * b, vf_f16_low(vi_gather(p, stride)));
    }
}

/* A superblock's numbers to their lines of a panel: n pairs, then what they are multiplied by. */
LANE_FN void put_super(float *lines, const vi *pairs, const int n, vf d)
{
#pragma GCC unroll 8
    for (int i = 0; i < n; i++) vi_store(lines + 16 * i, pairs[i]);
    vf_store(lines + 16 * n, d);
}

/* Q4_K and Q5_K: eight scales and minima of 6 bits in three dwords behind d and dmin (formats.md 2.2). */
LANE_FN void put_k4_scales(const uint8_t *p, size_t stride, float *scales, float *mins)
{
    vi s[4], six = vi_set1(0x3F3F3F3F), two = vi_set1(0x30303030);
    vi_rows16(p, stride, s);
    vi scale[2] = {vi_and(s[1], six), vi_or(NIBBLE_LOW(s[3]), vi_and(vi_shr(s[1], 2), two))};
    vi min[2] = {vi_and(s[2], six), vi_or(NIBBLE_HIGH(s[3]), vi_and(vi_shr(s[2], 2), two))};
    vi scale_pairs[4], min_pairs[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        scale_pairs[i] = pair_of_bytes(scale[i / 2], i & 1);
        min_pairs[i] = pair_of_bytes(min[i / 2], i & 1);
    }
    put_super(scales, scale_pairs, 4, vf_f16_low(s[0]));
    put_super(mins, min_pairs, 4, vf_sub(vf_zero(), vf_f16_high(s[0])));
}

static void unpack_q4_k(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 144);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 144);
    for (int b = 0; b < n_block; b++, p += 144) {
        put_k4_scales(p, stride, panel->scales + 128 * b, panel->mins + 128 * b);
        for (int i = 0; i < 8; i++) {
            unpack_prefetch(&next, 18);
            /* 16 bytes: half of the codes of groups 2 (i / 2) and 2 (i / 2) + 1. */
            uint8_t *codes = panel->codes + 4096 * b + 1024 * (i / 2) + 256 * (i & 1);
            vi q[4];
            vi_rows16(p + 16 + 16 * i, stride, q);
            for (int j = 0; j < 4; j++) {
                vi_store(codes + 64 * j, NIBBLE_LOW(q[j]));
                vi_store(codes + 512 + 64 * j, NIBBLE_HIGH(q[j]));
            }
        }
    }
}

/* Bit g of every byte moved to bit 4; g is a constant. */
#define BIT_TO_4(v, g)                                                                             \
    vi_and((g) <= 4 ? vi_shl(v, (g) <= 4 ? 4 - (g) : 0) : vi_shr(v, (g) > 4 ? (g)-4 : 0),            \
           vi_set1(0x10101010))

LANE_FN void put_q5_k_pair(uint8_t *codes, const uint8_t *p, size_t stride, const vi high[8], const int g)
{
    for (int i = 0; i < 2; i++) {
        vi q[4];
        vi_rows16(p + 48 + 16 * g + 16 * i, stride, q);
        for (int j = 0; j < 4; j++) {
            vi h = high[4 * i + j];
            vi_store(codes + 512 * g + 256 * i + 64 * j, vi_or(NIBBLE_LOW(q[j]), BIT_TO_4(h, g)));
            vi_store(codes + 512 * (g + 1) + 256 * i + 64 * j,
                     vi_or(NIBBLE_HIGH(q[j]), BIT_TO_4(h, g + 1)));
        }
    }
}

static void unpack_q5_k(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 176);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 176);
    for (int b = 0; b < n_block; b++, p += 176) {
        put_k4_scales(p, stride, panel->scales + 128 * b, panel->mins + 128 * b);
        vi high[8];
        vi_rows16(p + 16, stride, high);
        vi_rows16(p + 32, stride, high + 4);
        uint8_t *codes = panel->codes + 4096 * b;
        unpack_prefetch(&next, 44);
        put_q5_k_pair(codes, p, stride, high, 0);
        unpack_prefetch(&next, 44);
        put_q5_k_pair(codes, p, stride, high, 2);
        unpack_prefetch(&next, 44);
        put_q5_k_pair(codes, p, stride, high, 4);
        unpack_prefetch(&next, 44);
        put_q5_k_pair(codes, p, stride, high, 6);
    }
}

/* Sixteen signed bytes in four dwords. */
LANE_FN void put_signed_scales(const vi s[4], vf d, float *scales)
{
    vi pairs[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        vi first = vi_sra(vi_shl(s[i / 2], i & 1 ? 8 : 24), 24), second = vi_sra(vi_shl(s[i / 2], i & 1 ? 0 : 16), 24);
        pairs[i] = pair_of(first, second);
    }
    put_super(scales, pairs, 8, d);
}

static void unpack_q6_k(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 210);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 210);
    vi two = vi_set1(0x30303030);
    for (int b = 0; b < n_block; b++, p += 210) {
        vi s[4];
        vi_rows16(p + 192, stride, s);
        put_signed_scales(s, vf_f16_high(vi_gather(p + 206, stride)), panel->scales + 256 * b);
        for (int i = 0; i < 4; i++) {
            unpack_prefetch(&next, 53);
            /* Half i / 2 of the block, bytes 16 (i & 1) of each run of 32. */
            const uint8_t *low = p + 64 * (i / 2) + 16 * (i & 1);
            uint8_t *codes = panel->codes + 4096 * b + 2048 * (i / 2) + 256 * (i & 1);
            vi a[4], c[4], high[4];
            vi_rows16(low, stride, a);
            vi_rows16(low + 32, stride, c);
            vi_rows16(p + 128 + 32 * (i / 2) + 16 * (i & 1), stride, high);
            for (int j = 0; j < 4; j++, codes += 64) {
                vi_store(codes, vi_or(NIBBLE_LOW(a[j]), vi_and(vi_shl(high[j], 4), two)));
                vi_store(codes + 512, vi_or(NIBBLE_LOW(c[j]), vi_and(vi_shl(high[j], 2), two)));
                vi_store(codes + 1024, vi_or(NIBBLE_HIGH(a[j]), vi_and(high[j], two)));
                vi_store(codes + 1536, vi_or(NIBBLE_HIGH(c[j]), vi_and(vi_shr(high[j], 2), two)));
            }
        }
    }
}

static void unpack_q2_k(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 84);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 84);
    vi mask = vi_set1(0x03030303);
    for (int b = 0; b < n_block; b++, p += 84) {
        vi s[4], dm = vi_gather(p + 80, stride);
        vi_rows16(p, stride, s);
        vi scales[8], mins[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            scales[i] = pair_of_bytes(NIBBLE_LOW(s[i / 2]), i & 1);
            mins[i] = pair_of_bytes(NIBBLE_HIGH(s[i / 2]), i & 1);
        }
        put_super(panel->scales + 256 * b, scales, 8, vf_f16_low(dm));
        put_super(panel->mins + 256 * b, mins, 8, vf_sub(vf_zero(), vf_f16_high(dm)));
        for (int i = 0; i < 4; i++) {
            unpack_prefetch(&next, 21);
            uint8_t *codes = panel->codes + 4096 * b + 2048 * (i / 2) + 256 * (i & 1);
            vi q[4];
            vi_rows16(p + 16 + 16 * i, stride, q);
            for (int j = 0; j < 4; j++, codes += 64) {
                vi_store(codes, vi_and(q[j], mask));
                vi_store(codes + 512, vi_and(vi_shr(q[j], 2), mask));
                vi_store(codes + 1024, vi_and(vi_shr(q[j], 4), mask));
                vi_store(codes + 1536, vi_and(vi_shr(q[j], 6), mask));
            }
        }
    }
}

/* The third bit of run s of Q3_K's half h is bit 4h + s of the mask bytes; here it becomes bit 5 (codes times 8). */
LANE_FN void put_q3_k_half(uint8_t *codes, const uint8_t *p, size_t stride, const vi mask[8], const int h)
{
    vi two = vi_set1(0x18181818), bit = vi_set1(0x20202020);
    for (int i = 0; i < 2; i++) {
        vi q[4];
        vi_rows16(p + 32 + 32 * h + 16 * i, stride, q);
        for (int j = 0; j < 4; j++) {
            vi m = h ? vi_shr(mask[4 * i + j], 4) : mask[4 * i + j];
            uint8_t *to = codes + 2048 * h + 256 * i + 64 * j;
            vi_store(to, vi_or(vi_and(vi_shl(q[j], 3), two), vi_and(vi_shl(m, 5), bit)));
            vi_store(to + 512, vi_or(vi_and(vi_shl(q[j], 1), two), vi_and(vi_shl(m, 4), bit)));
            vi_store(to + 1024, vi_or(vi_and(vi_shr(q[j], 1), two), vi_and(vi_shl(m, 3), bit)));
            vi_store(to + 1536, vi_or(vi_and(vi_shr(q[j], 3), two), vi_and(vi_shl(m, 2), bit)));
        }
    }
}

static void unpack_q3_k(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 110);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 110);
    for (int b = 0; b < n_block; b++, p += 110) {
        unpack_prefetch(&next, 110);
        /* The last 16 bytes: two of codes, twelve of scales, d. */
        vi t[4], s[4], three = vi_set1(0x30303030), minus32 = vi_set1(-32);
        vi_rows16(p + 94, stride, t);
        vi s0 = vi_or(vi_shr(t[0], 16), vi_shl(t[1], 16)), s1 = vi_or(vi_shr(t[1], 16), vi_shl(t[2], 16));
        vi s2 = vi_or(vi_shr(t[2], 16), vi_shl(t[3], 16));
        s[0] = vi_or(NIBBLE_LOW(s0), vi_and(vi_shl(s2, 4), three));
        s[1] = vi_or(NIBBLE_LOW(s1), vi_and(vi_shl(s2, 2), three));
        s[2] = vi_or(NIBBLE_HIGH(s0), vi_and(s2, three));
        s[3] = vi_or(NIBBLE_HIGH(s1), vi_and(vi_shr(s2, 2), three));
        vi pairs[8];
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            vi first = vi_and(vi_shr(s[i / 2], i & 1 ? 16 : 0), vi_set1(0xFF));
            vi second = vi_and(vi_shr(s[i / 2], i & 1 ? 24 : 8), vi_set1(0xFF));
            pairs[i] = pair_of(vi_add(first, minus32), vi_add(second, minus32));
        }
        put_super(panel->scales + 256 * b, pairs, 8, vf_mul(vf_f16_high(t[3]), vf_set1(0.125f)));
        vi mask[8];
        vi_rows16(p, stride, mask);
        vi_rows16(p + 16, stride, mask + 4);
        put_q3_k_half(panel->codes + 4096 * b, p, stride, mask, 0);
        put_q3_k_half(panel->codes + 4096 * b, p, stride, mask, 1);
    }
}

LANE_FN void iq4_table(uint8_t table[16])
{
    for (int i = 0; i < 16; i++) table[i] = (uint8_t)an_iq4_values[i] ^ AN_LANES_CODE_XOR;
}

LANE_FN void put_iq4(uint8_t *codes, const uint8_t table[16], const uint8_t *p, size_t stride)
{
    vi q[4];
    vi_rows16(p, stride, q);
    for (int j = 0; j < 4; j++) {
        vi_store(codes + 64 * j, vi_lookup(table, NIBBLE_LOW(q[j])));
        vi_store(codes + 64 * (j + 4), vi_lookup(table, NIBBLE_HIGH(q[j])));
    }
}

/* Half of a power of two, whose E8M0 byte lies where a float has its exponent; 255 is NaN, 0 is 2^-127. */
LANE_FN vf e8m0_half(vi exponent)
{
    vi nan = vi_shl(vi_shr(vi_add(exponent, vi_set1(0x00800000)), 31), 22);
    return vf_mul(vf_from_bits(vi_or(vi_max(exponent, vi_set1(0x00400000)), nan)), vf_set1(0.5f));
}

/*
 * Blocks of `bytes`, 16 of which are 32 codes of a table behind a scale: E8M0, of which half is meant (twice the value is
 * in the table), or f16.
 */
LANE_FN void unpack_looked_up(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel,
                              const uint8_t table[16], const int bytes, const bool e8m0)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, bytes);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)(n_block * bytes));
    for (int b = 0; b < n_block; b++, p += bytes) {
        unpack_prefetch(&next, bytes);
        put_iq4(panel->codes + 512 * b, table, p + bytes - 16, stride);
        vi head = vi_gather(p, stride);
        vf_store(panel->scales + 16 * b, e8m0 ? e8m0_half(vi_shl(vi_and(head, vi_set1(0xFF)), 23)) : vf_f16_low(head));
    }
}

static void unpack_iq4_nl(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    uint8_t table[16];
    iq4_table(table);
    unpack_looked_up(w, row, col_begin, col_end, panel, table, 18, false);
}

static void unpack_iq4_xs(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 256, 136);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 256;
    ahead next = ahead_of(p, stride, (size_t)n_block * 136);
    uint8_t table[16];
    iq4_table(table);
    vi low4 = vi_set1(15), high2 = vi_set1(0x30), minus32 = vi_set1(-32);
    for (int b = 0; b < n_block; b++, p += 136) {
        vi head = vi_gather(p, stride), low = vi_gather(p + 4, stride), high = vi_shr(head, 16);
        vi scales[8], pairs[4];
        /* Four bits each of `low`, two each of `high`, used up from below. */
        for (int g = 0; g < 8; g++) {
            unpack_prefetch(&next, 17);
            scales[g] = vi_add(vi_or(vi_and(low, low4), vi_and(vi_shl(high, 4), high2)), minus32);
            low = vi_shr(low, 4);
            high = vi_shr(high, 2);
            put_iq4(panel->codes + 4096 * b + 512 * g, table, p + 8 + 16 * g, stride);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) pairs[i] = pair_of(scales[2 * i], scales[2 * i + 1]);
        put_super(panel->scales + 128 * b, pairs, 4, vf_f16_low(head));
    }
}

/* Number i of the 8 (F16, BF16) or 4 (F32) that lie in 16 bytes of every row; i and type are constants. */
LANE_FN vf affine_number(const vi n[4], const int i, const an_dtype type)
{
    if (type == AN_DTYPE_F32) return vf_from_bits(n[i & 3]);
    if (type == AN_DTYPE_F16) return i & 1 ? vf_f16_high(n[i / 2]) : vf_f16_low(n[i / 2]);
    return vf_from_bits(i & 1 ? vi_and(n[i / 2], vi_set1((int32_t)0xFFFF0000u)) : vi_shl(n[i / 2], 16));
}

/* The groups of a panel's columns: `first` is the group of its first column. */
typedef struct affine_range {
    int first, n_group, per_group;
    bool eight_bits; /* minimum = bias + 128 * scale */
} affine_range;

LANE_FN void put_affine_group(const an_panel *panel, const affine_range *r, int group, vf scale, vf min)
{
    if (group < r->first || group >= r->first + r->n_group) return;
    if (r->eight_bits) min = vf_add(min, vf_mul(scale, vf_set1(128)));
    for (int i = 0; i < r->per_group; i++) {
        size_t at = 16 * ((size_t)(group - r->first) * (size_t)r->per_group + (size_t)i);
        vf_store(panel->scales + at, scale);
        vf_store(panel->mins + at, min);
    }
}

/* 16 bytes of every row at a time; the last step goes back so far that it ends with the row. */
LANE_FN void put_affine_typed(const an_weight *w, int64_t row, const an_panel *panel, const affine_range *r,
                              const an_dtype type)
{
    const int size = type == AN_DTYPE_F32 ? 4 : 2, per_load = 16 / size;
    int n_group = (int)(w->n_col / w->affine.group);
    size_t stride = (size_t)(n_group * size), run = (size_t)(r->n_group * size);
    const uint8_t *scales = (const uint8_t *)w->affine.scales + (size_t)row * stride;
    const uint8_t *biases = (const uint8_t *)w->affine.biases + (size_t)row * stride;
    ahead next_scales = ahead_of(scales + r->first * size, stride, run);
    ahead next_biases = ahead_of(biases + r->first * size, stride, run);
    for (int g = r->first; g < r->first + r->n_group; g += per_load) {
        unpack_prefetch(&next_scales, 16);
        unpack_prefetch(&next_biases, 16);
        int from = g + per_load <= n_group ? g : n_group - per_load;
        vi s[4], b[4];
        vi_rows16(scales + from * size, stride, s);
        vi_rows16(biases + from * size, stride, b);
#pragma GCC unroll 8
        for (int i = 0; i < per_load; i++)
            put_affine_group(panel, r, from + i, affine_number(s, i, type), affine_number(b, i, type));
    }
}

/* Scales and minima of every group of 32; eight_bits: minimum = bias + 128 * scale. */
LANE_FN void put_affine_scales(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel,
                               const bool eight_bits)
{
    an_dtype type = w->affine.scale_dtype;
    int64_t n_group = w->n_col / w->affine.group;
    affine_range range = {col_begin / w->affine.group, (col_end - col_begin) / w->affine.group,
                          w->affine.group / 32, eight_bits};
    if (n_group < (type == AN_DTYPE_F32 ? 4 : 8)) {
        for (int g = range.first; g < range.first + range.n_group; g++) {
            float s[16], b[16];
            for (int r = 0; r < 16; r++) {
                s[r] = an_float_load(type, w->affine.scales, (row + r) * n_group + g);
                b[r] = an_float_load(type, w->affine.biases, (row + r) * n_group + g);
            }
            put_affine_group(panel, &range, g, vf_load(s), vf_load(b));
        }
        return;
    }
    if (type == AN_DTYPE_F16) put_affine_typed(w, row, panel, &range, AN_DTYPE_F16);
    else if (type == AN_DTYPE_BF16) put_affine_typed(w, row, panel, &range, AN_DTYPE_BF16);
    else put_affine_typed(w, row, panel, &range, AN_DTYPE_F32);
}

static void unpack_affine8(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    const uint8_t *base = unpack_at(w, row, col_begin, 32, 32);
    size_t stride = w->row_bytes;
    ahead next = ahead_of(base, stride, (size_t)(col_end - col_begin));
    vi flip = vi_set1((int32_t)((0x80u ^ AN_LANES_CODE_XOR) * 0x01010101u));
    for (int b = 0; b < (col_end - col_begin) / 16; b++) {
        unpack_prefetch(&next, 16);
        vi q[4];
        vi_rows16(base + 16 * b, stride, q);
        for (int j = 0; j < 4; j++) vi_store(panel->codes + 256 * b + 64 * j, vi_xor(q[j], flip));
    }
    put_affine_scales(w, row, col_begin, col_end, panel, true);
}

/* Bytes 0 0 1 1 of a dword; even bytes keep their low nibble, odd ones their high nibble. */
LANE_FN vi alternate_nibbles(vi v)
{
    return vi_or(vi_and(v, vi_set1(0x000F000F)), vi_and(vi_shr(v, 4), vi_set1(0x0F000F00)));
}

static void unpack_affine4(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
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
            vi_store(panel->codes + 512 * b + 128 * j, alternate_nibbles(vi_dup_low(q[j])));
            vi_store(panel->codes + 512 * b + 128 * j + 64, alternate_nibbles(vi_dup_high(q[j])));
        }
    }
    put_affine_scales(w, row, col_begin, col_end, panel, false);
}

/* 4 * bits bits of the stream, codes 4j..4j+3, each moved to a byte of its own; d holds the stream's dwords. */
LANE_FN vi affine_codes4(const vi *d, const int bits, const int j)
{
    const int at = 4 * bits * j, i = at / 32, shift = at % 32;
    const int32_t mask = (1 << bits) - 1;
    vi f = shift ? vi_shr(d[i], shift) : d[i];
    if (shift + 4 * bits > 32) f = vi_or(f, vi_shl(d[i + 1], 32 - shift));
    vi low = vi_or(vi_and(f, vi_set1(mask)), vi_and(vi_shl(f, 8 - bits), vi_set1(mask << 8)));
    vi high = vi_or(vi_and(vi_shl(f, 16 - 2 * bits), vi_set1(mask << 16)),
                    vi_and(vi_shl(f, 24 - 3 * bits), vi_set1(mask << 24)));
    return vi_or(low, high);
}

/* Widths that do not divide a byte, and 2: 32 codes are `bits` dwords. */
LANE_FN void unpack_affine_bits(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel,
                                const int bits)
{
    const uint8_t *p = unpack_at(w, row, col_begin, 32, 4 * bits);
    size_t stride = w->row_bytes;
    int n_block = (col_end - col_begin) / 32;
    ahead next = ahead_of(p, stride, (size_t)(n_block * 4 * bits));
    for (int b = 0; b < n_block; b++, p += 4 * bits) {
        unpack_prefetch(&next, 4 * bits);
        vi d[6];
        int i = 0;
        if (bits >= 4) {
            vi_rows16(p, stride, d);
            i = 4;
        }
#pragma GCC unroll 6
        for (; i < bits; i++) d[i] = vi_gather(p + 4 * i, stride);
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) vi_store(panel->codes + 512 * b + 64 * j, affine_codes4(d, bits, j));
    }
    put_affine_scales(w, row, col_begin, col_end, panel, false);
}

static void unpack_affine2(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    unpack_affine_bits(w, row, col_begin, col_end, panel, 2);
}
static void unpack_affine3(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    unpack_affine_bits(w, row, col_begin, col_end, panel, 3);
}
static void unpack_affine5(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    unpack_affine_bits(w, row, col_begin, col_end, panel, 5);
}
static void unpack_affine6(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel)
{
    unpack_affine_bits(w, row, col_begin, col_end, panel, 6);
}

#endif
