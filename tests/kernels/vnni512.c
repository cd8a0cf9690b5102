/*
 * The level avxvnni once more with its dot product as AVX-512 encodes it, for the same 256 bits: everything but the encoding can be
 * tested where AVX-VNNI is absent. The compiler's own instructions stay those of AVX2, so that registers are the same ones.
 */
#define AN_LANES_VNNI "%{evex%}"
#define AN_LEVEL_TABLE kcheck_vnni512
#define AN_LEVEL_NAME "vnni512"
#define AN_LEVEL_NEEDS (AN_ISA_AVX2 | AN_ISA_AVX512 | AN_ISA_AVX512_VNNI)
#include "kernels/level_avxvnni.c"
