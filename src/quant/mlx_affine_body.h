/*
 * MLX's affine encoder, compiled once for each instruction set: AN_AFFINE_NAME is the function's name. The loops are plain and
 * of fixed length, so that the compiler makes vectors of them; whatever their width, the operations on a value are the same.
 */
#include "base/bytes.h"
#include "quant/half.h"
#include "quant/mlx_affine.h"
#include "quant/mlx_pack.h"

#include <string.h>

enum { GROUP_MAX = 128, LANES = 16 };

static void load_group(an_dtype from, const uint8_t *x, int n, float *v)
{
    uint16_t half[GROUP_MAX];
    if (from == AN_DTYPE_F32) {
        memcpy(v, x, (size_t)n * 4);
        return;
    }
    memcpy(half, x, (size_t)n * 2);
    if (from == AN_DTYPE_BF16) {
        for (int i = 0; i < n; i++) v[i] = an_f32_from_bits((uint32_t)half[i] << 16);
        return;
    }
    /* Exact for subnormals too; what is infinite or NaN comes out as 65536 and more, which no f16 is. */
    for (int i = 0; i < n; i++) {
        float f = an_f32_from_bits((uint32_t)(half[i] & 0x7FFF) << 13) * 0x1p112f;
        v[i] = an_f32_from_bits(an_f32_bits(f) | (uint32_t)(half[i] & 0x8000) << 16);
    }
}

/* Floats in the order of whole numbers; its own inverse. */
static inline int32_t order_key(int32_t bits)
{
    return bits ^ ((bits >> 31) & 0x7FFFFFFF);
}

static inline float from_key(int32_t key)
{
    return an_f32_from_bits((uint32_t)order_key(key));
}

/* The group's scale and bias in f32; false when a value is not finite. */
static inline bool find_scale(const float *v, int n, float largest, float limit, float *scale, float *bias)
{
    int32_t lo = INT32_MAX, hi = INT32_MIN, bits[GROUP_MAX];
    memcpy(bits, v, (size_t)n * 4);
    for (int i = 0; i < n; i++) {
        int32_t key = order_key(bits[i]);
        lo = key < lo ? key : lo;
        hi = key > hi ? key : hi;
    }
    float min = from_key(lo), max = from_key(hi);
    if (!(min > -limit && min < limit && max > -limit && max < limit)) return false;
    an_mlx_affine_scale(min, max, largest, scale, bias);
    return true;
}

static inline bool encode_groups(an_mlx_row *row, int bits, const int n)
{
    float largest = (float)((1 << bits) - 1), limit = row->from == AN_DTYPE_F16 ? 65536.0f : __builtin_inff();
    int size = row->from == AN_DTYPE_F32 ? 4 : 2;
    const uint8_t *x = row->x;
    uint8_t *codes = row->codes, *scales = row->scales, *biases = row->biases;
    for (int64_t at = 0; at < row->n; at += n, x += n * size, codes += n * bits / 8, scales += size, biases += size) {
        float v[GROUP_MAX], scale, bias, sq[LANES] = {0}, sq_error[LANES] = {0};
        uint8_t q[GROUP_MAX];
        load_group(row->from, x, n, v);
        if (!find_scale(v, n, largest, limit, &scale, &bias)) return false;
        float s = an_mlx_put_float(row->from, scale, scales), b = an_mlx_put_float(row->from, bias, biases);
        for (int i = 0; i < n; i += LANES)
            for (int j = 0; j < LANES; j++) {
                float t = (v[i + j] - bias) / scale;
                t = t > 0 ? t : 0;
                t = t < largest ? t : largest;
                float shifted = t + 0x1p23f; /* the code, halves to even, is now in the low bits */
                q[i + j] = (uint8_t)an_f32_bits(shifted);
                float diff = v[i + j] - ((shifted - 0x1p23f) * s + b);
                sq[j] += v[i + j] * v[i + j];
                sq_error[j] += diff * diff;
            }
        an_mlx_pack(q, n, bits, codes);
        float sum = 0, sum_error = 0;
        for (int j = 0; j < LANES; j++) {
            sum += sq[j];
            sum_error += sq_error[j];
        }
        row->sum_sq += (double)sum;
        row->sum_sq_error += (double)sum_error;
    }
    return true;
}

bool AN_AFFINE_NAME(an_mlx_row *row, int bits, int group)
{
    /* The constant makes loops of fixed length. */
    if (group == 32) return encode_groups(row, bits, 32);
    if (group == 64) return encode_groups(row, bits, 64);
    return encode_groups(row, bits, 128);
}
