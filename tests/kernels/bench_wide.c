/* Speed of products by matrix tiles: the tiles' own rate, sizes of blocks, unpacking alone, and where int8 is faster. */
#include "kernels/kcheck.h"

#include "kernels/matmul.h"
#include "kernels/wide.h"
#include "os/clock.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_ROW = 2048, N_COL = 4096, N_TOK = 512 }; /* half of a 7B model's square matrices: one of two threads' share */

typedef struct wide_bench {
    const an_kernels *k;
    test_weight w;
    float *x, *out;
    void *acts, *scratch;
    double peak; /* operations a second of the tiles from registers */
} wide_bench;

static double seconds(void)
{
    return (double)an_clock_ns() * 1e-9;
}

static const an_wide_blocks largest = {.cols = 2048, .rows = 1024, .tokens = 1024};

/* Best time of a product of n_tok tokens by tiles with `blocks`, or by int8 when that is NULL. */
static double best_product(wide_bench *b, const an_wide_blocks *blocks, int n_tok)
{
    an_act a = {.compute = blocks ? AN_COMPUTE_BF16 : AN_COMPUTE_Q8, .n_tok = n_tok, .n_col = N_COL, .f32 = b->x,
                .f32_stride = N_COL, .q = b->acts};
    double best = 1e9, begin = seconds();
    if (!blocks) {
        act_room(&a, &b->w.w, b->acts);
        an_act_quantize(b->k, &a, 0, n_tok);
    } else
        for (int t = 0; t < n_tok; t++)
            b->k->wide->token(&(an_wide_token){b->x + (size_t)t * N_COL, N_COL, 0, N_COL, t, n_tok, blocks->cols, b->acts});
    for (int i = 0; i < 20 && (i < 2 || seconds() - begin < 0.3); i++) {
        double t = seconds();
        if (blocks) an_matmul_wide(b->k, blocks, &b->w.w, &a, b->out, N_ROW, 0, N_ROW, false, b->scratch);
        else an_matmul_rows(b->k, &b->w.w, &a, b->out, N_ROW, 0, N_ROW, false, b->scratch);
        t = seconds() - t;
        if (t < best) best = t;
    }
    return best;
}

static void print_product(const wide_bench *b, const char *name, const char *what, int n_tok, double s)
{
    double rate = 2.0 * N_ROW * N_COL * n_tok / s;
    printf("%-10s tiles_%-8s %-42s tokens %3d: %8.1f Gop/s, %5.1f %% of the tiles' peak\n", b->k->name, name, what, n_tok,
           rate * 1e-9, rate / b->peak * 100);
}

static void bench_blocks(wide_bench *b, const char *name)
{
    static const int cols[] = {256, 512, 1024}, rows[] = {128, 256, 512}, tokens[] = {512, 256};
    for (size_t c = 0; c < AN_COUNT_OF(cols); c++)
        for (size_t r = 0; r < AN_COUNT_OF(rows); r++)
            for (size_t t = 0; t < AN_COUNT_OF(tokens); t++)
                for (int prefetch = 0; prefetch < 2; prefetch++) {
                    an_wide_blocks blocks = {cols[c], rows[r], tokens[t], prefetch};
                    char what[64];
                    snprintf(what, sizeof what, "blocks: cols %4d rows %3d tokens %3d%s", cols[c], rows[r], tokens[t],
                             prefetch ? " prefetch" : "");
                    print_product(b, name, what, N_TOK, best_product(b, &blocks, N_TOK));
                }
}

/* Codes of one row panel to bf16 over and over: cycles would need the clock, so nanoseconds for 16 rows x 32 columns. */
static void bench_unpack(wide_bench *b, an_code_kind kind, const char *name)
{
    enum { COLS = 256, STEPS = COLS / AN_TILE_COLS, ROUNDS = 2000 };
    uint8_t *room = aligned_alloc(64, COLS * 16 * 4), *tiles = aligned_alloc(64, STEPS * AN_TILE_BYTES);
    an_panel panel = {room, (float *)(room + COLS * 16), (float *)(room + COLS * 16 + COLS * 4)};
    double panels = 0, codes = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double t = seconds();
        int row = i % (N_ROW / 16) * 16;
        an_panel_unpack(b->k, &b->w.w, kind, row, 16, 0, COLS, &panel);
        panels += seconds() - t;
        t = seconds();
        for (int s = 0; s < STEPS; s++) b->k->wide->codes(&panel, kind, s, tiles + s * AN_TILE_BYTES);
        codes += seconds() - t;
    }
    printf("%-10s bf16_%-8s 16 rows x 32 columns: panel %.1f ns, bf16 %.1f ns\n", b->k->name, name,
           panels / ROUNDS / STEPS * 1e9, codes / ROUNDS / STEPS * 1e9);
    free(room);
    free(tiles);
}

