/* Checks of the operations on rows: conversions, norm, exponential, SiLU, rotation. */
#include "kernels/kcheck.h"

#include "kernels/peak.h"
#include "quant/half.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int lengths[] = {1, 15, 16, 17, 31, 32, 64, 80, 96, 100, 576, 1536};

/* Distance of `got` from `exact` in units of the last place of f32 at `exact`. */
static double ulps(double got, double exact)
{
    int exponent;
    frexp(exact, &exponent);
    return fabs(got - exact) / ldexp(1, (exponent < -125 ? -125 : exponent) - 24);
}

void check_quantize(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const int widths[] = {1, 4, 12};
    for (int i = 0; i < 3 * N_STYLE; i++) {
        int width = widths[i % 3], style = i / 3, n_col = 32 * (1 + i), slot = (int)an_rng_below(&c->rng, (uint64_t)width);
        guarded x = guarded_alloc((size_t)n_col * 4, false);
        guarded q = guarded_alloc((size_t)(n_col / 32 * width * 64), true);
        memset(q.p, 0x5A, q.n);
        fill_floats(c, x.p, (size_t)n_col, style);
        c->k->quantize(x.p, n_col, width, slot, q.p);
        for (int g = 0; g < n_col / 32; g++) {
            const uint8_t *rec = (const uint8_t *)q.p + (size_t)(g * width * 64);
            float scale, sum;
            int32_t init, init16[2], half[2] = {0, 0};
            memcpy(&scale, rec + AN_REC_SCALE(width, slot), 4);
            memcpy(&sum, rec + AN_REC_SUM(width, slot), 4);
            memcpy(&init, rec + AN_REC_INIT(width, slot), 4);
            double largest = 0;
            for (int j = 0; j < 32; j++) {
                double v = (double)((float *)x.p)[32 * g + j];
                int8_t code = (int8_t)rec[AN_REC_CODES(width, slot) + j];
                if (fabs(v) > largest) largest = fabs(v);
                half[j / 16] += code;
                if (code == -128) kcheck_fail(c, "code -128");
                kcheck_near(c, "value", 32 * g + j, code * (double)scale, v,
                            0.5001 * (double)scale + fabs(v) * 0x1p-20 + 1e-30);
            }
            if (largest > 1e-30) kcheck_near(c, "scale", g, (double)scale * 127, largest, largest * 0x1p-22);
            for (int h = 0; h < 2; h++) {
                memcpy(&init16[h], rec + AN_REC_INIT16(width, slot, h), 4);
                if (init16[h] != -32 * half[h]) kcheck_fail(c, "sum of half %d of group %d", h, g);
            }
            if (init != -128 * (half[0] + half[1]) || sum != scale * (float)(half[0] + half[1]))
                kcheck_fail(c, "sums of group %d", g);
        }
        guarded_free(&x);
        guarded_free(&q);
    }
}

/* A number of a record, by its offset. */
static int32_t record_int(const uint8_t *rec, int offset)
{
    int32_t v;
    memcpy(&v, rec + offset, 4);
    return v;
}

static int32_t pair_of(int first, int second)
{
    return (int32_t)((uint32_t)first << 16 | (uint16_t)second);
}

/* What sums of 6-bit codes begin with: sums of sixteen activations, those of columns 2 and 3 of every four by themselves. */
static int32_t init16(const kcheck *c, const int *sum, const int *upper)
{
    return c->k->super_words ? pair_of(-32 * *upper, -32 * (*sum - *upper)) : -32 * *sum;
}

