/* What the stream of one completion says, chunk by chunk. Shared by the driver and its tests. */
#ifndef AN_DRIVERS_HTTP_COMPLETION_H
#define AN_DRIVERS_HTTP_COMPLETION_H

#include "base/error.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_completion {
    an_str text;
    uint64_t *t_ns;       /* [n_chunk] arrival of each chunk that carried text; owned */
    size_t n_chunk, cap;
    int64_t n_usage;      /* completion tokens that the server counted; -1 when it did not say */
    int64_t n_prompt;     /* prompt tokens that the server counted; -1 */
    int64_t n_cached;     /* of them served from a cache; -1 */
    char finish[32];      /* finish_reason; "" when none came */
    bool done;            /* [DONE] was seen */
} an_completion;

void an_completion_init(an_completion *c);
void an_completion_free(an_completion *c);

/*
 * The data of one event that arrived at t_ns. Accepts text completions and chat chunks, missing, null or empty choices (usage-only chunks),
 * and null text. An error object is ERR_ENGINE with the server's message; anything that is no JSON object ERR_FORMAT.
 * A chunk counts when its text is not empty.
 */
ANEMO_MUST_CHECK anemo_status an_completion_event(an_completion *c, const char *data, size_t n, uint64_t t_ns,
                                                  anemo_error *err);

/* Tokens generated: the server's count if it gave one, else chunks. */
size_t an_completion_n_token(const an_completion *c);

/* Arrival of token i of n: tokens are spread evenly over chunks, the first in the first and the last in the last. */
uint64_t an_completion_token_ns(const an_completion *c, size_t i, size_t n);

#endif
