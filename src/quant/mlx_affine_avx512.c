/* MLX's affine encoder for x86 with AVX-512 F, BW, DQ and VL. */
#define AN_AFFINE_NAME an_mlx_affine_avx512
#include "quant/mlx_affine_body.h"
