/*
 * Weights in panels: where every field of a block lies among the lines of sixteen rows, and the code that moves
 * them there and back. The forms:
 *
 * A row is cut into blocks as its file has them (a group with its scale and bias, for MLX), each of some dwords of
 * its own. Dword i of the sixteen rows is one line of 64 bytes. Where the 16-bit scale of a block would leave a
 * dword half empty, two blocks share the dwords that stand before them: the first block's number is the low half.
 * MXFP4's blocks are two groups of 32, whose scales of a byte make such a number; NVFP4's are four of 16, a dword of
 * scales.
 * Everything lies in the order of its use, because memory is read fastest by a walk that never turns back: scales,
 * then codes; Q2_K and Q6_K have a dword of scales before every 64 columns. 32 columns are as many dwords as a code
 * has bits, whatever the container; columns 4k..4k+3 are always the four bytes of something, called code k here,
 * and table an_packs says in which bits of which dwords: chosen so that as many codes as can be are ready after one
 * mask. In some lines dwords are not kept together, so that a load brings numbers that need no shifts: `halves`
 * have the sixteen low halves, then the sixteen high ones; `bytes` have byte 0 of all rows, then byte 1, ...
 */
#include "kernels/panels.h"

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/table.h"
#include "quant/codes.h"

#include <string.h>

enum { LINE = 64, MOVES = 4, LOOPS = 4, BLOCK_MAX = 256, DWORDS_MAX = 72 };

/* Fields of n_bit bits (8 at most) from bit `src` of the block to bit `dst`, repeated by nested loops. */
typedef struct move {
    uint16_t n_bit, dst, src;
    struct {
        uint16_t n, dst, src;
    } loop[LOOPS]; /* up to the first n of 0 */
} move;

typedef struct form {
    int n_elem, n_byte;     /* of a block; MLX: scales, bias and codes, one after the other */
    int n_shared;           /* 16-bit fields for which two blocks share a dword */
    int shared[2];          /* where they lie; or where the two bytes of a single one do, 0: next to each other */
    int n_own;              /* dwords of one block alone */
    int bits, first;        /* of a code; dword of the first group of 32 columns */
    int between;            /* dwords before every second group */
    uint64_t halves, bytes; /* own dwords that lie in halves or in bytes, a bit each */
    int plain;              /* byte of the block from which on its dwords are already those of the panel; -1: none */
    move fields[MOVES];     /* of all but codes, to bits of the own dwords; up to the first n_bit of 0 */
    move codes[2];          /* to bytes, in the order of columns */
} form;

#define RUN(to, from, n) {8, to, from, {{n, 8, 8}}}
#define NIBBLES(from) {4, 0, from, {{16, 8, 8}, {2, 128, 4}}}
#define TWOS(from) {2, 0, from, {{32, 8, 8}, {4, 256, 2}, {2, 1024, 256}}}

