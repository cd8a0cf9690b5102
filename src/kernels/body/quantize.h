/* Activations to int8 records (act.h). Included after a lanes header. */
#ifndef AN_BODY_QUANTIZE_H
#define AN_BODY_QUANTIZE_H

#include "kernels/act.h"

/* x [n_col] becomes token `slot` of a tile of `width`; values are rounded to nearest, ties to even. */
static void quantize(const float *x, int n_col, int width, int slot, uint8_t *records)
{
    for (int c = 0; c < n_col; c += 32, records += width * AN_RECORD_BYTES) {
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
            float scaled16 = scale * (float)sum[half];
            int32_t init16 = -32 * sum[half];
            memcpy(records + AN_REC_SUM16(width, slot, half), &scaled16, 4);
            memcpy(records + AN_REC_INIT16(width, slot, half), &init16, 4);
        }
    }
}

#endif
