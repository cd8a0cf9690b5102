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
    /*
     * A shell command that prints watts, or "J <joules>" of a counter, on a line of its own: over and over, or once and ends, then it
     * is started again every second. A thread reads it; nothing waits for it. NULL = none.
     */
    const char *power_cmd;
    const char *root; /* NULL or "" in earnest; tests give a folder that holds a made-up /sys and /proc */
    int n_busy;       /* CPUs that work: cpu_hz is the mean of so many fastest; 0 = of all */
} an_sensors_options;

/*
 * Find the sensors once. Never fails for want of one. ERR_NOMEM; ERR_INVAL for a power_cmd that cannot be started or whose first
 * line (waited for 3 s at most) is none.
 */
ANEMO_MUST_CHECK anemo_status an_sensors_open(an_sensors **out, const an_sensors_options *o, anemo_error *err);
void an_sensors_close(an_sensors *s); /* NULL is fine */

typedef enum an_sensor_kind {
    AN_SENSOR_ENERGY,
    AN_SENSOR_CLOCK,
    AN_SENSOR_TEMPERATURE,
    AN_SENSOR_CPU, /* CPU time of the machine: load and steal */
    AN_SENSOR_SWAP,
    AN_SENSOR_THROTTLE,
    AN_SENSOR_N
} an_sensor_kind;

/* Name for a result ("rapl:package-0", "hwmon:amd_energy", "power-cmd", "cpufreq", "k10temp"); "" = none, and then why. */
const char *an_sensors_source(const an_sensors *s, an_sensor_kind kind);
const char *an_sensors_reason(const an_sensors *s, an_sensor_kind kind); /* "" while there is one */

/* All counters at one moment. */
typedef struct an_sensor_sample {
    uint64_t t_ns;             /* an_clock_ns() */
    double energy_j;           /* of all packages, since open; wraps are undone, polled power is summed up; rises; NaN = none */
    double energy_updates;     /* values that the sensor had given by then */
    double power_w;            /* last polled value, where there is no counter; NaN */
    double cpu_hz;             /* mean of the busiest CPUs now; NaN */
    double temperature_c;      /* hottest; NaN */
    double cpu_total_s, cpu_idle_s, cpu_steal_s; /* machine, since boot; NaN */
    double swap_in_bytes, swap_out_bytes;        /* since boot; NaN */
    double throttle_count;     /* core and package throttle events since boot; NaN */
} an_sensor_sample;
void an_sensors_read(an_sensors *s, an_sensor_sample *out);

/*
 * Energy between two samples in joules. NaN when there is no sensor, when the window holds fewer than 20 updates of it, or is so
 * long that a counter may have gone round unseen. *why (may be NULL): static text, "" when there is a value.
 */
enum { AN_SENSOR_UPDATES_MIN = 20 };
double an_sensors_energy(const an_sensors *s, const an_sensor_sample *from, const an_sensor_sample *to, const char **why);

/*
 * Mean power of doing nothing, over at least `ns` nanoseconds and as long as 25 updates take, 10 s at most; NaN without a
 * sensor (returns at once).
 */
double an_sensors_idle_power(an_sensors *s, uint64_t ns);

#endif