static const form forms[AN_DTYPE_AFFINE] = {
    [AN_DTYPE_Q4_0] = {32, 18, 1, {0}, 4, 4, 0, 0, 0, 0, 2, {{0}}, {NIBBLES(16)}},
    [AN_DTYPE_IQ4_NL] = {32, 18, 1, {0}, 4, 4, 0, 0, 0, 0, 2, {{0}}, {NIBBLES(16)}},
    [AN_DTYPE_Q5_0] = {32, 22, 1, {0}, 5, 5, 0, 0, 0, 0, -1, {{0}}, {NIBBLES(48), {1, 4, 16, {{32, 8, 1}}}}},
    [AN_DTYPE_Q8_0] = {32, 34, 1, {0}, 8, 8, 0, 0, 0, 0, 2, {{0}}, {RUN(0, 16, 32)}},
    [AN_DTYPE_Q4_1] = {32, 20, 0, {0}, 5, 4, 1, 0, 1, 0, 4, {RUN(0, 0, 4)}, {NIBBLES(32)}},
    [AN_DTYPE_Q5_1] = {32, 24, 0, {0}, 6, 5, 1, 0, 1, 0, -1, {RUN(0, 0, 4)}, {NIBBLES(64), {1, 4, 32, {{32, 8, 1}}}}},
    [AN_DTYPE_Q4_K] = {256, 144, 0, {0}, 36, 4, 4, 0, 1, 0, -1, {RUN(0, 0, 16)},
                       {{4, 0, 128, {{32, 8, 8}, {2, 256, 4}, {4, 512, 256}}}}},
    [AN_DTYPE_Q5_K] = {256, 176, 0, {0}, 44, 5, 4, 0, 1, 0, -1, {RUN(0, 0, 16)},
                       {{4, 0, 384, {{32, 8, 8}, {2, 256, 4}, {4, 512, 256}}}, {1, 4, 128, {{32, 8, 8}, {8, 256, 1}}}}},
    [AN_DTYPE_Q6_K] = {256, 210, 1, {208}, 52, 6, 1, 1, 0, 1 | 1ull << 13 | 1ull << 26 | 1ull << 39, -1,
                       {{8, 0, 1536, {{4, 8, 8}, {4, 416, 32}}}},
                       {{4, 0, 0, {{32, 8, 8}, {2, 256, 256}, {2, 512, 4}, {2, 1024, 512}}},
                        {2, 4, 1024, {{32, 8, 8}, {4, 256, 2}, {2, 1024, 256}}}}},
    [AN_DTYPE_Q2_K] = {256, 84, 0, {0}, 21, 2, 2, 1, 1, 1 << 1 | 1 << 6 | 1 << 11 | 1 << 16, -1,
                       {RUN(0, 640, 4), {8, 32, 0, {{4, 8, 8}, {4, 160, 32}}}}, {TWOS(128)}},
    [AN_DTYPE_Q3_K] = {256, 110, 1, {108}, 27, 3, 3, 0, 0, 0, -1, {RUN(0, 768, 12)},
                       {TWOS(256), {1, 2, 0, {{32, 8, 8}, {8, 256, 1}}}}},
    [AN_DTYPE_IQ4_XS] = {256, 136, 0, {0}, 34, 4, 2, 0, 0, 0, 8, {RUN(0, 0, 8)},
                         {{4, 0, 64, {{16, 8, 8}, {2, 128, 4}, {8, 256, 128}}}}},
    [AN_DTYPE_GGML_MXFP4] = {64, 34, 1, {0, 17}, 8, 4, 0, 0, 0, 0, -1, {{0}},
                             {{4, 0, 8, {{16, 8, 8}, {2, 128, 4}, {2, 256, 136}}}}},
};

const an_pack an_packs[9][AN_PACKS] = {
    [2] = {{0, 0, 2, 0, 0}, {1, 0, 2, 0, 2}, {2, 0, 2, 0, 4}, {3, 0, 2, 0, 6},
           {4, 0, 2, 1, 0}, {5, 0, 2, 1, 2}, {6, 0, 2, 1, 4}, {7, 0, 2, 1, 6}},
    [3] = {{0, 0, 3, 0, 0}, {1, 0, 3, 1, 0}, {2, 0, 3, 2, 0}, {3, 0, 3, 0, 3}, {4, 0, 3, 1, 3},
           {5, 0, 3, 2, 3}, {6, 0, 2, 0, 6}, {6, 2, 1, 2, 6}, {7, 0, 2, 1, 6}, {7, 2, 1, 2, 7}},
    [4] = {{0, 0, 4, 0, 0}, {1, 0, 4, 1, 0}, {2, 0, 4, 2, 0}, {3, 0, 4, 3, 0},
           {4, 0, 4, 0, 4}, {5, 0, 4, 1, 4}, {6, 0, 4, 2, 4}, {7, 0, 4, 3, 4}},
    [5] = {{0, 0, 5, 0, 0}, {1, 0, 5, 1, 0}, {2, 0, 5, 2, 0}, {3, 0, 5, 3, 0}, {4, 0, 5, 4, 0}, {5, 0, 3, 0, 5},
           {5, 3, 2, 1, 6}, {6, 0, 3, 2, 5}, {6, 3, 2, 4, 6}, {7, 0, 3, 3, 5}, {7, 3, 1, 1, 5}, {7, 4, 1, 4, 5}},
    [6] = {{0, 0, 6, 0, 0}, {1, 0, 6, 1, 0}, {2, 0, 6, 2, 0}, {3, 0, 2, 0, 6}, {3, 2, 2, 1, 6}, {3, 4, 2, 2, 6},
           {4, 0, 6, 3, 0}, {5, 0, 6, 4, 0}, {6, 0, 6, 5, 0}, {7, 0, 2, 3, 6}, {7, 2, 2, 4, 6}, {7, 4, 2, 5, 6}},
    [8] = {{0, 0, 8, 0, 0}, {1, 0, 8, 1, 0}, {2, 0, 8, 2, 0}, {3, 0, 8, 3, 0},
           {4, 0, 8, 4, 0}, {5, 0, 8, 5, 0}, {6, 0, 8, 6, 0}, {7, 0, 8, 7, 0}},
};

