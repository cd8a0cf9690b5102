/* 64-bit ARM with the int8 dot product (ARMv8.2 dotprod). */
#include "base/isa.h"

#define AN_LANES_DOTPROD
#include "kernels/lanes/neon.h"

#define AN_LEVEL_TABLE an_kernels_dotprod
#define AN_LEVEL_NAME "dotprod"
#define AN_LEVEL_NEEDS (AN_ISA_NEON | AN_ISA_DOTPROD)
#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
