/*
 * A plan file as it was written: the axes of the grid, the rules and what holds for the whole sweep. Names are checked,
 * models are not looked for: that is grid.c's. Nothing here reads a file. docs/sweep.md describes the form.
 */
#ifndef AN_SWEEP_PLAN_H
#define AN_SWEEP_PLAN_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The keys of the grid. Their names in plans and rules, ranges and defaults: axes[] in plan.c. */
typedef enum an_axis {
    AN_AXIS_ENGINE,
    AN_AXIS_MODEL,
    AN_AXIS_QUANT,
    AN_AXIS_WORK,
    AN_AXIS_N_PROMPT,
    AN_AXIS_N_GEN,
    AN_AXIS_N_DEPTH,
    AN_AXIS_THREADS,
    AN_AXIS_N_BATCH,
    AN_AXIS_N_UBATCH,
    AN_AXIS_KV,
    AN_AXIS_FLASH_ATTN,
    AN_AXIS_COMPUTE,
    AN_AXIS_DEVICE,
    AN_AXIS_GPU_LAYERS,
    AN_AXIS_N
} an_axis;

bool an_axis_is_number(an_axis axis);
const char *an_axis_name(an_axis axis); /* in rules: "engine", "n_prompt" */

/* Values of one axis in the plan's order, without doubles. */
typedef struct an_axis_values {
    char **texts;     /* [n], NULL-terminated, of an axis of words */
    int64_t *numbers; /* [n] of an axis of numbers */
    size_t n;
} an_axis_values;

typedef enum an_rule_op {
    AN_RULE_IS,
    AN_RULE_IS_NOT,
    AN_RULE_BELOW,
    AN_RULE_AT_MOST,
    AN_RULE_ABOVE,
    AN_RULE_AT_LEAST
} an_rule_op;

typedef struct an_condition {
    an_axis axis;
    an_rule_op op;
    an_axis_values values; /* texts may hold * and ? */
} an_condition;

/* All conditions of a rule have to hold. */
typedef struct an_rule {
    an_condition *conditions;
    size_t n;
    bool exclude;
} an_rule;

/* A prompt and a generation measured as one test of forward passes: llama-bench's -pg. */
typedef struct an_pair {
    int n_prompt, n_gen;
} an_pair;

typedef struct an_plan {
    char *name, *note, *url;        /* note and url may be NULL */
    char **tags;                    /* NULL-terminated, or NULL */
    an_axis_values axes[AN_AXIS_N]; /* n 0: not in the plan and without a default (engines, quantizations, threads) */
    an_pair *pairs;                 /* [n_pair] */
    size_t n_pair;
    int n_rep, n_warmup, n_block, n_ctx; /* n_ctx 0: what the work needs */
    double delay_s, timeout_s;
    bool has_seed;
    uint64_t seed;
    double memory_share;         /* of the memory that is available: 0..1 */
    uint64_t memory_bytes;       /* or so many bytes; 0 = the share */
    bool probes;                 /* bandwidth samples around repetitions, and the machine's peaks */
    uint64_t disk_reserve_bytes; /* left free on the file system of the results */
    an_rule *rules;
    size_t n_rule;
} an_plan;

enum { AN_PLAN_CELLS_MAX = 100000, AN_PLAN_UNITS_MAX = 1000000, AN_PLAN_LIST_MAX = 1000, AN_PLAN_RULES_MAX = 1000 };

/* ERR_FORMAT: "name:line: what is wrong and what would be right". Gives *out: an_plan_free. */
ANEMO_MUST_CHECK anemo_status an_plan_parse(an_plan *out, const char *text, size_t n, const char *name,
                                            anemo_error *err);
void an_plan_free(an_plan *plan);

/* What one cell has on each axis: texts for words, numbers for numbers. */
typedef struct an_grid_point {
    const char *texts[AN_AXIS_N];
    int64_t numbers[AN_AXIS_N];
} an_grid_point;

/* Do the rules let it in? With [include] one of its rules has to hold, and none of [exclude]. */
bool an_plan_admits(const an_plan *plan, const an_grid_point *point);

#endif