static bool is_fp4(an_dtype type)
{
    return type == AN_DTYPE_GGML_MXFP4 || type == AN_DTYPE_MXFP4 || type == AN_DTYPE_NVFP4;
}

/* Of 64 columns of MLX's four-bit floats. */
static form fp4_form(int group)
{
    int n_scale = 64 / group;
    bool own = n_scale == 4; /* as many bytes as a dword has */
    form f = {.n_elem = 64, .n_byte = n_scale + 32, .n_shared = !own, .n_own = 8 + own, .bits = 4, .first = own,
              .bytes = own, .plain = -1};
    if (own) f.fields[0] = (move)RUN(0, 0, 4);
    f.codes[0] = (move){4, 0, (uint16_t)(8 * n_scale), {{64, 8, 4}}};
    return f;
}

/* False when the weight has no form. */
static bool form_of(const an_weight *w, form *f)
{
    an_code_kind kind;
    if (!an_codes_kind(w, &kind)) return false;
    if (an_dtype_is_fp_mode(w->dtype)) {
        *f = fp4_form(w->affine.group);
    } else if (w->dtype != AN_DTYPE_AFFINE) {
        *f = forms[w->dtype];
    } else {
        int size = an_dtype_get(w->affine.scale_dtype)->block_bytes, group = w->affine.group, bits = w->affine.bits;
        bool wide = size == 4; /* f32 scales fill their dwords: the first two of the block's own */
        int first = wide ? 2 : 0;
        *f = (form){.n_elem = group, .n_byte = 2 * size + group * bits / 8, .n_shared = wide ? 0 : 2, .shared = {0, 2},
                    .n_own = group * bits / 32 + first, .bits = bits, .first = first,
                    .plain = bits == 8 ? 2 * size : -1};
        if (wide) f->fields[0] = (move)RUN(0, 0, 8);
        f->codes[0] = (move){(uint16_t)bits, 0, (uint16_t)(16 * size), {{(uint16_t)group, 8, (uint16_t)bits}}};
    }
    return w->n_col % f->n_elem == 0;
}

/* Of shared field i. */
static int second_byte(const form *f, int i)
{
    return f->n_shared == 1 && f->shared[1] ? f->shared[1] : f->shared[i] + 1;
}

/* Lines of sixteen whole rows. */
static uint64_t panel_lines(const an_weight *w, const form *f)
{
    uint64_t n_block = (uint64_t)(w->n_col / f->n_elem);
    return n_block * (uint64_t)f->n_own + (n_block + 1) / 2 * (uint64_t)f->n_shared;
}

uint64_t an_panels_bytes(const an_weight *w)
{
    form f;
    if (!form_of(w, &f)) return 0;
    return (uint64_t)((w->n_row + AN_PANEL_ROWS - 1) / AN_PANEL_ROWS) * panel_lines(w, &f) * LINE;
}

