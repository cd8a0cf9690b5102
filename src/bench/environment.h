/* Reading the machine and the build. */
#ifndef AN_BENCH_ENVIRONMENT_H
#define AN_BENCH_ENVIRONMENT_H

#include "os/machine.h"
#include "record/environment.h"

/* As they are now; the probes' peaks are NaN. an_environment_free() it. */
void an_environment_read(an_environment *e);

/* What `more` holds of the machine: every key is there, what is not known is null. New reference. */
json_t *an_environment_machine_json(const an_machine *m);

#endif
