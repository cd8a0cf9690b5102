/*
 * Speed of products of few tokens by weights in panels, beside what reading the same bytes alone takes: both again and
 * again in turn, on one thread and on two, from the second-level cache and from memory.
 */
#include "kernels/kcheck.h"

#include "kernels/panels.h"
#include "kernels/peak.h"
#include "os/clock.h"

#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { N_COL = 4096, ROUNDS = 15, THREADS = 2 };

typedef struct team {
    const an_kernels *k;
    const an_weight *w;
    const an_act *a;
    float *out;
    bool stream; /* only read */
    int n_thread, n_repeat;
    pthread_barrier_t start, end;
    uint32_t sink;
} team;

typedef struct member {
    team *all;
    int index;
} member;

static void work(const member *m)
{
    team *all = m->all;
    int64_t n_panel = all->w->n_row / 16;
    int64_t begin = n_panel * m->index / all->n_thread * 16, end = n_panel * (m->index + 1) / all->n_thread * 16;
    const uint8_t *data = all->w->data;
    for (int i = 0; i < all->n_repeat; i++) {
        if (all->stream) {
            uint64_t from = an_panels_offset(all->w, begin), n = an_panels_offset(all->w, end) - from;
            all->sink ^= an_peak_read(all->k, data + from, n / AN_PEAK_READ_BYTES * AN_PEAK_READ_BYTES);
        } else {
            an_matmul_rows(all->k, all->w, all->a, all->out, (size_t)all->w->n_row, begin, end, false, NULL);
        }
    }
}

static void *member_main(void *arg)
{
    const member *m = arg;
    pthread_barrier_wait(&m->all->start);
    work(m);
    pthread_barrier_wait(&m->all->end);
    return NULL;
}

/* Seconds that the team takes for one pass. */
static double timed(team *all)
{
    pthread_t threads[THREADS];
    member members[THREADS];
    pthread_barrier_init(&all->start, NULL, (unsigned)all->n_thread);
    pthread_barrier_init(&all->end, NULL, (unsigned)all->n_thread);
    for (int i = 0; i < all->n_thread; i++) members[i] = (member){all, i};
    for (int i = 1; i < all->n_thread; i++) pthread_create(&threads[i], NULL, member_main, &members[i]);
    pthread_barrier_wait(&all->start);
    uint64_t begin = an_clock_ns();
    work(&members[0]);
    pthread_barrier_wait(&all->end);
    double t = (double)(an_clock_ns() - begin) * 1e-9 / all->n_repeat;
    for (int i = 1; i < all->n_thread; i++) pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all->start);
    pthread_barrier_destroy(&all->end);
    return t;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void bench_case(team *all, const char *name, const char *where, int n_tok)
{
    kcheck c = {.k = all->k, .op = "bench"};
    an_rng_seed(&c.rng, 2);
    test_act t = act_make(&c, AN_COMPUTE_Q8, all->w, n_tok, 0);
    all->a = &t.a;
    double bytes = (double)an_panels_bytes(all->w), product[ROUNDS], ratio[ROUNDS], stream[ROUNDS];
    all->n_repeat = bytes < 2e6 ? 40 : 1;
    int n_round = n_tok < 8 ? ROUNDS : 7;
    for (int i = 0; i < n_round; i++) {
        all->stream = true;
        stream[i] = timed(all);
        all->stream = false;
        product[i] = timed(all);
        ratio[i] = stream[i] / product[i];
    }
    act_free(&t);
    qsort(product, (size_t)n_round, sizeof *product, by_value);
    qsort(stream, (size_t)n_round, sizeof *stream, by_value);
    qsort(ratio, (size_t)n_round, sizeof *ratio, by_value);
    double ops = 2.0 * (double)all->w->n_row * N_COL * n_tok, median = product[n_round / 2];
    printf("%-10s fused %-8s %-5s %d threads %2d tokens: %6.1f GB/s %6.1f Gop/s, stream %6.1f GB/s, "
           "ratio %3.0f %% (%.0f-%.0f)\n",
           all->k->name, name, where, all->n_thread, n_tok, bytes / median * 1e-9, ops / median * 1e-9,
           bytes / stream[n_round / 2] * 1e-9, 100 * ratio[n_round / 2], 100 * ratio[n_round / 4],
           100 * ratio[3 * n_round / 4]);
}

