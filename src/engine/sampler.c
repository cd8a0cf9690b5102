/*
 * The sampler. Candidates are kept in a heap, so that top-k and top-p take only as many as they keep in order,
 * not the whole vocabulary. A logit that is not a number counts as minus infinity.
 */
#include "engine/sampler.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

enum { RING = AN_SAMPLER_HISTORY_MAX + AN_SAMPLER_BACK_MAX };

an_sampling an_sampling_greedy(void)
{
    return (an_sampling){.top_p = 1, .repeat_penalty = 1, .repeat_last_n = 64};
}

anemo_status an_sampler_open(an_sampler *sampler, int n_vocab, anemo_error *err)
{
    *sampler = (an_sampler){.s = an_sampling_greedy(), .n_vocab = n_vocab};
    sampler->candidates = an_calloc((size_t)n_vocab, sizeof *sampler->candidates);
    sampler->history = an_calloc(RING, sizeof *sampler->history);
    an_rng_seed(&sampler->rng, 0);
    if (sampler->candidates && sampler->history) return ANEMO_OK;
    an_sampler_close(sampler);
    return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the sampler");
}

void an_sampler_close(an_sampler *sampler)
{
    an_free(sampler->candidates);
    an_free(sampler->history);
    sampler->candidates = NULL;
    sampler->history = NULL;
}

void an_sampler_set(an_sampler *sampler, const an_sampling *sampling)
{
    sampler->s = *sampling;
    sampler->n_history = 0;
    an_rng_seed(&sampler->rng, sampling->seed);
}

static float ordinary(float logit)
{
    return isnan(logit) ? -INFINITY : logit;
}

/* True when a goes before b: higher logit, then smaller id. */
static bool before(const an_candidate *a, const an_candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

static void sift_down(an_candidate *heap, int n, int i)
{
    for (;;) {
        int child = 2 * i + 1;
        if (child >= n) return;
        if (child + 1 < n && before(&heap[child + 1], &heap[child])) child++;
        if (!before(&heap[child], &heap[i])) return;
        an_candidate tmp = heap[i];
        heap[i] = heap[child];
        heap[child] = tmp;
        i = child;
    }
}

/* Move the best of heap[n] to heap[n - 1]. */
static void pop(an_candidate *heap, int n)
{
    an_candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sift_down(heap, n - 1, 0);
}

/* Divide or multiply, whichever makes the id less likely, once for each id among the last ones. */
static void penalize(an_sampler *s)
{
    int n = s->s.repeat_last_n < s->n_history ? s->s.repeat_last_n : s->n_history;
    if (n > AN_SAMPLER_HISTORY_MAX) n = AN_SAMPLER_HISTORY_MAX;
    float penalty = (float)s->s.repeat_penalty;
    for (int i = 1; i <= n; i++) {
        an_candidate *c = &s->candidates[s->history[(s->n_history - i) % RING]];
        if (c->weight != 0) continue; /* weight marks the ids already done */
        c->weight = 1;
        c->logit = c->logit > 0 ? c->logit / penalty : c->logit * penalty;
    }
}

static bool penalizes(const an_sampler *s)
{
    return s->s.repeat_penalty != 1 && s->s.repeat_penalty > 0 && s->s.repeat_last_n > 0 && s->n_history > 0;
}

/* The largest of n logits, minus infinity when there is none. NaN is never larger. The lanes become vectors. */
static float largest(const float *logits, int n)
{
    enum { LANES = 16 };
    float lane[LANES], most = -INFINITY;
    int i = 0;
    for (int k = 0; k < LANES; k++) lane[k] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) lane[k] = logits[i + k] > lane[k] ? logits[i + k] : lane[k];
    for (; i < n; i++) most = logits[i] > most ? logits[i] : most;
    for (int k = 0; k < LANES; k++) most = lane[k] > most ? lane[k] : most;
    return most;
}

/* A verifying pass asks this of every row: first the stretch that holds the largest logit, then where in it. */
static int32_t greedy(const float *logits, int n)
{
    enum { STRETCH = 1024 };
    float top = -INFINITY;
    int from = 0;
    for (int i = 0; i < n; i += STRETCH) {
        float most = largest(logits + i, n - i < STRETCH ? n - i : STRETCH);
        if (!(most > top)) continue;
        top = most;
        from = i;
    }
    for (int i = from; i < n; i++)
        if (logits[i] == top) return i;
    return 0;
}

static int32_t greedy_candidate(const an_sampler *s)
{
    int best = 0;
    for (int i = 1; i < s->n_vocab; i++)
        if (before(&s->candidates[i], &s->candidates[best])) best = i;
    return s->candidates[best].id;
}

