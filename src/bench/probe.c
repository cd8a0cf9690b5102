/* The probes: threads of our own that sleep between samples, and a buffer for them to read. */
#include "bench/probe.h"

#include "base/alloc.h"
#include "kernels/peak.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/machine.h"
#include "os/memory.h"
#include "os/thread.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    BLOCK = 256 << 10, /* bytes between two looks at the clock: some 10 us */
    STEPS = 8192,      /* of arithmetic between two looks: some 20 us */
    N_PEAK_READ = 60,
    N_PEAK_OPS = 40,
};

static const uint64_t MIN_BYTES = 64u << 20, MAX_BYTES = 1u << 30, SAMPLE_NS = 10000000;

/* Peaks are the best of many short samples: where other work takes turns with ours, some lie within one turn. */
static const uint64_t PEAK_NS = 5000000;

/* One thread's part, on cache lines of its own. */
typedef struct probe_part {
    uint8_t *data;
    size_t bytes, at; /* multiples of BLOCK */
    uint64_t done;    /* of the last sample: bytes or operations, and its time */
    uint64_t begin_ns, end_ns;
    uint32_t sum;     /* keeps what was computed in use */
    char gap[76];
} probe_part;

struct an_probe {
    an_pool *pool;
    const an_kernels *kernels;
    uint8_t *buffer;
    probe_part *parts; /* [n_thread] */
    int n_thread;
    uint64_t ns; /* of the sample that is being taken */
    an_probe_flavour flavour;
    atomic_bool over; /* somebody's time is up */
    int8_t codes[AN_PEAK_CODES];
    uint8_t weights[AN_PEAK_WEIGHTS];
    float starts[AN_PEAK_STARTS];
};

/* Beyond what the caches of n_thread CPUs hold, but never more than a sixteenth of what memory is free. */
static uint64_t buffer_bytes(int n_thread)
{
    an_machine m;
    an_machine_read(&m, "");
    uint64_t each = m.last_bytes, all = m.last_total_bytes, free_bytes = an_mem_available_bytes();
    uint64_t cached = each * (uint64_t)n_thread < all ? each * (uint64_t)n_thread : all, want = 4 * cached;
    if (want < MIN_BYTES) want = MIN_BYTES;
    if (want > MAX_BYTES) want = MAX_BYTES;
    if (free_bytes && want > free_bytes / 16) want = free_bytes / 16;
    return want;
}

/* Each thread writes its part, so that it has memory of the thread's own node and is not the page of zeros. */
static void fill_part(void *arg, int thread, int n_thread)
{
    an_probe *p = arg;
    (void)n_thread;
    memset(p->parts[thread].data, 0x5A + thread % 64, p->parts[thread].bytes);
}

anemo_status an_probe_open(an_probe **out, int n_thread, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    an_probe *p = an_calloc(1, sizeof *p);
    if (!p) return an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the bandwidth probe");
    AN_TRY(an_pool_open_idle(&p->pool, n_thread, err));
    p->n_thread = n_thread;
    p->kernels = an_kernels_for(an_cpu_isa());
    p->parts = an_malloc_aligned((size_t)n_thread * sizeof *p->parts);
    size_t each = (size_t)(buffer_bytes(n_thread) / (uint64_t)n_thread / BLOCK) * BLOCK;
    if (each == 0) each = BLOCK;
    while (!(p->buffer = an_malloc_aligned(each * (size_t)n_thread)) && each > BLOCK) each = each / 2 / BLOCK * BLOCK;
    if (!p->parts || !p->buffer) {
        status = an_fail(err, ANEMO_ERR_NOMEM, "out of memory for the bandwidth probe: %zu bytes for each of %d threads", each,
                         n_thread);
        goto cleanup;
    }
    an_mem_huge_pages(p->buffer, each * (size_t)n_thread);
    for (int i = 0; i < n_thread; i++) p->parts[i] = (probe_part){.data = p->buffer + (size_t)i * each, .bytes = each};
    for (int i = 0; i < AN_PEAK_CODES; i++) p->codes[i] = (int8_t)(i * 37 % 255 - 127);
    for (int i = 0; i < AN_PEAK_WEIGHTS; i++) p->weights[i] = (uint8_t)(i % 3 == 0);
    for (int i = 0; i < AN_PEAK_STARTS; i++) p->starts[i] = (float)i;
    an_pool_run(p->pool, fill_part, p);
    *out = p;
cleanup:
    if (status != ANEMO_OK) an_probe_close(p);
    return status;
}

