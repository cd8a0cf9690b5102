/*
 * A run: everything that one measurement gave, as a record that stands on its own. bench/ fills it, store/ keeps it, report/
 * prints it; none of them needs the models or the engines again. Its JSON is schema "anemo.run/1" (docs/run-json.md).
 */
#ifndef AN_RECORD_RUN_H
#define AN_RECORD_RUN_H

#include "base/error.h"
#include "record/environment.h"
#include "record/rep.h"
#include "stats/compare.h"
#include "stats/sequential.h"
#include "stats/summary.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_cell_status {
    AN_CELL_OK,
    AN_CELL_FAILED,
    AN_CELL_MISSING, /* the engine is not here */
    AN_CELL_SKIPPED, /* not tried: `reason` says why (does not fit in memory, excluded, …) */
    AN_CELL_PENDING, /* not finished: the run goes on, or ended before it */
    AN_CELL_STATUS_N
} an_cell_status;
const char *an_cell_status_name(an_cell_status s); /* "ok", "failed", "missing", "skipped", "pending" */

/* Quality signs of the text that a cell generated (its first repetition). */
typedef struct an_text_check {
    double repeated_4grams; /* share of 4-grams of ids that occurred before, 0..1; NaN under 8 ids */
    size_t loop_period;     /* ids of the shortest cycle that fills at least the last third; 0 = none */
    size_t invalid_utf8;    /* bytes that are not UTF-8, an incomplete sequence at the very end not counted */
    bool same_every_rep;    /* all repetitions gave the same ids */
} an_text_check;

/* What a model asks of a machine; 0 = not known. */
typedef struct an_run_model {
    char *name, *path;       /* owned; path may be NULL after an import */
    char container[8];       /* "gguf", "mlx", "" */
    char *read_by;           /* names of the engines that read it, ", " between; owned */
    char sha256[65];         /* of its weight files in order of their names; "" when not computed */
    uint64_t bytes;          /* of its weight files */
    uint64_t n_param;
    uint64_t weight_bytes;   /* W: streamed by one decode step (matrices and head, the embedding only when tied) */
    uint64_t kv_values_per_pos; /* values that one position adds to the KV cache: 2 x layers x kv heads x head size */
    double flop_per_token;   /* 2 x matrix parameters, the head among them */
    double head_flop;        /* the head's part: a prefill needs it for its last token only */
    uint64_t attention_width; /* layers x heads x head size: scores and values of n tokens take 2 n x n times it, causal */
    int n_ctx_train;
} an_run_model;

/* What is asked of an engine in one repetition. */
typedef enum an_work_kind { AN_WORK_GENERATE, AN_WORK_STEP } an_work_kind;
typedef struct an_work {
    an_work_kind kind; /* GENERATE: prompt ids, sampler, n_gen ids. STEP: forward passes with random ids (llama-bench) */
    int n_prompt, n_gen, n_depth;
} an_work;

/* llama-bench's test label: "pp512", "tg128", "pp512+tg128", "tg128 @ d4096". */
void an_work_label(const an_work *w, char *out, size_t cap);

typedef struct an_cell {
    char engine[32];         /* "native", "llama.cpp", … */
    int model;               /* index into the run's models; -1 for an engine that holds its own */
    an_work work;
    bool stock;              /* the package's own defaults */
    bool named;              /* the user asked for this engine by name */
    int copy_of;             /* the cell that this one repeats to show the noise (A/A); -1 */
    char label[96];          /* column title: "llama.cpp", "native · mlx", "mlx-lm (stock)" */
    char key[65];            /* identity across runs: hex of engine, model, settings and work; an_cell_make_key() */
    an_cell_status status;
    char *reason;            /* why failed, missing or skipped; owned; NULL when ok */
    char engine_version[64], driver[64], driver_version[64];
    char format[16], quantization[48], compute_dtype[16], device[64];
    json_t *settings, *effective; /* asked for, and what the engine took; owned */
    bool ids_exact;          /* took the ids as given and a fixed length: may take part in token agreement */
    bool can_logits, threads_settable;
    char *tokenization_note; /* set when the engine's own tokenization of the prompt differs from ours; owned */
    char *stderr_tail;       /* last lines of the worker's stderr; owned; NULL */
    json_t *missing;         /* {field name: why this machine cannot tell}; owned; NULL when nothing is missing */
    an_rep *reps;            /* [n_rep] of every kind, in the order of their `order`; owned */
    size_t n_rep, cap_rep;
    an_text_check check;
} an_cell;

/* How two cells' ids relate. */
typedef struct an_agreement {
    int a, b;           /* cell indices */
    size_t n_same;      /* length of the common prefix */
    size_t n;           /* ids compared: the shorter of the two */
    bool identical;
    bool examined;      /* the logits at the first difference were read */
    bool near_tie;      /* probability margin there at most 0.1 */
    double logit_gap;   /* between the two candidates, in the examining engine */
    double prob_margin;
    int examined_by;    /* cell index, -1 */
    size_t text_same;   /* bytes of a's text before the first difference */
} an_agreement;

