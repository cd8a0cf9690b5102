/*
 * Weights in panels: where every field of a block lies among the lines of sixteen rows, and the code that moves them there
 * and back. The forms:
 *
 * A row is cut into blocks as its file has them (a group with its scale and bias, for MLX), each of some dwords of its own.
 * Dword i of the sixteen rows is one line of 64 bytes. Where the 16-bit scale of a block would leave a dword half empty,
 * two blocks share the dwords that stand before them: the first block's number is the low half. Everything lies in the
 * order of its use, because memory is read fastest by a walk that never turns back: scales, then codes; Q2_K and Q6_K
 * have a dword of scales before every 64 columns. 32 columns are as many dwords as a code has bits, whatever the
 * container; columns 4k..4k+3 are always the four bytes of something, called code k here, and table `packs` says in which
 * bits of which dwords: chosen so that as many codes as can be are ready after one mask.
 * In some lines dwords are not kept together, so that a load brings numbers that need no shifts: `halves` have the sixteen
 * low halves, then the sixteen high ones; `bytes` have byte 0 of all rows, then byte 1, ...
 */
#include "kernels/panels.h"

#include "base/bytes.h"
#include "base/error.h"
#include "kernels/table.h"
#include "quant/codes.h"

#include <string.h>

enum { LINE = 64, MOVES = 4, LOOPS = 4, BLOCK_MAX = 256, DWORDS_MAX = 72, PACKS = 12 };

/* Fields of n_bit bits (8 at most) from bit `src` of the block to bit `dst`, repeated by nested loops. */
typedef struct move {
    uint16_t n_bit, dst, src;
    struct {
        uint16_t n, dst, src;
    } loop[LOOPS]; /* up to the first n of 0 */
} move;

typedef struct form {
    int n_elem, n_byte;     /* of a block; MLX: scale, bias and codes, one after the other */
    int n_shared;           /* 16-bit fields for which two blocks share a dword */
    int shared[2];          /* where they lie in the block */
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
};

/* n bits from bit `from` of code k on are bits `to` and up of the bytes of dword `dword`; body/panels.h takes them out. */
typedef struct pack {
    uint8_t k, from, n, dword, to;
} pack;

