/*
 * The thread pool: n threads that run one function together, fork-join. Workers spin for a short while between
 * calls (a token is thousands of calls), then sleep, so that an idle session takes no CPU.
 */
#ifndef AN_OS_THREAD_H
#define AN_OS_THREAD_H

#include "base/error.h"

#include <stdbool.h>

typedef struct an_pool an_pool;

/* n_thread 1..1024; the calling thread is one of them. Gives *out: an_pool_close. */
ANEMO_MUST_CHECK anemo_status an_pool_open(an_pool **out, int n_thread, anemo_error *err);
/* The same, but its threads sleep as soon as they have nothing to do: for work between measurements. */
ANEMO_MUST_CHECK anemo_status an_pool_open_idle(an_pool **out, int n_thread, anemo_error *err);
void an_pool_close(an_pool *pool); /* NULL is fine */

/*
 * Keep each thread on a CPU of its own, of those that the caller may use now, in the order of an_cpu_order(): the calling
 * thread during an_pool_run() only, the others from now on. False, and nothing is promised, when there are fewer CPUs than
 * threads or the system refuses.
 */
bool an_pool_pin(an_pool *pool);

int an_pool_n_thread(const an_pool *pool);

/* Run fn(arg, thread, n_thread) on every thread, thread = 0..n-1, and wait for all. One caller at a time. */
typedef void (*an_pool_fn)(void *arg, int thread, int n_thread);
void an_pool_run(an_pool *pool, an_pool_fn fn, void *arg);

/* Inside fn: wait until all threads of the pool are here. */
void an_pool_barrier(an_pool *pool);

/* The share [*begin, *end) of n items that `thread` takes, in multiples of `grain` (> 0). */
void an_pool_share(long n, long grain, int thread, int n_thread, long *begin, long *end);

/*
 * A stage whose items the threads share as they get to them: each takes from the front of its own share (an_pool_share's), less
 * and less at a time, and when that is over from the end of what another has left. Inside fn: every thread begins the same stages
 * in the same order, with a barrier between one and the next, and takes until there is nothing left.
 * Pieces begin and end at multiples of `grain` items (and at n); those of `step` grains or more are whole steps.
 */
typedef struct an_pool_stage {
    an_pool *pool;
    long n, grain, step;
    int thread;
    unsigned number;
} an_pool_stage;
an_pool_stage an_pool_begin(an_pool *pool, int thread, long n, long grain, long step);
/* The next piece [*begin, *end), not empty; or false. */
bool an_pool_take(const an_pool_stage *stage, long *begin, long *end);

/* A lock between threads. NULL when out of memory. */
typedef struct an_mutex an_mutex;
an_mutex *an_mutex_open(void);
void an_mutex_close(an_mutex *m); /* NULL is fine; nobody holds it */
void an_mutex_lock(an_mutex *m);
void an_mutex_unlock(an_mutex *m);

#endif
