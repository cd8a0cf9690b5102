/* The affine encoder of each instruction set: the same bytes, another speed. Private to this module. */
#ifndef AN_QUANT_MLX_AFFINE_H
#define AN_QUANT_MLX_AFFINE_H

#include "quant/mlx_encode.h"

bool an_mlx_affine_plain(an_mlx_row *row, int bits, int group);
#if defined(__x86_64__)
bool an_mlx_affine_avx2(an_mlx_row *row, int bits, int group);
bool an_mlx_affine_avx512(an_mlx_row *row, int bits, int group);
#endif

#endif
