/*
 * Sessions: one sequence of tokens running on a model. Each session has threads and memory of its own; a session is
 * used by one thread at a time.
 */
#ifndef ANEMO_SESSION_H
#define ANEMO_SESSION_H

#include <anemo/model.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct anemo_session anemo_session;

/* Where the model's matrices lie while sessions run (docs/native.md). */
typedef enum anemo_layout {
    ANEMO_LAYOUT_AUTO,     /* repacked where that is faster and memory suffices, else mapped */
    ANEMO_LAYOUT_MAPPED,   /* as they are in the file, mapped */
    ANEMO_LAYOUT_REPACKED, /* in memory, laid out for this CPU: ERR_NOMEM when there is not enough */
    ANEMO_LAYOUT_CACHED,   /* the same in a file of its own, which is made at the first time */
} anemo_layout;

/* All zero is a good start: every 0 takes the default. */
typedef struct anemo_session_options {
    int n_ctx;            /* positions; default: the trained context, at most 8192 */
    int n_batch;          /* tokens of one forward pass; 512 */
    int n_thread;         /* of decode; all usable CPUs */
    int n_thread_prefill; /* n_thread */
    int kv_f32;           /* keep keys and values in f32 instead of f16 */
    int exact;            /* activations in f32 where the fast path would take int8 */
    anemo_layout layout;
    const char *cache_dir; /* for ANEMO_LAYOUT_CACHED; default: anemo/layout in the user's cache folder */
    int pin;              /* keep each thread on a CPU of its own while it computes */
    void (*note)(void *ctx, const char *text); /* hears a sentence when something was done otherwise, or takes long */
    void *note_ctx;
} anemo_session_options;

typedef struct anemo_session_plan {
    uint64_t kv_bytes, total_bytes; /* of the session itself */
    uint64_t weight_bytes; /* of laid out weights, which all sessions of a model share; 0 when they are mapped */
    anemo_layout layout;   /* that opening will try first; never ANEMO_LAYOUT_AUTO */
} anemo_session_plan;

/* Memory that a session takes besides the model's file map. */
ANEMO_MUST_CHECK anemo_status anemo_session_plan_memory(const anemo_model *model,
                                                        const anemo_session_options *options,
                                                        anemo_session_plan *plan, anemo_error *err);

/*
 * Takes exactly the planned memory. Weights that are laid out for the first session of a model are kept for the later ones,
 * until the model is closed. Gives *out: anemo_session_close. `options` may be NULL.
 */
ANEMO_MUST_CHECK anemo_status anemo_session_open(anemo_session **out, anemo_model *model,
                                                 const anemo_session_options *options, anemo_error *err);
void anemo_session_close(anemo_session *session); /* NULL is fine */

/* Where its weights lie; never ANEMO_LAYOUT_AUTO. */
anemo_layout anemo_session_layout(const anemo_session *session);

/* Forget the sequence. */
void anemo_session_reset(anemo_session *session);
int anemo_session_n_past(const anemo_session *session); /* tokens in the sequence */

/*
 * Append n ids and run them. ERR_INVAL: an id outside the vocabulary, or no room in the context; nothing is appended
 * then. Allocates nothing.
 */
ANEMO_MUST_CHECK anemo_status anemo_session_eval(anemo_session *session, const int32_t *ids, int n,
                                                 anemo_error *err);

/* Logits of the last id [n_vocab], valid until the next call on the session. */
const float *anemo_session_logits(const anemo_session *session);

/* Applied in the order: repetition penalty, top-k, temperature, top-p, min-p, draw. */
typedef struct anemo_sampling {
    double temperature;    /* 0: the most likely id */
    int top_k;             /* 0: off */
    double top_p;          /* 0 or 1: off */
    double min_p;          /* 0: off */
    double repeat_penalty; /* 0 or 1: off */
    int repeat_last_n;     /* drawn ids that the penalty looks back on; 0: 64 */
    uint64_t seed;
} anemo_sampling;

/* Set the sampler, seed it and clear its history. NULL: the most likely id each time, as after opening. */
void anemo_session_set_sampling(anemo_session *session, const anemo_sampling *sampling);

/* Draw the next id from the present logits. It is not appended: pass it to anemo_session_eval. */
int32_t anemo_session_sample(anemo_session *session);

/*
 * Append id and draw the next one: anemo_session_eval and anemo_session_sample in one call, and faster where drafts are set and
 * right. Errors as of anemo_session_eval.
 */
ANEMO_MUST_CHECK anemo_status anemo_session_next(anemo_session *session, int32_t id, int32_t *next, anemo_error *err);

/* Drafts: anemo_session_next guesses ids ahead and verifies several in one pass (docs/speculative.md). */
typedef struct anemo_draft_options {
    anemo_model *model; /* a smaller one with the same vocabulary, open until the session is closed; NULL: what followed the same
                           words earlier in the sequence */
    int n_draft;        /* ids at once, at most 15; 0: 15 */
} anemo_draft_options;

/*
 * Draft from now on, or NULL: no longer. The ids stay those of plain decoding: without a temperature and without a draft model to the
 * id, with both in distribution. The sequence is forgotten and the sampler seeded anew. ERR_INVAL: another vocabulary.
 */
ANEMO_MUST_CHECK anemo_status anemo_session_set_draft(anemo_session *session, const anemo_draft_options *options,
                                                      anemo_error *err);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
