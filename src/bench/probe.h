/*
 * What this machine can do: read bandwidth of memory and peak arithmetic, with our own kernels. Used between
 * repetitions (a sample takes some milliseconds), by `doctor` and for MBU and MFU.
 */
#ifndef AN_BENCH_PROBE_H
#define AN_BENCH_PROBE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct an_probe an_probe;

/*
 * Threads and a buffer well beyond the caches (at least 4 x the last level, 64 MiB to 1 GiB; less when memory is short).
 * ERR_NOMEM, ERR_INVAL. The threads sleep between samples. Gives *out: an_probe_close.
 */
ANEMO_MUST_CHECK anemo_status an_probe_open(an_probe **out, int n_thread, anemo_error *err);
void an_probe_close(an_probe *p); /* NULL is fine */

/* Read bandwidth in bytes/s over about `ns` nanoseconds (0 = 10 ms). */
double an_probe_bandwidth(an_probe *p, uint64_t ns);

/* The best of several samples: the ceiling of MBU. Takes about 0.3 s. */
double an_probe_peak_bandwidth(an_probe *p);

typedef enum an_probe_flavour { AN_PROBE_F32, AN_PROBE_I8, AN_PROBE_BF16_TILES } an_probe_flavour;

/*
 * Peak arithmetic in operations/s (a multiply-add counts two) of the best kernel that this CPU has; NaN for tiles where it has
 * none. Takes about 0.2 s.
 */
double an_probe_peak_ops(an_probe *p, an_probe_flavour flavour);

#endif
