/*
 * How many ids to draft: what earlier drafts of the same kind came to decides, nothing else, so that a run with the same seed
 * drafts the same.
 */
#ifndef AN_ENGINE_PACE_H
#define AN_ENGINE_PACE_H

/* One kind of draft. */
typedef struct an_pace {
    double rate; /* share of drafted ids that were right, the last ones counting most */
    double cost; /* of drafting one id, in decode steps */
    int refused; /* chances in a row that were not worth a draft */
} an_pace;

/* Begin with an expectation of 0 <= rate <= 1. */
an_pace an_pace_begin(double rate, double cost);

/*
 * Ids to draft now, 0 <= n <= n_max: as many as give the most ids for the time. Once in AN_PACE_PROBE chances that are not worth a
 * draft one id is drafted nonetheless, to find out whether that is still so.
 */
enum { AN_PACE_PROBE = 32 };
int an_pace_choose(an_pace *p, int n_max);

/* Of n_drafted ids the first n_accepted were right. */
void an_pace_learn(an_pace *p, int n_drafted, int n_accepted);

#endif
