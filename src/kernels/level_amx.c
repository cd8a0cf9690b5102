/* The tiles of x86 with AMX, BF16 of both AMX and AVX-512, and VBMI. The rest of the level is avx512vnni's. */
#include "kernels/lanes/avx512.h"

#define AN_TILES_EMULATED 0
#define AN_WIDE_TABLE an_wide_amx
#include "kernels/body/amx.h"
