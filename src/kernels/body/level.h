/*
 * All kernels of one level. A level file includes a lanes header, then this, and names itself:
 * AN_LEVEL_TABLE (the table's identifier), AN_LEVEL_NAME, AN_LEVEL_NEEDS, AN_LEVEL_COMPUTE.
 */
#include "kernels/body/attention.h"
#include "kernels/body/decode.h"
#include "kernels/body/elementwise.h"
#include "kernels/body/encode.h"
#include "kernels/body/encode_weighted.h"
#include "kernels/body/kv.h"
#include "kernels/body/matmul_f32.h"
#include "kernels/body/matmul_q8.h"
#include "kernels/body/peak.h"
#include "kernels/body/quantize.h"
#include "kernels/body/unpack.h"

#define UNLESS_EMULATED(f) (AN_LANES_EMULATED ? NULL : (f))

const an_kernels AN_LEVEL_TABLE = {
    .name = AN_LEVEL_NAME,
    .needs = AN_LEVEL_NEEDS,
    .default_compute = AN_LEVEL_COMPUTE,
    .code_xor = AN_LANES_CODE_XOR,
    .unpack =
        {
            [AN_DTYPE_Q4_0] = unpack_q4_0,
            [AN_DTYPE_Q4_1] = unpack_q4_1,
            [AN_DTYPE_Q5_0] = unpack_q5_0,
            [AN_DTYPE_Q5_1] = unpack_q5_1,
            [AN_DTYPE_Q8_0] = unpack_q8_0,
            [AN_DTYPE_Q2_K] = unpack_q2_k,
            [AN_DTYPE_Q3_K] = unpack_q3_k,
            [AN_DTYPE_Q4_K] = unpack_q4_k,
            [AN_DTYPE_Q5_K] = unpack_q5_k,
            [AN_DTYPE_Q6_K] = unpack_q6_k,
            [AN_DTYPE_IQ4_NL] = unpack_iq4_nl,
            [AN_DTYPE_IQ4_XS] = unpack_iq4_xs,
        },
    .unpack_affine =
        {
            [2] = unpack_affine2,
            [3] = unpack_affine3,
            [4] = unpack_affine4,
            [5] = unpack_affine5,
            [6] = unpack_affine6,
            [8] = unpack_affine8,
        },
    .pair_codes = PAIR_CODES,
    .q8 =
        {
            [AN_CODES_MIN32] = q8_min32,
            [AN_CODES_I8] = q8_i8,
            [AN_CODES_I8_MIN] = q8_i8_min,
            [AN_CODES_MIN16] = q8_min16,
            [AN_CODES_OFF16] = q8_off16,
        },
    .f32 = f32_rows,
    .row_f16 = row_f16,
    .row_bf16 = row_bf16,
    .quantize = quantize,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope_head = rope_head,
    .store_key = store_key,
    .store_value = store_value,
    .attention = attention,
    .attention_chunk = attention_chunk,
    .attention_merge = attention_merge,
    .encode =
        {
            [AN_DTYPE_F32] = encode_f32,
            [AN_DTYPE_F16] = encode_f16,
            [AN_DTYPE_BF16] = encode_bf16,
            [AN_DTYPE_Q4_0] = UNLESS_EMULATED(encode_q4_0),
            [AN_DTYPE_Q4_1] = UNLESS_EMULATED(encode_q4_1),
            [AN_DTYPE_Q5_0] = UNLESS_EMULATED(encode_q5_0),
            [AN_DTYPE_Q5_1] = UNLESS_EMULATED(encode_q5_1),
            [AN_DTYPE_Q8_0] = encode_q8_0,
            [AN_DTYPE_Q2_K] = encode_q2_k,
            [AN_DTYPE_Q3_K] = UNLESS_EMULATED(encode_q3_k),
            [AN_DTYPE_Q4_K] = encode_q4_k,
            [AN_DTYPE_Q5_K] = encode_q5_k,
            [AN_DTYPE_Q6_K] = encode_q6_k,
            [AN_DTYPE_IQ4_NL] = encode_iq4_nl,
            [AN_DTYPE_IQ4_XS] = encode_iq4_xs,
        },
    .encode_weighted =
        {
            [AN_DTYPE_Q4_0] = weighted_q4_0,
            [AN_DTYPE_Q4_1] = weighted_q4_1,
            [AN_DTYPE_Q5_0] = weighted_q5_0,
            [AN_DTYPE_Q5_1] = weighted_q5_1,
            [AN_DTYPE_Q2_K] = weighted_q2_k,
            [AN_DTYPE_Q3_K] = weighted_q3_k,
            [AN_DTYPE_Q4_K] = weighted_q4_k,
            [AN_DTYPE_Q5_K] = weighted_q5_k,
            [AN_DTYPE_Q6_K] = weighted_q6_k,
            [AN_DTYPE_IQ4_NL] = weighted_iq4_nl,
            [AN_DTYPE_IQ4_XS] = weighted_iq4_xs,
        },
    .decode =
        {
            [AN_DTYPE_Q4_0] = decode_q4_0,
            [AN_DTYPE_Q4_1] = decode_q4_1,
            [AN_DTYPE_Q5_0] = decode_q5_0,
            [AN_DTYPE_Q5_1] = decode_q5_1,
            [AN_DTYPE_Q8_0] = decode_q8_0,
            [AN_DTYPE_Q2_K] = decode_q2_k,
            [AN_DTYPE_Q3_K] = decode_q3_k,
            [AN_DTYPE_Q4_K] = decode_q4_k,
            [AN_DTYPE_Q5_K] = decode_q5_k,
            [AN_DTYPE_Q6_K] = decode_q6_k,
            [AN_DTYPE_IQ4_NL] = decode_iq4_nl,
            [AN_DTYPE_IQ4_XS] = decode_iq4_xs,
        },
    .any_nonfinite = any_nonfinite,
    .square_sums = square_sums,
    .exp = exp_row,
    .peak_read = peak_read,
    .peak_f32 = peak_f32,
    .peak_i8 = peak_i8,
};
