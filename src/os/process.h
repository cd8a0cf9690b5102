/*
 * Child processes with three pipes, and what the kernel says of them.
 */
#ifndef AN_OS_PROCESS_H
#define AN_OS_PROCESS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct an_process {
    int64_t pid;    /* 0 when none */
    int fd_in;      /* write end of its stdin; -1 when closed */
    int fd_out;     /* read end of its stdout, non-blocking */
    int fd_err;     /* read end of its stderr, non-blocking */
    bool reaped;
    int exit_code;  /* valid when reaped and signal == 0 */
    int signal;     /* valid when reaped: 0 or the signal that ended it */
} an_process;

/*
 * Start argv[0] (looked up in PATH when it has no slash) in its own process group; it dies with us. `env` is a
 * NULL-terminated list of "NAME=value" put over our environment ("NAME" alone removes it), or NULL.
 * On failure nothing is owed; ERR_NOTFOUND when there is no such program.
 */
ANEMO_MUST_CHECK anemo_status an_process_start(an_process *p, const char *const *argv,
                                               const char *const *env, anemo_error *err);

/* Has it ended? Reaps without waiting. */
bool an_process_ended(an_process *p);

/* Wait at most timeout_ns for its end; true when it ended. */
bool an_process_wait(an_process *p, uint64_t timeout_ns);

void an_process_pause(an_process *p);    /* SIGSTOP to its group */
void an_process_continue(an_process *p); /* SIGCONT */
void an_process_kill(an_process *p);     /* SIGKILL to its group; then reaps */

/* Close pipes, end it if it still lives (stdin closed, 200 ms, then SIGKILL), reap. */
void an_process_close(an_process *p);

/* "SIGSEGV" and the like; "signal N" when unnamed. */
void an_signal_name(int signal, char *out, size_t cap);

/* Write all of n bytes to its stdin. ERR_ENGINE when it no longer reads; SIGPIPE is not raised. */
ANEMO_MUST_CHECK anemo_status an_process_write(an_process *p, const void *data, size_t n,
                                               anemo_error *err);

/*
 * Write what the pipe takes now: bytes written, 0 when it is full, AN_FD_END when the process no longer reads,
 * AN_FD_BROKEN when writing fails for another reason.
 */
enum { AN_FD_END = -1, AN_FD_BROKEN = -2 };
long an_process_write_some(an_process *p, const void *data, size_t n);

/*
 * Wait until one of fd_out, fd_err is readable or closed (with want_in: or fd_in takes bytes), a signal came, or
 * timeout_ns passed.
 */
typedef struct an_process_ready {
    bool out, err, in;
} an_process_ready;
an_process_ready an_process_poll_io(an_process *p, bool want_in, uint64_t timeout_ns);
an_process_ready an_process_poll(an_process *p, uint64_t timeout_ns);

/*
 * Keep stdout for messages alone: gives a private descriptor of it and points descriptor 1 at stderr, so that
 * a library that prints cannot break a protocol. -1 on failure.
 */
int an_stdout_claim(void);

/* Write all n bytes. ERR_IO. */
ANEMO_MUST_CHECK anemo_status an_fd_write(int fd, const void *data, size_t n, anemo_error *err);

/* Close *fd and set it to -1. */
void an_fd_close(int *fd);

/* Can fd be read without waiting, or is it closed? Waits at most timeout_ns. */
bool an_fd_readable(int fd, uint64_t timeout_ns);

/*
 * A write beyond the limit on file sizes (ulimit -f) is an error of that write from now on, ERR_NOSPACE, and not the
 * signal that ends the process with its files half written. For a program's entry point.
 */
void an_file_limit_is_error(void);

/*
 * Count SIGINT and SIGTERM from now on instead of dying of them; a third one kills. The counter can be polled and
 * holds the signal's number (0 = none yet).
 */
const volatile int *an_interrupts_watch(void);

/* Read what is there: n > 0 bytes, 0 when nothing now, AN_FD_END at the end of the stream, AN_FD_BROKEN when reading fails. */
long an_fd_read(int fd, void *buf, size_t cap);

typedef struct an_process_stat {
    uint64_t cpu_ns;        /* user + system, all threads, of the process's own CPU clock */
    uint64_t rss_peak_bytes; /* VmHWM */
    uint64_t rss_bytes;      /* VmRSS */
    uint64_t rss_anon_bytes; /* RssAnon */
    uint64_t rss_file_bytes; /* RssFile */
    bool ticks_known;        /* the four below, of /proc/<pid>/stat: threads that ended are in them */
    uint64_t user_ns, system_ns; /* in clock ticks of 10 ms */
    uint64_t faults_minor, faults_major;
} an_process_stat;

/* Read of /proc/<pid>/status and stat and its CPU clock. ERR_NOTFOUND when it is gone or the system has no /proc. */
ANEMO_MUST_CHECK anemo_status an_process_stat_read(int64_t pid, an_process_stat *out, anemo_error *err);

/* Context switches of each thread. Linux forgets those of a thread that ends. */
enum { AN_PROCESS_THREADS_MAX = 256 };
typedef struct an_process_switches {
    int n_thread;
    struct {
        int64_t tid;
        uint64_t voluntary, involuntary;
    } threads[AN_PROCESS_THREADS_MAX]; /* [n_thread], in ascending order of tid */
} an_process_switches;

/* False when the process is gone, has more threads than that, or the system has no /proc. */
bool an_process_switches_read(int64_t pid, an_process_switches *out);

/*
 * Switches between two readings, of the threads that live at its end. Returns how many threads ended meanwhile: then
 * there were more.
 */
int an_process_switches_between(const an_process_switches *from, const an_process_switches *to, uint64_t *voluntary,
                                uint64_t *involuntary);

/* Set VmHWM back to the present size (clear_refs); false when the system refuses. */
bool an_process_reset_peak(int64_t pid);

int64_t an_process_self(void);

#endif