/* The tiles' own rate, and as many tokens as it takes until tiles beat int8. */
static void bench_tokens(wide_bench *b, an_dtype type, const char *name)
{
    static const int tokens[] = {17, 32, 64, 128, N_TOK};
    for (size_t i = 0; i < AN_COUNT_OF(tokens); i++) {
        print_product(b, name, "default blocks", tokens[i], best_product(b, &an_wide_default, tokens[i]));
        if (type != AN_DTYPE_BF16) print_product(b, name, "int8", tokens[i], best_product(b, NULL, tokens[i]));
    }
}

static bool asked(const char *pattern, const char *family, const char *type)
{
    char op[32];
    snprintf(op, sizeof op, "%s_%s", family, type);
    return !fnmatch(pattern, op, 0);
}

static wide_bench wide_bench_make(const an_kernels *k)
{
    wide_bench b = {.k = k};
    kcheck c = {.k = k, .op = "bench"};
    size_t scratch = an_wide_scratch_bytes(&largest), other = an_matmul_scratch_bytes(k, N_COL);
    float sum;
    an_rng_seed(&c.rng, 1);
    b.x = malloc((size_t)N_TOK * N_COL * 4);
    fill_floats(&c, b.x, (size_t)N_TOK * N_COL, 0);
    b.out = malloc((size_t)N_TOK * N_ROW * 4);
    b.acts = aligned_alloc(64, an_act_bytes(AN_COMPUTE_BF16, N_TOK, N_COL));
    b.scratch = aligned_alloc(64, ((scratch > other ? scratch : other) + 63) & ~(size_t)63);
    for (int i = 0; i < 5; i++) {
        double t = seconds(), ops = (double)k->wide->peak(2000, &sum);
        t = ops / (seconds() - t);
        if (t > b.peak) b.peak = t;
    }
    printf("%-10s tiles: %.1f Gop/s from registers alone\n", k->name, b.peak * 1e-9);
    return b;
}

void bench_wide(const an_kernels *k, const char *pattern)
{
    static const struct {
        an_dtype type;
        const char *name;
    } types[] = {{AN_DTYPE_Q4_K, "Q4_K"}, {AN_DTYPE_Q4_0, "Q4_0"}, {AN_DTYPE_Q5_K, "Q5_K"}, {AN_DTYPE_Q6_K, "Q6_K"},
                 {AN_DTYPE_Q8_0, "Q8_0"}, {AN_DTYPE_IQ4_XS, "IQ4_XS"}, {AN_DTYPE_BF16, "BF16"}, {AN_DTYPE_AFFINE, "affine4"}};
    static const an_affine affine = {.bits = 4, .group = 64, .scale_dtype = AN_DTYPE_BF16};
    wide_bench b = {0};
    for (size_t i = 0; i < AN_COUNT_OF(types); i++) {
        const char *name = types[i].name;
        bool tokens = asked(pattern, "tiles", name), blocks = asked(pattern, "blocks", name), bf16 = asked(pattern, "bf16", name);
        kcheck c = {.k = k, .op = "bench"};
        an_code_kind kind;
        if (!tokens && !blocks && !bf16) continue;
        if (!b.k) b = wide_bench_make(k);
        an_rng_seed(&c.rng, 1);
        b.w = weight_make(&c, types[i].type, affine, N_ROW, N_COL, 0, false);
        if (tokens) bench_tokens(&b, types[i].type, name);
        if (bf16 && an_codes_kind(&b.w.w, &kind)) bench_unpack(&b, kind, name);
        if (blocks) bench_blocks(&b, name);
        weight_free(&b.w);
    }
    free(b.x);
    free(b.out);
    free(b.acts);
    free(b.scratch);
}
