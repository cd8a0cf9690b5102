/*
 * The why lines. A cell's decoding is explained by the first of these that its figures show: swap, disk, a host that took the
 * CPU, a falling clock; then memory bandwidth, arithmetic or waiting, by the share of the measured bandwidth that it used and
 * by how busy its threads were. Whatever is not known is left out of the sentence.
 */
#include "report/why.h"

#include "base/json.h"
#include "base/str.h"
#include "report/report_internal.h"

#include <math.h>
#include <string.h>

static const double MBU_BOUND = 0.7;    /* from here on the memory is what decoding waits for */
static const double MBU_PARTLY = 0.45;  /* the weights' stream is the largest part, and not alone */
static const double MBU_BEYOND = 1.05;  /* more than memory can give: caches served it */
static const double MFU_BOUND = 0.5;
static const double BUSY = 0.75;        /* share of its threads' time on a CPU below which a cell waits */
static const double STEAL = 0.02;       /* of the machine's time, taken by the host */
static const double CLOCK_DROP = 0.05;  /* of the clock between the first and the last third of the run */
static const double FAULTS_MAJOR = 10;  /* a repetition; fewer are accidents */
static const double STEP_OVERHEAD = 0.1; /* decode time beyond the forward pass */

/* A second copy of a cell is there for its noise and needs no explanation. */
static bool measured(const an_run *run, const an_cell *cell)
{
    return cell->status == AN_CELL_OK && an_cell_n_timed(cell) > 0 && (run->aa || cell->copy_of < 0);
}

static double median(const an_cell *cell, an_field_id field)
{
    return an_cell_summary(cell, field).median;
}

static double threads_of(const an_cell *cell)
{
    int n = an_cell_threads(cell);
    return n > 0 ? (double)n : NAN;
}

/* CPUs in use over the threads that could use one; NaN on a GPU, whose work no CPU time tells of. */
static double busy_share(const an_cell *cell)
{
    if (cell->device[0] && strcmp(cell->device, "cpu") != 0) return NAN;
    return median(cell, AN_FIELD_ID_cpu_percent) / 100 / threads_of(cell);
}

/* Mean of the clock over the first and over the last third of the timed repetitions; false without a drop. */
static bool clock_fell(const an_cell *cell, double *before, double *after)
{
    size_t n = an_cell_n_timed(cell), third = n / 3;
    double first = 0, last = 0;
    if (third == 0) return false;
    for (size_t i = 0; i < third; i++) {
        first += an_cell_timed(cell, i)->values[AN_FIELD_ID_cpu_hz];
        last += an_cell_timed(cell, n - 1 - i)->values[AN_FIELD_ID_cpu_hz];
    }
    *before = first / (double)third;
    *after = last / (double)third;
    return isfinite(first) && isfinite(last) && *after < *before * (1 - CLOCK_DROP);
}

an_bound an_report_bound(const an_cell *cell)
{
    double before, after, mbu = median(cell, AN_FIELD_ID_mbu), busy = busy_share(cell);
    if (median(cell, AN_FIELD_ID_swap_in_bytes) > 0) return AN_BOUND_SWAP;
    if (median(cell, AN_FIELD_ID_faults_major) >= FAULTS_MAJOR) return AN_BOUND_DISK;
    if (median(cell, AN_FIELD_ID_steal_share) >= STEAL) return AN_BOUND_HOST;
    if (clock_fell(cell, &before, &after)) return AN_BOUND_CLOCK;
    if (mbu >= MBU_BOUND && mbu <= MBU_BEYOND) return AN_BOUND_BANDWIDTH;
    if (busy < BUSY) return AN_BOUND_LATENCY;
    /* Without a bandwidth to compare with, busy threads may be waiting for memory all the same. */
    if (isfinite(mbu) && isfinite(busy)) return AN_BOUND_COMPUTE;
    return AN_BOUND_UNKNOWN;
}

/* "decodes 96.4 MB a token at 121 tokens/s, 11.6 GB/s, 82 % of the bandwidth measured here": as much of it as is known. */
static void describe_stream(const an_run *run, const an_cell *cell, an_str *out)
{
    double bytes = median(cell, AN_FIELD_ID_bytes_per_token), tps = median(cell, AN_FIELD_ID_decode_tps);
    double mbu = median(cell, AN_FIELD_ID_mbu);
    if (!isfinite(bytes) || !isfinite(tps)) return;
    an_str_appendf(out, "it streams %.1f MB a token at %.1f tokens/s, %.1f GB/s", bytes / 1e6, tps, bytes * tps / 1e9);
    if (!isfinite(mbu)) return;
    an_str_appendf(out, ", %.0f %% of what its threads can read from memory", 100 * mbu);
    double peak = an_environment_peaks(&run->environment, an_cell_threads(cell)).bandwidth_bps;
    if (isfinite(peak)) an_str_appendf(out, " (measured: %.1f GB/s)", peak / 1e9);
}

