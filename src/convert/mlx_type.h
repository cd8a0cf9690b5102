/*
 * The types that the weights of an MLX directory can get, by name: "4bit" (affine 2 3 4 5 6 8; "-g32", "-g64" or "-g128" may
 * follow, 64 without), "mxfp4", "mxfp8", "nvfp4", mlx-lm's recipes "mixed_2_6", "mixed_3_4", "mixed_3_6" and "mixed_4_6" (with
 * or without a group), and "none": not quantized.
 */
#ifndef AN_CONVERT_MLX_TYPE_H
#define AN_CONVERT_MLX_TYPE_H

#include "arch/tensor_table.h"
#include "quant/mlx_encode.h"

enum { AN_MLX_TYPE_NAME_MAX = 24 };

typedef struct an_mlx_type {
    bool none;
    an_mlx_form form; /* of a recipe: the low width */
    int high_bits;    /* of a recipe; 0 otherwise */
} an_mlx_type;

/* False when there is no such type. */
bool an_mlx_type_find(const char *name, an_mlx_type *type);

/* The names, for messages. Static. */
const char *an_mlx_type_list(void);

/* "4-bit g64", "mxfp4". */
void an_mlx_form_name(const an_mlx_form *form, char out[AN_MLX_TYPE_NAME_MAX]);

/* "affine", "mxfp4": config.json's word. */
const char *an_mlx_mode_name(an_mlx_mode mode);

/*
 * What a recipe gives a weight (mlx-lm's mixed_quant_predicate; formats.md 3.6): the high width to v_proj and down_proj of some
 * layers and to lm_head. Other types give all weights the same.
 */
an_mlx_form an_mlx_type_form(const an_mlx_type *type, an_field field, int layer, int n_layer);

#endif
