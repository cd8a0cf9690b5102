/* Drafts are worth their time when the ids they save cost more than drafting and verifying them. */
#include "engine/pace.h"

/* An id more in a pass before any pass was timed: measured on two cores (docs/speculative.md). */
static const double VERIFY = 0.08;

/* Reading an id that others follow, in steps of a single one: prompts are read so much faster. */
static const double READ = 0.1;

/* A verifying pass counts for the next ones, and fades by this with each. What was begun with counts as one of 15 ids. */
static const double FADE = 0.95;
static const double BEGUN_WITH = 15 * 15;

/* Share of the time that trying hopeless drafts may take: 1 / PROBE_SHARE. */
static const double PROBE_SHARE = 40;

static double within(double x, double least, double most)
{
    return x < least ? least : x > most ? most : x;
}

an_pass_cost an_pass_cost_begin(double draft)
{
    return (an_pass_cost){.verify = VERIFY, .draft = draft, .nn = BEGUN_WITH, .nt = BEGUN_WITH * VERIFY};
}

/* The mean of the first steps, then one in which the last ten count most. A step that something held up counts as two. */
void an_pass_cost_step(an_pass_cost *c, double ns)
{
    enum { STEPS_MAX = 10 };
    if (c->n_step < STEPS_MAX) c->n_step++;
    if (c->step_ns <= 0) c->step_ns = ns;
    c->step_ns += (within(ns, c->step_ns / 2, c->step_ns * 2) - c->step_ns) / c->n_step;
}

/* The slope through 1 for no drafted id: the passes of many ids tell it best, and weigh most. */
void an_pass_cost_verify(an_pass_cost *c, int n, double ns)
{
    if (c->step_ns <= 0) return;
    double more = within(ns / c->step_ns - 1, 0, n);
    c->nn = FADE * c->nn + n * n;
    c->nt = FADE * c->nt + n * more;
    c->verify = c->nt / c->nn;
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
        double gain = ids / (1 + before + n * (cost->verify + cost->draft));
        if (gain <= best) continue;
        best = gain;
        n_best = n;
    }
    if (n_best == 0 && n_max > 0) {
        p->refused++;
        double probe = before + cost->verify + cost->draft;
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
