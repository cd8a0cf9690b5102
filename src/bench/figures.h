/* What a model asks of a machine, from its files. */
#ifndef AN_BENCH_FIGURES_H
#define AN_BENCH_FIGURES_H

#include "arch/model_file.h"
#include "record/run.h"

/*
 * Fill the figures of m, n_param to n_ctx_train, from the model at m->path. They stay 0, not known, for a model that arch does not
 * read (another engine may run it all the same).
 */
void an_run_model_figures(an_run_model *m);

/*
 * Fill container, name, read_by, bytes and the figures of m from the model at m->path, whose last slashes are cut off. A file that
 * arch does not read keeps its figures at 0, as above. ERR_NOTFOUND, ERR_IO, ERR_NOMEM; ERR_FORMAT when it is no model.
 */
ANEMO_MUST_CHECK anemo_status an_run_model_describe(an_run_model *m, an_container *container, anemo_error *err);

/* Names of the engines that read a container, ", " between them. NULL when out of memory; an_free. */
char *an_container_readers(an_container container);

/* Add the sizes of a directory's weight files to *bytes. */
ANEMO_MUST_CHECK anemo_status an_mlx_weight_bytes(const char *dir, uint64_t *bytes, anemo_error *err);

#endif
