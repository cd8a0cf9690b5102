/*
 * The eight tile registers and the five things that are done with them, by a processor's AMX or, with
 * AN_TILES_EMULATED, in plain C for tests on any machine.
 *
 * Facts of the instruction set (Intel's manual, volume 2, and its chapter on AMX in volume 1): the configuration is 64 bytes:
 * palette 1 in byte 0, bytes per row of tile i as 16 bits at 16 + 2 i, rows of tile i at 48 + i, zeros elsewhere. A product
 * sums the even and the odd columns of a step apart, each as a chain of multiply-adds over the pairs, adds the two sums to
 * each other, and that to the accumulator: f32, rounded to nearest even, denormals taken and given as zero, MXCSR ignored.
 *
 * Inline assembly throughout: gcc 12 drops the stores that fill the configuration before its intrinsic, which names no
 * memory. Sanitizers do not see what tiles load and store; kcheck's guard pages do.
 */
#ifndef AN_BODY_AMX_TILES_H
#define AN_BODY_AMX_TILES_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct tile_config_ {
    uint8_t palette, start_row, zero[14];
    uint16_t row_bytes[8], zero_row_bytes[8];
    uint8_t rows[8], zero_rows[8];
} tile_config_;

static_assert(sizeof(tile_config_) == 64, "the configuration of tiles is 64 bytes");

/* All eight tiles full: 16 rows of 64 bytes. */
static const tile_config_ tiles_full_ = {.palette = 1,
                                         .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                         .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

#if !AN_TILES_EMULATED

LANE_FN void tiles_begin(void)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(tiles_full_));
}
LANE_FN void tiles_end(void)
{
    __asm__ volatile("tilerelease");
}
#define TILE_ZERO(i) __asm__ volatile("tilezero %%tmm" #i ::)
#define TILE_LOAD(i, p) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #i : : "r"(p), "r"((size_t)64) : "memory")
#define TILE_STORE(i, p) __asm__ volatile("tilestored %%tmm" #i ", (%0,%1,1)" : : "r"(p), "r"((size_t)64) : "memory")
/* Tile `sum` += tokens in tile `a` times weights in tile `b`. */
#define TILE_DOT(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

#else

#include "quant/half.h"

typedef struct emulated_tiles_ {
    tile_config_ config;
    uint8_t tile[8][16][64];
} emulated_tiles_;

static _Thread_local emulated_tiles_ tiles_;

/* As the processor: a configuration that is not valid, or none, is a fault. */
static void tiles_check_(int i)
{
    const tile_config_ *c = &tiles_.config;
    if (c->palette != 1 || c->rows[i] != 16 || c->row_bytes[i] != 64) __builtin_trap();
}
static void tiles_begin(void)
{
    memset(&tiles_, 0, sizeof tiles_);
    tiles_.config = tiles_full_;
}
static void tiles_end(void)
{
    memset(&tiles_, 0xFF, sizeof tiles_);
}
static void tile_zero_(int i)
{
    tiles_check_(i);
    memset(tiles_.tile[i], 0, sizeof tiles_.tile[i]);
}
static void tile_load_(int i, const void *p)
{
    tiles_check_(i);
    memcpy(tiles_.tile[i], p, sizeof tiles_.tile[i]);
}
static void tile_store_(int i, void *p)
{
    tiles_check_(i);
    memcpy(p, tiles_.tile[i], sizeof tiles_.tile[i]);
}
static float flushed_(float f)
{
    return an_f32_bits(f) & 0x7F800000u ? f : 0;
}
/* Products of two bf16 are exact in f32, so that a multiplication and an addition round as one multiply-add does. */
static void tile_dot_(int sum, int a, int b)
{
    tiles_check_(sum);
    tiles_check_(a);
    tiles_check_(b);
    for (int m = 0; m < 16; m++) {
        uint16_t x[32], w[32];
        float part[32] = {0}, total[16];
        memcpy(x, tiles_.tile[a][m], 64);
        memcpy(total, tiles_.tile[sum][m], 64);
        for (int k = 0; k < 16; k++) {
            memcpy(w, tiles_.tile[b][k], 64);
            for (int n = 0; n < 32; n++) {
                float xf = flushed_(an_f32_from_bf16(x[2 * k + n % 2])), wf = flushed_(an_f32_from_bf16(w[n]));
                part[n] = flushed_(part[n] + flushed_(xf * wf));
            }
        }
        for (int n = 0; n < 16; n++) total[n] = flushed_(flushed_(total[n]) + flushed_(part[2 * n] + part[2 * n + 1]));
        memcpy(tiles_.tile[sum][m], total, 64);
    }
}
#define TILE_ZERO(i) tile_zero_(i)
#define TILE_LOAD(i, p) tile_load_(i, p)
#define TILE_STORE(i, p) tile_store_(i, p)
#define TILE_DOT(sum, a, b) tile_dot_(sum, a, b)

#endif

#endif
