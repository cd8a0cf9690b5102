/* What the readers of GGUF metadata and of config.json share: limits, rounding, refusals. */
#include "arch/hparams.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

double an_yarn_attn_factor(double factor, double mscale, double mscale_all_dim)
{
    if (factor <= 1) return 1;
    double log_factor = 0.1 * log(factor);
    if (mscale != 0 && mscale_all_dim != 0)
        return (mscale * log_factor + 1) / (mscale_all_dim * log_factor + 1);
    return log_factor + 1;
}

const char *an_arch_refusal(const char *arch)
{
    static const struct {
        const char *arch, *why;
    } KNOWN[] = {
        {"mixtral", "it is a mixture of experts"},
        {"mistral4", "it uses multi-head latent attention (MLA) and experts"},
        {"deepseek2", "it uses multi-head latent attention (MLA) and experts"},
        {"deepseek_v2", "it uses multi-head latent attention (MLA) and experts"},
        {"deepseek_v3", "it uses multi-head latent attention (MLA) and experts"},
        {"llama4", "it is a mixture of experts"},
    };
    for (size_t i = 0; i < AN_COUNT_OF(KNOWN); i++)
        if (strcmp(arch, KNOWN[i].arch) == 0) return KNOWN[i].why;
    return NULL;
}

/* One whole number against its limits. */
static anemo_status check_range(int64_t value, int64_t min, int64_t max, const char *what,
                                const char *name, anemo_error *err)
{
    if (value < min || value > max)
        return an_fail(err, ANEMO_ERR_FORMAT,
                       "%s: %s is %" PRId64 ", expected %" PRId64 " to %" PRId64, name, what, value,
                       min, max);
    return ANEMO_OK;
}

static anemo_status check_real(double *value, double min, double max, const char *what,
                               const char *name, anemo_error *err)
{
    if (!(*value >= min && *value <= max))
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %s is %g, expected %g to %g", name, what, *value,
                       min, max);
    *value = (double)(float)*value;
    return ANEMO_OK;
}

static anemo_status check_rope(an_hparams *hp, const char *name, anemo_error *err)
{
    anemo_status status = ANEMO_OK;
    AN_TRY(check_real(&hp->rope_theta, 1.0001, 1e15, "rope theta", name, err));
    AN_TRY(check_real(&hp->rope_factor, 1e-3, 1e6, "rope scaling factor", name, err));
    AN_TRY(check_real(&hp->rope_attn_factor, 1e-3, 1e3, "rope attention factor", name, err));
    AN_TRY(check_range(hp->rope_n_ctx_orig, 1, AN_CTX_MAX, "original context length", name, err));
    if (hp->rope_scaling == AN_ROPE_YARN) {
        AN_TRY(check_real(&hp->yarn_beta_fast, 1e-3, 1e6, "YaRN beta_fast", name, err));
        AN_TRY(check_real(&hp->yarn_beta_slow, 1e-3, 1e6, "YaRN beta_slow", name, err));
    }
    if (hp->rope_scaling == AN_ROPE_LLAMA3) {
        AN_TRY(check_real(&hp->llama3_low_freq_factor, 1e-6, 1e6, "low_freq_factor", name, err));
        AN_TRY(check_real(&hp->llama3_high_freq_factor, 1e-6, 1e6, "high_freq_factor", name, err));
        if (hp->llama3_high_freq_factor <= hp->llama3_low_freq_factor)
            return an_fail(err, ANEMO_ERR_FORMAT,
                           "%s: rope high_freq_factor must be above low_freq_factor", name);
    }
    if (hp->rope_scaling == AN_ROPE_DYNAMIC && hp->head_dim <= 2)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: dynamic rope scaling needs head_dim above 2", name);
    AN_TRY(check_real(&hp->query_scale_beta, 0, 100, "query scale beta", name, err));
    if (hp->query_scale_beta > 0)
        AN_TRY(check_range(hp->query_scale_n_ctx, 1, AN_CTX_MAX, "query scale length", name, err));
cleanup:
    return status;
}

anemo_status an_hparams_finish(an_arch_params *p, const char *name, anemo_error *err)
{
    an_hparams *hp = &p->hp;
    anemo_status status = ANEMO_OK;
    AN_TRY(check_range(hp->n_layer, 1, AN_LAYERS_MAX, "number of layers", name, err));
    AN_TRY(check_range(hp->n_embd, 32, AN_EMBD_MAX, "embedding length", name, err));
    AN_TRY(check_range(hp->n_ff, 32, AN_FF_MAX, "feed-forward length", name, err));
    AN_TRY(check_range(hp->n_head, 1, AN_HEADS_MAX, "number of heads", name, err));
    AN_TRY(check_range(hp->n_head_kv, 1, hp->n_head, "number of key-value heads", name, err));
    AN_TRY(check_range(hp->head_dim, 2, AN_HEAD_DIM_MAX, "head dimension", name, err));
    AN_TRY(check_range(hp->n_ctx_train, 1, AN_CTX_MAX, "context length", name, err));
    AN_TRY(check_real(&hp->norm_eps, 0, 1, "norm epsilon", name, err));
    if (hp->n_head % hp->n_head_kv != 0)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: %d heads cannot share %d key-value heads evenly",
                       name, hp->n_head, hp->n_head_kv);
    if (hp->head_dim % 2 != 0)
        return an_fail(err, ANEMO_ERR_FORMAT, "%s: head dimension %d is odd, so it cannot be rotated",
                       name, hp->head_dim);
    /* The kernels take rows of whole 32-value groups. */
    if (hp->n_embd % 32 != 0 || hp->n_ff % 32 != 0 || hp->n_head * hp->head_dim % 32 != 0)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: embedding %d, feed-forward %d and heads %d x %d must give multiples of 32; "
                       "the native engine cannot run this model, " AN_ARCH_ADVICE,
                       name, hp->n_embd, hp->n_ff, hp->n_head, hp->head_dim);
    if (hp->rope_dim == 0) hp->rope_dim = hp->head_dim;
    if (hp->rope_dim != hp->head_dim)
        return an_fail(err, ANEMO_ERR_UNSUPPORTED,
                       "%s: only %d of %d values of a head are rotated, which the native engine does "
                       "not do; " AN_ARCH_ADVICE,
                       name, hp->rope_dim, hp->head_dim);
    if (hp->attn_scale == 0) hp->attn_scale = 1 / sqrt((double)hp->head_dim);
    AN_TRY(check_real(&hp->attn_scale, 1e-6, 1e6, "attention scale", name, err));
    AN_TRY(check_rope(hp, name, err));
cleanup:
    return status;
}
