/*
 * The hot loops behind one table, chosen once by CPU flags (os detects, kernels stay pure).
 *
 * Ways to multiply:
 *  - exact: weights decoded to f32, f32 activations. The reference; level "scalar" has no other.
 *  - q8:    activations quantized to int8 per 32 values, integer products, exact weight scales. The fast path.
 *  - bf16:  weights (with their scale) and activations rounded to bf16, f32 sums, by matrix tiles. For many tokens, on
 *           level "amx"; steps of few tokens are q8 there. F16 and F32 weights stay exact.
 *
 * Whatever container a weight came from, it goes through the same canonical codes (code, scale, minimum per
 * group), so that the same weights in GGUF and in MLX give bit-equal results at every level. Results do not
 * depend on how rows or tokens are shared out between threads.
 */
#ifndef AN_KERNELS_KERNELS_H
#define AN_KERNELS_KERNELS_H

#include "quant/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_compute { AN_COMPUTE_F32, AN_COMPUTE_Q8, AN_COMPUTE_BF16 } an_compute;

/* "f32", "q8", "q8+bf16": names of settings and reports. */
const char *an_compute_name(an_compute compute);
bool an_compute_from_name(const char *name, an_compute *compute);

typedef enum an_kv_dtype { AN_KV_F32, AN_KV_F16 } an_kv_dtype;

typedef struct an_kernels an_kernels;

/*
 * The table for a CPU-flag word (AN_ISA_* of base/isa.h).
 * Static storage, one table per level, safe from any thread.
 */
const an_kernels *an_kernels_for(uint32_t isa_mask);

/*
 * The mask that ANEMO_ISA's text asks for: "scalar", "avx2", "avx512", "avx512vnni", "amx", "neon", "dotprod",
 * "i8mm".
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
 */
typedef struct an_act {
    an_compute compute;   /* an_kernels_compute() of what was asked for */
    int n_tok;
    int n_col;            /* multiple of 32 */
    const float *f32;     /* [n_tok, n_col], borrowed */
    size_t f32_stride;    /* floats between tokens */
    void *q;              /* private layout, 64-byte aligned, an_act_bytes() long */
} an_act;

size_t an_act_bytes(an_compute compute, int n_tok, int n_col);
void an_act_quantize(const an_kernels *k, const an_act *a, int tok_begin, int tok_end);

/*
 * out[t][r] for tokens 0..n_tok-1 and rows row_begin..row_end-1: out[t * out_stride + r] = sum_c w[r][c] * a[t][c].
 * With `add`, the product is added to out. row_begin is a multiple of AN_ROW_GRAIN. `scratch` is this thread's
 * own block of an_matmul_scratch_bytes(), 64-byte aligned.
 */
enum { AN_ROW_GRAIN = 16 };
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

/* Store n values into a cache of the given type (round to nearest even). */
void an_kv_store(const an_kernels *k, an_kv_dtype type, void *dst, const float *src, int n);

/*
 * Attention of consecutive tokens, n_q query heads each, that share one KV head. Keys and values are rows of head_dim
 * values, kv_stride_bytes apart, of any alignment; token t attends to rows 0..n_pos+t-1, and of these to the last
 * `window` when that is not 0. Scores are scaled by scale[t], softmax subtracts the maximum. Each token and head gets
 * the same bits whatever is computed with it.
 */
typedef struct an_attention_job {
    an_kv_dtype type;
    int n_tok, n_q, head_dim;
    int n_pos;              /* rows that token 0 sees, >= 1 */
    int window;             /* 0: all of them */
    const float *q;         /* [n_tok, n_q, head_dim] */
    const float *scale;     /* [n_tok] */
    const void *keys, *values;
    size_t kv_stride_bytes;
    float *out;             /* [n_q, head_dim] of token t at out + t * out_stride; must not overlap q */
    size_t out_stride;      /* floats */
    float *parts;           /* NULL, or [n_tok, n_q, 2]: largest scaled score and sum of exponentials, to merge by */
    void *scratch;          /* an_attention_scratch_bytes() */
} an_attention_job;

enum { AN_ATTENTION_TOKENS = 8 }; /* a good n_tok for prefill */

/* n_q: all queries of the call (tokens times heads); n_pos: rows that the last token sees. */
size_t an_attention_scratch_bytes(int n_q, int head_dim, int n_pos);
void an_attention(const an_kernels *k, const an_attention_job *job);

/*
 * One head's attention over all its rows from its attention over n_chunk ranges of them: out [head_dim];
 * range c's output is at chunks + c * chunk_stride, its parts at parts + c * parts_stride. n_chunk <= AN_CHUNKS_MAX.
 */
enum { AN_CHUNKS_MAX = 64 };
void an_attention_merge(const an_kernels *k, float *out, const float *chunks, size_t chunk_stride,
                        const float *parts, size_t parts_stride, int n_chunk, int head_dim);

#endif
