/* Shared between sensors.c and power_command.c: power that somebody polls, summed up to energy. */
#ifndef AN_OS_SENSORS_INTERNAL_H
#define AN_OS_SENSORS_INTERNAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct an_power_poll an_power_poll;

/* What the thread knows at one moment. */
typedef struct an_power_state {
    double energy_j;  /* since the first value */
    double power_w;   /* last value; of a counter: its last slope; NaN before */
    double n_update;
    bool silent;      /* no value for three intervals and 3 s, or none ever: energy_j is not known */
    char reason[256]; /* why it is; "" while it is not */
} an_power_state;

/*
 * A thread that reads either a command's lines or a file of microwatts every `period_ns`; one of them is NULL. Waits up to 3 s for the
 * first value. ERR_NOMEM, ERR_INVAL (the command does not start, or prints something else).
 */
ANEMO_MUST_CHECK anemo_status an_power_poll_open(an_power_poll **out, const char *command, const char *file, uint64_t period_ns,
                                                 anemo_error *err);
void an_power_poll_close(an_power_poll *p); /* NULL is fine; the command is killed */

void an_power_poll_read(an_power_poll *p, uint64_t now_ns, an_power_state *out);

#endif
