/* Activations to int8 records (act.h). Included after a lanes header. */
#ifndef AN_BODY_QUANTIZE_H
#define AN_BODY_QUANTIZE_H

#include "kernels/act.h"

/*
 * `n_group` groups of 32, a superblock further on, asked for by the first token of a tile to be written: they are often another
 * core's, which has read them, and stores would get them one by one.
 */
LANE_FN void records_ask(uint8_t *records, int n_group, int width, int slot)
{
    if (slot != 0) return;
    records += AN_SUPER / 32 * width * AN_RECORD_BYTES;
    for (int i = 0; i < n_group * width; i++) __builtin_prefetch(records + i * AN_RECORD_BYTES, 1, 3);
}

/* x [n_col] becomes token `slot` of a tile of `width`; values are rounded to nearest, ties to even. */
static void quantize(const float *x, int n_col, int width, int slot, uint8_t *records)
{
    for (int c = 0; c < n_col; c += 32, records += width * AN_RECORD_BYTES) {
        records_ask(records, 1, width, slot);
        vf low = vf_load(x + c), high = vf_load(x + c + 16);
        float largest = vf_max_all(vf_max(vf_abs(low), vf_abs(high)));
        /* Below this 127 / largest would overflow; such activations count as zero. */
        float inverse = largest > 1e-30f ? 127.0f / largest : 0.0f;
        float scale = largest > 1e-30f ? largest / 127.0f : 0.0f;
        vi a = vf_round(vf_mul(low, vf_set1(inverse))), b = vf_round(vf_mul(high, vf_set1(inverse)));
        vi_store_bytes(records + AN_REC_CODES(width, slot), a);
        vi_store_bytes(records + AN_REC_CODES(width, slot) + 16, b);
        int32_t sum[2] = {vi_sum(a), vi_sum(b)}, init = -128 * (sum[0] + sum[1]);
        float scaled = scale * (float)(sum[0] + sum[1]);
        memcpy(records + AN_REC_SCALE(width, slot), &scale, 4);
        memcpy(records + AN_REC_SUM(width, slot), &scaled, 4);
        memcpy(records + AN_REC_INIT(width, slot), &init, 4);
        for (int half = 0; half < 2; half++) {
            int32_t init16 = -32 * sum[half];
            memcpy(records + AN_REC_INIT16(width, slot, half), &init16, 4);
        }
    }
}

/* Of each sixteen columns of a superblock the sum of codes; and the largest sums of 16 and of 32 codes without their signs. */
typedef struct super_sums {
    int32_t sum[AN_SUPER / 16], most16, most32;
#ifdef AN_LANES_SHORT
    int32_t upper[AN_SUPER / 16]; /* of columns 2 and 3 of every four */
#endif
} super_sums;

/* To the caller's own struct: a copy of one that was just written number by number waits until all is in the cache. */
LANE_FN void super_codes(const float *x, float inverse, int width, int slot, uint8_t *records, super_sums *s)
{
#ifdef AN_LANES_SHORT
    static const int32_t upper_columns[16] = {0, 0, -1, -1, 0, 0, -1, -1, 0, 0, -1, -1, 0, 0, -1, -1};
#endif
    int32_t most16 = 0, most32 = 0;
    for (int i = 0, before = 0; i < AN_SUPER / 16; i++) {
        vf v = vf_mul(vf_load(x + 16 * i), vf_set1(inverse)); /* NaN and infinity must not spoil the sums */
        vi q = vf_round(vf_min(vf_max(v, vf_set1(-127)), vf_set1(127)));
        int32_t size = vi_sum(vi_max(q, vi_add(vi_xor(q, vi_set1(-1)), vi_set1(1))));
        vi_store_bytes(records + i / 2 * width * AN_RECORD_BYTES + AN_REC_CODES(width, slot) + 16 * (i & 1), q);
        s->sum[i] = vi_sum(q);
#ifdef AN_LANES_SHORT
        s->upper[i] = vi_sum(vi_and(q, vi_load(upper_columns)));
#endif
        if (size > most16) most16 = size;
        if ((i & 1) && before + size > most32) most32 = before + size;
        before = size;
    }
    s->most16 = most16;
    s->most32 = most32;
}

LANE_FN void super_put(uint8_t *record, int offset, int32_t value)
{
    memcpy(record + offset, &value, 4);
}

/* So many times its size a superblock's codes may have: then even if all n of a sum are rounded up, by half, it is in bounds. */
LANE_FN float super_fit(int32_t sum, int32_t bound, int n)
{
    return sum > bound ? (float)(bound - n / 2) / (float)(sum + n / 2) : 1.0f;
}

/* The same with a scale per AN_SUPER columns. */
static void quantize_super(const float *x, int n_col, int width, int slot, bool tight, uint8_t *records)
{
    for (int c = 0; c < n_col; c += AN_SUPER, records += AN_SUPER / 32 * width * AN_RECORD_BYTES) {
        records_ask(records, AN_SUPER / 32, width, slot);
        vf most = vf_abs(vf_load(x + c));
        for (int i = 16; i < AN_SUPER; i += 16) most = vf_max(most, vf_abs(vf_load(x + c + i)));
        float largest = vf_max_all(most);
        bool counts = largest > 1e-30f;
        float inverse = counts ? 127.0f / largest : 0.0f, scale = counts ? largest / 127.0f : 0.0f;
        super_sums s;
        super_codes(x + c, inverse, width, slot, records, &s);
        float fit = super_fit(s.most16, AN_SUPER_SUM16, 16), fit32 = tight ? super_fit(s.most32, AN_SUPER_SUM32, 32) : 1.0f;
        if (fit32 < fit) fit = fit32;
        if (fit < 1.0f) {
            inverse *= fit;
            scale /= fit;
            super_codes(x + c, inverse, width, slot, records, &s);
        }
        for (int g = 0; g < AN_SUPER / 32; g++) {
            uint8_t *record = records + g * width * AN_RECORD_BYTES;
            int32_t low = s.sum[2 * g], high = s.sum[2 * g + 1], next = g & 1 ? 0 : s.sum[2 * g + 2] + s.sum[2 * g + 3];
            memcpy(record + AN_REC_SCALE(width, slot), &scale, 4);
            super_put(record, AN_REC_PAIR(width, slot), an_int16_pair(low + high, next));
            super_put(record, AN_REC_INIT(width, slot), -128 * (low + high));
            super_put(record, AN_REC_PAIR16(width, slot), an_int16_pair(low, high));
            super_put(record, AN_REC_UPPER16(width, slot), 32768 - 32 * high);
            for (int half = 0; half < 2; half++) {
                int32_t init16 = -32 * (half ? high : low);
#ifdef AN_LANES_SHORT
                int32_t upper = -32 * s.upper[2 * g + half];
                init16 = an_int16_pair(upper, init16 - upper);
#endif
                super_put(record, AN_REC_INIT16(width, slot, half), init16);
            }
        }
    }
}

#endif
