/* Shared between the files of bench/. */
#ifndef AN_BENCH_BENCH_INTERNAL_H
#define AN_BENCH_BENCH_INTERNAL_H

#include "bench/comparison.h"

/* State of a model's pages in the page cache: "warm" (99 % or more), "cold" (under 1 %), "mixed", "unknown". */
const char *an_page_cache_state(const char *path, an_container container);

/* Send a line to the caller's progress function. */
void an_bench_progress(const an_comparison_options *o, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The cells' texts, quality signs and agreements, without near-tie examination. */
ANEMO_MUST_CHECK anemo_status an_bench_check_texts(an_comparison *c, anemo_error *err);

/*
 * Read the logits at the first difference of `g` from a running worker and fill the near-tie members. `cell` is its
 * index. A worker that cannot answer leaves the agreement unexamined.
 */
void an_bench_examine(an_comparison *c, an_agreement *g, an_client *client, int cell);

#endif
