/* MLX's affine encoder for x86 with AVX2. */
#define AN_AFFINE_NAME an_mlx_affine_avx2
#include "quant/mlx_affine_body.h"
