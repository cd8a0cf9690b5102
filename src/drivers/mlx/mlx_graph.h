/*
 * Building an MLX graph in C that reads like the formula. A graph collects the handles that its
 * operations give, so that the caller frees them all at once, and remembers the first failure:
 * after it every operation gives the empty handle and does nothing. One check at the end covers the
 * whole sequence.
 *
 * Handles from an_mlxg_ calls are borrowed from the graph until an_mlxg_clear; an_mlxg_keep makes
 * one the caller's.
 */
#ifndef AN_DRIVERS_MLX_GRAPH_H
#define AN_DRIVERS_MLX_GRAPH_H

#include "base/error.h"
#include "drivers/mlx/mlx_bridge.h"

enum {
    AN_MLX_GRAPH_MAX = 64
}; /* handles between two clears; one transformer block takes about 45 */

typedef struct an_mlx_graph {
    anemo_status status;
    anemo_error *err; /* may be NULL */
    size_t n;
    an_mlx_array temp[AN_MLX_GRAPH_MAX];
} an_mlx_graph;

void an_mlxg_init(an_mlx_graph *g, anemo_error *err);
/* Free all handles; the status stays. */
void an_mlxg_clear(an_mlx_graph *g);
/* Take a handle of this graph out of it: the caller frees it. Empty when the graph has failed. */
an_mlx_array an_mlxg_keep(an_mlx_graph *g, an_mlx_array a);
/* Replace *owned by a handle of this graph and free the old one. Leaves it alone when the graph has
 * failed. */
void an_mlxg_store(an_mlx_graph *g, an_mlx_array *owned, an_mlx_array a);

/* The operations of mlx_bridge.h. */
an_mlx_array an_mlxg_data(an_mlx_graph *g, const void *data, const int *shape, size_t n_dim,
                          an_mlx_dtype dtype);
an_mlx_array an_mlxg_zeros4(an_mlx_graph *g, const int shape[4], an_mlx_dtype dtype);
an_mlx_array an_mlxg_astype(an_mlx_graph *g, an_mlx_array a, an_mlx_dtype dtype);
an_mlx_array an_mlxg_reshape3(an_mlx_graph *g, an_mlx_array a, int d0, int d1, int d2);
an_mlx_array an_mlxg_reshape4(an_mlx_graph *g, an_mlx_array a, int d0, int d1, int d2, int d3);
an_mlx_array an_mlxg_swap_middle(an_mlx_graph *g, an_mlx_array a); /* [a,b,c,d] -> [a,c,b,d] */
an_mlx_array an_mlxg_concatenate(an_mlx_graph *g, an_mlx_array a, an_mlx_array b, int axis);
/* Positions [start, stop) of a; positions are the last dimension but one. */
an_mlx_array an_mlxg_positions(an_mlx_graph *g, an_mlx_array a, int start, int stop);
an_mlx_array an_mlxg_positions_set(an_mlx_graph *g, an_mlx_array a, an_mlx_array update, int start);
an_mlx_array an_mlxg_take(an_mlx_graph *g, an_mlx_array a, an_mlx_array idx);
an_mlx_array an_mlxg_add(an_mlx_graph *g, an_mlx_array a, an_mlx_array b);
an_mlx_array an_mlxg_multiply(an_mlx_graph *g, an_mlx_array a, an_mlx_array b);
an_mlx_array an_mlxg_silu(an_mlx_graph *g, an_mlx_array a);
an_mlx_array an_mlxg_argmax(an_mlx_graph *g, an_mlx_array a);
an_mlx_array an_mlxg_matmul(an_mlx_graph *g, an_mlx_array a, an_mlx_array b);
an_mlx_array an_mlxg_quantized_matmul(an_mlx_graph *g, an_mlx_array x, an_mlx_array w,
                                      an_mlx_array scales, an_mlx_array biases, int group,
                                      int bits);
an_mlx_array an_mlxg_dequantize(an_mlx_graph *g, an_mlx_array w, an_mlx_array scales,
                                an_mlx_array biases, int group, int bits);
an_mlx_array an_mlxg_rms_norm(an_mlx_graph *g, an_mlx_array x, an_mlx_array weight, float eps);
an_mlx_array an_mlxg_rope(an_mlx_graph *g, an_mlx_array x, int n_dims, int offset,
                          an_mlx_array periods);
an_mlx_array an_mlxg_attention(an_mlx_graph *g, an_mlx_array q, an_mlx_array k, an_mlx_array v,
                               float scale, an_mlx_mask kind, an_mlx_array mask);

#endif