/* One superblock: codes as near as the scale lets them, no sum of 16 too large, all sums right. */
static void check_super_block(kcheck *c, const float *x, const uint8_t *rec, int width, int slot, bool tight)
{
    float scale;
    int sum[16] = {0}, upper[16] = {0}, size[16] = {0};
    double largest = 0, group[16] = {0}, need;
    memcpy(&scale, rec + AN_REC_SCALE(width, slot), 4);
    for (int i = 0; i < AN_SUPER; i++) {
        int8_t code = (int8_t)rec[i / 32 * width * 64 + AN_REC_CODES(width, slot) + i % 32];
        double v = (double)x[i];
        sum[i / 16] += code;
        if (i & 2) upper[i / 16] += code;
        size[i / 16] += abs(code);
        group[i / 16] += fabs(v);
        if (fabs(v) > largest) largest = fabs(v);
        kcheck_near(c, "value", i, code * (double)scale, v, 0.5001 * (double)scale + fabs(v) * 0x1p-20 + 1e-30);
    }
    /* No larger than a bound asks for. */
    need = largest / 127;
    for (int g = 0; g < 16; g++) {
        int both = size[g] + size[g ^ 1];
        if (size[g] > AN_SUPER_SUM16) kcheck_fail(c, "16 codes add up to %d", size[g]);
        if (tight && both > AN_SUPER_SUM32) kcheck_fail(c, "32 codes add up to %d", both);
        need = fmax(need, (group[g] + 16 * (double)scale) / (AN_SUPER_SUM16 - 8));
        if (tight) need = fmax(need, (group[g] + group[g ^ 1] + 32 * (double)scale) / (AN_SUPER_SUM32 - 16));
    }
    if (largest > 1e-30 && (double)scale > 1.000001 * need) kcheck_fail(c, "scale %g, %g would do", (double)scale, need);
    for (int g = 0; g < 8; g++, rec += width * 64) {
        int low = sum[2 * g], high = sum[2 * g + 1], next = g & 1 ? 0 : sum[2 * g + 2] + sum[2 * g + 3];
        if (memcmp(&scale, rec + AN_REC_SCALE(width, slot), 4)) kcheck_fail(c, "scale of record %d", g);
        if (record_int(rec, AN_REC_PAIR16(width, slot)) != pair_of(low, high) ||
            record_int(rec, AN_REC_UPPER16(width, slot)) != 32768 - 32 * high ||
            record_int(rec, AN_REC_INIT16(width, slot, 0)) != init16(c, sum + 2 * g, upper + 2 * g) ||
            record_int(rec, AN_REC_INIT16(width, slot, 1)) != init16(c, sum + 2 * g + 1, upper + 2 * g + 1) ||
            record_int(rec, AN_REC_INIT(width, slot)) != -128 * (low + high) ||
            (g % 2 == 0 && record_int(rec, AN_REC_PAIR(width, slot)) != pair_of(low + high, next)))
            kcheck_fail(c, "sums of record %d", g);
    }
}

void check_quantize_super(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const int widths[] = {1, 4, 12};
    for (int i = 0; i < 3 * (N_STYLE + 1); i++) {
        int width = widths[i % 3], style = i / 3, n_col = AN_SUPER * (1 + i % 4);
        int slot = (int)an_rng_below(&c->rng, (uint64_t)width);
        guarded x = guarded_alloc((size_t)n_col * 4, false);
        guarded q = guarded_alloc((size_t)(n_col / 32 * width * 64), true);
        memset(q.p, 0x5A, q.n);
        fill_floats(c, x.p, (size_t)n_col, style < N_STYLE ? style : 0);
        for (int j = 0; j < n_col && style == N_STYLE; j++) ((float *)x.p)[j] = an_rng_below(&c->rng, 2) ? -3 : 2.9f;
        c->k->quantize_super(x.p, n_col, width, slot, i & 1, q.p);
        for (int b = 0; b < n_col / AN_SUPER; b++)
            check_super_block(c, (const float *)x.p + b * AN_SUPER, (const uint8_t *)q.p + (size_t)(b * 8 * width * 64), width,
                              slot, i & 1);
        guarded_free(&x);
        guarded_free(&q);
    }
}

void check_rms_norm(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int i = 0; i < (int)AN_COUNT_OF(lengths); i++) {
        int n = lengths[i];
        guarded x = guarded_alloc((size_t)n * 4, false), w = guarded_alloc((size_t)n * 4, false);
        guarded out = guarded_alloc((size_t)n * 4, false);
        fill_floats(c, x.p, (size_t)n, i % 4);
        fill_floats(c, w.p, (size_t)n, 0);
        c->k->rms_norm(out.p, x.p, w.p, n, 1e-5f);
        double sum = 0;
        for (int j = 0; j < n; j++) sum += (double)((float *)x.p)[j] * (double)((float *)x.p)[j];
        double r = 1 / sqrt(sum / n + (double)1e-5f);
        for (int j = 0; j < n; j++) {
            double exact = (double)((float *)x.p)[j] * r * (double)((float *)w.p)[j];
            kcheck_near(c, "value", j, (double)((float *)out.p)[j], exact,
                        fabs(exact) * (n / 64 + 8) * 0x1p-24 + 1e-40);
        }
        guarded_free(&x);
        guarded_free(&w);
        guarded_free(&out);
    }
}

