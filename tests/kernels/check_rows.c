/* Checks of the operations on rows: conversions, norm, exponential, SiLU, rotation, cache, attention. */
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
            float scale, sum, sum16[2];
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
                memcpy(&sum16[h], rec + AN_REC_SUM16(width, slot, h), 4);
                memcpy(&init16[h], rec + AN_REC_INIT16(width, slot, h), 4);
                if (init16[h] != -32 * half[h] || sum16[h] != scale * (float)half[h])
                    kcheck_fail(c, "sums of half %d of group %d", h, g);
            }
            if (init != -128 * (half[0] + half[1]) || sum != scale * (float)(half[0] + half[1]))
                kcheck_fail(c, "sums of group %d", g);
        }
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

void check_kv_store(kcheck *c, const kcheck_op *op)
{
    (void)op;
    for (int i = 0; i < (int)AN_COUNT_OF(lengths); i++) {
        int n = lengths[i];
        guarded x = guarded_alloc((size_t)n * 4, false), out = guarded_alloc((size_t)n * 4, false);
        for (int type = 0; type < 2; type++) {
            fill_floats(c, x.p, (size_t)n, i % N_STYLE);
            size_t size = type == AN_KV_F16 ? 2 : 4;
            uint8_t *dst = (uint8_t *)out.p + out.n - (size_t)n * size;
            an_kv_store(c->k, (an_kv_dtype)type, dst, x.p, n);
            for (int j = 0; j < n; j++) {
                float f = ((float *)x.p)[j];
                uint16_t h = an_f16_from_f32(f);
                if (type == AN_KV_F16 ? memcmp(dst + 2 * j, &h, 2) : memcmp(dst + 4 * j, &f, 4))
                    kcheck_fail(c, "value %d: %a stored wrongly (type %d)", j, (double)f, type);
            }
        }
        guarded_free(&x);
        guarded_free(&out);
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

/* Exact attention of one query over n_pos rows, and the bound of what f32 may differ. */
static void check_query(kcheck *c, const float *got, const float *q, const float *k, const float *v, int dim,
                        int n_pos, float scale)
{
    double *weight = malloc((size_t)n_pos * sizeof *weight), max = -INFINITY, sum = 0, largest = 0;
    for (int p = 0; p < n_pos; p++) {
        double terms = 0;
        weight[p] = 0;
        for (int j = 0; j < dim; j++) {
            double term = (double)q[j] * (double)k[p * dim + j];
            weight[p] += term;
            terms += fabs(term);
        }
        weight[p] *= (double)scale;
        if (terms * (double)scale > largest) largest = terms * (double)scale;
        if (weight[p] > max) max = weight[p];
    }
    for (int p = 0; p < n_pos; p++) sum += weight[p] = exp(weight[p] - max);
    for (int j = 0; j < dim; j++) {
        double exact = 0, terms = 0;
        for (int p = 0; p < n_pos; p++) {
            exact += weight[p] / sum * (double)v[p * dim + j];
            terms += weight[p] / sum * fabs((double)v[p * dim + j]);
        }
        /* An error of a score is a relative error of its weight; then one rounding a position. */
        double bound = terms * ((largest + 1) * (dim + 8) + n_pos + 16) * 0x1p-24;
        kcheck_near(c, "value", j, (double)got[j], exact, bound);
    }
    free(weight);
}

/* A block of tokens against double precision, and each token by itself for the same bits. */
static void attention_once(kcheck *c, an_kv_dtype type, int n_tok, int n_q, int dim, int n_pos, float sharpness)
{
    size_t size = type == AN_KV_F16 ? 2 : 4, stride = (size_t)dim * size + 32;
    int n_query = n_tok * n_q, n_row = n_pos + n_tok - 1;
    guarded q = guarded_alloc((size_t)(n_query * dim) * 4, false);
    size_t out_stride = (size_t)(n_q * dim) + 5;
    guarded out = guarded_alloc(((size_t)(n_tok - 1) * out_stride + (size_t)(n_q * dim)) * 4, false), kv[2];
    float *row = malloc((size_t)dim * 4), *alone = malloc((size_t)(n_q * dim) * 4), scale[16], *plain[2];
    for (int i = 0; i < 2; i++) {
        kv[i] = guarded_alloc((size_t)(n_row - 1) * stride + (size_t)dim * size, false);
        plain[i] = malloc((size_t)(n_row * dim) * 4);
        for (int p = 0; p < n_row; p++) {
            fill_floats(c, row, (size_t)dim, 0);
            for (int j = 0; j < dim; j++) {
                if (type == AN_KV_F16) row[j] = an_f32_from_f16(an_f16_from_f32(row[j]));
                plain[i][p * dim + j] = row[j];
            }
            an_kv_store(c->k, type, (uint8_t *)kv[i].p + (size_t)p * stride, row, dim);
        }
    }
    fill_floats(c, q.p, (size_t)(n_query * dim), 0);
    for (int t = 0; t < n_tok; t++) scale[t] = sharpness / sqrtf((float)dim) * (1 + 0.1f * (float)t);
    guarded scratch = guarded_alloc(an_attention_scratch_bytes(n_query, dim, n_row), false);
    an_attention_job job = {.type = type, .n_tok = n_tok, .n_q = n_q, .head_dim = dim, .n_pos = n_pos, .q = q.p,
                            .scale = scale, .keys = kv[0].p, .values = kv[1].p, .kv_stride_bytes = stride,
                            .out = out.p, .out_stride = out_stride, .scratch = scratch.p};
    an_attention(c->k, &job);
    for (int t = 0; t < n_tok; t++) {
        const float *got = (const float *)out.p + (size_t)t * out_stride, *qt = (const float *)q.p + t * n_q * dim;
        for (int h = 0; h < n_q; h++)
            check_query(c, got + h * dim, qt + h * dim, plain[0], plain[1], dim, n_pos + t, scale[t]);
        an_attention_job one = job;
        one.n_tok = 1;
        one.n_pos = n_pos + t;
        one.q = qt;
        one.scale = scale + t;
        one.out = alone;
        an_attention(c->k, &one);
        if (memcmp(alone, got, (size_t)(n_q * dim) * 4)) kcheck_fail(c, "token %d of %d differs from itself alone", t, n_tok);
    }
    free(row);
    free(alone);
    for (int i = 0; i < 2; i++) {
        guarded_free(&kv[i]);
        free(plain[i]);
    }
    guarded_free(&q);
    guarded_free(&out);
    guarded_free(&scratch);
}

/* A window gives the bits of the rows in it alone; two ranges merged are near the whole. */
static void attention_cut(kcheck *c, an_kv_dtype type, int n_q, int dim, int n_pos, int n_tok, int window)
{
    size_t size = type == AN_KV_F16 ? 2 : 4, stride = (size_t)dim * size, head = (size_t)(n_q * dim);
    int n_row = n_pos + n_tok - 1, cut = n_pos / 2;
    uint8_t *kv[2];
    float *q = malloc((size_t)n_tok * head * 4), *tile = malloc((size_t)n_tok * head * 4), *scale = malloc((size_t)n_tok * 4);
    float *one = malloc(head * 4), *chunks = malloc(2 * head * 4), *parts = malloc((size_t)(4 * n_q) * 4);
    void *scratch = malloc(an_attention_scratch_bytes(n_tok * n_q, dim, n_row));
    for (int i = 0; i < 2; i++) {
        kv[i] = malloc((size_t)n_row * stride);
        for (int p = 0; p < n_row; p++) {
            fill_floats(c, q, (size_t)dim, 0);
            an_kv_store(c->k, type, kv[i] + (size_t)p * stride, q, dim);
        }
    }
    fill_floats(c, q, (size_t)n_tok * head, 0);
    for (int t = 0; t < n_tok; t++) scale[t] = (1 + 0.25f * (float)t) / sqrtf((float)dim);
    an_attention_job job = {.type = type, .n_tok = n_tok, .n_q = n_q, .head_dim = dim, .n_pos = n_pos,
                            .window = window, .q = q, .scale = scale, .keys = kv[0], .values = kv[1],
                            .kv_stride_bytes = stride, .out = tile, .out_stride = head, .scratch = scratch};
    an_attention(c->k, &job);
    for (int t = 0; t < n_tok; t++) {
        int end = n_pos + t, begin = window && end > window ? end - window : 0;
        an_attention_job alone = job;
        alone.n_tok = 1;
        alone.window = 0;
        alone.n_pos = end - begin;
        alone.q = q + (size_t)t * head;
        alone.scale = scale + t;
        alone.keys = kv[0] + (size_t)begin * stride;
        alone.values = kv[1] + (size_t)begin * stride;
        alone.out = one;
        an_attention(c->k, &alone);
        if (memcmp(one, tile + (size_t)t * head, head * 4) != 0)
            kcheck_fail(c, "token %d of %d over %d rows, window %d: other bits than alone", t, n_tok, n_pos, window);
    }
    for (int half = 0; half < 2 && cut > 0 && window == 0; half++) {
        job.n_tok = 1;
        job.n_pos = half ? n_pos - cut : cut;
        job.keys = kv[0] + (size_t)(half * cut) * stride;
        job.values = kv[1] + (size_t)(half * cut) * stride;
        job.out = chunks + (size_t)half * head;
        job.parts = parts + half * 2 * n_q;
        an_attention(c->k, &job);
    }
    for (int h = 0; h < n_q && cut > 0 && window == 0; h++) {
        an_attention_merge(c->k, one, chunks + h * dim, head, parts + 2 * h, 2 * (size_t)n_q, 2, dim);
        for (int j = 0; j < dim; j++)
            kcheck_near(c, "merged", h * dim + j, (double)one[j], (double)tile[h * dim + j], 1e-4);
    }
    for (int i = 0; i < 2; i++) free(kv[i]);
    free(q);
    free(tile);
    free(scale);
    free(one);
    free(chunks);
    free(parts);
    free(scratch);
}

void check_attention(kcheck *c, const kcheck_op *op)
{
    (void)op;
    static const int positions[] = {1, 2, 15, 16, 17, 33, 64, 200}, heads[] = {1, 3, 4, 5, 8};
    static const int dims[] = {64, 128, 80, 16, 24, 96, 6}, tokens[] = {1, 2, 8};
    for (int i = 0; i < 42; i++)
        attention_once(c, (an_kv_dtype)(i & 1), tokens[i % 3], heads[i % 5], dims[i / 2 % 7], positions[i % 8],
                       i % 7 == 0 ? 40.0f : 1.0f);
    for (int i = 0; i < 40; i++)
        attention_cut(c, (an_kv_dtype)(i & 1), heads[i % 5], dims[i / 2 % 6], positions[i % 8], i % 9 + 1,
                        i % 3 == 0 ? 1 + i % 21 : 0);
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
