/* Child processes on POSIX, with Linux's /proc. */
#include "os/process.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/sysfile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

extern char **environ;

/* Our environment with `env` put over it. Gives a NULL-terminated list of borrowed strings; an_free the list. */
static const char **merge_env(const char *const *env)
{
    size_t n = 0, m = 0, count = 0;
    while (environ[n]) n++;
    while (env && env[m]) m++;
    const char **list = an_calloc(n + m + 1, sizeof *list);
    if (!list) return NULL;
    for (size_t i = 0; i < n; i++) {
        bool replaced = false;
        for (size_t j = 0; j < m && !replaced; j++) {
            size_t name = strcspn(env[j], "=");
            replaced = strncmp(environ[i], env[j], name) == 0 && environ[i][name] == '=';
        }
        if (!replaced) list[count++] = environ[i];
    }
    for (size_t j = 0; j < m; j++)
        if (strchr(env[j], '=')) list[count++] = env[j];
    return list;
}

static void close_pair(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0) close(fds[i]);
}

/* In the child: nothing but async-signal-safe calls. */
static _Noreturn void exec_child(const char *const *argv, const char **env, int in, int out, int err,
                                 int report)
{
    setpgid(0, 0);
#if defined(__linux__)
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    if (dup2(in, 0) >= 0 && dup2(out, 1) >= 0 && dup2(err, 2) >= 0) {
        signal(SIGPIPE, SIG_DFL);
        signal(SIGINT, SIG_DFL);
        environ = (char **)env;
        execvp(argv[0], (char *const *)argv);
    }
    int e = errno;
    ssize_t ignored = write(report, &e, sizeof e);
    (void)ignored;
    _exit(127);
}

anemo_status an_process_start(an_process *p, const char *const *argv, const char *const *env,
                              anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    int in[2] = {-1, -1}, out[2] = {-1, -1}, er[2] = {-1, -1}, report[2] = {-1, -1};
    const char **merged = merge_env(env);
    *p = (an_process){.fd_in = -1, .fd_out = -1, .fd_err = -1};
    if (!merged) return an_fail(err, ANEMO_ERR_NOMEM, "%s: out of memory", argv[0]);
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC) || pipe2(er, O_CLOEXEC) ||
        pipe2(report, O_CLOEXEC)) {
        status = an_fail(err, ANEMO_ERR_IO, "%s: cannot make pipes: %s", argv[0], strerror(errno));
        goto cleanup;
    }
    pid_t pid = fork();
    if (pid < 0) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "%s: cannot fork: %s", argv[0], strerror(errno));
        goto cleanup;
    }
    if (pid == 0) exec_child(argv, merged, in[0], out[1], er[1], report[1]);
    setpgid(pid, pid); /* both sides do it, so that neither order loses */
    close(report[1]);
    report[1] = -1;
    int child_errno = 0;
    ssize_t got;
    do got = read(report[0], &child_errno, sizeof child_errno);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof child_errno) {
        waitpid(pid, NULL, 0);
        status = an_fail_errno(err, child_errno, "start", argv[0]);
        goto cleanup;
    }
    p->pid = pid;
    p->fd_in = in[1];
    p->fd_out = out[0];
    p->fd_err = er[0];
    in[1] = out[0] = er[0] = -1;
    fcntl(p->fd_in, F_SETFL, fcntl(p->fd_in, F_GETFL) | O_NONBLOCK);
    fcntl(p->fd_out, F_SETFL, fcntl(p->fd_out, F_GETFL) | O_NONBLOCK);
    fcntl(p->fd_err, F_SETFL, fcntl(p->fd_err, F_GETFL) | O_NONBLOCK);
cleanup:
    close_pair(in);
    close_pair(out);
    close_pair(er);
    close_pair(report);
    an_free(merged);
    return status;
}

static void note_end(an_process *p, int wstatus)
{
    p->reaped = true;
    p->signal = WIFSIGNALED(wstatus) ? WTERMSIG(wstatus) : 0;
    p->exit_code = WIFEXITED(wstatus) ? WEXITSTATUS(wstatus) : -1;
}

bool an_process_ended(an_process *p)
{
    int wstatus;
    if (p->pid == 0 || p->reaped) return true;
    pid_t r = waitpid((pid_t)p->pid, &wstatus, WNOHANG);
    if (r == (pid_t)p->pid) note_end(p, wstatus);
    return p->reaped;
}

bool an_process_wait(an_process *p, uint64_t timeout_ns)
{
    uint64_t begin = an_clock_ns();
    while (!an_process_ended(p)) {
        if (an_clock_ns() - begin >= timeout_ns) return false;
        an_clock_sleep_ns(1000000);
    }
    return true;
}

static void signal_group(an_process *p, int sig)
{
    if (p->pid > 0 && !p->reaped) kill((pid_t)-p->pid, sig);
}

