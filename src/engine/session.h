/*
 * One open model with one sequence: prefill, decode, sampling. This is what the worker of the `native` driver
 * runs and what include/anemo/ exposes.
 */
#ifndef AN_ENGINE_SESSION_H
#define AN_ENGINE_SESSION_H

#include "arch/model_file.h"
#include "base/error.h"
#include "engine/weights.h"
#include "kernels/kernels.h"
#include "model/decoder.h"
#include "token/tokenizer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sampling, applied in the order: repetition penalty, top-k, temperature-softmax, top-p, min-p, draw. */
typedef struct an_sampling {
    double temperature;    /* 0 = greedy */
    int top_k;             /* 0 = off */
    double top_p;          /* 1 = off */
    double min_p;          /* 0 = off */
    double repeat_penalty; /* 1 = off */
    int repeat_last_n;     /* drawn tokens that the penalty looks back on; 64, at most 4096 */
    uint64_t seed;
} an_sampling;
an_sampling an_sampling_greedy(void);

typedef struct an_session_options {
    int n_ctx;         /* 0 = the model's trained context, at most 8192 */
    int n_batch;       /* 0 = 512 */
    int n_thread;      /* decode; 0 = usable CPUs */
    int n_thread_prefill; /* 0 = n_thread */
    an_kv_dtype kv;    /* of keys and values */
    bool kv_v_set;     /* false: values as keys */
    an_kv_dtype kv_v;
    bool compute_set;  /* false: the level's default */
    an_compute compute;
    const char *isa;   /* NULL = ANEMO_ISA or what the CPU has */
    an_weights_layout layout;
    const char *cache_dir; /* of layout CACHED; NULL = the user's cache folder */
    bool pin;          /* each thread on a CPU of its own while it computes */
    an_note_fn *note;  /* what the user should know of opening; may be NULL */
    void *note_ctx;
} an_session_options;

typedef struct an_session_plan {
    an_decoder_plan decoder;
    an_weights_layout layout; /* that open will try first */
    uint64_t weight_bytes;    /* memory for laid out weights: 0 when they are mapped */
} an_session_plan;

typedef struct an_session an_session;

/* Opens the model as well. Gives *out: an_session_close. */
ANEMO_MUST_CHECK anemo_status an_session_open(an_session **out, const char *model_path,
                                              const an_session_options *o, anemo_error *err);
/*
 * The same over a model that the caller has open and keeps open until the session is closed. Laid out weights are put on the
 * shelf, which the caller keeps as long; NULL: they are this session's own.
 */
ANEMO_MUST_CHECK anemo_status an_session_open_model(an_session **out, const an_model_file *m, an_weights_shelf *shelf,
                                                    const an_session_options *o, anemo_error *err);
void an_session_close(an_session *s);

/*
 * The kernels for an instruction set by name, for ANEMO_ISA's value when `isa` is NULL, or for all that the CPU
 * has. ERR_INVAL: unknown name (the message lists them), or one that this CPU lacks.
 */
ANEMO_MUST_CHECK anemo_status an_session_choose_kernels(const char *isa, const an_kernels **out,
                                                        anemo_error *err);

/* Memory that a session over `m` takes, before taking it. */
ANEMO_MUST_CHECK anemo_status an_session_plan_memory(const an_model_file *m, const an_session_options *o,
                                                     an_session_plan *plan, anemo_error *err);

const an_model_file *an_session_model(const an_session *s);
const an_kernels *an_session_kernels(const an_session *s);
/* What the session took after defaults; `layout` is never AUTO, and `pin` false when the system did not let it. */
const an_session_options *an_session_effective(const an_session *s);

/* Start over with an empty sequence. */
void an_session_reset(an_session *s);
/* Forget positions from n_past on; 0 <= n_past <= an_session_n_past(). */
void an_session_rewind(an_session *s, int n_past);
int an_session_n_past(const an_session *s); /* tokens in the sequence */

/* A flag polled between batches: once non-zero, eval ends with ERR_INTERRUPTED. NULL for none. Kept. */
void an_session_set_stop(an_session *s, const volatile int *stop);

/* Append ids; the last token's logits are then in an_session_logits() [n_vocab], valid until the next call. */
ANEMO_MUST_CHECK anemo_status an_session_eval(an_session *s, const int32_t *ids, int n, anemo_error *err);
const float *an_session_logits(const an_session *s);

/* The same with the logits of every id: out [n, n_vocab]. What an_session_logits() gives stays as it was. */
ANEMO_MUST_CHECK anemo_status an_session_eval_all(an_session *s, const int32_t *ids, int n, float *out,
                                                  anemo_error *err);
/* Put a row [n_vocab] of these in the place of the present logits. */
void an_session_set_logits(an_session *s, const float *row);

/* Logits of every id from an empty sequence: out [n, n_vocab]. */
ANEMO_MUST_CHECK anemo_status an_session_logits_all(an_session *s, const int32_t *ids, int n, float *out,
                                                    anemo_error *err);

/* Seed the sampler and clear its history. */
void an_session_sampler_set(an_session *s, const an_sampling *sampling);
/* Draw the next id from the present logits and remember it for the penalty. Ties: the smallest id. */
int32_t an_session_sample(an_session *s);
/* The sampler itself, for those who look ahead; borrowed until close. */
typedef struct an_sampler an_sampler;
an_sampler *an_session_sampler(an_session *s);

#endif
