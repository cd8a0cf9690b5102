/* os: files, the thread pool, processes. */
#include "support/test.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/process.h"
#include "os/thread.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char *temp_dir(void)
{
    static char dir[64];
    snprintf(dir, sizeof dir, "/tmp/anemo-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void files_round_trip(void **state)
{
    (void)state;
    anemo_error err;
    char *dir = temp_dir(), *path = an_path_join(dir, "a/b/file"), *sub = an_path_join(dir, "a/b");
    assert_ok(an_dir_make(sub, &err), &err);
    assert_ok(an_file_write(path, "hello", 5, &err), &err);
    char *text, **names;
    size_t n;
    assert_ok(an_file_read(path, 100, &text, &n, &err), &err);
    assert_int_equal(n, 5);
    assert_string_equal(text, "hello");
    an_free(text);
    assert_fails(an_file_read(path, 4, &text, &n, &err), &err, ANEMO_ERR_FORMAT, "limit of 4");
    assert_fails(an_file_read("/nonexistent", 4, &text, &n, &err), &err, ANEMO_ERR_NOTFOUND, "cannot open");
    an_file_map map;
    assert_ok(an_file_map_open(&map, path, &err), &err);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "hello", 5);
    an_file_unmap(&map);
    assert_fails(an_file_map_open(&map, dir, &err), &err, ANEMO_ERR_INVAL, "regular file");

    an_file_writer w;
    assert_ok(an_file_writer_open(&w, path, &err), &err);
    assert_ok(an_file_writer_put(&w, "partial", 7, &err), &err);
    an_file_writer_close(&w); /* not committed: the old content stays, no temporary is left */
    assert_ok(an_file_read(path, 100, &text, &n, &err), &err);
    assert_string_equal(text, "hello");
    an_free(text);
    assert_ok(an_dir_list(sub, &names, &n, &err), &err);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "file");
    an_names_free(names);
    assert_fails(an_file_write("/dev/full", "x", 1, &err), &err, ANEMO_ERR_NOSPACE, "/dev/full");
    an_free(path);
    an_free(sub);
}

/* A writer whose process was killed leaves its temporary; the next one of the same path takes it away, a living one's never. */
static void leftovers_go(void **state)
{
    (void)state;
    anemo_error err;
    char *dir = an_path_join(temp_dir(), "left"), *path = an_path_join(dir, "file"), *other = an_path_join(dir, "file.tmp-longer");
    char **names;
    size_t n;
    assert_ok(an_dir_make(dir, &err), &err);
    assert_ok(an_file_write(other, "x", 1, &err), &err);
    for (int i = 0; i < 3; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            an_file_writer w;
            if (an_file_writer_open(&w, path, NULL) == ANEMO_OK) kill(getpid(), SIGKILL);
            _exit(1);
        }
        int how;
        assert_int_equal(waitpid(pid, &how, 0), pid);
        assert_true(WIFSIGNALED(how));
        assert_ok(an_dir_list(dir, &names, &n, &err), &err);
        assert_int_equal(n, 2);
        an_names_free(names);
    }
    an_file_writer a, b;
    assert_ok(an_file_writer_open(&a, path, &err), &err);
    assert_ok(an_file_writer_open(&b, path, &err), &err);
    assert_ok(an_file_writer_put(&a, "first", 5, &err), &err);
    assert_ok(an_file_writer_put(&b, "second", 6, &err), &err);
    assert_ok(an_file_writer_commit(&a, &err), &err);
    assert_ok(an_file_writer_commit(&b, &err), &err);
    an_file_writer_close(&a);
    an_file_writer_close(&b);
    assert_ok(an_dir_list(dir, &names, &n, &err), &err);
    assert_int_equal(n, 2);
    assert_string_equal(names[0], "file");
    an_names_free(names);
    an_free(dir);
    an_free(path);
    an_free(other);
}

static void guard_page_follows_the_map(void **state)
{
    (void)state;
    anemo_error err;
    char *path = an_path_join(temp_dir(), "page");
    long page = sysconf(_SC_PAGESIZE);
    char *data = an_calloc(1, (size_t)page);
    assert_ok(an_file_write(path, data, (size_t)page, &err), &err);
    pid_t pid = fork();
    if (pid == 0) {
        an_file_map map;
        signal(SIGSEGV, SIG_DFL);
        if (an_file_map_open(&map, path, &err) != ANEMO_OK) _exit(1);
        volatile unsigned char c = map.data[page];
        _exit(c ? 2 : 3);
    }
    int ws;
    waitpid(pid, &ws, 0);
    /* A sanitizer turns the signal into an exit of its own; either way the read did not succeed. */
    assert_true(WIFSIGNALED(ws) || (WEXITSTATUS(ws) != 2 && WEXITSTATUS(ws) != 3));
    an_free(data);
    an_free(path);
}

typedef struct pool_test {
    _Atomic long sum;
    _Atomic int phase1;
    _Atomic int bad;
    an_pool *pool;
} pool_test;

static void pool_work(void *arg, int thread, int n_thread)
{
    pool_test *t = arg;
    long b, e;
    an_pool_share(1000, 8, thread, n_thread, &b, &e);
    for (long i = b; i < e; i++) atomic_fetch_add(&t->sum, i);
    atomic_fetch_add(&t->phase1, 1);
    an_pool_barrier(t->pool);
    if (atomic_load(&t->phase1) % n_thread != 0) atomic_fetch_add(&t->bad, 1);
    an_pool_barrier(t->pool);
}