void an_process_pause(an_process *p)
{
    signal_group(p, SIGSTOP);
}

void an_process_continue(an_process *p)
{
    signal_group(p, SIGCONT);
}

void an_process_kill(an_process *p)
{
    int wstatus;
    if (p->pid == 0 || p->reaped) return;
    signal_group(p, SIGKILL);
    while (waitpid((pid_t)p->pid, &wstatus, 0) < 0) {
        if (errno != EINTR) return;
    }
    note_end(p, wstatus);
}

void an_process_close(an_process *p)
{
    if (p->fd_in >= 0) close(p->fd_in);
    p->fd_in = -1;
    if (p->pid > 0 && !p->reaped) {
        an_process_continue(p);
        if (!an_process_wait(p, 200000000u)) an_process_kill(p);
    }
    if (p->fd_out >= 0) close(p->fd_out);
    if (p->fd_err >= 0) close(p->fd_err);
    p->fd_out = p->fd_err = -1;
}

void an_signal_name(int sig, char *out, size_t cap)
{
    static const struct {
        int sig;
        const char *name;
    } names[] = {
        {SIGSEGV, "SIGSEGV"}, {SIGKILL, "SIGKILL"}, {SIGABRT, "SIGABRT"}, {SIGBUS, "SIGBUS"},
        {SIGILL, "SIGILL"},   {SIGFPE, "SIGFPE"},   {SIGTERM, "SIGTERM"}, {SIGINT, "SIGINT"},
        {SIGPIPE, "SIGPIPE"}, {SIGTRAP, "SIGTRAP"}, {SIGSYS, "SIGSYS"},   {SIGXCPU, "SIGXCPU"},
        {SIGHUP, "SIGHUP"},   {SIGQUIT, "SIGQUIT"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(names); i++) {
        if (names[i].sig == sig) {
            snprintf(out, cap, "%s", names[i].name);
            return;
        }
    }
    snprintf(out, cap, "signal %d", sig);
}

long an_process_write_some(an_process *p, const void *data, size_t n)
{
    if (p->fd_in < 0) return AN_FD_END;
    /* SIGPIPE is blocked around the write instead of ignored for the process: a library must not change that. */
    sigset_t pipe_set, old;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
    ssize_t put;
    do put = write(p->fd_in, data, n);
    while (put < 0 && errno == EINTR);
    int e = errno;
    if (put < 0 && e == EPIPE) {
        struct timespec zero = {0};
        sigtimedwait(&pipe_set, NULL, &zero);
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (put >= 0) return (long)put;
    if (e == EAGAIN || e == EWOULDBLOCK) return 0;
    return e == EPIPE ? AN_FD_END : AN_FD_BROKEN;
}

anemo_status an_process_write(an_process *p, const void *data, size_t n, anemo_error *err)
{
    const char *at = data;
    while (n > 0) {
        long put = an_process_write_some(p, at, n);
        if (put < 0) return an_fail(err, ANEMO_ERR_ENGINE, "the worker no longer reads its input");
        if (put == 0) {
            struct pollfd fd = {.fd = p->fd_in, .events = POLLOUT};
            (void)poll(&fd, 1, 1000);
        }
        at += put;
        n -= (size_t)put;
    }
    return ANEMO_OK;
}

an_process_ready an_process_poll_io(an_process *p, bool want_in, uint64_t timeout_ns)
{
    struct pollfd fds[3] = {{.fd = p->fd_out, .events = POLLIN},
                            {.fd = p->fd_err, .events = POLLIN},
                            {.fd = want_in ? p->fd_in : -1, .events = POLLOUT}};
    an_process_ready ready = {false, false, false};
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                          .tv_nsec = (long)(timeout_ns % 1000000000u)};
    if (ppoll(fds, 3, &ts, NULL) > 0) {
        ready.out = fds[0].revents != 0;
        ready.err = fds[1].revents != 0;
        ready.in = fds[2].revents != 0;
    }
    return ready;
}

an_process_ready an_process_poll(an_process *p, uint64_t timeout_ns)
{
    return an_process_poll_io(p, false, timeout_ns);
}

int an_stdout_claim(void)
{
    int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) return -1;
    if (dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

anemo_status an_fd_write(int fd, const void *data, size_t n, anemo_error *err)
{
    const char *at = data;
    while (n > 0) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return an_fail(err, ANEMO_ERR_IO, "write: %s", strerror(errno));
        at += put;
        n -= (size_t)put;
    }
    return ANEMO_OK;
}

void an_fd_close(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

bool an_fd_readable(int fd, uint64_t timeout_ns)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000u),
                          .tv_nsec = (long)(timeout_ns % 1000000000u)};
    return ppoll(&p, 1, &ts, NULL) > 0;
}

/* A signal handler can reach nothing but static memory; this is the one such place. */
static volatile int interrupt_signal;
static volatile sig_atomic_t interrupt_count;

