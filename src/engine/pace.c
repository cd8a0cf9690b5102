/* Drafts are worth their time when the ids they save cost more than drafting and verifying them. */
#include "engine/pace.h"

/*
 * Steps beyond one before any pass was timed: between a model of 0.1 thousand million parameters, whose passes memory bounds, and one of
 * 7, whose arithmetic takes longer (two cores, docs/speculative.md).
 */
static const double BEGUN[AN_PASS_KINDS] = {0.15, 0.4, 1, 2.5};

/* What is not timed is forgotten by this with each pass: a cost that one held up pass made too high is tried again some day. */
static const double FORGET = 0.002;

/* Reading an id that others follow, in steps of a single one: prompts are read so much faster. */
static const double READ = 0.1;

/* Share of the time that trying hopeless drafts may take: 1 / PROBE_SHARE. */
static const double PROBE_SHARE = 40;

/* What is timed moves an estimate by 1/2, 1/3, … and at least by this. */
enum { TIMED_MAX = 4 };

static double within(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

an_pass_cost an_pass_cost_begin(double draft)
{
    return (an_pass_cost){.draft = draft};
}

static int kind_of(int n)
{
    return n <= 1 ? 0 : n <= 3 ? 1 : n <= 7 ? 2 : 3;
}

/* What the other kinds say of this one: the nearest that was timed, shorter passes first, is as far from what it was begun with. */
static double guess(const an_pass_cost *c, int k)
{
    for (int d = 1; d < AN_PASS_KINDS; d++) {
        int near[] = {k - d, k + d};
        for (int i = 0; i < 2; i++)
            if (near[i] >= 0 && near[i] < AN_PASS_KINDS && c->n_timed[near[i]] > 0)
                return BEGUN[k] * c->more[near[i]] / BEGUN[near[i]];
    }
    return BEGUN[k];
}

static double more_of(const an_pass_cost *c, int k)
{
    return c->n_timed[k] > 0 ? c->more[k] : guess(c, k);
}

double an_pass_cost_of(const an_pass_cost *c, int n)
{
    return more_of(c, kind_of(n));
}

static void forget_others(an_pass_cost *c, int timed)
{
    for (int k = 0; k < AN_PASS_KINDS; k++)
        if (k != timed && c->n_timed[k] > 0) c->more[k] += FORGET * (guess(c, k) - c->more[k]);
}

/* The mean of the first steps, then one in which the last ten count most. A step that something held up counts as two. */
void an_pass_cost_step(an_pass_cost *c, double ns)
{
    enum { STEPS_MAX = 10 };
    if (c->n_step < STEPS_MAX) c->n_step++;
    if (c->step_ns <= 0) c->step_ns = ns;
    c->step_ns += (within(ns, c->step_ns / 2, c->step_ns * 2) - c->step_ns) / c->n_step;
    forget_others(c, -1);
}

void an_pass_cost_verify(an_pass_cost *c, int n, double ns)
{
    int k = kind_of(n);
    if (c->step_ns <= 0) return;
    double before = more_of(c, k), more = within(ns / c->step_ns - 1, before / 2, before * 2 + 0.1);
    if (c->n_timed[k] < TIMED_MAX) c->n_timed[k]++;
    c->more[k] = before + (more - before) / (1 + c->n_timed[k]);
    forget_others(c, k);
}

void an_pass_cost_draft(an_pass_cost *c, int n, double ns)
{
    if (c->step_ns <= 0) return;
    c->draft += (within(ns / n / c->step_ns, c->draft / 2, c->draft * 2) - c->draft) * 0.1;
}

an_pace an_pace_begin(double rate, double learn)
{
    return (an_pace){.rate = rate, .learn = learn};
}

int an_pace_choose(an_pace *p, const an_pass_cost *cost, int n_max, int behind)
{
    int n_best = 0;
    double best = 1, ids = 1, next = 1, before = behind * READ * cost->draft;
    /* A pass with n drafted ids gives 1 + rate + ... + rate^n ids when each is right as often as any other. */
    for (int n = 1; n <= n_max; n++) {
        next *= p->rate;
        ids += next;
        double gain = ids / (1 + before + an_pass_cost_of(cost, n) + n * cost->draft);
        if (gain <= best) continue;
        best = gain;
        n_best = n;
    }
    if (n_best == 0 && n_max > 0) {
        p->refused++;
        double probe = before + an_pass_cost_of(cost, 1) + cost->draft;
        if (p->refused >= AN_PACE_PROBE && p->refused >= PROBE_SHARE * probe) n_best = 1;
    }
    if (n_best > 0) p->refused = 0;
    return n_best;
}

void an_pace_learn(an_pace *p, int n_drafted, int n_accepted)
{
    for (int i = 0; i < n_accepted; i++) p->rate += p->learn * (1 - p->rate);
    if (n_accepted < n_drafted) p->rate -= p->learn * p->rate;
}
