/*
 * Integer products, in blocks that fit the caches. With many tokens, BLOCK_PANELS panels of BLOCK_COLS columns are
 * unpacked into the scratch (the L2 cache), and then each tile of tokens, short enough for L1 next to one panel, meets all
 * of them: so the activations are read from L3 once per block of rows and not once per panel. Sums wait in the scratch
 * for the next columns as they are, in f32, so that every one of them is made in the same order as without blocks.
 */
#include "kernels/act.h"
#include "kernels/matmul.h"

enum {
    BLOCK_PANELS = 16,
    BLOCK_COLS = 512,
    BLOCK_COLS_MAX = 2 * BLOCK_COLS, /* up to so many are one block */
    BLOCK_TILES = 44,                /* more tokens unpack the weights again */
    NUMBERS_BYTES = 8,               /* scales and minima of a column and 16 rows, groups of 16 */
};

static size_t carry_bytes(void)
{
    return (size_t)BLOCK_TILES * BLOCK_PANELS * AN_TILE_TOKENS * AN_PANEL_ROWS * sizeof(float);
}

size_t an_matmul_q8_scratch_bytes(int n_col_max)
{
    size_t per_col = AN_PANEL_ROWS + NUMBERS_BYTES;
    size_t block_cols = n_col_max < BLOCK_COLS_MAX ? (size_t)n_col_max : BLOCK_COLS_MAX;
    size_t few = per_col * (size_t)n_col_max, many = per_col * BLOCK_PANELS * block_cols + carry_bytes();
    return (few > many ? few : many) + 64;
}

/* A product on its way: the columns and panels of a block, and where they lie. */
typedef struct blocks {
    const an_kernels *k;
    const an_q8_product *p;
    int n_col, width, n_tile;
    int cols, n_panel;
    an_panel panels[BLOCK_PANELS];
    float *carry; /* [tile][panel][width][16] */
} blocks;

/* Chunks of about BLOCK_COLS, all but the last equal, in steps that an unpack may begin at. */
static int block_cols(int n_col)
{
    if (n_col < BLOCK_COLS_MAX) return n_col;
    int n_chunk = n_col / BLOCK_COLS;
    return (n_col + n_chunk * AN_CODES_STEP - 1) / (n_chunk * AN_CODES_STEP) * AN_CODES_STEP;
}

static void blocks_init(blocks *b, const an_kernels *k, const an_q8_product *p)
{
    int n_tok = p->a->n_tok, n_col = p->a->n_col, width = an_act_width(n_tok);
    bool many = n_tok > AN_SMALL_TOKENS;
    *b = (blocks){.k = k, .p = p, .n_col = n_col, .width = width, .n_tile = (n_tok + width - 1) / width};
    b->cols = many ? block_cols(n_col) : n_col;
    b->n_panel = many ? BLOCK_PANELS : 1;
    size_t codes = (size_t)b->cols * AN_PANEL_ROWS, numbers = codes / (size_t)an_codes_group(p->kind);
    uint8_t *code = p->scratch;
    float *number = (float *)(code + (size_t)b->n_panel * codes);
    for (int i = 0; i < b->n_panel; i++, code += codes, number += 2 * numbers)
        b->panels[i] = (an_panel){code, number, number + numbers};
    b->carry = number;
}

static size_t record_bytes(const blocks *b, int n_col)
{
    return (size_t)(n_col / 32) * (size_t)b->width * AN_RECORD_BYTES;
}

/* Some levels add products of short codes in fewer bits. */
static int code_bits(const an_weight *w)
{
    switch (w->dtype) {
    case AN_DTYPE_AFFINE: return w->affine.bits;
    case AN_DTYPE_Q4_0:
    case AN_DTYPE_Q4_1:
    case AN_DTYPE_Q4_K: return 4;
    case AN_DTYPE_Q5_0:
    case AN_DTYPE_Q5_1:
    case AN_DTYPE_Q5_K: return 5;
    case AN_DTYPE_Q8_0:
    case AN_DTYPE_IQ4_NL:
    case AN_DTYPE_IQ4_XS:
    case AN_DTYPE_GGML_MXFP4:
    case AN_DTYPE_MXFP4: return 8;
    default: return 6;
    }
}

/* Part i of n of the next tile's records: asked for bit by bit, as the panels before are multiplied. */
static void ask_for(const uint8_t *records, size_t bytes, int i, int n)
{
    const uint8_t *end = records + bytes * (size_t)(i + 1) / (size_t)n;
    for (const uint8_t *at = records + bytes * (size_t)i / (size_t)n; at < end; at += 64)
        __builtin_prefetch(at, 0, 2);
}

/* Columns col..end-1 of the unpacked panels, whose first row is `row`, times tiles tile..tile_end-1. */
static void multiply(const blocks *b, int64_t row, int n_panel, int col, int end, int tile_begin, int tile_end)
{
    const an_q8_product *p = b->p;
    size_t tile_bytes = record_bytes(b, b->n_col), bytes = record_bytes(b, end - col);
    an_q8_job job = {.width = b->width, .bits = code_bits(p->w), .n_group32 = (end - col) / 32,
                     .out_stride = p->out_stride, .add = p->add, .resume = col > 0, .more = end < b->n_col,
                     .carry = b->carry};
    for (int tile = tile_begin; tile < tile_end; tile++) {
        int tok = tile * b->width, left = p->a->n_tok - tok;
        job.n_tok = left < b->width ? left : b->width;
        job.records = (const uint8_t *)p->a->q + (size_t)tile * tile_bytes + record_bytes(b, col);
        for (int i = 0; i < n_panel; i++, job.carry += b->width * AN_PANEL_ROWS) {
            int64_t at = row + i * AN_PANEL_ROWS, n_row = p->row_end - at;
            if (tile + 1 < tile_end) ask_for(job.records + tile_bytes, bytes, i, n_panel);
            job.panel = &b->panels[i];
            job.n_row = n_row < AN_PANEL_ROWS ? (int)n_row : AN_PANEL_ROWS;
            job.out = p->out + (size_t)tok * p->out_stride + at;
            b->k->q8[p->kind](&job);
        }
    }
}

void an_matmul_q8(const an_kernels *k, const an_q8_product *p)
{
    blocks b;
    blocks_init(&b, k, p);
    for (int64_t row = p->row_begin; row < p->row_end; row += b.n_panel * AN_PANEL_ROWS) {
        int64_t left = (p->row_end - row + AN_PANEL_ROWS - 1) / AN_PANEL_ROWS;
        int n_panel = left < b.n_panel ? (int)left : b.n_panel;
        for (int tile = 0; tile < b.n_tile; tile += BLOCK_TILES) {
            int tile_end = tile + BLOCK_TILES < b.n_tile ? tile + BLOCK_TILES : b.n_tile;
            for (int col = 0; col < b.n_col; col += b.cols) {
                int end = col + b.cols < b.n_col ? col + b.cols : b.n_col;
                for (int i = 0; i < n_panel; i++) {
                    int64_t at = row + i * AN_PANEL_ROWS, n_row = p->row_end - at;
                    an_panel_unpack(k, p->w, p->kind, at, n_row < AN_PANEL_ROWS ? (int)n_row : AN_PANEL_ROWS, col, end,
                                    &b.panels[i]);
                    if (k->pair_codes && p->a->n_tok > 1) k->pair_codes(b.panels[i].codes, end - col);
                }
                multiply(&b, row, n_panel, col, end, tile, tile_end);
            }
        }
    }
}