static void on_interrupt(int sig)
{
    interrupt_signal = sig;
    interrupt_count = interrupt_count + 1;
    if (interrupt_count >= 3) _exit(128 + sig);
}

void an_file_limit_is_error(void)
{
    signal(SIGXFSZ, SIG_IGN);
}

const volatile int *an_interrupts_watch(void)
{
    struct sigaction action = {.sa_handler = on_interrupt};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return &interrupt_signal;
}

long an_fd_read(int fd, void *buf, size_t cap)
{
    for (;;) {
        ssize_t got = read(fd, buf, cap);
        if (got > 0) return (long)got;
        if (got == 0) return AN_FD_END;
        if (errno == EINTR) continue;
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : AN_FD_BROKEN;
    }
}

/* "Name:   123 kB" of /proc/<pid>/status in bytes; 0 when absent. */
static uint64_t status_bytes(const char *text, const char *key)
{
    const char *p = strstr(text, key);
    return p ? strtoull(p + strlen(key), NULL, 10) * 1024 : 0;
}

anemo_status an_process_stat_read(int64_t pid, an_process_stat *out, anemo_error *err)
{
    char path[64], *text;
    size_t n;
    snprintf(path, sizeof path, "/proc/%lld/status", (long long)pid);
    anemo_status status = an_file_read(path, 65536, &text, &n, err);
    if (status != ANEMO_OK) return status;
    *out = (an_process_stat){
        .rss_peak_bytes = status_bytes(text, "\nVmHWM:"),
        .rss_bytes = status_bytes(text, "\nVmRSS:"),
        .rss_anon_bytes = status_bytes(text, "\nRssAnon:"),
        .rss_file_bytes = status_bytes(text, "\nRssFile:"),
    };
    an_free(text);
    char line[1024];
    an_sys_pid_ticks ticks;
    snprintf(path, sizeof path, "/proc/%lld/stat", (long long)pid);
    out->ticks_known = an_sys_read("", path, line, sizeof line, NULL) && an_sys_pid_stat(line, &ticks);
    if (out->ticks_known) {
        uint64_t tick_ns = 1000000000u / (uint64_t)sysconf(_SC_CLK_TCK);
        out->user_ns = ticks.user_ticks * tick_ns;
        out->system_ns = ticks.system_ticks * tick_ns;
        out->faults_minor = ticks.faults_minor;
        out->faults_major = ticks.faults_major;
    }
    clockid_t id;
    struct timespec ts;
    if (clock_getcpuclockid((pid_t)pid, &id) == 0 && clock_gettime(id, &ts) == 0)
        out->cpu_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
    return ANEMO_OK;
}

bool an_process_switches_read(int64_t pid, an_process_switches *out)
{
    char path[96], text[4096];
    snprintf(path, sizeof path, "/proc/%lld/task", (long long)pid);
    DIR *dir = opendir(path);
    bool whole = dir != NULL;
    out->n_thread = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        int64_t tid;
        if (!an_parse_i64(e->d_name, &tid)) continue;
        snprintf(path, sizeof path, "/proc/%lld/task/%lld/status", (long long)pid, (long long)tid);
        if (!an_sys_read("", path, text, sizeof text, NULL)) continue; /* it ended just now */
        const char *voluntary = an_sys_value(text, "voluntary_ctxt_switches");
        const char *involuntary = an_sys_value(text, "nonvoluntary_ctxt_switches");
        whole = whole && voluntary && involuntary && out->n_thread < AN_PROCESS_THREADS_MAX;
        if (!whole) break;
        out->threads[out->n_thread].tid = tid;
        out->threads[out->n_thread].voluntary = strtoull(voluntary, NULL, 10);
        out->threads[out->n_thread++].involuntary = strtoull(involuntary, NULL, 10);
    }
    if (dir) closedir(dir);
    return whole && out->n_thread > 0;
}

int an_process_switches_between(const an_process_switches *from, const an_process_switches *to, uint64_t *voluntary,
                                uint64_t *involuntary)
{
    int n_same = 0, j = 0;
    *voluntary = *involuntary = 0;
    for (int i = 0; i < to->n_thread; i++) {
        *voluntary += to->threads[i].voluntary;
        *involuntary += to->threads[i].involuntary;
        while (j < from->n_thread && from->threads[j].tid < to->threads[i].tid) j++;
        if (j == from->n_thread || from->threads[j].tid != to->threads[i].tid) continue;
        *voluntary -= from->threads[j].voluntary;
        *involuntary -= from->threads[j].involuntary;
        n_same++;
    }
    return from->n_thread - n_same;
}

bool an_process_reset_peak(int64_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%lld/clear_refs", (long long)pid);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool ok = write(fd, "5", 1) == 1;
    close(fd);
    return ok;
}

int64_t an_process_self(void)
{
    return getpid();
}
