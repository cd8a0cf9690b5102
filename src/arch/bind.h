/* Tying the tensors of a container to the fields of an_model_file; private to arch. */
#ifndef AN_ARCH_BIND_H
#define AN_ARCH_BIND_H

#include "arch/hparams.h"

/*
 * Fill the weights of `m` (hp, container, gguf or st are set; layers allocated) from its container: shapes are
 * checked, vectors are converted to f32 into m->owned. GGUF's n_vocab is taken from the token embedding.
 */
ANEMO_MUST_CHECK anemo_status an_bind_weights(an_model_file *m, const an_arch_params *params,
                                              anemo_error *err);

/* Frees what an_bind_weights put into m->owned. */
void an_bind_free(an_model_file *m);

#endif
