/* The flags of `anemo bench`: llama-bench's and ours, and what they ask for. */
#ifndef AN_CLI_BENCH_FLAGS_H
#define AN_CLI_BENCH_FLAGS_H

#include "base/error.h"
#include "bench/bench_plan.h"
#include "cli/arguments.h"
#include "cli/options.h"
#include "report/llama_bench.h"

#include <stdbool.h>
#include <stdint.h>

enum { AN_BENCH_OTHERS = 20 };

typedef struct an_bench_args {
    an_opt_list models, hf, hfr, hf_repo, engines, n_prompt, n_gen, pg, n_depth, n_batch, n_ubatch, threads, ngl, flash_attn, ctk, ctv,
        devices, masks, tags;
    an_opt_list others[AN_BENCH_OTHERS]; /* flags of llama-bench that we obey at their default only */
    const char *format, *format_err, *db, *note, *power_cmd;
    int64_t n_rep, prio, seed, timeout_s;
    double delay_s;
    bool interleave, no_warmup, progress, verbose, list_devices, offline, no_store, bandwidth, no_probe, quiet;
    an_cli_layout layout;
} an_bench_args;
an_bench_args an_bench_defaults(void);

extern const an_option an_bench_options[];

/*
 * The words with "_" in the names of long flags as "-": llama-bench takes both. NULL when out of memory; an_names_free.
 */
char **an_bench_dashes(int argc, char **argv);

/* What the flags ask for. Borrows from the args. */
typedef struct an_bench_values {
    an_bench_grid grid; /* all but the engines */
    an_llama_bench_format format, format_err;
} an_bench_values;

/* ERR_INVAL for a value that cannot be, ERR_UNSUPPORTED for one of llama-bench's that we do not have; both name flag and value. */
ANEMO_MUST_CHECK anemo_status an_bench_read_flags(const an_bench_args *a, an_bench_values *v, anemo_error *err);
void an_bench_values_free(an_bench_values *v);

/* Print what each engine that is here can run on. */
ANEMO_MUST_CHECK anemo_status an_bench_list_devices(anemo_error *err);

#endif
