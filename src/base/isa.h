/* CPU flags: os/cpu.c detects them, kernels/ chooses by them. */
#ifndef AN_BASE_ISA_H
#define AN_BASE_ISA_H

/* Set as far as the operating system lets this process use the feature: for AN_ISA_AMX_* it was asked and has agreed. */
enum {
    AN_ISA_SSE42 = 1 << 0,
    AN_ISA_AVX2 = 1 << 1, /* AVX2 + FMA + F16C */
    AN_ISA_AVX_VNNI = 1 << 2,
    AN_ISA_AVX512 = 1 << 3, /* F + BW + DQ + VL */
    AN_ISA_AVX512_VNNI = 1 << 4,
    AN_ISA_AVX512_BF16 = 1 << 5,
    AN_ISA_AMX_INT8 = 1 << 6,
    AN_ISA_AMX_BF16 = 1 << 7,
    AN_ISA_AVX512_VBMI = 1 << 8,
    AN_ISA_NEON = 1 << 16,
    AN_ISA_DOTPROD = 1 << 17,
    AN_ISA_I8MM = 1 << 18,
};

#endif