void an_probe_close(an_probe *p)
{
    if (!p) return;
    an_pool_close(p->pool);
    an_free_aligned(p->buffer);
    an_free_aligned(p->parts);
    an_free(p);
}

/* One step of a thread's work. Returns the bytes that it read, or the operations that it did. */
typedef uint64_t step_fn(an_probe *p, probe_part *part);

static uint64_t read_step(an_probe *p, probe_part *part)
{
    part->sum ^= an_peak_read(p->kernels, part->data + part->at, BLOCK);
    part->at = part->at + BLOCK < part->bytes ? part->at + BLOCK : 0;
    return BLOCK;
}

static uint64_t compute_step(an_probe *p, probe_part *part)
{
    uint32_t sum;
    float value;
    uint64_t done;
    if (p->flavour == AN_PROBE_I8) done = an_peak_i8(p->kernels, STEPS, p->codes, p->weights, &sum);
    else {
        if (p->flavour == AN_PROBE_BF16_TILES) done = an_peak_bf16(p->kernels, STEPS, &value);
        else done = an_peak_f32(p->kernels, STEPS, p->starts, 0.5f, 1.0f, &value);
        sum = (uint32_t)value;
    }
    part->sum ^= sum;
    return done;
}

/*
 * Threads begin together and end when the first one's time is up: one that was put off its CPU did less in that time, and a late
 * one does not count as if it had run beside the others.
 */
static void work(an_probe *p, probe_part *part, step_fn *step)
{
    uint64_t done = 0, now, begin;
    an_pool_barrier(p->pool);
    begin = an_clock_ns();
    do {
        done += step(p, part);
        now = an_clock_ns();
    } while (now - begin < p->ns && !atomic_load_explicit(&p->over, memory_order_relaxed));
    atomic_store_explicit(&p->over, true, memory_order_relaxed);
    part->done = done;
    part->begin_ns = begin;
    part->end_ns = now;
}

static void read_part(void *arg, int thread, int n_thread)
{
    an_probe *p = arg;
    (void)n_thread;
    work(p, &p->parts[thread], read_step);
}

static void compute_part(void *arg, int thread, int n_thread)
{
    an_probe *p = arg;
    (void)n_thread;
    work(p, &p->parts[thread], compute_step);
}

static double sample(an_probe *p, an_pool_fn fn, uint64_t ns)
{
    uint64_t done = 0, begin = UINT64_MAX, end = UINT64_MAX;
    p->ns = ns;
    atomic_store(&p->over, false);
    an_pool_run(p->pool, fn, p);
    for (int i = 0; i < p->n_thread; i++) {
        const probe_part *part = &p->parts[i];
        done += part->done;
        if (part->begin_ns < begin) begin = part->begin_ns;
        if (part->end_ns < end) end = part->end_ns;
    }
    return (double)done / ((double)(end - begin) * 1e-9);
}

double an_probe_bandwidth(an_probe *p, uint64_t ns)
{
    return sample(p, read_part, ns ? ns : SAMPLE_NS);
}

double an_probe_peak_bandwidth(an_probe *p)
{
    double best = 0;
    for (int i = 0; i < N_PEAK_READ; i++) best = fmax(best, sample(p, read_part, PEAK_NS));
    return best;
}

double an_probe_peak_ops(an_probe *p, an_probe_flavour flavour)
{
    double best = 0;
    float sum;
    if (flavour == AN_PROBE_BF16_TILES && an_peak_bf16(p->kernels, 1, &sum) == 0) return NAN;
    p->flavour = flavour;
    for (int i = 0; i < N_PEAK_OPS; i++) best = fmax(best, sample(p, compute_part, PEAK_NS));
    return best;
}
