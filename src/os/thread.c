/* The thread pool on pthreads. */
#include "os/thread.h"

#include "base/alloc.h"
#include "os/cpu.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define CPU_RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define CPU_RELAX() __asm__ volatile("yield")
#else
#define CPU_RELAX() ((void)0)
#endif

/* About 50-100 us of spinning: longer than the gaps inside a token, shorter than a pause a person notices. */
enum { SPINS = 20000, THREADS_MAX = 1024 };

/* At a barrier the others are microseconds away unless they were put off their CPU; yielding costs little then. */
enum { BARRIER_SPINS = 2000 };

/*
 * What is gone of one thread's share of a stage: the stage's number in the upper half; below, how many grains have been taken
 * from its front and how many from its end, 16 bits each. A cell of an older stage has its whole share left: so nobody has to
 * wait until its owner begins. Two cache lines each, as processors fetch them in pairs.
 */
typedef struct cell {
    _Atomic uint64_t taken;
    uint32_t stage; /* the last one that the owner began */
    uint8_t pad[128 - 12];
} cell;
enum { CELL_GRAINS_MAX = 65535 };

struct an_pool {
    cell *cells;
    int n_thread;
    int n_started;
    int spins; /* before a waiter gives up its CPU */
    int caller_cpu; /* where the calling thread stays during a run; -1: anywhere */
    pthread_t *threads;
    an_pool_fn fn;
    void *arg;
    _Atomic unsigned epoch;   /* one more for each an_pool_run */
    _Atomic int running;      /* workers that have not finished this epoch */
    _Atomic int sleepers;     /* workers blocked on `wake` */
    _Atomic bool stop;
    _Atomic int barrier_count;
    _Atomic unsigned barrier_epoch;
    pthread_mutex_t lock;
    pthread_cond_t wake;
};

typedef struct worker_arg {
    an_pool *pool;
    int thread;
} worker_arg;

/* Wait for an epoch other than `seen`: spin first, then sleep. */
static unsigned wait_epoch(an_pool *pool, unsigned seen)
{
    for (int i = 0; i < pool->spins; i++) {
        unsigned e = atomic_load_explicit(&pool->epoch, memory_order_acquire);
        if (e != seen) return e;
        CPU_RELAX();
    }
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    unsigned e;
    while ((e = atomic_load(&pool->epoch)) == seen) pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
    return e;
}

static void *worker_main(void *p)
{
    worker_arg w = *(worker_arg *)p;
    an_free(p);
    unsigned seen = 0;
    for (;;) {
        seen = wait_epoch(w.pool, seen);
        if (atomic_load(&w.pool->stop)) return NULL;
        w.pool->fn(w.pool->arg, w.thread, w.pool->n_thread);
        atomic_fetch_sub_explicit(&w.pool->running, 1, memory_order_release);
    }
}

