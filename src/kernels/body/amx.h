/*
 * Products by tiles (wide.h). Weights become bf16 together with their scale and minimum, so that nothing has to be corrected
 * until all columns are summed: int8 tiles with exact block scales would have to be stored, converted and scaled after every
 * 32 columns, about as many vector operations as the int8 dot product itself takes. Included after a lanes header; the file
 * names its table: AN_WIDE_TABLE, and says with AN_TILES_EMULATED what the tiles are.
 */
#ifndef AN_BODY_AMX_H
#define AN_BODY_AMX_H

#include "kernels/body/amx_tiles.h"
#include "kernels/body/pairs.h"
#include "kernels/body/store.h"
#include "kernels/wide.h"

static void wide_begin(void)
{
    tiles_begin();
}

static void wide_end(void)
{
    tiles_end();
}

static void wide_token(const an_wide_token *t)
{
    size_t n_pair = (size_t)(t->n_tok + AN_WIDE_PAIR - 1) / AN_WIDE_PAIR, pair = (size_t)t->tok / AN_WIDE_PAIR;
    size_t in_pair = (size_t)(t->tok / 16 % 2) * AN_TILE_BYTES + (size_t)(t->tok % 16) * 64;
    for (int block = t->col_begin / t->cols * t->cols; block < t->col_end; block += t->cols) {
        int n_step = (t->n_col - block < t->cols ? t->n_col - block : t->cols) / AN_TILE_COLS;
        uint8_t *to = t->acts + 2 * AN_TILE_BYTES * (n_pair * (size_t)(block / AN_TILE_COLS) + pair * (size_t)n_step) + in_pair;
        for (int s = 0; s < n_step; s++, to += 2 * AN_TILE_BYTES) {
            int col = block + s * AN_TILE_COLS;
            if (col < t->col_begin || col >= t->col_end) continue;
            vi_store(to, vi_bf16(vf_load(t->x + col), vf_load(t->x + col + 16)));
        }
    }
}

/* Scale and minimum of 16 rows, each number twice, by halves of the rows. */
typedef struct group_numbers {
    vf scale[2], min[2];
} group_numbers;

/*
 * A weight is code * scale + min, with offsets of the codes taken into min: exact, or off in the last places of an f32, where
 * bf16 keeps 8 bits. Small codes come as 0.5 + code / 256, so that no integer has to be converted: seven vector operations
 * for 32 weights, and one more for each sixteen when codes have all eight bits.
 */
LANE_FN vf scaled_codes(vi codes, const int half, const int pair, const group_numbers *n, const bool small)
{
    vf code = small ? vf_small_code_pairs(codes, half, pair) : vf_code_pairs(codes, half, pair);
    return vf_fma(code, n->scale[half], n->min[half]);
}

LANE_FN void put_pairs(const uint8_t *codes, const group_numbers numbers[2], uint8_t *tile, const bool small)
{
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++) {
        vi v = vi_load(codes + 64 * j);
#pragma GCC unroll 2
        for (int pair = 0; pair < 2; pair++)
            vi_store(tile + 128 * j + 64 * pair, vi_bf16(scaled_codes(v, 0, pair, &numbers[j / 4], small),
                                                         scaled_codes(v, 1, pair, &numbers[j / 4], small)));
    }
}

/* A group's scale and minimum; offset: what is taken off a code before it is scaled. */
LANE_FN group_numbers numbers_of(vf scale, vf min, float offset, const bool small)
{
    group_numbers n;
    min = vf_fma(scale, vf_set1(small ? -128 - offset : -offset), min);
    if (small) scale = vf_mul(scale, vf_set1(256));
    for (int half = 0; half < 2; half++) {
        n.scale[half] = vf_row_pairs(scale, half);
        n.min[half] = vf_row_pairs(min, half);
    }
    return n;
}

/* Number `group` of a panel's scales or minima (table.h). */
LANE_FN vf panel_f32_number(const float *lines, an_code_kind kind, int group)
{
    if (!an_codes_super(kind)) return vf_load(lines + 16 * group);
    int n = AN_SUPER / an_codes_group(kind), at = group % n;
    lines += 16 * (group - at);
    vi pair = vi_load(lines + 16 * (at / 2));
    return vf_mul(vf_load(lines + 16 * (n / 2)), vf_from_int(at & 1 ? pair_second(pair) : pair_first(pair)));
}

static void wide_codes(const an_panel *panel, an_code_kind kind, int step, uint8_t *tile)
{
    const uint8_t *codes = panel->codes + 512 * step;
    bool by16 = an_codes_group(kind) == 16, small = !an_codes_int8(kind);
    float offset = small ? (float)an_codes_offset(kind) : 128;
    group_numbers numbers[2];
    for (int i = 0; i < 1 + by16; i++) {
        int group = by16 ? 2 * step + i : step;
        vf min = an_codes_min(kind) ? panel_f32_number(panel->mins, kind, group) : vf_zero();
        numbers[i] = numbers_of(panel_f32_number(panel->scales, kind, group), min, offset, small);
    }
    if (!by16) numbers[1] = numbers[0];
    if (small) {
        put_pairs(codes, numbers, tile, true);
    } else if (AN_LANES_CODE_XOR == 0) {
        uint8_t flipped[512];
        for (int j = 0; j < 8; j++)
            vi_store(flipped + 64 * j, vi_xor(vi_load(codes + 64 * j), vi_set1((int32_t)0x80808080u)));
        put_pairs(flipped, numbers, tile, false);
    } else {
        put_pairs(codes, numbers, tile, false);
    }
}

