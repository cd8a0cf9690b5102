/*
 * Looking ahead of a session. The ids that a pass has verified wait in `ahead`; the session holds all of them but the last, the
 * caller has been given the first ones. Whatever else happens to the sequence forgets the rest.
 */
#include "engine/spec.h"

#include "base/alloc.h"
#include "engine/accept.h"
#include "engine/ngram.h"
#include "engine/pace.h"
#include "engine/sampler.h"
#include "kernels/act.h"
#include "os/clock.h"

#include <assert.h>
#include <string.h>

static_assert(AN_SPEC_DRAFT_MAX + 1 <= AN_SMALL_TOKENS, "a verifying pass takes the kernels of few tokens");
static_assert(AN_SPEC_DRAFT_MAX + 1 <= AN_SAMPLER_BACK_MAX, "a pass can be taken back");

/* Drafts from look-up are told apart by the length of the match: up to 2, 3, 7 and more ids. */
enum { N_PACE = 4, AHEAD_MAX = AN_SPEC_DRAFT_MAX + 1 };

struct an_spec {
    an_session *s;
    an_sampler *sampler; /* the session's */
    int n_vocab, n_ctx, n_draft;
    bool always;
    float *rows;         /* [n_draft + 1, n_vocab] logits of a verifying pass */
    an_ngram ngram;      /* of the caller's sequence; its ids alone with a draft model */
    an_pace pace[N_PACE]; /* the first one alone with a draft model */
    an_pass_cost cost, begun; /* by the clock of this run, for all sequences; as it was begun with */
    int32_t ahead[AHEAD_MAX];
    an_sampler_mark marks[AHEAD_MAX]; /* the sampler after each of them */
    int n_ahead, n_given;
    bool in_rows; /* the logits of `ahead` are in rows, not in the session */
    an_spec_stats stats;
    /* With a draft model: */
    an_session *draft;
    int32_t *ids; /* [n_ctx] the caller's sequence */
    int n_ids;
    an_sampler draft_sampler;
    double *q;    /* [n_draft, n_vocab] what the drafted ids were drawn from */
    double *p;    /* [n_vocab] */
};

/* ------------------------------------------------------------------------------------------------------- opening */

/*
 * How much one outcome moves an expectation: a text begins and ends to repeat itself within a few words, while how well a model drafts
 * changes slowly, and to give it up for bad luck is dear: it then has all that came meanwhile to read.
 */
static const double LEARN_LOOK_UP = 0.15, LEARN_MODEL = 0.08;

/* What is expected before anything is known: guesses, which the first dozen outcomes replace. */
static void begin_pace(an_spec *sp)
{
    static const double rates[N_PACE] = {0.3, 0.4, 0.6, 0.8};
    if (sp->draft) {
        sp->pace[0] = an_pace_begin(0.9, LEARN_MODEL); /* tried at least: two bad ones end it */
        return;
    }
    for (int i = 0; i < N_PACE; i++) sp->pace[i] = an_pace_begin(rates[i], LEARN_LOOK_UP);
}

/* Ids drawn from a draft's distribution depend on how many are drafted at once: there the clock must not decide that. */
static bool takes_clock(const an_spec *sp)
{
    return !sp->draft || sp->sampler->s.temperature <= 0;
}

static int choose(const an_spec *sp, an_pace *pace, int limit, int behind)
{
    return sp->always ? limit : an_pace_choose(pace, takes_clock(sp) ? &sp->cost : &sp->begun, limit, behind);
}

static anemo_status open_draft(an_spec *sp, const an_model_file *m, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_session_options o = *an_session_effective(sp->s);
    size_t n_vocab = (size_t)sp->n_vocab;
    /* A draft model that does not fit twice is still of use from its file. */
    if (o.layout == AN_WEIGHTS_REPACKED) o.layout = AN_WEIGHTS_AUTO;
    AN_TRY(an_vocabulary_same(an_session_model(sp->s), m, err));
    AN_TRY(an_session_open_model(&sp->draft, m, NULL, &o, err));
    AN_TRY(an_sampler_open(&sp->draft_sampler, sp->n_vocab, err));
    sp->ids = an_calloc((size_t)sp->n_ctx, sizeof *sp->ids);
    sp->q = an_calloc((size_t)sp->n_draft * n_vocab, sizeof *sp->q);
    sp->p = an_calloc(n_vocab, sizeof *sp->p);
    if (!sp->ids || !sp->q || !sp->p) status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the draft model");
cleanup:
    return status;
}

