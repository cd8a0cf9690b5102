/*
 * How fast this machine reads as many bytes as a model has, on the pages that its weights have: the ceiling of
 * decoding.
 *
 *   stream_read THREADS FILE…       the files' own pages, mapped as the engine maps them
 *   stream_read THREADS BYTES       memory of our own, on huge pages where the system gives them
 *   stream_read THREADS peaks       arithmetic instead: the loops of kernels/peak.h
 *
 * Four variants of the read kernel: each thread one run of bytes or blocks dealt in turn, with and without prefetches
 * of our own. Which of them is best differs between processors and between hosts of one processor. A first pass,
 * which brings the pages in, is not timed; then each variant reads everything, again and again while that takes
 * little time, and its figure is its best pass. BYTES beyond a gigabyte are read from a gigabyte of memory, which is
 * far more than any cache. Prints one JSON object; bandwidths are bytes per second, peaks operations per second.
 */
#include "base/alloc.h"
#include "bench/probe.h"
#include "kernels/peak.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "os/memory.h"
#include "os/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK = 4096,       /* bytes between two rounds of prefetches */
    BLOCK = 256 << 10,  /* what is dealt in turn */
    AHEAD = 2 * CHUNK,  /* of the prefetches */
    SPANS_MAX = 64,
    N_VARIANT = 4,
};

static const uint64_t VARIANT_NS = 60000000, MEMORY_MAX = 1u << 30;
static const char *const NAMES[N_VARIANT] = {"runs", "runs_prefetch", "dealt", "dealt_prefetch"};

typedef struct span {
    const uint8_t *data; /* aligned to 64 bytes */
    uint64_t n_block;    /* whole blocks; what is left over at a file's end is not read */
} span;

typedef struct stream {
    const an_kernels *kernels;
    span spans[SPANS_MAX];
    int n_span, n_round; /* rounds over the spans that make one pass */
    bool dealt, prefetch;
    uint32_t sums[1024];
} stream;

static uint32_t read_block(const stream *s, const uint8_t *at)
{
    if (!s->prefetch) return an_peak_read(s->kernels, at, BLOCK);
    uint32_t sum = 0;
    for (size_t i = 0; i < BLOCK; i += CHUNK) {
        for (size_t line = 0; line < CHUNK && i + AHEAD < BLOCK; line += 64)
            __builtin_prefetch(at + i + AHEAD + line, 0, 3);
        sum ^= an_peak_read(s->kernels, at + i, CHUNK);
    }
    return sum;
}

static void read_part(void *arg, int thread, int n_thread)
{
    stream *s = arg;
    uint32_t sum = 0;
    for (int i = 0; i < s->n_span * s->n_round; i++) {
        const span *p = &s->spans[i % s->n_span];
        long begin, end;
        an_pool_share((long)p->n_block, 1, thread, n_thread, &begin, &end);
        if (s->dealt)
            for (uint64_t b = (uint64_t)thread; b < p->n_block; b += (uint64_t)n_thread)
                sum ^= read_block(s, p->data + b * BLOCK);
        else
            for (long b = begin; b < end; b++) sum ^= read_block(s, p->data + (size_t)b * BLOCK);
    }
    s->sums[thread] = sum;
}

/* Each thread writes what it will read in runs, so that the memory lies on the node of the thread. */
static void fill_part(void *arg, int thread, int n_thread)
{
    const span *p = arg;
    long begin, end;
    an_pool_share((long)p->n_block, 1, thread, n_thread, &begin, &end);
    memset((void *)(uintptr_t)(p->data + (size_t)begin * BLOCK), 0x5A + thread % 64, (size_t)(end - begin) * BLOCK);
}

static uint64_t total_bytes(const stream *s)
{
    uint64_t n = 0;
    for (int i = 0; i < s->n_span; i++) n += s->spans[i].n_block * BLOCK;
    return n * (uint64_t)s->n_round;
}

/* Bytes per second of the best pass. */
static double measure(stream *s, an_pool *pool, int variant)
{
    double best = 0;
    s->dealt = variant >= 2;
    s->prefetch = variant % 2;
    uint64_t first = an_clock_ns();
    while (best == 0 || an_clock_ns() - first < VARIANT_NS) {
        uint64_t begin = an_clock_ns();
        an_pool_run(pool, read_part, s);
        double bps = (double)total_bytes(s) / ((double)(an_clock_ns() - begin) * 1e-9);
        if (bps > best) best = bps;
    }
    return best;
}