static void describe_busy(const an_cell *cell, an_str *out)
{
    double busy = busy_share(cell), threads = threads_of(cell);
    if (!isfinite(busy)) return;
    an_str_appendf(out, "; its %.0f thread%s busy %.0f %% of the time", threads, threads == 1 ? " was" : "s were",
                   100 * (busy > 1 ? 1 : busy));
}

/* Decoding beyond the bare forward pass, where both were measured. */
static double overhead_of(const an_cell *cell)
{
    return median(cell, AN_FIELD_ID_step_tps) / median(cell, AN_FIELD_ID_decode_tps) - 1;
}

static void explain_disturbance(const an_cell *cell, an_bound bound, json_t *list)
{
    double before = NAN, after = NAN;
    switch (bound) {
    case AN_BOUND_SWAP:
        an_say(list,
               "%s was slowed by swapping: %.1f MB came back from swap in a repetition. Its speed says how fast the swap is; "
               "free memory and measure again.",
               cell->label, median(cell, AN_FIELD_ID_swap_in_bytes) / 1e6);
        return;
    case AN_BOUND_DISK:
        an_say(list,
               "%s waited for the disk: %.0f page faults of a repetition had to read. The model's pages do not stay in memory.",
               cell->label, median(cell, AN_FIELD_ID_faults_major));
        return;
    case AN_BOUND_HOST:
        an_say(list, "%s was held up by the host of this virtual machine, which gave %.1f %% of the CPU time to others.",
               cell->label, 100 * median(cell, AN_FIELD_ID_steal_share));
        return;
    case AN_BOUND_CLOCK:
        (void)clock_fell(cell, &before, &after);
        an_say(list, "%s was throttled: the clock fell from %.2f to %.2f GHz over the run (heat, or a limit on power).",
               cell->label, before / 1e9, after / 1e9);
        return;
    default: return;
    }
}

static void explain_decode(const an_run *run, const an_cell *cell, an_bound bound, json_t *list)
{
    double mbu = median(cell, AN_FIELD_ID_mbu), overhead = overhead_of(cell);
    an_str text = {0};
    if (!isfinite(median(cell, AN_FIELD_ID_decode_tps))) return;
    describe_stream(run, cell, &text);
    if (text.len == 0) an_str_append(&text, "what a token costs it in memory is not known");
    describe_busy(cell, &text);
    switch (bound) {
    case AN_BOUND_BANDWIDTH:
        an_say(list, "%s: memory bandwidth bounds decoding: %s. Fewer bytes a token would make it faster, more threads would not.",
               cell->label, an_str_text(&text));
        break;
    case AN_BOUND_LATENCY:
        an_say(list, "%s: waiting bounds decoding: %s. The rest goes to waits between threads, calls or an interpreter.",
               cell->label, an_str_text(&text));
        break;
    case AN_BOUND_COMPUTE:
        if (mbu > MBU_BEYOND)
            an_say(list, "%s: arithmetic bounds decoding: %s. More than memory gives means that caches hold the weights.",
                   cell->label, an_str_text(&text));
        else
            an_say(list, "%s: arithmetic bounds decoding%s: %s. The kernels are busy unpacking and multiplying weights.",
                   cell->label, mbu >= MBU_PARTLY ? ", memory bandwidth nearly as much" : "", an_str_text(&text));
        break;
    default:
        if (bound == AN_BOUND_UNKNOWN)
            an_say(list, "%s: what bounds decoding cannot be said: %s.", cell->label, an_str_text(&text));
        break;
    }
    if (overhead >= STEP_OVERHEAD)
        an_say(list, "%s: %.0f %% of a token's time is outside the forward pass (%.1f tokens/s decoded, %.1f in bare steps).",
               cell->label, 100 * overhead / (1 + overhead), median(cell, AN_FIELD_ID_decode_tps),
               median(cell, AN_FIELD_ID_step_tps));
    if (text.failed) an_say_text(list, &text);
    an_str_free(&text);
}

