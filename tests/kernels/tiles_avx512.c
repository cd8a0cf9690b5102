/* Matrix tiles in plain C, everything around them as the level amx has it: AVX-512 with BF16. */
#include "kernels/lanes/avx512.h"

#define AN_TILES_EMULATED 1
#define AN_WIDE_TABLE kcheck_wide_avx512
#include "kernels/body/amx.h"
