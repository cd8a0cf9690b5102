/*
 * Where the numbers of the cache lie, and the scratch of attention; shared by the levels and the sizes. A block is
 * AN_KV_BLOCK positions of one head.
 *
 *   keys    f32, f16  [head_dim][64]
 *           bf16      [head_dim / 2][64][2]
 *           q8_0      scales f16 [head_dim / 32, rounded up][64], then codes [head_dim][64]
 *   values  dim = head_dim rounded up to 16, zeros behind head_dim, in spans of 64 columns (the last one of what is left)
 *           f32, f16  of each span [64][columns]
 *           bf16      of each span [32][columns][2]: positions in pairs
 *           q8_0      scales f16 [head_dim / 32, rounded up][64], then codes of each span [64][columns]
 *
 * Blocks and spans are so wide that a tile of sums which fills the registers reads one run of whole lines.
 */
#ifndef AN_KERNELS_KV_LAYOUT_H
#define AN_KERNELS_KV_LAYOUT_H

#include "kernels/kernels.h"

enum {
    AN_KV_GROUP = 32,  /* values of a row that share a q8_0 scale */
    AN_KV_SPAN = 64,   /* columns of values */
    AN_KV_MADE = 32,   /* positions that are made f32 at once, so that they fit into a first-level cache */
    AN_PART_HEAD = 16, /* floats before the sums of a part: [0] largest scaled score, [1] sum of exponentials */
};

static inline int an_kv_dim(int head_dim)
{
    return (head_dim + 15) & ~15;
}

static inline int an_kv_groups(int head_dim)
{
    return (head_dim + AN_KV_GROUP - 1) / AN_KV_GROUP;
}

static inline size_t an_kv_scales(an_kv_dtype type, int head_dim)
{
    return type == AN_KV_Q8_0 ? (size_t)an_kv_groups(head_dim) * AN_KV_BLOCK * 2 : 0;
}

static inline size_t an_kv_elem(an_kv_dtype type)
{
    return type == AN_KV_F32 ? 4 : type == AN_KV_Q8_0 ? 1 : 2;
}

static inline size_t an_kv_key_block(an_kv_dtype type, int head_dim)
{
    return AN_KV_BLOCK * an_kv_elem(type) * (size_t)head_dim + an_kv_scales(type, head_dim);
}

static inline size_t an_kv_value_block(an_kv_dtype type, int head_dim)
{
    return AN_KV_BLOCK * an_kv_elem(type) * (size_t)an_kv_dim(head_dim) + an_kv_scales(type, head_dim);
}

/* Columns of the span that begins at column `span`. */
static inline int an_kv_span(int dim, int span)
{
    return dim - span < AN_KV_SPAN ? dim - span : AN_KV_SPAN;
}

/* Offsets in floats, multiples of 16: queries by tiles, scores [n_query][chunk], made rows and scales of a block, two sets of parts. */
typedef struct an_attention_plan {
    size_t scores, rows, part, state, n_float;
} an_attention_plan;

static inline an_attention_plan an_attention_plan_for(int n_query, int head_dim)
{
    size_t n = (size_t)n_query, dim = (size_t)an_kv_dim(head_dim);
    an_attention_plan p;
    p.scores = n * dim;
    p.rows = p.scores + n * AN_ATTENTION_CHUNK;
    p.part = p.rows + AN_KV_MADE * dim + AN_KV_BLOCK * (size_t)an_kv_groups(head_dim);
    p.state = p.part + n * (AN_PART_HEAD + dim);
    p.n_float = p.state + n * (AN_PART_HEAD + dim);
    return p;
}

#endif
