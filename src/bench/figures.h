/* What a model asks of a machine, from its files. */
#ifndef AN_BENCH_FIGURES_H
#define AN_BENCH_FIGURES_H

#include "record/run.h"

/*
 * Fill n_param, n_ctx_train, weight_bytes, kv_values_per_pos and flop_per_token from the model at m->path. They stay 0, not known, for a model
 * that arch does not read (another engine may run it all the same).
 */
void an_run_model_figures(an_run_model *m);

#endif
