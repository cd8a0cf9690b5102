/*
 * Polled power: a thread sums up what a command prints or a file holds. Between values it sleeps in poll(), so that it
 * takes no CPU from what is measured.
 */
#include "os/sensors_internal.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/process.h"
#include "os/sysfile.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { LINE_MAX_BYTES = 256, FAILURES_MAX = 3 };

static const uint64_t FIRST_VALUE_NS = 3000000000u, RESTART_NS = 1000000000u, SECOND_NS = 1000000000u;

struct an_power_poll {
    char *command, *file;
    uint64_t period_ns;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* first value, failure, stop */
    bool stop;
    /* Under the lock: */
    bool counter, known;
    double first_j, last_j, power_w, energy_j, n_update;
    uint64_t last_ns, interval_ns;
    bool failed; /* nothing more will come */
    char reason[256];
    /* Of the thread alone: */
    an_process process;
    bool running;
    char line[LINE_MAX_BYTES];
    size_t n_line;
    bool too_long;
    int n_value, n_failure; /* of this start of the command; starts in a row that gave nothing */
    char said[160];         /* last line of its stderr */
};

static void take_value(an_power_poll *p, bool counter, double value)
{
    uint64_t now = an_clock_ns();
    pthread_mutex_lock(&p->lock);
    double dt = (double)(now - p->last_ns) * 1e-9;
    if (!p->known || counter != p->counter || (counter && value < p->last_j)) {
        /* The first one; or a counter that was set back: what it gave until now stays. */
        p->power_w = counter ? NAN : value;
    } else if (counter) {
        p->energy_j += value - p->last_j;
        if (dt > 0) p->power_w = (value - p->last_j) / dt;
    } else {
        p->energy_j += p->power_w * dt; /* a value holds until the next one, here as in an_power_poll_read() */
        p->power_w = value;
    }
    if (p->known) p->interval_ns = now - p->last_ns;
    p->counter = counter;
    p->last_j = value;
    p->last_ns = now;
    p->known = true;
    p->n_update++;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    p->n_value++;
    p->n_failure = 0;
}

