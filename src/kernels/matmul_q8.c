/*
 * Integer products, in blocks that fit the caches. With many tokens, BLOCK_PANELS panels of BLOCK_COLS columns are
 * unpacked into the scratch (the L2 cache), and then each tile of tokens, short enough for L1 next to one panel, meets
 * all of them: so the activations are read from L3 once per block of rows and not once per panel. The next tile and the
 * weights of the next block are asked for meanwhile. Sums wait in the scratch for the next columns as they are, in f32,
 * so that every one of them is made in the same order as without blocks.
 */
#include "kernels/act.h"
#include "kernels/matmul.h"
#include "kernels/panels.h"

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

/* Panels of a block: as few blocks as can be, of about the same size. */
static int block_panels(int64_t n_row)
{
    int64_t all = (n_row + AN_PANEL_ROWS - 1) / AN_PANEL_ROWS, n_block = (all + BLOCK_PANELS - 1) / BLOCK_PANELS;
    return n_block ? (int)((all + n_block - 1) / n_block) : 1;
}

static void blocks_init(blocks *b, const an_kernels *k, const an_q8_product *p)
{
    int n_tok = p->n_tok, n_col = (int)p->w->n_col, width = an_act_width(n_tok);
    bool many = n_tok > AN_SMALL_TOKENS;
    *b = (blocks){.k = k, .p = p, .n_col = n_col, .width = width, .n_tile = (n_tok + width - 1) / width};
    b->cols = many ? block_cols(n_col) : n_col;
    b->n_panel = many ? block_panels(p->row_end - p->row_begin) : 1;
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

/* Part i of n of some bytes: what is used soon is asked for bit by bit, as what is there is multiplied. */
static void ask_for(const uint8_t *p, size_t bytes, int i, int n)
{
    const uint8_t *end = p + bytes * (size_t)(i + 1) / (size_t)n;
    for (const uint8_t *at = p + bytes * (size_t)i / (size_t)n; at < end; at += 64) __builtin_prefetch(at, 0, 2);
}

/* Columns col..col_end-1 of n_panel panels from row `row` on, and the tiles that they meet. */
typedef struct block {
    int64_t row;
    int n_panel, col, col_end, tile, tile_end;
} block;

static void set_ends(const blocks *b, block *at)
{
    int64_t left = (b->p->row_end - at->row + AN_PANEL_ROWS - 1) / AN_PANEL_ROWS;
    at->n_panel = left < b->n_panel ? (int)left : b->n_panel;
    at->col_end = at->col + b->cols < b->n_col ? at->col + b->cols : b->n_col;
    at->tile_end = at->tile + BLOCK_TILES < b->n_tile ? at->tile + BLOCK_TILES : b->n_tile;
}

/* The block behind: the next columns, then the next tiles, then the next rows. Without panels at the end. */
static block next_block(const blocks *b, block at)
{
    at.col = at.col_end;
    if (at.col == b->n_col) {
        at.col = 0;
        at.tile = at.tile_end;
    }
    if (at.tile == b->n_tile) {
        at.tile = 0;
        at.row += at.n_panel * AN_PANEL_ROWS;
    }
    set_ends(b, &at);
    return at;
}

/* Rows of the panel that begins at `row`. */
static int rows_of(const blocks *b, int64_t row)
{
    int64_t left = b->p->row_end - row;
    return left < AN_PANEL_ROWS ? (int)left : AN_PANEL_ROWS;
}

static void unpack(const blocks *b, const block *at)
{
    for (int i = 0; i < at->n_panel; i++) {
        int64_t row = at->row + i * AN_PANEL_ROWS;
        an_panel_unpack(b->k, b->p->w, b->p->kind, row, rows_of(b, row), at->col, at->col_end, &b->panels[i]);
        if (b->k->pair_codes && b->p->n_tok > 1) b->k->pair_codes(b->panels[i].codes, at->col_end - at->col);
    }
}

/* The weights of a block, to be asked for while the block before is multiplied: pieces of panels. */
typedef struct strands {
    const uint8_t *first;
    size_t bytes, stride;
    int n;
} strands;

/* Weights in rows are too many strands to be asked for. */
static strands strands_of(const blocks *b, const block *at)
{
    const an_weight *w = b->p->w;
    if (w->layout != AN_LAYOUT_PANELS) return (strands){0};
    size_t stride = (size_t)an_panels_offset(w, AN_PANEL_ROWS);
    size_t from = stride * (size_t)at->col / (size_t)b->n_col, to = stride * (size_t)at->col_end / (size_t)b->n_col;
    return (strands){(const uint8_t *)w->data + an_panels_offset(w, at->row) + from, to - from, stride, at->n_panel};
}

/* The unpacked block times its tiles. */
static void multiply(const blocks *b, const block *now)
{
    const an_q8_product *p = b->p;
    const block next = next_block(b, *now);
    const strands ahead = strands_of(b, &next);
    size_t tile_bytes = record_bytes(b, b->n_col), bytes = record_bytes(b, now->col_end - now->col);
    an_q8_job job = {.width = b->width, .bits = code_bits(p->w), .n_group32 = (now->col_end - now->col) / 32,
                     .out_stride = p->out_stride, .add = p->add, .resume = now->col > 0,
                     .more = now->col_end < b->n_col, .carry = b->carry};
    for (int tile = now->tile; tile < now->tile_end; tile++) {
        int tok = tile * b->width, left = p->n_tok - tok;
        job.n_tok = left < b->width ? left : b->width;
        job.records = p->q + (size_t)tile * tile_bytes + record_bytes(b, now->col);
        for (int i = 0; i < ahead.n; i++)
            ask_for(ahead.first + i * ahead.stride, ahead.bytes, tile - now->tile, now->tile_end - now->tile);
        for (int i = 0; i < now->n_panel; i++, job.carry += b->width * AN_PANEL_ROWS) {
            int64_t row = now->row + i * AN_PANEL_ROWS;
            if (tile + 1 < now->tile_end) ask_for(job.records + tile_bytes, bytes, i, now->n_panel);
            job.panel = &b->panels[i];
            job.n_row = rows_of(b, row);
            job.out = p->out + (size_t)tok * p->out_stride + row;
            b->k->q8[p->kind](&job);
        }
    }
}

void an_matmul_q8(const an_kernels *k, const an_q8_product *p)
{
    blocks b;
    block at = {.row = p->row_begin};
    blocks_init(&b, k, p);
    for (set_ends(&b, &at); at.n_panel > 0; at = next_block(&b, at)) {
        unpack(&b, &at);
        multiply(&b, &at);
    }
}
