/* 64-bit ARM as every such processor has it. */
#include "base/isa.h"
#include "kernels/lanes/neon.h"

#define AN_LEVEL_TABLE an_kernels_neon
#define AN_LEVEL_NAME "neon"
#define AN_LEVEL_NEEDS AN_ISA_NEON
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
