/*
 * The curve of one observed repetition: memory, CPU usage and clock of a worker, looked at from outside while it works. The
 * points stay few however long it takes: when there are too many, every second one goes and the pace halves.
 */
#include "bench/bench_internal.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/sensors.h"

#include <math.h>

enum { POINTS_MAX = 400 };
static const uint64_t PACE_NS = 50000000;

struct an_observer {
    int64_t pid;
    an_sensors *sensors; /* NULL: no clock */
    uint64_t begin_ns, last_ns, pace_ns, cpu_ns;
    size_t n;
    an_curve_point points[POINTS_MAX];
};

an_observer *an_observer_begin(int64_t pid)
{
    an_process_stat stat;
    an_observer *o = an_calloc(1, sizeof *o);
    if (!o) return NULL;
    const an_sensors_options none = {.power_cmd = NULL, .root = ""};
    if (an_sensors_open(&o->sensors, &none, NULL) != ANEMO_OK) o->sensors = NULL;
    o->pid = pid;
    o->pace_ns = PACE_NS;
    if (an_process_stat_read(pid, &stat, NULL) == ANEMO_OK) o->cpu_ns = stat.cpu_ns;
    o->begin_ns = o->last_ns = an_clock_ns();
    return o;
}

static void thin_out(an_observer *o)
{
    for (size_t i = 0; i < o->n / 2; i++) o->points[i] = o->points[2 * i + 1];
    o->n /= 2;
    o->pace_ns *= 2;
}

static void take_point(an_observer *o, uint64_t now)
{
    an_process_stat stat;
    an_sensor_sample sample = {.cpu_hz = NAN};
    if (an_process_stat_read(o->pid, &stat, NULL) != ANEMO_OK) return;
    if (o->sensors) an_sensors_read(o->sensors, &sample);
    if (o->n == POINTS_MAX) thin_out(o);
    o->points[o->n++] = (an_curve_point){.t_s = (double)(now - o->begin_ns) * 1e-9,
                                         .rss_anon_bytes = (double)stat.rss_anon_bytes,
                                         .rss_file_bytes = (double)stat.rss_file_bytes,
                                         .cpu_percent = 100 * (double)(stat.cpu_ns - o->cpu_ns) / (double)(now - o->last_ns),
                                         .cpu_hz = sample.cpu_hz};
    o->cpu_ns = stat.cpu_ns;
    o->last_ns = now;
}

void an_observer_tick(void *ctx)
{
    an_observer *o = ctx;
    uint64_t now = an_clock_ns();
    if (now - o->last_ns >= o->pace_ns) take_point(o, now);
}

void an_observer_end(an_observer *o, an_rep *rep)
{
    if (!o) return;
    uint64_t now = an_clock_ns();
    if (now > o->last_ns) take_point(o, now);
    rep->curve = an_calloc(o->n + 1, sizeof *rep->curve);
    for (size_t i = 0; rep->curve && i < o->n; i++) rep->curve[i] = o->points[i];
    rep->n_curve = rep->curve ? o->n : 0;
    an_sensors_close(o->sensors);
    an_free(o);
}
