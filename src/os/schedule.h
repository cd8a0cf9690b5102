/* How the system shall run another process: its niceness and its CPUs. */
#ifndef AN_OS_SCHEDULE_H
#define AN_OS_SCHEDULE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/*
 * Both: for all threads that the process has now; threads that it starts later inherit from the one that starts them.
 */
/* Niceness -20 to 19; ERR_INVAL when the system refuses (below 0 needs root or CAP_SYS_NICE). */
ANEMO_MUST_CHECK anemo_status an_process_set_nice(int64_t pid, int nice, anemo_error *err);

/* Bit i of byte k is CPU 8 k + i. ERR_INVAL: no CPU of the mask is online; ERR_UNSUPPORTED where a system cannot do it. */
ANEMO_MUST_CHECK anemo_status an_process_set_cpus(int64_t pid, const uint8_t *mask, size_t bytes, anemo_error *err);

#endif
