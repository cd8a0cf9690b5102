/* The table behind an_kernels: what each level fills in. Private to this module and its tests. */
#ifndef AN_KERNELS_TABLE_H
#define AN_KERNELS_TABLE_H

#include "kernels/kernels.h"
#include "quant/codes.h"

enum {
    AN_PANEL_ROWS = 16,  /* rows that one vector holds */
    AN_TILE_TOKENS = 12, /* tokens of the widest activation record */
};

/*
 * Columns of sixteen rows of a quantized weight, unpacked: codes [n / 4][16 rows][4], scales and mins [n_group][16].
 * Codes of the int8 kinds are stored with `code_xor` applied. Of superblocks, n_group / 2 lines of scales are int32 [16], pairs of
 * int16 with the first group in the high half, then comes a line of d, and as much follows unused as n_group lines leave; the
 * same with minima and dmin.
 */
typedef struct an_panel {
    uint8_t *codes;
    float *scales, *mins;
} an_panel;

static inline int32_t an_int16_pair(int first, int second)
{
    return (int32_t)((uint32_t)first << 16 | ((uint32_t)second & 0xFFFF));
}

/*
 * Unpack columns col_begin..col_end-1 of rows row..row+15, all of them inside the weight; the panel's arrays begin at
 * col_begin. col_begin is a multiple of AN_CODES_STEP, col_end too unless it is n_col.
 */
typedef void an_unpack_fn(const an_weight *w, int64_t row, int col_begin, int col_end, const an_panel *panel);

/*
 * One panel times one tile of tokens (act.h): out[t * out_stride + r] for n_tok tokens and n_row rows. When the panel
 * is a chunk of the columns, sums start from `carry` if they `resume`, and end there if there is `more` to come.
 */
typedef struct an_q8_job {
    const an_panel *panel;
    const uint8_t *records; /* of the tile, at the panel's first column */
    int width;              /* of the tile */
    int bits;               /* of the codes, at least; 8: int8 */
    int n_group32;          /* columns of the panel / 32 */
    int n_tok;              /* 1..width */
    int n_row;              /* 1..16 */
    float *out;
    size_t out_stride;
    bool add, resume, more;
    float *carry;           /* [width][16], aligned to 64 */
} an_q8_job;

typedef void an_q8_fn(const an_q8_job *job);

/* Rows row_begin..row_end-1 of a weight in panels times AN_SMALL_TOKENS tokens at most. */
typedef struct an_fused_job {
    const an_weight *w;
    const uint8_t *records; /* of the first token tile */
    int n_tok;
    int64_t row_begin, row_end;
    float *out;             /* of row 0 and token 0 */
    size_t out_stride;
    bool add;
} an_fused_job;

typedef void an_fused_fn(const an_fused_job *job);

typedef struct an_f32_job {
    const void *w;        /* [16][n_col]; rows from n_row on are not read */
    an_dtype type;        /* F32, or F16, BF16 or MXFP8 when n_col is a multiple of 32 */
    size_t w_stride;      /* bytes between rows */
    const uint8_t *scales; /* of MXFP8 */
    size_t scale_stride;
    const float *x;
    size_t x_stride;
    int n_col, n_tok, n_row;
    float *out;
    size_t out_stride;
    bool add;
} an_f32_job;

/*
 * n bits from bit `from` of code k (the four bytes of columns 4k..4k+3 of a group of 32) are bits `to` and up of
 * the bytes of dword `dword` of the group in a panel; by the bits of a code, up to the first n of 0 (panels.c).
 * body/panels.h takes them out.
 */
enum { AN_PACKS = 12 };
typedef struct an_pack {
    uint8_t k, from, n, dword, to;
} an_pack;
extern const an_pack an_packs[9][AN_PACKS];

/* Exactly AN_ENCODE_BATCH values, whole blocks; and n values, a multiple of the block (kernels/encode.h). */
enum { AN_ENCODE_BATCH = 512 };
typedef void an_encode_fn(const float *x, uint8_t *blocks);
typedef void an_weighted_fn(const float *x, const float *importance, float sigma2, uint8_t *blocks);
typedef void an_decode_fn(const uint8_t *blocks, float *dst, int64_t n);

struct an_wide; /* kernels/wide.h */

