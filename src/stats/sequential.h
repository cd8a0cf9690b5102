/*
 * A comparison in randomised complete blocks that stops when it knows enough: the order of each block, the fixed looks, the
 * level that each look has to use, and the decision to go on. Pure: the runner and the simulated truth tests drive the same
 * code. Method: ../docs/statistics.md.
 */
#ifndef AN_STATS_SEQUENTIAL_H
#define AN_STATS_SEQUENTIAL_H

#include "base/rng.h"
#include "stats/compare.h"

#include <stdbool.h>
#include <stddef.h>

enum { AN_LOOK_N = 5, AN_BLOCKS_DEFAULT = 30 };

/* Blocks after which the data are looked at: 6, 9, 14, 20, 30. */
extern const int an_look_blocks[AN_LOOK_N];

/* Looks that lie within max_blocks blocks, max_blocks itself being the last one. */
int an_look_count(int max_blocks);
/* Is there a look after n_block blocks of max_blocks? */
bool an_look_due(int n_block, int max_blocks);

/*
 * Confidence that each interval of a plan of n_look looks has to have so that all of them together hold with `level`: what a
 * report of a run that was stopped at any of them may print as `level`.
 */
double an_look_level(int n_look, double level);

/* A new random order of n cells for one block. */
void an_block_order(an_rng *rng, size_t n, size_t *order);

typedef struct an_stop_rule {
    double precision; /* half-width of the paired ratio's interval that is enough: 0.01 */
    double margin, level;
    int max_blocks;
} an_stop_rule;

typedef enum an_stop { AN_STOP_GO_ON, AN_STOP_PRECISE, AN_STOP_BLOCKS } an_stop;

/*
 * After n_block blocks of n_cell cells: values[cell][block], cov likewise or NULL. Looks only where a look is due. PRECISE: every pair
 * with the first cell that has values is known to `precision`, or its verdict can no longer change the answer.
 */
an_stop an_sequential_look(const double *const *values, const double *const *cov, size_t n_cell, int n_block,
                           const an_stop_rule *rule);

/*
 * Warm-up until steady: how many of the first values to leave out (MSER rule; at most half). 0 for fewer than 4.
 */
size_t an_steady_from(const double *values, size_t n);

#endif