uint64_t an_panels_offset(const an_weight *w, int64_t row)
{
    form f;
    if (!form_of(w, &f)) return 0;
    return (uint64_t)(row / AN_PANEL_ROWS) * panel_lines(w, &f) * LINE;
}

/* The lines that block `block` of a row shares with its neighbour, and those of its own, from the panel's first. */
static uint64_t shared_line(const form *f, int64_t block)
{
    return (uint64_t)(block / 2) * (uint64_t)(f->n_shared + 2 * f->n_own);
}
static uint64_t own_line(const form *f, int64_t block)
{
    if (!f->n_shared) return (uint64_t)block * (uint64_t)f->n_own;
    return shared_line(f, block) + (uint64_t)(f->n_shared + (block & 1) * f->n_own);
}

/* Where byte b of a row's dword lies in line i of a block's own. */
static int byte_in_line(const form *f, int i, int row, int b)
{
    if (f->halves >> i & 1) return 32 * (b / 2) + 2 * row + b % 2;
    if (f->bytes >> i & 1) return 16 * b + row;
    return 4 * row + b;
}

static uint32_t get_bits(const uint8_t *p, uint32_t at, int n)
{
    uint32_t v = p[at / 8], shift = at % 8;
    if (shift + (uint32_t)n > 8) v |= (uint32_t)p[at / 8 + 1] << 8;
    return v >> shift & ((1u << n) - 1);
}
static void set_bits(uint8_t *p, uint32_t at, int n, uint32_t v)
{
    v <<= at % 8;
    p[at / 8] |= (uint8_t)v;
    if (at % 8 + (uint32_t)n > 8) p[at / 8 + 1] |= (uint8_t)(v >> 8);
}

/* Moves from the block's bytes to dwords or codes or, `back`, the other way. `to` is zero before. */
static void run_moves(const move *m, int n_move, const uint8_t *from, uint8_t *to, bool back)
{
    for (const move *end = m + n_move; m < end && m->n_bit; m++) {
        int i[LOOPS] = {0}, level;
        uint32_t dst = m->dst, src = m->src;
        do {
            if (back) set_bits(to, src, m->n_bit, get_bits(from, dst, m->n_bit));
            else set_bits(to, dst, m->n_bit, get_bits(from, src, m->n_bit));
            for (level = 0; level < LOOPS && m->loop[level].n; level++) {
                dst += m->loop[level].dst;
                src += m->loop[level].src;
                if (++i[level] < m->loop[level].n) break;
                dst -= (uint32_t)(m->loop[level].n * m->loop[level].dst);
                src -= (uint32_t)(m->loop[level].n * m->loop[level].src);
                i[level] = 0;
            }
        } while (level < LOOPS && m->loop[level].n);
    }
}

/* Dword of group g of 32 columns among the block's own. */
static int group_dword(const form *f, int g)
{
    return f->first + g * f->bits + g / 2 * f->between;
}

/* Codes of a block into its dwords or, `back`, out of them; the destination is zero before. */
static void run_packs(const form *f, uint8_t *own, uint8_t *codes, bool back)
{
    for (int g = 0; g < f->n_elem / 32; g++)
        for (const an_pack *p = an_packs[f->bits]; p < an_packs[f->bits] + AN_PACKS && p->n; p++)
            for (int b = 0; b < 4; b++) {
                uint8_t *code = codes + 32 * g + 4 * p->k + b, *to = own + 4 * (group_dword(f, g) + p->dword) + b;
                uint8_t mask = (uint8_t)((1u << p->n) - 1);
                if (back) *code |= (uint8_t)((*to >> p->to & mask) << p->from);
                else *to |= (uint8_t)((*code >> p->from & mask) << p->to);
            }
}

/* Bytes of a block that MLX has in tensors of their own: its scales, and its bias. */
static int scale_bytes(const an_weight *w, const form *f)
{
    if (!an_dtype_is_mlx(w->dtype)) return 0;
    return f->n_elem / w->affine.group * an_dtype_get(w->affine.scale_dtype)->block_bytes;
}
static int bias_bytes(const an_weight *w, const form *f)
{
    return w->dtype == AN_DTYPE_AFFINE ? scale_bytes(w, f) : 0;
}

