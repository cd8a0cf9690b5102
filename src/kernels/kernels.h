/*
 * The hot loops behind one table, chosen once by CPU flags (os detects, kernels stay pure).
 *
 * Ways to multiply:
 *  - exact: weights decoded to f32, f32 activations. The reference; level "scalar" has no other.
 *  - q8:    activations quantized to int8 per 32 values, integer products, exact weight scales. The fast path. Weights of
 *           superblocks (K-quants, IQ4_XS) meet activations with a scale per 256 values, as in llama.cpp: their products with
 *           the weights' whole-numbered scales are exact integers.
 *  - bf16:  weights (with their scale) and activations rounded to bf16, f32 sums, by matrix tiles. For many tokens, on
 *           level "amx"; steps of few tokens are q8 there. F16 and F32 weights stay exact.
 *
 * Whatever container a weight came from, it goes through the same canonical codes (code, scale, minimum per
 * group), so that the same weights in GGUF and in MLX give bit-equal results at every level; but superblocks that were
 * converted to MLX, which has none, only by `exact`. Results do not depend on how rows or tokens are shared out between threads.
 */
#ifndef AN_KERNELS_KERNELS_H
#define AN_KERNELS_KERNELS_H

#include "quant/codes.h"
#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_compute { AN_COMPUTE_F32, AN_COMPUTE_Q8, AN_COMPUTE_BF16 } an_compute;

/* "f32", "q8", "q8+bf16": names of settings and reports. */
const char *an_compute_name(an_compute compute);
bool an_compute_from_name(const char *name, an_compute *compute);

/* What a cache holds. Q8_0: int8 codes with an f16 scale per 32 values of a row, as the GGUF type of that name. */
typedef enum an_kv_dtype { AN_KV_F32, AN_KV_F16, AN_KV_BF16, AN_KV_Q8_0, AN_KV_N } an_kv_dtype;

typedef struct an_kernels an_kernels;

/*
 * The table for a CPU-flag word (AN_ISA_* of base/isa.h).
 * Static storage, one table per level, safe from any thread.
 */
const an_kernels *an_kernels_for(uint32_t isa_mask);

/*
 * The mask that ANEMO_ISA's text asks for: "scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16", "amx",
 * "neon", "dotprod", "i8mm".
 * Returns false for an unknown name. The caller and-s it with what the CPU has.
 */
bool an_kernels_isa_mask(const char *name, uint32_t *mask);

const char *an_kernels_name(const an_kernels *k); /* "scalar", "avx2", "avx512vnni", "neon", … */
an_compute an_kernels_default_compute(const an_kernels *k);

/* Whether a level has a way to multiply, and the one that `asked` means for n_tok tokens: BF16 is Q8 for few of them. */
bool an_kernels_can(const an_kernels *k, an_compute compute);
an_compute an_kernels_compute(an_compute asked, int n_tok);

/* Name of the kernel that serves an operation, for `anemo doctor`: op is "matmul_q4_1", "attention_f16", …; NULL when unknown. */
const char *an_kernels_serving(const an_kernels *k, const char *op);

/*
 * Activations of one matmul input: n_tok rows of n_col. Built in caller's memory of an_act_bytes(), which for BF16 holds
 * the Q8 form of fewer tokens as well. Quantizing (when compute is not F32) is split over tokens: each token is independent.
 * Q8 has two forms; either may be absent (NULL) when no weight that it is multiplied by wants it (an_act_super).
 */
typedef struct an_act {
    an_compute compute;   /* an_kernels_compute() of what was asked for */
    int n_tok;
    int n_col;            /* multiple of 32 */
    const float *f32;     /* [n_tok, n_col], borrowed */
    size_t f32_stride;    /* floats between tokens */
    void *q;              /* private layout, 64-byte aligned, an_act_bytes() long */
    void *q_super;        /* the same, of Q8 with a scale per AN_SUPER columns, of which n_col is a multiple then */
    bool tight;           /* of q_super: a weight that it is multiplied by wants its codes small (an_act_tight) */
} an_act;

/* Does Q8 multiply this weight by q_super, and not by q? And if so, must that be `tight`? */
bool an_act_super(const an_weight *w);
bool an_act_tight(const an_weight *w);

size_t an_act_bytes(an_compute compute, int n_tok, int n_col);       /* of q */
size_t an_act_super_bytes(an_compute compute, int n_tok, int n_col); /* of q_super */
void an_act_quantize(const an_kernels *k, const an_act *a, int tok_begin, int tok_end);
/* The same for columns col_begin..col_end-1 alone, multiples of 32 (with q_super, of AN_SUPER), which threads may share out. */
void an_act_quantize_columns(const an_kernels *k, const an_act *a, int tok_begin, int tok_end, int col_begin, int col_end);

enum { AN_ROW_GRAIN = 16 };

/*
 * Matrices that share an input are one stage: threads share the rows of all of them, end to end, in grains. A share begins as
 * {begin, end}, of the sum of the matrices' grains (an_pool_share); each call then gives its rows *from..*to-1 of the next
 * matrix, which has n_row: none where *from >= *to.
 */
