/* Made-up runs for the tests of reports: figures from a seed, known differences. Free with an_run_free. */
#ifndef AN_TESTS_UNIT_REPORT_SCENE_H
#define AN_TESTS_UNIT_REPORT_SCENE_H

#include "record/run.h"

typedef enum scene_kind {
    SCENE_COMPARE, /* native, llama.cpp (10 % slower), mlx (equal to native), mlx-lm (failed): 20 blocks, drift, an outlier, curves */
    SCENE_AA,      /* native against itself */
    SCENE_BENCH,   /* depths, batches, prompt lengths and threads of two engines, forward passes alone */
    SCENE_SWEEP,   /* 1,000 cells: engines, models, depths, threads */
    SCENE_HOSTILE, /* names, texts and reasons that try to leave their place in HTML, JSON, CSV and terminals */
    SCENE_ORDERED, /* two cells measured one after the other */
    SCENE_EMPTY,   /* nothing was measured */
    SCENE_N
} scene_kind;

/* "compare", "aa", "bench", "sweep", "hostile", "ordered", "empty"; SCENE_N for another name. */
scene_kind scene_find(const char *name);

void scene_make(an_run *run, scene_kind kind);

#endif
