/* One repetition as a record: members, JSON and names all come from fields.def. */
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
#define AN_FIELD(name, unit, kind, better, title, definition, source) AN_FIELD_ID_##name,
#include "record/fields.def"
#undef AN_FIELD
    AN_FIELD_N
} an_field_id;

typedef struct an_field {
    const char *name, *unit, *title, *definition, *source;
    an_field_kind kind;
    an_field_better better;
} an_field;

const an_field *an_field_get(an_field_id id);                   /* static */
bool an_field_find(const char *name, an_field_id *out);         /* by its name */

/* What a repetition is for. Statistics take AN_REP_TIMED alone; load times come from AN_REP_LOAD. */
typedef enum an_rep_kind { AN_REP_TIMED, AN_REP_WARMUP, AN_REP_OBSERVED, AN_REP_LOAD, AN_REP_KIND_N } an_rep_kind;
const char *an_rep_kind_name(an_rep_kind kind);                 /* "timed", "warmup", "observed", "load" */
bool an_rep_kind_find(const char *name, an_rep_kind *out);

/* One look at a worker while it works: only in AN_REP_OBSERVED. */
typedef struct an_curve_point {
    double t_s; /* since begin */
    double rss_anon_bytes, rss_file_bytes, cpu_percent, cpu_hz; /* NaN = not known */
} an_curve_point;

typedef struct an_rep {
    an_rep_kind kind;
    int block;                 /* of the plan, from 0; -1 for loads and warm-ups outside blocks */
    int64_t order;             /* position among all repetitions of the run, from 0: what drift is a function of */
    double start_s;            /* since the run's begin */
    char page_cache[8];        /* of AN_REP_LOAD: state of the model's pages before: "warm", "cold", "mixed", "unknown" */
    double values[AN_FIELD_N]; /* NaN = not known */
    char stop_reason[16];      /* "length", "eos", "cancelled"; "" for a load or a step measurement */
    int32_t *token_ids;        /* [n_token], -1 where the engine gave no id; owned */
    double *token_times_s;     /* [n_token] since the ids went in; owned */
    size_t n_token;
    char *text;                /* what the ids say; owned; may be NULL */
    size_t text_bytes;
    size_t text_bytes_before_eos; /* = text_bytes when there is no end-of-sequence id */
    an_curve_point *curve;     /* [n_curve]; owned */
    size_t n_curve;
} an_rep;

void an_rep_init(an_rep *rep); /* every value NaN, kind AN_REP_TIMED, block -1 */
void an_rep_free(an_rep *rep);

/* What speculative decoding came to: n ids in all, the prompt's among n_pass passes not counted. n_pass 0: plain decoding, nothing is set. */
void an_rep_set_drafts(an_rep *rep, size_t n, uint64_t n_pass, uint64_t n_drafted, uint64_t n_accepted);

/*
 * Fill the derived values from token_times_s, n_prompt, cpu_s and energy_j (definitions: fields.def). What its parts do not
 * give stays NaN.
 */
void an_rep_derive(an_rep *rep, int n_cpu);

/* The fields of `run --json` and of a rep in anemo.run/1. New reference; NULL when out of memory. */
json_t *an_rep_json(const an_rep *rep);

/*
 * The reverse. Unknown keys are ignored, so that a newer anemo's files are read. `name` (a path) begins the message of
 * ERR_FORMAT. On success *rep is an_rep_free()d by the caller.
 */
ANEMO_MUST_CHECK anemo_status an_rep_from_json(an_rep *rep, const json_t *obj, const char *name, anemo_error *err);

#endif
