/* The table of element types and GGUF's numbering of them (formats.md 1.2, 2.1). */
#include "quant/dtype.h"

#include "base/error.h"

static const an_dtype_info dtype_table[AN_DTYPE_N] = {
    [AN_DTYPE_F32] = {"F32", 1, 4, 0, true},
    [AN_DTYPE_F16] = {"F16", 1, 2, 1, true},
    [AN_DTYPE_BF16] = {"BF16", 1, 2, 30, true},
    [AN_DTYPE_Q4_0] = {"Q4_0", 32, 18, 2, true},
    [AN_DTYPE_Q4_1] = {"Q4_1", 32, 20, 3, true},
    [AN_DTYPE_Q5_0] = {"Q5_0", 32, 22, 6, true},
    [AN_DTYPE_Q5_1] = {"Q5_1", 32, 24, 7, true},
    [AN_DTYPE_Q8_0] = {"Q8_0", 32, 34, 8, true},
    [AN_DTYPE_Q2_K] = {"Q2_K", 256, 84, 10, true},
    [AN_DTYPE_Q3_K] = {"Q3_K", 256, 110, 11, true},
    [AN_DTYPE_Q4_K] = {"Q4_K", 256, 144, 12, true},
    [AN_DTYPE_Q5_K] = {"Q5_K", 256, 176, 13, true},
    [AN_DTYPE_Q6_K] = {"Q6_K", 256, 210, 14, true},
    [AN_DTYPE_IQ4_NL] = {"IQ4_NL", 32, 18, 20, true},
    [AN_DTYPE_IQ4_XS] = {"IQ4_XS", 256, 136, 23, true},
    [AN_DTYPE_GGML_MXFP4] = {"MXFP4", 32, 17, 39, true},
    [AN_DTYPE_AFFINE] = {"AFFINE", 32, 0, -1, true},
    [AN_DTYPE_MXFP4] = {"mxfp4", 32, 0, -1, true},
    [AN_DTYPE_MXFP8] = {"mxfp8", 32, 0, -1, true},
    [AN_DTYPE_NVFP4] = {"nvfp4", 16, 0, -1, true},
    [AN_DTYPE_U8] = {"U8", 1, 1, -1, false},
    [AN_DTYPE_I8] = {"I8", 1, 1, 24, false},
    [AN_DTYPE_U16] = {"U16", 1, 2, -1, false},
    [AN_DTYPE_I16] = {"I16", 1, 2, 25, false},
    [AN_DTYPE_U32] = {"U32", 1, 4, -1, false},
    [AN_DTYPE_I32] = {"I32", 1, 4, 26, false},
    [AN_DTYPE_U64] = {"U64", 1, 8, -1, false},
    [AN_DTYPE_I64] = {"I64", 1, 8, 27, false},
    [AN_DTYPE_F64] = {"F64", 1, 8, 28, false},
    [AN_DTYPE_BOOL] = {"BOOL", 1, 1, -1, false},
    [AN_DTYPE_F8_E4M3] = {"F8_E4M3", 1, 1, -1, false},
    [AN_DTYPE_F8_E5M2] = {"F8_E5M2", 1, 1, -1, false},
    [AN_DTYPE_OTHER] = {"other", 1, 0, -1, false},
};

/* Retired ids (4, 5, 31-33, 36-38) stay NULL. */
static const char *const ggml_names[] = {
    [0] = "F32",      [1] = "F16",      [2] = "Q4_0",     [3] = "Q4_1",    [6] = "Q5_0",
    [7] = "Q5_1",     [8] = "Q8_0",     [9] = "Q8_1",     [10] = "Q2_K",   [11] = "Q3_K",
    [12] = "Q4_K",    [13] = "Q5_K",    [14] = "Q6_K",    [15] = "Q8_K",   [16] = "IQ2_XXS",
    [17] = "IQ2_XS",  [18] = "IQ3_XXS", [19] = "IQ1_S",   [20] = "IQ4_NL", [21] = "IQ3_S",
    [22] = "IQ2_S",   [23] = "IQ4_XS",  [24] = "I8",      [25] = "I16",    [26] = "I32",
    [27] = "I64",     [28] = "F64",     [29] = "IQ1_M",   [30] = "BF16",   [34] = "TQ1_0",
    [35] = "TQ2_0",   [39] = "MXFP4",   [40] = "NVFP4",   [41] = "Q1_0",   [42] = "Q2_0",
};

const an_dtype_info *an_dtype_get(an_dtype type)
{
    AN_ASSERT((unsigned)type < AN_DTYPE_N);
    return &dtype_table[type];
}

bool an_dtype_from_ggml(uint32_t id, an_dtype *out)
{
    for (int type = 0; type < AN_DTYPE_N; type++) {
        if (dtype_table[type].ggml_id >= 0 && (uint32_t)dtype_table[type].ggml_id == id) {
            *out = (an_dtype)type;
            return true;
        }
    }
    return false;
}

const char *an_ggml_type_name(uint32_t id)
{
    return id < sizeof ggml_names / sizeof *ggml_names ? ggml_names[id] : NULL;
}
