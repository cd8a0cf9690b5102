/*
 * The sticky-error layer over the bridge: each function here runs one operation unless an earlier
 * one failed, and puts its handle on the graph's list.
 */
#include "drivers/mlx/mlx_graph.h"

#include <string.h>

static const an_mlx_array EMPTY = {NULL};

void an_mlxg_init(an_mlx_graph *g, anemo_error *err)
{
    memset(g, 0, sizeof *g);
    g->err = err;
}

void an_mlxg_clear(an_mlx_graph *g)
{
    for (size_t i = 0; i < g->n; i++)
        an_mlx_array_free(&g->temp[i]);
    g->n = 0;
}

an_mlx_array an_mlxg_keep(an_mlx_graph *g, an_mlx_array a)
{
    if (g->status != ANEMO_OK) return EMPTY;
    for (size_t i = g->n; i > 0; i--) {
        if (g->temp[i - 1].ctx != a.ctx) continue;
        g->temp[i - 1] = g->temp[--g->n];
        return a;
    }
    AN_ASSERT(!"a handle of this graph");
    return EMPTY;
}

void an_mlxg_store(an_mlx_graph *g, an_mlx_array *owned, an_mlx_array a)
{
    if (g->status != ANEMO_OK) return;
    an_mlx_array_free(owned);
    *owned = an_mlxg_keep(g, a);
}

/* Put an operation's result on the list; the empty handle of a failed one passes through. */
static an_mlx_array collect(an_mlx_graph *g, an_mlx_array a)
{
    if (a.ctx == NULL) return a;
    AN_ASSERT(g->n < AN_MLX_GRAPH_MAX);
    g->temp[g->n++] = a;
    return a;
}

an_mlx_array an_mlxg_data(an_mlx_graph *g, const void *data, const int *shape, size_t n_dim,
                          an_mlx_dtype dtype)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK)
        g->status = an_mlx_array_new(&out, data, shape, n_dim, dtype, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_zeros4(an_mlx_graph *g, const int shape[4], an_mlx_dtype dtype)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_zeros(&out, shape, 4, dtype, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_astype(an_mlx_graph *g, an_mlx_array a, an_mlx_dtype dtype)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_astype(&out, a, dtype, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_reshape3(an_mlx_graph *g, an_mlx_array a, int d0, int d1, int d2)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_reshape(&out, a, (int[]){d0, d1, d2}, 3, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_reshape4(an_mlx_graph *g, an_mlx_array a, int d0, int d1, int d2, int d3)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK)
        g->status = an_mlx_reshape(&out, a, (int[]){d0, d1, d2, d3}, 4, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_swap_middle(an_mlx_graph *g, an_mlx_array a)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK)
        g->status = an_mlx_transpose(&out, a, (int[]){0, 2, 1, 3}, 4, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_concatenate(an_mlx_graph *g, an_mlx_array a, an_mlx_array b, int axis)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_concatenate(&out, a, b, axis, g->err);
    return collect(g, out);
}

/* Start and stop of a slice of `a` that keeps all but the positions, its last dimension but one. */
static size_t position_range(an_mlx_array a, int start, int stop, int from[4], int to[4])
{
    size_t n = an_mlx_n_dim(a);
    AN_ASSERT(n >= 2 && n <= 4);
    for (size_t i = 0; i < n; i++) {
        from[i] = i + 2 == n ? start : 0;
        to[i] = i + 2 == n ? stop : an_mlx_dim(a, i);
    }
    return n;
}

an_mlx_array an_mlxg_positions(an_mlx_graph *g, an_mlx_array a, int start, int stop)
{
    an_mlx_array out = EMPTY;
    if (g->status != ANEMO_OK) return out;
    int from[4], to[4];
    size_t n = position_range(a, start, stop, from, to);
    g->status = an_mlx_slice(&out, a, from, to, n, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_positions_set(an_mlx_graph *g, an_mlx_array a, an_mlx_array update, int start)
{
    an_mlx_array out = EMPTY;
    if (g->status != ANEMO_OK) return out;
    int from[4], to[4];
    int n_pos = an_mlx_dim(update, an_mlx_n_dim(update) - 2);
    size_t n = position_range(a, start, start + n_pos, from, to);
    g->status = an_mlx_slice_update(&out, a, update, from, to, n, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_take(an_mlx_graph *g, an_mlx_array a, an_mlx_array idx)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_take(&out, a, idx, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_add(an_mlx_graph *g, an_mlx_array a, an_mlx_array b)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_add(&out, a, b, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_multiply(an_mlx_graph *g, an_mlx_array a, an_mlx_array b)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_multiply(&out, a, b, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_silu(an_mlx_graph *g, an_mlx_array a)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_sigmoid(&out, a, g->err);
    return an_mlxg_multiply(g, a, collect(g, out));
}

an_mlx_array an_mlxg_argmax(an_mlx_graph *g, an_mlx_array a)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_argmax(&out, a, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_matmul(an_mlx_graph *g, an_mlx_array a, an_mlx_array b)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_matmul(&out, a, b, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_quantized_matmul(an_mlx_graph *g, an_mlx_array x, an_mlx_array w,
                                      an_mlx_array scales, an_mlx_array biases, int group, int bits)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) {
        g->status = an_mlx_quantized_matmul(&out, x, w, scales, biases, group, bits, g->err);
    }
    return collect(g, out);
}

an_mlx_array an_mlxg_dequantize(an_mlx_graph *g, an_mlx_array w, an_mlx_array scales,
                                an_mlx_array biases, int group, int bits)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) {
        g->status = an_mlx_dequantize(&out, w, scales, biases, group, bits, g->err);
    }
    return collect(g, out);
}

an_mlx_array an_mlxg_rms_norm(an_mlx_graph *g, an_mlx_array x, an_mlx_array weight, float eps)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_rms_norm(&out, x, weight, eps, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_rope(an_mlx_graph *g, an_mlx_array x, int n_dims, int offset,
                          an_mlx_array periods)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK) g->status = an_mlx_rope(&out, x, n_dims, offset, periods, g->err);
    return collect(g, out);
}

an_mlx_array an_mlxg_attention(an_mlx_graph *g, an_mlx_array q, an_mlx_array k, an_mlx_array v,
                               float scale, an_mlx_mask kind, an_mlx_array mask)
{
    an_mlx_array out = EMPTY;
    if (g->status == ANEMO_OK)
        g->status = an_mlx_attention(&out, q, k, v, scale, kind, mask, g->err);
    return collect(g, out);
}