static void give_up(an_power_poll *p, const char *what)
{
    pthread_mutex_lock(&p->lock);
    p->failed = true;
    snprintf(p->reason, sizeof p->reason, "%s", what);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

/* Wait for `ns` or until the end is asked for; true when it is. */
static bool rest(an_power_poll *p, uint64_t ns)
{
    uint64_t until = an_clock_realtime_ns() + ns;
    struct timespec ts = {.tv_sec = (time_t)(until / SECOND_NS), .tv_nsec = (long)(until % SECOND_NS)};
    pthread_mutex_lock(&p->lock);
    while (!p->stop && pthread_cond_timedwait(&p->changed, &p->lock, &ts) == 0) {
    }
    bool stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

static bool asked_to_stop(an_power_poll *p)
{
    pthread_mutex_lock(&p->lock);
    bool stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return stop;
}

/* A whole line of the command; false when it is nothing that we know. */
static bool take_line(an_power_poll *p)
{
    bool counter, empty = true;
    double value;
    for (size_t i = 0; i < p->n_line; i++) empty = empty && (p->line[i] == ' ' || p->line[i] == '\t' || p->line[i] == '\r');
    bool good = !p->too_long && an_sys_power_line(p->line, p->n_line, &counter, &value);
    if (good) take_value(p, counter, value);
    else if (!empty) {
        char what[200];
        int n = p->n_line < 60 ? (int)p->n_line : 60;
        for (int i = 0; i < n; i++)
            if (p->line[i] < 32 || p->line[i] > 126) p->line[i] = '?';
        snprintf(what, sizeof what, "the power command printed '%.*s', not watts or \"J <joules>\"", n, p->line);
        give_up(p, what);
    }
    p->n_line = 0;
    p->too_long = false;
    return good || empty;
}

static bool take_bytes(an_power_poll *p, const char *data, long n)
{
    for (long i = 0; i < n; i++) {
        if (data[i] == '\n') {
            if (!take_line(p)) return false;
        } else if (p->n_line < sizeof p->line) p->line[p->n_line++] = data[i];
        else p->too_long = true;
    }
    return true;
}

/* The command ended: whether it is started again. */
static bool command_ended(an_power_poll *p)
{
    char what[256];
    bool fine = an_process_wait(&p->process, SECOND_NS) && p->process.signal == 0 && p->process.exit_code == 0;
    int code = p->process.exit_code, sig = p->process.signal;
    if (p->n_line && !take_line(p)) return false;
    an_process_close(&p->process);
    p->running = false;
    if (fine && p->n_value > 0) return true;
    if (fine) snprintf(what, sizeof what, "the power command printed nothing");
    else if (sig) snprintf(what, sizeof what, "the power command was ended by signal %d", sig);
    else snprintf(what, sizeof what, "the power command ended with exit code %d%s%s", code, p->said[0] ? ": " : "", p->said);
    /* One that never worked is a mistake; one that did may work again. */
    if (++p->n_failure >= FAILURES_MAX || code == 126 || code == 127 || !p->known) {
        give_up(p, what);
        return false;
    }
    return true;
}

static void read_stderr(an_power_poll *p)
{
    char data[512];
    long n = an_fd_read(p->process.fd_err, data, sizeof data);
    if (n < 0) an_fd_close(&p->process.fd_err);
    if (n <= 0) return;
    size_t len = (size_t)n;
    while (len > 0 && (data[len - 1] == '\n' || data[len - 1] == '\r')) len--;
    size_t begin = len;
    while (begin > 0 && data[begin - 1] != '\n' && len - begin < sizeof p->said - 1) begin--;
    for (size_t i = 0; i < len - begin; i++) p->said[i] = data[begin + i] < 32 || data[begin + i] > 126 ? '?' : data[begin + i];
    p->said[len - begin] = '\0';
}

/* Read until the command ends or the end is asked for; false when there is no more to do. */
static bool follow_command(an_power_poll *p)
{
    char data[4096];
    while (!asked_to_stop(p)) {
        an_process_ready ready = an_process_poll(&p->process, SECOND_NS / 5);
        if (ready.err) read_stderr(p);
        if (!ready.out) continue;
        long n = an_fd_read(p->process.fd_out, data, sizeof data);
        if (n < 0) return command_ended(p);
        if (!take_bytes(p, data, n)) return false;
    }
    return false;
}

static void poll_command(an_power_poll *p)
{
    const char *const argv[] = {"sh", "-c", p->command, NULL};
    for (;;) {
        anemo_error err;
        p->n_value = 0;
        p->said[0] = '\0';
        if (an_process_start(&p->process, argv, NULL, &err) != ANEMO_OK) {
            give_up(p, err.message);
            return;
        }
        p->running = true;
        an_fd_close(&p->process.fd_in);
        if (!follow_command(p)) break;
        if (rest(p, RESTART_NS)) break;
    }
    if (p->running) {
        an_process_kill(&p->process);
        an_process_close(&p->process);
    }
}

static void poll_file(an_power_poll *p)
{
    do {
        uint64_t microwatts;
        if (an_sys_u64("", p->file, &microwatts) && microwatts < UINT64_C(1000000000000)) take_value(p, false, (double)microwatts * 1e-6);
    } while (!rest(p, p->period_ns));
}

static void *poll_main(void *arg)
{
    an_power_poll *p = arg;
    if (p->command) poll_command(p);
    else poll_file(p);
    return NULL;
}

anemo_status an_power_poll_open(an_power_poll **out, const char *command, const char *file, uint64_t period_ns, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_power_poll *p = an_calloc(1, sizeof *p);
    if (!p) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the power sensor");
    p->command = an_strdup(command);
    p->file = an_strdup(file);
    p->period_ns = period_ns;
    p->power_w = NAN;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    bool started = (p->command || p->file) && pthread_create(&p->thread, NULL, poll_main, p) == 0;
    if (!started) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        an_free(p->command);
        an_free(p->file);
        an_free(p);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the power sensor");
    }
    uint64_t until = an_clock_realtime_ns() + FIRST_VALUE_NS;
    struct timespec ts = {.tv_sec = (time_t)(until / SECOND_NS), .tv_nsec = (long)(until % SECOND_NS)};
    pthread_mutex_lock(&p->lock);
    while (!p->known && !p->failed && pthread_cond_timedwait(&p->changed, &p->lock, &ts) == 0) {
    }
    if (p->failed && !p->known && command) status = an_fail(err, ANEMO_ERR_INVAL, "%s", p->reason);
    pthread_mutex_unlock(&p->lock);
    if (status != ANEMO_OK) an_power_poll_close(p);
    else *out = p;
    return status;
}

void an_power_poll_close(an_power_poll *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    an_free(p->command);
    an_free(p->file);
    an_free(p);
}

void an_power_poll_read(an_power_poll *p, uint64_t now_ns, an_power_state *out)
{
    pthread_mutex_lock(&p->lock);
    double since = now_ns > p->last_ns ? (double)(now_ns - p->last_ns) * 1e-9 : 0;
    double most = fmax(3, 3e-9 * (double)p->interval_ns);
    *out = (an_power_state){.energy_j = p->energy_j, .power_w = p->power_w, .n_update = p->n_update};
    if (p->known && p->power_w > 0) out->energy_j += p->power_w * since;
    out->silent = !p->known || since > most;
    if (out->silent)
        snprintf(out->reason, sizeof out->reason, "%s", p->reason[0] ? p->reason : "the power sensor has been silent");
    pthread_mutex_unlock(&p->lock);
}