static const pack packs[9][PACKS] = {
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

/* False when the weight has no form. */
static bool form_of(const an_weight *w, form *f)
{
    an_code_kind kind;
    if (!an_codes_kind(w, &kind)) return false;
    if (w->dtype != AN_DTYPE_AFFINE) {
        *f = forms[w->dtype];
    } else {
        int size = an_dtype_get(w->affine.scale_dtype)->block_bytes, group = w->affine.group, bits = w->affine.bits;
        bool wide = size == 4; /* f32 scales fill their dwords: the first two of the block's own */
        int first = wide ? 2 : 0;
        *f = (form){.n_elem = group, .n_byte = 2 * size + group * bits / 8, .n_shared = wide ? 0 : 2, .shared = {0, 2},
                    .n_own = group * bits / 32 + first, .bits = bits, .first = first, .plain = bits == 8 ? 2 * size : -1};
        if (wide) f->fields[0] = (move)RUN(0, 0, 8);
        f->codes[0] = (move){(uint16_t)bits, 0, (uint16_t)(16 * size), {{(uint16_t)group, 8, (uint16_t)bits}}};
    }
    return w->n_col % f->n_elem == 0;
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

/* A field of n bits, from bit `src` of the block to bit `dst` of its dwords (or codes). */
typedef void field_fn(void *ctx, uint32_t dst, uint32_t src, int n);

static void run_moves(const move *m, int n_move, field_fn *fn, void *ctx)
{
    for (const move *end = m + n_move; m < end && m->n_bit; m++) {
        int i[LOOPS] = {0}, level;
        uint32_t dst = m->dst, src = m->src;
        do {
            fn(ctx, dst, src, m->n_bit);
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

/* Which bit of the block every bit of every code is, plus one; 0: none, the bit is zero. */
typedef uint16_t code_bits[8 * 256];

static void note_code(void *ctx, uint32_t dst, uint32_t src, int n)
{
    for (int i = 0; i < n; i++) ((uint16_t *)ctx)[dst + (uint32_t)i] = (uint16_t)(src + (uint32_t)i + 1);
}

/* n bits of a code, to bit `dst`, in runs that lie side by side in the block too. */
static void move_code(const uint16_t *from, int n, uint32_t dst, field_fn *fn, void *ctx)
{
    for (int i = 0, run; i < n; i += run) {
        for (run = 1; i + run < n && from[i] && from[i + run] == from[i] + run; run++) continue;
        if (from[i]) fn(ctx, dst + (uint32_t)i, from[i] - 1u, run);
    }
}

static void for_each_field(const form *f, field_fn *fn, void *ctx)
{
    code_bits bits = {0};
    run_moves(f->fields, MOVES, fn, ctx);
    run_moves(f->codes, 2, note_code, bits);
    for (int g = 0; g < f->n_elem / 32; g++)
        for (const pack *p = packs[f->bits]; p < packs[f->bits] + PACKS && p->n; p++)
            for (int b = 0; b < 4; b++) {
                uint32_t byte = (uint32_t)(4 * (group_dword(f, g) + p->dword) + b);
                move_code(bits + 8 * (32 * g + 4 * p->k + b) + p->from, p->n, 8 * byte + p->to, fn, ctx);
            }
}

/* The way back, for one row. `block` is zero before. */
typedef struct way_back {
    const uint8_t *own;
    uint8_t *block;
} way_back;

static void put_field_back(void *ctx, uint32_t dst, uint32_t src, int n)
{
    way_back *b = ctx;
    set_bits(b->block, src, n, get_bits(b->own, dst, n));
}

/* ------------------------------------------------------------------------------------------------------- writing */

/*
 * All fields that go from one dword of the block to one of its own by the same distance, as one operation; it is done for
 * the sixteen rows at once, on lines of dwords.
 */
typedef struct op {
    uint8_t dst, src;
    int8_t left; /* below 0: right */
    uint32_t mask; /* of the result */
} op;

enum { OPS_MAX = 640 };

typedef struct program {
    int n;
    int first[DWORDS_MAX + 1]; /* operations of dword i: first[i]..first[i + 1] - 1 */
    op ops[OPS_MAX];
    uint16_t chain[DWORDS_MAX], next[OPS_MAX]; /* while it is made: last operation of a dword, the one before; 0: none, else + 1 */
    op made[OPS_MAX];
} program;

static void add_part(program *p, uint32_t dst, uint32_t src, int n)
{
    uint8_t to = (uint8_t)(dst / 32), from = (uint8_t)(src / 32);
    int8_t left = (int8_t)((int)(dst % 32) - (int)(src % 32));
    uint32_t mask = ((1u << n) - 1) << dst % 32;
    for (int i = p->chain[to]; i; i = p->next[i - 1]) {
        op *o = &p->made[i - 1];
        if (o->src != from || o->left != left) continue;
        o->mask |= mask;
        return;
    }
    AN_ASSERT(p->n < OPS_MAX);
    p->made[p->n] = (op){to, from, left, mask};
    p->next[p->n] = p->chain[to];
    p->chain[to] = (uint16_t)++p->n;
}

/* A field cut where a dword ends. */
static void add_field(void *ctx, uint32_t dst, uint32_t src, int n)
{
    while (n > 0) {
        int left = 32 - (int)(dst % 32 > src % 32 ? dst % 32 : src % 32), part = n < left ? n : left;
        add_part(ctx, dst, src, part);
        dst += (uint32_t)part;
        src += (uint32_t)part;
        n -= part;
    }
}

static void make_program(program *p, const form *f)
{
    p->n = 0;
    memset(p->chain, 0, sizeof p->chain);
    for_each_field(f, add_field, p);
    int n = 0;
    for (int dst = 0; dst < f->n_own; dst++) {
        p->first[dst] = n;
        for (int i = p->chain[dst]; i; i = p->next[i - 1]) p->ops[n++] = p->made[i - 1];
    }
    p->first[f->n_own] = n;
}

/* Where the sixteen rows of a panel are read: of their first block. Rows that the weight lacks are zeros. */
typedef struct source {
    const uint8_t *data[AN_PANEL_ROWS], *scales[AN_PANEL_ROWS], *biases[AN_PANEL_ROWS];
    int scale_bytes; /* 0: no scales of their own */
    int data_bytes;  /* of a block */
} source;

static void open_source(source *s, const an_weight *w, const form *f, int64_t row, int64_t row_end)
{
    uint64_t n_block = (uint64_t)(w->n_col / f->n_elem);
    s->scale_bytes = w->dtype == AN_DTYPE_AFFINE ? an_dtype_get(w->affine.scale_dtype)->block_bytes : 0;
    s->data_bytes = f->n_byte - 2 * s->scale_bytes;
    for (int r = 0; r < AN_PANEL_ROWS; r++) {
        bool there = row + r < row_end;
        uint64_t at = (uint64_t)(row + r), scales = at * n_block * (uint64_t)s->scale_bytes;
        s->data[r] = there ? (const uint8_t *)w->data + at * w->row_bytes : NULL;
        if (!s->scale_bytes) continue;
        s->scales[r] = (const uint8_t *)w->affine.scales + scales;
        s->biases[r] = (const uint8_t *)w->affine.biases + scales;
    }
}

typedef uint32_t line[AN_PANEL_ROWS];

/* Block `b` of the sixteen rows, dword by dword; bytes behind the block's end are zeros. */
static void read_lines(const source *s, int64_t b, int n_byte, line *raw)
{
    int n_whole = n_byte / 4;
    for (int r = 0; r < AN_PANEL_ROWS; r++) {
        uint8_t joined[BLOCK_MAX + 32];
        const uint8_t *from = s->data[r] ? s->data[r] + b * s->data_bytes : NULL;
        if (from && s->scale_bytes) {
            memcpy(joined, s->scales[r] + b * s->scale_bytes, (size_t)s->scale_bytes);
            memcpy(joined + s->scale_bytes, s->biases[r] + b * s->scale_bytes, (size_t)s->scale_bytes);
            memcpy(joined + 2 * s->scale_bytes, from, (size_t)s->data_bytes);
            from = joined;
        }
        for (int i = 0; i < n_whole; i++) raw[i][r] = from ? an_load_u32(from + 4 * i) : 0;
        if (n_byte % 4) {
            raw[n_whole][r] = 0;
            if (from) memcpy(&raw[n_whole][r], from + 4 * n_whole, (size_t)(n_byte % 4));
        }
    }
}

static void run_ops(const op *o, int n, const line *raw, uint32_t *out)
{
    line sum = {0};
    for (; n > 0; n--, o++) {
        const uint32_t *from = raw[o->src], mask = o->mask;
        if (o->left >= 0)
            for (int r = 0; r < AN_PANEL_ROWS; r++) sum[r] |= from[r] << o->left & mask;
        else
            for (int r = 0; r < AN_PANEL_ROWS; r++) sum[r] |= from[r] >> -o->left & mask;
    }
    memcpy(out, sum, sizeof sum);
}

/* One block of the sixteen rows into the lines of its panel. */
static void write_block(const form *f, const program *p, const line *raw, uint8_t *panel, int64_t block)
{
    uint8_t *own = panel + own_line(f, block) * LINE, *shared = panel + shared_line(f, block) * LINE + 32 * (block & 1);
    for (int i = 0; i < f->n_own; i++) {
        line dwords;
        run_ops(p->ops + p->first[i], p->first[i + 1] - p->first[i], raw, dwords);
        uint8_t *to = own + i * LINE;
        if (f->halves >> i & 1) {
            uint16_t halves[2][AN_PANEL_ROWS];
            for (int r = 0; r < AN_PANEL_ROWS; r++) halves[0][r] = (uint16_t)dwords[r];
            for (int r = 0; r < AN_PANEL_ROWS; r++) halves[1][r] = (uint16_t)(dwords[r] >> 16);
            memcpy(to, halves, LINE);
        } else if (f->bytes >> i & 1) {
            for (int b = 0; b < 4; b++)
                for (int r = 0; r < AN_PANEL_ROWS; r++) to[16 * b + r] = (uint8_t)(dwords[r] >> 8 * b);
        } else {
            memcpy(to, dwords, LINE);
        }
    }
    for (int i = 0; i < f->n_shared; i++) {
        uint16_t half[AN_PANEL_ROWS];
        const uint32_t *from = raw[f->shared[i] / 4];
        for (int r = 0; r < AN_PANEL_ROWS; r++) half[r] = (uint16_t)(from[r] >> 8 * (f->shared[i] % 4));
        memcpy(shared + i * LINE, half, sizeof half);
    }
}

void an_panels_write(const an_kernels *k, const an_weight *w, void *panels, int64_t row_begin, int64_t row_end)
{
    (void)k;
    form f;
    program p;
    source s;
    AN_ASSERT(w->layout == AN_LAYOUT_ROWS && row_begin % AN_ROW_GRAIN == 0);
    if (!form_of(w, &f)) return;
    make_program(&p, &f);
    uint64_t bytes = panel_lines(w, &f) * LINE;
    int64_t n_block = w->n_col / f.n_elem;
    for (int64_t row = row_begin; row < row_end; row += AN_PANEL_ROWS) {
        uint8_t *panel = (uint8_t *)panels + (uint64_t)(row / AN_PANEL_ROWS) * bytes;
        open_source(&s, w, &f, row, row_end);
        /* The half that an odd last block has for nobody. */
        if (n_block % 2) memset(panel + shared_line(&f, n_block - 1) * LINE, 0, (size_t)f.n_shared * LINE);
        for (int64_t b = 0; b < n_block; b++) {
            line raw[BLOCK_MAX / 4 + 8];
            read_lines(&s, b, f.n_byte, raw);
            write_block(&f, &p, raw, panel, b);
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
    int size = w->dtype == AN_DTYPE_AFFINE ? an_dtype_get(w->affine.scale_dtype)->block_bytes : 0;
    size_t n_code = (size_t)(f->n_byte - 2 * size);
    for (int b = 0; b < n_block; b++) {
        int64_t at = col / f->n_elem + b;
        uint8_t own[4 * DWORDS_MAX], bytes[BLOCK_MAX] = {0};
        const uint8_t *lines = panel + own_line(f, at) * LINE;
        for (int i = 0; i < 4 * f->n_own; i++) own[i] = lines[i / 4 * LINE + byte_in_line(f, i / 4, r, i % 4)];
        for_each_field(f, put_field_back, &(way_back){own, bytes});
        lines = panel + shared_line(f, at) * LINE + 32 * (at & 1) + 2 * r;
        for (int i = 0; i < f->n_shared; i++) memcpy(bytes + f->shared[i], lines + i * LINE, 2);
        memcpy(out->scales + b * size, bytes, (size_t)size);
        memcpy(out->biases + b * size, bytes + size, (size_t)size);
        memcpy(out->data + (size_t)b * n_code, bytes + 2 * size, n_code);
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

void an_panels_codes_read(const an_weight *w, int64_t row, int64_t col, int n, uint8_t *codes, float *scales, float *mins)
{
    form f;
    piece p;
    bool has_form = form_of(w, &f);
    AN_ASSERT(has_form && w->layout == AN_LAYOUT_PANELS && n <= AN_CODES_STEP);
    read_piece(w, &f, row, col, n, &p);
    an_codes_read(&p.w, 0, 0, n, codes, scales, mins);
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
