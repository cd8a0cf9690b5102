/* Drafts are worth their time when the ids they save cost more than drafting and verifying them. */
#include "engine/pace.h"

/*
 * What one more id makes a verifying pass longer, in decode steps: measured on two cores, passes of 2, 4, 8 and 16 ids take 1.1, 1.2,
 * 1.6 and 2.2 to 2.5 steps for models of 0.1 and of 7 thousand million parameters alike (docs/speculative.md). A constant and not the
 * time of the passes themselves, so that a run does not depend on what else the machine does.
 */
static const double VERIFY_COST = 0.1;

/* How much one outcome moves the expectation. */
static const double LEARN = 0.15;

an_pace an_pace_begin(double rate, double cost)
{
    return (an_pace){.rate = rate, .cost = cost};
}

int an_pace_choose(an_pace *p, int n_max)
{
    int n_best = 0;
    double best = 1, ids = 1, next = 1;
    /* A pass with n drafted ids gives 1 + rate + ... + rate^n ids when each is right as often as any other. */
    for (int n = 1; n <= n_max; n++) {
        next *= p->rate;
        ids += next;
        double gain = ids / (1 + n * (VERIFY_COST + p->cost));
        if (gain <= best) continue;
        best = gain;
        n_best = n;
    }
    if (n_best == 0 && n_max > 0 && ++p->refused >= AN_PACE_PROBE) n_best = 1;
    if (n_best > 0) p->refused = 0;
    return n_best;
}

void an_pace_learn(an_pace *p, int n_drafted, int n_accepted)
{
    for (int i = 0; i < n_accepted; i++) p->rate += LEARN * (1 - p->rate);
    if (n_accepted < n_drafted) p->rate -= LEARN * p->rate;
}
