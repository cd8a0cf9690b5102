/* Rotation frequencies and angles of every scaling that we run; used by model and by the mlx driver. */
#ifndef AN_MODEL_ROPE_H
#define AN_MODEL_ROPE_H

#include "arch/model_file.h"

/*
 * Inverse frequencies [head_dim / 2] for a sequence of n_seq positions. Only dynamic scaling looks at n_seq:
 * its base grows once n_seq is beyond the original context.
 */
void an_rope_freqs(const an_hparams *hp, int n_seq, float *inv_freq);

/* cos and sin [head_dim / 2] of position pos, the attention factor included. */
void an_rope_angles(const an_hparams *hp, const float *inv_freq, int pos, float *cos_out,
                    float *sin_out);

/* What queries at position pos are multiplied by (llama-4 style); 1 when the model has no such scale. */
float an_query_scale(const an_hparams *hp, int pos);

#endif