/* A weight without panels has nothing to show here, nor a level that always unpacks them. */
static void bench_fused(const an_kernels *k, an_dtype type, an_affine affine, const char *name)
{
    enum { ROWS = 512 };
    if (!(type == AN_DTYPE_AFFINE ? k->fused_affine[affine.bits] : k->fused[type])) return;
    kcheck c = {.k = k, .op = "bench"};
    an_rng_seed(&c.rng, 1);
    test_weight t = weight_make(&c, type, affine, ROWS, N_COL, 0, false);
    size_t piece = (size_t)an_panels_bytes(&t.w), n_piece = piece ? ((size_t)192 << 20) / piece : 0, huge = (size_t)2 << 20;
    for (int pages = 0; piece && pages < 2; pages++) {
        uint8_t *map = mmap(NULL, n_piece * piece + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint8_t *panels = map + (huge - (uintptr_t)map % huge) % huge;
        madvise(panels, n_piece * piece, pages ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
        double write = 1e9;
        for (int i = 0; i < 8; i++) {
            uint64_t begin = an_clock_ns();
            an_panels_write(k, &t.w, panels, 0, ROWS);
            double s = (double)(an_clock_ns() - begin) * 1e-9;
            if (s < write) write = s;
        }
        if (!pages) printf("%-10s write %-8s %.2f GB/s from the cache\n", k->name, name, (double)piece / write * 1e-9);
        for (size_t i = 1; i < n_piece; i++) memcpy(panels + i * piece, panels, piece);
        an_weight w = an_panels_view(&t.w, panels), few = w;
        w.n_row = (int64_t)n_piece * ROWS;
        few.n_row = 192;
        team all = {.k = k, .out = malloc((size_t)w.n_row * 16 * 4)};
        memset(all.out, 0, (size_t)w.n_row * 16 * 4);
        for (all.n_thread = 1; all.n_thread <= THREADS; all.n_thread++)
            for (int n_tok = 1; n_tok <= 16; n_tok *= 2) {
                if (pages && n_tok > 1) continue;
                all.w = &w;
                bench_case(&all, name, pages ? "RAM4k" : "RAM", n_tok);
                all.w = &few;
                if (!pages && all.n_thread == 1) bench_case(&all, name, "L2", n_tok);
            }
        free(all.out);
        munmap(map, n_piece * piece + huge);
    }
    weight_free(&t);
}

void bench_fused_run(const an_kernels *k, const char *pattern)
{
    for (int type = AN_DTYPE_Q4_0; type < AN_DTYPE_AFFINE; type++)
        if (!fnmatch(pattern, an_dtype_get((an_dtype)type)->name, 0))
            bench_fused(k, (an_dtype)type, (an_affine){0}, an_dtype_get((an_dtype)type)->name);
    for (int bits = 2; bits <= 8; bits++) {
        char name[32];
        snprintf(name, sizeof name, "affine%d", bits);
        if (bits != 7 && !fnmatch(pattern, name, 0))
            bench_fused(k, AN_DTYPE_AFFINE, (an_affine){.bits = bits, .group = 64, .scale_dtype = AN_DTYPE_F16}, name);
        for (int group = 32; group <= 128; group *= 2) {
            snprintf(name, sizeof name, "affine%d_%d", bits, group);
            if (bits == 7 || fnmatch(pattern, name, 0) || !strchr(pattern, '_')) continue;
            bench_fused(k, AN_DTYPE_AFFINE, (an_affine){.bits = bits, .group = group, .scale_dtype = AN_DTYPE_F16}, name);
        }
    }
    for (int i = 0; i < FP_MODES; i++) {
        const char *name = an_dtype_get(fp_modes[i].type)->name;
        if (!fnmatch(pattern, name, 0)) bench_fused(k, fp_modes[i].type, fp_modes[i].affine, name);
    }
}