/* Block `block` of a row of a weight in rows. */
static void read_block(const an_weight *w, const form *f, int64_t row, int64_t block, uint8_t *out)
{
    const uint8_t *data = (const uint8_t *)w->data + (uint64_t)row * w->row_bytes;
    int size = scale_bytes(w, f), bias = bias_bytes(w, f), n_code = f->n_byte - size - bias;
    uint64_t at = (uint64_t)(row * (w->n_col / f->n_elem) + block) * (uint64_t)size;
    if (size) memcpy(out, (const uint8_t *)w->affine.scales + at, (size_t)size);
    if (bias) memcpy(out + size, (const uint8_t *)w->affine.biases + at, (size_t)bias);
    memcpy(out + size + bias, data + (uint64_t)block * (uint64_t)n_code, (size_t)n_code);
}

/* One block of one row into the lines of its panel. */
static void write_block(const form *f, uint8_t *panel, int row, int64_t block, const uint8_t *bytes)
{
    uint8_t own[4 * DWORDS_MAX] = {0}, codes[256] = {0}, *lines = panel + own_line(f, block) * LINE;
    run_moves(f->fields, MOVES, bytes, own, false);
    run_moves(f->codes, 2, bytes, codes, false);
    run_packs(f, own, codes, false);
    for (int i = 0; i < 4 * f->n_own; i++) lines[i / 4 * LINE + byte_in_line(f, i / 4, row, i % 4)] = own[i];
    lines = panel + shared_line(f, block) * LINE + 32 * (block & 1) + 2 * row;
    for (int i = 0; i < f->n_shared; i++) {
        lines[i * LINE] = bytes[f->shared[i]];
        lines[i * LINE + 1] = bytes[second_byte(f, i)];
    }
}

/* A whole panel as a level writes it: where the fields of its sixteen rows are. */
typedef struct source {
    const uint8_t *data, *scales, *biases; /* of the first row */
    size_t stride, scale_stride;
    int size; /* of a block's scales in MLX; 0: they are in the blocks */
} source;

/* Byte `at` of a block's fields as read_block() would give it, in row r. */
static const uint8_t *field_at(const source *s, const form *f, int64_t block, int at, int r)
{
    if (!s->size) return s->data + (size_t)r * s->stride + (uint64_t)block * (uint64_t)f->n_byte + at;
    const uint8_t *numbers = at < s->size ? s->scales : s->biases;
    return numbers + (size_t)r * s->scale_stride + (uint64_t)block * (uint64_t)s->size + at % s->size;
}

/* All that is not codes; fields are whole dwords. */
static void write_fields(const source *s, const form *f, int64_t block, uint8_t *panel)
{
    uint8_t *own = panel + own_line(f, block) * LINE, *shared = panel + shared_line(f, block) * LINE + 32 * (block & 1);
    for (int i = 0; i < f->n_shared; i++)
        for (int r = 0; r < AN_PANEL_ROWS; r++) {
            const uint8_t *from = field_at(s, f, block, f->shared[i], r);
            shared[i * LINE + 2 * r] = from[0];
            shared[i * LINE + 2 * r + 1] = from[second_byte(f, i) - f->shared[i]];
        }
    for (const move *m = f->fields; m < f->fields + MOVES && m->n_bit; m++)
        for (int j = 0; j < (m->loop[1].n ? m->loop[1].n : 1); j++)
            for (int i = 0; i < m->loop[0].n / 4; i++) {
                int dword = (m->dst + j * m->loop[1].dst) / 32 + i, at = (m->src + j * m->loop[1].src) / 8 + 4 * i;
                uint8_t *line = own + dword * LINE;
                for (int r = 0; r < AN_PANEL_ROWS; r++) {
                    const uint8_t *from = field_at(s, f, block, at, r);
                    for (int b = 0; b < 4; b++) line[byte_in_line(f, dword, r, b)] = from[b];
                }
            }
}

