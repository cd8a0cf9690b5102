/*
 * Rope frequencies (formats.md 6.5). Computed in f64 and rounded once to f32; the angle is the f32 product of
 * position and frequency, because that is the angle the models were trained and published with.
 */
#include "model/rope.h"

#include <math.h>

static double clamp01(double x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

/* The pair index at which a wave turns `turns` times within the original context. */
static double yarn_pair(const an_hparams *hp, double turns)
{
    return hp->head_dim * log(hp->rope_n_ctx_orig / (turns * 2 * M_PI)) / (2 * log(hp->rope_theta));
}

/* Fast pairs keep their frequency, slow ones are interpolated, a ramp lies between. */
static void yarn_freqs(const an_hparams *hp, float *inv_freq)
{
    double low = yarn_pair(hp, hp->yarn_beta_fast), high = yarn_pair(hp, hp->yarn_beta_slow);
    if (hp->yarn_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0);
    high = fmin(high, hp->head_dim - 1);
    double span = fmax(high - low, 0.001);
    for (int i = 0; i < hp->head_dim / 2; i++) {
        double f = pow(hp->rope_theta, -2.0 * i / hp->head_dim), ramp = clamp01((i - low) / span);
        inv_freq[i] = (float)(ramp * f / hp->rope_factor + (1 - ramp) * f);
    }
}

/* Long waves are divided by the factor, short ones kept, a smooth passage between. */
static double llama3_freq(const an_hparams *hp, double f)
{
    double turns = hp->rope_n_ctx_orig * f / (2 * M_PI);
    double low = hp->llama3_low_freq_factor, high = hp->llama3_high_freq_factor;
    double smooth = clamp01((turns - low) / (high - low));
    return (1 - smooth) * f / hp->rope_factor + smooth * f;
}

void an_rope_freqs(const an_hparams *hp, int n_seq, float *inv_freq)
{
    double theta = hp->rope_theta;
    if (hp->rope_scaling == AN_ROPE_YARN) {
        yarn_freqs(hp, inv_freq);
    } else {
        if (hp->rope_scaling == AN_ROPE_DYNAMIC && n_seq > hp->rope_n_ctx_orig) {
            double stretch = hp->rope_factor * n_seq / hp->rope_n_ctx_orig - (hp->rope_factor - 1);
            theta *= pow(stretch, hp->head_dim / (hp->head_dim - 2.0));
        }
        for (int i = 0; i < hp->head_dim / 2; i++) {
            double f = pow(theta, -2.0 * i / hp->head_dim);
            if (hp->rope_scaling == AN_ROPE_LINEAR) f /= hp->rope_factor;
            if (hp->rope_scaling == AN_ROPE_LLAMA3) f = llama3_freq(hp, f);
            inv_freq[i] = (float)f;
        }
    }
    for (int i = 0; hp->rope_freq_factors && i < hp->head_dim / 2; i++)
        inv_freq[i] /= hp->rope_freq_factors[i];
}

void an_rope_angles(const an_hparams *hp, const float *inv_freq, int pos, float *cos_out,
                    float *sin_out)
{
    for (int i = 0; i < hp->head_dim / 2; i++) {
        float angle = (float)pos * inv_freq[i];
        cos_out[i] = (float)(cos((double)angle) * hp->rope_attn_factor);
        sin_out[i] = (float)(sin((double)angle) * hp->rope_attn_factor);
    }
}

float an_query_scale(const an_hparams *hp, int pos)
{
    if (hp->query_scale_beta == 0) return 1;
    return (float)(1 + hp->query_scale_beta * log(1.0 + pos / hp->query_scale_n_ctx));
}
