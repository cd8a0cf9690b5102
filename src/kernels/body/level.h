/*
 * All kernels of one level. A level file includes a lanes header, then this, and names itself:
 * AN_LEVEL_TABLE (the table's identifier), AN_LEVEL_NAME, AN_LEVEL_NEEDS, AN_LEVEL_COMPUTE; AN_LEVEL_WIDE when it has tiles, and
 * AN_LEVEL_KV_PAIRS (true) when it multiplies a bf16 cache in pairs.
 * Included again under other names, it makes a second table of the same functions.
 */
#include "kernels/body/attention.h"
#include "kernels/body/decode.h"
#include "kernels/body/elementwise.h"
#include "kernels/body/encode.h"
#include "kernels/body/encode_weighted.h"
#include "kernels/body/fp4.h"
#include "kernels/body/fused.h"
#include "kernels/body/kv.h"
#include "kernels/body/matmul_f32.h"
#include "kernels/body/matmul_i8.h"
#include "kernels/body/matmul_q8.h"
#include "kernels/body/peak.h"
#include "kernels/body/quantize.h"
#include "kernels/body/super.h"
#include "kernels/body/unpack.h"

#if !defined(AN_LEVEL_WIDE)
#define AN_LEVEL_WIDE NULL
#endif
#if defined(AN_LEVEL_KV_PAIRS)
#define ATTENTION_(f) f##_pairs
#else
#define ATTENTION_(f) f
#define AN_LEVEL_KV_PAIRS false
#endif
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
            [AN_DTYPE_GGML_MXFP4] = unpack_ggml_mxfp4,
            [AN_DTYPE_MXFP4] = unpack_mxfp4,
            [AN_DTYPE_NVFP4] = unpack_nvfp4,
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
    .unpack_panels =
        {
            [AN_DTYPE_Q4_0] = panels_q4_0,
            [AN_DTYPE_Q4_1] = panels_q4_1,
            [AN_DTYPE_Q5_0] = panels_q5_0,
            [AN_DTYPE_Q5_1] = panels_q5_1,
            [AN_DTYPE_Q8_0] = panels_q8_0,
            [AN_DTYPE_Q2_K] = panels_q2_k,
            [AN_DTYPE_Q3_K] = panels_q3_k,
            [AN_DTYPE_Q4_K] = panels_q4_k,
            [AN_DTYPE_Q5_K] = panels_q5_k,
            [AN_DTYPE_Q6_K] = panels_q6_k,
            [AN_DTYPE_IQ4_NL] = panels_iq4_nl,
            [AN_DTYPE_IQ4_XS] = panels_iq4_xs,
            [AN_DTYPE_GGML_MXFP4] = panels_mxfp4,
            [AN_DTYPE_MXFP4] = panels_mxfp4,
            [AN_DTYPE_NVFP4] = panels_nvfp4,
        },
    .unpack_panels_affine =
        {
            [2] = panels_affine2,
            [3] = panels_affine3,
            [4] = panels_affine4,
            [5] = panels_affine5,
            [6] = panels_affine6,
            [8] = panels_affine8,
        },
    .fused =
        {
            [AN_DTYPE_Q4_0] = UNLESS_EMULATED(fused_q4_0),
            [AN_DTYPE_Q4_1] = UNLESS_EMULATED(fused_q4_1),
            [AN_DTYPE_Q5_0] = UNLESS_EMULATED(fused_q5_0),
            [AN_DTYPE_Q5_1] = UNLESS_EMULATED(fused_q5_1),
            [AN_DTYPE_Q8_0] = UNLESS_EMULATED(fused_q8_0),
            [AN_DTYPE_Q2_K] = UNLESS_EMULATED(fused_q2_k),
            [AN_DTYPE_Q3_K] = UNLESS_EMULATED(fused_q3_k),
            [AN_DTYPE_Q4_K] = UNLESS_EMULATED(fused_q4_k),
            [AN_DTYPE_Q5_K] = UNLESS_EMULATED(fused_q5_k),
            [AN_DTYPE_Q6_K] = UNLESS_EMULATED(fused_q6_k),
            [AN_DTYPE_IQ4_NL] = UNLESS_EMULATED(fused_iq4_nl),
            [AN_DTYPE_IQ4_XS] = UNLESS_EMULATED(fused_iq4_xs),
            [AN_DTYPE_GGML_MXFP4] = UNLESS_EMULATED(fused_mxfp4),
            [AN_DTYPE_MXFP4] = UNLESS_EMULATED(fused_mxfp4),
            [AN_DTYPE_NVFP4] = UNLESS_EMULATED(fused_nvfp4),
        },
    .fused_affine =
        {
            [2] = UNLESS_EMULATED(fused_affine2),
            [3] = UNLESS_EMULATED(fused_affine3),
            [4] = UNLESS_EMULATED(fused_affine4),
            [5] = UNLESS_EMULATED(fused_affine5),
            [6] = UNLESS_EMULATED(fused_affine6),
            [8] = UNLESS_EMULATED(fused_affine8),
        },
    .pack_codes = pack_codes,
    .fp4_codes = fp4_codes,
    .interleave = interleave,
    .q8 =
        {
            [AN_CODES_MIN32] = q8_min32,
            [AN_CODES_I8] = Q8_I8,
            [AN_CODES_I8_MIN] = Q8_I8_MIN,
            [AN_CODES_OFF16] = q8_off16,
            [AN_CODES_K32] = super_k32,
            [AN_CODES_K32_I8] = SUPER_I8,
            [AN_CODES_K16] = super_k16,
            [AN_CODES_K16_OFF] = super_k16_off,
        },
    .wide = AN_LEVEL_WIDE,
    .f32 = f32_rows,
    .row_f16 = row_f16,
    .row_bf16 = row_bf16,
    .row_mxfp8 = row_mxfp8,
    .quantize = quantize,
    .super_words = SUPER_WORDS,
    .quantize_super = quantize_super,
    .rms_norm = rms_norm,
    .silu_mul = silu_mul,
    .rope_head = rope_head,
    .store_key = store_key,
    .store_value = store_value,
    .kv_pairs = AN_LEVEL_KV_PAIRS,
    .attention = ATTENTION_(attention),
    .attention_chunks = ATTENTION_(attention_chunks),
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