struct an_kernels {
    const char *name;
    uint32_t needs; /* AN_ISA_* flags, all of them */
    an_compute default_compute;
    uint8_t code_xor;
    an_unpack_fn *unpack[AN_DTYPE_N]; /* NULL: generic */
    an_unpack_fn *unpack_affine[9];   /* by bits */
    /* NULL, or for more than one token: the codes of n columns (of whole groups of 16) to the order that q8 takes. */
    void (*pair_codes)(uint8_t *codes, int n);
    an_unpack_fn *unpack_panels[AN_DTYPE_N]; /* the same of weights in panels */
    an_unpack_fn *unpack_panels_affine[9];
    an_fused_fn *fused[AN_DTYPE_N]; /* NULL: unpacked first */
    an_fused_fn *fused_affine[9];
    void (*pack_codes)(const uint8_t *codes, int bits, int shift, uint8_t *lines); /* 32 unpacked columns, >> shift */
    /* The codes of four-bit floats as their file has them, in the places that unpacking gives them. */
    void (*fp4_codes)(const an_weight *w, int64_t row, int col_begin, int col_end, uint8_t *codes);
    void (*interleave)(const uint8_t *p, size_t stride, int n_dword, uint8_t *lines); /* dwords of 16 rows to lines */
    an_q8_fn *q8[AN_CODES_N];
    const struct an_wide *wide; /* products of many tokens by matrix tiles; NULL: the level has none */
    void (*f32)(const an_f32_job *job);
    void (*row_f16)(float *dst, const void *src, int n);
    void (*row_bf16)(float *dst, const void *src, int n);
    void (*row_mxfp8)(float *dst, const uint8_t *codes, const uint8_t *scales, int n_col);
    void (*quantize)(const float *x, int n_col, int width, int slot, uint8_t *records);
    bool super_words; /* init16 of superblocks' activations is of pairs (act.h) */
    void (*quantize_super)(const float *x, int n_col, int width, int slot, bool tight, uint8_t *records);
    void (*rms_norm)(float *out, const float *x, const float *weight, int n, float eps);
    void (*silu_mul)(float *out, const float *gate, const float *up, int n);
    void (*rope_head)(float *out, const float *x, an_rope_rows rows, const float *cos, const float *sin,
                      int head_dim);
    void (*store_key)(an_kv_dtype type, void *keys, int pos, const float *src, int head_dim);
    void (*store_value)(an_kv_dtype type, void *values, int pos, const float *src, int head_dim);
    bool kv_pairs; /* attention over a bf16 cache rounds queries and exponentials to bf16 too, and multiplies pairs */
    void (*attention)(const an_attention_job *job);
    void (*attention_chunks)(const an_attention_job *job, int first, int n_chunk, float *parts);
    void (*attention_merge)(float *out, float *parts, size_t stride, int n_chunk, int head_dim);
    an_encode_fn *encode[AN_DTYPE_N]; /* NULL: the scalar codec of quant */
    an_weighted_fn *encode_weighted[AN_DTYPE_N]; /* NULL: the type knows no importance */
    an_decode_fn *decode[AN_DTYPE_N]; /* NULL: row_f16, row_bf16, the scalar codec */
    bool (*any_nonfinite)(const float *x, int64_t n);
    void (*square_sums)(const float *x, const float *y, int64_t n, double *sum_sq, double *sum_sq_error);
    void (*exp)(float *out, const float *x, int n); /* for tests of the exponential that silu and softmax use */
    uint32_t (*peak_read)(const void *p, size_t n);
    int (*peak_f32)(int n, const float *starts, float m, float c, float *sum); /* both return the number of chains */
    int (*peak_i8)(int n, const int8_t *codes, const uint8_t *weights, uint32_t *sum);
};

extern const an_kernels an_kernels_scalar;
#if defined(__x86_64__)
extern const an_kernels an_kernels_avx2, an_kernels_avxvnni, an_kernels_avx512vnni, an_kernels_avx512bf16, an_kernels_amx;
extern const struct an_wide an_wide_amx;
#elif defined(__aarch64__)
extern const an_kernels an_kernels_neon, an_kernels_dotprod, an_kernels_i8mm;
#endif

/* All levels of this build from plain to best; *n of them. */
const an_kernels *const *an_kernels_levels(int *n);

#endif
