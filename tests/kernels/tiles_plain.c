/* Matrix tiles in plain C on plain lanes: tests products by tiles on machines without them. */
#include "kernels/lanes/scalar.h"

#define AN_TILES_EMULATED 1
#define AN_WIDE_TABLE kcheck_wide_plain
#include "kernels/body/amx.h"