typedef struct an_row_share {
    long begin, end, base;
} an_row_share;
long an_row_grains(int64_t n_row);
void an_row_share_next(an_row_share *share, int64_t n_row, int64_t *from, int64_t *to);

/*
 * out[t][r] for tokens 0..n_tok-1 and rows row_begin..row_end-1: out[t * out_stride + r] = sum_c w[r][c] * a[t][c].
 * With `add`, the product is added to out. row_begin is a multiple of AN_ROW_GRAIN. `scratch` is this thread's
 * own block of an_matmul_scratch_bytes(), 64-byte aligned.
 */
size_t an_matmul_scratch_bytes(const an_kernels *k, int n_col_max);
void an_matmul_rows(const an_kernels *k, const an_weight *w, const an_act *a, float *out,
                    size_t out_stride, int64_t row_begin, int64_t row_end, bool add, void *scratch);

/* out[i] = x[i] * rsqrt(mean(x^2) + eps) * weight[i]; sums in f32 lanes of a fixed order. */
void an_rms_norm(const an_kernels *k, float *out, const float *x, const float *weight, int n, float eps);

/* out[i] = silu(gate[i]) * up[i]. */
void an_silu_mul(const an_kernels *k, float *out, const float *gate, const float *up, int n);

/*
 * Rotate one head. x: the head as the weights produced it, in `rows` order; out: half-split order, rotated by
 * cos[i], sin[i], i < head_dim/2. out and x do not overlap.
 */
void an_rope_head(const an_kernels *k, float *out, const float *x, an_rope_rows rows, const float *cos,
                  const float *sin, int head_dim);

/* "f32", "f16", "bf16", "q8_0"; and back: false for any other name. */
const char *an_kv_name(an_kv_dtype type);
bool an_kv_named(const char *name, an_kv_dtype *type);

/*
 * The cache of one KV head. Positions come in blocks of AN_KV_BLOCK: keys are transposed in a block, so that one
 * vector load brings the same dimension of all its positions; values are rows of head_dim rounded up to 16.
 * body/kv.h has the bytes. head_dim is even, at most AN_HEAD_DIM_MAX.
 */
enum { AN_KV_BLOCK = 64 };
size_t an_kv_key_bytes(an_kv_dtype type, int head_dim, int n_pos);
size_t an_kv_value_bytes(an_kv_dtype type, int head_dim, int n_pos);

/* Store the key or value src [head_dim] of position pos; f16, bf16 and codes are rounded to nearest, ties to even. */
void an_kv_store_key(const an_kernels *k, an_kv_dtype type, void *keys, int pos, const float *src, int head_dim);
void an_kv_store_value(const an_kernels *k, an_kv_dtype type, void *values, int pos, const float *src, int head_dim);

/*
 * Attention of consecutive tokens, n_q query heads each, that share one KV head. Token t stands at position pos + t and
 * attends to positions 0..pos+t, of these to the last `window` when that is not 0. Scores are scaled by scale[t].
 *
 * Positions are cut into chunks of AN_ATTENTION_CHUNK, always at the same places; each chunk gives its largest score, the
 * sum of its exponentials and its weighted sum of values, and chunks are merged in order. So a token and head get the
 * same bits whatever is computed with them: other tokens, other chunks on other threads, or nothing.
 */
enum { AN_ATTENTION_CHUNK = 128 };

typedef struct an_attention_job {
    an_kv_dtype key_type, value_type;
    int n_tok, n_q, head_dim;
    int pos, window;
    const float *q;          /* [n_tok, n_q, head_dim] */
    const float *scale;      /* [n_tok] */
    const void *keys, *values; /* of the head, from position 0 on, as an_kv_store_* wrote them */
    float *out;              /* [n_q, head_dim] of token t at out + t * out_stride; must not overlap q */
    size_t out_stride;       /* floats */
    void *scratch;           /* an_attention_scratch_bytes(n_tok * n_q, head_dim), 64-byte aligned */
} an_attention_job;

enum { AN_ATTENTION_TOKENS = 16 }; /* a good n_tok for prefill */

size_t an_attention_scratch_bytes(int n_query, int head_dim);
void an_attention(const an_kernels *k, const an_attention_job *job);

/*
 * The same in pieces: n_chunk chunks alone (number c holds positions from c * AN_ATTENTION_CHUNK on, at least one of which
 * some token sees) to parts [n_chunk, n_tok, n_q, an_attention_part_floats()]; and one head's result, out [head_dim], from
 * those of its n_chunk chunks in order, `stride` floats apart. Merging overwrites the first part. Parts are 64-byte aligned.
 */
size_t an_attention_part_floats(int head_dim);
void an_attention_chunks(const an_kernels *k, const an_attention_job *job, int first, int n_chunk, float *parts);
void an_attention_merge(const an_kernels *k, float *out, float *parts, size_t stride, int n_chunk, int head_dim);

#endif
