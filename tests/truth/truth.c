/*
 * Truth tests: comparisons of two simulated engines whose speeds are known, on machines that drift, run through the
 * same code as `anemo compare`: block order, looks, stop rule, interval and verdict. Beside it what most tables hold:
 * five repetitions of one engine, then five of the other, each given as mean +- sd, and called different where these
 * two ranges do not overlap.
 *
 *     truth_simulation RUNS strict|loose TRACE.txt…     prints a Markdown table; exit 1 where a bar is missed
 *
 * A trace gives the machine's speed over time. A repetition takes REP_S at speed 1, integrated over the trace from the
 * moment it begins, times its own noise of 2 %; a bandwidth sample before and after it sees the trace of that moment
 * with 2 % of noise of its own. Every comparison begins at a random place of a recorded trace (which is a ring) or has
 * a synthetic one of its own, whose step or ramp lies within the longest time that the comparison may take; half of the
 * ramps fall.
 */
#include "base/rng.h"
#include "stats/sequential.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES_MAX = 8000, RUNS_SEED = 20260, NAIVE_REPS = 5, TRACES_MAX = 12, CELLS_MAX = 4 };

static const double REP_S = 4, GAP_S = 0.2, NOISE = 0.02, SAMPLE_S = 0.5;

typedef enum trace_kind { NONE, STEP, RAMP, AR1, RECORDED } trace_kind;

typedef struct trace {
    trace_kind kind;
    char name[64];
    double speed[SAMPLES_MAX]; /* RECORDED: every SAMPLE_S, median 1 */
    size_t n;
} trace;

/* A machine under one comparison. */
typedef struct machine {
    const trace *trace;
    an_rng rng;
    double now, start, span, step_at, level;
    double afterwards; /* factor of the sample right after a repetition of cell 0 */
    bool falls;
} machine;

typedef struct rep {
    double speed, bandwidth;
} rep;