typedef struct an_run {
    char id[32];            /* "20261125-174501-3f9a": UTC time and four random digits; an_run_new_id() */
    char kind[16];          /* "compare", "bench", "sweep", "import" */
    char *command;          /* as typed, quoted for a shell; owned; may be NULL */
    char *note;             /* owned; may be NULL */
    json_t *tags;           /* array of strings; owned; may be NULL */
    an_environment environment;
    json_t *workload;       /* what was asked, for people and for `anemo repeat`; keys in docs/run-json.md; owned */
    an_run_model *models;
    size_t n_model;
    an_cell *cells;
    size_t n_cell;
    an_agreement *agreements;
    size_t n_agreement;
    /* How the plan ended: what the verdicts of the report rest on. */
    int n_block;            /* complete blocks */
    int n_look;             /* looks taken: widens the level (stats/sequential.h) */
    double precision, margin; /* --precision, equivalence margin: 0.01 = 1 % */
    bool aa;                /* an A/A run: every verdict but "equivalent" and "undecided" is false */
    double aa_noise;        /* largest |ln ratio| in the interval of a cell against itself; NaN = not measured */
    char aa_from[32];       /* the run that showed it; "" = this one, or none */
    char *refused;          /* why no verdict is given: the A/A gate failed; owned; NULL when they stand */
    char stop_reason[24];   /* "precise", "blocks", "budget", "interrupted", "" */
    bool interrupted;
    bool kept_loaded;       /* all workers stayed loaded; false: one loaded at a time */
    json_t *extra;          /* what an import held beyond this; owned; may be NULL */
} an_run;

void an_run_init(an_run *run);
void an_run_free(an_run *run); /* leaves an empty run */
void an_run_new_id(uint64_t realtime_ns, uint64_t random, char out[32]);

/* Room for one more; gives it initialised, or NULL when out of memory. */
an_cell *an_run_add_cell(an_run *run);
an_run_model *an_run_add_model(an_run *run);
/* Takes over the rep's memory (the caller's copy is emptied). ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_cell_add_rep(an_cell *cell, an_rep *rep, anemo_error *err);

/* Fill cell->key from engine, model, settings and work. */
ANEMO_MUST_CHECK anemo_status an_cell_make_key(const an_run *run, an_cell *cell, anemo_error *err);

/* The whole run as JSON and back. New reference; NULL when out of memory. */
json_t *an_run_json(const an_run *run);
/* Parts of it, for a database that keeps them apart: a cell without its reps, the run without its cells. */
json_t *an_cell_json(const an_run *run, const an_cell *cell, bool with_reps);
json_t *an_run_head_json(const an_run *run);
/* Unknown keys are ignored; wrong types and indices out of range are ERR_FORMAT naming `name` and the place. */
ANEMO_MUST_CHECK anemo_status an_run_from_json(an_run *run, const json_t *doc, const char *name, anemo_error *err);
ANEMO_MUST_CHECK anemo_status an_cell_from_json(an_cell *cell, const json_t *obj, int n_model, const char *name,
                                                anemo_error *err);

/* Threads that decode: what the engine took, else what was asked for; 0 when neither is known. */
int an_cell_threads(const an_cell *cell);

/* ---- figures of a run: record/run_stats.c */

/* Timed repetitions of a cell; loads and warm-ups do not count. */
size_t an_cell_n_timed(const an_cell *cell);
/* The i-th timed repetition, NULL beyond the last. */
const an_rep *an_cell_timed(const an_cell *cell, size_t i);
/* Values of one field over the timed repetitions (of load_*_s: over the loads), at most cap; returns how many are finite. */
size_t an_cell_values(const an_cell *cell, an_field_id field, double *out, size_t cap);
an_summary an_cell_summary(const an_cell *cell, an_field_id field);

/*
 * The margin of the run's verdicts: what was asked for, or the noise that A/A showed where that is more. An A/A run is judged by the
 * margin itself: its own noise would excuse whatever it shows.
 */
double an_run_margin(const an_run *run);

/* Two cells of one run, paired by block, with the run's margin, noise and looks. cov: use the bandwidth samples. */
an_paired an_cell_paired(const an_run *run, int a, int b, an_field_id field, bool cov);
/* The same with the bootstrap interval of 10,000 resamples, which takes about 20 ms for 30 blocks: not for every cell. */
an_paired an_cell_paired_bootstrap(const an_run *run, int a, int b, an_field_id field, bool cov);

/* 0, or 1 when a cell failed or a named engine is missing; 130 when it was interrupted. */
int an_run_exit_code(const an_run *run);

#endif
