/* Encoders of the two types whose 16 codes mean unevenly spaced values (formats.md 2.5). */
#include "quant/encode_pack.h"

#include <math.h>
#include <string.h>

enum { GROUP = 32, TRIALS = 7 };

/* Code of the value nearest to v; in the middle between two the larger. */
static int nearest_code(float v)
{
    const int8_t *k = an_iq4_values;
    if (v <= k[0]) return 0;
    if (v >= k[15]) return 15;
    int lo = 0, hi = 15;
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (v < k[mid]) hi = mid;
        else lo = mid;
    }
    return v - (float)k[hi - 1] < (float)k[hi] - v ? hi - 1 : hi;
}

/* Sums of the weighted products for one inverse scale. */
static void sums(const float *x, const float *w, float inverse, float *qx, float *q2)
{
    *qx = *q2 = 0;
    for (int j = 0; j < GROUP; j++) {
        float q = an_iq4_values[nearest_code(inverse * x[j])];
        *qx += w[j] * q * x[j];
        *q2 += w[j] * q * q;
    }
}

/* The best of sixteen inverse scales. */
float an_fit_iq4(const float *x, const float *w)
{
    float max = an_largest(x, GROUP), qx, q2;
    if (fabsf(max) < AN_NEXT_TO_NOTHING) return 0;
    float d = -max / (float)an_iq4_values[0];
    sums(x, w, 1 / d, &qx, &q2);
    d = q2 > 0 ? qx / q2 : 0;
    float best = d * qx;
    for (int t = -TRIALS; t <= TRIALS; t++) {
        sums(x, w, ((float)t + (float)an_iq4_values[0]) / max, &qx, &q2);
        if (q2 > 0 && qx * qx > best * q2) {
            d = qx / q2;
            best = d * qx;
        }
    }
    return d;
}

void an_put_iq4_codes(const float *x, float d, uint8_t *out)
{
    uint8_t codes[GROUP];
    float inverse = d != 0 ? 1 / d : 0;
    for (int j = 0; j < GROUP; j++) codes[j] = (uint8_t)nearest_code(inverse * x[j]);
    an_pack_nibbles(codes, out);
}

/* By their own squares. */
static float fit_plain(const float *x)
{
    float w[GROUP];
    for (int j = 0; j < GROUP; j++) w[j] = x[j] * x[j];
    return an_fit_iq4(x, w);
}

void an_encode_iq4_nl(const float *x, uint8_t *block)
{
    float d = fit_plain(x);
    an_put_f16(block, d);
    an_put_iq4_codes(x, d, block + 2);
}

void an_encode_iq4_xs(const float *x, uint8_t *block)
{
    enum { N = AN_SUPER / GROUP };
    float scale[N], d[N];
    for (int b = 0; b < N; b++) scale[b] = fit_plain(x + GROUP * b);
    an_pack_iq4_xs_scales(scale, block, d);
    for (int b = 0; b < N; b++) an_put_iq4_codes(x + GROUP * b, d[b], block + 8 + 16 * b);
}