/* Publish a new epoch. Sequentially consistent with the sleepers' count, so that no wake-up is lost. */
static void next_epoch(an_pool *pool)
{
    atomic_fetch_add(&pool->epoch, 1);
    if (atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

static anemo_status open_pool(an_pool **out, int n_thread, int spins, anemo_error *err)
{
    if (n_thread < 1 || n_thread > THREADS_MAX)
        return an_fail(err, ANEMO_ERR_INVAL, "threads must be 1 to %d, not %d", THREADS_MAX, n_thread);
    an_pool *pool = an_calloc(1, sizeof *pool);
    if (!pool) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the thread pool");
    pool->n_thread = n_thread;
    pool->spins = spins;
    pool->caller_cpu = -1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = an_calloc((size_t)n_thread, sizeof *pool->threads);
    pool->cells = an_malloc_aligned((size_t)n_thread * sizeof *pool->cells);
    if (pool->cells) memset(pool->cells, 0, (size_t)n_thread * sizeof *pool->cells);
    for (int i = 1; pool->threads && pool->cells && i < n_thread; i++) {
        worker_arg *w = an_malloc(sizeof *w);
        if (!w) break;
        *w = (worker_arg){.pool = pool, .thread = i};
        int rc = pthread_create(&pool->threads[i], NULL, worker_main, w);
        if (rc != 0) {
            an_free(w);
            an_pool_close(pool);
            return an_fail(err, ANEMO_ERR_NOMEM, "cannot start thread %d of %d: %s", i + 1, n_thread,
                           strerror(rc));
        }
        pool->n_started++;
    }
    if (!pool->threads || !pool->cells || pool->n_started != n_thread - 1) {
        an_pool_close(pool);
        return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the thread pool");
    }
    *out = pool;
    return ANEMO_OK;
}

anemo_status an_pool_open(an_pool **out, int n_thread, anemo_error *err)
{
    /* With more threads than CPUs, whoever is waited for needs the CPU that a spinning waiter would keep. */
    return open_pool(out, n_thread, n_thread <= an_cpu_usable() ? SPINS : 0, err);
}

anemo_status an_pool_open_idle(an_pool **out, int n_thread, anemo_error *err)
{
    return open_pool(out, n_thread, 0, err);
}

void an_pool_close(an_pool *pool)
{
    if (!pool) return;
    atomic_store(&pool->stop, true);
    next_epoch(pool);
    for (int i = 1; i <= pool->n_started; i++) pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    an_free(pool->threads);
    an_free_aligned(pool->cells);
    an_free(pool);
}

static bool keep_on(pthread_t thread, int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

bool an_pool_pin(an_pool *pool)
{
    int *cpus = an_calloc((size_t)pool->n_thread, sizeof *cpus);
    int n = cpus ? an_cpu_order(cpus, pool->n_thread) : 0;
    bool pinned = n == pool->n_thread;
    for (int i = 1; pinned && i < n; i++) pinned = keep_on(pool->threads[i], cpus[i]);
    if (pinned) pool->caller_cpu = cpus[0];
    an_free(cpus);
    return pinned;
}

int an_pool_n_thread(const an_pool *pool)
{
    return pool->n_thread;
}

static void run_all(an_pool *pool, an_pool_fn fn, void *arg)
{
    if (pool->n_thread == 1) {
        fn(arg, 0, 1);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->running, pool->n_thread - 1);
    next_epoch(pool);
    fn(arg, 0, pool->n_thread);
    /* Workers run the same amount of work, so this wait is short: yield only if it is not. */
    for (int i = 0; atomic_load_explicit(&pool->running, memory_order_acquire) > 0; i++) {
        if (i < pool->spins)
            CPU_RELAX();
        else
            sched_yield();
    }
}

void an_pool_run(an_pool *pool, an_pool_fn fn, void *arg)
{
    /* The caller is our host's thread: where it may run is changed for this call alone (three short system calls). */
    cpu_set_t before;
    bool moved = pool->caller_cpu >= 0 && sched_getaffinity(0, sizeof before, &before) == 0 &&
                 keep_on(pthread_self(), pool->caller_cpu);
    run_all(pool, fn, arg);
    if (moved) sched_setaffinity(0, sizeof before, &before);
}

void an_pool_barrier(an_pool *pool)
{
    if (pool->n_thread == 1) return;
    unsigned e = atomic_load(&pool->barrier_epoch);
    if (atomic_fetch_add(&pool->barrier_count, 1) == pool->n_thread - 1) {
        atomic_store(&pool->barrier_count, 0);
        atomic_fetch_add(&pool->barrier_epoch, 1);
        return;
    }
    for (int i = 0; atomic_load_explicit(&pool->barrier_epoch, memory_order_acquire) == e; i++) {
        if (i < BARRIER_SPINS && pool->spins > 0)
            CPU_RELAX();
        else
            sched_yield();
    }
}

void an_pool_share(long n, long grain, int thread, int n_thread, long *begin, long *end)
{
    long units = (n + grain - 1) / grain;
    long b = units * thread / n_thread * grain, e = units * (thread + 1) / n_thread * grain;
    *begin = b < n ? b : n;
    *end = e < n ? e : n;
}

an_pool_stage an_pool_begin(an_pool *pool, int thread, long n, long grain, long step)
{
    while ((n + grain - 1) / grain / pool->n_thread >= CELL_GRAINS_MAX) grain *= 2;
    return (an_pool_stage){pool, n, grain, step, thread, ++pool->cells[thread].stage};
}

/* Of `left` grains, those that the owner takes next: a quarter, in whole steps as long as there are such. */
static long piece_of(const an_pool_stage *s, long left)
{
    enum { PART = 4 };
    long n = s->pool->n_thread == 1 ? left : (left + PART - 1) / PART;
    return n > s->step ? n / s->step * s->step : n;
}

/* A piece of the share of thread `of`: from the front for its owner, and half of what is left, the end, for another. */
static bool take_from(const an_pool_stage *s, int of, long *begin, long *end)
{
    _Atomic uint64_t *gone = &s->pool->cells[of].taken;
    long from, to;
    an_pool_share(s->n, s->grain, of, s->pool->n_thread, &from, &to);
    long size = (to - from + s->grain - 1) / s->grain;
    uint64_t now = atomic_load_explicit(gone, memory_order_relaxed), then;
    do {
        bool fresh = now >> 32 != s->number;
        long front = fresh ? 0 : (long)(now >> 16 & 0xFFFF), back = fresh ? 0 : (long)(now & 0xFFFF);
        long left = size - front - back, n = of == s->thread ? piece_of(s, left) : (left + 1) / 2;
        if (left == 0 && !(fresh && of == s->thread)) return false;
        *begin = from + (of == s->thread ? front : size - back - n) * s->grain;
        *end = *begin + n * s->grain;
        if (of == s->thread) front += n;
        else back += n;
        then = (uint64_t)s->number << 32 | (uint64_t)front << 16 | (uint64_t)back;
    } while (!atomic_compare_exchange_weak_explicit(gone, &now, then, memory_order_relaxed, memory_order_relaxed));
    if (*end > to) *end = to;
    return *begin < *end;
}

bool an_pool_take(const an_pool_stage *s, long *begin, long *end)
{
    enum { OTHERS = 4 }; /* looked at: each costs a line from another core, and a stage of many threads is short */
    int n_thread = s->pool->n_thread, n = n_thread <= OTHERS ? n_thread : OTHERS + 1;
    for (int i = 0; i < n; i++)
        if (take_from(s, (s->thread + i) % n_thread, begin, end)) return true;
    return false;
}

struct an_mutex {
    pthread_mutex_t lock;
};

an_mutex *an_mutex_open(void)
{
    an_mutex *m = an_calloc(1, sizeof *m);
    if (m) pthread_mutex_init(&m->lock, NULL);
    return m;
}

void an_mutex_close(an_mutex *m)
{
    if (!m) return;
    pthread_mutex_destroy(&m->lock);
    an_free(m);
}

void an_mutex_lock(an_mutex *m)
{
    pthread_mutex_lock(&m->lock);
}

void an_mutex_unlock(an_mutex *m)
{
    pthread_mutex_unlock(&m->lock);
}