/* Sixteen whole rows: by the level's unpacking and its ways of packing. */
static void write_panel(const an_kernels *k, const an_weight *w, const form *f, an_unpack_fn *unpack, int64_t row,
                        uint8_t *panel)
{
    int size = scale_bytes(w, f), bias = bias_bytes(w, f), code_bytes = f->n_byte - size - bias;
    size_t scale_stride = (size_t)(w->n_col / f->n_elem) * (size_t)size;
    source s = {(const uint8_t *)w->data + (uint64_t)row * w->row_bytes, NULL, NULL, w->row_bytes, scale_stride, size};
    if (size) s.scales = (const uint8_t *)w->affine.scales + (size_t)row * scale_stride;
    if (bias) s.biases = (const uint8_t *)w->affine.biases + (size_t)row * scale_stride;
    uint8_t codes[AN_CODES_STEP * AN_PANEL_ROWS];
    float scales[AN_CODES_STEP], mins[AN_CODES_STEP];
    an_panel out = {codes, scales, mins};
    int shift = w->dtype == AN_DTYPE_Q3_K ? 3 : 0;
    for (int col = 0; col < w->n_col; col += AN_CODES_STEP) {
        int n = w->n_col - col < AN_CODES_STEP ? (int)(w->n_col - col) : AN_CODES_STEP;
        size_t step = (size_t)(n / f->n_elem * code_bytes);
        const char *ahead = (const char *)s.data + 16 * (s.stride + (size_t)(col / f->n_elem * code_bytes));
        if (is_fp4(w->dtype)) k->fp4_codes(w, row, col, col + n, codes);
        else if (f->plain < 0) unpack(w, row, col, col + n, &out);
        else
            for (size_t i = 0; i < 16 * step; i += LINE) __builtin_prefetch(ahead + i, 0, 2);
        for (int b = 0; b < n / f->n_elem; b++) {
            int64_t block = col / f->n_elem + b;
            uint8_t *own = panel + own_line(f, block) * LINE;
            const uint8_t *plain = s.data + block * code_bytes + f->plain - size - bias;
            for (int g = 0; g < f->n_elem / 32; g++) {
                uint8_t *lines = own + group_dword(f, g) * LINE;
                if (f->plain < 0) k->pack_codes(codes + 512 * (b * f->n_elem / 32 + g), f->bits, shift, lines);
                else k->interleave(plain + 4 * g * f->bits, s.stride, f->bits, lines);
            }
            write_fields(&s, f, block, panel);
        }
    }
}

void an_panels_write(const an_kernels *k, const an_weight *w, void *panels, int64_t row_begin, int64_t row_end)
{
    form f;
    AN_ASSERT(w->layout == AN_LAYOUT_ROWS && row_begin % AN_ROW_GRAIN == 0);
    if (!form_of(w, &f)) return;
    uint64_t bytes = panel_lines(w, &f) * LINE;
    an_unpack_fn *unpack = w->dtype == AN_DTYPE_AFFINE ? k->unpack_affine[w->affine.bits] : k->unpack[w->dtype];
    for (int64_t row = row_begin; row < row_end; row += AN_PANEL_ROWS) {
        uint8_t *panel = (uint8_t *)panels + (uint64_t)(row / AN_PANEL_ROWS) * bytes, block[BLOCK_MAX];
        if (w->n_col / f.n_elem % 2 && f.n_shared) memset(panel, 0, bytes);
        if (row_end - row >= AN_PANEL_ROWS && (unpack || f.plain >= 0)) {
            write_panel(k, w, &f, unpack, row, panel);
            continue;
        }
        memset(panel, 0, bytes);
        for (int r = 0; r < AN_PANEL_ROWS && row + r < row_end; r++)
            for (int64_t b = 0; b < w->n_col / f.n_elem; b++) {
                read_block(w, &f, row + r, b, block);
                write_block(&f, panel, r, b, block);
            }
    }
}

