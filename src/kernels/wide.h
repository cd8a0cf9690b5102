/*
 * Products of many tokens by matrix tiles, in bf16: what a level with tiles fills in (body/amx.h), the layouts that it shares
 * with the loop over blocks (matmul_wide.c), and the sizes of those blocks. Private to this module and its tests.
 *
 * A tile is 16 rows of 64 bytes. Thirty-two columns make a step: one tile of 16 tokens times one of 16 weight rows, added to
 * a tile of 16 x 16 floats. A tile's dword is a pair of neighbouring columns, which the hardware multiplies and adds together.
 *
 *   activations  [block of columns][32 tokens][step][2 tiles][16 tokens][16 pairs]
 *   weights      [step][2 tiles][16 pairs][16 rows], of 32 rows and one block of columns
 *   sums         [32 rows][32 tokens][2 token tiles][2 row tiles][16 tokens][16 rows] floats
 */
#ifndef AN_KERNELS_WIDE_H
#define AN_KERNELS_WIDE_H

#include "kernels/table.h"

enum {
    AN_TILE_ROWS = 16,    /* of a tile: tokens, or weight rows */
    AN_TILE_COLS = 32,    /* columns of one step */
    AN_TILE_BYTES = 1024,
    AN_WIDE_PAIR = 32,    /* tokens, or weight rows, of one product: two tiles of each, four sums */
};

/*
 * How a product is cut. Weights of a block (rows x cols) are unpacked once and meet all tokens of the block; the sums of
 * rows x tokens wait in the scratch until the last columns.
 *  - cols: 32 rows of weights (64 bytes a column) should stay in the first-level cache while the tokens pass.
 *  - rows: activations are read again from the third level for every so many rows: 2 * rows operations a byte.
 *  - tokens: an unpacked weight serves so many; tokens x (2 * cols + 4 * rows) bytes should stay in the second level.
 * Results do not depend on them.
 */
typedef struct an_wide_blocks {
    int cols;      /* a multiple of AN_CODES_STEP */
    int rows;      /* a multiple of AN_WIDE_PAIR */
    int tokens;    /* the same */
    bool prefetch; /* ask for the next tokens' activations while these are multiplied */
} an_wide_blocks;

extern const an_wide_blocks an_wide_default;

/* Columns col_begin..col_end-1, multiples of 32, of token `tok` of n_tok. */
typedef struct an_wide_token {
    const float *x; /* [n_col], the whole token */
    int n_col, col_begin, col_end;
    int tok, n_tok;
    int cols;       /* as in an_wide_blocks */
    uint8_t *acts;  /* an_wide_act_bytes() */
} an_wide_token;

/* Up to 32 tokens times up to 32 rows over the columns of one block. */
typedef struct an_wide_product {
    const uint8_t *acts, *pairs;
    int n_step;
    int n_tok_tile, n_row_tile; /* 1 or 2 */
    bool first;                 /* the sums begin at zero */
    bool prefetch;
    float *sums;                /* 4 tiles, 64-byte aligned */
} an_wide_product;

/* The functions of a level with tiles. begin() and end() enclose the products of one call on its thread. */
typedef struct an_wide {
    void (*begin)(void);
    void (*end)(void);
    /* A token, or some columns of it, to their places. */
    void (*token)(const an_wide_token *t);
    /* Step `step` of an unpacked panel as one tile of weights. */
    void (*codes)(const an_panel *panel, an_code_kind kind, int step, uint8_t *tile);
    /* 32 columns of 16 rows of bf16 as one tile of weights. */
    void (*bf16)(const uint8_t *rows, size_t stride, uint8_t *tile);
    void (*product)(const an_wide_product *job);
    /* n_tok x n_row of the sums to out[t * out_stride + r], each up to 32. */
    void (*finish)(const float *sums, float *out, size_t out_stride, int n_tok, int n_row, bool add);
    /* n steps of four products from registers alone; *sum = 64 n. Returns the operations done. */
    uint64_t (*peak)(int n, float *sum);
} an_wide;

/* Can tiles multiply by this weight? Codes and bf16 can; other floats stay exact. */
bool an_wide_takes(const an_weight *w);

/* Bytes of n_tok tokens, padded to AN_WIDE_PAIR. */
size_t an_wide_act_bytes(int n_tok, int n_col);

size_t an_wide_scratch_bytes(const an_wide_blocks *blocks);

/* an_matmul_rows() for activations that k->wide->token() wrote with blocks->cols; an_wide_takes(w). */
void an_matmul_wide(const an_kernels *k, const an_wide_blocks *blocks, const an_weight *w, const an_act *a, float *out,
                    size_t out_stride, int64_t row_begin, int64_t row_end, bool add, void *scratch);

#endif