static double weigh(an_candidate *c, float top, double temperature)
{
    c->weight = c->logit == top ? 1 : exp(((double)c->logit - (double)top) / temperature);
    return c->weight;
}

/*
 * Weigh the candidates and keep those that top-k and top-p leave: they end up at the returned index and after it,
 * best last when either cut, else in the heap's order, which is as fixed.
 */
static int keep_best(an_sampler *s)
{
    an_candidate *c = s->candidates;
    int n = s->n_vocab, limit = 0;
    double sum = 0, taken = 0;
    for (int i = n / 2 - 1; i >= 0; i--) sift_down(c, n, i);
    float top = c[0].logit;
    bool cut = s->s.top_k > 0 && s->s.top_k < n;
    if (cut) {
        limit = n - s->s.top_k;
        for (int left = n; left > limit; left--) pop(c, left);
    }
    for (int i = limit; i < n; i++) sum += weigh(&c[i], top, s->s.temperature);
    if (s->s.top_p >= 1) return limit;
    /* The smallest set, best first, whose share of the weight reaches top_p; at least one. */
    int kept = n;
    while (kept > limit && (kept == n || taken < s->s.top_p * sum)) {
        if (!cut) pop(c, kept);
        taken += c[--kept].weight;
    }
    return kept;
}

/* The candidates that can be drawn: those from `first` on whose weight is at least `least` and not 0. */
typedef struct kept {
    int first;
    double least, sum; /* sum of their weights */
} kept;

static bool can_come(const kept *k, const an_candidate *c)
{
    return c->weight >= k->least && c->weight != 0;
}

static kept keep(an_sampler *s)
{
    kept k = {.first = keep_best(s)};
    double top = 0;
    for (int i = k.first; i < s->n_vocab; i++)
        if (s->candidates[i].weight > top) top = s->candidates[i].weight;
    k.least = s->s.min_p > 0 ? s->s.min_p * top : 0;
    for (int i = k.first; i < s->n_vocab; i++)
        if (s->candidates[i].weight >= k.least) k.sum += s->candidates[i].weight;
    return k;
}

static int32_t draw(an_sampler *s)
{
    kept k = keep(s);
    double at = an_rng_f64(&s->rng) * k.sum;
    int chosen = s->n_vocab - 1;
    for (int i = s->n_vocab - 1; i >= k.first; i--) {
        if (!can_come(&k, &s->candidates[i])) continue;
        chosen = i;
        at -= s->candidates[i].weight;
        if (at < 0) break;
    }
    return s->candidates[chosen].id;
}

static void take_candidates(an_sampler *s, const float *logits)
{
    for (int i = 0; i < s->n_vocab; i++)
        s->candidates[i] = (an_candidate){.id = i, .logit = ordinary(logits[i])};
    if (penalizes(s)) penalize(s);
}

static int32_t choose(an_sampler *s, const float *logits)
{
    if (s->s.temperature <= 0 && !penalizes(s)) return greedy(logits, s->n_vocab);
    take_candidates(s, logits);
    return s->s.temperature > 0 ? draw(s) : greedy_candidate(s);
}

int32_t an_sampler_draw(an_sampler *s, const float *logits)
{
    int32_t id = choose(s, logits);
    an_sampler_remember(s, id);
    return id;
}

void an_sampler_distribution(an_sampler *s, const float *logits, double *prob)
{
    memset(prob, 0, (size_t)s->n_vocab * sizeof *prob);
    if (s->s.temperature <= 0) {
        prob[choose(s, logits)] = 1;
        return;
    }
    take_candidates(s, logits);
    kept k = keep(s);
    for (int i = k.first; i < s->n_vocab; i++)
        if (can_come(&k, &s->candidates[i])) prob[s->candidates[i].id] = s->candidates[i].weight / k.sum;
}

void an_sampler_remember(an_sampler *s, int32_t id)
{
    s->history[s->n_history % RING] = id;
    s->n_history++;
}

an_sampler_mark an_sampler_mark_take(const an_sampler *s)
{
    return (an_sampler_mark){s->rng, s->n_history};
}

void an_sampler_return(an_sampler *s, const an_sampler_mark *mark)
{
    AN_ASSERT(s->n_history >= mark->n_history && s->n_history - mark->n_history <= AN_SAMPLER_BACK_MAX);
    s->rng = mark->rng;
    s->n_history = mark->n_history;
}

void an_sampler_follow(an_sampler *s, const an_sampler *other)
{
    s->s = other->s;
    s->n_history = other->n_history;
    if (penalizes(s)) memcpy(s->history, other->history, RING * sizeof *s->history);
}
