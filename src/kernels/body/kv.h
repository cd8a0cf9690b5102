/*
 * The cache as lanes: storing rows, and sixteen numbers of a key or value block as f32, exactly. kv_layout.h has the
 * layout. Types are constants where these are called. Included after a lanes header.
 */
#ifndef AN_BODY_KV_H
#define AN_BODY_KV_H

#include "kernels/body/elementwise.h"
#include "kernels/kv_layout.h"

/* n <= 32 numbers as codes with one scale, which is returned as f16. */
static uint16_t kv_codes(int8_t codes[AN_KV_GROUP], const float *src, int n)
{
    float row[AN_KV_GROUP] = {0};
    memcpy(row, src, (size_t)n * sizeof *row);
    vf low = vf_load(row), high = vf_load(row + 16);
    float scale = vf_max_all(vf_max(vf_abs(low), vf_abs(high))) / 127.0f;
    /* Below this the scale is zero as f16, and its inverse may be infinite. */
    vf inverse = vf_set1(scale > 1e-30f ? 1.0f / scale : 0.0f);
    vi_store_bytes(codes, vf_round(vf_mul(low, inverse)));
    vi_store_bytes(codes + 16, vf_round(vf_mul(high, inverse)));
    return an_f16_from_f32(scale);
}

/* n <= 16 numbers as f16 or bf16. */
static void kv_halves(an_kv_dtype type, uint16_t out[16], const float *src, int n)
{
    float row[16] = {0};
    memcpy(row, src, (size_t)n * sizeof *row);
    if (type == AN_KV_F16) {
        vf_store_f16(out, vf_load(row));
        return;
    }
    for (int i = 0; i < 16; i++) out[i] = an_bf16_from_f32(row[i]);
}

static void store_key(an_kv_dtype type, void *keys, int pos, const float *src, int head_dim)
{
    int lane = pos % AN_KV_BLOCK;
    uint8_t *scales = (uint8_t *)keys + (size_t)(pos / AN_KV_BLOCK) * an_kv_key_block(type, head_dim);
    uint8_t *block = scales + an_kv_scales(type, head_dim);
    if (type == AN_KV_F32) {
        for (int d = 0; d < head_dim; d++) memcpy(block + 4 * (AN_KV_BLOCK * d + lane), src + d, 4);
    } else if (type == AN_KV_Q8_0) {
        for (int d = 0; d < head_dim; d += AN_KV_GROUP) {
            int8_t codes[AN_KV_GROUP];
            int n = head_dim - d < AN_KV_GROUP ? head_dim - d : AN_KV_GROUP;
            uint16_t scale = kv_codes(codes, src + d, n);
            for (int i = 0; i < n; i++) block[AN_KV_BLOCK * (d + i) + lane] = (uint8_t)codes[i];
            memcpy(scales + 2 * (AN_KV_BLOCK * (d / AN_KV_GROUP) + lane), &scale, 2);
        }
    } else {
        for (int d = 0; d < head_dim; d += 16) {
            uint16_t half[16];
            int n = head_dim - d < 16 ? head_dim - d : 16;
            kv_halves(type, half, src + d, n);
            for (int i = d; i < d + n; i++) {
                int at = type == AN_KV_F16 ? AN_KV_BLOCK * i + lane : AN_KV_BLOCK * (i & ~1) + 2 * lane + i % 2;
                memcpy(block + 2 * at, half + i - d, 2);
            }
        }
    }
}

static void store_value(an_kv_dtype type, void *values, int pos, const float *src, int head_dim)
{
    int dim = an_kv_dim(head_dim), row = pos % AN_KV_BLOCK;
    uint8_t *scales = (uint8_t *)values + (size_t)(pos / AN_KV_BLOCK) * an_kv_value_block(type, head_dim);
    uint8_t *block = scales + an_kv_scales(type, head_dim);
    for (int d = 0; d < dim; d += 16) {
        int span = d & ~(AN_KV_SPAN - 1), n_col = an_kv_span(dim, span), n = head_dim - d < 16 ? head_dim - d : 16;
        int at = AN_KV_BLOCK * span + row * n_col + d - span;
        if (type == AN_KV_Q8_0 && d % AN_KV_GROUP == 0) {
            int8_t codes[AN_KV_GROUP];
            uint16_t scale = kv_codes(codes, src + d, head_dim - d < AN_KV_GROUP ? head_dim - d : AN_KV_GROUP);
            memcpy(block + at, codes, (size_t)(dim - d < AN_KV_GROUP ? dim - d : AN_KV_GROUP));
            memcpy(scales + 2 * (AN_KV_BLOCK * (d / AN_KV_GROUP) + row), &scale, 2);
        } else if (type == AN_KV_F32) {
            float all[16] = {0};
            memcpy(all, src + d, (size_t)n * sizeof *all);
            memcpy(block + 4 * at, all, sizeof all);
        } else if (type == AN_KV_F16 || type == AN_KV_BF16) {
            uint16_t half[16];
            kv_halves(type, half, src + d, n);
            if (type == AN_KV_F16) memcpy(block + 2 * at, half, sizeof half);
            at = AN_KV_BLOCK * span + (row & ~1) * n_col + 2 * (d - span) + row % 2;
            for (int i = 0; type == AN_KV_BF16 && i < 16; i++) memcpy(block + 2 * (at + 2 * i), half + i, 2);
        }
    }
}