void check_exp(kcheck *c, const kcheck_op *op)
{
    (void)op;
    enum { N = 4093 };
    static float x[N], out[N];
    double worst = 0;
    for (int round = 0; round < 16; round++) {
        for (int i = 0; i < N; i++) {
            double range = round < 8 ? 105 : round < 12 ? 1 : 20;
            x[i] = (float)((2 * an_rng_f64(&c->rng) - 1) * range);
        }
        x[0] = 0;
        x[1] = 88.7f;
        x[2] = 90;
        x[3] = -200;
        x[4] = INFINITY;
        x[5] = -INFINITY;
        c->k->exp(out, x, N);
        for (int i = 0; i < N; i++) {
            double exact = exp((double)x[i]);
            if (exact > 3.40282346e38 * 1.0000001 || exact < 0x1p-150) {
                if (!(exact > 1 ? out[i] == INFINITY : out[i] <= 0x1p-149f))
                    kcheck_fail(c, "exp(%a) = %a", (double)x[i], (double)out[i]);
                continue;
            }
            double u = ulps((double)out[i], exact);
            if (u > worst) worst = u;
            if (!(u <= 2)) kcheck_fail(c, "exp(%a) = %a: %.2f ULP", (double)x[i], (double)out[i], u);
        }
    }
    x[0] = NAN;
    c->k->exp(out, x, 1);
    if (!isnan(out[0])) kcheck_fail(c, "exp(NaN) = %a", (double)out[0]);
}

void check_silu(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int i = 0; i < (int)AN_COUNT_OF(lengths); i++) {
        int n = lengths[i];
        guarded g = guarded_alloc((size_t)n * 4, false), u = guarded_alloc((size_t)n * 4, false);
        guarded out = guarded_alloc((size_t)n * 4, false);
        fill_floats(c, g.p, (size_t)n, i % 4);
        fill_floats(c, u.p, (size_t)n, 0);
        for (int j = 0; j < n; j++) ((float *)g.p)[j] *= 6;
        c->k->silu_mul(out.p, g.p, u.p, n);
        for (int j = 0; j < n; j++) {
            double gate = (double)((float *)g.p)[j], exact = gate / (1 + exp(-gate)) * (double)((float *)u.p)[j];
            kcheck_near(c, "value", j, (double)((float *)out.p)[j], exact, fabs(exact) * 6 * 0x1p-24 + 1e-37);
        }
        guarded_free(&g);
        guarded_free(&u);
        guarded_free(&out);
    }
}

void check_rope(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const int dims[] = {2, 6, 16, 32, 48, 64, 80, 96, 128, 256};
    for (int i = 0; i < (int)AN_COUNT_OF(dims); i++) {
        int dim = dims[i], half = dim / 2;
        guarded x = guarded_alloc((size_t)dim * 4, false), out = guarded_alloc((size_t)dim * 4, false);
        guarded cosine = guarded_alloc((size_t)half * 4, false), sine = guarded_alloc((size_t)half * 4, false);
        guarded other = guarded_alloc((size_t)dim * 4, false), out2 = guarded_alloc((size_t)dim * 4, false);
        float *v = x.p, *o = out.p, *cs = cosine.p, *sn = sine.p;
        fill_floats(c, v, (size_t)dim, 0);
        for (int j = 0; j < half; j++) {
            double angle = an_rng_f64(&c->rng) * 100;
            cs[j] = (float)cos(angle);
            sn[j] = (float)sin(angle);
            ((float *)other.p)[2 * j] = v[j];
            ((float *)other.p)[2 * j + 1] = v[j + half];
        }
        c->k->rope_head(o, v, AN_ROPE_HALF_SPLIT, cs, sn, dim);
        for (int j = 0; j < half; j++) {
            double a = (double)v[j], b = (double)v[j + half], co = (double)cs[j], si = (double)sn[j];
            kcheck_near(c, "first", j, (double)o[j], a * co - b * si, (fabs(a * co) + fabs(b * si)) * 0x1p-23);
            kcheck_near(c, "second", j, (double)o[j + half], a * si + b * co,
                        (fabs(a * si) + fabs(b * co)) * 0x1p-23);
        }
        c->k->rope_head(out2.p, other.p, AN_ROPE_INTERLEAVED, cs, sn, dim);
        if (memcmp(o, out2.p, (size_t)dim * 4)) kcheck_fail(c, "the two row orders differ, head_dim %d", dim);
        guarded_free(&x);
        guarded_free(&out);
        guarded_free(&cosine);
        guarded_free(&sine);
        guarded_free(&other);
        guarded_free(&out2);
    }
}

