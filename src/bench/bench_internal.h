/* Shared between the files of bench/. */
#ifndef AN_BENCH_BENCH_INTERNAL_H
#define AN_BENCH_BENCH_INTERNAL_H

#include "bench/comparison.h"
#include "bench/model_digest.h"

/* State of a model's pages in the page cache: "warm" (99 % or more), "cold" (under 1 %), "mixed", "unknown". */
const char *an_page_cache_state(const char *path, an_container container);

/*
 * Ask the system to drop them; false when it would not. Pages that a process has mapped stay: whoever needs to know looks at the
 * state afterwards.
 */
bool an_page_cache_drop(const char *path, an_container container);

/* Send a line to the caller's progress function. */
void an_bench_progress(const an_comparison_options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Was the user's signal seen? */
bool an_bench_stopped(const an_comparison *c);

/* ---- a cell's worker: worker.c */

/* The cell failed, or is missing or skipped: what the worker (NULL: none yet) or its start said becomes the reason. */
void an_cell_fail(an_cell *cell, an_client *client, const anemo_error *failure, an_cell_status status);

/* What a worker says of itself and its engine, and of the model that it loaded. */
void an_cell_note_hello(an_cell *cell, const an_hello *h);
void an_cell_note_loaded(an_cell *cell, const an_load_result *loaded);

/*
 * Start the worker of a cell and load its model, the load being a repetition of its own. Gives the client, running, or NULL after
 * marking the cell as failed or missing.
 */
an_client *an_bench_start(an_comparison *c, size_t cell);

/* The same, and warm it up (a failure there marks the cell too). */
an_client *an_bench_ready(an_comparison *c, size_t cell);

/* Time one load with the model's pages out of the page cache; the worker is ended again. A failure marks the cell. */
void an_bench_cold_load(an_comparison *c, size_t cell);

/*
 * One repetition by a running worker into the cell's record: kind, block (-1: none), ids to generate. False after marking the
 * cell as failed.
 */
bool an_bench_repeat(an_comparison *c, size_t cell, an_client *client, an_rep_kind kind, int block, int n_predict);

/* May it be measured? Not after a failure. */
static inline bool an_bench_usable(const an_cell *cell)
{
    return cell->status == AN_CELL_PENDING || cell->status == AN_CELL_OK;
}

/* ---- looking at a worker while it works: observe.c */

typedef struct an_observer an_observer;

/* Gives NULL when out of memory: the curve then stays empty. */
an_observer *an_observer_begin(int64_t pid);
/* Called while waiting for the worker, at its pace; takes a point when one is due. ctx: the observer. */
void an_observer_tick(void *ctx);
/* Hands the points over to the repetition and frees the observer; NULL is fine. */
void an_observer_end(an_observer *o, an_rep *rep);

/* ---- deciding: decide.c */

/* Is enough known after n_block blocks? Fills run->stop_reason when it ends there. */
bool an_bench_enough(an_comparison *c);

/* Fills run->n_look at the end, however it came. */
void an_bench_count_looks(an_comparison *c);

/*
 * The A/A gate: fills run->aa_noise, and run->refused where two copies of one cell came out different. Without a second copy
 * it does nothing.
 */
ANEMO_MUST_CHECK anemo_status an_bench_gate(an_run *run, anemo_error *err);

/* ---- texts: quality.c */

/* Decode a repetition's ids (the text stays where the engine gave one) and find its end of sequence. */
ANEMO_MUST_CHECK anemo_status an_bench_finish_text(const an_tokenizer *t, an_rep *rep, anemo_error *err);

/* The cells' quality signs and agreements, without near-tie examination. */
ANEMO_MUST_CHECK anemo_status an_bench_check_texts(an_comparison *c, anemo_error *err);

/*
 * Read the logits at the first difference of `g` from a running worker and fill the near-tie members. `cell` is its
 * index. A worker that cannot answer leaves the agreement unexamined.
 */
void an_bench_examine(an_comparison *c, an_agreement *g, an_client *client, int cell);

#endif
