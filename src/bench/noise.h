/* The noise floor of this machine: how much the same work differs from one time to the next. */
#ifndef AN_BENCH_NOISE_H
#define AN_BENCH_NOISE_H

#include "base/error.h"

typedef struct an_noise {
    int n;               /* repetitions */
    double median_s;     /* of one */
    double cv;           /* standard deviation / mean */
    double p95_ln_ratio; /* 95th percentile of |ln(t_i / t_{i+1})|: what two runs of the very same thing differ by */
} an_noise;

enum { AN_NOISE_REPS = 30 };

/*
 * A fixed work with the native engine's kernels: eight passes of one token and one pass of twelve over a matrix of 36 MB (less
 * where memory is short), AN_NOISE_REPS times, some 20 ms each. ERR_NOMEM, ERR_INVAL (threads).
 */
ANEMO_MUST_CHECK anemo_status an_noise_measure(int n_thread, an_noise *out, anemo_error *err);

/* The figures from the times of n repetitions, n <= AN_NOISE_REPS. NaN for n < 2. */
an_noise an_noise_of(const double *seconds, int n);

#endif
