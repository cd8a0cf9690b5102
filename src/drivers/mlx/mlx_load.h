/* The weights of a model as MLX arrays; private to the mlx driver. */
#ifndef AN_DRIVERS_MLX_LOAD_H
#define AN_DRIVERS_MLX_LOAD_H

#include "arch/model_file.h"
#include "base/error.h"
#include "drivers/mlx/mlx_bridge.h"

/* y = x w^T + bias. */
typedef struct an_mlx_linear {
    an_mlx_array weight;         /* [n_out, n_in], packed when bits > 0 */
    an_mlx_array weight_t;       /* [n_in, n_out], a view; only when bits = 0 */
    an_mlx_array scales, biases; /* [n_out, n_in / group], when bits > 0 */
    an_mlx_array bias;           /* [n_out] or empty */
    int bits, group;             /* 0 = plain weights */
} an_mlx_linear;

typedef struct an_mlx_block {
    an_mlx_array attn_norm, ffn_norm; /* [n_embd] */
    an_mlx_linear wq, wk, wv, wo, w_gate, w_up, w_down;
    int window; /* sliding window, 0 = full attention */
    an_mlx_array keys,
        values; /* [1, n_head_kv, capacity, head_dim]; empty with an empty sequence */
} an_mlx_block;

typedef struct an_mlx_net {
    an_mlx_linear embd, output; /* output is empty when tied */
    an_mlx_array output_norm;
    an_mlx_block *blocks; /* [n_layer] */
    int n_layer;
} an_mlx_net;

/* The type that the directory's own floating-point weights have, by its embedding. */
an_mlx_dtype an_mlx_own_dtype(const an_model_file *file);

/*
 * Read the weights of `file`, a directory, into *net: packed codes as they are, everything else
 * cast to `compute`. All are in memory afterwards. Gives *net: an_mlx_net_free.
 */
ANEMO_MUST_CHECK anemo_status an_mlx_net_load(an_mlx_net *net, const an_model_file *file,
                                              an_mlx_dtype compute, anemo_error *err);
void an_mlx_net_free(an_mlx_net *net); /* a zeroed one is fine */

#endif
