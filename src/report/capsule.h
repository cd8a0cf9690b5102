/*
 * A run as one file that can be carried away and repeated: plan, prompt ids, settings, seeds, environment, every repetition, and which
 * weights the models are. Schema "anemo.capsule/1" (docs/gates.md).
 */
#ifndef AN_REPORT_CAPSULE_H
#define AN_REPORT_CAPSULE_H

#include "base/error.h"
#include "base/str.h"
#include "record/run.h"

typedef struct an_capsule {
    an_run run;
    char (*sha256)[65]; /* [run.n_model]: of the weights; "" when it is not known */
} an_capsule;

/*
 * Append the capsule of a run to out, as JSON. sha256 [run->n_model]: "" for a model that is not here any more. Secrets in texts are
 * left out (report/scrub.h); with no_paths folders and the host's name as well.
 */
ANEMO_MUST_CHECK anemo_status an_capsule_write(const an_run *run, char (*sha256)[65], bool no_paths, an_str *out,
                                               anemo_error *err);

/* The bytes of one; `name` begins messages. Gives *out: an_capsule_free. ERR_FORMAT, ERR_NOMEM. */
ANEMO_MUST_CHECK anemo_status an_capsule_read(an_capsule *out, const char *text, size_t n, const char *name, anemo_error *err);
void an_capsule_free(an_capsule *c);

#endif
