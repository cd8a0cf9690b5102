/* The plain level: portable C, exact f32 products by default. The reference of the others. */
#include "kernels/lanes/scalar.h"

#define AN_LEVEL_TABLE an_kernels_scalar
#define AN_LEVEL_NAME "scalar"
#define AN_LEVEL_NEEDS 0
#define AN_LEVEL_COMPUTE AN_COMPUTE_F32
#include "kernels/body/level.h"
