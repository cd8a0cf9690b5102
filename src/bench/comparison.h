/*
 * A comparison: the same prompt ids through several engines and models, measured in randomised blocks.
 *
 * an_comparison_plan() fills workload and cells, an_comparison_run() measures; the result is the record `run`, which report/
 * prints and store/ keeps. Nothing here prints; progress goes through a callback.
 */
#ifndef AN_BENCH_COMPARISON_H
#define AN_BENCH_COMPARISON_H

#include "base/error.h"
#include "bench/meter.h"
#include "drivers/driver.h"
#include "record/run.h"
#include "token/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A model as the plan needs it; its lasting figures are in the run's models, at the same index. */
typedef struct an_model_ref {
    an_container container;
    an_tokenizer *tokenizer;
} an_model_ref;

enum { AN_WARMUP_AUTO = -1 };

typedef struct an_comparison_options {
    const char *const *models; /* names or paths */
    size_t n_model;
    const char *const *engines; /* NULL: all that can read the models */
    size_t n_engine;
    const char *prompt;
    const int32_t *prompt_ids; /* instead of prompt; NULL */
    size_t n_prompt_ids;
    bool raw;                  /* no chat template */
    int n_predict;
    int n_rep;                 /* blocks; 0: as many as the precision needs, at most max_reps */
    int max_reps, n_warmup;    /* n_warmup: AN_WARMUP_AUTO until steady, or a number */
    double precision;          /* half-width of a paired ratio's interval that is enough: 0.01 */
    uint64_t budget_ns;        /* no block begins that would end after it; 0: none */
    bool stop_eos, stock;
    bool cold;                 /* time a load with the model out of the page cache as well */
    bool aa;                   /* measure the one cell against itself */
    bool gate;                 /* measure the first cell a second time; verdicts stand when both are alike */
    bool observe;              /* one repetition more that is watched: curves of memory and CPU */
    bool bandwidth;            /* peaks of this machine, and a sample of its bandwidth around each repetition */
    const char *power_cmd;     /* prints watts; NULL */
    an_settings settings;      /* n_ctx 0: as much as the work needs */
    const int *threads;        /* [n_threads] a cell for each of these; NULL: the settings' */
    size_t n_threads;
    const char *draft;         /* a second cell with these drafts where the engine has them: an_settings.draft; NULL */
    int draft_n;
    const char *url;           /* of the http engine, or NULL */
    uint64_t seed;             /* order of cells */
    uint64_t timeout_ns;
    const volatile int *stop;  /* non-zero: finish the running repetition and stop */
    void (*progress)(void *ctx, const char *what); /* one short line; may be NULL */
    void *progress_ctx;
    /* The plan is complete and the measuring begins; NULL. */
    void (*begun)(void *ctx, const an_run *run);
    /* A repetition of that cell is in the run, or its status has changed; NULL. Called outside of timed work. */
    void (*changed)(void *ctx, const an_run *run, size_t cell);
    void *changed_ctx;
} an_comparison_options;

typedef struct an_comparison {
    an_run run;             /* the result, growing while it runs */
    const an_comparison_options *options; /* kept until free */
    an_settings settings;   /* the options' settings with n_ctx filled in */
    an_model_ref *models;   /* [run.n_model] */
    const an_engine_info **engines; /* [run.n_cell]: of each cell */
    an_settings *cell_settings;     /* [run.n_cell]: what it is asked for */
    char *prompt_text;      /* as sent after the template, decoded; owned */
    const char *chat_format; /* "none" with --raw or without a template */
    an_ids prompt_ids;
    an_meter *meter;
    uint64_t begin_ns;      /* of an_comparison_run() */
    int64_t n_order;        /* repetitions so far, of all cells */
} an_comparison;

/*
 * Resolve models, compute the prompt ids once, make the list of cells (an engine that cannot read a model's format is
 * not a cell). Every usage fault is found here, before anything runs. Gives *c: an_comparison_free.
 */
ANEMO_MUST_CHECK anemo_status an_comparison_plan(an_comparison *c, const an_comparison_options *o,
                                                 anemo_error *err);

/*
 * Start the workers, warm up, measure blocks in random order until enough is known, watch one repetition of each cell, check the
 * texts. A failing worker is a failed cell; the others go on. Only faults of our own are errors here. Cells are
 * AN_CELL_PENDING until the end.
 */
ANEMO_MUST_CHECK anemo_status an_comparison_run(an_comparison *c, anemo_error *err);

void an_comparison_free(an_comparison *c);

/* ---- pieces that tests reach on their own */

/* Fill check from ids and text of a cell's timed repetitions. */
an_text_check an_check_text(const an_cell *cell);

/* Length of the common prefix of two id lists. */
size_t an_common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b);

#endif