anemo_status an_spec_open(an_spec **out, an_session *s, const an_spec_options *o, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    if (o->n_draft < 0 || o->n_draft > AN_SPEC_DRAFT_MAX)
        return an_fail(err, ANEMO_ERR_INVAL, "%d ids cannot be drafted at once, expected 1 to %d", o->n_draft,
                       AN_SPEC_DRAFT_MAX);
    an_spec *sp = an_calloc(1, sizeof *sp);
    if (!sp) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory");
    sp->s = s;
    sp->sampler = an_session_sampler(s);
    sp->n_vocab = an_session_model(s)->hp.n_vocab;
    sp->n_ctx = an_session_effective(s)->n_ctx;
    sp->always = o->always;
    sp->n_draft = o->n_draft ? o->n_draft : AN_SPEC_DRAFT_DEFAULT;
    sp->rows = an_calloc((size_t)(sp->n_draft + 1) * (size_t)sp->n_vocab, sizeof *sp->rows);
    if (!sp->rows) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the logits of %d drafted ids", sp->n_draft);
        goto cleanup;
    }
    if (o->draft)
        AN_TRY(open_draft(sp, o->draft, err));
    else
        AN_TRY(an_ngram_open(&sp->ngram, sp->n_ctx, err));
    double draft = o->draft ? (double)o->draft->weight_bytes / (double)an_session_model(s)->weight_bytes : 0;
    sp->begun = sp->cost = an_pass_cost_begin(draft);
    an_spec_sampler_set(sp, &sp->sampler->s);
    an_spec_reset(sp);
cleanup:
    if (status != ANEMO_OK)
        an_spec_close(sp);
    else
        *out = sp;
    return status;
}

void an_spec_close(an_spec *sp)
{
    if (!sp) return;
    an_session_close(sp->draft);
    an_sampler_close(&sp->draft_sampler);
    an_ngram_close(&sp->ngram);
    an_free(sp->rows);
    an_free(sp->ids);
    an_free(sp->q);
    an_free(sp->p);
    an_free(sp);
}

void an_spec_reset(an_spec *sp)
{
    an_session_reset(sp->s);
    if (sp->draft) an_session_reset(sp->draft);
    an_ngram_reset(&sp->ngram);
    sp->n_ids = sp->n_ahead = sp->n_given = 0;
    sp->in_rows = false;
    sp->stats = (an_spec_stats){0};
    begin_pace(sp);
}

void an_spec_sampler_set(an_spec *sp, const an_sampling *sampling)
{
    an_sampling own = *sampling;
    an_spec_settle(sp);
    an_session_sampler_set(sp->s, &own);
    if (!sp->draft) return;
    /* Drafts and their acceptance must not hang together: the draft draws from a sequence of its own. */
    own.seed = ~own.seed;
    an_sampler_set(&sp->draft_sampler, &own);
}

/* ------------------------------------------------------------------------------------------- the caller's sequence */

static void append(an_spec *sp, const int32_t *ids, int n)
{
    if (!sp->draft) {
        an_ngram_append(&sp->ngram, ids, n);
        return;
    }
    memcpy(sp->ids + sp->n_ids, ids, (size_t)n * sizeof *ids);
    sp->n_ids += n;
}

static void drop_last(an_spec *sp)
{
    if (sp->draft)
        sp->n_ids--;
    else
        an_ngram_drop_last(&sp->ngram);
}

int an_spec_n_past(const an_spec *sp)
{
    return sp->draft ? sp->n_ids : sp->ngram.n;
}

/* The draft's session keeps no more than the first n positions. */
static void limit_draft(an_spec *sp, int n)
{
    if (sp->draft && an_session_n_past(sp->draft) > n) an_session_rewind(sp->draft, n);
}

/* Forget what was verified beyond the caller's sequence. */
static void forget_ahead(an_spec *sp)
{
    if (sp->n_given == sp->n_ahead) return;
    an_session_rewind(sp->s, an_spec_n_past(sp));
    an_sampler_return(sp->sampler, &sp->marks[sp->n_given - 1]);
    limit_draft(sp, an_spec_n_past(sp));
    sp->n_ahead = sp->n_given;
}

void an_spec_settle(an_spec *sp)
{
    forget_ahead(sp);
    if (sp->in_rows) an_session_set_logits(sp->s, sp->rows + (size_t)(sp->n_given - 1) * (size_t)sp->n_vocab);
    sp->in_rows = false;
}

