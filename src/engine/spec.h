/*
 * Speculative decoding over a session (docs/speculative.md): ids are drafted, from what followed the same words earlier in
 * the sequence or by a smaller model, and verified in one pass that costs little more than a step. What comes out is what
 * plain decoding gives:
 *   - without a temperature the same ids;
 *   - with drafts from look-up the same ids for the same seed as well, because each id is drawn as plain decoding draws it
 *     and a draft counts only where it is that id;
 *   - with a draft model and a temperature ids of the same distribution, and for the same seed the same ids.
 * The first two rest on the kernels' contract that a few tokens in one pass give the bits of one token each.
 */
#ifndef AN_ENGINE_SPEC_H
#define AN_ENGINE_SPEC_H

#include "engine/session.h"

/* A pass of more tokens would leave the kernels that give the bits of single tokens (AN_SMALL_TOKENS). */
enum { AN_SPEC_DRAFT_MAX = 15, AN_SPEC_DRAFT_DEFAULT = 15 };

typedef struct an_spec_options {
    const an_model_file *draft; /* NULL: look-up in the sequence; else kept until close */
    int n_draft;                /* ids drafted at once at most, 1 to AN_SPEC_DRAFT_MAX; 0 = AN_SPEC_DRAFT_DEFAULT */
    bool always;                /* n_draft of them each time, whether or not that pays: to test and to measure */
} an_spec_options;

/* Since open or the last an_spec_reset(). */
typedef struct an_spec_stats {
    uint64_t n_pass;     /* passes of the model after the prompt */
    uint64_t n_token;    /* ids they gave */
    uint64_t n_drafted, n_accepted;
} an_spec_stats;

typedef struct an_spec an_spec;

/*
 * Keeps the session, which begins an empty sequence; from now on ids reach it through the functions here, and the session's own are
 * called after an_spec_settle() only. ERR_INVAL: the draft model has another vocabulary, or n_draft is out of range. Takes memory for
 * n_draft + 1 rows of logits and, with a draft model, for that model's session. Gives *out: an_spec_close, before the session's.
 */
ANEMO_MUST_CHECK anemo_status an_spec_open(an_spec **out, an_session *s, const an_spec_options *o, anemo_error *err);
void an_spec_close(an_spec *sp);

/* Start over with an empty sequence; what was learnt about drafts is forgotten as well, what passes take is not. */
void an_spec_reset(an_spec *sp);

/* As an_session_sampler_set(); the draft's sampler follows. */
void an_spec_sampler_set(an_spec *sp, const an_sampling *sampling);

/* As an_session_eval(), which this settles first. */
ANEMO_MUST_CHECK anemo_status an_spec_eval(an_spec *sp, const int32_t *ids, int n, anemo_error *err);

/*
 * Append `id` and draw the next one: an_session_eval() of one id and an_session_sample(). When `id` is what the last call gave and its
 * successor is verified already, nothing has to be computed. Errors as there; nothing is appended then. Allocates nothing.
 */
ANEMO_MUST_CHECK anemo_status an_spec_next(an_spec *sp, int32_t id, int32_t *next, anemo_error *err);

/*
 * Forget what is verified but not asked for. The session then is where plain decoding would be: it holds all ids that were appended,
 * its logits are those that the last id was drawn from, its sampler has drawn no further.
 */
void an_spec_settle(an_spec *sp);

/* Positions that the caller has appended. */
int an_spec_n_past(const an_spec *sp);
an_spec_stats an_spec_stats_get(const an_spec *sp);
int an_spec_n_draft(const an_spec *sp); /* ids drafted at once at most, after defaults */

/*
 * Ids that mean the same in two models, which have as many rows of logits and the same text for every id; models without a
 * vocabulary of their own are compared by the number alone. ERR_INVAL names the first difference.
 */
ANEMO_MUST_CHECK anemo_status an_vocabulary_same(const an_model_file *m, const an_model_file *draft, anemo_error *err);

#endif
