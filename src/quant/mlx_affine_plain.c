/* MLX's affine encoder for any processor. */
#define AN_AFFINE_NAME an_mlx_affine_plain
#include "quant/mlx_affine_body.h"
