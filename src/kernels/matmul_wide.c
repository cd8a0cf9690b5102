/*
 * The loop over blocks of a product by tiles (wide.h): a block of columns of 32 rows, a slice, is unpacked while the slice
 * before it is multiplied, a piece after each pair of token tiles, so that the vector units work while the tiles do.
 *
 * Why blocks: 512 tokens of 4096 columns are 4 MiB in bf16, more than a second-level cache of 2 MiB, and 32 rows meet them
 * in 70 us at the tiles' rate: 60 GB/s for each core, if they came from the third level every time. With 256 columns and
 * 256 rows the tokens' block (256 KiB) and the sums (512 KiB) stay in the second level, a slice of weights (16 KiB) in the
 * first, and activations are read from further away once for 256 rows: 8 GB/s. Unpacking takes about 100 cycles for 32
 * columns of 16 rows, which 512 tokens use in 32 products of 16 cycles: a fifth of the time if nothing overlapped.
 */
#include "kernels/wide.h"

#include "base/error.h"
#include "kernels/matmul.h"

#include <string.h>

const an_wide_blocks an_wide_default = {.cols = 256, .rows = 256, .tokens = 512, .prefetch = false};

enum { PAIR_BYTES = 2 * AN_TILE_BYTES, SUM_FLOATS = 4 * AN_TILE_BYTES / 4 };

bool an_wide_takes(const an_weight *w)
{
    an_code_kind kind;
    return w->dtype == AN_DTYPE_BF16 || an_codes_kind(w, &kind);
}

size_t an_wide_act_bytes(int n_tok, int n_col)
{
    return (size_t)((n_tok + AN_WIDE_PAIR - 1) / AN_WIDE_PAIR) * (size_t)(n_col / AN_TILE_COLS) * PAIR_BYTES;
}

/* One thread's scratch: sums of a block, two slices of weights, one panel. */
typedef struct wide_scratch {
    float *sums;
    uint8_t *pairs[2];
    an_panel panel;
} wide_scratch;

static size_t lay_out(const an_wide_blocks *b, uint8_t *base, wide_scratch *s)
{
    size_t sums = (size_t)b->rows * (size_t)b->tokens * sizeof(float);
    size_t pairs = (size_t)(b->cols / AN_TILE_COLS) * PAIR_BYTES;
    size_t codes = (size_t)b->cols * AN_PANEL_ROWS, numbers = (size_t)(b->cols / 16) * AN_PANEL_ROWS * sizeof(float);
    if (base) {
        s->sums = (float *)base;
        s->pairs[0] = base + sums;
        s->pairs[1] = s->pairs[0] + pairs;
        s->panel.codes = s->pairs[1] + pairs;
        s->panel.scales = (float *)(s->panel.codes + codes);
        s->panel.mins = (float *)(s->panel.codes + codes + numbers);
    }
    return sums + 2 * pairs + codes + 2 * numbers;
}

size_t an_wide_scratch_bytes(const an_wide_blocks *blocks)
{
    return lay_out(blocks, NULL, NULL);
}

/* What one call works on. */
typedef struct wide_job {
    const an_kernels *k;
    const an_weight *w;
    const an_wide_blocks *blocks;
    an_code_kind kind; /* AN_CODES_N for bf16 */
    wide_scratch s;
    int64_t row_begin, row_end; /* of this block */
    int n_group;                /* of 32 rows */
} wide_job;

/* Some columns of 32 rows, or of as many as the block has left. */
typedef struct wide_slice {
    int64_t row;
    int n_row, n_panel;
    int group, col, n_step;
} wide_slice;

static wide_slice slice_at(const wide_job *j, int i)
{
    wide_slice s = {.group = i % j->n_group, .col = i / j->n_group * j->blocks->cols};
    s.row = j->row_begin + s.group * AN_WIDE_PAIR;
    s.n_row = j->row_end - s.row < AN_WIDE_PAIR ? (int)(j->row_end - s.row) : AN_WIDE_PAIR;
    s.n_panel = (s.n_row + AN_PANEL_ROWS - 1) / AN_PANEL_ROWS;
    int left = (int)j->w->n_col - s.col;
    s.n_step = (left < j->blocks->cols ? left : j->blocks->cols) / AN_TILE_COLS;
    return s;
}

/* 32 columns of rows in bf16; rows that do not exist are zero. */
static void put_bf16(const wide_job *j, int64_t row, int n_row, int col, uint8_t *tile)
{
    const uint8_t *rows = (const uint8_t *)j->w->data + (uint64_t)row * j->w->row_bytes + 2 * (size_t)col;
    uint8_t copy[AN_TILE_BYTES] = {0};
    if (n_row >= AN_PANEL_ROWS) {
        j->k->wide->bf16(rows, j->w->row_bytes, tile);
        return;
    }
    for (int r = 0; r < n_row; r++) memcpy(copy + 64 * r, rows + (uint64_t)r * j->w->row_bytes, 64);
    j->k->wide->bf16(copy, 64, tile);
}

