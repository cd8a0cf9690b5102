/* The loops of kernels/peak.h. AN_LANES_CHAINS accumulators fill the registers. Included after a lanes header. */
#ifndef AN_BODY_PEAK_H
#define AN_BODY_PEAK_H

#include "kernels/peak.h"
#include "kernels/table.h"

/* One stream and no prefetch of our own: with several streams or with prefetches the hardware's own does worse. */
static uint32_t peak_read(const void *p, size_t n)
{
    const uint8_t *at = p, *end = at + n;
    vi acc[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) acc[i] = vi_set1(0);
    for (; at < end; at += AN_PEAK_READ_BYTES) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) acc[i] = vi_xor(acc[i], vi_load(at + 64 * i));
    }
    uint32_t words[16], all = 0;
#pragma GCC unroll 8
    for (int i = 1; i < 8; i++) acc[0] = vi_xor(acc[0], acc[i]);
    vi_store(words, acc[0]);
    for (int i = 0; i < 16; i++) all ^= words[i];
    return all;
}

/* What chains and halves of lanes begin with lies in memory: equal ones known to the compiler would be computed once. */
static int peak_f32(int n, const float *starts, float m, float c, float *sum)
{
    vf acc[AN_LANES_CHAINS], mv = vf_set1(m), cv = vf_set1(c);
#pragma GCC unroll 12
    for (int j = 0; j < AN_LANES_CHAINS; j++) acc[j] = vf_load(starts + 16 * j);
    for (int i = 0; i < n; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < AN_LANES_CHAINS; j++) acc[j] = vf_fma(acc[j], mv, cv);
    }
#pragma GCC unroll 12
    for (int j = 1; j < AN_LANES_CHAINS; j++) acc[0] = vf_add(acc[0], acc[j]);
    *sum = vf_sum(acc[0]);
    return AN_LANES_CHAINS;
}

/* One step of a chain; with pairs the instruction does two chains' steps at once. */
#ifdef AN_LANES_PAIRS
enum { PEAK_DWORDS = 2 };
#define PEAK_DOT vi_dot_both
#else
enum { PEAK_DWORDS = 1 };
#define PEAK_DOT vi_dot
#endif

/* The codes differ from step to step, so that no product can be taken out of the loop. */
static int peak_i8(int n, const int8_t *codes, const uint8_t *weights, uint32_t *sum)
{
    vi acc[AN_LANES_CHAINS], w = vi_load(weights);
#pragma GCC unroll 12
    for (int j = 0; j < AN_LANES_CHAINS; j++) acc[j] = vi_set1(0);
    for (int i = 0; i < n; i++) {
        const int8_t *x = codes + 4 * (i & 15);
#pragma GCC unroll 12
        for (int j = 0; j < AN_LANES_CHAINS; j++) acc[j] = PEAK_DOT(acc[j], w, x + 4 * PEAK_DWORDS * j);
    }
    uint32_t words[16];
    *sum = 0;
#pragma GCC unroll 12
    for (int j = 1; j < AN_LANES_CHAINS; j++) acc[0] = vi_add(acc[0], acc[j]);
    vi_store(words, acc[0]);
    for (int i = 0; i < 16; i++) *sum += words[i];
    return AN_LANES_CHAINS * PEAK_DWORDS;
}

#endif
