/*
 * A comparison: the same prompt ids through several engines and models, measured in randomised blocks.
 *
 * The struct is plan and result in one: an_comparison_plan() fills workload and cells, an_comparison_run() measures,
 * report/ prints. Nothing here prints; progress goes through a callback.
 */
#ifndef AN_BENCH_COMPARISON_H
#define AN_BENCH_COMPARISON_H

#include "base/error.h"
#include "bench/environment.h"
#include "drivers/driver.h"
#include "record/rep.h"
#include "stats/summary.h"
#include "token/tokenizer.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_cell_status { AN_CELL_OK, AN_CELL_FAILED, AN_CELL_MISSING } an_cell_status;

typedef struct an_load {
    double load_s;
    const char *page_cache; /* "warm", "cold", "mixed", "unknown": state of the model's pages before the load */
} an_load;

/* Quality signs of the text that a cell generated (its first repetition). */
typedef struct an_text_check {
    double repeated_4grams;  /* share of 4-grams of ids that occurred before, 0..1; NaN under 8 ids */
    size_t loop_period;      /* ids of the shortest cycle that fills at least the last third; 0 = none */
    size_t invalid_utf8;     /* bytes that are not UTF-8, an incomplete sequence at the very end not counted */
    bool same_every_rep;     /* all repetitions gave the same ids */
} an_text_check;

typedef struct an_cell {
    const an_engine_info *engine;
    int model;               /* index into models; -1 for an engine that holds its own */
    bool stock;              /* the package's own defaults */
    bool named;              /* the user asked for this engine by name */
    char label[64];          /* column title: "llama.cpp", "native · mlx", "mlx-lm (stock)" */
    an_cell_status status;
    char *reason;            /* why failed or missing; owned; NULL when ok */
    char engine_version[64], driver[64], driver_version[64];
    char format[16], quantization[48], compute_dtype[16], device[64];
    json_t *settings, *effective; /* owned */
    bool ids_exact;          /* took the ids as given and a fixed length: may take part in token agreement */
    bool can_logits, threads_settable;
    char *tokenization_note; /* set when the engine's own tokenization of the prompt differs from ours; owned */
    an_load *loads;          /* owned */
    size_t n_load;
    an_rep *reps;            /* [n_rep], in order; owned */
    size_t n_rep;
    an_text_check check;
} an_cell;

/* How two cells' ids relate. */
typedef struct an_agreement {
    int a, b;                 /* cell indices */
    size_t n_same;            /* length of the common prefix */
    size_t n;                 /* ids compared: the shorter of the two */
    bool identical;
    bool examined;            /* the logits at the first difference were read */
    bool near_tie;            /* probability margin there at most 0.1 */
    double logit_gap;         /* between the two candidates, in the examining engine */
    double prob_margin;
    int examined_by;          /* cell index */
} an_agreement;

typedef struct an_model_ref {
    char *path;  /* owned */
    char *name;  /* base name; owned */
    an_container container;
    uint64_t bytes;
    an_tokenizer *tokenizer;
    int n_ctx_train;
} an_model_ref;

typedef struct an_comparison_options {
    const char *const *models; /* names or paths */
    size_t n_model;
    const char *const *engines; /* NULL: all that can read the models */
    size_t n_engine;
    const char *prompt;
    const int32_t *prompt_ids; /* instead of prompt; NULL */
    size_t n_prompt_ids;
    bool raw;                  /* no chat template */
    int n_predict, n_rep, n_warmup;
    bool stop_eos, stock;
    an_settings settings;      /* n_ctx 0: as much as the work needs */
    const char *url;           /* of the http engine, or NULL */
    uint64_t seed;             /* order of cells */
    uint64_t timeout_ns;
    const volatile int *stop;  /* non-zero: finish the running repetition and stop */
    void (*progress)(void *ctx, const char *what); /* one short line; may be NULL */
    void *progress_ctx;
} an_comparison_options;

typedef struct an_comparison {
    an_environment environment;
    const an_comparison_options *options; /* kept until free */
    an_settings settings;   /* the options' settings with n_ctx filled in */
    an_model_ref *models;
    size_t n_model;
    char *prompt_text;      /* as sent after the template, decoded; owned */
    const char *chat_format; /* "none" with --raw or without a template */
    an_ids prompt_ids;
    an_cell *cells;
    size_t n_cell;
    an_agreement *agreements;
    size_t n_agreement;
    bool interrupted;
    bool kept_loaded;       /* all workers stayed loaded; false: one loaded at a time */
} an_comparison;

/*
 * Resolve models, compute the prompt ids once, make the list of cells (an engine that cannot read a model's format is
 * not a cell). Every usage fault is found here, before anything runs. Gives *c: an_comparison_free.
 */
ANEMO_MUST_CHECK anemo_status an_comparison_plan(an_comparison *c, const an_comparison_options *o,
                                                 anemo_error *err);

/*
 * Start the workers, warm up, measure n_rep blocks in random order, check the texts. A failing worker is a failed
 * cell; the others go on. Only faults of our own are errors here.
 */
ANEMO_MUST_CHECK anemo_status an_comparison_run(an_comparison *c, anemo_error *err);

void an_comparison_free(an_comparison *c);

/* Summary of one field over a cell's repetitions. */
an_summary an_cell_summary(const an_cell *cell, an_field_id field);

/* Paired comparison of one field, repetition i against repetition i. noise as in an_compare_paired(). */
an_paired an_cell_paired(const an_cell *a, const an_cell *b, an_field_id field, double noise);

/* 0, or 1 when a cell failed or a named engine is missing. */
int an_comparison_exit_code(const an_comparison *c);

/* ---- pieces that tests reach on their own */

/* Fill check from ids and text of the repetitions. */
an_text_check an_check_text(const an_rep *reps, size_t n_rep);

/* Length of the common prefix of two id lists. */
size_t an_common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b);

#endif