/* A dword of a row is a pair already. */
static void wide_bf16(const uint8_t *rows, size_t stride, uint8_t *tile)
{
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        vi q[4];
        vi_rows16(rows + 16 * i, stride, q);
        for (int j = 0; j < 4; j++) vi_store(tile + 256 * i + 64 * j, q[j]);
    }
}

LANE_FN void prefetch_tile(const uint8_t *p)
{
#pragma GCC unroll 16
    for (int i = 0; i < AN_TILE_BYTES; i += 64) __builtin_prefetch(p + i, 0, 3);
}

/* Sums in tiles 0 to 3, tokens in 4 and 5, weights in 6 and 7: four loads for four products, the most that eight tiles allow. */
LANE_FN void wide_tiles(const an_wide_product *job, const int n_tok_tile, const int n_row_tile, const bool prefetch)
{
    enum { TILE_FLOATS = AN_TILE_BYTES / 4 };
    float *sums = job->sums;
    const uint8_t *a = job->acts, *b = job->pairs, *next = a + (size_t)job->n_step * 2 * AN_TILE_BYTES;
    if (job->first) {
        TILE_ZERO(0);
        if (n_row_tile > 1) TILE_ZERO(1);
        if (n_tok_tile > 1) TILE_ZERO(2);
        if (n_tok_tile > 1 && n_row_tile > 1) TILE_ZERO(3);
    } else {
        TILE_LOAD(0, sums);
        if (n_row_tile > 1) TILE_LOAD(1, sums + TILE_FLOATS);
        if (n_tok_tile > 1) TILE_LOAD(2, sums + 2 * TILE_FLOATS);
        if (n_tok_tile > 1 && n_row_tile > 1) TILE_LOAD(3, sums + 3 * TILE_FLOATS);
    }
    for (int s = 0; s < job->n_step; s++, a += 2 * AN_TILE_BYTES, b += 2 * AN_TILE_BYTES) {
        TILE_LOAD(6, b);
        TILE_LOAD(4, a);
        TILE_DOT(0, 4, 6);
        if (n_row_tile > 1) {
            TILE_LOAD(7, b + AN_TILE_BYTES);
            TILE_DOT(1, 4, 7);
        }
        if (n_tok_tile > 1) {
            TILE_LOAD(5, a + AN_TILE_BYTES);
            TILE_DOT(2, 5, 6);
            if (n_row_tile > 1) TILE_DOT(3, 5, 7);
        }
        if (prefetch) {
            prefetch_tile(next);
            prefetch_tile(next + AN_TILE_BYTES);
            next += 2 * AN_TILE_BYTES;
        }
    }
    TILE_STORE(0, sums);
    if (n_row_tile > 1) TILE_STORE(1, sums + TILE_FLOATS);
    if (n_tok_tile > 1) TILE_STORE(2, sums + 2 * TILE_FLOATS);
    if (n_tok_tile > 1 && n_row_tile > 1) TILE_STORE(3, sums + 3 * TILE_FLOATS);
}

static void wide_product(const an_wide_product *job)
{
    if (job->n_tok_tile == 2 && job->n_row_tile == 2) {
        if (job->prefetch) wide_tiles(job, 2, 2, true);
        else wide_tiles(job, 2, 2, false);
    } else if (job->n_tok_tile == 2) {
        wide_tiles(job, 2, 1, false);
    } else if (job->n_row_tile == 2) {
        wide_tiles(job, 1, 2, false);
    } else {
        wide_tiles(job, 1, 1, false);
    }
}

static void wide_finish(const float *sums, float *out, size_t out_stride, int n_tok, int n_row, bool add)
{
    for (int t = 0; t < n_tok; t++, out += out_stride) {
        const float *sum = sums + t / 16 * 512 + t % 16 * 16;
        for (int r = 0; r < n_row; r += 16, sum += 256) store_rows(out + r, vf_load(sum), n_row - r, add);
    }
}

/* Every product adds 32 times 1 * 0.5 to each sum. */
static uint64_t wide_peak(int n, float *sum)
{
    float out[4][256];
    uint16_t one[512], half[512];
    for (int i = 0; i < 512; i++) {
        one[i] = 0x3F80;
        half[i] = 0x3F00;
    }
    *sum = 0;
    tiles_begin();
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    TILE_LOAD(4, one);
    TILE_LOAD(5, one);
    TILE_LOAD(6, half);
    TILE_LOAD(7, half);
    for (int i = 0; i < n; i++) {
        TILE_DOT(0, 4, 6);
        TILE_DOT(1, 4, 7);
        TILE_DOT(2, 5, 6);
        TILE_DOT(3, 5, 7);
    }
    TILE_STORE(0, out[0]);
    TILE_STORE(1, out[1]);
    TILE_STORE(2, out[2]);
    TILE_STORE(3, out[3]);
    tiles_end();
    for (int i = 0; i < 4; i++) *sum += out[i][0];
    return (uint64_t)n * 4 * 2 * AN_TILE_ROWS * AN_TILE_ROWS * AN_TILE_COLS;
}

const an_wide AN_WIDE_TABLE = {
    .begin = wide_begin,
    .end = wide_end,
    .token = wide_token,
    .codes = wide_codes,
    .bf16 = wide_bf16,
    .product = wide_product,
    .finish = wide_finish,
    .peak = wide_peak,
};

#endif