/* Every finite 16-bit pattern, and odd lengths. */
void check_row_f16(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static uint16_t all[65536];
    static float out[65536];
    for (int i = 0; i < 65536; i++) all[i] = (uint16_t)i;
    for (int type = 0; type < 2; type++) {
        for (int n = 65536 - 17; n <= 65536; n += 17) {
            if (type) c->k->row_bf16(out, all, n);
            else c->k->row_f16(out, all, n);
            for (int i = 0; i < n; i++) {
                float want = type ? an_f32_from_bf16((uint16_t)i) : an_f32_from_f16((uint16_t)i);
                if (isnan(want) ? !isnan(out[i]) : memcmp(&want, &out[i], 4) != 0)
                    kcheck_fail(c, "%s %04x", type ? "bf16" : "f16", (unsigned)i);
            }
        }
    }
}

/* The loops that measure the machine do all the work that they are paid for. */
void check_peak(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int n = 0; n <= 8; n++) {
        size_t bytes = (size_t)n * AN_PEAK_READ_BYTES;
        guarded g = guarded_alloc(bytes + 64, false);
        uint8_t *p = (uint8_t *)(((uintptr_t)g.p + 63) & ~(uintptr_t)63);
        uint32_t all = 0;
        for (size_t i = 0; i < bytes; i += 4) {
            uint32_t word = (uint32_t)an_rng_u64(&c->rng);
            memcpy(p + i, &word, 4);
            all ^= word;
        }
        if (an_peak_read(c->k, p, bytes) != all) kcheck_fail(c, "%zu bytes were read otherwise", bytes);
        guarded_free(&g);
    }
    static const int steps[] = {0, 1, 2, 15, 16, 17, 100, 1000};
    int8_t codes[AN_PEAK_CODES];
    uint8_t weights[AN_PEAK_WEIGHTS];
    float starts[AN_PEAK_STARTS];
    for (int i = 0; i < AN_PEAK_CODES; i++) codes[i] = (int8_t)((int)an_rng_below(&c->rng, 255) - 127);
    for (int i = 0; i < AN_PEAK_WEIGHTS; i++) weights[i] = (uint8_t)an_rng_below(&c->rng, 2);
    fill_floats(c, starts, AN_PEAK_STARTS, 0);
    for (size_t s = 0; s < AN_COUNT_OF(steps); s++) {
        float got;
        uint32_t got_sum, sum = 0;
        double exact = 0, size = 0;
        int n = steps[s];
        uint64_t ops = an_peak_f32(c->k, n, starts, 0.75f, 0.5f, &got);
        int n_chain = n ? (int)(ops / (uint64_t)n / 32) : 0;
        if (n > 0 && (n_chain < 1 || 16 * n_chain > AN_PEAK_STARTS || ops != (uint64_t)n_chain * (uint64_t)n * 32))
            kcheck_fail(c, "%d steps: operations", n);
        for (int i = 0; i < 16 * n_chain; i++) {
            double x = (double)starts[i];
            for (int j = 0; j < n; j++) x = x * 0.75 + 0.5;
            exact += x;
            size += fabs(x) + 2;
        }
        if (n > 0) kcheck_near(c, "sum", n, (double)got, exact, size * 0x1p-20);
        ops = an_peak_i8(c->k, n, codes, weights, &got_sum);
        n_chain = n ? (int)(ops / (uint64_t)n / 128) : 0;
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n_chain; j++)
                for (int b = 0; b < AN_PEAK_WEIGHTS; b++)
                    sum += (uint32_t)(weights[b] * codes[4 * (i % 16) + 4 * j + b % 4]);
        if (got_sum != sum) kcheck_fail(c, "%d steps of int8: sum %u, expected %u", n, got_sum, sum);
    }
}
