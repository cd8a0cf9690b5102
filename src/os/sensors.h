/*
 * What a machine tells of itself while it works: energy counters, clocks, temperature, CPU time of all, swap. Whatever
 * cannot be read is NaN with a reason, never 0.
 */
#ifndef AN_OS_SENSORS_H
#define AN_OS_SENSORS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_sensors an_sensors;

typedef struct an_sensors_options {
    const char *power_cmd; /* prints watts, or "J <joules>" of a counter, on a line of its own; NULL = none */
    const char *root;      /* "" in earnest; tests give a folder that holds a made-up /sys and /proc */
} an_sensors_options;

/* Find the sensors once. Never fails for want of one. ERR_NOMEM; ERR_INVAL for a power_cmd that cannot be started. */
ANEMO_MUST_CHECK anemo_status an_sensors_open(an_sensors **out, const an_sensors_options *o, anemo_error *err);
void an_sensors_close(an_sensors *s); /* NULL is fine */

/* Names for a result: "rapl:package-0", "hwmon:amd_energy", "power-cmd", "" = none; and why there is none. */
const char *an_sensors_energy_source(const an_sensors *s);
const char *an_sensors_energy_reason(const an_sensors *s);

/* All counters at one moment. */
typedef struct an_sensor_sample {
    uint64_t t_ns;             /* an_clock_ns() */
    double energy_j;           /* of all packages; rises; NaN = none */
    double power_w;            /* polled, where there is no counter; NaN */
    double cpu_hz;             /* mean of the online CPUs now; NaN */
    double temperature_c;      /* hottest; NaN */
    double cpu_total_s, cpu_idle_s, cpu_steal_s; /* machine, since boot; NaN */
    double swap_in_bytes, swap_out_bytes;        /* since boot; NaN */
    double throttle_count;     /* core and package throttle events since boot; NaN */
} an_sensor_sample;
void an_sensors_read(an_sensors *s, an_sensor_sample *out);

/*
 * Energy between two samples in joules: counter wraps are undone; polled power is the mean of the two times the time between. NaN
 * when there is no sensor or the window holds fewer than 20 updates of it.
 */
double an_sensors_energy(const an_sensors *s, const an_sensor_sample *from, const an_sensor_sample *to);

/* Mean power over `ns` nanoseconds of doing nothing; NaN without a sensor. */
double an_sensors_idle_power(an_sensors *s, uint64_t ns);

#endif