static double normal(an_rng *rng)
{
    double u = 1 - an_rng_f64(rng), v = an_rng_f64(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static machine begin(const trace *t, uint64_t seed, double span)
{
    machine m = {.trace = t, .span = span, .afterwards = 1};
    an_rng_seed(&m.rng, seed);
    m.start = an_rng_f64(&m.rng) * (double)t->n * SAMPLE_S;
    m.step_at = an_rng_f64(&m.rng) * span;
    m.level = 0.15 * normal(&m.rng);
    m.falls = an_rng_below(&m.rng, 2) == 1;
    return m;
}

static double speed_at(const machine *m, double at)
{
    double part = at < m->span ? at / m->span : 1;
    switch (m->trace->kind) {
    case STEP: return at < m->step_at ? 1.6 : 1;
    case RAMP: return 1 + 0.2 * (m->falls ? 1 - part : part);
    case AR1: return exp(m->level);
    case RECORDED: return m->trace->speed[(size_t)((m->start + at) / SAMPLE_S) % m->trace->n];
    default: return 1;
    }
}

static rep repetition(machine *m, double speed, size_t cell)
{
    rep r;
    if (m->trace->kind == AR1) m->level = 0.9 * m->level + 0.15 * sqrt(1 - 0.81) * normal(&m->rng);
    double before = speed_at(m, m->now) * exp(NOISE * normal(&m->rng));
    double work = REP_S / speed * exp(NOISE * normal(&m->rng)), began = m->now;
    const double dt = 0.05;
    while (work > 0) {
        double done = dt * speed_at(m, m->now);
        m->now += done > work ? dt * work / done : dt;
        work -= done;
    }
    r.speed = 1 / (m->now - began);
    double after = speed_at(m, m->now) * exp(NOISE * normal(&m->rng));
    r.bandwidth = 0.5 * (before + (cell == 0 ? m->afterwards : 1) * after);
    m->now += GAP_S;
    return r;
}

typedef struct outcome {
    int n, called_right, called_wrong, covered, n_block;
    double log_error, half_width;
} outcome;

static void count(outcome *o, an_verdict v, double truth)
{
    bool higher = v == AN_VERDICT_HIGHER, lower = v == AN_VERDICT_LOWER;
    o->n++;
    if (truth == 1)
        o->called_wrong += higher || lower;
    else
        *(higher ? &o->called_right : &o->called_wrong) += higher || lower;
}

/* What the cells of one comparison gave, block by block. */
typedef struct series {
    double speed[CELLS_MAX][AN_BLOCKS_DEFAULT], bandwidth[CELLS_MAX][AN_BLOCKS_DEFAULT];
    const double *values[CELLS_MAX], *cov[CELLS_MAX];
} series;

static void run_block(machine *m, series *s, size_t n_cell, double truth, int block)
{
    size_t order[CELLS_MAX];
    an_block_order(&m->rng, n_cell, order);
    for (size_t i = 0; i < n_cell; i++) {
        size_t cell = order[i];
        rep r = repetition(m, cell == 0 ? truth : 1, cell);
        s->speed[cell][block] = r.speed;
        s->bandwidth[cell][block] = r.bandwidth;
        s->values[cell] = s->speed[cell];
        s->cov[cell] = s->bandwidth[cell];
    }
}

/* The interval of cell 0 against another that a run of n_block blocks prints. */
static an_paired printed(const series *s, size_t other, int n_block, bool covariate)
{
    an_compare_options o = an_compare_defaults();
    o.level = an_look_level(an_look_count(n_block), 0.95);
    return an_compare_paired(s->values[0], s->values[other], covariate ? s->cov[0] : NULL,
                             covariate ? s->cov[other] : NULL, (size_t)n_block, &o);
}

/* A whole plan; returns after how many blocks it stopped. */
static int run_plan(machine *m, series *s, size_t n_cell, double truth, bool covariate)
{
    const an_stop_rule rule = {.precision = 0.01, .margin = 0.01, .level = 0.95, .max_blocks = AN_BLOCKS_DEFAULT};
    an_stop stop = AN_STOP_GO_ON;
    int n_block = 0;
    while (stop == AN_STOP_GO_ON) {
        run_block(m, s, n_cell, truth, n_block);
        n_block++;
        stop = an_sequential_look(s->values, covariate ? s->cov : NULL, n_cell, n_block, &rule);
    }
    return n_block;
}

static void compare_in_blocks(const trace *t, uint64_t seed, double truth, bool covariate, double afterwards,
                              outcome *o)
{
    series s;
    machine m = begin(t, seed, 2 * AN_BLOCKS_DEFAULT * (REP_S + GAP_S));
    m.afterwards = afterwards;
    int n_block = run_plan(&m, &s, 2, truth, covariate);
    an_paired p = printed(&s, 1, n_block, covariate);
    count(o, p.verdict, truth);
    o->covered += p.lo <= truth && truth <= p.hi;
    o->n_block += n_block;
    o->log_error += log(p.ratio / truth);
    o->half_width += 0.5 * (log(p.hi) - log(p.lo));
}

/* Is any of three cells that are equal to the first called different from it? */
static bool equal_cells_differ(const trace *t, uint64_t seed)
{
    series s;
    an_paired pairs[CELLS_MAX - 1];
    machine m = begin(t, seed, CELLS_MAX * AN_BLOCKS_DEFAULT * (REP_S + GAP_S));
    int n_block = run_plan(&m, &s, CELLS_MAX, 1, true);
    for (size_t i = 1; i < CELLS_MAX; i++) pairs[i - 1] = printed(&s, i, n_block, true);
    an_compare_correct(pairs, CELLS_MAX - 1);
    for (size_t i = 1; i < CELLS_MAX; i++)
        if (pairs[i - 1].verdict == AN_VERDICT_LOWER || pairs[i - 1].verdict == AN_VERDICT_HIGHER) return true;
    return false;
}

/* Does the interval of any look miss the truth? The looks' levels promise that this is rarer than 1 in 20, whatever
 * stops a plan. */
static bool a_look_misses(const trace *t, uint64_t seed, double truth, bool covariate)
{
    series s;
    bool missed = false;
    machine m = begin(t, seed, 2 * AN_BLOCKS_DEFAULT * (REP_S + GAP_S));
    for (int n_block = 1; n_block <= AN_BLOCKS_DEFAULT; n_block++) {
        run_block(&m, &s, 2, truth, n_block - 1);
        if (!an_look_due(n_block, AN_BLOCKS_DEFAULT)) continue;
        an_paired p = printed(&s, 1, n_block, covariate);
        missed |= truth < p.lo || truth > p.hi;
    }
    return missed;
}

static void compare_mean_sd(const trace *t, uint64_t seed, double truth, outcome *o)
{
    machine m = begin(t, seed, 2 * NAIVE_REPS * (REP_S + GAP_S));
    double mean[2] = {0, 0}, sd[2];
    for (int arm = 0; arm < 2; arm++) {
        double x[NAIVE_REPS], squares = 0;
        for (int i = 0; i < NAIVE_REPS; i++) {
            x[i] = repetition(&m, arm == 0 ? truth : 1, (size_t)arm).speed;
            mean[arm] += x[i] / NAIVE_REPS;
        }
        for (int i = 0; i < NAIVE_REPS; i++) squares += (x[i] - mean[arm]) * (x[i] - mean[arm]);
        sd[arm] = sqrt(squares / (NAIVE_REPS - 1));
    }
    an_verdict v = AN_VERDICT_UNDECIDED;
    if (mean[0] - sd[0] > mean[1] + sd[1]) v = AN_VERDICT_HIGHER;
    if (mean[0] + sd[0] < mean[1] - sd[1]) v = AN_VERDICT_LOWER;
    count(o, v, truth);
}

/*
 * A line a sample: speed by the clock (column 0) and by the CPU time that was to be had (column 1: memory alone); lines
 * that begin with # describe the trace. Scaled to a median of 1.
 */
static bool read_trace(const char *path, int column, trace *t)
{
    char line[256];
    double sorted[SAMPLES_MAX];
    FILE *f = fopen(path, "r");
    t->kind = RECORDED;
    t->n = 0;
    if (!f) return false;
    while (fgets(line, sizeof line, f) && t->n < SAMPLES_MAX) {
        char *at = line;
        for (int i = 0; i <= column; i++) t->speed[t->n] = line[0] == '#' ? 0 : strtod(at, &at);
        if (t->speed[t->n] > 0) t->n++;
    }
    fclose(f);
    if (t->n < 600) return false;
    memcpy(sorted, t->speed, t->n * sizeof *sorted);
    for (size_t i = 1; i < t->n; i++)
        for (size_t k = i; k > 0 && sorted[k] < sorted[k - 1]; k--) {
            double swap = sorted[k];
            sorted[k] = sorted[k - 1];
            sorted[k - 1] = swap;
        }
    for (size_t i = 0; i < t->n; i++) t->speed[i] /= sorted[t->n / 2];
    return true;
}

typedef enum method { BLOCKS, BLOCKS_BANDWIDTH, MEAN_SD, METHOD_N } method;
enum { EFFECT_N = 3 };
static const double effects[EFFECT_N] = {1, 1.03, 1.05};

static double percent(int part, int whole)
{
    return 100.0 * part / whole;
}

typedef struct bars {
    double wrong, coverage, power; /* per cent */
} bars;

static int check(const char *trace_name, const char *what, bool good)
{
    if (!good) printf("**missed** on %s: %s\n", trace_name, what);
    return !good;
}

static int judge(const trace *t, method m, const outcome o[EFFECT_N], bars bar)
{
    static const char *const names[METHOD_N] = {"anemo, no bandwidth samples", "anemo", "mean ± sd, 5 + 5"};
    int missed = 0, wrong_way = o[1].called_wrong + o[2].called_wrong;
    printf("| %s | %s | %.1f %% |", t->name, names[m], percent(o[0].called_wrong, o[0].n));
    if (m == MEAN_SD)
        printf(" – |");
    else
        printf(" %.1f %% |", percent(o[0].covered + o[1].covered + o[2].covered, 3 * o[0].n));
    printf(" %.1f %% | %.1f %% | %.1f %% |", percent(o[1].called_right, o[1].n), percent(o[2].called_right, o[2].n),
           percent(wrong_way, 2 * o[0].n));
    if (m == MEAN_SD) {
        printf(" – | 5 |\n");
        /* The harness must see what is wrong: the customary way misleads wherever the machine does not keep still. */
        if (t->kind == STEP || t->kind == RAMP)
            missed += check(t->name, "mean ± sd ought to mislead", percent(o[0].called_wrong, o[0].n) > 10);
        return missed;
    }
    printf(" ±%.2f %% | %.1f |\n", 100 * o[0].half_width / o[0].n, (double)o[0].n_block / o[0].n);
    missed += check(t->name, "A/A called different too often", percent(o[0].called_wrong, o[0].n) <= bar.wrong);
    for (int e = 0; e < EFFECT_N; e++)
        missed += check(t->name, "the interval does not hold the truth often enough",
                        percent(o[e].covered, o[e].n) >= bar.coverage);
    if (t->kind == AR1 || t->kind == RECORDED) return missed;
    missed += check(t->name, "5 % is not called often enough", percent(o[2].called_right, o[2].n) >= bar.power);
    for (int e = 0; e < EFFECT_N; e++)
        missed += check(t->name, "the known ratio is not recovered within 1 %", fabs(o[e].log_error / o[e].n) < 0.01);
    return missed;
}

static uint64_t seed_of(size_t trace_index, int effect, int run)
{
    return RUNS_SEED + 1000003u * (uint64_t)run + 7u * (uint64_t)effect + 101u * (uint64_t)trace_index;
}

/* The second table: what the looks and the correction promise. */
static int judge_promises(const trace *t, size_t index, int runs, bars bar)
{
    int looks[2] = {0, 0}, four = 0, missed = 0;
    outcome hot = {0};
    for (int r = 0; r < runs; r++) {
        four += equal_cells_differ(t, seed_of(index, 5, r));
        compare_in_blocks(t, seed_of(index, 7, r), 1, true, 0.97, &hot);
        for (int c = 0; c < 2; c++) looks[c] += a_look_misses(t, seed_of(index, 6, r), 1.03, c == 1);
    }
    printf("| %s | %.1f %% | %.1f %% | %.1f %% | %.1f %% | %.1f %% |\n", t->name, percent(looks[0], runs),
           percent(looks[1], runs), percent(four, runs), percent(hot.called_wrong, runs), percent(hot.covered, runs));
    missed += check(t->name, "samples that depend on the engine mislead", percent(hot.called_wrong, runs) <= bar.wrong);
    /* Nothing promises the whole level here: the samples lie. */
    missed += check(t->name, "samples that depend on the engine bend the interval", percent(hot.covered, runs) >= 85);
    missed += check(t->name, "one of four equal cells called different too often", percent(four, runs) <= bar.wrong);
    for (int c = 0; c < 2; c++)
        missed += check(t->name, "intervals of the looks miss the truth too often",
                        percent(looks[c], runs) <= 100 - bar.coverage);
    return missed;
}

int main(int argc, char **argv)
{
    static trace traces[TRACES_MAX] = {{.kind = NONE, .name = "no drift"},
                                       {.kind = STEP, .name = "step of 1.6x"},
                                       {.kind = RAMP, .name = "ramp of 20 %"},
                                       {.kind = AR1, .name = "AR(1), 0.9, 15 %"}};
    size_t n_trace = 4;
    int runs = argc > 3 ? atoi(argv[1]) : 0, missed = 0;
    bool strict = argc > 3 && strcmp(argv[2], "strict") == 0;
    if (runs < 1) {
        fprintf(stderr, "usage: truth_simulation RUNS strict|loose TRACE.txt...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        for (int column = 0; column < 2 && n_trace < TRACES_MAX; column++) {
            const char *slash = strrchr(argv[i], '/'), *name = slash ? slash + 1 : argv[i];
            trace *t = &traces[n_trace++];
            snprintf(t->name, sizeof t->name, "%.*s%s", (int)strcspn(name, "."), name, column ? ", memory alone" : "");
            if (read_trace(argv[i], column, t)) continue;
            fprintf(stderr, "%s: cannot be read, or holds fewer than 600 samples\n", argv[i]);
            return 2;
        }
    const bars bar = strict ? (bars){5, 93, 90} : (bars){8, 89, 85};
    printf("| trace | method | A/A called different | interval holds the truth | 3 %% called | 5 %% called | wrong way "
           "| half-width "
           "| blocks |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t k = 0; k < n_trace; k++)
        for (method m = 0; m < METHOD_N; m++) {
            outcome o[EFFECT_N] = {0};
            for (int e = 0; e < EFFECT_N; e++)
                for (int r = 0; r < runs; r++) {
                    if (m == MEAN_SD)
                        compare_mean_sd(&traces[k], seed_of(k, e, r), effects[e], &o[e]);
                    else
                        compare_in_blocks(&traces[k], seed_of(k, e, r), effects[e], m == BLOCKS_BANDWIDTH, 1, &o[e]);
                }
            missed += judge(&traces[k], m, o, bar);
        }
    printf("\n| trace | a look misses, no bandwidth samples | a look misses | one of four equal cells called different "
           "| low samples: A/A called different | low samples: interval holds the truth |\n"
           "| --- | ---: | ---: | ---: | ---: | ---: |\n");
    for (size_t k = 0; k < n_trace; k++) missed += judge_promises(&traces[k], k, runs, bar);
    printf("\n%d comparisons a figure.\n", runs);
    return missed > 0;
}
