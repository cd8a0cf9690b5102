/* A run as JUnit XML, which the usual CI servers show. */
#ifndef AN_REPORT_JUNIT_H
#define AN_REPORT_JUNIT_H

#include "report/gate.h"

#include "base/str.h"

/*
 * Two suites: the cells (failed ones are errors, missing, skipped and pending ones are skipped) and, with a gate, its checks (limits
 * that are passed are failures; undecided ones are skipped, or failures where they count as such). gate may be NULL.
 */
ANEMO_MUST_CHECK anemo_status an_junit_write(const an_run *run, const an_gate *gate, an_str *out, anemo_error *err);

#endif
