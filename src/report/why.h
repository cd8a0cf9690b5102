/* Why one engine is faster than another: what bounds each, from the figures of a run. */
#ifndef AN_REPORT_WHY_H
#define AN_REPORT_WHY_H

#include "record/run.h"

#include <jansson.h>

/* What bounds the decoding of a cell. */
typedef enum an_bound {
    AN_BOUND_UNKNOWN,
    AN_BOUND_SWAP,      /* memory came back from swap */
    AN_BOUND_DISK,      /* pages of the model were read from the disk */
    AN_BOUND_HOST,      /* a hypervisor gave the CPU to others */
    AN_BOUND_CLOCK,     /* the clock fell while it ran: heat or a power limit */
    AN_BOUND_BANDWIDTH, /* most of the measured memory bandwidth is used */
    AN_BOUND_COMPUTE,   /* the threads are busy, the memory is not */
    AN_BOUND_LATENCY,   /* the threads wait: for each other, for an interpreter, between calls */
    AN_BOUND_N
} an_bound;

/* From medians over its timed repetitions; UNKNOWN where too little is known. */
an_bound an_report_bound(const an_cell *cell);

/*
 * Append sentences to the array `list`: for each measured cell what bounds it, and for each pair whose decode speed is called
 * different, how much of that lies in the bytes of a token and how much in the speed at which they are moved.
 */
void an_report_why(const an_run *run, json_t *list);

#endif
