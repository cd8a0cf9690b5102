/* x86 with AVX-512 F, BW, DQ, VL and VNNI. */
#include "base/isa.h"
#include "kernels/lanes/avx512.h"

#define AN_LEVEL_TABLE an_kernels_avx512vnni
#define AN_LEVEL_NAME "avx512vnni"
#define AN_LEVEL_NEEDS (AN_ISA_AVX2 | AN_ISA_AVX512 | AN_ISA_AVX512_VNNI)
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
