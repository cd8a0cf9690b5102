/* kcheck: what its files share. A check reports a failure and goes on; the program counts. */
#ifndef KCHECK_H
#define KCHECK_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/rng.h"
#include "kernels/act.h"
#include "kernels/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kcheck {
    an_rng rng;
    const an_kernels *k;
    const char *op;   /* operation being checked, for messages */
    int n_failed;     /* of this operation */
    int n_round;      /* inputs of the checks that take any number of them */
    bool quiet;       /* count only: the self-test expects failures */
} kcheck;

void kcheck_fail(kcheck *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The value is within `bound` of `exact`; NaN never is. */
bool kcheck_near(kcheck *c, const char *what, long index, double got, double exact, double bound);

/*
 * n bytes whose last one lies right before an inaccessible page (or, at_start, whose first one lies right behind
 * one). Exits when memory is short. Freed by guarded_free.
 */
typedef struct guarded {
    void *p;
    size_t n;
    void *map;
    size_t map_bytes;
} guarded;
guarded guarded_alloc(size_t n, bool at_start);
void guarded_free(guarded *g);

/* Random weight of one type with finite scales; `style` picks the distribution (N_STYLE of them). */
enum { N_STYLE = 5 };
typedef struct test_weight {
    an_weight w;
    guarded data, scales, biases;
} test_weight;
test_weight weight_make(kcheck *c, an_dtype type, an_affine affine, int64_t n_row, int64_t n_col, int style,
                        bool at_start);
void weight_free(test_weight *t);

/* MLX's FP modes as weight_make takes them. */
enum { FP_MODES = 3 };
extern const struct fp_mode {
    an_dtype type;
    an_affine affine;
} fp_modes[FP_MODES];

/* Activations in one of N_STYLE distributions. */
void fill_floats(kcheck *c, float *x, size_t n, int style);
float random_normal(kcheck *c);

/* Activations of n_tok tokens for products by w, quantized, in exact memory. */
typedef struct test_act {
    an_act a;
    guarded x, q, q_super;
} test_act;
test_act act_make(kcheck *c, an_compute compute, const an_weight *w, int n_tok, int style);
void act_free(test_act *t);

/* Q8's memory for activations that only `w` is multiplied by. */
static inline void act_room(an_act *a, const an_weight *w, void *room)
{
    a->q = an_act_super(w) ? NULL : room;
    a->q_super = an_act_super(w) ? room : NULL;
    a->tight = an_act_tight(w);
}

/* One operation: its name and its check, run for every level. */
typedef struct kcheck_op {
    const char *name;
    void (*run)(kcheck *c, const struct kcheck_op *op);
    an_dtype type;
    an_affine affine;
    bool wide; /* of products by tiles */
} kcheck_op;

void check_codes(kcheck *c, const kcheck_op *op);
void check_unpack(kcheck *c, const kcheck_op *op);
void check_matmul_q8(kcheck *c, const kcheck_op *op);
void check_matmul_f32(kcheck *c, const kcheck_op *op);
void check_panels(kcheck *c, const kcheck_op *op);
void check_fused(kcheck *c, const kcheck_op *op);
void check_invariance(kcheck *c, const kcheck_op *op);
void check_blocks(kcheck *c, const kcheck_op *op);
void check_twins(kcheck *c, const kcheck_op *op);
void check_quantize(kcheck *c, const kcheck_op *op);
void check_super_extremes(kcheck *c, const kcheck_op *op);
void check_quantize_super(kcheck *c, const kcheck_op *op);
void check_rms_norm(kcheck *c, const kcheck_op *op);
void check_exp(kcheck *c, const kcheck_op *op);
void check_silu(kcheck *c, const kcheck_op *op);
void check_rope(kcheck *c, const kcheck_op *op);
void check_kv_store(kcheck *c, const kcheck_op *op);
void check_row_f16(kcheck *c, const kcheck_op *op);
void check_attention(kcheck *c, const kcheck_op *op);
void check_encode(kcheck *c, const kcheck_op *op);
void check_encode_weighted(kcheck *c, const kcheck_op *op);
void check_decode(kcheck *c, const kcheck_op *op);
void check_nonfinite(kcheck *c, const kcheck_op *op);
void check_square_sums(kcheck *c, const kcheck_op *op);
void check_peak(kcheck *c, const kcheck_op *op);

/* Of products by tiles (kernels/wide.h): run where a table has them. `broken`: by a kernel that must be found. */
void check_matmul_wide(kcheck *c, const kcheck_op *op);
void check_wide_invariance(kcheck *c, const kcheck_op *op);
void check_wide_memory(kcheck *c, const kcheck_op *op);
void check_wide_broken(kcheck *c, bool broken);

/* The i-th width to try, i < 5: around the unrolls, and real ones; multiples of the type's group. */
int kcheck_columns(const kcheck_op *op, int i);

/* q8 product of a level's table with a replaced kernel, for the self-test. */
void check_matmul_q8_once(kcheck *c, const test_weight *w, int n_tok, int64_t n_row, int style, bool add);

/* Patterns that begin with "fused_" go to bench_fused_run, without that. */
void bench_fused_run(const an_kernels *k, const char *pattern);
void bench_run(const an_kernels *k, const char *pattern);
/* Patterns that begin with "roof_" go to bench_roof, without that. */
void bench_roof(const an_kernels *k, const char *pattern);
/* Of one type of the cache by its name, of all for "". */
void bench_attention(const an_kernels *k, const char *type);
/* Tables with tiles: operations "tiles_Q4_K" (products), "blocks_Q4_K" (sizes of blocks), "bf16_Q4_K" (unpacking), …. */
void bench_wide(const an_kernels *k, const char *pattern);

#endif
