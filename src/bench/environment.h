/* Reading the machine and the build. */
#ifndef AN_BENCH_ENVIRONMENT_H
#define AN_BENCH_ENVIRONMENT_H

#include "record/environment.h"

/* As they are now; the probes' peaks are NaN. an_environment_free() it. */
void an_environment_read(an_environment *e);

#endif
