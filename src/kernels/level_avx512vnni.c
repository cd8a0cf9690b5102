/*
 * x86 with AVX-512 F, BW, DQ, VL and VNNI; and the levels of the same functions for processors that have BF16, and AMX as well.
 */
#include "base/isa.h"
#include "kernels/lanes/avx512.h"

#define AN_LEVEL_TABLE an_kernels_avx512vnni
#define AN_LEVEL_NAME "avx512vnni"
#define AN_LEVEL_NEEDS (AN_ISA_AVX2 | AN_ISA_AVX512 | AN_ISA_AVX512_VNNI)
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"

#undef AN_LEVEL_TABLE
#undef AN_LEVEL_NAME
#undef AN_LEVEL_NEEDS
#undef AN_LEVEL_KV_PAIRS
#undef ATTENTION_

#define AN_LEVEL_TABLE an_kernels_avx512bf16
#define AN_LEVEL_NAME "avx512bf16"
#define AN_LEVEL_NEEDS (AN_ISA_AVX2 | AN_ISA_AVX512 | AN_ISA_AVX512_VNNI | AN_ISA_AVX512_BF16)
#define AN_LEVEL_KV_PAIRS true
#include "kernels/body/level.h"

#undef AN_LEVEL_TABLE
#undef AN_LEVEL_NAME
#undef AN_LEVEL_NEEDS
#undef AN_LEVEL_COMPUTE
#undef AN_LEVEL_WIDE
#undef ATTENTION_

#define AN_LEVEL_TABLE an_kernels_amx
#define AN_LEVEL_NAME "amx"
#define AN_LEVEL_NEEDS                                                                                                 \
    (AN_ISA_AVX2 | AN_ISA_AVX512 | AN_ISA_AVX512_VNNI | AN_ISA_AVX512_BF16 | AN_ISA_AVX512_VBMI | AN_ISA_AMX_BF16)
#define AN_LEVEL_COMPUTE AN_COMPUTE_BF16
#define AN_LEVEL_WIDE &an_wide_amx
#include "kernels/body/level.h"
