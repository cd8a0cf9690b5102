/*
 * The forward pass of the Llama family: the only one, for every container, for prefill and decode alike.
 */
#ifndef AN_MODEL_DECODER_H
#define AN_MODEL_DECODER_H

#include "arch/model_file.h"
#include "base/error.h"
#include "kernels/kernels.h"
#include "os/thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_decoder_options {
    int n_ctx;          /* positions the KV cache holds, >= 1 */
    int n_batch;        /* tokens of one forward pass at most, >= 1 */
    an_kv_dtype kv;
    an_compute compute;
    int n_thread_prefill, n_thread_decode;
    bool pin;           /* each thread on a CPU of its own while it computes, where the system lets us */
    const an_kernels *kernels;
    bool kv_v_set;      /* false: values are stored as keys are, in `kv` */
    an_kv_dtype kv_v;
} an_decoder_options;

static inline an_kv_dtype an_decoder_kv_v(const an_decoder_options *o)
{
    return o->kv_v_set ? o->kv_v : o->kv;
}

typedef struct an_decoder_plan {
    uint64_t kv_bytes, activation_bytes, scratch_bytes, total_bytes;
} an_decoder_plan;

typedef struct an_decoder an_decoder;

/* Memory that open will take, before taking it. ERR_INVAL for options out of range. */
ANEMO_MUST_CHECK anemo_status an_decoder_plan_memory(const an_model_file *m,
                                                     const an_decoder_options *o, an_decoder_plan *plan,
                                                     anemo_error *err);
/* Keeps `m` until close. ERR_NOMEM says need and have. Gives *out: an_decoder_close. */
ANEMO_MUST_CHECK anemo_status an_decoder_open(an_decoder **out, const an_model_file *m,
                                              const an_decoder_options *o, anemo_error *err);
void an_decoder_close(an_decoder *d);

bool an_decoder_pinned(const an_decoder *d); /* did `pin` succeed? */
int an_decoder_n_past(const an_decoder *d);
/* Forget positions from n_past on (0 = all). */
void an_decoder_rewind(an_decoder *d, int n_past);

/*
 * Append n_tok ids (any number: cut into batches of n_batch) to the sequence and run them.
 * logits_all: write logits of every token to `logits` [n_tok, n_vocab]; else of the last one only [n_vocab].
 * logits may be NULL (nothing is computed for the head). Allocates nothing.
 * ERR_INVAL: id out of range, context full. `stop` (may be NULL) is polled between batches: non-zero gives
 * ERR_INTERRUPTED.
 */
ANEMO_MUST_CHECK anemo_status an_decoder_run(an_decoder *d, const int32_t *ids, int n_tok, bool logits_all,
                                             float *logits, const volatile int *stop, anemo_error *err);

#endif