an_spec_stats an_spec_stats_get(const an_spec *sp)
{
    return sp->stats;
}

int an_spec_n_draft(const an_spec *sp)
{
    return sp->n_draft;
}

anemo_status an_spec_eval(an_spec *sp, const int32_t *ids, int n, anemo_error *err)
{
    an_spec_settle(sp);
    anemo_status status = an_session_eval(sp->s, ids, n, err);
    if (status != ANEMO_OK) {
        an_session_rewind(sp->s, an_spec_n_past(sp)); /* an interrupted run has some of them */
        return status;
    }
    append(sp, ids, n);
    sp->n_ahead = sp->n_given = 0;
    /* The draft reads the prompt now, so that the time to the first id holds it and decoding does not. */
    if (!sp->draft) return ANEMO_OK;
    int have = an_session_n_past(sp->draft);
    status = an_session_eval(sp->draft, sp->ids + have, sp->n_ids - have, err);
    if (status == ANEMO_OK) return ANEMO_OK;
    sp->n_ids -= n;
    an_session_rewind(sp->s, sp->n_ids);
    limit_draft(sp, sp->n_ids);
    return status;
}

/* ------------------------------------------------------------------------------------------------------- drafting */

/* Drafted ids that there is room for behind the one that is pending. */
static int draft_limit(const an_spec *sp)
{
    const an_hparams *hp = &an_session_model(sp->s)->hp;
    int n_past = an_session_n_past(sp->s), n_ctx = sp->n_ctx, n = sp->n_draft;
    int n_batch = an_session_effective(sp->s)->n_batch;
    /* Where angles depend on the length that a sequence has, one pass for several ids is not several passes for one. */
    if (hp->rope_scaling == AN_ROPE_DYNAMIC && hp->rope_n_ctx_orig < n_ctx) n_ctx = hp->rope_n_ctx_orig;
    if (n > n_ctx - n_past - 1) n = n_ctx - n_past - 1;
    if (n > n_batch - 1) n = n_batch - 1;
    return n > 0 ? n : 0;
}

/* The sequence ends with the pending id. */
static int draft_by_look_up(an_spec *sp, int limit, int32_t *out, an_pace **pace)
{
    int end, n_match = an_ngram_find(&sp->ngram, &end);
    if (n_match == 0) return 0;
    *pace = &sp->pace[n_match >= 8 ? 3 : n_match >= 4 ? 2 : n_match - AN_NGRAM_MIN];
    int n = choose(sp, *pace, limit, 0);
    an_ngram_follow(&sp->ngram, end, n, out);
    return n;
}

/* The draft model goes ahead by up to n ids; what they were drawn from is in q unless the most likely ones are taken. */
static anemo_status draft_by_model(an_spec *sp, int n, int32_t *out, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    bool drawn = sp->sampler->s.temperature > 0;
    int have = an_session_n_past(sp->draft);
    AN_TRY(an_session_eval(sp->draft, sp->ids + have, sp->n_ids - have, err));
    an_sampler_follow(&sp->draft_sampler, sp->sampler);
    for (int i = 0; i < n; i++) {
        const float *logits = an_session_logits(sp->draft);
        if (drawn) {
            double *q = sp->q + (size_t)i * (size_t)sp->n_vocab;
            an_sampler_distribution(&sp->draft_sampler, logits, q);
            out[i] = an_accept_draw(q, sp->n_vocab, &sp->draft_sampler.rng);
            an_sampler_remember(&sp->draft_sampler, out[i]);
        } else
            out[i] = an_sampler_draw(&sp->draft_sampler, logits);
        if (i + 1 < n) AN_TRY(an_session_eval(sp->draft, &out[i], 1, err));
    }
cleanup:
    return status;
}

/* Up to `limit` ids that may follow; *pace learns from them. */
static anemo_status make_draft(an_spec *sp, int limit, int32_t *out, int *n, an_pace **pace, anemo_error *err)
{
    if (!sp->draft) {
        *n = draft_by_look_up(sp, limit, out, pace);
        return ANEMO_OK;
    }
    *pace = &sp->pace[0];
    int behind = sp->n_ids - an_session_n_past(sp->draft) - 1; /* the pending id is read by drafting */
    *n = choose(sp, *pace, limit, behind);
    if (*n == 0) return ANEMO_OK;
    uint64_t begin = an_clock_ns();
    anemo_status status = draft_by_model(sp, *n, out, err);
    if (status == ANEMO_OK) an_pass_cost_draft(&sp->cost, *n, (double)(an_clock_ns() - begin));
    return status;
}

