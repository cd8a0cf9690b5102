/*
 * x86 with AVX-VNNI: the lanes of AVX2, and the dot product in one instruction, which VEX encodes. Whoever has defined another
 * encoding and table before gets the same functions with it: AVX-512 has the instruction too (tests/kernels/vnni512.c).
 */
#include "base/isa.h"

#ifndef AN_LANES_VNNI
#define AN_LANES_VNNI "%{vex%}"
#define AN_LEVEL_TABLE an_kernels_avxvnni
#define AN_LEVEL_NAME "avxvnni"
#define AN_LEVEL_NEEDS (AN_ISA_AVX2 | AN_ISA_AVX_VNNI)
#endif
#include "kernels/lanes/avx2.h"

#define AN_LEVEL_COMPUTE AN_COMPUTE_Q8
#include "kernels/body/level.h"