an_weight an_panels_view(const an_weight *w, const void *panels)
{
    an_weight view = *w;
    view.layout = AN_LAYOUT_PANELS;
    view.data = panels;
    view.affine.scales = view.affine.biases = NULL;
    return view;
}

/* Bytes of some columns of one row as the file had them, behind a weight of that row alone. */
typedef struct piece {
    an_weight w;
    uint8_t data[BLOCK_MAX + 32], scales[32], biases[32];
} piece;

/* Columns col..col+n-1: whole blocks, AN_CODES_STEP columns at most. */
static void read_piece(const an_weight *w, const form *f, int64_t row, int64_t col, int n, piece *out)
{
    const uint8_t *panel = (const uint8_t *)w->data + (uint64_t)(row / AN_PANEL_ROWS) * panel_lines(w, f) * LINE;
    int r = (int)(row % AN_PANEL_ROWS), n_block = n / f->n_elem;
    int size = scale_bytes(w, f), bias = bias_bytes(w, f);
    size_t n_code = (size_t)(f->n_byte - size - bias);
    for (int b = 0; b < n_block; b++) {
        int64_t at = col / f->n_elem + b;
        uint8_t own[4 * DWORDS_MAX], bytes[BLOCK_MAX] = {0}, codes[256] = {0};
        const uint8_t *lines = panel + own_line(f, at) * LINE;
        for (int i = 0; i < 4 * f->n_own; i++) own[i] = lines[i / 4 * LINE + byte_in_line(f, i / 4, r, i % 4)];
        run_packs(f, own, codes, true);
        run_moves(f->fields, MOVES, own, bytes, true);
        run_moves(f->codes, 2, codes, bytes, true);
        lines = panel + shared_line(f, at) * LINE + 32 * (at & 1) + 2 * r;
        for (int i = 0; i < f->n_shared; i++) {
            bytes[f->shared[i]] = lines[i * LINE];
            bytes[second_byte(f, i)] = lines[i * LINE + 1];
        }
        memcpy(out->scales + b * size, bytes, (size_t)size);
        memcpy(out->biases + b * bias, bytes + size, (size_t)bias);
        memcpy(out->data + (size_t)b * n_code, bytes + size + bias, n_code);
    }
    out->w = *w;
    out->w.layout = AN_LAYOUT_ROWS;
    out->w.n_row = 1;
    out->w.n_col = n;
    out->w.data = out->data;
    out->w.row_bytes = (uint64_t)n_block * n_code;
    out->w.affine.scales = out->scales;
    out->w.affine.biases = out->biases;
}

static void piece_of(const an_weight *w, int64_t row, int64_t col, int n, piece *p)
{
    form f;
    bool has_form = form_of(w, &f);
    AN_ASSERT(has_form && w->layout == AN_LAYOUT_PANELS && n <= AN_CODES_STEP);
    read_piece(w, &f, row, col, n, p);
}

void an_panels_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales,
                          float *mins)
{
    piece p;
    piece_of(w, row, col, n, &p);
    an_codes_read(&p.w, 0, 0, n, codes, scales, mins);
}

void an_panels_codes_read_super(const an_weight *w, int64_t row, int64_t col, uint8_t *codes, an_super *numbers)
{
    piece p;
    piece_of(w, row, col, AN_SUPER, &p);
    an_codes_read_super(&p.w, 0, 0, codes, numbers);
}

void an_panels_row_f32(const an_weight *w, int64_t row, float *out)
{
    form f;
    piece p;
    bool has_form = form_of(w, &f);
    AN_ASSERT(has_form && w->layout == AN_LAYOUT_PANELS);
    for (int64_t col = 0; col < w->n_col; col += AN_CODES_STEP) {
        int n = w->n_col - col < AN_CODES_STEP ? (int)(w->n_col - col) : AN_CODES_STEP;
        read_piece(w, &f, row, col, n, &p);
        an_weight_row_f32(&p.w, 0, out + col);
    }
}
