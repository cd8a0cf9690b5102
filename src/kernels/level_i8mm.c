/* 64-bit ARM with int8 matrix products (ARMv8.6 i8mm): two tokens at a time by smmla, one alone by sdot. */
#include "base/isa.h"

#define AN_LANES_DOTPROD
#define AN_LANES_PAIRS
#include "kernels/lanes/neon.h"

#define AN_LEVEL_TABLE an_kernels_i8mm
#define AN_LEVEL_NAME "i8mm"
#define AN_LEVEL_NEEDS (AN_ISA_NEON | AN_ISA_DOTPROD | AN_ISA_I8MM)
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