/* Keys or values of AN_KV_MADE positions that were made f32, in place of a block; codes without their scales. */
#define KV_MADE_F32 ((an_kv_dtype)(AN_KV_N + 2))
#define KV_MADE_CODES ((an_kv_dtype)AN_KV_N)
/* A bf16 cache that is multiplied in pairs of bf16. */
#define KV_BF16_PAIRS ((an_kv_dtype)(AN_KV_N + 1))

LANE_FN bool is_made(const an_kv_dtype type)
{
    return type == KV_MADE_F32 || type == KV_MADE_CODES;
}

LANE_FN bool has_codes(const an_kv_dtype type)
{
    return type == AN_KV_Q8_0 || type == KV_MADE_CODES;
}

LANE_FN an_kv_dtype stored_as(const an_kv_dtype type)
{
    return is_made(type) ? AN_KV_F32 : type == KV_BF16_PAIRS ? AN_KV_BF16 : type;
}

/* Positions of a block. */
LANE_FN int block_rows(const an_kv_dtype type)
{
    return is_made(type) ? AN_KV_MADE : AN_KV_BLOCK;
}

/* Dimensions d and d + 1 (d even) of the positions of vector `lane` of a block of keys; codes without their scale. */
LANE_FN void key_pair(const an_kv_dtype type, const uint8_t *block, int d, int lane, vf out[2])
{
    int rows = block_rows(type), at = rows * d + 16 * lane;
    if (type == AN_KV_F16) {
        out[0] = vf_load_f16(block + 2 * at);
        out[1] = vf_load_f16(block + 2 * (at + rows));
    } else if (type == AN_KV_BF16) {
        vi both = vi_load(block + 2 * (rows * d + 32 * lane));
        out[0] = vf_from_bits(vi_shl(both, 16));
        out[1] = vf_from_bits(vi_and(both, vi_set1((int32_t)0xFFFF0000)));
    } else if (type == AN_KV_Q8_0) {
        out[0] = vf_from_int(vi_load_int8(block + at));
        out[1] = vf_from_int(vi_load_int8(block + at + rows));
    } else {
        out[0] = vf_load(block + 4 * at);
        out[1] = vf_load(block + 4 * (at + rows));
    }
}

/*
 * Sixteen columns, from 16 * lane of a span on, of two positions of a block of values; `pair` is the first one's row of
 * the span, row_bytes one row. Codes without their scale.
 */
LANE_FN void value_pair(const an_kv_dtype type, const uint8_t *pair, size_t row_bytes, int lane, vf out[2])
{
    if (type == AN_KV_F16) {
        out[0] = vf_load_f16(pair + 32 * lane);
        out[1] = vf_load_f16(pair + row_bytes + 32 * lane);
    } else if (type == AN_KV_BF16) {
        vi both = vi_load(pair + 64 * lane);
        out[0] = vf_from_bits(vi_shl(both, 16));
        out[1] = vf_from_bits(vi_and(both, vi_set1((int32_t)0xFFFF0000)));
    } else if (type == AN_KV_Q8_0) {
        out[0] = vf_from_int(vi_load_int8(pair + 16 * lane));
        out[1] = vf_from_int(vi_load_int8(pair + row_bytes + 16 * lane));
    } else {
        out[0] = vf_load(pair + 64 * lane);
        out[1] = vf_load(pair + row_bytes + 64 * lane);
    }
}

/* A block's scales, with which it begins, as f32, [groups][64]. */
LANE_FN void block_scales(float *out, const uint8_t *scales, int head_dim)
{
    for (int i = 0; i < AN_KV_BLOCK * an_kv_groups(head_dim); i += 16) vf_store(out + i, vf_load_f16(scales + 2 * i));
}

#endif
