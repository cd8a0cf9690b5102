/* Niceness and CPU affinity of all threads of a process, through Linux's /proc. */
#include "os/schedule.h"

#include "base/alloc.h"
#include "base/str.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#if defined(__linux__)
#include <sched.h>
#endif

typedef int (*thread_fn)(int64_t tid, const void *arg);

/* Call fn for each thread, or for the process where the system does not list them. Returns the first errno, 0. */
static int each_thread(int64_t pid, thread_fn fn, const void *arg)
{
    char path[64], **names = NULL;
    size_t n = 0;
    int failed = 0;
    snprintf(path, sizeof path, "/proc/%lld/task", (long long)pid);
    if (an_dir_list(path, &names, &n, NULL) != ANEMO_OK || n == 0) {
        an_names_free(names);
        return fn(pid, arg) == 0 ? 0 : errno;
    }
    for (size_t i = 0; i < n && !failed; i++) {
        int64_t tid;
        if (!an_parse_i64(names[i], &tid)) continue;
        /* A thread that has ended meanwhile needs nothing. */
        if (fn(tid, arg) != 0 && errno != ESRCH) failed = errno;
    }
    an_names_free(names);
    return failed;
}

static int set_nice(int64_t tid, const void *arg)
{
    return setpriority(PRIO_PROCESS, (id_t)tid, *(const int *)arg);
}

anemo_status an_process_set_nice(int64_t pid, int nice, anemo_error *err)
{
    int failed = each_thread(pid, set_nice, &nice);
    if (!failed) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL, "the system does not let this user give niceness %d: %s%s", nice,
                   strerror(failed), nice < 0 ? "; below 0 needs root or CAP_SYS_NICE" : "");
}

#if defined(__linux__)
static int set_cpus(int64_t tid, const void *arg)
{
    return sched_setaffinity((pid_t)tid, sizeof(cpu_set_t), arg);
}

anemo_status an_process_set_cpus(int64_t pid, const uint8_t *mask, size_t bytes, anemo_error *err)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (size_t cpu = 0; cpu < bytes * 8 && cpu < CPU_SETSIZE; cpu++)
        if (mask[cpu / 8] >> cpu % 8 & 1) CPU_SET(cpu, &set);
    int failed = each_thread(pid, set_cpus, &set);
    if (!failed) return ANEMO_OK;
    return an_fail(err, ANEMO_ERR_INVAL, "the system does not let the worker run on these CPUs: %s%s", strerror(failed),
                   failed == EINVAL ? " (none of them is online)" : "");
}
#else
anemo_status an_process_set_cpus(int64_t pid, const uint8_t *mask, size_t bytes, anemo_error *err)
{
    (void)pid;
    (void)mask;
    (void)bytes;
    return an_fail(err, ANEMO_ERR_UNSUPPORTED, "this system has no way to bind another process to CPUs");
}
#endif
