/* Clocks. */
#ifndef AN_OS_CLOCK_H
#define AN_OS_CLOCK_H

#include <stddef.h>
#include <stdint.h>

uint64_t an_clock_ns(void);          /* CLOCK_MONOTONIC */
uint64_t an_clock_realtime_ns(void); /* since the Unix epoch */
uint64_t an_clock_cpu_ns(void);      /* CPU time of this process, all threads */
uint64_t an_clock_resolution_ns(void);
void an_clock_sleep_ns(uint64_t ns);

/* RFC 3339 UTC with seconds, e.g. 2026-11-23T04:05:06Z. */
void an_clock_rfc3339(uint64_t realtime_ns, char out[21]);

#endif