/* ------------------------------------------------------------------------------------------------------ verifying */

/* The id that comes after row i; true when it is the draft's i-th. */
static bool decide(an_spec *sp, int i, int32_t drafted, int32_t *id)
{
    const float *row = sp->rows + (size_t)i * (size_t)sp->n_vocab;
    if (!sp->draft || sp->sampler->s.temperature <= 0) {
        *id = an_sampler_draw(sp->sampler, row);
        return *id == drafted;
    }
    an_sampler_distribution(sp->sampler, row, sp->p);
    bool same = an_accept(sp->p, sp->q + (size_t)i * (size_t)sp->n_vocab, sp->n_vocab, drafted, &sp->sampler->rng, id);
    an_sampler_remember(sp->sampler, *id);
    return same;
}

/* Run the pending id and n drafted ones, keep what is right, and one id more. */
static anemo_status verify(an_spec *sp, int32_t id, const int32_t *drafted, int n, anemo_error *err)
{
    int32_t pass[AHEAD_MAX];
    int n_past = an_session_n_past(sp->s), right = 0;
    pass[0] = id;
    memcpy(pass + 1, drafted, (size_t)n * sizeof *drafted);
    uint64_t begin = an_clock_ns();
    anemo_status status = an_session_eval_all(sp->s, pass, n + 1, sp->rows, err);
    if (status != ANEMO_OK) return status;
    /* Drawing is left out, of steps too: each id that comes out is drawn once, however it was computed. */
    an_pass_cost_verify(&sp->cost, n, (double)(an_clock_ns() - begin));
    while (right < n && decide(sp, right, drafted[right], &sp->ahead[right])) {
        sp->marks[right] = an_sampler_mark_take(sp->sampler);
        right++;
    }
    /* The first id that differs is there already; behind a draft that is right as a whole one more can be drawn. */
    if (right == n) sp->ahead[n] = an_sampler_draw(sp->sampler, sp->rows + (size_t)n * (size_t)sp->n_vocab);
    sp->marks[right] = an_sampler_mark_take(sp->sampler);
    sp->n_ahead = right + 1;
    sp->in_rows = true;
    an_session_rewind(sp->s, n_past + sp->n_ahead);
    limit_draft(sp, n_past + sp->n_ahead);
    sp->stats.n_drafted += (uint64_t)n;
    sp->stats.n_accepted += (uint64_t)right;
    return ANEMO_OK;
}

/* One pass that appends the pending id, which the sequence ends with already. */
static anemo_status advance(an_spec *sp, int32_t id, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int32_t drafted[AN_SPEC_DRAFT_MAX];
    an_pace *pace = NULL;
    int n = 0, limit = draft_limit(sp);
    if (limit > 0) AN_TRY(make_draft(sp, limit, drafted, &n, &pace, err));
    if (n > 0) {
        AN_TRY(verify(sp, id, drafted, n, err));
        an_pace_learn(pace, n, sp->n_ahead - 1);
    } else {
        uint64_t begin = an_clock_ns();
        AN_TRY(an_session_eval(sp->s, &id, 1, err));
        an_pass_cost_step(&sp->cost, (double)(an_clock_ns() - begin));
        sp->ahead[0] = an_session_sample(sp->s);
        sp->marks[0] = an_sampler_mark_take(sp->sampler);
        sp->n_ahead = 1;
        sp->in_rows = false;
    }
    sp->stats.n_pass++;
    sp->stats.n_token += (uint64_t)sp->n_ahead;
cleanup:
    return status;
}

anemo_status an_spec_next(an_spec *sp, int32_t id, int32_t *next, anemo_error *err)
{
    if (sp->n_given < sp->n_ahead && id == sp->ahead[sp->n_given - 1]) {
        append(sp, &id, 1);
        *next = sp->ahead[sp->n_given++];
        return ANEMO_OK;
    }
    forget_ahead(sp);
    /* What a session refuses is refused in its words, before the id is part of anything. */
    if (id < 0 || id >= sp->n_vocab || an_session_n_past(sp->s) >= sp->n_ctx) return an_session_eval(sp->s, &id, 1, err);
    append(sp, &id, 1);
    anemo_status status = advance(sp, id, err);
    if (status != ANEMO_OK) {
        drop_last(sp);
        limit_draft(sp, an_spec_n_past(sp));
        return status;
    }
    sp->n_given = 1;
    *next = sp->ahead[0];
    return ANEMO_OK;
}
