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
    uint8_t *block = (uint8_t *)keys + (size_t)(pos / AN_KV_BLOCK) * an_kv_key_block(type, head_dim);
    if (type == AN_KV_F32) {
        for (int d = 0; d < head_dim; d++) memcpy(block + 64 * d + 4 * lane, src + d, 4);
    } else if (type == AN_KV_Q8_0) {
        for (int d = 0; d < head_dim; d += AN_KV_GROUP) {
            int8_t codes[AN_KV_GROUP];
            int n = head_dim - d < AN_KV_GROUP ? head_dim - d : AN_KV_GROUP;
            uint16_t scale = kv_codes(codes, src + d, n);
            for (int i = 0; i < n; i++) block[16 * (d + i) + lane] = (uint8_t)codes[i];
            memcpy(block + 16 * head_dim + d + 2 * lane, &scale, 2);
        }
    } else {
        for (int d = 0; d < head_dim; d += 16) {
            uint16_t half[16];
            int n = head_dim - d < 16 ? head_dim - d : 16;
            kv_halves(type, half, src + d, n);
            for (int i = 0; i < n; i++) {
                int at = type == AN_KV_F16 ? 32 * (d + i) + 2 * lane : 64 * ((d + i) / 2) + 4 * lane + 2 * (i % 2);
                memcpy(block + at, half + i, 2);
            }
        }
    }
}

static void store_value(an_kv_dtype type, void *values, int pos, const float *src, int head_dim)
{
    int dim = an_kv_dim(head_dim), row = pos % AN_KV_BLOCK;
    uint8_t *block = (uint8_t *)values + (size_t)(pos / AN_KV_BLOCK) * an_kv_value_block(type, head_dim);
    if (type == AN_KV_F32) {
        memset(block + (size_t)(row * dim) * 4, 0, (size_t)dim * 4);
        memcpy(block + (size_t)(row * dim) * 4, src, (size_t)head_dim * 4);
    } else if (type == AN_KV_Q8_0) {
        uint8_t *scales = block + AN_KV_BLOCK * dim + (size_t)(row * an_kv_groups(head_dim)) * 2;
        for (int d = 0; d < head_dim; d += AN_KV_GROUP, scales += 2) {
            int8_t codes[AN_KV_GROUP];
            int n = head_dim - d < AN_KV_GROUP ? head_dim - d : AN_KV_GROUP;
            uint16_t scale = kv_codes(codes, src + d, n);
            memcpy(block + row * dim + d, codes, (size_t)(dim - d < AN_KV_GROUP ? dim - d : AN_KV_GROUP));
            memcpy(scales, &scale, 2);
        }
    } else {
        for (int d = 0; d < head_dim; d += 16) {
            uint16_t half[16];
            kv_halves(type, half, src + d, head_dim - d < 16 ? head_dim - d : 16);
            memcpy(block + (size_t)(row * dim + d) * 2, half, 32);
        }
    }
}

/* Dimensions d and d + 1 (d even) of a block of keys; `scale` of their group of 32 for codes. */
LANE_FN void key_pair(const an_kv_dtype type, const uint8_t *block, int d, vf scale, vf out[2])
{
    if (type == AN_KV_F32) {
        out[0] = vf_load(block + 64 * d);
        out[1] = vf_load(block + 64 * d + 64);
    } else if (type == AN_KV_F16) {
        out[0] = vf_load_f16(block + 32 * d);
        out[1] = vf_load_f16(block + 32 * d + 32);
    } else if (type == AN_KV_BF16) {
        vi both = vi_load(block + 32 * d);
        out[0] = vf_from_bits(vi_shl(both, 16));
        out[1] = vf_from_bits(vi_and(both, vi_set1((int32_t)0xFFFF0000)));
    } else {
        out[0] = vf_mul(vf_from_int(vi_load_int8(block + 16 * d)), scale);
        out[1] = vf_mul(vf_from_int(vi_load_int8(block + 16 * d + 16)), scale);
    }
}

/* Scales of the group of 32 dimensions that begins at d. */
LANE_FN vf key_scale(const an_kv_dtype type, const uint8_t *block, int head_dim, int d)
{
    return type == AN_KV_Q8_0 ? vf_load_f16(block + 16 * head_dim + d) : vf_zero();
}

/* Sixteen numbers of a row of values, from `lane` * 16 on; scales are those of the row, as f32. */
LANE_FN vf value_lane(const an_kv_dtype type, const uint8_t *row, const float *scales, int lane)
{
    if (type == AN_KV_F32) return vf_load(row + 64 * lane);
    if (type == AN_KV_F16) return vf_load_f16(row + 32 * lane);
    if (type == AN_KV_BF16) return vf_load_bf16(row + 32 * lane);
    return vf_mul(vf_from_int(vi_load_int8(row + 16 * lane)), vf_set1(scales[lane / 2]));
}

/* Scales of a block of values as f32: [16][groups]. */
LANE_FN void value_scales(const an_kv_dtype type, float *out, const uint8_t *block, int head_dim)
{
    if (type != AN_KV_Q8_0) return;
    const uint8_t *scales = block + AN_KV_BLOCK * an_kv_dim(head_dim);
    for (int g = 0; g < an_kv_groups(head_dim); g++) vf_store(out + 16 * g, vf_load_f16(scales + 32 * g));
}

#endif