static void explain_prefill(const an_run *run, const an_cell *cell, json_t *list)
{
    double mfu = median(cell, AN_FIELD_ID_mfu), n = median(cell, AN_FIELD_ID_n_prompt);
    double ttft = median(cell, AN_FIELD_ID_ttft_s);
    if (!isfinite(mfu) || !isfinite(n)) return;
    if (mfu > 1) {
        an_say(list,
               "%s: prefill does %.0f %% of the peak arithmetic measured here: it has instructions or a device that our probe "
               "lacks (AMX, a GPU), or the peak was measured while other work ran.",
               cell->label, 100 * mfu);
        return;
    }
    if (mfu >= MFU_BOUND) {
        an_say(list, "%s: arithmetic bounds prefill: %.0f %% of the peak that was measured here.", cell->label, 100 * mfu);
        return;
    }
    /* One pass reads all the weights, however short the prompt. */
    const an_run_model *m = cell->model >= 0 && (size_t)cell->model < run->n_model ? &run->models[cell->model] : NULL;
    double peak = an_environment_peaks(&run->environment, an_cell_threads(cell)).bandwidth_bps;
    double share = m ? (double)m->weight_bytes / ttft / peak : NAN;
    if (share >= 0.5)
        an_say(list,
               "%s: memory bandwidth bounds the prefill of %.0f tokens too: reading the weights once takes %.0f %% of its time.",
               cell->label, n, 100 * (share > 1 ? 1 : share));
    else
        an_say(list, "%s: prefill reaches %.0f %% of the peak arithmetic measured here: its kernels bound it, not the machine.",
               cell->label, 100 * mfu);
}

/* How the ratio of two decode speeds splits into bytes a token and bytes a second. */
static void explain_pair(const an_run *run, int fast, int slow, const an_paired *p, json_t *list)
{
    const an_cell *a = &run->cells[fast], *b = &run->cells[slow];
    double bytes_a = median(a, AN_FIELD_ID_bytes_per_token), bytes_b = median(b, AN_FIELD_ID_bytes_per_token);
    double tps_a = median(a, AN_FIELD_ID_decode_tps), tps_b = median(b, AN_FIELD_ID_decode_tps);
    double cpu_a = median(a, AN_FIELD_ID_cpu_percent) / 100, cpu_b = median(b, AN_FIELD_ID_cpu_percent) / 100;
    an_str text = {0};
    an_str_appendf(&text, "%s decodes %.2f times as fast as %s", a->label, p->ratio, b->label);
    if (isfinite(bytes_a) && isfinite(bytes_b) && bytes_b > 0) {
        double bytes = bytes_a / bytes_b;
        if (fabs(bytes - 1) < 0.01)
            an_str_append(&text, ": it reads the same bytes a token");
        else
            an_str_appendf(&text, ": it reads %.2f times the bytes a token (%.2f against %.2f MB)", bytes, bytes_a / 1e6,
                           bytes_b / 1e6);
        an_str_appendf(&text, " and moves them %.2f times as fast (%.1f against %.1f GB/s)", p->ratio * bytes,
                       bytes_a * tps_a / 1e9, bytes_b * tps_b / 1e9);
    }
    if (isfinite(cpu_a) && isfinite(cpu_b)) an_str_appendf(&text, "; %.2f CPUs are busy against %.2f", cpu_a, cpu_b);
    an_str_append_char(&text, '.');
    an_say_text(list, &text);
    an_str_free(&text);
}

/* Every pair of the fastest with another that is shown to be slower. */
static void explain_pairs(const an_run *run, json_t *list)
{
    int best = -1;
    for (size_t i = 0; i < run->n_cell; i++) {
        if (!measured(run, &run->cells[i]) || !isfinite(median(&run->cells[i], AN_FIELD_ID_decode_tps))) continue;
        if (best < 0 ||
            median(&run->cells[i], AN_FIELD_ID_decode_tps) > median(&run->cells[best], AN_FIELD_ID_decode_tps))
            best = (int)i;
    }
    for (size_t i = 0; best >= 0 && i < run->n_cell; i++) {
        if ((int)i == best || !measured(run, &run->cells[i])) continue;
        an_paired p = an_cell_paired(run, best, (int)i, AN_FIELD_ID_decode_tps, true);
        if (p.verdict == AN_VERDICT_HIGHER) explain_pair(run, best, (int)i, &p, list);
    }
}

void an_report_why(const an_run *run, json_t *list)
{
    for (size_t i = 0; i < run->n_cell; i++) {
        const an_cell *cell = &run->cells[i];
        if (!measured(run, cell)) continue;
        an_bound bound = an_report_bound(cell);
        explain_disturbance(cell, bound, list);
        explain_decode(run, cell, bound, list);
        explain_prefill(run, cell, list);
    }
    if (!run->aa && !run->refused) explain_pairs(run, list);
}
