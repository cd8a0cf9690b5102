/*
 * Records how much memory bandwidth this machine gives over time, for the drift traces of the truth tests:
 *     record_trace SECONDS > traces/NAME.txt
 * Every half second all CPUs read their own part of a buffer far larger than the caches for 20 ms (4 % of the time).
 * One line a sample: GB/s by the clock, and GB/s by the CPU time that the threads got, which leaves out the time in
 * which others had the CPU.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum {
    PART = 128 << 20,
    CHUNK = 256 << 10,
    WINDOW_NS = 20 * 1000 * 1000,
    PERIOD_NS = 500 * 1000 * 1000,
    THREADS_MAX = 64
};

typedef struct reader {
    pthread_t thread;
    uint64_t *data, sum;
    size_t at;
    double wall_rate, cpu_rate; /* bytes/s */
} reader;

static pthread_barrier_t begin, end;

static int64_t now_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void *read_memory(void *arg)
{
    reader *r = arg;
    for (;;) {
        pthread_barrier_wait(&begin);
        int64_t wall = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID), t;
        double bytes = 0;
        do {
            const uint64_t *p = r->data + r->at / 8;
            uint64_t s[8] = {0};
            for (size_t i = 0; i < CHUNK / 8; i += 8)
                for (size_t j = 0; j < 8; j++) s[j] += p[i + j];
            for (size_t j = 0; j < 8; j++) r->sum += s[j];
            r->at = (r->at + CHUNK) % PART;
            bytes += CHUNK;
            t = now_ns(CLOCK_MONOTONIC);
        } while (t - wall < WINDOW_NS);
        r->wall_rate = bytes / (1e-9 * (double)(t - wall));
        r->cpu_rate = bytes / (1e-9 * (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu));
        pthread_barrier_wait(&end);
    }
    return NULL;
}

static void print_head(int n_thread)
{
    char cpu[256] = "unknown CPU", line[512], date[64];
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "model name", 10) == 0) snprintf(cpu, sizeof cpu, "%.250s", strchr(line, ':') + 2);
    if (f) fclose(f);
    cpu[strcspn(cpu, "\n")] = 0;
    struct utsname u;
    uname(&u);
    time_t t = time(NULL);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&t));
    printf("# memory read bandwidth, %d threads, 20 ms every 0.5 s; GB/s by the clock, GB/s by CPU time\n# %s, %s %s, "
           "from %s\n",
           n_thread, cpu, u.sysname, u.machine, date);
}

int main(int argc, char **argv)
{
    double seconds = argc == 2 ? atof(argv[1]) : 0;
    long n_cpu = sysconf(_SC_NPROCESSORS_ONLN);
    int n = n_cpu < 1 ? 1 : n_cpu > THREADS_MAX ? THREADS_MAX : (int)n_cpu;
    if (!(seconds > 0)) {
        fprintf(stderr, "usage: record_trace SECONDS > FILE\n");
        return 2;
    }
    static reader readers[THREADS_MAX];
    pthread_barrier_init(&begin, NULL, (unsigned)n + 1);
    pthread_barrier_init(&end, NULL, (unsigned)n + 1);
    for (int i = 0; i < n; i++) {
        readers[i].data = malloc(PART);
        if (!readers[i].data) return 1;
        memset(readers[i].data, i + 1, PART);
        if (pthread_create(&readers[i].thread, NULL, read_memory, &readers[i])) return 1;
    }
    print_head(n);
    int64_t start = now_ns(CLOCK_MONOTONIC);
    for (int64_t next = start; next - start < (int64_t)(seconds * 1e9); next += PERIOD_NS) {
        struct timespec at = {next / 1000000000, next % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        pthread_barrier_wait(&begin);
        pthread_barrier_wait(&end);
        double wall = 0, cpu = 0;
        for (int i = 0; i < n; i++) {
            wall += readers[i].wall_rate;
            cpu += readers[i].cpu_rate;
        }
        printf("%.2f %.2f\n", 1e-9 * wall, 1e-9 * cpu);
        fflush(stdout);
    }
    return 0;
}
