/*
 * A comparison in randomised complete blocks that stops when it knows enough: the order of each block, the fixed looks,
 * the level that each look has to use, and the decision to go on. Pure: the runner and the simulated truth tests drive
 * the same code. Method: ../docs/statistics.md.
 *
 * A runner does, for block 0, 1, …: an_block_order(), measure the cells in that order, an_sequential_look(n_block =
 * block + 1), until that says stop, or the time budget ends, or the user interrupts. It then keeps n_block and n_look =
 * an_look_count(n_block), from which every reader of the run gets the level of its intervals: an_look_level(n_look,
 * 0.95).
 */
#ifndef AN_STATS_SEQUENTIAL_H
#define AN_STATS_SEQUENTIAL_H

#include "base/rng.h"
#include "stats/compare.h"

#include <stdbool.h>
#include <stddef.h>

enum { AN_BLOCKS_DEFAULT = 30 };

/* Is there a look after n_block blocks of at most max_blocks? After 6, 9, 14, 20, 30 and max_blocks. */
bool an_look_due(int n_block, int max_blocks);

/*
 * The number of the look whose level a plan uses that ends after n_block blocks: the looks that lie behind it, an end
 * between two looks being judged at the level of the one before; 1 below 6 blocks, 6 beyond 30.
 */
int an_look_count(int n_block);

/*
 * Confidence that the interval of look n_look (1 …) has to have so that the intervals of all looks together hold with
 * `level`: what a report of a run that was stopped at any of them may print as `level`. n_look 0 (no looks): level
 * itself.
 */
double an_look_level(int n_look, double level);

/* A new random order of n cells for one block. */
void an_block_order(an_rng *rng, size_t n, size_t *order);

typedef struct an_stop_rule {
    double precision;     /* half-width of the paired ratio's interval, relative to the ratio, that is enough: 0.01 */
    double margin, level; /* 0.01, 0.95 */
    int max_blocks;
} an_stop_rule;

typedef enum an_stop {
    AN_STOP_GO_ON,
    AN_STOP_PRECISE, /* every pair is known well enough */
    AN_STOP_BLOCKS,  /* max_blocks */
} an_stop;

/*
 * After n_block blocks of n_cell cells: values[cell][block], cov likewise or NULL (cov[cell] may be NULL too); NaN for
 * what was not measured. A cell without a value in the last block has failed and no longer counts. The first cell that
 * is left is the reference; a pair of it and another is known well enough when its interval's half-width is at most
 * `precision`, or at most a tenth of the difference where it is called faster or slower. With one cell left its own
 * values are the pair (half-width of their median); with none the answer is AN_STOP_PRECISE: more blocks would tell
 * nothing. Where no look is due: AN_STOP_GO_ON.
 */
an_stop an_sequential_look(const double *const *values, const double *const *cov, size_t n_cell, int n_block,
                           const an_stop_rule *rule);

/*
 * Warm-up until steady: how many of the first values to leave out (MSER rule; at most half). 0 for fewer than 4.
 */
size_t an_steady_from(const double *values, size_t n);

#endif
