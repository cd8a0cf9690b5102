/*
 * Where the last ids of a sequence occurred before: drafts by looking up what followed there. Appending an id and
 * looking up take a time that does not grow with the sequence.
 */
#ifndef AN_ENGINE_NGRAM_H
#define AN_ENGINE_NGRAM_H

#include "base/error.h"

#include <stdint.h>

/* Runs of ids that are looked for, the longest first, and the length up to which a match is told apart. */
enum { AN_NGRAM_MIN = 2, AN_NGRAM_MAX = 4, AN_NGRAM_SEEN = 16 };

/*
 * For each length a table of the distinct runs, open addressing, twice as many slots as the sequence can have runs. A slot
 * holds the end of the run's last occurrence plus one, 0 = free; the run itself is read from the sequence.
 */
typedef struct an_ngram {
    int32_t *ids; /* [cap] */
    int n, cap;
    uint32_t n_slot; /* of each table; a power of two */
    int32_t *slots;  /* [AN_NGRAM_MAX - AN_NGRAM_MIN + 1, n_slot] */
} an_ngram;

/* cap >= 1: ids that the sequence can have. ERR_NOMEM. After success: an_ngram_close. */
ANEMO_MUST_CHECK anemo_status an_ngram_open(an_ngram *g, int cap, anemo_error *err);
void an_ngram_close(an_ngram *g);
void an_ngram_reset(an_ngram *g); /* forget the sequence */

/* Append n ids; there must be room for them. */
void an_ngram_append(an_ngram *g, const int32_t *ids, int n);
/* Take the last id back, to append another one before the next look-up. */
void an_ngram_drop_last(an_ngram *g);

/*
 * The last earlier occurrence of the longest of AN_NGRAM_MAX..AN_NGRAM_MIN ids that end the sequence. Returns how many ids before it
 * are the same as well, up to AN_NGRAM_SEEN in all, 0 when there is none; *end is the position of its last id.
 */
int an_ngram_find(const an_ngram *g, int *end);

/*
 * The k ids that followed position `end`. Where the sequence ends before k, the draft goes on with itself: a text in a loop
 * is continued for longer than one turn.
 */
void an_ngram_follow(const an_ngram *g, int end, int k, int32_t *out);

#endif
