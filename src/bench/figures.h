/* What a model asks of a machine, from its files. */
#ifndef AN_BENCH_FIGURES_H
#define AN_BENCH_FIGURES_H

#include "record/run.h"

/*
 * Fill the figures of m, n_param to n_ctx_train, from the model at m->path. They stay 0, not known, for a model that arch does not
 * read (another engine may run it all the same).
 */
void an_run_model_figures(an_run_model *m);

#endif
