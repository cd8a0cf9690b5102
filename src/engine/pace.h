/*
 * How many ids to draft: what earlier drafts of the same kind came to, and what passes take on this machine, decide. The ids that
 * come out do not depend on it where each is drawn as plain decoding draws it; where they do, the clock is left out of it, so that
 * a run with the same seed gives the same.
 */
#ifndef AN_ENGINE_PACE_H
#define AN_ENGINE_PACE_H

/*
 * What passes take, in decode steps. Kernels take tokens in tiles, so a pass of 5 tokens takes about as long as one of 8, and much
 * longer than one of 4: passes of 2, up to 4, up to 8 and more tokens are told apart. How long depends on machine and model (whether
 * memory or arithmetic bounds it): begun with guesses, which timed passes replace.
 */
enum { AN_PASS_KINDS = 4 };
typedef struct an_pass_cost {
    double more[AN_PASS_KINDS]; /* steps beyond one that a pass of that kind takes, where one was timed */
    int n_timed[AN_PASS_KINDS]; /* passes, up to where the newest ones count most */
    double draft;   /* drafting one id; 0 for look-up */
    double step_ns; /* a step; 0 = none was timed */
    int n_step;     /* steps timed, up to where the newest ones count most */
} an_pass_cost;

/* draft: steps that drafting an id takes, as far as is known beforehand. */
an_pass_cost an_pass_cost_begin(double draft);

/* Steps beyond one of a pass that verifies n >= 1 drafted ids. */
double an_pass_cost_of(const an_pass_cost *c, int n);

/* A pass of one id took so long; one that verified n >= 1 drafted ids; drafting n >= 1 ids. */
void an_pass_cost_step(an_pass_cost *c, double ns);
void an_pass_cost_verify(an_pass_cost *c, int n, double ns);
void an_pass_cost_draft(an_pass_cost *c, int n, double ns);

/* One kind of draft. */
typedef struct an_pace {
    double rate;  /* share of drafted ids that were right, the last ones counting most */
    double learn; /* how much one outcome moves it */
    int refused;  /* chances in a row that were not worth a draft */
} an_pace;

/* Begin with an expectation of 0 <= rate <= 1. */
an_pace an_pace_begin(double rate, double learn);

/*
 * Ids to draft now, 0 <= n <= n_max: as many as give the most ids for the time. `behind`: ids that the draft model has to read
 * before. Of chances that are not worth a draft one in AN_PACE_PROBE, or one in as many as keep that below 2.5 % of the time, is one
 * nonetheless, to find out whether that is still so.
 */
enum { AN_PACE_PROBE = 32 };
int an_pace_choose(an_pace *p, const an_pass_cost *cost, int n_max, int behind);

/* Of n_drafted ids the first n_accepted were right. */
void an_pace_learn(an_pace *p, int n_drafted, int n_accepted);

#endif