/* Share `part` of n_part of a slice's steps into tiles of weights; all shares in order make the slice. */
static void prepare(const wide_job *j, const wide_slice *s, int part, int n_part, uint8_t *pairs)
{
    int n = s->n_step * s->n_panel;
    for (int i = (int)((int64_t)n * part / n_part); i < (int)((int64_t)n * (part + 1) / n_part); i++) {
        int panel = i / s->n_step, step = i % s->n_step, n_row = s->n_row - panel * AN_PANEL_ROWS;
        int64_t row = s->row + panel * AN_PANEL_ROWS;
        uint8_t *tile = pairs + (size_t)step * PAIR_BYTES + (size_t)panel * AN_TILE_BYTES;
        if (j->kind == AN_CODES_N) {
            put_bf16(j, row, n_row, s->col + step * AN_TILE_COLS, tile);
            continue;
        }
        if (step == 0)
            an_panel_unpack(j->k, j->w, j->kind, row, n_row, s->col, s->col + s->n_step * AN_TILE_COLS, &j->s.panel);
        j->k->wide->codes(&j->s.panel, j->kind, step, tile);
    }
}

/* All columns of one block of rows and tokens tok..tok+n_tok-1. */
static void multiply_block(wide_job *j, const an_act *a, int tok, int n_tok, float *out, size_t out_stride, bool add)
{
    const an_wide *wide = j->k->wide;
    int cols = j->blocks->cols, n_slice = ((int)j->w->n_col + cols - 1) / cols * j->n_group;
    int n_pair = (n_tok + AN_WIDE_PAIR - 1) / AN_WIDE_PAIR;
    size_t all_pairs = (size_t)(a->n_tok + AN_WIDE_PAIR - 1) / AN_WIDE_PAIR, first = (size_t)tok / AN_WIDE_PAIR;
    wide_slice slice = slice_at(j, 0);
    prepare(j, &slice, 0, 1, j->s.pairs[0]);
    for (int i = 0; i < n_slice; i++) {
        bool more = i + 1 < n_slice, last = slice.col + cols >= (int)j->w->n_col;
        wide_slice next = more ? slice_at(j, i + 1) : slice;
        const uint8_t *acts = (const uint8_t *)a->q + all_pairs * (size_t)(slice.col / AN_TILE_COLS) * PAIR_BYTES;
        for (int p = 0; p < n_pair; p++) {
            int n = n_tok - p * AN_WIDE_PAIR < AN_WIDE_PAIR ? n_tok - p * AN_WIDE_PAIR : AN_WIDE_PAIR;
            an_wide_product product = {
                .acts = acts + (first + (size_t)p) * (size_t)slice.n_step * PAIR_BYTES,
                .pairs = j->s.pairs[i & 1],
                .n_step = slice.n_step,
                .n_tok_tile = (n + AN_TILE_ROWS - 1) / AN_TILE_ROWS,
                .n_row_tile = slice.n_panel,
                .first = slice.col == 0,
                .prefetch = j->blocks->prefetch,
                .sums = j->s.sums + ((size_t)slice.group * (size_t)n_pair + (size_t)p) * SUM_FLOATS,
            };
            wide->product(&product);
            if (more) prepare(j, &next, p, n_pair, j->s.pairs[~i & 1]);
            if (!last) continue;
            float *to = out + (size_t)(tok + p * AN_WIDE_PAIR) * out_stride + slice.row;
            wide->finish(product.sums, to, out_stride, n, slice.n_row, add);
        }
        slice = next;
    }
}

void an_matmul_wide(const an_kernels *k, const an_wide_blocks *blocks, const an_weight *w, const an_act *a, float *out,
                    size_t out_stride, int64_t row_begin, int64_t row_end, bool add, void *scratch)
{
    AN_ASSERT(w->n_col % AN_TILE_COLS == 0);
    wide_job j = {.k = k, .w = w, .blocks = blocks, .kind = AN_CODES_N};
    an_codes_kind(w, &j.kind);
    lay_out(blocks, scratch, &j.s);
    k->wide->begin();
    for (int64_t row = row_begin; row < row_end; row += blocks->rows) {
        j.row_begin = row;
        j.row_end = row_end - row < blocks->rows ? row_end : row + blocks->rows;
        j.n_group = (int)(j.row_end - row + AN_WIDE_PAIR - 1) / AN_WIDE_PAIR;
        for (int tok = 0; tok < a->n_tok; tok += blocks->tokens) {
            int n = a->n_tok - tok < blocks->tokens ? a->n_tok - tok : blocks->tokens;
            multiply_block(&j, a, tok, n, out, out_stride, add);
        }
    }
    k->wide->end();
}
