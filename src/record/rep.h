/* One timed repetition as a record: members, JSON and names all come from fields.def. */
#ifndef AN_RECORD_REP_H
#define AN_RECORD_REP_H

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum an_field_kind { AN_FIELD_COUNT, AN_FIELD_REAL } an_field_kind;
typedef enum an_field_better { AN_BETTER_LOWER, AN_BETTER_HIGHER, AN_BETTER_NONE } an_field_better;

typedef enum an_field_id {
#define AN_FIELD(name, unit, kind, better, title) AN_FIELD_ID_##name,
#include "record/fields.def"
#undef AN_FIELD
    AN_FIELD_N
} an_field_id;

typedef struct an_field {
    const char *name, *unit, *title;
    an_field_kind kind;
    an_field_better better;
} an_field;

const an_field *an_field_get(an_field_id id); /* static */

typedef struct an_rep {
    double values[AN_FIELD_N]; /* NaN = not known */
    char stop_reason[16];      /* "length", "eos", "cancelled" */
    int32_t *token_ids;        /* [n_token], -1 where the engine gave no id; owned */
    double *token_times_s;     /* [n_token] since the ids went in; owned */
    size_t n_token;
    char *text;                /* what the ids say; owned; never NULL in a finished rep */
    size_t text_bytes;
} an_rep;

void an_rep_init(an_rep *rep); /* every value NaN */
void an_rep_free(an_rep *rep);

/*
 * Fill the derived values from token_times_s, n_prompt and cpu_s: n_generated, ttft_s = t_1, total_s = t_n,
 * prefill_tps = n_prompt / ttft_s (it holds one sampler step), decode_tps = (n-1)/(t_n - t_1) (NaN under 2 tokens),
 * cpu_percent = 100 cpu_s / total_s, cpu_percent_machine = that / n_cpu.
 */
void an_rep_derive(an_rep *rep, int n_cpu);

/* The fields of `run --json` and of a rep in anemo.compare/1. New reference; NULL when out of memory. */
json_t *an_rep_json(const an_rep *rep);

#endif
