/* x86 with AVX2, FMA and F16C. */
#include "base/isa.h"
#include "kernels/lanes/avx2.h"

#define AN_LEVEL_TABLE an_kernels_avx2
#define AN_LEVEL_NAME "avx2"
#define AN_LEVEL_NEEDS AN_ISA_AVX2
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