static void print_streams(stream *s, an_pool *pool, const char *pages)
{
    double best = 0;
    an_pool_run(pool, read_part, s);
    printf("{\"threads\": %d, \"bytes\": %llu, \"pages\": \"%s\", \"variants\": {", an_pool_n_thread(pool),
           (unsigned long long)total_bytes(s), pages);
    for (int i = 0; i < N_VARIANT; i++) {
        double bps = measure(s, pool, i);
        if (bps > best) best = bps;
        printf("%s\"%s\": %.0f", i ? ", " : "", NAMES[i], bps);
    }
    printf("}, \"stream_bps\": %.0f}\n", best);
}

static anemo_status stream_memory(stream *s, an_pool *pool, const char *bytes, anemo_error *err)
{
    uint64_t n = strtoull(bytes, NULL, 10) / BLOCK * BLOCK;
    if (n == 0) return an_fail(err, ANEMO_ERR_INVAL, "expected files, or at least %d bytes, not '%s'", BLOCK, bytes);
    s->n_round = (int)((n + MEMORY_MAX - 1) / MEMORY_MAX);
    uint64_t size = n / (uint64_t)s->n_round / BLOCK * BLOCK;
    uint8_t *p = an_malloc_aligned(size);
    if (!p) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for %llu bytes", (unsigned long long)size);
    an_mem_huge_pages(p, size);
    s->spans[s->n_span++] = (span){p, size / BLOCK};
    an_pool_run(pool, fill_part, &s->spans[0]);
    print_streams(s, pool, "huge");
    an_free_aligned(p);
    return ANEMO_OK;
}

static anemo_status stream_files(stream *s, an_pool *pool, char **paths, int n, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_file_map maps[SPANS_MAX] = {0};
    int n_map = 0;
    if (n > SPANS_MAX) return an_fail(err, ANEMO_ERR_INVAL, "%d files, at most %d", n, SPANS_MAX);
    for (; n_map < n; n_map++) {
        AN_TRY(an_file_map_open(&maps[n_map], paths[n_map], err));
        s->spans[s->n_span++] = (span){maps[n_map].data, maps[n_map].size / BLOCK};
    }
    if (total_bytes(s) == 0) {
        status = an_fail(err, ANEMO_ERR_INVAL, "%s: less than %d bytes, nothing to read", paths[0], BLOCK);
        goto cleanup;
    }
    print_streams(s, pool, "file");
cleanup:
    while (n_map) an_file_unmap(&maps[--n_map]);
    return status;
}

static anemo_status print_peaks(int n_thread, anemo_error *err)
{
    an_probe *p;
    anemo_status status = an_probe_open(&p, n_thread, err);
    if (status != ANEMO_OK) return status;
    double tiles = an_probe_peak_ops(p, AN_PROBE_BF16_TILES);
    printf("{\"threads\": %d, \"i8_ops\": %.0f, \"f32_ops\": %.0f", n_thread, an_probe_peak_ops(p, AN_PROBE_I8),
           an_probe_peak_ops(p, AN_PROBE_F32));
    if (tiles > 0) printf(", \"bf16_tile_ops\": %.0f", tiles);
    printf("}\n");
    an_probe_close(p);
    return ANEMO_OK;
}

int main(int argc, char **argv)
{
    static stream s;
    anemo_error err = {0};
    anemo_status status;
    an_pool *pool = NULL;
    int n_thread = argc > 2 ? atoi(argv[1]) : 0;
    if (n_thread < 1 || n_thread > 1024) {
        fprintf(stderr, "usage: %s THREADS FILE… | BYTES | peaks\n", argv[0]);
        return 2;
    }
    if (!strcmp(argv[2], "peaks")) {
        status = print_peaks(n_thread, &err);
        goto cleanup;
    }
    s.kernels = an_kernels_for(an_cpu_isa());
    s.n_round = 1;
    AN_TRY(an_pool_open(&pool, n_thread, &err));
    if (an_path_probe(argv[2]) == AN_PATH_FILE) status = stream_files(&s, pool, argv + 2, argc - 2, &err);
    else status = stream_memory(&s, pool, argv[2], &err);
cleanup:
    an_pool_close(pool);
    if (status == ANEMO_OK) return 0;
    fprintf(stderr, "stream_read: %s\n", err.message);
    return anemo_status_exit_code(status);
}