enum { ITEMS_MAX = 200000 };
typedef struct take_test {
    an_pool *pool;
    long n, grain, step;
    int slow;                            /* the thread that sleeps before it begins */
    _Atomic int taken[ITEMS_MAX], bad, by_others;
} take_test;

static void take_work(void *arg, int thread, int n_thread)
{
    take_test *t = arg;
    (void)n_thread;
    for (int round = 0; round < 3; round++) {
        if (thread == t->slow && round == 1) an_clock_sleep_ns(2000000);
        an_pool_stage stage = an_pool_begin(t->pool, thread, t->n, t->grain, t->step);
        long own_begin, own_end;
        an_pool_share(t->n, t->grain, thread, n_thread, &own_begin, &own_end);
        for (long b, e; an_pool_take(&stage, &b, &e);) {
            if (b % t->grain != 0 || (e % t->grain != 0 && e != t->n) || b >= e) atomic_fetch_add(&t->bad, 1);
            if (b >= own_end || e <= own_begin) atomic_fetch_add(&t->by_others, 1);
            for (long i = b; i < e; i++) atomic_fetch_add(&t->taken[i], 1);
        }
        an_pool_barrier(t->pool);
    }
}

/* Every item exactly once a stage, whatever the sizes; and the share of a thread that is late is taken by the others. */
static void pool_shares_what_is_left(void **state)
{
    (void)state;
    anemo_error err;
    static const long cases[][3] = {{0, 1, 1}, {1, 1, 1}, {7, 16, 4}, {1000, 16, 4}, {1000, 1, 16}, {ITEMS_MAX, 1, 1}, {4099, 64, 4}};
    static take_test t;
    for (int n_thread = 1; n_thread <= 5; n_thread++) {
        assert_ok(an_pool_open(&t.pool, n_thread, &err), &err);
        for (int c = 0; c < (int)AN_COUNT_OF(cases); c++) {
            t.n = cases[c][0];
            t.grain = cases[c][1];
            t.step = cases[c][2];
            t.slow = c % n_thread;
            memset((void *)t.taken, 0, sizeof t.taken);
            t.by_others = 0;
            an_pool_run(t.pool, take_work, &t);
            for (long i = 0; i < t.n; i++) assert_int_equal(t.taken[i], 3);
            assert_int_equal(t.bad, 0);
            if (n_thread > 1 && t.n > 100) assert_true(t.by_others > 0);
            if (n_thread == 1) assert_int_equal(t.by_others, 0);
        }
        an_pool_close(t.pool);
    }
}

static void pool_runs_every_thread(void **state)
{
    (void)state;
    anemo_error err;
    for (int n = 1; n <= 5; n += 2) {
        pool_test t = {0};
        assert_ok(an_pool_open(&t.pool, n, &err), &err);
        for (int i = 0; i < 300; i++) {
            an_pool_run(t.pool, pool_work, &t);
            if (i % 100 == 0) an_clock_sleep_ns(3000000); /* let the workers fall asleep */
        }
        assert_int_equal(atomic_load(&t.sum), 300L * 999 * 1000 / 2);
        assert_int_equal(atomic_load(&t.bad), 0);
        an_pool_close(t.pool);
    }
    an_pool *pool;
    assert_fails(an_pool_open(&pool, 0, &err), &err, ANEMO_ERR_INVAL, "threads");
}

static void process_talks_and_dies(void **state)
{
    (void)state;
    anemo_error err;
    an_process p;
    const char *const argv[] = {"/bin/sh", "-c", "read a; echo \"$a $X\"; echo bad >&2; kill -SEGV $$", NULL};
    const char *const env[] = {"X=there", NULL};
    assert_ok(an_process_start(&p, argv, env, &err), &err);
    an_process_stat st;
    assert_ok(an_process_stat_read(p.pid, &st, &err), &err);
    assert_true(st.rss_peak_bytes > 0);
    assert_ok(an_process_write(&p, "hello\n", 6, &err), &err);
    assert_true(an_process_wait(&p, 5000000000u));
    char buf[64] = {0};
    assert_int_equal(an_fd_read(p.fd_out, buf, sizeof buf), 12);
    assert_string_equal(buf, "hello there\n");
    assert_int_equal(p.signal, SIGSEGV);
    char name[16];
    an_signal_name(p.signal, name, sizeof name);
    assert_string_equal(name, "SIGSEGV");
    assert_fails(an_process_write(&p, "x", 1, &err), &err, ANEMO_ERR_ENGINE, "no longer reads");
    an_process_close(&p);
    const char *const none[] = {"anemo-no-such-program", NULL};
    assert_fails(an_process_start(&p, none, NULL, &err), &err, ANEMO_ERR_NOTFOUND, "no-such-program");
}

static void machine_is_described(void **state)
{
    (void)state;
    char text[256];
    an_cpu_isa_names(an_cpu_isa(), text, sizeof text);
    assert_true(strlen(text) > 0);
    assert_true(an_cpu_online() >= 1 && an_cpu_usable() >= 1);
    assert_true(an_mem_total_bytes() > 0 && an_mem_available_bytes() > 0);
    char now[21];
    an_clock_rfc3339(0, now);
    assert_string_equal(now, "1970-01-01T00:00:00Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_round_trip),       cmocka_unit_test(leftovers_go),
        cmocka_unit_test(guard_page_follows_the_map),
        cmocka_unit_test(pool_runs_every_thread),
        cmocka_unit_test(pool_shares_what_is_left), cmocka_unit_test(process_talks_and_dies),
        cmocka_unit_test(machine_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
